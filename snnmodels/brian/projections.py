"""A projection as ordinary Brian2 Synapses, forward and backward, with weights shared by all trials.

The portable form: it runs on every target, and it is the reference that faster forms are compared with. Each pair of
neurons of each trial has a synapse; its weight and the accumulated gradient live in a group of one element per
connection, reached through an index.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import sympy as sp
from brian2 import NeuronGroup, Synapses, linked_var

from ..symbolic.grid import bar, offset
from ..symbolic.parsing import print_expression, symbol
from ..symbolic.programs import Program
from ..symbolic.system import threshold_sides
from ..templates.network import Projection
from . import observation
from .functions import namespace_for
from .initialisation import Fill, Initialisation
from .inputs import BackwardInput, ForwardInput
from .plan import Plan, PopulationPlan
from .populations import BackwardPopulation, ForwardPopulation
from .rendering import EquationList, dimension, inverse, storage

__all__ = ["PortableProjection"]


def connections(projection: Projection) -> tuple[np.ndarray, np.ndarray]:
    """Source and target of every existing connection."""
    if projection.mask is None:
        i, j = np.indices(projection.weights.shape)
        return i.ravel(), j.ravel()
    i, j = np.nonzero(projection.mask)
    return i, j


def weight_storage(projection: Projection, target: PopulationPlan) -> NeuronGroup:
    """``w`` and its gradient ``gw`` for every connection, by source, then target."""
    dim = dimension(target.system.arrivals[projection.receptor].weight_unit)
    equations = EquationList()
    equations.parameter("w", dim)
    equations.parameter("gw", inverse(dim))
    return storage(len(connections(projection)[0]), equations, f"{projection.name}_weights")


def row_storage(projection: Projection) -> tuple[NeuronGroup, NeuronGroup]:
    """Where each source's connections start (``rows``), and the target of each (``columns``): compressed rows."""
    i, j = connections(projection)
    n = projection.weights.shape[0]
    rows, columns = EquationList(), EquationList()
    rows.integer(["rows"])
    columns.integer(["columns"])
    r = storage(n + 1, rows, f"{projection.name}_rows")
    c = storage(len(j), columns, f"{projection.name}_columns")
    r.rows = np.searchsorted(i, np.arange(n + 1))
    c.columns = j
    return r, c


