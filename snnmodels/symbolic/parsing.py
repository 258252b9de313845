"""Expressions in Brian2's syntax to SymPy and back.

Only what has a derivative is accepted: a function whose derivative would be unknown is refused here, by name, rather
than turned into a silent zero later. A condition, ``int(v > v_th)``, has the derivative 0 on both sides of where it
turns: it becomes a `Step`, and what happens at the turn is for `HybridSystem` to see to.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

import sympy as sp
from sympy.printing.str import StrPrinter

from ..templates.errors import brief
from ..templates.expressions import parse
from ..templates.units import is_unit_name, unit_value
from .divided_differences import exprel
from .steps import Step

FUNCTIONS: dict[str, type[sp.Function] | sp.Function] = {
    "exp": sp.exp,
    "exprel": exprel,
    "log": sp.log,
    "sin": sp.sin,
    "cos": sp.cos,
    "tan": sp.tan,
    "sinh": sp.sinh,
    "cosh": sp.cosh,
    "tanh": sp.tanh,
    "arctan": sp.atan,
    "sqrt": sp.sqrt,
}

# Brian2's names of numbers
CONSTANTS = {"pi": sp.pi, "e": sp.E}

_OPERATORS = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
}


_COMPARISONS: dict[type[ast.cmpop], Callable[[sp.Expr, sp.Expr], sp.Expr]] = {
    ast.Gt: lambda a, b: Step(a - b),
    ast.Lt: lambda a, b: Step(b - a),
    ast.LtE: lambda a, b: 1 - Step(a - b),
    ast.GtE: lambda a, b: 1 - Step(b - a),
}
# functions with a corner, by what they are on both sides of it
_PIECEWISE: dict[str, tuple[int, Callable[..., sp.Expr]]] = {
    "abs": (1, lambda x: x * (2 * Step(x) - 1)),
    "clip": (3, lambda x, low, high: x + Step(low - x) * (low - x) + Step(x - high) * (high - x)),
}

CORNERS = (*_PIECEWISE, "int")
"""What equations of models may call beside `FUNCTIONS`: it, or its derivative, jumps somewhere."""


class UnsupportedExpression(ValueError):
    """An expression that has no derivative here; the message says which part and what to use instead."""


def symbol(name: str) -> sp.Symbol:
    """The SymPy symbol of a model variable or parameter (always real)."""
    return sp.Symbol(name, real=True)


def parse_expression(text: str, *, numbers: bool = True) -> sp.Expr:
    """A Brian2 expression as SymPy.

    Parameters
    ----------
    text : str
        For example ``"(I_syn - v)/tau_m"``.
    numbers : bool
        Whether ``pi`` and ``e`` stand for themselves and the names of units for what they are in SI base units (``mV``
        for 1/1000), as in equations of models, whose variables can't be called so; else they are symbols as others.

    Returns
    -------
    sympy.Expr
        Over symbols from `symbol`.

    Raises
    ------
    UnsupportedExpression
        For syntax errors, comparisons outside of int(), random numbers, functions without a derivative, and what is
        never finite.
    """
    try:
        tree = parse(text)
    except ValueError as error:
        raise UnsupportedExpression(str(error)) from None

    def condition(node: ast.expr) -> sp.Expr:
        """1 where a condition holds, else 0."""
        match node:
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARISONS:
                return _COMPARISONS[type(op)](convert(left), convert(right))
            case ast.BoolOp(op=ast.And(), values=parts):
                return sp.Mul(*(condition(p) for p in parts))
            case ast.BoolOp(op=ast.Or(), values=parts):
                return 1 - sp.Mul(*(1 - condition(p) for p in parts))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return 1 - condition(operand)
        raise UnsupportedExpression(
            f"{text!r} contains the condition {ast.unparse(node)!r}; expected comparisons by >, >=, < or <= of two "
            "expressions, joined by and, or, not"
        )

    def convert(node: ast.expr) -> sp.Expr:
        match node:
            case ast.Constant(value=bool()):
                pass
            case ast.Constant(value=int() as value):
                return sp.Integer(value)
            case ast.Constant(value=float() as value):
                # 0.5 and 1e-3 are meant as decimals: as rationals they cancel exactly in the derivation
                return sp.Rational(repr(value))
            case ast.Name(id=name) if numbers and name in CONSTANTS:
                return CONSTANTS[name]
            case ast.Name(id=name) if numbers and is_unit_name(name):
                return sp.Rational(repr(unit_value(name)))
            case ast.Name(id=name):
                return symbol(name)
            case ast.BinOp(op=ast.BitXor()):
                raise UnsupportedExpression(f"{text!r} contains '^', which is not a power here; write ** for it")
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -convert(operand)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return convert(operand)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](convert(left), convert(right))
            case ast.Call(func=ast.Name(id="int"), args=[argument], keywords=[]):
                return condition(argument)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _PIECEWISE:
                n, function = _PIECEWISE[name]
                if len(args) != n:
                    raise UnsupportedExpression(f"{text!r}: {name} takes {n} arguments, not {len(args)}")
                return function(*map(convert, args))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                if name not in FUNCTIONS:
                    raise UnsupportedExpression(
                        f"{text!r} calls {name!r}, for which no derivative is defined; use one of "
                        f"{', '.join(sorted([*FUNCTIONS, *_PIECEWISE]))}, int(condition), or ordinary arithmetic"
                    )
                if len(args) != 1:
                    raise UnsupportedExpression(f"{text!r}: {name} takes one argument, not {len(args)}")
                return FUNCTIONS[name](convert(args[0]))
        raise UnsupportedExpression(
            f"{text!r} contains {ast.unparse(node)!r}, which has no derivative everywhere; "
            "use arithmetic and smooth functions"
        )

    found = sp.sympify(convert(tree.body))
    if found.has(sp.zoo, sp.oo, -sp.oo, sp.nan):
        raise UnsupportedExpression(f"{brief(text)} divides by what is always 0, or is not finite for another reason")
    return found


class _BrianPrinter(StrPrinter):
    """Prints SymPy in the syntax that Brian2 parses on every target."""

    def _print_Rational(self, expr: sp.Rational) -> str:
        return f"({expr.p}.0/{expr.q}.0)" if expr.q != 1 else str(expr.p)

    def _print_Half(self, expr: sp.Rational) -> str:
        return "0.5"

    def _print_Float(self, expr: sp.Float) -> str:
        return repr(float(expr))

    def _print_Pi(self, expr: sp.Expr) -> str:
        return repr(float(expr))

    def _print_Exp1(self, expr: sp.Expr) -> str:
        return repr(float(expr))

    def _print_cot(self, expr: sp.cot) -> str:
        return str(self._print(1 / sp.tan(expr.args[0])))  # what SymPy makes of tan(x + pi/2)

    def _print_Pow(self, expr: sp.Pow, rational: bool = False) -> str:
        base, exponent = expr.as_base_exp()
        if exponent == sp.Rational(1, 2):
            return f"sqrt({self._print(base)})"
        inner = self.parenthesize(base, 100)
        if expr.exp.is_Integer:
            n = int(expr.exp)
            # a product is exact and cheap on every target; pow() is neither
            product = "*".join([self.parenthesize(expr.base, 100)] * abs(n))
            if 0 < n <= 6:
                return f"({product})" if n > 1 else product
            if -6 <= n < 0:
                return f"(1.0/({product}))"
        return f"{inner}**({self._print(exponent)})" if exponent == expr.exp else f"{inner}**({self._print(expr.exp)})"

    def _print_Step(self, expr: Step) -> str:
        # both sides in one unit: Brian2 compares nothing that has one with 0
        terms = sp.Add.make_args(expr.args[0])
        left = sp.Add(*(term for term in terms if not term.could_extract_minus_sign()))
        right = left - expr.args[0]
        if left == 0 or right == 0:
            whole = self._print(expr.args[0])
            return f"int({whole} > 0*({whole}))"
        return f"int({self._print(left)} > {self._print(right)})"

    def _print_atan(self, expr: sp.atan) -> str:
        return f"arctan({self._print(expr.args[0])})"


def print_expression(expression: sp.Expr) -> str:
    """A SymPy expression in Brian2's syntax, for code that Brian2 will parse."""
    return _BrianPrinter({"order": "none"}).doprint(expression)
