"""The hybrid dynamical system behind a model: flow f, event function g, reset map h, arrival maps e.

Between events dx/dt = f(x, p). The neuron spikes when g(x, p) crosses 0 upwards, then x+ = h(x-, p). A spike that
arrives through a receptor with weight w does x+ = e(x-, w, p). For a refractory period after a spike the neuron may
follow another system, in which some states are held and there is no g.

Where f has a condition on the states, it is another function on either side of a surface s(x, p) = 0. Which one holds
is a state of its own, a flag of 0 or 1 that stays between events; the crossing of the surface is an event that turns it
and is no spike. A neuron that a spike leaves above its threshold has such a flag, too: it can spike again only after
it has been below.

Where something can happen by itself while a neuron is refractory, its period is made of flags as well: see `Silence`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import sympy as sp

from ..templates.expressions import free_names, parse_threshold
from ..templates.model import AMPLITUDE, Assignment, Model, Refractory
from ..templates.units import is_unit_name
from .parsing import CONSTANTS, UnsupportedExpression, parse_expression, symbol
from .steps import Step

__all__ = [
    "Arrival",
    "DriveStates",
    "HybridSystem",
    "Record",
    "RefractoryPeriod",
    "Silence",
    "Transition",
    "driven_system",
    "source_system",
    "threshold_sides",
]


_SAME_TIME = sp.Float(1e-13)
"""Seconds: more than rounding puts two equal times apart, and less than anything that is resolved."""


@dataclass(frozen=True)
class Arrival:
    """The arrival map e of one receptor: ``jump`` gives every state just after the arrival."""

    receptor: str
    weight: sp.Symbol
    weight_unit: str
    jump: Mapping[sp.Symbol, sp.Expr]


@dataclass(frozen=True)
class RefractoryPeriod:
    """How long the neuron is refractory after a spike, and what is held meanwhile; see `templates.Refractory`."""

    duration: sp.Expr
    hold: tuple[sp.Symbol, ...]
    arrivals: str
    hold_duration: sp.Expr | None = None


@dataclass(frozen=True)
class Silence:
    """A refractory period as part of the states, so that events of other kinds can come within it.

    A clock runs from the spike on, and flags tell how far the period is. Spikes are blocked until the clock has reached
    `duration`, states are held until it has reached `hold_duration`: both are events of the flow. A neuron that is
    above its threshold when the block ends spikes then, which is an event of its own: its time moves with that of the
    spike before and with the duration.

    Attributes
    ----------
    elapsed : Symbol
        Time since the last spike, in seconds, or since time 0.
    blocked : Symbol
        Flag: 1 as long as no spike is possible.
    holding : Symbol or None
        Flag: 1 as long as states are held; None where that is as long as spikes are blocked.
    over : Symbol
        Flag: whether g > 0, kept while spikes are blocked.
    duration, hold_duration : Expr
        In the parameters; equal where there is no `holding`.
    """

    elapsed: sp.Symbol
    blocked: sp.Symbol
    holding: sp.Symbol | None
    over: sp.Symbol
    duration: sp.Expr
    hold_duration: sp.Expr

    @property
    def states(self) -> tuple[sp.Symbol, ...]:
        """The clock, then the flags."""
        return (self.elapsed, *self.flags)

    @property
    def flags(self) -> tuple[sp.Symbol, ...]:
        """Those that are there."""
        return (self.blocked, self.over) if self.holding is None else (self.blocked, self.holding, self.over)

    def renamed(self, names: Mapping[sp.Symbol, sp.Symbol]) -> Silence:
        """With other names for states and parameters."""
        return Silence(
            names[self.elapsed],
            names[self.blocked],
            None if self.holding is None else names[self.holding],
            names[self.over],
            self.duration.xreplace(dict(names)),
            self.hold_duration.xreplace(dict(names)),
        )


@dataclass(frozen=True)
class Record:
    """The largest value so far of a state of a neuron that doesn't spike, as a state m of its own.

    As long as the state is at its largest and rises, m goes with it; else m stands still. Both ends of that are events:
    the state stops to rise, or, while it rises, comes back to m. An event of another kind, with which its slope changes
    its sign, ends it as well, and then m moves with that event.

    Where arrivals move the state itself, what counts is its value after all of one instant, whatever their order: what
    m was before the instant is kept, and how long that has been.

    Attributes
    ----------
    state : Symbol
    maximum : Symbol
        m.
    leads : Symbol
        Flag: 1 as long as m goes with the state.
    jumps : tuple of Symbol
        What m was before the last instant at which an arrival moved the state, and the time since; empty where none
        does.
    rises : Symbol or None
        Flag of the switch whose surface is the slope of the state; None before that has one.
    """

    state: sp.Symbol
    maximum: sp.Symbol
    leads: sp.Symbol
    jumps: tuple[sp.Symbol, ...] = ()
    rises: sp.Symbol | None = None

    @classmethod
    def of(cls, state: sp.Symbol, arrivals: Iterable[Arrival]) -> Record:
        """That of a state on which some arrivals may act."""
        moved = any(a.jump[state] != state for a in arrivals)
        jumps = tuple(symbol(f"_{what}_{state.name}") for what in ("before", "since")) if moved else ()
        return cls(state, symbol(f"_maximum_{state.name}"), symbol(f"_leads_{state.name}"), jumps)

    def renamed(self, names: Mapping[sp.Symbol, sp.Symbol]) -> Record:
        """With other names for states."""
        jumps, rises = tuple(names[x] for x in self.jumps), None if self.rises is None else names[self.rises]
        return Record(names[self.state], names[self.maximum], names[self.leads], jumps, rises)


@dataclass(frozen=True)
class DriveStates:
    """The states of a driven input: the current that is added to it, and the slope with which that changes."""

    input: str
    value: sp.Symbol
    slope: sp.Symbol


@dataclass(frozen=True)
class Transition:
    """An event that is no spike: when `event` crosses 0 upwards, `flag` turns, and states become what ``jump`` says.

    Where `smooth`, nothing depends on when that is: J f is the f after it.
    """

    flag: sp.Symbol
    event: sp.Expr
    jump: Mapping[sp.Symbol, sp.Expr]
    smooth: bool = False


@dataclass(frozen=True)
class HybridSystem:
    """A model as SymPy expressions.

    Attributes
    ----------
    name : str
    states : tuple of Symbol
        Those of the model, then flags.
    parameters : tuple of Symbol
    f : mapping Symbol to Expr
        Time derivative of every state.
    g : Expr or None
        Event function; None if the model does not spike.
    h : mapping Symbol to Expr
        Every state just after a spike.
    arrivals : mapping of str to Arrival
        By receptor name.
    initial : mapping Symbol to Expr
        State at time 0.
    defaults : mapping Symbol to float
        Parameter values in SI base units.
    units : mapping Symbol to str
        Base unit of every state and parameter, in Brian2's syntax.
    refractory : RefractoryPeriod or None
        None if the neuron can spike again at once, or has a `silence`.
    switches : mapping Symbol to Expr
        Flags of conditions in f, each 1 where its surface s is more than 0.
    latch : Symbol or None
        Flag of a neuron that is still above its threshold after a spike; None where a reset takes it below.
    silence : Silence or None
        The refractory period of a neuron in which something other than a spike can happen meanwhile.
    sources : mapping of str to HybridSystem
        By receptor, the states that its sources have; see `source_system`.
    knots : tuple of mapping Symbol to Expr
        By driven input (see `driven_system`): the flags that jump with it, just after it has been set to another value.
    record : Record or None
        The largest value of a state that is kept, if one is.
    """

    name: str
    states: tuple[sp.Symbol, ...]
    parameters: tuple[sp.Symbol, ...]
    f: Mapping[sp.Symbol, sp.Expr]
    g: sp.Expr | None
    h: Mapping[sp.Symbol, sp.Expr]
    arrivals: Mapping[str, Arrival]
    initial: Mapping[sp.Symbol, sp.Expr]
    defaults: Mapping[sp.Symbol, float]
    units: Mapping[sp.Symbol, str]
    refractory: RefractoryPeriod | None = None
    switches: Mapping[sp.Symbol, sp.Expr] = field(default_factory=dict)
    latch: sp.Symbol | None = None
    silence: Silence | None = None
    sources: Mapping[str, HybridSystem] = field(default_factory=dict)
    knots: tuple[Mapping[sp.Symbol, sp.Expr], ...] = ()
    record: Record | None = None

    @classmethod
    def from_model(cls, model: Model) -> HybridSystem:
        """The system of a composed model.

        Raises
        ------
        UnsupportedExpression
            If an equation uses something that has no derivative, a condition stands where no event can be made of it,
            or a variable is called like a unit or constant, for which the equations would take it.
        """
        sources = {name: s for name in model.receptors if (s := source_system(model, name)) is not None}
        return replace(_flagged(_declared(model)), sources=sources)

    def held(self) -> HybridSystem:
        """The system that the neuron follows while it is refractory.

        Held states have the derivative 0, arrivals leave them alone where they are ignored, and nothing spikes. States
        outside it go on, and are continuous at both ends.

        Raises
        ------
        ValueError
            If the system has no refractory period.
        """
        if self.refractory is None:
            raise ValueError(f"{self.name} has no refractory period")
        hold = self.refractory.hold
        ignored = hold if self.refractory.arrivals == "ignore" else ()
        jumps = {n: {x: x if x in ignored else a.jump[x] for x in self.variables} for n, a in self.arrivals.items()}
        return replace(
            self,
            f={x: sp.Integer(0) if x in hold else rhs for x, rhs in self.f.items()},
            g=None,
            h={x: x for x in self.states},
            arrivals={n: replace(a, jump=jumps[n] | self._flags_after(jumps[n])) for n, a in self.arrivals.items()},
            refractory=None,
            switches={},
            latch=None,
        )

    @property
    def variables(self) -> tuple[sp.Symbol, ...]:
        """States of the model, and the clock of a refractory period, without the flags."""
        flags = {*self.switches, self.latch, *(() if self.silence is None else self.silence.flags)}
        flags |= set() if self.record is None else {self.record.leads}
        return tuple(x for x in self.states if x not in flags)

    @property
    def may_stay_above(self) -> bool:
        """Whether a spike may leave the neuron at or above its threshold: it doesn't spike again at once."""
        return self.latch is not None or self.silence is not None

    @property
    def durations(self) -> tuple[sp.Expr, ...]:
        """What a refractory period lasts, and how long states are held in it where that is not the same."""
        if self.silence is not None:
            s = self.silence
            return (s.duration,) if s.holding is None else (s.duration, s.hold_duration)
        return () if self.refractory is None else (self.refractory.duration,)

    @property
    def firing(self) -> sp.Expr | None:
        """What is 0 at a spike: g, or, as long as spikes are blocked, how long that has been over."""
        if self.g is None or self.silence is None:
            return self.g
        s = self.silence
        return (1 - s.blocked) * self.g + s.blocked * (s.elapsed - s.duration)

    @property
    def rising(self) -> sp.Expr | None:
        """What crosses 0 upwards at a spike: `firing`, and below 0 as long as there can be no spike anyway."""
        if self.g is None:
            return None
        rising = self.g if self.latch is None else (1 - self.latch) * self.g - self.latch
        if self.silence is None:
            return rising
        s, waits = self.silence, self._waits
        return (1 - s.blocked) * rising + s.blocked * (waits * (s.elapsed - s.duration) - (1 - waits))

    @property
    def _waits(self) -> sp.Expr:
        """Whether the neuron will spike when the block ends: it is above its threshold, and has been below since."""
        assert self.silence is not None
        return self.silence.over * (1 if self.latch is None else 1 - self.latch)

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """The events that are no spikes: those of the switches in order, then the end of being above threshold."""
        stay = {x: x for x in self.states}
        found = []
        for b, s in self.switches.items():
            turned = self._turned(b)
            smooth = self.record is not None and b == self.record.rises
            found.append(Transition(b, (1 - 2 * b) * s, stay | turned | self._leads_after(turned), smooth))
        if (r := self.record) is not None and r.rises is not None:
            returns = (1 - r.leads) * (r.rises * (r.state - r.maximum) - (1 - r.rises)) - r.leads
            jump = {r.leads: sp.Integer(1), r.maximum: r.state}
            found.append(Transition(r.leads, returns, stay | jump, smooth=True))
        if self.latch is not None and self.g is not None:
            falling = self.latch - 1 - self.latch * self.g
            found.append(Transition(self.latch, falling, stay | {self.latch: sp.Integer(0)}))
        if self.silence is not None and self.g is not None:
            s, none = self.silence, sp.Integer(0)
            crosses = s.blocked * (1 - 2 * s.over) * self.g - (1 - s.blocked)
            found.append(Transition(s.over, crosses, stay | {s.over: 1 - s.over}))
            ends = s.blocked * (1 - self._waits)
            past = ends * (s.elapsed - s.duration) - (1 - ends)
            found.append(Transition(s.blocked, past, stay | {s.blocked: none}))
            if s.holding is not None:
                past = s.holding * (s.elapsed - s.hold_duration) - (1 - s.holding)
                found.append(Transition(s.holding, past, stay | {s.holding: none}))
        return tuple(found)

    def _flags_after(self, jump: Mapping[sp.Symbol, sp.Expr]) -> dict[sp.Symbol, sp.Expr]:
        """The flags just after a jump of the other states, whose own spike, if it causes one, is still to come."""
        flags: dict[sp.Symbol, sp.Expr] = {}
        for b, surface in self.switches.items():  # each may read those before it
            flags[b] = _above({**jump, **flags}, surface, b)
        if self.latch is not None and self.g is not None:
            flags[self.latch] = self.latch * _above(jump, self.g, sp.Integer(1))
        return flags | self._leads_after(flags, jump)

    def _leads_after(
        self, flags: Mapping[sp.Symbol, sp.Expr], jump: Mapping[sp.Symbol, sp.Expr] | None = None
    ) -> dict[sp.Symbol, sp.Expr]:
        """What becomes of the largest value so far where flags, and by a jump states, have changed."""
        r = self.record
        if r is None or r.rises is None:
            return {}
        rises, value = flags.get(r.rises, r.rises), (jump or {}).get(r.state, r.state)
        if value == r.state:
            return {r.leads: r.leads * rises}
        before, since = r.jumps
        first = Step(since)  # of this instant
        then = first * r.maximum + (1 - first) * before
        more = Step(value - then)
        return {
            r.leads: rises * more,
            r.maximum: then + more * (value - then),
            before: then,
            since: sp.Integer(0),
        }

    def _knot(self, value: sp.Symbol) -> dict[sp.Symbol, sp.Expr]:
        """The flags that change where the current `value` jumps, in terms of what it is then."""
        new = sp.Dummy(real=True)
        flags = self._flags_after({x: x for x in self.states} | {value: new})
        return {b: e.xreplace({new: value}) for b, e in flags.items() if e != b}

    def _turned(self, flag: sp.Symbol) -> dict[sp.Symbol, sp.Expr]:
        """The flag of a condition that turns, and those of the conditions that contain it."""
        flags: dict[sp.Symbol, sp.Expr] = {flag: 1 - flag}
        for b, surface in self.switches.items():
            if surface.free_symbols & set(flags):
                flags[b] = Step(surface.xreplace(flags))
        return flags

    @property
    def is_linear(self) -> bool:
        """Whether f is affine in the states, and the same everywhere."""
        return not self.transitions and all(
            sp.diff(self.f[x], y, z) == 0
            for x in self.states
            for y in self.states
            for z in self.states
            if {y, z} <= self.f[x].free_symbols
        )

    def jacobian(self) -> sp.Matrix:
        """∂f/∂x, shape (n, n)."""
        return sp.Matrix([self.f[x] for x in self.states]).jacobian(list(self.states))


