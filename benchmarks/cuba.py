"""Time the CUBA network, exact in continuous time: the package beside the hand-written program for sparse networks.

python -m benchmarks.cuba                     # no delay, one, of each synapse; 1000 to 16000 neurons; 0.2 to 10 s
python -m benchmarks.cuba --n 4000 --long     # one size, and 200 ms alone; keeps the rest of the results
python -m benchmarks.cuba --n 400 --quick     # seconds
python -m benchmarks.cuba --write-docs        # only the tables of docs/benchmarks.md, from the results

LIF neurons in volts, 80 % of them excitatory, each with 80 synapses on average (2 % of 4000), and 100 inputs onto the
excitatory ones. The loss is the sum of the excitatory neurons' spike times over their number, the gradient by all
weights. Both sides are one process on one thread; they take turns, and the least CPU time counts. Memory is the most
that the package's program has had resident, synapses and gradients included, without the Python beside it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from snnmodels.events.plan import EnginePlan
from snnmodels.files import write_between
from snnmodels.losses import Loss, LossValue, SpikeTimes
from snnmodels.targets.cpp.engine import CppEngine
from snnmodels.templates import load_model
from snnmodels.templates.groups import Population, Projection, SpikeInput
from snnmodels.templates.network import Network

from .command import command_line, page_options
from .limit.sparse import SparseLimit
from .run import describe_machine
from .serving import Meter, peak

RESULTS, DOCS = Path("docs/results/cuba.json"), Path("docs/benchmarks.md")
BEGIN, END = "<!-- cuba: written by python -m benchmarks.cuba -->", "<!-- cuba: end -->"
MODEL = Path(__file__).with_suffix(".toml")
SYNAPSES = 80  # of a neuron, on average
WEIGHTS = {"exc": 1.62e-3, "inh": -9e-3}  # volts
N_INPUTS, INPUT_SPIKES = 100, 6
SIZES, USUAL = (1000, 2000, 4000, 8000, 16000), 4000  # neurons; of how many longer trials are timed
DURATION, DURATIONS = 0.2, (1.0, 10.0)  # seconds
LONG_ROUNDS = 3  # of a longer trial, at most
NAMES = {"none": "none", "common": "1.5 ms", "own": "own, 0.5 to 3 ms"}
DELAYS = tuple(NAMES)


class SumOfSpikeTimes(Loss):
    """Sum of all spike times of a trial over the number of neurons, mean over the trials."""

    observes = SpikeTimes()

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        """Value and derivative."""
        there = np.isfinite(observed)
        scale = 1 / (observed.shape[0] * observed.shape[1])
        return LossValue(float(observed[there].sum() * scale), there * scale)


def network(
    n: int = USUAL,
    delays: str = "none",
    *,
    synapses: int = SYNAPSES,
    duration: float = DURATION,
    input_spikes: int = INPUT_SPIKES,
    seed: int = 0,
) -> tuple[Network, np.ndarray]:
    """The network, and its input spikes in seconds, shape (1, inputs, spikes).

    Parameters
    ----------
    n : int
        Neurons.
    delays : {"none", "common", "own"}
        No delay, 1.5 ms for all synapses, or between 0.5 and 3 ms.
    synapses : int
        Of a neuron, on average.
    duration : float
        Seconds.
    input_spikes : int
        Of each input.
    seed : int
    """
    rng = np.random.default_rng(seed)
    sizes = {"exc": int(0.8 * n), "inh": n - int(0.8 * n)}
    pairs = [(a, b) for a in sizes for b in sizes]
    masks = {(a, b): rng.random((sizes[a], sizes[b])) < synapses / n for a, b in pairs}
    inputs = rng.normal(0.1e-3, 0.2e-3, (N_INPUTS, sizes["exc"]))
    times = np.sort(rng.uniform(0, duration, (1, N_INPUTS, input_spikes)), axis=2)
    model = load_model(f"{MODEL}+exp_synapse:exc+exp_synapse:inh")
    parameters = {"tau_syn_exc": 5e-3, "tau_syn_inh": 10e-3}
    delay: dict[tuple[str, str], float | np.ndarray] = {
        pair: {"none": 0.0, "common": 1.5e-3}.get(delays, 0.0) for pair in pairs
    }
    if delays == "own":
        delay = {pair: rng.uniform(0.5e-3, 3e-3, mask.shape) for pair, mask in masks.items()}
    recurrent = tuple(
        Projection(f"{a}_{b}", a, b, mask * WEIGHTS[a], a, mask, delay=delay[a, b]) for (a, b), mask in masks.items()
    )
    net = Network(
        name="cuba",
        inputs=(SpikeInput("input", N_INPUTS),),
        populations=tuple(Population(name, size, model, parameters) for name, size in sizes.items()),
        projections=(Projection("input_exc", "input", "exc", inputs, "exc"), *recurrent),
        output="exc",
        duration=duration,
    )
    return net, times


@dataclass(frozen=True)
class Result:
    """Spike times and neurons in the order of time, excitatory ones first by number; gradients by key."""

    times: np.ndarray
    neurons: np.ndarray
    gradients: Mapping[str, np.ndarray]


class ByHand:
    """The hand-written program on a network of `network`; options as of `SparseLimit`."""

    def __init__(self, net: Network, times: np.ndarray, **options: Any) -> None:
        self.net = net
        first, *recurrent = net.projections
        offsets = {"exc": 0, "inh": net.populations[0].n}
        n = sum(p.n for p in net.populations)
        parts = []
        for k, q in enumerate(recurrent):
            i, j = np.nonzero(q.mask if q.mask is not None else np.ones(np.shape(q.weights), dtype=bool))
            delay = np.broadcast_to(q.delay, np.shape(q.weights))[i, j]
            from_to = (i + offsets[q.source], j + offsets[q.target])
            parts.append((*from_to, q.weights[i, j], delay, np.full(len(i), k), i, j))
        source, target, weights, delay, *self._place = (np.concatenate(x) for x in zip(*parts, strict=True))
        order = np.lexsort((target, source))
        self._place = [x[order] for x in self._place]
        inputs = np.zeros((first.weights.shape[0], n))
        inputs[:, : first.weights.shape[1]] = first.weights
        model = net.populations[0]
        names = ("tau_m", "E_L", "v_th", "v_reset", "tau_syn_exc", "tau_syn_inh")
        v = {name: float(model.value(name)) for name in names}
        common = len(set(delay)) == 1
        self.limit = SparseLimit(
            np.concatenate([[0], np.cumsum(np.bincount(source, minlength=n))]),
            target[order],
            weights[order],
            (np.arange(n) >= offsets["inh"]).astype(int),
            inputs,
            delay=float(delay[0]) if common else delay[order],
            tau_m=v["tau_m"],
            tau=(v["tau_syn_exc"], v["tau_syn_inh"]),
            threshold=v["v_th"] - v["E_L"],
            reset=v["v_reset"] - v["E_L"],
            **options,
        )
        by_time = np.argsort(times[0], axis=None, kind="stable")
        self._times = times[0].ravel()[by_time]
        self._sources = np.repeat(np.arange(times.shape[1]), times.shape[2])[by_time]

    def run(self, meter: Meter) -> None:
        """Forward and backward."""
        with meter.section("forward"):
            self.limit.forward(self._times, self._sources, self.net.duration)
        size = self.net.populations[0].n
        sensitivity = np.where(self.limit.spikes()[1] < size, 1 / size, 0.0)
        with meter.section("backward"):
            self.limit.backward(sensitivity)

    def result(self) -> Result:
        """What the last run gave."""
        by_synapse, inputs = self.limit.gradients()
        first, *recurrent = self.net.projections
        gradients = {f"{first.name}.w": inputs[:, : first.weights.shape[1]]}
        which, i, j = self._place
        for k, q in enumerate(recurrent):
            g = np.zeros(np.shape(q.weights))
            mine = which == k
            g[i[mine], j[mine]] = by_synapse[mine]
            gradients[f"{q.name}.w"] = g
        return Result(*self.limit.spikes(), gradients)

    def close(self) -> None:
        """Free the memory."""
        self.limit.close()


class Package:
    """The package's event engine in C++ on the same network."""

    def __init__(self, net: Network, times: np.ndarray) -> None:
        self.net, self.inputs = net, [times]
        self.engine = CppEngine(EnginePlan.of(net, [SpikeTimes()], input_gradients=False))
        for k, p in enumerate(net.populations):
            self.engine.set_parameters(k, {name: np.asarray(p.value(name)) for name in p.model.parameters})
        for k, q in enumerate(net.projections):
            self.engine.set_weights(k, q.weights)
            self.engine.set_delay(k, np.asarray(q.delay))
        self._output = [p.name for p in net.populations].index(net.output)

    def run(self, meter: Meter) -> None:
        """Forward and backward."""
        meter.find_children()
        with meter.section("forward"):
            self.engine.forward(self.inputs)
        value = SumOfSpikeTimes().evaluate(self.engine.spike_times(self._output), np.zeros(1))
        derivative = np.asarray(value.gradient)
        with meter.section("backward"):
            self.engine.pull([derivative])

    def result(self) -> Result:
        """What the last run gave."""
        times: list[np.ndarray] = []
        neurons: list[np.ndarray] = []
        offset = 0
        for k, p in enumerate(self.net.populations):
            each = self.engine.spike_times(k)[0]
            times.append(each[np.isfinite(each)])
            neurons.append(offset + np.nonzero(np.isfinite(each))[0])
            offset += p.n
        t, j = np.concatenate(times), np.concatenate(neurons)
        order = np.lexsort((j, t))
        gradients = {f"{q.name}.w": self.engine.weight_gradient(k) for k, q in enumerate(self.net.projections)}
        return Result(t[order], j[order], gradients)

    def close(self) -> None:
        """End the compiled program."""
        self.engine.close()


