"""One component of a network through one trial, forward in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...events.engine import EngineError
from ...events.plan import Component, EnginePlan
from .crossing import Along, Unfinished, first_crossing
from .incoming import Connections, Incoming, incoming
from .neurons import Neurons
from .tape import Arrival, ComponentTape, Event, Maxima, Piece, Spikes

__all__ = ["ComponentForward", "Values", "arrive", "carry"]

MAX_PEAKS = 10_000  # maxima of one neuron within one piece


@dataclass
class Values:
    """A plan with the values of everything in it."""

    plan: EnginePlan
    neurons: list[Neurons]
    connections: list[Connections]


def arrive(values: Values, k: int, x: np.ndarray, arrivals: Sequence[Arrival]) -> None:
    """Apply arrivals in order to the states of population k, those that are for it."""
    neurons = values.neurons[k]
    for a in arrivals:
        projection = values.plan.projections[a.projection]
        if projection.target != k:
            continue
        connections = values.connections[a.projection]
        targets, rule = connections.targets(a), f"arrive{projection.receptor}"
        if targets is None:
            x[:] = neurons(rule, *x, connections.weights[a.neuron])
        else:
            x[:, targets] = neurons(rule, *x[:, targets], connections.weights[a.neuron, targets], which=targets)


def carry(neurons: Neurons, x: np.ndarray, piece: Piece, own: Sequence[Event]) -> np.ndarray:
    """States at the end of a piece from those after its arrivals, the population's events in it known."""
    length = piece.end - piece.start
    after = neurons("flow", *x, s=length) if length > 0 else x.copy()
    last = {e.neuron: e for e in own}
    if last:
        which = np.array(list(last))
        before = np.stack([e.x for e in last.values()], axis=1)
        rest = np.array([piece.end - e.time for e in last.values()])
        after[:, which] = neurons("flow", *neurons("reset", *before, which=which), s=rest, which=which)
    return after


