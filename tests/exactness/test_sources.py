"""States that live with the sources of a synapse, and the amplitudes that they set: reference, closed forms, Brian2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brian2 import Network as BrianNetwork
from brian2 import SpikeGeneratorGroup, SpikeMonitor, ms, prefs, second

from snnmodels.brian import neuron_group, synapses
from snnmodels.events.engine import SimulationError
from snnmodels.gradients import GridSimulation, Simulation
from snnmodels.gradients.probe import SmoothMaxima, SmoothSpikeTimes
from snnmodels.losses.observables import Samples, SpikeTimes
from snnmodels.symbolic.declaration import hybrid_system
from snnmodels.symbolic.parsing import UnsupportedExpression
from snnmodels.templates import Model, Network, Population, Projection, SpikeInput, TemplateError, load_model
from tests.exactness.networks import EXACT, MS, NEAR, SLOW, Case, check
from tests.needs import COMPILER

PLASTIC = {"tau_rec": 30 * MS, "tau_fac": 20 * MS, "U": 0.4}
SOURCE = '''
[source]
equations = """
dx/dt = (1 - x)/tau_rec : 1
du/dt = (y - u)/tau_fac : 1
dy/dt = -y/tau_rec : 1
"""
on_pre = ["u += U*(1 - u)", "amplitude = u*x + 0.2*y", "x -= u*x", "y += U/2 - u*y"]
states = { x = { initial = "x_0" }, y = { initial = "U/3" } }
'''
DELTA = (
    """
kind = "synapse"
title = "Delta synapse with resources"
description = "For a test."
on_pre = "v += w"
weight = { unit = "1" }
"""
    + SOURCE
    + """
