"""Pseudospikes: times and gradients beside a reference that simulates on, with the constant, after the trial."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnmodels import oracle
from snnmodels.gradients import Simulation, check_gradient
from snnmodels.losses import (
    ExpressionLoss,
    FirstSpikes,
    FunctionLoss,
    IntervalError,
    Loss,
    Pseudospikes,
    SpikeTimeError,
    SpikeTimes,
    TTFSCrossEntropy,
    VanRossumDistance,
)
from snnmodels.templates import CurrentInput, Drive, Network, Population, Projection, SpikeInput, load_model
from tests.exactness.networks import MS, NEAR, SLOW, Case, reference, simulated
from tests.needs import COMPILER, TARGETS

END = 30 * MS
LATER = {"qif": 120 * MS, "theta": 180 * MS}  # when all pseudospikes have come
DRIVE = {"qif": 20e-3, "theta": 0.7}  # not the default
WEIGHT = {"qif": 35e-3, "theta": 2.0}
# The library's neurons, with an input that takes the place of the synaptic one when it is closed.
GOING_ON = {
    "qif": """
equations = "dv/dt = ((v - v_rest)*(v - v_crit)/(v_crit - v_rest) + (1 - closed)*I_syn + push)/tau_m : volt"
threshold = "v > v_peak"
reset = "v = v_reset"
[states]
v = { initial = "v_rest" }
[parameters]
tau_m = { default = "10*ms", unit = "second", description = "" }
v_rest = { default = "-65*mV", unit = "volt", description = "" }
v_crit = { default = "-50*mV", unit = "volt", description = "" }
v_peak = { default = "20*mV", unit = "volt", description = "" }
v_reset = { default = "-80*mV", unit = "volt", description = "" }
""",
    "theta": """
equations = "dtheta/dt = (1 - cos(theta) + (1 + cos(theta))*((1 - closed)*I_syn + push))/tau : 1"
threshold = "theta > pi"
reset = "theta -= 2*pi"
[parameters]
tau = { default = "10*ms", unit = "second", description = "" }
""",
}
LABELS = np.array([0, 1])
WANTED = np.sort(np.random.default_rng(5).uniform(10, 90, (2, 2, 3)), axis=2) * MS
WANTED[1, 0, 1:] = np.inf
INTERVALS = np.where(np.isfinite(WANTED), [30 * MS, 25 * MS, 40 * MS], np.inf)[:, :, :2]

LOSSES: dict[str, tuple[Loss, Any]] = {
    "spike times": (SpikeTimeError(tau=10 * MS), WANTED),
    "first spikes": (TTFSCrossEntropy(tau0=10 * MS, tau1=60 * MS), LABELS),
    "intervals": (IntervalError(tau=10 * MS), INTERVALS),
    "an expression": (ExpressionLoss("((t - wanted)/tau)**2", {"tau": "10*ms"}, {"wanted": "second"}), WANTED),
    "a softmax": (
        ExpressionLoss(
            "log(sum_neurons(exp(-first_spike/tau))) + sum_neurons(is_label*first_spike/tau)", {"tau": "10*ms"}
        ),
        LABELS,
    ),
}


def network(neuron: str, seed: int = 0) -> Network:
    """A drawn network, everything learnable, in which some output spikes are missing."""
    model, rng = load_model(neuron), np.random.default_rng(seed)
    size, parameters = WEIGHT[neuron], tuple(model.parameters)
    drawn = {"tau_m" if neuron == "qif" else "tau": rng.uniform(8, 12, 2) * MS}  # of each neuron
    w_in, w_out = size * rng.uniform(0.8, 1.8, (3, 2)), size * rng.uniform(-0.2, 1.6, (2, 2))
    return Network(
        "drawn",
        (SpikeInput("input", 3),),
        (
            Population("hidden", 2, model, learnable=parameters),
            Population("output", 2, model, drawn, learnable=parameters),
        ),
        (
            Projection("w_in", "input", "hidden", w_in, learnable=("w", "delay"), delay=0.7 * MS),
            Projection("w_out", "hidden", "output", w_out, learnable=("w", "delay"), delay=0.7 * MS),
        ),
        "output",
        END,
    )


def inputs(seed: int = 0) -> dict[str, np.ndarray]:
    return {"input": np.sort(np.random.default_rng(50 + seed).uniform(0.5, 12, (2, 3, 2)), axis=2) * MS}


def case(neuron: str, loss: str, seed: int = 0) -> Case:
    kind, targets = LOSSES[loss]
    return Case(network(neuron, seed), inputs(seed), Pseudospikes(kind, DRIVE[neuron]), targets)


def going_on(given: Case, neuron: str, folder: Path) -> oracle.OracleGradient:
    """The reference on a longer trial, after whose first part the output's input is the constant: ordinary spikes."""
    unit = "volt" if neuron == "qif" else "1"
    path = folder / f"{neuron}.toml"
    path.write_text(f"""kind = "neuron"
title = "Going on"
description = "With another input when this one is closed."
{GOING_ON[neuron]}
[inputs]
I_syn = {{ unit = "{unit}", description = "" }}
closed = {{ unit = "1", description = "" }}
push = {{ unit = "{unit}", description = "" }}
""".replace('description = ""', 'description = "-"'))
    hidden, output = given.network.populations
    model = load_model(path, "exp_synapse")
    longer = dataclasses.replace(
        given.network,
        populations=(hidden, dataclasses.replace(output, model=model)),
        duration=LATER[neuron],
        currents=(CurrentInput("over", 1, interval=LATER[neuron], start=END),),
        drives=(
            Drive("closing", "over", "output", np.ones((1, 2)), input="closed"),
            Drive("pushing", "over", "output", np.full((1, 2), DRIVE[neuron]), input="push"),
        ),
    )
    assert isinstance(given.loss, Pseudospikes)
    return oracle.gradient(longer, {**given.inputs, "over": np.ones(1)}, given.loss.loss, given.labels)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("neuron", "loss", "seed"),
    [
        pytest.param("qif", "spike times", 0),
        pytest.param("theta", "first spikes", 0),
        *(pytest.param(n, k, seed, marks=SLOW) for n in DRIVE for k in LOSSES for seed in (1, 2)),
    ],
)
def test_they_are_the_spikes_of_a_longer_trial(
    neuron: str, loss: str, seed: int, target: str, tmp_path: Path
) -> None:
    given = case(neuron, loss, seed)
    found, expected = simulated(given, target), going_on(given, neuron, tmp_path)
    missing = found.outcome.pseudospikes["output"]
    assert missing > 0 and found.outcome.spikes["output"] + found.outcome.spikes["hidden"] > 0
    np.testing.assert_allclose(found.outcome.loss, expected.loss, rtol=1e-9)
    for key, gradient in found.outcome.gradients.items():
        off, size = np.linalg.norm(gradient - expected.gradients[key]), np.linalg.norm(gradient)
        assert off <= 1e-7 * max(size, 1e-3 * abs(expected.loss)), (key, off, size)
