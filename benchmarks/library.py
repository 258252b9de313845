"""Measure every neuron of the library: error at the default tolerance, cost, time to generate and to compile.

python -m benchmarks.library                # writes docs/results/library.json and docs/library.md
python -m benchmarks.library --only adex    # some of them, kept beside the results that are there
python -m benchmarks.library --missing      # those of which there are no results
python -m benchmarks.library --table        # only the document, from the results

Each neuron is driven by spikes through its default synapse, with the smallest weights, doubled from a parameter's size
on, that make it spike. Errors are how far spike times and gradients of all parameters and weights at the default
tolerance are from those at the tightest one.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from snnmodels.gradients import Simulation, SimulationError
from snnmodels.gradients.probe import SmoothMaxima, SmoothSpikeTimes
from snnmodels.losses.base import Loss
from snnmodels.symbolic.declaration import hybrid_system
from snnmodels.targets import Target
from snnmodels.templates import Model, Network, Population, Projection, SpikeInput, catalogue, load_model

from .command import command_line
from .run import describe_machine

RESULTS, PAGE = Path("docs/results/library.json"), Path("docs/library.md")
NEURONS, SOURCES, DURATION = 64, 3, 100e-3
TIGHT = 1e-14
NAMED = 1e-6  # gradients that are further off are named in the table
REPEATS = 7  # of a run, of which the fastest counts
DOUBLINGS = 60
TIMES = np.array([[[2e-3, 30e-3, 61e-3], [9e-3, 38e-3, 72e-3], [17e-3, 47e-3, 80e-3]]])


def network(model: Model, weight: float) -> Network:
    """Neurons that differ by up to a tenth in their weights, all parameters learnable."""
    weights = weight * np.linspace(1.0, 1.1, SOURCES * NEURONS).reshape(SOURCES, NEURONS)
    return Network(
        model.name,
        (SpikeInput("input", SOURCES),),
        (Population("neurons", NEURONS, model, learnable=tuple(model.parameters)),),
        (Projection("w", "input", "neurons", weights, next(iter(model.receptors))),),
        "neurons",
        DURATION,
    )


def weight_of(model: Model, simulation: Simulation) -> float:
    """The smallest weight tried that makes every neuron spike; any for a model that doesn't spike."""
    unit = next(iter(model.receptors.values())).weight_unit
    if not model.spiking:
        return 1.0
    alike = [abs(p.value) for p in model.parameters.values() if p.unit == unit and p.value] or [1e-12]
    for k in range(DOUBLINGS):
        weight = 2.0**k * min(*alike, 1.0) / 64
        values = {"w.w": np.asarray(network(model, weight).projections[0].weights)}
        simulation.run({"input": TIMES}, np.zeros(1, dtype=int), values, gradient=False)
        if np.isfinite(simulation.spike_times("neurons")).any(axis=2).all():
            return weight
    raise ValueError(f"{model.name}: no weight up to {weight:g} {unit} makes it spike")


def opened(
    name: str, weight: float = 0.0, tolerance: float = 1e-10, target: Target = "cpp_standalone"
) -> Simulation:
    """A simulation of one neuron of the library, compiled unless another target is named."""
    model = load_model(name)
    loss: Loss = SmoothSpikeTimes() if model.spiking else SmoothMaxima(model.state_names[0], 1.0)
    options: Any = {"batch_size": 1, "target": target, "max_spikes": 10**6, "tolerance": tolerance}
    return Simulation(network(model, weight), loss, **options)


def opening(name: str) -> tuple[float, float]:
    """Seconds of processors that it takes to open one: to derive and write the program, and to compile it."""
    before, own = resource.getrusage(resource.RUSAGE_CHILDREN), time.process_time()
    with opened(name):
        after, own = resource.getrusage(resource.RUSAGE_CHILDREN), time.process_time() - own
    return own, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(name: str) -> dict[str, Any]:
    """One neuron of the library, in a cache of its own."""
    model = load_model(name)
    system = hybrid_system(model)
    found = {}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["SNNMODELS_CACHE"] = cache
        # where nothing has been derived yet, as in a script that starts
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            generation, compilation = pool.submit(opening, name).result()
        with opened(name) as simulation:
            weight = weight_of(model, simulation)
        for tolerance in (1e-10, TIGHT):
            with opened(name, weight, tolerance) as simulation:
                seconds = np.inf
                for _ in range(REPEATS):
                    start = time.perf_counter()
                    outcome = simulation.run({"input": TIMES}, np.zeros(1, dtype=int))
                    seconds = min(seconds, time.perf_counter() - start)
                spikes = simulation.spike_times("neurons") if model.spiking else np.empty(0)
                found[tolerance] = outcome, spikes, seconds
    (near, spikes, seconds), (exact, others, _) = found[1e-10], found[TIGHT]
    errors = {}
    for key, value in exact.gradients.items():
        size = max(float(np.linalg.norm(value)), 1e-300)
        errors[key] = float(np.linalg.norm(near.gradients[key] - value)) / size
    same = spikes.shape == others.shape and np.array_equal(np.isfinite(spikes), np.isfinite(others))
    there = np.isfinite(spikes)
    return {
        "title": model.title.partition(" + ")[0],
        "states": len([s for s in model.states if s.name in system_names(name)]),
        "linear": system.is_linear,
        "spikes": float(there.sum() / NEURONS),
        "same_spikes": bool(same),
        "time_error_ms": float(np.abs(spikes[there] - others[there]).max(initial=0.0) * 1e3) if same else None,
        "gradient_error": max(errors.values()),
        "worst_gradient": max(errors, key=lambda key: errors[key]),
        "microseconds": seconds / NEURONS * 1e6,
        "generation_seconds": generation,
        "compilation_seconds": compilation,
    }


