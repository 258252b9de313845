"""Brian2CUDA's device on the emulator: a script of Brian2 runs as on a GPU, and reads its monitors.

    python -m tests.cudacpu.device [--repaired] [--check race] [--order reverse] [--max-threads 32] SCRIPT.py

The script sets its device itself. What the emulator finds goes to standard error. With ``--repaired``, Brian2CUDA is
without the faults that snnmodels repairs.
"""

from __future__ import annotations

import argparse
import runpy
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from snnmodels.brian.brian2cuda import repaired_brian2cuda
from snnmodels.targets.devices import cuda_preferences, no_log_files, preferences
from tests.cudacpu import cudacpu


def built(directory: Path) -> Path:
    """Where what the emulator makes of a project is built."""
    return directory.with_name(f"{directory.name}-emulated")


@contextmanager
def on_the_emulator(check: str = "none", order: str = "forward", max_threads: int = 1024) -> Iterator[None]:
    """Let Brian2CUDA's device build and run its projects by `cudacpu` inside the block.

    Parameters
    ----------
    check, order, max_threads
        As `cudacpu.build` and `cudacpu.run` take them.
    """
    values = cuda_preferences()  # registers the device, too
    from brian2cuda.device import CUDAStandaloneDevice

    def compile_source(self: CUDAStandaloneDevice, directory: str, *_: object) -> None:
        project = Path(directory).resolve()
        sources = [name for name in self.writer.source_files if name.endswith(".cu")]
        cudacpu.build(project, built(project), check=check, sources=sources)
        shutil.copy2(built(project) / "main", project / "main")

    variables = [f"{name}={value}" for name, value in cudacpu.settings(order, max_threads).items()]
    values["devices.cpp_standalone.run_cmd_unix"] = ["env", *variables, "./main"]
    former = CUDAStandaloneDevice.compile_source
    CUDAStandaloneDevice.compile_source = compile_source
    try:
        with preferences(values):
            yield
    finally:
        CUDAStandaloneDevice.compile_source = former


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", choices=cudacpu.CHECKS, default="none")
    parser.add_argument("--order", default="forward")
    parser.add_argument("--max-threads", type=int, default=1024)
    parser.add_argument("--repaired", action="store_true")
    parser.add_argument("script", type=Path)
    a = parser.parse_args()
    no_log_files()
    with repaired_brian2cuda() if a.repaired else nullcontext(), on_the_emulator(a.check, a.order, a.max_threads):
        runpy.run_path(str(a.script), run_name="__main__")


if __name__ == "__main__":
    main()
