"""The compiled simulation as a process: the same results again and again, clear ends, nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from snnmodels.brian import build_cache
from snnmodels.brian.standalone import CompilerMissing
from snnmodels.brian.worker import StandaloneSession, WorkerError
from snnmodels.eventprop import MaxVoltageCrossEntropy, Simulation, TTFSCrossEntropy
from snnmodels.templates import Network, load_network

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")

INPUTS = {"input": np.random.default_rng(5).uniform(0, 30e-3, (4, 5))}
LABELS = np.array([0, 1, 2, 0])


def small() -> Network:
    return load_network("yin_yang", seed=3, hidden={"n": 12}, duration="40*ms")


def simulation() -> Simulation:
    return Simulation(small(), TTFSCrossEntropy(), batch_size=6, dt=0.5e-3, target="cpp_standalone")


def session_of(s: Simulation) -> StandaloneSession:
    session = s._session
    assert isinstance(session, StandaloneSession)
    return session


@pytest.fixture
def running() -> Iterator[Simulation]:
    with simulation() as s:
        yield s


def test_a_batch_gives_the_same_bits_again_and_in_a_fresh_process(running: Simulation) -> None:
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


def test_a_smaller_last_batch_equals_a_simulation_of_its_size(running: Simulation) -> None:
    whole = running.run(INPUTS, LABELS)
    part = running.run({"input": INPUTS["input"][:2]}, LABELS[:2])
    numpy = Simulation(small(), TTFSCrossEntropy(), batch_size=2, dt=0.5e-3)
    expected = numpy.run({"input": INPUTS["input"][:2]}, LABELS[:2])
    assert part.loss == pytest.approx(expected.loss, rel=1e-12) and part.loss != whole.loss
    for key, gradient in expected.gradients.items():
        assert np.linalg.norm(part.gradients[key] - gradient) <= 1e-9 * np.linalg.norm(gradient), key


def test_a_killed_program_is_an_error_and_leaves_nothing(running: Simulation) -> None:
    session = session_of(running)
    running.run(INPUTS, LABELS)
    session._process.kill()
    with pytest.raises(WorkerError, match="ended with status -9; it said: nothing"):
        running.run(INPUTS, LABELS)
    running.close()
    assert not session._folder.exists()
    assert session._process.poll() is not None


def test_what_the_program_says_is_in_the_error(running: Simulation) -> None:
    session = session_of(running)
    session._errors.write("something broke")
    session._errors.flush()
    session._process.kill()
    with pytest.raises(WorkerError, match="something broke"):
        running.run(INPUTS, LABELS)


def test_close_ends_the_program_and_removes_its_file() -> None:
    s = simulation()
    session = session_of(s)
    s.run(INPUTS, LABELS)
    s.close()
    s.close()
    assert session._process.returncode == 0
    assert not session._folder.exists()
    with pytest.raises(WorkerError, match="was closed"):
        s.run(INPUTS, LABELS)


def test_the_program_ends_with_its_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import time\nfrom snnmodels.eventprop import Simulation, TTFSCrossEntropy\n"
        "from snnmodels.templates import load_network\n"
        "network = load_network('yin_yang', seed=3, hidden={'n': 12}, duration='40*ms')\n"
        "s = Simulation(network, TTFSCrossEntropy(), batch_size=6, dt=0.5e-3, target='cpp_standalone')\n"
        "print(s._session._process.pid, s._session._folder, flush=True)\ntime.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert parent.stdout is not None
    pid, folder = parent.stdout.readline().split()
    program = int(pid)
    os.kill(program, 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(100):
        if not Path(f"/proc/{program}").exists():
            break
        time.sleep(0.05)
    assert not Path(f"/proc/{program}").exists()
    assert not Path(folder).exists()


def memory_of(pid: int | str, key: str = "VmRSS") -> int:
    """Memory of a process in kB."""
    return int(Path(f"/proc/{pid}/status").read_text().split(f"{key}:")[1].split()[0])


def test_two_thousand_batches_leave_memory_and_files_as_they_are(running: Simulation) -> None:
    session = session_of(running)
    processes = (os.getpid(), session._process.pid)

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
    assert not session._folder.exists()


def test_a_batch_of_256_images_takes_less_than_a_gigabyte() -> None:
    rng = np.random.default_rng(0)
    times = np.where(rng.random((256, 784)) < 0.19, rng.uniform(0, 20e-3, (256, 784)), np.inf)
    before = memory_of("self")
    with Simulation(
        load_network("mnist"), MaxVoltageCrossEntropy(), batch_size=256, dt=0.5e-3, target="cpp_standalone"
    ) as s:
        s.run({"input": times}, rng.integers(0, 10, 256))
        program = memory_of(session_of(s)._process.pid, "VmHWM")
        ours = memory_of("self") - before
    assert program + ours < 1e6  # kB


def test_a_full_disk_is_an_error_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr("snnmodels.brian.worker._memory_folder", lambda: str(tmp_path))
    with pytest.raises(WorkerError, match="No space left on device"):
        simulation()
    assert not list(tmp_path.iterdir())


def test_without_a_compiler_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(CompilerMissing, match=r"g\+\+ is not installed: apt-get install g\+\+"):
        simulation()


def test_the_second_start_compiles_nothing(running: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(build_cache, "_compile", never)
    with simulation() as s:
        assert s.run(INPUTS, LABELS).loss == running.run(INPUTS, LABELS).loss


def test_the_cache_tells_networks_apart() -> None:
    from snnmodels.brian.plan import Plan

    network = small()
    options = {"batch_size": 6, "dt": 0.5e-3, "form": "dense"}
    same = build_cache.fingerprint(Plan.of(network, **options))  # type: ignore[arg-type]
    other_weights = load_network("yin_yang", seed=9, hidden={"n": 12}, duration="40*ms")
    assert same == build_cache.fingerprint(Plan.of(other_weights, **options))  # type: ignore[arg-type]
    for changed in ({"batch_size": 7}, {"dt": 0.25e-3}, {"timing": "grid"}, {"max_spikes": 10}):
        assert same != build_cache.fingerprint(Plan.of(network, **(options | changed)))  # type: ignore[arg-type]
