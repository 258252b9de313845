"""The order in which a price on spikes switches neurons off: by what their spikes are worth to the loss."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..datasets.trials import Trials
from ..gradients.simulation import Simulation

__all__ = ["benefit_order"]

Array = np.ndarray


def benefit_order(
    simulation: Simulation,
    values: Mapping[str, Array],
    data: Trials,
    population: str,
    readout: str,
    at_once: int = 1,
) -> tuple[Array, Array]:
    """Neurons in the order in which the joint loss L + price * spikes keeps them on, as the price rises.

    Neuron i is worth its spikes as long as price * N_i is less than the loss dL_i that its absence costs, so the price
    at which it goes is dL_i/N_i. In a spike-coding network that is the square of its decoder norm (the nearest faces of
    the bounding box are those with d_i = sqrt(price)); here it is measured. Beginning with all neurons, those of the
    smallest dL_i/N_i are taken away, and the others measured again.

    Parameters
    ----------
    simulation : Simulation
        Of a network in which the population reaches nothing but the output. Its batch size is at least that of `data`.
    values : mapping of str to array
        Trained values.
    data : Trials
        On which the loss is measured.
    population : str
    readout : str
        Projection from the population to the output, by name.
    at_once : int
        Neurons taken away between two measurements.

    Returns
    -------
    order : int array, shape (n,)
        Indices of neurons, the one that stays longest first; those that never spike are last.
    worth : array, shape (n,)
        dL_i/N_i of each when it was taken away, in the order of `order`; 0 for those that never spike, NaN for the one
        that stays.
    """
    if at_once < 1:
        raise ValueError(f"at_once: expected a whole number from 1 up, got {at_once}")
    key = f"{readout}.w"
    inputs, targets = data.take(slice(None))
    weights = np.array(values[key])
    now = simulation.run(inputs, targets, values, gradient=False).loss
    counts = np.isfinite(simulation.spike_times(population)).sum(axis=2).mean(axis=0)
    on: list[int] = np.flatnonzero(counts > 0).tolist()
    gone: list[int] = np.flatnonzero(counts == 0).tolist()
    worth = [0.0] * len(gone)

    def without(neurons: list[int]) -> float:
        lesioned = weights.copy()
        lesioned[neurons] = 0
        return simulation.run(inputs, targets, {**values, key: lesioned}, gradient=False).loss

    while len(on) > 1:
        benefit = np.array([(without([*gone, i]) - now) / counts[i] for i in on])
        least = np.argsort(benefit, kind="stable")[: min(at_once, len(on) - 1)]
        worth += [float(benefit[k]) for k in least]
        gone += [on[k] for k in least]
        on = [i for k, i in enumerate(on) if k not in set(least.tolist())]
        now = without(gone)
    return np.array([*on, *gone[::-1]], dtype=int), np.array([*([np.nan] * len(on)), *worth[::-1]])
