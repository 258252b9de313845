"""Rules as C++: one structure for each, templated over what its constants and its lanes are."""

from __future__ import annotations

import math
from dataclasses import replace

from ...events.accuracy import MAX_EVENTS, MAX_STEPS, sizes
from ...events.rule import Rule
from ...events.rules import Rules
from ...events.series import SeriesProgram
from ...symbolic.divided_differences import MAX_NODES, cpp_source
from ...symbolic.programs import Program
from .expressions import expression
from .series import print_series

__all__ = ["divided_differences", "model", "truth"]

_ABSENT = Rule(Program((), {}), (), ())  # what a model doesn't do; the runtime never runs it
_TRANSITION = {"Turn": "Turn", "Sigma": "TurnSigma", "Back": "TurnBack"}
_OPTIONAL = ("event", "search", "reset", "sigma", "spike_back", "peak", "release", "duration", "duration_back")


def divided_differences() -> str:
    """The functions ``expdd2`` and on, for numbers and for lanes, with numbers among them (a mode of rate 0)."""
    lines = [
        cpp_source("inline"),
        "struct Mixed { D8 x; SNN_INLINE Mixed(D8 y) : x(y) {} SNN_INLINE Mixed(double y) : x(all(y)) {} };",
    ]
    for n in range(2, MAX_NODES + 1):
        names = [f"x{i}" for i in range(n)]
        lines.append(
            f"inline D8 expdd{n}({', '.join('Mixed ' + x for x in names)})\n"
            f"{{ D8 y; for (int l = 0; l < LANES; l++) y[l] = expdd{n}({', '.join(x + '.x[l]' for x in names)}); "
            "return y; }"
        )
    return "\n".join(lines)


def _statements(program: Program, kind: str, indent: str) -> list[str]:
    return [f"{indent}const {kind} {n.name} = as<{kind}>({expression(e)});" for n, e in program.statements]


def rule(name: str, r: Rule) -> str:
    """One rule as a structure in three stages.

    ``prepare`` does what depends on parameters alone, ``at`` what depends on the time too, ``run`` the rest. Their
    types differ: parameters may be numbers while times are lanes.
    """
    fixed, timed, each = r.stages
    parameters = [f"        const K {n} = p[{n[1:]}];" for n in sorted(s.name for s in fixed.inputs)]
    constants = [f"        k[{i}] = as<K>({expression(e)});" for i, e in enumerate(fixed.outputs.values())]
    places = {c: i for i, c in enumerate(timed.outputs)}
    read = sorted(s.name for s in timed.inputs if s.name != "s")
    times = [f"        a.c[{i}] = as<C>({expression(e)});" for i, e in enumerate(timed.outputs.values())]
    used = {s.name for s in each.inputs}
    given = [f"            const T {n} = in[{k}];" for k, n in enumerate(r.inputs) if n in used]
    kept = [f"            const auto {n} = of->k[{n[1:]}];" for n in sorted(used) if n[0] == "k"]
    kept += [f"            const auto {n} = c[{places[n]}];" for n in sorted(used) if n in places]
    outputs = [f"            out[{k}] = as<T>({expression(each.outputs[o])});" for k, o in enumerate(r.outputs)]
    return "\n".join(
        [
            f"template<class K> struct {name} {{",
            f"    K k[{max(1, len(fixed.outputs))}];",
            f"    static constexpr int IN = {len(r.inputs)}, OUT = {len(r.outputs)};",
            f"    static constexpr bool ZERO = {truth(r.is_zero)};",
            "    template<class C> struct At {",
            f"        const {name}* of;",
            f"        C c[{max(1, len(timed.outputs))}];",
            "        template<class T> SNN_INLINE void run(const T* in, T* out) const {",
            "            (void)in; (void)out;",
            *kept,
            *given,
            *_statements(each, "T", "            "),
            *outputs,
            "        }",
            "    };",
            "    SNN_INLINE void prepare(const K* p) {",
            "        (void)p;",
            *parameters,
            *_statements(fixed, "K", "        "),
            *constants,
            "    }",
            "    template<class C> SNN_INLINE At<C> at(C s) const {",
            "        (void)s;",
            "        At<C> a;",
            "        a.of = this;",
            *[f"        const K {n} = k[{n[1:]}];" for n in read],
            *_statements(timed, "C", "        "),
            *times,
            "        return a;",
            "    }",
            "};",
        ]
    )


