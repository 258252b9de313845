"""A network lowered for the event engine: rules of its populations, and the order in which they are simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..losses.base import simulated
from ..losses.integrals import with_integrals
from ..losses.observables import Maxima, Observable, Primitive, Samples, SpikeTimes
from ..symbolic.declaration import driven_system, source_system
from ..symbolic.parsing import UnsupportedExpression
from ..symbolic.system import HybridSystem
from ..templates.arguments import check_numbers, check_whole
from ..templates.errors import brief
from ..templates.groups import Population, Projection, SpikeInput
from ..templates.network import Network
from ..templates.quantities import in_unit
from .drives import DrivePlan, drive_plans, driven_inputs
from .rules import Rules

__all__ = ["Component", "EnginePlan", "GroupPlan", "KeptMaxima", "PopulationPlan", "ProjectionPlan", "SourcePlan"]


@dataclass(frozen=True)
class KeptMaxima(Samples):
    """The largest values of a state: those at the end of a state of the system that keeps them; see `symbolic.Record`.

    So they are found where f has conditions. Their shape is that of `Maxima`.
    """


_MOST_WINDOWS = 1e6  # of one trial
_MOST_REACH = 4.0  # what a window may be of that which is chosen where none is given


@dataclass(frozen=True)
class GroupPlan:
    """What has states and parameters, with the rules of its model.

    Attributes
    ----------
    index : int
        Place among those of its kind.
    population : Population
        Whose parameters it has.
    rules : Rules
    n : int
        How many there are of every state.
    """

    kind: ClassVar[str]
    index: int
    population: Population
    rules: Rules
    n: int

    @property
    def name(self) -> str:
        """Name of the population."""
        return self.population.name

    @property
    def key(self) -> str:
        """Begins the keys of its arrays."""
        return f"{self.kind}{self.index}"

    def value(self, parameter: str) -> float | np.ndarray:
        """Value of a parameter in SI units."""
        return self.population.value(parameter)

    def canonical(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The parameters that its rules read, out of those of the population, by canonical name."""
        return {f"p{k}": np.asarray(values[name], dtype=float) for k, name in enumerate(self.rules.parameters)}


@dataclass(frozen=True)
class PopulationPlan(GroupPlan):
    """One population."""

    kind: ClassVar[str] = "population"


@dataclass(frozen=True)
class SourcePlan(GroupPlan):
    """The states that the source neurons of a projection have for it, as if they were neurons that never spike.

    Their one receptor gets the spikes of their own neuron, when these are sent; their last state is then the amplitude,
    by which the weights of the spike are multiplied. Nothing else happens to them: they are followed from spike to
    spike, outside of all components. Their parameters are those of the target population.

    Attributes
    ----------
    projection : int
    """

    kind: ClassVar[str] = "source"
    projection: int


@dataclass(frozen=True)
class ProjectionPlan:
    """One projection with its ends numbered.

    Attributes
    ----------
    source : int
        Inputs count first, then populations: ``source - len(inputs)`` is a population if not negative.
    target : int
        Population.
    receptor : int
        Place of the receptor in the target's model.
    sources : int
        Place of the states of its sources in `EnginePlan.sources`; -1 where they have none.
    """

    index: int
    projection: Projection
    source: int
    target: int
    receptor: int
    sources: int = -1


@dataclass(frozen=True)
class Component:
    """Populations that reach each other, simulated together.

    Attributes
    ----------
    populations : tuple of int
    incoming : tuple of int
        Projections onto these populations.
    feedback : tuple of int
        Those among them that come from these populations.
    """

    populations: tuple[int, ...]
    incoming: tuple[int, ...]
    feedback: tuple[int, ...]


