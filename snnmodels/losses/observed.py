"""What losses are given, checked: spike times and labels."""

from __future__ import annotations

import numpy as np

from ..templates.arguments import check_numbers
from ..templates.spike_times import checked_times

__all__ = ["check_positive", "checked_spike_times", "first_spikes", "labels_of", "spikes_wanted", "wanted_spike_times"]

# Seconds by which a spike may precede the one before it: a grid simulation adds a step's time and an offset in it.
_ROUNDING = 1e-12


def checked_spike_times(times: np.ndarray, name: str = "the observed population") -> np.ndarray:
    """Checked spike times as ``(trials, n, k)``.

    Parameters
    ----------
    times : array, shape (trials, n) or (trials, n, k)
        Seconds, ascending, padded with ``inf``.
    name : str
        Whose they are, for messages.

    Raises
    ------
    ValueError
        For a wrong shape, NaN, negative or unsorted times.
    """
    return checked_times(times, name, slack=_ROUNDING)


def wanted_spike_times(targets: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Checked target spike times, for the neurons that spike times are of.

    Parameters
    ----------
    targets : array, shape (trials, n, k)
        Seconds, ascending, padded with ``inf``.
    times : array, shape (trials, n, ...)

    Raises
    ------
    ValueError
        As `checked_spike_times`, and for other trials or neurons.
    """
    wanted = checked_spike_times(targets, "targets")
    if wanted.shape[:2] != times.shape[:2]:
        raise ValueError(f"targets: expected shape {times.shape[:2]} + (spikes,), got {wanted.shape}")
    return wanted


def spikes_wanted(observed: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """How many target spikes each neuron has, ``(trials, n)``; as `wanted_spike_times`."""
    return np.isfinite(wanted_spike_times(targets, checked_spike_times(observed))).sum(axis=2)


def first_spikes(times: np.ndarray) -> np.ndarray:
    """First spike of each neuron, ``(trials, n)``; the last axis may be empty when nothing spiked."""
    return times[..., 0] if times.shape[2] else np.full(times.shape[:2], np.inf)


def labels_of(targets: np.ndarray, trials: int, n: int) -> np.ndarray:
    """Checked class labels, ``(trials,)``.

    Parameters
    ----------
    targets : int array, shape (trials,)
    trials : int
    n : int
        Number of output neurons; labels count from 0.

    Raises
    ------
    ValueError
        For a wrong shape, labels that are no integers, or one that is out of range.
    """
    labels = np.asarray(targets)
    if labels.shape != (trials,):
        raise ValueError(f"targets: expected one label per trial, shape ({trials},), got {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"targets: expected integer labels, got {labels.dtype}")
    if trials and not (labels.min() >= 0 and labels.max() < n):
        wrong = labels[(labels < 0) | (labels >= n)][0]
        raise ValueError(f"targets: label {wrong} is out of range for {n} output neurons (0 to {n - 1})")
    return labels


def check_positive(**values: float) -> None:
    """Refuse a number that is not more than 0, by its name.

    Raises
    ------
    ValueError
        If there is one, or NaN, or a number with a unit, or none.
    """
    check_numbers(**values)
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name}: expected a positive number, got {value}")
