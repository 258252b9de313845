"""Decisions before the end of a trial, from the potentials of the output: the spikes that come after are saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["decide", "output_potentials"]

Array = np.ndarray


def output_potentials(
    times: Array, weights: Array, at: Array, *, tau_m: float = 20e-3, tau_syn: float = 5e-3
) -> Array:
    """Potentials of read-outs with exponential synapses before any of them spikes, in closed form.

    With ``tau_m v' = -v + I``, ``tau_syn I' = -I`` and jumps w of I, a spike at t adds ``w tau_syn/(tau_m - tau_syn)
    (exp(-s/tau_m) - exp(-s/tau_syn))`` at t + s.

    Parameters
    ----------
    times : array, shape (trials, n, spikes)
        Of the presynaptic population, seconds, padded with ``inf``.
    weights : array, shape (n, outputs)
    at : array, shape (m,)
        Seconds.
    tau_m, tau_syn : float
        Seconds.

    Returns
    -------
    array, shape (trials, outputs, m)
    """
    trials, _, outputs = len(times), times.shape[1], weights.shape[1]
    found = np.zeros((trials, outputs, len(at)))
    which, neuron, slot = np.nonzero(np.isfinite(times))
    t = times[which, neuron, slot]
    factor = tau_syn / (tau_m - tau_syn)
    starts = np.searchsorted(which, np.arange(trials + 1))
    for k in range(trials):
        part = slice(starts[k], starts[k + 1])
        s = at - t[part, None]
        kernel = np.where(s > 0, np.exp(-np.maximum(s, 0) / tau_m) - np.exp(-np.maximum(s, 0) / tau_syn), 0.0)
        found[k] = factor * weights[neuron[part]].T @ kernel
    return found


def decide(
    hidden: Array,
    output: Array | None,
    potentials: Array,
    at: Array,
    labels: Array,
    deadlines: Sequence[float] | Array,
    margins: Sequence[float] | Array,
) -> list[Mapping[str, float | str]]:
    """Accuracy and hidden spikes of decisions at a deadline, and at a margin between the two largest potentials.

    A spike of an output decides at once. Else the answer is the output of the largest potential when the decision is
    due: of the largest so far, where outputs don't spike. Hidden spikes count up to the decision.

    Parameters
    ----------
    hidden : array, shape (trials, n, spikes)
        Spike times in seconds.
    output : array, shape (trials, outputs), or None
        First spikes of the outputs; None where these are maxima of potentials.
    potentials : array, shape (trials, outputs, m)
        At `at`, before any output has spiked.
    at : array, shape (m,)
    labels : int array, shape (trials,)
    deadlines, margins : sequence of float
        Seconds; and in the unit of the potential. A margin that is never reached is decided at the end.

    Returns
    -------
    list of dict
        With ``policy`` (``"deadline"`` or ``"margin"``), ``setting``, ``accuracy`` and ``spikes`` per trial.
    """
    trials = len(labels)
    if output is None:
        potentials = np.maximum.accumulate(np.maximum(potentials, 0), axis=2)
        first, winner = np.full(trials, np.inf), np.zeros(trials, dtype=int)
    else:
        first, winner = output.min(axis=1), output.argmin(axis=1)
    ranked = np.sort(potentials, axis=1)
    gap = ranked[:, -1] - ranked[:, -2]  # (trials, m)
    best = potentials.argmax(axis=1)
    spikes = np.sort(hidden.reshape(trials, -1), axis=1)
    points: list[Mapping[str, float | str]] = []
    for policy, settings in (("deadline", deadlines), ("margin", margins)):
        for setting in settings:
            if policy == "deadline":
                due = np.full(trials, int(np.searchsorted(at, setting - 1e-12)))
            else:
                enough = gap >= setting
                due = np.where(enough.any(axis=1), enough.argmax(axis=1), len(at) - 1)
            due = np.minimum(due, len(at) - 1)
            when = np.minimum(at[due], first)
            answer = np.where(first <= at[due], winner, best[np.arange(trials), due])
            points.append(
                {
                    "policy": policy,
                    "setting": float(setting),
                    "accuracy": float(np.mean(answer == labels)),
                    "spikes": float(np.mean((spikes < when[:, None]).sum(axis=1))),
                }
            )
    return points
