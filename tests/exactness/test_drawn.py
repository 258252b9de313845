"""Networks drawn at random from a few kinds of populations, linear and nonlinear, with all that a network may have.

All populations of a kind share one compiled model, so that hundreds of networks need but a few compilations.
`tests/events/test_drawn_networks.py` draws linear models in more forms.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from snnmodels.gradients import SimulationError
from snnmodels.gradients.probe import SmoothMaxima
from snnmodels.losses import VoltageError
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model
from tests.exactness.networks import EXACT, MS, NEAR, SLOW, Bounds, Case, assert_agrees, reference, simulated
from tests.needs import COMPILER, HAS_COMPILER
from tests.oracle.networks import Polynomial

FEW, MOST = 4, 300  # spikes of a batch


class Kind(NamedTuple):
    """A model, and a weight of a size at which a few arrivals make a spike."""

    model: tuple[str, ...]
    weight: float
    own: tuple[str, ...] = ()  # parameters that each neuron has its own value of


KINDS = {
    "two receptors": Kind(("lif", "exp_synapse:exc", "exp_synapse:inh"), 1.6),
    "each its own": Kind(("lif", "exp_synapse"), 1.6, ("tau_m", "tau_syn", "v_th")),
    "adaptive": Kind(("lif", "exp_synapse", "adaptive_threshold"), 1.8),
    "jumping": Kind(("lif", "delta_synapse"), 0.45),
    "held": Kind(("lif", "exp_synapse", "refractory"), 1.8),
    "jumping and held": Kind(("lif", "delta_synapse", "refractory"), 0.5),
    "without leak": Kind(("integrate_and_fire", "exp_synapse"), 0.6),
}
NONLINEAR = {
    "quadratic": Kind(("qif", "exp_synapse"), 25 * MS),
    "exponential": Kind(("eif", "exp_synapse"), 9 * MS),
    "quadratic and held": Kind(("qif", "exp_synapse", "refractory"), 28 * MS),
}
READOUT = Kind(("leaky_integrator", "exp_synapse"), 1.0)


def draw(seed: int) -> Case:
    """One network with inputs and a loss; every fourth one has nonlinear populations, every fifth a readout."""
    rng = np.random.default_rng([11, seed])
    kinds = {**KINDS, **NONLINEAR} if seed % 4 == 3 else KINDS
    reading = seed % 5 == 4
    sources = [SpikeInput(f"input{k}", int(rng.integers(2, 6))) for k in range(rng.integers(1, 3))]
    strength = float(rng.choice([1.0, 1.5, 2.5]))
    populations: list[Population] = []
    chosen: list[Kind] = []
    projections: list[Projection] = []
    late: set[str] = set()  # those whose spikes make others at once

    def connect(source: SpikeInput | Population, target: Population, kind: Kind, size: float) -> None:
        shape = (source.n, target.n)
        weights = size * strength * kind.weight * rng.normal(0.6, 0.6, shape)
        mask = rng.uniform(size=shape) < 0.6 if rng.uniform() < 0.25 else None
        how = rng.choice(["none", "one", "each"], p=[0.5, 0.25, 0.25])
        if source.name in late and how == "none":
            how = "one"
        delay = {"none": 0.0, "one": rng.uniform(0.05, 9) * MS, "each": rng.uniform(0, 6, shape) * MS}[how]
        receptor = str(rng.choice(list(target.model.receptors)))
        learnable = ("w", "delay") if how != "none" else ("w",)
        name = f"{source.name}_{target.name}_{len(projections)}"
        projections.append(Projection(name, source.name, target.name, weights, receptor, mask, learnable, delay=delay))

    count = int(rng.integers(2 if reading else 1, 4))
    for k in range(count):
        kind = READOUT if reading and k == count - 1 else kinds[str(rng.choice(list(kinds)))]
        model, n = load_model(*kind.model), int(rng.integers(2, 9))
        values = {p: model.parameters[p].value * rng.uniform(0.8, 1.25, n) for p in kind.own}
        values |= {"t_ref": float(rng.choice([0.3, 2.0, 6.0])) * MS} if "t_ref" in model.parameters else {}
        new = Population(f"population{k}", n, model, values, tuple(model.parameters))
        populations.append(new)
        chosen.append(kind)
        if "delta_synapse" in model.receptors:
            late.add(new.name)
        for s in sources:
            if k == 0 or rng.uniform() < 0.4:
                connect(s, new, kind, 1.0)
        for m, p in enumerate(populations):
            if p.model.spiking and (m == k - 1 or rng.uniform() < (0.3 if m < k else 0.35)):
                connect(p, new, kind, 0.6 if m < k else 0.3)
                if m < k and new.model.spiking and rng.uniform() < 0.2:
                    connect(new, p, chosen[m], 0.3)
    times = {}
    for s in sources:
        t = rng.uniform(0, 25 * MS, (2, s.n, int(rng.integers(1, 4))))
        if rng.uniform() < 0.25:
            t = np.round(t, 3)  # several at one instant
        t[rng.uniform(size=t.shape) < 0.15] = np.inf
        times[s.name] = np.sort(t, axis=2)
    duration = float(rng.uniform(30, 45)) * MS
    network = Network("drawn", tuple(sources), tuple(populations), tuple(projections), populations[-1].name, duration)
    if not reading:
        return Case(network, times, Polynomial())
    if seed % 2:
        return Case(network, times, SmoothMaxima("v", 1.0))
    loss = VoltageError(interval=1.7 * MS)
    return Case(network, times, loss, np.zeros((2, populations[-1].n, int(duration / loss.interval + 1e-9))))


def is_linear(case: Case) -> bool:
    return not any(p.model.name.startswith(("qif", "eif")) for p in case.network.populations)


def compare(seed: int) -> bool:
    """Whether the network of a seed could be compared: it has a trajectory, and neither too few spikes nor too many."""
    case = draw(seed)
    quick = "numpy" if not HAS_COMPILER else "cpp_standalone"
    try:
        found = simulated(case, quick, max_spikes=MOST)
    except SimulationError as error:
        assert "no longer finite" not in str(error) and "bug" not in str(error), f"seed {seed}: {error}"
        return False
    if not FEW <= sum(int(np.isfinite(t).sum()) for t in found.spikes.values()) <= MOST:
        return False
    note = f"seed {seed} ({', '.join(p.model.name for p in case.network.populations)})"
    linear = is_linear(case)
    assert_agrees(found, reference(case), EXACT if linear else NEAR, note)
    if quick != "numpy" and (linear or seed % 3 == 0):
        same = Bounds(1e-13, 1e-10) if linear else Bounds(1e-12, 1e-9)
        assert_agrees(found, simulated(case), same, f"{note} on numpy")
    if seed % 2:
        window = float(np.random.default_rng(seed).choice([0.1, 0.9, 7.0, 1000.0])) * MS
        same = Bounds(1e-13, 1e-10) if linear else NEAR
        assert_agrees(simulated(case, quick, window=window), found, same, f"{note} with a window of {window} s")
    return True


BLOCK = 20


@pytest.mark.parametrize("block", [0, *(pytest.param(k, marks=SLOW) for k in range(1, 16))])
@COMPILER
def test_networks_of_every_kind(block: int) -> None:
    compared = sum(compare(seed) for seed in range(BLOCK * block, BLOCK * (block + 1)))
    assert compared >= BLOCK / 2
