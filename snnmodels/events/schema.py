"""The arrays that an engine shares with its caller, each declared once.

Everything that has to agree about an array derives from here: where it lies, how large it is, under which key it is
read and written. Keys are made from numbers, so no name of a user's can meet another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from .bounds import LEVELS
from .plan import EnginePlan, ProjectionPlan

__all__ = ["Array", "Capacity", "Entries", "Room", "arrays", "entries_of", "is_sparse", "padded", "reals"]

LANES = 8


class Room(int):
    """A size that a batch decides, and the least that there is room for now; it goes by a name.

    Parameters
    ----------
    least : int
    name : str
    """

    name: str

    def __new__(cls, least: int, name: str) -> Room:
        """An integer with a name."""
        made = super().__new__(cls, least)
        made.name = name
        return made


@dataclass(frozen=True)
class Array:
    """An array of the given shape; `key` is unique."""

    key: str
    shape: tuple[int, ...]
    dtype: str = "f8"

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Capacity:
    """What a batch may need at most; a larger batch makes the arrays anew.

    Attributes
    ----------
    trials : int
    inputs : tuple of int
        Spikes of one source of every input.
    spikes : tuple of int
        Spikes of one neuron of every population.
    drives : tuple of int
        Trials that each driven input has values for: 1 where all share them.
    queued, batches : int
        Trials, and batches, that wait to be trained on without a word in between.
    """

    trials: int
    inputs: tuple[int, ...]
    spikes: tuple[int, ...]
    drives: tuple[int, ...] = ()
    queued: int = 0
    batches: int = 0


@dataclass(frozen=True)
class Entries:
    """A projection as rows of entries: of a masked one those that exist, and sorted by delay where delays differ.

    Attributes
    ----------
    first : int array, shape (n_source + 1,)
    neuron : int array, shape (entries,)
        Target of every entry.
    place : int array, shape (entries,)
        Its place in the flattened matrix.
    """

    first: np.ndarray
    neuron: np.ndarray
    place: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray | None, delay: np.ndarray, shape: tuple[int, int]) -> Entries:
        """The entries of a mask (all without one), of a row by delay, then target.

        Parameters
        ----------
        mask : bool array, shape (n_source, n_target), or None
        delay : array, shape () or (n_source, n_target)
        shape : tuple of int
            Of the projection, (n_source, n_target).
        """
        exists = np.ones(shape, dtype=bool) if mask is None else mask
        source, target = np.nonzero(exists)
        if delay.ndim:
            order = np.lexsort((target, delay[source, target], source))
            source, target = source[order], target[order]
        first = np.zeros(shape[0] + 1, dtype=np.int64)
        np.cumsum(np.bincount(source, minlength=shape[0]), out=first[1:])
        return cls(first, target.astype(np.int32), source * shape[1] + target)


def padded(n: int) -> int:
    """Length of a row of n values in whole vectors."""
    return -(-n // LANES) * LANES


def is_sparse(q: ProjectionPlan) -> bool:
    """Whether a projection is kept as entries, not as whole rows."""
    return q.projection.mask is not None or np.ndim(q.projection.delay) > 0


def entries_of(plan: EnginePlan) -> dict[int, Entries]:
    """The projections that are kept as entries, by place, with the delays of the network."""
    return {
        q.index: Entries.of(
            q.projection.mask, np.asarray(q.projection.delay, dtype=float), np.shape(q.projection.weights)
        )
        for q in plan.projections
        if is_sparse(q)
    }


def reals(plan: EnginePlan) -> tuple[float, ...]:
    """The numbers of a plan that are no integers, in the order in which a program reads them."""
    return plan.network.duration, plan.window, plan.tolerance, plan.max_spikes


def arrays(plan: EnginePlan, capacity: Capacity, entries: Mapping[int, Entries]) -> Iterator[Array]:
    """All arrays of a plan, in order.

    Parameters
    ----------
    plan : EnginePlan
    capacity : Capacity
    entries : mapping of int to Entries
        Of the projections that are kept as entries, by place.

    Yields
    ------
    Array
    """
    trials = capacity.trials
    yield Array("batch", (2 + len(plan.network.inputs) + len(plan.drives),), "i8")
    yield Array("results", (2 + 2 * len(plan.populations),))
    yield Array("reals", (len(reals(plan)),))
    n_out = plan.readout.population.n
    for key in ("maxima", "maxima_error"):
        yield Array(key, (trials, n_out) if plan.maxima is not None else (0,))
    for k, seen in enumerate(plan.samples):
        times, n = seen.times(plan.network.duration).size, plan.populations[plan.place(seen)].population.n
        yield Array(f"samples{k}.times", (times,))
        for key in ("value", "error"):
            yield Array(f"samples{k}.{key}", (trials, n, times))
    for k, source in enumerate(plan.network.inputs):
        yield Array(f"input{k}.times", (trials, source.n, capacity.inputs[k]))
        yield Array(f"input{k}.gradient", (trials, source.n, capacity.inputs[k]))
    for g in plan.groups:
        width = padded(g.n)
        for k, per_neuron in enumerate(g.rules.per_neuron):
            yield Array(f"{g.key}.p{k}", (width,) if per_neuron else (1,))
        yield Array(f"{g.key}.initial", (len(g.rules.states), width))
        for k in range(len(g.rules.learnable)):
            yield Array(f"{g.key}.g{k}", (width,))
    for p in plan.populations:
        name, width, states = p.key, padded(p.n), len(p.rules.states)
        table = (LEVELS, 4, states) if p.rules.shared else (LEVELS, 4, states, width)
        yield Array(f"{name}.bounds", table if p.rules.spiking and p.rules.linear else (0,))
        yield Array(f"{name}.peak_bounds", table if p.rules.observed is not None and p.rules.linear else (0,))
        spikes = (trials, p.n, capacity.spikes[p.index]) if p.rules.spiking else (0,)
        yield Array(f"{name}.times", spikes)
        yield Array(f"{name}.cotangent", spikes if p.index in plan.spikes else (0,))
    for d in plan.drives:
        name, given = f"drive{d.index}", (capacity.drives[d.index], d.times.size, d.n)
        wanted = (trials if d.wanted else 0, d.times.size, d.n)
        for key in ("times", "jumps"):
            yield Array(f"{name}.{key}", (d.times.size,))
        yield Array(f"{name}.values", given)
        yield Array(f"{name}.slopes", given if d.linear else (0,))
        yield Array(f"{name}.gvalues", wanted)
        yield Array(f"{name}.gslopes", wanted if d.linear else (0,))
    for q in plan.projections:
        name, shape = f"projection{q.index}", np.shape(q.projection.weights)
        found = entries.get(q.index)
        size = (found.neuron.size,) if found is not None else (shape[0], padded(shape[1]))
        yield Array(f"{name}.w", size)
        yield Array(f"{name}.gw", size)
        delay = size if np.ndim(q.projection.delay) else (1,)
        yield Array(f"{name}.delay", delay)
        yield Array(f"{name}.gdelay", delay)
        yield Array(f"{name}.first", (shape[0] + 1,) if found is not None else (0,), "i8")
        yield Array(f"{name}.neuron", size if found is not None else (0,), "i4")
    queued, batches = capacity.queued, capacity.batches
    yield Array("queue.sizes", (batches,), "i8")
    for key in ("queue.targets", "queue.predictions"):
        yield Array(key, (queued,), "i8")
    yield Array("queue.numbers", (8 + len(plan.projections) if batches else 0,))
    yield Array("queue.corrections", (batches, 2))
    yield Array("queue.results", (batches, 3 + len(plan.populations)))
    for k, source in enumerate(plan.network.inputs):
        yield Array(f"queue.input{k}", (queued, source.n, capacity.inputs[k]))
    for q in plan.projections:
        name, shape = f"projection{q.index}", np.shape(q.projection.weights)
        found = entries.get(q.index)
        size = (found.neuron.size,) if found is not None else (shape[0], padded(shape[1]))
        for moment in ("mean", "square"):
            yield Array(f"{name}.{moment}", size if batches and "w" in q.projection.learnable else (0,))
