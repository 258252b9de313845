"""Losses: values by hand, derivatives by central differences, errors."""

import numpy as np
import pytest
from brian2 import ms, volt

from snnmodels.losses import (
    CountError,
    ExpressionLoss,
    MaxVoltageCrossEntropy,
    SpikeTimeError,
    SpikeTimeFunction,
    TTFSCrossEntropy,
    VanRossumDistance,
    VoltageError,
)
from snnmodels.losses.observables import Samples

INF = np.inf
MS = 1e-3


def differences(value, x, h):
    """Derivative by the five-point stencil (error h^4) at the finite entries of x, 0 elsewhere."""
    gradient = np.zeros_like(x)
    for i in zip(*np.nonzero(np.isfinite(x)), strict=True):
        for factor, step in ((8, h), (-8, -h), (-1, 2 * h), (1, -2 * h)):
            y = x.copy()
            y[i] += step
            gradient[i] += factor * value(y)
        gradient[i] /= 12 * h
    return gradient


@pytest.fixture
def times():
    """Four trials of three neurons, up to two spikes, some silent; the label neurons of `LABELS` spike."""
    return MS * np.array(
        [
            [[5.0, 9.0], [5.3, INF], [6.1, 8.0]],
            [[7.0, INF], [6.0, INF], [INF, INF]],
            [[INF, INF], [INF, INF], [12.0, 20.0]],
            [[11.0, 30.0], [11.4, INF], [10.7, 11.0]],
        ]
    )


LABELS = np.array([0, 1, 2, 1])


def test_ttfs_by_hand():
    loss = TTFSCrossEntropy(tau0=1 * MS, tau1=10 * MS, alpha=0.1)
    times = MS * np.array([[[2.0], [3.0]]])
    result = loss.evaluate(times, np.array([0]))
    p0 = 1 / (1 + np.exp(-1))
    assert result.value == pytest.approx(-np.log(p0) + 0.1 * (np.exp(0.2) - 1), rel=1e-14)
    expected = [(1 - p0) / MS + 0.1 / (10 * MS) * np.exp(0.2), -(1 - p0) / MS]
    np.testing.assert_allclose(result.gradient[0, :, 0], expected, rtol=1e-13)
    np.testing.assert_array_equal(result.predictions, [0])


def test_ttfs_published_constants():
    assert TTFSCrossEntropy() == TTFSCrossEntropy(tau0=0.5e-3, tau1=6.4e-3, alpha=3e-3)


