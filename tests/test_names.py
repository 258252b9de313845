"""Any name works, with the right gradient on every target, or is refused on loading with the reason."""

from __future__ import annotations

import functools
import gc
import keyword
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from brian2 import Network as BrianNetwork
from brian2 import NeuronGroup, SpikeGeneratorGroup, Synapses, ms, volt
from brian2.core.functions import DEFAULT_CONSTANTS, DEFAULT_FUNCTIONS
from brian2.core.namespace import DEFAULT_UNITS

import snnmodels as snn
from snnmodels import oracle
from snnmodels.brian.names import attributes, generated, synapse_attributes
from snnmodels.gradients import GridSimulation, Outcome, Simulation, UnresolvedSpikes
from snnmodels.gradients.probe import SmoothSpikeTimes
from snnmodels.losses import MaxVoltageCrossEntropy
from snnmodels.reports import equations
from snnmodels.symbolic import Adjoint, hybrid_system
from snnmodels.templates import Model, Network, Population, Projection, SpikeInput, TemplateError, load_model
from tests.needs import COMPILER

PYTHON = (*keyword.kwlist, *keyword.softkwlist, "print", "self", "int", "float", "np", "numpy", "math", "abs")
CPP = """
alignas alignof and_eq asm auto bitand bitor bool catch char char16_t compl concept const constexpr decltype
default delete do double enum explicit export extern false float friend goto inline int long mutable namespace
new noexcept not_eq nullptr operator or_eq private protected public register requires short signed sizeof
static static_assert struct switch template this throw true try typedef typeid typename union unsigned using
virtual void volatile wchar_t xor NULL main std errno INFINITY M_PI EOF assert min max pow
""".split()  # noqa: SIM905
CUDA = """
__global__ __device__ __shared__ threadIdx blockIdx blockDim gridDim warpSize __syncthreads half
""".split()  # noqa: SIM905
GENERATED = """
time columns rows source events index t dt i j N number v_start lambda_v lastspike not_refractory
t_in_timesteps _idx idx spikes rand xi weights gradient trial batch neuron n y w2 w_ gw start end tape size
count value p0 x0 sigma slope s q_time s_arrival ev_r v_post v_pre i_pre N_incoming own_time
""".split()  # noqa: SIM905
SYMPY = """
I Q E S C O zoo nan inf pi e oo beta gamma zeta im re Symbol lambda_
""".split()  # noqa: SIM905
LETTERS = ["τ", "μ", "λ", "é", "ñ", "Δ", "v̇", "ﬁ", "ℌ", "µ"]
UNITS = [*list(DEFAULT_UNITS)[::60], "volt", "second", "ms", "mV", "us", "kilogram"]
BRIAN = [*DEFAULT_FUNCTIONS, *DEFAULT_CONSTANTS, *sorted(attributes()), *sorted(synapse_attributes())]
NAMES = tuple(dict.fromkeys([*PYTHON, *CPP, *CUDA, *GENERATED, *SYMPY, *LETTERS, *UNITS, *BRIAN]))

NEURON = """kind = "neuron"
title = "t"
description = "d"
equations = "d{state}/dt = ({input} + {bias} - {state})/tau : volt"
threshold = "{state} > vth"
reset = "{state} = 0*vth"
[inputs]
"{input}" = { unit = "volt", description = "d" }
[parameters]
{parameters}tau = { default = "10*ms", unit = "second", description = "d" }
vth = { default = "1*volt", unit = "volt", description = "d" }
"""
SYNAPSE = """kind = "synapse"
title = "t"
description = "d"
equations = \"\"\"
{equations}\"\"\"
on_pre = \"\"\"
{arrivals}\"\"\"
[add.inputs]
"{input}" = "{current}"
[weight]
name = "{weight}"
unit = "volt"
[parameters]
tau_s = { default = "5*ms", unit = "second", description = "d" }
"""
USUAL: Mapping[str, str | Sequence[str]] = {
    "state": "v",
    "input": "I_in",
    "weight": "w",
    "receptor": "syn",
    "parameters": ("b",),
    "currents": ("x",),
}
REASONS = (
    "is a Python keyword and can",
    "has a condition",  # not
    "is the name of a (unit|function|constant)",
    "has a special meaning",
    "starts with an underscore",
    "is not a valid variable name",
    "refractory mechanism",
    "is already that of another variable",
    "make them equal, or rename one",
    "expected a name of ASCII letters",
)


def filled(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda m: values[m[1]], text)


