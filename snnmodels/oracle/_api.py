"""Trajectory and gradient of a whole network over a batch of trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..losses.base import Loss, evaluated, primitives, shown
from ..losses.integrals import with_integrals
from ..losses.observables import Maxima, Primitive, Samples
from ..templates.network import Network
from ..templates.samples import checked_samples
from ..templates.spike_times import checked_times
from ._backward import BackwardTrial, Pull
from ._flow import Integrator, MatrixExponential, RungeKutta
from ._forward import ArrivalEvent, ReleaseEvent, SpikeEvent, Tape, Trial, pad
from ._maximum import Peak, find_peaks
from ._neurons import Array, Neurons
from ._samples import find_samples
from ._ties import count_ties

Method = Literal["runge-kutta", "matrix-exponential"]


@dataclass(frozen=True)
class Maximum:
    """Maxima over time of a state of the output population, every array of shape (trials, n).

    Attributes
    ----------
    value, time : array
    kind : array of str
        ``"smooth"``, ``"arrival"``, ``"spike"``, ``"start"`` or ``"end"``.
    peaks : array of Peak
        The details, with the spike that makes the kink.
    """

    value: Array
    time: Array
    kind: Array
    peaks: Array


@dataclass(frozen=True)
class Sampled:
    """A state of the output population at given times, arrays of shape (trials, n, k).

    Attributes
    ----------
    value : array
    points : array of Peak
        Where on the tape each is.
    """

    value: Array
    points: Array


@dataclass(frozen=True)
class Trajectory:
    """A network simulated event by event.

    Attributes
    ----------
    spikes : dict of str to array, shape (trials, n, k)
        Spike times in seconds of every population, ascending, padded with inf.
    smallest_gdot : float
        Smallest ġ at a threshold crossing (inf without one): the gradient has a pole at 0.
    at_arrivals, at_releases : int
        Number of spikes that an arrival itself carried across threshold, and that came when a refractory period ended.
    ties : int
        See `count_ties`. Where times are tied by chance, derivatives by them are one-sided.
    """

    network: Network
    spikes: dict[str, Array]
    smallest_gdot: float
    at_arrivals: int
    at_releases: int
    ties: int
    tapes: tuple[Tape, ...]
    neurons: tuple[Neurons, ...]
    integrator: Integrator
    currents: tuple[dict[str, Array], ...]

    def maximum(self, variable: str, population: str = "") -> Maximum:
        """Largest value over time of a state of a population, with its time and kind.

        Parameters
        ----------
        variable : str
            Name of a state.
        population : str
            The output if empty.
        """
        k, state = self._state(variable, population)
        peaks = np.empty((len(self.tapes), self.neurons[k].n), dtype=object)
        for trial, tape in enumerate(self.tapes):
            peaks[trial] = find_peaks(tape, self.integrator, k, state)
        return Maximum(
            value=_each(peaks, lambda p: p.value, float),
            time=_each(peaks, lambda p: p.time, float),
            kind=_each(peaks, lambda p: p.kind, np.dtype("U8")),
            peaks=peaks,
        )

    def samples(self, variable: str, times: Array, population: str = "") -> Sampled:
        """Values of a state of a population at given times, just before an event at that very time.

        Parameters
        ----------
        variable : str
            Name of a state.
        times : array, shape (k,)
            Seconds, positive, not after the end of the trial.
        population : str
            The output if empty.

        Raises
        ------
        ValueError
            For an unknown state, or times outside the trial.
        """
        k, state = self._state(variable, population)
        times, last = np.asarray(times, dtype=float), self.network.duration
        if times.ndim != 1 or not times.size or not ((times > 0) & (times <= last * (1 + 1e-12))).all():
            raise ValueError(f"sample times: expected one or more times after 0 and up to {last:g} s, got {times}")
        points = np.empty((len(self.tapes), self.neurons[k].n, times.size), dtype=object)
        for trial, tape in enumerate(self.tapes):
            points[trial] = find_samples(tape, self.integrator, k, state, times)
        return Sampled(np.array([p.value for p in points.ravel()]).reshape(points.shape), points)

    def _state(self, variable: str, population: str) -> tuple[int, int]:
        """Indices of a population and of one of its states."""
        k = [q.name for q in self.neurons].index(population or self.network.output)
        q = self.neurons[k]
        if variable not in q.states:
            raise ValueError(f"population {q.name!r} has no state {variable!r}; it has {', '.join(q.states)}")
        return k, q.states.index(variable)

    def gdot(self) -> Array:
        """ġ of every threshold crossing of every trial, shape (n_crossings,)."""
        return np.array(
            [e.gdot for t in self.tapes for e in t.entries if isinstance(e, SpikeEvent) and e.cause is None]
        )


@dataclass(frozen=True)
class OracleGradient:
    """Loss and exact gradients.

    Attributes
    ----------
    loss : float
    gradients : dict of str to array
        ``"<projection>.w"``, ``"<projection>.delay"``, ``"<drive>.w"`` and ``"<population>.<parameter>"`` for
        everything learnable, shaped as in `Network.trainable`, and ``"<input>.times"`` and ``"<input>.samples"``
        shaped as the input, 0 where there is no spike.
    spikes : dict of str to array, shape (trials, n, k)
    smallest_gdot : float
        Smallest ġ at a threshold crossing.
    flat_spikes : int
        Number of crossings with ġ below the bound: there the gradient is large and soon has no meaning.
    simulation : Trajectory
    """

    loss: float
    gradients: dict[str, Array]
    spikes: dict[str, Array]
    smallest_gdot: float
    flat_spikes: int
    simulation: Trajectory


def simulate(network: Network, inputs: Mapping[str, Array], *, method: Method = "runge-kutta") -> Trajectory:
    """Simulate a network event by event.

    Parameters
    ----------
    network : Network
    inputs : mapping of str to array
        Spike times of every input in seconds, ascending, padded with inf, shape (trials, n) or (trials, n, k); samples
        of every current, shape (trials, n, samples), (n, samples) or (samples,).
    method : {"runge-kutta", "matrix-exponential"}
        The second is exact and only for models whose f is affine in the states, without currents.

    Raises
    ------
    ValueError
        For inputs that do not fit the network, or a neuron that a reset leaves above its threshold.
    RuntimeError
        For a neuron that would spike twice at one instant, as the cascade of spikes without delay does not end.
    """
    neurons = [Neurons(q, _driven(network, q.name)) for q in network.populations]
    times, samples = _check_inputs(network, inputs)
    integrator = _integrator(neurons, method)
    tapes = []
    for given, currents in zip(times, samples, strict=True):
        tapes.append(Trial(network, neurons, integrator, given, currents).run())
    events = [e for tape in tapes for e in tape.entries if isinstance(e, SpikeEvent)]
    spikes = {q.name: pad([t.spikes for t in tapes], k, q.n) for k, q in enumerate(neurons)}
    return Trajectory(
        network=network,
        spikes=spikes,
        smallest_gdot=min((e.gdot for e in events if e.cause is None), default=np.inf),
        at_arrivals=sum(isinstance(e.cause, ArrivalEvent) for e in events),
        at_releases=sum(isinstance(e.cause, ReleaseEvent) for e in events),
        ties=count_ties(network, spikes | {s.name: np.stack([t[s.name] for t in times]) for s in network.inputs}),
        tapes=tuple(tapes),
        neurons=tuple(neurons),
        integrator=integrator,
        currents=tuple(samples),
    )


def gradient(
    network: Network,
    inputs: Mapping[str, Array],
    loss: Loss,
    targets: Any,
    *,
    method: Method = "runge-kutta",
    flat: float | None = None,
) -> OracleGradient:
    """Loss and its exact gradient by the event-driven adjoint.

    Parameters
    ----------
    network, inputs, method
        As for `simulate`.
    loss : Loss
        It may read spike times, maxima, samples and integrals of any populations.
    targets : Any
        Passed to the loss.
    flat : float or None
        Crossings with ġ below this bound are counted; by default a millionth of the largest ġ met.

    Raises
    ------
    ValueError
        As `simulate`, and where the gradient does not exist: a crossing with ġ = 0, or a loss with a derivative by a
        spike that is not there.
    """
    loss = loss.for_network(network)
    loss.check(network)
    if loss.no_gradient:
        raise ValueError(loss.no_gradient)
    network = with_integrals(network, loss.observables)
    simulation = simulate(network, inputs, method=method)
    neurons = list(simulation.neurons)
    seen = [_see(simulation, watched) for watched in primitives(loss.observables, network)]
    read = tuple(o.read(values) for o, (values, _) in zip(loss.observables, seen, strict=True))
    value, derivatives = evaluated(loss, shown(loss, read), targets)
    errors = []
    for o, (values, _), derivative in zip(loss.observables, seen, derivatives, strict=True):
        errors.append(np.asarray(o.pull(values, np.asarray(derivative, dtype=float)), dtype=float))
        _check_errors(values, errors[-1])
    gdot = simulation.gdot()
    if not np.all(gdot > 0):
        raise ValueError(f"a membrane potential touches its threshold (ġ = {gdot.min():.3g}): the gradient has a pole")

    totals = _zeros(network, inputs)
    for trial, tape in enumerate(simulation.tapes):
        pulls: list[Pull] = []
        dl_dt: dict[int, Array] = {}
        for watched, (_, points), error in zip(primitives(loss.observables, network), seen, errors, strict=True):
            k = [q.name for q in neurons].index(watched.population)
            if isinstance(watched, Maxima | Samples):
                state = neurons[k].states.index(watched.variable)
                each = error[trial].reshape(points[trial].shape)
                pulls += [Pull(p, k, state, j, each[j, m]) for (j, m), p in np.ndenumerate(points[trial])]
            else:
                dl_dt[k] = dl_dt.get(k, 0.0) + error[trial]
        samples = simulation.currents[trial]
        back = BackwardTrial(network, neurons, simulation.integrator, tape, dl_dt, pulls, samples)
        back.run()
        _add_trial(totals, network, neurons, back, trial)
    bound = flat if flat is not None else 1e-6 * float(gdot.max(initial=0.0))
    return OracleGradient(
        loss=float(value.value),
        gradients=totals,
        spikes=simulation.spikes,
        smallest_gdot=simulation.smallest_gdot,
        flat_spikes=int((gdot < bound).sum()),
        simulation=simulation,
    )


def _see(simulation: Trajectory, watched: Primitive) -> tuple[Array, Array]:
    """What a loss reads, and for a state the points of the tape at which it reads it."""
    if isinstance(watched, Maxima):
        maximum = simulation.maximum(watched.variable, watched.population)
        return maximum.value, maximum.peaks[..., None]
    if isinstance(watched, Samples):
        count = int(simulation.network.duration / watched.interval + 1e-9)
        times = np.arange(1, count + 1) * watched.interval
        samples = simulation.samples(watched.variable, times, watched.population)
        return samples.value, samples.points
    return simulation.spikes[watched.population], np.empty(0)


def _each(peaks: Array, read: Any, dtype: Any) -> Array:
    return np.array([[read(p) for p in row] for row in peaks], dtype=dtype).reshape(peaks.shape)


def _integrator(neurons: list[Neurons], method: str) -> Integrator:
    if method == "runge-kutta":
        return RungeKutta(neurons)
    if method != "matrix-exponential":
        raise ValueError(f"method {method!r} is neither 'runge-kutta' nor 'matrix-exponential'")
    for q in neurons:
        if q.driven:
            raise ValueError(f"population {q.name!r}: currents drive it; use method='runge-kutta'")
        if not q.dynamics.system.is_linear:
            raise ValueError(f"population {q.name!r}: its equations are not linear; use method='runge-kutta'")
    return MatrixExponential(neurons)


def _driven(network: Network, population: str) -> tuple[str, ...]:
    """Inputs of a population's model that currents drive."""
    return tuple(sorted({d.input for d in network.drives if d.target == population}))


