"""Exact event simulation of a large sparse network as a hand-written C++ program: the limit for such networks."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

from .._binding import POINTER, compiled

__all__ = ["SparseLimit"]

# The program counts in ms and in thousandths of the unit of potentials.
_MS = 1e3
_NUMBERS = ("tau_m", "tau_0", "tau_1", "threshold", "reset", "refractory", "delay", "window")


class _Settings(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("n", "n_inputs", "driven", "in_order", "most")),
        *((name, ctypes.c_double) for name in _NUMBERS),
    ]


class SparseLimit:
    """One trial of a recurrent network of LIF neurons with two exponential receptors, and the gradient by its weights.

    ``tau_m du/dt = -u + E + I`` with the potential u from rest; spikes of a neuron arrive at one of the two receptors,
    those of inputs at the first one. Exact in continuous time, whatever the windows.

    Parameters
    ----------
    start, target : int array, shapes (n + 1,) and (synapses,)
        Rows by source, as in `scipy.sparse.csr_array`.
    weights : array, shape (synapses,)
    receptor : int array, shape (n,)
        0 or 1, by source.
    inputs : array, shape (n_inputs, n)
        Weights of input spikes.
    delay : float or array, shape (synapses,)
        Seconds. Without delays, or where all are the same and `in_order` is set, events of the whole network are taken
        in the order of time; else by windows up to the smallest delay.
    tau_m, tau : float, tuple of two floats
        Seconds; pairwise different.
    threshold, reset : float
        From rest; the reset is below the threshold.
    initial : float or array, optional
        Potentials at time 0; the reset if not given.
    refractory : float
        Seconds; not without delays.
    in_order : bool, optional
    window : float, optional
        Longest window in seconds; no parameter of the model, nor is the next one.
    most : int, optional
        Arriving spikes of a window, 0 for any number.
    portable : bool
        Whether to do without AVX-512 where the processor has it.

    Raises
    ------
    ValueError
        For a network that the program can't simulate.
    """

    def __init__(
        self,
        start: np.ndarray,
        target: np.ndarray,
        weights: np.ndarray,
        receptor: np.ndarray,
        inputs: np.ndarray,
        *,
        delay: float | np.ndarray = 0.0,
        tau_m: float = 20e-3,
        tau: tuple[float, float] = (5e-3, 10e-3),
        threshold: float,
        reset: float,
        initial: float | np.ndarray | None = None,
        refractory: float = 0.0,
        in_order: bool | None = None,
        window: float | None = None,
        most: int | None = None,
        portable: bool = False,
    ) -> None:
        self.n = n = len(start) - 1
        by_synapse = np.ndim(delay) > 0
        shortest = float(np.min(delay, initial=np.inf)) if by_synapse else float(np.asarray(delay))
        if in_order is None:
            in_order = shortest == 0
        if np.shape(weights) != np.shape(target) or len(target) != start[-1] or np.shape(receptor) != (n,):
            raise ValueError("start, target, weights and receptor: expected rows by source, and a receptor for each")
        if by_synapse and np.shape(delay) != np.shape(target):
            raise ValueError(f"delay: shape {np.shape(delay)}; expected one, or one for each of {len(target)} synapses")
        if (in_order and by_synapse) or not (in_order or 0 < shortest < np.inf):
            raise ValueError("delays have to be positive; in the order of time, all have to be the same")
        if in_order and refractory > 0:
            raise ValueError("in the order of time, neurons can't be refractory")
        if len({tau_m, *tau}) < 3:
            raise ValueError("the time constants have to be different")
        if np.shape(inputs)[1:] != (n,):
            raise ValueError(f"inputs: shape {np.shape(inputs)}; expected (n_inputs, {n})")
        if not reset < threshold or np.max(initial if initial is not None else reset) > threshold:
            raise ValueError("neurons have to be below the threshold at first and after a spike")
        # A window that brings about n/32 rows is best, and the calendar of delays has one of the smallest delay.
        if window is None:
            window = 5e-3 if in_order else shortest
        if most is None:
            most = 0 if by_synapse else max(n // (40 if in_order else 32), 8)
        # Rows sorted by delay: the program's order of synapses
        sources = np.repeat(np.arange(n), np.diff(start))
        self._order = np.lexsort((np.asarray(delay), sources)) if by_synapse else np.arange(len(target))
        driven = int(np.flatnonzero(np.any(np.asarray(inputs) != 0, axis=0)).max(initial=-1)) + 1
        u = threshold * _MS, reset * _MS
        times = (refractory, 0.0 if by_synapse else shortest, window)
        settings = _Settings(
            *(n, len(inputs), driven, int(in_order), most),
            *(tau_m * _MS, tau[0] * _MS, tau[1] * _MS, *u, *(t * _MS for t in times)),
        )
        self._shape = np.shape(inputs)
        self._library = _library(portable)
        arrays = [
            np.ascontiguousarray(start, dtype=np.int32),
            np.ascontiguousarray(np.asarray(target)[self._order], dtype=np.int32),
            np.asarray(weights, dtype=float)[self._order] * _MS,
            np.asarray(delay, dtype=float)[self._order] * _MS if by_synapse else None,
            np.ascontiguousarray(receptor, dtype=np.uint8),
            np.ascontiguousarray(inputs, dtype=float) * _MS,
            np.full(n, 1.0) * (reset if initial is None else initial) * _MS,
        ]
        pointers = [None if a is None else a.ctypes.data for a in arrays]
        self._sparse = self._library.sparse_new(ctypes.byref(settings), *pointers)
        self._spikes = 0

    def close(self) -> None:
        """Free the memory."""
        if self._sparse is not None:
            self._library.sparse_free(self._sparse)
            self._sparse = None

    def forward(self, times: np.ndarray, sources: np.ndarray, duration: float) -> int:
        """Simulate; the number of spikes.

        Parameters
        ----------
        times, sources : array, int array
            Input spikes in seconds, ascending, and which input each is of.
        duration : float
        """
        t, j = np.ascontiguousarray(times, dtype=float) * _MS, np.ascontiguousarray(sources, dtype=np.int32)
        if (np.diff(t) < 0).any():
            raise ValueError("times of input spikes: expected in ascending order")
        self._spikes = self._library.sparse_forward(
            self._sparse, t.ctypes.data, j.ctypes.data, len(t), duration * _MS
        )
        return self._spikes

    def spikes(self) -> tuple[np.ndarray, np.ndarray]:
        """Times in seconds and neurons of the last run, in the order of time."""
        times, neurons = np.empty(self._spikes), np.empty(self._spikes, dtype=np.int32)
        self._library.sparse_spikes(self._sparse, times.ctypes.data, neurons.ctypes.data)
        return times / _MS, neurons

    def backward(self, sensitivity: np.ndarray) -> None:
        """Compute the gradients from the derivative of the loss by each spike's time (in seconds), in that order."""
        s = np.ascontiguousarray(sensitivity, dtype=float)
        if s.shape != (self._spikes,):
            raise ValueError(f"sensitivity: shape {s.shape}; there are {self._spikes} spikes")
        self._library.sparse_backward(self._sparse, s.ctypes.data)

    def gradients(self) -> tuple[np.ndarray, np.ndarray]:
        """Gradients by the weights of synapses and of inputs, shaped as those."""
        by_row, inputs = np.empty(len(self._order)), np.empty(self._shape)
        self._library.sparse_gradient(self._sparse, by_row.ctypes.data, inputs.ctypes.data)
        weights = np.empty_like(by_row)
        weights[self._order] = by_row
        return weights, inputs  # ms and thousandths cancel


def _library(portable: bool) -> ctypes.CDLL:
    flags = ("-DPORTABLE",) if portable else ()
    loaded = compiled("sparse", Path(__file__).with_name("sparse.cpp"), flags)
    loaded.sparse_new.restype = POINTER
    loaded.sparse_new.argtypes = [ctypes.POINTER(_Settings), *[POINTER] * 7]
    loaded.sparse_free.argtypes = [POINTER]
    loaded.sparse_forward.argtypes = [POINTER, POINTER, POINTER, ctypes.c_int, ctypes.c_double]
    loaded.sparse_spikes.argtypes = loaded.sparse_gradient.argtypes = [POINTER] * 3
    loaded.sparse_backward.argtypes = [POINTER] * 2
    return loaded
