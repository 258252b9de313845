"""Where a state of a neuron is largest in a trial, and on what kind of point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from ._flow import Integrator, Piece
from ._forward import NODES, ArrivalEvent, Segment, Source, SpikeEvent, Tape, TurnEvent


@dataclass(frozen=True)
class Peak:
    """The largest value of a state in one trial.

    Attributes
    ----------
    kind : str
        ``"smooth"`` (the derivative vanishes), ``"arrival"``, ``"spike"`` or ``"turn"`` of a condition (a kink or step
        there, so the time of the maximum moves with that event), ``"start"`` or ``"end"`` of the trial. The end of a
        refractory period is none of its own: a state that was held has its maximum where the plateau began.
    source : Source or None
        The spike whose arrival, or which itself, makes the kink.
    after : bool
        Whether it is the value just after that event, rather than just before.
    entry : int
        Index of the segment or event in the tape; -1 for the ends of the trial.
    neuron : int
        Whose it is, where it is at arrivals.
    instant : tuple of int
        The arrivals at the neuron in that round of the instant, as indices in the tape.
    """

    value: float
    time: float
    kind: str
    source: Source | None = None
    after: bool = False
    entry: int = -1
    neuron: int = -1
    instant: tuple[int, ...] = ()


class _Search:
    """Visits the local maxima of one state of every neuron of a population in the order of time, and keeps the largest.

    The earliest wins where several are equal.
    """

    def __init__(self, tape: Tape, integrator: Integrator, population: int, state: int) -> None:
        self.tape, self.layout, self.population, self.state = tape, integrator.x, population, state
        self.neurons = integrator.neurons[population]
        self.best = [Peak(float(v), 0.0, "start") for v in tape.initial[population][state]]

    def run(self) -> list[Peak]:
        """The peak of every neuron."""
        last_time = 0.0
        for n, segment in enumerate(self.tape.entries):
            if isinstance(segment, Segment):
                self._edges(n, -1, segment.y0, segment.t0)
                for piece in segment.pieces:
                    self._inside(n, piece, min(piece.t1, segment.t1))
                self._edges(n, 1, segment.y1, segment.t1)
                last_time = segment.t1
        for j, value in enumerate(self.tape.final[self.population][self.state]):
            self._offer(j, Peak(float(value), last_time, "end"))
        return self.best

    def _offer(self, neuron: int, peak: Peak) -> None:
        if peak.value > self.best[neuron].value:
            self.best[neuron] = peak

    def _edges(self, n: int, direction: int, y: np.ndarray, time: float) -> None:
        for j, value in enumerate(self.layout.split(y)[self.population][self.state]):
            if value > self.best[j].value:
                self._offer(j, _edge(self.tape, n, direction, float(value), time, self.population, j))

    def _inside(self, n: int, piece: Piece, stop: float) -> None:
        q = self.neurons
        times = piece.t0 + NODES * (stop - piece.t0)
        x = piece.at(times)[self.layout.slices[self.population]].reshape(len(q.states), q.n * len(times))
        free = piece.free[self.population][self.state]
        p = np.stack([piece.p(t)[self.population] for t in times], axis=-1).reshape(-1, x.shape[1])
        rates = q.dynamics.f(x, p)[self.state].reshape(q.n, len(times)) * free[:, None]
        for j, m in np.argwhere((rates[:, :-1] > 0) & (rates[:, 1:] < 0)):
            own = slice(int(j), int(j) + 1)

            def rate(t: float, own: slice = own) -> float:
                x = self.layout.split(piece.at(t))[self.population][:, own]
                return float(q.dynamics.f(x, piece.p(t)[self.population][:, own])[self.state, 0])

            top = float(brentq(rate, times[m], times[m + 1], xtol=1e-18))
            value = float(self.layout.split(piece.exact(top))[self.population][self.state, j])
            self._offer(int(j), Peak(value, top, "smooth", entry=n))


def find_peaks(tape: Tape, integrator: Integrator, population: int, state: int) -> list[Peak]:
    """The peak of one state of every neuron of a population."""
    return _Search(tape, integrator, population, state).run()


def _edge(tape: Tape, n: int, direction: int, value: float, time: float, population: int, neuron: int) -> Peak:
    """The peak at an edge of segment n: a kink where an event touches the neuron there, else a point like any other."""
    m = n + direction
    while 0 <= m < len(tape.entries) and not isinstance(tape.entries[m], Segment):
        event = tape.entries[m]
        if isinstance(event, ArrivalEvent) and event.population == population and neuron in event.columns:
            instant = _round(tape, m, direction, population, neuron)
            return Peak(value, time, "arrival", event.source, direction < 0, m, neuron, instant)
        if isinstance(event, SpikeEvent) and event.population == population and event.spike.neuron == neuron:
            return Peak(value, time, "spike", event.spike, direction < 0, m)
        if isinstance(event, TurnEvent) and event.population == population and event.neuron == neuron:
            return Peak(value, time, "turn", None, direction < 0, m)
        m += direction
    if m < 0:
        return Peak(value, time, "start")
    # at the very end of the trial, or untouched inside it
    return Peak(value, time, "end") if m >= len(tape.entries) else Peak(value, time, "smooth", entry=n)


def _round(tape: Tape, m: int, direction: int, population: int, neuron: int) -> tuple[int, ...]:
    """Arrivals at a neuron from event m on, forward or backward, up to a spike, with which another round begins."""
    found = []
    while 0 <= m < len(tape.entries) and not isinstance(tape.entries[m], Segment | SpikeEvent):
        event = tape.entries[m]
        if isinstance(event, ArrivalEvent) and event.population == population and neuron in event.columns:
            found.append(m)
        m += direction
    return tuple(sorted(found))
