"""Excitatory and inhibitory populations as ordinary Brian2 objects, spike for spike as in NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brian2 import Synapses

from ..targets.devices import BrianTarget
from .brian import recorded, run_rendered
from .factors import Recurrence
from .populations import PopulationsResponse, TwoPopulations
from .rendering import RenderedPopulation, connect_populations, render_population
from .signals import Signal

__all__ = ["BrianPopulations", "brian_populations", "simulate_populations_brian"]


@dataclass(frozen=True)
class BrianPopulations:
    """Plain Brian2 objects; put ``objects`` into a `brian2.Network`.

    Attributes
    ----------
    excitatory, inhibitory : RenderedPopulation
        Each with its neurons, hub, spike monitor.
    synapses : dict of str to Synapses
        "E to I" and "I to E"; those from I to I are the inhibitory population's own.
    """

    excitatory: RenderedPopulation
    inhibitory: RenderedPopulation
    synapses: dict[str, Synapses]

    @property
    def objects(self) -> list[Any]:
        """Everything."""
        return [*self.excitatory.objects, *self.inhibitory.objects, *self.synapses.values()]

    def response(self, network: TwoPopulations, signal: Signal) -> PopulationsResponse:
        """The recorded spikes, after the run.

        Parameters
        ----------
        network : TwoPopulations
        signal : Signal
            Those that the objects were made of.
        """
        e, i = (recorded(p.spikes, p.levels, signal) for p in (self.excitatory, self.inhibitory))
        return PopulationsResponse.of(network, signal, e, i)


def brian_populations(
    network: TwoPopulations, signal: Signal, *, recurrence: Recurrence | None = None, name: str = "coding"
) -> BrianPopulations:
    """Render both populations into Brian2.

    Parameters
    ----------
    network : TwoPopulations
    signal : Signal
        Its ``dt`` is the time step of the objects.
    recurrence : "dense", "low_rank" or None
        A synapse from every neuron to every one that its decoder column overlaps with, or one to each of the hubs that
        hold x - x̂_I and x̂_E - x̂_I; None for the second where M is less than the number of inhibitory neurons.
    name : str
        Prefix of the names of the objects.

    Returns
    -------
    BrianPopulations

    Raises
    ------
    ValueError
        If signal and network don't fit.
    """
    e, i = network.excitatory, network.inhibitory
    chosen, dt = i.chosen_recurrence("threshold", recurrence), signal.dt
    excitatory = render_population(
        e, signal, form="threshold", recurrence=chosen, name=f"{name}_e", alone=False, bridge=network.tau_bridge
    )
    inhibitory = render_population(i, signal, form="threshold", recurrence=chosen, name=f"{name}_i", driven=False)
    synapses = {
        "E to I": connect_populations(excitatory, inhibitory, 1, e.delay_steps(dt) * dt, dt, f"{name}_e_to_i"),
        "I to E": connect_populations(inhibitory, excitatory, -1, i.delay_steps(dt) * dt, dt, f"{name}_i_to_e"),
    }
    return BrianPopulations(excitatory, inhibitory, synapses)


def simulate_populations_brian(
    network: TwoPopulations,
    signal: Signal,
    *,
    recurrence: Recurrence | None = None,
    target: BrianTarget = "numpy",
    directory: str | Path | None = None,
    seed: int = 0,
) -> PopulationsResponse:
    """Simulate both populations in Brian2.

    Parameters
    ----------
    network : TwoPopulations
    signal : Signal
    recurrence : "dense", "low_rank" or None
        As for `brian_populations`.
    target : "numpy", "cython" or "cpp_standalone"
    directory : path or None
        Where the C++ project goes; None for a temporary folder that is deleted afterwards.
    seed : int
        Of the voltage noise; the numbers differ between targets.

    Returns
    -------
    PopulationsResponse
        The same spike trains as `simulate_populations`, without voltage noise.

    Raises
    ------
    ValueError
        For an unknown target, or a signal that doesn't fit the network.
    CompilerMissing
        If the target needs a compiler that isn't there.
    """
    return run_rendered(
        lambda: brian_populations(network, signal, recurrence=recurrence),
        lambda built: built.objects,
        lambda built: built.response(network, signal),
        signal,
        target,
        directory,
        seed,
    )
