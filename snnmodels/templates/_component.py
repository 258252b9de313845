"""One component file with its units resolved and its expressions and statements read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from ._functions import OF_EVERY_FILE, Call, Function, check_called, read_functions, written_out
from .constraints import evaluated, parse_constraint
from .errors import TemplateError, located, suggest
from .expressions import (
    BRANCHING,
    called_functions,
    check_expression,
    parse_statements,
    parse_threshold,
    substitute,
)
from .model import (
    AMPLITUDE,
    Accuracy,
    Assignment,
    Derived,
    Parameter,
    Pseudospike,
    Receptor,
    Refractory,
    Source,
    State,
)
from .schema import (
    AccuracyTable,
    MechanismFile,
    NeuronFile,
    PseudospikeTable,
    RefractoryTable,
    SourceTable,
    StateTable,
    SynapseFile,
)
from .units import (
    check_identifier,
    expression_dimension,
    parse_equations,
    quantity_in,
    resolve_unit,
    unit_dimension,
)

__all__ = ["IDLE", "Component", "Context", "Subexpression", "read_component"]

Threshold = tuple[str, str]

IDLE = " (constant: nothing in this model drives it)"
"""Ends the description of an input that has become a parameter."""


@dataclass(frozen=True)
class Subexpression:
    """A named expression of the equations."""

    name: str
    unit: str
    expression: str


@dataclass
class Context:
    """What ``unit(x)``, ``scale(x)`` and ``initial(x)`` may ask for: that of the components read before.

    Attributes
    ----------
    units, scales, initials : dict of str to str
        By variable; `initials` are initial values with all parameters at their defaults.
    parameters : dict of str to Parameter
    """

    units: dict[str, str] = field(default_factory=dict)
    scales: dict[str, str] = field(default_factory=dict)
    initials: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, Parameter] = field(default_factory=dict)

    def for_instance(self, alias: str, extended: Iterable[Component]) -> Context:
        """What an instance is read with: as it is written, the variables of instances that it extends are its own."""
        if not alias:
            return self
        context = Context(dict(self.units), dict(self.scales), dict(self.initials), dict(self.parameters))
        for part in extended:
            for name in part.own:
                context._take(name, self, f"{name}_{alias}")
        return context

    def add_instance(self, alias: str, part: Component, context: Context) -> None:
        """Take what reading a component as an instance has added to its context, under the names of the instance."""
        for name in part.own if alias else ():
            self._take(f"{name}_{alias}", context, name)

    def _take(self, name: str, other: Context, its: str) -> None:
        for table in ("units", "scales", "initials", "parameters"):
            if its in getattr(other, table):
                getattr(self, table)[name] = getattr(other, table)[its]


@dataclass(frozen=True)
class Component:
    """What one file contributes to a model. Expressions are text in Brian2's syntax; defaults are numbers."""

    name: str
    file: str
    kind: str
    title: str
    description: str
    references: tuple[str, ...]
    states: Mapping[str, State]
    derivatives: Mapping[str, str]
    subexpressions: Mapping[str, Subexpression]
    parameters: Mapping[str, Parameter]
    inputs: Mapping[str, Parameter]
    derived: Mapping[str, Derived] = field(default_factory=dict)
    functions: tuple[Function, ...] = ()
    calls: tuple[Call, ...] = ()
    threshold: Threshold | None = None
    reset: tuple[Assignment, ...] | None = None
    receptor: Receptor | None = None
    refractory: Refractory | None = None
    requires: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    add_inputs: Mapping[str, str] = field(default_factory=dict)
    add_derivatives: Mapping[str, str] = field(default_factory=dict)
    add_threshold: str | None = None
    add_reset: tuple[Assignment, ...] = ()
    replace_initial: Mapping[str, str] = field(default_factory=dict)
    accuracy: Accuracy | None = None
    pseudospike: Pseudospike | None = None

    @property
    def own(self) -> tuple[str, ...]:
        """Names of the variables that it declares, which end in the name of an instance."""
        return (*self.states, *self.subexpressions, *self.parameters, *self.derived)

    def expressions(self) -> Iterable[tuple[str, str]]:
        """Every expression with the key it stands under."""
        yield from ((f"equations.{name}", text) for name, text in self.derivatives.items())
        yield from ((f"equations.{name}", s.expression) for name, s in self.subexpressions.items())
        yield from ((f"states.{name}.initial", s.initial) for name, s in self.states.items())
        yield from ((f"derived.{name}.value", d.expression) for name, d in self.derived.items())
        yield from ((f"replace.initial.{name}", text) for name, text in self.replace_initial.items())
        yield from (("threshold", side) for side in self.threshold or ())
        yield from (("reset", s.expression) for s in (*(self.reset or ()), *self.add_reset))
        if self.receptor is not None:
            yield from (("on_pre", s.expression) for s in self.receptor.on_pre)
            yield from self.receptor.source.expressions() if self.receptor.source is not None else ()
        yield from ((f"add.inputs.{name}", text) for name, text in self.add_inputs.items())
        yield from ((f"add.derivatives.{name}", text) for name, text in self.add_derivatives.items())
        if self.add_threshold is not None:
            yield "add.threshold", self.add_threshold
        if self.refractory is not None:
            yield from zip(("refractory.duration", "refractory.hold_duration"), self.refractory.durations, strict=False)
        yield from (("constraints", side) for text in self.constraints for side in parse_constraint(text))
        if self.pseudospike is not None:
            yield "pseudospike.time", self.pseudospike.time
            sides = (side for text in self.pseudospike.constraints for side in parse_constraint(text))
            yield from (("pseudospike.constraints", side) for side in sides)

    def mapped(self, replacements: Mapping[str, str], names: Mapping[str, str]) -> Component:
        """The component with expressions in place of some names, and new names for some of its own variables."""
        return self.rewritten(lambda expression: substitute(expression, replacements), names)

    def rewritten(self, text: Callable[[str], str], names: Mapping[str, str]) -> Component:
        """The component with every expression rewritten, and new names for some of its own variables."""

        def statements(code: tuple[Assignment, ...]) -> tuple[Assignment, ...]:
            return tuple(Assignment(names.get(s.variable, s.variable), s.operator, text(s.expression)) for s in code)

        def named(name: str) -> str:
            return names.get(name, name)

        states = (replace(s, name=named(n), initial=text(s.initial)) for n, s in self.states.items())
        derived = (replace(d, name=named(n), expression=text(d.expression)) for n, d in self.derived.items())
        subexpressions = (
            replace(s, name=named(n), expression=text(s.expression)) for n, s in self.subexpressions.items()
        )
        return replace(
            self,
            states={s.name: s for s in states},
            derivatives={named(n): text(rhs) for n, rhs in self.derivatives.items()},
            subexpressions={s.name: s for s in subexpressions},
            parameters={named(n): replace(p, name=named(n)) for n, p in self.parameters.items()},
            derived={d.name: d for d in derived},
            calls=tuple(replace(c, expression=text(c.expression)) for c in self.calls),
            replace_initial={named(n): text(e) for n, e in self.replace_initial.items()},
            threshold=self.threshold and (text(self.threshold[0]), text(self.threshold[1])),
            reset=None if self.reset is None else statements(self.reset),
            receptor=self.receptor and self.receptor.mapped(text, named),
            add_inputs={n: text(e) for n, e in self.add_inputs.items()},
            add_derivatives={named(n): text(e) for n, e in self.add_derivatives.items()},
            constraints=tuple(text(c) for c in self.constraints),
            add_threshold=None if self.add_threshold is None else text(self.add_threshold),
            add_reset=statements(self.add_reset),
            refractory=self.refractory and self.refractory.mapped(text, named),
            pseudospike=self.pseudospike and self.pseudospike.mapped(text),
        )

    def renamed(self, alias: str, extended: Iterable[Component] = ()) -> Component:
        """An instance: ``_alias`` at the end of each of its own variables and of those of what it extends.

        Parameters
        ----------
        alias : str
            Of a synapse, also the name of the receptor.
        extended : iterable of Component
            Those of which there is such an instance, as they are written.
        """
        own = {n: f"{n}_{alias}" for part in (self, *extended) for n in part.own}
        component = self.mapped(own, own)
        return replace(
            component,
            name=f"{self.name}:{alias}",
            receptor=component.receptor and replace(component.receptor, name=alias),
        )


