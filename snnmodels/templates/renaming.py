"""A model in other words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from .model import Assignment, Model

__all__ = ["renamed"]


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
    # functions and units are never called as variables are
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, names)) + r")\b")

    def words(text: str) -> str:
        return pattern.sub(lambda match: names[match[1]], text)

    def line(text: str) -> str:
        derivative = re.fullmatch(r"d(\w+)/dt = (.*)", text)
        return f"d{words(derivative[1])}/dt = {words(derivative[2])}" if derivative else words(text)

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
            name: replace(r, on_pre=statements(r.on_pre), weight=words(r.weight)) for name, r in model.receptors.items()
        },
        constraints=tuple(map(words, model.constraints)),
        open_derivatives={words(name): words(rhs) for name, rhs in model.open_derivatives.items()},
        equations="\n".join(map(line, model.equations.splitlines())),
        refractory=model.refractory
        and replace(
            model.refractory,
            duration=words(model.refractory.duration),
            hold=tuple(map(words, model.refractory.hold)),
        ),
    )
