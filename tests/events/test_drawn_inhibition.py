"""Drawn networks in which inhibition arrives just before spikes: order, windows, targets and differences.

`test_drawn_networks.py` draws the same networks without it; here every neuron of the first population also has a source
of its own that inhibits it by between 1 ns and 1 ms before each spike that it would have had.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from snnmodels.targets.cpp.engine import CppEngine
from snnmodels.targets.numpy.engine import NumpyEngine
from snnmodels.templates import Projection, SpikeInput
from tests.events.agreement import Run, assert_agrees, reference_of, run
from tests.events.drawn import LINEAR, MS, Drawn
from tests.events.test_drawn_networks import numbered
from tests.needs import COMPILER
from tests.oracle.networks import Polynomial, loss_of, with_values

pytestmark = COMPILER


def inhibited(drawn: Drawn, seed: int) -> Drawn:
    """With such sources, each as strong as a usual weight."""
    rng = np.random.default_rng([13, seed])
    first = drawn.network.populations[0]
    found = run(NumpyEngine, drawn.network, drawn.inputs)
    times = found.spikes[first.name]
    times = times - 10 ** rng.uniform(-9, -3, times.shape)
    times = np.sort(np.where(times > 0, times, np.inf), axis=2)
    weights = -np.diag(rng.uniform(0.05, 1.0, first.n)) * LINEAR.get(first.model.name, 1.0)
    receptor = next(iter(first.model.receptors))
    late = Projection("late_first", "late", first.name, weights, receptor, np.eye(first.n, dtype=bool))
    network = dataclasses.replace(
        drawn.network,
        inputs=(*drawn.network.inputs, SpikeInput("late", first.n)),
        projections=(*drawn.network.projections, late),
    )
    return dataclasses.replace(drawn, network=network, inputs={**drawn.inputs, "late": times})


def cpp(drawn: Drawn, window: float | None = None) -> Run:
    found = run(lambda plan: CppEngine(plan, trials=2), drawn.network, drawn.inputs, window=window)
    found.engine.close()
    return found


def in_order(spikes: dict[str, np.ndarray], trial: int) -> list[tuple[str, int]]:
    """Populations and neurons by the times of their spikes; what is within a femtosecond has no order."""
    found = [
        (round(float(t), 15), name, int(neuron))
        for name, times in spikes.items()
        for neuron, each in enumerate(times[trial])
        for t in each[np.isfinite(each)]
    ]
    return [(name, neuron) for _, name, neuron in sorted(found)]


def assert_close(found: Run, other: Run, time: float, gradient: float, note: str) -> None:
    for name, times in other.spikes.items():
        np.testing.assert_allclose(found.spikes[name], times, rtol=0, atol=time, err_msg=f"{note} {name}")
    for key, value in other.gradients.items():
        per = 1e3 if key.endswith((".delay", ".times")) else 1.0
        scale = max(np.abs(value).max(initial=0.0), 1e-3 * per * max(1.0, abs(other.loss)))
        np.testing.assert_allclose(found.gradients[key], value, rtol=0, atol=gradient * scale, err_msg=f"{note} {key}")


def compare(drawn: Drawn) -> None:
    network, inputs = drawn.network, drawn.inputs
    reference = reference_of(network, inputs)
    found, ours = cpp(drawn), run(NumpyEngine, network, inputs)
    for one in (found, ours):
        assert_agrees(one, reference, hardly=1e-3)
        for trial in range(len(inputs["late"])):
            assert in_order(one.spikes, trial) == in_order(reference.spikes, trial), drawn.label
    assert_close(found, ours, 1e-12, 1e-12, drawn.label)
    for window in (0.1 * MS, 1.3 * MS, 1.0):
        assert_close(cpp(drawn, window), found, 1e-12, 1e-9, f"{drawn.label}, {window} s")


@pytest.mark.parametrize(
    ("first", "count"), [(40_000, 1), *(pytest.param(41_000 + 1000 * k, 10, marks=pytest.mark.slow) for k in range(5))]
)
def test_inhibition_just_before_crossings(first: int, count: int) -> None:
    for k, drawn in enumerate(numbered(first, count)):
        compare(inhibited(drawn, first + k))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [42_000, 43_000])
def test_central_differences(seed: int) -> None:
    """Along one random direction through all weights."""
    (drawn,) = numbered(seed, 1)
    drawn = inhibited(drawn, seed)
    network, found = drawn.network, cpp(drawn)
    rng = np.random.default_rng(seed)
    moves = {
        f"{q.name}.w": np.asarray(q.weights) * rng.uniform(-1, 1, np.shape(q.weights)) for q in network.projections
    }
    expected = sum(float((found.gradients[key] * d).sum()) for key, d in moves.items())

    def loss(h: float) -> float:
        values = {f"{q.name}.w": np.asarray(q.weights) + h * moves[f"{q.name}.w"] for q in network.projections}
        return loss_of(with_values(network, values), drawn.inputs, Polynomial(), "matrix-exponential")

    h = 1e-6
    coarse, fine = ((loss(k * h) - loss(-k * h)) / (2 * k * h) for k in (2, 1))
    assert (4 * fine - coarse) / 3 == pytest.approx(expected, rel=1e-6, abs=1e-7)
