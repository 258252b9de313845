"""The joint loss of a spike-coding network: a coding term and activity costs, written by the user.

The coding term is the squared error |x - D r|² (or a weighted quadratic) of a linear read-out D r of the filtered
spike trains r. An activity cost is any smooth expression in filtered activities, "traces":

* a trace of scope ``neuron`` exists once per neuron, da/dt = -a/tau, and jumps at that neuron's own spikes; a cost in
  it is summed over the neurons;
* a trace of scope ``population`` exists once, dB/dt = -B/tau, and jumps at every spike of the population.

Nothing here knows what a cost does to a neuron: `snnmodels.coding.derive` finds that out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import sympy as sp

from ..symbolic.parsing import FUNCTIONS, UnsupportedExpression, parse_expression, symbol
from ..symbolic.steps import Step
from ..templates.arguments import check_kind, check_mapping, check_numbers, real_array, sequence_of
from ..templates.errors import brief
from ..templates.model import Parameter
from ..templates.units import check_identifier

__all__ = ["NORM", "Cost", "JointLoss", "LossError", "Trace", "joint_loss"]

Array = np.ndarray
Scope = Literal["neuron", "population"]

NORM = symbol("d")
"""Length of a neuron's decoder column in the metric of the coding term; may be used in costs and in jumps."""

# names that the derivation and the rendered equations give a meaning to
_RESERVED = re.compile(
    r"d|x|s|v|h|w|w_self|w_slow|w_slow_self|margin|theta|winner|best|better|number|noise|signal_drive"
    r"|y|own|own_h|bridge|w_diagonal|(enc|drive|left|right|slow|y|g)\d+"
    r"|(tau|jump|log|gain|low|high|budget|energy|course)_.*"
)


class LossError(ValueError):
    """A joint loss that cannot be what its author meant; the message names the entry and what would be right."""


@dataclass(frozen=True)
class Trace:
    """A filtered activity.

    Attributes
    ----------
    scope : "neuron" or "population"
    tau : float
        Time constant in seconds.
    jump : Expr
        What one spike adds: 1, or an expression in parameters and in the decoder norm ``d``.
    description : str
    """

    scope: Scope
    tau: float
    jump: sp.Expr = field(default_factory=lambda: sp.Integer(1))
    description: str = ""

    def __post_init__(self) -> None:
        """Refuse time constants that are not positive and finite, and unknown scopes."""
        if not isinstance(self.scope, str) or self.scope not in ("neuron", "population"):
            raise LossError(f"trace scope {brief(self.scope)} is not 'neuron' or 'population'")
        try:
            check_numbers(**{"trace time constant": self.tau})
            if isinstance(self.jump, int | float) and not isinstance(self.jump, bool):
                check_numbers(**{"trace jump": self.jump})
                object.__setattr__(self, "jump", sp.sympify(self.jump))
            check_kind("trace jump", self.jump, sp.Expr, "1 or a SymPy expression")
        except ValueError as error:
            raise LossError(str(error)) from None
        if not self.tau > 0:
            raise LossError(f"trace time constant {self.tau!r} is not a positive number of seconds")


@dataclass(frozen=True)
class Cost:
    """One activity cost: a named expression in traces and parameters."""

    name: str
    expression: sp.Expr
    description: str = ""

    @classmethod
    def linear(cls, weight: str, trace: str) -> Cost:
        """``weight * trace``, named after its weight.

        Parameters
        ----------
        weight : str
            A parameter.
        trace : str
        """
        return cls(weight, symbol(weight) * symbol(trace), f"linear cost of {trace}")

    @classmethod
    def quadratic(cls, weight: str, trace: str, setpoint: str | None = None) -> Cost:
        """``weight * (trace - setpoint)**2``, named after its weight.

        Parameters
        ----------
        weight : str
            A parameter.
        trace : str
        setpoint : str, optional
            A parameter; 0 if not given.
        """
        reference = symbol(setpoint) if setpoint else sp.Integer(0)
        return cls(weight, symbol(weight) * (symbol(trace) - reference) ** 2, f"quadratic cost of {trace}")


