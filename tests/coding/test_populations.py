"""Excitatory and inhibitory populations: Dale's law, spike for spike in Brian2, coding, balance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snnmodels.coding import (
    CodingNetwork,
    Homeostat,
    PopulationsResponse,
    Signal,
    Trace,
    TwoPopulations,
    golden_angle_decoder,
    joint_loss,
    simulate,
    simulate_populations,
    simulate_populations_brian,
    smooth_signal,
    split_signs,
)

LOSS = joint_loss(
    {"sparsity": "nu*r", "adaptation": "mu*a**2"}, {"a": Trace("neuron", 0.05)}, {"nu": 0.0, "mu": 0.0}
)


def two(n_e: int = 40, n_i: int = 10, delays: tuple[float, float] = (0.0, 0.0), **values) -> TwoPopulations:
    e = CodingNetwork(
        split_signs(golden_angle_decoder(n_e, 0.1), 0), LOSS, {"nu": 0.03, "mu": 1e-3} | values, delay=delays[0]
    )
    i = CodingNetwork(split_signs(golden_angle_decoder(n_i, 0.05), 0), LOSS, {"nu": 0.001}, delay=delays[1])
    return TwoPopulations(e, i)


def split(signal: Signal) -> Signal:
    return Signal(split_signs(signal.values, 1), signal.dt)


@pytest.fixture(scope="module")
def signal() -> Signal:
    return split(smooth_signal(0.25, seed=1))


def assert_same(one: PopulationsResponse, other: PopulationsResponse) -> None:
    for name in ("excitatory", "inhibitory"):
        a, b = getattr(one, name), getattr(other, name)
        assert len(a.spike_steps) > 50
        np.testing.assert_array_equal(a.spike_steps, b.spike_steps)
        np.testing.assert_array_equal(a.spike_neurons, b.spike_neurons)


CASES = {
    "prompt": two(),
    "delays": two(delays=(2e-4, 1e-4)),
    "budget": two(nu=Homeostat(0.03, 500.0, 5.0)),
}


@pytest.mark.parametrize("case", CASES)
def test_forms_and_brian_agree(case, signal) -> None:
    network = CASES[case]
    dense = simulate_populations(network, signal, recurrence="dense")
    assert_same(dense, simulate_populations(network, signal))
    assert_same(dense, simulate_populations_brian(network, signal))
    if case == "delays":
        assert_same(dense, simulate_populations_brian(network, signal, recurrence="dense"))


@pytest.mark.slow
@pytest.mark.parametrize("recurrence", ["dense", "low_rank"])
def test_cpp_standalone(recurrence, signal) -> None:
    network = CASES["delays"]
    dense = simulate_populations(network, signal, recurrence="dense")
    assert_same(dense, simulate_populations_brian(network, signal, recurrence=recurrence, target="cpp_standalone"))


def test_noise_is_the_same_in_both_forms(signal) -> None:
    network = replace(CASES["prompt"], excitatory=replace(CASES["prompt"].excitatory, noise=0.003))
    one, other = (simulate_populations(network, signal, recurrence=r) for r in ("dense", "low_rank"))
    assert_same(one, other)
    assert not np.array_equal(
        one.excitatory.spike_steps, simulate_populations(CASES["prompt"], signal).excitatory.spike_steps
    )


def test_dales_law() -> None:
    weights = CASES["prompt"].weights()
    assert (weights["E to I"] >= 0).all()
    assert (weights["I to E"] <= 0).all()
    assert (weights["I to I"] <= 0).all()
    assert weights["E to I"].max() > 0 > weights["I to E"].min()


def test_first_spikes_by_hand() -> None:
    """One signal, one neuron each: the increments of both losses decide, a step later than they become known."""
    free = joint_loss({"c": "nu*r"}, parameters={"nu": 0.0})
    e, i = CodingNetwork(np.array([[0.2]]), free), CodingNetwork(np.array([[0.1]]), free)
    x = np.full((6, 1), 0.15)
    response = simulate_populations(TwoPopulations(e, i, tau_bridge=0.001), Signal(x, 1e-4))
    # V_E = .2*.15 = .03 > .02 at once; then I sees x̂_E = .2 and spikes twice, in the next two steps
    assert response.excitatory.spike_steps.tolist() == [0]
    assert response.inhibitory.spike_steps.tolist() == [1, 2]


def test_inhibition_follows_excitation_and_the_signal_is_coded() -> None:
    whole = smooth_signal(2.0, seed=2)
    response = simulate_populations(two(80, 20), split(whole))
    estimate = response.excitatory.estimate
    signed = estimate[:, :2] - estimate[:, 2:]
    power = (whole.values**2).sum(1).mean()
    assert ((whole.values[1:] - signed) ** 2)[5000:].sum(1).mean() < 0.02 * power
    assert response.inhibitory.coding_loss(discard=0.5) < 0.005 * power
    # balance: what excites a neuron is taken back by inhibition within milliseconds
    currents = response.currents(np.arange(80), window=0.01)
    on = currents["excitation"][5000:] > 1.0
    together = np.corrcoef(currents["excitation"][5000:][on], -currents["inhibition"][5000:][on])[0, 1]
    assert together > 0.9
    net = (currents["excitation"] + currents["inhibition"])[5000:][on].mean() / currents["excitation"][5000:][on].mean()
    assert abs(net) < 0.2


def test_one_population_on_split_signals_is_the_limit() -> None:
    """Inhibition that is prompt and fine leaves what one population codes on the same channels, but for a few steps."""
    whole = split(smooth_signal(1.0, seed=2))
    network = two(80, 20)
    one = simulate(network.excitatory, whole)
    both = simulate_populations(network, whole)
    assert both.excitatory.rate(0.2) == pytest.approx(one.rate(0.2), rel=0.1)


def test_mistakes() -> None:
    good = CASES["prompt"]
    signed = CodingNetwork(golden_angle_decoder(10, 0.1), LOSS)
    with pytest.raises(ValueError, match=r"the inhibitory decoder .* negative entries.*split_signs"):
        TwoPopulations(good.excitatory, signed)
    with pytest.raises(ValueError, match="has 4 signals, the inhibitory 1"):
        TwoPopulations(good.excitatory, CodingNetwork(np.ones((1, 3)), LOSS))
    other = joint_loss({"c": "nu*r"}, parameters={"nu": 0.0}, tau=0.01)
    with pytest.raises(ValueError, match=r"0\.02 and 0\.01 s"):
        TwoPopulations(good.excitatory, CodingNetwork(good.inhibitory.decoder, other))
    with pytest.raises(ValueError, match="tau_bridge must be positive"):
        TwoPopulations(good.excitatory, good.inhibitory, tau_bridge=0.0)
    with pytest.raises(ValueError, match="2 dimensions, the decoder 4"):
        simulate_populations(good, smooth_signal(0.01))
