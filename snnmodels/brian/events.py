"""How spikes are laid out in the arrays of an assembly: places per neuron (portable) or a list by step (compiled)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from .inputs import Scheduled
from .plan import Plan

__all__ = ["EventLayout", "ListLayout", "SlotLayout"]

Read = Callable[[str], np.ndarray]
Write = Callable[[str, np.ndarray], None]


class EventLayout(ABC):
    """Writes input spikes and the loss's derivatives, reads spike times and the derivatives by input times."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @abstractmethod
    def write_input(self, write: Write, name: str, spikes: Scheduled) -> None:
        """Write input spikes."""

    @abstractmethod
    def spike_times(self, read: Read, name: str) -> np.ndarray:
        """Spike times of a population, (batch_size, n, spikes), padded with ``inf``."""

    @abstractmethod
    def spikes_per_trial(self, read: Read, name: str, trials: int) -> float:
        """Mean number of spikes of a population in the first trials."""

    @abstractmethod
    def write_loss(self, read: Read, write: Write, name: str, gradient: np.ndarray) -> None:
        """Write dL/dt of the spikes that `spike_times` gave last, (trials, n, spikes), 0 at the padding."""

    @abstractmethod
    def input_gradient(self, read: Read, name: str, spikes: Scheduled) -> np.ndarray:
        """dL/dt of the input's spikes, (trials, n, spikes), 0 at the padding."""


class SlotLayout(EventLayout):
    """A sentinel, then places for each neuron's spikes."""

    def write_input(self, write: Write, name: str, spikes: Scheduled) -> None:
        """Write input spikes; see `EventLayout`."""
        trials, n, longest = spikes.shape
        shape = (self.plan.batch_size, n, self.plan.input_spikes + 2)
        table, after = np.full(shape, -1, dtype=np.int32), np.zeros(shape)
        table[:trials, :, 1 : 1 + longest] = spikes.fill(spikes.step + 1) - 1
        after[:trials, :, 1 : 1 + longest] = spikes.fill(spikes.offset)
        write(f"{name}.ev_step", table.ravel())
        write(f"{name}.ev_s", after.ravel())

    def _table(self, read: Read, key: str, n: int, places: int) -> np.ndarray:
        return read(key).reshape(self.plan.batch_size, n, places)[:, :, 1:]

    def spike_times(self, read: Read, name: str) -> np.ndarray:
        """Spike times; see `EventLayout`."""
        p = self.plan
        step, within = (self._table(read, f"{name}.{k}", p.size(name), p.max_spikes + 1) for k in ("ev_step", "ev_r"))
        longest = max(int((step >= 0).sum(axis=2).max(initial=0)), 1)
        return np.where(step >= 0, step * p.dt + within, np.inf)[:, :, :longest]

    def spikes_per_trial(self, read: Read, name: str, trials: int) -> float:
        """Spike count; see `EventLayout`."""
        n = self.plan.size(name)
        slot = read(f"{name}.ev_slot")[: trials * n].astype(np.int64)
        return float((slot - 1 - (self.plan.max_spikes + 1) * np.arange(slot.size)).sum() / trials)

    def write_loss(self, read: Read, write: Write, name: str, gradient: np.ndarray) -> None:
        """Write dL/dt; see `EventLayout`."""
        trials, n, spikes = gradient.shape
        table = np.zeros((self.plan.batch_size, n, self.plan.max_spikes + 1))
        table[:trials, :, 1 : 1 + spikes] = gradient
        write(f"{name}.ev_dl", table.ravel())

    def input_gradient(self, read: Read, name: str, spikes: Scheduled) -> np.ndarray:
        """dL/dt of input spikes; see `EventLayout`."""
        trials, n, longest = spikes.shape
        grad = self._table(read, f"{name}.ev_grad", n, self.plan.input_spikes + 2)[:trials, :, :longest]
        return spikes.fill(grad.reshape(-1)[spikes.place])


class ListLayout(EventLayout):
    """All spikes of a source in the order of their steps, with the end of every step's part."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._order: dict[str, np.ndarray] = {}
        self._read: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = {}

    def write_input(self, write: Write, name: str, spikes: Scheduled) -> None:
        """Write input spikes; see `EventLayout`."""
        # NumPy sorts numbers of 16 bits by their digits, many times faster than others
        narrow = spikes.step.astype(np.uint16) if self.plan.steps <= 65536 else spikes.step
        order = np.argsort(narrow, kind="stable")
        self._order[name] = order
        write(f"{name}.ev_neuron", spikes.place[order] // spikes.shape[2])
        write(f"{name}.ev_s", spikes.offset[order])
        ends = np.zeros(self.plan.steps + 1, dtype=np.int64)
        np.cumsum(np.bincount(spikes.step, minlength=self.plan.steps), out=ends[1:])
        write(f"{name}.ev_end", ends)

    def _entries(self, read: Read, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Order by neuron, neuron, place within the neuron's spikes, number of spikes per neuron."""
        count = int(read(f"{name}.ev_end")[-1])
        neuron = read(f"{name}.ev_neuron")[:count]
        order = np.argsort(neuron, kind="stable")
        per_neuron = np.bincount(neuron, minlength=self.plan.batch_size * self.plan.size(name))
        place = np.arange(count) - np.repeat(np.cumsum(per_neuron) - per_neuron, per_neuron)
        return order, neuron[order], place, per_neuron

    def spike_times(self, read: Read, name: str) -> np.ndarray:
        """Spike times; see `EventLayout`."""
        self._read[name] = order, neuron, place, per_neuron = self._entries(read, name)
        step = np.repeat(np.arange(self.plan.steps), np.diff(read(f"{name}.ev_end")))
        times = np.full((per_neuron.size, max(int(per_neuron.max(initial=0)), 1)), np.inf)
        times[neuron, place] = (step * self.plan.dt + read(f"{name}.ev_r")[: order.size])[order]
        return times.reshape(self.plan.batch_size, self.plan.size(name), -1)

    def spikes_per_trial(self, read: Read, name: str, trials: int) -> float:
        """Spike count; see `EventLayout`."""
        count = int(read(f"{name}.ev_end")[-1])
        if trials == self.plan.batch_size:
            return count / trials
        return float(np.count_nonzero(read(f"{name}.ev_neuron")[:count] < trials * self.plan.size(name)) / trials)

    def write_loss(self, read: Read, write: Write, name: str, gradient: np.ndarray) -> None:
        """Write dL/dt; see `EventLayout`."""
        order, neuron, place, per_neuron = self._read[name]  # the spikes that the loss has seen
        full = np.zeros((per_neuron.size, max(int(per_neuron.max(initial=0)), 1, gradient.shape[2])))
        trials, n, spikes = gradient.shape
        full[: trials * n, :spikes] = gradient.reshape(trials * n, spikes)
        values = np.empty(order.size)
        values[order] = full[neuron, place]
        write(f"{name}.ev_dl", values)

    def input_gradient(self, read: Read, name: str, spikes: Scheduled) -> np.ndarray:
        """dL/dt of input spikes; see `EventLayout`."""
        order = self._order[name]
        grad = np.empty(order.size)
        grad[order] = read(f"{name}.ev_grad")[: order.size]
        return spikes.fill(grad)
