"""A NIR graph as plain nodes and edges: read, its subgraphs written out, every shape known."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ...files import named
from ...templates.errors import brief, suggest
from ._convolution import output_shape

__all__ = ["LINEAR", "NEURONS", "PASSING", "SPATIAL", "Graph", "NIRError", "array", "package", "read_graph", "refuse"]

Array = np.ndarray

NEURONS = ("CubaLI", "CubaLIF", "I", "IF", "LI", "LIF")
SPATIAL = ("AvgPool2d", "Conv1d", "Conv2d", "SumPool2d")
PASSING = ("Flatten", "Identity")
ELEMENTWISE = {"Delay": "delay", "Scale": "scale", "Threshold": "threshold"}
LINEAR = (*SPATIAL, *PASSING, "Affine", "Delay", "Linear", "Scale")
ENDS = ("Input", "Output")

_MOST = 100_000_000  # values of a parameter or a signal


class NIRError(ValueError):
    """What NIR and networks here don't have in common: names the node, population or projection, and what to do."""


def package() -> ModuleType:
    """The package ``nir``.

    Raises
    ------
    NIRError
        If it isn't installed.
    """
    try:
        import nir
    except ImportError:
        raise NIRError("NIR graphs need the package nir; install it: pip install 'snnmodels[nir]'") from None
    return nir


def refuse(what: str, problem: str, instead: str) -> NIRError:
    """The error that names what can't be translated, why, and what to do."""
    return NIRError(f"{what} {problem}; {instead}")


def array(node: Any, name: str, where: str) -> Array:
    """A parameter of a node as float64.

    Raises
    ------
    NIRError
        If it is none, or not finite.
    """
    try:
        value = np.asarray(getattr(node, name), dtype=float)
    except (ArithmeticError, AttributeError, RuntimeError, TypeError, ValueError):  # tensors that need gradients, too
        found = brief(getattr(node, name, None))
        raise refuse(where, f"has {name} = {found}", "expected an array of numbers") from None
    if not value.size:
        raise refuse(where, f"has no values of {name}", "give some")
    if not np.isfinite(value).all():
        raise refuse(where, f"has a {name} that is not finite", "give numbers")
    if value.size > _MOST:
        raise refuse(where, f"has a {name} of {value.size} values", f"expected at most {_MOST}")
    return value


