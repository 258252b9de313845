"""Trained networks on the plane of accuracy and spikes: frozen with a knob, retrained, and conditioned on the knob.

One seed trains a base network, then from it: a network per value of the knob (retrained), one network with the knob
drawn for every batch (conditioned), and networks under a price on spikes with a threshold per neuron (pressed). The
conditioned network gets as many epochs as all retrained ones together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..gradients.source import GradientSource
from ..optimisers import Adam, ExponentialDecay
from ..templates import Network, load_network
from ..training import evaluate, train
from .conditioning import BatchHomeostat, SpikePressure, WithKnobs
from .experiments import Experiment, yin_yang

__all__ = ["HIDDEN", "KNOBS", "TransferSettings", "accuracy_at", "run_seed"]

HIDDEN = "hidden"
KNOBS = ("nu", "kappa")
_OFF = {f"{HIDDEN}.{knob}": 0.0 for knob in KNOBS}
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class TransferSettings:
    """How the networks are trained and where they are tested.

    Attributes
    ----------
    base_epochs, more_epochs, conditioned_epochs : int
        Of the base network; then, from it, of each retrained or pressed network, and of the conditioned one.
    knob : {"nu", "kappa"}
        The knob that is drawn, retrained for and swept.
    retrained_at : tuple of float
        Values of the knob that networks are retrained at.
    swept : tuple of float
        Values that the frozen and the conditioned network are tested at.
    swept_other : tuple of float
        Values of the other knob that the frozen network is tested at.
    highest : float
        Conditioned training draws the knob uniformly from 0 to this.
    prices : tuple of float
        Of the pressed networks, see `SpikePressure`.
    rate, decay : float
        Adam's rate in the first epoch of the base network and the factor on it per epoch; training from the base
        starts at `more_rate` and decays by `more_decay`.
    batch_size : int
    training_trials : int
        Size of the training set.
    """

    base_epochs: int = 8
    more_epochs: int = 4
    conditioned_epochs: int = 12
    knob: str = "kappa"
    retrained_at: tuple[float, ...] = (0.01, 0.02, 0.04)
    swept: tuple[float, ...] = (0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05)
    swept_other: tuple[float, ...] = (0.0, 0.02, 0.05, 0.1, 0.15)
    highest: float = 0.04
    prices: tuple[float, ...] = (0.003, 0.01)
    rate: float = 5e-3
    decay: float = 0.95
    more_rate: float = 4e-3
    more_decay: float = 0.9
    batch_size: int = 32
    training_trials: int = 5000

    def __post_init__(self) -> None:
        if self.knob not in KNOBS:
            raise ValueError(f"knob: expected one of {', '.join(KNOBS)}, got {self.knob!r}")


def run_seed(settings: TransferSettings, seed: int) -> dict[str, Any]:
    """Train and test everything for one seed.

    Parameters
    ----------
    settings : TransferSettings
    seed : int
        Of initial weights, the order of trials and the knobs that are drawn.

    Returns
    -------
    dict
        ``frozen``, ``frozen_other``, ``conditioned``, ``retrained`` and ``pressed``: lists of points with ``setting``
        (knob or price), ``accuracy`` on the test set and ``spikes`` (hidden, per sample); ``homeostat``: batches under
        a changing budget with ``budget``, ``knob``, ``spikes``, ``accuracy``; ``thresholds``: mean and standard
        deviation over neurons of the learned thresholds, by price. Values are JSON's.
    """
    # Brian2, only where it is needed: drawing does without.
    from ..gradients.simulation import Simulation

    experiment = yin_yang()
    experiment = dataclasses.replace(experiment, train=experiment.train.subset(slice(settings.training_trials)))
    network = load_network("yin_yang_knobs", seed=seed)
    key = f"{HIDDEN}.{settings.knob}"
    other = next(f"{HIDDEN}.{knob}" for knob in KNOBS if knob != settings.knob)
    options: dict[str, Any] = {"batch_size": settings.batch_size, "target": "cpp_standalone"}
    result: dict[str, Any] = {}
    with Simulation(network, experiment.loss, **options) as simulation:
        run = _Runner(experiment, settings, seed)
        base = run.train(WithKnobs(simulation, _OFF), settings.base_epochs)
        result["frozen"] = [run.test(simulation, base, key, v) for v in settings.swept]
        result["frozen_other"] = [run.test(simulation, base, other, v) for v in settings.swept_other]
        result["retrained"] = []
        for value in settings.retrained_at:
            own = run.train(WithKnobs(simulation, {**_OFF, key: value}), settings.more_epochs, base)
            result["retrained"].append(run.test(simulation, own, key, value))

        def draw(rng: np.random.Generator) -> dict[str, float]:
            return {key: rng.uniform(0, settings.highest)}

        conditioned = run.train(WithKnobs(simulation, _OFF, draw, seed), settings.conditioned_epochs, base)
        result["conditioned"] = [run.test(simulation, conditioned, key, v) for v in settings.swept]
        result["homeostat"] = _control(simulation, experiment, conditioned, key, settings)
    with Simulation(_threshold_per_neuron(network), experiment.loss, **options) as simulation:
        start = {**base, f"{HIDDEN}.v_th": np.ones(network.population(HIDDEN).n)}
        result["pressed"], result["thresholds"] = [], []
        for price in settings.prices:
            pressed = SpikePressure(simulation, HIDDEN, price, ("input_hidden",), "v_th")
            own = run.train(WithKnobs(pressed, _OFF), settings.more_epochs, start)
            result["pressed"].append({**run.test(simulation, own, key, 0.0), "setting": price})
            learned = own[f"{HIDDEN}.v_th"]
            result["thresholds"].append({"mean": float(learned.mean()), "std": float(learned.std(ddof=1))})
    return result


def accuracy_at(points: Sequence[Mapping[str, float]], spikes: float) -> float:
    """Accuracy at a number of spikes per sample, linear between tested points; NaN outside them.

    Where several points have the same spikes or a curve turns back, the points are taken in the order of spikes.

    Parameters
    ----------
    points : sequence of mapping
        With ``spikes`` and ``accuracy``, at least one.
    spikes : float
        Per sample.
    """
    ordered = sorted((p["spikes"], p["accuracy"]) for p in points)
    x, y = np.array(ordered).T
    return float(np.interp(spikes, x, y, left=np.nan, right=np.nan))


@dataclass(frozen=True)
class _Runner:
    """What all trainings of a seed share."""

    experiment: Experiment
    settings: TransferSettings
    seed: int

    def train(self, source: GradientSource, epochs: int, values: Arrays | None = None) -> Arrays:
        s = self.settings
        rate = ExponentialDecay(s.rate, s.decay) if values is None else ExponentialDecay(s.more_rate, s.more_decay)
        if values is not None and epochs > s.more_epochs:
            # The rate ends where that of the shorter trainings does.
            rate = ExponentialDecay(s.more_rate, s.more_decay ** (s.more_epochs / epochs))
        return train(
            source,
            self.experiment.train,
            Adam(rate),
            epochs=epochs,
            batch_size=s.batch_size,
            seed=self.seed,
            values=values,
            progress=False,
        ).values

    def test(self, source: GradientSource, values: Arrays, key: str, value: float) -> dict[str, float]:
        knobbed = WithKnobs(source, {**_OFF, key: value})
        found = evaluate(knobbed, self.experiment.test, values, self.settings.batch_size)
        assert found.error is not None  # the loss classifies
        return {"setting": value, "accuracy": 1 - found.error, "spikes": found.spikes[HIDDEN]}


def _control(
    source: GradientSource, experiment: Experiment, values: Arrays, key: str, settings: TransferSettings
) -> list[dict[str, float]]:
    """The conditioned network under a budget that falls and rises again."""
    budgets = np.repeat([11.0, 8.0, 9.5], 40)
    off = {k: np.zeros(()) for k in _OFF if k != key}
    homeostat = BatchHomeostat(key, HIDDEN, start=settings.highest / 10)
    records = homeostat.follow(source, experiment.test, budgets, {**values, **off}, settings.batch_size)
    return [dataclasses.asdict(record) for record in records]


def _threshold_per_neuron(network: Network) -> Network:
    """The network with learnable thresholds of the hidden neurons, each its own."""
    populations = [
        dataclasses.replace(
            p, parameters={**p.parameters, "v_th": np.full(p.n, p.value("v_th"))}, learnable=(*p.learnable, "v_th")
        )
        if p.name == HIDDEN
        else p
        for p in network.populations
    ]
    return dataclasses.replace(network, populations=tuple(populations))
