"""What the hand-written loops over two layers have in common: which networks they take, and their C interface."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from snnmodels.losses import MaxVoltageCrossEntropy, TTFSCrossEntropy
from snnmodels.losses.base import Loss
from snnmodels.targets import compilation
from snnmodels.templates.network import Network

__all__ = ["POINTER", "Loop", "TwoLayers", "compiled", "two_layers"]

_FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fvisibility-inlines-hidden"),
    *("-Wall", "-Wextra", "-Wno-psabi", "-Wno-uninitialized", "-Wno-maybe-uninitialized"),
)
POINTER = ctypes.c_void_p


def compiled(name: str, source: Path, flags: Sequence[str] = ()) -> ctypes.CDLL:
    """Compile a source file, if it, a header beside or above it, or the compiler is new, and load it.

    Raises
    ------
    BuildFailed
        If the compiler is missing or refuses the source.
    """
    headers = sorted([*source.parent.glob("*.h"), *source.parent.parent.glob("*.h")])
    return compilation.library(name, source, (*_FLAGS, *flags), b"".join(p.read_bytes() for p in headers))


@dataclass(frozen=True)
class TwoLayers:
    """What the loops read of a network and its loss: sizes, constants in seconds, scales of the loss."""

    sizes: tuple[int, int, int]
    spiking: bool
    constants: tuple[float, float, float]
    scales: tuple[float, float, float]


def two_layers(network: Network, loss: Loss) -> TwoLayers:
    """Check that the loops are made for a network and a loss, and describe them.

    Raises
    ------
    ValueError
        For any other network or loss.
    """
    populations, projections = network.populations, network.projections
    chain = [network.inputs[0].name, *(p.name for p in populations)]
    pairs = [(q.source, q.target) for q in projections if q.mask is None]
    if len(chain) != 3 or pairs != list(pairwise(chain)) or len(projections) != 2 or network.output != chain[-1]:
        raise ValueError("the limit has an input, a hidden and an output population, densely connected in this order")
    values: dict[str, set[float]] = {}
    for p in populations:
        for key in p.model.parameters:
            values.setdefault(key, set()).add(float(p.value(key)))
    if set(values) != {"tau_m", "tau_syn", "v_rest", "v_th", "v_reset"} or any(len(v) > 1 for v in values.values()):
        raise ValueError("the limit has LIF neurons with exponential synapses, all with the same parameters")
    if values["v_rest"] | values["v_reset"] != {0.0}:
        raise ValueError("the limit has rest and reset at 0")
    spiking = populations[-1].model.spiking
    match loss:
        case TTFSCrossEntropy() if spiking:
            scales = (loss.tau0, loss.tau1, loss.alpha)
        case MaxVoltageCrossEntropy(scale=1.0) if not spiking:
            scales = (1.0, 1.0, 0.0)
        case _:
            raise ValueError(f"the limit has no {loss} on {populations[-1].model.name}")
    tau_m, tau_syn, v_th = (next(iter(values[key])) for key in ("tau_m", "tau_syn", "v_th"))
    sizes = (network.inputs[0].n, populations[0].n, populations[1].n)
    return TwoLayers(sizes, spiking, (tau_m, tau_syn, v_th), scales)


class Loop:
    """A two-layer feed-forward network, its loss, gradients and Adam in one compiled loop.

    Parameters
    ----------
    loaded : CDLL
        Has the functions ``limit_*``.
    settings : Structure
        What ``limit_new`` takes.
    network : Network
    batch_size : int
    """

    def __init__(self, loaded: ctypes.CDLL, settings: ctypes.Structure, network: Network, batch_size: int) -> None:
        loaded.limit_new.restype = POINTER
        loaded.limit_loss.restype = ctypes.c_double
        loaded.limit_hidden_spikes.restype = ctypes.c_double
        signatures: dict[str, list[Any]] = {
            "free": [],
            "set": [POINTER, POINTER],
            "get": [POINTER, POINTER],
            "gradient": [POINTER, POINTER],
            "forward": [POINTER, ctypes.c_int],
            "loss": [POINTER],
            "backward": [],
            "adam": [ctypes.c_double],
            "hidden_spikes": [],
        }
        for name, arguments in signatures.items():
            getattr(loaded, f"limit_{name}").argtypes = [POINTER, *arguments]
        self._library = loaded
        self._limit = loaded.limit_new(ctypes.byref(settings))
        self._n_in = network.inputs[0].n
        self._batch_size = batch_size
        self._names = [f"{q.name}.w" for q in network.projections]
        self._shapes = [np.shape(q.weights) for q in network.projections]
        self.set_weights({f"{q.name}.w": np.asarray(q.weights) for q in network.projections})

    def close(self) -> None:
        """Free the memory."""
        if self._limit is not None:
            self._library.limit_free(self._limit)
            self._limit = None

    def set_weights(self, values: dict[str, np.ndarray]) -> None:
        """Take weights by ``"<projection>.w"``."""
        arrays = [np.ascontiguousarray(values[name], dtype=float) for name in self._names]
        self._library.limit_set(self._limit, *(a.ctypes.data for a in arrays))

    def weights(self) -> dict[str, np.ndarray]:
        """Copy the weights."""
        return self._pair(self._library.limit_get)

    def gradients(self) -> dict[str, np.ndarray]:
        """Copy the gradients of the last batch."""
        return self._pair(self._library.limit_gradient)

    def _pair(self, function: Callable[..., None]) -> dict[str, np.ndarray]:
        arrays = [np.empty(shape) for shape in self._shapes]
        function(self._limit, *(a.ctypes.data for a in arrays))
        return dict(zip(self._names, arrays, strict=True))

    def forward(self, times: np.ndarray) -> None:
        """Simulate trials with one spike per input at most: `times` in seconds, shape (trials, n), inf for none."""
        times = np.ascontiguousarray(times, dtype=float)
        if times.ndim != 2 or times.shape[1] != self._n_in or not 1 <= len(times) <= self._batch_size:
            raise ValueError(f"times: shape {times.shape}; it must be (1 to {self._batch_size}, {self._n_in})")
        self._library.limit_forward(self._limit, times.ctypes.data, len(times))

    def loss(self, labels: np.ndarray) -> float:
        """Mean loss of the trials simulated last; prepares the backward pass."""
        labels = np.ascontiguousarray(labels, dtype=np.int64)
        return float(self._library.limit_loss(self._limit, labels.ctypes.data))

    def backward(self) -> None:
        """Compute the gradients; once after each `forward` and `loss`."""
        self._library.limit_backward(self._limit)

    def adam(self, rate: float) -> None:
        """Update the weights."""
        self._library.limit_adam(self._limit, rate)

    def hidden_spikes(self) -> float:
        """Spikes of the hidden population per trial."""
        return float(self._library.limit_hidden_spikes(self._limit))
