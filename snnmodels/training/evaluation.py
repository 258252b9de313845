"""A network on a set of trials, without gradients; sums over the batches of a pass."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..datasets.trials import Trials
from ..gradients.source import GradientSource, Outcome
from ..losses.base import Loss, Observed, alike, shown
from ..templates.arguments import check_whole, suggests_keywords
from ..templates.errors import brief
from ..templates.network import Network
from .data import as_trials, batches

__all__ = ["Evaluation", "Totals", "check_source", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """How a network does on a set of trials.

    Attributes
    ----------
    loss : float
        Mean over the trials.
    error : float or None
        Fraction classified wrongly; None if the loss doesn't classify.
    predictions : int array, shape (trials,), or None
    spikes : dict of str to float
        Mean number per trial of each population.
    silent_trials : int
        Trials in which a spike that the loss needs was missing.
    output : array, shape (trials, n) or (trials, n, samples), or tuple of array
        First spike of each neuron that the loss reads in seconds, ``inf`` for none; or the maxima or samples, for a
        loss on those; one of these for each observable of a loss that reads several.
    pseudospikes : dict of str to float
        Mean number per trial of those that stood in for missing spikes, by population.
    """

    loss: float
    error: float | None
    predictions: np.ndarray | None
    spikes: dict[str, float]
    silent_trials: int
    output: Observed
    pseudospikes: dict[str, float] = field(default_factory=dict)


@suggests_keywords
def evaluate(
    source: GradientSource,
    data: Trials | tuple[Any, Any],
    values: Mapping[str, np.ndarray] | None = None,
    batch_size: int = 32,
) -> Evaluation:
    """Run a network on trials without gradients.

    Parameters
    ----------
    source : GradientSource
    data : Trials, or (inputs, targets)
        Inputs by name, or one array where the network has one input.
    values : mapping of str to array, optional
        Replaces the network's own.
    batch_size : int
        At most what the source was made for.

    Returns
    -------
    Evaluation
        Loss, error and what else there is, as means over all trials.

    Raises
    ------
    ValueError
        For an argument of another kind, or that the source refuses.
    """
    check_source(source)
    check_whole("batch_size", batch_size)
    trials = as_trials("data", data, source.network)
    totals = Totals()
    outputs = []
    for which in batches(np.arange(len(trials)), int(batch_size)):
        inputs, targets = trials.take(which)
        outcome = source.run(inputs, targets, values, gradient=False)
        totals.add(source, outcome, targets)
        seen = zip(source.loss.observables, alike(source.loss, outcome.output), strict=True)
        outputs.append([observable.summary(x) for observable, x in seen])
    whole = tuple(np.concatenate(x) for x in zip(*outputs, strict=True))
    output: Observed = shown(source.loss, whole)
    return Evaluation(
        totals.loss,
        totals.error,
        totals.all_predictions,
        totals.spikes,
        totals.silent,
        output,
        totals.pseudospikes,
    )


def check_source(source: Any) -> None:
    """Refuse what gives no losses and gradients.

    Raises
    ------
    ValueError
    """
    gives = isinstance(getattr(source, "network", None), Network) and isinstance(getattr(source, "loss", None), Loss)
    if isinstance(source, type) or not (gives and callable(getattr(source, "run", None))):
        raise ValueError(f"source is {brief(source)}; expected a Simulation of a network with a loss")


@dataclass
class Totals:
    """Sums over the batches of an epoch."""

    trials: int = 0
    loss_sum: float = 0.0
    wrong: int = 0
    silent: int = 0
    smallest_gdot: float = math.inf
    spike_sums: dict[str, float] = field(default_factory=dict)
    pseudospike_sums: dict[str, float] = field(default_factory=dict)
    predictions: list[np.ndarray] = field(default_factory=list)

    def add(self, source: GradientSource, outcome: Outcome, targets: np.ndarray) -> None:
        """Add a batch."""
        n = len(targets)
        self.trials += n
        self.loss_sum += outcome.loss * n
        self.silent += (
            source.loss.silent_trials(outcome.output, targets) if outcome.silent is None else outcome.silent
        )
        self.smallest_gdot = min(self.smallest_gdot, outcome.smallest_gdot)
        for sums, means in (
            (self.spike_sums, outcome.spikes),
            (self.pseudospike_sums, outcome.pseudospikes),
        ):
            for name, mean in means.items():
                sums[name] = sums.get(name, 0.0) + mean * n
        labelled = np.asarray(targets).dtype.kind in "iu"  # else other numbers, or several things under names
        if outcome.predictions is not None and labelled and targets.shape == outcome.predictions.shape:
            self.wrong += int(np.count_nonzero(outcome.predictions != targets))
            self.predictions.append(outcome.predictions)

    @property
    def loss(self) -> float:
        """Mean over the trials."""
        return self.loss_sum / self.trials

    @property
    def error(self) -> float | None:
        """Fraction classified wrongly, if the loss classifies."""
        return self.wrong / self.trials if self.predictions else None

    @property
    def spikes(self) -> dict[str, float]:
        """Mean number per trial of each population."""
        return {name: total / self.trials for name, total in self.spike_sums.items()}

    @property
    def pseudospikes(self) -> dict[str, float]:
        """Mean number per trial, by population."""
        return {name: total / self.trials for name, total in self.pseudospike_sums.items()}

    @property
    def all_predictions(self) -> np.ndarray | None:
        """Predictions of all trials, if the loss classifies."""
        return np.concatenate(self.predictions) if self.predictions else None

