"""How far one target is from another: nothing from itself, what was changed where something was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from snnmodels.gradients import Probe, probe
from snnmodels.studies import targets
from snnmodels.templates import load_model
from snnmodels.templates.groups import Population
from snnmodels.templates.network import Network


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


def test_what_has_no_effect_on_both_is_left_out(given: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    right, key = targets._outcome, "hidden.tau_m"
    sizes = {"numpy": 1e-20, "cpp_standalone": 2e-20}

    def tiny(of: Probe, target: Any) -> Any:
        outcome, times = right(of, "numpy")
        gradients = {**outcome.gradients, key: sizes[target] * np.ones_like(outcome.gradients[key])}
        return replace(outcome, gradients=gradients), times

    monkeypatch.setattr(targets, "_outcome", tiny)
    found = targets.target_difference(given, "cpp_standalone", "numpy")
    assert found is not None
    assert key not in found.arrays
    sizes["cpp_standalone"] = 1.0
    found = targets.target_difference(given, "cpp_standalone", "numpy")
    assert found is not None
    assert found.arrays[key] > 1e15


def test_other_spikes_are_no_difference_in_time(given: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    right = targets._outcome

    def fewer(of: Probe, target: Any) -> Any:
        outcome, times = right(of, "numpy")
        return outcome, times if target == "numpy" else [np.full_like(t, np.inf) for t in times]

    monkeypatch.setattr(targets, "_outcome", fewer)
    assert targets.target_difference(given, "cpp_standalone", "numpy") is None


def test_last_bits_move_every_number_a_little(given: Probe) -> None:
    network = targets.in_last_bits(given.network, np.random.default_rng(0))
    pairs = [(q.weights, r.weights) for q, r in zip(given.network.projections, network.projections, strict=True)]
    for p, r in zip(given.network.populations, network.populations, strict=True):
        pairs += [(p.value(name), r.value(name)) for name in p.model.parameters]
    for one, other in pairs:
        numbers = np.asarray(one) != 0
        relative = np.abs(np.asarray(other) / np.where(numbers, one, 1.0) - 1)[numbers]
        assert (relative > 0).all()
        assert (relative <= np.finfo(float).eps).all()
        assert (np.asarray(other)[~numbers] == 0).all()


def test_what_last_bits_do_is_the_condition(given: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    """A little where spikes are steep; as much as thresholds do where these alone move by more."""
    plain = targets.changes_by_last_bits(given, "numpy")
    assert plain.keys() == targets._outcome(given, "numpy")[0].gradients.keys()
    assert 1e-17 < max(plain.values()) < 1e-11

    def higher(network: Network, rng: Any) -> Network:
        def population(p: Population) -> Population:
            return replace(p, parameters={**p.parameters, "v_th": p.value("v_th") * (1 + 1e-7)})

        return replace(network, populations=tuple(map(population, network.populations)))

    monkeypatch.setattr(targets, "in_last_bits", higher)
    assert 1e-8 < max(targets.changes_by_last_bits(given, "numpy").values()) < 1e-3


def test_last_bits_that_decide_about_spikes_are_told(given: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(network: Network, rng: Any) -> Network:
        return replace(network, projections=tuple(replace(q, weights=0 * q.weights) for q in network.projections))

    monkeypatch.setattr(targets, "in_last_bits", silent)
    with pytest.raises(ValueError, match="spikes otherwise"):
        targets.changes_by_last_bits(given, "numpy")
