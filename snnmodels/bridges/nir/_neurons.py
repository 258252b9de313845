"""NIR's neurons and the models that they are here: equations side by side, and the factors between their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ...templates import Model, Population, load_model
from ._graph import NEURONS, refuse

__all__ = ["KINDS", "Kind", "Match", "gains", "match", "model_of"]

Array = np.ndarray

_HERE = Path(__file__).parent
_DELTA, _EXPONENTIAL = "delta_synapse", "exp_synapse"


@dataclass(frozen=True)
class Kind:
    """One of NIR's neurons.

    Attributes
    ----------
    name : str
        NIR's, as ``"CubaLIF"``.
    neuron, synapse : str
        Of the model, in the library or beside this file.
    parameters : mapping of str to str
        NIR's names to the model's, where the values are the same.
    times : tuple of str
        Those of NIR's names that are times.
    filtered : tuple of str
        Neuron and synapse of the model with a current into the synapse, which filters it; empty where it doesn't.
    """

    name: str
    neuron: str
    synapse: str
    parameters: Mapping[str, str]
    times: tuple[str, ...] = ()
    filtered: tuple[str, ...] = ()

    @property
    def spiking(self) -> bool:
        """Whether it has a threshold."""
        return "v_threshold" in self.parameters

    @property
    def current(self) -> str:
        """The input of the model, and its parameter, that a current into the node is."""
        return "I_in" if self.filtered else "I_syn"

    @property
    def leaky(self) -> bool:
        """Whether its potential relaxes to v_leak."""
        return "v_leak" in self.parameters


_LEAK = {"v_leak": "v_rest"}
_SPIKE = {"v_threshold": "v_th", "v_reset": "v_reset"}
_CUBA = {"tau_mem": "tau_m", "tau_syn": "tau_syn"}
_OWN_SYNAPSE = "filtered_synapse.toml"

KINDS = {
    kind.name: kind
    for kind in (
        Kind("LIF", "lif", _DELTA, {"tau": "tau_m", **_LEAK, **_SPIKE}, ("tau",)),
        Kind("LI", "leaky_integrator", _DELTA, {"tau": "tau_m", **_LEAK}, ("tau",)),
        Kind("IF", "integrate_and_fire", _DELTA, _SPIKE),
        Kind("I", "integrator.toml", _DELTA, {}),
        Kind(
            "CubaLIF", "lif", _EXPONENTIAL, {**_CUBA, **_LEAK, **_SPIKE}, tuple(_CUBA), ("cuba_lif.toml", _OWN_SYNAPSE)
        ),
        Kind(
            "CubaLI",
            "leaky_integrator",
            _EXPONENTIAL,
            {**_CUBA, **_LEAK},
            tuple(_CUBA),
            ("cuba_li.toml", _OWN_SYNAPSE),
        ),
    )
}
assert set(KINDS) == set(NEURONS)


def gains(kind: str, values: Mapping[str, Array], area: float) -> tuple[Array, Array]:
    """What weights of a NIR neuron are multiplied by.

    Parameters
    ----------
    kind : str
    values : mapping of str to array
        The parameters of the node.
    area : float
        Of a spike, in the graph's unit of time.

    Returns
    -------
    spikes : array
        From a weight to the jump at an arrival: of v for LIF, LI, IF and I, of R I for the others.
    currents : array
        From a current to what is added to v's drive in the unit of v. That of IF and I is over a time, as their
        v' = R I; it is the model's tau_m that is 1/R.
    """
    r = values["r"]
    if kind in ("IF", "I"):
        return r * area, np.where(r > 0, 1.0, r)
    if kind in ("LIF", "LI"):
        return r * area / values["tau"], r
    return r * values["w_in"] * area / values["tau_syn"], r * values["w_in"]


@cache
def _loaded(*names: str) -> Model:
    own = {".toml"}
    return load_model(*(str(_HERE / n) if Path(n).suffix in own else n for n in names))


def model_of(kind: Kind, *, filtered: bool = False, subtract: bool = False, initial: bool = False) -> Model:
    """The model of a NIR neuron.

    Parameters
    ----------
    kind : Kind
    filtered : bool
        With a current into its synapse.
    subtract : bool
        Whether a spike subtracts v_th - v_reset, in the place of setting v to v_reset.
    initial : bool
        With a parameter ``v_0`` from which v starts.
    """
    neuron, synapse = kind.filtered if filtered else (kind.neuron, kind.synapse)
    more = [m for m, wanted in (("soft_reset", subtract), ("initial_potential", initial)) if wanted]
    return _loaded(neuron, synapse, *more)


@dataclass(frozen=True)
class Match:
    """Which of NIR's neurons a model is: the arguments of `model_of`."""

    kind: Kind
    filtered: bool
    subtract: bool
    initial: bool


def match(population: Population) -> Match:
    """Which of NIR's neurons the model of a population is, by its equations.

    Raises
    ------
    NIRError
        If it is none: with what it has that NIR has no place for.
    """
    model = population.model
    where = f"population {population.name!r} ({model.name})"
    if model.refractory is not None:
        raise refuse(where, "has a refractory period, which no neuron of NIR has", "leave it out of the model")
    if len(model.receptors) != 1:
        found = f"has the receptors {', '.join(model.receptors) or 'none'}"
        raise refuse(where, found, "a neuron of NIR has one: give all synapses the same time constant and receptor")
    for kind in KINDS.values():
        for filtered in (False, True) if kind.filtered else (False,):
            if _same_flow(model, model_of(kind, filtered=filtered)):
                return _events(model, kind, filtered, where)
    extra = [c.name for c in model.components[2:] if c.name not in ("soft_reset", "initial_potential")]
    models = ", ".join(f"{k.neuron.removesuffix('.toml')}+{k.synapse} ({k.name})" for k in KINDS.values())
    if extra == ["bias_current"]:
        raise refuse(where, "has a bias_current, which a CubaLIF would filter", "add I_e to v_rest and leave it out")
    problem = f"has {', '.join(extra)}, which NIR has no place for" if extra else "is no neuron of NIR"
    raise refuse(where, problem, f"what can be written is {models}, with soft_reset and initial_potential")


def _same_flow(model: Model, known: Model) -> bool:
    ours, theirs = next(iter(model.receptors.values())), next(iter(known.receptors.values()))
    return (
        model.derivatives == known.derivatives
        and model.open_derivatives == known.open_derivatives
        and model.threshold == known.threshold
        and (ours.on_pre, ours.source, ours.weight_unit) == (theirs.on_pre, None, theirs.weight_unit)
        and {p.name: p.unit for p in model.parameters.values() if p.name in known.parameters}
        == {p.name: p.unit for p in known.parameters.values()}
    )


def _events(model: Model, kind: Kind, filtered: bool, where: str) -> Match:
    for subtract in (False, True) if kind.spiking else (False,):
        for initial in (False, True):
            known = model_of(kind, filtered=filtered, subtract=subtract, initial=initial)
            starts = [s.initial for s in model.states] == [s.initial for s in known.states]
            if model.reset == known.reset and starts and set(model.parameters) == set(known.parameters):
                return Match(kind, filtered, subtract, initial)
    resets = ", ".join(map(str, model.reset)) or "nothing"
    starts_from = ", ".join(f"{s.name} = {s.initial}" for s in model.states)
    raise refuse(
        where,
        f"begins with {starts_from} and resets {resets}, which is not {kind.name}",
        "reset v to v_reset (or by soft_reset), and start v from a parameter by initial_potential",
    )
