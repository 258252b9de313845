"""Compiled simulations equal NumPy's with ordinary Synapses: spike times to 1e-9 ms, gradients to 1e-9."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from snnmodels.eventprop import Outcome, Probe, Simulation, check_gradient
from snnmodels.eventprop.probe import SmoothMaxima
from tests.exactness.networks import LINEAR, MS, NONLINEAR, RESONANT, library_probe
from tests.exactness.test_library import assert_agrees, assert_exact
from tests.exactness.test_networks import excitatory_inhibitory, kink_network

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")]

EVERY = {**LINEAR, RESONANT: 0, **dict.fromkeys(NONLINEAR, 0)}
SLOW = pytest.mark.slow


def outcome(probe: Probe, target: str, **options: object) -> tuple[Outcome, dict[str, np.ndarray]]:
    keywords = {"batch_size": len(probe.targets), "dt": 0.5 * MS, "target": target, **options}
    with Simulation(probe.network, probe.loss, **keywords) as simulation:  # type: ignore[arg-type]
        found = simulation.run(probe.inputs, probe.targets)
        spiking = [p.name for p in probe.network.populations if p.model.spiking]
        return found, {name: np.array(simulation.spike_times(name)) for name in spiking}


def assert_same(probe: Probe, target: str, **options: object) -> None:
    expected, spikes = outcome(probe, "numpy", projections="synapses")
    found, times = outcome(probe, target, **options)
    for name, train in spikes.items():
        assert np.isfinite(train).any()
        np.testing.assert_array_equal(np.isfinite(times[name]), np.isfinite(train), err_msg=name)
        there = np.isfinite(train)
        np.testing.assert_allclose(times[name][there], train[there], rtol=0, atol=1e-12, err_msg=name)
    assert found.loss == pytest.approx(expected.loss, rel=1e-10)
    assert found.spikes == expected.spikes
    assert found.smallest_gdot == pytest.approx(expected.smallest_gdot, rel=1e-9)
    for key, value in expected.gradients.items():
        assert np.linalg.norm(found.gradients[key] - value) <= 1e-9 * np.linalg.norm(value), key


def some(name: str) -> object:
    """Three models that stand for the rest in the quick run: closed form, arrivals that fire, Taylor series."""
    quick = ("lif+exp_synapse", "lif+delta_synapse", "eif+exp_synapse")
    return pytest.param(name, EVERY[name], marks=[] if name in quick else [SLOW], id=name)


@pytest.mark.parametrize(("name", "seed"), [some(n) for n in EVERY])
def test_cpp_standalone(name: str, seed: int) -> None:
    assert_same(library_probe(name, seed), "cpp_standalone")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n == "lif+exp_synapse" else [SLOW]) for n in EVERY])
def test_cpp_standalone_with_ordinary_synapses(name: str) -> None:
    assert_same(library_probe(name, EVERY[name]), "cpp_standalone", projections="synapses")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "seed"), EVERY.items())
def test_cython(name: str, seed: int) -> None:
    assert_same(library_probe(name, seed), "cython")


@pytest.mark.parametrize("arrival", [5.2, 5.0])
def test_maximum_on_a_kink(arrival: float) -> None:
    times = {"input": np.array([[2.13, arrival]]) * MS}
    probe = Probe(kink_network((1.0, -6.0)), times, SmoothMaxima("v", 1.0), np.zeros(1, dtype=int))
    for dt in (0.5, 0.1):
        expected, _ = outcome(probe, "numpy", dt=dt * MS)
        found, _ = outcome(probe, "cpp_standalone", dt=dt * MS)
        assert found.gradients["input.times"][0, 1] > 1.0
        for key, value in expected.gradients.items():
            np.testing.assert_allclose(found.gradients[key], value, rtol=1e-9, atol=1e-12, err_msg=key)


@pytest.mark.slow
def test_recurrent_network() -> None:
    from snnmodels.eventprop.probe import SmoothSpikeTimes

    network, times = excitatory_inhibitory(5)
    assert_same(Probe(network, times, SmoothSpikeTimes(), np.zeros(2, dtype=int)), "cpp_standalone")


@pytest.mark.slow
@pytest.mark.parametrize("dt", [1.0, 0.5, 0.1])
@pytest.mark.parametrize(("name", "seed"), EVERY.items())
def test_check_on_cpp_standalone(name: str, seed: int, dt: float) -> None:
    linear = name not in NONLINEAR
    report = check_gradient(library_probe(name, seed), target="cpp_standalone", dt=dt * MS, oracle=linear)
    assert_agrees(report)
    if linear and not (name == RESONANT and dt == 1):
        assert_exact(report)
