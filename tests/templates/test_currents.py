"""Currents in networks: what they drive, from values and from files, and what is refused."""

from __future__ import annotations

import dataclasses
import textwrap
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brian2 import amp, ms, mV, nA, volt

from snnmodels.symbolic.declaration import driven_system, hybrid_system
from snnmodels.templates import (
    CurrentInput,
    Drive,
    Network,
    Population,
    TemplateError,
    describe,
    load_model,
    load_network,
    with_values,
)
from snnmodels.templates.identity import identity
from snnmodels.templates.renaming import renamed
from snnmodels.templates.samples import checked_samples

NEURON = """
kind = "neuron"
title = "Two inputs"
description = "One through a subexpression, one that the threshold reads."
equations = '''
dv/dt = (v_rest - v + R*I_total)/tau_m : volt
I_total = I_syn + I_leak : amp
'''
threshold = "v > v_th + U"
reset = "v = v_rest"
inputs.I_syn = { unit = "amp", description = "synaptic current", scale = "1*nA" }
inputs.I_leak = { unit = "amp", description = "another current" }
inputs.U = { unit = "volt", description = "moves the threshold" }
[parameters]
tau_m = { default = "20*ms", unit = "second", description = "time constant" }
R = { default = "20*Mohm", unit = "ohm", description = "resistance" }
v_rest = { default = "-65*mV", unit = "volt", description = "rest" }
v_th = { default = "-50*mV", unit = "volt", description = "threshold" }
"""


@pytest.fixture
def two_inputs(tmp_path: Path) -> Any:
    path = tmp_path / "two_inputs.toml"
    path.write_text(NEURON)
    return load_model(path, "exp_synapse")


def network(model: Any, *drives: Drive, current: CurrentInput | None = None, **changes: Any) -> Network:
    current = current or CurrentInput("stimulus", 2, 1 * ms)
    cells = Population("cells", 3, model)
    made = Network("driven", (), (cells,), (), "cells", 0.1, currents=(current,), drives=drives)
    return dataclasses.replace(made, **changes) if changes else made


def test_inputs_stay_known(two_inputs: Any) -> None:
    assert {n: (i.unit, i.description, i.read_at) for n, i in two_inputs.inputs.items()} == {
        "I_syn": ("amp", "synaptic current", ""),
        "I_leak": ("amp", "another current", ""),
        "U": ("volt", "moves the threshold", "threshold"),
    }
    # what synapses add, and the parameter of an input that nothing drives, stay
    assert set(two_inputs.open_derivatives) == {"v"}
    assert {"I_leak", "U"} <= set(two_inputs.parameters)
    assert "_drive" not in describe(two_inputs)


def test_a_driven_system_has_two_more_states(two_inputs: Any) -> None:
    plain = hybrid_system(two_inputs)
    system, drives = driven_system(two_inputs, ("I_leak",))
    assert system.states[: len(plain.states)] == plain.states
    value, slope = system.states[len(plain.states) :]
    assert (drives[0].input, drives[0].value, drives[0].slope) == ("I_leak", value, slope)
    assert system.f[value] == slope
    assert system.f[slope] == 0
    assert system.is_linear
    v = plain.states[0]
    r, tau = (next(p for p in plain.parameters if p.name == name) for name in ("R", "tau_m"))
    assert (system.f[v] - plain.f[v] - r * value / tau).expand() == 0
    assert {x: system.f[x] for x in plain.states[1:]} == {x: plain.f[x] for x in plain.states[1:]}
    assert driven_system(two_inputs, ()) == (plain, ())


def test_a_renamed_model_can_be_driven() -> None:
    model = renamed(load_model("lif"), {"v": "u", "tau_m": "tau"})
    system, drives = driven_system(model, ("I_syn",))
    u = next(x for x in system.states if x.name == "u")
    assert drives[0].value in system.f[u].free_symbols
    assert "v" not in {s.name for s in system.f[u].free_symbols}


def test_units_of_gains(two_inputs: Any) -> None:
    in_volt = CurrentInput("stimulus", 2, 1e-3, unit="volt")
    made = network(two_inputs, Drive("", "stimulus", "cells", np.ones((2, 3)) * nA / mV, "I_syn"), current=in_volt)
    np.testing.assert_allclose(made.drives[0].weights, 1e-6, rtol=1e-15)
    assert made.drives[0].name == "stimulus_cells"
    in_amp = CurrentInput("stimulus", 2, 1e-3, unit="amp")
    assert network(two_inputs, Drive("", "stimulus", "cells", np.ones((2, 3)), "I_syn"), current=in_amp).drives
    with pytest.raises(ValueError, match=r"weights has unit volt; expected siemens"):
        network(two_inputs, Drive("", "stimulus", "cells", np.ones((2, 3)) * volt, "I_syn"), current=in_volt)


