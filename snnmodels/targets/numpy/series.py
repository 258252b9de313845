"""Operations on Taylor series in NumPy, for any number of lanes: ``runtime/series.h`` of C++.

The same rules in the same order, so that both agree to rounding; see the comments there. A lane is one neuron; arrays
have lanes last. Series are one array of shape (slots, K + 1, lanes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb, factorial

import numpy as np
import sympy as sp

from ...events.series import KINDS, Constant, Factor, Operation, SeriesProgram
from ...symbolic.programs import cotangent

__all__ = ["COUNT", "Series", "bounded_exp"]

Array = np.ndarray

_SMALLEST_EXPONENT, _LARGEST_EXPONENT = -745.0, 709.0
_BERNOULLI_NEAR = 0.3
_BERNOULLI_ABOUT_ZERO = [1.0, -0.5, *(float(sp.bernoulli(m) / factorial(m)) for m in range(2, 31))]


def bounded_exp(x: Array) -> Array:
    """exp, with the exponent where it neither overflows nor becomes 0."""
    return np.exp(np.clip(x, _SMALLEST_EXPONENT, _LARGEST_EXPONENT))


def _tanh(u: Array) -> Array:
    e = bounded_exp(-2 * np.abs(u))
    return np.copysign((1 - e) / (1 + e), u)


def _logistic(u: Array) -> Array:
    e = bounded_exp(-np.abs(u))
    return np.where(u < 0, e, 1.0) / (1 + e)


def _softplus(u: Array) -> Array:
    return np.maximum(u, 0) + np.log1p(bounded_exp(-np.abs(u)))


# over the first axis; a few lanes cost little but the calls, of which np.sum makes three
_sum = np.add.reduce
COUNT = np.arange(1.0, 64.0)[:, None]  # 1, 2, ... as far as any order goes


def _product(a: Array, b: Array, k: int) -> Array:
    if k == 0:
        return np.multiply(a[0], b[0])
    return _sum(a[: k + 1] * b[k::-1])


def _quotient(a: Array | float, b: Array, q: Array, k: int) -> Array:
    if k == 0:
        return a / b[0]
    return (a - _sum(b[1 : k + 1] * q[k - 1 :: -1])) / b[0]


def _chain(u: Array, derivative: Array, k: int) -> Array:
    return _sum(COUNT[:k] * u[1 : k + 1] * derivative[k - 1 :: -1]) / k


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
    "exp": bounded_exp,
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
            y[k] = bounded_exp(u[0]) if k == 0 else _chain(u, y, k)
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
            e[k] = bounded_exp(u[0]) if k == 0 else _chain(u, e, k)
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
