"""Explosions and budgets out of reach are reported, and nothing else is."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from snnmodels.coding import (
    BudgetWarning,
    CodingNetwork,
    ExplosionWarning,
    Homeostat,
    Signal,
    circle_signal,
    explosion_time,
    ring_decoder,
    simulate,
    simulate_brian,
    smooth_signal,
)

D = 0.2


def ring(n: int, price: float, three_costs, **options) -> CodingNetwork:
    return CodingNetwork(ring_decoder(n, D), three_costs(nu=price * D**2), **options)


def test_an_explosion_is_reported_with_its_cause(three_costs) -> None:
    network = ring(12, 0.0, three_costs, delay=2e-4)
    with pytest.warns(ExplosionWarning, match=r"spikes reach others 0\.0002 s late.*price"):
        response = simulate(network, circle_signal(0.5))
    start = explosion_time(response)
    assert start is not None
    assert start < 0.1
    assert response.rate(0.2) > 9000
    with pytest.warns(ExplosionWarning):
        simulate_brian(network, circle_signal(0.05))


@pytest.mark.parametrize(
    ("n", "price", "delay", "scale"),
    [(12, 0.0, 0.0, 1.0), (12, 1.5, 2e-4, 1.0), (6, 1.0, 2e-3, 1.0), (50, 0.0, 0.0, 30.0)],
)
def test_calm_and_merely_busy_populations_are_not(n, price, delay, scale, three_costs) -> None:
    """The last one spikes in three of four steps because its signal asks for it."""
    network = ring(n, price, three_costs, delay=delay)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ExplosionWarning)
        response = simulate(network, circle_signal(0.5, radius=scale))
    assert explosion_time(response) is None
    if scale > 1:
        assert response.rate(0.2) > 7000


def test_noise_as_the_cause(three_costs) -> None:
    with pytest.warns(ExplosionWarning, match="voltage noise of 0.02"):
        simulate(ring(50, 0.0, three_costs, noise=0.02), circle_signal(0.3))


def test_a_budget_out_of_reach(mixed) -> None:
    with pytest.warns(BudgetWarning, match=r"'nu' ended at its maximum 0\.02"):
        simulate(mixed.with_parameters(nu=Homeostat(0.01, 20.0, 20.0, maximum=0.02)), smooth_signal(1.0))
    still = Signal(np.zeros((5001, 2)), 1e-4)
    with pytest.warns(BudgetWarning, match=r"'nu' ended at its minimum 0\.001, where 0 of"):
        simulate(mixed.with_parameters(nu=Homeostat(0.01, 300.0, 20.0)), still)


def test_bounds_keep_the_price_from_winding_up(mixed) -> None:
    """Two seconds of silence; wide bounds let the price fall by e^-8, narrow ones to a quarter of what it was."""
    x = circle_signal(4.0).values
    x[10000:30000] = 0.0
    pause = Signal(x, 1e-4)
    rates = {}
    for key, bounds in {"wide": (1e-9, 1.0), "narrow": (0.0075, 0.12)}.items():
        network = mixed.with_parameters(nu=Homeostat(0.03, 250.0, 4.0, minimum=bounds[0], maximum=bounds[1]))
        response = simulate(network, pause)
        price = response.controlled["nu"]
        assert price.min() >= bounds[0] * (1 - 1e-12)
        back = (response.spike_steps >= 30000) & (response.spike_steps < 31000)
        rates[key] = back.sum() / 0.1
    assert rates["wide"] > 2 * rates["narrow"]
    assert rates["narrow"] < 1000
