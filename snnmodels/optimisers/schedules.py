"""Learning rates by epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..templates.arguments import check_numbers

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

    def __call__(self, epoch: int) -> float:
        """Learning rate of an epoch."""
        return self.initial * self.factor**epoch


def _check_rate(name: str, rate: float) -> None:
    check_numbers(**{name: rate})
    if not rate > 0:
        raise ValueError(f"{name}: expected a positive, finite learning rate, got {rate}")
