"""How much delay, noise and loss of neurons a price of spikes buys: what the bounding box predicts.

A spike moves the error by d across a box that is (d² + nu)/d wide: nu/d of room is left on the other side. Delayed
spikes of neurons that correct the same error, and voltage noise, which shifts the faces, use up that room. When it is
gone, corrections land outside the box on the other side, and are corrected in turn: an explosion.

With mixed norms the neurons in use are those of norm sqrt(nu), for which nu = d²: two uncoordinated spikes fill the box
whatever the price, as long as it is below the largest norm squared.
"""

from __future__ import annotations

import numpy as np
from scipy.special import erfc

from .network import CodingNetwork
from .rates import convex_rates

__all__ = ["burst_price", "loss_of_survivors", "noisy_rate", "one_step_price"]

Array = np.ndarray


def one_step_price(d: float, n: int) -> float:
    """The least linear cost with which a ring bears a delay of one time step, d² cos(2π/N).

    At a corner of the box two neighbours spike before either knows of the other. Together they move the error by
    2 d cos(π/N), which has to fit between opposite corners, (d² + nu)/(d cos(π/N)).

    Parameters
    ----------
    d : float
        Norm of the neurons.
    n : int
        Their number, even.
    """
    return float(d**2 * np.cos(2 * np.pi / n))


def burst_price(d: float, n: int, steps: int, drift: float, *, resolution: float = 0.02, directions: int = 24) -> float:
    """The least linear cost with which bursts of a delayed ring die out.

    From a point of the box, and what the signal drives the error beyond it within the delay, all neurons above
    threshold spike, once per time step and the one furthest above first, knowing of their own spikes only. Then all
    those spikes arrive at once, and the next burst starts from there. The price is enough if this ends from every
    direction. Arrivals that are spread over the delay are not in this picture, so it is a guide where the delay is long
    against the time between spikes.

    Parameters
    ----------
    d : float
        Norm of the neurons.
    n : int
        Their number.
    steps : int
        Delay in time steps.
    drift : float
        How far the signal drives the error within the delay, |dx/dt + x/tau| times the delay.
    resolution : float
        Of the price, in d².
    directions : int
        From a face to a corner.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If 20 d² are not enough.
    """
    angle = 2 * np.pi * np.arange(n) / n
    decoder = d * np.stack([np.cos(angle), np.sin(angle)])
    for price in np.arange(0.0, 20.0, resolution):
        threshold = (1 + price) * d**2 / 2
        starts = np.linspace(0, np.pi / n, directions)
        lengths = threshold / d / np.cos(starts) + drift
        if all(
            _dies_out(length * np.array([np.cos(a), np.sin(a)]), decoder, threshold, steps + 1)
            for a, length in zip(starts, lengths, strict=True)
        ):
            return float(price * d**2)
    raise ValueError(f"a ring of {n} neurons does not calm down with a delay of {steps} steps at a price of 20 d²")


def _dies_out(error: Array, decoder: Array, threshold: float, most: int) -> bool:
    square = float(decoder[:, 0] @ decoder[:, 0])
    for _ in range(30):
        v, jump = decoder.T @ error, np.zeros(2)
        for _ in range(most):
            j = int(np.argmax(v))
            # rounding puts the start of a burst, which lies on a face, on either side of it
            if v[j] - threshold <= 1e-12:
                break
            v[j] -= square
            jump += decoder[:, j]
        if not jump.any():
            return True
        error = error - jump
    return False


def noisy_rate(rate: float, nu: float, sigma: float, pairs: float, dt: float) -> float:
    """Rate of a population with voltage noise.

    The noise n_i shifts face i by n_i. Two opposite neurons leave no room for a jump of d² between their thresholds,
    d² + nu apart, while n_i + n_j > nu; then they spike in turn, in every time step. With `pairs` such pairs that is
    the case for a fraction 1 - (1 - Q(nu/(sqrt(2) sigma)))^pairs of the time.

    Parameters
    ----------
    rate : float
        Without noise, spikes per second.
    nu : float
        Linear cost.
    sigma : float
        Standard deviation of the voltage noise.
    pairs : float
        Between 1, that along which the signal presses, and N/2.
    dt : float
        Time step in seconds.
    """
    if sigma == 0:
        return rate
    part = 1 - (1 - erfc(nu / (2 * sigma)) / 2) ** pairs
    return float((1 - part) * rate + part / dt)


def loss_of_survivors(network: CodingNetwork, radius: float = 1.0, directions: int = 72) -> float:
    """Coding loss of a network of equal norms on a slow circle: bias of the mean rates, and a jump's variance d²/12.

    For a network that lost neurons, the mean rates are those of the remaining ones (`convex_rates`): the error goes to
    the corner that the gap leaves open (Barrett et al. 2016; Calaim et al. 2022).

    Parameters
    ----------
    network : CodingNetwork
        Of two signals.
    radius : float
        Of the circle.
    directions : int
        On it.
    """
    angles = 2 * np.pi * np.arange(directions) / directions
    x = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    errors = np.array([one - network.tau * network.decoder @ convex_rates(network, one) for one in x])
    bias = np.einsum("km,mn,kn->k", errors, network.metric, errors).mean()
    return float(bias + (network.norms**2).mean() / 12)
