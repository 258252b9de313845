"""Training with a fake gradient source: logistic regression on input spike times."""

import io
import json
import os
import subprocess
import sys
import textwrap
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from snnmodels.datasets import Trials
from snnmodels.files import atomic_file
from snnmodels.gradients.source import Outcome
from snnmodels.losses import MaxVoltageCrossEntropy, SpikeTimeError, SpikeTimeFunction
from snnmodels.optimisers import SGD, Adam, ExponentialDecay
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model
from snnmodels.templates.identity import description
from snnmodels.training import EarlyStopping, TrainingError, TrainingInterrupted, evaluate, train
from snnmodels.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from snnmodels.training.history import EpochRecord, History
from snnmodels.training.progress import BarProgress, LineProgress


class LogisticRegression:
    """ "Maxima" are linear in exp(-t) of the input spikes."""

    def __init__(self, n=4, classes=3, loss=None):
        weights = np.random.default_rng(0).normal(0, 0.1, (n, classes))
        out = Population("out", classes, load_model("leaky_integrator+exp_synapse"))
        projection = Projection("input_out", "input", "out", weights)
        self.network = Network("regression", (SpikeInput("input", n),), (out,), (projection,), "out", 1.0)
        self.loss = loss or MaxVoltageCrossEntropy()
        self.calls = 0
        self.trials_seen = []
        self.hook = lambda call, outcome: outcome

    def run(self, inputs, targets, values=None, *, gradient=True):
        self.calls += 1
        self.trials_seen.append(inputs["input"].copy())
        w = (values or self.network.trainable())["input_out.w"]
        x = np.exp(-inputs["input"])
        value = self.loss.evaluate(x @ w, targets)
        gradients = {"input_out.w": x.T @ value.gradient, "input.times": -x * (value.gradient @ w.T)}
        spikes = {"out": float(np.isfinite(inputs["input"]).sum(axis=1).mean())}
        outcome = Outcome(value.value, value.predictions, gradients if gradient else {}, spikes, 2.5, x @ w)
        return self.hook(self.calls, outcome)

    def close(self):
        pass


def trials(n=50, seed=1):
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=n)
    times = rng.random((n, 4)) * 3
    times[np.arange(n), labels] /= 10
    return Trials({"input": times}, labels)


def run(source=None, epochs=4, optimiser=None, **options):
    options = {"batch_size": 8, "seed": 7, "progress": False, **options}
    optimiser = optimiser or Adam(ExponentialDecay(0.05))
    return train(source or LogisticRegression(), trials(), optimiser, epochs=epochs, **options)


def without_times(history):
    return [replace(record, seconds=0.0) for record in history.epochs]


def interrupt_at(call):
    def hook(now, outcome):
        if now == call:
            raise KeyboardInterrupt
        return outcome

    return hook


def test_it_learns_and_keeps_the_network_as_it_was():
    source = LogisticRegression()
    before = source.network.trainable()["input_out.w"].copy()
    result = run(source, epochs=30, validation=trials(40, 2), test=trials(30, 3))
    assert result.history.epochs[-1].train_loss < 0.5 * result.history.epochs[0].train_loss
    assert result.history.epochs[-1].test_error < 0.15
    np.testing.assert_array_equal(source.network.trainable()["input_out.w"], before)
    assert result.epoch == 30
    assert result.history.status == "finished"


def test_an_epoch_by_hand():
    """One epoch of plain gradient descent in the order of the seeded permutation."""
    data, source = trials(), LogisticRegression()
    w = source.network.trainable()["input_out.w"].copy()
    losses, wrong = [], 0
    order = np.random.default_rng([7, 0]).permutation(50)
    for start in range(0, 50, 8):
        which = order[start : start + 8]
        x = np.exp(-data.samples["input"][which])
        value = source.loss.evaluate(x @ w, data.targets[which])
        losses += [value.value] * len(which)
        wrong += np.sum(value.predictions != data.targets[which])
        w -= 0.5 * (x.T @ value.gradient)
    result = run(source, epochs=1, optimiser=SGD(0.5))
    np.testing.assert_allclose(result.values["input_out.w"], w, rtol=1e-14)
    (record,) = result.history.epochs
    assert record.train_loss == pytest.approx(np.mean(losses), rel=1e-13)
    assert record.train_error == wrong / 50
    assert record.spikes == {"out": 4.0}
    assert record.smallest_gdot == 2.5
    assert record.learning_rate == 0.5
    assert [len(seen) for seen in source.trials_seen] == [8] * 6 + [2]


