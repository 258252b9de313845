"""What the package derives, as documents that a reader can follow: text, Markdown, LaTeX."""

from __future__ import annotations

from ..coding.loss import JointLoss
from ..coding.spike_rule import SpikeRule
from ..symbolic.system import HybridSystem
from ._rendering import Format, renderer
from .coding import coding_derivation
from .systems import Equations, added_equations, equations, system_derivation

__all__ = ["Equations", "Format", "added_equations", "derivation", "equations"]


def derivation(of: HybridSystem | JointLoss | SpikeRule, format: Format = "text") -> str:
    """A derivation, step by step: of a system's adjoint, or of the network that a joint loss asks for.

    Parameters
    ----------
    of : HybridSystem, JointLoss or SpikeRule
    format : {"text", "latex", "markdown"}
        Terminal text, the body of a LaTeX document that loads amsmath, or Markdown with LaTeX mathematics.

    Raises
    ------
    NotDifferentiable
        If the system has no adjoint.
    ValueError
        For another format.
    """
    document = renderer(format)
    return document.render(system_derivation(of) if isinstance(of, HybridSystem) else coding_derivation(of))
