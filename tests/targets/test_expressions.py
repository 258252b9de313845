"""C++ of expressions: of every function that a template may call, of its derivatives, and of what SymPy makes of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy as sp

from snnmodels.symbolic.divided_differences import MODULES
from snnmodels.symbolic.parsing import FUNCTIONS, parse_expression, print_expression
from snnmodels.targets.cpp.expressions import expression

V = sp.Symbol("v", real=True)
ARGUMENTS = ("v", "1/v", "v + pi/2", "pi/2 - v", "log(v)", "tan(v + pi/2)")


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("argument", ARGUMENTS)
def test_all_that_a_template_may_call_has_cpp(name: str, argument: str) -> None:
    found = parse_expression(f"{name}({argument})")
    for e in (found, sp.diff(found, V), sp.diff(found, V, 2)):
        assert "cot" not in expression(e)
        assert "cot" not in print_expression(e)
    value = 0.3  # where all of them are real
    expected = {"arctan": math.atan, "exprel": lambda x: math.expm1(x) / x}.get(name) or getattr(math, name)
    inner = float(eval(argument, {"v": value, "pi": math.pi, "log": math.log, "tan": math.tan}))
    if name in ("log", "sqrt") and inner < 0:
        return
    assert float(sp.lambdify(V, found, MODULES)(value)) == pytest.approx(expected(inner), rel=1e-9)


def test_the_cotangent_is_written_with_the_tangent() -> None:
    for text in (expression(sp.cot(V)), print_expression(sp.cot(V))):
        assert eval(text, {"v": 0.3, "tan": math.tan}) == pytest.approx(1 / np.tan(0.3))
