"""Checkpoints of a training run: one NumPy archive, without pickled objects, written atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..files import atomic_file, damaged, read_archive
from ..templates.arguments import check_kind
from .history import History

__all__ = ["Best", "Checkpoint", "load_checkpoint", "save_checkpoint"]

_FORMAT = "snnmodels checkpoint 1"
Arrays = dict[str, np.ndarray]


@dataclass
class Best:
    """The epoch (counted from 1) with the best validation result so far, and the values it had."""

    epoch: int
    measure: float
    values: Arrays


@dataclass
class Checkpoint:
    """Everything needed to go on after a completed epoch; the random draws of an epoch depend on its number alone.

    Attributes
    ----------
    epoch : int
        Number of completed epochs.
    values : dict of str to array
        Trained values by key of `Network.trainable`.
    optimiser : dict of str to array
        As `Optimiser.state_dict` gives.
    history : History
    best : Best or None
        Only with early stopping.
    """

    epoch: int
    values: Arrays
    optimiser: Arrays
    history: History = field(default_factory=History)
    best: Best | None = None


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; an older one at `path` stays whole until the new one is complete.

    Parameters
    ----------
    path : str or Path
    checkpoint : Checkpoint

    Raises
    ------
    OSError
        If it can't be written; see `named`.
    """
    best = checkpoint.best
    about = {
        "format": _FORMAT,
        "epoch": checkpoint.epoch,
        "history": checkpoint.history.to_dict(),
        "best": None if best is None else {"epoch": best.epoch, "measure": best.measure},
    }
    arrays: Arrays = {"about": np.array(json.dumps(about, allow_nan=False))}
    arrays |= _prefixed("values", checkpoint.values) | _prefixed("optimiser", checkpoint.optimiser)
    if best is not None:
        arrays |= _prefixed("best", best.values)
    with atomic_file(path, "checkpoint") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read what `save_checkpoint` wrote.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Checkpoint
        Values, the optimiser's state and the history, as of the last epoch that was kept.

    Raises
    ------
    OSError
        If there is no such file, or it can't be read; see `named`.
    ValueError
        If the file is damaged or something else, or this is no path.
    """
    check_kind("path", path, (str, Path), "the path of a file")
    arrays = read_archive(path, "checkpoint")
    try:
        about = json.loads(str(arrays.pop("about")))
        if about["format"] != _FORMAT:
            raise _OtherFormat(f"{path}: its format is {about['format']!r}; expected {_FORMAT!r}")
        best = about["best"]
        return Checkpoint(
            about["epoch"],
            _under("values", arrays),
            _under("optimiser", arrays),
            History.from_dict(about["history"]),
            None if best is None else Best(best["epoch"], best["measure"], _under("best", arrays)),
        )
    except _OtherFormat:
        raise
    except (KeyError, TypeError, AttributeError, ValueError):
        raise damaged(path, "checkpoint") from None


class _OtherFormat(ValueError):
    """A checkpoint of another version."""


def _prefixed(group: str, arrays: Mapping[str, np.ndarray]) -> Arrays:
    return {f"{group}/{name}": array for name, array in arrays.items()}


def _under(group: str, arrays: Mapping[str, np.ndarray]) -> Arrays:
    return {name.removeprefix(f"{group}/"): array for name, array in arrays.items() if name.startswith(f"{group}/")}
