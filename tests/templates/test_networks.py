"""Networks from files and from Python, and what is refused."""

import dataclasses
import textwrap
import warnings

import numpy as np
import pytest
from brian2 import ms, mV, second, volt

from snnmodels.templates import (
    CurrentInput,
    Network,
    Population,
    Projection,
    SpikeInput,
    TemplateError,
    equations_path,
    load_model,
    load_network,
    save_network,
)

LIF = load_model("lif")
READOUT = load_model("leaky_integrator")


def network(**changes):
    """A 2-3-1 network with a recurrent hidden layer."""
    parts = {
        "name": "small",
        "inputs": (SpikeInput("input", 2),),
        "populations": (Population("hidden", 3, LIF), Population("output", 1, READOUT)),
        "projections": (
            Projection("", "input", "hidden", np.ones((2, 3))),
            Projection("recurrent", "hidden", "hidden", np.zeros((3, 3)), mask=~np.eye(3, dtype=bool)),
            Projection("readout", "hidden", "output", np.ones((3, 1)), "exp_synapse", learnable=False),
        ),
        "output": "output",
        "duration": 0.05,
    }
    return Network(**(parts | changes))


def delayed(delay, **options):
    """The network with one projection, which has a delay."""
    return network(projections=[Projection("", "input", "hidden", np.ones((2, 3)), delay=delay, **options)])


def test_what_a_projection_learns_is_a_list_of_names():
    for given, names in (
        (True, ("w",)),
        (False, ()),
        (["delay"], ("delay",)),
        (("delay", "w"), ("w", "delay")),
        ([], ()),
    ):
        assert delayed(0.0, learnable=given).projections[0].learnable == names
    assert delayed(0.0).projections[0].learnable == ("w",)


def test_delays_are_trainable_and_can_be_replaced():
    from snnmodels.templates.values import with_values

    net = delayed(1.5 * ms, learnable=["delay"])
    assert net.projections[0].delay == pytest.approx(1.5e-3, rel=1e-15)
    assert {key: value.shape for key, value in net.trainable().items()} == {"input_hidden.delay": ()}
    assert with_values(net, {"input_hidden.delay": np.array(2e-3)}).projections[0].delay == 2e-3
    each = delayed(np.arange(6).reshape(2, 3) * ms, learnable=["w", "delay"])
    assert list(each.trainable()) == ["input_hidden.w", "input_hidden.delay"]
    assert each.trainable()["input_hidden.delay"].shape == (2, 3)
    changed = with_values(each, {"input_hidden.delay": np.full((2, 3), 4e-3)})
    assert (changed.projections[0].delay == 4e-3).all()
    assert changed.projections[0].weights is each.projections[0].weights
    with pytest.raises(ValueError, match=r"a delay of -0.001 s"):
        with_values(each, {"input_hidden.delay": np.full((2, 3), -1e-3)})
    with pytest.raises(ValueError, match=r"value of 'input_hidden.delay' has shape \(\); it must be \(2, 3\)"):
        with_values(each, {"input_hidden.delay": np.array(1e-3)})


def test_names_and_receptors_are_filled_in():
    net = network()
    assert [p.name for p in net.projections] == ["input_hidden", "recurrent", "readout"]
    assert {p.receptor for p in net.projections} == {"exp_synapse"}
    assert set(net.trainable()) == {"input_hidden.w", "recurrent.w"}
    again = dataclasses.replace(net, duration=0.1)
    assert again.projections[0].weights is net.projections[0].weights


def test_sizes_of_numpy_are_plain():
    lif = load_model("lif")
    groups = SpikeInput("a", np.int64(2)), Population("b", np.uint8(3), lif), CurrentInput("c", np.int32(1), 1e-3)
    assert [type(group.n) for group in groups] == [int] * 3


