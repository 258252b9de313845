"""A small network in which a model's gradient can be checked, whatever the model's units and time constants are."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import sympy as sp

from ..symbolic.system import HybridSystem
from ..templates import load_model
from ..templates.model import Model
from ..templates.network import Network, Population, Projection, SpikeInput
from .protocol import Loss, LossValue, Observable
from .replicas import Nothing, copies_of, side_by_side
from .grid import GridSimulation, UnresolvedSpikes
from .simulation import SimulationError

__all__ = ["Probe", "ProbeError", "SmoothMaxima", "SmoothSpikeTimes", "probe", "random_inputs"]

SOURCES, HIDDEN, OUTPUT = 4, 3, 2
INPUT_SPIKES = 2
DURATION, LAST_INPUT = 40e-3, 18e-3
SEARCH_DT = 0.5e-3
MAX_SPIKES = 32
FEW, MANY = 1.5, 3.0  # spikes per neuron and trial that are sought
DECADES, CANDIDATES = 9, 96
TOGETHER = 1e-9  # seconds; spikes this close are at the same time
ROOM, CLEAR = 2.5e-3, 1e-3  # more time than this to the next spike, and from the last arrival to a spike, is no better

Pattern = Mapping[str, np.ndarray]


class ProbeError(RuntimeError):
    """A model for which no network could be made that spikes a few times."""


@dataclass(frozen=True)
class Probe:
    """A network with inputs and a loss.

    Attributes
    ----------
    network : Network
    inputs : mapping of str to array, shape (trials, n, spikes)
        Seconds.
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

    observable: ClassVar[Observable] = "spike_times"
    unit: ClassVar[float] = 10e-3
    counted: ClassVar[int] = 2

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        """Evaluate on spike times ``(trials, n, k)`` in seconds; the targets are not read."""
        there = np.isfinite(observed)
        there[:, :, self.counted :] = False
        u = np.where(there, observed, 0.0) / self.unit
        c = _weights(*observed.shape) / len(observed)
        return LossValue(float((c * (u + u**2 / 2))[there].sum()), np.where(there, c * (1 + u) / self.unit, 0.0))


class SmoothMaxima(Loss):
    """Polynomial of the largest value that a state of every output neuron takes, in a given unit."""

    observable: ClassVar[Observable] = "voltage_max"

    def __init__(self, variable: str, unit: float) -> None:
        self.variable, self.unit = variable, unit

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        """Evaluate on maxima ``(trials, n)``; the targets are not read."""
        u = observed / self.unit
        c = _weights(len(observed), observed.shape[1], 1)[..., 0] / len(observed)
        return LossValue(float((c * (u + u**2 / 2)).sum()), c * (1 + u) / self.unit)


def _weights(trials: int, n: int, k: int) -> np.ndarray:
    """Different numbers between 1 and 3."""
    return 1 + (0.7 * np.arange(trials)[:, None, None] + 0.39 * np.arange(n)[:, None] + 0.31 * np.arange(k)) % 2.0