def truth(x: bool) -> str:
    """A truth value in C++."""
    return "true" if x else "false"


def model(name: str, r: Rules, order: int, *, scatter: bool = False, general: bool = True) -> str:
    """All rules of a model as one structure, with what the runtime has to know of it.

    Parameters
    ----------
    name : str
        Of the structure.
    r : Rules
    order : int
        Of the Taylor steps of a nonlinear flow.
    scatter : bool
        Whether it is to have what scattering arrivals needs; its rules have to allow that.
    general : bool
        Whether it is to have what the general way needs.
    """
    x = {f"x{i}" for i in range(len(r.states))}
    rules = dict.fromkeys(_OPTIONAL, _ABSENT) | dict(r.rules)
    parts = [rule(_camel(n), q) for n, q in rules.items() if not n.startswith(("arrive", "crossing"))]
    receptors = []
    for k in range(len(r.receptors)):
        arrive, back = r.rules[f"arrive{k}"], r.rules[f"arrive_back{k}"]
        jumps = ", ".join(
            truth(r.moves(k, i)) for i in range(len(x))
        )
        # whether the gradient by a weight depends on it
        weighted = "w" in {x.name for x in back.program.select([back.outputs[0]]).inputs}
        receptors.append(
            "\n".join(
                [
                    f"struct Receptor{k} {{",
                    f"static constexpr bool FIRES = {truth(r.fires(k))};",
                    f"static constexpr bool READS = {truth(bool(back.reads & x))};",
                    f"static constexpr bool JUMPS[{len(x)}] = {{{jumps}}};",
                    f"static constexpr bool KEEPS = {truth(r.keeps_costates(k))}, SWEEPS = {truth(r.sweeps_at(k))};",
                    f"static constexpr bool WEIGHTED = {truth(weighted)};",
                    rule("Arrive", arrive),
                    rule("ArriveBack", back),
                    *([_response(r, k)] if scatter else []),
                    "};",
                ]
            )
        )
    cases = " ".join(f"case {k}: f(Receptor{k}()); break;" for k in range(len(r.receptors)))
    turns = [
        f"struct Transition{k} {{ "
        + " ".join(f"template<class T> using {to} = {of}{k}<T>;" for to, of in _TRANSITION.items())
        + " };"
        for k in range(r.transitions)
    ]
    decided = [k for k, decides in enumerate(r.deciding) if decides]
    knots = [f"struct Decision{k} {{ template<class T> using Rule = Knot{k}<T>; }};" for k in decided]
    set_ = " ".join(f"case {k}: f(Decision{k}()); break;" for k in decided)
    turned = " ".join(f"case {k}: f(Transition{k}()); break;" for k in range(r.transitions))
    each = ", ".join(f"F<Receptor{k}>" for k in range(len(r.receptors)))
    per_neuron = ", ".join(truth(q) for q in r.per_neuron) or "false"
    return "\n".join(
        [
            f"struct {name} {{",
            f"static constexpr int S = {len(r.states)}, P = {len(r.parameters)}, G = {len(r.learnable)};",
            f"static constexpr int MAX_EVENTS = {MAX_EVENTS};",
            f"static constexpr bool GENERAL = {truth(general)}, SWEEPS = {truth(r.sweeps)};",
            f"static constexpr bool SPIKING = {truth(r.spiking)}, SHARED = {truth(r.shared)};",
            f"static constexpr bool EVENTFUL = {truth(r.eventful)}, STAYS = {truth(r.system.may_stay_above)};",
            f"static constexpr bool REFRACTORY = {truth(r.held is not None)};",
            f"static constexpr bool HOLDS[{max(1, len(r.states))}] = {{{', '.join(map(truth, _holds(r)))}}};",
            f"static constexpr bool LINEAR = {truth(r.linear)}, SERIES = {truth(math.isfinite(r.longest))};",
            f"static constexpr bool NEEDS_STATES = {truth(r.needs_states)};",
            *_reads(r),
            f"static constexpr bool OBSERVED = {truth(r.observed is not None)};",
            f"static constexpr int SEEN = {r.observed or 0};",
            f"static constexpr bool PER_NEURON[{max(1, len(r.per_neuron))}] = {{{per_neuron}}};",
            *([] if r.held is None else [model("Held", r.held, order)]),
            *([] if r.linear else _steps(r, order)),
            *parts,
            *receptors,
            *turns,
            *knots,
            f"template<class F> static SNN_INLINE void knot(int k, F f) {{ (void)f; switch (k) {{ {set_} }} }}",
            f"template<class F> static SNN_INLINE void transition(int k, F f) {{ (void)f; switch (k) {{ {turned} }} }}",
            f"template<template<class> class F> using EachReceptor = std::tuple<{each}>;",
            f"template<class F> static SNN_INLINE void receptor(int k, F f) {{ (void)f; switch (k) {{ {cases} }} }}",
            "};",
        ]
    )


