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

    from .eventprop.experiments import Experiment, Setup
    from .templates import Model, Network

__all__ = ["app", "main"]

BAD_INPUT = 2
BEYOND_TOLERANCE = 1
INTERRUPTED = 130


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
        except KeyboardInterrupt as interruption:
            # training says here what is kept
            typer.echo(str(interruption) or "interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None


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


class ImageLoss(enum.StrEnum):
    """Loss for image classes."""

    max_voltage = "max_voltage"
    ttfs = "ttfs"


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


@app.command()
def derive(
    model: ModelArgument,
    format: Annotated[
        Format, typer.Option(help="Terminal text, the body of a LaTeX document, or Markdown.")
    ] = Format.text,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write to this file instead of printing.")] = None,
) -> None:
    """Derive a model's adjoint step by step: from the forward equations to the gradient of every weight and parameter.

    Forward model, adjoint equation between spikes, the implicit function theorem at the threshold, the jump at a spike
    and at an arrival, and what each contributes to the gradient. For the LIF neuron also the line which shows that the
    result is the published rule.

    Examples: `snnmodels derive lif`; `snnmodels derive lif adaptive_threshold --format markdown --out alif.md`.
    """
    from .symbolic import HybridSystem, derivation

    _leave_no_log_files()
    text = derivation(HybridSystem.from_model(_load_model(model)), format.value)
    if out is None:
        typer.echo(text)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
        typer.echo(f"written: {out}")


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
        given, origin = _input_of(network)
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


def _input_of(network: Network) -> tuple[dict[str, np.ndarray], str]:
    """Input spikes for a network whose user gave none, and where they come from."""
    from .brian import export

    sample = export.encoded_sample(network)
    if sample is not None:
        return sample, "the first sample of the Yin-Yang test set"
    return export.regular_spikes(network), "one spike per source, spread evenly over the first half of the trial"


def _trained_values(path: Path) -> dict[str, np.ndarray]:
    """The values to use from a checkpoint: the best ones on the validation set where it kept them, else the last."""
    from .eventprop.checkpoint import load_checkpoint

    saved = load_checkpoint(path)
    return saved.values if saved.best is None else saved.best.values


SeedsOption = Annotated[
    list[int] | None,
    typer.Option(
        "--seed", help="Of weights and order of samples; may be given several times. [default: 1]", show_default=False
    ),
]
BatchOption = Annotated[int, typer.Option(help="Trials per gradient step.", min=1)]
StepOption = Annotated[float, typer.Option(help="Time step in ms.")]
TargetOption = Annotated[Target, typer.Option(help="Where the simulation runs; numpy needs no compiler.")]
ProcessesOption = Annotated[int, typer.Option(help="Seeds trained at a time.", min=1)]


@train_app.command("yin-yang")
def train_yin_yang(
    epochs: Annotated[int, typer.Option(help="Passes over the 5000 training samples.", min=1)] = 100,
    seed: SeedsOption = None,
    dt: StepOption = 0.25,
    batch_size: BatchOption = 32,
    target: TargetOption = Target.cpp_standalone,
    processes: ProcessesOption = 1,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")] = Path("output/yin_yang"),
) -> None:
    """Train the 5-200-3 network on Yin-Yang by exact EventProp, with the published settings.

    The folder gets a checkpoint per seed, `results.json` with the history and the figure. An interrupted run goes on
    where it was when the same command is given again.

    Examples: `snnmodels train yin-yang --epochs 10`; `snnmodels train yin-yang --seed 1 --seed 2 --processes 2`.
    """
    from .eventprop.experiments import Setup, draw_yin_yang, yin_yang

    setup = Setup(epochs, batch_size, _milliseconds("--dt", dt), target.value)
    _train(yin_yang(), setup, seed, out, processes)
    typer.echo(f"figure: {draw_yin_yang(out)}")


@train_app.command("mnist")
def train_mnist(
    data: Annotated[Path, typer.Option(help="Folder with MNIST's four files (idx, also gzipped).")],
    loss: Annotated[
        ImageLoss, typer.Option(help="Cross-entropy on maximal potentials of readouts, or on first spikes.")
    ] = ImageLoss.max_voltage,
    epochs: Annotated[int, typer.Option(help="Passes over the 55000 training images.", min=1)] = 10,
    seed: SeedsOption = None,
    dt: StepOption = 0.5,
    batch_size: BatchOption = 32,
    target: TargetOption = Target.cpp_standalone,
    processes: ProcessesOption = 1,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")] = Path("output/mnist"),
) -> None:
    """Train the 784-350-10 network on MNIST by exact EventProp.

    The last 5000 training images are kept for validation. The folder gets a checkpoint per seed, `results.json` with
    the history, the curves and the confusion matrix. An interrupted run goes on where it was.

    Example: `snnmodels train mnist --data ~/mnist --epochs 5`.
    """
    from .eventprop.experiments import Setup, draw_images, mnist

    setup = Setup(epochs, batch_size, _milliseconds("--dt", dt), target.value)
    experiment = mnist(data, loss.value)
    _train(experiment, setup, seed, out, processes)
    for figure in draw_images(out, experiment.name):
        typer.echo(f"figure: {figure}")


def _train(experiment: Experiment, setup: Setup, seed: list[int] | None, out: Path, processes: int) -> None:
    """Train every seed, write ``results.json`` and print the accuracy."""
    import shlex
    import sys

    from .brian.standalone import require_compiler
    from .eventprop.experiments import summarise, train_seeds, write_results

    _leave_no_log_files()
    if setup.target != "numpy":
        require_compiler()
    seeds = seed or [1]
    histories = train_seeds(experiment, setup, seeds, out, processes)
    write_results(out / "results.json", seeds, histories, shlex.join(["snnmodels", *sys.argv[1:]]))
    summary = summarise(histories)
    typer.echo(
        f"test accuracy {summary['test_accuracy_mean']:.2f} % (mean of {len(seeds)} seeds after "
        f"{summary['epochs']} epochs, standard deviation {summary['test_accuracy_std']:.2f})"
    )
    typer.echo(f"results: {out / 'results.json'}")


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
