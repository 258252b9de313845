"""Every way to get a file wrong is one line that names file, key and value, and says what would be right."""

import textwrap

import pytest

from snnmodels.templates import TemplateError, load_model

NEURON = """
kind = "neuron"
title = "Test neuron"
description = "A leaky integrate-and-fire neuron in volts."
equations = "dv/dt = (E_L - v + I)/tau : volt"
threshold = "v > v_th"
reset = "v = E_L"
[inputs]
I = { unit = "volt", description = "input" }
[states]
v = { initial = "E_L", description = "potential" }
[parameters]
E_L = { default = "-70*mV", unit = "volt", description = "leak" }
v_th = { default = "-55*mV", unit = "volt", description = "threshold" }
tau = { default = "20*ms", unit = "second", description = "time constant" }
"""
SYNAPSE = """
kind = "synapse"
title = "Test synapse"
description = "An exponential input."
equations = "dI/dt = -I/tau_s : unit(I)"
on_pre = "I += w"
[weight]
unit = "unit(I)"
[add]
inputs.I = "I"
[parameters]
tau_s = { default = "5*ms", unit = "second", description = "time constant" }
"""
MECHANISM = """
kind = "mechanism"
title = "Test mechanism"
description = "A moving threshold."
equations = "da/dt = -a/tau_a : 1"
[add]
threshold = "beta*a"
reset = "a += 1"
[parameters]
tau_a = { default = "5*ms", unit = "second", description = "time constant" }
beta = { default = "1*mV", unit = "unit(v)", description = "step" }
"""


def load(tmp_path, **changed):
    """Compose the three files, some of their text replaced."""
    paths = []
    for name, text in {"neuron": NEURON, "synapse": SYNAPSE, "mechanism": MECHANISM}.items():
        for old, new in changed.get(name, ()):
            assert old in text, old
            text = text.replace(old, new)
        path = tmp_path / f"{name}.toml"
        path.write_text(text)
        paths.append(path)
    return load_model(*paths)


def test_the_unchanged_files_are_fine(tmp_path):
    assert load(tmp_path).state_names == ("v", "I", "a")


