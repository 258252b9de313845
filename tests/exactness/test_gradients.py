"""Networks in which a gradient easily goes wrong, on both targets: beside the reference, to rounding."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnmodels.gradients import GradientReport, Simulation, check_gradient
from snnmodels.gradients.probe import SmoothMaxima, SmoothSpikeTimes
from snnmodels.losses import MaxVoltageCrossEntropy, SpikeTimeError, TTFSCrossEntropy, VoltageError
from snnmodels.templates import Model, Network, Population, Projection, SpikeInput, load_model
from tests.exactness.networks import (
    EXACT,
    LIF,
    MS,
    NEAR,
    SLOW,
    Bounds,
    Case,
    assert_agrees,
    chain,
    check,
    inputs,
    one,
    reference,
    simulated,
)
from tests.needs import COMPILER, on_both
from tests.oracle.networks import Polynomial

SAME = Bounds(1e-14, 1e-11)  # of the targets with each other; feedback makes ten times more of rounding


def linear_chain(parameters: dict[str, Any] | None = None, **options: Any) -> Case:
    return Case(chain(LIF, (2.5, 3.0), parameters, **options), inputs())


# --- parameters -------------------------------------------------------------------------------------------------------


@on_both
@pytest.mark.parametrize("apart", [0.0, 1e-9, 1e-4])
def test_equal_time_constants(apart: float, target: str) -> None:
    check(linear_chain({"tau_m": 8 * MS * (1 + apart), "tau_syn": 8 * MS}), target)


@on_both
def test_equal_time_constants_in_one_neuron_only(target: str) -> None:
    check(linear_chain({"tau_m": np.array([20, 5, 5 * (1 + 1e-9)]) * MS, "tau_syn": np.array([5, 5, 5]) * MS}), target)


FILTERED = """
kind = "neuron"
title = "Filtered"
description = "Spikes on what two equal filters make of a potential with a constant drive."
equations = '''
dv/dt = (v_rest - v)/tau_m : 1
dx/dt = (v - x)/tau_v : 1
dy/dt = (x - y)/tau_v : 1
'''
threshold = "y > v_th"
reset = ["v = 0", "x = 0", "y = 0"]
[parameters]
tau_m = { default = "20*ms", unit = "second", description = "membrane time constant" }
tau_v = { default = "5*ms", unit = "second", description = "time constant of both filters" }
v_rest = { default = 0.3, unit = "1", description = "rest and drive" }
v_th = { default = 1, unit = "1", description = "threshold" }
"""


@on_both
def test_a_constant_drive_before_equal_time_constants(tmp_path: Path, target: str) -> None:
    """Divided differences of the exponential at 0, a number, and at two times that lanes may differ in."""
    (tmp_path / "filtered.toml").write_text(FILTERED)
    model = load_model(tmp_path / "filtered.toml", "delta_synapse")
    check(one([3.0, 4.0], [2.0, 9.0], model, duration=60 * MS), target)


@on_both
def test_time_constants_that_meet_while_training(target: str) -> None:
    """The closed form in use must give way when values come that it can't resolve."""
    apart, together = ({"tau_m": tau * MS, "tau_syn": 8 * MS} for tau in (16, 8))
    case = linear_chain(apart)
    with Simulation(case.network, case.loss, batch_size=2, target=target) as simulation:  # type: ignore[arg-type]
        simulation.run(case.inputs, case.labels)
        moved = simulation.run(case.inputs, case.labels, linear_chain(together).network.trainable())
    fresh = simulated(linear_chain(together), target).outcome
    assert moved.loss == fresh.loss
    for key, value in fresh.gradients.items():
        np.testing.assert_array_equal(moved.gradients[key], value, err_msg=key)


@on_both
def test_complex_rates(target: str) -> None:
    model = load_model("lif", "exp_synapse", "current_adaptation", "subthreshold_adaptation")
    a_z, tau = 2.0, 20 * MS
    rates = np.linalg.eigvals([[-1 / tau, -1 / tau], [a_z / tau, -1 / tau]])
    assert np.abs(rates.imag).min() > 0
    check(Case(chain(model, (4.0, 5.0), {"a_z": a_z, "tau_z": tau}), inputs()), target)


