"""A checkpoint goes on with the run that it is of, and with no other: whatever decides a run is told by name."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnmodels.datasets import Trials
from snnmodels.gradients import Simulation
from snnmodels.losses import SpikeTimeError
from snnmodels.optimisers import Adam
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model
from snnmodels.training import train

LIF = load_model("lif+exp_synapse")
VALUES = {"tau_m": 0.015, "v_th": np.array([1.0, 1.1])}


def network(**changes: Any) -> Network:
    """Three inputs, two neurons; a mask that excludes one connection."""
    mask = np.ones((3, 2), dtype=bool)
    mask[2, 1] = False
    parts = {
        "population": Population("p", 2, LIF, VALUES, ("v_reset",)),
        "projection": Projection("q", "in", "p", np.full((3, 2), 4.0), mask=mask, delay=1e-3),
        "duration": 30e-3,
        "inputs": (SpikeInput("in", 3),),
    } | changes
    return Network("small", parts["inputs"], (parts["population"],), (parts["projection"],), "p", parts["duration"])


def go(net: Network, path: Path, *, epochs: int) -> Any:
    times = np.array([[1e-3, 2e-3, 3e-3]])
    with Simulation(net, SpikeTimeError(), batch_size=1) as simulation:
        data = Trials({"in": times}, np.full((1, 2, 1), 6e-3))
        return train(
            simulation, data, Adam(1e-3), epochs=epochs, batch_size=1, checkpoint=path, progress=False
        )


def population(**values: Any) -> Population:
    return dataclasses.replace(network().populations[0], **values)


def projection(**values: Any) -> Projection:
    return dataclasses.replace(network().projections[0], **values)


def changed(old: str, new: str) -> Population:
    """The population of a model with another right-hand side."""
    other = dataclasses.replace(LIF, derivatives={k: v.replace(old, new) for k, v in LIF.derivatives.items()})
    return population(model=other)


CASES = {
    "populations.p.parameters.tau_m": {"population": population(parameters={**VALUES, "tau_m": 0.016})},
    "populations.p.parameters.v_th": {"population": population(parameters={**VALUES, "v_th": np.array([1, 1.2])})},
    "populations.p.model.parameters.v_rest": {"population": population(parameters={**VALUES, "v_rest": 0.1})},
    "populations.p.model.derivatives.v": {"population": changed("I_syn)", "2*I_syn)")},
    "populations.p.model.": {"population": population(model=load_model("lif+exp_synapse+refractory"))},
    "populations.p.model.threshold": {
        "population": population(model=dataclasses.replace(LIF, threshold="2*v > v_th"))
    },
    "duration": {"duration": 31e-3},
    "projections.q.delay": {"projection": projection(delay=1.5e-3)},
    "projections.q.mask": {"projection": projection(mask=None)},
    "populations.p.model.name": {"population": population(model=load_model("lif+alpha_synapse"))},
}


@pytest.mark.parametrize("what", list(CASES))
def test_another_network_is_refused_by_what_differs(what: str, tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    go(network(), path, epochs=1)
    kept = path.read_bytes()
    said = rf"run\.npz: is of a run with declared {re.escape(what)}.* = .*, not .*resume=False"
    with pytest.raises(ValueError, match=said):
        go(network(**CASES[what]), path, epochs=2)
    assert path.read_bytes() == kept


def test_other_initial_values_are_said_in_words(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    go(network(), path, epochs=1)
    with pytest.raises(ValueError, match="began with other initial values"):
        go(network(projection=projection(weights=np.full((3, 2), 4.1))), path, epochs=2)


def test_the_same_network_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    go(network(), path, epochs=2)
    resumed = go(network(), path, epochs=4)
    whole = go(network(), tmp_path / "whole.npz", epochs=4)
    for key, value in whole.values.items():
        np.testing.assert_array_equal(resumed.values[key], value)
