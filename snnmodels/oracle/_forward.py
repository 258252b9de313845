"""One trial forward: states between events, threshold crossings, arrivals, releases, in the order of time.

What happened is kept as a tape of segments, arrivals, releases and spikes, which the backward pass reads from its end.

What happens at one instant is ordered so:

1. Neurons whose flow reaches the threshold at that very time spike, all of them before anything is delivered, with the
   currents as they were. Then currents that have a knot there are what they will be.
2. Refractory periods that are over end, and all arrivals due then are applied, in the order of projection, source
   neuron and spike. Only then the thresholds are tested: a neuron that is above now and was not before spikes. Its
   cause is the release or arrival after which g last went from at most 0 to above 0.
3. Spikes without delay make more arrivals at the same instant: 2 is repeated until no neuron spikes.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import brentq

from ..templates.network import Network
from ._currents import Interval, intervals
from ._flow import Integrator, Piece
from ._neurons import Array, Neurons
from ._sources import amplitudes

MAX_SPIKES = 100_000
NODES = np.linspace(0.0, 1.0, 6)  # samples of g within one solver step, in which a trajectory bends at most once or so
_EPS = float(np.finfo(float).eps)
_MARGIN = 1e-6  # of a step: far more than an interpolant is off
_SAME = 1e-11  # of a step: as far as rounding puts two roots of one function apart


@dataclass(frozen=True)
class Segment:
    """A trajectory from t0 to t1, between two knots; its last piece may reach beyond t1."""

    t0: float
    t1: float
    pieces: tuple[Piece, ...]
    y0: Array
    y1: Array
    interval: Interval


@dataclass(frozen=True)
class Source:
    """Spike number `index` of one neuron of a population or an input."""

    name: str
    neuron: int
    index: int


@dataclass(frozen=True, eq=False)
class ArrivalEvent:
    """A spike reaches the neurons `columns` of a population; `before` are their states, shape (n_states, m).

    `held` says whether they are refractory then, all or none of them; `p` are the parameters of the whole population.
    """

    time: float
    source: Source
    projection: int
    population: int
    columns: Array
    before: Array
    held: bool
    p: Array
    amplitude: float = 1.0


@dataclass(frozen=True, eq=False)
class ReleaseEvent:
    """The refractory period after a spike of a neuron ends; `before` is its state, shape (n_states, 1)."""

    time: float
    spike: Source
    population: int
    before: Array
    p: Array


@dataclass(frozen=True, eq=False)
class SpikeEvent:
    """A neuron spikes; `cause` is what carried it across threshold where the flow did not."""

    time: float
    spike: Source
    population: int
    before: Array
    gdot: float
    cause: ArrivalEvent | ReleaseEvent | None
    p: Array


@dataclass(frozen=True, eq=False)
class TurnEvent:
    """Event `number` of a neuron's model that is no spike; `before` is its state, shape (n_states, 1).

    `since` is when the currents were as in its interval.
    """

    time: float
    since: float
    population: int
    neuron: int
    number: int
    before: Array
    gdot: float
    p: Array


Event = ArrivalEvent | ReleaseEvent | SpikeEvent
Entry = Segment | Event | TurnEvent
Crossing = tuple[int, int, int]
"""Population, neuron, and which of its event functions crosses 0, by its place among those that are watched."""
Firing = dict[tuple[int, int], ArrivalEvent | ReleaseEvent | None]
"""Neurons (population, index) that spike now, each with its cause."""


@dataclass
class Tape:
    """What happened in one trial, in the order of time.

    Attributes
    ----------
    spikes : list
        Spike times per population and neuron.
    sent : dict of (int, int) to list of float
        By projection and source neuron: when spikes were sent, where their weights are multiplied by something.
    initial, final : list of array
        States per population at time 0 and, after all events, at the end.
    """

    initial: list[Array]
    final: list[Array] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    spikes: list[list[list[float]]] = field(default_factory=list)
    sent: dict[tuple[int, int], list[float]] = field(default_factory=dict)


class Trial:
    """Runs one trial.

    Parameters
    ----------
    inputs : mapping-like of str to array, shape (n, k)
        Spike times of every input in this trial.
    samples : mapping-like of str to array, shape (n, samples)
        Of every current.
    """

    def __init__(
        self,
        network: Network,
        neurons: list[Neurons],
        integrator: Integrator,
        inputs: dict[str, Array],
        samples: dict[str, Array],
    ) -> None:
        self.network, self.neurons, self.integrator = network, neurons, integrator
        self.index = {q.name: k for k, q in enumerate(neurons)}
        self.intervals, self.place = intervals(network, neurons, samples), 0
        self.p = self.intervals[0](0.0)
        self.outgoing: dict[str, list[int]] = {}
        for number, projection in enumerate(network.projections):
            self.outgoing.setdefault(projection.source, []).append(number)
        self.weights = [np.asarray(p.weights, dtype=float) for p in network.projections]
        self.delays = [np.broadcast_to(p.delay, np.shape(p.weights)) for p in network.projections]
        # arrivals as (time, projection, source neuron, spike, columns), releases as (time, population, neuron, spike)
        self.arrivals: list[tuple[float, int, int, int, Array]] = []
        self.releases: list[tuple[float, int, int, int]] = []
        self.amplitudes = amplitudes(network)
        self.sent: dict[tuple[int, int, int], float] = {}  # by projection, source neuron and spike
        self.held = [np.zeros(q.n, dtype=bool) for q in neurons]
        self.n_spikes = 0
        self.t = 0.0
        self.x = [q.initial() for q in neurons]
        self._decide(None)
        self.tape = Tape([x.copy() for x in self.x], spikes=[[[] for _ in range(q.n)] for q in neurons])
        for name, times in inputs.items():
            for neuron, index in np.argwhere(np.isfinite(times)):  # each neuron's in the order of time
                self._send(Source(name, int(neuron), int(index)), float(times[neuron, index]))
        self._refuse_above_threshold("at time 0")

    def run(self) -> Tape:
        """The tape of the whole trial."""
        while True:
            goal = min(self._next(), self._knot(), self.network.duration)
            crossing = self._advance(goal)
            firing: Firing = {}
            for k, j, m in crossing:
                number = m - self.neurons[k].dynamics.spiking
                if number < 0:
                    firing[k, j] = None
                else:
                    self._turn(k, j, number)
            if not crossing and self._next() > self.t and not self.t < self.network.duration:
                self.tape.final = self.x
                return self.tape
            while firing or self._next() <= self.t:
                for (k, j), cause in firing.items():
                    self._spike(k, j, cause)
                self._enter()
                firing = self._deliver()
            self._enter()

    def _knot(self) -> float:
        """Time of the next knot of a current."""
        return self.intervals[self.place + 1].start if self.place + 1 < len(self.intervals) else np.inf

    def _enter(self) -> None:
        """Currents are what they are just after a knot at this time, if there is one."""
        while self._knot() <= self.t:
            self.place += 1
            self._decide(self.intervals[self.place - 1])
        self.p = self.intervals[self.place](self.t)

    def _decide(self, before: Interval | None) -> None:
        """Decide anew the conditions that read a current which has jumped to where it is now."""
        now = self.intervals[self.place]
        values = now(self.t)
        for k, q in enumerate(self.neurons):
            for place in now.jumps(k, before):
                if q.dynamics.redecided[place].none:
                    continue
                was = q.p[q.n_own + place] if before is None else before(self.t)[k][q.n_own + place]
                moved = np.flatnonzero(values[k][q.n_own + place] != was)
                after = q.dynamics.redecided[place].after
                if moved.size:
                    self.x[k][:, moved] = after(self.x[k][:, moved], values[k][:, moved])

    def _next(self) -> float:
        """Time of the next arrival or release."""
        return min([queue[0][0] for queue in (self.arrivals, self.releases) if queue], default=np.inf)

    # -- flow ---------------------------------------------------------------------------------------------------------

    def _advance(self, goal: float) -> list[Crossing]:
        """Integrate up to the next crossing, or to the goal; what crosses there."""
        if self.t >= goal:
            return []
        y0, t0 = self.integrator.x.join(self.x), self.t
        free = tuple(q.free(held) for q, held in zip(self.neurons, self.held, strict=True))
        pieces: list[Piece] = []
        crossing: list[Crossing] = []
        interval = self.intervals[self.place]
        for piece in self.integrator.forward(y0, t0, goal, free, interval, interval.start):
            pieces.append(piece)
            self.t, crossing = self._first_crossings(piece)
            if crossing:
                break
        y1 = pieces[-1].exact(self.t) if crossing else pieces[-1].y1
        self.tape.entries.append(Segment(t0, self.t, tuple(pieces), y0, y1, interval))
        self.p = interval(self.t)
        self.x = [x.copy() for x in self.integrator.x.split(y1)]
        if crossing:
            # by rounding another may be beyond its threshold at the very time that was found for the first
            crossing = sorted({*crossing, *((k, j, 0) for k, j in self._above())})
            # of one neuron the spike comes first, and may undo what else would have been
            crossing = [c for n, c in enumerate(crossing) if n == 0 or c[:2] != crossing[n - 1][:2]]
        return crossing

    def _above(self) -> list[tuple[int, int]]:
        """Neurons that are above their threshold and not refractory."""
        found = []
        for k, q in enumerate(self.neurons):
            if q.dynamics.spiking:
                above = (q.dynamics.event(self.x[k], self.p[k])[0] > 0) & ~self.held[k]
                found += [(k, int(j)) for j in np.flatnonzero(above)]
        return found

    def _first_crossings(self, piece: Piece) -> tuple[float, list[Crossing]]:
        """Time of the earliest upward crossing within a piece and who crosses then; its end where nobody does."""
        times = piece.t0 + NODES * (piece.t1 - piece.t0)
        times[-1] = piece.t1
        samples = np.column_stack([piece.y0, piece.at(times[1:-1]), piece.y1])
        parameters = [piece.p(t) for t in times]
        roots: list[tuple[float, Crossing]] = []
        # roots on the interpolant that come this much after the first may be before it
        margin, latest = _MARGIN * (piece.t1 - piece.t0), np.inf
        for k, q in enumerate(self.neurons):
            x = samples[self.integrator.x.slices[k]].reshape(len(q.states), q.n * len(times))
            p = np.stack([each[k] for each in parameters], axis=-1).reshape(-1, x.shape[1])
            for m, function in enumerate(q.dynamics.watched):
                values = function(x, p).reshape(2, q.n, len(times))
                g, gdot = values[0].T, values[1].T
                above = (g > 0) & ~self.held[k]
                # between two samples below threshold the neuron may still have been above it, if g turned there
                turned = (g[:-1] <= 0) & (g[1:] <= 0) & (gdot[:-1] > 0) & (gdot[1:] < 0) & ~self.held[k]
                for j in np.flatnonzero(above.any(axis=0) | turned.any(axis=0)):
                    who = (k, int(j), m)
                    bracket = self._bracket(piece, who, times, above[:, j], turned[:, j])
                    if bracket is not None and bracket[0] <= latest:
                        root = self._root(piece, who, *bracket)
                        if root is not None:
                            roots.append((root, who))
                            latest = min(latest, root + margin)
        exact = [(self._polish(piece, root, who), who) for root, who in roots if root <= latest]
        # where a spike and another event of a neuron are the crossing of one surface, it spikes
        spikes = {who[:2]: t for t, who in exact if who[2] == 0 and self.neurons[who[0]].dynamics.spiking}
        same = _SAME * (piece.t1 - piece.t0)
        exact = [(t, who) for t, who in exact if who[2] == 0 or abs(t - spikes.get(who[:2], np.inf)) > same]
        first = min((time for time, _ in exact), default=piece.t1)
        return first, [who for time, who in exact if time == first]

    def _bracket(
        self, piece: Piece, who: Crossing, times: Array, above: Array, turned: Array
    ) -> tuple[float, float] | None:
        for m in range(len(times) - 1):
            if turned[m]:
                top = brentq(lambda t: self._event(piece, t, who)[1], times[m], times[m + 1])
                if self._event(piece, top, who)[0] > 0:
                    return float(times[m]), float(top)
            if above[m + 1]:
                return float(times[m]), float(times[m + 1])
        return None

    def _root(self, piece: Piece, who: Crossing, low: float, high: float) -> float | None:
        """Time of the crossing on the interpolant; None where the function is only leaving 0 downwards."""
        g, gdot = self._event(piece, low, who)
        if g >= 0:
            rises = self._event(piece, high, who)[1] > 0
            if gdot > 0 or (gdot == 0 and rises):
                return low
            # it has just turned its sign here, and rounding has it above: it stays there or has to come below first
            if not rises:
                return None
            low = float(brentq(lambda t: self._event(piece, t, who)[1], low, high))
        return float(brentq(lambda t: self._event(piece, t, who)[0], low, high, xtol=1e-18, rtol=4 * _EPS))

    def _polish(self, piece: Piece, t: float, who: Crossing) -> float:
        """Time of the crossing to rounding, by Newton on re-integrated states."""
        for _ in range(4):
            g, gdot = self._event(piece, t, who, piece.exact)
            if g == 0 or gdot <= 0:
                break
            step = g / gdot
            t = min(max(t - step, piece.t0), piece.t1)
            if abs(step) <= 2 * _EPS * t:
                break
        return t

    def _event(
        self, piece: Piece, t: float, who: Crossing, at: Callable[[float], Array] | None = None
    ) -> tuple[float, float]:
        """An event function and its rate for one neuron at a time of a piece."""
        k, j, m = who
        q, own = self.neurons[k], slice(j, j + 1)
        x = self.integrator.x.split((at or piece.at)(t))[k][:, own]
        g, gdot = q.dynamics.watched[m](x, piece.p(t)[k][:, own])[:, 0]
        return float(g), float(gdot)

    # -- events -------------------------------------------------------------------------------------------------------

    def _send(self, spike: Source, time: float) -> None:
        for number in self.outgoing.get(spike.name, ()):
            if (of := self.amplitudes[number]) is not None:
                sent = self.tape.sent.setdefault((number, spike.neuron), [])
                sent.append(time)
                self.sent[number, spike.neuron, spike.index] = float(of.of(sent)[-1].real)
            mask = self.network.projections[number].mask
            delays = self.delays[number][spike.neuron]
            columns = np.arange(delays.size) if mask is None else np.flatnonzero(mask[spike.neuron])
            times = time + delays[columns]
            for arrival in np.unique(times):
                if arrival <= self.network.duration:
                    reached = columns[times == arrival]
                    heapq.heappush(self.arrivals, (float(arrival), number, spike.neuron, spike.index, reached))

    def _spike(self, k: int, j: int, cause: ArrivalEvent | ReleaseEvent | None) -> None:
        self.n_spikes += 1
        if self.n_spikes > MAX_SPIKES:
            raise RuntimeError(f"network {self.network.name!r}: more than {MAX_SPIKES} spikes by {self.t:.6g} s")
        q, own = self.neurons[k], slice(j, j + 1)
        times = self.tape.spikes[k][j]
        if times and times[-1] == self.t:
            raise RuntimeError(
                f"population {q.name!r}: neuron {j} would spike twice at {self.t:.9g} s: the cascade of spikes without "
                "delay does not end; give projections a delay or neurons a refractory period"
            )
        before = self.x[k][:, own].copy()
        p = self.p[k]
        gdot = float(q.dynamics.event(before, p[:, own])[1, 0])
        spike = Source(q.name, j, len(times))
        times.append(self.t)
        self.tape.entries.append(SpikeEvent(self.t, spike, k, before, gdot, cause, p))
        self.x[k][:, own] = after = q.dynamics.after_spike(before, p[:, own])
        if q.dynamics.refractory:
            self.held[k][j] = True
            release = self.t + float(q.durations[j])
            if release <= self.network.duration:
                heapq.heappush(self.releases, (release, k, j, spike.index))
        else:
            self._refuse_at_threshold(k, j, after)
        self._send(spike, self.t)

    def _turn(self, k: int, j: int, number: int) -> None:
        q, own = self.neurons[k], slice(j, j + 1)
        turn = q.dynamics.turns[number]
        before = self.x[k][:, own].copy()
        gdot = float(turn.event(before, self.p[k][:, own])[1, 0])
        since = self.intervals[self.place].start
        self.tape.entries.append(TurnEvent(self.t, since, k, j, number, before, gdot, self.p[k]))
        self.x[k][:, own] = after = turn.after(before, self.p[k][:, own])
        if turn.event(after, self.p[k][:, own])[1, 0] > 0:
            raise ValueError(
                f"population {q.name!r}: neuron {j} is driven back across a condition of its equations at "
                f"{self.t:.9g} s, from either side"
            )

    def _deliver(self) -> Firing:
        """End the refractory periods and apply the arrivals that are due; who spikes of that, with its cause."""
        crossed: Firing = {}
        while self.releases and self.releases[0][0] <= self.t:
            _, k, j, index = heapq.heappop(self.releases)
            self._release(k, j, index, crossed)
        while self.arrivals and self.arrivals[0][0] <= self.t:
            _, number, neuron, index, columns = heapq.heappop(self.arrivals)
            projection = self.network.projections[number]
            k, source = self.index[projection.target], Source(projection.source, neuron, index)
            held = self.held[k][columns]
            for phase in (False, True):
                if (held == phase).any():
                    self._arrive(source, number, k, columns[held == phase], phase, crossed)
        return dict(sorted(crossed.items(), key=lambda item: item[0]))

    def _release(self, k: int, j: int, index: int, crossed: Firing) -> None:
        q, own = self.neurons[k], slice(j, j + 1)
        self.held[k][j] = False
        x = self.x[k][:, own].copy()
        event = ReleaseEvent(self.t, Source(q.name, j, index), k, x, self.p[k])
        self.tape.entries.append(event)
        if q.dynamics.event(x, self.p[k][:, own])[0, 0] > 0:
            crossed[k, j] = event

    def _arrive(self, source: Source, number: int, k: int, columns: Array, held: bool, crossed: Firing) -> None:
        q = self.neurons[k]
        before, p = self.x[k][:, columns], self.p[k][:, columns]
        receptor = q.dynamics.receptor(self.network.projections[number].receptor, held)
        amplitude = self.sent.get((number, source.neuron, source.index), 1.0)
        after = receptor.after(before, p, self.weights[number][source.neuron, columns][None] * amplitude)
        event = ArrivalEvent(self.t, source, number, k, columns, before, held, self.p[k], amplitude)
        self.tape.entries.append(event)
        self.x[k][:, columns] = after
        if q.dynamics.spiking and receptor.can_fire:
            was, now = q.dynamics.event(before, p)[0] > 0, q.dynamics.event(after, p)[0] > 0
            for j in columns[now & ~was]:
                crossed[k, int(j)] = event
            for j in columns[~now]:
                crossed.pop((k, int(j)), None)

    def _refuse_at_threshold(self, k: int, j: int, after: Array) -> None:
        q = self.neurons[k]
        if q.dynamics.system.may_stay_above:
            return  # it may stay above, and spikes again when it has been below
        g, rate = q.dynamics.event(after, self.p[k][:, j : j + 1])[:, 0]
        if g > 0 or (g == 0 and rate > 0):
            raise ValueError(
                f"population {q.name!r}: neuron {j} is still at or above its threshold after the reset at "
                f"{self.t:.9g} s (g = {g:.3g}), so its next spike has no time; lower the reset value or the weights"
            )

    def _refuse_above_threshold(self, when: str) -> None:
        for k, j in self._above():
            raise ValueError(f"population {self.neurons[k].name!r}: neuron {j} is above its threshold {when}")


def pad(spikes: Sequence[list[list[list[float]]]], population: int, n: int) -> Array:
    """Spike times of one population in all trials, shape (trials, n, k) with k >= 1, padded with inf."""
    width = max([1, *(len(times) for trial in spikes for times in trial[population])])
    result = np.full((len(spikes), n, width), np.inf)
    for trial, row in zip(spikes, result, strict=True):
        for j, times in enumerate(trial[population]):
            row[j, : len(times)] = times
    return result
