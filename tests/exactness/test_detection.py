"""No spike is missed and none is made up: crossings of random states, and of potentials that all but touch threshold.

The truth is found by brute force: the event function and its slope at many points of the exact flow, bisection wherever
the slope changes its sign, then bisection of the first crossing.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pytest

import snnmodels as snn
from snnmodels.events.engine import SimulationError
from snnmodels.events.plan import EnginePlan
from snnmodels.gradients import Simulation
from snnmodels.gradients.probe import SmoothSpikeTimes
from snnmodels.losses import SpikeTimes
from snnmodels.targets.numpy.neurons import Neurons
from snnmodels.templates import Assignment, Network, Population, Projection, SpikeInput, load_model
from tests.exactness.networks import LINEAR, MS
from tests.needs import COMPILER, TARGETS

SPIKING = tuple(n for n in LINEAR if not n.startswith("leaky"))
COUNT = 300  # states at once
POINTS = 300
WINDOWS = (0.2, 1.0, 5.0, 30.0, 100.0)  # ms
GRAZING = (1e-6, -1e-6, 1e-12, -1e-12)  # by how much the maximum is above threshold, relative to it


class Truth(NamedTuple):
    """Of every neuron: first time above threshold (inf if never), slope there, largest value of the event function."""

    time: np.ndarray
    slope: np.ndarray
    top: np.ndarray


def population(name: str, n: int, **parameters: np.ndarray) -> Network:
    """Neurons that are reached by four sources; without a synaptic current, each has a constant drive."""
    model = load_model(name)
    if "I_syn" in model.parameters:
        parameters = {"I_syn": np.random.default_rng(9).uniform(-0.5, 2.5, n), **parameters}
    if "v_th" in parameters and "v_reset" in model.parameters:  # below any threshold; nothing here is after a reset
        v_th = np.asarray(parameters["v_th"])
        parameters = {"v_reset": np.where(v_th > 0, 0.0, v_th - 1), **parameters}
    weights = np.random.default_rng(0).uniform(-1, 1, (4, n))
    receptor = next(iter(model.receptors))
    return Network(
        "detection",
        (SpikeInput("input", 4),),
        (Population("output", n, model, parameters),),
        (Projection("w", "input", "output", weights, receptor),),
        "output",
        100 * MS,
    )


def neurons(name: str, window: float, n: int = COUNT, **parameters: np.ndarray) -> Neurons:
    plan = EnginePlan.of(population(name, n, **parameters), [SpikeTimes()], window=window)
    p = plan.populations[0]
    return Neurons(p, p.rules, plan.window, plan.tolerance)


def states(of: Neurons, seed: int) -> np.ndarray:
    """Random states below threshold: potentials at rest or just under it, currents of all sizes and both signs."""
    rng = np.random.default_rng(seed)
    n_states, n = of.n_states, of.n
    x = rng.normal(size=(n_states, n)) * 10 ** rng.uniform(-2, 1.3, (n_states, n))
    x[0] = np.where(rng.uniform(size=n) < 0.3, 1 - 10 ** rng.uniform(-12, 0, n), rng.uniform(-2, 1, n))
    for _ in range(60):  # whatever moves the threshold may have put them above it
        above = of("event", *x)[0] >= 0
        x[0, above] -= 1
    assert (of("event", *x)[0] < 0).all()
    return x


def truth(of: Neurons, x: np.ndarray, length: float) -> Truth:
    """By brute force."""
    n = x.shape[1]
    each = np.arange(n)

    def along(time: np.ndarray, which: np.ndarray) -> np.ndarray:
        return of("search", *of("flow", *x[:, which], s=time, which=which), which=which)

    grid = length * np.linspace(0, 1, POINTS) ** 2  # denser where states decay fastest
    at = along(np.tile(grid, n), np.repeat(each, POINTS)).reshape(3, n, POINTS)
    g, slope = at[0], at[1]
    # candidates: grid points, and the maxima between two of them
    lane, k = np.nonzero((slope[:, :-1] > 0) & (slope[:, 1:] <= 0))
    peaks = _bisect(lambda t: along(t, lane)[1] > 0, grid[k], grid[k + 1])
    values = along(peaks, lane)[0]
    top = g.max(axis=1)
    np.maximum.at(top, lane, values)
    # the first of them that is above
    first = np.full(n, np.inf)
    before = np.zeros(n)
    crossed = (g > 0).any(axis=1)
    index = (g > 0).argmax(axis=1)
    first[crossed], before[crossed] = grid[index[crossed]], grid[index[crossed] - 1]
    for j, i, t, value in zip(lane, k, peaks, values, strict=True):
        if value > 0 and t < first[j]:
            first[j], before[j] = t, grid[i]
    found = np.flatnonzero(np.isfinite(first))
    time = np.full(n, np.inf)
    time[found] = _bisect(lambda t: along(t, found)[0] <= 0, before[found], first[found])
    rate = np.zeros(n)
    rate[found] = along(time[found], found)[1]
    return Truth(time, rate, top)


def _bisect(low_side: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    for _ in range(80):
        middle = 0.5 * (low + high)
        yes = low_side(middle)
        low, high = np.where(yes, middle, low), np.where(yes, high, middle)
    return high


def assert_found(found: np.ndarray, expected: Truth, note: str) -> None:
    """The same crossings, to what rounding leaves of their time."""
    sure = np.abs(expected.top) > 1e-13
    assert sure.mean() > 0.99
    np.testing.assert_array_equal(np.isfinite(found)[sure], np.isfinite(expected.time)[sure], err_msg=note)
    there = np.isfinite(expected.time) & sure
    off = np.abs(found[there] - expected.time[there])
    assert (off <= 1e-14 + 2e-15 / expected.slope[there]).all(), f"{note}: {off.max()}"


@pytest.fixture(autouse=True)
def as_in_the_engine() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", SPIKING)
def test_random_states(name: str, window: float) -> None:
    of = neurons(name, window * MS)
    found = 0
    for seed in range(2):
        x = states(of, seed)
        for length in of.flow.window * np.array([1.0, 0.31, 0.02]):
            expected = truth(of, x, length)
            note = f"{name}, {length} s, seed {seed}"
            times, _ = of.flow.first(x, np.full(COUNT, length), np.arange(COUNT))
            assert_found(times, expected, note)
            may = np.zeros(COUNT, dtype=bool)
            may[of.flow.may_cross(x, length)] = True
            assert may[expected.top > 1e-13].all(), note
            found += np.isfinite(times).sum()
    assert found > 10


@functools.cache
def tops(name: str, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Random states, and the largest potential relative to threshold that follows from each, where that is smooth."""
    of = neurons(name, length)
    x = states(of, 5)
    expected = truth(of, x, of.flow.window)
    ends = np.stack([of("event", *of("flow", *x, s=s))[0] for s in (0.0, of.flow.window)])
    smooth = expected.top > ends.max(axis=0) + 1e-4
    return x[:, smooth], expected.top[smooth]


