"""How a spike-coding network's simulation grows with the number of neurons, in the dense and in the low-rank form.

python -m benchmarks.coding_scale [--out FILE] [--repeats R]

Each row is a network of N neurons of unequal norms that code M signals for 0.5 s at dt = 0.1 ms. Each cell runs in a
process of its own, on one thread: seconds are the best of R runs (one run of what takes over 20 s), megabytes the peak
of the process over what it holds before the simulation. The hand-written loop keeps x - x̂ alone and multiplies it by
the encoder in every step; it knows one linear cost and nothing else. `measure` is what the package computes of a
response: rate, synaptic events, loss, penalties. For C++ standalone the whole process is timed, without its
compilation; the dense form has N² synapses and is run up to 1000 neurons.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import brian2
import numpy as np

from snnmodels.coding import (
    CodingNetwork,
    Response,
    Signal,
    brian_network,
    golden_angle_decoder,
    load_coding_network,
    log_uniform_norms,
    measure,
    random_decoder,
    simulate,
    smooth_signal,
)
from snnmodels.targets.devices import cpp_preferences, preferences, quiet

RESULTS = Path("docs/results/coding_scale.json")
ROWS = ((100, 2), (1000, 2), (10_000, 2), (100_000, 2), (1000, 32), (10_000, 32))
SECONDS = 0.5
LARGEST = {"NumPy, dense": 10_000, "C++, dense": 1000, "loop over M by hand": 100_000}
KINDS = ("loop over M by hand", "NumPy, dense", "NumPy, low rank", "measure", "C++, dense", "C++, low rank")


def case(n: int, m: int) -> tuple[CodingNetwork, Signal]:
    """The network and signal of a row; the price grows with the length of the signal, as the number of spikes would."""
    norms = log_uniform_norms(n, 0.03, 0.6)
    decoder = golden_angle_decoder(n, norms) if m == 2 else random_decoder(m, n, norms, seed=0)
    nu = 0.003 if m == 2 else 0.05
    return CodingNetwork(decoder, load_coding_network("joint").loss, {"nu": nu}), smooth_signal(SECONDS, dimensions=m)


def loop_by_hand(network: CodingNetwork, signal: Signal) -> tuple[np.ndarray, np.ndarray]:
    """Steps and neurons of the spikes."""
    keep = np.exp(-signal.dt / network.tau)
    encoder, rows, drive = network.encoder, np.ascontiguousarray(network.decoder.T), network.drive(signal)
    threshold = (network.norms**2 + network.value("nu")) / 2
    error, found = signal.values[0].copy(), []
    for k in range(signal.steps):
        error = keep * error + drive[k]
        margin = encoder @ error - threshold
        winner = int(np.argmax(margin))
        if margin[winner] > 0:
            found.append((k, winner))
            error -= rows[winner]
    steps, neurons = np.array(found, int).reshape(-1, 2).T
    return steps, neurons


def timed(run: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Seconds of the best run, and what it gave."""
    best, found = np.inf, None
    for _ in range(repeats):
        start = time.perf_counter()
        found = run()
        best = min(best, time.perf_counter() - start)
        if best > 20:
            break
    return float(best), found


def cpp(network: CodingNetwork, signal: Signal, recurrence: Any, repeats: int) -> tuple[float, Any]:
    """Seconds of the whole process, and the spikes."""
    with tempfile.TemporaryDirectory() as directory, preferences(cpp_preferences()), quiet():
        brian2.set_device("cpp_standalone", directory=directory, build_on_run=False)
        rendered = brian_network(network, signal, recurrence=recurrence)
        brian2.Network(rendered.objects).run(signal.steps * signal.dt * brian2.second, namespace={})
        brian2.device.build(directory=directory, compile=True, run=False)
        seconds, _ = timed(lambda: brian2.device.run(directory=directory, with_output=False), repeats)
        response = rendered.response(network, signal)
        return seconds, (response.spike_steps, response.spike_neurons)


def cell(kind: str, n: int, m: int, repeats: int) -> dict[str, Any]:
    """One measurement, in this process."""
    network, signal = case(n, m)
    network.encoder, network.norms, network.rule  # noqa: B018  (made once, whatever follows)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    match kind:
        case "loop over M by hand":
            seconds, spikes = timed(lambda: loop_by_hand(network, signal), repeats)
        case "NumPy, dense" | "NumPy, low rank":
            form: Any = "dense" if kind.endswith("dense") else "low_rank"
            seconds, response = timed(lambda: simulate(network, signal, recurrence=form), repeats)
            spikes = (response.spike_steps, response.spike_neurons)
        case "measure":
            response: Response = simulate(network, signal)  # type: ignore[no-redef]
            seconds, _ = timed(lambda: measure(response, 0.0, discard=0.1), repeats)
            spikes = (response.spike_steps, response.spike_neurons)
        case _:
            seconds, spikes = cpp(network, signal, "dense" if kind.endswith("dense") else "low_rank", repeats)
    used = resource.getrusage(resource.RUSAGE_CHILDREN if kind.startswith("C++") else resource.RUSAGE_SELF).ru_maxrss
    megabytes = None if kind.startswith("C++") else (used - before) / 1024
    return {"seconds": seconds, "megabytes": megabytes, "spikes": [s.tolist() for s in spikes]}


def main() -> None:
    """Run every cell in a process of its own, write the results, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cell", nargs=3, metavar=("KIND", "N", "M"), help="one measurement, as JSON")
    options = parser.parse_args()
    if options.cell:
        kind, n, m = options.cell
        print(json.dumps(cell(kind, int(n), int(m), options.repeats)))
        return
    rows = []
    for n, m in ROWS:
        row: dict[str, Any] = {"n": n, "m": m, "cells": {}}
        expected = None
        for kind in KINDS:
            if n > LARGEST.get(kind, 10**9):
                continue
            command = [sys.executable, "-m", "benchmarks.coding_scale", "--repeats", str(options.repeats)]
            done = subprocess.run(
                [*command, "--cell", kind, str(n), str(m)], capture_output=True, text=True, check=True
            )
            found = json.loads(done.stdout.splitlines()[-1])
            spikes = set(zip(*found.pop("spikes"), strict=True))
            expected = spikes if expected is None else expected
            row["cells"][kind] = found | {"differing": len(spikes ^ expected)}
            row["rate"] = len(expected) / SECONDS
            print(n, m, kind, row["cells"][kind], file=sys.stderr, flush=True)
        rows.append(row)
    options.out.write_text(json.dumps(rows, indent=1) + "\n")
    print(markdown(rows))


def markdown(rows: list[dict[str, Any]]) -> str:
    """Seconds (and megabytes) of every cell."""
    lines = ["| N | M | spikes/s | " + " | ".join(KINDS) + " |", "|---" * (3 + len(KINDS)) + "|"]
    for row in rows:
        cells = []
        for kind in KINDS:
            found = row["cells"].get(kind)
            text = "" if found is None else f"{found['seconds']:.2g}"
            if found is not None and kind.startswith("NumPy") and found["megabytes"] > 1:
                text += f" ({found['megabytes']:.0f} MB)"
            cells.append(text)
        lines.append(f"| {row['n']} | {row['m']} | {row['rate']:.0f} | " + " | ".join(cells) + " |")
    differing = sum(found["differing"] for row in rows for found in row["cells"].values())
    return "\n".join([*lines, "", f"Spikes that differ from the hand-written loop's, in all cells: {differing}."])


if __name__ == "__main__":
    main()
