"""Straight-line programs: derivatives, simplification, printing."""

import numpy as np
import pytest
import sympy as sp

from snnmodels.symbolic.parsing import UnsupportedExpression, symbol
from snnmodels.symbolic.programs import Builder, Program, cotangent

X, Y, P = symbol("x"), symbol("y"), symbol("p")


def example() -> Program:
    b = Builder()
    u = b.assign(sp.exp(X * P) + Y)
    v = b.assign(u**2 / (1 + Y**2))
    return b.program({"a": v + sp.tanh(u), "b": v * X})


def test_vjp_equals_complex_step_derivatives() -> None:
    program = example()
    backward = program.vjp({"x": X, "y": Y, "p": P})
    at = {"x": 0.3, "y": -0.7, "p": 1.1}
    weights = {"a": 0.9, "b": -1.3}
    names = {cotangent("a").name: weights["a"], cotangent("b").name: weights["b"]}
    got = backward.compile([*at, *names])(*at.values(), *names.values())
    run = program.compile(list(at))
    for key in at:
        shifted = run(*(v + 1e-30j if k == key else v for k, v in at.items()))
        expected = sum(w * shifted[k].imag for k, w in weights.items()) / 1e-30
        assert got[key] == pytest.approx(expected, rel=1e-14)


def test_simplification_changes_no_value() -> None:
    program = example()
    simple = program.simplified()
    for at in ((0.3, -0.7, 1.1), (2.0, 0.1, -0.4)):
        a, b = program.compile(["x", "y", "p"])(*at), simple.compile(["x", "y", "p"])(*at)
        assert a == pytest.approx(b, rel=1e-14)


def test_select_drops_what_an_output_does_not_need() -> None:
    b = Builder()
    u, v = b.assign(X + 1), b.assign(sp.exp(Y))
    program = b.program({"a": u * 2, "b": v})
    assert program.select(["a"]).inputs == {X}
    assert len(program.select(["a"]).statements) == 1


def test_a_derivative_that_is_a_step_is_refused() -> None:
    program = Program((), {"a": sp.Abs(X) * Y})
    with pytest.raises(UnsupportedExpression, match="not smooth"):
        program.vjp({"x": X})


def test_printed_code_runs_and_gives_the_value() -> None:
    program = example()
    scope = {"x": 0.3, "y": -0.7, "p": 1.1, "exp": np.exp, "tanh": np.tanh}
    for line in program.lines():
        exec(line, scope)
    expected = program.compile(["x", "y", "p"])(0.3, -0.7, 1.1)["b"]
    (name, _), *_ = [s for s in program.statements if program.outputs["b"].has(s[0])]
    assert scope[name.name] * 0.3 == pytest.approx(expected, rel=1e-14)
