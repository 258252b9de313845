"""How a contender is run: a process of its own that is asked for rounds of training batches and answers with times.

Standard library and NumPy only, so that a peer runs in an environment without this project.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

__all__ = ["Contender", "ContenderFailed", "Meter", "Process", "Task", "round_of", "serve"]

# One thread each, for fair CPU times; set for all processes, before anything reads them.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}
_ANSWER = "@benchmark "
_WARM_UP = 3  # batches before the first round; JAX compiles again at the second and third one


@dataclass(frozen=True)
class Task:
    """Trials of a two-layer classification task, and the network that all contenders simulate.

    Attributes
    ----------
    settings : mapping
        ``network``, ``sizes``, ``spiking`` (whether the output is), ``duration``, ``dt``, ``tau_m``, ``tau_syn``
        (seconds), ``batch_size``, ``tau0``, ``tau1``, ``alpha`` (of the loss on first spikes), ``description``.
    times : array, shape (trials, n_in)
        Input spikes in seconds, ``inf`` for none.
    labels : int array, shape (trials,)
    weights : tuple of two arrays, shapes (n_in, n_hidden) and (n_hidden, n_out)
    """

    settings: Mapping[str, Any]
    times: np.ndarray
    labels: np.ndarray
    weights: tuple[np.ndarray, np.ndarray]

    def save(self, path: Path) -> None:
        """Write to a file."""
        first, second = self.weights
        settings = json.dumps(dict(self.settings))
        np.savez(path, settings=settings, times=self.times, labels=self.labels, first=first, second=second)

    @classmethod
    def load(cls, path: Path) -> Task:
        """Read from a file."""
        with np.load(path, allow_pickle=False) as f:
            return cls(json.loads(str(f["settings"])), f["times"], f["labels"], (f["first"], f["second"]))

    def batch(self, k: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
        """Times and labels of batch k; after the last batch the first one comes again."""
        place = k % (len(self.labels) // batch_size) * batch_size
        chosen = slice(place, place + batch_size)
        return self.times[chosen], self.labels[chosen]


class Meter:
    """CPU and wall time of named sections, and peak memory, of this process and its children."""

    def __init__(self) -> None:
        self.cpu: dict[str, list[float]] = {}
        self.wall: dict[str, list[float]] = {}
        self._children = _children()

    def find_children(self) -> None:
        """Look for child processes; to be called when they have been started."""
        self._children = _children()

    def now(self) -> float:
        """CPU seconds so far."""
        # Linux makes the CPU clock of a process from its number, see clock_getcpuclockid(3)
        return time.process_time() + sum(time.clock_gettime((~pid << 3) | 2) for pid in self._children)

    @contextlib.contextmanager
    def section(self, name: str, shares: int = 1) -> Iterator[None]:
        """Time what happens inside; one of `shares` equal parts of it counts."""
        wall, cpu = time.perf_counter(), self.now()
        yield
        self.cpu.setdefault(name, []).append((self.now() - cpu) / shares)
        self.wall.setdefault(name, []).append((time.perf_counter() - wall) / shares)

    def timed(self, name: str, function: Callable[..., None]) -> Callable[..., None]:
        """Return the function as a section."""

        def wrapped(*arguments: Any) -> None:
            with self.section(name):
                function(*arguments)

        return wrapped

    def clear(self) -> None:
        """Forget the sections."""
        self.cpu.clear()
        self.wall.clear()

    def peak_memory(self) -> float:
        """Largest resident memory so far in MB, of this process and of its present children, added up."""
        return sum(peak(pid) for pid in (os.getpid(), *self._children)) / 1000


def _children() -> list[int]:
    found: list[int] = []
    for file in Path("/proc/self/task").glob("*/children"):
        found += map(int, file.read_text().split())
    return found


def peak(pid: int) -> float:
    """Largest resident memory of a process so far, in kB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return float(line.split()[1]) * 1.024
    return 0.0


