"""The derivation of a coding network as a document: loss, increment at a spike, spike rule, dynamics, both forms."""

from __future__ import annotations

from collections.abc import Iterator

import sympy as sp

from ..coding.loss import NORM, JointLoss
from ..coding.spike_rule import LEAK, SpikeRule, derive
from ..symbolic.parsing import symbol
from ._rendering import Block, Equation, Heading, Math, Part, Prose, Table, name_math

__all__ = ["coding_derivation"]


_M = {
    "L": Math("L", r"\mathcal{L}"),
    "i": Math("i", "i"),
    "x": Math("x", "x"),
    "r": Math("r", "r"),
    "s": Math("s", "s"),
    "D": Math("D", "D"),
    "Di": Math("D_i", "D_i"),
    "estimate": Math("x̂ = D r", r"\hat x = D r"),
    "e": Math("e = x − D r", "e = x - D r"),
    "e_to": Math("e → e − D_i", r"e \to e - D_i"),
    "V": Math("V", "V"),
    "Vi": Math("V_i", "V_i"),
    "vi": Math("v_i", "v_i"),
    "theta": Math("θ_i", r"\theta_i"),
    "rule": Math("ΔL < 0 ⇔ V_i > θ_i", r"\Delta\mathcal{L} < 0 \Leftrightarrow V_i > \theta_i"),
    "norm": Math("d_i", "d_i"),
    "lambda": Math("λ = 1/τ", r"\lambda = 1/\tau"),
    "w": Math("W", "W"),
    "dynamics": Math("dx/dt = A x + c", r"\frac{dx}{dt} = A x + c"),
    "c": Math("c", "c"),
    "decay": Math("ε = exp(−λ dt)", r"\varepsilon = e^{-\lambda\,dt}"),
    "step": Math("k", "k"),
}
_CODING = sp.Symbol("_coding_term")


def coding_derivation(loss: JointLoss | SpikeRule) -> list[Block]:
    """How the spike rule, the weights and the currents follow from a joint loss."""
    return list(_Report(loss if isinstance(loss, SpikeRule) else derive(loss)).blocks())


