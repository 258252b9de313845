"""A population as two runners with templates of their own, and groups that only hold its arrays.

The same variables as in the portable form where both have them, so that what reads a population (projections, the
maximum of a voltage) serves both. Events are a list in the order of the steps instead of places per neuron.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from brian2 import NeuronGroup
from brian2.core.variables import Variable
from brian2.units import second

from ...symbolic.parsing import symbol
from ...symbolic.programs import Program
from ...symbolic.system import threshold_sides
from .. import observation, sampling
from ..initialisation import Copy, Fill, Initialisation
from ..lowering import cpp, hoist, uses_divided_differences
from ..plan import Plan, PopulationPlan
from ..populations import NEVER, add_parameters
from ..rendering import EquationList, dimension, inverse, storage, threshold_dimension
from .runner import TemplateRunner

__all__ = ["CompiledBackwardPopulation", "CompiledForwardPopulation"]

TIME = second.dim
RATE = (1 / second).dim
BLOCK = 32  # neurons updated and tested together


def parameter_names(p: PopulationPlan) -> tuple[list[str], list[str]]:
    """Names of shared and of per-neuron parameters."""
    names = list(p.population.model.parameters)
    return [n for n in names if not p.per_neuron(n)], [n for n in names if p.per_neuron(n)]


@dataclass
class EventList:
    """Events of a source in the order of the steps.

    Attributes
    ----------
    now : Variable
        Neurons that spike in the current step; the last element is their number.
    end : Variable
        End of the part of the list that belongs to each step; element 0 is 0.
    entries : NeuronGroup
        The list.
    """

    now: Variable
    end: Variable
    entries: NeuronGroup
    owners: tuple[NeuronGroup, ...]  # kept, since variables hold their groups only weakly

    @classmethod
    def create(cls, name: str, n: int, steps: int, capacity: int, equations: EquationList) -> EventList:
        """Make the arrays."""
        now, end = EquationList(), EquationList()
        now.integer(["ev_now"])
        end.integer(["ev_end"])
        equations.integer(["ev_neuron"])
        groups = (storage(n + 1, now, f"{name}_now"), storage(steps + 1, end, f"{name}_ends"))
        entries = storage(capacity, equations, f"{name}_list")
        return cls(groups[0].variables["ev_now"], groups[1].variables["ev_end"], entries, groups)

    def arrays(self, *names: str) -> dict[str, Variable]:
        """Arrays for a template."""
        return {"ev_now": self.now, "ev_end": self.end} | {k: self.entries.variables[k] for k in ("ev_neuron", *names)}


def _sample_runner(
    plan: Plan, p: PopulationPlan, arrays: dict[str, Variable], n: int, *, backward: bool
) -> TemplateRunner:
    """The runner that keeps samples of a state, or adds the loss's derivatives by them to its costate."""
    return TemplateRunner(
        "sample",
        arrays,
        when="start" if backward else "end",
        order=1,
        name=f"{p.name}_sample_loss" if backward else f"{p.name}_sample",
        keywords={"n": n, "steps": plan.steps, "every": plan.sample_steps, "backward": backward},
    )


