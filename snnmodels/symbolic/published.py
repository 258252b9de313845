"""Recognition of the published special case: leaky integrate-and-fire with an exponential synaptic current."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from .adjoint import DL_DT, S_ARRIVALS, Adjoint

__all__ = ["PublishedRule", "published_lif_rule"]

WEIGHT = sp.Symbol("w", real=True)
POST_V = sp.Symbol("lambda_V_post", real=True)
POST_I = sp.Symbol("lambda_I_post", real=True)
DRIVE = sp.Symbol("I", real=True)


@dataclass(frozen=True)
class PublishedRule:
    """The derived jump of λ_V beside the published one.

    The sum over the postsynaptic neurons is written as one term, w (λ_I/τ_s - λ_V/τ_m) with the costates of the
    postsynaptic neuron just after the arrival; both sides are linear in it.

    Attributes
    ----------
    v, current : Symbol
        The states that play the membrane potential and the synaptic current.
    drive : Expr
        What the paper calls I, here the input that the membrane potential relaxes to.
    conditions : dict of Expr to Expr
        What has to be set for the rules to agree; empty where they agree as they are.
    derived, published : Expr
        λ_V just before the spike, over the symbol I, with the conditions applied.
    """

    v: sp.Symbol
    current: sp.Symbol
    drive: sp.Expr
    conditions: dict[sp.Expr, sp.Expr]
    derived: sp.Expr
    published: sp.Expr

    @property
    def agrees(self) -> bool:
        """Whether the two are the same expression."""
        return sp.simplify(self.derived - self.published) == 0


def published_lif_rule(adjoint: Adjoint) -> PublishedRule | None:
    """The rule of Wunderlich & Pehle (2021) for a system that is of their kind, whatever its names; None otherwise.

    λ_V- = (I λ_V+ - τ_m (∂l/∂t + Σ w (λ_I/τ_s - λ_V/τ_m))) / (I - θ), for V set to 0 at threshold θ.

    References
    ----------
    Wunderlich & Pehle 2021, Scientific Reports 11:12829.
    """
    system = adjoint.system
    if len(system.states) != 2 or adjoint.spike is None or system.g is None or system.refractory is not None:
        return None
    for v, current in (system.states, system.states[::-1]):
        if (found := _leaky(adjoint, v, current)) is not None:
            tau_m, tau_s, receptor = found
            break
    else:
        return None
    theta, reset = sp.expand(v - system.g), system.h[v]
    conditions = {} if reset == 0 else {reset: sp.Integer(0)}
    drive = sp.simplify(v + tau_m * system.f[v])
    lam_v = adjoint.costates[v]

    jump = adjoint.arrivals[receptor]
    post = {adjoint.costates[v]: POST_V, adjoint.costates[current]: POST_I, jump.weight: WEIGHT}
    arrivals = jump.sensitivity.xreplace(post)
    derived = adjoint.spike.explicit(adjoint.spike.jump[lam_v]).xreplace({S_ARRIVALS: arrivals})
    # just before the spike v is at threshold; the drive is the one combination of the current that is left
    solved = sp.solve(sp.Eq(drive, DRIVE), current)[0]
    derived = sp.simplify(derived.xreplace({v: theta}).xreplace({current: solved}).subs(conditions))
    published = (DRIVE * lam_v - tau_m * (DL_DT + WEIGHT * (POST_I / tau_s - POST_V / tau_m))) / (DRIVE - theta)
    rule = PublishedRule(v, current, drive, conditions, derived, published)
    return rule if rule.agrees else None


def _leaky(adjoint: Adjoint, v: sp.Symbol, current: sp.Symbol) -> tuple[sp.Expr, sp.Expr, str] | None:
    """Time constants and a receptor, if v leaks and is reset, and the current decays and is stepped by arrivals."""
    system, states = adjoint.system, set(adjoint.system.states)
    assert system.g is not None
    leak, decay = sp.simplify(-sp.diff(system.f[v], v)), sp.simplify(-sp.diff(system.f[current], current))
    gain = sp.simplify(sp.diff(system.f[v], current))
    if any(e == 0 or e.free_symbols & states for e in (leak, decay, gain)):
        return None
    if sp.simplify(system.f[current] + decay * current) != 0 or sp.simplify(system.g - v).free_symbols & states:
        return None
    if system.h[v].free_symbols & states or system.h[current] != current:
        return None
    for name, arrival in system.arrivals.items():
        if arrival.jump[v] == v and sp.simplify(arrival.jump[current] - current - arrival.weight) == 0:
            return 1 / leak, 1 / decay, name
    return None
