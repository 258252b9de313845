"""Measure nonlinear models: errors of spike times and gradients, and cost, at two tolerances and on a time grid.

python -m benchmarks.nonlinear                  # writes docs/results/nonlinear.json and the table of docs/benchmarks.md
python -m benchmarks.nonlinear --only qif       # some of them, kept beside the results that are there
python -m benchmarks.nonlinear --write-docs     # only the table, from the results

Eight neurons of a model, or eight of each of three populations that reach each other without delay, get twenty spikes
in 100 ms. The truth is that of `snnmodels.oracle` (SciPy's Runge-Kutta, event by event). The grid is what the package
used before: `GridSimulation`, Taylor series of order 4 in steps of 0.1 ms, compiled. The cost is CPU time forward and
backward of a batch of equal trials, one after the other on one thread; everybody takes turns, and the least counts.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from snnmodels import oracle
from snnmodels.files import write_between
from snnmodels.gradients import GridSimulation, Simulation, UnresolvedSpikes
from snnmodels.losses import Loss, LossValue, Observable, SpikeTimes
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model

from .command import command_line, page_options
from .run import describe_machine
from .serving import Meter

RESULTS, DOCS = Path("docs/results/nonlinear.json"), Path("docs/benchmarks.md")
BEGIN, END = "<!-- nonlinear: written by python -m benchmarks.nonlinear -->", "<!-- nonlinear: end -->"
NEURONS, SOURCES, DURATION, TRIALS, ROUNDS = 8, 20, 100e-3, 64, 7
STEP, MAX_SPIKES = 0.1e-3, 128
DEFAULT, TIGHT = 1e-10, 1e-12
ENOUGH, FACTOR = 3.0, 1.3  # spikes of a neuron that are looked for, and by what factor weights are raised until then
ADEX = "eif+exp_synapse+current_adaptation+subthreshold_adaptation"
MIX = {"lif+exp_synapse": 1.0, "eif+exp_synapse": 0.015, "qif+exp_synapse": 0.02}  # and a weight of usual size
MODELS = {
    "quadratic (`qif`)": "qif+exp_synapse",
    "exponential (`eif`)": "eif+exp_synapse",
    "AdEx, by mechanisms": ADEX,
    "`lif` with conductances": "lif+exp_conductance",
    "recurrent: `lif`, `eif`, `qif`": "mix",
}
COLUMNS = {"default": f"{DEFAULT:g}", "tight": f"{TIGHT:g}", "grid": "grid, 0.1 ms"}


class AllSpikes(Loss):
    """Polynomial of all spike times, each with a weight of its own that is the same in every trial; their mean."""

    observes: ClassVar[Observable] = SpikeTimes()

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        """Value and derivative; targets are not read."""
        trials, n, k = observed.shape
        there = np.isfinite(observed)
        c = (1 + (0.39 * np.arange(n)[:, None] + 0.31 * np.arange(k)) % 2.0) / trials
        u = np.where(there, observed, 0.0) / 50e-3
        return LossValue(float((c * (u + u**2))[there].sum()), np.where(there, c * (1 + 2 * u) / 50e-3, 0.0))


def network(name: str, weight: float) -> Network:
    """All parameters learnable; weights about the size that is given (relative to `MIX`, of the mix)."""
    rng = np.random.default_rng(3)
    sources = (SpikeInput("input", SOURCES),)
    if name != "mix":
        model = load_model(name)
        w = weight * rng.uniform(0.5, 1.5, (SOURCES, NEURONS))
        populations = (Population("neurons", NEURONS, model, learnable=tuple(model.parameters)),)
        projection = Projection("w", "input", "neurons", w, next(iter(model.receptors)))
        return Network("nonlinear", sources, populations, (projection,), "neurons", DURATION)
    groups, projections = [], []
    for part, unit in MIX.items():
        model = load_model(part)
        group = Population(part.partition("+")[0], NEURONS, model, learnable=tuple(model.parameters))
        w = weight * unit * rng.uniform(0.5, 1.5, (SOURCES, NEURONS))
        projections.append(Projection(f"input_{group.name}", "input", group.name, w, "exp_synapse"))
        groups.append(group)
    for source in groups:
        for target, unit in zip(groups, MIX.values(), strict=True):
            w = 0.15 * unit * rng.normal(0.0, 1.0, (NEURONS, NEURONS))
            projections.append(Projection(f"{source.name}_{target.name}", source.name, target.name, w, "exp_synapse"))
    return Network("nonlinear", sources, tuple(groups), tuple(projections), groups[-1].name, DURATION)


def times() -> np.ndarray:
    """Of the input spikes, the same in all trials; shape (trials, sources)."""
    return np.tile(np.random.default_rng(5).uniform(1e-3, 95e-3, (1, SOURCES)), (TRIALS, 1))


def weight_of(name: str) -> float:
    """The smallest weight tried with which neurons spike often enough."""
    simple = name != "mix"
    unit = next(iter(load_model(name).receptors.values())).weight_unit if simple else ""
    weight = 1e-4 if unit == "volt" else 1e-2 if simple else 0.2
    with Simulation(network(name, weight), AllSpikes(), batch_size=1, target="cpp_standalone") as simulation:
        for _ in range(60):
            net = network(name, weight)
            values = {f"{q.name}.w": np.asarray(q.weights) for q in net.projections}
            simulation.run({"input": times()[:1]}, np.zeros(1, dtype=int), values, gradient=False)
            counts = [np.isfinite(simulation.spike_times(p.name)).sum() / p.n for p in net.populations]
            if min(counts) >= ENOUGH:
                return weight
            weight *= FACTOR
    raise ValueError(f"{name}: no weight up to {weight:g} makes it spike")


def compared(
    exact: oracle.OracleGradient, spikes: Mapping[str, np.ndarray], gradients: Mapping[str, Any]
) -> dict[str, Any]:
    """How far spike times (ms) and gradients (relative in norm, of the worst group) are off."""
    off = 0.0
    for name, wanted in exact.spikes.items():
        found = spikes[name][0]
        most = max(found.shape[-1], wanted.shape[-1])
        a, b = (np.pad(x, ((0, 0), (0, most - x.shape[-1])), constant_values=np.inf) for x in (found, wanted[0]))
        there = np.isfinite(b)
        if not np.array_equal(np.isfinite(a), there):
            off = np.inf
            break
        off = max(off, float(np.abs(a[there] - b[there]).max(initial=0.0) * 1e3))
    errors = {}
    for key, value in exact.gradients.items():
        found = np.asarray(gradients[key])
        found = found.sum(axis=0, keepdims=True) if key.endswith(".times") else found
        size = float(np.linalg.norm(value))
        if size > 0:
            errors[key] = float(np.linalg.norm(found - value)) / size
    worst = max(errors, key=lambda key: errors[key])
    return {
        "time_error_ms": off if np.isfinite(off) else None,
        "gradient_error": errors[worst],
        "worst": worst,
        "median_gradient_error": float(np.median(list(errors.values()))),
    }


def measure(name: str) -> dict[str, Any]:
    """One row."""
    weight = weight_of(name)
    net, inputs, labels = network(name, weight), {"input": times()}, np.zeros(TRIALS, dtype=int)
    exact = oracle.gradient(net, {"input": inputs["input"][:1]}, AllSpikes(), labels[:1])
    count = sum(p.n for p in net.populations)
    spikes = sum(int(np.isfinite(t).sum()) for t in exact.spikes.values())
    found: dict[str, Any] = {"model": name, "weight": weight, "spikes": spikes / count}
    options: Any = {"batch_size": TRIALS, "target": "cpp_standalone"}
    with (
        warnings.catch_warnings(),
        Simulation(net, AllSpikes(), tolerance=DEFAULT, **options) as default,
        Simulation(net, AllSpikes(), tolerance=TIGHT, **options) as tight,
        GridSimulation(net, AllSpikes(), dt=STEP, order=4, max_spikes=MAX_SPIKES, **options) as grid,
    ):
        warnings.simplefilter("ignore", UnresolvedSpikes)  # part of what is measured
        ways: dict[str, Simulation | GridSimulation] = {"default": default, "tight": tight, "grid": grid}
        meters = {}
        for key, simulation in ways.items():
            outcome = simulation.run(inputs, labels)
            trains = {p.name: simulation.spike_times(p.name) for p in net.populations}
            found[key] = compared(exact, trains, outcome.gradients)
            meters[key] = Meter()  # which finds the program that now runs
        for _ in range(ROUNDS):
            for key, simulation in ways.items():
                with meters[key].section("batch"):
                    simulation.run(inputs, labels)
        for key, meter in meters.items():
            found[key]["microseconds"] = 1e6 * min(meter.cpu["batch"]) / (count * TRIALS)
    return found


def table(results: Mapping[str, Any]) -> str:
    """Results in Markdown."""
    machine = results["machine"]
    head = "".join(f" {label}: times (ms), gradients, cost (µs) |" for label in COLUMNS.values())
    lines = [
        f"{machine['date']}, {machine['processor']}, load {machine['load_before']:.1f}; least of {ROUNDS} rounds, CPU "
        "time.\n",
        f"| model | spikes per neuron |{head}",
        f"|---|--:|{'--:|' * len(COLUMNS)}",
    ]
    for title in (title for title in MODELS if title in results["models"]):
        row = results["models"][title]
        cells = [title, f"{row['spikes']:.1f}"]
        for key in COLUMNS:
            r = row[key]
            time = "other spikes" if r["time_error_ms"] is None else f"{r['time_error_ms']:.0e}"
            cells.append(f"{time}, {r['gradient_error']:.0e}, {r['microseconds']:.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Measure, write, print; return the exit status."""
    parser = command_line("nonlinear", __doc__)
    short = {name.partition("+")[0] if name != ADEX else "adex": title for title, name in MODELS.items()}
    parser.add_argument("--only", nargs="+", choices=list(short), metavar="MODEL", help=f"of {', '.join(short)}")
    page_options(parser, RESULTS, DOCS)
    options = parser.parse_args(arguments)
    known = json.loads(options.out.read_text()) if options.out.exists() else {"models": {}}
    if options.write_docs and not known["models"]:
        print(f"{options.out}: no results yet; run python -m benchmarks.nonlinear", file=sys.stderr)
        return 2
    for key in [] if options.write_docs else options.only or short:
        print(short[key], file=sys.stderr, flush=True)
        known["machine"] = describe_machine()
        known["models"][short[key]] = measure(MODELS[short[key]])
        options.out.write_text(json.dumps(known, indent=1) + "\n")
    text = table(known)
    write_between(options.docs, BEGIN, text, END)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
