"""What meets at one instant, and many spikes in one window, on NumPy and in the compiled program.

`test_rounds.py` follows cascades through networks, `test_ties.py` counts ties, `tests/oracle/test_instants.py` is the
reference's own.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from snnmodels.events.engine import SimulationError
from snnmodels.targets.cpp.engine import CppEngine
from snnmodels.targets.numpy.engine import NumpyEngine
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model
from tests.events.agreement import WAYS, Inputs, check, run
from tests.needs import COMPILER
from tests.oracle.networks import MS

ENGINES = pytest.mark.parametrize("make", [NumpyEngine, pytest.param(CppEngine, marks=COMPILER)], ids=["numpy", "cpp"])


def row(n: int, weight: float, back: float = 0.0) -> Network:
    """Populations of one neuron, each jumping when the one before it spikes; the last may project back to the first."""
    delta = load_model("lif+delta_synapse")
    populations = tuple(Population(f"p{k}", 1, delta) for k in range(n))
    ends = [("input", "p0", weight), *((f"p{k}", f"p{k + 1}", weight) for k in range(n - 1))]
    ends += [(f"p{n - 1}", "p0", back)] if back else []
    projections = tuple(Projection(f"{a}_{b}", a, b, np.full((1, 1), w)) for a, b, w in ends)
    return Network("row", (SpikeInput("input", 1),), populations, projections, f"p{n - 1}", 20 * MS)


AT: Inputs = {"input": np.array([[2.0]]) * MS}


@ENGINES
@pytest.mark.parametrize("back", [0.0, 0.3])
def test_a_cascade_happens_at_one_instant_and_moves_with_its_input(make, back: float) -> None:
    found = check(make, row(3, 1.2, back), AT)
    assert [float(t[0, 0, 0]) for t in found.spikes.values()] == [2 * MS] * 3
    # of the polynomial of the output's spike time, which is the input's
    assert found.gradients["input.times"][0, 0] == pytest.approx((1 + 2 * 0.1) / (20 * MS), rel=1e-12)
    found.engine.close()


@ENGINES
def test_a_cascade_that_does_not_end_is_told(make) -> None:
    said = r"population 'p0': neuron 0 would spike twice at the same instant, 0\.002 s"
    with pytest.raises(SimulationError, match=said):
        run(make, row(2, 1.2, back=1.2), AT)


def one(weights: list[float], times: list[float], name: str) -> tuple[Network, Inputs]:
    model = load_model(name)
    population = Population("out", 1, model, {}, tuple(model.parameters))
    projection = Projection("w", "input", "out", np.array(weights)[:, None])
    network = Network("one", (SpikeInput("input", len(weights)),), (population,), (projection,), "out", 30 * MS)
    return network, {"input": np.array(times)[None, :, None] * MS}


@ENGINES
def test_arrivals_of_one_instant_act_together_before_the_threshold_is_tested(make) -> None:
    for weights in ([1.5, -0.8], [-0.8, 1.5]):
        found = check(make, *one(weights, [3.0, 3.0], "lif+delta_synapse"))
        assert not np.isfinite(found.spikes["out"]).any()
        assert found.engine.ties == 1
        found.engine.close()
    found = check(make, *one([0.6, 0.7], [3.0, 3.0], "lif+delta_synapse"))
    assert found.spikes["out"].ravel().tolist() == [3 * MS]
    assert found.engine.ties == 1
    found.engine.close()


@ENGINES
def test_hundreds_of_spikes_in_one_window(make) -> None:
    found = check(make, *one([3000.0, 2000.0], [1.0, 4.0], "lif+exp_synapse"), window=1.0)
    spikes = found.spikes["out"].ravel()
    assert np.isfinite(spikes).sum() > 300
    assert max(np.histogram(spikes[np.isfinite(spikes)], np.arange(0, 31) * MS)[0]) > 30
    found.engine.close()


@COMPILER
@pytest.mark.parametrize("way", [*WAYS])
def test_a_neuron_that_spikes_on_and_on_is_told_before_memory_is_full(way: str) -> None:
    """Reset to just below its threshold, it would spike 10^12 times within one piece of time."""
    network, inputs = one([30.0], [1.0], "lif+exp_synapse")
    population = dataclasses.replace(network.populations[0], parameters={"v_reset": 1 - 1e-12})
    network = dataclasses.replace(network, populations=(population,))
    with pytest.raises(SimulationError, match=r"population 'out'.* spikes more than .* at 0\.0017"):
        run(WAYS[way], network, inputs, max_spikes=1000)
