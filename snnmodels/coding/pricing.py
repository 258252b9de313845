"""What a price does to the bounding box: which neurons it selects, and what rate and loss follow.

Everything starts from the derived threshold. Neuron i's face is at theta_i/d_i, and the neurons whose faces are nearest
do the work. For a cost of eps_1 per spike and eps_2 per unit of synaptic charge, which is proportional to d,

    (eps_1 + eps_2 d) r   ->   theta/d = (d + eps_1/d + eps_2)/2 :

the price per spike is hard on small neurons and selects the norm sqrt(eps_1); the price per charge moves all faces
alike and selects nobody.
"""

from __future__ import annotations

import numpy as np
import sympy as sp

from ..symbolic.parsing import symbol
from .loss import NORM, JointLoss, joint_loss
from .spike_rule import derive

__all__ = ["LINEAR_PRICES", "face_distance", "priced_loss", "priced_rate", "selected_norm"]

Array = np.ndarray

LINEAR_PRICES = joint_loss(
    {"spikes": "eps_1*r", "charge": "eps_2*d*r"}, parameters={"eps_1": 0.0, "eps_2": 0.0}, name="linear_prices"
)
"""A price per spike and one per charge."""


def face_distance(loss: JointLoss = LINEAR_PRICES) -> sp.Expr:
    """Distance theta/d of a face from the origin while nobody has been active, from the derived threshold.

    Returns
    -------
    Expr
        In the norm d and the parameters of the loss.
    """
    at_rest = dict.fromkeys(map(symbol, loss.traces), sp.Integer(0))
    return sp.expand(derive(loss).threshold.xreplace(at_rest) / NORM)


def selected_norm(loss: JointLoss = LINEAR_PRICES) -> sp.Expr | None:
    """The norm whose faces are nearest, for positive parameters.

    Returns
    -------
    Expr or None
        In the parameters of the loss. None if nearness grows towards ever smaller norms: then the smallest neurons
        there are do the work, whatever the price.

    Raises
    ------
    ValueError
        If the distance has more than one minimum, or SymPy does not find where it is.
    """
    positive = {symbol(p): sp.Symbol(p, positive=True) for p in loss.parameters}
    d = sp.Symbol("d", positive=True)
    distance = face_distance(loss).xreplace({**positive, NORM: d})
    slope = sp.together(sp.diff(distance, d))
    try:
        found = [s for s in sp.solve(slope, d) if s.is_positive is not False]
    except NotImplementedError:
        raise ValueError(f"where {distance} is least can't be solved for d") from None
    if len(found) > 1:
        raise ValueError(f"{distance} has more than one extremum in d: {', '.join(map(str, found))}")
    back = {new: old for old, new in positive.items()}
    return found[0].xreplace(back) if found else None


def _bias(d: float | Array, eps_1: float | Array, eps_2: float | Array) -> Array:
    return (np.asarray(eps_1) / d + eps_2) / 2


def priced_loss(d: float | Array, eps_1: float | Array, eps_2: float | Array = 0.0) -> Array:
    """Coding loss of a dense network in which neurons of norm d work: bias² + d²/12.

    The error along the signal is uniform over one jump d below the face, so that it has the mean
    (eps_1/d + eps_2)/2, by which the read-out is too short, and the variance d²/12.

    Parameters
    ----------
    d : float or array
        Norm of the neurons at work: sqrt(eps_1), or the smallest there is where that is more.
    eps_1 : float or array
        Price per spike.
    eps_2 : float or array
        Price per charge, charge being d.
    """
    return np.asarray(_bias(d, eps_1, eps_2) ** 2 + np.asarray(d) ** 2 / 12)


def priced_rate(
    d: float | Array, eps_1: float | Array, eps_2: float | Array, rho: float | Array, tau: float
) -> Array:
    """Rate of that network, (rho - bias)/(tau d): every spike restores d of the read-out's decay.

    Its charge per second is d times this, (rho - bias)/tau whatever the norm: a code by fewer, larger spikes moves the
    same charge, and only a bias saves any.

    Parameters
    ----------
    d, eps_1, eps_2
        As for `priced_loss`.
    rho : float or array
        Length of the signal.
    tau : float
        Time constant of the read-out in seconds.

    Returns
    -------
    array
        Spikes per second of the population.
    """
    return np.asarray((np.asarray(rho) - _bias(d, eps_1, eps_2)) / (tau * np.asarray(d)))
