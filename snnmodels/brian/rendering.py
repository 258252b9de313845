"""Helpers that turn models and grid programs into Brian2's equations and abstract code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sympy as sp
from brian2 import NeuronGroup
from brian2.core.variables import Constant
from brian2.equations.codestrings import Expression
from brian2.equations.equations import (
    DIFFERENTIAL_EQUATION,
    PARAMETER,
    Equations,
    SingleEquation,
    dimensions_and_type_from_string,
)
from brian2.parsing.expressions import parse_expression_dimensions
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension

from ..symbolic.declaration import threshold_sides
from ..symbolic.parsing import print_expression
from ..symbolic.programs import Program
from ..templates.model import Model
from ..templates.units import check_identifier

__all__ = [
    "EquationList",
    "assign",
    "dimension",
    "inverse",
    "outputs",
    "storage",
    "threshold_code",
    "threshold_dimension",
    "zero",
]

def dimension(unit: str) -> Dimension:
    """The physical dimension of a base unit in Brian2's syntax."""
    return dimensions_and_type_from_string(unit)[0]


def inverse(dim: Dimension) -> Dimension:
    """Dimension of dL/dx for a dimensionless loss."""
    return DIMENSIONLESS / dim


class EquationList:
    """Brian2 equations built from names and dimensions (a string could not hold units such as 1/volt).

    Parameters
    ----------
    owner : str
        Whose equations they are, for messages.

    Raises
    ------
    ValueError
        For a name that is there already or that Brian2 reserves: a model's states and parameters share a group with
        variables of the simulation's own.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._equations: dict[str, SingleEquation] = {}

    def _add(self, kind: str, name: str, dim: Dimension, **details: Any) -> None:
        if name in self._equations or name == "j":
            raise ValueError(f"{self._owner}: the name {name!r} is used by the generated code; choose another")
        try:
            check_identifier(name)
        except ValueError as error:
            raise ValueError(f"{self._owner}: {error}") from None
        self._equations[name] = SingleEquation(kind, name, dim, **details)

    def differential(self, name: str, dim: Dimension, rhs: str) -> None:
        """Add ``d(name)/dt = rhs``.

        Parameters
        ----------
        name : str
        dim : Dimension
            Of the variable.
        rhs : str
            In Brian2's syntax.
        """
        self._add(DIFFERENTIAL_EQUATION, name, dim, var_type="float", expr=Expression(rhs))

    def parameter(self, name: str, dim: Dimension = DIMENSIONLESS, *flags: str) -> None:
        """Add a variable that code or the user sets.

        Parameters
        ----------
        name : str
        dim : Dimension
        *flags : str
            As in Brian2's equations: ``"constant"``, ``"shared"``, ``"linked"``.
        """
        self._add(PARAMETER, name, dim, var_type="float", flags=list(flags))

    def integer(self, names: Iterable[str], *flags: str) -> None:
        """Add integer variables.

        Parameters
        ----------
        names : iterable of str
        *flags : str
            See `parameter`.
        """
        for name in names:
            self._add(PARAMETER, name, DIMENSIONLESS, var_type="integer", flags=list(flags))

    def equations(self) -> Equations:
        """The equations so far."""
        return Equations(list(self._equations.values()))


def zero(dim: Dimension) -> str:
    """A literal zero of the given dimension."""
    return "0.0" if dim == DIMENSIONLESS else f"0.0*({dim!r})"


def storage(n: int, equations: EquationList, name: str) -> NeuronGroup:
    """A group that only holds arrays, for others to reach through an index or by their name.

    Parameters
    ----------
    n : int
        Elements of every array.
    equations : EquationList
        The arrays.
    name : str
        Of the group.
    """
    group = NeuronGroup(n, equations.equations(), name=name)
    group._network = "storage"  # it belongs to no network, and Brian2 shall not warn of that
    return group


def threshold_dimension(model: Model) -> Dimension:
    """Physical dimension of the event function g."""
    left, _ = threshold_sides(model)
    units = {s.name: s.unit for s in model.states} | {p.name: p.unit for p in model.parameters.values()}
    variables = {n: Constant(n, 1.0, dimensions=dimension(u)) for n, u in units.items()}
    return parse_expression_dimensions(print_expression(left), variables)


def threshold_code(model: Model, names: Mapping[sp.Symbol, sp.Expr] | None = None) -> str:
    """The spike condition, its states renamed.

    Parameters
    ----------
    model : Model
        One that has a threshold.
    names : mapping Symbol to Expr, optional
        What takes the place of states; they keep their names if it is not given.
    """
    a, b = (print_expression(e.xreplace(dict(names or {}))) for e in threshold_sides(model))
    return f"({a} > {b})"


def outputs(program: Program, dims: Mapping[str, Dimension]) -> list[str]:
    """Code that runs the program and names each output ``_o_<output>``.

    Parameters
    ----------
    program : Program
    dims : mapping of str to Dimension
        The outputs wanted and their dimensions, needed for a literal zero.

    Returns
    -------
    list of str
        Lines of abstract code.
    """
    lines = program.select(dims).lines()
    for key, dim in dims.items():
        value = program.outputs[key]
        lines.append(f"_o_{key} = {zero(dim) if value == 0 else print_expression(value)}")
    return lines


def assign(program: Program, dims: Mapping[str, Dimension]) -> list[str]:
    """Code that runs the program and then sets the variables named like its outputs, all at once; see `outputs`.

    Parameters
    ----------
    program : Program
    dims : mapping of str to Dimension
        As for `outputs`.

    Returns
    -------
    list of str
        Lines of abstract code.
    """
    return [*outputs(program, dims), *(f"{key} = _o_{key}" for key in dims)]
