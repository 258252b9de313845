"""The command ``snnmodels``.

Everything heavy (Brian2, SymPy) is imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

if TYPE_CHECKING:
    import numpy as np

    from .templates import Model, Network

__all__ = ["app", "main"]

BAD_INPUT = 2
BEYOND_TOLERANCE = 1


class _Commands(TyperGroup):
    """Turns the errors that bad input causes into one line on standard error and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (ValueError, OSError) as error:
            _give_up(ctx, error)
        except RuntimeError as error:
            # Brian2 and SymPy raise RuntimeErrors of their own, which are no bad input
            if not type(error).__module__.startswith("snnmodels."):
                raise
            _give_up(ctx, error)


def _give_up(ctx: typer.Context, error: Exception) -> None:
    if ctx.params.get("debug"):
        raise error
    message = " ".join(str(error).split()) or type(error).__name__
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
train_app = typer.Typer(no_args_is_help=True, help="Train a network and save its history, figure and weights.")
app.add_typer(train_app, name="train")


class Format(enum.StrEnum):
    """How a derivation is written."""

    text = "text"
    latex = "latex"
    markdown = "markdown"


class Target(enum.StrEnum):
    """Where Brian2 runs a simulation."""

    numpy = "numpy"
    cpp_standalone = "cpp_standalone"


class BuildTarget(enum.StrEnum):
    """Language of a standalone project."""

    cpp = "cpp"
    cuda = "cuda"


ModelArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL",
        help="A neuron of the library, and optionally synapses and mechanisms, apart or joined by plus signs "
        "(`lif`, `lif exp_synapse adaptive_threshold`, `lif+alpha_synapse`); or paths of your own `.toml` files.",
    ),
]


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
    import os

    os.environ.setdefault("MPLBACKEND", "Agg")


@app.command("list")
def list_models(
    kind: Annotated[
        str | None, typer.Argument(help="Only one kind: neuron, synapse, mechanism or network.", metavar="[KIND]")
    ] = None,
) -> None:
    """List the library: neurons, synapses, mechanisms and networks.

    Any neuron combines with any synapse and mechanism that drives one of its inputs; names without a synapse take the
    neuron's usual one.
    """
    from rich.table import Table

    from .templates import catalogue

    _leave_no_log_files()
    entries = catalogue()
    kinds = list(dict.fromkeys(entry.kind for entry in entries))
    if kind is not None and kind.removesuffix("s") not in kinds:
        raise ValueError(f"kind {kind!r} is not one of {', '.join(kinds)}")
    table = Table("kind", "name", "title", box=None, header_style="bold")
    for entry in entries:
        if kind is None or entry.kind == kind.removesuffix("s"):
            table.add_row(entry.kind, entry.name, entry.title)
    Console().print(table)


@app.command()
def show(model: ModelArgument) -> None:
    """Show a model or network: equations, threshold, reset, synapses, and every parameter with unit and meaning.

    Examples: `snnmodels show lif`; `snnmodels show lif exp_synapse adaptive_threshold`; `snnmodels show yin_yang`;
    `snnmodels show my_neuron.toml alpha_synapse`.
    """
    from .templates import Network, describe

    _leave_no_log_files()
    loaded = _load(model)
    typer.echo(_describe_network(loaded) if isinstance(loaded, Network) else describe(loaded))


def _describe_network(network: Network) -> str:
    """Inputs, populations and projections of a network, one per line."""
    lines = [f"{network.name}: trials of {network.duration * 1e3:g} ms, read out from {network.output}", "", "Inputs"]
    lines += [f"    {source.name}: {source.n} sources of spikes" for source in network.inputs]
    lines += ["", "Populations (snnmodels show MODEL tells more)"]
    lines += [f"    {q.name}: {q.n} x {q.model.name}, {q.model.title}" for q in network.populations]
    lines += ["", "Projections"]
    for p in network.projections:
        count = p.weights.size if p.mask is None else int(p.mask.sum())
        spread = f"mean {p.weights.mean():.4g}, standard deviation {p.weights.std():.4g}"
        lines.append(f"    {p.name}: {p.source} -> {p.target} through {p.receptor}, {count} weights, {spread}")
    lines += ["", "Trained: " + ", ".join(f"{key} {value.shape}" for key, value in network.trainable().items())]
    return "\n".join(lines)


@app.command("check-gradient")
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
    from .eventprop.check import check_gradient

    _leave_no_log_files()
    steps = [_milliseconds("--dt", value) for value in dt or (1.0, 0.5, 0.1)]
    loaded = _load(model)
    within = True
    for step in steps:
        report = check_gradient(loaded, target=target.value, dt=step)
        Console().print(report.table())
        within = within and report.ok
    if not within:
        typer.echo("error: the gradient is beyond tolerance", err=True)
        raise typer.Exit(BEYOND_TOLERANCE)


