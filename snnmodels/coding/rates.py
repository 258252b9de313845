"""Mean firing rates as the solution of a convex programme (Barrett et al. 2013).

For many spikes per time constant the greedy rule holds the rates near the minimum, over rates f >= 0, of the joint
loss with every trace at its mean, ``tau f`` per neuron or ``tau Σ q f`` for the population.
"""

from __future__ import annotations

import numpy as np
import sympy as sp
from scipy.linalg import sqrtm
from scipy.optimize import nnls

from ..symbolic.parsing import symbol
from .network import CodingNetwork

__all__ = ["convex_rates"]

Array = np.ndarray


def convex_rates(network: CodingNetwork, x: Array) -> Array:
    """Rates that minimise the joint loss for a constant signal.

    Parameters
    ----------
    network : CodingNetwork
        Quadratic costs, parameters constant in time.
    x : array, shape (M,)

    Returns
    -------
    array, shape (N,)
        Spikes per second. Where several rates have the same loss, one of them.

    Raises
    ------
    ValueError
        If a cost is not a convex quadratic, or its minimum is at infinity.

    Notes
    -----
    min |A f - b|² + p·f over f >= 0 has a dual: the residual b - A f is the point closest to b in the polytope
    {u : Aᵀu <= p/2}, which is the bounding box in the limit of small jumps. Lawson & Hanson (1974, ch. 23) reduce this
    least-distance problem to non-negative least squares, and f comes out as its multipliers.
    """
    root = np.real(sqrtm(network.metric))
    rows, target, linear = [root @ network.decoder * network.tau], [root @ np.asarray(x, float)], np.zeros(network.n)
    for cost in network.loss.costs:
        if network.loss.scope_of(cost) == "neuron":
            a, b, p = _neuron_cost(network, cost.expression, cost.name)
        else:
            a, b, p = _population_cost(network, cost.expression, cost.name)
        rows.append(a)
        target.append(b)
        linear += p
    return _nonnegative_quadratic(np.vstack(rows), np.concatenate(target), linear)


def _neuron_cost(network: CodingNetwork, expression: sp.Expr, name: str) -> tuple[Array, Array, Array]:
    """Σ_i q_i f_i² + p_i f_i as rows of a least-squares problem and a linear cost."""
    f = sp.Symbol("f", real=True)
    means = {symbol(t): f * trace.tau * trace.jump for t, trace in network.loss.traces.items()}
    quadratic, linear = _coefficients(expression.xreplace(means), f, name)
    q, p = network.evaluate(quadratic), network.evaluate(linear)
    if (q < 0).any():
        raise ValueError(f"cost {name!r} is concave in the rates, so the programme is not convex")
    return np.diag(np.sqrt(q)), np.zeros(network.n), p


def _population_cost(network: CodingNetwork, expression: sp.Expr, name: str) -> tuple[Array, Array, Array]:
    """The same for a cost of population traces; traces with different jumps don't share one row."""
    used = [t for t in network.loss.traces if symbol(t) in expression.free_symbols]
    directions = [network.jump(t) * network.loss.traces[t].tau for t in used]
    symbols = [symbol(t) for t in used]
    hessian = sp.hessian(expression, symbols) / 2
    at_zero = dict.fromkeys(symbols, sp.Integer(0))
    gradient = [sp.diff(expression, s).xreplace(at_zero) for s in symbols]
    if any(h.has(*symbols) for h in hessian):
        raise ValueError(f"cost {name!r} is not quadratic, so the programme is not a quadratic one")
    matrix = np.array([[network.evaluate(h)[0] for h in hessian.row(k)] for k in range(len(used))])
    values, vectors = np.linalg.eigh(matrix)
    if float(values.min()) < -1e-12 * max(1.0, float(np.abs(values).max())):
        raise ValueError(f"cost {name!r} is concave in the activity, so the programme is not convex")
    rows = (np.sqrt(np.maximum(values, 0))[:, None] * vectors.T) @ np.array(directions)
    linear = sum(network.evaluate(g) * direction for g, direction in zip(gradient, directions, strict=True))
    return rows, np.zeros(len(rows)), np.asarray(linear)


def _coefficients(expression: sp.Expr, f: sp.Symbol, name: str) -> tuple[sp.Expr, sp.Expr]:
    quadratic = sp.expand(sp.diff(expression, f, 2) / 2)
    if quadratic.has(f):
        raise ValueError(f"cost {name!r} is not quadratic, so the programme is not a quadratic one")
    return quadratic, sp.expand(sp.diff(expression, f).xreplace({f: sp.Integer(0)}))


def _nonnegative_quadratic(a: Array, b: Array, p: Array) -> Array:
    """Minimise |a f - b|² + p·f over f >= 0, by least-distance programming on `scipy.optimize.nnls`."""
    if not p.any():
        # without linear costs the polytope may be one point, and its multipliers a matter of rounding
        return np.asarray(nnls(a, b)[0])
    g, h = -a.T, a.T @ b - p / 2
    # a common scale for the two parts keeps nnls well conditioned
    scale = max(float(np.abs(h).max()), 1e-300)
    w, _ = nnls(np.vstack([g.T, h / scale]), np.r_[np.zeros(len(b)), 1.0])
    slack = 1 - h @ w / scale
    if slack <= 1e-12:
        raise ValueError("the costs are so negative that the rates have no finite optimum")
    return np.asarray(w) * scale / slack
