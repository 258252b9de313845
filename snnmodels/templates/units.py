"""Units and dimensions: the only part of the templates that uses Brian2.

A dimension is Brian2's own object; a unit is text that names one in Brian2's equation syntax (``"volt/second"``).
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from brian2.core.functions import DEFAULT_FUNCTIONS
from brian2.core.namespace import DEFAULT_UNITS
from brian2.core.variables import Variable
from brian2.equations.equations import EquationError, Equations, dimensions_and_type_from_string
from brian2.parsing.expressions import parse_expression_dimensions
from brian2.units.fundamentalunits import (
    DIMENSIONLESS,
    DimensionMismatchError,
    Quantity,
    Unit,
    get_dimensions,
    standard_unit_register,
)

from ._uncaught import take_over
from .errors import suggest
from .expressions import (
    BRANCHING,
    OutOfReach,
    called_functions,
    check_expression,
    free_names,
    is_name,
    parse,
    replace_nodes,
)

__all__ = [
    "check_identifier",
    "evaluate_quantity",
    "expression_dimension",
    "is_unit_name",
    "numbers_in",
    "parse_equations",
    "quantity_in",
    "resolve_unit",
    "unit_dimension",
    "unit_of_dimension",
    "unit_value",
    "variables_in",
    "wrong_unit",
]

take_over()
Dimension = Any
_SYMBOLS = {"s": "second", "V": "volt", "A": "amp", "F": "farad", "S": "siemens"}  # which Brian2 leaves to variables
_COMMON = ("ms", "us", "second", "mV", "volt", "pA", "nA", "nS", "pF", "Mohm", "Hz", "metre")
_CONSTANTS = ("pi", "e")  # Brian2's names of numbers; its inf is none to compute with
# Each gives another value at every call, or a rounding that depends on dt: no model with a derivative has them.
_NOT_A_MODEL = {"rand", "randn", "poisson", "timestep"}


def unit_dimension(unit: str) -> Dimension:
    """The dimension of a base unit such as ``"volt/second"``.

    Raises
    ------
    ValueError
        For anything else, mV included.
    """
    try:
        parse(unit)  # Brian2 evaluates whatever it is
        dimension, kind = dimensions_and_type_from_string(unit)
    except (ValueError, SyntaxError, TypeError) as error:
        hint = str(error) if "base unit" in str(error) else "expected base units such as 1, volt, second, 1/second"
        raise ValueError(f"{unit!r} is not a unit: {hint}") from None
    if kind != "float":
        raise ValueError(f"{unit!r} is not a unit: variables of a model are real numbers with base units")
    return dimension


def unit_of_dimension(dimension: Dimension) -> str:
    """A unit in Brian2's syntax for a dimension; ``"1"`` when there is none."""
    if dimension is DIMENSIONLESS:
        return "1"
    # of Brian2's own units alone: its `get_unit` also finds whatever compound unit has been evaluated before in this
    # process, so that a unit would be spelt as "volt / second" or otherwise by what ran before
    known = standard_unit_register.units_for_dimensions.get(dimension, {})
    if 1.0 not in known:
        return repr(Unit(1.0, dim=dimension))
    # its names of powers, as second2, are not those that its equations read
    return re.sub(r"(?<=[a-z])([23])$", r"**\1", repr(known[1.0]))


def resolve_unit(text: str, units: Mapping[str, str]) -> str:
    """A unit in which ``unit(x)`` may stand for the unit of a variable.

    Parameters
    ----------
    text : str
        For example ``"unit(I_syn)/unit(v)"`` or ``"second"``.
    units : mapping of str to str
        What ``unit(name)`` may ask for.

    Returns
    -------
    str
        Base unit in Brian2's syntax.

    Raises
    ------
    ValueError
        If it isn't a base unit, or asks for the unit of an unknown variable.
    """
    if "unit(" not in text.replace(" ", ""):
        unit_dimension(text)
        return text.strip()
    concrete = _expand_calls(text, {"unit": units})
    value, dimension, _ = evaluate_quantity(concrete)
    if value != 1:
        raise ValueError(f"{text!r} is not made of base units; expected units such as volt, not mV")
    return unit_of_dimension(dimension)


