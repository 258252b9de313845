"""Time epochs of training as `train` does them: MNIST's 55 000 images, and Yin-Yang.

python -m benchmarks.epochs --data DIR     # writes docs/results/epochs.json and the table of docs/training.md
python -m benchmarks.epochs                # Yin-Yang alone; the rest of the results is kept
python -m benchmarks.epochs --write-docs   # only the table, from the results

From initial weights, on one thread, without validation and test; the seconds are CPU time of Python and of the
program, all that an epoch costs beside them included (encoding, shuffling, dropping input spikes).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from snnmodels.files import write_between
from snnmodels.gradients import Simulation
from snnmodels.optimisers import Adam
from snnmodels.studies.experiments import MNIST_SETUPS, YIN_YANG_SETUPS, Experiment, mnist, yin_yang
from snnmodels.training import train

from .command import command_line, page_options
from .run import describe_machine
from .serving import Meter

RESULTS, DOCS = Path("docs/results/epochs.json"), Path("docs/training.md")
BEGIN, END = "<!-- epochs: written by python -m benchmarks.epochs -->", "<!-- epochs: end -->"
LOSSES: dict[Literal["max_voltage", "ttfs"], str] = {
    "max_voltage": "MNIST, largest potential",
    "ttfs": "MNIST, time to first spike",
}
SEEDS = 10  # of Yin-Yang, in the table


def measure(experiment: Experiment, batch: int, rate: float, epochs: int) -> dict[str, Any]:
    """CPU seconds of a training, and of an epoch."""
    network = experiment.initial(1)
    with Simulation(
        network, experiment.loss, batch_size=batch, target="cpp_standalone", input_gradients=False, threads=1
    ) as simulation:
        meter, wall = Meter(), time.perf_counter()
        with meter.section("training"):
            result = train(
                simulation,
                experiment.train,
                Adam(rate),
                epochs=epochs,
                batch_size=batch,
                seed=1,
                input_dropout=experiment.dropout,
                progress=False,
            )
        (seconds,) = meter.cpu["training"]
        wall = time.perf_counter() - wall
    last = result.history.epochs[-1]
    return {
        "trials": len(experiment.train),
        "batch": batch,
        "epochs": epochs,
        "seconds_per_epoch": seconds / epochs,
        "wall_per_epoch": wall / epochs,
        "spikes": last.spikes,
    }


def table(results: Mapping[str, Any]) -> str:
    """Results in Markdown."""
    lines = [
        "| training | trials of an epoch | batch | epochs timed | CPU seconds of an epoch | measured |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for title, r in results["trainings"].items():
        cells = (title, r["trials"], r["batch"], r["epochs"], f"{r['seconds_per_epoch']:.2g}", r["when"])
        lines.append(f"| {' | '.join(map(str, cells))} |")
    r = results["trainings"].get("Yin-Yang")
    if r is not None:
        epochs = YIN_YANG_SETUPS["published"][1].epochs
        minutes = SEEDS * r["seconds_per_epoch"] * epochs / 60
        lines += ["", f"So {SEEDS} seeds of {epochs} epochs of Yin-Yang take {minutes:.1f} min of one core."]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Measure, write, print; return the exit status."""
    parser = command_line("epochs", __doc__)
    parser.add_argument("--data", type=Path, metavar="DIR", help="directory of the four MNIST files")
    parser.add_argument("--epochs", type=int, default=2, help="of MNIST (default: 2)")
    page_options(parser, RESULTS, DOCS)
    options = parser.parse_args(arguments)
    if options.epochs < 1:
        parser.error("--epochs: at least 1")
    known = json.loads(options.out.read_text()) if options.out.exists() else {"trainings": {}}
    if options.write_docs and not known["trainings"]:
        print(f"{options.out}: no results yet; run python -m benchmarks.epochs", file=sys.stderr)
        return 2
    setup = YIN_YANG_SETUPS["published"][1]
    cases: dict[str, Any] = {"Yin-Yang": (yin_yang, setup, setup.batch_size, setup.epochs)}
    if options.data is not None:
        for loss, title in LOSSES.items():
            for batch in (MNIST_SETUPS[loss].batch_size, 32):
                made = partial(mnist, options.data, loss)
                cases[f"{title}, batches of {batch}"] = (made, MNIST_SETUPS[loss], batch, options.epochs)
    for title, (make, setup, batch, epochs) in () if options.write_docs else cases.items():
        print(title, file=sys.stderr, flush=True)
        machine = describe_machine()
        row = measure(make(), batch, setup.learning_rate, epochs)
        known["trainings"][title] = row | {"when": machine["date"], "load": machine["load_before"]}
        known["machine"] = machine
        options.out.write_text(json.dumps(known, indent=1) + "\n")
    text = table(known)
    write_between(options.docs, BEGIN, text, END)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
