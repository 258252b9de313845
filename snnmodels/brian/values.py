"""Numbers of a population in the layout of its groups: parameters, states at time 0 and their sensitivities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sympy as sp

from ..symbolic.flows import evaluate
from .plan import PopulationPlan

__all__ = ["initial_sensitivity", "initial_states", "parameter_values"]


def parameter_values(plan: PopulationPlan, batch_size: int) -> dict[str, np.ndarray]:
    """All parameters: one value, or one for each neuron of each trial.

    Parameters
    ----------
    plan : PopulationPlan
    batch_size : int
        Trials side by side.

    Returns
    -------
    dict of str to array, shape (1,) or (batch_size*n,)
        By parameter, in SI units.
    """
    values = {}
    for p in plan.population.model.parameters:
        v = np.asarray(plan.population.value(p), dtype=float)
        values[p] = np.tile(v, batch_size) if v.ndim else v.reshape(1)
    return values


def _per_neuron(plan: PopulationPlan, e: sp.Expr) -> np.ndarray:
    """An expression in the parameters, shape (n,)."""
    return np.broadcast_to(evaluate(e, {s: plan.population.value(s.name) for s in e.free_symbols}), plan.population.n)


def initial_states(plan: PopulationPlan, batch_size: int) -> dict[str, np.ndarray]:
    """States at time 0 that are not zero, for the whole batch.

    Parameters
    ----------
    plan : PopulationPlan
    batch_size : int
        Trials side by side.

    Returns
    -------
    dict of str to array, shape (batch_size*n,)
        By state, in SI units.
    """
    return {x.name: np.tile(_per_neuron(plan, e), batch_size) for x, e in plan.system.initial.items() if e != 0}


def initial_sensitivity(plan: PopulationPlan, costates: Sequence[np.ndarray], batch_size: int) -> dict[str, np.ndarray]:
    """What the state at time 0 contributes to the parameter gradients, λ(0)·∂x(0)/∂p, summed over the trials.

    Parameters
    ----------
    plan : PopulationPlan
    costates : sequence of array, shape (batch_size*n,)
        λ(0) of every state, in the order of the system's.
    batch_size : int
        Trials side by side.

    Returns
    -------
    dict of str to array, shape (n,)
        By learnable parameter.
    """
    result = {}
    for p in plan.grid.learnable:
        total = np.zeros(plan.population.n)
        for x, costate in zip(plan.system.states, costates, strict=True):
            slope = sp.diff(plan.system.initial[x], p)
            if slope != 0:
                total += costate.reshape(batch_size, -1).sum(axis=0) * _per_neuron(plan, slope)
        result[p.name] = total
    return result
