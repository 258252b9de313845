"""Values that are stepped as another variable, in which their bounds are at infinity: no step can leave them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["KINDS", "Transform", "transform_of"]

KINDS = ("log", "logit")


@dataclass(frozen=True)
class Transform:
    """The variable u in the place of a value v between two limits.

    ``v = lower + exp(u)``, or with an upper limit ``v = lower + (upper - lower)/(1 + exp(-u))``. A step of u changes v
    by about the step times its distance to the limit that is near.

    Attributes
    ----------
    lower : float
    upper : float
        inf for none.
    """

    lower: float = 0.0
    upper: float = np.inf

    def inside(self, value: np.ndarray) -> bool:
        """Whether values are strictly between the limits."""
        return bool(((value > self.lower) & (value < self.upper)).all())

    def to_free(self, value: np.ndarray) -> np.ndarray:
        """The variable u of values."""
        free: np.ndarray = np.log(value - self.lower)
        return free if np.isinf(self.upper) else free - np.log(self.upper - value)

    def slope(self, value: np.ndarray) -> np.ndarray:
        """dv/du, by which a gradient is multiplied."""
        if np.isinf(self.upper):
            return value - self.lower
        return (value - self.lower) * (self.upper - value) / (self.upper - self.lower)

    def to_value(self, free: np.ndarray) -> np.ndarray:
        """Values of u, strictly between the limits."""
        with np.errstate(over="ignore"):
            if np.isinf(self.upper):
                value = self.lower + np.exp(free)
            else:
                value = self.lower + (self.upper - self.lower) / (1 + np.exp(-free))
        return np.clip(value, np.nextafter(self.lower, np.inf), np.nextafter(self.upper, -np.inf))


def transform_of(kind: str, lower: float | None, upper: float | None) -> Transform:
    """The transform of a kind.

    Parameters
    ----------
    kind : {"log", "logit"}
    lower, upper : float or None
        Limits of the value; None for no limit, which for the lower one of ``"log"`` is 0.

    Raises
    ------
    ValueError
        For another kind, or limits that it does not have.
    """
    if kind == "log":
        if upper is not None:
            raise ValueError(f"'log' has no upper limit, and bounds say {upper}; take 'logit'")
        return Transform(0.0 if lower is None else lower)
    if kind != "logit":
        raise ValueError(f"expected one of {', '.join(map(repr, KINDS))}, got {kind!r}")
    if lower is None or upper is None or not lower < upper:
        raise ValueError("'logit' is between two limits; give bounds = (lower, upper) for the same key")
    return Transform(lower, upper)
