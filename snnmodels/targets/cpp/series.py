"""Prints a `SeriesProgram` as a C++ struct over ``runtime/series.h`` and ``runtime/taylor.h``.

The struct is a template over the lane type, ``double`` or ``D8``, and its functions over the order K. It has no
state: constants ``c``, series ``s`` and cotangents ``b`` are the caller's arrays. ``s`` and ``b`` have ``NS`` series of
K + 1 coefficients, of which the first ``NX`` are the states'.

============================  ==========================================================================================
``constants(p, c)``           the NC hoisted constants from the NP parameters
``coefficients<K>(c, s)``     fills s from ``s[i][0]``, the states
``event<K>(c, s)``            then ``s[event_slot(m)]`` is the series of event function m of NE (its value for K = 0);
                              EVENT is the first of these places, -1 if there is none
``back<K>(c, s, b, cb)``      from cotangents ``b[i][k]`` of the states' coefficients to those of the states,
                              ``b[i][0]``; adds to cb, the cotangents of the constants; other rows of b start at 0
``event_back(c, s, b, cb)``   the same for the values of the event functions at a point (K = 0), ``b[event_slot(m)][0]``
``parameters(p, cb, pb)``     adds the cotangents of the parameters to pb
============================  ==========================================================================================

``taylor.h`` says how to move neurons with it (``walk``, ``walk_back``).
"""

from __future__ import annotations

from collections.abc import Iterable

import sympy as sp

from ...events.accuracy import EVENTS_APART
from ...events.series import KINDS, Constant, Factor, Operation, SeriesProgram
from ...symbolic.parsing import symbol
from ...symbolic.programs import Program, cotangent
from .expressions import expression

__all__ = ["flags", "print_series"]

_UNROLLED = 8  # nonlinear operations of a program, up to which compiling it stays a matter of seconds


def print_series(program: SeriesProgram, name: str) -> str:
    """A series program as a struct.

    Parameters
    ----------
    program : SeriesProgram
    name : str
        Name of the struct.

    Returns
    -------
    str
        C++ that belongs after ``#include "taylor.h"``, inside of namespace ``snn``.
    """
    c = {symbol(f"k{i}"): f"c[{i}]" for i in range(len(program.constants.outputs))}
    p = {x: f"p[{i}]" for i, x in enumerate(program.parameters)}
    back = program.parameter_vjp
    cotangents = {cotangent(k.name): f"cb[{i}]" for i, k in enumerate(c)}
    flow = [_forward(o) for o in program.operations]
    rates = [
        f"s[{i}][k + 1] = {'T{}' if r is None else f's[{r}][k] * inverse[k + 1]'};" for i, r in enumerate(program.rates)
    ]
    seeds = [
        f"b[{r}][k] = b[{r}][k] + b[{i}][k + 1] * inverse[k + 1];" for i, r in enumerate(program.rates) if r is not None
    ]
    lines = [
        f"// Taylor series of {program.name}",
        "template <class Lanes> struct " + name + " {",
        "    using T = Lanes;",
        f"    static constexpr int NX = {len(program.states)}, NP = {len(program.parameters)}, NC = {len(c)}, "
        f"NS = {program.slots}, NE = {len(program.events)}, EVENT = {program.events[0] if program.events else -1};",
        f"    static SNN_INLINE int event_slot(int m) {{ (void)m; return {_chosen(program.events)}; }}",
        f"    static constexpr double EVENTS_APART = {EVENTS_APART!r};",
        f"    static constexpr bool affine_event = {'true' if program.affine_event else 'false'};",
        *_function(
            "static SNN_DEVICE void constants(const T* p, T* c)",
            _assignments(program.constants, p, {k: f"c[{i}] = " for i, k in enumerate(program.constants.outputs)}),
        ),
        *_function(
            "template <int K> static SNN_APART void coefficients(const T* c, T (*s)[K + 1])",
            _loop("for (int k = 0; k < K; k++)", [*flow, *rates]),
        ),
        *_function(
            "template <int K> static SNN_APART void event(const T* c, T (*s)[K + 1])",
            _loop("for (int k = 0; k <= K; k++)", [_forward(o) for o in program.event_operations]),
        ),
        *_function(
            "template <int K> static SNN_APART void back(const T* c, T (*s)[K + 1], T (*b)[K + 1], T* cb)",
            _accumulated(
                program.operations,
                [
                    *(line for o in program.operations for line in _derivative(o, "K")),
                    *_loop("for (int k = K - 1; k >= 0; k--)", [*seeds, *_reverse(program.operations)]),
                ],
            ),
        ),
        *_function(
            "static SNN_APART void event_back(const T* c, T (*s)[1], T (*b)[1], T* cb)",
            _accumulated(
                program.event_operations,
                [
                    *(line for o in program.event_operations for line in _derivative(o, "1")),
                    *(["const int k = 0;", *_reverse(program.event_operations)] if program.event_operations else []),
                ],
            ),
        ),
        *_function(
            "static SNN_DEVICE void parameters(const T* p, const T* cb, T* pb)",
            _assignments(
                back.select(n for n, e in back.outputs.items() if e != 0),
                p | cotangents,
                {x.name: f"pb[{i}] = pb[{i}] + " for i, x in enumerate(program.parameters)},
            ),
        ),
        "};",
    ]
    return "\n".join(lines) + "\n"


