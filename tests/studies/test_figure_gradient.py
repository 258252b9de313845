"""The gradient figure shows what it says, and recordings end where the gradients are."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from snnmodels.gradients.grid import GridSimulation
from snnmodels.losses import SpikeTimeError
from snnmodels.studies.recording import record

SCRIPT = Path(__file__).parents[2] / "scripts" / "figure_gradient.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("figure_gradient", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data(script):
    return script.compute()


def test_accumulated_gradients_reach_the_differences(script, data):
    reached = {
        "input_hidden.w": data["input_hidden.gw"][0],
        "hidden_output.w": data["hidden_output.gw"][0],
        "hidden.tau_m": data["hidden.grad_tau_m"][0].sum(keepdims=True),
    }
    assert set(reached) == set(script.GRADIENTS)
    for key, value in reached.items():
        assert np.abs(data[f"differences {key}"]).min() > 0
        np.testing.assert_allclose(value, data[f"differences {key}"], rtol=1e-6)
        np.testing.assert_array_equal(value, data[f"gradient {key}"])


def test_traces_share_the_time_axis_of_the_trial(data):
    steps = len(data["time"])
    for key in ("hidden.v", "hidden.lambda_v", "input_hidden.gw", "hidden.grad_tau_m"):
        assert len(data[key]) == steps
    assert (data["hidden.v"][0] == 0).all()
    # costates and gradients start from 0 at the end, and nothing after the last spike that the loss reads matters
    after = data["time"] > data["output.spikes"][0, 1] + 1e-4
    assert not data["output.lambda_v"][after].any()
    assert not data["hidden_output.gw"][after].any()
    # a weight's gradient changes only at arrivals: constant before the first input spike
    before = data["time"] < data["input.spikes"].min() - 1e-4
    np.testing.assert_array_equal(data["input_hidden.gw"][before], data["input_hidden.gw"][:1].repeat(before.sum(), 0))


def test_figure_is_drawn_again_from_its_data(script, data, tmp_path):
    np.savez_compressed(tmp_path / "gradient.npz", **data)
    picture = script.main(["--redraw", str(tmp_path), "--out", str(tmp_path), "--dpi", "40"])
    assert picture.stat().st_size > 1000
    with pytest.raises(FileNotFoundError, match="run once without --redraw"):
        script.main(["--redraw", str(tmp_path / "nowhere"), "--out", str(tmp_path)])


@pytest.mark.parametrize(("forward", "backward"), [(["hidden.u"], []), ([], ["hidden.v"])])
def test_unknown_keys(script, forward, backward):
    simulation = GridSimulation(script.network(), SpikeTimeError(), batch_size=1, dt=1e-3)
    with simulation, pytest.raises(ValueError, match="to record"):
        record(simulation, {"input": script.INPUTS}, script.TARGET, forward, backward)
