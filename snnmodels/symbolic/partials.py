"""All partial derivatives of an expression in one walk over it."""

from __future__ import annotations

from collections.abc import Set

import sympy as sp

__all__ = ["partials"]


def partials(expression: sp.Expr, by: Set[sp.Symbol]) -> dict[sp.Symbol, sp.Expr]:
    """The derivatives of an expression by those of the given symbols that it reads.

    They are what `sympy.diff` gives by one symbol after the other, which walks over the expression as often, and takes
    some ten times longer for the short assignments of a generated program.

    Parameters
    ----------
    expression : Expr
    by : set of Symbol

    Returns
    -------
    dict of Symbol to Expr
        In the order of the names.
    """
    if expression.is_Symbol:
        return {expression: sp.Integer(1)} if expression in by else {}
    read = sorted(expression.free_symbols & by, key=str)
    found: dict[sp.Symbol, list[sp.Expr]] = {s: [] for s in read}

    def add(part: sp.Expr, *factors: sp.Expr) -> None:
        for s, slope in partials(part, by).items():
            found[s].append(sp.Mul(*factors, slope))  # at once: SymPy multiplies out a number times a sum

    e = expression
    if not read:
        pass
    elif e.is_Add:
        for a in e.args:
            add(a)
    elif e.is_Mul:
        for i, a in enumerate(e.args):
            add(a, *e.args[:i], *e.args[i + 1 :])
    elif e.is_Pow and not e.exp.free_symbols & by:
        add(e.base, e, e.exp, 1 / e.base)
    elif isinstance(e, sp.Function):
        for i, a in enumerate(e.args):
            if a.free_symbols & by:
                add(a, e.fdiff(i + 1))
    else:
        return {s: sp.diff(e, s) for s in read}
    return {s: sp.Add(*terms) for s, terms in found.items()}
