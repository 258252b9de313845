"""Derivations that a reader can follow: forward model, event times, jumps, gradients."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import sympy as sp

from ..symbolic.adjoint import Adjoint
from ..symbolic.system import HybridSystem
from ._adjoint import AdjointReport
from ._forward import forward_model
from ._rendering import Block, Equation, MarkdownRenderer, Prose, TextRenderer, latex_equation

__all__ = ["Equations", "added_equations", "equations", "system_derivation"]


def system_derivation(system: HybridSystem) -> list[Block]:
    """The derivation of the adjoint of a system, step by step.

    Raises
    ------
    NotDifferentiable
        If the system has no adjoint.
    """
    return AdjointReport(Adjoint.derive(system)).all()


@dataclass(frozen=True)
class Equations:
    """The equations of a system or of an adjoint: as text, and in a notebook as LaTeX or Markdown.

    Attributes
    ----------
    blocks : list of Block
        What is rendered.
    """

    blocks: list[Block]

    def __str__(self) -> str:
        return TextRenderer().render(self.blocks)

    def _repr_latex_(self) -> str:
        """All equations as one aligned block of mathematics."""
        return _aligned(self.blocks)

    def _repr_markdown_(self) -> str:
        return MarkdownRenderer().render(self.blocks)


def equations(of: HybridSystem | Adjoint) -> Equations:
    """The equations of a system, or those of its adjoint without their derivation.

    Examples
    --------
    >>> print(equations(hybrid_system(load_model("lif"))))  # doctest: +SKIP
    """
    return Equations(forward_model(of) if isinstance(of, HybridSystem) else AdjointReport(of).results())


def added_equations(system: HybridSystem, names: Collection[str], without: HybridSystem | None = None) -> Equations:
    """What a synapse or a mechanism brings to a system, or changes in it.

    Parameters
    ----------
    system : HybridSystem
        With it.
    names : collection of str
        Its states, parameters and weight: equations that read one are its own.
    without : HybridSystem, optional
        The same without it: equations that this does not have are its own too.
    """
    known = set() if without is None else {latex_equation(b) for b in forward_model(without) if isinstance(b, Equation)}
    blocks: list[Block] = []
    said: list[Block] = []  # prose that belongs to the next equation
    for block in forward_model(system):
        if isinstance(block, Equation):
            read = {x.name for part in block.parts for x in part.expression.free_symbols if isinstance(x, sp.Symbol)}
            if not read.isdisjoint(names) or (known and latex_equation(block) not in known):
                blocks += [*said, block]
                said = []
        elif isinstance(block, Prose):
            said = [block]
    return Equations(blocks)


def _aligned(blocks: list[Block]) -> str:
    lines = [latex_equation(b).replace(" = ", " &= ", 1) for b in blocks if isinstance(b, Equation)]
    return "$\\displaystyle \\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}$"
