"""The maximum over time of a state of a population without threshold, and what a loss on it does to the adjoint.

Within a step the state follows the flow from the grid point up to the first arrival, and after the last arrival the
flow that leads to the next grid point. On both pieces the maximum is found where it is: inside, where the rate
vanishes, or at an arrival (a kink). A maximum at a kink moves with the arrival, so the arrival time gets the loss's
derivative times the rate before it; an inner maximum doesn't depend on its time. Between the first and the last of
several arrivals in one step only those two are looked at.
"""

from __future__ import annotations

import sympy as sp
from brian2 import Function, NeuronGroup, linked_var
from brian2.units import second

from ..symbolic.grid import event_time
from ..symbolic.parsing import print_expression, symbol
from ..symbolic.programs import Program, cotangent
from .functions import namespace_for, root_function
from .initialisation import Fill, Initialisation
from .plan import Plan, PopulationPlan
from .rendering import EquationList, dimension, inverse

__all__ = ["attach_backward", "attach_forward", "declare_backward", "declare_forward", "kink_code", "mark_code"]

LOWEST = -1e30  # below any state, and finite, since 0*inf is not 0
SAME = 1e-12  # relative distance of values that are one up to rounding


def _arguments(program: Program) -> list[str]:
    return sorted(s.name for s in program.inputs if s != event_time)


def _peak_program(plan: Plan, p: PopulationPlan) -> Program:
    """The rate of the state with the sign turned: it crosses 0 upwards at a maximum."""
    observe = p.grid.observe(symbol(plan.variable))
    return Program(observe.statements, {"value": -observe.outputs["rate"], "slope": -observe.outputs["curvature"]})


def _backward_program(plan: Plan, p: PopulationPlan) -> Program:
    """What the loss's derivative by the maximum (``max_error``) gives to costates and parameter gradients."""
    program = p.grid.observe_backward(symbol(plan.variable))
    names: dict[sp.Symbol, sp.Expr] = {x: symbol(f"max_x_{x.name}") for x in p.system.states}
    names |= {event_time: symbol("max_r"), cotangent("value"): symbol("max_error")}
    return program.rename(names)


def _recorded(plan: Plan, p: PopulationPlan) -> list[sp.Symbol]:
    """States that the backward pass reads at the maximum."""
    read = p.grid.observe_backward(symbol(plan.variable)).inputs
    return [x for x in p.system.states if x in read]


def declare_forward(equations: EquationList, plan: Plan, p: PopulationPlan) -> dict[str, Function]:
    """Declare the variables of the maximum.

    Parameters
    ----------
    equations : EquationList
        Of the forward group; the variables are added to them.
    plan : Plan
    p : PopulationPlan
        The output population.

    Returns
    -------
    dict of str to brian2.Function
        What the code of `attach_forward` calls, by name.

    Raises
    ------
    ValueError
        If a state or parameter of the model has a name that is needed here.
    """
    dim = dimension(p.system.units[symbol(plan.variable)])
    equations.integer(["first_id", "final_id", "max_origin", "max_arrival", "max_id"])
    for name in ("first_s", "final_s", "max_r"):
        equations.parameter(name, second.dim)
    equations.parameter("max_value", dim)
    equations.parameter("max_rate", dim / second.dim)
    for x in _recorded(plan, p):
        equations.parameter(f"max_x_{x.name}", dimension(p.system.units[x]))
    program = _peak_program(plan, p)
    peak = root_function(f"peak_{p.name}", program, _arguments(program), event_time.name)
    return {f"peak_{p.name}": peak, **namespace_for([p.grid.observe(symbol(plan.variable))])}


def attach_forward(group: NeuronGroup, plan: Plan, p: PopulationPlan) -> Initialisation:
    """Add the code that keeps the maximum up to date at the end of each step.

    Parameters
    ----------
    group : NeuronGroup
        Forward group, with the variables of `declare_forward`.
    plan : Plan
    p : PopulationPlan
        The output population.

    Returns
    -------
    list of Fill or Copy
        What has to be set before each run.
    """
    start = {x.name: f"{x.name}_start" for x in p.system.states}
    now = {x.name: x.name for x in p.system.states}
    lines = ["_has = int(first_id >= 0)", "_high = dt - _has*first_s", "_low = -_has*final_s"]
    pieces = (
        ("a", start, "0*second", "_high", "t_in_timesteps", "_has*int(_ra >= _high)", "first_id", "1"),
        ("b", now, "_low", "0*second", "t_in_timesteps + 1", "int(_rb <= _low)", "final_id", "_has"),
    )
    observe = p.grid.observe(symbol(plan.variable))
    for tag, names, low, high, origin, kink, identifier, valid in pieces:
        call = ", ".join(names.get(a, a) for a in _arguments(_peak_program(plan, p)))
        lines.append(f"_r{tag} = peak_{p.name}({call}, {low}, {high})")
        program = observe.select(["value", "rate"]).rename(
            {symbol(a): symbol(b) for a, b in names.items()} | {event_time: symbol(f"_r{tag}")}
        )
        program = program.local(tag)
        lines += program.lines()
        lines += [
            f"_v{tag} = {print_expression(program.outputs['value'])}",
            f"_rate{tag} = {print_expression(program.outputs['rate'])}",
            f"_kink{tag} = {kink}",
            # an arrival at a grid point: the step before has found this value already, but not that it is a kink
            f"_better{tag} = {valid}*int(_v{tag} > max_value - _kink{tag}*{SAME!r}*abs(max_value))",
        ]
        updates = {
            "max_value": f"_v{tag}",
            "max_r": f"_r{tag}",
            "max_rate": f"_rate{tag}",
            "max_origin": f"({origin})",
            "max_arrival": f"(_kink{tag}*t_in_timesteps - (1 - _kink{tag}))",
            "max_id": identifier,
        } | {f"max_x_{x.name}": names[x.name] for x in _recorded(plan, p)}
        lines += [f"{k} = _better{tag}*{v} + (1 - _better{tag})*{k}" for k, v in updates.items()]
    group.run_regularly("\n".join(lines), when="end", name=f"{p.name}_maximum")
    group.run_regularly("first_id = -1\nfinal_id = -1", when="before_synapses", name=f"{p.name}_no_arrivals")
    v = group.variables
    return [Fill(v["max_value"], LOWEST), Fill(v["first_id"], -1), Fill(v["final_id"], -1)]


