"""The engine as a compiled program that stays alive between batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...events.bounds import Bounds
from ...events.drives import Knots
from ...events.engine import (
    SimulationError,
    TrainingEngine,
    failure,
    initial_states,
    refractory_periods,
    trials_of,
)
from ...events.plan import Component, EnginePlan, GroupPlan
from ...events.schema import Capacity, Entries, entries_of, is_sparse, reals
from ..process import Process, ProgramError
from .layout import Layout, Ways
from .program import Compiled, program

__all__ = ["CompiledEngine", "CppEngine", "bounds_of", "compiled", "open_engine", "write_parameters", "write_times"]


def open_engine(plan: EnginePlan, *, trials: int, threads: int, timeout: float | None) -> CppEngine:
    """An engine in a program of its own.

    Parameters
    ----------
    plan : EnginePlan
    trials, threads : int
    timeout : float or None
        See `CppEngine`.

    Raises
    ------
    BuildFailed, ProgramError
        See `CppEngine`.
    """
    return CppEngine(plan, trials=trials, threads=threads, timeout=timeout)


class CompiledEngine(TrainingEngine):
    """Runs a plan, and trains, in a compiled program of its own, with which it shares arrays by mapped memory.

    Parameters
    ----------
    plan : EnginePlan
    path : Path
        The program.
    models : sequence of int
        Which of its models each group of the plan has.
    ways : Ways
    trials : int
        Trials of a batch to make room for; a larger batch makes more.
    timeout : float, optional
        Seconds that the program may take for one answer.

    Raises
    ------
    ProgramError
        If the program dies or stops answering.
    """

    def __init__(
        self, plan: EnginePlan, path: Path, models: Sequence[int], ways: Ways, *, trials: int, timeout: float | None
    ) -> None:
        self.plan, self._models, self._ways = plan, models, ways
        inputs = len(plan.network.inputs)
        self._capacity = Capacity(trials, (1,) * inputs, (8,) * len(plan.populations), (1,) * len(plan.drives))
        self._entries = entries_of(plan)
        self._bounds = bounds_of(plan)
        self._trials = 0
        self._fetched = False  # whether the program has written the spikes of the last batch that are read
        self._shapes: list[tuple[int, ...]] = []
        self._arrays: dict[str, np.ndarray] | None = {}
        self._process = Process(path, timeout=timeout)
        self._laid_out = False
        self._stale = False
        self._lay_out()
        for q in plan.projections:
            self.set_weights(q.index, np.asarray(q.projection.weights))
            self.set_delay(q.index, np.asarray(q.projection.delay, dtype=float))
        for p in plan.populations:
            self.set_parameters(p.index, {n: np.asarray(p.value(n)) for n in p.population.model.parameters})

    # --- arrays -----------------------------------------------------------------------------------------------------

    @property
    def _views(self) -> dict[str, np.ndarray]:
        """The shared arrays by name, as long as there are any."""
        if self._arrays is None:
            raise SimulationError("This simulation was closed, and its program has ended: make a new one to go on.")
        return self._arrays

    def _lay_out(self) -> None:
        """Make the arrays as large as the capacity asks, keeping what they hold of the same shape."""
        self._laid_out = False  # until all is where the program looks for it
        layout = Layout.of(self.plan, self._capacity, self._entries, self._models, self._ways)
        kept = {k: v.copy() for k, v in self._views.items()}
        self._arrays = {}
        try:
            self._process.resize(layout.size)
        except ProgramError:
            self.close()  # the arrays are gone: better no engine than one without values
            raise
        self._arrays = layout.views(self._process.memory)
        for key, old in kept.items():
            if old.shape == self._views[key].shape:
                self._views[key][...] = old
        write_times(self._views, self.plan)
        for k, e in self._entries.items():
            self._views[f"projection{k}.first"][:] = e.first
            self._views[f"projection{k}.neuron"][:] = e.neuron
        self._ask("layout")
        self._laid_out = True

    def set_weights(self, projection: int, weights: np.ndarray) -> None:
        """Set weights; see `Engine.set_weights`."""
        self._write_whole(projection, weights, self._views[f"projection{projection}.w"])

    def _write_whole(self, projection: int, values: np.ndarray, to: np.ndarray) -> None:
        """Write a value of every connection, given as a matrix."""
        if projection in self._entries:
            place = self._entries[projection].place
            # what is one number everywhere need not be made a matrix
            whole = values.flags.c_contiguous
            to[:] = values.reshape(-1)[place] if whole else values[np.divmod(place, values.shape[1])]
        else:
            to[:, : values.shape[1]] = values

    def set_delay(self, projection: int, delay: np.ndarray) -> None:
        """Set delays; see `Engine.set_delay`."""
        to = self._views[f"projection{projection}.delay"]
        delay = np.asarray(delay, dtype=float)
        if delay.ndim == 0:
            to[0] = delay
        else:
            q = self.plan.projections[projection].projection
            w = np.zeros(delay.shape)
            old = self._entries[projection]
            w.reshape(-1)[old.place] = self._views[f"projection{projection}.w"]
            new = self._entries[projection] = Entries.of(q.mask, delay, delay.shape)
            self._views[f"projection{projection}.neuron"][:] = new.neuron
            self._views[f"projection{projection}.first"][:] = new.first
            to[:] = delay.reshape(-1)[new.place]
            self.set_weights(projection, w)
        self._stale = True

    def set_parameters(self, population: int, values: Mapping[str, np.ndarray]) -> None:
        """Set parameters; see `Engine.set_parameters`."""
        write_parameters(self._views, self.plan, population, values, self._bounds)
        self._stale = True

    # --- simulation -------------------------------------------------------------------------------------------------

    def forward(
        self,
        inputs: Sequence[np.ndarray],
        gradient: bool = True,
        drives: Sequence[Knots] = (),
        trials: int | None = None,
    ) -> None:
        """Simulate a batch; see `Engine.forward`."""
        trials = trials_of(inputs, drives) if trials is None else trials
        self._shapes = [x.shape for x in inputs]
        wanted = Capacity(
            max(trials, self._capacity.trials),
            tuple(max(x.shape[2], have) for x, have in zip(inputs, self._capacity.inputs, strict=True)),
            self._capacity.spikes,
            tuple(max(len(x.values), have) for x, have in zip(drives, self._capacity.drives, strict=True)),
        )
        if wanted != self._capacity:
            self._capacity = wanted
            self._lay_out()
        self._trials = trials
        batch = self._views["batch"]
        batch[:2] = trials, gradient
        for k, x in enumerate(inputs):
            batch[2 + k] = x.shape[2]
            self._flat(f"input{k}.times", x.size)[:] = x.ravel()
        for k, knots in enumerate(drives):
            batch[2 + len(inputs) + k] = len(knots.values)
            self._flat(f"drive{k}.values", knots.values.size)[:] = knots.values.ravel()
            if knots.slopes is not None:
                self._flat(f"drive{k}.slopes", knots.slopes.size)[:] = knots.slopes.ravel()
        if self._stale:
            self._ask("values")
            self._stale = False
        self._ask("forward")
        self._fetched = True

    def _flat(self, key: str, size: int) -> np.ndarray:
        return self._views[key].reshape(-1)[:size]

    def spike_times(self, population: int) -> np.ndarray:
        """Spike times; see `Engine.spike_times`."""
        if not (self._fetched and population in self.plan.spikes):
            self._ask(f"spikes {population}")
        place = 2 + len(self.plan.populations) + population
        most = int(self._views["results"][place])
        if most > self._capacity.spikes[population]:
            spikes = list(self._capacity.spikes)
            spikes[population] = 2 * most
            self._capacity = Capacity(
                self._capacity.trials, self._capacity.inputs, tuple(spikes), self._capacity.drives
            )
            self._lay_out()
            self._ask(f"spikes {population}")
        n, most = self.plan.populations[population].population.n, max(most, 1)
        times = self._flat(f"population{population}.times", self._trials * n * most)
        return times.reshape(self._trials, n, most).copy()

    def spike_count(self, population: int) -> int:
        """Number of spikes; see `Engine.spike_count`."""
        return int(self._views["results"][2 + population])

    def maxima(self) -> np.ndarray:
        """Maxima; see `Engine.maxima`."""
        return self._views["maxima"][: self._trials].copy()

    def samples(self, which: int) -> np.ndarray:
        """Samples; see `Engine.samples`."""
        return self._views[f"samples{which}.value"][: self._trials].copy()

    @property
    def smallest_gdot(self) -> float:
        """Smallest slope at a crossing; see `Engine.smallest_gdot`."""
        return float(self._views["results"][0])

    @property
    def ties(self) -> int:
        """Number of ties; see `Engine.ties`."""
        if np.isnan(self._views["results"][1]):
            self._ask("ties")
        return int(self._views["results"][1])

    @property
    def ties_are_counted(self) -> bool:
        """Whether they are; see `Engine.ties_are_counted`."""
        return not np.isnan(self._views["results"][1])

    def backward(
        self,
        spikes: Mapping[int, np.ndarray],
        maxima: np.ndarray | None = None,
        samples: Mapping[int, np.ndarray] | None = None,
    ) -> None:
        """Differentiate; see `Engine.backward`."""
        for k, derivative in spikes.items():
            self._views["results"][2 + len(self.plan.populations) + k] = derivative.shape[2]
            self._flat(f"population{k}.cotangent", derivative.size)[:] = derivative.ravel()
        if maxima is not None:
            self._flat("maxima_error", maxima.size)[:] = maxima.ravel()
        for k, derivative in (samples or {}).items():
            self._flat(f"samples{k}.error", derivative.size)[:] = derivative.ravel()
        self._ask("backward")

    def weight_gradient(self, projection: int) -> np.ndarray:
        """dL/dw; see `Engine.weight_gradient`."""
        return self._whole(projection, self._views[f"projection{projection}.gw"])

    def delay_gradient(self, projection: int) -> np.ndarray:
        """dL/d(delay); see `Engine.delay_gradient`."""
        found = self._views[f"projection{projection}.gdelay"]
        if np.ndim(self.plan.projections[projection].projection.delay) == 0:
            return found[0].copy()
        return self._whole(projection, found)

    def _whole(self, projection: int, values: np.ndarray) -> np.ndarray:
        """A value of every connection as a matrix, 0 where there is none."""
        found = self._seen(projection, values)
        return found if projection in self._entries else found.copy()

    def _seen(self, projection: int, values: np.ndarray) -> np.ndarray:
        """The same for what is copied at once: of dense projections a view."""
        shape = np.shape(self.plan.projections[projection].projection.weights)
        if projection not in self._entries:
            return values[:, : shape[1]]
        result = np.zeros(shape)
        result.reshape(-1)[self._entries[projection].place] = values
        return result

    def parameter_gradient(self, population: int, parameter: str) -> np.ndarray:
        """dL/dp; see `Engine.parameter_gradient`."""
        return self._gradient(self.plan.populations[population], parameter)

    def source_gradient(self, source: int, parameter: str) -> np.ndarray:
        """dL/dp; see `Engine.source_gradient`."""
        return self._gradient(self.plan.sources[source], parameter)

    def _gradient(self, p: GroupPlan, parameter: str) -> np.ndarray:
        return self._views[f"{p.key}.g{p.rules.gradient_of(parameter)}"][: p.n].copy()

    def input_gradient(self, source: int) -> np.ndarray:
        """dL/dt; see `Engine.input_gradient`."""
        shape = self._shapes[source]
        return self._flat(f"input{source}.gradient", int(np.prod(shape))).reshape(shape).copy()

    def drive_gradient(self, drive: int) -> Knots:
        """Derivatives by what a driven input was set to; see `Engine.drive_gradient`."""
        slopes = self._views[f"drive{drive}.gslopes"][: self._trials] if self.plan.drives[drive].linear else None
        return Knots(self._views[f"drive{drive}.gvalues"][: self._trials], slopes)

    # --- training ---------------------------------------------------------------------------------------------------

    def train(
        self,
        inputs: Sequence[Sequence[np.ndarray]],
        labels: np.ndarray,
        sizes: Sequence[int],
        loss: tuple[int, Sequence[float]],
        adam: tuple[float, float, np.ndarray],
        moments: Mapping[int, tuple[np.ndarray, np.ndarray, float]],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Train on several batches; see `TrainingEngine.train`."""
        most = [max(x.shape[2] for x in batches) for batches in inputs]
        wanted = Capacity(
            max(max(sizes), self._capacity.trials),
            tuple(map(max, most, self._capacity.inputs)),
            self._capacity.spikes,
            self._capacity.drives,
            max(len(labels), self._capacity.queued),
            max(len(sizes), self._capacity.batches),
        )
        if wanted != self._capacity:
            self._capacity = wanted
            self._lay_out()
        views, trials, batches = self._views, len(labels), len(sizes)
        for k, (given, spikes) in enumerate(zip(inputs, most, strict=True)):
            views["batch"][2 + k] = spikes
            n = self.plan.network.inputs[k].n
            to, start = self._flat(f"queue.input{k}", trials * n * spikes).reshape(trials, n, spikes), 0
            for x in given:
                part = to[start : start + len(x)]
                part[:, :, : x.shape[2]] = x
                part[:, :, x.shape[2] :] = np.inf
                start += len(x)
        views["queue.targets"][:trials] = labels
        views["queue.sizes"][:batches] = sizes
        numbers = views["queue.numbers"]
        numbers[:] = 0
        numbers[:4] = batches, loss[0], adam[0], adam[1]
        numbers[4 : 4 + len(loss[1])] = loss[1]
        views["queue.corrections"][:batches] = adam[2]
        for k, (mean, square, factor) in moments.items():
            numbers[8 + k] = factor
            self._write_whole(k, mean, views[f"projection{k}.mean"])
            self._write_whole(k, square, views[f"projection{k}.square"])
        if self._stale:
            self._ask("values")
            self._stale = False
        self._trials, self._fetched = int(sizes[-1]), False
        self._ask("train")
        for k, (mean, square, _) in moments.items():
            mean[...] = self._seen(k, views[f"projection{k}.mean"])
            square[...] = self._seen(k, views[f"projection{k}.square"])
        return views["queue.results"][:batches].copy(), views["queue.predictions"][:trials].copy()

    def weights(self, projection: int) -> np.ndarray:
        """The weights as they are now; see `TrainingEngine.weights`."""
        return self._seen(projection, self._views[f"projection{projection}.w"])

    # --- the program ------------------------------------------------------------------------------------------------

    def _ask(self, words: str) -> None:
        said = self._process.ask(words)
        if said:
            what, population, neuron, time = said.split()
            raise failure(self.plan, what, int(population), int(neuron), float(time))

    @property
    def usable(self) -> bool:
        """Whether the program runs and the arrays are whole; see `Engine.usable`."""
        return self._laid_out and self._arrays is not None and self._process.usable

    def close(self) -> None:
        """End the program; see `Engine.close`."""
        self._arrays = None
        self._process.close()


