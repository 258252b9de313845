"""What parameters can be together: comparisons such as ``v_reset < v_th``."""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from types import CodeType
from typing import Any

import numpy as np

from .expressions import called_functions, check_expression, free_names, parse
from .model import Model

__all__ = ["holds", "parse_constraint", "violated"]

Array = np.ndarray


def parse_constraint(condition: str) -> tuple[str, str]:
    """The lesser and the greater side of a comparison of parameters, such as ``v_reset < v_th``.

    Raises
    ------
    ValueError
        If it is not one comparison with ``<``, ``<=``, ``>`` or ``>=``.
    """
    match parse(condition).body:
        case ast.Compare(left=left, ops=[ast.Lt() | ast.LtE()], comparators=[right]):
            sides = left, right
        case ast.Compare(left=right, ops=[ast.Gt() | ast.GtE()], comparators=[left]):
            sides = left, right
        case _:
            raise ValueError(f"{condition!r} is not a comparison of parameters; write one, as in v_reset < v_th")
    lesser, greater = (ast.unparse(side) for side in sides)
    for side in (lesser, greater):
        check_expression(side)
    return lesser, greater


def holds(condition: str, values: Mapping[str, float | Array]) -> Array:
    """Where a comparison holds.

    Parameters
    ----------
    condition : str
        As for `parse_constraint`; its functions are those of `numpy`.
    values : mapping of str to float or array
        Of every name in it.

    Returns
    -------
    array of bool
        False where a side isn't a number.
    """
    code, functions, free = _read(condition)
    names = functions | {name: np.asarray(values[name], dtype=float) for name in free}
    with np.errstate(all="ignore"):
        return np.asarray(eval(code, {"__builtins__": {}}, names), dtype=bool)


@functools.cache  # training asks after every step
def _read(condition: str) -> tuple[CodeType, dict[str, Any], list[str]]:
    """A comparison compiled, the functions that it calls, and the names of its variables."""
    functions = {name: getattr(np, name) for name in called_functions(condition)}
    return compile(parse(condition), condition, "eval"), functions, free_names(condition)


def violated(model: Model, values: Mapping[str, float | Array]) -> str:
    """What is wrong with values of all parameters together: empty, or which constraint does not hold.

    Parameters
    ----------
    model : Model
    values : mapping of str to float or array
        In SI base units.
    """
    for constraint in model.constraints:
        if not holds(constraint, values).all():
            found = ", ".join(f"{name} = {_spread(values[name])}" for name in free_names(constraint))
            return f"{constraint!r} must hold, but {found}"
    return ""


def _spread(values: float | Array) -> str:
    low, high = float(np.min(values)), float(np.max(values))
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
