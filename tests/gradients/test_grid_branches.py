"""A branch in a reset on the time grid: its units are those of Brian2, and its gradient that of the simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snnmodels.gradients import GridSimulation, probe
from snnmodels.templates import load_model

WHERE = {"the threshold stays": -60e-3, "it is raised": -40e-3}  # th_reset, around th_inf = -50 mV


@pytest.mark.slow
@pytest.mark.parametrize("th_reset", WHERE.values(), ids=WHERE)
def test_the_gradient_is_that_of_differences(th_reset: float) -> None:
    given = probe(load_model("mihalas_niebur+exp_synapse"), trials=1, delays=False, currents=False)
    populations = tuple(replace(p, parameters={"th_reset": th_reset}) for p in given.network.populations)
    network = replace(given.network, populations=populations)
    start = network.trainable()
    with GridSimulation(network, given.loss, batch_size=1, dt=1e-4) as simulation:
        found = simulation.run(given.inputs, given.targets)
        assert found.spikes["hidden"] > 1
        for key in ("hidden.th_reset", "hidden.v_reset", "hidden.th_inf"):
            step = 1e-6 * abs(float(start[key]))
            losses = [
                simulation.run(given.inputs, given.targets, {**start, key: start[key] + s}, gradient=False).loss
                for s in (step, -step)
            ]
            difference = (losses[0] - losses[1]) / (2 * step)
            assert found.gradients[key] == pytest.approx(difference, rel=1e-5, abs=1e-6 * found.loss), key
        assert (np.abs(found.gradients["hidden.th_reset"]) > 0) == (th_reset > -50e-3)
