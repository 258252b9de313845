"""What a time grid does to spikes and gradients, in one neuron, where the event engine is right.

`GridSimulation` applies the arrivals of a step at its end and searches a crossing on the flow without them. Each of
these cases is an error of its spike times that one neuron shows, and all or nothing in the gradient; docs/eventprop.md
says how often that happens in networks.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq

from snnmodels.gradients import GridSimulation, UnresolvedSpikes
from snnmodels.losses import SpikeTimeFunction
from tests.exactness.networks import EXACT, MS, Case, assert_agrees, one, reference, simulated
from tests.needs import on_both

TAU_M, TAU_S = 20.0, 5.0  # ms, of the library's neuron; it spikes at 1


def response(t: float | np.ndarray) -> float | np.ndarray:
    """Potential a time after a spike of unit weight, in ms."""
    decays = np.exp(-np.maximum(t, 0) / TAU_M) - np.exp(-np.maximum(t, 0) / TAU_S)
    return TAU_S / (TAU_M - TAU_S) * decays


def slope(t: float | np.ndarray) -> float | np.ndarray:
    """Its derivative by time."""
    decays = np.exp(-t / TAU_S) / TAU_S - np.exp(-t / TAU_M) / TAU_M
    return np.where(t > 0, TAU_S / (TAU_M - TAU_S) * decays, 0.0)


def crossing(weights: list[float], times: list[float], low: float, high: float) -> float:
    """When the potential reaches 1, in ms."""
    w, t = np.array(weights), np.array(times)
    return brentq(lambda at: float((w * response(at - t)).sum()) - 1, low, high, xtol=1e-13, rtol=1e-15)


def shares(weights: list[float], times: list[float], spike: float) -> np.ndarray:
    """Derivative of the spike time by the times of the arrivals; they add up to 1."""
    each = np.array(weights) * slope(spike - np.array(times))
    return each / each.sum()


def first_spike(times: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Time of the first spike, in ms."""
    gradient = np.zeros_like(times)
    there = np.isfinite(times[..., :1])
    gradient[..., :1] = there / MS
    return float(np.where(there, times[..., :1], 0.0).sum() / MS), gradient


LOSS = SpikeTimeFunction(first_spike)


def case_of(weights: list[float], times: list[float]) -> Case:
    return one(weights, times)._replace(loss=LOSS)


def on_grid(case: Case, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """Spike times in ms, and the derivative of the first by the arrivals."""
    with GridSimulation(case.network, LOSS, batch_size=1, dt=dt * MS) as s:
        found = s.run(case.inputs, case.labels)
        return s.spike_times("output")[0, 0] / MS, found.gradients["input.times"][0] * MS


def exactly(case: Case, target: str) -> tuple[np.ndarray, np.ndarray]:
    """The same by the engine, which is the reference's."""
    found = simulated(case, target)
    assert_agrees(found, reference(case), EXACT)
    return found.spikes["output"][0, 0] / MS, found.outcome.gradients["input.times"][0] * MS


@on_both
def test_an_arrival_shortly_before_the_crossing_that_it_hastens(target: str) -> None:
    """The grid spikes 0.42 ms late, and gives the earlier arrival all of the credit instead of a third."""
    weights, times = [6.9, 3.0], [0.0, 5.2]
    together, alone = crossing(weights, times, 5.2, 6.0), crossing([6.9], [0.0], 5.2, 6.0)
    assert (together, alone) == pytest.approx((5.381, 5.800), abs=1e-3)
    spikes, credit = exactly(case_of(weights, times), target)
    assert spikes[0] == pytest.approx(together, abs=1e-11)
    np.testing.assert_allclose(credit, shares(weights, times, together), rtol=1e-10)
    np.testing.assert_allclose(credit, [0.325, 0.675], atol=1e-3)

    spikes, credit = on_grid(case_of(weights, times), 1.0)
    assert spikes[0] == pytest.approx(alone, abs=1e-11)
    np.testing.assert_allclose(credit, [1, 0], rtol=1e-12)
    # with the arrival in a step of its own there is no error, however large the step of the crossing
    spikes, credit = on_grid(case_of(weights, times), 0.1)
    assert spikes[0] == pytest.approx(together, abs=1e-11)
    np.testing.assert_allclose(credit, shares(weights, times, together), rtol=1e-10)


@on_both
def test_inhibition_shortly_before_a_shallow_crossing_that_it_prevents(target: str) -> None:
    """The grid finds a spike that is not there, and still does in steps of 0.1 ms."""
    case = case_of([6.41, -30.0], [0.0, 7.907])
    spikes, _ = exactly(case, target)
    assert not np.isfinite(spikes).any()
    alone = crossing([6.41], [0.0], 7.0, 8.5)
    assert 0 < alone - 7.907 < 0.04
    for dt in (1.0, 0.1):
        spikes, credit = on_grid(case, dt)
        assert spikes[0] == pytest.approx(alone, abs=1e-11)
        np.testing.assert_allclose(credit, [1, 0], rtol=1e-12)


@on_both
def test_an_excursion_above_threshold_and_back(target: str) -> None:
    """The potential peaks at 1.0005 between two grid points: the grid, which looks at these, misses the spike."""
    top = TAU_M * TAU_S / (TAU_M - TAU_S) * np.log(TAU_M / TAU_S)
    weight = 1.0005 / float(response(top))
    up, down = crossing([weight], [0.0], 5, top), crossing([weight], [0.0], top, 12)
    first = 0.5 * (up + down) - 1.0  # the excursion lies in the middle of a step of 2 ms
    assert down - up < 1.2
    case = case_of([weight], [10.0 - first])
    spikes, _ = exactly(case, target)
    assert spikes[0] == pytest.approx(10 - first + up, abs=1e-9)
    spikes, _ = on_grid(case, 2.0)
    assert not np.isfinite(spikes).any()
    spikes, _ = on_grid(case, 0.5)
    assert spikes[0] == pytest.approx(10 - first + up, abs=1e-9)


@on_both
def test_what_an_arrival_did_before_a_spike_is_reset(target: str) -> None:
    """The grid keeps it: it spikes late first, then again 0.01 ms late."""
    weights, times = [6.9, 3.0, 6.0], [0.0, 5.7, 8.0]
    first = crossing(weights[:2], times[:2], 5.7, 6.0)
    # only the current outlives the reset
    current = sum(w * np.exp(-(first - t) / TAU_S) for w, t in zip(weights[:2], times[:2], strict=True))
    second = crossing([current, 6.0], [first, 8.0], 8.0, 12.0)
    spikes, _ = exactly(case_of(weights, times), target)
    np.testing.assert_allclose(spikes[:2], [first, second], rtol=0, atol=1e-11)
    spikes, _ = on_grid(case_of(weights, times), 1.0)
    np.testing.assert_allclose(spikes[:2] - [first, second], [0.0718, 0.0102], rtol=0, atol=1e-4)
    spikes, _ = on_grid(case_of(weights, times), 0.1)
    # here the arrival comes at the start of the crossing's step
    np.testing.assert_allclose(spikes[:2], [first, second], rtol=0, atol=1e-11)


@on_both
def test_a_second_spike_within_a_step(target: str) -> None:
    """The engine follows a neuron through as many spikes as it has; the grid has room for one in a step."""
    case = case_of([400.0], [0.3])
    spikes, _ = exactly(case, target)
    within = np.flatnonzero((spikes > 1) & (spikes < 2))
    assert len(within) > 3
    with pytest.warns(UnresolvedSpikes):
        found, _ = on_grid(case, 1.0)
    assert ((found > 1) & (found <= 2)).sum() < len(within)
