"""Time NumPy beside the compiled program: forward and backward of a batch, on both targets.

python -m benchmarks.targets            # writes docs/results/targets.json, and the table of docs/targets.md
python -m benchmarks.targets --quick    # one round of two rows, no file
python -m benchmarks.targets --table    # only the table, from the results

The targets take turns, round by round, so that other load meets both; the fastest run of each counts. Networks are that
of Yin-Yang with a batch of 32, and for some neurons of the library that of `benchmarks.library`: 64 of them with three
sources, all parameters learnable.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import snnmodels as snn
from snnmodels.datasets import yin_yang_latency, yin_yang_split
from snnmodels.files import write_between, write_rounded
from snnmodels.gradients import Simulation
from snnmodels.symbolic import hybrid_system
from snnmodels.targets import Target

from .command import command_line
from .library import TIMES, opened, weight_of
from .run import describe_machine

RESULTS, PAGE = Path("docs/results/targets.json"), Path("docs/targets.md")
BEGIN, END = "<!-- targets: written by python -m benchmarks.targets -->", "<!-- targets: end -->"
NEURONS = ("lif", "gif", "eif", "izhikevich", "adex")
BATCH = 32
TARGETS: tuple[Target, ...] = ("numpy", "cpp_standalone")
Record = dict[str, Any]


def seconds(simulation: Simulation, inputs: dict[str, np.ndarray], targets: np.ndarray) -> float:
    """Of one run, forward and backward."""
    start = time.perf_counter()
    simulation.run(inputs, targets)
    return time.perf_counter() - start


def side_by_side(
    make: Callable[[Target], Simulation], inputs: dict[str, np.ndarray], labels: np.ndarray, rounds: int
) -> Record:
    """The fastest run of each target, in seconds."""
    found: Record = {}
    simulations: dict[Target, Simulation] = {}
    try:
        for target in TARGETS:
            simulations[target] = make(target)
            simulations[target].run(inputs, labels)
            found[target] = float("inf")
        for _ in range(rounds):
            for target, simulation in simulations.items():
                found[target] = min(found[target], seconds(simulation, inputs, labels))
    finally:
        for simulation in simulations.values():
            simulation.close()
    return found


def yin_yang(rounds: int) -> Record:
    """The network of the experiment, with its initial weights."""
    network, some = snn.load_network("yin_yang"), yin_yang_split("train")
    longest = float(network.encoding["longest"])
    inputs = {"input": yin_yang_latency(some.samples[:BATCH], longest)}
    options: Any = {"batch_size": BATCH}
    made = lambda target: Simulation(network, snn.TTFSCrossEntropy(), target=target, **options)  # noqa: E731
    return {"linear": True} | side_by_side(made, inputs, some.labels[:BATCH], rounds)


def neuron(name: str, rounds: int) -> Record:
    """A neuron of the library."""
    model = snn.load_model(name)
    with opened(name) as simulation:
        weight = weight_of(model, simulation)
    found = side_by_side(
        lambda target: opened(name, weight, target=target), {"input": TIMES}, np.zeros(1, dtype=int), rounds
    )
    return {"linear": hybrid_system(model).is_linear} | found


def measured(rounds: int, quick: bool) -> Record:
    """All rows, or two with one round."""
    rounds, names = (1, NEURONS[:1]) if quick else (rounds, NEURONS)
    machine = describe_machine()
    rows = {f"Yin-Yang, batch of {BATCH}": yin_yang(rounds)}
    for name in names:
        print(name, file=sys.stderr, flush=True)
        rows[f"64 × `{name}`, 100 ms"] = neuron(name, rounds)
    return {"machine": machine | {"load_after": os.getloadavg()[0]}, "rounds": rounds, "rows": rows}


def table(results: Record) -> str:
    """The rows as Markdown, and what they were taken on."""
    m, rounds = results["machine"], results["rounds"]
    lines = [
        f"`python -m benchmarks.targets`, {m['date']}, {m['processor']}, {m['cores']} cores, load "
        f"{m['load_before']:.1f} before and {m['load_after']:.1f} after; the fastest of {rounds} turns each:",
        "",
        "| forward and backward | flow | numpy | cpp_standalone | × |",
        "|---|---|--:|--:|--:|",
    ]
    for name, r in results["rows"].items():
        slow, fast = r["numpy"], r["cpp_standalone"]
        flow = "linear" if r["linear"] else "nonlinear"
        lines.append(f"| {name} | {flow} | {_shown(slow)} | {_shown(fast)} | {float(f'{slow / fast:.2g}'):g} |")
    return "\n".join(lines)


def _shown(duration: float) -> str:
    """Two digits."""
    number, unit = (duration, "s") if duration >= 1 else (1e3 * duration, "ms")
    return f"{float(f'{number:.2g}'):g} {unit}"


def main(arguments: list[str] | None = None) -> int:
    """Measure, write, print; return the exit status."""
    parser = command_line("targets", __doc__)
    parser.add_argument("--quick", action="store_true", help="one round of Yin-Yang and one neuron, nothing written")
    parser.add_argument("--table", action="store_true", help="only write the table of the results")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    options = parser.parse_args(arguments)
    results = json.loads(RESULTS.read_text()) if options.table else measured(options.rounds, options.quick)
    if not options.quick and not options.table:
        write_rounded(RESULTS, results)
    if not options.quick:
        write_between(PAGE, BEGIN, table(results), END)
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
