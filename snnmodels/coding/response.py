"""What a simulation of a coding network returns: spikes, and everything that follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .network import CodingNetwork
from .signals import Signal, low_pass

__all__ = ["Response", "filtered"]

Array = np.ndarray


@dataclass(frozen=True)
class Response:
    """Spikes of a network in response to a signal.

    Attributes
    ----------
    network : CodingNetwork
    signal : Signal
    spike_steps, spike_neurons : int array, shape (spikes,)
        In order of time. A spike in step k happens at the end of the step, when the signal is ``values[k + 1]``.
    controlled : mapping of str to array, shape (steps,)
        Parameters that a homeostat sets for the population, at the time of the spike decision of every step.
    worst_margin : array, shape (steps,), or None
        Greatest V_i - theta_i left after the spikes of each step; sequential rule only.
    """

    network: CodingNetwork
    signal: Signal
    spike_steps: Array
    spike_neurons: Array
    controlled: Mapping[str, Array] = field(default_factory=dict)
    worst_margin: Array | None = None

    @property
    def times(self) -> Array:
        """Time after every step, at which traces and estimate are given, shape (steps,)."""
        return self.signal.times[1:]

    @property
    def target(self) -> Array:
        """The signal at `times`, shape (steps, M)."""
        return self.signal.values[1:]

    @property
    def spike_times(self) -> Array:
        """Seconds, shape (spikes,)."""
        return (self.spike_steps + 1) * self.signal.dt

    @cached_property
    def estimate(self) -> Array:
        """The raw linear read-out D r, shape (steps, M)."""
        keep = np.exp(-self.signal.dt / self.network.tau)
        return filtered(self.spike_steps, self.network.decoder.T[self.spike_neurons], keep, self.signal.steps)

    def trace(self, name: str, neurons: Array | None = None) -> Array:
        """A trace after the spikes of every step.

        Parameters
        ----------
        name : str
        neurons : int array or None
            Which neurons, for a trace of single neurons; None for all.

        Returns
        -------
        array, shape (steps, neurons), or (steps,) for a trace of the population
        """
        trace = self.network.loss.traces[name]
        keep = np.exp(-self.signal.dt / trace.tau)
        jump = self.network.jump(name)[self.spike_neurons]
        if trace.scope == "neuron":
            chosen = np.arange(self.network.n) if neurons is None else np.asarray(neurons, int)
            column = np.full(self.network.n, -1)
            column[chosen] = np.arange(len(chosen))
            column = column[self.spike_neurons]
            one_hot = np.zeros((self.signal.steps, len(chosen)))
            np.add.at(one_hot, (self.spike_steps[column >= 0], column[column >= 0]), jump[column >= 0])
            return low_pass(one_hot, keep)
        arrival = self.spike_steps + self.network.delay_steps(self.signal.dt)
        inside = arrival < self.signal.steps
        return filtered(arrival[inside], jump[inside, None], keep, self.signal.steps)[:, 0]

    def prices(self, name: str, every: int = 1) -> Array:
        """A parameter that a homeostat sets, at the time of the spike decision of every `every`-th step.

        Those of single neurons follow from their spikes, and are not recorded while simulating.

        Parameters
        ----------
        name : str
        every : int
            In steps.

        Returns
        -------
        array, shape (steps // every,), or (steps // every, N) for a homeostat of each neuron

        Raises
        ------
        ValueError
            If no homeostat sets it.
        """
        homeostat = self.network.homeostats.get(name)
        if homeostat is None:
            raise ValueError(f"{name!r} is set by no homeostat; {', '.join(self.network.homeostats) or 'none'} is")
        if homeostat.scope == "population":
            return np.asarray(self.controlled[name])[every - 1 :: every]
        n, steps, dt = self.network.n, self.signal.steps, self.signal.dt
        low, high, budget = np.log(homeostat.low), np.log(homeostat.high), homeostat.budget_in_steps(steps, dt)
        energy = np.ones(n) if homeostat.energy is None else homeostat.energy
        level, found = np.full(n, np.log(homeostat.initial)), np.empty((steps // every, n))
        starts = np.searchsorted(self.spike_steps, np.arange(steps + 1))
        for k in range(steps):
            np.maximum(level - homeostat.gain * dt, low, out=level)
            if (k + 1) % every == 0:
                found[k // every] = level
            for j in self.spike_neurons[starts[k] : starts[k + 1]]:
                allowed = budget[k] if budget.ndim == 1 else budget[k, j]
                level[j] = min(level[j] + homeostat.gain * energy[j] / allowed, high)
        return np.asarray(np.exp(found))

    def rates(self, discard: float = 0.0) -> Array:
        """Spikes per second of every neuron, shape (N,)."""
        first = self.signal.first_step(discard)
        counts = np.bincount(self.spike_neurons[self.spike_steps >= first], minlength=self.network.n)
        return counts / ((self.signal.steps - first) * self.signal.dt)

    def rate(self, discard: float = 0.0) -> float:
        """Spikes per second of the population."""
        return float(self.rates(discard).sum())

    def coding_loss(self, estimate: Array | None = None, discard: float = 0.0) -> float:
        """Time average of (x - x̂)ᵀ W (x - x̂).

        Parameters
        ----------
        estimate : array, shape (steps, M), or None
            From a read-out of `snnmodels.coding.readouts`; None for the raw one.
        discard : float
            Seconds at the start to leave out.
        """
        first = self.signal.first_step(discard)
        error = (self.target - (self.estimate if estimate is None else estimate))[first:]
        return float(np.einsum("km,mn,kn->k", error, self.network.metric, error).mean())


def filtered(steps: Array, jumps: Array, keep: float, length: int) -> Array:
    """Exponentially filtered events, shape (length, columns of `jumps`): y_k = keep y_{k-1} + jumps in step k.

    Parameters
    ----------
    steps : int array, shape (events,)
        When each event happens, in any order; several in a step add up.
    jumps : array, shape (events, columns)
    keep : float
        Factor per step, exp(-dt/tau).
    length : int
        Number of steps, more than any of `steps`.
    """
    events = np.zeros((length, jumps.shape[1]))
    np.add.at(events, steps, jumps)
    return low_pass(events, keep)
