"""What a simulation on a time grid refuses, warns of and promises."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import warnings
from collections.abc import Iterator

import brian2
import numpy as np
import pytest

from snnmodels.gradients import GridSimulation, SimulationError, UnresolvedSpikes
from snnmodels.losses import MaxVoltageCrossEntropy, SpikeTimeFunction, TTFSCrossEntropy
from snnmodels.templates import Model, Network, Population, Projection, SpikeInput, load_model
from snnmodels.templates.model import Parameter
from snnmodels.templates.values import all_finite
from tests.needs import COMPILED

MS = 1e-3
LABELS = np.array([0, 1])
INPUTS = {"input": np.array([[1.3, 4.7, 2.9], [3.1, 0.7, 5.3]]) * MS}


def small(**changes: object) -> Network:
    lif = load_model("lif", "exp_synapse")
    network = Network(
        "small",
        (SpikeInput("input", 3),),
        (Population("hidden", 4, lif, learnable=("tau_m",)), Population("output", 2, lif)),
        (
            Projection("w_in", "input", "hidden", np.full((3, 4), 3.0) + np.arange(4)),
            Projection("w_out", "hidden", "output", np.full((4, 2), 2.0) + np.arange(2)),
        ),
        "output",
        20 * MS,
    )
    return dataclasses.replace(network, **changes)


@pytest.fixture(scope="module")
def simulation() -> Iterator[GridSimulation]:
    with GridSimulation(small(), TTFSCrossEntropy(), batch_size=2, dt=0.5 * MS, input_spikes=2) as s:
        yield s


# --- making -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "cuda"}, "target = 'cuda'; gradients on a time grid run on numpy, cython, cpp_standalone"),
        ({"dt": 0.0}, "a time step must be positive"),
        ({"dt": -1e-4}, "a time step must be positive"),
        ({"dt": float("nan")}, "dt: expected a finite number"),
        ({"dt": 0.3e-3}, "the duration 20 ms of network 'small' is not a whole number of steps of dt = 0.3 ms"),
        ({"batch_size": 0}, "batch_size = 0; it must be a positive whole number"),
        ({"batch_size": 2.5}, "batch_size = 2.5; it must be a positive whole number"),
        ({"max_spikes": 0}, "max_spikes = 0; it must be a positive whole number"),
        ({"input_spikes": -1}, "input_spikes = -1; it must be a positive whole number"),
        ({"timing": "exact"}, "timing = 'exact'; it must be 'precise' or 'grid'"),
    ],
)
def test_options_that_make_no_simulation(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        GridSimulation(small(), TTFSCrossEntropy(), **{"dt": 0.5 * MS, **options})  # type: ignore[arg-type]


def test_a_loss_on_spikes_needs_a_spiking_output() -> None:
    readout = Population("output", 2, load_model("leaky_integrator"))
    with pytest.raises(ValueError, match=r"population 'output' .*has no threshold; use a voltage loss"):
        GridSimulation(small(populations=(small().populations[0], readout)), TTFSCrossEntropy(), dt=0.5 * MS)


def test_a_loss_on_the_voltage_needs_an_output_without_reset() -> None:
    with pytest.raises(ValueError, match="use a model without threshold such as leaky_integrator"):
        GridSimulation(small(), MaxVoltageCrossEntropy(), dt=0.5 * MS)


def test_a_voltage_loss_reads_a_state_that_exists() -> None:
    readout = Population("output", 2, load_model("leaky_integrator"))
    network = small(populations=(small().populations[0], readout))
    with pytest.raises(ValueError, match=r"the maximum of 'u', which is no state of .*; there is I_syn, v"):
        GridSimulation(network, MaxVoltageCrossEntropy("u"), dt=0.5 * MS)


def with_parameter(model: Model, name: str) -> Model:
    return dataclasses.replace(model, parameters={**model.parameters, name: Parameter(name, 1.0, "1", "1")})


def test_names_that_brian_reserves_are_refused() -> None:
    lif = with_parameter(load_model("lif", "exp_synapse"), "xi")
    with pytest.raises(ValueError, match="'xi' has a special meaning in equations"):
        GridSimulation(small(populations=(small().populations[0], Population("output", 2, lif))), TTFSCrossEntropy())


# --- running ----------------------------------------------------------------------------------------------------------

TIMES = INPUTS["input"]


def with_time(time: float) -> np.ndarray:
    """The times with one of trial 1, source 2, replaced."""
    times = np.array(TIMES)
    times[1, 2] = time
    return times


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (TIMES[:, :2], "spike times of input 'input' have shape (2, 2); expected (2, 3) or (2, 3, spikes)"),
        (TIMES[:1], "2 targets for 1 trials of the inputs"),
        (TIMES[0], "have shape (3,)"),
        (with_time(np.nan), "input 'input', trial 1, neuron 2: a spike time is NaN; use inf where there is no spike"),
        (with_time(-1 * MS), "trial 1, neuron 2: a spike time is negative (-1 ms); times start at 0 s"),
        (with_time(20 * MS), "trial 1, neuron 2: a spike at 20 ms is not before the end of the trial at 20 ms"),
        (with_time(31 * MS), "make the duration longer"),
        (np.stack([TIMES, TIMES - 0.1 * MS], axis=2), "trial 0, neuron 0: spike times are not ascending; sort them"),
        (np.stack([TIMES + np.inf, TIMES], axis=2), "spike times are not ascending"),
        (np.ma.masked_less(TIMES, 3 * MS), "input 'input' has masked values; fill them, as .filled(np.inf)"),
        (np.repeat(TIMES[..., None], 3, axis=2), "has up to 3 spikes per source; the simulation was made for 2"),
    ],
)
def test_input_times_that_make_no_trial(simulation: GridSimulation, times: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        simulation.run({"input": times}, LABELS)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 2]), "label 2 is out of range for 2 output neurons (0 to 1)"),
        (np.array([-1, 0]), "label -1 is out of range"),
        (np.array([0.0, 1.0]), "expected integer labels"),
        (np.array([], dtype=int), "0 targets for 2 trials"),
        (np.array([0, 1, 0]), "3 targets for 2 trials"),
    ],
)
def test_labels_that_fit_no_output(simulation: GridSimulation, labels: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        simulation.run(INPUTS, labels)


def test_inputs_are_named(simulation: GridSimulation) -> None:
    with pytest.raises(ValueError, match=re.escape("inputs are ['stimulus']; network 'small' has ['input']")):
        simulation.run({"stimulus": TIMES}, LABELS)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"w_on.w": np.zeros((3, 4))}, "no trainable value 'w_on.w'; network 'small' has w_in.w, w_out.w, hid"),
        ({"w_in.w": np.zeros((4, 3))}, "value of 'w_in.w' has shape (4, 3); it must be (3, 4)"),
        ({"hidden.tau_m": np.array(np.nan)}, "value of 'hidden.tau_m' is not finite"),
    ],
)
def test_values_that_are_not_the_networks(
    simulation: GridSimulation, values: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        simulation.run(INPUTS, LABELS, values)


def test_an_error_leaves_the_simulation_usable(simulation: GridSimulation) -> None:
    first = simulation.run(INPUTS, LABELS)
    with pytest.raises(ValueError, match="NaN"):
        simulation.run({"input": with_time(np.nan)}, LABELS)
    again = simulation.run(INPUTS, LABELS)
    assert again.loss == first.loss
    for key, value in first.gradients.items():
        np.testing.assert_array_equal(again.gradients[key], value, err_msg=key)


def test_more_spikes_than_there_is_room_for() -> None:
    with GridSimulation(small(), TTFSCrossEntropy(), batch_size=2, dt=0.5 * MS, max_spikes=1) as s:
        strong = {"w_in.w": np.full((3, 4), 30.0)}
        with pytest.raises(SimulationError, match=r"'hidden' spiked more than max_spikes = 1 times in a trial \(\d+"):
            s.run(INPUTS, LABELS, strong)


def test_spikes_that_no_step_resolves_are_warned_of_and_counted() -> None:
    with GridSimulation(small(), TTFSCrossEntropy(), batch_size=2, dt=1 * MS) as s:
        # several spikes of a neuron belong into one step
        with pytest.warns(UnresolvedSpikes, match="could not be resolved within a step"):
            found = s.run(INPUTS, LABELS, {"w_in.w": np.full((3, 4), 400.0)})
        assert found.unresolved > 0
        with warnings.catch_warnings():
            warnings.simplefilter("error", UnresolvedSpikes)
            assert s.run(INPUTS, LABELS, {"w_in.w": np.full((3, 4), 3.0)}).unresolved == 0


def test_a_user_function_as_loss() -> None:
    """The mean of first spike times, in ms: its gradient by an input time is that of all of them moving along."""

    def mean_time(times: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
        derivative = np.zeros_like(times)
        derivative[:, :, 0] = 1e3 / times[:, :, 0].size
        return float(times[:, :, 0].mean() * 1e3), derivative

    with GridSimulation(small(), SpikeTimeFunction(mean_time), batch_size=2, dt=0.5 * MS) as s:
        found = s.run(INPUTS, LABELS)
        later = s.run({"input": TIMES + 0.1 * MS}, LABELS, gradient=False)
    # everything moves when all inputs do: the sum of the derivatives by input times is one
    assert later.loss - found.loss == pytest.approx(0.1, abs=1e-9)
    assert found.gradients["input.times"].sum() == pytest.approx(1e3, rel=1e-10)


# --- promises ---------------------------------------------------------------------------------------------------------


def test_results_do_not_depend_on_what_ran_before(simulation: GridSimulation) -> None:
    first = simulation.run(INPUTS, LABELS, small().trainable())
    other = simulation.run({"input": TIMES[::-1] * 1.1}, LABELS, {"w_in.w": np.full((3, 4), 4.0)})
    again = simulation.run(INPUTS, LABELS, small().trainable())
    assert other.loss != first.loss
    with GridSimulation(small(), TTFSCrossEntropy(), batch_size=2, dt=0.5 * MS, input_spikes=2) as s:
        fresh = s.run(INPUTS, LABELS)
    for outcome in (again, fresh):
        assert outcome.loss == first.loss
        np.testing.assert_array_equal(outcome.output, first.output)
        for key, value in first.gradients.items():
            np.testing.assert_array_equal(outcome.gradients[key], value, err_msg=key)


def test_without_gradient_the_loss_is_the_same(simulation: GridSimulation) -> None:
    whole = simulation.run(INPUTS, LABELS, small().trainable())
    loss_only = simulation.run(INPUTS, LABELS, gradient=False)
    assert loss_only.loss == whole.loss
    assert loss_only.gradients == {}


def test_gradients_have_the_shapes_of_what_they_belong_to(simulation: GridSimulation) -> None:
    found = simulation.run(INPUTS, LABELS, small().trainable())
    shapes = {key: np.shape(value) for key, value in found.gradients.items()}
    assert shapes == {"w_in.w": (3, 4), "w_out.w": (4, 2), "hidden.tau_m": (), "input.times": (2, 3)}
    padded = np.stack([TIMES, np.full_like(TIMES, np.inf)], axis=2)
    with_padding = simulation.run({"input": padded}, LABELS)
    assert with_padding.loss == found.loss
    np.testing.assert_array_equal(with_padding.gradients["input.times"][:, :, 0], found.gradients["input.times"])
    assert not with_padding.gradients["input.times"][:, :, 1].any()


def test_spike_times_ascend_and_are_padded(simulation: GridSimulation) -> None:
    simulation.run(INPUTS, LABELS, small().trainable())
    times = simulation.spike_times("hidden")
    assert times.shape[:2] == (2, 4)
    there = np.isfinite(times)
    assert there.any()
    assert np.all(there[:, :, :-1] >= there[:, :, 1:])
    assert np.all(times[:, :, 1:][there[:, :, 1:]] > times[:, :, :-1][there[:, :, 1:]])
    with pytest.raises(ValueError, match="no spiking population 'input'; there are hidden, output"):
        simulation.spike_times("input")


def test_brian_is_left_as_it_was() -> None:
    before = brian2.defaultclock.dt, brian2.prefs["codegen.target"], brian2.get_device()
    with GridSimulation(small(), TTFSCrossEntropy(), batch_size=2, dt=0.25 * MS) as s:
        s.run(INPUTS, LABELS)
    assert (brian2.defaultclock.dt, brian2.prefs["codegen.target"], brian2.get_device()) == before


def test_nothing_is_logged(capfd: pytest.CaptureFixture[str]) -> None:
    import gc

    with GridSimulation(small(), TTFSCrossEntropy(), batch_size=2, dt=0.5 * MS) as s:
        s.run(INPUTS, LABELS)
    del s
    gc.collect()
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_without_input_gradients_the_others_are_the_same() -> None:
    options = {"batch_size": 2, "dt": 0.5 * MS}
    gradients = []
    for wanted in (True, False):
        with GridSimulation(small(), TTFSCrossEntropy(), input_gradients=wanted, **options) as s:
            gradients.append(s.run(INPUTS, LABELS).gradients)
    assert set(gradients[0]) - set(gradients[1]) == {"input.times"}
    for key, gradient in gradients[1].items():
        np.testing.assert_allclose(gradient, gradients[0][key], rtol=1e-12, atol=0)


@pytest.mark.parametrize("target", ["numpy", COMPILED])
def test_a_run_depends_on_its_arguments_alone(target: str) -> None:
    mask = np.ones((4, 2), dtype=bool)
    mask[1, 0] = False
    first, second = small().projections
    network = small(projections=(first, dataclasses.replace(second, weights=second.weights * mask, mask=mask)))
    with GridSimulation(network, TTFSCrossEntropy(), batch_size=2, dt=0.5 * MS, target=target) as s:
        before = s.run(INPUTS, LABELS)
        own = network.trainable()
        for key in ("w_in.w", "w_out.w", "hidden.tau_m"):
            assert s.run(INPUTS, LABELS, {key: np.asarray(own[key]) * 1.3}, gradient=False).loss != before.loss
        assert s.run(INPUTS, LABELS, own).loss == before.loss
        s.run(INPUTS, LABELS, {"w_in.w": np.asarray(own["w_in.w"]) * 1.2}, gradient=False)
        after = s.run(INPUTS, LABELS)
        assert s.network is network
    for key, value in before.gradients.items():
        np.testing.assert_array_equal(after.gradients[key], value, err_msg=key)


@pytest.mark.parametrize("target", ["numpy", COMPILED])
def test_an_interruption_leaves_no_values_behind(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = small()
    own = network.trainable()
    values = {key: np.asarray(value) * 1.2 for key, value in own.items()}
    values["hidden.tau_m"] = np.asarray(5e-3)  # as the synapse's: another form of the flow
    with GridSimulation(network, TTFSCrossEntropy(), batch_size=2, dt=0.5 * MS, target=target) as s:
        expected = s.run(INPUTS, LABELS).loss
        for after in range(12):
            session, written = type(s._session), 0
            write = session.write

            def interrupted(self: object, *arguments: object, write: object = write, after: int = after) -> None:
                nonlocal written
                written += 1
                if written > after:
                    raise KeyboardInterrupt
                write(self, *arguments)  # type: ignore[operator]

            with monkeypatch.context() as patched:
                patched.setattr(session, "write", interrupted)
                with contextlib.suppress(KeyboardInterrupt):
                    s.run(INPUTS, LABELS, values if after % 2 else {**values, "hidden.tau_m": own["hidden.tau_m"]})
            assert s.run(INPUTS, LABELS).loss == expected, after
    with pytest.raises(SimulationError, match="was closed"):
        s.run(INPUTS, LABELS)


@pytest.mark.parametrize(
    ("bad", "message"), [(np.full((4, 2), np.nan), "not finite"), (np.zeros((2, 4)), r"it must be \(4, 2\)")]
)
def test_refused_weights_change_none(simulation: GridSimulation, bad: np.ndarray, message: str) -> None:
    before = simulation.run(INPUTS, LABELS).loss
    weights = np.array(simulation.network.trainable()["w_in.w"])
    with pytest.raises(ValueError, match=message):
        simulation.run(INPUTS, LABELS, {"w_in.w": weights + 1, "w_out.w": bad})
    assert simulation.run(INPUTS, LABELS).loss == before


@pytest.mark.parametrize("values", [[np.inf, -np.inf], [np.nan, 0.0], [np.inf, 0.0]])
def test_numbers_that_are_not_finite(values: list[float]) -> None:
    assert not all_finite(np.array(values))


def test_a_sum_that_overflows_is_of_finite_numbers() -> None:
    assert all_finite(np.full(3, 1e308))