def evaluate_quantity(
    value: str | float, scales: Mapping[str, str] | None = None, initials: Mapping[str, str] | None = None
) -> tuple[float, Dimension, str]:
    """A number with its unit, as a template writes it.

    Parameters
    ----------
    value : str or number
        For example ``"20*ms"``, ``"-65*mV"``, ``1.5`` or ``"0.1*scale(v)"``.
    scales : mapping of str to str, optional
        What ``scale(name)`` stands for.
    initials : mapping of str to str, optional
        What ``initial(name)`` stands for.

    Returns
    -------
    value : float
        In SI base units.
    dimension : brian2 Dimension
    text : str
        The quantity in Brian2's syntax.

    Raises
    ------
    ValueError
        If it isn't a finite number with a known unit.
    """
    calls = {"scale": scales or {}, "initial": initials or {}}
    text = _expand_calls(value, calls) if isinstance(value, str) else repr(value)
    tree = _parse_quantity(text)
    try:
        with np.errstate(all="ignore"):
            result = _evaluate(tree, text)
    except (DimensionMismatchError, ZeroDivisionError, OverflowError) as error:
        raise ValueError(f"{text!r} can't be evaluated: {str(error).splitlines()[0]}") from None
    number = float(Quantity(result))
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is not finite")
    dimension = get_dimensions(result)
    if "scale(" in str(value) and dimension is DIMENSIONLESS:
        text = repr(number)
    return number, dimension, text.strip()


def quantity_in(
    value: Any, unit: str, scales: Mapping[str, str] | None = None, initials: Mapping[str, str] | None = None
) -> tuple[float, str]:
    """A number with its unit in SI base units, and as text.

    Parameters
    ----------
    value : str or number
        As for `evaluate_quantity`.
    unit : str
        That it has to be in, as for `unit_dimension`; 0 needs none.
    scales : mapping of str to str, optional
        What ``scale(name)`` stands for.
    initials : mapping of str to str, optional
        What ``initial(name)`` stands for.

    Returns
    -------
    value : float
    text : str
        The quantity in Brian2's syntax.

    Raises
    ------
    ValueError
        If it isn't a finite number in that unit.
    """
    number, dimension, text = evaluate_quantity(value, scales, initials)
    expected = unit_dimension(unit)
    if dimension is not expected and not (number == 0 and dimension is DIMENSIONLESS):
        raise ValueError(f"{text!r} {wrong_unit(dimension, expected)}")
    return number, text


def expression_dimension(expression: str, dimensions: Mapping[str, Dimension]) -> Dimension:
    """The dimension of an expression by Brian2's own rules.

    Parameters
    ----------
    expression : str
    dimensions : mapping of str to Dimension
        Of every variable in it; ``pi``, ``e`` and the names of units are what Brian2 takes them for.

    Raises
    ------
    ValueError
        If it isn't consistent, or calls a function that Brian2 doesn't have or that no model may use.
    """
    for function in called_functions(expression):
        if function in _NOT_A_MODEL:
            raise ValueError(
                f"{expression!r} calls {function}, but models are deterministic and independent of dt; draw values of "
                "parameters, spike times or samples of a current before the run"
            )
        if function not in DEFAULT_FUNCTIONS:
            known = {*DEFAULT_FUNCTIONS, *BRANCHING} - _NOT_A_MODEL
            raise ValueError(f"{expression!r} calls an unknown function {function!r}; {suggest(function, known)}")
    numbers = {name: _number_dimension(name) for name in free_names(expression) if _is_number(name)}
    variables = {
        name: Variable(name, dimensions=dimension, constant=True, scalar=True)
        for name, dimension in {**numbers, **dimensions}.items()
    }
    try:
        return parse_expression_dimensions(expression, {**DEFAULT_FUNCTIONS, **variables})
    except KeyError as error:
        name = str(error.args[0])
        raise ValueError(f"{expression!r}: unknown variable {name!r}; {suggest(name, dimensions)}") from None
    except (DimensionMismatchError, TypeError, ValueError, SyntaxError) as error:
        raise ValueError(f"{expression!r}: {str(error).splitlines()[0]}") from None