def _reads(r: Rules) -> list[str]:
    """Which states the slopes of a linear model, and its event function, depend on."""
    if not r.linear:
        return []
    s = r.system
    rows = [", ".join(truth(e != 0) for e in s.jacobian().row(j)) for j in range(len(s.states))]
    lines = [f"static constexpr bool RATES[{len(rows)}][{len(rows)}] = {{{', '.join(f'{{{row}}}' for row in rows)}}};"]
    if s.g is not None:
        crosses = ", ".join(truth(s.g.has(x)) for x in s.states)
        lines.append(f"static constexpr bool CROSSES[{len(rows)}] = {{{crosses}}};")
    return lines


def _holds(r: Rules) -> list[bool]:
    """Which states are held while a neuron is refractory."""
    hold = () if r.system.refractory is None else r.system.refractory.hold
    return [x in hold for x in r.system.states]


def _steps(r: Rules, order: int) -> list[str]:
    """What Taylor steps need: the flow as series, and that of the slope of the state whose maximum is asked for."""
    flow = replace(r.system, name="the flow")
    learnable = ", ".join(map(str, r.learnable)) or "0"
    how = [
        f"static constexpr int ORDER = {order}, MAX_STEPS = {MAX_STEPS}, LEARNABLE[] = {{{learnable}}};",
        f"static constexpr double SCALE[] = {{{', '.join(map(repr, sizes(r)))}}};",
    ]
    parts = [*how, print_series(SeriesProgram.of(flow), "Series")]
    if r.observed is not None:
        slope = replace(flow, g=-flow.f[flow.states[r.observed]])
        parts += [
            "struct Slope {",
            f"static constexpr int P = {len(r.parameters)};",
            f"static constexpr bool SHARED = {truth(r.shared)};",
            *how,
            print_series(SeriesProgram.of(slope), "Series"),
            "};",
        ]
    return parts


def _response(r: Rules, receptor: int) -> str:
    """The response to an arrival, and which states it has a part in."""
    response, by_parameters = r.responses[receptor]
    touched = [any(response.program.outputs[f"{n}{i}"] != 0 for n in "yz") for i in range(len(r.states))]
    flags = ", ".join(truth(t) for t in touched)
    return "\n".join(
        [
            f"static constexpr bool TOUCHES[{len(touched)}] = {{{flags}}};",
            rule("Response", response),
            rule("ResponseGradient", by_parameters or _ABSENT),
        ]
    )


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
