"""Models as ordinary Brian2 objects: against analytic solutions on numpy, and once as a C++ project."""

import dataclasses
import os
import subprocess
import sys
import textwrap

import brian2
import numpy as np
import pytest
import scipy.linalg
from brian2 import Network, SpikeGeneratorGroup, SpikeMonitor, StateMonitor, TimedArray, ms, mV, second

import snnmodels as snn
from snnmodels.brian.plain import integration_method, neuron_group, synapses
from snnmodels.losses import SpikeTimes
from snnmodels.oracle import simulate
from snnmodels.templates import TemplateError, load_model, network


@pytest.fixture(autouse=True)
def numpy_target():
    brian2.start_scope()
    old = brian2.prefs.codegen.target
    brian2.prefs.codegen.target = "numpy"
    brian2.defaultclock.dt = 0.1 * ms
    yield
    brian2.prefs.codegen.target = old


def defaults(model):
    return {name: p.value for name, p in model.parameters.items()}


def response(model, weight, duration=30 * ms, arrival=1 * ms, **kwargs):
    """Times since the arrival of one spike, and the states' traces from then on."""
    group = neuron_group(model, 1, **kwargs)
    source = SpikeGeneratorGroup(1, [0], [arrival])
    connection = synapses(model, source, group)
    connection.connect()
    connection.w = weight
    trace = StateMonitor(group, model.state_names, record=0)
    Network(group, source, connection, trace).run(duration)
    # a spike acts at the end of its step
    after = np.asarray(trace.t / second) - float(arrival) - 1e-4
    keep = after > -1e-9
    return after[keep], {name: np.asarray(getattr(trace, name))[0][keep] for name in model.state_names}


def test_lif_with_exponential_synapse_follows_the_analytic_solution():
    model = load_model("lif")
    t, traces = response(model, 0.5)
    tau_m, tau_s = 20e-3, 5e-3
    expected = 0.5 * tau_s / (tau_m - tau_s) * (np.exp(-t / tau_m) - np.exp(-t / tau_s))
    # the recorded value of a step precedes the arrival in it: the jump is seen one step later
    np.testing.assert_allclose(traces["v"], expected, rtol=0, atol=1e-14)


def test_equal_time_constants_give_the_limit_and_not_nan():
    model = load_model("lif")
    t, traces = response(model, 0.5, tau_syn=20 * ms)
    np.testing.assert_allclose(traces["v"], 0.5 * t / 20e-3 * np.exp(-t / 20e-3), rtol=0, atol=1e-10)


def test_alpha_synapse_brings_the_charge_of_the_exponential_one():
    model = load_model("leaky_integrator", "alpha_synapse")
    t, traces = response(model, 1.0, duration=150 * ms)
    tau_r, tau_s = 2e-3, 5e-3
    expected = tau_s / (tau_s - tau_r) * (np.exp(-t / tau_s) - np.exp(-t / tau_r))
    np.testing.assert_allclose(traces["I_syn"], expected, rtol=0, atol=1e-13)
    assert np.trapezoid(traces["I_syn"], t) == pytest.approx(1.0 * tau_s, rel=1e-3)


def test_delta_synapse_moves_the_potential_at_once():
    model = load_model("lif", "delta_synapse")
    t, traces = response(model, 0.25)
    np.testing.assert_allclose(traces["v"], 0.25 * np.exp(-t / 20e-3), rtol=1e-12)


def test_integrator_without_leak_keeps_its_charge():
    model = load_model("integrate_and_fire")
    t, traces = response(model, 0.5)
    np.testing.assert_allclose(traces["v"], 0.5 * 5 / 20 * (1 - np.exp(-t / 5e-3)), rtol=0, atol=1e-10)


def test_resonant_adaptation_follows_the_matrix_exponential():
    model = load_model("lif", "current_adaptation", "subthreshold_adaptation")
    a = 4.0  # complex eigenvalues
    t, traces = response(model, 1.0, a_z=a)
    matrix = np.array([[-1 / 20e-3, 1 / 20e-3, -1 / 20e-3], [0, -1 / 5e-3, 0], [a / 0.1, 0, -1 / 0.1]])
    assert np.iscomplex(np.linalg.eigvals(matrix)).any()
    expected = np.array([scipy.linalg.expm(matrix * s) @ [0, 1.0, 0] for s in t])
    for k, name in enumerate(("v", "I_syn", "z")):
        np.testing.assert_allclose(traces[name], expected[:, k], rtol=0, atol=1e-9)