# those whose potential rises, then falls by itself, in a window that their flow is written for at once
RISING = [n for n in SPIKING if "delta" not in n and "subthreshold" not in n and not n.startswith("integrate")]


@pytest.mark.parametrize("window", WINDOWS[2:])
@pytest.mark.parametrize("name", RISING)
def test_potentials_that_all_but_touch_threshold(name: str, window: float) -> None:
    x, top = tops(name, window * MS)
    assert top.size > 5
    for above in GRAZING:
        of = neurons(name, window * MS, top.size, v_th=1 + top - above * np.maximum(1, np.abs(1 + top)))
        length = np.full(top.size, min(of.flow.window, window * MS))
        assert (of("event", *x)[0] < 0).all()
        found, _ = of.flow.first(x, length, np.arange(top.size))
        assert (np.isfinite(found) == (above > 0)).all(), f"{name}: {above} above threshold"
        if above > 0:
            assert len(of.flow.may_cross(x, float(length[0]))) == top.size


# --- the same through whole simulations, on both targets --------------------------------------------------------------


ARRIVALS = np.array([1.0, 3.1, 3.4, 9.0]) * MS


def first_spikes(network: Network, target: str, window: float | None) -> np.ndarray:
    with Simulation(network, SmoothSpikeTimes(), batch_size=1, target=target, window=window) as s:  # type: ignore[arg-type]
        s.run({"input": ARRIVALS[None]}, np.zeros(1, dtype=int), gradient=False)
        return s.spike_times("output")[0, :, 0]


def driven(name: str, seed: int, **parameters: np.ndarray) -> Network:
    network = population(name, COUNT, **parameters)
    weights = np.random.default_rng(seed).normal(size=(4, COUNT)) * (0.6 if "delta" in name else 4.0)
    (q,) = network.projections
    return Network(
        network.name,
        network.inputs,
        network.populations,
        (Projection(q.name, q.source, q.target, weights, q.receptor),),
        network.output,
        network.duration,
    )


