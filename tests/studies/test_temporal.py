"""The order task: its trials, exact gradients by all that its arms learn, and what each arm changes."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from snnmodels.gradients import Simulation, check_gradient
from snnmodels.studies.temporal import (
    ARMS,
    LOSS,
    SETUPS,
    TemporalSettings,
    draw_orders,
    ideal_accuracy,
    order_trials,
    temporal_network,
    train_arm,
)

SMALL = TemporalSettings(channels=3, classes=3, hidden=4, training_trials=16, epochs=1, batch_size=8)
THRESHOLDS = ARMS["input weights fixed"]["thresholds"]
LEARNT = {key for keys in (*SETUPS.values(), *(k for arms in ARMS.values() for k in arms.values())) for key in keys}


def test_only_the_order_of_the_channels_tells_the_class() -> None:
    settings = TemporalSettings(classes=24)
    orders = draw_orders(settings, seed=3)
    assert len({tuple(row) for row in orders}) == 24
    for one, other in pairwise(np.sort(orders, axis=1)):
        np.testing.assert_array_equal(one, other)
    rng = np.random.default_rng(0)
    sharp = order_trials(dataclasses.replace(settings, jitter=1e-6), orders, 50, rng)
    assert ideal_accuracy(orders, sharp) == 1
    blurred = order_trials(settings, orders, 4000, rng)
    times, labels = blurred.take(slice(None))
    found = times["input"] - orders[labels]
    assert np.std(found - found.mean(axis=1, keepdims=True), ddof=0) == pytest.approx(
        settings.jitter * np.sqrt(1 - 1 / settings.channels), rel=0.05
    )
    shift = found.mean(axis=1)
    assert shift.mean() == pytest.approx(settings.shift / 2, rel=0.05)
    assert ideal_accuracy(orders, blurred) > 0.99
    assert (
        0.5
        < ideal_accuracy(
            orders, order_trials(dataclasses.replace(settings, jitter=4e-3, duration=0.1), orders, 4000, rng)
        )
        < 1
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"classes": 25}, "classes: expected from 2 to 24, the orders of 4 channels, got 25"),
        ({"hidden": 0}, "hidden = 0; it must be a positive whole number"),
        ({"duration": 0.03}, r"duration: expected more than 0\.033 s"),
        ({"rate": np.nan}, "rate"),
    ],
)
def test_settings_refuse(changed: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TemporalSettings(), **changed)


def test_gradients_by_all_that_is_learned_are_exact() -> None:
    network = temporal_network(SMALL, seed=1)
    inputs, labels = order_trials(SMALL, draw_orders(SMALL, 1), 2, np.random.default_rng(1)).take(slice(None))
    report = check_gradient(network, inputs=inputs, targets=labels, loss=LOSS, elements=4)
    assert {row.key for row in report.rows} >= LEARNT
    for row in report.rows:
        assert row.differences <= max(1e-8, 5 * row.resolution), row
        assert row.oracle <= 1e-9, row


def test_an_arm_changes_what_it_learns() -> None:
    data = order_trials(SMALL, draw_orders(SMALL, 1), 16, np.random.default_rng(2))
    with Simulation(temporal_network(SMALL, seed=1), LOSS, batch_size=8) as simulation:
        start = simulation.network.trainable()
        assert set(start) == LEARNT
        learned = tuple(start)
        found = train_arm(SMALL, simulation, data, learned, seed=1).values
        alone = train_arm(SMALL, simulation, data, THRESHOLDS, seed=1).values
    for key in learned:
        assert not np.array_equal(found[key], start[key]), key
    assert set(alone) == set(THRESHOLDS)
    assert (found["input_hidden.delay"] >= 0).all()


@pytest.mark.slow
def test_the_quick_study_runs(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "scripts/figure_temporal.py", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| delays | " in done.stdout
    assert (tmp_path / "temporal.png").stat().st_size > 20_000


def test_the_figure_and_the_table_are_made_again_from_the_results(root: Path, tmp_path: Path) -> None:
    options = ["--redraw", "docs/results/temporal.json", "--out", str(tmp_path)]
    command = [sys.executable, "scripts/figure_temporal.py", *options]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    table = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert len(table) == 1 + sum(len(arms) for arms in ARMS.values())
    assert "\n".join(table[1:]) in (root / "docs/training.md").read_text()
    assert (tmp_path / "temporal.png").stat().st_size > 20_000
