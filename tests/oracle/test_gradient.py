"""The oracle's gradient against central differences of the oracle's own loss."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from snnmodels.oracle import gradient, simulate
from snnmodels.templates.groups import Population, Projection, SpikeInput
from snnmodels.templates.network import Network
from tests.oracle import models
from tests.oracle.networks import (
    MS,
    Polynomial,
    SumOfMaxima,
    SumOfSamples,
    derivative,
    deviations,
    feed_forward,
    loss_of,
)

TOLERANCE = 1e-7

CASES = {
    "lif_exp": (models.lif(), (4.0, 4.0)),
    "lif_reset": (models.lif(v_reset=-0.3), (4.0, 4.0)),
    "lif_delta_driven": (models.lif_delta(v_rest=1.2), (0.25, 0.3)),
    "lif_alpha": (models.lif_alpha(), (6.0, 8.0)),
    "adaptive": (models.adaptive(), (4.0, 4.0)),
    "qif": (models.qif(), (1.5, 2.0)),
    "eif": (models.eif(), (3.0, 3.0)),
}


@pytest.mark.parametrize("case", CASES)
def test_feed_forward_gradients_equal_differences(case: str) -> None:
    model, scale = CASES[case]
    network, inputs = feed_forward(model, scale)
    found, result = deviations(network, inputs, Polynomial())
    assert np.isfinite(result.spikes["out"]).sum() >= 2
    assert set(found) == {*network.trainable(), "in.times"}
    assert {k: v for k, v in found.items() if v > TOLERANCE} == {}
    for key in ("in_hidden.w", "hidden.tau_m", "hidden.v_th", "in.times"):
        assert np.abs(result.gradients[key]).max() > 1e-3
        assert result.gradients[key].shape == (
            inputs["in"].shape if key == "in.times" else network.trainable()[key].shape
        )


def test_delta_synapse_spikes_at_arrivals_and_by_drift_are_both_met() -> None:
    network, inputs = feed_forward(*CASES["lif_delta_driven"])
    simulation = simulate(network, inputs)
    total = sum(np.isfinite(t).sum() for t in simulation.spikes.values())
    assert 0 < simulation.at_arrivals < total


def test_spikes_carried_across_threshold_by_arrivals_move_with_them() -> None:
    # the hidden neuron fires at the second input, and makes the output fire in the same instant
    model = models.lif_delta()
    network = Network(
        "cascade",
        (SpikeInput("in", 2),),
        (
            Population("hidden", 1, model, learnable=tuple(model.parameters)),
            Population("out", 1, model, learnable=tuple(model.parameters)),
        ),
        (
            Projection("in_hidden", "in", "hidden", np.array([[0.6], [0.5]]), "syn"),
            Projection("hidden_out", "hidden", "out", np.array([[0.95]]), "syn"),
        ),
        "out",
        40 * MS,
    )
    inputs = {"in": np.array([[[5.0], [9.0]]]) * MS}
    found, result = deviations(network, inputs, Polynomial())
    assert result.simulation.at_arrivals == 2
    assert result.spikes["out"].tolist() == [[[9 * MS]]]
    assert max(found.values()) < TOLERANCE
    t = 9 * MS / (20 * MS)
    # the spike is the arrival: dL/dt of the input is that of the output spike, and nothing else matters
    assert result.gradients["in.times"][0, :, 0] == pytest.approx([0.0, (1 + 2 * t) / (20 * MS)], rel=1e-12)
    assert np.all(result.gradients["in_hidden.w"] == 0)
    assert result.gradients["hidden.v_th"] == 0


def test_a_spike_at_an_arrival_hands_later_effects_on() -> None:
    # after the forced spike the output drifts across threshold: that second spike depends on the first one's time
    model = models.lif_delta(v_rest=1.3)
    network = Network(
        "then_drift",
        (SpikeInput("in", 1),),
        (Population("out", 1, model, learnable=tuple(model.parameters)),),
        (Projection("in_out", "in", "out", np.array([[0.4]]), "syn"),),
        "out",
        60 * MS,
    )
    found, result = deviations(network, {"in": np.array([[[12.0]]]) * MS}, Polynomial())
    assert result.simulation.at_arrivals == 1
    assert np.isfinite(result.spikes["out"]).sum() == 2
    assert max(found.values()) < TOLERANCE


def recurrent(model, scale: float, seed: int) -> tuple[Network, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    mask = ~np.eye(3, dtype=bool)
    network = Network(
        "recurrent",
        (SpikeInput("in", 3),),
        (
            Population("exc", 3, model, learnable=tuple(model.parameters)),
            Population("inh", 2, model, parameters={"tau_m": np.array([15.0, 18.0]) * MS}, learnable=("tau_m",)),
        ),
        (
            Projection("in_exc", "in", "exc", scale * rng.uniform(0.7, 1.3, (3, 3)), "syn"),
            Projection("exc_exc", "exc", "exc", 0.3 * scale * rng.uniform(0.5, 1.0, (3, 3)), "syn", mask=mask),
            Projection("exc_inh", "exc", "inh", scale * rng.uniform(0.5, 1.0, (3, 2)), "syn"),
            Projection("inh_exc", "inh", "exc", -0.4 * scale * rng.uniform(0.5, 1.0, (2, 3)), "syn"),
        ),
        "exc",
        45 * MS,
    )
    return network, {"in": rng.uniform(0, 15 * MS, (2, 3))}


@pytest.mark.parametrize(
    ("model", "scale", "seed"),
    [(models.lif(), 4.0, 5), (models.lif_delta(v_rest=1.3), 0.4, 5), (models.qif(), 1.5, 5)],
)
def test_recurrent_networks(model, scale: float, seed: int) -> None:
    # seeds under which no two spikes come so close that a difference would exchange them: there the loss has a kink
    network, inputs = recurrent(model, scale, seed)
    found, result = deviations(network, inputs, Polynomial())
    assert np.isfinite(result.spikes["exc"]).sum() >= 8
    assert np.isfinite(result.spikes["inh"]).sum() > 2
    assert {k: v for k, v in found.items() if v > TOLERANCE} == {}
    assert np.all(np.diag(result.gradients["exc_exc.w"]) == 0)
    assert result.gradients["in.times"].shape == (2, 3)


@pytest.mark.parametrize(
    ("readout", "scale"),
    [(models.integrator(), 0.4), (models.lif_delta(v_th=50.0), 0.4), (models.qif(v_th=50.0), 0.1)],
)
def test_maxima_of_a_readout(readout, scale: float) -> None:
    network, inputs = feed_forward(models.lif(), (4.0, scale), readout)
    found, result = deviations(network, inputs, SumOfMaxima())
    kinds = set(result.simulation.maximum("v").kind.ravel())
    # a delta synapse makes a step up, the others bend smoothly
    assert kinds == ({"arrival"} if readout.name == "lif_delta" else {"smooth"})
    assert {k: v for k, v in found.items() if v > TOLERANCE} == {}


@pytest.mark.parametrize(
    ("readout", "scale"),
    [(models.integrator(), 0.4), (models.lif_delta(v_th=50.0), 0.4), (models.qif(v_th=50.0), 0.1)],
)
def test_samples_of_a_readout(readout, scale: float) -> None:
    network, inputs = feed_forward(models.lif(), (4.0, scale), readout)
    found, result = deviations(network, inputs, SumOfSamples())
    assert np.isfinite(result.spikes["hidden"]).sum() >= 2
    assert {k: v for k, v in found.items() if v > TOLERANCE} == {}


def test_a_sample_at_an_arrival_is_taken_before_it_and_one_at_the_end_counts() -> None:
    network, inputs = one_readout(0.5, times=(5.0, 8.0), duration=12 * MS)
    simulation = simulate(network, inputs)
    samples = simulation.samples("i_syn", np.array([5.0, 8.0, 12.0]) * MS)
    tau = 5 * MS
    after = np.exp(-4 * MS / tau) * (0.5 + 1.5 * np.exp(-3 * MS / tau))
    assert samples.value[0, 0] == pytest.approx([0.0, 1.5 * np.exp(-3 * MS / tau), after], rel=1e-11)


def one_readout(inhibition: float, times: tuple[float, float] = (5.0, 8.0), duration: float = 40 * MS):
    model = models.integrator()
    network = Network(
        "kink",
        (SpikeInput("in", 2),),
        (Population("out", 1, model, learnable=tuple(model.parameters)),),
        (Projection("in_out", "in", "out", np.array([[1.5], [inhibition]]), "syn"),),
        "out",
        duration,
    )
    return network, {"in": np.array([times]) * MS}


def test_a_maximum_at_an_inhibitory_arrival_moves_with_it() -> None:
    network, inputs = one_readout(-3.0)
    found, result = deviations(network, inputs, SumOfMaxima())
    maximum = result.simulation.maximum("v")
    peak = maximum.peaks[0, 0]
    assert (peak.kind, peak.source.neuron, peak.after) == ("arrival", 1, False)
    assert maximum.time[0, 0] == 8 * MS
    assert max(found.values()) < TOLERANCE
    # the right term is error times the slope just before the arrival; the weight of the arrival itself plays no part
    tau_m, tau_s, dt = 20 * MS, 5 * MS, 3 * MS
    v = 1.5 * tau_s / (tau_m - tau_s) * (np.exp(-dt / tau_m) - np.exp(-dt / tau_s))
    slope = (1.5 * np.exp(-dt / tau_s) - v) / tau_m
    assert maximum.value[0, 0] == pytest.approx(v, rel=1e-12)
    assert result.gradients["in.times"][0, 1] == pytest.approx((1 + 2 * v) * slope, rel=1e-10)
    assert result.gradients["in_out.w"][1, 0] == 0


def test_a_maximum_at_the_end_and_at_the_start_of_a_trial() -> None:
    network, inputs = one_readout(0.4, times=(5.0, 12.0), duration=14 * MS)
    found, result = deviations(network, inputs, SumOfMaxima())
    assert result.simulation.maximum("v").kind.tolist() == [["end"]]
    assert max(found.values()) < TOLERANCE

    model = models.lif(v_0=0.5)
    network = Network(
        "start",
        (SpikeInput("in", 1),),
        (Population("out", 1, model, learnable=("v_0", "tau_m")),),
        (Projection("in_out", "in", "out", np.array([[-1.0]]), "syn"),),
        "out",
        30 * MS,
    )
    found, result = deviations(network, {"in": np.array([[5 * MS]])}, SumOfMaxima())
    assert result.simulation.maximum("v").kind.tolist() == [["start"]]
    assert result.gradients["out.v_0"] == pytest.approx(2.0, rel=1e-14)
    assert max(found.values()) < TOLERANCE


def test_the_maximum_of_a_spiking_output_is_its_threshold() -> None:
    network, inputs = feed_forward(models.lif(), (4.0, 4.0))
    found, result = deviations(network, inputs, SumOfMaxima())
    assert set(result.simulation.maximum("v").kind.ravel()) == {"spike"}
    assert {k: v for k, v in found.items() if v > TOLERANCE} == {}
    c = 1.0 + 0.4 * np.arange(2)
    assert result.gradients["out.v_th"] == pytest.approx(3 * c.sum(), rel=1e-9)
    assert np.abs(result.gradients["hidden_out.w"]).max() < 1e-9


def test_both_integrators_agree() -> None:
    for model, scale in (CASES["lif_exp"], CASES["lif_alpha"], CASES["adaptive"]):
        network, inputs = feed_forward(model, scale, trials=1)
        a = gradient(network, inputs, Polynomial(), None)
        b = gradient(network, inputs, Polynomial(), None, method="matrix-exponential")
        assert a.loss == pytest.approx(b.loss, rel=1e-11)
        for name, times in a.spikes.items():
            assert np.allclose(times, b.spikes[name], rtol=0, atol=1e-13)
        for key, value in a.gradients.items():
            assert np.linalg.norm(value - b.gradients[key]) <= 1e-10 * np.linalg.norm(value), key


def test_per_neuron_gradients_equal_differences_entry_by_entry() -> None:
    network, inputs = feed_forward(models.lif(), (4.0, 4.0), trials=1)
    exact = gradient(network, inputs, Polynomial(), None).gradients["hidden.tau_m"]
    hidden = network.populations[0]
    for j in range(hidden.n):

        def moved(h: float, j: int = j) -> float:
            tau = np.array(hidden.parameters["tau_m"])
            tau[j] += h
            changed = dataclasses.replace(hidden, parameters={**hidden.parameters, "tau_m": tau})
            populations = (changed, network.populations[1])
            return loss_of(dataclasses.replace(network, populations=populations), inputs, Polynomial())

        assert exact[j] == pytest.approx(derivative(moved, 1e-6), rel=TOLERANCE)
