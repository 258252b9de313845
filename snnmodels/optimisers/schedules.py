"""Learning rates by epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from ..templates.arguments import check_numbers, check_whole

__all__ = ["ConstantRate", "ExponentialDecay", "Schedule"]

Schedule = Callable[[int], float]


@dataclass(frozen=True)
class ConstantRate:
    """The same learning rate in every epoch.

    Attributes
    ----------
    rate : float
        Positive.
    """

    rate: float

    def __post_init__(self) -> None:
        _check_rate("rate", self.rate)

    def __call__(self, epoch: int) -> float:
        """Learning rate of an epoch."""
        return self.rate


@dataclass(frozen=True)
class ExponentialDecay:
    """``initial * factor**epoch``, with epochs counted from 0.

    Attributes
    ----------
    initial : float
        The learning rate of epoch 0, positive.
    factor : float
        By which it falls from one epoch to the next, in (0, 1].

    Raises
    ------
    ValueError
        For another rate or factor.
    """

    initial: float
    factor: float = 0.95

    def __post_init__(self) -> None:
        _check_rate("initial", self.initial)
        check_numbers(factor=self.factor)
        if not 0 < self.factor <= 1:
            raise ValueError(f"factor: expected a number in (0, 1], got {self.factor}")

    @classmethod
    def between(cls, initial: float, last: float, epochs: int) -> Self:
        """The decay that has come to a rate in the last of some epochs.

        Parameters
        ----------
        initial, last : float
            Learning rates of the first and of the last epoch, `last` at most `initial`.
        epochs : int
            With one, the rate is `initial`.

        Raises
        ------
        ValueError
            For rates that are none, or a last one above the first.

        Examples
        --------
        >>> ExponentialDecay.between(0.02, 0.005, 3)(1)
        0.01
        """
        check_whole("epochs", epochs)
        _check_rate("initial", initial)
        _check_rate("last", last)
        if last > initial:
            raise ValueError(f"last: expected a learning rate of at most initial = {initial}, got {last}")
        return cls(initial, (last / initial) ** (1 / max(epochs - 1, 1)))

    def __call__(self, epoch: int) -> float:
        """Learning rate of an epoch."""
        return self.initial * self.factor**epoch


def _check_rate(name: str, rate: float) -> None:
    check_numbers(**{name: rate})
    if not rate > 0:
        raise ValueError(f"{name}: expected a positive, finite learning rate, got {rate}")