[parameters]
tau_rec = { default = "30*ms", unit = "second", description = "recovery" }
tau_fac = { default = "20*ms", unit = "second", description = "decay" }
U = { default = 0.4, unit = "1", description = "use" }
x_0 = { default = 0.8, unit = "1", description = "resources at time 0" }
"""
)


def drawn(
    model: Model, seed: int, *, weight: float, delays: str = "one", recurrent: bool = True, **more: float
) -> Case:
    """Inputs that spike six times, four plastic neurons that also reach each other, and three that read them."""
    rng = np.random.default_rng(seed)
    receptor = next(iter(model.receptors))
    values = {k: v for k, v in PLASTIC.items() if k in model.parameters} | more
    learnable = [n for n in model.parameters if n != "v_rest"]

    def delay(shape: tuple[int, int], shortest: float) -> Any:
        each = rng.uniform(shortest, 3 * MS, shape)
        return {"each": each, "one": 0.7 * MS, "none": 0.0}[delays]

    projections = [
        Projection("in", "input", "a", weight * rng.uniform(0.8, 2.2, (3, 4)), receptor, delay=delay((3, 4), 0.0)),
        Projection("out", "a", "b", rng.uniform(2, 5, (4, 3))),
    ]
    if recurrent:
        own = weight * rng.normal(0.2, 0.5, (4, 4))
        mask = rng.random((4, 4)) < 0.7
        projections.append(Projection("own", "a", "a", own, receptor, mask=mask, delay=delay((4, 4), 0.1 * MS)))
    projections = [
        Projection(q.name, q.source, q.target, q.weights, q.receptor, q.mask, ("w", "delay"), q.delay)
        for q in projections
    ]
    network = Network(
        "plastic",
        (SpikeInput("input", 3),),
        (Population("a", 4, model, values, learnable), Population("b", 3, load_model("lif"), {}, ["tau_m"])),
        tuple(projections),
        "b",
        40 * MS,
    )
    return Case(network, {"input": np.sort(rng.uniform(0, 35 * MS, (1, 3, 5)), axis=2)})


@pytest.fixture
def interpreted() -> Iterator[None]:
    """Brian2 compiles nothing."""
    before = prefs.codegen.target
    prefs.codegen.target = "numpy"
    yield
    prefs.codegen.target = before


@pytest.fixture
def delta(tmp_path: Path) -> Model:
    file = tmp_path / "plastic_delta.toml"
    file.write_text(DELTA)
    return load_model("lif", file, "refractory")


@pytest.mark.parametrize("delays", ["each", pytest.param("one", marks=SLOW)])
@pytest.mark.parametrize("target", ["numpy", pytest.param("cpp_standalone", marks=COMPILER)])
def test_networks_with_plastic_synapses_are_those_of_the_reference(target, delays):
    for recurrent in (False, True):
        case = drawn(load_model("lif+tsodyks_markram"), 1, weight=10, delays=delays, recurrent=recurrent)
        found = check(case, target, EXACT)
        for key in ("in.w", "in.delay", "a.U", "a.tau_rec", "a.tau_fac", "input.times"):
            assert np.abs(found.outcome.gradients[key]).max() > 1e-3 * abs(found.outcome.loss), key


@pytest.mark.parametrize("target", ["numpy", pytest.param("cpp_standalone", marks=[COMPILER, SLOW])])
@pytest.mark.parametrize("delays", ["none", pytest.param("one", marks=SLOW)])
def test_what_arrives_at_once_makes_a_spike_with_its_amplitude(delta, target, delays):
    """Three states in a chain, one of them from a parameter, another from a product; cascades without delay."""
    case = drawn(delta, 3, weight=0.9, delays=delays, I_syn=3.0)
    found = check(case, target, EXACT)
    assert found.outcome.gradients["a.x_0"] != 0
    assert np.isfinite(found.spikes["a"]).sum() > 10


@pytest.mark.parametrize("target", ["numpy", pytest.param("cpp_standalone", marks=[COMPILER, SLOW])])
def test_maxima_and_samples_move_with_the_amplitude(target):
    model = load_model("leaky_integrator+tsodyks_markram")
    case = drawn(load_model("lif+tsodyks_markram"), 7, weight=10)
    network = case.network
    values = dict(PLASTIC)
    populations = (network.populations[0], Population("b", 3, model, values, ["U", "tau_rec", "tau_fac", "tau_m"]))
    projections = [q if q.target == "a" else Projection("out", "a", "b", q.weights) for q in network.projections]
    watched = Network("watched", network.inputs, populations, tuple(projections), "b", network.duration)
    check(Case(watched, case.inputs, SmoothMaxima("v", 0.1)), target, EXACT)


@SLOW
@pytest.mark.parametrize("target", ["numpy", pytest.param("cpp_standalone", marks=COMPILER)])
def test_saturating_nmda_is_that_of_the_reference(target):
    model = load_model("lif_coba+nmda_saturating")
    population = Population("a", 2, model, {}, ("alpha_nmda", "tau_nmda", "E_nmda", "v_th"))
    weights = np.array([[40.0, 60.0], [50.0, 30.0]])
    network = Network(
        "nmda", (SpikeInput("input", 2),), (population,), (Projection("in", "input", "a", weights),), "a", 60 * MS
    )
    times = np.array([[[2.0, 6.0, 9.0, 30.0], [3.0, 4.0, 20.0, 40.0]]]) * MS
    found = check(Case(network, {"input": times}), target, NEAR)
    assert np.isfinite(found.spikes["a"]).sum() > 4


def jumps(model: Model, times: Any, **values: float) -> np.ndarray:
    """The amplitudes of one source's spikes, from what is left of the input just after them."""
    network = Network(
        "one",
        (SpikeInput("input", 1),),
        (Population("a", 1, model, {**values, "tau_syn": 1e-4}),),
        (Projection("in", "input", "a", np.ones((1, 1))),),
        "a",
        float(times[-1]) + MS,
    )
    interval = 1 * MS
    with Simulation(network, Samples(variable="I_syn", interval=interval)) as simulation:
        seen = simulation.forward({"input": np.asarray(times)[None, None]})
    after = np.round(np.asarray(times) / interval).astype(int)  # sampled a millisecond after each
    return np.asarray(seen)[0, 0, after] * np.exp(interval / 1e-4)


def test_amplitudes_are_those_of_the_closed_form():
    """Steady state at a rate, and the ratio of two pulses (Tsodyks, Pawelzik & Markram 1998, eqs. 2.2 and 2.4)."""
    model = load_model("leaky_integrator+tsodyks_markram")
    values = {"tau_rec": 100 * MS, "tau_fac": 50 * MS, "U": 0.3}
    interval = 20 * MS
    found = jumps(model, interval * np.arange(1, 41), **values)
    e, f = np.exp(-interval / values["tau_rec"]), np.exp(-interval / values["tau_fac"])
    u = values["U"] / (1 - (1 - values["U"]) * f)
    x = (1 - e) / (1 - (1 - u) * e)
    np.testing.assert_allclose(found[-1], u * x, rtol=1e-9)
    first, second_u = values["U"], values["U"] * f * (1 - values["U"]) + values["U"]
    np.testing.assert_allclose(found[0], first, rtol=1e-9)
    np.testing.assert_allclose(found[1], second_u * (1 - first * e), rtol=1e-9)
    assert found[1] / found[0] > 1 > found[-1] / found[0]  # facilitates, then depresses


