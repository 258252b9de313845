"""How far the results of one target are from another's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..gradients import Outcome, Probe, Simulation
from ..targets import Target
from ..templates.network import Network, Population

__all__ = ["FEATURES", "TargetDifference", "changes_by_last_bits", "in_last_bits", "target_difference"]

NOTHING = 1e-13
DRAWS = 6  # of directions in which last bits are moved
ROUNDING = 4 * float(np.finfo(float).eps)  # of a loss: a gradient of no more is one of 0

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
    gradients : float
        Relative in norm, of the array that is furthest off; 0 for those that are 0 to rounding on both.
    worst : str
        The key of that array.
    arrays : mapping of str to float
        The same of every array, by key, but those of parameters without any effect: where ‖p dL/dp‖ is less than 1e-13
        of the largest on both targets, it is what rounding has left of 0, and says nothing relative to itself.
    """

    loss: float
    times: float
    gradients: float
    worst: str
    arrays: Mapping[str, float]


def target_difference(given: Probe, target: Target, reference: Target) -> TargetDifference | None:
    """Simulate a network on two targets, forward and backward; None if the spikes are others.

    Parameters
    ----------
    given : Probe
    target, reference : {"numpy", "cpp_standalone", "cuda_standalone"}
        What is compared, and with what.
    """
    (one, times), (other, others) = (_outcome(given, which) for which in (target, reference))
    late = 0.0
    if _other_spikes(times, others):
        return None
    for spikes, also in zip(times, others, strict=True):
        there = np.isfinite(spikes)
        late = max(late, float(np.abs(spikes[there] - also[there]).max(initial=0.0)))
    apart = _apart(one.gradients, other.gradients, ROUNDING * abs(other.loss))
    worst = max(apart, key=lambda key: apart[key])
    nothing = _without_effect(given.network, one.gradients) & _without_effect(given.network, other.gradients)
    arrays = {key: value for key, value in apart.items() if key not in nothing}
    return TargetDifference(abs(one.loss - other.loss) / abs(other.loss), late, apart[worst], worst, arrays)


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
        By key of the gradient: the most that it changes, relative in norm, over a few draws of `in_last_bits`.

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
        for key, change in _apart(outcome.gradients, reference.gradients, ROUNDING * abs(reference.loss)).items():
            most[key] = max(most.get(key, 0.0), change)
    return most


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


def _without_effect(network: Network, gradients: Mapping[str, np.ndarray]) -> set[str]:
    """Keys of parameters of neurons whose gradients are 0 up to rounding, by what changes of a relative size do."""
    effect = {
        f"{p.name}.{name}": float(np.linalg.norm(np.asarray(p.value(name)) * gradients[f"{p.name}.{name}"]))
        for p in network.populations
        for name in p.learnable
        if np.any(p.value(name))
    }
    return {key for key, value in effect.items() if value < NOTHING * max(effect.values())}


def _other_spikes(times: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> bool:
    """Whether neurons spike another number of times."""
    pairs = zip(times, others, strict=True)
    return any(a.shape != b.shape or (np.isfinite(a) != np.isfinite(b)).any() for a, b in pairs)


def _apart(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], nothing: float) -> dict[str, float]:
    """How far gradients are from others, by key, relative in norm; 0 where both are no more than `nothing`.

    Those cancel, as of a softmax by what moves all outputs alike, and have no digits.
    """
    apart = {}
    for key, g in other.items():
        size = float(np.linalg.norm(g))
        if max(size, float(np.linalg.norm(one[key]))) <= nothing:
            apart[key] = 0.0
        else:  # of a gradient that is 0 any other is far away
            apart[key] = float(np.linalg.norm(one[key] - g)) / max(size, 1e-300)
    return apart


def _outcome(given: Probe, target: Target) -> tuple[Outcome, list[np.ndarray]]:
    """What a target gives, and the spike times of each population."""
    options: Any = {"batch_size": len(given.targets), "target": target}
    with Simulation(given.network, given.loss, **options) as simulation:
        outcome = simulation.run(given.inputs, given.targets)
        spiking = [p.name for p in given.network.populations if p.model.spiking]
        return outcome, [simulation.spike_times(p) for p in spiking]
