"""Silent neurons and near tangencies, against what is known of one neuron and what samples of potentials show."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from brian2 import mV, second, volt

from snnmodels.gradients import Simulation
from snnmodels.losses import Samples, SpikeTimes
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model
from tests.events.agreement import random_network
from tests.needs import TARGETS

MS = 1e-3
TAU_M, TAU_S = 20 * MS, 5 * MS


def one(weights: Any, times: Any, model: str = "lif+exp_synapse", **options: Any) -> Network:
    """Neurons that each get all of some input spikes, with weights (spikes, neurons)."""
    w = np.atleast_2d(np.asarray(weights, dtype=float).T).T
    network = Network(
        "one",
        (SpikeInput("in", len(w)),),
        (Population("p", w.shape[1], load_model(model), options),),
        (Projection("q", "in", "p", w),),
        "p",
        60 * MS,
    )
    return network


def report(network: Network, times: Any, distance: Any = 0.1, slope: Any = 10.0, **options: Any) -> Any:
    with Simulation(network, SpikeTimes("p"), batch_size=4, **options) as simulation:
        return simulation.spike_report({"in": np.atleast_2d(times) * MS}, distance=distance, slope=slope)["p"]


def peak(w: float) -> float:
    """Largest potential after one arrival at an exponential synapse, with v' = (I - v)/tau_m."""
    at = np.log(TAU_M / TAU_S) / (1 / TAU_S - 1 / TAU_M)
    return float(w * TAU_S / (TAU_M - TAU_S) * (np.exp(-at / TAU_M) - np.exp(-at / TAU_S)))


def test_one_potential_that_turns_back() -> None:
    weights = np.array([0.5, 0.9, 0.999, 1.5]) / peak(1.0)
    found = report(one([weights], [3.0]), [[3.0]])
    np.testing.assert_array_equal(found.spikes, [[0, 0, 0, 1]])
    np.testing.assert_allclose(found.approach[0, :3], [-0.5, -0.1, -0.001], rtol=0, atol=1e-12)
    assert found.silent == 3
    assert found.always_silent == 3
    assert report(one([weights], [3.0]), [[3.0]], distance=0.1001).near_misses >= 2
    assert report(one([weights[:3]], [3.0]), [[3.0]], distance=0.0999).near_misses == 1
    assert "of 4 neurons 3 silent (3 in all trials)" in str(found)


def test_a_slow_crossing_is_counted() -> None:
    weights = np.array([1.0001, 1.5]) / peak(1.0)
    found = report(one([weights], [3.0]), [[3.0]], slope=5.0)
    np.testing.assert_array_equal(found.spikes, [[1, 1]])
    assert found.gdot[0].shape == (2,)
    assert found.gdot[0].min() < 5.0 < found.gdot[0].max()
    assert found.flat_spikes == 1


def test_kinks_jumps_and_the_end_of_a_trial() -> None:
    """An inhibitory arrival cuts the rise; a delta synapse jumps and decays; the trial ends while a potential rises."""
    cut = report(one([[0.8 / peak(1.0)], [-50.0]], None), [[3.0, 5.0]])
    s = 2 * MS
    v = 0.8 / peak(1.0) * TAU_S / (TAU_M - TAU_S) * (np.exp(-s / TAU_M) - np.exp(-s / TAU_S))
    np.testing.assert_allclose(cut.approach, v - 1, atol=1e-12)
    jump = report(one([[0.6], [0.3]], None, "lif+delta_synapse"), [[3.0, 9.0]])
    np.testing.assert_allclose(jump.approach, 0.6 * np.exp(-6 * MS / TAU_M) + 0.3 - 1, atol=1e-12)
    late = report(one([[0.8 / peak(1.0)]], None), [[59.0]])
    s = 1 * MS
    v = 0.8 / peak(1.0) * TAU_S / (TAU_M - TAU_S) * (np.exp(-s / TAU_M) - np.exp(-s / TAU_S))
    np.testing.assert_allclose(late.approach, v - 1, atol=1e-12)
    never = report(one([[-1.0]], None), [[3.0]])
    assert never.approach == -np.inf or never.approach <= -1 + 1e-12
    assert never.near_misses == 0


