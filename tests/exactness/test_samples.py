"""Samples of a read-out's potential: gradients against differences and the reference, and one form against another."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest

from snnmodels import oracle
from snnmodels.eventprop import GradientReport, Outcome, Simulation, VoltageError, check_gradient
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model
from tests.exactness.networks import LIF, MS, Case, generic, inputs, readouts

COMPILED = [pytest.mark.slow, pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")]


def targets_for(network: Network, trials: int, interval: float) -> np.ndarray:
    shape = (trials, network.populations[-1].n, int(network.duration / interval + 1e-9))
    return np.random.default_rng(7).normal(scale=0.3, size=shape)


def check(case: Case, loss: VoltageError, **options: object) -> GradientReport:
    network, times = case
    targets = targets_for(network, len(times["input"]), loss.interval)
    report = check_gradient(network, inputs=times, loss=loss, targets=targets, **options)  # type: ignore[arg-type]
    for row in report.rows:
        # differences resolve a part in 1e9 of the larger groups; of the others, what the report says
        assert row.differences <= max(1e-9, 5 * row.resolution), row
    return report


@pytest.mark.parametrize(
    ("variable", "dt"),
    [
        ("v", 0.5),
        pytest.param("v", 1.0, marks=pytest.mark.slow),
        pytest.param("v", 0.1, marks=pytest.mark.slow),
        pytest.param("I_syn", 0.5, marks=pytest.mark.slow),
    ],
)
def test_against_differences_and_the_reference(variable: str, dt: float) -> None:
    report = check(generic(readouts, 0.5 * MS), VoltageError(variable, interval=1 * MS), dt=dt * MS)
    assert {"hidden.tau_m", "output.tau_m", "output.tau_syn", "w_in.w", "input.times"} <= {r.key for r in report.rows}
    for row in report.rows:
        assert row.oracle is not None and row.oracle <= 1e-9, row


def test_samples_are_the_states_at_their_times() -> None:
    network, times = generic(readouts, 0.5 * MS)
    loss = VoltageError(interval=3 * MS)  # 40 ms are no multiple of it
    with Simulation(network, loss, batch_size=4, dt=0.5 * MS) as simulation:
        found = simulation.run(times, targets_for(network, 3, loss.interval))
    expected = oracle.simulate(network, times).samples("v", np.arange(1, 14) * 3 * MS)
    assert found.output.shape == (3, 4, 13)
    np.testing.assert_allclose(found.output, expected.value, rtol=1e-11, atol=1e-13)


def busy(seed: int) -> Case:
    """Recurrent, driven hard, with masks: spikes that cause others within a step, some of them found a step late."""
    network, times = readouts(seed)
    rng = np.random.default_rng(seed + 50)
    hidden, output = network.populations
    hidden = dataclasses.replace(hidden, learnable=("tau_m", "v_th", "v_reset", "tau_syn"))
    w_in, w_out = network.projections
    projections = (
        dataclasses.replace(w_in, weights=2.5 * np.asarray(w_in.weights)),
        dataclasses.replace(w_out, mask=rng.uniform(size=(5, 4)) < 0.7),
        Projection("rec", "hidden", "hidden", rng.uniform(-1, 2, (5, 5)), mask=~np.eye(5, dtype=bool)),
    )
    return dataclasses.replace(network, populations=(hidden, output), projections=projections), times


@pytest.mark.parametrize("dt", [1.0, *(pytest.param(dt, marks=pytest.mark.slow) for dt in (0.5, 0.1))])
def test_the_gradient_is_that_of_what_is_simulated(dt: float) -> None:
    """A spike found a step late is not in the sample before; the derivative has to know."""
    case = busy(3)
    found = [outcome(case, VoltageError(interval=1 * MS), dt=step * MS) for step in (dt, 0.01)]
    if dt == 1.0:
        assert abs(found[0].loss - found[1].loss) > 1e-6 * found[1].loss
    check(case, VoltageError(interval=1 * MS), dt=dt * MS, oracle=False)


def delta_readout(seed: int) -> Case:
    """The potential jumps at arrivals: the derivative holds as long as none passes a sample time."""
    network, times = readouts(seed)
    hidden, output = network.populations
    model = load_model("leaky_integrator", "delta_synapse")
    output = Population("output", output.n, model, learnable=("tau_m", "v_rest"))
    w_in, w_out = network.projections
    projections = (w_in, dataclasses.replace(w_out, receptor="delta_synapse"))
    return dataclasses.replace(network, populations=(hidden, output), projections=projections), times


def test_a_readout_with_jumps() -> None:
    report = check(generic(delta_readout, 0.5 * MS), VoltageError(interval=2 * MS), dt=0.5 * MS)
    assert all(row.oracle is not None and row.oracle <= 1e-9 for row in report.rows)


def outcome(case: Case, loss: VoltageError, **options: object) -> Outcome:
    network, times = case
    trials = len(times["input"])
    keywords = {"batch_size": trials + 1, "dt": 0.5 * MS, **options}
    with Simulation(network, loss, **keywords) as simulation:  # type: ignore[arg-type]
        return simulation.run(times, targets_for(network, trials, loss.interval))


def assert_same(found: Outcome, expected: Outcome, tolerance: float) -> None:
    np.testing.assert_allclose(found.output, expected.output, rtol=tolerance, atol=tolerance)
    assert found.loss == pytest.approx(expected.loss, rel=tolerance)
    for key, value in expected.gradients.items():
        assert np.linalg.norm(found.gradients[key] - value) <= tolerance * np.linalg.norm(value), key


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({"projections": "dense"}, 1e-10),
        pytest.param({"target": "cython", "projections": "synapses"}, 1e-10, marks=pytest.mark.slow),
        pytest.param({"target": "cython", "projections": "dense"}, 1e-10, marks=pytest.mark.slow),
        pytest.param({"target": "cpp_standalone", "projections": "synapses"}, 1e-10, marks=COMPILED),
        pytest.param({"target": "cpp_standalone"}, 1e-10, marks=COMPILED),
        pytest.param({"target": "cpp_standalone", "dtype": "float32"}, 2e-4, marks=COMPILED),
    ],
)
@pytest.mark.parametrize("interval", [0.5, 3.0])
def test_every_form_agrees(options: dict[str, object], tolerance: float, interval: float) -> None:
    loss = VoltageError(interval=interval * MS, skip=2)
    expected = outcome(busy(3), loss, projections="synapses")
    assert_same(outcome(busy(3), loss, **options), expected, tolerance)


def make(network: Network, loss: VoltageError) -> None:
    Simulation(network, loss, batch_size=1, dt=0.5 * MS)


def test_refusals() -> None:
    network, times = readouts(0)
    with pytest.raises(ValueError, match=r"interval of 0\.7 ms between samples is not a whole number of steps"):
        make(network, VoltageError(interval=0.7 * MS))
    with pytest.raises(ValueError, match=r"interval of 0\.1 ms between samples is not a whole number of steps"):
        make(network, VoltageError(interval=0.1 * MS))
    with pytest.raises(ValueError, match="interval of 50 ms between samples is longer than the trial of 40 ms"):
        make(network, VoltageError(interval=50 * MS))
    with pytest.raises(ValueError, match=r"the loss reads samples of 'u'; .* has the states v, I_syn"):
        make(network, VoltageError(variable="u"))
    spiking = Network(
        "spiking",
        (SpikeInput("input", 4),),
        (Population("output", 3, LIF),),
        (Projection("w", "input", "output", np.ones((4, 3))),),
        "output",
        40 * MS,
    )
    with pytest.raises(ValueError, match=r"samples of 'v', which the reset of the spiking output .* interrupts"):
        make(spiking, VoltageError())
    with (
        Simulation(network, VoltageError(), batch_size=3, dt=0.5 * MS) as simulation,
        pytest.raises(ValueError, match=r"targets: expected shape .* = \(3, 4, 40\), got \(3, 4, 39\)"),
    ):
        simulation.run(times, np.zeros((3, 4, 39)))
    reference = oracle.simulate(network, inputs(trials=1))
    with pytest.raises(ValueError, match=r"sample times: expected one or more times after 0 and up to 0\.04 s"):
        reference.samples("v", np.array([0.0, 0.01]))