def _chosen(places: tuple[int, ...]) -> str:
    """The place number m, as an expression: a card has no tables of constants."""
    if not places:
        return "-1"
    text = str(places[-1])
    for m, place in reversed(list(enumerate(places[:-1]))):
        text = f"m == {m} ? {place} : {text}"
    return text


def _function(head: str, body: Iterable[str]) -> list[str]:
    return [f"    {head} {{", *(f"        {line}" for line in body), "    }"]


def _loop(head: str, body: list[str]) -> list[str]:
    return ["SNN_UNROLL", f"{head} {{", *(f"    {line}" for line in body), "}"] if body else []


def _accumulated(operations: tuple[Operation, ...], body: list[str]) -> list[str]:
    """A reverse pass whose sums over all coefficients, the cotangents of constants, are kept out of memory."""
    factors = [f for o in operations for f in (*o.factors, o.offset)]
    indices = sorted({f.index for f in factors if isinstance(f, Constant)})
    begin = [f"T {', '.join(f'd{i} = T{{}}' for i in indices)};"] if indices else []
    return begin + body + [f"cb[{i}] = cb[{i}] + d{i};" for i in indices]


def flags(programs: Iterable[SeriesProgram]) -> list[str]:
    """Compiler flags: loops over coefficients are unrolled where that is cheap, which makes steps a third faster."""
    products = sum(o.kind != "linear" for p in programs for o in p.operations)
    return ['-DSNN_UNROLL=_Pragma("GCC unroll 32")'] if products <= _UNROLLED else []


def _assignments(program: Program, names: dict[sp.Symbol, str], targets: dict[str, str]) -> list[str]:
    """A program over inputs that have other names in C++, its own names put out of their way."""
    known = {s: sp.Symbol(n) for s, n in names.items()}
    known |= {s: sp.Symbol(f"t{i}") for i, (s, _) in enumerate(program.statements)}
    lines = [f"const T {known[s]} = as<T>({expression(e.xreplace(known))});" for s, e in program.statements]
    return lines + [f"{targets[k]}as<T>({expression(e.xreplace(known))});" for k, e in program.outputs.items()]


def _factor(value: Factor) -> str:
    return f"c[{value.index}]" if isinstance(value, Constant) else repr(value)


def _term(factor: Factor, u: str) -> str:
    if factor == 1.0 or factor == -1.0:
        return f"{'-' if factor == -1.0 else ''}{u}[k]"
    return f"{_factor(factor)} * {u}[k]"


