"""Forced spikes: their likelihood against a closed form, the reference, and differences of either."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from brian2 import ms, mV, nS, pA, pF
from scipy.integrate import quad

import snnmodels as snn
from snnmodels import oracle
from snnmodels.fitting.likelihood import FORCED, SOFTNESS, ForcedSpikeLikelihood, forced_model
from snnmodels.templates import Model, Network
from tests.needs import COMPILER, TARGETS

SPIKES = np.array([[[12e-3, 31e-3, 40e-3], [20e-3, 55e-3, np.inf]]])  # seconds; one trial, two neurons
DURATION = 60e-3
CURRENT = 180e-12
VALUES = {
    "C_m": 200e-12, "g_L": 10e-9, "v_rest": -70e-3, "v_th": -54e-3, "v_reset": -62e-3, "t_ref": 3.5e-3, SOFTNESS: 3e-3,
}  # fmt: skip


def network(model: Model, values: dict[str, float], duration: float = DURATION) -> Network:
    """Two neurons, each with forced spikes of its own and the same current."""
    return Network(
        "forced",
        inputs=(snn.SpikeInput("recorded", 2),),
        populations=(snn.Population("cells", 2, model, values, learnable=tuple(values)),),
        projections=(
            snn.Projection("p", "recorded", "cells", np.eye(2), FORCED, np.eye(2, dtype=bool), learnable=False),
        ),
        output="cells",
        duration=duration,
        currents=(snn.CurrentInput("stimulus", 1, 10e-3, unit="amp"),),
        drives=(snn.Drive("gain", "stimulus", "cells", np.ones((1, 2)), "I_syn", learnable=False),),
    )


def closed_form(p: dict[str, float]) -> float:
    """The loss of `lif_current` at a constant current, from the exponential and quadrature."""
    rest, tau = p["v_rest"] + CURRENT / p["g_L"], p["C_m"] / p["g_L"]
    total = 0.0
    for train in SPIKES[0]:
        v, begin = p["v_rest"], 0.0
        for end in [*train[np.isfinite(train)], DURATION]:

            def hazard(t: float, v: float = v, begin: float = begin) -> float:
                u = rest + (v - rest) * np.exp(-(t - begin) / tau)
                return np.exp((u - p["v_th"]) / p[SOFTNESS]) * 1e3

            total += quad(hazard, begin, end, epsabs=1e-13, epsrel=1e-13)[0]
            if end < DURATION:
                total -= np.log(hazard(end) * 1e-3)
            v, begin = p["v_reset"], end + p["t_ref"]
    return total / np.isfinite(SPIKES).sum()


@pytest.mark.parametrize("target", TARGETS)
def test_a_leaky_neuron_has_the_likelihood_of_its_closed_form(target: str) -> None:
    forced = network(forced_model(snn.load_model("lif_current"), 1e-3), VALUES)
    inputs = {"recorded": SPIKES, "stimulus": np.full(6, CURRENT)}
    with snn.Simulation(forced, ForcedSpikeLikelihood(), batch_size=1, target=target) as simulation:
        found = simulation.run(inputs, SPIKES)
    assert found.loss == pytest.approx(closed_form(VALUES), rel=1e-10)
    for name, value in VALUES.items():
        h = 1e-3 * abs(value)
        # of fourth order, so that the differences' own error is below what is asked for
        at = [closed_form({**VALUES, name: value + k * h}) for k in (-2, -1, 1, 2)]
        slope = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h)
        assert float(found.gradients[f"cells.{name}"]) == pytest.approx(slope, rel=1e-6), name


MEMBRANE = {"C_m": 200 * pF, "g_L": 10 * nS, "v_th": -54 * mV}
ADAPTING = {
    "gif": MEMBRANE | {"b": 20 * pA, "delta_th": 2 * mV, "t_ref": 3 * ms},
    "lif_current+current_adaptation": MEMBRANE | {"b": 20 * pA, "t_ref": 3 * ms},
    "lif_current+adaptive_threshold": MEMBRANE | {"beta": 2 * mV},
    "lif+adaptive_threshold": {"tau_m": 15 * ms, "beta": 0.2},
    "lif+dead_time": {"tau_m": 15 * ms, "t_ref": 3 * ms},
}


@COMPILER
@pytest.mark.parametrize(
    "name", ["gif", *(pytest.param(name, marks=pytest.mark.slow) for name in ADAPTING if name != "gif")]
)
def test_likelihoods_of_other_models_are_those_of_the_reference(name: str) -> None:
    model = snn.load_model(name)
    dimensionless = name.startswith("lif+")
    forced = network(forced_model(model, 0.2 if dimensionless else 2e-3), {**ADAPTING[name]})
    if dimensionless:
        forced = replace(forced, currents=(replace(forced.currents[0], unit="1"),))
    population = forced.populations[0]
    forced = replace(forced, populations=(replace(population, learnable=(*population.learnable, SOFTNESS)),))
    rng = np.random.default_rng(1)
    samples = rng.normal(0.8, 0.3, 6) if dimensionless else rng.normal(180e-12, 60e-12, 6)
    inputs = {"recorded": SPIKES, "stimulus": samples}
    loss = ForcedSpikeLikelihood()
    with snn.Simulation(forced, loss, batch_size=1, target="cpp_standalone", tolerance=1e-12) as simulation:
        found = simulation.run(inputs, SPIKES)
    expected = oracle.gradient(forced, inputs, ForcedSpikeLikelihood(), SPIKES)
    assert found.loss == pytest.approx(expected.loss, rel=1e-8)
    assert set(found.gradients) == set(expected.gradients)
    for key, gradient in expected.gradients.items():
        np.testing.assert_allclose(
            found.gradients[key], gradient, rtol=1e-6, atol=1e-7 * np.abs(gradient).max(), err_msg=key
        )


def test_what_can_not_be_forced_is_refused() -> None:
    with pytest.raises(ValueError, match="has no threshold"):
        forced_model(snn.load_model("leaky_integrator"), 1.0)
    with pytest.raises(ValueError, match="mechanisms refractory and dead_time"):
        forced_model(snn.load_model("lif+partial_refractory"), 1.0)
    with pytest.raises(ValueError, match=r"'forced_spikes'.*rename"):
        forced_model(forced_model(snn.load_model("lif"), 1.0), 1.0)
    with pytest.raises(ValueError, match="softness: expected a positive number, got 0"):
        forced_model(snn.load_model("lif"), 0)


def test_a_spike_within_the_refractory_period_is_told() -> None:
    forced = network(forced_model(snn.load_model("lif_current"), 1e-3), {**VALUES, "t_ref": 10e-3})
    inputs = {"recorded": SPIKES, "stimulus": np.full(6, CURRENT)}
    with (
        snn.Simulation(forced, ForcedSpikeLikelihood(), batch_size=1) as simulation,
        pytest.raises(ValueError, match=r"neuron 0: the recorded spike at 0\.04 s falls into the refractory"),
    ):
        simulation.run(inputs, SPIKES)


def test_a_population_whose_spikes_are_its_own_is_refused() -> None:
    with pytest.raises(ValueError, match="take forced_model of it"):
        snn.Simulation(snn.load_network("yin_yang"), ForcedSpikeLikelihood("hidden"))
