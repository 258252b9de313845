"""What happened in a trial, in the order of time: read by later components, by losses and by the backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

__all__ = [
    "SPIKE",
    "Arrival",
    "ComponentTape",
    "Event",
    "Knot",
    "Maxima",
    "Piece",
    "Release",
    "Spikes",
    "shares",
    "spikes_of_input",
]

SPIKE = -1
"""The kind of event that is a spike; others are numbered as the system's transitions."""


@dataclass
class Spikes:
    """Spikes of one input or population in one trial, by time, then neuron.

    Attributes
    ----------
    places : list of int
        Which of its neuron's spikes each is.
    rounds : dict of int to int
        By spike: the round of its instant that it arrives in without delay, from 1 on; 0 for others.
    """

    times: list[float] = field(default_factory=list)
    neurons: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    rounds: dict[int, int] = field(default_factory=dict)

    def meetings(self) -> int:
        """Instants at which several of its neurons spiked."""
        times = np.array(self.times)
        same = np.concatenate([[False], times[1:] == times[:-1]])
        return int((same[1:] & ~same[:-1]).sum())

    def padded(self, values: np.ndarray, n: int, k: int, padding: float) -> np.ndarray:
        """One value for each spike as an array, by neuron.

        Parameters
        ----------
        values : array, shape (spikes,)
        n, k : int
            Number of neurons, and places for the spikes of one.
        padding : float

        Returns
        -------
        array, shape (n, k)
        """
        result = np.full((n, k), padding)
        result[self.neurons, self.places] = values
        return result


def spikes_of_input(times: np.ndarray) -> Spikes:
    """Spikes of an input, from an array of shape (n, k) padded with inf."""
    neurons, places = np.nonzero(np.isfinite(times))
    flat = times[neurons, places]
    order = np.lexsort((places, neurons, flat))
    return Spikes(flat[order].tolist(), neurons[order].tolist(), places[order].tolist())


class Arrival(NamedTuple):
    """A spike of the source reaches its targets through a projection, or one target where each has its own delay."""

    projection: int
    neuron: int
    spike: int
    target: int  # -1: all of the row
    amplitude: float = 1.0  # what its weights are multiplied by


class Knot(NamedTuple):
    """A current has a knot: the states of a driven input are set.

    Attributes
    ----------
    drive, number : int
        Place of the driven input, and of the knot among its own.
    state : int
        That of the current; its slope is the next one.
    values : array, shape (n,)
    slopes : array, shape (n,), or None
        None for 0.
    decides : int
        Place of the driven input among those of its population, where it jumps and conditions read it; else -1.
    """

    drive: int
    number: int
    population: int
    state: int
    values: np.ndarray
    slopes: np.ndarray | None
    decides: int = -1


@dataclass(slots=True)
class Release:
    """The refractory period after a spike of a neuron ends; `x` is its state then, shape (n_states,)."""

    population: int
    neuron: int
    spike: int
    x: np.ndarray


@dataclass(slots=True)
class Event:
    """A neuron spikes, or another event of its model happens.

    Attributes
    ----------
    x : array, shape (n_states,)
        State just before it.
    spike : int
        Place among the population's spikes.
    cause : Arrival, Release or None
        What carried it across threshold at once, None where the flow did.
    kind : int
        `SPIKE`, or which of the system's transitions it is.
    """

    population: int
    neuron: int
    time: float
    x: np.ndarray
    spike: int
    cause: Arrival | Release | None = None
    kind: int = SPIKE


@dataclass(slots=True)
class Piece:
    """Knots, releases and arrivals at `start`, spikes that they cause at once, then the flow to `end` with events."""

    start: float
    end: float
    releases: list[Release]
    arrivals: list[Arrival]
    instant: list[Event]
    events: list[Event] = field(default_factory=list)
    knots: list[Knot] = field(default_factory=list)


