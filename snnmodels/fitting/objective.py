"""What a fit minimises: a weighted sum of terms on spikes, voltages and intervals, for many candidates in one pass.

Candidates are neurons of one population with parameters of their own, sweeps are trials. Spikes and intervals are
those of models that run freely. The likelihood of spikes is that of models on which the recorded spikes are forced, and
where there are recorded spikes, so is the voltage: then it is that of the same spikes, and smooth in the parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np

from ..losses.observables import Observable, Samples, SpikeTimes
from ..targets import Target
from ..templates.model import Model
from .coincidence import WINDOW
from .likelihood import SOFTNESS, ForcedSpikeLikelihood, spiked_late
from .neurons import Candidates
from .noise import Noise
from .recording import Recording, Sweep
from .space import DELAY, Space
from .terms import Group, LossSettings, VoltageError, grouped, interval_error
from .trains import MeanTrainDistance

__all__ = ["Objective"]

Array = np.ndarray


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
    noise : Noise, optional
        Currents that are added to those of models that run freely: the distance of spike trains is then that between
        the model's and the neuron's repetitions (`MeanTrainDistance.between`).
    shifted : bool
        Whether the likelihood is that of the likeliest constant beside the threshold, which multiplies the hazard: a
        soft threshold lies elsewhere than one without noise. Its value is 1 - mean ln(lambda ms) + ln(int lambda dt/N).
    delay : float, optional
        By which forced spikes come before the recorded ones, in seconds; the fixed one, or 0, by default.

    Attributes
    ----------
    simulations : int
        Sweeps simulated so far: one for each candidate and noise current, forced ones for each repetition.
    spikes : int
        Of all candidates in the last pass of models that run freely.
    constants : array, shape (candidates,)
        Of the last pass, in units of the softness: what has to be added to the threshold to be likeliest.
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
        noise: Noise | None = None,
        shifted: bool = False,
        delay: float | None = None,
    ) -> None:
        self.model, self.space, self.n, self.settings, self.weights = model, space, n, settings, dict(weights)
        self.input, self.target, self.noise, self._shifted = input, target, noise, shifted
        self.names = tuple(name for name in space.names if name not in (DELAY, SOFTNESS))
        self.fixed = {name: value for name, value in fixed.items() if name not in (DELAY, SOFTNESS)}
        self._fixed_delay = float(fixed.get(DELAY, 0.0))
        self.forced_delay = self._fixed_delay if delay is None else delay
        self.softness = fixed.get(SOFTNESS)
        self.spikes, self.constants = 0, np.zeros(0)
        forced = recording.has_spikes and model.spiking
        free = any(name in weights for name in ("spikes", "intervals"))
        voltage_free = "voltage" in weights and not forced
        on_forced = "likelihood" in weights or ("voltage" in weights and forced)
        self._free: list[_Free] = []
        self._forced: list[_Forced] = []
        total = len(recording.sweeps)
        for group in grouped(recording.sweeps):
            share = len(group.sweeps) / total
            if free or voltage_free:
                self._free.append(_Free(self, group, share, free, voltage_free))
            if on_forced:
                self._forced.append(_Forced(self, group, share))
        self._recorded = sum(part.recorded for part in self._forced)
        if "likelihood" in weights and not self._recorded:
            raise ValueError("no spike was recorded, so that there is no likelihood")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for part in self._parts:
            part.candidates.close()

    @property
    def _parts(self) -> list[_Free | _Forced]:
        return [*self._free, *self._forced]

    @property
    def simulations(self) -> int:
        """See above."""
        return sum(part.candidates.simulations for part in self._parts)

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
        losses, slopes, constants = [], [], []
        self.spikes = 0
        for begin in range(0, len(places), self.n):
            loss, slope = self._pass(places[begin : begin + self.n], gradient)
            losses.append(loss)
            slopes.append(slope)
            constants.append(self.constants)
        self.constants = np.concatenate(constants)
        return np.concatenate(losses), np.concatenate(slopes) if gradient else None

    def _pass(self, places: Array, gradient: bool) -> tuple[Array, Array]:
        count = len(places)
        values = self.space.values(places)
        loss, slopes = np.zeros(count), np.zeros(values.shape)
        possible = np.ones(count, dtype=bool)
        self.constants = np.zeros(count)
        for part in self._parts:
            possible &= part.observe(values, gradient)
            if not possible.any():
                return np.full(count, np.inf), slopes
        for free in self._free:
            loss += free.loss()
            if gradient:
                slopes += free.slopes()
        if self._forced:
            share = self.weights.get("likelihood", 0.0) / max(self._recorded, 1)
            scale = np.ones(count)
            if share:
                logs, integral = np.sum([part.hazards() for part in self._forced], axis=0)
                with np.errstate(divide="ignore"):
                    self.constants = np.log(integral / self._recorded)
                    if self._shifted:
                        scale = self._recorded / integral
                        integral = self._recorded * (1 + self.constants)
                loss += share * (integral - logs)
            for forced in self._forced:
                loss += forced.loss()
                if gradient:
                    slopes += forced.slopes(share, share * np.nan_to_num(scale, posinf=0.0))
        possible &= np.isfinite(loss)
        return np.where(possible, loss, np.inf), np.where(possible[:, None], slopes, 0) * self.space.slopes(places)

    def spike_residuals(self, place: Array, window: float = WINDOW) -> tuple[Array, Array]:
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
        for part in self._free:
            for residual, slope in part.followed(rows, window):
                residuals.append(residual)
                slopes.append(slope)
        return np.concatenate(residuals), np.concatenate(slopes) * self.space.slopes(place)

    def spike_trains(self, place: Array) -> list[list[Array]]:
        """Spike times of one candidate with the delay: of every sweep, in the order of their lengths, each draw."""
        row = self.space.values(place)[None]
        return [train for part in self._free for train in part.trains(row)]

    # --- what the parts share -------------------------------------------------------------------------------------

    def delays(self, values: Array) -> Array:
        """Delay of each candidate, in seconds."""
        free = DELAY in self.space.names
        return values[:, self.space.index(DELAY)] if free else np.full(len(values), self._fixed_delay)

    def columns(self, names: tuple[str, ...]) -> list[int]:
        """Where parameters are in the space."""
        return [self.space.index(name) for name in names]


class _Free:
    """Models that run freely: spikes, intervals, and voltages where no spike is recorded."""

    def __init__(self, of: Objective, group: Group, share: float, spikes: bool, voltage: bool) -> None:
        self.of, self.group, self.share = of, group, share / len(group.sweeps)
        currents = group.currents[:, None]
        if of.noise is not None:
            currents = currents + of.noise.currents(len(group.sweeps), group.samples, group.dt)
        self.draws = currents.shape[1]
        reads: list[Observable] = [SpikeTimes("cells")] if of.model.spiking else []
        s = of.settings
        self.voltage = VoltageError(group, s, forced=False) if voltage else None
        if self.voltage is not None:
            reads.append(Samples("cells", s.variable, s.voltage_interval))
        self.candidates = Candidates(
            of.model, of.names, of.fixed, currents.reshape(-1, group.samples), group.dt, input=of.input, n=of.n,
            reads=reads, target=of.target,
        )  # fmt: skip
        self._columns = of.columns(of.names)
        self.distances: list[MeanTrainDistance | None] = []
        if spikes and "spikes" in of.weights:
            for sweep in group.sweeps:
                some = any(len(t) for t in sweep.spikes)
                self.distances.append(MeanTrainDistance(sweep.spikes, s.tau, 0.0, sweep.duration) if some else None)
        recorded = sum(len(t) for sweep in group.sweeps for t in sweep.spikes)
        self.count = recorded * spikes + (0 if self.voltage is None else self.voltage.count)

    def observe(self, values: Array, gradient: bool) -> Array:
        """Simulate candidates; which are possible."""
        seen, possible = self.candidates.observe(values[:, self._columns], gradient)
        self._seen, self._values, self._gradient = seen, values, gradient
        return possible

    def loss(self) -> Array:
        """Losses of the candidates; how they change with what was seen is kept for `slopes`."""
        of = self.of
        loss = np.zeros(len(self._values))
        self._pulls = [np.zeros(x.shape) for x in self._seen]
        self._by_delay = np.zeros(len(loss))
        if of.model.spiking:
            times = self._times()
            of.spikes += int(np.isfinite(times).sum())
            pulls = self._pulls[0].reshape(len(self.group.sweeps), self.draws, *self._seen[0].shape[1:])
            for k, sweep in enumerate(self.group.sweeps):
                for value, slope in self._spike_terms(k, sweep, times[k]):
                    loss += self.share * value
                    pulls[k, :, :, 0] += self.share * slope
            self._by_delay = self._pulls[0].sum(axis=(0, 2, 3))
        if self.voltage is not None:
            value, slope = self.voltage.evaluate(self._seen[-1])
            weight = of.weights["voltage"] * self.share * len(self.group.sweeps)
            loss += weight * value
            self._pulls[-1] += weight * slope
        return loss

    def slopes(self) -> Array:
        """Derivatives by the values of the candidates."""
        slopes = np.zeros(self._values.shape)
        slopes[:, self._columns] = self.candidates.pull(self._pulls)
        if DELAY in self.of.space.names:
            slopes[:, self.of.space.index(DELAY)] += self._by_delay
        return slopes

    def trains(self, row: Array) -> list[list[Array]]:
        """Spike times of one candidate in every sweep and draw."""
        self.candidates_of(row, False)
        return [[t[np.isfinite(t)] for t in draws[:, 0]] for draws in self._times()]

    def followed(self, rows: Array, window: float) -> list[tuple[Array, Array]]:
        """Deviations of spikes in every sweep and their derivatives by values; all rows are the same."""
        of = self.of
        self.candidates_of(rows, True)
        times = self._times()[:, 0, 0]
        wanted: list[tuple[int, int, float]] = []  # sweep, spike, deviation
        for k, sweep in enumerate(self.group.sweeps):
            recorded = np.sort(np.concatenate(sweep.spikes)) if sweep.spikes else np.empty(0)
            for j, t in enumerate(times[k].tolist()):
                near = recorded[np.abs(recorded - t) <= window] if np.isfinite(t) else recorded[:0]
                if len(near):
                    wanted.append((k, j, t - float(near.mean())))
        slopes = np.zeros((len(wanted), len(of.space)))
        for begin in range(0, len(wanted), of.n):
            if begin:
                self.candidates_of(rows, True)
            pulls = [np.zeros(x.shape) for x in self._seen]
            some = wanted[begin : begin + of.n]
            for candidate, (k, j, _) in enumerate(some):
                pulls[0][k * self.draws, candidate, 0, j] = 1.0
            slopes[begin : begin + len(some), self._columns] = self.candidates.pull(pulls)[: len(some)]
        if DELAY in of.space.names:
            slopes[:, of.space.index(DELAY)] = 1.0
        sweeps = np.array([k for k, _, _ in wanted], dtype=int)
        off = np.array([r for _, _, r in wanted])
        return [(off[sweeps == k], slopes[sweeps == k]) for k in range(len(self.group.sweeps))]

    def _distance(self, distance: MeanTrainDistance, times: Array) -> tuple[Array, Array]:
        """Of the trains (draws, candidates, spikes): under noise, and of the last draw, which may be without."""
        alone = 1.0 if self.of.noise is None else self.of.noise.alone
        value, slope = np.zeros(times.shape[1]), np.zeros(times.shape)
        if alone:
            own, by = distance(times[-1], True)
            assert by is not None
            value, slope[-1] = alone * own, alone * by
        if self.of.noise is not None:
            noisy = slice(None, -1 if alone else None)
            between, by = distance.between(times[noisy], True)
            assert by is not None
            value, slope[noisy] = value + between, by
        return value, slope

    def candidates_of(self, rows: Array, gradient: bool) -> None:
        """Simulate candidates that are known to be possible."""
        if not self.observe(rows, gradient).all():
            raise ValueError(f"{self.of.model.name} can't have {self.of.space.named(rows[0])}")

    def _times(self) -> Array:
        """Spike times with the delay, shape (sweeps, draws, candidates, spikes)."""
        times = self._seen[0][:, :, 0] + self.of.delays(self._values)[None, :, None]
        return times.reshape(len(self.group.sweeps), self.draws, *times.shape[1:])

    def _spike_terms(self, k: int, sweep: Sweep, times: Array) -> list[tuple[Array, Array]]:
        """Weighted terms of a sweep: values of the candidates, and derivatives by times (draws, candidates, spikes)."""
        of, terms = self.of, []
        if self.distances and sweep.spikes:
            distance, weight = self.distances[k], of.weights["spikes"]
            if distance is None:  # nothing is recorded: each spike costs 1, wherever it is
                terms.append((weight * np.isfinite(times).sum(axis=-1).mean(axis=0), np.zeros(times.shape)))
            else:
                terms.append(tuple(weight * x for x in self._distance(distance, times)))
        if "intervals" in of.weights and sweep.spikes:
            values, slopes = zip(*(interval_error(t, sweep.spikes, of.settings) for t in times), strict=True)
            weight = of.weights["intervals"] / self.draws
            terms.append((weight * np.sum(values, axis=0), weight * np.stack(slopes)))
        return terms


class _Forced:
    """Models on which recorded spikes are forced: likelihood and voltage."""

    def __init__(self, of: Objective, group: Group, share: float) -> None:
        self.of, self.group, self.share = of, group, share
        r = max(group.repetitions, 1)
        spikes = [[t - of.forced_delay for t in s.spikes] for s in group.sweeps]
        kept = [[t[(t >= 0) & (t < group.duration)] for t in trains] for trains in spikes]
        most = max((len(t) for trains in kept for t in trains), default=0)
        self.times = np.full((len(group.sweeps), r, max(most, 1)), np.inf)
        for k, trains in enumerate(kept):
            for j, train in enumerate(trains):
                self.times[k, j, : len(train)] = train
        self.likelihood = "likelihood" in of.weights
        self.recorded = int(np.isfinite(self.times).sum()) if self.likelihood else 0
        # a sweep may have fewer repetitions than another, or none whose spikes are known
        self._given = np.arange(r) < np.array([len(s.spikes) for s in group.sweeps])[:, None]
        s = of.settings
        reads: list[Observable] = list(ForcedSpikeLikelihood("cells").observes) if self.likelihood else []
        reads = reads or [SpikeTimes("cells")]
        self.voltage = VoltageError(group, s, forced=True) if "voltage" in of.weights else None
        if self.voltage is not None:
            reads.append(Samples("cells", s.variable, s.voltage_interval))
        free = SOFTNESS in of.space.names
        names = (*of.names, *((SOFTNESS,) if free else ()))
        fixed = of.fixed if free or of.softness is None else {**of.fixed, SOFTNESS: of.softness}
        self.candidates = Candidates(
            of.model, names, fixed, group.currents, group.dt, input=of.input, n=of.n, reads=reads, target=of.target,
            forced=self.times,
        )  # fmt: skip
        self._columns = of.columns(names)
        self.count = self.recorded + (0 if self.voltage is None else self.voltage.count)

    def observe(self, values: Array, gradient: bool) -> Array:
        """Simulate candidates; which are possible, and have no recorded spike within a refractory period."""
        seen, possible = self.candidates.observe(values[:, self._columns], gradient)
        self._seen, self._values = seen, values
        if seen:
            at = seen[0]  # sweeps, candidates, repetitions, spikes
            flat = at.reshape(len(at), -1, at.shape[-1])
            late = spiked_late(flat, np.tile(self.times, (1, len(values), 1)))
            possible = possible & ~late.reshape(len(at), len(values), -1).any(axis=(0, 2))
        return possible

    def hazards(self) -> tuple[Array, Array]:
        """Sums of log hazards at spikes, and integrals of the hazard, of the candidates."""
        if not self.likelihood:
            return np.zeros(len(self._values)), np.zeros(len(self._values))
        logs, integral = ((x * self._given[:, None]).sum(axis=(0, 2)) for x in self._seen[1:3])
        return logs, integral

    def loss(self) -> Array:
        """Losses by the voltage of the candidates."""
        if self.voltage is None:
            return np.zeros(len(self._values))
        value, self._by_voltage = self.voltage.evaluate(self._seen[-1])
        weight = self.of.weights["voltage"] * self.share
        self._by_voltage = weight * self._by_voltage
        return weight * value

    def slopes(self, by_log: float, by_integral: Array) -> Array:
        """Derivatives by the values of the candidates, from those by minus the log hazards and by the integrals."""
        pulls = [np.zeros(x.shape) for x in self._seen]
        if self.likelihood:
            given = self._given[:, None]
            pulls[1] = np.where(given, -by_log, 0.0) * np.ones(self._seen[1].shape)
            pulls[2] = np.where(given, by_integral[None, :, None], 0.0)
        if self.voltage is not None:
            pulls[-1] = self._by_voltage
        slopes = np.zeros(self._values.shape)
        slopes[:, self._columns] = self.candidates.pull(pulls)
        return slopes
