"""Integration between events by SciPy's DOP853, and by the series of the exponential where f is linear.

An `Integrator` moves the states of all populations of one trial forward, and costates and parameter integrals backward.
The two integrators share nothing but this interface, so each is a check of the other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.integrate import DOP853

from ._neurons import Array, Layout, Neurons

RTOL = 1e-13
MAX_TERMS = 64  # of a series whose terms fall by at least 2 from the start and then ever faster
MOST_KEPT = 64  # such series; a population has another one whenever other neurons of it are refractory
_FLOOR = 1e-20  # magnitude assumed for a state that has never moved; far below any in SI units
_SHIFT = 0.01  # of the states; what it changes in the rates is no less than their rounding, however small they are


Phase = tuple[Array, ...]
"""Factors of f by population, shape (n_states, n): 0 for states that are held, else 1."""
AtTime = Callable[[float], tuple[Array, ...]]
"""Parameters of all populations at a time, by which alone f depends on time."""


@dataclass(frozen=True)
class Piece:
    """A stretch of a trajectory without events.

    `at` interpolates the states of all populations at one time or at several, shape (n,) or (n, times); `exact` is as
    accurate as the end points, at one time. `free` says which states were held; `p` gives the parameters, and what
    currents add is counted from `since` on.
    """

    t0: float
    t1: float
    y0: Array
    y1: Array
    at: Callable[[Any], Array]
    exact: Callable[[float], Array]
    free: Phase
    p: AtTime
    since: float


class Integrator(ABC):
    """Moves states forward in time, and costates with parameter integrals backward."""

    def __init__(self, neurons: list[Neurons]) -> None:
        self.neurons = neurons
        self.x = Layout([(len(q.states), q.n) for q in neurons])
        integrals = [(len(q.in_flow) + 2 * len(q.driven), q.n) for q in neurons]
        self.lam = Layout([(len(q.states), q.n) for q in neurons] + integrals)

    def rates(self, y: Array, free: Phase, p: Sequence[Array]) -> Array:
        """dx/dt of all populations as one vector."""
        blocks = zip(self.neurons, self.x.split(y), free, p, strict=True)
        return self.x.join([factor * q.dynamics.f(x, values) for q, x, factor, values in blocks])

    @abstractmethod
    def forward(self, y: Array, t0: float, t1: float, free: Phase, p: AtTime, since: float) -> Iterator[Piece]:
        """Pieces of the trajectory from state y at t0 up to t1, between two knots of which the first is at `since`."""

    @abstractmethod
    def backward(self, piece: Piece, z: Array, t1: float, t0: float) -> Array:
        """Costates and parameter integrals at t0 from those at t1, both within the piece (t0 <= t1).

        For every driven input there are two integrals more: of λ·∂f/∂I, and of the same times the time since the knot.
        """


class _Scale:
    """Absolute tolerances: RTOL times the largest magnitude met so far, per state of a population."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.largest = [np.full((rows, 1), _FLOOR) for rows, _ in layout.shapes]

    def atol(self, y: Array, change: Array) -> Array:
        """Absolute tolerance per component; `change` is the derivative times the interval to come."""
        parts = []
        for k, block in enumerate(self.layout.split(np.maximum(np.abs(y), np.abs(change)))):
            if block.size:
                self.largest[k] = np.maximum(self.largest[k], block.max(axis=1, keepdims=True))
            parts.append(np.broadcast_to(RTOL * self.largest[k], block.shape))
        return self.layout.join(parts)


