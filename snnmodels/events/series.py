"""The Taylor series of a nonlinear flow along time, as a list of operations on series that every target prints.

Between events the states of a nonlinear model are expanded in time, x_i(t) = Σ X_i,k t^k (Jorba & Zou 2005, Exp. Math.
14:99). f is taken apart into *series operations*, one per nonlinear subexpression; coefficient k of every operation
follows from coefficients up to k of its arguments, and (k + 1) X_i,k+1 is coefficient k of f_i. What depends on the
parameters alone is hoisted into constants, an ordinary `Program`. The reverse mode needs no description of its own:
each operation has one adjoint rule, so a target runs the same list backward, and the cotangents of the constants become
those of the parameters by `SeriesProgram.parameter_vjp`.

A `SeriesProgram` says nothing about steps; those are chosen, and crossings found, by the target's ``taylor`` runtime.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import sympy as sp

from ..symbolic.parsing import UnsupportedExpression, print_expression
from ..symbolic.programs import Program
from ..symbolic.system import HybridSystem

__all__ = ["KINDS", "ORDERS", "Constant", "Factor", "Kind", "Operation", "SeriesProgram"]

ORDERS = (3, 4, 6, 8, 12, 16)
"""Orders that the runtimes offer: 12 is the default, 16 for tight tolerances, lower ones for short pieces."""


@dataclass(frozen=True)
class Kind:
    """A kind of series operation.

    Attributes
    ----------
    arguments : int or None
        How many series it reads; None: any number.
    outputs : int
        How many series others may read; ``sincos`` yields two.
    slots : int
        Series that it occupies, those that only help included.
    meaning : str
        Its value, for the printed program.
    """

    arguments: int | None
    outputs: int
    slots: int
    meaning: str


KINDS: Mapping[str, Kind] = {
    "linear": Kind(None, 1, 1, ""),
    "mul": Kind(2, 1, 1, "{0}*{1}"),
    "square": Kind(1, 1, 1, "{0}**2"),
    "div": Kind(2, 1, 1, "{0}/{1}"),
    "reciprocal": Kind(1, 1, 1, "1/{0}"),
    "pow": Kind(1, 1, 2, "{0}**{exponent}"),
    "exp": Kind(1, 1, 1, "exp({0})"),
    # the second argument of these three is the series of the derivative
    "log": Kind(2, 1, 1, "log({0})"),
    "arctan": Kind(2, 1, 1, "arctan({0})"),
    "softplus": Kind(2, 1, 1, "log(1 + exp({0}))"),
    # the second series of these three is the derivative of the first
    "tan": Kind(1, 1, 2, "tan({0})"),
    "tanh": Kind(1, 1, 2, "tanh({0})"),
    "logistic": Kind(1, 1, 2, "1/(1 + exp(-{0}))"),
    "sincos": Kind(1, 2, 2, "sin({0}), cos({0})"),
    "sinhcosh": Kind(1, 2, 2, "sinh({0}), cosh({0})"),
    "bernoulli": Kind(1, 1, 3, "{0}/(exp({0}) - 1)"),
}


@dataclass(frozen=True)
class Constant:
    """A hoisted constant, by its index."""

    index: int


Factor = float | Constant


@dataclass(frozen=True)
class Operation:
    """One series from others.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    slot : int
        Where the result stands; helping series follow it.
    arguments : tuple of int
        Slots of the series that it reads.
    factors : tuple of float or Constant
        ``linear``: what each argument is multiplied by; ``pow``: the exponent.
    offset : float or Constant or None
        ``linear``: what is added to coefficient 0.
    """

    kind: str
    slot: int
    arguments: tuple[int, ...] = ()
    factors: tuple[Factor, ...] = ()
    offset: Factor | None = None

    @property
    def outputs(self) -> range:
        """Slots that others may read."""
        return range(self.slot, self.slot + KINDS[self.kind].outputs)


@dataclass(frozen=True)
class SeriesProgram:
    """The flow of a hybrid system, and its event functions, as operations on Taylor series.

    Attributes
    ----------
    name : str
    states, parameters : tuple of Symbol
        Slots 0 ... n - 1 are the states'.
    constants : Program
        Outputs ``k0``, ``k1``, ... from the parameters.
    operations : tuple of Operation
        What f needs, each after its arguments.
    rates : tuple of int or None
        Slot of f of every state; None where f is 0.
    event_operations : tuple of Operation
        What the event functions need beyond them; these read states and each other only.
    events : tuple of int
        Slots of the event functions: that of spikes, if the model has one, then those of its other events in order.
    """

    name: str
    states: tuple[sp.Symbol, ...]
    parameters: tuple[sp.Symbol, ...]
    constants: Program
    operations: tuple[Operation, ...]
    rates: tuple[int | None, ...]
    event_operations: tuple[Operation, ...]
    events: tuple[int, ...]

    @classmethod
    def of(cls, system: HybridSystem) -> SeriesProgram:
        """Take f and the event functions of a system apart.

        Raises
        ------
        UnsupportedExpression
            If an equation has a function that no series is known of.
        """
        constants: dict[sp.Expr, int] = {}
        flow = _Lowering(system.states, constants, len(system.states))
        rates = tuple(None if system.f[x] == 0 else flow.slot(system.f[x]) for x in system.states)
        crossing = _Lowering(system.states, constants, flow.slots)
        watched = [*(() if system.rising is None else (system.rising,)), *(t.event for t in system.transitions)]
        events = tuple(crossing.slot(e) for e in watched)
        outputs = {f"k{i}": e for e, i in constants.items()}
        return cls(
            name=system.name,
            states=system.states,
            parameters=system.parameters,
            constants=Program((), outputs).simplified(),
            operations=tuple(flow.operations),
            rates=rates,
            event_operations=tuple(crossing.operations),
            events=events,
        )

    @property
    def slots(self) -> int:
        """Number of series, states and helping ones included."""
        return len(self.states) + sum(KINDS[o.kind].slots for o in (*self.operations, *self.event_operations))

    @property
    def affine_event(self) -> bool:
        """Whether event functions are affine in the states: their series along a step's polynomial then end with it."""
        return all(o.kind == "linear" for o in self.event_operations)

    @cached_property
    def parameter_vjp(self) -> Program:
        """Cotangents of the parameters, by name, from those of the constants (``cotangent("k0")``, ...)."""
        return self.constants.vjp({p.name: p for p in self.parameters}).simplified()

    def lines(self) -> list[str]:
        """The program as text, one assignment a line."""
        names = {i: x.name for i, x in enumerate(self.states)}
        for o in (*self.operations, *self.event_operations):
            names |= {s: f"s{s}" for s in o.outputs}

        def factor(value: Factor) -> str:
            return f"k{value.index}" if isinstance(value, Constant) else f"{value:.17g}"

        text = [f"{n.name} = {print_expression(e)}" for n, e in self.constants.statements]
        text += [f"{n} = {print_expression(e)}" for n, e in self.constants.outputs.items()]
        for o in (*self.operations, *self.event_operations):
            arguments = [names[a] for a in o.arguments]
            if o.kind == "linear":
                terms = [a if k == 1.0 else f"{factor(k)}*{a}" for k, a in zip(o.factors, arguments, strict=True)]
                value = " + ".join(terms + ([] if o.offset is None else [factor(o.offset)]))
            else:
                value = KINDS[o.kind].meaning.format(*arguments, exponent=factor(o.factors[0]) if o.factors else "")
            text.append(f"{', '.join(names[s] for s in o.outputs)} = {value}")
        text += [f"d{x.name}/dt = {0 if r is None else names[r]}" for x, r in zip(self.states, self.rates, strict=True)]
        return text + [f"g{k or ''} = {names[slot]}" for k, slot in enumerate(self.events)]

    def __str__(self) -> str:
        return "\n".join(self.lines())


