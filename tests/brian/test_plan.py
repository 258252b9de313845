"""What the simulation on the grid refuses to lower."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from snnmodels.brian.plan import Plan
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model

LIF = load_model("lif")
NETWORK = Network(
    "small",
    (SpikeInput("input", 3),),
    (Population("hidden", 4, LIF), Population("output", 2, LIF)),
    (
        Projection("w_in", "input", "hidden", np.ones((3, 4))),
        Projection("w_out", "hidden", "output", np.ones((4, 2))),
    ),
    "output",
    20e-3,
)


def plan(**changes: object) -> Plan:
    return Plan.of(dataclasses.replace(NETWORK, **changes), 1, 1e-3)


@pytest.mark.parametrize(
    "change",
    [{"delay": 1e-3}, {"delay": np.full((3, 4), 1e-3)}, {"learnable": ("w", "delay")}],
    ids=["one", "each", "learned"],
)
def test_delays_are_refused(change: dict[str, object]) -> None:
    first, second = NETWORK.projections
    message = "projection 'w_in': its delay is not supported by the grid simulation; set it to 0 and don't learn it"
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        plan(projections=(dataclasses.replace(first, **change), second))
    assert "\n" not in str(error.value)


def test_a_delay_of_0_is_none() -> None:
    first, second = NETWORK.projections
    plan(projections=(dataclasses.replace(first, delay=np.zeros((3, 4))), second))


def test_refractory_periods_are_refused() -> None:
    refractory = Population("hidden", 4, load_model("lif", "refractory"))
    message = "population 'hidden': the refractory period of lif+exp_synapse+refractory is not supported by the grid"
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        plan(populations=(refractory, NETWORK.populations[1]))
    assert "\n" not in str(error.value)