def driven_system(
    model: Model, inputs: Sequence[str], record: str | None = None
) -> tuple[HybridSystem, tuple[DriveStates, ...]]:
    """The system of a model with currents added to some of its inputs.

    A current is piecewise linear in time: between two knots dI/dt = S and dS/dt = 0, and at a knot I and S are set. So
    the system stays autonomous between its events, and linear where the model is. Conditions may read I: their surfaces
    move with it between knots, and where it jumps they are decided anew (`HybridSystem.knots`).

    Parameters
    ----------
    model : Model
    inputs : sequence of str
        Out of `Model.inputs`.
    record : str, optional
        A state whose largest value is to be kept as one more state; see `Record`.

    Returns
    -------
    system : HybridSystem
        With two more states for each of these inputs, behind those of the model, from 0.
    drives : tuple of DriveStates
        Which states these are, in the order of `inputs`.

    Raises
    ------
    UnsupportedExpression
        If an equation uses something that has no derivative.
    """
    if not inputs and record is None:
        return HybridSystem.from_model(model), ()
    plain = _declared(model)
    drives = tuple(DriveStates(i, symbol(model.inputs[i].drive), symbol(f"_slope_{i}")) for i in inputs)
    none = {symbol(i.drive): sp.Integer(0) for name, i in model.inputs.items() if name not in inputs}
    opened = {symbol(x): parse_expression(rhs).xreplace(none) for x, rhs in model.open_derivatives.items()}
    more = {x: sp.Integer(0) for d in drives for x in (d.value, d.slope)}
    kept = {x: x for x in more}
    units = {d.value: model.inputs[d.input].unit for d in drives}
    system = replace(
        plain,
        states=(*plain.states, *more),
        f={**plain.f, **opened, **more, **{d.value: d.slope for d in drives}},
        h={**plain.h, **kept},
        arrivals={name: replace(a, jump={**a.jump, **kept}) for name, a in plain.arrivals.items()},
        initial={**plain.initial, **more},
        units={**plain.units, **units, **{d.slope: f"{units[d.value]}/second" for d in drives}},
    )
    system = _flagged(system if record is None else _recorded(system, symbol(record)))
    return replace(system, knots=tuple(system._knot(d.value) for d in drives)), drives


