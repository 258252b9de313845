"""How far the results of one target are from another's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..gradients import Outcome, Probe, Simulation
from ..targets import Target
from ..templates.groups import Population
from ..templates.network import Network

__all__ = ["FEATURES", "TargetDifference", "changes_by_last_bits", "in_last_bits", "target_difference"]

NOTHING = 1e-13  # of the largest effect that any array has on the loss, see `_without_effect`
ROUNDING = 4 * float(np.finfo(float).eps)  # of the loss
DRAWS = 6  # of directions in which last bits are moved

# What the engine can do, each by a model that needs it; all targets are to find the same of each.
FEATURES = {
    "linear": "lif+exp_synapse",
    "linear, many states": "glif5+exp_synapse",
    "jump at an arrival": "lif+delta_synapse",
    "current that rises before it falls": "lif+alpha_synapse",
    "refractory period, states held": "lif+exp_synapse+refractory",
    "refractory period, nothing held": "lif+exp_synapse+dead_time",
    "no threshold": "leaky_integrator+exp_synapse",
    "nonlinear": "qif+exp_synapse",
    "conductance": "lif+exp_conductance",
    "no reset": "fitzhugh_nagumo+exp_synapse",
    "condition in an equation": "integrate_and_fire_or_burst+exp_synapse",
    "states of sources": "lif+tsodyks_markram",
}


@dataclass(frozen=True)
class TargetDifference:
    """How far a target is from another.

    Attributes
    ----------
    loss : float
        Relative.
    times : float
        Of spikes, in seconds, at most.
    arrays : mapping of str to float
        Of every gradient, by key, relative in norm; but of those that are 0 up to rounding on both targets, which say
        nothing relative to themselves.
    """

    loss: float
    times: float
    arrays: Mapping[str, float]

    @property
    def worst(self) -> str:
        """The key of the array that is furthest off."""
        return max(self.arrays, key=lambda key: self.arrays[key])

    @property
    def gradients(self) -> float:
        """How far that one is."""
        return self.arrays[self.worst]


def target_difference(given: Probe, target: Target, reference: Target) -> TargetDifference | None:
    """Simulate a network on two targets, forward and backward; None if the spikes are others.

    Parameters
    ----------
    given : Probe
    target, reference : {"numpy", "cpp_standalone", "cuda_standalone"}
        What is compared, and with what.

    Raises
    ------
    ValueError
        If nothing has a gradient to compare.
    """
    (one, times), (other, others) = (_outcome(given, which) for which in (target, reference))
    late = 0.0
    if _other_spikes(times, others):
        return None
    for spikes, also in zip(times, others, strict=True):
        there = np.isfinite(spikes)
        late = max(late, float(np.abs(spikes[there] - also[there]).max(initial=0.0)))
    nothing = _without_effect(given.network, one) & _without_effect(given.network, other)
    arrays = {key: value for key, value in _apart(one, other).items() if key not in nothing}
    if not arrays:
        raise ValueError("every gradient is 0 up to rounding; compare the targets on a loss that something changes")
    return TargetDifference(abs(one.loss - other.loss) / abs(other.loss), late, arrays)


def changes_by_last_bits(given: Probe, target: Target) -> dict[str, float]:
    """How far rounding alone can move the gradients of a network: their condition, as the target itself shows it.

    Two targets that round in another order differ as if parameters differed in their last bits. Where a neuron barely
    reaches its threshold, the slope u with which it crosses is small, and a potential that is off by e moves the slope,
    by which gradients are divided, by e |dv²/dt²| / u² of itself.

    Parameters
    ----------
    given : Probe
    target : {"numpy", "cpp_standalone", "cuda_standalone"}

    Returns
    -------
    dict of str to float
        By key of the gradient: the most that it changes, relative in norm, over a few draws of `in_last_bits`; 0 of
        one that is itself 0 up to rounding.

    Raises
    ------
    ValueError
        If last bits decide about a spike.
    """
    reference, times = _outcome(given, target)
    most: dict[str, float] = {}
    for seed in range(DRAWS):
        network = in_last_bits(given.network, np.random.default_rng(seed))
        outcome, others = _outcome(dataclasses.replace(given, network=network), target)
        if _other_spikes(times, others):
            raise ValueError("the network spikes otherwise where parameters differ in their last bits; take another")
        for key, change in _apart(outcome, reference).items():
            most[key] = max(most.get(key, 0.0), change)
    nothing = _without_effect(given.network, reference)
    return {key: 0.0 if key in nothing else change for key, change in most.items()}


def in_last_bits(network: Network, rng: np.random.Generator) -> Network:
    """The network with every weight and every parameter, but those that are 0, moved to the next number up or down.

    Parameters
    ----------
    network : Network
    rng : numpy.random.Generator
        Draws which way.
    """

    def moved(values: Any) -> np.ndarray:
        given = np.asarray(values, dtype=float)
        there = np.nextafter(given, np.where(rng.random(given.shape) < 0.5, -np.inf, np.inf))
        return np.where(given == 0, given, there)

    def population(p: Population) -> Population:
        values = {name: moved(p.value(name)) for name in p.model.parameters}
        own = {name: v if v.ndim else float(v) for name, v in values.items()}
        return dataclasses.replace(p, parameters=own)

    populations = tuple(map(population, network.populations))
    projections = tuple(dataclasses.replace(q, weights=moved(q.weights)) for q in network.projections)
    return dataclasses.replace(network, populations=populations, projections=projections)


def _without_effect(network: Network, outcome: Outcome) -> set[str]:
    """Keys of gradients that are what rounding has left of 0.

    What a relative change of an array p does to the loss is ‖p dL/dp‖, in the loss's own unit whatever that of p: it is
    nothing where it is no more than rounding of the loss itself, or of the array with the largest effect. Gradients
    that cancel, as of a softmax by what moves all outputs alike, are no more than that. Times count by the trial's
    length, and what is 0 itself has no size to tell by.
    """
    values = network.trainable()
    times = {key: np.asarray(network.duration) for key in outcome.gradients if key.endswith(".times")}
    effect = {
        key: float(np.linalg.norm(value * outcome.gradients[key]))
        for key, value in (values | times).items()
        if np.any(value)
    }
    least = max(NOTHING * max(effect.values(), default=0.0), ROUNDING * abs(outcome.loss))
    return {key for key, value in effect.items() if value <= least}


def _other_spikes(times: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> bool:
    """Whether neurons spike another number of times."""
    pairs = zip(times, others, strict=True)
    return any(a.shape != b.shape or (np.isfinite(a) != np.isfinite(b)).any() for a, b in pairs)


def _apart(one: Outcome, other: Outcome) -> dict[str, float]:
    """How far gradients are from others, by key, relative in norm; of one that is 0 any other is far away."""
    sizes = {key: max(float(np.linalg.norm(g)), 1e-300) for key, g in other.gradients.items()}
    return {key: float(np.linalg.norm(one.gradients[key] - other.gradients[key])) / n for key, n in sizes.items()}


def _outcome(given: Probe, target: Target) -> tuple[Outcome, list[np.ndarray]]:
    """What a target gives, and the spike times of each population."""
    options: Any = {"batch_size": len(given.targets), "target": target}
    with Simulation(given.network, given.loss, **options) as simulation:
        outcome = simulation.run(given.inputs, given.targets)
        spiking = [p.name for p in given.network.populations if p.model.spiking]
        return outcome, [simulation.spike_times(p) for p in spiking]
