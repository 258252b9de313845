"""Weights of low rank: a matrix N by N as N by K and K by N, with K the number of signals rather than of neurons.

The recurrent weights of a spike-coding network are DᵀW D. So a spike need not visit N neurons: it subtracts its column
of D from the M numbers x - x̂, which every neuron reads through its row of DᵀW (Boerlin et al. 2013, eq. 8 read from
right to left). This is the same algebra in another order, so spike trains are the same but for rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["Factors", "Recurrence", "nonzero_per_column"]

Array = np.ndarray
Recurrence = Literal["dense", "low_rank"]

MOST = 1_000_000_000
"""Entries of a matrix N by N that is still made: 8 GB."""


@dataclass(frozen=True)
class Factors:
    """The matrix left @ right + diag(diagonal).

    Attributes
    ----------
    left : array, shape (N, K)
    right : array, shape (K, N)
    diagonal : array, shape (N,)
    """

    left: Array
    right: Array
    diagonal: Array

    @property
    def rank(self) -> int:
        """K."""
        return self.left.shape[1]

    def of_itself(self) -> Array:
        """The diagonal of the whole matrix, shape (N,)."""
        return np.asarray(np.einsum("ik,ki->i", self.left, self.right) + self.diagonal)

    def dense(self) -> Array:
        """The whole matrix, shape (N, N).

        Raises
        ------
        ValueError
            If it would take more than 8 GB.
        """
        n = len(self.left)
        if n * n > MOST:
            raise ValueError(
                f"the weights of {n} neurons to each other take {8e-9 * n * n:.0f} GB; use recurrence='low_rank', "
                f"which keeps {2 * self.rank * n} numbers instead"
            )
        weights = self.left @ self.right
        weights[np.diag_indices(n)] += self.diagonal
        return np.asarray(weights)


def nonzero_per_column(left: Array, right: Array) -> Array:
    """How many rows of left @ right, its diagonal left out, are connected to each column: they share a factor.

    Parameters
    ----------
    left : array, shape (N, K)
    right : array, shape (K, N)

    Returns
    -------
    int array, shape (N,)

    Notes
    -----
    An entry counts if some product in its sum is non-zero; one that comes out as exactly 0 by cancellation counts too.
    Rounding decides whether orthogonal columns give 0 or 1e-17, so their products are no measure of a synapse. Rows of
    the same pattern of zeros are counted together: the work grows with N times the number of patterns.
    """
    rows, of_row, times = np.unique(left != 0, axis=0, return_inverse=True, return_counts=True)
    columns, of_column = np.unique((right != 0).T, axis=0, return_inverse=True)
    meet = rows.astype(int) @ columns.T.astype(int) > 0
    itself = meet[np.ravel(of_row), np.ravel(of_column)]
    return np.asarray((times @ meet)[np.ravel(of_column)] - itself)
