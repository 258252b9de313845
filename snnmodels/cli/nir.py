"""``snnmodels nir``: networks to and from NIR, the exchange format of simulators and neuromorphic hardware."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from .common import BEYOND_TOLERANCE, milliseconds, prepare_brian

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Networks to and from NIR graphs.")

ProfileOption = Annotated[
    str,
    typer.Option(
        "--profile",
        help="The backend: `nir`, `snntorch`, `norse`, `lava-dl`, `spyx`, `jaxsnn`, `hxtorch`; to check alone, "
        "`sinabs`, `rockpool`, `nengo`, `spinnaker2`.",
    ),
]
StepOption = Annotated[
    float | None, typer.Option(help="In ms: step of the backend or simulator, in which a spike is a 1.")
]


@app.command("export")
def export_graph(
    network: Annotated[str, typer.Argument(metavar="NETWORK", help="Of the library, or the path of a `.toml` file.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The graph to write, as `mine.nir`.")],
    profile: ProfileOption = "nir",
    dt: StepOption = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Trained weights: a checkpoint that training of this network wrote.")
    ] = None,
) -> None:
    """Write a network as a NIR graph.

    Example: `snnmodels nir export yin_yang yin_yang.nir --profile snntorch --dt 0.1`.
    """
    from ..bridges import to_nir
    from ..losses import load_network
    from ..templates import with_values

    prepare_brian()
    loaded = load_network(network)
    if checkpoint is not None:
        from .build import trained_values

        loaded = with_values(loaded, trained_values(checkpoint))
    with _said():
        graph = to_nir(loaded, file, profile=profile, dt=_seconds("--dt", dt))
    typer.echo(f"{file}: {len(graph.nodes)} nodes, {len(graph.edges)} edges, for {profile}")


@app.command("import")
def import_graph(
    graph: Annotated[Path, typer.Argument(metavar="FILE", help="A `.nir` file.")],
    file: Annotated[Path, typer.Argument(metavar="NETWORK", help="The network's file to write, as `mine.toml`.")],
    duration: Annotated[
        float | None, typer.Option(help="Of a trial, in ms; may be left out if `export` wrote the graph.")
    ] = None,
    dt: StepOption = None,
    current: Annotated[
        bool, typer.Option("--current", help="Input nodes are sampled currents, in the place of spikes.")
    ] = False,
    interval: Annotated[
        float | None, typer.Option(help="In ms, between samples of currents; `--dt` unless given.")
    ] = None,
    reset: Annotated[
        str | None, typer.Option(help="`value` (as NIR says), or `subtract` v_threshold - v_reset at a spike.")
    ] = None,
    initial: Annotated[str | None, typer.Option(help="Where v starts: `reset`, `leak`, or a number.")] = None,
    output: Annotated[str | None, typer.Option(help="The Output node that losses read, if there are several.")] = None,
    unit: Annotated[
        str | None, typer.Option(help="Of the graph's times: `second`, `ms`, or seconds as a number.")
    ] = None,
) -> None:
    """Read a NIR graph, and write it as a network's file with its weights beside it.

    Example: `snnmodels nir import lif.nir lif.toml --duration 100 --dt 0.1 --current`.
    """
    from ..bridges import from_nir
    from ..templates import save_network

    prepare_brian()
    with _said():
        network = from_nir(
            graph,
            duration=_seconds("--duration", duration),
            dt=_seconds("--dt", dt),
            inputs="current" if current else None,
            interval=_seconds("--interval", interval),
            reset=reset,
            initial=_number_or_word(initial),
            output=output,
            unit=_number_or_word(unit),
        )
    save_network(network, file)
    typer.echo(repr(network))
    typer.echo(f"next: snnmodels show {file}")


@app.command("check")
def check_graph(
    graph: Annotated[Path, typer.Argument(metavar="FILE", help="A `.nir` file.")],
    profile: ProfileOption = "nir",
    dt: StepOption = None,
) -> None:
    """Say what a backend can't take of a NIR graph, node by node; exit code 1 if there is anything.

    Example: `snnmodels nir check mine.nir --profile norse --dt 1`.
    """
    from ..bridges import PROFILES, check_nir

    with _said():
        found = check_nir(graph, profile, dt=_seconds("--dt", dt))
    if dt is None and PROFILES[profile].stepped:
        typer.echo("warning: without --dt, what depends on the step is not looked at", err=True)
    for line in found:
        typer.echo(line)
    if found:
        raise typer.Exit(BEYOND_TOLERANCE)
    typer.echo(f"{graph}: {profile} takes all of it")


@contextmanager
def _said() -> Iterator[None]:
    """Warnings as lines on standard error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        typer.echo(f"warning: {warning.message}", err=True)


def _seconds(name: str, value: float | None) -> float | None:
    return None if value is None else milliseconds(name, value)


def _number_or_word(value: str | None) -> str | float | None:
    if value is None:
        return None
    try:
        return float(value)
    except ValueError:
        return value