@on_both
def test_parameters_of_single_neurons(target: str) -> None:
    case = linear_chain({"tau_m": np.array([15, 20, 26]) * MS, "v_th": np.array([0.9, 1, 1.1])})
    found = check(case, target)
    assert found.outcome.gradients["hidden.tau_m"].shape == (3,)
    assert found.outcome.gradients["output.tau_m"].shape == ()


def test_parameters_of_single_neurons_by_differences() -> None:
    case = linear_chain({"tau_m": np.array([15, 20, 26]) * MS, "v_th": np.array([0.9, 1, 1.1])})
    report = check_gradient(case.network, inputs=case.inputs, target="numpy")
    assert_right(report)
    assert {r.key: r.elements for r in report.rows}["hidden.tau_m"] == (3, 3)


def assert_right(report: GradientReport) -> None:
    assert report.ok, str(report)
    assert report.unresolved == ()
    assert {r.key: r.differences for r in report.rows if r.differences > max(1e-8, r.resolution)} == {}


# --- wiring -----------------------------------------------------------------------------------------------------------


@on_both
@pytest.mark.parametrize("delay", [0.0, 1.3 * MS], ids=["at_once", "delayed"])
def test_masks(delay: float, target: str) -> None:
    case = Case(chain(LIF, (4.0, 7.0), mask=True, delay=delay), inputs())
    found = check(case, target)
    for q in case.network.projections:
        assert q.mask is not None and not q.mask.all()
        assert not found.outcome.gradients[f"{q.name}.w"][~q.mask].any()


@on_both
@pytest.mark.parametrize("delay", [0.0, 1.3 * MS, np.full((3, 2), 1.3 * MS)], ids=["at_once", "delayed", "each"])
def test_a_mask_without_connections(delay: Any, target: str) -> None:
    case = Case(chain(LIF, (4.0, 7.0)), inputs())
    first, second = case.network.projections
    nothing = Projection("nothing", "hidden", "output", np.ones((3, 2)), mask=np.zeros((3, 2), dtype=bool), delay=delay)
    network = dataclasses.replace(case.network, projections=(first, second, nothing))
    found = check(case._replace(network=network), target)
    assert not found.outcome.gradients["nothing.w"].any()


@on_both
def test_a_source_that_reaches_nothing(target: str) -> None:
    case = Case(chain(LIF, (4.0, 7.0), mask=True), inputs())
    first, second = case.network.projections
    mask = np.array(first.mask)
    mask[1] = False
    network = dataclasses.replace(case.network, projections=(dataclasses.replace(first, mask=mask), second))
    found = check(case._replace(network=network), target)
    assert not found.outcome.gradients["input.times"][:, 1].any()


def excitatory_inhibitory(
    model: Model | None = None, size: float = 1.0, *, delay: str = "none", seed: int = 5, t_ref: float = 0.0
) -> Case:
    """Two populations, each projecting to both, with separate receptors for excitation and inhibition.

    Parameters
    ----------
    size : float
        Of the weights.
    delay : {"none", "one", "each"}
    """
    model = model or load_model("lif", "exp_synapse:exc", "exp_synapse:inh")
    rng = np.random.default_rng(seed)
    wiring = [("input", "exc", "exc", 3.0), ("input", "inh", "exc", 3.0), ("exc", "inh", "exc", 0.8)]
    wiring += [("exc", "exc", "exc", 0.6), ("inh", "exc", "inh", -0.6), ("inh", "inh", "inh", -0.5)]
    sizes = {"input": 4, "exc": 4, "inh": 3}
    values = {"tau_syn_inh": 8 * MS} | ({"t_ref": t_ref} if t_ref else {})
    populations = tuple(
        Population(name, sizes[name], model, values, tuple(model.parameters)) for name in ("exc", "inh")
    )
    projections = []
    for a, b, kind, strength in wiring:
        shape = (sizes[a], sizes[b])
        delays = {"none": 0.0, "one": 1.7 * MS, "each": rng.uniform(0.2, 4, shape) * MS}[delay]
        learnable = ("w",) if delay == "none" else ("w", "delay")
        weights = size * strength * rng.uniform(0.5, 1.5, shape)
        projections.append(Projection(f"{a}_to_{b}", a, b, weights, kind, learnable=learnable, delay=delays))
    network = Network("ei", (SpikeInput("input", 4),), populations, tuple(projections), "exc", 40 * MS)
    return Case(network, inputs(seed=seed, spikes=2), Polynomial())


