"""The grid method as a hand-written C++ loop: arrivals at the end of their step, one search per step.

What the package did before it had an event engine, and what that engine's speed is compared with, at the time step that
the method needs: see `benchmarks.grid_error`.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

from snnmodels.losses.base import Loss
from snnmodels.templates.network import Network

from .._binding import Loop, compiled, two_layers

__all__ = ["GridLimit"]


class _Settings(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("n_in", "n_hidden", "n_out", "steps", "spiking_output", "batch_size")),
        *((name, ctypes.c_double) for name in ("dt", "tau_m", "tau_s", "v_th", "tau0", "tau1", "alpha")),
    ]


class GridLimit(Loop):
    """A two-layer feed-forward network, its loss, gradients and Adam in one compiled loop over a time grid.

    Parameters
    ----------
    network, loss, batch_size
        See `benchmarks.limit.Limit`.
    dt : float
        Time step in seconds.

    Raises
    ------
    ValueError
        For any other network or loss.
    """

    def __init__(self, network: Network, loss: Loss, *, batch_size: int, dt: float) -> None:
        read = two_layers(network, loss)
        loaded = compiled("grid", Path(__file__).with_name("limit.cpp"))
        loaded.limit_new.argtypes = [ctypes.POINTER(_Settings)]
        sizes = (*read.sizes, round(network.duration / dt))
        settings = _Settings(*sizes, int(read.spiking), batch_size, dt, *read.constants, *read.scales)
        super().__init__(loaded, settings, network, batch_size)