class _Logistic(sp.Function):
    """1/(1 + exp(-u)): what a division would spoil by overflow."""

    nargs = 1


class _Softplus(sp.Function):
    """log(1 + exp(u))."""

    nargs = 1


class _Bernoulli(sp.Function):
    """u/(exp(u) - 1), the generating function of the Bernoulli numbers; 1 at u = 0."""

    nargs = 1


class _Lowering:
    """Collects the operations of several expressions; equal ones are shared."""

    def __init__(self, states: tuple[sp.Symbol, ...], constants: dict[sp.Expr, int], slots: int) -> None:
        self.states = states
        self.constants = constants
        self.slots = slots
        self.operations: list[Operation] = []
        self._known: dict[tuple[object, ...], int] = {}
        self._of: dict[sp.Expr, int] = {}

    def slot(self, e: sp.Expr) -> int:
        """The series of an expression in states and parameters."""
        return self._slot(self._recognised(sp.sympify(e)))

    def _varies(self, e: sp.Expr) -> bool:
        return bool(e.free_symbols & set(self.states))

    def _factor(self, e: sp.Expr) -> Factor:
        if not e.free_symbols:
            return float(e)
        return Constant(self.constants.setdefault(e, len(self.constants)))

    def _operation(
        self, kind: str, arguments: Iterable[int], factors: Iterable[Factor] = (), offset: Factor | None = None
    ) -> int:
        arguments, factors = tuple(arguments), tuple(factors)
        if kind == "mul":
            arguments = tuple(sorted(arguments))
            if arguments[0] == arguments[1]:
                kind, arguments = "square", arguments[:1]
        key = (kind, arguments, factors, offset)
        if key not in self._known:
            self._known[key] = self.slots
            self.operations.append(Operation(kind, self.slots, arguments, factors, offset))
            self.slots += KINDS[kind].slots
        return self._known[key]

    def _recognised(self, e: sp.Expr) -> sp.Expr:
        """The expression with functions in place of quotients that overflow or have a removable singularity."""
        if e.is_Atom or not self._varies(e):
            return e
        e = e.func(*(self._recognised(a) for a in e.args))
        if e.func.__name__ == "exprel":
            return 1 / _Bernoulli(e.args[0])
        if isinstance(e, sp.log):
            exponent = self._one_plus_exp(e.args[0])
            return e if exponent is None else exponent[0] + _Softplus(exponent[1])
        if not (e.is_Mul or (e.is_Pow and e.exp.is_Integer and e.exp < 0)):
            return e
        factors = list(sp.Mul.make_args(e))
        for i, a in enumerate(factors):
            if not (a.is_Pow and a.exp.is_Integer and a.exp < 0 and a.base.is_Add):
                continue
            found = self._one_plus_exp(a.base)
            if found is not None:
                factors[i] = (sp.exp(-found[0]) * _Logistic(-found[1])) ** (-a.exp)
            elif a.exp == -1:
                self._take_bernoulli(factors, i)
        return sp.Mul(*factors)

    def _one_plus_exp(self, e: sp.Expr) -> tuple[sp.Expr, sp.Expr] | None:
        """(a, u) if e = exp(a) (1 + exp(u)), a without states."""
        offset, terms = self._affine(e)
        if len(terms) != 1 or offset == 0:
            return None
        ((basis, factor),) = terms.items()
        if not isinstance(basis, sp.exp):
            return None
        ratio = factor / offset
        if not (ratio.is_number and ratio > 0 and (offset == 1 or offset.is_positive)):
            return None
        return sp.log(offset), basis.args[0] + sp.log(ratio)

    def _take_bernoulli(self, factors: list[sp.Expr], i: int) -> None:
        """Replace 1/(c (exp(u) - 1)) at place i, together with a factor that is a multiple of u, in the list."""
        offset, terms = self._affine(factors[i].base)
        if len(terms) != 1:
            return
        ((basis, factor),) = terms.items()
        if not isinstance(basis, sp.exp) or sp.expand(offset + factor) != 0:
            return
        u = basis.args[0]
        for j, numerator in enumerate(factors):
            if j != i and self._varies(numerator):
                ratio = sp.cancel(numerator / u)
                if not self._varies(ratio):
                    factors[j], factors[i] = ratio / factor, _Bernoulli(u)
                    return

    def _affine(self, e: sp.Expr) -> tuple[sp.Expr, dict[sp.Expr, sp.Expr]]:
        """Constant part and factors such that e = constant + Σ factor * what is neither a sum nor has a factor."""
        if not self._varies(e):
            return e, {}
        if e.is_Add:
            offset: sp.Expr = sp.Integer(0)
            terms: dict[sp.Expr, sp.Expr] = {}
            for a in e.args:
                more, parts = self._affine(a)
                offset += more
                for basis, factor in parts.items():
                    terms[basis] = terms.get(basis, sp.Integer(0)) + factor
            return offset, {b: f for b, f in terms.items() if f != 0}
        if e.is_Mul:
            constant, varying = e.as_independent(*self.states, as_Add=False)
            if constant != 1:
                offset, terms = self._affine(varying)
                return constant * offset, {b: constant * f for b, f in terms.items()}
        return sp.Integer(0), {e: sp.Integer(1)}

    def _slot(self, e: sp.Expr) -> int:
        if e in self._of:
            return self._of[e]
        offset, terms = self._affine(e)
        if offset == 0 and list(terms.values()) == [1]:
            slot = self._nonlinear(next(iter(terms)))
        else:
            slots = [self._slot(b) for b in terms]
            factors = [self._factor(f) for f in terms.values()]
            slot = self._operation("linear", slots, factors, None if offset == 0 else self._factor(offset))
        self._of[e] = slot
        return slot

    def _product(self, slots: list[int]) -> int:
        while len(slots) > 1:
            slots = [self._operation("mul", slots[:2]), *slots[2:]]
        return slots[0]

    def _nonlinear(self, e: sp.Expr) -> int:
        if e in self.states:
            return self.states.index(e)
        if e.is_Mul:
            above = [a for a in e.args if not _is_inverse(a)]
            below = [1 / a for a in e.args if _is_inverse(a)]
            numerator = [self._slot(a) for a in above]
            if not below:
                return self._product(numerator)
            denominator = self._product([self._slot(a) for a in below])
            if not numerator:
                return self._operation("reciprocal", [denominator])
            return self._operation("div", [self._product(numerator), denominator])
        if e.is_Pow:
            return self._power(e.base, e.exp)
        if len(e.args) != 1:
            raise _no_series(e)
        u = e.args[0]
        match e.func:
            case sp.exp:
                return self._operation("exp", [self._slot(u)])
            case sp.log:
                return self._operation("log", [self._slot(u), self._slot(1 / u)])
            case sp.atan:
                return self._operation("arctan", [self._slot(u), self._slot(1 / (1 + u**2))])
            case _ if e.func is _Softplus:
                return self._operation("softplus", [self._slot(u), self._slot(_Logistic(u))])
            case sp.sin | sp.sinh:
                return self._operation("sincos" if e.func is sp.sin else "sinhcosh", [self._slot(u)])
            case sp.cos | sp.cosh:
                return self._operation("sincos" if e.func is sp.cos else "sinhcosh", [self._slot(u)]) + 1
        kinds = {sp.tan: "tan", sp.tanh: "tanh", _Logistic: "logistic", _Bernoulli: "bernoulli"}
        if e.func not in kinds:
            raise _no_series(e)
        return self._operation(kinds[e.func], [self._slot(u)])

    def _power(self, base: sp.Expr, exponent: sp.Expr) -> int:
        if exponent.is_Integer:
            n = int(exponent)
            if n < 0:
                return self._operation("reciprocal", [self._slot(base ** (-n))])
            half = self._slot(base ** (n // 2))
            square = self._operation("mul", [half, half])
            return self._operation("mul", [square, self._slot(base)]) if n % 2 else square
        if exponent.is_number:
            return self._operation("pow", [self._slot(base)], [float(exponent)])
        return self._slot(sp.exp(exponent * sp.log(base), evaluate=False))


def _is_inverse(e: sp.Expr) -> bool:
    return bool(e.is_Pow and e.exp.is_Integer and e.exp < 0)


def _no_series(e: sp.Expr) -> UnsupportedExpression:
    return UnsupportedExpression(f"no Taylor series along the flow is defined for {e}; rewrite it with exp")
