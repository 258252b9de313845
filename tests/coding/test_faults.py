"""Networks that can't work are refused, and networks that don't work say so, in NumPy and in Brian2 alike."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from snnmodels.coding import (
    CodingNetwork,
    CodingWarning,
    Signal,
    TimeCourse,
    Trace,
    bounding_box,
    circle_signal,
    joint_loss,
    load_coding_network,
    random_decoder,
    ring_decoder,
    simulate,
    simulate_brian,
    smooth_signal,
)
from snnmodels.coding.faults import uncorrected_direction

BOTH = pytest.mark.parametrize("run", [simulate, simulate_brian], ids=["numpy", "brian2"])
SHORT = smooth_signal(0.01)


@pytest.fixture
def ring(three_costs) -> CodingNetwork:
    return CodingNetwork(ring_decoder(20, 0.2), three_costs())


def test_healthy_networks_are_quiet(ring) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", CodingWarning)
        simulate(ring, smooth_signal(0.3))
        # a jump of the signal, which takes 50 spikes in a row to catch up with
        simulate(CodingNetwork(ring_decoder(50, 0.02), ring.loss), circle_signal(0.3))
        # a set-point: thresholds are negative until there is activity
        simulate(ring.with_parameters(kappa=0.01, z=10.0), smooth_signal(0.3))
        for name in ("wiring_cost", "energy_budget", "slow_adaptation"):
            simulate(load_coding_network(name), smooth_signal(0.1))


@BOTH
def test_one_sided_decoders(run, three_costs) -> None:
    half = CodingNetwork(np.array([[1.0, 0.9, 0.9], [0.0, 0.3, -0.3]]), three_costs())
    with pytest.warns(CodingWarning, match=r"one-sided: no spike corrects an error in the direction .*unbounded"):
        run(half, SHORT)


def test_where_the_signal_goes_is_part_of_the_message(three_costs) -> None:
    up = CodingNetwork(np.array([[0.1]]), three_costs())
    positive, negative = (Signal(np.full((50, 1), sign), 1e-4) for sign in (1.0, -1.0))
    with pytest.warns(CodingWarning, match="the signal never goes there"):
        simulate(up, positive)
    with pytest.warns(CodingWarning, match="the signal goes there, up to 1"):
        simulate(up, negative)


@pytest.mark.parametrize(("m", "n"), [(1, 2), (2, 5), (3, 7), (3, 300), (8, 30)])
@pytest.mark.parametrize("seed", range(3))
def test_uncorrected_directions_against_the_definition(m, n, seed, three_costs) -> None:
    network = CodingNetwork(random_decoder(m, n, 0.1, seed=seed), three_costs())
    direction = uncorrected_direction(network)
    if direction is None:
        # Gordan: then 0 is a positive combination of the columns, so every random direction is opposed by somebody
        directions = np.random.default_rng(seed).standard_normal((2000, m))
        assert ((directions @ network.decoder).max(1) > 0).all()
        if m < 4:  # corners are many beyond
            bounding_box(network).vertices()
    else:
        assert np.linalg.norm(direction) == pytest.approx(1)
        assert (network.encoder @ direction <= 1e-9).all()
        with pytest.raises(ValueError, match="unbounded"):
            bounding_box(network).vertices()


def test_a_decoder_that_misses_a_dimension(three_costs) -> None:
    flat = np.zeros((3, 10))
    flat[:2] = ring_decoder(10)
    direction = uncorrected_direction(CodingNetwork(flat, three_costs()))
    np.testing.assert_allclose(np.abs(direction), [0, 0, 1], atol=1e-12)


@BOTH
def test_empty_boxes_are_refused(run, ring) -> None:
    with pytest.raises(ValueError, match=r"bounding box is empty: the threshold of neuron 0 is -0\.03.*-d² = -0\.04"):
        run(ring.with_parameters(nu=-0.1), SHORT)
    # a course that gets there later
    course = TimeCourse(np.array([0.0, -0.1]), 0.005)
    with pytest.raises(ValueError, match="bounding box is empty"):
        run(ring.with_parameters(nu=course), SHORT)


@BOTH
def test_negative_thresholds_that_leave_a_box(run, ring) -> None:
    price = np.zeros(20)
    price[3] = -0.045
    with pytest.warns(CodingWarning, match=r"threshold of neuron 3 is -0\.0025 \(those of 1 of 20 are not positive\)"):
        run(ring.with_parameters(nu=price), SHORT)


@BOTH
def test_costs_that_fall_with_activity(run, ring) -> None:
    with pytest.warns(CodingWarning, match="activity lowers thresholds: their slope in the trace 'a' is -0.001"):
        run(ring.with_parameters(mu=-0.001), SHORT)


@BOTH
def test_steps_too_large_and_saturation(run, three_costs) -> None:
    """A rate of lambda rho/d is 0.7 of the steps, then three times as many as there are."""
    signal = circle_signal(0.12)
    busy = CodingNetwork(ring_decoder(30, 50 / 7000), three_costs())
    with pytest.warns(CodingWarning, match=r"spikes in [67]\d % of the steps.*time step is too large for the rate"):
        response = run(busy, signal)
    assert response.coding_loss(discard=0.05) < 1e-3
    stuck = CodingNetwork(ring_decoder(30, 50 / 30000), three_costs())
    with pytest.warns(CodingWarning, match=r"spikes in 100 % of the steps.*saturated at one spike per step"):
        response = run(stuck, signal)
    assert response.coding_loss(discard=0.05) > 0.1


BRITTLE = joint_loss({"c": "nu*exp(300*a)"}, {"a": Trace("neuron", 0.1)}, {"nu": -1e-140})


@BOTH
def test_thresholds_that_stop_being_numbers(run) -> None:
    """exp(1600) - exp(800) is no number: such a neuron would be silent for ever, without a word."""
    with pytest.raises(ValueError, match=r"is not a number within .*can't be computed at the activity reached"):
        run(CodingNetwork(ring_decoder(10, 0.2), BRITTLE), circle_signal(0.05))


def test_costs_that_are_infinite_at_rest() -> None:
    loss = joint_loss({"c": "nu*log(r)"}, parameters={"nu": 0.1})
    with pytest.raises(ValueError, match=r"neuron 0 is (inf|nan) at rest: a cost is not finite where no neuron"):
        simulate(CodingNetwork(ring_decoder(10), loss), SHORT)
