"""Layers of torch: their gradients against differences and `train`'s, and what torch does with them."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brian2 import ms

import snnmodels as snn
from snnmodels.losses import FinalValues, FirstSpikes, Maxima, Samples, SpikeTimes
from tests.needs import COMPILER, on_both

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'snnmodels[torch]'")
MS = 1e-3
ALL = ["tau_m", "tau_syn", "v_th"]


def small(seed: int = 0, readout: bool = False, **more: Any) -> snn.Network:
    """Four inputs, three hidden neurons that learn everything, two outputs."""
    rng = np.random.default_rng(seed)
    lif = snn.load_model("lif+exp_synapse")
    out = snn.load_model("leaky_integrator+exp_synapse") if readout else lif
    return snn.Network(
        "small",
        inputs=[snn.SpikeInput("in", 4)],
        populations=[
            snn.Population("hidden", 3, lif, {"tau_m": np.array([15.0, 20.0, 25.0]) * MS}, learnable=ALL),
            snn.Population("out", 2, out, learnable=["tau_m"]),
        ],
        projections=[
            snn.Projection("a", "in", "hidden", rng.uniform(1.5, 3, (4, 3)), learnable=["w", "delay"], delay=1 * ms),
            snn.Projection("b", "hidden", "out", rng.uniform(2, 4, (3, 2)), delay=0.5 * ms),
        ],
        output="out",
        duration=30 * ms,
        **more,
    )


def some_times(trials: int = 2, seed: int = 3) -> Any:
    return torch.from_numpy(np.random.default_rng(seed).uniform(0.5, 8, (trials, 4)) * MS)


def squares(times: Any) -> Any:
    """A smooth number of spike times."""
    seen = torch.isfinite(times)
    return (torch.where(seen, times / 5e-3, torch.zeros_like(times)) ** 2).sum()


def gradients_of(layer: Any, value: Any, *more: Any) -> list[Any]:
    return list(torch.autograd.grad(value, [*layer.parameters(), *more], retain_graph=True))


# --- numbers ----------------------------------------------------------------------------------------------------------


@on_both
@pytest.mark.parametrize("reads", ["spikes", "voltages"])
def test_a_layer_between_layers_agrees_with_differences(target: str, reads: str) -> None:
    """Linear, input times, our layer, Linear, loss: by weights, parameters, delays and inputs, and by layers around."""
    torch.manual_seed(1)
    before = torch.nn.Linear(3, 4, dtype=torch.float64)
    spikes = [FirstSpikes("hidden"), FirstSpikes()]
    seen = spikes if reads == "spikes" else [Maxima(), Samples(interval=7 * ms), FinalValues()]
    layer = snn.torch.layer(small(readout=reads != "spikes"), seen, batch_size=2, target=target)
    n = 3 + 2 if reads == "spikes" else 2 + 2 * 4 + 2
    after = torch.nn.Linear(n, 1, dtype=torch.float64)
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in layer.named_parameters()]
    assert {"a.w", "a.delay", "b.w", "hidden.tau_m", "hidden.v_th", "out.tau_m"} < set(names)

    def loss(x: Any, weight: Any, bias: Any, *values: Any) -> Any:
        times = 8 * MS * torch.sigmoid(torch.nn.functional.linear(x, weight, bias))
        found = snn.torch.simulate(layer.simulation, times, dict(zip(names, values, strict=True)))
        parts = [part.flatten(1) / (MS if reads == "spikes" else 1) for part in found]
        assert all(torch.isfinite(part).all() for part in parts)
        return torch.tanh(0.1 * after(torch.cat(parts, dim=1))).sum()

    arguments = (x, before.weight, before.bias, *layer.parameters())
    assert torch.autograd.gradcheck(loss, arguments, eps=1e-7, atol=1e-6, rtol=1e-5)
    found = torch.autograd.grad(loss(*arguments), arguments)
    assert all(g.abs().max() > 1e-4 for g in found)
    layer.close()


@on_both
def test_gradients_of_yin_yang_are_those_of_train(target: str) -> None:
    """The loss of Wunderlich & Pehle written in torch on a layer's spike times, against the package's own."""
    network = snn.load_network("yin_yang", hidden={"n": 30, "learnable": ["tau_m", "v_th"]})
    network = snn.with_values(network, {"hidden_output.w": 4 * network.trainable()["hidden_output.w"]})
    times = np.random.default_rng(0).uniform(0, 30e-3, (6, 5))
    labels = np.arange(6) % 3
    loss = snn.TTFSCrossEntropy()
    with snn.Simulation(network, loss, batch_size=6, target=target) as simulation:  # type: ignore[arg-type]
        own = simulation.run({"input": times}, labels)
    assert not own.silent
    layer = snn.torch.layer(network, FirstSpikes(), batch_size=6, target=target)
    given = torch.from_numpy(times).requires_grad_()
    first = layer(given)
    label_time = first[torch.arange(6), torch.from_numpy(labels)]
    late = torch.nn.functional.cross_entropy(-first / loss.tau0, torch.from_numpy(labels))
    value = late + loss.alpha * torch.expm1(label_time / loss.tau1).mean()
    value.backward()
    assert abs(value.item() - own.loss) < 1e-12 * own.loss
    assert dict(layer.named_parameters()).keys() | {"input.times"} == own.gradients.keys()
    found = {name: p.grad for name, p in layer.named_parameters()} | {"input.times": given.grad}
    for key, expected in own.gradients.items():
        bound = 1e-12 * np.abs(expected).max()
        np.testing.assert_allclose(found[key].numpy(), expected, rtol=0, atol=bound, err_msg=key)
    layer.close()


def test_a_step_of_torch_is_a_step_of_train() -> None:
    """SGD of torch on a layer, and the loop of the package, three steps."""
    network = snn.load_network("yin_yang", hidden={"n": 10})
    times, labels = np.random.default_rng(0).uniform(0, 30e-3, (4, 5)), np.arange(4) % 3
    own = network.trainable()
    own = {key: value.copy() for key, value in own.items()}
    sgd = snn.SGD(1e-3)
    layer = snn.torch.layer(network)
    optimiser = torch.optim.SGD(layer.parameters(), lr=1e-3)
    with snn.Simulation(network, Second(), batch_size=4) as simulation:
        for _ in range(3):
            found = simulation.run({"input": times}, labels, own).gradients
            sgd.step(own, {key: found[key] for key in own})
            optimiser.zero_grad()
            squares(layer(times)).backward()
            optimiser.step()
    for key, value in layer.values.items():
        np.testing.assert_allclose(value.detach(), own[key], rtol=1e-13)
    assert not np.array_equal(own["input_hidden.w"], network.trainable()["input_hidden.w"])
    assert layer.network.trainable()["input_hidden.w"] == pytest.approx(own["input_hidden.w"], rel=1e-13)


class Second(snn.Loss):
    """`squares`, as a loss of the package."""

    observes = SpikeTimes()  # type: ignore[assignment]

    def evaluate(self, observed: Any, targets: np.ndarray) -> snn.LossValue:
        x = np.where(np.isfinite(observed), observed / 5e-3, 0.0)
        return snn.LossValue(float((x**2).sum()), 2 * x / 5e-3)


@on_both
def test_samples_of_currents_are_inputs_too(target: str) -> None:
    lif = snn.load_model("lif")
    network = snn.Network(
        "driven",
        inputs=[],
        populations=[snn.Population("cells", 2, lif)],
        projections=[],
        currents=[snn.CurrentInput("current", 1, 5 * ms)],
        drives=[snn.Drive("gain", "current", "cells", np.array([[1.0, 1.3]]), learnable=True)],
        output="cells",
        duration=40 * ms,
    )
    with snn.Simulation(network, FirstSpikes(), batch_size=2, target=target) as simulation:  # type: ignore[arg-type]
        samples = torch.full((2, 1, 8), 2.0, dtype=torch.float64, requires_grad=True)
        gain = torch.tensor([[1.0, 1.3]], dtype=torch.float64, requires_grad=True)

        def of(x: Any, w: Any) -> Any:
            return snn.torch.simulate(simulation, x, {"gain.w": w}) / MS

        assert torch.isfinite(of(samples, gain)).all()
        assert torch.autograd.gradcheck(of, (samples, gain), eps=1e-7, atol=1e-5, rtol=1e-5)


# --- several passes ---------------------------------------------------------------------------------------------------


@on_both
def test_every_backward_belongs_to_its_own_forward(target: str) -> None:
    """Other batches, sizes, values and runs come between, weights are stepped in place: nothing changes a gradient."""
    network = small()
    layer = snn.torch.layer(network, batch_size=3, target=target)
    batches = [some_times(trials, seed).requires_grad_() for trials, seed in ((2, 3), (3, 4), (1, 5))]
    alone = []
    for x in batches:
        fresh = snn.torch.layer(network, batch_size=3, target=target)
        alone.append(gradients_of(fresh, squares(fresh(x)), x))
        fresh.close()
    values = [squares(layer(x)) for x in batches]
    together = sum(values)
    for x, value, expected in zip(batches, values, alone, strict=True):  # the first is simulated again, and so on
        assert_same(gradients_of(layer, value, x), expected)
        assert_same(gradients_of(layer, value, x), expected)
    joint = gradients_of(layer, together, *batches)
    for k in range(len(alone[0]) - 1):
        torch.testing.assert_close(joint[k], sum(g[k] for g in alone), rtol=1e-13, atol=0)
    assert_same(joint[-3:], [g[-1] for g in alone])

    with torch.no_grad():
        layer(some_times(3, 9))
        x = batches[0].detach().clone().requires_grad_()
    value = squares(layer(x))
    with torch.no_grad():
        for p in layer.parameters():
            p.mul_(1.1)
        x.add_(1e-3)
        layer(x)
    assert_same(gradients_of(layer, value, x), alone[0])
    layer.close()


def assert_same(found: list[Any], expected: list[Any]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_one_simulation_in_two_layers_and_by_itself() -> None:
    simulation = snn.Simulation(small(), SpikeTimes(), batch_size=2)
    one, two = snn.torch.layer(simulation), snn.torch.layer(simulation, missing=50e-3)
    x = some_times().requires_grad_()
    alone = gradients_of(one, squares(one(x)), x)
    first, second = one(x), two(2 * x)
    simulation.forward({"in": np.full((1, 4), np.inf)})
    assert_same(gradients_of(one, squares(first), x), alone)
    assert gradients_of(two, squares(second))[0].shape == (4, 3)


@on_both
def test_several_layers_in_one_graph(target: str) -> None:
    """The spikes of one layer are the inputs of the next, and the whole is one network."""
    whole = small()
    rng = np.random.default_rng(0)
    lif = snn.load_model("lif+exp_synapse")
    tau = {"tau_m": np.array([15.0, 20.0, 25.0]) * MS}
    w, b = rng.uniform(1.5, 3, (4, 3)), rng.uniform(2, 4, (3, 2))

    def one(name: str, n: int, m: int, weights: Any, delay: Any, parameters: Any = None) -> snn.Network:
        return snn.Network(
            name,
            inputs=[snn.SpikeInput("in", n)],
            populations=[snn.Population("out", m, lif, parameters or {}, learnable=["tau_m"])],
            projections=[snn.Projection("w", "in", "out", weights, delay=delay)],
            output="out",
            duration=30 * ms,
        )

    layers = [
        snn.torch.layer(net, target=target)
        for net in (one("first", 4, 3, w, 1 * ms, tau), one("second", 3, 2, b, 0.5 * ms))
    ]
    model = torch.nn.Sequential(*layers)
    together = snn.torch.layer(whole, target=target)
    x = some_times().requires_grad_()
    torch.testing.assert_close(model(x), together(x), rtol=1e-12, atol=0)
    squares(model(x)).backward()
    expected = torch.autograd.grad(squares(together(x)), [*together.values.values(), x])
    keys = [*together.values, "x"]
    found = {"a.w": "0.w.w", "b.w": "1.w.w", "hidden.tau_m": "0.out.tau_m", "out.tau_m": "1.out.tau_m"}
    own = dict(model.named_parameters())
    for key, g in zip(keys, expected, strict=True):
        if key in found or key == "x":
            seen = x.grad if key == "x" else own[found[key]].grad
            torch.testing.assert_close(seen, g, rtol=1e-9, atol=1e-12 * float(g.abs().max()))
    for each in (*layers, together):
        each.close()


@on_both
def test_threads_take_turns(target: str) -> None:
    own = {} if target == "numpy" else {"threads": 2}  # and those of the program
    layer = snn.torch.layer(small(), batch_size=2, target=target, **own)
    batches = [some_times(2, seed) for seed in range(4)]

    def one(x: Any) -> list[Any]:
        x = x.clone().requires_grad_()
        return gradients_of(layer, squares(layer(x)), x)

    expected = [one(x) for x in batches]
    wrong: list[BaseException] = []

    def work(k: int) -> None:
        try:
            for _ in range(4):
                assert_same(one(batches[k]), expected[k])
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[0]
    layer.close()


# --- torch ------------------------------------------------------------------------------------------------------------


def test_without_gradients() -> None:
    layer = snn.torch.layer(small(), batch_size=2)
    x = some_times()
    wanted = layer(x)
    assert wanted.requires_grad
    with torch.no_grad():
        assert not layer(x).requires_grad
    with torch.inference_mode():
        found = layer(x)
    torch.testing.assert_close(found, wanted.detach(), rtol=0, atol=0)
    layer.requires_grad_(False)
    assert not layer(x).requires_grad
    assert torch.autograd.grad(squares(layer(x.requires_grad_())), x)[0].abs().max() > 0


def test_second_derivatives_are_refused_by_name() -> None:
    layer = snn.torch.layer(small(), batch_size=2)
    x = some_times().requires_grad_()
    (g,) = torch.autograd.grad(squares(layer(x)), x, create_graph=True)
    (plain,) = torch.autograd.grad(squares(layer(x)), x)
    torch.testing.assert_close(g, plain, rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="EventProp gives first derivatives"):
        (g**2).sum().backward()
    with pytest.raises(RuntimeError, match="EventProp gives first derivatives"):
        torch.autograd.functional.hessian(lambda x: squares(layer(x)), x)


def test_a_silent_neuron_passes_nothing_on() -> None:
    """Neither from the first layer nor through it; and where nothing spikes at all, that is said."""
    layer = snn.torch.layer(small(), [SpikeTimes("hidden"), SpikeTimes()], batch_size=2, missing=50e-3)
    with torch.no_grad():
        layer.a.w[:, 1] = -1.0
    x = some_times()
    hidden, out = layer(x)
    assert torch.equal(hidden[:, 1], torch.full_like(hidden[:, 1], 50e-3))
    assert (hidden[:, 0, 0] < 30e-3).all()
    (squares(hidden) + squares(out)).backward()
    assert torch.equal(layer.a.w.grad[:, 1], torch.zeros(4, dtype=torch.float64))
    assert torch.equal(layer.b.w.grad[1], torch.zeros(2, dtype=torch.float64))
    assert layer.a.w.grad[:, 0].abs().max() > 0

    # the usual trap of inf: 0 times inf is NaN in torch's own backward, but a missing spike is a constant
    unmasked = snn.torch.layer(small(), SpikeTimes("hidden"), batch_size=2)
    with torch.no_grad():
        unmasked.a.w[:, 1] = -1.0
    times = unmasked(x)
    assert torch.isinf(times[:, 1]).all()
    torch.where(torch.isfinite(times), (times / 5e-3) ** 2, 0.0).sum().backward()
    assert torch.isfinite(unmasked.a.w.grad).all()

    with torch.no_grad():
        unmasked.a.w.fill_(-1.0)
    with pytest.warns(RuntimeWarning, match=r"network 'small': no neuron that is read spikes in this batch") as told:
        unmasked(x)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with torch.no_grad():
            unmasked(x)


def test_a_derivative_that_is_not_finite_is_refused() -> None:
    layer = snn.torch.layer(small(), FirstSpikes(), batch_size=2)
    with pytest.raises(ValueError, match="is not finite"):
        (layer(some_times()) * np.nan).sum().backward()


def test_state_copies_and_pickles(tmp_path: Path) -> None:
    layer = snn.torch.layer(small(), batch_size=2, missing=40e-3)
    with torch.no_grad():
        layer.hidden.tau_m.mul_(1.2)
    x = some_times().requires_grad_()
    value = layer(x)
    expected = gradients_of(layer, squares(value), x)
    other = snn.torch.layer(small(1), batch_size=2)
    torch.save(layer.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    torch.save(layer, tmp_path / "whole.pt")
    read = torch.load(tmp_path / "whole.pt", weights_only=False)
    for one in (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), read):
        assert_same(gradients_of(one, squares(one(x)), x), expected)
    assert read.missing == 40e-3
    assert repr(read.simulation) == repr(layer.simulation)
    assert "(hidden): _Values(tau_m (3,), tau_syn (), v_th ())" in repr(layer)
    # keys are those of the package, both ways
    assert list(layer.state_dict()) == list(layer.network.trainable())
    with pytest.raises(RuntimeError, match=r"size mismatch for a\.w"):
        other.load_state_dict({**other.state_dict(), "a.w": torch.zeros(3, 3)})


def test_a_closed_simulation_says_so() -> None:
    layer = snn.torch.layer(small(), batch_size=2)
    value = squares(layer(some_times()))
    layer.close()
    assert "closed" in repr(layer)
    with pytest.raises(snn.SimulationError, match="was closed"):
        value.backward()
    with pytest.raises(snn.SimulationError, match="was closed"):
        copy.deepcopy(layer)


def test_dtypes_and_what_comes_back() -> None:
    layer = snn.torch.layer(small(), batch_size=2)
    x = some_times()
    exact = layer(x)
    single = x.float().requires_grad_()
    rough = layer(single)
    assert (exact.dtype, rough.dtype) == (torch.float64, torch.float32)
    torch.testing.assert_close(rough.double(), exact, rtol=1e-5, atol=0)
    squares(rough).backward()
    assert single.grad.dtype == torch.float32
    assert layer.a.w.grad.dtype == torch.float64
    assert layer(x.numpy()).dtype == torch.float64
    with pytest.raises(ValueError, match=r"input 'in' is a tensor of torch\.float16; expected float64 or float32"):
        layer(x.half())
    with pytest.raises(ValueError, match=r"value of 'a\.w' is a tensor of torch\.bfloat16"):
        copy.deepcopy(layer).bfloat16()(x)


def test_a_positive_parametrisation() -> None:
    """The logarithm of a time constant is learned, by torch's own means."""

    class Exponential(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.exp(x)

        def right_inverse(self, y: Any) -> Any:
            return torch.log(y)

    layer = snn.torch.layer(small(), batch_size=2)
    torch.nn.utils.parametrize.register_parametrization(layer.hidden, "tau_m", Exponential())
    squares(layer(some_times())).backward()
    plain = snn.torch.layer(small(), batch_size=2)
    squares(plain(some_times())).backward()
    found = layer.hidden.parametrizations.tau_m.original.grad
    torch.testing.assert_close(found, plain.hidden.tau_m.grad * plain.hidden.tau_m.detach(), rtol=1e-9, atol=0)


def test_transforms_of_torch() -> None:
    layer = snn.torch.layer(small(), batch_size=2)
    x = some_times()
    wanted = torch.autograd.grad(squares(layer(x.requires_grad_())), x)[0]
    values = {key: p.detach() for key, p in layer.values.items()}

    def of(x: Any) -> Any:
        return squares(torch.func.functional_call(layer, values, (x,)))

    torch.testing.assert_close(torch.func.grad(of)(x.detach()), wanted, rtol=0, atol=0)
    compiled = torch.compile(lambda x: squares(2 * layer(x) / 2), backend="eager")
    y = x.detach().requires_grad_()
    compiled(y).backward()
    torch.testing.assert_close(y.grad, wanted, rtol=1e-12, atol=0)
    again = x.detach().requires_grad_()
    squares(torch.utils.checkpoint.checkpoint(layer, again, use_reentrant=False)).backward()
    torch.testing.assert_close(again.grad, wanted, rtol=0, atol=0)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: snn.torch.layer("small"), r"source is 'small'; expected a Network"),
        (lambda: snn.torch.layer(small(readout=True)), r"output 'out' \(.*\) has no threshold"),
        (lambda: snn.torch.layer(small(), snn.TTFSCrossEntropy()), "a layer returns observables"),
        (lambda: snn.torch.layer(small(), 3), "reads is 3; expected an observable"),
        (lambda: snn.torch.layer(small(), missing=5 * ms * ms), "missing has unit"),
        (lambda: snn.torch.layer(small(), missing=np.nan), "expected a number of seconds, or inf"),
        (lambda: snn.torch.layer(snn.Simulation(small(), SpikeTimes()), target="numpy"), "target: given beside a sim"),
        (lambda: snn.torch.layer(small())({}), r"inputs are \[\]; network 'small' has \['in'\]"),
        (lambda: snn.torch.layer(small())(some_times()[0]), r"expected \(trials, n\)"),
        (lambda: snn.torch.layer(small(), batch_size=1)(some_times()), r"2 trials; this simulation takes 1 to"),
        (lambda: snn.torch.layer(small())(-some_times()), "a spike time is negative"),
        (lambda: snn.torch.simulate(snn.Simulation(small(), SpikeTimes()), some_times(), {"a.x": some_times()}), "a.x"),
        (lambda: snn.torch.simulate(small(), some_times()), "expected a Simulation"),
    ],
)
def test_errors_say_what_would_be_right(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_an_input_without_gradients() -> None:
    layer = snn.torch.layer(small(), batch_size=2, input_gradients=False)
    squares(layer(some_times())).backward()
    with pytest.raises(ValueError, match="made with input_gradients=False"):
        layer(some_times().requires_grad_())


def test_names_that_modules_have() -> None:
    rng = np.random.default_rng(0)
    lif = snn.load_model("lif+exp_synapse")
    network = snn.Network(
        "odd",
        inputs=[snn.SpikeInput("in", 2)],
        populations=[snn.Population("train", 2, lif, learnable=["tau_m"])],
        projections=[snn.Projection("w", "in", "train", rng.uniform(1, 2, (2, 2)))],
        output="train",
        duration=30 * ms,
    )
    with pytest.raises(ValueError, match=r"'train\.tau_m' can't be a parameter of a layer"):
        snn.torch.layer(network)


def test_impossible_values_are_refused() -> None:
    layer = snn.torch.layer(small(), batch_size=2)
    with torch.no_grad():
        layer.hidden.tau_m[0] = -1e-3
    with pytest.raises(ValueError, match="tau_m"):
        layer(some_times())


def test_tensors_where_arrays_are_expected() -> None:
    """A tensor is an array of numbers for the rest of the package."""
    x = some_times()
    with snn.Simulation(small(), SpikeTimes(), batch_size=2) as simulation:
        np.testing.assert_array_equal(simulation.forward({"in": x}), simulation.forward({"in": x.numpy()}))


@COMPILER
def test_it_trains() -> None:
    """Adam of torch brings a spike to its time."""
    layer = snn.torch.layer(small(), FirstSpikes(), batch_size=2, target="cpp_standalone")
    slow = [p for key, p in layer.values.items() if not key.endswith(".w")]
    weights = [p for key, p in layer.values.items() if key.endswith(".w")]
    optimiser = torch.optim.Adam([{"params": weights, "lr": 0.02}, {"params": slow, "lr": 1e-5}])
    x, wanted = some_times(), torch.tensor([[9.0, 11.0]], dtype=torch.float64) * MS
    losses = []
    for _ in range(150):
        optimiser.zero_grad()
        loss = (((layer(x) - wanted) / MS) ** 2).mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]
    layer.close()


