"""The adjoint of a system as blocks of a document: its derivation section by section, or its results alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import sympy as sp

from ..symbolic.adjoint import DL_DT, DL_JUMP, Q_SPIKE, S_ARRIVALS, S_RELEASE, Adjoint, SpikeJump
from ..symbolic.published import DRIVE, POST_I, POST_V, PublishedRule, published_lif_rule
from ._forward import forward_model
from ._names import WORDS, after_event, before_event, equals, names_of
from ._rendering import Block, Equation, Heading, Math, Part, Prose

__all__ = ["AdjointReport"]

_REFERENCES = (
    "T. C. Wunderlich and C. Pehle (2021). Event-based backpropagation can compute exact gradients for spiking neural "
    "networks. Scientific Reports 11, 12829.",
    "S. Galán, W. F. Feehery and P. I. Barton (1999). Parametric sensitivity functions for hybrid discrete/continuous "
    "systems. Applied Numerical Mathematics 31, 17-47.",
)


class AdjointReport:
    """The sections of a derivation, each a list of blocks."""

    def __init__(self, adjoint: Adjoint) -> None:
        self.adjoint, self.system = adjoint, adjoint.system
        self.names = names_of(self.system)
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
            **{x: before_event(self.names[x]) for x in (*self.system.variables, *self._flags)},
            **{adjoint.costates[x]: after_event(m) for x, m in self.lam.items()},
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
            *forward_model(self.system)[1:],
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
        blocks += [Prose("Between events, in reversed time {tau}:", WORDS), *self._flow()]
        if a.spike is not None:
            blocks += [Prose("At a spike, from {plus} just after to {minus} just before:", WORDS), *self._spike()]
        if a.release is not None:
            blocks += [Prose("At the end of the refractory period, where the costates are continuous:")]
            blocks += [equals(Math("s_r", "s_r"), a.release.sensitivity, self.free)]
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
                WORDS,
            ),
            equals(jacobian, self.system.jacobian()[:n, :n], self.names),
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
                WORDS,
            ),
            equals(Math("∂g/∂x", r"\frac{\partial g}{\partial x}"), g, self.event),
            equals(Math("ġ = ∂g/∂x · f", r"\dot g = \frac{\partial g}{\partial x}\cdot f"), self._gdot(), self.event),
        ]

    def spike_jump(self) -> list[Block]:
        if self.adjoint.spike is None:
            return []
        states = list(self.system.variables)
        h = sp.Matrix([self.system.h[x] for x in states]).jacobian(states)
        return [
            Heading(2, "The jump at a spike"),
            Prose("With {H}, a deviation passes the spike as {dx_plus}. Here", WORDS),
            equals(Math("H", "H"), h, self.event),
            Prose(
                "Collect everything that depends on {tk}: the loss itself ({dl}), what the spike does at the neurons "
                "that it reaches ({sum_s}, next section), and the displacement of the own state. This is {sigma}; "
                "inserting the time of the spike gives {jump}:",
                WORDS,
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
                WORDS,
            ),
            equals(Math("s_r", "s_r"), release.sensitivity, self.free),
            Prose(
                "The spike that began the period adds {sr} to its {sigma}, in which {fplus} is that of the held "
                "system. If {g} is above 0 when the period ends, the neuron spikes then; the time of that spike is "
                "that of the end, so backward {q} counts as 0 and its {sigma} is added to {sr}.",
                WORDS,
            ),
        ]

    def arrival_jump(self) -> list[Block]:
        blocks: list[Block] = []
        for name, jump in self.adjoint.arrivals.items():
            states = list(self.system.variables)
            e = sp.Matrix([self.system.arrivals[name].jump[x] for x in states]).jacobian(states)
            blocks += [
                Heading(2, f"The jump at an arrival through {name}"),
                Prose("With {E}, an arrival that comes later by a unit of time changes the loss by {sa}. Here", WORDS),
                equals(Math("E", "E"), e, self.event),
                *self._arrival(name),
                Prose("The neuron that sent the spike adds {sum_s} to its {sigma}. A delay {d} gets {dd}.", WORDS),
            ]
            if jump.can_fire:
                blocks += [
                    Prose(
                        "Such an arrival changes {g} itself and can carry it across 0. The spike is then at the "
                        "arrival: the arrival map {e} acts first, then the reset {h}. The time of the spike is that of "
                        "the arrival, so backward {q} counts as 0 and {sigma} is added to the sensitivity of the "
                        "arrival. The change of {g} is",
                        WORDS,
                    ),
                    equals(Math("g(e(x, w)) − g(x)", "g(e(x, w)) - g(x)"), jump.crossing, self.event),
                ]
        return blocks

    def sources(self) -> list[Block]:
        """States that live with the sources of a receptor, and set what its weights are multiplied by."""
        blocks: list[Block] = []
        for name, system in self.system.sources.items():
            own = AdjointReport(Adjoint.derive(system))
            *states, amplitude = system.variables
            words = {
                "w": self.names[self.adjoint.arrivals[name].weight],
                "a": own.names[amplitude],
                "la": own.lam[amplitude],
                "sum_s": WORDS["sum_s"],
                "sa": WORDS["sa"],
                "sigma": WORDS["sigma"],
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
            Prose("Summing over a trial everything that depends on a weight or on a parameter {p}:", WORDS),
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
            equals(names[DRIVE], rule.drive, self.event),
            Prose(
                "just before the spike, {v} at threshold, and " + condition + "the jump of {lam_v} at a spike is",
                {"v": self.names[rule.v], "lam_v": v},
            ),
            equals(before_event(v), rule.published, names),
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
                WORDS,
            ),
            *self._transitions(),
        ]

    # -- equations ----------------------------------------------------------------------------------------------------

    def _flow(self) -> list[Block]:
        a = self.adjoint
        return [
            equals(
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
            equals(Math("ġ", r"\dot g"), spike.gdot, self.event),
            equals(Math("σ", r"\sigma"), spike.sigma, self.event),
            *self._jump(spike.jump),
        ]

    def _transitions(self) -> list[Block]:
        blocks: list[Block] = []
        for b, jump in self._turns:
            known = self._known_at(b)
            blocks += [
                Prose("Where {h} turns:", {"h": self.names[b]}),
                equals(Math("ġ", r"\dot g"), jump.gdot.xreplace(known), self.event),
                equals(Math("σ", r"\sigma"), jump.sigma.xreplace(known), self.event),
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
        return [equals(Math("s_a", "s_a"), jump.sensitivity, self.event), *self._jump(jump.jump)]

    def _jump(self, jump: Mapping[sp.Symbol, sp.Expr]) -> list[Block]:
        costates = self.adjoint.costates
        return [equals(before_event(self.lam[x]), jump[costates[x]], self.event) for x in self.system.variables]

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
