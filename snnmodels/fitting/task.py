"""What a search needs, so that another process can run one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..targets import Target
from ..templates.model import Model
from .noise import Noise
from .objective import Objective
from .recording import Recording, Sweep
from .space import Space
from .terms import LossSettings

__all__ = ["Stage", "Task"]

Array = np.ndarray

_STEP = 0.5e-3  # seconds: finer samples of a current are averaged to this for the search of spikes
_REPETITIONS = 4  # whose likelihood is climbed


@dataclass(frozen=True)
class Stage:
    """A part of a search.

    Attributes
    ----------
    name : str
    tau : float
        Time constant of the distance of spike trains, in seconds.
    generations : int
    greed : float
        As for `Evolution`.
    noisy : bool
        Whether the loss is averaged over noise.
    alone : float
        With noise, the weight of the distance without it, beside.
    """

    name: str
    tau: float
    generations: int
    greed: float
    noisy: bool = False
    alone: float = 0.0


@dataclass(frozen=True)
class Task:
    """A model, a recording and how the one is fitted to the other; see `fit`."""

    model: Model
    recording: Recording
    space: Space
    fixed: Mapping[str, float]
    weights: Mapping[str, float]
    input: str
    candidates: int
    settings: LossSettings
    generations: int
    likelihood: bool
    noise: Noise | None
    seed: int
    target: Target
    start: Array | None = None

    @property
    def noisy(self) -> bool:
        """Whether a stage averages over noise: where spikes alone are fitted, and a current was repeated."""
        if set(self.weights) != {"spikes"} or self.noise is None:
            return False
        return self.noise.std is not None or any(len(s.spikes) > 1 for s in self.recording.sweeps)

    @property
    def frozen(self) -> Noise:
        """The noise of stages that have one, its size as it is given."""
        assert self.noise is not None
        return self.noise

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """What a search does, in this order."""
        tau = self.settings.tau
        if "spikes" not in self.weights:
            return (Stage("search", tau, self.generations, 0.8),)
        wide = (self.generations + 1) // 2
        stages = [Stage("wide", self.widest, wide, 0.5), Stage("final", tau, self.generations - wide, 0.8)]
        if self.noisy:
            # twice: without noise a fit settles where noise makes much of a difference, so that less seems enough
            half = (self.generations + 5) // 6
            stages += [Stage("noise", tau, half, 0.8, noisy=True), Stage("noise again", tau, half, 0.8, noisy=True)]
            # without noise is asked last: before, it holds a search where spikes hold on one current alone
            if alone := self.frozen.alone:
                stages.append(Stage("both", tau, half, 0.8, noisy=True, alone=alone))
        return tuple(stages)

    @property
    def widest(self) -> float:
        """Time constant of the first distance: its landscape has fewer steps."""
        return 3 * self.settings.tau

    @cached_property
    def search_recording(self) -> Recording:
        """With coarser currents where they are finely sampled and spikes alone count."""
        return self._coarse(_STEP)

    @cached_property
    def likelihood_recording(self) -> Recording:
        """With coarser ones still, and a few of the repetitions, spread over all: it is only where a search begins."""

        def some(sweep: Sweep) -> Sweep:
            n = len(sweep.spikes)
            kept = np.linspace(0, n - 1, min(_REPETITIONS, n)).round().astype(int)
            return replace(sweep, spikes=tuple(sweep.spikes[k] for k in kept))

        return Recording(tuple(some(s) for s in self._coarse(2 * _STEP).sweeps))

    def _coarse(self, step: float) -> Recording:
        if "voltage" in self.weights:
            return self.recording
        sweeps = (s.coarse(max(1, int(step / s.dt * (1 + 1e-9)))) for s in self.recording.sweeps)
        return Recording(tuple(replace(s, voltage=None) for s in sweeps))

    def objective(
        self,
        recording: Recording,
        n: int,
        *,
        space: Space | None = None,
        weights: Mapping[str, float] | None = None,
        fixed: Mapping[str, float] | None = None,
        tau: float | None = None,
        noise: Noise | None = None,
        shifted: bool = False,
        delay: float | None = None,
    ) -> Objective:
        """Losses of candidates; what is not given is the task's own."""
        settings = self.settings if tau is None else replace(self.settings, tau=tau)
        return Objective(
            self.model, recording, space or self.space, self.fixed if fixed is None else fixed,
            self.weights if weights is None else weights, input=self.input, n=n, settings=settings,
            target=self.target, noise=noise, shifted=shifted, delay=delay,
        )  # fmt: skip
