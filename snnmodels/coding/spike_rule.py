"""From a joint loss to the network that greedily descends it, with SymPy.

A neuron may spike when its spike lowers the loss. The increment of the loss at one spike of neuron i splits into a
part that knows the signal, which is called the voltage, and a part that only knows past activity, the threshold:

    spike of i lowers L   <=>   V_i > theta_i

Every cost term enters through its increment ``cost(traces + jumps) - cost(traces)``; no cost is known by name. The
rule descends greedily: each spike lowers the loss at once, which does not make the spike train as a whole the best.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sympy as sp
from sympy import MatrixExpr, MatrixSymbol

from ..symbolic.parsing import symbol
from .loss import NORM, JointLoss

__all__ = ["CodingTerm", "SpikeRule", "derive"]

_M, _N = sp.symbols("M N", integer=True, positive=True)
X = MatrixSymbol("x", _M, 1)
X_DOT = MatrixSymbol("x'", _M, 1)
C = MatrixSymbol("c", _M, 1)
R = MatrixSymbol("r", _N, 1)
S = MatrixSymbol("s", _N, 1)
E = MatrixSymbol("e", _M, 1)
D = MatrixSymbol("D", _M, _N)
D_I = MatrixSymbol("D_i", _M, 1)
W = MatrixSymbol("W", _M, _M)
A = MatrixSymbol("A", _M, _M)
LEAK = sp.Symbol("lambda", positive=True)
"""Rate 1/tau of the read-out trace."""


@dataclass(frozen=True)
class CodingTerm:
    """What the coding term contributes, as matrix expressions.

    Attributes
    ----------
    increment : MatrixExpr, 1 by 1
        Change of the coding term at a spike of neuron i, with e = x - D r.
    voltage : MatrixExpr, 1 by 1
        V_i: minus half the part of the increment that depends on e.
    square : MatrixExpr, 1 by 1
        d_i²: the rest.
    voltages : MatrixExpr, N by 1
        All V_i in terms of x and r.
    feedforward : MatrixExpr, N by 1
        Input of dV/dt = -lambda V + input - recurrent s (+ slow r).
    recurrent : MatrixExpr, N by N
        Fast weights, subtracted from the voltages at a spike.
    slow : MatrixExpr, N by N, or None
        Slow weights acting on r, where the network itself implements the dynamics of the signal.
    """

    increment: MatrixExpr
    voltage: MatrixExpr
    square: MatrixExpr
    voltages: MatrixExpr
    feedforward: MatrixExpr
    recurrent: MatrixExpr
    slow: MatrixExpr | None


@dataclass(frozen=True)
class SpikeRule:
    """The derived network: neuron i may spike when V_i > threshold.

    Attributes
    ----------
    loss : JointLoss
    coding : CodingTerm
    increments : mapping of str to Expr
        Change of every cost at one spike of neuron i, by name; traces stand for their values just before the spike.
    threshold : Expr
        theta_i of the threshold form, in the decoder norm d, traces and parameters.
    constant : Expr
        theta_i of the weight form: what does not depend on traces.
    coefficients : mapping of str to Expr, or None
        How much one unit of each trace raises the threshold; None where the threshold is not affine in the traces,
        and then there is no weight form.
    """

    loss: JointLoss
    coding: CodingTerm
    increments: Mapping[str, sp.Expr]
    threshold: sp.Expr
    constant: sp.Expr
    coefficients: Mapping[str, sp.Expr] | None

    @property
    def has_weight_form(self) -> bool:
        """Whether the costs can also be written into the weights: they are at most quadratic."""
        return self.coefficients is not None

    @property
    def currents(self) -> dict[str, sp.Expr]:
        """Weight form: how strongly each trace drives dv/dt, in 1/s.

        The voltage is v = V - sum_k coefficient_k trace_k. Differentiating and writing V back in terms of v leaves
        ``coefficient * (1/tau_trace - 1/tau_readout)`` for a trace whose time constant differs from the read-out's.
        """
        v, y = sp.symbols("v y")
        total = sum((c * symbol(k) for k, c in self._affine().items()), sp.Integer(0))
        rate = {k: 1 / self.time_constant(k) for k in self._affine()}
        leak = 1 / self.time_constant(self.loss.readout)
        v_dot = -leak * y - sum((c * -rate[k] * symbol(k) for k, c in self._affine().items()), sp.Integer(0))
        in_v = sp.expand(v_dot.subs(y, v + total))
        return {k: sp.factor(in_v.coeff(symbol(k))) for k in self._affine()}

    @property
    def activity_weights(self) -> dict[str, sp.Expr]:
        """Weight form: what a spike subtracts through each trace, beyond the coding weights.

        For a per-neuron trace on the neuron's own voltage (the diagonal); for a population trace on every voltage,
        with the jump taken of the spiking neuron.
        """
        return {k: c * self.loss.traces[k].jump for k, c in self._affine().items()}

    def time_constant(self, trace: str) -> sp.Symbol:
        """The symbol of a trace's time constant."""
        return sp.Symbol(f"tau_{trace}", positive=True)

    def _affine(self) -> Mapping[str, sp.Expr]:
        if self.coefficients is None:
            raise ValueError(
                "the costs are not quadratic, so the threshold is not affine in the traces and "
                "there is no weight form; use the threshold form"
            )
        return self.coefficients


