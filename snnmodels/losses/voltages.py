"""Losses on samples of a membrane potential."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..templates.errors import brief
from ..templates.network import Network
from .base import Loss, LossValue, take_times
from .observables import Observable, Samples
from .observed import check_positive, finite_targets, neurons_read

__all__ = ["VoltageError"]


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
    population : str
        Whose samples are read; the output's if empty.
    """

    variable: str = "v"
    interval: float = 1e-3
    skip: int = 0
    scale: float = 1.0
    population: str = ""

    def __post_init__(self) -> None:
        take_times(self)
        check_positive(interval=self.interval, scale=self.scale)
        if not (isinstance(self.skip, int | np.integer) and self.skip >= 0):
            raise ValueError(f"skip: expected a whole number of at least 0, got {brief(self.skip)}")

    @property
    def observes(self) -> Observable:
        """Samples at regular times."""
        return Samples(self.population, self.variable, self.interval)

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        """Evaluate on samples and targets, both ``(trials, n, samples)`` and in the unit of the variable.

        Raises
        ------
        ValueError
            If the shapes differ, a value is not finite, or no sample is left to count.
        """
        samples = np.asarray(observed, dtype=float)
        if samples.ndim != 3:
            raise ValueError(f"samples: expected shape (trials, n, samples), got {samples.shape}")
        wanted = self._wanted(targets, samples.shape)
        if self.skip >= samples.shape[2]:
            raise ValueError(f"skip: expected less than the {samples.shape[2]} samples of a trial, got {self.skip}")
        if not np.isfinite(samples).all():
            raise ValueError("samples: expected finite values, got NaN or inf")
        error = (samples - wanted) / self.scale
        error[:, :, : self.skip] = 0.0
        counted = samples.shape[0] * (samples.shape[2] - self.skip)
        return LossValue(float(np.sum(error**2) / counted), 2 * error / (self.scale * counted))

    def check_targets(self, targets: Any, network: Network, name: str = "targets", reach: float = 1.0) -> None:
        """Refuse what is no finite value for each sample; see `Loss.check_targets`."""
        samples = len(Samples(interval=self.interval).times(network.duration))
        self._wanted(targets, (len(targets), neurons_read(self.population, network), samples), name)

    @staticmethod
    def _wanted(targets: Any, shape: tuple[int, ...], name: str = "targets") -> np.ndarray:
        return finite_targets(targets, shape, name, "shape (trials, n, samples) =", "values")
