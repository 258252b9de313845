"""Knobs on spikes: exact gradients, what the wrappers hand on, the price's surrogate, and the homeostat."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from snnmodels.datasets import Trials
from snnmodels.gradients.simulation import Simulation
from snnmodels.gradients.source import Outcome
from snnmodels.optimisers import Adam
from snnmodels.oracle import gradient
from snnmodels.studies.conditioning import BatchHomeostat, SpikePressure, WithKnobs
from snnmodels.templates import Network, Population, Projection, SpikeInput, TemplateError, load_model, load_network
from snnmodels.training.loop import train
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
    assert outcome.gradients[key] == pytest.approx(differences[key], rel=1e-6)


def test_gradients_equal_the_oracle() -> None:
    network, inputs = small()
    exact = gradient(network, inputs, Polynomial(), None, method="matrix-exponential")
    assert exact.simulation.at_arrivals == 0
    with Simulation(network, Polynomial(), batch_size=2) as simulation:
        outcome = simulation.run(inputs, np.zeros(2, dtype=int))
    assert outcome.loss == pytest.approx(exact.loss, rel=1e-10)
    for key in (*network.trainable(), "in.times"):
        np.testing.assert_allclose(outcome.gradients[key], exact.gradients[key], rtol=1e-9, atol=1e-9, err_msg=key)


def test_feedback_inhibition_needs_the_trace() -> None:
    with pytest.raises(TemplateError, match="add population_trace too"):
        load_model("lif+feedback_inhibition")


class Recorder:
    """Stands for a simulation: remembers the values it was run with, and spikes less the higher kappa is."""

    def __init__(self) -> None:
        self.network = load_network("yin_yang_knobs", hidden={"n": 3})
        self.loss = Polynomial()
        self.seen: list[dict[str, np.ndarray]] = []

    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        targets: np.ndarray,
        values: Mapping[str, np.ndarray] | None = None,
        *,
        gradient: bool = True,
    ) -> Outcome:
        assert values is not None
        self.seen.append({key: np.array(value) for key, value in values.items()})
        spikes = {"hidden": 10 / (1 + 50 * float(values["hidden.kappa"]))}
        gradients = {key: np.ones(v.shape) for key, v in self.network.trainable().items()} if gradient else {}
        n = len(targets)
        return Outcome(1.0, np.zeros(n, dtype=int), gradients, spikes, 1.0, np.full((n, 3, 1), 0.01))

    def close(self) -> None: ...


@pytest.fixture
def data() -> Trials:
    times = np.random.default_rng(0).uniform(0, 0.03, (8, 5))
    return Trials({"input": times}, np.zeros(8, dtype=int))


OFF = {"hidden.nu": 0.0, "hidden.kappa": 0.0}


def test_a_drawn_knob_is_set_for_every_batch_and_never_trained(data: Trials) -> None:
    def trained(seed: int) -> tuple[dict[str, np.ndarray], list[float]]:
        source = Recorder()
        knobs = WithKnobs(source, OFF, lambda rng: {"hidden.kappa": rng.uniform(0, 0.1)}, seed)
        result = train(knobs, data, Adam(1e-3), epochs=2, batch_size=4, validation=data, progress=False)
        return result.values, [float(v["hidden.kappa"]) for v in source.seen]

    values, kappas = trained(seed=1)
    assert set(values) == {"input_hidden.w", "hidden_output.w"}
    # two batches to train on, two to validate on, in each epoch
    drawn, validated = [kappas[k] for k in (0, 1, 4, 5)], [kappas[k] for k in (2, 3, 6, 7)]
    assert len(set(drawn)) == 4
    assert all(0 < kappa < 0.1 for kappa in drawn)
    assert validated == [0] * 4
    assert trained(seed=1)[1] == kappas, "a resumed run must draw the same"
    assert trained(seed=2)[1] != kappas


def test_what_is_no_knob_is_refused(data: Trials) -> None:
    with pytest.raises(ValueError, match=r"'hidden.tau_m' is not learnable; .* has the knobs hidden.nu, hidden.kappa"):
        WithKnobs(Recorder(), {"hidden.tau_m": 0.01})
    with pytest.raises(ValueError, match=r"draw returned \['hidden.mu'\]"):
        WithKnobs(Recorder(), OFF, lambda rng: {"hidden.mu": 1.0}).run(*data.take(slice(2)))


def test_the_price_is_added_where_the_surrogate_says() -> None:
    network, inputs = small()
    labels = np.zeros(2, dtype=int)
    with Simulation(network, Polynomial(), batch_size=2) as simulation:
        plain = simulation.run(inputs, labels)
        pressed = SpikePressure(simulation, "hidden", 0.5, ("in_hidden",), "v_th")
        priced = pressed.run(inputs, labels)
        count = np.isfinite(simulation.spike_times("hidden")).sum(axis=2).mean(axis=0)
        added = {key: priced.gradients[key] - plain.gradients[key] for key in network.trainable()}
        with pytest.raises(ValueError, match="'hidden_hidden' is no learnable projection onto 'hidden'"):
            SpikePressure(simulation, "hidden", 0.5, ("hidden_hidden",))
        with pytest.raises(ValueError, match="price"):
            SpikePressure(simulation, "hidden", -1, ("in_hidden",))
    assert count.sum() == pytest.approx(plain.spikes["hidden"])
    assert count.min() > 0
    assert priced.loss == plain.loss
    np.testing.assert_allclose(added["in_hidden.w"], np.tile(0.5 * count, (4, 1)), rtol=1e-9)
    np.testing.assert_allclose(added["hidden.v_th"], -0.5 * count, rtol=1e-9)
    assert all(not added[key].any() for key in added if key not in ("in_hidden.w", "hidden.v_th"))


def test_the_homeostat_brings_spikes_to_the_budget(data: Trials) -> None:
    homeostat = BatchHomeostat("hidden.kappa", "hidden", rate=0.5, start=0.001)
    records = list(homeostat.follow(Recorder(), data, np.repeat([5.0, 8.0], 60), {}, batch_size=4))
    assert records[0].knob == pytest.approx(0.001, rel=1e-12)
    assert records[59].spikes == pytest.approx(5, rel=1e-3)
    assert records[119].spikes == pytest.approx(8, rel=1e-3)
    # 10 / (1 + 50 kappa) = 5 at kappa = 0.02, and 8 at 0.005
    assert [records[k].knob for k in (59, 119)] == pytest.approx([0.02, 0.005], rel=1e-2)
    assert records[0].accuracy == 1
    # out of reach: the knob stops at its limit
    bounded = dataclasses.replace(homeostat, highest=0.01)
    assert list(bounded.follow(Recorder(), data, np.full(60, 2.0), {}))[-1].knob == pytest.approx(0.01)
    with pytest.raises(ValueError, match="budgets"):
        next(homeostat.follow(Recorder(), data, np.zeros(1), {}))
    with pytest.raises(ValueError, match="start"):
        BatchHomeostat("hidden.kappa", "hidden", start=0)


def test_the_figure_is_drawn_again_from_its_results(root: Path, tmp_path: Path) -> None:
    options = ["--redraw", "docs/results/transfer.json", "--out", str(tmp_path)]
    command = [sys.executable, "scripts/figure_transfer.py", *options]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| one network with a knob | 0." in done.stdout
    assert (tmp_path / "transfer.png").stat().st_size > 20_000
