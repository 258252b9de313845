"""`fit`: a model's parameters from a recording, by a global search and a polish on exact gradients."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..files import atomic_file, check_writable, read_json
from ..parallel import run_all
from ..targets import Target
from ..templates import as_model
from ..templates.arguments import check_choice, check_kind, check_mapping, check_seed, check_whole
from ..templates.errors import brief, suggest
from ..templates.identity import description
from ..templates.model import Model
from ..templates.network import in_unit
from .coincidence import coincidence_factor, intrinsic_reliability
from .free import free_parameters, unit_of
from .likelihood import SOFTNESS
from .objective import LOSSES, LossSettings, Objective
from .progress import FitProgress, progress_of
from .recording import Recording, as_recording
from .result import FitResult
from .search import Evolution, Losses, Polished, curvature, polish, polish_spikes
from .space import DELAY, Space

__all__ = ["FitInterrupted", "fit"]

Array = np.ndarray


class FitInterrupted(KeyboardInterrupt):
    """Ctrl-C, with a message on what is kept."""


@dataclass(frozen=True)
class _Task:
    """All that a search needs, so that another process can run one."""

    model: Model
    recording: Recording
    space: Space
    fixed: Mapping[str, float]
    weights: Mapping[str, float]
    input: str
    candidates: int
    settings: LossSettings
    kernels: tuple[tuple[float, int], ...]
    target: Target
    start: Array | None = field(default=None)

    def objective(self, settings: LossSettings, n: int) -> Objective:
        return Objective(
            self.model, self.recording, self.space, self.fixed, self.weights, input=self.input, n=n, settings=settings,
            target=self.target,
        )  # fmt: skip


def fit(
    model: str | Path | Model,
    recording: Recording | None = None,
    *,
    free: Mapping[str, Any],
    current: Any = None,
    dt: Any = None,
    spikes: Any = None,
    voltage: Any = None,
    fixed: Mapping[str, Any] | None = None,
    input: str = "",
    losses: Mapping[str, float] | None = None,
    settings: LossSettings | None = None,
    candidates: int = 64,
    generations: int = 60,
    starts: int = 1,
    start: Mapping[str, Any] | None = None,
    polish_steps: int = 60,
    seed: int = 0,
    executor: Executor | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = True,
    target: Target = "cpp_standalone",
    progress: bool | FitProgress = True,
) -> FitResult:
    """Fit a model to a recording.

    Candidates are searched by differential evolution, a whole population in each compiled pass; where spikes count,
    first with a kernel three times as wide, whose landscape is smoother. The best is polished by trust-region steps on
    exact gradients and second derivatives from their differences. Everything that is drawn follows from `seed`.

    Parameters
    ----------
    model : str, Path or Model
        What `load_model` reads, or gives.
    recording : Recording, optional
        As `read_recording` gives it; or the arrays themselves.
    free : mapping of str to (low, high)
        Bounds of the parameters that are fitted, with units or in SI, and ``"log"`` or ``"linear"`` behind them if
        wanted; beside those of the model, ``"delay"``: how long after the model's spike the recording has its own.
    current, dt, spikes, voltage
        As `as_recording` takes them.
    fixed : mapping of str to float or Quantity, optional
        Values of other parameters than the model's own.
    input : str
        Of the model, that the current drives; may be left out if there is one.
    losses : mapping of str to float, optional
        Weights of what is minimised: ``"spikes"`` (`MeanTrainDistance` to the mean of the repetitions), ``"voltage"``
        (mean square of the deviation between spikes over the variance of the recorded voltage; with the recorded
        spikes forced on the model, where there are any), ``"intervals"`` (between spikes, in their order),
        ``"likelihood"`` (negative, of forced spikes; it needs ``"Delta_u"`` among `free` or `fixed`). What was
        recorded, by default.
    settings : LossSettings, optional
        Time constants, masks and the like.
    candidates, generations : int
        Size of the population, and for how long it evolves.
    starts : int
        Searches from different beginnings, of which the best is polished.
    start : mapping of str to float or Quantity, optional
        Values near which half of the first population is drawn.
    polish_steps : int
        At most; 0 for none.
    seed : int
    executor : concurrent.futures.Executor, optional
        Runs the starts, with the same results as without; it can be one of processes (`WorkerPool`) or of other
        machines.
    checkpoint : str or Path, optional
        File that is written after every generation, and gone on from. With an executor each start has its own beside
        it (``fit_0.json``, ``fit_1.json``), which its machines have to see under the same name.
    resume : bool
        Whether to go on from `checkpoint` if it exists; otherwise it is overwritten.
    target : str
        As for `Simulation`; ``"numpy"`` needs no compiler and is much slower.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    FitResult

    Raises
    ------
    TemplateError
        If there is no such model.
    ValueError
        Naming the argument: for a bad recording, unknown parameters, bounds that are none or within which no candidate
        spikes where the recording does.
    FitInterrupted
        On Ctrl-C, with a message on what is kept.
    OSError
        If the checkpoint can't be read or written.

    Examples
    --------
    >>> fit("lif_current", current=current, dt=0.1*ms, spikes=times, free={"tau_m": (5*ms, 50*ms)})  # doctest: +SKIP
    """
    began = time.perf_counter()
    model = as_model(model)
    input = _input_of(model, input)
    settings = settings or LossSettings()
    check_kind("settings", settings, LossSettings, "LossSettings()")
    recording = _recording_of(model, recording, current, dt, spikes, voltage, input, settings)
    for name, number in (("candidates", candidates), ("starts", starts)):
        check_whole(name, number, 4 if name == "candidates" else 1)
    check_whole("generations", generations, 0)
    check_whole("polish_steps", polish_steps, 0)
    check_seed(seed)
    check_choice("target", target, ("numpy", "cpp_standalone", "cuda_standalone"))
    bounds = free_parameters(model, free)
    given = _values(model, fixed, "fixed")
    if both := bounds.keys() & given.keys():
        raise ValueError(f"{min(both)!r} is both free and fixed")
    weights = _weights(model, recording, losses, bounds, given)
    space = Space(bounds)
    near = None if start is None else _near(space, _values(model, start, "start"))
    wide = ((3 * settings.tau, (generations + 1) // 2), (settings.tau, generations - (generations + 1) // 2))
    kernels = wide if "spikes" in weights else ((settings.tau, generations),)
    task = _Task(
        model, recording, space, given, weights, input, int(candidates), settings, kernels, target, near
    )  # fmt: skip
    watch = progress_of(progress)
    watch.start(generations * (1 if executor is not None else starts))
    found: list[tuple[Array, float, int]] | None = None
    try:
        if executor is not None:
            found = _elsewhere(executor, task, seed, starts, checkpoint, resume)
        else:
            found = _searched(task, seed, starts, checkpoint, resume, watch)
        place, loss, simulations = min(found, key=lambda f: f[1])[0], min(f[1] for f in found), sum(f[2] for f in found)
        polished, bends, count, more = _polished(task, place, loss, polish_steps)
        result = _result(task, polished, bends, count, simulations + more, time.perf_counter() - began)
    except FitInterrupted:
        raise
    except KeyboardInterrupt:
        where = "interrupted in the searches" if found is None else "interrupted after the searches"
        raise FitInterrupted(_kept(where, checkpoint)) from None
    finally:
        watch.stop()
    if result.at_bounds:
        warnings.warn(
            f"{', '.join(result.at_bounds)} ended at a bound: the data may want more than the bounds allow",
            stacklevel=2,
        )
    return result


def _elsewhere(
    executor: Executor, task: _Task, seed: int, starts: int, checkpoint: str | Path | None, resume: bool
) -> list[tuple[Array, float, int]]:
    """All searches by an executor, which is left without those that did not begin if one fails or Ctrl-C comes."""
    files = None if checkpoint is None else [_file_of(checkpoint, k).absolute() for k in range(starts)]
    for file in files or ():
        check_writable(file, "checkpoint")
    try:
        return run_all(partial(_search, task, seed, files, resume), range(starts), executor)
    except KeyboardInterrupt:
        there = [file for file in files or () if file.exists()]
        what = f"{checkpoint} (a file for each search, {len(there)} of {starts} so far)" if there else checkpoint
        raise FitInterrupted(_kept("interrupted in the searches", what, there=bool(there))) from None


def _file_of(checkpoint: str | Path, number: int) -> Path:
    """The checkpoint of one search, where each has its own."""
    path = Path(checkpoint)
    return path.with_name(f"{path.stem}_{number}{path.suffix}")


def _kept(where: str, path: str | Path | None, there: bool | None = None) -> str:
    """What an interruption leaves; `there` says whether anything is, where the path alone doesn't."""
    if path is None or not (Path(path).exists() if there is None else there):
        return f"{where}; nothing is kept{' without a checkpoint' if path is None else ' yet'}"
    return f"{where}; {path} holds it, and the same call goes on from there"


