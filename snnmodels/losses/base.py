"""What a loss is, what it returns, and sums of losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from ..datasets.targets import named_targets
from ..templates.errors import brief
from ..templates.network import Network
from ..templates.quantities import take_seconds
from ..templates.schema import LOSS_TIMES
from .observables import Observable, Primitive

__all__ = [
    "Loss",
    "LossValue",
    "Observed",
    "SumOfLosses",
    "alike",
    "evaluated",
    "observables_of",
    "primitives",
    "several",
    "shown",
    "simulated",
    "take_times",
]

Observed = np.ndarray | tuple[np.ndarray, ...]
"""One array, or one for each observable where a loss reads several."""


@dataclass(frozen=True)
class LossValue:
    """A loss on one batch.

    Attributes
    ----------
    value : float
        Mean over the trials.
    gradient : array or tuple of array
        Derivative of `value` by what the loss observed, in the shape of that; per second for spike times, with 0 at
        the padding.
    predictions : int array, shape (trials,), or None
        Predicted class, -1 where there is none; None for a loss that doesn't classify.
    """

    value: float
    gradient: Observed
    predictions: np.ndarray | None = None


class Loss(ABC):
    """A function of what a network does, with its derivative. Losses add up, and are multiplied by numbers."""

    @property
    @abstractmethod
    def observes(self) -> Observable | tuple[Observable, ...]:
        """What `evaluate` reads: one array, or a tuple of them, in that order."""

    @abstractmethod
    def evaluate(self, observed: Any, targets: np.ndarray) -> LossValue:
        """Value, derivative and predictions for one batch.

        Parameters
        ----------
        observed : array or tuple of array
            As `observes` says.
        targets : array, shape (trials, ...)
            What the loss compares with.

        Raises
        ------
        ValueError
            If a shape doesn't fit, a value is NaN, or a label is out of range.
        """

    def __str__(self) -> str:
        """What it is and its options, times in ms, without what is left open."""
        loss: Any = self  # one of a user's own need be no dataclass
        if not is_dataclass(loss):
            return repr(loss)
        given = {f.name: getattr(loss, f.name) for f in fields(loss)}
        told = (f"{k}={_told(k, v)}" for k, v in given.items() if v is not None and v != "" and v != {})
        return f"{type(self).__name__}({', '.join(told)})"

    def silent_trials(self, observed: Any, targets: np.ndarray) -> int:
        """Count the trials in which a spike that the loss needs is missing, so that it teaches nothing (or less).

        Parameters
        ----------
        observed, targets
            As for `evaluate`.
        """
        return 0

    @property
    def no_gradient(self) -> str:
        """Why it can be evaluated but not differentiated, and what to do; empty where it can."""
        return ""

    @property
    def surrogates(self) -> tuple[str, ...]:
        """What takes the place of derivatives that are 0, by name; where there is any, it is not that of the value."""
        return ()

    def for_network(self, network: Network) -> Loss:
        """The loss with what it has to know of a network: itself, unless what it reads depends on that.

        Parameters
        ----------
        network : Network

        Raises
        ------
        ValueError
            If it doesn't fit the network.
        """
        return self

    def spikes_needed(self, observed: Any, targets: np.ndarray) -> np.ndarray:
        """How many spikes of each neuron are compared with something: `Pseudospikes` provides as many.

        Parameters
        ----------
        observed, targets
            As for `evaluate`.

        Returns
        -------
        int array, shape (trials, n)

        Raises
        ------
        ValueError
            If there is no such number.
        """
        raise ValueError(f"{type(self).__name__} doesn't say how many spikes of a neuron it needs; give `spikes`")

    def pseudospikes(self, observed: Any, targets: np.ndarray) -> dict[str, float]:
        """Mean number per trial of those that stood in for missing spikes, by population; see `Pseudospikes`.

        Parameters
        ----------
        observed, targets
            As for `evaluate`.
        """
        return {}

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names that a mapping of targets has to have; empty where it compares with one array."""
        return ()

    def check(self, network: Network) -> None:  # noqa: B027 (most losses fit every network that has what they observe)
        """Raise `ValueError` if the loss does not fit a network, beside what its observables say.

        Parameters
        ----------
        network : Network
        """

    def check_targets(self, targets: Any, network: Network, name: str = "targets", reach: float = 1.0) -> None:  # noqa: B027 (a loss of one's own may take any)
        """Refuse targets that no run of a network can be compared with, before it is simulated.

        Parameters
        ----------
        targets : array, shape (trials, ...)
            Of any number of trials.
        network : Network
        name : str
            Of the targets, for messages.
        reach : float
            Lengths of a trial within which a spike can be wanted.

        Raises
        ------
        ValueError
            For another shape, labels that are none, or times after the end of the trial: they are in milliseconds
            where seconds are expected.
        """

    @property
    def observables(self) -> tuple[Observable, ...]:
        """What is read, as a tuple."""
        given: Any = self.observes
        found = tuple(given) if several(given) else (given,)
        for seen in found:
            if not isinstance(seen, Observable):
                raise ValueError(f"{type(self).__name__}.observes has {seen!r}; expected observables, as SpikeTimes()")
        return found

    def __add__(self, other: Loss) -> SumOfLosses:
        if not isinstance(other, Loss):
            return NotImplemented
        return SumOfLosses((*_terms(self), *_terms(other)))

    def __mul__(self, factor: float) -> SumOfLosses:
        if not isinstance(factor, int | float | np.number):
            return NotImplemented
        return SumOfLosses(tuple((loss, factor * by) for loss, by in _terms(self)))

    __rmul__ = __mul__


