"""Pseudospikes: times and gradients beside a reference that simulates on, with the constant, after the trial."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize

from snnmodels import oracle
from snnmodels.datasets import Trials
from snnmodels.gradients import Simulation, check_gradient
from snnmodels.losses import (
    ExpressionLoss,
    FinalValues,
    IntervalError,
    Loss,
    Pseudospikes,
    SpikeTimeError,
    SpikeTimes,
    TTFSCrossEntropy,
    VanRossumDistance,
)
from snnmodels.optimisers import Adam
from snnmodels.targets import Target
from snnmodels.templates import CurrentInput, Drive, Network, Population, Projection, SpikeInput, load_model
from snnmodels.training import evaluate, train
from tests.exactness.networks import MS, NEAR, SLOW, Case, simulated
from tests.needs import TARGETS

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
    kind, targets = (LOSSES | {"van Rossum": (VanRossumDistance(tau=30 * MS), WANTED)})[loss]
    return Case(network(neuron, seed), inputs(seed), Pseudospikes(kind, DRIVE[neuron]), targets)


def going_on(given: Case, neuron: str, folder: Path) -> oracle.OracleGradient:
    """The reference on a longer trial, after whose first part the output's input is the constant: ordinary spikes."""
    unit = "volt" if neuron == "qif" else "1"
    path = folder / f"{neuron}.toml"
    path.write_text(
        f"""kind = "neuron"
title = "Going on"
description = "With another input when this one is closed."
{GOING_ON[neuron]}
[inputs]
I_syn = {{ unit = "{unit}", description = "" }}
closed = {{ unit = "1", description = "" }}
push = {{ unit = "{unit}", description = "" }}
""".replace('description = ""', 'description = "-"')
    )
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
        pytest.param(n, k, seed, marks=() if (n, k, seed) == ("theta", "first spikes", 1) else SLOW)
        for n in DRIVE
        for k in LOSSES
        for seed in (1, 3)
    ],
)
def test_they_are_the_spikes_of_a_longer_trial(neuron: str, loss: str, seed: int, target: str, tmp_path: Path) -> None:
    given = case(neuron, loss, seed)
    # the gradient of a softmax cancels: with closer flows, digits are left of it
    found, expected = simulated(given, target, tolerance=1e-12), going_on(given, neuron, tmp_path)
    assert found.outcome.spikes["hidden"] > 0
    assert found.outcome.pseudospikes["output"] > 0
    np.testing.assert_allclose(found.outcome.loss, expected.loss, rtol=1e-9)
    for key, gradient in found.outcome.gradients.items():
        off, size = np.linalg.norm(gradient - expected.gradients[key]), np.linalg.norm(gradient)
        assert off <= NEAR.gradient * max(size, 1e-3 * abs(expected.loss)), (key, off, size)


@pytest.mark.parametrize("target", [pytest.param("numpy", marks=SLOW), TARGETS[1]])
@pytest.mark.parametrize(
    ("neuron", "loss"),
    [
        pytest.param(n, k, marks=() if (n, k) == ("theta", "first spikes") else SLOW)
        for n in DRIVE
        for k in (*LOSSES, "van Rossum")
    ],
)
def test_gradients_are_those_of_differences(neuron: str, loss: str, target: Target) -> None:
    given = case(neuron, loss, 1)
    options = {"inputs": given.inputs, "loss": given.loss, "targets": given.labels, "target": target}
    report = check_gradient(
        given.network,
        **options,  # type: ignore[arg-type]
        oracle=False,
        elements=2,
        flow_tolerance=1e-12,  # as above, so that it is the same program
    )
    assert report.ok, str(report)
    assert report.unresolved == ()


# --- where a spike crosses the end of the trial -----------------------------------------------------------------------

SPIKES = np.array([[[2.0, 10.0, 18.0]]]) * MS  # of the one source
TWO = np.array([[[20.0, 34.0]]]) * MS  # target times
END_OF_ONE = 40 * MS
ERROR = SpikeTimeError(tau=10 * MS, missing=30 * MS)


def one(neuron: str, duration: float = END_OF_ONE) -> Network:
    return Network(
        "one",
        (SpikeInput("input", 1),),
        (Population("output", 1, load_model(neuron)),),
        (Projection("w", "input", "output", np.zeros((1, 1))),),
        "output",
        duration,
    )


