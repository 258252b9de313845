"""Ties, counted from spike times and delays alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

import numpy as np

from ..templates.network import Network

__all__ = ["count_ties"]

Array = np.ndarray


def count_ties(network: Network, spikes: Mapping[str, Array]) -> int:
    """How often several spikes arrive at a population at one instant, or several of its neurons spike at one.

    Each instant counts once for a population as one of arrivals, however many they are and through whichever
    connections, and once as one of spikes. A spike that arrives twice at one instant is one.

    Parameters
    ----------
    network : Network
    spikes : mapping of str to array, shape (trials, n, k)
        Of inputs and populations, padded with inf.
    """
    found = 0
    for population in network.populations:
        incoming = [q for q in network.projections if q.target == population.name]
        for trial in range(len(next(iter(spikes.values()), ()))):
            own = spikes[population.name][trial]
            found += sum(n > 1 for n in Counter(own[np.isfinite(own)].tolist()).values())
            arrivals: dict[float, set[tuple[str, int, int]]] = defaultdict(set)
            for q in incoming:
                given = spikes[q.source][trial]
                delays = np.broadcast_to(q.delay, np.shape(q.weights))
                mask = np.ones(delays.shape, dtype=bool) if q.mask is None else np.asarray(q.mask)
                for neuron, k in np.argwhere(np.isfinite(given)):
                    for time in given[neuron, k] + delays[neuron][mask[neuron]]:
                        arrivals[float(time)].add((q.source, int(neuron), int(k)))
            found += sum(len(s) > 1 for time, s in arrivals.items() if time <= network.duration)
    return found
