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
from dataclasses import dataclass, field

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

    Made once for a model; `table` fills it in for parameter values, and keeps what it has made last: training sets
    values for every batch, most of which (thresholds, resting potentials, what isn't trained) change no table.
    """

    matrix: Callable[..., list]
    arguments: tuple[str, ...]
    n: int
    _last: dict[tuple[float, bytes], np.ndarray] = field(default_factory=dict, repr=False, compare=False)

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
        read = [p for p in s.parameters if p.name in rules.lasting]
        entries = [*a, *first, *third]
        return cls(sp.lambdify(read, entries, MODULES, cse=True), tuple(p.name for p in read), len(s.states))

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
        key = longest, kinds.tobytes()
        if key not in self._last:
            self._last.clear()
            self._last[key] = _tables(a, kinds[:, n * n : n * n + n], kinds[:, n * n + n :], longest)
        result = self._last[key][:, :, :, which]  # a copy
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
    growth = _exponentials(np.abs(a), cell)
    # c exp(A t), its integral k and r at the ends of all cells, one after the other: arrays (cells + 1, kinds, n)
    ends = LEVELS * _CELLS + 1
    row, k, r = np.empty((ends, kinds, n)), np.zeros((ends, kinds, n)), np.empty((ends, kinds, n))
    row[0], r[0] = first, third
    for i in range(ends - 1):
        level = i // _CELLS
        step, integral = exact[level, :, :n, :n], exact[level, :, :n, n:]
        k[i + 1] = k[i] + _times(row[i], integral)
        row[i + 1], r[i + 1] = _times(row[i], step), _times(r[i], step)
    # between its ends an entry leaves the chord by at most bend times the largest second derivative
    growth = np.repeat(growth, _CELLS, axis=0)
    bend = np.repeat(cell**2 / 8, _CELLS)[:, None, None]
    result = np.empty((LEVELS, 4, n, kinds))
    for m, (x, second) in enumerate(((k, _times(row[:-1], a)), (r, _times(r[:-1], a @ a)))):
        room = bend * _times(np.abs(second), growth)
        # what an entry has reached since 0, at the ends of the levels
        upper = np.maximum(np.maximum.accumulate(np.maximum(x[:-1], x[1:]) + room), x[0])[_CELLS - 1 :: _CELLS]
        lower = np.minimum(np.minimum.accumulate(np.minimum(x[:-1], x[1:]) - room), x[0])[_CELLS - 1 :: _CELLS]
        margin = _MARGIN * np.maximum(np.abs(upper), np.abs(lower))
        result[:, 2 * m] = np.swapaxes(upper + margin, 1, 2)
        result[:, 2 * m + 1] = np.swapaxes(lower - margin, 1, 2)
    # an integral of what has one sign stays on one side of 0, exactly. A K- of 0 also says that nowhere up to h a
    # larger state lowers g, by which Leaks in population.h tests with fewer operations
    for m, sign in ((1, 1), (0, -1)):
        so_far = np.logical_and.accumulate(_one_sided(sign * row, a, bend, growth))[_CELLS - 1 :: _CELLS]
        result[:, m][np.swapaxes(so_far, 1, 2)] = 0.0
    return result


def _times(rows: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Rows (..., n) times matrices (..., n, n), summed in the order of the columns whatever their number."""
    total = rows[..., 0, None] * matrices[..., 0, :]
    for i in range(1, rows.shape[-1]):
        total += rows[..., i, None] * matrices[..., i, :]
    return total


def _one_sided(row: np.ndarray, a: np.ndarray, bend: np.ndarray, growth: np.ndarray) -> np.ndarray:
    """Whether entries of c exp(A t), `row` at the ends of all cells, are surely not negative inside each cell."""
    slope = _times(row, a)
    turn = _times(slope[:-1], a)
    row_bend = bend * _times(np.abs(turn), growth)
    slope_bend = bend * _times(np.abs(_times(turn, a)), growth)
    least, most = np.minimum(slope[:-1], slope[1:]), np.maximum(slope[:-1], slope[1:])
    monotone = (least >= slope_bend) | (most <= -slope_bend)
    low = np.minimum(row[:-1], row[1:])
    return (low >= row_bend) | ((low >= 0) & monotone)


def _exponentials(matrices: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Exponentials of matrices (kinds, n, n) times the lengths of cells, shape (LEVELS, kinds, n, n).

    By their series for the shortest lengths, of which the norm is small whatever the units; the others are squares.
    LAPACK would start threads for matrices as small as these, and wait for them.
    """
    first = PER_OCTAVE + 1  # from here on a cell is twice as long as the one PER_OCTAVE before
    result = np.empty((LEVELS, *matrices.shape))
    short = matrices * lengths[:first, None, None, None]
    term = total = np.broadcast_to(np.eye(short.shape[-1]), short.shape)
    for k in range(1, _TERMS):
        term = term @ short / k
        total = total + term
    result[:first] = total
    for level in range(first, LEVELS, PER_OCTAVE):
        doubled = slice(level, min(level + PER_OCTAVE, LEVELS))
        half = result[level - PER_OCTAVE : doubled.stop - PER_OCTAVE]
        result[doubled] = half @ half
    return result
