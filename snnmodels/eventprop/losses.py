"""Loss functions on output spike times, and on maxima and samples of the output's membrane potential."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .protocol import Loss, LossValue, Observable

__all__ = ["MaxVoltageCrossEntropy", "SpikeTimeError", "SpikeTimeFunction", "TTFSCrossEntropy", "VoltageError"]


# Seconds by which a spike may precede the one before it: a grid simulation adds a step's time and an offset in it.
_ROUNDING = 1e-12


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
    """

    tau0: float = 0.5e-3
    tau1: float = 6.4e-3
    alpha: float = 3e-3
    observable: ClassVar[Observable] = "spike_times"

    def __post_init__(self) -> None:
        _check_positive(tau0=self.tau0, tau1=self.tau1)
        if not self.alpha >= 0:
            raise ValueError(f"alpha: expected a number of at least 0, got {self.alpha}")

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        """Evaluate on spike times ``(trials, n, k)`` in seconds and labels ``(trials,)``."""
        times = _spike_times(observed)
        first = _first_spikes(times)
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

    def silent_trials(self, observed: np.ndarray, targets: np.ndarray) -> int:
        """Count the trials whose label neuron did not spike."""
        times = np.asarray(observed)
        first = times if times.ndim == 2 else _first_spikes(times)
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
    """

    variable: str = "v"
    scale: float = 1.0
    observable: ClassVar[Observable] = "voltage_max"

    def __post_init__(self) -> None:
        _check_positive(scale=self.scale)

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        """Evaluate on maxima ``(trials, n)`` and labels ``(trials,)``."""
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


@dataclass(frozen=True)
class VoltageError(Loss):
    """Mean squared error of the output potential at regular times, for read-outs that are to follow a signal.

    With ``v_n(t_k)`` the potential of output neuron n at ``t_k = (k + 1)*interval`` and x the target, the loss is the
    mean over trials and over the samples k >= `skip` of ``sum_n ((v_n(t_k) - x_n(t_k))/scale)^2``. Samples are
    taken at those very times, just before an event that falls on one.

    Meant for read-outs whose potential is continuous (exponential or alpha synapses): then the loss is a Riemann sum of
    the squared error over time, and so is its gradient. With a delta synapse the potential jumps at every arrival, and
    a sample changes by a jump when an arrival passes its time; no derivative sees that.

    Attributes
    ----------
    variable : str
        The state variable that is read.
    interval : float
        Seconds between samples.
    skip : int
        Samples at the start of a trial that don't count.
    scale : float
        Unit of the error: 1 for dimensionless models; a model in volts wants something like 0.01.
    """

    variable: str = "v"
    interval: float = 1e-3
    skip: int = 0
    scale: float = 1.0
    observable: ClassVar[Observable] = "voltage_samples"

    def __post_init__(self) -> None:
        _check_positive(interval=self.interval, scale=self.scale)
        if not (isinstance(self.skip, int | np.integer) and self.skip >= 0):
            raise ValueError(f"skip: expected a whole number of at least 0, got {self.skip!r}")

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        """Evaluate on samples and targets, both ``(trials, n, samples)`` and in the unit of the variable.

        Raises
        ------
        ValueError
            If the shapes differ, a value is not finite, or no sample is left to count.
        """
        samples, wanted = np.asarray(observed, dtype=float), np.asarray(targets, dtype=float)
        if samples.ndim != 3:
            raise ValueError(f"samples: expected shape (trials, n, samples), got {samples.shape}")
        if wanted.shape != samples.shape:
            raise ValueError(f"targets: expected shape (trials, n, samples) = {samples.shape}, got {wanted.shape}")
        if self.skip >= samples.shape[2]:
            raise ValueError(f"skip: expected less than the {samples.shape[2]} samples of a trial, got {self.skip}")
        for name, values in (("samples", samples), ("targets", wanted)):
            if not np.isfinite(values).all():
                raise ValueError(f"{name}: expected finite values, got NaN or inf")
        error = (samples - wanted) / self.scale
        error[:, :, : self.skip] = 0.0
        counted = samples.shape[0] * (samples.shape[2] - self.skip)
        return LossValue(float(np.sum(error**2) / counted), 2 * error / (self.scale * counted))


@dataclass(frozen=True)
class SpikeTimeError(Loss):
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
    """

    tau: float = 1e-3
    missing: float = 10e-3
    observable: ClassVar[Observable] = "spike_times"

    def __post_init__(self) -> None:
        _check_positive(tau=self.tau, missing=self.missing)

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        """Evaluate on spike times and target times ``(trials, n, k)`` in seconds; the k may differ."""
        times = _spike_times(observed)
        wanted = self._targets(targets, times)
        matched = min(times.shape[2], wanted.shape[2])
        hit = np.isfinite(times[..., :matched]) & np.isfinite(wanted[..., :matched])
        deviation = np.subtract(times[..., :matched], wanted[..., :matched], out=np.zeros(hit.shape), where=hit)
        n_wanted = np.isfinite(wanted).sum(axis=(1, 2))
        n_missing = n_wanted - hit.sum(axis=(1, 2))
        weight = 1 / np.maximum(n_wanted, 1)
        squares = np.sum((deviation / self.tau) ** 2, axis=(1, 2)) + n_missing * (self.missing / self.tau) ** 2
        gradient = np.zeros_like(times)
        gradient[..., :matched] = 2 * deviation / self.tau**2 * (weight / len(times))[:, None, None]
        return LossValue(float(np.mean(squares * weight)), gradient.reshape(np.shape(observed)))

    def silent_trials(self, observed: np.ndarray, targets: np.ndarray) -> int:
        """Count the trials in which a neuron spikes less often than its targets ask."""
        times = _spike_times(observed)
        wanted = self._targets(targets, times)
        lacking = np.isfinite(wanted).sum(axis=2) > np.isfinite(times).sum(axis=2)
        return int(np.count_nonzero(lacking.any(axis=1)))

    @staticmethod
    def _targets(targets: np.ndarray, times: np.ndarray) -> np.ndarray:
        wanted = _spike_times(targets, "targets")
        if wanted.shape[:2] != times.shape[:2]:
            raise ValueError(f"targets: expected shape {times.shape[:2]} + (spikes,), got {wanted.shape}")
        return wanted


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
    """

    function: Callable[[np.ndarray, np.ndarray], tuple[float, np.ndarray]]
    predict: Callable[[np.ndarray], np.ndarray] | None = None
    observable: ClassVar[Observable] = "spike_times"

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        """Call the function and check what it returns."""
        times = _spike_times(observed)
        name = getattr(self.function, "__name__", "function")
        returned = self.function(times, targets)
        if not (isinstance(returned, tuple) and len(returned) == 2):
            raise ValueError(f"{name}: expected a tuple (loss, derivative), got {type(returned).__name__}")
        value, gradient = returned[0], np.asarray(returned[1], dtype=float)
        if np.ndim(value) != 0 or not np.isfinite(value):
            raise ValueError(f"{name}: expected the loss to be one finite number, got {value}")
        if gradient.shape != times.shape:
            raise ValueError(f"{name}: expected a derivative of shape {times.shape}, got {gradient.shape}")
        if not np.isfinite(gradient).all():
            raise ValueError(f"{name}: the derivative is NaN or inf for {np.sum(~np.isfinite(gradient))} spikes")
        if gradient[np.isinf(times)].any():
            raise ValueError(f"{name}: the derivative must be 0 where a spike time is inf (padding)")
        predictions = None
        if self.predict is not None:
            predictions = np.asarray(self.predict(times))
            if predictions.shape != (len(times),) or not np.issubdtype(predictions.dtype, np.integer):
                raise ValueError(
                    f"predict: expected {len(times)} integers, got {predictions.dtype} {predictions.shape}"
                )
        return LossValue(float(value), gradient.reshape(np.shape(observed)), predictions)


def _spike_times(times: np.ndarray, name: str = "times") -> np.ndarray:
    """Checked spike times as ``(trials, n, k)``."""
    times = np.asarray(times, dtype=float)
    if times.ndim == 2:
        times = times[..., None]
    if times.ndim != 3:
        raise ValueError(f"{name}: expected shape (trials, n, spikes), got {times.shape}")
    if not (times >= 0).all():
        if np.isnan(times).any():
            raise ValueError(f"{name}: got NaN; a spike that doesn't occur is inf")
        raise ValueError(f"{name}: expected no negative spike time, got {times.min()} s")
    if times.shape[2] > 1 and (times[..., 1:] < times[..., :-1] - _ROUNDING).any():
        raise ValueError(f"{name}: expected ascending spike times of each neuron")
    return times


def _first_spikes(times: np.ndarray) -> np.ndarray:
    """First spike of each neuron, ``(trials, n)``; the last axis may be empty when nothing spiked."""
    return times[..., 0] if times.shape[2] else np.full(times.shape[:2], np.inf)


def labels_of(targets: np.ndarray, trials: int, n: int) -> np.ndarray:
    """Checked class labels, ``(trials,)``."""
    labels = np.asarray(targets)
    if labels.shape != (trials,):
        raise ValueError(f"targets: expected one label per trial, shape ({trials},), got {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"targets: expected integer labels, got {labels.dtype}")
    if trials and not (labels.min() >= 0 and labels.max() < n):
        wrong = labels[(labels < 0) | (labels >= n)][0]
        raise ValueError(f"targets: label {wrong} is out of range for {n} output neurons (0 to {n - 1})")
    return labels


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name}: expected a positive number, got {value}")
