"""Train 5-200-3 networks on Yin-Yang by exact EventProp, for several seeds; write results and draw the figure.

    python scripts/train_yin_yang.py                     # published settings, 5 seeds × 100 epochs
    python scripts/train_yin_yang.py --sharp             # a sharper softmax, and 200 epochs
    python scripts/train_yin_yang.py --choose            # the settings from which the latter was chosen, on other seeds
    python scripts/train_yin_yang.py --quick             # one seed, 10 epochs
    python scripts/train_yin_yang.py --redraw DIR        # the figure again, from the results in DIR

An interrupted run goes on where it was when the same command is given again.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from snnmodels.files import write_rounded
from snnmodels.studies import scripts
from snnmodels.studies.experiment_figures import draw_yin_yang
from snnmodels.studies.experiments import YIN_YANG_SETUPS, Setup, yin_yang
from snnmodels.studies.runs import describe_summary, summarise, train_seeds, write_results
from snnmodels.targets import TARGETS

# What --choose compares: time scale of the softmax in seconds, epochs and decay; on seeds that no result has, by
# samples of no published set
TRIED = [
    (tau0, epochs, decay)
    for epochs, decay in ((100, 0.95), (200, 0.975))
    for tau0 in (0.5e-3, 0.25e-3, 0.125e-3, 0.0625e-3)
]
CHOICE_SEEDS = range(101, 111)
CHOICE_SAMPLES = 4000


def main(arguments: list[str] | None = None) -> int:
    """Train, write, draw; return the exit status."""
    options = _parse(arguments)
    results = scripts.saved(options, "results.json")
    if results is not None:
        print(draw_yin_yang(results.parent, options.out))
        return 0
    command = scripts.command("train_yin_yang", arguments)
    if options.choose:
        return choose(options, command)
    tau0, setup = YIN_YANG_SETUPS["sharp" if options.sharp else "published"]
    experiment = yin_yang(tau0)
    given = {"epochs": options.epochs} if options.epochs else {}
    setup = replace(setup, batch_size=options.batch_size, target=options.target, **given)
    with scripts.executor(options) as executor:
        histories = train_seeds(experiment, setup, options.seeds, options.out, executor)
    write_results(options.out / "results.json", experiment, options.seeds, histories, command)
    figure = draw_yin_yang(options.out, options.out)
    summary = summarise(histories)
    print(describe_summary(summary))
    print(f"results: {options.out / 'results.json'}\nfigure: {figure}")
    if summary["test_accuracy_mean"] < options.require:
        print(f"the accuracy is below the required {options.require:g} %", file=sys.stderr)
        return 1
    return 0


def choose(options: argparse.Namespace, command: str) -> int:
    """Train all settings of `TRIED`, and write and print how often each is wrong on fresh samples.

    The published test set is not read.
    """
    rows = []
    for tau0, epochs, decay in TRIED:
        setup = Setup(options.epochs or epochs, options.batch_size, options.target, decay=decay)
        folder = options.out / f"tau0_{1e6 * tau0:g}us_{setup.epochs}_epochs_{decay:g}"
        with scripts.executor(options) as executor:
            histories = train_seeds(yin_yang(tau0, CHOICE_SAMPLES), setup, options.seeds, folder, executor)
        summary = summarise(histories)
        silent = sum(history.epochs[-1].silent_trials for history in histories) / len(histories)
        rows.append({"tau0": tau0, "decay": decay, "silent_trials": silent} | summary)
        error = summary["test_accuracy_std"] / summary["seeds"] ** 0.5
        print(
            f"| {1e3 * tau0:g} ms | {setup.epochs} × {decay} | {summary['test_accuracy_mean']:.2f} ± {error:.2f} % | "
            f"{silent:.1f} |",
            flush=True,
        )
    write_rounded(options.out / "choice.json", {"command": command, "samples": CHOICE_SAMPLES, "rows": rows})
    print(f"results: {options.out / 'choice.json'}")
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    out = "output/yin_yang, or output/yin_yang_quick, output/yin_yang_sharp, output/yin_yang_choose"
    parser = scripts.options(__doc__, quick="one seed, 10 epochs, at least 95 %% required", out=out)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--sharp", action="store_true", help="the settings that --choose chose")
    which.add_argument("--choose", action="store_true", help="compare settings on seeds 101 to 110 and fresh samples")
    whose = "initial weights and order of samples (default: 1 to 5; 101 to 110 with --choose)"
    parser.add_argument("--seeds", type=int, nargs="+", help=whose)
    parser.add_argument("--epochs", type=int, help="default: 100; 200 with --sharp; 10 with --quick")
    parser.add_argument("--batch-size", type=int, default=32, help="default: 32")
    parser.add_argument(
        "--target", choices=tuple(TARGETS), default="cpp_standalone", help="what the simulation runs on"
    )
    scripts.several(parser, "seeds trained at a time", min(2, os.cpu_count() or 1))
    parser.add_argument("--require", type=float, metavar="PERCENT", help="fail below this mean test accuracy")
    options = parser.parse_args(arguments)
    seeds = CHOICE_SEEDS if options.choose else range(1, 6)
    options.seeds = options.seeds or ([seeds[0]] if options.quick else list(seeds))
    options.epochs = options.epochs or (10 if options.quick else None)
    kinds = [kind for kind in ("sharp", "choose", "quick") if getattr(options, kind)]
    options.out = options.out or Path("output", "_".join(["yin_yang", *kinds]))
    if options.require is None:
        options.require = 95.0 if options.quick else 0.0
    return options


if __name__ == "__main__":
    scripts.run(main, "interrupted; the same command goes on from the checkpoints")