def test_quantities_are_converted_and_checked():
    population = Population("p", 2, LIF, {"tau_m": [10, 20] * ms, "v_th": 2}, ["tau_m"])
    np.testing.assert_allclose(population.value("tau_m"), [0.01, 0.02])
    assert type(population.value("tau_m")) is np.ndarray
    assert population.value("v_th") == 2.0
    assert population.value("tau_syn") == 5e-3
    assert network(duration=60 * ms).duration == pytest.approx(0.06)
    eif = Population("hidden", 3, load_model("eif"))
    net = network(
        populations=(eif,), projections=[Projection("", "input", "hidden", np.ones((2, 3)) * mV)], output="hidden"
    )
    np.testing.assert_allclose(net.projections[0].weights, 1e-3)
    with pytest.raises(ValueError, match=r"weights has unit second; expected volt"):
        dataclasses.replace(net, projections=[Projection("", "input", "hidden", np.ones((2, 3)) * ms)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpikeInput("input", 0), "input 'input': n is 0; expected a whole number from 1 up"),
        (lambda: SpikeInput("in put", 1), "input 'in put': expected a name of ASCII letters"),
        (lambda: Population("p", 1.5, LIF), "population 'p': n is 1.5"),
        (lambda: Population("p", 2, LIF, {"tau": 1.0}), "has no parameter 'tau'; did you mean 'tau_m' or 'tau_syn'"),
        (lambda: Population("p", 2, LIF, {"tau_m": [1, 2, 3]}), r"parameter 'tau_m' has shape \(3,\); .*\(2,\)"),
        (lambda: Population("p", 2, LIF, {"tau_m": np.nan}), "parameter 'tau_m' is not finite"),
        (lambda: Population("p", 2, LIF, {"tau_m": "20*ms"}), "expected numbers"),
        (lambda: Population("p", 2, LIF, {"tau_m": 1 * volt}), "'tau_m' has unit volt; expected second"),
        (lambda: Population("p", 2, LIF, {}, ("v_t",)), "has no parameter 'v_t'; did you mean 'v_th'"),
        (lambda: Population("p", 2, LIF, {}, "v_th"), "learnable is 'v_th'; expected a list of names"),
        (lambda: network(output="hiden"), "output 'hiden' is not a population; did you mean 'hidden'"),
        (lambda: network(output="input"), "output 'input' is not a population"),
        (lambda: network(duration=0.0), "duration is 0.0; expected a positive time in seconds"),
        (lambda: network(duration=1 * volt), "duration has unit volt; expected second"),
        (lambda: network(inputs=(SpikeInput("hidden", 2),)), "the name 'hidden' is used twice"),
        (lambda: network(projections=[Projection("a", "inpt", "hidden", np.ones((2, 3)))]), "did you mean 'input'"),
        (lambda: network(projections=[Projection("a", "input", "input", np.ones((2, 2)))]), "'input' is not a popu"),
        (lambda: network(projections=[Projection("a", "output", "hidden", np.ones((1, 3)))]), "'output' never spikes"),
        (
            lambda: network(projections=[Projection("a", "input", "hidden", np.ones((3, 2)))]),
            r"weights have shape \(3, 2\); expected \(n_source, n_target\) = \(2, 3\)",
        ),
        (
            lambda: network(projections=[Projection("a", "input", "hidden", np.full((2, 3), np.nan))]),
            "weights are not all finite",
        ),
        (
            lambda: network(projections=[Projection("a", "input", "hidden", np.ones((2, 3)), mask=np.ones((2, 3)))]),
            r"mask is float64 of shape \(2, 3\); expected bool",
        ),
        (
            lambda: network(projections=[Projection("a", "input", "hidden", np.ones((2, 3)), "exp_synaps")]),
            "no receptor 'exp_synaps'; did you mean 'exp_synapse'",
        ),
        (
            lambda: network(projections=[Projection("a-b", "input", "hidden", np.ones((2, 3)))]),
            "'a-b': expected a name",
        ),
        (lambda: delayed(-1e-3), "a delay of -0.001 s; a spike can't arrive before it is sent"),
        (lambda: delayed(np.full((2, 3), [1e-3, -2e-3, 0])), "projection 'input_hidden': a delay of -0.002 s"),
        (lambda: delayed(np.nan), "projection 'input_hidden': delay is not finite"),
        (lambda: delayed(np.inf), "projection 'input_hidden': delay is not finite"),
        (lambda: delayed(np.zeros((3, 2))), r"delay has shape \(3, 2\); expected one number or .* = \(2, 3\)"),
        (lambda: delayed(1 * mV), "projection 'input_hidden': delay has unit volt; expected second"),
        (lambda: delayed("1*ms"), "projection 'input_hidden': delay is '1\\*ms'; expected numbers"),
        (
            lambda: delayed(0.0, learnable=("w", "dely")),
            'projection \'input_hidden\': learnable names \'dely\'; expected true, false, or .* "w" and "delay"',
        ),
        (lambda: delayed(0.0, learnable="w"), "learnable is 'w'; expected true, false, or a list"),
        (lambda: delayed(0.0, learnable=3), "learnable is 3; expected true, false, or a list"),
    ],
)
def test_wrong_values_are_refused(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_a_population_with_two_receptors_wants_one_named():
    both = Population("hidden", 3, load_model("lif", "exp_synapse:exc", "exp_synapse:inh"))
    with pytest.raises(ValueError, match="name a receptor; there is exc, inh"):
        network(populations=(both,), projections=[Projection("a", "input", "hidden", np.ones((2, 3)))], output="hidden")


def test_a_receptor_that_is_named_with_its_component_is_not_taken_for_another():
    synapses = Population("hidden", 3, load_model("lif", "exp_synapse", "exp_synapse:inh"))
    wrong = Projection("a", "input", "hidden", np.ones((2, 3)), receptor="exp_synapse:inh")
    with pytest.raises(ValueError, match="no receptor 'exp_synapse:inh'; did you mean 'inh'\\?"):
        network(populations=(synapses,), projections=[wrong], output="hidden")


def test_yin_yang_has_the_published_settings():
    net = load_network("yin_yang")
    assert [(i.name, i.n) for i in net.inputs] == [("input", 5)]
    assert [(p.name, p.n, p.model.name) for p in net.populations] == [
        ("hidden", 200, "lif+exp_synapse"),
        ("output", 3, "lif+exp_synapse"),
    ]
    hidden, output = (p.weights for p in net.projections)
    # means within four standard errors
    assert hidden.mean() == pytest.approx(1.5, abs=4 * 0.78 / np.sqrt(hidden.size))
    assert hidden.std() == pytest.approx(0.78, rel=4 / np.sqrt(2 * hidden.size))
    assert output.mean() == pytest.approx(0.93, abs=4 * 0.1 / np.sqrt(output.size))
    assert net.encoding == {"code": "yin_yang_latency", "longest": 0.03, "dropout": 0.0}
    assert net.output == "output"
    assert net.duration == 0.06


def test_mnist_has_the_published_settings():
    net = load_network("mnist")
    assert [p.weights.shape for p in net.projections] == [(784, 350), (350, 10)]
    assert net.projections[0].weights.mean() == pytest.approx(0.078, abs=4 * 0.045 / np.sqrt(784 * 350))
    assert net.projections[1].weights.std() == pytest.approx(0.37, rel=4 / np.sqrt(2 * 3500))
    assert not net.populations[1].model.spiking
    assert net.encoding == {"code": "image_latency", "longest": 0.02, "dropout": 0.2}


def test_seeds_and_overrides():
    first, same, other = load_network("yin_yang"), load_network("yin_yang", seed=0), load_network("yin_yang", seed=1)
    np.testing.assert_array_equal(first.projections[0].weights, same.projections[0].weights)
    assert (first.projections[0].weights != other.projections[0].weights).all()
    smaller = load_network(
        "yin_yang",
        duration="80*ms",
        output="hidden",
        hidden={"learnable": ["tau_m"], "parameters": {"v_th": 2}},
        input_hidden={"weights": {"value": 0.5}},
    )
    # the stream of one projection does not depend on the others
    np.testing.assert_array_equal(first.projections[1].weights, smaller.projections[1].weights)
    np.testing.assert_array_equal(smaller.projections[0].weights, np.full((5, 200), 0.5))
    assert smaller.duration == pytest.approx(0.08)
    assert set(smaller.trainable()) == {"input_hidden.w", "hidden_output.w", "hidden.tau_m"}
    with pytest.raises(TemplateError, match="hiden: can't be overridden so; did you mean 'hidden'"):
        load_network("yin_yang", hiden={"n": 3})
    with pytest.raises(TemplateError, match="hidden: can't be overridden so; expected a dictionary"):
        load_network("yin_yang", hidden=3)
    with pytest.raises(TemplateError, match=r"populations.hidden.m: unknown key"):
        load_network("yin_yang", hidden={"m": 3})


TEXT = """
kind = "network"
title = "Recurrent"
description = "Excitation and inhibition in one population."
duration = "50*ms"
output = "cells"
inputs.stimulus = { n = 2 }
[populations.cells]
model = ["eif", "exp_synapse:exc", "exp_synapse:inh"]
n = 3
parameters = { tau_m = "15*ms", v_T = ["-60*mV", "-59*mV", "-58*mV"], b = "1*mV" }
learnable = ["v_T"]
[[projections]]
source = "stimulus"
target = "cells"
receptor = "exc"
weights = { matrix = [[0.001, 0.002, 0.003], [0.004, 0.005, 0.006]] }
[[projections]]
source = "cells"
target = "cells"
receptor = "inh"
weights = { distribution = "uniform", low = "-2*mV", high = "-1*mV" }
mask = { probability = 0.5 }
learnable = false
"""


def write(tmp_path, *replacements):
    text = TEXT.replace(', b = "1*mV"', "")
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new)
    path = tmp_path / "recurrent.toml"
    path.write_text(textwrap.dedent(text))
    return path