def read_component(
    source: NeuronFile | SynapseFile | MechanismFile, name: str, file: str, context: Context
) -> Component:
    """Resolve the units of one file and read what it says; its variables join `context`.

    Raises
    ------
    TemplateError
        For a wrong unit, an expression or statement that can't be read, or a name that can't be used.
    """
    if isinstance(source, NeuronFile):
        for key, entry in source.inputs.items():
            with located(file, f"inputs.{key}.unit"):
                context.units[key] = resolve_unit(entry.unit, context.units)
    functions = read_functions(source.functions, file)
    with located(file, "equations"):
        equations = parse_equations(source.equations, context.units) if source.equations.strip() else {}
    context.units.update({variable: unit for variable, (_, _, unit) in equations.items()})
    component = Component(
        name=name,
        file=file,
        kind=source.kind,
        title=source.title,
        description=source.description.strip(),
        references=tuple(source.references),
        states=_states(source, equations, file),
        derivatives={n: rhs for n, (kind, rhs, _) in equations.items() if kind == "differential equation"},
        subexpressions={
            n: Subexpression(n, unit, rhs) for n, (kind, rhs, unit) in equations.items() if kind == "subexpression"
        },
        parameters=_parameters(source, file, context),
        inputs=_inputs(source, file, context),
        derived=_derived(source, file, context),
        functions=tuple(functions.values()),
        constraints=tuple(" ".join(text.split()) for text in source.constraints),
    )
    for constraint in component.constraints:
        with located(file, "constraints"):
            parse_constraint(constraint)
    component = _with_events(component, source, context)
    for key, expression in component.expressions():
        with located(file, key):
            check_expression(expression)
    _check_names(component)
    component = _with_calls_written_out(component, functions)
    _find_initial_values(component, context)
    return component


