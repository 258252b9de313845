"""Compare CUDA with C++ on every neuron of the library, on networks and in training, and time both.

    python scripts/check_cuda.py             # docs/results/cuda.json, docs/cuda_check.md
    python scripts/check_cuda.py --no-times  # without the times, which mean nothing on an emulator
    python scripts/check_cuda.py --quick --out output/cuda     # two neurons, networks, training, one small batch
    python scripts/check_cuda.py --only lif --out output/cuda  # this neuron alone
    python scripts/check_cuda.py --missing   # the neurons that the table doesn't have yet, beside those it has
    python scripts/check_cuda.py --rounding  # once more what rounding does where the table has more than 1e-12

A C++ compiler and nvcc are needed; NVCC="python tests/cudacpu/nvcc" runs all of it on the emulator. Where Nsight
Compute (ncu) is on the path, it says of each kernel what part of the card's bandwidth and FP64 rate it reaches. The
exit status is 1 if the targets differ.
"""

from __future__ import annotations

from snnmodels.studies import scripts  # first: it sets the number of NumPy's threads

# isort: split

import argparse
import contextlib
import dataclasses
import datetime
import os
import platform
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from snnmodels.events.plan import EnginePlan
from snnmodels.files import atomic_file, read_json, write_rounded
from snnmodels.gradients import Probe, Simulation, probe
from snnmodels.gradients.probe import SmoothSpikeTimes
from snnmodels.losses import MaxVoltageCrossEntropy, TTFSCrossEntropy
from snnmodels.optimisers import Adam
from snnmodels.studies.kernels import profile
from snnmodels.studies.targets import changes_by_last_bits, target_difference
from snnmodels.targets.compilation import compiler
from snnmodels.targets.cuda.program import compiler as cuda_compiler
from snnmodels.targets.devices import quiet
from snnmodels.templates import catalogue, load_model, load_network
from snnmodels.templates.groups import Population, Projection, SpikeInput
from snnmodels.templates.network import Network

Record = dict[str, Any]

TIMES, GRADIENTS = 1e-13, 1e-9  # seconds, and relative in norm by Taylor steps: what one target may be from the other
CLOSE = 1e-12  # relative: what is asked of closed forms, where they are not worse conditioned
CLOSED = "closed form"
WEIGHTS = 1e-10  # relative to the largest, after training
STEPS = 10  # batches of training
BATCHES = (32, 256, 1024, 4096, 8192)
REPEATS = 5
TARGETS = ("cpp_standalone", "cuda_standalone")
ROUNDING = (
    "What last bits do: how far that array of C++ is from itself, at most, where every weight and parameter is the "
    "next number up or down. Where a neuron barely reaches its threshold, gradients are divided by a small slope, and "
    "some are sums that come to little: no order of summation is better than another there. All have to be within "
    f"{CLOSE:.0e}, or within twice what last bits do, since each target is off by as much; by Taylor steps, which are "
    f"good for 1e-10, within {GRADIENTS:.0e}. Furthest off is what is so in proportion to the first two. Parameters "
    "that have no effect here (less than 1e-13 of the largest, on both targets) are left out: their gradients are 0 "
    "but for rounding."
)
UNFUSED = "-ffp-contract=off"  # of g++ and clang++: products are rounded before they are added
WITHOUT = (
    f"Unfused is a program that rounds products before it adds them (`{UNFUSED}` in C++, `-fmad=false` on CUDA), fused "
    "the same program, with the same steps and the same order of sums, that does not. How far C++ is from C++ unfused, "
    "and CUDA fused from unfused, is what rounding does and nothing else. Of the array that is furthest off above, "
    "relative in norm. Its effect is what a relative change of it does to the loss, as a part of the largest effect "
    "that an array has: where that is small, it is a sum that comes to little. Spike times move most where a neuron "
    "barely reaches its threshold."
)
KEYS = ("effect", "cuda", "cpp_unfused", "cuda_fused", "unfused", "numpy", "times")
QUICK = ("lif", "izhikevich_2007")


def compare(name: str) -> Record:
    """One neuron of the library on both targets, with delays, currents and every parameter learnable.

    Parameters
    ----------
    name : str
        Of its file.

    Returns
    -------
    dict
        ``neuron``; ``flow``, by closed form or by Taylor steps; ``times`` (seconds), ``loss`` and ``gradients``
        (relative): how far one is from the other; ``worst``, the key of the last, of the array that is furthest off in
        proportion to 1e-12, or to what rounding may do to it if that is more; ``rounding``, how far that array of C++
        is from itself where parameters and weights differ in their last bits.
    """
    return _compared("neuron", name, neuron(name))


