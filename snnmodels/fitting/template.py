"""A fitted model as a template: one TOML file of a neuron, with the fitted values as defaults."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..templates import Document, compose_model
from ..templates.expressions import substitute
from ..templates.library import find, read_toml
from ..templates.model import Model

__all__ = ["as_template", "bare_model"]

_PREFIXES = {
    "second": ("ms", 1e-3), "volt": ("mV", 1e-3), "amp": ("pA", 1e-12), "farad": ("pF", 1e-12), "siemens": ("nS", 1e-9),
    "ohm": ("Mohm", 1e6),
}  # fmt: skip


def bare_model(components: str) -> Model:
    """A neuron of the library with mechanisms and without synapses, whose input a current alone drives.

    Parameters
    ----------
    components : str
        Names of the library joined by plus signs, the neuron first, as in ``"lif_current+current_adaptation"``.

    Raises
    ------
    TemplateError
        If they don't fit together, or one of them is a synapse.
    """
    documents = []
    for name in components.split("+"):
        path = find(name, ("neuron", "mechanism"))
        content = {key: value for key, value in read_toml(path).items() if key != "default_synapse"}
        documents.append(Document(name, str(path), content))
    return compose_model(*documents, name=components)


def as_template(model: Model, values: Mapping[str, float], *, title: str, description: str) -> str:
    """A model without synapses as the text of one neuron's file.

    Parameters
    ----------
    model : Model
        As `bare_model` gives.
    values : mapping of str to float
        Defaults in the place of the model's own, in SI base units; written with ten digits.
    title, description : str

    Returns
    -------
    str
        `load_model` reads it from a file; synapses of the library go with it where they fit the input's unit.

    Raises
    ------
    ValueError
        If the model has a receptor, or a value is of a parameter that it doesn't have.
    """
    if model.receptors:
        raise ValueError(f"{model.name} has synapses, which are no part of a neuron's file; take bare_model")
    for name in values:
        if name not in model.parameters:
            raise ValueError(model.no_parameter(name))
    driven = [i for i in model.inputs.values() if i.name not in model.parameters]  # by mechanisms, written out
    opened = {i.drive: i.name for i in driven}
    opened |= {i.drive: "0" for i in model.inputs.values() if i.name in model.parameters}
    lines = []
    for s in model.states:
        rhs = model.derivatives[s.name]
        if driven and s.name in model.open_derivatives:
            rhs = substitute(model.open_derivatives[s.name], opened)
        lines.append(f"d{s.name}/dt = {rhs} : {s.unit}")
    document: dict[str, Any] = {
        "kind": "neuron", "title": title, "description": description, "references": list(model.references),
        "equations": "\n".join(lines),
    }  # fmt: skip
    if model.threshold is not None:
        document |= {"threshold": model.threshold, "reset": [str(a) for a in model.reset]}
    if model.constraints:
        document["constraints"] = list(model.constraints)
    if model.refractory is not None:
        r = model.refractory
        document["refractory"] = {"duration": r.duration, "hold": list(r.hold), "arrivals": r.arrivals}
        if r.hold_duration is not None:
            document["refractory"]["hold_duration"] = r.hold_duration
    document["inputs"] = {
        i.name: {"unit": i.unit, "description": i.description} | ({"scale": f"{i.scale!r}*{i.unit}"} if i.scale else {})
        for i in model.inputs.values()
    }
    document["states"] = {s.name: {"initial": s.initial, "description": s.description} for s in model.states}
    document["parameters"] = {
        p.name: {
            "default": _written(values.get(p.name, p.value), p.unit), "unit": p.unit, "description": p.description,
            "positive": p.positive,
        }
        for p in model.parameters.values()
        if p.name not in model.inputs
    }  # fmt: skip
    return _toml(document)


def _written(value: float, unit: str) -> str | float:
    """A value with a unit that people read."""
    if unit == "1":
        return float(f"{value:.10g}")
    name, size = _PREFIXES.get(unit, (f"({unit})", 1.0))
    return f"{value / size:.10g}*{name}"


def _toml(document: Mapping[str, Any]) -> str:
    """A document of plain keys, then tables, whose own tables are written on one line."""
    plain = [f"{key} = {_value(key, x)}" for key, x in document.items() if not isinstance(x, Mapping)]
    tables = []
    for key, table in document.items():
        if isinstance(table, Mapping):
            tables += ["", f"[{key}]", *(f"{name} = {_value(name, x)}" for name, x in table.items())]
    return "\n".join([*plain, *tables]) + "\n"


def _value(key: str, x: Any) -> str:
    if isinstance(x, Mapping):
        return "{ " + ", ".join(f"{name} = {_value(name, each)}" for name, each in x.items()) + " }"
    if isinstance(x, list):
        return "[" + ", ".join(_value(key, each) for each in x) + "]"
    if isinstance(x, str) and "\n" in x and '"""' not in x:
        return '"""\n' + x.replace("\\", "\\\\") + '\n"""'
    return json.dumps(x, ensure_ascii=False)