def test_ttfs_differences(times):
    loss = TTFSCrossEntropy()
    result = loss.evaluate(times, LABELS)
    expected = differences(lambda t: loss.evaluate(t, LABELS).value, times, 1e-6)
    np.testing.assert_allclose(result.gradient, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    np.testing.assert_array_equal(result.gradient[..., 1], 0)
    np.testing.assert_array_equal(result.predictions, [0, 1, 2, 2])
    assert loss.silent_trials(times, LABELS) == 0


def test_ttfs_with_a_silent_label(times):
    """A silent label neuron: no gradient at all, log(n) in the value, counted."""
    loss = TTFSCrossEntropy()
    labels = np.array([0, 2, 0, 1])
    result = loss.evaluate(times, labels)
    np.testing.assert_array_equal(result.gradient[[1, 2]], 0)
    assert loss.silent_trials(times, labels) == 2
    heard = loss.evaluate(times[[0, 3]], labels[[0, 3]])
    assert result.value == pytest.approx((2 * heard.value + 2 * np.log(3)) / 4, rel=1e-14)
    np.testing.assert_allclose(result.gradient[[0, 3]], heard.gradient / 2, rtol=1e-14)
    expected = differences(lambda t: loss.evaluate(t, labels).value, times, 1e-6)
    np.testing.assert_allclose(result.gradient, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("spikes", [0, 1, 3])
def test_ttfs_when_nothing_spikes(spikes):
    """All silent: no class is predicted, not class 0."""
    silent = np.full((2, 3, spikes), INF)
    result = TTFSCrossEntropy().evaluate(silent, np.array([0, 1]))
    assert result.value == pytest.approx(np.log(3), rel=1e-15)
    assert result.gradient.shape == (2, 3, spikes)
    assert not result.gradient.any()
    np.testing.assert_array_equal(result.predictions, [-1, -1])
    assert TTFSCrossEntropy().silent_trials(silent, np.array([0, 1])) == 2


def test_ttfs_late_spikes_do_not_overflow():
    """exp(-t/tau0) underflows at 400 ms; the loss must not."""
    times = np.array([[[0.4], [0.4005]]])
    result = TTFSCrossEntropy(alpha=0).evaluate(times, np.array([1]))
    assert result.value == pytest.approx(np.log(1 + np.e), rel=1e-12)


def test_one_spike_per_neuron_may_come_as_two_axes(times):
    first = times[..., 0]
    loss = TTFSCrossEntropy()
    result = loss.evaluate(first, LABELS)
    assert result.gradient.shape == first.shape
    np.testing.assert_array_equal(result.gradient, loss.evaluate(times, LABELS).gradient[..., 0])


def test_two_spikes_at_one_time_may_be_swapped_by_rounding():
    times = np.array([[[21.966378004373514e-3, 21.96637800437351e-3]]])
    assert TTFSCrossEntropy().evaluate(times, np.array([0])).predictions == [0]


def test_max_voltage_by_hand_and_by_differences():
    loss = MaxVoltageCrossEntropy(scale=0.5)
    assert loss.evaluate(np.array([[0.5, 1.0]]), np.array([1])).value == pytest.approx(np.log1p(np.exp(-1)), rel=1e-14)
    maxima = np.random.default_rng(3).normal(size=(5, 4))
    labels = np.array([0, 1, 2, 3, 3])
    result = loss.evaluate(maxima, labels)
    expected = differences(lambda m: loss.evaluate(m, labels).value, maxima, 1e-3)
    np.testing.assert_allclose(result.gradient, expected, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(result.gradient.sum(axis=1), 0, atol=1e-16)
    np.testing.assert_array_equal(result.predictions, maxima.argmax(axis=1))
    assert loss.silent_trials(maxima, labels) == 0


def test_max_voltage_is_stable_for_large_maxima():
    result = MaxVoltageCrossEntropy().evaluate(np.array([[1000.0, 1001.0]]), np.array([0]))
    assert result.value == pytest.approx(1 + np.log1p(np.exp(-1)), rel=1e-12)


def test_spike_time_error_by_hand():
    """Two of three targets met by order; the third spike is missing, and neuron 1's second spike is surplus."""
    loss = SpikeTimeError(tau=2 * MS, missing=6 * MS)
    times = MS * np.array([[[10.0, INF], [4.0, 9.0]]])
    targets = MS * np.array([[[12.0, 20.0, INF], [3.0, INF, INF]]])
    result = loss.evaluate(times, targets)
    assert result.value == pytest.approx((1.0 + 0.25 + 9.0) / 3, rel=1e-14)
    np.testing.assert_allclose(result.gradient[0], np.array([[-1.0, 0], [0.5, 0]]) / (2 * MS) * 2 / 3, rtol=1e-13)
    assert result.predictions is None
    assert loss.silent_trials(times, targets) == 1


def test_spike_time_error_differences(times):
    loss = SpikeTimeError()
    targets = MS * np.array([[[4.0, 8.0], [6.0, INF], [6.0, 9.0]]] * 3 + [[[INF, INF]] * 3])
    result = loss.evaluate(times, targets)
    expected = differences(lambda t: loss.evaluate(t, targets).value, times, 1e-5)
    np.testing.assert_allclose(result.gradient, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    np.testing.assert_array_equal(result.gradient[3], 0)
    assert loss.silent_trials(times, targets) == 2
    one = loss.evaluate(times, targets[..., 0])
    assert one.gradient.shape == times.shape


def first_spike_sum(times, targets):
    derivative = np.zeros_like(times)
    derivative[..., 0] = np.where(np.isfinite(times[..., 0]), 1.0, 0.0) / len(times)
    return np.where(np.isfinite(times[..., 0]), times[..., 0], 0).sum() / len(times), derivative


def test_user_function(times):
    loss = SpikeTimeFunction(first_spike_sum, predict=lambda t: t[..., 0].argmin(axis=1))
    result = loss.evaluate(times, LABELS)
    expected = differences(lambda t: loss.evaluate(t, LABELS).value, times, 1e-5)
    np.testing.assert_allclose(result.gradient, expected, rtol=1e-9)
    np.testing.assert_array_equal(result.predictions, [0, 1, 2, 2])
    assert SpikeTimeFunction(first_spike_sum).evaluate(times, LABELS).predictions is None


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda t, y: 1.0, r"expected a tuple \(loss, derivative\), got float"),
        (lambda t, y: (np.nan, np.zeros_like(t)), "one finite number, got nan"),
        (lambda t, y: (np.zeros(2), np.zeros_like(t)), "one finite number"),
        (lambda t, y: (0.0, np.zeros(3)), r"derivative of shape \(4, 3, 2\), got \(3,\)"),
        (lambda t, y: (0.0, np.full_like(t, np.nan)), "derivative is NaN or inf for 24 values"),
        (lambda t, y: (0.0, np.ones_like(t)), "must be 0 where a spike time is inf"),
    ],
)
def test_user_function_is_checked(times, function, message):
    with pytest.raises(ValueError, match=message):
        SpikeTimeFunction(function).evaluate(times, LABELS)


def test_user_predictions_are_checked(times):
    loss = SpikeTimeFunction(first_spike_sum, predict=lambda t: np.zeros(7))
    with pytest.raises(ValueError, match=r"predict: expected 4 integers, got float64 \(7,\)"):
        loss.evaluate(times, LABELS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[0, 0], r"have shape \(2,\); expected \(trials, n\) or \(trials, n, spikes\)"),
        (lambda t: np.where(np.isinf(t), np.nan, t), "the observed population, trial .*: a spike time is NaN; use inf"),
        (lambda t: t - 6e-3, "a spike time is negative .-[0-9.]+ ms"),
        (lambda t: t[..., ::-1], "spike times are not ascending"),
    ],
)
def test_bad_spike_times(times, change, message):
    for loss in (TTFSCrossEntropy(), SpikeTimeError(), SpikeTimeFunction(first_spike_sum)):
        with pytest.raises(ValueError, match=message):
            loss.evaluate(change(times), LABELS)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2, 3], r"label 3 is out of range for 3 output neurons \(0 to 2\)"),
        ([0, -1, 2, 1], "label -1 is out of range"),
        ([0, 1], r"one label per trial, shape \(4,\), got \(2,\)"),
        ([0.0, 1.0, 2.0, 1.0], "expected integer labels, got float64"),
    ],
)
def test_bad_labels(times, labels, message):
    with pytest.raises(ValueError, match=message):
        TTFSCrossEntropy().evaluate(times, np.array(labels))
    with pytest.raises(ValueError, match=message):
        MaxVoltageCrossEntropy().evaluate(np.zeros((4, 3)), np.array(labels))


