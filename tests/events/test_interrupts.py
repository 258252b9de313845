"""A compiled simulation that was interrupted never gives an answer that belongs to an earlier question."""

from __future__ import annotations

import numpy as np
import pytest

from snnmodels.events.engine import SimulationError
from snnmodels.gradients import Simulation
from snnmodels.losses import TTFSCrossEntropy
from snnmodels.targets.process import ProgramError
from snnmodels.templates import load_network


def test_interrupted_in_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    network = load_network("yin_yang", hidden={"n": 10})
    times = np.random.default_rng(0).uniform(0, 20e-3, (4, 5))
    labels = np.arange(4) % 3
    with Simulation(network, TTFSCrossEntropy(), batch_size=4, target="cpp_standalone") as simulation:
        simulation.run({"input": times}, labels)
        process = simulation._engine._process  # type: ignore[attr-defined]
        listen = process._listen

        def interrupted() -> str:
            raise KeyboardInterrupt

        monkeypatch.setattr(process, "_listen", interrupted)
        with pytest.raises(KeyboardInterrupt):
            simulation.run({"input": times / 2}, labels)
        monkeypatch.setattr(process, "_listen", listen)
        with pytest.raises(ProgramError, match="was interrupted while it ran; make a new one"):
            simulation.run({"input": times}, labels)


def test_closed_means_closed() -> None:
    network = load_network("yin_yang", hidden={"n": 10})
    times = np.sort(np.random.default_rng(0).uniform(0, 20e-3, (4, 5, 3)))
    labels = np.arange(4) % 3
    with Simulation(network, TTFSCrossEntropy(), batch_size=4, target="cpp_standalone") as simulation:
        simulation.run({"input": times[:, :, :1]}, labels)
    for spikes in (1, 3):  # as many as there is room for, and more
        with pytest.raises(SimulationError, match="was closed, and its program has ended: make a new one"):
            simulation.run({"input": times[:, :, :spikes]}, labels)
    simulation.close()
