"""The hybrid system on a time grid with events at their own times, and the exact derivative of every piece.

One step takes the state x at t_n to t_n + dt (design: Morrison et al. 2007; Hanuschkin et al. 2010; here forward
from the start of the step, which stays accurate where f blows up towards the threshold):

* no event:          x' = φ_dt(x)
* own event at r:    g(φ_r(x)) = 0,  x' = φ_{dt-r}(h(φ_r(x)))
* arrival at t_{n+1} - s:  x' += φ_s(e(φ_{-s}(x'), w)) - φ_s(φ_{-s}(x')), for a linear flow and additive e
independent of x'

The backward pass uses their vector-Jacobian products; the event time r moves with x and the parameters by the implicit
function theorem, dr = -(∂G/∂x dx + ∂G/∂p dp)/(∂G/∂r) with G(x, r) = g(φ_r(x)). For an exact flow that is section 2
of the EventProp derivation, λ carried to the event, the jump, λ carried back; `tests/symbolic/test_grid.py` proves it
symbol by symbol.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import sympy as sp

from .flows import Flow
from .parsing import symbol
from .programs import Builder, Program, cotangent
from .system import HybridSystem

__all__ = ["DT", "FREE", "TAKEN", "TIME_SENSITIVITY", "GridSystem", "bar", "event_time", "offset"]

ARRIVAL_ORDER = 2
DT = symbol("dt")
event_time = symbol("r_event")  # time of an event after the start of its step
offset = symbol("s_arrival")  # time from an arrival to the end of its step
TIME_SENSITIVITY = symbol("q_time")  # dL/dt of an event through what it does to others, and through the loss
FREE = symbol("free_event")  # 1 where the event's time is set by a crossing, 0 where an arrival sets it
TAKEN = frozenset({DT, event_time, offset, TIME_SENSITIVITY, FREE, *map(symbol, ("w", "time", "slope", "sigma"))})


def bar(state: sp.Symbol) -> sp.Symbol:
    """The costate of a state on the grid, dL/dx."""
    return symbol(f"lambda_{state.name}")


@dataclass(frozen=True)
class GridSystem:
    """Programs of one model on the grid.

    Attributes
    ----------
    system : HybridSystem
    flow : Flow
    learnable : tuple of Symbol
        Parameters whose gradients the backward programs compute.
    """

    system: HybridSystem
    flow: Flow
    learnable: tuple[sp.Symbol, ...] = ()

    @classmethod
    def of(
        cls,
        system: HybridSystem,
        dt: float,
        values: Mapping[str, float | np.ndarray] | None = None,
        learnable: tuple[str, ...] = (),
        order: int = 4,
    ) -> GridSystem:
        """Lower a system for a time step.

        Programs don't depend on numbers, only on the forms that were chosen for them, so equal requests share one
        object: SymPy takes seconds for a model of several states, and a network has several populations of a model.

        Parameters
        ----------
        system : HybridSystem
        dt, values, order
            See `Flow.of`.
        learnable : tuple of str
            Parameters whose gradients the backward programs compute.

        Raises
        ------
        ValueError
            If a state or a parameter has a name that the programs use themselves, or `dt` is too large; see `Flow.of`.
        """
        taken = TAKEN | set(map(bar, system.states))
        for s in (*system.states, *system.parameters):
            if s in taken:
                raise ValueError(f"{system.name}: the name {s.name!r} is used by the generated code; choose another")
        grid = cls(system, Flow.of(system, dt, values, order), tuple(symbol(p) for p in learnable))
        return _KNOWN.setdefault(grid.key, grid)

    @property
    def key(self) -> Hashable:
        """Everything that the programs are made from."""
        s, flow = self.system, self.flow
        maps = (s.f, s.h, s.initial, s.defaults, s.units, flow.closed_form, *(a.jump for a in s.arrivals.values()))
        receptors = tuple((name, a.weight, a.weight_unit) for name, a in s.arrivals.items())
        return (
            *(s.name, s.states, s.parameters, s.g, receptors, *(tuple(m.items()) for m in maps)),
            *(flow.series, flow.order, flow.exact, flow.separated, self.learnable),
        )

    @property
    def _identity(self) -> dict[sp.Symbol, sp.Expr]:
        return {x: x for x in self.system.states}

    def _named(self, x: Mapping[sp.Symbol, sp.Expr]) -> dict[str, sp.Expr]:
        return {s.name: x[s] for s in self.system.states}

    def _wrt(self) -> dict[str, sp.Symbol]:
        return {x.name: x for x in (*self.system.states, *self.learnable)}

    def _over_costates(self, program: Program) -> Program:
        return program.rename({cotangent(x.name): bar(x) for x in self.system.states})

    # --- no event -----------------------------------------------------------------------------------------------

    @cached_property
    def step(self) -> Program:
        """State at the end of a step: reads states, parameters, dt; outputs the states."""
        b = Builder()
        return b.program(self._named(self.flow.write(b, self._identity, DT))).simplified()

    @cached_property
    def step_backward(self) -> Program:
        """Costates at the start of a step from those at its end, and gradients of the learnable parameters."""
        return self._over_costates(self.step.vjp(self._wrt()).simplified())

    # --- own event ----------------------------------------------------------------------------------------------

    @cached_property
    def crossing(self) -> Program:
        """``value``: G(x, r) = g(φ_r(x)) and ``slope``: its derivative by r, that is ġ at the event."""
        g = self.system.g
        assert g is not None
        b = Builder()
        value = g.xreplace(self.flow.write(b, self._identity, event_time))
        program = b.program({"value": value})
        slope = _forward_derivative(program, event_time)
        outputs = {"value": program.outputs["value"], "slope": slope.outputs["value"]}
        return Program(slope.statements, outputs).simplified()

    @cached_property
    def event(self) -> Program:
        """State at the end of a step with an own event at r: reads states, parameters, dt, r."""
        b = Builder()
        before = self.flow.write(b, self._identity, event_time)
        after = {x: b.assign(e.xreplace(before)) for x, e in self.system.h.items()}
        return b.program(self._named(self.flow.write(b, after, DT - event_time))).simplified()

    @cached_property
    def event_backward(self) -> Program:
        """Costates at the start of a step with an own event.

        Reads states, parameters, dt, r, the costates at the end of the step and ``q_time``, the sensitivity of the
        loss to the event's time through everything but the neuron itself. Outputs costates, parameter gradients,
        ``slope`` and ``sigma``, the whole sensitivity to the time of the event at fixed state. With ``free_event`` =
        0 the time does not move with the state (an event placed by an arrival) and only the explicit part remains.
        """
        wrt = self._wrt()
        jump = self._over_costates(self.event.vjp({**wrt, "time": event_time})).local("e")
        crossing = Program(self.crossing.statements, {"value": self.crossing.outputs["value"]})
        surface = crossing.vjp(wrt).rename({cotangent("value"): sp.Integer(1)}).local("g")
        slope = self.crossing.select(["slope"]).local("s")
        b = Builder("_f")
        b.statements += [*jump.statements, *surface.statements, *slope.statements]
        gdot = b.assign(slope.outputs["slope"])
        sigma = b.assign(jump.outputs["time"] + TIME_SENSITIVITY)
        shift = b.assign(FREE * sigma / gdot)
        outputs = {key: jump.outputs[key] - shift * surface.outputs[key] for key in wrt}
        return b.program(outputs | {"slope": gdot, "sigma": sigma}).simplified()

    # --- arrivals -----------------------------------------------------------------------------------------------

    def shift_free(self, receptor: str) -> bool:
        """Whether the increment of an arrival, carried to the end of its step, is the same in every state."""
        return not (self.arrival(receptor).inputs & set(self.system.states))

    @property
    def _arrival_flow(self) -> Flow:
        """The flow that carries an arrival; of low order where f is nonlinear.

        There the state at the end of the step may be close to blowing up, where a long Taylor series backward in time
        leaves the numbers' range. The error of one arrival is of order s^3, so that of a trial is of order dt^3.
        """
        return (
            self.flow if self.flow.exact else dataclasses.replace(self.flow, order=min(self.flow.order, ARRIVAL_ORDER))
        )

    @cached_property
    def _arrivals(self) -> dict[str, Program]:
        return {receptor: self._arrival(receptor) for receptor in self.system.arrivals}

    def arrival(self, receptor: str) -> Program:
        """Increments of the states at the end of the step, from parameters, weight, s (and states if nonlinear)."""
        return self._arrivals[receptor]

    def _arrival(self, receptor: str) -> Program:
        a = self.system.arrivals[receptor]
        b = Builder()
        flow = self._arrival_flow
        increment = {x: sp.expand(a.jump[x] - x) for x in self.system.states}
        additive = not any(e.free_symbols & set(self.system.states) for e in increment.values())
        if additive and self.flow.exact:
            # φ is affine, so the increment is exp(A s) times the jump, whatever the state
            before: Mapping[sp.Symbol, sp.Expr] = dict.fromkeys(self.system.states, sp.Integer(0))
            after: Mapping[sp.Symbol, sp.Expr] = increment
        else:
            before = flow.write(b, self._identity, -offset)
            after = {x: b.assign(e.xreplace(before)) for x, e in a.jump.items()}
        without, moved = flow.write(b, before, offset), flow.write(b, after, offset)
        if additive and self.flow.exact and not self.flow.series:
            # small enough to be written in one line each, where the constant part of f cancels symbolically
            inlined = dict(b.statements)
            difference = {x: _substitute(moved[x], inlined) - _substitute(without[x], inlined) for x in moved}
            return Program((), {x.name: sp.simplify(e) for x, e in difference.items()}).simplified()
        return b.program({x.name: moved[x] - without[x] for x in self.system.states}).simplified()

    @cached_property
    def _arrivals_backward(self) -> dict[str, Program]:
        return {receptor: self._arrival_backward(receptor) for receptor in self.system.arrivals}

    def arrival_backward(self, receptor: str) -> Program:
        """Sensitivities of an arrival: outputs ``w``, ``time`` (of the arrival, +later), costates and parameters.

        The costate outputs are what the arrival adds to the costates at the end of the step, before arrivals; they
        vanish for a linear flow with additive jumps.
        """
        return self._arrivals_backward[receptor]

    def _arrival_backward(self, receptor: str) -> Program:
        wrt = self._wrt() | {"w": self.system.arrivals[receptor].weight, "time": offset}
        program = self._over_costates(self.arrival(receptor).vjp(wrt).simplified())
        outputs = dict(program.outputs)
        outputs["time"] = -outputs["time"]  # an offset grows when the arrival moves earlier
        return Program(program.statements, outputs)

    def carries_threshold(self, receptor: str) -> bool:
        """Whether an arrival itself can carry g across 0 (a delta synapse)."""
        g = self.system.g
        return g is not None and sp.simplify(g.xreplace(dict(self.system.arrivals[receptor].jump)) - g) != 0

    def after_arrival(self, receptor: str) -> Program:
        """States just after an arrival, from those at the end of its step without it."""
        b = Builder()
        before = self._arrival_flow.write(b, self._identity, -offset)
        jump = self.system.arrivals[receptor].jump
        return b.program({x.name: b.assign(e.xreplace(before)) for x, e in jump.items()})

    def before_end(self) -> Program:
        """States at the time s before the end of a step, from those at its end."""
        b = Builder()
        return b.program(self._named(self._arrival_flow.write(b, self._identity, -offset)))

    def threshold_change(self, receptor: str) -> Program:
        """``before`` and ``after``: g just before and just after an arrival at the given states."""
        g = self.system.g
        assert g is not None
        return Program((), {"after": g.xreplace(dict(self.system.arrivals[receptor].jump)), "before": g})

    # --- observation of a state -----------------------------------------------------------------------------------

    def observe(self, state: sp.Symbol) -> Program:
        """``value``, ``rate`` and ``curvature`` of a state at the time r after the start of a step."""
        b = Builder()
        program = b.program({"value": self.flow.write(b, self._identity, event_time)[state]})
        rate = _forward_derivative(program, event_time)
        curvature = _forward_derivative(rate, event_time)
        return Program(
            curvature.statements,
            {
                "value": program.outputs["value"],
                "rate": rate.outputs["value"],
                "curvature": curvature.outputs["value"],
            },
        ).simplified()

    def observe_backward(self, state: sp.Symbol) -> Program:
        """Costates and parameter gradients of one state observed at the fixed time r after the start of a step."""
        b = Builder()
        program = b.program({"value": self.flow.write(b, self._identity, event_time)[state]})
        return program.vjp(self._wrt()).simplified()


def _substitute(e: sp.Expr, assigned: Mapping[sp.Symbol, sp.Expr]) -> sp.Expr:
    while e.free_symbols & set(assigned):
        e = e.xreplace(dict(assigned))
    return e


def _forward_derivative(program: Program, by: sp.Symbol) -> Program:
    """The program followed by the derivative of its ``value`` by one input (forward mode)."""
    dots: dict[sp.Symbol, sp.Expr] = {by: sp.Integer(1)}
    statements: list[tuple[sp.Symbol, sp.Expr]] = []

    def derivative(e: sp.Expr) -> sp.Expr:
        return sp.Add(*(sp.diff(e, s) * dots[s] for s in sorted(e.free_symbols & set(dots), key=str)))

    for name, rhs in program.statements:
        statements.append((name, rhs))
        d = derivative(rhs)
        if d != 0:
            dot = symbol(f"_dot{name.name}")
            statements.append((dot, d))
            dots[name] = dot
    return Program(tuple(statements), {"value": derivative(program.outputs["value"])})


_KNOWN: dict[Hashable, GridSystem] = {}