@dataclass
class CompiledForwardPopulation:
    """Forward half: arrays, event list and the runner of a step."""

    plan: Plan
    population: PopulationPlan
    group: NeuronGroup = field(init=False)
    trajectory: NeuronGroup | None = field(init=False, default=None)
    samples: NeuronGroup | None = field(init=False, default=None)
    events: EventList | None = field(init=False, default=None)
    runner: TemplateRunner = field(init=False)
    runner_arrays: dict[str, Variable] = field(init=False)
    initial: Initialisation = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        p = self.population
        equations = EquationList()
        for s in p.population.model.states:
            dim = dimension(s.unit)
            equations.parameter(s.name, dim)
            equations.parameter(f"{s.name}_initial", dim)
            if self.observed:
                equations.parameter(f"{s.name}_start", dim)
            if p.keeps_base:
                equations.parameter(f"{s.name}_base", dim)
        add_parameters(equations, p)
        if p.spiking:
            equations.integer(["last_step"])
            equations.parameter("last_r", TIME)
            equations.parameter("s_arrival", TIME)
        if p.caused:
            equations.integer(["alone_id", "last_id"])
            equations.parameter("alone_s", TIME)
            equations.parameter("last_s", TIME)
        if self.observed:
            observation.declare_forward(equations, self.plan, p)
        self.group = storage(self.n, equations, f"{p.name}_forward")
        v = self.group.variables
        for x, e in p.system.initial.items():
            self.initial.append(Fill(v[x.name], 0) if e == 0 else Copy(v[x.name], v[f"{x.name}_initial"]))
        arrays = {k: v[k] for k in (*self.names, *p.population.model.parameters)}
        if self.observed:
            arrays |= {f"{k}_start": v[f"{k}_start"] for k in self.names}
        if p.keeps_base:
            arrays |= {f"{k}_base": v[f"{k}_base"] for k in self.names}
        if p.spiking:
            arrays |= self._make_events()
        if p.caused:
            arrays |= {k: v[k] for k in ("alone_id", "last_id", "alone_s", "last_s")}
            self.initial += [Fill(v["alone_id"], -1), Fill(v["last_id"], -1)]
        if p.recorded or p.recorded_base:
            arrays |= self._make_trajectory()
        self.runner_arrays = arrays
        self.runner = TemplateRunner(
            "grid_step",
            arrays,
            when="groups",
            name=f"{p.name}_step",
            keywords=self._keywords(),
            expdd=uses_divided_differences([p.grid.step, *([p.grid.crossing, p.grid.event] if p.spiking else [])]),
        )
        self._observers: list[TemplateRunner] = []
        if self.observed:
            self._observe()
        if self.plan.samples(p.name):
            self.samples = sampling.store(self.plan, p)
            arrays = {"state": v[self.plan.variable], "samples": self.samples.variables["sample_value"]}
            self._observers.append(_sample_runner(self.plan, p, arrays, self.n, backward=False))

    def _observe(self) -> None:
        """Add the runner that keeps the maximum up to date."""
        p, v = self.population, self.group.variables
        shared, arrays = parameter_names(p)
        state = symbol(self.plan.variable)
        observe, peak = p.grid.observe(state).select(["value", "rate"]), observation.peak_program(self.plan, p)
        inputs = [*self.names, *arrays, "r_event"]
        kept = [x.name for x in observation.recorded(self.plan, p)]
        marks = ("first_id", "first_s", "final_id", "final_s")
        maximum = (
            "max_value",
            "max_r",
            "max_rate",
            "max_origin",
            "max_arrival",
            "max_id",
            *(f"max_x_{x}" for x in kept),
        )
        names = [*self.names, *(f"{x}_start" for x in self.names), *marks, *maximum, *shared, *arrays]
        keywords = {
            "n": self.n,
            "states": self.names,
            "shared": shared,
            "arrays": arrays,
            "pieces": [{"after": False}, {"after": True}],
            "variable": state.name,
            "observe": hoist(observe.local("x"), inputs, "x"),
            "rate_here": cpp(p.system.f[state]),
            "peak": hoist(peak.local("y"), inputs, "y"),
            "same": repr(observation.SAME[self.plan.dtype]),
            "kept": kept,
        }
        self._observers.append(
            TemplateRunner(
                "maximum",
                {k: v[k] for k in names},
                when="end",
                name=f"{p.name}_maximum",
                keywords=keywords,
                expdd=uses_divided_differences([observe, peak]),
            )
        )
        self.initial += observation.initial_forward(self.group)

    @property
    def names(self) -> list[str]:
        """Names of the states."""
        return [x.name for x in self.population.system.states]

    @property
    def n(self) -> int:
        """Neurons of the whole batch."""
        return self.plan.batch_size * self.population.population.n

    @property
    def observed(self) -> bool:
        """Whether the loss reads a voltage of this population."""
        return self.plan.observes(self.population.name)

    @property
    def objects(self) -> list[Any]:
        """What the network runs."""
        return [self.runner, *self._observers]

    @property
    def source_arrays(self) -> dict[str, Variable]:
        """What a projection from here reads."""
        assert self.events is not None
        return {"ev_now": self.events.now, "s_arrival": self.group.variables["s_arrival"]}

    def _make_events(self) -> dict[str, Variable]:
        p, v = self.population, self.group.variables
        equations = EquationList()
        equations.parameter("ev_r", TIME)
        equations.parameter("ev_free")
        equations.parameter("ev_dl", RATE)
        if p.caused:
            equations.integer(["ev_cause"])
        for x in p.recorded_at_events:
            equations.parameter(f"ev_x_{x.name}", dimension(p.system.units[x]))
        capacity = self.n * self.plan.max_spikes
        self.events = EventList.create(p.name, self.n, self.plan.steps, capacity, equations)
        counters = EquationList()
        counters.integer(["lost_events", "unresolved_events"])
        self._counters = storage(1, counters, f"{p.name}_counters")
        c = self._counters.variables
        self.initial += [Fill(c["lost_events"], 0), Fill(c["unresolved_events"], 0), Fill(v["last_step"], -1000000)]
        names = [
            "ev_r",
            "ev_free",
            *(["ev_cause"] if p.caused else []),
            *(f"ev_x_{x.name}" for x in p.recorded_at_events),
        ]
        return self.events.arrays(*names) | {
            "lost_events": c["lost_events"],
            "unresolved_events": c["unresolved_events"],
            **{k: v[k] for k in ("last_step", "last_r", "s_arrival")},
        }

    def _make_trajectory(self) -> dict[str, Variable]:
        p = self.population
        equations = EquationList()
        names = [(f"tr_{x.name}", x) for x in p.recorded] + [(f"tb_{x.name}", x) for x in p.recorded_base]
        for name, x in names:
            equations.parameter(name, dimension(p.system.units[x]))
        self.trajectory = storage(self.n * self.plan.steps, equations, f"{p.name}_trajectory")
        return {name: self.trajectory.variables[name] for name, _ in names}

    def _keywords(self) -> dict[str, Any]:
        p, grid = self.population, self.population.grid
        shared, arrays = parameter_names(p)
        keywords: dict[str, Any] = {
            "n": self.n,
            "block": BLOCK,
            "states": self.names,
            "shared": shared,
            "arrays": arrays,
            "spiking": p.spiking,
            "precise": self.plan.timing == "precise",
            "caused": p.caused,
            "recorded": [x.name for x in p.recorded],
            "recorded_base": [x.name for x in p.recorded_base],
            "recorded_at_events": [x.name for x in p.recorded_at_events],
            "keeps_base": p.keeps_base,
            "keeps_start": self.observed,
            "step": hoist(grid.step, [*self.names, *arrays]),
        }
        if p.spiking:
            left, right = threshold_sides(p.population.model)
            after = {x: symbol(f"_o_{x.name}") for x in p.system.states}
            inputs = [*self.names, *arrays, "r_event"]
            crossing = hoist(grid.crossing.local("x"), inputs, "x")
            keywords |= {
                "value_before": cpp(left - right),
                "value_after": cpp((left - right).xreplace(after)),
                "speed": cpp(grid.speed),
                "condition_before": f"({cpp(left)} > {cpp(right)})",
                "condition_after": f"({cpp(left.xreplace(after))} > {cpp(right.xreplace(after))})",
                "crossing": crossing,
                "capacity": self.n * self.plan.max_spikes,
                "event": hoist(grid.event.local("y"), inputs, "y"),
            }
        return keywords