@on_both
@pytest.mark.parametrize("delay", ["none", "one", "each"])
def test_recurrent_excitation_and_inhibition(delay: str, target: str) -> None:
    found = check(excitatory_inhibitory(delay=delay), target)
    assert min(found.outcome.spikes.values()) > 5
    assert all(np.any(g) for g in found.outcome.gradients.values())
    if delay == "each":
        assert found.outcome.gradients["exc_to_exc.delay"].shape == (4, 4)


@COMPILER
@pytest.mark.parametrize("delay", ["none", "one", "each"])
def test_recurrent_networks_by_differences(delay: str) -> None:
    case = excitatory_inhibitory(delay=delay)
    assert_right(check_gradient(case.network, inputs=case.inputs, loss=case.loss, target="cpp_standalone"))


REFRACTORY = load_model("lif", "exp_synapse:exc", "exp_synapse:inh", "refractory")


@on_both
@pytest.mark.parametrize("delay", ["none", pytest.param("one", marks=SLOW), "each"])
@pytest.mark.parametrize("t_ref", [0.4, 5.0])
def test_refractory_neurons(delay: str, t_ref: float, target: str) -> None:
    """Held for less than it takes to spike again, and for longer than spikes are apart without."""
    case = excitatory_inhibitory(REFRACTORY, delay=delay, t_ref=t_ref * MS)
    found = check(case, target)
    for times in found.spikes.values():
        with np.errstate(invalid="ignore"):
            assert np.nanmin(np.diff(times, axis=2)) >= t_ref * MS
    assert found.outcome.gradients["exc.t_ref"] != 0


@COMPILER
def test_refractory_neurons_by_differences() -> None:
    case = excitatory_inhibitory(REFRACTORY, delay="each", t_ref=2 * MS, seed=6)
    assert_right(check_gradient(case.network, inputs=case.inputs, loss=case.loss, target="cpp_standalone"))


@COMPILER
@pytest.mark.parametrize("delay", ["none", "each"])
@pytest.mark.parametrize("neuron", ["qif", "eif"])
def test_nonlinear_recurrent_networks(neuron: str, delay: str) -> None:
    model = load_model(neuron, "exp_synapse:exc", "exp_synapse:inh", "refractory")
    case = excitatory_inhibitory(model, 20 * MS if neuron == "qif" else 8 * MS, delay=delay, t_ref=2 * MS)
    found = check(case, "cpp_standalone", NEAR)
    assert min(found.outcome.spikes.values()) > 4


def test_bursts_of_an_input() -> None:
    """Spikes 37 us apart are two spikes."""
    times = inputs()["input"] + np.array([0.0, 0.037]) * MS
    case = Case(chain(LIF, (1.3, 3.0)), {"input": times})
    found = check(case)
    single = simulated(case._replace(inputs={"input": times[:, :, :1]})).outcome.loss
    assert abs(single - found.outcome.loss) > 1e-3


# --- windows ----------------------------------------------------------------------------------------------------------


@on_both
@pytest.mark.parametrize("delay", ["none", "one", "each"])
def test_the_window_changes_nothing(delay: str, target: str) -> None:
    case = excitatory_inhibitory(REFRACTORY, delay=delay, t_ref=2 * MS)
    expected = simulated(case, target)
    for window in (0.05, 0.73, 11.0, 1000.0):
        found = simulated(case, target, window=window * MS)
        assert_agrees(found, expected, Bounds(1e-13, 1e-11), f"window of {window} ms")


@COMPILER
def test_the_window_changes_nonlinear_models_by_their_tolerance() -> None:
    model = load_model("eif", "exp_synapse:exc", "exp_synapse:inh", "refractory")
    case = excitatory_inhibitory(model, 8 * MS, delay="each", t_ref=2 * MS)
    expected = simulated(case, "cpp_standalone")
    for window in (0.5, 1000.0):
        assert_agrees(simulated(case, "cpp_standalone", window=window * MS), expected, NEAR, f"window of {window} ms")


# --- targets ----------------------------------------------------------------------------------------------------------


