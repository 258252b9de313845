"""Five models of the library fitted to the spikes of one cortical neuron, and judged on a part that no fit has seen.

The recording is the test set "Cell3_Ger1Test" of the GIF Fitting Toolbox (Pozzorini et al. 2015, PLoS Comput. Biol.
11:e1004275): nine repetitions of one fluctuating current. Spike times alone are fitted: the potential's unit and its
zero are then conventions, here a leak conductance of 10 nS and a rest of -70 mV, and what an electrode does to a
measured potential doesn't matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files import read_archive
from ..fitting.coincidence import compare_with_repetitions
from ..fitting.neurons import Neurons
from ..fitting.procedure import Repetitions, Settings, SpikeTrainFit, fit_spike_trains
from ..fitting.space import DELAY, Bounds
from ..fitting.template import bare_model
from ..templates.model import Model

__all__ = [
    "CANDIDATES",
    "FITTED",
    "VALIDATED",
    "WINDOWS",
    "Candidate",
    "fit_candidate",
    "judged",
    "read_recording",
    "trace",
]

FITTED, VALIDATED = 7.0, 10.0
"""Seconds at which the part that is fitted, and that on which is chosen, end."""
WINDOWS = (4e-3, 2e-3)
"""Seconds within which spikes coincide."""

_MEMBRANE = {"C_m": Bounds(80e-12, 400e-12, log=True), "t_ref": Bounds(3e-3, 11e-3), DELAY: Bounds(-0.5e-3, 1.5e-3)}
_LIF = _MEMBRANE | {"v_th": Bounds(-57.9e-3, -42e-3), "v_reset": Bounds(-80e-3, -58e-3)}
_CURRENT = {"b": Bounds(0.0, 200e-12), "tau_z": Bounds(20e-3, 400e-3, log=True)}
_UNITS = {"g_L": 10e-9, "v_rest": -70e-3}


@dataclass(frozen=True)
class Candidate:
    """One model of the library, and what of it is fitted.

    Attributes
    ----------
    title : str
    components : str
        As `bare_model` reads them.
    free : mapping of str to Bounds
    fixed : mapping of str to float
    threshold : str
        The parameter by which the base threshold is scanned.
    likelihood : bool
        Whether spikes can be forced on it.
    after : str
        The candidate from whose values its own are begun, where it has no likelihood.
    """

    title: str
    components: str
    free: Mapping[str, Bounds]
    fixed: Mapping[str, float]
    threshold: str = "v_th"
    likelihood: bool = True
    after: str = ""


CANDIDATES: dict[str, Candidate] = {
    "lif": Candidate("LIF with refractoriness", "lif_current", _LIF, _UNITS),
    "threshold": Candidate(
        "LIF with adaptive threshold",
        "lif_current+adaptive_threshold",
        _LIF | {"beta": Bounds(0.0, 20e-3), "tau_a": Bounds(3e-3, 400e-3, log=True)},
        _UNITS,
    ),
    "current": Candidate(
        "LIF with spike-triggered current", "lif_current+current_adaptation", _LIF | _CURRENT, _UNITS
    ),
    "gif": Candidate(
        "GIF: threshold and current",
        "gif",
        _LIF | _CURRENT | {"delta_th": Bounds(0.0, 20e-3), "tau_th": Bounds(3e-3, 400e-3, log=True)},
        _UNITS,
    ),
    # the potential runs away beyond v_T, whether a spike was recorded or not: none can be forced
    "adex": Candidate(
        "AdEx with refractoriness",
        "adex+refractory",
        _MEMBRANE
        | _CURRENT
        | {
            "v_T": Bounds(-62e-3, -46e-3),
            "delta_T": Bounds(0.8e-3, 6e-3, log=True),
            "v_reset": Bounds(-80e-3, -55e-3),
            "a": Bounds(-4e-9, 10e-9),
        },
        {"g_L": 10e-9, "E_L": -70e-3, "v_peak": -35e-3},
        threshold="v_T",
        likelihood=False,
        after="current",
    ),
}


def read_recording(path: str | Path) -> Repetitions:
    """The first half of the recording, from ``first_half.npz`` in a folder.

    Parameters
    ----------
    path : str or Path
        The folder, or the file: arrays ``current`` (A), ``dt`` (s) and ``spikes_0``, ``spikes_1``, ... (s).

    Raises
    ------
    FileNotFoundError, ValueError
        If there is none, or something is missing or not possible.
    """
    file = Path(path)
    file = file / "first_half.npz" if file.is_dir() else file
    arrays = read_archive(file, "recording")
    for name in ("current", "dt", "spikes_0"):
        if name not in arrays:
            raise ValueError(f"{file}: no array {name!r}; expected current, dt and spikes_0, spikes_1, ...")
    trains = [arrays[f"spikes_{k}"] for k in range(sum(name.startswith("spikes_") for name in arrays))]
    return Repetitions(arrays["current"], float(arrays["dt"]), trains, FITTED, VALIDATED)


def fit_candidate(
    candidate: Candidate,
    data: Repetitions,
    settings: Settings,
    others: Mapping[str, Mapping[str, float]],
    tell: Callable[[str], None],
) -> SpikeTrainFit:
    """Fit one model.

    Parameters
    ----------
    candidate : Candidate
    data : Repetitions
    settings : Settings
    others : mapping of str to mapping
        Values of candidates that were fitted before.
    tell : callable
        See `fit_spike_trains`.
    """
    start = None
    if candidate.after in others:
        found = others[candidate.after]
        # a sharp exponential spikes where a threshold is crossed
        start = {**found, "v_T": found["v_th"], "delta_T": 1e-3, "a": 0.0}
    return fit_spike_trains(
        bare_model(candidate.components), data, candidate.free, candidate.fixed, threshold=candidate.threshold,
        likelihood=candidate.likelihood, start=start, settings=settings, tell=tell,
    )  # fmt: skip


def trace(model: Model, values: Mapping[str, float], data: Repetitions, delay: float) -> np.ndarray:
    """Spike times of a model at the recorded current, every sample of it, with the delay added; in seconds."""
    with Neurons(model, tuple(values), {}, data.current, data.dt, input="I_syn", n=1) as neurons:
        times, _ = neurons.spike_times(np.array([list(values.values())]))
    found = times[0, 0] + delay
    return found[np.isfinite(found)]


def judged(train: np.ndarray, data: Repetitions) -> list[dict[str, Any]]:
    """Coincidence with the repetitions, on both parts and within all windows."""
    out = []
    for part, start, end in (("fitted", 0.0, data.fitted), ("validated", data.fitted, data.validated)):
        for window in WINDOWS:
            found = compare_with_repetitions(train, data.trains, end - start, window, start)
            out.append(
                {
                    "part": part,
                    "window": window,
                    "factor": found.factor,
                    "reliability": found.reliability,
                    "relative": found.relative,
                    "spikes": found.spikes,
                    "recorded": found.recorded,
                }
            )
    return out
