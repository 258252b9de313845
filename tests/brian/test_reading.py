"""Scripts of Brian2, read as networks: their spikes are Brian2's own, and their gradients are exact."""

from __future__ import annotations

from collections.abc import Iterator

import brian2
import numpy as np
import pytest
from brian2 import SpikeMonitor, us

import snnmodels as snn
from snnmodels.losses import SpikeTimes

from .scripts import Script


@pytest.fixture(autouse=True)
def numpy_target() -> Iterator[None]:
    brian2.start_scope()
    old = brian2.prefs.codegen.target
    brian2.prefs.codegen.target = "numpy"
    yield
    brian2.prefs.codegen.target = old
    brian2.defaultclock.dt = 100 * us


def read(script: Script):
    return snn.from_brian2(
        script.objects, script.output, script.duration, learnable=script.learnable, namespace=script.namespace
    )


def ours(network) -> list[np.ndarray]:
    with snn.Simulation(network, SpikeTimes(), batch_size=1) as simulation:
        spikes = simulation.forward(network.trial, gradient=False)[0]
    return [row[np.isfinite(row)] for row in spikes]


def brians(script: Script, dt) -> list[np.ndarray]:
    """Spike times of Brian2: what it records at t is reached a step later."""
    brian2.defaultclock.dt = dt
    group = next(o for o in script.objects if o.name == script.output)
    monitor = SpikeMonitor(group)
    brian2.Network(*script.objects, monitor).run(script.duration * brian2.second, namespace=script.namespace)
    trains = monitor.spike_trains()
    return [np.asarray(trains[k]) + float(dt) for k in range(len(group))]
