"""The program of a set of models for a GPU, compiled once and kept by what it is made from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ...events import accuracy
from ...events.rules import Rules
from ...symbolic.divided_differences import cpp_source
from ..cache import kept
from ..compilation import BuildFailed, Compiler, build, fingerprint
from ..cpp import printer
from ..numpy.crossing import CLOSE, ROUNDS
from ..process import EXCHANGE

__all__ = ["FLAGS", "compiler", "main_file", "models", "program", "sources"]

_RUNTIME = Path(__file__).parent / "runtime"
_SHARED = Path(__file__).parents[1] / "cpp" / "runtime"  # what does not know how neurons lie in memory is C++'s
_SHARED_FILES = ("adam.h", "exchange.h", "failure.h", "kinks.h", "ladder.h", "losses.h", "series.h", "taylor.h")
FLAGS = ("-std=c++17", "-O3", "-w", "--expt-relaxed-constexpr")


def compiler() -> list[str]:
    """Command of the CUDA compiler: ``$NVCC``, else nvcc.

    Raises
    ------
    BuildFailed
        If there is none.
    """
    words = (os.environ.get("NVCC") or "nvcc").split()
    if shutil.which(words[0]) is None:
        raise BuildFailed(
            f"target cuda_standalone needs the CUDA compiler, and {words[0]} is not there: install the CUDA toolkit, "
            "put nvcc on the path or name it in NVCC; target cpp_standalone needs only g++"
        )
    return words


def models(rules: Sequence[Rules], order: int) -> tuple[str, list[int]]:
    """The generated part of a program.

    Parameters
    ----------
    rules : sequence of Rules
        Of every group of a plan.
    order : int
        Of the steps of nonlinear flows.

    Returns
    -------
    source : str
        CUDA C++: structures of all models, and what the runtime has to know of them.
    numbers : list of int
        The model of every group.
    """
    made: dict[str, int] = {}
    infos: list[str] = []
    numbers = []
    for r in rules:
        text = printer.model("MODEL", r, order)
        if text not in made:
            made[text] = len(made)
            flags = ", ".join(printer.truth(q) for q in r.per_neuron) or "false"
            infos.append(
                f"{{{len(r.states)}, {len(r.parameters)}, {len(r.learnable)}, {printer.truth(r.shared)}, "
                f"{printer.truth(r.needs_states)}, {{{flags}}}}}"
            )
        numbers.append(made[text])
    bodies = [text.replace("struct MODEL {", f"struct Model{k} {{", 1) for text, k in made.items()]
    differences = cpp_source("__device__ inline") if any("expdd" in b for b in bodies) else ""
    cases = " ".join(f"case {k}: f(Tag<Model{k}>()); break;" for k in range(len(made)))
    most = max([1, *(len(r.parameters) for r in rules)])
    return (
        "\n".join(
            [
                "#pragma once",
                '#include "taylor.h"',
                "namespace snn {",
                "struct ModelInfo",
                f"{{ int states, parameters, learnable; bool shared, needs_states, per_neuron[{most}]; }};",
                "template<class M> struct Tag { using type = M; };",
                differences,
                *bodies,
                f"static const ModelInfo MODELS[] = {{{', '.join(infos)}}};",
                f"template<class F> SNN_INLINE void with_model(int k, F f) {{ switch (k) {{ {cases} }} }}",
                f"template<class F> inline void each_model(int k, F f) {{ switch (k) {{ {cases} }} }}",
                "}",
                "",
            ]
        ),
        numbers,
    )


def sources(rules: Sequence[Rules], tolerance: float) -> tuple[dict[str, str], list[int]]:
    """What a program of the models of several groups includes, but for its main file.

    Parameters
    ----------
    rules : sequence of Rules
        Of every group.
    tolerance : float
        Of nonlinear flows; it decides their order.

    Returns
    -------
    files : dict of str to str
        By name.
    numbers : list of int
        The model of every group.
    """
    text, numbers = models(rules, accuracy.order(tolerance))
    files = {p.name: p.read_text() for p in sorted(_RUNTIME.iterdir()) if p.suffix in (".cuh", ".h")}
    files["models.cuh"] = text
    limits = f"constexpr int ROUNDS = {ROUNDS};\nconstexpr double CLOSE = {CLOSE!r};"
    files["limits.cuh"] = f"#pragma once\nnamespace snn {{\n{limits}\n}}\n"
    files |= {name: (_SHARED / name).read_text() for name in _SHARED_FILES}
    return files, numbers


def main_file() -> str:
    """The file that is compiled, and includes `sources`."""
    return (_RUNTIME / "program.cu").read_text()


def program(rules: Sequence[Rules], tolerance: float = 1e-10) -> tuple[Path, list[int]]:
    """The compiled program of the models of several groups, and which of its models each has.

    Parameters
    ----------
    rules : sequence of Rules
        Of every group of a plan.
    tolerance : float
        Of nonlinear flows; it decides their order.

    Returns
    -------
    path : Path
    numbers : list of int
        The model of every group.

    Raises
    ------
    BuildFailed
        If there is no compiler, or it refuses the program.
    OSError
        If the cache can't be used; see `kept`.
    """
    files, numbers = sources(rules, tolerance)
    files["program.cu"] = main_file()
    by = Compiler(tuple(compiler()), "nvcc", "NVCC", for_processor=False)
    flags = [*FLAGS, f'-DSNN_EXCHANGE="{EXCHANGE}"']

    def make(folder: Path) -> Path:
        for name, content in files.items():
            (folder / name).write_text(content)
        made = folder / "engine"
        build([folder / "program.cu"], made, flags, by=by)
        return made

    name = f"cuda-{fingerprint(*flags, *(part for file in files.items() for part in file), by=by)}"
    return kept(name, make), numbers
