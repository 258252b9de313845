"""A program that stays alive: what it is asked, how it ends, and that nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from snnmodels.targets import process
from snnmodels.targets.process import Process, ProgramError
from tests.interruptions import ctrl_c, ctrl_c_at

# Answers as a compiled simulation does; `flip` turns the bits of the first byte that both sides share.
PROGRAM = """#!{python}
import mmap, os, sys
with open(os.environ["SNNMODELS_EXCHANGE"], "r+b") as file:
    print("ready", flush=True)
    for line in sys.stdin:
        match line.split():
            case ["flip"]:
                with mmap.mmap(file.fileno(), 0) as memory:
                    memory[0] ^= 255
                print("done", flush=True)
            case ["fail", *what]:
                print("failure", *what, flush=True)
            case ["die"]:
                print("something  broke", file=sys.stderr, flush=True)
                os._exit(7)
            case _:
                print("what?", flush=True)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.write_text(PROGRAM.format(python=sys.executable))
    path.chmod(0o755)
    return path


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which shared files are made."""
    folder = tmp_path / "memory"
    folder.mkdir()
    monkeypatch.setattr(process, "memory_folder", lambda: str(folder))
    return folder


def test_both_sides_see_the_same_memory(program: Path, memory: Path) -> None:
    running = Process(program, 100)
    assert running.memory.tolist() == [0] * 100
    running.memory[0] = 1
    assert running.ask("flip") == ""
    assert running.memory[0] == 254
    running.resize(5000)
    assert running.memory.shape == (5000,) and not running.memory.any()
    assert running.ask("flip") == ""
    assert running.memory[0] == 255
    assert not list(memory.iterdir())
    running.close()
    running.close()
    assert running.popen.returncode is not None
    with pytest.raises(ProgramError, match="the compiled simulation was closed; it said: nothing"):
        running.ask("flip")


def test_a_failure_is_told(program: Path) -> None:
    running = Process(program)
    assert running.ask("fail cascade 1 2 0.5") == "cascade 1 2 0.5"
    assert running.ask("fail again") == "again"
    running.close()


def test_an_answer_that_is_none(program: Path) -> None:
    running = Process(program)
    with pytest.raises(ProgramError, match=r"answered wrongly; it said: what\?"):
        running.ask("sing")
    running.close()


def test_what_it_says_before_it_dies_is_in_the_error(program: Path, memory: Path) -> None:
    running = Process(program)
    with pytest.raises(ProgramError, match="ended with status 7; it said: something broke"):
        running.ask("die")
    running.close()


def test_a_killed_program_is_an_error(program: Path) -> None:
    running = Process(program)
    running.popen.kill()
    with pytest.raises(ProgramError, match="ended with status -9; it said: nothing"):
        running.ask("flip")
    running.close()


def test_a_program_that_does_not_start(program: Path, memory: Path) -> None:
    program.write_text("#!/bin/sh\necho no room for it >&2\nexit 3\n")
    with pytest.raises(ProgramError, match="ended with status 3; it said: no room for it"):
        Process(program)
    assert not list(memory.iterdir())


def test_a_full_disk_is_an_error_and_leaves_nothing(
    program: Path, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ProgramError, match=r"of 2\.0 MB can't be made in .*memory: No space left on device; make room"):
        Process(program, 2_000_000)
    assert not list(memory.iterdir())


def test_it_ends_when_nobody_holds_it(program: Path) -> None:
    running = Process(program, 64)
    popen, view = running.popen, running.memory[:8].view(float)
    del running
    assert popen.returncode is not None
    np.testing.assert_array_equal(view, 0)


@pytest.mark.parametrize("method", ["usable", "flip", "die", "close"])
def test_it_ends_wherever_an_interruption_comes(program: Path, method: str) -> None:
    files = {process.__file__, subprocess.__file__}
    for line in range(1, 100):
        running = Process(program)
        counted: list[int] = []
        with contextlib.suppress(KeyboardInterrupt, ProgramError), ctrl_c_at(line, files, counted):
            match method:
                case "usable":
                    assert running.usable
                case "close":
                    running.close()
                case _:
                    running.ask(method)
        try:
            with ctrl_c(10):
                running.close()
        except KeyboardInterrupt:
            pytest.fail(f"close() waits for ever after an interruption at line {line}")
        assert running.popen.returncode is not None
        assert not running.usable
        if counted[0] < line:
            break
    assert 3 < line < 99


def test_it_ends_with_its_parent(program: Path, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys, time\nfrom pathlib import Path\nfrom snnmodels.targets.process import Process\n"
        "running = Process(Path(sys.argv[1]), 64)\nprint(running.popen.pid, flush=True)\ntime.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script), str(program)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    os.kill(pid, 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()


def script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_a_kill_during_a_start_leaves_nothing_in_memory(tmp_path: Path) -> None:
    program = script(tmp_path / "program", "#!/bin/sh\necho $$ > started\nexec sleep 600\n")
    memory = tmp_path / "memory"
    memory.mkdir()
    starter = (
        "import sys\nfrom pathlib import Path\nfrom snnmodels.targets import process\n"
        "process.memory_folder = lambda: sys.argv[2]\nprocess.Process(Path(sys.argv[1]), 5000)\n"
    )
    started = subprocess.Popen([sys.executable, "-c", starter, str(program), str(memory)])
    pid = ""
    for _ in range(400):
        with contextlib.suppress(FileNotFoundError):
            pid = (tmp_path / "started").read_text().strip()
        if pid:
            break
        time.sleep(0.05)
    started.kill()
    started.wait()
    os.kill(int(pid), signal.SIGKILL)
    assert os.listdir(memory) == []


def test_a_start_that_fails_holds_no_memory_while_its_error_is_held(tmp_path: Path, memory: Path) -> None:
    program = script(tmp_path / "program", "#!/bin/sh\nexit 3\n")

    def held() -> list[str]:
        links = [os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")]
        return [link for link in links if link.startswith(str(memory))]

    with pytest.raises(ProgramError, match="ended with status 3") as error:
        Process(program, 1_000_000)
    assert error.value.__traceback__ is not None
    assert held() == []
    assert os.listdir(memory) == []


@pytest.mark.parametrize(("mode", "text"), [(0o644, "#!/bin/sh\n"), (0o755, "\x7fELF"), (0o755, "#!/no/such/shell\n")])
def test_a_program_that_may_not_be_started(tmp_path: Path, memory: Path, mode: int, text: str) -> None:
    program = script(tmp_path / "program", text)
    program.chmod(mode)
    with pytest.raises(ProgramError, match=rf"{program} can't be started \(.*; allow .*, or set SNNMODELS_CACHE to"):
        Process(program, 64)
    assert os.listdir(memory) == []


def test_no_folder_for_the_exchange_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "memory_folder", lambda: str(tmp_path / "nowhere"))
    with pytest.raises(ProgramError, match=r"exchange file of 2\.0 MB can't be made in .*nowhere: No such file"):
        Process(tmp_path / "program", 2_000_000)
