"""What a network is, apart from what training changes in it: as plain values by path, to be kept and compared."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from .network import Network

__all__ = ["description", "identity"]

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


def description(value: Any) -> Any:
    """A loss, a schedule or the like as plain values: the same in every process, other where an attribute is other.

    Objects are told by class and attributes, functions by name and code (not by what they close over).
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value)
    if isinstance(value, Mapping):
        return {str(k): description(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [description(v) for v in value]
    if isinstance(value, FunctionType):
        return {"function": value.__qualname__, "code": zlib.crc32(_code(value.__code__))}
    if not hasattr(value, "__dict__") or isinstance(value, type):
        return getattr(value, "__qualname__", type(value).__qualname__)
    return {"class": type(value).__qualname__, **{k: description(v) for k, v in vars(value).items()}}


def _code(code: CodeType) -> bytes:
    """What a function does, with the numbers and words in it."""
    consts = [_code(c) if isinstance(c, CodeType) else repr(c).encode() for c in code.co_consts]
    return code.co_code + b"".join(consts) + " ".join(code.co_names).encode()


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
