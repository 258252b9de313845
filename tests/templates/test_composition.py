"""How components become one model."""

import textwrap
from pathlib import Path

import pytest

from snnmodels.templates import TemplateError, equations_path, load_model


@pytest.fixture
def write(tmp_path):
    """Write a component file, and return its path."""

    def write(name, text):
        path = tmp_path / f"{name}.toml"
        path.write_text(textwrap.dedent(text))
        return path

    return write


MV_LIF = """
    kind = "neuron"
    title = "LIF with currents"
    description = "A leaky integrate-and-fire neuron in units of a recording."
    equations = '''
    dv/dt = (E_L - v)/tau + I/C : volt
    drive = I/C : volt/second
    '''
    threshold = "v > v_th"
    reset = "v = v_r"
    inputs.I = { unit = "amp", description = "current", scale = "100*pA" }
    states.v = { initial = "E_L", scale = "15*mV" }
    [parameters]
    E_L = { default = "-70*mV", unit = "volt", description = "leak" }
    v_th = { default = "-55*mV", unit = "volt", description = "threshold" }
    v_r = { default = "-70*mV", unit = "volt", description = "reset" }
    tau = { default = "20*ms", unit = "second", description = "membrane time constant" }
    C = { default = "200*pF", unit = "farad", description = "capacitance" }
"""
CURRENT_SYNAPSE = """
    kind = "synapse"
    title = "Current"
    description = "Exponential current."
    equations = "dI/dt = -I/tau_s : unit(I)"
    on_pre = "I += w"
    weight.unit = "unit(I)"
    add.inputs.I = "I"
    parameters.tau_s = { default = "5*ms", unit = "second", description = "time constant" }
"""


def mv_lif():
    # the subexpression would be unused
    return MV_LIF.replace("    drive = I/C : volt/second\n", "")


def test_one_string_with_plus_signs_equals_separate_names():
    assert load_model("lif+exp_synapse+adaptive_threshold") == load_model("lif", "exp_synapse", "adaptive_threshold")
    assert load_model("adaptive_threshold", "lif").name == "lif+exp_synapse+adaptive_threshold"
    assert load_model("lif", name="neuron").name == "neuron"


def test_synapses_take_the_unit_of_the_neuron(write):
    model = load_model(
        write("mv_lif", mv_lif()), write("current", CURRENT_SYNAPSE), "delta_synapse", "adaptive_threshold"
    )
    units = {v.name: v.unit for v in (*model.states, *model.parameters.values())}
    assert units["I"] == "amp"
    assert units["beta"] == "volt"
    assert model.parameters["beta"].value == pytest.approx(0.2 * 15e-3, rel=1e-15)
    assert {name: r.weight_unit for name, r in model.receptors.items()} == {"current": "amp", "delta_synapse": "volt"}
    assert model.threshold == "v > v_th + beta*a"


def test_undriven_input_is_a_constant_with_default_zero(write):
    model = load_model("lif", "delta_synapse")
    assert model.parameters["I_syn"].value == 0
    assert model.derivatives == {"v": "(v_rest - v + I_syn)/tau_m"}
    assert load_model(write("mv_lif", mv_lif())).parameters["I"].unit == "amp"
    assert load_model(write("mv_lif", mv_lif())).receptors == {}


def test_input_is_the_sum_of_what_drives_it():
    model = load_model("lif", "exp_synapse:exc", "alpha_synapse:inh", "current_adaptation")
    assert model.state_names == ("v", "I_syn_exc", "I_syn_inh", "s_inh", "z")
    assert model.derivatives["v"] == "(v_rest - v + (I_syn_exc + I_syn_inh - z))/tau_m"
    assert model.derivatives["s_inh"] == "-s_inh/tau_rise_inh"
    assert "I_syn" not in model.parameters
    assert list(model.receptors) == ["exc", "inh"]
    assert [str(s) for s in model.receptors["inh"].on_pre] == ["s_inh += w"]
    assert {"tau_syn_exc", "tau_syn_inh", "tau_rise_inh"} <= set(model.parameters)


def test_mechanisms_add_in_order():
    model = load_model("lif", "adaptive_threshold", "current_adaptation", "subthreshold_adaptation")
    assert model.threshold == "v > v_th + beta*a"
    assert [str(s) for s in model.reset] == ["v = v_reset", "a += 1", "z += b"]
    assert model.derivatives["z"] == "-z/tau_z + a_z*(v - v_rest)/tau_z"
    assert model.derivatives["v"] == "(v_rest - v + (I_syn - z))/tau_m"
    assert model.derivatives["I_syn"] == "-I_syn/tau_syn"


def test_mechanisms_replace(write):
    path = write(
        "soft_reset",
        """
        kind = "mechanism"
        title = "Reset by subtraction"
        description = "Subtracts the distance to the threshold."
        replace.reset = "v -= v_th - v_reset"
        replace.threshold = "v > v_th*gain"
        parameters.gain = { default = 1.5, unit = "1", description = "factor" }
        """,
    )
    model = load_model("lif", path, "adaptive_threshold")
    assert [str(s) for s in model.reset] == ["v -= v_th - v_reset", "a += 1"]
    assert model.threshold == "v > v_th*gain + beta*a"
    # nothing that a mechanism adds is lost, whichever comes first
    other_way = load_model("lif", "adaptive_threshold", path)
    assert (other_way.threshold, other_way.reset) == (model.threshold, model.reset)
    other = write("other", path.read_text())
    with pytest.raises(TemplateError, match=r"other.toml: replace.threshold: .*soft_reset.toml replaces it too"):
        load_model("lif", path, other)