class RungeKutta(Integrator):
    """DOP853 (Hairer, Nørsett & Wanner 1993) at a relative tolerance of 1e-13, for any f."""

    def __init__(self, neurons: list[Neurons]) -> None:
        super().__init__(neurons)
        self._x_scale, self._lam_scale = _Scale(self.x), _Scale(self.lam)
        self._integrands = [q.dynamics.integrand((*q.in_flow, *q.currents)) for q in neurons]

    def forward(self, y: Array, t0: float, t1: float, free: Phase, p: AtTime, since: float) -> Iterator[Piece]:
        solver = self._solver(y, t0, t1, free, p)
        while solver.status == "running":
            t, x = solver.t, solver.y
            _step(solver)
            exact = self._reintegrate(t, x, free, p)
            yield Piece(t, solver.t, x, solver.y, solver.dense_output(), exact, free, p, since)

    def backward(self, piece: Piece, z: Array, t1: float, t0: float) -> Array:
        if t1 <= t0 or not z.any():
            return z

        def rates(t: float, z: Array) -> Array:
            n = len(self.neurons)
            states, costates = self.x.split(piece.at(t)), self.lam.split(z)[:n]
            flows, integrals = [], []
            blocks = zip(self.neurons, states, costates, piece.free, self._integrands, piece.p(t), strict=True)
            for q, x, lam, factor, integrand, p in blocks:
                # λ·(factor f) is (factor λ)·f
                flows.append(q.dynamics.flow(x, p, factor * lam))
                rows = -integrand(x, p, factor * lam)
                integrals.append(np.concatenate([rows, (t - piece.since) * rows[len(q.in_flow) :]]))
            return self.lam.join(flows + integrals)

        # at a spike a rate may be 0 by what the threshold is, as that of I_syn where theta is pi
        typical = np.maximum(np.abs(rates(t1, z)), np.abs(rates(t0, z)))
        solver = DOP853(rates, t1, z, t0, rtol=RTOL, atol=self._lam_scale.atol(z, typical * (t1 - t0)))
        while solver.status == "running":
            _step(solver)
        return solver.y

    def _solver(
        self, y: Array, t0: float, t1: float, free: Phase, p: AtTime, first_step: float | None = None
    ) -> DOP853:
        rates = self.rates(y, free, p(t0))
        # near rest a rate is next to nothing, and the rounding of the states that it reads is more
        with np.errstate(over="ignore", invalid="ignore"):
            moved = np.abs(self.rates((1 + _SHIFT) * y, free, p(t0)) - rates)
        typical = np.maximum(np.abs(rates), np.where(np.isfinite(moved), moved, 0.0))
        atol = self._x_scale.atol(y, typical * (t1 - t0))
        return DOP853(lambda t, y: self.rates(y, free, p(t)), t0, y, t1, rtol=RTOL, atol=atol, first_step=first_step)

    def _reintegrate(self, t0: float, y: Array, free: Phase, p: AtTime) -> Callable[[float], Array]:
        """The state at a time within a step, to the accuracy of a step and not of its interpolant."""

        def exact(t: float) -> Array:
            if t <= t0:
                return y
            # shorter than a step that was accepted, so one step will do
            solver = self._solver(y, t0, t, free, p, t - t0)
            while solver.status == "running":
                _step(solver)
            return solver.y

        return exact


class MatrixExponential(Integrator):
    """Exact propagation for f affine in the states, dx/dt = A x + b, by the series of the exponential.

    A step is at most half the reciprocal of the largest eigenvalue, so that the series of exp(A h) converges fast and
    without cancellation. A trajectory is then a polynomial, exact to rounding. The integral of λ·∂f/∂p over a step is
    λ(t1)·∂x(t1)/∂p at fixed x(t0), from the derivative of the series. The terms of both are those of matrices that are
    the same in all steps. Parameters must not change with time.
    """

    def __init__(self, neurons: list[Neurons]) -> None:
        super().__init__(neurons)
        rates = [_affine(q) for q in neurons]
        fastest = max(np.abs(np.linalg.eigvals(a.transpose(2, 0, 1))).max() for a, _ in rates)
        self._step = 0.5 / fastest if fastest > 0 else np.inf
        self._unit = self._step if fastest > 0 else 1.0
        self._rates = [_with_one(a, b) for a, b in rates]
        self._slopes = [_with_one(*_slopes(q)) for q in neurons]
        self._known: dict[tuple[int, bytes, bool], Array] = {}

    def _terms(self, k: int, factor: Array, slopes: bool = False) -> Array:
        """The series of a population with its held states, or its derivatives; see `_exponential`."""
        key = (k, factor.tobytes(), slopes)
        if key not in self._known:
            if len(self._known) >= MOST_KEPT:
                self._known.clear()
            rates = factor[:, None, :] * self._rates[k]
            if slopes:
                found = _derivatives(self._terms(k, factor), rates, factor[:, None, :] * self._slopes[k], self._unit)
            else:
                found = _exponential(rates, self._unit)
            self._known[key] = found
        return self._known[key]

    def forward(self, y: Array, t0: float, t1: float, free: Phase, p: AtTime, since: float) -> Iterator[Piece]:
        n = max(1, int(np.ceil((t1 - t0) / self._step)))
        for a, b in pairwise(np.linspace(t0, t1, n + 1).tolist()):
            at = _Polynomial(a, b, self._series(y, b - a, free))
            end = at(b)
            yield Piece(a, b, y, end, at, at, free, p, since)
            y = end

    def _series(self, y: Array, h: float, free: Phase) -> Array:
        """Terms of the trajectory from y in powers of (t - t0)/h, shape (terms, n)."""
        series = [self._terms(k, factor) for k, factor in enumerate(free)]
        result = np.zeros((max(map(len, series)), y.size))
        for terms, x, own in zip(series, self.x.split(y), self.x.slices, strict=True):
            result[: len(terms), own] = _times(terms, _and_one(x)).reshape(len(terms), -1)
        return (h / self._unit) ** np.arange(len(result))[:, None] * result

    def backward(self, piece: Piece, z: Array, t1: float, t0: float) -> Array:
        if t1 <= t0 or not z.any():
            return z
        u, blocks = (t1 - t0) / self._unit, self.lam.split(z.copy())
        for k, (x, factor) in enumerate(zip(self.x.split(piece.at(t0)), piece.free, strict=True)):
            lam, integrals = blocks[k], blocks[len(self.neurons) + k]
            if len(integrals):
                slopes = _times(_summed(self._terms(k, factor, slopes=True), u), _and_one(x))
                integrals += (lam * slopes).sum(axis=1)
            whole = _summed(self._terms(k, factor), u)[:, :-1]
            lam[:] = _times(whole.transpose(1, 0, 2), lam)
        return self.lam.join(blocks)