def _search(
    task: _Task, seed: int, files: Sequence[Path] | None, resume: bool, number: int
) -> tuple[Array, float, int]:
    """One search from one beginning, with a checkpoint of its own if there are files."""
    file = None if files is None else files[number]
    (found,) = _searched(task, seed, 1, file, resume, progress_of(False), only=number)
    return found


def _searched(
    task: _Task,
    seed: int,
    starts: int,
    checkpoint: str | Path | None,
    resume: bool,
    watch: FitProgress,
    only: int | None = None,
) -> list[tuple[Array, float, int]]:
    """All searches, one after the other, or a certain one: best place, its loss, and simulations of each."""
    saved = _Saved(task, seed, starts, checkpoint, resume, only)
    while len(saved.done) < starts:
        number = len(saved.done) if only is None else only
        evolution, stage = saved.evolution, saved.stage
        simulations = saved.simulations
        for k in range(stage, len(task.kernels)):
            with task.objective(replace(task.settings, tau=task.kernels[k][0]), task.candidates) as objective:
                if evolution is None:
                    evolution = Evolution(_losses_of(objective), _population(task, seed, number), [seed, number, 1])
                    evolution.begin()
                    _check_spiking(task, objective)
                else:
                    evolution.objective = _losses_of(objective)
                    if k != stage or not evolution.generation:
                        evolution.begin()
                evolution.greed = 0.5 if k + 1 < len(task.kernels) else 0.8
                goal = sum(g for _, g in task.kernels[: k + 1])
                try:
                    while evolution.generation < goal:
                        evolution.step()
                        saved.write(evolution, k, simulations + objective.simulations)
                        watch.generation(number, evolution.generation, evolution.best[1])
                except KeyboardInterrupt:
                    raise FitInterrupted(saved.kept(number, evolution.generation)) from None
                simulations += objective.simulations
        assert evolution is not None
        place, loss = evolution.best
        saved.finish((place.copy(), loss, simulations))
    return saved.done


