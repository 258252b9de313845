"""Knots of the driven inputs of a component in one trial, in the order of time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ...events.drives import DrivePlan, Knots
from .tape import Knot

__all__ = ["Due", "due"]


class Due:
    """The knots of one driven input that are still to come."""

    def __init__(
        self, plan: DrivePlan, values: np.ndarray, slopes: np.ndarray | None, decides: np.ndarray | None = None
    ) -> None:
        self.plan, self.values, self.slopes = plan, values, slopes
        # by knot: whether conditions that read the input have to be decided anew
        self.decides = np.zeros(plan.times.size, dtype=bool) if decides is None else decides
        self.times: list[float] = plan.times.tolist()
        self.cursor = 0

    def next(self) -> float:
        """Time of the next knot; inf if there is none up to the end of the trial."""
        return self.times[self.cursor] if self.cursor < len(self.times) else np.inf

    def take(self, time: float) -> list[Knot]:
        """Remove the knot that is at this time, if there is one."""
        if self.next() != time:
            return []
        k, plan = self.cursor, self.plan
        self.cursor += 1
        slopes = None if self.slopes is None else self.slopes[k]
        decides = plan.input if self.decides[k] else -1
        return [Knot(plan.index, k, plan.population, plan.state, self.values[k], slopes, decides)]


def due(
    plans: Iterable[DrivePlan],
    given: Sequence[Knots],
    trial: int,
    populations: Iterable[int],
    deciding: Mapping[int, Sequence[bool]],
) -> list[Due]:
    """The driven inputs of some populations in one trial.

    Parameters
    ----------
    plans : iterable of DrivePlan
    given : sequence of Knots
        Of each plan.
    trial : int
    populations : iterable of int
    deciding : mapping of int to sequence of bool
        By population, which of its driven inputs conditions read; see `Rules.deciding`.
    """
    among = set(populations)
    found = []
    for plan, knots in zip(plans, given, strict=True):
        if plan.population in among:
            row = min(trial, len(knots.values) - 1)  # one for all trials
            slopes = None if knots.slopes is None else knots.slopes[row]
            decides = plan.jumps & deciding[plan.population][plan.input]
            found.append(Due(plan, knots.values[row], slopes, decides))
    return found
