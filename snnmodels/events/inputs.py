"""Spike times that a user gives, checked."""

from __future__ import annotations

import numpy as np

from ..templates.network import in_unit

__all__ = ["checked_times"]


def checked_times(times: np.ndarray, name: str, n: int, trials: int | None, duration: float) -> np.ndarray:
    """Spike times of an input as a float64 array of three dimensions.

    Parameters
    ----------
    times : array, shape (trials, n) or (trials, n, spikes)
        Seconds or with Brian2's units, ascending for each source, padded with ``inf``.
    name : str
        Name of the input, for messages.
    n : int
        Sources.
    trials : int or None
        None for any number.
    duration : float
        Length of a trial in seconds.

    Returns
    -------
    array, shape (trials, n, spikes)

    Raises
    ------
    ValueError
        For a wrong shape, NaN, negative or unsorted times, and times not before the end of the trial.
    """
    t = in_unit(times, "second", f"spike times of input {name!r}")
    if t.ndim == 2:
        t = t[:, :, None]
    if t.ndim != 3 or t.shape[1] != n or (trials is not None and t.shape[0] != trials):
        first = "trials" if trials is None else trials
        wanted = f"({first}, {n}) or ({first}, {n}, spikes)"
        why = "" if trials is None else f", for {trials} targets"
        raise ValueError(f"spike times of input {name!r} have shape {np.shape(times)}; it must be {wanted}{why}")
    # one pass over what is mostly padding; only where it finds something is it asked what is wrong
    flat = t.reshape(-1)
    spikes = flat[flat < duration]
    if spikes.size + np.count_nonzero(flat == np.inf) < flat.size or spikes.min(initial=0) < 0 or t.shape[2] > 1:
        _refuse(t, name, duration)
    return t


def _refuse(t: np.ndarray, name: str, duration: float) -> None:
    """Raise where a time is no spike within the trial."""

    def refuse(bad: np.ndarray, what: str, right: str) -> None:
        if bad.any():
            trial, source = np.argwhere(bad)[0][:2]
            raise ValueError(f"input {name!r}, trial {trial}, source {source}: {what}; {right}")

    refuse(np.isnan(t), "a spike time is NaN", "use inf where there is no spike")
    refuse(t < 0, "a spike time is negative", "times start at 0 s")
    with np.errstate(invalid="ignore"):
        refuse(np.diff(t, axis=2) < 0, "spike times are not ascending", "sort them, padding with inf at the end")
    late = np.isfinite(t) & (t >= duration)
    latest = t[late].max() * 1e3 if late.any() else 0
    refuse(
        late,
        f"a spike at {latest:g} ms is not before the end of the trial at {duration * 1e3:g} ms",
        "give times in seconds, or make the duration longer",
    )
