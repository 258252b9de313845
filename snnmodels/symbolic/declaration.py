"""From a model to its hybrid system: equations as SymPy reads them, then flags for what is an event of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import sympy as sp

from ..templates.expressions import free_names, parse_threshold
from ..templates.model import AMPLITUDE, Assignment, Model, Refractory
from ..templates.units import is_unit_name
from .parsing import CONSTANTS, UnsupportedExpression, parse_expression, symbol
from .parts import Arrival, DriveStates, Record, RefractoryPeriod, Silence
from .steps import Step, above, moves
from .system import HybridSystem

__all__ = ["driven_system", "hybrid_system", "source_system", "threshold_sides"]

_SAME_TIME = sp.Float(1e-13)
"""Seconds: more than rounding puts two equal times apart, and less than anything that is resolved."""


def hybrid_system(model: Model) -> HybridSystem:
    """The system of a composed model.

    Raises
    ------
    UnsupportedExpression
        If an equation uses something that has no derivative, a condition stands where no event can be made of it,
        or a variable is called like a unit or constant, for which the equations would take it.
    """
    sources = {name: s for name in model.receptors if (s := source_system(model, name)) is not None}
    return replace(_flagged(_declared(model)), sources=sources)


def driven_system(
    model: Model, inputs: Sequence[str], record: str | None = None
) -> tuple[HybridSystem, tuple[DriveStates, ...]]:
    """The system of a model with currents added to some of its inputs.

    A current is piecewise linear in time: between two knots dI/dt = S and dS/dt = 0, and at a knot I and S are set. So
    the system stays autonomous between its events, and linear where the model is. Conditions may read I: their surfaces
    move with it between knots, and where it jumps they are decided anew (`HybridSystem.knots`).

    Parameters
    ----------
    model : Model
    inputs : sequence of str
        Out of `Model.inputs`.
    record : str, optional
        A state whose largest value is to be kept as one more state; see `Record`.

    Returns
    -------
    system : HybridSystem
        With two more states for each of these inputs, behind those of the model, from 0.
    drives : tuple of DriveStates
        Which states these are, in the order of `inputs`.

    Raises
    ------
    UnsupportedExpression
        If an equation uses something that has no derivative.
    """
    if not inputs and record is None:
        return hybrid_system(model), ()
    plain = _declared(model)
    drives = tuple(DriveStates(i, symbol(model.inputs[i].drive), symbol(f"_slope_{i}")) for i in inputs)
    none = {symbol(i.drive): sp.Integer(0) for name, i in model.inputs.items() if name not in inputs}
    opened = {symbol(x): parse_expression(rhs).xreplace(none) for x, rhs in model.open_derivatives.items()}
    more = {x: sp.Integer(0) for d in drives for x in (d.value, d.slope)}
    kept = {x: x for x in more}
    units = {d.value: model.inputs[d.input].unit for d in drives}
    system = replace(
        plain,
        states=(*plain.states, *more),
        f={**plain.f, **opened, **more, **{d.value: d.slope for d in drives}},
        h={**plain.h, **kept},
        arrivals={name: replace(a, jump={**a.jump, **kept}) for name, a in plain.arrivals.items()},
        initial={**plain.initial, **more},
        units={**plain.units, **units, **{d.slope: f"{units[d.value]}/second" for d in drives}},
    )
    system = _flagged(system if record is None else _recorded(system, symbol(record)))
    return replace(system, knots=tuple(system.knot(d.value) for d in drives)), drives


def source_system(model: Model, receptor: str) -> HybridSystem | None:
    """The states that a receptor's sources have, as a system of its own that never spikes; see `templates.Source`.

    Its one arrival is a spike of the source neuron itself; the last state is the amplitude that this is sent with.

    Parameters
    ----------
    model : Model
    receptor : str

    Returns
    -------
    HybridSystem or None
        With those parameters of the model that it reads; None for a receptor without such states.

    Raises
    ------
    UnsupportedExpression
        If an equation is not linear in the states, or has a condition.
    """
    source = model.receptors[receptor].source
    if source is None:
        return None
    where = f"{model.name}: [source] of {receptor!r}"
    _check_names(model)
    amplitude = symbol(AMPLITUDE)
    states = (*(symbol(s.name) for s in source.states), amplitude)
    f = {symbol(n): parse_expression(rhs) for n, rhs in source.derivatives.items()} | {amplitude: sp.Integer(0)}
    jump = _assign(states, source.on_pre)
    initial = {symbol(s.name): parse_expression(s.initial) for s in source.states} | {amplitude: sp.Integer(0)}
    read = {s for e in (*f.values(), *jump.values(), *initial.values()) for s in e.free_symbols}
    parameters = tuple(symbol(p) for p in model.parameters if symbol(p) in read)
    system = HybridSystem(
        name=where,
        states=states,
        parameters=parameters,
        f=f,
        g=None,
        h={x: x for x in states},
        arrivals={"spike": Arrival("spike", symbol("_sent"), "1", jump)},
        initial=initial,
        defaults={p: model.parameters[p.name].value for p in parameters},
        units={symbol(s.name): s.unit for s in source.states}
        | {amplitude: "1"}
        | {p: model.parameters[p.name].unit for p in parameters},
    )
    for x, rhs in f.items():
        if rhs.has(Step):
            raise UnsupportedExpression(f"{where}: d{x}/dt contains a condition; let statements of on_pre have it")
    if not system.is_linear:
        raise UnsupportedExpression(
            f"{where}: its equations are not linear in its states, and have to be followed from spike to spike in "
            "closed form; make them linear, or give the neuron the states"
        )
    return system


def _check_names(model: Model) -> None:
    source_states = (s.name for r in model.receptors.values() if r.source is not None for s in r.source.states)
    weights = (r.weight for r in model.receptors.values())
    for name in (*model.state_names, *model.parameters, *weights, *source_states):
        if name in CONSTANTS or is_unit_name(name):
            meaning = "constant" if name in CONSTANTS else "unit"
            problem = f"the variable {name!r} is called like the {meaning} {name}, for which equations would take it"
            raise UnsupportedExpression(f"{model.name}: {problem}; rename it")


def threshold_sides(model: Model) -> tuple[sp.Expr, sp.Expr]:
    """Left and right side of the spike condition of a model that has one."""
    assert model.threshold is not None
    left, right = parse_threshold(model.threshold)
    return parse_expression(left), parse_expression(right)


def _check_ignored(model: Model) -> None:
    """Refuse arrivals of which a part is ignored that another part reads: what it would be then has no one answer."""
    period = model.refractory
    if period is None or period.arrivals != "ignore":
        return
    for name, receptor in model.receptors.items():
        for k, statement in enumerate(receptor.on_pre):
            if statement.variable not in period.hold:
                continue
            for later in receptor.on_pre[k + 1 :]:
                if later.variable not in period.hold and statement.variable in free_names(later.expression):
                    raise UnsupportedExpression(
                        f"{model.name}: an arrival through {name!r} does {str(statement)!r}, which is ignored while "
                        f"{statement.variable} is held, and {str(later)!r} reads it; put that first"
                    )


def _declared(model: Model) -> HybridSystem:
    """The system as the model writes it, conditions and all."""
    _check_names(model)
    _check_ignored(model)
    states = tuple(symbol(s.name) for s in model.states)
    g = None
    if model.threshold is not None:
        left, right = threshold_sides(model)
        g = left - right
        if g.has(Step):
            raise UnsupportedExpression(f"{model.name}: the threshold {model.threshold!r} contains a condition")
    return HybridSystem(
        name=model.name,
        states=states,
        parameters=tuple(symbol(p) for p in model.parameters),
        f={symbol(s): parse_expression(rhs) for s, rhs in model.derivatives.items()},
        g=g,
        h=_assign(states, model.reset),
        arrivals={
            name: Arrival(name, symbol(r.weight), r.weight_unit, _assign(states, r.on_pre))
            for name, r in model.receptors.items()
        },
        initial={symbol(s.name): parse_expression(s.initial) for s in model.states},
        defaults={symbol(p.name): p.value for p in model.parameters.values()},
        units={symbol(s.name): s.unit for s in model.states}
        | {symbol(p.name): p.unit for p in model.parameters.values()},
        refractory=None if model.refractory is None else _refractory_period(model.refractory),
    )


def _flagged(bare: HybridSystem) -> HybridSystem:
    """The system of a model with flags for the conditions in f, and for a neuron that stays above its threshold."""
    switches: dict[sp.Symbol, sp.Expr] = {}
    if bare.g is not None:
        # at a spike the neuron is above its threshold, whatever rounding makes of it
        bare = replace(bare, h={x: e.replace(Step, lambda s: _at_spike(s, bare.g)) for x, e in bare.h.items()})

    def flag(surface: sp.Expr) -> sp.Expr:
        if not surface.free_symbols & {*bare.states, *switches}:
            return Step(surface)  # it holds or not, once and for all
        for b, known in switches.items():
            if sp.expand(surface - known) == 0:
                return b
            if sp.expand(surface + known) == 0:
                return 1 - b
        b = symbol(f"_switch{len(switches)}")
        switches[b] = surface
        return b

    f = {x: e.replace(Step, flag) for x, e in bare.f.items()}
    if (record := bare.record) is not None:
        rises = symbol(f"_switch{len(switches)}")
        switches[rises] = f[record.state]
        f[record.maximum] = record.leads * rises * f[record.state]
        bare = replace(bare, record=replace(record, rises=rises))
    latch = symbol("_above") if bare.g is not None and not moves(bare.h, bare.g) else None
    flags = (*switches, *(() if latch is None else (latch,)))
    if not flags:
        partial = bare.refractory is not None and bare.refractory.hold_duration is not None
        return _flagged(_silenced(bare)) if partial else replace(bare, f=f)
    system = replace(bare, f={**f, **dict.fromkeys(flags, sp.Integer(0))}, switches=switches, latch=latch)
    start: dict[sp.Symbol, sp.Expr] = {}
    for b, s in switches.items():
        start[b] = Step(s.xreplace({**bare.initial, **start}))
    if latch is not None and bare.g is not None:
        start[latch] = Step(bare.g.xreplace(dict(bare.initial)))
    if bare.record is not None and bare.record.rises is not None:
        start[bare.record.leads] = start[bare.record.rises]
    system = replace(
        system,
        states=(*bare.states, *flags),
        h={**bare.h, **system.flags_after(bare.h), **({} if latch is None else {latch: sp.Integer(1)})},
        arrivals={n: replace(a, jump={**a.jump, **system.flags_after(a.jump)}) for n, a in bare.arrivals.items()},
        initial={**bare.initial, **start},
        units={**bare.units, **dict.fromkeys(flags, "1")},
    )
    return _flagged(_silenced(bare)) if bare.refractory is not None and _may_turn_held(system) else system


def _at_spike(surface: sp.Expr, g: sp.Expr) -> sp.Expr:
    """The condition surface > 0 at a spike, where g has just become more than 0."""
    ratio = sp.cancel(surface / g)
    if ratio.is_number:
        return sp.Integer(bool(ratio > 0))
    return Step(surface)


def _may_turn_held(system: HybridSystem) -> bool:
    """Whether something other than a spike can happen by itself while the neuron is refractory."""
    assert system.refractory is not None
    if system.latch is not None or system.refractory.hold_duration is not None:
        return True
    f = system.held().f
    return any(sp.expand(sum(sp.diff(s, x) * rate for x, rate in f.items())) != 0 for s in system.switches.values())


def _recorded(bare: HybridSystem, state: sp.Symbol) -> HybridSystem:
    """The system of a model that doesn't spike, conditions and all, with the largest value of a state; see `Record`."""
    assert bare.g is None
    record, none, one = Record.of(state, bare.arrivals.values()), sp.Integer(0), sp.Integer(1)
    more = (record.maximum, record.leads, *record.jumps)
    kept = {x: x for x in more}
    clock = record.jumps[1:]
    return replace(
        bare,
        states=(*bare.states, *kept),
        f={**bare.f, **dict.fromkeys(more, none), **dict.fromkeys(clock, one)},
        h={**bare.h, **kept},
        arrivals={n: replace(a, jump={**a.jump, **kept}) for n, a in bare.arrivals.items()},
        initial={**bare.initial, **dict.fromkeys(more, bare.initial[state]), record.leads: none}
        | dict.fromkeys(clock, one),
        units={**bare.units, **dict.fromkeys(more, bare.units[state]), record.leads: "1"}
        | dict.fromkeys(clock, "second"),
        record=record,
    )