def test_subexpressions_are_substituted_where_the_model_says_so(write):
    path = write(
        "sub",
        """
        kind = "neuron"
        title = "Sub"
        description = "With subexpressions of two levels."
        equations = '''
        dv/dt = -leak : 1
        leak = twice/2   # a comment
            /tau : Hz
        twice = 2*v : 1
        '''
        threshold = "twice > v_th"
        reset = "v = v - twice/2"
        parameters.tau = { default = "10*ms", unit = "second", description = "time constant" }
        parameters.v_th = { default = 1, unit = "1", description = "threshold" }
        """,
    )
    model = load_model(path)
    assert model.derivatives == {"v": "-((2*v)/2 /tau)"}
    assert model.threshold == "(2*v) > v_th"
    assert [str(s) for s in model.reset] == ["v = v - (2*v)/2"]
    assert "leak = twice/2 /tau : hertz" in model.equations


def test_shared_variables_must_agree(write):
    text = """
        kind = "synapse"
        title = "Same"
        description = "Shares I_syn and tau_syn with exp_synapse: two receptors on one state."
        equations = "dI_syn/dt = -I_syn/tau_syn : 1"
        on_pre = "I_syn += 2*w"
        weight.unit = "1"
        parameters.tau_syn = { default = "5*ms", unit = "second", description = "time constant" }
    """
    same = write("same", text)
    model = load_model("lif", "exp_synapse", same)
    assert model.state_names == ("v", "I_syn")
    assert list(model.receptors) == ["exp_synapse", "same"]
    other = write("other", text.replace("5*ms", "6*ms"))
    with pytest.raises(TemplateError) as error:
        load_model("lif", "exp_synapse", other)
    message = str(error.value)
    assert "parameters.tau_syn" in message
    assert "6*ms" in message
    assert "5*ms" in message
    assert "exp_synapse.toml" in message
    assert "other.toml" in message
    with pytest.raises(TemplateError, match=r"alpha_synapse.toml: equations.I_syn: .*exp_synapse.toml.*rename one"):
        load_model("lif", "exp_synapse", "alpha_synapse")


def test_the_same_receptor_twice_is_refused():
    with pytest.raises(TemplateError, match=r"two receptors 'exp_synapse'; rename one, as in exp_synapse:inh"):
        load_model("lif", "exp_synapse", "exp_synapse")


@pytest.mark.parametrize(
    ("components", "message"),
    [
        (["exp_synapse"], "exactly one neuron, found none"),
        (["lif", "qif"], "exactly one neuron, found lif and qif"),
        (["liff"], r"liff: not among the library's neurons or synapses or mechanisms.*did you mean 'lif'"),
        (["missing/own.toml"], "missing/own.toml: no such file"),
        (["lif+"], r"a component has no name; write them as in lif\+exp_synapse"),
        ([], "a component has no name"),
        (["lif:x"], "only synapses and mechanisms can be renamed"),
        (["lif", "adaptive_threshold", "adaptive_threshold"], "twice; rename one, as in adaptive_threshold:slow"),
        (["lif", "adaptive_threshold:x", "adaptive_threshold:x"], "adaptive_threshold:x is there twice"),
        (
            ["lif", "current_adaptation:slow", "subthreshold_adaptation"],
            "extends current_adaptation; it would extend current_adaptation:slow as subthreshold_adaptation:slow",
        ),
        (["lif", "subthreshold_adaptation"], "add current_adaptation too"),
        (["leaky_integrator", "adaptive_threshold"], "leaky_integrator does not spike"),
        (
            ["integrate_and_fire", "current_adaptation", "subthreshold_adaptation"],
            r"add.derivatives.z: .*uses 'v_rest', which isn't a variable",
        ),
        (["yin_yang"], "not among the library's neurons"),
    ],
)
def test_compositions_that_cannot_be(components, message):
    with pytest.raises(TemplateError, match=message) as error:
        load_model(*components)
    assert "\n" not in str(error.value)
    assert isinstance(error.value, ValueError)


def test_a_synapse_for_another_input_is_refused(write):
    with pytest.raises(
        TemplateError, match=r"current.toml: add.inputs.I: lif has no such input; did you mean|there is"
    ):
        load_model("lif", write("current", CURRENT_SYNAPSE.replace("unit(I)", "1")))
    silent = CURRENT_SYNAPSE.replace('    add.inputs.I = "I"\n', "")
    with pytest.raises(TemplateError, match=r'\[add\] inputs.I = "I"'):
        load_model(write("mv_lif", mv_lif()), write("silent", silent))


@pytest.mark.parametrize("spaces", ["v>v_th", "v  >  v_th", "  v\t>\n v_th ", "v > v_th"])
def test_white_space_around_a_threshold(tmp_path: Path, spaces: str) -> None:
    text = (equations_path() / "neurons" / "lif.toml").read_text()
    assert 'threshold = "v > v_th"' in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace('threshold = "v > v_th"', f'threshold = """{spaces}"""'))
    assert " ".join((load_model(path).threshold or "").split()) == "v > v_th"


def test_parameters_that_are_0_may_say_how_large_they_typically_are():
    model = load_model("lif_current+bias_current")
    assert (model.parameters["I_e"].value, model.parameters["I_e"].scale) == (0, pytest.approx(400e-12))
    # so does an input that nothing drives
    driven_by_nothing = load_model("lif_current+delta_synapse").parameters["I_syn"]
    assert (driven_by_nothing.value, driven_by_nothing.scale) == (0, pytest.approx(400e-12))
    assert load_model("lif+bias_current").parameters["I_e"].scale == 1
    assert load_model("lif").parameters["v_rest"].scale == 0  # nothing is said
