"""Whole networks on `Simulation`: what training and users rely on, against the event-driven reference."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from snnmodels import oracle
from snnmodels.gradients import Simulation
from snnmodels.losses import TTFSCrossEntropy
from snnmodels.templates import Network, load_model, load_network
from tests.oracle.networks import MS, Polynomial

LIF = load_model("lif+exp_synapse")
LABELS = np.zeros(2, dtype=int)
TARGETS = ("numpy", "cpp_standalone")


def yin_yang(**hidden: object) -> tuple[Network, dict[str, np.ndarray]]:
    network = load_network("yin_yang", hidden={"n": 20, **hidden})
    return network, {"input": np.random.default_rng(1).uniform(0, 25 * MS, (2, 5, 1))}


def assert_exact(network: Network, inputs: dict[str, np.ndarray], simulation: Simulation) -> None:
    exact = oracle.gradient(network, inputs, simulation.loss, LABELS, method="matrix-exponential")
    found = simulation.run(inputs, LABELS)
    np.testing.assert_allclose(found.loss, exact.loss, rtol=1e-9)
    for key, value in exact.gradients.items():
        np.testing.assert_allclose(found.gradients[key], value, rtol=0, atol=1e-9 * np.abs(value).max(), err_msg=key)


@pytest.mark.parametrize("target", TARGETS)
def test_time_constants_that_meet_while_training(target: str) -> None:
    network, inputs = yin_yang(learnable=["tau_m", "tau_syn"])
    with Simulation(network, Polynomial(), batch_size=2, target=target) as simulation:  # type: ignore[arg-type]
        values = network.trainable()
        for tau in (7e-3, 5e-3 * (1 + 1e-9), 5e-3):
            values = {**values, "hidden.tau_m": np.array(tau), "hidden.tau_syn": np.array(5e-3)}
            simulation.run(inputs, LABELS, values)
            assert_exact(simulation.network, inputs, simulation)


def test_trials_of_a_batch_do_not_touch_each_other_and_threads_change_rounding_alone() -> None:
    network, _ = yin_yang()
    rng = np.random.default_rng(3)
    inputs, labels = {"input": rng.uniform(0, 25 * MS, (7, 5))}, rng.integers(0, 3, 7)
    with Simulation(network, TTFSCrossEntropy(), batch_size=7, target="cpp_standalone") as one:
        together = one.run(inputs, labels)
        spikes = one.spike_times("hidden")
        apart = [one.run({"input": inputs["input"][k : k + 1]}, labels[k : k + 1]) for k in range(7)]
        again = one.run(inputs, labels)
    with Simulation(network, TTFSCrossEntropy(), batch_size=7, target="cpp_standalone", threads=3) as three:
        threaded = three.run(inputs, labels)
        np.testing.assert_array_equal(three.spike_times("hidden"), spikes)
    for key, value in together.gradients.items():
        np.testing.assert_array_equal(again.gradients[key], value)
        np.testing.assert_allclose(threaded.gradients[key], value, rtol=0, atol=1e-13 * np.abs(value).max())
        if key.endswith(".w"):
            mean = sum(a.gradients[key] for a in apart) / 7
            np.testing.assert_allclose(mean, value, rtol=0, atol=1e-13 * np.abs(value).max())


def test_a_silent_label_teaches_nothing() -> None:
    network, inputs = yin_yang()
    quiet = dataclasses.replace(
        network,
        projections=(network.projections[0], dataclasses.replace(network.projections[1], weights=-np.ones((20, 3)))),
    )
    with Simulation(quiet, TTFSCrossEntropy(), batch_size=2) as simulation:
        outcome = simulation.run(inputs, LABELS)
    assert outcome.loss == pytest.approx(np.log(3))
    assert not any(np.any(g) for g in outcome.gradients.values())


def test_training_in_the_program_is_training_batch_by_batch() -> None:
    from snnmodels.optimisers import Adam

    network, _ = yin_yang()
    rng = np.random.default_rng(5)
    batches = [({"input": rng.uniform(0, 25 * MS, (n, 5))}, rng.integers(0, 3, n)) for n in (4, 4, 3)]
    one, other = ({k: v.copy() for k, v in network.trainable().items()} for _ in range(2))
    adam, same = Adam(5e-3), Adam(5e-3)
    with Simulation(network, TTFSCrossEntropy(), batch_size=4, target="cpp_standalone") as simulation:
        expected = []
        for inputs, labels in batches:
            expected.append(simulation.run(inputs, labels, one))
            adam.step(one, expected[-1].gradients)
        last = simulation.spike_times("hidden")
        found = simulation.fit(batches, other, same)
        np.testing.assert_allclose(simulation.spike_times("hidden"), last, rtol=0, atol=1e-12)
        assert simulation.network is network
    for a, b in zip(found, expected, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-12)
        assert a.spikes == b.spikes
        np.testing.assert_array_equal(a.predictions, b.predictions)
    for key, value in one.items():
        np.testing.assert_allclose(other[key], value, rtol=0, atol=1e-11)


def test_an_impossible_refractory_period_is_refused() -> None:
    network, inputs = yin_yang(model=["lif", "exp_synapse", "refractory"], learnable=["t_ref"])
    for target in TARGETS:
        with Simulation(network, Polynomial(), batch_size=2, target=target) as simulation:  # type: ignore[arg-type]
            simulation.run(inputs, LABELS)
            with pytest.raises(ValueError, match=r"population 'hidden': 't_ref >= 0' must hold, but t_ref = -0\.001"):
                simulation.run(inputs, LABELS, {**network.trainable(), "hidden.t_ref": np.array(-1e-3)})