def _with_calls_written_out(component: Component, functions: Mapping[str, Function]) -> Component:
    expressions = list(component.expressions())
    check_called(functions, (text for _, text in expressions), component.file)
    known = {**OF_EVERY_FILE, **functions}
    if not any(name in known for _, text in expressions for name in called_functions(text)):
        return component
    calls = []
    for key, text in expressions:
        with located(component.file, key):
            expression, found = written_out(text, known)
            check_expression(expression)  # which may have become too deep
            calls += [Call(key, *call) for call in found]
    component = component.rewritten(lambda text: written_out(text, known)[0], {})
    return replace(component, calls=tuple(calls))


def _find_initial_values(component: Component, context: Context) -> None:
    """Add what the states start from, with parameters at their defaults, to the context, where that is a number."""
    context.parameters |= component.parameters
    values = {name: p.value for name, p in context.parameters.items()}
    dimensions = {name: unit_dimension(p.unit) for name, p in context.parameters.items()}
    for name, unit, expression in [
        *((d.name, d.unit, d.expression) for d in component.derived.values()),
        *((s.name, s.unit, s.initial) for s in component.states.values()),
    ]:
        try:
            expression_dimension(expression, dimensions)
        except ValueError:
            continue  # what is wrong with it is said where the composition is checked
        values[name], dimensions[name] = float(evaluated(expression, values)), unit_dimension(unit)
        if name in component.states and math.isfinite(values[name]):
            text = repr(values[name]) if unit == "1" or values[name] == 0 else f"{values[name]!r}*{unit}"
            parameter = context.parameters.get(expression)
            context.initials[name] = text if parameter is None else parameter.default


def _derived(source: NeuronFile | SynapseFile | MechanismFile, file: str, context: Context) -> dict[str, Derived]:
    derived = {}
    for name, entry in source.derived.items():
        with located(file, f"derived.{name}.unit"):
            unit = resolve_unit(entry.unit, context.units)
        derived[name] = Derived(name, unit, " ".join(str(entry.value).split()), entry.description)
    return derived


def _states(
    source: NeuronFile | SynapseFile | MechanismFile, equations: Mapping[str, tuple[str, str, str]], file: str
) -> dict[str, State]:
    differential = {name: unit for name, (kind, _, unit) in equations.items() if kind == "differential equation"}
    return _declared_states(source.states, differential, file, "states")


