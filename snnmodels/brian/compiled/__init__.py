"""Populations and projections as C++ templates of their own: the fast form of an assembly on C++ standalone."""

from .inputs import CompiledBackwardInput, CompiledForwardInput
from .populations import CompiledBackwardPopulation, CompiledForwardPopulation
from .projections import CompiledProjection

__all__ = [
    "CompiledBackwardInput",
    "CompiledBackwardPopulation",
    "CompiledForwardInput",
    "CompiledForwardPopulation",
    "CompiledProjection",
]
