"""Arrivals of a trial through one projection, in the order of time."""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod

import numpy as np

from .sources import Sources
from .tape import Arrival, Spikes

__all__ = ["Connections", "Incoming", "incoming"]


class Connections:
    """Weights, mask and delays of a projection.

    Attributes
    ----------
    columns : list of array or None
        Targets of each source neuron; None for all.
    delay : array, shape () or (n_source, n_target)
    """

    def __init__(self, weights: np.ndarray, delay: np.ndarray, mask: np.ndarray | None) -> None:
        self.mask = mask
        self.columns = None if mask is None else [np.flatnonzero(row) for row in mask]
        self.set_weights(weights)
        self.set_delay(delay)

    def set_weights(self, weights: np.ndarray) -> None:
        """Replace all weights."""
        self.weights = np.array(weights, dtype=float)

    def set_delay(self, delay: np.ndarray) -> None:
        """Replace all delays."""
        self.delay = np.array(delay, dtype=float)
        self.rows: list[list[tuple[float, int]]] = []
        if self.delay.ndim:
            for i, row in enumerate(self.delay):
                targets = np.arange(row.size) if self.columns is None else self.columns[i]
                self.rows.append(sorted((float(row[j]), int(j)) for j in targets))

    @property
    def shortest(self) -> float:
        """Smallest delay of a connection that exists, inf if there is none."""
        if self.mask is not None and not self.mask.any():
            return np.inf
        if not self.delay.ndim:
            return float(self.delay)
        return float(self.delay.min() if self.mask is None else self.delay[self.mask].min())

    def arriving(self, a: Arrival, which: np.ndarray | slice) -> np.ndarray:
        """The weights with which an arrival comes to neurons."""
        return self.weights[a.neuron, which] * a.amplitude

    def targets(self, a: Arrival) -> np.ndarray | None:
        """The neurons that an arrival reaches; None for all."""
        if a.target >= 0:
            return np.array([a.target])
        return None if self.columns is None else self.columns[a.neuron]

    def reaches(self, a: Arrival, neuron: int) -> bool:
        """Whether an arrival reaches a neuron.

        Parameters
        ----------
        a : Arrival
            Through this projection.
        neuron : int
            Of the target.
        """
        if a.target >= 0:
            return a.target == neuron
        return self.mask is None or bool(self.mask[a.neuron, neuron])


class Incoming(ABC):
    """Arrivals through one projection in one trial, while its source may still spike."""

    def __init__(
        self, number: int, connections: Connections, spikes: Spikes, end: float, sources: Sources | None = None
    ) -> None:
        self.number, self.connections, self.spikes, self.end, self.sources = number, connections, spikes, end, sources

    @abstractmethod
    def next(self) -> float:
        """Time of the next arrival; inf if there is none up to the end of the trial."""

    @abstractmethod
    def take(self, time: float, round_: int) -> list[Arrival]:
        """Remove arrivals that happen now.

        Parameters
        ----------
        time : float
            Of the next arrival, exactly; at another time nothing is taken.
        round_ : int
            Those of this round of the instant and of earlier ones are taken.

        Returns
        -------
        list of Arrival
            By source neuron, spike and target.
        """

    def arrival(self, spike: int, target: int) -> Arrival:
        """A spike, by its place among the source's, that reaches a target, or all for -1."""
        amplitude = 1.0 if self.sources is None else self.sources.amplitude(spike)
        return Arrival(self.number, self.spikes.neurons[spike], spike, target, amplitude)

    def round(self, spike: int, delay: float) -> int:
        """In which round of its instant a spike arrives; see `ComponentForward`.

        Parameters
        ----------
        spike : int
            Place among the source's.
        delay : float
            Of the connection, in seconds.
        """
        return 0 if delay > 0 else self.spikes.rounds.get(spike, 0)


class _Common(Incoming):
    """One delay for all connections: arrivals come in the order of the spikes."""

    def __init__(
        self, number: int, connections: Connections, spikes: Spikes, end: float, sources: Sources | None = None
    ) -> None:
        super().__init__(number, connections, spikes, end, sources)
        self.delay = float(connections.delay)
        self.cursor = 0

    def next(self) -> float:
        columns, neurons = self.connections.columns, self.spikes.neurons
        while self.cursor < len(neurons):
            if columns is None or columns[neurons[self.cursor]].size:
                time = self.spikes.times[self.cursor] + self.delay
                return time if time <= self.end else np.inf
            self.cursor += 1
        return np.inf

    def take(self, time: float, round_: int) -> list[Arrival]:
        """See `Incoming.take`."""
        found = []
        while self.next() == time and self.round(self.cursor, self.delay) <= round_:
            found.append(self.arrival(self.cursor, -1))
            self.cursor += 1
        return sorted(found)


class _Each(Incoming):
    """A delay for each connection: the rows of all spikes, each sorted by delay, are merged."""

    def __init__(
        self, number: int, connections: Connections, spikes: Spikes, end: float, sources: Sources | None = None
    ) -> None:
        super().__init__(number, connections, spikes, end, sources)
        self.seen = 0
        self.heap: list[tuple[float, int, int, int, int]] = []  # time, round, neuron, spike, place in its row

    def next(self) -> float:
        while self.seen < len(self.spikes.times):
            self._push(self.spikes.neurons[self.seen], self.seen, 0)
            self.seen += 1
        return self.heap[0][0] if self.heap else np.inf

    def take(self, time: float, round_: int) -> list[Arrival]:
        """See `Incoming.take`."""
        found = []
        while self.next() == time and self.heap[0][1] <= round_:
            _, _, neuron, spike, place = heapq.heappop(self.heap)
            found.append(self.arrival(spike, self.connections.rows[neuron][place][1]))
            self._push(neuron, spike, place + 1)
        return sorted(found)

    def _push(self, neuron: int, spike: int, place: int) -> None:
        row = self.connections.rows[neuron]
        if place < len(row):
            delay = row[place][0]
            time = self.spikes.times[spike] + delay
            if time <= self.end:
                heapq.heappush(self.heap, (time, self.round(spike, delay), neuron, spike, place))


def incoming(
    number: int, connections: Connections, spikes: Spikes, end: float, sources: Sources | None = None
) -> Incoming:
    """The arrivals of a projection in one trial.

    Parameters
    ----------
    number : int
        Place of the projection.
    connections : Connections
    spikes : Spikes
        Of the source; may grow while arrivals are taken.
    end : float
        Length of the trial in seconds; later arrivals don't happen.
    sources : Sources, optional
        What lives with its sources.
    """
    kind = _Each if connections.delay.ndim else _Common
    return kind(number, connections, spikes, end, sources)
