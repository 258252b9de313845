"""Sampled currents as explicit functions of time, and gradients as integrals against what each sample adds to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..templates.groups import CurrentInput
from ..templates.network import Network
from ._neurons import Array, Neurons

Parameters = tuple[Array, ...]
"""By population, shape (n_parameters, n), with the currents at one time in the rows of what is driven."""


@dataclass(frozen=True)
class _Line:
    """One current between two knots of the network: all of its channels on the line from one sample to the next."""

    sample: int  # the one that the line begins with; -1 before the first
    begun: float  # when that was due
    first: Array
    rise: Array  # per second
    meets: bool  # whether it begins where the line before it ended

    def at(self, t: float) -> Array:
        return self.first + (t - self.begun) * self.rise


class Interval:
    """The time between two knots, in which every current is a line.

    Attributes
    ----------
    start : float
    lines : dict of str to _Line
        By current.
    """

    def __init__(
        self, network: Network, neurons: Sequence[Neurons], samples: Mapping[str, Array], start: float
    ) -> None:
        self.neurons, self.start = neurons, start
        self.lines = {c.name: _line(c, samples[c.name], start, network.duration) for c in network.currents}
        self._drives = [
            [(d, q.driven.index(d.input)) for d in network.drives if d.target == q.name] for q in neurons
        ]

    def __call__(self, t: float) -> Parameters:
        """Parameters at a time of the interval."""
        return tuple(self._at(k, t) for k in range(len(self.neurons)))

    def _at(self, k: int, t: float) -> Array:
        q = self.neurons[k]
        if not self._drives[k]:
            return q.p
        p = q.p.copy()
        for drive, place in self._drives[k]:
            line, w = self.lines[drive.source], np.asarray(drive.weights)
            p[q.n_own + place] += line.at(t) @ w
            p[q.n_own + len(q.driven) + place] += line.rise @ w
        return p

    def jumps(self, k: int, before: Interval | None) -> list[int]:
        """The driven inputs of population k, by place, that go on elsewhere than the interval before left them."""
        return sorted({place for drive, place in self._drives[k] if self._begins(drive.source, before)})

    def _begins(self, current: str, before: Interval | None) -> bool:
        line, last = self.lines[current], None if before is None else before.lines[current]
        if line.sample < 0 or (last is not None and last.sample == line.sample):
            return False
        return last is None or last.sample < 0 or not line.meets


def _line(source: CurrentInput, samples: Array, start: float, duration: float) -> _Line:
    due, none = source.knots(duration), np.zeros(source.n)
    last = int(np.searchsorted(due, start, side="right")) - 1
    if last < 0:
        return _Line(-1, 0.0, none, none, False)
    first = samples[:, last]
    held = source.interpolation == "hold"
    rise = none if held else (samples[:, last + 1] - first) / source.interval
    return _Line(last, float(due[last]), first, rise, not held)


def intervals(network: Network, neurons: Sequence[Neurons], samples: Mapping[str, Array]) -> list[Interval]:
    """The intervals of one trial in order, the first from time 0 on.

    Parameters
    ----------
    network : Network
    neurons : sequence of Neurons
    samples : mapping of str to array, shape (n, samples)
        By current.
    """
    times = {0.0} | {float(t) for c in network.currents for t in c.knots(network.duration)}
    return [Interval(network, neurons, samples, t) for t in sorted(times)]


class CurrentGradients:
    """Gradients by samples and gains of one trial.

    Attributes
    ----------
    samples : dict of str to array, shape (n, samples)
        By current.
    weights : dict of str to array, shape (n_source, n_target)
        By drive.
    """

    def __init__(self, network: Network, samples: Mapping[str, Array]) -> None:
        self.network = network
        self.samples = {name: np.zeros(x.shape) for name, x in samples.items()}
        self.weights = {d.name: np.zeros(np.shape(d.weights)) for d in network.drives}

    def add(self, q: Neurons, interval: Interval, level: Array, slope: Array) -> None:
        """What an interval gives.

        Parameters
        ----------
        q : Neurons
        interval : Interval
        level, slope : array, shape (n_driven, n)
            Integrals over the interval of λ·∂f/∂I, and of the same times the time since the interval's start.
        """
        for d in self.network.drives:
            if d.target != q.name:
                continue
            line, w = interval.lines[d.source], np.asarray(d.weights)
            if line.sample < 0:
                continue
            row = q.driven.index(d.input)
            since = slope[row] + (interval.start - line.begun) * level[row]
            self.weights[d.name] += np.outer(line.first, level[row]) + np.outer(line.rise, since)
            source = next(c for c in self.network.currents if c.name == d.source)
            to = self.samples[d.source]
            to[:, line.sample] += w @ level[row]
            if source.interpolation == "linear":
                part = w @ since / source.interval
                to[:, line.sample] -= part
                to[:, line.sample + 1] += part
