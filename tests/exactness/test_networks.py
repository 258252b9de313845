"""Networks in which a gradient easily goes wrong: degenerate time constants, masks, recurrence, ties, kinks, losses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from snnmodels import oracle
from snnmodels.eventprop import (
    GradientReport,
    MaxVoltageCrossEntropy,
    Simulation,
    SpikeTimeError,
    TTFSCrossEntropy,
    check_gradient,
)
from snnmodels.eventprop.probe import SmoothMaxima, SmoothSpikeTimes
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model
from tests.exactness.networks import LIF, MS, Case, chain, generic, generic_chain, inputs, readouts, run
from tests.exactness.test_library import assert_agrees, assert_exact

pytestmark = pytest.mark.slow  # minutes


def check(network: Network, times: dict[str, np.ndarray], **options: object) -> GradientReport:
    report = check_gradient(network, inputs=times, **options)  # type: ignore[arg-type]
    assert_agrees(report)
    return report


# --- parameters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [0.0, 1e-9, 1e-4])
def test_equal_time_constants(apart: float) -> None:
    values = {"tau_m": 8 * MS * (1 + apart), "tau_syn": 8 * MS}
    assert_exact(check(*generic_chain(LIF, (1.1, 1.0), values, dt=0.5 * MS), dt=0.5 * MS))


def test_equal_time_constants_are_the_limit_of_others() -> None:
    times = inputs()
    found = [
        run(chain(LIF, (1.1, 1.0), {"tau_m": 8 * MS * (1 + apart), "tau_syn": 8 * MS}), times).gradients
        for apart in (0.0, 1e-9)
    ]
    for key, value in found[0].items():
        assert np.linalg.norm(found[1][key] - value) <= 1e-6 * np.linalg.norm(value), key


def test_time_constants_that_meet_while_training() -> None:
    """The closed form in use must give way when values come that it can't resolve."""
    apart, times = chain(LIF, (1.1, 1.0), {"tau_m": 16 * MS, "tau_syn": 8 * MS}), inputs()
    together = chain(LIF, (1.1, 1.0), {"tau_m": 8 * MS, "tau_syn": 8 * MS})
    with Simulation(apart, SmoothSpikeTimes(), batch_size=2, dt=0.5 * MS) as simulation:
        simulation.run(times, np.zeros(2, dtype=int))
        moved = simulation.run(times, np.zeros(2, dtype=int), together.trainable())
    fresh = run(together, times)
    assert moved.loss == fresh.loss
    for key, value in fresh.gradients.items():
        atol = 1e-12 * np.abs(value).max()
        np.testing.assert_allclose(moved.gradients[key], value, rtol=1e-12, atol=atol, err_msg=key)


@pytest.mark.slow
def test_complex_eigenvalues() -> None:
    model = load_model("lif", "exp_synapse", "current_adaptation", "subthreshold_adaptation")
    case = generic_chain(model, (4.0, 5.0), {"a_z": 2.0, "tau_z": 20 * MS}, dt=0.2 * MS)
    a_z, tau = 2.0, 20 * MS
    eigenvalues = np.linalg.eigvals([[-1 / tau, -1 / tau], [a_z / tau, -1 / tau]])
    assert np.abs(eigenvalues.imag).min() > 0
    assert_exact(check(*case, dt=0.2 * MS))


def test_a_parameter_per_neuron() -> None:
    values = {"tau_m": np.array([15, 20, 26]) * MS, "v_th": np.array([0.9, 1, 1.1])}
    report = check(*generic_chain(LIF, (2.5, 3.0), values, dt=0.5 * MS), dt=0.5 * MS)
    assert_exact(report)
    assert {r.key: r.elements for r in report.rows}["hidden.tau_m"] == (3, 3)


