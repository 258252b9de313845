"""Sampled currents: closed forms, the reference, differences, and what must not matter."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

import snnmodels as snn
from snnmodels import CurrentInput, Drive, Network, Population, Projection, Simulation, SpikeInput, load_model, oracle
from snnmodels.losses import Loss
from tests.events.agreement import random_network
from tests.needs import COMPILER, on_both
from tests.oracle.networks import MS, Polynomial, SumOfMaxima, SumOfSamples

TAU, V_TH = 20 * MS, 1.0  # of lif
Inputs = Mapping[str, np.ndarray]


def single(current: CurrentInput, duration: float = 0.1, n: int = 1, parts: str = "lif", gain: float = 1.0) -> Network:
    """Neurons that one channel drives alike."""
    cells = Population("cells", n, load_model(parts))
    drive = Drive("gain", current.name, "cells", np.full((current.n, n), gain))
    return Network("single", (), (cells,), (), "cells", duration, currents=(current,), drives=(drive,))


def times_of(network: Network, inputs: Inputs, target: Any = "numpy", **options: Any) -> np.ndarray:
    with Simulation(network, Polynomial(), target=target, **options) as simulation:
        return simulation.forward(inputs, gradient=False)


def driven(model: Any, scale: float, seed: int, **options: Any) -> tuple[Network, dict[str, np.ndarray]]:
    """A random network with a held current of its own in every trial, and a later linear one that all trials share."""
    network, spikes = random_network(model, scale, seed, **options)
    rng = np.random.default_rng(seed + 1000)
    held = CurrentInput("held", 2, 1.3 * MS, "hold")
    ramp = CurrentInput("ramp", 3, 0.7 * MS, "linear", start=0.4 * MS)
    drives = (
        Drive("", "held", "first", scale * rng.normal(0.6, 0.3, (2, 4))),
        Drive("", "ramp", "first", scale * rng.normal(0.3, 0.3, (3, 4))),
        Drive("", "ramp", "second", scale * rng.normal(0.2, 0.3, (3, 3))),
    )
    network = dataclasses.replace(network, currents=(held, ramp), drives=drives)
    trials, duration = len(spikes["a"]), network.duration
    return network, {
        **spikes,
        "held": rng.normal(0.5, 1.0, (trials, 2, held.samples(duration))),
        "ramp": rng.normal(0.5, 1.0, (3, ramp.samples(duration) + 2)),  # two more than the trial has use for
    }


def outcome_of(network: Network, inputs: Inputs, loss: Loss, target: Any = "numpy", **options: Any) -> Any:
    with Simulation(network, loss, batch_size=4, target=target, **options) as simulation:
        trials = max(len(x) for x in inputs.values() if np.ndim(x) == 3)
        found = simulation.run(inputs, np.zeros(trials, dtype=int))
        spiking = [p.name for p in network.populations if p.model.spiking]
        return found, {name: simulation.spike_times(name) for name in spiking}


def assert_same(found: Any, expected: Any, *, time: float, gradient: float) -> None:
    """The same spikes, loss and gradients, these relative to the largest of each array."""
    for name, times in expected[1].items():
        assert found[1][name].shape == times.shape, name
        np.testing.assert_allclose(found[1][name], times, rtol=0, atol=time, err_msg=name)
    np.testing.assert_allclose(found[0].loss, expected[0].loss, rtol=gradient)
    assert found[0].gradients.keys() == expected[0].gradients.keys()
    for key, value in expected[0].gradients.items():
        largest = np.abs(value).max(initial=0.0)
        assert found[0].gradients[key].shape == value.shape, key
        np.testing.assert_allclose(found[0].gradients[key], value, rtol=0, atol=gradient * largest, err_msg=key)


def reference(network: Network, inputs: Inputs, loss: Loss) -> tuple[oracle.OracleGradient, dict[str, np.ndarray]]:
    trials = max(len(x) for x in inputs.values() if np.ndim(x) == 3)
    found = oracle.gradient(network, inputs, loss, np.zeros(trials, dtype=int))
    return found, {p.name: found.spikes[p.name] for p in network.populations if p.model.spiking}


# --- closed forms -----------------------------------------------------------------------------------------------------


@on_both
def test_a_ramp(target: Any) -> None:
    """v = a (t - tau + tau exp(-t/tau)) from rest."""
    network, slope = single(CurrentInput("ramp", 1, 1 * MS, "linear")), 40.0
    samples = slope * np.arange(101) * 1 * MS

    def v(t: float) -> float:
        return slope * (t - TAU + TAU * np.exp(-t / TAU)) - V_TH

    first = times_of(network, {"ramp": samples}, target)[0, 0, 0]
    np.testing.assert_allclose(first, brentq(v, 1e-6, 0.1, xtol=1e-18, rtol=1e-15), rtol=0, atol=1e-15)


@on_both
def test_steps(target: Any) -> None:
    """Each step is a new charging curve from where the last one has brought the potential."""
    network = single(CurrentInput("steps", 1, 7 * MS, "hold"), duration=30 * MS)
    levels = np.array([0.5, 0.9, 0.2, 3.7, 1.7])
    v = 0.0
    for level in levels[:3]:
        v = level + (v - level) * np.exp(-7 * MS / TAU)
    expected = 21 * MS + TAU * np.log((levels[3] - v) / (levels[3] - V_TH))
    assert expected < 28 * MS
    first = times_of(network, {"steps": levels}, target)[0, 0, 0]
    np.testing.assert_allclose(first, expected, rtol=0, atol=1e-15)


def test_a_sinusoid_converges_as_the_square_of_the_interval() -> None:
    omega, a, b = 2 * np.pi * 30.0, 1.0, 0.6

    def v(t: float) -> float:
        """tau v' = a + b sin(omega t) - v."""
        c = b / (1 + (omega * TAU) ** 2)
        steady = c * (np.sin(omega * t) - omega * TAU * np.cos(omega * t))
        return a * (1 - np.exp(-t / TAU)) + steady + c * omega * TAU * np.exp(-t / TAU) - V_TH

    # the first crossing: the potential is below before
    grid = np.arange(1, 100) * MS
    upper = next(t for t in grid if v(t) > 0)
    exact = brentq(v, upper - 1 * MS, upper, xtol=1e-18, rtol=1e-15)
    errors = []
    for interval in (1 * MS, 0.1 * MS, 0.01 * MS):
        current = CurrentInput("sine", 1, interval, "linear")
        t = interval * np.arange(current.samples(0.1))
        found = times_of(single(current), {"sine": a + b * np.sin(omega * t)}, "numpy", window=1.0)[0, 0, 0]
        errors.append(abs(found - exact))
    assert errors[0] > 1e-8
    assert errors[1] < errors[0] / 50
    assert errors[2] < errors[1] / 50


