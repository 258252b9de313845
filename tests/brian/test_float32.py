"""Arrays in single precision: the same network, gradients to single precision, refused where it isn't made for."""

import shutil

import numpy as np
import pytest

from snnmodels.brian.plan import Form, Target
from snnmodels.eventprop import Simulation, TTFSCrossEntropy
from snnmodels.templates import load_network

INPUTS = {"input": np.random.default_rng(5).uniform(0, 30e-3, (4, 5))}
LABELS = np.array([0, 1, 2, 0])


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_gradients_agree_to_single_precision() -> None:
    network = load_network("yin_yang", seed=3, hidden={"n": 12}, duration="40*ms")
    outcomes = {}
    for dtype in ("float64", "float32"):
        options = {"batch_size": 6, "dt": 0.5e-3, "target": "cpp_standalone", "dtype": dtype}
        with Simulation(network, TTFSCrossEntropy(), **options) as s:  # type: ignore[arg-type]
            outcomes[dtype] = s.run(INPUTS, LABELS)
            assert s._session.read("hidden.ev_r").dtype == dtype
    double, single = outcomes["float64"], outcomes["float32"]
    assert single.spikes == double.spikes
    assert single.loss != double.loss
    assert single.loss == pytest.approx(double.loss, rel=1e-5)
    for key, gradient in double.gradients.items():
        assert np.linalg.norm(single.gradients[key] - gradient) < 2e-5 * np.linalg.norm(gradient), key


@pytest.mark.parametrize(
    ("target", "projections"), [("numpy", "dense"), ("numpy", "synapses"), ("cpp_standalone", "synapses")]
)
def test_other_forms_refuse_it(target: Target, projections: Form) -> None:
    network = load_network("yin_yang", seed=3, hidden={"n": 12}, duration="40*ms")
    message = f"dtype = 'float32' with projections = '{projections}' on target = '{target}'"
    with pytest.raises(ValueError, match=message):
        Simulation(network, TTFSCrossEntropy(), target=target, projections=projections, dtype="float32")


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_weights_beyond_its_range_are_refused() -> None:
    network = load_network("yin_yang", seed=3, hidden={"n": 12}, duration="40*ms")
    with Simulation(
        network, TTFSCrossEntropy(), batch_size=6, dt=0.5e-3, target="cpp_standalone", dtype="float32"
    ) as s:
        weights = network.trainable()["input_hidden.w"] + 1e39
        with pytest.raises(ValueError, match=r"value of 'input_hidden.w' is beyond the range of float32"):
            s.run(INPUTS, LABELS, {"input_hidden.w": weights})
