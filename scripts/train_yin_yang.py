"""Train 5-200-3 networks on Yin-Yang by exact EventProp, for several seeds; write results and draw the figure.

    python scripts/train_yin_yang.py                     # published settings, 5 seeds × 100 epochs
    python scripts/train_yin_yang.py --quick             # one seed, 10 epochs
    python scripts/train_yin_yang.py --redraw DIR        # the figure again, from the results in DIR

An interrupted run goes on where it was when the same command is given again.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from snnmodels.studies import scripts
from snnmodels.studies.experiment_figures import draw_yin_yang
from snnmodels.studies.experiments import Setup, yin_yang
from snnmodels.studies.runs import describe_summary, summarise, train_seeds, write_results
from snnmodels.targets import TARGETS


def main(arguments: list[str] | None = None) -> int:
    """Train, write, draw; return the exit status."""
    options = _parse(arguments)
    results = scripts.saved(options, "results.json")
    if results is not None:
        print(draw_yin_yang(results.parent, options.out))
        return 0
    experiment = yin_yang()
    setup = Setup(options.epochs, options.batch_size, options.target)
    with scripts.executor(options) as executor:
        histories = train_seeds(experiment, setup, options.seeds, options.out, executor)
    command = scripts.command("train_yin_yang", arguments)
    write_results(options.out / "results.json", experiment, options.seeds, histories, command)
    figure = draw_yin_yang(options.out, options.out)
    summary = summarise(histories)
    print(describe_summary(summary))
    print(f"results: {options.out / 'results.json'}\nfigure: {figure}")
    if summary["test_accuracy_mean"] < options.require:
        print(f"the accuracy is below the required {options.require:g} %", file=sys.stderr)
        return 1
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    out = "output/yin_yang, or output/yin_yang_quick"
    parser = scripts.options(__doc__, quick="one seed, 10 epochs, at least 95 %% required", out=out)
    parser.add_argument("--seeds", type=int, nargs="+", help="initial weights and order of samples (default: 1 to 5)")
    parser.add_argument("--epochs", type=int, help="default: 100")
    parser.add_argument("--batch-size", type=int, default=32, help="default: 32")
    parser.add_argument(
        "--target", choices=tuple(TARGETS), default="cpp_standalone", help="what the simulation runs on"
    )
    scripts.several(parser, "seeds trained at a time", min(2, os.cpu_count() or 1))
    parser.add_argument("--require", type=float, metavar="PERCENT", help="fail below this mean test accuracy")
    options = parser.parse_args(arguments)
    options.seeds = options.seeds or ([1] if options.quick else [1, 2, 3, 4, 5])
    options.epochs = options.epochs or (10 if options.quick else 100)
    options.out = options.out or Path("output", "yin_yang_quick" if options.quick else "yin_yang")
    if options.require is None:
        options.require = 95.0 if options.quick else 0.0
    return options


if __name__ == "__main__":
    scripts.run(main, "interrupted; the same command goes on from the checkpoints")
