"""A simulation that was interrupted, wherever, gives what an undisturbed one gives, or says that it can't."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnmodels import files as atomic
from snnmodels.datasets import Trials
from snnmodels.events.engine import SimulationError
from snnmodels.gradients import Outcome, Simulation
from snnmodels.gradients import simulation as simulation_module
from snnmodels.losses import SpikeTimeError, TTFSCrossEntropy
from snnmodels.optimisers import Adam
from snnmodels.targets import process
from snnmodels.targets.cpp import engine as cpp_engine
from snnmodels.targets.numpy import neurons
from snnmodels.targets.process import ProgramError
from snnmodels.templates import Network, load_network
from snnmodels.training import TrainingInterrupted, checkpoint, load_checkpoint, loop, train
from tests.interruptions import ctrl_c, ctrl_c_at
from tests.needs import COMPILER, TARGETS

# which hand values over
FILES = {simulation_module.__file__, cpp_engine.__file__, neurons.__file__, process.__file__}


def network(hidden: int = 30) -> Network:
    return load_network("yin_yang", hidden={"n": hidden, "learnable": ["tau_m"]})


def batch(trials: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    times = np.random.default_rng(0).uniform(0, 30e-3, (trials, 5))
    return {"input": times}, np.arange(trials) % 3


def assert_same(found: Outcome, expected: Outcome, relative: float = 0.0) -> None:
    np.testing.assert_allclose(found.loss, expected.loss, rtol=relative, atol=0)
    np.testing.assert_array_equal(found.predictions, expected.predictions)
    for key, value in expected.gradients.items():
        bound = relative * np.abs(value).max()
        np.testing.assert_allclose(found.gradients[key], value, rtol=0, atol=bound, err_msg=key)


@pytest.mark.parametrize("target", TARGETS)
def test_fifty_moments_of_a_batch(target: str) -> None:
    net = network()
    inputs, labels = batch(64 if target == "cpp_standalone" else 4)
    own = net.trainable()
    given: list[dict[str, Any] | None] = [
        None,
        {k: np.asarray(own[k]) * 1.01 for k in ("input_hidden.w", "hidden_output.w")},
        {"hidden_output.w": np.asarray(own["hidden_output.w"]) * 0.9},
        {"hidden.tau_m": np.asarray(0.015)},  # another form of the flow
        {"hidden.tau_m": np.asarray(0.011), "input_hidden.w": np.asarray(own["input_hidden.w"]) * 1.1},
    ]
    rng = np.random.default_rng(1)
    with Simulation(net, TTFSCrossEntropy(), batch_size=64, target=target) as simulation:  # type: ignore[arg-type]
        expected = [simulation.run(inputs, labels, values) for values in given]
        began = time.perf_counter()
        for values in given:
            simulation.run(inputs, labels, values)
        took = (time.perf_counter() - began) / len(given)
        interrupted = 0
        for _ in range(50):
            k = int(rng.integers(len(given)))
            try:
                with ctrl_c(rng.uniform(1e-5, 1.2 * took)):
                    simulation.run(inputs, labels, given[k])
            except KeyboardInterrupt:
                interrupted += 1
            k = int(rng.integers(len(given)))
            assert_same(simulation.run(inputs, labels, given[k]), expected[k])
        assert interrupted > 10


@pytest.mark.parametrize(("target", "step"), [("numpy", 11), pytest.param("cpp_standalone", 29, marks=COMPILER)])
def test_lines_that_hand_values_over(target: str, step: int) -> None:
    net = network(6)
    inputs, labels = batch(2)
    own = net.trainable()
    given: list[dict[str, Any] | None] = [
        None,
        {k: np.asarray(own[k]) * 1.01 for k in ("input_hidden.w", "hidden_output.w")},
        {"hidden.tau_m": np.asarray(0.011), "input_hidden.w": np.asarray(own["input_hidden.w"]) * 1.1},
        {"hidden.tau_m": np.asarray(0.005)},  # as the synapse's: another form of the flow
    ]
    with Simulation(net, TTFSCrossEntropy(), batch_size=2, target=target) as simulation:  # type: ignore[arg-type]
        expected = [simulation.run(inputs, labels, values) for values in given]
        rng = np.random.default_rng(0)
        for before, k in [(0, 1), (1, 0), (1, 2), (2, 1), (0, 3), (3, 2)]:
            for line in range(1 + int(rng.integers(step)), 1000, step):
                assert_same(simulation.run(inputs, labels, given[before]), expected[before])
                counted: list[int] = []
                with contextlib.suppress(KeyboardInterrupt), ctrl_c_at(line, FILES, counted):
                    simulation.run(inputs, labels, given[k])
                if counted[0] < line:
                    break
                other = int(rng.integers(len(given)))
                assert_same(simulation.run(inputs, labels, given[other]), expected[other])
            assert line > 40


@COMPILER
def test_fifty_moments_of_an_epoch(tmp_path: Path) -> None:
    net = load_network("yin_yang", hidden={"n": 30})
    inputs, labels = batch(600)
    data = Trials(inputs, labels)
    options: dict[str, Any] = {"batch_size": 20, "progress": False, "seed": 3}
    rng = np.random.default_rng(2)
    with Simulation(net, TTFSCrossEntropy(), batch_size=20, target="cpp_standalone") as simulation:
        whole = train(simulation, data, Adam(5e-3), epochs=3, **options)
        began = time.perf_counter()
        train(simulation, data, Adam(5e-3), epochs=3, **options)
        took = time.perf_counter() - began
        interrupted = 0
        for k in range(50):
            file = tmp_path / f"{k}.npz"
            for attempt in range(3):  # again with the same source, at last without an interruption
                try:
                    with ctrl_c(rng.uniform(1e-4, took) if attempt < 2 else 1e3):
                        result = train(simulation, data, Adam(5e-3), epochs=3, checkpoint=file, **options)
                    break
                except TrainingInterrupted as error:
                    interrupted += 1
                    if file.exists():
                        assert "the same call goes on from there" in str(error)
                        assert load_checkpoint(file).epoch < 4
                except KeyboardInterrupt:
                    interrupted += 1  # before the loop, or after it
            for key, value in whole.values.items():
                np.testing.assert_array_equal(result.values[key], value, err_msg=key)
    assert interrupted > 10


def test_what_is_kept_is_said_wherever_an_interruption_comes(tmp_path: Path) -> None:
    net = load_network("yin_yang", hidden={"n": 3})
    data = Trials(*batch(2))
    options: dict[str, Any] = {"epochs": 2, "batch_size": 2, "progress": False}
    file = tmp_path / "training.npz"
    said = set()
    with Simulation(net, TTFSCrossEntropy(), batch_size=2, target="numpy") as simulation:
        whole = train(simulation, data, Adam(5e-3), **options)
        for line in range(1, 1000):
            file.unlink(missing_ok=True)
            counted: list[int] = []
            files = {loop.__file__, checkpoint.__file__, atomic.__file__}
            try:
                with ctrl_c_at(line, files, counted):
                    train(simulation, data, Adam(5e-3), checkpoint=file, **options)
            except TrainingInterrupted as error:
                kept = str(error)
                epoch = load_checkpoint(file).epoch if file.exists() else 0
                assert kept.endswith(
                    f"holds the state after epoch {epoch}, and the same call goes on from there"
                    if epoch
                    else "interrupted in epoch 1, before the first checkpoint"
                )
                assert error.result.epoch == epoch
                said.add(epoch)
            except KeyboardInterrupt:
                pass  # before the loop, or after it
            if counted[0] < line:
                break
            assert [name for name in tmp_path.iterdir() if name != file] == []
            if line % 10 == 0:
                result = train(simulation, data, Adam(5e-3), checkpoint=file, **options)
                for key, value in whole.values.items():
                    np.testing.assert_array_equal(result.values[key], value, err_msg=key)
    assert said == {0, 1, 2}
    assert line > 100


@COMPILER
def test_a_program_that_dies_is_started_again() -> None:
    inputs, labels = batch(4)
    with Simulation(network(), TTFSCrossEntropy(), batch_size=4, target="cpp_standalone") as simulation:
        expected = simulation.run(inputs, labels)
        os.kill(simulation._engine._process.popen.pid, signal.SIGKILL)  # type: ignore[attr-defined]
        simulation._engine._process.popen.wait()  # type: ignore[attr-defined]
        assert_same(simulation.run(inputs, labels), expected)


@COMPILER
def test_a_program_that_stops_answering() -> None:
    inputs, labels = batch(4)
    with Simulation(network(), TTFSCrossEntropy(), batch_size=4, target="cpp_standalone", timeout=0.5) as simulation:
        expected = simulation.run(inputs, labels)
        os.kill(simulation._engine._process.popen.pid, signal.SIGSTOP)  # type: ignore[attr-defined]
        with pytest.raises(ProgramError, match=r"has not answered for 0\.5 s and was ended; allow more by `timeout`"):
            simulation.run(inputs, labels)
        assert_same(simulation.run(inputs, labels), expected)


@pytest.mark.parametrize("target", TARGETS)
def test_closed_means_closed(target: str) -> None:
    inputs, labels = batch(4)
    with Simulation(network(), TTFSCrossEntropy(), batch_size=4, target=target) as simulation:  # type: ignore[arg-type]
        simulation.run(inputs, labels)
    for values in (None, network().trainable()):
        with pytest.raises(SimulationError, match="was closed: make a new one to go on"):
            simulation.run(inputs, labels, values)
    simulation.close()


def test_an_error_in_the_loss_leaves_a_usable_simulation() -> None:
    inputs, labels = batch(4)
    with Simulation(network(), TTFSCrossEntropy(), batch_size=4) as simulation:
        expected = simulation.run(inputs, labels)
        with pytest.raises(ValueError, match="label 7 is out of range"):
            simulation.run(inputs, labels + 7)
        assert_same(simulation.run(inputs, labels), expected)


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
def test_impossible_timeouts(timeout: float) -> None:
    with pytest.raises(ValueError, match=r"timeout.*(must be a positive number|expected a finite number)"):
        Simulation(network(), TTFSCrossEntropy(), target="cpp_standalone", timeout=timeout)


def test_numpy_has_no_timeout() -> None:
    with pytest.raises(ValueError, match="the numpy target runs in this process"):
        Simulation(network(), SpikeTimeError(), timeout=1.0)
