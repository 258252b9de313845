"""The event engine as a hand-written C++ program for one network: what the package's speed is measured against.

`grid` is the method that stood here before, on a time grid; `sparse` is for large sparse networks.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

from snnmodels.losses.base import Loss
from snnmodels.templates.network import Network

from ._binding import POINTER, Loop, compiled, two_layers

__all__ = ["Limit"]


class _Settings(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("n_in", "n_hidden", "n_out", "spiking_output", "first_only", "batch_size")),
        *((name, ctypes.c_double) for name in ("duration", "window", "tau_m", "tau_s", "v_th")),
        *((name, ctypes.c_double) for name in ("tau0", "tau1", "alpha")),
    ]


class Limit(Loop):
    """A two-layer feed-forward network, its loss, gradients and Adam in one compiled program, exact in continuous time.

    Parameters
    ----------
    network : Network
        One input, a hidden LIF population and an output population of LIF neurons or leaky integrators, all with the
        same time constants and rest and reset at 0, densely connected through exponential synapses.
    loss : TTFSCrossEntropy or MaxVoltageCrossEntropy
    batch_size : int
    window : float
        Span of time in seconds that one population runs through before the next one does; no parameter of the model.
    first_only : bool
        Whether output neurons stop after their first spike, which is all that a loss on first spikes reads.
    portable : bool
        Whether to do without AVX-512 where the processor has it.

    Raises
    ------
    ValueError
        For any other network or loss, or a window that isn't positive.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss,
        *,
        batch_size: int,
        window: float = 5e-3,
        first_only: bool = False,
        portable: bool = False,
    ) -> None:
        read = two_layers(network, loss)
        if not window > 0:
            raise ValueError(f"window = {window}: expected a positive time in seconds")
        loaded = compiled("limit", Path(__file__).with_name("limit.cpp"), ("-DPORTABLE",) if portable else ())
        loaded.limit_new.argtypes = [ctypes.POINTER(_Settings)]
        loaded.limit_spikes.argtypes = [POINTER, ctypes.c_int, ctypes.c_int, POINTER, POINTER, ctypes.c_int]
        integers = (*read.sizes, int(read.spiking), int(first_only), batch_size)
        span = (network.duration, min(window, network.duration))
        settings = _Settings(*integers, *span, *read.constants, *read.scales)
        super().__init__(loaded, settings, network, batch_size)
        self._populations = [p.name for p in network.populations]

    def spikes(self, trial: int, population: str) -> tuple[np.ndarray, np.ndarray]:
        """Spike times in seconds and neurons of a population in a trial of the last batch, in the order of time."""
        which = self._populations.index(population)
        room = self._library.limit_spikes(self._limit, trial, which, None, None, 0)
        times, neurons = np.empty(room), np.empty(room, dtype=np.int32)
        self._library.limit_spikes(self._limit, trial, which, times.ctypes.data, neurons.ctypes.data, room)
        return times, neurons
