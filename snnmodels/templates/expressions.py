"""Expressions and statements in Brian2's syntax, read with Python's own parser."""

from __future__ import annotations

import ast
import keyword
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from .errors import brief
from .model import Assignment

__all__ = [
    "BRANCHING",
    "DEEPEST",
    "LARGEST_EXPONENT",
    "OutOfReach",
    "add_term",
    "called_functions",
    "check_expression",
    "free_names",
    "is_name",
    "parse",
    "parse_statements",
    "parse_threshold",
    "replace_nodes",
    "substitute",
]

# Beyond these the parsers and SymPy, which are recursive and exact, take for ever or leave Python's stack.
DEEPEST = 100  # levels of an expression; every term of a sum is one
LARGEST_EXPONENT = 100  # of powers whose exponent is a number

BRANCHING = ("int", "abs", "clip", "min", "max")
"""Functions that conditions are made of."""

_OPERATORS: dict[type[ast.operator], str] = {ast.Add: "+=", ast.Sub: "-=", ast.Mult: "*=", ast.Div: "/="}
_ARITHMETIC_OF: dict[type[ast.operator], Callable[[float, float], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_ARITHMETIC = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.Name, ast.Constant, ast.Call, ast.Load),
    *(*_ARITHMETIC_OF, ast.Mod, ast.FloorDiv, ast.UAdd, ast.USub),
)
_CONDITIONS = (ast.Compare, ast.BoolOp, ast.cmpop, ast.boolop, ast.Not)


class OutOfReach(ValueError):
    """An expression that is one, but deeper or with other numbers than can be computed with."""


def check_expression(expression: str) -> None:
    """Refuse what isn't arithmetic, functions of names and numbers, or conditions inside a call of int().

    Raises
    ------
    ValueError
        For anything else; names what that is.
    """
    for node in ast.walk(parse(expression)):
        allowed = isinstance(node, (*_ARITHMETIC, *_CONDITIONS))
        if isinstance(node, ast.Constant) and (isinstance(node.value, bool) or not isinstance(node.value, int | float)):
            allowed = False
        if not allowed:
            part = ast.unparse(node)
            raise ValueError(f"{expression!r} contains {part!r}; expected arithmetic and functions{_keyword(part)}")
    tree = parse(expression)
    inside = {
        id(node)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "int"
        for node in ast.walk(call)
    }
    for node in ast.walk(tree):
        condition = isinstance(node, ast.Compare | ast.BoolOp)
        if (condition or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not))) and id(node) not in inside:
            part = ast.unparse(node)
            raise ValueError(f"{expression!r} has a condition, {part!r}, where it needs a value; write int({part})")


def is_name(text: str) -> bool:
    """Whether a text is a name of ASCII letters, digits and underscores, as Brian2 and file systems take it."""
    return text.isidentifier() and text.isascii()


def free_names(expression: str) -> list[str]:
    """Names of the variables in an expression, in order of appearance; functions that it calls are not among them."""
    tree = parse(expression)
    functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in functions]
    nodes.sort(key=lambda node: (node.lineno, node.col_offset))
    return list(dict.fromkeys(node.id for node in nodes))


def called_functions(expression: str) -> list[str]:
    """Names of the functions that an expression calls."""
    calls = [node.func for node in ast.walk(parse(expression)) if isinstance(node, ast.Call)]
    return [func.id if isinstance(func, ast.Name) else ast.unparse(func) for func in calls]


def substitute(expression: str, replacements: Mapping[str, str]) -> str:
    """An expression with names replaced by expressions, in parentheses where those are more than a name or number.

    Everything else stays as it is written.

    Parameters
    ----------
    expression : str
    replacements : mapping of str to str
        By name; names of functions stay.

    Raises
    ------
    ValueError
        If the expression or a replacement in it can't be parsed.
    """
    tree = parse(expression)
    functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in functions]
    return replace_nodes(expression, {node: replacements[node.id] for node in names if node.id in replacements})


def replace_nodes(expression: str, replacements: Mapping[ast.expr, str]) -> str:
    """An expression with other text in the places of some of its nodes.

    Parameters
    ----------
    expression : str
    replacements : mapping of ast.expr to str
        By nodes of what `parse` gives, which must not overlap. Text that is more than a name, a number or a call is put
        in parentheses.

    Raises
    ------
    ValueError
        If a replacement can't be parsed.
    """
    code = " ".join(expression.split()).encode()
    for node, text in sorted(replacements.items(), key=lambda item: -item[0].col_offset):
        simple = isinstance(parse(text).body, ast.Name | ast.Constant | ast.Call)
        new = text if simple else f"({text})"
        code = code[: node.col_offset] + new.encode() + code[node.end_col_offset :]
    return code.decode()


def add_term(expression: str, term: str) -> str:
    """``expression + term`` (``expression - term`` when the term starts with a minus).

    Parameters
    ----------
    expression, term : str
        Neither is parsed.
    """
    term = term.strip()
    if term.startswith("-"):
        return f"{expression} - {term[1:].strip()}"
    return f"{expression} + {term}"