class _Report:
    def __init__(self, rule: SpikeRule) -> None:
        self.rule, self.loss = rule, rule.loss
        self.names = {symbol(p): name_math(p) for p in self.loss.parameters}
        self.names |= {symbol(t): self._trace_name(t) for t in self.loss.traces}
        self.names |= {rule.time_constant(t): name_math(f"tau_{t}") for t in self.loss.traces}
        self.names[NORM] = Math("d_i", "d_i")
        self.names[LEAK] = Math("λ", r"\lambda")
        if self.loss.weight is None:
            self.names[_CODING] = Math("|x − D r|²", r"\lvert x - D r\rvert^2")
        else:
            self.names[_CODING] = Math("(x − D r)ᵀ W (x − D r)", r"(x - D r)^{T} W (x - D r)")

    def _trace_name(self, trace: str) -> Math:
        math = name_math(trace)
        if self.loss.traces[trace].scope == "population":
            return math
        return Math(f"{math.text}_i", f"{{{math.latex}}}_i")

    def _is(self, left: Math, *parts: Part | sp.Basic) -> Equation:
        return Equation(left, [p if isinstance(p, Part) else Part(p) for p in parts], self.names)

    def blocks(self) -> Iterator[Block]:
        yield Heading(1, self.loss.title or self.loss.name)
        if self.loss.description:
            # braces in a description are text, not formulas
            yield Prose(" ".join(self.loss.description.split()).replace("{", "{{").replace("}", "}}"))
        yield from self._joint_loss()
        yield from self._one_spike()
        yield from self._spike_rule()
        yield from self._voltage()
        yield from self._weight_form()
        yield from self._time_step()
        yield from self._numbers()

    def _joint_loss(self) -> Iterator[Block]:
        yield Heading(2, "Joint loss")
        parts: list[Part] = [Part(_CODING)]
        for cost in self.loss.costs:
            sum_over = Math("Σ_i ", r"\sum_i") if self.loss.scope_of(cost) == "neuron" else Math("", "")
            parts.append(Part(cost.expression, before=sum_over))
        yield self._is(_M["L"], *parts)
        yield Prose(
            "The read-out is {estimate}. Spike trains {s} enter it and the costs filtered; per neuron, and for the "
            "population with every neuron's spikes,",
            _M,
        )
        for name, trace in self.loss.traces.items():
            math = self.names[symbol(name)]
            source = Math(" s_i", "s_i") if trace.scope == "neuron" else Math(" s_j", "s_j")
            sum_over = Math("Σ_j ", r"\sum_j") if trace.scope == "population" else Math("", "")
            left = Math(f"d{math.text}/dt", rf"\frac{{d{math.latex}}}{{dt}}")
            decay = Part(-symbol(name) / self.rule.time_constant(name))
            if trace.jump == 1:
                spikes = sp.Symbol("_spikes")
                here = {
                    **self.names,
                    spikes: Math(f"{sum_over.text}{source.text.strip()}", f"{sum_over.latex} {source.latex}"),
                }
                yield Equation(left, [decay, Part(spikes)], here)
            else:
                jump_names = {**self.names, NORM: Math("d_j", "d_j")} if trace.scope == "population" else self.names
                yield Equation(left, [decay, Part(trace.jump, sum_over, source)], jump_names)

    def _one_spike(self) -> Iterator[Block]:
        yield Heading(2, "What one spike changes")
        yield Prose(
            "A spike of neuron {i} moves the error {e} by a column of the decoder, {e_to}, and lets every trace that "
            "it enters jump. The coding term changes by",
            _M,
        )
        yield self._is(Math("Δ(coding)", r"\Delta(\text{coding})"), self.rule.coding.increment)
        for cost in self.loss.costs:
            yield Prose(f"the cost {cost.name}" + (f" ({cost.description})" if cost.description else "") + " by")
            left = Math(f"Δ({cost.name})", rf"\Delta(\text{{{cost.name.replace('_', ' ')}}})")
            yield self._is(left, self.rule.increments[cost.name])

    def _spike_rule(self) -> Iterator[Block]:
        yield Heading(2, "Spike rule")
        yield Prose(
            "Neuron {i} may spike when that lowers the loss. Half of what depends on the error is called the voltage, "
            "half of the rest the threshold, so that {rule}:",
            _M,
        )
        yield self._is(_M["Vi"], self.rule.coding.voltage)
        yield self._is(_M["theta"], self.rule.threshold)
        yield self._is(Math("d_i²", "d_i^2"), self.rule.coding.square)
        rows: list[list[str | Math]] = []
        if self.rule.coefficients is None:
            yield Prose("The threshold is not affine in the traces: the costs are more than quadratic.")
        else:
            for trace in self.rule.coefficients:
                scope = self.loss.traces[trace].scope
                effect = "threshold adaptation" if scope == "neuron" else "feedback inhibition by the population"
                rows.append([self.names[symbol(trace)], self._inline(self.rule.coefficients[trace]), effect])
            rows.insert(0, ["nothing", self._inline(self.rule.constant), "static threshold"])
            yield Table(("depends on", "threshold term per unit", "acts as"), rows)
        yield Prose(
            "The rule descends greedily: each spike lowers the loss at once. It does not minimise the loss over a "
            "whole spike train. At most one neuron may spike at a time, the one furthest above its threshold, since "
            "two would correct the same error twice."
        )

    def _inline(self, expression: sp.Expr) -> Math:
        text = expression.xreplace({s: sp.Symbol(m.text) for s, m in self.names.items()})
        latex = sp.latex(expression, symbol_names={s: m.latex for s, m in self.names.items()})
        return Math(sp.sstr(text), latex)

    def _voltage(self) -> Iterator[Block]:
        coding = self.rule.coding
        yield Heading(2, "Dynamics: threshold form")
        yield Prose("Differentiating all voltages,", _M)
        yield self._is(_M["V"], coding.voltages)
        yield Prose("with {lambda} of the read-out gives leaky integration, input and fast recurrent weights:", _M)
        if coding.slow is None:
            yield from self._voltage_equation(Math("", ""))
        else:
            slow = Math(" + Ω r", r"+ \Omega\, r")
            yield from self._voltage_equation(slow)
            yield Prose(
                "The signal obeys {dynamics} and the network receives {c} only; where {x} itself is needed it uses its "
                "estimate, through slow recurrent weights",
                _M,
            )
            yield self._is(Math("Ω", r"\Omega"), coding.slow)
        yield Prose(
            "The weights depend on the decoder alone, whatever the costs: their values sit in the threshold and may "
            "change at any instant."
        )

    def _voltage_equation(self, slow: Math) -> Iterator[Block]:
        coding, leak = self.rule.coding, sp.Symbol("_leak")
        names = {**self.names, leak: Math("−λ V", r"-\lambda V")}
        recurrent = Part(
            coding.recurrent, before=Math("(−", r"\left(-"), after=Math(f") s{slow.text}", rf"\right) s {slow.latex}")
        )
        yield Equation(Math("dV/dt", r"\frac{dV}{dt}"), [Part(leak), Part(coding.feedforward), recurrent], names)

    def _weight_form(self) -> Iterator[Block]:
        yield Heading(2, "Dynamics: weight form")
        if not self.rule.has_weight_form:
            yield Prose("There is none: only quadratic costs can be written into weights.")
            return
        yield Prose("Moving what depends on traces from the threshold into the voltage,")
        total = sum((c * symbol(k) for k, c in (self.rule.coefficients or {}).items()), sp.Integer(0))
        voltage = sp.Symbol("_V")
        here = {**self.names, voltage: _M["Vi"]}
        yield Equation(_M["vi"], [Part(voltage - total)], here)
        yield Prose("leaves the constant threshold", _M)
        yield self._is(_M["theta"], self.rule.constant)
        rows: list[list[str | Math]] = [[self._inline_matrix(), "every voltage", "coding"]]
        for trace, weight in self.rule.activity_weights.items():
            target = "its own voltage" if self.loss.traces[trace].scope == "neuron" else "every voltage"
            rows.append([self._inline(weight), target, f"through {trace}"])
        yield Prose("and spikes that subtract, besides the coding weights, what the traces would have added:")
        yield Table(("a spike subtracts", "from", "why"), rows)
        currents = {k: c for k, c in self.rule.currents.items() if c != 0}
        if currents:
            yield Prose("Traces with time constants other than the read-out's leave currents in the voltage equation:")
            drive = sum((c * symbol(k) for k, c in currents.items()), sp.Integer(0))
            yield self._is(Math("current", r"\text{current}"), drive)
        yield Prose("Both forms give identical spike trains.")

    def _inline_matrix(self) -> Math:
        coding = self.rule.coding.recurrent
        return Math(sp.sstr(coding).replace(".T", "ᵀ").replace("*", " "), sp.latex(coding))

    def _time_step(self) -> Iterator[Block]:
        yield Heading(2, "One time step")
        yield Prose("For a signal that is known on the grid the step is exact, with {decay}:", _M)
        metric = "" if self.loss.weight is None else " W"
        if self.loss.dynamics is None:
            text = f"ε V_k + Dᵀ{metric} (x_{{k+1}} − ε x_k)"
            latex = rf"\varepsilon V_k + D^{{T}}{metric} (x_{{k+1}} - \varepsilon x_k)"
        else:
            text = f"ε V_k + Dᵀ{metric} (exp(A dt) − ε) D r_k + Dᵀ{metric} ∫exp(A s) ds c_k"
            latex = (
                rf"\varepsilon V_k + D^{{T}}{metric} (e^{{A\,dt}} - \varepsilon) D r_k"
                rf" + D^{{T}}{metric} \int_0^{{dt}} e^{{A s}} ds\, c_k"
            )
        step = sp.Symbol("_step")
        here = {**self.names, step: Math(text, latex)}
        yield Equation(Math("V_{k+1}", "V_{k+1}"), [Part(step)], here)
        yield Prose("then every trace decays by its own factor, and the winner, if any, spikes.")

    def _numbers(self) -> Iterator[Block]:
        yield Heading(2, "Defaults")
        rows: list[list[str | Math]] = [
            [name_math(f"tau_{t}"), f"{1e3 * trace.tau:g} ms", trace.description]
            for t, trace in self.loss.traces.items()
        ]
        rows += [[name_math(p), f"{q.value:g}", q.description] for p, q in self.loss.parameters.items()]
        yield Table(("name", "value", "meaning"), rows)
        if self.loss.references:
            yield Prose("References: " + "; ".join(self.loss.references).replace("{", "{{").replace("}", "}}"))