@on_both
def test_a_constant_current_is_a_bias(target: Any) -> None:
    """A current that doesn't change is what the parameter is that an input becomes where nothing drives it."""
    model = load_model("lif+delta_synapse")
    bias = Population("cells", 2, model, {"I_syn": 1.3}, learnable=("I_syn",))
    spikes = {"in": np.array([[[5.3, 12.1]]]) * MS}
    projection = Projection("w", "in", "cells", np.array([[0.3, 0.2]]))
    with_bias = Network("x", (SpikeInput("in", 1),), (bias,), (projection,), "cells", 60 * MS)
    current = CurrentInput("constant", 1, 2.1 * MS, "linear")
    cells = dataclasses.replace(bias, parameters={"I_syn": 0.5})
    drive = Drive("gain", "constant", "cells", np.array([[1.0, 1.0]]))
    with_current = dataclasses.replace(with_bias, populations=(cells,), currents=(current,), drives=(drive,))
    samples = np.full(current.samples(60 * MS), 0.8)
    expected, times = outcome_of(with_bias, spikes, Polynomial(), target)
    found, same = outcome_of(with_current, {**spikes, "constant": samples}, Polynomial(), target)
    assert np.isfinite(times["cells"]).sum() >= 4
    np.testing.assert_allclose(same["cells"], times["cells"], rtol=0, atol=1e-14)
    by_bias = expected.gradients["cells.I_syn"]
    np.testing.assert_allclose(found.gradients["cells.I_syn"], by_bias, rtol=1e-11)
    np.testing.assert_allclose(found.gradients["constant.samples"].sum(), by_bias, rtol=1e-11)
    np.testing.assert_allclose(found.gradients["gain.w"].sum(), 0.8 * by_bias, rtol=1e-11)


