"""Networks that the exactness tests share, with generic (never coinciding) input times."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from snnmodels.eventprop import Probe, Simulation, probe
from snnmodels.eventprop.probe import SmoothSpikeTimes
from snnmodels.eventprop.protocol import Loss, Outcome
from snnmodels.templates import Model, Network, Population, Projection, SpikeInput, load_model

MS = 1e-3
TARGETS = np.zeros(2, dtype=int)

# Linear models between events, and the seed of a network in which, at dt = 1 ms, no spike causes another within a step.
LINEAR = {
    "lif+exp_synapse": 0,
    "lif+delta_synapse": 1,
    "lif+alpha_synapse": 0,
    "leaky_integrator+exp_synapse": 0,
    "leaky_integrator+alpha_synapse": 0,
    "integrate_and_fire+exp_synapse": 1,
    "lif+exp_synapse+adaptive_threshold": 0,
    "lif+exp_synapse+current_adaptation": 1,
}
# takes SymPy and Brian2 half a minute to lower, and is therefore seen at one time step only
RESONANT = "lif+exp_synapse+current_adaptation+subthreshold_adaptation"
NONLINEAR = ("qif+exp_synapse", "eif+exp_synapse")


@functools.cache
def library_probe(name: str, seed: int = 0) -> Probe:
    """The network made for a model; the same at every time step."""
    return probe(load_model(name), seed=seed)


def chain(
    model: Model,
    scale: tuple[float, float],
    parameters: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    duration: float = 30 * MS,
    mask: bool = False,
) -> Network:
    """4-3-2 with weights of about the given size, everything learnable."""
    rng = np.random.default_rng(seed)
    masks = (rng.uniform(size=(4, 3)) < 0.7, rng.uniform(size=(3, 2)) < 0.8) if mask else (None, None)
    own = [{k: v for k, v in (parameters or {}).items() if np.shape(v) in ((), (n,))} for n in (3, 2)]
    hidden, output = (
        Population(name, n, model, values, tuple(model.parameters))
        for name, n, values in (("hidden", 3, own[0]), ("output", 2, own[1]))
    )
    return Network(
        "chain",
        (SpikeInput("input", 4),),
        (hidden, output),
        (
            Projection("w_in", "input", "hidden", scale[0] * rng.uniform(0.5, 1.5, (4, 3)), mask=masks[0]),
            Projection("w_out", "hidden", "output", scale[1] * rng.uniform(0.5, 1.5, (3, 2)), mask=masks[1]),
        ),
        "output",
        duration,
    )


def inputs(
    n: int = 4, *, seed: int = 0, trials: int = 2, last: float = 12 * MS, spikes: int = 1
) -> dict[str, np.ndarray]:
    """Random input times."""
    rng = np.random.default_rng(100 + seed)
    return {"input": np.sort(rng.uniform(0.3 * MS, last, (trials, n, spikes)), axis=2)}


def run(network: Network, times: Mapping[str, np.ndarray], loss: Loss | None = None, **options: Any) -> Outcome:
    """One run of a simulation with gradient."""
    trials = len(next(iter(times.values())))
    with Simulation(network, loss or SmoothSpikeTimes(), **{"batch_size": trials, "dt": 0.5 * MS, **options}) as s:
        return s.run(times, np.zeros(trials, dtype=int))
