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
from snnmodels.gradients import Outcome, Probe, Simulation, probe
from snnmodels.losses import TTFSCrossEntropy
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
        (one, times), (other, others) = (_outcome(given, target) for target in TARGETS)
    late = 0.0
    for spikes, also in zip(times, others, strict=True):
        if spikes.shape != also.shape or (np.isfinite(spikes) != np.isfinite(also)).any():
            return {"neuron": name, "times": None, "loss": None, "gradients": None, "worst": "other spikes"}
        late = max(late, float(np.abs(np.where(np.isfinite(spikes), spikes - also, 0.0)).max(initial=0.0)))
    apart = {
        key: float(np.linalg.norm(other.gradients[key] - g)) / max(float(np.linalg.norm(g)), 1e-300)
        for key, g in one.gradients.items()
    }
    worst = max(apart, key=lambda key: apart[key])
    loss = abs(one.loss - other.loss) / abs(one.loss)
    return {"neuron": name, "times": late, "loss": loss, "gradients": apart[worst], "worst": worst}


def _outcome(given: Probe, target: str) -> tuple[Outcome, list[np.ndarray]]:
    options: Any = {"batch_size": len(given.targets), "target": target}
    with Simulation(given.network, given.loss, **options) as simulation:
        outcome = simulation.run(given.inputs, given.targets)
        spiking = [p.name for p in given.network.populations if p.model.spiking]
        return outcome, [simulation.spike_times(p) for p in spiking]


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
