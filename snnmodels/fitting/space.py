"""Free parameters with bounds, and the unit cube in which a search moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..templates.arguments import check_kind, check_mapping, check_numbers

__all__ = ["DELAY", "Bounds", "Space"]

DELAY = "delay"
"""What may be searched beside a model's parameters: how long after the model's spike the recorded one is, in s."""


@dataclass(frozen=True)
class Bounds:
    """Between which values a parameter is searched, in SI base units.

    Attributes
    ----------
    low, high : float
    log : bool
        Whether equal steps of the search are equal ratios, as they should be for what may differ by a factor of ten.

    Raises
    ------
    ValueError
        If they are not finite and in order, or the low one of a logarithmic scale is not positive.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        check_numbers(low=self.low, high=self.high)
        check_kind("log", self.log, bool, "True or False")
        if not self.low < self.high:
            raise ValueError(f"bounds {self.low:g} and {self.high:g}: the low one must be less than the high one")
        if self.log and self.low <= 0:
            raise ValueError(f"bounds {self.low:g} and {self.high:g}: those of a logarithmic scale must be positive")


class Space:
    """Vectors of parameters, as values and as places in the unit cube.

    Parameters
    ----------
    free : mapping of str to Bounds
        In the order of the vectors' elements.
    """

    def __init__(self, free: Mapping[str, Bounds]) -> None:
        check_mapping("free", free, "bounds by name of the parameter")
        for name, bounds in free.items():
            check_kind(f"free[{name!r}]", bounds, Bounds, "Bounds(low, high)")
        self.names = tuple(free)
        self.bounds = dict(free)
        self._log = np.array([b.log for b in free.values()], dtype=bool)
        ends = np.array([[b.low, b.high] for b in free.values()]).reshape(-1, 2)
        self._low, self._high = np.where(self._log[:, None], np.log(np.where(self._log[:, None], ends, 1.0)), ends).T

    def __len__(self) -> int:
        return len(self.names)

    def values(self, places: np.ndarray) -> np.ndarray:
        """Values, of places ``(..., parameters)`` in the unit cube."""
        linear = self._low + (self._high - self._low) * np.asarray(places, dtype=float)
        return np.where(self._log, np.exp(np.where(self._log, linear, 0.0)), linear)

    def places(self, values: np.ndarray) -> np.ndarray:
        """Places in the unit cube of values ``(..., parameters)``; outside of it where a value is beyond its bounds."""
        given = np.asarray(values, dtype=float)
        linear = np.where(self._log, np.log(np.where(self._log, given, 1.0)), given)
        return (linear - self._low) / (self._high - self._low)

    def slopes(self, places: np.ndarray) -> np.ndarray:
        """Derivatives of each value by its place."""
        return (self._high - self._low) * np.where(self._log, self.values(places), 1.0)

    def named(self, place: np.ndarray) -> dict[str, float]:
        """Values of one place, by name."""
        return dict(zip(self.names, self.values(place).tolist(), strict=True))

    def index(self, name: str) -> int:
        """Where a parameter is in the vectors."""
        return self.names.index(name)

    def placed(self, values: Mapping[str, Any], default: float = 0.5) -> np.ndarray:
        """The place of values by name, clipped to the cube; the middle for those that are not given."""
        middle = self.values(np.full(len(self), default))
        given = [values.get(name, x) for name, x in zip(self.names, middle, strict=True)]
        return np.clip(self.places(np.array(given, dtype=float)), 0.0, 1.0)
