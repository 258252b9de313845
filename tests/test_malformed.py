"""Whatever is given: the package's own error in one line or a result, soon, and nothing left behind."""

from __future__ import annotations

import contextlib
import functools
import inspect
import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import snnmodels as snn
from snnmodels.cli import app
from snnmodels.coding import (
    CodingNetwork,
    Homeostat,
    LIFPopulation,
    Signal,
    TimeCourse,
    Trace,
    circle_signal,
    dynamical_signal,
    joint_loss,
    load_coding_network,
    random_decoder,
    ring_decoder,
    simulate,
    smooth_signal,
)
from snnmodels.datasets import named_targets
from tests.malformed import LONG, LONGEST, changed_document, changed_text, complaint, odd_values

LIBRARY = Path(__file__).parents[1] / "equations"
OWN = Path(__file__).parent / "files"  # with what no file of the library has
FILES = sorted(LIBRARY.glob("*/*.toml")) + sorted(OWN.glob("*/*.toml"))
drawn = settings(derandomize=True, database=None, deadline=None, max_examples=500)


@pytest.fixture(autouse=True)
def nothing_left(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test begins and ends with empty folders to work in, for temporary files and for what is compiled."""
    folders = [tmp_path_factory.mktemp(name) for name in ("here", "temporary", "cache")]
    monkeypatch.chdir(folders[0])
    monkeypatch.setenv("TMPDIR", str(folders[1]))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("SNNMODELS_CACHE", str(folders[2]))
    yield
    assert [file for folder in folders for file in folder.rglob("*")] == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files are that tests write."""
    return tmp_path_factory.mktemp("files")


# --- files ----------------------------------------------------------------------------------------------------------


def load(path: Path, kind: str) -> object:
    """What a file of the library is for, of a file in its place."""
    match kind:
        case "coding":
            return load_coding_network(path)
        case "networks":
            return snn.load_network(path)
        case "neurons":
            return snn.load_model(path)
        case "synapses":
            return snn.load_model("lif", path)
    trace = ["population_trace"] if "B" in path.read_text(errors="replace") else []
    return snn.load_model("lif", "exp_synapse", *trace, path)


def check_file(original: Path, content: bytes, folder: Path) -> None:
    path = folder / original.name
    path.write_bytes(content)
    found = complaint(lambda: load(path, original.parent.name), (".toml", original.stem))
    assert not found, f"{found}\n{content[:2000].decode(errors='replace')}"


@drawn
@given(st.sampled_from(FILES), st.integers(0, 2**64))
def test_drawn_documents(folder: Path, original: Path, seed: int) -> None:
    check_file(original, changed_document(original.read_text(), random.Random(seed)), folder)


@drawn
@given(st.sampled_from(FILES), st.integers(0, 2**64))
def test_drawn_text(folder: Path, original: Path, seed: int) -> None:
    check_file(original, changed_text(original.read_text(), random.Random(seed)), folder)


@drawn
@given(st.sampled_from(sorted(OWN.glob("*/*.toml"))), st.integers(0, 2**64))
def test_drawn_documents_of_its_own(folder: Path, original: Path, seed: int) -> None:
    check_file(original, changed_document(original.read_text(), random.Random(seed)), folder)


@pytest.mark.slow
@settings(drawn, max_examples=20_000)
@given(st.sampled_from(FILES), st.integers(0, 2**64))
def test_many_drawn_documents(folder: Path, original: Path, seed: int) -> None:
    check_file(original, changed_document(original.read_text(), random.Random(seed)), folder)


# each of a kind that once was another library's error, a hang, or a page
@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param("neurons/lif", '"neuron"', "[" * 5000 + "]" * 5000, id="nested arrays"),
        pytest.param("neurons/lif", '"neuron"', "{a = " * 2000 + "1" + "}" * 2000, id="nested tables"),
        pytest.param("neurons/lif", '"neuron"', "1" * 5000, id="more digits than Python reads"),
        pytest.param("neurons/lif", '"20*ms"', f'"{"x" * 9000}"', id="long value"),
        pytest.param("neurons/lif", '"20*ms"', "1" + "0" * 400, id="number beyond floats"),
        pytest.param("neurons/lif", "(v_rest - v", "(v_rest - v << 2", id="operator that Brian2 doesn't have"),
        pytest.param("neurons/lif", '"20*ms"', '"10**10**10*ms"', id="power in a value"),
        pytest.param("neurons/lif", '"second"', '"second**10**10**10"', id="power in a unit"),
        pytest.param("neurons/lif", "(v_rest - v", "(v_rest - v**10**10**10", id="power in an equation"),
        pytest.param("neurons/lif", "(v_rest - v", "(v_rest - v" + "**2" * 99, id="tower of powers"),
        pytest.param("neurons/lif", "(v_rest", "(" + "v_rest + " * 3000 + "v_rest", id="sum of thousands"),
        pytest.param("neurons/lif", '"v_rest"', '"' + "-" * 2000 + 'v_rest"', id="thousands of signs"),
        pytest.param("neurons/lif", '"v = v_reset"', '"v = ' + "-" * 9000 + 'v_reset"', id="signs in a statement"),
        pytest.param("neurons/lif", "[inputs]", "int = 1\n[inputs]", id="key that is the name of a type"),
        pytest.param("neurons/lif", '"exp_synapse"', f'"exp_synapse{"x" * 300}"', id="long name of a file"),
        pytest.param("networks/yin_yang", '"lif+exp_synapse"', f'"{"lif" * 100}"', id="long name of a model"),
        pytest.param("networks/yin_yang", "n = 200", "n = 900_000_000", id="more connections than memory"),
        pytest.param("networks/yin_yang", "input = { n", '"a b" = { n', id="name of an input"),
        pytest.param("coding/ring", "norms = 0.1", f"norms = {10**400}", id="norm beyond floats"),
        pytest.param("coding/joint", '"nu*r"', '"1e400*r"', id="infinite number in a cost"),
        pytest.param("coding/joint", '"nu*r"', '"nu*r**10**10**10"', id="power in a cost"),
        pytest.param("coding/joint", '"nu*r"', '"' + "nu*r + " * 3000 + 'r"', id="long cost"),
    ],
)
def test_kinds_of_malformed_files(folder: Path, file: str, old: str, new: str) -> None:
    original = LIBRARY / f"{file}.toml"
    text = original.read_text()
    assert old in text
    path = folder / original.name
    path.write_text(text.replace(old, new, 1))
    assert complaint(lambda: load(path, original.parent.name), (".toml",)) == ""
    with pytest.raises(snn.TemplateError):
        load(path, original.parent.name)


