"""Terms of a loss that are no distances of spike trains: voltages between spikes, and intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .recording import Sweep

__all__ = ["LOSSES", "Group", "LossSettings", "VoltageError", "grouped", "interval_error"]

Array = np.ndarray

LOSSES = ("spikes", "voltage", "intervals", "likelihood")


@dataclass(frozen=True)
class LossSettings:
    """What the terms of a loss are measured with.

    Attributes
    ----------
    tau : float
        Time constant of the distance of spike trains, in seconds.
    interval_tau : float
        Deviation of an interval between spikes that costs 1, in seconds.
    missing : float
        What an interval costs that only the model or only the recording has.
    voltage_interval : float
        Seconds between the samples of the voltage that are compared.
    mask : tuple of float
        Seconds before and after a recorded spike in which the voltage doesn't count.
    variable : str
        The state that is the voltage.
    """

    tau: float = 8e-3
    interval_tau: float = 10e-3
    missing: float = 1.0
    voltage_interval: float = 0.5e-3
    mask: tuple[float, float] = (2e-3, 10e-3)
    variable: str = "v"


class Group:
    """Sweeps of one length, which are trials of the same simulations."""

    def __init__(self, sweeps: Sequence[Sweep]) -> None:
        self.sweeps = tuple(sweeps)
        self.dt, self.samples = sweeps[0].dt, len(sweeps[0].current)
        self.duration = sweeps[0].duration
        self.currents = np.stack([s.current for s in sweeps])
        self.repetitions = max(max(len(s.spikes), 0 if s.voltage is None else len(s.voltage)) for s in sweeps)


def grouped(sweeps: Sequence[Sweep]) -> list[Group]:
    """Sweeps by their length and rate of samples."""
    found: dict[tuple[float, int], list[Sweep]] = {}
    for sweep in sweeps:
        found.setdefault((sweep.dt, len(sweep.current)), []).append(sweep)
    return [Group(same) for same in found.values()]


class VoltageError:
    """Mean square of the deviation from the recorded voltage away from spikes, over the variance of the latter."""

    def __init__(self, group: Group, settings: LossSettings, forced: bool) -> None:
        count = int(np.floor(group.duration / settings.voltage_interval * (1 + 1e-12)))
        times = np.minimum(settings.voltage_interval * np.arange(1, count + 1), group.duration)
        sampled = group.dt * np.arange(group.samples)
        there = times <= sampled[-1] * (1 + 1e-12)
        r = max(group.repetitions, 1) if forced else 1
        self.target = np.zeros((len(group.sweeps), r, count))
        self.counts = np.zeros((len(group.sweeps), r, count), dtype=bool)
        before, after = settings.mask
        for k, sweep in enumerate(group.sweeps):
            if sweep.voltage is None:
                continue
            rows = sweep.voltage if forced else sweep.voltage.mean(axis=0, keepdims=True)
            for j, row in enumerate(rows):
                # the nearest sample would be off by up to half a step where the intervals are no multiples of dt
                self.target[k, j, there] = np.interp(times[there], sampled, row)
                self.counts[k, j] = there
                for t in sweep.spikes[j] if forced and sweep.spikes else ():
                    self.counts[k, j] &= (times < t - before) | (times > t + after)
        self.count = int(self.counts.sum())
        if not self.count:
            raise ValueError("no sample of the voltage is left between the spikes; shorten mask")
        kept = self.target[self.counts]
        self.scale = float(np.var(kept)) * self.count
        if not self.scale:
            raise ValueError("the recorded voltage is constant between the spikes, so that it sets no scale")

    def evaluate(self, voltage: Array) -> tuple[Array, Array]:
        """Values of candidates and derivatives by their voltages ``(sweeps, candidates, repetitions, samples)``."""
        off = (voltage - self.target[:, None]) * self.counts[:, None]
        return (off**2).sum(axis=(0, 2, 3)) / self.scale, 2 * off / self.scale


def interval_error(times: Array, trains: Sequence[Array], settings: LossSettings) -> tuple[Array, Array]:
    """Mean square of the deviations of intervals in their order, for each recorded one; of all repetitions."""
    tau, missing = settings.interval_tau, settings.missing
    ends = np.isfinite(times)
    counts = np.maximum(ends.sum(axis=1) - 1, 0)
    with np.errstate(invalid="ignore"):
        intervals = np.diff(times, axis=1)
    value, slope = np.zeros(len(times)), np.zeros(times.shape)
    for train in trains:
        wanted = np.diff(train)
        k = min(len(wanted), intervals.shape[1])
        both = np.arange(k)[None] < counts[:, None]
        off = np.where(both, (np.where(both, intervals[:, :k], 0.0) - wanted[:k]) / tau, 0.0)
        share = 1 / max(len(wanted), 1) / len(trains)
        value += share * ((off**2).sum(axis=1) + missing * np.abs(counts - len(wanted)))
        by = share * 2 * off / tau
        slope[:, 1 : k + 1] += by
        slope[:, :k] -= by
    return value, slope
