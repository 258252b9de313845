"""The neurons of a population: parameter values, and the rules of their model over some or all of them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ...events.engine import refractory_periods
from ...events.plan import GroupPlan
from ...events.rules import Rules
from .flow import ClosedForm, Flow, TaylorSteps
from .parameters import Parametrised
from .tape import SPIKE

__all__ = ["Neurons"]


class Neurons(Parametrised):
    """A population with its parameter values.

    Attributes
    ----------
    flow : Flow
    held : Neurons or None
        The same neurons while they are refractory.
    durations : array, shape (n,)
        Of their refractory periods, if there are any.
    """

    def __init__(self, plan: GroupPlan, rules: Rules, window: float, tolerance: float) -> None:
        super().__init__(rules, plan.n)
        self.plan, self.name = plan, plan.name
        self.n_states = len(rules.states)
        self.spiking, self.eventful = rules.spiking, rules.eventful
        # a spike that resets nothing leaves its neuron above threshold
        self.stays_above = rules.system.may_stay_above
        self.fires = tuple(rules.fires(r) for r in range(len(rules.receptors)))
        self.flow: Flow = ClosedForm(self, window) if rules.linear else TaylorSteps(self, window, tolerance)
        held = rules.held
        self.held = None if held is None else Neurons(plan, held, window, tolerance)
        self.durations = np.empty(0)
        if rules is plan.rules:
            self.set(plan.value(n) for n in rules.parameters)

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
        if self.rules is self.plan.rules:
            self.durations = refractory_periods(self.plan, {f"p{k}": np.asarray(p) for k, p in enumerate(self.p)})

    def initial(self) -> np.ndarray:
        """States at time 0, shape (n_states, n)."""
        return self("initial")

    def after(self, kind: int, x: np.ndarray, which: np.ndarray) -> np.ndarray:
        """States just after an event.

        Parameters
        ----------
        kind : int
            See `Event`.
        x : array, shape (n_states, m)
            Just before it.
        which : int array, shape (m,)
            Places of the neurons.
        """
        return self("reset" if kind == SPIKE else f"turn{kind}", *x, which=which)

    def turns_back(self, kind: int, after: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Of neurons just after a transition, which are driven back across its surface at once.

        Parameters
        ----------
        kind : int
            Of the transition.
        after : array, shape (n_states, m)
        which : int array, shape (m,)
            Places of the neurons.

        Returns
        -------
        bool array, shape (m,)
        """
        _, rate = self(f"turn_sigma{kind}", *after, *np.zeros_like(after), which=which)
        return rate > 0

    def above(self, x: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Of neurons just after their reset, which are at or above threshold: their next spike has no time.

        Parameters
        ----------
        x : array, shape (n_states, m)
        which : int array, shape (m,)
            Places of the neurons.

        Returns
        -------
        bool array, shape (m,)
        """
        g, rate, _ = self("search", *x, which=which)
        return (g > 0) | ((g == 0) & (rate > 0))
