"""Pseudospikes without a simulation: their times, how many there are, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.integrate
from brian2 import mV

from snnmodels.gradients import GridSimulation, Simulation
from snnmodels.losses import (
    CountError,
    ExpressionLoss,
    FinalValues,
    FunctionLoss,
    IntervalError,
    Loss,
    LossValue,
    Pseudospikes,
    SpikeTimeError,
    SpikeTimeFunction,
    SpikeTimes,
    TTFSCrossEntropy,
    VanRossumDistance,
    VoltageError,
    load_network,
    loss_of,
)
from snnmodels.templates import Network, Population, Projection, SpikeInput, TemplateError, describe, load_model
from snnmodels.templates.identity import description

MS = 1e-3
END = 20 * MS


def network(model: str | Path, *, learnable: tuple[str, ...] = (), n: int = 2, **parameters: Any) -> Network:
    neurons = Population("output", n, load_model(model), parameters, learnable)
    receptor = next(iter(neurons.model.receptors))
    return Network(
        "small",
        (SpikeInput("input", 1),),
        (neurons,),
        (Projection("w", "input", "output", np.zeros((1, n)), receptor),),
        "output",
        END,
    )


def arrays(times: Any, state: Any, *learned: Any) -> tuple[np.ndarray, ...]:
    """What a loss on spike times reads: times, the state at the end, and what is learned, times the duration."""
    state = np.asarray(state, dtype=float)
    return (np.asarray(times, dtype=float), state, *(np.full(state.shape, x) * END for x in learned))


def recorded(k: int) -> tuple[Loss, list[np.ndarray]]:
    """A loss that keeps the spike times that it is given."""
    read: list[np.ndarray] = []

    def keep(times: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
        read.append(times)
        return float(np.where(np.isfinite(times), times, 0).sum()) / len(times), np.isfinite(times) / len(times)

    return Pseudospikes(SpikeTimeFunction(keep), spikes=k), read


@pytest.mark.parametrize(
    ("model", "states", "peak"),
    [
        ("qif", np.array([[-0.09, -0.065], [-0.055, 0.015]]), 0.02),
        ("theta", np.array([[-3.0, 0.0], [1.5, 3.1]]), np.pi),
    ],
)
def test_times_are_those_of_the_neuron_with_a_constant_input(model: str, states: np.ndarray, peak: float) -> None:
    loss, read = recorded(3)
    bound = loss.for_network(network(model))
    value = bound.evaluate(arrays(np.full((2, 2, 0), np.inf), states), np.zeros(2))

    def flow(v: float) -> float:
        if model == "qif":
            return ((v + 0.065) * (v + 0.05) / 0.015 + 0.015) / 10e-3
        return (1 - np.cos(v) + (1 + np.cos(v)) * 0.25) / 10e-3

    def until(v: float) -> float:
        # t(v) along the flow, which is monotone
        return float(scipy.integrate.quad(lambda u: 1 / flow(u), v, peak, epsabs=0, epsrel=1e-12, limit=200)[0])

    first = np.vectorize(until)(states)
    interval = until(-0.08 if model == "qif" else -np.pi)
    expected = END + first[:, :, None] + np.arange(3) * interval
    np.testing.assert_allclose(read[0], expected, rtol=0, atol=1e-12)
    times, by_state = value.gradient
    assert times.shape == (2, 2, 0)
    np.testing.assert_allclose(by_state, -3 / np.vectorize(flow)(states) / 2, rtol=1e-10)


def test_parameters_that_are_learned_are_read_and_differentiated() -> None:
    learned = ("tau_m", "v_crit", "v_peak", "v_reset", "v_rest")
    values = np.array([12 * MS, -0.048, 0.01, -0.07, -0.06])
    small = network("qif", learnable=learned, n=1, **dict(zip(learned, values, strict=True)))
    loss, _ = recorded(2)
    bound = loss.for_network(small)
    assert len(bound.observables) == 2 + len(learned)

    def of(state: float, *given: float) -> LossValue:
        return bound.evaluate(arrays(np.full((1, 1, 0), np.inf), [[state]], *given), np.zeros(1))

    point = np.array([-0.055, *values])
    exact = np.array([g.item() for g in of(*point).gradient[1:]])
    exact[1:] *= END  # what is read is the integral of the parameter
    for k, x in enumerate(point):
        h = 1e-5 * abs(x)
        up, down = (of(*np.where(np.arange(6) == k, point + sign * h, point)).value for sign in (1, -1))
        assert exact[k] == pytest.approx((up - down) / (2 * h), rel=1e-7)
    assert np.abs(exact).min() > 0


def test_as_many_as_the_loss_needs() -> None:
    small = network("theta")
    times = np.array([[[5 * MS, np.inf], [np.inf, np.inf]], [[5 * MS, 9 * MS], [3 * MS, np.inf]]])
    observed = arrays(times, np.zeros((2, 2)))
    wanted = np.array([[[4, 8, 12], [7, 9, np.inf]], [[3, np.inf, np.inf], [2, 4, np.inf]]]) * MS
    intervals = np.array([[[4, 8], [7, np.inf]], [[3, np.inf], [np.inf, np.inf]]]) * MS
    named = ExpressionLoss("((t - wanted)/tau)**2", {"tau": "1*ms"}, {"wanted": "second"})
    first = ExpressionLoss("(first_spike/tau)**2", {"tau": "1*ms"})
    keeping, _ = recorded(1)
    gaps = np.array([[[np.inf, 8], [np.inf, np.inf]], [[3, np.inf], [np.inf, 4]]]) * MS  # spike 2 has target 2
    for loss, targets, number in (
        (Pseudospikes(named), gaps, (1 + 0 + 0 + 1) / 2),
        (Pseudospikes(SpikeTimeError()), wanted, (2 + 2 + 0 + 1) / 2),
        (Pseudospikes(SpikeTimeError(), spikes=2), wanted, (1 + 2 + 0 + 1) / 2),
        (Pseudospikes(VanRossumDistance()), wanted, (2 + 2 + 0 + 1) / 2),
        (Pseudospikes(IntervalError()), intervals, (2 + 2 + 0 + 0) / 2),
        (Pseudospikes(TTFSCrossEntropy()), np.array([0, 1]), 1 / 2),
        (Pseudospikes(named), wanted, (2 + 2 + 0 + 1) / 2),
        (keeping, np.zeros(2), 1 / 2),
    ):
        assert loss.for_network(small).pseudospikes(observed, targets) == {"output": number}, loss
    of_first = arrays(times[:, :, 0], np.zeros((2, 2)))
    assert Pseudospikes(first).for_network(small).pseudospikes(of_first, np.zeros(2)) == {"output": 1 / 2}
    both = Pseudospikes(SpikeTimeError()) + 2 * SpikeTimeError()
    assert both.for_network(small).pseudospikes((*observed, times), wanted) == {"output": 5 / 2}
    assert SpikeTimeError().for_network(small).pseudospikes(times, wanted) == {}
    # they are ordinary spikes for the loss alone, so that no trial is silent, and for no prediction
    entropy = Pseudospikes(TTFSCrossEntropy()).for_network(small)
    silent = arrays(np.full((1, 2, 0), np.inf), np.array([[0.0, 1.0]]))
    value = entropy.evaluate(silent, np.array([0]))
    assert value.predictions is not None and value.predictions.tolist() == [-1]
    assert entropy.silent_trials(silent, np.array([0])) == 0
    assert entropy.evaluate(observed, np.array([0, 0])).predictions.tolist() == [0, 1]  # type: ignore[union-attr]


def test_a_spike_at_the_end_itself_is_followed_after_an_interval() -> None:
    """The state is read before what happens then: the neuron is at its threshold."""
    loss, read = recorded(2)
    bound = loss.for_network(network("theta", n=1))
    bound.evaluate(arrays([[[END]]], [[np.pi]]), np.zeros(1))
    bound.evaluate(arrays(np.full((1, 1, 0), np.inf), [[np.pi]]), np.zeros(1))
    np.testing.assert_allclose(read[0], read[1], rtol=0, atol=1e-15)
    assert read[0][0, 0, 1] - END == pytest.approx(np.pi * 10 * MS / 0.5)


# --- in files ---------------------------------------------------------------------------------------------------------

FILE = """
kind = "network"
title = "A network"
description = "With a loss."
duration = "20*ms"
output = "output"

