"""Writes a network, a batch and a loss as a project of the event engine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..events.plan import EnginePlan
from ..events.schema import Entries, entries_of
from ..files import atomic_folder, check_replaceable
from ..losses import loss_of
from ..losses.base import Loss, observables_of
from ..losses.observables import Observable, Samples, SpikeTimes
from ..losses.observed import labels_of
from ..targets.cpp import program as cpp
from ..targets.cpp.engine import bounds_of, compiled, write_parameters, write_times
from ..targets.cpp.layout import Layout, Ways
from ..targets.cuda import program as cuda
from ..templates.arguments import check_kind, check_mapping
from ..templates.errors import brief
from ..templates.network import Network, check_inputs, check_network
from ..templates.samples import checked_samples
from ..templates.spike_times import checked_times
from .contents import Contents, File
from .source import constants, knots, plan_source

__all__ = ["MANIFEST", "ProjectTarget", "SimulationProject", "What", "export_simulation"]

ProjectTarget = Literal["cpp", "cuda"]
What = Literal["forward", "gradient"]

MANIFEST = "project.json"
_LANGUAGES = {"cpp": "C++", "cuda": "CUDA C++"}


@dataclass(frozen=True)
class SimulationProject:
    """A folder that `export_simulation` wrote.

    Attributes
    ----------
    directory : Path
    target : str
    sources : int
        Number of files of C++ or CUDA C++.
    files : tuple of File
        Arrays that its program reads and writes, but for constants.
    """

    directory: Path
    target: ProjectTarget
    sources: int
    files: tuple[File, ...]


def export_simulation(
    network: Network,
    directory: str | Path,
    target: ProjectTarget = "cpp",
    *,
    inputs: Mapping[str, np.ndarray],
    what: What = "forward",
    loss: Loss | Observable | Sequence[Observable] | None = None,
    targets: np.ndarray | None = None,
    inputs_from: str = "given by the caller",
    interval: float = 1e-3,
    tolerance: float = 1e-10,
    window: float | None = None,
    input_gradients: bool = True,
    max_spikes: int = 1_000_000,
    overwrite: bool = False,
) -> SimulationProject:
    """Write the simulation of a batch, or its gradients too, as a project that builds with make on another machine.

    It runs what `Simulation` runs: exact events in continuous time, and the adjoint of the same system. Inputs, weights
    and delays are files that may be replaced, by batches of another size too; the project's README says how. Parameters
    of neurons are built in.

    Parameters
    ----------
    network : Network
    directory : path
        Is made; must be absent, empty or an earlier project (with `overwrite`).
    target : {"cpp", "cuda"}
        Neither a compiler nor a GPU is needed to write the project.
    inputs : mapping of str to array
        A batch, as `Simulation.run` takes it.
    what : {"forward", "gradient"}
        Spike times, and samples of the populations that don't spike; or what a loss reads, and its gradients too.
    loss : Loss, Observable or sequence of Observable, optional
        With ``what="gradient"``: the network's own unless given, else the spike times of its output, or samples of a
        state of that. The program has `TTFSCrossEntropy` and `MaxVoltageCrossEntropy` itself; the derivatives of any
        other loss by what it reads come from files, between a forward run and one with gradients.
    targets : int array, shape (trials,), optional
        Labels, for a loss that the program has; 0 unless given.
    inputs_from : str
        Where they come from, for the project's README.
    interval : float
        Seconds between samples, with ``what="forward"``.
    tolerance, window, input_gradients, max_spikes
        As for `Simulation`.
    overwrite : bool
        Whether to replace an earlier project in `directory`.

    Returns
    -------
    SimulationProject

    Raises
    ------
    FileExistsError
        If the folder holds something else, or an earlier project and `overwrite` is false.
    OSError
        If it can't be written; what was there is then as it was.
    ValueError
        For an unknown target, wrong inputs or targets, or a loss that doesn't fit the network.
    """
    check_network(network)
    check_kind("directory", directory, (str, Path), "the folder of the project")
    check_mapping("inputs", inputs, "spike times and samples by input")
    for name, given, known in (("target", target, tuple(_LANGUAGES)), ("what", what, ("forward", "gradient"))):
        if given not in known:
            raise ValueError(f"{name} = {brief(given)}; expected {' or '.join(map(repr, known))}")
    if what == "forward" and (loss is not None or targets is not None):
        raise ValueError('a loss and targets are for what = "gradient"; leave them out')
    directory = Path(directory)
    check_replaceable(directory, MANIFEST, overwrite)
    read = _everything(network, interval) if what == "forward" else _loss(network, loss)
    if isinstance(read, Loss):
        read = read.for_network(network)
        read.check(network)
        if read.no_gradient:
            raise ValueError(read.no_gradient)
    plan = EnginePlan.of(
        network,
        read.observables if isinstance(read, Loss) else read,
        window=window,
        tolerance=tolerance,
        input_gradients=what == "gradient" and input_gradients,
        max_spikes=max_spikes,
    )
    contents = Contents.of(plan, what == "gradient", read if isinstance(read, Loss) else None)
    values = _values(contents) | _batch(contents, inputs, targets)
    entries = entries_of(plan)
    fixed = constants(contents, _filled(contents, entries))
    sources = _sources(contents, target, entries, fixed)
    with atomic_folder(directory, "folder of the project") as folder:
        for name, text in sources.items():
            _put(folder / "src" / name, text)
        arrays = [*values.values(), *fixed.values(), *knots(contents)]
        arrays += [(f, np.asarray(q.mask, dtype=bool)) for q in network.projections if (f := contents.mask(q))]
        for file, array in arrays:
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as opened:
                np.lib.format.write_array(opened, np.array(array, dtype=file.dtype, order="C"), allow_pickle=False)
        _put(folder / "Makefile", _makefile(sources, target))
        of = read if isinstance(read, Loss) else None
        _put(folder / "README.md", _readme(contents, target, of, inputs_from))
        _put(folder / MANIFEST, json.dumps(_manifest(contents, target, what), indent=1) + "\n")
    return SimulationProject(directory, target, len(sources), tuple(contents.all()))


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _everything(network: Network, interval: float) -> list[Observable]:
    """What a forward run reads: all spikes, and samples of all states of the populations that don't spike."""
    found: list[Observable] = []
    for p in network.populations:
        if p.model.spiking:
            found.append(SpikeTimes(p.name))
        else:
            found += [Samples(p.name, state, interval) for state in p.model.state_names]
    return found


