"""Held-out comparisons: what is fitted where, and what standard and spike-coding networks lose without retraining."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snnmodels.coding import (
    CodingNetwork,
    LIFPopulation,
    Signal,
    held_out_coding,
    held_out_lif,
    load_coding_network,
    simulate,
    smooth_signal,
)
from snnmodels.coding.baselines import Samples, held_out, length_offset, regularised_decoder

TRAIN, TEST = smooth_signal(12.0, seed=100), smooth_signal(2.5, seed=200)


def test_samples_are_the_traces(mixed) -> None:
    signal = smooth_signal(0.4, seed=3)
    response = simulate(mixed.with_parameters(nu=0.01), signal)
    samples = Samples.of(response, 0.1, every=7)
    steps = np.arange(6, signal.steps, 7)
    steps = steps[steps >= 1000]
    np.testing.assert_allclose(samples.traces, response.trace("r")[steps], atol=1e-12)
    np.testing.assert_array_equal(samples.target, response.target[steps])
    assert samples.rate == response.rate(0.1)
    lif = LIFPopulation(n=20).simulate(signal)
    np.testing.assert_allclose(Samples.of(lif, 0.1, every=7).traces, lif.traces[steps], atol=1e-12)
    with pytest.raises(ValueError, match="expected at least 1"):
        Samples.of(response, every=0)


def test_one_loop_of_gains_is_one_run_each() -> None:
    population, signal = LIFPopulation(n=30, seed=2), smooth_signal(0.2)
    for gain, one in zip((0.7, 3.0), population.simulate_gains(signal, (0.7, 3.0)), strict=True):
        alone = replace(population, gain=gain).simulate(signal)
        np.testing.assert_array_equal(one.spike_steps, alone.spike_steps)
        np.testing.assert_array_equal(one.spike_neurons, alone.spike_neurons)
        assert one.population.gain == gain


def test_a_gain_is_an_inverse_threshold() -> None:
    """Neurons of threshold 1/g and current I are those of threshold 1 and current g I: one knob, not two."""
    signal, tau, g = smooth_signal(0.2), 0.02, 2.5
    response = LIFPopulation(n=12, gain=g, refractory=0.0).simulate(signal)
    population, keep = response.population, np.exp(-signal.dt / tau)
    v = np.random.default_rng(1).uniform(0, 1, 12) / g
    found = []
    for k in range(signal.steps):
        x = (signal.values[k + 1] - keep * signal.values[k]) / (1 - keep)
        v = keep * v + (1 - keep) * (population.encoders @ x + population.biases)
        found += [(k, i) for i in np.flatnonzero(v > 1 / g)]
        v[v > 1 / g] = 0.0
    assert len(found) > 50
    assert found == list(zip(response.spike_steps, response.spike_neurons, strict=True))


def test_nothing_is_fitted_on_what_it_is_scored_on() -> None:
    """With noise for traces every fit on the test signal would help; fits on the training signal can't."""
    rng = np.random.default_rng(0)
    train, test = (Samples(rng.random((300, 200)), rng.standard_normal((300, 2)), 1.0) for _ in range(2))
    frozen = rng.standard_normal((2, 200)) / 100
    losses, _ = held_out(train, test, frozen)
    silent = float((test.target**2).sum(1).mean())
    assert losses["retrained"] >= 0.97 * silent
    on_itself, _ = held_out(test, test, frozen)
    changed = replace(test, target=-test.target)
    again, _ = held_out(train, changed, frozen)
    # the same decoders on the opposite signal: only cross terms change sign
    estimates = (losses["retrained"] + again["retrained"]) / 2
    assert estimates > silent
    assert on_itself["gain"] <= losses["gain"]


def test_fits_are_the_best_of_their_kind() -> None:
    rng = np.random.default_rng(1)
    target = rng.standard_normal((500, 3))
    estimate = target * (1 - 0.3 / np.linalg.norm(target, axis=1, keepdims=True))
    assert length_offset(estimate, target) == pytest.approx(0.3, abs=0.02)
    traces = rng.random((4000, 5))
    decoder = rng.standard_normal((3, 5))
    fitted = regularised_decoder(Samples(traces, traces @ decoder.T, 1.0))
    np.testing.assert_allclose(fitted, decoder, rtol=1e-4, atol=1e-4)
    prior = decoder + 0.1
    np.testing.assert_allclose(regularised_decoder(Samples(traces, traces @ decoder.T, 1.0), prior), decoder, atol=1e-4)
    with pytest.raises(ValueError, match="no spikes"):
        regularised_decoder(Samples(np.zeros((10, 2)), np.ones((10, 1)), 0.0))


@pytest.mark.parametrize("seed", range(3))
def test_standard_population_at_twice_the_rate(seed) -> None:
    """Held out: the frozen decoder fails by far; one refitted gain takes most of that back, whatever the seed."""
    train, test = (smooth_signal(t, seed=s + seed) for t, s in ((12.0, 100), (2.5, 200)))
    own, twice = held_out_lif(LIFPopulation(seed=seed), (2.0, 4.4), train, test)
    assert twice.rate / own.rate == pytest.approx(2.0, rel=0.05)
    assert own.loss["raw"] == pytest.approx(own.loss["retrained"], rel=0.01)
    assert twice.loss["raw"] >= 20 * twice.loss["retrained"]
    assert twice.loss["gain"] <= 6 * twice.loss["retrained"]
    assert twice.loss["gain"] <= 0.1 * twice.loss["raw"]


def test_one_network_moved_by_a_price_keeps_its_decoder() -> None:
    """Held out, the same read-outs: the length needs what theory says, and no fit."""
    joint = load_coding_network("joint")
    train = Signal(TRAIN.values[:25001], TRAIN.dt)
    for point in held_out_coding(lambda nu: joint.with_parameters(nu=nu), (0.005, 0.05), train, TEST):
        assert point.length_offset == pytest.approx(np.sqrt(point.setting) / 2, rel=0.12)
        assert point.loss["length"] < 0.45 * point.loss["raw"]
        # what nothing is known of beyond D doesn't help: a decoder of all spike trains is no better than one gain
        assert point.loss["retrained"] > 0.8 * point.loss["gain"]


def test_more_signals(three_costs) -> None:
    population = LIFPopulation(n=64, seed=1, dimensions=8)
    np.testing.assert_allclose(np.linalg.norm(population.encoders, axis=1), 2.0)
    with pytest.raises(ValueError, match="codes 8 signals, not 2"):
        population.simulate(TEST)
    weighted = CodingNetwork(np.eye(2), load_coding_network("wiring_cost").loss)
    with pytest.raises(ValueError, match="without a weight"):
        held_out_coding(lambda _: weighted, (1.0,), TEST, TEST)
