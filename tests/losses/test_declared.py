"""A loss in a network's file."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from brian2 import ms, mV

from snnmodels.datasets import Trials
from snnmodels.gradients import GridSimulation, Simulation, check_gradient
from snnmodels.losses import (
    ActivityPrice,
    CountError,
    ExpressionLoss,
    Pseudospikes,
    SpikeTimeError,
    TTFSCrossEntropy,
    VanRossumDistance,
    VoltageError,
    loss_of,
)
from snnmodels.losses.declared import KINDS, load_network
from snnmodels.optimisers import Adam
from snnmodels.templates import Network, TemplateError, equations_path
from snnmodels.templates import load_network as unchecked
from snnmodels.templates.identity import identity
from snnmodels.templates.schema import LOSS_TIMES, LossTable, PseudospikesTable
from snnmodels.templates.units import quantity_in
from snnmodels.training import evaluate, train

FILE = """
kind = "network"
title = "A network"
description = "With a loss."
duration = "40*ms"
output = "output"

[inputs]
input = { n = 4 }

[populations]
hidden = { model = "lif+exp_synapse", n = 5 }
output = { model = "lif+exp_synapse", n = 3 }

[[projections]]
source = "input"
target = "hidden"
weights = { distribution = "uniform", low = 2, high = 5 }

[[projections]]
source = "hidden"
target = "output"
weights = { distribution = "uniform", low = 2, high = 4 }

"""
EXPRESSION = """
[loss]
expression = "a*((t - wanted)/tau)**2"
constants = { tau = "5*ms", a = [1.0, 2.0, 3.0] }
targets = { wanted = "second" }
"""
SEVERAL = """
[[loss]]
kind = "van_rossum_distance"
tau = "8*ms"

