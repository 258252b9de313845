"""One rule of a model as a straight-line program, and its parts by what they are the same for."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import sympy as sp

from ..symbolic.parsing import symbol
from ..symbolic.programs import Program

__all__ = ["TIME", "Rule", "split"]

TIME = symbol("s")
"""Length of a piece."""


@dataclass(frozen=True)
class Rule:
    """A program with its arguments in order.

    Attributes
    ----------
    inputs : tuple of str
        What differs from lane to lane, in the order in which it is handed over. Everything else that the program reads
        is a parameter ``p<k>`` or the time ``s``.
    outputs : tuple of str
        In the order in which they are handed back.
    """

    program: Program
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @functools.cached_property
    def parts(self) -> tuple[Program, Program]:
        """What reads parameters and time alone (outputs ``c0``, ``c1``, ...), and the rest over these."""
        return split(self.program, {symbol(n) for n in self.inputs})

    @functools.cached_property
    def stages(self) -> tuple[Program, Program, Program]:
        """What reads parameters alone (outputs ``k0``, ...), what reads these and the time (``c0``, ...), the rest."""
        once, each = self.parts
        fixed, timed = split(once, [TIME], "k")
        constant = {symbol(c): e for c, e in timed.outputs.items() if e.is_Number or str(e) in fixed.outputs}
        kept = [c for c in timed.outputs if symbol(c) not in constant]
        return fixed, timed.select(kept), each.rename(constant)

    @functools.cached_property
    def reads(self) -> frozenset[str]:
        """Names of the symbols that the program reads."""
        return frozenset(s.name for s in self.program.inputs)

    @property
    def is_zero(self) -> bool:
        """Whether every output is identically zero."""
        return all(self.program.outputs[o] == 0 for o in self.outputs)


def split(program: Program, varying: Iterable[sp.Symbol], prefix: str = "c") -> tuple[Program, Program]:
    """Divide a program into what is the same for all lanes, to be done once, and what is not.

    Parameters
    ----------
    program : Program
    varying : iterable of Symbol
        Inputs that differ between lanes.
    prefix : str
        Names the outputs of the first part.

    Returns
    -------
    once : Program
        Outputs ``c0``, ``c1``, ...
    each : Program
        The outputs of the program; reads the varying inputs and the outputs of `once`.
    """
    inside = set(varying)
    statements: list[tuple[sp.Symbol, sp.Expr]] = []
    inner: list[tuple[sp.Symbol, sp.Expr]] = []
    known: dict[sp.Expr, sp.Symbol] = {}

    def once(e: sp.Expr) -> sp.Expr:
        if e.is_Number:
            return e
        if e not in known:
            known[e] = symbol(f"{prefix}{len(known)}")
        return known[e]

    def rewrite(e: sp.Expr) -> sp.Expr:
        if not e.free_symbols & inside:
            return once(e)
        if e.is_Atom:
            return e
        if e.is_Add or e.is_Mul:
            fixed = [a for a in e.args if not a.free_symbols & inside]
            moving = [rewrite(a) for a in e.args if a.free_symbols & inside]
            if fixed:
                moving.insert(0, once(e.func(*fixed)))
            return e.func(*moving, evaluate=False) if e.is_Add else e.func(*moving)
        return e.func(*(rewrite(a) for a in e.args))

    for name, rhs in program.statements:
        if rhs.free_symbols & inside:
            inner.append((name, rewrite(rhs)))
            inside.add(name)
        else:
            statements.append((name, rhs))
    outputs = {k: rewrite(e) for k, e in program.outputs.items()}
    constants = Program(tuple(statements), {c.name: e for e, c in known.items()}).select(c.name for c in known.values())
    return constants, Program(tuple(inner), outputs).select(outputs)
