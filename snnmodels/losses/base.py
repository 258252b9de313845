"""What a loss is, and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

__all__ = ["Loss", "LossValue", "Observable"]

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
