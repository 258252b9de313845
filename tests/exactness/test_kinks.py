"""Conditions that read currents, maxima in models with conditions, and maxima at several arrivals of one instant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from snnmodels import oracle
from snnmodels.gradients import Simulation
from snnmodels.gradients.probe import SmoothSpikeTimes
from snnmodels.losses import ExpressionLoss, Loss
from snnmodels.symbolic.declaration import driven_system
from snnmodels.templates import (
    CurrentInput,
    Drive,
    Model,
    Network,
    Population,
    Projection,
    SpikeInput,
    load_model,
)
from tests.exactness.networks import MS, SLOW
from tests.exactness.test_switches import BURST, NESTED, RECTIFIED
from tests.needs import COMPILER, HAS_COMPILER

Array = np.ndarray
Inputs = dict[str, Array]
TARGETS = ["numpy", *(["cpp_standalone"] if HAS_COMPILER else [])]
SELDOM_COMPILED = ["numpy", pytest.param("cpp_standalone", marks=[COMPILER, SLOW])]
MAXIMA = ExpressionLoss("factor*maximum(v)", targets={"factor": "1"})


def silent(text: str) -> str:
    """A neuron without threshold and reset."""
    text = text.replace('threshold = "v > v_th"\nreset = "v = v_reset"\n', "")
    return "\n".join(line for line in text.splitlines() if not line.startswith(("v_th =", "v_reset =")))


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    folder = tmp_path_factory.mktemp("models")
    for name, text in {"burst": BURST, "rectified": RECTIFIED, "nested": NESTED}.items():
        (folder / f"{name}.toml").write_text(text)
        (folder / f"silent_{name}.toml").write_text(silent(text))

    def load(name: str) -> Model:
        neuron, *others = name.split("+")
        return load_model(folder / f"{neuron}.toml", *others, name=name)

    return load


def driven(model: Model, interpolation: str, seed: int, n: int = 2) -> tuple[Network, Inputs]:
    """A population that spikes and currents reach; of held samples some repeat, and lines begin late."""
    rng = np.random.default_rng(seed)
    current = CurrentInput(
        "current", 2, interval=3 * MS, start=2 * MS if interpolation == "linear" else 0.0, interpolation=interpolation
    )
    network = Network(
        "driven",
        (SpikeInput("input", 4),),
        (Population("cells", n, model, learnable=tuple(model.parameters)),),
        (
            Projection(
                "w",
                "input",
                "cells",
                rng.uniform(-1.5, 2, (4, n)),
                delay=rng.uniform(0, 3, (4, n)) * MS,
                learnable=("w", "delay"),
            ),
        ),
        "cells",
        60 * MS,
        currents=(current,),
        drives=(Drive("gain", "current", "cells", rng.uniform(0.5, 1.0, (2, n)), learnable=True),),
    )
    samples = rng.normal(0.6, 1.2, (2, 2, current.samples(60 * MS)))
    samples[:, :, 4] = samples[:, :, 3]
    return network, {"input": rng.uniform(0, 50, (2, 4)) * MS, "current": samples}


def agree(network: Network, inputs: Inputs, loss: Loss, targets: object, target: str, within: float = 1e-9) -> None:
    """The engine against the reference: loss, and every gradient relative to its norm."""
    exact = oracle.gradient(network, inputs, loss, targets, method="runge-kutta")
    with Simulation(network, loss, batch_size=len(inputs["input"]), target=target) as simulation:  # type: ignore[arg-type]
        found = simulation.run(inputs, targets)
    assert found.loss == pytest.approx(exact.loss, rel=1e-10, abs=1e-12)
    assert set(found.gradients) == set(exact.gradients)
    for key, value in exact.gradients.items():
        size = max(float(np.linalg.norm(value)), 1e-3 * abs(exact.loss))
        assert float(np.linalg.norm(found.gradients[key] - value)) <= within * size, key


def difference(simulation: Simulation, inputs: Inputs, targets: object, by: Mapping[str, Array]) -> float:
    """Central difference of the loss along a direction in the inputs."""
    at = [
        simulation.run({k: x + sign * by.get(k, 0.0) for k, x in inputs.items()}, targets, gradient=False).loss
        for sign in (1, -1)
    ]
    return (at[0] - at[1]) / 2


# --- conditions that read an input to which a current is added


def test_a_condition_may_read_a_driven_input(composed: Callable[[str], Model]) -> None:
    """Only flags whose surface the current is in are decided anew, and those that contain them."""
    system, (drive,) = driven_system(composed("rectified"), ["I_syn"])
    reading = {b for b, s in system.switches.items() if drive.value in s.free_symbols}
    assert 0 < len(reading) < len(system.switches)
    (decided,) = system.knots
    assert set(decided) == reading
    system, _ = driven_system(composed("nested"), ["I_syn"])
    assert len(system.knots[0]) == 3  # low, high, and the condition that contains high
    system, _ = driven_system(composed("burst"), ["I_syn"])
    assert system.knots == ({},)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("interpolation", ["hold", "linear"])
def test_a_condition_turns_where_the_current_crosses_it_or_jumps(
    composed: Callable[[str], Model], interpolation: str, target: str
) -> None:
    network, inputs = driven(composed("rectified+exp_synapse"), interpolation, seed=1)
    labels = np.zeros(2, dtype=int)
    agree(network, inputs, SmoothSpikeTimes(), labels, target)
    rng, step = np.random.default_rng(0), 1e-6
    with Simulation(network, SmoothSpikeTimes(), batch_size=2, target=target) as simulation:  # type: ignore[arg-type]
        found = simulation.run(inputs, labels)
        assert sum(np.isfinite(simulation.spike_times("cells")).ravel()) > 3
        along = rng.standard_normal(inputs["current"].shape)
        fd = difference(simulation, inputs, labels, {"current": step * along}) / step
    assert np.vdot(found.gradients["current.samples"], along) == pytest.approx(fd, rel=1e-6)


@pytest.mark.parametrize("target", SELDOM_COMPILED)
@pytest.mark.parametrize(
    "name",
    [
        "rectified+delta_synapse+refractory",
        pytest.param("nested+alpha_synapse+partial_refractory", marks=SLOW),
    ],
)
def test_a_condition_on_a_current_turns_while_the_neuron_is_refractory(
    composed: Callable[[str], Model], name: str, target: str
) -> None:
    for seed, interpolation in ((3, "hold"), (4, "linear")):
        network, inputs = driven(composed(name), interpolation, seed, n=1)
        inputs = {"input": inputs["input"][:1], "current": inputs["current"][:1] + 0.8}
        agree(network, inputs, SmoothSpikeTimes(), np.zeros(1, dtype=int), target, within=1e-6)


@pytest.mark.parametrize("target", SELDOM_COMPILED)
def test_a_held_current_on_the_surface_itself(composed: Callable[[str], Model], target: str) -> None:
    """A current of 0 is not above the `low` of 0, at time 0 or after a jump; one that stays changes nothing."""
    network, inputs = driven(composed("rectified"), "hold", seed=2)
    inputs["current"] = np.where(inputs["current"] > 0.9, inputs["current"], 0.0)
    agree(network, inputs, SmoothSpikeTimes(), np.zeros(2, dtype=int), target)


@pytest.mark.parametrize("target", SELDOM_COMPILED)
def test_a_line_that_has_a_knot_on_the_surface_turns_the_condition_once(tmp_path: Path, target: str) -> None:
    """f jumps there: had the knot undone what the crossing did, the costates would jump by it twice."""
    text = RECTIFIED.replace("clip(I_syn, low, high)", "I_syn + high*int(I_syn > low)")
    file = tmp_path / "jumping.toml"
    file.write_text(text)
    network, inputs = driven(load_model(file, name="jumping"), "linear", seed=2, n=1)
    network = network.__class__(
        "jumping",
        network.inputs,
        (Population("cells", 1, network.populations[0].model, {"low": 0.5, "high": 1.0}, learnable=("low", "high")),),
        (Projection("w", "input", "cells", np.zeros((4, 1))),),
        "cells",
        60 * MS,
        currents=network.currents,
        drives=(Drive("gain", "current", "cells", np.array([[1.0], [0.0]])),),
    )
    ramp = np.zeros_like(inputs["current"])
    ramp[:, 0] = 0.125 * np.arange(ramp.shape[2])  # at 0.5 in the fifth sample, and then on with the same slope
    inputs["current"] = ramp
    labels = np.zeros(2, dtype=int)
    with Simulation(network, SmoothSpikeTimes(), batch_size=2, target=target) as simulation:  # type: ignore[arg-type]
        found = simulation.run(inputs, labels)
        assert np.isfinite(simulation.spike_times("cells")).any()
        step = 1e-6
        along = np.zeros_like(ramp)
        along[:, 0, :] = 1.0  # all samples together: the surface is crossed earlier, on a line of the same slope
        fd = difference(simulation, inputs, labels, {"current": step * along}) / step
    assert np.vdot(found.gradients["current.samples"], along) == pytest.approx(fd, rel=1e-6)


# --- maxima of a state where conditions turn


@pytest.mark.parametrize("target", SELDOM_COMPILED)
@pytest.mark.parametrize(
    ("name", "interpolation"),
    [
        ("silent_rectified+exp_synapse", "hold"),
        ("silent_burst+exp_synapse", "linear"),
        pytest.param("silent_nested+alpha_synapse", "hold", marks=SLOW),
        pytest.param("silent_burst+delta_synapse", "linear", marks=SLOW),
    ],
)
def test_the_largest_value_of_a_state_where_conditions_turn(
    composed: Callable[[str], Model], name: str, interpolation: str, target: str
) -> None:
    network, inputs = driven(composed(name), interpolation, seed=5, n=4)
    targets = {"factor": np.random.default_rng(1).uniform(0.5, 1.5, (2, 4))}
    agree(network, inputs, MAXIMA, targets, target)


def test_a_maximum_at_a_condition_that_turns_moves_with_it(tmp_path: Path) -> None:
    """Closed form: v rises with slope 1 until the clock u is at u_0, from where on it falls."""
    file = tmp_path / "corner.toml"
    file.write_text(
        """
