"""What linear nodes between two neurons do: a sum of paths, each a matrix of weights with delays, and a constant."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from ._convolution import convolution
from ._graph import LINEAR, SPATIAL, Graph, NIRError, refuse

__all__ = ["Path", "Signal", "Signals"]

Array = np.ndarray

_MOST = 20_000_000  # connections of a path that has delays between two matrices
_LAYERS = 16  # delays between one pair of neurons


@dataclass(frozen=True)
class Path:
    """From a source to a node.

    Attributes
    ----------
    source : str
        The neuron or input.
    weight : array, shape (n_out, n_in), or (n,)
        The latter is a diagonal.
    delay : array
        That broadcasts to the shape of the weight, in the graph's unit of time.
    mask : bool array, shape (n_out, n_in), or None
        Which connections exist; None for all (of the diagonal).
    names : tuple of str
        The nodes with weights that it passes.
    """

    source: str
    weight: Array
    delay: Array
    mask: Array | None = None
    names: tuple[str, ...] = ()

    def scaled(self, factor: Array) -> Path:
        """Behind an elementwise factor."""
        return replace(self, weight=factor * self.weight if self.weight.ndim == 1 else factor[:, None] * self.weight)

    def delayed(self, delay: Array) -> Path:
        """Behind elementwise delays."""
        if (delay == delay[0]).all():
            return replace(self, delay=self.delay + delay[0])
        return replace(self, delay=self.delay + (delay if self.weight.ndim == 1 else delay[:, None]))

    def through(self, matrix: Array, exists: Array | None, name: str, where: str) -> list[Path]:
        """Behind a matrix (n_out, n_in): one path, or several where delays differ between two matrices.

        Parameters
        ----------
        matrix : array
        exists : bool array or None
            Where it holds a weight; None for everywhere.
        name, where : str
            Of the node, the latter for errors.
        """
        names = (*self.names, name)
        if self.weight.ndim == 1:
            delay = self.delay[None, :] if self.delay.ndim else self.delay
            return [Path(self.source, matrix * self.weight, delay, exists, names)]
        if self.delay.ndim == 0 or self.delay.shape[0] == 1:
            mask = None
            if exists is not None or self.mask is not None:
                a = np.ones(matrix.shape) if exists is None else exists.astype(float)
                b = np.ones(self.weight.shape) if self.mask is None else self.mask.astype(float)
                mask = a @ b > 0
            return [Path(self.source, matrix @ self.weight, self.delay, mask, names)]
        return self._joined(matrix, names, where)

    def _joined(self, matrix: Array, names: tuple[str, ...], where: str) -> list[Path]:
        """Connection by connection, as those between one pair may have several delays."""
        delay = np.broadcast_to(self.delay, self.weight.shape)
        ways = np.count_nonzero(matrix, axis=0) @ np.count_nonzero(self.weight, axis=1)
        if ways > _MOST:
            raise refuse(where, f"comes behind delays that differ, in {ways} ways", "put the delays beside a neuron")
        rows, columns, weights, delays = [], [], [], []
        for k in range(self.weight.shape[0]):
            (i,), (j,) = np.nonzero(matrix[:, k]), np.nonzero(self.weight[k])
            rows.append(np.repeat(i, j.size))
            columns.append(np.tile(j, i.size))
            weights.append(np.outer(matrix[i, k], self.weight[k, j]).ravel())
            delays.append(np.tile(delay[k, j], i.size))
        r, c, w, d = (np.concatenate(x) for x in (rows, columns, weights, delays))
        order = np.lexsort((d, c, r))
        r, c, w, d = r[order], c[order], w[order], d[order]
        new_pair = np.append(True, (r[1:] != r[:-1]) | (c[1:] != c[:-1]))[: r.size]
        new = new_pair | np.append(True, d[1:] != d[:-1])[: r.size]
        starts = np.flatnonzero(new)
        if not starts.size:
            return []
        total = np.add.reduceat(w, starts)
        r, c, d = r[starts], c[starts], d[starts]
        first = np.flatnonzero(new_pair[starts])
        layer = np.arange(r.size) - np.repeat(first, np.diff(np.append(first, r.size)))
        if layer.max() >= _LAYERS:
            found = f"joins two neurons by {layer.max() + 1} delays"
            raise refuse(where, found, f"at most {_LAYERS} can be read; put the delays beside a neuron")
        shape = (matrix.shape[0], self.weight.shape[1])
        paths = []
        for k in range(int(layer.max()) + 1):
            chosen = (r[layer == k], c[layer == k])
            weight, late, mask = np.zeros(shape), np.zeros(shape), np.zeros(shape, dtype=bool)
            weight[chosen], late[chosen], mask[chosen] = total[layer == k], d[layer == k], True
            paths.append(Path(self.source, weight, late, None if mask.all() else mask, names))
        return paths


@dataclass(frozen=True)
class Signal:
    """A sum of paths and, where it isn't None, a constant of shape (n,)."""

    paths: tuple[Path, ...]
    bias: Array | None = None

    @staticmethod
    def total(signals: Iterable[Signal]) -> Signal:
        """The sum."""
        found = list(signals)
        constants = [s.bias for s in found if s.bias is not None]
        bias = np.sum(constants, axis=0) if constants else None
        return Signal(tuple(p for s in found for p in s.paths), bias)


