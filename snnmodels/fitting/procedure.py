"""The fit of a spiking model to the spikes of a neuron that was recorded several times with one current.

The loss on spike times is a staircase: it jumps where a spike of the model appears or vanishes, and few of its minima
are good. So the fit goes from what is smooth to what is wanted:

1. the likelihood of the recorded spikes, forced on the model, by L-BFGS on its exact gradient from several refractory
   periods (where the model has one: a neuron whose potential runs away without its own spikes has none);
2. a scan of the deterministic threshold, below the likelihood's soft one;
3. differential evolution of a population, partly around that and partly anywhere, on the distance to the mean of the
   repetitions, with a wide kernel and then the final one;
4. the same from its best, on the distance averaged over frozen noise currents, plus a share of the likelihood;
5. a polish of the best by clipped steps along the exact gradient of that;
6. the choice among what these stages found by the distance averaged over other noise. Another part of the recording is
   left to the choice among models: its distance comes with the result.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import minimize

from ..events.engine import SimulationError
from ..targets import Target
from ..templates.model import Model
from .likelihood import SOFTNESS
from .neurons import ForcedNeurons, Neurons, coarse
from .noise import frozen_noise
from .recording import Recording
from .search import Losses, evolve
from .space import DELAY, Bounds, Space
from .trains import MeanTrainDistance

__all__ = ["Repetitions", "Settings", "SpikeTrainFit", "fit_spike_trains"]


@dataclass(frozen=True)
class Repetitions:
    """Spike trains of one neuron that got one current several times, and which part is for what.

    Attributes
    ----------
    current : array, shape (samples,)
        In SI units; sample k holds from k dt to (k + 1) dt.
    dt : float
        Seconds.
    trains : sequence of array, shape (spikes,)
        Ascending times in seconds from the current's start.
    fitted : float
        Where the part that is fitted ends, in seconds; it begins with the current.
    validated : float
        Where the part that no stage has seen ends, in seconds; it begins where the other ends.
    """

    current: np.ndarray
    dt: float
    trains: Sequence[np.ndarray]
    fitted: float
    validated: float

    def __post_init__(self) -> None:
        end = self.dt * len(self.current)
        if not np.isfinite(self.current).all():
            raise ValueError(f"the current has {np.sum(~np.isfinite(self.current))} samples that are NaN or inf")
        if not 0 < self.fitted < self.validated <= end * (1 + 1e-9):
            raise ValueError(
                f"the fitted part ends at {self.fitted:g} s and the validated one at {self.validated:g} s; expected "
                f"the latter later, and neither after the current's {end:g} s"
            )
        for k, train in enumerate(self.trains):
            if not np.isfinite(train).all() or (np.diff(train) <= 0).any() or (len(train) and train[0] < 0):
                raise ValueError(f"repetition {k}: spike times must be finite, ascending and not negative, in seconds")
            if len(train) and train[-1] > end:
                raise ValueError(
                    f"repetition {k} has a spike at {train[-1]:g} s, after the current's {end:g} s; give times in "
                    "seconds from the start of the current"
                )


    @classmethod
    def of(cls, recording: Recording, fitted: float, validated: float) -> Repetitions:
        """The repetitions of a recording with one sweep.

        Parameters
        ----------
        recording : Recording
        fitted, validated : float
            See above.

        Raises
        ------
        ValueError
            If it has several sweeps, or no spikes were given.
        """
        if len(recording.sweeps) != 1:
            raise ValueError(
                f"the recording has {len(recording.sweeps)} sweeps; expected one, whose current was given several times"
            )
        (sweep,) = recording.sweeps
        if not sweep.spikes:
            raise ValueError("the recording has no spikes; give them, or let `crossings` find them in the voltage")
        return cls(sweep.current, sweep.dt, sweep.spikes, fitted, validated)


@dataclass(frozen=True)
class Settings:
    """How much is searched.

    Attributes
    ----------
    candidates : int
        Of the population, in one pass.
    every : int
        Samples of the current that make one of the search, and half a one of likelihoods; what is reported uses all.
    kernels : tuple of (float, int)
        Time constants of the van Rossum distance in seconds, and generations with each; the last is the final one.
    draws, noise_std, noise_tau : int, float, float
        Of the frozen noise, the silent one included; see `frozen_noise`. `noise_std` in the current's unit.
    noise_generations : int
    likelihood : float
        Weight of the likelihood beside the noise-averaged distance.
    repetitions : int
        Of those that the likelihood in the population is of.
    refractory : tuple of float
        Refractory periods in seconds from which the likelihood is fitted.
    polish : int
        Steps along the gradient.
    seed : int
    """

    candidates: int = 64
    every: int = 5
    kernels: tuple[tuple[float, int], ...] = ((25e-3, 30), (8e-3, 25))
    draws: int = 8
    noise_std: float = 8e-12
    noise_tau: float = 3e-3
    noise_generations: int = 20
    likelihood: float = 0.3
    repetitions: int = 2
    refractory: tuple[float, ...] = (5e-3, 7.5e-3)
    polish: int = 12
    seed: int = 0

    @property
    def tau(self) -> float:
        """Time constant of the final distance."""
        return self.kernels[-1][0]


@dataclass(frozen=True)
class SpikeTrainFit:
    """What a fit found.

    Attributes
    ----------
    values : dict of str to float
        Parameters of the model that were free, in SI base units.
    delay : float
        Of the recorded spike behind the model's, in seconds.
    stage : str
        Which stage found them.
    losses : dict of str to float
        ``"fitted"`` and ``"validated"``: distance of the model without noise; ``"fitted, averaged"`` and
        ``"validated, averaged"``: over noise that no stage has seen.
    finalists : tuple of dict
        Of every stage: its name, values, delay and these losses.
    simulations : int
        Of the fitted part: candidates times noise currents, and for likelihoods times repetitions.
    seconds, cpu_seconds : float
        Of the fit, compilation included; CPU time of this process and the compiled program.
    """

    values: dict[str, float]
    delay: float
    stage: str
    losses: dict[str, float]
    finalists: tuple[dict[str, Any], ...]
    simulations: int
    seconds: float
    cpu_seconds: float
    space: Space = field(repr=False)

    @property
    def at_bounds(self) -> tuple[str, ...]:
        """Free parameters that ended within a hundredth of their range from a bound: the data may want them beyond."""
        place = self.space.placed({**self.values, DELAY: self.delay})
        return tuple(n for n, x in zip(self.space.names, place, strict=True) if min(x, 1 - x) < 0.01)


def fit_spike_trains(
    model: Model,
    data: Repetitions,
    free: Mapping[str, Bounds],
    fixed: Mapping[str, float],
    *,
    input: str = "I_syn",
    threshold: str = "v_th",
    likelihood: bool = True,
    start: Mapping[str, float] | None = None,
    settings: Settings | None = None,
    target: Target = "cpp_standalone",
    tell: Callable[[str], None] = lambda line: None,
) -> SpikeTrainFit:
    """Fit a model to recorded spike trains, as the module's head says.

    Parameters
    ----------
    model : Model
    data : Repetitions
    free : mapping of str to Bounds
        Parameters of the model, and `DELAY`.
    fixed : mapping of str to float
        Values of others that are not the model's own, in SI base units. Where spike times alone are fitted, a unit of
        the potential and its zero have to be: spikes don't tell them.
    input : str
        Of the model, that the current drives.
    threshold : str
        The free parameter by which the base threshold is scanned.
    likelihood : bool
        Whether forced spikes are used: not for a model whose potential runs away before it spikes.
    start : mapping of str to float, optional
        Values around which a part of the first population is drawn, where there is no likelihood.
    settings : Settings, optional
    target : str
        As for `Simulation`.
    tell : callable
        Is told a line after every stage.

    Returns
    -------
    SpikeTrainFit

    Raises
    ------
    ValueError
        If `free` has no `DELAY`, or names that the model doesn't have.
    """
    chosen = settings or Settings()
    return _Fit(model, data, free, fixed, input, threshold, likelihood, start, chosen, target, tell).run()


class _Fit:
    """One run of the procedure."""

    def __init__(
        self,
        model: Model,
        data: Repetitions,
        free: Mapping[str, Bounds],
        fixed: Mapping[str, float],
        input: str,
        threshold: str,
        likelihood: bool,
        start: Mapping[str, float] | None,
        settings: Settings,
        target: Target,
        tell: Callable[[str], None],
    ) -> None:
        if DELAY not in free:
            raise ValueError(f"free has no {DELAY!r}; give its Bounds, in seconds")
        for name in (*free, *fixed):
            if name != DELAY and name not in model.parameters:
                raise ValueError(model.no_parameter(name))
        self.model, self.data, self.fixed, self.settings = model, data, dict(fixed), settings
        self.input, self.threshold, self.start, self.target, self.tell = input, threshold, start, target, tell
        self.names = tuple(n for n in free if n != DELAY)
        self.space = Space({**{n: free[n] for n in self.names}, DELAY: free[DELAY]})
        self.likely = likelihood and settings.likelihood > 0
        self.rng = np.random.default_rng(settings.seed)
        self.simulations = 0
        self.finalists: list[tuple[str, np.ndarray]] = []
        self.current = data.current[: round(data.fitted / data.dt)]
        self.dt = data.dt * settings.every
        self.softness = 0.0

    def run(self) -> SpikeTrainFit:
        """All stages."""
        began, cpu = time.perf_counter(), _cpu_seconds()
        centre = self.space.placed(self.start) if self.start else None
        if self.likely:
            centre = self._likeliest()
        places = self._deterministic(centre)
        self._averaged(places)
        finalists = self._judged()
        # by noise that no stage has seen; the validated part is left to the choice among models
        best = min(finalists, key=lambda f: f["losses"]["fitted, averaged"])
        return SpikeTrainFit(
            best["values"], best["delay"], best["stage"], best["losses"], tuple(finalists), self.simulations,
            time.perf_counter() - began, _cpu_seconds() - cpu, self.space,
        )  # fmt: skip

    # --- stages ---------------------------------------------------------------------------------------------------

    def _likeliest(self) -> np.ndarray:
        """The maximum of the likelihood, with the deterministic threshold and the delay that fit the spike times."""
        delay = self.space.values(np.full(len(self.space), 0.5))[-1]
        unit = self.space.bounds[self.threshold]
        soft = Space({**{n: self.space.bounds[n] for n in self.names}, SOFTNESS: _softness(unit)})
        with self._forced(1, 8, delay) as forced:

            def objective(place: np.ndarray) -> tuple[float, np.ndarray]:
                value, _, slope = forced.evaluate(soft.values(place)[None], gradient=True)
                assert slope is not None
                return (float(value[0]), slope[0] * soft.slopes(place)) if np.isfinite(value[0]) else (1e3, 0 * place)

            found = []
            for period in self.settings.refractory if "t_ref" in self.names else (0.0,):
                first = soft.placed({"t_ref": min(period, forced.shortest * 0.99)})
                bounds = [(0.0, 1.0)] * len(soft)
                if "t_ref" in self.names:
                    most = soft.placed({"t_ref": forced.shortest * 0.999})[soft.index("t_ref")]
                    bounds[soft.index("t_ref")] = (0.0, float(most))
                options = {"maxiter": 30, "ftol": 1e-5}
                found.append(minimize(objective, first, jac=True, method="L-BFGS-B", bounds=bounds, options=options))
            best = min(found, key=lambda r: r.fun)
            constant = forced.evaluate(soft.values(best.x)[None])[1][0]
            self.simulations += forced.simulations
        values = soft.named(best.x)
        self.softness = values.pop(SOFTNESS)
        high = values[self.threshold] + constant * self.softness
        line = ", ".join(f"{r.fun:.4f}" for r in found)
        self.tell(f"likelihood: {line} nats per spike; softness {self.softness:.3g}")
        # the deterministic threshold lies lower, as without noise nothing lifts the potential over it
        n = self.settings.candidates
        shifts = np.linspace(-5.0, 1.0, n) * self.softness
        rows = np.array([[{**values, self.threshold: high + s}[name] for name in self.names] for s in shifts])
        rows = np.clip(rows, *np.array([[b.low, b.high] for b in map(self.space.bounds.get, self.names) if b]).T)
        distance = self._distance(self.settings.kernels[0][0])
        with self._neurons(self.current) as neurons:
            times, possible = neurons.spike_times(rows)
            self.simulations += neurons.simulations
        delays = np.linspace(*_ends(self.space.bounds[DELAY]), 21)
        losses = np.array([np.where(possible, distance(times[0] + d)[0], np.inf) for d in delays])
        d, k = np.unravel_index(np.argmin(losses), losses.shape)
        place = np.clip(self.space.places(np.append(rows[k], delays[d])), 0, 1)
        below = -shifts[k] / self.softness
        self.tell(f"threshold {below:.2f} softnesses below the soft one, delay {delays[d] * 1e3:.2f} ms")
        self.finalists.append(("likelihood", place))
        return place

    def _deterministic(self, centre: np.ndarray | None) -> np.ndarray:
        """The population after the search without noise, best first."""
        n, k = self.settings.candidates, len(self.space)
        places = self.rng.random((n, k))
        if centre is not None:
            places[: n // 2] = np.clip(centre + 0.1 * self.rng.normal(size=(n // 2, k)), 0, 1)
            places[0] = centre
        losses = np.zeros(n)
        with self._neurons(self.current) as neurons:
            for number, (tau, generations) in enumerate(self.settings.kernels):
                objective = self._on(neurons, tau)
                places, losses = evolve(objective, places, generations, self.rng, greed=0.8 if number else 0.5)
                self.tell(f"distance at {tau * 1e3:g} ms: {losses.min():.4f}")
            self.simulations += neurons.simulations
        places = places[np.argsort(losses)]
        self.finalists.append(("deterministic", places[0]))
        return places

    def _averaged(self, places: np.ndarray) -> None:
        """The search with noise from the best of a population, and the polish."""
        s, n = self.settings, len(places)
        noise = frozen_noise(
            s.draws, len(self.current) // s.every, self.dt, std=s.noise_std, tau=s.noise_tau, seed=s.seed + 1
        )
        best = places[: n // 4]
        near = best[self.rng.integers(0, len(best), n)] + 0.03 * self.rng.normal(size=places.shape)
        near[: len(best)] = best
        if self.likely:
            soft = _softness(self.space.bounds[self.threshold])
            place = Space({SOFTNESS: soft}).placed({SOFTNESS: self.softness})
            near = np.hstack([near, np.clip(place + 0.05 * self.rng.normal(size=(n, 1)), 0, 1)])
        near = np.clip(near, 0, 1)
        with self._neurons(coarse(self.current, s.every) + noise, every=1) as neurons:
            distance = self._on(neurons, s.tau)
            if not self.likely:
                found, losses = evolve(distance, near, s.noise_generations, self.rng)
            else:
                with self._forced(8, s.repetitions, self._delay()) as forced:
                    objective = self._with_likelihood(distance, forced)
                    found, losses = evolve(objective, near, s.noise_generations, self.rng)
                    self.simulations += forced.simulations
            self.simulations += neurons.simulations
        found = found[np.argsort(losses)]
        self.tell(f"averaged over noise{' with the likelihood' * self.likely}: {losses.min():.4f}")
        self.finalists.append(("averaged", found[0, : len(self.space)]))
        # the middle of what is left of the population: where the loss is flat, further from its edges
        self.finalists.append(("averaged, middle", found[: n // 2, : len(self.space)].mean(axis=0)))
        if s.polish:
            self._polish(found[:8], noise)

    def _polish(self, places: np.ndarray, noise: np.ndarray) -> None:
        """Adam's steps of some candidates side by side along clipped exact gradients of the averaged loss."""
        s, k, n = self.settings, len(self.space), len(places)
        x, best, least = places.copy(), places[0], np.inf
        moment, square = np.zeros(x.shape), np.zeros(x.shape)
        distance = self._distance(s.tau)
        with self._neurons(coarse(self.current, s.every) + noise, every=1, n=n) as neurons:
            forced = self._forced(n, s.repetitions, self._delay()) if self.likely else None
            for step in range(s.polish):
                try:
                    loss, slope = self._slopes(neurons, distance, x[:, :k])
                except SimulationError as error:
                    # a gradient that is not finite: what the steps before have found is kept
                    self.tell(f"polish ends before step {step + 1}: {error}")
                    break
                slope = np.hstack([slope, np.zeros((n, x.shape[1] - k))])
                if forced is not None:
                    value, rise = self._likelihoods(forced, x, gradient=True)
                    assert rise is not None
                    loss, slope = loss + s.likelihood * value, slope + s.likelihood * rise
                if loss.min() < least:
                    least, best = loss.min(), x[np.argmin(loss)].copy()
                moment, square = 0.8 * moment + 0.2 * slope, 0.95 * square + 0.05 * slope**2
                rate = moment / (1 - 0.8 ** (step + 1)) / (np.sqrt(square / (1 - 0.95 ** (step + 1))) + 1e-12)
                x = np.clip(x - 2e-3 * rate, 0, 1)
            self.simulations += neurons.simulations
            if forced is not None:
                self.simulations += forced.simulations
                forced.simulation.close()
        if np.isfinite(least):
            self.tell(f"polished: {least:.4f}")
            self.finalists.append(("polished", best[:k]))

    def _judged(self) -> list[dict[str, Any]]:
        """Losses of all finalists, with every sample of the current, on both parts."""
        s, data = self.settings, self.data
        current = data.current[: round(data.validated / data.dt)]
        rows = self.space.values(np.array([place for _, place in self.finalists]))
        noise = frozen_noise(12, len(current), data.dt, std=s.noise_std, tau=s.noise_tau, seed=s.seed + 2, silent=False)
        parts = {"fitted": (0.0, data.fitted), "validated": (data.fitted, data.validated)}
        out: list[dict[str, Any]] = [
            {"stage": stage, "values": dict(zip(self.names, row[:-1].tolist(), strict=True)), "delay": float(row[-1])}
            for (stage, _), row in zip(self.finalists, rows, strict=True)
        ]
        for what, currents in (("", current[None]), (", averaged", current + noise)):
            with self._neurons(currents, every=1, n=len(rows), dt=data.dt) as neurons:
                times, _ = neurons.spike_times(rows[:, :-1])
            for part, ends in parts.items():
                found = MeanTrainDistance(data.trains, s.tau, *ends)(times + rows[:, -1:])[0].mean(axis=0)
                for each, loss in zip(out, found.tolist(), strict=True):
                    each.setdefault("losses", {})[part + what] = loss
        for each in out:
            told = ", ".join(f"{name} {loss:.4f}" for name, loss in each["losses"].items())
            self.tell(f"{each['stage']}: {told}")
        return out

    # --- objectives -----------------------------------------------------------------------------------------------

    def _neurons(
        self, current: np.ndarray, every: int | None = None, n: int | None = None, dt: float | None = None
    ) -> Neurons:
        given = coarse(current, self.settings.every) if every is None else current
        return Neurons(
            self.model, self.names, self.fixed, given, self.dt if dt is None else dt, input=self.input,
            n=n or self.settings.candidates, target=self.target,
        )  # fmt: skip

    def _forced(self, n: int, repetitions: int, delay: float) -> ForcedNeurons:
        kept = np.linspace(0, len(self.data.trains) - 1, min(repetitions, len(self.data.trains))).round().astype(int)
        return ForcedNeurons(
            self.model, self.names, self.fixed, coarse(self.current, 2 * self.settings.every), 2 * self.dt,
            [self.data.trains[k] for k in kept], input=self.input, n=n, delay=delay, target=self.target,
        )  # fmt: skip

    def _delay(self) -> float:
        """The delay of the best candidate so far, which the likelihood takes for all."""
        return float(self.space.values(self.finalists[-1][1])[-1])

    def _distance(self, tau: float) -> MeanTrainDistance:
        return MeanTrainDistance(self.data.trains, tau, 0.0, self.data.fitted)

    def _on(self, neurons: Neurons, tau: float) -> Losses:
        """The distance of places, averaged over the currents."""
        distance = self._distance(tau)

        def objective(places: np.ndarray, limits: np.ndarray) -> np.ndarray:
            values = self.space.values(places)
            times, possible = neurons.spike_times(values[:, :-1])
            return np.where(possible, distance(times + values[:, -1:])[0].mean(axis=0), np.inf)

        return objective

    def _with_likelihood(self, distance: Losses, forced: ForcedNeurons) -> Losses:
        """A distance and a share of the likelihood, of places with a softness behind them.

        Forced spikes cost more than free ones: they are simulated for those alone that will be below their limits if
        they are not likelier than all before by more than a twentieth of a nat per spike.
        """
        least = np.inf

        def objective(places: np.ndarray, limits: np.ndarray) -> np.ndarray:
            nonlocal least
            losses = distance(places[:, :-1], limits)
            bound = self.settings.likelihood * (least - 0.05) if np.isfinite(least) else -np.inf
            open_ones = np.flatnonzero(np.isfinite(losses) & (losses + bound < limits))
            likely = np.full(len(places), np.inf)
            for some in np.array_split(open_ones, -(-len(open_ones) // forced.candidates) or 1):
                if len(some):
                    likely[some] = self._likelihoods(forced, places[some])[0]
            least = min(least, likely.min())
            return losses + self.settings.likelihood * likely

        return objective

    def _slopes(
        self, neurons: Neurons, distance: MeanTrainDistance, places: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The averaged distance and its derivatives by the places; those of a spike are clipped to the others' size."""
        values = self.space.values(places)
        times, possible = neurons.spike_times(values[:, :-1], gradient=True)
        loss, by_time = distance(times + values[:, -1:], gradient=True)
        assert by_time is not None
        by_time /= len(times)
        slope = np.hstack([neurons.gradients(by_time), by_time.sum(axis=(0, 2))[:, None]])
        return np.where(possible, loss.mean(axis=0), np.inf), slope * self.space.slopes(places)

    def _likelihoods(
        self, forced: ForcedNeurons, x: np.ndarray, gradient: bool = False
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Likelihoods of places with a softness behind them; their derivatives, of which the delay has none."""
        softness = _softness(self.space.bounds[self.threshold])
        soft = Space({**{n: self.space.bounds[n] for n in self.names}, SOFTNESS: softness})
        places = np.delete(x, len(self.names), axis=1)
        value, _, slope = forced.evaluate(soft.values(places), gradient)
        if slope is None:
            return value, None
        return value, np.insert(slope * soft.slopes(places), len(self.names), 0.0, axis=1)


def _softness(threshold: Bounds) -> Bounds:
    """Bounds of the softness: from a fiftieth of the threshold's range to a third."""
    width = threshold.high - threshold.low
    return Bounds(width / 50, width / 3, log=True)


def _ends(bounds: Bounds) -> tuple[float, float]:
    return bounds.low, bounds.high


def _cpu_seconds() -> float:
    """Of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)
