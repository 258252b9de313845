"""What parameters can be together: comparisons such as ``v_reset < v_th``."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Mapping
from types import CodeType
from typing import Any

import numpy as np

from .expressions import called_functions, check_expression, parse
from .model import Model
from .units import numbers_in, variables_in

__all__ = ["broken", "evaluated", "holds", "parse_constraint", "violated"]

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
        As for `parse_constraint`; its functions are those of `numpy`, and ``exprel``.
    values : mapping of str to float or array
        Of every name in it.

    Returns
    -------
    array of bool
        False where a side isn't a number.
    """
    return evaluated(condition, values).astype(bool)


def evaluated(expression: str, values: Mapping[str, float | Array]) -> Array:
    """The values of an expression or comparison.

    Parameters
    ----------
    expression : str
    values : mapping of str to float or array
        Of every variable in it, in SI units.
    """
    code, known, free = _read(expression)
    names = known | {name: np.asarray(values[name], dtype=float) for name in free}
    with np.errstate(all="ignore"):
        return np.asarray(eval(code, {"__builtins__": {}}, names))


@functools.cache  # training asks after every step
def _read(condition: str) -> tuple[CodeType, dict[str, Any], list[str]]:
    """An expression compiled, the functions, units and constants in it, and the names of its variables."""
    functions = {name: _function(name) for name in called_functions(condition)}
    return compile(parse(condition), condition, "eval"), {**functions, **numbers_in(condition)}, variables_in(condition)


def _function(name: str) -> Any:
    if name == "int":
        return lambda x: np.asarray(x).astype(int)
    if name == "exprel":
        from scipy.special import exprel  # takes as long to import as all of NumPy

        return exprel
    return getattr(np, name)


def violated(model: Model, values: Mapping[str, float | Array]) -> str:
    """What is wrong with values of all parameters together: empty, or which constraint does not hold.

    Parameters
    ----------
    model : Model
    values : mapping of str to float or array
        In SI base units.
    """
    return broken(model.constraints, values)


def broken(constraints: Iterable[str], values: Mapping[str, float | Array]) -> str:
    """Which of some comparisons does not hold, as `violated` says it.

    Parameters
    ----------
    constraints : iterable of str
    values : mapping of str to float or array
        Of every name in them, in SI base units.
    """
    for constraint in constraints:
        fine = holds(constraint, values)
        if not fine.all():
            # of the first neuron where it doesn't, if neurons differ
            first = int(np.argmin(fine)) if fine.ndim else 0
            own = {name: np.ravel(values[name]) for name in variables_in(constraint)}
            found = ", ".join(f"{name} = {v[first if v.size > 1 else 0]:g}" for name, v in own.items())
            return f"{constraint!r} must hold, but {found}" + (f" in neuron {first}" if fine.ndim else "")
    return ""
