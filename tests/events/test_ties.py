"""Ties are counted alike by the reference and by every way in which a network is simulated."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from snnmodels import oracle
from snnmodels.events.plan import EnginePlan
from snnmodels.losses import SpikeTimes
from snnmodels.targets.numpy.engine import NumpyEngine
from snnmodels.templates import Network, Population, Projection, SpikeInput
from tests.events.agreement import Inputs, run
from tests.events.drawn import MS, draw, model
from tests.events.test_sparse_engine import engine as cpp_engine
from tests.events.test_sparse_engine import network as sparse_network
from tests.needs import COMPILER

RASTER = 2.0**-10  # seconds; multiples of it, and their sums, are exact


def on_the_raster(network: Network, inputs: Inputs) -> tuple[Network, Inputs]:
    """The same with input times and delays on a raster, so that what is caused at once meets."""

    def snapped(values: np.ndarray | float) -> np.ndarray:
        return np.round(np.asarray(values) / RASTER) * RASTER

    projections = tuple(
        dataclasses.replace(q, delay=snapped(q.delay) if np.ndim(q.delay) else float(snapped(q.delay)))
        for q in network.projections
    )
    early = {name: np.where(t < network.duration - RASTER, t, np.inf) for name, t in inputs.items()}
    given = {name: np.sort(snapped(t), axis=2) for name, t in early.items()}
    return dataclasses.replace(network, projections=projections), given


@pytest.mark.parametrize("seed", [0, 1, 3, 4, 6, 7])
def test_drawn_networks_on_a_raster(seed: int) -> None:
    drawn = draw(seed, models=("lif+delta_synapse", "lif+delta_synapse+refractory"))
    network, inputs = on_the_raster(drawn.network, drawn.inputs)
    expected = oracle.simulate(network, inputs, method="matrix-exponential")
    found = run(NumpyEngine, network, inputs)
    assert found.engine.ties == expected.ties > 0, drawn.label


@COMPILER
@pytest.mark.parametrize("delays", ["common", "mixed"])
def test_scattered_networks_on_a_raster(delays: str) -> None:
    network, inputs = on_the_raster(*sparse_network("lif+exp_synapse:exc+exp_synapse:inh", delays, 5, equal=True))
    expected = oracle.simulate(network, inputs, method="matrix-exponential")
    assert expected.ties > 10
    for scatter in (True, False):
        found = run(lambda plan, scatter=scatter: cpp_engine(plan, scatter), network, inputs)
        assert found.engine.ties_are_counted == (not scatter or delays == "common")
        assert found.engine.ties == expected.ties, scatter
        assert found.engine.ties_are_counted
        found.engine.close()
    assert run(NumpyEngine, network, inputs).engine.ties == expected.ties


def test_what_counts() -> None:
    """Once for each instant and population, whichever neurons arrivals reach, and once for a spike however often."""
    lif = model("lif+exp_synapse")
    ones = np.full((3, 2), 0.1)
    apart = np.array([[1, 0], [0, 1], [0, 0]], dtype=bool)

    def ties(times: list[float], mask: np.ndarray | None = None, delay: float | np.ndarray = 0.0) -> int:
        network = Network(
            "meet",
            (SpikeInput("in", 3),),
            (Population("out", 2, lif),),
            tuple(Projection(name, "in", "out", ones, mask=mask, delay=delay) for name in ("once", "again")),
            "out",
            20 * MS,
        )
        inputs = {"in": np.array([[[t] for t in times]]) * RASTER}
        engine = NumpyEngine(EnginePlan.of(network, [SpikeTimes()]))
        engine.forward([inputs["in"]])
        assert engine.ties == oracle.simulate(network, inputs, method="matrix-exponential").ties
        return engine.ties

    assert ties([4, 4, 4]) == 1
    assert ties([4, 5, 6]) == 0  # each arrives twice, by itself
    assert ties([4, 4, 4], apart) == 1  # at different neurons
    assert ties([4, 5, 5], apart) == 0  # the third reaches nobody
    assert ties([4, 5, 6], delay=RASTER * np.array([[2, 0], [1, 3], [3, 3]])) == 1  # the first two
    assert ties([4, 5, 19.0], delay=2 * RASTER) == 0
