"""A model's equations as blocks of a document: flow, threshold, reset, arrivals, what is held, where it begins."""

from __future__ import annotations

from collections.abc import Mapping

import sympy as sp

from ..symbolic.divided_differences import exprel
from ..symbolic.parts import Silence
from ..symbolic.steps import Step
from ..symbolic.system import HybridSystem
from ._names import WORDS, after_event, before_event, equals, names_of
from ._rendering import Block, Heading, Math, Prose, Table

__all__ = ["forward_model"]


def forward_model(system: HybridSystem) -> list[Block]:
    """Equations, threshold, reset, arrivals, initial state and parameters."""
    names = names_of(system)
    before = {**names, **{x: before_event(names[x]) for x in system.variables}}
    blocks: list[Block] = [Heading(1, system.name), Prose("Between events the state {x} follows", WORDS)]
    blocks += [equals(_rate_of(names[x]), system.f[x], names) for x in system.variables]
    if system.switches:
        blocks.append(Prose("where a condition is 1 as long as it holds, else 0:"))
        blocks += [equals(names[b], Step(surface), names) for b, surface in system.switches.items()]
    blocks += _remarks(system)
    if system.g is None:
        blocks.append(Prose("It does not spike."))
    else:
        blocks.append(Prose("It spikes at the time {tk} at which {g} crosses 0 upwards:", WORDS))
        blocks.append(equals(Math("g", "g"), system.g, names))
        if system.latch is None:
            blocks.append(Prose("A spike resets the state, from {minus} just before to {plus} just after:", WORDS))
        else:
            message = "It stays above threshold then, and spikes again at the next crossing. At a spike change"
            nothing = all(system.h[x] == x for x in system.variables)
            blocks.append(Prose(f"{message}{' no states.' if nothing else ':'}"))
        changed = [x for x in system.variables if system.h[x] != x]
        blocks += [equals(after_event(names[x]), system.h[x], before) for x in changed]
    blocks += _refractory(system, names)
    for name, arrival in system.arrivals.items():
        blocks.append(Prose(f"A spike that arrives through {name} does"))
        changed = [x for x in system.variables if arrival.jump[x] != x]
        blocks += [equals(after_event(names[x]), arrival.jump[x], before) for x in changed]
        if name in system.sources:
            blocks += _source_states(system.sources[name], names[arrival.weight])
    if any(system.initial[x] != 0 for x in system.variables):
        blocks.append(Prose("At time 0, where it is not 0, the state is"))
        for x in system.variables:
            if system.initial[x] != 0:
                blocks.append(equals(_at_zero(names[x]), system.initial[x], names))
    rows: list[list[str | Math]] = [[names[p], f"{system.defaults[p]:g}", system.units[p]] for p in system.parameters]
    return [*blocks, Table(("parameter", "default (SI)", "unit"), rows)] if rows else blocks


def _source_states(source: HybridSystem, weight: Math) -> list[Block]:
    """What a receptor's sources have, and what their spikes do to it."""
    names, jump = names_of(source), source.arrivals["spike"].jump
    before = {**names, **{x: before_event(names[x]) for x in source.variables}}
    *states, amplitude = source.variables
    words = {"w": weight, "a": names[amplitude]}
    blocks: list[Block] = [
        Prose(
            "where {w} arrives multiplied by the {a} of the spike. For it every source neuron has, for each "
            "projection, states that follow between its own spikes",
            words,
        ),
    ]
    blocks += [equals(_rate_of(names[x]), source.f[x], names) for x in states]
    blocks.append(Prose("and, when it sends a spike,"))
    blocks += [equals(after_event(names[x]), jump[x], before) for x in source.variables if jump[x] != x]
    started = [x for x in states if source.initial[x] != 0]
    if started:
        blocks.append(Prose("from, at time 0,"))
    return blocks + [equals(_at_zero(names[x]), source.initial[x], names) for x in started]


def _rate_of(math: Math) -> Math:
    return Math(f"d{math.text}/dt", rf"\frac{{d{math.latex}}}{{dt}}")


def _at_zero(math: Math) -> Math:
    return Math(f"{math.text}(0)", f"{math.latex}(0)")


def _remarks(system: HybridSystem) -> list[Block]:
    """What a reader may not know of the equations: their numbers, and a function that is Brian2's."""
    expressions = [*system.f.values(), *system.h.values(), *system.initial.values()]
    expressions += [] if system.g is None else [system.g]
    found = set().union(*(e.atoms(sp.Number, exprel) for e in expressions))
    blocks: list[Block] = []
    if any(isinstance(e, sp.Number) and not e.is_Integer for e in found) and set(system.units.values()) != {"1"}:
        blocks.append(Prose("Numbers are in SI base units."))
    if any(isinstance(e, exprel) for e in found):
        x = sp.Symbol("x")
        math = {
            "e": Math("exprel(x) = (exp(x) - 1)/x", rf"{sp.latex(exprel(x))} = (e^x - 1)/x"),
            "d": Math("exp[0, x, x]", sp.latex(sp.diff(exprel(x), x))),
        }
        blocks.append(Prose("With {e}, 1 at 0. Its derivative is the divided difference {d} of the exponential.", math))
    return blocks


def _refractory(system: HybridSystem, names: Mapping[sp.Symbol, Math]) -> list[Block]:
    """What is held after a spike, and for how long."""
    if system.silence is not None:
        return _silence(system.silence, names)
    refractory = system.refractory
    if refractory is None:
        return []
    held = {f"held{k}": names[x] for k, x in enumerate(refractory.hold)}
    what = "and goes on otherwise."
    if held:
        at_them = "does nothing to it" if refractory.arrivals == "ignore" else "takes effect"
        what = f"and the derivative of {' and '.join(f'{{{k}}}' for k in held)} is 0; an arrival there {at_them}."
    return [
        Prose(
            f"For the time {{duration}} after a spike it does not spike again, {what} The period is", {**WORDS, **held}
        ),
        equals(Math("D", "D"), refractory.duration, names),
    ]


def _silence(silence: Silence, names: Mapping[sp.Symbol, Math]) -> list[Block]:
    """A period in which other events can come, with its clock and its flags."""
    words = {**WORDS, "since": names[silence.elapsed], "blocked": names[silence.blocked], "above": names[silence.over]}
    blocks: list[Block] = [
        Prose(
            "For the time {duration} after a spike, of which {since} has passed, it does not spike again: {blocked} is "
            "1 then, else 0. Meanwhile {above} says whether {g} is above 0; if it is at the end, the neuron spikes "
            "then, and {since} - {duration} is what crosses 0. The period is",
            words,
        ),
        equals(Math("D", "D"), silence.duration, names),
    ]
    if silence.holding is not None:
        blocks += [
            Prose("and {held} is 1 for the time", {"held": names[silence.holding]}),
            equals(Math("D_held", r"D_{\mathrm{held}}"), silence.hold_duration, names),
        ]
    return blocks
