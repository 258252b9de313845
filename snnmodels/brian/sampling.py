"""Samples of a state of a population without threshold at fixed times, and what a loss on them does to the adjoint.

Sample times are grid points. A sample is the state that the simulation holds there, after every arrival of the step
that ends there; a spike that is found a step late (see docs/eventprop.md) has not arrived yet. So the costate at that
grid point gets the loss's derivative by the sample, and nothing else has to be done: the result is the derivative of
what is simulated.
"""

from __future__ import annotations

from brian2 import NeuronGroup, linked_var

from ..symbolic.parsing import symbol
from .initialisation import Fill, Initialisation
from .plan import Plan, PopulationPlan
from .rendering import EquationList, dimension, inverse, storage

__all__ = ["attach_backward", "attach_forward", "declare", "store"]


def store(plan: Plan, p: PopulationPlan) -> NeuronGroup:
    """The samples (``sample_value``) and the loss's derivatives by them (``sample_error``), one row per sample.

    Parameters
    ----------
    plan : Plan
    p : PopulationPlan
        The output population.

    Returns
    -------
    NeuronGroup
        A row has an element for each neuron of each trial.
    """
    dim = dimension(p.system.units[symbol(plan.variable)])
    equations = EquationList(p.name)
    equations.parameter("sample_value", dim)
    equations.parameter("sample_error", inverse(dim))
    n = plan.batch_size * p.population.n
    return storage(plan.sample_rows * n, equations, f"{p.name}_samples")


def declare(equations: EquationList, plan: Plan, p: PopulationPlan) -> None:
    """Declare the links to the store, forward and backward.

    Parameters
    ----------
    equations : EquationList
        Of the forward or the backward group; the variables are added to them.
    plan : Plan
    p : PopulationPlan
        The output population.

    Raises
    ------
    ValueError
        If a state or parameter of the model has a name that is needed here.
    """
    dim = dimension(p.system.units[symbol(plan.variable)])
    equations.integer(["sample_index"])
    equations.parameter("sample_value", dim, "linked")
    equations.parameter("sample_error", inverse(dim), "linked")


def _link(group: NeuronGroup, samples: NeuronGroup) -> None:
    for name in ("sample_value", "sample_error"):
        setattr(group, name, linked_var(samples, name, index="sample_index"))


def attach_forward(group: NeuronGroup, samples: NeuronGroup, plan: Plan, p: PopulationPlan) -> Initialisation:
    """Add the code that keeps samples: every step writes to the row of the next sample, its last step stays.

    Parameters
    ----------
    group : NeuronGroup
        Forward group, with the variables of `declare`.
    samples : NeuronGroup
        From `store`.
    plan : Plan
    p : PopulationPlan
        The output population.

    Returns
    -------
    list of Fill or Copy
        What has to be set before each run.
    """
    _link(group, samples)
    n, every = plan.batch_size * p.population.n, plan.sample_steps
    group.run_regularly(f"sample_value = {plan.variable}", when="resets", name=f"{p.name}_sample")
    # in a block of its own: code that writes through an index must not change it
    next_row = f"sample_index = sample_index + {n}*int((t_in_timesteps + 1) % {every} == 0)"
    group.run_regularly(next_row, when="end", name=f"{p.name}_sample_next")
    return [Fill(group.variables["sample_index"], 0, 1)]


def attach_backward(group: NeuronGroup, samples: NeuronGroup, plan: Plan, p: PopulationPlan) -> Initialisation:
    """Add the loss's derivatives to the costates at the sample times.

    Parameters
    ----------
    group : NeuronGroup
        Backward group, with the variables of `declare`.
    samples : NeuronGroup
        From `store`.
    plan : Plan
    p : PopulationPlan
        The output population.

    Returns
    -------
    list of Fill or Copy
        What has to be set before each run.
    """
    _link(group, samples)
    n, every, costate = plan.batch_size * p.population.n, plan.sample_steps, f"lambda_{plan.variable}"
    here = f"int(({plan.steps} - t_in_timesteps) % {every} == 0)"
    group.run_regularly(
        f"{costate} = {costate} + {here}*sample_error", when="start", order=1, name=f"{p.name}_sample_loss"
    )
    previous_row = f"sample_index = sample_index - {n}*int(({plan.steps - 1} - t_in_timesteps) % {every} == 0)"
    group.run_regularly(previous_row, when="end", name=f"{p.name}_sample_previous")
    return [Fill(group.variables["sample_index"], n * (plan.sample_rows - 1), 1)]