def source_system(model: Model, receptor: str) -> HybridSystem | None:
    """The states that a receptor's sources have, as a system of its own that never spikes; see `templates.Source`.

    Its one arrival is a spike of the source neuron itself; the last state is the amplitude that this is sent with.

    Parameters
    ----------
    model : Model
    receptor : str

    Returns
    -------
    HybridSystem or None
        With those parameters of the model that it reads; None for a receptor without such states.

    Raises
    ------
    UnsupportedExpression
        If an equation is not linear in the states, or has a condition.
    """
    source = model.receptors[receptor].source
    if source is None:
        return None
    where = f"{model.name}: [source] of {receptor!r}"
    _check_names(model)
    amplitude = symbol(AMPLITUDE)
    states = (*(symbol(s.name) for s in source.states), amplitude)
    f = {symbol(n): parse_expression(rhs) for n, rhs in source.derivatives.items()} | {amplitude: sp.Integer(0)}
    jump = _assign(states, source.on_pre)
    initial = {symbol(s.name): parse_expression(s.initial) for s in source.states} | {amplitude: sp.Integer(0)}
    read = {s for e in (*f.values(), *jump.values(), *initial.values()) for s in e.free_symbols}
    parameters = tuple(symbol(p) for p in model.parameters if symbol(p) in read)
    system = HybridSystem(
        name=where,
        states=states,
        parameters=parameters,
        f=f,
        g=None,
        h={x: x for x in states},
        arrivals={"spike": Arrival("spike", symbol("_sent"), "1", jump)},
        initial=initial,
        defaults={p: model.parameters[p.name].value for p in parameters},
        units={symbol(s.name): s.unit for s in source.states}
        | {amplitude: "1"}
        | {p: model.parameters[p.name].unit for p in parameters},
    )
    for x, rhs in f.items():
        if rhs.has(Step):
            raise UnsupportedExpression(f"{where}: d{x}/dt contains a condition; let statements of on_pre have it")
    if not system.is_linear:
        raise UnsupportedExpression(
            f"{where}: its equations are not linear in its states, and have to be followed from spike to spike in "
            "closed form; make them linear, or give the neuron the states"
        )
    return system


