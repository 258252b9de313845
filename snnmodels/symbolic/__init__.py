"""Models as SymPy expressions, their adjoints, and derivations that a reader can follow."""

from .adjoint import Adjoint, ArrivalJump, NotDifferentiable, ReleaseJump, SpikeJump
from .declaration import hybrid_system
from .parsing import UnsupportedExpression, parse_expression, print_expression, symbol
from .parts import Arrival, RefractoryPeriod
from .published import PublishedRule, published_lif_rule
from .system import HybridSystem

__all__ = [
    "Adjoint",
    "Arrival",
    "ArrivalJump",
    "HybridSystem",
    "NotDifferentiable",
    "PublishedRule",
    "RefractoryPeriod",
    "ReleaseJump",
    "SpikeJump",
    "UnsupportedExpression",
    "hybrid_system",
    "parse_expression",
    "print_expression",
    "published_lif_rule",
    "symbol",
]
