"""What NIR has no place for, kept in the metadata of nodes: names, what is learned, masks, and how a graph was written.

A graph says all of its dynamics without them; whoever changes a graph may drop or keep them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
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
    return found


def arrays_of(metadata: Any) -> dict[str, np.ndarray]:
    """The arrays in some metadata, by name."""
    if not isinstance(metadata, Mapping):
        return {}
    found = {name: metadata.get(f"{_KEY}_{name}") for name in _ARRAYS}
    return {name: np.asarray(value) for name, value in found.items() if value is not None}
