"""The command ``snnmodels``.

Everything heavy (Brian2, SymPy) is imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from . import build, fit, gradient, models, nir, train
from .common import BAD_INPUT, INTERRUPTED, one_line

__all__ = ["app", "main"]

LONGEST = 390  # characters of what is said of an error


class _Commands(TyperGroup):
    """Turns the errors that bad input causes into one line on standard error and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (ValueError, OSError) as error:
            _give_up(ctx, error)
        except RuntimeError as error:
            # Brian2 and SymPy raise RuntimeErrors of their own, which are no bad input; a worker that died is told
            if not type(error).__module__.startswith(("snnmodels.", "concurrent.futures.")):
                raise
            _give_up(ctx, error)
        except KeyboardInterrupt as interruption:
            # training says here what is kept
            typer.echo(str(interruption) or "interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None


def _give_up(ctx: typer.Context, error: Exception) -> None:
    if ctx.params.get("debug"):
        raise error
    from ..templates.errors import shorten  # loads what `--help` has no use for

    message = shorten(getattr(error, "told_at_a_command", str(error)), LONGEST) or type(error).__name__
    if notes := getattr(error, "__notes__", []):  # which run of several it was
        message += f" ({'; '.join(notes)})"
    # not through rich, which would break the line and colour parts of it
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(BAD_INPUT)


app = typer.Typer(
    name="snnmodels",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("list")(models.list_models)
app.command("show")(models.show)
app.command("derive")(models.derive)
app.command("check-gradient")(gradient.check_gradient)
app.add_typer(train.app, name="train")
app.command("fit")(fit.fit)
app.command("build")(build.build)
app.add_typer(nir.app, name="nir")
app.command("load-results")(build.show_results)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"snnmodels {version('snnmodels')}")
        except PackageNotFoundError:
            typer.echo("snnmodels, run from a checkout without being installed")
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error instead of one line.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Neuron models as templates, their exact gradients, and training of spiking networks on Brian2.

    A model is a neuron with synapses and mechanisms from the library (`snnmodels list`) or from your own TOML files.
    Start with `snnmodels show lif`, `snnmodels derive lif`, `snnmodels check-gradient lif`.
    """
    # the figures of a command go to files
    os.environ.setdefault("MPLBACKEND", "Agg")


def main() -> None:
    """Run the command line."""
    warnings.formatwarning = one_line
    app()
