"""The NumPy reference simulation: the derived rule, step by step, as short as it can be said."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from ..templates.arguments import check_choice, check_kind, check_seed
from .alarms import sound_alarms
from .factors import Recurrence
from .faults import check_after, check_before, check_number
from .network import CodingNetwork, Form
from .response import Response
from .signals import Signal
from .stepping import Population, make_voltages

__all__ = ["SpikesPerStep", "simulate"]

Array = np.ndarray
SpikesPerStep = Literal["winner", "sequential", "all"]


def simulate(
    network: CodingNetwork,
    signal: Signal,
    *,
    form: Form = "threshold",
    spikes: SpikesPerStep = "winner",
    recurrence: Recurrence | None = None,
    seed: int = 0,
) -> Response:
    """Simulate a coding network in NumPy.

    Parameters
    ----------
    network : CodingNetwork
    signal : Signal
    form : "threshold" or "weight"
        Whether the costs sit in the threshold or in the weights.
    spikes : "winner", "sequential" or "all"
        Who spikes in a step: the neuron furthest above its threshold; one after the other until nobody is above; or
        everybody who is above, which is wrong (all correct the same error at once) and is here to show it.
    recurrence : "dense", "low_rank" or None
        Whether a spike visits N voltages or M numbers that all of them read; None for the second where M < N. Spike
        trains are the same, but for decisions between neurons whose margins agree to rounding.
    seed : int
        Of the voltage noise.

    Returns
    -------
    Response

    Raises
    ------
    ValueError
        If signal and network don't fit, the weight form doesn't exist, no error satisfies all thresholds, or a
        threshold is not a number.

    Warns
    -----
    CodingWarning
        If nobody corrects errors in some direction, thresholds are negative or fall with activity, or one spike per
        step holds the network up.
    ExplosionWarning
        If the population spikes in nearly every step to undo its own spikes, as with too long a delay for the price.
    BudgetWarning
        If a homeostat ended at a bound.
    """
    check_kind("network", network, CodingNetwork, "a CodingNetwork")
    check_kind("signal", signal, Signal, "a Signal")
    check_choice("spikes", spikes, get_args(SpikesPerStep))
    check_choice("form", form, get_args(Form))
    check_seed(seed)
    check_before(network, signal)
    drive = network.drive(signal)
    chosen = network.chosen_recurrence(form, recurrence)
    voltages = make_voltages(network, signal.values[0], signal.dt, form, chosen)
    population = Population(network, signal, form, voltages, seed)
    worst_margin = np.empty(signal.steps) if spikes == "sequential" else None

    for k in range(signal.steps):
        population.advance(drive[k], k)
        now: list[int] = []
        margin = population.margin(k)
        if np.isnan(margin).any():
            check_number(network, margin, (k + 1) * signal.dt)
        if spikes == "all":
            now = np.flatnonzero(margin > 0).tolist()
        elif margin[best := int(np.argmax(margin))] > 0:
            now = [best]
        for j in now:
            population.spike(j, k)
        for j in population.arrivals(now):
            population.arrive(j)
        while spikes == "sequential":
            margin = population.margin(k)
            best = int(np.argmax(margin))
            if margin[best] <= 0:
                worst_margin[k] = margin[best]  # type: ignore[index]
                break
            population.spike(best, k)
            population.arrive(best)

    response = Response(
        network,
        signal,
        np.asarray(population.spike_steps, int),
        np.asarray(population.spike_neurons, int),
        population.controlled,
        worst_margin,
    )
    if spikes == "winner":
        check_after(response)
    if spikes != "all":
        sound_alarms(response)
    return response