class CppEngine(CompiledEngine):
    """A program of C++.

    Parameters
    ----------
    plan : EnginePlan
    trials : int
        Trials of a batch to make room for; a larger batch makes more.
    threads : int
        Threads among which trials are divided.
    scatter : bool, optional
        Whether arrivals are scattered where they may be (see runtime/sparse.h), which changes cost, never results;
        where it pays if not given.
    sweep : bool
        Whether populations without feedback are swept where they may be (see runtime/sweep.h); the same holds.
    timeout : float, optional
        Seconds that the program may take for one answer.

    Raises
    ------
    BuildFailed
        If there is no compiler, or it refuses the program.
    ProgramError
        If the program dies or stops answering.
    """

    def __init__(
        self,
        plan: EnginePlan,
        *,
        trials: int = 1,
        threads: int = 1,
        scatter: bool | None = None,
        sweep: bool = True,
        timeout: float | None = None,
    ) -> None:
        path, models = program([p.rules for p in plan.groups], plan.tolerance, compiled(plan, scatter, sweep))
        super().__init__(plan, path, models, Ways(threads, scatter, sweep), trials=trials, timeout=timeout)


def compiled(plan: EnginePlan, scatter: bool | None = None, sweep: bool = True) -> Compiled:
    """Which ways to run components a program of a plan needs to have.

    Scattering pays only where rows leave out neurons of their component (see Sparse::suits), and the general way is for
    what is neither scattered nor swept.

    Parameters
    ----------
    plan : EnginePlan
    scatter, sweep
        See `CppEngine`.
    """
    if scatter is None:
        scatter = any(map(is_sparse, plan.projections)) or any(len(c.populations) > 1 for c in plan.components)
    swept = sweep and not (plan.drives or plan.sources or plan.samples)
    return Compiled(scatter, scatter or not swept or not all(_sweeps(plan, c) for c in plan.components))


