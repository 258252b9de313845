"""Train networks on MNIST by exact EventProp, for several seeds; write results and draw the figures.

    python scripts/train_mnist.py --data DIR              # max-voltage loss, published network 784-350-10
    python scripts/train_mnist.py --data DIR --loss ttfs  # the same with spiking outputs, first spike decides
    python scripts/train_mnist.py --quick                 # the small digits of scikit-learn instead, no files needed
    python scripts/train_mnist.py --redraw DIR            # the figures again, from the results in DIR

An interrupted run goes on where it was when the same command is given again.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from snnmodels.studies import scripts
from snnmodels.studies.experiment_figures import draw_images
from snnmodels.studies.experiments import MNIST_SETUPS, Setup, digits, mnist
from snnmodels.studies.runs import describe_summary, keep_examples, summarise, train_seeds, write_results
from snnmodels.targets import TARGETS


def main(arguments: list[str] | None = None) -> int:
    """Train, write, draw; return the exit status."""
    options = _parse(arguments)
    results = scripts.saved(options, "results.json")
    if results is not None:
        print(*draw_images(results.parent, options.out), sep="\n")
        return 0
    experiment = digits(options.loss) if options.quick else mnist(options.data, options.loss)
    rates = {"learning_rate": options.learning_rate, "decay": options.decay}
    setup = Setup(options.epochs, options.batch_size, options.target, **rates)
    with scripts.executor(options) as executor:
        histories = train_seeds(experiment, setup, options.seeds, options.out, executor)
    # Where the user keeps the files is nobody's business.
    given = ["DIR" if a == str(options.data) else a for a in (sys.argv[1:] if arguments is None else arguments)]
    command = scripts.command("train_mnist", given)
    write_results(options.out / "results.json", experiment, options.seeds, histories, command)
    keep_examples(experiment, options.seeds[0], options.out)
    figures = draw_images(options.out, options.out)
    print(describe_summary(summarise(histories)))
    print(f"results: {options.out / 'results.json'}\nfigures: {', '.join(map(str, figures))}")
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    quick = "one seed on the 8 × 8 digits that scikit-learn ships"
    parser = scripts.options(__doc__, quick=quick, out="output/mnist_LOSS, or output/digits_LOSS")
    parser.add_argument("--data", type=Path, metavar="DIR", help="directory of the four MNIST files")
    parser.add_argument("--loss", choices=("max_voltage", "ttfs"), default="max_voltage", help="default: max_voltage")
    parser.add_argument("--seeds", type=int, nargs="+", help="initial weights and order of images (default: 1 2 3)")
    parser.add_argument("--epochs", type=int, help="default: 30; 15 with --quick")
    parser.add_argument("--batch-size", type=int, help="default: 8")
    parser.add_argument("--learning-rate", type=float, help="Adam's, in the first epoch (default: 0.005; ttfs: 0.003)")
    parser.add_argument("--decay", type=float, help="factor on it per epoch (default: 0.92)")
    parser.add_argument(
        "--target", choices=tuple(TARGETS), default="cpp_standalone", help="what the simulation runs on"
    )
    scripts.several(parser, "seeds trained at a time", min(2, os.cpu_count() or 1))
    options = parser.parse_args(arguments)
    if options.data is None and not options.quick and options.redraw is None:
        parser.error("--data: name the directory of the MNIST files, or use --quick")
    options.seeds = options.seeds or ([1] if options.quick else [1, 2, 3])
    setup = MNIST_SETUPS[options.loss]
    defaults = {name: getattr(setup, name) for name in ("batch_size", "epochs", "learning_rate", "decay")}
    for name, value in (defaults | ({"epochs": 15} if options.quick else {})).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.out = options.out or Path("output", f"{'digits' if options.quick else 'mnist'}_{options.loss}")
    return options


if __name__ == "__main__":
    scripts.run(main, "interrupted; the same command goes on from the checkpoints")