[[loss]]
kind = "activity_price"
population = "hidden"
price = 1e-3
surrogate = "latency"
factor = 2
"""
INPUTS = {"input": np.random.default_rng(1).uniform(0.5e-3, 15e-3, (2, 4))}


def written(folder: Path, loss: str) -> Network:
    path = folder / "with_loss.toml"
    path.write_text(FILE + loss)
    return load_network(path)


def test_an_expression(tmp_path: Path) -> None:
    net = written(tmp_path, EXPRESSION)
    assert loss_of(net) == ExpressionLoss(
        "a*((t - wanted)/tau)**2", {"tau": "5*ms", "a": [1.0, 2.0, 3.0]}, {"wanted": "second"}
    )
    wanted = np.full((2, 3, 1), 15e-3)
    with Simulation(net, batch_size=2) as simulation, Simulation(net, loss_of(net), batch_size=2) as other:
        assert simulation.run(INPUTS, wanted).loss == other.run(INPUTS, wanted).loss > 0
    report = check_gradient(net, inputs=INPUTS, targets=wanted, elements=2)
    assert report.ok, str(report)


TWO_TARGETS = """
[loss]
expression = "weight*((first_spike - wanted)/tau)**2"
constants = { tau = "5*ms" }
targets = { wanted = "second", weight = "1" }
"""


def test_a_network_is_trained_on_what_its_file_says(tmp_path: Path) -> None:
    """With several targets, and from a checkpoint on."""
    net = written(tmp_path, TWO_TARGETS)
    data = Trials(INPUTS, {"wanted": np.full((2, 3), 12e-3), "weight": np.array([1.0, 2.0])})  # type: ignore[arg-type]
    options = {"batch_size": 1, "progress": False}
    with Simulation(net, batch_size=2) as simulation:
        before = evaluate(simulation, data)
        whole = train(simulation, data, Adam(2e-2), epochs=6, **options)  # type: ignore[arg-type]
        kept = {**options, "checkpoint": tmp_path / "run.npz"}
        train(simulation, data, Adam(2e-2), epochs=2, **kept)  # type: ignore[arg-type]
        resumed = train(simulation, data, Adam(2e-2), epochs=6, **kept)  # type: ignore[arg-type]
        after = evaluate(simulation, data, resumed.values)
    assert after.loss < 0.7 * before.loss
    assert before.predictions is None
    for key, value in whole.values.items():
        np.testing.assert_array_equal(resumed.values[key], value)


def test_a_grid_takes_what_the_file_says_too(tmp_path: Path) -> None:
    net = written(tmp_path, TWO_TARGETS)
    targets = {"wanted": np.full((2, 3), 12e-3), "weight": np.array([1.0, 2.0])}
    with Simulation(net, batch_size=2) as exact, GridSimulation(net, loss_of(net), batch_size=2, dt=0.02e-3) as grid:
        expected, found = exact.run(INPUTS, targets), grid.run(INPUTS, targets)
    np.testing.assert_allclose(found.loss, expected.loss, rtol=0.05)


def test_several_terms(tmp_path: Path) -> None:
    loss = loss_of(written(tmp_path, SEVERAL))
    assert loss == VanRossumDistance(8e-3) + 2 * ActivityPrice("latency", population="hidden", price=1e-3)


@pytest.mark.parametrize(
    ("text", "loss"),
    [
        ('[loss]\nkind = "ttfs_cross_entropy"\ntau0 = "2*ms"\nalpha = 0.1', TTFSCrossEntropy(2e-3, alpha=0.1)),
        ('[loss]\nkind = "count_error"\nsurrogate = "window"\nend = "40*ms"\nper = "40*ms"',
         CountError("window", end=40e-3, per=40e-3)),
        ('[loss]\nkind = "voltage_error"\nskip = 2\nscale = "1*mV"', VoltageError(skip=2, scale=1e-3)),
        ('[loss]\nexpression = "sin(first_spike/tau)"\nconstants = { tau = "1*ms" }\npopulation = "hidden"',
         ExpressionLoss("sin(first_spike/tau)", {"tau": "1*ms"}, population="hidden")),
    ],
)  # fmt: skip
def test_kinds(tmp_path: Path, text: str, loss: object) -> None:
    assert loss_of(written(tmp_path, text)) == loss


def test_the_file_and_the_losses_know_the_same_kinds() -> None:
    kinds = get_args(LossTable.model_fields["kind"].annotation)
    assert set(kinds) == set(KINDS)
    options = {f.name for kind in KINDS.values() for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    assert options == set(LossTable.model_fields) - {"kind", "factor", "pseudospikes"}
    of_pseudospikes = {f.name for f in dataclasses.fields(Pseudospikes)}
    assert of_pseudospikes - {"loss"} == set(PseudospikesTable.model_fields)


def test_a_loss_is_part_of_what_a_network_is(tmp_path: Path) -> None:
    net = written(tmp_path, EXPRESSION)
    assert identity(net)["loss.0.constants.tau"] == "5*ms"
    bare = identity(dataclasses.replace(net, loss=()))
    assert not any(key.startswith("loss") for key in bare)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[loss]\nkind = "ttfs"', "with_loss.toml: loss.kind: expected 'expression', 'ttfs_cross_entropy'"),
        ('[loss]\nexpresion = "t"', "with_loss.toml: loss.expresion: unknown key; did you mean 'expression'"),
        ("[loss]\nexpression = 3", "with_loss.toml: loss.expression: expected a valid string"),
        ('[loss]\nkind = "interval_error"\ntau = "1*mV"', "with_loss.toml: loss.tau: .* is in volt, expected second"),
        ('[loss]\nkind = "activity_price"\nprice = "dear"', "with_loss.toml: loss.price: 'dear'.* is not a unit"),
        ('[[loss]]\nexpression = "t"\n[[loss]]\nkind = "x"', "with_loss.toml: loss.1.kind: expected 'expression'"),
    ],
)
def test_what_the_file_can_not_say(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        written(tmp_path, text)


MISTAKES = [
    ('[loss]\nkind = "interval_error"\nwidth = "1*ms"', "loss: 'width' has no meaning for interval_error"),
    ('[loss]\ntargets = { x = "1" }', "loss: expression is missing"),
    ('[loss]\nexpression = "(t - a)**2"', "loss: .*unknown name 'a'"),
    ('[loss]\nexpression = "exp(t)"', "loss: the loss 'exp\\(t\\)'"),
    ('[[loss]]\nexpression = "t"\n[[loss]]\nexpression = "3"', "loss 2: expression: '3' reads nothing"),
    ('[loss]\nkind = "count_error"\nsurrogate = "x"', "loss: surrogate='x' is not"),
    ('[loss]\nkind = "ttfs_cross_entropy"\npopulation = "hiden"', "loss: .* 'hiden', .* did you mean 'hidden'"),
    ('[loss]\nkind = "spike_time_error"\npopulation = "input"', "loss: .* 'input', .* there is hidden, output"),
    ('[loss]\nkind = "voltage_error"\nvariable = "V"', "loss: .* samples of 'V', .* did you mean 'v'"),
    ('[loss]\nkind = "voltage_error"\ninterval = "1*second"', "loss: interval = 1000 ms between samples"),
    ('[loss]\nexpression = "final(u)**2"', "loss: 'final\\(u\\)\\*\\*2': .* has no state 'u'; there is I_syn, v"),
    ('[loss]\nexpression = "integral((v - e)**2)"', "loss: .*: 'e' is neither a state or parameter of"),
    ('[[loss]]\nexpression = "t"\n[[loss]]\nexpression = "t"\npopulation = "in"', "loss 2: .* population 'in'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_losses_that_are_none_are_refused_when_the_file_is_read(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TemplateError, match=f"with_loss.toml: {message}"):
        written(tmp_path, text)
    # a network that is put together otherwise tells when its loss is taken
    net = unchecked(tmp_path / "with_loss.toml")
    with pytest.raises(ValueError, match=f"^network 'with_loss': {message}"):
        Simulation(net)


def test_no_loss_is_missed_when_it_is_needed_alone(tmp_path: Path) -> None:
    net = written(tmp_path, "")
    with pytest.raises(ValueError, match="network 'with_loss' declares no loss; give one"):
        Simulation(net)


def test_the_defaults_that_are_printed_are_those_of_the_losses() -> None:
    page = (equations_path() / "README.md").read_text().partition("| `kind` | options")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| (`[^|]*`) \| (.*) \|$", page, re.M))
    named = {kind: text for kinds, text in rows.items() for kind in re.findall(r"`(\w+)`", kinds)}
    assert set(named) == set(KINDS) - {"expression"}
    for kind, text in named.items():
        defaults = {f.name: f.default for f in dataclasses.fields(KINDS[kind])} | {"population": ""}  # type: ignore[arg-type]
        told = dict(re.findall(r'`(\w+)(?: = ("[^"]*"|[\d.]+))?`', re.sub(r"`\"\w+\"`", "", text)))
        told.pop("count_error", None)
        assert set(told) == set(defaults) - {"population"}, kind
        for name, value in told.items():
            default = defaults[name]
            if not value:
                assert default in ("", None), (kind, name)
            elif name in LOSS_TIMES:
                assert quantity_in(value.strip('"'), "second")[0] == pytest.approx(default), (kind, name)
            else:
                assert value.strip('"') == str(default), (kind, name)


def test_times_of_losses_take_units_and_are_told_with_them() -> None:
    loss = SpikeTimeError(tau=2 * ms, missing=5 * ms) + 0.5 * CountError("window", end=40 * ms)
    assert loss.terms[0][0] == SpikeTimeError(2e-3, 5e-3)
    assert str(loss) == (
        "SpikeTimeError(tau=2 ms, missing=5 ms) + 0.5 * "
        "CountError(surrogate='window', width=20 ms, end=40 ms, per=1.0, scale=1.0)"
    )
    with pytest.raises(ValueError, match="missing"):
        SpikeTimeError(missing=5 * mV)