def test_the_module_of_torch_is_not_shadowed() -> None:
    assert sys.modules["torch"] is torch
    assert snn.torch is not torch
    assert snn.torch.simulate.__module__ == "snnmodels.torch"


def test_spikes_at_arrivals_alone_are_told_of_once() -> None:
    """Spikes of delta synapses come at arrivals: weights before them have gradient 0, those of a readout have not."""
    lif, readout = snn.load_model("lif+delta_synapse"), snn.load_model("leaky_integrator+exp_synapse")
    network = snn.Network(
        "jumps",
        [snn.SpikeInput("in", 3)],
        [snn.Population("hidden", 2, lif), snn.Population("out", 1, readout)],
        [
            snn.Projection("first", "in", "hidden", np.full((3, 2), 1.5)),
            snn.Projection("second", "hidden", "out", np.ones((2, 1))),
        ],
        "out",
        30e-3,
    )
    layer = snn.torch.layer(network, FinalValues(variable="v"), batch_size=1)
    times = torch.tensor([[1e-3, 4e-3, 6e-3]], dtype=torch.float64)
    with pytest.warns(RuntimeWarning, match=r"the gradient by first\.w is 0: in 'hidden' arrivals make") as told:
        layer(times).sum().backward()
    assert told[0].filename == __file__
    assert layer.second.w.grad.abs().min() > 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(times).sum().backward()
