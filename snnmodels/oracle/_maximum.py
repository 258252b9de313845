"""Where a state of a neuron is largest in a trial, and on what kind of point."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import brentq

from ._flow import Integrator
from ._forward import _NODES, ArrivalEvent, Segment, Source, SpikeEvent, Tape


@dataclass(frozen=True)
class Peak:
    """The largest value of a state in one trial.

    Attributes
    ----------
    kind : str
        ``"smooth"`` (the derivative vanishes), ``"arrival"`` or ``"spike"`` (a kink or step there, so the time of the
        maximum moves with that event), ``"start"`` or ``"end"`` of the trial.
    source : Source or None
        The spike whose arrival, or which itself, makes the kink.
    after : bool
        Whether it is the value just after that event, rather than just before.
    entry : int
        Index of the segment or event in the tape; -1 for the ends of the trial.
    """

    value: float
    time: float
    kind: str
    source: Source | None = None
    after: bool = False
    entry: int = -1


def find_peak(tape: Tape, integrator: Integrator, population: int, state: int, neuron: int) -> Peak:
    """The peak of one state of one neuron; the earliest if several are equal."""
    best = Peak(float(tape.initial[population][state, neuron]), 0.0, "start")
    for peak in _candidates(tape, integrator, population, state, neuron):
        if peak.value > best.value:
            best = peak
    return best


def _candidates(tape: Tape, integrator: Integrator, population: int, state: int, neuron: int) -> Iterator[Peak]:
    """Every local maximum over the trial, in the order of time."""

    def value(y: np.ndarray) -> float:
        return float(integrator.x.split(y)[population][state, neuron])

    def rate(y: np.ndarray) -> float:
        return value(integrator.rates(y))

    segments = [n for n, entry in enumerate(tape.entries) if isinstance(entry, Segment)]
    last_time = 0.0
    for n in segments:
        segment = tape.entries[n]
        assert isinstance(segment, Segment)
        yield _edge(tape, n, -1, value(segment.y0), segment.t0, population, neuron)
        for piece in segment.pieces:
            stop = min(piece.t1, segment.t1)
            times = piece.t0 + _NODES * (stop - piece.t0)
            rates = [rate(piece.at(t)) for t in times]
            for (a, ra), (b, rb) in pairwise(zip(times, rates, strict=True)):
                if ra > 0 > rb:
                    top = float(brentq(lambda t, piece=piece: rate(piece.at(t)), a, b, xtol=1e-18))
                    yield Peak(value(piece.exact(top)), top, "smooth", entry=n)
        yield _edge(tape, n, 1, value(segment.y1), segment.t1, population, neuron)
        last_time = segment.t1
    yield Peak(float(tape.final[population][state, neuron]), last_time, "end")


def _edge(tape: Tape, n: int, direction: int, value: float, time: float, population: int, neuron: int) -> Peak:
    """The peak at an edge of segment n: a kink where an event touches the neuron there, else a point like any other."""
    m = n + direction
    while 0 <= m < len(tape.entries) and not isinstance(tape.entries[m], Segment):
        event = tape.entries[m]
        if isinstance(event, ArrivalEvent) and event.population == population and neuron in event.columns:
            return Peak(value, time, "arrival", event.source, direction < 0, m)
        if isinstance(event, SpikeEvent) and event.population == population and event.spike.neuron == neuron:
            return Peak(value, time, "spike", event.spike, direction < 0, m)
        m += direction
    if m < 0:
        return Peak(value, time, "start")
    # at the very end of the trial, or untouched inside it
    return Peak(value, time, "end") if m >= len(tape.entries) else Peak(value, time, "smooth", entry=n)
