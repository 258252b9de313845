"""All Brian2 objects of a network, forward and backward, and the arrays that a caller writes and reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from brian2 import Network, NeuronGroup, Quantity, second
from brian2.core.variables import Variable

from .initialisation import Initialisation
from .inputs import BackwardInput, ForwardInput
from .plan import Plan
from .populations import BackwardPopulation, ForwardPopulation
from .projections import BackwardProjection, ForwardProjection

__all__ = ["Assembly"]


@dataclass
class Assembly:
    """The objects of one plan.

    Attributes
    ----------
    forward, backward : brian2.Network
    initial_forward, initial_backward : list
        What is set before each run.
    parts : list
        Inputs, populations and projections in both directions; they own groups that Brian2 refers to only weakly.
    arrays : mapping of str to list of Variable
        Arrays that a caller writes or reads, by key: ``"<projection>.w"``, ``"<projection>.gw"``,
        ``"<population>.<parameter>"``, ``"<population>.grad_<parameter>"``, ``"<input>.ev_s"``, ... Where a key has
        several variables they hold the same values.
    """

    plan: Plan
    forward: Network = field(init=False)
    backward: Network = field(init=False)
    initial_forward: Initialisation = field(init=False, default_factory=list)
    initial_backward: Initialisation = field(init=False, default_factory=list)
    arrays: dict[str, list[Variable]] = field(init=False, default_factory=dict)
    parts: list[Any] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        plan = self.plan
        inputs = {s.name: ForwardInput(plan, s) for s in plan.network.inputs}
        populations = {name: ForwardPopulation(plan, p) for name, p in plan.populations.items()}
        sources: dict[str, ForwardInput | ForwardPopulation] = {**inputs, **populations}
        inputs_back = {name: BackwardInput(plan, f) for name, f in inputs.items()}
        populations_back = {name: BackwardPopulation(plan, f) for name, f in populations.items()}
        sources_back: dict[str, BackwardInput | BackwardPopulation] = {**inputs_back, **populations_back}
        synapses, synapses_back = [], []
        for q in plan.network.projections:
            f = ForwardProjection(plan, q, sources[q.source], populations[q.target])
            synapses.append(f)
            synapses_back.append(BackwardProjection(f, sources_back[q.source], populations_back[q.target]))
        forward: list[Any] = [*sources.values(), *synapses]
        backward: list[Any] = [*sources_back.values(), *synapses_back]
        self.forward, self.backward = (Network(*(part.group for part in parts)) for parts in (forward, backward))
        self.initial_forward = [item for part in forward for item in part.initial]
        self.initial_backward = [item for part in backward for item in part.initial]
        self.parts = [*forward, *backward]
        for name, i in inputs.items():
            self._expose(name, i.store, "ev_step", "ev_s", "ev_grad")
        for name, p in populations.items():
            self._expose_population(name, p, populations_back[name])
        for s in synapses:
            self._expose(s.projection.name, s.weights, "w", "gw")

    @property
    def duration(self) -> Quantity:
        """Length of a run."""
        return self.plan.steps * self.plan.dt * second

    def _expose(self, name: str, group: NeuronGroup, *keys: str) -> None:
        self.arrays |= {f"{name}.{k}": [group.variables[k]] for k in keys}

    def _expose_population(self, name: str, f: ForwardPopulation, b: BackwardPopulation) -> None:
        p = f.population
        for parameter in p.population.model.parameters:
            self.arrays[f"{name}.{parameter}"] = [g.variables[parameter] for g in (f.group, b.group)]
        for x, e in p.system.initial.items():
            self._expose(name, f.group, x.name)
            if e != 0:
                self._expose(name, f.group, f"{x.name}_initial")
            self._expose(name, b.group, f"lambda_{x.name}")
        self._expose(name, b.group, *(f"grad_{q.name}" for q in p.grid.learnable))
        if f.store is not None:
            self._expose(name, f.store, "ev_step", "ev_r", "ev_dl")
            self._expose(name, f.group, "ev_slot", "lost_events", "unresolved_events")
            self._expose(name, b.group, "smallest_slope")
        if f.observed:
            self._expose(name, f.group, "max_value")
            self._expose(name, b.group, "max_error")
        if f.samples is not None:
            self._expose(name, f.samples, "sample_value", "sample_error")