def model(folder: Path, **names: str | Sequence[str]) -> Model:
    """A leaky neuron; all `parameters` share a bias of 0.1 V, and all `currents` the synaptic input."""
    given = {**USUAL, **names}
    parameters, currents = given["parameters"], given["currents"]
    values = {k: v for k, v in given.items() if isinstance(v, str)}
    groups = ["(" + " + ".join(parameters[k : k + 20]) + ")" for k in range(0, len(parameters), 20)]
    values["bias"] = f"({' + '.join(groups)})*{0.1 / len(parameters)!r}"
    values["parameters"] = "".join(
        f'"{name}" = {{ default = "1*volt", unit = "volt", description = "d" }}\n' for name in parameters
    )
    values["equations"] = "".join(f"d{name}/dt = -{name}/tau_s : volt\n" for name in currents)
    values["arrivals"] = "".join(f"{name} += {values['weight']}\n" for name in currents)
    values["current"] = f"({' + '.join(currents)})*{1 / len(currents)!r}" if len(currents) > 1 else currents[0]
    neuron, synapse = folder / "neuron.toml", folder / f"{values['receptor']}.toml"
    neuron.write_text(filled(NEURON, values))
    synapse.write_text(filled(SYNAPSE, values))
    return load_model(neuron, synapse)


WEIGHTS = np.random.default_rng(0).uniform(2, 5, (4, 3)), np.random.default_rng(1).uniform(2, 5, (3, 2))
INPUTS = np.sort(np.random.default_rng(2).uniform(0.3, 15, (2, 4, 2)) * 1e-3, axis=2)


def network(neuron: Model) -> Network:
    learnable = tuple(neuron.parameters)
    return Network(
        "named",
        (SpikeInput("input", 4),),
        (Population("hidden", 3, neuron, learnable=learnable), Population("output", 2, neuron, learnable=learnable)),
        (Projection("", "input", "hidden", WEIGHTS[0]), Projection("", "hidden", "output", WEIGHTS[1])),
        "output",
        30e-3,
    )


def run(net: Network, target: str, inputs: Mapping[str, np.ndarray] | None = None) -> Outcome:
    inputs = {"input": INPUTS} if inputs is None else inputs
    labels = np.zeros(2, dtype=int)
    if target == "grid":
        with (
            GridSimulation(net, SmoothSpikeTimes(), batch_size=2, dt=0.25e-3, max_spikes=200) as grid,
            warnings.catch_warnings(category=UnresolvedSpikes, action="ignore"),
        ):
            return grid.run(inputs, labels)
    with Simulation(net, SmoothSpikeTimes(), batch_size=2, target=target) as simulation:  # type: ignore[arg-type]
        return simulation.run(inputs, labels)


@functools.cache
def usual(target: str, folder: Path) -> Outcome:
    """Of the network as it is usually named."""
    return run(network(model(folder)), target)


ALL_TARGETS = ["numpy", pytest.param("cpp_standalone", marks=COMPILER), "grid"]
TOLERANCE = 1e-9