@COMPILER
@pytest.mark.parametrize("delay", ["none", "one", "each"])
@pytest.mark.parametrize("t_ref", [0.0, 2.0])
def test_both_targets_agree(delay: str, t_ref: float) -> None:
    case = excitatory_inhibitory(REFRACTORY if t_ref else None, delay=delay, t_ref=t_ref * MS)
    found, expected = simulated(case, "cpp_standalone"), simulated(case)
    assert_agrees(found, expected, SAME)
    np.testing.assert_allclose(found.outcome.smallest_gdot, expected.outcome.smallest_gdot, rtol=1e-11)
    assert found.outcome.spikes == expected.outcome.spikes


@COMPILER
def test_threads_share_the_trials() -> None:
    case = excitatory_inhibitory(delay="each")
    case = case._replace(inputs=inputs(seed=5, spikes=2, trials=7))
    expected = simulated(case, "cpp_standalone")
    for threads in (2, 3, 16):
        found = simulated(case, "cpp_standalone", threads=threads)
        assert_agrees(found, expected, Bounds(0, 1e-13), f"{threads} threads")
        again = simulated(case, "cpp_standalone", threads=threads)
        for key, value in found.outcome.gradients.items():
            np.testing.assert_array_equal(again.outcome.gradients[key], value)


# --- delta synapses ---------------------------------------------------------------------------------------------------


@on_both
def test_spikes_set_by_a_crossing_and_by_an_arrival(target: str) -> None:
    """Constant drive fires the neurons by itself, arrivals move them, and some carry them across."""
    model = load_model("lif", "delta_synapse")
    network = chain(model, (0.15, 0.2), seed=3)
    drive = ([1.3, 1.42, 1.36], [1.18, 1.22])  # apart, for neurons with one drive would spike at the same instant
    populations = tuple(
        dataclasses.replace(p, parameters={"I_syn": np.array(d)})
        for p, d in zip(network.populations, drive, strict=True)
    )
    case = Case(dataclasses.replace(network, populations=populations), inputs(seed=3, last=25 * MS, spikes=2))
    expected = reference(case)
    assert min(expected.simulation.at_arrivals, len(expected.simulation.gdot())) >= 5
    assert_agrees(simulated(case, target), expected, EXACT)


@on_both
def test_gradient_of_a_spike_at_an_arrival_flows_to_that_arrival(target: str) -> None:
    found = simulated(one([0.7, 0.7], [2.3, 5.9], load_model("lif", "delta_synapse")), target).outcome
    assert found.output[0, 0, 0] == 5.9 * MS
    # L = u + u²/2 with u = t/10 ms: only the second arrival's time counts, whatever weights and parameters are
    np.testing.assert_allclose(found.gradients["input.times"], [[0.0, (1 + 0.59) / (10 * MS)]], rtol=1e-12)
    for key, value in found.gradients.items():
        assert key == "input.times" or not np.any(value), key


# --- losses -----------------------------------------------------------------------------------------------------------


def readouts(synapse: str = "exp_synapse", *, seed: int = 0, recurrent: bool = False) -> Case:
    """Spiking neurons behind which others, without threshold, are read."""
    readout = load_model("leaky_integrator", synapse)
    rng = np.random.default_rng(seed)
    projections = [
        Projection("w_in", "input", "hidden", rng.uniform(1, 3, (4, 5))),
        Projection("w_out", "hidden", "output", rng.uniform(-2, 2, (5, 4)), mask=rng.uniform(size=(5, 4)) < 0.8),
    ]
    if recurrent:
        no_self = ~np.eye(5, dtype=bool)
        projections.append(Projection("rec", "hidden", "hidden", rng.uniform(-1, 2, (5, 5)), mask=no_self))
    network = Network(
        "readout",
        (SpikeInput("input", 4),),
        (
            Population("hidden", 5, LIF, learnable=("tau_m", "v_th", "tau_syn")),
            Population("output", 4, readout, learnable=tuple(readout.parameters)),
        ),
        tuple(projections),
        "output",
        40 * MS,
    )
    return Case(network, inputs(seed=seed, trials=3))