def _losses_of(objective: Objective) -> Losses:
    """Losses as an evolution asks for them; none is cheaper for being above its limit."""
    return lambda places, limits: objective(places)[0]


def _population(task: _Task, seed: int, number: int) -> Array:
    """The first candidates: half of them near where the user says, if he does."""
    rng = np.random.default_rng([seed, number])
    places = rng.random((task.candidates, len(task.space)))
    if task.start is not None:
        half = task.candidates // 2
        places[:half] = np.clip(task.start + 0.1 * rng.normal(size=(half, len(task.space))), 0, 1)
        places[0] = task.start
    return places


def _check_spiking(task: _Task, objective: Objective) -> None:
    """Refuse bounds within which nothing spikes where the recording does."""
    recorded = sum(len(t) for s in task.recording.sweeps for t in s.spikes)
    if recorded and not objective.spikes and {"spikes", "intervals"} & task.weights.keys():
        raise ValueError(
            f"no spike of {task.candidates} candidates, where {recorded} were recorded: the bounds of "
            f"{', '.join(task.space.names)} seem to exclude spiking, or the current is of another size "
            f"({np.abs(task.recording.sweeps[0].current).max():.3g} at most) than {task.model.name} needs"
        )


def _polished(task: _Task, place: Array, loss: float, steps: int) -> tuple[Polished, _Curvature, int, int]:
    """The polished place, how the loss bends there, the size of the data, and simulations."""
    simulations, others = 0, {name: weight for name, weight in task.weights.items() if name != "spikes"}
    found = Polished(place, loss, 0, "not polished")
    with task.objective(task.settings, max(2 * len(task.space), 16)) as objective:

        def sloped(places: Array) -> tuple[Array, Array]:
            losses, slopes = objective(places, gradient=True)
            assert slopes is not None
            return losses, slopes

        if steps and not others and _all_found(task, objective, place):
            new = polish_spikes(objective.spike_residuals, objective.spike_counts, place, steps)
            new = new._replace(loss=float(objective(new.place[None])[0][0]))
            # a kernel has a kink where spikes meet: the mean square tells better which is nearer
            off, before = (objective.spike_residuals(x)[0] for x in (new.place, place))
            found = new if np.mean(off**2) < np.mean(before**2) and np.isfinite(new.loss) else found
        elif steps:
            new = polish(sloped, place, steps)
            found = new if new.loss < loss else found
        bends = _Curvature(0.0, np.zeros((len(place), len(place))), 0)
        if "spikes" in task.weights:
            off, slopes = objective.spike_residuals(found.place)
            if len(off):
                bends = _Curvature(float(np.mean(off**2)), 2 * slopes.T @ slopes / len(off), len(off))
        elif others:
            bends = _Curvature(found.loss, curvature(sloped, found.place), objective.count)
        simulations += objective.simulations
        return found, bends, objective.count, simulations


