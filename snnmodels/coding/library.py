"""Coding networks as TOML: joint loss, decoder and values in one file of ``equations/coding`` or of the user."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import sympy as sp
from pydantic import Discriminator, Field, Tag

from ..symbolic.parsing import UnsupportedExpression, parse_expression
from ..templates.arguments import check_kind
from ..templates.errors import TemplateError, located, suggest
from ..templates.library import library_files, read_toml
from ..templates.model import Parameter
from ..templates.schema import Count, Number, ParameterTable, Table, Text, against
from ..templates.units import quantity_in
from .decoders import golden_angle_decoder, log_uniform_norms, random_decoder, ring_decoder
from .loss import Cost, JointLoss, Trace
from .network import CodingNetwork, Homeostat, Value

__all__ = ["coding_catalogue", "load_coding_network"]

Array = np.ndarray
Matrix = list[list[Number]]


class _TraceTable(Table):
    scope: Literal["neuron", "population"]
    tau: str
    jump: str | Number = 1
    description: str = ""


class _CostTable(Table):
    expression: Text
    description: str = ""


class _ParameterTable(ParameterTable):
    """Signals, traces and costs have no unit, and a file of one's own needs no descriptions."""

    unit: Text = "1"
    description: str = ""


# a number, or a table as in the library's files; an error is then about the one that was meant
_ParameterEntry = Annotated[
    Annotated[str | Number, Tag("one value")] | Annotated[_ParameterTable, Tag("table of a parameter")],
    Discriminator(lambda value: "table of a parameter" if isinstance(value, dict | ParameterTable) else "one value"),
]
# an expression, or a table as in the library's files
_CostEntry = Annotated[
    Annotated[Text, Tag("expression")] | Annotated[_CostTable, Tag("table of a cost")],
    Discriminator(lambda value: "table of a cost" if isinstance(value, dict | _CostTable) else "expression"),
]


class _CodingTable(Table):
    trace: Text = "r"
    weight: Matrix | None = None
    dynamics: list[list[str | Number]] | None = None


class _NormsTable(Table):
    low: Number
    high: Number
    seed: int | None = None


class _DecoderTable(Table):
    kind: Literal["ring", "golden_angle", "random", "matrix"]
    neurons: Count | None = None
    signals: Count | None = None
    norms: Number | list[Number] | _NormsTable | None = None
    seed: int | None = None
    matrix: Matrix | None = None


class _HomeostatTable(Table):
    budget: str
    gain: str
    minimum: Number | None = None
    maximum: Number | None = None
    scope: Literal["population", "neuron"] = "population"


class _CodingNetworkFile(Table):
    kind: Literal["coding_network"]
    title: str = ""
    description: str = ""
    references: list[str] = Field(default_factory=list)
    coding: _CodingTable = _CodingTable()
    traces: Annotated[dict[str, _TraceTable], Field(min_length=1)]
    costs: dict[str, _CostEntry] = Field(default_factory=dict)
    parameters: dict[str, _ParameterEntry] = Field(default_factory=dict)
    decoder: _DecoderTable
    homeostats: dict[str, _HomeostatTable] = Field(default_factory=dict)
    delay: str | Number = 0
    noise: Number = 0


def coding_catalogue() -> dict[str, Path]:
    """The library's coding networks, path by name."""
    return library_files("coding")


def load_coding_network(reference: str | Path) -> CodingNetwork:
    """A coding network from the library or from a user's file.

    Parameters
    ----------
    reference : str or Path
        A name of `coding_catalogue`, or the path of a file that ends in ``.toml``.

    Returns
    -------
    CodingNetwork

    Raises
    ------
    TemplateError
        One line that names the file, the key and what would be right.
    """
    check_kind("a coding network", reference, (str, Path), "a name of the library or a path")
    path = Path(reference)
    if path.suffix == ".toml":
        if not os.path.isfile(path):
            raise TemplateError("", str(reference), "no such file")
    elif str(reference) in coding_catalogue():
        path = coding_catalogue()[str(reference)]
    else:
        hint = suggest(str(reference), coding_catalogue())
        raise TemplateError("", str(reference), f"not among the library's coding networks, nor a .toml file; {hint}")
    return _compose(against(_CodingNetworkFile, read_toml(path), str(path)), str(path), path.stem)


