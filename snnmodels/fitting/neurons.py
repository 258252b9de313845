"""Many candidates of one model in one compiled pass: neurons of a population, each with parameters of its own.

All get the same current, or in every trial another one (with noise that is added to it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from ..events.engine import SimulationError
from ..gradients.simulation import Simulation
from ..losses.observables import Observable, SpikeTimes
from ..targets import Target
from ..templates.model import Model
from .candidates import driven_network, filled, possible_candidates, runaway_neuron
from .likelihood import SOFTNESS, ForcedSpikeLikelihood, forced_model, spiked_late

__all__ = ["ForcedNeurons", "Neurons", "coarse"]


def coarse(current: np.ndarray, every: int) -> np.ndarray:
    """Means of `every` samples of a current along its last axis: a coarser one that moves the same charge.

    Samples at the end that fill no such step are left out.
    """
    count = current.shape[-1] // every
    return current[..., : count * every].reshape(*current.shape[:-1], count, every).mean(axis=-1)


class _Driven:
    """A population that currents drive, and what it costs."""

    def __init__(
        self,
        model: Model,
        names: Sequence[str],
        fixed: Mapping[str, float],
        currents: np.ndarray,
        dt: float,
        *,
        input: str,
        n: int,
        reads: Any,
        target: Target,
        spikes: np.ndarray | None = None,
    ) -> None:
        self.model, self.names, self.n = model, tuple(names), n
        self._currents = np.atleast_2d(currents)[:, None, :]
        self.duration = dt * self._currents.shape[-1]
        self.simulations = 0
        self._fixed = {name: value for name, value in fixed.items() if name not in self.names}
        self._inputs: dict[str, np.ndarray] = {"current": self._currents}
        if spikes is not None:
            self._inputs["recorded"] = spikes
        network = driven_network(
            model, self.names, self._fixed, n, dt=dt, duration=self.duration, input=input,
            trains=0 if spikes is None else spikes.shape[1],
        )  # fmt: skip
        self.simulation = Simulation(
            network, reads, batch_size=len(self._currents), target=target, input_gradients=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.simulation.close()

    def _possible(self, values: np.ndarray) -> np.ndarray:
        return possible_candidates(self.model, self.names, self._fixed, values)

    def _forward(self, values: np.ndarray, gradient: bool) -> Any:
        """Simulate all neurons, each with a row of values."""
        keyed = {f"cells.{name}": np.ascontiguousarray(values[:, k]) for k, name in enumerate(self.names)}
        return self.simulation.forward(self._inputs, keyed, gradient=gradient)

    def _gradients(self, derivative: Any) -> np.ndarray:
        found = self.simulation.backward(derivative)
        return np.stack([found[f"cells.{name}"] for name in self.names], axis=1)


class Neurons(_Driven):
    """Spike times of many candidates, and derivatives by their parameters.

    Parameters
    ----------
    model : Model
    names : sequence of str
        Free parameters, in the order of a candidate's values.
    fixed : mapping of str to float
        Values of others that are not the model's own, in SI base units.
    currents : array, shape (samples,) or (draws, samples)
        What all candidates get; several are simulated side by side.
    dt : float
        Seconds between samples.
    input : str
        Of the model, that the current drives.
    n : int
        Candidates of one pass; fewer may be given, more go in several passes.
    target : str
        As for `Simulation`.

    Attributes
    ----------
    simulations : int
        Candidates times draws so far.
    """

    def __init__(
        self,
        model: Model,
        names: Sequence[str],
        fixed: Mapping[str, float],
        currents: np.ndarray,
        dt: float,
        *,
        input: str,
        n: int,
        target: Target = "cpp_standalone",
    ) -> None:
        super().__init__(
            model, names, fixed, currents, dt, input=input, n=n, reads=SpikeTimes("cells"), target=target
        )

    def spike_times(self, values: np.ndarray, gradient: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Simulate up to `n` candidates.

        Parameters
        ----------
        values : array, shape (candidates, parameters)
            In SI base units.
        gradient : bool
            Whether `gradients` will follow.

        Returns
        -------
        times : array, shape (draws, candidates, spikes)
            Seconds, ascending, padded with ``inf``.
        possible : bool array, shape (candidates,)
            False for those that break a constraint of the model or have no trajectory: their times are another's.

        Raises
        ------
        ValueError
            For more candidates than `n`, or if none is possible.
        """
        count = len(values)
        if count > self.n:
            raise ValueError(f"{count} candidates for a pass of {self.n}; give as many at most")
        possible = self._possible(values)
        while possible.any():
            rows = filled(values, possible, self.n)
            try:
                times = self._forward(rows, gradient)
            except SimulationError as error:
                # of one neuron, whose states run away: the others are simulated without it
                neuron = runaway_neuron(error)
                if neuron is None or not possible[neuron % count]:
                    raise
                possible[neuron % count] = False
                continue
            self.simulations += count * len(self._currents)
            return times[:, :count], possible
        raise ValueError(f"no candidate has parameters that {self.model.name} can have; choose other bounds")

    def gradients(self, derivative: np.ndarray) -> np.ndarray:
        """Derivatives by the values of the last candidates, shape (candidates, parameters).

        Parameters
        ----------
        derivative : array, shape (draws, candidates, spikes)
            By what `spike_times` returned.
        """
        draws, count, spikes = derivative.shape
        padded = np.zeros((draws, self.n, spikes))
        padded[:, :count] = derivative
        return self._gradients(padded)[:count]


