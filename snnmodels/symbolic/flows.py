"""Flows: the state a time s later (or earlier), as a program.

A subsystem that is linear and triangular has a closed form: with the dependency graph of A, the entry (i, j) of
exp(A s) is the sum over paths j -> ... -> i of the product of A's entries along the path with s^m exp[a_0 s, ...,
a_m s] (divided differences at the diagonal entries met). Everything else is expanded in a Taylor series along f, its
coefficients computed by recurrences (Moore 1966; Griewank & Walther 2008, chapter 13): exact to rounding for a linear
system when the order is high enough, of the stated order in s for a nonlinear one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import sympy as sp
from scipy.linalg import matrix_balance

from .divided_differences import MODULES, ExpDD, exprel, separation
from .parsing import UnsupportedExpression, symbol
from .programs import Builder
from .system import HybridSystem

__all__ = ["Flow", "evaluate"]

_SEPARATED = 0.05  # distance of rates above which sums of exponentials lose about two digits at most
_MAX_ORDER = 40
_FEW = 8  # parameters in a polynomial, whose terms SymPy keeps densely


@dataclass(frozen=True)
class Flow:
    """The flow of a system, ready to be written into a program.

    Attributes
    ----------
    system : HybridSystem
    closed_form : mapping Symbol to Expr
        For each state of the triangular linear subsystem its value after the time `TIME`.
    series : tuple of Symbol
        States that are expanded in a Taylor series.
    order : int
        Order of that series.
    exact : bool
        Whether the flow is exact to rounding.
    separated : tuple of tuple of Expr
        Rates that were told apart, so that their divided difference is written as a sum of exponentials.
    """

    system: HybridSystem
    closed_form: Mapping[sp.Symbol, sp.Expr]
    series: tuple[sp.Symbol, ...]
    order: int
    exact: bool
    separated: tuple[tuple[sp.Expr, ...], ...] = ()

    TIME = symbol("_flow_time")

    @classmethod
    def of(
        cls,
        system: HybridSystem,
        dt: float,
        values: Mapping[str, float | np.ndarray] | None = None,
        order: int = 4,
    ) -> Flow:
        """Choose closed form or series for each state.

        Parameters
        ----------
        system : HybridSystem
        dt : float
            Time step in seconds; times up to ``2*dt`` will be asked for.
        values : mapping, optional
            Parameter values in SI units, where they differ from the defaults.
        order : int
            Order of the Taylor series of nonlinear states.

        Raises
        ------
        ValueError
            If `dt` is too large for a linear system that has no closed form here.
        """
        linear = _triangular(system)
        numbers = dict(system.defaults) | {
            s: (values or {})[s.name] for s in system.parameters if s.name in (values or {})
        }
        separated: list[tuple[sp.Expr, ...]] = []
        closed = {x: _closed_form(system, linear, x, numbers, separated) for x in linear}
        series = tuple(x for x in system.states if x not in closed)
        if series and system.is_linear:
            order = _order_for_rounding(system, numbers, 2 * dt)
        return cls(system, closed, series, order, not series or system.is_linear, tuple(separated))

    def holds_for(self, values: Mapping[str, float | np.ndarray]) -> bool:
        """Whether the closed forms chosen are still accurate for other parameter values (time constants apart)."""
        numbers = {s: values[s.name] for s in self.system.parameters}
        return all(_are_separated(rates, numbers, _SEPARATED / 10) for rates in self.separated)

    def write(self, builder: Builder, x: Mapping[sp.Symbol, sp.Expr], time: sp.Expr) -> dict[sp.Symbol, sp.Expr]:
        """Assign the state after a time, and return its expressions.

        Parameters
        ----------
        builder : Builder
            Gets the assignments.
        x : mapping Symbol to Expr
            Every state to start from.
        time : Expr
            In seconds.
        """
        start = {s: builder.assign(e) for s, e in x.items()}
        time = builder.assign(time)
        after = {s: builder.assign(e.xreplace({**start, self.TIME: time})) for s, e in self.closed_form.items()}
        if self.series:
            after |= self._write_series(builder, start, time)
        return {s: after[s] for s in self.system.states}

    def _write_series(
        self, builder: Builder, start: Mapping[sp.Symbol, sp.Expr], time: sp.Expr
    ) -> dict[sp.Symbol, sp.Expr]:
        jets = _Jets(builder, start)
        for k in range(self.order):
            for s in self.system.states:
                jets.of_state[s].append(builder.assign(jets.coefficient(self.system.f[s], k) / (k + 1)))
        result = {}
        for s in self.series:
            value: sp.Expr = jets.of_state[s][self.order]
            for k in range(self.order - 1, -1, -1):
                value = builder.assign(jets.of_state[s][k] + time * value)
            result[s] = value
        return result


def _triangular(system: HybridSystem) -> tuple[sp.Symbol, ...]:
    """States whose equations are affine and depend only on themselves and on such states, in an order of dependence."""
    solved: list[sp.Symbol] = []
    remaining = list(system.states)
    while True:
        ready = [
            x
            for x in remaining
            if (system.f[x].free_symbols & set(system.states)) <= {*solved, x}
            and all(sp.diff(system.f[x], y, z) == 0 for y in (*solved, x) for z in (*solved, x))
        ]
        if not ready:
            return tuple(solved)
        solved += ready
        remaining = [x for x in remaining if x not in ready]


def _closed_form(
    system: HybridSystem,
    linear: tuple[sp.Symbol, ...],
    x: sp.Symbol,
    numbers: Mapping[sp.Symbol, float | np.ndarray],
    separated: list[tuple[sp.Expr, ...]],
) -> sp.Expr:
    one = sp.Symbol("_one")  # the constant part of f, as a state that never changes
    zero = dict.fromkeys(system.states, sp.Integer(0))

    def entry(i: sp.Symbol, j: sp.Symbol) -> sp.Expr:
        if i == one:
            return sp.Integer(0)
        return sp.together(system.f[i].xreplace(zero)) if j == one else sp.expand(sp.diff(system.f[i], j))

    def paths(i: sp.Symbol) -> list[list[sp.Symbol]]:
        found = [[i]]
        for j in (*linear, one):
            if j != i and entry(i, j) != 0:
                found += [[*p, i] for p in paths(j)]
        return found

    total = sp.Integer(0)
    for path in paths(x):
        weight = sp.Mul(*(entry(path[k + 1], path[k]) for k in range(len(path) - 1)))
        rates = tuple(entry(i, i) for i in path)
        apart = _are_separated(rates, numbers)
        if apart:
            separated.append(rates)
        start = sp.Integer(1) if path[0] == one else path[0]
        total += start * _along_path(weight, rates, apart)
    return total


@lru_cache(1024)  # most paths of a refractory neuron's flow are those of the free one's
def _along_path(weight: sp.Expr, rates: tuple[sp.Expr, ...], apart: bool) -> sp.Expr:
    """Of weight w: w s^m exp[a_0 s, ..., a_m s]; where the rates are `apart`, as a sum of exponentials."""
    s = Flow.TIME
    if not apart or len(set(rates)) < len(rates):
        return weight * s ** (len(rates) - 1) * ExpDD(*(a * s for a in rates))
    # s^m cancels; each coefficient is a fraction of parameters, which SymPy reduces far sooner than the sum
    coefficients = [weight * _reduced(1 / sp.Mul(*(a - b for b in rates if b != a))) for a in rates]
    return sp.factor_terms(sp.Add(*(c * sp.exp(a * s) for a, c in zip(rates, coefficients, strict=True))))


def _reduced(fraction: sp.Expr) -> sp.Expr:
    """A fraction in lowest terms, unless it reads so many parameters that SymPy's polynomials take minutes."""
    return sp.factor(fraction) if len(fraction.free_symbols) <= _FEW else fraction


