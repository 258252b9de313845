"""``snnmodels check-gradient``: the gradient of a model against differences and the reference."""

from __future__ import annotations

from typing import Annotated

import typer

from .common import BEYOND_TOLERANCE, ModelArgument, Target, leave_no_log_files, load_one_model, milliseconds

__all__ = ["check_gradient"]


def check_gradient(
    model: ModelArgument,
    target: Annotated[Target, typer.Option(help="Where the simulation runs.")] = Target.numpy,
    dt: Annotated[
        list[float] | None,
        typer.Option(help="Time step in ms; may be given several times. [default: 1, 0.5, 0.1]", show_default=False),
    ] = None,
) -> None:
    """Compare the gradient of a model with central differences of its loss and with the event-driven reference.

    Builds a small network of the model, computes the loss and its gradient as in training, and prints for every group
    of weights and parameters how far the gradient is from both, relative to its norm; also the slowest threshold
    crossing and the number of spikes. Linear models agree to rounding at any time step. For nonlinear models the
    deviation shrinks with the time step.

    Exit code: 0 within tolerance, 1 beyond it, 2 for bad input.

    Examples: `snnmodels check-gradient lif`; `snnmodels check-gradient qif --dt 0.1`;
    `snnmodels check-gradient my_neuron.toml --target cpp_standalone`.
    """
    from rich.console import Console

    from ..eventprop.check import check_gradient

    leave_no_log_files()
    steps = [milliseconds("--dt", value) for value in dt or (1.0, 0.5, 0.1)]
    loaded = load_one_model(model)
    within = True
    for step in steps:
        report = check_gradient(loaded, target=target.value, dt=step)
        Console().print(report.table())
        within = within and report.ok
    if not within:
        typer.echo("error: the gradient is beyond tolerance", err=True)
        raise typer.Exit(BEYOND_TOLERANCE)
