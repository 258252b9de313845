"""The LIF autoencoder: exact gradient of its joint loss, constraints, training."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from snnmodels.coding import smooth_signal
from snnmodels.datasets import Trials
from snnmodels.gradients import Simulation, check_gradient
from snnmodels.studies.autoencoder import (
    AutoencoderSettings,
    Constrained,
    autoencoder_loss,
    autoencoder_network,
    coding_error,
    possible_starts,
    signal_trials,
    train_autoencoder,
)
from snnmodels.training import evaluate

SMALL = AutoencoderSettings(neurons=8, level=0.1, trial=0.12, lead=0.04, batch_size=4, epochs=4, gains=(1.0, 2.0))


def windows(trials: int, seed: int, settings: AutoencoderSettings = SMALL) -> Trials:
    steps = round(settings.trial / settings.dt)
    values = smooth_signal(trials * settings.trial, dt=settings.dt, seed=seed).values.T
    cut = np.stack([values[:, k * steps : (k + 1) * steps + 1] for k in range(trials)])
    return signal_trials(settings, cut, settings.dt)


def test_signal_trials() -> None:
    signal = smooth_signal(0.12, dt=1e-4, seed=0).values.T[None]
    inputs, targets = signal_trials(SMALL, signal, 1e-4).take(slice(1))
    assert inputs["input"].shape[:2] == (1, 5)
    assert targets.shape == (1, 3, 120)
    np.testing.assert_array_equal(targets[:, :2], signal[:, :, 10::10])
    assert not targets[:, 2].any()
    np.testing.assert_array_equal(inputs["input"][0, 4, :2], [0.0, np.inf])
    spikes = np.sort(inputs["input"][0, :2].ravel())
    assert np.diff(spikes[np.isfinite(spikes)]).min() >= SMALL.dt * (1 - 1e-9)
    with pytest.raises(ValueError, match=r"dt = 0\.0007 s of the signals is not a whole fraction of the interval"):
        signal_trials(SMALL, signal, 0.7e-3)


@pytest.mark.parametrize(
    "options", [{"gain": 0.0}, {"size": -1.0}, {"price": -1.0}, {"dimensions": 0}], ids=lambda o: next(iter(o))
)
def test_network_refuses(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be positive, the price not negative"):
        autoencoder_network(SMALL, **options)  # type: ignore[arg-type]


def test_network_of_three_dimensions() -> None:
    network = autoencoder_network(SMALL, dimensions=3, size=0.2, price=0.01)
    decoder = network.trainable()["decoder.w"] / SMALL.step_weight
    np.testing.assert_allclose(np.linalg.norm(decoder[:, :3], axis=1), 0.2)
    np.testing.assert_allclose(decoder[:, 3], 0.1)


@pytest.mark.slow
def test_the_gradient_of_the_joint_loss_is_exact() -> None:
    network = autoencoder_network(SMALL, gain=2.0, size=0.3, price=0.01, seed=1)
    rng = np.random.default_rng(0)
    projections = [
        dataclasses.replace(q, weights=rng.normal(scale=0.3, size=(8, 8))) if q.name == "recurrent" else q
        for q in network.projections
    ]
    network = dataclasses.replace(network, projections=tuple(projections))
    inputs, targets = windows(2, 0).take(slice(2))
    report = check_gradient(
        network,
        inputs=inputs,
        targets=targets,
        loss=autoencoder_loss(SMALL),
        oracle=False,
        elements=8,
    )
    assert {"held.w", "fast.w", "recurrent.w", "decoder.w", "hidden.v_th", "input.times"} == {
        r.key for r in report.rows
    }
    for row in report.rows:
        assert row.differences <= max(1e-8, 5 * row.resolution), row


@pytest.mark.slow
def test_training_lowers_the_joint_loss_and_keeps_the_constraints() -> None:
    data, validation, price = windows(16, 1), windows(4, 2), 1e-3
    network = autoencoder_network(SMALL)
    with Simulation(network, autoencoder_loss(SMALL), batch_size=4) as simulation:
        starts = possible_starts(SMALL, simulation, data, price, seed=3)
        assert {s.gain for s in starts} == set(SMALL.gains)
        assert starts[0].loss <= starts[1].loss
        before = [evaluate(Constrained(simulation), validation, s.network.trainable(), 4).loss for s in starts]
        found = train_autoencoder(SMALL, simulation, data, validation, price=price, seed=3)
        after = evaluate(simulation, validation, found.values, 4)
        again = train_autoencoder(SMALL, simulation, data, validation, price=price, seed=3)
    assert after.loss < 0.8 * min(before)
    assert after.loss == pytest.approx(np.nanmin(found.history.column("validation_loss")), rel=1e-12)
    assert after.output.shape == (4, 3, 120)
    initial = starts[0].network.trainable()
    for key in ("held.w", "fast.w"):
        np.testing.assert_array_equal(found.values[key][0:4:2], -found.values[key][1:4:2])
    for key, value in found.values.items():
        np.testing.assert_array_equal(again.values[key], value, err_msg=key)
        assert (key == "hidden.v_th") == np.array_equal(value, initial[key]), key
    np.testing.assert_array_equal(found.values["decoder.w"][:, 2], initial["decoder.w"][:, 2])


def test_coding_error() -> None:
    data = windows(1, 5)
    network = autoencoder_network(SMALL, gain=2.0, size=0.2)
    with Simulation(network, autoencoder_loss(SMALL), batch_size=1) as simulation:
        found = coding_error(simulation, data, network.trainable(), SMALL.lead)
        outcome = simulation.run(*data.take(slice(1)), gradient=False)
        times = simulation.spike_times("hidden")
        silent = coding_error(simulation, data, {"hidden.v_th": np.asarray(1e6)}, SMALL.lead)
    # without a price the joint loss is the coding loss
    assert found["loss"] == pytest.approx(outcome.loss, rel=1e-12)
    assert found["rate"] == pytest.approx((np.isfinite(times) & (times >= 0.04)).sum() / 0.08)
    assert found["loss_gain"] <= found["loss"]
    assert silent["rate"] == 0
    assert silent["loss"] == silent["loss_gain"] == pytest.approx((data.targets[0, :2, 40:] ** 2).sum(0).mean())


def test_a_population_that_never_spikes_is_refused() -> None:
    settings = dataclasses.replace(SMALL, gains=(1e-6,))
    with (
        Simulation(autoencoder_network(SMALL), autoencoder_loss(SMALL), batch_size=4) as s,
        pytest.raises(ValueError, match="no neuron spikes at any of the gains"),
    ):
        possible_starts(settings, s, windows(4, 1), 0.0, seed=0)


def test_the_figure_is_drawn_again_from_its_results(root: Path, tmp_path: Path) -> None:
    options = ["--redraw", "docs/results/autoencoder.json", "--out", str(tmp_path)]
    command = [sys.executable, "scripts/figure_autoencoder.py", *options]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "recurrent: slope -1.1" in done.stdout
    assert (tmp_path / "autoencoder.png").stat().st_size > 20_000
