"""The hybrid dynamical system behind a model: flow f, event function g, reset map h, arrival maps e.

Between events dx/dt = f(x, p). The neuron spikes when g(x, p) crosses 0 upwards, then x+ = h(x-, p). A spike that
arrives through a receptor with weight w does x+ = e(x-, w, p). For a refractory period after a spike the neuron may
follow another system, in which some states are held and there is no g.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import sympy as sp

from ..templates.model import Assignment, Model, Refractory
from ..templates.units import is_unit_name
from .parsing import CONSTANTS, UnsupportedExpression, parse_expression, symbol

__all__ = ["Arrival", "HybridSystem", "RefractoryPeriod", "threshold_sides"]


@dataclass(frozen=True)
class Arrival:
    """The arrival map e of one receptor: ``jump`` gives every state just after the arrival."""

    receptor: str
    weight: sp.Symbol
    weight_unit: str
    jump: Mapping[sp.Symbol, sp.Expr]


@dataclass(frozen=True)
class RefractoryPeriod:
    """How long the neuron is refractory after a spike, and what is held meanwhile; see `templates.Refractory`."""

    duration: sp.Expr
    hold: tuple[sp.Symbol, ...]
    arrivals: str


@dataclass(frozen=True)
class HybridSystem:
    """A model as SymPy expressions.

    Attributes
    ----------
    name : str
    states : tuple of Symbol
    parameters : tuple of Symbol
    f : mapping Symbol to Expr
        Time derivative of every state.
    g : Expr or None
        Event function; None if the model does not spike.
    h : mapping Symbol to Expr
        Every state just after a spike.
    arrivals : mapping of str to Arrival
        By receptor name.
    initial : mapping Symbol to Expr
        State at time 0.
    defaults : mapping Symbol to float
        Parameter values in SI base units.
    units : mapping Symbol to str
        Base unit of every state and parameter, in Brian2's syntax.
    refractory : RefractoryPeriod or None
        None if the neuron can spike again at once.
    """

    name: str
    states: tuple[sp.Symbol, ...]
    parameters: tuple[sp.Symbol, ...]
    f: Mapping[sp.Symbol, sp.Expr]
    g: sp.Expr | None
    h: Mapping[sp.Symbol, sp.Expr]
    arrivals: Mapping[str, Arrival]
    initial: Mapping[sp.Symbol, sp.Expr]
    defaults: Mapping[sp.Symbol, float]
    units: Mapping[sp.Symbol, str]
    refractory: RefractoryPeriod | None = None

    @classmethod
    def from_model(cls, model: Model) -> HybridSystem:
        """The system of a composed model.

        Raises
        ------
        UnsupportedExpression
            If an equation uses something that has no derivative, or a variable is called like a unit or constant, for
            which the equations would take it.
        """
        _check_names(model)
        states = tuple(symbol(s.name) for s in model.states)
        g = None
        if model.threshold is not None:
            left, right = threshold_sides(model)
            g = left - right
        return cls(
            name=model.name,
            states=states,
            parameters=tuple(symbol(p) for p in model.parameters),
            f={symbol(s): parse_expression(rhs) for s, rhs in model.derivatives.items()},
            g=g,
            h=_assign(states, model.reset),
            arrivals={
                name: Arrival(name, symbol(r.weight), r.weight_unit, _assign(states, r.on_pre))
                for name, r in model.receptors.items()
            },
            initial={symbol(s.name): parse_expression(s.initial) for s in model.states},
            defaults={symbol(p.name): p.value for p in model.parameters.values()},
            units={symbol(s.name): s.unit for s in model.states}
            | {symbol(p.name): p.unit for p in model.parameters.values()},
            refractory=None if model.refractory is None else _refractory_period(model.refractory),
        )

    def held(self) -> HybridSystem:
        """The system that the neuron follows while it is refractory.

        Held states have the derivative 0, arrivals leave them alone where they are ignored, and nothing spikes. States
        outside it go on, and are continuous at both ends.

        Raises
        ------
        ValueError
            If the system has no refractory period.
        """
        if self.refractory is None:
            raise ValueError(f"{self.name} has no refractory period")
        hold = self.refractory.hold
        ignored = hold if self.refractory.arrivals == "ignore" else ()
        return replace(
            self,
            f={x: sp.Integer(0) if x in hold else rhs for x, rhs in self.f.items()},
            g=None,
            h={x: x for x in self.states},
            arrivals={
                name: replace(a, jump={x: x if x in ignored else e for x, e in a.jump.items()})
                for name, a in self.arrivals.items()
            },
            refractory=None,
        )

    @property
    def is_linear(self) -> bool:
        """Whether f is affine in the states."""
        return all(
            sp.diff(self.f[x], y, z) == 0
            for x in self.states
            for y in self.states
            for z in self.states
            if {y, z} <= self.f[x].free_symbols
        )

    def jacobian(self) -> sp.Matrix:
        """∂f/∂x, shape (n, n)."""
        return sp.Matrix([self.f[x] for x in self.states]).jacobian(list(self.states))


def _check_names(model: Model) -> None:
    for name in (*model.state_names, *model.parameters, *(r.weight for r in model.receptors.values())):
        if name in CONSTANTS or is_unit_name(name):
            meaning = "constant" if name in CONSTANTS else "unit"
            problem = f"the variable {name!r} is called like the {meaning} {name}, for which equations would take it"
            raise UnsupportedExpression(f"{model.name}: {problem}; rename it")


def threshold_sides(model: Model) -> tuple[sp.Expr, sp.Expr]:
    """Left and right side of the spike condition of a model that has one."""
    assert model.threshold is not None
    left, right = model.threshold.split(">")
    return parse_expression(left), parse_expression(right.removeprefix("="))


def _refractory_period(declared: Refractory) -> RefractoryPeriod:
    hold = tuple(symbol(name) for name in declared.hold)
    return RefractoryPeriod(parse_expression(declared.duration), hold, declared.arrivals)


def _assign(states: tuple[sp.Symbol, ...], statements: Iterable[Assignment]) -> dict[sp.Symbol, sp.Expr]:
    """The map that a sequence of statements does to the states, statements in order, each seeing those before it."""
    value: dict[sp.Symbol, sp.Expr] = {x: x for x in states}
    for s in statements:
        x = symbol(s.variable)
        rhs = parse_expression(s.expression).xreplace(value)
        match s.operator:
            case "=":
                value[x] = rhs
            case "+=":
                value[x] = value[x] + rhs
            case "-=":
                value[x] = value[x] - rhs
            case "*=":
                value[x] = value[x] * rhs
            case "/=":
                value[x] = value[x] / rhs
            case _:
                raise ValueError(f"{s}: operator {s.operator!r} is not one of = += -= *= /=")
    return value
