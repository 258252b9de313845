"""One trial of a network as ordinary Brian2 objects, on the time grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import brian2
import numpy as np

from ...templates.groups import SpikeInput
from ...templates.network import Network
from ...templates.spike_times import checked_times
from ...templates.units import unit_dimension
from ..plain import neuron_group, synapses
from ..plan import refuse_unsupported

__all__ = ["TrialObjects", "check_input_spikes", "one_trial"]

Array = np.ndarray


@dataclass(frozen=True)
class TrialObjects:
    """The Brian2 objects of one trial.

    Attributes
    ----------
    objects : tuple of brian2.BrianObject
        Everything, monitors included.
    spikes : mapping of str to SpikeMonitor
        Of every spiking population.
    states : mapping of str to StateMonitor
        All state variables of every population that doesn't spike.
    """

    objects: tuple[brian2.BrianObject, ...]
    spikes: Mapping[str, brian2.SpikeMonitor]
    states: Mapping[str, brian2.StateMonitor]


def check_input_spikes(source: SpikeInput, times: Array, duration: float, dt: float) -> tuple[Array, Array]:
    """Input spikes as Brian2's SpikeGeneratorGroup takes them.

    Parameters
    ----------
    source : SpikeInput
    times : array, shape (n,) or (n, spikes) or (1, n, spikes)
        Spike times in seconds, padded with inf.
    duration, dt : float
        Of the trial and of a step, in seconds.

    Returns
    -------
    indices, times : array, shape (spikes,)
        Times on the grid, in seconds.

    Raises
    ------
    ValueError
        For a wrong shape, for NaN, negative or too late times, and for two spikes of one source in one step.
    """
    name = f"input {source.name!r}"
    given = times if np.ndim(times) != 1 else times[:, None]
    if np.ndim(given) == 3 and len(given) == 1:
        given = given[0]
    if np.ndim(given) != 2 or len(given) != source.n:
        raise ValueError(
            f"{name}: spike times have shape {np.shape(times)}; expected ({source.n}, spikes) for one trial"
        )
    times = checked_times(given[None], name, source.n, 1, duration)[0]
    indices, slot = np.nonzero(np.isfinite(times))
    # a spike of the last half step belongs to the step that it is in
    last = int(np.ceil(duration / dt * (1 - 1e-12))) - 1
    steps = np.minimum(np.rint(times[indices, slot] / dt).astype(int), last)
    if len(np.unique(np.stack([indices, steps]), axis=1).T) < len(steps):
        raise ValueError(
            f"input {source.name!r}: a source has two spikes within one step of {dt * 1e3:g} ms; use a smaller dt"
        )
    return indices, steps * dt


def one_trial(network: Network, spikes: Mapping[str, Array], dt: float) -> TrialObjects:
    """Make the objects of one trial on Brian2's active device.

    Parameters
    ----------
    network : Network
    spikes : mapping of str to array
        Spike times by input, as `check_input_spikes` takes them.
    dt : float
        Time step in seconds.

    Returns
    -------
    TrialObjects
        To be put into a ``brian2.Network`` and run for ``network.duration``.

    Raises
    ------
    ValueError
        If an input has no spike times, or wrong ones; for a network with refractory neurons or with delays.
    """
    refuse_unsupported(network)
    wanted = {source.name for source in network.inputs}
    if wanted != set(spikes):
        raise ValueError(f"input spikes are given for {sorted(spikes)}; the network has the inputs {sorted(wanted)}")
    groups: dict[str, brian2.Group] = {}
    for source in network.inputs:
        indices, times = check_input_spikes(source, spikes[source.name], network.duration, dt)
        groups[source.name] = brian2.SpikeGeneratorGroup(source.n, indices, times * brian2.second, name=source.name)
    for population in network.populations:
        units = {name: unit_dimension(p.unit) for name, p in population.model.parameters.items()}
        parameters = {name: brian2.Quantity(value, dim=units[name]) for name, value in population.parameters.items()}
        groups[population.name] = neuron_group(population.model, population.n, name=population.name, **parameters)
    models = {population.name: population.model for population in network.populations}
    objects: list[brian2.BrianObject] = list(groups.values())
    for projection in network.projections:
        connections = synapses(
            models[projection.target],
            groups[projection.source],
            groups[projection.target],
            receptor=projection.receptor,
            name=projection.name,
        )
        weights = np.asarray(projection.weights, dtype=float)
        exists = np.ones(weights.shape, bool) if projection.mask is None else np.asarray(projection.mask, bool)
        i, j = np.nonzero(exists)
        connections.connect(i=i, j=j)
        # with the underscore Brian2 takes numbers in SI base units
        setattr(connections, f"{models[projection.target].receptors[projection.receptor].weight}_", weights[i, j])
        objects.append(connections)
    spike_monitors, state_monitors = {}, {}
    for population in network.populations:
        group = groups[population.name]
        if population.model.spiking:
            spike_monitors[population.name] = brian2.SpikeMonitor(group, name=f"{population.name}_spikes")
        else:
            state_monitors[population.name] = brian2.StateMonitor(
                group, population.model.state_names, record=True, name=f"{population.name}_states"
            )
    objects += [*spike_monitors.values(), *state_monitors.values()]
    return TrialObjects(tuple(objects), spike_monitors, state_monitors)
