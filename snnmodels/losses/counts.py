"""Losses on how many spikes there are, whose exact derivative is 0, and surrogates for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..templates.arguments import check_choice, check_numbers
from ..templates.network import Network
from ..templates.quantities import take_seconds
from .base import Loss, LossValue, take_times
from .observables import Observable, SpikeTimes
from .observed import check_positive, checked_spike_times, finite_targets, neurons_read

__all__ = ["SURROGATES", "ActivityPrice", "CountError"]

SURROGATES = ("latency", "window")
"""What may stand for the derivative of a count by a spike time.

``"latency"``: as if a spike at t counted as ``1 - t/width``; the derivative is ``-1/width``. Where more spikes are
wanted all come earlier, which makes room for others, and later where fewer are.

``"window"``: as if a spike counted as ``1/(1 + exp((t - end)/width))``: only those near `end` move, out of the trial
or into it.

Both move spikes that are there. Neither sees a neuron that is silent.
"""


@dataclass(frozen=True)
class _Counting(Loss):
    """What losses on counts share: see `CountError` for the attributes."""

    surrogate: str = ""
    width: float = 20e-3
    end: float | None = None
    population: str = ""

    def __post_init__(self) -> None:
        check_choice("surrogate", self.surrogate, ("", *SURROGATES))
        take_times(self)
        check_positive(width=self.width)
        if self.end is not None:
            check_positive(end=self.end)
        elif self.surrogate == "window":
            raise ValueError("surrogate='window' needs end, the time in seconds until which spikes are counted")

    @property
    def observes(self) -> Observable:
        """All spike times."""
        return SpikeTimes(self.population)

    @property
    def no_gradient(self) -> str:
        """Why there is none, without a surrogate; see `Loss.no_gradient`."""
        if self.surrogate:
            return ""
        return (
            f"{type(self).__name__} counts spikes, and the exact derivative of a count is 0 wherever it has one: name "
            f"a surrogate, as in {type(self).__name__}(surrogate='latency'), out of {', '.join(map(repr, SURROGATES))}"
        )

    @property
    def surrogates(self) -> tuple[str, ...]:
        """The one that is named; see `Loss.surrogates`."""
        return (self.surrogate,) if self.surrogate else ()

    def _counted(self, times: np.ndarray) -> np.ndarray:
        return np.isfinite(times) & (times < (np.inf if self.end is None else self.end))

    def _slope(self, times: np.ndarray) -> np.ndarray:
        """What stands for the derivative of a neuron's count by each of its spike times; 0 without a surrogate."""
        there = self._counted(times)
        if self.surrogate == "latency":
            return np.where(there, -1 / self.width, 0.0)
        if self.surrogate == "window":
            assert self.end is not None
            half = np.exp(-np.abs(np.where(there, times, 0.0) - self.end) / self.width)
            return np.where(there, -half / (1 + half) ** 2 / self.width, 0.0)
        return np.zeros(times.shape)


@dataclass(frozen=True)
class CountError(_Counting):
    """Mean squared deviation of spike counts, or rates, from targets, summed over neurons.

    A trial's loss is the sum over neurons of ``((count/per - target)/scale)^2``: with `per` the duration of a trial in
    seconds, targets are rates in hertz. The exact derivative of a count is 0 where it has one. Without a surrogate the
    loss can be evaluated but not trained on; with one, what takes the derivative's place is that of the squares, times
    that of the `surrogate` in the place of the count's. A gradient of counts themselves has `ExpressionLoss`, as in
    ``(sum_spikes(exp(-t/tau)) - target)**2``.

    Attributes
    ----------
    surrogate : {"", "latency", "window"}
        See `SURROGATES`.
    width : float
        Time scale of the surrogate, in seconds.
    end : float, optional
        Seconds until which spikes are counted; all are unless given.
    population : str
        Whose spikes are read; the output's if empty.
    per : float
        What counts are divided by.
    scale : float
        Unit of the deviations.
    """

    per: float = 1.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        take_seconds(self, "per")
        check_positive(per=self.per, scale=self.scale)

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        """Evaluate on spike times ``(trials, n, k)`` in seconds and targets ``(trials, n)``; see `Loss.evaluate`."""
        times = checked_spike_times(observed)
        wanted = self._wanted(targets, times.shape[:2])
        deviation = (self._counted(times).sum(axis=2) / self.per - wanted) / self.scale
        slope = 2 * deviation[:, :, None] / self.scale / self.per * self._slope(times)
        trials = len(times)
        return LossValue(float((deviation**2).sum()) / trials, (slope / trials).reshape(np.shape(observed)))

    def check_targets(self, targets: Any, network: Network, name: str = "targets", reach: float = 1.0) -> None:
        """Refuse what is no finite number for each neuron; see `Loss.check_targets`."""
        self._wanted(targets, (len(targets), neurons_read(self.population, network)), name)

    @staticmethod
    def _wanted(targets: Any, shape: tuple[int, ...], name: str = "targets") -> np.ndarray:
        return finite_targets(targets, shape, name, "a number for each neuron, shape", "numbers of spikes")

    def silent_trials(self, observed: np.ndarray, targets: np.ndarray) -> int:
        """Count the trials in which a neuron that should spike is silent; see `Loss.silent_trials`."""
        silent = ~np.isfinite(checked_spike_times(observed)).any(axis=2)
        return int(np.count_nonzero((silent & (np.asarray(targets) > 0)).any(axis=1)))


@dataclass(frozen=True)
class ActivityPrice(_Counting):
    """A price on every spike of a population: `price` times the mean number of spikes in a trial.

    Targets are not read. The exact derivative is 0, as for `CountError`.

    Attributes
    ----------
    surrogate, width, end, population
        As for `CountError`.
    price : float
        Of a spike.
    """

    price: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(price=self.price)

    def evaluate(self, observed: np.ndarray, targets: Any) -> LossValue:
        """Evaluate on spike times ``(trials, n, k)`` in seconds; see `Loss.evaluate`."""
        times = checked_spike_times(observed)
        each = self.price / len(times)
        value = each * np.count_nonzero(self._counted(times))
        return LossValue(float(value), (each * self._slope(times)).reshape(np.shape(observed)))
