"""States that live with the sources of a projection, followed from spike to spike, and backward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...events.engine import failure
from ...events.plan import EnginePlan, SourcePlan
from .neurons import Neurons
from .tape import Spikes

__all__ = ["Sources", "SourcesBack"]


@dataclass(frozen=True)
class _Sent:
    """A spike as the states of its source see it.

    Attributes
    ----------
    interval : float
        Seconds since the neuron's spike before, or since time 0.
    start, before : array, shape (n_states, 1)
        States just after the spike before, and just before this one.
    """

    interval: float
    start: np.ndarray
    before: np.ndarray


class Sources:
    """The states of a projection's sources in one trial, as far as they have been asked for.

    Nothing but a neuron's own spikes moves them, so that they need no place in the pieces of a component: a spike's
    amplitude is found when it is first wanted.

    Attributes
    ----------
    sent : list of _Sent
        Of every spike so far.
    """

    def __init__(self, plan: EnginePlan, own: SourcePlan, neurons: Neurons, spikes: Spikes) -> None:
        self.plan, self.own, self.neurons, self.spikes = plan, own, neurons, spikes
        self.x = neurons.initial()
        self.last = np.full(neurons.n, -1)
        self.sent: list[_Sent] = []
        self._amplitudes: list[float] = []

    def amplitude(self, spike: int) -> float:
        """What the weights of a spike are multiplied by.

        Parameters
        ----------
        spike : int
            Place in the train.
        """
        while len(self.sent) <= spike:
            self._send(len(self.sent))
        return self._amplitudes[spike]

    def _send(self, spike: int) -> None:
        n, j = self.neurons, self.spikes.neurons[spike]
        which, last = np.array([j]), int(self.last[j])
        interval = self.spikes.times[spike] - (self.spikes.times[last] if last >= 0 else 0.0)
        start = self.x[:, which].copy()
        before = n.flow.advance(start, np.array([interval]), which)
        self.x[:, which] = n("arrive0", *before, 1.0, which=which)
        self.last[j] = spike
        amplitude = float(self.x[-1, j])
        if not np.isfinite(amplitude):
            target = self.plan.projections[self.own.projection].target
            raise failure(self.plan, "amplitude", target, j, self.spikes.times[spike])
        self.sent.append(_Sent(interval, start, before))
        self._amplitudes.append(amplitude)


class SourcesBack:
    """The same trial backward: from derivatives by amplitudes to those by spike times and parameters.

    Parameters
    ----------
    forward : Sources
    sensitivities : array, shape (spikes,)
        Derivatives by the times of the source's spikes; added to.
    gradient : array, shape (n_learnable, n)
        Added to.
    """

    def __init__(self, forward: Sources, sensitivities: np.ndarray, gradient: np.ndarray) -> None:
        self.forward, self.sensitivities, self.gradient = forward, sensitivities, gradient
        self.costates = np.zeros(forward.x.shape)
        self.by_amplitude = np.zeros(len(forward.sent))
        self.left = len(forward.sent)  # spikes whose derivatives have not been handed on

    def settle(self, spikes: Sequence[int]) -> None:
        """Hand on what spikes, and all after them, give to times and parameters; all their arrivals must be done.

        Parameters
        ----------
        spikes : sequence of int
            Places in the train; those that never arrived give nothing.
        """
        for spike in range(self.left - 1, min(spikes, default=self.left) - 1, -1):
            self._send_back(spike)
            self.left = spike

    def finish(self) -> None:
        """Settle all spikes, and hand on what the states at time 0 give."""
        self.settle([0])
        self.gradient += self.forward.neurons("initial_back", *self.costates)

    def _send_back(self, spike: int) -> None:
        n, sent = self.forward.neurons, self.forward.sent[spike]
        which = np.array([self.forward.spikes.neurons[spike]])
        costates = self.costates[:, which]
        costates[-1] += self.by_amplitude[spike]
        if not costates.any():
            return
        back = n("arrive_back0", *sent.before, *costates, 1.0, which=which)
        # the interval before this spike and the one after it move with its time
        self.sensitivities[spike] += back[1, 0]
        self.gradient[:, which] += back[2 + n.n_states :]
        start, gradient = n.flow.back(sent.start, back[2 : 2 + n.n_states], np.array([sent.interval]), which)
        if gradient is not None:
            self.gradient[:, which] += gradient
        self.costates[:, which] = start
