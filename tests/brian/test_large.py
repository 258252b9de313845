"""The CUBA script that docs/from_brian2.md begins with, as a whole: its gradients are those of differences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import brian2
import numpy as np
import pytest

import snnmodels as snn
from benchmarks.from_script import printed
from snnmodels.brian import ReadNetwork
from snnmodels.events.plan import EnginePlan
from tests.needs import COMPILER

pytestmark = [COMPILER, pytest.mark.slow]

LEARNABLE = {"P": ["we", "wi", "taum", "taue", "taui", "Vt", "Vr", "El", "t_ref", "v_0"]}


@pytest.fixture
def names() -> Iterator[dict[str, Any]]:
    brian2.start_scope()
    before = brian2.prefs.codegen.target
    brian2.prefs.codegen.target = "numpy"
    brian2.seed(3)
    found: dict[str, Any] = {"__name__": "script"}
    exec(compile(printed()[0], "script", "exec"), found)
    yield found
    brian2.prefs.codegen.target = before


def read(names: dict[str, Any], learnable: dict[str, list[str]]) -> ReadNetwork:
    objects = [names[x] for x in ("P", "Ce", "Ci")]
    return snn.from_brian2(objects, "P", 200 * brian2.ms, learnable=learnable, namespace=names)


@pytest.mark.parametrize("delays", ["one", "each"])
def test_gradients_are_those_of_differences(names: dict[str, Any], delays: str) -> None:
    """A step of a parameter so small that no spike comes or goes; by many values at once along a drawn direction."""
    learnable = LEARNABLE
    if delays == "each":
        learnable = LEARNABLE | {"Ce": ["w"], "Ci": ["w"]}
        for synapses in (names["Ce"], names["Ci"]):
            synapses.delay = "0.5*ms + 2.5*ms*rand()"
    network = read(names, learnable)
    loss = snn.ExpressionLoss("(sum_spikes(exp((t - end)/tau)) - 1)**2", {"end": "200*ms", "tau": "50*ms"})
    assert all(p.rules.scatters for p in EnginePlan.of(network, loss.observables).populations)
    rng = np.random.default_rng(0)
    values = network.trainable()
    with snn.Simulation(network, loss, batch_size=1, target="cpp_standalone") as simulation:

        def at(key: str, change: np.ndarray) -> tuple[float, float]:
            found = simulation.run(network.trial, np.zeros(1), {**values, key: values[key] + change})
            return found.loss, found.spikes["P"]

        outcome = simulation.run(network.trial, np.zeros(1))
        assert outcome.spikes["P"] > 4000
        assert outcome.gradients.keys() >= values.keys()
        for key, value in values.items():
            direction = np.abs(value) * rng.choice([-1, 1], np.shape(value))
            wanted = float(np.sum(outcome.gradients[key] * direction))
            errors = []
            for step in (1e-7, 1e-8):
                (up, n), (down, m) = (at(key, sign * step * direction) for sign in (1, -1))
                if n == m:
                    errors.append(abs((up - down) / (2 * step) / wanted - 1))
            assert min(errors) < 1e-6, f"{key}: {errors}"