def test_a_unit_is_spelt_the_same_whatever_was_evaluated_before() -> None:
    from snnmodels.templates.units import resolve_unit, unit_dimension, unit_of_dimension

    before = unit_of_dimension(unit_dimension("volt") / unit_dimension("second"))
    for unit in ("volt/second", "volt*hertz", "(volt/second)**1"):
        unit_dimension(unit)  # Brian2 remembers every unit that it has made
        assert unit_of_dimension(unit_dimension("volt/second")) == before
    assert resolve_unit("unit(v)/second", {"v": "volt"}) == before


@pytest.mark.parametrize("unit", ["volt", "second", "volt*second", "siemens/metre**2"])
@pytest.mark.parametrize("power", [-3, -2, -1, 1, 2, 3])
def test_a_unit_that_is_spelt_can_be_read(unit: str, power: int) -> None:
    from snnmodels.templates.units import unit_dimension, unit_of_dimension

    dimension = unit_dimension(unit) ** power
    assert unit_dimension(unit_of_dimension(dimension)) is dimension


# --- arguments ------------------------------------------------------------------------------------------------------

LIF = snn.load_model("lif", "exp_synapse")
TIMES = np.array([[1e-3, 2e-3], [3e-3, np.inf]])
NETWORK = snn.Network(
    "small",
    inputs=[snn.SpikeInput("in", 2)],
    populations=[snn.Population("out", 2, LIF, learnable=["tau_m"])],
    projections=[snn.Projection("in_out", "in", "out", np.full((2, 2), 3.0))],
    output="out",
    duration=0.02,
)
DATA = snn.Trials({"in": TIMES}, np.array([0, 1]))
CODING = load_coding_network("ring")
SIGNAL = circle_signal(0.002)


def simulation(**options: Any) -> None:
    snn.Simulation(**options).close()


@functools.cache
def opened() -> snn.Simulation:
    """One for all wrong arguments: what is refused leaves nothing in it."""
    return snn.Simulation(NETWORK, snn.TTFSCrossEntropy(), batch_size=2)


def run(**arguments: Any) -> None:
    opened().run(**arguments)


def forward_and_back(**arguments: Any) -> None:
    opened().forward({"in": TIMES})
    opened().backward(**arguments)


def train(**arguments: Any) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        snn.train(opened(), **arguments)


def step(**arguments: Any) -> None:
    snn.Adam().step(**arguments)


