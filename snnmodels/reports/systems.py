"""Derivations that a reader can follow: forward model, event times, jumps, gradients."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import sympy as sp

from ..symbolic.adjoint import DL_DT, DL_JUMP, Q_SPIKE, S_ARRIVALS, S_RELEASE, Adjoint, SpikeJump
from ..symbolic.divided_differences import exprel
from ..symbolic.published import DRIVE, POST_I, POST_V, PublishedRule, published_lif_rule
from ..symbolic.steps import Step
from ..symbolic.system import HybridSystem, Silence
from ._rendering import (
    Block,
    Equation,
    Heading,
    MarkdownRenderer,
    Math,
    Part,
    Prose,
    Table,
    TextRenderer,
    latex_equation,
    name_math,
)

__all__ = ["Equations", "added_equations", "equations", "system_derivation"]


# mathematics that the prose uses, by placeholder
_M = {
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

_REFERENCES = (
    "T. C. Wunderlich and C. Pehle (2021). Event-based backpropagation can compute exact gradients for spiking neural "
    "networks. Scientific Reports 11, 12829.",
    "S. Galán, W. F. Feehery and P. I. Barton (1999). Parametric sensitivity functions for hybrid discrete/continuous "
    "systems. Applied Numerical Mathematics 31, 17-47.",
)


def system_derivation(system: HybridSystem) -> list[Block]:
    """The derivation of the adjoint of a system, step by step.

    Raises
    ------
    NotDifferentiable
        If the system has no adjoint.
    """
    return _Report(Adjoint.derive(system)).all()


@dataclass(frozen=True)
class Equations:
    """The equations of a system or of an adjoint: as text, and in a notebook as LaTeX or Markdown.

    Attributes
    ----------
    blocks : list of Block
        What is rendered.
    """

    blocks: list[Block]

    def __str__(self) -> str:
        return TextRenderer().render(self.blocks)

    def _repr_latex_(self) -> str:
        """All equations as one aligned block of mathematics."""
        return _aligned(self.blocks)

    def _repr_markdown_(self) -> str:
        return MarkdownRenderer().render(self.blocks)


def equations(of: HybridSystem | Adjoint) -> Equations:
    """The equations of a system, or those of its adjoint without their derivation.

    Examples
    --------
    >>> print(equations(HybridSystem.from_model(load_model("lif"))))  # doctest: +SKIP
    """
    return Equations(_forward(of) if isinstance(of, HybridSystem) else _Report(of).results())


def added_equations(system: HybridSystem, names: Collection[str], without: HybridSystem | None = None) -> Equations:
    """What a synapse or a mechanism brings to a system, or changes in it.

    Parameters
    ----------
    system : HybridSystem
        With it.
    names : collection of str
        Its states, parameters and weight: equations that read one are its own.
    without : HybridSystem, optional
        The same without it: equations that this does not have are its own too.
    """
    known = set() if without is None else {latex_equation(b) for b in _forward(without) if isinstance(b, Equation)}
    blocks: list[Block] = []
    said: list[Block] = []  # prose that belongs to the next equation
    for block in _forward(system):
        if isinstance(block, Equation):
            read = {x.name for part in block.parts for x in part.expression.free_symbols if isinstance(x, sp.Symbol)}
            if not read.isdisjoint(names) or (known and latex_equation(block) not in known):
                blocks += [*said, block]
                said = []
        elif isinstance(block, Prose):
            said = [block]
    return Equations(blocks)


def _aligned(blocks: list[Block]) -> str:
    lines = [latex_equation(b).replace(" = ", " &= ", 1) for b in blocks if isinstance(b, Equation)]
    return "$\\displaystyle \\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}$"


def _names(system: HybridSystem) -> dict[sp.Symbol, Math]:
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


def _before(math: Math) -> Math:
    return _mark(math, "⁻", "-")


def _after(math: Math) -> Math:
    return _mark(math, "⁺", "+")


def _equals(left: Math, expression: sp.Basic, names: Mapping[sp.Symbol, Math]) -> Equation:
    return Equation(left, (Part(expression),), names)


def _forward(system: HybridSystem) -> list[Block]:
    """Equations, threshold, reset, arrivals, initial state and parameters."""
    names = _names(system)
    before = {**names, **{x: _before(names[x]) for x in system.variables}}
    blocks: list[Block] = [Heading(1, system.name), Prose("Between events the state {x} follows", _M)]
    blocks += [_equals(_rate_of(names[x]), system.f[x], names) for x in system.variables]
    if system.switches:
        blocks.append(Prose("where a condition is 1 as long as it holds, else 0:"))
        blocks += [_equals(names[b], Step(surface), names) for b, surface in system.switches.items()]
    blocks += _remarks(system)
    if system.g is None:
        blocks.append(Prose("It does not spike."))
    else:
        blocks.append(Prose("It spikes at the time {tk} at which {g} crosses 0 upwards:", _M))
        blocks.append(_equals(Math("g", "g"), system.g, names))
        if system.latch is None:
            blocks.append(Prose("A spike resets the state, from {minus} just before to {plus} just after:", _M))
        else:
            message = "It stays above threshold then, and spikes again at the next crossing. At a spike change"
            nothing = all(system.h[x] == x for x in system.variables)
            blocks.append(Prose(f"{message}{' no states.' if nothing else ':'}"))
        changed = [x for x in system.variables if system.h[x] != x]
        blocks += [_equals(_after(names[x]), system.h[x], before) for x in changed]
    blocks += _refractory(system, names)
    for name, arrival in system.arrivals.items():
        blocks.append(Prose(f"A spike that arrives through {name} does"))
        changed = [x for x in system.variables if arrival.jump[x] != x]
        blocks += [_equals(_after(names[x]), arrival.jump[x], before) for x in changed]
        if name in system.sources:
            blocks += _source_states(system.sources[name], names[arrival.weight])
    if any(system.initial[x] != 0 for x in system.variables):
        blocks.append(Prose("At time 0, where it is not 0, the state is"))
        for x in system.variables:
            if system.initial[x] != 0:
                blocks.append(_equals(_at_zero(names[x]), system.initial[x], names))
    rows: list[list[str | Math]] = [[names[p], f"{system.defaults[p]:g}", system.units[p]] for p in system.parameters]
    return [*blocks, Table(("parameter", "default (SI)", "unit"), rows)] if rows else blocks


def _source_states(source: HybridSystem, weight: Math) -> list[Block]:
    """What a receptor's sources have, and what their spikes do to it."""
    names, jump = _names(source), source.arrivals["spike"].jump
    before = {**names, **{x: _before(names[x]) for x in source.variables}}
    *states, amplitude = source.variables
    words = {"w": weight, "a": names[amplitude]}
    blocks: list[Block] = [
        Prose(
            "where {w} arrives multiplied by the {a} of the spike. For it every source neuron has, for each "
            "projection, states that follow between its own spikes",
            words,
        ),
    ]
    blocks += [_equals(_rate_of(names[x]), source.f[x], names) for x in states]
    blocks.append(Prose("and, when it sends a spike,"))
    blocks += [_equals(_after(names[x]), jump[x], before) for x in source.variables if jump[x] != x]
    started = [x for x in states if source.initial[x] != 0]
    if started:
        blocks.append(Prose("from, at time 0,"))
    return blocks + [_equals(_at_zero(names[x]), source.initial[x], names) for x in started]


