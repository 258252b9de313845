"""Energy of a simulation in four units: spikes, synaptic events, synaptic charge and ATP.

They are not proportional to each other. A spike of a neuron with a long decoder column injects more charge into the
others, in proportion to the column's length, and a code that gets by with fewer, longer spikes saves the one and not
the other. Any of the four can be priced: `energy_per_spike` gives what one spike of each neuron uses, which is the
parameter of a linear cost (``nu = price * energy_per_spike(network, "atp")``) or the `energy` of a `Homeostat`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ..templates.arguments import check_choice
from .factors import nonzero_per_column
from .metabolism import HOWARTH_2012, MetabolicBudget
from .network import CodingNetwork
from .response import Response

__all__ = ["Energy", "EnergyUnit", "charge_per_spike", "energy", "energy_per_spike", "synapses_per_spike"]

Array = np.ndarray
EnergyUnit = Literal["spikes", "synaptic_events", "synaptic_charge", "atp"]
BLOCK = 512  # rows of the weights at a time


@dataclass(frozen=True)
class Energy:
    """What the whole population uses per second.

    Attributes
    ----------
    spikes : float
    synaptic_events : float
        Deliveries through recurrent, inhibitory and read-out synapses.
    synaptic_charge : float
        Through recurrent synapses, in resets of the receiving neuron; see `charge_per_spike`.
    atp : float
        Molecules for spikes and their synaptic events.
    resting_atp : float
        Molecules for the resting potentials of all neurons, which no code can save.
    """

    spikes: float
    synaptic_events: float
    synaptic_charge: float
    atp: float
    resting_atp: float


def synapses_per_spike(network: CodingNetwork) -> Array:
    """How many synapses a spike of each neuron activates, shape (N,).

    Recurrent synapses onto other neurons that share a signal with it (fast, and slow where the network implements
    dynamics), one synapse per population trace that the threshold reads, and the non-zero read-out weights.
    """
    synapses = nonzero_per_column(network.encoder, network.decoder)
    if network.loss.dynamics is not None:
        synapses = synapses + nonzero_per_column(network.encoder, _slow_factor(network, network.loss.dynamics))
    in_threshold = {s.name for s in network.rule.threshold.free_symbols}
    shared = [t for t, trace in network.loss.traces.items() if trace.scope == "population" and t in in_threshold]
    return np.asarray(synapses + len(shared) + (network.decoder != 0).sum(0))


def charge_per_spike(network: CodingNetwork) -> Array:
    """The charge that a spike of each neuron moves through its recurrent synapses, shape (N,).

    Σ_{i≠j} |w_ij|/w_ii: in units of the receiving neuron's own reset w_ii = d_i², so that a spike which pulls one other
    neuron down by as much as its own spike would counts 1. Excitatory and inhibitory charge count alike. For slow
    weights, where the network implements dynamics, what they inject in all, τ |slow_ij|/w_ii, is added. The inhibition
    through population traces, which is the threshold's and has no weights, is not included.

    Notes
    -----
    With w_ij = d_i d_j cos(i, j) this is d_j Σ_i |cos(i, j)|/d_i: proportional to the neuron's norm d_j in a population
    whose directions are mixed, whatever the scale of the receiving neurons.
    """
    reset = network.norms**2
    total = np.zeros(network.n)
    for start in range(0, network.n, BLOCK):
        rows = slice(start, start + BLOCK)
        total += np.abs(network.encoder[rows] @ network.decoder / reset[rows, None]).sum(0)
    total -= 1  # the diagonal is the reset itself
    if network.loss.dynamics is not None:
        slow = _slow_factor(network, network.loss.dynamics)
        for start in range(0, network.n, BLOCK):
            some = np.arange(start, min(start + BLOCK, network.n))
            scaled = network.tau * np.abs(network.encoder[some] @ slow) / reset[some, None]
            scaled[np.arange(len(some)), some] = 0.0
            total += scaled.sum(0)
    # rounding, where a neuron reaches nobody else
    return np.maximum(total, 0.0)


def energy_per_spike(network: CodingNetwork, unit: EnergyUnit, budget: MetabolicBudget = HOWARTH_2012) -> Array:
    """What one spike of each neuron uses, shape (N,).

    Parameters
    ----------
    network : CodingNetwork
    unit : "spikes", "synaptic_events", "synaptic_charge" or "atp"
        1; the synapses it activates; the charge it moves (`charge_per_spike`); or ATP molecules: an action potential,
        the presynaptic cost of its vesicles in proportion to the synapses it activates, and their postsynaptic cost
        in proportion to the charge it moves, such that the average neuron of the network uses what the budget says.
    budget : MetabolicBudget
        For ATP.

    Raises
    ------
    ValueError
        For an unknown unit.
    """
    check_choice("unit", unit, get_args(EnergyUnit))
    match unit:
        case "spikes":
            return np.ones(network.n)
        case "synaptic_events":
            return synapses_per_spike(network).astype(float)
        case "synaptic_charge":
            return charge_per_spike(network)
    synapses, charge = synapses_per_spike(network), charge_per_spike(network)
    presynaptic = (budget.calcium + budget.recycling) * synapses / max(float(synapses.mean()), 1e-300)
    postsynaptic = budget.postsynaptic * charge / max(float(charge.mean()), 1e-300)
    return budget.action_potential + budget.vesicles * (presynaptic + postsynaptic)


def energy(response: Response, discard: float = 0.0, budget: MetabolicBudget = HOWARTH_2012) -> Energy:
    """Energy of a response, in every unit; the charge takes all N² weights.

    Parameters
    ----------
    response : Response
    discard : float
        Seconds at the start to leave out.
    budget : MetabolicBudget
        What ATP is used for.

    Raises
    ------
    ValueError
        If `discard` is negative or leaves nothing.
    """
    rates, network = response.rates(discard), response.network
    used = {unit: float(rates @ energy_per_spike(network, unit, budget)) for unit in get_args(EnergyUnit)}
    return Energy(**used, resting_atp=network.n * budget.resting)


def _slow_factor(network: CodingNetwork, dynamics: Array) -> Array:
    """(A + lambda)D, shape (M, N): the slow weights are the encoder times this.

    Not their exact step, which couples signals only by rounding.
    """
    leak = np.eye(network.dimensions) / network.tau
    return np.asarray((dynamics + leak) @ network.decoder)
