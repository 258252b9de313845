"""Where the shared arrays of an engine lie in its file, and the description that the program reads at its start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...events.plan import EnginePlan, GroupPlan
from ...events.schema import Array, Capacity, Entries, arrays, is_sparse, padded

__all__ = ["ALIGNMENT", "Layout", "Ways", "describe"]

ALIGNMENT = 64  # bytes


class Ways(NamedTuple):
    """How the program goes about it, which changes cost, never results.

    Attributes
    ----------
    threads : int
    scatter : bool or None
        Whether arrivals are scattered where they may be (see runtime/sparse.h); where it pays if None.
    sweep : bool
        Whether populations without feedback are swept where they may be (see runtime/sweep.h).
    """

    threads: int = 1
    scatter: bool | None = None
    sweep: bool = True


@dataclass(frozen=True)
class Layout:
    """Places of all arrays in one file, after the numbers that describe the network.

    Attributes
    ----------
    description : int64 array
    places : mapping of str to (int, Array)
        Offset in bytes of every array.
    size : int
        Length of the file in bytes.
    """

    description: np.ndarray
    places: Mapping[str, tuple[int, Array]]
    size: int

    @classmethod
    def of(
        cls,
        plan: EnginePlan,
        capacity: Capacity,
        entries: Mapping[int, Entries],
        models: Sequence[int],
        ways: Ways,
    ) -> Layout:
        """The layout of a plan.

        Parameters
        ----------
        plan : EnginePlan
        capacity : Capacity
        entries : mapping of int to Entries
            As for `arrays`.
        models : sequence of int
            Number of the model of every group of the plan, among those that the program has.
        ways : Ways
        """
        declared = {a.key: a for a in arrays(plan, capacity, entries)}
        words = describe(plan, capacity, declared, models, ways)
        places: dict[str, tuple[int, Array]] = {}
        end = _aligned(8 * len(words))
        for a in declared.values():
            places[a.key] = (end, a)
            end += _aligned(a.nbytes)
        numbers = [w if isinstance(w, int) else places[w.key][0] if w.nbytes else -1 for w in words]
        return cls(np.array(numbers, dtype=np.int64), places, max(end, 4096))

    def views(self, memory: np.ndarray) -> dict[str, np.ndarray]:
        """Write the description into shared memory and return every array as a view of it."""
        memory[: self.description.nbytes] = self.description.view(np.uint8)
        return {
            key: memory[offset : offset + a.nbytes].view(np.dtype(a.dtype)).reshape(a.shape)
            for key, (offset, a) in self.places.items()
        }


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def describe(
    plan: EnginePlan,
    capacity: Capacity,
    declared: Mapping[str, Array],
    models: Sequence[int],
    ways: Ways,
) -> list[int | Array]:
    """What ``Program::layout`` reads, in its order: numbers, and arrays for which their places are to stand.

    Parameters
    ----------
    plan : EnginePlan
    capacity : Capacity
    declared : mapping of str to Array
        All arrays of the plan, by key.
    models, ways
        As for `Layout.of`.
    """
    out: list[int | Array] = []

    def place(key: str) -> None:
        out.append(declared[key])

    for key in ("batch", "results", "reals"):
        place(key)
    watched = plan.maxima
    state = 0 if watched is None else plan.state(watched)
    out += [int(watched is not None), plan.readout.index, state, int(plan.input_gradients)]
    out += [-1 if ways.scatter is None else int(ways.scatter), int(ways.sweep), ways.threads]
    for key in ("maxima", "maxima_error"):
        place(key)
    out.append(len(plan.samples))
    for k, seen in enumerate(plan.samples):
        out += [plan.place(seen), plan.state(seen), declared[f"samples{k}.times"].shape[0]]
        for key in ("times", "value", "error"):
            place(f"samples{k}.{key}")
    out.append(len(plan.network.inputs))
    for k, source in enumerate(plan.network.inputs):
        out.append(source.n)
        place(f"input{k}.times")
        place(f"input{k}.gradient")

    def states(p: GroupPlan, model: int) -> None:
        out.extend([model, p.n, padded(p.n), len(p.rules.parameters)])
        for k in range(len(p.rules.parameters)):
            place(f"{p.key}.p{k}")
        place(f"{p.key}.initial")
        out.append(len(p.rules.learnable))
        for k in range(len(p.rules.learnable)):
            place(f"{p.key}.g{k}")

    out.append(len(plan.populations))
    for p in plan.populations:
        states(p, models[p.index])
        for key in ("bounds", "peak_bounds", "times", "cotangent"):
            place(f"{p.key}.{key}")
        out.append(capacity.spikes[p.index])
    out.append(len(plan.sources))
    for s in plan.sources:
        states(s, models[len(plan.populations) + s.index])
    out.append(len(plan.projections))
    for q in plan.projections:
        name, rows = f"projection{q.index}", np.shape(q.projection.weights)
        delayed = np.ndim(q.projection.delay) > 0
        # nobody asks when spikes of an input arrive where neither their times nor their delay are differentiated by
        learnable = "delay" in q.projection.learnable
        timed = plan.input_gradients or q.source >= len(plan.network.inputs) or learnable
        out += [q.source, q.target, q.receptor, q.sources, int(is_sparse(q)), int(delayed), int(timed), int(learnable)]
        out += [rows[0], padded(rows[1])]
        for key in ("w", "gw", "delay", "gdelay", "first", "neuron"):
            place(f"{name}.{key}")
    out.append(len(plan.components))
    for c in plan.components:
        out += [len(c.populations), *c.populations, len(c.incoming), *c.incoming]
    out.append(len(plan.drives))
    for d in plan.drives:
        deciding = plan.populations[d.population].rules.deciding[d.input]
        out += [d.population, d.input if deciding else -1, d.state, d.times.size]
        for key in ("times", "jumps", "values", "slopes", "gvalues", "gslopes"):
            place(f"drive{d.index}.{key}")
    for key in ("sizes", "targets", "predictions", "numbers", "corrections", "results"):
        place(f"queue.{key}")
    for k in range(len(plan.network.inputs)):
        place(f"queue.input{k}")
    for q in plan.projections:
        place(f"projection{q.index}.mean")
        place(f"projection{q.index}.square")
    return out
