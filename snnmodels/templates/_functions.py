"""Functions that a component file declares, and expressions with their calls written out."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from .errors import TemplateError, located
from .expressions import called_functions, check_expression, parse, replace_nodes, substitute
from .units import check_identifier, variables_in

__all__ = ["OF_EVERY_FILE", "Call", "Function", "check_called", "read_functions", "written_out"]

_LONGEST = 20_000  # characters of a call written out, where functions call functions
_OF_DEFAULTS = ("unit", "scale", "initial")  # what templates mean by these is another thing


@dataclass(frozen=True)
class Function:
    """A function of its arguments alone; its body has the calls of functions declared before it written out."""

    name: str
    arguments: tuple[str, ...]
    body: str
    written: str

    def __str__(self) -> str:
        return f"{self.name}({', '.join(self.arguments)}) = {self.written}"


@dataclass(frozen=True)
class Call:
    """A call: under which key it stands, as it is written, and written out."""

    key: str
    written: str
    expression: str


OF_EVERY_FILE: Mapping[str, Function] = {
    name: Function(name, ("a", "b"), body, body)
    for name, body in {"max": "a + int(b > a)*(b - a)", "min": "a + int(a > b)*(b - a)"}.items()
}
"""Functions of every file, which Brian2's syntax lacks; one that a file declares under such a name comes before it."""


def read_functions(table: Mapping[str, str], file: str) -> dict[str, Function]:
    """The functions of a file by name.

    Parameters
    ----------
    table : mapping of str to str
        Body by head, as in ``{"a_m(v)": "0.1/ms*exp(v/mV)"}``.
    file : str
        Its name, for messages.

    Raises
    ------
    TemplateError
        For a head that is none, a name that is taken, a body that reads anything but its arguments, or calls itself or
        a function that is declared after it, or an argument that it doesn't read.
    """
    functions: dict[str, Function] = {}
    heads = []
    for head in table:
        with located(file, f"functions.{head}"):
            heads.append(_head(head))
    names = [name for name, _ in heads]
    for (head, text), (name, arguments) in zip(table.items(), heads, strict=True):
        with located(file, f"functions.{head}"):
            check_identifier(name)
            if name in functions or name in _OF_DEFAULTS:
                raise ValueError(f"the name {name!r} is already that of another function; choose another")
            for argument in arguments:
                check_identifier(argument)
            if len(set(arguments)) < len(arguments):
                raise ValueError("two arguments have the same name; choose another")
            check_expression(text)
            read = variables_in(text)
            for variable in read:
                if variable not in arguments:
                    hint = "a function reads its arguments alone: make it one of them"
                    raise ValueError(f"{text!r} uses {variable!r}, which isn't an argument; {hint}")
            for argument in arguments:
                if argument not in read:
                    raise ValueError(f"the argument {argument!r} is not used; use it or remove it")
            for called in called_functions(text):
                if called in names and called not in functions:
                    problem = "itself" if called == name else f"{called!r}, which is declared after it"
                    raise ValueError(f"{text!r} calls {problem}; a function calls those before it alone")
            functions[name] = Function(name, arguments, written_out(text, {**OF_EVERY_FILE, **functions})[0], text)
    return functions


def _head(text: str) -> tuple[str, tuple[str, ...]]:
    try:
        body = parse(text).body
    except ValueError:
        body = ast.Constant(0)
    match body:
        case ast.Call(func=ast.Name(id=name), args=[ast.Name(), *_] as arguments, keywords=[]) if all(
            isinstance(a, ast.Name) for a in arguments
        ):
            return name, tuple(a.id for a in arguments if isinstance(a, ast.Name))
    raise ValueError(f'{text!r} is no function of named arguments; write it as in "a_m(v)" = "exp(v/mV)/ms"')


def written_out(expression: str, functions: Mapping[str, Function]) -> tuple[str, list[tuple[str, str]]]:
    """An expression with the calls of functions written out.

    Parameters
    ----------
    expression : str
        It may be a comparison, too.
    functions : mapping of str to Function

    Returns
    -------
    expression : str
    calls : list of (str, str)
        Every call that is not an argument of another, as it is written and written out.

    Raises
    ------
    ValueError
        For a wrong number of arguments, or a result that is too long or nested too deeply.
    """
    if not functions:
        return expression, []
    code = " ".join(expression.split())  # as `parse` reads it, so that columns are places in it
    replacements: dict[ast.expr, str] = {}
    calls = []
    whole = parse(code).body
    for node in _outermost(whole, functions):
        written = ast.unparse(node)
        assert isinstance(node.func, ast.Name)
        function = functions[node.func.id]
        if len(node.args) != len(function.arguments) or node.keywords:
            expected = f"{function.name}({', '.join(function.arguments)})"
            raise ValueError(f"{written!r} has other arguments than it is declared with, {expected}")
        sources = (ast.get_source_segment(code, a) or ast.unparse(a) for a in node.args)
        arguments = {
            name: written_out(text, functions)[0] for name, text in zip(function.arguments, sources, strict=True)
        }
        replacements[node] = substitute(function.body, arguments)
        if len(replacements[node]) > _LONGEST:
            raise ValueError(f"{written!r} is longer than {_LONGEST} characters when functions are put in their place")
        calls.append((written, replacements[node]))
    return replacements[whole] if whole in replacements else replace_nodes(code, replacements), calls


def _outermost(node: ast.AST, functions: Mapping[str, Function]) -> Iterator[ast.Call]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions:
        yield node
        return
    for child in ast.iter_child_nodes(node):
        yield from _outermost(child, functions)


def check_called(functions: Mapping[str, Function], expressions: Iterable[str], file: str) -> None:
    """`TemplateError` if a file declares a function that none of its expressions calls, directly or through others."""
    used = {name for text in expressions for name in called_functions(text)}
    for function in reversed(list(functions.values())):
        if function.name not in used:
            message = f"{function.name!r} is declared but not called; call it or remove it"
            raise TemplateError(file, f"functions.{function.name}", message)
        used |= set(called_functions(function.written))
