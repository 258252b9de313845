"""Which arrivals can themselves take a neuron over its threshold, and what that means for a gradient."""

from __future__ import annotations

import sympy as sp

from ..templates.network import Network
from .declaration import hybrid_system
from .system import HybridSystem

__all__ = ["change_of_event", "jumping_populations", "why_jumps_teach_nothing"]


def change_of_event(system: HybridSystem, receptor: str) -> sp.Expr:
    """What an arrival adds to the event function, g(e(x, w)) - g(x); 0 where it can't carry the neuron over 0.

    Parameters
    ----------
    system : HybridSystem
    receptor : str
    """
    g = system.g
    return sp.Integer(0) if g is None else sp.simplify(g.xreplace(dict(system.arrivals[receptor].jump)) - g)


def jumping_populations(network: Network) -> tuple[str, ...]:
    """Names of the populations that have a projection whose arrivals can make them spike at once, as delta_synapse.

    Parameters
    ----------
    network : Network
    """
    found = []
    for p in network.populations:
        used = {q.receptor for q in network.projections if q.target == p.name}
        if p.model.spiking and used:
            system = hybrid_system(p.model)
            if any(change_of_event(system, receptor) != 0 for receptor in used):
                found.append(p.name)
    return tuple(found)


def why_jumps_teach_nothing(populations: tuple[str, ...]) -> str:
    """Why weights to these populations, and upstream of them, have gradient 0, and what to do.

    Parameters
    ----------
    populations : tuple of str
        Of `jumping_populations`.
    """
    return (
        f"in {', '.join(map(repr, populations))} arrivals make what the threshold reads jump, and a spike that such a "
        "jump causes comes at that arrival, whatever the weights are; give these neurons a synapse with a time "
        "constant, such as exp_synapse (docs/nir.md says how for a NIR graph)"
    )
