"""What losses are given, checked: spike times and labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..templates.arguments import check_numbers
from ..templates.errors import warn_caller
from ..templates.network import Network
from ..templates.spike_times import checked_times, warn_of_early

__all__ = [
    "check_positive",
    "check_wanted",
    "check_within",
    "checked_spike_times",
    "finite_targets",
    "first_spikes",
    "labels_of",
    "neurons_read",
    "spikes_wanted",
    "wanted_spike_times",
]

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


def check_wanted(targets: np.ndarray, population: str, network: Network, name: str, reach: float = 1.0) -> None:
    """Refuse target spike times of other neurons than a population's, after the end of the trial, or all at its start.

    Parameters
    ----------
    targets : array, shape (trials, n) or (trials, n, k)
        Seconds, ascending, padded with ``inf``.
    population : str
        Whose spikes are compared; the output's if empty.
    network, name, reach
        As for `check_within`.

    Raises
    ------
    ValueError
    """
    n = neurons_read(population, network)
    wanted = checked_times(targets, name, n, len(targets), slack=_ROUNDING)
    check_within(wanted, network, name, reach)
    if not (at_start := wanted == 0).any():
        return
    if not wanted[np.isfinite(wanted)].any():
        raise ValueError(f"{name}: all are 0, the start of the trial; give times in seconds, inf where there is none")
    trial, neuron, k = np.argwhere(at_start)[0]
    warn_caller(
        f"{name}: spikes are wanted at 0, the start of the trial (first in trial {trial}, neuron {neuron}, entry {k}); "
        "where there is none give inf"
    )


def check_within(times: np.ndarray, network: Network, name: str, reach: float = 1.0) -> None:
    """Refuse target times after the end of a network's trial, and warn where all lie at its very beginning.

    Parameters
    ----------
    times : array, shape (trials, ...)
        Seconds; ``inf`` and NaN stand for none.
    network : Network
    name : str
        For the message.
    reach : float
        See `Loss.check_targets`.

    Raises
    ------
    ValueError
    """
    late = np.isfinite(times) & (times > reach * network.duration)  # at the end is as late as a spike gets
    if late.any():
        where = np.argwhere(late)[0]
        places = zip(("trial", "neuron", "entry"), where, strict=False)
        raise ValueError(
            f"{name}: {times[tuple(where)] * 1e3:g} ms ({', '.join(f'{what} {k}' for what, k in places)}), and a trial "
            f"ends at {network.duration * 1e3:g} ms; give times in seconds, inf where there is none, or make the "
            "duration longer"
        )
    warn_of_early([times], f"{name}: all", network.duration)


def finite_targets(targets: Any, shape: tuple[int, ...], name: str, expected: str, what: str) -> np.ndarray:
    """Targets that are one finite number for each of what a loss reads.

    Parameters
    ----------
    targets : array
    shape : tuple of int
        That they are to have.
    name, expected, what : str
        What they are called, what the shape stands for, and what they are numbers of, for messages.

    Raises
    ------
    ValueError
        For another shape, NaN or inf.
    """
    wanted = np.asarray(targets, dtype=float)
    if wanted.shape != shape:
        raise ValueError(f"{name}: expected {expected} {shape}, got {wanted.shape}")
    if not np.isfinite(wanted).all():
        raise ValueError(f"{name}: expected finite {what}, got NaN or inf")
    return wanted


def neurons_read(population: str, network: Network) -> int:
    """Number of neurons of a population, or of the output for an empty name."""
    return network.population(population or network.output).n


def spikes_wanted(observed: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """How many target spikes each neuron has, ``(trials, n)``; as `wanted_spike_times`."""
    return np.isfinite(wanted_spike_times(targets, checked_spike_times(observed))).sum(axis=2)


def first_spikes(times: np.ndarray) -> np.ndarray:
    """First spike of each neuron, ``(trials, n)``; the last axis may be empty when nothing spiked."""
    return times[..., 0] if times.shape[2] else np.full(times.shape[:2], np.inf)


def labels_of(targets: np.ndarray, trials: int, n: int, name: str = "targets") -> np.ndarray:
    """Checked class labels, ``(trials,)``.

    Parameters
    ----------
    targets : int array, shape (trials,)
    trials : int
    n : int
        Number of output neurons; labels count from 0.
    name : str
        Of the targets, for messages.

    Raises
    ------
    ValueError
        For a wrong shape, labels that are no integers, or one that is out of range.
    """
    labels = np.asarray(targets)
    if labels.shape != (trials,):
        raise ValueError(f"{name}: expected one label per trial, shape ({trials},), got {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{name}: expected integer labels, got {labels.dtype}")
    if trials and not (labels.min() >= 0 and labels.max() < n):
        wrong = labels[(labels < 0) | (labels >= n)][0]
        raise ValueError(f"{name}: label {wrong} is out of range for {n} output neurons (0 to {n - 1})")
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
