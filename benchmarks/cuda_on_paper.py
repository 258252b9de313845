"""What a batch on an H100 would take, on paper: launches, bytes over the bus, occupancy, and a time from these.

    python -m benchmarks.cuda_on_paper  # docs/results/cuda_on_paper.json, docs/cuda_on_paper.md; needs nvcc, no GPU

Registers, stack and shared memory are what nvcc says of the kernels for the card's architecture; spikes, arrivals and
pieces are counted in a simulation of the same batch on NumPy. The time is no measurement: it takes the card's published
sizes, and a number of cycles for a barrier and for a read that misses the first cache.
"""

from __future__ import annotations

import argparse
import datetime
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from snnmodels.events.plan import EnginePlan
from snnmodels.files import atomic_file, write_rounded
from snnmodels.gradients import Simulation
from snnmodels.losses import SpikeTimes
from snnmodels.targets.cuda.program import FLAGS, compiler, main_file, sources
from snnmodels.targets.process import EXCHANGE
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model

from .serving import Task
from .tasks import loss_of, mnist, network_of, yin_yang

__all__ = ["Card", "Kernel", "counted", "estimate", "kernels", "main", "page"]

Record = dict[str, Any]

BATCHES = (32, 256, 1024, 4096)
COUNTED = 32  # trials that are simulated to count
OTHERS = ("lif_conductance", "izhikevich_2007", "hodgkin_huxley")  # whose kernels are looked at alone
THREADS = 128  # of a block; THREADS of runtime/device.cuh


@dataclass(frozen=True)
class Card:
    """A graphics card: of one multiprocessor (SM) what its blocks share, and how many there are.

    The numbers of the H100 SXM are those of NVIDIA's documentation of compute capability 9.0 (CUDA C++ Programming
    Guide, "Features and Technical Specifications") and of its data sheet. The cycles of a barrier and of a read from
    the second cache, and the times of a launch and of a copy, are assumed: the size that microbenchmarks of its kind
    find (Luo et al. 2024, arXiv:2402.13499), rounded.
    """

    name: str = "H100 SXM"
    architecture: str = "sm_90"
    processors: int = 132
    registers: int = 65536
    shared: int = 228 * 1024
    threads: int = 2048
    blocks: int = 32
    clock: float = 1.755e9  # per second
    launch: float = 3e-6  # seconds
    copy: float = 6e-6  # seconds, of a small copy that the host waits for
    bus: float = 50e9  # bytes per second, either way
    barrier: int = 40  # cycles, of a block
    read: int = 270  # cycles, from the second cache


H100 = Card()

# Barriers of a piece, and reads that wait for each other, as forward.cuh and backward.cuh have them
STEPS = {"forward": (10, 8), "backward": (6, 6)}


