"""A compiled simulation that stays alive: C++ standalone, one program for many batches.

Brian2's standalone mode writes a program that runs once. Here its main() is a loop that waits for a word on standard
input, takes the arrays from a file that both sides have mapped into memory, runs forward or backward, and answers. So a
batch costs no process start, no creation of synapses and no parsing, and losses and optimisers stay in Python.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import brian2
import numpy as np
from brian2 import defaultclock, second
from brian2.core.variables import Variable
from brian2.devices.device import get_device

from . import build_cache
from .assembly import Assembly
from .initialisation import Copy, Fill, Initialisation
from .plan import Plan
from .session import Session
from .standalone import cpp_preferences, preferences, quiet, require_compiler

__all__ = ["StandaloneSession", "WorkerError"]


EXCHANGE = "SNNMODELS_EXCHANGE"


class WorkerError(RuntimeError):
    """The compiled program died or didn't answer; the message holds what it printed."""


@dataclass(frozen=True)
class Field:
    """Place of one array in the exchange file."""

    offset: int
    size: int
    dtype: str


def _layout(assembly: Assembly) -> tuple[dict[str, Field], int]:
    fields: dict[str, Field] = {}
    end = 0
    for key, (v, *_) in assembly.arrays.items():
        dtype = np.dtype(v.dtype)
        fields[key] = Field(end, int(v.size), dtype.str)
        end += -(-int(v.size) * dtype.itemsize // 64) * 64
    return fields, max(end, 64)


class _Program:
    """C++ lines around the two runs."""

    def __init__(self, assembly: Assembly, fields: dict[str, Field]) -> None:
        self.assembly, self.fields = assembly, fields

    def _name(self, v: Variable) -> str:
        return get_device().get_array_name(v)

    def initialise(self, items: Initialisation) -> str:
        lines = []
        for item in items:
            name, size = self._name(item.variable), int(item.variable.size)
            match item:
                case Fill(value=value, stride=stride):
                    right = f"{value!r} + {stride!r}*_i" if stride else repr(value)
                case Copy(source=source, offset=offset):
                    right = f"{self._name(source)}[_i] + {offset!r}" if offset else f"{self._name(source)}[_i]"
            lines.append(f"for (int _i = 0; _i < {size}; _i++) {name}[_i] = {right};")
        return "\n".join(lines)

    def opening(self, size: int) -> str:
        return f"""
    const char* _path = std::getenv("{EXCHANGE}");
    if (!_path) {{ std::cerr << "{EXCHANGE} does not name the exchange file" << std::endl; return 2; }}
    const int _file = open(_path, O_RDWR);
    if (_file < 0) {{ std::cerr << "cannot open " << _path << ": " << strerror(errno) << std::endl; return 3; }}
    char* _exchange = (char*)mmap(0, {size}, PROT_READ | PROT_WRITE, MAP_SHARED, _file, 0);
    if (_exchange == MAP_FAILED) {{ std::cerr << "cannot map the exchange file: " << strerror(errno) << std::endl;
    return 3; }} {self._share()}
    std::cout << "ready" << std::endl;
    std::string _word;
    while (std::cin >> _word)
    {{
        if (_word == "quit") break;
"""

    def _share(self) -> str:
        """Put the arrays that both sides use into the mapped file: nothing is ever copied."""
        return "\n".join(
            f"{self._name(v)} = (decltype({self._name(v)}))(_exchange + {self.fields[key].offset});"
            for key, variables in self.assembly.arrays.items()
            for v in variables
        )

    def closing(self) -> str:
        # leave at once: Brian2's own end would write every array to a file
        return """
    }
    std::cout.flush();
    std::_Exit(0);
"""


@contextlib.contextmanager
def _device(directory: Path, plan: Plan) -> Iterator[None]:
    """Brian2's C++ device for a while; the runtime device and its clock are back afterwards."""
    previous = defaultclock.dt
    brian2.set_device("cpp_standalone", build_on_run=False, directory=str(directory))
    brian2.device.reinit()
    brian2.device.activate(build_on_run=False, directory=str(directory))
    try:
        floats = {"core.default_float_dtype": np.dtype(plan.dtype).type}
        with preferences(cpp_preferences() | floats), quiet():
            defaultclock.dt = plan.dt * second
            yield
    finally:
        brian2.device.reinit()
        brian2.set_device("runtime")
        defaultclock.dt = previous


def generate(plan: Plan, directory: Path) -> tuple[dict[str, Field], int]:
    """Write the sources of the program for a plan.

    Returns
    -------
    fields : dict of str to Field
        Layout of the exchange file.
    size : int
        Its length in bytes.
    """
    with _device(directory, plan):
        assembly = Assembly(plan)
        fields, size = _layout(assembly)
        program = _Program(assembly, fields)
        device = brian2.device
        for header in ("<cstring>", "<cerrno>", "<cstdlib>", "<fcntl.h>", "<sys/mman.h>"):
            device.headers.append(header)
        start = len(device.main_queue)
        device.insert_code("main", program.opening(size))
        runs = (
            ("forward", assembly.forward, assembly.initial_forward),
            ("backward", assembly.backward, assembly.initial_backward),
        )
        for word, network, initial in runs:
            opening = f'if (_word == "{word}") {{\n{program.initialise(initial)}\n{network.name}.t = 0;'
            device.insert_code("main", opening)
            network.run(assembly.duration, namespace={})
            device.insert_code("main", 'std::cout << "done" << std::endl;\n}')
        device.insert_code("main", program.closing())
        queue = device.main_queue
        once = [x for x in queue[start:] if x[0] == "before_run_code_object"]
        queue[:] = queue[:start] + once + [x for x in queue[start:] if x[0] != "before_run_code_object"]
        device.build(directory=str(directory), compile=False, run=False, with_output=False)
    return fields, size


class StandaloneSession(Session):
    """Runs a plan in a compiled program of its own.

    Raises
    ------
    CompilerMissing
        If there is no C++ compiler.
    WorkerError
        If the program can't be compiled, dies or stops answering.
    """

    def __init__(self, plan: Plan) -> None:
        require_compiler()
        self.plan = plan
        built = build_cache.build(plan, generate)
        self._fields = {k: Field(*v) for k, v in built.fields.items()}
        self._folder = Path(tempfile.mkdtemp(prefix="snnmodels-", dir=_memory_folder()))
        exchange = self._folder / "exchange"
        try:
            with exchange.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, built.size)
        except OSError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise WorkerError(
                f"the exchange file of {built.size / 1e6:.1f} MB can't be made in {self._folder.parent}: "
                f"{error.strerror}; make room there, or make batch_size or max_spikes smaller"
            ) from None
        self._map = np.memmap(exchange, dtype=np.uint8, mode="r+", shape=(built.size,))
        self._errors = (self._folder / "errors").open("w+")
        self._process = subprocess.Popen(
            [str(built.program)],
            env={**os.environ, EXCHANGE: str(exchange)},
            cwd=built.program.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            bufsize=1,
            start_new_session=True,  # Ctrl-C is for Python, which then ends the program
        )
        self._close = weakref.finalize(self, _end, self._process, self._errors, self._folder)
        self._views: dict[str, np.ndarray] = {}
        self._answer("ready")
        # both sides have what they need open, so nothing can be left behind, however they end
        shutil.rmtree(self._folder, ignore_errors=True)

    def _view(self, key: str) -> np.ndarray:
        if key not in self._views:
            f = self._fields[key]
            dtype = np.dtype(f.dtype)
            self._views[key] = np.asarray(self._map[f.offset : f.offset + f.size * dtype.itemsize]).view(dtype)
        return self._views[key]

    def write(self, key: str, values: np.ndarray) -> None:
        """Set an array; see `Session.write`."""
        self._view(key)[: np.size(values)] = np.ravel(values)

    def read(self, key: str) -> np.ndarray:
        """Read an array; see `Session.read`."""
        return self._view(key)

    def forward(self) -> None:
        """Simulate forward; see `Session.forward`."""
        self._ask("forward")

    def backward(self) -> None:
        """Simulate backward; see `Session.backward`."""
        self._ask("backward")

    def _ask(self, word: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            raise self._failure() from None
        self._answer("done")

    def _answer(self, expected: str) -> None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if line != expected:
            raise self._failure(line)

    def _failure(self, line: str = "") -> WorkerError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1)
        said = ""
        if not self._errors.closed:
            self._errors.seek(0)
            said = " ".join([line, *self._errors.read().split()]).strip()
        code = self._process.returncode
        how = (
            "was closed"
            if self._errors.closed
            else f"ended with status {code}"
            if code is not None
            else "answered wrongly"
        )
        return WorkerError(f"the compiled simulation {how}; it said: {said or 'nothing'}")

    def close(self) -> None:
        """End the program and delete the exchange file."""
        self._views.clear()
        self._close()


def _memory_folder() -> str | None:
    """A folder in memory where there is one, else the usual temporary folder."""
    folder = Path("/dev/shm")
    return str(folder) if folder.is_dir() and os.access(folder, os.W_OK) else None


def _end(process: subprocess.Popen[str], errors: object, folder: Path) -> None:
    """End the program and remove what belongs to it."""
    with contextlib.suppress(OSError, ValueError):
        assert process.stdin is not None
        process.stdin.close()  # end of input ends the loop
    try:
        process.wait(timeout=2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
    errors.close()  # type: ignore[attr-defined]
    shutil.rmtree(folder, ignore_errors=True)
