"""The bounding box: where the error x - x̂ may be without anybody spiking (Calaim et al. 2022).

Neuron i stays silent while D_iᵀ W e <= theta_i, so its face has the normal W D_i and, in the metric W, the distance
theta_i/d_i. Costs move faces: nu all of them, mu each by its own activity, kappa all in proportion to the population
activity, which makes the box a section of a cone over the axis of that activity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy as sp
from scipy.optimize import linprog
from scipy.spatial import ConvexHull, HalfspaceIntersection

from ..symbolic.parsing import symbol
from .network import CodingNetwork

__all__ = ["Box", "bounding_box"]

Array = np.ndarray


@dataclass(frozen=True)
class Box:
    """The polytope {e : normals e <= offsets}.

    Attributes
    ----------
    normals : array, shape (N, M)
        Unit vectors (in the usual, unweighted sense).
    offsets : array, shape (N,)
        Distances of the faces from the origin.
    """

    normals: Array
    offsets: Array

    def contains(self, error: Array, tolerance: float = 0.0) -> Array:
        """Whether each error is inside.

        Parameters
        ----------
        error : array, shape (..., M)
        tolerance : float
            How far beyond a face still counts as inside.

        Returns
        -------
        bool array, shape (...)
        """
        return np.asarray((error @ self.normals.T <= self.offsets + tolerance).all(-1))

    def vertices(self) -> Array:
        """Corners, shape (corners, M); in counter-clockwise order for M = 2.

        Raises
        ------
        ValueError
            If the box is empty or unbounded: too few neurons surround the origin, or costs are negative.
        """
        inside = self._inner_point()
        if self.normals.shape[1] == 1:  # an interval, which Qhull has no word for
            ends = self.offsets / self.normals[:, 0]
            return np.array([[ends[ends <= inside].max()], [ends[ends >= inside].min()]])
        corners = HalfspaceIntersection(np.column_stack([self.normals, -self.offsets]), inside).intersections
        hull = ConvexHull(corners)
        # for M = 2 the vertices of the hull come in counter-clockwise order
        return np.asarray(corners[hull.vertices])

    def _inner_point(self) -> Array:
        """Centre of the largest ball inside."""
        m = self.normals.shape[1]
        result = linprog(
            np.r_[np.zeros(m), -1.0],
            A_ub=np.column_stack([self.normals, np.ones(len(self.normals))]),
            b_ub=self.offsets,
            bounds=[(None, None)] * m + [(0, None)],
        )
        if result.status == 3:
            raise ValueError("the box is unbounded: some direction has no neuron that corrects errors in it")
        if result.status != 0 or result.x[-1] <= 0:
            raise ValueError("the box is empty: some threshold is so low that neurons spike without end")
        return np.asarray(result.x[:-1])

    def touching(self, tolerance: float = 1e-9) -> Array:
        """Neurons whose face bounds the box somewhere; the others never spike while the box is this one.

        Returns
        -------
        bool array, shape (N,)
        """
        slack = self.offsets[:, None] - self.normals @ self.vertices().T
        return np.asarray((slack <= tolerance * max(1.0, float(self.offsets.max()))).any(1))


def bounding_box(network: CodingNetwork, **values: float | Array) -> Box:
    """The box of a network at given traces.

    Parameters
    ----------
    network : CodingNetwork
    **values : float or array, shape (N,)
        Traces (0 where not given) and parameters that change in time.

    Returns
    -------
    Box

    Raises
    ------
    ValueError
        For a name that is neither a trace nor a parameter, or a changing parameter without a value.
    """
    unknown = set(values) - set(network.loss.traces) - set(network.loss.parameters)
    if unknown:
        raise ValueError(
            f"{min(unknown)!r} is neither a trace ({', '.join(network.loss.traces)}) "
            f"nor a parameter ({', '.join(network.loss.parameters) or 'none'})"
        )
    known = dict.fromkeys(network.loss.traces, 0.0) | network.constants() | values
    names = sorted(s.name for s in network.rule.threshold.free_symbols)
    missing = [n for n in names if n not in known]
    if missing:
        raise ValueError(f"{missing[0]!r} changes in time; give its value: bounding_box(network, {missing[0]}=...)")
    theta = sp.lambdify([symbol(n) for n in names], network.rule.threshold, "numpy")(*[known[n] for n in names])
    length = np.linalg.norm(network.encoder, axis=1)
    return Box(network.encoder / length[:, None], np.broadcast_to(theta, (network.n,)) / length)