# --- the reference, and differences -----------------------------------------------------------------------------------

LINEAR = [
    ("lif+exp_synapse", 2.0, {"recurrent": 0.3, "delay": "each"}),
    ("lif+exp_synapse", 2.0, {"own": True, "masked": True, "delay": "common"}),
    ("lif+exp_synapse+refractory", 2.0, {"recurrent": 0.3}),
    ("lif+alpha_synapse+adaptive_threshold", 2.0, {}),
    ("integrate_and_fire+exp_synapse+current_adaptation", 1.0, {}),
    ("lif+exp_synapse+current_adaptation+subthreshold_adaptation", 2.0, {}),  # its flow is a series
]
NONLINEAR = [
    ("qif+exp_synapse+refractory", 0.04, {"duration": 20 * MS}),
    ("eif+exp_synapse+subthreshold_adaptation+current_adaptation", 0.03, {"duration": 10 * MS, "trials": 1}),
]


CASES = [*LINEAR, *NONLINEAR]
NAMES = [parts for parts, _, _ in CASES]


@functools.cache
def case(number: int) -> tuple[Network, dict[str, np.ndarray]]:
    parts, scale, options = CASES[number]
    return driven(load_model(parts), scale, 3, **options)


@functools.cache
def found_for(number: int, target: Any) -> Any:
    return outcome_of(*case(number), Polynomial(), target, tolerance=1e-12)


@functools.cache
def reference_for(number: int) -> Any:
    return reference(*case(number), Polynomial())


@on_both
@pytest.mark.parametrize("number", range(len(CASES)), ids=NAMES)
def test_against_the_reference(number: int, target: Any) -> None:
    expected = reference_for(number)
    assert sum(np.isfinite(t).sum() for t in expected[1].values()) > 20
    for key in ("held.samples", "ramp.samples", "held_first.w", "ramp_second.w"):
        assert np.abs(expected[0].gradients[key]).max() > 0
    assert_same(found_for(number, target), expected, time=1e-12, gradient=1e-9)


@COMPILER
@pytest.mark.parametrize("number", range(len(CASES)), ids=NAMES)
def test_targets_agree(number: int) -> None:
    assert_same(found_for(number, "cpp_standalone"), found_for(number, "numpy"), time=1e-13, gradient=1e-12)


TWO_COMPARTMENTS = """
kind = "neuron"
title = "Soma and dendrite"
description = "A current into the soma, and a conductance of the dendrite."
equations = '''
dv/dt = (u - v - v + I_syn)/tau_m : 1
du/dt = (v - u - u + g_den*(E - u))/tau_m : 1
'''
threshold = "v > v_th"
reset = "v = 0"
inputs.I_syn = { unit = "1", description = "into the soma" }
inputs.g_den = { unit = "1", description = "of the dendrite" }
[parameters]
tau_m = { default = "20*ms", unit = "second", description = "time constant" }
E = { default = 5, unit = "1", description = "reversal potential" }
v_th = { default = 1, unit = "1", description = "threshold" }
"""


