"""The low-rank form gives the spike trains of the dense one, in NumPy and in Brian2, and reaches sizes it can't."""

from __future__ import annotations

import numpy as np
import pytest

from snnmodels.coding import (
    CodingNetwork,
    Homeostat,
    Response,
    Signal,
    TimeCourse,
    brian_network,
    dynamical_signal,
    golden_angle_decoder,
    joint_loss,
    load_coding_network,
    log_uniform_norms,
    measure,
    random_decoder,
    simulate,
    simulate_brian,
    smooth_signal,
    synapses_per_spike,
)
from snnmodels.coding.factors import nonzero_per_column
from snnmodels.targets.devices import preferences

N = 30


def assert_same(one: Response, other: Response, at_least: int = 50) -> None:
    assert len(one.spike_steps) >= at_least
    np.testing.assert_array_equal(one.spike_steps, other.spike_steps)
    np.testing.assert_array_equal(one.spike_neurons, other.spike_neurons)


@pytest.fixture(scope="module")
def signal() -> Signal:
    return smooth_signal(0.25, seed=7)


@pytest.fixture(scope="module")
def mixed_norms(three_costs) -> CodingNetwork:
    decoder = golden_angle_decoder(N, log_uniform_norms(N, 0.05, 0.4))
    return CodingNetwork(decoder, three_costs(tau_a=0.1, tau_b=0.05, nu=0.05, mu=0.002, kappa=3e-4, z=0.1))


def changed(network: CodingNetwork, **changes) -> CodingNetwork:
    return CodingNetwork(**{"decoder": network.decoder, "loss": network.loss, **changes})