@app.command()
def build(
    what: Annotated[
        list[str],
        typer.Argument(metavar="MODEL-or-NETWORK", help="A network (`yin_yang`), or a model as in `snnmodels show`."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the project; is made.")],
    target: Annotated[BuildTarget, typer.Option(help="Language of the project.")] = BuildTarget.cpp,
    dt: Annotated[float, typer.Option(help="Time step in ms.")] = 0.1,
    spikes: Annotated[
        Path | None,
        typer.Option(help="Input spikes: an .npz file with an array (sources, spikes) in seconds per input."),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Trained weights: a checkpoint that training of this network wrote.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of initial weights, and of a model's input.")] = None,
    neurons: Annotated[int, typer.Option(help="For a model: how many neurons.")] = 10,
    duration: Annotated[float, typer.Option(help="For a model: length of the simulation in ms.")] = 100.0,
    weight: Annotated[
        float | None,
        typer.Option(help="For a model: mean weight in SI base units; half of what makes one arrival cause a spike."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier project in the folder.")] = False,
) -> None:
    """Write the forward simulation as a C++ or CUDA project that builds with make, here or elsewhere, without Python.

    A network gets one trial of input: the spikes you give, else the first test sample of its data set if the package
    can make that, else one spike per source. A model gets Poisson input through each of its receptors. Then:
    `cd DIR && make run && python3 read_results.py`. The project's README tells the rest.

    Examples: `snnmodels build yin_yang --out yin_yang_cpp`; `snnmodels build lif alpha_synapse --target cuda -o lif`.
    """
    from .brian import export
    from .templates import Network, load_network

    _leave_no_log_files()
    step = _milliseconds("--dt", dt)
    loaded = _load(what)
    if isinstance(loaded, Network):
        network = loaded if seed is None else load_network(what[0], seed=seed)
        if checkpoint is not None:
            network = export.with_values(network, _trained_values(checkpoint))
        given, origin = _input_of(network, what[0])
    elif checkpoint is not None:
        raise ValueError(f"--checkpoint: {loaded.name} is a single model; only a network is trained")
    else:
        network, given = export.driven_population(
            loaded,
            n=neurons,
            duration=_milliseconds("--duration", duration),
            dt=step,
            weight=weight,
            seed=seed or 0,
        )
        origin = "Poisson spike trains of 20 Hz"
    if spikes is not None:
        given, origin = export.read_spikes(str(spikes), network), f"from the file {spikes.name}"
    project = export.export_project(
        network, out, target.value, spikes=given, spikes_from=origin, dt=step, overwrite=force
    )
    typer.echo(f"{out}: {project.sources} sources; input spikes: {origin}")
    typer.echo(f"next: cd {out} && make run && python3 read_results.py")


def _input_of(network: Network, reference: str) -> tuple[dict[str, np.ndarray], str]:
    """Input spikes for a network whose user gave none, and where they come from."""
    from .brian import export
    from .templates._library import find, read_toml

    sample = export.encoded_sample(network, read_toml(find(reference, ("network",))).get("encoding", {}))
    if sample is not None:
        return sample, "the first sample of the Yin-Yang test set"
    return export.regular_spikes(network), "one spike per source, spread evenly over the first half of the trial"


def _trained_values(path: Path) -> dict[str, np.ndarray]:
    """The values to use from a checkpoint: the best ones on the validation set where it kept them, else the last."""
    from .eventprop.checkpoint import load_checkpoint

    saved = load_checkpoint(path)
    return saved.values if saved.best is None else saved.best.values


def _load(names: list[str]) -> Model | Network:
    """The model, or the network if a single name stands for one.

    Raises
    ------
    TemplateError
        If there is neither.
    """
    from .templates import catalogue, load_model, load_network

    if len(names) == 1:
        networks = {entry.name for entry in catalogue() if entry.kind == "network"}
        if names[0] in networks or _is_network_file(Path(names[0])):
            return load_network(names[0])
    return load_model(*names)


def _load_model(names: list[str]) -> Model:
    from .templates import Network

    loaded = _load(names)
    if isinstance(loaded, Network):
        raise ValueError(f"{names[0]} is a network; this command takes one neuron model")
    return loaded


def _is_network_file(path: Path) -> bool:
    """Whether a TOML file says that it is one; a file with errors is left to the model loader to complain about."""
    import tomllib

    if path.suffix != ".toml" or not path.is_file():
        return False
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")).get("kind") == "network"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return False


def _leave_no_log_files() -> None:
    from .brian.standalone import no_log_files

    no_log_files()


def _milliseconds(name: str, value: float) -> float:
    if not 0 < value < float("inf"):
        raise ValueError(f"{name}: expected a positive number of milliseconds, got {value:g}")
    return value * 1e-3


def main() -> None:
    """Run the command line."""
    app()
