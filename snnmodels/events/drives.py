"""Sampled currents as an engine sees them: for each driven input, knots, and what the current and its slope are there.

A current is piecewise linear in time. At a knot an engine sets the two states of a driven input (`driven_system`), and
between knots it follows their flow, so that nothing is approximated and nothing is integrated across a knot. What the
values at the knots are is linear in the samples and in the weights; that, and its transpose, is all there is here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..symbolic.parts import DriveStates
from ..symbolic.system import HybridSystem
from ..templates.groups import CurrentInput
from ..templates.network import Network

__all__ = ["DrivePart", "DrivePlan", "Knots", "drive_plans", "driven_inputs", "within_shape"]


@dataclass(frozen=True)
class Knots:
    """One number for each knot and neuron: values of a driven input and its slopes, or derivatives by them.

    Attributes
    ----------
    values : array, shape (trials, knots, n)
        Trials may be 1, where they share it.
    slopes : array, shape (trials, knots, n), or None
        Per second; None where no current of the input has a slope.
    """

    values: np.ndarray
    slopes: np.ndarray | None


@dataclass(frozen=True)
class DrivePart:
    """One current of a driven input, at the input's knots.

    Attributes
    ----------
    drive, current : int
        Places in `Network.drives` and `Network.currents`.
    sample : int array, shape (knots,)
        The last sample due at each knot; -1 before the first.
    fraction : array, shape (knots,)
        How far the knot is on the way from that sample to the next; 0 where samples are held.
    interval : float
        Seconds between two samples.
    linear : bool
    """

    drive: int
    current: int
    sample: np.ndarray
    fraction: np.ndarray
    interval: float
    linear: bool

    @property
    def jumps(self) -> np.ndarray:
        """Whether the current jumps at each knot, shape (knots,): it begins, or goes to another sample at once."""
        before = np.concatenate([[-1], self.sample[:-1]])
        return (self.sample != before) & ((before < 0) | (not self.linear))

    @classmethod
    def of(cls, drive: int, current: int, source: CurrentInput, times: np.ndarray, duration: float) -> DrivePart:
        """A current at knots that include its own.

        Parameters
        ----------
        drive, current : int
        source : CurrentInput
        times : array, shape (knots,)
        duration : float
            Of a trial.
        """
        own, linear = source.knots(duration), source.interpolation == "linear"
        sample = np.searchsorted(own, times, side="right") - 1
        fraction = np.where(linear & (sample >= 0), (times - own[sample]) / source.interval, 0.0)
        return cls(drive, current, sample, fraction, source.interval, linear)

    def read(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Currents and slopes at the knots, shape (trials, knots, channels), of samples (trials, channels, samples)."""
        there = (self.sample >= 0)[:, None]
        rows = np.moveaxis(samples, 2, 1)
        values = np.where(there, rows[:, self.sample], 0.0)
        if not self.linear:
            return values, np.zeros_like(values)
        rise = np.where(there, rows[:, self.sample + 1] - values, 0.0)
        return values + self.fraction[:, None] * rise, rise / self.interval

    def pull(self, values: np.ndarray, slopes: np.ndarray | None, count: int) -> np.ndarray:
        """Derivatives by samples, shape (trials, channels, count), from those by what `read` gives."""
        there = self.sample >= 0
        first, values = self.sample[there], np.moveaxis(values[:, there], 1, 0)
        to = np.zeros((count, *values.shape[1:]))
        # several knots may be on the way from one sample to the next
        np.add.at(to, first, values)
        if self.linear:
            assert slopes is not None
            rise = self.fraction[there, None, None] * values + np.moveaxis(slopes[:, there], 1, 0) / self.interval
            np.add.at(to, first, -rise)
            np.add.at(to, first + 1, rise)
        return np.moveaxis(to, 0, 2)


