"""Random networks, and what an engine gives for them beside the reference of `snnmodels.oracle`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnmodels import oracle
from snnmodels.events.engine import Engine
from snnmodels.events.plan import EnginePlan
from snnmodels.losses.base import Loss, evaluated, shown
from snnmodels.targets.cpp.engine import CppEngine
from snnmodels.targets.numpy.engine import NumpyEngine
from snnmodels.templates import Model, Network, Population, Projection, SpikeInput
from tests.oracle.networks import MS, Polynomial

Inputs = Mapping[str, np.ndarray]
Make = Callable[[EnginePlan], Engine]

# every way in which a network can be gone through
WAYS: dict[str, Make] = {
    "numpy": NumpyEngine,
    "cpp": lambda plan: CppEngine(plan, trials=1),
    "cpp, not swept": lambda plan: CppEngine(plan, trials=1, sweep=False),
    "cpp, scattered": lambda plan: CppEngine(plan, trials=1, scatter=True),
}


@dataclass
class Run:
    """What an engine gave for one batch; gradients by the oracle's keys."""

    engine: Engine
    loss: float
    observed: np.ndarray
    gradients: dict[str, np.ndarray]
    spikes: dict[str, np.ndarray]


def run(
    make: Make,
    network: Network,
    inputs: Inputs,
    loss: Loss | None = None,
    targets: Any = None,
    *,
    window: float | None = None,
    tolerance: float = 1e-10,
    **options: Any,
) -> Run:
    """A batch forward and backward; other options are the plan's."""
    loss = loss or Polynomial()
    plan = EnginePlan.of(network, loss.observables, window=window, tolerance=tolerance, **options)
    engine = make(plan)
    engine.forward([_wide(inputs[i.name]) for i in network.inputs])
    observed = engine.observed()
    targets = np.zeros(len(observed[0]), dtype=int) if targets is None else targets
    value, derivatives = evaluated(loss, shown(loss, observed), targets)
    engine.pull(derivatives)
    return Run(
        engine,
        value.value,
        observed[0],
        _gradients(engine, network, inputs),
        {p.name: engine.spike_times(k) for k, p in enumerate(network.populations) if p.model.spiking},
    )


def _wide(times: np.ndarray) -> np.ndarray:
    return times if times.ndim == 3 else times[..., None]


def _gradients(engine: Engine, network: Network, inputs: Inputs) -> dict[str, np.ndarray]:
    result = {}
    for k, q in enumerate(network.projections):
        if "w" in q.learnable:
            result[f"{q.name}.w"] = engine.weight_gradient(k)
        if "delay" in q.learnable:
            result[f"{q.name}.delay"] = engine.delay_gradient(k)
    for k, p in enumerate(network.populations):
        for name in p.learnable:
            g = engine.parameter_gradient(k, name)
            result[f"{p.name}.{name}"] = g if np.ndim(p.value(name)) else g.sum()
    for k, i in enumerate(network.inputs):
        result[f"{i.name}.times"] = engine.input_gradient(k).reshape(inputs[i.name].shape)
    return result


def assert_agrees(
    found: Run,
    reference: oracle.OracleGradient,
    *,
    time: float = 1e-12,
    gradient: float = 1e-9,
    hardly: float = 0.0,
) -> None:
    """The same spikes to `time` seconds, the same loss and gradients to `gradient` relative to each array's largest.

    Where that is below `hardly` times what the loss itself amounts to (per ms for times and delays), to the latter: a
    sum that cancels has no digits of its own.
    """
    for name, times in found.spikes.items():
        assert times.shape == reference.spikes[name].shape, name
        np.testing.assert_allclose(times, reference.spikes[name], rtol=0, atol=time, err_msg=name)
    np.testing.assert_allclose(found.loss, reference.loss, rtol=gradient, atol=1e-300)
    assert found.gradients.keys() == reference.gradients.keys()
    for key, value in reference.gradients.items():
        per = 1e3 if key.endswith((".delay", ".times")) else 1.0
        scale = max(np.abs(value).max(initial=0.0), hardly * per * max(1.0, abs(reference.loss)))
        np.testing.assert_allclose(found.gradients[key], value, rtol=0, atol=gradient * scale, err_msg=key)