@dataclass(frozen=True)
class _Curvature:
    """A loss, its second derivatives by the place, and of how many data it is a mean."""

    loss: float
    hessian: Array
    count: int


def _all_found(task: _Task, objective: Objective, place: Array) -> bool:
    """Whether a candidate has every recorded spike, of one repetition, and no other."""
    sweeps = task.recording.sweeps
    if any(len(s.spikes) != 1 for s in sweeps):
        return False
    off, _ = objective.spike_residuals(place)
    recorded = sum(len(s.spikes[0]) for s in sweeps)
    return len(off) == recorded == int(objective.spike_counts(place).sum())


def _result(
    task: _Task, polished: Polished, bends: _Curvature, count: int, simulations: int, seconds: float
) -> FitResult:
    values = task.space.named(polished.place)
    units = {name: unit_of(task.model, name) for name in task.space.names}
    trains = _simulated(task, values)
    factors = []
    for sweep, train in zip(task.recording.sweeps, trains, strict=True):
        if not sweep.spikes:
            factors.append((float("nan"), float("nan")))
            continue
        factor = float(np.mean([coincidence_factor(train, t, sweep.duration) for t in sweep.spikes]))
        several = len(sweep.spikes) > 1
        factors.append((factor, intrinsic_reliability(sweep.spikes, sweep.duration) if several else 1.0))
    return FitResult(
        model=task.model, recording=task.recording, input=task.input, fixed=dict(task.fixed), values=values,
        units=units, weights=dict(task.weights), loss=polished.loss, bends=bends.loss, hessian=bends.hessian,
        compared=bends.count, space=task.space, place=polished.place, count=count, spikes=tuple(trains),
        coincidence=tuple(factors), simulations=simulations, seconds=seconds,
        polish=f"{polished.steps} steps: {polished.why}",
    )  # fmt: skip


def _simulated(task: _Task, values: Mapping[str, float]) -> list[Array]:
    """Spikes of the fitted model in each sweep, running freely, with the delay."""
    from .result import simulate_sweeps

    if not task.model.spiking:
        return [np.empty(0) for _ in task.recording.sweeps]
    every = {**task.fixed, **values}
    own = {name: value for name, value in every.items() if name not in (DELAY, SOFTNESS)}
    found = simulate_sweeps(task.model, task.recording, own, task.input, target=task.target)
    return [t + every.get(DELAY, 0.0) for t, _ in found]


