"""Components side by side in one set of names, by the rules of `load_model`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ._component import Component, Subexpression, Threshold
from .errors import TemplateError, suggest
from .expressions import add_term
from .model import Assignment, Parameter, Receptor, Refractory, State

__all__ = ["Merged", "merge"]

# kind, equation or default, unit, initial value
Meaning = tuple[str, str, str, str]


@dataclass
class Merged:
    """Everything the components declare together."""

    states: dict[str, State] = field(default_factory=dict)
    derivatives: dict[str, str] = field(default_factory=dict)
    subexpressions: dict[str, Subexpression] = field(default_factory=dict)
    parameters: dict[str, Parameter] = field(default_factory=dict)
    receptors: dict[str, Receptor] = field(default_factory=dict)
    threshold: Threshold | None = None
    reset: tuple[Assignment, ...] = ()
    refractory: Refractory | None = None

    def equations(self) -> str:
        """The equations as Brian2 reads them."""
        lines = [f"d{name}/dt = {rhs} : {self.states[name].unit}" for name, rhs in self.derivatives.items()]
        lines += [f"{s.name} = {s.expression} : {s.unit}" for s in self.subexpressions.values()]
        lines += [f"{p.name} : {p.unit} (constant, shared)" for p in self.parameters.values()]
        return "\n".join(lines)


def merge(parts: Sequence[Component]) -> Merged:
    """Join the declarations of all components, then apply what the mechanisms add and replace.

    Raises
    ------
    TemplateError
        If two files declare the same variable differently, or both a refractory period, or a mechanism changes what the
        neuron doesn't have.
    """
    merged = Merged()
    claims: dict[str, tuple[Component, Meaning]] = {}
    for part in parts:
        for name, key, meaning in _declarations(part):
            owner, settled = claims.setdefault(name, (part, meaning))
            if settled != meaning:
                raise TemplateError(part.file, key, _conflict(name, part, meaning, owner, settled))
        merged.states |= part.states
        merged.derivatives |= part.derivatives
        merged.subexpressions |= part.subexpressions
        merged.parameters |= part.parameters
        if part.receptor is not None:
            if part.receptor.name in merged.receptors:
                hint = f"rename one, as in {part.name.partition(':')[0]}:inh"
                raise TemplateError(part.file, "", f"there are two receptors {part.receptor.name!r}; {hint}")
            merged.receptors[part.receptor.name] = part.receptor
    neuron = parts[0]
    merged.threshold, merged.reset = neuron.threshold, neuron.reset or ()
    if (merged.threshold is None) != (neuron.reset is None):
        missing = "threshold" if merged.threshold is None else "reset"
        hint = "a spiking neuron has a threshold and a reset, which is [] if a spike leaves all states as they are"
        raise TemplateError(neuron.file, missing, f"is missing; {hint}")
    _add_refractory(merged, parts)
    replaced: dict[str, str] = {}
    for part in parts[1:]:
        _change_events(merged, part, neuron, replaced)
        for name, term in part.add_derivatives.items():
            if name not in merged.derivatives:
                hint = suggest(name, merged.derivatives)
                raise TemplateError(part.file, f"add.derivatives.{name}", f"there is no such state; {hint}")
            merged.derivatives[name] = add_term(merged.derivatives[name], term)
    return merged


def _add_refractory(merged: Merged, parts: Sequence[Component]) -> None:
    declaring = [part for part in parts if part.refractory is not None]
    if len(declaring) > 1:
        message = f"{declaring[0].file} declares a refractory period too; only one component can"
        raise TemplateError(declaring[1].file, "refractory", message)
    for part in declaring:
        if merged.threshold is None:
            hint = "so that there is nothing to be refractory after"
            raise TemplateError(part.file, "refractory", f"{parts[0].name} does not spike, {hint}")
        merged.refractory = part.refractory


def _change_events(merged: Merged, part: Component, neuron: Component, replaced: dict[str, str]) -> None:
    """Apply what one component does to threshold and reset; `replaced` remembers which file replaced which."""
    changes = {
        "replace.threshold": part.threshold,
        "replace.reset": part.reset,
        "add.threshold": part.add_threshold,
        "add.reset": part.add_reset or None,
    }
    for key, change in changes.items():
        if change is None:
            continue
        if merged.threshold is None:
            raise TemplateError(part.file, key, f"{neuron.name} does not spike, so that there is nothing to change")
        if key in replaced:
            raise TemplateError(part.file, key, f"{replaced[key]} replaces it too; only one mechanism can")
        if key.startswith("replace"):
            replaced[key] = part.file
    merged.threshold = part.threshold or merged.threshold
    merged.reset = merged.reset if part.reset is None else part.reset
    if part.add_threshold is not None and merged.threshold is not None:
        left, right = merged.threshold
        merged.threshold = (left, add_term(right, part.add_threshold))
    merged.reset += part.add_reset


def _declarations(part: Component) -> Iterable[tuple[str, str, Meaning]]:
    """Every variable that a component declares: its name, its key, and what two files must agree on."""
    for name, state in part.states.items():
        yield name, f"equations.{name}", ("a state", part.derivatives[name], state.unit, state.initial)
    for name, s in part.subexpressions.items():
        yield name, f"equations.{name}", ("a subexpression", s.expression, s.unit, "")
    for name, parameter in part.parameters.items():
        yield name, f"parameters.{name}", ("a parameter", parameter.default, parameter.unit, "")


def _conflict(name: str, part: Component, here: Meaning, owner: Component, there: Meaning) -> str:
    if name in owner.inputs and name in owner.parameters:
        return f'{name!r} is an input of {owner.file} that this doesn\'t drive; write [add] inputs.{name} = "{name}"'

    def spoken(meaning: Meaning) -> str:
        kind, value, unit, initial = meaning
        return f"{kind} {value} in {unit}" + (f" from {initial}" if initial else "")

    rename = f", or rename one, as in {part.name.partition(':')[0]}:inh" if part.kind == "synapse" else ""
    return f"{name!r} is {spoken(here)} here but {spoken(there)} in {owner.file}; make them equal{rename}"
