"""Whether a composition makes sense: every name defined, every dimension consistent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import takewhile
from operator import ne

from ._component import Component
from ._merge import Merged
from .constraints import broken, parse_constraint
from .errors import TemplateError, located, suggest
from .expressions import substitute
from .model import AMPLITUDE, DRIVE, Assignment, Model
from .units import Dimension, expression_dimension, unit_dimension, variables_in, wrong_unit

__all__ = ["check_composition", "check_defaults", "check_used"]

Dimensions = Mapping[str, Dimension]


def check_composition(parts: Sequence[Component], merged: Merged) -> None:
    """Check every expression and statement of every component against all variables of the composition.

    Raises
    ------
    TemplateError
        For an undefined name, an inconsistent or wrong dimension, or an assignment to anything but a state.
    """
    parameters = {p.name: unit_dimension(p.unit) for p in merged.parameters.values()}
    fixed = {d.name: unit_dimension(d.unit) for d in merged.derived.values()}
    constants = parameters | fixed
    states = {s.name: unit_dimension(s.unit) for s in merged.states.values()}
    everything = constants | states | {s.name: unit_dimension(s.unit) for s in merged.subexpressions.values()}
    neuron = parts[0]
    for part in parts:
        _check_functions(part, everything, neuron)
    for part in parts:
        # before the equations, in which these are already substituted
        for name, term in part.add_inputs.items():
            _check(part, f"add.inputs.{name}", term, everything, unit_dimension(neuron.inputs[name].unit))
    derived_before: set[str] = set()
    for part in parts:
        _check_equations(part, everything)
        for name, derived in part.derived.items():
            known = {n: d for n, d in constants.items() if n not in fixed or n in derived_before}
            what = "a parameter, or derived before it,"
            _check(part, f"derived.{name}.value", derived.expression, known, constants[name], what)
            derived_before.add(name)
        initials = {f"states.{s.name}.initial": (s.name, s.initial) for s in part.states.values()}
        initials |= {f"replace.initial.{name}": (name, text) for name, text in part.replace_initial.items()}
        for key, (name, initial) in initials.items():
            if initial != "0":
                above = {n: states[n] for n in takewhile(partial(ne, name), states)}
                _check(part, key, initial, constants | above, states[name], "a parameter, or a state above it,")
        prefix = "" if part.kind == "neuron" else "replace."
        for key, statements in ((f"{prefix}reset", part.reset or ()), ("add.reset", part.add_reset)):
            for statement in statements:
                _check_statement(part, key, statement, everything, states)
        if part.threshold is not None:
            left, right = part.threshold
            _check(
                part, f"{prefix}threshold", right, everything, _dimension(part, f"{prefix}threshold", left, everything)
            )
        if part.add_threshold is not None and merged.threshold is not None:
            side = expression_dimension(merged.threshold[0], everything)
            _check(part, "add.threshold", part.add_threshold, everything, side)
        for constraint in part.constraints:
            _check_constraint(part, "constraints", constraint, constants, "a parameter")
        _check_receptor(part, parts, everything, states)
        _check_source(part, everything, constants)
        _check_refractory(part, constants, states)
        if part.pseudospike is not None:
            if merged.threshold is None:
                raise TemplateError(part.file, "pseudospike", f"{part.name} does not spike, with or without a drive")
            if DRIVE in everything:
                message = f"its constant is called {DRIVE!r}; choose another name for that variable of the model"
                raise TemplateError(part.file, "pseudospike", message)
            known = constants | {DRIVE: unit_dimension(neuron.inputs[part.pseudospike.input].unit)}
            what = f"{DRIVE!r}, a parameter or a state"
            _check(part, "pseudospike.time", part.pseudospike.time, states | known, unit_dimension("second"), what)
            for constraint in part.pseudospike.constraints:
                _check_constraint(part, "pseudospike.constraints", constraint, known, f"{DRIVE!r} or a parameter")


def _check_functions(part: Component, everything: Dimensions, neuron: Component) -> None:
    """Names of functions, and the dimension of every call."""
    for function in part.functions:
        if function.name in everything or function.name in neuron.inputs:
            message = f"the name {function.name!r} is already that of a variable of the model; choose another"
            raise TemplateError(part.file, f"functions.{function.name}", message)
    weight = {} if part.receptor is None else {part.receptor.weight: unit_dimension(part.receptor.weight_unit)}
    known = {**everything, **weight}
    for call in part.calls:
        if known.keys() >= set(variables_in(call.expression)):  # else there is more to say about the expression
            with located(part.file, call.key):
                try:
                    expression_dimension(call.expression, known)
                except ValueError as error:
                    raise ValueError(f"{call.written}: {error}") from None


def _check_equations(part: Component, everything: Dimensions) -> None:
    per_second = unit_dimension("1/second")
    for name, rhs in part.derivatives.items():
        _check(part, f"equations.d{name}/dt", rhs, everything, everything[name] * per_second)
    for name, sub in part.subexpressions.items():
        _check(part, f"equations.{name}", sub.expression, everything, everything[name])
    for name, term in part.add_derivatives.items():
        _check(part, f"add.derivatives.{name}", term, everything, everything[name] * per_second)


def _check_receptor(
    part: Component, parts: Sequence[Component], everything: Dimensions, states: Dimensions
) -> None:
    receptor = part.receptor
    if receptor is None:
        return
    if (name := receptor.weight) in everything:
        # the component that declares the variable is more often the user's own than the synapse is
        kinds = ("states", "parameters", "derived", "subexpressions", "inputs")
        places = ((other.file, f"{kind}.{name}") for other in parts for kind in kinds if name in getattr(other, kind))
        raise TemplateError(
            *next(places, (part.file, "weight.name")),
            f"{name!r} is also what {part.name} ({part.file}) calls its weights; give the variable another name",
        )
    known = {**everything, receptor.weight: unit_dimension(receptor.weight_unit)}
    for statement in receptor.on_pre:
        _check_statement(part, "on_pre", statement, known, states)


def _check_source(part: Component, everything: Dimensions, constants: Dimensions) -> None:
    """The states of a synapse's sources read each other and parameters: the neuron is somebody else."""
    source = None if part.receptor is None else part.receptor.source
    if source is None:
        return
    own = {s.name: unit_dimension(s.unit) for s in source.states}
    for name in (*own, AMPLITUDE):
        if name in everything:
            message = f"the name {name!r} is already that of a variable of the model; choose another"
            raise TemplateError(part.file, "source.equations", message)
    known, what = {**constants, **own}, "a parameter, or a state of the source,"
    for name, rhs in source.derivatives.items():
        _check(part, f"source.equations.d{name}/dt", rhs, known, own[name] * unit_dimension("1/second"), what)
    for s in source.states:
        if s.initial != "0":
            _check(part, f"source.states.{s.name}.initial", s.initial, constants, own[s.name], "a parameter")
    assigned = {**own, AMPLITUDE: unit_dimension("1")}
    for k, statement in enumerate(source.on_pre):
        if any(s.variable == AMPLITUDE for s in source.on_pre[:k]):
            known = {**known, AMPLITUDE: unit_dimension("1")}
        elif statement.variable == AMPLITUDE and statement.operator != "=":
            message = f"{str(statement)!r} changes {AMPLITUDE}, which has no value yet; set it by {AMPLITUDE} = ..."
            raise TemplateError(part.file, "source.on_pre", message)
        _check_statement(part, "source.on_pre", statement, known, assigned)


