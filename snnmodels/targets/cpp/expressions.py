"""SymPy expressions as C++ over numbers and lanes."""

from __future__ import annotations

import sympy as sp
from sympy.printing.str import StrPrinter

__all__ = ["expression"]

_FUNCTIONS = ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "atan", "exprel")


class _Printer(StrPrinter):
    """SymPy to C++ over numbers and lanes; functions are those of runtime/lanes.h."""

    def _print_Integer(self, expr: sp.Integer) -> str:
        return f"{expr.p}.0"

    def _print_One(self, expr: sp.Expr) -> str:
        return "1.0"

    def _print_NegativeOne(self, expr: sp.Expr) -> str:
        return "-1.0"

    def _print_Zero(self, expr: sp.Expr) -> str:
        return "0.0"

    def _print_Rational(self, expr: sp.Rational) -> str:
        return f"({expr.p}.0/{expr.q}.0)"

    def _print_Half(self, expr: sp.Rational) -> str:
        return "0.5"

    def _print_Float(self, expr: sp.Float) -> str:
        return repr(float(expr))

    def _print_Pi(self, expr: sp.Expr) -> str:
        return repr(float(sp.pi))

    def _print_Exp1(self, expr: sp.Expr) -> str:
        return repr(float(sp.E))

    def _print_Pow(self, expr: sp.Pow, rational: bool = False) -> str:
        base, exponent = expr.base, expr.exp
        if exponent == sp.Rational(1, 2):
            return f"sqrt({self._print(base)})"
        if exponent == sp.Rational(-1, 2):
            return f"(1.0/sqrt({self._print(base)}))"
        inner = self._print(base) if base.is_Symbol else f"({self._print(base)})"
        if exponent.is_Integer and 0 < abs(int(exponent)) <= 8:
            product = "*".join([inner] * abs(int(exponent)))
            return f"({product})" if int(exponent) > 0 else f"(1.0/({product}))"
        return f"pow({inner}, {self._print(exponent)})"

    def _print_Function(self, expr: sp.Function) -> str:
        name = expr.func.__name__
        if name not in _FUNCTIONS:
            where = "_FUNCTIONS in targets/cpp/expressions.py, and runtime/lanes.h"
            raise NotImplementedError(f"no C++ for the function {name!r}: add it to {where}")
        return f"{name}({self._print(expr.args[0])})"

    def _print_cot(self, expr: sp.cot) -> str:
        return self._print(1 / sp.tan(expr.args[0]))  # what SymPy makes of tan(x + pi/2)

    def _print_exp(self, expr: sp.exp) -> str:
        return f"exp({self._print(expr.args[0])})"

    def _print_Step(self, expr: sp.Expr) -> str:
        return f"is_positive({self._print(expr.args[0])})"

    def _print_ExpDD(self, expr: sp.Expr) -> str:
        return f"expdd{len(expr.args)}({', '.join(self._print(a) for a in expr.args)})"


def expression(e: sp.Expr) -> str:
    """A SymPy expression in C++."""
    return _Printer({"order": "none"}).doprint(e)