def neuron(name: str) -> Probe:
    """The network of `compare`."""
    model = load_model(name)
    driven = any(not i.read_at for i in model.inputs.values())
    with quiet():
        return probe(model, trials=2, delays=True, currents=driven, target="cpp_standalone")


def _compared(what: str, name: str, given: Probe) -> Record:
    with quiet():
        found = target_difference(given, "cuda_standalone", "cpp_standalone")
    plan = EnginePlan.of(given.network, [given.loss.observables[0]])
    flows = CLOSED if all(p.rules.linear for p in plan.groups) else "Taylor steps"
    if found is None:
        nothing = dict.fromkeys(("times", "loss", "gradients", "rounding"))
        return {what: name, "flow": flows, **nothing, "worst": "other spikes"}
    with quiet():
        rounding = changes_by_last_bits(given, "cpp_standalone")
    # of several arrays that one which is furthest off for what rounding may do to it
    worst = max(found.arrays, key=lambda key: found.arrays[key] / max(CLOSE, 2 * rounding[key]))
    numbers = {"times": found.times, "loss": found.loss, "gradients": found.arrays[worst], "rounding": rounding[worst]}
    return {what: name, "flow": flows, **numbers, "worst": worst}


def recurrent() -> Probe:
    """Neurons with parameters of their own, masked connections, delays of each and recurrence; everything learnable."""
    rng = np.random.default_rng(0)
    model, n = load_model("lif+exp_synapse+refractory"), 40
    own = {name: q.value * rng.uniform(0.95, 1.05, n) for name, q in model.parameters.items() if q.value}
    hidden = Population("hidden", n, model, own, tuple(model.parameters))
    output = Population("output", 3, model, {}, tuple(model.parameters))

    def projection(source: str, target: str, shape: tuple[int, int], size: float, spread: float) -> Projection:
        weights, delays = rng.normal(size, spread, shape), rng.uniform(0.2e-3, 2e-3, shape)
        mask = rng.random(shape) < 0.5
        return Projection("", source, target, weights, "", mask, ("w", "delay"), delays)

    projections = (
        projection("input", "hidden", (8, n), 1.6, 0.8),
        projection("hidden", "hidden", (n, n), 0.0, 0.3),
        projection("hidden", "output", (n, 3), 0.5, 0.3),
    )
    network = Network("recurrent", (SpikeInput("input", 8),), (hidden, output), projections, "output", 30e-3)
    times = rng.uniform(0, 12e-3, (4, 8, 2))
    return Probe(network, {"input": np.sort(times, axis=2)}, SmoothSpikeTimes(), np.zeros(4, dtype=int))


def yin_yang(trials: int, **changes: Any) -> Probe:
    """A batch of the library's network."""
    rng = np.random.default_rng(0)
    times, labels = rng.uniform(0, 0.03, (trials, 5)), rng.integers(0, 3, trials)
    return Probe(load_network("yin_yang", **changes), {"input": times[:, :, None]}, TTFSCrossEntropy(), labels)


def cut_mnist(trials: int) -> Probe:
    """The library's network on random images of 196 pixels, with 100 hidden neurons."""
    whole = load_network("mnist", input={"n": 196}, hidden={"n": 100})
    first, second = whole.projections
    first = dataclasses.replace(first, weights=4 * np.asarray(first.weights))  # for a quarter of the pixels
    return _images(dataclasses.replace(whole, projections=(first, second)), trials)


def mnist(trials: int) -> Probe:
    """The library's network on random images."""
    return _images(load_network("mnist"), trials)


def _images(network: Network, trials: int) -> Probe:
    """A batch of random images, a fifth of their pixels grey."""
    rng, n = np.random.default_rng(0), network.inputs[0].n
    grey = np.where(rng.random((trials, n)) < 0.2, rng.uniform(0, 20e-3, (trials, n)), np.inf)
    return Probe(network, {"input": grey[:, :, None]}, MaxVoltageCrossEntropy(), rng.integers(0, 10, trials))


NETWORKS: Mapping[str, Callable[[], Probe]] = {
    "Yin-Yang 5-200-3, first spikes, 16 trials": partial(yin_yang, 16),
    "cut MNIST 196-100-10, maxima, 4 trials": partial(cut_mnist, 4),
    "recurrent, masked, delays and parameters of each, 8-40-3, 4 trials": recurrent,
}


