"""What a network is, apart from what training changes in it: as plain values by path, to be kept and compared."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from .network import Network

__all__ = ["identity"]

_WORDS = ("title", "description", "references", "files", "default")  # for readers: they change no number
_FEW = 8  # elements of an array that are told one by one


def identity(network: Network) -> dict[str, Any]:
    """Everything that decides a network's simulation and gradients, but for its trainable values.

    Derived from the dataclasses that a network is made of, so that nothing can be forgotten.

    Returns
    -------
    dict of str to str, number, bool or None
        By path, as in ``"populations.hidden.model.derivatives.v"``. Large arrays are told by shape and checksum.
    """
    found = dict(_walk(network, ""))
    for q in network.projections:
        for name, attribute in (("w", "weights"), ("delay", "delay")):
            if name in q.learnable:
                found.pop(f"projections.{q.name}.{attribute}", None)
    for p in network.populations:
        for name in p.learnable:
            found.pop(f"populations.{p.name}.parameters.{name}", None)
        for name in (*p.learnable, *p.parameters):  # their defaults decide nothing
            found.pop(f"populations.{p.name}.model.parameters.{name}.value", None)
    return found


def _walk(value: Any, path: str) -> Iterable[tuple[str, Any]]:
    if is_dataclass(value):
        parts = [(f.name, getattr(value, f.name)) for f in fields(value) if f.name not in _WORDS]
    elif isinstance(value, Mapping):
        parts = [(str(k), v) for k, v in value.items()]
    elif isinstance(value, tuple | list):
        parts = [(getattr(v, "name", str(k)), v) for k, v in enumerate(value)]
    else:
        yield path, _plain(value)
        return
    for name, part in parts:
        yield from _walk(part, f"{path}.{name}" if path else name)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        array = np.ascontiguousarray(value)
        if array.ndim == 0:
            return array.item()
        if array.size <= _FEW:
            return str(array.tolist())
        return f"{array.dtype} array of shape {array.shape}, checksum {zlib.crc32(array.data)}"
    return value
