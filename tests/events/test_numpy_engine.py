"""The event engine on NumPy against the reference, against differences, and in cases worked out by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnmodels.events.engine import SimulationError
from snnmodels.events.plan import EnginePlan
from snnmodels.losses import Observable, SpikeTimeFunction, SpikeTimes
from snnmodels.targets.numpy import NumpyEngine
from snnmodels.templates import Model, Network, Population, Projection, SpikeInput, load_model
from tests.events.agreement import Inputs, Run, check, random_network, reference_of, run
from tests.oracle.networks import MS, Polynomial, SumOfMaxima, SumOfSamples

LIF = load_model("lif+exp_synapse")
DELTA = load_model("lif+delta_synapse")
WINDOWS = (0.1 * MS, None, 1.0)  # seconds; the last is cut to one for the trial
LINEAR = {
    "lif+exp_synapse": 2.5,
    "lif+alpha_synapse": 3.0,
    "integrate_and_fire+exp_synapse": 2.0,
    "lif+exp_synapse+adaptive_threshold": 2.5,
    "lif+exp_synapse+current_adaptation": 3.0,
    "lif+delta_synapse": 0.6,
    "lif+exp_synapse+refractory": 4.0,
    "lif+delta_synapse+refractory": 1.2,
}
"""Models with the size of weights with which their neurons spike a few times."""
RESONANT = "lif+exp_synapse+current_adaptation+subthreshold_adaptation"
READOUTS = ("leaky_integrator+exp_synapse", "leaky_integrator+alpha_synapse", "leaky_integrator+delta_synapse")


def engine(network: Network, seen: Observable | None = None, **options: Any) -> NumpyEngine:
    return NumpyEngine(EnginePlan.of(network, [seen or SpikeTimes()], **options))


def one(weights: Any, times: Any, model: Model = LIF, duration: float = 30 * MS, **parameters: Any) -> tuple:
    """A neuron and its inputs, times in ms."""
    w = np.array(weights, dtype=float)[:, None]
    network = Network(
        "one",
        (SpikeInput("input", len(w)),),
        (Population("out", 1, model, parameters, tuple(model.parameters)),),
        (Projection("w", "input", "out", w),),
        "out",
        duration,
    )
    return network, {"input": np.array(times, dtype=float)[None] * MS}


STAGES = 7
CHAIN = f"""
kind = "neuron"
title = "Integrator behind a delay line"
description = "A chain of equal stages, whose flow is a divided difference with as many nodes."
default_synapse = "exp_synapse"
equations = '''
dx0/dt = (I_syn - x0)/tau_x : 1
{chr(10).join(f"dx{k}/dt = (x{k - 1} - x{k})/tau_x : 1" for k in range(1, STAGES))}
dv/dt = (x{STAGES - 1} - v)/tau_m : 1
'''
threshold = "v > v_th"
reset = "v = 0"
[inputs]
I_syn = {{ unit = "1", description = "input" }}
[states]
{chr(10).join(f'x{k} = {{ initial = "0", description = "stage" }}' for k in range(STAGES))}
v = {{ initial = "0", description = "potential" }}
[parameters]
tau_x = {{ default = "1*ms", unit = "second", description = "time constant of the stages" }}
tau_m = {{ default = "10*ms", unit = "second", description = "time constant of the potential" }}
v_th = {{ default = 0.1, unit = "1", description = "threshold" }}
"""


def test_more_states_in_a_chain_than_a_divided_difference_has_nodes(tmp_path: Path) -> None:
    file = tmp_path / "chain.toml"
    file.write_text(CHAIN)
    model = load_model(str(file))
    flow = EnginePlan.of(one([1.0], [1.0], model)[0], [SpikeTimes()]).populations[0].rules.flow
    assert flow is not None
    assert 0 < len(flow.series) < len(model.states), "the first stages have closed forms"
    found = check(NumpyEngine, *one([1.0, 1.5], [1.0, 3.0], model))
    assert np.isfinite(found.spikes["out"]).any()


def first_spike(times: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    first = times[:, :, 0]
    there = np.isfinite(first)
    gradient = np.zeros_like(times)
    gradient[:, :, 0] = there * 1e3
    return float(np.where(there, first, 0.0).sum() * 1e3), gradient


FIRST = SpikeTimeFunction(first_spike)

# --- against the reference --------------------------------------------------------------------------------------------


def compare_windows(network: Network, inputs: Inputs, loss: Any = None) -> None:
    reference = reference_of(network, inputs, loss)
    assert sum(np.isfinite(t).sum() for t in reference.spikes.values()) > 6
    for window in WINDOWS:
        check(NumpyEngine, network, inputs, loss, window=window, reference=reference)


@pytest.mark.parametrize("name", [n for n in LINEAR if n != "lif+delta_synapse"])
def test_feed_forward(name: str) -> None:
    compare_windows(*random_network(load_model(name), LINEAR[name], 0, trials=1))


DELAYED = ("lif+exp_synapse", "lif+delta_synapse", "lif+exp_synapse+refractory", "lif+delta_synapse+refractory")


@pytest.mark.parametrize("name", DELAYED)
@pytest.mark.parametrize("delay", ["common", "each"])
def test_recurrence_with_delays(name: str, delay: str) -> None:
    own = delay == "each"
    model, scale = load_model(name), LINEAR[name] * (1.4 if own else 1)
    compare_windows(*random_network(model, scale, 0, trials=1, recurrent=0.5, delay=delay, masked=own, own=own))


@pytest.mark.parametrize("name", ["lif+exp_synapse", "lif+exp_synapse+refractory"])
def test_weights_alone_are_learnable(name: str) -> None:
    """Then no states are computed again."""
    network, inputs = random_network(load_model(name), LINEAR[name], 0, trials=1, delay="common")
    populations = tuple(dataclasses.replace(p, learnable=()) for p in network.populations)
    compare_windows(dataclasses.replace(network, populations=populations), inputs)


@pytest.mark.parametrize("seed", range(3))
def test_recurrence_without_delay(seed: int) -> None:
    compare_windows(*random_network(LIF, 2.5, seed, recurrent=0.5, trials=1, own=seed == 1))


@pytest.mark.slow
def test_complex_rates() -> None:
    compare_windows(*random_network(load_model(RESONANT), 4.0, 0, trials=1, recurrent=0.5, delay="common"))


@pytest.mark.parametrize("name", READOUTS)
@pytest.mark.parametrize("loss", [SumOfMaxima(), SumOfSamples(interval=1.7 * MS)], ids=["maxima", "samples"])
def test_readouts(name: str, loss: Any) -> None:
    compare_windows(*random_network(LIF, 2.5, 1, readout=load_model(name), trials=2, masked=True, own=True), loss)


def test_equal_time_constants() -> None:
    network, inputs = random_network(LIF, 2.5, 0, trials=1)
    network = dataclasses.replace(
        network,
        populations=tuple(
            dataclasses.replace(p, parameters={"tau_m": 8 * MS, "tau_syn": 8 * MS}) for p in network.populations
        ),
    )
    check(NumpyEngine, network, inputs)


# --- arrivals within what a time step was: each has one answer, whatever the window -----------------------------------


@pytest.mark.parametrize(
    ("weights", "times", "spikes"),
    [
        # a second arrival before the crossing brings it forward, and takes most of the credit
        ([6.9, 3.0], [0.0, 5.2], 1),
        # inhibition just before a shallow crossing
        ([6.41, -30.0], [0.0, 7.907], 0),
        # above threshold for a moment between two arrivals
        ([6.355, -60.0], [0.0, 9.5], 1),
        # an arrival after the spike survives the reset; one before is counted in the crossing
        ([6.9, 3.0, 6.0], [0.0, 5.2, 8.0], 3),
    ],
)
def test_causal_order(weights: Any, times: Any, spikes: int) -> None:
    network, inputs = one(weights, times)
    reference = reference_of(network, inputs, FIRST)
    assert np.isfinite(reference.spikes["out"]).sum() == spikes
    for window in (1 * MS, *WINDOWS):
        check(NumpyEngine, network, inputs, FIRST, window=window, reference=reference)


def test_credit_for_a_spike_is_shared_by_what_came_before_it() -> None:
    found = run(NumpyEngine, *one([6.9, 3.0], [0.0, 5.2]), FIRST)
    assert found.observed[0, 0, 0] == pytest.approx(5.381 * MS, abs=1e-6)
    # moving both inputs moves the spike as much
    assert found.gradients["input.times"].sum() == pytest.approx(1000)
    np.testing.assert_allclose(found.gradients["input.times"].ravel(), [325, 675], atol=0.5)


# --- the derivative of what is simulated ------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", ["none", "common", "each"])
def test_differences(delay: str) -> None:
    """Central differences by weights, parameters, delays and input times, in one direction for each array."""
    network, inputs = random_network(LIF, 2.5, 4, recurrent=0.3, delay=delay, trials=1, own=True)
    found = run(NumpyEngine, network, inputs)
    eng, rng = found.engine, np.random.default_rng(0)

    def loss(times: Inputs = inputs) -> float:
        eng.forward([times["a"], times["b"]])
        return Polynomial().evaluate(eng.spike_times(2), np.zeros(1)).value

    def same_slope(at: Any, expected: float, h: float = 1e-6) -> None:
        # Richardson's extrapolation of two central differences
        coarse, fine = ((at(k * h) - at(-k * h)) / (2 * k * h) for k in (2, 1))
        assert (4 * fine - coarse) / 3 == pytest.approx(expected, rel=1e-6, abs=1e-7)

    for k, q in enumerate(network.projections):
        setters = {"w": (eng.set_weights, q.weights), "delay": (eng.set_delay, np.asarray(q.delay))}
        for name in q.learnable:
            put, value = setters[name]
            direction = value * rng.choice([-1.0, 1.0], value.shape)

            def moved(h: float, put: Any = put, k: int = k, v: Any = value, d: Any = direction) -> float:
                put(k, v + h * d)
                return loss()

            same_slope(moved, float((found.gradients[f"{q.name}.{name}"] * direction).sum()))
            put(k, value)
    step = rng.uniform(-1, 1, inputs["a"].shape) * MS
    same_slope(
        lambda h: loss({**inputs, "a": inputs["a"] + h * step}), float((found.gradients["a.times"] * step).sum())
    )
    values = {n: np.asarray(network.populations[0].value(n)) for n in network.populations[0].learnable}
    for name, value in values.items():
        size = value if value.any() else np.full(value.shape, 0.1)

        def with_parameter(h: float, name: str = name, value: Any = value, size: Any = size) -> float:
            eng.set_parameters(0, {**values, name: value + h * size})
            return loss()

        same_slope(with_parameter, float((found.gradients[f"first.{name}"] * size).sum()))


# --- events at one instant --------------------------------------------------------------------------------------------


def chain(n: int, weight: float, model: Model = DELTA, delay: float = 0.0, back: float = 0.0) -> Network:
    """Populations of one neuron in a row, the last projecting back to the first."""
    populations = tuple(Population(f"p{k}", 1, model, {}, tuple(model.parameters)) for k in range(n))
    projections = [Projection("in", "input", "p0", np.full((1, 1), weight))]
    projections += [
        Projection(f"w{k}", f"p{k}", f"p{k + 1}", np.full((1, 1), weight), delay=delay) for k in range(n - 1)
    ]
    if back:
        projections.append(Projection("back", f"p{n - 1}", "p0", np.full((1, 1), back)))
    return Network("chain", (SpikeInput("input", 1),), populations, tuple(projections), f"p{n - 1}", 20 * MS)


@pytest.mark.parametrize("back", [0.0, 0.3])
def test_a_cascade_happens_at_one_instant(back: float) -> None:
    network, inputs = chain(3, 1.2, back=back), {"input": np.array([[2.0]]) * MS}
    found = check(NumpyEngine, network, inputs)
    assert [float(t[0, 0, 0]) for t in found.spikes.values()] == [2 * MS] * 3
    assert found.gradients["input.times"][0, 0] != 0


def test_a_cascade_that_does_not_end_is_an_error() -> None:
    said = r"population 'p0': neuron 0 would spike twice at the same instant, 0\.002 s"
    with pytest.raises(SimulationError, match=said):
        run(NumpyEngine, chain(2, 1.2, back=1.2), {"input": np.array([[2.0]]) * MS})


def test_arrivals_of_one_instant_count_together() -> None:
    """Excitation and inhibition of one time: neither order of projections lets the first alone make a spike."""
    for weights in ([1.5, -0.8], [-0.8, 1.5]):
        found = run(NumpyEngine, *one(weights, [3.0, 3.0], DELTA))
        assert not np.isfinite(found.observed).any()
        assert found.engine.ties == 1
    found = run(NumpyEngine, *one([0.6, 0.7], [3.0, 3.0], DELTA))
    assert found.observed[0, 0, 0] == 3 * MS


def test_the_arrival_that_makes_a_spike_moves_it() -> None:
    network, inputs = one([0.7, 0.9], [1.0, 3.0], DELTA)
    found = check(NumpyEngine, network, inputs, FIRST)
    np.testing.assert_allclose(found.gradients["input.times"], [[0.0, 1000.0]])


def test_recurrence_without_delay_and_with_itself() -> None:
    """Two neurons that excite each other and inhibit themselves."""
    weights = np.array([[-0.6, 0.4], [0.3, -0.5]])
    network = Network(
        "loop",
        (SpikeInput("input", 2),),
        (Population("out", 2, LIF, {}, tuple(LIF.parameters)),),
        (Projection("w", "input", "out", np.array([[9.0, 3.0], [2.0, 8.0]])), Projection("r", "out", "out", weights)),
        "out",
        30 * MS,
    )
    inputs = {"input": np.array([[[1.0, 9.0], [2.3, 14.0]]]) * MS}
    reference = reference_of(network, inputs)
    assert np.isfinite(reference.spikes["out"]).sum() > 4
    for window in WINDOWS:
        check(NumpyEngine, network, inputs, window=window, reference=reference)


# --- unusual numbers of things ----------------------------------------------------------------------------------------


def test_hundreds_of_spikes_in_one_window() -> None:
    network, inputs = one([3000.0, 2000.0], [1.0, 4.0])
    reference = reference_of(network, inputs)
    found = check(NumpyEngine, network, inputs, window=1.0, reference=reference)
    assert found.engine.spike_count(0) > 300


def test_no_spikes_and_no_inputs() -> None:
    network, inputs = random_network(LIF, 2.5, 0, trials=3)
    silent: Inputs = {name: np.full_like(t, np.inf) for name, t in inputs.items()}
    found = run(NumpyEngine, network, silent)
    assert found.observed.shape == (3, 2, 1)
    assert not any(g.any() for g in found.gradients.values())
    assert found.engine.smallest_gdot == np.inf
    # a trial of its own among others
    some = {name: np.concatenate([t[:1], silent[name][:1]]) for name, t in inputs.items()}
    alone = run(NumpyEngine, network, {name: t[:1] for name, t in inputs.items()})
    both = run(NumpyEngine, network, some)
    np.testing.assert_array_equal(both.observed[0], alone.observed[0])
    assert not np.isfinite(both.observed[1]).any()


def test_a_population_without_projections_spikes_by_its_rest() -> None:
    states = tuple(dataclasses.replace(s, initial="v_reset" if s.name == "v" else "0") for s in LIF.states)
    model = dataclasses.replace(LIF, states=states)
    network = Network("free", (), (Population("out", 2, model, {"v_rest": 1.5}, ("v_rest",)),), (), "out", 60 * MS)
    eng = engine(network)
    eng.forward([])
    times = eng.spike_times(0)
    # v = 1.5 (1 - exp(-t/tau)) crosses 1 at tau log(3), again and again
    np.testing.assert_allclose(times, 20 * MS * np.log(3) * np.broadcast_to([1, 2], (1, 2, 2)), rtol=1e-14)
    eng.pull([np.ones((1, 2, 2))])
    # d/d(v_rest) of tau log(v_rest/(v_rest - 1))
    slope = 20 * MS * (1 / 1.5 - 1 / 0.5)
    np.testing.assert_allclose(eng.parameter_gradient(0, "v_rest"), [3 * slope, 3 * slope], rtol=1e-12)


def test_results_do_not_depend_on_the_window_and_repeat() -> None:
    network, inputs = random_network(LIF, 2.5, 5, recurrent=0.5)
    runs = [run(NumpyEngine, network, inputs, window=w) for w in (None, None, 0.2 * MS)]
    np.testing.assert_array_equal(runs[0].observed, runs[1].observed)
    np.testing.assert_allclose(runs[0].observed, runs[2].observed, rtol=0, atol=1e-15)
    for key, value in runs[0].gradients.items():
        np.testing.assert_array_equal(value, runs[1].gradients[key], err_msg=key)
        np.testing.assert_allclose(runs[2].gradients[key], value, rtol=0, atol=1e-11 * np.abs(value).max(), err_msg=key)


def test_values_can_be_set() -> None:
    network, inputs = random_network(LIF, 2.5, 0, delay="each", own=True)
    other, _ = random_network(LIF, 2.6, 0, delay="each", own=True)
    other = dataclasses.replace(
        other, projections=tuple(dataclasses.replace(q, delay=1.1 * np.asarray(q.delay)) for q in other.projections)
    )
    eng = engine(network)
    for k, q in enumerate(other.projections):
        eng.set_weights(k, q.weights)
        eng.set_delay(k, np.asarray(q.delay))
    for k, p in enumerate(other.populations):
        eng.set_parameters(k, {n: np.asarray(p.value(n)) for n in p.model.parameters})
    eng.forward([inputs["a"], inputs["b"]])
    np.testing.assert_array_equal(eng.spike_times(2), run(NumpyEngine, other, inputs).observed)


# --- maxima -----------------------------------------------------------------------------------------------------------


def readout(weights: Any, times: Any, model: str = "leaky_integrator+exp_synapse") -> Run:
    network, inputs = one(weights, times, load_model(model))
    loss = SumOfMaxima()
    reference = reference_of(network, inputs, loss)
    runs = [check(NumpyEngine, network, inputs, loss, window=w, reference=reference) for w in WINDOWS]
    return runs[0]


def test_a_maximum_at_a_kink_moves_with_the_arrival() -> None:
    found = readout([5.0, -30.0], [1.0, 4.0])
    # that arrival cuts the rise short: its time matters, its weight does not
    assert found.gradients["input.times"][0, 1] > 0
    assert found.gradients["w.w"][1, 0] == 0


def test_a_maximum_after_a_jump() -> None:
    found = readout([0.5, 0.9], [1.0, 4.0], "leaky_integrator+delta_synapse")
    assert found.gradients["input.times"][0].sum() == pytest.approx(0, abs=1e-9)
    assert found.gradients["input.times"][0, 1] != 0


def test_maxima_at_the_start_and_at_the_end() -> None:
    found = readout([-5.0, -3.0], [1.0, 4.0])
    assert found.observed[0, 0] == 0
    assert not found.gradients["input.times"].any()
    assert found.gradients["out.v_rest"] == 1
    network, inputs = one([5.0, 3.0], [1.0, 4.0], load_model("leaky_integrator+exp_synapse"), 5 * MS)
    check(NumpyEngine, network, inputs, SumOfMaxima())


# --- errors -----------------------------------------------------------------------------------------------------------


def test_errors_name_population_neuron_and_time() -> None:
    free = dataclasses.replace(LIF, constraints=())  # which the template's own would refuse
    network, inputs = one([8.0], [1.0], free, v_reset=1.1)
    with pytest.raises(SimulationError, match=r"population 'out': neuron 0 .* after the reset at 0\.00\d+ s"):
        run(NumpyEngine, network, inputs)
    network, inputs = one([8.0], [1.0], v_rest=1.1)
    with pytest.raises(SimulationError, match="population 'out': neuron 0 is above its threshold at time 0"):
        run(NumpyEngine, network, inputs)
    network, inputs = one([1e308, 1e308], [1.0, 1.5], load_model("leaky_integrator+exp_synapse"))
    with pytest.raises(SimulationError, match="population 'out': neuron 0: its state is no longer finite"):
        run(NumpyEngine, network, inputs, SumOfMaxima())
