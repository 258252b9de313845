"""What can be trained: features and losses differentiated on every target, and what is refused.

    python scripts/trainable_table.py              # measure all, write docs/results/trainable.json and the page
    python scripts/trainable_table.py --only "masked weights"   # measure this again, and keep the others
    python scripts/trainable_table.py --missing    # go on where a run was ended, and on targets that it did not have
    python scripts/trainable_table.py --redraw     # the page again, from docs/results/trainable.json
    python scripts/trainable_table.py --quick      # two features, into output/trainable

A C++ compiler is needed. CUDA is measured where NVCC is set; NVCC="python tests/cudacpu/nvcc" runs it on the emulator.
The exit status is 1 if a gradient is beyond tolerance.
"""

from __future__ import annotations

from snnmodels.studies import scripts  # first: it sets the number of NumPy's threads

# isort: split

import argparse
import datetime
import multiprocessing
import os
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from snnmodels.files import atomic_file, read_json, write_rounded
from snnmodels.studies.trainable import DIFFERENCES, NEAR, cases, compare, features, measure, refusals
from snnmodels.symbolic import hybrid_system
from snnmodels.targets import Target
from snnmodels.targets.devices import require_compiler
from snnmodels.templates import load_model

Record = dict[str, Any]
FILE, PAGE = "results/trainable.json", "what_can_be_trained.md"
TARGETS = 1e-11  # how far one target may be from another, where flows are closed forms, as for projects
STEPPED = 1e-9  # and where they are Taylor steps
EMULATOR = 'its programs run by an emulator on the processor (`NVCC="python tests/cudacpu/nvcc"`), no GPU'
KINDS = (
    ("weights", "`<projection>.w`", "`(n_source, n_target)`", '`learnable=["w"]`, which is the default'),
    ("delay of a projection", "`<projection>.delay`", "`()`", '`learnable=["w", "delay"]`'),
    ("delays of each synapse", "`<projection>.delay`", "`(n_source, n_target)`", "the same, with an array of delays"),
    ("parameter of a population", "`<population>.<parameter>`", "`()`", '`Population(..., learnable=["tau_m"])`'),
    ("parameters of each neuron", "`<population>.<parameter>`", "`(n,)`", "the same, with an array of values"),
    ("weights of a drive", "`<drive>.w`", "`(channels, n)`", "`Drive(..., learnable=True)`"),
    ("times of input spikes", "`<input>.times`", "that of the input", "`input_gradients=True`; `train` leaves them"),
    ("samples of a current", "`<input>.samples`", "that of the input", "`input_gradients=True`; `train` leaves them"),
)


def _targets() -> tuple[Target, ...]:
    """What is compared with C++ here."""
    return ("numpy", "cuda_standalone") if os.environ.get("NVCC") else ("numpy",)


def _measure(name: str, had: Record | None = None) -> Record:
    """A row, or what it has not had yet of one."""
    feature = next(f for f in cases() if f.name == name)
    try:
        if had is None:
            return measure(feature, _targets())
        new = tuple(target for target in _targets() if target not in had["targets"])
        return had | {"targets": had["targets"] | compare(feature, new)}
    except (ValueError, RuntimeError) as error:
        return {"feature": name, "model": feature.model, "error": f"{type(error).__name__}: {error}"}


def failures(results: Mapping[str, Any]) -> list[str]:
    """What is beyond tolerance, one line each.

    Parameters
    ----------
    results : mapping
        As they are saved.
    """
    lines = []
    for r in results["features"]:
        if "error" in r:
            lines.append(f"{r['feature']}: {r['error']}")
            continue
        linear = hybrid_system(load_model(r["model"])).is_linear
        if "surrogate" not in r:
            lines += [f"{r['feature']}: {line}" for line in r["failures"]]
            if not r["oracle"] <= NEAR[linear]:
                lines.append(f"{r['feature']}: {r['oracle']:.1e} from the oracle")
        for target, apart in r["targets"].items():
            if isinstance(apart, str) or not apart <= (TARGETS if linear else STEPPED):
                lines.append(f"{r['feature']} on {target}: {apart}")
    lines += [f"not refused: {what}" for what, said in results["refused"] if not said]
    return lines


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.0e}"


def _cell(value: float | str | None) -> str:
    return f"**{value}**" if isinstance(value, str) else _number(value)


def _said(text: str) -> str:
    return "takes it" if not text else "refused"


def _general(r: Record) -> str:
    """What a time grid says, without the names of this network."""
    where, _, what = r["grid"].partition(": ")
    return (what or where).replace(r["model"], "the model")


def _row(r: Record) -> str:
    if "error" in r:
        return f"| {r['feature']} | `{r['model']}` | **{r['error']}** | | | | | |"
    exact = f"{_number(r['oracle'])} · {_number(r['differences'])}" if "oracle" in r else "surrogate, not exact"
    cells = [_cell(r["targets"].get(target)) for target in ("numpy", "cuda_standalone")]
    projects = "C++, CUDA" if not any(r["projects"].values()) else "refused"
    return f"| {r['feature']} | `{r['model']}` | {exact} | {' | '.join(cells)} | {_said(r['grid'])} | {projects} |"


def _table(records: Sequence[Record], what: str, device: str) -> Iterator[str]:
    cuda = "CUDA, emulated" if device == EMULATOR else "CUDA"
    yield f"| {what} | network of | C++ | NumPy | {cuda} | on a time grid | projects |"
    yield "|---|---|--:|--:|--:|---|---|"
    yield from map(_row, records)