def _check_names(model: Model) -> None:
    source_states = (s.name for r in model.receptors.values() if r.source is not None for s in r.source.states)
    weights = (r.weight for r in model.receptors.values())
    for name in (*model.state_names, *model.parameters, *weights, *source_states):
        if name in CONSTANTS or is_unit_name(name):
            meaning = "constant" if name in CONSTANTS else "unit"
            problem = f"the variable {name!r} is called like the {meaning} {name}, for which equations would take it"
            raise UnsupportedExpression(f"{model.name}: {problem}; rename it")


def threshold_sides(model: Model) -> tuple[sp.Expr, sp.Expr]:
    """Left and right side of the spike condition of a model that has one."""
    assert model.threshold is not None
    left, right = parse_threshold(model.threshold)
    return parse_expression(left), parse_expression(right)


def _check_ignored(model: Model) -> None:
    """Refuse arrivals of which a part is ignored that another part reads: what it would be then has no one answer."""
    period = model.refractory
    if period is None or period.arrivals != "ignore":
        return
    for name, receptor in model.receptors.items():
        for k, statement in enumerate(receptor.on_pre):
            if statement.variable not in period.hold:
                continue
            for later in receptor.on_pre[k + 1 :]:
                if later.variable not in period.hold and statement.variable in free_names(later.expression):
                    raise UnsupportedExpression(
                        f"{model.name}: an arrival through {name!r} does {str(statement)!r}, which is ignored while "
                        f"{statement.variable} is held, and {str(later)!r} reads it; put that first"
                    )


