"""A fitted neuron without synapses as a file: what is loaded is the model, with the fitted values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import snnmodels as snn
from snnmodels.fitting.template import bare_model
from snnmodels.losses import SpikeTimes
from snnmodels.templates import Model, TemplateError

VALUES = {"C_m": 203.456789e-12, "t_ref": 5.5e-3}
COMPOSITIONS = {
    "gif": {"v_th": -50e-3},
    "lif_current+current_adaptation": {"v_th": -56e-3, "b": 60e-12},
    "lif_current+adaptive_threshold": {"beta": 2e-3},
    "adex+refractory": {"v_T": -52e-3},
}


def spikes(model: Model, values: dict[str, float]) -> np.ndarray:
    """Of one neuron in 200 ms of a strong current."""
    network = snn.Network(
        "one",
        inputs=[],
        populations=[snn.Population("cells", 1, model, values)],
        projections=[],
        output="cells",
        duration=0.2,
        currents=[snn.CurrentInput("stimulus", 1, 20e-3, unit="amp")],
        drives=[snn.Drive("gain", "stimulus", "cells", np.ones((1, 1)), "I_syn")],
    )
    samples = np.random.default_rng(0).normal(1.2e-9, 0.3e-9, 10)
    with snn.Simulation(network, SpikeTimes(), batch_size=1) as simulation:
        return np.asarray(simulation.forward({"stimulus": samples}, gradient=False))


@pytest.mark.parametrize("components", COMPOSITIONS)
def test_the_file_is_the_model_with_its_values(components: str, tmp_path: Path) -> None:
    model, values = bare_model(components), {**VALUES, **COMPOSITIONS[components]}
    assert not model.receptors
    file = tmp_path / "fitted.toml"
    snn.save_model(model, file, values, title="Fitted", description='With "quotes",\nand a second line.')
    loaded = snn.load_model(file)
    assert set(loaded.parameters) - set(loaded.inputs) == set(model.parameters) - set(model.inputs)
    for name, parameter in loaded.parameters.items():
        expected = values.get(name, model.parameters[name].value if name in model.parameters else 0.0)
        assert parameter.value == pytest.approx(expected, rel=1e-14)
        if name in model.parameters:
            own = model.parameters[name]
            assert (parameter.unit, parameter.positive) == (own.unit, own.positive)
    assert (loaded.threshold, loaded.reset, loaded.constraints) == (model.threshold, model.reset, model.constraints)
    found, expected_spikes = spikes(loaded, {}), spikes(model, values)
    assert np.isfinite(expected_spikes).sum() > 3
    np.testing.assert_allclose(found, expected_spikes, rtol=1e-12)


def test_a_synapse_goes_with_a_saved_neuron(tmp_path: Path) -> None:
    snn.save_model(bare_model("lif_current"), tmp_path / "fitted.toml", VALUES)
    joined = snn.load_model(f"{tmp_path / 'fitted.toml'}+exp_synapse")
    assert set(joined.receptors) == {"exp_synapse"}
    assert joined.parameters["C_m"].value == VALUES["C_m"]


def test_a_bare_model_has_no_synapse() -> None:
    with pytest.raises(TemplateError, match="exp_synapse"):
        bare_model("lif_current+exp_synapse")
