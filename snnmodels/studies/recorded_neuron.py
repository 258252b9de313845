"""Five models of the library fitted to the spikes of one cortical neuron, and judged on a part that no fit has seen.

The recording is the test set "Cell3_Ger1Test" of the GIF Fitting Toolbox (Pozzorini et al. 2015, PLoS Comput. Biol.
11:e1004275): nine repetitions of one fluctuating current. Spike times alone are fitted: the potential's unit and its
zero are then conventions, here a leak conductance of 10 nS and a rest of -70 mV, and what an electrode does to a
measured potential doesn't matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..fitting import fit
from ..fitting.coincidence import compare_with_repetitions
from ..fitting.neurons import Neurons
from ..fitting.noise import Noise, frozen_noise
from ..fitting.reading import read_recording
from ..fitting.recording import Recording, Sweep
from ..fitting.result import FitResult
from ..fitting.space import DELAY, Bounds
from ..fitting.template import bare_model
from ..fitting.trains import MeanTrainDistance
from ..templates.model import Model

__all__ = [
    "CANDIDATES",
    "FITTED",
    "LEVELS",
    "PARTS",
    "PROCEDURES",
    "VALIDATED",
    "WINDOWS",
    "Candidate",
    "fit_candidate",
    "judged",
    "losses",
    "noises",
    "read_data",
    "trains",
]

FITTED, VALIDATED = 7.0, 10.0
"""Seconds at which the part that is fitted, and that on which is chosen, end."""
PARTS = (("fitted", 0.0, FITTED), ("validated", FITTED, VALIDATED))
LEVELS = (4e-12, 8e-12, 12e-12, 16e-12, 20e-12, 28e-12, 40e-12, 56e-12, 80e-12)
"""Ampere: standard deviations of the noise under which models are compared."""
WINDOWS = (4e-3, 2e-3)
"""Seconds within which spikes coincide."""

PROCEDURES: dict[str, tuple[str, Mapping[str, Any]]] = {
    "both": ("under noise and without it", {}),
    "noise": ("under noise alone", {"noise": Noise(alone=0.0)}),
    "plain": ("without noise", {"noise": False}),
}
"""Of each: in words, and the options of `snnmodels.fit`; the first is its default."""

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
    after : str
        The candidate from whose values its own are begun, where spikes can't be forced on it.
    """

    title: str
    components: str
    free: Mapping[str, Bounds]
    fixed: Mapping[str, float]
    after: str = ""


CANDIDATES: dict[str, Candidate] = {
    "lif": Candidate("LIF with refractoriness", "lif_current", _LIF, _UNITS),
    "threshold": Candidate(
        "LIF with adaptive threshold",
        "lif_current+adaptive_threshold",
        # without a current, the reset ended at a bound below every threshold
        _LIF | {"v_reset": Bounds(-80e-3, -50e-3), "beta": Bounds(0.0, 20e-3), "tau_a": Bounds(3e-3, 400e-3, log=True)},
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
        after="current",
    ),
}


def read_data(path: str | Path) -> Sweep:
    """The first half of the recording, from ``first_half.npz`` in a folder.

    Parameters
    ----------
    path : str or Path
        The folder, or the file, as `snnmodels.read_recording` reads it: one current, and spikes of its repetitions.

    Raises
    ------
    OSError, ValueError
        If there is none, or it isn't such a recording.
    """
    file = Path(path)
    recording = read_recording(file / "first_half.npz" if file.is_dir() else file)
    (sweep, *others) = recording.sweeps
    if others or len(sweep.spikes) < 2:
        raise ValueError(f"{path}: expected one current and spikes of several repetitions")
    if sweep.duration < VALIDATED:
        raise ValueError(f"{path}: lasts {sweep.duration:g} s; expected {VALIDATED:g} s")
    # what an electrode does to it would have to be taken out first; spike times alone are fitted
    return replace(sweep, voltage=None)


def fit_candidate(
    candidate: Candidate, recording: Recording, others: Mapping[str, Mapping[str, float]], **options: Any
) -> FitResult:
    """Fit one model.

    Parameters
    ----------
    candidate : Candidate
    recording : Recording
    others : mapping of str to mapping
        Values of candidates that were fitted before.
    **options
        Of `snnmodels.fit`.
    """
    start = None
    if candidate.after in others:
        found = others[candidate.after]
        # a sharp exponential spikes where a threshold is crossed
        start = {**found, "v_T": found["v_th"], "delta_T": 1e-3, "a": 0.0}
        start = {name: value for name, value in start.items() if name in candidate.free}
    return fit(
        bare_model(candidate.components), recording, free=candidate.free, fixed=candidate.fixed, start=start, **options
    )


def trains(
    model: Model, values: Mapping[str, float], data: Sweep, delay: float, noise: np.ndarray | None = None
) -> list[np.ndarray]:
    """Spike trains of a model at the recorded current, every sample of it.

    Parameters
    ----------
    model : Model
    values : mapping of str to float
        Parameters that are not the model's own, in SI base units.
    data : Sweep
    delay : float
        Is added, in seconds.
    noise : array, shape (draws, samples), optional
        Is added to the current, for each draw a train; without, there is one.
    """
    currents = data.current if noise is None else data.current + noise
    with Neurons(model, tuple(values), {}, currents, data.dt, input="I_syn", n=1) as neurons:
        times, _ = neurons.spike_times(np.array([list(values.values())]))
    return [t[np.isfinite(t)] + delay for t in times[:, 0]]


def losses(noisy: Sequence[Sequence[np.ndarray]], alone: np.ndarray, data: Sweep) -> dict[str, float]:
    """Distances at 8 ms on both parts: of a model without noise, and between repetitions of both with noise.

    How noisy the model is decides much of the distance, and is no part of a template: it is taken at the level at which
    the distance on the fitted part is least.

    Parameters
    ----------
    noisy : sequence of sequence of array, shape (spikes,)
        Trains of the model in seconds, two or more at each of `LEVELS`.
    alone : array, shape (spikes,)
        That without noise.
    data : Sweep

    Returns
    -------
    dict
        By part, ``"fitted"`` and ``"validated"``, and with ``", with noise"`` behind them; ``"noise"`` in ampere.
    """
    out, level = {}, 0
    for part, start, end in PARTS:
        distance = MeanTrainDistance(data.spikes, 8e-3, start, end)
        out[part] = float(distance(alone)[0])
        found = []
        for trains in noisy:
            padded = np.full((len(trains), max(map(len, trains))), np.inf)
            for row, train in zip(padded, trains, strict=True):
                row[: len(train)] = train
            found.append(float(distance.between(padded)[0]))
        level = int(np.argmin(found)) if part == PARTS[0][0] else level
        out[f"{part}, with noise"] = found[level]
    return {**out, "noise": LEVELS[level]}


def noises(data: Sweep, draws: int = 16) -> np.ndarray:
    """Noise that no stage of a fit has seen, the same at all of `LEVELS`: shape (levels, draws, samples), in ampere."""
    drawn = frozen_noise(draws, len(data.current), data.dt, std=1.0, seed=2027, silent=False)
    return np.array(LEVELS)[:, None, None] * drawn


def judged(train: np.ndarray, data: Sweep) -> list[dict[str, Any]]:
    """Coincidence with the repetitions, on both parts and within all windows."""
    out = []
    for part, start, end in PARTS:
        for window in WINDOWS:
            found = compare_with_repetitions(train, data.spikes, end - start, window, start)
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