class ComponentForward:
    """Runs a component through a trial.

    Parameters
    ----------
    values : Values
    component : Component
    spikes : sequence of Spikes
        Of all inputs and populations; complete for earlier components, and growing here for its own.

    Attributes
    ----------
    tape : ComponentTape
    smallest_gdot : float
    ties : int
    """

    def __init__(self, values: Values, component: Component, spikes: Sequence[Spikes]) -> None:
        plan = values.plan
        self.values, self.component, self.spikes = values, component, spikes
        self.populations = component.populations
        self.neurons = {k: values.neurons[k] for k in self.populations}
        self.first = len(plan.network.inputs)
        self.end = plan.network.duration
        self.incoming: list[Incoming] = [
            incoming(q, values.connections[q], spikes[plan.projections[q].source], self.end) for q in component.incoming
        ]
        feedback = [
            (plan.projections[q].source - self.first, values.connections[q].shortest) for q in component.feedback
        ]
        self.shortest = {k: min((d for s, d in feedback if s == k), default=np.inf) for k in self.populations}
        self.look = self.window = plan.window
        self.counts = {k: np.zeros(n.n, dtype=int) for k, n in self.neurons.items()}
        self.output = plan.output.index if plan.output.index in self.populations else -1
        seen = plan.observation
        self.sample_times = seen.sample_times(self.end) if self.output >= 0 else np.empty(0)
        if self.output >= 0 and seen.kind != "spike_times":
            self.observed = plan.output.rules.states.index(seen.variable)
        self.t = 0.0
        self.fired: set[tuple[int, int]] = set()  # neurons that spiked at once at this instant
        self.tape = ComponentTape()
        self.smallest_gdot = np.inf
        self.ties = 0

    def run(self) -> ComponentTape:
        """The whole trial."""
        self.x = {k: n.initial() for k, n in self.neurons.items()}
        self._refuse_above()
        if self.output >= 0 and self.values.plan.observation.kind == "voltage_max":
            self.tape.maxima = Maxima.at_start(self.x[self.output][self.observed])
        while True:
            self.tape.keep(len(self.tape.pieces), list(self.x.values()))
            piece = self._begin()
            self.tape.pieces.append(piece)
            following = self._next_arrival()
            if following > self.t:
                self._go(piece, following)
            self._finish(piece)
            if piece.end >= self.end:
                return self.tape
            if piece.end > self.t:
                self.fired.clear()
            self.t = piece.end

    # --- arrivals -------------------------------------------------------------------------------------------------

    def _next_arrival(self) -> float:
        return min((q.next() for q in self.incoming), default=np.inf)

    def _begin(self) -> Piece:
        """Apply the arrivals of this instant, and spikes that they cause at once."""
        arrivals = [a for q in self.incoming if q.next() == self.t for a in q.take(self.t)]
        piece = Piece(self.t, self.t, arrivals, [])
        for k, n in self.neurons.items():
            own = [a for a in arrivals if self.values.plan.projections[a.projection].target == k]
            if not own:
                continue
            self.ties += len({a[:3] for a in own}) > 1
            before = self.x[k].copy()
            arrive(self.values, k, self.x[k], own)
            if any(n.fires[self.values.plan.projections[a.projection].receptor] for a in own):
                piece.instant += self._at_once(k, before, own)
            if k == self.output:
                self._after_jump(before, own)
        self.ties += len(piece.instant) > 1
        for e in piece.instant:
            self._emit(e)
        return piece

    def _at_once(self, k: int, before: np.ndarray, arrivals: Sequence[Arrival]) -> list[Event]:
        n, x = self.neurons[k], self.x[k]
        events = []
        for j in np.flatnonzero(n("event", *x)[0] > 0):
            cause = self._cause(k, int(j), before, arrivals)
            if cause is None:
                continue  # above by rounding before: the flow crosses at once
            if (k, int(j)) in self.fired:
                raise EngineError(
                    f"population {n.name!r}: neuron {j} spikes a second time at {self.t:.9g} s: a cascade of "
                    "instantaneous spikes does not end; lower the weights, or give the projections a delay"
                )
            self.fired.add((k, int(j)))
            events.append(Event(k, int(j), self.t, x[:, j].copy(), -1, cause))
        if events:
            which = np.array([e.neuron for e in events])
            x[:, which] = self._reset(k, x[:, which], which, np.full(which.size, self.t))
        return events

    def _cause(self, k: int, j: int, before: np.ndarray, arrivals: Sequence[Arrival]) -> Arrival | None:
        """The arrival with which a neuron went above threshold for the last time at this instant."""
        n, which = self.neurons[k], np.array([j])
        x = before[:, which]
        above = n("event", *x, which=which)[0, 0] > 0
        cause = None
        for a in arrivals:
            connections = self.values.connections[a.projection]
            if not connections.reaches(a, j):
                continue
            receptor = self.values.plan.projections[a.projection].receptor
            x = n(f"arrive{receptor}", *x, connections.weights[a.neuron, which], which=which)
            was, above = above, n("event", *x, which=which)[0, 0] > 0
            if above and not was:
                cause = a
        return cause

    # --- flow -----------------------------------------------------------------------------------------------------

    def _go(self, piece: Piece, following: float) -> None:
        """Find the events of a piece and flow to its end, which may come early where spikes feed back."""
        self._limit_to(piece, following)
        bulk = piece.end
        first: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for k, n in self.neurons.items():
            if n.spiking:
                first[k] = self._candidates(k, piece)
        limit = piece.end
        for k, (_, times) in first.items():
            if times.size:
                limit = min(limit, float(times.min()) + self.shortest[k])
        piece.end = limit
        for k, (which, times) in first.items():
            hit = times <= limit
            piece.events += self._spikes(k, which[hit], times[hit], limit)
        if len(piece.events) > 1:
            piece.events.sort(key=lambda e: (e.time, e.population, e.neuron))
            times = np.array([e.time for e in piece.events])
            same = np.concatenate([[False], times[1:] == times[:-1], [False]])
            self.ties += int((same[1:] & ~same[:-1]).sum())
        for e in piece.events:
            self._emit(e)
        if self.component.feedback:
            # look ahead about as far as the next spike that feeds back
            self.look = 1.5 * (limit - self.t) if limit < bulk else 2 * self.look
            self.look = min(max(self.look, 1e-3 * self.window), self.window)
        if self.tape.maxima is not None:
            self._inside(piece)
        for k, n in self.neurons.items():
            self.x[k] = carry(n, self.x[k], piece, [e for e in piece.events if e.population == k])

    def _limit_to(self, piece: Piece, following: float) -> None:
        taken = len(self.tape.sampled)
        sample = self.sample_times[taken] if taken < self.sample_times.size else np.inf
        piece.end = float(min(following, self.t + self.look, sample, self.end))

    def _candidates(self, k: int, piece: Piece) -> tuple[np.ndarray, np.ndarray]:
        """Neurons that may cross within the piece, and when they first do."""
        n, x, length = self.neurons[k], self.x[k], piece.end - piece.start
        assert n.threshold is not None
        g, rates = n("event", *x)[0], n("rate", *x)
        # the bound says that nobody else can cross
        which = np.flatnonzero((g + n.threshold.rise(rates, length) > 0) | (g > 0))
        if not which.size:
            return which, np.empty(0)
        found = self._search(k, x[:, which], rates[:, which], which, np.full(which.size, length))
        crosses = np.isfinite(found)
        return which[crosses], np.minimum(piece.start + found[crosses], piece.end)

    def _search(self, k: int, x: np.ndarray, rates: np.ndarray, which: np.ndarray, length: np.ndarray) -> np.ndarray:
        n = self.neurons[k]
        assert n.threshold is not None
        third = n.threshold.third(rates, length, which)
        try:
            return first_crossing(n.along("search", x, which), third, np.zeros(which.size), length)
        except Unfinished as e:
            raise EngineError(
                f"population {n.name!r}: no first crossing was found for neuron {which[e.lane]} from {self.t:.9g} s on"
            ) from None

    def _spikes(self, k: int, which: np.ndarray, times: np.ndarray, limit: float) -> list[Event]:
        """All spikes of neurons up to the limit, the first times given."""
        n = self.neurons[k]
        events: list[Event] = []
        x, base = self.x[k][:, which], np.full(which.size, self.t)
        while which.size:
            before = n("flow", *x, s=times - base, which=which)
            self.smallest_gdot = min(self.smallest_gdot, float(n("search", *before, which=which)[1].min()))
            events += [
                Event(k, int(j), float(t), before[:, i].copy(), -1)
                for i, (j, t) in enumerate(zip(which, times, strict=True))
            ]
            x, base = self._reset(k, before, which, times), times
            rest = limit - base
            again = np.flatnonzero(rest > 0)
            if not again.size:
                break
            which, x, base = which[again], x[:, again], base[again]
            found = self._search(k, x, n("rate", *x, which=which), which, rest[again])
            hit = np.isfinite(found)
            which, x, base = which[hit], x[:, hit], base[hit]
            times = np.minimum(base + found[hit], limit)
        return events

    def _reset(self, k: int, before: np.ndarray, which: np.ndarray, times: np.ndarray) -> np.ndarray:
        n = self.neurons[k]
        after = n("reset", *before, which=which)
        if (bad := np.flatnonzero(n.above(after, which))).size:
            raise EngineError(
                f"population {n.name!r}: neuron {which[bad[0]]} is still at or above its threshold after the reset at "
                f"{times[bad[0]]:.9g} s, so its next spike has no time; lower the reset value or the weights"
            )
        return after

    def _emit(self, event: Event) -> None:
        spikes = self.spikes[self.first + event.population]
        event.spike = len(spikes.times)
        spikes.times.append(event.time)
        spikes.neurons.append(event.neuron)
        spikes.places.append(int(self.counts[event.population][event.neuron]))
        self.counts[event.population][event.neuron] += 1

    # --- ends of pieces -------------------------------------------------------------------------------------------

    def _finish(self, piece: Piece) -> None:
        for k, x in self.x.items():
            if not np.isfinite(x).all():
                j = int(np.flatnonzero(~np.isfinite(x).all(axis=0))[0])
                raise EngineError(
                    f"population {self.neurons[k].name!r}: the state of neuron {j} is no longer finite at "
                    f"{piece.end:.9g} s: {dict(zip(self.neurons[k].rules.states, x[:, j].tolist(), strict=True))}"
                )
        if self.output < 0 or piece.end == piece.start:
            return
        number = len(self.tape.pieces) - 1
        x = self.x[self.output]
        taken = len(self.tape.sampled)
        if taken < self.sample_times.size and piece.end >= self.sample_times[taken]:
            self.tape.sampled.append(number)
            self.tape.samples.append(x[self.observed].copy())
        if (best := self.tape.maxima) is not None:
            slope = self.neurons[self.output]("rate", *x)[self.observed]
            best.offer(x[self.observed], Maxima.EDGE, number, piece.end, slope, slope >= 0)

    def _refuse_above(self) -> None:
        for n, x in zip(self.neurons.values(), self.x.values(), strict=True):
            if n.spiking and (above := np.flatnonzero(n("event", *x)[0] > 0)).size:
                raise EngineError(
                    f"population {n.name!r}: neuron {above[0]} is above its threshold at time 0; "
                    "lower its initial state or raise the threshold"
                )

    # --- maxima ---------------------------------------------------------------------------------------------------

    def _after_jump(self, before: np.ndarray, arrivals: Sequence[Arrival]) -> None:
        """Offer the values just after arrivals that move the observed state."""
        if (best := self.tape.maxima) is None:
            return
        n, x = self.neurons[self.output], self.x[self.output]
        jumped = x[self.observed] != before[self.observed]
        if jumped.any():
            slope = n("rate", *x)[self.observed]
            best.offer(x[self.observed], Maxima.JUMP, len(self.tape.pieces), self.t, slope, jumped)

    def _inside(self, piece: Piece) -> None:
        """Smooth maxima within a piece: upward crossings of 0 by minus the slope."""
        n, best, length = self.neurons[self.output], self.tape.maxima, piece.end - piece.start
        assert best is not None and n.peak is not None
        x = self.x[self.output]
        rates = n("rate", *x)
        which = np.flatnonzero(x[self.observed] + n.peak.rise(rates, length) > best.value)
        if not which.size:
            return
        x = x[:, which]
        high, low = n.peak.third(rates[:, which], np.full(which.size, length), which)
        at = n.along("peak", x, which, 1)
        falling = rates[self.observed, which] <= 0
        tau, leaving = np.zeros(which.size), False
        live = np.arange(which.size)
        for _ in range(MAX_PEAKS):
            # the next maximum of those that rise, the next minimum of those that fall
            sign = np.where(falling, -1.0, 1.0)
            third = (np.where(falling, -low, high)[live], np.where(falling, -high, low)[live])

            try:
                ends = np.full(live.size, length)
                found = first_crossing(_signed(at, live, sign[live]), third, tau[live], ends, leaving=leaving)
            except Unfinished as e:
                raise EngineError(
                    f"population {n.name!r}: no maximum was found for neuron {which[live[e.lane]]} from "
                    f"{self.t:.9g} s on"
                ) from None
            # a point that doesn't move on is an inflection with level tangent
            go = np.isfinite(found) & ((found > tau[live]) | ~np.full(live.size, leaving))
            live, found = live[go], found[go]
            if not live.size:
                return
            top = ~falling[live]
            if top.any():
                values, lanes = np.full(n.n, -np.inf), live[top]
                times = np.zeros(n.n)
                values[which[lanes]] = n("flow", *x[:, lanes], s=found[top], which=which[lanes])[self.observed]
                times[which[lanes]] = np.minimum(piece.start + found[top], piece.end)
                number = len(self.tape.pieces) - 1
                best.offer(values, Maxima.INSIDE, number, times, np.zeros(n.n), np.isfinite(values))
            tau[live] = found
            falling[live] = ~falling[live]
            leaving = True
        raise EngineError(f"population {n.name!r}: more than {MAX_PEAKS} maxima of a neuron from {self.t:.9g} s on")


def _signed(along: Along, lanes: np.ndarray, sign: np.ndarray) -> Along:
    """The function for some of its lanes, in some of them its negative."""
    return lambda some, times: along(lanes[some], times) * sign[some]
