"""A projection as two runners that work row by row on one weight matrix, dense or sparse, shared by all trials."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from brian2 import NeuronGroup
from brian2.core.variables import Variable

from ...symbolic.parsing import symbol
from ...symbolic.programs import Program
from ...symbolic.system import threshold_sides
from ...templates.network import Projection
from ..initialisation import Fill, Initialisation
from ..lowering import Lines, cpp, hoist, uses_divided_differences
from ..plan import Plan
from ..projections import row_storage, weight_storage
from .inputs import CompiledBackwardInput, CompiledForwardInput
from .populations import CompiledBackwardPopulation, CompiledForwardPopulation, parameter_names
from .runner import TemplateRunner

__all__ = ["CompiledProjection"]


@dataclass
class CompiledProjection:
    """Weights, forward and backward runner of a projection."""

    plan: Plan
    projection: Projection
    source: CompiledForwardPopulation | CompiledForwardInput
    target: CompiledForwardPopulation
    source_backward: CompiledBackwardPopulation | CompiledBackwardInput
    target_backward: CompiledBackwardPopulation
    weights: NeuronGroup = field(init=False)
    forward: list[TemplateRunner] = field(init=False)
    backward: list[TemplateRunner] = field(init=False)
    initial_backward: Initialisation = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        q = self.projection
        self.weights = weight_storage(q, self.target.population)
        self.initial_backward.append(Fill(self.weights.variables["gw"], 0))
        self._structure: dict[str, Variable] = {}
        if q.mask is not None:
            self._owners = rows, columns = row_storage(q)  # kept, since variables hold their groups only weakly
            self._structure = {"rows": rows.variables["rows"], "columns": columns.variables["columns"]}
        self.forward = self._forward()
        self.backward = [self._backward()]

    @property
    def _arrival(self) -> tuple[str, list[str], list[str], list[str]]:
        """Weight name, states, shared and per-neuron parameters of the target."""
        p = self.target.population
        shared, arrays = parameter_names(p)
        weight = p.system.arrivals[self.projection.receptor].weight.name
        return weight, [x.name for x in p.system.states], shared, arrays

    def _keywords(self) -> dict[str, Any]:
        weight, states, shared, arrays = self._arrival
        n, m = self.projection.weights.shape
        return {
            "batch": self.plan.batch_size,
            "n_source": n,
            "n_target": m,
            "steps": self.plan.steps,
            "weight": weight,
            "states": states,
            "shared": shared,
            "arrays": arrays,
            "sparse": self.projection.mask is not None,
            "base": self.plan.cause_base(self.projection),
        }

    def _parameters(self, group: NeuronGroup) -> dict[str, Variable]:
        return {k: group.variables[k] for k in self.target.population.population.model.parameters}

    def _forward(self) -> list[TemplateRunner]:
        f, p = self.target, self.target.population
        weight, states, _, arrays = self._arrival
        v = f.group.variables
        program = p.grid.arrival(self.projection.receptor)
        read = [x for x in states if symbol(x) in program.inputs]
        split = hoist(program, [weight, *read, *arrays])
        last = [f"_x_{x}[_j] += {split.outputs[x]};" for x in states if x not in split.zero]
        paths = [{"lines": split, "reads": {x: f"{x}_base" for x in read}, "last": last}]
        programs = [program]
        needed = self._parameters(f.group) | {k: v[k] for k in states} | self._structure
        needed |= {"w": self.weights.variables["w"]} | self.source.source_arrays
        if p.keeps_base:
            needed |= {f"{k}_base": v[f"{k}_base"] for k in states}
        runners = [self._runner("projection_forward", needed, "synapses", "forward", paths, programs)]
        marks: list[dict[str, Any]] = []
        if f.observed:
            places = {k: v[k] for k in ("first_s", "first_id", "final_s", "final_id")}
            if self.projection.mask is None:
                arrays_read = places | {k: needed[k] for k in ("ev_now", "s_arrival")}
                runners.append(self._runner("projection_mark", arrays_read, "after_synapses", "mark", [], []))
            else:
                marks.append(self._mark())
                needed = needed | places
        if p.grid.carries_threshold(self.projection.receptor) and self.plan.timing == "precise":
            path, more = self._cause()
            marks.append(path)
            programs = programs + more
            needed = needed | {k: v[k] for k in ("alone_id", "alone_s", "last_id", "last_s")}
        if marks:
            runners.append(self._runner("projection_forward", needed, "after_synapses", "paths", marks, programs))
        return runners

    def _runner(
        self,
        template: str,
        arrays: dict[str, Variable],
        when: str,
        suffix: str,
        paths: list[dict[str, Any]],
        programs: list[Program],
    ) -> TemplateRunner:
        return TemplateRunner(
            template,
            arrays,
            when=when,
            name=f"{self.projection.name}_{suffix}",
            keywords={**self._keywords(), "paths": paths},
            expdd=uses_divided_differences(programs),
        )

    def _array(self, name: str) -> str:
        """Placeholder for an array of the target that the template fills in."""
        from brian2.devices.device import get_device

        return str(get_device().get_array_name(self.target.group.variables[name])) + "[_first + _j]"

    def _mark(self) -> dict[str, Any]:
        """Notes the first and the last arrival of the step for each target."""
        base = self.plan.cause_base(self.projection)
        first_id, first_s, final_id, final_s = (self._array(k) for k in ("first_id", "first_s", "final_id", "final_s"))
        last = [
            f"if ({first_id} < 0 || s_arrival > {first_s}) {{ {first_s} = s_arrival; {first_id} = {base} + _source; }}",
            f"if ({final_id} < 0 || s_arrival < {final_s}) {{ {final_s} = s_arrival; {final_id} = {base} + _source; }}",
        ]
        return {"lines": Lines([], [], {}, frozenset()), "reads": {}, "last": last}

    def _cause(self) -> tuple[dict[str, Any], list[Program]]:
        """Notes which arrival carried the event function across 0; see the portable form for the rule."""
        p, grid = self.target.population, self.target.population.grid
        receptor = self.projection.receptor
        weight, states, _, arrays = self._arrival
        left, right = threshold_sides(p.population.model)
        body: list[str] = []
        programs = []
        for tag, program, prefix in (("a", grid.after_arrival(receptor), "_base_"), ("t", grid.before_end(), "_end_")):
            own = program.rename({x: symbol(prefix + x.name) for x in p.system.states}).local(tag)
            split = hoist(own, [weight, *(prefix + x for x in states), *arrays, "s_arrival"], tag)
            after = {x: own.outputs[x.name] for x in p.system.states}
            body += [*split.outer, *split.inner]
            body.append(f"const bool _above{tag} = {cpp(left.xreplace(after))} > {cpp(right.xreplace(after))};")
            programs.append(program)
        change = grid.threshold_change(receptor).rename({x: symbol("_base_" + x.name) for x in p.system.states})
        base = self.plan.cause_base(self.projection)
        alone_id, alone_s, last_id, last_s = (self._array(k) for k in ("alone_id", "alone_s", "last_id", "last_s"))
        body += [
            f"const bool _up = {cpp(change.outputs['after'])} > {cpp(change.outputs['before'])};",
            f"if (_abovea && _up && ({alone_id} < 0 || s_arrival > {alone_s}))",
            f"{{ {alone_s} = s_arrival; {alone_id} = {base} + _source; }}",
            f"if (_abovet && _up && ({last_id} < 0 || s_arrival < {last_s}))",
            f"{{ {last_s} = s_arrival; {last_id} = {base} + _source; }}",
        ]
        reads = {f"_base_{x}": f"{x}_base" for x in states} | {f"_end_{x}": x for x in states}
        return {"lines": Lines([], body, {}, frozenset()), "reads": reads, "last": []}, programs

    def _backward(self) -> TemplateRunner:
        b, p = self.target_backward, self.target.population
        weight, states, _, arrays = self._arrival
        v = b.group.variables
        program = p.grid.arrival_backward(self.projection.receptor)
        times = self.plan.input_gradients or not isinstance(self.source, CompiledForwardInput)
        if not times:
            program = program.select([k for k in program.outputs if k != "time"])
        base_read = [x.name for x in p.recorded_base]
        varying = [weight, *(f"lambda_{x}" for x in states), *base_read, *arrays]
        gather = hoist(program, varying)
        added = [x for x in states if p.coupled and x not in gather.zero]
        parameters = [q.name for q in p.grid.learnable if q.name not in gather.zero]
        caused = times and p.grid.carries_threshold(self.projection.receptor) and self.plan.timing == "precise"
        observed = times and self.target.observed
        needed = self._parameters(b.group) | {f"lambda_{x}": v[f"lambda_{x}"] for x in states} | self._structure
        needed |= {k: self.weights.variables[k] for k in ("w", "gw")} | self.source_backward.source_arrays
        needed |= {f"added_lambda_{x}": v[f"added_lambda_{x}"] for x in added}
        needed |= {f"keep_{x}": v[f"keep_{x}"] for x in base_read}
        needed |= {f"grad_{q}": v[f"grad_{q}"] for q in parameters}
        if caused:
            needed |= {k: v[k] for k in ("cause_id", "cause_sigma")}
        if observed:
            f = self.target.group.variables
            needed |= {k: f[k] for k in ("max_arrival", "max_id", "max_rate")} | {"max_error": v["max_error"]}
        return TemplateRunner(
            "projection_backward",
            needed,
            when="synapses",
            name=f"{self.projection.name}_backward",
            keywords={
                **self._keywords(),
                "gather": gather,
                "times": times,
                "learns_weights": "w" in self.projection.learnable,
                "recorded_base": base_read,
                "added": added,
                "parameters": parameters,
                "caused": caused,
                "observed": observed,
                "simple": not (caused or added or parameters),
            },
            expdd=uses_divided_differences([program]),
        )
