"""Measure what a simulation on a time grid does to spikes and gradients, against the exact solution of the same model.

python -m benchmarks.grid_error                      # writes docs/results/grid_error.json, prints a table
python -m benchmarks.grid_error --trials 4 --dt 1    # seconds, to see that everything works
python -m benchmarks.grid_error --table              # only the table, from the results

The grid applies all arrivals of a step at its end and searches the step for spikes without them: one that they cause
is found a step late, one that they prevent is found nonetheless, and of several in a step the second has to wait. Each
such event changes the gradient of its trial by an amount that doesn't shrink with the step; only their number does. The
exact solution is the hand-written event engine, `benchmarks.limit`, which agrees with `snnmodels.oracle`
(tests/test_benchmarks.py). Trials run one by one, so that each has a gradient of its own.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from snnmodels.gradients import GridSimulation, UnresolvedSpikes

from .command import command_line
from .limit import Limit
from .run import describe_machine
from .serving import Task
from .tasks import loss_of, mnist, network_of, yin_yang

RESULTS = Path("docs/results/grid_error.json")
STEPS = (1.0, 0.25, 0.1)  # ms
# A spike is right if the grid has it within this time: much more than rounding, much less than a step.
RIGHT = 1e-9
MAX_SPIKES = 512


@dataclass(frozen=True)
class Trial:
    """Spike times of each neuron of each spiking population, and the gradient of the hidden weights."""

    spikes: Mapping[str, Sequence[np.ndarray]]
    gradient: np.ndarray


def networks(trials: int) -> dict[str, Task]:
    """What is simulated, by its name in the table."""
    initial = yin_yang(trials)
    first, second = initial.weights
    return {
        "Yin-Yang, initial weights": initial,
        "Yin-Yang, weights × 2": replace(initial, weights=(2 * first, 2 * second)),
        "MNIST-shaped, initial weights": mnist(trials),
    }


def exact(task: Task, trials: int) -> list[Trial]:
    """Solve each trial in continuous time."""
    net = network_of(task)
    names = [p.name for p in net.populations if p.model.spiking]
    limit = Limit(net, loss_of(task), batch_size=1)
    found = []
    try:
        for k in range(trials):
            limit.forward(task.times[k : k + 1])
            limit.loss(task.labels[k : k + 1])
            limit.backward()
            spikes = {}
            for p in (p for p in net.populations if p.name in names):
                times, neurons = limit.spikes(0, p.name)
                spikes[p.name] = [times[neurons == j] for j in range(p.n)]
            found.append(Trial(spikes, limit.gradients()[f"{net.projections[0].name}.w"]))
    finally:
        limit.close()
    return found


def on_grid(task: Task, trials: int, dt: float, target: Any) -> list[Trial]:
    """Simulate each trial with a time step in seconds."""
    net = network_of(task)
    source, hidden = net.inputs[0].name, f"{net.projections[0].name}.w"
    found = []
    with (
        warnings.catch_warnings(),
        GridSimulation(
            net,
            loss_of(task),
            batch_size=1,
            dt=dt,
            target=target,
            input_gradients=False,
            max_spikes=MAX_SPIKES,
        ) as simulation,
    ):
        warnings.simplefilter("ignore", UnresolvedSpikes)  # part of what is measured
        for k in range(trials):
            outcome = simulation.run({source: task.times[k : k + 1]}, task.labels[k : k + 1])
            spikes = {}
            for p in net.populations:
                if p.model.spiking:
                    spikes[p.name] = [x[np.isfinite(x)] for x in simulation.spike_times(p.name)[0]]
            found.append(Trial(spikes, np.asarray(outcome.gradients[hidden])))
    return found


def compare(wanted: Sequence[Trial], found: Sequence[Trial]) -> dict[str, Any]:
    """Count wrong, missing and additional spikes of each population; relative errors of the gradients.

    Returns
    -------
    dict
        By population: ``spikes`` per trial of the exact solution, and as shares of them ``wrong`` (no spike of the
        neuron within `RIGHT`), ``missing`` and ``additional`` (by the number of a neuron's spikes). ``gradient``:
        ``median`` and ``p90`` over the trials, and ``without``, trials without a gradient, which are left out.
    """
    result: dict[str, Any] = {"populations": {}}
    for name in wanted[0].spikes:
        total = wrong = missing = additional = 0
        for a, b in zip(wanted, found, strict=True):
            for x, y in zip(a.spikes[name], b.spikes[name], strict=True):
                total += len(x)
                wrong += int((_distance(x, y) > RIGHT).sum())
                missing += max(len(x) - len(y), 0)
                additional += max(len(y) - len(x), 0)
        shares = {"wrong": wrong, "missing": missing, "additional": additional}
        result["populations"][name] = {"spikes": total / len(wanted)} | {k: v / total for k, v in shares.items()}
    norms = [float(np.linalg.norm(a.gradient)) for a in wanted]
    errors = [
        float(np.linalg.norm(b.gradient - a.gradient)) / norm
        for a, b, norm in zip(wanted, found, norms, strict=True)
        if norm > 0
    ]
    median, p90 = np.quantile(errors, [0.5, 0.9])
    result["gradient"] = {"median": float(median), "p90": float(p90), "without": len(norms) - len(errors)}
    return result


def _distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """From each of x to the nearest of y, inf if there is none."""
    if not len(y):
        return np.full(len(x), np.inf)
    return np.abs(x[:, None] - y).min(axis=1)


def measure(trials: int, steps: Sequence[float], target: str) -> dict[str, Any]:
    """Compare all networks at all steps (ms); results as they are written."""
    results: dict[str, Any] = {
        "machine": describe_machine(),
        "trials": trials,
        "target": target,
        "networks": {},
    }
    for name, task in networks(trials).items():
        wanted = exact(task, trials)
        results["networks"][name] = {}
        for step in steps:
            print(f"{name}, dt {step:g} ms", file=sys.stderr)
            found = on_grid(task, trials, step * 1e-3, target)
            results["networks"][name][f"{step:g}"] = compare(wanted, found)
    return results


def table(results: Mapping[str, Any]) -> str:
    """Results in Markdown."""
    lines = [
        f"{results['machine']['date']}, {results['trials']} trials. Shares of the exact solution's spikes, hidden / "
        "output; relative error of a trial's gradient by the hidden weights.\n",
        "| network | dt (ms) | spikes per trial | at a wrong time | missing | additional | gradient, median (90 %) |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, steps in results["networks"].items():
        for step, found in steps.items():
            populations = found["populations"].values()
            counts = " / ".join(f"{p['spikes']:.0f}" for p in populations)
            shares = [" / ".join(_percent(p[key]) for p in populations) for key in ("wrong", "missing", "additional")]
            error = found["gradient"]
            cells = [name, step, counts, *shares, f"{error['median']:.2g} ({error['p90']:.2g})"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def main(arguments: list[str] | None = None) -> int:
    """Measure, write, print; return the exit status."""
    parser = command_line("grid_error", __doc__)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--dt", type=float, nargs="+", default=list(STEPS), metavar="MS", help="steps in ms")
    parser.add_argument("--target", default="cpp_standalone", help="of GridSimulation")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"results (default: {RESULTS})")
    parser.add_argument("--table", action="store_true", help="only print the table of the results")
    options = parser.parse_args(arguments)
    if options.trials < 1:
        parser.error("--trials: expected at least 1")
    if options.table:
        if not options.out.exists():
            print(f"{options.out}: no results yet; run python -m benchmarks.grid_error", file=sys.stderr)
            return 2
        results = json.loads(options.out.read_text())
    else:
        results = measure(options.trials, options.dt, options.target)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