@dataclass(frozen=True)
class EnginePlan:
    """A network with everything decided that its simulation depends on, but for the values.

    Attributes
    ----------
    network : Network
        With a state more for each integral that is read.
    observed : tuple of Primitive
        What a loss reads, each with the name of its population.
    populations, projections : tuple
    components : tuple of Component
        Every component comes after those that project to it.
    window : float
        Longest piece of time, in seconds, that is looked at at once. It changes cost, never results.
    tolerance : float
        Of nonlinear flows.
    input_gradients : bool
        Whether the times of input spikes are differentiated by.
    max_spikes : int
        Of one population in one trial; more are taken for a runaway.
    drives : tuple of DrivePlan
        Inputs of populations that currents drive.
    sources : tuple of SourcePlan
    """

    network: Network
    observed: tuple[Primitive, ...]
    populations: tuple[PopulationPlan, ...]
    projections: tuple[ProjectionPlan, ...]
    components: tuple[Component, ...]
    window: float
    tolerance: float
    input_gradients: bool
    max_spikes: int
    drives: tuple[DrivePlan, ...] = ()
    sources: tuple[SourcePlan, ...] = ()

    @classmethod
    def of(
        cls,
        network: Network,
        observables: Sequence[Observable],
        *,
        window: float | None = None,
        tolerance: float = 1e-10,
        input_gradients: bool = True,
        max_spikes: int = 1_000_000,
    ) -> EnginePlan:
        """Lower a network.

        Parameters
        ----------
        network : Network
        observables : sequence of Observable
            What is read: spike times and samples of any number of states of any populations, and maxima of one state.
        window : float, optional
            In seconds; chosen from the time constants if not given, and at most four times what is chosen.
        tolerance : float
            Of nonlinear flows, relative to the states' scales.
        input_gradients : bool
            Whether the times of input spikes, and the samples of currents, are differentiated by.
        max_spikes : int
            Of one population in one trial.

        Raises
        ------
        ValueError
            If the network has not what is to be read, maxima of more than one state are, or an option is out of range.
        """
        if not observables:
            raise ValueError("nothing is read of the network; name at least one observable")
        network = with_integrals(network, observables)
        observed = simulated(observables, network)
        maxima = _maxima(observed)
        if window is not None:
            given = in_unit(window, "second", "window")
            if given.ndim or not (np.isfinite(given) and given > 0):
                raise ValueError(f"window = {brief(window)} s; it must be a positive time")
            window = float(given)
            if network.duration / window > _MOST_WINDOWS:
                raise ValueError(
                    f"window = {window!r} s makes {network.duration / window:.3g} windows of a trial; it changes cost "
                    "and no result: leave it out, or make it longer"
                )
        check_numbers(tolerance=tolerance)
        if not 1e-15 <= tolerance <= 1e-2:
            raise ValueError(f"tolerance = {tolerance!r}; expected a number from 1e-15 to 1e-2")
        check_whole("max_spikes", max_spikes)
        driven = {k: driven_system(p.model, driven_inputs(network, p.name)) for k, p in enumerate(network.populations)}
        populations = []
        for k, p in enumerate(network.populations):
            values = {n: p.value(n) for n in p.model.parameters}
            peak = maxima.variable if maxima is not None and maxima.population == p.name else None
            if peak is not None and driven[k][0].switches:
                # it may be where a condition turns: one more state follows it through all events
                driven[k] = driven_system(p.model, driven_inputs(network, p.name), record=peak)
                observed, peak = tuple(_kept(o, driven[k][0], network.duration) for o in observed), None
            rules = Rules.of(driven[k][0], values, p.learnable, peak)
            populations.append(PopulationPlan(k, p, rules, p.n))
        groups: tuple[SpikeInput | Population, ...] = (*network.inputs, *network.populations)
        names = {x.name: k for k, x in enumerate(groups)}
        first = len(network.inputs)
        sources = _sources(network)
        place = {s.projection: s.index for s in sources}
        projections = tuple(
            ProjectionPlan(
                k,
                q,
                names[q.source],
                names[q.target] - first,
                list(populations[names[q.target] - first].rules.receptors).index(q.receptor),
                place.get(k, -1),
            )
            for k, q in enumerate(network.projections)
        )
        reach = min(p.rules.reach for p in populations)
        # costates are carried over a window and back: over more than a few time constants that would cost digits
        window = reach if window is None else min(window, _MOST_REACH * reach)
        longest = min(p.rules.longest if p.rules.linear else p.rules.reach for p in populations)
        return cls(
            network,
            observed,
            tuple(populations),
            projections,
            _components(len(populations), first, projections),
            min(window, longest, network.duration),
            tolerance,
            input_gradients,
            int(max_spikes),
            drive_plans(network, driven, input_gradients),
            sources,
        )

    def holds_for(self, network: Network) -> bool:
        """Whether the same plan is right for a network that differs in its values alone."""
        values = {q.name: {n: q.value(n) for n in q.model.parameters} for q in network.populations}
        return all(p.rules.holds_for(values[p.name]) for p in self.groups)

    @property
    def groups(self) -> tuple[GroupPlan, ...]:
        """All that has states: the populations, then what lives with sources."""
        return (*self.populations, *self.sources)

    def sources_of(self, population: int, parameter: str = "") -> tuple[SourcePlan, ...]:
        """Those with the parameters of a population; those that read one of them, if it is named."""
        own = (s for s in self.sources if s.name == self.populations[population].name)
        return tuple(s for s in own if not parameter or parameter in s.rules.parameters)

    def place(self, seen: Primitive) -> int:
        """The population of something that is read."""
        return next(p.index for p in self.populations if p.name == seen.population)

    @property
    def spikes(self) -> tuple[int, ...]:
        """Populations whose spike times are read."""
        return tuple(sorted({self.place(seen) for seen in self.observed if isinstance(seen, SpikeTimes)}))

    @property
    def maxima(self) -> Maxima | None:
        """The state whose maxima are read, if there is one."""
        return _maxima(self.observed)

    @property
    def samples(self) -> tuple[Samples, ...]:
        """The states of which samples are read, each at its own times."""
        return tuple(dict.fromkeys(seen for seen in self.observed if isinstance(seen, Samples)))

    def state(self, seen: Maxima | Samples) -> int:
        """Place of a state that is read among those of its population."""
        return self.populations[self.place(seen)].rules.states.index(seen.variable)

    @property
    def readout(self) -> PopulationPlan:
        """The population whose maxima are read; without one, the first of those of which anything is."""
        return self.populations[self.place(self.maxima or self.observed[0])]


