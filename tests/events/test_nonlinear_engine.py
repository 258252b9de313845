"""Nonlinear models in the compiled engine: against the reference, differences of its own loss, and NumPy."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnmodels import oracle
from snnmodels.events.engine import SimulationError
from snnmodels.events.plan import EnginePlan
from snnmodels.losses import Samples, SpikeTimes
from snnmodels.losses.base import Loss
from snnmodels.targets.cpp.engine import CppEngine
from snnmodels.targets.numpy.engine import NumpyEngine
from snnmodels.templates import Assignment, Model, Network, Population, Projection, SpikeInput, load_model
from tests.events.agreement import Inputs, Run, assert_agrees, random_network, run
from tests.needs import COMPILER
from tests.oracle.networks import Polynomial, SumOfMaxima, SumOfSamples

MS = 1e-3
TIGHT = 1e-13

pytestmark = COMPILER

CONDUCTANCE = """
kind = "synapse"
title = "Conductance synapse"
description = "An arriving spike opens channels that have a reversal potential."
equations = "dg/dt = -g/tau_g : 1"
on_pre = "g += w"

[weight]
unit = "1"
description = "jump of the conductance, relative to the leak"

[add]
inputs.I_syn = "g*(E_rev - v)"

[states]
g = { description = "conductance, relative to the leak" }

[parameters]
tau_g = { default = "3*ms", unit = "second", description = "decay of the conductance" }
E_rev = { default = "2*scale(v)", unit = "unit(v)", description = "reversal potential" }
"""
# nonlinear while the neuron is refractory, too, and each arrival counts less the more came before
SATURATING = CONDUCTANCE.replace("-g/tau_g", "-g*(1 + g)/tau_g").replace("g += w", "g += w*(1 - g/4)")

ADEX = "eif+exp_synapse+current_adaptation+subthreshold_adaptation"
# model, size of its weights
MODELS = {
    "qif": ("qif+exp_synapse", 0.03),
    "eif": ("eif+exp_synapse", 0.02),
    "adex": (ADEX, 0.03),
    "conductance": ("eif+conductance", 0.3),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synapses that the library doesn't have."""
    path = tmp_path_factory.mktemp("synapses")
    (path / "conductance.toml").write_text(CONDUCTANCE)
    (path / "saturating.toml").write_text(SATURATING)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> Callable[[str], Model]:
    """Models by their parts, those of the folder among them."""

    @functools.cache
    def load(name: str) -> Model:
        own = {p.stem: p for p in folder.iterdir()}
        return load_model(*(own.get(part, part) for part in name.split("+")))

    return load


def reference(network: Network, inputs: Inputs, loss: Loss | None = None) -> oracle.OracleGradient:
    """Runge-Kutta with tight tolerances, event by event."""
    trials = len(next(iter(inputs.values())))
    return oracle.gradient(network, inputs, loss or Polynomial(), np.zeros(trials, dtype=int))


def assert_same(found: Run, other: Run, *, time: float, gradient: float) -> None:
    """Two engines, or one with other options."""
    for name, times in other.spikes.items():
        np.testing.assert_allclose(found.spikes[name], times, rtol=0, atol=time, err_msg=name)
    np.testing.assert_allclose(found.observed, other.observed, rtol=gradient, atol=time)
    for key, value in other.gradients.items():
        scale = np.abs(value).max(initial=0.0)
        np.testing.assert_allclose(found.gradients[key], value, rtol=0, atol=gradient * scale, err_msg=key)


# --- against the reference, and NumPy -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_agrees_with_the_reference_and_with_numpy(name: str, model: Callable[[str], Model]) -> None:
    parts, scale = MODELS[name]
    network, inputs = random_network(model(parts), scale, 3, duration=20 * MS, trials=1)
    found = run(CppEngine, network, inputs)
    assert found.engine.spike_count(2) > 1
    assert_agrees(found, reference(network, inputs), time=1e-10, gradient=1e-7)
    assert_same(found, run(NumpyEngine, network, inputs), time=1e-15, gradient=1e-12)