def test_a_users_own_network(tmp_path):
    net = load_network(write(tmp_path))
    assert net.name == "recurrent"
    np.testing.assert_allclose(net.populations[0].value("v_T"), [-0.060, -0.059, -0.058], rtol=1e-15)
    assert net.populations[0].value("tau_m") == pytest.approx(0.015)
    np.testing.assert_array_equal(net.projections[0].weights, [[0.001, 0.002, 0.003], [0.004, 0.005, 0.006]])
    recurrent = net.projections[1]
    assert ((recurrent.weights >= -2e-3) & (recurrent.weights <= -1e-3)).all()
    assert recurrent.mask.dtype == bool
    assert set(net.trainable()) == {"stimulus_cells.w", "cells.v_T"}


def test_weights_from_files_and_components_beside_the_network(tmp_path):
    weights = np.arange(6.0).reshape(2, 3)
    np.save(tmp_path / "w.npy", weights)
    np.savetxt(tmp_path / "w.csv", weights, delimiter=",")
    matrix = "{ matrix = [[0.001, 0.002, 0.003], [0.004, 0.005, 0.006]] }"
    for name in ("w.npy", "w.csv"):
        path = write(tmp_path, (matrix, f'{{ file = "{name}" }}'))
        np.testing.assert_array_equal(load_network(path).projections[0].weights, weights)
    (tmp_path / "mine.toml").write_text((equations_path() / "neurons" / "eif.toml").read_text())
    net = load_network(write(tmp_path, ('"eif"', '"mine.toml"')))
    assert net.populations[0].model.name == "mine+exp_synapse:exc+exp_synapse:inh"


