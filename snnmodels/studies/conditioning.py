"""Knobs on a network's spikes that are set, drawn or controlled rather than trained, and a price on spikes.

`WithKnobs` and `SpikePressure` wrap what simulates a network (a `GradientSource`) and are one themselves, so that
`train` and `evaluate` take them. A knob is a shared parameter that is declared learnable and left alone by training.
"""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..datasets.trials import Trials
from ..gradients.simulation import Simulation
from ..gradients.source import GradientSource, GradientWrapper, Outcome
from ..templates.network import Network
from ..templates.values import with_values

__all__ = ["BatchHomeostat", "BatchHomeostatRecord", "SpikePressure", "WithKnobs", "without_learning"]

Array = np.ndarray
Draw = Callable[[np.random.Generator], Mapping[str, float]]


def without_learning(network: Network, keys: Mapping[str, float]) -> Network:
    """A network with some parameters set and no longer learnable.

    Parameters
    ----------
    network : Network
    keys : mapping of str to float
        Values in SI units by ``"<population>.<parameter>"``.

    Raises
    ------
    ValueError
        If a key isn't a learnable parameter shared by a population.
    """
    known = network.trainable()
    shared = [f"{p.name}.{name}" for p in network.populations for name in p.learnable if np.ndim(p.value(name)) == 0]
    for key in keys:
        if key not in shared:
            has = ", ".join(shared) or "none"
            what = "not shared by its population" if key in known else "not learnable"
            raise ValueError(f"knob {key!r} is {what}; network {network.name!r} has the knobs {has}")
    network = with_values(network, {key: np.asarray(value, dtype=float) for key, value in keys.items()})
    populations = [
        dataclasses.replace(p, learnable=[name for name in p.learnable if f"{p.name}.{name}" not in keys])
        for p in network.populations
    ]
    return dataclasses.replace(network, populations=tuple(populations))


class WithKnobs(GradientWrapper):
    """A network whose knobs have given values, or are drawn for every batch it is trained on.

    Parameters
    ----------
    source : GradientSource
        Of a network in which the knobs are learnable and shared by a population.
    knobs : mapping of str to float
        Values in SI units by ``"<population>.<parameter>"``, used wherever none are drawn.
    draw : callable, optional
        ``draw(rng)`` returns values of some knobs; called once for each batch with gradient. The generator is seeded by
        `seed` and the batch's input spikes, so that a resumed training draws the same.
    seed : int

    Raises
    ------
    ValueError
        If a key isn't a learnable shared parameter.
    """

    def __init__(
        self, source: GradientSource, knobs: Mapping[str, float], draw: Draw | None = None, seed: int = 0
    ) -> None:
        super().__init__(source)
        self._network = without_learning(source.network, knobs)
        self.knobs = dict(knobs)
        self._draw = draw
        self._seed = seed

    @property
    def network(self) -> Network:
        """The network, in which the knobs are no longer learnable."""
        return self._network

    def run(
        self,
        inputs: Mapping[str, Array],
        targets: Array,
        values: Mapping[str, Array] | None = None,
        *,
        gradient: bool = True,
    ) -> Outcome:
        """Simulate one batch with the knobs where they are to be; see `GradientSource.run`."""
        knobs = dict(self.knobs)
        if gradient and self._draw is not None:
            checksum = 0
            for times in inputs.values():
                checksum = zlib.crc32(np.ascontiguousarray(times).data, checksum)
            drawn = self._draw(np.random.default_rng([self._seed, checksum]))
            unknown = set(drawn) - set(knobs)
            if unknown:
                raise ValueError(f"draw returned {sorted(unknown)}; the knobs are {sorted(knobs)}")
            knobs |= drawn
        if values is not None:
            self._network = with_values(self._network, values)
        # All of them: another wrapper may have left other values in the same simulation.
        own = self._network.trainable() | {key: np.asarray(value, dtype=float) for key, value in knobs.items()}
        outcome = self._source.run(inputs, targets, own, gradient=gradient)
        kept = {key: g for key, g in outcome.gradients.items() if key not in self.knobs}
        return dataclasses.replace(outcome, gradients=kept)