@on_both
@pytest.mark.parametrize("synapse", ["exp_synapse", "alpha_synapse", "delta_synapse"])
def test_maxima(synapse: str, target: str) -> None:
    case = readouts(synapse, recurrent=True)._replace(
        loss=MaxVoltageCrossEntropy(scale=0.2), targets=np.array([0, 3, 1])
    )
    expected = reference(case)
    kinds = set(expected.simulation.maximum("v").kind.ravel())
    assert kinds >= ({"arrival"} if synapse == "delta_synapse" else {"smooth"})
    assert_agrees(simulated(case, target), expected, EXACT)


@on_both
@pytest.mark.parametrize("variable", ["v", "I_syn"])
@pytest.mark.parametrize("interval", [1.0, 3.0, 0.37])
def test_samples(variable: str, interval: float, target: str) -> None:
    loss = VoltageError(variable, interval=interval * MS)
    targets = np.random.default_rng(7).normal(scale=0.3, size=(3, 4, int(40 / interval + 1e-9)))
    found = check(readouts(recurrent=True)._replace(loss=loss, targets=targets), target)
    assert found.outcome.output.shape == targets.shape


@on_both
def test_samples_of_a_potential_that_jumps(target: str) -> None:
    targets = np.random.default_rng(7).normal(scale=0.3, size=(3, 4, 20))
    check(readouts("delta_synapse")._replace(loss=VoltageError(interval=2 * MS), targets=targets), target)


@COMPILER
@pytest.mark.parametrize("loss", [MaxVoltageCrossEntropy(scale=0.2), VoltageError(interval=2 * MS)])
def test_readouts_by_differences(loss: Any) -> None:
    case = readouts(recurrent=True)
    shape = (3, 4, 20) if isinstance(loss, VoltageError) else (3,)
    targets = np.zeros(shape) if len(shape) > 1 else np.array([0, 3, 1])
    report = check_gradient(case.network, inputs=case.inputs, loss=loss, targets=targets, target="cpp_standalone")
    assert_right(report)


@COMPILER
@pytest.mark.parametrize("loss", [MaxVoltageCrossEntropy(scale=0.2), VoltageError(interval=2 * MS)])
def test_both_targets_read_the_same(loss: Any) -> None:
    targets = np.zeros((3, 4, 20)) if isinstance(loss, VoltageError) else np.array([0, 3, 1])
    case = readouts(recurrent=True)._replace(loss=loss, targets=targets)
    assert_agrees(simulated(case, "cpp_standalone"), simulated(case), SAME)


@on_both
@pytest.mark.parametrize("arrival", [5.2, 5.0])
def test_a_maximum_on_an_inhibitory_kink(arrival: float, target: str) -> None:
    """The maximum sits where inhibition arrives, still rising: it moves with that arrival by the rate before it."""
    case = one([1.0, -6.0], [2.13, arrival], load_model("leaky_integrator", "exp_synapse"))
    case = case._replace(loss=SmoothMaxima("v", 1.0))
    assert reference(case).simulation.maximum("v").kind[0, 0] == "arrival"
    found = simulated(case, target).outcome
    s = (arrival - 2.13) * MS
    tau_m, tau_s = 20 * MS, 5 * MS
    m = tau_s / (tau_m - tau_s) * (np.exp(-s / tau_m) - np.exp(-s / tau_s))
    rate = tau_s / (tau_m - tau_s) * (np.exp(-s / tau_s) / tau_s - np.exp(-s / tau_m) / tau_m)
    assert found.loss == pytest.approx(m + m**2 / 2, rel=1e-12)
    error = 1 + m
    np.testing.assert_allclose(found.gradients["input.times"], error * rate * np.array([[-1.0, 1.0]]), rtol=1e-9)
    # the inhibitory weight does nothing before it acts
    np.testing.assert_allclose(found.gradients["w_in.w"], [[error * m], [0.0]], rtol=1e-11, atol=1e-14)


@on_both
@pytest.mark.parametrize("timescale", [0.5, 5.0])
def test_first_spike_cross_entropy(timescale: float, target: str) -> None:
    loss = TTFSCrossEntropy(tau0=timescale * MS, alpha=0.1)
    check(Case(chain(LIF, (2.5, 3.0)), inputs(trials=3), loss, np.array([0, 1, 1])), target)


