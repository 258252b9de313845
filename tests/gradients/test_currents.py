"""What simulations promise of currents, and who refuses them."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest

import snnmodels as snn
from snnmodels import oracle
from snnmodels.brian.export.simulation import one_trial
from snnmodels.gradients import GridSimulation, Simulation
from snnmodels.losses import FirstSpikes
from snnmodels.templates import CurrentInput, Drive, Network, Population, Projection, SpikeInput, load_model
from tests.needs import on_both
from tests.oracle.networks import MS, Polynomial

SAMPLES = np.linspace(1.5, 2.5, 21)
TARGETS = np.zeros(2, dtype=int)


def network(**changes: Any) -> Network:
    made = Network(
        "driven",
        (SpikeInput("in", 1),),
        (Population("cells", 2, load_model("lif+exp_synapse"), learnable=("tau_m",)),),
        (Projection("w_in", "in", "cells", np.ones((1, 2))),),
        "cells",
        20 * MS,
        currents=(CurrentInput("x", 1, 1 * MS, "linear"),),
        drives=(Drive("gain", "x", "cells", np.array([[1.0, 1.1]])),),
    )
    return dataclasses.replace(made, **changes)


INPUTS = {"in": np.array([[2 * MS], [3 * MS]]), "x": SAMPLES}


@on_both
def test_gradients_by_samples_may_be_left_out(target: Any) -> None:
    with Simulation(network(), Polynomial(), target=target) as simulation:
        full = simulation.run(INPUTS, TARGETS).gradients
    assert set(full) == {"w_in.w", "gain.w", "cells.tau_m", "in.times", "x.samples"}
    with Simulation(network(), Polynomial(), target=target, input_gradients=False) as simulation:
        some = simulation.run(INPUTS, TARGETS).gradients
    assert set(some) == {"w_in.w", "gain.w", "cells.tau_m"}
    np.testing.assert_array_equal(some["gain.w"], full["gain.w"])
    fixed = network(drives=(dataclasses.replace(network().drives[0], learnable=()),))
    with Simulation(fixed, Polynomial(), target=target, input_gradients=False) as simulation:
        assert set(simulation.run(INPUTS, TARGETS).gradients) == {"w_in.w", "cells.tau_m"}


@on_both
def test_a_network_of_currents_alone(target: Any) -> None:
    """Its trials are those of the samples or, where all share them, as many as there are targets."""
    alone = network(inputs=(), projections=())
    with Simulation(alone, Polynomial(), target=target) as simulation:
        assert simulation.run({"x": SAMPLES}, np.zeros(3, dtype=int)).output.shape[0] == 3
        assert simulation.forward({"x": np.tile(SAMPLES, (4, 1, 1))}).shape[0] == 4
        assert simulation.forward({"x": SAMPLES}).shape[0] == 1
    with Simulation(alone, FirstSpikes(), target=target) as simulation:
        first = simulation.forward({"x": SAMPLES})
        assert np.isfinite(first).all()
        gradients = simulation.backward(np.ones(first.shape))
    assert gradients["x.samples"].shape == SAMPLES.shape
    assert (gradients["gain.w"] < 0).all()  # more current, earlier spikes


def test_a_current_that_drives_nothing() -> None:
    idle = network(drives=())
    with Simulation(idle, Polynomial()) as simulation:
        found = simulation.run(INPUTS, TARGETS).gradients
    np.testing.assert_array_equal(found["x.samples"], 0.0)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"in": INPUTS["in"]}, "inputs are ['in']; network 'driven' has ['in', 'x']"),
        ({**INPUTS, "x": SAMPLES[:-1]}, "samples of input 'x': 20 of each channel; a trial of 0.02 s needs 21"),
        ({**INPUTS, "x": np.tile(SAMPLES, (3, 1, 1))}, "inputs differ in their number of trials: {'in': 2, 'x': 3}"),
        ({**INPUTS, "x": np.tile(SAMPLES, (2, 2, 1))}, "samples of input 'x' have shape (2, 2, 21)"),
        ({**INPUTS, "x": np.where(SAMPLES > 2, np.nan, SAMPLES)}, "samples of input 'x' are not all finite"),
    ],
)
def test_inputs_that_are_refused(inputs: Any, message: str) -> None:
    with Simulation(network(), Polynomial()) as simulation:
        with pytest.raises(ValueError, match=re.escape(message)):
            simulation.run(inputs, TARGETS)
        with pytest.raises(ValueError, match=r"value of 'gain.w' has shape \(2,\); it must be \(1, 2\)"):
            simulation.run(INPUTS, TARGETS, {"gain.w": np.ones(2)})
        assert simulation.run(INPUTS, TARGETS).loss > 0


def test_who_refuses_currents() -> None:
    with pytest.raises(ValueError, match="input 'x': sampled currents are not supported by the grid simulation"):
        GridSimulation(network(), Polynomial())
    with pytest.raises(ValueError, match="input 'x': sampled currents are not supported by the grid simulation"):
        one_trial(network(), {"in": np.array([[2 * MS]])}, 0.1 * MS)
    with pytest.raises(ValueError, match="population 'cells': currents drive it; use method='runge-kutta'"):
        oracle.simulate(network(), INPUTS, method="matrix-exponential")
    with pytest.raises(ValueError, match="network 'driven' has the current 'x', whose size nothing tells; give inputs"):
        snn.check_gradient(network())
