"""Rules as C++: one structure for each, templated over what its constants and its lanes are."""

from __future__ import annotations

from collections.abc import Iterable

import sympy as sp
from sympy.printing.str import StrPrinter

from ...events.rules import Rule, Rules
from ...symbolic.divided_differences import MAX_NODES, cpp_source
from ...symbolic.programs import Program

__all__ = ["divided_differences", "expression", "model"]

_ABSENT = Rule(Program((), {}), (), ())  # what a model doesn't do; the runtime never runs it
_OPTIONAL = ("event", "search", "reset", "sigma", "spike_back", "peak", "release", "duration", "duration_back")
_FUNCTIONS = ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "atan")


class _Printer(StrPrinter):
    """SymPy to C++ over numbers and lanes; functions are those of runtime/lanes.h."""

    def _print_Integer(self, expr: sp.Integer) -> str:
        return f"{expr.p}.0"

    def _print_One(self, expr: sp.Expr) -> str:
        return "1.0"

    def _print_NegativeOne(self, expr: sp.Expr) -> str:
        return "-1.0"

    def _print_Zero(self, expr: sp.Expr) -> str:
        return "0.0"

    def _print_Rational(self, expr: sp.Rational) -> str:
        return f"({expr.p}.0/{expr.q}.0)"

    def _print_Half(self, expr: sp.Rational) -> str:
        return "0.5"

    def _print_Float(self, expr: sp.Float) -> str:
        return repr(float(expr))

    def _print_Pi(self, expr: sp.Expr) -> str:
        return repr(float(sp.pi))

    def _print_Pow(self, expr: sp.Pow, rational: bool = False) -> str:
        base, exponent = expr.base, expr.exp
        if exponent == sp.Rational(1, 2):
            return f"sqrt({self._print(base)})"
        if exponent == sp.Rational(-1, 2):
            return f"(1.0/sqrt({self._print(base)}))"
        inner = self._print(base) if base.is_Symbol else f"({self._print(base)})"
        if exponent.is_Integer and 0 < abs(int(exponent)) <= 8:
            product = "*".join([inner] * abs(int(exponent)))
            return f"({product})" if int(exponent) > 0 else f"(1.0/({product}))"
        return f"pow({inner}, {self._print(exponent)})"

    def _print_Function(self, expr: sp.Function) -> str:
        name = expr.func.__name__
        if name not in _FUNCTIONS:
            raise NotImplementedError(f"no C++ for the function {name!r}")
        return f"{name}({self._print(expr.args[0])})"

    def _print_exp(self, expr: sp.exp) -> str:
        return f"exp({self._print(expr.args[0])})"

    def _print_ExpDD(self, expr: sp.Expr) -> str:
        return f"expdd{len(expr.args)}({', '.join(self._print(a) for a in expr.args)})"


def expression(e: sp.Expr) -> str:
    """A SymPy expression in C++."""
    return _Printer({"order": "none"}).doprint(e)


def divided_differences() -> str:
    """The functions ``expdd2`` and on, for numbers and for lanes."""
    lines = [cpp_source("inline")]
    for n in range(2, MAX_NODES + 1):
        names = [f"x{i}" for i in range(n)]
        lines.append(
            f"inline D8 expdd{n}({', '.join('D8 ' + x for x in names)})\n"
            f"{{ D8 y; for (int l = 0; l < LANES; l++) y[l] = expdd{n}({', '.join(x + '[l]' for x in names)}); "
            "return y; }"
        )
    return "\n".join(lines)


def _statements(program: Program, kind: str, indent: str) -> list[str]:
    return [f"{indent}const {kind} {n.name} = as<{kind}>({expression(e)});" for n, e in program.statements]


def rule(name: str, r: Rule) -> str:
    """One rule as a structure in three stages.

    ``prepare`` does what depends on parameters alone, ``at`` what depends on the time too, ``run`` the rest. Their types
    differ: parameters may be numbers while times are lanes.
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
            f"    static constexpr bool ZERO = {_truth(r.is_zero)};",
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


def _truth(x: bool) -> str:
    return "true" if x else "false"


def model(name: str, r: Rules) -> str:
    """All rules of a model as one structure, with what the runtime has to know of it."""
    x = {f"x{i}" for i in range(len(r.states))}
    rules = {n: _ABSENT for n in _OPTIONAL} | dict(r.rules)
    parts = [rule(_camel(n), q) for n, q in rules.items() if not n.startswith(("arrive", "crossing"))]
    receptors = []
    for k in range(len(r.receptors)):
        arrive, back = r.rules[f"arrive{k}"], r.rules[f"arrive_back{k}"]
        keeps = all(back.program.outputs[f"l{i}"] == sp.Symbol(f"l{i}", real=True) for i in range(len(x)))
        receptors.append(
            "\n".join(
                [
                    f"struct Receptor{k} {{",
                    f"static constexpr bool FIRES = {_truth(r.fires(k))};",
                    f"static constexpr bool READS = {_truth(bool(back.reads & x))};",
                    f"static constexpr bool KEEPS = {_truth(keeps)};",
                    rule("Arrive", arrive),
                    rule("ArriveBack", back),
                    "};",
                ]
            )
        )
    cases = " ".join(f"case {k}: f(Receptor{k}()); break;" for k in range(len(r.receptors)))
    per_neuron = ", ".join(_truth(q) for q in r.per_neuron) or "false"
    return "\n".join(
        [
            f"struct {name} {{",
            f"static constexpr int S = {len(r.states)}, P = {len(r.parameters)}, G = {len(r.learnable)};",
            f"static constexpr bool SPIKING = {_truth(r.spiking)}, SHARED = {_truth(r.shared)};",
            f"static constexpr bool REFRACTORY = {_truth(r.held is not None)};",
            f"static constexpr bool NEEDS_STATES = {_truth(r.needs_states)};",
            f"static constexpr bool OBSERVED = {_truth(r.observed is not None)};",
            f"static constexpr bool PER_NEURON[{max(1, len(r.per_neuron))}] = {{{per_neuron}}};",
            *([] if r.held is None else [model("Held", r.held)]),
            *parts,
            *receptors,
            f"template<class F> static SNN_INLINE void receptor(int k, F f) {{ (void)f; switch (k) {{ {cases} }} }}",
            "};",
        ]
    )


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def models(rules: Iterable[Rules]) -> str:
    """The models of several populations, ``Model0``, ``Model1``, ..."""
    return "\n".join(model(f"Model{k}", r) for k, r in enumerate(rules))
