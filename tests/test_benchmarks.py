"""The hand-written limit computes what the package computes, or it would be no limit."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest

from benchmarks.limit import Limit
from snnmodels.eventprop import Adam, MaxVoltageCrossEntropy, TTFSCrossEntropy
from snnmodels.eventprop.protocol import Loss
from snnmodels.eventprop.simulation import Simulation
from snnmodels.templates import load_network
from snnmodels.templates.network import Network

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="the limit needs g++")

TRIALS, N_IN, N_HIDDEN, N_OUT = 6, 5, 37, 3
DT = 0.5e-3


def network(spiking: bool) -> Network:
    """A small network with about two spikes per hidden neuron, some of them caused by arrivals of the step before."""
    sizes = {"input": {"n": N_IN}, "hidden": {"n": N_HIDDEN}, "output": {"n": N_OUT}}
    weights = {
        "input_hidden": {"weights": {"distribution": "normal", "mean": 2.5, "std": 1.5}},
        "hidden_output": {"weights": {"distribution": "normal", "mean": 0.5, "std": 0.9}},
    }
    if not spiking:
        sizes["output"]["model"] = "leaky_integrator+exp_synapse"  # type: ignore[assignment]
    return load_network("yin_yang", seed=3, **sizes, **weights)


@pytest.mark.parametrize("loss", [TTFSCrossEntropy(), MaxVoltageCrossEntropy()], ids=lambda x: type(x).__name__)
def test_limit_computes_the_same_loss_gradient_and_update(loss: Loss) -> None:
    net = network(isinstance(loss, TTFSCrossEntropy))
    rng = np.random.default_rng(0)
    times = rng.uniform(0, 30e-3, (TRIALS, N_IN))
    times[0, 1] = np.inf
    labels = rng.integers(0, N_OUT, TRIALS)
    with Simulation(net, loss, batch_size=TRIALS, dt=DT, target="numpy") as simulation:
        expected = simulation.run({"input": times}, labels)
    limit = Limit(net, loss, batch_size=TRIALS + 1, dt=DT)
    try:
        limit.forward(times)
        value = limit.loss(labels)
        limit.backward()
        gradients = limit.gradients()
        limit.adam(5e-3)
        weights = limit.weights()
        spikes = limit.hidden_spikes()
    finally:
        limit.close()

    assert spikes == expected.spikes["hidden"] > N_HIDDEN
    assert value == pytest.approx(expected.loss, rel=1e-12)
    values = {f"{q.name}.w": np.array(q.weights) for q in net.projections}
    Adam(5e-3).step(values, expected.gradients)
    for key, gradient in gradients.items():
        wanted = expected.gradients[key]
        assert np.linalg.norm(gradient - wanted) <= 1e-9 * np.linalg.norm(wanted) > 0
        # Adam's first step is the sign of the gradient, so rounding of tiny gradients shows
        assert np.allclose(weights[key], values[key], rtol=0, atol=1e-7)


def test_limit_refuses_other_networks() -> None:
    with pytest.raises(ValueError, match="no TTFSCrossEntropy"):
        Limit(network(spiking=False), TTFSCrossEntropy(), batch_size=1, dt=DT)
    net = network(spiking=True)
    hidden, output = net.populations
    other = dataclasses.replace(net, populations=(hidden, dataclasses.replace(output, parameters={"tau_m": 0.03})))
    with pytest.raises(ValueError, match="same parameters"):
        Limit(other, TTFSCrossEntropy(), batch_size=1, dt=DT)
    limit = Limit(net, TTFSCrossEntropy(), batch_size=1, dt=DT)
    with pytest.raises(ValueError, match=r"shape \(2, 5\)"):
        limit.forward(np.zeros((2, N_IN)))
    limit.close()
