"""Measurements against the theory of section "Theory" of docs/coding_networks.md."""

from __future__ import annotations

import numpy as np
import pytest

from snnmodels.coding import (
    CodingNetwork,
    LIFPopulation,
    TradeoffPoint,
    at_equal_rate,
    circle_signal,
    convex_rates,
    effective_cost,
    energy,
    golden_angle_decoder,
    held_out_lif,
    joint_loss,
    least_squares_decoder,
    length_corrected,
    log_uniform_norms,
    measure,
    ring_decoder,
    scalar_gain,
    simulate,
    slope,
    smooth_signal,
    sweep_cost,
    sweep_scale,
    synapses_per_spike,
)
from snnmodels.coding.theory import (
    mixed_norms_loss,
    mixed_norms_rate,
    retrained_curve,
    retrained_loss,
    retrained_rate,
    ring_error_bound,
    self_consistent_rate,
)

TAU = 0.02
NUS = (0.0025, 0.005, 0.01, 0.02, 0.04, 0.08)


@pytest.fixture(scope="module")
def along_nu(mixed, circle) -> list[TradeoffPoint]:
    """One fixed network moved by nu."""
    return sweep_cost(mixed, "nu", NUS, circle, ("raw", "corrected"))


@pytest.fixture(scope="module")
def retrained(circle, three_costs) -> list[TradeoffPoint]:
    """Cost-free networks, one decoder scale each."""
    network = CodingNetwork(golden_angle_decoder(100, 0.1), three_costs())
    return sweep_scale(network, [0.3, 0.7, 1.5, 3.0, 6.0], circle)


@pytest.mark.parametrize(("n", "ratio"), [(8, 0.0), (8, 1.0), (20, 0.5)])
def test_ring_bound(n, ratio, three_costs) -> None:
    d = 0.2
    network = CodingNetwork(ring_decoder(n, d), three_costs(), {"nu": ratio * d**2})
    response = simulate(network, smooth_signal(1.0), spikes="sequential")
    error = np.linalg.norm(response.target - response.estimate, axis=1)
    bound = ring_error_bound(d, ratio * d**2, n)
    # the bound is tight as well: the error visits the corners
    assert 0.9 * bound < error.max() <= bound * (1 + 1e-12)


@pytest.mark.parametrize("n", [50, 100])
def test_cost_free_loss_and_rate(n, circle, three_costs) -> None:
    d = 0.1
    response = simulate(CodingNetwork(ring_decoder(n, d), three_costs()), circle)
    assert response.coding_loss(discard=0.5) == pytest.approx(retrained_loss(d), rel=0.05)
    assert response.rate(0.5) == pytest.approx(retrained_rate(d, 1.0, TAU), rel=0.02)


def test_one_network_moves_along_the_curve(along_nu, retrained) -> None:
    for point in along_nu:
        assert 0.95 <= point.loss["raw"] / mixed_norms_loss(point.setting) <= 1.2
        assert point.rate == pytest.approx(mixed_norms_rate(point.setting, 1.0, TAU), rel=0.03)
    assert slope(along_nu) == pytest.approx(-2, abs=0.15)
    assert slope(retrained) == pytest.approx(-2, abs=0.15)
    for point in retrained:
        assert point.loss["raw"] == pytest.approx(retrained_curve(point.rate, 1.0, TAU), rel=0.1)


def test_moved_network_against_retrained_ones_at_equal_rate(along_nu, retrained) -> None:
    assert at_equal_rate(along_nu, retrained).max() <= 4.5
    assert at_equal_rate(along_nu, retrained, "corrected").max() <= 1.5
    with pytest.raises(ValueError, match="not all within"):
        at_equal_rate(retrained, along_nu)


def test_moved_network_on_a_signal_that_is_not_a_circle(mixed, three_costs) -> None:
    signal = smooth_signal(5.0)
    moved = sweep_cost(mixed, "nu", NUS[1::2], signal, ("raw", "corrected"))
    network = CodingNetwork(golden_angle_decoder(100, 0.1), three_costs())
    retrained = sweep_scale(network, [0.4, 1.0, 2.5, 6.0], signal)
    assert slope(moved) == pytest.approx(-2, abs=0.15)
    assert at_equal_rate(moved, retrained).max() <= 4.5
    assert at_equal_rate(moved, retrained, "corrected").max() <= 1.5


@pytest.mark.parametrize(
    ("cost", "values"),
    [
        ("nu", (0.002, 0.006, 0.02, 0.06, 0.2)),
        ("mu", (0.0005, 0.002, 0.008, 0.03, 0.12)),
        ("kappa", (0.0003, 0.001, 0.003, 0.01, 0.03)),
    ],
)
def test_every_cost_trades_its_own_penalty_for_loss(cost, values, mixed) -> None:
    points = sweep_cost(mixed, cost, values, circle_signal(2.5))
    assert (np.diff([p.penalties[cost] for p in points]) < 0).all()
    assert (np.diff([p.loss["raw"] for p in points]) > 0).all()


@pytest.mark.parametrize(
    "values", [{"nu": 0.004}, {"mu": 1e-4}, {"kappa": 2e-6}, {"nu": 0.002, "mu": 1e-5, "kappa": 1e-6}], ids=str
)
def test_rates_solve_the_convex_programme(values, three_costs, constant_signal) -> None:
    network = CodingNetwork(golden_angle_decoder(20, 0.01), three_costs(), values)
    expected = convex_rates(network, np.array([1.0, 0.3]))
    measured = simulate(network, constant_signal([1.0, 0.3], 2.5)).rates(1.0)
    assert np.linalg.norm(measured - expected) <= 0.01 * np.linalg.norm(expected)