def _silenced(bare: HybridSystem) -> HybridSystem:
    """The system of a model, conditions and all, with its refractory period made of states; see `Silence`."""
    period, g = bare.refractory, bare.g
    assert period is not None and g is not None
    elapsed, blocked, over = symbol("_elapsed"), symbol("_blocked"), symbol("_over")
    apart = bool(period.hold) and period.hold_duration is not None
    holding = symbol("_holding") if apart else None
    hold_duration = period.duration if period.hold_duration is None else period.hold_duration
    silence = Silence(elapsed, blocked, holding, over, period.duration, hold_duration)
    held = blocked if holding is None else holding
    none, one = sp.Integer(0), sp.Integer(1)
    ignored = period.hold if period.arrivals == "ignore" else ()

    # an arrival at the very time at which the hold ends comes after that, whatever rounding makes of the clock
    ignores = held * Step(hold_duration - elapsed - _SAME_TIME)

    def arrived(jump: Mapping[sp.Symbol, sp.Expr]) -> dict[sp.Symbol, sp.Expr]:
        after = {x: ignores * x + (1 - ignores) * e if x in ignored and e != x else e for x, e in jump.items()}
        return after | {x: x for x in silence.states} | {over: above(after, g, over)}

    started = dict.fromkeys(silence.states, one) | {elapsed: none, over: above(bare.h, g, one)}
    return replace(
        bare,
        states=(*bare.states, *silence.states),
        f={x: (1 - held) * e if x in period.hold else e for x, e in bare.f.items()}
        | dict.fromkeys(silence.states, none)
        | {elapsed: one},
        h={**bare.h, **started},
        arrivals={n: replace(a, jump=arrived(a.jump)) for n, a in bare.arrivals.items()},
        initial={**bare.initial, **dict.fromkeys(silence.states, none)},
        units={**bare.units, **dict.fromkeys(silence.states, "1"), elapsed: "second"},
        refractory=None,
        silence=silence,
    )


def _refractory_period(declared: Refractory) -> RefractoryPeriod:
    hold = tuple(symbol(name) for name in declared.hold)
    shorter = None if declared.hold_duration is None else parse_expression(declared.hold_duration)
    return RefractoryPeriod(parse_expression(declared.duration), hold, declared.arrivals, shorter)


def _assign(states: tuple[sp.Symbol, ...], statements: Iterable[Assignment]) -> dict[sp.Symbol, sp.Expr]:
    """The map that a sequence of statements does to the states, statements in order, each seeing those before it."""
    value: dict[sp.Symbol, sp.Expr] = {x: x for x in states}
    for s in statements:
        x = symbol(s.variable)
        rhs = parse_expression(s.expression).xreplace(value)
        match s.operator:
            case "=":
                value[x] = rhs
            case "+=":
                value[x] = value[x] + rhs
            case "-=":
                value[x] = value[x] - rhs
            case "*=":
                value[x] = value[x] * rhs
            case "/=":
                value[x] = value[x] / rhs
            case _:
                raise ValueError(f"{s}: operator {s.operator!r} is not one of = += -= *= /=")
    return value
