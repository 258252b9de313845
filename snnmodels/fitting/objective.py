"""What a fit minimises: a weighted sum of terms on spikes, voltages and intervals, for many candidates in one pass.

Candidates are neurons of one population with parameters of their own, sweeps are trials. Spikes and intervals are
those of models that run freely. The likelihood of spikes is that of models on which the recorded spikes are forced, and
where there are recorded spikes, so is the voltage: then it is that of the same spikes, and smooth in the parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from ..events.engine import SimulationError
from ..gradients.simulation import Simulation
from ..losses.observables import Observable, Samples, SpikeTimes
from ..targets import Target
from ..templates.model import Model
from .candidates import driven_network, filled, possible_candidates, runaway_neuron
from .likelihood import SOFTNESS, ForcedSpikeLikelihood, forced_model, spiked_late
from .recording import Recording, Sweep
from .space import DELAY, Space
from .trains import MeanTrainDistance

__all__ = ["LOSSES", "LossSettings", "Objective"]

Array = np.ndarray

LOSSES = ("spikes", "voltage", "intervals", "likelihood")


@dataclass(frozen=True)
class LossSettings:
    """What the terms of a loss are measured with.

    Attributes
    ----------
    tau : float
        Time constant of the distance of spike trains, in seconds.
    interval_tau : float
        Deviation of an interval between spikes that costs 1, in seconds.
    missing : float
        What an interval costs that only the model or only the recording has.
    voltage_interval : float
        Seconds between the samples of the voltage that are compared.
    mask : tuple of float
        Seconds before and after a recorded spike in which the voltage doesn't count.
    variable : str
        The state that is the voltage.
    """

    tau: float = 8e-3
    interval_tau: float = 10e-3
    missing: float = 1.0
    voltage_interval: float = 0.5e-3
    mask: tuple[float, float] = (2e-3, 10e-3)
    variable: str = "v"


class _Group:
    """Sweeps of one length, which are trials of the same simulations."""

    def __init__(self, sweeps: Sequence[Sweep]) -> None:
        self.sweeps = tuple(sweeps)
        self.dt, self.samples = sweeps[0].dt, len(sweeps[0].current)
        self.duration = sweeps[0].duration
        self.currents = np.stack([s.current for s in sweeps])[:, None, :]
        self.repetitions = max(max(len(s.spikes), 0 if s.voltage is None else len(s.voltage)) for s in sweeps)


class Objective:
    """Losses of candidates, and their gradients.

    Parameters
    ----------
    model : Model
    recording : Recording
    space : Space
        Free parameters of the model, `SOFTNESS` where the likelihood needs it, and `DELAY` if that is free.
    fixed : mapping of str to float
        Other values that are not the model's own.
    weights : mapping of str to float
        Of the terms, by names out of `LOSSES`.
    input : str
        Of the model, that the current drives.
    n : int
        Candidates of one pass.
    settings : LossSettings
    target : str

    Attributes
    ----------
    simulations : int
        Sweeps simulated so far, one for each candidate, forced ones for each repetition.
    spikes : int
        Of all candidates in the last pass of models that run freely.
    """

    def __init__(
        self,
        model: Model,
        recording: Recording,
        space: Space,
        fixed: Mapping[str, float],
        weights: Mapping[str, float],
        *,
        input: str,
        n: int,
        settings: LossSettings,
        target: Target = "cpp_standalone",
    ) -> None:
        self.model, self.space, self.n, self.settings, self.weights = model, space, n, settings, dict(weights)
        self.names = tuple(name for name in space.names if name not in (DELAY, SOFTNESS))
        self.fixed = {name: value for name, value in fixed.items() if name not in (DELAY, SOFTNESS)}
        self._fixed_delay = float(fixed.get(DELAY, 0.0))
        self._fixed_softness = fixed.get(SOFTNESS)
        self.simulations, self.spikes = 0, 0
        lengths: dict[tuple[float, int], list[Sweep]] = {}
        for sweep in recording.sweeps:
            lengths.setdefault((sweep.dt, len(sweep.current)), []).append(sweep)
        groups = [_Group(sweeps) for sweeps in lengths.values()]
        forced = recording.has_spikes and model.spiking
        free = [name for name in ("spikes", "intervals") if name in weights]
        voltage_free = "voltage" in weights and not forced
        on_forced = "likelihood" in weights or ("voltage" in weights and forced)
        self._parts: list[_Free | _Forced] = []
        total = len(recording.sweeps)
        for group in groups:
            share = len(group.sweeps) / total
            if free or voltage_free:
                self._parts.append(_Free(self, group, input, target, share, bool(free), voltage_free))
            if on_forced:
                self._parts.append(_Forced(self, group, input, target, share))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for part in self._parts:
            part.simulation.close()

    @property
    def count(self) -> int:
        """Number of recorded spikes, intervals and samples that are compared: the size of the data."""
        return sum(part.count for part in self._parts)

    def __call__(self, places: Array, gradient: bool = False) -> tuple[Array, Array | None]:
        """Losses of candidates, and derivatives by their places.

        Parameters
        ----------
        places : array, shape (candidates, parameters)
            In the unit cube; any number of candidates.
        gradient : bool

        Returns
        -------
        losses : array, shape (candidates,)
            inf where a constraint of the model is broken, or its states run away.
        slopes : array, shape (candidates, parameters), or None
        """
        losses, slopes = [], []
        self.spikes = 0
        for begin in range(0, len(places), self.n):
            loss, slope = self._pass(places[begin : begin + self.n], gradient)
            losses.append(loss)
            slopes.append(slope)
        return np.concatenate(losses), np.concatenate(slopes) if gradient else None

    def _pass(self, places: Array, gradient: bool) -> tuple[Array, Array]:
        count = len(places)
        values = self.space.values(places)
        possible = possible_candidates(self.model, self.space.names, self.fixed, values)
        loss, by_value = np.zeros(count), np.zeros(values.shape)
        if not possible.any():
            return np.full(count, np.inf), by_value
        rows = filled(values, possible, self.n)
        for part in self._parts:
            while True:
                try:
                    found, slope = part.evaluate(rows, gradient)
                    break
                except SimulationError as error:
                    # of one neuron, whose states run away: the others are simulated without it
                    neuron = runaway_neuron(error)
                    candidate = None if neuron is None else neuron // part.per_candidate % count
                    if candidate is None or not possible[candidate] or possible.sum() == 1:
                        raise
                    possible[candidate] = False
                    other = rows[:count][possible][0]
                    rows[np.arange(self.n) % count == candidate] = other
            loss += found[:count]
            by_value += slope[:count]
        loss = np.where(possible & np.isfinite(loss), loss, np.inf)
        return loss, by_value * self.space.slopes(places)

    def spike_residuals(self, place: Array, window: float = 4e-3) -> tuple[Array, Array]:
        """Deviations of the spikes of one candidate from those recorded, and their derivatives by its place.

        A spike counts where recorded ones are within the window, and deviates from their mean. Every derivative is
        exact: as many candidates as spikes have the same place, and one spike of each is followed back.

        Parameters
        ----------
        place : array, shape (parameters,)
        window : float
            Seconds.

        Returns
        -------
        residuals : array, shape (spikes,)
            Seconds, of all sweeps one after the other.
        slopes : array, shape (spikes, parameters)
        """
        rows = np.repeat(self.space.values(place)[None], self.n, axis=0)
        residuals, slopes = [np.empty(0)], [np.empty((0, len(self.space)))]
        for part in self._parts:
            if isinstance(part, _Free):
                for residual, slope in part.followed(rows, window):
                    residuals.append(residual)
                    slopes.append(slope)
        return np.concatenate(residuals), np.concatenate(slopes) * self.space.slopes(place)

    def spike_counts(self, place: Array) -> Array:
        """Numbers of spikes of one candidate in every sweep, in the order of the recording's lengths."""
        rows = np.repeat(self.space.values(place)[None], self.n, axis=0)
        return np.concatenate([part.counts(rows) for part in self._parts if isinstance(part, _Free)])

    # --- what the parts share -------------------------------------------------------------------------------------

    def column(self, rows: Array, name: str, fixed: float) -> Array:
        """Values of something that may be free, for every candidate."""
        return rows[:, self.space.index(name)] if name in self.space.names else np.full(len(rows), fixed)

    def delays(self, rows: Array) -> Array:
        """Delay of each candidate, in seconds."""
        return self.column(rows, DELAY, self._fixed_delay)

    def softness(self, rows: Array) -> Array:
        """Softness of each candidate."""
        assert self._fixed_softness is not None or SOFTNESS in self.space.names
        return self.column(rows, SOFTNESS, float(self._fixed_softness or 0.0))

    def gather(self, gradients: Mapping[str, Array], names: Sequence[str], per: int) -> Array:
        """Derivatives by all values of the candidates, from those of neurons, of which each candidate has several."""
        slopes = np.zeros((self.n, len(self.space)))
        for name in names:
            slopes[:, self.space.index(name)] = gradients[f"cells.{name}"].reshape(self.n, per).sum(axis=1)
        return slopes


