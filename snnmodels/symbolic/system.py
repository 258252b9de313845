"""The hybrid dynamical system behind a model: flow f, event function g, reset map h, arrival maps e.

Between events dx/dt = f(x, p). The neuron spikes when g(x, p) crosses 0 upwards, then x+ = h(x-, p). A spike that
arrives through a receptor with weight w does x+ = e(x-, w, p). For a refractory period after a spike the neuron may
follow another system, in which some states are held and there is no g.

Where f has a condition on the states, it is another function on either side of a surface s(x, p) = 0. Which one holds
is a state of its own, a flag of 0 or 1 that stays between events; the crossing of the surface is an event that turns it
and is no spike. A neuron that a spike leaves above its threshold has such a flag, too: it can spike again only after
it has been below.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import sympy as sp

from ..templates.expressions import parse_threshold
from ..templates.model import Assignment, Model, Refractory
from ..templates.units import is_unit_name
from .parsing import CONSTANTS, UnsupportedExpression, parse_expression, print_expression, symbol
from .steps import Step

__all__ = [
    "Arrival",
    "DriveStates",
    "HybridSystem",
    "RefractoryPeriod",
    "Transition",
    "driven_system",
    "threshold_sides",
]


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


@dataclass(frozen=True)
class DriveStates:
    """The states of a driven input: the current that is added to it, and the slope with which that changes."""

    input: str
    value: sp.Symbol
    slope: sp.Symbol


@dataclass(frozen=True)
class Transition:
    """An event that is no spike: when `event` crosses 0 upwards, every state becomes what ``jump`` says."""

    event: sp.Expr
    jump: Mapping[sp.Symbol, sp.Expr]


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
        None if the neuron can spike again at once.
    switches : mapping Symbol to Expr
        Flags of conditions in f, each 1 where its surface s is more than 0.
    latch : Symbol or None
        Flag of a neuron that is still above its threshold after a spike; None where a reset takes it below.
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

    @classmethod
    def from_model(cls, model: Model) -> HybridSystem:
        """The system of a composed model.

        Raises
        ------
        UnsupportedExpression
            If an equation uses something that has no derivative, a condition stands where no event can be made of it,
            or a variable is called like a unit or constant, for which the equations would take it.
        """
        return _flagged(_declared(model))

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
        """States of the model, without the flags."""
        return tuple(x for x in self.states if x not in self.switches and x != self.latch)

    @property
    def rising(self) -> sp.Expr | None:
        """What crosses 0 upwards at a spike: g, and below 0 as long as the neuron is above its threshold anyway."""
        if self.g is None or self.latch is None:
            return self.g
        return (1 - self.latch) * self.g - self.latch

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """The events that are no spikes: those of the switches in order, then the end of being above threshold."""
        stay = {x: x for x in self.states}
        found = [Transition((1 - 2 * b) * s, stay | {b: 1 - b}) for b, s in self.switches.items()]
        if self.latch is not None and self.g is not None:
            falling = self.latch - 1 - self.latch * self.g
            found.append(Transition(falling, stay | {self.latch: sp.Integer(0)}))
        return tuple(found)

    def _flags_after(self, jump: Mapping[sp.Symbol, sp.Expr]) -> dict[sp.Symbol, sp.Expr]:
        """The flags just after a jump of the other states, whose own spike, if it causes one, is still to come."""

        def after(surface: sp.Expr) -> sp.Expr | None:
            return Step(surface.xreplace(dict(jump))) if _moves(jump, surface) else None

        flags: dict[sp.Symbol, sp.Expr] = {}
        for b, surface in self.switches.items():
            new = after(surface)
            flags[b] = b if new is None else new
        if self.latch is not None and self.g is not None:
            above = after(self.g)
            flags[self.latch] = self.latch if above is None else self.latch * above
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


def driven_system(model: Model, inputs: Sequence[str]) -> tuple[HybridSystem, tuple[DriveStates, ...]]:
    """The system of a model with currents added to some of its inputs.

    A current is piecewise linear in time: between two knots dI/dt = S and dS/dt = 0, and at a knot I and S are set. So
    the system stays autonomous between its events, and linear where the model is.

    Parameters
    ----------
    model : Model
    inputs : sequence of str
        Out of `Model.inputs`.

    Returns
    -------
    system : HybridSystem
        With two more states for each of these inputs, behind those of the model, from 0.
    drives : tuple of DriveStates
        Which states these are, in the order of `inputs`.

    Raises
    ------
    UnsupportedExpression
        If an equation uses something that has no derivative, or a condition reads one of these inputs.
    """
    if not inputs:
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
    system = _flagged(system)
    for surface in system.switches.values():
        if surface.free_symbols & set(more):
            raise UnsupportedExpression(
                f"{model.name}: a condition of its equations reads an input to which a current is added, and what it "
                "is just after a sample isn't followed; let the condition read a state"
            )
    return system, drives


def _check_names(model: Model) -> None:
    for name in (*model.state_names, *model.parameters, *(r.weight for r in model.receptors.values())):
        if name in CONSTANTS or is_unit_name(name):
            meaning = "constant" if name in CONSTANTS else "unit"
            problem = f"the variable {name!r} is called like the {meaning} {name}, for which equations would take it"
            raise UnsupportedExpression(f"{model.name}: {problem}; rename it")


def threshold_sides(model: Model) -> tuple[sp.Expr, sp.Expr]:
    """Left and right side of the spike condition of a model that has one."""
    assert model.threshold is not None
    left, right = parse_threshold(model.threshold)
    return parse_expression(left), parse_expression(right)


def _declared(model: Model) -> HybridSystem:
    """The system as the model writes it, conditions and all."""
    _check_names(model)
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
    """The system of a model with flags for the conditions in f, and for a neuron that stays above its threshold.

    Raises
    ------
    UnsupportedExpression
        For a condition inside another, and for what is not yet possible together with a refractory period.
    """
    switches: dict[sp.Symbol, sp.Expr] = {}
    if bare.g is not None:
        # at a spike the neuron is above its threshold, whatever rounding makes of it
        bare = replace(bare, h={x: e.replace(Step, lambda s: _at_spike(s, bare.g)) for x, e in bare.h.items()})

    def flag(surface: sp.Expr) -> sp.Expr:
        if not surface.free_symbols & {*bare.states, *switches}:
            return Step(surface)  # it holds or not, once and for all
        if surface.free_symbols & set(switches):
            outer = print_expression(surface.xreplace({b: Step(s) for b, s in switches.items()}))
            raise UnsupportedExpression(
                f"{bare.name}: a condition of the equations, on {outer}, contains another one (abs and clip are made "
                "of conditions); make the inner one a smooth function"
            )
        for b, known in switches.items():
            if sp.expand(surface - known) == 0:
                return b
            if sp.expand(surface + known) == 0:
                return 1 - b
        b = symbol(f"_switch{len(switches)}")
        switches[b] = surface
        return b

    f = {x: e.replace(Step, flag) for x, e in bare.f.items()}
    latch = symbol("_above") if bare.g is not None and not _moves(bare.h, bare.g) else None
    flags = (*switches, *(() if latch is None else (latch,)))
    if not flags:
        return replace(bare, f=f)
    system = replace(bare, f={**f, **dict.fromkeys(flags, sp.Integer(0))}, switches=switches, latch=latch)
    start: dict[sp.Symbol, sp.Expr] = {b: Step(s.xreplace(dict(bare.initial))) for b, s in switches.items()}
    if latch is not None and bare.g is not None:
        start[latch] = Step(bare.g.xreplace(dict(bare.initial)))
    system = replace(
        system,
        states=(*bare.states, *flags),
        h={**bare.h, **system._flags_after(bare.h), **({} if latch is None else {latch: sp.Integer(1)})},
        arrivals={n: replace(a, jump={**a.jump, **system._flags_after(a.jump)}) for n, a in bare.arrivals.items()},
        initial={**bare.initial, **start},
        units={**bare.units, **dict.fromkeys(flags, "1")},
    )
    if bare.refractory is not None:
        _check_held(system)
    return system


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


def _check_held(system: HybridSystem) -> None:
    """Refuse a refractory period during which something other than a spike could happen."""
    if system.latch is not None:
        raise UnsupportedExpression(
            f"{system.name}: a spike leaves the neuron above its threshold, and when it falls below it during the "
            "refractory period isn't followed; leave out the period, or let the reset take the neuron below"
        )
    f = system.held().f
    for surface in system.switches.values():
        if sp.expand(sum(sp.diff(surface, x) * rate for x, rate in f.items())) != 0:
            raise UnsupportedExpression(
                f"{system.name}: the condition on {surface} may turn during the refractory period, which isn't "
                "followed; hold all states that it reads, or leave out the period"
            )


def _refractory_period(declared: Refractory) -> RefractoryPeriod:
    hold = tuple(symbol(name) for name in declared.hold)
    return RefractoryPeriod(parse_expression(declared.duration), hold, declared.arrivals)


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