@dataclass(frozen=True)
class Graph:
    """Nodes by name and edges, without subgraphs.

    Attributes
    ----------
    nodes : mapping of str to nir.NIRNode
    edges : tuple of (str, str)
    metadata : mapping
        Of the whole graph.
    """

    nodes: Mapping[str, Any]
    edges: tuple[tuple[str, str], ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def kind(self, name: str) -> str:
        """Type of a node, as ``"LIF"``."""
        return type(self.nodes[name]).__name__

    def said(self, name: str) -> str:
        """How errors call a node."""
        return f"node {name!r} ({self.kind(name)})"

    def value(self, name: str, parameter: str) -> Array:
        """A parameter of a node as float64."""
        return array(self.nodes[name], parameter, self.said(name))

    def each(self, name: str, parameter: str) -> Array:
        """A parameter of a node, one for each of its values, flattened.

        Raises
        ------
        NIRError
            If there are more or fewer.
        """
        value, n = self.value(name, parameter), int(np.prod(self.shape(name)))
        if value.ndim and value.size != n:
            raise refuse(self.said(name), f"has {value.size} values of {parameter}", f"expected {n}, one for each")
        return np.broadcast_to(value.ravel(), (n,)).copy()

    @cached_property
    def before(self) -> dict[str, list[str]]:
        """The nodes that lead to each."""
        found: dict[str, list[str]] = {name: [] for name in self.nodes}
        for a, b in self.edges:
            found[b].append(a)
        return found

    @cached_property
    def after(self) -> dict[str, list[str]]:
        """The nodes that each leads to."""
        found: dict[str, list[str]] = {name: [] for name in self.nodes}
        for a, b in self.edges:
            found[a].append(b)
        return found

    def of(self, *kinds: str) -> list[str]:
        """Names of the nodes of some types."""
        return [name for name in self.nodes if self.kind(name) in kinds]

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return {}

    def shape(self, name: str, within: tuple[str, ...] = ()) -> tuple[int, ...]:
        """Shape of what a node puts out.

        Parameters
        ----------
        name : str
        within : tuple of str
            Nodes whose shape is being asked for.

        Raises
        ------
        NIRError
            If it can't be known, or isn't what the node's parameters say.
        """
        if name in within:
            circle = " -> ".join((*within[within.index(name) :], name))
            raise NIRError(f"the nodes {circle} are a circle without a neuron; put a neuron into it")
        if name not in self._shapes:
            self._shapes[name] = self._shape(name, (*within, name))
        return self._shapes[name]

    def entering(self, name: str, within: tuple[str, ...] = ()) -> tuple[int, ...]:
        """Shape of what comes to a node, which all nodes before it must agree on.

        Raises
        ------
        NIRError
            If they don't, or there are none.
        """
        shapes = {a: self.shape(a, within) for a in self.before[name]}
        if not shapes:
            raise refuse(self.said(name), "has no node before it", "connect it")
        told = shapes.values() if self.kind(name) in SPATIAL else {int(np.prod(s)) for s in shapes.values()}
        if len(set(told)) > 1:
            found = ", ".join(f"{s} of {a!r}" for a, s in shapes.items())
            raise refuse(self.said(name), f"adds signals of other shapes: {found}", "expected equal ones")
        return next(iter(shapes.values()))

    def _shape(self, name: str, within: tuple[str, ...]) -> tuple[int, ...]:
        node, kind, where = self.nodes[name], self.kind(name), self.said(name)
        if kind in ENDS:
            ports = node.input_type if kind == "Input" else node.output_type
            return _declared(ports, where)
        if kind in NEURONS or kind in ELEMENTWISE:
            # single numbers, as some simulators write them, are those of all that comes in
            return self.value(name, ELEMENTWISE.get(kind, "r")).shape or self.entering(name, within)
        if kind in ("Linear", "Affine"):
            weight = self.value(name, "weight")
            if weight.ndim != 2:
                raise refuse(where, f"has a weight of shape {weight.shape}", "expected (out, in)")
            return weight.shape[:1]
        shape = self.entering(name, within)
        if kind == "Identity":
            return shape
        if kind == "Flatten":
            first, last = (int(k) + len(shape) * (int(k) < 0) for k in (node.start_dim, node.end_dim))
            if len(shape) < 2:  # the default start_dim of 1 is meant for what has channels first
                return shape
            if not 0 <= first <= last < len(shape):
                raise refuse(where, f"flattens dimensions {first} to {last} of {shape}", "expected some that there are")
            return (*shape[:first], int(np.prod(shape[first : last + 1])), *shape[last + 1 :])
        return output_shape(node, kind, shape, where)


def read_graph(given: Any) -> Graph:
    """A graph, from an object or a file.

    Parameters
    ----------
    given : str, Path or nir.NIRGraph

    Raises
    ------
    NIRError
        For what is no graph, nodes of unknown types, and edges that lead nowhere or are there twice.
    OSError
        If a file can't be read.
    """
    nir = package()
    if isinstance(given, str | os.PathLike):
        given = _from_file(Path(given), nir)
    if not isinstance(given, nir.NIRGraph):
        raise NIRError(f"expected a nir.NIRGraph or the path of a file, got {brief(given)}")
    nodes, edges = _written_out(given, nir)
    known = {*NEURONS, *LINEAR, *ENDS, "Threshold"}
    for name, node in nodes.items():
        if type(node).__name__ not in known:
            raise refuse(f"node {name!r}", f"is a {type(node).__name__}", suggest(type(node).__name__, known))
    seen = set()
    for edge in edges:
        for end in edge:
            if end not in nodes:
                raise NIRError(f"edge {edge} names {end!r}, which is no node; {suggest(end, nodes)}")
        if edge in seen:
            raise NIRError(
                f"edge {edge} is there twice, which some take for twice the signal and some for one edge; remove one, "
                "or put a Scale of 2 between"
            )
        seen.add(edge)
    return Graph(nodes, tuple(edges), given.metadata if isinstance(given.metadata, Mapping) else {})


def _from_file(path: Path, nir: ModuleType) -> Any:
    with named(path, "NIR graph"):
        path.open("rb").close()
    try:
        # types are checked here, with names and advice; files of older versions fail theirs
        return nir.read(str(path), type_check=False)
    except Exception as error:  # whatever h5py and nir raise for files that aren't graphs
        raise NIRError(f"{path}: can't be read as a NIR graph: {brief(error)}") from None


def _written_out(graph: Any, nir: ModuleType) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Nodes and edges with those of subgraphs beside them, called ``subgraph.node``."""
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    entries: dict[str, list[str]] = {}
    exits: dict[str, list[str]] = {}
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.NIRGraph):
            nodes[name] = node
            continue
        inner, inner_edges = _written_out(node, nir)
        renamed = {k: k if k.startswith(f"{name}.") else f"{name}.{k}" for k in inner}
        for side, kind, found in ((entries, nir.Input, "Input"), (exits, nir.Output, "Output")):
            ends = [renamed[k] for k, n in inner.items() if isinstance(n, kind)]
            if len(ends) != 1:
                raise refuse(f"subgraph {name!r}", f"has {len(ends)} {found} nodes", "expected one")
            side[name] = ends
        for k, n in inner.items():
            if renamed[k] in nodes or renamed[k] in graph.nodes:
                raise refuse(f"subgraph {name!r}", f"has a node {k!r} whose name is taken", "rename it")
            nodes[renamed[k]] = Identity() if isinstance(n, nir.Input | nir.Output) else n
        edges += [(renamed[a], renamed[b]) for a, b in inner_edges]
    for a, b in graph.edges:
        edges.append((exits.get(a, [a])[0], entries.get(b, [b])[0]))
    return nodes, edges


class Identity:
    """What an end of a subgraph is in the graph around it."""

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {}


def _declared(ports: Any, where: str) -> tuple[int, ...]:
    value = next(iter(ports.values()), None) if isinstance(ports, Mapping) and len(ports) == 1 else None
    try:
        shape = tuple(int(k) for k in np.atleast_1d(np.asarray(value)))
    except (TypeError, ValueError):
        shape = ()
    if not shape or min(shape) < 1 or np.prod(shape, dtype=float) > _MOST:
        raise refuse(where, f"has the shape {brief(value)}", "expected one of whole numbers from 1 up")
    return shape