@pytest.mark.parametrize("name", ["qif", *(pytest.param(n, marks=pytest.mark.slow) for n in list(MODELS)[1:])])
def test_agrees_tightly_at_a_tight_tolerance(name: str, model: Callable[[str], Model]) -> None:
    parts, scale = MODELS[name]
    network, inputs = random_network(model(parts), scale, 3, duration=20 * MS, trials=1)
    found = run(CppEngine, network, inputs, tolerance=TIGHT)
    assert_agrees(found, reference(network, inputs), time=1e-13, gradient=1e-9)


def mixed(model: Callable[[str], Model], delay: Any = 1.3 * MS) -> tuple[Network, Inputs]:
    """A linear and a nonlinear population that project to each other and to themselves, and a nonlinear output."""
    rng = np.random.default_rng(5)
    lif, eif, qif = model("lif+exp_synapse"), model("eif+exp_synapse"), model("qif+exp_synapse")
    populations = tuple(
        Population(name, n, m, {}, tuple(m.parameters))
        for name, n, m in (("lin", 4, lif), ("non", 5, eif), ("out", 3, qif))
    )
    size = {"a": 3, **{p.name: p.n for p in populations}}
    unit = {"lin": 1.6, "non": 0.02, "out": 0.03}
    ends = [("a", "lin", 2.2), ("a", "non", 1.2), ("lin", "non", 0.8), ("non", "lin", -0.5), ("lin", "lin", -0.3)]
    ends += [("non", "non", -0.4), ("lin", "out", 0.6), ("non", "out", 0.6)]
    projections = []
    for k, (source, target, strength) in enumerate(ends):
        shape = (size[source], size[target])
        w = unit[target] * strength * rng.uniform(0.5, 1.3, shape)
        d = rng.uniform(0.2, 2, shape) * MS if k % 2 and delay else delay
        projections.append(
            Projection(f"{source}_{target}", source, target, w, "exp_synapse", None, ("w", "delay"), delay=d)
        )
    network = Network("mixed", (SpikeInput("a", 3),), populations, tuple(projections), "out", 25 * MS)
    return network, {"a": np.sort(rng.uniform(0.2 * MS, 12 * MS, (2, 3, 2)), axis=2)}


@pytest.mark.parametrize("delay", [1.3 * MS, pytest.param(0.0, marks=pytest.mark.slow)])
def test_recurrent_networks_of_linear_and_nonlinear_populations(delay: float, model: Callable[[str], Model]) -> None:
    network, inputs = mixed(model, delay)
    found = run(CppEngine, network, inputs)
    assert all(found.engine.spike_count(k) > 3 for k in range(3))
    assert_agrees(found, reference(network, inputs), time=1e-10, gradient=1e-7)
    assert_same(found, run(NumpyEngine, network, inputs), time=1e-12, gradient=1e-9)


@pytest.mark.parametrize("options", [{"own": True, "delay": "each"}, {"recurrent": 0.4}, {"masked": True}])
def test_values_of_each_neuron_delays_and_masks(options: dict[str, Any], model: Callable[[str], Model]) -> None:
    network, inputs = random_network(model("qif+exp_synapse"), 0.03, 4, **options)
    assert_agrees(run(CppEngine, network, inputs), reference(network, inputs), time=1e-10, gradient=1e-7)


def test_arrivals_that_read_the_states_and_cause_spikes_at_once(model: Callable[[str], Model]) -> None:
    # with delays, so that no two spikes meet
    network, inputs = random_network(model("qif+delta_synapse"), 0.03, 3, delay="each", duration=20 * MS)
    found = run(CppEngine, network, inputs)
    simulation = oracle.simulate(network, inputs)
    assert simulation.at_arrivals > 0
    assert_agrees(found, reference(network, inputs), time=1e-10, gradient=1e-7)


