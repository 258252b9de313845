"""What derivations call things: mathematics in their prose, names of states and parameters, marks of an event."""

from __future__ import annotations

from collections.abc import Mapping

import sympy as sp

from ..symbolic.system import HybridSystem
from ._rendering import Equation, Math, Part, name_math

__all__ = ["WORDS", "after_event", "before_event", "equals", "names_of"]


# mathematics that the prose uses, by placeholder
WORDS = {
    "x": Math("x", "x"),
    "p": Math("p", "p"),
    "L": Math("L", r"\mathcal{L}"),
    "lam": Math("λ", r"\lambda"),
    "lam_is": Math("λ = dL/dx", r"\lambda = d\mathcal{L}/dx"),
    "tau": Math("τ = T − t", r"\tau = T - t"),
    "minus": Math("⁻", "^{-}"),
    "plus": Math("⁺", "^{+}"),
    "f": Math("f", "f"),
    "g": Math("g", "g"),
    "h": Math("h", "h"),
    "e": Math("e", "e"),
    "variation": Math("d(δx)/dt = (∂f/∂x) δx", r"\frac{d}{dt}\delta x = \frac{\partial f}{\partial x}\,\delta x"),
    "constant": Math("λ·δx", r"\lambda \cdot \delta x"),
    "backward": Math(
        "dλ/dτ = (∂f/∂x)ᵀ λ", r"\frac{d\lambda}{d\tau} = \left(\frac{\partial f}{\partial x}\right)^{\!\top}\lambda"
    ),
    "end": Math("λ(T)", r"\lambda(T)"),
    "tk": Math("t_k", "t_k"),
    "duration": Math("D", "D"),
    "tk_end": Math("t_k + D", "t_k + D"),
    "event": Math("g(x(t_k), p) = 0", r"g(x(t_k), p) = 0"),
    "dtk": Math(
        "δt_k = −(∂g/∂x·δx⁻ + ∂g/∂p·δp)/ġ",
        r"\delta t_k = -\frac{1}{\dot g}\left(\frac{\partial g}{\partial x}\cdot\delta x^{-}"
        r" + \frac{\partial g}{\partial p}\cdot\delta p\right)",
    ),
    "gdot": Math("ġ", r"\dot g"),
    "dx_plus": Math(
        "δx⁺ = H δx⁻ + (H f⁻ − f⁺) δt_k + ∂h/∂p δp",
        r"\delta x^{+} = H\,\delta x^{-} + (H f^{-} - f^{+})\,\delta t_k + \frac{\partial h}{\partial p}\,\delta p",
    ),
    "H": Math("H = ∂h/∂x", r"H = \partial h/\partial x"),
    "E": Math("E = ∂e/∂x", r"E = \partial e/\partial x"),
    "sigma": Math("σ", r"\sigma"),
    "dl": Math("∂l/∂t_k", r"\partial l/\partial t_k"),
    "sum_s": Math("Σ s_a", r"\sum s_a"),
    "jump": Math(
        "λ⁻ = Hᵀ λ⁺ − (∂g/∂x)ᵀ σ/ġ",
        r"\lambda^{-} = H^{\top}\lambda^{+} - \left(\frac{\partial g}{\partial x}\right)^{\!\top}\frac{\sigma}{\dot g}",
    ),
    "q": Math("σ/ġ", r"\sigma/\dot g"),
    "sa": Math("s_a = λ⁺·(E f⁻ − f⁺)", r"s_a = \lambda^{+}\cdot(E f^{-} - f^{+})"),
    "sr": Math("s_r", "s_r"),
    "fplus": Math("f⁺", "f^{+}"),
    "release": Math("s_r = λ·(f_held − f)", r"s_r = \lambda\cdot(f_{\mathrm{held}} - f)"),
    "d": Math("d", "d"),
    "dd": Math("dL/dd = Σ s_a", r"d\mathcal{L}/dd = \sum s_a"),
    "back_a": Math("λ⁻ = Eᵀ λ⁺", r"\lambda^{-} = E^{\top}\lambda^{+}"),
}


def names_of(system: HybridSystem) -> dict[sp.Symbol, Math]:
    """How states, flags, parameters and weights of a system are written."""
    symbols = {*system.variables, *system.parameters, *(a.weight for a in system.arrivals.values())}
    costates = {f"lambda_{x.name}" for x in system.variables}  # a variable called so is not to look like one
    flags = {b: Math(f"H_{k}", f"H_{{{k}}}") for k, b in enumerate(system.switches)}
    if (s := system.silence) is not None:
        words = {s.elapsed: "since", s.blocked: "blocked", s.holding: "held", s.over: "above"}
        flags |= {x: Math(words[x], rf"\mathrm{{{words[x]}}}") for x in s.states}
        symbols -= {s.elapsed}
    return flags | {s: _plain(s.name) if s.name in costates else name_math(s.name) for s in symbols}


def _plain(name: str) -> Math:
    escaped = name.replace("_", r"\_")
    return Math(name, rf"\mathtt{{{escaped}}}")


def _mark(math: Math, text: str, latex: str) -> Math:
    # braces keep the mark off a subscript of the name
    return Math(f"{math.text}{text}", f"{{{math.latex}}}^{{{latex}}}")


def before_event(math: Math) -> Math:
    """With the mark of what is just before an event."""
    return _mark(math, "⁻", "-")


def after_event(math: Math) -> Math:
    """With the mark of what is just after it."""
    return _mark(math, "⁺", "+")


def equals(left: Math, expression: sp.Basic, names: Mapping[sp.Symbol, Math]) -> Equation:
    """An equation whose right side is one expression."""
    return Equation(left, (Part(expression),), names)