def parse_equations(text: str, units: Mapping[str, str]) -> dict[str, tuple[str, str, str]]:
    """Equations in Brian2's syntax, their units free to use ``unit(x)``.

    Parameters
    ----------
    text : str
        Lines such as ``dv/dt = (I_syn - v)/tau_m : unit(I_syn)``.
    units : mapping of str to str
        Units of the variables known so far; those of the equations join them from top to bottom.

    Returns
    -------
    dict of str to tuple
        ``(kind, expression, unit)`` by variable; kind is Brian2's ``"differential equation"`` or ``"subexpression"``.

    Raises
    ------
    ValueError
        For a syntax error, a wrong unit, flags, or a parameter among the equations.
    """
    known = dict(units)
    resolved: dict[str, str] = {}
    lines = []
    for line in text.splitlines():
        code = line.partition("#")[0]
        left, colon, unit = code.rpartition(":")
        if colon and "(" in unit and "unit(" not in unit.replace(" ", "") and "=" in left:
            raise ValueError(f"{code.strip()!r}: flags such as (constant) have no place in a template")
        if colon:
            name = _defined(left.partition("=")[0].strip())
            resolved[name] = known[name] = resolve_unit(unit.strip(), known)
            code = f"{left}: {known[name]}"
        if colon and "=" in left:
            # before Brian2, whose parser says of a name that it can't use no more than that
            check_identifier(name)
            check_expression(left.partition("=")[2].strip())
        lines.append(code)
    try:
        equations = Equations("\n".join(lines))
    except (EquationError, SyntaxError, ValueError, TypeError) as error:
        raise ValueError(_unreadable(lines, error)) from None
    parsed = {}
    for name, equation in equations.items():
        if equation.type == "parameter":
            raise ValueError(f"{name!r} is a parameter; declare it under [parameters] with its default")
        if equation.flags:
            raise ValueError(f"{name!r}: flags such as ({equation.flags[0]}) have no place in a template")
        parsed[name] = (equation.type, equation.expr.code, resolved.get(name) or unit_of_dimension(equation.dim))
    return parsed


def _defined(left: str) -> str:
    """The variable that an equation with this left side defines: ``v`` for ``dv/dt``."""
    found = re.fullmatch(r"d\s*(\S+?)\s*/\s*dt", left)
    return found[1] if found else left


def _unreadable(lines: list[str], error: Exception) -> str:
    """What to say about equations that Brian2 can't read."""
    expected = "expected lines such as dv/dt = expression : unit"
    for line in filter(str.strip, lines):
        try:
            Equations(line)
        except (EquationError, SyntaxError, ValueError, TypeError):
            return f"can't read {line.strip()!r}; {expected}"
    # each line alone is fine: what is wrong is between them
    return f"{str(error).splitlines()[0]}; {expected}"


def is_unit_name(name: str) -> bool:
    """Whether Brian2 knows a unit of this name."""
    return name in DEFAULT_UNITS


def unit_value(name: str) -> float:
    """What one of a unit is in SI base units: 0.001 for ``mV``.

    Raises
    ------
    ValueError
        If Brian2 knows no such unit.
    """
    if not is_unit_name(name):
        raise ValueError(f"{name!r} is not a unit; {suggest(name, _COMMON)}")
    return float(DEFAULT_UNITS[name])