def _declared_states(
    tables: Mapping[str, StateTable], differential: Mapping[str, str], file: str, key: str
) -> dict[str, State]:
    """States with what their tables say of them, from their units by name."""
    for name in tables:
        if name not in differential:
            raise TemplateError(file, f"{key}.{name}", f"has no differential equation; {suggest(name, differential)}")
    states = {}
    for name, unit in differential.items():
        table = tables.get(name)
        if table is None:
            states[name] = State(name, unit)
        else:
            states[name] = State(name, unit, _initial(table.initial), table.description)
    return states


def _initial(value: str | float) -> str:
    """An initial value as text; 0 is 0 in every unit."""
    return "0" if value == 0 else str(value)


def _parameters(source: NeuronFile | SynapseFile | MechanismFile, file: str, context: Context) -> dict[str, Parameter]:
    for name, table in {**source.states, **getattr(source, "inputs", {})}.items():
        if table.scale is not None and name in context.units:
            key = "states" if name in source.states else "inputs"
            with located(file, f"{key}.{name}.scale"):
                context.scales[name] = quantity_in(table.scale, context.units[name])[1]
    for name, unit in context.units.items():
        if unit == "1":
            context.scales.setdefault(name, "1")
    parameters = {}
    for name, entry in source.parameters.items():
        with located(file, f"parameters.{name}.unit"):
            unit = resolve_unit(entry.unit, context.units)
        with located(file, f"parameters.{name}.default"):
            value, text = quantity_in(entry.default, unit, context.scales, context.initials)
            # time constants and the like; a default of 0 says that it is none of them
            positive = unit == "second" and value != 0 if entry.positive is None else entry.positive
        with located(file, f"parameters.{name}.scale"):
            scale = 0.0 if entry.scale is None else abs(quantity_in(entry.scale, unit, context.scales)[0])
        with located(file, f"parameters.{name}.default"):
            parameter = Parameter(name, value, unit, text, entry.description, positive, scale)
            if problem := parameter.problem(value):
                raise ValueError(f"{text!r} {problem}")
        parameters[name] = parameter
    return parameters


def _inputs(source: NeuronFile | SynapseFile | MechanismFile, file: str, context: Context) -> dict[str, Parameter]:
    """Inputs as the parameters that they become when nothing drives them."""
    if not isinstance(source, NeuronFile):
        return {}
    inputs = {}
    for name, table in source.inputs.items():
        unit = context.units[name]
        scale = 0.0 if table.scale is None else abs(quantity_in(table.scale, unit)[0])
        description = f"{table.description}{IDLE}"
        inputs[name] = Parameter(name, 0.0, unit, "0", description, scale=scale)
    return inputs


def _with_events(component: Component, source: NeuronFile | SynapseFile | MechanismFile, context: Context) -> Component:
    file = component.file
    match source:
        case NeuronFile():
            return replace(
                component,
                threshold=_threshold(source.threshold, file, "threshold"),
                reset=None if source.reset is None else _statements(source.reset, file, "reset"),
                refractory=_refractory(source.refractory),
                accuracy=_accuracy(source.accuracy, file),
                pseudospike=_pseudospike(source.pseudospike, file, component.inputs),
            )
        case SynapseFile():
            with located(file, "weight.unit"):
                unit = resolve_unit(source.weight.unit, context.units)
            on_pre = _statements(source.on_pre, file, "on_pre")
            if not on_pre:
                raise TemplateError(file, "on_pre", "is empty; write what an arriving spike does, as in I_syn += w")
            receptor = Receptor(
                component.name,
                on_pre,
                source.weight.name,
                unit,
                source.weight.description,
                None if source.source is None else _source(source.source, file, context),
            )
            return replace(component, receptor=receptor, add_inputs=source.add.inputs)
        case MechanismFile():
            return replace(
                component,
                threshold=_threshold(source.replace.threshold, file, "replace.threshold"),
                reset=None
                if source.replace.reset is None
                else _statements(source.replace.reset, file, "replace.reset"),
                requires=tuple(source.requires),
                add_inputs=source.add.inputs,
                add_derivatives=source.add.derivatives,
                add_threshold=source.add.threshold,
                add_reset=_statements(source.add.reset, file, "add.reset"),
                replace_initial={n: _initial(value) for n, value in source.replace.initial.items()},
                refractory=_refractory(source.refractory),
            )


