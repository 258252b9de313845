"""``snnmodels list``, ``show`` and ``derive``: look at the library."""

from __future__ import annotations

import enum
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import ModelArgument, load_any, prepare_brian

if TYPE_CHECKING:
    import numpy as np

    from ..coding import CodingNetwork
    from ..templates import Network

__all__ = ["derive", "list_models", "show"]


class Format(enum.StrEnum):
    """How a derivation is written."""

    text = "text"
    latex = "latex"
    markdown = "markdown"


def list_models(
    kind: Annotated[
        str | None,
        typer.Argument(help="Only one kind: neuron, synapse, mechanism, network or coding.", metavar="[KIND]"),
    ] = None,
) -> None:
    """List the library: neurons, synapses, mechanisms, networks to train, and spike-coding networks.

    Any neuron combines with any synapse and mechanism that drives one of its inputs; names without a synapse take the
    neuron's usual one.
    """
    from rich.console import Console
    from rich.table import Table

    from ..templates import catalogue

    rows = [(entry.kind, entry.name, entry.title) for entry in catalogue()]
    kinds = list(dict.fromkeys(row[0] for row in rows))
    if kind is not None and kind.removesuffix("s") not in kinds:
        raise ValueError(f"kind {kind!r} is not one of {', '.join(kinds)}")
    table = Table("kind", "name", "title", box=None, header_style="bold")
    for row in rows:
        if kind is None or row[0] == kind.removesuffix("s"):
            table.add_row(*row)
    Console().print(table)


def show(model: ModelArgument) -> None:
    """Show a model: equations, threshold, reset, synapses, and every parameter with unit and meaning; or a network.

    Examples: `snnmodels show lif`; `snnmodels show lif exp_synapse adaptive_threshold`; `snnmodels show yin_yang`;
    `snnmodels show my_neuron.toml alpha_synapse`.
    """
    from ..templates import Model, Network, describe

    prepare_brian()
    match load_any(model):
        case Model() as loaded:
            typer.echo(describe(loaded))
        case Network() as loaded:
            typer.echo(_describe_network(loaded))
        case loaded:
            typer.echo(_describe_coding(loaded))


def _describe_network(network: Network) -> str:
    """Inputs, populations and projections of a network, one per line."""
    lines = [f"{network.name}: trials of {network.duration * 1e3:g} ms, read out from {network.output}", "", "Inputs"]
    lines += [f"    {source.name}: {source.n} sources of spikes" for source in network.inputs]
    for current in network.currents:
        samples = f"{current.n} currents, {current.interpolation}, a sample every {current.interval * 1e3:g} ms"
        lines.append(f"    {current.name}: {samples} from {current.start * 1e3:g} ms on")
    lines += ["", "Populations (snnmodels show MODEL tells more)"]
    lines += [f"    {q.name}: {q.n} x {q.model.name}, {q.model.title}" for q in network.populations]
    lines += ["", "Projections"]
    for p in network.projections:
        count = p.weights.size if p.mask is None else int(p.mask.sum())
        spread = f"mean {p.weights.mean():.4g}, standard deviation {p.weights.std():.4g}"
        delay = _describe_delay(p.delay)
        lines.append(f"    {p.name}: {p.source} -> {p.target} through {p.receptor}, {count} weights, {spread}{delay}")
    for d in network.drives:
        spread = f"mean {d.weights.mean():.4g}, standard deviation {d.weights.std():.4g}"
        lines.append(f"    {d.name}: {d.source} -> {d.target}, added to {d.input}, {d.weights.size} weights, {spread}")
    if network.loss:
        from ..losses import loss_of

        # made, so that what is wrong with it is said here
        lines += ["", f"Loss: {loss_of(network)}"]
    lines += ["", "Trained: " + ", ".join(f"{key} {value.shape}" for key, value in network.trainable().items())]
    return "\n".join(lines)


def _describe_delay(delay: float | np.ndarray) -> str:
    """The delay of a projection, where it has one."""
    import numpy as np

    low, high = np.min(delay) * 1e3, np.max(delay) * 1e3
    if high == 0:
        return ""
    return f", delay {low:g} ms" if low == high else f", delays {low:g} to {high:g} ms"


def _describe_coding(network: CodingNetwork) -> str:
    """Size, costs and parameters of a spike-coding network."""
    loss = network.loss
    signals, neurons = network.decoder.shape
    said = f"{network.name}: {loss.title}" if loss.title else network.name
    lines = [said, "", *([loss.description.strip(), ""] if loss.description.strip() else [])]
    lines += [f"{neurons} neurons code {signals} signals", "", "Costs besides the error of the read-out"]
    lines += [f"    {cost.name} = {cost.expression}    {cost.description}" for cost in loss.costs] or ["    none"]
    lines += ["", "Traces"]
    lines += [f"    {k}: {t.scope}, {t.tau * 1e3:g} ms    {t.description}" for k, t in loss.traces.items()]
    lines += ["", "Parameters"]
    lines += [f"    {p.name} = {p.default}    {p.description}" for p in loss.parameters.values()] or ["    none"]
    return "\n".join([*lines, "", f"snnmodels derive {network.name} shows the spike rule that follows"])


def _to_derive(network: Network) -> str:
    """What to type for the models of a network that are made of files of their own; else what to do."""
    from ..templates import equations_path

    commands = []
    for p in network.populations:
        words = []
        for component in p.model.components:
            path = Path(component.where)
            if path.is_file():
                alias = component.reference.removeprefix(component.name)
                words.append(component.reference if equations_path() in path.parents else f"{path}{alias}")
        if words and len(words) == len(p.model.components):
            commands.append(f"snnmodels derive {shlex.join(words)}")
    return " or ".join(dict.fromkeys(commands)) or (
        f"they stand in the file itself; in Python, snn.derivation(network.population({network.output!r}).model)"
    )


def derive(
    model: ModelArgument,
    format: Annotated[
        Format, typer.Option(help="Terminal text, the body of a LaTeX document, or Markdown.")
    ] = Format.text,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write to this file instead of printing.")] = None,
) -> None:
    """Derive step by step: a model's adjoint, from its equations to the gradients; a coding network's spike rule.

    Forward model, adjoint equation between spikes, the implicit function theorem at the threshold, the jump at a spike
    and at an arrival, and what each contributes to the gradient. For the LIF neuron also the line which shows that the
    result is the published rule. For a spike-coding network (`snnmodels list coding`) how thresholds, weights and
    currents follow from its joint loss.

    Examples: `snnmodels derive lif`; `snnmodels derive lif adaptive_threshold --format markdown --out alif.md`;
    `snnmodels derive joint`.
    """
    from ..files import folder_for, named
    from ..reports import derivation
    from ..templates import Model, Network

    prepare_brian()
    match load_any(model):
        case Model() as loaded:
            text = derivation(loaded, format.value)
        case Network() as network:
            raise ValueError(f"{model[0]} is a network; derive the model of a population: {_to_derive(network)}")
        case loaded:
            text = derivation(loaded.loss, format.value)
    if out is None:
        typer.echo(text)
        if isinstance(loaded, Model):  # not of the derivation, which may be piped
            typer.echo(f"next: snnmodels check-gradient {shlex.join(model)} (its gradient, by numbers)", err=True)
    else:
        folder_for(out.parent, "folder of --out")
        with named(out, "--out"):
            out.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
        typer.echo(f"written: {out}")
