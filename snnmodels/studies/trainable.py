"""What can be trained: features and losses, each as a small network that is differentiated, and what is refused.

Nothing here says what the package can do: that is found by doing it, and by what the package says where it refuses.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..gradients import GridSimulation, Probe, Simulation, SimulationError, check_gradient, probe
from ..losses import (
    ActivityPrice,
    CountError,
    ExpressionLoss,
    FunctionLoss,
    IntervalError,
    Loss,
    MaxVoltageCrossEntropy,
    Pseudospikes,
    SpikeTimeError,
    SpikeTimeFunction,
    TTFSCrossEntropy,
    VanRossumDistance,
    VoltageError,
)
from ..projects import export_simulation
from ..targets import Target
from ..targets.devices import quiet
from ..templates import load_model
from ..templates.groups import Population, Projection, SpikeInput
from ..templates.model import Model
from ..templates.network import Network
from .targets import FEATURES, target_difference

__all__ = ["Feature", "cases", "compare", "features", "kind_of", "losses", "measure", "refusals", "refused_on_grid"]

MS = 1e-3
DIFFERENCES = 1e-6  # what a gradient may be from central differences
NEAR = {True: 1e-9, False: 1e-6}  # and from the oracle, by whether the model is linear
COMPILED: Target = "cpp_standalone"
ELEMENTS = 3  # of a group, that are changed for differences
LIF = "lif+exp_synapse"

# What models may have beyond what targets are compared by (`FEATURES`), each by one that has it.
FURTHER = {
    "refractory period, states held for another time": f"{LIF}+partial_refractory",
    "branch in a reset": "mihalas_niebur+exp_synapse",
    "reset that subtracts": f"{LIF}+soft_reset",
    "threshold that moves with every spike": f"{LIF}+adaptive_threshold",
    "two receptors": "lif+exp_synapse:exc+exp_synapse:inh",
    "initial value of a state": f"{LIF}+initial_potential",
}


@dataclass(frozen=True)
class Feature:
    """Something that a network or a loss has.

    Attributes
    ----------
    name : str
    model : str
        What its network is made of.
    make : callable
        Gives the network with inputs and a loss.
    needs : tuple of {"delays", "currents"}
        What of the network belongs to it; the rest is left out on a time grid, which has neither.
    """

    name: str
    model: str
    make: Callable[[], Probe]
    needs: tuple[str, ...] = ()


def _drives(model: Model) -> bool:
    return any(not i.read_at for i in model.inputs.values())


def _made(name: str, **options: Any) -> Probe:
    model = load_model(name)
    return probe(model, trials=1, target=COMPILED, **({"delays": True, "currents": _drives(model)} | options))


def _with_network(change: Callable[[Network], Network], **options: Any) -> Callable[[], Probe]:
    def make() -> Probe:
        given = _made(LIF, **options)
        return replace(given, network=change(given.network))

    return make


def _projections(change: Callable[[Projection], Projection]) -> Callable[[Network], Network]:
    return lambda network: replace(network, projections=tuple(map(change, network.projections)))


def _mask(q: Projection) -> Projection:
    there = np.ones(q.weights.shape, dtype=bool)
    there[0, 0] = there[-1, -1] = False
    return replace(q, weights=np.where(there, q.weights, 0.0), mask=there)


def _each(network: Network) -> Network:
    def parameters(p: Population) -> Population:
        varied = {n: np.asarray(p.value(n)) * np.linspace(0.99, 1.01, p.n) for n in p.learnable}
        return replace(p, parameters=varied)

    return replace(network, populations=tuple(map(parameters, network.populations)))


def _held(network: Network) -> Network:
    return replace(network, currents=tuple(replace(c, interpolation="hold") for c in network.currents))


def features() -> tuple[Feature, ...]:
    """What models and networks may have, in the order of the page."""
    of_models = [Feature(name, model, partial(_made, model)) for name, model in (FEATURES | FURTHER).items()]
    return (
        *of_models,
        Feature("recurrent, a delay of each synapse", LIF, lambda: _made(LIF, recurrent=True), ("delays",)),
        Feature("recurrent, no delay", LIF, lambda: _made(LIF, recurrent=True, delays=False)),
        Feature(
            "one delay of a projection",
            LIF,
            _with_network(_projections(lambda q: replace(q, delay=1 * MS, learnable=("w", "delay")))),
            ("delays",),
        ),
        Feature("masked weights", LIF, _with_network(_projections(_mask))),
        Feature("parameters of each neuron", LIF, _with_network(_each)),
        Feature("current, linear between samples", LIF, lambda: _made(LIF), ("currents",)),
        Feature("current that holds its samples", LIF, _with_network(_held), ("currents",)),
        Feature("spikes alone, no delay", LIF, lambda: _made(LIF, delays=False, currents=False)),
    )


def _label_losses() -> dict[str, tuple[str, Callable[[Probe], tuple[Loss, Any]]]]:
    """By name: the model of the network, and loss and targets for it."""
    lif, still = LIF, "leaky_integrator+exp_synapse"

    def label(p: Probe) -> np.ndarray:
        return np.zeros(len(p.targets), dtype=int)

    def times(p: Probe, k: int = 1) -> np.ndarray:
        n = p.network.population(p.network.output).n
        return 1e-2 + 2e-3 * np.arange(len(p.targets) * n * k, dtype=float).reshape(len(p.targets), n, k)

    def squares(spikes: np.ndarray, targets: Any) -> tuple[float, np.ndarray]:
        there = np.isfinite(spikes)
        u = np.where(there, spikes, 0.0) / 0.01
        return float((u**2).sum()), 2 * u / 0.01

    ten = {"tau": "10*ms"}
    rate = "(sum_spikes(exp(-t/tau)) - rate)**2"
    of_state = "integral(v**2)/tau"
    of_end = "sum_neurons(final(v)**2)"
    of_largest = "log(sum_neurons(exp(maximum(v))))"
    of_samples = "sum_samples((sample(v) - level)**2)"
    return {
        "TTFSCrossEntropy": (lif, lambda p: (TTFSCrossEntropy(), label(p))),
        "SpikeTimeError": (lif, lambda p: (SpikeTimeError(), times(p))),
        "VanRossumDistance": (lif, lambda p: (VanRossumDistance(), times(p))),
        "IntervalError": (lif, lambda p: (IntervalError(), times(p))),
        "FunctionLoss": (lif, lambda p: (FunctionLoss(squares), label(p))),
        f"ExpressionLoss: {rate}": (
            lif,
            lambda p: (ExpressionLoss(rate, {**ten, "rate": 1.0}), label(p)),
        ),
        f"ExpressionLoss: {of_state}": (
            still,
            lambda p: (ExpressionLoss(of_state, ten), label(p)),
        ),
        f"ExpressionLoss: {of_end}": (still, lambda p: (ExpressionLoss(of_end, {}), label(p))),
        f"ExpressionLoss: {of_largest}": (still, lambda p: (ExpressionLoss(of_largest, {}), label(p))),
        f"ExpressionLoss: {of_samples}": (
            still,
            lambda p: (ExpressionLoss(of_samples, {"level": 0.5}, interval=1 * MS), label(p)),
        ),
        "ExpressionLoss of another population": (
            lif,
            lambda p: (ExpressionLoss("(t/tau)**2", ten, population="hidden"), label(p)),
        ),
        "a sum of two": (
            lif,
            lambda p: (SpikeTimeError() + 0.5 * ExpressionLoss("(t/tau)**2", ten, population="hidden"), times(p)),
        ),
        "MaxVoltageCrossEntropy": (still, lambda p: (MaxVoltageCrossEntropy(), label(p))),
        "VoltageError": (
            still,
            lambda p: (VoltageError(interval=1 * MS), np.full((len(p.targets), 2, 40), 0.5)),
        ),
        "Pseudospikes of SpikeTimeError": ("qif+exp_synapse", lambda p: (Pseudospikes(SpikeTimeError()), times(p))),
        "SpikeTimeFunction": (lif, lambda p: (SpikeTimeFunction(squares), label(p))),
        "ActivityPrice with a surrogate": (lif, lambda p: (ActivityPrice(surrogate="latency"), label(p))),
        "CountError with a surrogate": (
            lif,
            lambda p: (CountError(surrogate="latency"), np.full((len(p.targets), 2), 100.0)),
        ),
    }


def losses() -> tuple[Feature, ...]:
    """The losses, each on a network that it fits."""

    def maker(model: str, of: Callable[[Probe], tuple[Loss, Any]]) -> Callable[[], Probe]:
        def make() -> Probe:
            given = _made(model)
            loss, targets = of(given)
            return replace(given, loss=loss, targets=targets)

        return make

    return tuple(Feature(name, model, maker(model, of)) for name, (model, of) in _label_losses().items())


def cases() -> tuple[Feature, ...]:
    """All features and losses."""
    return features() + losses()


def kind_of(key: str, network: Network) -> str:
    """What a key of `Outcome.gradients` stands for.

    Parameters
    ----------
    key : str
    network : Network
    """
    name, _, what = key.rpartition(".")
    if what in ("times", "samples"):
        return "times of input spikes" if what == "times" else "samples of a current"
    if what == "w":
        return "weights of a drive" if name in [d.name for d in network.drives] else "weights"
    if what == "delay":
        delay = next(q.delay for q in network.projections if q.name == name)
        return "delays of each synapse" if np.ndim(delay) else "delay of a projection"
    return "parameters of each neuron" if np.ndim(network.population(name).value(what)) else "parameter of a population"


# --- measuring --------------------------------------------------------------------------------------------------------


def measure(feature: Feature, targets: tuple[Target, ...] = ("numpy",)) -> dict[str, Any]:
    """Differentiate a feature by the compiled engine, on other targets and on a grid, and write it as projects.

    Parameters
    ----------
    feature : Feature
    targets : tuple of str
        To compare with the compiled engine.

    Returns
    -------
    dict
        ``feature``, ``model``; ``oracle``, ``differences``: how far the gradient is from both, the largest of all
        arrays, relative in norm; ``within``: whether all of that is within tolerance; ``kinds``: what was
        differentiated by; ``surrogate`` where the loss has one and nothing was compared; ``targets``: how far the
        gradients of each are from those of C++; ``grid`` and ``projects``: empty where they take it, else what they
        say.
    """
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = feature.make()
        record: dict[str, Any] = {"feature": feature.name, "model": feature.model, **_checked(given)}
        record["targets"] = _compared(given, targets)
        record["grid"] = refused_on_grid(_left(given, feature.needs))
        record["projects"] = {target: _refused_as_project(given, target) for target in ("cpp", "cuda")}
    return record


def compare(feature: Feature, targets: tuple[Target, ...]) -> dict[str, float | str]:
    """How far the gradients of targets are from those of the compiled engine, or what went wrong.

    Parameters
    ----------
    feature : Feature
    targets : tuple of str
    """
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _compared(feature.make(), targets)


def _compared(given: Probe, targets: tuple[Target, ...]) -> dict[str, float | str]:
    return {str(target): _apart(given, target) for target in targets}


def _checked(given: Probe) -> dict[str, Any]:
    options: Any = {"batch_size": _trials(given), "target": COMPILED}
    with Simulation(given.network, given.loss, **options) as simulation:
        keys = simulation.run(given.inputs, given.targets).gradients
    kinds = sorted({kind_of(key, given.network) for key in keys})
    if given.loss.surrogates:
        return {"surrogate": given.loss.surrogates[0], "kinds": kinds}
    report = check_gradient(given, target=COMPILED, tolerance=DIFFERENCES, elements=ELEMENTS)
    oracle = [row.oracle for row in report.rows if row.oracle is not None]
    apart = [row.differences for row in report.rows if row.resolved(DIFFERENCES)]
    return {
        "kinds": kinds,
        "oracle": max(oracle),
        "differences": max(apart, default=None),
        "resolved": [len(apart), len(report.rows)],
        "within": not report.failures,
        "failures": list(report.failures),
    }


def _trials(given: Probe) -> int:
    return len(next(iter(given.inputs.values())))


def _apart(given: Probe, target: Target) -> float | str:
    try:
        found = target_difference(given, target, COMPILED)
    except (ValueError, RuntimeError) as error:
        return str(error)
    return "other spikes" if found is None else found.gradients


def _left(given: Probe, needs: tuple[str, ...]) -> Probe:
    """A network without the delays and currents that it doesn't need."""
    network, inputs = given.network, given.inputs
    if "currents" not in needs:
        inputs = {i.name: inputs[i.name] for i in network.inputs}
        network = replace(network, currents=(), drives=())
    if "delays" not in needs:
        projections = (replace(q, delay=0.0, learnable=("w",)) for q in network.projections)
        network = replace(network, projections=tuple(projections))
    return replace(given, network=network, inputs=inputs)