@dataclass(frozen=True)
class Kernel:
    """What the compiler says of a kernel: registers, and bytes of stack and spills, of a thread; bytes of a block."""

    registers: int
    stack: int
    spilled: int
    shared: int

    def blocks(self, card: Card) -> int:
        """How many blocks one multiprocessor runs at once."""
        per_warp = -(-self.registers * 32 // 256) * 256  # registers are given out in units
        by_registers = card.registers // (per_warp * THREADS // 32)
        by_shared = card.shared // (self.shared + 1024)  # each block takes 1 KiB more
        return min(by_registers, by_shared, card.threads // THREADS, card.blocks)


def kernels(said: str) -> dict[str, Kernel]:
    """The kernels in what ``ptxas -v`` says, by name.

    Parameters
    ----------
    said : str

    Raises
    ------
    ValueError
        If it is not what is expected.
    """
    found: dict[str, Kernel] = {}
    for part in re.split(r"Compiling entry function '", said)[1:]:
        name = re.match(r"_ZN3snn\d+([a-z_]+?)E", part)
        stack = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores", part)
        used = re.search(r"Used (\d+) registers", part)
        if name is None or stack is None or used is None:
            raise ValueError(f"ptxas -v says {part[:200]!r}; expected a kernel's name, stack and registers")
        shared = re.search(r"(\d+) bytes smem", part)
        found[name[1]] = Kernel(int(used[1]), int(stack[1]), int(stack[2]), int(shared[1]) if shared else 0)
    if not {"forward", "backward"} <= found.keys():
        raise ValueError(f"ptxas -v tells of {', '.join(found) or 'no kernel'}; expected forward and backward")
    return found


def compiled(plan: EnginePlan, card: Card = H100) -> dict[str, Kernel]:
    """The kernels of a plan's program, as compiled for a card."""
    files, _ = sources([p.rules for p in plan.groups], plan.tolerance)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in (files | {"program.cu": main_file()}).items():
            (folder / file).write_text(text)
        words = [*compiler(), *FLAGS, f'-DSNN_EXCHANGE="{EXCHANGE}"', f"-arch={card.architecture}", "-Xptxas", "-v"]
        words += ["-c", str(folder / "program.cu"), "-o", str(folder / "program.o")]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{words[0]} refuses the program: {done.stderr[:500]}")
    return kernels(done.stderr)


def plan_of(name: str) -> EnginePlan:
    """The plan of neurons of a model with everything learnable, whose loss reads spike times."""
    model = load_model(name)
    neurons = Population("neurons", 1, model, {}, tuple(model.parameters))
    projection = Projection("", "input", "neurons", np.ones((1, 1)))
    network = Network(name, (SpikeInput("input", 1),), (neurons,), (projection,), "neurons", 10e-3)
    return EnginePlan.of(network, [SpikeTimes()])


def sizes(found: Mapping[str, Kernel]) -> Record:
    """What the compiler says of the two kernels that take the time, and how much of a multiprocessor they fill."""
    return {
        name: {"blocks": k.blocks(H100), "occupancy": k.blocks(H100) * THREADS / H100.threads} | vars(k)
        for name, k in found.items()
        if name in STEPS
    }


def counted(task: Task) -> Record:
    """What happens in a trial on average, and what goes over the bus in one: means over the task's trials.

    Returns
    -------
    dict
        ``plan``, ``pieces`` (by component), ``spikes`` (by population), and of a batch of many in one call: ``bytes``
        (of a trial, both ways), ``launches``, and ``copies`` that the host waits for. ``fixed``: bytes of a call, for
        weights and their moments there and back.
    """
    network, trials = network_of(task), len(task.labels)
    times = task.times[:, :, None] if task.times.ndim == 2 else task.times
    with Simulation(network, loss_of(task), batch_size=trials, input_gradients=False) as simulation:
        outcome = simulation.run({network.inputs[0].name: task.times}, task.labels)
        plan = simulation.plan
        trains = {network.inputs[0].name: times}
        trains |= {p.name: simulation.spike_times(p.name) for p in network.populations if p.model.spiking}
    pieces = []
    for c in plan.components:
        incoming = [plan.projections[q].projection for q in c.incoming]
        assert not c.feedback and all(np.ndim(q.delay) == 0 for q in incoming)
        at = [[np.unique(t[np.isfinite(t)]) for t in trains[q.source] + float(q.delay)] for q in incoming]
        instants = [np.unique(np.concatenate(each)).size for each in zip(*at, strict=True)]
        # a piece ends at an arrival, or where it is as long as the window
        pieces.append(float(np.mean(instants)) + network.duration / plan.window)
    entries = sum(np.size(q.weights) for q in network.projections)
    learnt = sum("w" in q.learnable for q in network.projections)
    return {
        "plan": plan,
        "pieces": pieces,
        "spikes": dict(outcome.spikes),
        # input spikes and a label; the loss, the smallest slope, two words on failures, and how many spikes there were
        "bytes": 8 * (times[0].size + 1) + 24 + 8 + 2 * 24 + 4 * len(plan.populations),
        "fixed": 8 * 6 * entries,
        "launches": 4 + learnt,  # sort_inputs, forward, losses, backward; adam of each projection
        # `train` of runtime/program.cuh: there what has changed (trains, twice populations, projections, room, flags of
        # gradients); back room, twice failures, flags, losses, slopes and the spikes of each population
        "copies": 12 + len(plan.populations),
    }


def estimate(count: Mapping[str, Any], found: Mapping[str, Kernel], trials: int, card: Card = H100) -> Record:
    """The time of a batch from its parts, in seconds.

    Every multiprocessor runs as many blocks at once as fit; a block goes from piece to piece, and each costs barriers
    and reads that wait for each other. Arithmetic hides behind these.

    Parameters
    ----------
    count : mapping
        As `counted` gives.
    found : mapping of str to Kernel
    trials : int
    card : Card
    """
    pieces, times = sum(count["pieces"]), {}
    for kernel, (barriers, reads) in STEPS.items():
        rounds = -(-trials // (card.processors * found[kernel].blocks(card)))
        times[kernel] = rounds * pieces * (barriers * card.barrier + reads * card.read) / card.clock
    moved = trials * count["bytes"]
    times |= {"launches": count["launches"] * card.launch, "bus": count["copies"] * card.copy + moved / card.bus}
    return {"trials": trials, "bytes": moved, "seconds": times, "together": sum(times.values())}


def measure() -> Record:
    """Both tasks."""
    tasks = []
    for task in (yin_yang(COUNTED), mnist(COUNTED)):
        count = counted(task)
        plan: EnginePlan = count.pop("plan")
        found = compiled(plan)
        tasks.append(
            {
                "task": task.settings["description"],
                **count,
                "kernels": sizes(found),
                "batches": [estimate(count, found, trials) for trials in BATCHES],
            }
        )
    version = subprocess.run([*compiler(), "--version"], capture_output=True, text=True, check=True).stdout
    release = re.search(r"release ([\d.]+)", version)
    return {
        "command": "python -m benchmarks.cuda_on_paper",
        "date": datetime.date.today().isoformat(),
        "nvcc": release[1] if release else version.strip().splitlines()[-1],
        "card": H100.name,
        "tasks": tasks,
        "others": {name: sizes(compiled(plan_of(name))) for name in OTHERS},
    }


def page(results: Mapping[str, Any]) -> str:
    """The page of the documentation."""
    out = [
        "# CUDA on paper",
        "",
        f"What batches would take on an {results['card']}, from counts and from what nvcc {results['nvcc']} says of",
        f"the kernels; no GPU was there to measure any of it. `{results['command']}`, {results['date']}.",
        "The assumptions (cycles of a barrier and of a read, barriers and dependent reads of a piece, the time of a",
        "launch and of a copy) stand in that file; a factor of three either way is no surprise.",
    ]
    head = "| {} | registers | stack | spilled | shared | blocks of an SM | occupancy |"
    rule = "|---|" + "--:|" * 6

    def kernel(name: str, k: Mapping[str, Any]) -> str:
        numbers = f"{k['registers']} | {k['stack']} B | {k['spilled']} B | {k['shared']} B | {k['blocks']}"
        return f"| {name} | {numbers} | {100 * k['occupancy']:.0f} % |"

    for task in results["tasks"]:
        pieces = " and ".join(f"{p:.0f}" for p in task["pieces"])
        spikes = ", ".join(f"{name} {n:.1f}" for name, n in task["spikes"].items())
        out += ["", f"## {task['task']}", ""]
        out.append(
            f"A trial has {pieces} pieces of time in its populations; spikes: {spikes}. A batch of many in one call "
            f"has {task['launches']} launches and {task['copies']} copies that the host waits for, and takes "
            f"{task['bytes'] / 1e3:.1f} kB a trial over the bus; a call takes {task['fixed'] / 1e3:.0f} kB for weights "
            "and their moments."
        )
        out += ["", head.format("kernel"), rule, *(kernel(name, k) for name, k in task["kernels"].items())]
        out += ["", "| trials | forward | backward | launches | copies, bytes | together |", "|--:|" + "--:|" * 5]
        for b in task["batches"]:
            cells = [f"{1e3 * b['seconds'][part]:.2f} ms" for part in ("forward", "backward", "launches", "bus")]
            out.append(f"| {b['trials']} | {' | '.join(cells)} | {1e3 * b['together']:.2f} ms |")
    out += ["", "## Kernels of other neurons, with every parameter learnable", "", head.format("neuron, kernel"), rule]
    out += [kernel(f"{model}, {name}", k) for model, found in results["others"].items() for name, k in found.items()]
    return "\n".join([*out, ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile, count, write results and page; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    docs = Path(__file__).parents[1] / "docs"
    parser.add_argument("--out", type=Path, metavar="DIR", default=docs, help="default: docs")
    out = parser.parse_args(arguments).out
    results = measure()
    write_rounded(out / "results" / "cuda_on_paper.json", results)
    with atomic_file(out / "cuda_on_paper.md", "page") as opened:
        opened.write(page(results).encode())
    print(out / "cuda_on_paper.md")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
