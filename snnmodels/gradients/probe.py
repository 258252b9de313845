"""A small network in which a model's gradient can be checked, whatever the model's units and time constants are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import sympy as sp

from ..losses.base import Loss, LossValue
from ..losses.observables import Maxima, Observable, SpikeTimes
from ..symbolic.declaration import hybrid_system
from ..targets import Target
from ..templates import load_model
from ..templates.arguments import check_kind, check_seed, check_whole
from ..templates.groups import CurrentInput, Drive, Population, Projection, SpikeInput
from ..templates.model import Model
from ..templates.network import Network
from .simulation import Simulation, SimulationError
from .source import Outcome

__all__ = ["Probe", "ProbeError", "SmoothMaxima", "SmoothSpikeTimes", "probe", "random_inputs"]

SOURCES, HIDDEN, OUTPUT = 4, 3, 2
INPUT_SPIKES = 2
DURATION, LAST_INPUT = 40e-3, 18e-3
FEW, MANY = 1.3, 2.5  # spikes per neuron and trial that are sought
PACEMAKER = 25.0  # and the most of a neuron that spikes by itself
DECADES, STRIDE, NEAR = 9, 8.0, 1.5  # how far, in what steps and how closely the size of the weights is searched
LADDER, RUNG = 18, 1.5  # how many steps below and above a typical input, and of what size, for neurons without reset
CANDIDATES, SHAKES, ADJUST = 96, 16, 1.2
TOGETHER = 1e-9  # seconds; spikes this close are at the same time
SOONEST, LATEST = 0.2e-3, 1.5e-3  # delays of the synapses
CHANNELS, INTERVAL, START = 2, 3.3e-3, 0.7e-3  # of a current: its channels, and when samples are due
PART = 0.15  # of the current with which a neuron spikes by that alone
ROOM, CLEAR = 0.5e-3, 0.1e-3  # more time than this to the next spike, and to the next arrival, is no better

Weights = Mapping[str, np.ndarray]
"""By name of the projection."""


class ProbeError(RuntimeError):
    """A model for which no network could be made that spikes a few times."""


@dataclass(frozen=True)
class Probe:
    """A network with inputs and a loss.

    Attributes
    ----------
    network : Network
    inputs : mapping of str to array, shape (trials, n, spikes)
        Seconds; of a current the samples, shape (trials, n, samples).
    loss : Loss
    targets : array, shape (trials,)
    """

    network: Network
    inputs: Mapping[str, np.ndarray]
    loss: Loss
    targets: np.ndarray


class SmoothSpikeTimes(Loss):
    """Polynomial of the first two spikes of every output neuron, each with a weight of its own.

    Well conditioned, unlike a cross-entropy, which hides some neurons behind others. A trial's loss is
    sum c (u + u²/2) with u = t/10 ms.
    """

    observes: ClassVar[Observable] = SpikeTimes()
    unit: ClassVar[float] = 10e-3
    counted: ClassVar[int] = 2

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        """Evaluate on spike times ``(trials, n, k)`` in seconds; the targets are not read; see `Loss.evaluate`."""
        there = np.isfinite(observed)
        there[:, :, self.counted :] = False
        u = np.where(there, observed, 0.0) / self.unit
        c = _weights(*observed.shape) / len(observed)
        return LossValue(float((c * (u + u**2 / 2))[there].sum()), np.where(there, c * (1 + u) / self.unit, 0.0))


class SmoothMaxima(Loss):
    """Polynomial of the largest value that a state of every output neuron takes, in a given unit."""

    def __init__(self, variable: str, unit: float) -> None:
        self.variable, self.unit = variable, unit

    @property
    def observes(self) -> Observable:
        """Maxima over time."""
        return Maxima(variable=self.variable)

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        """Evaluate on maxima ``(trials, n)``; the targets are not read; see `Loss.evaluate`."""
        u = observed / self.unit
        c = _weights(len(observed), observed.shape[1], 1)[..., 0] / len(observed)
        return LossValue(float((c * (u + u**2 / 2)).sum()), c * (1 + u) / self.unit)


def _weights(trials: int, n: int, k: int) -> np.ndarray:
    """Different numbers between 1 and 3."""
    return 1 + (0.7 * np.arange(trials)[:, None, None] + 0.39 * np.arange(n)[:, None] + 0.31 * np.arange(k)) % 2.0


def random_inputs(network: Network, trials: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Generic spike times in the first half of a trial, two per source.

    Parameters
    ----------
    network : Network
    trials : int
    rng : numpy.random.Generator

    Returns
    -------
    dict of str to array, shape (trials, n, 2)
        By input; seconds, ascending.

    Raises
    ------
    ValueError
        If the network has currents.
    """
    if network.currents:
        name = network.currents[0].name
        raise ValueError(f"network {network.name!r} has the current {name!r}, whose size nothing tells; give inputs")
    span = min(LAST_INPUT, 0.55 * network.duration)
    low = min(0.5e-3, 0.05 * span)
    return {s.name: np.sort(rng.uniform(low, span, (trials, s.n, INPUT_SPIKES)), axis=2) for s in network.inputs}


