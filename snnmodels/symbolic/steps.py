"""Conditions as functions of 0 and 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sympy as sp

__all__ = ["NUMPY_CONDITION", "NUMPY_STEP", "Step", "above", "moves"]


class Step(sp.Function):
    """1 where its argument is more than 0, else 0; its derivative counts as 0, so no event may hide in it."""

    nargs = 1
    is_real = True

    @classmethod
    def eval(cls, argument: sp.Expr) -> sp.Expr | None:
        """The value for a number."""
        if argument.is_number and argument.is_extended_real:
            return sp.Integer(bool(argument > 0))
        return None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """0, on both sides of where it turns."""
        return sp.Integer(0)


def moves(jump: Mapping[sp.Symbol, sp.Expr], surface: sp.Expr) -> bool:
    """Whether a jump changes what a surface is made of."""
    changed = {x for x in surface.free_symbols if jump.get(x, x) != x}
    return bool(changed) and sp.expand(surface.xreplace({x: jump[x] for x in changed}) - surface) != 0


def above(jump: Mapping[sp.Symbol, sp.Expr], surface: sp.Expr, otherwise: sp.Expr) -> sp.Expr:
    """Whether a surface is more than 0 just after a jump; `otherwise` if the jump leaves it as it is."""
    return Step(surface.xreplace(dict(jump))) if moves(jump, surface) else otherwise


NUMPY_STEP: dict[str, Callable[[Any], Any]] = {"Step": lambda x: np.where(np.greater(x, 0), 1.0, 0.0)}
"""`Step` for `sympy.lambdify`."""
NUMPY_CONDITION: dict[str, Callable[[Any], Any]] = {"int": lambda condition: np.where(condition, 1.0, 0.0)}
"""What printed conditions, ``int(x > 0)``, call where they run over arrays."""
