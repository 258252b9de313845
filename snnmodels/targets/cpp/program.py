"""The program of a set of models, compiled once and kept by what it is made from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ...events import accuracy
from ...events.rules import Rules
from ...events.series import SeriesProgram
from ..cache import kept
from ..compilation import build, fingerprint
from ..process import EXCHANGE
from . import printer
from .series import flags

__all__ = [
    "FAST",
    "OF_MODELS",
    "OPTIONS",
    "RUNTIME",
    "UNITS",
    "Compiled",
    "models",
    "program",
    "source",
    "table",
    "units",
]

RUNTIME = Path(__file__).parent / "runtime"
OPTIONS = ("-std=c++17", "-fno-math-errno", "-fno-trapping-math", "-w", "-pthread")
_FLAGS = (*OPTIONS, "-march=native")
FAST = "-O3"
# What knows no model; Adam is to give NumPy's bits.
UNITS = {"general": ("-O2",), "program": ("-O2",), "sparse": ("-O2",), "adam": (FAST, "-ffp-contract=off")}
"""Files of the runtime that are compiled, and how."""
OF_MODELS = (_MODEL, _TABLE, _PROGRAM) = ("model", "models", "program")
"""What names of the cache begin with, of what is made of models."""


@dataclass(frozen=True)
class Compiled:
    """The ways to run a component that a program has, beside sweeps.

    Attributes
    ----------
    scatter : bool
        Whether arrivals can be scattered over the neurons of models whose rules allow it; see runtime/scatter.h.
    general : bool
        Whether there is the general way, without which every component has to be one that is swept; scattering falls
        back on it. See runtime/general.h.

    Raises
    ------
    ValueError
        For scattering without the general way.
    """

    scatter: bool
    general: bool

    def __post_init__(self) -> None:
        if self.scatter and not self.general:
            raise ValueError("scattering needs the general way to fall back on")


def units(ways: Compiled) -> dict[str, tuple[str, ...]]:
    """Those of `UNITS` that a program needs.

    Parameters
    ----------
    ways : Compiled
    """
    spared = {"sparse": ways.scatter, "general": ways.general}
    return {name: options for name, options in UNITS.items() if spared.get(name, True)}


def source(r: Rules, order: int, ways: Compiled) -> str:
    """One model with the function that makes a population of it, `maker`.

    Parameters
    ----------
    r : Rules
    order : int
        Of the steps of a nonlinear flow.
    ways : Compiled

    Returns
    -------
    str
        C++ of a file of its own.
    """
    header, kind = ("sweep.h", "SweptPopulation") if r.linear else ("nonlinear.h", "NonlinearPopulation")
    scattered = ways.scatter and r.scatters
    if scattered:
        header, kind = "scattered.h", "ScatteringPopulation"
    body = printer.model("Model", r, order, scatter=scattered, general=ways.general)
    differences = printer.divided_differences() if "expdd" in body else ""
    return f"""#include "{header}"
namespace snn {{
{differences}
namespace {{
{body}
}}
Neurons* MAKER() {{ return new {kind}<Model>(); }}
}}
"""


def models(
    rules: Sequence[Rules], tolerance: float, ways: Compiled
) -> tuple[list[tuple[str, tuple[str, ...]]], list[int]]:
    """The models of several groups, each once.

    Parameters
    ----------
    rules : sequence of Rules
        Of every group.
    tolerance : float
        Of nonlinear flows; it decides their order.
    ways : Compiled

    Returns
    -------
    sources : list of (str, tuple of str)
        C++ of each, and the compiler's options for it.
    numbers : list of int
        The model of every group.
    """
    order = accuracy.order(tolerance)
    made: dict[tuple[str, tuple[str, ...]], int] = {}
    numbers = []
    for r in rules:
        options = () if r.linear else tuple(flags([SeriesProgram.of(r.system)]))
        numbers.append(made.setdefault((source(r, order, ways), options), len(made)))
    return list(made), numbers


def table(makers: Sequence[str]) -> str:
    """C++ of the function that makes the neurons of a model by its number.

    Parameters
    ----------
    makers : sequence of str
        Names of the functions that make one, by model.
    """
    declared = " ".join(f"Neurons* {m}();" for m in makers)
    cases = " ".join(f"case {k}: return {m}();" for k, m in enumerate(makers))
    return (
        f"namespace snn {{ class Neurons; {declared}\n"
        f"Neurons* make_population(int model) {{ switch (model) {{ {cases} }} return nullptr; }} }}\n"
    )


def program(rules: Sequence[Rules], tolerance: float, ways: Compiled) -> tuple[Path, list[int]]:
    """The compiled program of the models of several groups, and which of its models each has.

    What knows no model, and every model, are compiled apart and kept, so that a network of known models is only linked.

    Parameters
    ----------
    rules : sequence of Rules
        Of every group of a plan.
    tolerance : float
        Of nonlinear flows; it decides their order.
    ways : Compiled
        What is not asked for need not be compiled.

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
    made, numbers = models(rules, tolerance, ways)
    makers = [f"make_{fingerprint(text, *options)[:16]}" for text, options in made]
    headers = b"".join(p.read_bytes() for p in sorted(RUNTIME.iterdir()))
    own = [(_MODEL, text, (FAST, *options, f"-DMAKER={m}")) for (text, options), m in zip(made, makers, strict=True)]
    runtime = [
        ("runtime", (RUNTIME / f"{unit}.cpp").read_text(), (*options, f'-DSNN_EXCHANGE="{EXCHANGE}"'))
        for unit, options in units(ways).items()
    ]
    # the longest first, so that none is waited for at the end: a model that is swept alone is short
    parts = [*(own + runtime if ways.general else runtime + own), (_TABLE, table(makers), ())]
    whole = [x for _, text, options in parts for x in (text, *options)]
    name = f"{_PROGRAM}-{fingerprint(*whole, *_FLAGS, headers)}"

    def link(folder: Path) -> Path:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            objects = list(pool.map(lambda part: _object(part[0], part[1], part[2], headers), parts))
        made = folder / "engine"
        build(objects, made, [*_FLAGS])
        return made

    return kept(name, link), numbers


def _object(what: str, text: str, options: Sequence[str], headers: bytes) -> Path:
    """One unit of the program, compiled."""

    def make(folder: Path) -> Path:
        file, made = folder / "unit.cpp", folder / "unit.o"
        file.write_text(text)
        build([file], made, [*_FLAGS, *options, f"-I{RUNTIME}", "-c"])
        return made

    return kept(f"{what}-{fingerprint(text, *options, *_FLAGS, headers)}", make)
