"""Losses that can't be meant are refused in one line that says what would be right."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from snnmodels.coding import Cost, LossError, Trace, joint_loss
from snnmodels.symbolic.parsing import symbol
from snnmodels.templates.model import Parameter

TRACES = {"a": Trace("neuron", 0.1), "B": Trace("population", 0.05)}


@pytest.mark.parametrize(
    ("costs", "traces", "parameters", "message"),
    [
        ({"c": "nu*q"}, {}, {"nu": 1.0}, "'q', which is neither a trace .r. nor a parameter"),
        ({"c": "nu"}, {}, {"nu": 1.0}, "contains no trace"),
        ({"c": "kappa*a*B"}, TRACES, {"kappa": 1.0}, "mixes per-neuron and population"),
        ({"c": "nu*r"}, TRACES, {"nu": 1.0}, "'B', 'a' are declared but no cost uses them"),
        ({"c": "v*r + w*r"}, {}, {"v": 1.0, "w": 1.0}, "'v', 'w' are reserved.*reserved are d, x"),
        ({"c": "nu*p*q*r"}, {}, {"nu": 1.0}, "uses 'p', 'q', which is neither"),
        ({"c": "nu*r^2"}, {}, {"nu": 1.0}, "'\\^', which is not a power here; write \\*\\*"),
        ({"c": "r"}, {}, {"nu": 1.0}, "'nu' is declared but no cost uses it"),
        ({"c": "v*r"}, {}, {"v": 1.0}, "'v' is reserved"),
        ({"c": "tau_a*r"}, {}, {"tau_a": 1.0}, "'tau_a' is reserved"),
        ({"c": "x-y*r"}, {}, {"y-": 1.0}, "can't be a name"),
        ({"c": "d*B"}, {"B": TRACES["B"]}, {}, "norm d of one neuron has no meaning"),
        ({"c": "nu*abs(r)"}, {}, {"nu": 1.0}, "cost 'c'.*abs"),
        ({"c": "g"}, {"g": Trace("population", 0.1, sp.Symbol("q"))}, {}, "'q' is not a parameter"),
        ({"c": "r*nu"}, {"r": Trace("population", 0.1)}, {"nu": 1.0}, "read-out trace 'r' must be per neuron"),
        ({"c": "nu*r"}, {"nu": Trace("neuron", 0.1)}, {"nu": 1.0}, "both as a trace and as a parameter"),
    ],
)
def test_mistakes_are_named(costs, traces, parameters, message) -> None:
    with pytest.raises(LossError, match=message):
        joint_loss(costs, traces, parameters)


R, NU = sp.symbols("r nu")


@pytest.mark.parametrize(
    "expression",
    [
        NU * sp.Abs(R - 1),
        NU * sp.Max(R, 0),
        NU * sp.Piecewise((R, R > 1), (0, True)),
        NU * sp.Heaviside(R - 1),
        NU * sp.floor(R),
        NU * sp.gamma(R + 1),
        sp.I * NU * R,
        sp.oo * NU * R,
    ],
    ids=str,
)
def test_what_text_cannot_say_sympy_cannot_either(expression) -> None:
    """Accepted, these would die in Brian2 only, or not at all."""
    with pytest.raises(LossError, match=r"cost 'c' contains .* (not smooth|real, finite numbers)"):
        joint_loss({"c": expression}, parameters={"nu": 1.0})
    with pytest.raises(LossError, match="cost 'c' contains"):
        joint_loss([Cost("c", expression.xreplace({s: symbol(s.name) for s in (R, NU)}))], parameters={"nu": 1.0})


def test_jumps_must_be_smooth_and_defaults_finite() -> None:
    with pytest.raises(LossError, match="the jump of trace 'g' contains Abs"):
        joint_loss({"c": "g"}, {"g": Trace("population", 0.1, sp.Abs(symbol("d")))})
    with pytest.raises(LossError, match="'nu' has the default nan; expected a finite number"):
        joint_loss({"c": "nu*r"}, parameters={"nu": Parameter("nu", float("nan"), "1", "nan")})


@pytest.mark.parametrize(("scope", "tau"), [("neurons", 0.1), ("neuron", 0.0), ("neuron", np.inf), ("neuron", -1.0)])
def test_bad_traces_are_refused(scope, tau) -> None:
    with pytest.raises(LossError, match="trace"):
        Trace(scope, tau)


@pytest.mark.parametrize(
    ("matrices", "message"),
    [
        ({"weight": np.ones((2, 3))}, "square"),
        ({"weight": np.array([[1.0, 0.0], [0.0, -1.0]])}, "positive definite"),
        ({"weight": np.array([[1.0, 0.5], [0.0, 1.0]])}, "symmetric"),
        ({"dynamics": np.full((2, 2), np.nan)}, "finite"),
        ({"weight": np.eye(2), "dynamics": np.eye(3)}, r"both must be \(M, M\)"),
    ],
)
def test_bad_matrices_are_refused(matrices, message) -> None:
    with pytest.raises(LossError, match=message):
        joint_loss(**matrices)


def test_strings_expressions_and_cost_classes_say_the_same() -> None:
    parameters = {"kappa": 1.0, "z": 0.5}
    k, b, z = sp.symbols("kappa B z")
    traces = {"B": TRACES["B"]}
    variants = [
        joint_loss({"kappa": "kappa*(B - z)**2"}, traces, parameters),
        joint_loss({"kappa": k * (b - z) ** 2}, traces, parameters),
        joint_loss([Cost.quadratic("kappa", "B", "z")], traces, parameters),
    ]
    assert len({loss.costs[0].expression for loss in variants}) == 1
    assert joint_loss([Cost.linear("nu", "r")], parameters={"nu": 1.0}).costs[0].expression == sp.Symbol(
        "nu", real=True
    ) * sp.Symbol("r", real=True)
