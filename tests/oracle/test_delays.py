"""Delays: closed forms, and gradients against central differences of the oracle's own loss."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from snnmodels.oracle import gradient, simulate
from snnmodels.templates.groups import Population, Projection, SpikeInput
from snnmodels.templates.model import Model
from snnmodels.templates.network import Network
from tests.oracle import models
from tests.oracle.networks import MS, Inputs, Polynomial, SumOfMaxima, SumOfSamples, deviations, feed_forward

TOLERANCE = 1e-7
BOTH = ("w", "delay")


def delayed(network: Network, delay: dict[str, float | np.ndarray], learnable: tuple[str, ...] = BOTH) -> Network:
    """The network with delays by projection."""
    projections = [
        dataclasses.replace(p, delay=delay.get(p.name, 0.0), learnable=learnable) for p in network.projections
    ]
    return dataclasses.replace(network, projections=tuple(projections))


def single(delay: float | np.ndarray, duration: float = 40 * MS, n: int = 1) -> Network:
    model = models.lif()
    return Network(
        "single",
        (SpikeInput("in", 1),),
        (Population("out", n, model, parameters={"tau_m": 10 * MS}, learnable=("tau_m",)),),
        (Projection("in_out", "in", "out", np.full((1, n), 6.0), "syn", learnable=BOTH, delay=delay),),
        "out",
        duration,
    )


@pytest.mark.parametrize("method", ["runge-kutta", "matrix-exponential"])
def test_a_spike_comes_later_by_the_delay_and_so_does_its_gradient(method) -> None:
    found = gradient(single(2.5 * MS), {"in": np.array([[3 * MS]])}, Polynomial(), None, method=method)
    # tau_m = 2 tau_syn: v = w (a - a^2) with a = exp(-t/tau_m)
    expected = 5.5 * MS - 10 * MS * np.log((1 + np.sqrt(1 - 4 / 6.0)) / 2)
    assert found.spikes["out"][0, 0, 0] == pytest.approx(expected, abs=2e-15)
    slope = (1 + 2 * expected / (20 * MS)) / (20 * MS)
    assert found.gradients["in_out.delay"] == pytest.approx(slope, rel=1e-11)
    assert found.gradients["in.times"][0, 0] == pytest.approx(slope, rel=1e-11)
    assert found.gradients["in_out.delay"].shape == ()


def test_each_connection_has_its_own_delay() -> None:
    delays = np.array([[0.0, 1.0, 7.0]]) * MS
    found = gradient(single(delays, n=3), {"in": np.array([[3 * MS]])}, Polynomial(), None, method="matrix-exponential")
    first = found.spikes["out"][0, :, 0]
    assert first - first[0] == pytest.approx(delays[0], abs=1e-14)
    assert found.gradients["in_out.delay"].shape == (1, 3)
    assert found.gradients["in_out.delay"].sum() == pytest.approx(found.gradients["in.times"][0, 0], rel=1e-11)


def test_one_delay_for_all_is_the_same_delay_for_each() -> None:
    network, inputs = feed_forward(models.lif(), (4.0, 4.0))
    one = delayed(network, {"in_hidden": 1.3 * MS, "hidden_out": 0.7 * MS})
    each = delayed(network, {"in_hidden": np.full((4, 3), 1.3 * MS), "hidden_out": np.full((3, 2), 0.7 * MS)})
    a, b = (gradient(n, inputs, Polynomial(), None, method="matrix-exponential") for n in (one, each))
    assert a.loss == b.loss
    for key in ("in_hidden.delay", "hidden_out.delay"):
        assert a.gradients[key] == pytest.approx(b.gradients[key].sum(), rel=1e-12)
    for key in ("in_hidden.w", "hidden.tau_m", "in.times"):
        assert np.array_equal(a.gradients[key], b.gradients[key])


def test_an_arrival_after_the_end_of_the_trial_is_none() -> None:
    network = single(3 * MS, duration=5 * MS)
    found = gradient(network, {"in": np.array([[3 * MS]])}, Polynomial(), None)
    assert not np.isfinite(found.spikes["out"]).any()
    assert all(np.all(g == 0) for g in found.gradients.values())


def recurrent(
    model: Model, scale: float, per_synapse: bool, seed: int, learnable: tuple[str, ...]
) -> tuple[Network, Inputs]:
    """Excitation and inhibition with delays everywhere but onto the inhibitory neurons."""
    rng = np.random.default_rng(seed)
    mask = ~np.eye(3, dtype=bool)

    def delay(*shape: int) -> float | np.ndarray:
        drawn = rng.uniform(0.4 * MS, 4 * MS, shape)
        return drawn if per_synapse else float(drawn[0, 0])

    network = Network(
        "recurrent",
        (SpikeInput("in", 3),),
        (
            Population("exc", 3, model, learnable=learnable),
            Population("inh", 2, model, parameters={"tau_m": np.array([15.0, 18.0]) * MS}, learnable=("tau_m",)),
        ),
        (
            Projection("in_exc", "in", "exc", scale * rng.uniform(0.7, 1.3, (3, 3)), "syn", None, BOTH, delay(3, 3)),
            Projection(
                "exc_exc", "exc", "exc", 0.3 * scale * rng.uniform(0.5, 1.0, (3, 3)), "syn", mask, BOTH, delay(3, 3)
            ),
            Projection("exc_inh", "exc", "inh", scale * rng.uniform(0.5, 1.0, (3, 2)), "syn"),
            Projection(
                "inh_exc", "inh", "exc", -0.4 * scale * rng.uniform(0.5, 1.0, (2, 3)), "syn", None, BOTH, delay(2, 3)
            ),
        ),
        "exc",
        45 * MS,
    )
    return network, {"in": np.sort(rng.uniform(0, 20 * MS, (1, 3, 2)), axis=2)}


RECURRENT = {
    "lif": (models.lif(), 4.0),
    "delta": (models.lif_delta(v_rest=1.3), 0.4),
    "refractory": (models.refractory(models.lif()), 5.0),
    "refractory_delta": (models.refractory(models.lif_delta(v_rest=1.3)), 0.4),
    "refractory_applied": (models.refractory(models.lif_delta(v_rest=1.3), arrivals="apply"), 0.4),
    "refractory_free": (models.refractory(models.lif(v_reset=0.6), hold=()), 6.0),
    "refractory_adaptive": (models.refractory(models.adaptive()), 5.0),
}


@pytest.mark.parametrize(
    ("case", "per_synapse"), [*((c, True) for c in RECURRENT), ("lif", False), ("refractory", False)]
)
def test_recurrent_networks(case: str, per_synapse: bool) -> None:
    model, scale = RECURRENT[case]
    network, inputs = recurrent(model, scale, per_synapse, 5, tuple(model.parameters))
    found, result = deviations(network, inputs, Polynomial(), "matrix-exponential")
    assert {"in_exc.delay", "exc_exc.delay", "inh_exc.delay"} <= set(found)
    assert np.isfinite(result.spikes["exc"]).sum() >= 5
    assert np.isfinite(result.spikes["inh"]).sum() >= 1
    assert {k: v for k, v in found.items() if v > TOLERANCE} == {}
    assert np.all(np.diag(result.gradients["exc_exc.w"]) == 0)
    if per_synapse:
        assert np.all(np.diag(result.gradients["exc_exc.delay"]) == 0)
    if "refractory" in case and "delta" not in case:
        assert np.abs(result.gradients["exc.t_ref"]).max() > 1


@pytest.mark.parametrize("case", ["refractory", "refractory_delta", "refractory_free"])
def test_both_integrators_agree(case: str) -> None:
    model, scale = RECURRENT[case]
    network, inputs = recurrent(model, scale, True, 5, tuple(model.parameters))
    a = gradient(network, inputs, Polynomial(), None)
    b = gradient(network, inputs, Polynomial(), None, method="matrix-exponential")
    assert a.loss == pytest.approx(b.loss, rel=1e-11)
    for name, times in a.spikes.items():
        assert np.allclose(times, b.spikes[name], rtol=0, atol=1e-13)
    for key, value in a.gradients.items():
        assert np.linalg.norm(value - b.gradients[key]) <= 1e-9 * np.linalg.norm(value), key


@pytest.mark.parametrize("loss", [SumOfMaxima(), SumOfSamples()], ids=["maxima", "samples"])
def test_a_readout_behind_delays(loss) -> None:
    # a delta synapse, so that maxima are at arrivals and move with the delays
    network, inputs = feed_forward(models.lif(), (4.0, 0.4), models.lif_delta(v_th=50.0))
    rng = np.random.default_rng(3)
    network = delayed(
        network, {"in_hidden": rng.uniform(0, 3 * MS, (4, 3)), "hidden_out": rng.uniform(0, 3 * MS, (3, 2))}
    )
    found, result = deviations(network, inputs, loss, "matrix-exponential")
    assert {k: v for k, v in found.items() if v > TOLERANCE} == {}
    assert np.abs(result.gradients["hidden_out.delay"]).max() > 1e-3


def test_a_delay_that_is_not_learnable_has_no_gradient() -> None:
    network, inputs = feed_forward(models.lif(), (4.0, 4.0))
    network = delayed(network, {"in_hidden": 1 * MS}, ("w",))
    assert not any(key.endswith("delay") for key in gradient(network, inputs, Polynomial(), None).gradients)


def test_a_long_series_of_arrivals_is_exact() -> None:
    """The series of the exponential equals SciPy's matrix exponential."""
    from scipy.linalg import expm

    simulation = simulate(single(0.0), {"in": np.array([[3 * MS]])}, method="matrix-exponential")
    segment = simulation.tapes[0].entries[2]
    x = np.append(segment.y0, 1.0)
    generator = np.array([[-100.0, 100.0, 0.0], [0.0, -200.0, 0.0], [0.0, 0.0, 0.0]])
    for t in np.linspace(segment.t0, segment.pieces[-1].t1, 5)[1:]:
        piece = next(p for p in segment.pieces if p.t1 >= t)
        expected = (expm(generator * (t - segment.t0)) @ x)[:2]
        assert piece.at(t) == pytest.approx(expected, rel=4e-15, abs=1e-17)