@pytest.mark.parametrize("maxima", [np.zeros((4, 3, 1)), np.full((4, 3), np.nan)])
def test_bad_maxima(maxima):
    with pytest.raises(ValueError, match="maxima: expected"):
        MaxVoltageCrossEntropy().evaluate(maxima, LABELS)


def test_bad_target_times(times):
    with pytest.raises(ValueError, match=r"targets: expected shape \(4, 3\) \+ \(spikes,\), got \(4, 2, 1\)"):
        SpikeTimeError().evaluate(times, np.zeros((4, 2, 1)))
    with pytest.raises(ValueError, match="targets, trial 0, neuron 0: a spike time is NaN"):
        SpikeTimeError().evaluate(times, np.full((4, 3, 1), np.nan))


@pytest.mark.parametrize(
    "make",
    [
        lambda: TTFSCrossEntropy(tau0=0),
        lambda: TTFSCrossEntropy(alpha=-1),
        lambda: MaxVoltageCrossEntropy(scale=-1),
        lambda: SpikeTimeError(tau=np.nan),
        lambda: SpikeTimeError(missing=0),
    ],
)
def test_bad_constants(make):
    with pytest.raises(ValueError, match=r"(tau0|alpha|scale|tau|missing): expected a"):
        make()


def test_voltage_error_by_hand():
    loss = VoltageError(skip=1, scale=0.5)
    samples = np.array([[[9.0, 1.0, 2.0], [9.0, 0.0, 0.5]]])
    targets = np.array([[[0.0, 0.5, 2.0], [0.0, 0.0, 1.0]]])
    result = loss.evaluate(samples, targets)
    # two samples count, with errors of one unit each
    assert result.value == pytest.approx((1 + 1) / 2, rel=1e-15)
    np.testing.assert_allclose(result.gradient, [[[0, 2, 0], [0, 0, -2]]], rtol=1e-15)
    assert result.predictions is None
    assert loss.silent_trials(samples, targets) == 0


