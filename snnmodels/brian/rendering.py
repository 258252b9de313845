"""Helpers that turn models and grid programs into Brian2's equations and abstract code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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

from ..symbolic.parsing import print_expression
from ..symbolic.programs import Program
from ..symbolic.system import threshold_sides
from ..templates.model import Model

__all__ = [
    "RESERVED",
    "EquationList",
    "assign",
    "check_names",
    "dimension",
    "inverse",
    "outputs",
    "storage",
    "threshold_code",
    "threshold_dimension",
    "zero",
]

#: Names that generated code uses itself; names of states and parameters must differ.
RESERVED = frozenset(
    {
        *("ev_slot", "ev_step", "ev_r", "ev_free", "ev_cause", "ev_dl", "ev_now", "ev_end", "ev_neuron"),
        *(
            "r_event",
            "s_arrival",
            "since_event",
            "free_event",
            "lost_events",
            "unresolved_events",
            "last_step",
            "last_r",
        ),
        *("cause_id", "cause_s", "cause_sigma", "alone_id", "alone_s", "last_id", "last_s", "q_time", "tr_index"),
        *("first_id", "first_s", "final_id", "final_s", "smallest_slope", "forward_slot"),
        *("max_value", "max_origin", "max_r", "max_arrival", "max_id", "max_rate", "max_error"),
        *("sample_index", "sample_value", "sample_error"),
        *("number", "widx", "gw", "w", "dt", "t", "i", "j"),
    }
)
_RESERVED_AFFIXES = (
    ("lambda_", ""),
    ("next_lambda_", ""),
    ("grad_", ""),
    ("ev_x_", ""),
    ("", "_start"),
    ("", "_base"),
    ("", "_initial"),
)


def check_names(model: Model) -> None:
    """Refuse names that generated code needs.

    Raises
    ------
    ValueError
        Naming the state or parameter.
    """
    names = [*model.state_names, *model.parameters]
    derived = {a + n + b for n in model.state_names for a, b in _RESERVED_AFFIXES} | {
        f"grad_{p}" for p in model.parameters
    }
    for n in names:
        if n in RESERVED or n in derived:
            raise ValueError(f"{model.name}: the name {n!r} is used by the generated code; choose another")


def dimension(unit: str) -> Dimension:
    """The physical dimension of a base unit in Brian2's syntax."""
    return dimensions_and_type_from_string(unit)[0]


def inverse(dim: Dimension) -> Dimension:
    """Dimension of dL/dx for a dimensionless loss."""
    return DIMENSIONLESS / dim


class EquationList:
    """Brian2 equations built from names and dimensions (a string could not hold units such as 1/volt)."""

    def __init__(self) -> None:
        self._equations: list[SingleEquation] = []

    def differential(self, name: str, dim: Dimension, rhs: str) -> None:
        """Add ``d(name)/dt = rhs``."""
        self._equations.append(SingleEquation(DIFFERENTIAL_EQUATION, name, dim, var_type="float", expr=Expression(rhs)))

    def parameter(self, name: str, dim: Dimension = DIMENSIONLESS, *flags: str) -> None:
        """Add a variable that code or the user sets."""
        self._equations.append(SingleEquation(PARAMETER, name, dim, var_type="float", flags=list(flags)))

    def integer(self, names: Iterable[str], *flags: str) -> None:
        """Add integer variables."""
        for name in names:
            self._equations.append(
                SingleEquation(PARAMETER, name, DIMENSIONLESS, var_type="integer", flags=list(flags))
            )

    def equations(self) -> Equations:
        """The equations so far."""
        return Equations(self._equations)


def zero(dim: Dimension) -> str:
    """A literal zero of the given dimension."""
    return "0.0" if dim == DIMENSIONLESS else f"0.0*({dim!r})"


def storage(n: int, equations: EquationList, name: str) -> NeuronGroup:
    """A group that only holds arrays, for others to reach through an index or by their name."""
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
    """The spike condition, its states renamed."""
    a, b = (print_expression(e.xreplace(dict(names or {}))) for e in threshold_sides(model))
    return f"({a} > {b})"


def outputs(program: Program, dims: Mapping[str, Dimension]) -> list[str]:
    """Code that runs the program and names each output ``_o_<output>``.

    Parameters
    ----------
    dims : mapping of str to Dimension
        The outputs wanted and their dimensions, needed for a literal zero.
    """
    lines = program.select(dims).lines()
    for key, dim in dims.items():
        value = program.outputs[key]
        lines.append(f"_o_{key} = {zero(dim) if value == 0 else print_expression(value)}")
    return lines


def assign(program: Program, dims: Mapping[str, Dimension]) -> list[str]:
    """Code that runs the program and then sets the variables named like its outputs, all at once; see `outputs`."""
    return [*outputs(program, dims), *(f"{key} = _o_{key}" for key in dims)]
