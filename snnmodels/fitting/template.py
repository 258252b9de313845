"""Neurons of the library as a current alone drives them; `save_model` writes a fitted one as a template."""

from __future__ import annotations

from ..templates import Document, compose_model
from ..templates.library import find, read_toml
from ..templates.model import Model

__all__ = ["bare_model"]


def bare_model(components: str) -> Model:
    """A neuron of the library with mechanisms and without synapses, whose input a current alone drives.

    Parameters
    ----------
    components : str
        Names of the library joined by plus signs, the neuron first, as in ``"lif_current+current_adaptation"``.

    Raises
    ------
    TemplateError
        If they don't fit together, or one of them is a synapse.
    """
    documents = []
    for name in components.split("+"):
        path = find(name, ("neuron", "mechanism"))
        content = {key: value for key, value in read_toml(path).items() if key != "default_synapse"}
        documents.append(Document(name, str(path), content))
    return compose_model(*documents, name=components)
