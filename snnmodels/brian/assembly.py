"""All Brian2 objects of a network, forward and backward, and the arrays that a caller writes and reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from brian2 import Network, Quantity, second
from brian2.core.variables import Variable

from .events import EventLayout, ListLayout, SlotLayout
from .initialisation import Initialisation
from .inputs import BackwardInput, ForwardInput
from .plan import Plan
from .populations import BackwardPopulation, ForwardPopulation
from .projections import PortableProjection
from .vectorised import VectorisedProjection

__all__ = ["Assembly", "layout_of"]


def layout_of(plan: Plan) -> EventLayout:
    """How the assembly of a plan lays out its spikes."""
    return ListLayout(plan) if plan.compiled else SlotLayout(plan)


@dataclass
class Assembly:
    """The objects of one plan.

    Attributes
    ----------
    forward, backward : brian2.Network
    initial_forward, initial_backward : list
        What is set before each run.
    parts : list
        Populations, inputs and projections; they own groups that Brian2 refers to only weakly.
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
        # all forms have the same parts with the same interfaces
        make_input: tuple[Any, Any] = (ForwardInput, BackwardInput)
        make_population: tuple[Any, Any] = (ForwardPopulation, BackwardPopulation)
        make_projection: Any = VectorisedProjection if self.plan.form == "dense" else PortableProjection
        if self.plan.compiled:
            from . import compiled  # defines code objects for C++ standalone, which the runtime doesn't need

            make_input = (compiled.CompiledForwardInput, compiled.CompiledBackwardInput)
            make_population = (compiled.CompiledForwardPopulation, compiled.CompiledBackwardPopulation)
            make_projection = compiled.CompiledProjection
        forward: dict[str, Any] = {}
        backward: dict[str, Any] = {}
        for source in self.plan.network.inputs:
            f = forward[source.name] = make_input[0](self.plan, source)
            backward[source.name] = make_input[1](self.plan, f)
            self._expose_input(source.name, f)
        for name, p in self.plan.populations.items():
            f = forward[name] = make_population[0](self.plan, p)
            backward[name] = make_population[1](self.plan, f)
            self._expose_population(name, f, backward[name])
        objects_forward = [x for part in forward.values() for x in part.objects]
        objects_backward = [x for part in backward.values() for x in part.objects]
        for q in self.plan.network.projections:
            r = make_projection(
                self.plan, q, forward[q.source], forward[q.target], backward[q.source], backward[q.target]
            )
            self.parts.append(r)
            self.initial_backward += r.initial_backward
            self.arrays |= {f"{q.name}.{k}": [r.weights.variables[k]] for k in ("w", "gw")}
            objects_forward += r.forward
            objects_backward += r.backward
        self.forward, self.backward = Network(*objects_forward), Network(*objects_backward)
        self.parts += [*forward.values(), *backward.values()]
        for part in forward.values():
            self.initial_forward += part.initial
        for part in backward.values():
            self.initial_backward += part.initial

    @property
    def duration(self) -> Quantity:
        """Length of a run."""
        return self.plan.steps * self.plan.dt * second

    def _expose_input(self, name: str, f: Any) -> None:
        if self.plan.compiled:
            self._expose(name, f.events.arrays("ev_s", "ev_grad"), "ev_neuron", "ev_end", "ev_s", "ev_grad")
        else:
            self._expose(name, f.store.variables, "ev_step", "ev_s", "ev_grad")

    def _expose(self, name: str, variables: Any, *keys: str) -> None:
        self.arrays |= {f"{name}.{k}": [variables[k]] for k in keys}

    def _expose_population(self, name: str, f: Any, b: Any) -> None:
        p, v, w = f.population, f.group.variables, b.group.variables
        for parameter in p.population.model.parameters:
            self.arrays[f"{name}.{parameter}"] = [v[parameter], w[parameter]]
        for x, e in p.system.initial.items():
            if e != 0:
                self.arrays[f"{name}.{x.name}_initial"] = [v[f"{x.name}_initial"]]
            self._expose(name, w, f"lambda_{x.name}")
        self._expose(name, w, *(f"grad_{q.name}" for q in p.grid.learnable))
        if p.spiking:
            self.arrays[f"{name}.smallest_slope"] = [b.smallest_slope]
            if self.plan.compiled:
                self._expose(name, f.events.arrays("ev_r", "ev_dl"), "ev_neuron", "ev_end", "ev_r", "ev_dl")
                self._expose(name, f.runner_arrays, "lost_events", "unresolved_events")
            else:
                self._expose(name, f.store.variables, "ev_step", "ev_r", "ev_dl")
                self._expose(name, v, "ev_slot", "lost_events", "unresolved_events")
        if f.observed:
            self._expose(name, v, "max_value")
            self._expose(name, w, "max_error")
        if f.samples is not None:
            self._expose(name, f.samples.variables, "sample_value", "sample_error")
