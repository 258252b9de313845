"""The published experiments: their settings, and small versions of them from training to figures."""

import importlib.util
import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from snnmodels.losses import MaxVoltageCrossEntropy, TTFSCrossEntropy
from snnmodels.parallel import WorkerPool
from snnmodels.studies.experiment_figures import draw_images, draw_yin_yang
from snnmodels.studies.experiments import Setup, digits, mnist, yin_yang
from snnmodels.studies.runs import (
    describe_summary,
    keep_examples,
    read_outputs,
    read_results,
    summarise,
    train_seeds,
    write_results,
)
from snnmodels.training.checkpoint import load_checkpoint
from snnmodels.training.history import EpochRecord, History

SCRIPTS = Path(__file__).parents[2] / "scripts"
SETUP = Setup(epochs=1, batch_size=8, target="numpy")


def small(experiment, **overrides):
    """Sixteen training trials and eight of the others."""
    parts = {name: getattr(experiment, name).subset(slice(n)) for name, n in
             (("train", 16), ("validation", 8), ("test", 8))}  # fmt: skip
    return replace(experiment, **parts, overrides={**experiment.overrides, **overrides})


def history(error, seconds=2.0, epochs=2):
    return History(epochs=[EpochRecord(i, 0.1, 1.0, 0.5, {}, None, 0, seconds, test_loss=1.0, test_error=error)
                           for i in range(1, epochs + 1)])  # fmt: skip


def test_yin_yang_is_as_published():
    experiment = yin_yang()
    assert [len(part) for part in (experiment.train, experiment.validation, experiment.test)] == [5000, 1000, 1000]
    inputs, _ = experiment.train.take(slice(None))
    assert inputs["input"].shape == (5000, 5)
    assert inputs["input"].max() <= 30e-3
    assert (inputs["input"][:, 4] == 0).all()
    assert experiment.loss == TTFSCrossEntropy(0.5e-3, 6.4e-3, 3e-3)
    weights = experiment.initial(3).trainable()
    assert {key: w.shape for key, w in weights.items()} == {"input_hidden.w": (5, 200), "hidden_output.w": (200, 3)}
    assert not np.array_equal(weights["input_hidden.w"], experiment.initial(4).trainable()["input_hidden.w"])


def test_yin_yang_settings_are_chosen_without_the_test_set():
    published, fresh = yin_yang(), yin_yang(tau0=0.125e-3, fresh=50)
    assert fresh.loss == TTFSCrossEntropy(0.125e-3, 6.4e-3, 3e-3)
    samples = [set(map(tuple, part.take(slice(None))[0]["input"])) for part in
               (fresh.test, published.train, published.validation, published.test)]  # fmt: skip
    assert len(samples[0]) == 50
    assert not samples[0] & set.union(*samples[1:])


def test_yin_yang_script_compares_settings(tmp_path, capsys, monkeypatch):
    spec = importlib.util.spec_from_file_location("train_yin_yang", SCRIPTS / "train_yin_yang.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    rates = ((0.25e-3, 1, 0.5), (0.25e-3, 1, 0.6))  # alike but for the decay: each has a folder of its own
    monkeypatch.setattr(script, "TRIED", rates)
    monkeypatch.setattr(script, "yin_yang", lambda tau0, fresh=0: small(yin_yang(tau0, fresh), hidden={"n": 10}))
    options = ["--target", "numpy", "--processes", "1", "--batch-size", "8", "--seeds", "101", "102"]
    assert script.main(["--choose", "--out", str(tmp_path), *options]) == 0
    written = json.loads((tmp_path / "choice.json").read_text())
    assert [(row["tau0"], row["epochs"], row["decay"]) for row in written["rows"]] == list(rates)
    assert all(row["seeds"] == 2 for row in written["rows"])
    assert capsys.readouterr().out.count("| 0.25 ms | 1 × 0.") == 2


@pytest.mark.parametrize(("loss", "kind"), [("max_voltage", MaxVoltageCrossEntropy), ("ttfs", TTFSCrossEntropy)])
def test_digits(loss, kind):
    pytest.importorskip("sklearn")
    experiment = digits(loss)
    assert experiment.name == f"digits_{loss}"
    assert experiment.dropout == 0.05
    assert isinstance(experiment.loss, kind)
    network = experiment.initial(1)
    assert network.trainable()["input_hidden.w"].shape == (64, 100)
    assert network.populations[-1].model.spiking == (loss == "ttfs")


def test_unknown_loss_and_missing_files(tmp_path):
    with pytest.raises(ValueError, match="expected 'max_voltage' or 'ttfs', got 'hinge'"):
        digits("hinge")
    with pytest.raises(FileNotFoundError, match="Download the four files"):
        mnist(tmp_path)


def test_summary():
    summary = summarise([history(0.02), history(0.04, seconds=4.0, epochs=3)])
    assert summary["test_accuracy_mean"] == pytest.approx(97.0)
    assert summary["test_accuracy_std"] == pytest.approx(np.sqrt(2))
    assert summary["test_accuracy_lowest"] == pytest.approx(96.0)
    assert (summary["seeds"], summary["epochs"]) == (2, 2)
    assert summary["seconds_total"] == pytest.approx(16.0)
    said = "test accuracy 97.00 ± 1.41 % (mean and standard deviation of 2 seeds, 2 epochs of 3.2 s)"
    assert describe_summary(summary) == said
    alone = summarise([history(0.5)])
    assert alone["test_accuracy_std"] == 0
    assert describe_summary(alone) == "test accuracy 50.00 % (one seed, 2 epochs of 2.0 s)"


def test_results_survive_json(tmp_path):
    path = tmp_path / "new" / "results.json"
    histories = [history(0.1), history(0.2)]
    write_results(path, yin_yang(), [5, 3], histories, "command")
    name, runs = read_results(path)
    assert name == "yin_yang"
    assert list(runs) == [5, 3]
    assert list(runs.values()) == histories
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"results\.json: not a results file of training"):
        read_results(path)