def parse_threshold(condition: str) -> tuple[str, str]:
    """The two sides of ``left > right``.

    Raises
    ------
    ValueError
        If it is not one comparison with ``>``: the neuron spikes when left - right crosses 0 upwards.
    """
    condition = " ".join(condition.split())  # as `parse` reads it, so that columns are places in it
    match parse(condition).body:
        case ast.Compare(left=left, ops=[ast.Gt()], comparators=[right]):
            sides = [ast.get_source_segment(condition, side) or ast.unparse(side) for side in (left, right)]
            for side in sides:
                check_expression(side)
            return sides[0], sides[1]
        case ast.Compare(left=left, ops=[ast.Lt() | ast.LtE()], comparators=[right]):
            hint = f"write {ast.unparse(right)} > {ast.unparse(left)}"
        case ast.Compare(left=left, ops=[ast.GtE()], comparators=[right]):
            hint = f"write {ast.unparse(left)} > {ast.unparse(right)}"
        case _:
            hint = "write one comparison, such as v > v_th"
    raise ValueError(f"{condition!r} is not a threshold crossing left > right; {hint}")


def parse_statements(code: str | list[str]) -> tuple[Assignment, ...]:
    """Statements such as ``v = v_reset``, one per line or list item.

    Raises
    ------
    ValueError
        If one is not an assignment of an expression to one variable.
    """
    lines = code.splitlines() if isinstance(code, str) else [line for item in code for line in item.splitlines()]
    statements = []
    for line in (line.partition("#")[0].strip() for line in lines):
        if not line:
            continue
        try:
            body = ast.parse(line).body
        except (SyntaxError, RecursionError, MemoryError):
            body = []
        match body:
            case [ast.Assign(targets=[ast.Name(id=name)], value=value)]:
                sign = "="
            case [ast.AugAssign(target=ast.Name(id=name), op=op, value=value)] if type(op) in _OPERATORS:
                sign = _OPERATORS[type(op)]
            case _:
                raise ValueError(f"{line!r} is not an assignment; write it as in v = v_reset or a += 1{_keyword(line)}")
        expression = ast.get_source_segment(line, value) or ast.unparse(value)
        check_expression(expression)
        statements.append(Assignment(name, sign, expression))
    return tuple(statements)


def parse(expression: str) -> ast.Expression:
    """The syntax tree of an expression, its white space reduced to single spaces.

    Raises
    ------
    ValueError
        If it isn't an expression.
    OutOfReach
        If it is nested too deeply, divides by 0, or has an exponent or a number in it that is too large.
    """
    try:
        # on one line, so that columns are places in the text
        tree = ast.parse(" ".join(expression.split()), mode="eval")
    except SyntaxError as error:
        raise ValueError(f"{brief(expression)} is not an expression: {error.msg}{_keyword(expression)}") from None
    except (RecursionError, MemoryError):  # what Python's parser says of some that are nested too deeply
        raise OutOfReach(_too_deep(expression)) from None
    level: list[ast.AST] = [tree.body]
    for _ in range(DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if any(isinstance(node, ast.expr) for node in level):
        raise OutOfReach(_too_deep(expression))
    _number(tree.body, expression)
    return tree


def _too_deep(expression: str) -> str:
    return f"{brief(expression)} is nested too deeply; expected at most {DEEPEST} levels, of which each term is one"


def _number(node: ast.AST, expression: str) -> float | None:
    """The value of a node without names; None for others. Refuses what has no finite one, and divisions by 0."""
    values = [_number(child, expression) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    value = None
    try:
        match node, values:
            case ast.Constant(value=int() | float() as number), _:
                value = float(number)
            case ast.UnaryOp(op=ast.USub()), [float(a)]:
                value = -a
            case ast.BinOp(op=ast.Pow()), [_, float(b)] if abs(b) > LARGEST_EXPONENT:
                raise OutOfReach(f"{brief(expression)} has the exponent {b:g}; expected at most {LARGEST_EXPONENT}")
            case ast.BinOp(op=ast.Div()), [_, 0.0]:
                value = math.inf
            case ast.BinOp(op=op), [float(a), float(b)] if type(op) in _ARITHMETIC_OF:
                value = _ARITHMETIC_OF[type(op)](a, b)
                if isinstance(op, ast.Pow) and a != 0 and (isinstance(value, complex) or value == 0):
                    value = math.nan  # no real number, or so small that its digits are as many as those of a large one
    except (OverflowError, ZeroDivisionError):
        value = math.inf
    if value is not None and not math.isfinite(value):
        raise OutOfReach(f"{brief(expression)} contains {brief(ast.unparse(node))}, which is not finite")
    return value


def _keyword(text: str) -> str:
    """The end of a message on a text that Python can't read, if a word in it is one of Python's own."""
    words = [w for w in re.findall(r"[^\W\d]\w*", text) if keyword.iskeyword(w)]
    return f"; {words[0]!r} is a Python keyword and can't be a name" if words else ""
