"""Populations without feedback, swept as a whole (runtime/sweep.h), beside the general way and the reference."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from snnmodels.events.plan import EnginePlan
from snnmodels.losses import SpikeTimes
from snnmodels.targets.cpp.engine import CppEngine
from snnmodels.targets.numpy.engine import NumpyEngine
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model
from tests.events.agreement import Run, assert_agrees, reference_of, run
from tests.oracle.networks import MS, Polynomial, SumOfMaxima

# what a weight is like that makes a few spikes
SPIKING = {
    "lif+exp_synapse": 0.5,
    "lif+alpha_synapse": 0.5,
    "lif+exp_synapse+adaptive_threshold": 0.5,
    "lif+exp_synapse+current_adaptation+subthreshold_adaptation": 0.6,  # its flow is a series
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
        elif len(values) == 2 and rng.random() < 0.25:
            values = {"tau_m": 1 * MS, "tau_syn": 20 * MS}
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


@pytest.mark.parametrize("window", [None, *(pytest.param(w, marks=pytest.mark.slow) for w in (0.3 * MS, 1.0))])
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
            atol = 3e-11 * np.abs(value).max(initial=0)  # one of the networks takes rounding 10^5 times
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


@pytest.mark.parametrize("n", [1, 8, 9, 16, 17])
def test_few_neurons_that_spike_often(n: int) -> None:
    """Up to two vectors of neurons are searched where they are, more of them as a list."""
    rng = np.random.default_rng(n)
    model = load_model("lif+exp_synapse")
    w = rng.uniform(2, 40, (4, n))  # several spikes of a neuron between two arrivals
    w[:, 0] = 40.0
    if n > 2:
        w[:, 1] = w[:, 2]  # spikes of two neurons at once
    populations, projections = (Population("p", n, model),), (Projection("q", "in", "p", w, "exp_synapse"),)
    net = Network("few", (SpikeInput("in", 4),), populations, projections, "p", 40 * MS)
    inputs = {"in": np.sort(np.round(rng.uniform(0, 30 * MS, (2, 4, 2)), 3), axis=2)}
    swept, other = (run(lambda plan, s=s: CppEngine(plan, trials=2, sweep=s), net, inputs) for s in (True, False))
    assert np.isfinite(swept.spikes["p"]).sum(axis=2).max() > 3 * 8  # of 8 arrivals
    assert swept.engine.ties == other.engine.ties > 0
    np.testing.assert_allclose(swept.spikes["p"], other.spikes["p"], rtol=0, atol=1e-14)
    np.testing.assert_allclose(swept.gradients["q.w"], other.gradients["q.w"], rtol=1e-10, atol=0)
    assert_agrees(swept, reference_of(net, inputs))
    swept.engine.close(), other.engine.close()


# time constants in ms, and weights that make a few spikes
STIFF = ((1, 20, 0.7, 0.2), (20, 1, 20, 18), (0.3, 60, 0.43, 0.12), (2, 2, 3, 2.2), (1000, 0.5, 1000, 1500))


def test_flows_that_a_long_window_would_amplify() -> None:
    """The time constants are far apart, so that costates carried to a late time and back would lose all digits."""
    model = load_model("lif+exp_synapse")
    rng = np.random.default_rng(0)
    for tau_m, tau_syn, w, v in STIFF:
        values = {"tau_m": tau_m * MS, "tau_syn": tau_syn * MS}
        populations = (Population("h", 6, model, values), Population("o", 3, model, values))
        projections = (
            Projection("ih", "in", "h", w * rng.uniform(0.2, 1, (5, 6)), "exp_synapse"),
            Projection("ho", "h", "o", v * rng.uniform(0.2, 1, (6, 3)), "exp_synapse"),
        )
        net = Network("stiff", (SpikeInput("in", 5),), populations, projections, "o", 60 * MS)
        inputs = {"in": np.sort(rng.uniform(0, 50 * MS, (1, 5, 1)), axis=2)}
        reference = reference_of(net, inputs)
        assert np.isfinite(reference.spikes["o"]).sum() > 2
        for window in (None, 5 * MS, 1.0):
            for ways in ({}, {"sweep": False}, {"scatter": True}):
                found = run(lambda plan, ways=ways: CppEngine(plan, **ways), net, inputs, window=window)
                found.engine.close()
                assert_agrees(found, reference)


def test_an_arrival_that_is_no_multiple_of_its_weight() -> None:
    """The gradient by a weight depends on it, whether times of inputs are differentiated by or not."""
    synapse = load_model("lif+exp_synapse").receptors["exp_synapse"]
    squared = dataclasses.replace(synapse, on_pre=(dataclasses.replace(synapse.on_pre[0], expression="w**2 + w"),))
    model = dataclasses.replace(load_model("lif+exp_synapse"), receptors={"exp_synapse": squared})
    rng = np.random.default_rng(3)
    population = Population("o", 6, model)
    projection = Projection("p", "in", "o", rng.normal(0.8, 0.5, (8, 6)), "exp_synapse")
    net = Network("squared", (SpikeInput("in", 8),), (population,), (projection,), "o", 60 * MS)
    inputs = {"in": np.sort(rng.uniform(0, 50 * MS, (2, 8, 1)), axis=2)}
    wanted = reference_of(net, inputs).gradients["p.w"]
    for sweep in (True, False):
        for timed in (True, False):
            plan = EnginePlan.of(net, [SpikeTimes()], input_gradients=timed)
            engine = CppEngine(plan, trials=2, sweep=sweep)
            engine.forward([inputs["in"]])
            value = Polynomial().evaluate(engine.spike_times(0), np.zeros(2, dtype=int))
            engine.pull([value.gradient])
            np.testing.assert_allclose(engine.weight_gradient(0), wanted, rtol=0, atol=1e-9 * np.abs(wanted).max())
            engine.close()


def test_times_that_only_rounding_tells_apart() -> None:
    model = load_model("lif+exp_synapse")
    projection = Projection("p", "in", "o", np.full((40, 1), 0.2), "exp_synapse")
    net = Network("close", (SpikeInput("in", 40),), (Population("o", 1, model),), (projection,), "o", 30 * MS)
    times = np.zeros((1, 40, 1))
    times[0, 7] = 1e-310
    assert_agrees(run(CppEngine, net, {"in": times}), reference_of(net, {"in": times}))


def test_scattering_counts_arrivals_that_meet() -> None:
    model = load_model("lif+exp_synapse")
    projection = Projection("p", "in", "o", np.full((4, 5), 0.1), "exp_synapse")
    net = Network("meet", (SpikeInput("in", 4),), (Population("o", 5, model),), (projection,), "o", 30 * MS)
    times = np.full((2, 4, 1), 4 * MS)
    times[1, 0] = 5 * MS
    for make in (CppEngine, lambda plan: CppEngine(plan, scatter=True), NumpyEngine):
        found = run(make, net, {"in": times})
        assert found.engine.ties == 2
        found.engine.close()


@pytest.mark.parametrize("sweep", [True, False])
def test_the_first_of_several_crossings_of_a_piece(sweep: bool) -> None:
    """Their rest is above threshold, so that what ends above it may have been there, and below it again, before."""
    rng = np.random.default_rng(1)
    n = 1000
    model = load_model("lif+alpha_synapse")
    model = dataclasses.replace(model, states=tuple(dataclasses.replace(s, initial="0") for s in model.states))
    values = {"v_rest": 1.05, "tau_m": 10 * MS, "tau_syn": 4 * MS, "v_reset": -3.0}
    w = np.stack([10 ** rng.uniform(-1, 1, n), -(10 ** rng.uniform(0, 1.5, n))])
    projection = Projection("p", "in", "o", w, "alpha_synapse")
    net = Network("several", (SpikeInput("in", 2),), (Population("o", n, model, values),), (projection,), "o", 100 * MS)
    inputs = {"in": np.array([0.5, 3.5])[None, :, None] * MS}
    found = run(lambda plan: CppEngine(plan, sweep=sweep), net, inputs, window=1.0)
    reference = run(NumpyEngine, net, inputs, window=1.0)
    found.engine.close()
    first = reference.spikes["o"][..., 0]
    assert ((first > 3.5 * MS) & (first < 5.5 * MS)).sum() > 30, "on the way up, before they are pulled down"
    np.testing.assert_allclose(found.spikes["o"], reference.spikes["o"], rtol=0, atol=1e-14)