Trials = list[dict[str, Array]]


def _check_inputs(network: Network, inputs: Mapping[str, Array]) -> tuple[Trials, Trials]:
    """By trial, spike times as (n, k) and samples of currents as (n, samples), checked."""
    names = {i.name for i in network.inputs} | {c.name for c in network.currents}
    if set(inputs) != names:
        raise ValueError(f"network {network.name!r} takes the inputs {sorted(names)}, not {sorted(inputs)}")
    result = {
        spec.name: checked_times(inputs[spec.name], f"input {spec.name!r}", spec.n, None, network.duration)
        for spec in network.inputs
    }
    samples = {c.name: checked_samples(inputs[c.name], c, None, network.duration) for c in network.currents}
    trials = {name: len(t) for name, t in result.items()}
    trials |= {name: len(s) for name, s in samples.items() if np.ndim(inputs[name]) == 3}
    if len(set(trials.values())) > 1:
        raise ValueError(f"inputs differ in their number of trials: {trials}")
    n = max(trials.values(), default=1)
    sizes = {c.name: (n, c.n, samples[c.name].shape[2]) for c in network.currents}
    wide = {name: np.broadcast_to(s, sizes[name]) for name, s in samples.items()}

    def by_trial(table: dict[str, Array]) -> Trials:
        return [{name: values[m] for name, values in table.items()} for m in range(n)]

    return by_trial(result), by_trial(wide)


