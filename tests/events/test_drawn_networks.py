"""Networks drawn at random, on every target, against the event-driven reference.

One to three populations of linear models, feed-forward and recurrent; delays of 0, below and above the window, and one
for each synapse; masks; inhibition; parameters per neuron, equal time constants; simultaneous inputs; weights up to 4
times larger.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from snnmodels.events.plan import EnginePlan
from snnmodels.losses import Maxima, Observable, SpikeTimes
from snnmodels.oracle import OracleGradient
from snnmodels.targets.cpp.engine import CppEngine
from snnmodels.targets.numpy.engine import NumpyEngine
from snnmodels.templates import Network
from tests.events.agreement import Run, assert_agrees, reference_of, run
from tests.events.drawn import MS, Drawn, draw
from tests.oracle.networks import SumOfMaxima, SumOfSamples

MOST = 250  # spikes of a batch; a network with more is another one's turn, since the reference takes its time
ENGINES = {"numpy": NumpyEngine, "cpp": lambda plan: CppEngine(plan, trials=2)}


def numbered(first: int, count: int, **options: Any) -> list[Drawn]:
    """The first networks that spike enough to be worth it, and not too often."""
    found: list[Drawn] = []
    for seed in range(first, first + 20 * count):
        drawn = draw(seed, **options)
        plan = EnginePlan.of(drawn.network, observed_of(drawn.network), max_spikes=MOST)
        engine = NumpyEngine(plan)
        try:
            engine.forward([drawn.inputs[i.name] for i in drawn.network.inputs])
        except RuntimeError:
            continue  # spikes without end, or too many
        spikes = {p.name: engine.spike_times(p.index) for p in plan.populations if p.rules.spiking}
        if 4 <= sum(int(np.isfinite(t).sum()) for t in spikes.values()) <= MOST:
            found.append(drawn)
        if len(found) == count:
            return found
    raise AssertionError("too few networks of that kind")


def observed_of(network: Network) -> list[Observable]:
    spiking = network.populations[-1].model.spiking
    return [SpikeTimes() if spiking else Maxima()]


def both(drawn: Drawn, target: str, loss: Any = None, window: float | None = None) -> tuple[Run, OracleGradient]:
    make = ENGINES[target]
    found = run(make, drawn.network, drawn.inputs, loss, window=window)
    found.engine.close()
    return found, reference_of(drawn.network, drawn.inputs, loss)


@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("block", range(1))
def test_a_few(target: str, block: int) -> None:
    for drawn in numbered(1000 * block, 6 if target == "numpy" else 2):
        assert_agrees(*both(drawn, target), hardly=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("block", range(10))
def test_two_hundred(target: str, block: int) -> None:
    for drawn in numbered(10_000 + 1000 * block, 20):
        assert_agrees(*both(drawn, target), hardly=1e-3)


@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("loss", [SumOfMaxima(), SumOfSamples(interval=1.7 * MS)], ids=["maxima", "samples"])
def test_readouts(target: str, loss: Any) -> None:
    for drawn in numbered(500_000, 3 if target == "numpy" else 1, readout=True):
        assert_agrees(*both(drawn, target, loss), hardly=1e-3)


@pytest.mark.parametrize("window", [0.1 * MS, 1.3 * MS, 1.0])
def test_the_window_changes_nothing(window: float) -> None:
    for drawn in numbered(900_000, 3):
        usual, _ = both(drawn, "numpy")
        found = run(ENGINES["numpy"], drawn.network, drawn.inputs, window=window)
        for name, times in usual.spikes.items():
            np.testing.assert_allclose(found.spikes[name], times, rtol=0, atol=1e-12)
        for key, gradient in usual.gradients.items():
            scale = np.abs(gradient).max(initial=0.0)
            np.testing.assert_allclose(found.gradients[key], gradient, rtol=0, atol=1e-9 * scale, err_msg=key)