def variables_in(expression: str) -> list[str]:
    """Names of the variables in an expression, in order of appearance: neither functions, units, ``pi`` nor ``e``."""
    return [name for name in free_names(expression) if not _is_number(name)]


def numbers_in(expression: str) -> dict[str, float]:
    """The units, ``pi`` and ``e`` in an expression, with their values in SI base units."""
    names = [name for name in free_names(expression) if _is_number(name)]
    return {name: unit_value(name) if is_unit_name(name) else getattr(math, name) for name in names}


def _is_number(name: str) -> bool:
    return name in _CONSTANTS or is_unit_name(name)


def _number_dimension(name: str) -> Dimension:
    return get_dimensions(DEFAULT_UNITS[name]) if is_unit_name(name) else DIMENSIONLESS


def check_identifier(name: str) -> None:
    """Refuse a name of a variable that Brian2 can't use.

    Raises
    ------
    ValueError
        If Brian2 reserves the name, or it is no identifier.
    """
    if is_unit_name(name):
        value = f"{unit_value(name):g} {unit_of_dimension(_number_dimension(name))}"
        raise ValueError(f"{name!r} is the name of a unit, for {value} in equations; give the variable another name")
    try:
        Equations.check_identifier(name)
    except (SyntaxError, ValueError) as error:
        what = "" if is_name(name) else " of ASCII letters, digits and underscores"
        raise ValueError(f"{str(error).rstrip('.')}; choose another name{what}") from None


def wrong_unit(found: Dimension, expected: Dimension) -> str:
    """The end of an error message: ``is in volt, expected volt/second``.

    Parameters
    ----------
    found, expected : Dimension
    """
    is_in = "has no unit" if found is DIMENSIONLESS else f"is in {_spoken(found)}"
    return f"{is_in}, expected {'no unit' if expected is DIMENSIONLESS else _spoken(expected)}"


def _spoken(dimension: Dimension) -> str:
    """A unit for people: rates as ``volt/second`` rather than in kilograms and metres."""
    integrated = unit_of_dimension(dimension * unit_dimension("second"))
    unit = unit_of_dimension(dimension)
    return f"{integrated}/second" if "*" in unit and "*" not in integrated else unit


def _expand_calls(text: str, tables: Mapping[str, Mapping[str, str]]) -> str:
    """Replace every ``function(name)`` by ``tables[function][name]``."""
    replacements: dict[ast.expr, str] = {}
    whole = _parse_quantity(text)
    for node in ast.walk(whole):
        match node:
            case ast.Call(func=ast.Name(id=called), args=[ast.Name(id=name)], keywords=[]) if called in tables:
                values = tables[called]
                if name not in values:
                    raise ValueError(f"{called}({name}): {name!r} has no {called} here; {suggest(name, values)}")
                replacements[node] = values[name]
            case ast.Call():
                known = " and ".join(f"{function}(name)" for function in tables)
                raise ValueError(f"{text!r} contains {ast.unparse(node)!r}; only {known} can be called here")
    return replacements[whole] if whole in replacements else replace_nodes(text, replacements)


def _parse_quantity(text: str) -> ast.expr:
    try:
        return parse(text).body
    except OutOfReach:
        raise
    except ValueError:
        raise ValueError(f"{text!r} is not a number with a unit; write it as in 20*ms") from None


def _evaluate(node: ast.expr, text: str) -> Any:
    match node:
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name):
            if name in DEFAULT_UNITS:
                return DEFAULT_UNITS[name]
            instead = f"write {_SYMBOLS[name]!r}" if name in _SYMBOLS else suggest(name, _COMMON)
            raise ValueError(f"{text!r}: {name!r} is not a unit; {instead}")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand, text)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _evaluate(left, text), _evaluate(right, text)
            match op:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.Div():
                    return a / b
                case ast.Pow():
                    return a**b
    raise ValueError(f"{text!r} is not a number with a unit; write it as in 20*ms")