def _with_one(a: Array, b: Array) -> Array:
    """Matrices of A x + b for the states and a 1 behind them, shape (..., n_states, n_states + 1, n)."""
    return np.concatenate([a, b[..., None, :]], axis=-2)


def _and_one(x: Array) -> Array:
    return np.concatenate([x, np.ones((1, x.shape[1]))])


def _exponential(rates: Array, unit: float) -> Array:
    """Terms of exp(A u unit) in powers of u, shape (terms, n_states, n_states + 1, n), for the states and a 1.

    There are as many as it takes until more than there are states have changed nothing (a state may come in late,
    through others), whatever the states are.
    """
    n = len(rates)
    terms = [np.zeros_like(rates)]
    terms[0][np.arange(n), np.arange(n)] = 1.0
    size, idle = np.abs(terms[0]), 0
    while idle <= n and len(terms) < MAX_TERMS:
        term = unit / len(terms) * _products(rates[:, :n], terms[-1])
        if len(terms) == 1:
            term[:, n] += unit * rates[:, n]
        terms.append(term)
        before, size = size, size + np.abs(term)
        idle = idle + 1 if np.array_equal(before, size) else 0
    return np.array(terms[: len(terms) - idle])


def _derivatives(terms: Array, rates: Array, slopes: Array, unit: float) -> Array:
    """Of the terms of `_exponential` by parameters, shape (terms, n_parameters, n_states, n_states + 1, n)."""
    n, found = len(rates), [np.zeros_like(slopes)]
    for k in range(1, len(terms)):
        term = unit / k * (_products(rates[:, :n], found[-1]) + _products(slopes[:, :, :n], terms[k - 1]))
        if k == 1:
            term[:, :, n] += unit * slopes[:, :, n]
        found.append(term)
    return np.array(found)


def _summed(terms: Array, u: float) -> Array:
    """The series of which these are the terms, at u."""
    return np.asarray((u ** np.arange(len(terms)) @ terms.reshape(len(terms), -1)).reshape(terms.shape[1:]))


def _products(one: Array, other: Array) -> Array:
    """Products of matrices, one of each per neuron."""
    return np.einsum("...ijn,...jkn->...ikn", one, other)


def _times(matrices: Array, vectors: Array) -> Array:
    """Matrices (..., n_states, n_columns, n) times vectors (n_columns, n), one of each per neuron."""
    return np.einsum("...ijn,jn->...in", matrices, vectors)


def _affine(q: Neurons, parameter: str | None = None) -> tuple[Array, Array]:
    """A and b of f, or their derivatives by a parameter, shapes (n_states, n_states, n) and (n_states, n)."""
    n, values = len(q.states), q.dynamics.affine(parameter)(q.p)
    return values[: n * n].reshape(n, n, q.n), values[n * n :]


def _slopes(q: Neurons) -> tuple[Array, Array]:
    """Derivatives of A and b by the parameters in the flow, shapes as of A and b behind n_parameters."""
    n, found = len(q.states), [_affine(q, p) for p in q.in_flow]
    if not found:
        return np.empty((0, n, n, q.n)), np.empty((0, n, q.n))
    return np.stack([a for a, _ in found]), np.stack([b for _, b in found])


class _Polynomial:
    """A trajectory from t0 to t1 as a polynomial in (t - t0)/(t1 - t0), at one time or, as columns, at several."""

    def __init__(self, t0: float, t1: float, terms: Array) -> None:
        self.t0, self.h, self.terms = t0, t1 - t0, terms

    def __call__(self, t: Any) -> Array:
        u = (np.asarray(t) - self.t0) / self.h
        return np.asarray(self.terms.T @ np.power.outer(u, np.arange(len(self.terms))).T)


def _step(solver: DOP853) -> None:
    # a trial step past an upstroke may overflow; the solver then rejects it and takes a shorter one
    with np.errstate(over="ignore", invalid="ignore"):
        message = solver.step()
    if solver.status == "failed":
        raise RuntimeError(f"integration stopped at {solver.t:.6g} s: {message}")
