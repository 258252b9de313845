"""Templates: models and networks as TOML files, read, checked and composed into plain values."""

from ._compose import as_model, compose_model, load_model
from ._describe import describe
from ._network_file import load_network
from .errors import TemplateError
from .library import Entry, catalogue, equations_path
from .model import Accuracy, Assignment, Derived, Document, Input, Model, Parameter, Receptor, Refractory, State
from .network import CurrentInput, Drive, Network, Population, Projection, SpikeInput
from .saving import save_model, save_network
from .values import with_values

__all__ = [
    "Accuracy",
    "Assignment",
    "CurrentInput",
    "Derived",
    "Document",
    "Drive",
    "Entry",
    "Input",
    "Model",
    "Network",
    "Parameter",
    "Population",
    "Projection",
    "Receptor",
    "Refractory",
    "SpikeInput",
    "State",
    "TemplateError",
    "as_model",
    "catalogue",
    "compose_model",
    "describe",
    "equations_path",
    "load_model",
    "load_network",
    "save_model",
    "save_network",
    "with_values",
]
