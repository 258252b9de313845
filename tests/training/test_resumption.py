"""A checkpoint goes on with the run that it is of, and with no other: whatever decides a run is told by name."""

from __future__ import annotations

import copy
import dataclasses
import json
import operator
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnmodels.datasets import Trials
from snnmodels.gradients import GradientSource, GradientWrapper, Outcome, Simulation
from snnmodels.losses import SpikeTimeError
from snnmodels.optimisers import Adam
from snnmodels.templates import Network, Population, Projection, SpikeInput, identity, load_model
from snnmodels.templates.identity import checksum, description
from snnmodels.training import EarlyStopping, settings, train
from snnmodels.training.history import package_versions

LIF = load_model("lif+exp_synapse")
VALUES = {"tau_m": 0.015, "v_th": np.array([1.0, 1.1])}


def network(**changes: Any) -> Network:
    """Three inputs, two neurons; a mask that excludes one connection."""
    mask = np.ones((3, 2), dtype=bool)
    mask[2, 1] = False
    parts = {
        "population": Population("p", 2, LIF, VALUES, ("v_reset",)),
        "projection": Projection("q", "in", "p", np.full((3, 2), 4.0), mask=mask, delay=1e-3),
        "duration": 30e-3,
        "inputs": (SpikeInput("in", 3),),
    } | changes
    return Network("small", parts["inputs"], (parts["population"],), (parts["projection"],), "p", parts["duration"])


TIMES = np.array([[1e-3, 2e-3, 3e-3], [2e-3, 1e-3, 4e-3]])
DATA = Trials({"in": TIMES}, np.full((2, 2, 1), 6e-3))
OTHER = Trials({"in": TIMES + 1e-3}, DATA.targets)


def go(net: Network, path: Path, *, epochs: int, **changes: Any) -> Any:
    """Train a network; `simulation` has options of that, `wrap` a source around it, the rest is the training's."""
    options = dict(changes)
    loss, simulation = options.pop("loss", SpikeTimeError()), options.pop("simulation", {})
    data, optimiser = options.pop("data", DATA), options.pop("optimiser", Adam(1e-3))
    wrap = options.pop("wrap", lambda source: source)
    with Simulation(net, loss, batch_size=2, **simulation) as source:
        fixed = {"epochs": epochs, "batch_size": 2, "checkpoint": path, "progress": False}
        return train(wrap(source), data, optimiser, **fixed | options)


def population(**values: Any) -> Population:
    return dataclasses.replace(network().populations[0], **values)


def projection(**values: Any) -> Projection:
    return dataclasses.replace(network().projections[0], **values)


def changed(old: str, new: str) -> Population:
    """The population of a model with another right-hand side."""
    other = dataclasses.replace(LIF, derivatives={k: v.replace(old, new) for k, v in LIF.derivatives.items()})
    return population(model=other)


CASES = {
    "populations.p.parameters.tau_m": {"population": population(parameters={**VALUES, "tau_m": 0.016})},
    "populations.p.parameters.v_th": {"population": population(parameters={**VALUES, "v_th": np.array([1, 1.2])})},
    "populations.p.model.parameters.v_rest": {"population": population(parameters={**VALUES, "v_rest": 0.1})},
    "populations.p.model.derivatives.v": {"population": changed("I_syn)", "2*I_syn)")},
    "populations.p.model.": {"population": population(model=load_model("lif+exp_synapse+refractory"))},
    "populations.p.model.threshold": {
        "population": population(model=dataclasses.replace(LIF, threshold="2*v > v_th"))
    },
    "duration": {"duration": 31e-3},
    "projections.q.delay": {"projection": projection(delay=1.5e-3)},
    "projections.q.mask": {"projection": projection(mask=None)},
    "populations.p.model.name": {"population": population(model=load_model("lif+alpha_synapse"))},
}