def _sweeps(plan: EnginePlan, component: Component) -> bool:
    """Whether a component is swept, as EventSimulator::swept decides where nothing is driven or sampled."""
    if len(component.populations) > 1 or component.feedback:
        return False
    r = plan.populations[component.populations[0]].rules
    incoming = [plan.projections[k] for k in component.incoming]
    if r.observed is not None and (r.spiking or any(r.moves(q.receptor, r.observed) for q in incoming)):
        return False
    return r.sweeps and all(r.sweeps_at(q.receptor) and not is_sparse(q) for q in incoming)


def bounds_of(plan: EnginePlan) -> dict[tuple[int, str], Bounds]:
    """Bounds of all populations that have them, by population and function; see `Bounds.of`.

    Parameters
    ----------
    plan : EnginePlan
    """
    return {
        (p.index, kind): Bounds.of(p.rules, kind)
        for p in plan.populations
        for kind in ("threshold", "peak")
        if p.rules.linear and (p.rules.spiking if kind == "threshold" else p.rules.observed is not None)
    }


def write_times(views: Mapping[str, np.ndarray], plan: EnginePlan) -> None:
    """Write what depends on no value: when something is due in every trial, and the other real numbers of a plan.

    Parameters
    ----------
    views : mapping of str to array
        The shared arrays.
    plan : EnginePlan
    """
    views["reals"][:] = reals(plan)
    for k, seen in enumerate(plan.samples):
        views[f"samples{k}.times"][:] = seen.times(plan.network.duration)
    for d in plan.drives:
        views[f"drive{d.index}.times"][:] = d.times
        views[f"drive{d.index}.jumps"][:] = d.jumps


