"""A standard population for comparison: heterogeneous LIF neurons with a trained linear read-out.

Encoders in all directions, random biases, no recurrence: its code is not derived from a loss, so its decoder has to be
fitted, and fitted again whenever its rates change.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..templates.arguments import check_numbers, check_seed, check_whole
from .response import filtered
from .signals import Signal

__all__ = ["LIFPopulation", "LIFResponse"]

Array = np.ndarray


@dataclass(frozen=True)
class LIFPopulation:
    """LIF neurons with input current gain * (encoder·(x + tau dx/dt) + bias), threshold 1, reset 0.

    A gain of g is the same as a threshold of 1/g, so moving the gain is what moving the threshold of a spike-coding
    network is compared with.

    Attributes
    ----------
    n : int
    gain : float
        Scales the current and so the rates.
    tau : float
        Membrane and read-out time constant in seconds.
    refractory : float
        Seconds.
    seed : int
        Of the biases, uniform between -1 and 1.5, and of the encoders of more than two signals.
    dimensions : int
        M, the number of signals.
    """

    n: int = 100
    gain: float = 2.0
    tau: float = 0.02
    refractory: float = 0.002
    seed: int = 0
    dimensions: int = 2

    def __post_init__(self) -> None:
        """Refuse values without meaning."""
        check_whole("n", self.n)
        check_whole("dimensions", self.dimensions)
        check_seed(self.seed)
        check_numbers(gain=self.gain, tau=self.tau, refractory=self.refractory)
        if not self.tau > 0 or not self.gain > 0 or self.refractory < 0:
            raise ValueError("n, gain and tau must be positive, the refractory period not negative")

    @cached_property
    def encoders(self) -> Array:
        """Vectors of length sqrt(M/2), shape (n, M): around the circle for M = 2, else random directions.

        With that length a signal of given <|x|²> drives a neuron alike in every number of dimensions.
        """
        if self.dimensions == 2:
            angle = 2 * np.pi * np.arange(self.n) / self.n
            return np.stack([np.cos(angle), np.sin(angle)], axis=1)
        directions = np.random.default_rng([self.seed, 2]).standard_normal((self.n, self.dimensions))
        return directions * np.sqrt(self.dimensions / 2) / np.linalg.norm(directions, axis=1, keepdims=True)

    @cached_property
    def biases(self) -> Array:
        """Shape (n,)."""
        return np.random.default_rng(self.seed).uniform(-1, 1.5, self.n)

    def simulate(self, signal: Signal) -> LIFResponse:
        """Spikes in response to a signal of M dimensions."""
        return self.simulate_gains(signal, [self.gain])[0]

    def simulate_gains(self, signal: Signal, gains: Iterable[float]) -> list[LIFResponse]:
        """The responses of this population at several gains, in one loop over time.

        Parameters
        ----------
        signal : Signal
        gains : iterable of float
            Instead of the population's own.

        Returns
        -------
        list of LIFResponse
            In the order of the gains, each of `replace(population, gain=gain)`.

        Raises
        ------
        ValueError
            If the signal has other than M dimensions, or a gain is not positive.
        """
        populations = [replace(self, gain=gain) for gain in gains]
        if signal.dimensions != self.dimensions:
            raise ValueError(f"the LIF population codes {self.dimensions} signals, not {signal.dimensions}")
        dt = signal.dt
        keep = np.exp(-dt / self.tau)
        # exact step for a current that is constant within the step, at the mean of x + tau dx/dt over it
        x = (signal.values[1:] - keep * signal.values[:-1]) / (1 - keep)
        dead_steps = round(self.refractory / dt)
        factors = np.array([p.gain for p in populations])[:, None]
        start = np.random.default_rng(self.seed + 1).uniform(0, 1, self.n)
        v = np.tile(start, (len(populations), 1))
        ready = np.zeros(v.shape, int)
        found = []
        for k in range(signal.steps):
            current = factors * (self.encoders @ x[k] + self.biases)
            v = keep * v + (1 - keep) * current
            v[ready > k] = 0.0
            fired = v > 1
            if fired.any():
                v[fired] = 0.0
                ready[fired] = k + 1 + dead_steps
                which, neurons = np.nonzero(fired)
                found.append(np.stack([which, np.full(len(which), k), neurons]))
        which, steps, neurons = np.concatenate(found or [np.zeros((3, 0), int)], axis=1)
        return [
            LIFResponse(p, signal, steps[which == k], neurons[which == k]) for k, p in enumerate(populations)
        ]


@dataclass(frozen=True)
class LIFResponse:
    """Spikes of an LIF population; attributes as in `Response`."""

    population: LIFPopulation
    signal: Signal
    spike_steps: Array
    spike_neurons: Array

    @cached_property
    def traces(self) -> Array:
        """Filtered spike trains, shape (steps, n)."""
        one_hot = np.eye(self.population.n)[self.spike_neurons]
        return filtered(self.spike_steps, one_hot, np.exp(-self.signal.dt / self.population.tau), self.signal.steps)

    @property
    def target(self) -> Array:
        """The signal after every step, shape (steps, M)."""
        return self.signal.values[1:]

    def rate(self, discard: float = 0.0) -> float:
        """Spikes per second of the population."""
        first = self.signal.first_step(discard)
        return float((self.spike_steps >= first).sum() / ((self.signal.steps - first) * self.signal.dt))

    def coding_loss(self, decoder: Array, gain: float = 1.0, discard: float = 0.0) -> float:
        """Time average of |x - gain D r|².

        Parameters
        ----------
        decoder : array, shape (M, n)
        gain : float
            Factor on the estimate.
        discard : float
            Seconds at the start to leave out.
        """
        first = self.signal.first_step(discard)
        error = self.target[first:] - gain * self.traces[first:] @ decoder.T
        return float((error**2).sum(1).mean())
