"""A knob that switches neurons off one after the other, as input spikes, and a price on the spikes over its budget.

A population of n neurons gets a gate: an input of n sources, of which source k inhibits the neurons k, k + 1, ... so
strongly that they stay silent for the whole trial. One spike of source k at time 0 so leaves the first k neurons on,
each with the very spikes that it would have if the others were not there: what a threshold out of reach would do, but
per trial, by spikes alone, and in whatever runs the network. The order in which neurons go is that of their indices.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..datasets.encoding import drop_spikes
from ..datasets.trials import Trials
from ..gradients.simulation import Simulation
from ..gradients.source import GradientWrapper, Outcome
from ..optimisers import Optimiser
from ..templates.groups import Projection, SpikeInput
from ..templates.network import Network

__all__ = ["GATE", "KNOB", "GatedBatches", "SpikeBudget", "gated", "with_knob"]

GATE, KNOB = "gate", "knob"
LONGEST = 20e-3  # s, of the knob's latency code
INHIBITION = 1e4  # times a threshold of 1: in three membrane time constants it leaves no drive a chance

Array = np.ndarray
Batch = tuple[Mapping[str, Array], Array]


def gated(network: Network, population: str, seed: int, *, std: float = 0.1) -> Network:
    """A network with a gate on a population, and the knob as two input spikes to it and to the output.

    Parameters
    ----------
    network : Network
        Feed-forward, of neurons with one kind of synapse, with thresholds of about 1.
    population : str
        Whose neurons are switched off, the last first.
    seed : int
        Of the initial weights of the knob's spikes.
    std : float
        Standard deviation of the knob's initial weights onto the population; those onto the output begin at 0. With 0,
        the network does as the one without a gate.

    Returns
    -------
    Network
        With the inputs ``"gate"`` (n sources) and ``"knob"`` (two); see `with_knob`.

    Raises
    ------
    ValueError
        If the network has an input or a population of these names.
    """
    names = [x.name for x in network.inputs] + [x.name for x in network.populations]
    taken = {GATE, KNOB} & set(names)
    if taken:
        raise ValueError(f"network {network.name!r} has {', '.join(sorted(taken))} already: gate it once")
    rng = np.random.default_rng([seed, 7])
    n = network.population(population).n
    output = network.population(network.output)
    inhibition = np.where(np.arange(n)[:, None] <= np.arange(n), -INHIBITION, 0.0)
    added = (
        Projection(f"{GATE}_{population}", GATE, population, inhibition, learnable=()),
        Projection(f"{KNOB}_{population}", KNOB, population, rng.normal(0, std, (2, n))),
        Projection(f"{KNOB}_{output.name}", KNOB, output.name, np.zeros((2, output.n))),
    )
    return dataclasses.replace(
        network,
        inputs=(*network.inputs, SpikeInput(GATE, n), SpikeInput(KNOB, 2)),
        projections=(*network.projections, *added),
    )


def with_knob(inputs: Mapping[str, Array], on: Array, n: int) -> dict[str, Array]:
    """Input spikes of a gated network: those of the trials, and of the gate and the knob.

    Parameters
    ----------
    inputs : mapping of str to array
        Spike times by input, of the network without gate.
    on : int array, shape (trials,)
        How many neurons are on in each trial, 0 to n.
    n : int
        Neurons of the gated population.

    Returns
    -------
    dict of str to array
        The gate's source `on` spikes at 0, or none where all are on; the knob's two at ``20 ms * on / n`` and ``20 ms *
        (1 - on / n)``.

    Raises
    ------
    ValueError
        For numbers of neurons that there are not.
    """
    on = np.asarray(on)
    if not np.issubdtype(on.dtype, np.integer) or on.min(initial=0) < 0 or on.max(initial=0) > n:
        raise ValueError(f"on: expected whole numbers of neurons from 0 to {n}, got {on.min()} to {on.max()}")
    gate = np.full((len(on), n), np.inf)
    some = np.flatnonzero(on < n)
    gate[some, on[some]] = 0.0
    k = on / n
    return {**inputs, GATE: gate, KNOB: LONGEST * np.column_stack([k, 1 - k])}


class GatedBatches:
    """Batches of a training set, shuffled in every epoch, with a number of neurons on that is drawn for each trial.

    It is all of them, the least number, or log-uniform in between. Every pass over it is the next epoch.

    Parameters
    ----------
    data : Trials
        Of the network without gate.
    n : int
        Neurons of the gated population.
    batch_size, seed : int
    lowest : float
        Smallest fraction of neurons that are on, above 0.
    full, least : float
        Shares of trials with all neurons, and with the smallest number.
    dropout : float
        Probability with which each input spike of a trial is dropped; those of gate and knob never are.

    Raises
    ------
    ValueError
        For fractions that are none.
    """

    def __init__(
        self,
        data: Trials,
        n: int,
        batch_size: int,
        seed: int,
        *,
        lowest: float,
        full: float,
        least: float,
        dropout: float = 0.0,
    ) -> None:
        if not (0 < lowest <= 1 and full >= 0 and least >= 0 and full + least <= 1):
            raise ValueError(
                f"lowest = {lowest:g}, full = {full:g}, least = {least:g}: expected fractions, lowest above 0, and the "
                "sum of the others at most 1"
            )
        self._data, self._n, self._size, self._seed = data, n, batch_size, seed
        self._lowest, self._full, self._least, self._dropout = lowest, full, least, dropout
        self._epoch = 0

    def __len__(self) -> int:
        return math.ceil(len(self._data) / self._size)

    def __iter__(self) -> Iterator[Batch]:
        rng = np.random.default_rng([self._seed, self._epoch])
        self._epoch += 1
        order = rng.permutation(len(self._data))
        kind = rng.uniform(size=len(order))
        fraction = self._lowest ** (1 - rng.uniform(size=len(order)))
        fraction[kind < self._full + self._least] = self._lowest
        fraction[kind < self._full] = 1.0
        on = np.rint(fraction * self._n).astype(int)
        for start in range(0, len(order), self._size):
            part = slice(start, start + self._size)
            inputs, targets = self._data.take(order[part])
            if self._dropout:
                inputs = {name: drop_spikes(times, self._dropout, rng) for name, times in inputs.items()}
            yield with_knob(inputs, on[part], self._n), targets


class SpikeBudget(GradientWrapper):
    """Holds a population to a budget of spikes in training, by a price that rises only while it is exceeded.

    The exact gradient of a spike count is zero wherever it exists. So the mean count N_i of neuron i is taken to change
    at the rate N_i with each weight onto it: neurons that spike much are held back most. The step is taken apart from
    Adam's, as weight decay is in AdamW (Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101), so that training
    stays in the compiled program: after every few batches, weights onto neuron i fall by the learning rate times the
    price times N_i times the number of batches, with N_i counted on the last of them. A gated network has a budget and
    a price for each level of its knob, and N_i is weighted by the price of each trial's level. After each call
    ``ln price += gain (spikes/budget - 1)``, within bounds.

    Parameters
    ----------
    simulation : Simulation
        Compiled, so that it trains many batches in a call.
    population : str
    weights : sequence of str
        Projections onto the population, by name, whose weights feel the price.
    levels : array, shape (levels,)
        Fractions of neurons that are on; one of any value, for a network without gate.
    budgets : array, shape (levels,)
        Spikes per trial.
    gain : float
        Per call, over the share of a level in the trials where all are as frequent.
    start, lowest, highest : float
        Price per spike, in steps of the optimiser: at first, and its bounds.
    every : int
        Batches of a call.

    Raises
    ------
    ValueError
        For budgets that are not positive, or not one for each level, and for bounds out of order.
    """

    def __init__(
        self,
        simulation: Simulation,
        population: str,
        weights: Sequence[str],
        levels: Array,
        budgets: Array,
        *,
        gain: float = 0.03,
        start: float = 1e-3,
        lowest: float = 1e-5,
        highest: float = 0.1,
        every: int = 4,
    ) -> None:
        super().__init__(simulation)
        self._simulation = simulation  # as what can tell spike times
        self._population = population
        self._keys = [f"{name}.w" for name in weights]
        self._levels, self._budgets = np.asarray(levels, dtype=float), np.asarray(budgets, dtype=float)
        if self._levels.shape != self._budgets.shape or not (self._budgets > 0).all():
            wanted = f"a positive number for each of {len(self._levels)} levels"
            raise ValueError(f"budgets: expected {wanted}, got {budgets}")
        if not 0 < lowest <= start <= highest:
            raise ValueError(f"start: expected a price from {lowest:g} to {highest:g}, got {start:g}")
        self._gain, self._bounds, self._every = gain, (math.log(lowest), math.log(highest)), every
        self._log_price = np.full(len(self._levels), math.log(start))

    @property
    def prices(self) -> Array:
        """The price of every level as it is now."""
        return np.asarray(np.exp(self._log_price))

    def run(
        self,
        inputs: Mapping[str, Array],
        targets: Array,
        values: Mapping[str, Array] | None = None,
        *,
        gradient: bool = True,
    ) -> Outcome:
        """Simulate one batch without a price; see `GradientSource.run`.

        Raises
        ------
        ValueError
            For a gradient, which would lack the price.
        """
        if gradient:
            raise ValueError("a spike budget trains many batches in a call: use target='cpp_standalone' and plain Adam")
        return self._simulation.run(inputs, targets, values, gradient=False)

    def fits(self, optimiser: Optimiser, values: Mapping[str, Array]) -> bool:
        """As `Simulation.fits`."""
        return self._simulation.fits(optimiser, values)

    def fit(self, batches: Sequence[Batch], values: Mapping[str, Array], optimiser: Any) -> list[Outcome]:
        """Train on several batches and take the steps of the price; see `Simulation.fit`."""
        outcomes: list[Outcome] = []
        for start in range(0, len(batches), self._every):
            some = batches[start : start + self._every]
            outcomes += self._simulation.fit(some, values, optimiser)
            counts = np.isfinite(self._simulation.spike_times(self._population)).sum(axis=2)
            level = self._level_of(some[-1][0], len(counts))
            push = self.prices[level] @ counts / len(counts) * optimiser.learning_rate * len(some)
            for key in self._keys:
                values[key][...] -= push
            for k in np.unique(level):
                excess = counts[level == k].sum(axis=1).mean() / self._budgets[k] - 1
                share = np.mean(level == k) * len(self._levels)
                moved = self._log_price[k] + self._gain * share * min(excess, 1.0)
                self._log_price[k] = min(max(moved, self._bounds[0]), self._bounds[1])
        return outcomes

    def _level_of(self, inputs: Mapping[str, Array], trials: int) -> Array:
        """Index of the nearest level of each trial."""
        if len(self._levels) == 1:
            return np.zeros(trials, dtype=int)
        fraction = inputs[KNOB][:, 0] / LONGEST
        return np.asarray(np.abs(fraction[:, None] - self._levels).argmin(axis=1))
