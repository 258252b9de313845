"""The neurons of a population: parameter values, and the rules of their model over some or all of them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ...events.bounds import LEVELS, PER_OCTAVE, Bounds
from ...events.plan import PopulationPlan
from .crossing import Along
from .functions import function

__all__ = ["Neurons", "Reach"]


class Reach:
    """Bounds of a function of the states over a piece of time, looked up in tables.

    Parameters
    ----------
    table : array, shape (LEVELS, 4, n_states) or (LEVELS, 4, n_states, n)
        See `Bounds`.
    longest : float
        Length of the longest piece in seconds.
    """

    def __init__(self, table: np.ndarray, longest: float) -> None:
        self.table = table
        self.lengths = longest * 2.0 ** (-np.arange(LEVELS - 1, -1, -1) / PER_OCTAVE)

    def level(self, length: float | np.ndarray) -> np.ndarray:
        """The shortest length of the ladder that covers a piece; rounding may make a piece a little too long."""
        return np.minimum(np.searchsorted(self.lengths, length), LEVELS - 1)

    def rise(self, rates: np.ndarray, length: float) -> np.ndarray:
        """By how much the function rises at most within the length, shape (n,), from the rates of all neurons."""
        high, low = (self._of_all(row) for row in self.table[self.level(length), :2])
        return np.maximum(high * rates, low * rates).sum(axis=0)

    def third(self, rates: np.ndarray, length: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Largest and smallest third derivative within lengths, shape (m,), of the neurons `which`."""
        level = self.level(length)
        # shape (m, 2, n_states)
        table = self.table[level, 2:] if self.table.ndim == 3 else self.table[level, 2:, :, which]
        a, b = table[:, 0].T * rates, table[:, 1].T * rates
        return np.maximum(a, b).sum(axis=0), np.minimum(a, b).sum(axis=0)

    @staticmethod
    def _of_all(row: np.ndarray) -> np.ndarray:
        return row[:, None] if row.ndim == 1 else row


class Neurons:
    """A population with its parameter values.

    Attributes
    ----------
    p : list of float or array
        Parameter values by place.
    threshold, peak : Reach or None
        Bounds of the event function, and of minus the slope of the observed state.
    """

    def __init__(self, plan: PopulationPlan, window: float) -> None:
        self.plan, self.rules, self.n, self.window = plan, plan.rules, plan.population.n, window
        self.name, self.n_states = plan.name, len(plan.rules.states)
        self.spiking = plan.rules.spiking
        self.functions = {name: function(rule) for name, rule in plan.rules.rules.items()}
        self.fires = tuple(plan.rules.fires(r) for r in range(len(plan.rules.receptors)))
        linear = plan.rules.linear
        self._bounds = Bounds.of(plan.rules, "threshold") if linear and self.spiking else None
        self._peak_bounds = Bounds.of(plan.rules, "peak") if linear and plan.rules.observed is not None else None
        self.threshold: Reach | None = None
        self.peak: Reach | None = None
        self.set(plan.population.value(n) for n in plan.rules.parameters)

    def set(self, values: Iterable[float | np.ndarray]) -> None:
        """Set all parameters, by place; what is derived from them follows."""
        self.p: list[float | np.ndarray] = []
        for v in values:
            array = np.asarray(v, dtype=float)
            self.p.append(array.copy() if array.ndim else float(array))
        named = {f"p{k}": np.asarray(v) for k, v in enumerate(self.p)}
        if self._bounds is not None:
            self.threshold = Reach(self._bounds.table(named, self.window), self.window)
        if self._peak_bounds is not None:
            self.peak = Reach(self._peak_bounds.table(named, self.window), self.window)

    def __call__(
        self,
        rule: str,
        *rows: np.ndarray | float,
        s: float | np.ndarray = 0.0,
        which: np.ndarray | None = None,
    ) -> np.ndarray:
        """A rule for all neurons, or for those of the places `which`; shape (n_outputs, m)."""
        f = self.functions[rule]
        if which is None:
            return f([self.p[k] for k in f.parameters], s, rows, self.n)
        p = [v[which] if isinstance(v := self.p[k], np.ndarray) else v for k in f.parameters]
        return f(p, s, rows, len(which))

    def initial(self) -> np.ndarray:
        """States at time 0, shape (n_states, n)."""
        return self("initial")

    def above(self, x: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Of neurons just after their reset, which are at or above threshold: their next spike has no time."""
        g, rate, _ = self("search", *x, which=which)
        return (g > 0) | ((g == 0) & (rate > 0))

    def along(self, rule: str, x: np.ndarray, which: np.ndarray, first: int = 0) -> Along:
        """A function of the states and its derivatives along the flow.

        Parameters
        ----------
        rule : {"search", "peak"}
        x : array, shape (n_states, m)
            States of the neurons `which` at time 0.
        first : int
            Output of the rule that is the function; its derivatives follow.

        Returns
        -------
        callable
            Its lanes are the m neurons.
        """

        def at(lanes: np.ndarray, tau: np.ndarray) -> np.ndarray:
            at_lanes, states = which[lanes], x[:, lanes]
            if tau.any():
                states = self("flow", *states, s=tau, which=at_lanes)
            return self(rule, *states, which=at_lanes)[first : first + 3]

        return at