def test_constant_drive_makes_a_lif_spike_at_the_analytic_interval():
    # nothing drives I_syn with a delta synapse, so that it is a parameter
    model = load_model("lif", "delta_synapse")
    group = neuron_group(model, 1, I_syn=1.5, dt=0.01 * ms)
    spikes = SpikeMonitor(group)
    Network(group, spikes).run(100 * ms)
    interval = 20e-3 * np.log(1.5 / 0.5)
    assert len(spikes.t) == 4
    np.testing.assert_allclose(np.diff(spikes.t / second), interval, rtol=0, atol=1.01e-5)


def test_adaptation_lengthens_intervals():
    for mechanism in ("adaptive_threshold", "current_adaptation"):
        group = neuron_group(load_model("lif", "delta_synapse", mechanism), 1, v_rest=1.5)
        spikes = SpikeMonitor(group)
        Network(group, spikes).run(300 * ms)
        intervals = np.diff(spikes.t / ms)
        assert len(intervals) >= 4
        assert (np.diff(intervals)[:3] > 0).all(), mechanism


@pytest.mark.parametrize("name", ["qif", "eif"])
def test_nonlinear_neurons_rest_without_and_spike_with_drive(name):
    model = load_model(name, "delta_synapse")
    group = neuron_group(model, 2, I_syn=[0, 20] * mV)
    spikes = SpikeMonitor(group)
    Network(group, spikes).run(100 * ms)
    assert spikes.count[0] == 0
    assert spikes.count[1] > 3


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dt", [0.1, 0.5, 1.0])
def test_a_spike_that_runs_away_within_a_step_never_ends_as_nan(dt):
    group = neuron_group(load_model("eif", "delta_synapse"), 200, I_syn=np.linspace(5, 40, 200) * mV, dt=dt * ms)
    spikes = SpikeMonitor(group)
    network = Network(group, spikes)
    network.run(100 * ms)
    counted = np.array(spikes.count)
    network.run(100 * ms)
    assert np.isfinite(group.v[:]).all()
    assert (spikes.count - counted > 2).all()


def test_qif_interval_equals_the_analytic_one():
    """With i the distance of the parabola's minimum from 0: v' = (u^2 + c)/(d tau), an arctangent in time."""
    model = load_model("qif", "delta_synapse")
    group = neuron_group(model, 1, I_syn=20 * mV, dt=0.01 * ms)
    spikes = SpikeMonitor(group)
    Network(group, spikes).run(100 * ms)
    d, tau = 15e-3, 10e-3
    root = np.sqrt(20e-3 * d - d**2 / 4)
    middle = -57.5e-3
    interval = d * tau / root * (np.arctan((20e-3 - middle) / root) - np.arctan((-80e-3 - middle) / root))
    np.testing.assert_allclose(np.diff(spikes.t / second), interval, rtol=0, atol=1.1e-5)


def test_parameters_are_shared_unless_given_per_neuron():
    model = load_model("lif")
    group = neuron_group(model, 3, tau_m=[10, 20, 30] * ms, v=0.5)
    assert group.variables["tau_syn"].scalar
    assert not group.variables["tau_m"].scalar
    np.testing.assert_allclose(np.asarray(group.tau_m), [0.01, 0.02, 0.03])
    np.testing.assert_allclose(group.v[:], 0.5)
    Network(group).run(10 * ms)
    np.testing.assert_allclose(group.v[:], 0.5 * np.exp(-10 / np.array([10, 20, 30])), rtol=1e-12)


def test_states_start_at_the_models_initial_values():
    group = neuron_group(load_model("eif"), 2, v_rest=-70 * mV)
    np.testing.assert_allclose(np.asarray(group.v), -0.07)
    assert neuron_group(load_model("lif"), 3, v="0.1*i").v[2] == pytest.approx(0.2)


