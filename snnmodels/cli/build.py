"""``snnmodels build`` writes standalone projects, ``snnmodels load-results`` reads what they have found."""

from __future__ import annotations

import enum
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import load_any, milliseconds, prepare_brian

if TYPE_CHECKING:
    import numpy as np

    from ..templates import Network

__all__ = ["build", "show_results", "trained_values"]


class BuildTarget(enum.StrEnum):
    """Language of a standalone project."""

    cpp = "cpp"
    cuda = "cuda"


class Timing(enum.StrEnum):
    """When spikes happen."""

    precise = "precise"
    grid = "grid"


class What(enum.StrEnum):
    """What a project computes."""

    forward = "forward"
    gradient = "gradient"


def build(
    what: Annotated[
        list[str],
        typer.Argument(metavar="MODEL-or-NETWORK", help="A network (`yin_yang`), or a model as in `snnmodels show`."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the project; is made.")],
    target: Annotated[BuildTarget, typer.Option(help="Language of the project.")] = BuildTarget.cpp,
    timing: Annotated[
        Timing,
        typer.Option(help="Every spike at its own time, by the event engine; or on a time grid, by Brian2's sources."),
    ] = Timing.precise,
    computes: Annotated[
        What, typer.Option("--what", help="The forward simulation, or gradients too (with precise timing).")
    ] = What.forward,
    loss: Annotated[
        str | None,
        typer.Option(
            help="With `--what gradient`: `ttfs_cross_entropy`, or another kind that [loss] of a network's file may "
            "name; the file's own unless given. Where there is none, its derivatives come from files."
        ),
    ] = None,
    targets: Annotated[
        Path | None,
        typer.Option(
            help="With `--what gradient`, for a cross-entropy: an .npy file with the label of every trial; that of the "
            "sample, or else 0, unless given."
        ),
    ] = None,
    dt: Annotated[
        float,
        typer.Option(help="In ms: step of the grid, of a model's input, and between samples of what doesn't spike."),
    ] = 0.1,
    spikes: Annotated[
        Path | None,
        typer.Option(
            help="Input spikes: an .npz file with an array (sources, spikes) in seconds per input; with precise timing "
            "also (trials, sources, spikes), and samples of currents."
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Trained weights: a checkpoint that training of this network wrote.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of initial weights, and of a model's input.", min=0)] = None,
    neurons: Annotated[int, typer.Option(help="For a model: how many neurons.")] = 10,
    duration: Annotated[float, typer.Option(help="For a model: length of the simulation in ms.")] = 100.0,
    weight: Annotated[
        float | None,
        typer.Option(help="For a model: mean weight in SI base units; half of what makes one arrival cause a spike."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier project in the folder.")] = False,
) -> None:
    """Write a simulation as a C++ or CUDA project that builds with make, here or elsewhere, without Python.

    Inputs and weights are files that may be replaced, as the project's README tells. A network gets the spikes you
    give, else one trial: the first test sample of its data set if the package can make that, else one spike per
    source, and currents of 0. A model gets Poisson input through each of its receptors. Then:
    `cd DIR && make run && snnmodels load-results .`.

    Examples: `snnmodels build yin_yang --out yin_yang_cpp`; `snnmodels build lif alpha_synapse --target cuda -o lif`;
    `snnmodels build yin_yang --what gradient --loss ttfs_cross_entropy -o gradient`.
    """
    from ..brian import export
    from ..files import read_array
    from ..losses import load_network, loss_of
    from ..losses.classification import compiled
    from ..projects import export_simulation
    from ..templates import Model, Network
    from ..templates.values import with_values

    if timing is Timing.grid and computes is What.gradient:
        raise ValueError("--what gradient: a project on a time grid only runs forward; use --timing precise")
    for name, value in (("--loss", loss), ("--targets", targets)):
        if value is not None and computes is What.forward:
            raise ValueError(f"{name} is for --what gradient")
    prepare_brian()
    step = milliseconds("--dt", dt)
    loaded = load_any(what)
    if isinstance(loaded, Network):
        network = loaded if seed is None else load_network(what[0], seed=seed)
        if checkpoint is not None:
            network = with_values(network, trained_values(checkpoint))
        given, origin = _input_of(network)
    elif not isinstance(loaded, Model):
        raise ValueError(f"{what[0]} is a spike-coding network; only models and networks to train can be built")
    elif checkpoint is not None:
        raise ValueError(f"--checkpoint: {loaded.name} is a single model; only a network is trained")
    else:
        network, given = export.driven_population(
            loaded,
            n=neurons,
            duration=milliseconds("--duration", duration),
            dt=step,
            weight=weight,
            seed=seed or 0,
            exact=timing is Timing.precise,
        )
        origin = "Poisson spike trains of 20 Hz"
    if spikes is not None:
        given, origin = export.read_spikes(str(spikes), network), f"from the file {spikes.name}"
    if timing is Timing.grid:
        on_grid = export.export_project(
            network, out, target.value, spikes=given, spikes_from=origin, dt=step, overwrite=force
        )
        typer.echo(f"{out}: {on_grid.sources} sources; input spikes: {origin}")
        typer.echo(f"next: cd {out} && make run && python3 read_results.py")
        return
    labels = None if targets is None else read_array(targets, "file of labels")
    if loss is not None:
        network = replace(network, loss=({"kind": loss},))
    if labels is None and spikes is None and computes is What.gradient and network.loss and compiled(loss_of(network)):
        labels = export.encoded_label(network)
    project = export_simulation(
        network,
        out,
        target.value,
        inputs=_batch(network, given),
        what=computes.value,
        targets=labels,
        inputs_from=origin,
        interval=min(step, network.duration),
        overwrite=force,
    )
    typer.echo(f"{out}: {project.sources} sources; inputs: {origin}")
    wanted = [file.path for file in project.files if file.role == "derivative"]
    if wanted:
        typer.echo(f"next: cd {out} && make && ./main --forward; write {', '.join(wanted)}; ./main")
    else:
        typer.echo(f"next: cd {out} && make run && snnmodels load-results .")


def show_results(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A project that `snnmodels build` wrote.")],
) -> None:
    """Print what the program of a project with precise timing has found.

    In Python: `snnmodels.projects.load_results(DIR)`.
    """
    import numpy as np

    from ..projects import load_results

    results = load_results(directory)
    for name, times in results.spikes.items():
        trials, n, _ = times.shape
        typer.echo(f"{name}: {np.isfinite(times).sum()} spikes of {n} neurons in {_trials(trials)}")
    for name, values in results.states.items():
        typer.echo(f"{name}: {_shown(values)}")
    if results.loss is not None:
        typer.echo(f"loss: {results.loss:.9g}")
    if results.predictions is not None:
        more = " ..." * (len(results.predictions) > 20)
        typer.echo(f"predictions: {' '.join(map(str, results.predictions[:20]))}{more}")
    for name, values in results.gradients.items():
        typer.echo(f"gradient by {name}: {_shown(values)}")


def _trials(n: int) -> str:
    return "1 trial" if n == 1 else f"{n} trials"


def _shown(values: np.ndarray) -> str:
    """An array in a few words."""
    if not values.ndim:
        return f"{float(values):.6g}"
    extent = f", from {values.min():.6g} to {values.max():.6g}" if values.size else ""
    return f"{' x '.join(map(str, values.shape))}{extent}"


def _batch(network: Network, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Inputs of one trial as a batch; a batch as it is, and currents of 0 where none are given."""
    import numpy as np

    found = {}
    for source in network.inputs:
        times = np.asarray(given[source.name])
        found[source.name] = times[None, :, None] if times.ndim == 1 else times[None] if times.ndim == 2 else times
    for current in network.currents:
        silent = np.zeros(current.samples(network.duration))
        found[current.name] = given.get(current.name, silent)
    return found


def _input_of(network: Network) -> tuple[dict[str, np.ndarray], str]:
    """Input spikes for a network whose user gave none, and where they come from."""
    from ..brian import export

    sample = export.encoded_sample(network)
    if sample is not None:
        return sample, "the first sample of the Yin-Yang test set"
    return export.regular_spikes(network), "one spike per source, spread evenly over the first half of the trial"


def trained_values(path: Path) -> dict[str, np.ndarray]:
    """The values to use from a checkpoint: the best ones on the validation set where it kept them, else the last."""
    from ..training.checkpoint import load_checkpoint

    saved = load_checkpoint(path)
    return saved.values if saved.best is None else saved.best.values
