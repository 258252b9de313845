"""Coincidence factors: counted pairs, chance, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from snnmodels.fitting.coincidence import (
    coincidence_factor,
    coincidences,
    compare_with_repetitions,
    intrinsic_reliability,
)


def test_pairs_are_as_many_as_an_assignment_finds() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        a, b = (np.sort(rng.uniform(0, 0.1, rng.integers(0, 12))) for _ in range(2))
        close = np.abs(a[:, None] - b) <= 4e-3
        rows, columns = linear_sum_assignment(close, maximize=True)
        assert coincidences(a, b, 4e-3) == close[rows, columns].sum()


def test_written_times_at_the_very_edge_of_the_window_coincide() -> None:
    assert coincidences(np.array([0.104]), np.array([0.1]), 4e-3) == 1  # 0.104 - 0.1 is above 0.004 by rounding


def test_a_factor_by_hand() -> None:
    train, reference = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.103, 0.25, 0.302])
    # two pairs; 2 x 4 spikes/s x 4 ms = 0.032 by chance for each of three
    expected = (2 - 0.032 * 3) / 3.5 / (1 - 0.032)
    assert coincidence_factor(train, reference, 1.0) == pytest.approx(expected, rel=1e-14)
    assert coincidence_factor(train, train, 1.0) == 1.0
    # what lies outside of the interval doesn't count
    assert coincidence_factor(np.append(train, 1.5), np.append(reference, np.inf), 1.0) == pytest.approx(expected)
    assert coincidence_factor(train + 7, reference + 7, 1.0, start=7.0) == pytest.approx(expected)


def test_a_poisson_process_coincides_by_chance() -> None:
    rng = np.random.default_rng(1)
    reference = np.sort(rng.uniform(0, 100, 1000))
    found = [coincidence_factor(np.sort(rng.uniform(0, 100, 500)), reference, 100.0) for _ in range(50)]
    assert abs(np.mean(found)) < 0.01


def test_repetitions_and_a_model() -> None:
    rng = np.random.default_rng(2)
    kept = np.arange(1, 41) * 0.1
    trains = [np.sort(kept + rng.normal(0, 2e-3, kept.size)) for _ in range(5)]
    reliability = intrinsic_reliability(trains, 4.2)
    found = compare_with_repetitions(kept, trains, 4.2)
    assert found.reliability == reliability
    assert found.relative == found.factor / reliability > 1  # the middle is closer to each than they are to each other
    assert (found.spikes, found.recorded) == (40, 40.0)


def test_what_is_no_train_or_interval_is_refused() -> None:
    train = np.array([0.1, 0.2])
    for wrong in (np.array([0.2, 0.1]), np.array([0.1, np.nan]), np.array([[0.1]])):
        with pytest.raises(ValueError, match="ascending spike times"):
            coincidence_factor(wrong, train, 1.0)
    with pytest.raises(ValueError, match="expected positive seconds"):
        coincidence_factor(train, train, 0.0)
    with pytest.raises(ValueError, match="come within 4 ms of anything by chance"):
        coincidence_factor(np.linspace(0, 0.99, 130), train, 1.0)
    with pytest.raises(ValueError, match="give two or more"):
        intrinsic_reliability([train], 1.0)
    with pytest.raises(ValueError, match="no better than chance"):
        compare_with_repetitions(train, [train, train + 0.5], 1.0)
