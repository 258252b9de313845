"""Losses on all spike times of a population."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..templates.network import Network
from .base import Loss, LossValue, take_times
from .expressions import FunctionLoss
from .observables import Observable, SpikeTimes
from .observed import check_positive, check_wanted, checked_spike_times, spikes_wanted, wanted_spike_times

__all__ = ["Deviations", "SpikeTimeError", "SpikeTimeFunction"]


@dataclass(frozen=True)
class Deviations(Loss):
    """Mean squared deviation of what spike trains have from targets, matched by order: spikes, or intervals."""

    tau: float = 1e-3
    missing: float = 10e-3
    population: str = ""

    def __post_init__(self) -> None:
        take_times(self)
        check_positive(tau=self.tau, missing=self.missing)

    @property
    def observes(self) -> Observable:
        """All spike times."""
        return SpikeTimes(self.population)

    @abstractmethod
    def compared(self, observed: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the trains have and what they are to have, checked: ``(trials, n, k)`` and ``(trials, n, m)``.

        Both in seconds, and ``inf`` where there is nothing.
        """

    def mean_square(self, found: np.ndarray, wanted: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss, and its derivative by `found`, for each trial a mean over its targets."""
        matched = min(found.shape[2], wanted.shape[2])
        hit = np.isfinite(found[..., :matched]) & np.isfinite(wanted[..., :matched])
        deviation = np.subtract(found[..., :matched], wanted[..., :matched], out=np.zeros(hit.shape), where=hit)
        n_wanted = np.isfinite(wanted).sum(axis=(1, 2))
        n_missing = n_wanted - hit.sum(axis=(1, 2))
        weight = 1 / np.maximum(n_wanted, 1)
        squares = np.sum((deviation / self.tau) ** 2, axis=(1, 2)) + n_missing * (self.missing / self.tau) ** 2
        slope = np.zeros_like(found)
        slope[..., :matched] = 2 * deviation / self.tau**2 * (weight / len(found))[:, None, None]
        return float(np.mean(squares * weight)), slope

    def silent_trials(self, observed: np.ndarray, targets: np.ndarray) -> int:
        """Count the trials in which a neuron has less than its targets ask for; see `Loss.silent_trials`."""
        found, wanted = self.compared(observed, targets)
        lacking = np.isfinite(wanted).sum(axis=2) > np.isfinite(found).sum(axis=2)
        return int(np.count_nonzero(lacking.any(axis=1)))


@dataclass(frozen=True)
class SpikeTimeError(Deviations):
    """Mean squared deviation of output spikes from target spikes, for learning given spike trains.

    Matching is by order: spike j of a neuron belongs to target j of that neuron. A trial's loss is the mean over its
    target spikes of ``((t - target) / tau)^2``; a trial without targets has loss 0.

    * A missing spike (more targets than spikes) counts as a deviation of `missing`, a constant, so it has no gradient:
      spikes are not created by following the gradient. `silent_trials` counts the trials that miss one.
    * A surplus spike (more spikes than targets) costs nothing and has no gradient.

    Attributes
    ----------
    tau : float
        Unit of the deviations, in seconds.
    missing : float
        Deviation that a missing spike counts for, in seconds.
    population : str
        Whose spikes are read; the output's if empty.
    """

    def compared(self, observed: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Spike times and target times; see `Deviations.compared`."""
        times = checked_spike_times(observed)
        return times, wanted_spike_times(targets, times)

    def check_targets(self, targets: Any, network: Network, name: str = "targets", reach: float = 1.0) -> None:
        """Refuse what are no spike times within the trial; see `Loss.check_targets`."""
        check_wanted(targets, self.population, network, name, reach)

    def spikes_needed(self, observed: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """As many as there are target spikes; see `Loss.spikes_needed`."""
        return spikes_wanted(observed, targets)

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        """Evaluate on spike times and target times ``(trials, n, k)`` in seconds, k may differ; see `Loss.evaluate`."""
        value, slope = self.mean_square(*self.compared(observed, targets))
        return LossValue(value, slope.reshape(np.shape(observed)))


@dataclass(frozen=True)
class SpikeTimeFunction(Loss):
    """A user's own loss, as a function of output spike times.

    Attributes
    ----------
    function : callable
        ``function(times, targets)`` returns the loss (mean over the trials) and its derivative by `times`, per second,
        in the shape of `times` and 0 where `times` is ``inf``. `times` has shape ``(trials, n, k)``, in seconds.
    predict : callable, optional
        ``predict(times)`` returns a class per trial; without it the loss doesn't classify.
    population : str
        Whose spikes are read; the output's if empty.
    """

    function: Callable[[np.ndarray, np.ndarray], tuple[float, np.ndarray]]
    predict: Callable[[np.ndarray], np.ndarray] | None = None
    population: str = ""

    def __post_init__(self) -> None:
        FunctionLoss(self.function, predict=self.predict)  # which checks them

    @property
    def observes(self) -> Observable:
        """All spike times."""
        return SpikeTimes(self.population)

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        """Call the function and check what it returns, as `FunctionLoss` does; see `Loss.evaluate`.

        Raises
        ------
        ValueError
            If that is no finite loss with a finite derivative in the shape of the spike times and 0 at the padding, or
            no class for each trial.
        """
        times = checked_spike_times(observed)
        found = FunctionLoss(self.function, SpikeTimes(self.population), self.predict).evaluate(times, targets)
        gradient = np.asarray(found.gradient).reshape(np.shape(observed))
        return LossValue(found.value, gradient, found.predictions)
