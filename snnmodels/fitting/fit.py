"""`fit`: a model's parameters from a recording, by a global search and a polish on exact gradients."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..files import check_writable
from ..parallel import run_all
from ..targets import Target
from ..templates import as_model
from ..templates.arguments import check_choice, check_kind, check_seed, check_whole, suggests_keywords
from ..templates.model import Model
from .checkpoint import FitInterrupted, kept
from .coincidence import WINDOW, coincidence_factor, intrinsic_reliability
from .free import free_parameters, unit_of
from .given import check_delay, input_of, near, recording_of, values_of, weights_of
from .likelihood import SOFTNESS
from .noise import Noise
from .polishing import Bends, polished
from .progress import FitProgress, progress_of
from .recording import Recording
from .result import FitResult, simulate_sweeps
from .search import Polished
from .searching import search, searches
from .space import DELAY, Space
from .task import Task
from .terms import LossSettings

__all__ = ["FitInterrupted", "fit"]

Array = np.ndarray


@suggests_keywords
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
    likelihood: bool = True,
    noise: bool | Noise = True,
    polish_steps: int = 60,
    seed: int = 0,
    executor: Executor | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = True,
    target: Target = "cpp_standalone",
    progress: bool | FitProgress = True,
) -> FitResult:
    """Fit a model to a recording.

    A fit goes from what is smooth to what is wanted. Where spikes count, the likelihood of the recorded ones, forced on
    the model, is climbed first; around what it finds, and anywhere else, candidates are searched by differential
    evolution, a whole population in each compiled pass, with a kernel three times as wide and then the final one. Where
    a current was repeated, the search goes on with noise of the size at which the model is nearest to the neuron;
    otherwise the best is polished by second-order steps on exact gradients. Everything that is drawn follows from
    `seed`.

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
        Size of the population, and for how long it evolves without noise; with noise, half as long, a third
        where `Noise.alone` is 0.
    starts : int
        Searches from different beginnings, of which the best is polished.
    start : mapping of str to float or Quantity, optional
        Values near which half of the first population is drawn, in the place of the likelihood's.
    likelihood : bool
        Whether the likelihood of forced spikes is climbed first where spikes count; on the numpy target that takes most
        of the time.
    noise : bool or Noise
        Of a search for spikes alone: False for none, True for `Noise()`, of the size that suits best, where a current
        was repeated, or the noise to be taken.
    polish_steps : int
        At most; 0 for none. What was searched with noise is not polished: its loss has steps everywhere.
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
    input = input_of(model, input)
    settings = settings or LossSettings()
    check_kind("settings", settings, LossSettings, "LossSettings()")
    recording = recording_of(model, recording, current, dt, spikes, voltage, input, settings)
    for name, number in (("candidates", candidates), ("starts", starts)):
        check_whole(name, number, 4 if name == "candidates" else 1)
    check_whole("generations", generations, 0)
    check_whole("polish_steps", polish_steps, 0)
    check_seed(seed)
    check_choice("target", target, ("numpy", "cpp_standalone", "cuda_standalone"))
    check_kind("likelihood", likelihood, bool, "True or False")
    if not isinstance(noise, bool):
        check_kind("noise", noise, Noise, "True, False or a Noise")
    if isinstance(noise, Noise) and noise.std is None and all(len(s.spikes) < 2 for s in recording.sweeps):
        raise ValueError("noise: no current was repeated, so that its size can't be found; give Noise(std=...)")
    noisy = (Noise() if noise else None) if isinstance(noise, bool) else noise
    bounds = free_parameters(model, free)
    given = values_of(model, fixed, "fixed")
    if both := bounds.keys() & given.keys():
        raise ValueError(f"{min(both)!r} is both free and fixed")
    check_delay(recording, bounds, given)
    weights = weights_of(model, recording, losses, bounds, given)
    space = Space(bounds)
    centre = None if start is None else near(space, values_of(model, start, "start"))
    task = Task(
        model, recording, space, given, weights, input, int(candidates), settings, int(generations), likelihood, noisy,
        int(seed), target, centre,
    )  # fmt: skip
    watch = progress_of(progress)
    watch.start(sum(s.generations for s in task.stages) * (1 if executor is not None else starts))
    found: list[dict[str, Any]] | None = None
    try:
        if executor is not None:
            found = _elsewhere(executor, task, starts, checkpoint, resume)
        else:
            found = searches(task, starts, checkpoint, resume, watch)
        best = min(found, key=lambda f: float(f["loss"]))
        place, simulations = np.array(best["place"]), sum(f["simulations"] for f in found)
        ended, bends, count, more = polished(task, place, best["loss"], 0 if best["noise"] else polish_steps)
        result = _result(task, ended, bends, count, best, simulations + more, time.perf_counter() - began)
    except FitInterrupted:
        raise
    except KeyboardInterrupt:
        where = "interrupted in the searches" if found is None else "interrupted after the searches"
        # with resume=False, a file that was there stays until the first generation is complete
        there = checkpoint is not None and Path(checkpoint).exists() and (found is not None or resume)
        raise FitInterrupted(kept(where, checkpoint, there=there)) from None
    finally:
        watch.stop()
    if result.at_bounds:
        warnings.warn(
            f"{', '.join(result.at_bounds)} ended at a bound: the data may want more than the bounds allow",
            stacklevel=2,
        )
    return result