def test_gains_are_trainable_values() -> None:
    made = network(load_model("lif"), Drive("gain", "stimulus", "cells", np.ones((2, 3))))
    assert made.drives[0].input == "I_syn"
    assert set(made.trainable()) == {"gain.w"}
    other = with_values(made, {"gain.w": np.full((2, 3), 2.0)})
    np.testing.assert_array_equal(other.drives[0].weights, 2.0)
    assert identity(made) == identity(other)
    fixed = network(load_model("lif"), Drive("gain", "stimulus", "cells", np.ones((2, 3)), learnable=()))
    assert not fixed.trainable()
    stronger = network(load_model("lif"), Drive("gain", "stimulus", "cells", np.full((2, 3), 2.0), learnable=()))
    assert identity(fixed) != identity(stronger)
    longer = dataclasses.replace(made, currents=(CurrentInput("stimulus", 2, 2e-3),))
    assert identity(longer) != identity(made)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CurrentInput("x", 0, 1e-3), "input 'x': n is 0; expected a whole number"),
        (lambda: CurrentInput("x", 1, 0.0), "input 'x': interval is 0.0; expected a positive time in seconds"),
        (lambda: CurrentInput("x", 1, float("nan")), "input 'x': interval is nan; expected a positive time"),
        (lambda: CurrentInput("x", 1, 1 * volt), "input 'x': interval has unit volt; expected second"),
        (lambda: CurrentInput("x", 1, 1e-3, "cubic"), "input 'x': interpolation is 'cubic'; expected 'hold'"),
        (lambda: CurrentInput("x", 1, 1e-3, start=-1e-3), "input 'x': start is -0.001; expected a time in seconds"),
        (lambda: CurrentInput("x", 1, 1e-3, unit="mV"), "input 'x': .*mV.* base unit"),
        (lambda: CurrentInput("x", 1, 1e-3, unit=amp), "input 'x': unit is"),
        (lambda: Drive("d", "x", 3, 1.0), "drive 'd': target is 3; expected a name"),
        (lambda: Drive("d", "x", "y", 1.0, learnable=["delay"]), "drive 'd': learnable names 'delay'; expected true"),
        (lambda: Drive("d", "x", "y", 1.0, learnable=["v"]), "drive 'd': learnable names 'v'; expected"),
    ],
)
def test_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


ONES = np.ones((2, 3))


@pytest.mark.parametrize(
    ("drive", "message"),
    [
        (Drive("d", "stimulos", "cells", ONES), "source 'stimulos' is not a current input; did you mean 'stimulus'"),
        (Drive("d", "cells", "cells", ONES), "source 'cells' is not a current input"),
        (Drive("d", "stimulus", "cell", ONES), "target 'cell' is not a population; did you mean 'cells'"),
        (Drive("d", "stimulus", "cells", ONES), "drive 'd': name an input; "),
        (Drive("d", "stimulus", "cells", ONES, "I_sin"), "has no input 'I_sin'; did you mean 'I_syn'"),
        (Drive("d", "stimulus", "cells", ONES, "U"), "the threshold of .* reads 'U'; a current can drive"),
        (Drive("d", "stimulus", "cells", np.ones((3, 2)), "I_syn"), "weights have shape .3, 2.; expected .* = .2, 3."),
        (Drive("d", "stimulus", "cells", np.full((2, 3), np.nan), "I_syn"), "weights are not all finite"),
        (Drive("cells", "stimulus", "cells", ONES, "I_syn"), "the name 'cells' is used twice"),
    ],
)
def test_drives_that_fit_nothing(drive: Drive, message: str, two_inputs: Any) -> None:
    with pytest.raises(ValueError, match=message):
        network(two_inputs, drive)


def test_currents_out_of_time() -> None:
    with pytest.raises(ValueError, match=r"input 'stimulus' starts at 0.1 s, too late in a trial of 0.1 s"):
        network(load_model("lif"), current=CurrentInput("stimulus", 2, 1e-3, start=0.1))
    with pytest.raises(ValueError, match=r"interval of 1e-12 s, more than 1000000000 samples in a trial of 0.1 s"):
        network(load_model("lif"), current=CurrentInput("stimulus", 2, 1e-12))
    with pytest.raises(ValueError, match="currents"):
        network(load_model("lif"), currents=("stimulus",))


# --- samples ----------------------------------------------------------------------------------------------------------


def test_samples_of_all_dimensions() -> None:
    current = CurrentInput("x", 2, 1e-3, "linear", unit="amp")
    assert checked_samples(np.ones(11), current, 3, 10e-3).shape == (1, 1, 11)
    assert checked_samples(np.ones((2, 12)), current, 3, 10e-3).shape == (1, 2, 12)
    assert checked_samples(np.ones((3, 2, 11)), current, None, 10e-3).shape == (3, 2, 11)
    np.testing.assert_allclose(checked_samples(np.ones(11) * nA, current, 1, 10e-3), 1e-9, rtol=1e-15)