@dataclass
class Maxima:
    """Where the observed state of every output neuron is largest; arrays of shape (n,).

    Attributes
    ----------
    kind : int array
        `START` of the trial, `EDGE` at the end of a piece, `JUMP` just after the arrivals of a piece, `INSIDE` it.
    slope : array
        Of the state at an edge or after a jump, with which the value moves as the arrival there does.
    """

    START, EDGE, JUMP, INSIDE = range(4)

    value: np.ndarray
    kind: np.ndarray
    piece: np.ndarray
    time: np.ndarray
    slope: np.ndarray

    @classmethod
    def at_start(cls, value: np.ndarray) -> Maxima:
        """All at time 0."""
        zero = np.zeros(value.size)
        return cls(value.copy(), np.zeros(value.size, int), np.zeros(value.size, int), zero.copy(), zero.copy())

    def offer(
        self, value: np.ndarray, kind: int, piece: int, time: np.ndarray | float, slope: np.ndarray, where: np.ndarray
    ) -> None:
        """Take values that are larger, of the neurons of a mask.

        Parameters
        ----------
        value : array, shape (n,)
        kind, piece : int
            Of all values.
        time : float or array, shape (n,)
            Of the values.
        slope : array, shape (n,)
        where : bool array, shape (n,)
        """
        better = where & (value > self.value)
        if better.any():
            self.value[better], self.kind[better], self.piece[better] = value[better], kind, piece
            self.time[better] = np.broadcast_to(time, value.shape)[better]
            self.slope[better] = slope[better]


@dataclass
class ComponentTape:
    """One component in one trial.

    Attributes
    ----------
    checkpoints : dict of int to list of (array, array)
        States of its populations, and who is refractory, before a piece's arrivals, by number of the piece.
    every : int
        Pieces between checkpoints.
    held : list of array
        Who is refractory at the end.
    sampled, samples : dict of int to list
        By place in `EnginePlan.samples`: the piece at whose end each sample was taken, and the values.
    """

    pieces: list[Piece] = field(default_factory=list)
    checkpoints: dict[int, list[tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)
    every: int = 16
    held: list[np.ndarray] = field(default_factory=list)
    sampled: dict[int, list[int]] = field(default_factory=dict)
    samples: dict[int, list[np.ndarray]] = field(default_factory=dict)
    maxima: Maxima | None = None

    def keep(self, number: int, states: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        """Keep what is before a piece if it is its turn; about as many as there are pieces between two of them.

        Parameters
        ----------
        number : int
            Of the piece.
        states : sequence of (array, array)
            States of each population, and who is refractory; copied.
        """
        if number % self.every:
            return
        if len(self.checkpoints) >= 2 * self.every:
            self.every *= 2
            self.checkpoints = {k: x for k, x in self.checkpoints.items() if k % self.every == 0}
            if number % self.every:
                return
        self.checkpoints[number] = [(x.copy(), held.copy()) for x, held in states]


def shares(slope: float, changes: Sequence[tuple[float, bool]], after: bool, last: bool) -> list[float]:
    """By how much a maximum at arrivals of one instant moves with each of them.

    The derivative is that of arrivals that come one after another in their order, each gap much shorter than the one
    before: the state goes on rising up to the first arrival after which it falls, which gets the slope that is left.

    Parameters
    ----------
    slope : float
        Of the state just before the first arrival, or just after the last.
    changes : sequence of (float, bool)
        By how much each lowers the slope, and whether it moves the state itself.
    after : bool
        Whether the value is that after all of them, with which arrivals that move the state move it anyhow.
    last : bool
        Whether the trial ends there, so that the state rises up to that time and no further.

    Returns
    -------
    list of float
        Beside what the costate of the value gives.
    """
    n, found = len(changes), [0.0] * len(changes)
    if not after:
        for k, (change, _) in enumerate(changes):
            if slope - change <= 0 or (k == n - 1 and not last):
                found[k] = slope
                break
            found[k], slope = change, slope - change
        return found
    slopes = [0.0] * n  # just after each
    for k in range(n - 1, -1, -1):
        slopes[k] = slope
        slope += changes[k][0]
    jump = max((k for k in range(n) if changes[k][1]), default=0)
    # in a later round of the instant it may fall after all
    top = next((k for k in range(jump, n) if slopes[k] <= 0), None if last else n - 1)
    if top is not None:
        found[top] = slopes[top]
        for k in range(top + 1, n):
            found[k] = -changes[k][0]
    return found
