"""Numbers of a population in the layout of its groups: parameters, states at time 0 and their sensitivities."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import sympy as sp

from ..symbolic.flows import evaluate
from ..templates.network import Network
from .plan import PopulationPlan

__all__ = ["all_finite", "initial_sensitivity", "initial_states", "parameter_values", "with_values"]


def all_finite(values: np.ndarray) -> bool:
    """Whether there is no NaN and no infinity."""
    # the sum of finite numbers is finite, but for an overflow; it takes one pass and no memory
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum())) or bool(np.isfinite(values).all())


def with_values(network: Network, values: Mapping[str, np.ndarray]) -> Network:
    """A network with some of its trainable values replaced.

    Parameters
    ----------
    values : mapping of str to array
        By key of `Network.trainable`, in the shapes given there.

    Raises
    ------
    ValueError
        For an unknown key, a wrong shape, a value that is not finite, or a negative delay.
    """
    known = network.trainable()
    for key, value in values.items():
        if key not in known:
            raise ValueError(f"no trainable value {key!r}; network {network.name!r} has {', '.join(known)}")
        if np.shape(value) != known[key].shape:
            raise ValueError(f"value of {key!r} has shape {np.shape(value)}; it must be {known[key].shape}")
        if not all_finite(np.asarray(value)):
            raise ValueError(f"value of {key!r} is not finite")
    projections = []
    for q in network.projections:
        weights = np.asarray(values.get(f"{q.name}.w", q.weights), dtype=float)
        projections.append(dataclasses.replace(q, weights=weights, delay=values.get(f"{q.name}.delay", q.delay)))
    populations = []
    for p in network.populations:
        new = {k: np.asarray(values[f"{p.name}.{k}"], dtype=float) for k in p.learnable if f"{p.name}.{k}" in values}
        own = {k: float(v) if v.ndim == 0 else v for k, v in new.items()}
        populations.append(dataclasses.replace(p, parameters={**p.parameters, **own}) if own else p)
    return dataclasses.replace(network, projections=tuple(projections), populations=tuple(populations))


def parameter_values(plan: PopulationPlan, batch_size: int) -> dict[str, np.ndarray]:
    """All parameters: one value, or one for each neuron of each trial."""
    values = {}
    for p in plan.population.model.parameters:
        v = np.asarray(plan.population.value(p), dtype=float)
        values[p] = np.tile(v, batch_size) if v.ndim else v.reshape(1)
    return values


def _per_neuron(plan: PopulationPlan, e: sp.Expr) -> np.ndarray:
    """An expression in the parameters, shape (n,)."""
    return np.broadcast_to(evaluate(e, {s: plan.population.value(s.name) for s in e.free_symbols}), plan.population.n)


def initial_states(plan: PopulationPlan, batch_size: int) -> dict[str, np.ndarray]:
    """States at time 0 that are not zero, for the whole batch."""
    return {x.name: np.tile(_per_neuron(plan, e), batch_size) for x, e in plan.system.initial.items() if e != 0}


def initial_sensitivity(plan: PopulationPlan, costates: Sequence[np.ndarray], batch_size: int) -> dict[str, np.ndarray]:
    """What the state at time 0 contributes to the parameter gradients, λ(0)·∂x(0)/∂p, shape (n,) each."""
    result = {}
    for p in plan.grid.learnable:
        total = np.zeros(plan.population.n)
        for x, costate in zip(plan.system.states, costates, strict=True):
            slope = sp.diff(plan.system.initial[x], p)
            if slope != 0:
                total += costate.reshape(batch_size, -1).sum(axis=0) * _per_neuron(plan, slope)
        result[p.name] = total
    return result