def test_equal_time_constants_in_one_neuron_only() -> None:
    values = {"tau_m": np.array([20, 5, 5 * (1 + 1e-9)]) * MS, "tau_syn": np.array([5, 5, 5]) * MS}
    assert_exact(check(*generic_chain(LIF, (1.5, 3.0), values, dt=0.2 * MS), dt=0.2 * MS))


# --- wiring -----------------------------------------------------------------------------------------------------------


def test_masked_projections() -> None:
    network, times = generic_chain(LIF, (4.0, 7.0), dt=0.5 * MS, mask=True)
    assert_exact(check(network, times, dt=0.5 * MS))
    gradients = run(network, times).gradients
    for q in network.projections:
        assert q.mask is not None and not q.mask.all()
        assert not gradients[f"{q.name}.w"][~q.mask].any()


def excitatory_inhibitory(seed: int) -> Case:
    """Two populations, each projecting to both, with separate receptors for excitation and inhibition."""
    model = load_model("lif", "exp_synapse:exc", "exp_synapse:inh")
    rng = np.random.default_rng(seed)
    wiring = [("input", "exc", "exc", 3.0), ("input", "inh", "exc", 3.0), ("exc", "inh", "exc", 0.8)]
    wiring += [("exc", "exc", "exc", 0.6), ("inh", "exc", "inh", -0.6), ("inh", "inh", "inh", -0.5)]
    sizes = {"input": 4, "exc": 3, "inh": 2}
    populations = tuple(
        Population(name, sizes[name], model, {"tau_syn_inh": 8 * MS}, tuple(model.parameters))
        for name in ("exc", "inh")
    )
    projections = tuple(
        Projection(f"{a}_to_{b}", a, b, size * rng.uniform(0.5, 1.5, (sizes[a], sizes[b])), kind)
        for a, b, kind, size in wiring
    )
    network = Network("ei", (SpikeInput("input", 4),), populations, projections, "exc", 30 * MS)
    return network, inputs(seed=seed)


@pytest.mark.parametrize("dt", [1.0, 0.1])
def test_recurrent_excitatory_inhibitory_network(dt: float) -> None:
    report = check(*generic(excitatory_inhibitory, 0.1 * MS), dt=dt * MS)
    weights = {r.key for r in report.rows if "_to_" in r.key}
    assert len(weights) == 6
    assert {r.key for r in report.rows if r.absolute} & weights == set()
    if dt == 0.1:
        assert_exact(report)


def test_two_spikes_of_an_input_in_one_step() -> None:
    """A burst: the second spike is delivered a step later, at its own time."""

    def bursts(seed: int) -> Case:
        times = inputs(seed=seed)
        return chain(LIF, (1.3, 3.0), seed=seed), {"input": times["input"] + np.array([0.0, 0.037]) * MS}

    network, times = generic(bursts, 0.5 * MS)
    report = check(network, times, dt=0.5 * MS)
    assert_exact(report)
    single = run(network, {"input": times["input"][:, :, :1]}).loss
    assert abs(single - report.loss) > 1e-3


# --- delta synapses ---------------------------------------------------------------------------------------------------


def test_spikes_set_by_a_crossing_and_by_an_arrival() -> None:
    """Constant drive fires the neurons by itself, arrivals move them, and some carry them across."""
    model = load_model("lif", "delta_synapse")

    def driven(seed: int) -> Case:
        network = chain(model, (0.15, 0.2), seed=seed)
        drive = ([1.3, 1.42, 1.36], [1.18, 1.22])  # apart, for neurons with one drive would spike at the same instant
        populations = tuple(
            dataclasses.replace(p, parameters={"I_syn": np.array(d)})
            for p, d in zip(network.populations, drive, strict=True)
        )
        return dataclasses.replace(network, populations=populations), inputs(seed=seed, last=25 * MS, spikes=2)

    def both(network: Network, times: dict[str, np.ndarray]) -> bool:
        simulation = oracle.simulate(network, times)
        return 1 < simulation.at_arrivals < len(simulation.gdot())

    network, times = generic(driven, 0.1 * MS, both)
    report = check(network, times, dt=0.1 * MS)
    assert_exact(report)
    assert {r.key for r in report.rows if r.absolute} <= {"hidden.v_reset", "output.v_reset"}


