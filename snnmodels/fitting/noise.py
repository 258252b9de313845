"""Frozen noise: a few currents that are added to a recorded one, so that a loss is averaged over what they do.

A loss on spike times jumps where a spike appears or vanishes as parameters move. Averaged over currents that differ a
little, it has many small jumps in the place of a large one, and asks for spikes that are safe: what a fit gains on one
current by chance it does not gain on all. The currents are drawn once, so that the averaged loss is a function of the
parameters alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..losses.observed import check_positive
from ..templates.arguments import check_numbers, check_seed, check_whole

__all__ = ["Noise", "frozen_noise"]


@dataclass(frozen=True)
class Noise:
    """Frozen noise of a fit: what `frozen_noise` draws, for every sweep its own.

    Attributes
    ----------
    std : float or None
        Standard deviation, in the unit of the current; None for the one with which the model is nearest to the neuron.
    tau : float
        Correlation time, in seconds.
    draws : int
        Currents for each sweep.
    seed : int
    alone : float
        In the last stage, weight of the distance of the model without noise to the mean of the repetitions, beside
        that of 1 of the distance under noise; 0 for a search under noise alone.
    """

    std: float | None = None
    tau: float = 3e-3
    draws: int = 12
    seed: int = 0
    alone: float = 1.0

    def __post_init__(self) -> None:
        check_numbers(alone=self.alone, **({} if self.std is None else {"std": self.std}))
        if self.std is not None and self.std <= 0:
            raise ValueError(f"std is {self.std:g}; expected more than 0, or noise=False of a fit for none")
        if self.alone < 0:
            raise ValueError(f"alone is {self.alone:g}; expected a weight of at least 0")

    def currents(self, sweeps: int, samples: int, dt: float) -> np.ndarray:
        """Noise for sweeps of one length, shape (sweeps, draws, samples); with a last draw of 0 if `alone` is more."""
        if self.std is None:
            raise ValueError("this noise has no size, which a fit finds; give Noise(std=...)")
        drawn = frozen_noise(
            sweeps * self.draws, samples, dt, std=self.std, tau=self.tau, seed=self.seed, silent=False
        ).reshape(sweeps, self.draws, samples)
        if not self.alone:
            return drawn
        return np.concatenate([drawn, np.zeros((sweeps, 1, samples))], axis=1)


def frozen_noise(
    draws: int, samples: int, dt: float, *, std: float = 8e-12, tau: float = 3e-3, seed: int = 0, silent: bool = True
) -> np.ndarray:
    """Currents of an Ornstein-Uhlenbeck process, drawn once.

    Its samples are those of the stationary process in continuous time, whatever `dt` is: x[k + 1] = x[k] exp(-dt/tau) +
    std sqrt(1 - exp(-2 dt/tau)) times a normal number (Gillespie 1996, Phys. Rev. E 54:2084).

    Parameters
    ----------
    draws, samples : int
        Currents, and samples of each.
    dt : float
        Seconds between samples.
    std : float
        Standard deviation, in the unit of the current (ampere for a recording).
    tau : float
        Correlation time, in seconds.
    seed : int
    silent : bool
        Whether the first current is 0, so that what the model does without noise is one of those that are averaged.

    Returns
    -------
    array, shape (draws, samples)

    Raises
    ------
    ValueError
        For numbers that are not positive, and a seed that is none.
    """
    check_whole("draws", draws)
    check_whole("samples", samples)
    check_positive(dt=dt, std=std, tau=tau)
    check_seed(seed)
    rng = np.random.default_rng(seed)
    keep = np.exp(-dt / tau)
    steps = rng.normal(0.0, std * np.sqrt(-np.expm1(-2 * dt / tau)), (draws, samples))
    out = np.empty((draws, samples))
    x = rng.normal(0.0, std, draws)
    for k in range(samples):
        out[:, k] = x
        x = keep * x + steps[:, k]
    if silent:
        out[0] = 0.0
    return out
