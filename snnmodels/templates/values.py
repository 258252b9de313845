"""Trainable values of networks: checked, and put in the place of others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from .arguments import check_mapping, real_array
from .constraints import holds
from .groups import Population, Settled
from .network import Network, check_network
from .units import variables_in

__all__ = ["all_finite", "keep_possible", "with_values"]

_HALVINGS = 60  # beyond, a step of a double is none


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

    Returns
    -------
    Network
        Another one, with copies of the values.

    Raises
    ------
    ValueError
        For what is no network, an unknown key, a wrong shape, a value that is not finite, or a negative delay.
    """
    check_network(network)
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
    # an optimiser steps its arrays in place: a network that shared them would change with them
    values = {key: np.array(value, subok=True) for key, value in values.items()}
    projections = []
    for q in network.projections:
        weights = np.asarray(values.get(f"{q.name}.w", q.weights), dtype=float)
        projections.append(dataclasses.replace(q, weights=weights, delay=values.get(f"{q.name}.delay", q.delay)))
    drives = [dataclasses.replace(d, weights=values.get(f"{d.name}.w", d.weights)) for d in network.drives]
    populations = []
    for p in network.populations:
        new = {k: np.asarray(values[f"{p.name}.{k}"], dtype=float) for k in p.learnable if f"{p.name}.{k}" in values}
        own = {k: float(v) if v.ndim == 0 else v for k, v in new.items()}
        populations.append(dataclasses.replace(p, parameters=Settled({**p.parameters, **own})) if own else p)
    return dataclasses.replace(
        network, projections=tuple(projections), populations=tuple(populations), drives=tuple(drives)
    )


def keep_possible(network: Network, before: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]) -> list[str]:
    """Shorten a step of trained values so far that what they have become is possible.

    What must be positive (`Parameter.positive`) or fulfil a constraint of its model goes half of the way back to where
    it was, until it does; a delay becomes 0 at the least. What is possible is left alone.

    Parameters
    ----------
    network : Network
        With the values of what is not trained.
    before : mapping of str to array
        Possible values by key of `Network.trainable`, of what not every value is possible for: all but weights.
    values : mapping of str to array
        The same after a step, changed in place, and any others.

    Returns
    -------
    list of str
        Keys of what was changed.
    """
    if not all(all_finite(values[key]) for key in before):
        return []  # nothing is between a number and none; whoever stepped is told
    stepped = {key: values[key].copy() for key in before}
    for q in network.projections:
        key = f"{q.name}.delay"
        if key in before:
            np.maximum(values[key], 0.0, out=values[key])
    for p in network.populations:
        keys = {name: f"{p.name}.{name}" for name in p.learnable if f"{p.name}.{name}" in before}
        for k in range(_HALVINGS + 2):
            # of all parameters that a constraint names, since any may be the one that went too far
            bad = _impossible(p, {name: values[key] for name, key in keys.items()})
            if not bad:
                break
            for name, where in bad.items():
                value, old = values[keys[name]], before[keys[name]]
                value[...] = np.where(where, old + (value - old) / 2 if k < _HALVINGS else old, value)
    return [key for key, value in stepped.items() if not np.array_equal(value, values[key])]


def _impossible(population: Population, trained: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Where trained parameters can't be what they are, for those for which that is so anywhere."""
    model = population.model
    found = {name: value <= 0 for name, value in trained.items() if model.parameters[name].positive}
    for constraint in model.constraints:
        names = variables_in(constraint)
        if trained.keys().isdisjoint(names):
            continue
        broken = ~holds(constraint, {name: trained.get(name, population.value(name)) for name in names})
        for name in trained.keys() & set(names):
            here = broken if trained[name].ndim else broken.any()
            found[name] = found.get(name, np.zeros(trained[name].shape, dtype=bool)) | here
    return {name: where for name, where in found.items() if np.any(where)}