CASES = [
    # TOML and schema
    ("neuron", 'title = "Test', "title = Test", r"neuron.toml: not valid TOML: .*line 3"),
    ("neuron", 'kind = "neuron"', "", r"neuron.toml: kind: is missing; expected one of neuron, synapse"),
    ("neuron", 'kind = "neuron"', 'kind = "neurone"', r"kind: is 'neurone'; expected one of neuron"),
    ("neuron", "threshold =", "treshold =", r"neuron.toml: treshold: unknown key; did you mean 'threshold'"),
    (
        "neuron",
        'tau = { default = "20*ms"',
        'tau = { defalt = "20*ms"',
        r"parameters.tau.defalt: unknown key; did you mean 'default'",
    ),
    ("neuron", 'unit = "second", ', "", r"parameters.tau.unit: is missing"),
    ("neuron", ', description = "leak"', "", r"parameters.E_L.description: is missing"),
    ("neuron", 'title = "Test neuron"', "title = 3", r"title: expected a valid string, got 3"),
    ("neuron", '"20*ms"', "true", r"parameters.tau.default: .*got True"),
    ("synapse", "[weight]", "[wait]", r"synapse.toml: wait: unknown key; did you mean 'weight'"),
    ("mechanism", "threshold =", "treshold =", r"mechanism.toml: add.treshold: unknown key; did you mean 'threshold'"),
    # units and defaults
    ("neuron", '"20*ms"', '"20 ms"', r"parameters.tau.default: '20 ms' is not a number with a unit; write .*20\*ms"),
    ("neuron", '"20*ms"', '"20*mss"', r"parameters.tau.default: .*'mss' is not a unit; did you mean 'ms'"),
    ("neuron", '"20*ms"', '"20*mV"', r"parameters.tau.default: '20\*mV' is in volt, expected second"),
    ("neuron", '"20*ms"', "20", r"parameters.tau.default: '20' has no unit, expected second"),
    ("neuron", '"20*ms"', '"1*ms/0"', r"parameters.tau.default: .*is not finite"),
    ("neuron", '"20*ms"', '"1e999*ms"', r"parameters.tau.default: .*is not finite"),
    ("neuron", '"20*ms"', '"__import__(1)"', r"parameters.tau.default: .*only scale\(name\) and initial\(name\)"),
    (
        "neuron",
        '"20*ms", unit = "second"',
        '"20*ms", unit = "second", scale = "1*mV"',
        r"parameters.tau.scale: '1\*mV' is in volt, expected second",
    ),
    ("neuron", 'unit = "second"', 'unit = "ms"', r"parameters.tau.unit: 'ms' is not a unit: .*Use 'second'"),
    ("neuron", "/tau : volt", "/tau : mV", r"neuron.toml: equations: 'mV' is not a unit: .*Use 'volt'"),
    ("mechanism", "unit(v)", "unit(u)", r"parameters.beta.unit: unit\(u\): 'u' has no unit here"),
    ("mechanism", '"1*mV"', '"2*scale(v)"', r"parameters.beta.default: scale\(v\): 'v' has no scale here"),
    ("synapse", 'unit = "unit(I)"', 'unit = "pA"', r"weight.unit: 'pA' is not a unit"),
    # equations
    ("neuron", "dv/dt = (E_L", "dv/dt (E_L", r"equations: can't read .*expected lines such as dv/dt"),
    ("neuron", " : volt", "", r"equations: can't read .*expected lines such as dv/dt"),
    ("neuron", "(E_L - v + I)", "(E_L - v + + I", r"equations: .*is not an expression: .* was never closed"),
    ("neuron", ' : volt"', ' : volt (unless refractory)"', r"equations: .*flags such as"),
    (
        "neuron",
        '"dv/dt = (E_L - v + I)/tau : volt"',
        '"""dv/dt = (E_L - v + I)/tau : volt\nq : 1"""',
        r"'q' is a param",
    ),
    ("neuron", "(E_L - v + I)", "(E_L - u + I)", r"equations.dv/dt: .*uses 'u', which isn't a variable of the model"),
    ("neuron", "(E_L - v + I)", "(-70*ms - v + I + E_L)", r"equations.dv/dt: .*(unit|dimension)"),
    ("neuron", "(E_L - v + I)", "(E_L - v + I)*sin(t/tau)", r"uses 't', .*do not depend on time"),
    ("neuron", "(E_L - v + I)", "(E_L - v + I + tau)", r"equations.dv/dt: .*(unit|dimension)"),
    ("neuron", "(E_L - v + I)/tau", "(E_L - v + I)*tau", r"equations.dv/dt: '.*' is in weber, expected volt/second"),
    ("neuron", "(E_L - v + I)", "(E_L - v + I)*expp(v/v)", r"unknown function 'expp'; did you mean .*'exp'"),
    ("neuron", "(E_L - v + I)", "(E_L - v + I)*rand()", r"calls rand, but models are deterministic"),
    ("neuron", "(E_L - v + I)", "(E_L - v + I)*exp(v)", r"equations.dv/dt: .*exp"),
    ("neuron", "(E_L - v + I)", "(E_L - v + I if v > v else v)", r"neuron.toml: equations"),
    # states
    ("neuron", 'v = { initial = "E_L"', 'u = { initial = "E_L"', r"states.u: has no differential equation; there is v"),
    ("neuron", 'initial = "E_L"', 'initial = "tau"', r"states.v.initial: 'tau' is in second, expected volt"),
    ("neuron", 'initial = "E_L"', 'initial = "v"', r"states.v.initial: 'v' uses 'v', which isn't a parameter"),
    ("neuron", 'initial = "E_L"', 'initial = "-70*pA"', r"states.v.initial: .*is in amp, expected volt"),
    ("neuron", 'initial = "E_L"', 'initial = "E_L +"', r"states.v.initial: 'E_L \+' is not an expression"),
    ("neuron", 'initial = "E_L"', "initial = 1", r"states.v.initial: '1' has no unit, expected volt"),
    # names
    (
        "neuron",
        "tau = {",
        'extra = { default = 1, unit = "1", description = "x" }\ntau = {',
        r"parameters.extra: .*not used",
    ),
    (
        "neuron",
        "[states]",
        'J = { unit = "1", description = "x" }\n[states]',
        r"inputs.J: 'J' is declared but not used",
    ),
    ("synapse", "I += w", "I += tau_s/tau_s", r"on_pre: 'tau_s/tau_s' has no unit, expected volt"),
    ("synapse", "[weight]", '[weight]\nname = "I"', r"weight.name: the name 'I' is already"),
    ("synapse", "I += w", "I += v_th", r"weight.name: 'w' is declared but not used"),
    ("neuron", "tau", "lambda", r"equations: .*is not an expression: invalid syntax; .lambda. is a Python keyword"),
    ("neuron", "E_L", "w", r"neuron.toml: parameters.w: 'w' is also what synapse \(.*\) calls its weights; give the"),
    ("neuron", "E_L", "dt", r"parameters.dt: 'dt' has a special meaning"),
    # events
    ("neuron", '"v > v_th"', '"v < v_th"', r"threshold: 'v < v_th' is not a threshold crossing .*; write v_th > v"),
    ("neuron", '"v > v_th"', '"v >= v_th"', r"threshold: .*write v > v_th"),
    ("neuron", '"v > v_th"', '"v - v_th"', r"threshold: .*write one comparison, such as v > v_th"),
    ("neuron", '"v > v_th"', '"v > v_th and v > E_L"', r"threshold: .*write one comparison"),
    ("neuron", '"v > v_th"', '"v > v_t"', r"threshold: 'v_t' uses 'v_t', .*did you mean 'v_th'"),
    ("neuron", '"v > v_th"', '"v/v_th > v_th"', r"threshold: 'v_th' is in volt, expected no unit"),
    ("neuron", 'threshold = "v > v_th"', "", r"threshold: is missing; a spiking neuron"),
    ("neuron", 'reset = "v = E_L"', "", r"reset: is missing; a spiking neuron .* and a reset, which is \[\] if"),
    ("neuron", '"v = E_L"', '"v == E_L"', r"reset: 'v == E_L' is not an assignment; write it as in v = v_reset"),
    ("neuron", '"v = E_L"', '"u = E_L"', r"reset: 'u = E_L' assigns to 'u', no state; there is I, a, v"),
    ("neuron", '"v = E_L"', '"E_L = v"', r"reset: 'E_L = v' assigns to 'E_L', no state"),
    ("neuron", '"v = E_L"', '"v = tau"', r"reset: 'tau' is in second, expected volt"),
    ("neuron", '"v = E_L"', '"v *= E_L"', r"reset: 'E_L' is in volt, expected no unit"),
    ("neuron", '"v = E_L"', '"v **= 2"', r"reset: .*is not an assignment"),
    ("neuron", '"v = E_L"', '"v = v > E_L"', r"reset: .*has a condition.*write int"),
    ("neuron", '"v = E_L"', '"for"', r"reset: 'for' is not an assignment"),
    ("synapse", '"I += w"', '"I += w/tau_s"', r"on_pre: 'w/tau_s' is in volt/second, expected volt"),
    ("synapse", '"I += w"', '"J += w"', r"synapse.toml: on_pre: 'J \+= w' assigns to 'J', no state"),
    ("synapse", '"I += w"', "[]", r"on_pre: is empty; write what an arriving spike does"),
    ("synapse", 'inputs.I = "I"', 'inputs.I = "I/tau_s"', r"add.inputs.I: 'I/tau_s' is in volt/second, expected volt"),
    ("synapse", 'inputs.I = "I"', 'inputs.J = "I"', r"add.inputs.J: neuron has no such input; there is I"),
    ("mechanism", '"beta*a"', '"a"', r"mechanism.toml: add.threshold: 'a' has no unit, expected volt"),
    ("mechanism", '"beta*a"', '"beta*b"', r"add.threshold: 'beta\*b' uses 'b', which isn't a variable"),
    ("mechanism", '"a += 1"', '"a += beta"', r"mechanism.toml: add.reset: 'beta' is in volt, expected no unit"),
    ("mechanism", '"a += 1"', '"a += 1"\nderivatives.u = "a"', r"add.derivatives.u: there is no such state; there is"),
    (
        "mechanism",
        '"a += 1"',
        '"a += 1"\nderivatives.v = "a*v"',
        r"add.derivatives.v: 'a\*v' is in volt, expected volt/second",
    ),
]


