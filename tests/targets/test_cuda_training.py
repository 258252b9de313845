"""Training on CUDA, many batches in one call of the program: losses and Adam beside C++, and what must not matter."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from snnmodels.events.engine import SimulationError
from snnmodels.gradients import Simulation
from snnmodels.losses import MaxVoltageCrossEntropy, TTFSCrossEntropy
from snnmodels.optimisers import Adam
from snnmodels.targets.process import ProgramError
from snnmodels.templates import Network, load_network
from snnmodels.templates.groups import Projection
from tests.events.drawn import MS
from tests.needs import COMPILER
from tests.targets.networks import ORDERS, yin_yang

SLOW = pytest.mark.slow


def trained(target: str, loss: Any, network: Network, batches: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """What ten batches of training in one call give: outcomes, and weights with their moments."""
    adam = Adam(2e-3)
    values = {f"{q.name}.w": np.array(q.weights) for q in network.projections}
    with Simulation(network, loss, batch_size=4, target=target) as simulation:  # type: ignore[arg-type]
        assert simulation.fits(adam, values)
        outcomes = simulation.fit(batches[:4], values, adam) + simulation.fit(batches[4:], values, adam)
        spikes = [simulation.spike_times(p.name) for p in network.populations if p.model.spiking]
    return (outcomes, spikes), values | adam.state_dict()


def masked(network: Network, number: int, seed: int, **changes: Any) -> Network:
    """The network with seven tenths of the connections of one of its projections."""
    projections = list(network.projections)
    q, rng = projections[number], np.random.default_rng(seed)
    mask = rng.random(np.shape(q.weights)) < 0.7
    weights = np.where(mask, np.asarray(q.weights) / 0.7, 0.0)
    projections[number] = dataclasses.replace(q, weights=weights, mask=mask, **changes)
    return dataclasses.replace(network, projections=tuple(projections))


def looped(network: Network) -> Network:
    """The network with masks, recurrence in its hidden layer, and a delay of each connection."""
    rng, n = np.random.default_rng(2), network.populations[0].n
    one, two = masked(network, 0, 1, delay=rng.uniform(0.2 * MS, 2 * MS, (5, n))).projections
    back = Projection("", "hidden", "hidden", rng.normal(0, 0.3, (n, n)), delay=rng.uniform(0.2 * MS, 2 * MS, (n, n)))
    whole = dataclasses.replace(network, projections=(one, back, dataclasses.replace(two, delay=0.5 * MS)))
    return masked(whole, 1, 3)


def task(kind: str, trials: int) -> tuple[Any, Network, np.ndarray, np.ndarray]:
    """A loss, a small network, inputs and labels."""
    network, times, labels = yin_yang(trials, hidden=24 if kind.endswith("recurrent") else 40)
    loss: Any = TTFSCrossEntropy()
    if kind.startswith("maxima"):
        loss = MaxVoltageCrossEntropy()
        network = load_network("mnist", input={"n": 5}, hidden={"n": 40}, output={"n": 3})
        first, second = network.projections
        first = dataclasses.replace(first, weights=15 * np.asarray(first.weights))
        network = dataclasses.replace(network, projections=(first, second))
    if kind == "maxima, masked":
        network = masked(network, 0, 1)
    if kind.endswith("recurrent"):
        network = looped(network)
    return loss, network, times["input"], labels


RECURRENT = ("first spikes, masked, delayed, recurrent", "maxima, masked, delayed, recurrent")
QUICK = ("first spikes", RECURRENT[0])  # of one program
TASKS = ("first spikes", "maxima, masked", *RECURRENT)


@COMPILER
@pytest.mark.parametrize("kind", [k if k in QUICK else pytest.param(k, marks=SLOW) for k in TASKS])
def test_ten_batches_of_training_in_the_program(cuda: str, kind: str) -> None:
    """As in C++, and twice the same bits."""
    sizes = [4, 3, 4, 1, 4, 4, 4, 2, 4, 3]
    loss, network, times, labels = task(kind, sum(sizes))
    ends = np.cumsum(sizes)
    batches = [({"input": times[e - n : e]}, labels[e - n : e]) for n, e in zip(sizes, ends, strict=True)]
    expected, cpp = trained("cpp_standalone", loss, network, batches)
    (outcomes, spikes), one = trained("cuda_standalone", loss, network, batches)
    _, other = trained("cuda_standalone", loss, network, batches)
    for found, out in zip(outcomes, expected[0], strict=True):
        np.testing.assert_allclose(found.loss, out.loss, rtol=1e-11)
        np.testing.assert_allclose(found.smallest_gdot, out.smallest_gdot, rtol=1e-9)
        assert (found.spikes, found.silent) == (out.spikes, out.silent)
        assert found.spikes["hidden"] > 3
        assert np.array_equal(found.predictions, out.predictions)
    for found, out in zip(spikes, expected[1], strict=True):
        np.testing.assert_allclose(found, out, rtol=0, atol=1e-12)
    assert cpp.keys() == one.keys()
    started = {f"{q.name}.w": np.asarray(q.weights) for q in network.projections}
    for key, value in cpp.items():
        np.testing.assert_allclose(one[key], value, rtol=0, atol=1e-10 * np.abs(value).max(), err_msg=key)
        assert np.array_equal(one[key], other[key]), key
        if key in started:
            assert np.abs(value - started[key]).max() > 1e-3, key  # it has learned something


@COMPILER
def test_training_in_the_program_is_that_of_single_steps(cuda: str) -> None:
    """Losses, gradients and Adam of the program are those of Python on the same target."""
    network, times, labels = yin_yang(8, hidden=40)
    adam, given = Adam(2e-3, scales={"hidden_output.w": 0.5}), ({"input": times["input"]}, labels)
    values = {f"{q.name}.w": np.array(q.weights) for q in network.projections}
    whole = {key: np.array(w) for key, w in values.items()}
    with Simulation(network, TTFSCrossEntropy(), batch_size=8, target="cuda_standalone") as simulation:
        for _ in range(3):
            adam.step(values, simulation.run(*given, values).gradients)
        simulation.fit([given] * 3, whole, Adam(2e-3, scales={"hidden_output.w": 0.5}))
    for key, expected in values.items():
        np.testing.assert_allclose(whole[key], expected, rtol=0, atol=1e-12 * np.abs(expected).max(), err_msg=key)


def test_training_that_fails_leaves_the_weights(cuda: str) -> None:
    network, times, labels = yin_yang(8, hidden=40)
    values = {f"{q.name}.w": np.array(q.weights) for q in network.projections}
    before, adam = {key: np.array(w) for key, w in values.items()}, Adam(2e-3)
    few = {"max_spikes": 3}
    with Simulation(network, TTFSCrossEntropy(), batch_size=8, target="cuda_standalone", **few) as simulation:  # type: ignore[arg-type]
        given = [({"input": times["input"]}, labels)]
        calm = [({"input": np.full_like(times["input"], np.inf)}, labels)]
        with pytest.raises(SimulationError, match="max_spikes = 3"):
            simulation.fit([*calm, *given], values, adam)
        assert all(np.array_equal(values[key], w) for key, w in before.items())


# --- what must not matter ---------------------------------------------------------------------------------------------


def trained_briefly(kind: str) -> dict[str, np.ndarray]:
    """Weights and moments after two batches in one call on CUDA."""
    loss, network, times, labels = task(kind, 10)
    adam, values = Adam(2e-3), {f"{q.name}.w": np.array(q.weights) for q in network.projections}
    batches = [({"input": times[part]}, labels[part]) for part in (slice(0, 6), slice(6, 10))]
    with Simulation(network, loss, batch_size=6, target="cuda_standalone") as simulation:
        simulation.fit(batches, values, adam)
    return values | adam.state_dict()


def trained_in_all_orders(kind: str, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, np.ndarray]]:
    found = []
    for order in ORDERS:
        monkeypatch.setenv("CUDACPU_ORDER", order)
        found.append(trained_briefly(kind))
    return found


@COMPILER
@SLOW
@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("kind", TASKS)
def test_the_order_of_threads_changes_no_bit_of_training(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *others = trained_in_all_orders(kind, monkeypatch)
    for other in others:
        assert other.keys() == first.keys()
        for key, value in first.items():
            assert np.array_equal(other[key], value), key


@COMPILER
@SLOW
@pytest.mark.usefixtures("races")
@pytest.mark.parametrize("kind", TASKS)
def test_training_has_no_races(kind: str) -> None:
    trained_briefly(kind)


# --- faults that are planted are found --------------------------------------------------------------------------------


SCRATCH = "double* first = read + std::int64_t(b) * n;"  # of one trial; all threads would write to that of the first
MOMENTS = "adam_step(value[i], sum, mean[i], square[i],"  # two weights would have one


@COMPILER
@SLOW
@pytest.mark.usefixtures("races")
@pytest.mark.parametrize(
    ("kernel", "old", "new"),
    [
        pytest.param("losses", SCRATCH, SCRATCH.replace(" + std::int64_t(b) * n", ""), id="losses"),
        pytest.param("adam", MOMENTS, MOMENTS.replace("square[i]", "square[i / 2]"), id="adam"),
    ],
)
def test_a_race_planted_in_training_is_found(planted: Any, kernel: str, old: str, new: str) -> None:
    planted("training.cuh", old, new)
    with pytest.raises(ProgramError, match=f"CUDACPU RACE in kernel {kernel}"):
        trained_briefly(TASKS[0])


@COMPILER
@SLOW
@pytest.mark.usefixtures("emulated")
def test_what_depends_on_the_order_of_threads_in_training_is_found(
    planted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted("training.cuh", MOMENTS, MOMENTS.replace("square[i]", "square[i / 2]"))
    first, *others = trained_in_all_orders(TASKS[0], monkeypatch)
    assert any(not np.array_equal(other[key], value) for other in others for key, value in first.items())


@COMPILER
@SLOW
@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("found[b] = ttfs(first,", "constants.of[0] *= 1.0001; found[b] = ttfs(first,", id="losses"),
        pytest.param(MOMENTS, MOMENTS.replace("sum,", "1.0001 * sum,"), id="adam"),
    ],
)
def test_a_factor_planted_in_training_is_found(planted: Any, old: str, new: str) -> None:
    planted("training.cuh", old, new)
    with pytest.raises(AssertionError):
        test_ten_batches_of_training_in_the_program("emulated", TASKS[0])
