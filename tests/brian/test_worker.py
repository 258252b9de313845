"""The compiled simulation on a time grid as a process: the same results again and again, a clear end, a cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from snnmodels.brian import build_cache
from snnmodels.brian.plan import Plan
from snnmodels.brian.worker import StandaloneSession
from snnmodels.gradients import GridSimulation, SimulationError
from snnmodels.losses import TTFSCrossEntropy
from snnmodels.targets import compilation
from snnmodels.targets.devices import CompilerMissing
from snnmodels.targets.process import ProgramError
from snnmodels.templates import Network, load_network
from tests.needs import COMPILER

pytestmark = COMPILER

INPUTS = {"input": np.random.default_rng(5).uniform(0, 30e-3, (4, 5))}
LABELS = np.array([0, 1, 2, 0])


def small() -> Network:
    return load_network("yin_yang", seed=3, hidden={"n": 12}, duration="40*ms")


def simulation() -> GridSimulation:
    return GridSimulation(small(), TTFSCrossEntropy(), batch_size=6, dt=0.5e-3, target="cpp_standalone")


def program_of(s: GridSimulation) -> int:
    """The process that simulates."""
    session = s._session
    assert isinstance(session, StandaloneSession)
    return session._process.popen.pid


@pytest.fixture
def running() -> Iterator[GridSimulation]:
    with simulation() as s:
        yield s


def test_a_batch_gives_the_same_bits_again_and_in_a_fresh_process(running: GridSimulation) -> None:
    first = running.run(INPUTS, LABELS)
    other = {"input_hidden.w": running.network.trainable()["input_hidden.w"] + 0.1}
    before = {k: v.copy() for k, v in running.network.trainable().items()}
    changed = running.run(INPUTS, LABELS, other)
    again = running.run(INPUTS, LABELS, before)
    with simulation() as fresh:
        alone = fresh.run(INPUTS, LABELS)
    assert changed.loss != first.loss
    for outcome in (again, alone):
        assert outcome.loss == first.loss
        for key, gradient in first.gradients.items():
            np.testing.assert_array_equal(outcome.gradients[key], gradient)


def test_a_smaller_last_batch_equals_a_simulation_of_its_size(running: GridSimulation) -> None:
    whole = running.run(INPUTS, LABELS)
    part = running.run({"input": INPUTS["input"][:2]}, LABELS[:2])
    numpy = GridSimulation(small(), TTFSCrossEntropy(), batch_size=2, dt=0.5e-3)
    expected = numpy.run({"input": INPUTS["input"][:2]}, LABELS[:2])
    assert part.loss == pytest.approx(expected.loss, rel=1e-12) and part.loss != whole.loss
    for key, gradient in expected.gradients.items():
        assert np.linalg.norm(part.gradients[key] - gradient) <= 1e-9 * np.linalg.norm(gradient), key


def test_an_end_before_the_end_is_an_error(running: GridSimulation) -> None:
    running.run(INPUTS, LABELS)
    os.kill(program_of(running), 9)
    with pytest.raises(ProgramError, match="ended with status -9; it said: nothing"):
        running.run(INPUTS, LABELS)


def test_close_ends_the_program() -> None:
    s = simulation()
    program = program_of(s)
    s.run(INPUTS, LABELS)
    s.close()
    s.close()
    assert not Path(f"/proc/{program}").exists()
    with pytest.raises(SimulationError, match="was closed"):
        s.run(INPUTS, LABELS)


def memory_of(pid: int | str, key: str = "VmRSS") -> int:
    """Memory of a process in kB."""
    return int(Path(f"/proc/{pid}/status").read_text().split(f"{key}:")[1].split()[0])


def test_two_thousand_batches_leave_memory_and_files_as_they_are(running: GridSimulation) -> None:
    processes = (os.getpid(), program_of(running))

    def files() -> list[int]:
        return [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in processes]

    for _ in range(50):
        running.run(INPUTS, LABELS)
    memory, open_files = [memory_of(pid) for pid in processes], files()
    for _ in range(2000):
        running.run(INPUTS, LABELS)
    assert memory_of(processes[1]) <= memory[1] + 256  # kB
    assert memory_of(processes[0]) <= memory[0] + 2048  # Python's heap moves a little
    assert files() == open_files


def test_without_a_compiler_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(CompilerMissing, match=r"g\+\+ is not installed: apt-get install g\+\+"):
        simulation()


def test_the_second_start_compiles_nothing(running: GridSimulation, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(compilation, "build", never)
    with simulation() as s:
        assert s.run(INPUTS, LABELS).loss == running.run(INPUTS, LABELS).loss


def test_the_cache_tells_networks_apart() -> None:
    network = small()
    options = {"batch_size": 6, "dt": 0.5e-3}
    same = build_cache.fingerprint(Plan.of(network, **options))  # type: ignore[arg-type]
    other_weights = load_network("yin_yang", seed=9, hidden={"n": 12}, duration="40*ms")
    assert same == build_cache.fingerprint(Plan.of(other_weights, **options))  # type: ignore[arg-type]
    for changed in ({"batch_size": 7}, {"dt": 0.25e-3}, {"timing": "grid"}, {"max_spikes": 10}):
        assert same != build_cache.fingerprint(Plan.of(network, **(options | changed)))  # type: ignore[arg-type]
