"""What a loss reads: of any populations, several things at once, and new ones made of the known ones."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from snnmodels import oracle
from snnmodels.datasets import Trials
from snnmodels.gradients import GridSimulation, Simulation
from snnmodels.losses import (
    FirstSpikes,
    Loss,
    LossValue,
    Maxima,
    MaxVoltageCrossEntropy,
    Observable,
    Primitive,
    Samples,
    SpikeTimeError,
    SpikeTimes,
    TTFSCrossEntropy,
    VoltageError,
)
from snnmodels.templates import Network, load_model
from snnmodels.training import evaluate
from tests.events.agreement import random_network
from tests.needs import COMPILER, on_both
from tests.oracle.networks import MS, Polynomial


@dataclass(frozen=True)
class Of(Loss):
    """`Polynomial` of the spikes of a population, weighted."""

    population: str

    @property
    def observes(self) -> Observable:
        return SpikeTimes(self.population)

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        return Polynomial().evaluate(observed, targets)


@dataclass(frozen=True)
class EarlyAndHigh(Loss):
    """First spikes of one population times the maxima of another: no sum of two losses."""

    @property
    def observes(self) -> tuple[Observable, ...]:
        return FirstSpikes("second"), Maxima("out")

    def evaluate(self, observed: tuple[np.ndarray, np.ndarray], targets: np.ndarray) -> LossValue:
        first, high = observed
        heard = np.isfinite(first)
        times = np.where(heard, first / MS, 0.0)
        a, b = times.sum(axis=1), (high**2).sum(axis=1)
        by_first = np.where(heard, b[:, None] / MS, 0.0)
        return LossValue(float((a * b).sum()), (by_first, 2 * high * a[:, None]))


def network(seed: int, scale: float = 1.2, **options: Any) -> tuple[Network, dict[str, np.ndarray]]:
    readout = load_model("leaky_integrator", "exp_synapse")
    return random_network(load_model("lif", "exp_synapse"), scale, seed, readout=readout, **options)  # type: ignore[return-value]


def assert_reference(net: Network, inputs: dict[str, np.ndarray], loss: Loss, target: str, **options: Any) -> None:
    targets = np.zeros(2, dtype=int)
    expected = oracle.gradient(net, inputs, loss, targets, method="matrix-exponential")
    assert sum(np.isfinite(t).sum() for t in expected.spikes.values()) > 5
    with Simulation(net, loss, batch_size=2, target=target, **options) as simulation:  # type: ignore[arg-type]
        found = simulation.run(inputs, targets)
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-11)
    assert found.gradients.keys() == expected.gradients.keys()
    for key, value in expected.gradients.items():
        # what cancels, as that of a resting potential in a cross-entropy, has the digits of its terms
        bound = 1e-9 * np.abs(value).max(initial=0.0) + 1e-14 * abs(expected.loss)
        np.testing.assert_allclose(found.gradients[key], value, rtol=0, atol=bound, err_msg=key)


LOSSES = {
    "hidden": Of("first"),
    "two hidden": Of("first") + 0.3 * Of("second"),
    "hidden and maxima": Of("second") * 0.5 + MaxVoltageCrossEntropy(),
    "hidden and samples": VoltageError(interval=3 * MS) * 100 + Of("first"),
    "twice": Of("first") + Of("first") * 2 + MaxVoltageCrossEntropy() + 2.0 * MaxVoltageCrossEntropy(scale=0.3),
    "a product": EarlyAndHigh(),
    "first spikes": TTFSCrossEntropy(population="second") + MaxVoltageCrossEntropy(),
}


@on_both
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("recurrent", [0.0, 0.7])
def test_losses_on_several_populations_agree_with_the_reference(target: str, loss: Loss, recurrent: float) -> None:
    net, inputs = network(3, recurrent=recurrent, delay="common" if recurrent else "none")
    if any(isinstance(o, Samples) for o in loss.observables):
        loss = _Targets(loss, np.zeros((2, 2, 10)))
    assert_reference(net, inputs, loss, target)


@dataclass(frozen=True)
class _Targets(Loss):
    """A loss with targets of its own."""

    loss: Loss
    targets: np.ndarray

    @property
    def observes(self) -> Any:
        return self.loss.observes

    def evaluate(self, observed: Any, targets: np.ndarray) -> LossValue:
        return self.loss.evaluate(observed, self.targets)


@COMPILER
@pytest.mark.parametrize("loss", [Of("first") + 0.3 * Of("second"), EarlyAndHigh()], ids=["spikes", "product"])
def test_on_scattered_arrivals_and_threads(loss: Loss) -> None:
    net, inputs = network(5, 2.5, recurrent=0.7, delay="each", masked=True)
    assert_reference(net, inputs, loss, "cpp_standalone", threads=2)


@on_both
def test_a_sum_is_the_sum_of_its_terms(target: str) -> None:
    net, inputs = network(2)
    terms = (Of("first"), MaxVoltageCrossEntropy())
    targets = np.zeros(2, dtype=int)
    alone = []
    for loss in terms:
        with Simulation(net, loss, batch_size=2, target=target) as simulation:  # type: ignore[arg-type]
            alone.append(simulation.run(inputs, targets))
    with Simulation(net, terms[0] + 3 * terms[1], batch_size=2, target=target) as simulation:  # type: ignore[arg-type]
        found = simulation.run(inputs, targets)
    np.testing.assert_allclose(found.loss, alone[0].loss + 3 * alone[1].loss, rtol=1e-12)
    np.testing.assert_array_equal(found.predictions, alone[1].predictions)
    for key, value in found.gradients.items():
        wanted = alone[0].gradients[key] + 3 * alone[1].gradients[key]
        bound = 1e-11 * np.abs(wanted).max() + 1e-14 * found.loss
        np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=bound, err_msg=key)


@on_both
def test_the_halves_make_a_run(target: str) -> None:
    """`forward` and `backward` around a function of one's own."""
    net, inputs = network(5)
    seen = [SpikeTimes("second"), Maxima()]
    with Simulation(net, Of("second") + MaxVoltageCrossEntropy(), batch_size=2, target=target) as simulation:  # type: ignore[arg-type]
        whole = simulation.run(inputs, np.zeros(2, dtype=int))
    with Simulation(net, seen, batch_size=2, target=target) as simulation:  # type: ignore[arg-type]
        spikes, maxima = simulation.forward(inputs)
        by_spikes = Polynomial().evaluate(spikes, np.zeros(2)).gradient
        by_maxima = MaxVoltageCrossEntropy().evaluate(maxima, np.zeros(2, dtype=int)).gradient
        found = simulation.backward((by_spikes, by_maxima))
        again = simulation.backward((0 * by_spikes, by_maxima))
        with pytest.raises(ValueError, match="made with observables alone"):
            simulation.run(inputs, np.zeros(2, dtype=int))
        with pytest.raises(ValueError, match=r"has shape \(1,\); it must be"):
            simulation.backward((np.zeros(1), by_maxima))
        with pytest.raises(ValueError, match="1 derivatives for 2 observables"):
            simulation.backward((by_spikes,))
        simulation.backward([by_spikes, by_maxima])  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="is not finite"):
            simulation.backward((by_spikes, np.full_like(by_maxima, np.nan)))
        with pytest.raises(ValueError, match="must be 0 where a spike time is inf"):
            simulation.backward((np.ones_like(by_spikes), by_maxima))
        simulation.forward(inputs, gradient=False)
        with pytest.raises(ValueError, match="no batch to differentiate"):
            simulation.backward((by_spikes, by_maxima))
    for key, value in whole.gradients.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)
    assert not np.array_equal(again["first_second_exp_synapse.w"], found["first_second_exp_synapse.w"])


