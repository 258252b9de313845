"""Copies of a network side by side in one simulation, each with values of its own.

Weights and shared parameters are the same for all trials of a batch. Where many slightly different networks are to be
run (differences of a loss, a search for weights), Brian2's runtime would pay its overhead once for each. As one
network without connections between the copies it pays once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from ..templates.network import Network, Population, Projection
from .protocol import Loss, LossValue, Observable

__all__ = ["Nothing", "copies_of", "divided", "side_by_side"]


def copies_of(networks: Sequence[Network]) -> Network:
    """One network made of several that differ only in the numbers of weights and parameters.

    Source or neuron i of copy c has the index ``c*n + i``. Parameters that are learnable get a value per neuron; in the
    result none is.
    """
    first, count = networks[0], len(networks)
    populations = []
    for k, p in enumerate(first.populations):
        values: dict[str, float | np.ndarray] = {}
        for name in p.model.parameters:
            each = [network.populations[k].value(name) for network in networks]
            if name in p.learnable or np.ndim(each[0]):
                values[name] = np.concatenate([np.broadcast_to(v, p.n) for v in each])
            else:
                values[name] = each[0]
        populations.append(Population(p.name, p.n * count, p.model, values))
    projections = []
    for k, q in enumerate(first.projections):
        mask = np.ones(np.shape(q.weights), dtype=bool) if q.mask is None else q.mask
        projections.append(
            Projection(
                *(q.name, q.source, q.target),
                blocks([network.projections[k].weights for network in networks]),
                q.receptor,
                blocks([mask] * count),
                delay=_delays([network.projections[k].delay for network in networks], np.shape(q.weights)),
            )
        )
    inputs = tuple(dataclasses.replace(s, n=s.n * count) for s in first.inputs)
    return Network(first.name, inputs, tuple(populations), tuple(projections), first.output, first.duration)


def _delays(each: Sequence[float | np.ndarray], shape: tuple[int, ...]) -> float | np.ndarray:
    """One delay where all copies have the same one, else one for each connection."""
    if all(np.ndim(d) == 0 and d == each[0] for d in each):
        return each[0]
    return blocks([np.broadcast_to(d, shape) for d in each])


def blocks(matrices: Sequence[np.ndarray]) -> np.ndarray:
    """Matrices of one shape along the diagonal of a larger one."""
    n, m = np.shape(matrices[0])
    result = np.zeros((n * len(matrices), m * len(matrices)), dtype=np.asarray(matrices[0]).dtype)
    for c, matrix in enumerate(matrices):
        result[c * n : (c + 1) * n, c * m : (c + 1) * m] = matrix
    return result


def side_by_side(inputs: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Spike times of the copies' inputs, each ``(trials, n, ...)``, as those of one network."""
    return {name: np.concatenate([i[name] for i in inputs], axis=1) for name in inputs[0]}


def divided(observed: np.ndarray, count: int) -> list[np.ndarray]:
    """What was observed of the output population, copy by copy."""
    return np.split(observed, count, axis=1)


class Nothing(Loss):
    """A loss that only observes: its value is 0."""

    observable: ClassVar[Observable] = "spike_times"

    def __init__(
        self, observable: Observable = "spike_times", variable: str = "v", interval: float = Loss.interval
    ) -> None:
        self.observable = observable  # type: ignore[misc]
        self.variable = variable
        self.interval = interval

    def evaluate(self, observed: np.ndarray, targets: np.ndarray) -> LossValue:
        """Return 0, with derivatives of 0."""
        return LossValue(0.0, np.zeros_like(observed))