kind = "neuron"
title = "A neuron"
description = "For a test."
equations = '''
dv/dt = rise*(1 - 3*int(u > u_0)) : 1
du/dt = speed : 1
'''
[states]
v = {}
u = {}
[parameters]
rise = { default = "20*Hz", unit = "hertz", description = "slope" }
speed = { default = "50*Hz", unit = "hertz", description = "slope" }
u_0 = { default = 1.0, unit = "1", description = "value" }
"""
    )
    model = load_model(file, name="corner")
    network = Network(
        "corner", (), (Population("out", 1, model, learnable=tuple(model.parameters)),), (), "out", 60 * MS
    )
    exact = oracle.gradient(network, {}, MAXIMA, {"factor": np.ones((1, 1))}, method="runge-kutta")
    assert exact.simulation.maximum("v").kind.item() == "turn"
    with Simulation(network, MAXIMA, batch_size=1) as simulation:
        found = simulation.run({}, {"factor": np.ones((1, 1))})
    for each in (found, exact):
        assert each.loss == pytest.approx(20 * 1.0 / 50, rel=1e-12)
        for name, value in {"rise": 1 / 50, "speed": -20 / 50**2, "u_0": 20 / 50}.items():
            assert each.gradients[f"out.{name}"].item() == pytest.approx(value, rel=1e-9), name


# --- maxima at several arrivals of one instant

CHAINS = {
    # slopes after the first, second, third arrival of the instant, where the state rises before it
    "the first": ([-9.0, -1.0, 2.0], [1, 0, 0]),
    "the second": ([-1.0, -9.0, -1.0], [1, 1, 0]),
    "the last": ([2.0, -1.0, -9.0], [1, 1, 1]),
}


def meeting(model: Model, weights: list[float], own_delays: bool) -> tuple[Network, Inputs]:
    """A neuron that an early spike makes rise, and three that come in at 6 ms, two of them through one projection."""
    first = np.array([[4.0], *([w] for w in weights[:2])])
    shapes = ((3, 1), (1, 1)) if own_delays else ((), ())
    delays = [np.full(s, 1 * MS) if s else 1 * MS for s in shapes]
    network = Network(
        "meeting",
        (SpikeInput("input", 3), SpikeInput("other", 1)),
        (Population("out", 1, model),),
        (
            Projection("w", "input", "out", first, delay=delays[0], learnable=("w", "delay")),
            Projection("u", "other", "out", np.array([[weights[2]]]), delay=delays[1], learnable=("w", "delay")),
        ),
        "out",
        30 * MS,
    )
    return network, {"input": np.array([[1.0, 5.0, 5.0]]) * MS, "other": np.array([[5.0]]) * MS}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("own_delays", [False, True])
@pytest.mark.parametrize("name", ["leaky_integrator+exp_synapse", "silent_rectified+exp_synapse"])
@pytest.mark.parametrize("where", CHAINS)
def test_a_maximum_at_arrivals_of_one_instant_moves_as_if_one_came_after_the_other(
    composed: Callable[[str], Model], where: str, name: str, own_delays: bool, target: str
) -> None:
    """A one-sided difference with gaps that shrink from arrival to arrival, and one of all, from either side."""
    weights, moves = CHAINS[where]
    model = composed(name) if name.startswith("silent") else load_model(*name.split("+"))
    network, inputs = meeting(model, weights, own_delays)
    targets = {"factor": np.ones((1, 1))}
    agree(network, inputs, MAXIMA, targets, target)
    with Simulation(network, MAXIMA, batch_size=1, target=target) as simulation:  # type: ignore[arg-type]
        found = simulation.run(inputs, targets)
        by = np.array([*found.gradients["input.times"][0, 1:], *found.gradients["other.times"][0]])
        if name.startswith("leaky"):  # where the input is cut, arrivals may change no slope
            assert [int(g != 0) for g in by] == moves
        step = 1e-8
        gaps = step * np.array([1.0, 1.1, 1.11])
        later = {"input": inputs["input"] + [[0, *gaps[:2]]], "other": inputs["other"] + gaps[2]}
        moved = simulation.run(later, targets, gradient=False).loss
        together = {"input": np.array([[0.0, step, step]]), "other": np.array([[step]])}
        fd = difference(simulation, inputs, targets, together)
    assert moved - found.loss == pytest.approx(by @ gaps, rel=1e-4)
    assert fd == pytest.approx(by.sum() * step, rel=1e-4)


@pytest.mark.parametrize("target", SELDOM_COMPILED)
@pytest.mark.parametrize("name", ["leaky_integrator+delta_synapse", "silent_rectified+delta_synapse"])
@pytest.mark.parametrize("weights", [[0.5, -0.2, 0.1], [-0.2, 0.1, 0.5], [-0.3, -0.1, 0.1]])
def test_jumps_of_one_instant_count_together(
    composed: Callable[[str], Model], weights: list[float], name: str, target: str
) -> None:
    """What the state is between them is no maximum, whatever their order; its time is that of the last."""
    model = composed(name) if name.startswith("silent") else load_model(*name.split("+"))
    network, inputs = meeting(model, weights, own_delays=False)
    network = network.__class__(
        "meeting",
        network.inputs,
        (Population("out", 1, model, {"I_syn": 0.1}),),
        (
            Projection("w", "input", "out", np.array([[0.3], *([w] for w in weights[:2])]), delay=1 * MS),
            Projection("u", "other", "out", np.array([[weights[2]]]), delay=1 * MS),
        ),
        "out",
        30 * MS,
    )
    targets = {"factor": np.ones((1, 1))}
    agree(network, inputs, MAXIMA, targets, target)
    found = []
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        w = np.array(weights)[order]
        projections = (
            Projection("w", "input", "out", np.array([[0.3], [w[0]], [w[1]]]), delay=1 * MS),
            Projection("u", "other", "out", np.array([[w[2]]]), delay=1 * MS),
        )
        other = network.__class__("other", network.inputs, network.populations, projections, "out", 30 * MS)
        with Simulation(other, MAXIMA, batch_size=1, target=target) as simulation:  # type: ignore[arg-type]
            found.append(simulation.run(inputs, targets, gradient=False).loss)
    np.testing.assert_allclose(found, found[0], rtol=1e-12)
