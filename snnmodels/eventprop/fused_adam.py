"""Adam in one pass over memory, for large arrays where there is a C++ compiler.

NumPy makes eleven passes over five arrays. This makes one, with the same operations on each number in the same order:
the results are the same in every bit.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence

import numpy as np

from ..compilation import BuildFailed, library

__all__ = ["fused_adam"]

_SOURCE = """
#include <cmath>
#include <cstddef>

extern "C" void adam(double* __restrict value, const double* __restrict gradient, double* __restrict mean,
                     double* __restrict square, std::size_t n, double beta1, double beta2, double epsilon, double rate)
{
    const double rest1 = 1 - beta1, rest2 = 1 - beta2;
    for (std::size_t k = 0; k < n; k++)
    {
        const double g = gradient[k];
        const double m = mean[k]*beta1 + g*rest1;
        const double s = square[k]*beta2 + g*g*rest2;
        mean[k] = m;
        square[k] = s;
        value[k] -= m/(std::sqrt(s) + epsilon)*rate;
    }
}
"""
# Neither fused multiply-adds nor another order: NumPy has neither
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno")


@functools.cache
def _load() -> ctypes.CDLL | None:
    try:
        loaded = library("adam", _SOURCE, _FLAGS)
    except (BuildFailed, OSError):
        return None  # NumPy gives the same, more slowly
    loaded.adam.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_size_t] + [ctypes.c_double] * 4
    loaded.adam.restype = None
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
    loaded.adam(*(a.ctypes.data for a in arrays), value.size, beta1, beta2, epsilon, rate)
    return True