@on_both
def test_spike_time_error(target: str) -> None:
    targets = np.array([[[12.0, 20.0], [14.0, np.inf]], [[11.0, np.inf], [15.0, 22.0]]]) * MS
    check(linear_chain()._replace(loss=SpikeTimeError(), targets=targets), target)


@on_both
def test_a_silent_label_teaches_nothing(target: str) -> None:
    network = chain(LIF, (5.0, 5.0))
    first, second = network.projections
    silenced = np.array(second.weights)
    silenced[:, 1] = 0.0
    network = dataclasses.replace(network, projections=(first, dataclasses.replace(second, weights=silenced)))
    found = simulated(Case(network, inputs(trials=1), TTFSCrossEntropy(), np.array([1])), target).outcome
    assert found.predictions is not None and found.predictions[0] == 0
    assert not any(np.any(g) for g in found.gradients.values())


# --- batches ----------------------------------------------------------------------------------------------------------


@on_both
def test_trials_of_a_batch_do_not_touch_each_other(target: str) -> None:
    case = Case(chain(LIF, (5.0, 5.0)), inputs(trials=3), TTFSCrossEntropy(tau0=5 * MS))
    with Simulation(case.network, case.loss, batch_size=3, target=target) as simulation:  # type: ignore[arg-type]

        def run(first: int, last: int) -> Any:
            return simulation.run({"input": case.inputs["input"][first:last]}, case.labels[first:last])

        whole, parts, pair = run(0, 3), [run(k, k + 1) for k in range(3)], run(0, 2)
    assert whole.loss == pytest.approx(np.mean([p.loss for p in parts]), rel=1e-14)
    for key, value in whole.gradients.items():
        each = [p.gradients[key] for p in parts]
        expected = np.concatenate(each) / 3 if key == "input.times" else sum(each) / 3
        np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-14 * np.abs(value).max(), err_msg=key)
    two = (parts[0].gradients["w_in.w"] + parts[1].gradients["w_in.w"]) / 2
    np.testing.assert_allclose(pair.gradients["w_in.w"], two, rtol=1e-12, atol=1e-14 * np.abs(two).max())
    assert pair.gradients["input.times"].shape == (2, 4, 1)


@on_both
@pytest.mark.parametrize(
    "change", [lambda t: t[:, :, 0], lambda t: np.pad(t, ((0, 0), (0, 0), (0, 2)), constant_values=np.inf)]
)
def test_times_come_in_any_padding(change: Callable[[np.ndarray], np.ndarray], target: str) -> None:
    case = linear_chain()
    times = change(case.inputs["input"])
    expected = simulated(case, target)
    found = simulated(case._replace(inputs={"input": times}), target)
    assert found.outcome.loss == expected.outcome.loss
    gradient = found.outcome.gradients["input.times"]
    assert gradient.shape == times.shape
    assert not gradient[~np.isfinite(times)].any()
    np.testing.assert_array_equal(
        gradient.reshape(2, 4, -1)[:, :, 0], expected.outcome.gradients["input.times"][:, :, 0]
    )


# --- refusals ---------------------------------------------------------------------------------------------------------


def spikes_only() -> Network:
    return dataclasses.replace(chain(LIF, (1.0, 1.0)), output="hidden")


@pytest.mark.parametrize(
    ("network", "loss", "message"),
    [
        (readouts().network, VoltageError(interval=50 * MS), r"interval = 50 ms .* not longer than the trial of 40 ms"),
        (readouts().network, VoltageError(variable="u"), r"the loss reads samples of 'u', which .*; there is I_syn, v"),
        (spikes_only(), SmoothMaxima("v", 1.0), r"maximum of 'v', which the reset of the spiking population .* bounds"),
        (
            readouts().network,
            SmoothSpikeTimes(),
            r"spike times, but population 'output' .* has no threshold",
        ),
    ],
)
def test_losses_that_do_not_fit(network: Network, loss: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Simulation(network, loss)


def test_targets_of_a_wrong_shape() -> None:
    case = readouts()
    with (
        Simulation(case.network, VoltageError(), batch_size=3) as simulation,
        pytest.raises(ValueError, match=r"targets: expected shape .* = \(3, 4, 40\), got \(3, 4, 39\)"),
    ):
        simulation.run(case.inputs, np.zeros((3, 4, 39)))
