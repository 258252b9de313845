"""Small networks, a loss of one's own, and derivatives by differences of the oracle's own loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from snnmodels.losses import Loss, LossValue, Maxima, Samples, SpikeTimes
from snnmodels.oracle import Method, OracleGradient, gradient, simulate
from snnmodels.templates.groups import Population, Projection, SpikeInput
from snnmodels.templates.model import Model
from snnmodels.templates.network import Network

MS = 1e-3
Inputs = dict[str, np.ndarray]


class Polynomial(Loss):
    """Every spike counts, each with its own weight, so that no error in a single one can hide."""

    observes = SpikeTimes()

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        there = np.isfinite(observed)
        trials, n, k = observed.shape
        c = 1.0 + (0.7 * np.arange(trials)[:, None, None] + 0.4 * np.arange(n)[:, None] + 0.3 * np.arange(k)) % 1.9
        t = np.where(there, observed, 0.0) / (20 * MS)
        return LossValue(float((c * (t + t**2))[there].sum()), np.where(there, c * (1 + 2 * t) / (20 * MS), 0.0))


class SumOfMaxima(Loss):
    """Weighted sum of the maxima of a state, squared so that the error is not constant."""

    def __init__(self, variable: str = "v") -> None:
        self.variable = variable

    @property
    def observes(self) -> Maxima:
        return Maxima(variable=self.variable)

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        c = 1.0 + (0.7 * np.arange(observed.shape[0])[:, None] + 0.4 * np.arange(observed.shape[1])) % 1.9
        return LossValue(float((c * (observed + observed**2)).sum()), c * (1 + 2 * observed))


class SumOfSamples(Loss):
    """Weighted sum of samples of a state, squared so that the error is not constant."""

    def __init__(self, variable: str = "v", interval: float = 3 * MS) -> None:
        self.variable, self.interval = variable, interval

    @property
    def observes(self) -> Samples:
        return Samples(variable=self.variable, interval=self.interval)

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        trials, n, k = (np.arange(size) for size in observed.shape)
        c = 1.0 + (0.7 * trials[:, None, None] + 0.4 * n[:, None] + 0.3 * k) % 1.9
        return LossValue(float((c * (observed + observed**2)).sum()), c * (1 + 2 * observed))


def feed_forward(
    model: Model, scale: tuple[float, float], readout: Model | None = None, *, seed: int = 0, trials: int = 1
) -> tuple[Network, Inputs]:
    """4-3-2, everything learnable, parameters of the hidden neurons their own."""
    rng = np.random.default_rng(seed)
    readout = readout or model
    own = {p: q.value * rng.uniform(0.97, 1.03, 3) for p, q in model.parameters.items() if q.value != 0}
    network = Network(
        "feed_forward",
        (SpikeInput("in", 4),),
        (
            Population("hidden", 3, model, parameters=own, learnable=tuple(model.parameters)),
            Population("out", 2, readout, learnable=tuple(readout.parameters)),
        ),
        (
            Projection("in_hidden", "in", "hidden", scale[0] * rng.uniform(0.5, 1.3, (4, 3)), "syn"),
            Projection("hidden_out", "hidden", "out", scale[1] * rng.uniform(0.3, 1.3, (3, 2)), "syn"),
        ),
        "out",
        32 * MS,
    )
    return network, {"in": np.sort(rng.uniform(0, 12 * MS, (trials, 4, 1)), axis=2)}


def with_values(network: Network, values: dict[str, np.ndarray]) -> Network:
    """The network with other weights and parameters, by key of `Network.trainable`."""
    projections = [
        dataclasses.replace(
            p, weights=values.get(f"{p.name}.w", p.weights), delay=values.get(f"{p.name}.delay", p.delay)
        )
        for p in network.projections
    ]
    populations = []
    for q in network.populations:
        own = {k.removeprefix(f"{q.name}."): v for k, v in values.items() if k.startswith(f"{q.name}.")}
        populations.append(dataclasses.replace(q, parameters={**q.parameters, **own}))
    return dataclasses.replace(network, projections=tuple(projections), populations=tuple(populations))


def loss_of(network: Network, inputs: Inputs, loss: Loss, method: Method = "runge-kutta") -> float:
    simulation = simulate(network, inputs, method=method)
    (seen,) = loss.observables
    if isinstance(seen, Samples):
        observed = simulation.samples(seen.variable, seen.times(network.duration)).value
    elif isinstance(seen, Maxima):
        observed = simulation.maximum(seen.variable).value
    else:
        observed = simulation.spikes[network.output]
    return loss.evaluate(observed, np.empty(0)).value


def derivative(value: Callable[[float], float], step: float) -> float:
    """Central difference of fourth order."""
    return (8 * (value(step) - value(-step)) - (value(2 * step) - value(-2 * step))) / (12 * step)


def deviations(
    network: Network, inputs: Inputs, loss: Loss, method: Method = "runge-kutta"
) -> tuple[dict[str, float], OracleGradient]:
    """Relative deviation of every gradient from the difference in a random direction, by key.

    Where a relative change has less than a thousandth of the loss as its effect, the deviation is relative to that
    instead, for a difference resolves no less than the rounding of the loss.
    """
    found = gradient(network, inputs, loss, np.empty(0), method=method)
    rng = np.random.default_rng(1)
    values: dict[str, np.ndarray] = {**network.trainable(), **{f"{k}.times": v for k, v in inputs.items()}}
    result = {}
    for key, value in values.items():
        finite = np.isfinite(value)
        direction = np.where(finite, rng.uniform(0.5, 1.0, value.shape) * rng.choice([-1, 1], value.shape), 0.0)
        size = MS if key.endswith(".times") else max(float(np.abs(value[finite]).max(initial=0.0)), MS)

        def moved(h: float, key: str = key, value: np.ndarray = value, direction: np.ndarray = direction) -> float:
            there = np.where(np.isfinite(value), value + h * direction, value)
            if key.endswith(".times"):
                return loss_of(network, {**inputs, key.removesuffix(".times"): there}, loss, method)
            return loss_of(with_values(network, {key: there}), inputs, loss, method)

        # small enough that no two spikes exchange their order within the difference: there the loss has a kink
        expected = derivative(moved, 2e-5 * size)
        exact = float(np.sum(np.where(finite, found.gradients[key], 0.0) * direction))
        result[key] = abs(exact - expected) * size / max(abs(expected) * size, 1e-3 * abs(found.loss))
    return result, found