def _elsewhere(
    executor: Executor, task: Task, starts: int, checkpoint: str | Path | None, resume: bool
) -> list[dict[str, Any]]:
    """All searches by an executor, which is left without those that did not begin if one fails or Ctrl-C comes."""
    files = None if checkpoint is None else [_file_of(checkpoint, k).absolute() for k in range(starts)]
    for file in files or ():
        check_writable(file, "checkpoint")
    try:
        return run_all(partial(search, task, files, resume), range(starts), executor)
    except KeyboardInterrupt:
        there = [file for file in files or () if file.exists()]
        what = f"{checkpoint} (a file for each search, {len(there)} of {starts} so far)" if there else checkpoint
        raise FitInterrupted(kept("interrupted in the searches", what, there=bool(there))) from None


def _file_of(checkpoint: str | Path, number: int) -> Path:
    """The checkpoint of one search, where each has its own."""
    path = Path(checkpoint)
    return path.with_name(f"{path.stem}_{number}{path.suffix}")


def _result(
    task: Task, polished: Polished, bends: Bends, count: int, best: Mapping[str, Any], simulations: int, seconds: float
) -> FitResult:
    values = task.space.named(polished.place)
    units = {name: unit_of(task.model, name) for name in task.space.names}
    trains = _simulated(task, values)
    factors = []
    for sweep, train in zip(task.recording.sweeps, trains, strict=True):
        if not sweep.spikes:
            factors.append((float("nan"), float("nan")))
            continue
        if any(2 * WINDOW * len(t) >= sweep.duration for t in (train, *sweep.spikes)):
            factors.append((float("nan"), float("nan")))  # every spike has a partner by chance
            continue
        factor = float(np.mean([coincidence_factor(train, t, sweep.duration, WINDOW) for t in sweep.spikes]))
        several = len(sweep.spikes) > 1
        factors.append((factor, intrinsic_reliability(sweep.spikes, sweep.duration, WINDOW) if several else 1.0))
    return FitResult(
        model=task.model, recording=task.recording, input=task.input, fixed=dict(task.fixed), values=values,
        units=units, weights=dict(task.weights), loss=polished.loss, bends=bends,
        space=task.space, place=polished.place, count=count, spikes=tuple(trains),
        coincidence=tuple(factors), simulations=simulations, seconds=seconds, noise=best["noise"],
        stages=tuple(best["stages"]), polish=f"{polished.steps} steps: {polished.why}",
    )  # fmt: skip


def _simulated(task: Task, values: Mapping[str, float]) -> list[Array]:
    """Spikes of the fitted model in each sweep, running freely, with the delay."""
    if not task.model.spiking:
        return [np.empty(0) for _ in task.recording.sweeps]
    every = {**task.fixed, **values}
    own = {name: value for name, value in every.items() if name not in (DELAY, SOFTNESS)}
    found = simulate_sweeps(task.model, task.recording, own, task.input, target=task.target)
    return [t + every.get(DELAY, 0.0) for t, _ in found]