def write_parameters(
    views: Mapping[str, np.ndarray],
    plan: EnginePlan,
    population: int,
    values: Mapping[str, np.ndarray],
    bounds: Mapping[tuple[int, str], Bounds],
) -> None:
    """Write the parameters of a population, and what follows from them: states at time 0, and bounds.

    Parameters
    ----------
    views : mapping of str to array
        The shared arrays.
    plan : EnginePlan
    population : int
    values : mapping of str to array, shape () or (n,)
        By the model's names.
    bounds : mapping
        As `bounds_of` gives.

    Raises
    ------
    ValueError
        For a refractory period that is negative or not finite.
    """
    p = plan.populations[population]
    groups: tuple[GroupPlan, ...] = (p, *plan.sources_of(population))
    for group in groups:
        numbers = group.canonical(values)
        refractory_periods(group, numbers)  # refuses those that are none
        for key, value in numbers.items():
            _fill(views[f"{group.key}.{key}"], value, group.n)
        _fill(views[f"{group.key}.initial"], initial_states(group, numbers), group.n)
    for kind, key in (("threshold", "bounds"), ("peak", "peak_bounds")):
        if (population, kind) in bounds:
            table = bounds[population, kind].table(p.canonical(values), plan.window)
            _fill(views[f"{p.key}.{key}"], table, p.n if table.ndim == 4 else None)


def _fill(to: np.ndarray, values: np.ndarray, n: int | None) -> None:
    """Write values; where the last axis is neurons, the padding repeats the last one, so that no lane goes astray."""
    if n is None or to.shape[-1] == 1 or to.ndim == 0:
        to[...] = values
        return
    to[..., :n] = values
    to[..., n:] = to[..., n - 1 : n]