def _forward(o: Operation) -> str:
    """The statement that computes coefficient k."""
    y, a = f"s[{o.slot}]", [f"s[{i}]" for i in o.arguments]
    match o.kind:
        case "linear":
            terms = [_term(factor, u) for factor, u in zip(o.factors, a, strict=True)]
            text = " + ".join(terms).replace(" + -", " - ")
            if o.offset is None:
                return f"{y}[k] = {text or 'T{}'};"
            own = f"y{o.slot}"
            value = f"T {own} = {text or 'T{}'};"
            return f"{value} if (k == 0) {own} = {own} + {_factor(o.offset)}; {y}[k] = {own};"
        case "mul":
            return f"{y}[k] = product({a[0]}, {a[1]}, k);"
        case "square":
            return f"{y}[k] = square({a[0]}, k);"
        case "div":
            return f"{y}[k] = quotient({a[0]}, {a[1]}, {y}, k);"
        case "reciprocal":
            return f"{y}[k] = reciprocal({a[0]}, {y}, k);"
        case "pow":
            return f"{y}[k] = power({a[0]}, {y}, {_factor(o.factors[0])}, k);"
        case "exp":
            return f"{y}[k] = exponential({a[0]}, {y}, k);"
        case "log" | "arctan" | "softplus":
            value = {"log": "log", "arctan": "atan", "softplus": "softplus_"}[o.kind]
            return f"{y}[k] = k == 0 ? {value}({a[0]}[0]) : chain({a[0]}, {a[1]}, k);"
    helper = {
        "tan": "tangent",
        "tanh": "hyperbolic_tangent",
        "logistic": "logistic",
        "sincos": "sine_cosine",
        "sinhcosh": "hyperbolic_sine_cosine",
    }
    if o.kind in helper:
        return f"{helper[o.kind]}({a[0]}, {y}, s[{o.slot + 1}], k);"
    return f"bernoulli({a[0]}, {y}, s[{o.slot + 1}], s[{o.slot + 2}], k, K);"


def _derivative(o: Operation, n: str) -> list[str]:
    """What the adjoint of an operation needs once, before the first coefficient: n coefficients of its derivative."""
    u, y, last = f"s[{o.arguments[0]}]" if o.arguments else "", f"s[{o.slot}]", o.slot + KINDS[o.kind].slots - 1
    match o.kind:
        case "pow":
            return [f"power_derivative({u}, {y}, {_factor(o.factors[0])}, s[{last}], {n});"]
        case "bernoulli":
            return [f"bernoulli_derivative({u}, {y}, s[{o.slot + 1}], s[{last}], {n});"]
    return []


def _reverse(operations: tuple[Operation, ...]) -> list[str]:
    return [_backward(o) for o in reversed(operations)]


def _backward(o: Operation) -> str:
    """The statement that passes on the cotangent of coefficient k."""
    y, a = o.slot, o.arguments
    match o.kind:
        case "linear":
            text = []
            for factor, u in zip(o.factors, a, strict=True):
                if factor == 1.0 or factor == -1.0:
                    text.append(f"b[{u}][k] = b[{u}][k] {'+' if factor == 1.0 else '-'} b[{y}][k];")
                else:
                    text.append(f"b[{u}][k] = b[{u}][k] + {_factor(factor)} * b[{y}][k];")
                if isinstance(factor, Constant):
                    text.append(f"d{factor.index} = d{factor.index} + s[{u}][k] * b[{y}][k];")
            if isinstance(o.offset, Constant):
                text.append(f"if (k == 0) d{o.offset.index} = d{o.offset.index} + b[{y}][0];")
            return " ".join(text)
        case "mul":
            return f"product_back(s[{a[0]}], s[{a[1]}], b[{a[0]}], b[{a[1]}], b[{y}][k], k);"
        case "square":
            return f"square_back(s[{a[0]}], b[{a[0]}], b[{y}][k], k);"
        case "div":
            return f"quotient_back(s[{a[1]}], s[{y}], b[{a[0]}], b[{a[1]}], b[{y}], k);"
        case "reciprocal":
            return f"quotient_back(s[{a[0]}], s[{y}], (T*)nullptr, b[{a[0]}], b[{y}], k);"
        case "sincos" | "sinhcosh":
            sign = "-" if o.kind == "sincos" else ""
            return (
                f"chain_back(s[{y + 1}], b[{a[0]}], b[{y}][k], k); "
                f"chain_back(s[{y}], b[{a[0]}], {sign}b[{y + 1}][k], k);"
            )
    derivative = {"exp": y, "log": a[-1], "arctan": a[-1], "softplus": a[-1]}.get(o.kind, y + KINDS[o.kind].slots - 1)
    return f"chain_back(s[{derivative}], b[{a[0]}], b[{y}][k], k);"