@pytest.mark.slow
def test_arrivals_of_one_instant_are_each_differentiated_where_they_come(model: Callable[[str], Model]) -> None:
    # each arrival changes what the next one does, so the states between them count
    network, inputs = random_network(model("eif+saturating"), 0.6, 3, duration=20 * MS)
    rastered = {name: np.sort(np.round(times, 3), axis=2) for name, times in inputs.items()}
    found = run(CppEngine, network, rastered)
    assert found.engine.ties > 0
    assert_same(found, run(NumpyEngine, network, rastered), time=1e-14, gradient=1e-11)
    network = dataclasses.replace(
        network, projections=tuple(dataclasses.replace(q, learnable=("w",)) for q in network.projections)
    )
    assert_agrees(run(CppEngine, network, rastered), reference(network, rastered), time=1e-10, gradient=1e-7)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("eif+exp_synapse+current_adaptation+refractory", marks=pytest.mark.slow),
        "qif+saturating+refractory",
    ],
)
def test_refractory_neurons_follow_their_own_rules(name: str, model: Callable[[str], Model]) -> None:
    scale = 0.6 if "saturating" in name else 0.04
    network, inputs = random_network(model(name), scale, 3, duration=25 * MS)
    found = run(CppEngine, network, inputs)
    assert found.engine.spike_count(0) >= 8
    assert_agrees(found, reference(network, inputs), time=1e-10, gradient=1e-7)
    assert_same(found, run(NumpyEngine, network, inputs), time=1e-14, gradient=1e-11)


@pytest.mark.parametrize("loss", [SumOfMaxima(), SumOfSamples()], ids=["maxima", "samples"])
def test_nonlinear_readouts_without_threshold(loss: Loss, model: Callable[[str], Model]) -> None:
    m, readout = model("lif+conductance"), model("leaky_integrator+conductance")
    network, inputs = random_network(m, 1.0, 3, readout=readout, duration=20 * MS)
    found = run(CppEngine, network, inputs, loss)
    assert_agrees(found, reference(network, inputs, loss), time=1e-10, gradient=1e-7)
    assert_same(found, run(NumpyEngine, network, inputs, loss), time=1e-14, gradient=1e-11)


# --- against itself -------------------------------------------------------------------------------------------------


class Differences:
    """The loss of one engine as a function of its values, differentiated by differences of order 6."""

    _WEIGHTS = ((1, 45 / 60), (2, -9 / 60), (3, 1 / 60))

    def __init__(self, network: Network, inputs: Inputs) -> None:
        self.network, self.inputs = network, [inputs[i.name] for i in network.inputs]
        self.engine = CppEngine(EnginePlan.of(network, [SpikeTimes()]))

    def loss(self, inputs: list[np.ndarray]) -> float:
        self.engine.forward(inputs, gradient=False)
        times = self.engine.spike_times(len(self.network.populations) - 1)
        return Polynomial().evaluate(times, np.zeros(len(times), dtype=int)).value

    def along(self, f: Callable[[float], float], step: float) -> float:
        return sum(c * (f(k * step) - f(-k * step)) for k, c in self._WEIGHTS) / step

    def weights(self, k: int, direction: np.ndarray, step: float) -> float:
        w = np.asarray(self.network.projections[k].weights)

        def at(h: float) -> float:
            self.engine.set_weights(k, w + h * direction)
            return self.loss(self.inputs)

        result = self.along(at, step)
        self.engine.set_weights(k, w)
        return result

    def parameter(self, k: int, name: str, step: float) -> float:
        p = self.network.populations[k]
        values = {n: np.asarray(p.value(n), dtype=float) for n in p.model.parameters}

        def at(h: float) -> float:
            self.engine.set_parameters(k, {**values, name: values[name] + h})
            return self.loss(self.inputs)

        result = self.along(at, step)
        self.engine.set_parameters(k, values)
        return result

    def times(self, k: int, direction: np.ndarray, step: float) -> float:
        def at(h: float) -> float:
            moved = list(self.inputs)
            moved[k] = moved[k] + h * direction
            return self.loss(moved)

        return self.along(at, step)


@pytest.mark.parametrize("name", MODELS)
def test_gradient_is_the_derivative_of_what_was_simulated(name: str, model: Callable[[str], Model]) -> None:
    parts, scale = MODELS[name]
    network, inputs = random_network(model(parts), scale, 3, duration=20 * MS, trials=1)
    found, differences = run(CppEngine, network, inputs), Differences(network, inputs)
    for k, q in enumerate(network.projections):
        g = found.gradients[f"{q.name}.w"]
        # along the gradient nothing cancels
        expected = differences.weights(k, scale * np.sign(g), 2e-5)
        np.testing.assert_allclose((g * scale * np.sign(g)).sum(), expected, rtol=1e-8, err_msg=q.name)
    largest = max(
        abs(float(found.gradients[f"{p.name}.{n}"]) * float(p.value(n)))
        for p in network.populations
        for n in p.model.parameters
    )
    for k, p in enumerate(network.populations):
        for n in p.model.parameters:
            size = abs(float(p.value(n))) or 1e-2
            expected = differences.parameter(k, n, 2e-5 * size)
            np.testing.assert_allclose(
                found.gradients[f"{p.name}.{n}"] * size, expected * size, rtol=1e-8, atol=1e-9 * largest, err_msg=n
            )
    for k, i in enumerate(network.inputs):
        g = found.gradients[f"{i.name}.times"]
        expected = differences.times(k, np.sign(g) * MS, 2e-4)
        np.testing.assert_allclose((np.abs(g) * MS).sum(), expected, rtol=1e-8, err_msg=i.name)


