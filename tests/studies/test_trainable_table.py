"""The table of what can be trained: that it is of this package, and made from what was measured."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from snnmodels.files import read_json
from snnmodels.gradients import GridSimulation
from snnmodels.losses import SpikeTimeError
from snnmodels.studies import trainable
from snnmodels.studies.targets import FEATURES
from snnmodels.targets import TARGETS
from tests.needs import COMPILER

ROOT = Path(__file__).parents[2]


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("trainable_table", ROOT / "scripts/trainable_table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


table = _script()
RESULTS = read_json(ROOT / "docs/results/trainable.json", "results file", "features", "refused")
RECORDS = {r["feature"]: r for r in RESULTS["features"]}


def test_the_page_is_made_from_the_results() -> None:
    assert (ROOT / "docs/what_can_be_trained.md").read_text(encoding="utf-8") == table.page(RESULTS)


def test_every_feature_has_a_row_and_passes() -> None:
    assert list(RECORDS) == [f.name for f in trainable.cases()]
    assert {f.model for f in trainable.features()} >= set(FEATURES.values())
    assert table.failures(RESULTS) == []


def test_every_kind_of_value_was_differentiated_by() -> None:
    found = {kind for r in RECORDS.values() for kind in r["kinds"]}
    assert found == {kind for kind, *_ in table.KINDS}


def test_a_gradient_beyond_tolerance_fails() -> None:
    changed = copy.deepcopy(RESULTS)
    changed["features"][0]["oracle"] = 1e-6
    changed["features"][1]["targets"]["numpy"] = "other spikes"
    changed["refused"][0][1] = ""
    assert len(table.failures(changed)) == 3


def test_every_target_has_a_column() -> None:
    assert {"numpy", "cpp_standalone", "cuda_standalone"} == set(TARGETS)


def test_what_is_refused_is_said_as_on_the_page() -> None:
    """Those that take no model to be derived; the slow test has all of them."""
    attempts, said = trainable._attempts(), dict(map(tuple, RESULTS["refused"]))
    assert list(attempts) == list(said)
    for what in (
        "a random number in a reset",
        "noise in an equation",
        "plasticity in a synapse",
        "learning how many neurons there are",
        "learning which synapses there are",
        "an expression without derivative",
    ):
        with pytest.raises(ValueError) as error:
            attempts[what]()
        assert str(error.value) == said[what]


@pytest.mark.slow
def test_all_that_is_refused_is_said_as_on_the_page() -> None:
    assert [list(pair) for pair in trainable.refusals()] == RESULTS["refused"]


@pytest.mark.slow
@COMPILER
@pytest.mark.parametrize("name", ["linear", "masked weights", "FunctionLoss", "CountError with a surrogate"])
def test_measuring_again_gives_the_same(name: str) -> None:
    feature = next(f for f in trainable.cases() if f.name == name)
    found, kept = trainable.measure(feature), RECORDS[name]
    for key in ("kinds", "grid", "projects"):
        assert found[key] == kept[key]
    assert found.get("within") == kept.get("within")
    assert found["targets"]["numpy"] < table.TARGETS


def test_a_grid_refuses_a_delay_by_name() -> None:
    network = trainable._network(delay=1e-3)
    with pytest.raises(ValueError, match="its delay is not supported by the grid simulation; set it to 0"):
        GridSimulation(network, SpikeTimeError())
    assert np.ndim(network.projections[0].delay) == 0
