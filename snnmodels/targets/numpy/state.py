"""The states of a population's neurons, and everything that changes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...events.plan import EnginePlan
from .incoming import Connections
from .neurons import Neurons
from .tape import SPIKE, Arrival, Knot, Piece, Release

__all__ = ["State", "Values"]


@dataclass
class Values:
    """A plan with the values of everything in it, each list by place in the plan."""

    plan: EnginePlan
    neurons: list[Neurons]
    connections: list[Connections]
    sources: list[Neurons]


class State:
    """States of population k at one time of a trial.

    The forward pass and the one that computes states again for the backward pass use the same operations, so both see
    the same numbers.

    Attributes
    ----------
    x : array, shape (n_states, n)
    held : bool array, shape (n,)
        Which neurons are refractory.
    """

    def __init__(self, values: Values, k: int, x: np.ndarray, held: np.ndarray) -> None:
        self.values, self.k, self.x, self.held = values, k, x, held
        self.neurons = values.neurons[k]

    @classmethod
    def initial(cls, values: Values, k: int) -> State:
        """At time 0.

        Parameters
        ----------
        values : Values
        k : int
            Population.
        """
        neurons = values.neurons[k]
        return cls(values, k, neurons.initial(), np.zeros(neurons.n, dtype=bool))

    def copy(self) -> State:
        """A copy."""
        return State(self.values, self.k, self.x.copy(), self.held.copy())

    def set(self, knots: Sequence[Knot]) -> None:
        """Set the states of driven inputs, those of this population."""
        for knot in knots:
            if knot.population == self.k:
                jumps = np.flatnonzero(self.x[knot.state] != knot.values) if knot.decides >= 0 else np.empty(0, int)
                self.x[knot.state] = knot.values
                self.x[knot.state + 1] = 0.0 if knot.slopes is None else knot.slopes
                if jumps.size:
                    self.x[:, jumps] = self.neurons(f"knot{knot.decides}", *self.x[:, jumps], which=jumps)

    def release(self, releases: Sequence[Release]) -> None:
        """End refractory periods."""
        self.held[[r.neuron for r in releases if r.population == self.k]] = False

    def arrive(self, arrivals: Sequence[Arrival]) -> None:
        """Apply arrivals in order, those that are for this population."""
        for a in arrivals:
            projection = self.values.plan.projections[a.projection]
            if projection.target != self.k:
                continue
            rule = f"arrive{projection.receptor}"
            for neurons, which in self.reached(a):
                weights = self.values.connections[a.projection].arriving(a, slice(None) if which is None else which)
                if which is None:
                    self.x = neurons(rule, *self.x, weights)
                else:
                    self.x[:, which] = neurons(rule, *self.x[:, which], weights, which=which)

    def reached(self, a: Arrival) -> list[tuple[Neurons, np.ndarray | None]]:
        """The neurons that an arrival reaches, with the rules that they follow now; None for all of them."""
        targets = self.values.connections[a.projection].targets(a)
        if self.neurons.held is None or not self.held.any():
            return [(self.neurons, targets)]
        if targets is None:
            targets = np.arange(self.neurons.n)
        held = self.held[targets]
        parts = [(self.neurons, targets[~held]), (self.neurons.held, targets[held])]
        return [(n, which) for n, which in parts if which.size]

    def spike(self, which: np.ndarray) -> None:
        """Reset neurons; they become refractory if that is in their model."""
        self.x[:, which] = self.neurons("reset", *self.x[:, which], which=which)
        if self.neurons.held is not None:
            self.held[which] = True

    def after_spike(self) -> Neurons:
        """What neurons follow just after a spike."""
        return self.neurons if self.neurons.held is None else self.neurons.held

    def begin(self, piece: Piece) -> None:
        """Everything that happens at the start of a piece, which is known."""
        self.set(piece.knots)
        self.release(piece.releases)
        self.arrive(piece.arrivals)
        own = [e.neuron for e in piece.instant if e.population == self.k]
        if own:
            self.spike(np.array(own))

    def advance(self, piece: Piece) -> None:
        """Flow to the end of a piece, events in it known."""
        length, x = piece.end - piece.start, self.x
        last = {e.neuron: e for e in piece.events if e.population == self.k}
        if length > 0:
            # beyond its event the flow of a neuron that has one, or is refractory, may run to infinity
            free = ~self.held
            free[list(last)] = False
            if free.all():
                self.x = self.neurons.flow.advance(x, length)
            else:
                self.x, which = x.copy(), np.flatnonzero(free)
                self.x[:, which] = self.neurons.flow.advance(x[:, which], length, which)
            if self.held.any():
                which = np.flatnonzero(self.held)
                self.x[:, which] = self.after_spike().flow.advance(x[:, which], length, which)
        for kind in sorted({e.kind for e in last.values()}):
            events = [e for e in last.values() if e.kind == kind]
            which = np.array([e.neuron for e in events])
            self.x[:, which] = np.stack([e.x for e in events], axis=1)
            if kind == SPIKE:
                self.spike(which)
            else:
                self.x[:, which] = self.neurons.after(kind, self.x[:, which], which)
            follows = self.after_spike() if kind == SPIKE else self.neurons
            rest = np.array([piece.end - e.time for e in events])
            self.x[:, which] = follows.flow.advance(self.x[:, which], rest, which)
