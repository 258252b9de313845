"""The last steps of a fit, on exact gradients, and how the loss bends where they end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .coincidence import WINDOW, coincidences
from .objective import Objective
from .search import Polished, curvature, polish, polish_spikes
from .task import Task
from .terms import grouped

__all__ = ["Bends", "polished"]

Array = np.ndarray


@dataclass(frozen=True)
class Bends:
    """A loss, its derivatives by the place, and of how many data it is a mean.

    Attributes
    ----------
    loss : float
    slope : array, shape (parameters,)
    hessian : array, shape (parameters, parameters)
    count : int
    odd : int
        Spikes, of the model and recorded ones, without counterpart within the window; they are not in the loss.
    """

    loss: float
    slope: Array
    hessian: Array
    count: int
    odd: int = 0


def polished(task: Task, place: Array, loss: float, steps: int) -> tuple[Polished, Bends, int, int]:
    """The polished place, how the loss bends there, the size of the data, and simulations.

    Parameters
    ----------
    task : Task
    place : array, shape (parameters,)
    loss : float
        There.
    steps : int
        At most; 0 for none.
    """
    others = {name: weight for name, weight in task.weights.items() if name != "spikes"}
    found = Polished(place, loss, 0, "not polished")
    with task.objective(task.recording, max(2 * len(task.space), 16)) as objective:

        def sloped(places: Array) -> tuple[Array, Array]:
            losses, slopes = objective(places, gradient=True)
            assert slopes is not None
            return losses, slopes

        if steps and not others and _all_found(task, objective, place):
            counts = lambda x: np.array([len(t) for trains in objective.spike_trains(x) for t in trains])  # noqa: E731
            new = polish_spikes(objective.spike_residuals, counts, place, steps)
            new = new._replace(loss=float(objective(new.place[None])[0][0]))
            # a kernel has a kink where spikes meet: the mean square tells better which is nearer
            off, before = (objective.spike_residuals(x)[0] for x in (new.place, place))
            found = new if np.mean(off**2) < np.mean(before**2) and np.isfinite(new.loss) else found
        elif steps:
            new = polish(sloped, place, steps)
            found = new if new.loss < loss else found
        bends = Bends(0.0, np.zeros(len(place)), np.zeros((len(place), len(place))), 0)
        if "spikes" in task.weights:
            off, slopes = objective.spike_residuals(found.place)
            n = len(off)
            if n:
                bends = Bends(
                    float(np.mean(off**2)), 2 * slopes.T @ off / n, 2 * slopes.T @ slopes / n, n,
                    _odd(task, objective, found.place),
                )  # fmt: skip
        elif others:
            losses, slopes = sloped(found.place[None])
            bends = Bends(float(losses[0]), slopes[0], curvature(sloped, found.place), objective.count)
        return found, bends, objective.count, objective.simulations


def _odd(task: Task, objective: Objective, place: Array) -> int:
    """Spikes of the model and recorded ones that coincide with none of the other, where one repetition was recorded."""
    odd = 0
    # both go by the length of the sweeps, of one length in their order
    sweeps = [sweep for group in grouped(task.recording.sweeps) for sweep in group.sweeps]
    for sweep, (train,) in zip(sweeps, objective.spike_trains(place), strict=True):
        if len(sweep.spikes) == 1:
            both = coincidences(train, sweep.spikes[0], WINDOW)
            odd += len(train) + len(sweep.spikes[0]) - 2 * both
    return odd


def _all_found(task: Task, objective: Objective, place: Array) -> bool:
    """Whether a candidate has every recorded spike, of one repetition, and no other."""
    sweeps = task.recording.sweeps
    if any(len(s.spikes) != 1 for s in sweeps):
        return False
    off, _ = objective.spike_residuals(place)
    recorded = sum(len(s.spikes[0]) for s in sweeps)
    return len(off) == recorded == sum(len(t) for trains in objective.spike_trains(place) for t in trains)
