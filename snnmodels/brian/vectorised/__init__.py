"""Projections as NumPy templates of their own, over all spikes of a step: the fast form on Brian2's runtime targets."""

from .projections import VectorisedProjection

__all__ = ["VectorisedProjection"]