class Contender(ABC):
    """One implementation of training on a task.

    Parameters
    ----------
    task : Task
    meter : Meter
        Gets the sections ``batch`` and, where they can be told apart, ``forward`` and ``backward``.
    options : mapping
        What the runner passes on.

    Attributes
    ----------
    together : int
        Batches that it is given at once.
    """

    together = 1

    def __init__(self, task: Task, meter: Meter, options: Mapping[str, Any]) -> None:
        self.task, self.meter, self.options = task, meter, options
        self.batch_size = int(options.get("batch_size") or task.settings["batch_size"])

    @abstractmethod
    def step(self, times: np.ndarray, labels: np.ndarray) -> None:
        """Train on a batch: forward, loss, backward, Adam."""

    def steps(self, batches: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        """Train on `together` batches, one after the other."""
        for times, labels in batches:
            self.step(times, labels)

    def hidden_spikes(self) -> float | None:
        """Spikes of the hidden population per trial in the last batch, where known."""
        return None

    def close(self) -> None:
        """Free what was taken; nothing by default."""
        return


def serve(kind: Callable[[Task, Meter, Mapping[str, Any]], Contender], version: str) -> None:
    """Answer the runner until it closes standard input. Arguments of the program: file of the task, options in JSON."""
    task, options, meter = Task.load(Path(sys.argv[1])), json.loads(sys.argv[2]), Meter()
    started, cpu, compiled = time.perf_counter(), meter.now(), _finished_children()
    contender = kind(task, meter, options)
    meter.find_children()
    if options.get("first_batch_counts"):  # compiled at its first use
        contender.step(*task.batch(0, contender.batch_size))
    ready = {"wall": time.perf_counter() - started, "cpu": meter.now() - cpu + _finished_children() - compiled}
    _answer({"version": version, "start": ready, "batch_size": contender.batch_size})
    for count, line in enumerate(sys.stdin):
        batches, seconds = int(line.split()[0]), float(line.split()[1])
        _answer(round_of(contender, batches, seconds, warm_up=count == 0))
    contender.close()


def round_of(contender: Contender, batches: int, seconds: float, *, warm_up: bool) -> dict[str, Any]:
    """Train on batches, for some seconds at most, and return the times of each, peak memory and hidden spikes."""
    task, meter = contender.task, contender.meter
    for k in range(0, _WARM_UP if warm_up else 0, contender.together):
        contender.steps(_some(task, k, contender))
    meter.clear()
    began = time.perf_counter()
    for k in range(0, batches, contender.together):
        contender.steps(_some(task, k, contender))
        if time.perf_counter() - began > seconds:
            break
    answer = {"cpu": meter.cpu, "wall": meter.wall, "memory": meter.peak_memory()}
    return answer | {"hidden_spikes": contender.hidden_spikes()}


def _some(task: Task, k: int, contender: Contender) -> list[tuple[np.ndarray, np.ndarray]]:
    """As many batches from number k on as the contender takes at once."""
    return [task.batch(k + i, contender.batch_size) for i in range(contender.together)]


def _finished_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _answer(content: Mapping[str, Any]) -> None:
    print(_ANSWER + json.dumps(content), flush=True)


class ContenderFailed(RuntimeError):
    """A contender's process ended; the message holds the end of what it printed."""


class Process:
    """The runner's end: starts a contender and asks it for rounds.

    Parameters
    ----------
    module : str
        What ``python -m`` runs.
    task : Path
    options : mapping
    python : str
        Interpreter, of another environment for a peer.
    environment : mapping
        Additional environment variables.

    Raises
    ------
    ContenderFailed
        If it can't start.
    """

    def __init__(
        self,
        module: Sequence[str],
        task: Path,
        options: Mapping[str, Any],
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._process = subprocess.Popen(
            [python, "-m", *module, str(task), json.dumps(dict(options))],
            env={**os.environ, **ONE_THREAD, **(environment or {})},
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            self.ready = self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def round(self, batches: int, seconds: float) -> dict[str, Any]:
        """Train on some batches, fewer if that takes longer than `seconds`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{batches} {seconds}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ContenderFailed("the process has ended") from None
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        said: list[str] = []
        for line in self._process.stdout:
            if line.startswith(_ANSWER):
                return json.loads(line.removeprefix(_ANSWER))
            said.append(line.strip())
        raise ContenderFailed(" | ".join(x for x in said[-3:] if x) or "ended without a word")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
