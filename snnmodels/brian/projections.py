"""A projection as ordinary Brian2 Synapses, forward and backward, with weights shared by all trials.

Each connection of each trial has a synapse; its weight and the accumulated gradient live in a group of one element per
connection, reached through an index. An arrival is known by an identifier of its own: the projection's first one plus
the number of the source neuron.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import sympy as sp
from brian2 import NeuronGroup, Synapses, linked_var
from brian2.units.fundamentalunits import Dimension

from ..symbolic.declaration import threshold_sides
from ..symbolic.grid import bar, offset
from ..symbolic.parsing import print_expression, symbol
from ..symbolic.programs import Program
from ..templates.groups import Projection
from . import observation
from .functions import namespace_for
from .initialisation import Fill, Initialisation
from .inputs import BackwardInput, ForwardInput
from .plan import Plan, PopulationPlan
from .populations import BackwardPopulation, ForwardPopulation
from .rendering import EquationList, dimension, inverse, storage

__all__ = ["BackwardProjection", "ForwardProjection"]


@dataclass
class ForwardProjection:
    """Synapses along which spikes arrive, and the weights of all connections.

    Attributes
    ----------
    group : Synapses
        Its pathways ``arrive`` (what a spike does to the state at the end of its step), ``mark`` (which arrivals of a
        step are the first and the last; only where a maximum is observed) and ``cause`` (which arrival sets off a
        spike; only where an arrival can) run in this order.
    weights : NeuronGroup
        ``w`` and its gradient ``gw`` per connection.
    """

    plan: Plan
    projection: Projection
    source: ForwardPopulation | ForwardInput
    target: ForwardPopulation
    group: Synapses = field(init=False)
    weights: NeuronGroup = field(init=False)
    initial: Initialisation = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        p, q, grid = self.p, self.projection, self.p.grid
        stored = EquationList(q.name)
        stored.parameter("w", self.weight_dimension)
        stored.parameter("gw", inverse(self.weight_dimension))
        self.weights = storage(len(self.connections[0]), stored, f"{q.name}_weights")
        program = over_synapse(grid.arrival(q.receptor), p, q, "_base")
        code = {"arrive": "\n".join(add(program, {x.name: f"{x.name}_post" for x in p.system.states}))}
        programs = [program]
        if self.target.observed:
            code["mark"] = observation.mark_code(self.first_id)
        if self.causes:
            code["cause"], more = self._cause()
            programs += more
        self.group = Synapses(
            self.source.group,
            self.target.group,
            self.equations("w").equations(),
            on_pre=code,
            namespace=namespace_for(programs),
            name=f"{q.name}_forward",
        )
        for order, path in enumerate(code):
            getattr(self.group, path).order = order
        self.connect(self.group, "w")

    @property
    def p(self) -> PopulationPlan:
        """Plan of the target population."""
        return self.target.population

    @property
    def weight_dimension(self) -> Dimension:
        """Physical dimension of the weights."""
        return dimension(self.p.system.arrivals[self.projection.receptor].weight_unit)

    @property
    def causes(self) -> bool:
        """Whether an arrival itself can make a neuron spike."""
        return self.p.grid.carries_threshold(self.projection.receptor) and self.plan.timing == "precise"

    @property
    def first_id(self) -> int:
        """Identifier of the arrivals from source neuron 0; that from neuron i is this plus i."""
        return self.plan.cause_base(self.projection)

    @property
    def connections(self) -> tuple[np.ndarray, np.ndarray]:
        """Source and target of every existing connection, by source, then target."""
        q = self.projection
        i, j = np.nonzero(np.ones(q.weights.shape, dtype=bool) if q.mask is None else q.mask)
        return i, j

    def equations(self, *names: str) -> EquationList:
        """Equations of Synapses that share the named arrays of `weights`."""
        equations = EquationList(self.projection.name)
        equations.integer(["widx"], "constant")
        for name in names:
            dim = self.weight_dimension
            equations.parameter(name, dim if name == "w" else inverse(dim), "linked")
        return equations

    def connect(self, synapses: Synapses, *names: str) -> None:
        """Make the synapses of every trial, and link the named arrays of `weights` to them.

        Parameters
        ----------
        synapses : Synapses
            Not yet connected, with the `equations` of the same names.
        *names : str
            Arrays of `weights`: ``"w"``, ``"gw"``.
        """
        i, j = self.connections
        n, m = self.projection.weights.shape
        trial = np.arange(self.plan.batch_size)[:, None]
        synapses.connect(i=(trial * n + i).ravel(), j=(trial * m + j).ravel())
        synapses.widx = np.tile(np.arange(len(i)), self.plan.batch_size)
        for name in names:
            setattr(synapses, name, linked_var(self.weights, name, index="widx"))

    def _cause(self) -> tuple[str, list[Program]]:
        """Code that notes which arrival carried the event function across 0.

        The earliest that does it alone; else the last upward one, if all arrivals of the step together do it.
        """
        p, q, grid = self.p, self.projection, self.p.grid
        alone, together = grid.after_arrival(q.receptor), grid.before_end()
        left, right = threshold_sides(p.population.model)
        lines = []
        for tag, program, suffix in (("a", alone, "_base"), ("t", together, "")):
            there = over_synapse(program, p, q, suffix).local(tag)
            after = {x: there.outputs[x.name] for x in p.system.states}
            after |= {s: symbol(f"{s.name}_post") for s in p.system.parameters}
            a, b = (print_expression(e.xreplace(after)) for e in (left, right))
            lines += [*there.lines(), f"_above{tag} = int({a} > {b})"]
        change = over_synapse(grid.threshold_change(q.receptor), p, q, "_base")
        before, after_jump = (print_expression(change.outputs[k]) for k in ("before", "after"))
        lines += [
            f"_up = int({after_jump} > {before})",
            "_single = _abovea*_up",
            "_take = int(alone_id_post < 0)",
            "_take = _single*(_take + (1 - _take)*int(s_arrival_pre > alone_s_post))",
            "alone_s_post = _take*s_arrival_pre + (1 - _take)*alone_s_post",
            f"alone_id_post = _take*({self.first_id} + number_pre) + (1 - _take)*alone_id_post",
            "_last = int(last_id_post < 0)",
            "_last = _abovet*_up*(_last + (1 - _last)*int(s_arrival_pre < last_s_post))",
            "last_s_post = _last*s_arrival_pre + (1 - _last)*last_s_post",
            f"last_id_post = _last*({self.first_id} + number_pre) + (1 - _last)*last_id_post",
        ]
        return "\n".join(lines), [alone, together]


@dataclass
class BackwardProjection:
    """Synapses that meet the same arrivals again, last first, and add to gradients and to the source's sensitivity.

    Attributes
    ----------
    group : Synapses
        Its pathway ``gather`` is the vector-Jacobian product of ``arrive``: it adds to ``gw``, to the gradients of the
        target's parameters and to ``q_time``, the loss's derivative by the time of the source's spike. ``moved`` adds
        to ``q_time`` what a maximum at the arrival and a spike that it set off have to say.
    """

    forward: ForwardProjection
    source: BackwardPopulation | BackwardInput
    target: BackwardPopulation
    group: Synapses = field(init=False)
    initial: Initialisation = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        f = self.forward
        p, q, first, plan = f.p, f.projection, f.first_id, f.plan
        self.initial.append(Fill(f.weights.variables["gw"], 0))
        program = over_synapse(p.grid.arrival_backward(q.receptor), p, q, "_base").rename(
            {symbol(f"{x.name}_base_post"): symbol(f"keep_{x.name}_post") for x in p.recorded_base}
        )
        targets = {s.name: f"grad_{s.name}_post" for s in p.grid.learnable}
        times = plan.input_gradients or not isinstance(f.source, ForwardInput)
        if times:
            targets["time"] = "q_time_pre"
        if "w" in q.learnable:
            targets["w"] = "gw"
        if p.coupled:
            targets |= {x.name: f"added_lambda_{x.name}_post" for x in p.system.states}
        code = {"gather": "\n".join(add(program, targets))}
        moved = []
        if times and f.target.observed:
            moved.append(observation.kink_code(plan, first))
        if times and f.causes:
            moved.append(f"q_time_pre += int(cause_id_post == {first} + number_pre)*cause_sigma_post")
        if moved:
            code["moved"] = "\n".join(moved)
        self.group = Synapses(
            self.source.group,
            self.target.group,
            f.equations("w", "gw").equations(),
            on_pre=code,
            on_event=dict.fromkeys(code, "ev_found"),
            namespace=namespace_for([program]),
            name=f"{q.name}_backward",
        )
        f.connect(self.group, "w", "gw")


def over_synapse(program: Program, target: PopulationPlan, projection: Projection, suffix: str) -> Program:
    """A program with its inputs under the names that a synapse knows them by; states with a suffix before ``_post``."""
    system = target.system
    names: dict[sp.Symbol, sp.Expr] = {s: symbol(f"{s.name}_post") for s in system.parameters}
    names |= {x: symbol(f"{x.name}{suffix}_post") for x in system.states}
    names |= {bar(x): symbol(f"{bar(x).name}_post") for x in system.states}
    names |= {offset: symbol("s_arrival_pre"), system.arrivals[projection.receptor].weight: symbol("w")}
    return program.rename(names)


def add(program: Program, targets: dict[str, str]) -> list[str]:
    """Synaptic code that adds the outputs of a program to variables."""
    present = {k: v for k, v in targets.items() if program.outputs[k] != 0}
    lines = program.select(present).lines()
    return lines + [f"{v} += {print_expression(program.outputs[k])}" for k, v in present.items()]
