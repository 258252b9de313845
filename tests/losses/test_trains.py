"""Losses on spike trains, intervals and counts: closed forms against integrals, derivatives by differences."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from snnmodels import oracle
from snnmodels.gradients import GridSimulation, Simulation, check_gradient
from snnmodels.losses import ActivityPrice, CountError, IntervalError, Loss, SpikeTimeError, VanRossumDistance
from snnmodels.losses.counts import SURROGATES
from snnmodels.optimisers import SGD
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model
from tests.losses.test_expressions import INF, MS, TIMES, WANTED, differences

INTERVALS = MS * np.array(
    [
        [[3.0, 2.0], [INF, INF], [1.0, INF]],
        [[4.0, INF], [5.0, INF], [INF, INF]],
        [[3.0, INF], [INF, INF], [9.0, INF]],
        [[15.0, INF], [INF, INF], [0.5, INF]],
    ]
)
COUNTS = np.array([[2.0, 0.0, 1.5], [3.0, 1.0, 1.0], [0.0, 0.5, 4.0], [1.0, 1.0, 2.0]])


@pytest.mark.parametrize("end", [None, 32 * MS, 10.3 * MS])
def test_van_rossum_is_an_integral(end: float | None) -> None:
    """By quadrature of what both trains are after the filter, which is smooth between spikes."""
    loss, tau = VanRossumDistance(tau=4 * MS, end=end), 4 * MS
    nodes, weights = np.polynomial.legendre.leggauss(12)
    total = 0.0
    for own, wanted in zip(TIMES.reshape(-1, 2), WANTED.reshape(-1, 2), strict=True):
        edges = np.unique([0.0, *own, *wanted, *np.linspace(0, 230 * MS, 150), end or 1.0])
        edges = edges[edges <= min(end or 1.0, 230 * MS)]
        for a, b in itertools.pairwise(edges):
            t = (a + b) / 2 + (b - a) / 2 * nodes
            f = sum(np.where(t >= s, np.exp(-(t - s) / tau), 0.0) for s in own if np.isfinite(s))
            g = sum(np.where(t >= s, np.exp(-(t - s) / tau), 0.0) for s in wanted if np.isfinite(s))
            total += (b - a) / 2 * float((weights * (f - g) ** 2 * np.ones(12)).sum()) / tau
    assert loss.evaluate(TIMES, WANTED).value == pytest.approx(total / len(TIMES), rel=1e-12)


def test_van_rossum_by_hand() -> None:
    loss = VanRossumDistance(tau=5 * MS)
    one, none = np.array([[[3 * MS]]]), np.array([[[INF]]])
    assert loss.evaluate(one, none).value == pytest.approx(0.5)
    assert loss.evaluate(none, one).value == pytest.approx(0.5)
    assert loss.evaluate(one, one + 2 * MS).value == pytest.approx(1 - np.exp(-2 / 5))
    assert loss.evaluate(one, one).value == pytest.approx(0, abs=1e-15)
    assert loss.evaluate(one, one).gradient == 0  # between both sides of the kink
    np.testing.assert_allclose(loss.evaluate(one, one + 2 * MS).gradient, -np.exp(-2 / 5) / (5 * MS))
    assert loss.silent_trials(TIMES, WANTED) == 2
    assert loss.evaluate(np.full((1, 2, 0), INF), np.full((1, 2, 0), INF)).value == 0


CASES: dict[str, tuple[Loss, Any]] = {
    "van Rossum": (VanRossumDistance(tau=4 * MS), WANTED),
    "van Rossum up to a time": (VanRossumDistance(tau=4 * MS, end=25 * MS), WANTED),
    "intervals": (IntervalError(), INTERVALS),
}


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name: str) -> None:
    loss, targets = CASES[name]
    apart = TIMES + MS * 2.5e-2 * np.arange(24).reshape(TIMES.shape)  # off the kinks
    (expected,) = differences(lambda x: loss.evaluate(x[0], targets).value, (apart,))
    found = loss.evaluate(apart, targets).gradient
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-8 * np.abs(expected).max())


def test_intervals_by_hand() -> None:
    times = MS * np.array([[[1.0, 4.0, 9.0], [2.0, INF, INF]]])
    wanted = MS * np.array([[[2.0, 7.0], [4.0, INF]]])
    loss = IntervalError(tau=1 * MS, missing=3 * MS)
    assert loss.evaluate(times, wanted).value == pytest.approx((1 + 4 + 9) / 3)
    assert loss.silent_trials(times, wanted) == 1
    assert loss.silent_trials(times, wanted[:, :, :1] * [[[1.0], [INF]]]) == 0
    assert loss.evaluate(times[:, :, :0], wanted).value == pytest.approx(9)


@pytest.mark.parametrize(
    "loss", [CountError(), CountError(surrogate="latency"), CountError(surrogate="window", end=1.0)]
)
def test_counts(loss: CountError) -> None:
    counted = np.isfinite(TIMES).sum(axis=2)
    assert loss.evaluate(TIMES, COUNTS).value == pytest.approx(((counted - COUNTS) ** 2).sum() / 4)
    rates = CountError(per=20 * MS, scale=10.0, surrogate=loss.surrogate, end=loss.end).evaluate(TIMES, COUNTS)
    assert rates.value == pytest.approx((((counted / 0.02 - COUNTS) / 10) ** 2).sum() / 4)
    assert loss.silent_trials(TIMES, COUNTS) == 2
    assert CountError(end=10 * MS).evaluate(TIMES, 0 * COUNTS).value == pytest.approx((4 + 1 + 4 + 1 + 1) / 4)


def test_surrogates_are_derivatives_of_what_they_say() -> None:
    """That of the squared deviation with the smooth count in its place, where the deviation is the exact one."""
    counted = np.isfinite(TIMES).sum(axis=2)
    smooth: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "latency": lambda t: 1 - t / (7 * MS),
        "window": lambda t: 1 / (1 + np.exp((t - 20 * MS) / (7 * MS))),
    }
    assert set(smooth) == set(SURROGATES)
    for name, each in smooth.items():
        loss = CountError(surrogate=name, width=7 * MS, end=1.0 if name == "latency" else 20 * MS)
        before = TIMES if name == "latency" else np.where(TIMES < 20 * MS, TIMES, INF)
        deviation = np.isfinite(before).sum(axis=2) - COUNTS

        def value(x: tuple[np.ndarray, ...], each: Any = each, deviation: np.ndarray = deviation) -> float:
            soft = np.where(np.isfinite(x[0]), each(np.where(np.isfinite(x[0]), x[0], 0.0)), 0.0).sum(axis=2)
            return float((2 * deviation * soft).sum() / 4)

        (expected,) = differences(value, (before,))
        found = loss.evaluate(TIMES, COUNTS).gradient
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9 * np.abs(expected).max())
        price = ActivityPrice(surrogate=name, width=7 * MS, end=loss.end, price=3.0)
        (expected,) = differences(lambda x, each=each: float(3 * each(x[0][np.isfinite(x[0])]).sum() / 4), (before,))
        np.testing.assert_allclose(price.evaluate(TIMES, None).gradient, expected, rtol=1e-6)
    assert ActivityPrice(price=3.0).evaluate(TIMES, None).value == 3 * counted.sum() / 4


def test_what_is_refused() -> None:
    for make, message in (
        (lambda: CountError(surrogate="straight"), "surrogate='straight' is not '', 'latency' or 'window'"),
        (lambda: CountError(surrogate="window"), "surrogate='window' needs end"),
        (lambda: CountError(per=0.0), "per: expected a positive number, got 0.0"),
        (lambda: ActivityPrice(price="high"), "price: expected a finite number"),  # type: ignore[arg-type]
        (lambda: VanRossumDistance(tau=-1.0), "tau: expected a positive number"),
        (lambda: VanRossumDistance(end=0.0), "end: expected a positive number"),
        (lambda: CountError().evaluate(TIMES, COUNTS[:, :2]), r"targets: expected a number for each neuron"),
        (lambda: CountError().evaluate(TIMES, np.full((4, 3), np.nan)), "expected finite numbers of spikes"),
        (lambda: VanRossumDistance().evaluate(TIMES, WANTED[:2]), r"targets: expected shape \(4, 3\) \+ \(spikes,\)"),
        (lambda: IntervalError().evaluate(TIMES, COUNTS), r"targets: expected shape \(4, 3\) \+ \(intervals,\)"),
        (lambda: IntervalError().evaluate(TIMES, np.zeros((4, 3, 2))), "targets: expected positive intervals"),
        (lambda: IntervalError().evaluate(TIMES, INTERVALS[..., ::-1]), "targets: expected intervals without gaps"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def driven(scale: float = 3.0) -> Network:
    return Network(
        "driven",
        (SpikeInput("in", 3),),
        (Population("p", 2, load_model("lif+exp_synapse")),),
        (Projection("q", "in", "p", np.full((3, 2), scale) * [[1.0, 1.1]]),),
        "p",
        40 * MS,
    )


INPUTS = {"in": MS * np.array([[[1.0, 9.0], [3.0, 14.0], [5.0, 21.0]]] * 2)}


def test_a_count_without_a_surrogate_is_not_trained_on() -> None:
    targets = np.full((2, 2), 4.0)
    for loss in (CountError(), ActivityPrice(), 0.5 * SpikeTimeError() + ActivityPrice()):
        single = isinstance(loss, CountError | ActivityPrice)
        for kind in (Simulation, GridSimulation) if single else (Simulation,):
            with kind(driven(), loss, batch_size=2) as simulation:
                with pytest.raises(ValueError, match=r"counts spikes.*name a surrogate, as in"):
                    simulation.run(INPUTS, targets)
                if single:
                    assert simulation.run(INPUTS, targets, gradient=False).loss > 0
        with pytest.raises(ValueError, match="counts spikes"):
            oracle.gradient(driven(), INPUTS, loss, targets)
    with pytest.raises(ValueError, match="the loss has the surrogate 'latency' in the place of a derivative"):
        check_gradient(driven(), loss=CountError(surrogate="latency"), inputs=INPUTS, targets=targets)


@pytest.mark.parametrize("wanted", [1.0, 12.0])
def test_a_surrogate_leads_to_the_count_that_is_wanted(wanted: float) -> None:
    targets = np.full((2, 2), wanted)
    with Simulation(driven(), CountError(surrogate="latency"), batch_size=2) as simulation:
        values = driven().trainable()
        first, optimiser = simulation.run(INPUTS, targets, values), SGD(2e-2)
        lowest = first.loss
        for _ in range(80):
            found = simulation.run(INPUTS, targets, values)
            lowest = min(lowest, found.loss)
            optimiser.step(values, {"q.w": found.gradients["q.w"]})
    assert lowest < 0.2 * first.loss
