"""What the package derives, as documents that a reader can follow: text, Markdown, LaTeX."""

from __future__ import annotations

from pathlib import Path

from ..coding.loss import JointLoss
from ..coding.spike_rule import SpikeRule
from ..symbolic.declaration import hybrid_system
from ..symbolic.system import HybridSystem
from ..templates import Model, as_model
from ..templates.arguments import check_kind
from ._rendering import Format, renderer
from .coding import coding_derivation
from .systems import Equations, added_equations, equations, system_derivation

__all__ = ["Equations", "Format", "added_equations", "derivation", "equations"]


def derivation(of: str | Path | Model | HybridSystem | JointLoss | SpikeRule, format: Format = "text") -> str:
    """A derivation, step by step: of a system's adjoint, or of the network that a joint loss asks for.

    Parameters
    ----------
    of : str, Path, Model, HybridSystem, JointLoss or SpikeRule
        A model (or its name, as `load_model` takes it) stands for its system.
    format : {"text", "latex", "markdown"}
        Terminal text, the body of a LaTeX document that loads amsmath, or Markdown with LaTeX mathematics.

    Returns
    -------
    str
        The whole document.

    Raises
    ------
    NotDifferentiable
        If the system has no adjoint.
    TemplateError
        If a name stands for no model.
    ValueError
        For another format, or what is none of these.
    """
    document = renderer(format)
    if isinstance(of, str | Path | Model):
        of = hybrid_system(as_model(of))
    check_kind("of", of, (HybridSystem, JointLoss, SpikeRule), "a model, its name, a HybridSystem or a JointLoss")
    return document.render(system_derivation(of) if isinstance(of, HybridSystem) else coding_derivation(of))