@dataclass
class CompiledBackwardPopulation:
    """Adjoint half."""

    plan: Plan
    forward: CompiledForwardPopulation
    group: NeuronGroup = field(init=False)
    runners: list[TemplateRunner] = field(init=False, default_factory=list)
    initial: Initialisation = field(init=False, default_factory=list)
    smallest_slope: Variable | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        f, p = self.forward, self.forward.population
        equations = EquationList()
        for x in p.system.states:
            dim = inverse(dimension(p.system.units[x]))
            equations.parameter(f"lambda_{x.name}", dim)
            if p.coupled:
                equations.parameter(f"added_lambda_{x.name}", dim)
        for x in p.recorded_base:
            equations.parameter(f"keep_{x.name}", dimension(p.system.units[x]))
        add_parameters(equations, p)
        for q in p.grid.learnable:
            equations.parameter(f"grad_{q.name}", inverse(dimension(p.system.units[q])))
        if p.spiking:
            equations.parameter("s_arrival", TIME)
            equations.parameter("q_time", RATE)
        if p.caused:
            equations.integer(["cause_id"])
            equations.parameter("cause_sigma", RATE)
        if f.observed:
            equations.parameter("max_error", inverse(dimension(p.system.units[symbol(self.plan.variable)])))
        self.group = storage(f.n, equations, f"{p.name}_backward")
        self._initialise()
        arrays = self._arrays()
        keywords = self._keywords()
        if p.spiking or p.coupled:
            self.runners.append(
                TemplateRunner("grid_replay", arrays, when="thresholds", name=f"{p.name}_replay", keywords=keywords)
            )
        programs: list[Program] = [p.grid.step_backward, *([p.grid.event_backward] if p.spiking else [])]
        self.runners.append(
            TemplateRunner(
                "grid_back",
                arrays,
                when="resets",
                name=f"{p.name}_back",
                keywords=keywords,
                expdd=uses_divided_differences(programs),
            )
        )
        if f.observed:
            self._observe()
        if f.samples is not None:
            costate = self.group.variables[f"lambda_{self.plan.variable}"]
            arrays = {"state": costate, "samples": f.samples.variables["sample_error"]}
            self.runners.append(_sample_runner(self.plan, p, arrays, f.n, backward=True))

    def _observe(self) -> None:
        """Add the runners that apply the loss's derivative at the step of the maximum."""
        f, v = self.forward, self.group.variables
        p = f.population
        shared, arrays = parameter_names(p)
        program = observation.backward_program(self.plan, p)
        outputs = observation.backward_outputs(p, program)
        kept = [x.name for x in observation.recorded(self.plan, p)]
        jump = hoist(program, ["max_r", "max_error", *(f"max_x_{x}" for x in kept), *arrays])
        here = f.group.variables
        needed = {k: here[k] for k in ("max_origin", "max_r", *(f"max_x_{x}" for x in kept))}
        needed |= {k: v[k] for k in ("max_error", *outputs.values(), *p.population.model.parameters)}
        keywords = {
            "n": f.n,
            "steps": self.plan.steps,
            "shared": shared,
            "arrays": arrays,
            "kept": kept,
            "jump": jump,
            "outputs": outputs,
        }
        for when, at_start in (("start", False), ("end", True)):
            runner = TemplateRunner(
                "maximum_back",
                needed,
                when=when,
                order=1,
                name=f"{p.name}_voltage_loss_{when}",
                keywords={**keywords, "at_start": at_start},
                expdd=uses_divided_differences([program]),
            )
            self.runners.append(runner)

    @property
    def objects(self) -> list[Any]:
        """What the network runs."""
        return list(self.runners)

    @property
    def source_arrays(self) -> dict[str, Variable]:
        """What a projection from here reads and writes, backward."""
        assert self.forward.events is not None
        v = self.group.variables
        return {"ev_now": self.forward.events.now, "s_arrival": v["s_arrival"], "q_time": v["q_time"]}

    def _initialise(self) -> None:
        p, v = self.forward.population, self.group.variables
        self.initial += [Fill(v[f"lambda_{x.name}"], 0) for x in p.system.states]
        self.initial += [Fill(v[f"grad_{q.name}"], 0) for q in p.grid.learnable]
        if p.spiking:
            self.initial.append(Fill(v["q_time"], 0))
            slope = EquationList()
            slope.parameter("smallest_slope", threshold_dimension(p.population.model) / TIME)
            self._slope = storage(1, slope, f"{p.name}_slope")
            self.smallest_slope = self._slope.variables["smallest_slope"]
            self.initial.append(Fill(self.smallest_slope, NEVER))
        if p.caused:
            self.initial += [Fill(v["cause_id"], -1), Fill(v["cause_sigma"], 0)]

    def _arrays(self) -> dict[str, Variable]:
        f, v = self.forward, self.group.variables
        p = f.population
        arrays = {k: v[k] for k in p.population.model.parameters}
        arrays |= {f"lambda_{x.name}": v[f"lambda_{x.name}"] for x in p.system.states}
        arrays |= {f"grad_{q.name}": v[f"grad_{q.name}"] for q in p.grid.learnable}
        if p.coupled:
            arrays |= {f"added_lambda_{x.name}": v[f"added_lambda_{x.name}"] for x in p.system.states}
        arrays |= {f"keep_{x.name}": v[f"keep_{x.name}"] for x in p.recorded_base}
        if f.trajectory is not None:
            t = f.trajectory.variables
            arrays |= {f"tr_{x.name}": t[f"tr_{x.name}"] for x in p.recorded}
            arrays |= {f"tb_{x.name}": t[f"tb_{x.name}"] for x in p.recorded_base}
        if p.spiking:
            assert f.events is not None and self.smallest_slope is not None
            names = ["ev_r", "ev_free", "ev_dl", *(f"ev_x_{x.name}" for x in p.recorded_at_events)]
            arrays |= f.events.arrays(*names, *(["ev_cause"] if p.caused else []))
            arrays |= {"s_arrival": v["s_arrival"], "q_time": v["q_time"], "smallest_slope": self.smallest_slope}
        if p.caused:
            arrays |= {"cause_id": v["cause_id"], "cause_sigma": v["cause_sigma"]}
        return arrays

    def _keywords(self) -> dict[str, Any]:
        f, p = self.forward, self.forward.population
        shared, arrays = parameter_names(p)
        states = [x.name for x in p.system.states]
        costates = [f"lambda_{x}" for x in states]
        recorded = [x.name for x in p.recorded]
        keywords: dict[str, Any] = {
            "n": f.n,
            "steps": self.plan.steps,
            "states": states,
            "shared": shared,
            "arrays": arrays,
            "learnable": [q.name for q in p.grid.learnable],
            "width": len(states) + len(p.grid.learnable),
            "spiking": p.spiking,
            "precise": self.plan.timing == "precise",
            "caused": p.caused,
            "coupled": p.coupled,
            "recorded": recorded,
            "recorded_base": [x.name for x in p.recorded_base],
            "recorded_at_events": [x.name for x in p.recorded_at_events],
            "output": p.name == self.plan.network.output and self.plan.observable == "spike_times",
            "step": hoist(p.grid.step_backward, [*costates, *recorded, *arrays]),
        }
        if p.spiking:
            inputs = [*costates, *states, *arrays, "r_event", "free_event", "q_time"]
            keywords["event"] = hoist(p.grid.event_backward, inputs, "k")
        return keywords
