"""Networks that the exactness tests share, with generic (never coinciding) input times."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from snnmodels.eventprop import Probe, Simulation, probe
from snnmodels.eventprop.probe import SmoothSpikeTimes
from snnmodels.eventprop.protocol import Loss, Outcome
from snnmodels.oracle import simulate
from snnmodels.templates import Model, Network, Population, Projection, SpikeInput, load_model

MS = 1e-3
TARGETS = np.zeros(2, dtype=int)
LIF = load_model("lif+exp_synapse")

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


def separated(network: Network, times: Mapping[str, np.ndarray], dt: float) -> bool:
    """Whether, by the reference, no spike comes within `dt` after an arrival at its neuron or another spike of it.

    Nor may another arrival come within `dt` after one that makes its neuron spike. Then no spike causes another within
    a step in a way that matters, and a simulation with exact flows has to agree with the reference.
    """
    spikes = {**simulate(network, times).spikes, **times}
    if not all(np.isfinite(spikes[p.name]).any() for p in network.populations if p.model.spiking):
        return False
    for p in network.populations:
        if not p.model.spiking:
            continue
        sources = [q.source for q in network.projections if q.target == p.name]
        for trial, own in enumerate(spikes[p.name]):
            arrivals = np.sort(np.concatenate([spikes[s][trial].ravel() for s in sources]))
            for train in own:
                each = train[np.isfinite(train)]
                last = np.concatenate([[-np.inf], arrivals])[np.searchsorted(arrivals, each - 1e-9)]
                following = np.concatenate([arrivals, [np.inf]])[np.searchsorted(arrivals, each + 1e-9)]
                caused = np.isin(np.round(each, 9), np.round(arrivals, 9))
                if (each - last < dt).any() or (np.diff(each) < dt).any() or (following - each < dt)[caused].any():
                    return False
    return True


Case = tuple[Network, dict[str, np.ndarray]]


def generic(make: Callable[[int], Case], dt: float, accept: Callable[[Network, Any], bool] = lambda *_: True) -> Case:
    """The first of many networks in which events are far enough apart for the reference to be met at `dt`."""
    for seed in range(300):
        network, times = make(seed)
        if separated(network, times, dt) and accept(network, times):
            return network, times
    raise AssertionError(f"no network with events {dt} s apart")


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


def generic_chain(
    model: Model,
    scale: tuple[float, float],
    parameters: Mapping[str, Any] | None = None,
    *,
    dt: float,
    trials: int = 2,
    mask: bool = False,
) -> Case:
    """A `chain` and inputs, events apart."""
    return generic(
        lambda seed: (chain(model, scale, parameters, seed=seed, mask=mask), inputs(seed=seed, trials=trials)), dt
    )


def readouts(seed: int) -> Case:
    readout = load_model("leaky_integrator", "exp_synapse")
    rng = np.random.default_rng(seed)
    network = Network(
        "readout",
        (SpikeInput("input", 4),),
        (
            Population("hidden", 5, LIF, learnable=("tau_m",)),
            Population("output", 4, readout, learnable=tuple(readout.parameters)),
        ),
        (
            Projection("w_in", "input", "hidden", rng.uniform(1, 3, (4, 5))),
            Projection("w_out", "hidden", "output", rng.uniform(-2, 2, (5, 4))),
        ),
        "output",
        40 * MS,
    )
    return network, inputs(seed=seed, trials=3)


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
