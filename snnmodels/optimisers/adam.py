"""Adam."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..templates.arguments import check_numbers, suggests_keywords
from .base import Optimiser, Values
from .fused_adam import fused_adam
from .schedules import Schedule

__all__ = ["Adam"]

# What gradients have left long ago counts as nothing, by a step of less than FADED of the rate: after 7000 steps 0.9^n
# is no normal number, and takes processors a hundred times as long. As in targets/cpp/runtime/adam.h
FADED = 1e-150
SMALLEST = float(np.finfo(float).tiny)


@suggests_keywords
@dataclass(eq=False)
class Adam(Optimiser):
    """Adam: steps along the running mean of the gradient over the root of that of its square, both bias-corrected.

    Kingma & Ba (2015), "Adam: A Method for Stochastic Optimization", Algorithm 1, https://arxiv.org/abs/1412.6980.

    Attributes
    ----------
    schedule, scales, bounds, transforms
        As of `Optimiser`: the rate or its schedule, and by key its factor, limits, and the variable that is stepped.
    beta1, beta2 : float
        Decay of the running means of the gradient and of its square.
    epsilon : float
        Added to the denominator.

    Notes
    -----
    A mean that makes a step of less than 1e-150 of the rate is taken for 0, and so is a square that is not normal.
    """

    schedule: Schedule | float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    moments: ClassVar[tuple[str, ...]] = ("mean", "square")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(beta1=self.beta1, beta2=self.beta2, epsilon=self.epsilon)
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a number in [0, 1), got {getattr(self, name)}")
        if not self.epsilon > 0:
            raise ValueError(f"epsilon: expected a positive number, got {self.epsilon}")

    def _update(
        self, value: np.ndarray, gradient: np.ndarray, moments: list[np.ndarray], rate: float, scratch: np.ndarray
    ) -> None:
        mean, square = moments
        np.multiply(gradient, 1 - self.beta1, out=scratch)
        mean *= self.beta1
        mean += scratch
        np.multiply(gradient, gradient, out=scratch)
        scratch *= 1 - self.beta2
        square *= self.beta2
        square += scratch
        epsilon, rate = self._corrected(rate)
        square[square < SMALLEST] = 0.0
        np.sqrt(square, out=scratch)
        mean[np.abs(mean) < np.maximum(FADED * scratch, SMALLEST)] = 0.0
        scratch += epsilon
        np.divide(mean, scratch, out=scratch)
        scratch *= rate
        value -= scratch

    def _update_all(self, value: np.ndarray, gradient: np.ndarray, moments: list[np.ndarray], rate: float) -> bool:
        return fused_adam(value, gradient, moments, self.beta1, self.beta2, *self._corrected(rate))

    def take_steps(self, values: Values, count: int) -> tuple[np.ndarray, dict[str, tuple[np.ndarray, ...]]]:
        """Count steps that somebody else takes, with moments that he has to bring up to date.

        Parameters
        ----------
        values : mapping of str to array
            What is stepped.
        count : int
            Number of steps.

        Returns
        -------
        corrections : array, shape (count, 2)
            Epsilon and rate of every step, with the bias corrections in them.
        moments : dict of str to tuple of array
            Mean and square of every value; what is written into them is kept.
        """
        self.check_epoch()
        for key, value in values.items():
            self._check_state(key, value)
            if key not in self._state:
                self._state[key] = tuple(np.zeros_like(value) for _ in self.moments)
        rows = []
        for _ in range(count):
            self._steps += 1
            rows.append(self._corrected(self._rate))
        return np.array(rows), {key: self._state[key] for key in values}

    def undo_steps(self, count: int) -> None:
        """Take back the counting of steps that were not taken after all."""
        self._steps -= count

    def _corrected(self, rate: float) -> tuple[float, float]:
        """Epsilon and rate with the bias corrections, which section 2 of the paper moves there from the arrays."""
        root = math.sqrt(1 - self.beta2**self._steps)
        return self.epsilon * root, rate * root / (1 - self.beta1**self._steps)
