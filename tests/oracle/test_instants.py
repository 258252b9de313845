"""What happens at one instant: ties, their order, cascades without delay."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from snnmodels.oracle import gradient, simulate
from snnmodels.templates.groups import Population, Projection, SpikeInput
from snnmodels.templates.model import Model, State
from snnmodels.templates.network import Network
from tests.oracle import models
from tests.oracle.networks import MS, Polynomial

AT = 5 * MS
SLOPE = (1 + 2 * AT / (20 * MS)) / (20 * MS)  # of Polynomial by a spike at that time


def resting(v_rest: float) -> Model:
    """A neuron that arrivals step and that starts at rest; its threshold is 1."""
    return dataclasses.replace(models.lif_delta(v_rest=v_rest), states=(State("v", "1", "v_rest"),))


def meeting(weights: tuple[float, ...], v_rest: float = 0.5) -> tuple[Network, dict[str, np.ndarray]]:
    """One neuron at v_rest, and sources in projections of their own that spike at once."""
    model = resting(v_rest)
    names = [f"in{k}" for k in range(len(weights))]
    network = Network(
        "meeting",
        tuple(SpikeInput(name, 1) for name in names),
        (Population("out", 1, model, {}, tuple(model.parameters)),),
        tuple(
            Projection(f"{name}_out", name, "out", np.array([[w]]), "syn", learnable=("w", "delay"))
            for name, w in zip(names, weights, strict=True)
        ),
        "out",
        20 * MS,
    )
    return network, {name: np.array([[AT]]) for name in names}


def test_excitation_and_inhibition_at_once_are_summed_before_the_threshold_is_tested() -> None:
    """20 and -10 mV on a neuron that is 15 mV below its threshold: no spike, in either order."""
    for weights in itertools.permutations((1.0, -0.5)):
        network, inputs = meeting(weights, v_rest=0.4)
        simulation = simulate(network, inputs)
        assert not np.isfinite(simulation.spikes["out"]).any()
        assert simulation.ties == 1


@pytest.mark.parametrize("weights", list(itertools.permutations((0.9, 0.4, -0.2))))
def test_the_order_of_projections_changes_no_spike(weights: tuple[float, ...]) -> None:
    network, inputs = meeting(weights, v_rest=0.4)
    found = gradient(network, inputs, Polynomial(), None, method="matrix-exponential")
    assert found.spikes["out"].tolist() == [[[AT]]]
    assert found.simulation.ties == 1
    assert found.simulation.at_arrivals == 1


@pytest.mark.parametrize(
    ("weights", "cause"),
    [((0.9, -0.2), 0), ((-0.2, 0.9), 1), ((0.9, -0.6, 0.5), 2), ((0.3, 0.3, 0.3), 1), ((0.9, -0.7, 0.4, 0.4), 2)],
)
def test_the_cause_is_the_arrival_that_last_carried_it_across(weights: tuple[float, ...], cause: int) -> None:
    network, inputs = meeting(weights)
    found = gradient(network, inputs, Polynomial(), None, method="matrix-exponential")
    assert found.spikes["out"].tolist() == [[[AT]]]
    expected = [SLOPE if k == cause else 0.0 for k in range(len(weights))]
    for kind in ("in{}.times", "in{}_out.delay"):
        assert [float(found.gradients[kind.format(k)].sum()) for k in range(len(weights))] == pytest.approx(expected)
    assert found.gradients["out.v_th"] == 0


def test_sources_of_one_projection_come_in_their_order() -> None:
    model = resting(0.5)
    network = Network(
        "sources",
        (SpikeInput("in", 3),),
        (Population("out", 1, model),),
        (
            Projection(
                "in_out",
                "in",
                "out",
                np.array([[0.3], [0.3], [0.3]]),
                "syn",
                delay=np.array([[1.0], [0.5], [0.0]]) * MS,
            ),
        ),
        "out",
        20 * MS,
    )
    # delays make the three meet, to the bit
    inputs = {"in": np.array([[4.0, 4.5, 5.0]]) * MS}
    inputs["in"][0] = 2.0**-8 - network.projections[0].delay[:, 0]
    assert len({float(t) for t in inputs["in"][0] + network.projections[0].delay[:, 0]}) == 1
    found = gradient(network, inputs, Polynomial(), None, method="matrix-exponential")
    assert found.simulation.ties == 1
    assert np.flatnonzero(found.gradients["in.times"][0]).tolist() == [1]


def cascade(weights: dict[str, float], model, duration: float = 20 * MS) -> tuple[Network, dict[str, np.ndarray]]:
    """Neurons a, b, c, d in populations of their own at 0; weights by "source_target", at no delay."""
    pairs = [key.split("_") for key in weights]
    names = sorted({name for pair in pairs for name in pair} - {"in"})
    network = Network(
        "cascade",
        (SpikeInput("in", 1),),
        tuple(Population(name, 1, model) for name in names),
        tuple(
            Projection(key, *pair, np.array([[w]]), "syn", learnable=("w", "delay"))
            for (key, w), pair in zip(weights.items(), pairs, strict=True)
        ),
        names[-1],
        duration,
    )
    return network, {"in": np.array([[AT]])}


def test_a_cascade_is_breadth_first() -> None:
    """The neurons b and c spike together, and d gets the sum; one after the other it would spike at b."""
    model = models.lif_delta(v_rest=0.0)
    first = {"in_a": 1.2, "a_b": 1.2, "a_c": 1.2}
    for last in itertools.permutations({"b_d": 1.2, "c_d": -0.5}.items()):
        simulation = simulate(*cascade({**first, **dict(last)}, model))
        assert [np.isfinite(simulation.spikes[q]).sum() for q in "abcd"] == [1, 1, 1, 0]
        assert simulation.ties == 1
    found = gradient(*cascade({**first, "b_d": 1.2, "c_d": -0.1}, model), Polynomial(), None)
    assert all(found.spikes[q].tolist() == [[[AT]]] for q in "abcd")
    # d spikes through b, and b and a through what came before
    for key in ("in_a.delay", "a_b.delay", "b_d.delay", "in.times"):
        assert float(found.gradients[key].sum()) == pytest.approx(SLOPE, rel=1e-12)
    for key in ("a_c.delay", "c_d.delay"):
        assert found.gradients[key] == 0


@pytest.mark.parametrize("weights", [{"in_a": 1.2, "a_b": 1.2, "b_a": 1.2}, {"in_b": 1.2, "b_a": 1.2, "a_a": 1.2}])
def test_a_cascade_that_does_not_end_is_an_error(weights: dict[str, float]) -> None:
    message = (
        r"population 'a': neuron 0 would spike twice at 0\.005 s: the cascade of spikes without delay does not end"
    )
    with pytest.raises(RuntimeError, match=message):
        simulate(*cascade(weights, models.lif_delta(v_rest=0.0)))


def test_a_refractory_period_ends_a_cascade_and_so_does_a_delay() -> None:
    weights = {"in_a": 1.2, "a_b": 1.2, "b_a": 1.2}
    simulation = simulate(*cascade(weights, models.refractory(models.lif_delta(v_rest=0.0))))
    assert [np.isfinite(simulation.spikes[q]).sum() for q in "ab"] == [1, 1]
    network, inputs = cascade(weights, models.lif_delta(v_rest=0.0))
    delayed = Projection("b_a", "b", "a", np.array([[1.2]]), "syn", delay=2 * MS)
    network = Network("loop", network.inputs, network.populations, (*network.projections[:2], delayed), "b", 20 * MS)
    spikes = simulate(network, inputs).spikes["a"][0, 0]
    assert spikes == pytest.approx(AT + 2 * MS * np.arange(len(spikes)), abs=1e-15)
    assert len(spikes) == 8


@pytest.mark.parametrize("method", ["runge-kutta", "matrix-exponential"])
def test_neurons_that_cross_at_one_time_spike_before_anything_is_delivered(method) -> None:
    """Mutual inhibition without delay: each would silence the other."""
    model = models.lif_delta(v_rest=1.5)
    network = Network(
        "equal",
        (),
        (Population("out", 3, model),),
        (Projection("out_out", "out", "out", np.full((3, 3), -0.4), "syn", ~np.eye(3, dtype=bool)),),
        "out",
        10 * MS,
    )
    simulation = simulate(network, {}, method=method)
    assert np.isfinite(simulation.spikes["out"][0, :, 0]).all()
    assert np.ptp(simulation.spikes["out"][0, :, 0]) == 0
    # three spikes at once, and three arrivals
    assert simulation.ties == 2


def test_a_period_that_ends_when_a_spike_arrives_is_over() -> None:
    """At times that are exact in binary: a spike at 2^-7 s, an arrival at its end 2^-8 s later."""
    model = models.refractory(models.lif_delta(v_rest=0.0), t_ref=2.0**-8)
    network = Network(
        "end",
        (SpikeInput("in", 1),),
        (Population("out", 1, model, {}, ("t_ref",)),),
        (Projection("in_out", "in", "out", np.array([[1.2]]), "syn"),),
        "out",
        20 * MS,
    )
    times = 2.0**-7 + 2.0**-8 * np.array([0.0, 1.0 - 1e-9, 1.0])
    simulation = simulate(network, {"in": times[None, None]})
    assert simulation.spikes["out"][0, 0].tolist() == [times[0], times[2]]
    assert simulation.ties == 0
    assert simulation.at_arrivals == 2