[inputs]
input = { n = 1 }

[populations]
output = { model = "MODEL", n = 2 }

[[projections]]
source = "input"
target = "output"
weights = { value = 0 }

[loss]
kind = "KIND"
pseudospikes = GIVEN
"""


def written(folder: Path, given: str, model: str = "qif", kind: str = "spike_time_error") -> Network:
    path = folder / "network.toml"
    path.write_text(FILE.replace("MODEL", model).replace("GIVEN", given).replace("KIND", kind))
    return load_network(path)


def test_in_a_network_file(tmp_path: Path) -> None:
    error = SpikeTimeError()
    assert loss_of(written(tmp_path, "true")) == Pseudospikes(error)
    assert loss_of(written(tmp_path, "false")) == error
    network = written(tmp_path, '{ drive = "20*mV", spikes = 2 }')
    assert loss_of(network) == Pseudospikes(error, "20*mV", 2)
    with Simulation(network, batch_size=1) as simulation:
        told = description(simulation.loss)
        outcome = simulation.run({"input": np.full((1, 1), np.inf)}, np.full((1, 2, 1), 5 * MS))
    assert outcome.pseudospikes == {"output": 4.0}
    assert told["runs"][0]["drive"] == 0.02 and "arctan" in told["runs"][0]["first"]


@pytest.mark.parametrize(
    ("given", "model", "kind", "said"),
    [
        ("true", "lif", "spike_time_error", "loss: population 'output': lif.exp_synapse declares no pseudospikes"),
        ("true", "qif", "voltage_error", "loss: VoltageError reads no spike times"),
        ("1", "qif", "spike_time_error", "loss.pseudospikes"),
        ("{ strength = 2 }", "qif", "spike_time_error", "loss.pseudospikes.strength"),
        (
            '{ drive = "20*pA" }',
            "qif",
            "spike_time_error",
            "loss: population 'output': drive: '20[*]pA' is in amp, expected volt",
        ),
        ('{ drive = "1*mV" }', "qif", "spike_time_error", "drive > .* must hold, but drive = 0.001"),
    ],
)
def test_what_is_wrong_in_a_file_is_told(tmp_path: Path, given: str, model: str, kind: str, said: str) -> None:
    with pytest.raises(TemplateError, match=said):
        written(tmp_path, given, model, kind)


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "options", "said"),
    [
        (SpikeTimeError() + SpikeTimeError(), {}, "not for a SumOfLosses; wrap its terms"),
        (Pseudospikes(SpikeTimeError()), {}, "not for a Pseudospikes"),
        (CountError(), {}, "CountError counts spikes, and a pseudospike is none"),
        (VoltageError(), {}, "VoltageError reads no spike times"),
        (FinalValues(), {}, "loss is .*expected a Loss"),
        (SpikeTimeError(), {"spikes": 0}, "spikes"),
    ],
)
def test_losses_that_have_none(loss: Any, options: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Pseudospikes(loss, **options)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("eif", "declares no pseudospikes, as qif and theta do"),
        ("qif+refractory", "it has a refractory period"),
        ("qif+adaptive_threshold", "not 0 at the threshold"),
        ("qif+energy_threshold", "not 0 at the threshold"),  # which is where it was, as long as nu is 0
    ],
)
def test_models_that_have_none(model: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Simulation(network(model), Pseudospikes(SpikeTimeError()))


@pytest.mark.parametrize("model", ["qif+current_adaptation", "theta+theta_delta_synapse", "qif+reset_fraction"])
def test_mechanisms_that_leave_them_as_they_are(model: str) -> None:
    Pseudospikes(SpikeTimeError()).check(network(model))


@pytest.mark.parametrize(
    ("drive", "said"),
    [
        (np.ones(2), "drive is .*expected one finite number"),
        (np.nan, "drive is nan"),
        ("5*pA", "is in amp, expected volt"),
        (5 * mV, None),
        (3 * mV, "drive > .v_crit - v_rest./4.* must hold, but drive = 0.003"),
    ],
)
def test_drives(drive: Any, said: str | None) -> None:
    loss = Pseudospikes(SpikeTimeError(), drive)
    if said is None:
        loss.check(network("qif"))
        return
    with pytest.raises(ValueError, match=said):
        loss.check(network("qif"))


def test_what_needs_a_number_of_spikes() -> None:
    small = network("theta")
    observed = arrays(np.full((1, 2, 0), np.inf), np.zeros((1, 2)))
    summed = ExpressionLoss("(sum_spikes(exp(-t/tau)) - 1)**2", {"tau": "1*ms"})
    own = FunctionLoss(lambda times, targets: (0.0, np.zeros(times.shape)), SpikeTimes())
    for loss, said in ((summed, "name first_spike, or give `spikes`"), (own, "give `spikes`")):
        with pytest.raises(ValueError, match=said):
            Pseudospikes(loss).for_network(small).evaluate(observed, np.zeros(1))
        Pseudospikes(loss, spikes=1).for_network(small).evaluate(observed, np.zeros(1))


def test_what_is_known_for_a_network_alone() -> None:
    loss = Pseudospikes(SpikeTimeError())
    for reading in (lambda: loss.observes, lambda: loss.evaluate(np.zeros((1, 1, 1)), np.zeros(1))):
        with pytest.raises(ValueError, match=r"take loss\.for_network"):
            reading()
    with pytest.raises(ValueError, match="a time grid one"):
        GridSimulation(network("theta"), loss)


def test_a_parameter_that_was_learned_until_the_neuron_does_not_spike() -> None:
    small = network("qif", learnable=("v_crit",), n=1)
    with Simulation(small, Pseudospikes(SpikeTimeError()), batch_size=1) as simulation:
        inputs, targets = {"input": np.full((1, 1), np.inf)}, np.full((1, 1, 1), 5 * MS)
        assert simulation.run(inputs, targets).gradients["output.v_crit"] != 0
        with pytest.raises(ValueError, match=r"'output' has no pseudospikes: .* must hold, but drive = 0\.015"):
            simulation.run(inputs, targets, {"output.v_crit": np.array(0.0)})


# --- templates --------------------------------------------------------------------------------------------------------

NEURON = """
kind = "neuron"
title = "Perfect integrator"
description = "With pseudospikes."
equations = "dv/dt = I/tau : 1"
threshold = "v > v_th"
reset = "v = 0"
[inputs]
I = { unit = "1", description = "input" }
[parameters]
tau = { default = "10*ms", unit = "second", description = "time constant" }
v_th = { default = 1, unit = "1", description = "threshold" }
[pseudospike]
input = "I"
drive = 2
time = "(v_th - v)*tau/drive"
constraints = ["drive > 0"]
"""


def own(folder: Path, *changes: tuple[str, str]) -> Path:
    text = NEURON
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_a_neuron_of_ones_own(tmp_path: Path) -> None:
    path = own(tmp_path)
    model = load_model(path)
    assert model.pseudospike is not None and model.pseudospike.derivatives == {"v": "drive/tau"}
    small = Network("own", (), (Population("output", 1, model),), (), "output", END)
    loss, read = recorded(2)
    loss.for_network(small).evaluate(arrays(np.full((1, 1, 0), np.inf), [[0.5]]), np.zeros(1))
    np.testing.assert_allclose(read[0][0, 0], END + np.array([0.25, 0.75]) * 10 * MS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('input = "I"', 'input = "J"'), "pseudospike.input: the neuron has no input 'J'"),
        (("drive = 2", 'drive = "2*mV"'), "pseudospike.drive"),
        (("/drive", ""), None),
        (("tau/drive", "1/drive"), "pseudospike.time: .* expected second"),
        (("tau/drive", "tau/push"), "pseudospike.time: .*'push'"),
        (('"drive > 0"', '"drive"'), "pseudospike.constraints"),
        (('"drive > 0"', '"v > 0"'), "pseudospike.constraints: .*'v'"),
        (("v_th = {", 'drive = { default = 1, unit = "1", description = "-" }\nv_th = {'), "is called 'drive'"),
        (("drive = 2", "drive = 2\nperiod = 3"), "pseudospike.period"),
    ],
)
def test_what_a_table_may_say(tmp_path: Path, change: tuple[str, str], said: str | None) -> None:
    path = own(tmp_path, change)
    if said is None:  # it can be read, and is not what the equations say
        small = Network("own", (), (Population("output", 1, load_model(path)),), (), "output", END)
        with pytest.raises(ValueError, match="otherwise than dv/dt says"):
            Pseudospikes(SpikeTimeError()).check(small)
        return
    with pytest.raises(TemplateError, match=said):
        load_model(path)


def test_a_neuron_that_does_not_spike_has_none(tmp_path: Path) -> None:
    path = own(tmp_path, ('threshold = "v > v_th"\nreset = "v = 0"\n', ""))
    with pytest.raises(TemplateError, match="pseudospike: mine does not spike"):
        load_model(path)


def test_the_library(root: Path) -> None:
    declaring = {p.stem for p in (root / "equations" / "neurons").glob("*.toml") if "[pseudospike]" in p.read_text()}
    assert declaring == {"qif", "theta"}
    assert "I_syn = drive, by default 0.015 volt and drive > (v_crit - v_rest)/4" in describe(load_model("qif"))
