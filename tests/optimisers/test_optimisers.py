"""Optimisers against textbook implementations, step by step."""


import numpy as np
import pytest

import snnmodels.optimisers.adam as adam_module
from snnmodels.optimisers import SGD, Adam, ConstantRate, ExponentialDecay
from snnmodels.optimisers.fused_adam import fused_adam
from tests.needs import COMPILER

# More elements than one block, and a scalar parameter.
SHAPES = {"hidden.w": (150, 120), "hidden.tau_m": (), "hidden.v_th": (7,)}


def draw(rng, dtype=float):
    return {key: np.array(rng.normal(size=shape), dtype=dtype) for key, shape in SHAPES.items()}


def textbook_adam(w, gradients, rates, b1=0.9, b2=0.999, eps=1e-8):
    """Algorithm 1 of Kingma & Ba, line by line; yields the value after each step."""
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, (g, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        w = w - rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
        yield w


def textbook_sgd(w, gradients, rates, momentum):
    u = np.zeros_like(w)
    for g, rate in zip(gradients, rates, strict=True):
        u = momentum * u + g
        w = w - rate * u
        yield w


@pytest.mark.parametrize(
    ("make", "textbook"),
    [
        (lambda s: Adam(s), textbook_adam),
        (lambda s: Adam(s, 0.5, 0.9, 1e-3), lambda *a: textbook_adam(*a, 0.5, 0.9, 1e-3)),
        (lambda s: SGD(s), lambda *a: textbook_sgd(*a, 0.0)),
        (lambda s: SGD(s, momentum=0.9), lambda *a: textbook_sgd(*a, 0.9)),
    ],
)
def test_equals_the_textbook_step_by_step(make, textbook):
    rng = np.random.default_rng(1)
    schedule = ExponentialDecay(5e-3, 0.95)
    optimiser = make(schedule)
    values, gradients = draw(rng), [draw(rng) for _ in range(12)]
    rates = [5e-3 * 0.95 ** (i // 3) for i in range(12)]
    expected = {k: list(textbook(values[k], [g[k] for g in gradients], rates)) for k in values}
    same = dict(values)
    for i, gradient in enumerate(gradients):
        optimiser.start_epoch(i // 3)
        optimiser.step(values, gradient)
        for key, value in values.items():
            assert value is same[key]
            np.testing.assert_allclose(value, expected[key][i], rtol=1e-13, atol=1e-15)


def test_the_first_step_of_adam_is_the_learning_rate():
    values = {"w": np.array([1.0, -2.0, 3.0])}
    Adam(1e-2).step(values, {"w": np.array([5.0, -1e-3, 0.0])})
    np.testing.assert_allclose(values["w"], [0.99, -1.99, 3.0], rtol=2e-7)


def test_single_precision_stays_single():
    rng = np.random.default_rng(2)
    values, gradients = draw(rng, np.float32), draw(rng)
    double = {k: v.astype(float) for k, v in values.items()}
    single, reference = Adam(1e-2), Adam(1e-2)
    for _ in range(5):
        single.step(values, gradients)
        reference.step(double, gradients)
    for key, value in values.items():
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, double[key], rtol=1e-5, atol=1e-6)
    assert single.state_dict()["mean/hidden.w"].dtype == np.float32


@pytest.mark.parametrize("make", [lambda: Adam(ExponentialDecay(1e-2)), lambda: SGD(1e-2, momentum=0.9)])
def test_restored_state_continues_bit_for_bit(make):
    rng = np.random.default_rng(3)
    values, gradients = draw(rng), [draw(rng) for _ in range(6)]
    first = make()
    first.start_epoch(0)
    for gradient in gradients[:3]:
        first.step(values, gradient)
    state = first.state_dict()
    copy = {k: v.copy() for k, v in values.items()}
    for gradient in gradients[3:]:
        first.step(values, gradient)
    second = make()
    second.start_epoch(0)
    second.load_state_dict(state)
    for gradient in gradients[3:]:
        second.step(copy, gradient)
    for key, value in values.items():
        np.testing.assert_array_equal(copy[key], value)
    assert int(state["steps"]) == 3


def test_scales_and_bounds():
    values = {"a": np.array([1.0, 1.0]), "tau": np.array(2e-3)}
    optimiser = SGD(1.0, scales={"tau": 1e-3}, bounds={"tau": (1e-3, None), "a": (None, 1.5)})
    optimiser.step(values, {"a": np.array([1.0, -1.0]), "tau": np.array(0.5)})
    np.testing.assert_allclose(values["a"], [0.0, 1.5])
    assert values["tau"] == pytest.approx(1.5e-3)
    optimiser.step(values, {"a": np.zeros(2), "tau": np.array(100.0)})
    assert values["tau"] == 1e-3


def test_transformed_values_are_stepped_as_another_variable():
    tau, share = np.array([20e-3, 5e-3]), np.array(0.3)
    values = {"tau": tau.copy(), "share": share.copy()}
    optimiser = SGD(0.1, bounds={"share": (0.0, 1.0)}, transforms={"tau": "log", "share": "logit"})
    gradients = {"tau": np.array([3.0, -40.0]), "share": np.array(2.0)}
    optimiser.step(values, gradients)
    np.testing.assert_allclose(values["tau"], np.exp(np.log(tau) - 0.1 * gradients["tau"] * tau), rtol=1e-14)
    u = np.log(share / (1 - share)) - 0.1 * 2.0 * share * (1 - share)
    np.testing.assert_allclose(values["share"], 1 / (1 + np.exp(-u)), rtol=1e-14)


@pytest.mark.parametrize("optimiser", [SGD, Adam])
def test_no_step_leaves_the_bounds_of_a_transform(optimiser):
    values = {"a": np.array([0.2, 0.9]), "tau": np.array(2e-3)}
    bounds = {"a": (0.1, 1.0), "tau": (1e-3, None)}
    made = optimiser(1e3, bounds=bounds, transforms={"a": "logit", "tau": "log"})
    for sign in (1.0, -1.0, -1.0, 1.0):
        made.step(values, {"a": sign * np.array([1e6, -1e6]), "tau": np.array(sign * 1e9)})
        assert ((values["a"] > 0.1) & (values["a"] < 1.0)).all()
        assert values["tau"] > 1e-3


def test_a_value_outside_of_its_transform_is_refused_before_anything_changes():
    values = {"w": np.ones(2), "tau": np.array([1e-3, 0.0])}
    optimiser = SGD(1.0, transforms={"tau": "log"})
    with pytest.raises(ValueError, match=r"values\['tau'\]: not all are between 0 and inf, as 'log' needs"):
        optimiser.step(values, {"w": np.ones(2), "tau": np.ones(2)})
    np.testing.assert_array_equal(values["w"], 1.0)


def test_gradients_may_be_transposed_views():
    values = {"w": np.zeros((2, 3))}
    SGD(1.0).step(values, {"w": np.arange(6.0).reshape(3, 2).T})
    np.testing.assert_array_equal(values["w"], -np.arange(6.0).reshape(3, 2).T)


@pytest.mark.parametrize(
    ("values", "gradients", "message"),
    [
        ({"w": np.zeros(2)}, {"v": np.zeros(2)}, "gradients: nothing for 'w', only for first, v"),
        ({"w": np.zeros(2)}, {"w": np.zeros(3)}, r"gradients\['w'\]: expected shape \(2,\), got \(3,\)"),
        ({"w": np.zeros((2, 3)).T}, {"w": np.zeros((3, 2))}, r"values\['w'\]: expected a writeable C-contiguous"),
        ({"w": np.zeros(2, dtype=int)}, {"w": np.zeros(2)}, r"values\['w'\]: .*float array"),
    ],
)
def test_refused_steps_change_nothing(values, gradients, message):
    values = {"first": np.ones(1), **values}
    optimiser = SGD(1.0)
    with pytest.raises(ValueError, match=message):
        optimiser.step(values, {"first": np.ones(1), **gradients})
    assert values["first"] == 1
    assert list(optimiser.state_dict()) == ["steps"]


def test_scale_of_an_unknown_key():
    with pytest.raises(ValueError, match="name 'tau', but the values are w"):
        SGD(1.0, scales={"tau": 1.0}).step({"w": np.zeros(1)}, {"w": np.zeros(1)})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adam(-1.0), "rate: expected a positive, finite learning rate"),
        (lambda: Adam(ConstantRate(np.inf)), "rate: expected a finite number"),
        (lambda: Adam(ExponentialDecay(0.0)), "initial: expected a positive"),
        (lambda: ExponentialDecay.between(0.1, 0.2, 5), "last: expected a learning rate of at most initial = 0.1"),
        (lambda: Adam(ExponentialDecay(1.0, 1.5)), r"factor: expected a number in \(0, 1\]"),
        (lambda: Adam(beta2=1.0), r"beta2: expected a number in \[0, 1\), got 1.0"),
        (lambda: Adam(epsilon=0), "epsilon: expected a positive"),
        (lambda: SGD(momentum=-0.1), r"momentum: expected a number in \[0, 1\)"),
        (lambda: SGD(scales={"w": -1}), r"scales\['w'\]: expected a finite number"),
        (lambda: SGD(bounds={"w": (2, 1)}), r"bounds\['w'\]: expected lower <= upper"),
        (lambda: SGD(transforms={"w": "sqrt"}), r"transforms\['w'\]: expected one of 'log', 'logit', got 'sqrt'"),
        (lambda: SGD(transforms={"w": "logit"}), r"transforms\['w'\]: 'logit' is between two limits"),
        (lambda: SGD(transforms={"w": "log"}, bounds={"w": (0, 1)}), r"'log' has no upper limit, and bounds say 1"),
    ],
)
def test_bad_constants(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_state_of_another_optimiser_is_refused():
    optimiser = SGD(1.0)
    optimiser.step({"w": np.zeros(1)}, {"w": np.zeros(1)})
    with pytest.raises(ValueError, match="expected entries steps, mean/<key>, square/<key> of Adam, got steps, vel"):
        Adam().load_state_dict(optimiser.state_dict())


def test_values_of_another_shape_are_refused():
    optimiser = Adam()
    optimiser.step({"w": np.zeros(2)}, {"w": np.zeros(2)})
    with pytest.raises(ValueError, match=r"values\['w'\]: shape \(3,\), but the optimiser's state is for \(2,\)"):
        optimiser.step({"w": np.zeros(3)}, {"w": np.zeros(3)})


@COMPILER
def test_the_compiled_adam_gives_the_same_bits_as_numpy(monkeypatch):
    rng = np.random.default_rng(2)
    start = rng.normal(size=(200, 300))
    gradients = [rng.normal(size=start.shape) * 10.0 ** rng.integers(-9, 3) for _ in range(5)]
    results = []
    for compiled in (True, False):
        calls = []

        def update(*arguments, compiled=compiled, calls=calls):
            done = compiled and fused_adam(*arguments)
            calls.append(done)
            return done

        monkeypatch.setattr(adam_module, "fused_adam", update)
        values, optimiser = {"w": start.copy()}, Adam(5e-3)
        for gradient in gradients:
            optimiser.step(values, {"w": gradient})
        assert calls == [compiled] * len(gradients)
        results.append([values["w"], *optimiser.state_dict().values()])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@COMPILER
def test_what_gradients_have_left_long_ago_fades(monkeypatch):
    """After thousands of steps moments would be denormal numbers, with which processors are a hundred times slower."""
    gradient, start = np.array([1e-3, -5.0, 0.0, 1e-140]), np.array([1.0, -2.0, 3.0, 0.5])
    results = []
    for update in (fused_adam, lambda *_: False):
        monkeypatch.setattr(adam_module, "fused_adam", update)
        values, optimiser = {"w": start.copy()}, Adam(1e-3)
        for n in range(9000):
            optimiser.step(values, {"w": gradient * (n < 2)})
        results.append([values["w"], *optimiser.state_dict().values()])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)

    mean, square, expected = 0.0, 0.0, start
    for n in range(9000):
        g = gradient * (n < 2)
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g**2
        step = mean / (1 - 0.9 ** (n + 1)) / (np.sqrt(square / (1 - 0.999 ** (n + 1))) + 1e-8)
        expected = expected - 1e-3 * step
    assert (np.abs(mean[:2]) < np.finfo(float).tiny).all()  # or this would show nothing
    assert (mean[:2] != 0).all()
    state = optimiser.state_dict()
    np.testing.assert_allclose(values["w"], expected, rtol=1e-14)
    np.testing.assert_array_equal(state["mean/w"], 0)
    np.testing.assert_allclose(state["square/w"][:2], square[:2], rtol=1e-11)


def test_arrays_that_the_compiled_adam_cannot_take_are_left_alone():
    narrow = [np.ones(3, dtype=np.float32) for _ in range(4)]
    assert not fused_adam(narrow[0], narrow[1], narrow[2:], 0.9, 0.999, 1e-8, 1e-3)
    strided = [np.ones(6)[::2] for _ in range(4)]
    assert not fused_adam(strided[0], strided[1], strided[2:], 0.9, 0.999, 1e-8, 1e-3)
    np.testing.assert_array_equal(strided[0], 1)


def test_a_decay_between_two_rates_ends_at_the_last() -> None:
    schedule = ExponentialDecay.between(0.02, 0.001, 12)
    assert [schedule(0), schedule(11)] == pytest.approx([0.02, 0.001], rel=1e-12)
    assert ExponentialDecay.between(0.02, 0.001, 1)(0) == 0.02


def test_a_schedule_that_goes_uphill_is_refused():
    optimiser = Adam(lambda epoch: 0.1 * (1 - epoch))
    optimiser.start_epoch(1)  # 0 is where a schedule may end
    with pytest.raises(ValueError, match=r"learning rate of epoch 3: expected at least 0 from the schedule, got -0\.1"):
        optimiser.start_epoch(2)
