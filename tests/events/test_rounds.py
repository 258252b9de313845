"""Cascades without delay within one instant: rounds that go through the whole network, whatever its components are."""

from __future__ import annotations

import numpy as np
import pytest

from snnmodels.targets.cpp.engine import CppEngine
from snnmodels.targets.numpy.engine import NumpyEngine
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model
from tests.events.agreement import check
from tests.oracle.networks import MS

ENGINES = {"numpy": NumpyEngine, "cpp": lambda plan: CppEngine(plan, trials=1)}
# of input to c, and of b to c: b spikes in the first round, so that c has it in the second
CASES = {
    "inhibition comes too late": (1.2, -0.9, [10.0]),
    "excitation comes in the second round": (0.4, 0.9, [10.0]),
    "inhibition of the second round counts for later arrivals": (0.9, -0.2, [12.0]),
}


def network(w_input: float, w_cascade: float, *, feedback: bool, each: bool) -> Network:
    """An input to b and c, and b to c, all without delay; feedback of weight 0 makes them one component."""
    delta = load_model("lif+delta_synapse")
    populations = tuple(Population(name, 1, delta) for name in ("b", "c"))
    delay = np.zeros((1, 1)) if each else 0.0
    projections = [
        Projection("ab", "a", "b", np.array([[1.5]]), "delta_synapse"),
        Projection("ac", "a", "c", np.array([[w_input]]), "delta_synapse", None, ("w",), delay=delay),
        Projection("bc", "b", "c", np.array([[w_cascade]]), "delta_synapse", None, ("w",), delay=delay),
        Projection("dc", "d", "c", np.array([[0.6]]), "delta_synapse"),
    ]
    if feedback:
        projections.append(Projection("cb", "c", "b", np.zeros((1, 1)), "delta_synapse"))
    return Network("rounds", (SpikeInput("a", 1), SpikeInput("d", 1)), populations, tuple(projections), "c", 30 * MS)


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("target", list(ENGINES))
@pytest.mark.parametrize("case", list(CASES))
def test_rounds_go_through_the_whole_network(case: str, target: str, feedback: bool, each: bool) -> None:
    w_input, w_cascade, expected = CASES[case]
    net = network(w_input, w_cascade, feedback=feedback, each=each)
    inputs = {"a": np.array([[[10 * MS]]]), "d": np.array([[[12 * MS]]])}
    found = check(ENGINES[target], net, inputs)
    spikes = found.spikes["c"].ravel()
    np.testing.assert_allclose(spikes[np.isfinite(spikes)] / MS, expected, rtol=1e-12)
