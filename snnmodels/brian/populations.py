"""A population as two NeuronGroups: forward in time, and its adjoint backward in time.

Both hold every trial of the batch side by side (neuron i of trial b has the index b*n + i). Events are kept in a store
group that is never simulated, reached through an index variable; the backward group finds them again by step number.
The two orders of one step, in Brian2's slots:

forward                                                     backward
  groups            state update, states at the start kept    thresholds         events of this step found
  thresholds        spike condition                           after_thresholds   their offsets copied
  after_thresholds  event resolved, own jump, stored          synapses           sensitivities gathered
  before_synapses   states before arrivals kept               resets             jump at the event
  synapses          arrivals                                  after_resets       step of the adjoint
  resets            next slot of the store                    end                previous slot; loss on the voltage
"""

from __future__ import annotations

from dataclasses import dataclass, field

import sympy as sp
from brian2 import Equations, NeuronGroup, linked_var
from brian2.units import second
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension

from ..symbolic.grid import bar
from ..symbolic.parsing import print_expression, symbol
from . import observation, sampling
from .functions import bracket_function, namespace_for, root_function
from .initialisation import Copy, Fill, Initialisation
from .plan import Plan, PopulationPlan
from .rendering import EquationList, assign, dimension, inverse, outputs, storage, threshold_code, threshold_dimension

__all__ = ["BackwardPopulation", "ForwardPopulation"]

TIME = second.dim
RATE = (1 / second).dim
NEVER = 1e30  # larger than any slope, and finite, since 0*inf is not 0


def add_parameters(equations: EquationList, plan: PopulationPlan) -> None:
    """Declare the model's parameters: one value for the population, or one for each neuron."""
    for p in plan.population.model.parameters.values():
        flags = ("constant",) if plan.per_neuron(p.name) else ("constant", "shared")
        equations.parameter(p.name, dimension(p.unit), *flags)