def refused_on_grid(given: Probe) -> str:
    """What `GridSimulation` says to a network and a loss that it is to differentiate; empty if it does so."""
    try:
        with GridSimulation(given.network, given.loss, batch_size=_trials(given), dt=0.1 * MS) as simulation:
            simulation.run(given.inputs, given.targets)
    except (ValueError, SimulationError) as error:
        return str(error)
    return ""


def _refused_as_project(given: Probe, target: Any) -> str:
    with tempfile.TemporaryDirectory(prefix="trainable-") as folder:
        try:
            export_simulation(
                given.network, Path(folder) / "project", target, inputs=given.inputs, what="gradient", loss=given.loss
            )
        except ValueError as error:
            return str(error)
    return ""


# --- what is refused --------------------------------------------------------------------------------------------------

NEURON = """
kind = "neuron"
title = "A neuron"
description = "Of the page of what can be trained."
default_synapse = "exp_synapse"
equations = "{equations}"
threshold = "{threshold}"
reset = "{reset}"
[inputs]
I_syn = {{ unit = "1", description = "synaptic input" }}
[states]
v = {{ description = "membrane potential" }}
[parameters]
tau_m = {{ default = "10*ms", unit = "second", description = "membrane time constant" }}
"""
SYNAPSE = """
kind = "synapse"
title = "A synapse"
description = "Of the page of what can be trained."
equations = "dI/dt = -I/(5*ms) : 1"
on_pre = "I += w"
[weight]
unit = "1"
[add]
inputs = {{ I_syn = "I" }}
{more}
"""


