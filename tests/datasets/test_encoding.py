"""Encoders and labelled trials."""

import numpy as np
import pytest

from snnmodels.datasets import Trials, drop_spikes, image_latency, level_crossings, yin_yang_latency


def test_yin_yang_latency():
    times = yin_yang_latency(np.array([[0.0, 0.5, 1.0, 0.5]]))
    np.testing.assert_allclose(times, [[0.0, 15e-3, 30e-3, 15e-3, 0.0]], rtol=1e-15)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 3)), r"expected shape \(trials, 4\), got \(2, 3\)"),
        (np.full((1, 4), 1.5), "between 0 and 1"),
        (np.full((1, 4), np.nan), "between 0 and 1"),
    ],
)
def test_yin_yang_latency_refuses(samples, message):
    with pytest.raises(ValueError, match=message):
        yin_yang_latency(samples)
    with pytest.raises(ValueError, match="longest: expected a positive time"):
        yin_yang_latency(np.zeros((1, 4)), longest=-1)


def test_image_latency():
    images = np.array([[[0, 1], [2, 255]]], dtype=np.uint8)
    np.testing.assert_allclose(image_latency(images), [[np.inf, np.inf, 20e-3 * (1 - 2 / 255), 0.0]], rtol=1e-15)
    np.testing.assert_allclose(
        image_latency(images, longest=10e-3, faintest=0)[0, 1], 10e-3 * (1 - 1 / 255), rtol=1e-15
    )


@pytest.mark.parametrize("images", [np.zeros((2, 4)), np.zeros(4, dtype=np.uint8)])
def test_image_latency_refuses(images):
    with pytest.raises(ValueError, match="expected uint8 of shape"):
        image_latency(images)


def test_dropout_is_seeded_and_has_the_right_rate():
    times = np.full((200, 500), 1e-3)
    dropped = drop_spikes(times, 0.2, np.random.default_rng(5))
    np.testing.assert_array_equal(dropped, drop_spikes(times, 0.2, np.random.default_rng(5)))
    # 1e5 draws: the rate's standard deviation is 0.0013.
    assert np.isinf(dropped).mean() == pytest.approx(0.2, abs=5 * 0.0013)
    assert (times == 1e-3).all()


def test_dropout_keeps_trains_ascending():
    rng = np.random.default_rng(0)
    times = np.sort(rng.random((20, 3, 8)), axis=-1)
    dropped = drop_spikes(times, 0.5, rng)
    assert np.isinf(dropped).any()
    np.testing.assert_array_equal(dropped, np.sort(dropped, axis=-1))
    assert np.isin(dropped[np.isfinite(dropped)], times).all()


@pytest.mark.parametrize("probability", [-0.1, 1.0, np.nan])
def test_dropout_probability(probability):
    with pytest.raises(ValueError, match="probability: expected a number from 0"):
        drop_spikes(np.zeros((1, 1)), probability, np.random.default_rng(0))


def test_trials_encode_when_taken():
    images = np.array([[0, 255], [255, 0], [2, 3]], dtype=np.uint8)
    trials = Trials({"pixels": images}, np.array([4, 5, 6]), image_latency)
    assert len(trials) == 3
    inputs, targets = trials.take(np.array([2, 0]))
    np.testing.assert_array_equal(inputs["pixels"], image_latency(images[[2, 0]]))
    np.testing.assert_array_equal(targets, [6, 4])
    assert len(trials.subset(slice(2))) == 2
    plain, _ = Trials({"input": np.zeros((3, 2))}, np.arange(3)).take(slice(1))
    assert plain["input"].shape == (1, 2)


@pytest.mark.parametrize(
    ("samples", "targets", "message"),
    [
        ({}, [1], "at least one input"),
        ({"a": np.zeros(3)}, [1, 2, 3], r"samples\['a'\]: expected spike times"),
        ({"a": np.zeros((3, 2))}, [1, 2], "3 trials, but targets has 2"),
        ({"a": np.zeros((0, 2))}, [], "at least one trial"),
    ],
)
def test_trials_refuse(samples, targets, message):
    with pytest.raises(ValueError, match=message):
        Trials(samples, np.array(targets))


def staircase(trains, times, level, start=0.0):
    """What a receiver makes of on and off spikes, (trials, m, times)."""
    count = (trains[..., None] <= times).sum(axis=2)
    return start + level * (count[:, 0::2] - count[:, 1::2])


def test_level_crossings_by_hand():
    up_and_down = np.array([[[0.0, 1.0, 0.0]]])
    np.testing.assert_allclose(
        level_crossings(up_and_down, 1e-3, 0.4),
        # up through 0.4 and 0.8, down through 0.4 (a level below 0.8) and 0 (not before the last sample)
        [[[0.4e-3, 0.8e-3], [1.6e-3, np.inf]]],
        rtol=1e-12,
    )
    assert np.isinf(level_crossings(np.zeros((2, 3, 4)), 1e-3, 0.1)).all()
    assert level_crossings(np.zeros((2, 3, 4)), 1e-3, 0.1).shape == (2, 6, 1)


def test_level_crossings_follow_the_signal():
    rng = np.random.default_rng(0)
    dt, level = 1e-3, 0.05
    signals = np.cumsum(rng.normal(scale=0.04, size=(3, 2, 400)), axis=2)
    signals -= signals[:, :, :1]
    trains = level_crossings(signals, dt, level)
    with np.errstate(invalid="ignore"):
        assert not (np.diff(trains, axis=2) < 0).any()
    received = staircase(trains, np.arange(400) * dt, level)
    assert np.abs(received - signals)[:, :, :-1].max() <= level * (1 + 1e-9)
    other = level_crossings(signals + 7.0, dt, level, start=7.0)
    np.testing.assert_allclose(other, trains, atol=1e-12)


def test_level_crossings_with_a_refractory_period():
    # from 0 up to 1 in one burst, at the rate that the refractory period allows
    trains = level_crossings(np.ones((1, 1, 100)), 1e-4, 0.25, refractory=1e-3)
    np.testing.assert_allclose(trains, [[[0.0, 1e-3, 2e-3, 3e-3], [np.inf] * 4]], rtol=1e-12)
    fast = np.linspace(0, 10, 101)[None, None]
    gaps = np.diff(level_crossings(fast, 1e-4, 0.25, refractory=1e-3)[0, 0])
    np.testing.assert_allclose(gaps, 1e-3, rtol=1e-9)


@pytest.mark.parametrize(
    ("signals", "options", "message"),
    [
        (np.zeros((2, 3)), {}, r"signals: expected shape \(trials, m, samples\) .*, got \(2, 3\)"),
        (np.zeros((2, 3, 1)), {}, "two samples or more"),
        (np.full((1, 1, 3), np.nan), {}, "signals: expected finite values"),
        (np.zeros((1, 1, 3)), {"level": 0.0}, "level: expected a positive number, got 0.0"),
        (np.zeros((1, 1, 3)), {"dt": 0.0}, "dt: expected a positive time"),
        (np.zeros((1, 1, 3)), {"refractory": -1.0}, "refractory: expected a time of at least 0"),
    ],
)
def test_level_crossings_refuse(signals, options, message):
    with pytest.raises(ValueError, match=message):
        level_crossings(signals, **{"dt": 1e-3, "level": 0.1, **options})