def test_evaluate():
    source, data = LogisticRegression(), trials()
    result = evaluate(source, data, batch_size=8)
    x = np.exp(-data.samples["input"]) @ source.network.trainable()["input_out.w"]
    value = source.loss.evaluate(x, data.targets)
    assert result.loss == pytest.approx(value.value, rel=1e-14)
    np.testing.assert_array_equal(result.predictions, value.predictions)
    assert result.error == np.mean(value.predictions != data.targets)
    np.testing.assert_allclose(result.output, x, rtol=1e-14)


def test_seeds():
    first, same, other = run(), run(), run(seed=8)
    np.testing.assert_array_equal(first.values["input_out.w"], same.values["input_out.w"])
    assert without_times(first.history) == without_times(same.history)
    assert not np.array_equal(first.values["input_out.w"], other.values["input_out.w"])


# 7 batches an epoch: in the middle of epochs 1 and 3, at the first batch of an epoch, and in a validation (5 batches).
@pytest.mark.parametrize("call", [3, 12 + 12 + 4, 12 + 1, 12 + 7 + 2])
def test_resumed_run_equals_an_uninterrupted_one(tmp_path, call):
    options = {"validation": trials(40, 2), "input_dropout": 0.2, "epochs": 5}
    whole = run(**options)
    path = tmp_path / "run.npz"
    source = LogisticRegression()
    source.hook = interrupt_at(call)
    with pytest.raises(TrainingInterrupted, match="interrupted in epoch") as interrupted:
        run(source, checkpoint=path, **options)
    complete = interrupted.value.result.epoch
    assert complete == (call - 1) // 12
    assert path.exists() == (complete > 0)
    resumed = run(checkpoint=path, **options)
    np.testing.assert_array_equal(resumed.values["input_out.w"], whole.values["input_out.w"])
    assert without_times(resumed.history) == without_times(whole.history)
    assert resumed.history.settings == whole.history.settings


def test_more_epochs_continue_a_finished_run(tmp_path):
    path = tmp_path / "run.npz"
    run(epochs=2, checkpoint=path)
    source = LogisticRegression()
    longer = run(source, epochs=4, checkpoint=path)
    assert source.calls == 2 * 7
    np.testing.assert_array_equal(longer.values["input_out.w"], run(epochs=4).values["input_out.w"])
    again = run(source, epochs=4, checkpoint=path)
    assert source.calls == 2 * 7
    np.testing.assert_array_equal(again.values["input_out.w"], longer.values["input_out.w"])


def test_resume_can_be_declined(tmp_path):
    path = tmp_path / "run.npz"
    run(epochs=2, checkpoint=path)
    other = run(epochs=1, checkpoint=path, seed=9, resume=False)
    np.testing.assert_array_equal(load_checkpoint(path).values["input_out.w"], other.values["input_out.w"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 9}, "seed = 7, not 9"),
        ({"batch_size": 5}, "batch_size = 8, not 5"),
        ({"optimiser": SGD(0.1)}, "optimiser class = Adam, not SGD"),
        ({"input_dropout": 0.5}, r"input_dropout = 0.0, not 0.5"),
        ({"about": {"dt": 1e-3}}, r"dt = None, not 0.001"),
        ({"about": {"target": "numpy"}}, r"target = None, not numpy"),
    ],
)
def test_checkpoint_of_another_run_is_refused(tmp_path, change, message):
    path = tmp_path / "run.npz"
    run(epochs=1, checkpoint=path)
    with pytest.raises(ValueError, match=f"run.npz: is of a run with {message}.*resume=False"):
        run(epochs=2, checkpoint=path, **change)


def test_other_data_or_encoding_are_noticed(tmp_path):
    path = tmp_path / "run.npz"
    run(epochs=1, checkpoint=path)
    data = trials()
    options = {"epochs": 2, "batch_size": 8, "seed": 7, "progress": False, "checkpoint": path}
    for changed, said in (
        (trials(seed=5), "of a run on other training data"),
        (replace(data, encode=lambda times: times + 1), "of a run with encoder = None, not .*function"),
    ):
        with pytest.raises(ValueError, match=said):
            train(LogisticRegression(), changed, Adam(ExponentialDecay(0.05)), **options)


