"""Grid programs as statements of C++ or NumPy, with what doesn't change inside a loop taken out of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import sympy as sp
from brian2.parsing.rendering import CPPNodeRenderer, NumpyNodeRenderer

from ..symbolic.divided_differences import ExpDD
from ..symbolic.parsing import print_expression, symbol
from ..symbolic.programs import Program

__all__ = ["CPP", "NUMPY", "Language", "Lines", "cpp", "hoist", "uses_divided_differences"]


@dataclass(frozen=True)
class Lines:
    """A program split in two.

    Attributes
    ----------
    outer : list of str
        Statements before the loop.
    inner : list of str
        Statements inside it.
    outputs : dict of str to str
        Expressions of the outputs.
    zero : frozenset of str
        Outputs that are identically zero.
    """

    outer: list[str]
    inner: list[str]
    outputs: dict[str, str]
    zero: frozenset[str]


def cpp(e: sp.Expr) -> str:
    """A SymPy expression in C++, with the exponential of headers.py."""
    return re.sub(r"\bexp\(", "snn_exp(", CPPNodeRenderer().render_expr(print_expression(e)))


@dataclass(frozen=True)
class Language:
    """How expressions and assignments are written.

    Attributes
    ----------
    expression : callable
        From a SymPy expression to code.
    assignment : str
        Format of a statement with the fields ``name`` and ``value``.
    """

    expression: Callable[[sp.Expr], str]
    assignment: str

    def assign(self, name: str, value: sp.Expr) -> str:
        """A statement."""
        return self.assignment.format(name=name, value=self.expression(value))


CPP = Language(cpp, "const double {name} = {value};")
NUMPY = Language(lambda e: NumpyNodeRenderer().render_expr(print_expression(e)), "{name} = {value}")


def uses_divided_differences(programs: Iterable[Program]) -> bool:
    """Whether any program calls a divided difference."""
    return any(e.has(ExpDD) for p in programs for e in (*(rhs for _, rhs in p.statements), *p.outputs.values()))


def hoist(program: Program, varying: Iterable[str], tag: str = "h", language: Language = CPP) -> Lines:
    """Split a program by what varies inside a loop.

    Parameters
    ----------
    program : Program
    varying : iterable of str
        Inputs that change from one pass of the loop to the next.
    tag : str
        Part of the names of what is taken out, so that several loops in one function differ.
    language : Language

    Returns
    -------
    Lines
    """
    inside = {symbol(v) for v in varying}
    outer: list[str] = []
    inner: list[str] = []
    known: dict[sp.Expr, sp.Symbol] = {}

    def take_out(e: sp.Expr) -> sp.Expr:
        if e.is_Atom:
            return e
        if e not in known:
            name = symbol(f"_{tag}{len(known)}")
            outer.append(language.assign(name.name, e))
            known[e] = name
        return known[e]

    def rewrite(e: sp.Expr) -> sp.Expr:
        if not e.free_symbols & inside:
            return take_out(e)
        if e.is_Atom:
            return e
        if e.is_Add or e.is_Mul:
            fixed = [a for a in e.args if not a.free_symbols & inside]
            moving = [rewrite(a) for a in e.args if a.free_symbols & inside]
            if fixed:
                moving.insert(0, take_out(e.func(*fixed)))
            return e.func(*moving)
        return e.func(*(rewrite(a) for a in e.args))

    for name, rhs in program.statements:
        value = rewrite(rhs)
        if rhs.free_symbols & inside:
            inside.add(name)
            inner.append(language.assign(name.name, value))
        else:
            outer.append(language.assign(name.name, rhs))
    outputs = {k: language.expression(rewrite(e)) for k, e in program.outputs.items()}
    return Lines(outer, inner, outputs, frozenset(k for k, e in program.outputs.items() if e == 0))