@dataclass(frozen=True)
class SumOfLosses(Loss):
    """Losses, each times a number, on the same targets; predictions are those of the first that classifies.

    Attributes
    ----------
    terms : tuple of (Loss, float)
    """

    terms: tuple[tuple[Loss, float], ...]

    def __str__(self) -> str:
        """The terms, each with its number."""
        return " + ".join(str(loss) if factor == 1 else f"{factor:g} * {loss}" for loss, factor in self.terms)

    def __post_init__(self) -> None:
        for _, factor in self.terms:
            if not np.isfinite(factor):
                raise ValueError(f"a loss is multiplied by {factor}; expected a finite number")

    @property
    def observes(self) -> Observable | tuple[Observable, ...]:
        """What the terms read, term after term."""
        seen = tuple(seen for loss, _ in self.terms for seen in loss.observables)
        return seen if len(seen) > 1 else seen[0]

    def evaluate(self, observed: Any, targets: np.ndarray) -> LossValue:
        """Evaluate every term on its own part; see `Loss.evaluate`."""
        total, gradients, predictions = 0.0, [], None
        for (loss, factor), part in zip(self.terms, self._parts(observed), strict=True):
            value, derivatives = evaluated(loss, part, targets)
            total += factor * value.value
            gradients += [factor * np.asarray(g) for g in derivatives]
            predictions = value.predictions if predictions is None else predictions
        return LossValue(total, shown(self, gradients), predictions)

    def silent_trials(self, observed: Any, targets: np.ndarray) -> int:
        """The largest number of any term; see `Loss.silent_trials`."""
        parts = zip(self.terms, self._parts(observed), strict=True)
        return max(loss.silent_trials(part, targets) for (loss, _), part in parts)

    @property
    def no_gradient(self) -> str:
        """The first reason of a term; see `Loss.no_gradient`."""
        return next((loss.no_gradient for loss, _ in self.terms if loss.no_gradient), "")

    @property
    def surrogates(self) -> tuple[str, ...]:
        """Those of all terms; see `Loss.surrogates`."""
        return tuple(dict.fromkeys(name for loss, _ in self.terms for name in loss.surrogates))

    def for_network(self, network: Network) -> Loss:
        """The sum of what the terms are for a network; see `Loss.for_network`."""
        return SumOfLosses(tuple((loss.for_network(network), factor) for loss, factor in self.terms))

    def pseudospikes(self, observed: Any, targets: np.ndarray) -> dict[str, float]:
        """The largest number of any term; see `Loss.pseudospikes`."""
        most: dict[str, float] = {}
        for (loss, _), part in zip(self.terms, self._parts(observed), strict=True):
            for name, number in loss.pseudospikes(part, targets).items():
                most[name] = max(number, most.get(name, 0.0))
        return most

    @property
    def target_names(self) -> tuple[str, ...]:
        """Those of all terms; see `Loss.target_names`."""
        return tuple(dict.fromkeys(name for loss, _ in self.terms for name in loss.target_names))

    def check(self, network: Network) -> None:
        """Check every term; see `Loss.check`."""
        for loss, _ in self.terms:
            loss.check(network)

    def check_targets(self, targets: Any, network: Network, name: str = "targets", reach: float = 1.0) -> None:
        """Check those of every term; see `Loss.check_targets`."""
        for loss, _ in self.terms:
            loss.check_targets(targets, network, name, reach)

    def _parts(self, observed: Observed) -> list[Observed]:
        """What each term reads, as it reads it."""
        parts: list[Observed] = []
        values, start = alike(self, observed), 0
        for loss, _ in self.terms:
            own = values[start : start + len(loss.observables)]
            parts.append(shown(loss, own))
            start += len(own)
        return parts