def _check_errors(observed: Array, errors: Array) -> None:
    if errors.shape != observed.shape:
        raise ValueError(f"the gradient of the loss has shape {errors.shape}, the observed values {observed.shape}")
    if not np.isfinite(errors).all():
        raise ValueError("the gradient of the loss is not finite")
    if (errors[~np.isfinite(observed)] != 0).any():
        raise ValueError("the loss has a derivative by the time of a spike that is not there")


def _zeros(network: Network, inputs: Mapping[str, Array]) -> dict[str, Array]:
    totals = {key: np.zeros(value.shape) for key, value in network.trainable().items()}
    currents = {c.name for c in network.currents}
    for name, given in inputs.items():
        totals[f"{name}.samples" if name in currents else f"{name}.times"] = np.zeros(np.shape(given))
    return totals


def _add_trial(
    totals: dict[str, Array], network: Network, neurons: list[Neurons], back: BackwardTrial, trial: int
) -> None:
    found = {f"{p.name}.w": g for p, g in zip(network.projections, back.weights, strict=True)}
    found |= {f"{p.name}.delay": g for p, g in zip(network.projections, back.delays, strict=True)}
    found |= {f"{name}.w": g for name, g in back.currents.weights.items()}
    for q, table in zip(neurons, back.parameters, strict=True):
        found |= {f"{q.name}.{name}": g for name, g in table.items()}
    for key, g in found.items():
        if key in totals:
            # one number for all of a projection or population: what each would get, together
            totals[key] = totals[key] + (g if totals[key].shape else g.sum())
    for name, g in back.currents.samples.items():
        to = totals[f"{name}.samples"]
        if to.ndim == 3:
            to[trial] += g
        else:
            to += g if to.ndim == 2 else g.sum(axis=0)
    inputs = {i.name for i in network.inputs}
    for source, value in back.sensitivity.items():
        if source.name in inputs:
            times = totals[f"{source.name}.times"]
            at = (trial, source.neuron) if times.ndim == 2 else (trial, source.neuron, source.index)
            times[at] = value


__all__ = ["Maximum", "Method", "OracleGradient", "Peak", "Sampled", "Trajectory", "gradient", "simulate"]