@on_both
def test_two_inputs_of_a_population(target: Any, tmp_path: Path) -> None:
    """One of them multiplies a state, so that the model is nonlinear as soon as it is driven."""
    (tmp_path / "two.toml").write_text(TWO_COMPARTMENTS)
    model = load_model(tmp_path / "two.toml", "exp_synapse")
    rng = np.random.default_rng(0)
    soma, dendrite = CurrentInput("soma", 2, 1.7 * MS, "linear"), CurrentInput("dendrite", 1, 2.3 * MS)
    drives = (
        Drive("", "dendrite", "cells", rng.uniform(0.5, 1.0, (1, 3)), "g_den"),
        Drive("", "soma", "cells", rng.uniform(0.5, 1.0, (2, 3)), "I_syn"),
    )
    network = Network(
        "two",
        (SpikeInput("in", 2),),
        (Population("cells", 3, model, {"g_den": 0.1}, learnable=tuple(model.parameters)),),
        (Projection("w", "in", "cells", rng.uniform(0.2, 0.6, (2, 3))),),
        "cells",
        40 * MS,
        currents=(soma, dendrite),
        drives=drives,
    )
    inputs = {
        "in": np.sort(rng.uniform(1 * MS, 30 * MS, (2, 2, 2)), axis=2),
        "soma": rng.uniform(0.0, 2.0, (2, 2, soma.samples(40 * MS))),
        "dendrite": rng.uniform(0.0, 1.0, dendrite.samples(40 * MS)),
    }
    found = outcome_of(network, inputs, Polynomial(), target, tolerance=1e-12)
    assert np.isfinite(found[1]["cells"]).sum() > 10
    assert_same(found, reference(network, inputs, Polynomial()), time=1e-12, gradient=1e-9)


@on_both
@pytest.mark.parametrize("loss", [SumOfMaxima(), SumOfSamples(interval=1.3 * MS)], ids=["maxima", "samples"])
def test_readouts_against_the_reference(loss: Loss, target: Any) -> None:
    """A maximum may be at a knot; samples at knots are of a continuous state."""
    network, inputs = driven(
        load_model("lif+exp_synapse"), 2.0, 5, readout=load_model("leaky_integrator+exp_synapse"), delay="each"
    )
    readout = Drive("", "held", "out", np.array([[1.0, -2.0], [3.0, 0.5]]))
    network = dataclasses.replace(network, drives=(*network.drives, readout))
    found = outcome_of(network, inputs, loss, target)
    assert_same(found, reference(network, inputs, loss), time=1e-12, gradient=1e-9)


@on_both
def test_a_maximum_at_a_knot(target: Any) -> None:
    """A membrane that is charged and then discharged is largest where the step is."""
    network = single(CurrentInput("step", 1, 10 * MS, "hold"), 30 * MS, parts="leaky_integrator+exp_synapse")
    inputs = {"step": np.array([[[2.0, 0.0, 0.0]], [[1.0, 3.0, -1.0]]])}
    found, _ = outcome_of(network, inputs, SumOfMaxima(), target)
    tau = network.populations[0].value("tau_m")
    decay = np.exp(-10 * MS / tau)
    largest = np.array([2.0 * (1 - decay), (1 - decay) * decay + 3.0 * (1 - decay)])
    np.testing.assert_allclose(found.output[:, 0], largest, rtol=1e-14)
    c = 1.0 + np.array([0.0, 0.7])
    expected = (c * (1 + 2 * largest))[:, None] * np.array([[1 - decay, 0, 0], [(1 - decay) * decay, 1 - decay, 0]])
    np.testing.assert_allclose(found.gradients["step.samples"][:, 0], expected, rtol=1e-12, atol=1e-15)


@on_both
def test_differences(target: Any) -> None:
    compiled = target != "numpy"
    network, inputs = driven(load_model("lif+exp_synapse+refractory"), 2.0, 7, delay="common", trials=1 + compiled)
    elements = 4 if compiled else 1
    options = {"target": target, "elements": elements}
    report = snn.check_gradient(network, inputs=inputs, oracle=False, loss=Polynomial(), **options)
    assert report.ok, str(report)
    rows = {row.key for row in report.rows}
    assert {"held.samples", "ramp.samples", "held_first.w", "ramp_first.w", "a.times"} <= rows