@pytest.mark.parametrize(("seeds", "message"), [([], "seeds: expected at least one"), ([1, 1], "each only once")])
def test_bad_seeds(tmp_path, seeds, message):
    with pytest.raises(ValueError, match=message):
        train_seeds(yin_yang(), SETUP, seeds, tmp_path)


def test_yin_yang_from_training_to_the_figure(tmp_path):
    experiment = small(yin_yang(), hidden={"n": 10})
    histories = train_seeds(experiment, SETUP, [1], tmp_path)
    (record,) = histories[0].epochs
    assert record.spikes["hidden"] > 0
    assert record.test_error is not None
    kept = read_outputs(tmp_path, "yin_yang", 1)
    assert kept["output"].shape == (8, 3)
    np.testing.assert_array_equal(kept["targets"], experiment.test.targets)
    assert np.mean(kept["predictions"] != kept["targets"]) == record.test_error
    # The figure shows the whole test set.
    np.savez(tmp_path / "yin_yang_seed1_test.npz", output=np.resize(kept["output"], (1000, 3)))
    write_results(tmp_path / "results.json", experiment, [1], histories, "command")
    assert draw_yin_yang(tmp_path, tmp_path).stat().st_size > 10_000


@pytest.mark.parametrize("loss", ["max_voltage", "ttfs"])
def test_digits_from_training_to_the_figures(tmp_path, loss):
    pytest.importorskip("sklearn")
    experiment = small(digits(loss), hidden={"n": 10})
    histories = train_seeds(experiment, SETUP, [1], tmp_path)
    write_results(tmp_path / "results.json", experiment, [1], histories, "command")
    keep_examples(experiment, 1, tmp_path)
    names = [path.name for path in draw_images(tmp_path, tmp_path / "figures")]
    assert names == [f"digits_{loss}_{kind}.png" for kind in ("history", "confusion", "examples")]
    with pytest.raises(ValueError, match=f"of the experiment digits_{loss}, not of yin_yang"):
        draw_yin_yang(tmp_path, tmp_path)


@pytest.mark.slow
def test_processes_give_the_same_as_one(tmp_path):
    experiment = small(yin_yang(), hidden={"n": 10})
    train_seeds(experiment, SETUP, [1, 2], tmp_path / "one")
    with WorkerPool(2) as pool:
        train_seeds(experiment, SETUP, [1, 2], tmp_path / "two", pool)
    for seed in (1, 2):
        one, two = (load_checkpoint(tmp_path / f / f"yin_yang_seed{seed}.npz") for f in ("one", "two"))
        for key, value in one.values.items():
            np.testing.assert_array_equal(two.values[key], value)


@pytest.mark.parametrize(
    ("script", "arguments", "status", "message"),
    [
        ("train_mnist.py", [], 2, "--data: name the directory of the MNIST files, or use --quick"),
        ("train_mnist.py", ["--data", "nowhere"], 1, "error: nowhere: no such directory. Download the four files"),
        ("train_yin_yang.py", ["--redraw", "nowhere"], 1, "error: --redraw: nowhere does not exist; run once without"),
        ("train_mnist.py", ["--redraw", "--quick"], 2, "not allowed with argument --redraw"),
        ("train_mnist.py", ["--redraw"], 1, "results.json does not exist"),
        ("figure_transfer.py", ["--redraw"], 1, "transfer.json does not exist"),
        ("figure_coding_online.py", ["--redraw"], 1, "coding_online.npz does not exist"),
    ],
)
def test_script_errors(tmp_path, monkeypatch, capsys, script, arguments, status, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPTS / script), run_name="__main__")
    assert ended.value.code == status
    assert message in capsys.readouterr().err