class Signals:
    """The signal that each node of a graph puts out, as a sum of paths from inputs and neurons."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._known: dict[str, Signal] = {}

    def into(self, name: str, within: tuple[str, ...] = ()) -> Signal:
        """What comes to a node.

        Raises
        ------
        NIRError
            For sizes that don't fit, and circles of linear nodes.
        """
        graph = self.graph
        takes = self._takes(name)
        for before in graph.before[name]:
            size = int(np.prod(graph.shape(before)))
            if takes is not None and size != takes:
                raise refuse(
                    graph.said(name),
                    f"takes {takes} values, and {before!r} gives {size}",
                    "write its parameters out, one for each",
                )
        return Signal.total(self._out(before, within) for before in graph.before[name])

    def _takes(self, name: str) -> int | None:
        graph = self.graph
        match graph.kind(name):
            case "Linear" | "Affine":
                graph.shape(name)  # checks it
                return int(np.shape(graph.nodes[name].weight)[1])
            case kind if kind in SPATIAL or kind in ("Flatten", "Identity"):
                return None
            case _:
                return int(np.prod(graph.shape(name)))

    def _out(self, name: str, within: tuple[str, ...]) -> Signal:
        if name in within:
            circle = " -> ".join((*within[within.index(name) :], name))
            raise NIRError(f"the nodes {circle} are a circle without a neuron; put a neuron into it")
        if name not in self._known:
            self._known[name] = self._signal(name, (*within, name))
        return self._known[name]

    def _signal(self, name: str, within: tuple[str, ...]) -> Signal:
        graph, where, kind = self.graph, self.graph.said(name), self.graph.kind(name)
        if kind not in LINEAR:
            size = int(np.prod(graph.shape(name)))
            return Signal((Path(name, np.ones(size), np.zeros(())),))
        coming = self.into(name, within)
        paths, bias = coming.paths, coming.bias
        if kind == "Scale":
            factor = graph.each(name, "scale")
            return Signal(tuple(p.scaled(factor) for p in paths), None if bias is None else factor * bias)
        if kind == "Delay":
            delay = graph.each(name, "delay")
            if (delay < 0).any():
                raise refuse(where, f"has a delay of {delay.min():g}", "a signal can't come before it is sent")
            if bias is not None and bias[delay > 0].any():
                raise refuse(where, "delays a bias, which has no beginning", "put the bias behind the Delay")
            return Signal(tuple(p.delayed(delay) for p in paths), bias)
        if kind in ("Flatten", "Identity"):
            return coming
        matrix, exists, own = self._matrix(name, kind)
        if bias is not None:
            own = matrix @ bias if own is None else own + matrix @ bias
        through = tuple(q for p in paths for q in p.through(matrix, exists, name, where))
        return Signal(through, own)

    def _matrix(self, name: str, kind: str) -> tuple[Array, Array | None, Array | None]:
        """The matrix of a node, where it holds weights (None for everywhere), and its bias."""
        graph, where = self.graph, self.graph.said(name)
        if kind in ("Linear", "Affine"):
            matrix = graph.value(name, "weight")
            if kind == "Linear":
                return matrix, None, None
            bias = graph.value(name, "bias").ravel()
            if bias.size != matrix.shape[0]:
                raise refuse(where, f"has a bias of {bias.size} values", f"expected {matrix.shape[0]}")
            return matrix, None, bias
        shape = graph.entering(name)
        try:
            matrix, exists = convolution(graph.nodes[name], kind, shape, where)
        except ValueError as error:
            raise NIRError(str(error)) from None
        own = None
        if kind.startswith("Conv"):
            channels = graph.shape(name)[0]
            bias = graph.value(name, "bias").ravel()
            if bias.size != channels:
                raise refuse(where, f"has a bias of {bias.size} values", f"expected one of each of {channels} channels")
            own = np.repeat(bias, matrix.shape[0] // channels)
        return matrix, exists, own
