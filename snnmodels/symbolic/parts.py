"""What hybrid systems are made of beside a flow: arrivals, refractory periods, records, driven inputs, transitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sympy as sp

from .parsing import symbol

__all__ = ["Arrival", "DriveStates", "Record", "RefractoryPeriod", "Silence", "Transition"]


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
