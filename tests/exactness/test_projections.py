"""Dense and sparse projections on Brian2's runtime targets equal ordinary Synapses: loss and gradients to 1e-10."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest

from snnmodels.eventprop import Probe, Simulation, probe
from snnmodels.eventprop.probe import SmoothMaxima, SmoothSpikeTimes
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model
from tests.exactness.networks import LINEAR, MS, NONLINEAR, RESONANT, TARGETS, chain, inputs, library_probe
from tests.exactness.test_networks import excitatory_inhibitory, kink_network

SLOW = pytest.mark.slow
EVERY = {**LINEAR, RESONANT: 0, **dict.fromkeys(NONLINEAR, 0)}
# closed form, arrivals that fire, an observed maximum, Taylor series: these stand for the rest in the quick run
QUICK = ("lif+exp_synapse", "lif+delta_synapse", "leaky_integrator+exp_synapse", "eif+exp_synapse")
MODELS = [pytest.param(name, marks=[] if name in QUICK else SLOW) for name in EVERY]
RUNTIMES = [
    "numpy",
    pytest.param("cython", marks=[SLOW, pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")]),
]
every_runtime = pytest.mark.parametrize("target", RUNTIMES)


def assert_as_synapses(case: Probe, target: str, **options: object) -> None:
    """Equal results of both forms, in a batch that isn't full."""
    outcomes = []
    for projections in ("synapses", "dense"):
        keywords = {"batch_size": len(case.targets) + 1, "dt": 0.5 * MS, "target": target, **options}
        with Simulation(case.network, case.loss, projections=projections, **keywords) as s:  # type: ignore[arg-type]
            outcomes.append(s.run(case.inputs, case.targets))
    expected, found = outcomes
    assert found.loss == pytest.approx(expected.loss, rel=1e-10)
    assert found.spikes == expected.spikes
    assert found.unresolved == expected.unresolved
    assert found.smallest_gdot == pytest.approx(expected.smallest_gdot, rel=1e-10)
    assert any(np.any(g) for g in expected.gradients.values())
    assert found.gradients.keys() == expected.gradients.keys()
    for key, value in expected.gradients.items():
        assert np.linalg.norm(found.gradients[key] - value) <= 1e-10 * np.linalg.norm(value), key


@every_runtime
@pytest.mark.parametrize("timing", ["precise", pytest.param("grid", marks=SLOW)])
@pytest.mark.parametrize("name", MODELS)
def test_every_model(name: str, timing: str, target: str) -> None:
    assert_as_synapses(library_probe(name, EVERY[name]), target, timing=timing)


def masked(case: Probe) -> Probe:
    """The same with a third of the connections gone, one source that reaches nothing, and the rest of them stronger."""
    rng = np.random.default_rng(1)
    projections = []
    for q in case.network.projections:
        mask = rng.uniform(size=q.weights.shape) < 2 / 3
        mask[0], mask[-1] = q.source != "input", True
        projections.append(dataclasses.replace(q, weights=2 * q.weights * mask, mask=mask))
    return dataclasses.replace(case, network=dataclasses.replace(case.network, projections=tuple(projections)))


@every_runtime
@pytest.mark.parametrize("timing", ["precise", pytest.param("grid", marks=SLOW)])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_with_masks(name: str, timing: str, target: str) -> None:
    assert_as_synapses(masked(library_probe(name, EVERY[name])), target, timing=timing)


