"""Models as SymPy expressions, their adjoints, and derivations that a reader can follow."""

from .adjoint import Adjoint, ArrivalJump, NotDifferentiable, SpikeJump
from .parsing import UnsupportedExpression, parse_expression, print_expression, symbol
from .system import Arrival, HybridSystem

__all__ = [
    "Adjoint",
    "Arrival",
    "ArrivalJump",
    "HybridSystem",
    "NotDifferentiable",
    "SpikeJump",
    "UnsupportedExpression",
    "parse_expression",
    "print_expression",
    "symbol",
]
