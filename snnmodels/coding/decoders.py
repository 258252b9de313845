"""Decoders: the matrix D of shape (M, N) whose column i is what a spike of neuron i adds to the read-out."""

from __future__ import annotations

import numpy as np

from ..templates.arguments import check_numbers, check_seed, check_whole, real_array

__all__ = ["golden_angle_decoder", "log_uniform_norms", "random_decoder", "ring_decoder"]

Array = np.ndarray

MOST = 1_000_000_000  # entries of a decoder: 8 GB
GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))


def check_neurons(n: int) -> None:
    """Refuse a number of neurons whose decoder fits in no memory."""
    check_whole("n", n)
    if n > MOST:
        raise ValueError(f"n = {n} neurons; expected at most {MOST}")


def _columns(directions: Array, norms: float | Array) -> Array:
    norms, n = real_array("norms", norms), directions.shape[1]
    if norms.shape not in ((), (n,)):
        raise ValueError(f"norms have shape {norms.shape}; expected one number, or one per neuron ({n},)")
    if not (np.isfinite(norms).all() and (norms > 0).all()):
        raise ValueError("decoder norms must be positive and finite")
    return directions * norms


def ring_decoder(n: int, norms: float | Array = 0.1) -> Array:
    """Columns at equal angles around the circle.

    Parameters
    ----------
    n : int
        Number of neurons, at least 3 (fewer leave directions that nobody can correct).
    norms : float or array, shape (n,)
        Length of the columns.

    Returns
    -------
    array, shape (2, n)

    Raises
    ------
    ValueError
        For fewer than 3 neurons, or norms that are not positive and finite.
    """
    check_numbers(n=n)
    if n < 3:
        raise ValueError(f"a ring needs at least 3 neurons to surround the origin, not {n}")
    check_neurons(n)
    angle = 2 * np.pi * np.arange(n) / n
    return _columns(np.stack([np.cos(angle), np.sin(angle)]), norms)


def golden_angle_decoder(n: int, norms: float | Array = 0.1) -> Array:
    """Columns that turn by the golden angle: any run of consecutive neurons covers the circle evenly.

    With sorted norms this gives every scale neurons in every direction.

    Parameters
    ----------
    n : int
        Number of neurons, at least 3.
    norms : float or array, shape (n,)
        Length of the columns.

    Returns
    -------
    array, shape (2, n)

    Raises
    ------
    ValueError
        For fewer than 3 neurons, or norms that are not positive and finite.
    """
    check_numbers(n=n)
    if n < 3:
        raise ValueError(f"a decoder of two signals needs at least 3 neurons to surround the origin, not {n}")
    check_neurons(n)
    angle = GOLDEN_ANGLE * np.arange(n)
    return _columns(np.stack([np.cos(angle), np.sin(angle)]), norms)


def random_decoder(m: int, n: int, norms: float | Array = 0.1, *, seed: int) -> Array:
    """Columns in directions drawn uniformly from the sphere.

    Parameters
    ----------
    m, n : int
        Signals and neurons.
    norms : float or array, shape (n,)
        Length of the columns.
    seed : int

    Returns
    -------
    array, shape (m, n)

    Raises
    ------
    ValueError
        Without a signal, for fewer than 2 neurons, or for norms that are not positive and finite.
    """
    check_numbers(m=m, n=n)
    if m < 1 or n < 2:
        raise ValueError(f"a decoder needs at least one signal and two neurons, not {m} and {n}")
    check_whole("signals m", m)
    check_neurons(n)
    check_seed(seed)
    if m * n > MOST:
        raise ValueError(f"a decoder of m = {m} signals and n = {n} neurons; expected at most {MOST} entries")
    directions = np.random.default_rng(seed).standard_normal((m, n))
    return _columns(directions / np.linalg.norm(directions, axis=0), norms)


def log_uniform_norms(n: int, low: float, high: float, *, seed: int | None = None) -> Array:
    """Norms spread evenly on a logarithmic scale: fine and coarse neurons in one population.

    Parameters
    ----------
    n : int
        Number of neurons.
    low, high : float
        Range, 0 < low <= high.
    seed : int or None
        Draw them at random; None for the n quantiles in ascending order.

    Returns
    -------
    array, shape (n,)

    Raises
    ------
    ValueError
        Unless 0 < low <= high.
    """
    check_neurons(n)
    check_numbers(low=low, high=high)
    if not 0 < low <= high:
        raise ValueError(f"norms need 0 < low <= high, not {low} and {high}")
    u = (np.arange(n) + 0.5) / n if seed is None else np.random.default_rng(seed).random(n)
    return low * (high / low) ** u