def weight_of_birth(neuron: str, k: int, low: float, high: float) -> float:
    """The weight at which spike k, from 0, comes at the end of the trial, between two weights."""
    longer = one(neuron, 1.5 * END_OF_ONE)  # in which it exists on both sides
    with Simulation(longer, SpikeTimes(), batch_size=1, tolerance=1e-12) as simulation:

        def late(w: float) -> float:
            times = np.asarray(simulation.forward({"input": SPIKES}, {"w.w": np.array([[w]])}, gradient=False))
            return float(times[0, 0, k]) - END_OF_ONE

        return float(scipy.optimize.brentq(late, low, high, xtol=1e-14 * high, rtol=1e-15))


def around(neuron: str, loss: Loss, w: float) -> tuple[np.ndarray, np.ndarray]:
    """Loss and gradient just before and after the spike is there."""
    with Simulation(one(neuron), loss, batch_size=1, tolerance=1e-12) as simulation:
        both = [simulation.run({"input": SPIKES}, TWO, {"w.w": np.array([[w * x]])}) for x in (1 - 1e-7, 1 + 1e-7)]
    counts = [o.spikes["output"] + o.pseudospikes.get("output", 0) for o in both]
    if isinstance(loss, Pseudospikes):
        assert counts == [2, 2]
        assert both[1].spikes["output"] == both[0].spikes["output"] + 1
    return np.array([o.loss for o in both]), np.array([o.gradients["w.w"][0, 0] for o in both])


def test_loss_and_gradient_are_continuous_where_a_spike_appears() -> None:
    for k, low, high in ((0, 0.3, 0.4), (1, 3.4, 3.8)):
        w = weight_of_birth("theta", k, low, high)
        loss, slope = around("theta", Pseudospikes(ERROR), w)
        assert loss[1] == pytest.approx(loss[0], rel=1e-5)
        assert slope[1] == pytest.approx(slope[0], rel=1e-5)
        loss, slope = around("theta", ERROR, w)
        assert abs(loss[1] - loss[0]) > 2  # by its formula: from (missing/tau)**2 = 9 to ((40 - 20)/10)**2, ..., halved
        assert abs(slope[1] - slope[0]) > 0.1
    assert loss[0] - loss[1] == pytest.approx((9 - (40 - 34) ** 2 / 10**2) / 2, rel=1e-5)


def test_a_potential_that_is_cut_off_changes_the_slope_by_a_known_factor() -> None:
    w = weight_of_birth("qif", 1, 0.047, 0.05)
    with Simulation(one("qif"), FinalValues(variable="I_syn"), batch_size=1) as simulation:
        found = simulation.forward({"input": SPIKES}, {"w.w": np.array([[w]])}, gradient=False)
        current = float(np.asarray(found)[0, 0])
    loss, slope = around("qif", Pseudospikes(ERROR), w)
    assert loss[1] == pytest.approx(loss[0], rel=1e-5)
    # of the second spike's share in the slope alone, at the end of which both losses have the same
    by_first = around("qif", ERROR, w)[1][0]
    peak = (0.02 + 0.065) * (0.02 + 0.05) / 0.015
    drive = load_model("qif").pseudospike.drive  # type: ignore[union-attr]
    factor = (slope[0] - by_first) / (slope[1] - by_first)
    assert factor == pytest.approx((peak + current) / (peak + drive), rel=1e-5)
    assert 0.9 < factor < 1.1


# --- training ---------------------------------------------------------------------------------------------------------


def test_training_begins_in_silence() -> None:
    rng = np.random.default_rng(0)
    network = Network(
        "silent",
        (SpikeInput("input", 4),),
        (Population("output", 1, load_model("theta")),),
        (Projection("w", "input", "output", np.full((4, 1), 0.01)),),
        "output",
        30 * MS,
    )
    times, wanted = rng.uniform(1, 12, (1, 4)) * MS, np.array([[[18 * MS]]])
    data = Trials({"input": times}, wanted)
    for loss in (ERROR, Pseudospikes(ERROR)):
        with Simulation(network, loss, batch_size=1) as simulation:
            assert simulation.run({"input": times}, wanted, gradient=False).spikes["output"] == 0
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                result = train(simulation, data, Adam(0.06), epochs=24, batch_size=1, progress=False)
            after = evaluate(simulation, data, result.values)
        silent = any("a spike that the loss needs was missing" in str(w.message) for w in told)
        if loss is ERROR:
            assert silent and after.silent_trials == 1 and after.spikes["output"] == 0
            np.testing.assert_array_equal(result.values["w.w"], network.projections[0].weights)
        else:
            assert not silent and after.silent_trials == 0
            assert after.spikes["output"] == 1 and after.pseudospikes["output"] == 0
            assert after.loss < 0.04  # within 2 ms
            assert result.history.epochs[0].pseudospikes["output"] == 1
