"""Spikes as Brian2 and recordings give them, as the arrays that simulations take, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..templates.arguments import check_whole, has_unit
from ..templates.errors import brief
from ..templates.quantities import in_unit

__all__ = ["padded_spikes", "spike_pairs"]


def padded_spikes(i: Any, t: Any = None, n: int | None = None, *, trial: Any = None, trials: int | None = None) -> Any:
    """Spikes that are listed one by one as an array of spike times of each neuron.

    Parameters
    ----------
    i : int array, shape (spikes,), or a monitor
        Indices of the neurons; or what has `i` and `t`, and the size of its `source`, as Brian2's `SpikeMonitor`.
    t : array, shape (spikes,)
        Times, in seconds or with Brian2's units, in any order; left out with a monitor.
    n : int, optional
        Number of neurons; that of a monitor's source, else it has to be given.
    trial : int array, shape (spikes,), optional
        Index of each spike's trial; one trial without.
    trials : int, optional
        Number of trials; without, one more than the largest index.

    Returns
    -------
    array, shape (trials, n, spikes)
        Seconds, ascending, filled with ``inf``; as many as the neuron with most has, and at least one.

    Raises
    ------
    ValueError
        For indices that are none, times that are negative or not finite, or lengths that differ.

    Examples
    --------
    >>> padded_spikes([1, 0, 1], [2e-3, 1e-3, 1e-3], n=2)
    array([[[0.001,   inf],
            [0.001, 0.002]]])
    """
    if t is None:
        monitor, i, t = i, getattr(i, "i", None), getattr(i, "t", None)
        if i is None or t is None:
            raise ValueError(f"i is {brief(monitor)} and t is missing; give both, or a SpikeMonitor")
        n = len(monitor.source) if n is None and hasattr(monitor, "source") else n
    if n is None:
        raise ValueError("n is missing: the number of neurons, of which some may not spike")
    check_whole("n", n)
    times = in_unit(np.asarray(t) if not has_unit(t) else t, "second", "t")
    if times.ndim != 1:
        raise ValueError(f"t has shape {times.shape}; expected one time for each spike")
    if not (np.isfinite(times).all() and (times >= 0).all()):
        raise ValueError("t: expected finite times that are not negative")
    neurons = _indices("i", i, len(times), n)
    of = np.zeros(len(times), dtype=int) if trial is None else _indices("trial", trial, len(times), trials)
    if trials is None:
        trials = int(of.max(initial=0)) + 1
    else:
        check_whole("trials", trials)
    order = np.lexsort((times, neurons, of))
    row = (of * n + neurons)[order]
    counts = np.bincount(row, minlength=trials * n)
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    padded = np.full((trials * n, max(1, int(counts.max(initial=0)))), np.inf)
    padded[row, place] = times[order]
    return padded.reshape(trials, n, -1)


def spike_pairs(times: np.ndarray, trial: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The spikes of one trial, one by one, as rasters and Brian2's `SpikeGeneratorGroup` want them.

    Parameters
    ----------
    times : array, shape (trials, n, spikes)
        Seconds, filled with ``inf``, as `Simulation.spike_times` gives them.
    trial : int

    Returns
    -------
    i : int array, shape (spikes,)
    t : array, shape (spikes,)
        Seconds, ascending.

    Raises
    ------
    ValueError
        For another shape, or a trial that isn't there.

    Examples
    --------
    >>> spike_pairs(padded_spikes([1, 0, 1], [2e-3, 1e-3, 1e-3], n=2))
    (array([0, 1, 1]), array([0.001, 0.001, 0.002]))
    """
    array = np.asarray(times, dtype=float)
    if array.ndim != 3:
        raise ValueError(f"times have shape {array.shape}; expected (trials, n, spikes)")
    if not 0 <= trial < len(array):
        raise ValueError(f"trial is {trial}; there are {len(array)}")
    i, k = np.nonzero(np.isfinite(array[trial]))
    t = array[trial][i, k]
    order = np.lexsort((i, t))
    return i[order], t[order]


def _indices(name: str, given: Any, spikes: int, n: int | None) -> np.ndarray:
    indices = np.asarray(given)
    if indices.shape != (spikes,) or (spikes and indices.dtype.kind not in "iu"):
        raise ValueError(f"{name} is {indices.dtype} of shape {indices.shape}; expected a whole number for each spike")
    if spikes and (indices.min() < 0 or (n is not None and indices.max() >= n)):
        bound = "" if n is None else f" below {n}"
        raise ValueError(f"{name} goes from {indices.min()} to {indices.max()}; expected indices from 0{bound}")
    return indices.astype(int)
