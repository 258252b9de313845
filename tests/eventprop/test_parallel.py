"""Two programs that share a batch give what one gives."""

import shutil

import numpy as np
import pytest

from snnmodels.eventprop import ParallelSimulation, Simulation, TTFSCrossEntropy
from snnmodels.templates import Network, load_network


def small() -> tuple[Network, dict[str, np.ndarray], np.ndarray]:
    network = load_network("yin_yang", seed=3, hidden={"n": 12}, duration="40*ms")
    times = np.random.default_rng(5).uniform(0, 30e-3, (5, 5))
    return network, {"input": times}, np.array([0, 1, 2, 0, 1])


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_two_workers_equal_one() -> None:
    network, inputs, labels = small()
    with Simulation(network, TTFSCrossEntropy(), batch_size=6, dt=0.5e-3) as one:
        alone = one.run(inputs, labels)
    with ParallelSimulation(network, TTFSCrossEntropy(), workers=2, batch_size=6, dt=0.5e-3) as two:
        shared = two.run(inputs, labels)
        forward = two.run(inputs, labels, gradient=False)
    assert alone.spikes["hidden"] > 1
    assert shared.loss == pytest.approx(alone.loss, rel=1e-13)
    assert forward.loss == shared.loss and not forward.gradients
    assert shared.spikes == pytest.approx(alone.spikes, rel=1e-14)
    assert shared.smallest_gdot == pytest.approx(alone.smallest_gdot, rel=1e-9)
    np.testing.assert_array_equal(shared.predictions, alone.predictions)
    assert set(shared.gradients) == set(alone.gradients)
    for key, gradient in alone.gradients.items():
        assert np.linalg.norm(gradient) > 0
        deviation = np.linalg.norm(shared.gradients[key] - gradient) / np.linalg.norm(gradient)
        assert deviation < 1e-11, key


def test_more_workers_than_trials_are_refused() -> None:
    network, _, _ = small()
    with pytest.raises(ValueError, match="workers = 3; it must be between 1 and batch_size = 2"):
        ParallelSimulation(network, TTFSCrossEntropy(), workers=3, batch_size=2)


def test_runtime_targets_are_refused() -> None:
    network, _, _ = small()
    with pytest.raises(ValueError, match="several workers need target = 'cpp_standalone'"):
        ParallelSimulation(network, TTFSCrossEntropy(), workers=2, target="numpy")
