"""Brian2 beside the engine: some models at a coarse step, all of them in the slow tests; when the table fails."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import brian2
import numpy as np
import pytest

from snnmodels.files import read_json
from tests.needs import COMPILER

ROOT = Path(__file__).parents[2]


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("brian_table", ROOT / "scripts/brian_table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look for what their annotations name
    spec.loader.exec_module(module)
    return module


table = _script()
RESULTS = read_json(ROOT / "docs/results/brian.json", "results file", "models")


@pytest.fixture(autouse=True)
def _brian_as_it_was() -> Any:
    target, dt = brian2.prefs.codegen.target, brian2.defaultclock.dt
    yield
    brian2.prefs.codegen.target, brian2.defaultclock.dt = target, dt


def test_the_page_is_made_from_the_results_and_nothing_fails() -> None:
    assert (ROOT / "docs/brian.md").read_text(encoding="utf-8") == table.page(RESULTS)
    assert table.failures(RESULTS) == []
    assert {r["model"] for r in RESULTS["models"]} <= set(table.models())


@pytest.mark.parametrize("name", ["lif", "lif+exp_synapse+refractory", "theta"])
def test_brian_has_the_spikes_of_the_engine(name: str) -> None:
    record = table.measure(name, (16e-6, 8e-6))
    assert table.failures({"models": [record]}) == []
    coarse, fine, hand = record["runs"]
    assert [r["by"] for r in (coarse, fine, hand)] == ["plain", "plain", "hand"]
    assert (fine["late"], fine["early"]) == pytest.approx((hand["late"], hand["early"]), abs=1e-3)
    assert max(fine["late"], fine["early"]) > 0.01  # there is a grid to see


@COMPILER
@pytest.mark.slow
@pytest.mark.parametrize("name", table.models())
def test_brian_has_the_spikes_of_the_engine_in_every_model(name: str) -> None:
    assert table.failures({"models": [table.measure(name)]}) == []


def test_what_fails() -> None:
    def lines(**changes: Any) -> list[str]:
        run = {"by": "plain", "dt": 1e-6, "late": 1.0, "early": 0.5} | changes
        return list(table.failures({"models": [{"model": "lif", "spikes": {"hidden": [2, 1]}, "runs": [run]}]}))

    assert lines() == []
    assert lines(late=9.0) == ["lif, plain groups at 1 us: a spike 9.0 steps late"]
    assert lines(early=9.0) == ["lif, plain groups at 1 us: a spike 9.0 steps early"]
    assert lines(early=9.0, shorter=16.0) == []  # as early as the engine's own with such periods
    assert lines(early=np.nan) == ["lif, plain groups at 1 us: a spike nan steps early"]
    assert lines(other="other spikes") == ["lif, plain groups at 1 us: other spikes"]
    assert len(lines(peak=0.1)) == 1
    assert table.failures({"models": [{"model": "lif", "error": "no"}]}) == ["lif: no"]
    silent = {"model": "lif", "spikes": {"hidden": [1, 1]}, "runs": []}
    assert table.failures({"models": [silent]}) == ["lif: no neuron spikes twice"]


def test_other_counts_are_told_and_lateness_is_in_steps() -> None:
    one = {"a": [np.array([1e-3, 2e-3]), np.array([])]}
    other = {"a": [np.array([1.002e-3, 1.996e-3]), np.array([])]}
    assert table.compared(one, other, 2e-6) == pytest.approx({"late": 1.0, "early": 2.0})
    assert "other" in table.compared(one, {"a": [np.array([1e-3]), np.array([])]}, 2e-6)