def assert_same(found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        bound = TOLERANCE * np.abs(value).max()
        np.testing.assert_allclose(found[key], value, rtol=0, atol=bound, err_msg=key)


def accepted(folder: Path, role: str, several: bool = False) -> list[str]:
    """Names that are not refused; those which are must be so in one line that says where and why."""
    good = []
    for name in NAMES:
        try:
            model(folder, **{role: (name,) if several else name})
        except TemplateError as error:
            text = str(error)
            assert "\n" not in text
            assert name in text
            assert re.search(r"(neuron|syn)\.toml: (parameters|inputs|equations|weight\.name|on_pre)", text), text
            assert any(re.search(reason, text) for reason in REASONS), text
        else:
            good.append(name)
    return good


def test_parameters(tmp_path: Path) -> None:
    good = accepted(tmp_path, "parameters", several=True)
    assert {"time", "columns", "source", "j", "number", "v_start", "lambda_v", "float", "self", "order"} < set(good)
    assert not {"False", "lambda", "mV", "exp", "pi", "dt", "τ", "__global__"} & set(good)
    named = network(model(tmp_path, parameters=good))
    shown = str(equations(Adjoint.derive(hybrid_system(named.populations[0].model))))
    assert "dL/dlambda_v" in shown  # and λ_v is the costate alone
    wanted = usual("numpy", tmp_path)
    found = run(named, "numpy")
    assert found.loss == pytest.approx(wanted.loss, rel=TOLERANCE)
    _assert_shared(found, wanted, good)


def _assert_shared(found: Outcome, wanted: Outcome, names: Sequence[str]) -> None:
    for population in ("hidden", "output"):
        b = wanted.gradients[f"{population}.b"] / len(names)
        for name in names:
            assert found.gradients[f"{population}.{name}"] == pytest.approx(b, rel=TOLERANCE), name


def test_parameters_on_a_grid(tmp_path: Path) -> None:
    good = accepted(tmp_path, "parameters", several=True)
    risky = [name for name in good if generated(name) or name in attributes()]
    assert {"time", "namespace", "lambda_v", "source"} < set(risky)
    for names in (risky[:40], risky[40:]):
        _assert_shared(run(network(model(tmp_path, parameters=names)), "grid"), usual("grid", tmp_path), names)


def test_parameters_of_the_reference(tmp_path: Path) -> None:
    names = ["lambda_v", "dl_v", "time", "dl_dt", "s_arrivals", "q_spike", "x", "p"]
    named = network(model(tmp_path, parameters=names, currents=("y",)))
    exact = oracle.gradient(named, {"input": INPUTS}, SmoothSpikeTimes(), np.zeros(2, dtype=int))
    assert_same(run(named, "numpy").gradients, exact.gradients)


@COMPILER
def test_parameters_in_a_compiled_simulation(tmp_path: Path) -> None:
    good = accepted(tmp_path, "parameters", several=True)
    named = network(model(tmp_path, parameters=[name for name in good if name in {*CPP, *CUDA, *GENERATED}]))
    compiled, other = run(named, "cpp_standalone"), run(named, "numpy")
    assert_same(compiled.gradients, other.gradients)


@pytest.mark.parametrize("target", ["numpy", pytest.param("cpp_standalone", marks=COMPILER)])
def test_states(tmp_path: Path, target: str) -> None:
    good = accepted(tmp_path, "currents", several=True)
    assert {"time", "float", "rows", "self", "namespace", "j", "lambda_v"} < set(good)
    risky = ["time", "float", "rows", "this"], ["namespace", "x0", "p0", "s"], [*good[::20], "index"]
    for names in risky if target == "numpy" else risky[:1]:
        assert_same(run(network(model(tmp_path, currents=names)), target).gradients, usual(target, tmp_path).gradients)


@pytest.mark.parametrize("role", ["state", "input", "weight", "receptor"])
def test_other_names_of_a_model(tmp_path: Path, role: str) -> None:
    good = [name for name in NAMES if name not in LETTERS] if role == "receptor" else accepted(tmp_path, role)
    wanted = usual("numpy", tmp_path)
    for name in good[:: 1 + len(good) // 6]:
        assert_same(run(network(model(tmp_path, **{role: name})), "numpy").gradients, wanted.gradients)


RISKY = ["time", "namespace", "j", "source", "self", "number", "v_start"]


@pytest.mark.parametrize("name", RISKY)
def test_states_on_a_grid(tmp_path: Path, name: str) -> None:
    wanted = usual("grid", tmp_path)
    assert_same(run(network(model(tmp_path, state=name)), "grid").gradients, wanted.gradients)


def test_a_state_that_a_grid_observes(tmp_path: Path) -> None:
    labels = np.zeros(2, dtype=int)

    def gradients(variable: str) -> Mapping[str, np.ndarray]:
        neuron = model(tmp_path, state=variable)
        still = load_model(_without_threshold(tmp_path), tmp_path / "syn.toml")
        net = network(neuron)
        output = Population("output", 2, still, learnable=("tau", "b"))
        net = Network("observed", net.inputs, (net.populations[0], output), net.projections, "output", 30e-3)
        with GridSimulation(net, MaxVoltageCrossEntropy(variable=variable), batch_size=2) as simulation:
            return simulation.run({"input": INPUTS}, labels).gradients

    assert_same(gradients("max_value"), gradients("v"))


def _without_threshold(folder: Path) -> Path:
    text = (folder / "neuron.toml").read_text()
    lines = [x for x in text.splitlines() if not x.startswith(("threshold", "reset", "vth"))]
    file = folder / "still.toml"
    file.write_text("\n".join(lines))
    return file


GROUPS = ["False", "None", "class", "time", "columns", "__x", "_", "for", "std", "int", "mV", "exp", "magic", "network"]
GROUPS += ["namespace", "self", "dt", "t", "i", "N", "spikes", "clock", "events", "lambda", "w", "defaultclock"]


def groups(names: Iterable[str]) -> tuple[Network, dict[str, np.ndarray]]:
    """A third of the names for inputs, for populations and for projections."""
    names = list(names)
    third = len(names) // 3
    inputs, hidden, projections = names[:third], names[third : 2 * third], names[2 * third :]
    lif = load_model("lif+exp_synapse")
    rng = np.random.default_rng(0)
    links, spare = [], iter(projections)
    for k, population in enumerate(hidden):
        links.append(Projection(next(spare, ""), inputs[k], population, rng.uniform(3, 6, (2, 2))))
        links.append(Projection("", population, "out", rng.uniform(3, 6, (2, 2))))
    populations = [Population(name, 2, lif, learnable=("tau_m",)) for name in (*hidden, "out")]
    net = Network("groups", [SpikeInput(name, 2) for name in inputs], populations, links, "out", 30e-3)
    return net, {name: np.sort(rng.uniform(0, 15e-3, (2, 2, 2)), axis=2) for name in inputs}


@pytest.mark.parametrize("target", ALL_TARGETS)
def test_groups(target: str) -> None:
    names = GROUPS[:9] if target == "grid" else GROUPS
    wanted = run(*_swap(groups([f"g{k}" for k in range(len(names))]), target))
    found = run(*_swap(groups(names), target))
    assert found.loss == wanted.loss
    assert len(found.gradients) == len(wanted.gradients)
    for (key, value), other in zip(found.gradients.items(), wanted.gradients.values(), strict=True):
        np.testing.assert_array_equal(value, other, err_msg=key)


def _swap(made: tuple[Network, dict[str, np.ndarray]], target: str) -> tuple[Network, str, dict[str, np.ndarray]]:
    return made[0], target, made[1]


@pytest.mark.parametrize("name", [*LETTERS, "3x", "x-y", "", "a b", "a.b", "a/b", None, 3, "a\n"])
def test_names_of_groups_that_are_refused(name: str) -> None:
    lif = load_model("lif+exp_synapse")
    with pytest.raises(ValueError, match="expected a name of ASCII letters, digits and underscores"):
        SpikeInput(name, 1)
    with pytest.raises(ValueError, match="expected a name of ASCII letters, digits and underscores"):
        Population(name, 1, lif)
    if name:
        with pytest.raises(ValueError, match="expected a name of ASCII letters, digits and underscores"):
            Projection(name, "a", "b", np.ones((1, 1)))


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_no_name(tmp_path: Path, unit: str) -> None:
    with pytest.raises(TemplateError, match=f"equations: '{re.escape(unit)}' (is the name of a unit|is not a valid)"):
        model(tmp_path, state=unit)


def _groups() -> list[NeuronGroup | Synapses]:
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing) in (NeuronGroup, Synapses)]