def _sources(network: Network) -> tuple[SourcePlan, ...]:
    """What lives with the sources of every projection whose receptor says so."""
    groups: tuple[SpikeInput | Population, ...] = (*network.inputs, *network.populations)
    sizes = {x.name: x.n for x in groups}
    targets = {p.name: p for p in network.populations}
    found: list[SourcePlan] = []
    for k, q in enumerate(network.projections):
        target = targets[q.target]
        system = source_system(target.model, q.receptor)
        if system is None:
            continue
        names = [p.name for p in system.parameters]
        rules = Rules.of(system, {n: target.value(n) for n in names}, [n for n in target.learnable if n in names])
        if np.isfinite(rules.longest):
            raise UnsupportedExpression(
                f"{system.name}: its states drive each other in a loop, or too many do in a chain, so that there is no "
                "closed form from spike to spike; let them drive each other in one direction"
            )
        found.append(SourcePlan(len(found), target, rules, sizes[q.source], k))
    return tuple(found)


def _kept(seen: Primitive, system: HybridSystem, duration: float) -> Primitive:
    """What is read instead of the maxima that a system keeps."""
    if not isinstance(seen, Maxima):
        return seen
    assert system.record is not None
    return KeptMaxima(seen.population, system.record.maximum.name, duration)


def _maxima(observed: Sequence[Primitive]) -> Maxima | None:
    """The one state whose maxima are read."""
    found = [seen for seen in dict.fromkeys(observed) if isinstance(seen, Maxima)]
    if len(found) > 1:
        raise ValueError(
            f"the loss reads {found[0]} and {found[1]}; a simulation watches the maxima of one state of one "
            "population, and beside them samples and spike times of any"
        )
    return found[0] if found else None


def _components(n: int, first: int, projections: tuple[ProjectionPlan, ...]) -> tuple[Component, ...]:
    """Strongly connected components in topological order (Tarjan 1972, SIAM J. Comput. 1:146)."""
    targets: Mapping[int, list[int]] = {k: [] for k in range(n)}
    for q in projections:
        if q.source >= first:
            targets[q.source - first].append(q.target)
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    found: list[tuple[int, ...]] = []

    def visit(k: int) -> None:
        index[k] = low[k] = len(index)
        stack.append(k)
        for m in targets[k]:
            if m not in index:
                visit(m)
                low[k] = min(low[k], low[m])
            elif m in stack:
                low[k] = min(low[k], index[m])
        if low[k] == index[k]:
            place = stack.index(k)
            found.append(tuple(sorted(stack[place:])))
            del stack[place:]

    for k in range(n):
        if k not in index:
            visit(k)
    components = []
    for members in reversed(found):
        incoming = tuple(q.index for q in projections if q.target in members)
        feedback = tuple(q.index for q in projections if q.target in members and q.source - first in members)
        components.append(Component(members, incoming, feedback))
    return tuple(components)
