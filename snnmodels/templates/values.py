"""Trainable values of networks: checked, and put in the place of others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from .network import Network

__all__ = ["all_finite", "check_whole", "plain_number", "with_values"]


def all_finite(values: np.ndarray) -> bool:
    """Whether there is no NaN and no infinity."""
    # the sum of finite numbers is finite, but for an overflow; it takes one pass and no memory
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum())) or bool(np.isfinite(values).all())


def check_whole(name: str, n: float) -> None:
    """Refuse a number that is not positive and whole.

    Parameters
    ----------
    name : str
        What it is called, for the message.
    n : int

    Raises
    ------
    ValueError
    """
    whole = isinstance(n, int | float | np.number) and not isinstance(n, bool) and n >= 1 and n == np.floor(n) < np.inf
    if not whole:
        raise ValueError(f"{name} = {n!r}; it must be a positive whole number")


def plain_number(name: str, value: Any) -> float:
    """A number that has no unit, as a float; NaN passes.

    Parameters
    ----------
    name : str
        What it is called, for the message.
    value : float

    Raises
    ------
    ValueError
        If it is no number, or a quantity of Brian2: its unit would be lost.
    """
    if hasattr(value, "dim"):
        raise ValueError(f"{name} = {value} has a unit; give a plain number in SI units")
    if isinstance(value, bool | str) or np.shape(value):
        raise ValueError(f"{name} = {value!r}; expected a number")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} = {value!r}; expected a number") from None


def with_values(network: Network, values: Mapping[str, np.ndarray]) -> Network:
    """A network with some of its trainable values replaced.

    Parameters
    ----------
    network : Network
        Not changed.
    values : mapping of str to array
        By key of `Network.trainable`, in the shapes given there.

    Raises
    ------
    ValueError
        For an unknown key, a wrong shape, a value that is not finite, or a negative delay.
    """
    known = network.trainable()
    for key, value in values.items():
        if key not in known:
            raise ValueError(f"no trainable value {key!r}; network {network.name!r} has {', '.join(known)}")
        if hasattr(value, "dim"):
            raise ValueError(f"value of {key!r} has a unit; trainable values are plain numbers in SI units")
        if np.shape(value) != known[key].shape:
            raise ValueError(f"value of {key!r} has shape {np.shape(value)}; it must be {known[key].shape}")
        if not all_finite(np.asarray(value)):
            raise ValueError(f"value of {key!r} is not finite")
    projections = []
    for q in network.projections:
        weights = np.asarray(values.get(f"{q.name}.w", q.weights), dtype=float)
        projections.append(dataclasses.replace(q, weights=weights, delay=values.get(f"{q.name}.delay", q.delay)))
    populations = []
    for p in network.populations:
        new = {k: np.asarray(values[f"{p.name}.{k}"], dtype=float) for k in p.learnable if f"{p.name}.{k}" in values}
        own = {k: float(v) if v.ndim == 0 else v for k, v in new.items()}
        populations.append(dataclasses.replace(p, parameters={**p.parameters, **own}) if own else p)
    return dataclasses.replace(network, projections=tuple(projections), populations=tuple(populations))