@dataclass
class ForwardPopulation:
    """Forward group of a population and the store of its events.

    Attributes
    ----------
    group : NeuronGroup
    store, trajectory, samples : NeuronGroup or None
        Events; states at every step where the backward pass needs them; what the loss reads at sample times.
    initial : list
        What has to be set before each run.
    """

    plan: Plan
    population: PopulationPlan
    group: NeuronGroup = field(init=False)
    store: NeuronGroup | None = field(init=False, default=None)
    trajectory: NeuronGroup | None = field(init=False, default=None)
    samples: NeuronGroup | None = field(init=False, default=None)
    initial: Initialisation = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        p, n = self.population, self.n
        model, system = p.population.model, p.system
        equations = EquationList(model.name)
        for s in model.states:
            equations.differential(s.name, dimension(s.unit), print_expression(system.f[symbol(s.name)]))
            equations.parameter(f"{s.name}_start", dimension(s.unit))
            equations.parameter(f"{s.name}_initial", dimension(s.unit))
        add_parameters(equations, p)
        if p.keeps_base:
            for s in model.states:
                equations.parameter(f"{s.name}_base", dimension(s.unit))
        events = {}
        namespace = namespace_for([p.grid.step])
        if p.spiking:
            equations.integer(["number", "ev_slot", "lost_events", "unresolved_events"])
            for name in ("r_event", "s_arrival", "since_event"):
                equations.parameter(name, TIME)
            equations.parameter("free_event")
            equations.integer(["cause_id"])
            equations.parameter("cause_s", TIME)
            equations.integer(["ev_step", "ev_cause"], "linked")
            equations.parameter("ev_r", TIME, "linked")
            equations.parameter("ev_free", DIMENSIONLESS, "linked")
            for x in p.recorded_at_events:
                equations.parameter(f"ev_x_{x.name}", dimension(system.units[x]), "linked")
            condition = self._condition()
            events = {"spike": condition, "ev_move": condition}
            namespace |= self._functions() | namespace_for([p.grid.event])
        if p.caused:
            equations.integer(["alone_id", "last_id"])
            equations.parameter("alone_s", TIME)
            equations.parameter("last_s", TIME)
        if self.observed:
            namespace |= observation.declare_forward(equations, self.plan, p)
        if self.plan.samples(p.name):
            sampling.declare(equations, self.plan, p)
        if p.recorded or p.recorded_base:
            equations.integer(["tr_index"])
            for x in p.recorded:
                equations.parameter(f"tr_{x.name}", dimension(system.units[x]), "linked")
            for x in p.recorded_base:
                equations.parameter(f"tb_{x.name}", dimension(system.units[x]), "linked")
        self.group = NeuronGroup(
            n,
            equations.equations(),
            method=self._state_update,
            events=events,
            namespace=namespace,
            name=f"{p.name}_forward",
        )
        self._initialise()
        if p.spiking:
            self._store_events()
        if p.recorded or p.recorded_base:
            self._store_trajectory()
        if p.keeps_base:
            lines = [f"{x.name}_base = {x.name}" for x in system.states]
            if p.caused:
                lines += ["alone_id = -1", "last_id = -1", "alone_s = 0*second", "last_s = 0*second"]
            self.group.run_regularly("\n".join(lines), when="before_synapses", name=f"{p.name}_keep_base")
        if self.observed:
            self.initial += observation.attach_forward(self.group, self.plan, p)
        if self.plan.samples(p.name):
            self.samples = sampling.store(self.plan, p)
            self.initial += sampling.attach_forward(self.group, self.samples, self.plan, p)

    @property
    def n(self) -> int:
        """Neurons of the whole batch."""
        return self.plan.batch_size * self.population.population.n

    @property
    def stride(self) -> int:
        """Places per neuron in the store: a sentinel, then the events."""
        return self.plan.max_spikes + 1

    @property
    def observed(self) -> bool:
        """Whether the loss reads a voltage of this population."""
        return self.plan.observes(self.population.name)

    def _start(self) -> dict[sp.Symbol, sp.Expr]:
        return {x: symbol(f"{x.name}_start") for x in self.population.system.states}

    def _condition(self) -> str:
        model = self.population.population.model
        now = threshold_code(model)
        if self.plan.timing == "grid":
            return now
        condition = f"{now} or {threshold_code(model, self._start())}"
        return f"{condition} or (cause_id >= 0)" if self.population.caused else condition

    def _state_update(self, equations: Equations, variables: object, method_options: object = None) -> str:
        """Abstract code of one step; Brian2 takes it as an integration method."""
        p = self.population
        states = [x.name for x in p.system.states]
        lines = [f"{x}_start = {x}" for x in states]
        if p.spiking:
            lines.append("since_event = since_event + dt")
        if p.caused:
            lines += [
                "_alone = int(alone_id >= 0)",
                "cause_id = _alone*alone_id + (1 - _alone)*last_id",
                "cause_s = _alone*alone_s + (1 - _alone)*last_s",
            ]
        return "\n".join([*lines, *assign(p.grid.step, self._dims())])

    def _dims(self) -> dict[str, Dimension]:
        system = self.population.system
        return {x.name: dimension(system.units[x]) for x in system.states}

    def _arguments(self) -> list[str]:
        crossing = self.population.grid.crossing
        return sorted(s.name for s in crossing.inputs if s.name != "r_event")

    def _functions(self) -> dict[str, object]:
        name, program = self.population.name, self.population.grid.crossing
        return {
            f"crossing_{name}": root_function(f"crossing_{name}", program, self._arguments(), "r_event"),
            f"bracketed_{name}": bracket_function(f"bracketed_{name}", program, self._arguments(), "r_event"),
        }

    def _resolve(self) -> list[str]:
        """Code that finds the event inside the step and applies the neuron's own jump."""
        p = self.population
        if self.plan.timing == "grid":
            lines = ["r_event = dt", "free_event = 1.0", "s_arrival = 0*second"]
        else:
            start = {x.name: f"{x.name}_start" for x in p.system.states}
            call = ", ".join(start.get(a, a) for a in self._arguments())
            above = threshold_code(p.population.model, self._start())
            lines = [
                f"_above = int({above})",
                # an event that arrivals of the last step caused lies in that step, but after the last event
                "_recent = int(since_event < dt)",
                "_low = -_above*(_recent*since_event + (1 - _recent)*dt)",
                "_high = (1 - _above)*dt",
                f"_bracketed = 1 - _above + _above*bracketed_{p.name}({call}, _low)",
                f"_crossing = crossing_{p.name}({call}, _low, _high)",
            ]
            if p.caused:
                lines += [
                    "_caused = int(cause_id >= 0)",
                    "r_event = (1 - _caused)*_crossing - _caused*cause_s",
                    "free_event = (1 - _caused)*_bracketed",
                    "unresolved_events += int((1 - _caused)*_bracketed + _caused < 0.5)",
                ]
            else:
                lines += [
                    "r_event = _crossing",
                    "free_event = _bracketed",
                    "unresolved_events += int(_bracketed < 0.5)",
                ]
            lines.append("s_arrival = dt - r_event")
        event = p.grid.event.rename(self._start())
        lines += assign(event, self._dims())
        lines += ["since_event = -r_event", "ev_step = t_in_timesteps", "ev_r = r_event", "ev_free = free_event"]
        lines += [f"ev_x_{x.name} = {x.name}_start" for x in p.recorded_at_events]
        if p.caused:
            lines.append("ev_cause = cause_id")
        return lines

    def _store_events(self) -> None:
        p, g = self.population, self.group
        equations = EquationList(p.name)
        equations.integer(["ev_step", "ev_cause"])
        equations.parameter("ev_r", TIME)
        equations.parameter("ev_free")
        equations.parameter("ev_dl", RATE)
        for x in p.recorded_at_events:
            equations.parameter(f"ev_x_{x.name}", dimension(p.system.units[x]))
        self.store = storage(self.n * self.stride, equations, f"{p.name}_events")
        for name in ("ev_step", "ev_cause", "ev_r", "ev_free", *(f"ev_x_{x.name}" for x in p.recorded_at_events)):
            setattr(g, name, linked_var(self.store, name, index="ev_slot"))
        v, s = g.variables, self.store.variables
        self.initial += [
            Fill(s["ev_step"], -1),
            Fill(s["ev_dl"], 0),
            Fill(v["ev_slot"], 1, self.stride),
            Fill(v["number"], 0, 1),  # synapses read it instead of i, which Brian2's Cython template overwrites
            Fill(v["lost_events"], 0),
            Fill(v["unresolved_events"], 0),
            Fill(v["since_event"], 1e6),
            Fill(v["cause_id"], -1),
        ]
        if p.caused:
            self.initial += [Fill(v["alone_id"], -1), Fill(v["last_id"], -1)]
        g.run_on_event("spike", "\n".join(self._resolve()), when="after_thresholds")
        g.set_event_schedule("ev_move", when="thresholds")
        # the slot moves in a block of its own: code that writes through an index must not change it
        last = f"i*{self.stride} + {self.plan.max_spikes}"
        g.run_on_event(
            "ev_move",
            f"lost_events += int(ev_slot >= {last})\nev_slot += int(ev_slot < {last})",
            when="resets",
        )

    def _store_trajectory(self) -> None:
        p, g = self.population, self.group
        equations = EquationList(p.name)
        names = []
        for prefix, states, suffix in (("tr", p.recorded, "start"), ("tb", p.recorded_base, "base")):
            for x in states:
                equations.parameter(f"{prefix}_{x.name}", dimension(p.system.units[x]))
                names.append((f"{prefix}_{x.name}", f"{x.name}_{suffix}"))
        self.trajectory = storage(self.n * self.plan.steps, equations, f"{p.name}_trajectory")
        for name, _ in names:
            setattr(g, name, linked_var(self.trajectory, name, index="tr_index"))
        code = "\n".join(f"{a} = {b}" for a, b in names)
        g.run_regularly(code, when="after_synapses", name=f"{p.name}_record")
        g.run_regularly(f"tr_index = tr_index + {self.n}", when="end", name=f"{p.name}_record_next")
        self.initial.append(Fill(g.variables["tr_index"], 0, 1))

    def _initialise(self) -> None:
        v = self.group.variables
        for x, e in self.population.system.initial.items():
            self.initial.append(Fill(v[x.name], 0) if e == 0 else Copy(v[x.name], v[f"{x.name}_initial"]))