def test_delays_of_a_file(tmp_path):
    plain = load_network(write(tmp_path))
    assert [p.delay for p in plain.projections] == [0.0, 0.0]
    drawn = 'delay = { distribution = "uniform", low = "0.5*ms", high = "5*ms" }'
    path = write(
        tmp_path,
        ('receptor = "exc"\n', 'receptor = "exc"\ndelay = "1.5*ms"\nlearnable = ["w", "delay"]\n'),
        ("learnable = false", f"{drawn}\nlearnable = [\"delay\"]"),
    )
    net = load_network(path)
    assert net.projections[0].delay == pytest.approx(1.5e-3)
    delays = net.projections[1].delay
    assert delays.shape == (3, 3)
    assert ((delays >= 0.5e-3) & (delays <= 5e-3)).all()
    assert len(np.unique(delays)) == 9
    assert list(net.trainable()) == ["stimulus_cells.w", "stimulus_cells.delay", "cells_cells.delay", "cells.v_T"]
    # delays come from a stream of their own: weights and masks are what they were
    for a, b in zip(plain.projections, net.projections, strict=True):
        np.testing.assert_array_equal(a.weights, b.weights)
    np.testing.assert_array_equal(plain.projections[1].mask, net.projections[1].mask)
    assert (load_network(path, seed=1).projections[1].delay != delays).all()
    np.testing.assert_array_equal(load_network(path).projections[1].delay, delays)
    assert load_network(path, cells_cells={"delay": "2*ms"}).projections[1].delay == pytest.approx(2e-3)