def test_convex_rates_are_optimal_and_refuse_what_is_not_quadratic(three_costs) -> None:
    network = CodingNetwork(
        golden_angle_decoder(12, 0.1),
        three_costs(tau_a=0.1, tau_b=0.05),
        {"nu": 0.1, "mu": 0.01, "kappa": 1e-3, "z": 3.0},
    )
    x = np.array([1.0, -0.4])

    def loss(f: np.ndarray) -> float:
        e = x - network.decoder @ f * TAU
        return float(e @ e + 0.1 * f.sum() * TAU + 0.01 * ((0.1 * f) ** 2).sum() + 1e-3 * (0.05 * f.sum() - 3) ** 2)

    best = convex_rates(network, x)
    assert (best >= 0).all()
    rng = np.random.default_rng(0)
    for _ in range(200):
        other = np.maximum(best + rng.normal(scale=rng.choice([0.01, 0.3, 3]), size=12), 0)
        assert loss(other) >= loss(best) - 1e-12
    cubic = CodingNetwork(ring_decoder(5), joint_loss({"c": "nu*r**3"}, parameters={"nu": 1.0}))
    with pytest.raises(ValueError, match="not quadratic"):
        convex_rates(cubic, x)
    concave = CodingNetwork(ring_decoder(5), joint_loss({"c": "-nu*r**2"}, parameters={"nu": 1.0}))
    with pytest.raises(ValueError, match="concave"):
        convex_rates(concave, x)


@pytest.fixture(scope="module")
def wide(three_costs) -> CodingNetwork:
    return CodingNetwork(golden_angle_decoder(100, log_uniform_norms(100, 0.03, 1.2)), three_costs())


@pytest.mark.parametrize(
    ("values", "low", "high"), [({"kappa": 0.001}, 0.63, 0.72), ({"nu": 0.02}, 0.95, 1.08)], ids=str
)
def test_growth_with_the_signal(values, low, high, wide) -> None:
    """Feedback inhibition turns rate ~ rho into rate ~ rho^(2/3)."""
    network, radii = wide.with_parameters(**values), (0.5, 1.0, 2.0, 4.0)
    rates = [simulate(network, circle_signal(2.5, radius=rho)).rate(0.5) for rho in radii]
    assert low <= np.polyfit(np.log(radii), np.log(rates), 1)[0] <= high


def test_effective_costs_predict_inhibition_and_adaptation(wide) -> None:
    kappa, tau_b = 0.001, TAU
    response = simulate(wide.with_parameters(kappa=kappa), circle_signal(2.5))
    predicted = self_consistent_rate(lambda f: kappa * (1 + 2 * f * tau_b), 1.0, TAU)
    assert response.rate(0.5) == pytest.approx(predicted, rel=0.05)
    cost = effective_cost(response)
    np.testing.assert_allclose(cost[:, 0], kappa * (1 + 2 * response.trace("B")), rtol=1e-9)
    adapting = simulate(wide.with_parameters(mu=0.003, nu=0.01), circle_signal(0.3))
    np.testing.assert_allclose(
        effective_cost(adapting), 0.01 + 0.003 * (1 + 2 * adapting.trace("a")), rtol=1e-9, atol=1e-12
    )


def test_standard_population_has_a_flatter_curve() -> None:
    """Retrained at every gain and scored on another signal."""
    train, test = smooth_signal(15.0, seed=100), smooth_signal(3.0, seed=200)
    points = held_out_lif(LIFPopulation(), (0.6, 1.0, 2.0, 3.0), train, test)
    rate, loss = np.log([[p.rate, p.loss["retrained"]] for p in points]).T
    assert np.polyfit(rate, loss, 1)[0] == pytest.approx(-1.1, abs=0.4)


def test_fitted_readouts_are_not_scored_on_the_signal_they_were_fitted_on(mixed) -> None:
    with pytest.raises(ValueError, match="scored on another signal"):
        measure(simulate(mixed, smooth_signal(0.6)), 0.0, ["least_squares"])


def test_readouts(mixed, circle) -> None:
    response = simulate(mixed.with_parameters(nu=0.04), circle)
    raw, x = response.estimate, response.target
    gain = scalar_gain(raw, x)
    best = min(((g * raw - x) ** 2).sum() for g in (gain - 1e-3, gain + 1e-3))
    assert ((gain * raw - x) ** 2).sum() < best
    corrected = length_corrected(response)
    late = slice(5000, None)
    added = np.linalg.norm(corrected[late], axis=1) - np.linalg.norm(raw[late], axis=1)
    np.testing.assert_allclose(added, np.sqrt(0.04) / 2, rtol=1e-9)
    r = response.trace("r")[late]
    fitted = least_squares_decoder(r, x[late])
    residual = x[late] - r @ fitted.T
    np.testing.assert_allclose(r.T @ residual / len(r), 0, atol=1e-8)
    with pytest.raises(ValueError, match="zero everywhere"):
        scalar_gain(np.zeros((3, 2)), np.ones((3, 2)))


def test_energy_counts_spikes_and_synapses(three_costs, circle) -> None:
    network = CodingNetwork(ring_decoder(10, 0.2), three_costs(), {"nu": 0.01})
    # 9 others, of which two are orthogonal in none of the pairs of ten; B in the threshold; two read-outs, of which
    # neurons 0 and 5 (along the first axis) reach numerically one or both
    synapses = synapses_per_spike(network)
    assert synapses[1] == 9 + 1 + 2
    response = simulate(network, circle)
    used = energy(response, 0.5)
    assert used.spikes == response.rate(0.5)
    assert used.synaptic_events == pytest.approx(float(response.rates(0.5) @ synapses))