@pytest.mark.parametrize("what", list(CASES))
def test_another_network_is_refused_by_what_differs(what: str, tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    go(network(), path, epochs=1)
    kept = path.read_bytes()
    said = rf"run\.npz: is of a run with declared {re.escape(what)}.* = .*, not .*resume=False"
    with pytest.raises(ValueError, match=said):
        go(network(**CASES[what]), path, epochs=2)
    assert path.read_bytes() == kept


class Scaled(SpikeTimeError):
    """A loss of one's own, with an attribute."""

    def __init__(self, factor: float) -> None:
        self.factor = factor


class Careful(Adam):
    """An optimiser of one's own, with an attribute that is an array."""

    def __init__(self, care: list[float]) -> None:
        super().__init__(1e-3)
        self.care = np.array(care)


class Priced(GradientWrapper):
    """A source around another, with an attribute."""

    def __init__(self, source: GradientSource, price: float) -> None:
        super().__init__(source)
        self._price = price

    def run(self, *args: Any, **options: Any) -> Outcome:
        return self._source.run(*args, **options)


def shifted(times: np.ndarray, by: float = 0.0) -> np.ndarray:
    """An encoder that leaves the first trial, of which the data's checksum knows, as it is."""
    return times + by * np.arange(len(times))[:, None]


def closing_over(by: float) -> Any:
    return lambda times: shifted(times, by)


STOPPING = EarlyStopping(patience=5, measure="validation_loss")
JUDGED = {"validation": DATA, "early_stopping": STOPPING}

# what a run began with, what it is to go on with, and how the difference is told
SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "attribute of a loss": ({"loss": Scaled(1.0)}, {"loss": Scaled(2.0)}, "loss factor = 1.0, not 2.0"),
    "loss": ({}, {"loss": Scaled(1.0)}, "loss class = SpikeTimeError, not Scaled"),
    "attribute of an optimiser": (
        {"optimiser": Careful([1.0])},
        {"optimiser": Careful([2.0])},
        r"optimiser care = \[1.0\], not \[2.0\]",
    ),
    "attribute of a wrapper": (
        {"wrap": lambda source: Priced(source, 1.0)},
        {"wrap": lambda source: Priced(source, 2.0)},
        "simulation price = 1.0, not 2.0",
    ),
    "argument of an encoder": (
        {"data": dataclasses.replace(DATA, encode=partial(shifted, by=1e-4))},
        {"data": dataclasses.replace(DATA, encode=partial(shifted, by=2e-4))},
        "encoder keywords = .*0.0001.*, not .*0.0002",
    ),
    "what an encoder closes over": (
        {"data": dataclasses.replace(DATA, encode=closing_over(1e-4))},
        {"data": dataclasses.replace(DATA, encode=closing_over(2e-4))},
        "encoder closure = .*0.0001.*, not .*0.0002",
    ),
    "order of the trials": ({}, {"data": DATA.subset(np.array([1, 0]))}, "is of a run on other training data"),
    "type of the samples": (
        {},
        {"data": Trials({"in": TIMES.astype(np.float32)}, DATA.targets)},
        "is of a run on other training data",
    ),
    "validation data": (JUDGED, {**JUDGED, "validation": OTHER}, "is of a run with other validation data"),
    "test data": ({"test": DATA}, {"test": OTHER}, "is of a run with other test data"),
    "no early stopping any more": (JUDGED, {"validation": DATA}, "early_stopping = .*patience.*, not None"),
    "early stopping from now on": ({"validation": DATA}, JUDGED, "early_stopping = None, not .*patience"),
    "patience": (
        JUDGED,
        {**JUDGED, "early_stopping": dataclasses.replace(STOPPING, patience=6)},
        "early_stopping patience = 5, not 6",
    ),
    "tolerance": ({}, {"simulation": {"tolerance": 1e-8}}, "simulation tolerance = 1e-10, not 1e-08"),
    "window": ({}, {"simulation": {"window": 1e-3}}, "simulation window = None, not 0.001"),
    "dropout": ({}, {"input_dropout": 0.1}, "input_dropout = 0.0, not 0.1"),
    "type of the values": (
        {},
        {"values": {"q.w": np.full((3, 2), 4.0, dtype=np.float32)}},
        "began with other initial values",
    ),
}


@pytest.mark.parametrize("what", list(SETTINGS))
def test_another_setting_is_refused_with_both_values(what: str, tmp_path: Path) -> None:
    before, after, said = SETTINGS[what]
    path = tmp_path / "run.npz"
    go(network(), path, epochs=1, **before)
    go(network(), path, epochs=2, **before)  # with the same it goes on
    kept = path.read_bytes()
    with pytest.raises(ValueError, match=f"run.npz: .*{said}.*resume=False"):
        go(network(), path, epochs=3, **after)
    assert path.read_bytes() == kept


