"""Every linear neuron of the library, whichever they are: no crossing is missed and none is made up.

Thousands of random states beside dense sampling, and excursions above threshold that last a millionth of the window, in
units of each model. `test_detection.py` has more windows, mechanisms, synapses, and grazing to the last digits.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pytest

from snnmodels.gradients import Simulation
from snnmodels.gradients.probe import SmoothSpikeTimes
from snnmodels.symbolic.declaration import hybrid_system
from snnmodels.targets.numpy.neurons import Neurons
from snnmodels.templates import Network, Population, Projection, SpikeInput, catalogue, load_model
from tests.exactness import test_detection as detection
from tests.exactness.networks import MS, SLOW
from tests.needs import COMPILER

as_in_the_engine = detection.as_in_the_engine  # a fixture: numbers out of range are no warnings
COUNT = detection.COUNT
SHARE = 1e-6  # of the window
# No potential has a maximum at its threshold here: one has no leak, the other rests above its threshold
UPWARD = ("integrate_and_fire", "lif_cuba")


@functools.cache
def is_linear(name: str) -> bool:
    model = load_model(name)
    return model.spiking and hybrid_system(model).is_linear


NEURONS = [entry.name for entry in catalogue() if entry.kind == "neuron" and is_linear(entry.name)]


class Scales(NamedTuple):
    """By how much a unit of each state moves the event function at most, on which it acts at once, and its own size."""

    influence: np.ndarray
    at_once: int
    slope: float
    size: float


@functools.cache
def neurons(name: str, window: float) -> Neurons:
    return detection.neurons(name, window)


@functools.cache
def scales(name: str, window: float) -> Scales:
    of = neurons(name, window)
    rest = of.initial()
    times = of.flow.window * np.linspace(0, 1, 200)

    def along(x: np.ndarray) -> np.ndarray:
        return np.stack([of("event", *of("flow", *x, s=s))[0][0] for s in times])

    base, influence, now = along(rest), [], []
    for k in range(of.n_states):
        moved = rest.copy()
        moved[k] += 1.0  # the event function is affine
        influence.append(along(moved) - base)
        now.append(influence[-1][0])
    at_once = int(np.abs(now).argmax())
    return Scales(np.abs(influence).max(axis=1), at_once, float(now[at_once]), abs(float(base[0])))


def states(name: str, window: float, seed: int) -> np.ndarray:
    """Below threshold, by anything from 1e-12 of its distance from rest on; the other states of all sizes and signs."""
    of, s = neurons(name, window), scales(name, window)
    rng = np.random.default_rng(seed)
    shape = (of.n_states, COUNT)
    unit = np.where(s.influence > 0, s.size / np.where(s.influence > 0, s.influence, 1.0), 0.0)
    x = of.initial() + unit[:, None] * rng.normal(size=shape) * 10 ** rng.uniform(-2, 1.3, shape)
    close = rng.uniform(size=COUNT) < 0.3
    wanted = -s.size * np.where(close, 10 ** -rng.uniform(0, 12, COUNT), rng.uniform(0.01, 3, COUNT))
    for _ in range(3):
        x[s.at_once] += (wanted - of("event", *x)[0]) / s.slope
    x[s.at_once] -= np.where(of("event", *x)[0] >= 0, 1e-9 * s.size / s.slope, 0.0)
    assert (of("event", *x)[0] < 0).all()
    return x


def rounding(name: str, window: float, x: np.ndarray) -> np.ndarray:
    """What terms of the event function leave of its digits, of each neuron."""
    s = scales(name, window)
    return 1e-15 * (s.size + s.influence @ np.abs(x))


@pytest.mark.parametrize(
    ("window", "seeds"), [(5 * MS, [0]), *(pytest.param(w * MS, range(1, 10), marks=SLOW) for w in (0.3, 5, 60))]
)
@pytest.mark.parametrize("name", NEURONS)
def test_random_states(name: str, window: float, seeds: Iterable[int]) -> None:
    of, found = neurons(name, window), 0
    for seed in seeds:
        x = states(name, window, seed)
        digits = rounding(name, window, x)
        length = of.flow.window * (1.0, 0.31, 0.02)[seed % 3]
        expected = detection.truth(of, x, length)
        times, _ = of.flow.first(x, np.full(COUNT, length), np.arange(COUNT))
        sure = np.abs(expected.top) > 30 * digits
        assert sure.mean() > 0.95
        np.testing.assert_array_equal(np.isfinite(times)[sure], np.isfinite(expected.time)[sure], err_msg=str(seed))
        may = np.zeros(COUNT, dtype=bool)
        may[of.flow.may_cross(x, length)] = True
        assert may[sure & (expected.top > 0)].all()
        there = sure & np.isfinite(times)
        off = np.abs(times[there] - expected.time[there])
        assert (off <= 1e-14 + 30 * digits[there] / expected.slope[there]).all(), f"{seed}: {off.max()}"
        found += int(there.sum())
    assert found > 5


def excursions(name: str, window: float) -> tuple[np.ndarray, np.ndarray]:
    """States, and times of their smooth maxima."""
    of, s = neurons(name, window), scales(name, window)
    x = states(name, window, 11)
    x = x[:, s.influence @ np.abs(x - of.initial()) < 30 * s.size][:, :200]
    which = np.arange(x.shape[1])

    def along(time: np.ndarray) -> np.ndarray:
        return np.stack(of("search", *of("flow", *x, s=time, which=which), which=which)[:3])

    grid = of.flow.window * np.linspace(0, 1, 400)
    every = np.tile(which, grid.size)
    moved = of("flow", *x[:, every], s=np.repeat(grid, which.size), which=every)
    g, slope = of("search", *moved, which=every)[:2].reshape(2, grid.size, -1).transpose(0, 2, 1)
    k = g.argmax(axis=1)
    # the largest value is inside, and there is no other that comes near it
    inside = (k > 4) & (k < len(grid) - 4) & (g[:, 0] < g.max(axis=1) - 1e-4 * s.size)
    inside &= ((slope[:, :-1] > 0) & (slope[:, 1:] <= 0)).sum(axis=1) == 1
    low, high = grid[np.maximum(k - 1, 0)], grid[np.minimum(k + 1, len(grid) - 1)]
    peak = detection._bisect(lambda t: along(t)[1] > 0, low, high)
    return x[:, inside], peak[inside]


@pytest.mark.parametrize("name", NEURONS)
def test_excursions_of_a_millionth_of_the_window(name: str) -> None:
    window = 20 * MS
    of, s = neurons(name, window), scales(name, window)
    x, peak = excursions(name, window)
    if not peak.size:
        assert name in UPWARD
        return
    which, lasts = np.arange(peak.size), SHARE * of.flow.window

    def at(x: np.ndarray, time: np.ndarray) -> Any:
        return of("event", *of("flow", *x, s=time, which=which), which=which)[0]

    unit = x.copy()
    unit[s.at_once] += 1.0
    for sign in (1.0, -1.0):
        y = x.copy()
        for _ in range(8):  # Newton's steps towards a maximum that is as much above as lasts so long
            values = of("search", *of("flow", *y, s=peak, which=which), which=which)
            peak = np.clip(peak - values[1] / values[2], 0, of.flow.window)
            top = np.abs(values[2]) * lasts**2 / 8
            y[s.at_once] += (sign * top - at(y, peak)) / (at(unit, peak) - at(x, peak))
        ok = (at(y, np.zeros(peak.size)) < 0) & (np.abs(at(y, peak) - sign * top) < 0.2 * top)
        ok &= (at(y, peak - lasts) < 0) & (at(y, peak + lasts) < 0)
        assert ok.any() == (name not in UPWARD)
        found, _ = of.flow.first(y, np.full(peak.size, of.flow.window), which)
        assert (np.isfinite(found) == (sign > 0))[ok].all(), f"{sign}: {np.isfinite(found)[ok]}"
        if sign > 0:
            assert (np.abs(found - peak) < lasts)[ok].all()
            may = of.flow.may_cross(np.resize(y.T, (COUNT, of.n_states)).T, of.flow.window)  # looks at all of them
            assert set(which[ok]) <= set(may)


@COMPILER
@SLOW
@pytest.mark.parametrize("name", NEURONS)
def test_both_targets_find_the_same_spikes(name: str) -> None:
    """Of 300 neurons with weights of all sizes and both signs, in windows of every length."""
    model = load_model(name)
    reach = scales(name, 20 * MS)
    k = model.state_names.index("I_syn")
    rng = np.random.default_rng(1)
    shape = (4, COUNT)
    weights = reach.size / reach.influence[k] * rng.normal(size=shape) * 10 ** rng.uniform(-1, 0.5, shape)
    network = Network(
        "detection",
        (SpikeInput("input", 4),),
        (Population("output", COUNT, model),),
        (Projection("w", "input", "output", weights, next(iter(model.receptors))),),
        "output",
        40 * MS,
    )
    spikes = []
    for target, window in (("numpy", None), ("cpp_standalone", None), ("cpp_standalone", 0.3 * MS)):
        with Simulation(network, SmoothSpikeTimes(), batch_size=1, target=target, window=window) as s:  # type: ignore[arg-type]
            s.run({"input": detection.ARRIVALS[None]}, np.zeros(1, dtype=int), gradient=False)
            spikes.append(s.spike_times("output"))
    assert 20 < np.isfinite(spikes[0][0, :, 0]).sum() < COUNT
    for found in spikes[1:]:
        np.testing.assert_allclose(found, spikes[0], rtol=0, atol=1e-12)
