"""NumPy code objects with templates of this package, and the functions that those templates call."""

from __future__ import annotations

import numpy as np
from brian2.codegen.runtime.numpy_rt.numpy_rt import NumpyCodeObject
from brian2.codegen.targets import codegen_targets

from ...symbolic.divided_differences import NUMPY_FUNCTIONS

__all__ = ["VectorisedCodeObject", "add_rows", "add_where_named", "keep_extreme", "row_entries", "spread"]


def add_rows(into: np.ndarray, rows: np.ndarray, values: np.ndarray | float) -> None:
    """``into[rows] += values``, where a row may come several times.

    Over single elements `numpy.add.at` takes a few nanoseconds each, over rows many times that; sums by row first
    (sorted and reduced, or as a product with a sparse matrix) are no faster in blocks that fit the cache.
    """
    width = into.shape[1]
    elements = rows[:, None] * width + np.arange(width)
    if np.shape(values) != elements.shape:
        values = np.broadcast_to(values, elements.shape)
    np.add.at(into.reshape(-1), elements.ravel(), np.ravel(values))


def row_entries(ends: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Entries of some rows of a sparse matrix.

    Parameters
    ----------
    ends : array, shape (n + 1,)
        Where each row starts, and the end of the last.
    rows : array of int

    Returns
    -------
    owner : array of int
        For every entry, which of the given rows it belongs to.
    entry : array of int
    """
    first = ends[rows]
    lengths = ends[rows + 1] - first
    owner = np.repeat(np.arange(rows.size), lengths)
    return owner, np.arange(owner.size) + np.repeat(first - np.cumsum(lengths) + lengths, lengths)


def spread(value: np.ndarray | float, owner: np.ndarray) -> np.ndarray | float:
    """A value of every spike, given to each of the spike's synapses; one number stays as it is."""
    return value[owner] if isinstance(value, np.ndarray) and value.ndim else value


def keep_extreme(
    ids: np.ndarray,
    offsets: np.ndarray,
    index: np.ndarray,
    arrived: np.ndarray,
    identifiers: np.ndarray,
    sign: int,
    where: np.ndarray | None = None,
) -> None:
    """Note the arrival of largest (`sign` 1) or smallest (-1) offset, the first of equal ones.

    Parameters
    ----------
    ids, offsets : array, shape (rows, targets)
        Identifier and offset of the arrival noted so far; an identifier below 0 means none.
    index : array of int, shape (arrivals,)
        Row of the targets that each arrival reaches.
    arrived : array, shape (arrivals,)
        Offsets.
    identifiers : array of int, shape (arrivals,)
        In ascending order.
    where : array of bool, shape (arrivals, targets), optional
        Which targets take note of which arrival; without it, all.
    """
    if where is not None:
        taken, column = np.nonzero(np.broadcast_to(where, (index.size, ids.shape[1])))
        index, arrived, identifiers = index[taken] * ids.shape[1] + column, arrived[taken], identifiers[taken]
        ids, offsets = ids.reshape(-1, 1), offsets.reshape(-1, 1)
    if not index.size:
        return
    order = np.lexsort((-sign * arrived, index))  # stable: of equal offsets the first stays first
    found = index[order]
    best = order[np.concatenate([[True], found[1:] != found[:-1]])]
    row = index[best]
    offset, identifier = arrived[best, None], identifiers[best, None]
    better = (ids[row] < 0) | (sign * offset > sign * offsets[row])
    offsets[row] = np.where(better, offset, offsets[row])
    ids[row] = np.where(better, identifier, ids[row])


def add_where_named(into: np.ndarray, identifiers: np.ndarray, base: int, values: np.ndarray) -> None:
    """Add each value to the element that its identifier, less `base`, names, where there is one."""
    own = np.flatnonzero((identifiers >= base) & (identifiers < base + into.size))
    np.add.at(into, identifiers[own] - base, values[own])


_FUNCTIONS = {n: getattr(np, n) for n in ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sqrt", "arctan")}
_HELPERS = {f"_{f.__name__}": f for f in (add_rows, add_where_named, keep_extreme, row_entries, spread)}


class VectorisedCodeObject(NumpyCodeObject):
    """NumPy code objects that find this package's templates before Brian2's."""

    templater = NumpyCodeObject.templater.derive("snnmodels.brian.vectorised")

    def variables_to_namespace(self) -> None:
        """Give the code its arrays, and the functions that it calls."""
        super().variables_to_namespace()
        self.namespace |= _FUNCTIONS | NUMPY_FUNCTIONS | _HELPERS


codegen_targets.add(VectorisedCodeObject)
