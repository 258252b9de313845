"""Distances to the mean of repetitions, against the sums they stand for; frozen noise against its process."""

from __future__ import annotations

import numpy as np
import pytest

from snnmodels.fitting.noise import frozen_noise
from snnmodels.fitting.trains import MeanTrainDistance
from snnmodels.losses import VanRossumDistance

RNG = np.random.default_rng(0)
RECORDED = [np.sort(RNG.uniform(0, 1.2, n)) for n in (20, 18, 22, 19)]
TIMES = np.full((2, 3, 25), np.inf)  # trials, neurons, spikes
for _index in np.ndindex(2, 3):
    TIMES[_index][: 15 + sum(_index)] = np.sort(RNG.uniform(0, 1.2, 15 + sum(_index)))
TAU = 20e-3


def by_definition(times: np.ndarray, start: float, end: float) -> float:
    """Sums over all pairs."""
    t = times[(times >= start) & (times < end)]
    kept = [r[(r >= start) & (r < end)] for r in RECORDED]

    def pairs(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.exp(-np.abs(a[:, None] - b) / TAU).sum())

    n = np.mean([len(r) for r in kept])
    cross = np.mean([pairs(t, r) for r in kept])
    among = np.mean([pairs(a, b) for a in kept for b in kept])
    return float((pairs(t, t) - 2 * cross + among) / n)


@pytest.mark.parametrize("interval", [(0.0, 2.0), (0.3, 0.9)])
def test_distances_are_the_sums_over_pairs(interval: tuple[float, float]) -> None:
    found, _ = MeanTrainDistance(RECORDED, TAU, *interval)(TIMES)
    for index in np.ndindex(2, 3):
        assert found[index] == pytest.approx(by_definition(TIMES[index], *interval), rel=1e-12)


def test_derivatives_are_those_of_the_distances() -> None:
    distance = MeanTrainDistance(RECORDED, TAU, 0.0, 2.0)
    _, gradient = distance(TIMES, gradient=True)
    assert gradient is not None and not gradient[np.isinf(TIMES)].any()
    h = 1e-8
    for index in [(0, 0, 0), (0, 1, 7), (1, 2, 17), (1, 0, 15)]:
        up, down = TIMES.copy(), TIMES.copy()
        up[index] += h
        down[index] -= h
        slope = (distance(up)[0].sum() - distance(down)[0].sum()) / (2 * h)
        assert gradient[index] == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_it_is_twice_the_van_rossum_distance_to_one_train() -> None:
    train = RECORDED[0]
    found, gradient = MeanTrainDistance([train], TAU, 0.0, 2.0)(TIMES[:1], gradient=True)
    expected = VanRossumDistance(tau=TAU).evaluate(TIMES[:1], np.broadcast_to(train, (1, 3, train.size)))
    assert found.sum() == pytest.approx(2 * expected.value / train.size, rel=1e-12)
    assert gradient is not None
    np.testing.assert_allclose(gradient, 2 * np.asarray(expected.gradient) / train.size, rtol=1e-9, atol=1e-9)
    assert MeanTrainDistance([train], TAU, 0.0, 2.0)(train)[0] == pytest.approx(0.0, abs=1e-12)


def test_spikes_at_the_same_time_count_once() -> None:
    shared = np.array([0.1, 0.2])
    distance = MeanTrainDistance([shared, shared, np.array([0.2])], TAU, 0.0, 1.0)
    k = np.exp(-0.1 / TAU)
    among = (4 * (2 + 2 * k) + 4 * (1 + k) + 1) / 9
    cross = (2 * (2 + 2 * k) + 1 + k) / 3
    found, gradient = distance(shared, gradient=True)
    assert found == pytest.approx((2 + 2 * k - 2 * cross + among) / (5 / 3), rel=1e-12)
    assert gradient is not None and np.isfinite(gradient).all()


def test_an_interval_without_recorded_spikes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no recorded spike from 1\.5 to 2 s"):
        MeanTrainDistance(RECORDED, TAU, 1.5, 2.0)
    with pytest.raises(ValueError, match="must end after its start"):
        MeanTrainDistance(RECORDED, TAU, 1.0, 1.0)


def test_noise_has_its_deviation_and_correlation_whatever_the_step() -> None:
    for dt in (0.1e-3, 1e-3):
        noise = frozen_noise(20, 20_000, dt, std=2.0, tau=3e-3, seed=1, silent=False)
        assert noise.std() == pytest.approx(2.0, rel=0.02)
        lag = round(3e-3 / dt)
        assert (noise[:, lag:] * noise[:, :-lag]).mean() / 4 == pytest.approx(np.exp(-1), abs=0.03)
    assert not frozen_noise(3, 10, 1e-3)[0].any()
    np.testing.assert_array_equal(frozen_noise(3, 10, 1e-3, seed=5), frozen_noise(3, 10, 1e-3, seed=5))
    with pytest.raises(ValueError, match="std: expected a positive number, got -1"):
        frozen_noise(3, 10, 1e-3, std=-1.0)


def test_repetitions_of_both_are_compared_by_pairs_of_different_ones() -> None:
    times, (start, end) = np.moveaxis(TIMES, 1, 0), (0.1, 1.1)  # three repetitions of two candidates
    distance = MeanTrainDistance(RECORDED, TAU, start, end)
    value, slope = distance.between(times, gradient=True)
    assert slope is not None

    def pairs(a: np.ndarray, b: np.ndarray) -> float:
        a, b = (t[(t >= start) & (t < end)] for t in (a, b))
        return float(np.exp(-np.abs(a[:, None] - b) / TAU).sum())

    def mean(of: list[np.ndarray]) -> float:
        return float(np.mean([pairs(a, b) for j, a in enumerate(of) for k, b in enumerate(of) if j != k]))

    for c in range(2):
        own = list(times[:, c])
        cross = np.mean([pairs(a, b) for a in own for b in RECORDED])
        assert value[c] == pytest.approx((mean(own) - 2 * cross + mean(RECORDED)) / distance.recorded, rel=1e-12)
    h = 1e-7
    for index in ((0, 0, 3), (1, 0, 7), (2, 1, 0), (0, 1, 14)):
        step = np.zeros(times.shape)
        step[index] = h
        up, down = (distance.between(times + s)[0][index[1]] for s in (step, -step))
        assert slope[index] == pytest.approx((up - down) / (2 * h), rel=1e-5, abs=1e-7)


def test_repetitions_of_one_neuron_are_at_no_distance() -> None:
    rng = np.random.default_rng(1)
    regular = np.arange(0.05, 1.95, 0.05)
    trains = [np.sort(regular + rng.normal(0, 4e-3, regular.size)) for _ in range(200)]
    distance = MeanTrainDistance(trains[:100], TAU, 0.0, 2.0)
    assert distance.between(np.array(trains[100:]))[0] == pytest.approx(0.0, abs=2e-3)
    assert distance(np.array(trains[100:]))[0].mean() > 0.1  # what their jitter costs without pairing
