"""What is written by hand computes what it says, or it would be no limit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchmarks import cuba, cuda_on_paper
from benchmarks.limit import Limit
from benchmarks.limit._binding import Loop
from benchmarks.limit.grid import GridLimit
from benchmarks.limit.sparse import SparseLimit
from benchmarks.serving import Meter
from snnmodels.gradients import GridSimulation
from snnmodels.losses import MaxVoltageCrossEntropy, TTFSCrossEntropy
from snnmodels.losses.base import Loss
from snnmodels.optimisers import Adam
from snnmodels.oracle import OracleGradient, gradient
from snnmodels.templates import load_network
from snnmodels.templates.network import Network
from tests.needs import COMPILER

pytestmark = COMPILER

TRIALS, N_IN, N_HIDDEN, N_OUT = 6, 5, 37, 3
DT = 0.5e-3
LOSSES: list[Loss] = [TTFSCrossEntropy(), MaxVoltageCrossEntropy()]
NAMES = [type(loss).__name__ for loss in LOSSES]


def network(spiking: bool) -> Network:
    """A small network with about two spikes per hidden neuron, some of them between arrivals close to each other."""
    sizes = {"input": {"n": N_IN}, "hidden": {"n": N_HIDDEN}, "output": {"n": N_OUT}}
    weights = {
        "input_hidden": {"weights": {"distribution": "normal", "mean": 2.5, "std": 1.5}},
        "hidden_output": {"weights": {"distribution": "normal", "mean": 0.5, "std": 0.9}},
    }
    if not spiking:
        sizes["output"]["model"] = "leaky_integrator+exp_synapse"  # type: ignore[assignment]
    return load_network("yin_yang", seed=3, **sizes, **weights)


def data() -> tuple[np.ndarray, np.ndarray]:
    """Input spikes, two of them at once and one that is missing, and labels."""
    rng = np.random.default_rng(0)
    times = rng.uniform(0, 30e-3, (TRIALS, N_IN))
    times[0, 1] = np.inf
    times[1, 2] = times[1, 3]
    return times, rng.integers(0, N_OUT, TRIALS)


@pytest.fixture(scope="module", params=range(len(LOSSES)), ids=NAMES)
def exact(request: pytest.FixtureRequest) -> tuple[Network, Loss, OracleGradient]:
    """A network, a loss, and what the oracle finds."""
    loss = LOSSES[request.param]
    net = network(isinstance(loss, TTFSCrossEntropy))
    times, labels = data()
    return net, loss, gradient(net, {"input": times}, loss, labels, method="matrix-exponential")


def run(loop: Loop) -> tuple[float, dict[str, np.ndarray]]:
    """Loss and gradients of the data."""
    times, labels = data()
    loop.forward(times)
    value = loop.loss(labels)
    loop.backward()
    return value, loop.gradients()


def assert_close(gradients: dict[str, np.ndarray], wanted: dict[str, np.ndarray], tolerance: float) -> None:
    """Compare gradients by their norms."""
    for key, value in gradients.items():
        assert np.linalg.norm(value - wanted[key]) <= tolerance * np.linalg.norm(wanted[key]) > 0


@pytest.mark.parametrize("portable", [False, True], ids=["native", "portable"])
@pytest.mark.parametrize("window", [0.1e-3, 0.77e-3, 5e-3, 1.0])
def test_limit_is_exact_at_any_window(
    exact: tuple[Network, Loss, OracleGradient], window: float, portable: bool
) -> None:
    net, loss, wanted = exact
    limit = Limit(net, loss, batch_size=TRIALS, window=window, portable=portable)
    try:
        value, gradients = run(limit)
        assert value == pytest.approx(wanted.loss, rel=1e-12)
        assert_close(gradients, wanted.gradients, 1e-9)
        assert limit.hidden_spikes() > N_HIDDEN
        for population in ("hidden", "output") if net.populations[-1].model.spiking else ("hidden",):
            for trial, each in enumerate(wanted.spikes[population]):
                times, neurons = limit.spikes(trial, population)
                assert (np.diff(times) >= 0).all()
                order = np.argsort(each, axis=None)[: np.isfinite(each).sum()]
                assert np.array_equal(neurons, order // each.shape[1])
                assert np.allclose(times, each.ravel()[order], rtol=0, atol=1e-12)
    finally:
        limit.close()


def test_later_spikes_of_outputs_change_nothing(exact: tuple[Network, Loss, OracleGradient]) -> None:
    net, loss, wanted = exact
    limit = Limit(net, loss, batch_size=TRIALS, first_only=True)
    try:
        value, gradients = run(limit)
        assert value == pytest.approx(wanted.loss, rel=1e-12)
        assert_close(gradients, wanted.gradients, 1e-9)
        if isinstance(loss, TTFSCrossEntropy):
            seen = limit.spikes(0, "output")[1]
            assert len(seen) == len(set(seen)) < np.isfinite(wanted.spikes["output"][0]).sum()
    finally:
        limit.close()


@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_grid_limit_computes_what_the_grid_simulation_does(loss: Loss) -> None:
    net = network(isinstance(loss, TTFSCrossEntropy))
    times, labels = data()
    with GridSimulation(net, loss, batch_size=TRIALS, dt=DT) as simulation:
        expected = simulation.run({"input": times}, labels)
    limit = GridLimit(net, loss, batch_size=TRIALS + 1, dt=DT)
    try:
        value, gradients = run(limit)
        assert limit.hidden_spikes() == expected.spikes["hidden"] > N_HIDDEN
        assert value == pytest.approx(expected.loss, rel=1e-12)
        assert_close(gradients, expected.gradients, 1e-9)
    finally:
        limit.close()


def test_limit_updates_weights_as_adam_does(exact: tuple[Network, Loss, OracleGradient]) -> None:
    net, loss, wanted = exact
    limit = Limit(net, loss, batch_size=TRIALS)
    try:
        run(limit)
        limit.adam(5e-3)
        weights = limit.weights()
    finally:
        limit.close()
    values = {f"{q.name}.w": np.array(q.weights) for q in net.projections}
    Adam(5e-3).step(values, wanted.gradients)
    for key, value in weights.items():
        # Adam's first step is the sign of the gradient, so rounding of tiny gradients shows
        assert np.allclose(value, values[key], rtol=0, atol=1e-7)


def test_limit_refuses_other_networks() -> None:
    with pytest.raises(ValueError, match="no TTFSCrossEntropy"):
        Limit(network(spiking=False), TTFSCrossEntropy(), batch_size=1)
    net = network(spiking=True)
    hidden, output = net.populations
    other = dataclasses.replace(net, populations=(hidden, dataclasses.replace(output, parameters={"tau_m": 0.03})))
    with pytest.raises(ValueError, match="same parameters"):
        Limit(other, TTFSCrossEntropy(), batch_size=1)
    with pytest.raises(ValueError, match="window = 0"):
        Limit(net, TTFSCrossEntropy(), batch_size=1, window=0)
    limit = Limit(net, TTFSCrossEntropy(), batch_size=1)
    with pytest.raises(ValueError, match=r"shape \(2, 5\)"):
        limit.forward(np.zeros((2, N_IN)))
    limit.close()


@pytest.fixture(scope="module", params=cuba.DELAYS)
def sparse(request: pytest.FixtureRequest) -> tuple[Network, np.ndarray, cuba.Result]:
    """A small sparse network, its input spikes, and what the oracle finds."""
    net, times = cuba.network(40, request.param, synapses=12, duration=90e-3)
    found = gradient(net, {"input": times}, cuba.SumOfSpikeTimes(), np.zeros(1), method="matrix-exponential")
    room = max(t.shape[2] for t in found.spikes.values())
    padding = [((0, 0), (0, room - t.shape[2])) for t in found.spikes.values()]
    spikes = zip(found.spikes.values(), padding, strict=True)
    each = np.concatenate([np.pad(t[0], p, constant_values=np.inf) for t, p in spikes])
    order = np.argsort(each, axis=None)[: np.isfinite(each).sum()]
    return net, times, cuba.Result(each.ravel()[order], order // each.shape[1], found.gradients)


@pytest.mark.parametrize(
    "options",
    [{}, {"portable": True}, {"window": 0.3e-3}, {"most": 3}, {"in_order": True}],
    ids=["native", "portable", "window", "most", "in-order"],
)
def test_sparse_limit_is_exact(sparse: tuple[Network, np.ndarray, cuba.Result], options: dict[str, object]) -> None:
    net, times, wanted = sparse
    if options.get("in_order") and np.ndim(net.projections[1].delay):
        pytest.skip("events are in the order of time only where all delays are the same")
    by_hand = cuba.ByHand(net, times, **options)
    try:
        by_hand.run(Meter())
        found = by_hand.result()
    finally:
        by_hand.close()
    assert len(found.times) > 40
    assert np.array_equal(found.neurons, wanted.neurons)
    assert np.allclose(found.times, wanted.times, rtol=0, atol=1e-12)
    assert_close(dict(found.gradients), dict(wanted.gradients), 1e-9)


@pytest.mark.parametrize("own_delays", [False, True], ids=["common", "own"])
def test_refractory_gradient_of_sparse_limit_is_that_of_differences(own_delays: bool) -> None:
    rng = np.random.default_rng(1)
    n, row = 30, 8
    target = np.concatenate([np.sort(rng.choice(n, row, replace=False)) for _ in range(n)])
    start, receptor = row * np.arange(n + 1), (np.arange(n) >= 24).astype(int)
    weights = np.repeat(np.where(receptor, -4e-3, 2e-3), row) * rng.uniform(0.5, 1.5, n * row)
    inputs = rng.normal(1e-3, 1e-3, (4, n))
    delay = rng.uniform(0.5e-3, 3e-3, n * row) if own_delays else 1.5e-3
    times, sources = np.sort(rng.uniform(0, 40e-3, 12)), rng.integers(0, 4, 12)
    direction = rng.normal(size=weights.shape) * 1e-3, rng.normal(size=inputs.shape) * 1e-3
    sensitivity = rng.normal(size=n)

    def simulate(step: float) -> tuple[float, np.ndarray, float]:
        """Loss, neurons that spike, derivative along the direction."""
        limit = SparseLimit(
            *(start, target, weights + step * direction[0], receptor, inputs + step * direction[1]),
            delay=delay,
            refractory=4e-3,
            threshold=-1e-3,
            reset=-11e-3,
        )
        try:
            limit.forward(times, sources, 0.1)
            t, j = limit.spikes()
            limit.backward(sensitivity[j])
            by_weights, by_inputs = limit.gradients()
        finally:
            limit.close()
        slope = (by_weights * direction[0]).sum() + (by_inputs * direction[1]).sum()
        return float((sensitivity[j] * t).sum()), j, float(slope)

    (low, a, _), (_, b, slope), (high, c, _) = (simulate(x) for x in (-1e-6, 0.0, 1e-6))
    assert len(a) > n and np.array_equal(a, b) and np.array_equal(b, c)
    assert slope == pytest.approx((high - low) / 2e-6, rel=1e-6)


def test_sparse_limit_refuses_what_it_cannot_do() -> None:
    network = (np.array([0, 1, 1]), np.array([1]), np.array([1e-3]), np.zeros(2), np.zeros((1, 2)))
    with pytest.raises(ValueError, match="have to be positive"):
        SparseLimit(*network, threshold=1e-3, reset=0.0, in_order=False)
    with pytest.raises(ValueError, match="can't be refractory"):
        SparseLimit(*network, threshold=1e-3, reset=0.0, refractory=1e-3)
    with pytest.raises(ValueError, match="different"):
        SparseLimit(*network, threshold=1e-3, reset=0.0, tau=(5e-3, 20e-3))
    with pytest.raises(ValueError, match="below the threshold"):
        SparseLimit(*network, threshold=1e-3, reset=2e-3)


# --- CUDA on paper ----------------------------------------------------------------------------------------------------

SAID = """
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_ZN3snn8backwardENS_7NetworkE' for 'sm_90'
ptxas info    : Function properties for _ZN3snn8backwardENS_7NetworkE
    80 bytes stack frame, 56 bytes spill stores, 60 bytes spill loads
