"""Integration between events by SciPy's DOP853, and by the matrix exponential where f is linear.

An `Integrator` moves the states of all populations of one trial forward, and costates and parameter integrals backward.
The two integrators share nothing but this interface, so each is a check of the other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import sympy as sp
from scipy.integrate import DOP853
from scipy.linalg import expm

from ._neurons import Array, Layout, Neurons, Rows

RTOL = 1e-13
_FLOOR = 1e-20  # magnitude assumed for a state that has never moved; far below any in SI units


@dataclass(frozen=True)
class Piece:
    """A stretch of a trajectory without events.

    `at` interpolates the states of all populations at one time or at several, shape (n,) or (n, times); `exact` is as
    accurate as the end points, at one time.
    """

    t0: float
    t1: float
    y0: Array
    y1: Array
    at: Callable[[Any], Array]
    exact: Callable[[float], Array]


class Integrator(ABC):
    """Moves states forward in time, and costates with parameter integrals backward."""

    def __init__(self, neurons: list[Neurons]) -> None:
        self.neurons = neurons
        self.x = Layout([(len(q.states), q.n) for q in neurons])
        self.lam = Layout([(len(q.states), q.n) for q in neurons] + [(len(q.in_flow), q.n) for q in neurons])

    def rates(self, y: Array) -> Array:
        """dx/dt of all populations as one vector."""
        return self.x.join([q.dynamics.f(x, q.p) for q, x in zip(self.neurons, self.x.split(y), strict=True)])

    @abstractmethod
    def forward(self, y: Array, t0: float, t1: float) -> Iterator[Piece]:
        """Pieces of the trajectory from state y at t0 up to t1."""

    @abstractmethod
    def backward(self, piece: Piece, z: Array, t1: float, t0: float) -> Array:
        """Costates and parameter integrals at t0 from those at t1, both within the piece (t0 <= t1)."""


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
        self._integrands = [q.dynamics.integrand(q.in_flow) for q in neurons]

    def forward(self, y: Array, t0: float, t1: float) -> Iterator[Piece]:
        solver = self._solver(y, t0, t1)
        while solver.status == "running":
            start = solver.t, solver.y
            _step(solver)
            yield Piece(start[0], solver.t, start[1], solver.y, solver.dense_output(), self._reintegrate(*start))

    def backward(self, piece: Piece, z: Array, t1: float, t0: float) -> Array:
        if t1 <= t0 or not z.any():
            return z

        def rates(t: float, z: Array) -> Array:
            n = len(self.neurons)
            states, costates = self.x.split(piece.at(t)), self.lam.split(z)[:n]
            flows, integrals = [], []
            for q, x, lam, integrand in zip(self.neurons, states, costates, self._integrands, strict=True):
                flows.append(q.dynamics.flow(x, q.p, lam))
                integrals.append(-integrand(x, q.p, lam))
            return self.lam.join(flows + integrals)

        solver = DOP853(rates, t1, z, t0, rtol=RTOL, atol=self._lam_scale.atol(z, rates(t1, z) * (t1 - t0)))
        while solver.status == "running":
            _step(solver)
        return solver.y

    def _solver(self, y: Array, t0: float, t1: float, first_step: float | None = None) -> DOP853:
        atol = self._x_scale.atol(y, self.rates(y) * (t1 - t0))
        return DOP853(lambda _, y: self.rates(y), t0, y, t1, rtol=RTOL, atol=atol, first_step=first_step)

    def _reintegrate(self, t0: float, y: Array) -> Callable[[float], Array]:
        """The state at a time within a step, to the accuracy of a step and not of its interpolant."""

        def exact(t: float) -> Array:
            if t <= t0:
                return y
            # shorter than a step that was accepted, so one step will do
            solver = self._solver(y, t0, t, t - t0)
            while solver.status == "running":
                _step(solver)
            return solver.y

        return exact


class MatrixExponential(Integrator):
    """Exact propagation for f affine in the states, dx/dt = A x + b, one matrix per neuron.

    Parameter integrals come from the exponential of a block matrix (Van Loan 1978).
    """

    def __init__(self, neurons: list[Neurons]) -> None:
        super().__init__(neurons)
        self._generators = [_affine(q) for q in neurons]
        self._derivatives = [[_affine(q, p) for p in q.in_flow] for q in neurons]
        self._step = 0.5 / max(np.abs(g).sum(axis=2).max() for g in self._generators)

    def forward(self, y: Array, t0: float, t1: float) -> Iterator[Piece]:
        n = int(np.ceil((t1 - t0) / self._step))
        times = np.linspace(t0, t1, n + 1)
        for a, b in pairwise(times):
            exact = self._propagator(float(a), y)
            end = exact(float(b))
            yield Piece(float(a), float(b), y, end, _many(exact), exact)
            y = end

    def backward(self, piece: Piece, z: Array, t1: float, t0: float) -> Array:
        if t1 <= t0 or not z.any():
            return z
        blocks = self.lam.split(z.copy())
        n = len(self.neurons)
        states = self.x.split(piece.at(t0))
        for k, q in enumerate(self.neurons):
            lam, m = blocks[k], self._generators[k] * (t1 - t0)
            size = m.shape[1]
            padded = np.concatenate([lam, np.zeros((1, q.n))]).T[:, None, :]
            start = np.concatenate([states[k], np.ones((1, q.n))]).T[:, :, None]
            for row, derivative in zip(blocks[n + k], self._derivatives[k], strict=True):
                coupled = np.zeros((q.n, 2 * size, 2 * size))
                coupled[:, :size, :size] = coupled[:, size:, size:] = m
                coupled[:, :size, size:] = derivative * (t1 - t0)
                row += (padded @ expm(coupled)[:, :size, size:] @ start)[:, 0, 0]
            lam[:] = (padded @ expm(m))[:, 0, :-1].T
        return self.lam.join(blocks)

    def _propagator(self, t0: float, y: Array) -> Callable[[float], Array]:
        states = self.x.split(y)

        def at(t: float) -> Array:
            moved = []
            for x, m in zip(states, self._generators, strict=True):
                start = np.concatenate([x, np.ones((1, x.shape[1]))]).T[:, :, None]
                moved.append((expm(m * (t - t0)) @ start)[:, :-1, 0].T)
            return self.x.join(moved)

        return at


def _many(exact: Callable[[float], Array]) -> Callable[[Any], Array]:
    """The function at one time or, as columns, at several."""
    return lambda t: exact(t) if np.ndim(t) == 0 else np.stack([exact(s) for s in t], axis=1)


def _affine(q: Neurons, parameter: str | None = None) -> Array:
    """The matrices [[A, b], [0, 0]] of f, or of ∂f/∂parameter, shape (n, n_states + 1, n_states + 1)."""
    system = q.dynamics.system
    f = sp.Matrix([system.f[x] for x in system.states])
    if parameter is not None:
        f = f.diff(next(p for p in system.parameters if p.name == parameter))
    a = f.jacobian(list(system.states))
    b = f.xreplace(dict.fromkeys(system.states, sp.Integer(0)))
    n = len(system.states)
    result = np.zeros((q.n, n + 1, n + 1))
    values = Rows([*a, *b], system.parameters)(q.p)
    result[:, :n, :n] = values[: n * n].T.reshape(q.n, n, n)
    result[:, :n, n] = values[n * n :].T
    return result


def _step(solver: DOP853) -> None:
    # a trial step past an upstroke may overflow; the solver then rejects it and takes a shorter one
    with np.errstate(over="ignore", invalid="ignore"):
        message = solver.step()
    if solver.status == "failed":
        raise RuntimeError(f"integration stopped at {solver.t:.6g} s: {message}")
