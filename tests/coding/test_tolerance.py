"""What a price of spikes buys in delay, noise and loss of neurons: predictions against simulations."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from snnmodels.coding import (
    CodingNetwork,
    ExplosionWarning,
    Signal,
    circle_signal,
    convex_rates,
    golden_angle_decoder,
    log_uniform_norms,
    ring_decoder,
    simulate,
)
from snnmodels.coding.tolerance import (
    burst_price,
    loss_of_survivors,
    noisy_rate,
    one_step_price,
)

D = 0.2


@pytest.fixture(scope="module")
def from_zero() -> Signal:
    whole = circle_signal(0.6)
    return Signal(whole.values * np.minimum(whole.times / 0.2, 1.0)[:, None], whole.dt)


@pytest.fixture
def ring(three_costs):
    def make(n: int, nu: float, **options) -> CodingNetwork:
        return CodingNetwork(ring_decoder(n, D), three_costs(nu=nu), **options)

    return make


@pytest.mark.parametrize("n", [6, 12, 24])
def test_price_of_one_step(n, ring, from_zero) -> None:
    """d² cos(2π/N) is enough; three quarters of it is not."""
    price = one_step_price(D, n)
    assert burst_price(D, n, 1, 1e-3 * D) == pytest.approx(price, abs=0.05 * D**2)
    for part, calm in ((1.05, True), (0.75, False)):
        undelayed = simulate(ring(n, part * price), from_zero).rate(0.2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExplosionWarning)
            delayed = simulate(ring(n, part * price, delay=1e-4), from_zero).rate(0.2)
        assert (delayed < 1.2 * undelayed) == calm


def test_a_price_of_d_squared_bears_two_milliseconds_in_a_ring_of_six(ring, from_zero) -> None:
    rates = [simulate(ring(6, D**2, delay=delay), from_zero).rate(0.2) for delay in (0.0, 2e-3)]
    assert rates[1] == pytest.approx(rates[0], rel=0.03)
    with pytest.warns(ExplosionWarning):
        assert simulate(ring(6, 0.0, delay=2e-4), from_zero).rate(0.2) > 8000


def test_redundancy_costs_tolerance() -> None:
    prices = [burst_price(D, n, 10, 0.05) for n in (6, 12, 24)]
    assert prices == sorted(prices)
    assert prices[2] > 2 * prices[0]
    with pytest.raises(ValueError, match="does not calm down"):
        burst_price(D, 200, 50, 0.5, resolution=2.0, directions=3)


@pytest.mark.parametrize("part", [0.5, 1.0])
def test_noise(part, ring, from_zero) -> None:
    nu = D**2
    quiet = simulate(ring(12, nu), from_zero).rate(0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExplosionWarning)
        rates = [simulate(ring(12, nu, noise=part * nu), from_zero, seed=s).rate(0.2) for s in range(3)]
    few, many = (noisy_rate(quiet, nu, part * nu, pairs, 1e-4) for pairs in (1, 6))
    assert 0.8 * few < np.mean(rates) < 1.2 * many
    assert few > 3 * quiet
    assert noisy_rate(quiet, nu, 0.0, 6, 1e-4) == quiet
    assert noisy_rate(quiet, nu, nu / 8, 6, 1e-4) < 1.01 * quiet


def test_lost_neurons(ring) -> None:
    whole = ring(32, 2 * D**2)
    kept = np.sort(np.random.default_rng(0).permutation(32)[:16])
    some = CodingNetwork(whole.decoder[:, kept], whole.loss)
    circle = circle_signal(2.0)
    for network in (whole, some):
        predicted = loss_of_survivors(network, directions=24)
        assert simulate(network, circle).coding_loss(discard=0.1) == pytest.approx(predicted, rel=0.1)
    # all neurons of one half of the plane lost: the other half of the circle is not coded
    half = CodingNetwork(whole.decoder[:, :16], whole.loss)
    predicted = loss_of_survivors(half, directions=24)
    assert predicted > 0.2
    assert simulate(half, circle).coding_loss(discard=0.1) == pytest.approx(predicted, rel=0.1)


def test_rates_without_any_cost(ring) -> None:
    """The box of the convex programme is one point; every direction is still represented exactly."""
    for seed in (0, 1):
        kept = np.sort(np.random.default_rng(seed).permutation(32)[:24])
        network = CodingNetwork(ring(32, 0.0).decoder[:, kept], ring(32, 0.0).loss)
        for angle in 2 * np.pi * np.arange(36) / 36:
            x = np.array([np.cos(angle), np.sin(angle)])
            np.testing.assert_allclose(network.tau * network.decoder @ convex_rates(network, x), x, atol=1e-9)


def test_mixed_norms_bear_a_delay_only_at_prices_above_the_largest_norm(three_costs) -> None:
    whole = circle_signal(0.6, frequency=2.0)
    signal = Signal(whole.values * np.minimum(whole.times / 0.2, 1.0)[:, None], whole.dt)
    decoder = golden_angle_decoder(50, log_uniform_norms(50, D / 10, D))
    for price, delay, calm in ((0.2, 2e-4, False), (4.0, 2e-4, True)):
        network = CodingNetwork(decoder, three_costs(nu=price * D**2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExplosionWarning)
            quiet, late = (simulate(replace(network, delay=x), signal).rate(0.2) for x in (0.0, delay))
        assert (late < 1.2 * quiet) == calm
