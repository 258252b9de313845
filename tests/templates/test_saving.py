"""Networks that are saved and read again are the same, and what no file can hold is refused."""

import importlib
from dataclasses import replace

import numpy as np
import pytest
from brian2 import ms, mV

import snnmodels as snn
from snnmodels.templates.identity import identity
from snnmodels.templates.library import catalogue

NETWORKS = [entry.name for entry in catalogue() if entry.kind == "network"]
OWN = """
kind = "synapse"
title = "A synapse of one's own"
description = "Jumps of the potential, of half the weight."
on_pre = "v += half*w"
weight = { unit = "unit(v)" }
[parameters.half]
default = 0.5
unit = "1"
description = "part of the weight"
"""


def same(network, again):
    """Everything that decides a simulation, and the values that are learned."""
    assert identity(network) == identity(again)
    assert network.trainable().keys() == again.trainable().keys()
    for key, value in network.trainable().items():
        np.testing.assert_array_equal(value, again.trainable()[key])
    assert [dict(term) for term in network.loss] == [dict(term) for term in again.loss]


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_the_library_are_read_as_they_were_saved(name, tmp_path):
    network = snn.load_network(name)
    snn.save_network(network, tmp_path / "saved.toml")
    same(network, snn.load_network(tmp_path / "saved.toml"))


def everything(folder):
    """A network with all that one can have: instances, files of one's own, masks, delays, currents, own parameters."""
    (folder / "half.toml").write_text(OWN)
    rng = np.random.default_rng(3)
    own = folder / "half.toml"
    model = snn.load_model("lif", "exp_synapse", "exp_synapse:slow", own, "adaptive_threshold", "refractory")
    other = snn.load_model("eif+alpha_synapse")
    return snn.Network(
        "everything",
        inputs=[snn.SpikeInput("in", 3)],
        populations=[
            snn.Population("a", 4, model, {"tau_m": rng.uniform(0.01, 0.03, 4), "tau_syn_slow": 0.1 / 3},
                           learnable=["tau_m", "tau_syn_slow"]),
            snn.Population("b", 2, other, {"tau_m": 15 * ms}),
        ],
        projections=[
            snn.Projection("", "in", "a", rng.normal(0, 1, (3, 4)), "exp_synapse", rng.random((3, 4)) < 0.5,
                           learnable=["w", "delay"], delay=rng.uniform(0, 3e-3, (3, 4))),
            snn.Projection("slow", "a", "a", rng.normal(0, 0.1, (4, 4)), "slow", learnable=False, delay=1.7e-3),
            snn.Projection("jumps", "in", "a", rng.normal(0, 1, (3, 4)), "half"),
            snn.Projection("", "a", "b", rng.normal(5, 1, (4, 2)) * mV),
        ],
        output="b",
        duration=1 / 30,
        currents=[snn.CurrentInput("stimulus", 2, 0.7 * ms, "linear", 1 * ms)],
        drives=[snn.Drive("", "stimulus", "a", rng.normal(0, 1, (2, 4)))],
        loss=[
            {"kind": "spike_time_error", "tau": 2e-3, "factor": 2.0},
            {
                "expression": "((t - wanted)/width)**2",
                "constants": {"width": "3*ms"},
                "targets": {"wanted": "second"},
            },
        ],
    )


