"""What losses, gradient sources and training hand to each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

import numpy as np

from ..templates.network import Network

__all__ = ["GradientSource", "GradientWrapper", "Loss", "LossValue", "Observable", "Outcome"]

Observable = Literal["spike_times", "voltage_max", "voltage_samples"]


@dataclass(frozen=True)
class LossValue:
    """A loss on one batch.

    Attributes
    ----------
    value : float
        Mean over the trials.
    gradient : array
        Derivative of `value` by what the loss observed, in the shape of that; per second for spike times, with 0 at
        the padding.
    predictions : int array, shape (trials,), or None
        Predicted class, -1 where there is none; None for a loss that doesn't classify.
    """

    value: float
    gradient: np.ndarray
    predictions: np.ndarray | None = None


class Loss(ABC):
    """A function of what the output population does, with its derivative.

    Attributes
    ----------
    observable : {"spike_times", "voltage_max", "voltage_samples"}
        What `evaluate` reads: spike times ``(trials, n, k)`` in seconds, ascending and padded with ``inf``; the maximum
        over time of a state variable of each output neuron, ``(trials, n)``; or samples of it, ``(trials, n, k)``.
    variable : str
        The state variable that is read.
    interval : float
        Seconds between samples: sample k, from 0, is taken at ``(k + 1)*interval``, the last not after the trial.
    """

    observable: ClassVar[Observable]
    variable: str = "v"
    interval: float = 1e-3

    @abstractmethod
    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        """Value, derivative and predictions for one batch.

        Parameters
        ----------
        observed : array
            Spike times, maxima or samples, as `observable` says.
        targets : array, shape (trials, ...)
            What the loss compares with.

        Raises
        ------
        ValueError
            If a shape doesn't fit, a value is NaN, or a label is out of range.
        """

    def silent_trials(self, observed: np.ndarray, targets: np.ndarray) -> int:
        """Count the trials in which a spike that the loss needs is missing, so that it teaches nothing (or less)."""
        return 0


@dataclass(frozen=True)
class Outcome:
    """What one batch gave.

    Attributes
    ----------
    loss : float
        Mean over the trials.
    predictions : int array, shape (trials,), or None
        As in `LossValue`.
    gradients : mapping of str to array
        By key of `Network.trainable`, and ``"<input>.times"`` where the source gives it; empty when not asked for.
    spikes : mapping of str to float
        Mean number of spikes per trial of each population.
    smallest_gdot : float
        Smallest rate at which an event function crossed 0; ``inf`` when nothing crossed: no spike,
        or all of them caused at once by arrivals or ends of refractory periods.
    output : array
        What the loss read.
    ties : int
        Instants at which several spikes arrived at a population, or several of its neurons spiked: there a gradient may
        be one-sided.
    silent : int or None
        Trials in which a spike that the loss needs is missing, where the source has counted them; else the loss can.
    unresolved : int
        Of a `GridSimulation`: spikes whose time could not be found within a step, so that they were put at its edge.
    """

    loss: float
    predictions: np.ndarray | None
    gradients: Mapping[str, np.ndarray] = field(default_factory=dict)
    spikes: Mapping[str, float] = field(default_factory=dict)
    smallest_gdot: float = float("inf")
    output: np.ndarray = field(default_factory=lambda: np.empty(0))
    ties: int = 0
    silent: int | None = None
    unresolved: int = 0


class GradientSource(Protocol):
    """Whatever simulates a network and returns its loss and gradients; `Simulation` is one."""

    @property
    def network(self) -> Network:
        """The network that is simulated."""

    @property
    def loss(self) -> Loss:
        """The loss that is differentiated."""

    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        targets: np.ndarray,
        values: Mapping[str, np.ndarray] | None = None,
        *,
        gradient: bool = True,
    ) -> Outcome:
        """Simulate one batch, at most as many trials as the source was made for.

        Parameters
        ----------
        inputs : mapping of str to array, shape (trials, n) or (trials, n, spikes)
            Spike times in seconds by input name, ascending and padded with ``inf``.
        targets : array, shape (trials, ...)
            For the loss.
        values : mapping of str to array, optional
            Replaces the network's own, by key of `Network.trainable`.
        gradient : bool
            Whether to run backward too.
        """

    def close(self) -> None:
        """Release what the source holds (processes, files)."""


class GradientWrapper(ABC):
    """A `GradientSource` that changes what goes into another one, or what comes out of it."""

    def __init__(self, source: GradientSource) -> None:
        self._source = source

    @property
    def network(self) -> Network:
        """The network that is simulated."""
        return self._source.network

    @property
    def loss(self) -> Loss:
        """The loss that is differentiated."""
        return self._source.loss

    @abstractmethod
    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        targets: np.ndarray,
        values: Mapping[str, np.ndarray] | None = None,
        *,
        gradient: bool = True,
    ) -> Outcome:
        """Simulate one batch; see `GradientSource.run`."""

    def close(self) -> None:
        """Release what the source holds."""
        self._source.close()
