"""What drives a script: given and drawn spikes, and sampled currents."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from brian2 import PoissonGroup, PoissonInput, Quantity, SpikeGeneratorGroup, TimedArray
from brian2.units.fundamentalunits import get_dimensions

from ...templates import Assignment, CurrentInput
from ...templates.constraints import evaluated
from ...templates.errors import located
from ...templates.units import expression_dimension, unit_dimension, unit_of_dimension, wrong_unit
from ._arrivals import Arrivals, whole_group
from ._population import WEIGHT, PopulationReader
from ._scope import Scope, place, refuse
from ._slots import Array, Slot

__all__ = ["current_input", "poisson_arrivals", "samples", "sources"]

_ROUNDING = 1e-12  # of a time


def _given(group: SpikeGeneratorGroup, duration: float) -> Array:
    """Spike times of a trial, shape (1, n, spikes), in seconds, filled with ``inf``; periods are gone through."""
    index = np.asarray(group._neuron_index, dtype=int)
    times = np.asarray(group._spike_time, dtype=float)
    period = float(np.ravel(group.variables["period"].get_value())[0])
    if period > 0 and len(times):
        repeats = int(np.ceil(duration / period))
        times = (period * np.arange(repeats)[:, None] + times).ravel()
        index = np.tile(index, repeats)
    within = times < duration
    return _padded(index[within], times[within], len(group))


def _poisson(group: PoissonGroup, duration: float, seed: int, namespace: Mapping[str, Any]) -> Array:
    """Spike times drawn for a trial, likewise; they depend on the seed, the rates and the name of the group alone."""
    if not isinstance(group._rates, str):
        rates = np.broadcast_to(np.asarray(group.variables["rates"].get_value(), dtype=float), len(group))[:, None]
        _check_rates(group, rates, np.zeros(1))
        return _drawn(rates, np.zeros(1), duration, seed, group.name)
    scope = Scope(group, namespace, set())
    text = scope.read(group._rates, "rates")
    # where t is read they hold for a time step of the group, as Brian2's do; else for as long as samples hold
    intervals = {float(group.clock.dt_)} if scope.time else {c.array.dt for c in scope.currents}
    starts = np.unique(np.concatenate([[0.0], *(x * np.arange(int(np.ceil(duration / x))) for x in intervals)]))
    starts = starts[np.r_[True, np.diff(starts) > _ROUNDING * duration]]
    values: dict[str, Array] = {c.name: np.reshape(c.value, (-1, 1)) for c in scope.constants.values()}
    dims = {c.name: unit_dimension(c.unit) for c in scope.constants.values()}
    if scope.time:
        values[scope.time], dims[scope.time] = starts, unit_dimension("second")
    for c in scope.currents:
        columns = c.array.values.reshape(len(c.array.values), -1)
        samples = np.floor(starts / c.array.dt * (1 + _ROUNDING) + _ROUNDING).astype(int)
        values[c.name] = columns[np.minimum(samples, len(columns) - 1)][:, c.columns].T
        dims[c.name] = c.array.dim
    with located(place(group), "rates"):
        if (dim := expression_dimension(text, dims)) is not unit_dimension("hertz"):
            raise ValueError(f"{group._rates!r} {wrong_unit(dim, unit_dimension('hertz'))}")
        rates = np.broadcast_to(evaluated(text, values), (len(group), len(starts)))
    _check_rates(group, rates, starts)
    return _drawn(rates, starts, duration, seed, group.name)


def _check_rates(group: PoissonGroup, rates: Array, starts: Array) -> None:
    for neuron, k in np.argwhere(~(np.isfinite(rates) & (rates >= 0)))[:1]:
        hint = "a rate is a number from 0 up, as clip can keep it"
        message = f"{group._rates!r} is {rates[neuron, k]:g} Hz for neuron {neuron} at {starts[k]:g} s; {hint}"
        raise refuse(group, "rates", message)


def _drawn(rates: Array, starts: Array, duration: float, seed: int, name: str) -> Array:
    """Spike times of Poisson processes whose rates, shape (n, pieces), hold from a start to the next one."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    lengths = np.diff(np.r_[starts, duration])
    counts = rng.poisson(rates * lengths)
    index, piece = (np.repeat(k, counts.ravel()) for k in np.indices(counts.shape).reshape(2, -1))
    return _padded(index, starts[piece] + rng.uniform(0, lengths[piece]), len(rates))


