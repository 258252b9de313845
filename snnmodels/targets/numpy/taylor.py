"""Taylor steps of a `Series` in NumPy: how long they are, where an event function crosses 0, and the way back.

The same rules in the same order as ``runtime/taylor.h`` of C++, so that both agree to rounding; see the comments there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from ...events.accuracy import EVENTS_APART, MAX_STEPS
from .series import COUNT, Series, bounded_exp

__all__ = [
    "ARRIVED",
    "FAILED",
    "RESTING",
    "RUNNING",
    "SPIKED",
    "Control",
    "Lanes",
    "Step",
    "first_crossing",
    "walk",
    "walk_back",
]

Array = np.ndarray

RUNNING, ARRIVED, SPIKED, FAILED, RESTING = range(5)
"""What became of a lane."""
_IDLE, _ADAPTIVE, _CAPPED, _LAST, _CROSSED = range(5)  # how a step ended

_MAX_HALVINGS = 45


def _polynomial(c: Array, t: Array) -> Array:
    """Value of polynomials with coefficients along the second axis from the end."""
    s = c[..., -1, :] * 1.0
    for k in range(c.shape[-2] - 2, -1, -1):
        s *= t
        s += c[..., k, :]
    return s


def _slope(c: Array, t: Array) -> Array:
    return _polynomial(c[..., 1:, :] * COUNT[: c.shape[-2] - 1], t)


@dataclass(frozen=True)
class Control:
    """Accuracy of the steps.

    Attributes
    ----------
    tol : float
        Error of a step, relative to `scale`.
    h_max : float
        Longest step in seconds.
    scale : sequence of float
        Absolute size of every state.
    order : int
    check : bool
        Compare P'(h) with f(P(h)) and halve steps whose defect is large.
    """

    tol: float
    h_max: float
    scale: Sequence[float]
    order: int = 12
    check: bool = True

    @property
    def factor(self) -> float:
        """Step in units of the estimated radius of convergence."""
        return self.tol ** (1 / (self.order + 1))

    @property
    def defect(self) -> float:
        """Largest defect that is let pass."""
        return max(20 * (self.order + 1) * self.tol, 1e-11)


@dataclass
class Lanes:
    """Neurons on their way; every array has one entry per lane, `x` one row per state.

    Attributes
    ----------
    x : array
        State; just before the reset after SPIKED.
    duration : array
        How far to go.
    elapsed : array
        How far it went; where it stopped, if SPIKED.
    above : array of bool
        Beyond the threshold (the first event function), which it has to cross downwards first; to be set to g > 0 after
        a jump.
    outcome : array of int
        RUNNING or RESTING to begin with.
    rate : array
        Of g at the crossing.
    rho : array
        Estimated radius of convergence at the last step.
    event : array of int
        Place of the event function that was crossed, if SPIKED.
    grazing : int
        Maxima of g that couldn't be told from the threshold.
    """

    x: Array
    duration: Array
    elapsed: Array
    above: Array
    outcome: Array
    rate: Array
    rho: Array
    event: Array
    grazing: int = 0

    @classmethod
    def of(cls, x: Array, duration: Array) -> Lanes:
        """Lanes that are about to go, below the threshold.

        Parameters
        ----------
        x : array, shape (states, lanes)
        duration : array, shape (lanes,)
            In seconds.
        """
        n = x.shape[1]
        zero = np.zeros(n)
        below, which = np.zeros(n, dtype=bool), np.zeros(n, dtype=int)
        return cls(x, duration, zero, below, np.full(n, RUNNING), zero.copy(), zero.copy(), which)


@dataclass(frozen=True)
class Step:
    """One step of all lanes: start, length, how it ended, the coefficient that set its length, the event crossed."""

    x: Array
    h: Array
    how: Array
    coefficient: Array
    event: Array


def _log2_roughly(x: Array) -> Array:
    m, exponent = np.frexp(x)
    m = 2 * m
    return (exponent - 1) + (m - 1) * (5 - m) / 3


def _log2_roughly_slope(x: Array) -> Array:
    m = 2 * np.frexp(x)[0]
    return m * (6 - 2 * m) * (np.log(2) / 3)


def walk(series: Series, c: Array, control: Control, lanes: Lanes, tape: list[Step]) -> None:
    """Move lanes that are RUNNING until none is, and append the steps to the tape.

    A lane ends as ARRIVED after its duration, SPIKED at a crossing before, or FAILED where the state is no number; one
    that has made too many steps is still RUNNING.

    Parameters
    ----------
    series : Series
    c : array, shape (constants, lanes)
    control : Control
    lanes : Lanes
        Brought up to date.
    tape : list of Step
    """
    order, n = control.order, series.n
    per_scale = 1 / np.asarray(control.scale, dtype=float)[:, None]
    at = lanes.x.copy()
    others = np.zeros((max(0, len(series.program.events) - 1), at.shape[1]), dtype=bool)  # like `above`
    for _ in range(MAX_STEPS):
        running = lanes.outcome == RUNNING
        if not running.any():
            return
        with np.errstate(over="ignore", invalid="ignore"):
            s = series.coefficients(c, at, order)
            size = np.abs(s[:n, order - 1 :]).transpose(1, 0, 2) * per_scale  # (2, states, lanes)
            size = np.where(np.isnan(size), 0.0, size)
            rate = _log2_roughly(size.max(axis=1) + 1e-300) / np.array([[order - 1], [order]])
        which = size.argmax(axis=1) + n * np.array([[0], [1]])
        second = rate[1] > rate[0]
        coefficient = np.where(second, which[1], which[0])
        lanes.rho = np.where(running, bounded_exp(-rate.max(axis=0) * np.log(2)), lanes.rho)
        adaptive = control.factor * lanes.rho
        free = adaptive < control.h_max
        rest = lanes.duration - lanes.elapsed
        h = np.where(free, adaptive, control.h_max)
        within = h < rest
        how = np.where(within, np.where(free, _ADAPTIVE, _CAPPED), _LAST)
        h = np.where(within, h, rest)

        tries = 0
        while True:
            y = _polynomial(s[:n], h)
            with np.errstate(over="ignore", invalid="ignore"):
                bad = ~np.isfinite(y).all(axis=0) & running
                checked = running & (h > 0.25 * np.minimum(adaptive, control.h_max))
                if control.check and checked.any():
                    defect = np.abs(_slope(s[:n], h) - series.coefficients(c, y, 1)[:n, 1]) * h * per_scale
                    bad |= ~(defect <= control.defect).all(axis=0) & checked
            if not bad.any():
                break
            if tries == 40 or not control.check:
                lanes.outcome = np.where(bad, FAILED, lanes.outcome)
                running = running & ~bad
                break
            tries += 1
            for lane in np.flatnonzero(bad):
                shorter = 0.5 * h[lane]
                if how[lane] == _LAST:
                    limit = adaptive[lane] if free[lane] else control.h_max
                    while limit > shorter:
                        limit *= 0.5
                    shorter = limit
                    how[lane] = _ADAPTIVE if free[lane] else _CAPPED
                h[lane] = shorter

        if series.program.events:
            h, how, y = _cross(series, c, lanes, others, s, h, how, y, running)
        steps = np.where(running, h, 0.0), np.where(running, how, _IDLE)
        tape.append(Step(at.copy(), *steps, coefficient, lanes.event.copy()))
        crossed, ended = running & (how == _CROSSED), running & (how == _LAST)
        lanes.outcome = np.where(crossed, SPIKED, np.where(ended, ARRIVED, lanes.outcome))
        lanes.elapsed = np.where(ended, lanes.duration, np.where(running, lanes.elapsed + h, lanes.elapsed))
        lanes.x = np.where(running, y, lanes.x)
        at = np.where(lanes.outcome == RUNNING, y, at)


def _cross(
    series: Series,
    c: Array,
    lanes: Lanes,
    others: Array,
    s: Array,
    h: Array,
    how: Array,
    y: Array,
    running: Array,
) -> tuple[Array, Array, Array]:
    """Step length, how the step ends and state, lanes at which an event function crosses 0 stopped there."""
    h, how, apart = h.copy(), how.copy(), EVENTS_APART * h
    crossed = np.zeros(len(h), dtype=bool)
    with np.errstate(over="ignore", invalid="ignore"):
        functions = series.events(c, s)
    for event, g in enumerate(functions):
        above = others[event - 1] if event else lanes.above
        with np.errstate(over="ignore", invalid="ignore"):
            signed = np.where(above, -g, g)
            bound = signed[0] + np.sum(np.maximum(signed[1:] * h ** np.arange(1, len(g))[:, None], 0), axis=0)
        for lane in np.flatnonzero(running & (bound > 0)):
            # only up to what was crossed before: the first of all counts, of several at once the first in order
            time, after, grazing = first_crossing(g[:, lane], h[lane], bool(above[lane]))
            above[lane] = after
            lanes.grazing += grazing
            if time is not None and (time < h[lane] - apart[lane] or not crossed[lane]):
                h[lane], how[lane], crossed[lane], lanes.event[lane] = time, _CROSSED, True, event
    if not crossed.any():
        return h, how, y
    rate = _slope(np.choose(lanes.event, functions) if len(functions) > 1 else functions[0], h)
    if not series.program.affine_event:
        for _ in range(3):
            value, gx, _ = series.event_at(c, _polynomial(s[: series.n], h), lanes.event)
            rate = np.sum(gx * _slope(s[: series.n], h), axis=0)
            correction = np.divide(value, rate, out=np.zeros_like(h), where=crossed & (rate != 0))
            h = np.where(crossed, np.maximum(h - correction, 0), h)
    lanes.rate = np.where(crossed, rate, lanes.rate)
    return h, how, _polynomial(s[: series.n], h)


def walk_back(
    series: Series,
    c: Array,
    control: Control,
    steps: Sequence[Step],
    x_bar: Array,
    time_bar: Array,
    c_bar: Array,
) -> tuple[Array, Array, Array]:
    """The reverse of `walk`.

    Parameters
    ----------
    series, c, control
        As in `walk`.
    steps : sequence of Step
    x_bar : array, shape (states, lanes)
        Cotangent of the state where the lane stopped, just before the reset.
    time_bar : array
        dL/d(time of the crossing) of lanes that SPIKED, 0 for others.
    c_bar : array, shape (constants, lanes)
        Cotangents of the constants are added.

    Returns
    -------
    x_bar, time_bar, end_bar : array
        Cotangents of the state and of the time at the start, and dL/d(time of the end) of lanes that ARRIVED.
    """
    order, n = control.order, series.n
    per_scale = 1 / np.asarray(control.scale, dtype=float)[:, None]
    end_bar = np.zeros_like(time_bar)
    lane = np.arange(x_bar.shape[1])
    for step in reversed(steps):
        s = series.coefficients(c, step.x, order)
        slopes = _slope(s[:n], step.h)
        q = np.where(step.how == _IDLE, 0.0, x_bar)
        along = np.sum(q * slopes, axis=0)
        by_h = along + time_bar
        crossed = step.how == _CROSSED
        if crossed.any():
            _, gx, gc = series.event_at(c, _polynomial(s[:n], step.h), step.event)
            rate = np.sum(gx * slopes, axis=0)
            w = np.where(crossed, by_h, 0.0) / np.where(crossed, rate, 1.0)
            q = q - w * gx
            c_bar -= w * gc
        bar = q[:, None] * step.h ** np.arange(order + 1)[:, None]
        chosen = lane[step.how == _ADAPTIVE]
        k, i = np.divmod(step.coefficient[chosen], n)
        k += order - 1
        x = s[i, k, chosen]
        slope = _log2_roughly_slope(np.abs(x) * per_scale[i, 0] + 1e-300)
        bar[i, k, chosen] -= by_h[chosen] * step.h[chosen] * slope / (x * k)
        last = step.how == _LAST
        end_bar += np.where(last, along, 0.0)
        time_bar = np.where(last, -along, time_bar)
        x_bar = np.where(step.how == _IDLE, x_bar, series.back(c, s, bar, c_bar))
    return x_bar, time_bar, end_bar


def first_crossing(c: Array, h: float, above: bool) -> tuple[float | None, bool, int]:
    """First time in [0, h] at which a polynomial crosses 0 upwards.

    Parameters
    ----------
    c : array
        Its coefficients.
    h : float
    above : bool
        It is above and has to come below first.

    Returns
    -------
    time : float or None
    above : bool
        After the crossing, or at the end.
    grazing : int
        Intervals given up.
    """
    if not above and c[0] >= 0:
        leading = c[1:][c[1:] != 0][:1]  # it may leave 0 without slope
        if (leading > 0).any():  # at the threshold, exactly or by rounding
            return 0.0, False, 0
        above = bool(c[0] > 0)
    if above and c[0] < 0 and c[1] <= 0:
        above = False
    start, grazing = 0.0, 0
    while True:
        sign = -1.0 if above else 1.0
        bracket, more = _isolate_in_step(sign * c, start, h)
        grazing += more
        if bracket is None:
            return None, above, grazing
        start = _root(sign * c, *bracket)
        above = not above
        if above:
            return start, True, grazing


def _isolate_in_step(c: Array, start: float, h: float) -> tuple[tuple[float, float] | None, int]:
    d = np.array(c, dtype=float)
    order = len(d) - 1
    if start > 0:
        for i in range(order):
            for k in range(order - 1, i - 1, -1):
                d[k] += start * d[k + 1]
        d[0] = 0
    d *= (h - start) ** np.arange(order + 1) / [comb(order, k) for k in range(order + 1)]
    for j in range(1, order + 1):
        for i in range(order, j - 1, -1):
            d[i] += d[i - 1]
    return _isolate(d, start, h, 0)


def _isolate(p: Array, low: float, high: float, depth: int) -> tuple[tuple[float, float] | None, int]:
    signs = np.sign(p[p != 0])
    changes = np.flatnonzero(np.diff(signs))
    if not (signs[changes + 1] > 0).any():
        return None, 0
    if len(changes) == 1:
        return (low, high), 0
    if depth >= _MAX_HALVINGS:
        return None, 1
    left, right = np.empty_like(p), p.copy()
    for j in range(len(p)):  # de Casteljau's scheme leaves the right half in `right`
        left[j] = right[0]
        stop = len(p) - 1 - j
        right[:stop] = 0.5 * (right[:stop] + right[1 : stop + 1])
    middle = 0.5 * (low + high)
    found, first = _isolate(left, low, middle, depth + 1)
    if found is not None:
        return found, first
    found, second = _isolate(right, middle, high, depth + 1)
    return found, first + second


def _root(c: Array, left: float, right: float) -> float:
    slopes = c[1:] * np.arange(1, len(c))
    t = 0.5 * (left + right)
    for _ in range(100):
        value = np.polynomial.polynomial.polyval(t, c)
        if value > 0:
            right = t
        else:
            left = t
        slope = np.polynomial.polynomial.polyval(t, slopes)
        following = t - value / slope if slope != 0 else left
        if not left < following < right:
            following = 0.5 * (left + right)
        close = abs(following - t) <= 2e-16 * abs(t)
        t = float(following)
        if close:
            break
    return t
