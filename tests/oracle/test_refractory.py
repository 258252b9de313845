"""Refractory periods: closed forms, what arrives meanwhile, and spikes at their end."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from snnmodels.oracle import gradient, simulate
from snnmodels.templates import Refractory, load_model
from snnmodels.templates.groups import Population, Projection, SpikeInput
from snnmodels.templates.model import Model, Parameter
from snnmodels.templates.network import Network
from tests.oracle import models
from tests.oracle.networks import MS, Polynomial, SumOfMaxima, SumOfSamples, deviations

TOLERANCE = 1e-7
NEVER = {"in": np.array([[np.inf]])}


def single(model: Model, weight: float = 0.5, duration: float = 60 * MS, **parameters: float) -> Network:
    return Network(
        "single",
        (SpikeInput("in", 1),),
        (Population("out", 1, model, parameters, tuple(model.parameters)),),
        (Projection("in_out", "in", "out", np.array([[weight]]), "syn", learnable=("w", "delay"), delay=0.5 * MS),),
        "out",
        duration,
    )


def driven(**options) -> Model:
    """Leaky integrate-and-fire with a constant drive of 1.5 from 0.75, refractory for 2 ms."""
    return models.refractory(models.lif_delta(v_rest=1.5), **options)


@pytest.mark.parametrize("method", ["runge-kutta", "matrix-exponential"])
def test_a_driven_neuron_spikes_at_the_closed_form(method) -> None:
    found = gradient(single(driven()), NEVER, Polynomial(), None, method=method)
    rise, first = 20 * MS * np.log(1.5 / 0.5), 20 * MS * np.log(0.75 / 0.5)
    k = np.arange(3)
    times = first + k * (2 * MS + rise)
    assert found.spikes["out"][0, 0] == pytest.approx(times, abs=1e-14)
    # every spike moves by the period once for each spike before it
    c = (1.0 + 0.3 * k) * (1 + 2 * times / (20 * MS)) / (20 * MS)
    assert found.gradients["out.t_ref"] == pytest.approx((c * k).sum(), rel=1e-11)
    assert found.gradients["out.tau_m"] == pytest.approx((c * (times - k * 2 * MS)).sum() / (20 * MS), rel=1e-11)
    # d rise/d v_th = tau/(v_rest - v_th), for the first spike too
    assert found.gradients["out.v_th"] == pytest.approx((c * (k + 1)).sum() * 20 * MS / 0.5, rel=1e-11)


def test_what_arrives_at_a_held_state_is_ignored_or_applied() -> None:
    first = 20 * MS * np.log(0.75 / 0.5)
    inputs = {"in": np.array([[first + 0.5 * MS]])}
    loss = Polynomial()
    free = gradient(single(driven()), NEVER, loss, None, method="matrix-exponential")
    ignored = gradient(single(driven()), inputs, loss, None, method="matrix-exponential")
    assert ignored.spikes["out"] == pytest.approx(free.spikes["out"], abs=1e-15)
    assert ignored.gradients["in_out.w"][0, 0] == 0
    assert ignored.gradients["in_out.delay"] == 0
    assert ignored.gradients["in.times"][0, 0] == 0
    found, applied = deviations(single(driven(arrivals="apply")), inputs, loss, "matrix-exponential")
    assert max(found.values()) < TOLERANCE
    # from 0.5 instead of 0, held until the end of the period
    second = first + 2 * MS + 20 * MS * np.log(1.0 / 0.5)
    assert applied.spikes["out"][0, 0, 1] == pytest.approx(second, abs=1e-14)
    assert applied.gradients["in_out.w"][0, 0] < -1
    assert applied.gradients["in.times"][0, 0] == pytest.approx(0, abs=1e-9)


def test_states_that_are_not_held_go_on() -> None:
    network = single(models.refractory(models.lif()), 8.0)
    inputs = {"in": np.array([[[3.0, 7.5]]]) * MS}
    found, result = deviations(network, inputs, Polynomial(), "matrix-exponential")
    spikes = result.spikes["out"][0, 0]
    assert spikes[0] < 8.0 * MS < spikes[0] + 2 * MS
    assert spikes[1] > spikes[0] + 2 * MS
    # the current that arrived meanwhile counts
    assert result.gradients["in_out.w"][0, 0] < 0
    assert max(found.values()) < TOLERANCE


@pytest.mark.parametrize("method", ["runge-kutta", "matrix-exponential"])
@pytest.mark.parametrize("hold", [(), ("v",)], ids=["going_on", "held"])
def test_a_neuron_above_threshold_when_the_period_ends_spikes_then(hold: tuple[str, ...], method) -> None:
    """By a reset to above the threshold, or by what comes meanwhile."""
    model = models.refractory(models.lif_delta(v_rest=1.5), hold=hold)
    network = single(model, duration=20 * MS, v_reset=1.1)
    found = gradient(network, NEVER, Polynomial(), None, method=method)
    k = np.arange(found.spikes["out"].shape[2])
    times = 20 * MS * np.log(0.75 / 0.5) + k * 2 * MS
    assert found.spikes["out"][0, 0] == pytest.approx(times, abs=1e-15)
    assert len(k) > 4
    assert found.simulation.at_releases == len(k) - 1
    c = (1.0 + 0.3 * k % 1.9) * (1 + 2 * times / (20 * MS)) / (20 * MS)
    assert found.gradients["out.t_ref"] == pytest.approx((c * k).sum(), rel=1e-11)
    # only the first spike was a crossing
    assert found.gradients["out.v_th"] == pytest.approx(c.sum() * 20 * MS / 0.5, rel=1e-11)
    assert found.gradients["out.v_reset"] == pytest.approx(0, abs=1e-12)


def test_a_spike_at_the_end_of_the_period_hands_later_effects_on() -> None:
    # the current lifts v above threshold meanwhile: a second spike at the end of the period, and later one by the flow
    network = single(models.refractory(models.lif(v_reset=0.3), hold=()), 9.0, duration=40 * MS)
    found, result = deviations(network, {"in": np.array([[[3.0, 5.0, 9.0]]]) * MS}, Polynomial(), "matrix-exponential")
    assert result.simulation.at_releases >= 1
    assert np.isfinite(result.spikes["out"]).sum() > result.simulation.at_releases + 1
    assert max(found.values()) < TOLERANCE


def test_a_period_may_be_an_expression_of_several_parameters() -> None:
    model = driven()
    model = dataclasses.replace(
        model,
        parameters={**model.parameters, "share": Parameter("share", 0.1, "1", "0.1")},
        refractory=Refractory("t_ref + share*tau_m", ("v",)),
    )
    found, result = deviations(single(model), NEVER, Polynomial(), "matrix-exponential")
    assert np.diff(result.spikes["out"][0, 0])[0] == pytest.approx(4 * MS + 20 * MS * np.log(3.0), abs=1e-14)
    assert max(found.values()) < TOLERANCE
    assert result.gradients["out.share"] == pytest.approx(20 * MS * result.gradients["out.t_ref"], rel=1e-12)


def test_a_period_beyond_the_end_of_the_trial_has_no_gradient() -> None:
    found = gradient(single(driven(t_ref=1.0)), NEVER, Polynomial(), None)
    assert np.isfinite(found.spikes["out"]).sum() == 1
    assert found.gradients["out.t_ref"] == 0


@pytest.mark.parametrize("t_ref", [-1e-3, np.inf])
def test_a_period_that_is_no_time_is_refused(t_ref: float) -> None:
    with pytest.raises(ValueError, match=r"'out': refractory periods of .*; expected at least 0|'t_ref' is not finite"):
        simulate(single(driven(), t_ref=t_ref), NEVER)


@pytest.mark.parametrize("loss", [SumOfMaxima(), SumOfSamples(interval=2.5 * MS)], ids=["maxima", "samples"])
@pytest.mark.parametrize("case", ["ignored", "applied", "current"])
def test_losses_on_the_state_of_a_refractory_neuron(loss, case: str) -> None:
    model = {
        "ignored": driven(),
        "applied": driven(arrivals="apply"),
        "current": models.refractory(models.lif(v_reset=-0.3)),
    }[case]
    # the second input comes while the neuron is refractory
    times = np.array([[[1.0, 9.0, 21.0]]]) * MS
    network = single(model, 0.1 if case != "current" else 6.0, duration=42 * MS)
    found, _ = deviations(network, {"in": times}, loss, "matrix-exponential")
    assert {k: v for k, v in found.items() if v > TOLERANCE} == {}


@pytest.mark.parametrize(
    ("components", "weight"),
    [
        (("lif", "exp_synapse", "refractory"), 6.0),
        (("lif+delta_synapse+refractory",), 0.7),
        (("lif", "alpha_synapse", "adaptive_threshold", "refractory"), 8.0),
    ],
)
def test_the_mechanism_of_the_library(components: tuple[str, ...], weight: float) -> None:
    model = load_model(*components)
    rng = np.random.default_rng(2)
    network = Network(
        "library",
        (SpikeInput("in", 3),),
        (Population("out", 2, model, {"v_rest": 0.5}, tuple(model.parameters)),),
        (Projection("in_out", "in", "out", weight * rng.uniform(0.6, 1.4, (3, 2)), delay=1 * MS),),
        "out",
        50 * MS,
    )
    inputs = {"in": np.sort(rng.uniform(0, 20 * MS, (1, 3, 3)), axis=2)}
    found, result = deviations(network, inputs, Polynomial(), "matrix-exponential")
    assert (np.diff(result.spikes["out"], axis=2)[np.isfinite(result.spikes["out"][..., 1:])] >= 2 * MS).all()
    assert np.isfinite(result.spikes["out"]).sum() >= 4
    assert {k: v for k, v in found.items() if v > TOLERANCE} == {}


def test_a_nonlinear_neuron() -> None:
    network = single(models.refractory(models.qif()), 1.5, duration=40 * MS)
    found, result = deviations(network, {"in": np.array([[[2.0, 5.0, 11.0, 12.0]]]) * MS}, Polynomial())
    assert np.isfinite(result.spikes["out"]).sum() >= 2
    assert np.abs(result.gradients["out.t_ref"]) > 1
    assert {k: v for k, v in found.items() if v > TOLERANCE} == {}
