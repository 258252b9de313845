"""Passes that overlap: each goes backward for its own batch, whatever its simulation has run since."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest

from snnmodels.gradients import Simulation, SimulationError, passes
from snnmodels.gradients import simulation as simulation_module
from snnmodels.losses import SpikeTimeError, SpikeTimes
from snnmodels.targets import process
from snnmodels.targets.cpp import engine as cpp_engine
from snnmodels.targets.numpy import engine as numpy_engine
from snnmodels.templates import Network, load_network
from tests.interruptions import ctrl_c_at
from tests.needs import on_both


def network() -> Network:
    return load_network("yin_yang", hidden={"n": 8, "learnable": ["tau_m"]})


def batch(seed: int, trials: int = 2) -> dict[str, np.ndarray]:
    return {"input": np.random.default_rng(seed).uniform(0, 30e-3, (trials, 5))}


def pulled(observed: Any) -> np.ndarray:
    return np.where(np.isfinite(observed), 1e2, 0.0)


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


@on_both
def test_every_pass_goes_its_own_way_back(target: str) -> None:
    net = network()
    own = net.trainable()
    given = [
        (batch(0), {}),
        (batch(1, 3), {"input_hidden.w": own["input_hidden.w"] * 1.5}),
        (batch(2, 1), {"hidden.tau_m": np.array(0.011)}),
    ]
    with Simulation(net, SpikeTimes("hidden"), batch_size=3, target=target) as simulation:  # type: ignore[arg-type]
        expected = []
        for inputs, values in given:
            seen = simulation.forward(inputs, values)
            assert np.isfinite(seen).any()
            expected.append(simulation.backward(pulled(seen)))
        kept = [simulation.forward_pass(inputs, values) for inputs, values in given]
        for inputs, values in given:  # what was given may change: it was copied
            inputs["input"] += 1e-3
            for value in values.values():
                value *= 2
        for k in (0, 2, 2, 1, 0):
            assert_same(kept[k].backward(pulled(kept[k].observed)), expected[k])
        simulation.forward(given[0][0], gradient=False)
        assert_same(kept[0].backward(pulled(kept[0].observed)), expected[0])
        # the last batch is not simulated again
        runs = simulation.runs
        kept[0].backward(pulled(kept[0].observed))
        assert simulation.runs == runs
        with pytest.raises(ValueError, match="read-only"):
            kept[0].observed[...] = 0.0  # type: ignore[index]
        with pytest.raises(ValueError, match="made with gradient=False"):
            simulation.forward_pass(given[0][0], gradient=False).backward(np.zeros(1))
    with pytest.raises(SimulationError, match="was closed"):
        kept[0].backward(pulled(kept[0].observed))


@on_both
def test_a_pass_that_was_interrupted_goes_back_the_next_time(target: str) -> None:
    files = {passes.__file__, simulation_module.__file__, cpp_engine.__file__, process.__file__, numpy_engine.__file__}
    with Simulation(network(), SpikeTimes("hidden"), batch_size=2, target=target) as simulation:  # type: ignore[arg-type]
        one = simulation.forward_pass(batch(0))
        expected = one.backward(pulled(one.observed))
        counted: list[int] = []
        with ctrl_c_at(0, files, counted):
            simulation.forward(batch(1))
            one.backward(pulled(one.observed))
        for line in np.linspace(1, counted[0] - 1, 12).astype(int):
            with ctrl_c_at(int(line), files, counted), pytest.raises(KeyboardInterrupt):
                simulation.forward(batch(1))
                one.backward(pulled(one.observed))
            assert_same(one.backward(pulled(one.observed)), expected)


def test_threads_take_turns() -> None:
    with Simulation(network(), SpikeTimes("hidden"), batch_size=2) as simulation:

        def one(seed: int) -> dict[str, np.ndarray]:
            passed = simulation.forward_pass(batch(seed))
            return passed.backward(pulled(passed.observed))

        expected = [one(seed) for seed in range(3)]
        wrong: list[BaseException] = []

        def work(seed: int) -> None:
            try:
                for _ in range(3):
                    assert_same(one(seed), expected[seed])
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong, wrong[0]


@on_both
def test_a_copy_is_a_simulation_of_its_own(target: str) -> None:
    loss = SpikeTimeError(population="hidden")
    wanted = np.full((2, 8, 1), 20e-3)
    options: dict[str, Any] = {"batch_size": 2, "target": target, "input_gradients": False, "tolerance": 1e-9}
    with Simulation(network(), loss, **options) as simulation:
        expected = simulation.run(batch(0), wanted)
        copies = [copy.copy(simulation), copy.deepcopy(simulation), pickle.loads(pickle.dumps(simulation))]
    for one in copies:
        assert (one.settings, one.batch_size, one.plan.input_gradients) == (simulation.settings, 2, False)
        assert_same(dict(one.run(batch(0), wanted).gradients), dict(expected.gradients))
        one.close()
    with pytest.raises(SimulationError, match="was closed"):
        copy.copy(simulation)