def _neuron(**changed: str) -> None:
    parts = {"equations": "dv/dt = (I_syn - v)/tau_m : 1", "threshold": "v > 1", "reset": "v = 0"} | changed
    _loaded(NEURON.format(**parts), "neuron.toml")


def _loaded(text: str, name: str) -> None:
    from ..symbolic import Adjoint, hybrid_system

    with tempfile.TemporaryDirectory(prefix="trainable-") as folder:
        path = Path(folder) / name
        path.write_text(text)
        try:
            model = load_model(path) if name == "neuron.toml" else load_model("lif", path)
            Adjoint.derive(hybrid_system(model))
        except ValueError as error:
            raise ValueError(str(error).replace(f"{folder}/", "")) from None


def _synapse(more: str) -> None:
    _loaded(SYNAPSE.format(more="").replace('on_pre = "I += w"', f'on_pre = "I += w"\n{more}'), "synapse.toml")


def _network(**options: Any) -> Network:
    lif = load_model(options.pop("model", LIF))
    population = {key: options.pop(key) for key in ("parameters",) if key in options}
    learnable = options.pop("learnable", ())
    projection = Projection("in_cells", "in", "cells", options.pop("weights", np.ones((2, 2))), **options)
    cells = Population("cells", 2, lif, learnable=learnable, **population)
    return Network("refused", (SpikeInput("in", 2),), (cells,), (projection,), "cells", 0.04)