def _simulation(
    model: Model, names: Sequence[str], fixed: Mapping[str, float], group: _Group, n: int, input: str,
    reads: Sequence[Observable], target: Target, forced: Array | None = None,
) -> tuple[Simulation, dict[str, Array]]:  # fmt: skip
    """A population that the currents of a group drive, and what is given to it."""
    inputs: dict[str, Array] = {"current": group.currents}
    if forced is not None:
        inputs["recorded"] = forced
    network = driven_network(
        model, names, fixed, n, dt=group.dt, duration=group.duration, input=input,
        trains=0 if forced is None else forced.shape[1],
    )  # fmt: skip
    simulation = Simulation(network, list(reads), batch_size=len(group.sweeps), target=target, input_gradients=False)
    return simulation, inputs


def _keyed(rows: Array, space: Space, names: Sequence[str], per: int) -> dict[str, Array]:
    return {f"cells.{name}": np.repeat(rows[:, space.index(name)], per) for name in names}


class _Free:
    """Models that run freely: spikes, intervals, and voltages where no spike is recorded."""

    def __init__(
        self, of: Objective, group: _Group, input: str, target: Target, share: float, spikes: bool, voltage: bool
    ) -> None:
        self.of, self.group, self.share, self.per_candidate = of, group, share, 1
        self.reads: list[Observable] = [SpikeTimes("cells")] if of.model.spiking else []
        s = of.settings
        self.voltage = _Voltage(group, s, forced=False) if voltage else None
        if self.voltage is not None:
            self.reads.append(Samples("cells", s.variable, s.voltage_interval))
        self.simulation, self.inputs = _simulation(
            of.model, of.names, of.fixed, group, of.n, input, self.reads, target
        )
        self.distances: list[MeanTrainDistance | None] = []
        if spikes and "spikes" in of.weights:
            for sweep in group.sweeps:
                some = any(len(t) for t in sweep.spikes)
                self.distances.append(MeanTrainDistance(sweep.spikes, s.tau, 0.0, sweep.duration) if some else None)
        recorded = sum(len(t) for sweep in group.sweeps for t in sweep.spikes)
        self.count = recorded * spikes + (0 if self.voltage is None else self.voltage.count)

    def evaluate(self, rows: Array, gradient: bool) -> tuple[Array, Array]:
        of = self.of
        seen = self.simulation.forward(self.inputs, _keyed(rows, of.space, of.names, 1), gradient=gradient)
        found = list(seen) if isinstance(seen, tuple) else [seen]
        of.simulations += of.n * len(self.group.sweeps)
        loss, by_delay = np.zeros(of.n), np.zeros(of.n)
        pulls = [np.zeros(np.shape(x)) for x in found]
        if of.model.spiking:
            times = found[0] + of.delays(rows)[None, :, None]
            of.spikes += int(np.isfinite(times).sum())
            for k, sweep in enumerate(self.group.sweeps):
                for value, slope in self._spike_terms(k, sweep, times[k]):
                    loss += value * self.share / len(self.group.sweeps)
                    pulls[0][k] += slope * self.share / len(self.group.sweeps)
            by_delay = pulls[0].sum(axis=(0, 2))
        if self.voltage is not None:
            value, slope = self.voltage.evaluate(found[-1])
            weight = of.weights["voltage"] * self.share
            loss += weight * value
            pulls[-1] += weight * slope
        if not gradient:
            return loss, np.zeros((of.n, len(of.space)))
        slopes = of.gather(self.simulation.backward(tuple(pulls)), of.names, 1)
        if DELAY in of.space.names:
            slopes[:, of.space.index(DELAY)] += by_delay
        return loss, slopes

    def counts(self, rows: Array) -> Array:
        """Numbers of spikes of the first candidate in every sweep."""
        seen = self.simulation.forward(self.inputs, _keyed(rows, self.of.space, self.of.names, 1), gradient=False)
        times = seen[0] if isinstance(seen, tuple) else seen
        self.of.simulations += len(self.group.sweeps)
        counts: Array = np.isfinite(times[:, 0]).sum(axis=1)
        return counts

    def followed(self, rows: Array, window: float) -> list[tuple[Array, Array]]:
        """Deviations of spikes in every sweep and their derivatives by values; all rows are the same."""
        of, keyed = self.of, _keyed(rows, self.of.space, self.of.names, 1)
        delay = float(of.delays(rows)[0])
        seen = self.simulation.forward(self.inputs, keyed, gradient=True)
        found = list(seen) if isinstance(seen, tuple) else [seen]
        of.simulations += len(self.group.sweeps)
        wanted: list[tuple[int, int, float]] = []  # sweep, spike, deviation
        for k, sweep in enumerate(self.group.sweeps):
            recorded = np.sort(np.concatenate(sweep.spikes)) if sweep.spikes else np.empty(0)
            for j, t in enumerate((found[0][k, 0] + delay).tolist()):
                near = recorded[np.abs(recorded - t) <= window] if np.isfinite(t) else recorded[:0]
                if len(near):
                    wanted.append((k, j, t - float(near.mean())))
        slopes = np.zeros((len(wanted), len(of.space)))
        for begin in range(0, len(wanted), of.n):
            if begin:
                self.simulation.forward(self.inputs, keyed, gradient=True)
            pulls = [np.zeros(np.shape(x)) for x in found]
            some = wanted[begin : begin + of.n]
            for candidate, (k, j, _) in enumerate(some):
                pulls[0][k, candidate, j] = 1.0
            gradients = self.simulation.backward(tuple(pulls))
            slopes[begin : begin + len(some)] = of.gather(gradients, of.names, 1)[: len(some)]
        if DELAY in of.space.names:
            slopes[:, of.space.index(DELAY)] = 1.0
        sweeps = np.array([k for k, _, _ in wanted], dtype=int)
        off = np.array([r for _, _, r in wanted])
        return [(off[sweeps == k], slopes[sweeps == k]) for k in range(len(self.group.sweeps))]

    def _spike_terms(self, k: int, sweep: Sweep, times: Array) -> list[tuple[Array, Array]]:
        """Weighted terms of a sweep: values of the candidates, and derivatives by their spike times."""
        of, terms = self.of, []
        if self.distances:
            distance, weight = self.distances[k], of.weights["spikes"]
            if distance is not None:
                value, slope = distance(times, gradient=True)
                assert slope is not None
                terms.append((weight * value, weight * slope))
            else:  # nothing is recorded: each spike costs 1, wherever it is
                terms.append((weight * np.isfinite(times).sum(axis=1).astype(float), np.zeros(times.shape)))
        if "intervals" in of.weights:
            value, slope = _interval_error(times, sweep.spikes, of.settings)
            terms.append((of.weights["intervals"] * value, of.weights["intervals"] * slope))
        return terms