def mark_code(base: int) -> str:
    """Synaptic code that notes the first and the last arrival of a step (offsets fall with time)."""
    return "\n".join(
        [
            "_earlier = int(first_id_post < 0)",
            "_earlier = _earlier + (1 - _earlier)*int(s_arrival_pre > first_s_post)",
            "first_s_post = _earlier*s_arrival_pre + (1 - _earlier)*first_s_post",
            f"first_id_post = _earlier*({base} + number_pre) + (1 - _earlier)*first_id_post",
            "_later = int(final_id_post < 0)",
            "_later = _later + (1 - _later)*int(s_arrival_pre < final_s_post)",
            "final_s_post = _later*s_arrival_pre + (1 - _later)*final_s_post",
            f"final_id_post = _later*({base} + number_pre) + (1 - _later)*final_id_post",
        ]
    )


def kink_code(plan: Plan, base: int) -> str:
    """Synaptic code, backward: the sensitivity of a maximum at a kink to the time of the arrival.

    Parameters
    ----------
    plan : Plan
    base : int
        First identifier of the projection's arrivals; see `Plan.cause_base`.
    """
    here = f"int(max_arrival_post == {plan.steps - 1} - t_in_timesteps)*int(max_id_post == {base} + number_pre)"
    return f"q_time_pre += {here}*max_error_post*max_rate_post"


def declare_backward(equations: EquationList, plan: Plan, p: PopulationPlan) -> dict[str, Function]:
    """Declare the links to the maximum, and the loss's derivative by it.

    Parameters
    ----------
    equations : EquationList
        Of the backward group; the variables are added to them.
    plan : Plan
    p : PopulationPlan
        The output population.

    Returns
    -------
    dict of str to brian2.Function
        What the code of `attach_backward` calls, by name.

    Raises
    ------
    ValueError
        If a state or parameter of the model has a name that is needed here.
    """
    dim = dimension(p.system.units[symbol(plan.variable)])
    equations.integer(["max_origin", "max_arrival", "max_id"], "linked")
    equations.parameter("max_r", second.dim, "linked")
    equations.parameter("max_rate", dim / second.dim, "linked")
    equations.parameter("max_error", inverse(dim))
    for x in _recorded(plan, p):
        equations.parameter(f"max_x_{x.name}", dimension(p.system.units[x]), "linked")
    return namespace_for([_backward_program(plan, p)])


def _backward_outputs(p: PopulationPlan, program: Program) -> dict[str, str]:
    """Arrays that `_backward_program` adds to, by its output."""
    outputs = {x.name: f"lambda_{x.name}" for x in p.system.states}
    outputs |= {q.name: f"grad_{q.name}" for q in p.grid.learnable}
    return {k: v for k, v in outputs.items() if program.outputs[k] != 0}


def attach_backward(group: NeuronGroup, forward: NeuronGroup, plan: Plan, p: PopulationPlan) -> None:
    """Add the jump of the adjoint at the time of the maximum.

    Parameters
    ----------
    group : NeuronGroup
        Backward group, with the variables of `declare_backward`.
    forward : NeuronGroup
        Forward group, with those of `declare_forward`.
    plan : Plan
    p : PopulationPlan
        The output population.
    """
    linked = [
        "max_origin",
        "max_arrival",
        "max_id",
        "max_r",
        "max_rate",
        *(f"max_x_{x.name}" for x in _recorded(plan, p)),
    ]
    for name in linked:
        setattr(group, name, linked_var(forward, name))
    program = _backward_program(plan, p)
    present = _backward_outputs(p, program)
    lines = program.select(present).lines()
    lines += [f"_o_{k} = {print_expression(program.outputs[k])}" for k in present]
    lines += [f"{v} = {v} + _here*_o_{k}" for k, v in present.items()]
    # the state at the end of the last step first, that at time 0 after everything else
    conditions = {
        "start": f"int(max_origin == {plan.steps} - t_in_timesteps)",
        "end": f"int(max_origin == 0)*int(t_in_timesteps == {plan.steps - 1})",
    }
    for when, condition in conditions.items():
        group.run_regularly(
            "\n".join([f"_here = {condition}", *lines]), when=when, order=1, name=f"{p.name}_voltage_loss_{when}"
        )