def _run(loss: Loss, model: str = LIF, targets: Any = None) -> None:
    with Simulation(_network(model=model), loss, batch_size=1) as simulation:
        simulation.run({"in": np.full((1, 2), 1e-3)}, targets)


def _script(change: Callable[[Any, Any], Any]) -> None:
    import brian2
    from brian2 import ms

    from ..brian import from_brian2

    brian2.start_scope()
    text = "dv/dt = -v/(10*ms) : 1"
    cells = brian2.NeuronGroup(2, text, threshold="v > 1", reset="v = 0", method="exact", name="cells")
    objects = change(cells, ms)
    from_brian2(objects, output="cells", duration=10 * ms)


def _noisy(cells: Any, ms: Any) -> Any:
    import brian2

    text = "dv/dt = -v/(10*ms) + 0.1*xi*(1*ms)**-0.5 : 1"
    return [brian2.NeuronGroup(2, text, threshold="v > 1", reset="v = 0", method="euler", name="noisy"), cells]


def _plastic(cells: Any, ms: Any) -> Any:
    import brian2

    text = "w : 1\ndtrace/dt = -trace/(20*ms) : 1 (event-driven)"
    synapses = brian2.Synapses(cells, cells, text, on_pre="v += w\ntrace += 1", on_post="w += trace", name="plastic")
    synapses.connect(i=0, j=1)
    return [cells, synapses]