@pytest.mark.parametrize("delay", [0.0, 1.3 * MS])
@pytest.mark.usefixtures("interpreted")
def test_plain_groups_of_brian2_follow(delay):
    """Brian2 is late by steps of its grid: less so with shorter ones."""
    model = load_model("lif+tsodyks_markram")
    times = np.array([2, 7, 9.5, 20, 30, 33, 50, 51, 60]) * MS
    network = Network(
        "one",
        (SpikeInput("input", 1),),
        (Population("a", 1, model, PLASTIC),),
        (Projection("in", "input", "a", np.full((1, 1), 45.0), delay=delay),),
        "a",
        70 * MS,
    )
    with Simulation(network, SpikeTimes()) as simulation:
        simulation.forward({"input": times[None, None]})
        exact = simulation.spike_times("a")[0, 0]
    late = []
    for dt in (40e-6, 10e-6):
        group = neuron_group(model, 1, dt=dt * second, tau_rec=30 * ms, tau_fac=20 * ms, U=0.4)
        source = SpikeGeneratorGroup(1, np.zeros(times.size, int), times * second, dt=dt * second)
        connections = synapses(model, source, group, delay=delay * second)
        connections.connect()
        connections.w = 45
        spikes = SpikeMonitor(group)
        BrianNetwork(group, source, connections, spikes).run(70 * ms)
        late.append(np.abs(np.array(spikes.t_) - exact).max())
    assert exact.size > 8
    assert late[1] < 0.5 * late[0] < 20 * 40e-6


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"amplitude = u*x + 0.2*y"', '"x = x"', "source.on_pre: sets no amplitude.*amplitude = u\\*x"),
        ('"amplitude = ', '"amplitude += ', "changes amplitude, which has no value yet"),
        (
            "dx/dt = (1 - x)/tau_rec",
            "dx/dt = (1 - v)/tau_rec",
            "uses 'v', which isn't a parameter, or a state of the source",
        ),
        ("dx/dt = (1 - x)/tau_rec : 1", "dx/dt = (1 - x) : 1", "source.equations.dx/dt"),
        ("u*x + 0.2*y", "u*x*tau_rec", "source.on_pre: 'u\\*x\\*tau_rec'"),
        ("x -= u*x", "z -= u*x", "assigns to 'z', no state"),
        ('x = { initial = "x_0" }', 'z = { initial = "x_0" }', "source.states.z: has no differential equation"),
        ("du/dt = (y - u)", "dv_th/dt = (y - v_th)", "already that of a variable of the model"),
        ("dy/dt = -y/tau_rec : 1", "y = 2*x : 1", "is a subexpression; write it out"),
        ("du/dt = (y - u)", "damplitude/dt = (y - amplitude)", "amplitude.*already that of another"),
        ("equations =", "equation =", "source.equation: unknown key"),
    ],
)
def test_a_wrong_source_is_refused(tmp_path, old, new, message):
    file = tmp_path / "wrong.toml"
    assert old in DELTA
    file.write_text(DELTA.replace(old, new, 1))
    with pytest.raises(TemplateError, match=message):
        load_model("lif", file)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("-y/tau_rec", "-y*x/tau_rec", "not linear in its states"),
        ("-y/tau_rec", "-y*int(x > 0.5)/tau_rec", "contains a condition"),
        ("-y/tau_rec", "-u/tau_rec", "drive each other in a loop"),
    ],
)
def test_what_has_no_closed_form_is_refused(tmp_path, old, new, message):
    file = tmp_path / "wrong.toml"
    file.write_text(DELTA.replace(old, new, 1))
    model = load_model("lif", file)
    case = drawn(load_model("lif+tsodyks_markram"), 0, weight=1)
    network = Network(
        "wrong",
        case.network.inputs,
        (Population("a", 4, model),),
        (Projection("in", "input", "a", np.ones((3, 4))),),
        "a",
        10 * MS,
    )
    with pytest.raises(UnsupportedExpression, match=message):
        Simulation(network, SmoothSpikeTimes())


