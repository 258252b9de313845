"""Networks drawn at random, for the engines to be compared with the event-driven reference on."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from snnmodels.templates import Model, Network, Population, Projection, SpikeInput, load_model

MS = 1e-3

# Linear models and what a weight of theirs is like that makes a few spikes; "slow" ones are drawn less often
LINEAR = {
    "lif+exp_synapse": 1.6,
    "lif+delta_synapse": 0.45,
    "lif+alpha_synapse": 1.6,
    "lif+exp_synapse+adaptive_threshold": 1.6,
    "lif+exp_synapse+current_adaptation": 1.6,
    "integrate_and_fire+exp_synapse": 0.4,
    "lif+exp_synapse+refractory": 1.6,
    "lif+delta_synapse+refractory": 0.45,
}
READOUTS = ("leaky_integrator+exp_synapse", "leaky_integrator+alpha_synapse", "leaky_integrator+delta_synapse")


@functools.cache
def model(name: str) -> Model:
    """A library model; receptors of the same kind twice where the name says so."""
    return load_model(name)


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A network with inputs, and what kind of network it is, for messages."""

    network: Network
    inputs: dict[str, np.ndarray]
    label: str


def draw(
    seed: int, *, models: tuple[str, ...] = tuple(LINEAR), readout: bool = False, trials: int = 2, delays: bool = True
) -> Drawn:
    """One network.

    Parameters
    ----------
    models : tuple of str
        Keys of `LINEAR` to draw from.
    readout : bool
        Whether the last population does not spike.
    delays : bool
        Whether projections may have delays.
    """
    rng = np.random.default_rng([7, seed])
    n_populations = int(rng.integers(1, 4))
    n_inputs = int(rng.integers(1, 3))
    inputs = tuple(SpikeInput(f"in{k}", int(rng.integers(2, 6))) for k in range(n_inputs))
    scale = float(rng.choice([1.0, 2.0, 4.0]))
    populations, words = [], [f"x{scale:g}"]
    for k in range(n_populations):
        last = readout and k == n_populations - 1
        name = str(rng.choice(READOUTS if last else models))
        m = model(name)
        n = int(rng.integers(2, 12))
        values: dict[str, float | np.ndarray] = {}
        for p in ("tau_m", "tau_syn"):
            if p in m.parameters and rng.random() < 0.4:
                centre = m.parameters[p].value * rng.uniform(0.6, 1.5)
                values[p] = centre * rng.uniform(0.9, 1.1, n) if rng.random() < 0.4 else centre
        if "tau_m" in m.parameters and "tau_syn" in m.parameters and rng.random() < 0.15:
            values["tau_m"] = values["tau_syn"] = 7 * MS  # equal time constants
        if "t_ref" in m.parameters:
            values["t_ref"] = float(rng.choice([0.3, 1.0, 2.0, 6.0])) * MS
        learnable = tuple(m.parameters) if rng.random() < 0.6 else ()
        populations.append(Population(f"pop{k}", n, m, values, learnable))
        words.append(name)
    projections: list[Projection] = []

    def connect(source: str, n_source: int, target: Population, size: float) -> None:
        receptor = str(rng.choice(list(target.model.receptors)))
        unit = LINEAR.get(target.model.name, 1.0)
        w = size * scale * unit * rng.normal(0.6, 0.6, (n_source, target.n)) * (1.0 if source.startswith("in") else 0.7)
        mask = rng.random(w.shape) < 0.6 if rng.random() < 0.25 else None
        delay: float | np.ndarray = 0.0
        kind = rng.integers(0, 4) if delays else 0
        if kind == 1:
            delay = float(rng.choice([0.05, 0.7, 3.0, 9.0])) * MS
        elif kind == 2:
            delay = rng.uniform(0, 6 * MS, w.shape)
        name = f"q{len(projections)}"
        learnable = ("w", "delay") if delays and rng.random() < 0.6 else ("w",)
        projections.append(Projection(name, source, target.name, w, receptor, mask, learnable, delay=delay))

    for k, p in enumerate(populations):
        for s in inputs:
            if k == 0 or rng.random() < 0.3:
                connect(s.name, s.n, p, 1.0)
        for m2, q in enumerate(populations):
            if not q.model.spiking:
                continue
            if m2 == k - 1 or rng.random() < (0.3 if m2 < k else 0.25):
                connect(q.name, q.n, p, 0.5 if m2 < k else 0.3)
                words.append(f"{m2}->{k}{'*' if m2 >= k else ''}")
    spikes = {}
    for s in inputs:
        times = rng.uniform(0, 25 * MS, (trials, s.n, int(rng.integers(1, 4))))
        if rng.random() < 0.25:
            times = np.round(times, 3)  # a raster of 1 ms: simultaneous inputs
        if rng.random() < 0.3:
            times[rng.random(times.shape) < 0.3] = np.inf
        spikes[s.name] = np.sort(times, axis=2)
    network = Network(
        "drawn", inputs, tuple(populations), tuple(projections), populations[-1].name, float(rng.uniform(30, 45)) * MS
    )
    return Drawn(network, spikes, f"seed {seed}: {' '.join(words)}")
