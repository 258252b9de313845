"""What a network is, apart from what training changes in it: as plain values by path, to be kept and compared."""

from __future__ import annotations

import dis
import math
import sys
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from .network import Network

__all__ = ["checksum", "description", "identity"]

# for readers: they change no number; what a loss takes of `pseudospike` is told with the loss
_WORDS = ("title", "description", "references", "files", "default", "derived", "functions", "accuracy", "pseudospike")
_PACKAGES = frozenset({"snnmodels", "numpy", "scipy", "sympy", "brian2", "brian2cuda"})
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
    for d in network.drives:
        if d.learnable:
            found.pop(f"drives.{d.name}.weights", None)
    for p in network.populations:
        for name in p.learnable:
            found.pop(f"populations.{p.name}.parameters.{name}", None)
        for name in (*p.learnable, *p.parameters):  # their defaults decide nothing
            found.pop(f"populations.{p.name}.model.parameters.{name}.value", None)
    return found


def checksum(arrays: Mapping[str, Any]) -> int:
    """Of arrays with their names, kinds and shapes, so that no two are taken for each other.

    Parameters
    ----------
    arrays : mapping of str to array
    """
    total = 0
    for name in sorted(arrays, key=str):
        array = np.ascontiguousarray(arrays[name])
        total = zlib.crc32(f"{name} {array.dtype} {np.shape(arrays[name])}".encode(), total)
        total = zlib.crc32(_content_of(array), total)
    return total


def _content_of(array: np.ndarray) -> Any:
    """All bytes of an array, or of what its objects are told by: arrays print no more than their ends."""
    if array.dtype.hasobject:
        return str(description(array)).encode()
    return array.view("i8").data if array.dtype.kind in "mM" else array.data  # buffers know no times


def description(value: Any) -> Any:
    """A loss, an encoder, a schedule or the like as plain values: the same in every process, other where it is other.

    Objects are told by class and attributes, functions by name, code, defaults, what they close over, and those of the
    module's variables that they read and don't set: numbers, texts, tuples, arrays and functions. Lists, dictionaries and
    objects of a module are not looked at, as they may well hold what happens on the way.
    """
    return _described(value, ())


def _described(value: Any, within: tuple[int, ...]) -> Any:
    """As `description`, of a part of these objects, which are not told again."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # NaN is not even itself
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return [_described(v, within) for v in value.ravel().tolist()]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value)
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, np.random.Generator):
        return _described(value.bit_generator.state, within)
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
        held = {name: _content(cell) for name, cell in cells}
        parts: dict[str, Any] = {"closure": held, "defaults": value.__defaults__, "keywords": value.__kwdefaults__}
        parts["globals"] = _globals(value)
        told = {name: _described(part, within) for name, part in parts.items() if part}
        return {"function": value.__qualname__, "code": zlib.crc32(_code(value.__code__)), **told}
    if isinstance(value, MethodType):
        return {"method": value.__func__.__qualname__, "of": _described(value.__self__, within)}
    if isinstance(value, partial):
        parts = {"partial": value.func, "arguments": value.args, "keywords": value.keywords}
        return {name: _described(part, within) for name, part in parts.items()}
    if isinstance(value, type):
        return value.__qualname__
    attributes = {**_class_attributes(type(value)), **_slots(value), **getattr(value, "__dict__", {})}
    if not attributes:
        name, shown = getattr(value, "__qualname__", type(value).__qualname__), repr(value)
        return name if " at 0x" in shown else f"{name} {shown}"
    return {"class": type(value).__qualname__, **{k: _described(v, within) for k, v in attributes.items()}}


def _globals(function: FunctionType) -> dict[str, Any]:
    """What a function reads of its module and decides what it gives; none of what comes with a package's version."""
    if _is_theirs(function):
        return {}
    read, written = _names(function.__code__)
    found = {name: function.__globals__[name] for name in sorted(read - written) if name in function.__globals__}
    return {
        name: f"{value.__module__}.{value.__qualname__}" if _is_theirs(value) else value
        for name, value in found.items()
        if _decides(value)
    }


def _names(code: CodeType) -> tuple[set[str], set[str]]:
    """The globals that a function reads, and those that it sets."""
    read, written = set(), set()
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            read.add(instruction.argval)
        elif instruction.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            written.add(instruction.argval)
    for part in code.co_consts:
        if isinstance(part, CodeType):
            more = _names(part)
            read, written = read | more[0], written | more[1]
    return read, written


def _decides(value: Any) -> bool:
    if isinstance(value, tuple | frozenset):
        return all(map(_decides, value))
    plain = bool | int | float | complex | str | bytes | np.ndarray | np.generic | FunctionType | partial
    return value is None or isinstance(value, plain)


def _is_theirs(value: Any) -> bool:
    """Whether a function is of a package, installed or known: it comes with a version."""
    if not isinstance(value, FunctionType):
        return False
    installed = {"site-packages", "dist-packages"} & set(Path(value.__code__.co_filename).parts)
    return bool(installed) or _of_a_package(value.__module__)


def _of_a_package(module: str | None) -> bool:
    root = (module or "").partition(".")[0]
    return root in sys.stdlib_module_names - {"__main__"} or root in _PACKAGES


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing was assigned yet
        return "nothing"


def _slots(value: Any) -> dict[str, Any]:
    """What an object has in slots, private ones included."""
    found = {}
    for kind in type(value).__mro__:
        slots = getattr(kind, "__slots__", None) or ()
        for slot in (slots,) if isinstance(slots, str) else slots:
            private = slot.startswith("__") and not slot.endswith("__")
            name = f"_{kind.__name__.lstrip('_')}{slot}" if private else slot
            if hasattr(value, name) and not name.startswith("__"):
                found[name] = getattr(value, name)
    return found


def _class_attributes(kind: type) -> dict[str, Any]:
    """Methods and values of a user's own class; those of packages come with their versions."""
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if _of_a_package(base.__module__):
            continue
        for name, value in vars(base).items():
            plain = isinstance(value, FunctionType | bool | int | float | str | tuple | list | np.ndarray)
            if plain and (name == "__call__" or not name.startswith("_")):
                found[name] = value
    return found


def _code(code: CodeType) -> bytes:
    """What a function does, with the numbers and words in it."""
    consts = [_code(c) if isinstance(c, CodeType) else _constant(c).encode() for c in code.co_consts]
    return code.co_code + b"".join(consts) + " ".join(code.co_names).encode()


def _constant(value: Any) -> str:
    """A constant of a function; sets have another order in every process."""
    if isinstance(value, frozenset):
        return str(sorted(map(_constant, value)))
    return f"({', '.join(map(_constant, value))})" if isinstance(value, tuple) else repr(value)


def _walk(value: Any, path: str) -> Iterable[tuple[str, Any]]:
    if is_dataclass(value):
        # what takes no part in a comparison is no part of what the network is
        parts = [(f.name, getattr(value, f.name)) for f in fields(value) if f.compare and f.name not in _WORDS]
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
