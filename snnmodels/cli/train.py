"""``snnmodels train``: a network file of one's own on one's own data, and the published experiments."""

from __future__ import annotations

import enum
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ..targets import Target
from .common import prepare_brian, require_tools

if TYPE_CHECKING:
    from ..studies.experiments import Experiment, Setup

__all__ = ["app"]


class _Train(TyperGroup):
    """Takes what is the name of no command for a network's file, or for an option of its command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [_OWN, *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


_OWN = "network"
_NEVER = 10**9  # epochs; the number of those that are asked for may grow when a run goes on

app = typer.Typer(
    cls=_Train,
    no_args_is_help=True,
    help="Train a network and save its history, figure and weights: one of your own (`snnmodels train mine.toml --data "
    "trials.npz`; `snnmodels train network --help` tells more) or a published one.",
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
TargetOption = Annotated[
    Target,
    typer.Option(
        help="Where the simulation runs; numpy needs no compiler, but takes up to hundreds of times as long "
        "(docs/targets.md)."
    ),
]
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


@app.command(_OWN)
def train_network(
    network: Annotated[
        str, typer.Argument(metavar="NETWORK", help="Path of a network's `.toml` file that declares a `[loss]`.")
    ],
    data: Annotated[
        Path,
        typer.Option(help="`.npz` file of the training trials: spikes or samples of every input, and targets."),
    ],
    test: Annotated[
        Path | None, typer.Option(help="Trials of the same form that it is judged on after every epoch.")
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(help="Likewise; the epoch with the smallest loss on these is kept, without them the last one."),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(help="Epochs without a smaller loss on the `--validation` trials after which to stop.", min=1),
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training trials.", min=1)] = 20,
    batch_size: BatchOption = 32,
    rate: Annotated[float, typer.Option(help="Size of Adam's steps, relative to the values of each group.")] = 0.01,
    decay: Annotated[float, typer.Option(help="Factor on the rate per epoch.")] = 1.0,
    size: Annotated[
        list[str] | None,
        typer.Option(help="`KEY=SIZE`: what a group's rate is relative to, as `input_hidden.delay=1*ms`. Repeatable."),
    ] = None,
    bounds: Annotated[
        list[str] | None,
        typer.Option(help="`KEY=LOW:HIGH`: limits of a group, as `hidden.tau_m=2*ms:80*ms`. Repeatable."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Of what the file draws, instead of the file's, and of the order of trials.", min=0),
    ] = None,
    target: TargetOption = "cpp_standalone",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the results. [default: output/NAME]", show_default=False),
    ] = None,
) -> None:
    """Train a network file of your own on your own trials, by the loss that it declares.

    What the file makes learnable is learned (docs/training.md says what the data file holds and how steps are sized).
    The folder gets a checkpoint after every epoch, and at the end `trained.toml` with `trained.npz` (the network with
    its trained values, for every command and for `snn.load_network`), `history.json` and `history.png`. An interrupted
    run goes on where it was when the same command is given again.

    Examples: `snnmodels train mine.toml --data trials.npz --test others.npz --epochs 30`;
    `snnmodels train mine.toml --data trials.npz --bounds hidden.tau_m=2*ms:80*ms --target numpy`.
    """
    from matplotlib.figure import Figure

    from ..files import folder_for
    from ..gradients import Simulation
    from ..losses import load_network
    from ..plots import learning_curves
    from ..studies.plots import save_figure
    from ..templates import save_network, with_values
    from ..templates.library import find, read_toml
    from ..training import EarlyStopping, read_trials, relative_adam, train

    if patience is not None and validation is None:
        raise ValueError("--patience: needs trials that the epochs are judged on; name them with --validation")
    prepare_brian()
    require_tools(target)
    loaded = load_network(network, seed)
    optimiser = relative_adam(
        loaded,
        rate,
        decay,
        sizes=_pairs("size", size),
        bounds={key: _limits(key, pair) for key, pair in _pairs("bounds", bounds).items()},
    )
    with Simulation(loaded, batch_size=batch_size, target=target, input_gradients=False) as simulation:
        trials = read_trials(data, loaded, simulation.loss)
        others, judged = (
            None if path is None else read_trials(path, loaded, simulation.loss) for path in (test, validation)
        )
        folder = folder_for(out or Path("output", Path(network).stem), "results")
        result = train(
            simulation,
            trials,
            optimiser,
            epochs=epochs,
            batch_size=batch_size,
            seed=seed or 0,
            test=others,
            validation=judged,
            early_stopping=None if judged is None else EarlyStopping(patience or _NEVER, "validation_loss"),
            checkpoint=folder / "checkpoint.npz",
        )
    document = read_toml(find(network, ("network",)))
    words = {key: document[key] for key in ("title", "description", "references") if key in document}
    save_network(with_values(loaded, result.values), folder / "trained.toml", **words)
    result.history.save(folder / "history.json")
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    learning_curves(result.history, figure.subplots())
    save_figure(figure, folder / "history.png", dpi=150)
    first, kept = (result.history.epochs[epoch - 1] for epoch in (1, result.epoch))
    if validation is not None:
        ended = ", ended by --patience" if result.history.status == "stopped early" else ""
        typer.echo(f"kept: epoch {result.epoch} of {len(result.history.epochs)}{ended}")
    for name in ("train", "validation", "test"):
        loss, error = (getattr(kept, f"{name}_{measure}") for measure in ("loss", "error"))
        if loss is not None:
            wrong = "" if error is None else f", {100 * error:.2f} % of trials wrong"
            typer.echo(f"{name} loss {loss:.4g} (after the first epoch {getattr(first, f'{name}_loss'):.4g}){wrong}")
    typer.echo(f"{folder}: trained.toml, trained.npz, history.json, history.png")


def _pairs(option: str, given: list[str] | None) -> dict[str, str]:
    """``KEY=VALUE`` by key."""
    pairs: dict[str, str] = {}
    for text in given or []:
        key, sign, value = (part.strip() for part in text.partition("="))
        if not (key and sign and value):
            raise ValueError(f"--{option} {text}: expected KEY=VALUE, as in hidden.tau_m=2*ms")
        if key in pairs:
            raise ValueError(f"--{option} names {key} twice")
        pairs[key] = value
    return pairs


def _limits(key: str, text: str) -> tuple[str, str]:
    low, colon, high = text.partition(":")
    if not (low and colon and high):
        raise ValueError(f"--bounds {key}={text}: expected KEY=LOW:HIGH, as in hidden.tau_m=2*ms:80*ms")
    return low, high


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

    asked = _Asked(epochs, batch_size, target, seed, workers, executor, out)
    _train(yin_yang, Setup(epochs), asked, lambda experiment, first: [draw_yin_yang(out, out)])


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
    from ..studies.experiments import MNIST_SETUPS, mnist
    from ..studies.runs import keep_examples

    def draw(experiment: Experiment, first: int) -> list[Path]:
        keep_examples(experiment, first, out)
        return draw_images(out, out)

    asked = _Asked(epochs, batch_size, target, seed, workers, executor, out)
    _train(lambda: mnist(data, loss.value), MNIST_SETUPS[loss.value], asked, draw)


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
    from ..studies.experiments import SHD_SETUP, shd

    def draw(experiment: Experiment, first: int) -> list[Path]:
        names = [name[0] + name[-1] for name in experiment.class_names]  # E0 to E9 and G0 to G9
        return draw_confusion(out, out, names)

    asked = _Asked(epochs, batch_size, target, seed, workers, executor, out)
    _train(lambda: shd(data, hidden, speaker), SHD_SETUP, asked, draw)


@dataclass(frozen=True)
class _Asked:
    """What every published experiment may be asked."""

    epochs: int
    batch_size: int
    target: Target
    seeds: list[int] | None
    workers: int
    executor: str
    out: Path


def _train(
    make: Callable[[], Experiment],
    published: Setup,
    asked: _Asked,
    draw: Callable[[Experiment, int], list[Path]],
) -> None:
    """Train every seed, write ``results.json``, print the accuracy, and draw, which is told the first seed."""
    from ..parallel import some_executor
    from ..studies.runs import summarise, train_seeds, write_results

    prepare_brian()
    require_tools(asked.target)
    seeds, out = asked.seeds or [1], asked.out
    setup = replace(published, epochs=asked.epochs, batch_size=asked.batch_size, target=asked.target)
    experiment = make()
    with some_executor(asked.workers, asked.executor) as some:
        histories = train_seeds(experiment, setup, seeds, out, some)
    write_results(out / "results.json", experiment, seeds, histories, shlex.join(["snnmodels", *sys.argv[1:]]))
    summary = summarise(histories)
    typer.echo(
        f"test accuracy {summary['test_accuracy_mean']:.2f} % (mean of {len(seeds)} seeds after "
        f"{summary['epochs']} epochs, standard deviation {summary['test_accuracy_std']:.2f})"
    )
    typer.echo(f"results: {out / 'results.json'}")
    for figure in draw(experiment, seeds[0]):
        typer.echo(f"figure: {figure}")