def _loss(network: Network, loss: Any) -> Loss | Sequence[Observable]:
    """What a gradient is of: a loss, or derivatives by observables that somebody else provides."""
    if loss is None and network.loss:
        return loss_of(network)
    if loss is None:
        output = network.population(network.output)
        loss = SpikeTimes(output.name) if output.model.spiking else Samples(output.name, output.model.state_names[0])
    return loss if isinstance(loss, Loss) else observables_of(loss)


def _filled(contents: Contents, entries: Mapping[int, Entries]) -> dict[str, np.ndarray]:
    """The engine's arrays with all that does not come from files that may be replaced."""
    plan = contents.plan
    layout = Layout.of(plan, contents.rooms.capacity, entries, [0] * len(plan.groups), Ways())
    views = layout.views(np.zeros(layout.size, np.uint8))
    write_times(views, plan)
    bounds = bounds_of(plan)
    for p in plan.populations:
        values = {n: np.asarray(p.value(n)) for n in p.population.model.parameters}
        write_parameters(views, plan, p.index, values, bounds)
    return views


def _values(contents: Contents) -> dict[str, tuple[File, np.ndarray]]:
    """Weights and delays as they are now."""
    found = {}
    for q in contents.network.projections:
        for file, value in ((contents.weights(q), q.weights), (contents.delay(q), q.delay)):
            found[file.path] = (file, np.asarray(value))
    for d in contents.network.drives:
        file = contents.gain(d)
        found[file.path] = (file, np.asarray(d.weights))
    return found


def _batch(
    contents: Contents, inputs: Mapping[str, np.ndarray], targets: np.ndarray | None
) -> dict[str, tuple[File, np.ndarray]]:
    """The batch that a project comes with."""
    network = contents.network
    check_inputs(inputs, network)
    found, trials = {}, None if targets is None else len(targets)
    for k, s in enumerate(network.inputs):
        times = checked_times(inputs[s.name], f"input {s.name!r}", s.n, trials, network.duration)
        trials, file = len(times), contents.times(k, s)
        found[file.path] = (file, times)
    for k, c in enumerate(network.currents):
        samples = checked_samples(inputs[c.name], c, trials, network.duration)
        if len(samples) > 1:
            trials = len(samples)
        each = np.broadcast_to(samples, (len(samples), c.n, samples.shape[2]))
        file = contents.samples(k, c)
        found[file.path] = (file, each[0] if len(each) == 1 else each)
    if contents.targets is None:
        if targets is not None:
            raise ValueError("targets are for TTFSCrossEntropy and MaxVoltageCrossEntropy; other losses take none here")
        return found
    n = contents.plan.populations[contents.plan.place(contents.plan.observed[0])].population.n
    labels = np.zeros(trials or 1, dtype=np.int64) if targets is None else labels_of(targets, len(targets), n)
    return found | {contents.targets.path: (contents.targets, labels)}