@COMPILER
def test_a_large_sparse_network() -> None:
    """Where arrivals are scattered and populations swept, those that are driven are not."""
    rng = np.random.default_rng(0)
    lif = load_model("lif+exp_synapse")
    shape = (150, 150)
    network = Network(
        "sparse",
        (SpikeInput("in", 150),),
        tuple(Population(name, 150, lif) for name in ("first", "second", "third")),
        tuple(
            Projection("", source, target, rng.uniform(0.5, 1.0, shape), mask=rng.uniform(size=shape) < 0.05)
            for source, target in (("in", "first"), ("first", "second"), ("second", "third"))
        ),
        "third",
        30 * MS,
        currents=(CurrentInput("x", 3, 1 * MS, "linear"),),
        drives=(Drive("", "x", "second", rng.uniform(0.2, 0.6, (3, 150))),),
    )
    inputs = {"in": rng.uniform(0.0, 20 * MS, (2, 150, 1)), "x": rng.uniform(0.0, 2.0, (2, 3, 31))}
    found = outcome_of(network, inputs, Polynomial(), "cpp_standalone")
    assert all(np.isfinite(t).any() for t in found[1].values())
    assert_same(found, outcome_of(network, inputs, Polynomial()), time=1e-13, gradient=1e-11)


# --- what must not matter ---------------------------------------------------------------------------------------------


@on_both
@pytest.mark.parametrize("window", [0.11 * MS, 1.7 * MS, 1.0])
def test_the_window_changes_nothing(window: float, target: Any) -> None:
    network, inputs = driven(load_model("lif+exp_synapse+refractory"), 2.0, 13, recurrent=0.3)
    usual = outcome_of(network, inputs, Polynomial(), target)
    assert_same(outcome_of(network, inputs, Polynomial(), target, window=window), usual, time=1e-14, gradient=1e-11)


@COMPILER
def test_threads_change_nothing() -> None:
    network, inputs = driven(load_model("lif+exp_synapse"), 2.0, 13, trials=4)
    usual = outcome_of(network, inputs, Polynomial(), "cpp_standalone")
    found = outcome_of(network, inputs, Polynomial(), "cpp_standalone", threads=3)
    assert_same(found, usual, time=0.0, gradient=1e-14)


@on_both
def test_shared_samples_are_those_of_every_trial_and_channel(target: Any) -> None:
    network, inputs = driven(load_model("lif+exp_synapse"), 2.0, 17, trials=3)
    shared = np.random.default_rng(0).normal(0.5, 1.0, inputs["held"].shape[2])
    given = {**inputs, "held": shared, "ramp": inputs["ramp"]}
    each = {
        **inputs,
        "held": np.tile(shared, (3, 2, 1)),
        "ramp": np.tile(inputs["ramp"], (3, 1, 1)),
    }
    (one, times), (all_of_them, same) = (outcome_of(network, x, Polynomial(), target) for x in (given, each))
    for name, t in times.items():
        np.testing.assert_allclose(same[name], t, rtol=0, atol=1e-15)
    for key, axes in (("held.samples", (0, 1)), ("ramp.samples", (0,))):
        found = one.gradients[key]
        np.testing.assert_allclose(found, all_of_them.gradients[key].sum(axis=axes), atol=1e-11 * np.abs(found).max())
    np.testing.assert_allclose(one.gradients["held_first.w"], all_of_them.gradients["held_first.w"], rtol=1e-10)