def _declared(model: Model) -> HybridSystem:
    """The system as the model writes it, conditions and all."""
    _check_names(model)
    _check_ignored(model)
    states = tuple(symbol(s.name) for s in model.states)
    g = None
    if model.threshold is not None:
        left, right = threshold_sides(model)
        g = left - right
        if g.has(Step):
            raise UnsupportedExpression(f"{model.name}: the threshold {model.threshold!r} contains a condition")
    return HybridSystem(
        name=model.name,
        states=states,
        parameters=tuple(symbol(p) for p in model.parameters),
        f={symbol(s): parse_expression(rhs) for s, rhs in model.derivatives.items()},
        g=g,
        h=_assign(states, model.reset),
        arrivals={
            name: Arrival(name, symbol(r.weight), r.weight_unit, _assign(states, r.on_pre))
            for name, r in model.receptors.items()
        },
        initial={symbol(s.name): parse_expression(s.initial) for s in model.states},
        defaults={symbol(p.name): p.value for p in model.parameters.values()},
        units={symbol(s.name): s.unit for s in model.states}
        | {symbol(p.name): p.unit for p in model.parameters.values()},
        refractory=None if model.refractory is None else _refractory_period(model.refractory),
    )


def _flagged(bare: HybridSystem) -> HybridSystem:
    """The system of a model with flags for the conditions in f, and for a neuron that stays above its threshold."""
    switches: dict[sp.Symbol, sp.Expr] = {}
    if bare.g is not None:
        # at a spike the neuron is above its threshold, whatever rounding makes of it
        bare = replace(bare, h={x: e.replace(Step, lambda s: _at_spike(s, bare.g)) for x, e in bare.h.items()})

    def flag(surface: sp.Expr) -> sp.Expr:
        if not surface.free_symbols & {*bare.states, *switches}:
            return Step(surface)  # it holds or not, once and for all
        for b, known in switches.items():
            if sp.expand(surface - known) == 0:
                return b
            if sp.expand(surface + known) == 0:
                return 1 - b
        b = symbol(f"_switch{len(switches)}")
        switches[b] = surface
        return b

    f = {x: e.replace(Step, flag) for x, e in bare.f.items()}
    if (record := bare.record) is not None:
        rises = symbol(f"_switch{len(switches)}")
        switches[rises] = f[record.state]
        f[record.maximum] = record.leads * rises * f[record.state]
        bare = replace(bare, record=replace(record, rises=rises))
    latch = symbol("_above") if bare.g is not None and not _moves(bare.h, bare.g) else None
    flags = (*switches, *(() if latch is None else (latch,)))
    if not flags:
        partial = bare.refractory is not None and bare.refractory.hold_duration is not None
        return _flagged(_silenced(bare)) if partial else replace(bare, f=f)
    system = replace(bare, f={**f, **dict.fromkeys(flags, sp.Integer(0))}, switches=switches, latch=latch)
    start: dict[sp.Symbol, sp.Expr] = {}
    for b, s in switches.items():
        start[b] = Step(s.xreplace({**bare.initial, **start}))
    if latch is not None and bare.g is not None:
        start[latch] = Step(bare.g.xreplace(dict(bare.initial)))
    if bare.record is not None and bare.record.rises is not None:
        start[bare.record.leads] = start[bare.record.rises]
    system = replace(
        system,
        states=(*bare.states, *flags),
        h={**bare.h, **system._flags_after(bare.h), **({} if latch is None else {latch: sp.Integer(1)})},
        arrivals={n: replace(a, jump={**a.jump, **system._flags_after(a.jump)}) for n, a in bare.arrivals.items()},
        initial={**bare.initial, **start},
        units={**bare.units, **dict.fromkeys(flags, "1")},
    )
    return _flagged(_silenced(bare)) if bare.refractory is not None and _may_turn_held(system) else system


