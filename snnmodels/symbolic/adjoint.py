"""The adjoint of a hybrid system, by differentiation.

The adjoint carries the derivative of a loss backward in time. Between events it follows the transposed linearisation
of the flow; at a spike and at an arrival it jumps, because the time of the event depends on the state and on the
parameters through g(x(t), p) = 0 (implicit function theorem). Everything here follows from (f, g, h, e); nothing knows
a neuron model by name.

References
----------
Wunderlich & Pehle 2021, Scientific Reports 11:12829 (the leaky integrate-and-fire case);
Galán, Feehery & Barton 1999, Applied Numerical Mathematics 31:17-47 (sensitivities of hybrid systems).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.functions.elementary.hyperbolic import HyperbolicFunction

from .arrivals import change_of_event
from .system import HybridSystem

__all__ = ["Adjoint", "ArrivalJump", "NotDifferentiable", "ReleaseJump", "SpikeJump"]

# No variable of a model begins with an underscore.
DL_DT = sp.Symbol("_dl_dt", real=True)
"""Derivative of the loss by the time of the spike itself, ∂l_s/∂t_k."""
S_ARRIVALS = sp.Symbol("_s_arrivals", real=True)
"""Sum of the sensitivities to the times of all arrivals that the spike causes, Σ_j s_a."""
Q_SPIKE = sp.Symbol("_q_spike", real=True)
"""σ/ġ: sensitivity to the spike time over the slope of the event function."""
S_RELEASE = sp.Symbol("_s_release", real=True)
"""Sensitivity to the time at which a refractory period ends, with that of a spike that its end causes."""
DL_JUMP = sp.Symbol("_dl_jump", real=True)
"""Step of a running loss at the event, l_v(x-) - l_v(x+)."""

_NOT_SMOOTH = (
    sp.Derivative,
    sp.Subs,
    sp.DiracDelta,
    sp.Heaviside,
    sp.Piecewise,
    sp.Abs,
    sp.sign,
    sp.Max,
    sp.Min,
    sp.floor,
    sp.ceiling,
    AppliedUndef,
)

_LONG = 16  # operations, of an expression that calls functions
_LONG_HYPERBOLIC = 8  # likewise, with tanh and its kind


class NotDifferentiable(ValueError):
    """A system has no adjoint everywhere; the message names the map and the part."""


@dataclass(frozen=True)
class SpikeJump:
    """What a spike does to the adjoint, backward in time.

    States are those just before the spike, costates those just after it (the backward pass comes from there).

    Attributes
    ----------
    gdot : Expr
        ġ = ∂g/∂x · f, the speed at which g crosses 0.
    sigma : Expr
        Sensitivity of the loss to the time of the spike, reading `dl_dt` and `s_arrivals`. After the spike the neuron
        follows the held system if it is refractory then; the sensitivity to the end of that period, which moves with
        the spike, is to be added to the sum over the arrivals.
    jump : mapping costate to Expr
        Costates just before the spike, reading ``q_spike`` = sigma/gdot.
    parameters : mapping parameter to Expr
        What is added to dL/dp, reading ``q_spike``. Only parameters that g or h reads.
    """

    gdot: sp.Expr
    sigma: sp.Expr
    jump: Mapping[sp.Symbol, sp.Expr]
    parameters: Mapping[sp.Symbol, sp.Expr]

    @property
    def q(self) -> sp.Expr:
        """sigma/gdot, the value of the symbol ``q_spike``."""
        return self.sigma / self.gdot

    def explicit(self, expression: sp.Expr) -> sp.Expr:
        """An expression of `jump` or `parameters` with ``q_spike`` substituted."""
        return expression.xreplace({Q_SPIKE: self.q})


@dataclass(frozen=True)
class ArrivalJump:
    """What the arrival of a spike does to the adjoint of the postsynaptic neuron, backward in time.

    States are those just before the arrival, costates those just after it.

    Attributes
    ----------
    receptor : str
    weight : Symbol
    gradient : Expr
        What is added to dL/dw.
    sensitivity : Expr
        s_a, the sensitivity of the loss to the time of the arrival; the presynaptic spike collects it.
    jump : mapping costate to Expr
        Costates just before the arrival.
    parameters : mapping parameter to Expr
        What is added to dL/dp. Only parameters that the arrival map reads.
    crossing : Expr
        g(e(x, w)) - g(x). Zero for a receptor that cannot carry the neuron across its threshold.
    """

    receptor: str
    weight: sp.Symbol
    gradient: sp.Expr
    sensitivity: sp.Expr
    jump: Mapping[sp.Symbol, sp.Expr]
    parameters: Mapping[sp.Symbol, sp.Expr]
    crossing: sp.Expr

    @property
    def can_fire(self) -> bool:
        """Whether an arrival can itself carry g across 0.

        Then the spike happens at the arrival: e acts, then h. In the backward pass the spike gives no ``q_spike`` (set
        it to 0), and its sigma is added to the sensitivity of the arrival.
        """
        return self.crossing != 0


@dataclass(frozen=True)
class ReleaseJump:
    """What the end of a refractory period does to the adjoint. States and costates are continuous there.

    Attributes
    ----------
    sensitivity : Expr
        s_r = λ·(f_held - f), the sensitivity of the loss to the time of the end. The spike that began the period
        collects it. A spike that the end causes, as g is above 0 there, gives no ``q_spike`` (set it to 0), and its
        sigma is added.
    parameters : mapping parameter to Expr
        What is added to dL/dp, reading ``s_release``. Only parameters that the duration reads.
    """

    sensitivity: sp.Expr
    parameters: Mapping[sp.Symbol, sp.Expr]


@dataclass(frozen=True)
class Adjoint:
    """The adjoint of a hybrid system.

    Made by `Adjoint.derive`. The loss counts as dimensionless.

    Attributes
    ----------
    system : HybridSystem
    costates : mapping state to Symbol
        ``lambda_<state>`` for every state; with underscores behind it where that is a name of the model's own.
    units : mapping costate to str
        Base unit of every costate in Brian2's syntax.
    flow : mapping costate to Expr
        dλ/dτ in reversed time τ = T - t.
    spike : SpikeJump or None
        None for a system that does not spike.
    arrivals : mapping of str to ArrivalJump
        By receptor.
    integrand : mapping parameter to Expr
        λ·∂f/∂p, whose integral over time is added to dL/dp. Only parameters that f reads.
    initial : mapping parameter to Expr
        λ(0)·∂x(0)/∂p, added to dL/dp. Only parameters that the initial state reads.
    running : mapping state to Symbol
        ``dl_<state>`` = ∂l_v/∂x of a running loss; empty unless asked for.
    release : ReleaseJump or None
        None for a system without a refractory period. During one the adjoint is that of ``system.held()``.
    transitions : tuple of SpikeJump
        Of the events of the system that are no spikes. Nothing collects there: `dl_dt` and `s_arrivals` are not read.
    """

    system: HybridSystem
    costates: Mapping[sp.Symbol, sp.Symbol]
    units: Mapping[sp.Symbol, str]
    flow: Mapping[sp.Symbol, sp.Expr]
    spike: SpikeJump | None
    arrivals: Mapping[str, ArrivalJump]
    integrand: Mapping[sp.Symbol, sp.Expr]
    initial: Mapping[sp.Symbol, sp.Expr]
    running: Mapping[sp.Symbol, sp.Symbol]
    release: ReleaseJump | None = None
    transitions: tuple[SpikeJump, ...] = ()

    @classmethod
    def derive(cls, system: HybridSystem, *, running_loss: bool = False) -> Adjoint:
        """Derive the adjoint of any hybrid system.

        Parameters
        ----------
        system : HybridSystem
        running_loss : bool
            Whether the loss has an integral over time: then the flow reads ``dl_<state>`` and the sensitivities read
            ``dl_jump`` = l_v(x-) - l_v(x+).

        Raises
        ------
        NotDifferentiable
            If a map reads an unknown name or has no derivative somewhere.
        """
        return _Derivation(system, running_loss).adjoint()

    @property
    def reads(self) -> frozenset[sp.Symbol]:
        """States that the adjoint reads between events; empty means that no trajectory need be stored for λ."""
        states = set(self.system.states)
        return frozenset(states & set().union(*(e.free_symbols for e in self.flow.values())))

    @property
    def parameters(self) -> tuple[sp.Symbol, ...]:
        """Parameters with a contribution to the gradient, in the order of the system."""
        found = {*self.integrand, *self.initial}
        if self.spike is not None:
            found |= set(self.spike.parameters)
        for a in self.arrivals.values():
            found |= set(a.parameters)
        if self.release is not None:
            found |= set(self.release.parameters)
        for t in self.transitions:
            found |= set(t.parameters)
        return tuple(p for p in self.system.parameters if p in found)


class _Derivation:
    """Section by section: check, flow, spike, arrivals, parameters."""

    def __init__(self, system: HybridSystem, running_loss: bool) -> None:
        self.system = system
        self.states = list(system.states)
        self.costates = {x: self._free(f"lambda_{x.name}") for x in self.states}
        self.running = {x: self._free(f"dl_{x.name}") for x in self.states} if running_loss else {}
        self.dl_jump = DL_JUMP if running_loss else sp.Integer(0)
        self.lam = sp.Matrix(list(self.costates.values()))
        self.f = sp.Matrix([system.f[x] for x in self.states])
        refractory = None if system.refractory is None else system.held()
        self.f_held = self.f if refractory is None else sp.Matrix([refractory.f[x] for x in self.states])
        self._check()

    def _free(self, name: str) -> sp.Symbol:
        """A symbol of this name, or of one with underscores behind it where the model has a variable called so."""
        taken = {x.name for x in (*self.system.states, *self.system.parameters)}
        while name in taken:
            name += "_"
        return sp.Symbol(name, real=True)

    def adjoint(self) -> Adjoint:
        system = self.system
        return Adjoint(
            system=system,
            costates=self.costates,
            units={self.costates[x]: _reciprocal(system.units[x]) for x in self.states},
            flow=self._flow(),
            spike=None if system.firing is None else self._spike(system.firing),
            transitions=tuple(
                self._crossing(t.event, t.jump, self.f, sp.Integer(0), "a switch of the equations", smooth=t.smooth)
                for t in system.transitions
            ),
            arrivals={name: self._arrival(name) for name in system.arrivals},
            integrand=self._contributions(self.f),
            initial=self._contributions(sp.Matrix([system.initial[x] for x in self.states])),
            running=self.running,
            release=self._release(),
        )

    def _check(self) -> None:
        s = self.system
        known = {*s.states, *s.parameters}
        maps: list[tuple[str, sp.Expr, set[sp.Symbol]]] = []
        maps += [(f"the derivative of {x}", s.f[x], known) for x in s.states]
        maps += [(f"the reset of {x}", s.h[x], known) for x in s.states]
        maps += [(f"the initial value of {x}", s.initial[x], set(s.parameters)) for x in s.states]
        if s.g is not None:
            maps.append(("the threshold", s.g, known))
        maps += [("a duration of the refractory period", duration, set(s.parameters)) for duration in s.durations]
        for a in s.arrivals.values():
            maps += [(f"receptor {a.receptor!r}, on {x}", a.jump[x], known | {a.weight}) for x in s.states]
        for where, expression, allowed in maps:
            if unknown := sorted(x.name for x in expression.free_symbols - allowed):
                raise NotDifferentiable(f"{s.name}: {where} reads {unknown[0]!r}, which has no derivative there")
            _require_smooth(f"{s.name}: {where}", expression)

    def _flow(self) -> dict[sp.Symbol, sp.Expr]:
        rates = self.system.jacobian().T * self.lam
        result = {}
        for x, rate in zip(self.states, rates, strict=True):
            result[self.costates[x]] = self._tidy(rate) + self.running.get(x, 0)
            _require_smooth(f"{self.system.name}: the adjoint of {x}", result[self.costates[x]])
        return result

    def _spike(self, g: sp.Expr) -> SpikeJump:
        return self._crossing(g, self.system.h, self.f_held, DL_DT + S_ARRIVALS, "a spike")

    def _crossing(
        self,
        g: sp.Expr,
        jump: Mapping[sp.Symbol, sp.Expr],
        flow_after: sp.Matrix,
        given: sp.Expr,
        what: str,
        smooth: bool = False,
    ) -> SpikeJump:
        """The jump at a crossing of g, after which the states are `jump` and follow another flow.

        `given` is the sensitivity to the time of the event itself; where the event is `smooth`, that is all there is.
        """
        h = sp.Matrix([jump[x] for x in self.states])
        jacobian = h.jacobian(self.states)
        gradient = sp.Matrix([sp.diff(g, x) for x in self.states])
        gdot = _simple(gradient.dot(self.f))
        # what is 0 is not left to rounding: a smooth maximum may be so flat that its ġ is no more than that
        sigma = given if smooth else given + self._displacement(h, jacobian, flow_after)
        before = jacobian.T * self.lam - gradient * Q_SPIKE
        parameters = {p: self._tidy(self.lam.dot(h.diff(p)) - Q_SPIKE * sp.diff(g, p)) for p in self.system.parameters}
        result = SpikeJump(
            gdot=gdot,
            sigma=self._tidy(sigma),
            jump={self.costates[x]: self._tidy(e) for x, e in zip(self.states, before, strict=True)},
            parameters={p: e for p, e in parameters.items() if e != 0},
        )
        for e in (gdot, result.sigma, *result.jump.values(), *result.parameters.values()):
            _require_smooth(f"{self.system.name}: the jump at {what}", e)
        return result

    def _arrival(self, name: str) -> ArrivalJump:
        arrival = self.system.arrivals[name]
        e = sp.Matrix([arrival.jump[x] for x in self.states])
        jacobian = e.jacobian(self.states)
        before = jacobian.T * self.lam
        result = ArrivalJump(
            receptor=name,
            weight=arrival.weight,
            gradient=self._tidy(self.lam.dot(e.diff(arrival.weight))),
            sensitivity=self._tidy(self._displacement(e, jacobian, self.f)),
            jump={self.costates[x]: self._tidy(v) for x, v in zip(self.states, before, strict=True)},
            parameters=self._contributions(e),
            crossing=change_of_event(self.system, name),
        )
        for v in (result.gradient, result.sensitivity, *result.jump.values(), *result.parameters.values()):
            _require_smooth(f"{self.system.name}: the jump at an arrival through {name!r}", v)
        return result

    def _release(self) -> ReleaseJump | None:
        refractory = self.system.refractory
        if refractory is None:
            return None
        slopes = {p: sp.simplify(sp.diff(refractory.duration, p)) for p in self.system.parameters}
        for p, slope in slopes.items():
            _require_smooth(f"{self.system.name}: the gradient of {p}", slope)
        return ReleaseJump(
            sensitivity=self._tidy(self.lam.dot(self.f_held - self.f)),
            parameters={p: S_RELEASE * slope for p, slope in slopes.items() if slope != 0},
        )

    def _displacement(self, after: sp.Matrix, jacobian: sp.Matrix, flow_after: sp.Matrix) -> sp.Expr:
        """λ·(J f- - f+), what moving the event by a unit of time does, for the map `after` with Jacobian J."""
        into = dict(zip(self.states, after, strict=True))
        f_after = flow_after.xreplace(into)
        return self.lam.dot(jacobian * self.f - f_after) + self.dl_jump

    def _contributions(self, x: sp.Matrix) -> dict[sp.Symbol, sp.Expr]:
        """λ·∂x/∂p for every parameter that x reads."""
        found = {p: self._tidy(self.lam.dot(x.diff(p))) for p in self.system.parameters}
        for p, e in found.items():
            _require_smooth(f"{self.system.name}: the gradient of {p}", e)
        return {p: e for p, e in found.items() if e != 0}

    def _tidy(self, expression: sp.Expr) -> sp.Expr:
        """Collect by costate: everything here is linear in them, and this is how the rules are usually written."""
        costates = (*self.lam, Q_SPIKE)
        terms = [s * _simple(sp.diff(expression, s)) for s in costates]
        return sp.Add(*terms, _simple(expression.xreplace(dict.fromkeys(costates, sp.Integer(0)))))


@lru_cache(1024)  # a refractory neuron has the rules of the free one where nothing is held
def _simple(expression: sp.Expr) -> sp.Expr:
    """Simplified, unless that would take minutes: it does where long expressions call functions."""
    most = _LONG_HYPERBOLIC if expression.has(HyperbolicFunction) else _LONG
    slow = bool(expression.atoms(sp.Function)) and expression.count_ops() > most
    return expression if slow else sp.simplify(expression)


def _reciprocal(unit: str) -> str:
    """1/unit in Brian2's syntax."""
    if unit in ("1", ""):
        return "1"
    return f"1/{unit}" if unit.isidentifier() else f"1/({unit})"


def _require_smooth(where: str, expression: sp.Expr) -> None:
    bad: Iterable[sp.Basic] = expression.atoms(*_NOT_SMOOTH)
    for part in sorted(bad, key=str):
        raise NotDifferentiable(f"{where} contains {part}, which has no derivative everywhere; use smooth functions")
