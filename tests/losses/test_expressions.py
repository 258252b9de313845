"""Losses written as expressions: values by hand, derivatives by differences, what can't be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from brian2 import ms

from snnmodels.datasets import Trials, named_targets
from snnmodels.losses import (
    ExpressionLoss,
    FinalValues,
    FirstSpikes,
    FunctionLoss,
    LossValue,
    Maxima,
    MaxVoltageCrossEntropy,
    Samples,
    SpikeTimeError,
    SpikeTimes,
    TTFSCrossEntropy,
    VoltageError,
)
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model

INF, MS = np.inf, 1e-3
TIMES = MS * np.array(
    [
        [[5.0, 9.0], [5.3, INF], [6.1, 8.0]],
        [[7.0, INF], [6.0, INF], [INF, INF]],
        [[INF, INF], [INF, INF], [12.0, 20.0]],
        [[11.0, 30.0], [11.4, INF], [10.7, 11.0]],
    ]
)
WANTED = MS * np.array(
    [
        [[5.5, 8.0], [INF, INF], [6.0, INF]],
        [[7.0, 9.0], [6.4, INF], [3.0, INF]],
        [[2.0, INF], [4.0, 5.0], [12.5, 19.0]],
        [[10.0, INF], [11.4, INF], [10.0, 12.0]],
    ]
)
LABELS = np.array([0, 1, 2, 1])
RNG = np.random.default_rng(5)
VALUES = RNG.normal(0.4, 0.7, (4, 3))
SAMPLES = RNG.normal(0.4, 0.7, (4, 3, 6))
SIGNAL = RNG.normal(0.4, 0.7, (4, 3, 6))


def differences(value: Callable[[tuple[np.ndarray, ...]], float], seen: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """Derivatives by the five-point stencil at all finite entries of each array."""
    found = []
    for which, x in enumerate(seen):
        gradient, h = np.zeros_like(x), 1e-3 * np.abs(x[np.isfinite(x)]).max()
        for i in zip(*np.nonzero(np.isfinite(x)), strict=True):
            for factor, step in ((8, h), (-8, -h), (-1, 2 * h), (1, -2 * h)):
                changed = [y.copy() for y in seen]
                changed[which][i] += step
                gradient[i] += factor * value(tuple(changed)) / (12 * h)
        found.append(gradient)
    return found


def given(seen: tuple[np.ndarray, ...]) -> Any:
    return seen if len(seen) > 1 else seen[0]


CASES: dict[str, tuple[ExpressionLoss, tuple[np.ndarray, ...], Any]] = {
    "times": (ExpressionLoss("(t/tau)**2 * exp(-t/tau)", {"tau": 5 * ms}), (TIMES,), LABELS),
    "times and targets": (
        ExpressionLoss("((t - wanted)/tau)**2", {"tau": "1*ms"}, {"wanted": "second"}), (TIMES,), WANTED,
    ),
    "first spikes": (ExpressionLoss("tanh(first_spike/tau)", {"tau": "9*ms"}), (TIMES[:, :, 0],), LABELS),
    "filtered rate": (
        ExpressionLoss("(sum_spikes(exp(-t/tau)) - rate)**2", {"tau": "9*ms"}, {"rate": "1"}), (TIMES,), VALUES,
    ),
    "all spikes together": (
        ExpressionLoss("log(1 + sum_neurons(sum_spikes(t/tau))**2)", {"tau": "9*ms"}), (TIMES,), LABELS,
    ),
    "maxima": (ExpressionLoss("a*(maximum(v) - 1)**3", {"a": [1.0, 2.0, 0.5]}), (VALUES,), LABELS),
    "final values": (ExpressionLoss("final(v)**2/(1 + final(v)**2)"), (VALUES,), LABELS),
    "samples": (
        ExpressionLoss("(sample(v) - x)**2 * exp(-t_sample/tau)", {"tau": "3*ms"}, {"x": "1"}), (SAMPLES,), SIGNAL,
    ),
    "spikes, a maximum and a target of each trial": (
        ExpressionLoss("maximum(v)*sum_spikes(sin(t/tau)) + c*maximum(v)", {"tau": "9*ms"}, {"c": "1"}),
        (VALUES, TIMES),
        np.arange(4.0),
    ),
    "spikes weighted by a maximum": (
        ExpressionLoss("maximum(v)*sin(t/tau)", {"tau": "9*ms"}), (VALUES, TIMES), LABELS,
    ),
    "several targets": (
        ExpressionLoss("b*(sum_samples(sample(v)*x) - c)**2", targets={"x": "1", "b": "1", "c": "1"}),
        (SAMPLES,),
        named_targets({"x": SIGNAL, "b": np.arange(4.0), "c": VALUES}),
    ),
    "a cross-entropy": (
        ExpressionLoss("log(sum_neurons(exp(maximum(v)))) - sum_neurons(is_label*maximum(v))", score="maximum(v)"),
        (VALUES,),
        LABELS,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_derivatives_are_those_of_the_value(case: tuple[ExpressionLoss, tuple[np.ndarray, ...], Any]) -> None:
    loss, seen, targets = case
    assert len(loss.observables) == len(seen)
    found = loss.evaluate(given(seen), targets)
    gradients = found.gradient if len(seen) > 1 else (found.gradient,)
    expected = differences(lambda x: loss.evaluate(given(x), targets).value, seen)
    for gradient, wanted, x in zip(gradients, expected, seen, strict=True):
        assert np.abs(wanted).max() > 0
        np.testing.assert_allclose(gradient, wanted, rtol=1e-7, atol=1e-8 * np.abs(wanted).max())
        np.testing.assert_array_equal(np.asarray(gradient)[~np.isfinite(x)], 0)


def test_by_hand() -> None:
    loss, seen, targets = CASES["times and targets"]
    both = np.isfinite(TIMES) & np.isfinite(WANTED)
    deviation = ((TIMES[both] - WANTED[both]) / MS) ** 2
    assert loss.evaluate(seen[0], targets).value == pytest.approx(deviation.sum() / 4, rel=1e-14)
    loss, seen, _ = CASES["spikes weighted by a maximum"]
    there = np.isfinite(TIMES)
    value = (VALUES[:, :, None] * np.sin(np.where(there, TIMES, 0) / (9 * MS)) * there).sum() / 4
    assert loss.evaluate(seen, LABELS).value == pytest.approx(value, rel=1e-13)


def test_the_losses_of_the_package_can_be_written_so() -> None:
    entropy = ExpressionLoss(
        "log(sum_neurons(exp(maximum(v)))) - sum_neurons(is_label*maximum(v))", score="maximum(v)"
    )
    same(entropy, MaxVoltageCrossEntropy(), VALUES, LABELS)
    first = TIMES.copy()
    first[2, 0, 0] = first[1, 2, 0] = first[2, 1, 0] = 19 * MS
    written = ExpressionLoss(
        "log(sum_neurons(exp(-first_spike/tau0)))"
        " + sum_neurons(is_label*(first_spike/tau0 + alpha*(exp(first_spike/tau1) - 1)))",
        {"tau0": 0.5 * ms, "tau1": 6.4 * ms, "alpha": 3e-3},
        score="-first_spike",
    )
    expected = TTFSCrossEntropy().evaluate(first, LABELS)
    same(written, LossValue(expected.value, expected.gradient[:, :, 0], expected.predictions), first[:, :, 0], LABELS)  # type: ignore[call-overload]
    error = ExpressionLoss("(sample(v) - x)**2/samples", {"samples": 6}, {"x": "1"})
    same(error, VoltageError(), SAMPLES, SIGNAL)
    times = np.sort(RNG.uniform(0, 20 * MS, (4, 3, 2)), axis=2)
    wanted = np.sort(RNG.uniform(0, 20 * MS, (4, 3, 2)), axis=2)
    spikes = ExpressionLoss("((t - wanted)/tau)**2/6", {"tau": "1*ms"}, {"wanted": "second"})
    same(spikes, SpikeTimeError(), times, wanted)


def same(loss: ExpressionLoss, other: Any, seen: np.ndarray, targets: np.ndarray) -> None:
    expected = other if isinstance(other, LossValue) else other.evaluate(seen, targets)
    found = loss.evaluate(seen, targets)
    assert found.value == pytest.approx(expected.value, rel=1e-12)
    np.testing.assert_allclose(found.gradient, expected.gradient, rtol=1e-11, atol=1e-13)
    if expected.predictions is not None:
        np.testing.assert_array_equal(found.predictions, expected.predictions)


def test_what_is_read() -> None:
    loss = ExpressionLoss("sum_spikes(t)*maximum(v) + sum_samples(sample(u)) + final(v)*first_spike", interval=2e-3)
    assert loss.observes == (
        SpikeTimes(),
        Maxima(variable="v"),
        Samples(variable="u", interval=2e-3),
        FinalValues(variable="v"),
        FirstSpikes(),
    )
    assert ExpressionLoss("t", population="hidden").observes == SpikeTimes("hidden")


def test_trials_without_a_spike_are_counted() -> None:
    times = TIMES.copy()
    times[1] = INF
    assert CASES["times"][0].silent_trials(times, LABELS) == 1
    assert CASES["first spikes"][0].silent_trials(times[:, :, 0], LABELS) == 1
    found = CASES["first spikes"][0]
    assert ExpressionLoss(found.expression, found.constants, score="-first_spike").evaluate(  # type: ignore[index]
        times[:, :, 0], LABELS
    ).predictions[1] == -1


def test_spikes_that_are_asked_for_are_missed_though_others_are_there() -> None:
    times = np.array([[[1e-3, 2e-3], [INF, INF]], [[1e-3, INF], [3e-3, 4e-3]], [[1e-3, INF], [1e-3, INF]]])
    by_label = ExpressionLoss("is_label*first_spike/tau", TAU)
    assert by_label.silent_trials(times[:, :, 0], np.array([1, 1, 0])) == 1
    assert by_label.silent_trials(times[:, :, 0], np.array([0, 0, 0])) == 0
    by_time = ExpressionLoss("((t - wanted)/tau)**2", TAU, {"wanted": "second"})
    wanted = np.array([[[2e-3, INF], [INF, INF]], [[2e-3, INF], [2e-3, 3e-3]], [[2e-3, 3e-3], [INF, INF]]])
    assert by_time.silent_trials(times, wanted) == 1  # the second spike of the last trial
    assert by_time.silent_trials(times, wanted[:, :, 0]) == 0  # any spikes of those neurons that have a target
    assert by_time.silent_trials(times, np.full(3, 2e-3)) == 0
    assert by_time.silent_trials(np.full((3, 2, 0), INF), wanted) == 3
    assert by_time.silent_trials(np.full((3, 2, 0), INF), np.full((3, 2, 1), INF)) == 0
    # a number of spikes may be 0, and asks for none
    counted = ExpressionLoss("(sum_spikes(exp(-t/tau)) - much)**2", TAU, {"much": "1"})
    assert counted.silent_trials(times, np.zeros((3, 2))) == 0


TAU = {"tau": "1*ms"}
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "an unknown name": (lambda: ExpressionLoss("(t - t_target)**2"), "unknown name 't_target'; there is first_spike"),
    "a bare state": (lambda: ExpressionLoss("t*v"), r"unknown name 'v'; .*a state is read as in maximum\(v\)"),
    "an unknown function": (lambda: ExpressionLoss("maximal(v)"), "calls 'maximal', which is unknown; did you mean"),
    "an attribute": (lambda: ExpressionLoss("t.real"), "'t.real'"),
    "a function with a corner": (lambda: ExpressionLoss("abs(t)"), r"abs has a corner .* within integral\(...\) alone"),
    "a function with a short name": (lambda: ExpressionLoss("min(t)"), "which is unknown; there is arctan, "),
    "a call of a method": (lambda: ExpressionLoss("t.sum()"), "calls 't.sum', which is unknown"),
    "code": (lambda: ExpressionLoss("__import__('os').getcwd()"), "calls .*, which is unknown"),
    "a comparison": (lambda: ExpressionLoss("t > 3"), "'t > 3', which has no derivative everywhere"),
    "no expression": (lambda: ExpressionLoss("t +"), "is not an expression"),
    "a number": (lambda: ExpressionLoss(3), "expression is 3; expected text"),  # type: ignore[arg-type]
    "nothing read": (lambda: ExpressionLoss("tau", TAU), "reads nothing of the network"),
    "a count": (lambda: ExpressionLoss("sum_spikes(1)*t"), "to count spikes, see CountError"),
    "what vanishes": (lambda: ExpressionLoss("t - t + maximum(v)"), "does not depend on t, which it names"),
    "a sum over neurons of spikes": (lambda: ExpressionLoss("sum_neurons(t)"), "for each spike; sum over these first"),
    "a sum over spikes of a maximum": (lambda: ExpressionLoss("sum_spikes(maximum(v))"), "for each neuron"),
    "spikes times samples": (lambda: ExpressionLoss("t*sample(v)"), "combines single spikes with single samples"),
    "two arguments": (lambda: ExpressionLoss("maximum(v, u)"), "maximum takes one argument"),
    "an expression in a maximum": (lambda: ExpressionLoss("maximum(v**2)"), r"takes a state, as in maximum\(v\)"),
    "an unused constant": (lambda: ExpressionLoss("t", TAU), "'tau' is given but not used"),
    "an unused target": (lambda: ExpressionLoss("t", targets={"x": "1"}), "'x' is given but not used"),
    "a taken name": (lambda: ExpressionLoss("t", {"t": 1}), "'t' means something in every loss already"),
    "a name of two things": (lambda: ExpressionLoss("t*x", {"x": 1}, {"x": "1"}), "both a constant and a target"),
    "a private name": (lambda: ExpressionLoss("t*_x", {"_x": 1}), "'_x' is no name for a constant"),
    "a unit that is none": (lambda: ExpressionLoss("t*x", targets={"x": "ms"}), "'ms' is not a unit"),
    "a constant in words": (lambda: ExpressionLoss("t*x", {"x": "long"}), "'long' is not a unit"),
    "a constant that is nothing": (lambda: ExpressionLoss("t*x", {"x": None}), "it is None; expected numbers"),
    "an infinite constant": (lambda: ExpressionLoss("t*x", {"x": INF}), "it is inf; expected a finite number"),
    "a score of spikes": (lambda: ExpressionLoss("t", score="t"), "for each neuron, got one for each spike"),
    "an interval in words": (lambda: ExpressionLoss("t", interval="a"), "interval: expected a finite number"),  # type: ignore[arg-type]
    "a constant for other neurons": (
        lambda: ExpressionLoss("t*a", {"a": [1.0, 2.0]}).evaluate(TIMES, LABELS), r"constant 'a' has shape \(2,\)",
    ),
    "targets of other neurons": (
        lambda: CASES["filtered rate"][0].evaluate(TIMES, VALUES[:, :2]), r"target 'rate' has shape \(4, 2\)",
    ),
    "targets of spikes where neurons are compared": (
        lambda: CASES["filtered rate"][0].evaluate(TIMES, TIMES), "'rate' has a value for every spike or sample",
    ),
    "targets of other samples": (
        lambda: CASES["samples"][0].evaluate(SAMPLES, SIGNAL[:, :, :3]),
        "'x' has 3 values for each neuron and 6 samples",
    ),
    "one array for several targets": (
        lambda: CASES["several targets"][0].evaluate(SAMPLES, SIGNAL), "expected a mapping with 'x'",
    ),
    "a target that is missing": (
        lambda: CASES["several targets"][0].evaluate(SAMPLES, named_targets({"x": SIGNAL, "y": VALUES})),
        "'b', which the loss reads, is missing",
    ),
    "labels that are none": (
        lambda: CASES["a cross-entropy"][0].evaluate(VALUES, np.full(4, 7)), "label 7 is out of range",
    ),
    "a logarithm of what is negative": (
        lambda: ExpressionLoss("log(final(v))").evaluate(-np.abs(VALUES), LABELS), "its value is not finite in trial 0",
    ),
    "a root at 0": (
        lambda: ExpressionLoss("sqrt(final(v))").evaluate(0 * VALUES, LABELS), "its derivative by .* is not finite",
    ),
    "no names": (lambda: named_targets({}), "expected at least one name"),
    "targets of other trials": (
        lambda: named_targets({"a": np.zeros(2), "b": np.zeros(3)}), "same number of trials .* 2 of 'a', 3 of 'b'",
    ),
    "ragged targets": (lambda: named_targets({"a": [[1], [1, 2]]}), "rows of unequal length"),
    "a single target": (lambda: named_targets({"a": 1.0}), "expected one for each trial, got a single one"),
    "targets in words": (lambda: named_targets({"a": ["x"]}), "expected plain numbers in SI units"),
    "targets with units": (lambda: named_targets({"a": [1, 2] * ms}), "expected plain numbers in SI units"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_a_loss_is_told_in_one_line(what: str) -> None:
    make, message = REFUSED[what]
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
    assert "_r0" not in str(caught.value)


def network(model: str = "lif+exp_synapse") -> Network:
    return Network(
        "small",
        (SpikeInput("in", 2),),
        (Population("p", 3, load_model(model)),),
        (Projection("q", "in", "p", np.ones((2, 3))),),
        "p",
        30 * MS,
    )


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (ExpressionLoss("exp(-t/5)"), "exp"),
        (ExpressionLoss("t - 1"), r"t - 1"),
        (ExpressionLoss("t - final(v)"), r"the loss 't - final\(v\)'"),
        (ExpressionLoss("(t - x)**2", targets={"x": "1"}), "the loss"),
        (ExpressionLoss("final(u)"), "has no state 'u'; there is I_syn, v"),
    ],
)
def test_units_are_those_of_the_network(loss: ExpressionLoss, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss.check(network())
    with pytest.raises(ValueError, match=message):
        (0.5 * loss + SpikeTimeError()).check(network())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_units_that_fit(case: tuple[ExpressionLoss, Any, Any]) -> None:
    case[0].check(network())


def test_named_targets_are_taken_in_batches() -> None:
    named = {"x": SIGNAL, "label": LABELS}
    trials = Trials({"in": TIMES}, named)  # type: ignore[arg-type]
    _, batch = trials.take(np.array([2, 0]))
    np.testing.assert_array_equal(batch["x"], SIGNAL[[2, 0]])
    np.testing.assert_array_equal(batch["label"], LABELS[[2, 0]])
    assert len(trials) == 4


def test_a_function_with_its_derivative() -> None:
    def product(observed: Any, targets: np.ndarray) -> tuple[float, Any]:
        first, high = observed
        there = np.isfinite(first)
        times = np.where(there, first, 0.0)
        return float((times * high).sum()), (high * there, times)

    seen = (TIMES[:, :, 0], VALUES)
    loss = FunctionLoss(product, (FirstSpikes(), Maxima()), predict=lambda x: x[1].argmax(axis=1))
    found = loss.evaluate(seen, LABELS)
    expected = differences(lambda x: loss.evaluate(x, LABELS).value, seen)
    for gradient, wanted in zip(found.gradient, expected, strict=True):
        np.testing.assert_allclose(gradient, wanted, rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(found.predictions, VALUES.argmax(axis=1))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (3.0, r"expected a tuple \(loss, derivative\), got float"),
        ((np.zeros(2), np.zeros_like(VALUES)), "expected the loss to be one finite number"),
        ((np.nan, np.zeros_like(VALUES)), "expected the loss to be one finite number"),
        ((1.0, np.zeros(3)), r"expected a derivative of shape \(4, 3\)"),
        ((1.0, np.full_like(VALUES, np.nan)), "is NaN or inf for 12 values"),
        ((1.0, np.ones_like(VALUES)), "must be 0 where a spike time is inf"),
        ((1.0, None), "derivative by .* is None; expected numbers"),
    ],
)
def test_what_a_function_returns_is_checked(returned: Any, message: str) -> None:
    seen = VALUES.copy()
    seen[0, 0] = INF
    with pytest.raises(ValueError, match=message):
        FunctionLoss(lambda x, targets: returned, FirstSpikes()).evaluate(seen, LABELS)


def test_classes_of_a_function_are_checked() -> None:
    loss = FunctionLoss(lambda x, targets: (0.0, 0 * x), Maxima(), predict=lambda x: x[:, 0])
    with pytest.raises(ValueError, match="predict: expected 4 integers, got float64"):
        loss.evaluate(VALUES, LABELS)