@every_runtime
@pytest.mark.parametrize("block", [pytest.param(1, marks=SLOW), 5])
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("name", ["lif+exp_synapse", "lif+delta_synapse", "leaky_integrator+exp_synapse"])
def test_steps_in_several_blocks(
    name: str, mask: bool, block: int, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snnmodels.brian.vectorised.projections.BLOCK", block)
    case = library_probe(name, EVERY[name])
    # many arrivals of one step, whose order matters where a target takes note of the first and the last
    together = {k: np.round(t / (4 * MS)) * 4 * MS + 0.1 * MS for k, t in case.inputs.items()}
    case = dataclasses.replace(case, inputs=together)
    assert_as_synapses(masked(case) if mask else case, target)


@every_runtime
@pytest.mark.parametrize("mask", [False, True])
def test_recurrent_networks(mask: bool, target: str) -> None:
    network, times = excitatory_inhibitory(5)
    case = Probe(network, times, SmoothSpikeTimes(), TARGETS)
    assert_as_synapses(masked(case) if mask else case, target)


@SLOW
@every_runtime
@pytest.mark.parametrize("name", ["lif+exp_synapse", "lif+delta_synapse", "eif+exp_synapse"])
def test_recurrent_probes(name: str, target: str) -> None:
    case = probe(load_model(name), recurrent=True)
    for each in (case, masked(case)):
        assert_as_synapses(each, target)


@every_runtime
@pytest.mark.parametrize("arrival", [5.2, 5.0])
@pytest.mark.parametrize("mask", [False, True])
def test_maximum_on_a_kink(arrival: float, mask: bool, target: str) -> None:
    network = kink_network((1.0, -6.0))
    if mask:
        projections = (dataclasses.replace(q, mask=np.ones(q.weights.shape, dtype=bool)) for q in network.projections)
        network = dataclasses.replace(network, projections=tuple(projections))
    times = {"input": np.array([[2.13, arrival]]) * MS}
    assert_as_synapses(Probe(network, times, SmoothMaxima("v", 1.0), TARGETS[:1]), target)


@every_runtime
def test_parameters_per_neuron_and_several_spikes(target: str) -> None:
    values = {"tau_m": np.array([15, 20, 26]) * MS, "v_th": np.array([0.9, 1, 1.1])}
    for mask in (False, True):
        network = chain(load_model("lif+exp_synapse"), (2.5, 3.0), values, mask=mask)
        assert_as_synapses(Probe(network, inputs(spikes=3), SmoothSpikeTimes(), TARGETS), target)


@every_runtime
def test_without_the_gradients_of_some_things(target: str) -> None:
    network = chain(load_model("lif+exp_synapse"), (2.5, 3.0))
    first, second = network.projections
    network = dataclasses.replace(network, projections=(dataclasses.replace(first, learnable=False), second))
    case = Probe(network, inputs(), SmoothSpikeTimes(), TARGETS)
    assert_as_synapses(case, target)
    assert_as_synapses(case, target, input_gradients=False)


@pytest.mark.parametrize("mask", [False, True])
def test_weights_take_no_more_memory_for_more_trials(mask: bool) -> None:
    lif = load_model("lif+exp_synapse")
    rng = np.random.default_rng(0)
    there = rng.uniform(size=(7, 5)) < 0.5 if mask else None
    network = Network(
        "one_layer",
        (SpikeInput("input", 7),),
        (Population("output", 5, lif),),
        (Projection("w_in", "input", "output", np.ones((7, 5)), mask=there),),
        "output",
        10 * MS,
    )
    sizes = {}
    for batch_size in (1, 16):
        with Simulation(network, SmoothSpikeTimes(), batch_size=batch_size, dt=0.5 * MS, projections="dense") as s:
            session = s._session
            arrays = {k: session.read(k) for k in ("w_in.w", "w_in.gw")}
            objects = [*session.assembly.forward.objects, *session.assembly.backward.objects]  # type: ignore[attr-defined]
            # whatever the projection's code holds that belongs to no population or input
            for x in objects:
                if x.name.startswith("w_in"):
                    owned = {v.owner.name: v for v in x.variables.values() if hasattr(v, "owner") and v.owner}
                    arrays |= {v.name: v.get_value() for k, v in owned.items() if k.startswith("w_in")}
            sizes[batch_size] = {k: np.size(v) for k, v in arrays.items()}
    connections = 35 if there is None else int(there.sum())
    assert sizes[1] == sizes[16]
    assert sizes[16]["w_in.w"] == sizes[16]["w_in.gw"] == connections
    if mask:
        assert (sizes[16]["rows"], sizes[16]["columns"]) == (8, connections)
