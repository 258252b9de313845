"""Taylor steps of a `SeriesProgram` in NumPy, for any number of lanes: ``runtime/series.h`` and ``taylor.h`` of C++.

The same rules in the same order, so that both agree to rounding; see the comments there. A lane is one neuron; arrays
have lanes last. Series are one array of shape (slots, K + 1, lanes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb, factorial

import numpy as np
import sympy as sp

from ...events.accuracy import EVENTS_APART, MAX_STEPS
from ...events.series import KINDS, Constant, Factor, Operation, SeriesProgram
from ...symbolic.programs import cotangent

__all__ = [
    "ARRIVED",
    "FAILED",
    "RESTING",
    "RUNNING",
    "SPIKED",
    "Control",
    "Lanes",
    "Series",
    "Step",
    "first_crossing",
    "walk",
    "walk_back",
]

Array = np.ndarray

RUNNING, ARRIVED, SPIKED, FAILED, RESTING = range(5)
"""What became of a lane."""
_IDLE, _ADAPTIVE, _CAPPED, _LAST, _CROSSED = range(5)  # how a step ended

_SMALLEST_EXPONENT, _LARGEST_EXPONENT = -745.0, 709.0
_MAX_HALVINGS = 45
_BERNOULLI_NEAR = 0.3
_BERNOULLI_ABOUT_ZERO = [1.0, -0.5, *(float(sp.bernoulli(m) / factorial(m)) for m in range(2, 31))]


def _exp(x: Array) -> Array:
    return np.exp(np.clip(x, _SMALLEST_EXPONENT, _LARGEST_EXPONENT))


def _tanh(u: Array) -> Array:
    e = _exp(-2 * np.abs(u))
    return np.copysign((1 - e) / (1 + e), u)


def _logistic(u: Array) -> Array:
    e = _exp(-np.abs(u))
    return np.where(u < 0, e, 1.0) / (1 + e)


def _softplus(u: Array) -> Array:
    return np.maximum(u, 0) + np.log1p(_exp(-np.abs(u)))


# over the first axis; a few lanes cost little but the calls, of which np.sum makes three
_sum = np.add.reduce
_COUNT = np.arange(1.0, 64.0)[:, None]  # 1, 2, ... as far as any order goes


def _product(a: Array, b: Array, k: int) -> Array:
    if k == 0:
        return np.multiply(a[0], b[0])
    return _sum(a[: k + 1] * b[k::-1])


def _quotient(a: Array | float, b: Array, q: Array, k: int) -> Array:
    if k == 0:
        return a / b[0]
    return (a - _sum(b[1 : k + 1] * q[k - 1 :: -1])) / b[0]


def _chain(u: Array, derivative: Array, k: int) -> Array:
    return _sum(_COUNT[:k] * u[1 : k + 1] * derivative[k - 1 :: -1]) / k


def _bernoulli_about(u: Array, n: int, shift: int) -> Array:
    """Coefficient n of the Taylor series of u/(exp(u) - 1), or of its derivative, about u."""
    orders = range(n, len(_BERNOULLI_ABOUT_ZERO) - shift)
    weights = [_BERNOULLI_ABOUT_ZERO[m + shift] * comb(m, n) * (m + 1 if shift else 1) for m in orders]
    return np.polynomial.polynomial.polyval(u, weights)


def _bernoulli_near_zero(u: Array, k: int, shift: int) -> Array:
    s = np.zeros((k + 1, u.shape[1]))
    s[0] = _bernoulli_about(u[0], k, shift)
    for n in range(k - 1, -1, -1):
        for j in range(k - n, 0, -1):
            s[j] = np.sum(u[1 : j + 1] * s[:j][::-1], axis=0)
        s[0] = _bernoulli_about(u[0], n, shift)
    return s[k]


def _polynomial(c: Array, t: Array) -> Array:
    """Value of polynomials with coefficients along the second axis from the end."""
    s = c[..., -1, :] * 1.0
    for k in range(c.shape[-2] - 2, -1, -1):
        s *= t
        s += c[..., k, :]
    return s


def _slope(c: Array, t: Array) -> Array:
    return _polynomial(c[..., 1:, :] * _COUNT[: c.shape[-2] - 1], t)


class Series:
    """A series program that runs in NumPy.

    Parameters
    ----------
    program : SeriesProgram
    """

    def __init__(self, program: SeriesProgram) -> None:
        self.program = program
        self.n = len(program.states)
        self._names = [p.name for p in program.parameters]
        self._constants = program.constants.compile(self._names)
        self._vjp = program.parameter_vjp.compile(
            [*self._names, *(cotangent(k).name for k in program.constants.outputs)]
        )

    def constants(self, p: Array) -> Array:
        """The hoisted constants, shape (constants, lanes), from parameters of shape (parameters, lanes)."""
        values = self._constants(**dict(zip(self._names, p, strict=True)))
        return np.array([np.broadcast_to(v, p.shape[1:]) for v in values.values()]).reshape(len(values), *p.shape[1:])

    def parameters(self, p: Array, c_bar: Array) -> Array:
        """Cotangents of the parameters from those of the constants.

        Parameters
        ----------
        p : array, shape (parameters, lanes)
        c_bar : array, shape (constants, lanes)

        Returns
        -------
        array, shape (parameters, lanes)
        """
        bars = {cotangent(k).name: c for k, c in zip(self.program.constants.outputs, c_bar, strict=True)}
        values = self._vjp(**dict(zip(self._names, p, strict=True)), **bars)
        return np.array([np.broadcast_to(values[n], p.shape[1:]) for n in self._names])

    def coefficients(self, c: Array, x: Array, order: int) -> Array:
        """All series from the states; the states' come first, to the full order.

        Parameters
        ----------
        c : array, shape (constants, lanes)
        x : array, shape (states, lanes)
        order : int

        Returns
        -------
        array, shape (slots, order + 1, lanes)
        """
        s = np.zeros((self.program.slots, order + 1, x.shape[-1]))
        s[: self.n, 0] = x
        rows, constants = list(s), list(c)
        moving = [(rows[i], rows[rate]) for i, rate in enumerate(self.program.rates) if rate is not None]
        for k in range(order):
            for o in self.program.operations:
                # the commonest kinds here, as many small calls are what takes the time
                if o.kind == "linear":
                    rows[o.slot][k] = _linear(o, constants, rows, k)
                elif o.kind == "mul":
                    rows[o.slot][k] = _product(rows[o.arguments[0]], rows[o.arguments[1]], k)
                elif o.kind == "exp" and k:
                    rows[o.slot][k] = _chain(rows[o.arguments[0]], rows[o.slot], k)
                else:
                    _forward(o, c, s, k)
            for row, rate in moving:
                np.divide(rate[k], k + 1, out=row[k + 1])
        return s

    def events(self, c: Array, s: Array) -> list[Array]:
        """The series of the event functions along those of the states.

        Parameters
        ----------
        c : array, shape (constants, lanes)
        s : array, shape (slots, order + 1, lanes)
            From `coefficients`; what the functions need is filled in.

        Returns
        -------
        list of array, shape (order + 1, lanes)
        """
        # what an operation reads is complete: the states, and operations before it
        for o in self.program.event_operations:
            if o.kind == "linear":
                s[o.slot] = sum(_value(f, c) * s[a] for f, a in zip(o.factors, o.arguments, strict=True))
                if o.offset is not None:
                    s[o.slot, 0] += _value(o.offset, c)
                continue
            for k in range(s.shape[1]):
                _forward(o, c, s, k)
        return [s[slot] for slot in self.program.events]

    def event_at(self, c: Array, x: Array, which: Array | int = 0) -> tuple[Array, Array, Array]:
        """The value of an event function, its gradient by the states and that by the constants.

        Parameters
        ----------
        c : array, shape (constants, lanes)
        x : array, shape (states, lanes)
        which : int array, shape (lanes,), or int
            Place of the function among the program's events, for every lane.

        Returns
        -------
        value : array, shape (lanes,)
        by_states : array, shape (states, lanes)
        by_constants : array, shape (constants, lanes)
        """
        s = np.zeros((self.program.slots, 1, x.shape[-1]))
        s[: self.n, 0] = x
        self.events(c, s)
        b, c_bar, lanes = np.zeros_like(s), np.zeros_like(c), np.arange(x.shape[-1])
        slot = np.broadcast_to(np.array(self.program.events)[which], lanes.shape)
        value = s[slot, 0, lanes]
        b[slot, 0, lanes] = 1.0
        derivative = {o.slot: _derivative(o, s, 1) for o in self.program.event_operations}
        for o in reversed(self.program.event_operations):
            _backward(o, c, s, b, c_bar, 0, derivative[o.slot])
        return value, b[: self.n, 0], c_bar

    def back(self, c: Array, s: Array, bar: Array, c_bar: Array) -> Array:
        """Cotangents of the states from those of their coefficients.

        Parameters
        ----------
        c : array, shape (constants, lanes)
        s : array, shape (slots, order + 1, lanes)
            From `coefficients`.
        bar : array, shape (states, order + 1, lanes)
        c_bar : array, shape (constants, lanes)
            Cotangents of the constants are added.

        Returns
        -------
        array, shape (states, lanes)
        """
        order = s.shape[1] - 1
        b = np.zeros_like(s)
        b[: self.n] = bar
        derivative = {o.slot: _derivative(o, s, order) for o in self.program.operations}
        for k in range(order - 1, -1, -1):
            for i, rate in enumerate(self.program.rates):
                if rate is not None:
                    b[rate, k] += b[i, k + 1] / (k + 1)
            for o in reversed(self.program.operations):
                _backward(o, c, s, b, c_bar, k, derivative[o.slot])
        return b[: self.n, 0]


def _value(factor: Factor, c: Array) -> Array | float:
    return c[factor.index] if isinstance(factor, Constant) else factor


_AT_ZERO: dict[str, Callable[[Array], Array]] = {
    "exp": _exp,
    "log": np.log,
    "arctan": np.arctan,
    "softplus": _softplus,
    "tan": np.tan,
    "tanh": _tanh,
    "logistic": _logistic,
}


def _linear(o: Operation, c: Sequence[Array] | Array, s: Sequence[Array] | Array, k: int) -> Array | float:
    """Coefficient k of a sum."""
    total: Array | float | None = None
    for factor, a in zip(o.factors, o.arguments, strict=True):
        term = s[a][k] if factor == 1 else (c[factor.index] if isinstance(factor, Constant) else factor) * s[a][k]
        total = term if total is None else total + term
    if k == 0 and o.offset is not None:
        offset = c[o.offset.index] if isinstance(o.offset, Constant) else o.offset
        total = offset if total is None else total + offset
    return 0.0 if total is None else total


def _forward(o: Operation, c: Array, s: Array, k: int) -> None:
    """Coefficient k of an operation."""
    y, arguments = s[o.slot], [s[a] for a in o.arguments]
    u = arguments[0] if arguments else y
    match o.kind:
        case "linear":
            y[k] = _linear(o, c, s, k)
        case "mul":
            y[k] = _product(u, arguments[1], k)
        case "square":
            y[k] = _product(u, u, k)
        case "div":
            y[k] = _quotient(u[k], arguments[1], y, k)
        case "reciprocal":
            y[k] = _quotient(1.0 if k == 0 else 0.0, u, y, k)
        case "pow":
            exponent = _value(o.factors[0], c)
            if k == 0:
                y[0] = np.sqrt(u[0]) if exponent == 0.5 else u[0] ** exponent
            else:
                i = np.arange(1, k + 1)[:, None]
                y[k] = np.sum(((exponent + 1) * i - k) * u[1 : k + 1] * y[:k][::-1], axis=0) / (k * u[0])
        case "exp":
            y[k] = _exp(u[0]) if k == 0 else _chain(u, y, k)
        case "log" | "arctan" | "softplus":
            y[k] = _AT_ZERO[o.kind](u[0]) if k == 0 else _chain(u, arguments[1], k)
        case "tan" | "tanh" | "logistic":
            d = s[o.slot + 1]
            y[k] = _AT_ZERO[o.kind](u[0]) if k == 0 else _chain(u, d, k)
            square = _product(y, y, k)
            if o.kind == "logistic":
                d[k] = y[k] - square
            else:
                d[k] = (1.0 if k == 0 else 0.0) + (square if o.kind == "tan" else -square)
        case "sincos" | "sinhcosh":
            z = s[o.slot + 1]
            circular = o.kind == "sincos"
            if k == 0:
                y[0], z[0] = (np.sin(u[0]), np.cos(u[0])) if circular else (np.sinh(u[0]), np.cosh(u[0]))
            else:
                y[k], z[k] = _chain(u, z, k), _chain(u, y, k) * (-1 if circular else 1)
        case "bernoulli":
            e = s[o.slot + 1]
            e[k] = _exp(u[0]) if k == 0 else _chain(u, e, k)
            near = np.abs(u[0]) < _BERNOULLI_NEAR
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                y[k] = (u[k] - np.sum(e[1 : k + 1] * y[:k][::-1], axis=0)) / (e[0] - 1)
            if near.any():
                y[k, near] = _bernoulli_near_zero(u[:, near], k, 0)
        case _:
            raise ValueError(f"there is no series operation {o.kind!r}")


def _derivative(o: Operation, s: Array, n: int) -> Array:
    """The first n coefficients of the derivative of an operation of one argument."""
    y = s[o.slot]
    u = s[o.arguments[0]] if o.arguments else y
    match o.kind:
        case "pow":
            exponent = o.factors[0]
            d = np.zeros_like(y)
            for k in range(n):
                d[k] = _quotient(exponent * y[k], u, d, k)
            return d
        case "bernoulli":
            e, d = s[o.slot + 1], np.zeros_like(y)
            near = np.abs(u[0]) < _BERNOULLI_NEAR
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                for k in range(n):
                    rest = (1.0 if k == 0 else 0.0) - _product(y, e, k) - np.sum(e[1 : k + 1] * d[:k][::-1], axis=0)
                    d[k] = rest / (e[0] - 1)
                    if near.any():
                        d[k, near] = _bernoulli_near_zero(u[:, near], k, 1)
            return d
        case "exp":
            return y
        case "log" | "arctan" | "softplus":
            return s[o.arguments[1]]
    return s[o.slot + KINDS[o.kind].slots - 1]


def _backward(o: Operation, c: Array, s: Array, b: Array, c_bar: Array, k: int, derivative: Array) -> None:
    """Pass on the cotangent of coefficient k."""
    w = b[o.slot, k].copy()
    match o.kind:
        case "linear":
            for factor, a in zip(o.factors, o.arguments, strict=True):
                b[a, k] += _value(factor, c) * w
                if isinstance(factor, Constant):
                    c_bar[factor.index] += s[a, k] * w
            if k == 0 and isinstance(o.offset, Constant):
                c_bar[o.offset.index] += w
        case "mul":
            first, second = o.arguments
            b[first, : k + 1] += s[second, k::-1] * w
            b[second, : k + 1] += s[first, k::-1] * w
        case "square":
            b[o.arguments[0], : k + 1] += 2 * s[o.arguments[0], k::-1] * w
        case "div" | "reciprocal":
            below = o.arguments[-1]
            w = w / s[below, 0]
            if o.kind == "div":
                b[o.arguments[0], k] += w
            b[below, : k + 1] -= s[o.slot, k::-1] * w
            b[o.slot, :k] -= s[below, k:0:-1] * w
        case "sincos" | "sinhcosh":
            sign = -1 if o.kind == "sincos" else 1
            b[o.arguments[0], : k + 1] += s[o.slot + 1, k::-1] * w + sign * s[o.slot, k::-1] * b[o.slot + 1, k]
        case _:
            b[o.arguments[0], : k + 1] += derivative[k::-1] * w


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
        lanes.rho = np.where(running, _exp(-rate.max(axis=0) * np.log(2)), lanes.rho)
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
