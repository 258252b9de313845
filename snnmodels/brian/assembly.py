"""All Brian2 objects of a network, forward and backward, and the arrays that a caller writes and reads."""

from __future__ import annotations

from dataclasses import dataclass, field

from brian2 import Network, second
from brian2.core.variables import Variable

from .initialisation import Initialisation
from .inputs import BackwardInput, ForwardInput
from .plan import Plan
from .populations import BackwardPopulation, ForwardPopulation
from .projections import PortableProjection

__all__ = ["Assembly"]


@dataclass
class Assembly:
    """The objects of one plan.

    Attributes
    ----------
    forward, backward : brian2.Network
    initial_forward, initial_backward : list
        What is set before each run.
    writable, readable : mapping of str to list of Variable or Variable
        Arrays by key: ``"<projection>.w"``, ``"<population>.<parameter>"``, ``"<population>.<state>"`` (at time 0),
        ``"<input>.ev_step"``, ... A writable key may stand for several variables that hold the same values.
    """

    plan: Plan
    inputs: dict[str, ForwardInput] = field(init=False, default_factory=dict)
    populations: dict[str, ForwardPopulation] = field(init=False, default_factory=dict)
    projections: dict[str, PortableProjection] = field(init=False, default_factory=dict)
    forward: Network = field(init=False)
    backward: Network = field(init=False)
    initial_forward: Initialisation = field(init=False, default_factory=list)
    initial_backward: Initialisation = field(init=False, default_factory=list)
    writable: dict[str, list[Variable]] = field(init=False, default_factory=dict)
    read_forward: dict[str, Variable] = field(init=False, default_factory=dict)
    read_backward: dict[str, Variable] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        plan = self.plan
        forward: dict[str, ForwardInput | ForwardPopulation] = {}
        backward: dict[str, BackwardInput | BackwardPopulation] = {}
        for s in plan.network.inputs:
            self.inputs[s.name] = forward[s.name] = fi = ForwardInput(plan, s)
            backward[s.name] = BackwardInput(plan, fi)
            self._expose_input(s.name, fi)
        for name, p in plan.populations.items():
            self.populations[name] = forward[name] = fp = ForwardPopulation(plan, p)
            backward[name] = bp = BackwardPopulation(plan, fp)
            self._expose_population(name, fp, bp)
        for q in plan.network.projections:
            target, target_backward = self.populations[q.target], backward[q.target]
            assert isinstance(target_backward, BackwardPopulation)
            self.projections[q.name] = r = PortableProjection(
                plan, q, forward[q.source], target, backward[q.source], target_backward
            )
            self.initial_backward += r.initial_backward
            self.writable[f"{q.name}.w"] = [r.weights.variables["w"]]
            self.read_backward[f"{q.name}.w"] = r.weights.variables["gw"]
        self.forward = Network(*(f.group for f in forward.values()), *(q.forward for q in self.projections.values()))
        self.backward = Network(*(b.group for b in backward.values()), *(q.backward for q in self.projections.values()))
        kept = [f.store for f in forward.values()] + [f.trajectory for f in self.populations.values()]
        for group in (*filter(None, kept), *(q.weights for q in self.projections.values())):
            # reached through links and never simulated; Brian2 would warn that no network holds them
            group._network = self.forward.name
        for f in forward.values():
            self.initial_forward += f.initial
        for b in backward.values():
            self.initial_backward += b.initial

    @property
    def duration(self) -> object:
        """Length of a run as a Brian2 quantity."""
        return self.plan.steps * self.plan.dt * second

    def _expose_input(self, name: str, f: ForwardInput) -> None:
        store = f.store.variables
        self.writable |= {f"{name}.ev_step": [store["ev_step"]], f"{name}.ev_s": [store["ev_s"]]}
        self.read_backward[f"{name}.ev_grad"] = store["ev_grad"]

    def _expose_population(self, name: str, f: ForwardPopulation, b: BackwardPopulation) -> None:
        p, v, w = f.population, f.group.variables, b.group.variables
        for parameter in p.population.model.parameters:
            self.writable[f"{name}.{parameter}"] = [v[parameter], w[parameter]]
        for x, e in p.system.initial.items():
            if e != 0:
                self.writable[f"{name}.{x.name}"] = [v[f"{x.name}_initial"]]
            self.read_backward[f"{name}.lambda_{x.name}"] = w[f"lambda_{x.name}"]
        for q in p.grid.learnable:
            self.read_backward[f"{name}.{q.name}"] = w[f"grad_{q.name}"]
        if p.spiking:
            assert f.store is not None
            s = f.store.variables
            self.read_forward |= {f"{name}.ev_step": s["ev_step"], f"{name}.ev_r": s["ev_r"]}
            self.read_forward |= {f"{name}.{k}": v[k] for k in ("ev_slot", "lost_events", "unresolved_events")}
            self.read_backward[f"{name}.smallest_slope"] = w["smallest_slope"]
            if name == self.plan.network.output:
                self.writable[f"{name}.ev_dl"] = [s["ev_dl"]]
        if f.observed:
            self.writable[f"{name}.max_error"] = [w["max_error"]]
            self.read_forward[f"{name}.max_value"] = v["max_value"]
