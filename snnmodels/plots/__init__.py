"""Rasters, traces, weights and training curves on Matplotlib axes, in time units that a reader expects."""

from .draw import PALETTE, coding_error, learning_curves, raster, traces, weights

__all__ = ["PALETTE", "coding_error", "learning_curves", "raster", "traces", "weights"]
