"""Values that can't be: refused by name as a default, in a population, in a run and in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brian2 import ms, volt

from snnmodels.datasets import Trials
from snnmodels.gradients import Simulation
from snnmodels.losses import SpikeTimeError, TTFSCrossEntropy
from snnmodels.optimisers import SGD
from snnmodels.templates import CurrentInput, Network, Population, Projection, SpikeInput, TemplateError, load_model
from snnmodels.templates.values import keep_possible
from snnmodels.training import train

LIF = load_model("lif+exp_synapse")
LIBRARY = Path(__file__).parents[2] / "equations"
TIMES = [
    (name, parameter)
    for name in (
        "lif+exp_synapse+adaptive_threshold+current_adaptation+subthreshold_adaptation",
        "lif+alpha_synapse",
        "integrate_and_fire+exp_synapse",
        "leaky_integrator+exp_synapse",
        "eif+exp_synapse",
        "qif+exp_synapse",
    )
    for parameter, p in load_model(name).parameters.items()
    if p.unit == "second" or parameter == "delta_T"
]


def network(**values: float) -> Network:
    return Network(
        "small",
        (SpikeInput("in", 3),),
        (Population("p", 2, LIF, values, ("tau_m", "tau_syn")),),
        (Projection("in_p", "in", "p", np.full((3, 2), 4.0)),),
        "p",
        50e-3,
    )


@pytest.mark.parametrize("value", [0.0, -0.02, -1e-300])
@pytest.mark.parametrize(("name", "parameter"), TIMES)
def test_a_population_refuses_what_must_be_positive(name: str, parameter: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"population 'p': parameter '{parameter}' is .*; it must be more than 0"):
        Population("p", 2, load_model(name), {parameter: value})


def test_one_neuron_of_many_is_enough() -> None:
    with pytest.raises(ValueError, match=r"parameter 'tau_m' is -0\.001 second"):
        Population("p", 3, LIF, {"tau_m": np.array([0.02, -0.001, 0.02])})


def test_a_refractory_period_may_be_0() -> None:
    assert Population("p", 2, load_model("lif+exp_synapse+refractory"), {"t_ref": 0.0}).value("t_ref") == 0


def test_a_template_names_its_own_default(tmp_path: Path) -> None:
    text = (LIBRARY / "neurons/lif.toml").read_text().replace('default = "20*ms"', 'default = "-20*ms"')
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(TemplateError, match=r"parameters\.tau_m\.default.*must be more than 0"):
        load_model(tmp_path / "mine.toml")


def test_a_template_may_allow_it(tmp_path: Path) -> None:
    text = (LIBRARY / "neurons/lif.toml").read_text().replace(
        'default = "20*ms", unit', 'default = "-20*ms", positive = false, unit'
    )
    (tmp_path / "mine.toml").write_text(text)
    assert load_model(tmp_path / "mine.toml").parameters["tau_m"].value == -0.02


@pytest.mark.parametrize("target", ["numpy", "cpp_standalone"])
@pytest.mark.parametrize("value", [-1e-3, 0.0])
def test_a_run_refuses_it_and_goes_on(target: str, value: float) -> None:
    times, labels = np.array([[[1e-3], [2e-3], [3e-3]]]), np.array([0])
    with Simulation(network(), TTFSCrossEntropy(), batch_size=1, target=target) as simulation:
        before = simulation.run({"in": times}, labels)
        with pytest.raises(ValueError, match="'tau_m' is"):
            simulation.run({"in": times}, labels, {"p.tau_m": np.array(value)})
        assert simulation.run({"in": times}, labels).loss == before.loss


def test_units_are_checked_where_times_are_given() -> None:
    labels = np.array([0])
    with Simulation(network(), TTFSCrossEntropy(), batch_size=1) as simulation:
        plain = simulation.run({"in": np.array([[[1e-3], [2e-3], [3e-3]]])}, labels)
        assert simulation.run({"in": np.array([[[1], [2], [3]]]) * ms}, labels).loss == pytest.approx(plain.loss)
        with pytest.raises(ValueError, match="'in' has unit volt; expected second"):
            simulation.run({"in": np.array([[[1], [2], [3]]]) * volt}, labels)
        with pytest.raises(ValueError, match="has a unit; expected plain numbers"):
            simulation.run({"in": np.array([[[1e-3], [2e-3], [3e-3]]])}, labels, {"p.tau_m": 20 * ms})
    with pytest.raises(ValueError, match="window has unit volt"):
        Simulation(network(), TTFSCrossEntropy(), window=1 * volt)
    with pytest.raises(ValueError, match="windows of a trial"):
        Simulation(network(), TTFSCrossEntropy(), window=1e-9)


def test_what_is_no_model_no_loss_and_no_sequence_is_named() -> None:
    with pytest.raises(ValueError, match="expected a Model, as load_model gives"):
        Population("p", 1, "lif")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"inputs is SpikeInput.*expected a sequence of SpikeInput"):
        Network("n", SpikeInput("in", 1), (), (), "p", 1.0)  # type: ignore[arg-type]
    current = CurrentInput("i", 1, 1e-3)
    with pytest.raises(ValueError, match=r"expected a sequence of SpikeInput; CurrentInput goes to currents$"):
        Network("n", [SpikeInput("in", 1), current], (), (), "p", 1.0)  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"loss is .*expected a Loss"):
        Simulation(network(), TTFSCrossEntropy)  # type: ignore[arg-type]
    with (
        Simulation(network(), TTFSCrossEntropy()) as simulation,
        pytest.raises(ValueError, match="nothing has been run yet"),
    ):
        simulation.spike_times("p")


def test_a_network_takes_any_iterable() -> None:
    net = network()
    again = Network("again", iter(net.inputs), iter(net.populations), iter(net.projections), "p", 50e-3)
    assert (again.inputs, again.populations, len(again.projections)) == (net.inputs, net.populations, 1)


def test_silent_trials_are_counted_by_a_run() -> None:
    times = np.full((2, 3, 1), np.inf)
    times[0] = 1e-3
    with Simulation(network(), TTFSCrossEntropy(), batch_size=2) as simulation:
        assert simulation.run({"in": times}, np.array([0, 1])).silent == 1


CONSTRAINED = [
    ("lif+exp_synapse", {"v_reset": 1.0}, "v_reset < v_th"),
    ("lif+exp_synapse", {"v_reset": 1.5}, "v_reset < v_th"),
    ("lif+exp_synapse", {"v_th": 0.0}, "v_reset < v_th"),
    ("lif+exp_synapse", {"v_th": -1.0}, "v_reset < v_th"),
    ("integrate_and_fire+delta_synapse", {"v_reset": 2.0}, "v_reset < v_th"),
    ("eif+exp_synapse", {"v_reset": -0.04}, "v_reset < v_peak"),
    ("eif+exp_synapse", {"v_T": 0.0}, "v_T < v_peak"),
    ("eif+exp_synapse", {"v_peak": -0.07}, "v_T < v_peak"),
    ("qif+exp_synapse", {"v_rest": -0.05}, "v_rest < v_crit"),
    ("qif+exp_synapse", {"v_crit": 0.03}, "v_crit < v_peak"),
    ("qif+exp_synapse", {"v_reset": 0.02}, "v_reset < v_peak"),
    ("lif+exp_synapse+refractory", {"t_ref": -1e-3}, "t_ref >= 0"),
    ("lif+exp_synapse+adaptive_threshold", {"v_reset": 1.0}, "v_reset < v_th"),
]


@pytest.mark.parametrize(("name", "values", "constraint"), CONSTRAINED)
def test_a_population_refuses_what_can_not_be_together(name: str, values: dict[str, float], constraint: str) -> None:
    with pytest.raises(ValueError, match=f"population 'p': '{constraint}' must hold, but .* = "):
        Population("p", 2, load_model(name), values)
    each = {k: np.array([load_model(name).parameters[k].value, v]) for k, v in values.items()}
    with pytest.raises(ValueError, match=f"population 'p': '{constraint}' must hold"):
        Population("p", 2, load_model(name), each)


def test_what_is_changed_together_is_possible() -> None:
    assert Population("p", 2, LIF, {"v_reset": 1.5, "v_th": 2.0}).value("v_reset") == 1.5


def mine(folder: Path, constraint: str) -> Path:
    text = (LIBRARY / "neurons/lif.toml").read_text().replace('"v_reset < v_th"', f'"{constraint}"')
    assert constraint in text
    (folder / "mine.toml").write_text(text)
    return folder / "mine.toml"


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        ("v_reset", "'v_reset' is not a comparison of parameters; write one"),
        ("v_reset < v_th < 3", "is not a comparison of parameters"),
        ("v_reset == 0", "is not a comparison of parameters"),
        ("v_reset < v_t", r"'v_t', which isn't a parameter of the model; did you mean 'v_th'"),
        ("v < v_th", r"'v', which isn't a parameter of the model"),
        ("tau_m < v_th", "'tau_m' is in second, expected no unit"),
        ("tau_m < 5*mV", "'tau_m' is in second, expected volt"),
        ("v_reset < foo(v_th)", "foo"),
        ("v_th < v_reset", "'v_th < v_reset' must hold, but v_th = 1, v_reset = 0"),
        ("v_reset <", "is not an expression"),
    ],
)
def test_constraints_of_a_template_are_checked(tmp_path: Path, constraint: str, message: str) -> None:
    with pytest.raises(TemplateError, match=rf"mine\.toml: constraints: .*{message}"):
        load_model(mine(tmp_path, constraint))


@pytest.mark.parametrize(
    "constraint", ["tau_m > 0", "0 <= v_th - v_reset", "v_th*exp(v_reset) >= 1", "0 < tau_m", "tau_m < 1*second"]
)
def test_constraints_that_hold(tmp_path: Path, constraint: str) -> None:
    assert load_model(mine(tmp_path, constraint)).constraints == (constraint,)


@pytest.mark.parametrize("each", [False, True])
def test_training_keeps_what_is_possible(each: bool) -> None:
    times = np.array([[[1e-3], [2e-3], [3e-3]]])
    data = Trials({"in": times}, np.full((1, 2, 1), 2e-3))
    values = {"tau_m": np.array([0.02, 0.03])} if each else {}
    net = Network(
        "small",
        (SpikeInput("in", 3),),
        (Population("p", 2, LIF, values, ("tau_m", "v_th", "v_reset")),),
        (Projection("in_p", "in", "p", np.full((3, 2), 9.0), delay=1e-4, learnable=("w", "delay")),),
        "p",
        50e-3,
    )
    with Simulation(net, SpikeTimeError(), batch_size=1) as simulation:
        rates = {"p.tau_m": 1.0, "p.v_th": 3.0, "p.v_reset": 3.0, "in_p.delay": 1e-5, "in_p.w": 0.0}
        with pytest.warns(UserWarning, match=r"a step of .*p\.tau_m.* went to impossible values and was shortened"):
            result = train(simulation, data, SGD(1.0, scales=rates), epochs=5, batch_size=1, progress=False)
        assert (result.values["p.tau_m"] > 0).all()
        assert result.values["p.v_reset"] < result.values["p.v_th"]
        assert result.values["in_p.delay"] >= 0
        simulation.run({"in": times}, data.targets, result.values)


def test_a_possible_step_is_left_alone() -> None:
    net = network()
    before = {k: np.array(v) for k, v in net.trainable().items()}
    values = {k: np.array(v * 1.5) for k, v in before.items()}
    wanted = {k: v.copy() for k, v in values.items()}
    assert keep_possible(net, before, values) == []
    for key, value in wanted.items():
        np.testing.assert_array_equal(values[key], value)
    values["p.tau_m"][...] = -1.0
    assert keep_possible(net, before, values) == ["p.tau_m"]
    assert 0 < values["p.tau_m"] <= before["p.tau_m"] / 2
    values["p.tau_m"][...] = np.nan
    assert keep_possible(net, before, values) == []


@pytest.mark.parametrize(
    ("v_th", "step"), [(1.0, -1e20), (np.nextafter(1.0, 2), 1 - 1e-4), (1.0 + 1e-12, 1.0), (1.5, -np.finfo(float).max)]
)
def test_a_step_of_any_length_is_kept_possible(v_th: float, step: float) -> None:
    population = Population("p", 2, LIF, {"v_reset": 1.0 - 1e-300, "v_th": max(v_th, 1.0 + 1e-12)}, ("v_th", "v_reset"))
    net = Network("n", (SpikeInput("in", 1),), (population,), (Projection("", "in", "p", np.ones((1, 2))),), "p", 0.01)
    before = {k: np.array(v) for k, v in net.trainable().items()}
    values = {k: v.copy() for k, v in before.items()}
    values["p.v_th"][...] = step
    assert keep_possible(net, before, values) == ["p.v_th"]
    assert values["p.v_reset"] < values["p.v_th"] <= before["p.v_th"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Simulation(network(), batchsize=32), r"Simulation\(\) has no argument 'batchsize'; .*'batch_size'\?"),
        (lambda: SGD(0.1, momentom=0.5), r"SGD\(\) has no argument 'momentom'; did you mean 'momentum'\?"),
        (lambda: train(None, None, None, epoch=3), r"train\(\) has no argument 'epoch'; did you mean 'epochs'\?"),
    ],
)
def test_a_misspelt_keyword_is_told_with_the_nearest(call: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()
