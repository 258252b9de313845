"""Straight-line programs over SymPy expressions, and their exact derivatives by the reverse mode.

A `Program` is a sequence of assignments, each to a new name, as generated code is. It is what a flow, an event or an
arrival on the time grid lowers to before it is printed for a target. Its vector-Jacobian product (Griewank & Walther
2008, section 3.2) is again a `Program`, every partial derivative in it taken by SymPy, so that a chain of such programs
backward in time is the exact derivative of the forward chain, to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from .divided_differences import NUMPY_FUNCTIONS
from .parsing import UnsupportedExpression, print_expression, symbol
from .partials import partials

__all__ = ["Builder", "Program", "cotangent"]

_FORBIDDEN = (sp.Derivative, sp.Subs, sp.DiracDelta, sp.Heaviside, sp.Piecewise, sp.sign)


def cotangent(name: str) -> sp.Symbol:
    """The symbol of dL/d(name) in a reverse-mode program."""
    return symbol(f"_bar_{name}")


@dataclass(frozen=True)
class Program:
    """Assignments in order, and which expressions are the results.

    Attributes
    ----------
    statements : tuple of (Symbol, Expr)
        Every symbol is assigned once and never an input.
    outputs : mapping of str to Expr
        Results, over inputs and assigned symbols.
    """

    statements: tuple[tuple[sp.Symbol, sp.Expr], ...]
    outputs: Mapping[str, sp.Expr]

    @property
    def inputs(self) -> frozenset[sp.Symbol]:
        """Symbols that are read and not assigned."""
        assigned: set[sp.Symbol] = set()
        free: set[sp.Symbol] = set()
        for name, rhs in self.statements:
            free |= rhs.free_symbols - assigned
            assigned.add(name)
        for rhs in self.outputs.values():
            free |= rhs.free_symbols - assigned
        return frozenset(free)

    def select(self, names: Iterable[str]) -> Program:
        """The part that computes the given outputs, nothing else."""
        outputs = {n: self.outputs[n] for n in names}
        needed = set().union(*(e.free_symbols for e in outputs.values())) if outputs else set()
        kept = []
        for name, rhs in reversed(self.statements):
            if name in needed:
                kept.append((name, rhs))
                needed |= rhs.free_symbols
        return Program(tuple(reversed(kept)), outputs)

    def rename(self, names: Mapping[sp.Symbol, sp.Expr]) -> Program:
        """The same program over other inputs (a symbol, or an expression put in its place)."""
        return Program(
            tuple((n, e.xreplace(dict(names))) for n, e in self.statements),
            {n: e.xreplace(dict(names)) for n, e in self.outputs.items()},
        )

    def local(self, prefix: str) -> Program:
        """The same program with every assigned symbol renamed, so that two programs can stand in one block of code."""
        names = {n: symbol(f"_{prefix}{n.name}") for n, _ in self.statements}
        return Program(
            tuple((names[n], e.xreplace(names)) for n, e in self.statements),
            {n: e.xreplace(names) for n, e in self.outputs.items()},
        )

    def simplified(self) -> Program:
        """Common subexpressions shared, trivial assignments inlined, constant zeros removed, until nothing changes."""
        program = self
        for _ in range(4):
            reduced = program._inlined()._shared()
            if len(reduced.statements) == len(program.statements):
                return reduced
            program = reduced
        return program

    def _inlined(self) -> Program:
        """Names given to symbols, numbers, and to what is read only once, put in where they are read."""
        uses: dict[sp.Symbol, int] = {}
        for rhs in (*(e for _, e in self.statements), *self.outputs.values()):
            for s in rhs.free_symbols:
                uses[s] = uses.get(s, 0) + 1
        value: dict[sp.Symbol, sp.Expr] = {}
        statements = []
        for name, rhs in self.statements:
            rhs = rhs.xreplace(value)
            if rhs.is_Symbol or rhs.is_Number or uses.get(name, 0) <= 1:
                value[name] = rhs
            else:
                statements.append((name, rhs))
        return Program(tuple(statements), {n: e.xreplace(value) for n, e in self.outputs.items()})

    def _shared(self) -> Program:
        """Common subexpressions as assignments of their own."""
        names = [n for n, _ in self.statements]
        keys = list(self.outputs)
        taken = {s.name for s in (*self.inputs, *names)}
        fresh = (symbol(f"_c{i}") for i in range(10**9) if f"_c{i}" not in taken)
        shared, reduced = sp.cse(
            [e for _, e in self.statements] + [self.outputs[k] for k in keys], symbols=fresh, order="none"
        )
        return _schedule(
            [*shared, *zip(names, reduced[: len(names)], strict=True)],
            dict(zip(keys, reduced[len(names) :], strict=True)),
        )

    def vjp(self, wrt: Mapping[str, sp.Symbol]) -> Program:
        """Vector-Jacobian product: the cotangents of inputs from the cotangents of the outputs.

        Parameters
        ----------
        wrt : mapping of str to Symbol
            Output name of the new program to the input of this one that it is the cotangent of.

        Returns
        -------
        Program
            Reads this program's inputs and the `cotangent` of each of its outputs. It is as it was collected: take what
            is needed of it, and simplify that.

        Raises
        ------
        UnsupportedExpression
            If a derivative does not exist as a smooth function.
        """
        assigned = {n for n, _ in self.statements}
        wanted = set(wrt.values())
        active = set(wanted)  # symbols that depend on what is differentiated
        for name, rhs in self.statements:
            if rhs.free_symbols & active:
                active.add(name)
        bar: dict[sp.Symbol, sp.Expr] = {}

        def add(rhs: sp.Expr, weight: sp.Expr) -> None:
            for s, partial in partials(rhs, active).items():
                if partial.has(*_FORBIDDEN):
                    raise UnsupportedExpression(f"the derivative of {rhs} by {s} is {partial}, which is not smooth")
                bar[s] = bar.get(s, sp.Integer(0)) + weight * partial

        for output, rhs in self.outputs.items():
            add(rhs, cotangent(output))
        reverse: list[tuple[sp.Symbol, sp.Expr]] = []
        for name, rhs in reversed(self.statements):
            if name in bar:
                b = symbol(f"_d{name.name}")
                reverse.append((b, bar.pop(name)))
                add(rhs, b)
        assert not (set(bar) & assigned)
        outputs = {key: bar.get(s, sp.Integer(0)) for key, s in wrt.items()}
        return Program((*self.statements, *reverse), outputs).select(outputs)

    def lines(self) -> list[str]:
        """Assignments in Brian2's syntax, without the outputs."""
        return [f"{n.name} = {print_expression(e)}" for n, e in self.statements]

    def compile(self, arguments: Iterable[str]) -> Callable[..., dict[str, Any]]:
        """A NumPy function of the named arguments that returns the outputs by name (for tests and tools)."""
        names = list(arguments)
        body = [f"    {n.name} = {print_expression(e)}" for n, e in self.statements]
        result = ", ".join(f"{k!r}: {print_expression(e)}" for k, e in self.outputs.items())
        source = "\n".join([f"def program({', '.join(names)}):", *body, f"    return {{{result}}}"])
        scope: dict[str, Any] = {n: getattr(np, n) for n in ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh")}
        scope |= {"sqrt": np.sqrt, "arctan": np.arctan, **NUMPY_FUNCTIONS}
        exec(compile(source, "<program>", "exec"), scope)  # source is printed from SymPy, never from a user's text
        return scope["program"]


def _schedule(statements: list[tuple[sp.Symbol, sp.Expr]], outputs: dict[str, sp.Expr]) -> Program:
    """Order assignments so that each comes after what it reads, and drop those that nothing reads."""
    rhs = dict(statements)
    done: dict[sp.Symbol, None] = {}

    def visit(s: sp.Symbol) -> None:
        stack = [s]
        while stack:
            top = stack[-1]
            waiting = [d for d in sorted(rhs[top].free_symbols, key=str) if d in rhs and d not in done]
            if waiting:
                stack.extend(waiting)
            else:
                done.setdefault(stack.pop())

    for e in outputs.values():
        for s in sorted(e.free_symbols, key=str):
            if s in rhs:
                visit(s)
    return Program(tuple((s, rhs[s]) for s in done), outputs)


class Builder:
    """Collects assignments; `assign` returns what to use for the value from then on."""

    def __init__(self, prefix: str = "_t") -> None:
        self.statements: list[tuple[sp.Symbol, sp.Expr]] = []
        self.prefix = prefix

    def assign(self, value: sp.Expr) -> sp.Expr:
        """A name for the value; the value itself where it is a symbol or a number."""
        value = sp.sympify(value)
        if value.is_Symbol or value.is_Number:
            return value
        name = symbol(f"{self.prefix}{len(self.statements)}")
        self.statements.append((name, value))
        return name

    def program(self, outputs: Mapping[str, sp.Expr]) -> Program:
        """Everything assigned so far that the outputs need."""
        return Program(tuple(self.statements), dict(outputs)).select(outputs)
