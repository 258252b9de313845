"""Values that an optimiser steps in place reach the engine."""

from __future__ import annotations

import numpy as np
import pytest

from snnmodels.gradients.simulation import Simulation
from snnmodels.losses import MaxVoltageCrossEntropy
from snnmodels.targets import Target
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model
from tests.needs import TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_values_that_are_stepped_in_place_are_followed(target: Target) -> None:
    rng = np.random.default_rng(1)
    lif, times, labels = load_model("lif+exp_synapse"), rng.uniform(0, 30e-3, (4, 6)), np.arange(4) % 2
    learned = ["tau_m", "v_th"]
    network = Network(
        "stepped",
        (SpikeInput("in", 6),),
        (
            Population("hidden", 5, lif, learnable=learned),
            Population("out", 2, load_model("leaky_integrator+exp_synapse")),
        ),
        (
            Projection(
                "a", "in", "hidden", rng.normal(2, 0.5, (6, 5)), learnable=("w", "delay"), delay=np.full((6, 5), 0.01)
            ),
            Projection("b", "hidden", "out", rng.normal(0, 0.5, (5, 2))),
        ),
        "out",
        0.1,
    )
    values = {key: value.copy() for key, value in network.trainable().items()}
    with Simulation(network, MaxVoltageCrossEntropy(), batch_size=4, target=target) as simulation:
        losses = [simulation.run({"in": times}, labels, values).loss]
        for key in values:  # one after the other, by unequal steps: equal delays would shift all that happens
            values[key] *= rng.uniform(0.6, 0.95, values[key].shape)
            losses.append(simulation.run({"in": times}, labels, values).loss)
            copies = {k: value.copy() for k, value in values.items()}
            with Simulation(network, MaxVoltageCrossEntropy(), batch_size=4, target=target) as fresh:
                assert fresh.run({"in": times}, labels, copies).loss == losses[-1], key
    assert len(set(losses)) == len(losses)