class _Forced:
    """Models on which recorded spikes are forced: likelihood and voltage."""

    def __init__(self, of: Objective, group: _Group, input: str, target: Target, share: float) -> None:
        self.of, self.group, self.share = of, group, share
        r = self.per_candidate = max(group.repetitions, 1)
        spikes = [[t - of._fixed_delay for t in s.spikes] for s in group.sweeps]
        most = max((len(t) for trains in spikes for t in trains), default=0)
        self.times = np.full((len(group.sweeps), r, max(most, 1)), np.inf)
        for k, trains in enumerate(spikes):
            for j, train in enumerate(trains):
                kept = train[train >= 0]
                self.times[k, j, : len(kept)] = kept
        self.recorded = int(np.isfinite(self.times).sum())
        self.likelihood = "likelihood" in of.weights
        s = of.settings
        self.reads: list[Observable] = [SpikeTimes("cells")]
        if self.likelihood:
            self.reads = list(ForcedSpikeLikelihood("cells").observes)
        self.voltage = _Voltage(group, s, forced=True) if "voltage" in of.weights else None
        if self.voltage is not None:
            self.reads.append(Samples("cells", s.variable, s.voltage_interval))
        model = forced_model(of.model, of._fixed_softness or 1.0)
        self.names = (*of.names, *((SOFTNESS,) if SOFTNESS in of.space.names else ()))
        fixed = {**of.fixed, **({} if of._fixed_softness is None else {SOFTNESS: of._fixed_softness})}
        self.simulation, self.inputs = _simulation(
            model, self.names, fixed, group, of.n * r, input, self.reads, target, self.times
        )
        self.count = self.recorded * self.likelihood + (0 if self.voltage is None else self.voltage.count)
        self.repeated = np.array([max(len(sweep.spikes), 1) for sweep in group.sweeps])

    def evaluate(self, rows: Array, gradient: bool) -> tuple[Array, Array]:
        of, r = self.of, self.per_candidate
        found = self.simulation.forward(self.inputs, _keyed(rows, of.space, self.names, r), gradient=gradient)
        found = found if isinstance(found, tuple) else (found,)
        of.simulations += of.n * r * len(self.group.sweeps)
        loss, pulls = np.zeros(of.n), [np.zeros(np.shape(x)) for x in found]
        late = spiked_late(found[0], np.tile(self.times, (1, of.n, 1)))
        late = late.reshape(len(self.group.sweeps), of.n, -1).any(axis=(0, 2))
        if self.likelihood:
            weight = of.weights["likelihood"] * self.share / max(self.recorded, 1)
            kept = np.arange(r)[None, :] < self.repeated[:, None]  # sweeps, repetitions: there are some
            mask = np.tile(kept, (1, of.n))
            loss += weight * ((found[2] - found[1]) * mask).reshape(len(mask), of.n, r).sum(axis=(0, 2))
            pulls[1], pulls[2] = -weight * mask.astype(float), weight * mask.astype(float)
        if self.voltage is not None:
            value, slope = self.voltage.evaluate(found[-1].reshape(len(self.group.sweeps), of.n, r, -1))
            weight = of.weights["voltage"] * self.share
            loss += weight * value
            pulls[-1] = weight * slope.reshape(found[-1].shape)
        loss = np.where(late, np.inf, loss)
        if not gradient:
            return loss, np.zeros((of.n, len(of.space)))
        return loss, of.gather(self.simulation.backward(tuple(pulls)), self.names, r)