def compare(wanted: Result, found: Result) -> dict[str, Any]:
    """Spikes that differ, the largest difference of times in seconds, and the largest of gradients, relative."""
    same = len(wanted.times) == len(found.times) and bool((wanted.neurons == found.neurons).all())
    gradients = {
        key: float(np.linalg.norm(found.gradients[key] - g) / np.linalg.norm(g))
        for key, g in wanted.gradients.items()
        if key in found.gradients and g.any()
    }
    return {
        "same spikes in order": same,
        "times": float(np.abs(wanted.times - found.times).max()) if same else None,
        "gradients": max(gradients.values()) if gradients else None,
    }


def measure(n: int, rounds: int, delays: str) -> dict[str, Any]:
    """Least CPU time in ms of both sides, the package's memory in MB, and how they agree."""
    net, times = network(n, delays)
    contenders: dict[str, ByHand | Package] = {"by hand": ByHand(net, times)}
    found: dict[str, Any] = {"delays": delays}
    try:
        contenders["package"] = Package(net, times)
        contenders["package"].run(Meter())
        meters = {key: Meter() for key in contenders}
        for _ in range(rounds):
            for key, contender in contenders.items():
                contender.run(meters[key])
        results = {key: contender.result() for key, contender in contenders.items()}
        found["spikes"] = len(results["by hand"].times)
        for key, meter in meters.items():
            found[key] = least(meter)
        found["memory"] = program_memory()
        found["agreement"] = compare(results["by hand"], results["package"])
    finally:
        for contender in contenders.values():
            contender.close()
    return found