@dataclass(frozen=True)
class DrivePlan:
    """One driven input of a population.

    Attributes
    ----------
    index : int
        Place among those of the plan.
    population : int
    input : int
        Place among the driven inputs of its population.
    state : int
        Place of the current among the states of its population; its slope is the next one.
    n : int
        Neurons of the population.
    times : array, shape (knots,)
        When something is due in any of its currents, in seconds, ascending, before the end of the trial.
    parts : tuple of DrivePart
    linear : bool
        Whether any current has a slope.
    wanted : bool
        Whether anything is differentiated by its values.
    """

    index: int
    population: int
    input: int
    state: int
    n: int
    times: np.ndarray
    parts: tuple[DrivePart, ...]
    linear: bool
    wanted: bool

    @property
    def jumps(self) -> np.ndarray:
        """Whether any current jumps at each knot, bool, shape (knots,); elsewhere the input only changes its slope."""
        return np.logical_or.reduce([part.jumps for part in self.parts])

    def knots(self, samples: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> Knots:
        """What the input is set to.

        Parameters
        ----------
        samples : sequence of array, shape (trials or 1, channels or 1, samples)
            Of every current of the network.
        weights : sequence of array, shape (channels, n)
            Of every drive of the network.
        """
        values, slopes = np.zeros((1, self.times.size, self.n)), np.zeros((1, self.times.size, self.n))
        for part in self.parts:
            given, w = samples[part.current], weights[part.drive]
            if given.shape[1] == 1:
                w = w.sum(axis=0, keepdims=True)
            value, slope = part.read(given)
            values = values + value @ w
            if self.linear:
                slopes = slopes + slope @ w
        return Knots(values, slopes if self.linear else None)

    def pull(
        self, derivative: Knots, samples: Sequence[np.ndarray], weights: Sequence[np.ndarray]
    ) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
        """Derivatives by samples and weights, from those by the values at the knots.

        Parameters
        ----------
        derivative : Knots
            Of all trials.
        samples, weights
            As for `knots`.

        Returns
        -------
        samples : dict of int to array
            By current, in the shape of its samples.
        weights : dict of int to array, shape (channels, n)
            By drive.
        """
        of_samples: dict[int, np.ndarray] = {}
        of_weights: dict[int, np.ndarray] = {}
        for part in self.parts:
            given, w = samples[part.current], weights[part.drive]
            value, slope = part.read(given)
            of_weights[part.drive] = _outer(value, derivative.values, w.shape[0])
            to_slopes = None
            if derivative.slopes is not None:
                of_weights[part.drive] += _outer(slope, derivative.slopes, w.shape[0])
                to_slopes = derivative.slopes @ w.T
            found = part.pull(derivative.values @ w.T, to_slopes, given.shape[2])
            found = within_shape(found, given.shape)
            of_samples[part.current] = of_samples.get(part.current, 0.0) + found
        return of_samples, of_weights


def _outer(currents: np.ndarray, derivative: np.ndarray, channels: int) -> np.ndarray:
    """Sum over trials and knots of current times derivative, shape (channels, n)."""
    shape = (derivative.shape[0], derivative.shape[1], channels)
    return np.einsum("tkc,tkn->cn", np.broadcast_to(currents, shape), derivative, optimize=True)


def within_shape(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sums over the axes that are 1 in a shape: what a shared number gets is what each would get, together."""
    axes = tuple(k for k, (have, want) in enumerate(zip(values.shape, shape, strict=True)) if have != want)
    return values.sum(axis=axes, keepdims=True)


def driven_inputs(network: Network, population: str) -> tuple[str, ...]:
    """The inputs of a population's model that currents drive, in the order of the network's drives."""
    return tuple(dict.fromkeys(d.input for d in network.drives if d.target == population))


def drive_plans(
    network: Network, driven: Mapping[int, tuple[HybridSystem, Sequence[DriveStates]]], input_gradients: bool
) -> tuple[DrivePlan, ...]:
    """All driven inputs of a network.

    Parameters
    ----------
    network : Network
    driven : mapping of int to (HybridSystem, sequence of DriveStates)
        By population.
    input_gradients : bool
        Whether samples are differentiated by.
    """
    currents = {c.name: k for k, c in enumerate(network.currents)}
    plans: list[DrivePlan] = []
    for k, (system, inputs) in driven.items():
        p = network.populations[k]
        for number, states in enumerate(inputs):
            drives = [
                (m, d) for m, d in enumerate(network.drives) if d.target == p.name and d.input == states.input
            ]
            sources = [network.currents[currents[d.source]] for _, d in drives]
            times = np.unique(np.concatenate([s.knots(network.duration) for s in sources]))
            parts = tuple(
                DrivePart.of(m, currents[d.source], source, times, network.duration)
                for (m, d), source in zip(drives, sources, strict=True)
            )
            wanted = input_gradients or any(d.learnable for _, d in drives)
            place, linear = system.states.index(states.value), any(part.linear for part in parts)
            plans.append(DrivePlan(len(plans), k, number, place, p.n, times, parts, linear, wanted))
    return tuple(plans)
