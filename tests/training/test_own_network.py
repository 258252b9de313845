"""A network file and an archive of trials, trained from the command line: no Python but what makes the data."""

from __future__ import annotations

import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import snnmodels as snn
from snnmodels.cli import app, main
from snnmodels.losses import ExpressionLoss, Loss, load_network
from snnmodels.templates import CurrentInput, Drive, Network, Population, Projection, SpikeInput, load_model
from snnmodels.training import History, evaluate, load_checkpoint, read_trials, relative_adam
from tests.trials import write_order_of_two

Array = np.ndarray

NETWORK = """
kind = "network"
title = "Order of two spikes"
description = "For a test."
duration = "30*ms"
output = "output"

[inputs]
input = { n = 2 }

[populations.output]
model = "lif+exp_synapse"
n = 2
parameters = { tau_m = "10*ms" }
learnable = ["tau_m", "v_th"]

[[projections]]
source = "input"
target = "output"
weights = { distribution = "uniform", low = 2.0, high = 6.0 }

[loss]
kind = "ttfs_cross_entropy"
tau0 = "2*ms"
tau1 = "20*ms"
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "order.toml").write_text(NETWORK)
    write_order_of_two(tmp_path, 16)
    return tmp_path


@pytest.fixture
def train(files: Path) -> Callable[..., Result]:
    def run(out: str, *options: str) -> Result:
        given = [files / "order.toml", "--data", files / "trials.npz", "--test", files / "others.npz"]
        fixed = ["--epochs", "3", "--batch-size", "8", "--target", "numpy", "--rate", "0.05", "--out", files / out]
        return CliRunner().invoke(app, ["train", *map(str, [*given, *fixed]), *options])

    return run


def test_it_learns_and_leaves_a_network_that_every_command_reads(files: Path, train: Callable[..., Result]) -> None:
    done = train("run")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("train loss ") and "% of trials wrong" in done.stdout
    made = {path.name for path in (files / "run").iterdir()}
    assert made == {"checkpoint.npz", "trained.toml", "trained.npz", "history.json", "history.png"}
    history = History.load(files / "run" / "history.json")
    losses = history.column("test_loss")
    assert losses[-1] < 0.9 * losses[0]
    trained = load_network(files / "run" / "trained.toml")
    start = load_network(files / "order.toml")
    for key, value in trained.trainable().items():
        assert not np.array_equal(value, start.trainable()[key]), key
    with snn.Simulation(trained, batch_size=8) as simulation:
        again = evaluate(simulation, read_trials(files / "others.npz", trained, simulation.loss), batch_size=8)
    assert again.loss == pytest.approx(losses[-1], rel=1e-12)
    shown = CliRunner().invoke(app, ["show", str(files / "run" / "trained.toml")])
    assert shown.exit_code == 0, shown.output
    document = tomllib.loads((files / "run" / "trained.toml").read_text())
    assert (document["title"], document["description"]) == ("Order of two spikes", "For a test.")


def test_the_gradient_of_its_own_loss_is_checked_on_its_data(files: Path) -> None:
    given = ["check-gradient", str(files / "order.toml"), "--data", str(files / "trials.npz"), "--trials", "3"]
    checked = CliRunner().invoke(app, given)
    assert checked.exit_code == 0, checked.output
    assert "agrees" in checked.stdout
    assert "not of the network's own loss" not in checked.stdout
    network = load_network(files / "order.toml")
    with snn.Simulation(network, batch_size=3) as simulation:
        inputs, targets = read_trials(files / "trials.npz", network, simulation.loss).take(slice(3))
        assert f"loss {simulation.run(inputs, targets).loss:.6g}; " in checked.stdout
    refused = CliRunner().invoke(app, ["check-gradient", "lif", *given[2:]])
    assert refused.exit_code == 2
    assert "--data is for a network's file" in refused.stderr


def test_an_interrupted_run_goes_on_to_the_same_bits(
    files: Path, train: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train("whole").exit_code == 0
    original, calls = snn.Simulation.run, 0

    def interrupted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 6:  # in the second epoch: two batches and as many of the test in each
            raise KeyboardInterrupt
        return original(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(snn.Simulation, "run", interrupted)
        stopped = train("parts")
    assert stopped.exit_code == 130
    assert "interrupted in epoch 2" in stopped.stderr and "goes on from there" in stopped.stderr
    assert not (files / "parts" / "trained.toml").exists()
    assert train("parts").exit_code == 0
    whole, parts = (load_checkpoint(files / out / "checkpoint.npz") for out in ("whole", "parts"))
    for key, value in whole.values.items():
        np.testing.assert_array_equal(parts.values[key], value)
    other = train("parts", "--rate", "0.01")
    assert other.exit_code == 2 and "is of a run with optimiser" in other.stderr
    assert other.stderr.rstrip().endswith("remove it, or name another folder with --out")
    fewer = train("parts", "--epochs", "2")
    assert fewer.exit_code == 2 and "beyond epochs = 2; ask for as many; remove it, or name" in fewer.stderr


def test_the_epoch_that_is_best_on_other_trials_is_kept(files: Path, train: Callable[..., Result]) -> None:
    done = train("best", "--validation", str(files / "others.npz"), "--rate", "0.9", "--patience", "1")
    assert done.exit_code == 0, done.output
    history = History.load(files / "best" / "history.json")
    losses = history.column("validation_loss")
    best = int(losses.argmin())
    assert best < len(losses) - 1 and history.status == "stopped early"  # such steps lead astray
    assert f"kept: epoch {best + 1} of {len(losses)}, ended by --patience\n" in done.stdout
    kept, trials = load_network(files / "best" / "trained.toml"), files / "others.npz"
    with snn.Simulation(kept, batch_size=8) as simulation:
        again = evaluate(simulation, read_trials(trials, kept, simulation.loss), batch_size=8)
    assert again.loss == pytest.approx(losses[best], rel=1e-12)
    assert train("best", "--patience", "1").stderr.startswith("error: --patience: needs trials")


def test_warnings_at_a_terminal_show_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    monkeypatch.setattr("sys.argv", ["snnmodels", "--version"])
    with pytest.raises(SystemExit):
        main()
    assert warnings.formatwarning("so it is", UserWarning, "loop.py", 9) == "warning: so it is\n"
    assert "loop.py:9" in warnings.formatwarning("so it is", RuntimeWarning, "loop.py", 9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--size", "output.tau=1*ms"), "output.tau: is not learned; did you mean 'output.tau_m'"),
        (("--size", "output.tau_m=1"), "size of output.tau_m: '1' has no unit, expected second"),
        (("--size", "output.tau_m"), "--size output.tau_m: expected KEY=VALUE"),
        (("--size", "output.v_th=0"), "size of output.v_th: is 0; expected a positive number"),
        (("--bounds", "output.tau_m=1*ms"), "--bounds output.tau_m=1*ms: expected KEY=LOW:HIGH"),
        (("--bounds", "output.tau_m=9*ms:1*ms"), "bounds of output.tau_m: are 0.009 and 0.001; expected the low"),
        (("--bounds", "output.tau_m=20*ms:50*ms"), "but its values go from 0.01 to 0.01"),
        (("--bounds", "output.v_th=0:2", "--bounds", "output.v_th=0:3"), "--bounds names output.v_th twice"),
        (("--rate", "0"), "rate: expected a positive, finite learning rate, got 0"),
    ],
)
def test_options_that_cannot_be_meant(train: Callable[..., Result], options: tuple[str, ...], message: str) -> None:
    done = train("refused", *options)
    assert done.exit_code == 2
    assert message in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_network_without_a_loss_and_a_name_that_is_none(files: Path) -> None:
    def error(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["train", *arguments, "--data", str(files / "trials.npz"), "--target", "numpy"])
        assert done.exit_code == 2
        return done.stderr

    assert "network 'yin_yang' declares no loss" in error("yin_yang")
    assert "minst: not among the library's networks" in error("minst")
    assert "Missing option '--data'" in CliRunner().invoke(app, ["train", str(files / "order.toml")]).output


# --- the data file -----------------------------------------------------------------------------------------------


def driven() -> Network:
    """Two inputs of spikes and a current."""
    lif = load_model("lif+exp_synapse")
    return Network(
        "driven",
        (SpikeInput("a", 2), SpikeInput("b", 1)),
        (Population("output", 2, lif, learnable=("tau_m",)),),
        (
            Projection("a_output", "a", "output", np.full((2, 2), 0.5), learnable=("w", "delay"), delay=0.0),
            Projection("b_output", "b", "output", np.full((1, 2), 0.5)),
        ),
        "output",
        20e-3,
        currents=(CurrentInput("stimulus", 1, 10e-3),),
        drives=(Drive("stimulus_output", "stimulus", "output", np.ones((1, 2)), "I_syn"),),
    )


TWO = ExpressionLoss("(final(v) - level)**2 + late*final(v)", targets={"level": "1", "late": "1"})
ONE = ExpressionLoss("(final(v) - level)**2", targets={"level": "1"})


def arrays(**changed: Any) -> dict[str, Array]:
    """What an archive of three trials holds, with changes; None for what it lacks."""
    a = np.array([[[1e-3, 4e-3], [2e-3, np.inf]], [[np.inf, np.inf], [3e-3, np.inf]], [[5e-3, 6e-3], [7e-3, 8e-3]]])
    held = {"a": a, "b": np.full((3, 1), 2e-3), "stimulus": np.ones((3, 1, 2)), "targets": np.zeros((3, 2))}
    return {name: np.asarray(array) for name, array in (held | changed).items() if array is not None}


def test_spikes_one_by_one_are_those_that_are_padded(tmp_path: Path) -> None:
    padded, listed = tmp_path / "padded.npz", tmp_path / "listed.npz"
    np.savez(padded, **arrays())
    trial, i, k = np.nonzero(np.isfinite(arrays()["a"]))
    order = np.random.default_rng(0).permutation(len(i))
    spikes = {"a.trial": trial[order], "a.i": i[order], "a.t": arrays()["a"][trial, i, k][order]}
    np.savez(listed, **arrays(a=None, stimulus=np.ones((1, 2)), **spikes))
    one, other = (read_trials(path, driven(), ONE).take(slice(None)) for path in (padded, listed))
    for name in ("a", "b", "stimulus"):
        np.testing.assert_array_equal(one[0][name], other[0][name])
    np.testing.assert_array_equal(one[1], other[1])


def test_targets_under_the_names_of_the_loss(tmp_path: Path) -> None:
    path = tmp_path / "trials.npz"
    np.savez(path, **arrays(targets=None, level=np.ones(3), late=np.zeros((3, 2))))
    targets = read_trials(path, driven(), TWO).targets
    assert targets.dtype.names == ("level", "late")
    np.savez(path, **arrays(targets=None, level=np.ones(3)))
    network = driven()
    with snn.Simulation(network, ONE, batch_size=3) as simulation:
        trials = read_trials(path, network, simulation.loss)
        assert np.isfinite(simulation.run(*trials.take(slice(None))).loss)


SPIKES = snn.SpikeTimeError()
TIMED = ExpressionLoss("((t - wanted)/tau)**2", {"tau": "1*ms"}, {"wanted": "second"})


@pytest.mark.parametrize(
    ("loss", "changed", "message"),
    [
        (SPIKES, {"targets": np.full((3, 2, 1), 12.0)}, r"targets: 12000 ms \(trial 0, neuron 0, entry 0\)"),
        (SPIKES, {"targets": np.full((3, 2), 21e-3)}, "targets: 21 ms .* a trial ends at 20 ms; give times in seconds"),
        (SPIKES, {"targets": np.zeros((3, 1, 1))}, r"targets have shape \(3, 1, 1\); expected \(3, 2\) or"),
        (snn.VanRossumDistance(), {"targets": np.full((3, 2, 1), 12.0)}, "targets: 12000 ms"),
        (snn.IntervalError(), {"targets": np.full((3, 2, 1), 5.0)}, "targets: 5000 ms"),
        (0.5 * SPIKES + snn.ActivityPrice(), {"targets": np.full((3, 2, 1), 12.0)}, "targets: 12000 ms"),
        (snn.Pseudospikes(SPIKES), {"targets": np.full((3, 2, 1), 12.0)}, "targets: 12000 ms"),
        (TIMED, {"targets": np.full((3, 2, 1), 12.0)}, "target 'wanted': 12000 ms"),
        (TIMED, {"targets": None, "wanted": np.full((3, 2), 12.0)}, "target 'wanted': 12000 ms .trial 0, neuron 0."),
        (TIMED, {"targets": np.zeros((3, 3))}, r"target 'wanted' has shape \(3, 3\); expected \(3,\), \(3, 2\) or"),
        (snn.TTFSCrossEntropy(), {"targets": None, "labels": np.array([0, 1, 2])}, "labels: label 2 is out of range"),
        (snn.CountError(), {"targets": np.zeros(3)}, r"targets: .*shape \(3, 2\), got \(3,\)"),
        (snn.VoltageError(), {"targets": np.zeros((3, 2, 2))}, r"targets: .* = \(3, 2, 20\), got \(3, 2, 2\)"),
        (ONE, {"a": np.zeros((3, 2, 5), dtype=int)}, "a: holds int64; expected spike times in seconds"),
        (
            ExpressionLoss("(final(v) - stimulus)**2", targets={"stimulus": "1"}),
            {"targets": None},
            "stimulus: is the name of an input of network 'driven', and of what its trials are compared with",
        ),
        (ONE, {"b": None}, "b: is missing; the file has a, stimulus, targets"),
        (ONE, {"c": np.zeros((3, 1))}, "c: is no input of the network and nothing that its loss reads"),
        (ONE, {"b": np.full((2, 1), 1e-3)}, r"spike times of b have shape \(2, 1\); expected \(3, 1\)"),
        (ONE, {"b": np.full((3, 1), 2.0)}, "b, trial 0, neuron 0: a spike at 2000 ms is not before the end"),
        (ONE, {"b": np.full((3, 1), "x")}, "b: holds <U1; expected numbers"),
        (ONE, {"stimulus": np.ones((3, 1, 1))}, "samples of input 'stimulus': 1 of each channel"),
        (ONE, {"a.i": np.zeros(1, dtype=int)}, "a: spikes are given twice, as a and as a.i, a.t, a.trial"),
        (ONE, {"a": None, "a.i": np.zeros(1, dtype=int)}, "a.t: is missing"),
        (
            ONE,
            {"a": None, "a.i": np.array([2]), "a.t": np.array([1e-3]), "a.trial": np.array([0])},
            "a: i goes from 2 to 2; expected indices from 0 below 2",
        ),
        (ONE, {"labels": np.zeros(3, dtype=int)}, "targets, labels: targets are given twice"),
        (ONE, {"level": np.zeros(3)}, "targets, level: targets are given twice"),
        (ONE, {"targets": None}, "level: is missing; the file has a, b, stimulus"),
        (TWO, {}, "level: is missing"),
        (ONE, {"targets": np.array(1.0)}, r"targets: has shape \(\); expected a row for each trial"),
        (snn.TTFSCrossEntropy(), {"targets": None}, "targets: is missing, an array with a row for each trial"),
    ],
)
def test_archives_that_do_not_fit(tmp_path: Path, loss: Loss, changed: dict[str, Any], message: str) -> None:
    path = tmp_path / "trials.npz"
    np.savez(path, **arrays(**changed))
    with pytest.raises(ValueError, match=message) as raised:
        read_trials(path, driven(), loss)
    assert str(raised.value).startswith(str(path))


def test_a_table_of_text_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "trials.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"trials.csv: no archive of arrays of numbers.*write it by numpy.savez"):
        read_trials(path, driven(), snn.SpikeTimeError())


# --- steps -------------------------------------------------------------------------------------------------------


def test_steps_are_relative_to_what_they_step() -> None:
    network = driven()
    with pytest.raises(ValueError, match=r"a_output.delay: all values are 0.*as a_output.delay=1\*ms"):
        relative_adam(network, 0.01)
    adam = relative_adam(network, 0.01, sizes={"a_output.delay": "2*ms"}, bounds={"output.tau_m": ("1*ms", "1*second")})
    assert adam.scales == {"a_output.delay": 2e-3, "a_output.w": 0.5, "b_output.w": 0.5, "stimulus_output.w": 1.0}
    assert adam.transforms == {"output.tau_m": "logit"} and adam.bounds == {"output.tau_m": (1e-3, 1.0)}
    values = network.trainable()
    before = {key: value.copy() for key, value in values.items()}
    adam.start_epoch(0)
    adam.step(values, {key: np.ones_like(value) for key, value in values.items()})
    for key, step in {"a_output.w": 0.005, "a_output.delay": 2e-5, "output.tau_m": 0.01 * 0.019 * 0.98 / 0.999}.items():
        np.testing.assert_allclose(before[key] - values[key], step, rtol=0.01, err_msg=key)


def test_connections_alone_tell_the_size_of_weights() -> None:
    mask = np.array([[True, False], [False, True]])
    weights = np.where(mask, [[3.0, 0.0], [0.0, 4.0]], 0.0)
    lif = load_model("lif+exp_synapse")
    network = Network(
        "masked",
        (SpikeInput("input", 2),),
        (Population("output", 2, lif),),
        (Projection("", "input", "output", weights, mask=mask),),
        "output",
        20e-3,
    )
    assert relative_adam(network, 0.01).scales["input_output.w"] == pytest.approx(np.sqrt(12.5))