def measure_long(duration: float, rounds: int, delays: str) -> dict[str, Any]:
    """Of a longer trial, with as many input spikes per second."""
    net, times = network(delays=delays, duration=duration, input_spikes=round(INPUT_SPIKES * duration / DURATION))
    package = Package(net, times)
    meter = Meter()
    try:
        for _ in range(rounds):
            package.run(meter)
        spikes = sum(package.engine.spike_count(k) for k in range(len(net.populations)))
        return {"delays": delays, "duration": duration, "spikes": spikes, **least(meter), "memory": program_memory()}
    finally:
        package.close()


def least(meter: Meter) -> dict[str, float]:
    """Least CPU time in ms of both passes."""
    return {section: 1e3 * min(meter.cpu[section]) for section in ("forward", "backward")}


def program_memory() -> float:
    """The most that programs started here have had resident so far, in MB."""
    return Meter().peak_memory() - peak(os.getpid()) / 1000


def table(results: Mapping[str, Any]) -> str:
    """Results in Markdown."""
    lines = [
        "| neurons | delays | spikes | by hand | package | × | memory (MB) | agreement: times, gradients | measured |",
        "|--:|---|--:|--:|--:|--:|--:|---|---|",
    ]
    for r in results["sizes"]:
        hand, package, agreement = r["by hand"], r["package"], r["agreement"]
        ratio = sum(package.values()) / sum(hand.values())
        same = "other spikes"
        if agreement["times"] is not None:
            same = f"same spikes in order, {agreement['times']:.0e} s, {agreement['gradients']:.0e}"
        both = (f"{x['forward']:.1f} + {x['backward']:.1f}" for x in (hand, package))
        cells = (r["n"], NAMES[r["delays"]], r["spikes"], *both, f"{ratio:.2f}", f"{r['memory']:.0f}", same, r["when"])
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += [
        "",
        f"Longer trials of {USUAL} neurons, the package alone:",
        "",
        "| delays | seconds | spikes | forward + backward | per second of the trial | memory (MB) | measured |",
        "|---|--:|--:|--:|--:|--:|---|",
    ]
    for r in results["durations"]:
        time = r["forward"] + r["backward"]
        cost = f"{r['forward']:.0f} + {r['backward']:.0f}", f"{time / r['duration']:.0f}"
        cells = (NAMES[r["delays"]], f"{r['duration']:g}", r["spikes"], *cost, f"{r['memory']:.0f}", r["when"])
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Measure, write, print; return the exit status."""
    parser = command_line("cuba", __doc__)
    parser.add_argument("--n", type=int, nargs="*", default=list(SIZES), help="neurons")
    parser.add_argument("--long", type=float, nargs="*", default=list(DURATIONS), help=f"seconds, of {USUAL} neurons")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--delays", nargs="+", choices=DELAYS, default=list(DELAYS))
    parser.add_argument("--quick", action="store_true", help="2 rounds of 200 ms, and nothing is written")
    page_options(parser, RESULTS, DOCS)
    options = parser.parse_args(arguments)
    if options.rounds < 1 or min(options.n, default=SYNAPSES) < SYNAPSES:
        parser.error(f"--rounds: at least 1; --n: at least {SYNAPSES}")
    if min(options.long, default=1.0) <= 0:
        parser.error("--long: seconds, more than 0")
    if options.quick:
        found = [{"n": n, "when": "", **measure(n, 2, delays)} for n in options.n for delays in options.delays]
        print(table({"sizes": found, "durations": []}))
        return 0
    known = json.loads(options.out.read_text()) if options.out.exists() else {}
    results = {"sizes": [], "durations": []} | known
    if options.write_docs and not known:
        print(f"{options.out}: no results yet; run python -m benchmarks.cuba", file=sys.stderr)
        return 2
    cases = [("sizes", "n", n, delays) for delays in options.delays for n in options.n]
    cases += [("durations", "duration", seconds, delays) for delays in options.delays for seconds in options.long]
    for kind, key, value, delays in [] if options.write_docs else cases:
        print(f"{delays}: {key} {value}", file=sys.stderr, flush=True)
        machine = describe_machine()
        if kind == "sizes":
            row = measure(value, options.rounds, delays)
        else:
            row = measure_long(value, min(options.rounds, LONG_ROUNDS), delays)
        row = {key: value, "when": machine["date"], "load": machine["load_before"], **row}
        results["machine"] = machine
        kept = [r for r in results[kind] if (r[key], r["delays"]) != (value, delays)]
        results[kind] = sorted([*kept, row], key=lambda r: (DELAYS.index(r["delays"]), r.get("n", r.get("duration"))))
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    text = table(results)
    write_between(options.docs, BEGIN, text, END)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
