"""``snnmodels train``: the published experiments."""

from __future__ import annotations

import enum
import shlex
import sys
from collections.abc import Callable
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
    help="Train a network on published data and save its history, figure and weights. A network file of your own is "
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
WorkersOption = Annotated[
    int, typer.Option("--workers", "--processes", help="Seeds trained at a time, in processes of this machine.", min=1)
]
ExecutorOption = Annotated[
    str,
    typer.Option(
        metavar="MODULE:FACTORY",
        help="What trains the seeds instead: a function that makes an Executor of `concurrent.futures`, in a module "
        "or a `.py` file (docs/machines.md).",
    ),
]


@app.command("yin-yang")
def train_yin_yang(
    epochs: Annotated[int, typer.Option(help="Passes over the 5000 training samples.", min=1)] = 100,
    seed: SeedsOption = None,
    batch_size: BatchOption = 32,
    target: TargetOption = "cpp_standalone",
    workers: WorkersOption = 1,
    executor: ExecutorOption = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")] = Path("output/yin_yang"),
) -> None:
    """Train the 5-200-3 network on Yin-Yang by exact EventProp, with the published settings.

    The folder gets a checkpoint per seed, `results.json` with the history and the figure. An interrupted run goes on
    where it was when the same command is given again.

    Examples: `snnmodels train yin-yang --epochs 10`; `snnmodels train yin-yang --seed 1 --seed 2 --workers 2`.
    """
    from ..studies.experiment_figures import draw_yin_yang
    from ..studies.experiments import Setup, yin_yang

    setup = Setup(epochs, batch_size, target)
    _train(yin_yang, setup, seed, out, workers, executor)
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
    workers: WorkersOption = 1,
    executor: ExecutorOption = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")] = Path("output/mnist"),
) -> None:
    """Train the 784-350-10 network on MNIST by exact EventProp.

    The last 5000 training images are kept for validation. The folder gets a checkpoint per seed, `results.json` with
    the history, the curves and the confusion matrix. An interrupted run goes on where it was.

    Example: `snnmodels train mnist --data ~/mnist --epochs 5`.
    """
    from ..studies.experiment_figures import draw_images
    from ..studies.experiments import MNIST_SETUPS, Setup, mnist
    from ..studies.runs import keep_examples

    rates = MNIST_SETUPS[loss.value]
    setup = Setup(epochs, batch_size, target, rates.learning_rate, rates.decay)
    experiment, seeds = _train(lambda: mnist(data, loss.value), setup, seed, out, workers, executor)
    keep_examples(experiment, seeds[0], out)
    for figure in draw_images(out, out):
        typer.echo(f"figure: {figure}")


@app.command("shd")
def train_shd(
    data: Annotated[Path, typer.Option(help="Folder with `shd_train.h5` and `shd_test.h5`.")],
    hidden: Annotated[int, typer.Option(help="Recurrent neurons.", min=1)] = 256,
    speaker: Annotated[int, typer.Option(help="Whose trials are kept for validation.", min=0)] = 0,
    epochs: Annotated[int, typer.Option(help="Passes over the training trials.", min=1)] = 100,
    seed: SeedsOption = None,
    batch_size: BatchOption = 32,
    target: TargetOption = "cpp_standalone",
    workers: WorkersOption = 1,
    executor: ExecutorOption = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")] = Path("output/shd"),
) -> None:
    """Train a recurrent network with learned delays on the Spiking Heidelberg Digits by exact EventProp.

    The folder gets a checkpoint per seed, `results.json` with the history, the curves and the confusion matrix. An
    interrupted run goes on where it was. An epoch takes an hour or more of one core (docs/training.md).

    Example: `snnmodels train shd --data ~/shd --epochs 5 --hidden 128`.
    """
    from ..studies.experiment_figures import draw_confusion
    from ..studies.experiments import SHD_SETUP, Setup, shd

    setup = Setup(epochs, batch_size, target, SHD_SETUP.learning_rate, SHD_SETUP.decay)
    experiment, _ = _train(lambda: shd(data, hidden, speaker), setup, seed, out, workers, executor)
    names = [name[0] + name[-1] for name in experiment.class_names]  # E0 to E9 and G0 to G9
    for figure in draw_confusion(out, out, names):
        typer.echo(f"figure: {figure}")


def _train(
    make: Callable[[], Experiment], setup: Setup, seed: list[int] | None, out: Path, workers: int, executor: str
) -> tuple[Experiment, list[int]]:
    """Train every seed, write ``results.json``, print the accuracy; return the experiment and the seeds."""
    from ..parallel import some_executor
    from ..studies.runs import summarise, train_seeds, write_results
    from ..targets.devices import require_compiler

    prepare_brian()
    if setup.target != "numpy":
        require_compiler()
    seeds = seed or [1]
    experiment = make()
    with some_executor(workers, executor) as some:
        histories = train_seeds(experiment, setup, seeds, out, some)
    write_results(out / "results.json", experiment, seeds, histories, shlex.join(["snnmodels", *sys.argv[1:]]))
    summary = summarise(histories)
    typer.echo(
        f"test accuracy {summary['test_accuracy_mean']:.2f} % (mean of {len(seeds)} seeds after "
        f"{summary['epochs']} epochs, standard deviation {summary['test_accuracy_std']:.2f})"
    )
    typer.echo(f"results: {out / 'results.json'}")
    return experiment, seeds
