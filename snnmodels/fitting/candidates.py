"""Candidates of one model as one population: neurons with parameters of their own that the same current drives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..templates.constraints import violated
from ..templates.groups import CurrentInput, Drive, Population, Projection, SpikeInput
from ..templates.model import Model
from ..templates.network import Network
from .likelihood import FORCED

__all__ = ["driven_network", "filled", "possible_candidates"]


def driven_network(
    model: Model,
    names: Sequence[str],
    fixed: Mapping[str, float],
    n: int,
    *,
    dt: float,
    duration: float,
    input: str,
    trains: int = 0,
) -> Network:
    """A population that one current drives: input ``"current"``, output ``"cells"``.

    Parameters
    ----------
    model : Model
    names : sequence of str
        Parameters of which every neuron has its own value, and by which there are derivatives.
    fixed : mapping of str to float
        Values of others that are not the model's own, in SI base units.
    n : int
        Neurons.
    dt, duration : float
        Seconds between the samples of the current, and of a trial.
    input : str
        Of the model, that the current drives.
    trains : int
        Recorded trains, from input ``"recorded"``, that are forced on neurons in turn; none if 0. The model is then one
        of `forced_model`, and n a multiple.
    """
    values: dict[str, Any] = {name: value for name, value in fixed.items() if name not in names}
    values |= {name: np.full(n, model.parameters[name].value) for name in names}
    sources, projections = [], []
    if trains:
        own = np.tile(np.eye(trains), (1, n // trains))
        sources.append(SpikeInput("recorded", trains))
        projections.append(Projection("forced", "recorded", "cells", own, FORCED, own > 0, learnable=()))
    return Network(
        "candidates",
        tuple(sources),
        (Population("cells", n, model, values, learnable=tuple(names)),),
        tuple(projections),
        "cells",
        duration,
        currents=(CurrentInput("current", 1, dt, unit=model.inputs[input].unit),),
        drives=(Drive("gain", "current", "cells", np.ones((1, n)), input, learnable=()),),
    )


def possible_candidates(
    model: Model, names: Sequence[str], fixed: Mapping[str, float], rows: np.ndarray
) -> np.ndarray:
    """Which candidates fulfil the model's constraints, ``(candidates,)``; a row holds values of `names`."""

    def problem(values: np.ndarray) -> str:
        own = {name: values[..., k] for k, name in enumerate(names)}
        return violated(model, {p.name: own.get(p.name, fixed.get(p.name, p.value)) for p in model.parameters.values()})

    # one by one only where one of them is wrong
    if not problem(rows):
        return np.ones(len(rows), dtype=bool)
    return np.array([not problem(row) for row in rows])


def filled(rows: np.ndarray, possible: np.ndarray, n: int) -> np.ndarray:
    """As many rows as a pass has candidates, a possible one in the place of those that are not."""
    return np.resize(np.where(possible[:, None], rows, rows[np.argmax(possible)]), (n, rows.shape[1]))