def parameters_of(called: Any) -> dict[str, tuple[str, ...]]:
    """Every parameter, with no other word for it."""
    return dict.fromkeys(inspect.signature(called).parameters, ())


# what is called, its right arguments, the names of those that are made wrong, and other words of their messages
CALLS: dict[str, tuple[Callable[..., object], dict[str, Any], dict[str, tuple[str, ...]]]] = {
    "SpikeInput": (snn.SpikeInput, {"name": "in", "n": 2}, {"name": ("input",), "n": ()}),
    "Population": (
        snn.Population,
        {"name": "out", "n": 2, "model": LIF},
        {"name": ("population",), "n": (), "model": (), "parameters": ("parameter",), "learnable": ("parameter",)},
    ),
    "Population.parameters": (
        lambda value: snn.Population("out", 2, LIF, {"tau_m": value}),
        {},
        {"value": ("tau_m",)},
    ),
    "Projection": (
        lambda **given: replace(NETWORK, projections=[snn.Projection(**given)]),
        {"name": "p", "source": "in", "target": "out", "weights": np.ones((2, 2))},
        {
            **dict.fromkeys(("weights", "receptor", "mask", "learnable", "delay", "source", "target"), ()),
            "name": ("projection",),
        },
    ),
    "Network": (
        snn.Network,
        {field.name: getattr(NETWORK, field.name) for field in fields(NETWORK)},
        {
            **dict.fromkeys(("projections", "output", "duration", "encoding"), ()),
            "inputs": ("source 'in'",),
            "populations": ("output 'out'",),
            "name": ("network",),
        },
    ),
    "load_model": (lambda **given: snn.load_model(*given.values()), {"component": "lif"}, {"component": ("",)}),
    "load_network": (
        snn.load_network,
        {"name_or_path": "yin_yang"},
        {"name_or_path": ("library",), "seed": (), "hidden": (), "duration": (), "input": ()},
    ),
    "load_network hidden": (
        lambda **given: snn.load_network("yin_yang", hidden=given),
        {},
        {"n": (), "learnable": ("parameter",), "parameters": (), "model": ()},
    ),
    "Simulation": (
        simulation,
        {"network": NETWORK, "loss": snn.TTFSCrossEntropy(), "batch_size": 2},
        parameters_of(snn.Simulation),
    ),
    "run": (
        run,
        {"inputs": {"in": TIMES}, "targets": np.array([0, 1])},
        {"inputs": (), "targets": (), "values": ("value",), "gradient": ()},
    ),
    "run inputs": (lambda value: run(inputs={"in": value}, targets=np.array([0, 1])), {}, {"value": ("in", "trials")}),
    "run values": (
        lambda value: run(inputs={"in": TIMES}, targets=np.array([0, 1]), values={"in_out.w": value}),
        {},
        {"value": ("in_out.w",)},
    ),
    "run parameters": (
        lambda value: run(inputs={"in": TIMES}, targets=np.array([0, 1]), values={"out.tau_m": value}),
        {},
        {"value": ("tau_m",)},
    ),
    "backward": (forward_and_back, {}, {"derivative": ()}),
    "Trials": (snn.Trials, {"samples": {"in": TIMES}, "targets": np.array([0, 1])}, {"samples": (), "targets": ()}),
    "train": (
        train,
        {"data": DATA, "optimiser": snn.Adam(1e-3), "epochs": 1, "batch_size": 2, "progress": False},
        {
            **dict.fromkeys(("data", "optimiser", "epochs", "batch_size", "seed", "validation", "test"), ()),
            **dict.fromkeys(("input_dropout", "early_stopping", "checkpoint", "about", "progress"), ()),
            "values": ("trainable value",),
        },
    ),
    "train samples": (
        lambda value: train(
            data=snn.Trials({"in": value}, np.array([0, 1])), optimiser=snn.Adam(), epochs=1, progress=False
        ),
        {},
        {"value": ("in", "samples")},
    ),
    "EarlyStopping": (snn.EarlyStopping, {}, {"patience": (), "measure": (), "min_improvement": ()}),
    "TTFSCrossEntropy": (snn.TTFSCrossEntropy, {}, {"tau0": (), "tau1": (), "alpha": (), "population": ()}),
    "MaxVoltageCrossEntropy": (snn.MaxVoltageCrossEntropy, {}, {"variable": (), "scale": (), "population": ()}),
    "SpikeTimeError": (snn.SpikeTimeError, {}, {"tau": (), "missing": (), "population": ()}),
    "VoltageError": (snn.VoltageError, {}, {"variable": (), "interval": (), "skip": (), "scale": (), "population": ()}),
    "ExpressionLoss": (
        snn.ExpressionLoss,
        {"expression": "maximum(v)"},
        {"expression": (), "constants": (), "targets": (), "population": (), "interval": (), "score": ()},
    ),
    "ExpressionLoss.constants": (
        lambda value: snn.ExpressionLoss("a*maximum(v)", {"a": value}),
        {},
        {"value": ("'a'", "is not a unit", "can't be evaluated", "is not a number with a unit", "not finite")},
    ),
    "VanRossumDistance": (snn.VanRossumDistance, {}, {"tau": (), "end": (), "population": ()}),
    "IntervalError": (snn.IntervalError, {}, {"tau": (), "missing": (), "population": ()}),
    "CountError": (
        snn.CountError,
        {"surrogate": "latency"},
        dict.fromkeys(("surrogate", "width", "end", "population", "per", "scale"), ()),
    ),
    "ActivityPrice": (
        snn.ActivityPrice,
        {"surrogate": "latency"},
        dict.fromkeys(("surrogate", "width", "end", "population", "price"), ()),
    ),
    "spike_report": (
        lambda **given: opened().spike_report(**given),
        {"inputs": {"in": TIMES}, "distance": 0.1, "slope": 1.0},
        {"inputs": (), "values": ("value",), "distance": (), "slope": ()},
    ),
    "named_targets": (lambda value: named_targets({"wanted": value}), {}, {"value": ("targets",)}),
    "Adam": (
        snn.Adam,
        {},
        {"schedule": ("rate",), "beta1": (), "beta2": (), "epsilon": (), "scales": (), "bounds": ()},
    ),
    "SGD": (snn.SGD, {}, {"schedule": ("rate",), "momentum": (), "scales": (), "bounds": ()}),
    "ExponentialDecay": (snn.ExponentialDecay, {"initial": 0.1}, {"initial": (), "factor": ()}),
    "step": (
        step,
        {"values": {"w": np.ones(2)}, "gradients": {"w": np.ones(2)}},
        {"values": ("gradients",), "gradients": ()},
    ),
    "joint_loss": (
        joint_loss,
        {},
        {
            **dict.fromkeys(("traces", "parameters", "weight", "dynamics"), ()),
            "costs": ("cost 'x'", "cost 'nothing'"),
            "readout": ("''", "'x'"),
            "tau": ("time constant",),
        },
    ),
    "Trace": (Trace, {"scope": "neuron", "tau": 0.02}, {"scope": (), "tau": ("time constant",), "jump": ()}),
    "CodingNetwork": (
        CodingNetwork,
        {"decoder": CODING.decoder, "loss": CODING.loss},
        {"decoder": (), "loss": (), "parameters": ("parameter",), "delay": (), "noise": ()},
    ),
    "Signal": (Signal, {"values": SIGNAL.values, "dt": 1e-4}, {"values": (), "dt": (), "drive": ()}),
    "circle_signal": (circle_signal, {"duration": 0.002}, {"duration": (), "radius": (), "frequency": (), "dt": ()}),
    "smooth_signal": (
        smooth_signal,
        {"duration": 0.002},
        dict.fromkeys(("duration", "dimensions", "dt", "seed", "tau", "rms"), ()),
    ),
    "dynamical_signal": (
        dynamical_signal,
        {"dynamics": -np.eye(2), "drive": np.ones((3, 2)), "initial": np.zeros(2)},
        {"dynamics": ("drive must have",), "drive": (), "initial": (), "dt": ()},
    ),
    "TimeCourse": (TimeCourse, {"values": np.ones(3), "dt": 1e-3}, {"values": ("course",), "dt": ()}),
    "Homeostat": (
        Homeostat,
        {"initial": 0.1, "budget": 100.0, "gain": 1.0},
        dict.fromkeys(("initial", "budget", "gain", "energy", "minimum", "maximum", "scope"), ()),
    ),
    "ring_decoder": (ring_decoder, {"n": 5}, {"n": ("neurons",), "norms": ()}),
    "random_decoder": (
        random_decoder,
        {"m": 2, "n": 5, "seed": 0},
        {"m": ("signal",), "n": (), "norms": (), "seed": ()},
    ),
    "simulate": (
        simulate,
        {"network": CODING, "signal": SIGNAL},
        dict.fromkeys(("network", "signal", "form", "spikes", "recurrence", "seed"), ()),
    ),
    "LIFPopulation": (LIFPopulation, {}, dict.fromkeys(("n", "gain", "tau", "refractory", "seed"), ())),
    "evaluate": (
        lambda **given: snn.evaluate(**{"source": opened(), "data": DATA, **given}),
        {},
        {"source": (), "data": (), "values": ("value",), "batch_size": ("trials",)},
    ),
    "train source": (
        lambda value: snn.train(value, DATA, snn.Adam(), epochs=1, progress=False),
        {},
        {"value": ("source",)},
    ),
    "loss_of": (snn.loss_of, {}, {"network": ()}),
    "with_values": (snn.with_values, {"network": NETWORK, "values": {}}, {"network": (), "values": ("value",)}),
    "GridSimulation": (
        lambda **given: snn.GridSimulation(**{"network": NETWORK, "loss": snn.TTFSCrossEntropy(), **given}).close(),
        {},
        {"network": (), "loss": (), "dt": ("time step", "whole number of steps")},
    ),
    # an unknown model, so that what is accepted is checked no further
    "check_gradient": (
        snn.check_gradient,
        {"model": "nothing"},
        dict.fromkeys(
            ("model", "seed", "trials", "tolerance", "oracle", "recurrent", "loss", "elements"),
            ("library", "component"),
        ),
    ),
    "derivation": (snn.derivation, {"of": LIF}, {"of": ("library", "component"), "format": ()}),
    "neuron_group": (
        snn.neuron_group,
        {"model": LIF, "N": 2, "method": "euler"},
        {"model": ("library", "component"), "N": (), "drives": ("input",)},
    ),
    "synapses": (
        lambda **given: snn.synapses(**{"model": LIF, **given}),
        {"source": "", "target": ""},
        {"model": ("library", "component", "source"), "source": (), "target": ("source",)},
    ),
    "load_checkpoint": (snn.load_checkpoint, {}, {"path": ("checkpoint",)}),
    **{
        f"{loss.__name__} of a network": (
            lambda loss=loss, **given: simulation(network=NETWORK, loss=loss(**given)),
            {},
            {"population": ()} | ({} if loss is snn.SpikeTimeError else {"variable": ("state",)}),
        )
        for loss in (snn.MaxVoltageCrossEntropy, snn.VoltageError, snn.SpikeTimeError)
    },
    "FunctionLoss": (snn.FunctionLoss, {"function": len}, {"function": (), "predict": ()}),
    "SpikeTimeFunction": (snn.SpikeTimeFunction, {"function": len}, {"function": (), "predict": ()}),
    "load_coding_network": (load_coding_network, {"reference": "ring"}, {"reference": ("library",)}),
}