def test_options_without_effect_may_change(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    go(network(), path, epochs=1)
    result = go(network(), path, epochs=2, simulation={"max_spikes": 1000, "input_gradients": False})
    assert result.epoch == 2


def test_a_checkpoint_beyond_the_epochs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    go(network(), path, epochs=3)
    with pytest.raises(ValueError, match=r"run.npz: holds the state after epoch 3, which is beyond epochs = 2; ask"):
        go(network(), path, epochs=2)
    assert go(network(), path, epochs=3).epoch == 3


def test_other_versions_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.npz"
    go(network(), path, epochs=1)
    monkeypatch.setattr(settings, "package_versions", lambda: {**package_versions(), "numpy": "0.1"})
    with pytest.warns(UserWarning, match=r"run.npz: began with numpy \d\S+, now 0.1; the last digits"):
        go(network(), path, epochs=2)


BASE, RATES = 1e-3, [1e-3, 1e-3]


def falling(epoch: int) -> float:
    """A schedule that reads a number of its module, through a function."""
    return rate_of(epoch)


def rate_of(epoch: int) -> float:
    return BASE / (epoch + 1)


def listed(epoch: int) -> float:
    return RATES[min(epoch, 1)]


def test_what_a_schedule_reads_of_its_module_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers, rates = tmp_path / "numbers.npz", tmp_path / "rates.npz"
    go(network(), numbers, epochs=1, optimiser=Adam(falling))
    go(network(), numbers, epochs=2, optimiser=Adam(falling))
    go(network(), rates, epochs=1, optimiser=Adam(listed))
    module = sys.modules[__name__]
    monkeypatch.setattr(module, "BASE", 2e-3)
    with pytest.raises(ValueError, match=r"numbers.npz: is of a run with optimiser schedule = .*'BASE': 0.001.*0.002"):
        go(network(), numbers, epochs=3, optimiser=Adam(falling))
    monkeypatch.setattr(module, "RATES", [2e-3, 1e-3])
    said = r"rates.npz: is of a run with a learning rate of 0.001 in epoch 1, for which the schedule now gives 0.002"
    with pytest.raises(ValueError, match=said):
        go(network(), rates, epochs=3, optimiser=Adam(listed))


def test_what_a_function_counts_is_no_part_of_what_it_is() -> None:
    """Nor what a list holds, nor the inside of packages."""
    space: dict[str, Any] = {"np": np, "calls": 0, "seen": [], "factor": 2.0, "theirs": identity.identity}
    lines = ("global calls", "calls += 1", "seen.append(x)", "return factor * np.mean(x) + theirs(x)")
    exec("def counted(x):\n    " + "\n    ".join(lines), space)
    told = identity.description(space["counted"])["globals"]
    assert told == {"theirs": "snnmodels.templates.identity.identity", "factor": 2.0}


def test_a_loss_that_refers_to_itself_is_described() -> None:
    loss = Scaled(1.0)
    loss.own = [loss]  # type: ignore[attr-defined]
    assert identity.description(loss)["own"] == ["the Scaled that this is part of"]


@pytest.mark.parametrize("damage", [b"", b"PK", b"\x80\x04K\x01.", b"{}", b"\x93NUMPY\x01\x00F\x00{'descr': '|O'}"])
def test_a_damaged_checkpoint_is_told_in_our_words(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    path.write_bytes(damage)
    said = "run.npz: not a checkpoint of snnmodels, or a damaged one; remove it, or name another file"
    with pytest.raises(ValueError, match=said + "$"):
        go(network(), path, epochs=1)


def test_other_initial_values_are_said_in_words(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    go(network(), path, epochs=1)
    with pytest.raises(ValueError, match="began with other initial values"):
        go(network(projection=projection(weights=np.full((3, 2), 4.1))), path, epochs=2)


def test_the_same_network_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    go(network(), path, epochs=2)
    resumed = go(network(), path, epochs=4)
    whole = go(network(), tmp_path / "whole.npz", epochs=4)
    for key, value in whole.values.items():
        np.testing.assert_array_equal(resumed.values[key], value)


class _Slotted:
    __slots__ = ("__hidden",)

    def __init__(self, hidden: float) -> None:
        self.__hidden = hidden


class _Scaled:
    scale = 1

    def __call__(self, x: float) -> float:
        return x * self.scale


class _ScaledTwice(_Scaled):
    scale = 2


_ScaledTwice.__qualname__ = "_Scaled"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Decimal("1.5"), Decimal("2.5")),
        (timedelta(1), timedelta(2)),
        (range(3), range(4)),
        (operator.itemgetter(1), operator.itemgetter(2)),
        (deque([1]), deque([2])),
        (bytearray(b"a"), bytearray(b"b")),
        (1j, 2j),
        (np.random.default_rng(0), np.random.default_rng(1)),
        (_Slotted(1.0), _Slotted(2.0)),
        (_Scaled(), _ScaledTwice()),
        (np.array([[1], None], dtype=object), np.array([[2], None], dtype=object)),
    ],
)
def test_what_differs_is_described_otherwise(one: object, other: object) -> None:
    assert description(one) != description(other)
    assert description(one) == description(copy.deepcopy(one))
    json.dumps(description(one), allow_nan=False)


def test_checksums_read_all_of_what_they_are_of() -> None:
    words = np.array([f"word {k}" for k in range(2000)], dtype=object)
    dates = np.arange(3).astype("M8[D]")
    for array, other in ((words, "another"), (dates, dates[0])):
        before = checksum({"given": array})
        assert before == checksum({"given": array.copy()})
        array[len(array) // 2] = other
        assert checksum({"given": array}) != before


def test_descriptions_are_the_same_again() -> None:
    def made() -> Callable[[float], float]:
        import numpy as held

        if len(held.__name__) > 100:
            later = 1.0
        return lambda x: held.exp(x) if x in {"a", "b", "c"} else later

    assert description(made()) == description(made())
    assert description(float("nan")) == description(float("nan"))
    script = "from snnmodels.templates.identity import description as d; print(d(lambda x: x in {'a', 'b', 'c'}))"
    said = {
        subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(said) == 1 and "function" in said.pop()
