"""Functions, derived parameters, quantities and initial values of component files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from brian2 import mV, siemens

from snnmodels.brian.plain import neuron_group
from snnmodels.symbolic.declaration import hybrid_system
from snnmodels.symbolic.parsing import UnsupportedExpression
from snnmodels.templates import Model, Parameter, Population, TemplateError, describe, load_model

CHANNEL = (Path(__file__).parents[1] / "files" / "neurons" / "channel.toml").read_text()


def write(folder: Path, text: str = CHANNEL, name: str = "channel") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


@pytest.fixture
def channel(tmp_path: Path) -> Model:
    """The model."""
    return load_model(write(tmp_path))


def test_what_is_written_out(channel: Model) -> None:
    alpha = "(0.1/ms)/exprel(-(v + 55*mV)/(10*mV))"
    beta = "(0.125*exp(-(v + 65*mV)/(80*mV))/ms)"
    assert channel.derivatives["n"] == f"({alpha})*(1 - n) - {beta}*n"
    assert channel.derivatives["v"] == "(g_L*(E_L - v) + (share*g_L)*n**4*(E_K - v) + I_syn)/C"
    assert channel.constraints == ("(share*g_L) < 2*g_L*(1 + 4)",)
    assert channel.refractory is not None
    assert channel.refractory.duration == "tau_all*((share*g_L) + g_L)/g_L"
    assert "v" not in channel.states[1].initial.replace("mV", "")
    assert "g_K = share*g_L : siemens" in channel.equations.splitlines()


def test_the_system_reads_parameters_alone(channel: Model) -> None:
    system = hybrid_system(channel)
    v, n, *_ = system.states
    assert {s.name for s in system.initial[n].free_symbols} == {"E_L"}
    at = float(system.initial[n].subs(system.defaults))
    alpha, beta = 100 / np.divide(np.expm1(1.2), 1.2), 125 * np.exp(2 / 80)  # 12 mV below, 2 mV below
    assert at == pytest.approx(alpha / (alpha + beta), rel=1e-12)
    assert {"share", "g_L"} <= {s.name for s in system.f[v].free_symbols}


def test_a_plain_group_has_what_is_derived(channel: Model) -> None:
    group = neuron_group(channel, 1, method="rk4", share=2)
    assert group.g_K == 20e-9 * siemens
    assert group.v[0] == -67 * mV
    with pytest.raises(TypeError, match=r"derives 'g_K' = share\*g_L; set or learn g_L or share instead"):
        neuron_group(channel, 1, g_K=1e-9 * siemens)


@pytest.mark.parametrize("how", [{"parameters": {"g_all": 1e-8}}, {"learnable": ("g_all",)}])
def test_what_is_derived_is_neither_set_nor_learned(channel: Model, how: dict) -> None:
    with pytest.raises(ValueError, match=r"derives 'g_all' = \(share\*g_L\) \+ g_L; set or learn g_L or share instead"):
        Population("a", 2, channel, **how)


def test_show_lists_both(channel: Model) -> None:
    text = describe(channel)
    assert "beta(v, k) = 0.125*exp(-(v + 65*mV)/k)/ms" in text
    assert "g_all  siemens  = (share*g_L) + g_L  all of them" in text
    assert "potassium conductance" in text


CASES = [
    # functions
    ('"alpha(u)"', '"alpha"', r"functions.alpha: 'alpha' is no function of named arguments; write it as in"),
    ('"alpha(u)"', '"alpha()"', r"functions.alpha\(\): .*is no function of named arguments"),
    ('"alpha(u)"', '"alpha(u + 1)"', r"is no function of named arguments"),
    ('"alpha(u)"', '"alpha(u"', r"is no function of named arguments"),
    ('"alpha(u)"', '"alpha(u, u)"', r"functions.alpha\(u, u\): two arguments have the same name"),
    ('"alpha(u)"', '"alpha(u, k)"', r"functions.alpha\(u, k\): the argument 'k' is not used"),
    ('"alpha(u)"', '"alpha(mV)"', r"'mV' is the name of a unit, for 0.001 volt"),
    ('"alpha(u)" =', '"exp(u)" =', r"functions.exp\(u\): 'exp' is the name of a function"),
    ('"alpha(u)" =', '"scale(u)" =', r"'scale' is already that of another function"),
    ('"alpha(u)" =', '"linoid(u)" =', r"'linoid' is already that of another function"),
    ('"alpha(u)" =', '"g_L(u)" =', r"functions.g_L: the name 'g_L' is already that of a variable"),
    ("linoid(u + 55", "linoid(v + 55", r"uses 'v', which isn't an argument; a function reads its arguments alone"),
    ("linoid(u + 55", "alpha(u + 55", r"calls itself; a function calls those before it alone"),
    ("r/exprel", "alpha(r)/exprel", r"calls 'alpha', which is declared after it"),
    ("linoid(u + 55*mV, 10*mV, 0.1/ms)", "linoid(u + 55*mV, 10*mV)", r"other arguments than .*linoid\(x, k, r\)"),
    ("alpha(v)*(1 - n)", "alpha(v, v)*(1 - n)", r"equations.n: 'alpha\(v, v\)' has other arguments .*alpha\(u\)"),
    ("alpha(v)*(1 - n)", "alpha(u=v)*(1 - n)", r"contains 'u=v'"),
    ("alpha(v)*(1 - n)", "alpha(*v)*(1 - n)", r"equations"),
    ("alpha(v)*(1 - n)", "alpha(n)*(1 - n)", r"equations.n: alpha\(n\): .*(unit|dimension)"),
    ("alpha(v)*(1 - n)", "alpha(v)*C*(1 - n)", r"equations.dn/dt: .* has unit"),
    ("alpha(v)*(1 - n)", "alpha*(1 - n)", r"uses 'alpha', which isn't a variable"),
    ("alpha(v)*(1 - n)", "alfa(v)*(1 - n)", r"calls an unknown function 'alfa'"),
    ("gain(4)", "4", r"functions.gain: 'gain' is declared but not called"),
    ('"1 + x"', '""', r"functions.gain\(x\): expected .*"),
    ('"1 + x"', "3", r"functions.gain\(x\): expected a valid string"),
    ('"1 + x"', '"1 +"', r"functions.gain\(x\): '1 \+' is not an expression"),
    ('"1 + x"', '"x > 1"', r"functions.gain\(x\): .*has a condition"),
    ("[functions]", "[function]", r"function: unknown key; did you mean 'functions'"),
    # derived
    ("share*g_L", "share*g_M", r"derived.g_K.value: .*uses 'g_M', which isn't a parameter, or derived before it"),
    ('"share*g_L"', '"g_K*share"', r"derived.g_K.value: .*uses 'g_K', which isn't a parameter, or derived before it"),
    ('"share*g_L"', '"g_all*share"', r"uses 'g_all', which isn't a parameter, or derived before it"),
    ('"share*g_L"', '"share*g_L*n"', r"uses 'n', which isn't a parameter"),
    ('"share*g_L"', '"share"', r"derived.g_K.value: 'share' has no unit, expected siemens"),
    ('"share*g_L"', '"share*g_L +"', r"derived.g_K.value: .*is not an expression"),
    ("\ng_all = {", "\ng_L = {", r"derived.g_L: the name 'g_L' is already that of another variable"),
    ("g_all/g_L", "2", r"derived.g_all: 'g_all' is declared but not used"),
    ('"siemens", description = "all', '"nS", description = "all', r"derived.g_all.unit: 'nS' is not a unit"),
    ('unit = "siemens", description = "all', 'description = "all', r"derived.g_all.unit: is missing"),
    ("\ng_all = {", "\nms = {", r"derived.ms: 'ms' is the name of a unit, for 0.001 second in equations"),
    # quantities and initial values
    ("v = E_L", "v = 40*ms", r"reset: '40\*ms' is in second, expected volt"),
    ("E_L - 2*mV", "E_L - 2*mVolt", r"states.v.initial: .*uses 'mVolt'"),
    ("E_L - 2*mV", "E_L - 2", r"states.v.initial: .*(unit|dimension)"),
    ("E_L - 2*mV", "E_L - n*mV", r"states.v.initial: .*uses 'n', which isn't a parameter, or a state above it"),
    ("E_L - 2*mV", "v", r"states.v.initial: .*uses 'v', which isn't a parameter, or a state above it"),
    ("I_syn)/C", "I_syn + inf*pA)/C", r"uses 'inf', which isn't a variable"),
    ("\nC = {", "\npi = {", r"parameters.pi: 'pi' is the name of a constant"),
]


@pytest.mark.parametrize(("old", "new", "message"), CASES)
def test_wrong_files(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in CHANNEL
    with pytest.raises(TemplateError, match=message) as error:
        load_model(write(tmp_path, CHANNEL.replace(old, new)))
    assert "channel.toml" in str(error.value)


def test_functions_that_grow_are_refused(tmp_path: Path) -> None:
    heads = ['"f0(x)" = "x + x*x"', *(f'"f{k}(x)" = "f{k - 1}(x)*f{k - 1}(x + 1)"' for k in range(1, 40))]
    text = CHANNEL.replace('"gain(x)" = "1 + x"', "\n".join(heads)).replace("gain(4)", "f39(4)")
    with pytest.raises(TemplateError, match=r"when functions are put in their place|nested too deeply"):
        load_model(write(tmp_path, text))


MECHANISM = """
kind = "mechanism"
title = "Start"
description = "Starts elsewhere."
[replace]
initial = { v = "half(E_L)*2 + lift", n = 0.5 }
[functions]
"half(x)" = "x/2"
[derived]
lift = { value = "2*dv", unit = "unit(v)", description = "twice as much" }
[parameters]
dv = { default = "0.1*scale(v)", unit = "unit(v)", description = "above rest" }
"""


def test_mechanisms_replace_initial_values(tmp_path: Path) -> None:
    model = load_model(write(tmp_path), write(tmp_path, MECHANISM, "start"))
    assert [s.initial for s in model.states][:2] == ["(E_L/2)*2 + (2*dv)", "0.5"]
    slow = load_model(write(tmp_path), f"{write(tmp_path, MECHANISM, 'start')}:slow")
    assert slow.states[0].initial == "(E_L/2)*2 + (2*dv_slow)"
    assert list(slow.derived) == ["g_K", "g_all", "lift_slow"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("n = 0.5", "m = 0.5", r"replace.initial.m: there is no such state; there is"),
        ("n = 0.5", 'n = "0.5*mV"', r"replace.initial.n: '0.5\*mV' is in volt, expected no unit"),
        ("n = 0.5", "n = true", r"replace.initial.n: expected"),
        ("dv =", "E_L =", r"parameters.E_L: .*make them equal, or rename one, as in start:slow"),
        ("half(E_L)*2", "half(n)*2*mV", r"replace.initial.v: .*uses 'n', which isn't a parameter, or a state above"),
        ('"2*dv"', '"2*v"', r"derived.lift.value: .*uses 'v', which isn't a parameter"),
    ],
)
def test_wrong_mechanisms(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in MECHANISM
    with pytest.raises(TemplateError, match=message):
        load_model(write(tmp_path), write(tmp_path, MECHANISM.replace(old, new), "start"))


def test_only_one_mechanism_replaces_an_initial_value(tmp_path: Path) -> None:
    own = write(tmp_path, MECHANISM, "start")
    with pytest.raises(TemplateError, match=r"replace.initial.v: .*start.toml replaces it too"):
        load_model(write(tmp_path), own, "initial_potential")


@pytest.mark.parametrize(
    ("neuron", "default", "value"), [("eif", "-65*mV", -65e-3), ("lif", "0", 0.0), ("leaky_integrator", "0", 0.0)]
)
def test_the_initial_potential_is_what_it_was(neuron: str, default: str, value: float) -> None:
    parameter = load_model(neuron, "initial_potential").parameters["v_0"]
    assert parameter.value == value
    assert parameter.default in (default, "0.0")


def test_the_initial_potential_of_an_expression(tmp_path: Path) -> None:
    parameter = load_model(write(tmp_path), "initial_potential").parameters["v_0"]
    assert parameter.value == pytest.approx(-67e-3, rel=1e-14)
    assert parameter.default.endswith("*volt")


def test_what_has_no_initial_value_says_so(tmp_path: Path) -> None:
    text = MECHANISM.replace("0.1*scale(v)", "initial(q)")
    with pytest.raises(TemplateError, match=r"parameters.dv.default: initial\(q\): 'q' has no initial here"):
        load_model(write(tmp_path), write(tmp_path, text, "start"))


# --- instances ------------------------------------------------------------------------------------------------------


def test_two_instances_of_a_mechanism() -> None:
    model = load_model("lif", "adaptive_threshold:fast", "adaptive_threshold:slow", "adaptive_threshold")
    assert model.threshold == "v > v_th + beta_fast*a_fast + beta_slow*a_slow + beta*a"
    assert [str(s) for s in model.reset] == ["v = v_reset", "a_fast += 1", "a_slow += 1", "a += 1"]
    assert {"tau_a_fast", "tau_a_slow", "tau_a"} <= set(model.parameters)
    assert model.name == "lif+exp_synapse+adaptive_threshold:fast+adaptive_threshold:slow+adaptive_threshold"


def test_an_instance_extends_the_instance_of_the_same_name() -> None:
    both = ("current_adaptation", "current_adaptation:slow", "subthreshold_adaptation:slow")
    model = load_model("lif", *both)
    assert model.derivatives["z_slow"] == "-z_slow/tau_z_slow + a_z_slow*(v - v_rest)/tau_z_slow"
    assert model.derivatives["z"] == "-z/tau_z"
    alone = load_model("lif", "current_adaptation", "subthreshold_adaptation:slow")
    assert alone.derivatives["z"] == "-z/tau_z + a_z_slow*(v - v_rest)/tau_z"


def test_what_an_instance_holds() -> None:
    assert load_model("lif", "refractory:long").refractory.duration == "t_ref_long"
    with pytest.raises(TemplateError, match="declares a refractory period too"):
        load_model("lif", "refractory:long", "refractory:short")


def test_an_instance_of_a_users_own_file(tmp_path: Path) -> None:
    own = write(tmp_path, MECHANISM.replace("half(E_L)*2 +", "0*dv +").replace(", n = 0.5", ""), "start")
    own.write_text(own.read_text().replace('"half(x)" = "x/2"', "").replace("[functions]", ""))
    assert load_model(f"lif+{own}:a").states[0].initial == "0*dv_a + (2*dv_a)"


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "meaning"), [("mV", "unit"), ("pi", "constant"), ("e", "constant")])
@pytest.mark.parametrize("where", ["parameters", "weight"])
def test_a_variable_of_a_model_in_python_is_not_taken_for_a_unit(name: str, meaning: str, where: str) -> None:
    model = load_model("lif")
    if where == "parameters":
        changed = {"parameters": {**model.parameters, name: Parameter(name, 2.0, "1", "2")}}
    else:
        changed = {"receptors": {n: dataclasses.replace(r, weight=name) for n, r in model.receptors.items()}}
    with pytest.raises(UnsupportedExpression, match=f"the variable '{name}' is called like the {meaning} {name}"):
        hybrid_system(dataclasses.replace(model, **changed))
