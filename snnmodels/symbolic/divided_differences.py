"""Divided differences of the exponential: closed-form flows that stay exact when time constants coincide.

exp[x_0, ..., x_m] is the divided difference of exp at the nodes x_k (McCurdy, Ng & Parlett 1984, Math. Comp. 43:501).
The entries of exp(A s) for a triangular A are sums of products of A's entries with s^m exp[a_0 s, ..., a_m s], so a
cascade synapse -> membrane needs no special case for equal time constants, and the derivative by a node is again a
divided difference, with that node repeated. exprel(x) = (exp(x) - 1)/x is exp[x, 0]: its derivatives are differences
with x repeated, exact at and near x = 0.
"""

from __future__ import annotations

import math

import numpy as np
import sympy as sp
from sympy.printing.pretty.stringpict import prettyForm

from .steps import NUMPY_CONDITION, NUMPY_STEP

__all__ = [
    "MAX_NODES",
    "MODULES",
    "NUMPY_FUNCTIONS",
    "ExpDD",
    "cpp_source",
    "expdd",
    "exprel",
    "exprel_values",
    "separation",
]

MAX_NODES = 8
_SPREAD = 2.0  # up to this distance of the nodes the series is used, beyond it the recursion, which then loses nothing
_TERMS = 32
_NEGLIGIBLE = 1e-20
_SLOWEST = 20.0  # per second


class ExpDD(sp.Function):
    """exp[x_0, ..., x_m] as a SymPy function; symmetric in its arguments."""

    @classmethod
    def eval(cls, *nodes: sp.Expr) -> sp.Expr | None:
        """One node is the exponential, all nodes equal a multiple of it."""
        if len(nodes) > MAX_NODES:
            raise ValueError(f"a divided difference with {len(nodes)} nodes; at most {MAX_NODES} are supported")
        if len(set(nodes)) == 1:
            return sp.exp(nodes[0]) / sp.factorial(len(nodes) - 1)
        ordered = tuple(sorted(nodes, key=sp.default_sort_key))
        return cls(*ordered, evaluate=False) if ordered != nodes else None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """Derivative by a node: the same difference with that node repeated."""
        return ExpDD(*self.args, self.args[argindex - 1])

    def _sympystr(self, printer: sp.printing.printer.Printer) -> str:
        # a whole number in Brian2's code is no argument of a function of real ones
        nodes = (f"{a}.0" if a.is_Integer else printer._print(a) for a in self.args)
        return f"expdd{len(self.args)}({', '.join(nodes)})"

    def _latex(self, printer: sp.printing.printer.Printer) -> str:
        return r"\exp\left[" + ", ".join(printer._print(a) for a in self.args) + r"\right]"

    def _pretty(self, printer: sp.printing.printer.Printer) -> prettyForm:
        nodes = printer._print_seq(self.args, "[", "]", delimiter=", ")
        return prettyForm(*nodes.left("exp"))