def page(results: Mapping[str, Any]) -> str:
    """The page of the documentation.

    Parameters
    ----------
    results : mapping
        As they are saved.
    """
    records = [r | {"feature": r["feature"].replace("|", "\\|")} for r in results["features"]]
    of_networks = len(features())
    counted = Counter(kind for r in records for kind in r.get("kinds", ()) if "surrogate" not in r)
    grid = sorted({_general(r) for r in records if r.get("grid")})
    device = results["device"] or "not measured"
    lines = [
        "# What can be trained",
        "",
        f"<!-- written by `{results['command']}` -->",
        "",
        "Nothing in these tables is stated: every feature is put into a small network, which is simulated and",
        "differentiated, and what is refused is what the package said when it was asked.",
        f"{results['date']}, `{results['command']}`; Python {results['python']}, float64; CUDA: {device}.",
        "",
        f"**Not everything passes:** {'; '.join(wrong)}"
        if (wrong := failures(results))
        else "**Everything that was measured passes.**",
        "",
        "## By what a loss is differentiated",
        "",
        "Gradients are those of the continuous-time system (EventProp), not surrogates. The last column has in how",
        "many of the features and losses below they were checked.",
        "",
        "| value | key | shape | how | checked |",
        "|---|---|---|---|--:|",
        *(f"| {kind} | {key} | {shape} | {how} | {counted[kind]} |" for kind, key, shape, how in KINDS),
        "",
        "A parameter is any of a neuron, its synapses (time constants, reversal potentials), its mechanisms, its",
        "threshold, its reset, its refractory period and its initial values; [gradients.md](gradients.md) has every",
        "parameter of every neuron of the library.",
        "",
        "## Features of models and networks, and targets",
        "",
        "**C++**: how far the gradient is from the event-driven oracle · from central differences, the largest",
        f"deviation of all arrays, relative in norm (within {NEAR[True]:g} of the oracle for linear models and",
        f"{NEAR[False]:g} for nonlinear ones, and within {DIFFERENCES:g} of differences, where they resolve that).",
        "**NumPy** and **CUDA**: how far from C++. **On a time grid**: whether `GridSimulation` differentiates such a",
        "network, without delays and currents unless the line is about them. **Projects**: whether `export_simulation`",
        "writes it with its gradients. All other networks have a delay of each synapse, and a current where the model",
        "has an input for one.",
        "",
        *_table(records[:of_networks], "feature", device),
        "",
        "What the time grid says where it refuses, and what to do:",
        "",
        *(f"* {text}" for text in grid),
        "",
        "## Losses, and targets",
        "",
        "Of such networks; a loss of one's own is an expression or a function ([losses](eventprop.md#losses)).",
        "",
        *_table(records[of_networks:], "loss", device),
        "",
        "## What can't be trained",
        "",
        "What is asked for, and the error that names the place and the way out:",
        "",
        "| what | error |",
        "|---|---|",
        *(f"| {what} | {said.replace('|', chr(92) + '|')} |" for what, said in results["refused"]),
        "",
        "Ties, tangencies, missing spikes and chaos limit what a gradient is good for: [limits](eventprop.md#limits).",
    ]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Measure, write results and page; return the exit status."""
    options = scripts.table_options(
        "trainable",
        __doc__,
        arguments,
        quick="two features",
        docs=Path(__file__).parents[1] / "docs",
        row="FEATURE",
        missing=True,
    )
    file = scripts.saved(options, FILE)
    if file is None:
        require_compiler()
        for results in _measured(options, arguments):  # each row as it is there
            write_rounded(options.out / FILE, results)
    results = read_json(file or options.out / FILE, "results file", "features", "refused", "command", "date")
    with atomic_file(options.out / PAGE, "page") as opened:
        opened.write(page(results).encode())
    wrong = failures(results)
    for line in wrong:
        print(f"FAILS: {line}")
    print(options.out / PAGE)
    return 1 if wrong else 0


def _device() -> str:
    """What CUDA's programs run on here; empty if they don't."""
    nvcc = os.environ.get("NVCC", "")
    return EMULATOR if "cudacpu" in nvcc else nvcc


def _measured(options: argparse.Namespace, arguments: list[str] | None) -> Iterator[Record]:
    """Results of what is asked for, with those of the rest of an earlier table, after each row."""
    every = [f.name for f in cases()]
    wanted, kept, had = every[:2] if options.quick else every, {}, {}
    if options.only or options.missing:
        kept = read_json(options.out / FILE, "results file", "features", "command", "device")
        if _device() and kept["device"] not in ("", _device()):
            raise ValueError(f"CUDA of the rows so far: {kept['device']}, here: {_device()}; measure all of them")
    if options.missing:
        had = {r["feature"]: r for r in kept["features"] if "error" not in r}
        wanted = [n for n in every if not set(_targets()) <= set(had.get(n, {}).get("targets", ()))]
    for name in options.only or ():
        if name not in every:
            raise ValueError(f"--only: {name!r} is no feature; there is {', '.join(every)}")
    wanted = options.only or wanted
    results = {
        "command": kept.get("command") or scripts.command("trainable_table", arguments),
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "device": _device() or kept.get("device", ""),
        "features": kept.get("features", []),
        "refused": [list(pair) for pair in refusals()],
    }
    yield results
    rows = {r["feature"]: r for r in results["features"]}
    with ProcessPoolExecutor(options.processes, multiprocessing.get_context("spawn")) as pool:
        for r in pool.map(_measure, wanted, [had.get(name) for name in wanted]):
            print(r["feature"], r.get("error", "done"), flush=True)
            rows[r["feature"]] = r
            yield results | {"features": [rows[name] for name in every if name in rows]}


if __name__ == "__main__":
    scripts.run(main)
