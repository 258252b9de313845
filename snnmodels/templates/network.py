"""Networks as values: populations of neurons, sources of input spikes, and projections between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .model import Model

__all__ = ["Network", "Population", "Projection", "SpikeInput"]

Array = np.ndarray


@dataclass(frozen=True)
class SpikeInput:
    """`n` sources that emit given spike times."""

    name: str
    n: int


@dataclass(frozen=True)
class Population:
    """`n` neurons of one model.

    Attributes
    ----------
    parameters : mapping of str to float or array
        Values in SI base units that replace the model's defaults; an array of shape ``(n,)`` gives each neuron its own.
    learnable : tuple of str
        Parameters whose gradient is wanted.
    """

    name: str
    n: int
    model: Model
    parameters: Mapping[str, float | Array] = field(default_factory=dict)
    learnable: tuple[str, ...] = ()

    def value(self, parameter: str) -> float | Array:
        """The value of a parameter in SI units: the population's own, else the model's default."""
        if parameter in self.parameters:
            return self.parameters[parameter]
        return self.model.parameters[parameter].value


@dataclass(frozen=True)
class Projection:
    """All-to-all (or masked) connections from `source` to `target`.

    Attributes
    ----------
    name : str
        Unique; by default ``"source_target"``.
    weights : array, shape (n_source, n_target)
        In SI base units of the receptor's weight.
    receptor : str
        Name of a receptor of the target's model.
    mask : bool array, shape (n_source, n_target), or None
        Which connections exist; None for all.
    learnable : bool
        Whether the gradient of the weights is wanted.
    """

    name: str
    source: str
    target: str
    weights: Array
    receptor: str
    mask: Array | None = None
    learnable: bool = True


@dataclass(frozen=True)
class Network:
    """Populations and projections over trials of length `duration`.

    Attributes
    ----------
    inputs : tuple of SpikeInput
    populations : tuple of Population
    projections : tuple of Projection
    output : str
        Name of the population that the loss reads.
    duration : float
        Length of a trial in seconds.
    """

    name: str
    inputs: tuple[SpikeInput, ...]
    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    output: str
    duration: float
    encoding: Mapping[str, str | float] = field(default_factory=dict)

    def trainable(self) -> dict[str, Array]:
        """Current values of everything learnable, by key: ``"<projection>.w"`` and ``"<population>.<parameter>"``.

        Values are float64 arrays: weights ``(n_source, n_target)``, a shared parameter ``()``, a per-neuron one ``(n,)``.
        """
        values: dict[str, Array] = {}
        for p in self.projections:
            if p.learnable:
                values[f"{p.name}.w"] = np.asarray(p.weights, dtype=float)
        for q in self.populations:
            for name in q.learnable:
                values[f"{q.name}.{name}"] = np.asarray(q.value(name), dtype=float)
        return values