class exprel(sp.Function):  # called as Brian2 calls it, since it is printed under this name
    """(exp(x) - 1)/x as a SymPy function; 1 at x = 0."""

    nargs = 1

    @classmethod
    def eval(cls, x: sp.Expr) -> sp.Expr | None:
        """The value at 0, and what is none: SymPy takes numbers that aren't finite to find signs."""
        if x in (sp.zoo, sp.nan):
            return sp.nan
        return sp.Integer(1) if x.is_zero else None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """exp[x, x, 0], the derivative of exp[x, 0]."""
        return ExpDD(self.args[0], self.args[0], sp.Integer(0))

    def _eval_evalf(self, prec: int) -> sp.Expr:
        x = self.args[0]
        # digits, from bits; evalf takes more where the difference cancels
        return ((sp.exp(x) - 1) / x).evalf(math.ceil(prec * math.log10(2))) if x.is_number else self

    def _eval_is_positive(self) -> bool | None:
        return self.args[0].is_extended_real

    def _latex(self, printer: sp.printing.printer.Printer, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\operatorname{{exprel}}{power}\left({printer._print(self.args[0])}\right)"


def expdd(*nodes: np.ndarray | float) -> np.ndarray:
    """exp[x_0, ..., x_m] numerically, elementwise over arrays.

    Nodes that are close: about their mean c, e^c sum_k h_k(x - c)/(m + k)!, with the complete homogeneous polynomials
    h_k; far apart: the recursion (exp[x_1..x_m] - exp[x_0..x_{m-1}])/(x_m - x_0) on sorted nodes.
    """
    x = np.sort(np.stack(np.broadcast_arrays(*(np.asarray(a, dtype=float) for a in nodes))), axis=0)
    m = len(x) - 1
    if m == 0:
        return np.exp(x[0])
    if m == 1:
        d = x[1] - x[0]
        # the product would overflow where nodes lie far apart; there the difference loses nothing
        close = np.exp(x[0]) * exprel_values(np.minimum(d, _SPREAD))
        return np.where(d <= _SPREAD, close, (np.exp(x[1]) - np.exp(x[0])) / np.where(d > _SPREAD, d, 1.0))
    centre = x.mean(axis=0)
    y = x - centre
    h = np.ones_like(y)  # h[j]: polynomial of the current degree in y_0..y_j
    factorial = 1.0
    for k in range(1, m + 1):
        factorial *= k
    total = h[m] / factorial
    last = total
    for k in range(1, _TERMS):
        h[0] = y[0] * h[0]
        for j in range(1, m + 1):
            h[j] = h[j - 1] + y[j] * h[j]
        factorial *= m + k
        term = h[m] / factorial
        total = total + term
        # nodes that lie symmetrically make every other term vanish, so one small term says nothing
        if np.all(np.maximum(np.abs(term), np.abs(last)) < _NEGLIGIBLE * np.abs(total)):
            break
        last = term
    near = np.exp(centre) * total
    spread = x[m] - x[0]
    if np.all(spread <= _SPREAD):
        return near
    far = (expdd(*x[1:]) - expdd(*x[:-1])) / np.where(spread > _SPREAD, spread, 1.0)
    return np.where(spread <= _SPREAD, near, far)


def exprel_values(x: np.ndarray | float) -> np.ndarray:
    """(exp(x) - 1)/x numerically, elementwise over arrays; 1 at 0."""
    x = np.asarray(x, dtype=float)
    return np.where(x == 0, 1.0, np.expm1(x) / np.where(x == 0, 1.0, x))


# what NumPy lacks of what expressions may call, by the printed names
NUMPY_FUNCTIONS = {"exprel": exprel_values, **{f"expdd{n}": expdd for n in range(2, MAX_NODES + 1)}, **NUMPY_CONDITION}
# what `sympy.lambdify` needs as modules for expressions with these functions
MODULES = [{"exprel": exprel_values, "ExpDD": expdd, **NUMPY_STEP}, "numpy"]

_CPP = """
QUALIFIER double _expdd(int m, const double* nodes)
{
    double x[MAX_NODES], y[MAX_NODES], h[MAX_NODES];
    for (int i = 0; i <= m; i++)
    {
        double a = nodes[i];
        int j = i;
        for (; j > 0 && x[j-1] > a; j--) x[j] = x[j-1];
        x[j] = a;
    }
    if (m == 0) return exp(x[0]);
    if (m == 1)
    {
        const double d = x[1] - x[0];
        if (d > SPREAD) return (exp(x[1]) - exp(x[0]))/d;  // the product would overflow
        return exp(x[0])*(d > 0 ? expm1(d)/d : 1.0);
    }
    if (x[m] - x[0] > SPREAD)
        return (_expdd(m - 1, x + 1) - _expdd(m - 1, x))/(x[m] - x[0]);
    double centre = 0, factorial = 1;
    for (int i = 0; i <= m; i++) centre += x[i];
    centre /= m + 1;
    for (int i = 0; i <= m; i++) { y[i] = x[i] - centre; h[i] = 1; }
    for (int k = 1; k <= m; k++) factorial *= k;
    double total = h[m]/factorial, last = total;
    for (int k = 1; k < TERMS; k++)
    {
        h[0] *= y[0];
        for (int j = 1; j <= m; j++) h[j] = h[j-1] + y[j]*h[j];
        factorial *= m + k;
        const double term = h[m]/factorial;
        total += term;
        // nodes that lie symmetrically make every other term vanish, so one small term says nothing
        if (fabs(term) < NEGLIGIBLE*total && fabs(last) < NEGLIGIBLE*total) break;
        last = term;
    }
    return exp(centre)*total;
}
"""


def cpp_source(qualifier: str) -> str:
    """C++ functions ``expdd2`` to ``expdd<MAX_NODES>``, the same algorithm as `expdd`.

    Parameters
    ----------
    qualifier : str
        What stands before each function, such as ``static inline`` or ``__host__ __device__ static inline``.
    """
    numbers = {"MAX_NODES": MAX_NODES, "SPREAD": _SPREAD, "TERMS": _TERMS, "NEGLIGIBLE": _NEGLIGIBLE}
    source = _CPP.replace("QUALIFIER", qualifier)
    for name, value in numbers.items():
        source = source.replace(name, repr(value))
    for n in range(2, MAX_NODES + 1):
        names = [f"x{i}" for i in range(n)]
        source += f"{qualifier} double expdd{n}({', '.join('double ' + x for x in names)})\n"
        source += f"{{ const double nodes[{n}] = {{{', '.join(names)}}}; return _expdd({n - 1}, nodes); }}\n"
    return source


def separation(*rates: np.ndarray | float) -> np.ndarray:
    """How far rates are apart, for a sum of exponentials in the place of their divided difference, elementwise.

    The coefficient of exp(a s) in the sum is 1/prod(a - b) over the other rates b: the smallest distance says what
    derivatives by one rate lose, the product what the sum loses, which may be a digit more. Pieces of trials are far
    shorter than the slowest rates' times: over these, what is much slower than `_SLOWEST` is as good as 0.

    Parameters
    ----------
    *rates : float or array
        Different ones, per second.

    Returns
    -------
    array
        Smallest relative distance of two of them, or ten times the product of those of one from all others where that
        is less; 1 for fewer than two.
    """
    smallest = np.asarray(1.0)
    for i, a in enumerate(rates):
        product = np.asarray(1.0)
        for k, b in enumerate(rates):
            if k != i:
                distance = np.abs(a - b) / np.maximum(np.maximum(np.abs(a), np.abs(b)), _SLOWEST)
                smallest, product = np.minimum(smallest, distance), product * distance
        smallest = np.minimum(smallest, 10 * product)
    return smallest