def _are_separated(
    rates: tuple[sp.Expr, ...], numbers: Mapping[sp.Symbol, float | np.ndarray], distance: float = _SEPARATED
) -> bool:
    """Whether the rates are at least this far apart by `separation`, for every neuron."""
    different = list(dict.fromkeys(rates))
    if len(different) < len(rates):
        return len(different) == 1
    return bool(np.all(separation(*(evaluate(r, numbers) for r in different)) > distance))


@cache
def _compiled(expression: sp.Expr) -> tuple[list[sp.Symbol], Callable[..., np.ndarray]]:
    names = sorted(expression.free_symbols, key=str)
    return names, sp.lambdify(names, expression, MODULES)


def evaluate(expression: sp.Expr, numbers: Mapping[sp.Symbol, float | np.ndarray]) -> np.ndarray:
    """An expression in the parameters at their values, elementwise; compiled once for each expression.

    Parameters
    ----------
    expression : Expr
    numbers : mapping Symbol to float or array
        Value of every parameter in it, scalars or of one shape.
    """
    names, function = _compiled(expression)
    return np.asarray(function(*(np.asarray(numbers[n], dtype=float) for n in names)))


def _order_for_rounding(system: HybridSystem, numbers: Mapping[sp.Symbol, float | np.ndarray], time: float) -> int:
    """Order at which the series of exp(A time) has converged to rounding."""
    jacobian = system.jacobian()
    n = len(system.states)
    a = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if jacobian[i, j] != 0:
                a[i, j] = np.max(np.abs(evaluate(jacobian[i, j], numbers)))
    # units differ between states, so balance before taking the norm
    balanced = matrix_balance(a, permute=False)[0]
    norm = np.linalg.norm(balanced, 1) * time
    remainder, order = 1.0, 0
    while order < _MAX_ORDER:
        order += 1
        remainder *= norm / order
        if order > norm and remainder < 1e-18:
            return order
    raise ValueError(
        f"the time step is too large for the time constants of {system.name}: |A| 2 dt = {norm:.3g}; "
        "choose a smaller dt"
    )


