"""Energy in four units, its published budgets, and what a price in each of them does."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from snnmodels.coding import (
    ATTWELL_LAUGHLIN_2001,
    HOWARTH_2012,
    CodingNetwork,
    bounding_box,
    charge_per_spike,
    energy,
    energy_per_spike,
    golden_angle_decoder,
    joint_loss,
    load_coding_network,
    log_uniform_norms,
    random_decoder,
    simulate,
    smooth_signal,
)
from snnmodels.coding.metabolism import MetabolicBudget
from snnmodels.coding.pricing import face_distance, priced_loss, priced_rate, selected_norm
from snnmodels.symbolic.parsing import symbol


@pytest.mark.parametrize(
    ("budget", "published"),
    [
        # abstracts of the two papers, per cent
        (ATTWELL_LAUGHLIN_2001, {"action_potential": 47, "postsynaptic": 34, "resting": 13, "recycling": 3}),
        (HOWARTH_2012, {"action_potential": 21, "postsynaptic": 50, "resting": 20, "recycling": 4, "calcium": 5}),
    ],
    ids=["2001", "2012"],
)
def test_budgets_give_the_published_shares(budget, published) -> None:
    shares = budget.shares(4.0)
    for name, per_cent in published.items():
        assert 100 * shares[name] == pytest.approx(per_cent, abs=0.9)
    assert sum(shares.values()) == pytest.approx(1)


def test_total_of_2001_is_the_published_one() -> None:
    """3.29e9 ATP per second and neuron at 4 spikes/s."""
    assert 4 * ATTWELL_LAUGHLIN_2001.per_spike + ATTWELL_LAUGHLIN_2001.resting == pytest.approx(3.29e9, rel=0.003)


def test_budgets_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="calcium = -1"):
        MetabolicBudget("mine", 1.0, 1.0, -1.0, 1.0, 1.0, 1.0)


def test_charge_is_the_sum_of_weights_in_resets(mixed) -> None:
    w = mixed.recurrent_weights()
    expected = (np.abs(w) / w.diagonal()[:, None]).sum(0) - 1
    np.testing.assert_allclose(charge_per_spike(mixed), expected, rtol=1e-12)
    # proportional to the norm where directions are mixed, and so blind to a rescaling of all neurons
    np.testing.assert_allclose(charge_per_spike(mixed) / mixed.norms, expected.mean() / mixed.norms.mean(), rtol=0.08)
    np.testing.assert_allclose(charge_per_spike(mixed.rescaled(3.0)), expected, rtol=1e-12)
    many = CodingNetwork(random_decoder(3, 1100, 0.1, seed=0), mixed.loss)
    w = many.recurrent_weights()
    np.testing.assert_allclose(charge_per_spike(many), (np.abs(w) / w.diagonal()[:, None]).sum(0) - 1, rtol=1e-10)


def test_slow_weights_move_charge() -> None:
    oscillator = load_coding_network("oscillator")
    still = CodingNetwork(oscillator.decoder, joint_loss({"c": "nu*r"}, parameters={"nu": 1e-4}))
    assert (charge_per_spike(oscillator) > 1.5 * charge_per_spike(still)).all()


def test_energy_of_a_response(mixed) -> None:
    response = simulate(mixed.with_parameters(nu=0.02), smooth_signal(0.6))
    used, rates = energy(response, 0.1), response.rates(0.1)
    assert used.spikes == pytest.approx(rates.sum())
    assert used.synaptic_charge == pytest.approx(rates @ charge_per_spike(mixed))
    assert used.resting_atp == mixed.n * HOWARTH_2012.resting
    atp = energy_per_spike(mixed, "atp")
    assert atp.mean() == pytest.approx(HOWARTH_2012.per_spike)
    assert used.atp == pytest.approx(rates @ atp)
    assert energy(response, 0.1, ATTWELL_LAUGHLIN_2001).atp > used.atp
    with pytest.raises(ValueError, match="'spikes', 'synaptic_events'"):
        energy_per_spike(mixed, "joules")  # type: ignore[arg-type]


def test_what_a_price_selects_is_derived() -> None:
    """Per spike: sqrt(eps_1), whatever the price per charge; per charge: nobody."""
    d, eps_1, eps_2 = map(symbol, ("d", "eps_1", "eps_2"))
    assert sp.simplify(face_distance() - (d + eps_1 / d + eps_2) / 2) == 0
    assert selected_norm() == sp.sqrt(eps_1)
    assert selected_norm(joint_loss({"charge": "eps_2*d*r"}, parameters={"eps_2": 0.0})) is None
    assert selected_norm(joint_loss({"area": "q*d**2*r"}, parameters={"q": 0.0})) is None
    between = selected_norm(joint_loss({"root": "q*sqrt(d)*r"}, parameters={"q": 0.0}))
    # independently: the nearest face on a grid of norms
    grid = np.geomspace(1e-3, 1, 20001)
    nearest = grid[np.argmin((grid + 0.02 / np.sqrt(grid)) / 2)]
    assert float(between.subs(symbol("q"), 0.02)) == pytest.approx(nearest, rel=1e-3)


def test_boxes_say_the_same(three_costs) -> None:
    norms = log_uniform_norms(100, 0.03, 0.6)
    network = CodingNetwork(golden_angle_decoder(100, norms), three_costs())
    free = bounding_box(network).offsets
    # the price of a charge moves all faces alike ...
    by_length = bounding_box(network.with_parameters(nu=0.3 * norms)).offsets
    np.testing.assert_allclose(by_length - free, 0.15, rtol=1e-9)
    charge = charge_per_spike(network)
    by_charge = bounding_box(network.with_parameters(nu=0.3 * norms.mean() * charge / charge.mean())).offsets
    np.testing.assert_allclose(by_charge - free, 0.15, rtol=0.08)
    # ... and on top of a price per spike it leaves the selected norm where it is
    both = bounding_box(network.with_parameters(nu=0.02 + 0.3 * norms)).offsets
    assert norms[np.argmin(both)] == pytest.approx(np.sqrt(0.02), rel=0.04)


@pytest.mark.parametrize(("eps_1", "eps_2"), [(0.01, 0.0), (0.08, 0.0), (0.01, 0.1), (0.03, 0.2)])
def test_priced_rate_and_loss_against_simulation(eps_1, eps_2, mixed, circle) -> None:
    response = simulate(mixed.with_parameters(nu=eps_1 + eps_2 * mixed.norms), circle)
    d = np.sqrt(eps_1)
    assert response.rate(0.5) == pytest.approx(priced_rate(d, eps_1, eps_2, 1.0, mixed.tau), rel=0.06)
    assert response.coding_loss(discard=0.5) == pytest.approx(priced_loss(d, eps_1, eps_2), rel=0.2)
    at_work = np.median(mixed.norms[response.spike_neurons[response.spike_steps > 5000]])
    assert at_work == pytest.approx(d, rel=0.12)


def test_fewer_spikes_move_the_same_charge(mixed, circle) -> None:
    """Charge per second is (rho - bias)/tau times a constant: fewer spikes save only what the bias saves."""
    cheap, dear = (energy(simulate(mixed.with_parameters(nu=nu), circle), 0.5) for nu in (0.002, 0.15))
    bias = np.sqrt([0.002, 0.15]) / 2
    assert cheap.spikes / dear.spikes > 7
    assert cheap.synaptic_charge / dear.synaptic_charge == pytest.approx((1 - bias[0]) / (1 - bias[1]), rel=0.07)
    assert dear.atp / cheap.atp > dear.spikes / cheap.spikes
