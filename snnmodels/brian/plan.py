"""What a network needs on the grid: programs, layout and options, before any Brian2 object exists."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import sympy as sp

from ..losses.base import simulated
from ..losses.observables import Maxima, Observable, Primitive, Samples, SpikeTimes, check_silent
from ..symbolic.declaration import hybrid_system
from ..symbolic.grid import GridSystem
from ..symbolic.programs import Program
from ..symbolic.system import HybridSystem
from ..templates.arguments import check_numbers, check_whole
from ..templates.groups import Population, Projection, SpikeInput
from ..templates.network import Network
from ..templates.quantities import in_unit
from .names import portable

__all__ = ["Plan", "PopulationPlan", "Timing", "refuse_unsupported"]

Timing = Literal["precise", "grid"]


@dataclass(frozen=True)
class PopulationPlan:
    """One population lowered to the grid.

    Attributes
    ----------
    population : Population
    grid : GridSystem
    recorded : tuple of Symbol
        States that the backward pass reads at every step (none for a linear flow whose parameters are fixed).
    recorded_at_events : tuple of Symbol
        States that it reads at the start of a step with an own event.
    recorded_base : tuple of Symbol
        States before arrivals that backward arrivals read (nonlinear flows only).
    coupled : bool
        Whether what an arrival does to the state depends on the state (nonlinear flows).
    caused : bool
        Whether an arrival itself can make it spike.
    """

    population: Population
    grid: GridSystem
    recorded: tuple[sp.Symbol, ...]
    recorded_at_events: tuple[sp.Symbol, ...]
    recorded_base: tuple[sp.Symbol, ...]
    coupled: bool
    caused: bool

    @property
    def name(self) -> str:
        """Name of the population."""
        return self.population.name

    @property
    def system(self) -> HybridSystem:
        """The hybrid system of the model."""
        return self.grid.system

    @property
    def spiking(self) -> bool:
        """Whether the model has a threshold."""
        return self.system.g is not None

    @property
    def keeps_base(self) -> bool:
        """Whether the states just before the arrivals of a step are kept."""
        return self.caused or self.coupled

    def per_neuron(self, parameter: str) -> bool:
        """Whether a parameter has a value for each neuron."""
        return np.ndim(self.population.value(parameter)) > 0


@dataclass(frozen=True)
class Plan:
    """A network with everything decided that its simulation depends on.

    Attributes
    ----------
    network : Network
    batch_size : int
        Trials side by side.
    dt : float
        Time step in seconds.
    steps : int
        Steps per trial.
    timing : {"precise", "grid"}
        Whether events happen at their own times inside the step, or are rounded to the end of the step.
    observed : Primitive
        What is read of the output population.
    sample_steps : int
        Steps between samples of the variable; 0 where none are taken.
    max_spikes, input_spikes : int
        Capacity for the spikes of one neuron, and of one source, in one trial.
    input_gradients : bool
        Whether the times of input spikes are differentiated by.
    populations : mapping of str to PopulationPlan
    names : mapping of str to mapping of str to str
        For every population how variables are called that can't have the model's own name here; see `portable`.
    """

    network: Network
    batch_size: int
    dt: float
    steps: int
    timing: Timing
    observed: Primitive
    max_spikes: int
    input_spikes: int
    input_gradients: bool
    sample_steps: int = 0
    populations: Mapping[str, PopulationPlan] = field(default_factory=dict)
    names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        network: Network,
        batch_size: int,
        dt: float,
        *,
        timing: Timing = "precise",
        observable: Observable | None = None,
        max_spikes: int = 64,
        input_spikes: int = 8,
        input_gradients: bool = True,
        order: int = 4,
    ) -> Plan:
        """Lower a network.

        Parameters
        ----------
        network : Network
        batch_size : int
            Trials side by side.
        dt : float
            Time step in seconds.
        timing : {"precise", "grid"}
            See `Plan`.
        observable : Observable, optional
            What is read of the output population; its spike times if not given.
        max_spikes, input_spikes : int
            Capacity for the spikes of one neuron, and of one source, in one trial.
        input_gradients : bool
            Whether the times of input spikes are differentiated by.
        order : int
            Of the Taylor series of nonlinear states.

        Raises
        ------
        ValueError
            If the duration isn't a whole number of steps, a size isn't positive, or the output can't be observed so;
            for samples also if their `interval` (seconds) isn't a whole number of steps or is longer than the trial.
            Also for a network with refractory neurons or with delays.
        """
        refuse_unsupported(network)
        seconds = in_unit(dt, "second", "dt")
        check_numbers(dt=seconds)
        dt = float(seconds)
        if not dt > 0:
            raise ValueError(f"dt = {dt!r} s; a time step must be positive")
        steps = round(network.duration / dt)
        if steps < 1 or abs(steps * dt - network.duration) > 1e-9 * network.duration:
            raise ValueError(
                f"the duration {network.duration * 1e3:g} ms of network {network.name!r} is not a whole number of "
                f"steps of dt = {dt * 1e3:g} ms"
            )
        counts = {"batch_size": batch_size, "max_spikes": max_spikes, "input_spikes": input_spikes, "order": order}
        for name, n in counts.items():
            check_whole(name, n)
        for q in network.projections:
            if q.mask is not None and not np.any(q.mask):
                raise ValueError(f"projection {q.name!r}: its mask excludes every connection; leave the projection out")
        if timing not in ("precise", "grid"):
            raise ValueError(f"timing = {timing!r}; it must be 'precise' or 'grid'")
        (observed,) = simulated([observable or SpikeTimes()], network)
        if observed.population != network.output:
            raise ValueError(
                f"a time grid reads the output population {network.output!r} alone, not {observed.population!r}; a "
                "Simulation reads any populations"
            )
        if isinstance(observed, Samples):
            check_silent(observed, network, "interrupts on a time grid")
        sample_steps = _sample_steps(observed.interval, dt, steps) if isinstance(observed, Samples) else 0
        network, names = portable(network)
        if isinstance(observed, Maxima | Samples):
            observed = replace(observed, variable=names[network.output].get(observed.variable, observed.variable))
        plans = {p.name: _lower(p, network, dt, order) for p in network.populations}
        return cls(
            network,
            int(batch_size),
            dt,
            steps,
            timing,
            observed,
            int(max_spikes),
            int(input_spikes),
            input_gradients,
            sample_steps,
            plans,
            names,
        )

    @property
    def variable(self) -> str:
        """The state that is read, for maxima and samples."""
        assert isinstance(self.observed, Maxima | Samples)
        return self.observed.variable

    def observes(self, population: str) -> bool:
        """Whether the loss reads the maximum of a state of this population."""
        return isinstance(self.observed, Maxima) and self.network.output == population

    def samples(self, population: str) -> bool:
        """Whether the loss reads samples of a state of this population."""
        return isinstance(self.observed, Samples) and self.network.output == population

    @property
    def sample_rows(self) -> int:
        """Rows of the sample store; the last is no sample where the trial ends between two."""
        return -(-self.steps // self.sample_steps)

    def size(self, name: str) -> int:
        """Neurons of one trial of a population or input."""
        return self._sizes[name]

    @functools.cached_property
    def _sizes(self) -> dict[str, int]:
        groups: tuple[SpikeInput | Population, ...] = (*self.network.inputs, *self.network.populations)
        return {x.name: x.n for x in groups}

    def cause_base(self, projection: Projection) -> int:
        """First identifier of the arrivals of a projection; the identifier of source neuron i is this plus i."""
        base = 0
        for p in self.network.projections:
            if p is projection:
                return base
            base += self.batch_size * self.size(p.source)
        raise KeyError(projection.name)


def refuse_unsupported(network: Network) -> None:
    """Refuse what a network may declare and a simulation on the grid has no rules for.

    Raises
    ------
    ValueError
        For a refractory period, conditions in the equations, a spike that leaves its neuron above threshold, a delay
        that is not 0 or is to be learnt, states of sources, and sampled currents.
    """
    if network.currents:
        raise ValueError(
            f"input {network.currents[0].name!r}: sampled currents are not supported by the grid simulation; "
            "leave them out, or use Simulation, which has no grid"
        )
    for p in network.populations:
        if hybrid_system(p.model).transitions:
            raise ValueError(
                f"population {p.name!r}: {p.model.name} has conditions in its equations, or a spike that leaves it "
                "above its threshold, which the grid simulation does not support; use Simulation, which has no grid"
            )
        if p.model.refractory is not None:
            raise ValueError(
                f"population {p.name!r}: the refractory period of {p.model.name} is not supported by the grid "
                "simulation; leave it out, or use Simulation, which has no grid"
            )
    targets = {p.name: p.model for p in network.populations}
    for q in network.projections:
        if targets[q.target].receptors[q.receptor].source is not None:
            raise ValueError(
                f"projection {q.name!r}: its sources have states ([source] of {q.receptor!r}), which the grid "
                "simulation does not support; take another synapse, or use Simulation, which has no grid"
            )
        if "delay" in q.learnable or np.any(np.asarray(q.delay) != 0):
            raise ValueError(
                f"projection {q.name!r}: its delay is not supported by the grid simulation; set it to 0 and "
                "don't learn it, or use Simulation, which has no grid"
            )


def _sample_steps(interval: float, dt: float, steps: int) -> int:
    """Steps between samples."""
    if not interval > 0:
        raise ValueError(f"interval = {interval!r} s between samples; it must be positive")
    n = round(interval / dt)
    if n < 1 or abs(n * dt - interval) > 1e-9 * interval:
        raise ValueError(
            f"the interval of {interval * 1e3:g} ms between samples is not a whole number of steps of "
            f"dt = {dt * 1e3:g} ms"
        )
    if n > steps:
        raise ValueError(
            f"the interval of {interval * 1e3:g} ms between samples is longer than the trial of {steps * dt * 1e3:g} ms"
        )
    return n


def _reads(programs: Iterable[Program], states: tuple[sp.Symbol, ...]) -> tuple[sp.Symbol, ...]:
    read = frozenset().union(*(p.inputs for p in programs))
    return tuple(s for s in states if s in read)


def _lower(population: Population, network: Network, dt: float, order: int) -> PopulationPlan:
    system = hybrid_system(population.model)
    values = {p: population.value(p) for p in population.model.parameters}
    grid = GridSystem.of(system, dt, values, tuple(population.learnable), order)
    receptors = {p.receptor for p in network.projections if p.target == population.name}
    states = system.states
    return PopulationPlan(
        population,
        grid,
        recorded=_reads([grid.step_backward], states),
        recorded_at_events=_reads([grid.event_backward], states) if system.g is not None else (),
        recorded_base=_reads([grid.arrival_backward(r) for r in receptors], states),
        coupled=not all(grid.shift_free(r) for r in receptors),
        caused=any(grid.carries_threshold(r) for r in receptors),
    )