def _compose(table: _CodingNetworkFile, file: str, name: str) -> CodingNetwork:
    with located(file, "decoder"):
        decoder = _decoder(table.decoder)
    parameters = {k: _parameter(file, k, p) for k, p in table.parameters.items()}
    with located(file, "coding"):
        loss = JointLoss(
            costs=tuple(
                Cost(k, _expression(file, f"costs.{k}", c))
                if isinstance(c, str)
                else Cost(k, _expression(file, f"costs.{k}.expression", c.expression), c.description)
                for k, c in table.costs.items()
            ),
            traces={k: _trace(file, k, t) for k, t in table.traces.items()},
            readout=table.coding.trace,
            parameters=parameters,
            weight=None if table.coding.weight is None else _matrix(table.coding.weight),
            dynamics=None if table.coding.dynamics is None else _rates(file, table.coding.dynamics),
            name=name,
            title=table.title,
            description=table.description,
            references=tuple(table.references),
        )
    with located(file, "decoder"):
        network = CodingNetwork(decoder, loss, name=name)
    values: dict[str, Value] = {}
    for parameter, homeostat in table.homeostats.items():
        key = f"homeostats.{parameter}"
        if parameter not in parameters:
            raise TemplateError(file, key, f"not a parameter; {suggest(parameter, parameters)}")
        with located(file, key):
            values[parameter] = Homeostat(
                initial=parameters[parameter].value,
                budget=quantity_in(homeostat.budget, "hertz")[0],
                gain=quantity_in(homeostat.gain, "hertz")[0],
                minimum=homeostat.minimum,
                maximum=homeostat.maximum,
                scope=homeostat.scope,
            )
    with located(file, "delay"):
        delay = quantity_in(table.delay, "second")[0]
    with located(file, "homeostats"):
        return CodingNetwork(network.decoder, loss, values, delay=delay, noise=float(table.noise), name=name)


def _parameter(file: str, name: str, table: ParameterTable | str | float) -> Parameter:
    with located(file, f"parameters.{name}"):
        if not isinstance(table, ParameterTable):
            table = _ParameterTable(default=table)
        if table.unit != "1":
            raise ValueError(f"unit {table.unit!r}, expected '1': signals, traces and costs have no unit")
        if table.scale is not None:
            raise ValueError("scale is for parameters of neurons, synapses and mechanisms")
        value, text = quantity_in(table.default, "1")
        return Parameter(name, value, "1", text, table.description)


def _trace(file: str, name: str, table: _TraceTable) -> Trace:
    with located(file, f"traces.{name}"):
        jump = _expression(file, f"traces.{name}.jump", str(table.jump))
        return Trace(table.scope, quantity_in(table.tau, "second")[0], jump, table.description)


def _expression(file: str, key: str, text: str) -> sp.Expr:
    try:
        return parse_expression(text, numbers=False)
    except UnsupportedExpression as error:
        raise TemplateError(file, key, str(error)) from None


def _matrix(rows: Matrix) -> Array:
    if len({len(row) for row in rows}) != 1:
        raise ValueError("the rows of a matrix must be equally long")
    return np.array(rows, float)


def _rates(file: str, rows: list[list[str | Number]]) -> Array:
    with located(file, "coding.dynamics"):
        return _matrix([[quantity_in(entry, "hertz")[0] for entry in row] for row in rows])


def _decoder(table: _DecoderTable) -> Array:
    given = {k for k in ("neurons", "signals", "norms", "seed", "matrix") if getattr(table, k) is not None}
    needed = {
        "ring": {"neurons", "norms"},
        "golden_angle": {"neurons", "norms"},
        "random": {"neurons", "signals", "norms", "seed"},
        "matrix": {"matrix"},
    }[table.kind]
    missing, extra = needed - given, given - needed
    if missing:
        raise ValueError(f"kind {table.kind!r} needs {min(missing)!r}")
    if extra:
        raise ValueError(f"kind {table.kind!r} has no use for {min(extra)!r}")
    if table.matrix is not None:
        return _matrix(table.matrix)
    n = table.neurons or 0
    norms = _norms(table.norms, n)
    if table.kind == "random":
        return random_decoder(table.signals or 0, n, norms, seed=table.seed or 0)
    return (ring_decoder if table.kind == "ring" else golden_angle_decoder)(n, norms)


def _norms(value: Any, n: int) -> float | Array:
    if isinstance(value, _NormsTable):
        return log_uniform_norms(n, value.low, value.high, seed=value.seed)
    if isinstance(value, list):
        if len(value) != n:
            raise ValueError(f"{len(value)} norms for {n} neurons")
        return np.array(value, float)
    return float(value)