@pytest.mark.parametrize("name", CALLS)
def test_wrong_arguments(name: str) -> None:
    call, right, wrong = CALLS[name]
    found = [
        f"{argument} = {what}: {said}"
        for argument, words in wrong.items()
        for what, value in odd_values().items()
        if not (argument == "schedule" and callable(value))  # a user's own function, whose errors are the user's
        if (said := complaint(functools.partial(call, **{**right, argument: value}), (argument, *words)))
    ]
    assert not found, f"{len(found)} of {name}:\n" + "\n".join(found)


# --- the command line -----------------------------------------------------------------------------------------------

COMMANDS = (
    ("list",),
    ("show", "lif"),
    ("derive", "delta_synapse+integrate_and_fire"),
    ("check-gradient", "lfi"),
    ("build", "yin_yang", "--out", "nowhere/project", "--dt", "-1"),
    ("train", "yin-yang", "--epochs", "0"),
    ("train", "mnist", "--data", "nowhere"),
)
OPTIONS = ("--tolerance", "--seed", "--target", "--format", "--out", "--spikes", "--checkpoint", "--epochs", "-o")
WORDS = ("", "x", "-1", "nan", "1e400", "1" * 30, "lif+", "+", ":", "lif:x", "é", "\x00", LONG, ".", "/", "no.toml")


def answers(arguments: list[str]) -> None:
    """Run a command; it ends with its output, or with one line and exit code 1 or 2."""
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in (0, 1, 2), result.output
    if result.exit_code and "─ Error ─" not in result.stderr:  # a box is what Typer says of wrong options
        (line,) = result.stderr.splitlines()
        assert line.startswith("error: ") and len(line) <= LONGEST, line


@settings(drawn, max_examples=100)
@given(st.sampled_from(COMMANDS), st.lists(st.sampled_from(OPTIONS + WORDS), max_size=3), st.integers(0, 9))
def test_drawn_commands(command: tuple[str, ...], extra: list[str], place: int) -> None:
    # commands that would do something when they are right are wrong to begin with
    answers([*command[: 1 + place], *extra, *command[1 + place :]])
