"""Cython agrees with numpy, also where synaptic code tells sources apart."""

import shutil

import numpy as np
import pytest

from snnmodels.eventprop import MaxVoltageCrossEntropy, Simulation, TTFSCrossEntropy
from snnmodels.eventprop.protocol import Loss
from snnmodels.templates import load_network


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize(
    ("output", "loss", "weight"),
    [
        # a maximum at a kink and a spike set off by an arrival belong to one source each
        ("leaky_integrator", MaxVoltageCrossEntropy(), -1.0),
        ("lif+delta_synapse", TTFSCrossEntropy(), 1.3),
    ],
)
def test_cython_equals_numpy(output: str, loss: Loss, weight: float) -> None:
    network = load_network(
        "yin_yang",
        seed=3,
        hidden={"n": 6},
        output={"model": output},
        hidden_output={
            "weights": {"distribution": "normal", "mean": weight, "std": 0.8},
            "receptor": output.split("+")[1],
        }
        if "+" in output
        else {"weights": {"distribution": "normal", "mean": weight, "std": 0.8}},
        duration="40*ms",
    )
    inputs = {"input": np.random.default_rng(5).uniform(0, 30e-3, (3, 5))}
    labels = np.array([0, 1, 2])
    numpy, cython = (
        Simulation(network, loss, batch_size=3, dt=0.5e-3, target=target).run(inputs, labels)  # type: ignore[arg-type]
        for target in ("numpy", "cython")
    )
    assert numpy.spikes["hidden"] > 1
    assert cython.loss == pytest.approx(numpy.loss, rel=1e-12)
    assert np.linalg.norm(numpy.gradients["input.times"]) > 0
    for key, gradient in numpy.gradients.items():
        assert np.linalg.norm(cython.gradients[key] - gradient) <= 1e-9 * np.linalg.norm(gradient), key
