"""Brian2 gives the reference's spike trains, spike for spike, on every target."""

from __future__ import annotations

import brian2
import numpy as np
import pytest

from snnmodels.coding import (
    CodingNetwork,
    Homeostat,
    JointLoss,
    Response,
    Signal,
    TimeCourse,
    brian_network,
    dynamical_signal,
    golden_angle_decoder,
    load_coding_network,
    log_uniform_norms,
    simulate,
    simulate_brian,
    simulate_brian_together,
    smooth_signal,
)
from snnmodels.targets.devices import preferences

N = 30


def assert_same(reference: Response, response: Response) -> None:
    assert len(reference.spike_steps) > 50
    np.testing.assert_array_equal(reference.spike_steps, response.spike_steps)
    np.testing.assert_array_equal(reference.spike_neurons, response.spike_neurons)
    for name, course in reference.controlled.items():
        np.testing.assert_allclose(response.controlled[name], course, rtol=1e-10)


@pytest.fixture(scope="module")
def loss(three_costs) -> JointLoss:
    return three_costs(tau_a=0.1, tau_b=0.05, nu=0.005, mu=0.002, kappa=3e-4, z=0.1)


@pytest.fixture(scope="module")
def signal() -> Signal:
    return smooth_signal(0.25, seed=7)


@pytest.fixture(scope="module")
def everything(loss) -> CodingNetwork:
    """A delay, a homeostat, a time course and a value per neuron at once."""
    return CodingNetwork(
        golden_angle_decoder(N, log_uniform_norms(N, 0.05, 0.4)),
        loss,
        {
            "nu": Homeostat(
                0.1, TimeCourse.from_steps({0.0: 600.0, 0.1: 900.0}, 0.25, 0.05), 8.0, np.linspace(1, 2, N)
            ),
            "z": TimeCourse.from_steps({0.0: 0.0, 0.12: 3.0}, 0.25, 0.01),
            "mu": np.linspace(0.001, 0.003, N),
        },
        delay=3e-4,
    )


@pytest.fixture(scope="module")
def cases(everything, loss) -> list[tuple[CodingNetwork, str]]:
    plain = CodingNetwork(everything.decoder, loss)
    return [(plain, "threshold"), (plain, "weight"), (everything, "threshold")]


def compare(cases, signal, target, **options) -> None:
    for (network, form), response in zip(
        cases, simulate_brian_together(cases, signal, target=target, **options), strict=True
    ):
        assert_same(simulate(network, signal, form=form), response)


@pytest.mark.parametrize("recurrence", ["dense", "low_rank"])
def test_numpy(cases, signal, recurrence) -> None:
    compare(cases, signal, "numpy", recurrence=recurrence)


@pytest.fixture(scope="module")
def driven() -> Signal:
    """A signal with dynamics and a drive, which networks without dynamics can follow as well."""
    drive = np.zeros((2500, 2))
    drive[:1500, 0] = 10.0
    dynamics = load_coding_network("oscillator").loss.dynamics
    assert dynamics is not None
    return dynamical_signal(dynamics, drive, np.zeros(2))


@pytest.fixture(scope="module")
def own_costs_and_dynamics() -> list[tuple[CodingNetwork, str]]:
    oscillator = load_coding_network("oscillator")
    late = CodingNetwork(oscillator.decoder, oscillator.loss, delay=2e-4)
    return [(load_coding_network("wiring_cost"), "threshold"), (oscillator, "threshold"), (late, "threshold")]


@pytest.mark.parametrize("recurrence", ["dense", "low_rank"])
def test_numpy_with_costs_of_ones_own_and_with_dynamics(own_costs_and_dynamics, driven, recurrence) -> None:
    compare(own_costs_and_dynamics, driven, "numpy", recurrence=recurrence)


def test_cpp_standalone(everything, signal, tmp_path) -> None:
    compare([(everything, "threshold")], signal, "cpp_standalone", directory=tmp_path / "project")
    assert (tmp_path / "project" / "main.cpp").is_file()


@pytest.mark.slow
def test_cpp_standalone_both_forms(cases, signal) -> None:
    compare(cases, signal, "cpp_standalone")


@pytest.mark.slow
def test_cpp_standalone_with_costs_of_ones_own_and_with_dynamics(own_costs_and_dynamics, driven) -> None:
    compare(own_costs_and_dynamics[:2], driven, "cpp_standalone")


@pytest.mark.slow
def test_cython(cases, signal) -> None:
    compare(cases, signal, "cython")


def test_ties_go_to_the_first_neuron(loss) -> None:
    """Two neurons with the same column: the reference takes the first, and so does Brian2."""
    decoder = np.repeat(golden_angle_decoder(8, 0.2), 2, axis=1)
    network = CodingNetwork(decoder, loss)
    signal = smooth_signal(0.3, seed=1)
    reference = simulate(network, signal)
    assert_same(reference, simulate_brian(network, signal))
    assert set(reference.spike_neurons[:1] % 2) == {0}


def test_voltage_noise(loss, signal) -> None:
    decoder = golden_angle_decoder(N, 0.2)
    quiet, noisy = CodingNetwork(decoder, loss), CodingNetwork(decoder, loss, noise=0.01)
    one, again = simulate_brian(noisy, signal, seed=3), simulate_brian(noisy, signal, seed=3)
    np.testing.assert_array_equal(one.spike_steps, again.spike_steps)
    assert not np.array_equal(one.spike_steps, simulate_brian(quiet, signal).spike_steps)
    assert one.rate() == pytest.approx(simulate(noisy, signal).rate(), rel=0.3)


def test_objects_are_plain_brian2(loss, signal) -> None:
    network = CodingNetwork(golden_angle_decoder(N, 0.2), loss)
    with preferences({"codegen.target": "numpy"}):
        rendered = brian_network(network, signal, name="mine")
        monitor = brian2.StateMonitor(rendered.neurons, "v", record=True, when="end", dt=0.1 * brian2.ms)
        run = brian2.Network([*rendered.objects, monitor])
        run.run(signal.duration * brian2.second, namespace={})
    assert isinstance(rendered.neurons, brian2.NeuronGroup)
    response = rendered.response(network, signal)
    assert_same(simulate(network, signal), response)
    # v is the projected error at any time
    projected = (response.target - response.estimate) @ network.encoder.T
    np.testing.assert_allclose(monitor.v[:].T, projected, atol=1e-12)


def test_mistakes(loss, signal) -> None:
    network = CodingNetwork(golden_angle_decoder(N, 0.2), loss)
    with pytest.raises(ValueError, match="'numpy', 'cython' or 'cpp_standalone'"):
        simulate_brian(network, signal, target="cuda")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'threshold' or 'weight'"):
        brian_network(network, signal, form="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="3 dimensions"):
        brian_network(network, smooth_signal(0.1, dimensions=3))


def test_former_device_comes_back_after_a_failure(loss, signal) -> None:
    network = CodingNetwork(golden_angle_decoder(N, 0.2), loss)
    with pytest.raises(ValueError, match="3 dimensions"):
        simulate_brian(network, smooth_signal(0.1, dimensions=3), target="cpp_standalone")
    assert brian2.get_device() is brian2.all_devices["runtime"]