def _check_constraint(part: Component, key: str, constraint: str, known: Dimensions, what: str) -> None:
    lesser, greater = parse_constraint(constraint)
    unit = _dimension(part, key, greater, known, what)
    if "0" in (lesser, greater):  # 0 is 0 in every unit
        _dimension(part, key, lesser, known, what)
    else:
        _check(part, key, lesser, known, unit, what)


def _check_refractory(part: Component, parameters: Dimensions, states: Dimensions) -> None:
    refractory = part.refractory
    if refractory is None:
        return
    for key, text in zip(("duration", "hold_duration"), refractory.durations, strict=False):
        _check(part, f"refractory.{key}", text, parameters, unit_dimension("second"), "a parameter")
    if refractory.hold_duration is not None and not refractory.hold:
        message = "'hold' is empty; name the states that are held for that long, or leave this out"
        raise TemplateError(part.file, "refractory.hold_duration", message)
    for name in refractory.hold:
        if name not in states:
            message = f"{name!r} is no state of the model; {suggest(name, states)}"
            raise TemplateError(part.file, "refractory.hold", message)


def _check_statement(
    part: Component, key: str, statement: Assignment, everything: Dimensions, states: Dimensions
) -> None:
    if statement.variable not in states:
        hint = suggest(statement.variable, states)
        raise TemplateError(part.file, key, f"{str(statement)!r} assigns to {statement.variable!r}, no state; {hint}")
    scaling = statement.operator in ("*=", "/=")
    expected = unit_dimension("1") if scaling else states[statement.variable]
    _check(part, key, statement.expression, everything, expected)


def _check(
    part: Component, key: str, expression: str, known: Dimensions, expected: Dimension, what: str = "a variable"
) -> None:
    found = _dimension(part, key, expression, known, what)
    if found is not expected:
        raise TemplateError(part.file, key, f"{expression!r} {wrong_unit(found, expected)}")


def _dimension(part: Component, key: str, expression: str, known: Dimensions, what: str = "a variable") -> Dimension:
    _check_defined(part, key, variables_in(expression), known, what, expression)
    with located(part.file, key):
        return expression_dimension(expression, known)


def _check_defined(
    part: Component, key: str, names: Iterable[str], known: Dimensions, what: str, expression: str
) -> None:
    for name in names:
        if name in known:
            continue
        time = "models do not depend on time itself; make it a state"
        noise = "noise has no gradient; leave it out, or drive the neurons by a sampled current that is drawn before"
        if name in ("t", "dt"):
            hint = time
        else:
            hint = noise if name == "xi" or name.startswith("xi_") else suggest(name, known)  # as Brian2 calls it
        raise TemplateError(part.file, key, f"{expression!r} uses {name!r}, which isn't {what} of the model; {hint}")


def check_used(part: Component) -> None:
    """`TemplateError` if a component declares a name that none of its own expressions uses."""
    used = {name for _, expression in part.expressions() for name in variables_in(expression)}
    declared = [(f"parameters.{name}", name) for name in part.parameters]
    declared += [(f"derived.{name}", name) for name in part.derived]
    declared += [(f"inputs.{name}", name) for name in part.inputs]
    declared += [(f"equations.{name}", name) for name in part.subexpressions]
    if part.receptor is not None:
        declared.append(("weight.name", part.receptor.weight))
    for key, name in declared:
        if name not in used:
            raise TemplateError(part.file, key, f"{name!r} is declared but not used; use it or remove it")


def check_defaults(parts: Iterable[Component], model: Model) -> None:
    """`TemplateError` if the defaults of a composition don't fulfil its constraints."""
    values = {name: p.value for name, p in model.parameters.items()}
    derived = {name: d.expression for name, d in model.derived.items()}
    for part in parts:
        if problem := broken([substitute(text, derived) for text in part.constraints], values):
            raise TemplateError(part.file, "constraints", problem)
