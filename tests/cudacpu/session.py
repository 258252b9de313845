"""The portable form on the emulator, through Brian2CUDA: what a `GridSimulation` runs on, as CUDA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import brian2
import numpy as np
from brian2 import defaultclock, second
from brian2.core.variables import Variable

from snnmodels.brian.assembly import Assembly
from snnmodels.brian.brian2cuda import generating_cuda
from snnmodels.brian.initialisation import Copy, Fill, Initialisation
from snnmodels.brian.plan import Plan
from snnmodels.brian.session import Session
from snnmodels.targets.devices import quiet
from tests.cudacpu import cudacpu

PHASES = ("forward", "backward")


class EmulatedSession(Session):
    """Runs the forward and the backward simulation of a plan as a CUDA project on the emulator.

    The program runs once and ends: `forward` runs its first half alone, `backward` all of it.

    Parameters
    ----------
    plan : Plan
    folder : Path
        For the project and what is made of it.
    check : str
        As `cudacpu.build` takes it.

    Attributes
    ----------
    options : dict
        For `cudacpu.run`: order of threads, size of blocks.
    """

    def __init__(self, plan: Plan, folder: Path, check: str = "none") -> None:
        self.options: dict[str, Any] = {}
        self._out = folder / check
        self._phase = 0
        project = folder / "project"
        with generating_cuda(), quiet():
            brian2.set_device("cuda_standalone", directory=None, build_on_run=False)
            try:
                defaultclock.dt = plan.dt * second
                assembly = Assembly(plan)
                self._variables = {
                    key: [(brian2.device.get_array_name(v), v.size, np.dtype(v.dtype)) for v in variables]
                    for key, variables in assembly.arrays.items()
                }
                self._results = {
                    key: Path(brian2.device.get_array_filename(v[0])).name for key, v in assembly.arrays.items()
                }
                networks = (assembly.forward, assembly.backward)
                initial = (assembly.initial_forward, assembly.initial_backward)
                for phase, network, items in zip(PHASES, networks, initial, strict=True):
                    brian2.device.insert_code("main", self._reading(phase) + _initialising(items))
                    network.run(assembly.duration, namespace={})
                    if phase == "forward":
                        brian2.device.insert_code("main", 'if (std::ifstream("halt")) { brian_end(); return 0; }')
                brian2.device.build(directory=str(project), compile=False, run=False)
            finally:
                brian2.device.reinit()
                brian2.set_device("runtime")
        cudacpu.build(project, self._out, check=check)

    def _reading(self, phase: str) -> str:
        """C++ that reads files into the first elements of arrays, where there are any."""
        return "\n".join(
            f'if (std::ifstream _f{{"{phase}_{name}", std::ios::binary}}) {{'
            f" _f.read((char*){name}, {size}*sizeof({name}[0]));"
            f" cudaMemcpy(dev{name}, {name}, {size}*sizeof({name}[0]), cudaMemcpyHostToDevice); }}"
            for variables in self._variables.values()
            for name, size, _ in variables
        )

    def write(self, key: str, values: np.ndarray) -> None:
        for name, _, dtype in self._variables[key]:
            np.ravel(values).astype(dtype).tofile(self._out / f"{PHASES[self._phase]}_{name}")

    def forward(self) -> None:
        (self._out / "halt").touch()
        self._run()
        (self._out / "halt").unlink()
        self._phase = 1

    def backward(self) -> None:
        self._run()
        self._phase = 0

    def _run(self) -> None:
        done = cudacpu.run(self._out, timeout=300, **self.options)
        assert done.returncode == 0, done.stderr[-3000:]

    def read(self, key: str) -> np.ndarray:
        _, _, dtype = self._variables[key][0]
        return np.fromfile(self._out / "results" / self._results[key], dtype)

    def close(self) -> None:
        """Nothing to release."""


def _initialising(items: Initialisation) -> str:
    """C++ that does on the device what `Initialisation` says."""

    def name(v: Variable) -> str:
        return str(brian2.device.get_array_name(v))

    lines = []
    for item in items:
        v, size = name(item.variable), int(item.variable.size)
        match item:
            case Fill(value=value, stride=stride):
                right = f"{value!r} + {stride!r}*_i"
            case Copy(source=source, offset=offset):
                s = name(source)
                lines.append(f"cudaMemcpy({s}, dev{s}, {size}*sizeof({s}[0]), cudaMemcpyDeviceToHost);")
                right = f"{s}[_i] + {offset!r}"
        lines.append(f"for (int _i = 0; _i < {size}; _i++) {v}[_i] = {right};")
        lines.append(f"cudaMemcpy(dev{v}, {v}, {size}*sizeof({v}[0]), cudaMemcpyHostToDevice);")
    return "\n".join(["", *lines])