@dataclass
class PortableProjection:
    """Synapses of a projection in both directions.

    Attributes
    ----------
    weights : NeuronGroup
        ``w`` and its gradient ``gw`` per connection.
    forward, backward : list of Synapses
    """

    plan: Plan
    projection: Projection
    source: ForwardPopulation | ForwardInput
    target: ForwardPopulation
    source_backward: BackwardPopulation | BackwardInput
    target_backward: BackwardPopulation
    weights: NeuronGroup = field(init=False)
    forward: list[Synapses] = field(init=False)
    backward: list[Synapses] = field(init=False)
    initial_backward: Initialisation = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.weights = weight_storage(self.projection, self.p)
        self.initial_backward.append(Fill(self.weights.variables["gw"], 0))
        self.forward = [self._forward()]
        self.backward = [self._backward()]

    @property
    def p(self) -> PopulationPlan:
        """Plan of the target population."""
        return self.target.population

    def _indices(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        i, j = connections(self.projection)
        n, m = self.projection.weights.shape
        b = np.arange(self.plan.batch_size)[:, None]
        k = np.broadcast_to(np.arange(len(i)), (self.plan.batch_size, len(i)))
        return (b * n + i).ravel(), (b * m + j).ravel(), k.ravel()

    def _connect(self, synapses: Synapses, *shared: str) -> Synapses:
        i, j, k = self._indices()
        synapses.connect(i=i, j=j)
        synapses.widx = k
        for name in shared:
            setattr(synapses, name, linked_var(self.weights, name, index="widx"))
        return synapses

    def _over_synapse(self, program: Program, state_suffix: str) -> Program:
        """Inputs under the names that a synapse knows them by."""
        system = self.p.system
        names: dict[sp.Symbol, sp.Expr] = {s: symbol(f"{s.name}_post") for s in system.parameters}
        names |= {x: symbol(f"{x.name}{state_suffix}_post") for x in system.states}
        names |= {bar(x): symbol(f"{bar(x).name}_post") for x in system.states}
        names |= {offset: symbol("s_arrival_pre"), system.arrivals[self.projection.receptor].weight: symbol("w")}
        return program.rename(names)

    def _equations(self, *names: str) -> EquationList:
        weight_dim = dimension(self.p.system.arrivals[self.projection.receptor].weight_unit)
        equations = EquationList()
        equations.integer(["widx"], "constant")
        for name in names:
            equations.parameter(name, weight_dim if name == "w" else inverse(weight_dim), "linked")
        return equations

    def _forward(self) -> Synapses:
        grid = self.p.grid
        program = self._over_synapse(grid.arrival(self.projection.receptor), "_base")
        code = {"arrive": "\n".join(add(program, {x.name: f"{x.name}_post" for x in self.p.system.states}))}
        programs = [program]
        base = self.plan.cause_base(self.projection)
        if self.target.observed:
            code["mark"] = observation.mark_code(base)
        if grid.carries_threshold(self.projection.receptor) and self.plan.timing == "precise":
            code["cause"], more = self._cause(base)
            programs += more
        synapses = Synapses(
            self.source.group,
            self.target.group,
            self._equations("w").equations(),
            on_pre=code,
            namespace=namespace_for(programs),
            name=f"{self.projection.name}_forward",
        )
        for order, path in enumerate(code):
            getattr(synapses, path).order = order
        return self._connect(synapses, "w")

    def _cause(self, base: int) -> tuple[str, list[Program]]:
        """Code that notes which arrival carried the event function across 0.

        The earliest that does it alone; else the last upward one, if all arrivals of the step together do it.
        """
        grid, system = self.p.grid, self.p.system
        receptor = self.projection.receptor
        alone = grid.after_arrival(receptor)
        together = grid.before_end()
        lines = []
        for tag, program, suffix in (("a", alone, "_base"), ("t", together, "")):
            program = self._over_synapse(program, suffix).local(tag)
            left, right = threshold_sides(self.p.population.model)
            after = {x: program.outputs[x.name] for x in system.states}
            after |= {s: symbol(f"{s.name}_post") for s in system.parameters}
            lines += program.lines()
            a, b = (print_expression(e.xreplace(after)) for e in (left, right))
            lines.append(f"_above{tag} = int({a} > {b})")
        change = self._over_synapse(grid.threshold_change(receptor), "_base")
        before, after_jump = (print_expression(change.outputs[k]) for k in ("before", "after"))
        lines += [
            f"_up = int({after_jump} > {before})",
            "_single = _abovea*_up",
            "_take = int(alone_id_post < 0)",
            "_take = _single*(_take + (1 - _take)*int(s_arrival_pre > alone_s_post))",
            "alone_s_post = _take*s_arrival_pre + (1 - _take)*alone_s_post",
            f"alone_id_post = _take*({base} + number_pre) + (1 - _take)*alone_id_post",
            "_last = int(last_id_post < 0)",
            "_last = _abovet*_up*(_last + (1 - _last)*int(s_arrival_pre < last_s_post))",
            "last_s_post = _last*s_arrival_pre + (1 - _last)*last_s_post",
            f"last_id_post = _last*({base} + number_pre) + (1 - _last)*last_id_post",
        ]
        return "\n".join(lines), [alone, together]

    def _backward(self) -> Synapses:
        grid, p = self.p.grid, self.p
        program = grid.arrival_backward(self.projection.receptor)
        names: dict[sp.Symbol, sp.Expr] = {
            symbol(f"{x.name}_base_post"): symbol(f"keep_{x.name}_post") for x in p.recorded_base
        }
        program = self._over_synapse(program, "_base").rename(names)
        targets = {"time": "q_time_pre"}
        if "w" in self.projection.learnable:
            targets["w"] = "gw"
        if p.coupled:
            targets |= {x.name: f"added_lambda_{x.name}_post" for x in p.system.states}
        targets |= {q.name: f"grad_{q.name}_post" for q in grid.learnable}
        code = {"gather": "\n".join(add(program, targets))}
        base = self.plan.cause_base(self.projection)
        extra = []
        if self.target.observed:
            extra.append(observation.kink_code(self.plan, base))
        if grid.carries_threshold(self.projection.receptor) and self.plan.timing == "precise":
            extra.append(f"q_time_pre += int(cause_id_post == {base} + number_pre)*cause_sigma_post")
        if extra:
            code["moved"] = "\n".join(extra)
        synapses = Synapses(
            self.source_backward.group,
            self.target_backward.group,
            self._equations("w", "gw").equations(),
            on_pre=code,
            on_event=dict.fromkeys(code, "ev_found"),
            namespace=namespace_for([program]),
            name=f"{self.projection.name}_backward",
        )
        return self._connect(synapses, "w", "gw")


def add(program: Program, targets: dict[str, str]) -> list[str]:
    """Synaptic code that adds the outputs of a program to variables."""
    present = {k: v for k, v in targets.items() if program.outputs[k] != 0}
    lines = program.select(present).lines()
    return lines + [f"{v} += {print_expression(program.outputs[k])}" for k, v in present.items()]
