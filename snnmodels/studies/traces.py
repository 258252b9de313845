"""Traces of a network's output population, from ordinary Brian2 objects, for figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..templates.groups import Population
from ..templates.network import Network

__all__ = ["output_traces"]


def output_traces(
    network: Network, inputs: Mapping[str, np.ndarray], variable: str = "v", dt: float = 0.1e-3
) -> tuple[np.ndarray, np.ndarray]:
    """Simulate trials one after the other in plain Brian2 and record a state variable of the output neurons.

    Spikes fall on the time grid here, as in any Brian2 simulation, so traces differ from those of `Simulation` by
    what a shift of every spike by up to `dt` does.

    Parameters
    ----------
    network : Network
    inputs : mapping of str to array, shape (trials, n) or (trials, n, spikes)
        Spike times in seconds by input name, padded with ``inf``.
    variable : str
    dt : float
        Time step in seconds.

    Returns
    -------
    times : array, shape (steps,)
        Seconds.
    traces : array, shape (trials, n, steps)
        In SI units.

    Raises
    ------
    ValueError
        If the output population has no such state.
    """
    # Brian2, only where it is needed.
    import brian2

    from ..brian.plain import neuron_group, synapses

    populations = {p.name: p for p in network.populations}
    if variable not in populations[network.output].model.state_names:
        states = ", ".join(populations[network.output].model.state_names)
        raise ValueError(f"variable: {network.output} has the states {states}, not {variable!r}")
    brian2.set_device("runtime")
    before = brian2.prefs.codegen.target
    brian2.prefs.codegen.target = "numpy"
    try:
        clock = brian2.Clock(dt * brian2.second)
        groups = {
            s.name: brian2.SpikeGeneratorGroup(s.n, [], [] * brian2.second, name=s.name, clock=clock)
            for s in network.inputs
        }
        for p in network.populations:
            groups[p.name] = neuron_group(p.model, p.n, name=p.name, clock=clock, **_quantities(p))
        connections = []
        for q in network.projections:
            model = populations[q.target].model
            made = synapses(model, groups[q.source], groups[q.target], q.receptor, name=q.name)
            exists = np.ones(q.weights.shape, dtype=bool) if q.mask is None else np.asarray(q.mask, dtype=bool)
            source, target = np.nonzero(exists)
            made.connect(i=source, j=target)
            setattr(made, f"{model.receptors[q.receptor].weight}_", q.weights[exists])
            connections.append(made)
        monitor = brian2.StateMonitor(groups[network.output], variable, record=True, clock=clock)
        simulation = brian2.Network(*groups.values(), *connections, monitor)
        simulation.store()
        traces = []
        for trial in range(len(next(iter(inputs.values())))):
            simulation.restore()
            for name, times in inputs.items():
                neurons, at = _events(times[trial], dt)
                groups[name].set_spikes(neurons, at * brian2.second)
            simulation.run(network.duration * brian2.second)
            traces.append(np.array(getattr(monitor, f"{variable}_")))
        return np.array(monitor.t_), np.stack(traces)
    finally:
        brian2.prefs.codegen.target = before


def _quantities(population: Population) -> dict[str, Any]:
    from brian2 import Quantity

    from ..templates.units import unit_dimension

    parameters = population.model.parameters
    return {name: Quantity(population.value(name), dim=unit_dimension(parameters[name].unit)) for name in parameters}


def _events(times: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """Neurons and times of the spikes of one trial, in the order of time."""
    times = times.reshape(len(times), -1)
    neurons, spikes = np.nonzero(np.isfinite(times))
    at = times[neurons, spikes]
    order = np.argsort(at, kind="stable")
    return neurons[order], at[order]
