"""How far one target is from another: nothing from itself, what was changed where something was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from snnmodels.gradients import Probe, probe
from snnmodels.studies import targets
from snnmodels.templates import load_model


@pytest.fixture(scope="module")
def given() -> Probe:
    return probe(load_model("lif"), trials=1, delays=True)


def test_a_target_is_as_far_from_itself_as_nothing(given: Probe) -> None:
    found = targets.target_difference(given, "numpy", "numpy")
    assert found is not None
    assert (found.loss, found.times, found.gradients) == (0, 0, 0)


def test_a_difference_is_found_where_it_is(given: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    right = targets._outcome
    key = next(iter(right(given, "numpy")[0].gradients))

    def wrong(of: Probe, target: Any) -> Any:
        outcome, times = right(of, "numpy")
        if target == "numpy":
            return outcome, times
        gradients = {**outcome.gradients, key: 2 * np.asarray(outcome.gradients[key])}
        return replace(outcome, gradients=gradients, loss=2 * outcome.loss), [t + 1e-6 for t in times]

    monkeypatch.setattr(targets, "_outcome", wrong)
    found = targets.target_difference(given, "cpp_standalone", "numpy")
    assert found is not None
    assert (found.worst, found.gradients, found.loss) == (key, pytest.approx(1), pytest.approx(1))
    assert found.times == pytest.approx(1e-6)


def test_other_spikes_are_no_difference_in_time(given: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    right = targets._outcome

    def fewer(of: Probe, target: Any) -> Any:
        outcome, times = right(of, "numpy")
        return outcome, times if target == "numpy" else [np.full_like(t, np.inf) for t in times]

    monkeypatch.setattr(targets, "_outcome", fewer)
    assert targets.target_difference(given, "cpp_standalone", "numpy") is None