@dataclass(frozen=True)
class JointLoss:
    """Coding term plus activity costs.

    Make one with `joint_loss`, or from TOML with `load_coding_network`.

    Attributes
    ----------
    costs : tuple of Cost
    traces : mapping of str to Trace
        Includes the read-out trace.
    readout : str
        Name of the per-neuron trace that the decoder reads.
    parameters : mapping of str to Parameter
    weight : array, shape (M, M), or None
        Metric W of the coding term (x - D r)ᵀ W (x - D r); None for the identity.
    dynamics : array, shape (M, M), or None
        A, in 1/s, where the signal obeys dx/dt = A x + c and the network receives c only (Boerlin et al. 2013).
    name, title, description, references
        For reports.
    """

    costs: tuple[Cost, ...]
    traces: Mapping[str, Trace]
    readout: str
    parameters: Mapping[str, Parameter]
    weight: Array | None = None
    dynamics: Array | None = None
    name: str = "loss"
    title: str = ""
    description: str = ""
    references: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Check names, scopes and matrices."""
        _check_names(self)
        _check_costs(self)
        _check_matrices(self)

    @property
    def defaults(self) -> dict[str, float]:
        """Default value of every parameter."""
        return {name: p.value for name, p in self.parameters.items()}

    def scope_of(self, cost: Cost) -> Scope:
        """Whether a cost is summed over neurons or is one number of the population."""
        return next(self.traces[n].scope for n in _names(cost.expression) if n in self.traces)


def joint_loss(
    costs: Mapping[str, str | sp.Expr] | Iterable[Cost] = (),
    traces: Mapping[str, Trace] | None = None,
    parameters: Mapping[str, float | Parameter] | None = None,
    *,
    readout: str = "r",
    tau: float = 0.02,
    weight: Array | None = None,
    dynamics: Array | None = None,
    name: str = "loss",
    title: str = "",
    description: str = "",
) -> JointLoss:
    """A joint loss from strings or SymPy expressions.

    Parameters
    ----------
    costs : mapping of str to (str or Expr), or iterable of Cost
        For example ``{"inhibition": "kappa*(B - z)**2"}``.
    traces : mapping of str to Trace
        Every trace that the costs use besides the read-out trace.
    parameters : mapping of str to (float or Parameter)
        Every parameter with its default value.
    readout : str
        Name of the read-out trace.
    tau : float
        Its time constant in seconds, unless `traces` declares it.
    weight, dynamics : array, shape (M, M)
        See `JointLoss`.
    name, title, description : str
        For reports.

    Returns
    -------
    JointLoss

    Raises
    ------
    LossError
        If a name is undeclared, unused or reserved, or a cost mixes scopes.
    ValueError
        For an argument of another kind.

    Examples
    --------
    >>> loss = joint_loss({"sparsity": "nu*r"}, parameters={"nu": 0.03})
    >>> str(loss.costs[0].expression)
    'nu*r'
    """
    check_kind("readout", readout, str, "the name of a trace")
    for key, given in (("traces", traces), ("parameters", parameters)):
        check_mapping(key, {} if given is None else given, f"{key} by name")
    if isinstance(costs, Mapping):
        check_mapping("costs", costs, "expressions by name")
        terms = tuple(Cost(key, _expression(key, value)) for key, value in costs.items())
    else:
        terms = tuple(sequence_of("costs", costs, Cost, "expressions by name, or Costs"))
    own = dict(traces or {})
    for key, trace in own.items():
        check_kind(f"traces[{key!r}]", trace, Trace, "a Trace")
    for key, value in (parameters or {}).items():
        if not isinstance(value, Parameter):
            check_numbers(**{f"parameters[{key!r}]": value})
    return JointLoss(
        costs=terms,
        traces=own if readout in own else {readout: Trace("neuron", tau), **own},
        readout=readout,
        parameters={
            key: p if isinstance(p, Parameter) else Parameter(key, float(p), "1", repr(float(p)))
            for key, p in (parameters or {}).items()
        },
        weight=None if weight is None else real_array("weight", weight),
        dynamics=None if dynamics is None else real_array("dynamics", dynamics),
        name=name,
        title=title,
        description=description,
    )


def _expression(name: str, value: str | sp.Expr) -> sp.Expr:
    if isinstance(value, str):
        try:
            found = parse_expression(value, numbers=False)
        except UnsupportedExpression as error:
            raise LossError(f"cost {name!r}: {error}") from None
        if found.has(Step):
            raise LossError(f"cost {name!r}: {value!r} has a condition, as abs and clip do; use smooth functions")
        return found
    if not isinstance(value, sp.Expr | int | float):
        raise LossError(f"cost {name!r} is {brief(value)}; expected text or a SymPy expression")
    # a plain sympy.Symbol("nu") is meant as the parameter nu, which is real everywhere in this package
    return sp.sympify(value).xreplace({s: symbol(s.name) for s in sp.sympify(value).free_symbols})


def _names(expression: sp.Expr) -> list[str]:
    return sorted(s.name for s in expression.free_symbols)


def _check_names(loss: JointLoss) -> None:
    """Refuse names, all that are wrong at once."""
    refused, reserved = [], []
    for name in dict.fromkeys([*loss.traces, *loss.parameters]):
        try:
            check_identifier(name)
        except ValueError as error:
            refused.append(f"{name!r} can't be a name: {error}")
            continue
        if _RESERVED.fullmatch(name):
            reserved.append(repr(name))
    if reserved:
        are = "is" if len(reserved) == 1 else "are"
        others = "another name" if len(reserved) == 1 else "other names"
        refused.append(
            f"{', '.join(reserved)} {are} reserved for the network's own variables; choose {others} (reserved are "
            "d, x, s, v, h, w, theta, margin, number, noise, and what begins with tau_, jump_, log_, gain_, budget_, "
            "energy_ or course_)"
        )
    twice = sorted(set(loss.traces) & set(loss.parameters))
    if twice:
        refused.append(f"{', '.join(map(repr, twice))} declared both as a trace and as a parameter")
    if refused:
        raise LossError("; ".join(refused))
    for name, parameter in loss.parameters.items():
        if not np.isfinite(parameter.value):
            raise LossError(f"parameter {name!r} has the default {parameter.value!r}; expected a finite number")
    if loss.readout not in loss.traces:
        raise LossError(f"read-out trace {loss.readout!r} is not declared; traces are {', '.join(loss.traces)}")
    if loss.traces[loss.readout].scope != "neuron" or loss.traces[loss.readout].jump != 1:
        raise LossError(f"read-out trace {loss.readout!r} must be per neuron and jump by 1 at a spike")


def _check_costs(loss: JointLoss) -> None:
    allowed = {*loss.traces, *loss.parameters, NORM.name}
    used: set[str] = {loss.readout}
    seen: set[str] = set()
    for cost in loss.costs:
        if cost.name in seen:
            raise LossError(f"cost {cost.name!r} is declared twice")
        seen.add(cost.name)
        _check_smooth(f"cost {cost.name!r}", cost.expression)
        names = set(_names(cost.expression))
        unknown = sorted(names - allowed)
        if unknown:
            raise LossError(
                f"cost {cost.name!r} uses {', '.join(map(repr, unknown))}, which is neither a trace "
                f"({', '.join(loss.traces)}) "
                f"nor a parameter ({', '.join(loss.parameters) or 'none declared'})"
            )
        traces = names & set(loss.traces)
        if not traces:
            raise LossError(f"cost {cost.name!r} contains no trace, so no spike can change it")
        if len({loss.traces[t].scope for t in traces}) > 1:
            raise LossError(
                f"cost {cost.name!r} mixes per-neuron and population traces ({', '.join(sorted(traces))}); "
                "write a separate cost for each scope"
            )
        if NORM.name in names and loss.scope_of(cost) == "population":
            raise LossError(f"cost {cost.name!r} is of the population, where the norm d of one neuron has no meaning")
        used |= names
    for name, trace in loss.traces.items():
        _check_smooth(f"the jump of trace {name!r}", trace.jump)
        strange = set(_names(trace.jump)) - set(loss.parameters) - {NORM.name}
        if strange:
            raise LossError(f"trace {name!r} jumps by {trace.jump}, but {min(strange)!r} is not a parameter")
        used |= set(_names(trace.jump))
    unused = sorted({*loss.traces, *loss.parameters} - used)
    if unused:
        are, them = ("is", "it") if len(unused) == 1 else ("are", "them")
        raise LossError(f"{', '.join(map(repr, unused))} {are} declared but no cost uses {them}")


_SMOOTH = tuple(f for f in FUNCTIONS.values() if isinstance(f, type))


def _check_smooth(what: str, expression: sp.Expr) -> None:
    """Refuse what text could not say either: corners, steps, complex and infinite numbers, unknown functions."""
    for part in sp.preorder_traversal(expression):
        corner = isinstance(part, sp.Piecewise | sp.Max | sp.Min | sp.core.relational.Relational | Step)
        unknown = isinstance(part, sp.Function) and not isinstance(part, _SMOOTH)
        if corner or unknown:
            raise LossError(
                f"{what} contains {str(part)[:80]}, which is not smooth or not known on every target; use arithmetic "
                f"and {', '.join(sorted(FUNCTIONS))}"
            )
        if part.has(sp.I, sp.oo, -sp.oo, sp.zoo, sp.nan) and not part.args:
            raise LossError(f"{what} contains {part}; expected real, finite numbers")


def _check_matrices(loss: JointLoss) -> None:
    for key, matrix in (("weight", loss.weight), ("dynamics", loss.dynamics)):
        if matrix is None:
            continue
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
            raise LossError(f"{key} must be a square matrix of finite numbers, not of shape {matrix.shape}")
    if loss.weight is not None and (
        not np.allclose(loss.weight, loss.weight.T) or np.linalg.eigvalsh(loss.weight).min() <= 0
    ):
        raise LossError("weight must be symmetric and positive definite, otherwise errors could lower the loss")
    if loss.weight is not None and loss.dynamics is not None and loss.weight.shape != loss.dynamics.shape:
        raise LossError(f"weight is {loss.weight.shape} but dynamics is {loss.dynamics.shape}; both must be (M, M)")