def _sources(
    contents: Contents,
    target: ProjectTarget,
    entries: Mapping[int, Entries],
    fixed: Mapping[str, tuple[File, np.ndarray]],
) -> dict[str, str]:
    """All files of C++, by name."""
    plan, own = contents.plan, ["npy.h", "project.h"]
    rules = [p.rules for p in plan.groups]
    if target == "cuda":
        files, models = cuda.sources(rules, plan.tolerance)
        ways = Ways()
        own.append("project.cu")
    else:
        has = compiled(plan)
        made, models = cpp.models(rules, plan.tolerance, has)
        files = {p.name: p.read_text() for p in sorted(cpp.RUNTIME.iterdir()) if p.suffix == ".h"}
        units = [f"{name}.cpp" for name in cpp.units(has) if name != "program"]
        files |= {name: (cpp.RUNTIME / name).read_text() for name in units}
        makers = [f"make_model{k}" for k in range(len(made))]
        for k, (text, options) in enumerate(made):
            defined = [_define(option) for option in (f"-DMAKER={makers[k]}", *options)]
            files[f"model{k}.cpp"] = "\n".join([*defined, text])
        files["models.cpp"] = cpp.table(makers)
        ways = Ways(contents.rooms.threads)
        own.append("project.cpp")
    files["plan.h"] = plan_source(contents, entries, models, ways, fixed)
    return files | {name: _file(name) for name in own}


def _define(option: str) -> str:
    """A line of C++ for an option of the compiler that defines something."""
    name, _, value = option.removeprefix("-D").partition("=")
    return f"#define {name} {value}"


def _makefile(sources: Mapping[str, str], target: ProjectTarget) -> str:
    units = [Path(name).stem for name in sources if name.endswith(".cpp")]
    how = cpp.UNITS | {"project": cpp.UNITS["program"]}
    options = [f"{name}.o: HOW = {' '.join(how.get(name, (cpp.FAST,)))}" for name in units]
    replaced = {
        "objects": " ".join(f"{name}.o" for name in units),
        "options": "\n".join(options),
        "flags": " ".join(cuda.FLAGS if target == "cuda" else cpp.OPTIONS),
    }
    return _replaced(_file(f"Makefile.{target}"), replaced)


def _manifest(contents: Contents, target: ProjectTarget, what: What) -> dict[str, Any]:
    network = contents.network
    return {
        "timing": "precise",
        "network": network.name,
        "target": target,
        "what": what,
        "duration": network.duration,
        "files": [file.as_json() for file in contents.all()],
    }


def _readme(contents: Contents, target: ProjectTarget, loss: Loss | None, inputs_from: str) -> str:
    """The project's README."""
    network, files = contents.network, list(contents.all())

    def table(*roles: str) -> str:
        rows = [f"| `{f.path}` | {_types(f)} | {f.shown} | {f.unit} | {f.meaning} |" for f in files if f.role in roles]
        return "\n".join(["| file | numbers | shape | unit | |", "|---|---|---|---|---|", *rows])

    described = [f"* `{s.name}`: {s.n} sources of input spikes" for s in network.inputs]
    described += [f"* `{c.name}`: {c.n} channels of sampled currents" for c in network.currents]
    described += [f"* `{p.name}`: {p.n} neurons, {p.model.title} (`{p.model.name}`)" for p in network.populations]
    described += [f"* `{q.name}`: synapses from `{q.source}` to `{q.target}`" for q in network.projections]
    given = next((f for f in files if f.role == "input"), None)
    derived = contents.gradient and contents.loss is None
    parts = {
        "title": network.name,
        "duration": f"{network.duration * 1e3:g}",
        "language": _LANGUAGES[target],
        "what": "The simulation of trials" + " and the gradients of a loss" * contents.gradient,
        "build": _file(f"build.{target}.md").strip("\n"),
        "network": "\n".join(described),
        "from": inputs_from,
        "read": table("input", "value", "target", "derivative"),
        "written": table("spikes", "state", "loss", "predictions", "gradient"),
        "loss": _file("derivatives.md").strip("\n") if derived else f"The loss is `{loss!r}`." if loss else "",
        "given": given.path if given else "inputs",
    }
    return _replaced(_file("README.md"), parts)


def _types(file: File) -> str:
    return str(np.dtype(file.dtype))


def _replaced(text: str, parts: Mapping[str, str]) -> str:
    """A text with its places filled in; a paragraph of nothing leaves no gap."""
    for key, value in parts.items():
        text = text.replace(f"@{key}@\n\n" if not value else f"@{key}@", value)
    return text


def _file(name: str) -> str:
    """A file that goes into every project."""
    return (resources.files(__package__) / "files" / name).read_text()