ptxas info    : Used 96 registers, used 1 barriers, 80 bytes cumulative stack size, 1072 bytes smem
ptxas info    : Compiling entry function '_ZN3snn7forwardENS_7NetworkE' for 'sm_90'
ptxas info    : Function properties for _ZN3snn7forwardENS_7NetworkE
    80 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 128 registers, used 1 barriers
"""


def test_what_the_compiler_says_of_kernels_is_read() -> None:
    found = cuda_on_paper.kernels(SAID)
    assert found["backward"] == cuda_on_paper.Kernel(registers=96, stack=80, spilled=56, shared=1072)
    assert found["forward"] == cuda_on_paper.Kernel(registers=128, stack=80, spilled=0, shared=0)
    assert [found[name].blocks(cuda_on_paper.H100) for name in ("forward", "backward")] == [4, 5]
    with pytest.raises(ValueError, match="no kernel; expected forward and backward"):
        cuda_on_paper.kernels("ptxas info    : 0 bytes gmem")
    with pytest.raises(ValueError, match="expected a kernel's name"):
        cuda_on_paper.kernels(SAID.replace("Used 96 registers", "Used many registers"))


def test_a_batch_on_paper_takes_as_many_rounds_as_blocks_do_not_fit_at_once() -> None:
    found = cuda_on_paper.kernels(SAID)
    count = {"pieces": [20.0, 80.0], "bytes": 1000, "launches": 7, "copies": 14}
    small, full, more = (cuda_on_paper.estimate(count, found, n) for n in (1, 4 * 132, 4 * 132 + 1))
    assert small["seconds"]["forward"] == full["seconds"]["forward"] == more["seconds"]["forward"] / 2
    assert small["seconds"]["forward"] == pytest.approx(100 * (10 * 40 + 8 * 270) / 1.755e9)
    assert more["bytes"] == 529 * 1000
    assert more["seconds"]["bus"] == pytest.approx(14 * 6e-6 + 529_000 / 50e9)
    assert full["together"] == pytest.approx(sum(full["seconds"].values()))
