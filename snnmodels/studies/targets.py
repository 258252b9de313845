"""How far the results of one target are from another's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..gradients import Outcome, Probe, Simulation
from ..targets import Target

__all__ = ["FEATURES", "TargetDifference", "target_difference"]

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


ROUNDING = 4 * float(np.finfo(float).eps)  # of a loss: a gradient of no more is one of 0


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
    """

    loss: float
    times: float
    gradients: float
    worst: str


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
    for spikes, also in zip(times, others, strict=True):
        if spikes.shape != also.shape or (np.isfinite(spikes) != np.isfinite(also)).any():
            return None
        there = np.isfinite(spikes)
        late = max(late, float(np.abs(spikes[there] - also[there]).max(initial=0.0)))
    apart = {}
    for key, g in other.gradients.items():
        norms = [float(np.linalg.norm(x)) for x in (g, one.gradients[key])]
        if max(norms) <= ROUNDING * abs(other.loss):
            apart[key] = 0.0  # one that cancels, as of a softmax by what moves all outputs alike, has no digits
            continue
        size = max(norms[0], 1e-300)  # of a gradient that is 0 any other is far away
        apart[key] = float(np.linalg.norm(one.gradients[key] - g)) / size
    worst = max(apart, key=lambda key: apart[key])
    return TargetDifference(abs(one.loss - other.loss) / abs(other.loss), late, apart[worst], worst)


def _outcome(given: Probe, target: Target) -> tuple[Outcome, list[np.ndarray]]:
    """What a target gives, and the spike times of each population."""
    options: Any = {"batch_size": len(given.targets), "target": target}
    with Simulation(given.network, given.loss, **options) as simulation:
        outcome = simulation.run(given.inputs, given.targets)
        spiking = [p.name for p in given.network.populations if p.model.spiking]
        return outcome, [simulation.spike_times(p) for p in spiking]
