"""``snnmodels train``: the published experiments."""

from __future__ import annotations

import enum
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..targets import Target
from .common import prepare_brian

if TYPE_CHECKING:
    from ..studies.experiments import Experiment, Setup

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="Train one of two published networks and save its history, figure and weights. A network file of your own is "
    "trained in Python: snn.train, as README shows.",
)


class ImageLoss(enum.StrEnum):
    """Loss for image classes."""

    max_voltage = "max_voltage"
    ttfs = "ttfs"


SeedsOption = Annotated[
    list[int] | None,
    typer.Option(
        "--seed",
        help="Of weights and order of samples; may be given several times. [default: 1]",
        show_default=False,
        min=0,
    ),
]
BatchOption = Annotated[int, typer.Option(help="Trials per gradient step.", min=1)]
TargetOption = Annotated[Target, typer.Option(help="Where the simulation runs; numpy needs no compiler.")]
ProcessesOption = Annotated[int, typer.Option(help="Seeds trained at a time.", min=1)]


@app.command("yin-yang")
def train_yin_yang(
    epochs: Annotated[int, typer.Option(help="Passes over the 5000 training samples.", min=1)] = 100,
    seed: SeedsOption = None,
    batch_size: BatchOption = 32,
    target: TargetOption = "cpp_standalone",
    processes: ProcessesOption = 1,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")] = Path("output/yin_yang"),
) -> None:
    """Train the 5-200-3 network on Yin-Yang by exact EventProp, with the published settings.

    The folder gets a checkpoint per seed, `results.json` with the history and the figure. An interrupted run goes on
    where it was when the same command is given again.

    Examples: `snnmodels train yin-yang --epochs 10`; `snnmodels train yin-yang --seed 1 --seed 2 --processes 2`.
    """
    from ..studies.experiments import Setup, draw_yin_yang, yin_yang

    setup = Setup(epochs, batch_size, target)
    _train(yin_yang(), setup, seed, out, processes)
    typer.echo(f"figure: {draw_yin_yang(out, out)}")


@app.command("mnist")
def train_mnist(
    data: Annotated[Path, typer.Option(help="Folder with MNIST's four files (idx, also gzipped).")],
    loss: Annotated[
        ImageLoss, typer.Option(help="Cross-entropy on maximal potentials of readouts, or on first spikes.")
    ] = ImageLoss.max_voltage,
    epochs: Annotated[int, typer.Option(help="Passes over the 55000 training images.", min=1)] = 30,
    seed: SeedsOption = None,
    batch_size: BatchOption = 8,
    target: TargetOption = "cpp_standalone",
    processes: ProcessesOption = 1,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")] = Path("output/mnist"),
) -> None:
    """Train the 784-350-10 network on MNIST by exact EventProp.

    The last 5000 training images are kept for validation. The folder gets a checkpoint per seed, `results.json` with
    the history, the curves and the confusion matrix. An interrupted run goes on where it was.

    Example: `snnmodels train mnist --data ~/mnist --epochs 5`.
    """
    from ..studies.experiments import MNIST_SETUPS, Setup, draw_images, keep_examples, mnist

    rates = MNIST_SETUPS[loss.value]
    setup = Setup(epochs, batch_size, target, rates.learning_rate, rates.decay)
    experiment = mnist(data, loss.value)
    seeds = _train(experiment, setup, seed, out, processes)
    keep_examples(experiment, seeds[0], out)
    for figure in draw_images(out, out):
        typer.echo(f"figure: {figure}")


def _train(experiment: Experiment, setup: Setup, seed: list[int] | None, out: Path, processes: int) -> list[int]:
    """Train every seed, write ``results.json``, print the accuracy; return the seeds."""
    from ..studies.experiments import summarise, train_seeds, write_results
    from ..targets.devices import require_compiler

    prepare_brian()
    if setup.target != "numpy":
        require_compiler()
    seeds = seed or [1]
    histories = train_seeds(experiment, setup, seeds, out, processes)
    write_results(out / "results.json", experiment, seeds, histories, shlex.join(["snnmodels", *sys.argv[1:]]))
    summary = summarise(histories)
    typer.echo(
        f"test accuracy {summary['test_accuracy_mean']:.2f} % (mean of {len(seeds)} seeds after "
        f"{summary['epochs']} epochs, standard deviation {summary['test_accuracy_std']:.2f})"
    )
    typer.echo(f"results: {out / 'results.json'}")
    return seeds
