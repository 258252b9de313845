"""One component of a network through one trial, backward in time: costates and all gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...events.engine import failure
from ...events.plan import Component
from .neurons import Neurons
from .sources import SourcesBack
from .state import State, Values
from .tape import SPIKE, Arrival, ComponentTape, Event, Knot, Maxima, Piece, Release, shares

__all__ = ["ComponentBackward", "DriveSums", "Pulls", "Totals"]

DriveSums = tuple[np.ndarray, np.ndarray | None]


@dataclass
class Totals:
    """Gradients of a batch, summed over trials.

    Attributes
    ----------
    weights, delays : list of array
        By projection, in the shape of the values.
    parameters, sources : list of array, shape (n_learnable, n)
        By population, and by place in `EnginePlan.sources`.
    """

    weights: list[np.ndarray]
    delays: list[np.ndarray]
    parameters: list[np.ndarray]
    sources: list[np.ndarray]

    @classmethod
    def zero(cls, values: Values) -> Totals:
        """Nothing yet."""
        return cls(
            [np.zeros(c.weights.shape) for c in values.connections],
            [np.zeros(c.delay.shape) for c in values.connections],
            *([np.zeros((len(n.rules.learnable), n.n)) for n in of] for of in (values.neurons, values.sources)),
        )


@dataclass(frozen=True)
class Pulls:
    """What the loss says of the states that are read, in one trial.

    Attributes
    ----------
    maxima : array, shape (n,), or None
    samples : mapping of int to array, shape (n, k)
        By place in `EnginePlan.samples`.
    """

    maxima: np.ndarray | None
    samples: Mapping[int, np.ndarray]


class _States:
    """States of a population before and after the start of every piece, computed again from checkpoints."""

    def __init__(self, values: Values, tape: ComponentTape, k: int, place: int) -> None:
        self.values, self.tape, self.k, self.place = values, tape, k, place
        self.known: dict[int, tuple[State, np.ndarray]] = {}

    def before(self, number: int) -> State:
        """Before anything happens at the start of a piece; a copy."""
        return self._at(number)[0].copy()

    def after(self, number: int) -> np.ndarray:
        """States after all that happens at the start of a piece."""
        return self._at(number)[1]

    def _at(self, number: int) -> tuple[State, np.ndarray]:
        if number not in self.known:
            first = number - number % self.tape.every
            x, held = self.tape.checkpoints[first][self.place]
            state = State(self.values, self.k, x.copy(), held.copy())
            self.known = {}
            for m in range(first, number + 1):
                before = state.copy()
                state.begin(self.tape.pieces[m])
                self.known[m] = (before, state.x.copy())
                if m < number:
                    state.advance(self.tape.pieces[m])
        return self.known[number]


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
    pulls : Pulls
        Derivatives of the loss by states.
    totals : Totals
        Added to.
    sources : sequence of SourcesBack
        By place in the plan; those of what comes in are complete afterwards.

    Attributes
    ----------
    drives : sequence of (array, array or None) or None
        By driven input, derivatives by the current and its slope at every knot, shape (knots, n), set here; None where
        they are not wanted.
    """

    def __init__(
        self,
        values: Values,
        component: Component,
        tape: ComponentTape,
        sensitivities: Sequence[np.ndarray],
        pulls: Pulls,
        totals: Totals,
        sources: Sequence[SourcesBack] = (),
    ) -> None:
        plan = values.plan
        projections = [plan.projections[q] for q in component.incoming]
        self.sources = {q.index: sources[q.sources] for q in projections if q.sources >= 0}
        # with those whose source is in the component, too
        self.feeding = [(plan.projections[q].source, s) for q, s in self.sources.items() if q in component.feedback]
        self.values, self.component, self.tape = values, component, tape
        self.sensitivities, self.pulls, self.totals = sensitivities, pulls.maxima, totals
        self.drives: Sequence[DriveSums | None] = ()
        self.first = len(plan.network.inputs)
        self.neurons = {k: values.neurons[k] for k in component.populations}
        self.costates = {k: np.zeros((n.n_states, n.n)) for k, n in self.neurons.items()}
        self.held = dict(zip(self.neurons, (h.copy() for h in tape.held), strict=True))
        self.states = {
            k: _States(values, tape, k, place)
            for place, (k, n) in enumerate(self.neurons.items())
            if n.rules.needs_states
        }
        self.watched = plan.readout.index if pulls.maxima is not None and plan.readout.index in self.neurons else -1
        self.observed = 0 if plan.maxima is None else plan.state(plan.maxima)
        # by piece: population and state that are read at its end, and what the loss says of them
        self.sampled: dict[int, list[tuple[int, int, np.ndarray]]] = {}
        for place, numbers in tape.sampled.items():
            if place in pulls.samples:
                seen = plan.samples[place]
                for m, number in enumerate(numbers):
                    pulled = (plan.place(seen), plan.state(seen), pulls.samples[place][:, m])
                    self.sampled.setdefault(number, []).append(pulled)

    def _reaches_watched(self, a: Arrival, j: int) -> bool:
        """Whether an arrival reaches neuron j of the population that is watched."""
        at_watched = self.values.plan.projections[a.projection].target == self.watched
        return at_watched and self.values.connections[a.projection].reaches(a, j)

    def run(self) -> None:
        """The whole trial."""
        for number in range(len(self.tape.pieces) - 1, -1, -1):
            piece = self.tape.pieces[number]
            for source, sources in self.feeding:
                sent = (e for e in (*piece.instant, *piece.events) if e.kind == SPIKE)
                sources.settle([e.spike for e in sent if e.population + self.first == source])
            self._end(number)
            for k in self.neurons:
                self._flow(k, number, piece)
            self._after_jump(number)
            for e in reversed(piece.instant):
                self._instant(e)
            for k in self.neurons:
                self._events(k, number, piece)
            self._knots(piece.knots)
        self._start()
        for sources in self.sources.values():
            sources.finish()

    def _moves(self, cause: Arrival | Release, value: float, neuron: int) -> None:
        """Hand the sensitivity to the time of an event, as it happens to a neuron, on to what sets that time."""
        if isinstance(cause, Release):
            self.sensitivities[self.first + cause.population][cause.spike] += value
            which = np.array([neuron])
            back = self.neurons[cause.population]("duration_back", value, which=which)
            self.totals.parameters[cause.population][:, which] += back
            return
        self.sensitivities[self.values.plan.projections[cause.projection].source][cause.spike] += value
        delays = self.totals.delays[cause.projection]
        delays[(cause.neuron, neuron) if delays.ndim else ()] += value

    # --- loss on maxima and samples -------------------------------------------------------------------------------

    def _end(self, number: int) -> None:
        """What the loss reads at the end of a piece."""
        for k, state, pull in self.sampled.get(number, ()):
            self.costates[k][state] += pull
        if self.watched < 0 or self.pulls is None or self.tape.maxima is None:
            return
        costates = self.costates[self.watched][self.observed]
        which = self._peaks(Maxima.EDGE, number)
        costates[which] += self.pulls[which]
        for j in map(int, which):
            if (first := self._round(j, number + 1)) is not None:
                self._with_arrivals(j, first, after=False)

    def _after_jump(self, number: int) -> None:
        if self.watched < 0 or self.tape.maxima is None:
            return
        assert self.pulls is not None
        which = self._peaks(Maxima.JUMP, number)
        self.costates[self.watched][self.observed, which] += self.pulls[which]
        for j in map(int, which):
            self._with_arrivals(j, number, after=True)

    def _peaks(self, kind: int, number: int) -> np.ndarray:
        best = self.tape.maxima
        assert best is not None
        return np.flatnonzero((best.kind == kind) & (best.piece == number))

    def _round(self, j: int, first: int) -> int | None:
        """The piece, of the instant at which a piece begins, with the first round that reaches neuron j."""
        pieces = self.tape.pieces
        for m in range(first, len(pieces)):
            if pieces[m].start != pieces[first].start:
                return None
            if any(self._reaches_watched(a, j) for a in pieces[m].arrivals):
                return m
        return None

    def _with_arrivals(self, j: int, number: int, after: bool) -> None:
        """The value at a kink, before or after the arrivals of a piece, moves with these; see `shares`."""
        best, piece = self.tape.maxima, self.tape.pieces[number]
        assert best is not None and self.pulls is not None
        reaching = [a for a in piece.arrivals if self._reaches_watched(a, j)]
        slope, last = float(best.slope[j]), piece.start >= self.values.plan.network.duration
        alone = len(reaching) == 1 and not last
        changes = [(slope, after)] if alone else self._changes(number, j)
        for a, share in zip(reaching, shares(slope, changes, after, last), strict=True):
            self._moves(a, float(self.pulls[j]) * share, j)

    def _changes(self, number: int, j: int) -> list[tuple[float, bool]]:
        """By how much the arrivals of a piece at neuron j lower the slope of the watched state, and which move it."""
        k, piece, one = self.watched, self.tape.pieces[number], np.array([j])
        n, state = self.neurons[k], self._at_arrivals(k, number, piece)
        unit = np.zeros((n.n_states, 1))
        unit[self.observed] = 1.0
        found = []
        for a in piece.arrivals:
            if self._reaches_watched(a, j):
                receptor, x = self.values.plan.projections[a.projection].receptor, state.x[:, one]
                w = self.values.connections[a.projection].arriving(a, one)
                change = float(n(f"arrive_back{receptor}", *x, *unit, w, which=one)[1, 0])
                found.append((change, n.rules.moves(receptor, self.observed)))
            state.x = state.x.copy()
            state.arrive([a])
        return found

    # --- flow -----------------------------------------------------------------------------------------------------

    def _flow(self, k: int, number: int, piece: Piece) -> None:
        """From the end of a piece to its start, neurons with events of their own apart from the others."""
        n, length, end = self.neurons[k], piece.end - piece.start, self.costates[k]
        apart: list[tuple[np.ndarray, np.ndarray]] = []
        own = [e for e in piece.events if e.population == k]
        if own:
            apart.append(self._through_spikes(k, number, piece, own))
        if k == self.watched and self.tape.maxima is not None:
            which = self._peaks(Maxima.INSIDE, number)
            if which.size:
                apart.append((which, self._through_peaks(k, number, piece, which)))
        others = ~self.held[k]
        for which, _ in apart:
            others[which] = False
        start = end.copy()
        if length > 0:
            x = self.states[k].after(number) if k in self.states and n.flow.reads_states and end.any() else None
            self._bulk(k, n, x, end, length, others, start)
            if n.held is not None and self.held[k].any():
                self._bulk(k, n.held, x, end, length, self.held[k], start)
        for which, costates in apart:
            start[:, which] = costates
        self.costates[k] = start

    def _bulk(
        self,
        k: int,
        neurons: Neurons,
        x: np.ndarray | None,
        end: np.ndarray,
        length: float,
        where: np.ndarray,
        start: np.ndarray,
    ) -> None:
        """Costates at the start of a piece of the neurons of a mask, which have no events in it."""
        if not end.any():
            return
        which = np.flatnonzero(where)
        if which.size == where.size:
            start[:], gradients = neurons.flow.back(x, end, length)
        elif which.size:
            there = None if x is None else x[:, which]
            start[:, which], gradients = neurons.flow.back(there, end[:, which], length, which)
        else:
            return
        if gradients is not None:
            self.totals.parameters[k][:, which] += gradients

    def _back(
        self,
        k: int,
        neurons: Neurons,
        x: np.ndarray | None,
        costates: np.ndarray,
        time: np.ndarray,
        which: np.ndarray,
    ) -> np.ndarray:
        """Costates a time earlier of the neurons `which`, a time for each, from the states x there."""
        before, gradients = neurons.flow.back(x, costates, time, which)
        if gradients is not None:
            self.totals.parameters[k][:, which] += gradients
        return before

    def _through_spikes(self, k: int, number: int, piece: Piece, own: Sequence[Event]) -> tuple[np.ndarray, np.ndarray]:
        """Costates at the start of the piece of the neurons that have events in it."""
        n = self.neurons[k]
        events: dict[int, list[Event]] = {}
        for e in own:
            events.setdefault(e.neuron, []).append(e)
        which = np.array(list(events))
        costates, time = self.costates[k][:, which], np.full(which.size, piece.end)
        while any(events.values()):
            # the last event of every neuron that has one left, those of one kind together
            kind = max(es[-1].kind for es in events.values() if es)
            lanes = np.array([i for i, j in enumerate(which) if events[j] and events[j][-1].kind == kind])
            last = [events[which[i]].pop() for i in lanes]
            neurons, before = which[lanes], np.stack([e.x for e in last], axis=1)
            when = np.array([e.time for e in last])
            following = n if n.held is None or kind != SPIKE else n.held
            after = n.after(kind, before, neurons) if following.flow.reads_states else None
            later = self._back(k, following, after, costates[:, lanes], time[lanes] - when, neurons)
            costates[:, lanes] = self._crossings(k, last, neurons, before, later)
            time[lanes] = when
        self.held[k][which] = False
        x = self.states[k].after(number)[:, which] if n.flow.reads_states else None
        return which, self._back(k, n, x, costates, time - piece.start, which)

    def _crossings(
        self, k: int, events: Sequence[Event], which: np.ndarray, before: np.ndarray, costates: np.ndarray
    ) -> np.ndarray:
        """Costates just before crossings of one kind, from those just after them."""
        n, kind = self.neurons[k], events[0].kind
        if kind == SPIKE:
            given = self.sensitivities[self.first + k][[e.spike for e in events]]
            sigma, gdot = n("sigma", *before, *costates, given, which=which)
        else:
            sigma, gdot = n(f"turn_sigma{kind}", *before, *costates, which=which)
        if (flat := np.flatnonzero((gdot == 0) & (sigma != 0))).size:
            e = events[flat[0]]
            what = "flat" if kind == SPIKE else "flat_turn"
            raise failure(self.values.plan, what, k, e.neuron, e.time)
        kick = np.divide(sigma, gdot, out=np.zeros(sigma.size), where=gdot != 0)
        rule = "spike_back" if kind == SPIKE else f"turn_back{kind}"
        back = n(rule, *before, *costates, kick, which=which)
        self.totals.parameters[k][:, which] += back[n.n_states :]
        return back[: n.n_states]

    def _through_peaks(self, k: int, number: int, piece: Piece, which: np.ndarray) -> np.ndarray:
        """Costates at the start of the piece of the neurons that are largest in it."""
        n, best = self.neurons[k], self.tape.maxima
        assert best is not None and self.pulls is not None
        when = best.time[which]
        start, x = None, None
        if n.flow.reads_states:
            start = self.states[k].after(number)[:, which]
            x = n.flow.advance(start, when - piece.start, which)
        costates = self._back(k, n, x, self.costates[k][:, which], piece.end - when, which)
        costates[self.observed] += self.pulls[which]
        return self._back(k, n, start, costates, when - piece.start, which)

    # --- the start of a piece -------------------------------------------------------------------------------------

    def _instant(self, e: Event) -> None:
        """A spike at an event: it moves with that, and where the threshold is does not matter."""
        k, which = e.population, np.array([e.neuron])
        n, costates, x = self.neurons[k], self.costates[k][:, which], e.x[:, None]
        given = self.sensitivities[self.first + k][[e.spike]]
        sigma, _ = n("sigma", *x, *costates, given, which=which)
        assert e.cause is not None
        self._moves(e.cause, float(sigma[0]), e.neuron)
        back = n("spike_back", *x, *costates, 0.0, which=which)
        self.totals.parameters[k][:, which] += back[n.n_states :]
        self.costates[k][:, which] = back[: n.n_states]
        self.held[k][which] = False

    def _events(self, k: int, number: int, piece: Piece) -> None:
        """Arrivals and releases at the start of a piece."""
        arrivals = [a for a in piece.arrivals if self.values.plan.projections[a.projection].target == k]
        releases = [r for r in piece.releases if r.population == k]
        if not arrivals and not releases:
            return
        state = self._at_arrivals(k, number, piece)
        before = []
        for a in arrivals:
            before.append(state.x)
            if k in self.states and len(arrivals) > 1:
                state.x = state.x.copy()
                state.arrive([a])
        for a, there in zip(reversed(arrivals), reversed(before), strict=True):
            for neurons, which in state.reached(a):
                self._arrival(k, neurons, a, there, which)
        for r in releases:
            which = np.array([r.neuron])
            s = self.neurons[k]("release", *r.x[:, None], *self.costates[k][:, which], which=which)
            self._moves(r, float(s[0, 0]), r.neuron)
            self.held[k][r.neuron] = True

    def _at_arrivals(self, k: int, number: int, piece: Piece) -> State:
        """States just before the arrivals of a piece; not those where no rule reads them."""
        n = self.neurons[k]
        if k in self.states:
            state = self.states[k].before(number)
        else:
            state = State(self.values, k, np.zeros((n.n_states, n.n)), np.zeros(n.n, dtype=bool))
        state.set(piece.knots)
        state.held = self.held[k].copy()
        return state

    def _arrival(self, k: int, neurons: Neurons, a: Arrival, x: np.ndarray, which: np.ndarray | None) -> None:
        costates = self.costates[k]
        rule = f"arrive_back{self.values.plan.projections[a.projection].receptor}"
        columns = slice(None) if which is None else which
        connections = self.values.connections[a.projection]
        back = neurons(rule, *x[:, columns], *costates[:, columns], connections.arriving(a, columns), which=which)
        self.totals.weights[a.projection][a.neuron, columns] += back[0] * a.amplitude
        if a.projection in self.sources:
            self.sources[a.projection].by_amplitude[a.spike] += back[0] @ connections.weights[a.neuron, columns]
        self.sensitivities[self.values.plan.projections[a.projection].source][a.spike] += back[1].sum()
        delays = self.totals.delays[a.projection]
        if delays.ndim:
            delays[a.neuron, columns] += back[1]
        else:
            delays += back[1].sum()
        costates[:, columns] = back[2 : 2 + neurons.n_states]
        self.totals.parameters[k][:, columns] += back[2 + neurons.n_states :]

    def _knots(self, knots: Sequence[Knot]) -> None:
        """Driven inputs are set at the start of a piece: what they were before does not matter any more."""
        for knot in knots:
            costates = self.costates[knot.population]
            if (sums := self.drives[knot.drive]) is not None:
                sums[0][knot.number] = costates[knot.state]
                if sums[1] is not None:
                    sums[1][knot.number] = costates[knot.state + 1]
            costates[[knot.state, knot.state + 1]] = 0.0

    def _start(self) -> None:
        if self.watched >= 0 and self.tape.maxima is not None:
            assert self.pulls is not None
            which = self._peaks(Maxima.START, 0)
            self.costates[self.watched][self.observed, which] += self.pulls[which]
        for k, n in self.neurons.items():
            self.totals.parameters[k] += n("initial_back", *self.costates[k])
