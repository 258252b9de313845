"""The reference simulation: both forms agree, the box holds, and without the winner rule it does not."""

from __future__ import annotations

import numpy as np
import pytest

from snnmodels.coding import (
    CodingNetwork,
    Homeostat,
    Response,
    Signal,
    TimeCourse,
    circle_signal,
    dynamical_signal,
    golden_angle_decoder,
    joint_loss,
    load_coding_network,
    log_uniform_norms,
    random_decoder,
    ring_decoder,
    simulate,
    smooth_signal,
)


def assert_same_spikes(one: Response, other: Response, at_least: int = 100) -> None:
    assert len(one.spike_steps) >= at_least
    np.testing.assert_array_equal(one.spike_steps, other.spike_steps)
    np.testing.assert_array_equal(one.spike_neurons, other.spike_neurons)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"nu": 0.02},
        {"mu": 0.01},
        {"kappa": 0.002},
        {"nu": 0.01, "mu": 0.005},
        {"nu": 0.01, "kappa": 0.002, "z": 2.0},
        {"nu": 0.005, "mu": 0.003, "kappa": 0.001, "z": 1.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("equal_time_constants", [True, False])
def test_threshold_form_and_weight_form_give_identical_spike_trains(values, equal_time_constants, three_costs) -> None:
    loss = three_costs() if equal_time_constants else three_costs(tau_a=0.1, tau_b=0.05)
    network = CodingNetwork(golden_angle_decoder(40, log_uniform_norms(40, 0.05, 0.4)), loss, values)
    signal = smooth_signal(0.8, seed=5)
    assert_same_spikes(simulate(network, signal), simulate(network, signal, form="weight"), at_least=50)


def test_per_neuron_costs_and_weighted_error_in_both_forms(three_costs) -> None:
    loss = joint_loss({"sparsity": "nu*d*r"}, parameters={"nu": 0.0}, weight=np.array([[2.0, 0.3], [0.3, 1.0]]))
    network = CodingNetwork(random_decoder(2, 30, 0.1, seed=1), loss, {"nu": np.linspace(0, 0.2, 30)})
    signal = smooth_signal(0.8)
    assert_same_spikes(simulate(network, signal), simulate(network, signal, form="weight"))


def test_no_voltage_stays_above_threshold_under_the_sequential_rule(three_costs) -> None:
    network = CodingNetwork(ring_decoder(30, 0.1), three_costs(), {"nu": 0.003, "mu": 0.001, "kappa": 1e-4})
    response = simulate(network, smooth_signal(1.0), spikes="sequential")
    assert len(response.spike_steps) > 100
    assert response.worst_margin is not None
    assert response.worst_margin.max() <= 1e-12


def test_without_the_winner_rule_rates_explode(three_costs) -> None:
    network = CodingNetwork(ring_decoder(50, 0.1), three_costs())
    signal = smooth_signal(0.3)
    winner, everybody = simulate(network, signal), simulate(network, signal, spikes="all")
    assert everybody.rate() > 10 * winner.rate()


def test_voltage_is_the_projected_error(mixed) -> None:
    """The estimate of a response is the D r inside the voltages: a network fed its own error spikes the same."""
    signal = smooth_signal(0.5)
    response = simulate(mixed, signal)
    r = response.trace("r")
    np.testing.assert_allclose(r @ mixed.decoder.T, response.estimate, atol=1e-12)
    voltages = (response.target - response.estimate) @ mixed.encoder.T
    # nobody but the winner may be above threshold, and the winner reset itself below its own
    crossed = voltages[response.spike_steps, response.spike_neurons] + mixed.norms[response.spike_neurons] ** 2
    assert (crossed > mixed.norms[response.spike_neurons] ** 2 / 2).all()


def test_online_step_of_a_cost_equals_the_static_network(mixed) -> None:
    circle = circle_signal(6.0)
    course = TimeCourse.from_steps({0.0: 0.005, 2.0: 0.04}, circle.duration, 1e-3)
    moved = simulate(mixed.with_parameters(nu=course), circle)
    static = simulate(mixed.with_parameters(nu=0.04), circle)
    assert moved.rate(2.02) == pytest.approx(static.rate(2.02), rel=0.0025)
    assert moved.coding_loss(discard=2.02) == pytest.approx(static.coding_loss(discard=2.02), rel=0.03)
    before = simulate(mixed.with_parameters(nu=0.005), circle)
    first = before.spike_steps < 20000
    np.testing.assert_array_equal(before.spike_neurons[first], moved.spike_neurons[: first.sum()])
    assert moved.rate(2.02) < 0.5 * before.rate(2.02)


def test_homeostat_keeps_its_books(mixed) -> None:
    """Mean of f/f* - 1 equals the change of ln nu over eta T, exactly: what is spent moves the price."""
    budget, gain, signal = 300.0, 3.0, smooth_signal(8.0)
    response = simulate(mixed.with_parameters(nu=Homeostat(0.002, budget, gain, maximum=1.0)), signal)
    nu = response.controlled["nu"]
    spent = len(response.spike_steps) / signal.duration / budget - 1
    # the last recorded price does not yet contain a spike of the last step
    last = gain / budget * (response.spike_steps[-1] == signal.steps - 1)
    assert spent == pytest.approx((np.log(nu[-1] / 0.002) + last) / (gain * signal.duration), abs=1e-4)
    assert nu[-1] > 2 * nu[0]


@pytest.mark.slow
def test_homeostat_holds_the_budget(mixed) -> None:
    signal = smooth_signal(100.0, seed=3)
    response = simulate(mixed.with_parameters(nu=Homeostat(0.02, 300.0, 2.0)), signal)
    assert response.rate() == pytest.approx(300.0, rel=0.004)


def test_homeostat_in_synaptic_events_and_with_a_changing_budget(mixed) -> None:
    signal = circle_signal(6.0)
    budget = TimeCourse.from_steps({0.0: 30000.0, 3.0: 60000.0}, signal.duration, 0.01)
    network = mixed.with_parameters(nu=Homeostat(0.01, budget, 10.0, energy=np.full(mixed.n, 100.0)))
    response = simulate(network, signal)
    first = ((response.spike_steps > 10000) & (response.spike_steps < 30000)).sum() / 2
    assert first == pytest.approx(300, rel=0.05)
    assert response.rate(4.0) == pytest.approx(600, rel=0.05)


def test_delays_cost_spikes_and_population_traces_wait(three_costs) -> None:
    loss, signal = three_costs(), smooth_signal(0.5)
    prompt = CodingNetwork(ring_decoder(20, 0.2), loss, {"nu": 0.1, "kappa": 0.001})
    late = CodingNetwork(ring_decoder(20, 0.2), loss, {"nu": 0.1, "kappa": 0.001}, delay=1e-3)
    a, b = simulate(prompt, signal), simulate(late, signal)
    assert b.rate() > a.rate()
    first = b.spike_steps[0]
    trace = b.trace("B")
    assert trace[first + 9] == 0
    assert trace[first + 10] >= 1
    with pytest.raises(ValueError, match="without delays"):
        simulate(late, signal, form="weight")
    with pytest.raises(ValueError, match="not a multiple of the time step"):
        simulate(CodingNetwork(ring_decoder(20, 0.2), loss, delay=1.5e-4), signal)


def test_voltage_noise_has_the_stated_size_and_a_seed() -> None:
    # thresholds out of reach: the voltages are the noise alone
    network = CodingNetwork(ring_decoder(8, 0.1), joint_loss({"c": "nu*r"}, parameters={"nu": 0.0}), noise=0.01)
    still = Signal(np.zeros((20001, 2)), 1e-4)
    # threshold (0.01 + nu)/2 = 0.02: two standard deviations
    quiet = network.with_parameters(nu=0.03)
    one, again, other = simulate(quiet, still), simulate(quiet, still), simulate(quiet, still, seed=1)
    np.testing.assert_array_equal(one.spike_steps, again.spike_steps)
    assert not np.array_equal(one.spike_steps, other.spike_steps)
    assert len(one.spike_steps) > 10
    # four standard deviations: hardly ever
    assert len(simulate(network.with_parameters(nu=0.09), still).spike_steps) <= 1


def test_network_runs_the_dynamics_of_its_signal() -> None:
    network = load_coding_network("oscillator")
    drive = np.zeros((15000, 2))
    drive[:2000, 0] = 5.0
    signal = dynamical_signal(network.loss.dynamics, drive, np.zeros(2))
    response = simulate(network, signal)
    # the drive ended long ago; the network still oscillates with the signal
    assert response.coding_loss(discard=0.2) < 0.05 * (signal.values[2000:] ** 2).sum(1).mean()
    with pytest.raises(ValueError, match="needs a drive"):
        simulate(network, smooth_signal(0.1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parameters": {"eta": 1.0}}, "'eta' is not a parameter of the loss"),
        ({"parameters": {"nu": np.zeros(3)}}, r"\(8,\)"),
        ({"parameters": {"kappa": np.zeros(8)}}, "population cost and must be one number"),
        ({"parameters": {"nu": np.nan}}, "must be finite"),
        ({"delay": -1.0}, "must not be negative"),
        ({"decoder": np.zeros((2, 4))}, "non-zero"),
        ({"decoder": np.zeros(4)}, r"shape \(M, N\)"),
    ],
)
def test_networks_that_cannot_be(change, message, three_costs) -> None:
    with pytest.raises(ValueError, match=message):
        CodingNetwork(**({"decoder": ring_decoder(8), "loss": three_costs()} | change))


def test_simulations_that_cannot_be(mixed) -> None:
    signal = smooth_signal(0.01)
    with pytest.raises(ValueError, match="3 dimensions, the decoder 2"):
        simulate(mixed, smooth_signal(0.01, dimensions=3))
    with pytest.raises(ValueError, match="'winner', 'sequential' or 'all'"):
        simulate(mixed, signal, spikes="some")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'threshold' or 'weight'"):
        simulate(mixed, signal, form="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'mu' changes in time and sits in the weights"):
        simulate(mixed.with_parameters(mu=TimeCourse(np.ones(2), 0.1)), signal, form="weight")
    with pytest.raises(ValueError, match="can't discard"):
        simulate(mixed, signal).rate(1.0)
    with pytest.raises(ValueError, match="not a multiple"):
        simulate(mixed.with_parameters(nu=TimeCourse(np.ones(2), 1.5e-4)), signal)
    with pytest.raises(ValueError, match="positive budget"):
        Homeostat(1.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="start at time 0"):
        TimeCourse.from_steps({1.0: 1.0}, 2.0, 0.1)


@pytest.mark.parametrize(
    ("values", "dt", "message"),
    [
        (np.zeros(5), 1e-4, "shape"),
        (np.full((5, 2), np.nan), 1e-4, "finite"),
        (np.zeros((5, 2)), 0.0, "positive seconds"),
    ],
)
def test_signals_that_cannot_be(values, dt, message) -> None:
    with pytest.raises(ValueError, match=message):
        Signal(values, dt)
