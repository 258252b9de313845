"""Losses end to end: their gradients are those of the reference, and of differences of the simulated loss."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from snnmodels import oracle
from snnmodels.gradients import GridSimulation, Simulation, check_gradient
from snnmodels.losses import (
    ActivityPrice,
    ExpressionLoss,
    FirstSpikes,
    FunctionLoss,
    Integral,
    IntervalError,
    Loss,
    Samples,
    SpikeTimes,
    VanRossumDistance,
    VoltageError,
    with_integrals,
)
from snnmodels.templates import Model, Network, Population, Projection, SpikeInput, load_model
from tests.exactness.networks import EXACT, MS, NEAR, Case, assert_agrees, reference, simulated
from tests.needs import TARGETS, on_both

LIF = load_model("lif+exp_synapse")
RNG = np.random.default_rng(3)
INPUTS = {"input": np.sort(RNG.uniform(0.5, 18, (3, 4, 2)), axis=2) * MS}
WANTED = np.sort(RNG.uniform(2, 30, (3, 5, 2)), axis=2) * MS
LABELS = np.array([0, 3, 1])


def network(
    *, output: str = "hidden", duration: float = 40 * MS, model: Model = LIF, recurrent: bool = True
) -> Network:
    """Spiking neurons that excite each other, and readouts behind them; `output` is what losses read."""
    readout = load_model("leaky_integrator+exp_synapse")
    rng = np.random.default_rng(0)
    learnable = ("t_ref",) if "t_ref" in model.parameters else ()
    projections = (
        Projection("w_in", "input", "hidden", rng.uniform(1, 3, (4, 5)), learnable=("w", "delay"), delay=0.3 * MS),
        Projection("w_out", "hidden", "output", rng.uniform(-2, 2, (5, 4))),
        Projection("rec", "hidden", "hidden", rng.uniform(-1, 1.5, (5, 5)), mask=~np.eye(5, dtype=bool)),
    )
    return Network(
        "losses",
        (SpikeInput("input", 4),),
        (
            Population("hidden", 5, model, learnable=("tau_m", "v_th", "tau_syn", *learnable)),
            Population("output", 4, readout, learnable=tuple(readout.parameters)),
        ),
        projections if recurrent else projections[:2],
        output,
        duration,
    )


def of_spikes(observed: Any, targets: np.ndarray) -> tuple[float, Any]:
    """First spikes times all spikes."""
    first, times = (np.where(np.isfinite(x), x, 0.0) / (10 * MS) for x in observed)
    each, trials = (times**2).sum(axis=2), len(first)
    by_time = np.where(np.isfinite(observed[1]), 2 * times * first[:, :, None], 0.0)
    return float((first * each).sum() / trials), (
        np.where(np.isfinite(observed[0]), each, 0.0) / (10 * MS) / trials,
        by_time / (10 * MS) / trials,
    )


SPIKES: dict[str, tuple[Loss, Any]] = {
    "spike times and targets": (
        ExpressionLoss("((t - wanted)/tau)**2", {"tau": "10*ms"}, {"wanted": "second"}), WANTED,
    ),
    "a filtered rate": (
        ExpressionLoss("(sum_spikes(exp(-t/tau)) - rate)**2", {"tau": "15*ms"}, {"rate": "1"}),
        RNG.normal(1, 1, (3, 5)),
    ),
    "named targets": (
        ExpressionLoss(
            "weight*((first_spike - wanted)/tau)**2", {"tau": "10*ms"}, {"wanted": "second", "weight": "1"}
        ),
        {"wanted": WANTED[:, :, 0], "weight": np.array([1.0, 2.0, 3.0])},
    ),
    "a softmax": (
        ExpressionLoss(
            "log(sum_neurons(exp(-first_spike/tau))) + sum_neurons(is_label*first_spike/tau)", {"tau": "5*ms"}
        ),
        LABELS,
    ),
    "van Rossum": (VanRossumDistance(tau=7 * MS), WANTED),
    "van Rossum within the trial": (VanRossumDistance(tau=7 * MS, end=40 * MS), WANTED),
    "intervals": (IntervalError(tau=10 * MS), RNG.uniform(2, 9, (3, 5, 2)) * MS),
    "a function": (FunctionLoss(of_spikes, (FirstSpikes("hidden"), SpikeTimes("hidden"))), LABELS),
}
READOUTS: dict[str, tuple[Loss, Any]] = {
    "maxima": (ExpressionLoss("tanh(maximum(v))**2"), LABELS),
    "maxima and spikes": (
        ExpressionLoss("exp(maximum(v))") + ExpressionLoss("(t/tau)**2", {"tau": "10*ms"}, population="hidden"), LABELS,
    ),
    "final values": (ExpressionLoss("(final(v) - x)**3", targets={"x": "1"}), RNG.normal(0, 1, (3, 4))),
    "samples": (
        ExpressionLoss(
            "(sum_samples(sample(v)*exp(-t_sample/tau)) - 0.3)**2 + final_weight*sum_samples(sample(v)**2)",
            {"tau": "9*ms", "final_weight": [1.0, 2.0, 3.0, 4.0]},
            interval=1.7 * MS,
        ),
        LABELS,
    ),
}


def case(name: str) -> Case:
    loss, targets = {**SPIKES, **READOUTS}[name]
    return Case(network(output="hidden" if name in SPIKES else "output"), INPUTS, loss, targets)


def assert_by_differences(case: Case, target: str, **options: Any) -> None:
    report = check_gradient(
        case.network,
        **{"inputs": case.inputs, "loss": case.loss, "targets": case.labels, "target": target},  # type: ignore[arg-type]
        oracle=False,
        elements=3,
        **options,
    )
    assert report.ok, str(report)
    assert report.unresolved == ()


@on_both
@pytest.mark.parametrize("name", [*SPIKES, *READOUTS])
def test_gradients_are_those_of_the_reference(name: str, target: str) -> None:
    assert_agrees(simulated(case(name), target), reference(case(name)), EXACT)


@pytest.mark.parametrize("target", TARGETS[-1:])
@pytest.mark.parametrize("name", [*SPIKES, *READOUTS])
def test_gradients_are_those_of_the_simulated_loss(name: str, target: str) -> None:
    assert_by_differences(case(name), target)


def test_a_wrong_derivative_of_a_function_is_found() -> None:
    def wrong(observed: Any, targets: np.ndarray) -> tuple[float, Any]:
        value, (first, times) = of_spikes(observed, targets)
        return value, (first, 1.001 * times)

    loss = dataclasses.replace(SPIKES["a function"][0], function=wrong)  # type: ignore[type-var]
    report = check_gradient(network(), inputs=INPUTS, loss=loss, targets=LABELS, oracle=False, elements=2)
    assert report.failures


# --- several things at once -------------------------------------------------------------------------------------------


def several(hidden: str) -> tuple[Loss, Any]:
    """Spikes, samples and final values of spiking neurons, and maxima and samples of two states of what they drive."""
    tau = {"tau": "10*ms"}
    of_hidden = ExpressionLoss(
        "final(v)*(sum_spikes(t/tau) + 1) + sum_samples(sample(I_syn)**2)", tau, population="hidden", interval=3.7 * MS
    )
    of_output = ExpressionLoss("maximum(v)**2*sum_samples(sample(I_syn)*sin(t_sample/tau)) + final(v)", tau)
    return 0.5 * of_hidden + of_output + ExpressionLoss(hidden, population="hidden", interval=2.9 * MS), LABELS


SEVERAL = ["sample(v)**2", "final(I_syn)*first_spike/(1 + sum_samples(sample(v)**2))"]


def together(hidden: str, **options: Any) -> Case:
    loss, targets = several(hidden)
    return Case(network(output="output", **options), INPUTS, loss, targets)


@on_both
@pytest.mark.parametrize("hidden", SEVERAL)
def test_several_states_of_several_populations(hidden: str, target: str) -> None:
    case = together(hidden)
    assert_agrees(simulated(case, target), reference(case), EXACT)


@on_both
@pytest.mark.parametrize("recurrent", [False, True])
def test_states_of_refractory_neurons(recurrent: bool, target: str) -> None:
    """What goes on and what is held: an integral, samples and final values, with the spikes."""
    loss = ExpressionLoss(
        "(integral(v + b*I_syn)/tau)**2 + final(v)*final(I_syn) + sum_samples(sample(v)*sample(I_syn))",
        {"tau": "30*ms", "b": 0.3},
        population="hidden",
        interval=2.3 * MS,
    )
    loss_of_both = loss + ExpressionLoss("(t/s)**2", {"s": "20*ms"}, population="hidden")
    net = network(output="output", model=load_model("lif+exp_synapse+refractory"), recurrent=recurrent)
    case = Case(net, INPUTS, loss_of_both, LABELS)
    expected = oracle.gradient(net, INPUTS, loss_of_both, LABELS, method="matrix-exponential")
    found = simulated(case, target)
    assert_agrees(found, expected, EXACT)
    assert np.abs(found.outcome.gradients["hidden.t_ref"]) > 0


@pytest.mark.parametrize("target", TARGETS[-1:])
def test_several_states_by_differences(target: str) -> None:
    assert_by_differences(together(SEVERAL[0]), target)


@pytest.mark.parametrize("target", TARGETS[-1:])
def test_samples_change_nothing_but_pieces(target: str) -> None:
    """Threads, another window, and a loss that reads less: the same numbers."""
    whole = simulated(together(SEVERAL[0]), target)
    for options in ({"threads": 3}, {"window": 2e-3}):
        other = simulated(together(SEVERAL[0]), target, **options)
        for key, value in whole.outcome.gradients.items():
            np.testing.assert_allclose(other.outcome.gradients[key], value, rtol=0, atol=1e-11 * np.abs(value).max())


@on_both
def test_an_error_of_readouts_and_a_price_on_activity(target: str) -> None:
    """Each acts as if alone: exact for the readouts, a surrogate for the spikes."""
    error = VoltageError(interval=2 * MS)
    price = ActivityPrice("latency", population="hidden", price=1e-2)
    targets = RNG.normal(0, 0.3, (3, 4, 20))
    case = Case(network(output="output"), INPUTS, error + price, targets)
    both, one, other = (simulated(case._replace(loss=loss), target).outcome for loss in (error + price, error, price))
    assert both.loss == pytest.approx(one.loss + 1e-2 * both.spikes["hidden"], rel=1e-12)
    for key, value in both.gradients.items():
        assert_close(value, one.gradients[key] + other.gradients[key])
    assert np.abs(other.gradients["w_in.w"]).max() > 0
    assert_agrees(simulated(case._replace(loss=error), target), reference(case._replace(loss=error)), EXACT)


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13 * max(1.0, np.abs(expected).max()))


# --- integrals --------------------------------------------------------------------------------------------------------

LINEAR = {
    "of a readout": ExpressionLoss("(integral(v)/tau - 0.3)**2", {"tau": "10*ms"}),
    "of a spiking neuron": ExpressionLoss(
        "exp(integral(v - v_rest + a*I_syn)/tau)",
        {"tau": "100*ms", "a": [0.5, 1.0, 1.5, 2.0, 3.0]},
        population="hidden",
    ),
}
SQUARED = {
    "of a readout": ExpressionLoss("integral((v - v_target)**2)/tau", {"tau": "10*ms", "v_target": 0.25}),
    "of spiking neurons, with their spikes": ExpressionLoss(
        "integral(v**2/(1 + v**2))/tau + (t/tau)**2", {"tau": "10*ms"}, population="hidden"
    ),
    "of both, and others": ExpressionLoss("tanh(integral(v**2)/tau)*maximum(v)", {"tau": "10*ms"})
    + ExpressionLoss("integral(I_syn*v)/tau*integral(v**2)/tau + final(v)", {"tau": "10*ms"}, population="hidden"),
}


@on_both
@pytest.mark.parametrize("name", LINEAR)
def test_integrals_of_linear_expressions_are_exact(name: str, target: str) -> None:
    case = Case(network(output="output"), INPUTS, LINEAR[name], LABELS)
    expected = oracle.gradient(case.network, INPUTS, case.loss, LABELS, method="matrix-exponential")
    assert_agrees(simulated(case, target), expected, EXACT)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS[-1:])
@pytest.mark.parametrize("name", SQUARED)
def test_integrals_of_other_expressions(name: str, target: str) -> None:
    case = Case(network(output="output"), INPUTS, SQUARED[name], LABELS)
    found = simulated(case, target)
    expected = oracle.gradient(case.network, INPUTS, case.loss, LABELS, method="runge-kutta")
    assert_agrees(found, expected, NEAR)
    assert_by_differences(case, target, flow_tolerance=1e-13)  # so that differences resolve enough


def test_an_integral_in_numpy() -> None:
    case = Case(network(output="output", duration=20 * MS), {"input": INPUTS["input"][:1]}, SQUARED["of a readout"])
    case = case._replace(targets=LABELS[:1])
    found = simulated(case)
    expected = oracle.gradient(case.network, case.inputs, case.loss, case.labels, method="runge-kutta")
    assert_agrees(found, expected, NEAR)


@pytest.mark.parametrize("target", TARGETS[-1:])
def test_an_integral_is_what_quadrature_gives(target: str) -> None:
    """Of the sampled potential of a spiking neuron, by the trapezium rule between its spikes."""
    net, interval = network(output="hidden"), 0.005 * MS
    reads = [Integral("hidden", "v**2"), Samples("hidden", "v", interval), SpikeTimes("hidden")]
    with Simulation(net, reads, batch_size=3, target=target) as simulation:  # type: ignore[arg-type]
        integrals, samples, spikes = simulation.forward(INPUTS)
    assert np.isfinite(spikes).sum() > 10
    padded = np.concatenate([np.zeros((3, 5, 1)), samples], axis=2) ** 2
    rule = (padded[:, :, 1:] + padded[:, :, :-1]).sum(axis=2) / 2 * interval
    np.testing.assert_allclose(integrals, rule, rtol=2e-3, atol=0)
    assert integrals.shape == (3, 5)


def test_a_network_is_given_back_as_it_was() -> None:
    net = network(output="output")
    with Simulation(net, SQUARED["of a readout"], batch_size=3) as simulation:
        assert simulation.network is net
        assert any(s.name.startswith("integral_") for s in simulation.plan.network.populations[1].model.states)
    assert with_integrals(net, LINEAR["of a readout"].observables) is not net
    assert with_integrals(net, (SpikeTimes("hidden"),)) is net


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (ExpressionLoss("integral(v*u)"), "'u' is neither a state or parameter of .* nor a constant"),
        (ExpressionLoss("integral(v - tau_m)"), r"integral\(v - tau_m\)"),
        (ExpressionLoss("integral(exp(-t))"), "'t' is neither a state"),
        (ExpressionLoss("integral(v*tau_m)", {"tau_m": 1.0}), "'tau_m' is a constant, and also a variable"),
        (ExpressionLoss("integral(v) + final(v)"), r"the loss 'integral\(v\) \+ final\(v\)'"),
    ],
)
def test_integrals_that_are_none(loss: Loss, message: str) -> None:
    for make in (Simulation, GridSimulation):
        with pytest.raises(ValueError, match=message):
            make(network(output="output"), loss)  # type: ignore[operator]


def test_integrals_of_targets_and_on_a_grid() -> None:
    with pytest.raises(ValueError, match="names the target 'x'; the model that is integrated is the same"):
        ExpressionLoss("integral((v - x)**2)", targets={"x": "1"})
    with pytest.raises(ValueError, match="which has no derivative everywhere"):
        ExpressionLoss("integral(v > 1)")
    with pytest.raises(ValueError, match="a Simulation and the reference add it, a time grid does not"):
        GridSimulation(without_delay(network(output="output")), ExpressionLoss("integral(v)"), batch_size=1)


def without_delay(net: Network) -> Network:
    at_once = (dataclasses.replace(q, delay=0.0, learnable=("w",)) for q in net.projections)
    return dataclasses.replace(net, projections=tuple(at_once))
