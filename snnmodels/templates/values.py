"""Trainable values of networks: checked, and put in the place of others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from .arguments import check_mapping, real_array
from .network import Network

__all__ = ["all_finite", "with_values"]


def all_finite(values: np.ndarray) -> bool:
    """Whether there is no NaN and no infinity."""
    # the sum of finite numbers is finite, but for an overflow; it takes one pass and no memory
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum())) or bool(np.isfinite(values).all())


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
    check_mapping("values", values, "a mapping of keys such as 'hidden.tau_m' to arrays")
    for key, value in values.items():
        if key not in known:
            raise ValueError(f"no trainable value {key!r}; network {network.name!r} has {', '.join(known)}")
        array = real_array(f"value of {key!r}", value)
        if array.shape != known[key].shape:
            raise ValueError(f"value of {key!r} has shape {array.shape}; it must be {known[key].shape}")
        if not all_finite(array):
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
