"""Sources of given spike times as lists in the order of the steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from brian2 import NeuronGroup
from brian2.core.variables import Variable
from brian2.units import second

from ...templates.network import SpikeInput
from ..initialisation import Initialisation
from ..plan import Plan
from ..rendering import EquationList, storage
from .populations import EventList
from .runner import TemplateRunner

__all__ = ["CompiledBackwardInput", "CompiledForwardInput"]

RATE = (1 / second).dim


@dataclass
class CompiledForwardInput:
    """The list and the runner that picks the spikes of each step."""

    plan: Plan
    source: SpikeInput
    group: NeuronGroup = field(init=False)
    events: EventList = field(init=False)
    runner: TemplateRunner = field(init=False)
    initial: Initialisation = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        entries, own = EquationList(), EquationList()
        entries.parameter("ev_s", second.dim)
        entries.parameter("ev_grad", RATE)
        own.parameter("s_arrival", second.dim)
        own.parameter("q_time", RATE)
        name, n = self.source.name, self.plan.batch_size * self.source.n
        self.events = EventList.create(name, n, self.plan.steps, n * self.plan.input_spikes, entries)
        self.group = storage(n, own, f"{name}_forward")
        self.runner = self.run("input_now", "groups", f"{name}_now_forward", backward=False)

    def run(self, template: str, when: str, name: str, *, backward: bool) -> TemplateRunner:
        """A runner over the list."""
        v = self.group.variables
        arrays = self.events.arrays("ev_s", "ev_grad") | {k: v[k] for k in ("s_arrival", "q_time")}
        keywords = {"n": self.plan.batch_size * self.source.n, "steps": self.plan.steps, "backward": backward}
        return TemplateRunner(template, arrays, when=when, name=name, keywords=keywords)

    @property
    def objects(self) -> list[Any]:
        """What the network runs."""
        return [self.runner]

    @property
    def source_arrays(self) -> dict[str, Variable]:
        """What a projection from here reads and writes."""
        return {"ev_now": self.events.now} | {k: self.group.variables[k] for k in ("s_arrival", "q_time")}


@dataclass
class CompiledBackwardInput:
    """The same list met backward; keeps the sensitivity to every time."""

    plan: Plan
    forward: CompiledForwardInput
    initial: Initialisation = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        f, name = self.forward, self.forward.source.name
        self._runners = [
            f.run("input_now", "thresholds", f"{name}_now_backward", backward=True),
            f.run("input_keep", "resets", f"{name}_keep", backward=True),
        ]

    @property
    def objects(self) -> list[Any]:
        """What the network runs."""
        return list(self._runners)

    @property
    def source_arrays(self) -> dict[str, Variable]:
        """What a projection from here reads and writes."""
        return self.forward.source_arrays