def _padded(index: Array, times: Array, n: int) -> Array:
    order = np.lexsort((times, index))
    index, times = index[order], times[order]
    counts = np.bincount(index, minlength=n)
    place_of = np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)
    padded = np.full((1, n, max(1, int(counts.max(initial=0)))), np.inf)
    padded[0, index, place_of] = times
    return padded


def poisson_arrivals(source: PoissonInput, reader: PopulationReader) -> Arrivals:
    """The connections of a `PoissonInput`: to each of its neurons, one from a source of its own.

    Raises
    ------
    TemplateError
        For a weight that is an expression, or a target that is no state.
    """
    group, first = whole_group(source._group)
    weight = source.weight
    if isinstance(weight, str):
        hint = "give a number, or use a PoissonGroup and Synapses with a weight for each"
        raise refuse(source, "weight", f"{weight!r} is an expression; {hint}")
    if source.target_var not in reader.scope.state_names:
        raise refuse(source, "target_var", f"{source.target_var!r} is no state of {group.name!r}")
    n = len(source._group)
    statements = (Assignment(source.target_var, "+=", WEIGHT),)
    receptor = reader.receptor(source.name, place(source), statements, unit_of_dimension(get_dimensions(weight)), "w")
    refusal = "use a PoissonGroup, and Synapses that have a variable for it"
    slot = Slot(place(source), lambda _: None, lambda: np.zeros(n), refusal=refusal)
    return Arrivals(
        name=f"{source.name}_{group.name}",
        source=source.name,
        target=group.name,
        receptor=receptor,
        i=np.arange(n),
        j=np.arange(n) + first,
        weights=np.full(n, float(weight)),
        delay=0.0,
        learnable=True,
        chosen=np.arange(n),
        weight_slot=slot,
        delay_slot=slot,
    )


def _poisson_input(source: PoissonInput, duration: float, seed: int) -> Array:
    """Spike times drawn for a trial: those of all its inputs of one neuron are one Poisson process."""
    rate = float(Quantity(source.rate)) * source.N
    return _drawn(np.full((len(source._group), 1), rate), np.zeros(1), duration, seed, source.name)


def current_input(name: str, array: TimedArray) -> CurrentInput:
    """A `TimedArray` as a current that holds its samples."""
    columns = 1 if array.values.ndim == 1 else array.values.shape[1]
    return CurrentInput(name, columns, array.dt, unit=unit_of_dimension(array.dim))


def samples(array: TimedArray, current: CurrentInput, duration: float) -> Array:
    """Samples of a trial, shape (n, samples); as in Brian2, the last one holds to the end."""
    values = array.values[None] if array.values.ndim == 1 else array.values.T
    wanted = current.samples(duration)
    return np.pad(values[:, :wanted], [(0, 0), (0, max(0, wanted - values.shape[1]))], mode="edge")


def sources(objects: Mapping[str, Any], duration: float, seed: int, namespace: Mapping[str, Any]) -> dict[str, Array]:
    """Spike times of all sources of spikes among the objects, by name.

    Parameters
    ----------
    objects : mapping of str to object
        Of a script; those of other kinds are left out.
    duration : float
        Of a trial, in seconds.
    seed : int
        Of what is drawn.
    namespace : mapping
        Of the script.
    """
    found = {}
    for name, o in objects.items():
        if isinstance(o, SpikeGeneratorGroup):
            found[name] = _given(o, duration)
        elif isinstance(o, PoissonGroup):
            found[name] = _poisson(o, duration, seed, namespace)
        elif isinstance(o, PoissonInput):
            found[name] = _poisson_input(o, duration, seed)
    return found
