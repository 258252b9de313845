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

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import sympy as sp

from .parts import Arrival, Record, RefractoryPeriod, Silence, Transition
from .steps import Step, above

__all__ = ["HybridSystem"]


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
            arrivals={n: replace(a, jump=jumps[n] | self.flags_after(jumps[n])) for n, a in self.arrivals.items()},
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

    def flags_after(self, jump: Mapping[sp.Symbol, sp.Expr]) -> dict[sp.Symbol, sp.Expr]:
        """The flags just after a jump of the other states, whose own spike, if it causes one, is still to come."""
        flags: dict[sp.Symbol, sp.Expr] = {}
        for b, surface in self.switches.items():  # each may read those before it
            flags[b] = above({**jump, **flags}, surface, b)
        if self.latch is not None and self.g is not None:
            flags[self.latch] = self.latch * above(jump, self.g, sp.Integer(1))
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

    def knot(self, value: sp.Symbol) -> dict[sp.Symbol, sp.Expr]:
        """The flags that change where the current `value` jumps, in terms of what it is then."""
        new = sp.Dummy(real=True)
        flags = self.flags_after({x: x for x in self.states} | {value: new})
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