@pytest.mark.parametrize("target", ["numpy", pytest.param("cpp_standalone", marks=COMPILER)])
def test_an_amplitude_that_is_not_finite_is_told(tmp_path, target):
    file = tmp_path / "growing.toml"
    file.write_text(DELTA.replace("dx/dt = (1 - x)/tau_rec", "dx/dt = x/tau_rec"))
    case = drawn(load_model("lif+tsodyks_markram"), 0, weight=1)
    population = Population("a", 4, load_model("lif", file), {"tau_rec": 1e-6})
    network = Network(
        "growing", case.network.inputs, (population,), (Projection("in", "input", "a", np.ones((3, 4))),), "a", 40 * MS
    )
    told = r"population 'a': the spike of neuron \d of a source at .* not finite"
    with Simulation(network, SpikeTimes(), target=target) as simulation, pytest.raises(SimulationError, match=told):
        simulation.forward(case.inputs)


def test_a_condition_may_stand_in_what_a_spike_does(tmp_path):
    file = tmp_path / "branching.toml"
    file.write_text(DELTA.replace('"amplitude = u*x + 0.2*y"', '"amplitude = u*x*(1 + int(x > 0.6))"'))
    found = check(drawn(load_model("lif", file, "refractory"), 3, weight=0.9, I_syn=3.0), "numpy", EXACT)
    assert np.isfinite(found.spikes["a"]).sum() > 10


def test_plain_groups_follow_states_with_equal_time_constants(delta, interpreted):
    times = np.array([2, 7, 9, 20, 30]) * MS
    values = {"tau_fac": 30 * ms, "tau_rec": 30 * ms, "I_syn": 3.0}
    group = neuron_group(delta, 1, dt=0.01 * ms, **values)
    source = SpikeGeneratorGroup(1, np.zeros(times.size, int), times * second, dt=0.01 * ms)
    connections = synapses(delta, source, group)
    connections.connect()
    connections.w = 0.5
    spikes = SpikeMonitor(group)
    BrianNetwork(group, source, connections, spikes).run(40 * ms)
    numbers = {k: float(v) for k, v in values.items()}
    network = Network(
        "one",
        (SpikeInput("input", 1),),
        (Population("a", 1, delta, numbers),),
        (Projection("in", "input", "a", np.full((1, 1), 0.5)),),
        "a",
        40 * MS,
    )
    with Simulation(network, SpikeTimes()) as simulation:
        simulation.forward({"input": times[None, None]})
        np.testing.assert_allclose(spikes.t_, simulation.spike_times("a")[0, 0], atol=0.1 * MS)


def test_values_for_each_neuron_are_refused():
    with pytest.raises(ValueError, match=r"'U' has a value for each neuron.*give one number; a second receptor"):
        Population("a", 2, load_model("lif+tsodyks_markram"), {"U": [0.2, 0.3]})


def test_the_grid_simulation_refuses_it():
    case = drawn(load_model("lif+tsodyks_markram"), 0, weight=1, delays="none", recurrent=False)
    network = Network(
        "grid",
        case.network.inputs,
        case.network.populations,
        tuple(Projection(q.name, q.source, q.target, q.weights) for q in case.network.projections),
        "b",
        10 * MS,
    )
    with pytest.raises((ValueError, SimulationError), match="its sources have states"):
        GridSimulation(network, SmoothSpikeTimes(), dt=0.1 * MS)


def test_what_an_ignored_part_of_an_arrival_would_be_is_not_guessed(tmp_path):
    text = DELTA.replace('on_pre = "v += w"', 'equations = "dz/dt = -z/tau_rec : 1"\non_pre = ["v += w", "z += v"]')
    file = tmp_path / "reading.toml"
    file.write_text(text)
    told = r"'v \+= w', which is ignored while v is held, and 'z \+= v' reads"
    with pytest.raises(UnsupportedExpression, match=told):
        hybrid_system(load_model("lif", file, "refractory"))
    file.write_text(text.replace('["v += w", "z += v"]', '["z += v", "v += w"]'))
    assert hybrid_system(load_model("lif", file, "refractory")).refractory is not None
