"""Arrays of spike times, checked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .errors import warn_caller
from .quantities import in_unit

__all__ = ["checked_times", "side_by_side", "warn_of_early", "with_room"]

_EARLY = 1e-3  # of a trial, within which it is doubtful that everything happens


def checked_times(
    times: np.ndarray,
    name: str,
    n: int | None = None,
    trials: int | None = None,
    duration: float = np.inf,
    *,
    slack: float = 0.0,
) -> np.ndarray:
    """Spike times as a float64 array of three dimensions.

    Parameters
    ----------
    times : array, shape (trials, n) or (trials, n, spikes)
        Seconds or with Brian2's units, ascending for each neuron, padded with ``inf``.
    name : str
        What they are, for messages: ``"input 'a'"``, ``"targets"``.
    n : int or None
        Sources or neurons; None for any number.
    trials : int or None
        None for any number.
    duration : float
        Length of a trial in seconds.
    slack : float
        Seconds by which a spike may precede the one before it.

    Returns
    -------
    array, shape (trials, n, spikes)

    Raises
    ------
    ValueError
        For a wrong shape, NaN, negative or unsorted times, and times not before the end of the trial.
    """
    t = in_unit(times, "second", f"spike times of {name}")
    if t.ndim == 2:
        t = t[:, :, None]
    if t.ndim != 3 or n not in (None, t.shape[1]) or trials not in (None, t.shape[0]):
        wanted = f"({'trials' if trials is None else trials}, {'n' if n is None else n}"
        why = "" if trials is None else f", for {trials} trial{'' if trials == 1 else 's'}"
        raise ValueError(
            f"spike times of {name} have shape {np.shape(times)}; expected {wanted}) or {wanted}, spikes){why}"
        )
    # one pass over what is mostly padding; only where it finds something is it asked what is wrong
    flat = t.reshape(-1)
    spikes = flat[flat < duration]
    if spikes.size + np.count_nonzero(flat == np.inf) < flat.size or spikes.min(initial=0) < 0 or t.shape[2] > 1:
        _refuse(t, name, duration, slack)
    return t


def _refuse(t: np.ndarray, name: str, duration: float, slack: float) -> None:
    """Raise where a time is no spike within the trial."""

    def refuse(bad: np.ndarray, what: str, right: str) -> None:
        if bad.any():
            trial, neuron, k = np.argwhere(bad)[0]
            found = what.format(t[trial, neuron, k] * 1e3)
            raise ValueError(f"{name}, trial {trial}, neuron {neuron}: {found}; {right}")

    refuse(np.isnan(t), "a spike time is NaN", "use inf where there is no spike")
    refuse(t < 0, "a spike time is negative ({:g} ms)", "times start at 0 s")
    with np.errstate(invalid="ignore"):
        unsorted = np.diff(t, axis=2) < -slack
    refuse(unsorted, "spike times are not ascending", "sort them, padding with inf at the end")
    refuse(
        np.isfinite(t) & (t >= duration),
        f"a spike at {{:g}} ms is not before the end of the trial at {duration * 1e3:g} ms",
        "give times in seconds, or make the duration longer",
    )


def warn_of_early(times: Sequence[np.ndarray], what: str, duration: float) -> None:
    """Warn where all times lie within the first thousandth of a trial: milliseconds were divided by 1000 twice.

    Nothing is said of times that are all 0, with which a trial may well begin.

    Parameters
    ----------
    times : sequence of array
        Seconds; ``inf`` and NaN stand for none.
    what : str
        What they are, all together, for the message.
    duration : float
        Length of a trial in seconds.
    """
    bound = _EARLY * duration
    if any(_some_within(t, bound) for t in times):
        return
    latest = max((float(np.max(t, initial=0.0, where=np.isfinite(t))) for t in times), default=0.0)
    if 0 < latest < bound:
        warn_caller(
            f"{what} lie within the first thousandth of a trial, which lasts {duration * 1e3:g} ms: times are in "
            "seconds, and may have been divided by 1000 once too often"
        )


def _some_within(times: np.ndarray, bound: float) -> bool:
    """Whether a time from a bound on is among a few that are looked at: it mostly is, and batches are large."""
    # spread by the golden section: a constant stride may meet the same few neurons in all trials
    flat = times.reshape(-1)
    few = flat[(np.arange(min(64, flat.size)) * 0.6180339887498949 % 1 * flat.size).astype(int)]
    return bool(((few >= bound) & (few < np.inf)).any())


def with_room(times: np.ndarray, spikes: int) -> np.ndarray:
    """Spike times ``(trials, n, k)``, padded with ``inf`` so that k is at least `spikes`."""
    missing = max(spikes - times.shape[2], 0)
    return np.pad(times, ((0, 0), (0, 0), (0, missing)), constant_values=np.inf) if missing else times


def side_by_side(times: Sequence[np.ndarray]) -> np.ndarray:
    """Spike times of several groups of trials in one array, padded to the most spikes of a neuron."""
    most = max(t.shape[2] for t in times)
    return np.concatenate([with_room(t, most) for t in times])
