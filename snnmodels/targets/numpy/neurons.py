"""The neurons of a population: parameter values, and the rules of their model over some or all of them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ...events.engine import refractory_periods
from ...events.plan import PopulationPlan
from ...events.rules import Rules
from .flow import ClosedForm, Flow, TaylorSteps
from .functions import function

__all__ = ["Neurons"]


class Neurons:
    """A population with its parameter values.

    Attributes
    ----------
    p : list of float or array
        Parameter values by place.
    flow : Flow
    held : Neurons or None
        The same neurons while they are refractory.
    durations : array, shape (n,)
        Of their refractory periods, if there are any.
    """

    def __init__(self, plan: PopulationPlan, rules: Rules, window: float, tolerance: float) -> None:
        self.plan, self.rules, self.n, self.name = plan, rules, plan.population.n, plan.name
        self.n_states = len(rules.states)
        self.spiking = rules.spiking
        self.functions = {name: function(rule) for name, rule in rules.rules.items()}
        self.fires = tuple(rules.fires(r) for r in range(len(rules.receptors)))
        self.p: list[float | np.ndarray] = []
        self.flow: Flow = ClosedForm(self, window) if rules.linear else TaylorSteps(self, window, tolerance)
        held = getattr(rules, "held", None)
        self.held = None if held is None else Neurons(plan, held, window, tolerance)
        self.durations = np.empty(0)
        if rules is plan.rules:
            self.set(plan.population.value(n) for n in rules.parameters)

    def set(self, values: Iterable[float | np.ndarray]) -> None:
        """Set all parameters, by place; what is derived from them follows.

        Raises
        ------
        ValueError
            For a refractory period that is negative or not finite.
        """
        arrays = [np.asarray(v, dtype=float) for v in values]
        self.p = [a.copy() if a.ndim else float(a) for a in arrays]
        self.flow.set()
        if self.held is not None:
            self.held.set(self.p)
            self.durations = refractory_periods(self.plan, {f"p{k}": np.asarray(p) for k, p in enumerate(self.p)})

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
