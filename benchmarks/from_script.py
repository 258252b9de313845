"""Time the gradient of the Brian2 script that docs/from_brian2.md begins with, beside Brian2's own simulation of it.

python -m benchmarks.from_script               # docs/results/from_script.json, and the table in docs/from_brian2.md
python -m benchmarks.from_script --quick       # one round, and nothing is written

The script is the one that is printed there: 4000 neurons, 320 000 synapses, 200 ms. Every round is a process of its
own on one thread (one for Brian2, which is slow to compile); the least counts. Times are CPU
times; those of compiling, with an empty cache, and of Brian2's run, as it tells it, are wall times.
Peak memory is that of Python and of the compiled program together; of Brian2 it is that of its compiled simulation
alone, without the Python that made it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snnmodels.files import write_between

from .command import command_line
from .run import describe_machine
from .serving import ONE_THREAD, Meter

PAGE = Path("docs/from_brian2.md")
RESULTS = Path("docs/results/from_script.json")
CASES = {
    "shared": "each pathway's scale, time constants, threshold, reset",
    "each": "the same, and each of the 320 000 weights",
    "brian2": "Brian2, C++ standalone, steps of 0.1 ms: no gradient",
}
_BEGIN, _END = "<!-- written by python -m benchmarks.from_script -->", "<!-- end -->"
_LATER = 10  # batches after the first one, of which the least counts


def printed(page: Path = PAGE) -> tuple[str, str]:
    """The first block of Python of a page: the objects of the script, and what is done with them.

    Parameters
    ----------
    page : Path

    Raises
    ------
    ValueError
        If there is no such block, or it reads no script.
    """
    block = re.search(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    if block is None:
        raise ValueError(f"{page}: there is no block of Python")
    script, reading, rest = block[1].partition("network = snn.from_brian2(")
    if not reading:
        raise ValueError(f"{page}: the first block of Python doesn't say 'network = snn.from_brian2('")
    return script, reading + rest


def _with_gradient(case: str) -> dict[str, float]:
    """One round of this package, in this process."""
    import brian2

    import snnmodels as snn

    brian2.prefs.codegen.target = "numpy"
    names: dict[str, Any] = {"__name__": "script"}
    script, reading = printed()
    t = time.perf_counter()
    brian2.seed(0)
    exec(compile(script, str(PAGE), "exec"), names)
    found = {"script": time.perf_counter() - t}
    names["learnable"] = dict(names["learnable"]) | ({"Ce": ["w"], "Ci": ["w"]} if case == "each" else {})
    # the statements that are printed, up to those that simulate
    network, begin, loss = reading.partition("\nwith ")[0].partition("\nloss =")
    meter = Meter()
    t = meter.now()
    exec(compile(network, str(PAGE), "exec"), names)
    found["reading"] = meter.now() - t
    exec(compile(begin + loss, str(PAGE), "exec"), names)
    read = names["network"]
    t = time.perf_counter()
    with snn.Simulation(read, names["loss"], batch_size=1, target="cpp_standalone") as simulation:
        found["compiling"] = time.perf_counter() - t
        meter.find_children()
        times = []
        for _ in range(1 + _LATER):
            t = meter.now()
            outcome = simulation.run(read.trial, np.zeros(1))
            times.append(meter.now() - t)
        found |= {"first": times[0], "later": min(times[1:]), "spikes": outcome.spikes["P"]}
        found["gradients"] = sum(np.size(g) for g in outcome.gradients.values())
        found["memory"] = meter.peak_memory()
    return found


def _simulated_by_brian() -> dict[str, float]:
    """Brian2's compiled simulation, again and again."""
    import brian2

    script, _ = printed()
    with tempfile.TemporaryDirectory() as folder:
        brian2.set_device("cpp_standalone", directory=folder, build_on_run=False)
        brian2.prefs.devices.cpp_standalone.openmp_threads = 0
        names: dict[str, Any] = {"__name__": "script"}
        brian2.seed(0)
        exec(compile(script, str(PAGE), "exec"), names)
        monitor = brian2.SpikeMonitor(names["P"], record=False)
        network = brian2.Network(*(x for x in names.values() if isinstance(x, brian2.BrianObject)), monitor)
        network.run(200 * brian2.ms, namespace=names)
        t = time.perf_counter()
        brian2.device.build(directory=folder, compile=True, run=False)
        found = {"compiling": time.perf_counter() - t}
        seconds = []
        for _ in range(1 + _LATER):
            child = subprocess.Popen([f"{folder}/main"], cwd=folder, stdout=subprocess.DEVNULL)
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode:
                raise RuntimeError(f"Brian2's program ended with status {child.returncode}")
            seconds.append(float(Path(folder, "results/last_run_info.txt").read_text().split()[0]))
        found |= {"first": seconds[0], "later": min(seconds), "memory": used.ru_maxrss / 1024}
        brian2.device.has_been_run = True
        found["spikes"] = float(np.fromfile(next(Path(folder, "results").glob(f"*_{monitor.name}_N_*")), "i4")[0])
    return found