def test_early_stopping_returns_the_best_epoch(tmp_path):
    """Validation gets worse by decree after epoch 3."""
    errors = iter([0.5, 0.4, 0.3, 0.35, 0.3, 0.2, 0.1])
    source = LogisticRegression()
    kept = []

    def hook(call, outcome):
        if outcome.gradients:
            return outcome
        wrong = np.zeros(10, dtype=int)
        wrong[: round(10 * next(errors))] = -1
        kept.append(call)
        return replace(outcome, predictions=wrong)

    source.hook = hook
    validation = Trials({"input": np.ones((10, 4))}, np.zeros(10, dtype=int))
    options = {"validation": validation, "batch_size": 10, "early_stopping": EarlyStopping(patience=2)}
    result = run(source, epochs=20, **options, checkpoint=tmp_path / "run.npz")
    assert len(result.history.epochs) == 5
    assert result.epoch == 3
    assert result.history.status == "stopped early"
    np.testing.assert_array_equal(result.values["input_out.w"], run(epochs=3, batch_size=10).values["input_out.w"])
    told = r"run\.npz: its patience of 2 ended this run after epoch 5, the best being epoch 3: none of .* up to 20"
    with pytest.warns(UserWarning, match=told):
        again = run(epochs=20, **options, checkpoint=tmp_path / "run.npz")
    assert again.epoch == 3
    np.testing.assert_array_equal(again.values["input_out.w"], result.values["input_out.w"])


def test_early_stopping_on_the_loss_with_a_margin():
    stopping = EarlyStopping(patience=3, measure="validation_loss", min_improvement=10.0)
    result = run(epochs=20, validation=trials(40, 2), early_stopping=stopping)
    assert len(result.history.epochs) == 4
    assert result.epoch == 1


def test_input_dropout_touches_training_only():
    source = LogisticRegression()
    run(source, epochs=1, validation=trials(40, 2), input_dropout=0.3)
    seen = np.concatenate(source.trials_seen)
    assert np.isinf(seen[:50]).mean() == pytest.approx(0.3, abs=0.15)
    assert np.isfinite(seen[50:]).all()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"loss": np.nan}, "epoch 2, batch 3: the loss is nan; a smaller learning rate"),
        (
            {"gradients": {"input_out.w": np.full((4, 3), np.inf)}},
            r"epoch 2, batch 3: the gradient of input_out.w isn't finite \(smallest .* 2.5\)",
        ),
    ],
)
def test_nan_is_an_error_that_says_where(tmp_path, bad, message):
    source = LogisticRegression()
    source.hook = lambda call, outcome: replace(outcome, **bad) if call == 7 + 3 else outcome
    with pytest.raises(TrainingError, match=message):
        run(source, checkpoint=tmp_path / "run.npz")
    assert load_checkpoint(tmp_path / "run.npz").epoch == 1


