"""States of a population at given times of a trial."""

from __future__ import annotations

import numpy as np

from ._flow import Integrator
from ._forward import Segment, Tape
from ._maximum import Peak


def find_samples(
    tape: Tape, integrator: Integrator, population: int, state: int, times: np.ndarray
) -> list[list[Peak]]:
    """One state of every neuron at every time, as points that don't move; just before an event at that time.

    Parameters
    ----------
    times : array, shape (k,)
        Seconds, positive, not after the end of the trial.

    Returns
    -------
    list of list of Peak
        By neuron, then by time.
    """
    found: list[list[Peak]] = [[] for _ in range(integrator.neurons[population].n)]
    pieces = [
        (n, piece, min(piece.t1, segment.t1))
        for n, segment in enumerate(tape.entries)
        if isinstance(segment, Segment)
        for piece in segment.pieces
    ]
    # grid times are rounded, and so is the end of the last segment
    ends = np.array([end for *_, end in pieces])
    ends[-1] = np.inf
    for time in times:
        n, piece, end = pieces[int(np.searchsorted(ends, time))]
        at = min(float(time), end)
        values = integrator.x.split(piece.exact(at))[population][state]
        for row, value in zip(found, values, strict=True):
            row.append(Peak(float(value), at, "smooth", entry=n))
    return found