def _at_spike(surface: sp.Expr, g: sp.Expr) -> sp.Expr:
    """The condition surface > 0 at a spike, where g has just become more than 0."""
    ratio = sp.cancel(surface / g)
    if ratio.is_number:
        return sp.Integer(bool(ratio > 0))
    return Step(surface)


def _moves(jump: Mapping[sp.Symbol, sp.Expr], surface: sp.Expr) -> bool:
    """Whether a jump changes what a surface is made of."""
    changed = {x for x in surface.free_symbols if jump.get(x, x) != x}
    return bool(changed) and sp.expand(surface.xreplace({x: jump[x] for x in changed}) - surface) != 0


def _above(jump: Mapping[sp.Symbol, sp.Expr], surface: sp.Expr, otherwise: sp.Expr) -> sp.Expr:
    """Whether a surface is more than 0 just after a jump; `otherwise` if the jump leaves it as it is."""
    return Step(surface.xreplace(dict(jump))) if _moves(jump, surface) else otherwise


def _may_turn_held(system: HybridSystem) -> bool:
    """Whether something other than a spike can happen by itself while the neuron is refractory."""
    assert system.refractory is not None
    if system.latch is not None or system.refractory.hold_duration is not None:
        return True
    f = system.held().f
    return any(sp.expand(sum(sp.diff(s, x) * rate for x, rate in f.items())) != 0 for s in system.switches.values())


