"""Cascades without delay within one instant: rounds that go through the whole network, whatever its components are."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from snnmodels.targets.cpp.engine import CppEngine
from snnmodels.targets.numpy.engine import NumpyEngine
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model
from tests.events.agreement import WAYS, Inputs, check
from tests.oracle.networks import MS, SumOfMaxima

ENGINES = {"numpy": NumpyEngine, "cpp": lambda plan: CppEngine(plan, trials=1)}
# of input to c, and of b to c: b spikes in the first round, so that c has it in the second
CASES = {
    "inhibition comes too late": (1.2, -0.9, [10.0]),
    "excitation comes in the second round": (0.4, 0.9, [10.0]),
    "inhibition of the second round counts for later arrivals": (0.9, -0.2, [12.0]),
}


def network(w_input: float, w_cascade: float, *, feedback: bool, each: bool) -> Network:
    """An input to b and c, and b to c, all without delay; feedback of weight 0 makes them one component."""
    delta = load_model("lif+delta_synapse")
    populations = tuple(Population(name, 1, delta) for name in ("b", "c"))
    delay = np.zeros((1, 1)) if each else 0.0
    projections = [
        Projection("ab", "a", "b", np.array([[1.5]]), "delta_synapse"),
        Projection("ac", "a", "c", np.array([[w_input]]), "delta_synapse", None, ("w",), delay=delay),
        Projection("bc", "b", "c", np.array([[w_cascade]]), "delta_synapse", None, ("w",), delay=delay),
        Projection("dc", "d", "c", np.array([[0.6]]), "delta_synapse"),
    ]
    if feedback:
        projections.append(Projection("cb", "c", "b", np.zeros((1, 1)), "delta_synapse"))
    return Network("rounds", (SpikeInput("a", 1), SpikeInput("d", 1)), populations, tuple(projections), "c", 30 * MS)


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("target", list(ENGINES))
@pytest.mark.parametrize("case", list(CASES))
def test_rounds_go_through_the_whole_network(case: str, target: str, feedback: bool, each: bool) -> None:
    w_input, w_cascade, expected = CASES[case]
    net = network(w_input, w_cascade, feedback=feedback, each=each)
    inputs = {"a": np.array([[[10 * MS]]]), "d": np.array([[[12 * MS]]])}
    found = check(ENGINES[target], net, inputs)
    spikes = found.spikes["c"].ravel()
    np.testing.assert_allclose(spikes[np.isfinite(spikes)] / MS, expected, rtol=1e-12)


def behind_a_cascade(kind: str, *, same_input: bool) -> tuple[Network, dict[str, np.ndarray]]:
    """Neurons that jump at inputs, and spike at once, before neurons that have spiked by other inputs already."""
    rng = np.random.default_rng(5)
    jumping = Population("j", 3, load_model("lif+delta_synapse"))
    after = Population("o", 4, load_model(kind))
    receptor = next(iter(after.model.receptors))
    projections = [
        Projection("aj", "a", "j", np.full((3, 3), 1.3) * np.eye(3), "delta_synapse"),
        Projection("jo", "j", "o", rng.uniform(1, 3, (3, 4)), receptor),
        Projection("bo", "b", "o", rng.uniform(1, 4, (4, 4)), receptor, None, ("w", "delay"), delay=0.0),
    ]
    if same_input:
        projections.append(Projection("ao", "a", "o", rng.uniform(0.5, 1, (3, 4)), receptor))
    sources = (SpikeInput("a", 3), SpikeInput("b", 4))
    net = Network("behind", sources, (jumping, after), tuple(projections), "o", 50 * MS)
    inputs = {
        "a": np.array([[[12.0], [20.0], [31.0]]]) * MS,
        "b": np.array([[[2.0, 25.0], [3.0, 26.0], [4.0, 33.0], [5.0, np.inf]]]) * MS,
    }
    return net, inputs


@pytest.mark.parametrize("same_input", [False, True])
@pytest.mark.parametrize("way", list(WAYS))
def test_spikes_before_a_cascade_count_once(way: str, same_input: bool) -> None:
    net, inputs = behind_a_cascade("lif+exp_synapse", same_input=same_input)
    found = check(WAYS[way], net, inputs)
    assert np.isfinite(found.spikes["o"]).sum() > 8
    # where the same input arrives directly and through the cascade, two spikes meet at o
    assert found.engine.ties == (3 if same_input else 0)
    found.engine.close()


@pytest.mark.parametrize("same_input", [False, True])
@pytest.mark.parametrize("way", list(WAYS))
def test_a_maximum_that_a_cascade_ends_moves_with_it(way: str, same_input: bool) -> None:
    net, inputs = behind_a_cascade("leaky_integrator+exp_synapse", same_input=same_input)
    by_name = {q.name: q for q in net.projections}
    # the potentials rise until the cascade's inhibition ends it
    by_name["jo"] = dataclasses.replace(by_name["jo"], weights=-20 * by_name["jo"].weights)
    if same_input:
        by_name["ao"] = dataclasses.replace(by_name["ao"], weights=1e-3 * by_name["ao"].weights)
    net = dataclasses.replace(net, projections=tuple(by_name.values()))
    inputs["a"] = np.array([[[6.0], [20.0], [31.0]]]) * MS
    inputs["b"] = np.array([[[2.0], [3.0], [4.0], [5.0]]]) * MS
    found = check(WAYS[way], net, inputs, SumOfMaxima())
    assert np.abs(found.gradients["a.times"][0, 0]).max() > 0  # they move with the input of the cascade
    found.engine.close()


TICK = 2.0**-10  # seconds; multiples of it, and their sums, are exact


def kink(first: float, delay: float) -> tuple[Network, Inputs]:
    """The second neuron spikes first, and makes the first one spike at that instant; both end a rise with one delay."""
    delta, readout = load_model("lif+delta_synapse"), load_model("leaky_integrator+exp_synapse")
    mask = np.array([[False, False], [True, False]])
    projections = (
        Projection("in_hidden", "in", "hidden", np.array([[0.2, 1.5]]), "delta_synapse"),
        Projection("cascade", "hidden", "hidden", 0.9 * mask, "delta_synapse", mask, ("w", "delay")),
        Projection("in_out", "in", "out", np.array([[3.0]]), "exp_synapse"),
        Projection("hidden_out", "hidden", "out", np.array([[first], [-5.2 - first]]), "exp_synapse", delay=delay),
    )
    populations = (Population("hidden", 2, delta), Population("out", 1, readout))
    net = Network("kink", (SpikeInput("in", 1),), populations, projections, "out", 32 * TICK)
    return net, {"in": np.array([[[4 * TICK]]])}


KINKS = [(first, delay) for first in (-5.0, -0.2) for delay in (0.0, 4 * TICK)]


@pytest.mark.parametrize("way", [*WAYS])
@pytest.mark.parametrize(("first", "delay"), KINKS)
def test_arrivals_of_one_time_are_in_the_order_of_their_sources(first: float, delay: float, way: str) -> None:
    found = check(WAYS[way], *kink(first, delay), SumOfMaxima(), hardly=1e-3)
    assert found.engine.spike_count(0) == 2
    found.engine.close()


def released_at_the_end() -> tuple[Network, Inputs]:
    """What arrives when a refractory period and the trial end finds the neuron released, as at any other time."""
    delta, held = load_model("lif+delta_synapse"), load_model("lif+delta_synapse+refractory")
    populations = (Population("a", 1, delta), Population("b", 1, held, {"t_ref": 8 * TICK}, ("t_ref",)))
    projections = tuple(
        Projection(name, name[0], name[1], np.array([[1.5]]), "delta_synapse", None, ("w", "delay"), delay=4 * TICK)
        for name in ("ia", "ab")
    )
    net = Network("end", (SpikeInput("i", 1),), populations, projections, "b", 32 * TICK)
    return net, {"i": np.array([[[16, 24]]]) * TICK}


@pytest.mark.parametrize("way", [*WAYS])
def test_a_refractory_period_that_ends_with_the_trial(way: str) -> None:
    found = check(WAYS[way], *released_at_the_end())
    np.testing.assert_array_equal(found.spikes["b"], np.array([[[24, 32]]]) * TICK)
    found.engine.close()