def derive(loss: JointLoss) -> SpikeRule:
    """The spike rule of a joint loss.

    Parameters
    ----------
    loss : JointLoss

    Returns
    -------
    SpikeRule

    Notes
    -----
    With V_i = D_iᵀ W (x - D r) the increment of the coding term is d_i² - 2 V_i (Boerlin et al. 2013); the rest of
    the increment, halved, is the threshold.
    """
    increments = {cost.name: _increment(loss, cost.expression) for cost in loss.costs}
    threshold = sp.expand((NORM**2 + sum(increments.values(), sp.Integer(0))) / 2, power_exp=False)
    constant, coefficients = _affine_in([symbol(t) for t in loss.traces], threshold)
    return SpikeRule(loss, _coding_term(loss), increments, threshold, constant, coefficients)


def _increment(loss: JointLoss, cost: sp.Expr) -> sp.Expr:
    """cost(traces after a spike of neuron i) - cost(traces before)."""
    after = {symbol(name): symbol(name) + trace.jump for name, trace in loss.traces.items()}
    return sp.expand(cost.xreplace(after) - cost, power_exp=False)


def _affine_in(traces: list[sp.Symbol], expression: sp.Expr) -> tuple[sp.Expr, dict[str, sp.Expr] | None]:
    at_rest = expression.xreplace(dict.fromkeys(traces, sp.Integer(0)))
    slopes = {t: sp.expand(sp.diff(expression, t)) for t in traces}
    if any(slope.has(*traces) for slope in slopes.values()):
        return at_rest, None
    return at_rest, {t.name: slope for t, slope in slopes.items() if slope != 0}


def _coding_term(loss: JointLoss) -> CodingTerm:
    metric: MatrixExpr = W if loss.weight is not None else sp.Identity(_M)
    before = E.T * metric * E
    after = (E - D_I).T * metric * (E - D_I)
    increment = _merge_transposes((after - before).expand().doit())
    signal_part = sp.MatAdd(*[t for t in sp.MatAdd.make_args(increment) if t.has(E)]).doit()
    square = (increment - signal_part).doit()
    voltage = (-signal_part / 2).doit()

    voltages = (D.T * metric * (X - D * R)).doit()
    v_dot = voltages.xreplace({X: X_DOT, R: S - LEAK * R})
    rest = (v_dot + LEAK * voltages).expand().doit()
    slow = None
    if loss.dynamics is not None:
        # the network receives c only; in A x and lambda x it has to use its own estimate D r for x
        rest = rest.xreplace({X_DOT: A * X + C}).expand().doit().xreplace({X: D * R}).expand().doit()
        slow = _weights_on(rest, R)
    recurrent = _weights_on(-rest, S)
    feedforward = sp.MatAdd(*[t for t in sp.MatAdd.make_args(rest) if not t.has(S) and not t.has(R)]).doit()
    return CodingTerm(increment, voltage, square, voltages, feedforward, recurrent, slow)


def _merge_transposes(expression: MatrixExpr) -> MatrixExpr:
    """Write every 1 by 1 term that starts with eᵀ as its transpose; W is symmetric."""
    terms = []
    for term in sp.MatAdd.make_args(expression):
        scalar, product = term.as_coeff_mmul()
        factors = sp.MatMul.make_args(product)
        if factors[0] == E.T and factors[-1] != E:
            term = (scalar * product.T).doit().xreplace({W.T: W})
        terms.append(term)
    return sp.MatAdd(*terms).doit()


def _weights_on(expression: MatrixExpr, activity: MatrixSymbol) -> MatrixExpr:
    """The matrix that multiplies `activity` from the left in a sum of products."""
    found = []
    for term in sp.MatAdd.make_args(expression):
        scalar, product = term.as_coeff_mmul()
        factors = sp.MatMul.make_args(product)
        if factors[-1] == activity:
            found.append(scalar * sp.MatMul(*factors[:-1]))
    return sp.MatAdd(*found).doit()
