"""The coincidence factor of spike trains, and how well a neuron's own repetitions agree by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from ..templates.arguments import real_array

__all__ = [
    "WINDOW",
    "Coincidence",
    "coincidence_factor",
    "coincidences",
    "compare_with_repetitions",
    "intrinsic_reliability",
]

WINDOW = 4e-3
"""Seconds that spikes may be apart to coincide, unless something else is said."""


def coincidences(train: np.ndarray, reference: np.ndarray, window: float) -> int:
    """Count the pairs of spikes of two trains that are at most `window` apart, each spike in one pair at most.

    Parameters
    ----------
    train, reference : array, shape (spikes,)
        Ascending times in seconds.
    window : float
        Seconds.

    Returns
    -------
    int
        The largest number of such pairs: going forward in time, the first spikes of both that are close enough are a
        pair.
    """
    i = j = found = 0
    while i < len(train) and j < len(reference):
        apart = train[i] - reference[j]
        # times that were written with a few digits are as far apart as written, whatever their last bits say
        if abs(apart) <= window * (1 + 1e-9):
            found, i, j = found + 1, i + 1, j + 1
        elif apart < 0:
            i += 1
        else:
            j += 1
    return found


def coincidence_factor(
    train: np.ndarray, reference: np.ndarray, duration: float, window: float = WINDOW, start: float = 0.0
) -> float:
    """How far two spike trains coincide: 1 for equal ones, 0 for as much as a Poisson process of the train's rate does.

    With N_c coincidences within +-`window`, the numbers N of spikes of the train and N_r of the reference, and the
    train's rate nu = N/duration it is (N_c - 2 nu window N_r)/((N + N_r)/2)/(1 - 2 nu window). Source: Kistler,
    Gerstner & van Hemmen (1997), Neural Comput. 9:1015; in this form Jolivet et al. (2008), J. Neurosci. Methods
    169:417, with the model as the train and the recording as the reference.

    Parameters
    ----------
    train, reference : array, shape (spikes,)
        Times in seconds, ascending; those outside the interval don't count, nor does ``inf``.
    duration : float
        Length of the interval, in seconds.
    window : float
        How far apart coincident spikes may be, in seconds.
    start : float
        Where the interval begins, in seconds.

    Returns
    -------
    float
        At most 1; two trains without spikes coincide by 1.

    Raises
    ------
    ValueError
        For times that are NaN or not ascending, an interval or window that is not positive, and a rate at which every
        spike would find a partner by chance (2 nu window of 1 or more).
    """
    if not (np.isfinite([duration, window, start]).all() and duration > 0 and window > 0):
        raise ValueError(
            f"duration = {duration!r}, window = {window!r}, start = {start!r}; expected positive seconds, and any start"
        )
    given = [_within(name, t, start, duration) for name, t in (("train", train), ("reference", reference))]
    n, m = map(len, given)
    if n + m == 0:
        return 1.0
    chance = 2 * n / duration * window
    if chance >= 1:
        raise ValueError(
            f"{n} spikes in {duration:g} s come within {window * 1e3:g} ms of anything by chance; take a window "
            f"shorter than {duration / n / 2 * 1e3:.3g} ms"
        )
    return (coincidences(given[0], given[1], window) - chance * m) / (0.5 * (n + m)) / (1 - chance)


def intrinsic_reliability(
    trains: Sequence[np.ndarray], duration: float, window: float = WINDOW, start: float = 0.0
) -> float:
    """Mean coincidence factor of every repetition with every other.

    Parameters
    ----------
    trains : sequence of array, shape (spikes,)
        Repetitions; see `coincidence_factor`.
    duration, window, start : float
        As for `coincidence_factor`.

    Raises
    ------
    ValueError
        If there are fewer than two; and as `coincidence_factor`.
    """
    if len(trains) < 2:
        raise ValueError(f"{len(trains)} repetition says nothing of the neuron's reliability; give two or more")
    return float(np.mean([coincidence_factor(a, b, duration, window, start) for a, b in permutations(trains, 2)]))


@dataclass(frozen=True)
class Coincidence:
    """A model's spikes compared with the repetitions of a recording.

    Attributes
    ----------
    factor : float
        Mean coincidence factor with each repetition.
    reliability : float
        Mean coincidence factor of the repetitions with each other.
    spikes : int
        Of the model.
    recorded : float
        Mean number of recorded spikes.
    window : float
        Seconds.
    """

    factor: float
    reliability: float
    spikes: int
    recorded: float
    window: float

    @property
    def relative(self) -> float:
        """The factor over the reliability: 1 if the model is as close to a repetition as another repetition is.

        A model without noise can have more than 1, as it may stay nearer the middle than any repetition does.
        """
        return self.factor / self.reliability


def compare_with_repetitions(
    train: np.ndarray, trains: Sequence[np.ndarray], duration: float, window: float = WINDOW, start: float = 0.0
) -> Coincidence:
    """Compare a model's spike train with the repetitions of a recording.

    Parameters
    ----------
    train : array, shape (spikes,)
        Of the model, in seconds.
    trains : sequence of array, shape (spikes,)
        Of the neuron.
    duration, window, start : float
        As for `coincidence_factor`.

    Returns
    -------
    Coincidence

    Raises
    ------
    ValueError
        As `intrinsic_reliability`, and if the repetitions agree no better than chance, so that there is nothing to
        relate to.
    """
    reliability = intrinsic_reliability(trains, duration, window, start)
    if reliability <= 0:
        raise ValueError(
            f"the repetitions coincide by {reliability:.3g}, no better than chance, within {window * 1e3:g} ms; they "
            "set no scale for a model"
        )
    factor = float(np.mean([coincidence_factor(train, t, duration, window, start) for t in trains]))
    recorded = [len(_within("trains", t, start, duration)) for t in trains]
    return Coincidence(
        factor, reliability, len(_within("train", train, start, duration)), float(np.mean(recorded)), window
    )


def _within(name: str, times: np.ndarray, start: float, duration: float) -> np.ndarray:
    """The spikes of an interval."""
    found = real_array(name, times)
    if found.ndim != 1 or np.isnan(found).any() or (np.diff(found[np.isfinite(found)]) < 0).any():
        raise ValueError(f"{name}: expected ascending spike times in seconds, of shape (spikes,), without NaN")
    return found[(found >= start) & (found < start + duration)]
