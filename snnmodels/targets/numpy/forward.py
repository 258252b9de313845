"""One component of a network through one trial, forward in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...events.accuracy import MAX_EVENTS
from ...events.engine import SimulationError, failure
from ...events.plan import Component
from .crossing import OutOfRange, TooManySteps, Unfinished
from .incoming import Incoming, incoming
from .knots import Due
from .sources import Sources
from .state import State, Values
from .tape import SPIKE, Arrival, ComponentTape, Event, Maxima, Piece, Release, Spikes

__all__ = ["ComponentForward"]


@dataclass
class _Ahead:
    """Neurons on their way to their next spike within a piece.

    Attributes
    ----------
    which : int array, shape (m,)
    x : array, shape (n_states, m)
        States at `base`, after the events that are no spikes.
    base : array, shape (m,)
    times : array, shape (m,)
        Of the next spike; inf where there is none.
    turns : list of Event
        What happened on the way.
    """

    which: np.ndarray
    x: np.ndarray
    base: np.ndarray
    times: np.ndarray = field(default_factory=lambda: np.empty(0))
    turns: list[Event] = field(default_factory=list)


class ComponentForward:
    """Runs a component through a trial.

    What one instant holds comes in rounds, through the whole network: first what was on its way and crossings, then,
    round by round, arrivals without delay of the spikes that the round before has caused at once.

    Parameters
    ----------
    values : Values
    component : Component
    spikes : sequence of Spikes
        Of all inputs and populations; complete for earlier components, and growing here for its own.
    keep : bool
        Whether the backward pass will follow.
    due : sequence of Due
        Knots of the currents that drive the component.
    sources : sequence of Sources
        By place in the plan.

    Attributes
    ----------
    tape : ComponentTape
    smallest_gdot : float
    meetings : int
        Instants at which several spikes arrived at a population.
    """

    def __init__(
        self,
        values: Values,
        component: Component,
        spikes: Sequence[Spikes],
        keep: bool,
        due: Sequence[Due] = (),
        sources: Sequence[Sources] = (),
    ) -> None:
        plan = values.plan
        self.values, self.component, self.spikes, self.keep = values, component, spikes, keep
        self.first = len(plan.network.inputs)
        self.end = plan.network.duration
        self.neurons = {k: values.neurons[k] for k in component.populations}
        self.incoming: list[Incoming] = [
            incoming(
                q.index,
                values.connections[q.index],
                spikes[q.source],
                self.end,
                sources[q.sources] if q.sources >= 0 else None,
            )
            for q in (plan.projections[k] for k in component.incoming)
        ]
        feedback = [
            (plan.projections[q].source - self.first, values.connections[q].shortest) for q in component.feedback
        ]
        self.shortest = {k: min((d for s, d in feedback if s == k), default=np.inf) for k in self.neurons}
        self.due = due
        self.look = self.window = plan.window
        self.counts = {k: np.zeros(n.n, dtype=int) for k, n in self.neurons.items()}
        # when each refractory neuron is released, and the spike that made it refractory
        self.until = {k: np.full(n.n, np.inf) for k, n in self.neurons.items() if n.held is not None}
        self.since = {k: np.zeros(u.size, dtype=int) for k, u in self.until.items()}
        self.arrived: dict[int, set[tuple[int, int]]] = {k: set() for k in self.neurons}  # source and spike
        self.fired: set[tuple[int, int]] = set()  # neurons that spiked at once at this instant
        # the population of which maxima are read, if it is one of these
        watched = plan.maxima is not None and plan.readout.index in self.neurons
        self.watched = plan.readout.index if watched else -1
        self.observed = 0 if plan.maxima is None else plan.state(plan.maxima)
        self.t, self.round = 0.0, 0
        self.tape = ComponentTape()
        # of states that are sampled: population, place of the state, and times
        self.sampled: dict[int, tuple[int, int, np.ndarray]] = {}
        for k, seen in enumerate(plan.samples):
            if plan.place(seen) in self.neurons:
                self.sampled[k] = plan.place(seen), plan.state(seen), seen.times(self.end)
                self.tape.sampled[k], self.tape.samples[k] = [], []
        self.smallest_gdot = np.inf
        self.meetings = 0

    def run(self) -> ComponentTape:
        """The whole trial."""
        self.states = {k: State.initial(self.values, k) for k in self.neurons}
        self._refuse_above()
        if self.watched >= 0:
            self.tape.maxima = Maxima.at_start(self.states[self.watched].x[self.observed])
        while True:
            if self.keep:
                self.tape.keep(len(self.tape.pieces), [(s.x, s.held) for s in self.states.values()])
            piece = self._begin()
            self.tape.pieces.append(piece)
            following = self._next()
            if following > self.t and self.t >= self.end:
                self._count_meetings()
                self.tape.held = [s.held for s in self.states.values()]
                return self.tape
            if following > self.t:
                self._go(piece, following)
                self._finish(piece)
            self.round += 1
            if piece.end > self.t:
                self._count_meetings()
                self.fired.clear()
                self.round = 0
            self.t = piece.end

    def _count_meetings(self) -> None:
        """Count the populations at which several spikes have arrived in the instant that ends."""
        for arrived in self.arrived.values():
            self.meetings += len(arrived) > 1
            arrived.clear()

    # --- the start of a piece -------------------------------------------------------------------------------------

    def _next(self) -> float:
        """Time of the next arrival, release or knot."""
        times = [q.next() for q in self.incoming] + [d.next() for d in self.due]
        times += [float(u.min()) for u in self.until.values()]
        return min(times, default=np.inf)

    def _begin(self) -> Piece:
        """Knots, releases and arrivals of this instant, and the spikes that they cause at once."""
        knots = [knot for d in self.due for knot in d.take(self.t)]
        for state in self.states.values():
            state.set(knots)
        releases = [r for k in self.until for r in self._releases(k)]
        arrivals = [a for q in self.incoming if q.next() == self.t for a in q.take(self.t, self.round)]
        piece = Piece(self.t, self.t, releases, arrivals, [], knots=knots)
        for k, state in self.states.items():
            own = [a for a in arrivals if self.values.plan.projections[a.projection].target == k]
            freed = [r for r in releases if r.population == k]
            # one spike may come through several projections, and an instant have several rounds
            self.arrived[k] |= {(self.values.plan.projections[a.projection].source, a.spike) for a in own}
            if not own and not freed:
                continue
            before = state.x.copy()
            state.release(freed)
            state.arrive(own)
            receptors = {self.values.plan.projections[a.projection].receptor for a in own}
            if freed or any(self.neurons[k].fires[r] for r in receptors):
                piece.instant += self._at_once(k, before, freed, own)
            if k == self.watched:
                self._after_jump(before)
        self._emit(piece.instant)
        for e in piece.instant:
            self.spikes[self.first + e.population].rounds[e.spike] = self.round + 1
        return piece

    def _releases(self, k: int) -> list[Release]:
        which = np.flatnonzero(self.until[k] <= self.t)
        self.until[k][which] = np.inf
        x = self.states[k].x
        return [Release(k, int(j), int(self.since[k][j]), x[:, j].copy()) for j in which]

    def _at_once(
        self, k: int, before: np.ndarray, releases: Sequence[Release], arrivals: Sequence[Arrival]
    ) -> list[Event]:
        n, state = self.neurons[k], self.states[k]
        events = []
        for j in np.flatnonzero((n("event", *state.x)[0] > 0) & ~state.held):
            cause = self._cause(k, int(j), before, releases, arrivals)
            if cause is None:
                continue  # above by rounding before: the flow crosses at once
            if (k, int(j)) in self.fired:
                raise self._error("cascade", k, int(j), self.t)
            self.fired.add((k, int(j)))
            events.append(Event(k, int(j), self.t, state.x[:, j].copy(), -1, cause))
        if events:
            self._bound(k, len(events), self.t)
            which = np.array([e.neuron for e in events])
            state.spike(which)
            self._check_reset(k, state.x[:, which], which, np.full(which.size, self.t))
        return events

    def _cause(
        self, k: int, j: int, before: np.ndarray, releases: Sequence[Release], arrivals: Sequence[Arrival]
    ) -> Arrival | Release | None:
        """The event with which a neuron went above threshold for the last time at this instant."""
        n, which = self.neurons[k], np.array([j])
        x = before[:, which]
        above = n("event", *x, which=which)[0, 0] > 0
        cause: Arrival | Release | None = None
        for r in releases:
            if r.neuron == j and above:
                cause = r
        for a in arrivals:
            connections = self.values.connections[a.projection]
            if not connections.reaches(a, j):
                continue
            receptor = self.values.plan.projections[a.projection].receptor
            x = n(f"arrive{receptor}", *x, connections.arriving(a, which), which=which)
            was, above = above, n("event", *x, which=which)[0, 0] > 0
            if above and not was:
                cause = a
        return cause

    # --- flow -----------------------------------------------------------------------------------------------------

    def _go(self, piece: Piece, following: float) -> None:
        """Find the spikes of a piece and flow to its end, which comes early where spikes feed back or end in a hold."""
        sample = min((self._next_sample(k) for k in self.sampled), default=np.inf)
        bulk = piece.end = float(min(following, self.t + self.look, sample, self.end))
        first = {k: self._candidates(k, piece) for k, n in self.neurons.items() if n.eventful}
        limit = piece.end
        for k, found in first.items():
            if (times := found.times[np.isfinite(found.times)]).size:
                limit = min(limit, float(times.min()) + self.shortest[k])
                if k in self.until:
                    limit = min(limit, float((found.times + self.neurons[k].durations[found.which]).min()))
        piece.end = limit
        for k, found in first.items():
            piece.events += self._events(k, found, limit)
        if len(piece.events) > 1:
            piece.events.sort(key=lambda e: (e.time, e.population, e.neuron))
        self._emit(piece.events)
        if self.component.feedback:
            # look ahead about as far as the next spike that feeds back
            self.look = 1.5 * (limit - self.t) if limit < bulk else 2 * self.look
            self.look = min(max(self.look, 1e-3 * self.window), self.window)
        if self.tape.maxima is not None:
            self._inside(piece)
        for k, state in self.states.items():
            try:
                state.advance(piece)
            except TooManySteps as e:
                raise self._error("steps", k, e.lane, piece.start) from None

    def _candidates(self, k: int, piece: Piece) -> _Ahead:
        """Neurons with events of their own within the piece, followed to their first spike."""
        state, length = self.states[k], piece.end - piece.start
        which = self.neurons[k].flow.may_cross(state.x, length)
        if state.held.any():
            which = which[~state.held[which]]
        ahead = _Ahead(which, state.x[:, which], np.full(which.size, piece.start))
        self._look(k, ahead, piece.end)
        return ahead

    def _look(self, k: int, ahead: _Ahead, end: float) -> None:
        """Follow neurons to their next spike, or to the end, through events that are no spikes."""
        n = self.neurons[k]
        ahead.times = np.full(ahead.which.size, np.inf)
        live = np.flatnonzero(end - ahead.base > 0)
        for _ in range(MAX_EVENTS):
            if not live.size:
                return
            which, x, base = ahead.which[live], ahead.x[:, live], ahead.base[live]
            try:
                found, kinds = n.flow.first(x, end - base, which)
            except Unfinished as e:
                raise self._unfinished(e, k, int(which[e.lane])) from None
            happens = np.isfinite(found)
            times = np.minimum(base + found, end)
            spikes = happens & (kinds == SPIKE)
            ahead.times[live[spikes]] = times[spikes]
            turning = np.flatnonzero(happens & ~spikes)
            for kind in sorted(set(kinds[turning])):
                self._turn(k, ahead, live, turning[kinds[turning] == kind], times, int(kind))
            live = live[turning]
            live = live[end - ahead.base[live] > 0]
        raise self._error("turns", k, int(ahead.which[live[0]]), float(ahead.base[live[0]]))

    def _turn(
        self, k: int, ahead: _Ahead, live: np.ndarray, lanes: np.ndarray, times: np.ndarray, kind: int
    ) -> None:
        """Put neurons just after a transition, and note it; `lanes` and `times` are of those that are `live`."""
        n, where, when = self.neurons[k], live[lanes], times[lanes]
        which = ahead.which[where]
        before = n.flow.advance(ahead.x[:, where], when - ahead.base[where], which)
        after = n.after(kind, before, which)
        if (bad := np.flatnonzero(n.turns_back(kind, after, which))).size:
            raise self._error("slides", k, int(which[bad[0]]), float(when[bad[0]]))
        ahead.x[:, where], ahead.base[where] = after, when
        ahead.turns += [
            Event(k, int(j), float(t), before[:, i].copy(), -1, None, kind)
            for i, (j, t) in enumerate(zip(which, when, strict=True))
        ]

    def _events(self, k: int, ahead: _Ahead, limit: float) -> list[Event]:
        """All events of neurons up to the limit, those up to the first spikes given."""
        n = self.neurons[k]
        events: list[Event] = []
        for _ in range(MAX_EVENTS):
            events += [e for e in ahead.turns if e.time <= limit]
            hit = np.flatnonzero(ahead.times <= limit)
            if not hit.size:
                return events
            which, times = ahead.which[hit], ahead.times[hit]
            before = n.flow.advance(ahead.x[:, hit], times - ahead.base[hit], which)
            self.smallest_gdot = min(self.smallest_gdot, float(n("search", *before, which=which)[1].min()))
            events += [
                Event(k, int(j), float(t), before[:, i].copy(), -1)
                for i, (j, t) in enumerate(zip(which, times, strict=True))
            ]
            self._bound(k, sum(e.kind == SPIKE for e in events), float(times.max()))
            after = n("reset", *before, which=which)
            self._check_reset(k, after, which, times)
            if k in self.until:
                return events
            ahead = _Ahead(which, after, times)
            self._look(k, ahead, limit)
        raise self._error("spikes", k, int(ahead.which[0]), float(ahead.base[0]))

    def _bound(self, k: int, more: int, time: float) -> None:
        """Refuse a population that spikes on and on."""
        if len(self.spikes[self.first + k].times) + more > self.values.plan.max_spikes:
            raise self._error("runaway", k, -1, time)

    def _check_reset(self, k: int, after: np.ndarray, which: np.ndarray, times: np.ndarray) -> None:
        n = self.neurons[k]
        if k not in self.until and not n.stays_above and (bad := np.flatnonzero(n.above(after, which))).size:
            raise self._error("reset", k, int(which[bad[0]]), float(times[bad[0]]))

    def _emit(self, events: Sequence[Event]) -> None:
        for e in events:
            if e.kind != SPIKE:
                continue
            k, j = e.population, e.neuron
            spikes = self.spikes[self.first + k]
            e.spike = len(spikes.times)
            spikes.times.append(e.time)
            spikes.neurons.append(j)
            spikes.places.append(int(self.counts[k][j]))
            self.counts[k][j] += 1
            if k in self.until:
                self.until[k][j], self.since[k][j] = e.time + self.neurons[k].durations[j], e.spike

    # --- the end of a piece ---------------------------------------------------------------------------------------

    def _finish(self, piece: Piece) -> None:
        for k, state in self.states.items():
            if not np.isfinite(state.x).all():
                raise self._error("finite", k, int(np.isfinite(state.x).all(axis=0).argmin()), piece.end)
        if piece.end == piece.start:
            return
        number = len(self.tape.pieces) - 1
        for place, (k, row, _) in self.sampled.items():
            if piece.end >= self._next_sample(place):
                self.tape.sampled[place].append(number)
                self.tape.samples[place].append(self.states[k].x[row].copy())
        if (best := self.tape.maxima) is not None:
            x = self.states[self.watched].x
            slope = self.neurons[self.watched]("rate", *x)[self.observed]
            best.offer(x[self.observed], Maxima.EDGE, number, piece.end, slope, slope >= 0)

    def _next_sample(self, place: int) -> float:
        """When the next sample of a state is taken, inf after the last."""
        taken, times = len(self.tape.sampled[place]), self.sampled[place][2]
        return float(times[taken]) if taken < times.size else np.inf

    def _error(self, what: str, k: int, neuron: int, time: float) -> SimulationError:
        return failure(self.values.plan, what, k, neuron, time)

    def _unfinished(self, e: Unfinished, k: int, neuron: int) -> SimulationError:
        return self._error("finite" if isinstance(e, OutOfRange) else "search", k, neuron, self.t)

    def _refuse_above(self) -> None:
        for k, n in self.neurons.items():
            if n.spiking and (above := np.flatnonzero(n("event", *self.states[k].x)[0] > 0)).size:
                raise self._error("start", k, int(above[0]), 0.0)

    # --- maxima ---------------------------------------------------------------------------------------------------

    def _after_jump(self, before: np.ndarray) -> None:
        """Offer the values just after arrivals that move the observed state."""
        if (best := self.tape.maxima) is None:
            return
        x = self.states[self.watched].x
        jumped = x[self.observed] != before[self.observed]
        if jumped.any():
            slope = self.neurons[self.watched]("rate", *x)[self.observed]
            best.offer(x[self.observed], Maxima.JUMP, len(self.tape.pieces), self.t, slope, jumped)

    def _inside(self, piece: Piece) -> None:
        """Offer the smooth maxima within a piece."""
        n, best = self.neurons[self.watched], self.tape.maxima
        assert best is not None
        try:
            for which, found, tops in n.flow.peaks(self.states[self.watched].x, piece.end - piece.start, best.value):
                values, times, there = np.zeros((3, n.n))
                values[which], times[which], there[which] = tops, np.minimum(piece.start + found, piece.end), 1
                best.offer(values, Maxima.INSIDE, len(self.tape.pieces) - 1, times, np.zeros(n.n), there > 0)
        except Unfinished as e:
            raise self._unfinished(e, self.watched, e.lane) from None
