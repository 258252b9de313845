"""What the geometry predicts, to put next to measurements.

Rates are in spikes per second of the population, `tau` is the time constant of the read-out in seconds.
Barrett et al. (2013) for the boxes, Calaim et al. (2022) for their geometry; the formulas for unequal norms follow from
the loss: a neuron of norm d moves the error by d along its column at a threshold (d² + nu)/2, a face at
(d² + nu)/(2 d) of the origin, which is closest for d = sqrt(nu).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import sympy as sp
from scipy.optimize import brentq

from ..symbolic.parsing import symbol
from .loss import NORM
from .network import Homeostat
from .response import Response

__all__ = [
    "active_norm",
    "cone_slope",
    "effective_cost",
    "mixed_norms_loss",
    "mixed_norms_rate",
    "retrained_curve",
    "retrained_loss",
    "retrained_rate",
    "ring_error_bound",
    "self_consistent_rate",
]

Array = np.ndarray


def ring_error_bound(d: float, nu: float, n: int) -> float:
    """Greatest |x - x̂| inside the box of a ring of neurons, that is, at its corners (Barrett et al. 2013).

    Parameters
    ----------
    d : float
        Norm of the neurons.
    nu : float
        Linear cost.
    n : int
        Number of neurons.
    """
    return (d**2 + nu) / (2 * d * np.cos(np.pi / n))


def retrained_loss(d: float) -> float:
    """Coding loss of a dense cost-free network of norm d: the variance of an error that is uniform over one jump."""
    return d**2 / 12


def retrained_rate(d: float, rho: float, tau: float) -> float:
    """Rate of a cost-free network of norm d at signal length rho: every spike restores d of a decay rho/tau.

    Parameters
    ----------
    d : float
    rho : float
        Length of the signal.
    tau : float
        Time constant of the read-out in seconds.

    Returns
    -------
    float
        Spikes per second of the population.
    """
    return rho / (tau * d)


def retrained_curve(rate: float | Array, rho: float, tau: float) -> float | Array:
    """Coding loss against rate of cost-free networks with rescaled decoders, (rho/tau)²/(12 rate²): slope -2.

    Parameters
    ----------
    rate : float or array
        Spikes per second of the population.
    rho : float
        Length of the signal.
    tau : float
        Time constant of the read-out in seconds.
    """
    return (rho / tau) ** 2 / (12 * np.asarray(rate) ** 2)


def active_norm(nu: float | Array) -> float | Array:
    """Norm of the neurons whose faces are closest at linear cost nu, and distance of these faces: sqrt(nu)."""
    return np.sqrt(nu)


def mixed_norms_loss(nu: float | Array) -> float | Array:
    """Coding loss of a network of many norms at linear cost nu: error uniform between 0 and sqrt(nu)."""
    return np.asarray(nu) / 3


def mixed_norms_rate(nu: float | Array, rho: float | Array, tau: float) -> float | Array:
    """Rate of a network of many norms at linear cost nu: the read-out is sqrt(nu)/2 shorter than the signal.

    Parameters
    ----------
    nu : float or array
    rho : float or array
        Length of the signal.
    tau : float
        Time constant of the read-out in seconds.

    Returns
    -------
    float or array
        Spikes per second of the population.
    """
    root = np.sqrt(nu)
    return (rho - root / 2) / (tau * root)


def cone_slope(kappa: float, d: float) -> float:
    """How far a unit of population activity B moves a face under the cost kappa B² (Calaim et al. 2022).

    Parameters
    ----------
    kappa : float
    d : float
        Norm of the face's neuron.
    """
    return kappa / d


def self_consistent_rate(cost_of_rate: Callable[[float], float], rho: float, tau: float) -> float:
    """Rate of a network of many norms whose effective linear cost depends on its own rate.

    Parameters
    ----------
    cost_of_rate : callable
        Effective nu at a population rate; with inhibition ``nu + kappa (1 + 2 rate tau_B)``.
    rho : float
        Length of the signal.
    tau : float
        Time constant of the read-out in seconds.

    Returns
    -------
    float
        Solves rate = `mixed_norms_rate` (cost_of_rate(rate)).

    Raises
    ------
    ValueError
        If no rate between 1e-6 and 1e9 spikes per second solves it.
    """

    def excess(log_rate: float) -> float:
        rate = np.exp(log_rate)
        return rate - float(mixed_norms_rate(cost_of_rate(rate), rho, tau))

    return float(np.exp(brentq(excess, np.log(1e-6), np.log(1e9))))


def effective_cost(response: Response) -> Array:
    """2 theta_i - d_i² along a simulation: the linear cost nu that would give every neuron its threshold now.

    Read off the derived threshold, whatever the costs are; for nu r + mu a² + kappa B² it is
    nu + mu (1 + 2 a_i) + kappa (1 + 2 B). With it the predictions for a linear cost hold for any cost.

    Returns
    -------
    array, shape (steps, N), or (steps, 1) where it is the same for all neurons
        After the spikes of every step.
    """
    network = response.network
    expression = sp.expand(2 * network.rule.threshold - NORM**2, power_exp=False)
    names = sorted(s.name for s in expression.free_symbols)
    values = [_column(response, name) for name in names]
    function = sp.lambdify([symbol(n) for n in names], expression, "numpy")
    cost = np.asarray(function(*values), float)
    return np.broadcast_to(cost, (response.signal.steps, cost.shape[-1] if cost.ndim else 1))


def _column(response: Response, name: str) -> Array:
    """A trace, the norms or a parameter over time, broadcastable to (steps, N)."""
    network = response.network
    if name in network.loss.traces:
        trace = response.trace(name)
        return trace if trace.ndim == 2 else trace[:, None]
    if name == NORM.name:
        return network.norms
    if isinstance(network.value(name), Homeostat):
        prices = response.prices(name)
        return prices if prices.ndim == 2 else prices[:, None]
    value = np.asarray(network.course(name, response.signal))
    is_course = value.ndim == 1 and name not in network.constants()
    return value[:, None] if is_course else np.atleast_1d(value)