def _rate_of(math: Math) -> Math:
    return Math(f"d{math.text}/dt", rf"\frac{{d{math.latex}}}{{dt}}")


def _at_zero(math: Math) -> Math:
    return Math(f"{math.text}(0)", f"{math.latex}(0)")


def _remarks(system: HybridSystem) -> list[Block]:
    """What a reader may not know of the equations: their numbers, and a function that is Brian2's."""
    expressions = [*system.f.values(), *system.h.values(), *system.initial.values()]
    expressions += [] if system.g is None else [system.g]
    found = set().union(*(e.atoms(sp.Number, exprel) for e in expressions))
    blocks: list[Block] = []
    if any(isinstance(e, sp.Number) and not e.is_Integer for e in found) and set(system.units.values()) != {"1"}:
        blocks.append(Prose("Numbers are in SI base units."))
    if any(isinstance(e, exprel) for e in found):
        x = sp.Symbol("x")
        math = {
            "e": Math("exprel(x) = (exp(x) - 1)/x", rf"{sp.latex(exprel(x))} = (e^x - 1)/x"),
            "d": Math("exp[0, x, x]", sp.latex(sp.diff(exprel(x), x))),
        }
        blocks.append(Prose("With {e}, 1 at 0. Its derivative is the divided difference {d} of the exponential.", math))
    return blocks


