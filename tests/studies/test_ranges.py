"""Quantities over several octaves: trials, exact gradients, arms that differ in what they say they do."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from snnmodels.gradients import Simulation, check_gradient
from snnmodels.studies.ranges import (
    GO,
    LOSS,
    SHORTEST,
    TASKS,
    RangeSettings,
    elapsed_trials,
    intensity_trials,
    train_arm,
)
from tests.needs import COMPILER

SMALL = RangeSettings(hidden=3, training_trials=8, test_trials=40, epochs=1, batch_size=4)


def test_targets_are_octaves() -> None:
    rng = np.random.default_rng(0)
    settings = RangeSettings(octaves=4.0)
    inputs, wanted = elapsed_trials(settings, 500, rng).take(slice(None))
    np.testing.assert_allclose(np.log2((GO - inputs["cue"]) / SHORTEST), 2 * (wanted + 1), atol=1e-9)
    inputs, wanted = intensity_trials(settings, 500, rng).take(slice(None))
    np.testing.assert_allclose(np.log2(inputs["stimulus"][:, 0]), 2 * wanted, atol=1e-12)
    assert wanted.min() < -0.95 and wanted.max() > 0.95 and wanted.shape == (500, 1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"octaves": 7.0}, r"octaves: expected more than 0, and at most 6\.02, got 7"),
        ({"hidden": 0}, "hidden = 0; it must be a positive whole number"),
        ({"rate": np.nan}, "rate"),
    ],
)
def test_settings_refuse(changed: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(RangeSettings(), **changed)


@pytest.mark.parametrize("name", TASKS)
def test_arms_start_alike_and_learn_what_they_say(name: str) -> None:
    task = TASKS[name]
    data = task.trials(SMALL, 8, np.random.default_rng(1))
    *_, last = task.arms.values()
    assert last.learned == (task.key,) and not next(iter(task.arms.values())).learned
    assert {arm.start for arm in task.arms.values()} <= set(task.grid)
    with Simulation(task.network(SMALL, last.start, 1), LOSS, batch_size=4) as simulation:
        start = simulation.network.trainable()
        values = train_arm(SMALL, task, simulation, data, last.learned, 1).values
    assert set(values) == {"hidden_output.w", "go_output.w", task.key}
    assert all(not np.array_equal(value, start[key]) for key, value in values.items())
    other = task.network(SMALL, 2 * last.start, 1).trainable()
    np.testing.assert_allclose(other[task.key], 2 * start[task.key])
    np.testing.assert_array_equal(other["hidden_output.w"], start["hidden_output.w"])


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_gradients_by_all_that_is_learned_are_exact(name: str) -> None:
    task = TASKS[name]
    network = task.network(SMALL, task.arms["learned"].start, 1)
    inputs, wanted = task.trials(SMALL, 2, np.random.default_rng(1)).take(slice(None))
    report = check_gradient(network, inputs=inputs, targets=wanted, loss=LOSS, elements=3)
    assert {row.key for row in report.rows} >= {"hidden_output.w", "go_output.w", task.key}
    for row in report.rows:
        assert row.differences <= max(1e-8, 5 * row.resolution), row
        assert row.oracle <= 1e-9, row


@pytest.mark.slow
@COMPILER
def test_the_quick_study_runs(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "scripts/figure_ranges.py", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| learned |" in done.stdout
    assert (tmp_path / "ranges.png").stat().st_size > 20_000


def test_the_figure_and_the_table_are_made_again_from_the_results(root: Path, tmp_path: Path) -> None:
    options = ["--redraw", "docs/results/ranges.json", "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "scripts/figure_ranges.py", *options], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    table = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert len(table) == 1 + sum(len(task.arms) for task in TASKS.values())
    assert "\n".join(table) in (root / "docs/training.md").read_text().replace("|---|---|--:|--:|--:|--:|\n", "")
    assert (tmp_path / "ranges.png").stat().st_size > 20_000