def test_delays_equal_written_out_or_read(tmp_path):
    np.save(tmp_path / "d.npy", np.full((2, 3), 3e-3))
    for written, expected in (
        ('{ value = "1*ms" }', np.full((2, 3), 1e-3)),
        ("{ matrix = [[0.001, 0.002, 0.003], [0, 0, 0]] }", [[1e-3, 2e-3, 3e-3], [0, 0, 0]]),
        ('{ file = "d.npy" }', np.full((2, 3), 3e-3)),
    ):
        net = load_network(write(tmp_path, ('receptor = "exc"\n', f'receptor = "exc"\ndelay = {written}\n')))
        np.testing.assert_allclose(net.projections[0].delay, expected, rtol=1e-15)


@pytest.mark.parametrize(
    ("delay", "message"),
    [
        ('"1.5*mV"', r"projections.0.delay: '1.5\*mV' is in volt, expected second"),
        ('"1.5"', r"projections.0.delay: '1.5' has no unit, expected second"),
        ("1.5", r"projections.0.delay: '1.5' has no unit, expected second"),
        ('"-1*ms"', r"projection 'stimulus_cells': a delay of -0.001 s; a spike can't arrive before it is sent"),
        ("true", r"projections.0.delay: expected a valid string or .*, got True"),
        ("[1, 2]", r"projections.0.delay: expected a valid string or .*, got \[1, 2\]"),
        ("{}", r"projections.0.delay: expected exactly one of distribution, value, matrix, file; found none"),
        ('{ distribution = "uniforme" }', r"projections.0.delay.distribution: expected 'normal' or 'uniform', got"),
        ('{ distribution = "uniform", low = "1*ms" }', r"projections.0.delay: distribution goes with low and high"),
        ('{ valu = "1*ms" }', r"projections.0.delay.valu: unknown key; did you mean 'value'"),
        ("{ matrix = [[0.001]] }", r"projections.0.delay: shape is \(1, 1\); expected .* = \(2, 3\)"),
        (
            '{ distribution = "normal", mean = "0*ms", std = "1*ms" }',
            r"projections.0: projection 'stimulus_cells': a delay of -.* s|'stimulus_cells': a delay of -",
        ),
        ('"1*ms"\nlearnable = ["w", "delays"]', r"projections.0: .*learnable names 'delays'; expected true, false"),
        ('"1*ms"\nlearnable = "delay"', r"projections.0.learnable: expected a valid boolean or .*, got 'delay'"),
        ('"1*ms"\ndelays = "1*ms"', r"projections.0.delays: unknown key; did you mean 'delay'"),
    ],
)
def test_wrong_delays(tmp_path, delay, message):
    path = write(tmp_path, ('receptor = "exc"\n', f'receptor = "exc"\ndelay = {delay}\n'))
    with pytest.raises(TemplateError, match=message) as error:
        load_network(path)
    assert "\n" not in str(error.value)
    assert "recurrent.toml" in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("inputs.stimulus = { n = 2 }", "inputs = 3", r"recurrent.toml: inputs: expected a table, got 3"),
        ('kind = "network"', 'kind = "neuron"', r"recurrent.toml: "),
        ('"50*ms"', '"50*mV"', r"duration: '50\*mV' is in volt, expected second"),
        ('"50*ms"', '"-50*ms"', r"duration is -0.05; expected a positive time"),
        ('output = "cells"', 'output = "cell"', r"output 'cell' is not a population; did you mean 'cells'"),
        ("n = 3", "n = 0", r"populations.cells.n: expected a number greater than or equal to 1, got 0"),
        ('"eif"', '"eiff"', r"eiff: not among the library's.*did you mean 'eif'"),
        ("tau_m =", "tau_n =", r"populations.cells.parameters.tau_n: .*no parameter 'tau_n'; did you mean"),
        ('"15*ms"', '"15*mV"', r"populations.cells.parameters.tau_m: '15\*mV' is in volt, expected second"),
        (', "-58*mV"]', "]", r"populations.cells: .*'v_T' has shape \(2,\)"),
        ('learnable = ["v_T"]', 'learnable = ["v_t"]', r"no parameter 'v_t'; did you mean 'v_T'"),
        ('source = "stimulus"', 'source = "stimuli"', r"projections.0.source: no population 'stimuli'; did you mean"),
        (
            'receptor = "exc"',
            'receptor = "ex"',
            r"projections.0.receptor: cells has no receptor 'ex'; did you mean 'exc'",
        ),
        ('receptor = "exc"', 'receptor = "exp_synapse:exc"', r"no receptor 'exp_synapse:exc'; did you mean 'exc'\?"),
        ('receptor = "exc"\n', "", r"projections.0.receptor: name a receptor of cells; there is exc, inh"),
        (", [0.004, 0.005, 0.006]]", "]", r"projections.0.weights: shape is \(1, 3\); expected .* = \(2, 3\)"),
        ("0.005, 0.006]", "0.005]", r"projections.0.weights: expected rows of numbers of equal length"),
        ('low = "-2*mV", ', "", r"projections.1.weights: distribution goes with low and high; found"),
        ('low = "-2*mV"', 'low = "2*mV"', r"projections.1.weights: low is 0.002 and high -0.001"),
        ('low = "-2*mV"', 'low = "-2"', r"projections.1.weights: '-2' has no unit, expected volt"),
        ('"uniform"', '"uniforme"', r"projections.1.weights.distribution: expected 'normal' or 'uniform', got"),
        ("probability = 0.5", "probability = 1.5", r"projections.1.mask.probability: expected a number less than or"),
        ("{ distribution", '{ value = "1*mV", distribution', r"exactly one of .*; found distribution and value"),
        (
            "{ matrix = [[0.001, 0.002, 0.003], [0.004, 0.005, 0.006]] }",
            '{ file = "none.npy" }',
            r"projections.0.weights: .*none.npy can't be read",
        ),
        (
            "{ matrix = [[0.001, 0.002, 0.003], [0.004, 0.005, 0.006]] }",
            '{ file = "w.mat" }',
            r"expected a file that ends in .npy, .npz or .csv",
        ),
    ],
)
def test_wrong_files(tmp_path, old, new, message):
    with pytest.raises(TemplateError, match=message) as error:
        load_network(write(tmp_path, (old, new)))
    assert "\n" not in str(error.value)
    assert "recurrent.toml" in str(error.value)