def test_the_grid_knows_its_own_names(tmp_path: Path) -> None:
    """Every variable that code for the grid makes beside a model's is one that no model's is called there."""
    alone = {*USUAL["parameters"], *USUAL["currents"], "v", "tau", "vth", "tau_s"}
    net = network(model(tmp_path))
    others = _groups()  # of other tests
    with GridSimulation(net, SmoothSpikeTimes(), batch_size=2, dt=0.25e-3, max_spikes=200):
        made = [group for group in _groups() if not any(group is other for other in others)]
        found = {name for group in made for name in group.variables} - alone
    assert {"lambda_v", "number", "ev_r"} < found
    unknown = {x for x in found if not (x.startswith("_") or generated(x) or x in synapse_attributes())}
    # what Brian2 makes for every group
    assert unknown <= {"i", "N", "t", "dt", "t_in_timesteps", *alone}, unknown


@pytest.mark.parametrize("name", sorted({"order", "name", "when", "active", "events", "namespace", "start", "self"}))
def test_a_plain_group_says_what_it_can_not_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' is called like an attribute of Brian2's groups.*rename it"):
        snn.neuron_group(model(tmp_path, parameters=(name,)), 1)


@pytest.mark.parametrize("name", ["order", "pre", "post", "delay", "target", "connect", "namespace", "N_incoming"])
def test_plain_synapses_say_what_they_can_not_have(tmp_path: Path, name: str) -> None:
    neuron = model(tmp_path, weight=name)
    source, group = SpikeGeneratorGroup(1, [0], [1] * ms), snn.neuron_group(neuron, 1)
    with pytest.raises(ValueError, match=f"weight '{name}' is called like an attribute of Brian2's groups"):
        snn.synapses(neuron, source, group)


@pytest.mark.parametrize(
    "name", ["lastspike", *(pytest.param(n, marks=pytest.mark.slow) for n in ("w", "lastupdate", "float", "time"))]
)
def test_plain_synapses_of_other_weights(tmp_path: Path, name: str) -> None:
    neuron = model(tmp_path, weight=name)
    source, group = SpikeGeneratorGroup(1, [0], [1] * ms), snn.neuron_group(neuron, 1)
    connections = snn.synapses(neuron, source, group)
    connections.connect()
    setattr(connections, name, 3 * volt)
    BrianNetwork(source, group, connections).run(1.1 * ms)
    assert group.variables["x"].get_value()[0] == pytest.approx(3, rel=0.05)