def check(
    make: Make,
    network: Network,
    inputs: Inputs,
    loss: Loss | None = None,
    targets: Any = None,
    *,
    window: float | None = None,
    reference: oracle.OracleGradient | None = None,
    **bounds: float,
) -> Run:
    """Run an engine and compare it with the reference, which is made if it isn't given."""
    found = run(make, network, inputs, loss, targets, window=window)
    assert_agrees(found, reference or reference_of(network, inputs, loss, targets), **bounds)
    return found


def reference_of(
    network: Network, inputs: Inputs, loss: Loss | None = None, targets: Any = None
) -> oracle.OracleGradient:
    """The reference for a linear network."""
    trials = len(next(iter(inputs.values()))) if inputs else 1
    targets = np.zeros(trials, dtype=int) if targets is None else targets
    return oracle.gradient(network, inputs, loss or Polynomial(), targets, method="matrix-exponential")


def random_network(
    model: Model,
    scale: float,
    seed: int,
    *,
    readout: Model | None = None,
    recurrent: float = 0.0,
    delay: str = "none",
    masked: bool = False,
    own: bool = False,
    duration: float = 30 * MS,
    trials: int = 2,
) -> tuple[Network, Inputs]:
    """Two inputs, two hidden populations and an output; everything learnable.

    Parameters
    ----------
    scale : float
        Of the weights.
    recurrent : float
        Size of the weights of both signs inside and between the hidden populations, relative to `scale`.
    delay : {"none", "common", "each"}
        Of all projections, or of each connection.
    masked : bool
        Whether connections are missing, all of some sources among them.
    own : bool
        Whether every neuron has its own parameters.
    """
    rng = np.random.default_rng(seed)
    readout = readout or model

    def population(name: str, n: int, m: Model) -> Population:
        values = {p: q.value * rng.uniform(0.95, 1.05, n) for p, q in m.parameters.items() if q.value and own}
        return Population(name, n, m, values, tuple(m.parameters))

    populations = (population("first", 4, model), population("second", 3, model), population("out", 2, readout))
    size = {"a": 3, "b": 2, **{p.name: p.n for p in populations}}
    projections = []
    ends = [("a", "first", 1.0), ("b", "first", 0.6), ("first", "second", 0.7), ("b", "second", 1.0)]
    ends += [("first", "out", 0.6), ("second", "out", 0.8)]
    if recurrent:
        ends += [("first", "first", -recurrent), ("second", "first", -recurrent), ("second", "second", -recurrent)]
    for source, target, strength in ends:
        model_of = readout if target == "out" else model
        for receptor in model_of.receptors:
            shape = (size[source], size[target])
            weights = scale * abs(strength) * rng.uniform(0.4, 1.4, shape)
            if strength < 0:
                weights *= rng.choice([-1.0, 1.0], shape)
            mask = rng.uniform(size=shape) < 0.7 if masked else None
            delays: Any = 0.0
            if delay == "common":
                delays = float(rng.uniform(0.1, 3) * MS)
            elif delay == "each":
                delays = rng.uniform(0.1, 3, shape) * MS
            learnable = ("w",) if delay == "none" else ("w", "delay")
            name = f"{source}_{target}_{receptor}"
            projections.append(Projection(name, source, target, weights, receptor, mask, learnable, delays))
    network = Network(
        "random", (SpikeInput("a", 3), SpikeInput("b", 2)), populations, tuple(projections), "out", duration
    )
    return network, {
        "a": np.sort(rng.uniform(0.2 * MS, 0.6 * duration, (trials, 3, 2)), axis=2),
        "b": np.sort(rng.uniform(0.2 * MS, 0.6 * duration, (trials, 2, 3)), axis=2),
    }
