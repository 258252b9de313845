"""Time training batches of this package, of what is written by hand, plain Brian2 synapses and peers, side by side.

python -m benchmarks.run                                   # both tasks; random images for MNIST
python -m benchmarks.run --data DIR --peer-python PYTHON   # real images; peers from another environment
python -m benchmarks.run --contenders package calls cuda cuda_calls eventax spyx  # on a GPU; JAX finds it by itself
python -m benchmarks.run --quick                           # a minute or two, to see that everything works
python -m benchmarks.run --write-docs                      # only the table in docs/benchmarks.md, from the results

Every contender is a process of its own. They take turns, round by round, so that whatever else the machine does meets
all of them; a number is the median over rounds of a round's median batch, a ratio the median of the rounds' ratios:
to the limit, which is the event engine by hand, and to the grid method by hand, at the task's dt and at 0.1 ms. CPU
time counts the contender's process and its children, on one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from snnmodels.targets.cache import cache_folder
from snnmodels.targets.cpp.program import OF_MODELS
from snnmodels.training.loop import TOGETHER

from .command import command_line
from .report import BASES, DOCS, RESULTS, write_docs
from .serving import ContenderFailed, Process, Task
from .tasks import mnist, yin_yang


@dataclass(frozen=True)
class Entry:
    """How a contender is started.

    Attributes
    ----------
    label : str
    module : sequence of str
        What ``python -m`` runs.
    options : mapping
    peer : str
        Package that another environment has to have, or empty.
    tasks : sequence of str
        Which of them it is set up for.
    large : bool
        Whether it is timed with the large batch, too.
    """

    label: str
    module: Sequence[str]
    options: Mapping[str, Any] = field(default_factory=dict)
    peer: str = ""
    tasks: Sequence[str] = ("yin_yang", "mnist")
    large: bool = False


ON_CUDA = {"target": "cuda_standalone"}  # where there is a GPU: only if asked for
_LARGE = "_large"  # behind the name of a task with the large batch
_IN_CALLS = f"batches of {TOGETHER} trials in a call"
ENTRIES = {
    "limit": Entry("event engine by hand (the limit)", ["benchmarks.contenders", "limit"], large=True),
    "first": Entry(
        "the same, outputs stopped at their first spike",
        ["benchmarks.contenders", "limit"],
        {"first_only": True},
        tasks=("yin_yang",),
    ),
    "grid": Entry("grid method by hand", ["benchmarks.contenders", "grid"]),
    "fine_grid": Entry("grid method by hand, dt 0.1 ms", ["benchmarks.contenders", "grid"], {"dt": 0.1e-3}),
    "package": Entry("snnmodels", ["benchmarks.contenders", "package"], large=True),
    "calls": Entry(f"snnmodels, {_IN_CALLS}", ["benchmarks.contenders", "calls"], large=True),
    "cuda": Entry("snnmodels on CUDA", ["benchmarks.contenders", "package"], ON_CUDA, large=True),
    "cuda_calls": Entry(f"snnmodels on CUDA, {_IN_CALLS}", ["benchmarks.contenders", "calls"], ON_CUDA, large=True),
    "synapses": Entry("snnmodels on Brian2 synapses, time grid", ["benchmarks.contenders", "synapses"]),
    "eventax": Entry("eventax", ["benchmarks.peers.eventax"], {"first_batch_counts": True}, "eventax", ("yin_yang",)),
    "spyx": Entry("spyx (surrogate gradient)", ["benchmarks.peers.spyx"], {"first_batch_counts": True}, "spyx"),
}
_BATCHES = 19  # different ones; of 256 trials, all that Yin-Yang has
# Memory of one synapse per weight and trial, in both directions
_SYNAPSES_BATCH = {"mnist": 4}


def main(arguments: list[str] | None = None) -> int:
    """Measure, write, and return the exit status."""
    options = _parse(arguments)
    if not options.write_docs:
        results = measure(options)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    elif not options.out.exists():
        print(f"{options.out}: no results yet; run python -m benchmarks.run", file=sys.stderr)
        return 2
    try:
        table = write_docs(json.loads(options.out.read_text()), options.docs)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(table)
    print(f"results: {options.out}" + (f"\ntable: {options.docs}" if options.docs else ""))
    return 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run everything; results as they are written."""
    tasks: dict[str, Callable[[int], Task]] = {
        "yin_yang": lambda size: yin_yang(size * _BATCHES, batch_size=size, weights=options.weights),
        "mnist": lambda size: mnist(size * _BATCHES, batch_size=size, data=options.data),
    }
    results: dict[str, Any] = {
        "machine": describe_machine(),
        "options": {"rounds": options.rounds, "batches": options.batches},
        "tasks": {},
    }
    every = [(name, options.batch_size) for name in options.tasks]
    every += [(name + _LARGE, options.large_batch) for name in options.tasks if options.large_batch]
    for name, size in every:
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            task = tasks[name.removesuffix(_LARGE)](size)
            file = Path(folder) / "task.npz"
            task.save(file)
            results["tasks"][name] = {"settings": dict(task.settings)} | _run_task(name, file, Path(folder), options)
    _keep(options, results)
    results["machine"]["load_after"] = os.getloadavg()[0]
    return results


