"""What NIR has no place for, kept in the metadata of nodes: names, what is learned, masks, and how a graph was written.

A graph says all of its dynamics without them; whoever changes a graph may drop or keep them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...templates.errors import brief
from ._graph import refuse

__all__ = ["arrays_of", "note_of", "noted"]

_KEY = "snnmodels"
_ARRAYS = ("delay", "mask", "v_0")


def noted(note: Mapping[str, Any], **arrays: np.ndarray) -> dict[str, Any]:
    """Metadata that holds a note and arrays.

    Parameters
    ----------
    note : mapping
        Of what JSON has.
    **arrays : array
    """
    return {_KEY: json.dumps(note), **{f"{_KEY}_{name}": value for name, value in arrays.items()}}


def note_of(metadata: Any, where: str) -> dict[str, Any]:
    """The note in some metadata; empty where there is none.

    Raises
    ------
    NIRError
        If it can't be read.
    """
    text = metadata.get(_KEY) if isinstance(metadata, Mapping) else None
    if text is None:
        return {}
    try:
        found = json.loads(text.decode() if isinstance(text, bytes) else text)
    except (TypeError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise refuse(where, f"has metadata {_KEY} = {brief(text)}", "expected what to_nir writes; remove it")
    for key, right in _RIGHT.items():
        if key in found and not right(found[key]):
            raise refuse(where, f"has {key} = {brief(found[key])} in its metadata {_KEY}", "remove that")
    return found


def arrays_of(metadata: Any, where: str) -> dict[str, np.ndarray]:
    """The arrays in some metadata, by name.

    Raises
    ------
    NIRError
        For what is no array of finite numbers.
    """
    found: dict[str, np.ndarray] = {}
    for name in _ARRAYS if isinstance(metadata, Mapping) else ():
        value = metadata.get(f"{_KEY}_{name}")
        if value is None:
            continue
        try:
            array = np.asarray(value, dtype=float)
        except (ArithmeticError, TypeError, ValueError):
            array = np.array(np.nan)
        if not np.isfinite(array).all():
            raise refuse(where, f"has {_KEY}_{name} = {brief(value)} in its metadata", "remove it")
        found[name] = array
    return found


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _word(*words: str | None) -> Callable[[Any], bool]:
    return lambda value: value is None or (isinstance(value, str) and (not words or value in words))


_RIGHT: dict[str, Callable[[Any], bool]] = {
    "name": _word(),
    "duration": lambda value: _time(value) and value > 0,
    "profile": _word(),
    "dt": lambda value: value is None or (_time(value) and value > 0),
    "unit": _word(),
    "order": _names,
    "learnable": _names,
    "each": _names,
    "kind": _word("current", "output"),
    "interval": _time,
    "start": _time,
    "interpolation": _word(),
    "delay": _word("each"),
    "initial": _word("leak", "reset"),
    "reset": _word("value", "subtract"),
}
"""What a note may hold by key."""