def test_samples_of_another_interval_are_told() -> None:
    slow = CurrentInput("x", 1, 1)  # milliseconds were meant: one sample holds for the whole trial
    with pytest.warns(UserWarning, match=r"input 'x': 60 of each .* 0.06 s reads only 1, one every 1 s: is the int"):
        checked_samples(np.ones(60), slow, 1, 60e-3)
    fast = CurrentInput("x", 1, 1e-3)
    with pytest.warns(UserWarning, match="reads only 60, one every 0.001 s"):
        checked_samples(np.ones(600), fast, 1, 60e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checked_samples(np.ones(2), slow, 1, 60e-3)
        checked_samples(np.ones(100), fast, 1, 60e-3)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.ones((3, 11)), r"samples of input 'x' have shape \(3, 11\); expected \(4, 2, samples\), \(2, samples\)"),
        (np.ones((3, 2, 11)), r"have shape \(3, 2, 11\); expected \(4, 2, samples\)"),
        (1.0, r"have shape \(\); expected"),
        (np.ones((1, 4, 2, 11)), r"have shape \(1, 4, 2, 11\); expected"),
        (np.ones(10), r"10 of each channel; a trial of 0.01 s needs 11, one every 0.001 s from 0 s on and one at"),
        (np.append(np.ones(11), np.inf), "are not all finite"),
        (np.ones(11) * volt, "has unit volt; expected amp|has unit V; expected amp"),
        ("abc", "samples of input 'x'"),
    ],
)
def test_samples_that_are_refused(samples: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_samples(samples, CurrentInput("x", 2, 1e-3, "linear", unit="amp"), 4, 10e-3)


# --- files ------------------------------------------------------------------------------------------------------------

TEXT = """
kind = "network"
title = "Driven"
description = "Spikes and a current."
duration = "50*ms"
output = "cells"
inputs.spikes = { n = 2 }
[inputs.stimulus]
kind = "current"
n = 2
interval = "0.5*ms"
interpolation = "linear"
start = "2*ms"
unit = "volt"
[populations.cells]
model = "qif"
n = 3
[[projections]]
source = "spikes"
target = "cells"
weights = { value = "1*mV" }
[[projections]]
source = "stimulus"
target = "cells"
input = "I_syn"
weights = { value = 0.5 }
"""


def written(tmp_path: Path, old: str = "", new: str = "") -> Path:
    assert old in TEXT
    path = tmp_path / "driven.toml"
    path.write_text(textwrap.dedent(TEXT.replace(old, new) if old else TEXT))
    return path


def test_a_network_file(tmp_path: Path) -> None:
    made = load_network(written(tmp_path))
    assert made.currents == (CurrentInput("stimulus", 2, 0.5e-3, "linear", 2e-3, "volt"),)
    (drive,) = made.drives
    assert (drive.name, drive.source, drive.target, drive.input) == ("stimulus_cells", "stimulus", "cells", "I_syn")
    np.testing.assert_array_equal(drive.weights, np.full((2, 3), 0.5))
    assert [q.name for q in made.projections] == ["spikes_cells"]
    assert [i.name for i in made.inputs] == ["spikes"]
    assert load_network(written(tmp_path), stimulus={"interval": "1*ms"}).currents[0].interval == 1e-3
    assert load_network(written(tmp_path, 'input = "I_syn"\n', "learnable = false\n")).drives[0].learnable == ()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('interval = "0.5*ms"\n', "", "inputs.stimulus.interval: is missing"),
        ('"0.5*ms"', '"0.5*mV"', "inputs.stimulus.interval: .*volt"),
        ('"0.5*ms"', '"0*ms"', "inputs.stimulus: .*interval is 0.0; expected a positive time"),
        ('"linear"', '"cubic"', "inputs.stimulus.interpolation: expected 'hold' or 'linear', got 'cubic'"),
        ('kind = "current"', 'kind = "curent"', "inputs.stimulus.kind: expected 'current', got 'curent'"),
        ('unit = "volt"', 'unit = "furlong"', "inputs.stimulus"),
        ('input = "I_syn"', 'input = "I_sin"', "projections.1.input: cells has no input 'I_sin'; did you mean 'I_syn'"),
        ('input = "I_syn"', 'receptor = "exp_synapse"', "projections.1.receptor: stimulus is a current, which has"),
        ('input = "I_syn"', 'delay = "1*ms"', "projections.1.delay: stimulus is a current"),
        ('input = "I_syn"', "mask = { probability = 0.5 }", "projections.1.mask: stimulus is a current"),
        ('"stimulus"\ntarget = "cells"', '"stimulus"\ntarget = "cell"', "projections.1.target: no population 'cell'"),
        ("value = 0.5", 'value = "1*mV"', "projections.1.weights: "),
        ('weights = { value = "1*mV" }', 'input = "I_syn"\nweights = { value = 0 }', "projections.0.input: spikes"),
        ('input = "I_syn"', 'learnable = ["delay"]', "projections.1: .*learnable names 'delay'"),
    ],
)
def test_files_that_are_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=message):
        load_network(written(tmp_path, old, new))
