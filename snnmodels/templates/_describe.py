"""A model as text to read: equations, parameters, events, receptors, references."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from .model import AMPLITUDE, DRIVE, Accuracy, Model, Pseudospike, Receptor, Refractory

__all__ = ["describe"]

_WIDTH = 100


def describe(model: Model) -> str:
    """Everything about a model as plain text, at most about 100 columns wide.

    Parameters
    ----------
    model : Model

    Returns
    -------
    str
        Title, description, equations, tables of parameters and of what is derived of them, functions, threshold, reset,
        refractory period, receptors, pseudospikes, accuracy and references.
    """
    units = {s.name: s.unit for s in model.states}
    lines = [line for line in model.equations.splitlines() if "(constant, shared)" not in line]
    equations = [line for line in lines if line.partition(" = ")[0] not in model.derived]
    states = [(s.name, _unit(s.unit), f"starts at {s.initial}", s.description) for s in model.states]
    derived = [(d.name, _unit(d.unit), f"= {d.expression}", d.description) for d in model.derived.values()]
    parameters = [(p.name, _unit(p.unit), p.default, p.description) for p in model.parameters.values()]
    blocks = [
        textwrap.fill(f"{model.name}: {model.title}", _WIDTH, break_on_hyphens=False),
        "\n\n".join(textwrap.fill(" ".join(p.split()), _WIDTH) for p in model.description.split("\n\n")),
        _section("Equations", equations),
        _section("States", _table(states)),
        _section("Parameters", _table(parameters)),
    ]
    if derived:
        blocks.append(_section("Derived of them", _table(derived)))
    if model.functions:
        blocks.append(_section("Functions, which the equations have written out", list(model.functions)))
    if model.threshold is not None:
        blocks.append(_section("Spikes when", [model.threshold]))
        nothing = ["none: a spike leaves all states as they are"]
        blocks.append(_section("Reset", [str(statement) for statement in model.reset] or nothing))
    if model.refractory is not None:
        blocks.append(_section("Refractory period", [_refractory(model.refractory)]))
    for receptor in model.receptors.values():
        heading = f"Receptor {receptor.name}: weight {receptor.weight} ({_unit(receptor.weight_unit)})"
        meaning = f"{heading}, {receptor.description}" if receptor.description else heading
        blocks.append(_section(meaning, [f"{s}    ({_unit(units[s.variable])})" for s in receptor.on_pre]))
        if receptor.source is not None:
            blocks += _source(receptor)
    if model.pseudospike is not None:
        heading = "Pseudospikes, for a loss that asks for them: after the end of the trial by"
        blocks.append(_section(heading, _pseudospike(model.pseudospike, model)))
    if model.accuracy is not None:
        blocks.append(_section("Accuracy at the default tolerance", [_accuracy(model.accuracy)]))
    if model.references:
        blocks.append(_section("References", list(model.references)))
    return "\n\n".join(blocks)


def _source(receptor: Receptor) -> list[str]:
    """States that live with the sources of a receptor."""
    source = receptor.source
    assert source is not None
    equations = [f"d{name}/dt = {rhs}" for name, rhs in source.derivatives.items()]
    states = [(s.name, _unit(s.unit), f"starts at {s.initial}", s.description) for s in source.states]
    heading = f"A source's spike, whose weight {receptor.weight} arrives multiplied by {AMPLITUDE}"
    return [
        _section(f"States that every source of {receptor.name} has, for each projection", equations + _table(states)),
        _section(heading, [str(s) for s in source.on_pre]),
    ]


def _accuracy(accuracy: Accuracy) -> str:
    times, gradient = accuracy.spike_times * 1e3, accuracy.gradient
    return f"spike times within {times:.0e} ms, gradients within {gradient:.0e}, of the neuron with its default synapse"


def _refractory(refractory: Refractory) -> str:
    held = " and ".join(refractory.hold)
    if not held:
        return f"no spike for {refractory.duration} after a spike; the states go on"
    arrivals = "is ignored" if refractory.arrivals == "ignore" else "takes effect"
    verb = "is" if len(refractory.hold) == 1 else "are"
    if refractory.hold_duration is not None:
        verb += f" held for {refractory.hold_duration}"
    else:
        verb += " held"
    return f"no spike for {refractory.duration} after a spike; {held} {verb}, and an arrival there {arrivals}"


def _pseudospike(declared: Pseudospike, model: Model) -> list[str]:
    unit = model.inputs[declared.input].unit
    value = f"{declared.drive:g}" + ("" if unit == "1" else f" {unit}")
    where = " and ".join([f"{declared.input} = {DRIVE}, by default {value}", *declared.constraints])
    return [declared.time, f"where {where}"]


def _unit(unit: str) -> str:
    return "no unit" if unit == "1" else unit


def _section(heading: str, lines: list[str]) -> str:
    wrapped = [textwrap.fill(line, _WIDTH, initial_indent="    ", subsequent_indent="      ") for line in lines]
    return "\n".join([f"{heading}", *wrapped])


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]
