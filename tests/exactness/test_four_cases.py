"""Four cases of one neuron that a time grid gets wrong: spike times and credits are those of the closed form.

A simulation that applies the arrivals of a step at its end, and searches crossings without them, has the first spike
late, spikes where inhibition prevents it, misses an excursion, and counts an arrival after the reset that came before.
`test_grid_error.py` says what `GridSimulation` makes of such cases.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq

from snnmodels.losses import SpikeTimeFunction
from tests.exactness.networks import EXACT, LIF, MS, SLOW, Case, Found, assert_agrees, one, reference, simulated
from tests.needs import COMPILED, COMPILER
from tests.oracle.networks import Polynomial

TAU_M, TAU_S = 20.0, 5.0  # ms, of the library's neuron; it rests and is reset at 0, and spikes at 1
END = 30.0
# weights, times of their arrivals in ms, and how often the neuron spikes; three sources, so that one program does all
CASES = {
    "an arrival just before a crossing": ([6.9, 3.0, 0.0], [0.0, 5.2, np.inf], 1),
    "inhibition just before a shallow crossing": ([6.41, -30.0, 0.0], [0.0, 7.907, np.inf], 0),
    "an excursion that inhibition ends": ([6.355, -60.0, 0.0], [0.0, 9.5, np.inf], 1),
    "an arrival before the spike that follows another": ([6.9, 3.0, 6.0], [0.0, 5.2, 8.0], 3),
}
EMULATOR = Path(__file__).parents[1] / "cudacpu" / "nvcc"
TARGETS = ["numpy", COMPILED, pytest.param("cuda_standalone", marks=[COMPILER, SLOW])]


def potential(t: float | np.ndarray, weights: np.ndarray, times: np.ndarray) -> float | np.ndarray:
    """Potential from rest after arrivals of exponential currents; all in ms."""
    since = np.maximum(np.subtract.outer(t, times), 0.0)
    return (np.exp(-since / TAU_M) - np.exp(-since / TAU_S)) @ weights * TAU_S / (TAU_M - TAU_S)


def spikes_of(weights: list[float], times: list[float]) -> tuple[list[float], np.ndarray]:
    """Spike times in ms, and the derivative of the first by the arrivals, from closed forms and nothing else."""
    there = np.isfinite(times)
    w, t = np.array(weights)[there], np.array(times)[there]
    spikes: list[float] = []
    credit = np.zeros(len(times))
    while True:
        start = spikes[-1] if spikes else 0.0
        # of what came before a reset only the current is left
        before = t < start
        current = float((w[before] * np.exp(-(start - t[before]) / TAU_S)).sum())
        now = functools.partial(potential, weights=np.append(w[~before], current), times=np.append(t[~before], start))
        grid = np.arange(start, END, 1e-3)
        above = np.flatnonzero(now(grid) > 1)
        if not len(above):
            return spikes, credit
        spike = brentq(lambda at, v=now: float(v(at)) - 1, grid[above[0] - 1], grid[above[0]], xtol=1e-14, rtol=1e-15)
        if not spikes:
            since = spike - t
            slopes = np.where(since > 0, w * (np.exp(-since / TAU_S) / TAU_S - np.exp(-since / TAU_M) / TAU_M), 0.0)
            credit[there] = slopes / slopes.sum()
        spikes.append(spike)


def first_spike(times: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Time of the first spike."""
    there = np.isfinite(times)
    there[..., 1:] = False
    return float(times[there].sum()), there * 1.0


def case_of(case: str) -> Case:
    weights, times, _ = CASES[case]
    return one(weights, times, LIF, duration=END * MS)


@functools.cache
def found(case: str, target: str, window: float | None = None) -> Found:
    """Spikes, and the gradient of the first one's time."""
    return simulated(case_of(case)._replace(loss=SpikeTimeFunction(first_spike)), target, window=window)


@pytest.fixture
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """CUDA runs on the processor (tests/cudacpu)."""
    if request.param == "cuda_standalone":
        monkeypatch.setenv("NVCC", f"{sys.executable} {EMULATOR}")
    return str(request.param)


@pytest.mark.parametrize("device", TARGETS, indirect=True)
@pytest.mark.parametrize("case", CASES)
def test_spikes_and_credits_are_those_of_the_closed_form(case: str, device: str) -> None:
    weights, times, count = CASES[case]
    expected, credit = spikes_of(weights, times)
    assert len(expected) == count
    for window in (None,) if device == "cuda_standalone" else (None, 0.1 * MS, 1 * MS, 1.0):
        spikes, outcome = found(case, device, window).spikes["output"].ravel() / MS, found(case, device, window).outcome
        np.testing.assert_allclose(spikes[np.isfinite(spikes)], expected, rtol=0, atol=1e-11)
        np.testing.assert_allclose(outcome.gradients["input.times"].ravel(), credit, rtol=0, atol=1e-10)


@pytest.mark.parametrize("device", TARGETS, indirect=True)
@pytest.mark.parametrize("case", CASES)
def test_gradients_by_every_spike_are_those_of_the_reference(case: str, device: str) -> None:
    every = case_of(case)._replace(loss=Polynomial())
    assert_agrees(simulated(every, device), reference(every), EXACT)