def _round(case: str, cold: bool) -> dict[str, float]:
    """A round in a process of its own; `cold`: with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | ONE_THREAD | ({"SNNMODELS_CACHE": cache} if cold else {})
        command = [sys.executable, "-m", "benchmarks.from_script", "--alone", case]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{case}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(rounds: int, cases: Sequence[str] = tuple(CASES), *, cold: bool = True) -> dict[str, Any]:
    """Cases, taking turns.

    Parameters
    ----------
    rounds : int
        Behind one that compiles.
    cases : sequence of str
        The first two share their program.
    cold : bool
        Whether to time compiling.
    """
    found: dict[str, list[dict[str, float]]] = {case: [] for case in cases}
    compiled = {case: _round(case, cold=True) for case in cases if case != "each" and (cold or case == "brian2")}
    for _ in range(rounds):
        for case, list_ in found.items():
            list_.append(compiled[case] if case == "brian2" else _round(case, cold=False))
    results: dict[str, Any] = {"machine": describe_machine(), "cases": {}}
    for case, list_ in found.items():
        least: dict[str, Any] = {key: min(x[key] for x in list_) for key in list_[0]}
        least["rounds"] = rounds
        least["compiling"] = compiled[case]["compiling"] if case in compiled else None
        if not cold:
            least.pop("compiling")
        least["memory"] = max(x["memory"] for x in list_)
        results["cases"][case] = least
    return results


def table(results: Mapping[str, Any]) -> str:
    """Results in Markdown."""
    m = results["machine"]
    lines = [
        f"{m['date']}, {m['processor']}, {m['cores']} cores under a load of {m['load_before']:.0f}, one thread. "
        "CPU times; of compiling, and of Brian2, wall times.\n",
        "| gradient by | reading | compiling, once | first run | a later run | peak memory | spikes |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for case, label in CASES.items():
        if case not in results["cases"]:
            continue
        r = results["cases"][case]
        cells = [label, _seconds(r.get("reading")), _seconds(r.get("compiling")), _seconds(r["first"])]
        cells += [_seconds(r["later"]), f"{r['memory']:.0f} MB", f"{r['spikes']:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _seconds(x: float | None) -> str:
    if x is None:
        return "–"
    number, unit = (x, "s") if x >= 1 else (1e3 * x, "ms")
    return f"{float(f'{number:.2g}'):g} {unit}"  # two digits, and no exponent for more


def write_page(results: Mapping[str, Any], page: Path = PAGE) -> None:
    """Put the table between its markers.

    Raises
    ------
    ValueError
        If the page has no markers.
    """
    write_between(page, _BEGIN, table(results), _END)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write, print; return the exit status."""
    parser = command_line("from_script", __doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="others stay as they were")
    parser.add_argument("--warm", action="store_true", help="leave the times of compiling as they were")
    parser.add_argument("--quick", action="store_true", help="one round, and nothing is written")
    parser.add_argument("--alone", choices=CASES, help="one round of one case in this process, as JSON")
    options = parser.parse_args(arguments)
    if options.alone:
        print(json.dumps(_simulated_by_brian() if options.alone == "brian2" else _with_gradient(options.alone)))
        return 0
    if options.rounds < 1:
        parser.error("--rounds: at least 1")
    results = measure(1 if options.quick else options.rounds, options.cases, cold=not options.warm)
    if not options.quick and RESULTS.exists():
        known = json.loads(RESULTS.read_text())["cases"]
        results["cases"] = {c: known.get(c, {}) | results["cases"].get(c, {}) for c in {**known, **results["cases"]}}
    if not options.quick:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        write_page(results)
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