@on_both
def test_a_run_does_not_depend_on_the_one_before(target: Any) -> None:
    """Shared, then each trial's own, then shared again: the arrays of a program grow, and keep nothing."""
    network, inputs = driven(load_model("lif+exp_synapse"), 2.0, 19, trials=3)
    shared, targets = {**inputs, "held": inputs["held"][0]}, np.zeros(3, dtype=int)
    with Simulation(network, Polynomial(), batch_size=4, target=target) as simulation:
        first = simulation.run(shared, targets)
        own = simulation.run(inputs, targets, {"held_first.w": 2 * network.drives[0].weights})
        second = simulation.run(shared, targets)
        fewer = simulation.run({k: v[:1] if v.ndim == 3 else v for k, v in inputs.items()}, targets[:1])
    assert own.loss != first.loss
    assert fewer.gradients["held.samples"].shape == (1, *inputs["held"].shape[1:])
    assert first.loss == second.loss
    for key, value in first.gradients.items():
        np.testing.assert_array_equal(second.gradients[key], value)


@on_both
def test_lines_from_corner_to_corner_are_steps_in_the_limit(target: Any) -> None:
    """A line over a short interval is nearly a step: spikes differ by about as much."""
    held = times_of(single(CurrentInput("x", 1, 10 * MS), 30 * MS), {"x": np.array([0.5, 2.0, 3.0])}, target)
    distances = []
    for interval in (1 * MS, 0.1 * MS):
        current = CurrentInput("x", 1, interval, "linear")
        t = interval * np.arange(current.samples(30 * MS))
        levels = np.where(t < 9.99 * MS, 0.5, np.where(t < 19.99 * MS, 2.0, 3.0))
        lines = times_of(single(current, 30 * MS), {"x": levels}, target)
        assert lines.shape == held.shape
        distances.append(np.abs(lines - held)[np.isfinite(held)].max())
    assert 0 < distances[1] < distances[0] / 5 < 1 * MS


# --- the same instant -------------------------------------------------------------------------------------------------


@on_both
def test_a_knot_and_an_arrival_at_once(target: Any) -> None:
    """The knot comes first: what an arrival does by coming later is told with the new current."""
    network, inputs = driven(load_model("lif+delta_synapse"), 0.5, 23, trials=1, delay="none")
    at_knots = 1.3 * MS * np.array([3, 9])
    inputs["a"] = np.tile(at_knots, (1, 3, 1))
    found = outcome_of(network, inputs, Polynomial(), target)
    expected = reference(network, inputs, Polynomial())
    assert_same(found, expected, time=1e-12, gradient=1e-9)
    later = {**inputs, "a": inputs["a"] + 1e-9}
    moved, _ = outcome_of(network, later, Polynomial(), target)
    np.testing.assert_allclose((moved.loss - found[0].loss) / 1e-9, found[0].gradients["a.times"].sum(), rtol=1e-4)


@on_both
def test_a_knot_and_a_release_at_once(target: Any) -> None:
    current = CurrentInput("x", 1, 5 * MS, "hold")
    network = single(current, 40 * MS, parts="lif+delta_synapse+refractory")
    levels = np.array([2.0, 2.0, 2.0, 3.0, 1.5, 1.5, 2.5, 1.5])
    cells = network.populations[0]
    first = times_of(network, {"x": levels}, target)[0, 0, 0]
    # the period ends where a sample is due
    cells = dataclasses.replace(cells, parameters={"t_ref": 20 * MS - first}, learnable=("t_ref", "tau_m"))
    network = dataclasses.replace(network, populations=(cells,))
    inputs = {"x": levels[None, None]}
    found = outcome_of(network, inputs, Polynomial(), target)
    assert_same(found, reference(network, inputs, Polynomial()), time=1e-12, gradient=1e-9)


@on_both
def test_a_knot_and_a_spike_at_once(target: Any) -> None:
    """A neuron that reaches its threshold at a knot has reached it with the old current, once."""
    network = single(CurrentInput("x", 1, 5 * MS, "hold"), 40 * MS, parts="integrate_and_fire+delta_synapse")
    tau = network.populations[0].value("tau_m")
    levels = np.full(8, V_TH * tau / (10 * MS))  # a spike every 10 ms
    levels[2:] = levels[0] / 2
    found = times_of(network, {"x": levels}, target)[0, 0]
    np.testing.assert_allclose(found[:2], [10 * MS, 30 * MS], rtol=0, atol=1e-15)
    assert np.isfinite(found).sum() == 2