@dataclass(frozen=True)
class Final(Observable):
    """The value of a state at the end of the trial, ``(trials, n)``: all that a new observable takes."""

    variable: str = "v"

    def primitive(self, network: Network) -> Primitive:
        return Samples(self.population, self.variable, network.duration).primitive(network)

    def read(self, values: np.ndarray) -> np.ndarray:
        return values[:, :, -1]

    def pull(self, values: np.ndarray, derivative: np.ndarray) -> np.ndarray:
        return derivative[:, :, None]


class SquaredEnd(Loss):
    observes = Final()

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        return LossValue(float((observed**2).sum()), 2 * observed)


@on_both
def test_a_new_observable_is_one_class(target: str) -> None:
    net, inputs = network(7)
    assert_reference(net, inputs, SquaredEnd(), target)


def test_a_grid_reads_a_new_observable_too() -> None:
    net, inputs = network(7)
    targets = np.zeros(2)
    with GridSimulation(net, SquaredEnd(), batch_size=2, dt=0.01 * MS) as grid:
        coarse = grid.run(inputs, targets)
    with Simulation(net, SquaredEnd(), batch_size=2) as simulation:
        exact = simulation.run(inputs, targets)
    np.testing.assert_allclose(coarse.loss, exact.loss, rtol=0.05)
    with pytest.raises(ValueError, match="a time grid reads the output population 'out' alone, not 'first'"):
        GridSimulation(net, Of("first"), batch_size=2)
    with pytest.raises(ValueError, match="the loss reads 2 observables, and a time grid one"):
        GridSimulation(net, EarlyAndHigh(), batch_size=2)


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        ([Maxima(), Maxima(variable="I_syn")], "a simulation watches the maxima of one state of one population"),
        ([Maxima("nobody")], "the loss reads population 'nobody', which is none of .*; there is first, out, second"),
        ([Maxima("first")], "which the reset of the spiking population 'first' bounds"),
        ([SpikeTimes()], "the loss reads spike times, but population 'out'"),
        ([Maxima(variable="u")], "which is no state of leaky_integrator.*; there is I_syn, v"),
        ([Samples(interval=1.0)], "expected a positive time not longer than the trial"),
        ([], "expected a Loss, such as"),
        ("v", "expected a Loss, such as"),
        ([Maxima(), "v"], "expected a Loss, such as"),
        (Maxima, "expected a Loss, such as"),
    ],
)
def test_what_cannot_be_read_is_refused(seen: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Simulation(network(1)[0], seen)


@on_both
def test_a_run_depends_on_its_arguments_alone(target: str) -> None:
    net, inputs = network(6, delay="common")
    loss, targets = MaxVoltageCrossEntropy(), np.array([0, 1])
    key = {"weights": "first_second_exp_synapse.w", "delay": "b_first_exp_synapse.delay", "parameter": "first.tau_m"}
    own = net.trainable()
    other = {kind: {k: np.asarray(own[k]) * 1.1} for kind, k in key.items()}
    other["all"] = {k: np.asarray(v) * 1.01 for k, v in own.items()}
    other["bad"] = {key["parameter"]: np.asarray(-1e-3)}
    with Simulation(net, loss, batch_size=2, target=target) as simulation:  # type: ignore[arg-type]

        def run(values: dict[str, np.ndarray] | None) -> dict[str, np.ndarray]:
            outcome = simulation.run(inputs, targets, values)
            return {"loss": np.asarray(outcome.loss), **outcome.gradients}

        plain = {}
        for kind, values in other.items():
            if kind != "bad":
                with Simulation(net, loss, batch_size=2, target=target) as fresh:  # type: ignore[arg-type]
                    outcome = fresh.run(inputs, targets, values)
                plain[kind] = {"loss": np.asarray(outcome.loss), **outcome.gradients}
        first = run(None)
        rng = np.random.default_rng(0)
        kinds = [*other, "none"]
        for kind in rng.choice(kinds, 30):
            if kind == "bad":
                with pytest.raises(ValueError, match="must be more than 0"):
                    run(other["bad"])
                continue
            found, expected = (run(None), first) if kind == "none" else (run(other[kind]), plain[kind])
            assert found.keys() == expected.keys()
            for k, value in expected.items():
                np.testing.assert_array_equal(found[k], value, err_msg=f"{kind}: {k}")
        assert simulation.network is net


@COMPILER
def test_training_in_the_program_leaves_the_network_as_it_is() -> None:
    from snnmodels.optimisers import Adam

    net, inputs = network(6)
    net = dataclasses.replace(
        net, populations=tuple(dataclasses.replace(p, learnable=()) for p in net.populations)
    )
    targets = np.array([0, 1])
    with Simulation(net, MaxVoltageCrossEntropy(), batch_size=2, target="cpp_standalone") as simulation:
        before = simulation.run(inputs, targets)
        values = {k: np.array(v) for k, v in net.trainable().items()}
        assert simulation.fits(Adam(1e-2), values)
        simulation.fit([(inputs, targets)] * 3, values, Adam(1e-2))
        assert simulation.run(inputs, targets, values).loss != before.loss
        after = simulation.run(inputs, targets)
    assert after.loss == before.loss
    for k, value in before.gradients.items():
        np.testing.assert_array_equal(after.gradients[k], value, err_msg=k)


def test_a_factor_changes_no_shapes() -> None:
    """On the grid, too: what a loss with a factor reads is what the loss reads."""
    net, inputs = network(6)
    data = Trials(inputs, np.array([0, 1]))
    kept = []
    for loss in (MaxVoltageCrossEntropy(), 2.0 * MaxVoltageCrossEntropy()):
        for source in (Simulation(net, loss, batch_size=2), GridSimulation(net, loss, batch_size=2, dt=0.1 * MS)):
            with source:
                for size in (1, 2):
                    found = evaluate(source, data, batch_size=size)
                    assert found.output.shape == (2, 2)
                    kept.append(found.loss)
    np.testing.assert_allclose(kept[4:], 2 * np.array(kept[:4]), rtol=1e-12)


class Listed(SquaredEnd):
    observes = [Final()]  # type: ignore[assignment]  # noqa: RUF012

    def evaluate(self, observed: Any, targets: np.ndarray) -> LossValue:
        value = super().evaluate(observed[0], targets)
        return LossValue(value.value, (value.gradient,))  # type: ignore[arg-type]


def test_observables_may_be_listed() -> None:
    net, inputs = network(7)
    for make in (Simulation, lambda *a, **k: GridSimulation(*a, **k, dt=0.1 * MS)):
        with make(net, SquaredEnd(), batch_size=2) as one, make(net, Listed(), batch_size=2) as other:
            plain, listed = (s.run(inputs, np.zeros(2)) for s in (one, other))
        assert plain.loss == listed.loss
        np.testing.assert_array_equal(plain.output, listed.output[0])


class Unresolved(Final):
    def primitive(self, network: Network) -> Primitive:
        return Samples(self.population, self.variable, network.duration)


def test_a_primitive_need_not_be_resolved() -> None:
    net, inputs = network(7)
    with Simulation(net, [Unresolved()], batch_size=2) as one, Simulation(net, [Final()], batch_size=2) as other:
        np.testing.assert_array_equal(one.forward(inputs)[0], other.forward(inputs)[0])


class Broken(Final):
    def pull(self, values: np.ndarray, derivative: np.ndarray) -> np.ndarray:
        return derivative


class Returning(SquaredEnd):
    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        return 1.0, observed  # type: ignore[return-value]


class Named(SquaredEnd):
    observes = "v"  # type: ignore[assignment]


def test_wrong_losses_and_observables_are_named() -> None:
    net, inputs = network(7)
    with Simulation(net, Broken(), batch_size=2) as simulation:
        end = simulation.forward(inputs)
        with pytest.raises(ValueError, match=r"Broken\.pull returned shape \(2, 2\); it must be \(2, 2, 1\)"):
            simulation.backward(np.ones_like(end))
    message = r"Returning\.evaluate returned tuple; expected a LossValue"
    with Simulation(net, Returning(), batch_size=2) as simulation, pytest.raises(ValueError, match=message):
        simulation.run(inputs, np.zeros(2))
    with pytest.raises(ValueError, match=r"Named\.observes has 'v'; expected observables"):
        Simulation(net, Named(), batch_size=2)


@COMPILER
def test_training_in_the_program_keeps_what_is_no_connection() -> None:
    from snnmodels.optimisers import Adam

    net, inputs = network(6, 2.0, masked=True)
    net = dataclasses.replace(net, populations=tuple(dataclasses.replace(p, learnable=()) for p in net.populations))
    labels = np.array([0, 1])
    with Simulation(net, MaxVoltageCrossEntropy(), batch_size=2, target="cpp_standalone") as simulation:
        one, other = ({k: np.array(v) for k, v in net.trainable().items()} for _ in range(2))
        outcome = simulation.run(inputs, labels, one)
        Adam(1e-2).step(one, outcome.gradients)
        simulation.fit([(inputs, labels)], other, Adam(1e-2))
    for key, value in one.items():
        np.testing.assert_allclose(other[key], value, rtol=1e-12, err_msg=key)


def test_an_evaluation_keeps_every_observable() -> None:
    net, inputs = network(6)
    data = Trials(inputs, np.array([0, 1]))
    with Simulation(net, TTFSCrossEntropy(population="second") + MaxVoltageCrossEntropy(), batch_size=1) as simulation:
        found = evaluate(simulation, data, batch_size=1)
    assert [x.shape for x in found.output] == [(2, 3), (2, 2)]


@pytest.mark.parametrize("factor", [np.nan, np.inf])
def test_factors_are_finite(factor: float) -> None:
    with pytest.raises(ValueError, match="expected a finite number"):
        factor * SpikeTimeError()


def test_only_losses_add_up() -> None:
    with pytest.raises(TypeError):
        SpikeTimeError() + 1  # type: ignore[operator]
