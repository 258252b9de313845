"""Trials of small tasks that tests train on, and their archives."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def order_of_two(trials: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Spike times of two inputs, some milliseconds apart, and which came second."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform((1e-3, 3e-3), (4e-3, 6e-3), (trials, 2)), axis=1)
    labels = rng.integers(2, size=trials)
    times[labels == 0] = times[labels == 0][:, ::-1]
    return times, labels


def write_order_of_two(folder: Path, trials: int) -> None:
    """``trials.npz`` and ``others.npz``, for an input named ``input``."""
    for seed, name in enumerate(("trials", "others")):
        times, labels = order_of_two(trials, seed)
        np.savez(folder / f"{name}.npz", input=times, labels=labels)
