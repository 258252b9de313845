"""Gradient descent with momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..templates.arguments import check_numbers, suggests_keywords
from .base import Optimiser
from .schedules import Schedule

__all__ = ["SGD"]


@suggests_keywords
@dataclass(eq=False)
class SGD(Optimiser):
    """Gradient descent with momentum: ``u <- momentum * u + gradient``, ``value <- value - rate * u``.

    Attributes
    ----------
    momentum : float
        0 for plain gradient descent.
    """

    schedule: Schedule | float = 1e-2
    momentum: float = 0.0
    moments: ClassVar[tuple[str, ...]] = ("velocity",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(momentum=self.momentum)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum: expected a number in [0, 1), got {self.momentum}")

    def _update(
        self, value: np.ndarray, gradient: np.ndarray, moments: list[np.ndarray], rate: float, scratch: np.ndarray
    ) -> None:
        (velocity,) = moments
        velocity *= self.momentum
        velocity += gradient
        np.multiply(velocity, rate, out=scratch)
        value -= scratch
