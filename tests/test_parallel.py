"""Many runs over executors: the same results as one after the other, and processes that end in good order."""

import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from snnmodels.parallel import WorkerPool, executor_from, run_all, some_executor
from snnmodels.templates.errors import TemplateError
from snnmodels.training import History, TrainingInterrupted, TrainingResult
from snnmodels.training.loop import CheckpointFailed
from tests.runs import dies, inverse, odd, whose

ROOT = Path(__file__).parents[1]


def test_results_come_in_the_order_of_the_items():
    told = []
    assert run_all(inverse, iter([4, 2]), each=lambda item, result: told.append((item, result))) == [0.25, 0.5]
    assert told == [(4, 0.25), (2, 0.5)]
    with ThreadPoolExecutor(2) as executor:
        assert run_all(inverse, range(1, 30), executor) == [1 / k for k in range(1, 30)]
    assert run_all(inverse, []) == []


@pytest.mark.parametrize("pooled", [False, True])
def test_an_error_names_the_item(pooled):
    with ThreadPoolExecutor(1) as executor, pytest.raises(ZeroDivisionError) as caught:
        run_all(inverse, [1, 0], executor if pooled else None)
    assert caught.value.__notes__ == ["of the run 0"]


def test_runs_that_have_not_begun_are_cancelled():
    class Waiting(Executor):
        def __init__(self):
            self.given = []

        def submit(self, function, /, *args, **kwargs):
            future = Future()
            if len(self.given) == 1:
                future.set_exception(KeyboardInterrupt())
            self.given.append(future)
            return future

    executor = Waiting()
    with pytest.raises(KeyboardInterrupt):
        run_all(inverse, range(3), executor)
    assert [f.cancelled() for f in executor.given] == [True, False, True]


def test_a_pool_of_processes():
    with WorkerPool(2) as pool:
        assert run_all(inverse, [4, 2], pool) == [0.25, 0.5]
        assert os.getpid() not in run_all(whose, [0, 1], pool)
        with pytest.raises(ZeroDivisionError) as caught:
            run_all(inverse, [1, 0], pool)
        assert caught.value.__notes__ == ["of the run 0"]
        # an error that can't be sent from one process to another is told, and does not end the pool
        with pytest.raises(RuntimeError, match="Odd: no way"):
            run_all(odd, [1], pool)
        assert run_all(inverse, [5], pool) == [0.2]
    with pytest.raises(ValueError, match="workers = 0; it must be a positive whole number"):
        WorkerPool(0)


def test_a_process_that_dies_does_not_blame_another_run():
    told = []
    with WorkerPool(2) as pool, pytest.raises(BrokenExecutor) as caught:
        run_all(dies, [1, 2, 3, 4, 5, 6], pool, each=lambda item, result: told.append(item))
    assert told == [1]
    assert caught.value.__notes__ == [
        "a process died, in one of the runs 2 and 3 or before it began: it was killed, as for want of memory, or can't "
        "start"
    ]


@pytest.mark.parametrize(
    "error",
    [
        TemplateError("a.toml", "n", "is none"),
        TrainingInterrupted("in epoch 2", TrainingResult({}, 1, History())),
        CheckpointFailed("disk full", TrainingResult({}, 1, History())),
    ],
)
def test_errors_travel_between_processes(error):
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert getattr(back, "result", None) == getattr(error, "result", None)
    assert vars(back).keys() == vars(error).keys()


def test_executors_by_name(tmp_path, monkeypatch):
    with executor_from("concurrent.futures:ThreadPoolExecutor") as executor:
        assert isinstance(executor, ThreadPoolExecutor)
    file = tmp_path / "cluster.py"
    file.write_text("from concurrent.futures import ThreadPoolExecutor\ndef two(): return ThreadPoolExecutor(2)\nx = 1")
    with some_executor(executor=f"{file}:two") as executor:
        assert run_all(inverse, [2], executor) == [0.5]
    with some_executor() as none:
        assert none is None
    for text, message in (
        ("cluster", "expected module:factory, as in cluster.py:executor"),
        ("nowhere:x", "nowhere can't be imported: No module named 'nowhere'"),
        (f"{tmp_path}/no.py:x", "no.py can't be imported"),
        (f"{file}:three", "has no function or class 'three'"),
        (f"{file}:x", "has no function or class 'x'"),
        ("builtins:dict", r"dict\(\) gave \{\}; expected an Executor"),
    ):
        with pytest.raises(ValueError, match=message):
            executor_from(text)
    with pytest.raises(ValueError, match="give one of them"), some_executor(2, f"{file}:two"):
        pass


# --- Ctrl-C, and processes that are killed ----------------------------------------------------------------------------

SCRIPT = """
import sys, time
from pathlib import Path
from snnmodels.parallel import WorkerPool, run_all

def wait(name):
    Path(name).touch()
    try:
        time.sleep(100)
    except KeyboardInterrupt:
        time.sleep(0.3)  # in which it puts things in order
        Path(name + ".ended").touch()
        raise

if __name__ == "__main__":
    try:
        with WorkerPool(2) as pool:
            run_all(wait, ["a", "b", "c", "d"], pool)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.exit(130)
"""


def session(pid):
    """Processes of a session that are alive."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == pid and fields[0] != "Z":
            found.append(int(status.parent.name))
    return found


def wait_for(condition, seconds=40.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("to", ["terminal", "parent", "kill"])
def test_no_process_is_left(tmp_path, to):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_for(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists())
        if to == "terminal":
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGINT if to == "parent" else signal.SIGKILL)
        out, errors = process.communicate(timeout=40)
        if to != "kill":
            assert (process.returncode, out, errors) == (130, "interrupted\n", "")
        wait_for(lambda: not session(process.pid))
        assert sorted(p.name for p in tmp_path.glob("*.ended")) == ["a.ended", "b.ended"]  # and c and d never began
        assert not (tmp_path / "c").exists()
    finally:
        for pid in session(process.pid):
            os.kill(pid, signal.SIGKILL)
