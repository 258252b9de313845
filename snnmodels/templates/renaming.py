"""A model in other words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from .model import Assignment, Model, Parameter
from .units import evaluate_quantity, is_unit_name, numbers_in, unit_of_dimension

__all__ = ["renamed", "with_units_as_parameters"]


def renamed(model: Model, names: Mapping[str, str]) -> Model:
    """The same model with other names for some of its states, parameters, subexpressions and weights.

    Parameters
    ----------
    model : Model
    names : mapping of str to str
        New name by old one; the new ones must be free.

    Returns
    -------
    Model
        States, parameters and receptors in the same order.
    """
    if not names:
        return model
    # functions are never called as variables are
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, names)) + r")\b")

    def words(text: str) -> str:
        return pattern.sub(lambda match: names[match[1]], text)

    def line(text: str) -> str:
        code, colon, unit = text.rpartition(" : ")
        derivative = re.fullmatch(r"d(\w+)/dt = (.*)", code)
        code = f"d{words(derivative[1])}/dt = {words(derivative[2])}" if derivative else words(code)
        return f"{code}{colon}{unit}"

    def statements(code: tuple[Assignment, ...]) -> tuple[Assignment, ...]:
        return tuple(Assignment(words(s.variable), s.operator, words(s.expression)) for s in code)

    return replace(
        model,
        states=tuple(replace(s, name=words(s.name), initial=words(s.initial)) for s in model.states),
        derivatives={words(name): words(rhs) for name, rhs in model.derivatives.items()},
        parameters={words(name): replace(p, name=words(name)) for name, p in model.parameters.items()},
        threshold=model.threshold and words(model.threshold),
        reset=statements(model.reset),
        receptors={
            name: replace(r.mapped(words, words), weight=words(r.weight)) for name, r in model.receptors.items()
        },
        constraints=tuple(map(words, model.constraints)),
        derived={
            words(name): replace(d, name=words(name), expression=words(d.expression))
            for name, d in model.derived.items()
        },
        open_derivatives={words(name): words(rhs) for name, rhs in model.open_derivatives.items()},
        equations="\n".join(map(line, model.equations.splitlines())),
        refractory=model.refractory and model.refractory.mapped(words, words),
    )


def with_units_as_parameters(model: Model) -> Model:
    """The same model with a parameter in the place of each unit in its expressions.

    Its expressions as SymPy then have the dimensions that they are written with, where the numbers that units stand for
    would have none.

    Parameters
    ----------
    model : Model

    Returns
    -------
    Model
        `model` itself if there are no units in its expressions.
    """
    expressions = [*model.derivatives.values(), *(s.initial for s in model.states), *model.constraints]
    expressions += [s.expression for s in (*model.reset, *(s for r in model.receptors.values() for s in r.on_pre))]
    expressions += [e for r in model.receptors.values() if r.source is not None for _, e in r.source.expressions()]
    expressions += [] if model.threshold is None else [model.threshold]
    expressions += [] if model.refractory is None else model.refractory.durations
    units = sorted({name for text in expressions for name in numbers_in(text) if is_unit_name(name)})
    taken = {*model.state_names, *model.parameters, *(r.weight for r in model.receptors.values())}
    names = {}
    for unit in units:
        names[unit] = f"own_{unit}_"
        while names[unit] in taken:
            names[unit] = f"own_{names[unit]}_"
    if not names:
        return model
    parameters = {}
    for unit, name in names.items():
        value, dimension, text = evaluate_quantity(unit)
        parameters[name] = Parameter(name, value, unit_of_dimension(dimension), text, "a unit")
    lines = [f"{p.name} : {p.unit} (constant, shared)" for p in parameters.values()]
    new = renamed(model, names)
    equations = "\n".join([new.equations, *lines])
    return replace(new, parameters={**new.parameters, **parameters}, equations=equations)
