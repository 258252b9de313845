"""exprel(x) = (exp(x) - 1)/x and its derivatives, at and near x = 0, everywhere that numbers are made of it."""

from __future__ import annotations

import ctypes

import mpmath
import numpy as np
import pytest
import sympy as sp

from snnmodels.symbolic.divided_differences import MODULES, cpp_source, exprel, exprel_values
from snnmodels.symbolic.flows import Flow
from snnmodels.symbolic.parsing import parse_expression, print_expression, symbol
from snnmodels.symbolic.programs import Builder, Program
from snnmodels.symbolic.system import HybridSystem
from snnmodels.targets.compilation import library
from tests.needs import COMPILER

POINTS = (0.0, 1e-300, -1e-12, 3e-9, -1e-5, 1e-3, -0.3, 1.9, 2.1, -6.0, 30.0, -40.0, 300.0, -800.0)
X = symbol("x")


def reference(order: int, x: float) -> float:
    """∫ t^n exp(t x) dt from 0 to 1, the n-th derivative."""
    with mpmath.workdps(60):
        return float(mpmath.hyp1f1(order + 1, order + 2, mpmath.mpf(x)) / (order + 1))


@pytest.mark.parametrize("order", range(7))
def test_derivatives_of_every_order(order: int) -> None:
    derivative = sp.diff(parse_expression("exprel(x)"), X, order) if order else parse_expression("exprel(x)")
    printed = Program((), {"y": derivative}).compile(["x"])
    called = sp.lambdify([X], derivative, MODULES)
    for x in POINTS:
        expected = pytest.approx(reference(order, x), rel=2e-14, abs=0)
        assert float(printed(x)["y"]) == expected
        assert float(called(x)) == expected
    np.testing.assert_allclose(printed(np.array(POINTS))["y"], [reference(order, x) for x in POINTS], rtol=2e-14)


@COMPILER
def test_compiled_divided_differences_are_the_same() -> None:
    code = "#include <cmath>\nusing namespace std;\n" + cpp_source("static inline")
    code += 'extern "C" double first(double x) { return expdd3(x, x, 0); }\n'
    code += 'extern "C" double value(double x) { return expdd2(x, 0); }\n'
    built = library("exprel", code, ("-std=c++17", "-O2"))
    for order, name in ((0, "value"), (1, "first")):
        function = getattr(built, name)
        function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double]
        for x in POINTS:
            assert function(x) == pytest.approx(reference(order, x), rel=2e-14, abs=0)


def test_syntax_of_brian2_and_back() -> None:
    e = parse_expression("0.1/exprel(-(v + 0.04)/0.01)")
    assert isinstance(e.atoms(exprel).pop(), exprel)
    assert parse_expression(print_expression(e)) == e
    assert parse_expression("exprel(0)") == 1
    assert float(parse_expression("exprel(1e-9)")) == pytest.approx(1 + 5e-10, rel=1e-15, abs=0)
    assert sp.latex(exprel(X)) == r"\operatorname{exprel}\left(x\right)"
    assert exprel(X).is_positive


@pytest.mark.parametrize("start", [0.0, 1e-8, 0.7])
def test_the_taylor_series_on_a_grid_is_exact_at_the_singularity(start: float) -> None:
    """dx/dt = 1/exprel(x) from what is 0/0 written out: order 4 against differences of the flow by mpmath."""
    system = HybridSystem(
        "flow", (X,), (), {X: 1 / exprel(X)}, None, {X: X}, {}, {X: sp.Integer(0)}, {}, {X: "1"}
    )
    builder = Builder()
    after = Flow.of(system, 1e-2, order=5).write(builder, {X: X}, symbol("s"))
    program = builder.program({"y": after[X]}).compile(["x", "s"])
    with mpmath.workdps(30):
        f = mpmath.odefun(lambda t, x: x / mpmath.expm1(x) if x else mpmath.mpf(1), 0, mpmath.mpf(start))
        expected = float(f(0.01))
    assert float(program(start, 0.01)["y"]) == pytest.approx(expected, abs=1e-13)


def test_pi_and_e() -> None:
    assert parse_expression("pi") == sp.pi
    assert parse_expression("e**x") == sp.exp(X)
    e = parse_expression("2*pi*x + exp(1)")
    assert Program((), {"y": e}).compile(["x"])(1.0)["y"] == pytest.approx(2 * np.pi + np.e, rel=1e-15, abs=0)
    assert parse_expression("pi", numbers=False) == symbol("pi")
    assert exprel_values(0.0) == 1.0
