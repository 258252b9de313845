"""Refractory periods in component files."""

import textwrap

import pytest

from snnmodels.templates import Refractory, TemplateError, describe, load_model
from tests.templates.test_errors import NEURON

MECHANISM = """
kind = "mechanism"
title = "Test period"
description = "A refractory period."
[refractory]
duration = "t_ref"
hold = ["v"]
[parameters]
t_ref = { default = "2*ms", unit = "second", description = "refractory period" }
"""


def load(tmp_path, *replacements, neuron=NEURON):
    """The neuron with the mechanism, some of whose text is replaced."""
    text = MECHANISM
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new)
    (tmp_path / "neuron.toml").write_text(textwrap.dedent(neuron))
    (tmp_path / "period.toml").write_text(textwrap.dedent(text))
    return load_model(tmp_path / "neuron.toml", tmp_path / "period.toml")


def test_the_mechanism_of_the_library():
    for components in (("lif", "exp_synapse", "refractory"), ("lif+delta_synapse+refractory",), ("eif", "refractory")):
        model = load_model(*components)
        assert model.refractory == Refractory("t_ref", ("v",), "ignore")
        assert model.parameters["t_ref"].value == 2e-3
        assert model.parameters["t_ref"].unit == "second"
    assert load_model("lif").refractory is None


def test_show_says_what_is_held():
    text = describe(load_model("lif", "refractory"))
    assert "Refractory period\n    no spike for t_ref after a spike; v is held, and an arrival there is ignored" in text
    assert "Refractory" not in describe(load_model("lif"))


def test_what_a_file_may_declare(tmp_path):
    assert load(tmp_path).refractory == Refractory("t_ref", ("v",), "ignore")
    applied = load(tmp_path, ('hold = ["v"]', 'hold = ["v"]\narrivals = "apply"'))
    assert applied.refractory == Refractory("t_ref", ("v",), "apply")
    assert "an arrival there takes effect" in describe(applied)
    free = load(tmp_path, ('hold = ["v"]', "hold = []"), ('"t_ref"', '"t_ref + 0.1*tau"'))
    assert free.refractory == Refractory("t_ref + 0.1*tau", (), "ignore")
    assert "the states go on" in describe(free)


def test_a_neuron_may_declare_its_own(tmp_path):
    own = NEURON.replace("[inputs]", '[refractory]\nduration = "tau"\nhold = ["v"]\n[inputs]')
    (tmp_path / "neuron.toml").write_text(own)
    assert load_model(tmp_path / "neuron.toml", "delta_synapse").refractory == Refractory("tau", ("v",), "ignore")
    with pytest.raises(TemplateError, match=r"period.toml: refractory: .*neuron.toml declares a refractory period too"):
        load(tmp_path, neuron=own)


def test_states_of_other_components_may_be_held():
    model = load_model("lif", "exp_synapse:inh", "refractory")
    assert model.refractory.hold == ("v",)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('duration = "t_ref"', "", r"refractory.duration: is missing"),
        ('hold = ["v"]', "", r"refractory.hold: is missing"),
        ('"t_ref"', "0.002", r"refractory.duration: expected a valid string, got 0.002"),
        ('"t_ref"', '"2*mV"', r"refractory.duration: '2\*mV' is in volt, expected second"),
        ('"t_ref"', '"t_ref + v/v*tau"', r"refractory.duration: .*uses 'v', which isn't a parameter of the model"),
        ('"t_ref"', '"t_ref*tau"', r"refractory.duration: 't_ref\*tau' is in .*, expected second"),
        ('"t_ref"', '"t_reff"', r"refractory.duration: .*uses 't_reff', .*did you mean 't_ref'"),
        ('"t_ref"', '"t_ref +"', r"refractory.duration: 't_ref \+' is not an expression"),
        ('"t_ref"', '"tau"', r"parameters.t_ref: 't_ref' is declared but not used"),
        ('["v"]', '["u"]', r"refractory.hold: 'u' is no state of the model; there is v"),
        ('["v"]', '["tau"]', r"refractory.hold: 'tau' is no state of the model"),
        ('["v"]', '"v"', r"refractory.hold: expected a valid list, got 'v'"),
        ("[parameters]", 'arrivals = "keep"\n[parameters]', r"refractory.arrivals: expected 'ignore' or 'apply'"),
        ("[parameters]", 'holds = ["v"]\n[parameters]', r"refractory.holds: unknown key; did you mean 'hold'"),
    ],
)
def test_wrong_files(tmp_path, old, new, message):
    with pytest.raises(TemplateError, match=message) as error:
        load(tmp_path, (old, new))
    assert "\n" not in str(error.value)
    assert "period.toml" in str(error.value)


def test_a_neuron_that_never_spikes_is_never_refractory():
    with pytest.raises(TemplateError, match=r"refractory.toml: refractory: leaky_integrator does not spike"):
        load_model("leaky_integrator", "refractory")
