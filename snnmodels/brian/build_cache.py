"""Compiled programs, kept by what they are made from so that the same network starts at once the second time.

The sources that Brian2 writes are compiled as one unit. A program's key is a hash of the plan it was made from, the
code that wrote it, the compiler and its flags, so that finding it takes no generation.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import brian2
import numpy as np

from .. import __version__
from ..targets import compilation
from ..targets.cache import kept
from ..targets.one_unit import one_unit
from ..targets.process import EXCHANGE
from .plan import Plan

__all__ = ["Built", "Field", "build", "fingerprint"]


@dataclass(frozen=True)
class Field:
    """Place of one array in the exchange file."""

    offset: int
    size: int
    dtype: str


@dataclass(frozen=True)
class Built:
    """A compiled program, the arrays in its exchange file, and the length of that."""

    program: Path
    fields: Mapping[str, Field]
    size: int


def build(plan: Plan, generate: Callable[[Plan, Path], tuple[Mapping[str, Field], int]]) -> Built:
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
    OSError
        If the cache can't be used; see `kept`.
    """

    def make(folder: Path) -> Path:
        sources, finished = folder / "sources", folder / "finished"
        sources.mkdir()
        finished.mkdir()
        fields, size = generate(plan, sources)
        unit = sources / "simulation.cpp"
        unit.write_text(one_unit(sources))
        compilation.build([unit], finished / "main", [*_flags(), f"-I{sources}", f"-I{sources / 'brianlib'}"])
        shutil.move(sources / "static_arrays", finished / "static_arrays")
        layout = {"size": size, "fields": {k: dataclasses.astuple(f) for k, f in fields.items()}}
        (finished / "layout.json").write_text(json.dumps(layout))
        return finished

    folder = kept(f"grid-{fingerprint(plan)}", make)
    layout = json.loads((folder / "layout.json").read_text())
    return Built(folder / "main", {k: Field(*f) for k, f in layout["fields"].items()}, layout["size"])


def fingerprint(plan: Plan) -> str:
    """Hash of everything that the program depends on: the plan, this package's code, Brian2, the compiler."""
    network = plan.network
    parts: list[object] = [__version__, brian2.__version__, np.__version__, _flags(), _package_hash(), EXCHANGE]
    parts += [plan.batch_size, plan.dt, plan.steps, plan.timing, plan.observed, plan.sample_steps]
    parts += [plan.input_gradients, plan.max_spikes, plan.input_spikes, network.output]
    parts += [(s.name, s.n) for s in network.inputs]
    for name, p in plan.populations.items():
        model = p.population.model
        parts += [name, p.population.n, p.grid.key, model.threshold, [p.per_neuron(k) for k in model.parameters]]
    for q in network.projections:
        parts += [q.name, q.source, q.target, q.receptor, q.weights.shape, q.learnable]
        parts.append(None if q.mask is None else hashlib.sha256(np.packbits(q.mask).tobytes()).hexdigest())
    return compilation.fingerprint(*parts)


@functools.cache
def _package_hash() -> str:
    """Hash of the modules that write the program."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    written = [file for package in ("brian", "symbolic") for file in sorted((root / package).rglob("*.py"))]
    for file in (*written, *(root / "targets" / f"{name}.py" for name in ("devices", "one_unit", "process"))):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _flags() -> list[str]:
    # GCC halves the vectors of some processors if it is not asked for whole ones; other architectures know no such flag
    wide = ["-mprefer-vector-width=512"] if platform.machine() in ("x86_64", "AMD64") else []
    # with fused multiply-adds results agree with numpy's up to rounding, not in every bit
    return ["-std=c++17", "-O3", "-march=native", *wide, "-ffp-contract=fast", "-fno-math-errno", "-w"]