def probe(
    model: Model,
    *,
    seed: int = 0,
    trials: int = 2,
    recurrent: bool = False,
    delays: bool = False,
    currents: bool = False,
    target: Target = "numpy",
) -> Probe:
    """A network of four sources, three hidden and two output neurons that spike one to a few times each.

    The size of the weights is searched, first over many orders of magnitude (a template may be in volts or in amperes),
    then finely among several draws. A model without threshold is the output behind hidden leaky integrate-and-fire
    neurons. The network doesn't depend on the target.

    Parameters
    ----------
    model : Model
    seed : int
        Of the weights and input times.
    trials : int
    recurrent : bool
        Whether the hidden neurons also project onto each other, with weights of both signs.
    delays : bool
        Whether every synapse has a delay of its own, of 0.2 to 1.5 ms, which is learnable.
    currents : bool
        Whether sampled currents, linear between samples, drive every input of the model that a current may drive: of
        the hidden neurons, or of the output where the model has no threshold. They are about a seventh of the current
        with which a neuron spikes by that alone, and their gains are learnable.
    target : {"numpy", "cpp_standalone", "cuda_standalone"}
        Where candidates are simulated.

    Raises
    ------
    ValueError
        If currents are wanted and the model has no input that they may drive.
    ProbeError
        If no weights make all neurons spike.
    SimulationError
        If the model has no trajectory even without input.
    """
    check_kind("model", model, Model, "a Model, as load_model gives")
    check_seed(seed)
    check_whole("trials", trials)
    if currents and not _driven(model):
        read = [f"its {i.read_at} reads {i.name!r}" for i in model.inputs.values()] or ["it has none"]
        raise ValueError(f"{model.name}: no input that a current may drive ({', '.join(read)}); leave out currents")
    rng = np.random.default_rng(seed)
    hidden = model if model.spiking else load_model("lif", "exp_synapse")
    sources = SpikeInput("input", SOURCES)
    populations = (
        Population("hidden", HIDDEN, hidden, learnable=tuple(hidden.parameters)),
        Population("output", OUTPUT, model, learnable=tuple(model.parameters)),
    )
    empty = Network(model.name, (sources,), populations[:1], (), "hidden", DURATION)
    inputs = random_inputs(empty, trials, rng)
    wanted = _Wanted(recurrent, delays, currents and model.spiking)
    first = _Stage(sources, populations[0], inputs["input"], wanted, target, rng)
    projections = first.spiking()
    wanted = _Wanted(False, delays, currents and not model.spiking)
    second = _Stage(SpikeInput("hidden", HIDDEN), populations[1], first.spikes, wanted, target, rng)
    projections += second.spiking() if model.spiking else second.silent()
    driving = first if first.drives else second
    network = Network(
        *(model.name, (sources,), populations, projections, "output", DURATION),
        currents=driving.currents,
        drives=driving.drives,
    )
    return Probe(network, {**inputs, **driving.samples}, second.loss, np.zeros(trials, dtype=int))


class _Wanted(NamedTuple):
    """What a stage has beside weights."""

    recurrent: bool
    delays: bool
    currents: bool


def _driven(model: Model) -> list[str]:
    """Inputs that a current may drive."""
    return [i.name for i in model.inputs.values() if not i.read_at]


@dataclass(frozen=True)
class _Wire:
    """A projection onto the population of a stage."""

    name: str
    source: str
    receptor: str
    shape: tuple[int, int]
    recurrent: bool
    delay: float | np.ndarray


