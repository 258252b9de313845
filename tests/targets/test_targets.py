"""A target is a folder with an engine, and a name."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from snnmodels import targets
from snnmodels.events.plan import EnginePlan
from snnmodels.gradients import Simulation
from snnmodels.losses import TTFSCrossEntropy
from snnmodels.targets.numpy.engine import NumpyEngine
from snnmodels.templates import load_network


class Counting(NumpyEngine):
    """Counts its batches."""

    batches = 0

    def forward(self, *arguments: object) -> None:
        type(self).batches += 1
        super().forward(*arguments)  # type: ignore[arg-type]


def test_a_new_target(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_engine(plan: EnginePlan, *, trials: int, threads: int, timeout: float | None) -> Counting:
        return Counting(plan)

    folder, module = types.ModuleType("snnmodels.targets.counting"), types.ModuleType("engine")
    module.open_engine = open_engine  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, folder.__name__, folder)
    monkeypatch.setitem(sys.modules, f"{folder.__name__}.engine", module)
    monkeypatch.setitem(targets.TARGETS, "abacus", "counting")
    network = load_network("yin_yang", hidden={"n": 5})
    times, labels = np.random.default_rng(0).uniform(0, 0.03, (3, 5)), np.zeros(3, dtype=int)
    losses = []
    for target in ("numpy", "abacus"):
        with Simulation(network, TTFSCrossEntropy(), batch_size=3, target=target) as simulation:  # type: ignore[arg-type]
            losses.append(simulation.run({"input": times}, labels).loss)
    assert losses[0] == losses[1]
    assert Counting.batches == 1


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(ValueError, match="runs on numpy, cpp_standalone, cuda_standalone"):
        Simulation(load_network("yin_yang"), TTFSCrossEntropy(), target="gpu")  # type: ignore[arg-type]


def test_every_target_stands_in_the_type() -> None:
    from typing import get_args

    assert set(get_args(targets.Target)) == set(targets.TARGETS)
