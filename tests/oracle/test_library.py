"""Every model of the library, in its own units, against differences of the oracle's own loss."""

from __future__ import annotations

import numpy as np
import pytest

from snnmodels.templates import load_model
from snnmodels.templates.groups import Population, Projection, SpikeInput
from snnmodels.templates.network import Network
from tests.oracle.networks import MS, Polynomial, SumOfMaxima, deviations

# components, and the weight that makes two neurons spike a few times each, in SI units
LIBRARY = [
    (("lif", "exp_synapse"), 4.0),
    (("lif", "delta_synapse"), 0.6),
    (("lif", "alpha_synapse"), 6.0),
    (("integrate_and_fire", "exp_synapse"), 3.0),
    (("lif", "exp_synapse", "adaptive_threshold"), 4.0),
    (("lif", "exp_synapse", "current_adaptation"), 4.0),
    (("lif", "exp_synapse", "current_adaptation", "subthreshold_adaptation"), 4.0),
    (("qif", "exp_synapse"), 0.06),
    (("eif", "exp_synapse"), 0.06),
]


def network_of(components: tuple[str, ...], weight: float) -> tuple[Network, dict[str, np.ndarray]]:
    model = load_model(*components)
    rng = np.random.default_rng(2)
    network = Network(
        "+".join(components),
        (SpikeInput("in", 3),),
        (Population("out", 2, model, learnable=tuple(model.parameters)),),
        (Projection("in_out", "in", "out", weight * rng.uniform(0.6, 1.4, (3, 2))),),
        "out",
        50 * MS,
    )
    return network, {"in": rng.uniform(0, 20 * MS, (1, 3))}


@pytest.mark.parametrize(("components", "weight"), LIBRARY, ids=["+".join(c) for c, _ in LIBRARY])
def test_gradients_equal_differences(components: tuple[str, ...], weight: float) -> None:
    network, inputs = network_of(components, weight)
    found, result = deviations(network, inputs, Polynomial())
    assert np.isfinite(result.spikes["out"][..., 0]).all()
    assert {k: v for k, v in found.items() if v > 1e-7} == {}
    assert np.abs(result.gradients["in.times"]).max() > 0


def test_maximum_of_the_leaky_integrator() -> None:
    network, inputs = network_of(("leaky_integrator", "exp_synapse"), 1.0)
    found, result = deviations(network, inputs, SumOfMaxima())
    assert set(result.simulation.maximum("v").kind.ravel()) == {"smooth"}
    assert {k: v for k, v in found.items() if v > 1e-7} == {}