def test_gradient_of_a_spike_at_an_arrival_flows_to_that_arrival() -> None:
    model = load_model("lif", "delta_synapse")
    network = Network(
        "caused",
        (SpikeInput("input", 2),),
        (Population("output", 1, model, learnable=tuple(model.parameters)),),
        (Projection("w", "input", "output", [[0.7], [0.7]]),),
        "output",
        20 * MS,
    )
    times = {"input": np.array([[2.3, 5.9]]) * MS}
    found = run(network, times, dt=1 * MS)
    assert found.output[0, 0, 0] == pytest.approx(5.9 * MS, abs=1e-15)
    # L = u + u²/2 with u = t/10 ms: only the second arrival's time counts, whatever weights and parameters are
    expected = np.array([[0.0, (1 + 0.59) / (10 * MS)]])
    np.testing.assert_allclose(found.gradients["input.times"], expected, rtol=1e-12)
    for key, value in found.gradients.items():
        assert key == "input.times" or not np.any(value), key


# --- losses -----------------------------------------------------------------------------------------------------------


def kink_network(weights: tuple[float, float]) -> Network:
    model = load_model("leaky_integrator", "exp_synapse")
    return Network(
        "kink",
        (SpikeInput("input", 2),),
        (Population("output", 1, model, learnable=tuple(model.parameters)),),
        (Projection("w", "input", "output", np.array(weights)[:, None]),),
        "output",
        30 * MS,
    )


