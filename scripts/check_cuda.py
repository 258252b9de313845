"""Compare CUDA with C++ on every neuron of the library, then time both, where there is a GPU.

    python scripts/check_cuda.py                # all neurons, then batches of 32 to 8192; output/cuda/results.json
    python scripts/check_cuda.py --quick        # two neurons and one small batch
    python scripts/check_cuda.py --only lif     # this neuron, and no times

A C++ compiler and nvcc are needed. The exit status is 1 if the targets differ.
"""

from __future__ import annotations

from snnmodels.studies import scripts  # first: it sets the number of NumPy's threads

# isort: split

import argparse
import dataclasses
import datetime
import platform
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snnmodels.files import write_rounded
from snnmodels.gradients import Simulation, probe
from snnmodels.losses import TTFSCrossEntropy
from snnmodels.studies.targets import target_difference
from snnmodels.targets.compilation import compiler
from snnmodels.targets.cuda.program import compiler as cuda_compiler
from snnmodels.targets.devices import quiet
from snnmodels.templates import catalogue, load_model, load_network

Record = dict[str, Any]

TIMES, GRADIENTS = 1e-13, 1e-9  # seconds, and relative in norm: what one target may be from the other
BATCHES = (32, 256, 1024, 4096, 8192)
REPEATS = 5
TARGETS = ("cpp_standalone", "cuda_standalone")
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
        ``neuron``, ``times`` (seconds), ``loss`` and ``gradients`` (relative): how far one is from the other;
        ``worst``, the key of the last.
    """
    model = load_model(name)
    driven = any(not i.read_at for i in model.inputs.values())
    with quiet():
        given = probe(model, trials=2, delays=True, currents=driven, target="cpp_standalone")
        found = target_difference(given, "cuda_standalone", "cpp_standalone")
    if found is None:
        return {"neuron": name, "times": None, "loss": None, "gradients": None, "worst": "other spikes"}
    return {"neuron": name, **dataclasses.asdict(found)}


def passes(record: Record) -> bool:
    """Whether the targets agree on a neuron."""
    return record["times"] is not None and record["times"] <= TIMES and record["gradients"] <= GRADIENTS


def measure(batch: int) -> Record:
    """Forward and backward of a batch of Yin-Yang, in seconds: the fastest of a few, by target."""
    network = load_network("yin_yang")
    rng = np.random.default_rng(0)
    inputs, labels = {"input": rng.uniform(0, 0.03, (batch, 5))}, rng.integers(0, 3, batch)
    record: Record = {"batch": batch}
    for target in TARGETS:
        options: Any = {"batch_size": batch, "target": target, "input_gradients": False}
        with Simulation(network, TTFSCrossEntropy(), **options) as simulation:
            simulation.run(inputs, labels)
            taken = []
            for _ in range(REPEATS):
                began = time.perf_counter()
                simulation.run(inputs, labels)
                taken.append(time.perf_counter() - began)
        record[target] = min(taken)
    return record


def device() -> str:
    """The GPU and its driver, as nvidia-smi names them."""
    if shutil.which("nvidia-smi") is None:
        return "no nvidia-smi: an emulator, or no GPU"
    words = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip().replace("\n", "; ")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, time, and write the results; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{' and '.join(QUICK)}, and a batch of {BATCHES[0]}")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these neurons, and no times")
    parser.add_argument("--out", type=Path, default=Path("output/cuda"), metavar="DIR", help="default: %(default)s")
    given = parser.parse_args(arguments)
    known = [e.name for e in catalogue() if e.kind == "neuron"]
    for name in given.only or ():
        if name not in known:
            raise ValueError(f"--only {name}: the library has no such neuron")
    neurons = []
    for name in given.only or (QUICK if given.quick else known):
        record = compare(name)
        neurons.append(record)
        said = "other spikes" if record["times"] is None else f"{record['times']:.0e} s, {record['gradients']:.0e}"
        print(f"{name}: {said} ({record['worst']}): {'agrees' if passes(record) else 'DIFFERS'}", flush=True)
    timed = []
    for batch in () if given.only else BATCHES[:1] if given.quick else BATCHES:
        timed.append(measure(batch))
        cpp, cuda = (1e3 * timed[-1][target] for target in TARGETS)
        print(f"Yin-Yang, batch of {batch}: C++ on one core {cpp:.3g} ms, CUDA {cuda:.3g} ms", flush=True)
    write_rounded(
        given.out / "results.json",
        {
            "date": str(datetime.date.today()),
            "device": device(),
            "compilers": [" ".join(compiler()), " ".join(cuda_compiler())],
            "machine": platform.processor() or platform.machine(),
            "neurons": neurons,
            "times": timed,
        },
    )
    print(f"{given.out / 'results.json'}: {device()}")
    return int(not all(map(passes, neurons)))


if __name__ == "__main__":
    scripts.run(main)
