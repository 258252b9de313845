"""Energy of a simulation: spikes, and the synaptic events that they cause."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .factors import nonzero_per_column
from .network import CodingNetwork
from .response import Response

__all__ = ["Energy", "energy", "synapses_per_spike"]

Array = np.ndarray


@dataclass(frozen=True)
class Energy:
    """Events per second of the whole population.

    Attributes
    ----------
    spikes : float
    synaptic_events : float
        Deliveries through recurrent, inhibitory and read-out synapses.
    """

    spikes: float
    synaptic_events: float


def synapses_per_spike(network: CodingNetwork) -> Array:
    """How many synapses a spike of each neuron activates, shape (N,).

    Recurrent synapses onto other neurons that share a signal with it (fast, and slow where the network implements
    dynamics), one synapse per population trace that the threshold reads, and the non-zero read-out weights.
    """
    synapses = nonzero_per_column(network.encoder, network.decoder)
    if network.loss.dynamics is not None:
        # the pattern of DᵀW(A + lambda)D, not of its exact step, which couples signals only by rounding
        leak = np.eye(network.dimensions) / network.tau
        synapses = synapses + nonzero_per_column(network.encoder, (network.loss.dynamics + leak) @ network.decoder)
    in_threshold = {s.name for s in network.rule.threshold.free_symbols}
    shared = [t for t, trace in network.loss.traces.items() if trace.scope == "population" and t in in_threshold]
    return np.asarray(synapses + len(shared) + (network.decoder != 0).sum(0))


def energy(response: Response, discard: float = 0.0) -> Energy:
    """Energy of a response.

    Parameters
    ----------
    response : Response
    discard : float
        Seconds at the start to leave out.

    Raises
    ------
    ValueError
        If `discard` is negative or leaves nothing.
    """
    rates = response.rates(discard)
    return Energy(float(rates.sum()), float(rates @ synapses_per_spike(response.network)))
