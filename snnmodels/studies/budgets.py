"""Accuracies at budgets, from the operating points of `transfer.run_seed`: what is kept, and how it is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["ARMS", "accuracies", "chosen", "condensed", "spent"]

ARMS = {
    "conditioned": ("conditioned",),
    "frozen_kappa": ("frozen_kappa",),
    "frozen_nu": ("frozen_nu",),
    "frozen": ("frozen_kappa", "frozen_nu"),
    "frozen_gate": ("frozen_gate",),
    "frozen_gate_norm": ("frozen_gate_norm",),
    "frozen_gate_random": ("frozen_gate_random",),
    "retrained": ("base", "retrained_base", "retrained_scratch"),
    "retrained_base": ("base", "retrained_base"),
    "retrained_scratch": ("base", "retrained_scratch"),
    "small": ("base", "small"),
    "early": ("base", "early"),
    "adaptive": ("adaptive",),
}
"""The lists of points among which each arm chooses: with one network for each budget, the base is one of them."""


def chosen(points: Sequence[Mapping[str, Any]], budget: float, spikes: str = "spikes") -> Mapping[str, Any] | None:
    """The point of the largest validation accuracy among those within a budget on the validation trials.

    Parameters
    ----------
    points : sequence of mapping
        With ``validation``, a mapping of ``accuracy`` and spikes per trial.
    budget : float
        Spikes per trial; exceeded by half a percent at most.
    spikes : {"spikes", "decided"}
        What is counted: all, or those before the decision.

    Returns
    -------
    mapping or None
        None where no point is within the budget.
    """
    within = [p for p in points if p["validation"][spikes] <= 1.005 * budget]
    return max(within, key=lambda p: float(p["validation"]["accuracy"]), default=None)


def condensed(result: Mapping[str, Any], fractions: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """What a figure needs of a seed: the chosen point of every arm at every budget, by both counts of spikes.

    Parameters
    ----------
    result : mapping
        Of `transfer.run_seed`.
    fractions : mapping of str to sequence of float
        Budgets by what is counted, ``"spikes"`` or ``"decided"``, as fractions of all spikes of the base network on the
        validation trials.

    Returns
    -------
    dict
        ``arms[arm][count][k]`` is the point at fraction k, or None; ``base``, ``control``, ``neurons``.
    """
    base = result["base"][0]
    whole = base["validation"]["spikes"]
    arms: dict[str, Any] = {}
    for arm, lists in ARMS.items():
        points = [p for name in lists for p in result.get(name, ())]
        if points:
            arms[arm] = {
                count: [chosen(points, f * whole, count) for f in of] for count, of in fractions.items()
            }
    return {"base": base, "arms": arms, "control": result["control"], "neurons": result["neurons"]}


def accuracies(seeds: Mapping[str, Any], arm: str, count: str = "spikes") -> np.ndarray:
    """Test accuracies of an arm at the budgets, NaN where it has no point within.

    Parameters
    ----------
    seeds : mapping
        Of `condensed`, by seed.
    arm : str
    count : {"spikes", "decided"}

    Returns
    -------
    array, shape (seeds, fractions)
    """
    return np.array(
        [[np.nan if p is None else p["test"]["accuracy"] for p in s["arms"][arm][count]] for s in seeds.values()]
    )


def spent(seeds: Mapping[str, Any], arm: str, count: str = "spikes") -> np.ndarray:
    """Spikes on the test trials, as fractions of the base network's there; as `accuracies`."""
    return np.array(
        [
            [np.nan if p is None else p["test"][count] / s["base"]["test"]["spikes"] for p in s["arms"][arm][count]]
            for s in seeds.values()
        ]
    )