def test_voltage_error_differences():
    rng = np.random.default_rng(0)
    loss = VoltageError(skip=2, scale=0.3)
    samples, targets = rng.normal(size=(2, 3, 2, 5))
    expected = differences(lambda v: loss.evaluate(v, targets).value, samples, 1e-3)
    np.testing.assert_allclose(loss.evaluate(samples, targets).gradient, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("samples", "targets", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 3)), r"samples: expected shape \(trials, n, samples\), got \(2, 3\)"),
        (np.zeros((2, 3, 4)), np.zeros((2, 3, 5)), r"targets: expected shape .* = \(2, 3, 4\), got \(2, 3, 5\)"),
        (np.zeros((2, 3, 1)), np.zeros((2, 3, 1)), "skip: expected less than the 1 samples of a trial, got 1"),
        (np.full((1, 1, 2), np.nan), np.zeros((1, 1, 2)), "samples: expected finite values"),
        (np.zeros((1, 1, 2)), np.full((1, 1, 2), INF), "targets: expected finite values"),
    ],
)
def test_voltage_error_refuses(samples, targets, message):
    with pytest.raises(ValueError, match=message):
        VoltageError(skip=1).evaluate(samples, targets)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interval": 0.0}, "interval: expected a positive number, got 0.0"),
        ({"scale": -1.0}, "scale: expected a positive number"),
        ({"skip": -1}, "skip: expected a whole number of at least 0, got -1"),
        ({"skip": 0.5}, "skip: expected a whole number of at least 0, got 0.5"),
    ],
)
def test_voltage_error_options(options, message):
    with pytest.raises(ValueError, match=message):
        VoltageError(**options)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda t: SpikeTimeError(tau=t), "tau"),
        (lambda t: VanRossumDistance(tau=t, end=t), "end"),
        (lambda t: TTFSCrossEntropy(tau0=t), "tau0"),
        (lambda t: CountError(per=t, width=t), "width"),
        (lambda t: VoltageError(interval=t), "interval"),
        (lambda t: ExpressionLoss("sample(v)**2", interval=t), "interval"),
        (lambda t: Samples(interval=t), "interval"),
    ],
)
def test_times_of_losses_may_have_units(make, name):
    assert make(5 * ms) == make(0.005)
    assert type(getattr(make(5 * ms), name)) is float
    with pytest.raises(ValueError, match="has unit volt; expected second"):
        make(5 * volt)
