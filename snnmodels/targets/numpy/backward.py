"""One component of a network through one trial, backward in time: costates and all gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...events.engine import EngineError
from ...events.plan import Component
from .forward import Values, arrive, carry
from .tape import Arrival, ComponentTape, Event, Maxima, Piece

__all__ = ["ComponentBackward", "Totals"]


@dataclass
class Totals:
    """Gradients of a batch, summed over trials.

    Attributes
    ----------
    weights, delays : list of array
        By projection, in the shape of the values.
    parameters : list of array, shape (n_learnable, n)
        By population.
    """

    weights: list[np.ndarray]
    delays: list[np.ndarray]
    parameters: list[np.ndarray]

    @classmethod
    def zero(cls, values: Values) -> Totals:
        """Nothing yet."""
        return cls(
            [np.zeros(c.weights.shape) for c in values.connections],
            [np.zeros(c.delay.shape) for c in values.connections],
            [np.zeros((len(n.rules.learnable), n.n)) for n in values.neurons],
        )


class _States:
    """States of a population before and after the arrivals of every piece, computed again from checkpoints."""

    def __init__(self, values: Values, tape: ComponentTape, k: int, place: int) -> None:
        self.values, self.tape, self.k, self.place = values, tape, k, place
        self.known: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def at(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """States before the arrivals of a piece, and after all that happens at its start."""
        if number not in self.known:
            first = number - number % self.tape.every
            x = self.tape.checkpoints[first][self.place].copy()
            self.known = {}
            for m in range(first, number + 1):
                piece, before = self.tape.pieces[m], x.copy()
                self._start(x, piece)
                self.known[m] = (before, x)
                if m < number:
                    own = [e for e in piece.events if e.population == self.k]
                    x = carry(self.values.neurons[self.k], x, piece, own)
        return self.known[number]

    def _start(self, x: np.ndarray, piece: Piece) -> None:
        arrive(self.values, self.k, x, piece.arrivals)
        own = [e.neuron for e in piece.instant if e.population == self.k]
        if own:
            which = np.array(own)
            x[:, which] = self.values.neurons[self.k]("reset", *x[:, which], which=which)


class ComponentBackward:
    """Runs a component backward through a trial.

    Parameters
    ----------
    values : Values
    component : Component
    tape : ComponentTape
    sensitivities : sequence of array
        For every input and population the derivative of the loss by the time of each spike, as far as it is known:
        that of the component's own spikes is complete but for its feedback; those of its sources are added to.
    pulls : array or None
        Derivative of the loss by the maxima, shape (n,), or by the samples, (n, k), of its output population.
    totals : Totals
        Added to.
    """

    def __init__(
        self,
        values: Values,
        component: Component,
        tape: ComponentTape,
        sensitivities: Sequence[np.ndarray],
        pulls: np.ndarray | None,
        totals: Totals,
    ) -> None:
        plan = values.plan
        self.values, self.component, self.tape = values, component, tape
        self.sensitivities, self.pulls, self.totals = sensitivities, pulls, totals
        self.first = len(plan.network.inputs)
        self.neurons = {k: values.neurons[k] for k in component.populations}
        self.costates = {k: np.zeros((n.n_states, n.n)) for k, n in self.neurons.items()}
        self.states = {
            k: _States(values, tape, k, place)
            for place, (k, n) in enumerate(self.neurons.items())
            if n.rules.needs_states
        }
        self.by_flow = {
            k: bool(n.rules.learnable) and not n.rules.rules["gradient"].is_zero for k, n in self.neurons.items()
        }
        self.output = plan.output.index if pulls is not None and plan.output.index in self.neurons else -1
        if self.output >= 0:
            self.observed = plan.output.rules.states.index(plan.observation.variable)

    def run(self) -> None:
        """The whole trial."""
        for number in range(len(self.tape.pieces) - 1, -1, -1):
            piece = self.tape.pieces[number]
            self._end(number)
            for k in self.neurons:
                self._flow(k, number, piece)
            self._after_jump(number)
            for e in reversed(piece.instant):
                self._instant(e)
            for k in self.neurons:
                self._arrivals(k, number, [a for a in piece.arrivals if self._target(a) == k])
        self._start()

    def _target(self, a: Arrival) -> int:
        return self.values.plan.projections[a.projection].target

    def _collect(self, a: Arrival, value: float, neuron: int) -> None:
        """Add to what moving an arrival at a neuron does: its spike moves, or its delay changes."""
        self.sensitivities[self.values.plan.projections[a.projection].source][a.spike] += value
        delays = self.totals.delays[a.projection]
        delays[(a.neuron, neuron) if delays.ndim else ()] += value

    # --- loss on maxima and samples -------------------------------------------------------------------------------

    def _end(self, number: int) -> None:
        """What the loss reads at the end of a piece."""
        if self.output < 0 or self.pulls is None:
            return
        costates = self.costates[self.output][self.observed]
        if self.tape.maxima is None:
            for k in np.flatnonzero(np.array(self.tape.sampled) == number):
                costates += self.pulls[:, k]
            return
        which = self._peaks(Maxima.EDGE, number)
        costates[which] += self.pulls[which]
        if number + 1 < len(self.tape.pieces):
            self._move(which, self.tape.pieces[number + 1].arrivals)

    def _after_jump(self, number: int) -> None:
        if self.output < 0 or self.tape.maxima is None:
            return
        assert self.pulls is not None
        which = self._peaks(Maxima.JUMP, number)
        self.costates[self.output][self.observed, which] += self.pulls[which]
        self._move(which, self.tape.pieces[number].arrivals)

    def _peaks(self, kind: int, number: int) -> np.ndarray:
        best = self.tape.maxima
        assert best is not None
        return np.flatnonzero((best.kind == kind) & (best.piece == number))

    def _move(self, which: np.ndarray, arrivals: Sequence[Arrival]) -> None:
        """Values at a kink move with the first arrival that reaches their neuron."""
        assert self.tape.maxima is not None and self.pulls is not None
        for j in which:
            reaching = (a for a in arrivals if self.values.connections[a.projection].reaches(a, int(j)))
            if (a := next(reaching, None)) is not None:
                self._collect(a, float(self.pulls[j] * self.tape.maxima.slope[j]), int(j))

    # --- flow -----------------------------------------------------------------------------------------------------

    def _flow(self, k: int, number: int, piece: Piece) -> None:
        """From the end of a piece to its start, neurons with events of their own apart from the others."""
        n, length = self.neurons[k], piece.end - piece.start
        end = self.costates[k]
        own = [e for e in piece.events if e.population == k]
        start = n("back", *end, s=length) if length > 0 else end.copy()
        apart = np.zeros(n.n, dtype=bool)
        if own:
            which, there = self._through_spikes(k, number, piece, own)
            start[:, which], apart[which] = there, True
        if k == self.output and self.tape.maxima is not None:
            which = self._peaks(Maxima.INSIDE, number)
            if which.size:
                start[:, which], apart[which] = self._through_peaks(k, number, piece, which), True
        if self.by_flow[k] and length > 0 and end.any():
            x = self.states[k].at(number)[1]
            self.totals.parameters[k] += np.where(apart, 0.0, n("gradient", *x, *end, s=length))
        self.costates[k] = start

    def _back(
        self, k: int, x: np.ndarray | None, costates: np.ndarray, time: np.ndarray, which: np.ndarray
    ) -> np.ndarray:
        """Costates a time earlier, of the neurons `which`, and the gradient on the way; x are the states there."""
        n = self.neurons[k]
        if x is not None and self.by_flow[k]:
            self.totals.parameters[k][:, which] += n("gradient", *x, *costates, s=time, which=which)
        return n("back", *costates, s=time, which=which)

    def _through_spikes(self, k: int, number: int, piece: Piece, own: Sequence[Event]) -> tuple[np.ndarray, np.ndarray]:
        """Costates at the start of the piece of the neurons that spike in it."""
        n = self.neurons[k]
        events: dict[int, list[Event]] = {}
        for e in own:
            events.setdefault(e.neuron, []).append(e)
        which = np.array(list(events))
        costates, time = self.costates[k][:, which], np.full(which.size, piece.end)
        for _ in range(max(len(es) for es in events.values())):
            # the last event of every neuron that has one left
            lanes = np.array([i for i, j in enumerate(which) if events[j]])
            last = [events[which[i]].pop() for i in lanes]
            neurons, before = which[lanes], np.stack([e.x for e in last], axis=1)
            when = np.array([e.time for e in last])
            after = n("reset", *before, which=neurons) if self.by_flow[k] else None
            later = self._back(k, after, costates[:, lanes], time[lanes] - when, neurons)
            costates[:, lanes] = self._spikes(k, last, neurons, before, later)
            time[lanes] = when
        x = self.states[k].at(number)[1][:, which] if self.by_flow[k] else None
        return which, self._back(k, x, costates, time - piece.start, which)

    def _spikes(
        self, k: int, events: Sequence[Event], which: np.ndarray, before: np.ndarray, costates: np.ndarray
    ) -> np.ndarray:
        """Costates just before crossings, from those just after the resets."""
        n = self.neurons[k]
        given = self.sensitivities[self.first + k][[e.spike for e in events]]
        sigma, gdot = n("sigma", *before, *costates, given, which=which)
        if (flat := np.flatnonzero((gdot == 0) & (sigma != 0))).size:
            e = events[flat[0]]
            raise EngineError(
                f"population {n.name!r}: neuron {e.neuron} touches its threshold at {e.time:.9g} s without slope; "
                "there the loss has no gradient"
            )
        kick = np.divide(sigma, gdot, out=np.zeros(sigma.size), where=gdot != 0)
        back = n("spike_back", *before, *costates, kick, which=which)
        self.totals.parameters[k][:, which] += back[n.n_states :]
        return back[: n.n_states]

    def _through_peaks(self, k: int, number: int, piece: Piece, which: np.ndarray) -> np.ndarray:
        """Costates at the start of the piece of the neurons that are largest in it."""
        n, best = self.neurons[k], self.tape.maxima
        assert best is not None and self.pulls is not None
        when = best.time[which]
        start, x = None, None
        if self.by_flow[k]:
            start = self.states[k].at(number)[1][:, which]
            x = n("flow", *start, s=when - piece.start, which=which)
        costates = self._back(k, x, self.costates[k][:, which], piece.end - when, which)
        costates[self.observed] += self.pulls[which]
        return self._back(k, start, costates, when - piece.start, which)

    # --- the start of a piece -------------------------------------------------------------------------------------

    def _instant(self, e: Event) -> None:
        """A spike at an arrival: it moves with that arrival, and where the threshold is does not matter."""
        n, which = self.neurons[e.population], np.array([e.neuron])
        costates = self.costates[e.population][:, which]
        given = self.sensitivities[self.first + e.population][[e.spike]]
        sigma, _ = n("sigma", *e.x[:, None], *costates, given, which=which)
        assert e.cause is not None
        self._collect(e.cause, float(sigma[0]), e.neuron)
        back = n("spike_back", *e.x[:, None], *costates, 0.0, which=which)
        self.totals.parameters[e.population][:, which] += back[n.n_states :]
        self.costates[e.population][:, which] = back[: n.n_states]

    def _arrivals(self, k: int, number: int, arrivals: Sequence[Arrival]) -> None:
        if not arrivals:
            return
        n, costates = self.neurons[k], self.costates[k]
        x = self.states[k].at(number)[0].copy() if k in self.states else np.zeros((n.n_states, n.n))
        before = []
        for a in arrivals:
            before.append(x)
            if k in self.states and len(arrivals) > 1:
                x = x.copy()
                arrive(self.values, k, x, [a])
        for a, x in zip(reversed(arrivals), reversed(before), strict=True):
            connections = self.values.connections[a.projection]
            rule = f"arrive_back{self.values.plan.projections[a.projection].receptor}"
            targets = connections.targets(a)
            which = slice(None) if targets is None else targets
            w = connections.weights[a.neuron, which]
            back = n(rule, *x[:, which], *costates[:, which], w, which=targets)
            self.totals.weights[a.projection][a.neuron, which] += back[0]
            self.sensitivities[self.values.plan.projections[a.projection].source][a.spike] += back[1].sum()
            delays = self.totals.delays[a.projection]
            if delays.ndim:
                delays[a.neuron, which] += back[1]
            else:
                delays += back[1].sum()
            costates[:, which] = back[2 : 2 + n.n_states]
            self.totals.parameters[k][:, which] += back[2 + n.n_states :]

    def _start(self) -> None:
        for k, n in self.neurons.items():
            self.totals.parameters[k] += n("initial_back", *self.costates[k])
