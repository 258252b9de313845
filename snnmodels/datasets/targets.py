"""Several targets of each trial, under names, as one array."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..templates.arguments import check_unmasked, has_unit

__all__ = ["named_targets"]


def named_targets(targets: Mapping[str, Any]) -> np.ndarray:
    """Arrays that have a row for each trial as one array, of which batches can be taken.

    Parameters
    ----------
    targets : mapping of str to array, shape (trials, ...)

    Returns
    -------
    structured array, shape (trials,)
        ``array["name"]`` is the array of that name.

    Raises
    ------
    ValueError
        If there are none, one is no array of numbers with a row for each trial, or their numbers of trials differ.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, values in targets.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"targets: expected names as keys, got {name!r}")
        check_unmasked(f"targets[{name!r}]", values)
        try:
            array = np.asarray(values)
        except ValueError:
            raise ValueError(f"targets[{name!r}]: expected an array, got rows of unequal length") from None
        if has_unit(values) or array.dtype.kind not in "biuf":
            raise ValueError(f"targets[{name!r}]: expected plain numbers in SI units, got {type(values).__name__}")
        if array.ndim == 0:
            raise ValueError(f"targets[{name!r}]: expected one for each trial, got a single one")
        arrays[name] = array
    if not arrays:
        raise ValueError("targets: expected at least one name, got none")
    if len({len(array) for array in arrays.values()}) > 1:
        found = ", ".join(f"{len(array)} of {name!r}" for name, array in arrays.items())
        raise ValueError(f"targets: expected the same number of trials for all names, got {found}")
    fields = [(name, array.dtype.newbyteorder("="), array.shape[1:]) for name, array in arrays.items()]
    together = np.empty(len(next(iter(arrays.values()))), dtype=fields)
    for name, array in arrays.items():
        together[name] = array
    return together
