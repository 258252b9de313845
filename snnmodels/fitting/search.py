"""Search for the best of many candidates by differential evolution that can be interrupted, and its polish."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import Bounds, minimize

__all__ = ["Evolution", "Losses", "Polished", "curvature", "evolve", "polish", "polish_spikes"]

Array = np.ndarray
Losses = Callable[[Array, Array], Array]
"""Losses of places ``(candidates, parameters)``; one that is surely not below its limit, which is given, may be inf."""
Sloped = Callable[[Array], tuple[Array, Array]]

_STEP = 1e-4  # of the unit cube, between gradients whose differences are second derivatives
_EDGE = 1e-6


class Evolution:
    """Differential evolution of a population in the unit cube, every generation in one call.

    With the chance `greed` a candidate is drawn towards one of the best tenth ("current to pbest", Zhang & Sanderson
    2009, IEEE Trans. Evol. Comput. 13:945), else it starts at a random one ("rand/1", Storn & Price 1997, J. Glob.
    Optim. 11:341); nine of ten coordinates are taken over. What leaves the cube is put half-way between its parent and
    the wall.

    Parameters
    ----------
    objective : callable
        See `Losses`.
    places : array, shape (candidates, parameters)
        To begin with.
    seed : int, sequence of int or Generator
        A generator is drawn from as it is.
    greed : float

    Attributes
    ----------
    places : array, shape (candidates, parameters)
    losses : array, shape (candidates,)
    generation : int
        Complete ones.
    """

    def __init__(self, objective: Losses, places: Array, seed: Any, greed: float = 0.8) -> None:
        self.objective, self.greed = objective, greed
        self.rng = np.random.default_rng(seed)
        self.places, self.losses, self.generation = places.copy(), np.empty(0), 0

    def begin(self) -> None:
        """Find the losses of the first population."""
        self.losses = self.objective(self.places, np.full(len(self.places), np.inf))

    def step(self) -> None:
        """One generation; nothing changes before it is complete."""
        state = self.rng.bit_generator.state
        try:
            x, losses, rng = self.places.copy(), self.losses.copy(), self.rng
            n, dimensions = x.shape
            best = x[np.argsort(losses)[: max(2, n // 10)]]
            a, b, c = (x[rng.integers(0, n, n)] for _ in range(3))
            scale = rng.uniform(0.3, 0.9, (n, 1))
            drawn = x + scale * (best[rng.integers(0, len(best), n)] - x)
            trial = np.where(rng.random((n, 1)) < self.greed, drawn, c) + scale * (a - b)
            trial = np.where(rng.random((n, dimensions)) < 0.9, trial, x)
            trial = np.where(trial < 0, x / 2, np.where(trial > 1, (1 + x) / 2, trial))
            found = self.objective(trial, losses)
        except BaseException:
            self.rng.bit_generator.state = state  # so that the generation is the same when it is tried again
            raise
        better = found < losses
        x[better], losses[better] = trial[better], found[better]
        self.places, self.losses, self.generation = x, losses, self.generation + 1

    @property
    def best(self) -> tuple[Array, float]:
        """Place and loss of the best."""
        k = int(np.argmin(self.losses))
        return self.places[k], float(self.losses[k])

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to keep."""
        return {
            "places": self.places, "losses": self.losses, "generation": self.generation,
            "random": self.rng.bit_generator.state,
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.places, self.losses = np.array(state["places"]), np.array(state["losses"])
        self.generation = int(state["generation"])
        self.rng.bit_generator.state = state["random"]


def evolve(
    objective: Losses, places: Array, generations: int, rng: np.random.Generator, greed: float = 0.8
) -> tuple[Array, Array]:
    """An `Evolution` of so many generations: places and losses of the last population."""
    evolution = Evolution(objective, places, rng, greed)
    evolution.begin()
    for _ in range(generations):
        evolution.step()
    return evolution.places, evolution.losses


class Polished(NamedTuple):
    """Where a polish has ended."""

    place: Array
    loss: float
    steps: int
    why: str


def curvature(sloped: Sloped, place: Array, step: float = _STEP) -> Array:
    """Second derivatives by the place: central differences of exact gradients, all in one pass.

    Parameters
    ----------
    sloped : callable
        Losses and gradients of places ``(candidates, parameters)``.
    place : array, shape (parameters,)
    step : float
        Of the unit cube.

    Returns
    -------
    array, shape (parameters, parameters)
        Symmetric.
    """
    k = len(place)
    ahead, behind = (np.clip(place + s * step * np.eye(k), 0, 1) for s in (1, -1))
    slopes = sloped(np.vstack([ahead, behind]))[1]
    width = (ahead - behind)[np.arange(k), np.arange(k)]
    hessian = (slopes[:k] - slopes[k:]) / width[:, None]
    return (hessian + hessian.T) / 2


def polish_spikes(
    residuals: Callable[[Array], tuple[Array, Array]], counts: Callable[[Array], Array], place: Array, steps: int = 40
) -> Polished:
    """Gauss-Newton steps on the deviations of spikes, for a candidate that has every recorded spike and no other.

    Spikes that cross the threshold slowly move a hundred times as far as others, and would rule all steps: their rows
    are scaled down to ten times the median. Steps at which a spike appears or vanishes are rejected.

    Parameters
    ----------
    residuals : callable
        Deviations of a place and their derivatives, as `Objective.spike_residuals`.
    counts : callable
        Numbers of spikes of a place.
    place : array, shape (parameters,)
    steps : int
        At most.
    """
    from scipy.optimize import least_squares

    place = np.clip(place, _EDGE, 1 - _EDGE)
    expected = counts(place)
    off, rows = residuals(place)
    size = np.linalg.norm(rows, axis=1)
    weights = np.minimum(1.0, 10 * np.median(size) / np.maximum(size, 1e-300)) / 1e-3
    kept: dict[bytes, tuple[Array, Array]] = {}

    def at(x: Array) -> tuple[Array, Array]:
        key = x.tobytes()
        if key not in kept:
            kept.clear()
            found = residuals(x)
            same = len(found[0]) == len(off) and np.array_equal(counts(x), expected)
            kept[key] = found if same else (np.full(len(off), 1.0), np.zeros(rows.shape))
        return kept[key]

    result = least_squares(
        lambda x: at(x)[0] * weights, place, jac=lambda x: at(x)[1] * weights[:, None], bounds=(0, 1),
        method="trf", x_scale="jac", max_nfev=steps, ftol=1e-15, xtol=1e-14, gtol=1e-15,
    )  # fmt: skip
    return Polished(result.x, float(np.mean(at(result.x)[0] ** 2)), int(result.nfev), str(result.message))


def polish(sloped: Sloped, place: Array, steps: int = 60) -> Polished:
    """Trust-region steps on exact gradients, with second derivatives by their differences, within the unit cube.

    A loss on spike times jumps where a spike appears or vanishes. What such a step promises is not what it gives, and
    the region shrinks; of all places the best is kept.

    Parameters
    ----------
    sloped : callable
        As for `curvature`.
    place : array, shape (parameters,)
    steps : int
        At most.
    """
    best = [np.clip(place, _EDGE, 1 - _EDGE), np.inf]

    def value(x: Array) -> tuple[float, Array]:
        losses, slopes = sloped(np.clip(x, 0, 1)[None])
        if not np.isfinite(losses[0]):
            return 1e6, np.zeros(len(x))
        if losses[0] < best[1]:
            best[:] = [np.clip(x, 0, 1).copy(), float(losses[0])]
        return float(losses[0]), slopes[0]

    result = minimize(
        value, best[0], jac=True, hess=lambda x: curvature(sloped, np.clip(x, 0, 1)), method="trust-constr",
        bounds=Bounds(np.zeros(len(place)), np.ones(len(place)), keep_feasible=True),
        options={"maxiter": steps, "gtol": 1e-10, "xtol": 1e-12, "initial_tr_radius": 0.01},
    )  # fmt: skip
    return Polished(best[0], best[1], int(result.nit), str(result.message))
