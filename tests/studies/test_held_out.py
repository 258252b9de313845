"""Parts that are left out of a fit of a recording, and what is told of them."""

from __future__ import annotations

import numpy as np
import pytest

from snnmodels.fitting.recording import as_recording
from snnmodels.studies.held_out import PROCEDURES, fold, jackknife, pooled, without
from snnmodels.studies.recorded_neuron import FITTED

DT = 1e-3


def test_no_spike_and_no_current_of_a_part_that_is_left_out_is_in_what_is_fitted() -> None:
    train = np.arange(0.05, 9.9, 0.1)
    (sweep,) = as_recording(np.arange(10_000) * 1e-15, DT, [train, train + 1e-3]).sweeps
    for k in range(4):
        start, end = fold(k, 4)
        kept = without(sweep, start, end)
        begins = [0.0, end] if 0 < k < 3 else ([end] if k == 0 else [0.0])
        assert [s.current[0] for s in kept.sweeps] == pytest.approx([b / DT * 1e-15 for b in begins])
        assert sum(s.duration for s in kept.sweeps) == pytest.approx(FITTED - (end - start))
        there = np.concatenate([s.spikes[0] + b for s, b in zip(kept.sweeps, begins, strict=True)])
        wanted = train[(train < FITTED) & ~((train >= start) & (train < end))]
        np.testing.assert_allclose(there, wanted, atol=1e-12)
    assert fold(3, 4)[1] == FITTED


def test_folds_are_pooled_by_their_sums() -> None:
    rows = [
        {"left out": {"4": {"factor": 0.6, "reliability": 0.9, "spikes": 20.0, "recorded": 25.0}}},
        {"left out": {"4": {"factor": 0.6, "reliability": 0.6, "spikes": 30.0, "recorded": 25.0}}},
    ]
    assert pooled(rows, "left out", 4e-3) == pytest.approx((0.8, 1.0))


def test_the_jackknife_of_means_is_their_standard_error() -> None:
    drawn = np.random.default_rng(0).normal(size=6)
    rows = [{"values": {"x": float(np.delete(drawn, k).mean())}} for k in range(6)]
    mean, error = jackknife(rows)["x"]
    assert mean == pytest.approx(drawn.mean())
    assert error == pytest.approx(drawn.std(ddof=1) / np.sqrt(6))


def test_procedures_differ_in_their_noise_alone() -> None:
    assert {name for _, options in PROCEDURES.values() for name in options} == {"noise"}