def random_inputs(network: Network, trials: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Generic spike times in the first half of a trial, two per source."""
    span = min(LAST_INPUT, 0.55 * network.duration)
    low = min(0.5e-3, 0.05 * span)
    return {s.name: np.sort(rng.uniform(low, span, (trials, s.n, INPUT_SPIKES)), axis=2) for s in network.inputs}


def probe(model: Model, *, seed: int = 0, trials: int = 2, recurrent: bool = False) -> Probe:
    """A network of four sources, three hidden and two output neurons that spike one to a few times each.

    The size of the weights is searched, first over many orders of magnitude (a template may be in volts or in amperes),
    then finely among several draws. A model without threshold is the output behind hidden leaky integrate-and-fire
    neurons. The network doesn't depend on the time step of the check.

    Parameters
    ----------
    model : Model
    seed : int
        Of the weights and input times.
    trials : int
    recurrent : bool
        Whether the hidden neurons also project onto each other, with weights of both signs.

    Raises
    ------
    ProbeError
        If no weights make all neurons spike.
    """
    rng = np.random.default_rng(seed)
    search = _Search(model, model if model.spiking else load_model("lif", "exp_synapse"), trials, recurrent, rng)
    return search.run()


class _Search:
    """Finds the weights of a probe, many candidates at a time."""

    def __init__(self, model: Model, hidden: Model, trials: int, recurrent: bool, rng: np.random.Generator) -> None:
        self.model, self.hidden, self.trials, self.rng = model, hidden, trials, rng
        self.targets = np.zeros(trials, dtype=int)
        shapes = {}
        for kind, source, target, shape, receiver in (
            ("in", "input", "hidden", (SOURCES, HIDDEN), hidden),
            ("rec", "hidden", "hidden", (HIDDEN, HIDDEN), hidden),
            ("out", "hidden", "output", (HIDDEN, OUTPUT), model),
        ):
            if kind == "rec" and not recurrent:
                continue
            several = len(receiver.receptors) > 1
            for receptor in receiver.receptors:
                name = f"{source}_{target}_{receptor}" if several else f"{source}_{target}"
                shapes[name] = (kind, source, target, receptor, shape)
        self.shapes = shapes
        self.patterns = [self._pattern() for _ in range(CANDIDATES)]
        network = self._network(self.patterns[0], 0.0, 0.0)
        self.inputs = random_inputs(network, trials, rng)

    def _pattern(self) -> Pattern:
        """Weights in units of the scale that is sought: mostly excitatory, some inhibitory, alike or very different."""
        result = {}
        spread = self.rng.choice([1.0, 3.0])
        for name, (kind, *_, shape) in self.shapes.items():
            sign = np.where(self.rng.uniform(size=shape) < (0.5 if kind == "rec" else 0.15), -0.5, 1.0)
            result[name] = self.rng.uniform(0.5, 1.5, shape) ** spread * sign * (0.4 if kind == "rec" else 1.0)
        return result

    def _network(self, pattern: Pattern, scale_in: float, scale_out: float) -> Network:
        projections = tuple(
            Projection(name, source, target, pattern[name] * (scale_out if kind == "out" else scale_in), receptor)
            for name, (kind, source, target, receptor, _) in self.shapes.items()
        )
        return Network(
            self.model.name,
            (SpikeInput("input", SOURCES),),
            (
                Population("hidden", HIDDEN, self.hidden, learnable=tuple(self.hidden.parameters)),
                Population("output", OUTPUT, self.model, learnable=tuple(self.model.parameters)),
            ),
            projections,
            "output",
            DURATION,
        )

    def run(self) -> Probe:
        """Search the scale of the input weights, then that of the output weights."""
        model, zero = self.model, np.zeros(CANDIDATES)
        variable = "v" if "v" in model.state_names else model.state_names[0]
        observe = Nothing("spike_times" if model.spiking else "voltage_max", variable)
        everything = copies_of([self._network(p, 0.0, 0.0) for p in self.patterns])
        with GridSimulation(
            everything, observe, batch_size=self.trials, dt=SEARCH_DT, max_spikes=MAX_SPIKES
        ) as self.simulation:
            scale_in, pattern = self._search(
                "hidden", HIDDEN, _size(self.hidden), self.patterns, lambda p, s: self._run(p, s, zero)
            )
            inputs = {k: v for k, v in pattern.items() if self.shapes[k][0] != "out"}
            if not model.spiking:
                scale_out = _size(model)
                maxima = self._run([pattern] * CANDIDATES, zero + scale_in, zero + scale_out)
                loss: Loss = SmoothMaxima(variable, float(np.abs(maxima).max()) or 1.0)
            else:
                scale_out, pattern = self._search(
                    *("output", OUTPUT, _size(model), [{**p, **inputs} for p in self.patterns]),
                    lambda p, s: self._run(p, zero + scale_in, s),
                )
                loss = SmoothSpikeTimes()
        return Probe(self._network(pattern, scale_in, scale_out), self.inputs, loss, self.targets)

    def _run(self, patterns: Sequence[Pattern], scale_in: np.ndarray, scale_out: np.ndarray) -> np.ndarray:
        """Simulate all candidates; returns what the output population did."""
        networks = [self._network(p, a, b) for p, a, b in zip(patterns, scale_in, scale_out, strict=True)]
        values = {f"{q.name}.w": q.weights for q in copies_of(networks).projections}
        inputs = side_by_side([self.inputs] * CANDIDATES)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnresolvedSpikes)
            try:
                return self.simulation.run(inputs, self.targets, values, gradient=False).output
            except SimulationError:  # some spike too often; they are no candidates
                return np.empty(0)

    def _search(
        self,
        population: str,
        n: int,
        start: float,
        patterns: Sequence[Pattern],
        run: Callable[[Sequence[Pattern], np.ndarray], np.ndarray],
    ) -> tuple[float, Pattern]:
        def times(some: Sequence[Pattern], scales: np.ndarray) -> np.ndarray:
            run(some, scales)
            return self._spikes(population, n)

        scales = start * np.logspace(-DECADES, DECADES, CANDIDATES)
        means = np.isfinite(times([patterns[0]] * CANDIDATES, scales)).sum(axis=(1, 2, 3)) / (self.trials * n)
        if not (means >= FEW).any():
            raise ProbeError(
                f"{self.model.name}: no weight between {scales[0]:.0e} and {scales[-1]:.0e} makes the {population} "
                f"neurons spike within {DURATION * 1e3:g} ms; give a network of your own to the check"
            )
        k = int(np.argmax(means > MANY)) - 1 if (means > MANY).any() else int(np.argmax(means >= FEW))
        low, high = scales[max(k - 1, 0)], scales[min(max(k, 0) + 1, CANDIDATES - 1)]
        fine = low * (high / low) ** np.linspace(0, 1, CANDIDATES)
        found = times(patterns, fine)
        scores = [_score(*both) for both in zip(found, self._arrivals(population), strict=True)]
        best = max(range(CANDIDATES), key=scores.__getitem__)
        return float(fine[best]), patterns[best]

    def _spikes(self, population: str, n: int) -> np.ndarray:
        """Spike times of all candidates in the last run, shape (candidates, trials, n, spikes)."""
        spikes = self.simulation.spike_times(population)
        return np.moveaxis(spikes.reshape(self.trials, CANDIDATES, n, -1), 1, 0)

    def _arrivals(self, population: str) -> np.ndarray:
        """Times at which spikes arrive at a population, shape (candidates, trials, arrivals)."""
        shape = (CANDIDATES, self.trials, -1)
        hidden = self._spikes("hidden", HIDDEN).reshape(shape)
        if population == "output":
            return hidden
        inputs = np.broadcast_to(self.inputs["input"], (CANDIDATES, *self.inputs["input"].shape)).reshape(shape)
        recurrent = any(kind == "rec" for kind, *_ in self.shapes.values())
        return np.concatenate([inputs, hidden], axis=2) if recurrent else inputs


def _score(times: np.ndarray, arrivals: np.ndarray) -> tuple[bool, bool, bool, float]:
    """How well spikes (trials, n, k) suit a check, with arrivals (trials, m) at the same neurons.

    Everyone should spike, apart from the others, seldom, with time to the next spike and to the end of the trial, and
    not just after an arrival: within one time step the simulation would be late to take notice of that.
    """
    there = np.isfinite(times)
    counts = there.sum(axis=2)
    following = np.minimum(np.concatenate([times[..., 1:], np.full((*counts.shape, 1), np.inf)], axis=2), DURATION)
    room = float((following - times)[there].min(initial=DURATION))
    apart, clear = True, DURATION
    for spikes, others in zip(times, np.sort(arrivals, axis=1), strict=True):
        each = np.sort(spikes[np.isfinite(spikes)])
        apart = apart and bool(np.diff(each).min(initial=DURATION) > TOGETHER)
        last = np.concatenate([[-DURATION], others])[np.searchsorted(others, each - TOGETHER)]
        clear = min(clear, float((each - last).min(initial=DURATION)))
    generic = min(room / ROOM, clear / CLEAR, 1.0)
    return bool((counts >= 1).all()), apart, bool(FEW <= counts.mean() <= MANY), generic


def _size(model: Model) -> float:
    """Where to start the search for weights: what it takes to reach the threshold, or the largest parameter alike."""
    system = HybridSystem.from_model(model)
    if system.g is not None:
        at_start = system.g.xreplace(dict(system.initial)).xreplace(
            {s: sp.Float(v) for s, v in system.defaults.items()}
        )
        return abs(float(at_start)) or 1.0
    unit = next(iter(model.receptors.values())).weight_unit
    return max((abs(p.value) for p in model.parameters.values() if p.unit == unit), default=0.0) or 1.0
