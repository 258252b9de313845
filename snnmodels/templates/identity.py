"""What a network is, apart from what training changes in it: as plain values by path, to be kept and compared."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from types import CodeType, FunctionType, MethodType
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
    """A loss, an encoder, a schedule or the like as plain values: the same in every process, other where it is other.

    Objects are told by class and attributes, functions by name, code, defaults and what they close over (not by the
    module's variables that they read).
    """
    return _described(value, ())


def _described(value: Any, within: tuple[int, ...]) -> Any:
    """As `description`, of a part of these objects, which are not told again."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value)
    if isinstance(value, bytes):
        return f"{len(value)} bytes, checksum {zlib.crc32(value)}"
    if id(value) in within:
        return f"the {type(value).__qualname__} that this is part of"
    within = (*within, id(value))
    if isinstance(value, Mapping):
        return {str(k): _described(v, within) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_described(v, within) for v in value]
    if isinstance(value, set | frozenset):
        return sorted((_described(v, within) for v in value), key=str)
    if isinstance(value, FunctionType):
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        held = {name: cell.cell_contents for name, cell in cells}
        parts: dict[str, Any] = {"closure": held, "defaults": value.__defaults__, "keywords": value.__kwdefaults__}
        told = {name: _described(part, within) for name, part in parts.items() if part}
        return {"function": value.__qualname__, "code": zlib.crc32(_code(value.__code__)), **told}
    if isinstance(value, MethodType):
        return {"method": value.__func__.__qualname__, "of": _described(value.__self__, within)}
    if isinstance(value, partial):
        parts = {"partial": value.func, "arguments": value.args, "keywords": value.keywords}
        return {name: _described(part, within) for name, part in parts.items()}
    if isinstance(value, type):
        return value.__qualname__
    slots = [s for kind in type(value).__mro__ for s in (getattr(kind, "__slots__", None) or ()) if hasattr(value, s)]
    attributes = {**{s: getattr(value, s) for s in slots if not s.startswith("__")}, **getattr(value, "__dict__", {})}
    if not attributes:
        return getattr(value, "__qualname__", type(value).__qualname__)
    return {"class": type(value).__qualname__, **{k: _described(v, within) for k, v in attributes.items()}}


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
