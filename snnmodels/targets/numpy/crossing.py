"""The first upward crossing of 0 of a function along a flow, by steps that can't pass one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["Along", "OutOfRange", "TooManySteps", "Unfinished", "first_crossing"]

Along = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""``f(lanes, times)``: a function and its first two derivatives by time, shape (3, n_lanes)."""

ROUNDS = 2000
CLOSE = 2.0**-54  # of the time that is searched


class Unfinished(RuntimeError):
    """A search didn't end; `lane` is the first that is left."""

    def __init__(self, lane: int) -> None:
        super().__init__(lane)
        self.lane = lane


class TooManySteps(Unfinished):
    """Steps that shrink without end; `lane` is the neuron."""


class OutOfRange(Unfinished):
    """A function whose bounds are beyond the range of numbers, so that nothing tells whether it crosses."""


def first_crossing(
    along: Along,
    third: tuple[np.ndarray, np.ndarray],
    start: np.ndarray,
    rest: np.ndarray,
    *,
    leaving: bool = False,
) -> np.ndarray:
    """Times of the first crossings, from 0, inf where there is none until `rest`.

    With a bound of the third derivative, the parabola through value and slope, its bend raised by a third of the bound
    times w, is nowhere below the function within w. Its root is therefore before the crossing (Newton's step, from the
    safe side), and where it has none, there is no crossing within w.

    Parameters
    ----------
    along : callable
        See `Along`.
    third : tuple of array, shape (m,)
        Largest and smallest third derivative from `start` to `rest`.
    start, rest : array, shape (m,)
        Where the search begins and ends.
    leaving : bool
        Whether the function has just crossed 0 downward at the start, where rounding may still have it above.

    Raises
    ------
    Unfinished
        If a search takes too many steps.
    OutOfRange
        If a bound is not finite.
    """
    if not (known := np.isfinite(third[0]) & np.isfinite(third[1])).all():
        raise OutOfRange(int(known.argmin()))
    found = np.full(rest.size, np.inf)
    live = np.flatnonzero(rest > start)
    tau = start[live].copy()
    w = rest[live] - tau
    upper, lower = np.maximum(third[0], 0.0), np.maximum(-third[1], 0.0)
    for turn in range(ROUNDS):
        if not live.size:
            return found
        g, slope, bend = along(live, tau)
        if leaving and turn == 0:
            g = np.minimum(g, 0.0)
        left = rest[live] - tau
        up = upper[live]
        # at 0 with no slope and no bend upward the raised parabola would cross at once, however short w is
        flat = (g == 0) & (slope == 0) & (bend <= 0) & (up > 0)
        if flat.any():
            w = np.where(flat, np.minimum(w, np.where(bend < 0, -3 * bend / np.where(flat, up, 1.0), w / 1024)), w)
        raised = np.where(flat, bend, bend + up * w / 3)
        root = np.sqrt(np.maximum(slope * slope - 2 * raised * g, 0.0))
        rising = slope > 0
        step = np.where(rising, -2 * g, root - slope) / np.where(rising, slope + root, raised)
        possible = np.where(rising, slope * slope >= 2 * raised * g, raised > 0) & ~flat
        step = np.where(possible, step, np.inf)
        step[g > 0] = 0.0
        step = np.maximum(step, 0.0)
        free = ~(step <= w)
        tau = tau + np.where(free, w, step)
        # the parabola is above the function by no more than this, so the next step would be no longer than `error`
        error = (up * w + lower[live] * step) * step * step / (6 * np.maximum(slope + raised * step, 1e-300))
        close = ~free & ((error <= CLOSE * rest[live]) | (g > 0))
        found[live[close]] = np.minimum(tau, rest[live])[close]
        # close to the root a window of a few steps makes the bound tight, and convergence quadratic
        w = np.where(free, 4 * w, 4 * step)
        go = ~(close | (free & (w >= 4 * left)))
        live, tau, w = live[go], tau[go], w[go]
        w = np.minimum(w, rest[live] - tau)
        out = w <= 0  # a step that ends exactly at the end found its crossing, or none: it has been seen
        if out.any():
            g = along(live[out], tau[out])[0]
            hit = live[out][g >= 0]
            found[hit] = rest[hit]
            live, tau, w = live[~out], tau[~out], w[~out]
    if live.size:
        raise Unfinished(int(live[0]))
    return found
