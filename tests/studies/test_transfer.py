"""Knobs on a threshold have exact gradients; the figure of the transfer study is drawn again from its results."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from snnmodels.gradients.simulation import Simulation
from snnmodels.gradients.source import Outcome
from snnmodels.oracle import gradient
from snnmodels.templates import Network, Population, Projection, SpikeInput, TemplateError, load_model
from tests.oracle.networks import MS, Inputs, Polynomial

MODEL = "lif+exp_synapse+population_trace+energy_threshold+feedback_inhibition+adaptive_threshold"
KNOBS = ("nu", "kappa", "beta", "v_th")


def small() -> tuple[Network, Inputs]:
    """4-4-2 with all three knobs at work and a threshold per hidden neuron."""
    rng = np.random.default_rng(3)
    own = {"nu": 0.05, "kappa": 0.06, "beta": 0.15, "v_th": rng.uniform(0.85, 1.1, 4)}
    network = Network(
        "small",
        (SpikeInput("in", 4),),
        (
            Population("hidden", 4, load_model(MODEL), own, KNOBS),
            Population("out", 2, load_model("lif+exp_synapse")),
        ),
        (
            Projection("in_hidden", "in", "hidden", rng.uniform(1.2, 3.4, (4, 4)), "exp_synapse"),
            Projection("hidden_hidden", "hidden", "hidden", np.ones((4, 4)), "population_trace", learnable=False),
            Projection("hidden_out", "hidden", "out", rng.uniform(0.8, 2.0, (4, 2))),
        ),
        "out",
        48 * MS,
    )
    return network, {"in": np.sort(rng.uniform(0, 20 * MS, (2, 4, 2)), axis=2)}


@pytest.fixture(scope="module")
def simulated() -> tuple[Outcome, dict[str, np.ndarray]]:
    """Gradients, and central differences of the same simulation for the knobs."""
    network, inputs = small()
    labels, step = np.zeros(2, dtype=int), 1e-6
    differences = {}
    with Simulation(network, Polynomial(), batch_size=2) as simulation:
        outcome = simulation.run(inputs, labels)
        start = network.trainable()
        for key in (f"hidden.{knob}" for knob in KNOBS):
            differences[key] = np.zeros(start[key].shape)
            for index in np.ndindex(start[key].shape):
                ends = []
                for sign in (1, -1):
                    moved = start[key].copy()
                    moved[index] += sign * step
                    ends.append(simulation.run(inputs, labels, {**start, key: moved}, gradient=False).loss)
                differences[key][index] = (ends[0] - ends[1]) / (2 * step)
    return outcome, differences


@pytest.mark.parametrize("key", [f"hidden.{knob}" for knob in KNOBS])
def test_knob_gradients_equal_differences(simulated: tuple[Outcome, dict[str, np.ndarray]], key: str) -> None:
    outcome, differences = simulated
    assert outcome.spikes["hidden"] >= 6
    assert np.abs(differences[key]).min() > 1e-2
    assert outcome.gradients[key] == pytest.approx(differences[key], rel=1e-8)


def test_gradients_equal_the_oracle() -> None:
    network, inputs = small()
    exact = gradient(network, inputs, Polynomial(), None, method="matrix-exponential")
    assert exact.simulation.at_arrivals == 0
    with Simulation(network, Polynomial(), batch_size=2) as simulation:
        outcome = simulation.run(inputs, np.zeros(2, dtype=int))
    assert outcome.loss == pytest.approx(exact.loss, rel=1e-12)
    for key in (*network.trainable(), "in.times"):
        np.testing.assert_allclose(outcome.gradients[key], exact.gradients[key], rtol=1e-12, atol=1e-12, err_msg=key)


def test_feedback_inhibition_needs_the_trace() -> None:
    with pytest.raises(TemplateError, match="add population_trace too"):
        load_model("lif+feedback_inhibition")


def test_the_figure_is_drawn_again_from_its_results(root: Path, tmp_path: Path) -> None:
    options = ["--redraw", "docs/results/transfer.json", "--out", str(tmp_path)]
    command = [sys.executable, "scripts/figure_transfer.py", *options]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| one network with a knob | 0." in done.stdout
    assert (tmp_path / "transfer.png").stat().st_size > 20_000