def _recorded(bare: HybridSystem, state: sp.Symbol) -> HybridSystem:
    """The system of a model that doesn't spike, conditions and all, with the largest value of a state; see `Record`."""
    assert bare.g is None
    record, none, one = Record.of(state, bare.arrivals.values()), sp.Integer(0), sp.Integer(1)
    more = (record.maximum, record.leads, *record.jumps)
    kept = {x: x for x in more}
    clock = record.jumps[1:]
    return replace(
        bare,
        states=(*bare.states, *kept),
        f={**bare.f, **dict.fromkeys(more, none), **dict.fromkeys(clock, one)},
        h={**bare.h, **kept},
        arrivals={n: replace(a, jump={**a.jump, **kept}) for n, a in bare.arrivals.items()},
        initial={**bare.initial, **dict.fromkeys(more, bare.initial[state]), record.leads: none}
        | dict.fromkeys(clock, one),
        units={**bare.units, **dict.fromkeys(more, bare.units[state]), record.leads: "1"}
        | dict.fromkeys(clock, "second"),
        record=record,
    )


def _silenced(bare: HybridSystem) -> HybridSystem:
    """The system of a model, conditions and all, with its refractory period made of states; see `Silence`."""
    period, g = bare.refractory, bare.g
    assert period is not None and g is not None
    elapsed, blocked, over = symbol("_elapsed"), symbol("_blocked"), symbol("_over")
    apart = bool(period.hold) and period.hold_duration is not None
    holding = symbol("_holding") if apart else None
    hold_duration = period.duration if period.hold_duration is None else period.hold_duration
    silence = Silence(elapsed, blocked, holding, over, period.duration, hold_duration)
    held = blocked if holding is None else holding
    none, one = sp.Integer(0), sp.Integer(1)
    ignored = period.hold if period.arrivals == "ignore" else ()

    # an arrival at the very time at which the hold ends comes after that, whatever rounding makes of the clock
    ignores = held * Step(hold_duration - elapsed - _SAME_TIME)

    def arrived(jump: Mapping[sp.Symbol, sp.Expr]) -> dict[sp.Symbol, sp.Expr]:
        after = {x: ignores * x + (1 - ignores) * e if x in ignored and e != x else e for x, e in jump.items()}
        return after | {x: x for x in silence.states} | {over: _above(after, g, over)}

    started = dict.fromkeys(silence.states, one) | {elapsed: none, over: _above(bare.h, g, one)}
    return replace(
        bare,
        states=(*bare.states, *silence.states),
        f={x: (1 - held) * e if x in period.hold else e for x, e in bare.f.items()}
        | dict.fromkeys(silence.states, none)
        | {elapsed: one},
        h={**bare.h, **started},
        arrivals={n: replace(a, jump=arrived(a.jump)) for n, a in bare.arrivals.items()},
        initial={**bare.initial, **dict.fromkeys(silence.states, none)},
        units={**bare.units, **dict.fromkeys(silence.states, "1"), elapsed: "second"},
        refractory=None,
        silence=silence,
    )


def _refractory_period(declared: Refractory) -> RefractoryPeriod:
    hold = tuple(symbol(name) for name in declared.hold)
    shorter = None if declared.hold_duration is None else parse_expression(declared.hold_duration)
    return RefractoryPeriod(parse_expression(declared.duration), hold, declared.arrivals, shorter)


def _assign(states: tuple[sp.Symbol, ...], statements: Iterable[Assignment]) -> dict[sp.Symbol, sp.Expr]:
    """The map that a sequence of statements does to the states, statements in order, each seeing those before it."""
    value: dict[sp.Symbol, sp.Expr] = {x: x for x in states}
    for s in statements:
        x = symbol(s.variable)
        rhs = parse_expression(s.expression).xreplace(value)
        match s.operator:
            case "=":
                value[x] = rhs
            case "+=":
                value[x] = value[x] + rhs
            case "-=":
                value[x] = value[x] - rhs
            case "*=":
                value[x] = value[x] * rhs
            case "/=":
                value[x] = value[x] / rhs
            case _:
                raise ValueError(f"{s}: operator {s.operator!r} is not one of = += -= *= /=")
    return value
