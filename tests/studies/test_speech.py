"""Spoken digits: the network's gradient and its weighted average, and training on a stand-in of the data set."""

import json

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

import snnmodels as snn
from snnmodels.cli import app
from snnmodels.losses import FinalValues, Samples
from snnmodels.studies.experiments import SHD_SETUP, Setup, shd
from snnmodels.studies.runs import train_seed
from snnmodels.training import load_checkpoint
from tests.datasets.stand_ins import write_shd
from tests.needs import COMPILER, TARGETS


def normal(mean, std):
    return {"weights": {"distribution": "normal", "mean": mean, "std": std}}


def lasting(time):
    """Trials of another length, over which the average is weighted."""
    return {"duration": time, "output": {"parameters": {"tau_q": time}}}


def small():
    """A network of few neurons that spike."""
    changes = lasting("100*ms")
    changes["output"]["n"] = 3
    weights = {"input_hidden": normal(1.2, 0.4), "hidden_hidden": normal(0, 0.5), "hidden_output": normal(0, 1)}
    return snn.load_network("shd", seed=1, input={"n": 6}, hidden={"n": 4}, **changes, **weights)


INPUTS = {"input": np.sort(np.random.default_rng(0).uniform(0, 70e-3, (2, 6, 3)), axis=2)}
# what a stand-in of few spikes needs to make neurons spike
LOUD = {
    "input_hidden": normal(1.5, 0.5),
    "hidden_hidden": normal(0, 0.2),
    "hidden_output": normal(0, 0.5),
    **lasting("0.4*second"),
}


@pytest.mark.parametrize(
    ("target", "elements"),
    [pytest.param(TARGETS[0], 4, marks=pytest.mark.slow), pytest.param("cpp_standalone", 1, marks=COMPILER)],
)
def test_gradients_of_weights_and_delays_are_exact(target, elements):
    report = snn.check_gradient(
        small(), inputs=INPUTS, targets=np.array([0, 2]), target=target, elements=elements, tolerance=1e-7
    )
    assert not report.failures, report.failures
    groups = {row.key for row in report.rows}
    assert {"input_hidden.w", "input_hidden.delay", "hidden_hidden.w", "hidden_hidden.delay"} <= groups


@COMPILER
def test_the_loss_reads_an_average_that_weighs_what_comes_early():
    network, dt = small(), 0.05e-3
    seen = (FinalValues("", "q"), Samples("", "v", dt))
    with snn.Simulation(network, seen, batch_size=2, target="cpp_standalone") as simulation:
        q, v = simulation.forward(INPUTS, gradient=False)
    t, length = dt * np.arange(1, v.shape[2] + 1), network.duration
    average = np.trapezoid(np.exp(-t / length) * v, t, axis=2) / length  # v is 0 in the beginning
    np.testing.assert_allclose(q, np.e * average, rtol=1e-4)
    assert np.abs(q).min() > 0.05


def test_the_experiment_is_what_the_documentation_says(tmp_path):
    write_shd(tmp_path, trials=40)
    experiment = shd(tmp_path)
    assert [len(part) for part in (experiment.train, experiment.validation, experiment.test)] == [20, 20, 20]
    network = experiment.initial(1)
    shapes = {key: value.shape for key, value in network.trainable().items()}
    assert shapes == {
        "input_hidden.w": (700, 256), "input_hidden.delay": (700, 256),
        "hidden_hidden.w": (256, 256), "hidden_hidden.delay": (256, 256), "hidden_output.w": (256, 20),
    }  # fmt: skip
    assert (SHD_SETUP.epochs, SHD_SETUP.batch_size, SHD_SETUP.learning_rate, SHD_SETUP.decay) == (100, 32, 1e-3, 1.0)
    assert experiment.scales == {"input_hidden.delay": 0.1, "hidden_hidden.delay": 0.1}
    with pytest.raises(ValueError, match="speaker 7 has 0 of 40 trials of the training set; its speakers are 0, 1"):
        shd(tmp_path, speaker=7)
    write_shd(tmp_path, trials=40, length=2.0)
    with pytest.raises(ValueError, match=r"spike of the training set is at .* not before the end of the network's tri"):
        shd(tmp_path)
    with h5py.File(tmp_path / "shd_train.h5", "a") as file:
        del file["extra/speaker"]
    with pytest.raises(ValueError, match=r"has no extra/speaker, of whom one is kept for validation"):
        shd(tmp_path, **lasting("3*second"))


@COMPILER
def test_it_learns_a_stand_in_and_its_delays_move(tmp_path):
    write_shd(tmp_path, trials=120, spikes=60, length=0.3)
    experiment = shd(tmp_path, hidden=20, **LOUD)
    setup = Setup(epochs=4, batch_size=16, learning_rate=0.02, decay=1.0)
    history, evaluation = train_seed(experiment, setup, 1, tmp_path, progress=False)
    assert evaluation.error is not None
    assert evaluation.error < 0.7  # 0.95 by chance
    loss = history.column("train_loss")
    assert loss[-1] < 0.9 * loss[0]
    before = experiment.initial(1).trainable()
    for key, after in load_checkpoint(tmp_path / "shd_seed1.npz").values.items():
        assert not np.array_equal(after, before[key])
        if key.endswith("delay"):
            assert 1e-4 < np.abs(after - before[key]).max() < 0.06
            assert after.min() >= 0


@pytest.mark.slow
@COMPILER
def test_the_command_trains_it(tmp_path):
    write_shd(tmp_path, trials=40, spikes=8000)
    out = tmp_path / "out"
    command = ["train", "shd", "--data", str(tmp_path), "--hidden", "24", "--epochs", "2", "--out", str(out)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "test accuracy" in result.output
    (run,) = json.loads((out / "results.json").read_text())["runs"].values()
    assert run["epochs"][-1]["spikes"]["hidden"] > 24
    assert {path.name for path in out.glob("*.png")} == {"shd_history.png", "shd_confusion.png"}
    missing = CliRunner().invoke(app, ["train", "shd", "--data", str(tmp_path / "nowhere")])
    assert missing.exit_code == 2
    assert "no such directory. Download" in missing.output
