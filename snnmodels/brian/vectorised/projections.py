"""A projection as NumPy templates over all spikes of a step, on one weight matrix, dense or sparse, for all trials.

It stands between the ordinary groups of `populations.py` and `inputs.py` in the place of Synapses, and does what they
do: the spikes of a step are in the event spaces that Brian2's thresholds fill.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from brian2 import NeuronGroup
from brian2.core.variables import Variable

from ...symbolic.parsing import symbol
from ...symbolic.programs import Program
from ...symbolic.system import threshold_sides
from ...templates.network import Projection
from ..initialisation import Fill, Initialisation
from ..inputs import BackwardInput, ForwardInput
from ..lowering import NUMPY, Lines, hoist
from ..plan import Plan, PopulationPlan
from ..populations import BackwardPopulation, ForwardPopulation
from ..projections import row_storage, weight_storage
from ..runner import ArrayRunner
from .code import VectorisedCodeObject

__all__ = ["VectorisedProjection"]

BLOCK = 16000  # synapses worked on together: arrays that stay in the cache, and that malloc needn't map anew


@dataclass
class VectorisedProjection:
    """Weights, forward and backward runners of a projection.

    Attributes
    ----------
    weights : NeuronGroup
        ``w`` and its gradient ``gw`` per connection, whatever the number of trials.
    forward, backward : list of ArrayRunner
    """

    plan: Plan
    projection: Projection
    source: ForwardPopulation | ForwardInput
    target: ForwardPopulation
    source_backward: BackwardPopulation | BackwardInput
    target_backward: BackwardPopulation
    weights: NeuronGroup = field(init=False)
    forward: list[ArrayRunner] = field(init=False)
    backward: list[ArrayRunner] = field(init=False)
    initial_backward: Initialisation = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.weights = weight_storage(self.projection, self.p)
        self.initial_backward.append(Fill(self.weights.variables["gw"], 0))
        self._structure: dict[str, Variable] = {}
        if self.projection.mask is not None:
            self._owners = rows, columns = row_storage(self.projection)  # variables hold their groups only weakly
            self._structure = {"rows": rows.variables["rows"], "columns": columns.variables["columns"]}
        self.forward = self._forward()
        self.backward = [self._backward()]

    @property
    def p(self) -> PopulationPlan:
        """Plan of the target population."""
        return self.target.population

    @property
    def _states(self) -> list[str]:
        return [x.name for x in self.p.system.states]

    def _runner(
        self,
        template: str,
        name: str,
        event: tuple[NeuronGroup, str],
        lines: Lines,
        reads: dict[str, str],
        group: NeuronGroup,
        arrays: Iterable[str] = (),
        others: dict[str, Variable] | None = None,
        order: int = 0,
        **keywords: Any,
    ) -> ArrayRunner:
        """A runner over the spikes of an event.

        Parameters
        ----------
        event : tuple of NeuronGroup and str
            Source and the name of its event.
        lines : Lines
            What is computed for every synapse.
        reads : dict of str to str
            Arrays of the target's group that it reads, by its names for them.
        group : NeuronGroup
            The target.
        arrays : iterable of str
            More arrays of the target's group.
        others : dict of str to Variable
            More arrays.
        """
        q, parameters = self.projection, list(self.p.population.model.parameters)
        n, m = q.weights.shape
        per_neuron = [k for k in parameters if self.p.per_neuron(k)]
        v, s = group.variables, event[0].variables
        needed = {k: v[k] for k in (*parameters, *reads.values(), *arrays)} | (others or {}) | self._structure
        needed |= {"w": self.weights.variables["w"]}
        needed |= {"ev_now": s[f"_{event[1]}space"], "s_arrival": s["s_arrival"]}
        assigned = [line.split(" = ")[0] for line in lines.outer]
        used = set(re.findall(r"\w+", " ".join([*lines.inner, *lines.outputs.values()])))
        weight = self.p.system.arrivals[q.receptor].weight.name
        columns = m if q.mask is None else max(1, round(len(self.weights) / n))
        return ArrayRunner(
            template,
            needed,
            VectorisedCodeObject,
            when="synapses",
            order=order,
            name=f"{q.name}_{name}",
            keywords={
                "names": list(needed),
                "batch": self.plan.batch_size,
                "n_source": n,
                "n_target": m,
                "steps": self.plan.steps,
                "sparse": q.mask is not None,
                "block": max(1, BLOCK // columns),
                "shared": [k for k in parameters if k not in per_neuron],
                "weight": weight,
                "reads_weight": weight in used,
                "reads": {k: k for k in per_neuron} | reads,
                "lines": lines,
                "per_spike": ["s_arrival", *(k for k in assigned if k in used)],
                "base": self.plan.cause_base(q),
                **keywords,
            },
        )

    def _hoist(self, program: Program, varying: Iterable[str], tag: str = "h") -> Lines:
        """Statements for every spike, and for every synapse."""
        per_neuron = (k for k in self.p.population.model.parameters if self.p.per_neuron(k))
        weight = self.p.system.arrivals[self.projection.receptor].weight.name
        return hoist(program, [weight, *varying, *per_neuron], tag, NUMPY)

    def _forward(self) -> list[ArrayRunner]:
        program = self.p.grid.arrival(self.projection.receptor)
        read = [x for x in self._states if symbol(x) in program.inputs]
        lines = self._hoist(program, read)
        sums = {x: lines.outputs[x] for x in self._states if x not in lines.zero}
        event, group = (self.source.group, "spike"), self.target.group
        reads = {x: f"{x}_base" for x in read}
        runners = [self._runner("arrivals", "arrive", event, lines, reads, group, sums, sums=sums)]
        if self.target.observed:
            notes = [
                {"id": f"{k}_id", "offset": f"{k}_s", "sign": sign, "where": None}
                for k, sign in (("first", 1), ("final", -1))
            ]
            arrays = ("first_id", "first_s", "final_id", "final_s")
            nothing = Lines([], [], {}, frozenset())
            runners.append(self._runner("marks", "mark", event, nothing, {}, group, arrays, order=1, notes=notes))
        if self.p.grid.carries_threshold(self.projection.receptor) and self.plan.timing == "precise":
            lines, reads = self._cause()
            notes = [
                {"id": f"{k}_id", "offset": f"{k}_s", "sign": sign, "where": f"_above_{k} & _up"}
                for k, sign in (("alone", 1), ("last", -1))
            ]
            arrays = ("alone_id", "alone_s", "last_id", "last_s")
            runners.append(self._runner("marks", "cause", event, lines, reads, group, arrays, order=1, notes=notes))
        return runners

    def _cause(self) -> tuple[Lines, dict[str, str]]:
        """Tells which arrivals carried the event function across 0; see the portable form for the rule."""
        p, grid, receptor = self.p, self.p.grid, self.projection.receptor
        left, right = threshold_sides(p.population.model)
        prefixes = ("_base_", "_end_")
        varying = [prefix + x for prefix in prefixes for x in self._states]
        outer: list[str] = []
        inner: list[str] = []
        for key, program, prefix in (
            ("alone", grid.after_arrival(receptor), prefixes[0]),
            ("last", grid.before_end(), prefixes[1]),
        ):
            tag = key[0]
            own = program.rename({x: symbol(prefix + x.name) for x in p.system.states}).local(tag)
            lines = self._hoist(own, varying, tag)
            after = {x: own.outputs[x.name] for x in p.system.states}
            outer += lines.outer
            inner += lines.inner
            a, b = (NUMPY.expression(e.xreplace(after)) for e in (left, right))
            inner.append(f"_above_{key} = {a} > {b}")
        change = grid.threshold_change(receptor).rename({x: symbol(prefixes[0] + x.name) for x in p.system.states})
        inner.append(
            f"_up = {NUMPY.expression(change.outputs['after'])} > {NUMPY.expression(change.outputs['before'])}"
        )
        reads = {f"_base_{x}": f"{x}_base" for x in self._states} | {f"_end_{x}": x for x in self._states}
        return Lines(outer, inner, {}, frozenset()), reads

    def _backward(self) -> ArrayRunner:
        p, q, group = self.p, self.projection, self.target_backward.group
        program = p.grid.arrival_backward(q.receptor)
        times = self.plan.input_gradients or not isinstance(self.source, ForwardInput)
        kept = {
            "time": times,
            "w": "w" in q.learnable,
            **dict.fromkeys(self._states, p.coupled),
            **dict.fromkeys((s.name for s in p.grid.learnable), True),
        }
        program = program.select([k for k in program.outputs if kept[k]])
        costates = {f"lambda_{x}": f"lambda_{x}" for x in self._states}
        base_read = {x.name: f"keep_{x.name}" for x in p.recorded_base}
        lines = self._hoist(program, [*costates, *base_read])
        sums = {f"added_lambda_{x}": x for x in self._states} | {f"grad_{s.name}": s.name for s in p.grid.learnable}
        sums = {array: lines.outputs[k] for array, k in sums.items() if k in lines.outputs and k not in lines.zero}
        caused = times and p.grid.carries_threshold(q.receptor) and self.plan.timing == "precise"
        observed = times and self.target.observed
        f, v = self.target.group.variables, self.source_backward.group.variables
        others = {"gw": self.weights.variables["gw"], "q_time": v["q_time"]}
        if observed:
            others |= {k: f[k] for k in ("max_arrival", "max_id", "max_rate")}
        read = {symbol(k): a for k, a in (costates | base_read).items()}
        return self._runner(
            "gather",
            "gather",
            (self.source_backward.group, "ev_found"),
            lines,
            {k.name: a for k, a in read.items() if k in program.inputs},
            group,
            [*sums, *(("cause_id", "cause_sigma") if caused else ()), *(("max_error",) if observed else ())],
            others,
            times=times,
            learns_weights="w" in q.learnable,
            sums=sums,
            caused=caused,
            observed=observed,
        )