class _Stage:
    """One population behind given spikes, and the search for weights that suit it.

    Attributes
    ----------
    loss : Loss
        Of the population.
    spikes : array, shape (trials, n, k)
        With the weights found.
    currents : tuple of CurrentInput
    drives : tuple of Drive
    samples : dict of str to array, shape (trials, channels, samples)
        Of the currents.
    """

    def __init__(
        self,
        source: SpikeInput,
        population: Population,
        given: np.ndarray,
        wanted: _Wanted,
        target: Target,
        rng: np.random.Generator,
    ) -> None:
        self.source, self.population, self.given, self.target, self.rng = source, population, given, target, rng
        self._refusal = ""
        self.model = model = population.model
        variable = "v" if "v" in model.state_names else model.state_names[0]
        self.loss: Loss = SmoothSpikeTimes() if model.spiking else SmoothMaxima(variable, 1.0)
        self.wires = []
        several = len(model.receptors) > 1
        for sender in (source, population) if wanted.recurrent else (source,):
            for receptor in model.receptors:
                name = f"{sender.name}_{population.name}" + (f"_{receptor}" if several else "")
                shape = (sender.n, population.n)
                delay = rng.uniform(SOONEST, LATEST, shape) if wanted.delays else 0.0
                self.wires.append(_Wire(name, sender.name, receptor, shape, sender is population, delay))
        self.many = MANY
        self.currents: tuple[CurrentInput, ...] = ()
        self.drives: tuple[Drive, ...] = ()
        self.samples: dict[str, np.ndarray] = {}
        for driven in _driven(model) if wanted.currents else ():
            self._add_current(driven)

    def _add_current(self, driven: str) -> None:
        """Drive an input, by a part of the current that has about the effect of all weights."""
        p, unit = self.population, self.model.inputs[driven].unit
        name = "current" if len(_driven(self.model)) == 1 else f"current_{driven}"
        current = CurrentInput(name, CHANNELS, INTERVAL, "linear", START, unit)
        shape = (len(self.given), CHANNELS, current.samples(DURATION))
        samples, gains = self.rng.uniform(0.2, 1.8, shape), self.rng.uniform(0.3, 0.7, (CHANNELS, p.n))
        self.currents += (current,)
        self.drives += (Drive("", name, p.name, gains, driven),)
        if not self.model.spiking:
            self.samples[name] = PART * _size(self.model, unit) * samples
            return
        others, silent = self.samples, self._scaled(self._pattern(), 0.0)

        def mean(scale: float) -> float:
            self.samples = {**others, name: scale * samples}
            return self._mean(self._run(simulation, silent))

        with self._simulation() as simulation:
            size = self._bracket(mean, f"current on {driven}")
        self.samples = {**others, name: PART * size * samples}

    def spiking(self) -> tuple[Projection, ...]:
        """Weights with which every neuron spikes a few times."""
        with self._simulation() as simulation:
            self._outcome(simulation, self._scaled(self._pattern(), 0.0))  # it has a trajectory at all
            self._fit(simulation)
        return self._projections(self._best)

    def _fit(self, simulation: Simulation) -> None:
        """Make each neuron spike a few times, then shake the weights until the spikes suit a check."""
        pattern = self._pattern()
        size = self._bracket(lambda scale: self._mean(self._run(simulation, self._scaled(pattern, scale))), "weight")
        best: tuple[bool, bool, bool, float] | None = None
        for k in range(CANDIDATES):
            if k % SHAKES == 0:
                scales = np.full(self.population.n, size)
                pattern = self._pattern() if k else pattern
            weights = self._scaled(pattern, scales)
            spikes = self._run(simulation, weights)
            if spikes is None:
                scales /= ADJUST
                continue
            score = _score(spikes, self._arrivals(spikes))
            if best is None or score > best:
                best, self._best, self.spikes = score, weights, spikes
            if score >= (True, True, True, 1.0):
                return
            counts = np.isfinite(spikes).sum(axis=2)
            silent, busy = counts.min(axis=0) == 0, counts.mean(axis=0) > self.many
            scales *= np.where(silent, ADJUST, np.where(busy, 1 / ADJUST, 1.0))
            if not (silent | busy).any():
                pattern = {name: w * self.rng.uniform(0.85, 1.15, w.shape) for name, w in pattern.items()}
        if best is None:
            raise ProbeError(
                f"{self.model.name}: no weights were found with which the {self.population.name} neurons spike a few "
                f"times; give a network of your own to the check{self._refused()}"
            )

    def silent(self) -> tuple[Projection, ...]:
        """Weights of about the right size for a model without threshold; the loss takes its unit from what they do."""
        weights = self._scaled(self._pattern(), _size(self.model))
        with self._simulation() as simulation:
            maxima = self._outcome(simulation, weights).output
        assert isinstance(self.loss, SmoothMaxima)
        self.loss.unit = float(np.abs(maxima).max()) or 1.0
        return self._projections(weights)

    @property
    def _targets(self) -> np.ndarray:
        return np.zeros(len(self.given), dtype=int)

    def _pattern(self) -> Weights:
        """Weights in units of the scale that is sought: mostly excitatory, some inhibitory, alike or very different."""
        result = {}
        spread = self.rng.choice([1.0, 3.0])
        for w in self.wires:
            sign = np.where(self.rng.uniform(size=w.shape) < (0.5 if w.recurrent else 0.15), -0.5, 1.0)
            result[w.name] = self.rng.uniform(0.5, 1.5, w.shape) ** spread * sign * (0.4 if w.recurrent else 1.0)
        return result

    @staticmethod
    def _scaled(pattern: Weights, scale: float | np.ndarray) -> Weights:
        return {name: scale * w for name, w in pattern.items()}

    def _projections(self, weights: Weights) -> tuple[Projection, ...]:
        return tuple(
            Projection(
                *(w.name, w.source, self.population.name, weights[w.name], w.receptor),
                learnable=("w", "delay") if np.ndim(w.delay) else ("w",),
                delay=w.delay,
            )
            for w in self.wires
        )

    def _simulation(self) -> Simulation:
        p = self.population
        projections = self._projections(self._scaled(self._pattern(), 0.0))
        network = Network(
            *(self.model.name, (self.source,), (p,), projections, p.name, DURATION),
            currents=self.currents,
            drives=self.drives,
        )
        # a trial with more spikes has too many, whatever the others have; without reset a neuron may spike by itself
        most = int(np.ceil((MANY if self.model.reset else PACEMAKER) * p.n * len(self.given)))
        return Simulation(
            network,
            self.loss,
            batch_size=len(self.given),
            target=self.target,
            input_gradients=False,
            max_spikes=most,
        )

    def _outcome(self, simulation: Simulation, weights: Weights) -> Outcome:
        values = {f"{name}.w": w for name, w in weights.items()}
        return simulation.run({self.source.name: self.given, **self.samples}, self._targets, values, gradient=False)

    def _run(self, simulation: Simulation, weights: Weights) -> np.ndarray | None:
        """Spike times with some weights; None if there is no end to them."""
        try:
            self._outcome(simulation, weights)
        except SimulationError as error:
            self._refusal = str(error)
            return None
        return simulation.spike_times(self.population.name)

    def _refused(self) -> str:
        """What the last weights failed for that gave no trajectory, as the end of a message."""
        return f". The last to fail did so for this: {self._refusal}" if self._refusal else ""

    @staticmethod
    def _mean(spikes: np.ndarray | None) -> float:
        return np.inf if spikes is None else float(np.isfinite(spikes).sum(axis=2).mean())

    def _bracket(self, mean: Callable[[float], float], what: str) -> float:
        """About the largest scale that gives no more than `MANY` spikes, or the smallest that gives `FEW`, or any."""
        mean, start = functools.cache(mean), _size(self.model)
        if not self.model.reset:
            return self._least_effective(mean, what, FEW if what == "weight" else 0.0)
        least, most = start * 10.0**-DECADES, start * 10.0**DECADES
        bounds: tuple[Callable[[float], bool], ...] = (
            lambda scale: mean(scale) > MANY,
            lambda scale: mean(scale) >= FEW,
            lambda scale: mean(scale) > 0,
        )
        for enough in bounds:
            low = high = start
            while enough(low) and low > least:
                low, high = low / STRIDE, low
            while not enough(high) and high < most:
                low, high = high, high * STRIDE
                if 0 < mean(low) >= mean(high):
                    break  # more input no longer helps: a neuron without reset does not come back from it
            if enough(high):
                break
        else:
            unit = next(iter(self.model.receptors.values())).weight_unit if self.model.receptors else "1"
            raise ProbeError(
                f"{self.model.name}: no {what} between {least:.0e} and {most:.0e} {'' if unit == '1' else unit + ' '}"
                f"makes the {self.population.name} neurons spike within {DURATION * 1e3:g} ms; give a network of your "
                f"own to the check{self._refused()}"
            )
        while high > NEAR * low and not enough(low):
            middle = float(np.sqrt(low * high))
            low, high = (low, middle) if enough(middle) else (middle, high)
        return low

    def _least_effective(self, mean: Callable[[float], float], what: str, few: float) -> float:
        """About the smallest scale that changes the number of spikes, to `few` or more if that is possible.

        For a neuron without reset: what is too much blocks it, or carries it where no trajectory can be followed.
        """
        scale = most = 0.0
        unit = next(iter(self.model.receptors.values())).weight_unit
        typical = next((i.scale for i in self.model.inputs.values() if i.unit == unit and i.scale), 1.0)
        rest = mean(0.0)
        self.many = MANY + rest
        for k in range(-LADDER, LADDER + 1):
            scale = typical * RUNG**k
            found = mean(scale)
            if found == np.inf:
                break
            if found != rest:
                most = most or scale
                if found >= few:
                    return scale
        if not most:
            least = typical * RUNG**-LADDER
            raise ProbeError(
                f"{self.model.name}: no {what} between {least:.0e} and {scale:.0e} changes the number of spikes of the "
                f"{self.population.name} neurons within {DURATION * 1e3:g} ms; give a network of your own to the check"
            )
        return most

    def _arrivals(self, spikes: np.ndarray) -> np.ndarray:
        """Times at which spikes arrive at the neurons, shape (trials, n, arrivals)."""
        arrivals = []
        for w in self.wires:
            sent = spikes if w.recurrent else self.given
            due = sent[:, :, None] + np.broadcast_to(w.delay, w.shape)[..., None]
            arrivals.append(due.swapaxes(1, 2).reshape(len(sent), w.shape[1], -1))
        return np.concatenate(arrivals, axis=2)


