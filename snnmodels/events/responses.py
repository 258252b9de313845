"""What an arrival of unit weight has made of the states a while later, where arrivals may be added up in any order.

Programs that scatter arrivals over large networks need these rules (see `Rules.scatters`), and nothing else does: they
are written when they are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sympy as sp

from ..symbolic.parsing import symbol
from ..symbolic.programs import Program

if TYPE_CHECKING:
    from .rules import Rule

__all__ = ["Additive"]


@dataclass(frozen=True)
class Additive:
    """An arrival that adds its weight times constants to the states.

    Attributes
    ----------
    slopes : tuple of Expr
        Of each state by the weight.
    moves : tuple of Expr
        What a unit of each costate gives to the time of the arrival, over the weight.
    given : mapping of str to Expr
        What the arrival itself gives to the gradient by each learnable parameter, over the weight.
    """

    slopes: tuple[sp.Expr, ...]
    moves: tuple[sp.Expr, ...]
    given: Mapping[str, sp.Expr]

    @classmethod
    def of(
        cls,
        jump: Mapping[sp.Symbol, sp.Expr],
        back: Mapping[str, sp.Expr],
        weight: sp.Symbol,
        costates: Sequence[str],
        gradients: Sequence[str],
    ) -> Additive | None:
        """The arrival of a jump and of its adjoint; None if it is none of that kind.

        Parameters
        ----------
        jump : mapping of Symbol to Expr
            States after the arrival.
        back : mapping of str to Expr
            Costates before it, gradients it gives, and ``s``, the derivative by its time.
        weight : Symbol
        costates, gradients : sequence of str
            Names in `back`.
        """
        ls = [symbol(name) for name in costates]
        adds = [sp.expand(e - x) for x, e in jump.items()]
        slopes = tuple(sp.diff(e, weight) for e in adds)
        moves = tuple(sp.diff(back["s"], costate, weight) for costate in ls)
        given = {g: sp.expand(sp.diff(back[g], weight)) for g in gradients}
        varying = {weight, *jump, *ls}
        if (
            any(sp.expand(e - weight * c) != 0 for e, c in zip(adds, slopes, strict=True))
            or any(e.free_symbols & varying for e in (*slopes, *moves))
            or any(sp.expand(back[costate.name] - costate) != 0 for costate in ls)
            or any(sp.expand(back[g] - weight * e) != 0 for g, e in given.items())
            or any(e.free_symbols & {weight, *jump} for e in given.values())
        ):
            return None
        return cls(slopes, moves, given)

    def response(self, back: Rule) -> Program:
        """``y``, the flow of the jump without its constant part, and ``z``.

        With costates there, ``l·y`` is the derivative by the weight, and ``w l·z`` that by the time of the arrival.

        Parameters
        ----------
        back : Rule
            The flow's transpose.
        """
        statements: list[tuple[sp.Symbol, sp.Expr]] = []
        outputs: dict[str, sp.Expr] = {}
        costates = [symbol(name) for name in back.outputs]
        for i, row in enumerate(costates):
            part = back.program.rename({c: sp.Integer(c == row) for c in costates}).local(f"r{i}")
            statements += part.statements
            for name, vector in (("y", self.slopes), ("z", self.moves)):
                at = zip(back.outputs, vector, strict=True)
                outputs[f"{name}{i}"] = sp.Add(*(part.outputs[j] * c for j, c in at))
        order = [f"{name}{i}" for name in "yz" for i in range(len(costates))]
        return Program(tuple(statements), {n: outputs[n] for n in order}).simplified()

    def gradient(self, back: Rule, gradient: Rule, states: Sequence[sp.Symbol]) -> Program:
        """The share of the arrival in each gradient, over the weight: at once, and in the flow until the costates.

        Parameters
        ----------
        back, gradient : Rule
            The flow's transpose, and what it gives to the parameters.
        states : sequence of Symbol
        """
        before = back.program.local("b")
        statements = list(before.statements)
        sides = []
        for prefix, start in (("u", self.slopes), ("v", [sp.Integer(0)] * len(self.slopes))):
            part = gradient.program.rename(dict(zip(states, start, strict=True))).local(prefix)
            statements += part.statements
            sides.append(part.outputs)
        at = {symbol(name): before.outputs[name] for name in back.outputs}
        outputs = {g: sides[0][g] - sides[1][g] + e.xreplace(at) for g, e in self.given.items()}
        return Program(tuple(statements), outputs).simplified()