DRAWN = '{ distribution = "normal", mean = "15*ms", std = "1*ms" }'


def test_parameters_are_drawn(tmp_path):
    plain = load_network(write(tmp_path), seed=5)
    uniform = 'v_T = { distribution = "uniform", low = "-60*mV", high = "-58*mV" }'
    low = ('v_T = ["-60*mV", "-59*mV", "-58*mV"]', uniform)
    path = write(tmp_path, ('tau_m = "15*ms"', f"tau_m = {DRAWN}"), low)
    net = load_network(path, seed=5)
    tau, v_T = net.populations[0].value("tau_m"), net.populations[0].value("v_T")
    assert tau.shape == v_T.shape == (3,)
    assert np.ptp(tau) > 0
    assert (np.abs(tau - 15e-3) < 5e-3).all()
    assert ((v_T > -60e-3) & (v_T < -58e-3)).all()
    # from streams of their own, whatever else is drawn and in whatever order
    for before, after in zip(plain.projections, net.projections, strict=True):
        np.testing.assert_array_equal(before.weights, after.weights)
        np.testing.assert_array_equal(before.mask, after.mask)
    text = path.read_text()
    swapped = text.replace(f"tau_m = {DRAWN}, {low[1]}", f"{low[1]}, tau_m = {DRAWN}")
    assert swapped != text
    path.write_text(swapped)
    again = load_network(path, seed=5)
    np.testing.assert_array_equal(again.populations[0].value("tau_m"), tau)
    assert (load_network(path, seed=6).populations[0].value("tau_m") != tau).all()
    override = {"parameters": {"tau_m": {"distribution": "normal", "mean": "15*ms", "std": "1*ms"}}}
    np.testing.assert_array_equal(load_network(write(tmp_path), 5, cells=override).populations[0].value("tau_m"), tau)
    assert net.trainable()["cells.v_T"].shape == (3,)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (DRAWN.replace('"normal"', '"gamma"'), r"parameters.tau_m.distribution: expected 'normal' or 'uniform'"),
        (DRAWN.replace("mean", "means"), r"parameters.tau_m.means: unknown key; did you mean 'mean'"),
        (DRAWN.replace(', std = "1*ms"', ""), r"parameters.tau_m: distribution goes with mean and std; found"),
        (DRAWN.replace("std", "low"), r"parameters.tau_m: distribution goes with mean and std; found"),
        (DRAWN.replace("15*ms", "15*mV"), r"parameters.tau_m: '15\*mV' is in volt, expected second"),
        (DRAWN.replace('"1*ms"', '"-1*ms"'), r"parameters.tau_m: std is -0.001; expected"),
        (DRAWN.replace('"1*ms"', '"100*ms"'), r"parameters.tau_m: what is drawn for neuron \d is -.* more than 0"),
        (DRAWN.replace('"1*ms"', '"1e400*ms"'), r"parameters.tau_m: .*not finite"),
        ("{ mean = 3 }", r"parameters.tau_m.distribution: is missing"),
        ('["15*ms", "16*mV", "17*ms"]', r"parameters.tau_m: '16\*mV' is in volt"),
        ('["15*ms", true, "17*ms"]', r"parameters.tau_m.1: expected a valid string or .*, got True"),
        ("true", r"parameters.tau_m: expected a valid string or .*, got True"),
    ],
)
def test_wrong_draws(tmp_path, value, message):
    with pytest.raises(TemplateError, match=message) as error:
        load_network(write(tmp_path, ('"15*ms"', value)), seed=1)
    assert "recurrent.toml: populations.cells" in str(error.value)