def _regular(cells: Any, ms: Any) -> Any:
    cells.run_regularly("v += 0.1", dt=1 * ms)
    return [cells]


def _attempts() -> Mapping[str, Callable[[], object]]:
    unknown: Any = "cuda"
    return {
        "noise in an equation": lambda: _neuron(equations="dv/dt = (I_syn - v)/tau_m + xi*tau_m**-0.5 : 1"),
        "a random number in a reset": lambda: _neuron(reset="v = 0.1*rand()"),
        "a function that jumps": lambda: _neuron(equations="dv/dt = (I_syn - floor(v))/tau_m : 1"),
        "a threshold of two comparisons": lambda: _neuron(threshold="v > 1 and I_syn > 0"),
        "plasticity in a synapse": lambda: _synapse('on_post = "w += 1"'),
        "learning how many neurons there are": lambda: _network(learnable=("n",)),
        "learning which synapses there are": lambda: Projection("p", "in", "cells", np.ones(1), learnable=("mask",)),
        "learning a parameter that the model doesn't have": lambda: _network(learnable=("tau",)),
        "spikes of a population that has none": lambda: _run(SpikeTimeError(), "leaky_integrator+exp_synapse"),
        "the largest potential of neurons that spike": lambda: _run(MaxVoltageCrossEntropy(), LIF, np.zeros(1, int)),
        "a number of spikes": lambda: _run(CountError(), LIF, np.full((1, 2), 50.0)),
        "an expression without derivative": lambda: ExpressionLoss("floor(t/tau)", {"tau": "1*ms"}),
        "pseudospikes of a model that declares none": lambda: _run(
            Pseudospikes(SpikeTimeError()), "eif+exp_synapse", np.full((1, 2, 1), 1e-2)
        ),
        "a grid with a delay": lambda: GridSimulation(_network(delay=1 * MS), SpikeTimeError()),
        "a grid with a refractory period": lambda: GridSimulation(
            _network(model=f"{LIF}+refractory"), SpikeTimeError()
        ),
        "a target that there is not": lambda: Simulation(_network(), SpikeTimeError(), target=unknown),
        "noise in a script of Brian2": lambda: _script(_noisy),
        "plasticity in a script of Brian2": lambda: _script(_plastic),
        "run_regularly in a script of Brian2": lambda: _script(_regular),
    }


def refusals() -> Iterator[tuple[str, str]]:
    """What can't be trained, and what the package says of it; an empty text if it says nothing."""
    for what, attempt in _attempts().items():
        try:
            with quiet():
                attempt()
        except (ValueError, TypeError, RuntimeError) as error:
            yield what, str(error)
        else:
            yield what, ""

