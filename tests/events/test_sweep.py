"""Populations without feedback, swept as a whole (runtime/sweep.h), beside the general way and the reference."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from snnmodels.targets.cpp.engine import CppEngine
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model
from tests.events.agreement import Run, assert_agrees, reference_of, run
from tests.oracle.networks import MS, SumOfMaxima

# what a weight is like that makes a few spikes
SPIKING = {
    "lif+exp_synapse": 0.5,
    "lif+alpha_synapse": 0.5,
    "lif+exp_synapse+adaptive_threshold": 0.5,
    "integrate_and_fire+exp_synapse": 0.12,
}
READOUTS = ("leaky_integrator+exp_synapse", "leaky_integrator+alpha_synapse")


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A network whose populations have no feedback, and inputs for it."""

    network: Network
    inputs: dict[str, np.ndarray]


def draw(seed: int, *, readout: bool, trials: int = 2) -> Drawn:
    """Two inputs, one to three populations of up to 70 neurons, some projections that leave one out."""
    rng = np.random.default_rng([31, seed])
    inputs = (SpikeInput("a", int(rng.integers(3, 12))), SpikeInput("b", int(rng.integers(3, 12))))
    populations: list[Population] = []
    projections: list[Projection] = []
    for k in range(int(rng.integers(1, 4)) + readout):
        last = readout and populations and (k == 3 or rng.random() < 0.5 or k == 1)
        name = str(rng.choice(READOUTS if last else list(SPIKING)))
        model = load_model(name)
        given = {p: model.parameters[p].value for p in ("tau_m", "tau_syn") if p in model.parameters}
        values = {p: value * rng.uniform(0.7, 1.4) for p, value in given.items()}
        if len(values) == 2 and rng.random() < 0.2:
            values = dict.fromkeys(values, 7 * MS)  # equal time constants
        sources = [*inputs, *populations] if k == 0 or rng.random() < 0.4 else [populations[-1]]
        p = Population(f"p{k}", int(rng.integers(1, 71)), model, values)
        for s in sources:
            size = SPIKING.get(name, 1.0) * (4.0 if isinstance(s, SpikeInput) else 10.0 / s.n)
            w = size * float(rng.choice([1.0, 2.0])) * rng.normal(0.4, 0.6, (s.n, p.n))
            delay = float(rng.choice([0.0, 0.0, 0.3, 6.0])) * MS
            receptor = str(rng.choice(list(model.receptors)))
            learnable = ("w", "delay") if rng.random() < 0.5 else ("w",)
            name_of = f"q{len(projections)}"
            projections.append(Projection(name_of, s.name, p.name, w, receptor, None, learnable, delay=delay))
        populations.append(p)
        if last:
            break
    spikes = {}
    for s in inputs:
        times = rng.uniform(0, 25 * MS, (trials, s.n, int(rng.integers(1, 4))))
        if rng.random() < 0.4:
            times = np.round(times, 3)  # a raster of 1 ms: simultaneous inputs
        times[rng.random(times.shape) < 0.2] = np.inf
        spikes[s.name] = np.sort(times, axis=2)
    duration = float(rng.uniform(30, 45)) * MS
    network = Network("swept", inputs, tuple(populations), tuple(projections), populations[-1].name, duration)
    return Drawn(network, spikes)


def loss_of(network: Network) -> Any:
    return None if network.populations[-1].model.spiking else SumOfMaxima()


@pytest.mark.parametrize("window", [None, 0.3 * MS, 1.0])
@pytest.mark.parametrize("readout", [False, True])
def test_a_sweep_gives_what_the_general_way_gives(readout: bool, window: float | None) -> None:
    spikes, differ = 0, 0
    for seed in range(8):
        drawn = draw(seed, readout=readout)

        def by(sweep: bool, drawn: Drawn = drawn) -> Run:
            make = lambda plan: CppEngine(plan, trials=2, sweep=sweep)  # noqa: E731
            return run(make, drawn.network, drawn.inputs, loss_of(drawn.network), window=window)

        swept, other = by(True), by(False)
        assert swept.engine.ties == other.engine.ties
        np.testing.assert_allclose(swept.observed, other.observed, rtol=0, atol=1e-12)
        for name, times in other.spikes.items():
            np.testing.assert_allclose(swept.spikes[name], times, rtol=0, atol=1e-14)
            spikes += int(np.isfinite(times).sum())
        for key, value in other.gradients.items():
            atol = 1e-11 * np.abs(value).max(initial=0)
            np.testing.assert_allclose(swept.gradients[key], value, rtol=0, atol=atol, err_msg=key)
            differ += not np.array_equal(swept.gradients[key], value)
        swept.engine.close(), other.engine.close()
    assert spikes > 1000
    assert differ, "two ways that round alike everywhere are one"


@pytest.mark.parametrize("readout", [False, True])
@pytest.mark.parametrize("seed", range(8, 12))
def test_a_sweep_agrees_with_the_reference(seed: int, readout: bool) -> None:
    drawn = draw(seed, readout=readout, trials=1)
    loss = loss_of(drawn.network)
    found = run(lambda plan: CppEngine(plan, trials=1), drawn.network, drawn.inputs, loss)
    found.engine.close()
    assert_agrees(found, reference_of(drawn.network, drawn.inputs, loss))
