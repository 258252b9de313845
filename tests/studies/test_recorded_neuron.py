"""The fitted templates of the recorded neuron: they load, and hold what was searched."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import snnmodels as snn
from snnmodels.fitting.space import DELAY
from snnmodels.studies.recorded_neuron import CANDIDATES, LEVELS, judged, losses, noises, read_data

FITTED = Path(__file__).parents[2] / "docs" / "results" / "recording"


@pytest.mark.parametrize("way", ["", "_noise"])
@pytest.mark.parametrize("key", CANDIDATES)
def test_a_fitted_model_is_a_template(key: str, way: str) -> None:
    model, told = snn.load_model(FITTED / f"{key}{way}.toml"), json.loads((FITTED / f"{key}{way}.json").read_text())
    candidate = CANDIDATES[key]
    for name, bounds in candidate.free.items():
        value = told["values"][DELAY] if name == DELAY else model.parameters[name].value
        room = 1e-6 * (bounds.high - bounds.low)
        assert bounds.low - room <= value <= bounds.high + room
        if name != DELAY:
            assert value == pytest.approx(told["values"][name], rel=1e-5)
    for name, fixed in candidate.fixed.items():
        assert model.parameters[name].value == pytest.approx(fixed, rel=1e-9)
    assert told["cpu_seconds"] < 180
    # else models would be compared at levels none of which suits it
    assert LEVELS[0] < told["noise"] < LEVELS[-1]


def test_a_recording_is_read_from_a_folder(tmp_path: Path) -> None:
    train = np.arange(0.05, 9.9, 0.1)
    np.savez(tmp_path / "first_half.npz", current=np.zeros(100_000), dt=1e-4, spikes_0=train, spikes_1=train + 1e-3)
    data = read_data(tmp_path)
    assert len(data.spikes) == 2 and data.duration == pytest.approx(10.0)
    found = judged(train, data)
    assert [f["part"] for f in found] == ["fitted", "fitted", "validated", "validated"]
    later = [[train, train + (9 - k) * 1e-3] for k in range(len(LEVELS))]
    told = losses(later, train, data)
    assert told["noise"] == LEVELS[np.argmin([abs(9 - k - 1) for k in range(len(LEVELS))])]
    drawn = noises(data, 2)
    assert drawn.shape == (len(LEVELS), 2, 100_000)
    np.testing.assert_allclose(drawn.std(axis=(1, 2)), LEVELS, rtol=0.1)
    assert found[0]["spikes"] == 70 and found[0]["relative"] == pytest.approx(1.0)
    np.savez(tmp_path / "first_half.npz", current=np.zeros(100_000), dt=1e-4)
    with pytest.raises(ValueError, match="expected one current and spikes of several repetitions"):
        read_data(tmp_path)
