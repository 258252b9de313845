"""A gate equals a network without the neurons that are off; budgets, orders and baselines are what they should be."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from snnmodels.coding import CodingNetwork, golden_angle_decoder, joint_loss, log_uniform_norms, simulate, smooth_signal
from snnmodels.datasets import Trials, yin_yang_latency
from snnmodels.gradients.simulation import Simulation
from snnmodels.gradients.source import Outcome
from snnmodels.losses import TTFSCrossEntropy
from snnmodels.losses.observables import Samples
from snnmodels.optimisers import Adam
from snnmodels.studies.adaptive_network import AdaptiveNetwork, train_adaptive, transfer
from snnmodels.studies.budgets import accuracies, chosen, condensed, spent
from snnmodels.studies.early_decision import decide, output_potentials
from snnmodels.studies.gating import GATE, KNOB, LONGEST, GatedBatches, SpikeBudget, gated, with_knob
from snnmodels.studies.ordering import benefit_order
from snnmodels.studies.transfer import run_seed
from snnmodels.studies.transfer_tasks import Task, settings_for, yin_yang_task
from snnmodels.templates import Network, load_model, load_network

N = 12


def network(n: int = N) -> Network:
    weights = {"distribution": "normal", "mean": 2.5, "std": 0.3}
    return load_network("yin_yang", seed=3, hidden={"n": n}, hidden_output={"weights": weights})


@pytest.fixture(scope="module")
def trials() -> Trials:
    rng = np.random.default_rng(1)
    samples = rng.uniform(0, 1, (6, 4))
    return Trials({"input": samples}, rng.integers(0, 3, 6), yin_yang_latency)


@pytest.mark.parametrize("on", [0, 5, N])
def test_a_gate_leaves_the_spikes_loss_and_gradients_of_the_neurons_that_are_on(trials: Trials, on: int) -> None:
    plain = network()
    inputs, labels = trials.take(slice(None))
    gate = gated(plain, "hidden", seed=1, std=0.0)
    with Simulation(gate, TTFSCrossEntropy(), batch_size=6) as simulation:
        found = simulation.run(with_knob(inputs, np.full(6, on), N), labels)
        times = simulation.spike_times("hidden")
    assert found.spikes["hidden"] == (0 if on == 0 else pytest.approx(np.isfinite(times[:, :on]).sum() / 6))
    assert not np.isfinite(times[:, on:]).any()
    if on == 0:
        assert found.silent == 6 or found.loss == pytest.approx(np.log(3))
        return
    few = dataclasses.replace(
        plain,
        populations=tuple(dataclasses.replace(p, n=on) if p.name == "hidden" else p for p in plain.populations),
        projections=tuple(
            dataclasses.replace(q, weights=q.weights[:, :on] if q.target == "hidden" else q.weights[:on])
            for q in plain.projections
        ),
    )
    with Simulation(few, TTFSCrossEntropy(), batch_size=6) as simulation:
        expected = simulation.run(inputs, labels)
        own = simulation.spike_times("hidden")
    assert expected.spikes["hidden"] > 1
    assert found.loss == pytest.approx(expected.loss, rel=1e-12)
    np.testing.assert_allclose(times[:, :on, : own.shape[2]], own, rtol=1e-12)
    np.testing.assert_allclose(
        found.gradients["input_hidden.w"][:, :on], expected.gradients["input_hidden.w"], rtol=1e-9, atol=1e-12
    )
    assert not found.gradients["input_hidden.w"][:, on:].any()
    assert np.abs(found.gradients[f"{KNOB}_output.w"]).max() > 0


def test_what_the_knob_says_and_refuses(trials: Trials) -> None:
    inputs, _ = trials.take(slice(3))
    given = with_knob(inputs, np.array([0, 3, N]), N)
    assert [np.flatnonzero(row == 0).tolist() for row in given[GATE]] == [[0], [3], []]
    np.testing.assert_allclose(given[KNOB], LONGEST * np.array([[0, 1], [0.25, 0.75], [1, 0]]))
    for on in (np.array([1, 2, N + 1]), np.array([0.5, 1, 1])):
        with pytest.raises(ValueError, match=f"on: expected whole numbers of neurons from 0 to {N}"):
            with_knob(inputs, on, N)
    with pytest.raises(ValueError, match="has gate, knob already"):
        gated(gated(network(), "hidden", 1), "hidden", 1)


def test_batches_draw_the_numbers_of_neurons_that_were_asked_for() -> None:
    rng = np.random.default_rng(1)
    data = Trials({"input": rng.uniform(0, 1, (2000, 4))}, rng.integers(0, 3, 2000), yin_yang_latency)

    def levels(seed: int) -> list[np.ndarray]:
        batches = GatedBatches(data, 40, 64, seed, lowest=0.25, full=0.3, least=0.2, dropout=0.1)
        epochs = []
        for _ in range(2):
            taken = list(batches)
            assert len(taken) == len(batches) == 32
            assert all(np.isfinite(inputs[KNOB]).all() for inputs, _ in taken), "the knob must not be dropped"
            assert sum(len(labels) for _, labels in taken) == 2000
            epochs.append(np.concatenate([inputs[KNOB][:, 0] for inputs, _ in taken]) / LONGEST)
        return epochs

    first, second = levels(1)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, levels(1)[0])
    assert (first.min(), first.max()) == (0.25, 1)
    assert np.mean(first == 1) == pytest.approx(0.3, abs=0.05)
    assert np.mean(first == 0.25) == pytest.approx(0.2, abs=0.05)
    between = first[(first > 0.25) & (first < 1)]
    assert np.median(between) == pytest.approx(0.5, abs=0.04), "log-uniform"
    with pytest.raises(ValueError, match="expected fractions"):
        GatedBatches(data, 40, 64, 1, lowest=0.0, full=0.3, least=0.2)


class Counted:
    """Stands for a compiled simulation whose neuron i makes i spikes in each trial."""

    def __init__(self) -> None:
        self.network, self.loss = network(3), TTFSCrossEntropy()
        self.trials = 0

    def fits(self, *_: Any) -> bool:
        return True

    def fit(self, batches: Any, values: Any, optimiser: Any) -> list[Outcome]:
        self.trials = len(batches[-1][1])
        return [Outcome(1.0, None) for _ in batches]

    def spike_times(self, population: str) -> np.ndarray:
        return np.where(np.arange(2) < np.arange(3)[:, None], 0.01, np.inf)[None].repeat(self.trials, axis=0)


def test_a_budget_pushes_by_price_and_spikes_and_moves_the_price() -> None:
    optimiser = Adam(0.1)
    optimiser.start_epoch(0)
    batch = ({"input": np.zeros((4, 5))}, np.zeros(4, dtype=int))

    def pushed(budget: float) -> tuple[np.ndarray, float]:
        source = SpikeBudget(
            Counted(), "hidden", ("input_hidden",), np.ones(1), np.array([budget]), start=0.01, gain=0.5, every=2
        )  # type: ignore[arg-type]
        values = {"input_hidden.w": np.zeros((5, 3))}
        assert len(source.fit([batch] * 2, values, optimiser)) == 2
        return values["input_hidden.w"], float(source.prices[0])

    weights, price = pushed(2.0)
    np.testing.assert_allclose(weights, np.tile([0, -0.1 * 0.01 * 1 * 2, -0.1 * 0.01 * 2 * 2], (5, 1)))
    assert price == pytest.approx(0.01 * np.exp(0.5 * (3 / 2 - 1)))
    assert pushed(6.0)[1] == pytest.approx(0.01 * np.exp(0.5 * (3 / 6 - 1)))
    source = SpikeBudget(Counted(), "hidden", ("input_hidden",), np.ones(1), np.ones(1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="trains many batches in a call"):
        source.run(*batch)
    with pytest.raises(ValueError, match="a positive number for each of 2 levels"):
        SpikeBudget(Counted(), "hidden", (), np.ones(2), np.zeros(2))  # type: ignore[arg-type]


def test_each_level_of_the_knob_has_its_own_price(trials: Trials) -> None:
    inputs, labels = trials.take(slice(4))
    batch = (with_knob(inputs, np.array([N // 2, N // 2, N, N]), N), labels[:4])
    source = SpikeBudget(
        Counted(), "hidden", ("input_hidden",), np.array([0.5, 1.0]), np.array([1.0, 3.0]), start=0.01, gain=0.5
    )  # type: ignore[arg-type]
    optimiser = Adam(0.1)
    optimiser.start_epoch(0)
    source.fit([batch], {"input_hidden.w": np.zeros((5, 3))}, optimiser)
    # three spikes: twice over the lower budget, clipped to 1, and just the upper one
    np.testing.assert_allclose(source.prices, [0.01 * np.exp(0.5), 0.01])


def test_neurons_go_in_the_order_of_what_their_spikes_are_worth(trials: Trials) -> None:
    n = 6
    plain = network(n)
    inputs, labels = trials.take(slice(None))
    with Simulation(plain, TTFSCrossEntropy(), batch_size=6) as simulation:
        order, worth = benefit_order(simulation, plain.trainable(), trials, "hidden", "hidden_output")
        whole = simulation.run(inputs, labels, gradient=False).loss
        counts = np.isfinite(simulation.spike_times("hidden")).sum(axis=(0, 2)) / 6
    assert sorted(order) == list(range(n))
    spiking = [i for i in order if counts[i] > 0]
    assert list(order[: len(spiking)]) == spiking, "those that never spike go first"
    # the first to go, measured otherwise: by a gate on that neuron alone
    lost = []
    with Simulation(gated(plain, "hidden", 1, std=0.0), TTFSCrossEntropy(), batch_size=6) as simulation:
        for i in spiking:
            others = [*(j for j in range(n) if j != i), i]
            values = {"input_hidden.w": plain.trainable()["input_hidden.w"][:, others]}
            values["hidden_output.w"] = plain.trainable()["hidden_output.w"][others]
            loss = simulation.run(with_knob(inputs, np.full(6, n - 1), n), labels, values, gradient=False).loss
            lost.append((loss - whole) / counts[i])
    assert spiking[int(np.argmin(lost))] == spiking[-1]
    assert worth[len(spiking) - 1] == pytest.approx(min(lost), rel=1e-9, abs=1e-12)


def test_the_joint_loss_of_a_coding_network_switches_neurons_off_in_the_order_of_their_norms() -> None:
    norms = log_uniform_norms(60, 0.03, 0.9)
    decoder = golden_angle_decoder(60, norms)
    prices = np.geomspace(0.005, 0.2, 7)
    counts = []
    for price in prices:
        loss = joint_loss({"sparsity": "nu*r"}, parameters={"nu": float(price)})
        response = simulate(CodingNetwork(decoder, loss), smooth_signal(1.0))
        counts.append(np.bincount(response.spike_neurons, minlength=60))
        in_use = np.exp(np.average(np.log(norms), weights=counts[-1]))
        assert in_use == pytest.approx(np.sqrt(price), rel=0.2)
    used = np.array(counts) > 0
    some = used.any(axis=0)
    last = [prices[np.flatnonzero(used[:, i])[-1]] for i in np.flatnonzero(some)]
    assert spearmanr(last, norms[some]).statistic > 0.95


def test_potentials_of_the_output_in_closed_form(trials: Trials) -> None:
    plain = network()
    populations = tuple(
        dataclasses.replace(p, model=load_model("leaky_integrator+exp_synapse"), parameters={})
        if p.name == "output"
        else p
        for p in plain.populations
    )
    silent = dataclasses.replace(plain, populations=populations)
    inputs, _ = trials.take(slice(None))
    at = 4e-3 * np.arange(1, 16)
    with Simulation(silent, Samples("output", "v", 4e-3), batch_size=6) as simulation:
        expected = simulation.forward(inputs, gradient=False)
        hidden = simulation.spike_times("hidden")
    found = output_potentials(hidden, plain.projections[1].weights, at)
    assert np.abs(found).max() > 0.5
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_decisions_at_deadlines_and_margins() -> None:
    at = np.array([1e-3, 2e-3, 3e-3])
    hidden = np.array([[[0.5e-3], [2.5e-3]], [[1.5e-3], [np.inf]]])
    potentials = np.array([[[0.2, 0.3, 0.9], [0.1, 0.4, 0.2]], [[0.1, 0.2, 0.1], [0.0, 0.5, 0.9]]])
    output = np.array([[2.2e-3, np.inf], [np.inf, np.inf]])
    labels = np.array([0, 1])
    found = {
        (p["policy"], p["setting"]): (p["accuracy"], p["spikes"])
        for p in decide(hidden, output, potentials, at, labels, [1e-3, 3e-3], [0.3, 5.0])
    }
    assert found["deadline", 1e-3] == (0.5, 0.5)
    assert found["deadline", 3e-3] == (1.0, 1.0), "the spike of an output at 2.2 ms saves the hidden one at 2.5 ms"
    assert found["margin", 0.3] == (1.0, 1.0)
    assert found["margin", 5.0] == (1.0, 1.0), "a margin that is never reached waits for the end"
    late = decide(hidden, None, potentials, at, labels, [3e-3], [0.1])
    assert (late[0]["accuracy"], late[0]["spikes"]) == (1.0, 1.5)
    assert (late[1]["accuracy"], late[1]["spikes"]) == (0.5, 0.5)


@pytest.mark.parametrize("m_f", [0.05, 0.2])
def test_adaptive_neurons_code_what_the_transfer_function_says(m_f: float) -> None:
    s = np.array([0.5, 1.0])
    expected, slope = transfer(s, m_f)
    assert expected[-1] == pytest.approx(1)
    assert transfer(np.array([m_f / 2]), m_f)[0] == 0
    np.testing.assert_allclose(
        slope, (transfer(s + 1e-4, m_f)[0] - transfer(s - 1e-4, m_f)[0]) / 2e-4, rtol=1e-3
    )
    # one neuron, read by two outputs: the difference changes sign where its mean output is `level`
    for value, mean in zip(s, expected, strict=True):
        for level, label in ((0.97 * mean, 0), (1.03 * mean, 1)):
            network = AdaptiveNetwork(np.array([[1.0], [0.0]]), np.array([[1.0, 0.0], [0.0, level]]))
            found = network.spiking(np.array([[value]]), np.array([label]), m_f, [4000])
            assert found[0]["accuracy"] == 1, (value, mean, level)
            assert found[0]["spikes"] > 10


def test_the_adaptive_network_learns() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (400, 2))
    labels = (x[:, 0] > x[:, 1]).astype(int)
    network = train_adaptive(x, labels, 8, 2, m_f=0.1, epochs=30, rate=1e-2, batch_size=32, seed=1)
    few, many = network.spiking(x, labels, 0.5, [100])[0], network.spiking(x, labels, 0.05, [100])[0]
    assert many["accuracy"] > 0.93
    assert many["spikes"] > 3 * few["spikes"] > 0


def point(accuracy: float, spikes: float, test: float) -> dict[str, Any]:
    counts = {"spikes": spikes, "decided": spikes / 2}
    return {"setting": 1.0, "validation": {"accuracy": accuracy, **counts}, "test": {"accuracy": test, **counts}}


def test_points_are_chosen_by_validation_within_the_budget() -> None:
    points = [point(0.9, 10, 0.1), point(0.8, 5, 0.99), point(0.7, 2, 1.0)]
    assert chosen(points, 10) is points[0], "the test accuracy decides nothing"
    assert chosen(points, 9) is points[1]
    assert chosen(points, 5, "decided") is points[0]
    assert chosen(points, 1) is None
    result = {
        "base": points[:1], "conditioned": points, "frozen_kappa": points[:1], "frozen_nu": points[1:],
        "control": [], "neurons": 3, "retrained_base": points[1:2],
    }  # fmt: skip
    seeds = {"1": condensed(result, {"spikes": (1.0, 0.5, 0.1), "decided": (0.5, 0.2)})}
    np.testing.assert_allclose(accuracies(seeds, "conditioned"), [[0.1, 0.99, np.nan]])
    np.testing.assert_allclose(accuracies(seeds, "frozen"), [[0.1, 0.99, np.nan]])
    np.testing.assert_allclose(accuracies(seeds, "retrained"), [[0.1, 0.99, np.nan]])
    np.testing.assert_allclose(spent(seeds, "conditioned", "decided"), [[0.5, 0.1]])
    assert "small" in seeds["1"]["arms"], "with no small network, the base stands for it"
    assert "adaptive" not in seeds["1"]["arms"]


def test_a_folder_of_other_settings_is_refused(tmp_path: Path, trials: Trials) -> None:
    task = Task("small", lambda n, seed: network(n), TTFSCrossEntropy(), trials, trials, trials)
    settings = settings_for("yin_yang", quick=True)
    (tmp_path / "settings.json").write_text('{"task": "small", "seed": 1, "settings": {"hidden": 7}}')
    with pytest.raises(ValueError, match="of a run with other settings; remove it, or name another with --out"):
        run_seed(task, settings, 1, tmp_path)


@pytest.mark.slow
def test_every_arm_runs_and_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    settings = dataclasses.replace(
        settings_for("yin_yang", quick=True), base_epochs=12, joint_epochs=12, adaptive=(8,), adaptive_epochs=3
    )
    task = yin_yang_task(500, 500)
    result = run_seed(task, settings, 1, tmp_path)
    assert result["base"][0]["test"]["accuracy"] > 0.93
    files = {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    (tmp_path / "small_30.json").unlink()
    again = run_seed(task, settings, 1, tmp_path)
    assert again == result
    assert [name for name, at in files.items() if (tmp_path / name).stat().st_mtime_ns != at] == ["small_30.json"]
    seeds = {"1": condensed(result, task.budgets(settings))}
    own, frozen = accuracies(seeds, "conditioned"), accuracies(seeds, "frozen")
    at = settings.fractions.index(0.6)
    assert own[0, at] > frozen[0, at] + 0.05
    assert (spent(seeds, "conditioned")[0, : at + 1] < np.array(settings.fractions[: at + 1]) + 0.03).all()
    last = [b["spikes"] / b["budget"] for b in result["control"][60:80]]
    assert np.mean(last) == pytest.approx(1, abs=0.1)


def test_settings_of_unknown_tasks_are_refused() -> None:
    with pytest.raises(ValueError, match="task: expected 'yin_yang' or 'mnist', got 'digits'"):
        settings_for("digits")
