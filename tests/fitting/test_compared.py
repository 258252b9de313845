"""A fit compares voltages at their own times, and goes on from checkpoints of its own model only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from brian2 import mV, pF

import snnmodels as snn
from snnmodels.fitting import as_recording, read_recording
from snnmodels.fitting.terms import Group, VoltageError

DT = 1e-3


def test_a_voltage_is_compared_at_its_own_times() -> None:
    data = as_recording(np.zeros(21), DT, voltage=-0.07 + 1e-3 * np.arange(21))  # it rises by 1 mV/ms
    settings: Any = SimpleNamespace(voltage_interval=0.4e-3, mask=(2e-3, 10e-3))
    voltage = VoltageError(Group(data.sweeps), settings, forced=False)
    times = 0.4e-3 * np.arange(1, 51)
    assert voltage.count == len(times)  # the last sample is at 20 ms, and the sweep ends at 21 ms
    np.testing.assert_allclose(voltage.target[0, 0, : len(times)], -0.07 + times, atol=1e-15)


def test_spikes_of_repetitions_in_one_sweep_of_an_archive_are_found(tmp_path: Path) -> None:
    v = np.where(np.arange(100) == 50, 0.03, -0.07)
    np.savez(tmp_path / "r.npz", current=np.zeros((1, 100)), dt=DT, voltage=np.stack([v, v])[None])
    (sweep,) = read_recording(tmp_path / "r.npz", detect=True).sweeps
    assert [len(t) for t in sweep.spikes] == [1, 1]


def test_a_checkpoint_of_a_model_with_other_values_is_refused(tmp_path: Path) -> None:
    model = snn.load_model("lif_current")
    rng = np.random.default_rng(0)
    options: dict[str, Any] = {
        "free": {"C_m": (80 * pF, 400 * pF), "v_th": (-60 * mV, -50 * mV)}, "dt": DT, "spikes": [0.02],
        "current": 0.5e-9 + 0.1e-9 * rng.normal(size=40), "candidates": 4, "generations": 1, "polish_steps": 0,
        "progress": False, "target": "numpy", "likelihood": False, "checkpoint": tmp_path / "fit.json",
    }  # fmt: skip
    snn.fit(model, **options)
    snn.fit(snn.load_model("lif_current"), **options)  # loaded anew, it is the same
    leak = replace(model.parameters["g_L"], value=2 * model.parameters["g_L"].value)
    with pytest.raises(ValueError, match="another model"):
        snn.fit(replace(model, parameters={**model.parameters, "g_L": leak}), **options)