def networks() -> list[Record]:
    """Whole networks, as `compare` tells of a neuron."""
    return [_compared("network", name, given()) for name, given in NETWORKS.items()]


@contextlib.contextmanager
def compiled_by(variable: str, words: Sequence[str]) -> Iterator[None]:
    """Programs are made by another command, which a variable of the environment names."""
    was = os.environ.get(variable)
    os.environ[variable] = " ".join(words)
    try:
        yield
    finally:
        if was is None:
            del os.environ[variable]
        else:
            os.environ[variable] = was


def single() -> list[Record]:
    """`networks` with the rules of linear models in float32: times, states and sums stay in float64."""
    with compiled_by("NVCC", [*cuda_compiler(), "-DSNN_REAL=float"]):
        return networks()


def without_fusing(record: Record) -> Record:
    """What rounding alone does to the array that is furthest off in a neuron or a network.

    Parameters
    ----------
    record : dict
        As `compare` and `networks` give.

    Returns
    -------
    dict
        ``name``, ``array``; ``effect``, of the array on the loss, as part of the largest one; how far it is, relative
        in norm, on CUDA (``cuda``), on NumPy (``numpy``) and in C++ without fused multiply-adds (``cpp_unfused``) from
        C++; on CUDA with them from CUDA without (``cuda_fused``), and on both without (``unfused``); ``times``, how far
        spikes of C++ are from those without, in seconds.
    """
    name, key = record.get("neuron") or record["network"], record["worst"]
    given = neuron(name) if "neuron" in record else NETWORKS[name]()
    cpp, times = _ran(given, TARGETS[0])
    with compiled_by("CXX", [*compiler(), UNFUSED]):
        unfused, others = _ran(given, TARGETS[0])
    cuda, numpy = (_ran(given, target)[0] for target in (TARGETS[1], "numpy"))
    fused = {}
    for told in ("true", "false"):
        with compiled_by("NVCC", [*cuda_compiler(), f"-fmad={told}"]):
            fused[told] = _ran(given, TARGETS[1])[0]

    def apart(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> float:
        return float(np.linalg.norm(one[key] - other[key]) / np.linalg.norm(other[key]))

    values: dict[str, Any] = dict(given.network.trainable())
    for k in cpp:  # times count by the trial's length, as in `target_difference`
        if k.endswith(".times"):
            values[k] = given.network.duration
        elif k.endswith(".samples"):
            values[k] = given.inputs[k.removesuffix(".samples")]
    effects = {k: float(np.linalg.norm(values[k] * g)) for k, g in cpp.items() if k in values}
    there = [np.isfinite(t) for t in times]
    if any((t != np.isfinite(o)).any() for t, o in zip(there, others, strict=True)):
        raise ValueError(f"{name} spikes otherwise without fused multiply-adds; compare it on another network")
    moved = [np.abs(t[at] - o[at]).max(initial=0.0) for t, o, at in zip(times, others, there, strict=True)]
    return {
        "name": name,
        "array": key,
        "effect": effects[key] / max(effects.values()),
        "cuda": apart(cuda, cpp),
        "cpp_unfused": apart(unfused, cpp),
        "cuda_fused": apart(fused["true"], fused["false"]),
        "unfused": apart(fused["false"], unfused),
        "numpy": apart(numpy, cpp),
        "times": float(max(moved)),
    }


def _ran(given: Probe, target: Any) -> tuple[Mapping[str, np.ndarray], list[np.ndarray]]:
    """Gradients, and the spike times of every population."""
    with quiet(), Simulation(given.network, given.loss, batch_size=len(given.targets), target=target) as simulation:
        gradients = simulation.run(given.inputs, given.targets).gradients
        return gradients, [simulation.spike_times(p.name) for p in given.network.populations if p.model.spiking]


def train() -> list[Record]:
    """Batches of training in one call of the program.

    Returns
    -------
    list of dict
        ``task``; ``weights``, how far those of CUDA are from C++'s after all steps, relative to the largest;
        ``losses``, likewise of every batch; ``same``, whether two runs on CUDA agree in every bit.
    """
    cases = {"Yin-Yang 5-40-3": yin_yang(8 * STEPS, hidden={"n": 40}), "cut MNIST 196-100-10": cut_mnist(4 * STEPS)}
    return [{"task": task, **_trained(given)} for task, given in cases.items()]


def _trained(given: Probe) -> Record:
    size = len(given.targets) // STEPS
    parts = [slice(k * size, (k + 1) * size) for k in range(STEPS)]
    batches = [({"input": given.inputs["input"][part]}, given.targets[part]) for part in parts]
    runs = []
    for target in (*TARGETS, TARGETS[1]):
        values = {f"{q.name}.w": np.array(q.weights) for q in given.network.projections}
        options: Any = {"batch_size": size, "target": target, "input_gradients": False}
        with Simulation(given.network, given.loss, **options) as simulation:
            outcomes = simulation.fit(batches, values, Adam(2e-3))
        runs.append((values, np.array([o.loss for o in outcomes])))
    (cpp, losses), (one, found), (other, _) = runs
    apart = max(float(np.abs(one[key] - w).max() / np.abs(w).max()) for key, w in cpp.items())
    same = all(np.array_equal(one[key], other[key]) for key in one)
    return {"weights": apart, "losses": float(np.abs(found / losses - 1).max()), "same": same}


def limit(record: Record) -> float:
    """How far gradients may be apart: no further than each target may be off, by rounding or by its tolerance."""
    return max(CLOSE if record["flow"] == CLOSED else GRADIENTS, 2 * record["rounding"])


def passes(record: Record) -> bool:
    """Whether the targets agree on a neuron or a network."""
    return record["times"] is not None and record["times"] <= TIMES and record["gradients"] <= limit(record)


def within(record: Record) -> bool:
    """Whether loss and gradients of the targets agree to `CLOSE`."""
    return record["times"] is not None and max(record["loss"], record["gradients"]) <= CLOSE


TASKS: Mapping[str, Callable[[int], Probe]] = {"yin_yang": yin_yang, "mnist": mnist}


def measure(task: str, batch: int) -> Record:
    """Seconds that a batch takes, the fastest of a few, by target.

    Parameters
    ----------
    task : {"yin_yang", "mnist"}
    batch : int

    Returns
    -------
    dict
        ``task``, ``batch``; by target what one takes that Python asks for, forward and backward, and under
        ``"<target> fit"`` what one of ten takes that the program trains on in one call.
    """
    given = TASKS[task](batch)
    record: Record = {"task": task, "batch": batch}
    ten = [(given.inputs, given.targets)] * 10
    for target in TARGETS:
        options: Any = {"batch_size": batch, "target": target, "input_gradients": False}
        values = {f"{q.name}.w": np.array(q.weights) for q in given.network.projections}
        with Simulation(given.network, given.loss, **options) as simulation:
            record[target] = _fastest(partial(simulation.run, given.inputs, given.targets))
            # of a rate at which the weights stay about where they are, so that all batches are the same work
            record[f"{target} fit"] = _fastest(partial(simulation.fit, ten, values, Adam(1e-9))) / 10
    return record


def _fastest(run: Callable[[], object]) -> float:
    run()
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return min(taken)


def device() -> str:
    """The GPU and its driver, as nvidia-smi names them."""
    if shutil.which("nvidia-smi") is None:
        return "no nvidia-smi: an emulator, or no GPU"
    words = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip().replace("\n", "; ")


def page(results: Mapping[str, Any]) -> str:
    """The page of the documentation."""

    def row(record: Record, what: str) -> str:
        if record["times"] is None:
            return f"| {record[what]} | {record['flow']} | other spikes | | | | | **no** |"
        times, loss, gradients, rounding = (f"{record[key]:.1e}" for key in ("times", "loss", "gradients", "rounding"))
        apart = "rounding" if record["gradients"] <= 2 * record["rounding"] else f"{GRADIENTS:.0e}"
        said = f"{CLOSE:.0e}" if within(record) else apart if passes(record) else "**no**"
        cells = (record[what], record["flow"], times, loss, gradients, record["worst"], rounding, said)
        return f"| {' | '.join(cells)} |"

    count, have = len(results["neurons"]), {r["neuron"] for r in results["neurons"]}
    missing = [e.name for e in catalogue() if e.kind == "neuron" and e.name not in have]
    close = [r for r in results["neurons"] if within(r)]
    far = [r["neuron"] for r in results["neurons"] if r not in close]
    out = [
        "# CUDA beside C++",
        "",
        f"`{results['command']}`, {results['date']}; {results['device']}. How far target",
        "`cuda_standalone` is from `cpp_standalone`: spike times in seconds, at most; losses relative; of gradients,",
        "relative in norm, the array that is furthest off, and which one that is. Neurons of the library, in a network",
        "of two layers with a delay of each synapse, currents where it has an input for them, and every parameter",
        f"learnable. Of {count} neurons {len(close)} are within {CLOSE:.0e}{''.join(f', {name} not' for name in far)}.",
        "",
        *textwrap.wrap(ROUNDING, 112),
        "" if not missing else f"\nNot yet compared: {', '.join(missing)}.\n",
    ]
    head = "| {} | flow | spike times | loss | gradients | furthest off | last bits do | within |"
    rule = "|---|---|--:|--:|--:|---|--:|---|"
    out += [head.format("neuron"), rule, *(row(r, "neuron") for r in results["neurons"])]
    if results["networks"]:
        out += ["", "Networks:", "", head.format("network"), rule, *(row(r, "network") for r in results["networks"])]
    if results["unfused"]:
        out += ["", f"Those that are not within {CLOSE:.0e}:", "", *textwrap.wrap(WITHOUT, 112), ""]
        titles = ["array", "effect", "CUDA from C++", "C++ unfused from C++", "CUDA fused from unfused"]
        titles += ["CUDA from C++, both unfused", "NumPy from C++", "spikes of C++ unfused from C++"]
        out += [f"| | {' | '.join(titles)} |", "|---|---|" + "--:|" * 7]
        for r in results["unfused"]:
            numbers = [f"{r[key]:.1e}" for key in KEYS]
            out.append(f"| {r['name']} | {r['array']} | {' | '.join(numbers)} |")
    if results["single"]:
        out += ["", "The same with rules in float32, and times, states and sums in float64:", ""]
        out += ["| network | spike times | loss | gradients | furthest off |", "|---|--:|--:|--:|---|"]
        for r in results["single"]:
            numbers = [r[key] for key in ("times", "loss", "gradients")]
            cells = ["other spikes", "", ""] if None in numbers else [f"{x:.0e}" for x in numbers]
            out.append(f"| {r['network']} | {' | '.join(cells)} | {r['worst']} |")
    if results["training"]:
        out += ["", f"{STEPS} batches of training in one call, with losses and Adam in the program:", ""]
        out += ["| task | weights | losses | two runs on CUDA |", "|---|--:|--:|---|"]
        for r in results["training"]:
            same = "the same bits" if r["same"] else "**differ**"
            out.append(f"| {r['task']} | {r['weights']:.0e} | {r['losses']:.0e} | {same} |")
    if results["times"]:
        out += ["", f"Batches in ms; {results['machine']}, one core for C++.", ""]
        out += ["| task | batch | C++ | CUDA | C++, ten in one call | CUDA, ten in one call |", "|---|" + "--:|" * 5]
        keys = (*TARGETS, *(f"{target} fit" for target in TARGETS))
        for r in results["times"]:
            out.append(f"| {r['task']} | {r['batch']} | " + " | ".join(f"{1e3 * r[key]:.3g}" for key in keys) + " |")
    if results["profile"]:
        out += ["", "Kernels of a batch as Nsight Compute sees them: parts of the bandwidth of the card's memory and"]
        out += ["of its FP64 rate, and of the warps that its multiprocessors could hold.", ""]
        out += ["| task | batch | kernel | time | bandwidth | FP64 | warps |", "|---|--:|---|" + "--:|" * 4]
        for r in results["profile"]:
            parts = " | ".join(f"{100 * r[key]:.0f} %" for key in ("bandwidth", "fp64", "warps"))
            out.append(f"| {r['task']} | {r['batch']} | {r['kernel']} | {1e3 * r['seconds']:.3g} ms | {parts} |")
    return "\n".join([*out, ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, time, write results and page; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--quick", action="store_true", help=f"{' and '.join(QUICK)}, one batch of {BATCHES[0]}")
    which.add_argument("--only", nargs="+", metavar="NAME", help="these neurons and nothing else")
    which.add_argument("--missing", action="store_true", help="the neurons that the table in DIR lacks, added to it")
    which.add_argument("--rounding", action="store_true", help="what rounding does to the table in DIR")
    which.add_argument("--batch", nargs=2, metavar=("TASK", "N"), help="two batches on CUDA alone, for a profiler")
    parser.add_argument("--no-times", action="store_true", help="do not time batches")
    parser.add_argument("--out", type=Path, default=Path("docs"), metavar="DIR", help="default: %(default)s")
    given = parser.parse_args(arguments)
    if given.batch:
        task, number = given.batch
        if task not in TASKS or not number.isdecimal() or int(number) < 1:
            raise ValueError(f"--batch {task} {number}; expected {' or '.join(TASKS)}, and a number of trials")
        batch = TASKS[task](int(number))
        with Simulation(batch.network, batch.loss, batch_size=int(number), target=TARGETS[1]) as simulation:  # type: ignore[arg-type]
            for _ in range(2):  # lists have grown to what the second one needs
                simulation.run(batch.inputs, batch.targets)
        return 0
    known = [e.name for e in catalogue() if e.kind == "neuron"]
    for name in given.only or ():
        if name not in known:
            raise ValueError(f"--only {name}: the library has no such neuron")
    to = given.out / "results" / "cuda.json"

    def write() -> None:
        write_rounded(to, results)
        with atomic_file(given.out / "cuda_check.md", "page") as opened:
            opened.write(page(results).encode())

    def what_rounding_does() -> None:
        for record in (*results["neurons"], *results["networks"]):
            if record["times"] is None or within(record):
                continue
            results["unfused"].append(without_fusing(record))
            said = "{name}, {array}: CUDA {cuda:.0e} from C++, C++ unfused {cpp_unfused:.0e} from C++".format
            print(said(**results["unfused"][-1]), flush=True)

    if given.rounding:
        results: Record = dict(read_json(to, "results file", "neurons", "networks", "single", "training", "times"))
        results |= {"unfused": [], "profile": results.get("profile", [])}
        what_rounding_does()
        write()
        return 0
    neurons: list[Record] = []
    if given.missing and to.exists():
        neurons = list(read_json(to, "results file", "neurons")["neurons"])
    have = {r["neuron"] for r in neurons}
    results = {
        "command": "python scripts/check_cuda.py",
        "date": str(datetime.date.today()),
        "device": device(),
        "compilers": [" ".join(compiler()), " ".join(Path(word).name for word in cuda_compiler())],
        "machine": platform.processor() or platform.machine(),
        "neurons": neurons,
        "networks": [],
        "unfused": [],
        "single": [],
        "training": [],
        "times": [],
        "profile": [],
    }

    def tell(name: str, record: Record) -> None:
        said = "other spikes" if record["times"] is None else f"{record['times']:.0e} s, {record['gradients']:.0e}"
        print(f"{name}: {said} ({record['worst']}): {'agrees' if passes(record) else 'DIFFERS'}", flush=True)

    if not given.only:
        results["networks"] = networks()
        for record in results["networks"]:
            tell(record["network"], record)
        write()
        results["single"] = single()
        for record in results["single"]:
            print(f"{record['network']}, float32: {record['times']} s, {record['gradients']}", flush=True)
        write()
        results["training"] = train()
        for r in results["training"]:
            same = "the same bits twice" if r["same"] else "other bits the second time"
            print(f"{r['task']}, {STEPS} batches of training: weights {r['weights']:.0e}, {same}", flush=True)
        write()
    for name in given.only or (QUICK if given.quick else [name for name in known if name not in have]):
        neurons.append(compare(name))
        tell(name, neurons[-1])
        write()
    neurons.sort(key=lambda r: known.index(r["neuron"]))
    write()
    timed = () if given.only or given.no_times else BATCHES[:1] if given.quick else BATCHES
    for task in TASKS:
        for size in timed:
            results["times"].append(measure(task, size))
            cpp, cuda = (1e3 * results["times"][-1][target] for target in TARGETS)
            print(f"{task}, batch of {size}: C++ on one core {cpp:.3g} ms, CUDA {cuda:.3g} ms", flush=True)
        if timed and shutil.which("ncu"):
            kernels = profile([sys.executable, __file__, "--batch", task, str(timed[-1])])
            results["profile"] += [{"task": task, "batch": timed[-1], **kernel} for kernel in kernels]
        write()
    what_rounding_does()
    write()
    print(f"{to}: {results['device']}")
    trained = all(r["same"] and r["weights"] <= WEIGHTS for r in results["training"])
    return int(not (all(map(passes, [*neurons, *results["networks"]])) and trained))


if __name__ == "__main__":
    scripts.run(main)
