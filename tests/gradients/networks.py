"""A small network in which everything happens that the form on the grid has rules for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from snnmodels.gradients.probe import SmoothMaxima, SmoothSpikeTimes
from snnmodels.losses import VoltageError
from snnmodels.losses.base import Loss
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model

MS = MV = 1e-3


class Case(NamedTuple):
    """A network, what goes into it, and a loss on what comes out."""

    network: Network
    inputs: dict[str, np.ndarray]
    loss: Loss
    targets: np.ndarray


def mixed(observable: str) -> Case:
    """Linear and nonlinear neurons, arrivals that fire, feedback, masks, parameters of single neurons.

    Parameters
    ----------
    observable : {"spike_times", "voltage_max", "voltage_samples"}
    """
    rng = np.random.default_rng(4)
    lif = load_model("lif", "exp_synapse", "adaptive_threshold")
    readout = load_model("leaky_integrator", "exp_synapse")
    output = load_model("lif", "exp_synapse") if observable == "spike_times" else readout
    eif = load_model("eif", "exp_synapse")
    populations = (
        Population("linear", 4, lif, {"tau_m": rng.uniform(15, 25, 4) * MS}, tuple(lif.parameters)),
        Population("jumping", 3, load_model("lif", "exp_synapse", "delta_synapse"), learnable=("tau_m", "v_th")),
        Population("exponential", 3, eif, learnable=("tau_m", "delta_T", "tau_syn")),
        Population("output", 2, output, learnable=tuple(output.parameters)),
    )
    projections = (
        Projection("to_linear", "input", "linear", rng.uniform(1.5, 4, (4, 4)), mask=rng.uniform(size=(4, 4)) < 0.8),
        Projection("driving", "input", "jumping", rng.uniform(0.5, 2, (4, 3)), "exp_synapse"),
        Projection("to_jumping", "linear", "jumping", rng.uniform(0.3, 0.9, (4, 3)), "delta_synapse"),
        Projection("to_exponential", "input", "exponential", rng.uniform(8, 20, (4, 3)) * MV),
        Projection("back", "jumping", "linear", rng.uniform(-1, 0.5, (3, 4))),
        Projection("itself", "linear", "linear", rng.uniform(-1, 1, (4, 4)), mask=~np.eye(4, dtype=bool)),
        Projection("from_linear", "linear", "output", rng.uniform(0.5, 2, (4, 2))),
        Projection("from_jumping", "jumping", "output", rng.uniform(0.5, 2, (3, 2))),
        Projection("from_exponential", "exponential", "output", rng.uniform(0.5, 2, (3, 2)), learnable=False),
    )
    network = Network("mixed", (SpikeInput("input", 4),), populations, projections, "output", 30 * MS)
    inputs = {"input": np.sort(rng.uniform(0.3, 15, (2, 4, 2)) * MS, axis=2)}
    inputs["input"][1, 2, 1] = np.inf
    loss: Loss = {
        "spike_times": SmoothSpikeTimes(),
        "voltage_max": SmoothMaxima("v", 1.0),
        "voltage_samples": VoltageError(interval=2 * MS),
    }[observable]
    targets = rng.normal(size=(2, 2, 15)) if observable == "voltage_samples" else np.zeros(2, dtype=int)
    return Case(network, inputs, loss, targets)
