"""The window is one of looking ahead, and none of memory: what is kept is kept for spikes, not for windows."""

from __future__ import annotations

import functools
import gc
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from snnmodels.events.engine import Engine
from snnmodels.events.plan import EnginePlan
from snnmodels.losses import SpikeTimes
from snnmodels.targets.cpp.engine import CppEngine
from snnmodels.targets.numpy.engine import NumpyEngine
from snnmodels.templates import Network, load_model
from tests.events.agreement import Inputs, random_network
from tests.needs import COMPILER
from tests.oracle.networks import MS

DURATION = 30 * MS
SMALL = 0.1 * MS  # a 40th of what is chosen; 1 s, the whole trial, is taken for four times what is chosen
OBJECT, RECORD = 512, 64  # bytes that a window of one population has, in NumPy and in the compiled program


@functools.cache
def network(trials: int) -> tuple[Network, Inputs]:
    """Two hidden populations and an output."""
    return random_network(load_model("lif+exp_synapse"), 6.0, 5, duration=DURATION, trials=trials)


def passes(engine: Engine, trials: int) -> int:
    """Forward and backward; the number of spikes."""
    net, inputs = network(trials)
    engine.forward([inputs[i.name] for i in net.inputs])
    times = engine.spike_times(2)
    engine.pull([np.isfinite(times) * 1.0])
    return sum(engine.spike_count(k) for k in range(3))


def plan_of(window: float | None, trials: int) -> EnginePlan:
    return EnginePlan.of(network(trials)[0], [SpikeTimes()], window=window)


def allocated(window: float | None, trials: int = 1) -> tuple[int, float]:
    """Spikes, and most bytes that NumPy's engine had in use beyond what it began with."""
    engine = NumpyEngine(plan_of(window, trials))
    engine.forward([np.full_like(x, np.inf) for x in network(trials)[1].values()])  # makes what any batch needs
    gc.collect()
    tracemalloc.start()
    try:
        return passes(engine, trials), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def resident(window: float | None, trials: int = 16) -> tuple[int, float]:
    """Spikes, and most bytes that the compiled program had resident."""
    engine = CppEngine(plan_of(window, trials), trials=trials)
    status = Path(f"/proc/{engine._process.popen.pid}/status")
    try:
        spikes = passes(engine, trials)
        (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())
        return spikes, 1024 * int(kilobytes)
    finally:
        engine.close()


def windows(trials: int) -> float:
    """Number of small windows, of which each has a record that says when it began and what it has, and no states."""
    return DURATION / SMALL * len(network(trials)[0].populations) * trials


def test_numpy_allocates_for_spikes() -> None:
    spikes, size = allocated(None)
    assert spikes > 200
    whole, small = allocated(1.0), allocated(SMALL)
    assert (whole[0], small[0]) == (spikes, spikes)
    assert whole[1] <= 1.1 * size
    assert small[1] <= 1.1 * size + OBJECT * windows(1)
    twice, larger = allocated(None, 2)
    assert larger > size * (1 + 0.5 * (twice / spikes - 1)), "a measure that does not see what is kept"


@COMPILER
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_the_compiled_program_is_as_large_for_every_window() -> None:
    spikes, size = resident(None)
    for window, extra in ((1.0, 0.0), (SMALL, RECORD * windows(16))):
        others, found = resident(window)
        assert others == spikes
        assert found <= size + extra + 256 * 1024  # the share of loader and allocator differs from start to start
    more, larger = resident(None, 64)
    assert more > 3 * spikes
    assert larger > 1.5 * size, "a measure that does not see what is kept"
