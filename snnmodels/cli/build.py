"""``snnmodels build``: a standalone project of the forward simulation."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import load_any, milliseconds, prepare_brian

if TYPE_CHECKING:
    import numpy as np

    from ..templates import Network

__all__ = ["build"]


class BuildTarget(enum.StrEnum):
    """Language of a standalone project."""

    cpp = "cpp"
    cuda = "cuda"


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
    seed: Annotated[int | None, typer.Option(help="Of initial weights, and of a model's input.", min=0)] = None,
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
    from ..brian import export
    from ..losses import load_network
    from ..templates import Model, Network
    from ..templates.values import with_values

    prepare_brian()
    step = milliseconds("--dt", dt)
    loaded = load_any(what)
    if isinstance(loaded, Network):
        network = loaded if seed is None else load_network(what[0], seed=seed)
        if checkpoint is not None:
            network = with_values(network, _trained_values(checkpoint))
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
    from ..brian import export

    sample = export.encoded_sample(network)
    if sample is not None:
        return sample, "the first sample of the Yin-Yang test set"
    return export.regular_spikes(network), "one spike per source, spread evenly over the first half of the trial"


def _trained_values(path: Path) -> dict[str, np.ndarray]:
    """The values to use from a checkpoint: the best ones on the validation set where it kept them, else the last."""
    from ..training.checkpoint import load_checkpoint

    saved = load_checkpoint(path)
    return saved.values if saved.best is None else saved.best.values
