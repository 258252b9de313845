"""Scattered arrivals give the spikes and gradients of the reference and of the general way, however they come."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from benchmarks import cuba
from benchmarks.serving import Meter
from snnmodels.events.plan import EnginePlan
from snnmodels.losses import SpikeTimes
from snnmodels.targets.cpp.engine import CppEngine
from snnmodels.templates import Model, Network, Population, Projection, SpikeInput, load_model
from tests.events.agreement import Inputs, assert_agrees, reference_of, run
from tests.needs import COMPILER
from tests.oracle.networks import MS

pytestmark = COMPILER

# Models with the size of weights that makes a few spikes; of three states, and of more than a record of four holds
MODELS = {
    "lif+exp_synapse:exc+exp_synapse:inh": 1.6,
    "lif+alpha_synapse": 1.6,
    "lif+exp_synapse+current_adaptation": 1.6,
}
DELAYS = ("none", "common", "own", "tiny", "mixed")


FILES = Path(__file__).parents[1] / "files"
OWN = f"{FILES}/neurons/own_start.toml+exp_synapse:exc+exp_synapse:inh"
SCALED = f"{FILES}/neurons/own_start.toml+{FILES}/synapses/scaled.toml"
# and those that learn all of their parameters, most of them refractory; one has a scale of its synapses among them
LEARNING = {
    OWN: 2.2,
    SCALED: 2.2,
    "lif+exp_synapse+current_adaptation+refractory": 2.2,
    "lif+alpha_synapse+refractory": 2.2,
    "lif+alpha_synapse": 1.6,
}
CHEAP = tuple(LEARNING)[:1]


@functools.cache
def model(name: str) -> Model:
    """A model; with two synapses, the second one is slower."""
    return load_model(name)


def network(
    name: str, delays: str, seed: int, *, equal: bool = False, learns: bool = False
) -> tuple[Network, Inputs]:
    """Two sparse populations with weights of both signs, two inputs, of which one is dense, and an output.

    Parameters
    ----------
    delays : {"none", "common", "own", "tiny", "mixed"}
        Of all synapses: none, one for each projection, one for each synapse, such from zero on, all kinds.
    equal : bool
        Whether inputs come at the same times.
    learns : bool
        Whether the gradient by all parameters is wanted; the first population's neurons start where each likes.
    """
    rng = np.random.default_rng([11, seed])
    m, unit = model(name), (MODELS | LEARNING)[name]
    values = {"tau_syn_exc": 3 * MS, "tau_syn_inh": 8 * MS} if "tau_syn_exc" in m.parameters else {}
    sizes = {"first": int(rng.integers(12, 30)), "second": int(rng.integers(8, 16)), "out": 4}
    own = {"start": rng.uniform(0, 0.5, sizes["first"])} if "start" in m.parameters else {}
    populations = tuple(
        Population(p, n, m, values | (own if p == "first" else {}), tuple(m.parameters) if learns else ())
        for p, n in sizes.items()
    )
    size = {"dense": 6, "few": 8, **sizes}
    ends = [("dense", "first", 0.8), ("few", "first", 1.4), ("few", "second", 1.4)]
    ends += [("first", "first", 0.5), ("first", "second", 0.5), ("second", "first", -0.5), ("second", "second", 0.4)]
    ends += [("first", "out", 0.7), ("second", "out", 0.5)]
    projections = []
    for k, (source, target, strength) in enumerate(ends):
        shape = (size[source], size[target])
        w = unit * strength * rng.normal(0.7, 0.6, shape)
        mask = None if source == "dense" else rng.random(shape) < 0.25
        kind = str(rng.choice(["none", "common", "own"])) if delays == "mixed" else delays
        delay: float | np.ndarray = 0.0
        if kind == "common":
            delay = float(rng.choice([0.1, 1.5, 4.0])) * MS
        elif kind != "none":
            delay = rng.uniform(0 if kind == "tiny" else 0.6, 6, shape) * MS
        receptors = list(m.receptors)
        receptor = receptors[k % len(receptors)]
        projections.append(
            Projection(f"{source}_{target}", source, target, w, receptor, mask, ("w", "delay"), delay=delay)
        )
    inputs = {n: np.sort(rng.uniform(0, 20 * MS, (2, size[n], 3)), axis=2) for n in ("dense", "few")}
    if equal:
        inputs = {n: np.round(t, 3) for n, t in inputs.items()}
    net = Network(
        "sparse", (SpikeInput("dense", 6), SpikeInput("few", 8)), populations, tuple(projections), "out", 25 * MS
    )
    return net, inputs


def engine(plan: EnginePlan, scatter: bool | None) -> CppEngine:
    """An engine that scatters wherever it can, or never."""
    return CppEngine(plan, trials=2, scatter=scatter)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("delays", DELAYS)
def test_same_as_reference_and_as_general_way(name: str, delays: str) -> None:
    net, inputs = network(name, delays, len(name) + DELAYS.index(delays))
    reference = reference_of(net, inputs)
    assert np.isfinite(reference.spikes["first"]).sum() > 10
    for window in (None, 0.3 * MS):
        found = run(lambda plan: engine(plan, True), net, inputs, window=window)
        assert_agrees(found, reference)
    general = run(lambda plan: engine(plan, False), net, inputs)
    for population, times in general.spikes.items():
        np.testing.assert_allclose(found.spikes[population], times, rtol=0, atol=1e-13, err_msg=population)
    for key, value in general.gradients.items():
        np.testing.assert_allclose(found.gradients[key], value, rtol=0, atol=1e-10 * np.abs(value).max(), err_msg=key)


@pytest.mark.parametrize("delays", ["common", "own"])
def test_simultaneous_inputs(delays: str) -> None:
    net, inputs = network("lif+exp_synapse:exc+exp_synapse:inh", delays, 5, equal=True)
    assert_agrees(run(lambda plan: engine(plan, True), net, inputs), reference_of(net, inputs))


def test_same_in_every_run() -> None:
    net, inputs = network("lif+exp_synapse:exc+exp_synapse:inh", "mixed", 1)
    first, second = (run(lambda plan: engine(plan, True), net, inputs) for _ in range(2))
    for key, value in first.gradients.items():
        np.testing.assert_array_equal(second.gradients[key], value)


@pytest.mark.parametrize("delays", cuba.DELAYS)
def test_agrees_with_program_by_hand(delays: str) -> None:
    net, times = cuba.network(1000, delays)
    hand, package = cuba.ByHand(net, times), cuba.Package(net, times)
    for contender in (hand, package):
        contender.run(Meter())
    agreement = cuba.compare(hand.result(), package.result())
    assert agreement["same spikes in order"]
    assert agreement["times"] < 1e-13
    assert agreement["gradients"] < 1e-10


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in CHEAP else [pytest.mark.slow]) for n in LEARNING])
@pytest.mark.parametrize("delays", DELAYS)
def test_refractory_neurons_and_parameters(name: str, delays: str) -> None:
    net, inputs = network(name, delays, len(name) % 17 + DELAYS.index(delays), learns=True)
    plan = EnginePlan.of(net, [SpikeTimes()])
    assert all(p.rules.scatters for p in plan.populations)
    reference = reference_of(net, inputs)
    assert np.isfinite(reference.spikes["first"]).sum() > 10
    assert sum(np.any(g != 0) for key, g in reference.gradients.items() if key.startswith("first.")) > 4
    for window in (None, 0.3 * MS):
        assert_agrees(run(lambda plan: engine(plan, True), net, inputs, window=window), reference)


def test_a_neuron_that_is_above_its_threshold_when_released_goes_the_general_way() -> None:
    m = model(OWN)
    rng = np.random.default_rng(0)
    population = Population("p", 5, m, {"v_reset": 1.2, "start": np.linspace(0, 0.4, 5)}, tuple(m.parameters))
    ends = (("i", 3, 3.0), ("p", 5, 0.1))
    projections = tuple(
        Projection(f"q{source}", source, "p", rng.normal(w, 0.1, (n, 5)), "exc", rng.random((n, 5)) < 0.7, delay=MS)
        for source, n, w in ends
    )
    net = Network("n", (SpikeInput("i", 3),), (population,), projections, "p", 20 * MS)
    inputs = {"i": rng.uniform(0, 10 * MS, (2, 3, 1))}
    reference = reference_of(net, inputs)
    assert np.isfinite(reference.spikes["p"]).sum() > 20  # again and again, with every release
    assert_agrees(run(lambda plan: engine(plan, True), net, inputs), reference)


def test_general_way_where_states_are_read() -> None:
    m = model("lif+exp_synapse:exc+exp_synapse:inh")
    rng = np.random.default_rng(0)
    population = Population("p", 5, m, {"tau_m": rng.uniform(8, 12, 5) * MS}, ("tau_m",))
    projections = (Projection("q", "i", "p", rng.normal(3, 1, (3, 5)), "exc", rng.random((3, 5)) < 0.7),)
    net = Network("n", (SpikeInput("i", 3),), (population,), projections, "p", 20 * MS)
    plan = EnginePlan.of(net, [SpikeTimes()])
    assert not plan.populations[0].rules.scatters  # each neuron has a time constant of its own
    inputs = {"i": rng.uniform(0, 10 * MS, (2, 3, 1))}
    assert_agrees(run(lambda plan: engine(plan, True), net, inputs), reference_of(net, inputs))