def test_all_parts_of_a_network_come_back(tmp_path):
    network = everything(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    snn.save_network(network, tmp_path / "elsewhere" / "saved.toml")
    (tmp_path / "half.toml").unlink()  # the network's file holds it
    again = snn.load_network(tmp_path / "elsewhere" / "saved.toml")
    same(network, again)
    rng = np.random.default_rng(5)
    inputs = {"in": np.sort(rng.uniform(0, 20e-3, (2, 3, 4))), "stimulus": rng.normal(0, 1, (2, 2, 48))}
    wanted = np.full((2, 2, 1), 0.02)
    outcomes = []
    for which in (network, again):
        with snn.Simulation(which, snn.SpikeTimeError(), batch_size=2) as simulation:
            outcomes.append(simulation.run(inputs, wanted))
    assert outcomes[0].loss == outcomes[1].loss
    assert outcomes[0].gradients.keys() == outcomes[1].gradients.keys()
    for key, gradient in outcomes[0].gradients.items():
        np.testing.assert_array_equal(gradient, outcomes[1].gradients[key])


def test_trained_values_are_saved_with_a_network(tmp_path):
    network = snn.load_network("yin_yang", hidden={"n": 3, "learnable": ["tau_m"]})
    values = {key: value * 1.01 for key, value in network.trainable().items()}
    snn.save_network(snn.with_values(network, values), tmp_path / "trained.toml")
    for key, value in snn.load_network(tmp_path / "trained.toml").trainable().items():
        np.testing.assert_array_equal(value, values[key])


def test_what_no_file_can_hold_is_refused(tmp_path):
    network = everything(tmp_path)
    with pytest.raises(ValueError, match=r"ends in \.toml"):
        snn.save_network(network, tmp_path / "saved.json")
    changed = replace(network.populations[0].model, threshold="v > 2*v_th")
    populations = (replace(network.populations[0], model=changed), network.populations[1])
    with pytest.raises(ValueError, match="refractory was changed after load_model"):
        snn.save_network(replace(network, populations=populations), tmp_path / "saved.toml")
    assert not (tmp_path / "saved.toml").exists()
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "half.toml").write_text(OWN.replace("0.5", "0.25"))
    second = snn.load_model("eif", tmp_path / "second" / "half.toml", "alpha_synapse")
    populations = (network.populations[0], replace(network.populations[1], model=second))
    projections = [replace(q, receptor="alpha_synapse" if q.target == "b" else q.receptor) for q in network.projections]
    again = replace(network, populations=populations, projections=tuple(projections))
    with pytest.raises(ValueError, match="two templates of one name"):
        snn.save_network(again, tmp_path / "saved.toml")


def test_an_archive_that_does_not_fit_is_an_error_with_the_key(tmp_path):
    network = snn.load_network("yin_yang", hidden={"n": 3})
    path = tmp_path / "saved.toml"
    snn.save_network(network, path)
    with np.load(tmp_path / "saved.npz") as archive:
        arrays = dict(archive)
    (key,) = [name for name in arrays if name.startswith("input_hidden.w-")]
    np.savez(tmp_path / "saved.npz", **{**arrays, key: np.zeros((5, 4))})
    with pytest.raises(snn.TemplateError, match=r"projections\.0\.weights: shape is \(5, 4\)"):
        snn.load_network(path)
    np.savez(tmp_path / "saved.npz", **{key: arrays[key]})
    with pytest.raises(snn.TemplateError, match=r"no array 'hidden_output\.w-"):
        snn.load_network(path)
    (tmp_path / "saved.npz").unlink()
    with pytest.raises(snn.TemplateError, match=r"saved\.npz"):
        snn.load_network(path)


def test_components_of_a_file_that_nothing_names_are_refused(tmp_path):
    snn.save_network(snn.load_network("yin_yang"), tmp_path / "saved.toml")
    text = (tmp_path / "saved.toml").read_text()
    (tmp_path / "saved.toml").write_text(text + OWN.replace("\n[", "\n[components.half.").replace(
        '\nkind', '\n[components.half]\nkind'))
    with pytest.raises(snn.TemplateError, match=r"components\.half: no population names it"):
        snn.load_network(tmp_path / "saved.toml")