CHANGES = {
    "plain": {},
    "delay": {"delay": 3e-4},
    "noise": {"noise": 0.02},
    "delay and noise": {"delay": 1e-4, "noise": 0.02},
    "budget": {"parameters": {"nu": Homeostat(0.1, 600.0, 8.0, np.linspace(1, 2, N))}},
    "budget of each neuron": {"parameters": {"nu": Homeostat(0.1, 30.0, 8.0, scope="neuron")}},
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("spikes", ["winner", "sequential"])
def test_numpy(mixed_norms, signal, change, spikes) -> None:
    network = changed(mixed_norms, **CHANGES[change])
    dense, low = (simulate(network, signal, spikes=spikes, recurrence=r) for r in ("dense", "low_rank"))
    assert_same(dense, low)
    for name in dense.controlled:
        np.testing.assert_array_equal(dense.controlled[name], low.controlled[name])


def test_weight_form_which_adds_to_diagonal_and_rank(mixed_norms, signal) -> None:
    assert mixed_norms.recurrent_factors("weight").rank == 3
    assert_same(*(simulate(mixed_norms, signal, form="weight", recurrence=r) for r in ("dense", "low_rank")))


@pytest.mark.parametrize("delay", [0.0, 2e-4])
def test_slow_weights(delay) -> None:
    oscillator = load_coding_network("oscillator")
    drive = np.zeros((2500, 2))
    drive[:1500, 0] = 10.0
    driven = dynamical_signal(oscillator.loss.dynamics, drive, np.zeros(2))
    network = changed(oscillator, delay=delay)
    assert_same(*(simulate(network, driven, recurrence=r) for r in ("dense", "low_rank")))


def test_many_signals_in_a_metric_of_their_own() -> None:
    metric = np.eye(8) + 0.2
    loss = joint_loss({"sparsity": "nu*r"}, parameters={"nu": 0.02}, weight=metric)
    network = CodingNetwork(random_decoder(8, 120, 0.2, seed=3), loss)
    signal = smooth_signal(0.25, dimensions=8)
    assert_same(*(simulate(network, signal, recurrence=r) for r in ("dense", "low_rank")))


def test_factors_are_the_weights(mixed_norms) -> None:
    for form in ("threshold", "weight"):
        factors, weights = mixed_norms.recurrent_factors(form), mixed_norms.recurrent_weights(form)
        np.testing.assert_allclose(factors.of_itself(), weights.diagonal(), rtol=1e-14)
        np.testing.assert_allclose(
            weights - np.diag(factors.diagonal), factors.left @ factors.right, rtol=1e-12, atol=1e-16
        )
    np.testing.assert_allclose(mixed_norms.recurrent_weights(), mixed_norms.decoder.T @ mixed_norms.decoder, rtol=1e-12)


def test_what_is_chosen(mixed_norms) -> None:
    few = CodingNetwork(np.array([[0.1, -0.1]]), joint_loss({"c": "nu*r"}, parameters={"nu": 0.0}))
    assert mixed_norms.chosen_recurrence("threshold", None) == "low_rank"
    assert mixed_norms.chosen_recurrence("threshold", "dense") == "dense"
    assert CodingNetwork(np.eye(2), few.loss).chosen_recurrence("threshold", None) == "dense"
    with pytest.raises(ValueError, match="'dense'"):
        simulate(mixed_norms, smooth_signal(0.01), recurrence="sparse")  # type: ignore[arg-type]


def test_brian_takes_2_n_synapses(mixed_norms, signal) -> None:
    with preferences({"codegen.target": "numpy"}):
        low = brian_network(changed(mixed_norms, parameters={"kappa": 0.0}), signal, name="low")
        dense = brian_network(mixed_norms, signal, recurrence="dense", name="dense")
    assert len(low.recurrent) == N
    assert len(dense.recurrent) == N * (N - 1)


def test_brian_with_one_linear_cost(signal) -> None:
    """Neurons that have no variable of their own that decays."""
    network = CodingNetwork(
        golden_angle_decoder(N, log_uniform_norms(N, 0.05, 0.4)), joint_loss({"c": "nu*r"}, parameters={"nu": 0.03})
    )
    assert_same(simulate(network, signal, recurrence="dense"), simulate_brian(network, signal, recurrence="low_rank"))


def test_brian_with_values_of_each_neuron_in_time(mixed_norms, signal) -> None:
    lost = TimeCourse.from_steps({0.0: np.zeros(N), 0.1: np.where(np.arange(N) < 10, 10.0, 0.0)}, 0.25, 0.05)
    loss = joint_loss({"price": "nu*r", "lesion": "off*r"}, parameters={"nu": 0.05, "off": 0.0})
    network = CodingNetwork(
        mixed_norms.decoder, loss, {"nu": Homeostat(0.05, np.linspace(10, 40, N), 5.0, scope="neuron"), "off": lost}
    )
    reference = simulate(network, signal)
    assert_same(reference, simulate_brian(network, signal, recurrence="low_rank"))
    assert_same(reference, simulate_brian(network, signal, recurrence="dense"))
    late = reference.spike_neurons[reference.spike_steps >= 1000]
    assert len(late) > 20
    assert late.min() >= 10
    assert reference.spike_neurons.min() < 10


@pytest.mark.slow
@pytest.mark.parametrize("change", [c for c in CHANGES if "noise" not in c])
def test_cpp_standalone(mixed_norms, signal, change) -> None:
    network = changed(mixed_norms, **CHANGES[change])
    assert_same(
        simulate(network, signal, recurrence="dense"),
        simulate_brian(network, signal, recurrence="low_rank", target="cpp_standalone"),
    )


@pytest.fixture(scope="module")
def large() -> CodingNetwork:
    n = 10_000
    return CodingNetwork(
        golden_angle_decoder(n, log_uniform_norms(n, 0.03, 0.6)), load_coding_network("joint").loss, {"nu": 0.01}
    )


def test_ten_thousand_neurons(large) -> None:
    short = smooth_signal(0.1)
    response = simulate(large, short)
    assert_same(response, simulate_brian(large, short), at_least=30)
    used = measure(response, 0.01, discard=0.02)
    assert used.rate == response.rate(0.02)


def test_weights_that_would_take_gigabytes_are_refused() -> None:
    n = 100_000
    network = CodingNetwork(golden_angle_decoder(n, 0.1), joint_loss({"c": "nu*r"}, parameters={"nu": 0.1}))
    with pytest.raises(ValueError, match="80 GB; use recurrence='low_rank'"):
        simulate(network, smooth_signal(0.001), recurrence="dense")
    assert len(simulate(network, smooth_signal(0.01)).spike_steps) > 1


def test_penalties_are_those_of_the_whole_traces(three_costs, signal) -> None:
    """Mean of r, a² and (B - z)², taken of arrays of all neurons and steps."""
    network = CodingNetwork(
        golden_angle_decoder(200, log_uniform_norms(200, 0.03, 0.6)),
        three_costs(nu=0.001, mu=1e-4, kappa=1e-5, z=2.0),
    )
    response = simulate(network, signal)
    found = measure(response, 0.0, discard=0.05).penalties
    late = slice(500, None)
    assert found["nu"] == pytest.approx(response.trace("r")[late].sum(1).mean())
    assert found["mu"] == pytest.approx((response.trace("a")[late] ** 2).sum(1).mean())
    assert found["kappa"] == pytest.approx(((response.trace("B")[late] - 2.0) ** 2).mean())


def test_synapses_are_counted_by_shared_signals() -> None:
    rng = np.random.default_rng(0)
    decoder = rng.standard_normal((5, 40)) * (rng.random((5, 40)) < 0.3) + np.eye(5, 40)
    decoder[0, np.abs(decoder).sum(0) == 0] = 1.0
    weights = decoder.T @ decoder != 0
    counted = nonzero_per_column(decoder.T, decoder)
    np.testing.assert_array_equal(counted, weights.sum(0) - weights.diagonal())
    network = CodingNetwork(decoder, joint_loss({"c": "nu*r"}, parameters={"nu": 0.1}))
    np.testing.assert_array_equal(synapses_per_spike(network), counted + (decoder != 0).sum(0))


def test_prices_of_neurons_follow_from_spikes(mixed_norms, signal) -> None:
    """One neuron of its own: ln p rises by gain/budget at its spikes, falls by gain dt, within the bounds."""
    homeostat = Homeostat(0.1, 30.0, 8.0, minimum=0.05, maximum=0.2, scope="neuron")
    response = simulate(mixed_norms.with_parameters(nu=homeostat), signal)
    prices = response.prices("nu")
    assert prices.shape == (signal.steps, N)
    busiest = int(np.argmax(np.bincount(response.spike_neurons, minlength=N)))
    level, expected = np.log(0.1), []
    spikes = set(response.spike_steps[response.spike_neurons == busiest].tolist())
    for k in range(signal.steps):
        level = max(level - 8.0 * signal.dt, np.log(0.05))
        expected.append(np.exp(level))
        level = min(level + 8.0 / 30.0 * (k in spikes), np.log(0.2))
    np.testing.assert_allclose(prices[:, busiest], expected, rtol=1e-12)
    assert prices.min() == pytest.approx(0.05)
    np.testing.assert_array_equal(response.prices("nu", 7), prices[6::7])
