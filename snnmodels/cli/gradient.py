"""``snnmodels check-gradient``: the gradient of a model against differences and the reference."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..targets import Target
from .common import BEYOND_TOLERANCE, UNRESOLVED, ModelArgument, load_any, prepare_brian, require_tools

if TYPE_CHECKING:
    from ..templates import Model, Network

__all__ = ["check_gradient"]

WIDTH = 110
PATIENCE = 5.0  # seconds after which, and again after each, a line says what is being done


def check_gradient(
    model: ModelArgument,
    target: Annotated[
        Target | None,
        typer.Option(
            help="Where the simulation runs. [default: numpy for linear models; for others cpp_standalone, where there is "
            "a compiler]",
            show_default=False,
        ),
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Largest relative deviation allowed, in norm per group.")] = 1e-6,
    recurrent: Annotated[bool, typer.Option("--recurrent", help="Connect hidden neurons with each other.")] = False,
    oracle: Annotated[bool, typer.Option(help="Compare with the event-driven reference too.")] = True,
    seed: Annotated[int, typer.Option(help="Of the weights and input spikes.", min=0)] = 0,
    data: Annotated[
        Path | None,
        typer.Option(help="Trials as for `train`, on which the `[loss]` of a network is checked."),
    ] = None,
    trials: Annotated[int, typer.Option(help="How many of `--data`, from the first on.", min=1)] = 2,
) -> None:
    """Compare the gradient of a model with central differences of its loss and with the event-driven reference.

    Builds a small network of the model, computes the loss and its gradient as in training, and prints for every group
    of weights and parameters how far the gradient is from both, relative in norm; also the number of spikes, how far
    their times are from the reference's, the slowest threshold crossing, and how often events met at one instant.
    A network is checked as it is; with `--data` its own loss on trials of yours, else a smooth function of what its
    output does with random input. On numpy a nonlinear model takes minutes, and one element of each group is compared,
    not six; a C++ program takes half a minute to compile, once, and seconds to run.

    The verdict follows from all that was compared. Exit code: 0 if the gradient agrees, 1 if anything is beyond
    tolerance, 3 if that is unresolved (nothing tells it for some group: differences are too coarse, and the reference
    was left out), 2 for bad input. What is being done is said on standard error every 5 seconds.

    Examples: `snnmodels check-gradient lif`; `snnmodels check-gradient qif --recurrent`;
    `snnmodels check-gradient my_neuron.toml --target cpp_standalone`;
    `snnmodels check-gradient my_network.toml --data trials.npz`.
    """
    from rich.console import Console

    from ..gradients.check import check_gradient
    from ..templates import Model, Network

    prepare_brian()
    if not tolerance > 0:
        raise ValueError(f"--tolerance: expected a positive number, got {tolerance:g}")
    loaded = load_any(model)
    if not isinstance(loaded, Model | Network):
        raise ValueError(f"{model[0]} is a spike-coding network, which is derived, not trained by a gradient")
    if recurrent and isinstance(loaded, Network):
        raise ValueError(f"--recurrent: {model[0]} is a network, which is checked as it is")
    if target is not None:
        require_tools(target)
    # a table that is cut off tells nothing; a narrow terminal wraps it
    console = Console()
    console.width = max(console.width, WIDTH)
    with _said_after(PATIENCE) as progress:
        report = check_gradient(
            loaded,
            target=target,
            tolerance=tolerance,
            recurrent=recurrent,
            oracle=oracle,
            seed=seed,
            progress=progress,
            **_own(loaded, data, trials),
        )
    console.print(report.table())
    if report.verdict == "DISAGREES":
        typer.echo("error: the gradient is beyond tolerance", err=True)
        raise typer.Exit(BEYOND_TOLERANCE)
    if report.verdict == "UNRESOLVED":
        groups = ", ".join(report.unjudged)
        typer.echo(f"error: nothing tells whether the gradient is right for {groups or 'any group'}", err=True)
        raise typer.Exit(UNRESOLVED)


def _own(loaded: Model | Network, data: Path | None, trials: int) -> dict[str, Any]:
    """The network's own loss, and the first trials of a data file."""
    from ..losses import loss_of
    from ..templates import Network
    from ..training import read_trials

    if data is None:
        return {}
    if not isinstance(loaded, Network):
        raise ValueError("--data is for a network's file; for a model a network and its input are made")
    loss = loss_of(loaded)
    inputs, targets = read_trials(data, loaded, loss).take(slice(trials))
    return {"loss": loss, "inputs": inputs, "targets": targets}


@contextlib.contextmanager
def _said_after(patience: float) -> Iterator[Callable[[str], None]]:
    """What is told last, on standard error whenever so many seconds have passed: one piece of work may take long."""
    doing, began, done = [""], time.monotonic(), threading.Event()

    def talk() -> None:
        while not done.wait(patience):
            typer.echo(f"{time.monotonic() - began:.0f} s: {doing[0]}", err=True)

    def note(what: str) -> None:
        doing[0] = what

    talker = threading.Thread(target=talk, daemon=True)
    talker.start()
    try:
        yield note
    finally:
        done.set()
        talker.join()