class _Saved:
    """A checkpoint, or none: searches that are done, and where the present one is."""

    def __init__(
        self, task: _Task, seed: int, starts: int, path: str | Path | None, resume: bool, only: int | None = None
    ) -> None:
        self.path = None if path is None else Path(path)
        self.done: list[tuple[Array, float, int]] = []
        self.evolution: Evolution | None = None
        self.stage, self.simulations = 0, 0
        self.settings = json.loads(json.dumps({
            # whole: its own values and its reset decide the losses as well as its equations
            "model": description(task.model), "input": task.input, "fixed": dict(task.fixed),
            "free": {name: [b.low, b.high, b.log] for name, b in task.space.bounds.items()},
            "losses": dict(task.weights), "settings": description(task.settings), "candidates": task.candidates,
            "kernels": [list(k) for k in task.kernels], "seed": int(seed),
            "starts": int(starts) if only is None else f"search {only} alone",
            "recording": description([(s.current, s.dt, list(s.spikes), s.voltage) for s in task.recording.sweeps]),
            "start": None if task.start is None else task.start.tolist(), "target": task.target,
        }))  # fmt: skip
        if self.path is None:
            return
        if resume and self.path.exists():
            self._read()
        else:
            check_writable(self.path, "checkpoint")

    def _read(self) -> None:
        assert self.path is not None
        state = read_json(self.path, "checkpoint of a fit", "settings", "done", "stage", "simulations")
        for name in {**state["settings"], **self.settings}:
            if state["settings"].get(name) != self.settings.get(name):
                raise ValueError(
                    f"{self.path}: is of a fit with another {name}; remove it, name another file, or pass resume=False "
                    "to overwrite it"
                )
        self.done = [(np.array(place), loss, simulations) for place, loss, simulations in state["done"]]
        self.stage, self.simulations = state["stage"], state["simulations"]
        if state.get("evolution") is not None:
            self.evolution = Evolution(lambda x, limits: np.empty(0), np.array(state["evolution"]["places"]), 0)
            self.evolution.restore(state["evolution"])

    def write(self, evolution: Evolution, stage: int, simulations: int) -> None:
        """Keep a complete generation."""
        self.evolution, self.stage = evolution, stage
        self._write(simulations)

    def finish(self, found: tuple[Array, float, int]) -> None:
        """Keep what a search has found, and forget the search."""
        self.done.append(found)
        self.evolution, self.stage, self.simulations = None, 0, 0
        self._write(0)

    def _write(self, simulations: int) -> None:
        if self.path is None:
            return
        evolution = None
        if self.evolution is not None:
            state = self.evolution.state()
            losses = [loss if np.isfinite(loss) else 1e300 for loss in state["losses"].tolist()]
            evolution = {**state, "places": state["places"].tolist(), "losses": losses}
        content = {
            "settings": self.settings, "stage": self.stage, "simulations": simulations, "evolution": evolution,
            "done": [[place.tolist(), loss, n] for place, loss, n in self.done],
        }  # fmt: skip
        with atomic_file(self.path, "checkpoint") as file:
            file.write(json.dumps(content).encode())

    def kept(self, number: int, generation: int) -> str:
        """What an interruption leaves."""
        return _kept(f"interrupted in search {number + 1}, after generation {generation}", self.path)


def _input_of(model: Model, input: str) -> str:
    if not input and len(model.inputs) == 1:
        return next(iter(model.inputs))
    if input not in model.inputs:
        problem = f"{model.name} has no input {brief(input)}" if input else f"name an input of {model.name}"
        raise ValueError(f"input: {problem}; {suggest(input, model.inputs)}")
    return input


def _recording_of(
    model: Model, recording: Any, current: Any, dt: Any, spikes: Any, voltage: Any, input: str, settings: LossSettings
) -> Recording:
    if recording is not None:
        check_kind("recording", recording, Recording, "a Recording, as read_recording gives")
        if any(x is not None for x in (current, dt, spikes, voltage)):
            raise ValueError("give either a recording or current, dt, spikes and voltage")
    elif current is None or dt is None:
        raise ValueError("current and dt are needed: the current that was injected, and the time between its samples")
    else:
        state = next((s for s in model.states if s.name == settings.variable), None)
        unit = model.inputs[input].unit
        voltage_unit = "volt" if state is None else state.unit
        recording = as_recording(current, dt, spikes, voltage, unit=unit, voltage_unit=voltage_unit)
    if not (recording.has_spikes or recording.has_voltage):
        raise ValueError("nothing was recorded: give spikes or voltage")
    if recording.has_voltage and settings.variable not in model.state_names:
        hint = suggest(settings.variable, model.state_names)
        raise ValueError(f"settings.variable: {model.name} has no state {settings.variable!r}; {hint}")
    return recording