class ForcedNeurons(_Driven):
    """Negative log-likelihood of recorded spikes under many candidates, and its derivatives by their parameters.

    Every candidate is a neuron for each repetition, on which its spikes are forced (`forced_model`). A constant that is
    added to the threshold multiplies the hazard; of all constants the likeliest is taken, so that the value is
    1 - mean ln(lambda ms) + ln(int lambda dt/N), and the constant comes with it.

    Parameters
    ----------
    model : Model
        As it spikes by itself.
    names : sequence of str
        Free parameters; `SOFTNESS` is one more behind them.
    fixed, dt, input, n, target
        As for `Neurons`.
    current : array, shape (samples,)
    trains : sequence of array, shape (spikes,)
        Repetitions, in seconds; spikes after the end of the current are left out.
    delay : float
        What the recording calls a spike comes so much after the model's, in seconds.
    """

    def __init__(
        self,
        model: Model,
        names: Sequence[str],
        fixed: Mapping[str, float],
        current: np.ndarray,
        dt: float,
        trains: Sequence[np.ndarray],
        *,
        input: str,
        n: int = 1,
        delay: float = 0.0,
        target: Target = "cpp_standalone",
    ) -> None:
        end = dt * current.size
        kept = [t[(t >= 0) & (t < end)] for t in (np.asarray(t) - delay for t in trains)]
        self._times = np.full((1, len(kept), max(map(len, kept))), np.inf)
        for k, train in enumerate(kept):
            self._times[0, k, : train.size] = train
        self._spikes = sum(map(len, kept))
        self._repetitions, self.candidates = len(kept), n
        if not self._spikes:
            raise ValueError(f"no recorded spike in the {end:g} s of the current, so that there is no likelihood")
        reads: tuple[Observable, ...] = ForcedSpikeLikelihood("cells").observes
        super().__init__(
            forced_model(model, 1.0), (*names, SOFTNESS), fixed, current, dt, input=input,
            n=n * len(kept), reads=reads, target=target, spikes=self._times,
        )  # fmt: skip
        intervals = np.concatenate([np.diff(t) for t in kept])
        self.shortest = float(intervals.min()) if intervals.size else np.inf

    def evaluate(
        self, values: np.ndarray, gradient: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Likelihoods of up to `n` candidates.

        Parameters
        ----------
        values : array, shape (candidates, parameters + 1)
            In SI base units, the last column for `SOFTNESS`.
        gradient : bool
            Whether derivatives are wanted.

        Returns
        -------
        value : array, shape (candidates,)
            Negative log-likelihood for each recorded spike (hazards in 1/ms); inf where a constraint is broken or a
            recorded spike falls into the refractory period of the one before.
        constant : array, shape (candidates,)
            What has to be added to the threshold, in units of the softness.
        gradient : array, shape (candidates, parameters + 1), or None
        """
        count, r = len(values), self._repetitions
        possible = self._possible(values)
        if not possible.any():
            return np.full(count, np.inf), np.zeros(count), np.zeros(values.shape) if gradient else None
        rows = filled(values, possible, self.candidates)
        spikes, logs, integral = self._forward(np.repeat(rows, r, axis=0), gradient)
        late = spiked_late(spikes, np.tile(self._times, (1, self.candidates, 1)))
        possible &= ~late.reshape(self.candidates, -1).any(axis=1)[:count]
        total = integral[0].reshape(self.candidates, r).sum(axis=1)
        mean = logs[0].reshape(self.candidates, r).sum(axis=1) / self._spikes
        self.simulations += count * r
        constant = np.log(total / self._spikes)
        value = np.where(possible, (1 - mean + constant)[:count], np.inf)
        if not gradient:
            return value, constant[:count], None
        by_log = np.full(logs.shape, -1 / self._spikes)
        by_integral = np.repeat(1 / total, r).reshape(integral.shape)
        found = self._gradients((np.zeros(spikes.shape), by_log, by_integral))
        return value, constant[:count], found.reshape(self.candidates, r, -1).sum(axis=1)[:count]
