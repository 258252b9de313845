"""What a loss can read of a network: spike times, maxima and samples of states, and what is made of them.

How to add one: derive from `Observable`, and say in `primitive` which of `SpikeTimes`, `Maxima` and `Samples` it is
made of, in `read` how, and in `pull` what a derivative by it is as a derivative by that. Every engine and the reference
then know it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ..templates.arguments import check_kind
from ..templates.errors import brief, suggest
from ..templates.groups import Population
from ..templates.network import Network
from ..templates.quantities import take_seconds

__all__ = ["FinalValues", "FirstSpikes", "Maxima", "Observable", "Primitive", "Samples", "SpikeTimes"]


@dataclass(frozen=True)
class Observable(ABC):
    """Something that a loss reads of one population, in every trial.

    Attributes
    ----------
    population : str
        Its name; empty for the output of the network.
    """

    population: str = ""

    @abstractmethod
    def primitive(self, network: Network) -> Primitive:
        """What a simulation has to watch for it, with the name of its population.

        Raises
        ------
        ValueError
            If that can't be seen of this network.
        """

    def read(self, values: np.ndarray) -> np.ndarray:
        """The observable, of the values of its primitive; trials first."""
        return values

    def pull(self, values: np.ndarray, derivative: np.ndarray) -> np.ndarray:
        """The derivative by the values of the primitive, of that by the observable.

        Parameters
        ----------
        values : array, shape (trials, ...)
            Of the primitive.
        derivative : array, shape (trials, ...)
            By the observable, in the shape of what `read` makes of the values.

        Returns
        -------
        array
            In the shape of `values`.
        """
        return derivative

    def summary(self, observed: np.ndarray) -> np.ndarray:
        """What an evaluation keeps: arrays whose shapes don't depend on the batch but for the number of trials."""
        return observed


@dataclass(frozen=True)
class Primitive(Observable):
    """What simulations themselves can watch."""

    def primitive(self, network: Network) -> Primitive:
        """Itself, with the name of its population, if the network has what it watches."""
        check_kind("population", self.population, str, "the name of a population, or '' for the output")
        name = self.population or network.output
        for p in network.populations:
            if p.name == name:
                self._check(p, network)
                return replace(self, population=name)
        hint = suggest(name, (p.name for p in network.populations))
        raise ValueError(f"the loss reads population {brief(name)}, which is none of network {network.name!r}; {hint}")

    @abstractmethod
    def _check(self, population: Population, network: Network) -> None:
        """Raise if this population has nothing of the kind."""

    def check_simulated(self, network: Network) -> None:
        """Raise if simulations can't watch it; the name of its population is known."""


@dataclass(frozen=True)
class SpikeTimes(Primitive):
    """All spike times: ``(trials, n, k)`` in seconds, ascending and padded with ``inf``."""

    def summary(self, observed: np.ndarray) -> np.ndarray:
        """First spikes, ``(trials, n)``."""
        return observed.min(axis=2, initial=np.inf)

    def _check(self, population: Population, network: Network) -> None:
        if not population.model.spiking:
            raise ValueError(
                f"the loss reads spike times, but population {population.name!r} ({population.model.name}) has no "
                "threshold; use a voltage loss or a spiking model"
            )


@dataclass(frozen=True)
class FirstSpikes(Observable):
    """The first spike of every neuron: ``(trials, n)`` in seconds, ``inf`` where there is none."""

    def primitive(self, network: Network) -> Primitive:
        """All spike times."""
        return SpikeTimes(self.population).primitive(network)

    def read(self, values: np.ndarray) -> np.ndarray:
        """The first ones."""
        return values.min(axis=2, initial=np.inf)

    def pull(self, values: np.ndarray, derivative: np.ndarray) -> np.ndarray:
        """Nothing but for the first ones; see `Observable.pull`."""
        pulled = np.zeros(values.shape)
        pulled[:, :, :1] = derivative[:, :, None][:, :, : values.shape[2]]
        return pulled


@dataclass(frozen=True)
class _State(Primitive):
    """A state variable.

    Attributes
    ----------
    variable : str
    """

    variable: str = "v"
    what: ClassVar[str]

    def _check(self, population: Population, network: Network) -> None:
        check_kind("variable", self.variable, str, "the name of a state, such as 'v'")
        if self.variable not in population.model.state_names:
            raise ValueError(
                f"the loss reads {self.what} of {brief(self.variable)}, which is no state of {population.model.name}; "
                f"{suggest(self.variable, population.model.state_names)}"
            )


def check_silent(seen: _State, network: Network, spoilt: str) -> None:
    """Refuse to read a state of a population that spikes.

    Parameters
    ----------
    seen : Maxima or Samples
        With the name of its population.
    network : Network
    spoilt : str
        What a reset does to what is read, for the message.

    Raises
    ------
    ValueError
    """
    if network.population(seen.population).model.spiking:
        raise ValueError(
            f"the loss reads {seen.what} of {seen.variable!r}, which the reset of the spiking population "
            f"{seen.population!r} {spoilt}; use a model without threshold such as leaky_integrator"
        )


@dataclass(frozen=True)
class Maxima(_State):
    """The largest value over time of a state variable: ``(trials, n)``.

    Attributes
    ----------
    variable : str
    """

    what: ClassVar[str] = "the maximum"

    def check_simulated(self, network: Network) -> None:
        """Refuse populations that spike, of which simulations find no maxima (the reference does)."""
        check_silent(self, network, "bounds")


@dataclass(frozen=True)
class Samples(_State):
    """Samples of a state variable at regular times: ``(trials, n, k)``.

    Sample k, from 0, is taken at ``(k + 1)*interval``, the last not after the trial, just before an event at that time.
    Where a neuron spikes, a state that its reset changes jumps: a sample then changes by a jump where a spike passes
    it, which no derivative sees.

    Attributes
    ----------
    variable : str
    interval : float
        Seconds.
    """

    interval: float = 1e-3
    what: ClassVar[str] = "samples"

    def __post_init__(self) -> None:
        take_seconds(self, "interval")

    def times(self, duration: float) -> np.ndarray:
        """Times of all samples of a trial, in seconds."""
        count = int(np.floor(duration / self.interval * (1 + 1e-12)))
        return np.minimum(self.interval * np.arange(1, count + 1), duration)

    def _check(self, population: Population, network: Network) -> None:
        super()._check(population, network)
        if not 0 < self.interval <= network.duration * (1 + 1e-12):
            raise ValueError(
                f"interval = {self.interval * 1e3:g} ms between samples; expected a positive time not longer than the "
                f"trial of {network.duration * 1e3:g} ms"
            )


@dataclass(frozen=True)
class AtEnd(Observable):
    """One value for each neuron, the last sample of a state: ``(trials, n)``."""

    def read(self, values: np.ndarray) -> np.ndarray:
        """The last sample."""
        return values[:, :, -1]

    def pull(self, values: np.ndarray, derivative: np.ndarray) -> np.ndarray:
        """The same, of the last sample; see `Observable.pull`."""
        return derivative[:, :, None]


@dataclass(frozen=True)
class FinalValues(AtEnd):
    """A state variable at the end of the trial: ``(trials, n)``.

    Attributes
    ----------
    variable : str
    """

    variable: str = "v"

    def primitive(self, network: Network) -> Primitive:
        """One sample, at the end."""
        return Samples(self.population, self.variable, network.duration).primitive(network)
