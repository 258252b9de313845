"""The event engine on NumPy."""

from .engine import NumpyEngine

__all__ = ["NumpyEngine"]
