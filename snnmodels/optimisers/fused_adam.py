"""Adam in one pass over memory, for large arrays where there is a C++ compiler.

NumPy makes eleven passes over five arrays. This makes one, with the same operations on each number in the same order:
the results are the same in every bit.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..targets.compilation import BuildFailed, library

__all__ = ["fused_adam"]

_RUNTIME = Path(__file__).parents[1] / "targets" / "cpp" / "runtime"  # where training in a compiled program has it, too
# Neither fused multiply-adds nor another order: NumPy has neither
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno")


@functools.cache
def _load() -> ctypes.CDLL | None:
    try:
        header = (_RUNTIME / "adam.h").read_bytes()
        loaded = library("adam", _RUNTIME / "adam.cpp", _FLAGS, header)
    except (BuildFailed, OSError):
        return None  # NumPy gives the same, more slowly
    loaded.snn_adam.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_size_t] + [ctypes.c_double] * 4
    loaded.snn_adam.restype = None
    return loaded


def fused_adam(
    value: np.ndarray,
    gradient: np.ndarray,
    moments: Sequence[np.ndarray],
    beta1: float,
    beta2: float,
    epsilon: float,
    rate: float,
) -> bool:
    """Update a value and its moments in place, if that is possible here.

    Parameters
    ----------
    value, gradient : array, shape (n,)
    moments : sequence of two arrays, shape (n,)
        Running means of the gradient and of its square.
    beta1, beta2 : float
    epsilon, rate : float
        With the bias corrections in them.

    Returns
    -------
    bool
        False if nothing was done: no compiler, or arrays that aren't contiguous float64.
    """
    arrays = (value, gradient, *moments)
    if not all(a.dtype == np.float64 and a.flags.c_contiguous for a in arrays):
        return False
    loaded = _load()
    if loaded is None:
        return False
    loaded.snn_adam(*(a.ctypes.data for a in arrays), value.size, beta1, beta2, epsilon, rate)
    return True