@pytest.mark.parametrize("model", ["lif+exp_synapse", "lif+exp_synapse+refractory", "lif+alpha_synapse"])
def test_networks_against_samples_of_their_potentials(model: str) -> None:
    """Local maxima of v, sampled every 20 us, with those that belong to a spike taken out."""
    network, inputs = random_network(load_model(model), 2.0, 4, recurrent=0.5, delay="common")
    step = 2e-5
    with Simulation(network, [Samples("first", "v", step), SpikeTimes("first")], batch_size=2) as simulation:
        v, spikes = simulation.forward(inputs, gradient=False)
        found = simulation.spike_report(inputs, distance=0.2, slope=20.0)["first"]
    for window in (None, 0.13e-3):
        with Simulation(network, SpikeTimes("first"), batch_size=2, window=window) as simulation:
            other = simulation.spike_report(inputs, distance=0.2, slope=20.0)["first"]
        np.testing.assert_allclose(other.approach, found.approach, rtol=0, atol=1e-9)
        np.testing.assert_array_equal(other.flat_spikes, found.flat_spikes)
    v = np.concatenate([np.zeros((*v.shape[:2], 1)), v], axis=2)
    assert np.isfinite(spikes).sum() > 3
    first = next(p for p in network.populations if p.name == "first")
    threshold = np.broadcast_to(first.value("v_th"), first.n)
    np.testing.assert_array_equal(found.spikes, np.isfinite(spikes).sum(axis=2))
    for trial, neuron in np.ndindex(*v.shape[:2]):
        x = v[trial, neuron] - threshold[neuron]
        tops = np.flatnonzero((x[1:-1] > x[:-2]) & (x[1:-1] >= x[2:])) + 1
        times = spikes[trial, neuron]
        tops = [k for k in tops if not (np.abs(times - k * step) <= 1.5 * step).any()]
        values = [x[k] for k in tops] + ([x[-1]] if x[-1] > x[-2] else [])
        expected = max(values, default=-np.inf)
        assert found.approach[trial, neuron] == pytest.approx(expected, abs=2e-3), (trial, neuron)
    assert found.near_misses.sum() == (found.approach >= -0.2).sum()


def test_a_nonlinear_model() -> None:
    """In volts, followed by Taylor series, against the largest of its sampled potentials."""
    network, inputs = one([[0.02], [0.02]], None, "qif+exp_synapse"), {"in": np.array([[3.0, 12.0]]) * MS}
    with Simulation(network, Samples("p", "v", 2e-5), batch_size=1) as simulation:
        v = simulation.forward(inputs, gradient=False)
        found = simulation.spike_report(inputs, distance=72 * mV, slope=1 * volt / second)["p"]
    assert found.approach[0, 0] == pytest.approx(v.max() - 0.02, abs=1e-6)  # type: ignore[union-attr]
    assert found.approach[0, 0] >= v.max() - 0.02  # type: ignore[union-attr]
    assert found.near_misses == found.silent == 1


@pytest.mark.parametrize("target", TARGETS[-1:])
def test_it_runs_in_numpy_whatever_the_target(target: str) -> None:
    network = one([np.array([0.9, 1.5]) / peak(1.0)], None)
    here, there = report(network, [[3.0]]), report(network, [[3.0]], target=target)
    np.testing.assert_array_equal(here.approach, there.approach)
    with Simulation(network, SpikeTimes("p"), batch_size=1, target=target) as simulation:  # type: ignore[arg-type]
        simulation.forward({"in": np.array([[3.0 * MS]])})
        with pytest.raises(RuntimeError, match="does not keep the course of a trial; the numpy target does"):
            simulation._engine.approaches(0)


def test_values_take_the_place_of_the_networks_own() -> None:
    network = one([[0.5 / peak(1.0)]], None)
    with Simulation(network, SpikeTimes("p"), batch_size=1) as simulation:
        inputs = {"in": np.array([[3.0 * MS]])}
        values = {"q.w": np.array([[0.9 / peak(1.0)]])}
        found = simulation.spike_report(inputs, values, distance={"p": 0.2}, slope={"p": 1.0})["p"]
        assert found.approach == pytest.approx(-0.1, abs=1e-12)
        assert simulation.spike_report(inputs, distance=0.2, slope=1.0)["p"].approach == pytest.approx(-0.5, abs=1e-12)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"distance": 1 * mV}, "distance of population 'p' has unit volt; expected 1"),
        ({"distance": -1.0}, "distance of population 'p': expected a positive number, got -1.0"),
        ({"distance": {"q": 1.0}}, "distance: there is none for population 'p'"),
        ({"slope": 1 * second}, "slope of population 'p' has unit second; expected 1/second"),
        ({"slope": np.nan}, "slope of population 'p': expected a positive number"),
    ],
)
def test_limits_are_checked(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        report(one([[1.0]], None), [[3.0]], **limits)


def test_a_population_that_does_not_spike_has_no_report() -> None:
    readout = Population("out", 2, load_model("leaky_integrator+exp_synapse"))
    network = one([[1.0]], None)
    network = dataclasses.replace(network, populations=(*network.populations, readout))
    with Simulation(network, SpikeTimes("p"), batch_size=1) as simulation:
        assert set(simulation.spike_report({"in": np.array([[3.0 * MS]])}, distance=0.1, slope=1.0)) == {"p"}