def expected_spikes(network: Network, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First spikes by brute force, piece by piece; largest value of the event function until then, and slope there."""
    own = {k: np.asarray(v) for k, v in network.populations[0].parameters.items()}
    of = neurons(name, network.duration, **own)
    x, t = of.initial(), 0.0
    time, top, slope = np.full(COUNT, np.inf), np.full(COUNT, -np.inf), np.zeros(COUNT)
    for k, end in enumerate([*ARRIVALS, network.duration]):
        while t < end:  # a flow that is a series is one for short times
            step = min(end - t, of.flow.window)
            waiting = ~np.isfinite(time)
            found = truth(of, x, step)
            new = waiting & np.isfinite(found.time)
            time[new], slope[new] = t + found.time[new], found.slope[new]
            top = np.where(waiting, np.maximum(top, found.top), top)
            x, t = of("flow", *x, s=step), t + step if step < end - t else end
        if k < len(ARRIVALS):
            x = of("arrive0", *x, network.projections[0].weights[k])
            g = of("event", *x)[0]
            at_once = ~np.isfinite(time) & (g > 0)
            time[at_once], slope[at_once] = end, np.inf
            top = np.where(np.isfinite(time), top, np.maximum(top, g))
    return time, top, slope


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", SPIKING)
def test_first_spikes_of_driven_neurons(name: str, target: str) -> None:
    network = driven(name, 1)
    time, top, slope = expected_spikes(network, name)
    assert 30 < np.isfinite(time).sum() < COUNT - 15
    for window in (None, 100 * MS, 0.3 * MS):
        if window == 0.3 * MS and target == "numpy":
            continue  # 300 pieces
        found = first_spikes(network, target, window)
        sure = np.abs(top) > 1e-12
        np.testing.assert_array_equal(np.isfinite(found)[sure], np.isfinite(time)[sure], err_msg=f"{name}, {window}")
        there = np.isfinite(time) & sure
        off = np.abs(found[there] - time[there])
        assert (off <= 1e-14 + 5e-15 / slope[there]).all(), f"{name}, {window}: {off.max()}"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", [n for n in SPIKING if "delta" not in n])
def test_driven_neurons_that_all_but_reach_threshold(name: str, target: str) -> None:
    high = driven(name, 2, v_th=np.full(COUNT, 1e9))
    _, top, _ = expected_spikes(high, name)
    reached = 1e9 + top  # rounded to 1e-7: a second look, at thresholds near it
    _, top, _ = expected_spikes(driven(name, 2, v_th=reached + 1e-3), name)
    reached = reached + 1e-3 + top
    for above in GRAZING:
        able = reached > 0.01  # else it starts above its threshold
        network = driven(name, 2, v_th=np.where(able, reached * (1 - above), 1e9))
        found = first_spikes(network, target, None)
        assert able.sum() > 60
        assert (np.isfinite(found) == (able & (above > 0))).all(), f"{name}: {above} above threshold"


@COMPILER
@pytest.mark.parametrize("below", [0.0, 1e-16, 1e-9])
def test_a_neuron_that_falls_from_its_threshold_and_comes_back(below: float) -> None:
    """A reset that puts an oscillator onto its threshold, or next to it: the next spike may be in the same window."""
    model = dataclasses.replace(
        load_model("resonate_and_fire"), reset=(Assignment("u", "=", "0.0"), Assignment("v", "=", f"v_th - {below!r}"))
    )
    weights = np.random.default_rng(3).uniform(2e3, 2e4, (1, 6))
    network = Network(
        "oscillators",
        (SpikeInput("input", 1),),
        (Population("out", 6, model),),
        (Projection("w", "input", "out", weights),),
        "out",
        10 * MS,
    )
    inputs, spikes = {"input": np.full((1, 1, 1), MS)}, []
    for target, window in (("numpy", None), ("cpp_standalone", None), ("cpp_standalone", 0.05 * MS)):
        with Simulation(network, SmoothSpikeTimes(), batch_size=1, target=target, window=window) as s:  # type: ignore[arg-type]
            s.run(inputs, np.zeros(1, dtype=int), gradient=False)
            spikes.append(s.spike_times("out"))
    assert np.isfinite(spikes[0]).sum() >= 12
    for found in spikes[1:]:
        np.testing.assert_allclose(found, spikes[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["lif", "qif"])
def test_a_current_far_too_large_ends_soon(name: str) -> None:
    """A forgotten pA, without waiting for max_spikes."""
    current = snn.CurrentInput("i", 1, 1e-3, "hold")
    cells = snn.Population("cells", 1, snn.load_model(name))
    drives = (snn.Drive("gain", "i", "cells", np.full((1, 1), 1e12)),)
    network = snn.Network("large", (), (cells,), (), "cells", 0.1, currents=(current,), drives=drives)
    with (
        snn.Simulation(network, SpikeTimes()) as simulation,
        pytest.raises(SimulationError, match=r"spikes more than 10000 times within a time constant.*check the units"),
    ):
        simulation.forward({"i": np.ones((1, 1, 100))}, gradient=False)
