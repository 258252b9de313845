"""Cross-entropies over the neurons of the output: on first spikes, and on maxima of the membrane potential."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..templates.arguments import check_numbers
from ..templates.network import Network
from .base import Loss, LossValue, take_times
from .observables import Maxima, Observable, SpikeTimes
from .observed import check_positive, checked_spike_times, first_spikes, labels_of, neurons_read

__all__ = ["MaxVoltageCrossEntropy", "TTFSCrossEntropy", "compiled"]


@dataclass(frozen=True)
class TTFSCrossEntropy(Loss):
    """Cross-entropy on times to first spike: the label's neuron should fire first.

    With ``t_k`` the first spike of output neuron k and y the label, a trial's loss is
    ``-log(exp(-t_y/tau0) / sum_k exp(-t_k/tau0)) + alpha (exp(t_y/tau1) - 1)``; a silent neuron has
    ``exp(-inf) = 0``. Only first spikes matter. Source: Wunderlich & Pehle (2021), Sci. Rep. 11:12829.

    A trial whose label neuron is silent has no finite loss. It contributes no gradient (one to the other neurons only
    would silence the output), and its value counts as ``log(n)``, what guessing among n outputs costs, so that a
    silent network does not look like a good one. `silent_trials` counts these trials.

    The prediction is the neuron that fires first (the one of lowest index on a tie), and -1 if none fires.

    Attributes
    ----------
    tau0, tau1 : float
        Time scales of the cross-entropy and of the early-spike term, in seconds.
    alpha : float
        Weight of the early-spike term.
    population : str
        Whose spikes are read; the output's if empty.
    """

    tau0: float = 0.5e-3
    tau1: float = 6.4e-3
    alpha: float = 3e-3
    population: str = ""

    def __post_init__(self) -> None:
        take_times(self)
        check_positive(tau0=self.tau0, tau1=self.tau1)
        check_numbers(alpha=self.alpha)
        if not self.alpha >= 0:
            raise ValueError(f"alpha: expected a number of at least 0, got {self.alpha}")

    @property
    def observes(self) -> Observable:
        """All spike times; only the first of each neuron counts."""
        return SpikeTimes(self.population)

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        """Evaluate on spike times ``(trials, n, k)`` in seconds and labels ``(trials,)``; see `Loss.evaluate`."""
        times = checked_spike_times(observed)
        first = first_spikes(times)
        trials, n = first.shape
        labels = labels_of(targets, trials, n)
        rows = np.arange(trials)
        label_time = first[rows, labels]
        heard = np.isfinite(label_time)
        label_time = np.where(heard, label_time, 0.0)
        earliest = first.min(axis=1)

        # Relative to the earliest spike, so that late ones don't underflow. Silent trials get harmless numbers.
        share = np.exp((np.where(heard, earliest, 0.0)[:, None] - first) / self.tau0)
        total = np.where(heard, share.sum(axis=1), 1.0)
        cross_entropy = np.log(total) + (label_time - np.where(heard, earliest, 0.0)) / self.tau0
        early = np.expm1(label_time / self.tau1)
        value = np.sum(np.where(heard, cross_entropy + self.alpha * early, np.log(n))) / trials

        by_time = share * (-1 / self.tau0 / total)[:, None]
        by_time[rows, labels] += 1 / self.tau0 + self.alpha / self.tau1 * (early + 1)
        gradient = np.zeros_like(times)
        if times.shape[2]:
            gradient[:, :, 0] = by_time * (heard / trials)[:, None]
        predictions = np.where(np.isfinite(earliest), first.argmin(axis=1), -1)
        return LossValue(float(value), gradient.reshape(np.shape(observed)), predictions)

    def check_targets(self, targets: Any, network: Network, name: str = "targets", reach: float = 1.0) -> None:
        """Refuse what is no label for each trial; see `Loss.check_targets`."""
        labels_of(targets, len(targets), neurons_read(self.population, network), name)

    def spikes_needed(self, observed: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """One of every neuron; see `Loss.spikes_needed`."""
        return np.ones(np.shape(observed)[:2], dtype=int)

    def silent_trials(self, observed: np.ndarray, targets: np.ndarray) -> int:
        """Count the trials whose label neuron did not spike; see `Loss.silent_trials`."""
        times = np.asarray(observed)
        first = times if times.ndim == 2 else first_spikes(times)
        return int(np.count_nonzero(np.isinf(first[np.arange(len(first)), targets])))


@dataclass(frozen=True)
class MaxVoltageCrossEntropy(Loss):
    """Cross-entropy on the maximum over time of each output neuron's membrane potential.

    A trial's loss is ``-log(exp(m_y/scale) / sum_k exp(m_k/scale))`` with m the maxima and y the label; the
    prediction is the neuron of largest maximum. Meant for non-spiking readouts. Source: Wunderlich & Pehle (2021),
    Sci. Rep. 11:12829.

    Attributes
    ----------
    variable : str
        The state variable that is read.
    scale : float
        Unit of the maxima: 1 for dimensionless models; a model in volts wants something like 0.01.
    population : str
        Whose maxima are read; the output's if empty.
    """

    variable: str = "v"
    scale: float = 1.0
    population: str = ""

    def __post_init__(self) -> None:
        check_positive(scale=self.scale)

    @property
    def observes(self) -> Observable:
        """Maxima over time."""
        return Maxima(self.population, self.variable)

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        """Evaluate on maxima ``(trials, n)`` and labels ``(trials,)``; see `Loss.evaluate`."""
        maxima = np.asarray(observed, dtype=float)
        if maxima.ndim != 2:
            raise ValueError(f"maxima: expected shape (trials, n), got {maxima.shape}")
        if not np.isfinite(maxima).all():
            raise ValueError("maxima: expected finite values, got NaN or inf")
        trials, n = maxima.shape
        labels = labels_of(targets, trials, n)
        rows = np.arange(trials)
        score = maxima / self.scale
        score -= score.max(axis=1, keepdims=True)
        share = np.exp(score)
        total = share.sum(axis=1, keepdims=True)
        value = np.mean(np.log(total[:, 0]) - score[rows, labels])
        gradient = share / total
        gradient[rows, labels] -= 1
        gradient /= self.scale * trials
        return LossValue(float(value), gradient, maxima.argmax(axis=1))

    def check_targets(self, targets: Any, network: Network, name: str = "targets", reach: float = 1.0) -> None:
        """Refuse what is no label for each trial; see `Loss.check_targets`."""
        labels_of(targets, len(targets), neurons_read(self.population, network), name)


def compiled(loss: Loss) -> tuple[int, tuple[float, ...]] | None:
    """What compiled programs know a loss as (targets/cpp/runtime/losses.h): its number and constants.

    Parameters
    ----------
    loss : Loss

    Returns
    -------
    tuple, or None for one that they don't know
    """
    # not of derived classes, which may mean something else
    if type(loss) is TTFSCrossEntropy:
        return 0, (loss.tau0, loss.tau1, loss.alpha)
    if type(loss) is MaxVoltageCrossEntropy:
        return 1, (loss.scale,)
    return None
