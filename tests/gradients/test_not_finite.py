"""A state that is no number is refused by name, with a gradient and without: nothing is silent by it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from snnmodels.datasets import Trials
from snnmodels.gradients import GridSimulation, Simulation, SimulationError
from snnmodels.losses import Loss, MaxVoltageCrossEntropy, TTFSCrossEntropy
from snnmodels.templates import Model, Network, Population, Projection, SpikeInput, load_model
from snnmodels.training import evaluate
from tests.needs import on_both

LIF = load_model("lif+exp_synapse")
LEAKY = load_model("leaky_integrator+exp_synapse")
TIMES = {"in": np.array([[1e-3, 2e-3, 3e-3]])}
LABELS = np.array([0])


def network(model: Model = LIF, weight: float = 3.0) -> Network:
    return Network(
        "small",
        (SpikeInput("in", 3),),
        (Population("p", 2, model),),
        (Projection("q", "in", "p", np.full((3, 2), weight)),),
        "p",
        30e-3,
    )


def moving(rate: str, model: Model = LIF) -> Network:
    """The network of a model with another rate of its voltage."""
    return network(dataclasses.replace(model, derivatives={**model.derivatives, "v": rate}))


CASES: dict[str, tuple[Callable[[], Network], Loss]] = {
    "a weight that overflows the current": (lambda: network(weight=1e308), TTFSCrossEntropy()),
    "one that inhibits": (lambda: network(weight=-1e308), TTFSCrossEntropy()),
    "one into the voltage": (lambda: network(load_model("lif+delta_synapse"), -1e308), TTFSCrossEntropy()),
    "exp of the voltage": (lambda: moving("(-v + exp(1000*v)*I_syn)/tau_m"), TTFSCrossEntropy()),
    "exp of a number": (lambda: moving("(exp(800 + v) - v)/tau_m"), TTFSCrossEntropy()),
    "log below 0": (lambda: moving("(log(v - 1) + I_syn)/tau_m"), TTFSCrossEntropy()),
    "root below 0": (lambda: moving("(sqrt(v - 1) + I_syn)/tau_m"), TTFSCrossEntropy()),
    "division by 0": (lambda: moving("(1/v + I_syn)/tau_m"), TTFSCrossEntropy()),
    "a maximum that overflows": (lambda: network(LEAKY, 1e308), MaxVoltageCrossEntropy()),
    "a maximum of a trace that falls": (lambda: network(LEAKY, -1e308), MaxVoltageCrossEntropy()),
    "log of a readout": (lambda: moving("(log(v - 1) + I_syn)/tau_m", LEAKY), MaxVoltageCrossEntropy()),
}


@pytest.mark.parametrize("gradient", [True, False])
@pytest.mark.parametrize("kind", [Simulation, GridSimulation])
@pytest.mark.parametrize("what", CASES)
def test_no_state_is_silently_infinite(what: str, kind: type[Any], gradient: bool) -> None:
    make, loss = CASES[what]
    with (
        kind(make(), loss, batch_size=1) as simulation,
        pytest.raises(SimulationError, match=r"population 'p': neuron \d: its state .*is no longer finite"),
    ):
        simulation.run(TIMES, LABELS, gradient=gradient)


def test_what_is_infinite_in_finite_time_is_refused() -> None:
    diverging = moving("(v**2 + 1 + I_syn)/(0.1*tau_m)", LEAKY)
    # a coarse flow, which gets there in fewer steps
    for simulation in (
        Simulation(diverging, MaxVoltageCrossEntropy(), batch_size=1, tolerance=1e-2),
        GridSimulation(diverging, MaxVoltageCrossEntropy(), batch_size=1),
    ):
        with simulation, pytest.raises(SimulationError, match="no longer finite"):
            simulation.run(TIMES, LABELS, gradient=False)


# From about 1e303 on products of a weight and a rate overflow: such a neuron would pass its threshold unseen.
LARGE = [1e303, 1e305, 1e306, 1e307, 1.7e308]


@on_both
def test_no_weight_is_too_large_to_be_seen(target: Any) -> None:
    with Simulation(network(), TTFSCrossEntropy(), batch_size=1, target=target) as simulation:
        learnable = simulation.network.trainable()["q.w"]
        for weight in LARGE:
            with pytest.raises(SimulationError, match="its state is no longer finite"):
                simulation.run(TIMES, LABELS, {"q.w": np.full_like(learnable, weight)}, gradient=False)
        assert np.isfinite(simulation.run(TIMES, LABELS, gradient=False).loss)  # and nothing of it is left


@pytest.mark.parametrize("kind", [Simulation, GridSimulation])
def test_an_evaluation_is_refused_too(kind: type[Any]) -> None:
    with (
        kind(network(weight=-1e308), TTFSCrossEntropy(), batch_size=1) as simulation,
        pytest.raises(SimulationError, match="no longer finite"),
    ):
        evaluate(simulation, Trials(TIMES, LABELS), batch_size=1)


@pytest.mark.parametrize("kind", [Simulation, GridSimulation])
@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_inputs_that_are_no_times_are_refused(kind: type[Any], bad: float) -> None:
    with kind(network(), TTFSCrossEntropy(), batch_size=1) as simulation, pytest.raises(ValueError, match="'in'"):
        simulation.run({"in": np.array([[1e-3, bad, 3e-3]])}, LABELS, gradient=False)
