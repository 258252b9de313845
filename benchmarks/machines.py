"""What several processes gain: seeds among the processes of a `WorkerPool`, and batches divided by MPI.

python -m benchmarks.machines            # writes docs/results/machines.json, prints the tables of docs/machines.md
python -m benchmarks.machines --quick    # one round, fewer batches

One process and two take turns, as many rounds as asked for; the medians are told, with the machine's load. Of MPI the
processor time of each process's compiled program is told too: on a loaded machine wall times mean little, and a process
of MPI that waits is busy.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from snnmodels.files import write_rounded
from snnmodels.studies import scripts

RESULTS = Path("docs/results/machines.json")
PARTS = 2
Record = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Measure, write, tell; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round, fewer batches")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=RESULTS, help="default: %(default)s")
    parser.add_argument("--process", choices=sorted(TASKS), help=argparse.SUPPRESS)
    parser.add_argument("--seeds-by", type=int, metavar="WORKERS", help=argparse.SUPPRESS)
    parser.add_argument("--epochs", type=int, default=100, help="of each seed, default: %(default)s")
    parser.add_argument("--batches", type=int, default=6, help="of each task and round, default: %(default)s")
    given = parser.parse_args(arguments)
    if given.process:
        _as_process(given.process, given.batches)
        return 0
    if given.seeds_by:
        _train(given.seeds_by, given.epochs)
        return 0
    rounds, batches = (1, 2) if given.quick else (given.rounds, given.batches)
    before = os.getloadavg()
    launcher = _launcher()
    found: dict[str, list[list[Record]]] = {name: [[], []] for name in TASKS}
    seeds: list[list[float]] = [[], []]
    for _ in range(rounds):
        for k in (0, 1):
            seeds[k].append(_seeds(k + 1, 2 if given.quick else given.epochs))
            for name in TASKS if launcher is not None else ():
                assert launcher is not None
                found[name][k].append(_launch(launcher, name, k + 1, batches))
    results = {
        "command": scripts.command("machines", arguments).replace("scripts/machines.py", "-m benchmarks.machines"),
        "cores": os.cpu_count(),
        "date": datetime.date.today().isoformat(),
        "load": {"before": before, "after": os.getloadavg()},
        "seeds": {"epochs": 2 if given.quick else given.epochs, "seconds": seeds},
        "mpi": {name: records for name, records in found.items() if records[0]},
    }
    write_rounded(given.out, results)
    print("\n".join(tables(results)))
    if not launcher:
        print("no MPI: pip install 'snnmodels[mpi]'", file=sys.stderr)
    return 0


def tables(results: Record) -> list[str]:
    """The tables of the documentation."""
    load = results["load"]
    lines = [
        f"`{results['command']}`, {results['cores']} cores, load {load['before'][0]:.1f} before and "
        f"{load['after'][0]:.1f} after; medians of {len(results['seeds']['seconds'][0])} rounds, and their range.",
        "",
        "| two seeds of Yin-Yang | one process | two workers | ratio |",
        "|---|--:|--:|--:|",
        f"| {results['seeds']['epochs']} epochs each, wall time from the command to its end "
        f"| {_cells(results['seeds']['seconds'], 's', 1)} |",
        "",
        "| batches divided by MPI | | one process | two processes | ratio |",
        "|---|---|--:|--:|--:|",
    ]
    for name, records in results["mpi"].items():
        for what, key in (("wall time of a batch", "wall"), ("processor time of the busiest program", "program")):
            times = [[r[key] for r in side] for side in records]
            lines.append(f"| {name} | {what} | {_cells(times, 'ms', 1e3)} |")
    return lines


def _cells(times: list[list[float]], unit: str, factor: float) -> str:
    """Times of one process and of two, and the ratio of their medians."""
    digits = 1 if unit == "s" else 0
    told = []
    for side in times:
        low, middle, high = (factor * float(f(side)) for f in (np.min, np.median, np.max))
        told.append(f"{middle:.{digits}f} {unit} ({low:.{digits}f} to {high:.{digits}f})")
    return " | ".join([*told, f"{np.median(times[0]) / np.median(times[1]):.2f}"])


# --- seeds ------------------------------------------------------------------------------------------------------------


def _seeds(workers: int, epochs: int) -> float:
    """Seconds that two seeds of Yin-Yang take, in processes that all begin with nothing."""
    command = [sys.executable, "-m", "benchmarks.machines", "--seeds-by", str(workers), "--epochs", str(epochs)]
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def _train(workers: int, epochs: int) -> None:
    import tempfile

    from snnmodels.parallel import some_executor
    from snnmodels.studies.experiments import Setup, yin_yang
    from snnmodels.studies.runs import train_seeds

    experiment, setup = yin_yang(), Setup(epochs=epochs)
    with tempfile.TemporaryDirectory() as folder, some_executor(workers) as executor:
        train_seeds(experiment, setup, [1, 2], Path(folder), executor)


# --- MPI --------------------------------------------------------------------------------------------------------------


def _yin_yang() -> tuple[Any, Any, dict[str, np.ndarray], np.ndarray]:
    import snnmodels as snn
    from snnmodels.datasets import yin_yang_latency, yin_yang_split

    samples, labels = (x[:512] for x in yin_yang_split("train"))
    return snn.load_network("yin_yang", seed=1), snn.TTFSCrossEntropy(), {"input": yin_yang_latency(samples)}, labels


def _digits() -> tuple[Any, Any, dict[str, np.ndarray], np.ndarray]:
    """Spoken digits on 128 hidden neurons, of spikes drawn as dense as in the data set: 8000 in most of a second."""
    import snnmodels as snn

    rng, trials, spikes = np.random.default_rng(0), 8, 8000
    times = [np.minimum(rng.gamma(4, 0.09, spikes), 1.39) for _ in range(trials)]
    lists = snn.SpikeLists.of(times, [rng.integers(0, 700, spikes) for _ in range(trials)], 700)
    return snn.load_network("shd", seed=1, hidden={"n": 128}), None, {"input": lists[:]}, np.arange(trials)


TASKS = {"Yin-Yang, 512 trials": _yin_yang, "spoken digits, 128 hidden, 8 trials": _digits}


def _launcher() -> str | None:
    """The mpiexec beside mpi4py's MPI, or on the path."""
    try:
        import mpi4py  # noqa: F401
    except ImportError:
        return None
    beside = Path(sys.prefix) / "bin" / "mpiexec"
    return str(beside) if beside.is_file() else shutil.which("mpiexec")