@pytest.mark.parametrize(("file", "old", "new", "message"), CASES)
def test_wrong_files(tmp_path, file, old, new, message):
    with pytest.raises(TemplateError, match=message) as error:
        load(tmp_path, **{file: [(old, new)]})
    text = str(error.value)
    assert "\n" not in text
    assert f"{file}.toml" in text


def test_zero_needs_no_unit(tmp_path):
    for zero in ("0", "0.0"):
        model = load(tmp_path, neuron=[('initial = "E_L"', f"initial = {zero}"), ('"-70*mV"', zero)])
        assert model.states[0].initial == "0"
        assert model.parameters["E_L"].value == 0


def test_default_synapse_must_be_one(tmp_path):
    path = tmp_path / "n.toml"
    for name, message in (("lif", "not among the library's synapses"), ("exp_synaps", "did you mean 'exp_synapse'")):
        path.write_text(NEURON.replace("[inputs]", f'default_synapse = "{name}"\n[inputs]'))
        with pytest.raises(TemplateError, match=rf"n.toml: default_synapse: .*{message}"):
            load_model(path)


def test_a_file_that_cannot_be_read(tmp_path):
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TemplateError, match=r"binary.toml: can't be read"):
        load_model(path)


def test_quoting_a_users_own_file_by_path_in_one_string(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(textwrap.dedent(NEURON))
    assert load_model(f"{path}").name == "own"
    assert load_model(f"{path}+adaptive_threshold".replace("adaptive_threshold", "delta_synapse")).receptors
