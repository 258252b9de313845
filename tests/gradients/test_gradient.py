"""On a time grid too, the gradient is the derivative of what is simulated, and every target simulates the same."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import pytest

from snnmodels.gradients import GridSimulation, Outcome
from snnmodels.gradients.probe import SmoothMaxima
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model
from tests.gradients.networks import MS, Case, mixed
from tests.needs import COMPILER

OBSERVABLES = ("spike_times", "voltage_max", "voltage_samples")
# Of the differences, relative to the largest of what is changed. The discretisation error of a nonlinear model jumps
# where a spike passes a grid point, which a shorter step is less likely to meet.
STEPS = (5e-5, 1e-5)


def simulation(case: Case, **options: Any) -> GridSimulation:
    """For a batch that the trials don't fill."""
    return GridSimulation(case.network, case.loss, **{"batch_size": 3, "dt": 0.5 * MS, "input_spikes": 2, **options})


def assert_derivative(case: Case, **options: Any) -> Outcome:
    """The gradient by every group, along one direction each, is that of central differences."""
    rng = np.random.default_rng(0)
    with simulation(case, **options) as s:
        found = s.run(case.inputs, case.targets)
        values = {key: np.asarray(v) for key, v in s.network.trainable().items()}
        masks = {f"{q.name}.w": q.mask for q in case.network.projections if q.mask is not None}
        for key, start in {**values, "input.times": case.inputs["input"]}.items():
            direction = rng.normal(size=start.shape) * np.isfinite(start) * masks.get(key, True)
            size = 2e-3 if key == "input.times" else np.abs(start).max() or 1e-2

            def loss(step: float, key: str = key, start: np.ndarray = start, change: np.ndarray = direction) -> float:
                moved = start + step * change
                if key == "input.times":
                    return s.run({"input": moved}, case.targets, values, gradient=False).loss
                return s.run(case.inputs, case.targets, {**values, key: moved}, gradient=False).loss

            slope = float((found.gradients[key] * direction).sum())
            tolerance = 1e-9 * max(abs(found.loss), abs(slope) * size) + 1e-7 * abs(slope) * size
            for h in np.array(STEPS) * size:
                difference = (8 * (loss(h) - loss(-h)) - (loss(2 * h) - loss(-2 * h))) / (12 * h)
                off = abs(difference - slope) * size
                if off <= tolerance:
                    break
            assert off <= tolerance, key
    return found


@pytest.mark.parametrize("observable", OBSERVABLES)
def test_the_gradient_is_the_derivative(observable: str) -> None:
    found = assert_derivative(mixed(observable))
    assert all(np.any(g) for g in found.gradients.values())
    assert found.spikes["jumping"] > 5


@pytest.mark.parametrize("arrival", [5.2, 5.0])
def test_a_maximum_at_an_arrival_moves_with_it(arrival: float) -> None:
    readout = load_model("leaky_integrator", "exp_synapse")
    network = Network(
        "kink",
        (SpikeInput("input", 2),),
        (Population("output", 1, readout, learnable=tuple(readout.parameters)),),
        (Projection("w", "input", "output", np.array([[1.0], [-6.0]])),),
        "output",
        20 * MS,
    )
    times = {"input": np.array([[2.13, arrival]]) * MS}
    case = Case(network, times, SmoothMaxima("v", 1.0), np.zeros(1, dtype=int))
    for dt in (0.5, 0.1):
        with simulation(case, batch_size=1, dt=dt * MS) as s:
            assert s.run(case.inputs, case.targets).gradients["input.times"][0, 1] > 1.0
    if arrival == 5.2:  # a time on the grid belongs to the step after it
        assert_derivative(case)


@functools.cache
def on_numpy(observable: str) -> tuple[Outcome, dict[str, np.ndarray]]:
    return outcome(mixed(observable), "numpy")


def outcome(case: Case, target: str, **options: Any) -> tuple[Outcome, dict[str, np.ndarray]]:
    with simulation(case, target=target, **options) as s:
        found = s.run(case.inputs, case.targets)
        return found, {p.name: s.spike_times(p.name).copy() for p in case.network.populations if p.model.spiking}


@COMPILER
@pytest.mark.parametrize(
    ("target", "observable"),
    [
        *(
            pytest.param("cpp_standalone", o, marks=pytest.mark.slow)
            for o in ("voltage_max", "spike_times", "voltage_samples")
        ),
        pytest.param("cython", "voltage_max", marks=pytest.mark.slow),  # minutes of compiling
    ],
)
def test_every_target_gives_the_same(target: str, observable: str) -> None:
    expected, trains = on_numpy(observable)
    found, times = outcome(mixed(observable), target)
    for name, train in trains.items():
        np.testing.assert_allclose(times[name], train, rtol=0, atol=1e-12, err_msg=name)
    assert found.loss == pytest.approx(expected.loss, rel=1e-10)
    assert found.spikes == expected.spikes
    assert found.smallest_gdot == pytest.approx(expected.smallest_gdot, rel=1e-9)
    assert found.gradients.keys() == expected.gradients.keys()
    for key, value in expected.gradients.items():
        assert np.linalg.norm(found.gradients[key] - value) <= 1e-9 * np.linalg.norm(value), key


def test_rounded_spikes_are_on_the_grid() -> None:
    found, times = outcome(mixed("voltage_samples"), "numpy", timing="grid")
    for train in times.values():
        spikes = train[np.isfinite(train)] / (0.5 * MS)
        np.testing.assert_allclose(spikes, np.round(spikes), rtol=0, atol=1e-9)
    assert all(np.isfinite(g).all() for g in found.gradients.values())


def test_what_is_not_asked_for_changes_nothing_else() -> None:
    expected, _ = on_numpy("spike_times")
    case = mixed("spike_times")
    populations = (dataclasses.replace(case.network.populations[0], learnable=()), *case.network.populations[1:])
    first, *others = case.network.projections
    network = dataclasses.replace(
        case.network,
        populations=populations,
        projections=(dataclasses.replace(first, learnable=False), *others),  # now nothing is learned at its arrivals
    )
    found, _ = outcome(case._replace(network=network), "numpy", input_gradients=False)
    missing = {k for k in expected.gradients if k.startswith("linear.")} | {"to_linear.w", "input.times"}
    assert expected.gradients.keys() - found.gradients.keys() == missing
    for key, value in found.gradients.items():
        np.testing.assert_allclose(value, expected.gradients[key], rtol=1e-12, atol=0, err_msg=key)