def _refractory(system: HybridSystem, names: Mapping[sp.Symbol, Math]) -> list[Block]:
    """What is held after a spike, and for how long."""
    if system.silence is not None:
        return _silence(system.silence, names)
    refractory = system.refractory
    if refractory is None:
        return []
    held = {f"held{k}": names[x] for k, x in enumerate(refractory.hold)}
    what = "and goes on otherwise."
    if held:
        at_them = "does nothing to it" if refractory.arrivals == "ignore" else "takes effect"
        what = f"and the derivative of {' and '.join(f'{{{k}}}' for k in held)} is 0; an arrival there {at_them}."
    return [
        Prose(f"For the time {{duration}} after a spike it does not spike again, {what} The period is", {**_M, **held}),
        _equals(Math("D", "D"), refractory.duration, names),
    ]


def _silence(silence: Silence, names: Mapping[sp.Symbol, Math]) -> list[Block]:
    """A period in which other events can come, with its clock and its flags."""
    words = {**_M, "since": names[silence.elapsed], "blocked": names[silence.blocked], "above": names[silence.over]}
    blocks: list[Block] = [
        Prose(
            "For the time {duration} after a spike, of which {since} has passed, it does not spike again: {blocked} is "
            "1 then, else 0. Meanwhile {above} says whether {g} is above 0; if it is at the end, the neuron spikes "
            "then, and {since} - {duration} is what crosses 0. The period is",
            words,
        ),
        _equals(Math("D", "D"), silence.duration, names),
    ]
    if silence.holding is not None:
        blocks += [
            Prose("and {held} is 1 for the time", {"held": names[silence.holding]}),
            _equals(Math("D_held", r"D_{\mathrm{held}}"), silence.hold_duration, names),
        ]
    return blocks


