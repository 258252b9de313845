"""Brian2 expressions to SymPy and back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sympy as sp

from snnmodels.symbolic.parsing import UnsupportedExpression, parse_expression, print_expression, symbol
from snnmodels.symbolic.programs import Program
from snnmodels.templates.units import expression_dimension, unit_dimension


@pytest.mark.parametrize(
    "text",
    [
        "(v_rest - v + I_syn)/tau_m",
        "-v + delta*exp((v - v_t)/delta)",
        "v**2 - 3*v/4 + 0.25",
        "1/(v*v*v) + sqrt(v + 2.0)",
        "v**-0.5 + v**(1/3)",
        "tanh(v)*arctan(delta) - log(v)",
        "2e-3*v**7",
        "exp(1)*v + arctan(1)",
    ],
)
def test_round_trip_keeps_the_value(text: str) -> None:
    expression = parse_expression(text)
    again = parse_expression(print_expression(expression))
    rng = np.random.default_rng(0)
    for _ in range(5):
        values = {s: sp.Float(rng.uniform(0.5, 2.0), 30) for s in expression.free_symbols}
        assert abs(expression.subs(values).evalf(25) - again.subs(values).evalf(25)) < 1e-14


def test_decimals_are_exact() -> None:
    assert parse_expression("0.1 + 0.2") == sp.Rational(3, 10)


def test_symbols_are_shared() -> None:
    assert parse_expression("v - v_th") == symbol("v") - symbol("v_th")


def test_constants_print_as_numbers() -> None:
    """What SymPy calls E and pi has no name in generated code."""
    assert print_expression(parse_expression("exp(1)*v")) == "2.718281828459045*v"
    assert print_expression(parse_expression("4*arctan(1)*v")) == "3.141592653589793*v"


def test_integer_powers_print_as_products() -> None:
    assert print_expression(parse_expression("v**3")) == "(v*v*v)"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("int(v)", "the condition 'v'"),
        ("int(v == 1)", "v == 1"),
        ("int(0 < v < 1)", "0 < v < 1"),
        ("clip(v, 0)", "3 arguments"),
        ("v > v_th", "v > v_th"),
        ("v if v else 1", "v if v else 1"),
        ("v and w", "v and w"),
        ("v % 2", "v % 2"),
        ("rand()", "rand"),
        ("exp(v, w)", "one argument"),
        ("True", "True"),
        ("'text'", "text"),
        ("(v", "not an expression"),
    ],
)
def test_what_has_no_derivative_is_refused_by_name(text: str, part: str) -> None:
    with pytest.raises(UnsupportedExpression) as error:
        parse_expression(text)
    assert part in str(error.value)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("int(v > w)", lambda v, w: v > w),
        ("int(v >= w)", lambda v, w: v >= w),
        ("int(v < w) + int(v <= w)", lambda v, w: int(v < w) + int(v <= w)),
        ("int(v > 1 and not w > 2)", lambda v, w: v > 1 and not w > 2),
        ("int(v > 1 or w > 2 or v > w)", lambda v, w: v > 1 or w > 2 or v > w),
        ("abs(v - w)", lambda v, w: abs(v - w)),
        ("clip(v, w, w + 1)", lambda v, w: min(max(v, w), w + 1)),
    ],
)
def test_conditions_are_1_where_they_hold(text: str, meaning: Callable[[float, float], float]) -> None:
    expression = parse_expression(text)
    program = Program((), {"y": expression}).compile(["v", "w"])
    again = Program((), {"y": parse_expression(print_expression(expression))}).compile(["v", "w"])
    for v in (0.0, 1.0, 1.5, 2.0, 3.0):
        for w in (0.0, 1.0, 2.0, 2.5):
            assert program(v, w)["y"] == again(v, w)["y"] == float(meaning(v, w))


def test_a_condition_has_no_slope() -> None:
    assert sp.diff(parse_expression("int(v > w)*v**2"), symbol("v")) == parse_expression("2*v*int(v > w)")


@pytest.mark.parametrize("text", ["1/(z - z)", "log(0)", "0*z/0", "z - 1e400", "z**(1/0)"])
def test_what_is_never_finite_is_refused(text: str) -> None:
    with pytest.raises(UnsupportedExpression, match="finite"):
        parse_expression(text)


@pytest.mark.parametrize(
    "text", [f"int({side})*w" for side in ("v > v_th", "v <= v_th", "v > 0*v", "-v > v_th")] + ["abs(v)"]
)
def test_conditions_are_printed_as_brian2_compares_quantities(text: str) -> None:
    """Both sides in one unit; and what is printed is what was read."""
    volt = unit_dimension("volt")
    printed = print_expression(parse_expression(text))
    assert expression_dimension(printed, {"v": volt, "v_th": volt, "w": volt}) is volt
    rng = np.random.default_rng(0)
    for v, v_th, w in [*rng.normal(size=(10, 3)), (0.5, 0.5, 1.0), (-0.5, 0.5, 1.0), (0.0, 0.5, 1.0)]:
        values = {"v": v, "v_th": v_th, "w": w}
        assert eval(printed, {}, values) == pytest.approx(eval(text, {}, values))