def test_windows_change_nothing_beyond_the_tolerance(model: Callable[[str], Model]) -> None:
    network, inputs = random_network(model("qif+exp_synapse"), 0.03, 3, duration=20 * MS)
    for tolerance, gradient in ((1e-10, 1e-8), (TIGHT, 1e-11)):
        usual = run(CppEngine, network, inputs, tolerance=tolerance)
        for window in (0.3 * MS, 20 * MS):
            other = run(CppEngine, network, inputs, window=window, tolerance=tolerance)
            assert_same(other, usual, time=1e-11, gradient=gradient)


def test_a_batch_after_another_and_threads_change_nothing(model: Callable[[str], Model]) -> None:
    network, inputs = random_network(model("qif+exp_synapse"), 0.03, 3, duration=20 * MS, trials=3)
    once = run(CppEngine, network, inputs)
    threads = run(lambda plan: CppEngine(plan, threads=2), network, inputs)
    assert_same(threads, once, time=0, gradient=1e-14)
    engine = once.engine
    engine.forward([inputs[i.name] for i in network.inputs])
    engine.pull([Polynomial().evaluate(once.observed, np.zeros(3, dtype=int)).gradient])
    np.testing.assert_array_equal(engine.weight_gradient(0), once.gradients[f"{network.projections[0].name}.w"])


# --- what has no result ---------------------------------------------------------------------------------------------


def alone(m: Model, weight: float, window: float | None = None) -> tuple[CppEngine, list[np.ndarray]]:
    population = Population("p", 3, m)
    w = np.array([[0.0, weight, 0.0]])
    projection = Projection("q", "a", "p", w, next(iter(m.receptors)))
    network = Network("alone", (SpikeInput("a", 1),), (population,), (projection,), "p", 30 * MS)
    kind = [SpikeTimes()] if m.spiking else [Samples(interval=5 * MS)]
    return CppEngine(EnginePlan.of(network, kind, window=window)), [np.array([[[2 * MS]]])]


def test_states_that_are_no_numbers_are_refused(model: Callable[[str], Model]) -> None:
    engine, inputs = alone(model("qif+exp_synapse"), 0.0)
    engine.set_weights(0, np.array([[0.0, np.inf, 0.0]]))
    with pytest.raises(SimulationError, match=r"neuron 1: its state is no longer finite at 0\.002 s"):
        engine.forward(inputs)


@pytest.mark.parametrize("window", [None, 30 * MS])
def test_neurons_that_run_away_are_refused(window: float | None, model: Callable[[str], Model]) -> None:
    # beyond its critical potential nothing stops a quadratic neuron without threshold
    m = dataclasses.replace(model("qif+exp_synapse"), threshold=None, reset=())
    engine, inputs = alone(m, 0.1, window)
    with pytest.raises(SimulationError, match="neuron 1") as refusal:
        engine.forward(inputs)
    assert "runs away" in str(refusal.value) or "no longer finite" in str(refusal.value)
    engine.forward([np.full((1, 1, 1), np.inf)])
    assert np.isfinite(engine.samples(0)).all()


def test_a_reset_above_the_threshold_is_refused(model: Callable[[str], Model]) -> None:
    m = dataclasses.replace(model("qif+exp_synapse"), reset=(Assignment("v", "=", "2*v_peak"),))
    engine, inputs = alone(m, 0.1)
    with pytest.raises(SimulationError, match="neuron 1 is still at or above its threshold after the reset"):
        engine.forward(inputs)
