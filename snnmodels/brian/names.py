"""Names that a Brian2 group can't have for a variable of a model, and other ones in their place.

The groups of a simulation on a time grid hold the model's variables under the model's own names, so that they can be
read, beside variables of the simulation. What has a name of the latter kind is called something else there.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import replace

from brian2 import NeuronGroup, Synapses

from ..symbolic.grid import TAKEN
from ..templates.model import Model
from ..templates.network import Network
from ..templates.renaming import renamed, with_units_as_parameters

__all__ = ["attributes", "generated", "portable", "synapse_attributes"]

_BEGINNINGS = (
    *("added", "alone", "cause", "ev", "final", "first", "forward", "free", "grad", "keep", "lambda", "last", "lost"),
    *("max", "next", "number", "q", "r", "s", "sample", "since", "smallest", "tb", "time", "tr", "unresolved"),
)
_ENDS = ("start", "base", "initial", "pre", "post")
_WHOLE = ("number", "gw", "widx", "i", "j", *sorted(x.name for x in TAKEN))
_GENERATED = re.compile(rf"({'|'.join(_BEGINNINGS)})_\w+|\w+_({'|'.join(_ENDS)})|{'|'.join(_WHOLE)}")


def generated(name: str) -> bool:
    """Whether code for a time grid may have a variable of this name."""
    return _GENERATED.fullmatch(name) is not None


@functools.cache
def attributes() -> frozenset[str]:
    """What Brian2 means itself by an attribute of its groups: a variable of that name is out of reach."""
    return frozenset({*_public(_example()), "self", "source"})


@functools.cache
def synapse_attributes() -> frozenset[str]:
    """The same of synapses, for weights."""
    group = _example()
    connections = Synapses(group, group)
    connections._network = group._network
    return frozenset({*_public(connections), *connections.variables, "self", "pre", "post"})


def _example() -> NeuronGroup:
    group = NeuronGroup(1, "")
    group._network = ""  # as if it were in one: without, Brian2 warns when it is deleted
    return group


def _public(group: object) -> set[str]:
    return {name for name in dir(group) if not name.startswith("_")}


def portable(network: Network) -> tuple[Network, Mapping[str, Mapping[str, str]]]:
    """A network whose models have only names that groups for a time grid can have, and no units in expressions.

    Parameters
    ----------
    network : Network

    Returns
    -------
    network : Network
    names : mapping of str to mapping of str to str
        For every population the new names by the model's own, of what is called otherwise.
    """
    populations, names = [], {}
    for p in network.populations:
        model = with_units_as_parameters(p.model)
        p = p if model is p.model else replace(p, model=model)
        names[p.name] = new = _new_names(p.model)
        if new:
            p = replace(
                p,
                model=renamed(p.model, new),
                parameters={new.get(k, k): v for k, v in p.parameters.items()},
                learnable=tuple(new.get(k, k) for k in p.learnable),
            )
        populations.append(p)
    if all(p is q for p, q in zip(populations, network.populations, strict=True)):
        return network, names
    return replace(network, populations=tuple(populations)), names


def _new_names(model: Model) -> dict[str, str]:
    own = dict.fromkeys([*model.state_names, *model.parameters])
    taken, new = {*own, *(r.weight for r in model.receptors.values())}, {}
    for name in own:
        if generated(name) or name in attributes():
            other = f"own_{name}_"
            while other in taken:
                other = f"own_{other}_"
            taken.add(other)
            new[name] = other
    return new
