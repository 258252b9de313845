"""Read-outs: from spikes to an estimate of the signal, beyond the raw D r.

Costs bias the raw read-out towards zero; a gain or a length correction removes most of the bias, and the least-squares
decoder is what a network without derived weights has to rely on.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import lstsq

from .response import Response
from .theory import effective_cost

__all__ = ["least_squares_decoder", "length_corrected", "scalar_gain"]

Array = np.ndarray


def scalar_gain(estimate: Array, target: Array) -> float:
    """The factor g that makes g x̂ closest to x: <x·x̂>/<x̂·x̂>.

    Parameters
    ----------
    estimate, target : array, shape (steps, M)

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the estimate is zero everywhere.
    """
    power = float((estimate**2).sum())
    if power == 0:
        raise ValueError("the estimate is zero everywhere (no spikes), so no gain can correct it")
    return float((estimate * target).sum()) / power


def length_corrected(response: Response) -> Array:
    """x̂ (1 + sqrt(nu)/(2|x̂|)): the raw read-out lies sqrt(nu)/2 short of the signal on average, so add that back.

    nu is the effective linear cost, the median over the neurons where adaptation makes them differ, at every step.

    Parameters
    ----------
    response : Response

    Returns
    -------
    array, shape (steps, M)
        Zero where the raw estimate is zero.
    """
    nu = np.median(effective_cost(response), axis=-1)
    x = response.estimate
    length = np.sqrt(np.einsum("km,mn,kn->k", x, response.network.metric, x))
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(length > 0, 1 + np.sqrt(np.maximum(nu, 0)) / (2 * length), 0.0)
    return x * factor[:, None]


def least_squares_decoder(traces: Array, target: Array, ridge: float = 0.0) -> Array:
    """The linear decoder with the smallest squared error on this recording.

    Parameters
    ----------
    traces : array, shape (steps, N)
        Filtered spike trains.
    target : array, shape (steps, M)
    ridge : float
        Added to the mean square of every trace, to keep weights finite for traces that hardly vary.

    Returns
    -------
    array, shape (M, N)
    """
    gram = traces.T @ traces / len(traces)
    moment = traces.T @ target / len(traces)
    solution, *_ = lstsq(gram + ridge * np.eye(len(gram)), moment)
    return np.asarray(solution).T