MODELS = ("lif", "eif+alpha_synapse+adaptive_threshold", "lif+adaptive_threshold+adaptive_threshold:slow+refractory")


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_read_as_it_was_saved_with_other_defaults(name, tmp_path):
    model = snn.load_model(name)
    values = {p.name: p.value * (1 + 1 / 3) for p in model.parameters.values() if p.value > 0 and p.name != "v_reset"}
    values.pop("v_rest", None)
    snn.save_model(model, tmp_path / "other.toml", values, title="Another")
    again = snn.load_model(tmp_path / "other.toml")
    assert (again.name, again.title, again.description) == ("other", "Another", model.description)
    assert {p.name: p.value for p in again.parameters.values()} == {
        p.name: values.get(p.name, p.value) for p in model.parameters.values()
    }
    for what in ("derivatives", "threshold", "reset", "receptors", "states", "refractory", "constraints", "equations"):
        assert getattr(again, what) == getattr(model, what)
    snn.save_model(again, tmp_path / "third.toml")
    third = snn.load_model(tmp_path / "third.toml")
    assert replace(third, name="", files=()) == replace(again, name="", files=())
    grown = snn.load_model(tmp_path / "other.toml", "current_adaptation") if name == "lif" else again
    assert grown.parameters["tau_m"].value == again.parameters["tau_m"].value


def test_what_a_models_file_can_not_say_is_refused(tmp_path):
    model = snn.load_model("lif+refractory")
    with pytest.raises(ValueError, match="did you mean 'tau_m'"):
        snn.save_model(model, tmp_path / "m.toml", {"taum": 0.01})
    with pytest.raises(ValueError, match=r"value of 'tau_m' is -0\.01 second"):
        snn.save_model(model, tmp_path / "m.toml", {"tau_m": -0.01})
    with pytest.raises(ValueError, match="v_reset"):
        snn.save_model(model, tmp_path / "m.toml", {"v_reset": 2.0})
    with pytest.raises(ValueError, match="has unit volt"):
        snn.save_model(model, tmp_path / "m.toml", {"tau_m": 3 * mV})
    head = 'kind = "model"\ntitle = "t"\ndescription = "d"\n'
    for text, message in (
        ('model = "lif"\nparameters = { taum = "1*ms" }', r"parameters\.taum: no component has such"),
        ('model = "lif"\ncomponents.other.kind = "neuron"', r"components\.other: the model doesn't name it"),
        ('model = "other.toml"', "is a whole model itself"),
        ('model = "exp_synapse"', "exactly one neuron"),
        ('model = "lif"\nparameters = { v_reset = 2 }', r"m\.toml: lif: .*v_reset"),
    ):
        (tmp_path / "m.toml").write_text(head + text)
        (tmp_path / "other.toml").write_text(head + 'model = "lif"')
        with pytest.raises(snn.TemplateError, match=message):
            snn.load_model(tmp_path / "m.toml")
    with pytest.raises(snn.TemplateError, match="exactly one neuron, found lif and lif"):
        snn.load_model("lif", tmp_path / "other.toml")


def test_a_file_is_not_read_with_the_archive_of_another_network(tmp_path, monkeypatch):
    """Between the archive and the file that names its arrays, a crash leaves one of each network."""
    network = everything(tmp_path)
    snn.save_network(network, tmp_path / "saved.toml")
    q = network.projections[0]
    changed = replace(network, projections=[replace(q, weights=q.weights + 1.0), *network.projections[1:]])
    module = importlib.import_module("snnmodels.templates.saving")
    whole = module.atomic_file

    def crash(path, what):
        if path.suffix == ".toml":
            raise OSError("disk full")
        return whole(path, what)

    monkeypatch.setattr(module, "atomic_file", crash)
    with pytest.raises(OSError, match="disk full"):
        snn.save_network(changed, tmp_path / "saved.toml")
    monkeypatch.undo()
    with pytest.raises(snn.TemplateError, match="has no array"):
        snn.load_network(tmp_path / "saved.toml")
    snn.save_network(changed, tmp_path / "saved.toml")
    same(changed, snn.load_network(tmp_path / "saved.toml"))


def test_a_network_without_a_name_is_not_saved_as_what_can_not_be_read(tmp_path):
    network = replace(snn.load_network("yin_yang"), name="")
    with pytest.raises(ValueError, match="the network's name is '', and in a file it needs one"):
        snn.save_network(network, tmp_path / "saved.toml")
    assert not list(tmp_path.iterdir())
