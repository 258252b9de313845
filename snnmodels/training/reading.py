"""Trials from a user's archive of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.spikes import padded_spikes
from ..datasets.trials import Trials
from ..files import read_archive
from ..losses.base import Loss
from ..templates.errors import located, suggest
from ..templates.network import Network
from ..templates.samples import checked_samples
from ..templates.spike_times import checked_times

__all__ = ["read_trials"]

_PLAIN = ("targets", "labels")
_LISTED = ("i", "t", "trial")


def read_trials(path: str | Path, network: Network, loss: Loss) -> Trials:
    """Trials for a network and its loss, from an archive (``.npz``) of arrays.

    The archive holds, in SI units,

    * for every input of spikes an array of its name, ``(trials, n)`` or ``(trials, n, spikes)``, ascending and padded
      with ``inf``; or the spikes one by one: ``NAME.i`` (neuron), ``NAME.t`` (time) and ``NAME.trial``, see
      `padded_spikes`;
    * for every current its samples ``(trials, n, samples)``, or ``(n, samples)`` for all trials alike;
    * ``targets`` (or ``labels``), a row for each trial; or an array for each name that the loss compares with.

    Parameters
    ----------
    path : str or Path
    network : Network
    loss : Loss

    Returns
    -------
    Trials

    Raises
    ------
    OSError
        If the file can't be read.
    ValueError
        If it is no such archive, an array is missing, has another shape or impossible values, or is none of these.
    """
    try:
        arrays = read_archive(path, "data file")
    except ValueError:
        raise ValueError(
            f"{path}: no archive of arrays of numbers, or a damaged one; write it by numpy.savez(FILE, input=..., "
            "targets=...)"
        ) from None
    with located(str(path), ""):
        taken: set[str] = set()
        _refuse_shared_names(network, loss)
        targets, called = _targets(arrays, loss, taken)
        trials = len(next(iter(targets.values()))) if isinstance(targets, Mapping) else len(targets)
        samples: dict[str, np.ndarray] = {}
        for source in network.inputs:
            times = _spikes(arrays, source.name, source.n, trials, taken)
            samples[source.name] = checked_times(times, source.name, source.n, trials, network.duration)
        for current in network.currents:
            given = _array(arrays, current.name, taken)
            checked = checked_samples(given, current, trials, network.duration)
            samples[current.name] = np.broadcast_to(checked, (trials, current.n, checked.shape[2]))
        for name in arrays:
            if name not in taken:
                known = {*samples, *loss.target_names, *_PLAIN[: not loss.target_names]}
                raise ValueError(f"{name}: is no input of the network and nothing that its loss reads; "
                                 f"{suggest(name, known)}")  # fmt: skip
        found = Trials(samples, targets)
        loss.check_targets(found.targets, network, called)
        return found


def _array(arrays: Mapping[str, np.ndarray], name: str, taken: set[str]) -> np.ndarray:
    if name not in arrays:
        raise ValueError(f"{name}: is missing; the file has {', '.join(arrays) or 'no arrays'}")
    array = arrays[name]
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name}: holds {array.dtype}; expected numbers")
    taken.add(name)
    return array


def _refuse_shared_names(network: Network, loss: Loss) -> None:
    """Refuse one name for an input and for what trials are compared with: an archive has one array of a name."""
    inputs = {s.name for s in network.inputs} | {c.name for c in network.currents}
    if both := sorted(inputs & {*_PLAIN, *loss.target_names}):
        raise ValueError(
            f"{both[0]}: is the name of an input of network {network.name!r}, and of what its trials are compared "
            "with; give the input another name"
        )


def _seconds(times: np.ndarray, name: str) -> np.ndarray:
    """Refuse numbers that are no times in seconds: rasters of zeros and ones, ticks."""
    if times.size and times.dtype.kind != "f":
        raise ValueError(f"{name}: holds {times.dtype}; expected spike times in seconds, as floating-point numbers")
    return times


def _spikes(arrays: Mapping[str, np.ndarray], name: str, n: int, trials: int, taken: set[str]) -> np.ndarray:
    """Spike times of an input, padded, whichever way they are given."""
    listed = [f"{name}.{part}" for part in _LISTED]
    if not any(key in arrays for key in listed):
        return _seconds(_array(arrays, name, taken), name)
    if name in arrays:
        raise ValueError(f"{name}: spikes are given twice, as {name} and as {', '.join(listed)}; leave one out")
    i, t, trial = (_array(arrays, key, taken) for key in listed)
    _seconds(t, listed[1])
    with located("", name):
        padded: np.ndarray = padded_spikes(i, t, n, trial=trial, trials=trials)
        return padded


def _targets(arrays: Mapping[str, np.ndarray], loss: Loss, taken: set[str]) -> tuple[Any, str]:
    """What trials are compared with, an array or one for each name; and what the file calls it."""
    plain = [name for name in _PLAIN if name in arrays]
    names = loss.target_names
    if len(plain) == 2 or (plain and any(name in arrays for name in names if name not in _PLAIN)):
        given = ", ".join([*plain, *(name for name in names if name in arrays and name not in plain)])
        raise ValueError(f"{given}: targets are given twice; leave one out")
    if plain and len(names) <= 1:
        return _rows(_array(arrays, plain[0], taken), plain[0]), plain[0]
    if not names:
        raise ValueError(
            f"targets: is missing, an array with a row for each trial; the file has {', '.join(arrays) or 'no arrays'} "
            "(a loss that compares with nothing takes any targets, such as zeros)"
        )
    return {name: _rows(_array(arrays, name, taken), name) for name in names}, "targets"


def _rows(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 0 or not len(array):
        raise ValueError(f"{name}: has shape {array.shape}; expected a row for each trial, and at least one")
    return array
