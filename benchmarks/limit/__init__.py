"""The package's method as a hand-written C++ loop: what its speed is measured against."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from snnmodels import compilation
from snnmodels.eventprop import MaxVoltageCrossEntropy, TTFSCrossEntropy
from snnmodels.eventprop.protocol import Loss
from snnmodels.templates.network import Network

__all__ = ["Limit", "library"]

_FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fvisibility-inlines-hidden"),
    *("-Wall", "-Wextra"),
)
_POINTER = ctypes.c_void_p


class _Settings(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("n_in", "n_hidden", "n_out", "steps", "spiking_output", "batch_size")),
        *((name, ctypes.c_double) for name in ("dt", "tau_m", "tau_s", "v_th", "tau0", "tau1", "alpha")),
    ]


@functools.cache
def library() -> ctypes.CDLL:
    """Compile the loop, if its sources or the compiler are new, and load it.

    Raises
    ------
    BuildFailed
        If the compiler is missing or refuses the sources.
    """
    sources = sorted(p for p in Path(__file__).parent.iterdir() if p.suffix in (".cpp", ".h"))
    content = b"".join(p.read_bytes() for p in sources)
    loaded = compilation.library("limit", Path(__file__).with_name("limit.cpp"), _FLAGS, content)
    loaded.limit_new.restype = _POINTER
    loaded.limit_new.argtypes = [ctypes.POINTER(_Settings)]
    loaded.limit_loss.restype = ctypes.c_double
    loaded.limit_hidden_spikes.restype = ctypes.c_double
    signatures: dict[str, list[Any]] = {
        "free": [],
        "set": [_POINTER, _POINTER],
        "get": [_POINTER, _POINTER],
        "gradient": [_POINTER, _POINTER],
        "forward": [_POINTER, ctypes.c_int],
        "loss": [_POINTER],
        "backward": [],
        "adam": [ctypes.c_double],
        "hidden_spikes": [],
    }
    for name, arguments in signatures.items():
        getattr(loaded, f"limit_{name}").argtypes = [_POINTER, *arguments]
    return loaded


def _settings(network: Network, loss: Loss, batch_size: int, dt: float) -> _Settings:
    """Check that the loop is made for a network and a loss, and describe them to it."""
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
    sizes = (network.inputs[0].n, populations[0].n, populations[1].n, round(network.duration / dt))
    constants = (next(iter(values[key])) for key in ("tau_m", "tau_syn", "v_th"))
    return _Settings(*sizes, int(spiking), batch_size, dt, *constants, *scales)


class Limit:
    """A two-layer feed-forward network, its loss, gradients and Adam in one compiled loop.

    Parameters
    ----------
    network : Network
        One input, a hidden LIF population and an output population of LIF neurons or leaky integrators, all with the
        same time constants and rest and reset at 0, densely connected through exponential synapses.
    loss : TTFSCrossEntropy or MaxVoltageCrossEntropy
    batch_size : int
    dt : float
        Time step in seconds.

    Raises
    ------
    ValueError
        For any other network or loss.
    """

    def __init__(self, network: Network, loss: Loss, *, batch_size: int, dt: float) -> None:
        settings = _settings(network, loss, batch_size, dt)
        self._library = library()
        self._limit = self._library.limit_new(ctypes.byref(settings))
        self._n_in = settings.n_in
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