@on_both
def test_the_end_of_a_trial(target: Any) -> None:
    """Samples are due up to the end; the last line ends there, and what is due later changes nothing."""
    for interpolation, count in (("hold", 30), ("linear", 31)):
        current = CurrentInput("x", 1, 0.1 * MS, interpolation)
        network = single(current, 3 * MS, parts="leaky_integrator+exp_synapse")
        assert current.samples(3 * MS) == count
        samples = np.linspace(1.0, 2.0, count)
        longer = np.append(samples, [50.0, -50.0])
        one, _ = outcome_of(network, {"x": samples[None, None]}, SumOfMaxima(), target)
        other, _ = outcome_of(network, {"x": longer[None, None]}, SumOfMaxima(), target)
        assert one.loss == other.loss
        by_longer = other.gradients["x.samples"][0, 0]
        np.testing.assert_array_equal(by_longer[:count], one.gradients["x.samples"][0, 0])
        np.testing.assert_array_equal(by_longer[count:], 0.0)
        assert by_longer[count - 1] != 0


def test_start_and_duration_that_are_no_multiples() -> None:
    current = CurrentInput("x", 1, 0.4 * MS, "linear", start=0.3 * MS)
    np.testing.assert_allclose(current.knots(1 * MS), [0.3 * MS, 0.7 * MS], rtol=1e-15)
    assert current.samples(1 * MS) == 3
    assert current.samples(1.1 * MS) == 3
    assert current.samples(1.11 * MS) == 4


# --- size, and training -----------------------------------------------------------------------------------------------


@COMPILER
def test_a_hundred_thousand_samples() -> None:
    """10 s at 0.1 ms; a current that doesn't change makes spikes at the multiples of one interval."""
    current = CurrentInput("x", 1, 0.1 * MS, "linear")
    network = single(current, 10.0)
    samples = np.full(current.samples(10.0), 1.5)
    assert samples.size == 100_001
    found, times = outcome_of(network, {"x": samples[None, None]}, Polynomial(), "cpp_standalone")
    interval = TAU * np.log(1.5 / 0.5)
    spikes = times["cells"][0, 0]
    np.testing.assert_allclose(spikes, interval * np.arange(1, spikes.size + 1), rtol=0, atol=1e-11)
    # dT/dI for each of n intervals
    slope = TAU * (1 / 1.5 - 1 / 0.5)
    k = np.arange(spikes.size)
    c = (1.0 + (0.3 * k) % 1.9) * (1 + 2 * spikes / (20 * MS)) / (20 * MS)
    expected = (c * (k + 1) * slope).sum()
    np.testing.assert_allclose(found.gradients["x.samples"].sum(), expected, rtol=1e-9)


@on_both
def test_gains_are_trained(target: Any) -> None:
    network = single(CurrentInput("x", 2, 5 * MS, "linear"), 50 * MS, n=2)
    samples = np.random.default_rng(0).uniform(0.8, 1.2, (6, 2, 11))
    wanted = np.broadcast_to([[[12 * MS], [18 * MS]]], (6, 2, 1))
    optimiser = snn.Adam(0.05)
    with Simulation(network, snn.SpikeTimeError(), batch_size=3, target=target) as simulation:
        before = simulation.run({"x": samples[:3]}, wanted[:3]).loss
        data = snn.Trials({"x": samples}, wanted)
        result = snn.train(simulation, data, optimiser, epochs=25, batch_size=3, progress=False)
        after = simulation.run({"x": samples[:3]}, wanted[:3], result.values).loss
        # no sample is dropped as a spike may be
        snn.train(simulation, data, optimiser, epochs=1, batch_size=3, progress=False, input_dropout=0.5)
    assert set(result.values) == {"gain.w"}
    assert after < 0.3 * before
