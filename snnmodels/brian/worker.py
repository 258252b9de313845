"""A compiled simulation that stays alive: C++ standalone, one program for many batches.

Brian2's standalone mode writes a program that runs once. Here its main() is a loop that waits for a word on standard
input, finds the arrays in a file that both sides have mapped into memory, runs forward or backward, and answers; the
other side of that is `snnmodels.targets.process`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import brian2
import numpy as np
from brian2 import defaultclock, second
from brian2.core.variables import Variable
from brian2.devices.device import get_device

from ..targets.devices import alone, cpp_preferences, preferences, quiet, require_compiler
from ..targets.process import EXCHANGE, Process
from .assembly import Assembly
from .build_cache import Field, build
from .initialisation import Copy, Fill, Initialisation
from .plan import Plan
from .session import Session

__all__ = ["StandaloneSession"]


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
        with preferences(cpp_preferences()), quiet():
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
    BuildFailed
        If it refuses the program.
    ProgramError
        If the program dies or stops answering.
    """

    def __init__(self, plan: Plan) -> None:
        require_compiler()
        with alone():
            built = build(plan, generate)
        self._fields = built.fields
        self._process = Process(built.program, built.size)
        self._views: dict[str, np.ndarray] = {}

    def _view(self, key: str) -> np.ndarray:
        if key not in self._views:
            f = self._fields[key]
            dtype = np.dtype(f.dtype)
            self._views[key] = self._process.memory[f.offset : f.offset + f.size * dtype.itemsize].view(dtype)
        return self._views[key]

    def write(self, key: str, values: np.ndarray) -> None:
        """Set an array; see `Session.write`."""
        self._view(key)[: np.size(values)] = np.ravel(values)

    def read(self, key: str) -> np.ndarray:
        """Read an array; see `Session.read`."""
        return self._view(key)

    def forward(self) -> None:
        """Simulate forward; see `Session.forward`."""
        self._process.ask("forward")

    def backward(self) -> None:
        """Simulate backward; see `Session.backward`."""
        self._process.ask("backward")

    def close(self) -> None:
        """End the program; see `Session.close`."""
        self._views.clear()
        self._process.close()