def test_method_is_exact_only_where_brian2s_closed_form_holds():
    lif = load_model("lif")
    values = defaults(lif)
    assert integration_method(lif, 1e-4, values) == "exact"
    assert integration_method(lif, 1e-4, values | {"tau_syn": 20e-3}) == "rk4"
    assert integration_method(lif, 1e-4, values | {"tau_syn": 20e-3 * (1 + 1e-12)}) == "rk4"
    assert integration_method(lif, 1e-4, values | {"tau_syn": np.array([5e-3, 20e-3])}) == "rk4"
    for name in ("qif", "eif"):
        assert integration_method(load_model(name), 1e-4, defaults(load_model(name))) == "rk2"
    for name in ("integrate_and_fire", "lif+current_adaptation+subthreshold_adaptation"):
        model = load_model(name)
        assert integration_method(model, 1e-4, defaults(model)) == "rk4"


def test_a_state_whose_name_brian2_misreads_is_not_integrated_exactly(tmp_path):
    path = tmp_path / "odd.toml"
    path.write_text(
        textwrap.dedent("""
        kind = "neuron"
        title = "Odd"
        description = "Its state has the name of Euler's number."
        equations = "dE/dt = -E/tau : 1"
        states.E.initial = 1
        parameters.tau = { default = "10*ms", unit = "second", description = "time constant" }
    """)
    )
    model = load_model(path)
    assert integration_method(model, 1e-4, defaults(model)) == "rk4"
    group = neuron_group(model, 1)
    Network(group).run(10 * ms)
    assert group.E[0] == pytest.approx(np.exp(-1), rel=1e-9)


def test_receptors_by_name_act_on_their_own_states():
    model = load_model("lif", "exp_synapse:exc", "exp_synapse:inh")
    group = neuron_group(model, 1)
    source = SpikeGeneratorGroup(1, [0], [0 * ms])
    pairs = [synapses(model, source, group, name) for name in ("exc", "inh")]
    for connection, weight in zip(pairs, (1.0, -0.25), strict=True):
        connection.connect()
        connection.w = weight
    Network(group, source, *pairs).run(0.1 * ms)
    assert (group.I_syn_exc[0], group.I_syn_inh[0]) == (1.0, -0.25)
    with pytest.raises(ValueError, match=r"name one.*exc, inh"):
        synapses(model, source, group)
    with pytest.raises(ValueError, match=r"no receptor 'ex'.*did you mean 'exc'"):
        synapses(model, source, group, "ex")


def test_arrivals_may_read_states_and_parameters_of_the_target(tmp_path):
    path = tmp_path / "conductance.toml"
    path.write_text(
        textwrap.dedent("""
        kind = "synapse"
        title = "Delta synapse with a reversal potential"
        description = "Moves the potential by a fraction of its distance to the reversal potential."
        on_pre = "v += w*(E_rev - v)"
        weight.unit = "1"
        parameters.E_rev = { default = "2*scale(v)", unit = "unit(v)", description = "reversal potential" }
    """)
    )
    model = load_model("lif", path)
    group = neuron_group(model, 1)
    source = SpikeGeneratorGroup(1, [0], [0 * ms])
    connection = synapses(model, source, group)
    connection.connect()
    connection.w = 0.25
    Network(group, source, connection).run(0.1 * ms)
    assert group.v[0] == pytest.approx(0.5, rel=1e-15)


def test_wrong_keywords_and_units_are_refused():
    model = load_model("eif")
    with pytest.raises(TypeError, match=r"no parameter 'tau_n'; did you mean .*'tau_m'"):
        neuron_group(model, 1, tau_n=1 * ms)
    with pytest.raises(brian2.DimensionMismatchError):
        neuron_group(model, 1, tau_m=1 * mV)
    with pytest.raises(TemplateError):
        load_model("eiff")


