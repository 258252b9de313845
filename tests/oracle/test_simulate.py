"""Event times against closed forms, and what the oracle refuses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from snnmodels.oracle import gradient, simulate
from snnmodels.templates.groups import Population, Projection, SpikeInput
from snnmodels.templates.network import Network
from tests.oracle import models
from tests.oracle.networks import MS, Polynomial, SumOfMaxima, feed_forward


def single(model, weight: float, n: int = 1, duration: float = 40 * MS, **parameters: float) -> Network:
    return Network(
        "single",
        (SpikeInput("in", 1),),
        (Population("out", n, model, parameters=parameters, learnable=("tau_m",)),),
        (Projection("in_out", "in", "out", np.full((1, n), weight), "syn"),),
        "out",
        duration,
    )


@pytest.mark.parametrize("method", ["runge-kutta", "matrix-exponential"])
@pytest.mark.parametrize("weight", [4.5, 6.0, 20.0])
def test_first_spike_equals_the_closed_form(method, weight: float) -> None:
    # tau_m = 2 tau_syn: v = w (a - a^2) with a = exp(-t/tau_m)
    network = single(models.lif(), weight, tau_m=10 * MS)
    spikes = simulate(network, {"in": np.array([[3 * MS]])}, method=method).spikes["out"]
    expected = 3 * MS - 10 * MS * np.log((1 + np.sqrt(1 - 4 / weight)) / 2)
    assert spikes[0, 0, 0] == pytest.approx(expected, abs=2e-15)


def test_a_tangent_crossing_is_found_and_a_near_miss_is_not() -> None:
    # the peak of v is w/4 = theta (1 ± 1e-9): two samples around it are both below threshold
    inputs = {"in": np.array([[3 * MS]])}
    hit = simulate(single(models.lif(), 4 * (1 + 1e-9), tau_m=10 * MS), inputs)
    miss = simulate(single(models.lif(), 4 * (1 - 1e-9), tau_m=10 * MS), inputs)
    assert np.isfinite(hit.spikes["out"]).sum() == 1
    assert hit.spikes["out"][0, 0, 0] == pytest.approx(3 * MS + 10 * MS * np.log(2), abs=1e-6)
    assert np.isinf(miss.spikes["out"]).all()
    assert 0 < hit.smallest_gdot < 0.1
    assert miss.smallest_gdot == np.inf


def test_smooth_maximum_equals_the_closed_form() -> None:
    network = single(models.integrator(), 2.0, tau_m=10 * MS)
    maximum = simulate(network, {"in": np.array([[3 * MS]])}).maximum("v")
    assert maximum.value[0, 0] == pytest.approx(0.5, rel=1e-13)
    assert maximum.time[0, 0] == pytest.approx(3 * MS + 10 * MS * np.log(2), abs=1e-10)
    assert maximum.kind[0, 0] == "smooth"


def test_equal_neurons_spike_together() -> None:
    network = single(models.lif(), 9.0, n=3)
    spikes = simulate(network, {"in": np.array([[3 * MS]])}).spikes["out"]
    assert np.isfinite(spikes[0, :, 0]).all()
    assert np.ptp(spikes[0, :, 0]) < 1e-16


def test_repeated_input_spikes_and_padding() -> None:
    network = single(models.lif(), 5.5)
    times = np.array([[[1.0, 2.0, np.inf]], [[1.0, np.inf, np.inf]], [[np.inf, np.inf, np.inf]]]) * MS
    result = gradient(network, {"in": times}, Polynomial(), None)
    assert result.spikes["out"].shape[:2] == (3, 1)
    assert np.isfinite(result.spikes["out"][:, 0, 0]).tolist() == [True, False, False]
    assert np.all(result.gradients["in.times"][~np.isfinite(times)] == 0)
    assert np.all(result.gradients["in.times"][0, 0, :2] != 0)


def test_masked_connections_do_nothing() -> None:
    network, inputs = feed_forward(models.lif(), (4.0, 4.0), trials=1)
    mask = np.array([[True, False, True]] * 4)
    first = dataclasses.replace(network.projections[0], mask=mask)
    masked = dataclasses.replace(network, projections=(first, network.projections[1]))
    silenced = dataclasses.replace(first, mask=None, weights=first.weights * mask)
    zeroed = dataclasses.replace(network, projections=(silenced, network.projections[1]))
    a, b = (gradient(n, inputs, Polynomial(), None) for n in (masked, zeroed))
    assert np.array_equal(a.spikes["out"], b.spikes["out"])
    assert np.all(a.gradients["in_hidden.w"][:, 1] == 0)
    assert a.gradients["in_hidden.w"][mask] == pytest.approx(b.gradients["in_hidden.w"][mask], rel=1e-9)


def test_flat_crossings_are_counted() -> None:
    network, inputs = feed_forward(models.lif(), (4.0, 4.0), trials=1)
    result = gradient(network, inputs, Polynomial(), None)
    crossings = sum(np.isfinite(t).sum() for t in result.spikes.values())
    assert result.flat_spikes == 0
    assert result.smallest_gdot > 1
    assert gradient(network, inputs, Polynomial(), None, flat=1e9).flat_spikes == crossings


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (np.zeros(4), r"expected \(trials, 4\)"),
        (np.zeros((2, 3)), r"have shape \(2, 3\)"),
        (np.full((1, 4), np.nan), "a spike time is NaN"),
        (np.full((1, 4), -1e-3), "a spike time is negative"),
        (np.full((1, 4, 2), [2e-3, 1e-3]), "are not ascending"),
        (np.full((1, 4, 2), [np.inf, 1e-3]), "are not ascending"),
        (np.full((1, 4), 1.0), "is not before the end of the trial at 32 ms"),
    ],
)
def test_bad_spike_times_are_refused(times: np.ndarray, message: str) -> None:
    network, _ = feed_forward(models.lif(), (4.0, 4.0))
    with pytest.raises(ValueError, match=message) as error:
        simulate(network, {"in": times})
    assert "'in'" in str(error.value)


def test_bad_calls_are_refused() -> None:
    network, inputs = feed_forward(models.lif(), (4.0, 4.0), trials=1)
    with pytest.raises(ValueError, match="takes the inputs"):
        simulate(network, {})
    with pytest.raises(ValueError, match="method 'euler'"):
        simulate(network, inputs, method="euler")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not linear"):
        simulate(*feed_forward(models.qif(), (1.0, 1.0)), method="matrix-exponential")
    with pytest.raises(ValueError, match=r"reads the maximum of 'u', which is no state of"):
        gradient(network, inputs, SumOfMaxima("u"), None)
    with pytest.raises(ValueError, match="has no threshold"):
        gradient(*feed_forward(models.lif(), (4.0, 4.0), models.integrator()), Polynomial(), None)


def test_losses_that_do_not_fit_are_refused() -> None:
    network, inputs = feed_forward(models.lif(), (4.0, 4.0), trials=1)

    class Wrong(Polynomial):
        def __init__(self, make) -> None:
            self.make = make

        def evaluate(self, observed, targets):
            return dataclasses.replace(super().evaluate(observed, targets), gradient=self.make(observed))

    with pytest.raises(ValueError, match="shape"):
        gradient(network, inputs, Wrong(lambda o: np.zeros(3)), None)
    with pytest.raises(ValueError, match="not finite"):
        gradient(network, inputs, Wrong(lambda o: np.full(o.shape, np.nan)), None)
    silent = single(models.lif(), 0.1)
    with pytest.raises(ValueError, match="a spike that is not there"):
        gradient(silent, {"in": np.array([[3 * MS]])}, Wrong(np.ones_like), None)


def test_states_that_have_no_crossing_are_refused() -> None:
    subtractive = dataclasses.replace(models.lif_delta(), reset=models.statements("v -= v_th"))
    with pytest.raises(ValueError, match=r"still at or above its threshold after the reset at 0\.003 s"):
        simulate(single(subtractive, 3.0), {"in": np.array([[3 * MS]])})
    with pytest.raises(ValueError, match="'out': neuron 0 is above its threshold at time 0"):
        simulate(single(models.lif(), 1.0, v_0=2.0), {"in": np.array([[3 * MS]])})