def system_names(name: str) -> set[str]:
    """States of the neuron itself, without its synapse."""
    return set(load_model(name, "population_trace").state_names) - {"B"}


def page(results: Mapping[str, Any]) -> str:
    """The document of the results, in Markdown."""
    lines = [
        "# What the neurons cost, and how accurate they are",
        "",
        f"`python -m benchmarks.library`, {results['machine']['date']}, {results['machine']['processor']}.",
        f"Each neuron gets nine spikes in {DURATION * 1e3:g} ms through its default synapse, with weights just large",
        f"enough to make it spike. Errors are those of the default tolerance against {TIGHT:g} (relative in norm, of",
        f"the group of gradients that is furthest off, which is named where it is by more than {NAMED:g}; a group is",
        "measured against itself, however little it means to the loss: of the reset of `lif_sfa`, 3214 nS leave hardly",
        "anything). The cost is that of one neuron's 100 ms, forward and backward,",
        f"with all parameters learnable, on one core (the fastest of {REPEATS} runs). The last columns are what it",
        "takes to open the simulation, in seconds of one core: to derive the rules of the model and write its program,",
        "in each new process (generated); to compile that, once (compiled).",
        "Checks of values and behaviour against closed forms and other simulators are in `tests/templates`, those",
        "against the event-driven reference in `tests/exactness`.",
        "",
        "| model | title | states | spikes | spike times (ms) | gradients | cost (µs) | generated (s) | compiled (s) |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, r in sorted(results["neurons"].items()):
        if "refused" in r:
            lines.append(f"| `{name}` | {r['refused']} | | | | | | | |")
            continue
        error = r["time_error_ms"]
        times = "exact" if r["linear"] else "other spikes" if error is None else f"{error:.0e}"
        gradients = "exact" if r["linear"] else f"{r['gradient_error']:.0e}"
        if not r["linear"] and r["gradient_error"] > NAMED:
            gradients += f" (`{r['worst_gradient'].partition('.')[2]}`)"
        made = (f"{r['generation_seconds']:.1f}", f"{r['compilation_seconds']:.0f}")
        cost = (f"{r['microseconds']:.0f}", *made)
        cells = (r["states"], f"{r['spikes']:.1f}", times, gradients, *cost)
        lines.append(f"| `{name}` | {r['title']} | {' | '.join(map(str, cells))} |")
    neurons = [entry.name for entry in catalogue() if entry.kind == "neuron"]
    if missing := [f"`{name}`" for name in neurons if name not in results["neurons"]]:
        lines += ["", f"Not measured yet: {', '.join(missing)}."]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Measure, write, print; return the exit status."""
    names = [entry.name for entry in catalogue() if entry.kind == "neuron"]
    parser = command_line("library", __doc__)
    parser.add_argument("--only", nargs="+", choices=names, metavar="NEURON", help="measure these")
    parser.add_argument("--missing", action="store_true", help="measure those without results")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"results (default: {RESULTS})")
    parser.add_argument("--page", type=Path, default=PAGE, help=f"document (default: {PAGE})")
    parser.add_argument("--table", action="store_true", help="only write the document of the results")
    options = parser.parse_args(arguments)
    known = json.loads(options.out.read_text()) if options.out.exists() else {"neurons": {}}
    if options.table and not known["neurons"]:
        print(f"{options.out}: no results yet; run python -m benchmarks.library", file=sys.stderr)
        return 2
    wanted = [n for n in names if n not in known["neurons"]] if options.missing else options.only or names
    for name in [] if options.table else wanted:
        print(name, file=sys.stderr, flush=True)
        try:
            known["neurons"][name] = measure(name)
        except (SimulationError, ValueError) as error:
            known["neurons"][name] = {"refused": str(error).splitlines()[0]}
        known["machine"] = describe_machine()
        options.out.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    options.page.write_text(page(known))
    print(page(known))
    return 0


if __name__ == "__main__":
    sys.exit(main())