class _Voltage:
    """Mean square of the deviation from the recorded voltage away from spikes, over the variance of the latter."""

    def __init__(self, group: _Group, settings: LossSettings, forced: bool) -> None:
        count = int(np.floor(group.duration / settings.voltage_interval * (1 + 1e-12)))
        times = np.minimum(settings.voltage_interval * np.arange(1, count + 1), group.duration)
        sampled = group.dt * np.arange(group.samples)
        there = times <= sampled[-1] * (1 + 1e-12)
        r = max(group.repetitions, 1) if forced else 1
        self.target = np.zeros((len(group.sweeps), r, count))
        self.counts = np.zeros((len(group.sweeps), r, count), dtype=bool)
        before, after = settings.mask
        for k, sweep in enumerate(group.sweeps):
            if sweep.voltage is None:
                continue
            rows = sweep.voltage if forced else sweep.voltage.mean(axis=0, keepdims=True)
            for j, row in enumerate(rows):
                # the nearest sample would be off by up to half a step where the intervals are no multiples of dt
                self.target[k, j, there] = np.interp(times[there], sampled, row)
                self.counts[k, j] = there
                for t in sweep.spikes[j] if forced and sweep.spikes else ():
                    self.counts[k, j] &= (times < t - before) | (times > t + after)
        self.count = int(self.counts.sum())
        if not self.count:
            raise ValueError("no sample of the voltage is left between the spikes; shorten mask")
        kept = self.target[self.counts]
        self.scale = float(np.var(kept)) * self.count
        if not self.scale:
            raise ValueError("the recorded voltage is constant between the spikes, so that it sets no scale")
        self.forced = forced

    def evaluate(self, voltage: Array) -> tuple[Array, Array]:
        """Of voltages ``(sweeps, candidates, samples)``, or with repetitions before the samples."""
        given = voltage if self.forced else voltage[:, :, None, :]
        off = (given - self.target[:, None]) * self.counts[:, None]
        value = (off**2).sum(axis=(0, 2, 3)) / self.scale
        return value, (2 * off / self.scale).reshape(voltage.shape)


def _interval_error(times: Array, trains: Sequence[Array], settings: LossSettings) -> tuple[Array, Array]:
    """Mean square of the deviations of intervals in their order, for each recorded one; of all repetitions."""
    tau, missing = settings.interval_tau, settings.missing
    ends = np.isfinite(times)
    counts = np.maximum(ends.sum(axis=1) - 1, 0)
    with np.errstate(invalid="ignore"):
        intervals = np.diff(times, axis=1)
    value, slope = np.zeros(len(times)), np.zeros(times.shape)
    for train in trains:
        wanted = np.diff(train)
        k = min(len(wanted), intervals.shape[1])
        both = np.arange(k)[None] < counts[:, None]
        off = np.where(both, (np.where(both, intervals[:, :k], 0.0) - wanted[:k]) / tau, 0.0)
        share = 1 / max(len(wanted), 1) / len(trains)
        value += share * ((off**2).sum(axis=1) + missing * np.abs(counts - len(wanted)))
        by = share * 2 * off / tau
        slope[:, 1 : k + 1] += by
        slope[:, :k] -= by
    return value, slope