def _score(times: np.ndarray, arrivals: np.ndarray) -> tuple[bool, bool, bool, float]:
    """How well spikes (trials, n, k) suit a check, with arrivals (trials, n, m) at the same neurons.

    Everyone should spike, apart from the others, seldom, with time to its next spike and to the end of the trial, and
    not close to an arrival that doesn't cause the spike: where two events exchange their order, the loss has a kink,
    and differences over it resolve less.
    """
    there = np.isfinite(times)
    counts = there.sum(axis=2)
    following = np.minimum(np.concatenate([times[..., 1:], np.full((*counts.shape, 1), np.inf)], axis=2), DURATION)
    room = float((following - times)[there].min(initial=DURATION))
    apart, clear = True, DURATION
    for spikes in times:
        each = np.sort(spikes[np.isfinite(spikes)])
        apart = apart and bool(np.diff(each).min(initial=DURATION) > TOGETHER)
    for trial, neuron in np.ndindex(counts.shape):
        own, others = times[trial, neuron], arrivals[trial, neuron]
        distance = np.abs(own[np.isfinite(own), None] - others[np.isfinite(others)])
        clear = min(clear, float(distance[distance > TOGETHER].min(initial=DURATION)))
    generic = min(room / ROOM, clear / CLEAR, 1.0)
    return bool((counts >= 1).all()), apart, bool(FEW <= counts.mean() <= MANY), generic


def _size(model: Model, unit: str = "") -> float:
    """Where to start the search for weights: what it takes to reach the threshold, or the largest parameter alike."""
    system = hybrid_system(model)
    if system.g is not None:
        at_start = system.g.xreplace(dict(system.initial)).xreplace(
            {s: sp.Float(v) for s, v in system.defaults.items()}
        )
        return abs(float(at_start)) or 1.0
    unit = unit or next(iter(model.receptors.values())).weight_unit
    return max((abs(p.value) for p in model.parameters.values() if p.unit == unit), default=0.0) or 1.0
