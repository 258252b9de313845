"""A standalone project: the folder that builds with make and runs without Python."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import brian2
import numpy as np

from ...files import atomic_folder, check_replaceable
from ...targets.devices import cpp_preferences, preferences, quiet
from ...templates.network import Network
from ..brian2cuda import generating_cuda
from .simulation import TrialObjects, one_trial

__all__ = ["Project", "ProjectTarget", "export_project", "write_makefile"]

Array = np.ndarray
ProjectTarget = Literal["cpp", "cuda"]

_MANIFEST = "project.json"


@dataclass(frozen=True)
class _Language:
    """What differs between the targets, besides the files named after them."""

    device: str
    suffix: str
    name: str


_LANGUAGES: Mapping[ProjectTarget, _Language] = {
    "cpp": _Language("cpp_standalone", ".cpp", "C++"),
    "cuda": _Language("cuda_standalone", ".cu", "CUDA C++"),
}


@dataclass(frozen=True)
class Project:
    """A folder that `export_project` wrote.

    Attributes
    ----------
    directory : Path
    target : str
    sources : int
        Number of files to compile.
    """

    directory: Path
    target: ProjectTarget
    sources: int


def export_project(
    network: Network,
    directory: str | Path,
    target: ProjectTarget = "cpp",
    *,
    spikes: Mapping[str, Array],
    spikes_from: str = "given by the caller",
    dt: float = 1e-4,
    overwrite: bool = False,
) -> Project:
    """Write the forward simulation of one trial as a project that builds with make on another machine.

    Parameters
    ----------
    network : Network
    directory : path
        Is made; must be absent, empty or an earlier project (with `overwrite`).
    target : {"cpp", "cuda"}
        C++ by Brian2, or CUDA by Brian2CUDA. Neither a compiler nor a GPU is needed to write the project.
    spikes : mapping of str to array, shape (n,) or (n, spikes)
        Spike times of every input in seconds, padded with inf.
    spikes_from : str
        Where they come from, for the project's README.
    dt : float
        Time step in seconds.
    overwrite : bool
        Whether to replace an earlier project in `directory`.

    Returns
    -------
    Project

    Raises
    ------
    FileExistsError
        If the folder holds something else, or an earlier project and `overwrite` is false.
    OSError
        If it can't be written; what was there is then as it was.
    ValueError
        For an unknown target, a time step that isn't positive, or wrong input spikes.
    CompilerMissing
        If the target is cuda and Brian2CUDA isn't installed.
    """
    if target not in _LANGUAGES:
        raise ValueError(f"target {target!r} is not one of {', '.join(_LANGUAGES)}")
    if not dt > 0:
        raise ValueError(f"dt: expected a positive time step in seconds, got {dt}")
    directory = Path(directory)
    check_replaceable(directory, _MANIFEST, overwrite)
    with atomic_folder(directory, "folder of the project") as generated:
        manifest = _generate(network, spikes, dt, target, generated)
        sources = write_makefile(generated, target)
        shutil.rmtree(generated / "results", ignore_errors=True)
        (generated / "README.md").write_text(_readme(network, dt, target, spikes_from))
        (generated / "read_results.py").write_text(_file("read_results.py"))
        (generated / _MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    return Project(directory, target, sources)


def write_makefile(directory: Path, target: ProjectTarget) -> int:
    """Put a makefile without absolute paths in the place of the one that Brian2 generated.

    Brian2's own names this machine's Python environment and asks for C++11, which CUDA 13 refuses.

    Parameters
    ----------
    directory : Path
        With the sources that a standalone device wrote.
    target : {"cpp", "cuda"}

    Returns
    -------
    int
        Number of sources.
    """
    sources = sorted(str(p.relative_to(directory)) for p in directory.rglob(f"*{_LANGUAGES[target].suffix}"))
    (directory / "makefile").unlink(missing_ok=True)
    listed = " \\\n".join(f"    {source}" for source in sources)
    (directory / "Makefile").write_text(_file(f"Makefile.{target}").replace("@sources@", listed))
    return len(sources)


def _generate(
    network: Network, spikes: Mapping[str, Array], dt: float, target: ProjectTarget, directory: Path
) -> dict[str, Any]:
    """Let Brian2 write its sources; return what project.json says about the results."""
    with preferences(cpp_preferences()) if target == "cpp" else generating_cuda(), quiet():
        brian2.set_device(_LANGUAGES[target].device, directory=None, build_on_run=False)
        device = brian2.get_device()
        try:
            brian2.defaultclock.dt = dt * brian2.second
            trial = one_trial(network, spikes, dt)
            brian2.Network(trial.objects).run(network.duration * brian2.second)
            device.build(directory=str(directory), compile=False, run=False)
            return _manifest(network, trial, dt, target)
        finally:
            device.reinit()
            brian2.devices.reset_device()


def _manifest(network: Network, trial: TrialObjects, dt: float, target: ProjectTarget) -> dict[str, Any]:
    """Which file of results/ holds which recording."""
    device = brian2.get_device()

    def entry(monitor: brian2.SpikeMonitor | brian2.StateMonitor, variable: str) -> dict[str, str]:
        array = monitor.variables[variable]
        return {"file": Path(device.get_array_filename(array)).name, "dtype": str(np.dtype(array.dtype))}

    return {
        "timing": "grid",
        "network": network.name,
        "target": target,
        "dt": dt,
        "duration": network.duration,
        "inputs": {source.name: source.n for source in network.inputs},
        "spikes": {
            name: {"n": len(monitor.source), "i": entry(monitor, "i"), "t": entry(monitor, "t")}
            for name, monitor in trial.spikes.items()
        },
        "states": {
            name: {
                "n": len(monitor.source),
                "t": entry(monitor, "t"),
                "variables": {variable: entry(monitor, variable) for variable in monitor.record_variables},
            }
            for name, monitor in trial.states.items()
        },
        "synapses": [
            {
                "name": p.name,
                "source": p.source,
                "target": p.target,
                "count": int(np.size(p.weights) if p.mask is None else np.count_nonzero(p.mask)),
                "weight_unit": network.population(p.target).model.receptors[p.receptor].weight_unit,
            }
            for p in network.projections
        ],
    }


def _readme(network: Network, dt: float, target: ProjectTarget, spikes_from: str) -> str:
    """The project's README."""
    lines = [f"* `{source.name}`: {source.n} sources of input spikes" for source in network.inputs]
    lines += [f"* `{q.name}`: {q.n} neurons, {q.model.title} (`{q.model.name}`)" for q in network.populations]
    lines += [f"* `{p.name}`: synapses from `{p.source}` to `{p.target}`" for p in network.projections]
    recorded = network.populations[0]
    example = recorded.name if recorded.model.spiking else f"{recorded.name} {recorded.model.state_names[0]}"
    text = _file("README.md")
    for key, value in {
        "title": network.name,
        "network": network.name,
        "duration": f"{network.duration * 1e3:g}",
        "dt": f"{dt * 1e3:g}",
        "language": _LANGUAGES[target].name,
        "build": _file(f"build.{target}.md").strip("\n"),  # not the indentation that makes commands of its first lines
        "populations": "\n".join(lines),
        "spikes": spikes_from,
        "example": example,
        "settable": network.projections[0].name if network.projections else "PROJECTION",
    }.items():
        text = text.replace(f"@{key}@", value)
    return text


def _file(name: str) -> str:
    """A file that goes into every project."""
    return (resources.files(__package__) / "files" / name).read_text()