class _Jets:
    """Taylor coefficients of expressions along the flow, as assignments."""

    def __init__(self, builder: Builder, start: Mapping[sp.Symbol, sp.Expr]) -> None:
        self.builder = builder
        self.of_state: dict[sp.Symbol, list[sp.Expr]] = {s: [e] for s, e in start.items()}
        self.known: dict[tuple[sp.Expr, int], sp.Expr] = {}

    def coefficient(self, e: sp.Expr, k: int) -> sp.Expr:
        """The k-th Taylor coefficient of e; coefficients 0..k of the states must be known."""
        if e in self.of_state:
            return self.of_state[e][k]
        if not e.free_symbols & set(self.of_state):
            return e if k == 0 else sp.Integer(0)
        if (e, k) not in self.known:
            self.known[e, k] = self.builder.assign(self._compute(e, k))
        return self.known[e, k]

    def _product(self, a: sp.Expr, b: sp.Expr, k: int) -> sp.Expr:
        return sp.Add(*(self.coefficient(a, i) * self.coefficient(b, k - i) for i in range(k + 1)))

    def _compute(self, e: sp.Expr, k: int) -> sp.Expr:
        c = self.coefficient
        if e.is_Add:
            return sp.Add(*(c(a, k) for a in e.args))
        if e.is_Mul:
            constant, varying = e.as_independent(*self.of_state, as_Add=False)
            if constant != 1:
                return constant * c(varying, k)
            first, rest = varying.as_two_terms()
            return self._product(first, rest, k)
        if e.is_Pow and not e.exp.free_symbols & set(self.of_state):
            base, exponent = e.base, e.exp
            if exponent.is_Integer and 1 < exponent <= 8:
                half = base ** (exponent // 2)
                return self._product(half, e / half, k)
            if k == 0:
                return c(base, 0) ** exponent
            # base * (base^p)' = p * base' * base^p
            terms = [((exponent + 1) * i - k) * c(base, i) * c(e, k - i) for i in range(1, k + 1)]
            return sp.Add(*terms) / (k * c(base, 0))
        if isinstance(e, sp.exp):
            if k == 0:
                return sp.exp(c(e.args[0], 0))
            return sp.Add(*(i * c(e.args[0], i) * c(e, k - i) for i in range(1, k + 1))) / k
        if isinstance(e, sp.log):
            u = e.args[0]
            if k == 0:
                return sp.log(c(u, 0))
            rest = sp.Add(*(i * c(e, i) * c(u, k - i) for i in range(1, k)))
            return (c(u, k) - rest / k) / c(u, 0)
        partner = {sp.sin: (sp.cos, 1), sp.cos: (sp.sin, -1), sp.sinh: (sp.cosh, 1), sp.cosh: (sp.sinh, 1)}
        if e.func in partner:
            other, sign = partner[e.func]
            u = e.args[0]
            if k == 0:
                return e.func(c(u, 0))
            return sign * sp.Add(*(i * c(u, i) * c(other(u), k - i) for i in range(1, k + 1))) / k
        if isinstance(e, sp.tanh):
            if k == 0:
                return sp.tanh(c(e.args[0], 0))
            slope = 1 - e**2
            return sp.Add(*(i * c(e.args[0], i) * c(slope, k - i) for i in range(1, k + 1))) / k
        if isinstance(e, exprel | ExpDD):
            nodes = e.args if isinstance(e, ExpDD) else (e.args[0], sp.Integer(0))
            if k == 0:
                return e.func(*(c(a, 0) for a in e.args))
            # a recurrence would divide by what vanishes at 0; the derivative by a node is the difference with it twice
            varying = [a for a in nodes if a.free_symbols & set(self.of_state)]
            slopes = [(a, ExpDD(*nodes, a)) for a in varying]
            return sp.Add(*(i * c(a, i) * c(slope, k - i) for a, slope in slopes for i in range(1, k + 1))) / k
        raise UnsupportedExpression(f"no Taylor series along the flow is defined for {e}; rewrite it with exp")