def _source(table: SourceTable, file: str, context: Context) -> Source:
    with located(file, "source.equations"):
        equations = parse_equations(table.equations, dict(context.units))
        for name, (kind, _, _) in equations.items():
            if kind != "differential equation":
                raise ValueError(f"{name!r} is a {kind}; write it out, as in dx/dt = (1 - x)/tau : 1")
    states = _declared_states(table.states, {n: unit for n, (_, _, unit) in equations.items()}, file, "source.states")
    on_pre = _statements(table.on_pre, file, "source.on_pre")
    if not any(s.variable == AMPLITUDE for s in on_pre):
        message = f"sets no {AMPLITUDE}, by which weights are multiplied; write it, as in {AMPLITUDE} = u*x"
        raise TemplateError(file, "source.on_pre", message)
    return Source(tuple(states.values()), {name: rhs for name, (_, rhs, _) in equations.items()}, on_pre)


def _threshold(condition: str | None, file: str, key: str) -> Threshold | None:
    if condition is None:
        return None
    with located(file, key):
        sides = parse_threshold(condition)
        for function in (name for side in sides for name in called_functions(side) if name in BRANCHING):
            raise ValueError(
                f"{condition!r} calls {function}(): a spike is where both sides are smooth; let a state follow the "
                "condition, or use a smooth function"
            )
        return sides


def _refractory(table: RefractoryTable | None) -> Refractory | None:
    if table is None:
        return None
    shorter = table.hold_duration and table.hold_duration.strip()
    return Refractory(table.duration.strip(), tuple(dict.fromkeys(table.hold)), table.arrivals, shorter)


def _accuracy(table: AccuracyTable | None, file: str) -> Accuracy | None:
    if table is None:
        return None
    with located(file, "accuracy.spike_times"):
        time, _ = quantity_in(table.spike_times, "second")
        if not time > 0:
            raise ValueError(f"{table.spike_times!r} is no positive time; write how far spikes may be, as in '1e-8*ms'")
    return Accuracy(time, table.gradient)


def _pseudospike(table: PseudospikeTable | None, file: str, inputs: Mapping[str, Parameter]) -> Pseudospike | None:
    if table is None:
        return None
    if table.input not in inputs:
        message = f"the neuron has no input {table.input!r}; {suggest(table.input, inputs)}"
        raise TemplateError(file, "pseudospike.input", message)
    with located(file, "pseudospike.drive"):
        drive, _ = quantity_in(table.drive, inputs[table.input].unit)
    with located(file, "pseudospike.constraints"):
        for text in table.constraints:
            parse_constraint(text)
    constraints = tuple(" ".join(text.split()) for text in table.constraints)
    return Pseudospike(table.input, drive, " ".join(table.time.split()), constraints)


def _statements(code: str | list[str], file: str, key: str) -> tuple[Assignment, ...]:
    with located(file, key):
        return parse_statements(code)


def _check_names(component: Component) -> None:
    """Names are usable, and declared once."""
    places = [(f"parameters.{n}", n) for n in component.parameters] + [(f"inputs.{n}", n) for n in component.inputs]
    places += [(f"derived.{n}", n) for n in component.derived]
    taken = {*component.states, *component.subexpressions}
    if component.receptor is not None:
        places.append(("weight.name", component.receptor.weight))
        if component.receptor.source is not None:
            places += [(f"source.equations.{s.name}", s.name) for s in component.receptor.source.states]
            places.append(("source", AMPLITUDE))
    for key, name in places:
        with located(component.file, key):
            check_identifier(name)
            if name in taken:
                raise ValueError(f"the name {name!r} is already that of another variable; choose another")
        taken.add(name)
    for function in component.functions:
        if function.name in taken:
            message = f"the name {function.name!r} is already that of a variable; choose another"
            raise TemplateError(component.file, f"functions.{function.name}", message)
