"""Values that an epoch has not moved, and why: a loss falls by the others, and nothing else would tell."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..optimisers import Optimiser
from ..symbolic.arrivals import jumping_populations, why_jumps_teach_nothing
from ..templates.errors import warn_caller
from ..templates.network import Network

__all__ = ["warn_of_idle"]


def warn_of_idle(
    network: Network,
    optimiser: Optimiser,
    before: Mapping[str, np.ndarray],
    after: Mapping[str, np.ndarray],
) -> None:
    """Warn of values that are learned and the same as before.

    Those that have a scale of 0, or lie on bounds, are left out, as they may well stay there.

    Parameters
    ----------
    network : Network
    optimiser : Optimiser
    before, after : mapping of str to array
        Values at both ends of an epoch.
    """
    idle = [key for key, value in after.items() if np.array_equal(value, before[key])]
    idle = [key for key in idle if optimiser.scales.get(key, 1.0) and not _on_bounds(after[key], optimiser, key)]
    if not idle:
        return
    if jumping := jumping_populations(network):
        why = why_jumps_teach_nothing(jumping)
    else:
        why = (
            "nothing that the loss reads depends on them where it is; neurons may be silent, or spike too late for it "
            "(Simulation.spike_report tells more)"
        )
    warn_caller(
        f"the first epoch has not moved {', '.join(idle)}, by which the gradient is 0: {why}",
    )


def _on_bounds(value: np.ndarray, optimiser: Optimiser, key: str) -> bool:
    return bool(np.isin(value, [limit for limit in optimiser.bounds.get(key, ()) if limit is not None]).any())
