"""The value that a set of TOML templates composes to: one neuron model with its synapses.

A `Model` is plain data in Brian2's equation syntax. It knows nothing of SymPy, of gradients or of a simulation, so it
can be printed, compared and tested alone. `snnmodels.symbolic.hybrid_system` reads it; so does
`snnmodels.brian` to make ordinary Brian2 objects.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ._html import page, table
from .errors import brief, suggest


@dataclass(frozen=True)
class Document:
    """A component of a model as its file holds it, or would hold it where there is none.

    Attributes
    ----------
    name : str
        Of the component; that of a synapse is its receptor's.
    where : str
        The file, or what stands for its name in messages; also in `Model.files`.
    content : mapping
        As TOML is read.
    alias : str
        Of the instance, as in ``"exp_synapse:inh"``; empty for a component under its own name.
    """

    name: str
    where: str
    content: Mapping[str, Any]
    alias: str = ""

    @property
    def reference(self) -> str:
        """How a composition names it: ``"lif"``, ``"exp_synapse:inh"``."""
        return f"{self.name}:{self.alias}" if self.alias else self.name


@dataclass(frozen=True)
class Parameter:
    """A named constant of a model.

    Attributes
    ----------
    name : str
        Name used in the equations.
    value : float
        Default value in SI base units (20 ms is 0.02).
    unit : str
        Base unit in Brian2's syntax (``"second"``, ``"volt"``, ``"1"``).
    default : str
        The default as the template writes it (``"20*ms"``).
    description : str
        One line on what it means.
    positive : bool
        Whether it must be more than 0, as time constants must.
    scale : float
        Size of a typical value in SI base units; 0 where the template doesn't say.
    """

    name: str
    value: float
    unit: str
    default: str
    description: str = ""
    positive: bool = False
    scale: float = 0.0

    def problem(self, values: float | np.ndarray) -> str:
        """What is wrong with values in SI base units: empty, or ``"is -0.02 second; ..."``."""
        array = np.asarray(values, dtype=float)
        if not np.isfinite(array).all():
            return "is not finite"
        if self.positive and (array <= 0).any():
            return f"is {array.min():g} {self.unit}; it must be more than 0"
        return ""


@dataclass(frozen=True)
class Derived:
    """A named expression of parameters: used as one, but neither set nor learned."""

    name: str
    unit: str
    expression: str
    description: str = ""


@dataclass(frozen=True)
class State:
    """A state variable: its base unit and its value at time 0, an expression in the parameters (``"v_rest"``)."""

    name: str
    unit: str
    initial: str = "0"
    description: str = ""


@dataclass(frozen=True)
class Assignment:
    """``variable operator expression`` with an operator out of ``= += -= *= /=``."""

    variable: str
    operator: str
    expression: str

    def __str__(self) -> str:
        return f"{self.variable} {self.operator} {self.expression}"


AMPLITUDE = "amplitude"
"""What the statements of a `Source` set, by this name: the factor on the weights of the spike."""


@dataclass(frozen=True)
class Source:
    """States of a synapse that every source neuron has for itself, once for each projection.

    They follow their own equations from spike to spike of that neuron. What a spike does to them happens when it is
    sent; its weights are multiplied by the amplitude that it is sent with, whenever it arrives.

    Attributes
    ----------
    states : tuple of State
    derivatives : mapping of str to str
        As those of a `Model`; they read these states and parameters alone.
    on_pre : tuple of Assignment
        To these states and to `AMPLITUDE`, in order.
    """

    states: tuple[State, ...]
    derivatives: Mapping[str, str]
    on_pre: tuple[Assignment, ...]

    def expressions(self) -> Iterator[tuple[str, str]]:
        """Every expression with the key that it stands under in a file."""
        yield from ((f"source.equations.{name}", rhs) for name, rhs in self.derivatives.items())
        yield from ((f"source.states.{s.name}.initial", s.initial) for s in self.states)
        yield from (("source.on_pre", s.expression) for s in self.on_pre)

    def mapped(self, text: Callable[[str], str]) -> Source:
        """With every expression rewritten."""
        return Source(
            tuple(replace(s, initial=text(s.initial)) for s in self.states),
            {name: text(rhs) for name, rhs in self.derivatives.items()},
            tuple(replace(s, expression=text(s.expression)) for s in self.on_pre),
        )


@dataclass(frozen=True)
class Receptor:
    """What the arrival of a presynaptic spike does to the postsynaptic neuron.

    Attributes
    ----------
    name : str
        Name of the synapse template it came from.
    on_pre : tuple of Assignment
        Statements on the states of the postsynaptic neuron; they read the weight by its name.
    weight, weight_unit : str
        Name and base unit of the weight.
    description : str
        One line on what the weight means.
    source : Source or None
        What the weight is multiplied by; None for 1.
    """

    name: str
    on_pre: tuple[Assignment, ...]
    weight: str = "w"
    weight_unit: str = "1"
    description: str = ""
    source: Source | None = None

    def mapped(self, text: Callable[[str], str], name: Callable[[str], str]) -> Receptor:
        """With every expression rewritten, and other names for the states of the neuron that statements assign to."""
        return replace(
            self,
            on_pre=tuple(replace(s, variable=name(s.variable), expression=text(s.expression)) for s in self.on_pre),
            source=self.source and self.source.mapped(text),
        )


@dataclass(frozen=True)
class Input:
    """What synapses and mechanisms drive, and sampled currents may drive too.

    Attributes
    ----------
    name, unit : str
        Unit in Brian2's syntax.
    description : str
        One line on what it means.
    read_at : str
        Empty if derivatives alone read it; else what else does: ``"threshold"``, ``"reset"`` or ``"on_pre"``.
    scale : float
        Size of a typical value in SI base units; 0 where the template doesn't say.
    """

    name: str
    unit: str
    description: str = ""
    read_at: str = ""
    scale: float = 0.0

    @property
    def drive(self) -> str:
        """What a current adds to it, in `Model.open_derivatives`; no variable of a model begins so."""
        return f"_drive_{self.name}"


@dataclass(frozen=True)
class Refractory:
    """What happens after a spike: no other for `duration`, and states that are held meanwhile.

    Attributes
    ----------
    duration : str
        A time, as an expression in the parameters.
    hold : tuple of str
        States whose derivative is 0 meanwhile; may be empty.
    arrivals : str
        What an arriving spike does to the held states: nothing (``"ignore"``), or what it always does (``"apply"``).
    hold_duration : str or None
        For how long after the spike these states are held, as `duration` is written; None for as long as that.
    """

    duration: str
    hold: tuple[str, ...] = ()
    arrivals: str = "ignore"
    hold_duration: str | None = None

    @property
    def durations(self) -> tuple[str, ...]:
        """All times of the period, as expressions."""
        return (self.duration,) if self.hold_duration is None else (self.duration, self.hold_duration)

    def mapped(self, text: Callable[[str], str], name: Callable[[str], str]) -> Refractory:
        """With every expression rewritten, and other names for what is held."""
        return replace(
            self,
            duration=text(self.duration),
            hold=tuple(map(name, self.hold)),
            hold_duration=None if self.hold_duration is None else text(self.hold_duration),
        )


DRIVE = "drive"
"""What the expressions of a `Pseudospike` call the constant."""


@dataclass(frozen=True)
class Pseudospike:
    """When a neuron would spike next if from the end of the trial on one of its inputs were constant.

    Attributes
    ----------
    input : str
        The input, in whose place the constant comes.
    drive : float
        The constant unless a loss gives another, in SI base units.
    time : str
        From the end to that spike, as an expression in states, parameters and the constant (`DRIVE`).
    constraints : tuple of str
        Comparisons of parameters and the constant that must hold, so that the neuron spikes at all.
    derivatives : mapping of str to str
        As `Model.derivatives`, with the constant in the place of the input, whatever drives that.
    """

    input: str
    drive: float
    time: str
    constraints: tuple[str, ...] = ()
    derivatives: Mapping[str, str] = field(default_factory=dict)

    def mapped(self, text: Callable[[str], str]) -> Pseudospike:
        """With every expression of the file rewritten."""
        return replace(self, time=text(self.time), constraints=tuple(map(text, self.constraints)))


@dataclass(frozen=True)
class Accuracy:
    """How far results are from those of the continuous system at most, at the default tolerance of a simulation.

    Attributes
    ----------
    spike_times : float
        In seconds.
    gradient : float
        Of every array of gradients, relative in norm.
    """

    spike_times: float
    gradient: float


@dataclass(frozen=True)
class Model:
    """A hybrid dynamical neuron model, complete with receptors.

    Attributes
    ----------
    name : str
        The composition, for example ``"lif+exp_synapse+adaptive_threshold"``.
    title, description : str
        Of its neuron, for readers.
    references : tuple of str
        Of all its templates.
    states : tuple of State
        In the order of the templates.
    derivatives : mapping of str to str
        State name to the right-hand side of its differential equation, with subexpressions substituted.
    parameters : mapping of str to Parameter
    threshold : str or None
        Condition ``"left > right"``; None for a model that does not spike.
    reset : tuple of Assignment
    receptors : mapping of str to Receptor
    equations : str
        The equations as Brian2 reads them: differential equations, subexpressions, and the parameters as
        ``name : unit (constant, shared)``.
    files : tuple of str
        The files it was read from, for messages.
    refractory : Refractory or None
        None for a model that can spike again at once.
    constraints : tuple of str
        Comparisons of parameters that must hold, such as ``"v_reset < v_th"``.
    derived : mapping of str to Derived
        Named expressions of parameters, which are written out everywhere but in `equations`.
    functions : tuple of str
        Functions of the templates, as in ``"a_m(v) = ..."``, for readers: they are written out everywhere.
    inputs : mapping of str to Input
        Of the neuron, whether anything in this model drives them or not.
    open_derivatives : mapping of str to str
        As `derivatives`, for those that read an input: with `Input.drive` added to each.
    accuracy : Accuracy or None
        What the neuron's file says, of it with its default synapse; None where it says nothing.
    pseudospike : Pseudospike or None
        None for a neuron whose file declares no pseudospikes.
    components : tuple of Document
        What it was composed of.
    """

    name: str
    title: str
    description: str
    references: tuple[str, ...]
    states: tuple[State, ...]
    derivatives: Mapping[str, str]
    parameters: Mapping[str, Parameter]
    threshold: str | None
    reset: tuple[Assignment, ...]
    receptors: Mapping[str, Receptor]
    equations: str
    files: tuple[str, ...] = field(default=())
    refractory: Refractory | None = None
    constraints: tuple[str, ...] = ()
    derived: Mapping[str, Derived] = field(default_factory=dict)
    functions: tuple[str, ...] = ()
    inputs: Mapping[str, Input] = field(default_factory=dict)
    open_derivatives: Mapping[str, str] = field(default_factory=dict)
    accuracy: Accuracy | None = None
    pseudospike: Pseudospike | None = None
    components: tuple[Document, ...] = field(default=(), compare=False, repr=False)

    def __repr__(self) -> str:
        spikes = "no spikes" if self.threshold is None else f"spikes at {self.threshold}"
        receptors = f"receptors {', '.join(self.receptors)}" if self.receptors else "no receptors"
        return f"<Model {self.name!r}: states {', '.join(self.state_names)}; {spikes}; {receptors}>"

    def _repr_html_(self) -> str:
        """In a notebook: equations, events and parameters."""
        lines = [f"d{name}/dt = {rhs}" for name, rhs in self.derivatives.items()]
        if self.threshold is not None:
            lines += [f"spike when {self.threshold}", *(f"then {statement}" for statement in self.reset)]
        for r in self.receptors.values():
            lines += [f"on arrival at {r.name}: {statement}" for statement in r.on_pre]
        parameters = [(p.name, p.default, p.unit, p.description) for p in self.parameters.values()]
        title = f"{self.name}: {self.title}"
        return page(title, "\n".join(lines), table(("parameter", "default", "unit", "meaning"), parameters))

    @property
    def spiking(self) -> bool:
        """Whether the model has a threshold."""
        return self.threshold is not None

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the state variables, in order."""
        return tuple(s.name for s in self.states)

    def source_of(self, parameter: str) -> str:
        """The receptor whose sources' states read a parameter; empty if there is none."""
        for r in self.receptors.values():
            if r.source is not None and any(re.search(rf"\b{parameter}\b", e) for _, e in r.source.expressions()):
                return r.name
        return ""

    def receptor_hint(self, name: str) -> str:
        """What a name that is no receptor's may mean, as the end of a message; a component may stand before it."""
        instance = name.rpartition(":")[2]
        return f"did you mean {instance!r}?" if instance in self.receptors else suggest(name, self.receptors)

    def no_parameter(self, name: str) -> str:
        """What to say of a name that is given for a parameter and is none."""
        if name in self.derived:
            expression = self.derived[name].expression
            names = [p for p in self.parameters if re.search(rf"\b{p}\b", expression)]
            instead = f"set or learn {' or '.join(names)} instead" if names else "it is fixed"
            return f"{self.name} derives {name!r} = {expression}; {instead}"
        return f"{self.name} has no parameter {brief(name)}; {suggest(str(name), self.parameters)}"
