"""The shipped library: complete, documented, and right in what it says."""

import dataclasses
import itertools

import brian2
import pytest

from snnmodels.symbolic.declaration import hybrid_system
from snnmodels.templates import TemplateError, catalogue, describe, equations_path, load_model
from snnmodels.templates import library as _library
from snnmodels.templates.library import read
from snnmodels.templates.units import unit_dimension

NEURONS = [entry.name for entry in catalogue() if entry.kind == "neuron"]
SYNAPSES = ["exp_synapse", "delta_synapse", "alpha_synapse"]
MECHANISMS = [
    "adaptive_threshold",
    "current_adaptation",
    "current_adaptation+subthreshold_adaptation",
    "energy_threshold",
    "refractory",
    "population_trace+feedback_inhibition",
    "bias_current",
    "reset_fraction",
    "dead_time",
    "partial_refractory",
    "threshold_coupling",
]
CONDUCTANCES = ["spike_frequency_conductance", "relative_refractory", "afterhyperpolarisation", "m_current"]


def test_catalogue_lists_every_file_once():
    entries = catalogue()
    names = [entry.name for entry in entries]
    assert len(names) == len(set(names)), "a name must mean one file"
    folders = ("neurons", "synapses", "mechanisms", "networks", "coding")
    files = {path for folder in folders for path in (equations_path() / folder).iterdir()}
    assert {entry.path for entry in entries} == files
    assert {"lif", "leaky_integrator", "integrate_and_fire", "qif", "eif"} <= set(NEURONS)
    assert {entry.kind for entry in entries} == {"neuron", "synapse", "mechanism", "network", "coding"}


def test_the_library_is_found_in_a_package_before_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(_library, "__file__", str(tmp_path / "snnmodels" / "templates" / "_library.py"))
    with pytest.raises(FileNotFoundError, match="the model library is neither"):
        equations_path()
    for folder in (tmp_path / "equations", tmp_path / "snnmodels" / "equations"):
        (folder / "neurons").mkdir(parents=True)
        assert equations_path() == folder


@pytest.mark.parametrize("entry", [e for e in catalogue() if e.kind != "coding"], ids=lambda entry: entry.name)
def test_every_file_says_what_it_is(entry):
    source = read(entry.path)
    assert source.kind == entry.kind
    assert source.references, "no reference"
    assert len(source.description) > 40
    if entry.kind != "network":
        assert all(table.description for table in source.states.values())
        undescribed = {line.split("/dt")[0][1:] for line in source.equations.splitlines() if "/dt" in line}
        assert undescribed <= set(source.states), "a state without [states] entry has no meaning"
        assert "\n" not in "".join(table.description for table in source.parameters.values())


@pytest.mark.parametrize(("neuron", "synapse"), list(itertools.product(NEURONS, SYNAPSES)))
def test_every_neuron_takes_every_synapse(neuron, synapse):
    if synapse == "delta_synapse" and "v" not in load_model(neuron).state_names:  # a phase takes another jump
        with pytest.raises(TemplateError, match="'v' has no unit here"):
            load_model(neuron, synapse)
        return
    model = load_model(neuron, synapse)
    assert list(model.receptors) == [synapse]
    equations = brian2.Equations(model.equations)
    assert equations.diff_eq_names == set(model.state_names) == set(model.derivatives)
    assert equations.parameter_names == set(model.parameters)
    # what the symbolic layer needs is there, and nothing else: no free name
    system = hybrid_system(model)
    known = {*system.states, *system.parameters}
    assert all(rhs.free_symbols <= known for rhs in (*system.f.values(), *system.h.values(), *system.initial.values()))


@pytest.mark.parametrize("mechanism", [*MECHANISMS, *CONDUCTANCES])
@pytest.mark.parametrize("neuron", ["lif", "qif", "eif"])
def test_every_spiking_neuron_with_a_rest_takes_every_mechanism(neuron, mechanism):
    model = load_model(f"{neuron}+alpha_synapse+{mechanism}")
    system = hybrid_system(model)
    # a hold that ends before the block does is an event of its own
    assert system.is_linear == (neuron == "lif" and mechanism not in (*CONDUCTANCES, "partial_refractory"))
    assert system.g.free_symbols <= {*system.states, *system.parameters}


def test_lif_is_the_published_model():
    model = load_model("lif")
    assert model.name == "lif+exp_synapse"
    assert model.derivatives == {"v": "(v_rest - v + I_syn)/tau_m", "I_syn": "-I_syn/tau_syn"}
    values = {name: p.value for name, p in model.parameters.items()}
    assert values == {"tau_m": 20e-3, "v_rest": 0, "v_th": 1, "v_reset": 0, "tau_syn": 5e-3}
    assert model.threshold == "v > v_th"
    assert [str(s) for s in model.reset] == ["v = v_reset"]
    assert [str(s) for s in model.receptors["exp_synapse"].on_pre] == ["I_syn += w"]
    assert {p.name: p.unit for p in model.parameters.values()}["tau_m"] == "second"


def test_published_values_in_millivolts():
    qif = {name: p.value for name, p in load_model("qif").parameters.items()}
    eif = {name: p.value for name, p in load_model("eif").parameters.items()}
    expected = {"v_rest": -65e-3, "v_crit": -50e-3, "v_peak": 20e-3, "v_reset": -80e-3, "tau_m": 10e-3}
    assert {name: qif[name] for name in expected} == pytest.approx(expected, rel=1e-15)
    expected = {"v_rest": -65e-3, "v_T": -59.9e-3, "delta_T": 3.48e-3, "v_peak": -42.5e-3, "v_reset": -68e-3}
    assert {name: eif[name] for name in expected} == pytest.approx(expected, rel=1e-15)


def test_readout_never_spikes():
    model = load_model("leaky_integrator")
    assert not model.spiking
    assert model.reset == ()


def test_describe_says_everything_there_is():
    model = load_model("eif", "current_adaptation")
    text = describe(model)
    for line in model.equations.splitlines():
        if "(constant" not in line:
            assert line in text
    for parameter in model.parameters.values():
        assert parameter.description in text
        assert parameter.default in text
    assert "Spikes when\n    v > v_peak" in text
    assert "z += b" in text
    assert all(reference.split(",")[0] in text for reference in model.references)
    assert max(map(len, text.splitlines())) <= 100
    assert "Reset" not in describe(load_model("leaky_integrator"))


def test_models_are_values():
    assert load_model("lif") == load_model("lif+exp_synapse")
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_model("lif").name = "other"


@pytest.mark.parametrize("neuron", ["lif", "lif_current"])
@pytest.mark.parametrize("mechanism", CONDUCTANCES)
def test_mechanisms_take_their_units_from_the_neuron(neuron, mechanism):
    """Conductances are numbers where inputs are in the unit of the potential, else siemens."""
    model = load_model(f"{neuron}+{mechanism}")
    units = {p.unit for p in model.parameters.values() if p.name in ("q_sfa", "q_rr", "G_ahp", "g_M")}
    assert [unit_dimension(unit) for unit in units] == [unit_dimension("1" if neuron == "lif" else "siemens")]