@dataclass
class BackwardPopulation:
    """Adjoint group of a population: the reversed-time equations, and the jumps at its events."""

    plan: Plan
    forward: ForwardPopulation
    group: NeuronGroup = field(init=False)
    initial: Initialisation = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        f, p = self.forward, self.forward.population
        system, grid = p.system, p.grid
        equations = EquationList(p.population.model.name)
        jacobian = system.jacobian()
        costates = [bar(x) for x in system.states]
        for j, x in enumerate(system.states):
            dim = inverse(dimension(system.units[x]))
            rhs = sp.Add(*(jacobian[i, j] * costates[i] for i in range(len(costates))))
            # a literal 0 has no unit
            code = f"0*{costates[j].name}/second" if rhs == 0 else print_expression(rhs)
            equations.differential(costates[j].name, dim, code)
            equations.parameter(f"next_{costates[j].name}", dim)
        add_parameters(equations, p)
        for q in grid.learnable:
            equations.parameter(f"grad_{q.name}", inverse(dimension(system.units[q])))
        for x in p.recorded:  # the recorded states under their own names, as the adjoint equation reads them
            equations.parameter(x.name, dimension(system.units[x]), "linked")
        for x in p.recorded_base:
            equations.parameter(f"{x.name}_base", dimension(system.units[x]), "linked")
            equations.parameter(f"keep_{x.name}", dimension(system.units[x]))
        if p.coupled:
            for x in system.states:
                equations.parameter(f"added_lambda_{x.name}", inverse(dimension(system.units[x])))
        if p.recorded or p.recorded_base:
            equations.integer(["tr_index"])
        events = {}
        if p.spiking:
            equations.integer(["number", "ev_slot"])
            equations.integer(["ev_step", "ev_cause", "forward_slot"], "linked")
            for name, dim in (("ev_r", TIME), ("ev_free", DIMENSIONLESS), ("ev_dl", RATE)):
                equations.parameter(name, dim, "linked")
            for x in p.recorded_at_events:
                equations.parameter(f"ev_x_{x.name}", dimension(system.units[x]), "linked")
            equations.parameter("q_time", RATE)
            equations.parameter("s_arrival", TIME)
            equations.parameter("cause_sigma", RATE)
            equations.integer(["cause_id"])
            equations.parameter("smallest_slope", threshold_dimension(p.population.model) / TIME)
            here = f"ev_step == {self.plan.steps - 1} - t_in_timesteps"
            events = dict.fromkeys(("ev_found", "ev_jump", "ev_move"), here)
        programs = [grid.step_backward, *([grid.event_backward] if p.spiking else [])]
        namespace = namespace_for(programs)
        if f.observed:
            namespace |= observation.declare_backward(equations, self.plan, p)
        if f.samples is not None:
            sampling.declare(equations, self.plan, p)
        self.group = NeuronGroup(
            f.n,
            equations.equations(),
            method=self._state_update,
            events=events,
            namespace=namespace,
            name=f"{p.name}_backward",
        )
        self.group.state_updater.when = "after_resets"
        v = self.group.variables
        for c in costates:
            self.initial.append(Fill(v[c.name], 0))
        for q in grid.learnable:
            self.initial.append(Fill(v[f"grad_{q.name}"], 0))
        self._link_trajectory()
        if p.spiking:
            self._replay_events()
        if f.observed:
            observation.attach_backward(self.group, f.group, self.plan, p)
        if f.samples is not None:
            self.initial += sampling.attach_backward(self.group, f.samples, self.plan, p)

    def _with_arrivals(self) -> dict[sp.Symbol, sp.Expr]:
        """Costates before the arrivals of the step: for a nonlinear flow an arrival's effect depends on the state."""
        p = self.forward.population
        return {bar(x): bar(x) + symbol(f"added_lambda_{x.name}") for x in p.system.states if p.coupled}

    def _dims(self) -> dict[str, Dimension]:
        """Dimensions of the derivatives by the states and the learnable parameters."""
        p = self.forward.population
        return {x.name: inverse(dimension(p.system.units[x])) for x in (*p.system.states, *p.grid.learnable)}

    def _state_update(self, equations: Equations, variables: object, method_options: object = None) -> str:
        """One step of the adjoint backward in time; a neuron with an event takes the jump's result instead."""
        p = self.forward.population
        program = p.grid.step_backward.rename(self._with_arrivals())
        lines = []
        flowing, jumped = "", dict.fromkeys((x.name for x in p.system.states), "")
        if p.spiking:
            flowing, jumped = "(1 - _event)*", {x: f" + _event*next_lambda_{x}" for x in jumped}
            lines.append(f"_event = int(ev_step == {self.plan.steps - 1} - t_in_timesteps)")
            # at an event the step's result isn't used, but must be finite to be masked: the state may be far out
            program = program.rename({x: symbol(f"_calm_{x.name}") for x in p.recorded})
            lines += [f"_calm_{x.name} = (1 - _event)*{x.name}" for x in p.recorded]
        lines += outputs(program, self._dims())
        lines += [f"lambda_{x} = {flowing}_o_{x}{jump}" for x, jump in jumped.items()]
        lines += [f"grad_{q.name} = grad_{q.name} + {flowing}_o_{q.name}" for q in p.grid.learnable]
        if p.caused:
            lines += ["cause_id = _event*ev_cause - (1 - _event)", "cause_sigma = _event*cause_sigma"]
        return "\n".join(lines)

    def _link_trajectory(self) -> None:
        f, g = self.forward, self.group
        base = f.population.recorded_base
        if f.trajectory is None:
            return
        for x in f.population.recorded:
            setattr(g, x.name, linked_var(f.trajectory, f"tr_{x.name}", index="tr_index"))
        for x in base:
            setattr(g, f"{x.name}_base", linked_var(f.trajectory, f"tb_{x.name}", index="tr_index"))
        self.initial.append(Fill(g.variables["tr_index"], f.n * (self.plan.steps - 1), 1))
        name = f.population.name
        if f.population.coupled:
            # a variable reached through a changing index can't be read from a synapse, so it is copied first
            g.run_regularly(
                "\n".join(
                    [f"keep_{x.name} = {x.name}_base" for x in base]
                    + [f"added_lambda_{x.name} = 0*added_lambda_{x.name}" for x in f.population.system.states]
                ),
                when="before_synapses",
                name=f"{name}_copy_base",
            )
        g.run_regularly(f"tr_index = tr_index - {f.n}", when="end", name=f"{name}_record_previous")

    def _replay_events(self) -> None:
        f, g = self.forward, self.group
        p = f.population
        assert f.store is not None
        recorded = [f"ev_x_{x.name}" for x in p.recorded_at_events]
        for name in ("ev_step", "ev_cause", "ev_r", "ev_free", "ev_dl", *recorded):
            setattr(g, name, linked_var(f.store, name, index="ev_slot"))
        g.forward_slot = linked_var(f.group, "ev_slot")
        v = g.variables
        self.initial += [
            Copy(v["ev_slot"], f.group.variables["ev_slot"], -1),
            Fill(v["number"], 0, 1),
            Fill(v["q_time"], 0),
            Fill(v["cause_id"], -1),
            Fill(v["cause_sigma"], 0),
            Fill(v["smallest_slope"], NEVER),
        ]
        for name in ("ev_found", "ev_jump", "ev_move"):
            g.set_event_schedule(name, when="thresholds")
        offset = "0*second" if self.plan.timing == "grid" else "dt - ev_r"
        g.run_on_event("ev_found", f"s_arrival = {offset}", when="after_thresholds")
        g.run_on_event("ev_jump", "\n".join(self._jump()), when="resets")
        g.run_on_event("ev_move", "ev_slot -= 1", when="end")

    def _jump(self) -> list[str]:
        p = self.forward.population
        names = [x.name for x in p.system.states]
        program = p.grid.event_backward.rename(
            {x: symbol(f"ev_x_{x.name}") for x in p.system.states}
            | {symbol("r_event"): symbol("ev_r"), symbol("free_event"): symbol("ev_free")}
            | {symbol("q_time"): symbol("q_time") + symbol("ev_dl")}
            | self._with_arrivals()
        )
        slope = threshold_dimension(p.population.model) / TIME
        lines = outputs(program, self._dims() | {"slope": slope, "sigma": RATE})
        lines += [f"next_lambda_{n} = _o_{n}" for n in names]
        lines += [f"grad_{q.name} = grad_{q.name} + _o_{q.name}" for q in p.grid.learnable]
        lines += [
            "_smaller = int(ev_free > 0.5)*int(_o_slope < smallest_slope)",
            "smallest_slope = _smaller*_o_slope + (1 - _smaller)*smallest_slope",
            "q_time = 0*q_time",
        ]
        if p.caused:
            lines.append("cause_sigma = (1 - ev_free)*int(ev_cause >= 0)*_o_sigma")
        return lines