def _terms(loss: Loss) -> tuple[tuple[Loss, float], ...]:
    return loss.terms if isinstance(loss, SumOfLosses) else ((loss, 1.0),)


def several(observes: Any) -> bool:
    """Whether what is to be read is a list of observables, so that there are as many arrays, even if it is one."""
    return isinstance(observes, tuple | list)


def observables_of(loss: Any) -> tuple[Observable, ...]:
    """What is read for a loss, or what is given itself.

    Parameters
    ----------
    loss : Loss, Observable, or tuple or list of Observable

    Raises
    ------
    ValueError
        For anything else, and for no observables.
    """
    if isinstance(loss, Loss):
        return loss.observables
    given = (loss,) if isinstance(loss, Observable) else tuple(loss) if several(loss) else ()
    if not given or not all(isinstance(seen, Observable) for seen in given):
        raise ValueError(f"loss is {brief(loss)}; expected a Loss, such as TTFSCrossEntropy(), or observables")
    return given


def take_times(loss: Any) -> None:
    """Options of a loss that are times and were given with units, as plain numbers of seconds.

    Parameters
    ----------
    loss : Loss
        A dataclass.

    Raises
    ------
    ValueError
        For another unit, or an array.
    """
    take_seconds(loss, *(f.name for f in fields(loss) if f.name in LOSS_TIMES))


def _told(name: str, value: Any) -> str:
    """An option as `Loss.__str__` writes it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_told('', v)}" for k, v in value.items()) + "}"
    if name in LOSS_TIMES:
        return f"{value * 1e3:g} ms"
    if isinstance(value, str):
        return repr(value)
    return value.__name__ if callable(value) and hasattr(value, "__name__") else f"{value}"


def shown(loss: Loss, values: Sequence[Any]) -> Any:
    """One value for each observable as a loss reads them: the value itself where it reads one thing; see `alike`.

    Parameters
    ----------
    loss : Loss
    values : sequence of array
    """
    return tuple(values) if several(loss.observes) else values[0]


def evaluated(loss: Loss, observed: Any, targets: np.ndarray) -> tuple[LossValue, tuple[np.ndarray, ...]]:
    """What `Loss.evaluate` returns, and its derivatives, one for each observable.

    Parameters
    ----------
    loss : Loss
    observed : array or tuple of array
    targets : array, shape (trials, ...), or mapping of str to array

    Raises
    ------
    ValueError
        If it is no `LossValue`, or has another number of derivatives.
    """
    if isinstance(targets, Mapping):
        targets = named_targets(targets)
    found: Any = loss.evaluate(observed, targets)
    if not isinstance(found, LossValue):
        raise ValueError(f"{type(loss).__name__}.evaluate returned {type(found).__name__}; expected a LossValue")
    return found, alike(loss, found.gradient)


def alike(loss: Loss, values: Any) -> tuple[np.ndarray, ...]:
    """One array for each observable of a loss.

    Parameters
    ----------
    loss : Loss
    values : array or tuple of array
        What the loss reads, or derivatives by that, as its `observes` says.

    Raises
    ------
    ValueError
        If there are not as many.
    """
    each = tuple(values) if several(loss.observes) else (values,)
    if len(each) != len(loss.observables):
        raise ValueError(f"{len(each)} arrays for the {len(loss.observables)} observables of {loss!r}")
    return each


def primitives(observables: Sequence[Observable], network: Network) -> tuple[Primitive, ...]:
    """What has to be watched of a network for each of some observables.

    Parameters
    ----------
    observables : sequence of Observable
    network : Network

    Returns
    -------
    tuple of Primitive
        In the order of the observables, each with the name of its population.

    Raises
    ------
    ValueError
        If the network has not what they read.
    """
    found = []
    for seen in observables:
        primitive: Any = seen.primitive(network)
        if not isinstance(primitive, Primitive):
            kind = type(seen).__name__
            raise ValueError(f"{kind}.primitive returned {primitive!r}; expected SpikeTimes, Maxima or Samples")
        found.append(primitive.primitive(network))
    return tuple(found)


def simulated(observables: Sequence[Observable], network: Network) -> tuple[Primitive, ...]:
    """As `primitives`, where a simulation is to watch them.

    Parameters
    ----------
    observables : sequence of Observable
    network : Network

    Raises
    ------
    ValueError
        Also where the reference alone reads them: maxima of populations that spike.
    """
    found = primitives(observables, network)
    for seen in found:
        seen.check_simulated(network)
    return found
