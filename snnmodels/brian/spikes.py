"""Spikes of a batch as the arrays of an assembly hold them: a table with a row of places for every neuron."""

from __future__ import annotations

import numpy as np

from .inputs import Scheduled
from .plan import Plan
from .session import Session

__all__ = ["SpikeTables"]


class SpikeTables:
    """Writes input spikes and the loss's derivatives, reads spike times and the derivatives by input times.

    Each row begins with a place that is never filled, where the walk backward through a neuron's spikes ends.
    """

    def __init__(self, plan: Plan, session: Session) -> None:
        self._plan, self._session = plan, session

    def write_input(self, name: str, spikes: Scheduled) -> None:
        """Write the spikes of an input.

        Parameters
        ----------
        name : str
            Of the input.
        spikes : Scheduled
            Of at most as many trials as a batch has; the others get none.
        """
        trials, n, longest = spikes.shape
        shape = (self._plan.batch_size, n, self._plan.input_spikes + 2)
        step, offset = np.full(shape, -1, dtype=np.int32), np.zeros(shape)
        step[:trials, :, 1 : 1 + longest] = spikes.fill(spikes.step + 1) - 1
        offset[:trials, :, 1 : 1 + longest] = spikes.fill(spikes.offset)
        self._session.write(f"{name}.ev_step", step)
        self._session.write(f"{name}.ev_s", offset)

    def _read(self, key: str, n: int, places: int) -> np.ndarray:
        return self._session.read(key).reshape(self._plan.batch_size, n, places)[:, :, 1:]

    def times(self, name: str) -> np.ndarray:
        """Spike times of a population, (batch_size, n, spikes), padded with ``inf``."""
        n, places = self._plan.size(name), self._plan.max_spikes + 1
        step, within = (self._read(f"{name}.{k}", n, places) for k in ("ev_step", "ev_r"))
        longest = max(int((step >= 0).sum(axis=2).max(initial=0)), 1)
        return np.where(step >= 0, step * self._plan.dt + within, np.inf)[:, :, :longest]

    def per_trial(self, name: str, trials: int) -> float:
        """Mean number of spikes of a population in the first trials.

        Parameters
        ----------
        name : str
            Of the population.
        trials : int
            How many of the batch count.
        """
        n, places = self._plan.size(name), self._plan.max_spikes + 1
        next_place = self._session.read(f"{name}.ev_slot")[: trials * n].astype(np.int64)
        return float((next_place - 1 - places * np.arange(trials * n)).sum() / trials)

    def write_loss(self, name: str, gradient: np.ndarray) -> None:
        """Write dL/dt of a population's spikes.

        Parameters
        ----------
        name : str
            Of the population.
        gradient : array, shape (trials, n, spikes)
            Per second, 0 at the padding.
        """
        trials, n, spikes = gradient.shape
        table = np.zeros((self._plan.batch_size, n, self._plan.max_spikes + 1))
        table[:trials, :, 1 : 1 + spikes] = gradient
        self._session.write(f"{name}.ev_dl", table)

    def input_gradient(self, name: str, spikes: Scheduled) -> np.ndarray:
        """dL/dt of the spikes of an input.

        Parameters
        ----------
        name : str
            Of the input.
        spikes : Scheduled
            As they were written.

        Returns
        -------
        array, shape (trials, n, spikes)
            Per second, 0 at the padding.
        """
        trials, n, longest = spikes.shape
        found = self._read(f"{name}.ev_grad", n, self._plan.input_spikes + 2)[:trials, :, :longest]
        return spikes.fill(found.reshape(-1)[spikes.place])