@pytest.mark.parametrize("dt", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("arrival", [5.2, 5.0])
def test_maximum_on_an_inhibitory_kink(dt: float, arrival: float) -> None:
    """The maximum sits where inhibition arrives, still rising: it moves with that arrival by the rate before it."""
    network = kink_network((1.0, -6.0))
    times = {"input": np.array([[2.13, arrival]]) * MS}
    peak = oracle.simulate(network, times).maximum("v")
    assert peak.kind[0, 0] == "arrival"
    found = run(network, times, SmoothMaxima("v", 1.0), dt=dt * MS)
    s = (arrival - 2.13) * MS
    tau_m, tau_s = 20 * MS, 5 * MS
    m = tau_s / (tau_m - tau_s) * (np.exp(-s / tau_m) - np.exp(-s / tau_s))
    rate = tau_s / (tau_m - tau_s) * (np.exp(-s / tau_s) / tau_s - np.exp(-s / tau_m) / tau_m)
    assert found.loss == pytest.approx(m + m**2 / 2, rel=1e-12)
    error = 1 + m
    np.testing.assert_allclose(found.gradients["input.times"], error * rate * np.array([[-1.0, 1.0]]), rtol=1e-9)
    # the inhibitory weight does nothing before it acts
    np.testing.assert_allclose(found.gradients["w.w"], [[error * m], [0.0]], rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("dt", [1.0, 0.5, 0.1])
def test_smooth_and_kinked_maxima_together(dt: float) -> None:
    network, times = generic(readouts, 0.5 * MS)
    kinds = oracle.simulate(network, times).maximum("v").kind
    assert {"smooth", "arrival"} <= set(kinds.ravel())
    loss = MaxVoltageCrossEntropy(scale=0.2)
    report = check(network, times, dt=dt * MS, loss=loss, targets=np.array([0, 3, 1]))
    if dt <= 0.5:
        assert_exact(report)


@pytest.mark.parametrize("timescale", [0.5, 5.0])
def test_first_spike_cross_entropy(timescale: float) -> None:
    loss = TTFSCrossEntropy(tau0=timescale * MS, alpha=0.1)
    case = generic_chain(LIF, (2.5, 3.0), dt=0.5 * MS, trials=3)
    assert_exact(check(*case, dt=0.5 * MS, loss=loss, targets=np.array([0, 1, 1])))


def test_spike_time_error() -> None:
    targets = np.array([[[12.0, 20.0], [14.0, np.inf]], [[11.0, np.inf], [15.0, 22.0]]]) * MS
    case = generic_chain(LIF, (2.5, 3.0), dt=0.5 * MS)
    assert_exact(check(*case, dt=0.5 * MS, loss=SpikeTimeError(), targets=targets))


def test_a_silent_label_teaches_nothing() -> None:
    network = chain(LIF, (5.0, 5.0))
    out = network.projections[1]
    silenced = np.array(out.weights)
    silenced[:, 1] = 0.0
    silenced_out = dataclasses.replace(out, weights=silenced)
    network = dataclasses.replace(network, projections=(network.projections[0], silenced_out))
    with Simulation(network, TTFSCrossEntropy(), batch_size=1, dt=0.5 * MS) as simulation:
        found = simulation.run(inputs(trials=1), np.array([1]))
    assert found.predictions is not None and found.predictions[0] == 0
    assert not any(np.any(g) for g in found.gradients.values())


# --- batches and timing -----------------------------------------------------------------------------------------------


def test_trials_of_a_batch_do_not_touch_each_other() -> None:
    network, times = chain(LIF, (5.0, 5.0)), inputs(trials=3)
    targets = np.zeros(3, dtype=int)
    with Simulation(network, TTFSCrossEntropy(tau0=5 * MS), batch_size=3, dt=0.5 * MS) as simulation:
        whole = simulation.run(times, targets)
        parts = [simulation.run({"input": times["input"][k : k + 1]}, targets[:1]) for k in range(3)]
        pair = simulation.run({"input": times["input"][:2]}, targets[:2])
    assert whole.loss == pytest.approx(np.mean([p.loss for p in parts]), rel=1e-14)
    for key, value in whole.gradients.items():
        each = [p.gradients[key] for p in parts]
        expected = np.concatenate(each) / 3 if key == "input.times" else sum(each) / 3
        np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-14 * np.abs(value).max(), err_msg=key)
    two = (parts[0].gradients["w_in.w"] + parts[1].gradients["w_in.w"]) / 2
    np.testing.assert_allclose(pair.gradients["w_in.w"], two, rtol=1e-12, atol=1e-14 * np.abs(two).max())
    assert pair.gradients["input.times"].shape == times["input"][:2].shape


def test_grid_timing_rounds_spikes_and_approaches_the_reference() -> None:
    """Ordinary grid timing: spikes end on the grid, and the EventProp formula's error shrinks with dt."""
    network, times = generic_chain(LIF, (2.5, 3.0), dt=0.5 * MS)
    exact = oracle.gradient(network, times, SmoothSpikeTimes(), np.zeros(2, dtype=int)).gradients["w_in.w"]
    errors = []
    for dt in (0.5 * MS, 0.05 * MS, 0.005 * MS):
        found = run(network, times, dt=dt, timing="grid")
        steps = found.output[np.isfinite(found.output)] / dt
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)
        errors.append(np.linalg.norm(found.gradients["w_in.w"] - exact) / np.linalg.norm(exact))
    assert errors[2] < 0.3 * errors[1] < 0.1 * errors[0]
    assert 1e-6 < errors[2] < 1e-2


def test_precise_timing_does_not_depend_on_dt() -> None:
    network, times = generic_chain(LIF, (2.5, 3.0), dt=0.5 * MS)
    found = [run(network, times, dt=dt * MS) for dt in (0.5, 0.1, 0.02)]
    for other in found[1:]:
        assert other.loss == pytest.approx(found[0].loss, rel=1e-13)
        for key, value in found[0].gradients.items():
            deviation = np.linalg.norm(other.gradients[key] - value)
            assert deviation <= 1e-11 * np.linalg.norm(value), key
