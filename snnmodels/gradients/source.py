"""Whatever gives losses and gradients, and what it gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..losses import Loss
from ..optimisers import Optimiser
from ..templates.identity import description
from ..templates.network import Network

__all__ = ["BatchTrainer", "GradientSource", "GradientWrapper", "OneOfSeveral", "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """What one batch gave.

    Attributes
    ----------
    loss : float
        Mean over the trials.
    predictions : int array, shape (trials,), or None
        As in `LossValue`.
    gradients : mapping of str to array
        By key of `Network.trainable`, and ``"<input>.times"`` and ``"<input>.samples"`` where the source gives them;
        empty when not asked for.
    spikes : mapping of str to float
        Mean number of spikes per trial of each population.
    smallest_gdot : float
        Smallest rate at which an event function crossed 0; ``inf`` when nothing crossed: no spike,
        or all of them caused at once by arrivals or ends of refractory periods.
    output : array or tuple of array
        What the loss read.
    ties : int or None
        How often times were tied, so that a gradient may be one-sided; see `Engine.ties`. None where compiled
        programs scatter arrivals with delays of single synapses, since to count takes longer than to simulate there:
        `Simulation.ties` does.
    silent : int or None
        Trials in which a spike that the loss needs is missing, where the source has counted them; else the loss can.
    unresolved : int
        Of a `GridSimulation`: spikes whose time could not be found within a step, so that they were put at its edge.
    pseudospikes : mapping of str to float
        Mean number per trial of those that stood in for missing spikes, by population; `spikes` has none of them.
    """

    loss: float
    predictions: np.ndarray | None
    gradients: Mapping[str, np.ndarray] = field(default_factory=dict)
    spikes: Mapping[str, float] = field(default_factory=dict)
    smallest_gdot: float = float("inf")
    output: Any = field(default_factory=lambda: np.empty(0))
    ties: int | None = 0
    silent: int | None = None
    unresolved: int = 0
    pseudospikes: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        spikes = [f"{n:g} spikes of {name}" for name, n in self.spikes.items()]
        gradients = [f"{key} {gradient.shape}" for key, gradient in self.gradients.items()]
        by = [f"gradients by {', '.join(gradients)}"] if gradients else []
        odd = [f"{n} {what}" for n, what in ((self.silent, "silent trials"), (self.ties, "ties")) if n]
        return f"<Outcome: {'; '.join((f'loss {self.loss:.6g}', *spikes, *odd, *by))}>"


class GradientSource(Protocol):
    """Whatever simulates a network and returns its loss and gradients; `Simulation` is one.

    One with options that change its results tells them by a property `settings`, a mapping of str to JSON values, so
    that a checkpoint goes on with the same alone.
    """

    @property
    def network(self) -> Network:
        """The network that is simulated."""

    @property
    def loss(self) -> Loss:
        """The loss that is differentiated."""

    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        targets: np.ndarray,
        values: Mapping[str, np.ndarray] | None = None,
        *,
        gradient: bool = True,
    ) -> Outcome:
        """Simulate one batch, at most as many trials as the source was made for.

        Parameters
        ----------
        inputs : mapping of str to array, shape (trials, n) or (trials, n, spikes)
            Spike times in seconds by input name, ascending and padded with ``inf``; samples of currents as
            `Simulation.run` takes them.
        targets : array, shape (trials, ...)
            For the loss.
        values : mapping of str to array, optional
            Replaces the network's own, by key of `Network.trainable`.
        gradient : bool
            Whether to run backward too.
        """

    def close(self) -> None:
        """Release what the source holds (processes, files)."""


@runtime_checkable
class BatchTrainer(Protocol):
    """A `GradientSource` that may take several batches and the optimiser's steps in one call."""

    def fits(self, optimiser: Optimiser, values: Mapping[str, np.ndarray]) -> bool:
        """Whether `fit` can train these values so.

        Parameters
        ----------
        optimiser : Optimiser
        values : mapping of str to array
            What is to be trained, by key of `Network.trainable`.
        """

    def fit(
        self,
        batches: Sequence[tuple[Mapping[str, np.ndarray], np.ndarray]],
        values: Mapping[str, np.ndarray],
        optimiser: Any,
    ) -> list[Outcome]:
        """Train on several batches; see `Simulation.fit`."""


@runtime_checkable
class OneOfSeveral(Protocol):
    """A `GradientSource` that is one of several processes which all run the same training; `MPISimulation` is one."""

    @property
    def leads(self) -> bool:
        """Whether this is the process that shows progress and writes files."""

    def agree(self, **facts: Any) -> None:
        """Raise, in all processes, where these differ between them."""


class GradientWrapper(ABC):
    """A `GradientSource` that changes what goes into another one, or what comes out of it."""

    def __init__(self, source: GradientSource) -> None:
        self._source = source

    @property
    def network(self) -> Network:
        """The network that is simulated."""
        return self._source.network

    @property
    def loss(self) -> Loss:
        """The loss that is differentiated."""
        return self._source.loss

    @property
    def settings(self) -> dict[str, Any]:
        """What the values of a run depend on: that of the source that is wrapped, and all that the wrapper holds."""
        source = self._source
        of = {"class": type(source).__qualname__, **getattr(source, "settings", {})}
        own = {k: v for k, v in vars(self).items() if v is not source and not isinstance(v, Network)}
        return {"of": of, **{k.lstrip("_"): description(v) for k, v in own.items()}}

    @property
    def leads(self) -> bool:
        """See `OneOfSeveral`."""
        return not isinstance(self._source, OneOfSeveral) or self._source.leads

    def agree(self, **facts: Any) -> None:
        """See `OneOfSeveral`."""
        if isinstance(self._source, OneOfSeveral):
            self._source.agree(**facts)

    @abstractmethod
    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        targets: np.ndarray,
        values: Mapping[str, np.ndarray] | None = None,
        *,
        gradient: bool = True,
    ) -> Outcome:
        """Simulate one batch; see `GradientSource.run`."""

    def close(self) -> None:
        """Release what the source holds."""
        self._source.close()