def _keep(options: argparse.Namespace, results: dict[str, Any]) -> None:
    """Take over what is asked for from the results that are there, with its date."""
    if not options.keep:
        return
    old = json.loads(options.out.read_text())
    for name, task in results["tasks"].items():
        for key in options.keep:
            found = old["tasks"].get(name, {}).get("contenders", {}).get(key)
            if found is not None:
                task["contenders"][key] = {"date": old["machine"]["date"]} | found
        task["contenders"] = {key: task["contenders"][key] for key in ENTRIES if key in task["contenders"]}


def describe_machine() -> dict[str, Any]:
    """Describe what the times were taken on."""
    lines = _read("/proc/cpuinfo").splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    command = [os.environ.get("CXX") or "g++", "--version"]
    compiler = subprocess.run(command, capture_output=True, text=True, check=False)
    return {
        "processor": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "compiler": compiler.stdout.splitlines()[0] if compiler.stdout else "",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "load_before": os.getloadavg()[0],
    }


def _read(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""


def _run_task(name: str, file: Path, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    skipped: dict[str, str] = {}
    found: dict[str, dict[str, Any]] = {}
    rounds: dict[str, list[dict[str, Any]]] = {}
    with ExitStack() as stack:
        processes: dict[str, Process] = {}
        for key in options.contenders:
            entry = ENTRIES[key]
            if key in options.keep:
                continue
            if name.endswith(_LARGE) and not entry.large:
                continue
            print(f"{name}: {entry.label} starts", file=sys.stderr)
            try:
                if name.removesuffix(_LARGE) not in entry.tasks:
                    raise ContenderFailed("not set up for this task")
                process, found[key] = _start(key, entry, name, file, folder / key, options)
                processes[key] = stack.enter_context(process)
            except ContenderFailed as error:
                skipped[key] = str(error)
        for k in range(options.rounds):
            for key, process in processes.items():
                print(f"{name}: round {k + 1}, {ENTRIES[key].label}", file=sys.stderr)
                rounds.setdefault(key, []).append(process.round(options.batches, options.seconds))
    bases = {key: (rounds[key], found[key]) for key in BASES if key in rounds}
    contenders = {key: found[key] | summarise(rounds[key], found[key], bases) for key in rounds}
    return {"contenders": contenders, "skipped": {ENTRIES[k].label: reason for k, reason in skipped.items()}}


def _start(
    key: str, entry: Entry, name: str, file: Path, cache: Path, options: argparse.Namespace
) -> tuple[Process, dict[str, Any]]:
    """Start a contender: ours with an empty cache of programs, with one that lacks its models, and with a full one."""
    extra, cold, new = dict(entry.options), None, None
    if key == "synapses":
        extra["batch_size"] = min(options.batch_size, options.synapses_batch or _SYNAPSES_BATCH.get(name, 10**9))
    if entry.peer:
        python = options.peer_python
        seen = subprocess.run([python, "-c", f"import {entry.peer}"], capture_output=True, text=True, check=False)
        if seen.returncode:
            hint = (seen.stderr.strip().splitlines() or ["it can't be imported"])[-1]
            raise ContenderFailed(f"{hint}; see docs/benchmarks.md for how to install it")
        process = Process(entry.module, file, extra, python)
        cold = None if options.skip_cold else process.ready["start"]
    else:
        environment = {"SNNMODELS_CACHE": str(cache), "CCACHE_DISABLE": "1"}
        if options.skip_cold:
            environment["SNNMODELS_CACHE"] = str(cache_folder())
        else:
            with Process(entry.module, file, extra, environment=environment) as first:
                cold = first.ready["start"]
            if forget_models(cache):
                with Process(entry.module, file, extra, environment=environment) as again:
                    new = again.ready["start"]
        process = Process(entry.module, file, extra, environment=environment)
    ready = process.ready
    about = {"label": entry.label, "version": ready["version"], "batch_size": ready["batch_size"]}
    return process, about | {"start_cold": cold, "start_new": new, "start_warm": ready["start"]}


def forget_models(cache: Path) -> bool:
    """Remove from a cache what a network of other models does not find there; returns whether there was any.

    Parameters
    ----------
    cache : Path
        Of compiled programs.
    """
    own = [entry for what in OF_MODELS for entry in cache.glob(f"{what}-*")]
    for entry in own:
        shutil.rmtree(entry)
    return bool(own)


def summarise(
    rounds: Sequence[Mapping[str, Any]],
    about: Mapping[str, Any],
    bases: Mapping[str, tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]]],
) -> dict[str, Any]:
    """Medians of a contender in ms per trial, and its ratios to others: to their rounds, and what is known about them.

    Sections are ``forward``, ``backward``, their sum ``passes``, and ``batch`` with everything. A contender that can't
    tell the passes apart has the loss alone as forward, and the rest of the batch as backward, or only the batch.
    """
    per_round = [per_trial(r, about["batch_size"]) for r in rounds]
    result: dict[str, Any] = {
        clock: {section: median(r[clock][section] for r in per_round) for section in per_round[0][clock]}
        for clock in ("cpu", "wall")
    }
    result["lowest_cpu"] = {s: min(r["cpu"][s] for r in per_round) for s in per_round[0]["cpu"]}
    result["memory_mb"] = max(r["memory"] for r in rounds)
    result["hidden_spikes"] = rounds[-1]["hidden_spikes"]
    result["ratios"] = {}
    for key, (others, about_other) in bases.items():
        base = [per_trial(r, about_other["batch_size"]) for r in others]
        result["ratios"][key] = {
            section: median(a["cpu"][section] / b["cpu"][section] for a, b in zip(per_round, base, strict=True))
            for section in per_round[0]["cpu"]
        }
    return result


