"""What a way to fit is worth: fits of a recorded neuron that leave a part out, judged on that part.

All is within the part that is fitted in the end (`recorded_neuron.FITTED`): what is chosen here, a procedure or a
model, has not been chosen by what comes after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..fitting.coincidence import compare_with_repetitions
from ..fitting.recording import Recording, Sweep
from ..fitting.space import DELAY
from ..fitting.template import bare_model
from .recorded_neuron import CANDIDATES, FITTED, PROCEDURES, WINDOWS, fit_candidate, trains

__all__ = ["fit_without", "fold", "jackknife", "pooled", "without"]


def fold(k: int, folds: int) -> tuple[float, float]:
    """Beginning and end in seconds of one of equal parts of what is fitted."""
    return FITTED * k / folds, FITTED * (k + 1) / folds


def without(sweep: Sweep, start: float, end: float) -> Recording:
    """What is left of the part that is fitted, as sweeps of their own: no spike of the part left out is in it.

    The second of two sweeps begins with a neuron at rest, as the recorded one was not: some 0.1 s of it are wrong.
    """
    parts = [(a, b) for a, b in ((0.0, start), (end, FITTED)) if round((b - a) / sweep.dt) > 0]
    return Recording(tuple(sweep.part(a, b) for a, b in parts))


def fit_without(
    key: str, procedure: str, data: Sweep, part: tuple[float, float], others: Mapping[str, Any], **options: Any
) -> dict[str, Any]:
    """Fit one model without a part, and judge it there and on all the rest.

    The model is judged as a train without noise, which it makes at the whole current from its beginning on.

    Parameters
    ----------
    key : str
        Of `recorded_neuron.CANDIDATES`.
    procedure : str
        Of `PROCEDURES`.
    data : Sweep
    part : (float, float)
        Beginning and end of what is left out, in seconds.
    others : mapping of str to dict
        What this has given for candidates from whose values this one begins.
    **options
        Of `snnmodels.fit`.

    Returns
    -------
    dict
        ``"values"``, ``"seconds"``, ``"simulations"``, and for ``"left out"`` and ``"fitted"``, by the window in
        milliseconds: ``"factor"``, ``"reliability"``, ``"spikes"`` and ``"recorded"``, of the rest as means over its
        parts with their durations as weights.
    """
    candidate = CANDIDATES[key]
    found = fit_candidate(
        candidate,
        without(data, *part),
        {name: other["values"] for name, other in others.items()},
        **{**PROCEDURES[procedure][1], **options},
    )
    values = {**candidate.fixed, **{name: x for name, x in found.values.items() if name != DELAY}}
    (train,) = trains(bare_model(candidate.components), values, data.until(FITTED), found.values[DELAY])
    rest = [(a, b) for a, b in ((0.0, part[0]), (part[1], FITTED)) if b > a]
    return {
        "values": found.values,
        "seconds": found.seconds,
        "simulations": found.simulations,
        "left out": _judged(train, data, [part]),
        "fitted": _judged(train, data, rest),
    }


def _judged(train: np.ndarray, data: Sweep, parts: Sequence[tuple[float, float]]) -> dict[str, dict[str, float]]:
    """Coincidence on some parts, by the window."""
    out = {}
    for window in WINDOWS:
        found = [compare_with_repetitions(train, data.spikes, b - a, window, a) for a, b in parts]
        lengths = [b - a for a, b in parts]
        out[f"{window * 1e3:g}"] = {
            "factor": float(np.average([f.factor for f in found], weights=lengths)),
            "reliability": float(np.average([f.reliability for f in found], weights=lengths)),
            "spikes": float(sum(f.spikes for f in found)),
            "recorded": float(sum(f.recorded for f in found)),
        }
    return out


def pooled(rows: Sequence[Mapping[str, Any]], where: str, window: float) -> tuple[float, float]:
    """Coincidence over reliability, and spikes over recorded ones, of the fits of all folds with one seed.

    Parameters
    ----------
    rows : sequence of dict
        As `fit_without` gives them.
    where : str
        ``"left out"`` or ``"fitted"``.
    window : float
        Seconds.
    """
    found = [row[where][f"{window * 1e3:g}"] for row in rows]
    factor, reliability, spikes, recorded = (
        float(sum(f[name] for f in found)) for name in ("factor", "reliability", "spikes", "recorded")
    )
    return factor / reliability, spikes / recorded


def jackknife(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Mean and standard error of every parameter, from the fits that each left out one of all parts.

    The delete-a-group jackknife: of k fits the variance is (k - 1)/k times the sum of squares about their mean (Efron &
    Tibshirani 1993, An Introduction to the Bootstrap, chapter 11). What a search itself scatters by is in it.

    Parameters
    ----------
    rows : sequence of dict
        As `fit_without` gives them, of all parts with one seed.
    """
    k = len(rows)
    out = {}
    for name in rows[0]["values"]:
        found = np.array([row["values"][name] for row in rows])
        out[name] = float(found.mean()), float(np.sqrt((k - 1) / k * ((found - found.mean()) ** 2).sum()))
    return out
