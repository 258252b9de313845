"""Losses that compare whole spike trains, and the intervals in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..templates.network import Network
from .base import Loss, LossValue, take_times
from .observables import Observable, SpikeTimes
from .observed import (
    check_positive,
    check_wanted,
    check_within,
    checked_spike_times,
    neurons_read,
    spikes_wanted,
    wanted_spike_times,
)
from .spike_times import Deviations

__all__ = ["IntervalError", "VanRossumDistance"]


@dataclass(frozen=True)
class VanRossumDistance(Loss):
    """Squared van Rossum distance between the spike trains of a population and target trains, summed over neurons.

    Both trains are filtered by ``exp(-t/tau)`` for t >= 0, and the squared difference is integrated over time and
    divided by `tau`. For an integral without end that is ``1/2 sum_ij s_i s_j exp(-|t_i - t_j|/tau)`` over all pairs
    of spikes of both trains, with s = 1 for those of the population and -1 for targets: a spike without a counterpart
    costs 1/2. With an `end`, every pair loses ``exp(-(2 end - t_i - t_j)/tau)`` in the brackets. Source: van Rossum
    (2001), Neural Comput. 13:751.

    The trial's end cuts spikes, not filters: the trains hold what happens within the trial, and the integral goes on
    beyond it unless `end` is given. The distance has a kink where a spike meets a target, of which the derivative is
    the mean of both sides; spikes that appear or vanish change it by a jump, which no derivative sees.

    Attributes
    ----------
    tau : float
        Time constant of the filter, in seconds.
    end : float, optional
        Where the integral ends, in seconds; never unless given. Later spikes don't count.
    population : str
        Whose spikes are read; the output's if empty.
    """

    tau: float = 10e-3
    end: float | None = None
    population: str = ""

    def __post_init__(self) -> None:
        take_times(self)
        check_positive(tau=self.tau)
        if self.end is not None:
            check_positive(end=self.end)

    @property
    def observes(self) -> Observable:
        """All spike times."""
        return SpikeTimes(self.population)

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        """Evaluate on spike times and target times ``(trials, n, k)`` in seconds, k may differ; see `Loss.evaluate`."""
        times = checked_spike_times(observed)
        wanted = wanted_spike_times(targets, times)
        both = np.concatenate([times, wanted], axis=2)
        counts = np.isfinite(both) & (both < (np.inf if self.end is None else self.end))
        at = np.where(counts, both, 0.0) / self.tau
        sign = np.where(counts, np.repeat([1.0, -1.0], (times.shape[2], wanted.shape[2])), 0.0)
        k = times.shape[2]
        apart = at[:, :, :, None] - at[:, :, None, :k]
        signs = sign[:, :, :, None] * sign[:, :, None, :k]
        near = np.exp(-np.abs(apart))
        by_time = np.sign(apart) * near
        among_wanted = at[:, :, k:, None] - at[:, :, None, k:]
        rest = np.exp(-np.abs(among_wanted))
        if self.end is not None:
            late = 2 * self.end / self.tau
            beyond = np.exp(at[:, :, :, None] + at[:, :, None, :k] - late)
            near, by_time = near - beyond, by_time - beyond
            rest = rest - np.exp(at[:, :, k:, None] + at[:, :, None, k:] - late)
        trials = len(times)
        pairs = signs * near
        # each pair of a spike and a target is there twice
        value = 0.5 * (pairs[:, :, :k].sum() + 2 * pairs[:, :, k:].sum())
        value += 0.5 * (sign[:, :, k:, None] * sign[:, :, None, k:] * rest).sum()
        gradient = (signs * by_time).sum(axis=2) / self.tau / trials
        return LossValue(float(value) / trials, gradient.reshape(np.shape(observed)))

    def check_targets(self, targets: Any, network: Network, name: str = "targets", reach: float = 1.0) -> None:
        """Refuse what are no spike times within the trial; see `Loss.check_targets`."""
        check_wanted(targets, self.population, network, name, reach)

    def spikes_needed(self, observed: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """As many as there are target spikes; see `Loss.spikes_needed`."""
        return spikes_wanted(observed, targets)

    def silent_trials(self, observed: np.ndarray, targets: np.ndarray) -> int:
        """Count the trials in which a neuron with targets does not spike at all; see `Loss.silent_trials`."""
        times = checked_spike_times(observed)
        wanted = wanted_spike_times(targets, times)
        lacking = np.isfinite(wanted).any(axis=2) & ~np.isfinite(times).any(axis=2)
        return int(np.count_nonzero(lacking.any(axis=1)))


@dataclass(frozen=True)
class IntervalError(Deviations):
    """Mean squared deviation of interspike intervals from target intervals.

    Interval j of a neuron, between its spikes j and j + 1, belongs to target j. A trial's loss is the mean over its
    targets of ``((t_(j+1) - t_j - target)/tau)^2``; a trial without targets has loss 0. An interval that is not there
    counts as a deviation of `missing`, which has no gradient; surplus intervals cost nothing.

    Attributes
    ----------
    tau : float
        Unit of the deviations, in seconds.
    missing : float
        Deviation that a missing interval counts for, in seconds.
    population : str
        Whose spikes are read; the output's if empty.
    """

    def compared(self, observed: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Intervals and target intervals; see `Deviations.compared`."""
        times = checked_spike_times(observed)
        later = times[..., 1:]
        found = np.subtract(later, times[..., :-1], out=np.full(later.shape, np.inf), where=np.isfinite(later))
        return found, self._targets(targets, times.shape[:2])

    def check_targets(self, targets: Any, network: Network, name: str = "targets", reach: float = 1.0) -> None:
        """Refuse what are no intervals that fit into the trial; see `Loss.check_targets`."""
        wanted = self._targets(targets, (len(targets), neurons_read(self.population, network)), name)
        check_within(wanted, network, name, reach)

    def spikes_needed(self, observed: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """One more than there are target intervals, none without; see `Loss.spikes_needed`."""
        intervals = np.isfinite(self._targets(targets, checked_spike_times(observed).shape[:2])).sum(axis=2)
        return intervals + (intervals > 0)

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        """Evaluate on spike times ``(trials, n, k)`` and target intervals ``(trials, n, m)`` in seconds.

        Targets that are ``inf`` are none; see `Loss.evaluate`.
        """
        value, slope = self.mean_square(*self.compared(observed, targets))
        gradient = np.zeros(checked_spike_times(observed).shape)
        gradient[..., 1:] += slope
        gradient[..., :-1] -= slope
        return LossValue(value, gradient.reshape(np.shape(observed)))

    @staticmethod
    def _targets(targets: np.ndarray, shape: tuple[int, ...], name: str = "targets") -> np.ndarray:
        wanted = np.asarray(targets, dtype=float)
        if wanted.ndim != 3 or wanted.shape[:2] != shape:
            raise ValueError(f"{name}: expected shape {shape} + (intervals,), got {wanted.shape}")
        if not (wanted > 0).all():
            raise ValueError(f"{name}: expected positive intervals in seconds, inf where there is none")
        if (np.isfinite(wanted[..., 1:]) & ~np.isfinite(wanted[..., :-1])).any():
            raise ValueError(f"{name}: expected intervals without gaps, inf after the last of a neuron")
        return wanted