def test_nan_in_validation():
    source = LogisticRegression()
    source.hook = lambda call, outcome: outcome if outcome.gradients else replace(outcome, loss=np.nan)
    with pytest.raises(TrainingError, match="epoch 1: the loss on the validation set is nan"):
        run(source, validation=trials(8, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs = 0; it must be a positive whole number"),
        ({"batch_size": 0}, "batch_size = 0; it must be a positive whole number"),
        ({"input_dropout": 1.0}, "input_dropout: expected a number from 0"),
        ({"early_stopping": EarlyStopping()}, "early_stopping: needs a validation set"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        run(**options)


@pytest.mark.parametrize("options", [{"patience": 0}, {"measure": "test_error"}, {"min_improvement": -1}])
def test_bad_early_stopping(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}: expected"):
        EarlyStopping(**options)


def test_a_loss_that_does_not_classify_has_no_error():
    class Regression(SpikeTimeError):
        pass

    source = LogisticRegression(loss=Regression())
    source.run = lambda inputs, targets, values=None, *, gradient=True: Outcome(
        1.0, None, {"input_out.w": np.zeros((4, 3))}, output=np.zeros((len(targets), 3, 1))
    )
    data = Trials({"input": np.ones((6, 4))}, np.full((6, 3), 1.0))
    result = train(source, data, SGD(0.1), epochs=1, progress=False, validation=data)
    (record,) = result.history.epochs
    assert record.train_error is None
    assert record.validation_error is None
    assert record.smallest_gdot is None
    with pytest.raises(ValueError, match="the loss doesn't classify"):
        train(source, data, SGD(0.1), epochs=1, progress=False, validation=data, early_stopping=EarlyStopping())


def test_evaluation_keeps_first_spikes():
    """Batches may differ in the number of spikes, down to none."""
    source, data = LogisticRegression(loss=SpikeTimeError()), Trials({"input": np.ones((5, 4))}, np.ones((5, 3)))
    widths = iter([2, 0, 1])

    def fire(inputs, targets, values=None, *, gradient=True):
        return Outcome(1.0, None, output=np.full((len(targets), 3, next(widths)), 0.5))

    source.run = fire
    np.testing.assert_array_equal(evaluate(source, data, batch_size=2).output[:, 0], [0.5, 0.5, np.inf, np.inf, 0.5])


def test_silent_trials_are_counted():
    class Silent(MaxVoltageCrossEntropy):
        def silent_trials(self, observed, targets):
            return 1

    result = run(LogisticRegression(loss=Silent()), epochs=1)
    assert result.history.epochs[0].silent_trials == 7


def test_a_loss_that_silence_makes_small_is_told_of_once():
    class Mute(MaxVoltageCrossEntropy):
        def silent_trials(self, observed, targets):
            return len(targets)

    with pytest.warns(UserWarning, match="epoch 1: in 50 of 50 trials a spike that the loss needs") as caught:
        run(LogisticRegression(loss=Mute()), epochs=3)
    assert len(caught) == 1


def test_history_survives_json(tmp_path):
    history = run(epochs=2, validation=trials(8, 2), about={"dt": 0.25e-3}).history
    path = tmp_path / "history.json"
    history.save(path)
    assert History.load(path) == history
    data = json.loads(path.read_text())
    assert data["settings"]["dt"] == 0.25e-3
    assert data["settings"]["optimiser"]["schedule"] == {
        "class": "ExponentialDecay",
        "initial": 0.05,
        "factor": 0.95,
    }
    assert {"python", "numpy", "brian2"} <= set(data["versions"])
    np.testing.assert_array_equal(history.column("epoch"), [1, 2])
    assert np.isnan(history.column("test_error")).all()
    with pytest.raises(ValueError, match=r"no 'val_loss'.*validation_loss"):
        history.column("val_loss")


@pytest.mark.parametrize(
    "content", ["{}", "[1", '{"epochs": [{"epoch": 1}], "settings": {}, "versions": {}, "status": ""}']
)
def test_bad_history_files(tmp_path, content):
    path = tmp_path / "history.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"history.json: "):
        History.load(path)


def test_a_loss_of_ones_own_is_told_by_what_it_is():
    """In another process its name has another address; the same loss goes on, another does not."""

    class Own(SpikeTimeError):
        pass

    def decay(epoch):
        return 0.1 / (1 + epoch)

    assert description(Own()) == description(Own())
    assert "0x" not in str(description([Own(), SpikeTimeFunction(first_spike_sum), decay, np.ones(30), Own]))
    assert description(Own(tau=2e-3)) != description(Own())
    assert description(lambda x: x + 1) != description(lambda x: x + 2)


def first_spike_sum(times, targets):
    return 0.0, np.zeros(times.shape)


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail():
        with atomic_file(path) as file:
            file.write(b"new")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_failed_write_while_an_interruption_is_handled_says_why(tmp_path):
    def fail():
        with atomic_file(tmp_path / "file"):
            raise OSError(28, "No space left on device")

    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        with pytest.raises(OSError, match="No space left"):
            fail()


def test_an_interruption_within_an_archive_is_one(tmp_path, monkeypatch):
    path = tmp_path / "c.npz"
    saved = Checkpoint(1, {"w": np.ones(5)}, {"steps": np.array(5)})
    save_checkpoint(path, saved)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    # as a member is closed: then the archive can't be
    monkeypatch.setattr(zipfile._ZipWriteFile, "close", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, Checkpoint(2, {"w": np.zeros(5)}, {"steps": np.array(9)}))
    monkeypatch.undo()
    assert load_checkpoint(path).epoch == 1
    assert os.listdir(tmp_path) == ["c.npz"]


def test_checkpoint_round_trip(tmp_path):
    path = tmp_path / "c.npz"
    saved = Checkpoint(3, {"hidden.tau_m": np.array(0.02), "a.w": np.ones((2, 3))}, {"steps": np.array(5)})
    save_checkpoint(path, saved)
    loaded = load_checkpoint(path)
    assert (loaded.epoch, loaded.best, loaded.history) == (3, None, saved.history)
    assert loaded.values["hidden.tau_m"].shape == ()
    np.testing.assert_array_equal(loaded.values["a.w"], saved.values["a.w"])


def test_damaged_checkpoints(tmp_path):
    path = tmp_path / "c.npz"
    save_checkpoint(path, Checkpoint(3, {"w": np.ones(100)}, {"steps": np.array(5)}))
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"text"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"c.npz: not a checkpoint of snnmodels, or a damaged one"):
            load_checkpoint(path)
    np.savez(path, w=np.ones(3))
    with pytest.raises(ValueError, match=r"c.npz: not a checkpoint"):
        load_checkpoint(path)
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "nowhere.npz")


def test_lines():
    stream = io.StringIO()
    run(epochs=2, progress=LineProgress("seed 7", stream), validation=trials(8, 2))
    first, second = stream.getvalue().splitlines()
    assert first.startswith("seed 7: epoch 1/2  train loss ")
    assert "validation loss" in second
    assert "error" in second


def test_bar_shows_loss_and_accuracy():
    stream = io.StringIO()
    run(epochs=2, progress=BarProgress("yin-yang", Console(file=stream, force_terminal=True, width=120)))
    shown = stream.getvalue()
    assert "yin-yang" in shown
    assert "14/14" in shown
    assert "epoch 2/2  loss" in shown
    assert "acc" in shown


def test_bar_line_of_an_epoch():
    stream = io.StringIO()
    bar = BarProgress(console=Console(file=stream, width=120))
    bar.start(10, 0, 1)
    bar.epoch(EpochRecord(1, 0.1, 0.5, 0.25, {}, None, 3, 1.5, validation_loss=0.4, validation_error=0.5))
    bar.stop()
    assert "epoch   1/10  train loss 0.5000, error 25.00%  validation loss 0.4000, error 50.00%  3 silent  1.5 s" in (
        stream.getvalue()
    )


def test_progress_is_stopped_after_an_error():
    class Recorder(LineProgress):
        stopped = 0

        def stop(self):
            self.stopped += 1

    recorder = Recorder(stream=io.StringIO())
    source = LogisticRegression()
    source.hook = interrupt_at(2)
    with pytest.raises(
        TrainingInterrupted, match="there is no checkpoint, but the exception's `result` holds the state after epoch 0"
    ):
        run(source, progress=recorder)
    assert recorder.stopped == 1


def test_a_real_ctrl_c(tmp_path):
    """SIGINT to a training process: the checkpoint survives, the message names it."""
    script = textwrap.dedent(
        """
        import importlib.util, os, signal, sys
        spec = importlib.util.spec_from_file_location("helpers", sys.argv[1])
        helpers = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(helpers)
        source = helpers.LogisticRegression()
        def hook(call, outcome):
            if call == 10:
                os.kill(os.getpid(), signal.SIGINT)
            return outcome
        source.hook = hook
        try:
            helpers.run(source, checkpoint=sys.argv[2])
        except helpers.TrainingInterrupted as interruption:
            print(interruption)
            sys.exit(130)
        """
    )
    path = tmp_path / "run.npz"
    done = subprocess.run([sys.executable, "-c", script, __file__, path], capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert "interrupted in epoch 2" in done.stdout
    assert "run.npz holds the state after epoch 1, and the same call goes on from there" in done.stdout
    assert load_checkpoint(path).epoch == 1


def test_steps_far_larger_than_what_is_trained_are_warned_of():
    """Weights in amperes are not of the size of 1, which Adam's steps are made for."""
    source = LogisticRegression()
    data = Trials({"input": np.full((4, 4), 0.01)}, np.zeros(4, dtype=int))
    source.network.projections[0].weights[:] = 3e-10
    with pytest.warns(UserWarning, match=r"input_out.w: a step .* is about 0.01 and its largest value 3e-10.*scales="):
        train(source, data, Adam(0.01), epochs=1, batch_size=2)
