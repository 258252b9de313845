"""One trial forward: states between events, threshold crossings, arrivals, in the order of time.

What happened is kept as a tape of segments, arrivals and spikes, which the backward pass reads from its end.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import brentq

from ..templates.network import Network, Projection
from ._flow import Integrator, Piece
from ._neurons import Array, Neurons

MAX_SPIKES = 100_000
_NODES = np.linspace(0.0, 1.0, 6)  # samples of g within one solver step, in which a trajectory bends at most once or so
_EPS = float(np.finfo(float).eps)


@dataclass(frozen=True)
class Segment:
    """A trajectory from t0 to t1; its last piece may reach beyond t1."""

    t0: float
    t1: float
    pieces: tuple[Piece, ...]
    y0: Array
    y1: Array


@dataclass(frozen=True)
class Source:
    """Spike number `index` of one neuron of a population or an input."""

    name: str
    neuron: int
    index: int


@dataclass(frozen=True)
class ArrivalEvent:
    """A spike reaches the neurons `columns` of a population; `before` are their states, shape (n_states, m)."""

    time: float
    source: Source
    projection: int
    population: int
    columns: Array
    before: Array


@dataclass(frozen=True)
class SpikeEvent:
    """A neuron spikes; `cause` is the spike whose arrival carried it across threshold, None where the flow did."""

    time: float
    spike: Source
    population: int
    before: Array
    gdot: float
    cause: Source | None


Entry = Segment | ArrivalEvent | SpikeEvent


@dataclass
class Tape:
    """What happened in one trial, in the order of time.

    Attributes
    ----------
    spikes : list
        Spike times per population and neuron.
    initial, final : list of array
        States per population at time 0 and, after all events, at the end.
    """

    initial: list[Array]
    final: list[Array] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    spikes: list[list[list[float]]] = field(default_factory=list)


class Trial:
    """Runs one trial.

    Parameters
    ----------
    inputs : mapping-like of str to array, shape (n, k)
        Spike times of every input in this trial.
    """

    def __init__(
        self, network: Network, neurons: list[Neurons], integrator: Integrator, inputs: dict[str, Array]
    ) -> None:
        self.network, self.neurons, self.integrator = network, neurons, integrator
        self.index = {q.name: k for k, q in enumerate(neurons)}
        self.repeated = [np.repeat(q.p, len(_NODES), axis=1) for q in neurons]
        self.outgoing: dict[str, list[tuple[int, Projection]]] = {}
        for k, p in enumerate(network.projections):
            self.outgoing.setdefault(p.source, []).append((k, p))
        self.queue: list[tuple[float, int, Source, int, Projection]] = []
        self.count = 0
        self.n_spikes = 0
        self.t = 0.0
        self.x = [q.initial() for q in neurons]
        self.tape = Tape([x.copy() for x in self.x], spikes=[[[] for _ in range(q.n)] for q in neurons])
        for name, times in inputs.items():
            for neuron, index in np.argwhere(np.isfinite(times)):
                self._send(Source(name, int(neuron), int(index)), float(times[neuron, index]))
        self._refuse_above_threshold("at time 0")

    def run(self) -> Tape:
        """The tape of the whole trial."""
        while True:
            if not self._spike_of_a_tie():
                goal = min(self.queue[0][0], self.network.duration) if self.queue else self.network.duration
                if (crossing := self._advance(goal)) is not None:
                    self._spike(*crossing, cause=None)
                elif self.queue:
                    self._arrive()
                else:
                    self.tape.final = self.x
                    return self.tape

    # -- flow ---------------------------------------------------------------------------------------------------------

    def _advance(self, goal: float) -> tuple[int, int] | None:
        """Integrate up to the next crossing (population, neuron), or to the goal (None)."""
        if self.t >= goal:
            return None
        y0, t0 = self.integrator.x.join(self.x), self.t
        pieces: list[Piece] = []
        for piece in self.integrator.forward(y0, t0, goal):
            pieces.append(piece)
            if (found := self._first_crossing(piece)) is not None:
                self.t, population, neuron = found
                break
        else:
            self.t, population, neuron = goal, -1, -1
        y1 = pieces[-1].y1 if population < 0 else pieces[-1].exact(self.t)
        self.tape.entries.append(Segment(t0, self.t, tuple(pieces), y0, y1))
        self.x = [x.copy() for x in self.integrator.x.split(y1)]
        return None if population < 0 else (population, neuron)

    def _first_crossing(self, piece: Piece) -> tuple[float, int, int] | None:
        """Earliest upward crossing within a piece: (time, population, neuron)."""
        times = piece.t0 + _NODES * (piece.t1 - piece.t0)
        times[-1] = piece.t1
        samples = np.column_stack([piece.y0, piece.at(times[1:-1]), piece.y1])
        first: tuple[float, int, int] | None = None
        for k, q in enumerate(self.neurons):
            if not q.dynamics.spiking:
                continue
            x = samples[self.integrator.x.slices[k]].reshape(len(q.states), q.n * len(times))
            values = q.dynamics.event(x, self.repeated[k]).reshape(2, q.n, len(times))
            g, gdot = values[0].T, values[1].T
            above = g > 0
            # between two samples below threshold the neuron may still have been above it, if g turned there
            turned = ~above[:-1] & ~above[1:] & (gdot[:-1] > 0) & (gdot[1:] < 0)
            for j in np.flatnonzero(above.any(axis=0) | turned.any(axis=0)):
                bracket = self._bracket(piece, k, int(j), times, above[:, j], turned[:, j])
                if bracket is not None and (first is None or bracket[0] < first[0]):
                    root = self._root(piece, k, int(j), *bracket)
                    first = min(first or (root, k, int(j)), (root, k, int(j)))
        return None if first is None else (self._polish(piece, *first), *first[1:])

    def _bracket(
        self, piece: Piece, k: int, j: int, times: Array, above: Array, turned: Array
    ) -> tuple[float, float] | None:
        for m in range(len(times) - 1):
            if turned[m]:
                top = brentq(lambda t: self._event(piece.at(t), k, j)[1], times[m], times[m + 1])
                if self._event(piece.at(top), k, j)[0] > 0:
                    return float(times[m]), float(top)
            if above[m + 1]:
                return float(times[m]), float(times[m + 1])
        return None

    def _root(self, piece: Piece, k: int, j: int, low: float, high: float) -> float:
        """Time of the crossing on the interpolant."""
        if self._event(piece.at(low), k, j)[0] >= 0:
            return low
        return float(brentq(lambda t: self._event(piece.at(t), k, j)[0], low, high, xtol=1e-18, rtol=4 * _EPS))

    def _polish(self, piece: Piece, t: float, k: int, j: int) -> float:
        """Time of the crossing to rounding, by Newton on re-integrated states."""
        for _ in range(4):
            g, gdot = self._event(piece.exact(t), k, j)
            if g == 0 or gdot <= 0:
                break
            step = g / gdot
            t = min(max(t - step, piece.t0), piece.t1)
            if abs(step) <= 2 * _EPS * t:
                break
        return t

    def _event(self, y: Array, k: int, j: int) -> tuple[float, float]:
        """Event function and its rate for one neuron."""
        q = self.neurons[k]
        g, gdot = q.dynamics.event(self.integrator.x.split(y)[k][:, j : j + 1], q.p[:, j : j + 1])[:, 0]
        return float(g), float(gdot)

    # -- events -------------------------------------------------------------------------------------------------------

    def _send(self, spike: Source, time: float) -> None:
        for k, projection in self.outgoing.get(spike.name, ()):
            heapq.heappush(self.queue, (time, self.count, spike, k, projection))
            self.count += 1

    def _spike_of_a_tie(self) -> bool:
        """Spike of a neuron that reached threshold at the very time of the last event, beside another."""
        for k, q in enumerate(self.neurons):
            if q.dynamics.spiking:
                above = np.flatnonzero(q.dynamics.event(self.x[k], q.p)[0] > 0)
                if above.size:
                    self._spike(k, int(above[0]), cause=None)
                    return True
        return False

    def _spike(self, k: int, j: int, cause: Source | None) -> None:
        self.n_spikes += 1
        if self.n_spikes > MAX_SPIKES:
            raise RuntimeError(f"network {self.network.name!r}: more than {MAX_SPIKES} spikes by {self.t:.6g} s")
        q, own = self.neurons[k], slice(j, j + 1)
        before = self.x[k][:, own].copy()
        gdot = float(q.dynamics.event(before, q.p[:, own])[1, 0])
        times = self.tape.spikes[k][j]
        spike = Source(q.name, j, len(times))
        times.append(self.t)
        self.tape.entries.append(SpikeEvent(self.t, spike, k, before, gdot, cause))
        self.x[k][:, own] = after = q.dynamics.after_spike(before, q.p[:, own])
        g, rate = q.dynamics.event(after, q.p[:, own])[:, 0]
        if g > 0 or (g == 0 and rate > 0):
            raise ValueError(
                f"population {q.name!r}: neuron {j} is still at or above its threshold after the reset at "
                f"{self.t:.9g} s (g = {g:.3g}), so its next spike has no time; lower the reset value or the weights"
            )
        self._send(spike, self.t)

    def _arrive(self) -> None:
        time, _, source, number, projection = heapq.heappop(self.queue)
        k = self.index[projection.target]
        q = self.neurons[k]
        mask = projection.mask
        columns = np.arange(q.n) if mask is None else np.flatnonzero(mask[source.neuron])
        if not columns.size:
            return
        before, p = self.x[k][:, columns], q.p[:, columns]
        receptor = q.dynamics.receptors[projection.receptor]
        after = receptor.after(before, p, np.asarray(projection.weights, dtype=float)[source.neuron, columns][None])
        self.tape.entries.append(ArrivalEvent(time, source, number, k, columns, before))
        self.x[k][:, columns] = after
        if q.dynamics.spiking and receptor.can_fire:
            fired = (q.dynamics.event(before, p)[0] <= 0) & (q.dynamics.event(after, p)[0] > 0)
            for j in columns[fired]:
                self._spike(k, int(j), cause=source)

    def _refuse_above_threshold(self, when: str) -> None:
        for k, q in enumerate(self.neurons):
            if q.dynamics.spiking:
                above = np.flatnonzero(q.dynamics.event(self.x[k], q.p)[0] > 0)
                if above.size:
                    raise ValueError(f"population {q.name!r}: neuron {above[0]} is above its threshold {when}")


def pad(spikes: Sequence[list[list[list[float]]]], population: int, n: int) -> Array:
    """Spike times of one population in all trials, shape (trials, n, k) with k >= 1, padded with inf."""
    width = max([1, *(len(times) for trial in spikes for times in trial[population])])
    result = np.full((len(spikes), n, width), np.inf)
    for trial, row in zip(spikes, result, strict=True):
        for j, times in enumerate(trial[population]):
            row[j, : len(times)] = times
    return result
