"""An optimiser whose steps are sized by what it steps, whatever units that is in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..optimisers import Adam, ExponentialDecay
from ..templates.errors import located, suggest
from ..templates.network import Network
from ..templates.quantities import gain_unit
from ..templates.units import quantity_in

__all__ = ["relative_adam"]


def relative_adam(
    network: Network,
    rate: float,
    decay: float = 1.0,
    *,
    sizes: Mapping[str, Any] | None = None,
    bounds: Mapping[str, tuple[Any, Any]] | None = None,
) -> Adam:
    """Adam for everything that a network learns, with steps relative to the size of each group of values.

    A step of a parameter that must be positive (`Parameter.positive`: time constants are) is one of its logarithm, so
    that it stays positive; with bounds, of the ratio of its distances to both. Other values step by about the rate
    times their size: the root mean square of the initial ones, or the `scale` that the parameter's template declares.

    Parameters
    ----------
    network : Network
    rate : float
        In the first epoch.
    decay : float
        Factor on the rate per epoch.
    sizes : mapping of str to number or str, optional
        By key of `Network.trainable`, in the place of the initial ones: numbers in SI units, or quantities as
        ``"1*ms"``. Such a value steps linearly, even if it must be positive.
    bounds : mapping of str to (low, high), optional
        Likewise.

    Raises
    ------
    ValueError
        For a key that isn't learned, a quantity in another unit, bounds that the initial values are not between, or
        a group of values without a size: they are all 0, as delays often are.
    """
    if not (np.isfinite(rate) and rate > 0):
        raise ValueError(f"rate: expected a positive, finite learning rate, got {rate:g}")
    values, units = network.trainable(), _units(network)
    if not values:
        raise ValueError(
            f"network {network.name!r}: nothing is learnable; give a population or projection of its file learnable"
        )
    given: dict[str, float] = {}
    limits: dict[str, tuple[float, float]] = {}
    for key in (*(sizes or {}), *(bounds or {})):
        if key not in values:
            raise ValueError(f"{key}: is not learned; {suggest(key, values)}")
    for key, size in (sizes or {}).items():
        with located("", f"size of {key}"):
            given[key] = quantity_in(size, units[key])[0]
            if not given[key] > 0:
                raise ValueError(f"is {given[key]:g}; expected a positive number")
    for key, pair in (bounds or {}).items():
        with located("", f"bounds of {key}"):
            low, high = (quantity_in(limit, units[key])[0] for limit in pair)
            if not low < high:
                raise ValueError(f"are {low:g} and {high:g}; expected the low one first")
            if not ((values[key] > low) & (values[key] < high)).all():
                least, most = values[key].min(), values[key].max()
                raise ValueError(f"are {low:g} and {high:g}, but its values go from {least:g} to {most:g}")
            limits[key] = low, high
    scales: dict[str, float] = {}
    transforms: dict[str, str] = {}
    for key, value in values.items():
        parameter = _parameter(network, key)
        if key in given:
            scales[key] = given[key]
        elif parameter is not None and parameter.positive:
            transforms[key] = "logit" if key in limits else "log"
        else:
            connected = value[_mask(network, key)]
            scales[key] = float(np.sqrt(np.mean(np.square(connected)))) if connected.size else 1.0
            if not scales[key] and parameter is not None:
                scales[key] = parameter.scale
            if not scales[key]:
                raise ValueError(
                    f"{key}: all values are 0, so that nothing tells the size of a step; give the size of a typical "
                    f"one, as {key}={'1*ms' if units[key] == 'second' else '0.1'}"
                )
    return Adam(ExponentialDecay(rate, decay), scales=scales, bounds=limits, transforms=transforms)


def _parameter(network: Network, key: str) -> Any:
    """The parameter that a key stands for; None for weights and delays."""
    owner, _, name = key.rpartition(".")
    return next((p.model.parameters[name] for p in network.populations if p.name == owner), None)


def _mask(network: Network, key: str) -> Any:
    """Where the values of a key are those of connections, and all others."""
    owner, _, what = key.rpartition(".")
    mask = next((q.mask for q in network.projections if q.name == owner), None)
    per_connection = what == "w" or any(q.name == owner and np.ndim(q.delay) for q in network.projections)
    return ... if mask is None or not per_connection else np.asarray(mask, dtype=bool)


def _units(network: Network) -> dict[str, str]:
    """Base unit of everything that is learned, by key."""
    models = {p.name: p.model for p in network.populations}
    currents = {c.name: c for c in network.currents}
    units = {f"{p.name}.{name}": p.model.parameters[name].unit for p in network.populations for name in p.learnable}
    for q in network.projections:
        units |= {f"{q.name}.w": models[q.target].receptors[q.receptor].weight_unit, f"{q.name}.delay": "second"}
    for d in network.drives:
        units[f"{d.name}.w"] = gain_unit(models[d.target].inputs[d.input].unit, currents[d.source].unit)
    return units
