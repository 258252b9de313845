"""Bounds that let no crossing of a linear model pass unseen.

With x' = A x + b and a linear function g of the states, everything that g does after a time 0 follows from the slopes
x'(0): g(t) - g(0) = k(t) x'(0) with the row k(t) = ∫_0^t c exp(A u) du, and g'''(t) = r(t) x'(0) with
r(t) = c A^2 exp(A t), where c is the gradient of g. For a ladder of lengths h the largest and smallest value that every
entry of k and r takes on [0, h] is tabulated; then for every t in [0, h]

    g(t)    <= g(0) + sum_j max(K+_j x'_j, K-_j x'_j)
    g'''(t) <=        sum_j max(R+_j x'_j, R-_j x'_j)

The first tells, without an exponential, which neurons can't cross; the second makes steps towards a crossing safe.
The tables don't use eigenvectors, so equal, nearly equal and complex rates are like any others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import sympy as sp

from ..symbolic.divided_differences import MODULES
from .rules import Rules

__all__ = ["LEVELS", "PER_OCTAVE", "Bounds"]

LEVELS = 49
"""Lengths in the ladder: ``longest * 2**(-(LEVELS - 1 - l)/PER_OCTAVE)``, ascending."""
PER_OCTAVE = 4
_CELLS = 4  # cells between two lengths, in which entries are bounded by their ends and second derivative
_TERMS = 24  # of a series: enough for a window of 10000 of the shortest time constants
_MARGIN = 1e-9  # of the largest entry: far above rounding, far below what would cost a search


@dataclass(frozen=True)
class Bounds:
    """Tables of a linear function of the states of one model.

    Made once for a model; `table` fills it in for parameter values.
    """

    matrix: Callable[..., list]
    arguments: tuple[str, ...]
    n: int

    @classmethod
    def of(cls, rules: Rules, function: str) -> Bounds:
        """Bounds of the event function (``"threshold"``) or of minus the slope of the observed state (``"peak"``).

        For the latter k bounds the observed state itself, so that a maximum below one that is known needs no search.

        Parameters
        ----------
        rules : Rules
            Of a linear model.
        function : {"threshold", "peak"}
            The latter where the rules have an observed state.
        """
        s = rules.system
        a = s.jacobian()
        if function == "threshold":
            row = sp.Matrix([[sp.diff(s.g, x) for x in s.states]])
            first, third = row, row * a * a
        else:
            assert rules.observed is not None
            row = sp.zeros(1, len(s.states))
            row[rules.observed] = 1
            first, third = row, -row * a * a * a
        arguments = tuple(p.name for p in s.parameters)
        entries = [*a, *first, *third]
        return cls(sp.lambdify(list(s.parameters), entries, MODULES, cse=True), arguments, len(s.states))

    def table(self, values: Mapping[str, np.ndarray], longest: float) -> np.ndarray:
        """The table for parameter values.

        Parameters
        ----------
        values : mapping of str to array, shape () or (n_neurons,)
            By canonical name.
        longest : float
            Length of the longest piece, in seconds.

        Returns
        -------
        array, shape (LEVELS, 4, n_states) or (LEVELS, 4, n_states, n_neurons)
            K+, K-, R+, R- for every length of the ladder.
        """
        given = [np.asarray(values[a], dtype=float) for a in self.arguments]
        shape = np.broadcast_shapes(*(v.shape for v in given))
        n = self.n
        flat = [np.broadcast_to(np.asarray(e, dtype=float), shape).reshape(-1) for e in self.matrix(*given)]
        stacked = np.stack(flat, axis=-1)  # neurons, entries
        # Neurons of equal rates share one table. (np.unique of rows turns a Ctrl-C inside it into a TypeError.)
        places: dict[bytes, int] = {}
        which = np.array([places.setdefault(row.tobytes(), len(places)) for row in stacked])
        kinds = stacked[np.unique(which, return_index=True)[1]]
        a = kinds[:, : n * n].reshape(-1, n, n)
        tables = _tables(a, kinds[:, n * n : n * n + n], kinds[:, n * n + n :], longest)
        result = tables[:, :, :, which]
        return np.ascontiguousarray(result if shape else result[..., 0])


def _tables(a: np.ndarray, first: np.ndarray, third: np.ndarray, longest: float) -> np.ndarray:
    """Tables for ``kinds`` systems at once: (LEVELS, 4, n, kinds)."""
    kinds, n = first.shape
    h = longest * 2.0 ** (-np.arange(LEVELS - 1, -1, -1) / PER_OCTAVE)
    starts = np.concatenate([[0.0], h[:-1]])
    cell = (h - starts) / _CELLS
    # exp of [[A, 1], [0, 0]] d holds exp(A d) and its integral; growth bounds what happens inside a cell
    augmented = np.zeros((kinds, 2 * n, 2 * n))
    augmented[:, :n, :n] = a
    augmented[:, :n, n:] = np.eye(n)
    exact = _exponentials(augmented, cell)
    step, integral = exact[:, :, :n, :n], exact[:, :, :n, n:]
    growth = _exponentials(np.abs(a), cell)
    square = a @ a
    k = np.zeros((kinds, n))
    row, high_order = first.copy(), third.copy()
    bounds = [np.zeros((kinds, n)), np.zeros((kinds, n)), third.copy(), third.copy()]
    result = np.empty((LEVELS, 4, n, kinds))
    one_sided = {sign: np.ones((kinds, n), dtype=bool) for sign in (1, -1)}

    def times(r: np.ndarray, m: np.ndarray) -> np.ndarray:
        return np.einsum("ki,kij->kj", r, m)

    for level in range(LEVELS):
        bend = cell[level] ** 2 / 8
        for _ in range(_CELLS):
            # between its ends an entry leaves the chord by at most bend times the largest second derivative
            k_bend = bend * times(np.abs(times(row, a)), growth[:, level])
            r_bend = bend * times(np.abs(times(high_order, square)), growth[:, level])
            k_next = k + times(row, integral[:, level])
            row_next, r_next = times(row, step[:, level]), times(high_order, step[:, level])
            for sign in (1, -1):
                one_sided[sign] &= _one_sided(sign * row, sign * row_next, a, bend, growth[:, level])
            row = row_next
            bounds[0] = np.maximum(bounds[0], np.maximum(k, k_next) + k_bend)
            bounds[1] = np.minimum(bounds[1], np.minimum(k, k_next) - k_bend)
            bounds[2] = np.maximum(bounds[2], np.maximum(high_order, r_next) + r_bend)
            bounds[3] = np.minimum(bounds[3], np.minimum(high_order, r_next) - r_bend)
            k, high_order = k_next, r_next
        for m, sign in enumerate((1, -1, 1, -1)):
            margin = _MARGIN * np.maximum(np.abs(bounds[m - m % 2]), np.abs(bounds[m - m % 2 + 1]))
            result[level, m] = (bounds[m] + sign * margin).T
        # an integral of what has one sign stays on one side of 0, exactly: then the bound costs half
        result[level, 1][one_sided[1].T] = 0.0
        result[level, 0][one_sided[-1].T] = 0.0
    return result


def _one_sided(row: np.ndarray, after: np.ndarray, a: np.ndarray, bend: float, growth: np.ndarray) -> np.ndarray:
    """Whether entries of c exp(A t), `row` and `after` at the ends of a cell, are surely not negative inside it."""

    def times(r: np.ndarray, m: np.ndarray) -> np.ndarray:
        return np.einsum("ki,kij->kj", r, m)

    slope, slope_after = times(row, a), times(after, a)
    turn = times(slope, a)
    row_bend = bend * times(np.abs(turn), growth)
    slope_bend = bend * times(np.abs(times(turn, a)), growth)
    monotone = (np.minimum(slope, slope_after) >= slope_bend) | (np.maximum(slope, slope_after) <= -slope_bend)
    low = np.minimum(row, after)
    return (low >= row_bend) | ((low >= 0) & monotone)


def _exponentials(matrices: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Exponentials of matrices (kinds, n, n) times the lengths of cells, shape (kinds, LEVELS, n, n).

    By their series for the shortest lengths, of which the norm is small whatever the units; the others are squares.
    LAPACK would start threads for matrices as small as these, and wait for them.
    """
    first = PER_OCTAVE + 1  # from here on a cell is twice as long as the one PER_OCTAVE before
    result = np.empty((len(matrices), LEVELS, *matrices.shape[1:]))
    short = matrices[:, None] * lengths[:first, None, None]
    term = total = np.broadcast_to(np.eye(short.shape[-1]), short.shape)
    for k in range(1, _TERMS):
        term = term @ short / k
        total = total + term
    result[:, :first] = total
    for level in range(first, LEVELS):
        result[:, level] = result[:, level - PER_OCTAVE] @ result[:, level - PER_OCTAVE]
    return result