def _near(space: Space, start: Mapping[str, float]) -> Array:
    """The place of the values near which to begin, which must be within the bounds of free parameters."""
    for name, value in start.items():
        if name not in space.names:
            raise ValueError(f"start[{name!r}]: it is not free; {suggest(name, space.names)}")
        bounds = space.bounds[name]
        if not bounds.low <= value <= bounds.high:
            raise ValueError(f"start[{name!r}] is {value:g}, outside of its bounds {bounds.low:g} and {bounds.high:g}")
    return space.placed(start)


def _values(model: Model, given: Mapping[str, Any] | None, what: str) -> dict[str, float]:
    if given is None:
        return {}
    check_mapping(what, given, "values by name of the parameter")
    found = {}
    for name, value in given.items():
        number = in_unit(value, unit_of(model, name), f"{what}[{name!r}]")
        if number.ndim:
            raise ValueError(f"{what}[{name!r}] has shape {number.shape}; expected one number")
        parameter = model.parameters.get(name)
        if parameter is not None and (problem := parameter.problem(number)):
            raise ValueError(f"{what}[{name!r}] {problem}")
        found[name] = float(number)
    return found


def _weights(
    model: Model, recording: Recording, losses: Any, bounds: Mapping[str, Any], fixed: Mapping[str, float]
) -> dict[str, float]:
    """Weights of the terms, checked against what was recorded."""
    if losses is None:
        losses = {"spikes": 1.0} if recording.has_spikes and model.spiking else {}
        losses |= {"voltage": 1.0} if recording.has_voltage else {}
    check_mapping("losses", losses, "weights by name, as in {'spikes': 1, 'voltage': 0.5}")
    weights: dict[str, float] = {}
    for name, weight in losses.items():
        if name not in LOSSES:
            raise ValueError(f"losses: there is no {brief(name)}; {suggest(str(name), LOSSES)}")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
            raise ValueError(f"losses[{name!r}] is {brief(weight)}; expected a weight of at least 0")
        if weight:
            weights[name] = float(weight)
    if not weights:
        raise ValueError(f"losses: nothing is left to minimise; expected weights of some of {', '.join(LOSSES)}")
    on_spikes = [name for name in weights if name != "voltage"]
    if on_spikes and not model.spiking:
        raise ValueError(f"losses: {on_spikes[0]!r} needs spikes, and {model.name} has no threshold")
    if on_spikes and not recording.has_spikes:
        hint = "give spikes; `crossings` and read_recording(..., detect=True) find them in a voltage"
        raise ValueError(f"losses: {on_spikes[0]!r} needs recorded spikes; {hint}")
    if on_spikes and not any(len(t) for s in recording.sweeps for t in s.spikes):
        raise ValueError(f"losses: {on_spikes[0]!r} needs recorded spikes, and there is no spike in any sweep")
    if "voltage" in weights and not recording.has_voltage:
        raise ValueError("losses: 'voltage' needs a recorded voltage")
    forced = "likelihood" in weights or ("voltage" in weights and recording.has_spikes and model.spiking)
    if "likelihood" in weights and SOFTNESS not in {**bounds, **fixed}:
        unit = unit_of(model, SOFTNESS)
        raise ValueError(
            f"losses: 'likelihood' needs {SOFTNESS!r}, over which the hazard of a spike grows e-fold, in {unit}; give "
            "its bounds in free, or its value in fixed"
        )
    if forced and DELAY in bounds:
        raise ValueError(
            f"free[{DELAY!r}]: recorded spikes are forced on the model for 'likelihood' and 'voltage', and can't be "
            f"moved; give {DELAY!r} in fixed"
        )
    return weights