def _launch(launcher: str, task: str, processes: int, batches: int) -> Record:
    command = [launcher, "-n", str(processes), sys.executable, "-m", "mpi4py", "-m", "benchmarks.machines"]
    command += ["--process", task, "--batches", str(batches)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(json.loads(said))


def _used() -> float:
    """Processor time of programs that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _as_process(task: str, batches: int) -> None:
    """Run a task in this process of MPI; the first one prints what all of them took."""
    from mpi4py import MPI

    import snnmodels as snn

    network, loss, inputs, labels = TASKS[task]()
    options: dict[str, Any] = {"target": "cpp_standalone", "input_gradients": False}
    with snn.MPISimulation(network, loss, parts=PARTS, batch_size=len(labels), **options) as simulation:
        simulation.run(inputs, labels)  # it makes room
        compilers = _used()
        began = time.perf_counter()
        for _ in range(batches):
            simulation.run(inputs, labels)
        wall = (time.perf_counter() - began) / batches
    # of the program, which has ended, its first batch included
    every = MPI.COMM_WORLD.allgather((_used() - compilers) / (batches + 1))
    if MPI.COMM_WORLD.rank == 0:
        print(json.dumps({"wall": wall, "program": max(every)}))


if __name__ == "__main__":
    sys.exit(main())
