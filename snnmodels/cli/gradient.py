"""``snnmodels check-gradient``: the gradient of a model against differences and the reference."""

from __future__ import annotations

from typing import Annotated

import typer

from .common import BEYOND_TOLERANCE, ModelArgument, Target, load_any, milliseconds, prepare_brian

__all__ = ["check_gradient"]

WIDTH = 110


def check_gradient(
    model: ModelArgument,
    target: Annotated[Target, typer.Option(help="Where the simulation runs.")] = Target.numpy,
    dt: Annotated[
        list[float] | None,
        typer.Option(help="Time step in ms; may be given several times. [default: 1, 0.5, 0.1]", show_default=False),
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Largest relative deviation allowed, in norm per group.")] = 1e-6,
    recurrent: Annotated[bool, typer.Option("--recurrent", help="Connect hidden neurons with each other.")] = False,
    oracle: Annotated[bool, typer.Option(help="Compare with the event-driven reference too.")] = True,
    seed: Annotated[int, typer.Option(help="Of the weights and input spikes.", min=0)] = 0,
) -> None:
    """Compare the gradient of a model with central differences of its loss and with the event-driven reference.

    Builds a small network of the model, computes the loss and its gradient as in training, and prints for every group
    of weights and parameters how far the gradient is from both, relative in norm; also the slowest threshold crossing
    and the number of spikes. Linear models agree to rounding at any time step; nonlinear ones approach the reference
    as the step shrinks, at the order that is printed. A network is checked as it is.

    Exit code: 0 within tolerance, 1 beyond it, 2 for bad input.

    Examples: `snnmodels check-gradient lif`; `snnmodels check-gradient qif --dt 0.1`;
    `snnmodels check-gradient my_neuron.toml --target cpp_standalone`.
    """
    from rich.console import Console

    from ..brian.standalone import require_compiler
    from ..eventprop.check import check_gradient
    from ..eventprop.probe import probe
    from ..templates import Model, Network

    prepare_brian()
    if not tolerance > 0:
        raise ValueError(f"--tolerance: expected a positive number, got {tolerance:g}")
    steps = [milliseconds("--dt", value) for value in dt or (1.0, 0.5, 0.1)]
    loaded = load_any(model)
    if not isinstance(loaded, Model | Network):
        raise ValueError(f"{model[0]} is a spike-coding network, which is derived, not trained by a gradient")
    if recurrent and isinstance(loaded, Network):
        raise ValueError(f"--recurrent: {model[0]} is a network, which is checked as it is")
    if target is not Target.numpy:
        require_compiler()
    # a table that is cut off tells nothing; a narrow terminal wraps it
    console = Console()
    console.width = max(console.width, WIDTH)
    # the same network at every time step
    subject = probe(loaded, seed=seed, recurrent=recurrent) if isinstance(loaded, Model) else loaded
    within = True
    for step in steps:
        report = check_gradient(subject, target=target.value, dt=step, tolerance=tolerance, oracle=oracle, seed=seed)
        console.print(report.table())
        within = within and report.ok
    if not within:
        typer.echo("error: the gradient is beyond tolerance", err=True)
        raise typer.Exit(BEYOND_TOLERANCE)
