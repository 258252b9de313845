"""Excitatory and inhibitory spike-coding populations, derived from two joint losses, that obey Dale's law.

The excitatory neurons code the signal, the inhibitory ones what the excitatory ones say (Boerlin et al. 2013; Koren &
Panzeri 2022; Koren et al. 2025):

    L_E = |x - x̂_E|² + costs of E        L_I = |x̂_E - x̂_I|² + costs of I

Each gives a spike rule by the same derivation as for one population:

    V_I = D_Iᵀ (x̂_E - x̂_I)  >  theta_I        V_E = D_Eᵀ (x - x̂_E)  >  theta_E

The second would need E neurons to inhibit each other. They know x̂_I instead, which follows x̂_E, and their own spikes:

    V_E,i = D_i·(x - x̂_I) - d_i² q_i ,    dq_i/dt = -q_i/tau_q + s_i

where q_i stands for the neuron's own spikes that inhibition has not yet answered: an after-hyperpolarisation of a few
milliseconds. All recurrent inhibition of E comes from I neurons, and all synapses are products of decoder columns:
D_IᵀD_E from E to I (excitation), D_EᵀD_I from I to E and D_IᵀD_I from I to I (inhibition). With decoders of no negative
entry each of them has one sign for all synapses of a neuron, which is Dale's law, and nothing is rectified. Signed
signals are coded as their positive and negative parts, `split_signs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..templates.arguments import check_kind, check_numbers, check_seed, real_array
from .alarms import sound_alarms
from .factors import Recurrence
from .network import CodingNetwork
from .response import Response, filtered
from .signals import Signal
from .stepping import Population, make_voltages

__all__ = ["PopulationsResponse", "TwoPopulations", "simulate_populations", "split_signs"]

Array = np.ndarray


def split_signs(values: Array, axis: int) -> Array:
    """Positive and negative parts as channels of their own: M rows or columns become 2 M without a negative entry.

    Parameters
    ----------
    values : array
        A decoder of shape (M, N), with axis 0, or a signal's values of shape (steps + 1, M), with axis 1.
    axis : int
        Of the signals.

    Returns
    -------
    array
        The M positive parts, then the M negative ones. What a split read-out stands for is their difference.
    """
    values = real_array("values", values)
    return np.concatenate([np.maximum(values, 0), np.maximum(-values, 0)], axis=axis)


@dataclass(frozen=True)
class TwoPopulations:
    """An excitatory and an inhibitory population, ready for `simulate_populations`.

    Attributes
    ----------
    excitatory, inhibitory : CodingNetwork
        Decoders, losses and values of the two. Their delays are those of their synapses onto other neurons.
    tau_bridge : float
        Time constant, in seconds, of the after-hyperpolarisation with which an excitatory neuron bridges the time until
        inhibition answers its spike.
    """

    excitatory: CodingNetwork
    inhibitory: CodingNetwork
    tau_bridge: float = 0.002

    def __post_init__(self) -> None:
        """Refuse what would break Dale's law, or needs synapses that the derivation doesn't have."""
        for key in ("excitatory", "inhibitory"):
            network = getattr(self, key)
            check_kind(key, network, CodingNetwork, "a CodingNetwork")
            if (network.decoder < 0).any() or (network.metric < 0).any():
                raise ValueError(
                    f"the {key} decoder (or metric) has negative entries, so that its neurons would excite some "
                    "neurons and inhibit others; code positive and negative parts of the signals apart: "
                    "split_signs(decoder, axis=0)"
                )
            if network.loss.dynamics is not None:
                raise ValueError(f"the {key} loss declares dynamics; two populations have no slow synapses")
        e, i = self.excitatory, self.inhibitory
        check_numbers(tau_bridge=self.tau_bridge)
        if not self.tau_bridge > 0:
            raise ValueError(f"tau_bridge must be positive seconds, not {self.tau_bridge!r}")
        if e.dimensions != i.dimensions:
            raise ValueError(f"the excitatory decoder has {e.dimensions} signals, the inhibitory {i.dimensions}")
        if e.tau != i.tau:
            raise ValueError(
                f"the read-outs decay with {e.tau:g} and {i.tau:g} s; "
                "inhibition can follow excitation only with the same time constant"
            )

    def weights(self) -> dict[str, Array]:
        """Synaptic weights by "E to I", "I to E" and "I to I", rows for the target; inhibition is negative."""
        e, i = self.excitatory, self.inhibitory
        within = -i.encoder @ i.decoder
        np.fill_diagonal(within, 0.0)
        return {"E to I": i.encoder @ e.decoder, "I to E": -e.encoder @ i.decoder, "I to I": within}


@dataclass(frozen=True)
class PopulationsResponse:
    """Spikes of both populations.

    Attributes
    ----------
    network : TwoPopulations
    excitatory, inhibitory : Response
        The inhibitory population's signal is the excitatory estimate.
    """

    network: TwoPopulations
    excitatory: Response
    inhibitory: Response

    @classmethod
    def of(
        cls, network: TwoPopulations, signal: Signal, e: tuple[Array, Array, Any], i: tuple[Array, Array, Any]
    ) -> PopulationsResponse:
        """Of steps, neurons and controlled parameters of both; sounds the alarms."""
        excitatory = Response(network.excitatory, signal, *e)
        followed = Signal(np.vstack([np.zeros(signal.dimensions), excitatory.estimate]), signal.dt)
        found = cls(network, excitatory, Response(network.inhibitory, followed, *i))
        sound_alarms(found.excitatory)
        sound_alarms(found.inhibitory)
        return found

    def rate(self, discard: float = 0.0) -> float:
        """Spikes per second of both populations."""
        return self.excitatory.rate(discard) + self.inhibitory.rate(discard)

    def currents(self, neurons: Array, window: float = 0.005) -> dict[str, Array]:
        """Synaptic currents of excitatory neurons, as running exponential means.

        Parameters
        ----------
        neurons : int array
        window : float
            Time constant of the mean in seconds.

        Returns
        -------
        dict
            "excitation": what the signal brings, D_i·(dx/dt + x/tau); "inhibition": what I spikes bring, negative. Both
            per second, of shape (steps, neurons).
        """
        response, i = self.excitatory, self.network.inhibitory
        signal, e = response.signal, response.network
        keep = float(np.exp(-signal.dt / window))
        weight = (1 - keep) / signal.dt
        steps = np.arange(signal.steps)
        encoder = e.encoder[np.asarray(neurons, int)]
        excitation = filtered(steps, weight * e.drive(signal) @ encoder.T, keep, signal.steps)
        arrival = self.inhibitory.spike_steps + i.delay_steps(signal.dt)
        inside = arrival < signal.steps
        jumps = -weight * (encoder @ i.decoder).T[self.inhibitory.spike_neurons[inside]]
        return {"excitation": excitation, "inhibition": filtered(arrival[inside], jumps, keep, signal.steps)}


def simulate_populations(
    network: TwoPopulations, signal: Signal, *, recurrence: Recurrence | None = None, seed: int = 0
) -> PopulationsResponse:
    """Simulate an excitatory and an inhibitory population in NumPy.

    In each step at most one neuron of each population spikes, and both decide on what was known before.

    Parameters
    ----------
    network : TwoPopulations
    signal : Signal
        Of as many dimensions as the decoders have rows; `split_signs` of a signed one.
    recurrence : "dense", "low_rank" or None
        As for `simulate`.
    seed : int
        Of the voltage noise.

    Returns
    -------
    PopulationsResponse

    Raises
    ------
    ValueError
        If signal and network don't fit.

    Warns
    -----
    ExplosionWarning, BudgetWarning
        As for `simulate`.
    """
    check_kind("network", network, TwoPopulations, "TwoPopulations")
    check_kind("signal", signal, Signal, "a Signal")
    check_seed(seed)
    e, i = network.excitatory, network.inhibitory
    chosen = i.chosen_recurrence("threshold", recurrence)
    drive, nothing = e.drive(signal), np.zeros(i.dimensions)
    voltages = {
        "E": make_voltages(e, signal.values[0], signal.dt, "threshold", chosen, alone=False),
        "I": make_voltages(i, nothing, signal.dt, "threshold", chosen),
    }
    populations = {
        "E": Population(e, signal, "threshold", voltages["E"], seed),
        "I": Population(i, signal, "threshold", voltages["I"], seed + 1),
    }
    e_to_i, i_to_e = voltages["I"].rows(e.decoder), voltages["E"].rows(i.decoder)
    bridge, keep, square = np.zeros(e.n), float(np.exp(-signal.dt / network.tau_bridge)), e.norms**2

    for k in range(signal.steps):
        populations["E"].advance(drive[k], k)
        populations["I"].advance(nothing, k)
        bridge *= keep
        now: dict[str, list[int]] = {}
        for name, population in populations.items():
            margin = population.margin(k, bridge if name == "E" else None)
            best = int(np.argmax(margin))
            now[name] = [best] if margin[best] > 0 else []
        for name, population in populations.items():
            for j in now[name]:
                population.spike(j, k)
                if name == "E":
                    bridge[j] += square[j]
        for j in populations["E"].arrivals(now["E"]):
            populations["E"].arrive(j)
            voltages["I"].add(e_to_i[j])
        for j in populations["I"].arrivals(now["I"]):
            populations["I"].arrive(j)
            voltages["E"].subtract(i_to_e[j])

    return PopulationsResponse.of(
        network,
        signal,
        *(
            (np.asarray(p.spike_steps, int), np.asarray(p.spike_neurons, int), p.controlled)
            for p in populations.values()
        ),
    )
