"""Coding networks as TOML: the library loads, and mistakes are named by file and key."""

from __future__ import annotations

import numpy as np
import pytest

from snnmodels.coding import Homeostat, coding_catalogue, load_coding_network
from snnmodels.templates import TemplateError

GOOD = """
kind = "coding_network"
title = "t"
description = "d"
[traces]
r = { scope = "neuron", tau = "20*ms" }
[costs]
sparsity = { expression = "nu*r" }
[parameters]
nu = { default = 0.03, unit = "1", description = "cost" }
[decoder]
kind = "ring"
neurons = 8
norms = 0.2
"""


def test_library_loads() -> None:
    networks = {name: load_coding_network(name) for name in coding_catalogue()}
    assert {"joint", "ring", "wiring_cost", "oscillator", "energy_budget"} <= set(networks)
    assert networks["ring"].decoder.shape == (2, 50)
    np.testing.assert_allclose(networks["ring"].norms, 0.1, rtol=1e-14)
    assert networks["oscillator"].loss.dynamics[1, 0] == 6.283
    np.testing.assert_array_equal(networks["wiring_cost"].metric, np.diag([4.0, 1.0]))
    assert networks["energy_budget"].parameters["nu"] == Homeostat(0.03, 300.0, 2.0)


def test_users_file(tmp_path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(GOOD)
    network = load_coding_network(file)
    assert (network.name, network.n, network.tau, network.loss.defaults) == ("mine", 8, 0.02, {"nu": 0.03})


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        ("title", "titel", "titel", "unknown key; did you mean 'title'"),
        ("[costs]", "[cost]", "cost", "unknown key; did you mean 'costs'"),
        ('tau = "20*ms"', 'tau = "20*mV"', "traces.r", "expected second"),
        ('tau = "20*ms"', 'tau = "-20*ms"', "traces.r", "not a positive"),
        ('"neuron"', '"neurone"', "traces.r.scope", "'neuron' or 'population'"),
        ('"nu*r"', '"nu*q"', "coding", "'q', which is neither a trace"),
        ('"nu*r"', '"nu*(r"', "costs.sparsity.expression", "is not an expression"),
        ('unit = "1"', 'unit = "volt"', "parameters.nu", "signals, traces and costs have no unit"),
        ('unit = "1"', 'unit = "1", scale = 1', "parameters.nu", "scale is for parameters of neurons"),
        ('"ring"', '"square"', "decoder.kind", "'golden_angle'"),
        ("norms = 0.2", "", "decoder", "kind 'ring' needs 'norms'"),
        ("norms = 0.2", "norms = 0.2\nseed = 1", "decoder", "kind 'ring' has no use for 'seed'"),
        ("norms = 0.2", "norms = [0.1, 0.2]", "decoder", "2 norms for 8 neurons"),
        ("norms = 0.2", "norms = -0.2", "decoder", "positive"),
        ("neurons = 8", "neurons = 2", "decoder", "at least 3 neurons"),
        (
            "norms = 0.2",
            'norms = 0.2\n[homeostats]\nmu = { budget = "1*Hz", gain = "1*Hz" }',
            "homeostats.mu",
            "'nu'|nu",
        ),
        ("norms = 0.2", 'norms = 0.2\n[homeostats]\nnu = { budget = "1*ms", gain = "1*Hz" }', "homeostats.nu", "hertz"),
        ("[traces]", '[coding]\ntrace = "q"\n[traces]', "coding", "read-out trace 'q' is not declared"),
        ("[traces]", "[coding]\nweight = [[1.0, 0.0], [0.0, -1.0]]\n[traces]", "coding", "positive definite"),
        ("[traces]", '[coding]\ndynamics = [["-1*Hz"]]\n[traces]', "decoder", "the decoder has 2 signals"),
    ],
)
def test_mistakes_are_named(tmp_path, old, new, key, message) -> None:
    file = tmp_path / "mine.toml"
    assert old in GOOD
    file.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(TemplateError, match=message) as caught:
        load_coding_network(file)
    assert str(caught.value).startswith(f"{file}: {key}: ")
    assert "\n" not in str(caught.value)


def test_a_file_of_ones_own_needs_no_descriptions(tmp_path) -> None:
    short = GOOD.replace('title = "t"\ndescription = "d"\n', "")
    short = short.replace('sparsity = { expression = "nu*r" }', 'sparsity = "nu*r"')
    short = short.replace('nu = { default = 0.03, unit = "1", description = "cost" }', "nu = 0.03")
    assert short.count("{") == 1
    for name, text in (("short", short), ("long", GOOD)):
        (tmp_path / f"{name}.toml").write_text(text)
    one, other = (load_coding_network(tmp_path / f"{name}.toml") for name in ("short", "long"))
    assert one.loss.costs == other.loss.costs
    assert one.loss.defaults == other.loss.defaults
    (tmp_path / "short.toml").write_text(short.replace("nu = 0.03", "nu = [1]"))
    with pytest.raises(TemplateError, match=r"parameters\.nu: expected"):
        load_coding_network(tmp_path / "short.toml")


def test_unknown_names() -> None:
    with pytest.raises(TemplateError, match="did you mean 'oscillator'"):
        load_coding_network("oscilator")
    with pytest.raises(TemplateError, match="no such file"):
        load_coding_network("nowhere.toml")
