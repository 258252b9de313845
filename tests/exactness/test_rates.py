"""A neuron with the rates of a channel as they are published: exprel, quantities, functions, derived parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import brian2
import numpy as np
import pytest

from snnmodels import oracle
from snnmodels.brian.plain import neuron_group
from snnmodels.gradients.grid import GridSimulation
from snnmodels.reports import derivation
from snnmodels.symbolic.declaration import hybrid_system
from snnmodels.targets.cpp.engine import CppEngine
from snnmodels.targets.numpy.engine import NumpyEngine
from snnmodels.templates import Model, Network, Population, Projection, SpikeInput, load_model
from tests.events.agreement import assert_agrees, run
from tests.needs import COMPILER
from tests.oracle.networks import Polynomial

MS = 1e-3
# at rest the rate of opening is 0/0 written out
CHANNEL = """
kind = "neuron"
title = "Leaky integrate-and-fire neuron with a channel"
description = "A channel whose rate of opening is a linoid, as that of sodium."
equations = '''
dv/dt = (E_L - v + g_m*m**2*(E_m - v) + I_syn)/tau : volt
dm/dt = opening(v)*(1 - m) - 4*exp(-(v + 80*mV)/(18*mV))/ms*m : 1
'''
threshold = "v > V_th + 0.1*mV*pi*m"
reset = ["v = E_L - 1*mV", "m = m*exp(-m)"]
default_synapse = "exp_synapse"
constraints = ["V_th > E_L + 2*mV"]

[functions]
"linoid(x, k)" = "0.1/ms/exprel(-x/k)"
"opening(v)" = "linoid(v + 60*mV, 10*mV)"

[derived]
g_m = { value = "g*tau/(10*ms)", unit = "1", description = "conductance of the channel" }

[inputs]
I_syn = { unit = "volt", scale = "15*mV", description = "drive" }

[states]
v = { initial = "-60*mV", scale = "15*mV", description = "membrane potential" }
m = { initial = "0.2/exprel(0.3)", description = "activation" }

[parameters]
E_L = { default = "-60*mV", unit = "volt", description = "leak" }
E_m = { default = "-20*mV", unit = "volt", description = "reversal potential" }
V_th = { default = "-50*mV", unit = "volt", description = "threshold" }
g = { default = 0.4, unit = "1", description = "conductance relative to the leak" }
tau = { default = "10*ms", unit = "second", description = "membrane time constant" }
"""


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The model."""
    path = tmp_path_factory.mktemp("neurons") / "channel.toml"
    path.write_text(CHANNEL)
    return load_model(path)


def test_quantities_are_numbers_in_si_units(channel: Model) -> None:
    system = hybrid_system(channel)
    assert {s.name for e in system.f.values() for s in e.free_symbols} <= {*channel.parameters, *channel.state_names}
    v, m, _ = system.states
    rate = float(system.f[m].subs({**system.defaults, v: -0.06, m: 0.5}))
    assert rate == pytest.approx(100 * 0.5 - 4000 * np.exp(-20 / 18) * 0.5, rel=1e-14)


@pytest.fixture(scope="module")
def case(channel: Model) -> tuple[Network, dict[str, np.ndarray]]:
    """An input, a neuron, and one behind it; everything learnable."""
    populations = [Population(name, 1, channel, {}, tuple(channel.parameters)) for name in ("first", "out")]
    ends = [("a", "first", 0.03), ("first", "out", 0.06)]
    projections = [Projection("", source, target, np.array([[w]])) for source, target, w in ends]
    network = Network("two", (SpikeInput("a", 1),), tuple(populations), tuple(projections), "out", 20 * MS)
    return network, {"a": np.array([[[1 * MS, 4 * MS]]])}


@pytest.fixture(scope="module")
def reference(case: tuple[Network, dict[str, np.ndarray]]) -> oracle.OracleGradient:
    """The same by the reference."""
    return oracle.gradient(*case, Polynomial(), np.zeros(1, dtype=int))


@pytest.mark.parametrize("make", [NumpyEngine, pytest.param(CppEngine, marks=COMPILER)])
def test_engines_agree_with_the_reference(
    case: tuple[Network, dict[str, np.ndarray]], reference: oracle.OracleGradient, make: Callable[..., Any]
) -> None:
    found = run(make, *case, tolerance=1e-12)
    assert found.engine.spike_count(1) > 0
    assert_agrees(found, reference, time=1e-12, gradient=1e-8)


def test_the_reference_agrees_with_differences(
    case: tuple[Network, dict[str, np.ndarray]], reference: oracle.OracleGradient
) -> None:
    network, inputs = case
    first = network.populations[0]
    for name in ("g", "E_L", "tau"):
        losses = []
        for step in (-1e-5, 1e-5):
            value = first.model.parameters[name].value * (1 + step)
            moved = dataclasses.replace(first, parameters={name: value})
            other = dataclasses.replace(network, populations=(moved, network.populations[1]))
            losses.append(run(NumpyEngine, other, inputs, tolerance=1e-13).loss)
        difference = (losses[1] - losses[0]) / (2e-5 * first.model.parameters[name].value)
        assert difference != 0
        assert float(reference.gradients[f"first.{name}"].sum()) == pytest.approx(difference, rel=1e-5)


@pytest.mark.slow
def test_on_a_time_grid(channel: Model) -> None:
    population = Population("out", 1, channel, {}, ("g", "V_th"))
    projection = Projection("a_out", "a", "out", np.array([[0.03]]))
    network = Network("small", (SpikeInput("a", 1),), (population,), (projection,), "out", 20 * MS)
    inputs = {"a": np.array([[[1 * MS, 4 * MS]]])}
    expected = run(NumpyEngine, network, inputs)
    assert expected.engine.spike_count(0) == 1
    with GridSimulation(network, Polynomial(), dt=0.02 * MS, target="numpy") as simulation:
        found = simulation.run(inputs, np.zeros(1, dtype=int))
    assert found.loss == pytest.approx(expected.loss, rel=1e-6)
    for key in ("a_out.w", "out.g", "out.V_th"):
        np.testing.assert_allclose(found.gradients[key], expected.gradients[key], rtol=1e-6)


@pytest.mark.slow
def test_in_plain_brian2(channel: Model) -> None:
    model = load_model(channel.files[0], "delta_synapse")
    group = neuron_group(model, 1, method="rk4", dt=0.01 * brian2.ms, I_syn=12 * brian2.mV)
    spikes = brian2.SpikeMonitor(group)
    brian2.Network(group, spikes).run(20 * brian2.ms)
    network = Network("one", (), (Population("out", 1, model, {"I_syn": 12e-3}),), (), "out", 20 * MS)
    expected = oracle.simulate(network, {}).spikes["out"][0, 0]
    assert len(expected) > 0
    np.testing.assert_allclose(spikes.t / brian2.second, expected, rtol=0, atol=0.02 * MS)


def test_the_report(channel: Model) -> None:
    system = hybrid_system(channel)
    assert r"\operatorname{exprel}" in derivation(system, "latex")
