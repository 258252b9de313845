"""Expressions and statements in Brian2's syntax, read with Python's own parser."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Mapping

from .model import Assignment

__all__ = [
    "add_term",
    "called_functions",
    "check_expression",
    "free_names",
    "parse",
    "parse_statements",
    "parse_threshold",
    "replace_nodes",
    "substitute",
]

_OPERATORS: dict[type[ast.operator], str] = {ast.Add: "+=", ast.Sub: "-=", ast.Mult: "*=", ast.Div: "/="}
_ARITHMETIC = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.Name, ast.Constant, ast.Call, ast.Load)
_CONDITIONS = (ast.Compare, ast.BoolOp, ast.cmpop, ast.boolop)


def check_expression(expression: str) -> None:
    """Refuse what isn't arithmetic, functions of names and numbers, or conditions inside a call of int().

    Raises
    ------
    ValueError
        For anything else; names what that is.
    """
    for node in ast.walk(parse(expression)):
        allowed = isinstance(node, (*_ARITHMETIC, *_CONDITIONS, ast.operator, ast.unaryop))
        if isinstance(node, ast.Constant) and (isinstance(node.value, bool) or not isinstance(node.value, int | float)):
            allowed = False
        if not allowed:
            part = ast.unparse(node)
            raise ValueError(f"{expression!r} contains {part!r}; expected arithmetic and functions{_keyword(part)}")
    if isinstance(parse(expression).body, (ast.Compare, ast.BoolOp)):
        raise ValueError(f"{expression!r} is a condition; expected an expression with a value")


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
        except SyntaxError:
            body = []
        match body:
            case [ast.Assign(targets=[ast.Name(id=name)], value=value)]:
                operator = "="
            case [ast.AugAssign(target=ast.Name(id=name), op=op, value=value)] if type(op) in _OPERATORS:
                operator = _OPERATORS[type(op)]
            case _:
                raise ValueError(f"{line!r} is not an assignment; write it as in v = v_reset or a += 1{_keyword(line)}")
        expression = ast.get_source_segment(line, value) or ast.unparse(value)
        check_expression(expression)
        statements.append(Assignment(name, operator, expression))
    return tuple(statements)


def parse(expression: str) -> ast.Expression:
    """The syntax tree of an expression, its white space reduced to single spaces.

    Raises
    ------
    ValueError
        If it isn't an expression.
    """
    try:
        # on one line, so that columns are places in the text
        return ast.parse(" ".join(expression.split()), mode="eval")
    except SyntaxError as error:
        raise ValueError(f"{expression!r} is not an expression: {error.msg}{_keyword(expression)}") from None


def _keyword(text: str) -> str:
    """The end of a message on a text that Python can't read, if a word in it is one of Python's own."""
    words = [w for w in re.findall(r"[^\W\d]\w*", text) if keyword.iskeyword(w)]
    return f"; {words[0]!r} is a Python keyword and can't be a name" if words else ""
