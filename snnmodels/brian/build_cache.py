"""Compiled programs, kept by what they are made from so that the same network starts at once the second time.

The sources that Brian2 writes are compiled as one unit: every file of theirs reads the same headers, which take
nearly all of the time. A program's key is a hash of the plan it was made from, the code that wrote it, the compiler and
its flags, so that finding it takes no generation. Files of the cache appear atomically.
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import brian2
import numpy as np

from .. import __version__
from ..compilation import BuildFailed, cache_folder, compiler, native
from .plan import Plan

__all__ = ["Built", "build"]


@dataclass(frozen=True)
class Built:
    """A compiled program and the layout of its exchange file."""

    program: Path
    fields: Mapping[str, tuple[int, int, str]]
    size: int


def build(plan: Plan, generate: Callable[[Plan, Path], tuple[Mapping[str, Any], int]]) -> Built:
    """The compiled program of a plan, from the cache or made now.

    Parameters
    ----------
    plan : Plan
    generate : callable
        Writes the sources of a plan into a folder; returns the fields of the exchange file and its size.

    Raises
    ------
    BuildFailed
        If the compiler refuses the sources.
    """
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / fingerprint(plan)
    if not (folder / "layout.json").exists():
        with tempfile.TemporaryDirectory(dir=cache, prefix="building-") as temporary:
            work = Path(temporary)
            fields, size = generate(plan, work)
            _compile(work)
            finished = work / "finished"
            finished.mkdir()
            shutil.move(work / "main", finished / "main")
            shutil.move(work / "static_arrays", finished / "static_arrays")
            layout = {"size": size, "fields": {k: [f.offset, f.size, f.dtype] for k, f in fields.items()}}
            (finished / "layout.json").write_text(json.dumps(layout))
            try:
                finished.rename(folder)
            except OSError:  # somebody else was faster
                if not (folder / "layout.json").exists():
                    raise
    layout = json.loads((folder / "layout.json").read_text())
    return Built(folder / "main", {k: tuple(v) for k, v in layout["fields"].items()}, layout["size"])


def fingerprint(plan: Plan) -> str:
    """Hash of everything that the program depends on: the plan, this package's code, Brian2, the compiler."""
    network = plan.network
    parts: list[object] = [
        __version__,
        brian2.__version__,
        np.__version__,
        _command(),
        native(tuple(compiler())),
        _package_hash(),
    ]
    parts += [plan.batch_size, plan.dt, plan.steps, plan.timing, plan.observable, plan.variable, plan.sample_steps]
    parts += [plan.form, plan.dtype, plan.input_gradients, plan.max_spikes, plan.input_spikes, network.output]
    parts += [(s.name, s.n) for s in network.inputs]
    for name, p in plan.populations.items():
        model = p.population.model
        parts += [name, p.population.n, p.grid.key, model.threshold, [p.per_neuron(k) for k in model.parameters]]
    for q in network.projections:
        parts += [q.name, q.source, q.target, q.receptor, q.weights.shape, q.learnable]
        parts.append(None if q.mask is None else hashlib.sha256(np.packbits(q.mask).tobytes()).hexdigest())
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]


@functools.cache
def _package_hash() -> str:
    """Hash of the modules and templates that write the program."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for package in ("brian", "symbolic"):
        for file in sorted((root / package).rglob("*")):
            if file.suffix in (".py", ".cpp"):
                digest.update(file.read_bytes())
    return digest.hexdigest()


def _command() -> list[str]:
    words = compiler()
    if shutil.which("ccache"):
        words.insert(0, "ccache")
    # GCC halves the vectors of some processors if it is not asked for whole ones; other architectures know no such flag
    wide = ["-mprefer-vector-width=512"] if platform.machine() in ("x86_64", "AMD64") else []
    # with fused multiply-adds results agree with numpy's up to rounding, not in every bit
    return [
        *words,
        "-std=c++17",
        "-O3",
        "-march=native",
        *wide,
        "-ffp-contract=fast",
        "-fno-math-errno",
        "-fopenmp-simd",
        "-w",
        "-I.",
        "-Ibrianlib",
    ]


def _compile(folder: Path) -> None:
    """Compile all generated sources as one unit."""
    parts = []
    for number, file in enumerate(sorted((folder / "code_objects").glob("*.cpp"))):
        text = file.read_text()
        # every file has helper functions of the same names in an unnamed namespace; in one unit they need names
        text, found = re.subn(r"(/+ SUPPORT CODE /+\s*)namespace\s*\{", rf"\1namespace unit_{number} {{", text)
        if found:
            text = text.replace("using namespace brian;", f"using namespace brian; using namespace unit_{number};")
        parts.append(text)
    others = ("brianlib/spikequeue.cpp", "network.cpp", "objects.cpp", "run.cpp", "synapses_classes.cpp", "main.cpp")
    parts += [(folder / name).read_text() for name in others if (folder / name).exists()]
    (folder / "unit.cpp").write_text("\n".join(parts))
    result = subprocess.run(
        [*_command(), "unit.cpp", "-o", "main"], cwd=folder, capture_output=True, text=True, check=False
    )
    if result.returncode:
        errors = [line for line in result.stderr.splitlines() if "error" in line][:5] or result.stderr.splitlines()[:5]
        raise BuildFailed("the C++ compiler refused the generated program: " + " | ".join(errors))