class _Report:
    """The sections of a derivation, each a list of blocks."""

    def __init__(self, adjoint: Adjoint) -> None:
        self.adjoint, self.system = adjoint, adjoint.system
        self.names = _names(self.system)
        self.lam: dict[sp.Symbol, Math] = {}
        for x in self.system.variables:  # flags have no costates worth the name: nothing moves them continuously
            m = self.names[x]
            self.lam[x] = Math(f"λ_{m.text}", rf"\lambda_{{{m.latex}}}")
        self.free = {
            **self.names,
            **{adjoint.costates[x]: m for x, m in self.lam.items()},
            **{
                d: Math(f"∂l/∂{self.names[x].text}", rf"\frac{{\partial l}}{{\partial {self.names[x].latex}}}")
                for x, d in adjoint.running.items()
            },
        }
        # at an event: states just before, costates just after
        self.event = {
            **self.free,
            **{x: _before(self.names[x]) for x in (*self.system.variables, *self._flags)},
            **{adjoint.costates[x]: _after(m) for x, m in self.lam.items()},
            DL_DT: Math("∂l/∂t_k", r"\frac{\partial l}{\partial t_k}"),
            S_ARRIVALS: Math("Σs_a", r"\textstyle\sum s_a"),
            Q_SPIKE: Math("(σ/ġ)", r"\frac{\sigma}{\dot g}"),
            S_RELEASE: Math("s_r", "s_r"),
            DL_JUMP: Math("(l⁻ − l⁺)", "(l^{-} - l^{+})"),
        }

    def all(self) -> list[Block]:
        """The whole derivation."""
        return [
            Heading(1, f"The adjoint of {self.system.name}"),
            Heading(2, "Forward model"),
            *_forward(self.system)[1:],
            *self.between_events(),
            *self.event_time(),
            *self.spike_jump(),
            *self.arrival_jump(),
            *self.sources(),
            *self.release(),
            *self.transitions(),
            *self.gradients(),
            *self.published(),
            Heading(2, "References"),
            *(Prose(r) for r in _REFERENCES),
        ]

    def results(self) -> list[Block]:
        """Results without the argument."""
        a = self.adjoint
        blocks: list[Block] = [Heading(1, f"The adjoint of {self.system.name}")]
        blocks += [Prose("Between events, in reversed time {tau}:", _M), *self._flow()]
        if a.spike is not None:
            blocks += [Prose("At a spike, from {plus} just after to {minus} just before:", _M), *self._spike()]
        if a.release is not None:
            blocks += [Prose("At the end of the refractory period, where the costates are continuous:")]
            blocks += [_equals(Math("s_r", "s_r"), a.release.sensitivity, self.free)]
        blocks += self._transitions()
        for name in a.arrivals:
            blocks += [Prose(f"At an arrival through {name}:"), *self._arrival(name)]
        return [*blocks, Prose("Gradients:"), *self._gradients()]

    # -- sections -----------------------------------------------------------------------------------------------------

    def between_events(self) -> list[Block]:
        jacobian = Math("∂f/∂x", r"\frac{\partial f}{\partial x}")
        n = len(self.system.variables)
        return [
            Heading(2, "The adjoint between events"),
            Prose(
                "The costate {lam_is} says how the loss {L} changes with the state at time t, everything before it "
                "left aside. A small deviation of the state obeys {variation}, and {constant} must not depend on the "
                "time at which it is taken. In reversed time {tau} therefore {backward}, from {end} = 0 (or the "
                "derivative of a loss on the final state). The Jacobian is",
                _M,
            ),
            _equals(jacobian, self.system.jacobian()[:n, :n], self.names),
            Prose("and the costates follow"),
            *self._flow(),
        ]

    def event_time(self) -> list[Block]:
        if self.adjoint.spike is None or self.system.firing is None:
            return []
        g = sp.Matrix([[sp.diff(self.system.firing, x) for x in self.system.variables]])
        return [
            Heading(2, "The time of a spike"),
            Prose(
                "A spike is at the time {tk} that solves {event}. By the implicit function theorem it moves with the "
                "state and with the parameters as {dtk}, provided that {gdot} is not 0: where the membrane potential "
                "only touches the threshold the spike appears or vanishes, and no gradient exists. Here",
                _M,
            ),
            _equals(Math("∂g/∂x", r"\frac{\partial g}{\partial x}"), g, self.event),
            _equals(Math("ġ = ∂g/∂x · f", r"\dot g = \frac{\partial g}{\partial x}\cdot f"), self._gdot(), self.event),
        ]

    def spike_jump(self) -> list[Block]:
        if self.adjoint.spike is None:
            return []
        states = list(self.system.variables)
        h = sp.Matrix([self.system.h[x] for x in states]).jacobian(states)
        return [
            Heading(2, "The jump at a spike"),
            Prose("With {H}, a deviation passes the spike as {dx_plus}. Here", _M),
            _equals(Math("H", "H"), h, self.event),
            Prose(
                "Collect everything that depends on {tk}: the loss itself ({dl}), what the spike does at the neurons "
                "that it reaches ({sum_s}, next section), and the displacement of the own state. This is {sigma}; "
                "inserting the time of the spike gives {jump}:",
                _M,
            ),
            *self._spike()[1:],
        ]

    def release(self) -> list[Block]:
        release = self.adjoint.release
        if release is None:
            return []
        return [
            Heading(2, "The end of the refractory period"),
            Prose(
                "It comes at {tk_end}, moves with the spike and with the parameters of {duration}, and is no jump: "
                "state and costates are continuous. Before it the costates follow the adjoint of the held system, "
                "after it that of the free one, and an end that comes later by a unit of time changes the loss by "
                "{release}. Here",
                _M,
            ),
            _equals(Math("s_r", "s_r"), release.sensitivity, self.free),
            Prose(
                "The spike that began the period adds {sr} to its {sigma}, in which {fplus} is that of the held "
                "system. If {g} is above 0 when the period ends, the neuron spikes then; the time of that spike is "
                "that of the end, so backward {q} counts as 0 and its {sigma} is added to {sr}.",
                _M,
            ),
        ]

    def arrival_jump(self) -> list[Block]:
        blocks: list[Block] = []
        for name, jump in self.adjoint.arrivals.items():
            states = list(self.system.variables)
            e = sp.Matrix([self.system.arrivals[name].jump[x] for x in states]).jacobian(states)
            blocks += [
                Heading(2, f"The jump at an arrival through {name}"),
                Prose("With {E}, an arrival that comes later by a unit of time changes the loss by {sa}. Here", _M),
                _equals(Math("E", "E"), e, self.event),
                *self._arrival(name),
                Prose("The neuron that sent the spike adds {sum_s} to its {sigma}. A delay {d} gets {dd}.", _M),
            ]
            if jump.can_fire:
                blocks += [
                    Prose(
                        "Such an arrival changes {g} itself and can carry it across 0. The spike is then at the "
                        "arrival: the arrival map {e} acts first, then the reset {h}. The time of the spike is that of "
                        "the arrival, so backward {q} counts as 0 and {sigma} is added to the sensitivity of the "
                        "arrival. The change of {g} is",
                        _M,
                    ),
                    _equals(Math("g(e(x, w)) − g(x)", "g(e(x, w)) - g(x)"), jump.crossing, self.event),
                ]
        return blocks

    def sources(self) -> list[Block]:
        """States that live with the sources of a receptor, and set what its weights are multiplied by."""
        blocks: list[Block] = []
        for name, system in self.system.sources.items():
            own = _Report(Adjoint.derive(system))
            *states, amplitude = system.variables
            words = {
                "w": self.names[self.adjoint.arrivals[name].weight],
                "a": own.names[amplitude],
                "la": own.lam[amplitude],
                "sum_s": _M["sum_s"],
                "sa": _M["sa"],
                "sigma": _M["sigma"],
            }
            blocks += [
                Heading(2, f"The states of a source of {name}"),
                Prose(
                    "Above and below, {w} at an arrival is the product with the {a}; what is summed to the gradient by "
                    "a weight is to be multiplied by the {a}, and multiplied by the weight instead and summed over all "
                    "arrivals of the spike it is what is added to {la}. The costates follow between the neuron's "
                    "spikes, in reversed time,",
                    words,
                ),
                *own._flow()[: len(states)],
                Prose("and at a spike, with {sa} that is added to its {sigma}, as {sum_s} of the arrivals,", words),
                *own._arrival("spike"),
                Prose("Its spikes are the arrivals in what the gradients by the parameters get:"),
                *own._gradients()[1:],
            ]
        return blocks

    def gradients(self) -> list[Block]:
        return [
            Heading(2, "Gradients"),
            Prose("Summing over a trial everything that depends on a weight or on a parameter {p}:", _M),
            *self._gradients(),
        ]

    def published(self) -> list[Block]:
        rule = None if self.system.sources else published_lif_rule(self.adjoint)
        if rule is None:
            return []
        names = self._published_names(rule)
        v = self.lam[rule.v]
        condition = self._conditions(rule)
        return [
            Heading(2, "Comparison with the published rule"),
            Prose("This is a leaky integrate-and-fire neuron with an exponential synaptic current. With"),
            _equals(names[DRIVE], rule.drive, self.event),
            Prose(
                "just before the spike, {v} at threshold, and " + condition + "the jump of {lam_v} at a spike is",
                {"v": self.names[rule.v], "lam_v": v},
            ),
            _equals(_before(v), rule.published, names),
            Prose(
                "with the sum over the neurons that the spike reaches. This is the rule of Wunderlich and Pehle "
                "(2021); SymPy confirms that the derived and the published expression are equal."
            ),
        ]

    def transitions(self) -> list[Block]:
        if not any(self._turns):
            return []
        ends = "" if self.system.silence is None else ", and where the refractory period ends"
        return [
            Heading(2, f"Where a condition turns{ends}"),
            Prose(
                "The surface on which a condition turns is crossed at a time of its own, like a threshold: {f} is "
                "another function from then on, the state goes on. Nothing else depends on that time, so its {sigma} "
                "is the displacement alone; where {f} is continuous across the surface it is 0.",
                _M,
            ),
            *self._transitions(),
        ]

    # -- equations ----------------------------------------------------------------------------------------------------

    def _flow(self) -> list[Block]:
        a = self.adjoint
        return [
            _equals(
                Math(f"d{self.lam[x].text}/dτ", rf"\frac{{d{self.lam[x].latex}}}{{d\tau}}"),
                a.flow[a.costates[x]],
                self.free,
            )
            for x in self.system.variables
        ]

    def _gdot(self) -> sp.Expr:
        assert self.adjoint.spike is not None
        return self.adjoint.spike.gdot

    def _spike(self) -> list[Block]:
        spike = self.adjoint.spike
        assert spike is not None
        return [
            _equals(Math("ġ", r"\dot g"), spike.gdot, self.event),
            _equals(Math("σ", r"\sigma"), spike.sigma, self.event),
            *self._jump(spike.jump),
        ]

    def _transitions(self) -> list[Block]:
        blocks: list[Block] = []
        for b, jump in self._turns:
            known = self._known_at(b)
            blocks += [
                Prose("Where {h} turns:", {"h": self.names[b]}),
                _equals(Math("ġ", r"\dot g"), jump.gdot.xreplace(known), self.event),
                _equals(Math("σ", r"\sigma"), jump.sigma.xreplace(known), self.event),
                *self._jump({x: e.xreplace(known) for x, e in jump.jump.items()}),
            ]
        return blocks

    def _known_at(self, flag: sp.Symbol) -> dict[sp.Symbol, sp.Expr]:
        """What flags of a refractory period are where one of them turns."""
        silence, one = self.system.silence, sp.Integer(1)
        if silence is None or flag not in silence.flags:
            return {}
        return {flag: one} | ({silence.over: sp.Integer(0)} if flag == silence.blocked else {})

    def _arrival(self, name: str) -> list[Block]:
        jump = self.adjoint.arrivals[name]
        return [_equals(Math("s_a", "s_a"), jump.sensitivity, self.event), *self._jump(jump.jump)]

    def _jump(self, jump: Mapping[sp.Symbol, sp.Expr]) -> list[Block]:
        costates = self.adjoint.costates
        return [_equals(_before(self.lam[x]), jump[costates[x]], self.event) for x in self.system.variables]

    def _gradients(self) -> list[Block]:
        a = self.adjoint
        blocks: list[Block] = []
        at_arrivals = Math("Σ_arrivals ", r"\sum_{\mathrm{arrivals}}")
        for jump in a.arrivals.values():
            w = self.names[jump.weight]
            part = Part(jump.gradient, at_arrivals)
            blocks.append(Equation(_derivative(w), (part,), self.event))
        for p in a.parameters:
            parts = []
            if p in a.integrand:
                parts.append(Part(self._as_free(a.integrand[p]), Math("∫ ", r"\int_0^T"), Math(" dt", r"\,dt")))
            if a.spike is not None and p in a.spike.parameters:
                parts.append(Part(a.spike.parameters[p], Math("Σ_spikes ", r"\sum_{\mathrm{spikes}}")))
            if a.release is not None and p in a.release.parameters:
                parts.append(Part(a.release.parameters[p], Math("Σ_releases ", r"\sum_{\mathrm{releases}}")))
            at_turns = Math("Σ_turns ", r"\sum_{\mathrm{turns}}")
            for b, turn in self._turns:
                if p in turn.parameters:
                    parts.append(Part(turn.parameters[p].xreplace(self._known_at(b)), at_turns))
            parts += [Part(j.parameters[p], at_arrivals) for j in a.arrivals.values() if p in j.parameters]
            if p in a.initial:
                parts.append(Part(self._as_free(a.initial[p]), after=Math(" (t = 0)", r"\Big|_{t=0}")))
            blocks.append(Equation(_derivative(self.names[p]), parts, {**self.event, **self._unmarked()}))
        return blocks

    def _as_free(self, expression: sp.Expr) -> sp.Expr:
        """The expression over symbols that are written without the marks of an event."""
        return expression.xreplace({s: _unmarked(s) for s in self._states_and_costates()})

    def _unmarked(self) -> dict[sp.Symbol, Math]:
        return {_unmarked(s): self.free[s] for s in self._states_and_costates()}

    def _states_and_costates(self) -> list[sp.Symbol]:
        costates = (self.adjoint.costates[x] for x in self.system.variables)
        return [*self.system.variables, *self._flags, *costates]

    @property
    def _flags(self) -> tuple[sp.Symbol, ...]:
        """Flags that expressions may read."""
        silence = self.system.silence
        return (*self.system.switches, *(() if silence is None else silence.flags))

    @property
    def _turns(self) -> Iterator[tuple[sp.Symbol, SpikeJump]]:
        """Flags at whose turns costates may jump, each with its jump; nothing else depends on when the others turn."""
        silence = self.system.silence
        told = {*self.system.switches, *(() if silence is None else (silence.blocked, silence.holding))}
        for turn, jump in zip(self.system.transitions, self.adjoint.transitions, strict=True):
            if turn.flag in told:
                yield turn.flag, jump

    def _published_names(self, rule: PublishedRule) -> dict[sp.Symbol, Math]:
        def reached(x: sp.Symbol) -> Math:
            m = self.lam[x]
            return Math(f"{m.text}ⱼ⁺", rf"\lambda_{{{self.names[x].latex},j}}^{{+}}")

        w = Math("Σⱼ wⱼ", r"\textstyle\sum_j w_j")
        names = {**self.event, POST_V: reached(rule.v), POST_I: reached(rule.current), DRIVE: Math("I", "I")}
        return {**names, sp.Symbol("w", real=True): w}

    def _conditions(self, rule: PublishedRule) -> str:
        if not rule.conditions:
            return ""
        reset = next(iter(rule.conditions))
        return f"a reset to 0 ({reset} = 0), "


def _unmarked(s: sp.Symbol) -> sp.Symbol:
    return sp.Symbol(f"{s.name} (t)", real=True)


def _derivative(p: Math) -> Math:
    return Math(f"dL/d{p.text}", rf"\frac{{d\mathcal{{L}}}}{{d{p.latex}}}")