def test_a_draw_that_breaks_a_constraint_is_named(tmp_path):
    drawn = 'v_T = { distribution = "uniform", low = "-100*mV", high = "300*mV" }'
    path = write(tmp_path, ('v_T = ["-60*mV", "-59*mV", "-58*mV"]', drawn))
    with pytest.raises(TemplateError, match=r"populations.cells: .* must hold, but .* in neuron \d"):
        load_network(path, seed=1)


def test_instances_beside_the_network(tmp_path):
    source = equations_path() / "mechanisms" / "adaptive_threshold.toml"
    (tmp_path / "mine.toml").write_text(source.read_text())
    net = load_network(write(tmp_path, ('"exp_synapse:inh"]', '"exp_synapse:inh", "mine.toml:slow"]')))
    assert "beta_slow" in net.populations[0].model.parameters


def test_an_unknown_network_lists_what_exists():
    every = "mnist, shd, yin_yang"
    with pytest.raises(TemplateError, match=rf"not among the library's networks.*there is {every}$"):
        load_network("cifar")


def test_bare_numbers_of_another_size_than_usual_are_warned_of(tmp_path):
    with pytest.warns(UserWarning, match=r"'tau_m' is 20 second, where 0.02 second is usual: .* in SI units"):
        population = Population("hidden", 3, LIF, {"tau_m": 20})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataclasses.replace(population, learnable=["tau_m"])  # it has been said
        Population("hidden", 3, LIF, {"tau_m": 20 * second})
        Population("hidden", 3, LIF, {"tau_m": 5e-3, "v_th": 5000.0})  # what has no unit can't lack one
        slow = Population("hidden", 3, LIF, {"tau_m": 30 * second})
        save_network(network(populations=(slow, Population("output", 1, READOUT))), tmp_path / "slow.toml")
        load_network(tmp_path / "slow.toml")


@pytest.mark.parametrize("value", [1e-9 * second, [1e-9, 0.02, 0.02] * second, 1e-9])
def test_time_constants_of_nanoseconds_are_warned_of_with_a_unit_too(value):
    with pytest.warns(UserWarning, match=r"'tau_m' is 1e-09 second, where 0.02 second is usual: .* more time steps"):
        Population("hidden", 3, LIF, {"tau_m": value})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Population("hidden", 3, LIF, {"tau_m": 1e-6 * second})


def test_what_is_printed_is_short():
    whole = network()
    assert len(repr(whole)) < 700
    for name in ("'small'", "input -> hidden", "6 connections", "3 lif+exp_synapse"):
        assert name in repr(whole)
    assert "tau_m = 0.01 to 0.02 second; learns tau_m" in repr(
        Population("hidden", 2, LIF, {"tau_m": [0.01, 0.02]}, learnable=["tau_m"])
    )
    assert "delay 0.001 second" in repr(delayed(1e-3).projections[0])
    assert repr(LIF) == "<Model 'lif+exp_synapse': states v, I_syn; spikes at v > v_th; receptors exp_synapse>"
    assert "spike when v &gt; v_th" in LIF._repr_html_()
    assert "<td style='text-align:left'>recurrent</td>" in whole._repr_html_()
