"""Networks that the exactness tests share, and what it means to agree."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest

from snnmodels import oracle
from snnmodels.gradients import Outcome, Probe, Simulation, probe
from snnmodels.gradients.probe import SmoothSpikeTimes
from snnmodels.losses.base import Loss
from snnmodels.symbolic.declaration import hybrid_system
from snnmodels.templates import Model, Network, Population, Projection, SpikeInput, load_model
from tests.needs import HAS_COMPILER

MS = 1e-3
SLOW = pytest.mark.slow
LIF = load_model("lif+exp_synapse")

LINEAR = (
    "lif+exp_synapse",
    "lif+delta_synapse",
    "lif+alpha_synapse",
    "leaky_integrator+exp_synapse",
    "leaky_integrator+alpha_synapse",
    "leaky_integrator+delta_synapse",
    "integrate_and_fire+exp_synapse",
    "integrate_and_fire+delta_synapse",
    "lif+exp_synapse+adaptive_threshold",
    "lif+exp_synapse+current_adaptation",
    "lif+exp_synapse+current_adaptation+subthreshold_adaptation",
    "lif+exp_synapse+energy_threshold",
    "lif+exp_synapse+population_trace+feedback_inhibition",
    "lif+exp_synapse+refractory",
    "lif+delta_synapse+refractory",
    "lif+alpha_synapse+adaptive_threshold+refractory",
)
NONLINEAR = (
    "qif+exp_synapse",
    "eif+exp_synapse",
    "qif+delta_synapse",
    "eif+alpha_synapse+current_adaptation",
    "qif+exp_synapse+refractory",
)


class Bounds(NamedTuple):
    """How far spike times (seconds) and gradients (relative in norm) may be from the reference's."""

    time: float
    gradient: float


EXACT, NEAR = Bounds(1e-12, 1e-9), Bounds(1e-9, 1e-6)


@functools.cache
def library_probe(name: str, seed: int = 0, recurrent: bool = False) -> Probe:
    """The network made for a model of the library; one trial where it is nonlinear."""
    model = load_model(name)
    linear = hybrid_system(model).is_linear
    quick = "numpy" if linear or not HAS_COMPILER else "cpp_standalone"
    return probe(model, seed=seed, trials=2 if linear else 1, recurrent=recurrent, target=quick)


class Case(NamedTuple):
    """A network, what goes into it, and a loss on what comes out."""

    network: Network
    inputs: Mapping[str, np.ndarray]
    loss: Loss = SmoothSpikeTimes()
    targets: Any = None

    @property
    def trials(self) -> int:
        return len(next(iter(self.inputs.values())))

    @property
    def labels(self) -> Any:
        return np.zeros(self.trials, dtype=int) if self.targets is None else self.targets


class Found(NamedTuple):
    """What a simulation gave."""

    outcome: Outcome
    spikes: dict[str, np.ndarray]


def case_of(p: Probe) -> Case:
    return Case(p.network, p.inputs, p.loss, p.targets)


def simulated(case: Case, target: str = "numpy", **options: Any) -> Found:
    """One batch with its gradient."""
    with Simulation(case.network, case.loss, batch_size=case.trials, target=target, **options) as s:  # type: ignore[arg-type]
        found = s.run(case.inputs, case.labels)
        found = dataclasses.replace(found, ties=s.ties)  # counted, too, where a run leaves that out
        return Found(found, {p.name: s.spike_times(p.name) for p in case.network.populations if p.model.spiking})


def reference(case: Case) -> oracle.OracleGradient:
    """The event-driven reference, which knows nothing of engines."""
    linear = all(hybrid_system(p.model).is_linear for p in case.network.populations)
    method: oracle.Method = "matrix-exponential" if linear else "runge-kutta"
    return oracle.gradient(case.network, case.inputs, case.loss, case.labels, method=method)


def assert_agrees(found: Found, expected: oracle.OracleGradient | Found, bounds: Bounds, note: str = "") -> None:
    """The same spikes, the same loss, the same gradient by everything.

    A gradient that cancels (of a softmax, by what moves all outputs alike) has no digits of its own: it is compared
    with a thousandth of the loss.
    """
    spikes = expected.spikes
    other = expected.outcome if isinstance(expected, Found) else expected
    for name, times in found.spikes.items():
        assert times.shape == spikes[name].shape, f"{note} {name}"
        np.testing.assert_allclose(times, spikes[name], rtol=0, atol=bounds.time, err_msg=f"{note} {name}")
    np.testing.assert_allclose(found.outcome.loss, other.loss, rtol=bounds.gradient, err_msg=note)
    ties = expected.outcome.ties if isinstance(expected, Found) else expected.simulation.ties
    assert found.outcome.ties == ties, note
    assert found.outcome.gradients.keys() == other.gradients.keys()
    for key, value in other.gradients.items():
        off = np.linalg.norm(found.outcome.gradients[key] - value)
        size = max(float(np.linalg.norm(value)), 1e-3 * abs(other.loss))
        assert off <= bounds.gradient * size, f"{note} {key}: {off} of {size}"


def check(case: Case, target: str = "numpy", bounds: Bounds = EXACT, **options: Any) -> Found:
    """Simulate and compare with the reference."""
    found = simulated(case, target, **options)
    assert_agrees(found, reference(case), bounds)
    return found


def chain(
    model: Model,
    scale: tuple[float, float],
    parameters: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    duration: float = 30 * MS,
    mask: bool = False,
    delay: Any = 0.0,
) -> Network:
    """4-3-2 with weights of about the given size, everything learnable; arrays are parameters of those they fit."""
    rng = np.random.default_rng(seed)
    masks = (rng.uniform(size=(4, 3)) < 0.7, rng.uniform(size=(3, 2)) < 0.8) if mask else (None, None)
    own = [{k: v for k, v in (parameters or {}).items() if np.shape(v) in ((), (n,))} for n in (3, 2)]
    populations = tuple(
        Population(name, n, model, values, tuple(model.parameters))
        for name, n, values in (("hidden", 3, own[0]), ("output", 2, own[1]))
    )
    weights = scale[0] * rng.uniform(0.5, 1.5, (4, 3)), scale[1] * rng.uniform(0.5, 1.5, (3, 2))
    receptor = next(iter(model.receptors))
    learnable = ("w", "delay") if np.any(delay) else ("w",)
    projections = tuple(
        Projection(name, source, target, w, receptor, mask=m, learnable=learnable, delay=delay)
        for (name, source, target), w, m in zip(
            (("w_in", "input", "hidden"), ("w_out", "hidden", "output")), weights, masks, strict=True
        )
    )
    return Network("chain", (SpikeInput("input", 4),), populations, projections, "output", duration)


def inputs(
    n: int = 4, *, seed: int = 0, trials: int = 2, last: float = 12 * MS, spikes: int = 1
) -> dict[str, np.ndarray]:
    """Random input times."""
    rng = np.random.default_rng(100 + seed)
    return {"input": np.sort(rng.uniform(0.3 * MS, last, (trials, n, spikes)), axis=2)}


def one(weights: Any, times: Any, model: Model = LIF, *, duration: float = 30 * MS, **parameters: Any) -> Case:
    """One neuron, one trial, one source for each weight; everything learnable. Times in milliseconds."""
    weights = np.asarray(weights, dtype=float)
    network = Network(
        "one",
        (SpikeInput("input", weights.size),),
        (Population("output", 1, model, parameters, tuple(model.parameters)),),
        (Projection("w_in", "input", "output", weights[:, None], next(iter(model.receptors))),),
        "output",
        duration,
    )
    return Case(network, {"input": np.asarray(times, dtype=float)[None] * MS})