def per_trial(answer: Mapping[str, Any], batch_size: int) -> dict[str, dict[str, float]]:
    """Median ms per trial of each section of one round."""
    result: dict[str, dict[str, float]] = {}
    for clock in ("cpu", "wall"):
        times = {section: 1e3 * median(values) / batch_size for section, values in answer[clock].items()}
        if "forward" in times:
            times.setdefault("backward", times["batch"] - times["forward"])
            times["passes"] = times["forward"] + times["backward"]
        result[clock] = times
    return result


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = command_line("run", __doc__)
    usual = [key for key, entry in ENTRIES.items() if entry.options != ON_CUDA]
    parser.add_argument("--tasks", nargs="+", choices=("yin_yang", "mnist"), default=["yin_yang", "mnist"])
    parser.add_argument("--contenders", nargs="+", choices=tuple(ENTRIES), default=usual)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--large-batch", type=int, default=256, help="of a second table; 0 for none (default: 256)")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batches", type=int, default=40, help="training batches of a round (default: 40)")
    parser.add_argument("--seconds", type=float, default=10, help="longest round; slow contenders do fewer batches")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the MNIST files; default: random images")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="checkpoint with trained Yin-Yang weights")
    parser.add_argument("--synapses-batch", type=int, metavar="N", help="batch of Brian2 synapses (MNIST: 4)")
    parser.add_argument("--peer-python", default=sys.executable, metavar="PYTHON", help="interpreter with the peers")
    parser.add_argument(
        "--keep",
        nargs="+",
        choices=tuple(ENTRIES),
        default=[],
        help="contenders that are not timed anew, with the numbers, ratios and date of the results that are there",
    )
    parser.add_argument("--skip-cold", action="store_true", help="keep compiled programs; no times of cold starts")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"results (default: {RESULTS})")
    parser.add_argument("--docs", type=Path, default=None, help="file whose table is written")
    parser.add_argument("--write-docs", action="store_true", help=f"write the table of {DOCS} from the results, only")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 5 batches, 3 s at most; Yin-Yang only")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.batches, options.seconds, options.tasks = 2, 5, 3.0, ["yin_yang"]
        options.large_batch = 0
    if options.write_docs and options.docs is None:
        options.docs = DOCS
    for name in ("batch_size", "rounds", "batches"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')}: expected at least 1, got {getattr(options, name)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
