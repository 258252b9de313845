"""Values that an epoch has not moved, and why: a loss falls by the others, and nothing else would tell."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..optimisers import Optimiser
from ..templates.model import Model
from ..templates.network import Network
from ..templates.units import variables_in

__all__ = ["warn_of_idle"]


def warn_of_idle(
    network: Network,
    optimiser: Optimiser,
    before: Mapping[str, np.ndarray],
    after: Mapping[str, np.ndarray],
    stacklevel: int = 2,
) -> None:
    """Warn of values that are learned and the same as before.

    Those that have a scale of 0, or lie on bounds, are left out, as they may well stay there.

    Parameters
    ----------
    network : Network
    optimiser : Optimiser
    before, after : mapping of str to array
        Values at both ends of an epoch.
    stacklevel : int
        Of who is told, as that of `warnings.warn` would be here.
    """
    idle = [key for key, value in after.items() if np.array_equal(value, before[key])]
    idle = [key for key in idle if optimiser.scales.get(key, 1.0) and not _on_bounds(after[key], optimiser, key)]
    if not idle:
        return
    jumping = [repr(p.name) for p in network.populations if jumps_to_threshold(p.model)]
    if jumping:
        why = (
            f"in {', '.join(jumping)} arrivals make what the threshold reads jump, and a spike that such a jump causes "
            "comes at that arrival, whatever the weights are; give these neurons a synapse with a time constant, such "
            "as exp_synapse (docs/nir.md says how for a NIR graph)"
        )
    else:
        why = (
            "nothing that the loss reads depends on them where it is; neurons may be silent, or spike too late for it "
            "(Simulation.spike_report tells more)"
        )
    warnings.warn(
        f"the first epoch has not moved {', '.join(idle)}, by which the gradient is 0: {why}",
        stacklevel=stacklevel + 1,
    )


def _on_bounds(value: np.ndarray, optimiser: Optimiser, key: str) -> bool:
    return bool(np.isin(value, [limit for limit in optimiser.bounds.get(key, ()) if limit is not None]).any())


def jumps_to_threshold(model: Model) -> bool:
    """Whether an arrival can take a neuron over its threshold at once, as with delta_synapse.

    Parameters
    ----------
    model : Model
    """
    if model.threshold is None:
        return False
    read: set[Any] = set(variables_in(model.threshold))
    return any(statement.variable in read for receptor in model.receptors.values() for statement in receptor.on_pre)
