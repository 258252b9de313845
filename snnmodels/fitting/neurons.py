"""Many candidates of one model in one compiled pass: neurons of a population, each with parameters of its own.

All get the same current, or in every trial another one (of another sweep, or with noise that is added to it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from ..events.engine import SimulationError
from ..gradients.simulation import Simulation
from ..losses.observables import Observable, SpikeTimes
from ..targets import Target
from ..templates.model import Model
from .candidates import driven_network, filled, possible_candidates
from .likelihood import forced_model

__all__ = ["Candidates", "Neurons"]

Array = np.ndarray


class Candidates:
    """What is read of many candidates, and derivatives by their parameters.

    Parameters
    ----------
    model : Model
        As it spikes by itself.
    names : sequence of str
        Free parameters, in the order of a candidate's values; `SOFTNESS` may be one where spikes are forced.
    fixed : mapping of str to float
        Values of others that are not the model's own, in SI base units.
    currents : array, shape (samples,) or (trials, samples)
        What all candidates get; several are simulated side by side.
    dt : float
        Seconds between samples.
    input : str
        Of the model, that the current drives.
    n : int
        Candidates of one pass; fewer may be given.
    reads : sequence of Observable
        Of the population ``"cells"``.
    target : str
        As for `Simulation`.
    forced : array, shape (trials, repetitions, spikes), optional
        Recorded spikes in seconds, padded with ``inf``, that are forced on the model (`forced_model`): each candidate
        is then a neuron for each repetition.

    Attributes
    ----------
    simulations : int
        Candidates times trials times repetitions so far.
    """

    def __init__(
        self,
        model: Model,
        names: Sequence[str],
        fixed: Mapping[str, float],
        currents: Array,
        dt: float,
        *,
        input: str,
        n: int,
        reads: Sequence[Observable],
        target: Target = "cpp_standalone",
        forced: Array | None = None,
    ) -> None:
        self.model = model if forced is None else forced_model(model, 1.0)
        self.names, self.n, self.simulations = tuple(names), n, 0
        self.repetitions = 1 if forced is None else forced.shape[1]
        given = np.atleast_2d(currents)[:, None, :]
        self.trials = len(given)
        self._fixed = {name: value for name, value in fixed.items() if name not in self.names}
        self._inputs: dict[str, Array] = {"current": given} | ({} if forced is None else {"recorded": forced})
        self._shapes: list[tuple[int, ...]] = []
        network = driven_network(
            self.model, self.names, self._fixed, n * self.repetitions, dt=dt, duration=dt * given.shape[-1],
            input=input, trains=0 if forced is None else self.repetitions,
        )  # fmt: skip
        self.simulation = Simulation(
            network, list(reads), batch_size=self.trials, target=target, input_gradients=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the simulation."""
        self.simulation.close()

    def observe(self, values: Array, gradient: bool = False) -> tuple[list[Array], Array]:
        """Simulate up to `n` candidates.

        Parameters
        ----------
        values : array, shape (candidates, parameters)
            In SI base units.
        gradient : bool
            Whether `pull` will follow.

        Returns
        -------
        seen : list of array, shape (trials, candidates, repetitions, ...)
            What is read; nothing if no candidate is possible.
        possible : bool array, shape (candidates,)
            False for those that break a constraint of the model or have no trajectory: what is seen is another's.

        Raises
        ------
        ValueError
            For more candidates than `n`.
        """
        count, r = len(values), self.repetitions
        if count > self.n:
            raise ValueError(f"{count} candidates for a pass of {self.n}; give as many at most")
        possible = possible_candidates(self.model, self.names, self._fixed, values)
        while possible.any():
            rows = np.repeat(filled(values, possible, self.n), r, axis=0)
            keyed = {f"cells.{name}": np.ascontiguousarray(rows[:, k]) for k, name in enumerate(self.names)}
            try:
                seen = self.simulation.forward(self._inputs, keyed, gradient=gradient)
            except SimulationError as error:
                if error.neuron is None:
                    raise
                # of one neuron, whose states run away: the others are simulated without it
                candidate = error.neuron // r % count
                possible[candidate if possible[candidate] else int(np.argmax(possible))] = False
                continue
            arrays = list(seen) if isinstance(seen, tuple) else [seen]
            self._shapes = [np.shape(x) for x in arrays]
            self.simulations += count * self.trials * r
            return [x.reshape(self.trials, self.n, r, *x.shape[2:])[:, :count] for x in arrays], possible
        return [], possible

    def pull(self, derivatives: Sequence[Array]) -> Array:
        """Derivatives by the values of the last candidates, shape (candidates, parameters).

        Parameters
        ----------
        derivatives : sequence of array, shape (trials, candidates, repetitions, ...)
            By what `observe` returned.
        """
        count = derivatives[0].shape[1]
        padded = []
        for given, shape in zip(derivatives, self._shapes, strict=True):
            whole = np.zeros((self.trials, self.n, *given.shape[2:]))
            whole[:, :count] = given
            padded.append(whole.reshape(shape))
        found = self.simulation.backward(tuple(padded))
        by = np.stack([found[f"cells.{name}"] for name in self.names], axis=-1)
        slopes: Array = by.reshape(self.n, self.repetitions, -1).sum(axis=1)[:count]
        return slopes


class Neurons:
    """Spike times of many candidates that run freely, and derivatives by their parameters.

    Parameters
    ----------
    model, names, fixed, currents, dt, input, n, target
        As for `Candidates`.

    Attributes
    ----------
    simulations : int
        Candidates times trials so far.
    """

    def __init__(
        self,
        model: Model,
        names: Sequence[str],
        fixed: Mapping[str, float],
        currents: Array,
        dt: float,
        *,
        input: str,
        n: int,
        target: Target = "cpp_standalone",
    ) -> None:
        self._candidates = Candidates(
            model, names, fixed, currents, dt, input=input, n=n, reads=[SpikeTimes("cells")], target=target
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._candidates.close()

    @property
    def simulations(self) -> int:
        """See above."""
        return self._candidates.simulations

    def spike_times(self, values: Array, gradient: bool = False) -> tuple[Array, Array]:
        """Simulate up to `n` candidates.

        Parameters
        ----------
        values : array, shape (candidates, parameters)
            In SI base units.
        gradient : bool
            Whether `gradients` will follow.

        Returns
        -------
        times : array, shape (trials, candidates, spikes)
            Seconds, ascending, padded with ``inf``.
        possible : bool array, shape (candidates,)
            See `Candidates.observe`.

        Raises
        ------
        ValueError
            For more candidates than `n`, or if none is possible.
        """
        seen, possible = self._candidates.observe(values, gradient)
        if not seen:
            name = self._candidates.model.name
            raise ValueError(f"no candidate has parameters that {name} can have; choose other bounds")
        return seen[0][:, :, 0], possible

    def gradients(self, derivative: Array) -> Array:
        """Derivatives by the values of the last candidates, shape (candidates, parameters).

        Parameters
        ----------
        derivative : array, shape (trials, candidates, spikes)
            By what `spike_times` returned.
        """
        return self._candidates.pull([derivative[:, :, None]])