@pytest.mark.slow
def test_the_same_script_runs_as_a_cpp_project(tmp_path, root):
    """Spikes of numpy and of C++ standalone agree; the script is a Brian2 user's own."""
    script = textwrap.dedent("""
        import sys
        import numpy as np
        from brian2 import *
        from snnmodels.templates import load_model

        if sys.argv[1] == "cpp":
            set_device("cpp_standalone", directory=sys.argv[2])
        else:
            prefs.codegen.target = "numpy"
        model = load_model("lif", "adaptive_threshold")
        group = neuron_group(model, 5, tau_m=[10, 15, 20, 25, 30]*ms)
        source = SpikeGeneratorGroup(2, [0, 1, 0, 1], [1, 2, 10, 15]*ms)
        connections = synapses(model, source, group)
        connections.connect()
        connections.w = "6 + 0.5*i"
        spikes = SpikeMonitor(group)
        run(40*ms)
        np.savetxt(sys.stdout, np.column_stack([spikes.i[:], spikes.t/ms]), fmt="%.17g")
    """)
    (tmp_path / "script.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(root)}
    outputs = {}
    for target in ("numpy", "cpp"):
        command = [sys.executable, str(tmp_path / "script.py"), target, str(tmp_path / "project")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        outputs[target] = np.loadtxt(done.stdout.splitlines())
    assert len(outputs["numpy"]) > 8
    np.testing.assert_array_equal(outputs["cpp"][:, 0], outputs["numpy"][:, 0])
    np.testing.assert_allclose(outputs["cpp"][:, 1], outputs["numpy"][:, 1], rtol=0, atol=1e-9)


def oracle_spikes(model, weight, times, duration, **parameters):
    """The same neuron, event by event."""
    net = network.Network(
        "one",
        (network.SpikeInput("in", 1),),
        (network.Population("out", 1, model, parameters),),
        (network.Projection("in_out", "in", "out", np.array([[weight]])),),
        "out",
        duration,
    )
    return simulate(net, {"in": np.array([[times]])}).spikes["out"][0, 0]


@pytest.mark.parametrize("arrivals", ["ignore", "apply"])
@pytest.mark.parametrize(
    ("components", "weight", "parameters"),
    [
        (("lif", "exp_synapse", "refractory"), 9.0, {}),
        # driven, so that arrivals meet the neuron while it is held
        (("lif", "delta_synapse", "refractory"), 0.3, {"I_syn": 1.4}),
        pytest.param(("lif", "alpha_synapse", "adaptive_threshold", "refractory"), 14.0, {}, marks=pytest.mark.slow),
    ],
)
def test_a_refractory_neuron_spikes_as_in_the_reference(components, weight, parameters, arrivals):
    model = load_model(*components)
    model = dataclasses.replace(model, refractory=dataclasses.replace(model.refractory, arrivals=arrivals))
    times = np.arange(2, 60, 3.2) * 1e-3
    dt = 1e-5
    brian2.defaultclock.dt = dt * second
    group = neuron_group(model, 1, **parameters)
    source = SpikeGeneratorGroup(1, np.zeros(len(times), dtype=int), times * second)
    connection = synapses(model, source, group)
    connection.connect()
    connection.w = weight
    spikes = SpikeMonitor(group)
    Network(group, source, connection, spikes).run(70 * ms)
    found = np.asarray(spikes.t / second)
    expected = oracle_spikes(model, weight, times, 70e-3, **parameters)
    assert len(found) == len(expected) >= 3
    # each spike is some steps late, and hands that on
    np.testing.assert_allclose(found, expected, rtol=0, atol=6 * len(found) * dt)
    assert np.diff(found).min() >= 2e-3 - dt


OSCILLATOR = """
kind = "neuron"
title = "Oscillator that spikes without reset"
description = "A spike where v rises through its threshold, and none for a while after it."
equations = "dv/dt = omega*y : 1\\ndy/dt = -omega*v : 1"
threshold = "v > 0.5"
reset = []
refractory = { duration = "t_dead", hold = [] }
states.v = { description = "position" }
states.y = { initial = "1", description = "velocity" }

[parameters]
omega = { default = "628.3185307179586*Hz", unit = "hertz", description = "angular frequency" }
t_dead = { default = "12*ms", unit = "second", description = "dead time" }
"""


@pytest.mark.parametrize(
    ("dead", "gaps"),
    [
        (4, [10, 10, 10, 10, 10]),  # below when the dead time ends
        (2, [10, 10, 10, 10, 10]),  # still above
        (12, [12, 18, 12]),  # above again: a spike at once, and none at the next end, where it is below
    ],
)
def test_a_dead_time_without_reset_ends_as_in_the_engine(tmp_path, dead, gaps):
    """A neuron that has been below, and is above again when its dead time ends, spikes then, and no other does."""
    path = tmp_path / "oscillator.toml"
    path.write_text(OSCILLATOR)
    model, dt = load_model(path), 20e-6
    values = {"t_dead": dead * ms}
    net = snn.Network("one", (), (snn.Population("cell", 1, model, values),), (), "cell", 60e-3)
    with snn.Simulation(net, [SpikeTimes()]) as simulation:
        (exact,) = simulation.forward({})
    expected = exact[0, 0][np.isfinite(exact[0, 0])]
    np.testing.assert_allclose(np.diff(expected), np.array(gaps) * 1e-3, rtol=0, atol=1e-9)
    brian2.defaultclock.dt = dt * second
    group = neuron_group(model, 1, **values)
    spikes = SpikeMonitor(group)
    Network(group, spikes).run(60 * ms)
    np.testing.assert_allclose(spikes.t / second, expected, rtol=0, atol=3 * len(expected) * dt)


def test_what_arrives_at_a_held_state_depends_on_the_model():
    ends = {}
    for arrivals in ("ignore", "apply"):
        model = load_model("lif", "delta_synapse", "refractory")
        model = dataclasses.replace(model, refractory=dataclasses.replace(model.refractory, arrivals=arrivals))
        group = neuron_group(model, 1)
        source = SpikeGeneratorGroup(1, [0, 0], [1, 2] * ms)
        connection = synapses(model, source, group)
        connection.connect()
        connection.w = [1.5]
        trace = StateMonitor(group, "v", record=0)
        Network(group, source, connection, trace).run(2.5 * ms)
        ends[arrivals] = trace.v[0][-1]
    assert ends == {"ignore": 0.0, "apply": 1.5}


def test_a_model_with_a_period_of_its_own_takes_no_other():
    with pytest.raises(TypeError, match="declares its own refractory period, t_ref; set that"):
        neuron_group(load_model("lif", "refractory"), 1, refractory=3 * ms)
    model = load_model("lif", "refractory")
    assert integration_method(model, 1e-4, defaults(model)) == "exact"


# --- drives -----------------------------------------------------------------------------------------------------------


def test_a_timed_array_is_a_held_current():
    """Spike times on a fine grid are those of the event engine to within a step."""
    levels = np.array([[1.5, 0.4, 2.5, 1.2], [1.2, 2.0, 0.1, 3.0]])
    lif = load_model("lif+exp_synapse+refractory")
    driven = snn.Network(
        "driven",
        (),
        (snn.Population("cells", 2, lif),),
        (),
        "cells",
        40e-3,
        currents=(snn.CurrentInput("x", 2, 10e-3),),
        drives=(snn.Drive("", "x", "cells", 1.5 * np.eye(2)),),
    )
    with snn.Simulation(driven, [SpikeTimes()]) as simulation:
        (exact,) = simulation.forward({"x": levels})
    stimulus = TimedArray(levels.T, dt=10 * ms)  # noqa: F841 (read by the equations)
    group = neuron_group(lif, 2, drives={"I_syn": "1.5*stimulus(t, i)"}, dt=0.01 * ms)
    spikes = SpikeMonitor(group)
    Network(group, spikes).run(40 * ms)
    for j in range(2):
        expected = exact[0, j][np.isfinite(exact[0, j])]
        assert expected.size >= 2
        np.testing.assert_allclose(np.sort(spikes.t[spikes.i == j] / second), expected, rtol=0, atol=0.04e-3)


def test_drives_that_are_refused():
    with pytest.raises(ValueError, match="has no input 'I_sin'; did you mean 'I_syn'"):
        neuron_group(load_model("lif"), 1, drives={"I_sin": "1"})