class SpikePressure(GradientWrapper):
    """Adds a price on the spikes of a population to the gradient, by a surrogate.

    The exact gradient of a spike count is zero wherever it exists. The surrogate takes the mean count per trial N_i of
    neuron i to change at the rate N_i with each weight onto it and -N_i with its threshold, so that neurons that spike
    much are held back most: ``price * N_i`` is added to the gradient of each weight onto i and subtracted from that of
    its threshold. The loss that is reported doesn't contain the price.

    Parameters
    ----------
    simulation : Simulation
    population : str
    price : float
        Loss that a spike costs; 0 or more.
    weights : sequence of str
        Projections onto the population, by name, whose weights feel the price.
    threshold : str, optional
        Parameter with a value per neuron that feels it too, if it is learnable.
    """

    def __init__(
        self,
        simulation: Simulation,
        population: str,
        price: float,
        weights: tuple[str, ...],
        threshold: str | None = None,
    ) -> None:
        if not (price >= 0 and math.isfinite(price)):
            raise ValueError(f"price: expected a number of at least 0, got {price}")
        onto = [q.name for q in simulation.network.projections if q.target == population and "w" in q.learnable]
        for name in weights:
            if name not in onto:
                raise ValueError(f"{name!r} is no learnable projection onto {population!r}; there are {onto}")
        super().__init__(simulation)
        self._simulation = simulation  # as what can tell spike times
        self._population = population
        self._price = price
        self._weights = weights
        self._threshold = threshold

    def run(
        self,
        inputs: Mapping[str, Array],
        targets: Array,
        values: Mapping[str, Array] | None = None,
        *,
        gradient: bool = True,
    ) -> Outcome:
        """Simulate one batch and add the price to the gradients; see `GradientSource.run`."""
        outcome = self._simulation.run(inputs, targets, values, gradient=gradient)
        if not gradient:
            return outcome
        times = self._simulation.spike_times(self._population)[: len(targets)]
        push = self._price * np.isfinite(times).sum(axis=(0, 2)) / len(targets)
        changed = {f"{name}.w": outcome.gradients[f"{name}.w"] + push for name in self._weights}
        key = f"{self._population}.{self._threshold}"
        if key in outcome.gradients:
            changed[key] = outcome.gradients[key] - push
        return dataclasses.replace(outcome, gradients={**outcome.gradients, **changed})


@dataclass(frozen=True)
class BatchHomeostatRecord:
    """One batch under a homeostat: the budget and the knob it ran with, spikes per trial, fraction correct."""

    budget: float
    knob: float
    spikes: float
    accuracy: float


@dataclass(frozen=True)
class BatchHomeostat:
    """Integral control of a knob, so that a population keeps a budget of spikes per trial across batches.

    After each batch ``ln knob += rate (spikes / budget - 1)``, as the energy budget of a spike-coding network does.

    Attributes
    ----------
    knob : str
        ``"<population>.<parameter>"``, learnable and shared.
    population : str
        Whose spikes are counted.
    rate : float
        Gain per batch.
    start : float
        First value of the knob.
    lowest, highest : float
        The knob stays within these.
    """

    knob: str
    population: str
    rate: float = 0.5
    start: float = 0.01
    lowest: float = 1e-4
    highest: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.lowest <= self.start <= self.highest:
            raise ValueError(f"start: expected a number from {self.lowest:g} to {self.highest:g}, got {self.start:g}")
        if not self.rate > 0:
            raise ValueError(f"rate: expected a positive number, got {self.rate:g}")

    def follow(
        self,
        source: GradientSource,
        data: Trials,
        budgets: Array,
        values: Mapping[str, Array],
        batch_size: int = 32,
    ) -> Iterator[BatchHomeostatRecord]:
        """Run one batch per budget, trial after trial of `data` and from its start again, and control the knob.

        Parameters
        ----------
        source : GradientSource
            Its loss classifies.
        data : Trials
        budgets : array, shape (batches,)
            Spikes per trial, each positive.
        values : mapping of str to array
            Of the trained network, by key of `Network.trainable`.
        batch_size : int
        """
        budgets = np.asarray(budgets, dtype=float)
        if not (budgets > 0).all():
            raise ValueError(f"budgets: expected positive numbers of spikes per trial, got {budgets.min():g}")
        log_knob = math.log(self.start)
        for batch, budget in enumerate(budgets):
            knob = math.exp(log_knob)
            inputs, targets = data.take(np.arange(batch * batch_size, (batch + 1) * batch_size) % len(data))
            outcome = source.run(inputs, targets, {**values, self.knob: np.asarray(knob)}, gradient=False)
            if outcome.predictions is None:
                raise ValueError("the loss doesn't classify, so that there is no accuracy to record")
            spikes = outcome.spikes[self.population]
            yield BatchHomeostatRecord(float(budget), knob, spikes, float(np.mean(outcome.predictions == targets)))
            log_knob += self.rate * (spikes / budget - 1)
            log_knob = min(max(log_knob, math.log(self.lowest)), math.log(self.highest))
