"""A NeuronGroup as the template of a neuron, with the values of its parameters."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from brian2.equations.equations import DIFFERENTIAL_EQUATION

from ...symbolic.declaration import driven_system, hybrid_system
from ...symbolic.parsing import UnsupportedExpression
from ...templates import Assignment, Document, Model, compose_model
from ...templates.errors import located
from ...templates.expressions import free_names, parse, parse_statements, parse_threshold, substitute
from ...templates.units import unit_of_dimension, variables_in
from ._scope import NEVER, ModelConstant, Scope, place, refuse, without_grid
from ._slots import Array

__all__ = ["PopulationReader", "Shorthands", "read_statements"]

_CROSSINGS = (ast.Gt, ast.GtE, ast.Lt, ast.LtE)


def read_statements(code: str, where: str, key: str) -> tuple[Assignment, ...]:
    """Statements of a script, of which several may stand on a line.

    Raises
    ------
    TemplateError
        For one that is no assignment.
    """
    with located(where, key):
        return parse_statements(code.replace(";", "\n"))


class Shorthands:
    """Variables that statements make for themselves, each written out where it is read.

    Parameters
    ----------
    of : BrianObject
        The object of the statements.
    key : str
        What messages call them.
    """

    def __init__(self, of: Any, key: str) -> None:
        self._of, self._key = of, key
        self._texts: dict[str, str] = {}
        self._stale: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._texts

    def define(self, name: str, text: str) -> None:
        """Let a name stand for an expression from here on."""
        self._texts[name] = f"({text})"
        self._stale.discard(name)

    def state_changed(self, state: str) -> None:
        """Note that what reads a state no longer holds the value that a script would find."""
        self._stale |= {name for name, text in self._texts.items() if state in free_names(text)}

    def get(self, name: str) -> str | None:
        """What a name stands for, if it is one of these.

        Raises
        ------
        TemplateError
            If a state that it was made of has changed since.
        """
        if name in self._stale:
            hint = "write what it stands for where it is used"
            raise refuse(self._of, self._key, f"{name!r} is read after what it is made of has changed; {hint}")
        return self._texts.get(name)


@dataclass(frozen=True)
class _Receptor:
    """What arrivals do, with ``WEIGHT`` for the name of the weight, which is given last."""

    name: str
    where: str
    statements: tuple[Assignment, ...]
    unit: str
    weight: str
    source: Mapping[str, Any] | None = None


class PopulationReader:
    """Makes a model of a group and of what its synapses do.

    Parameters
    ----------
    group : NeuronGroup
    namespace : mapping
        Of the script.
    changed : set of str
        Parameters that resets and synapses assign to.
    learnable : collection of str
        Parameters of the model to be learned.
    """

    def __init__(self, group: Any, namespace: Mapping[str, Any], changed: set[str], learnable: Collection[str]) -> None:
        self.group = group
        self.scope = Scope(group, namespace, changed, learnable)
        self._receptors: list[_Receptor] = []
        self._until_below = False
        self._neuron = self._read()

    @property
    def constants(self) -> dict[str, ModelConstant]:
        """Parameters of the model by name."""
        return self.scope.constants

    def receptor(
        self,
        name: str,
        where: str,
        statements: tuple[Assignment, ...],
        unit: str,
        weight: str,
        source: Mapping[str, Any] | None = None,
    ) -> str:
        """The name of the receptor whose arrivals do this, which several synapses may share.

        Parameters
        ----------
        name : str
            Of a new one.
        where : str
            Whose statements they are, for messages.
        statements : tuple of Assignment
            On states of the model, with ``WEIGHT`` for the weight.
        unit : str
            Of the weight.
        weight : str
            What a new one's weight would be called.
        source : mapping, optional
            The states that its sources have, as a template has them.
        """
        if reader := self._reads_what_is_ignored(statements):
            hint = "give it a pathway of its own, or let the state be held by int(not_refractory)*(...)"
            raise refuse(self.group, "on_pre", f"{reader} after {where} has set it; {hint}")
        for known in self._receptors:
            if (known.statements, known.unit, known.source) == (statements, unit, source):
                return known.name
        self._receptors.append(_Receptor(name, where, statements, unit, weight, source))
        return name

    def at_own_reset(self, name: str) -> bool:
        """Whether it matters if what arrives at a receptor comes before the reset of the same time, or after it.

        Brian2 does the former where a neuron's spike arrives at itself without a delay, a network the latter.
        """
        (statements,) = (r.statements for r in self._receptors if r.name == name)
        arriving = [s for s in statements if s.variable not in self._ignoring]
        reset = parse_statements(self._neuron.get("reset", []))
        sets = [{s.variable for s in block} for block in (arriving, reset)]
        reads = [
            {x for s in block for x in self._read_by(s)} | {s.variable for s in block if s.operator not in _ADDED}
            for block in (arriving, reset)
        ]
        return bool(sets[0] & reads[1] or sets[1] & reads[0])

    def _read_by(self, s: Assignment) -> set[str]:
        """States that the right side of a statement reads, itself or by subexpressions."""
        found: set[str] = set()
        new = {*free_names(s.expression)}
        while new:
            found |= new
            texts = [self.scope.subexpressions[n] for n in new if n in self.scope.subexpressions]
            new = {x for text in texts for x in free_names(text)} - found
        return found & {*self.scope.state_names}

    def _reads_what_is_ignored(self, statements: tuple[Assignment, ...]) -> str:
        """What a statement reads that one before it would change if it weren't held; empty where there is none."""
        for k, s in enumerate(statements):
            before = {b.variable for b in statements[:k]} & self._ignoring - {s.variable}
            if s.variable not in self._ignoring and (held := before & self._read_by(s)):
                return f"{sorted(held)[0]!r} is held while refractory, and {str(s)!r} reads it"
        return ""

    @property
    def _ignoring(self) -> set[str]:
        """States at which nothing arrives while the neuron is refractory."""
        table = self._neuron.get("refractory")
        return {*table["hold"]} if table and table["arrivals"] == "ignore" else set()

    def model(self) -> Model:
        """The model, after all that its synapses do has been read.

        Raises
        ------
        TemplateError
            If the group or its synapses can't be used as a model, with the reason.
        """
        self.scope.check_fixed()
        neuron = self._whole()
        documents = [Document(self.group.name, place(self.group), neuron)]
        weights: set[str] = set()
        for r in self._receptors:
            # several receptors may call their weights alike
            weight = r.weight if r.weight in weights else self.scope.fresh(r.weight)
            weights.add(weight)
            code = [
                str(Assignment(s.variable, s.operator, substitute(s.expression, {WEIGHT: weight})))
                for s in r.statements
            ]
            used = {name for s in r.statements for name in variables_in(s.expression)}
            if r.source is not None:
                used |= {n for line in r.source["equations"].splitlines() for n in _right_side(line)}
                used |= {n for s in parse_statements(r.source["on_pre"]) for n in free_names(s.expression)}
            content = {
                "kind": "synapse",
                "title": r.where,
                "description": f"Read from {r.where}.",
                "on_pre": code,
                "weight": {"name": weight, "unit": r.unit, "description": "weight"},
                "parameters": self._tables(used),
            }
            if r.source is not None:
                content["source"] = r.source
            documents.append(Document(r.name, r.where, content))
        model = compose_model(*documents, name=self.group.name)
        for c in self.scope.currents:
            if read_at := model.inputs[c.name].read_at:
                hint = "only equations of states can; compare with a state, or leave it out"
                raise refuse(self.group, f"TimedArray {c.name!r}", f"the {read_at} reads it; {hint}")
        self._check(model)
        return model

    def values(self) -> dict[str, float | Array]:
        """Values of the model's parameters, in SI base units."""
        return {name: c.value for name, c in self.constants.items()}

    def _read(self) -> dict[str, Any]:
        """The template of the neuron, without its parameters."""
        group, scope = self.group, self.scope
        document: dict[str, Any] = {
            "kind": "neuron",
            "title": place(group),
            "description": f"Read from {place(group)}.",
        }
        if group._refractory is not False:
            if (group.variables["lastspike"].get_value() != NEVER).any():
                hint = "a trial begins with neurons that have not spiked; leave it as it is"
                raise refuse(group, "lastspike", f"has been set; {hint}")
            if not group.variables["not_refractory"].get_value().all():
                hint = "a trial begins with neurons that can spike; leave it as it is"
                raise refuse(group, "not_refractory", f"has been set; {hint}")
        elif any("unless refractory" in e.flags for e in scope.equations.values()):
            hint = "leave (unless refractory) out, or give a period"
            raise refuse(group, "refractory", f"states are held (unless refractory), and there is none; {hint}")
        threshold = group.events.get("spike")
        period = _Period() if threshold is None else self._period(threshold)
        held: dict[str, tuple[str, str | None]] = {}
        derivatives: dict[str, str] = {}
        for name, e in scope.equations.items():
            key = f"equations.{name}"
            if e.type != DIFFERENTIAL_EQUATION:
                continue
            if e.stochastic_variables:
                noise = " and ".join(sorted(e.stochastic_variables))
                hint = "take it out, or put a drawn TimedArray in its place"
                raise refuse(group, key, f"noise ({noise}) has no gradient; {hint}")
            text = e.expr.code
            with located(place(group), key):
                factor, rest = _factor(text)
            if period.there and (factor == _FREE or (period.duration is not None and factor not in ("", _FREE))):
                held[name], text = ("apply", None if factor == _FREE else factor), rest
            elif period.there and "unless refractory" in e.flags:
                held[name] = ("ignore", None)
            derivatives[name] = scope.read(text, key)
        if threshold is not None:
            document["threshold"] = self._threshold(threshold)
            document["reset"] = self._reset(group.event_codes.get("spike") or "")
            if (refractory := self._refractory(period, held)) is not None:
                document["refractory"] = refractory
        for name in scope.state_names:
            if name not in derivatives:
                unit = self._unit(name)
                derivatives[name] = "0/second" if unit == "1" else f"0*{unit}/second"
        if not derivatives:
            raise refuse(group, "equations", "has no differential equation, and nothing changes it; leave it out")
        lines = (f"d{name}/dt = {rhs} : {self._unit(name)}" for name, rhs in derivatives.items())
        document["equations"] = "\n".join(lines)
        document["states"] = {name: {"initial": scope.initial(name)} for name in scope.state_names}
        return document

    def _whole(self) -> dict[str, Any]:
        """The template of the neuron, with all that it and its synapses have been found to read."""
        scope = self.scope
        document = dict(self._neuron)
        lines, states = [document["equations"]], dict(document["states"])
        for name, (line, initial) in scope.own_states().items():
            lines.append(line)
            states[name] = {"initial": initial}
        lines += [f"{name} = {text} : {self._unit(name)}" for name, text in scope.subexpressions.items()]
        document |= {"equations": "\n".join(lines), "states": states}
        if scope.last_spike and "reset" in document:
            # Brian2 knows of the spike before it resets anything
            document["reset"] = [f"{scope.last_spike} = {scope.time}", *document["reset"]]
        document["inputs"] = {
            c.name: {"unit": unit_of_dimension(c.array.dim), "description": f"the TimedArray {c.name!r}"}
            for c in scope.currents
        }
        return {**document, "parameters": self._tables(self._used(document))}

    def _unit(self, name: str) -> str:
        return unit_of_dimension(self.scope.equations[name].dim)

    def _threshold(self, condition: str) -> str:
        """``left > right``, whichever way round the script writes it."""
        with located(place(self.group), "threshold"):
            tree = parse(condition).body
        match tree:
            case ast.Compare(left=left, ops=[op], comparators=[right]) if isinstance(op, _CROSSINGS):
                sides = [self.scope.read(ast.unparse(side), "threshold") for side in (left, right)]
                return " > ".join(sides if isinstance(op, ast.Gt | ast.GtE) else sides[::-1])
        hint = "write one comparison, such as v > v_th; what else silences a neuron is its refractory period"
        raise refuse(self.group, "threshold", f"{condition!r} is no crossing of a threshold; {hint}")

    def _reset(self, code: str) -> list[str]:
        group, scope = self.group, self.scope
        statements = []
        shorthands = Shorthands(group, "reset")

        def lookup(name: str) -> str | None:
            return shorthands.get(name) or scope.internal(name, group, "reset")

        for s in read_statements(code, place(group), "reset"):
            text = scope.expression(s.expression, group, "reset", lookup)
            if s.variable in scope.state_names:
                statements.append(f"{s.variable} {s.operator} {text}")
                shorthands.state_changed(s.variable)
            elif s.operator == "=" and s.variable not in group.variables:
                shorthands.define(s.variable, text)
            else:
                raise refuse(group, "reset", f"{str(s)!r} assigns to {s.variable!r}, which is no state of the group")
        return statements

    def _period(self, threshold: str) -> _Period:
        """What silences the neuron after a spike, as it is written."""
        group = self.group
        text = group._refractory
        if text is False:
            return _Period()
        if not isinstance(text, str):
            return _Period(True, text)
        with located(place(group), "refractory"):
            tree = without_grid(parse(text).body)
            wanted = ast.dump(parse(threshold).body)
        if not isinstance(tree, ast.Compare | ast.BoolOp | ast.UnaryOp):
            return _Period(True, text)
        if ast.dump(tree) == wanted:
            return _Period(True, latched=True)
        if (duration := _since_spike(tree)) is not None:
            return _Period(True, duration)
        if isinstance(tree, ast.BoolOp):
            why = "which isn't read: where the neuron is above its threshold at the end of a time depends on its states"
            raise refuse(
                group, "refractory", f"{text!r} joins conditions, {why}; give the time alone, or the threshold"
            )
        hint = "give a time, t - lastspike < a time, or the threshold itself"
        raise refuse(group, "refractory", f"the condition {ast.unparse(tree)!r} isn't read; {hint}")

    def _refractory(self, period: _Period, held: Mapping[str, tuple[str, str | None]]) -> dict[str, Any] | None:
        """The table of a refractory period; None where there is none, or the neuron only has to come below again."""
        group, scope = self.group, self.scope
        self._until_below = period.latched
        if period.latched and any(longer is None for _, longer in held.values()):
            hint = "leave out (unless refractory), or give a period as a time"
            raise refuse(group, "refractory", f"{group._refractory!r} would hold states above the threshold; {hint}")
        if period.duration is None:
            return None
        kinds = dict.fromkeys(held.values())
        if len(kinds) > 1:
            hint = "mark all of them by (unless refractory), or none"
            raise refuse(group, "refractory", f"states are held in several ways, which isn't read; {hint}")
        arrivals, longer = next(iter(kinds), ("ignore", None))
        text = period.duration
        table = {
            "duration": scope.read(text, "refractory") if isinstance(text, str) else scope.period(text),
            "hold": list(held),
            "arrivals": arrivals,
        }
        return table if longer is None else {**table, "hold_duration": scope.read(longer, "refractory")}

    def _used(self, document: Mapping[str, Any]) -> set[str]:
        """Which constants the template of the neuron reads."""
        texts = [s["initial"] for s in document["states"].values()]
        if "threshold" in document:
            texts += parse_threshold(document["threshold"])
            texts += [s.expression for s in parse_statements(document["reset"])]
        if "refractory" in document:
            table = document["refractory"]
            texts += [table[key] for key in ("duration", "hold_duration") if key in table]
        used = {name for text in texts for name in free_names(text)}
        return used | {name for line in document["equations"].splitlines() for name in _right_side(line)}

    def _tables(self, names: Collection[str]) -> dict[str, dict[str, Any]]:
        """Parameters as a template declares them; the value of the first neuron is the default."""
        tables = {}
        for name, c in self.constants.items():
            if name not in names:
                continue
            value = float(np.ravel(c.value)[0])
            default = value if c.unit == "1" else f"{value!r}*{c.unit}"
            tables[name] = {
                "default": default,
                "unit": c.unit,
                "description": c.description,
                "positive": c.positive,
            }
        return tables

    def _check(self, model: Model) -> None:
        """Refuse what has no derivative, and spikes whose continuous limit would be none."""
        group = self.group
        try:
            system = hybrid_system(model)
            driven_system(model, [c.name for c in self.scope.currents])
        except UnsupportedExpression as error:
            raise refuse(group, "equations", str(error)) from None
        if system.latch is None or self._until_below:
            return
        once = f"refractory={group.events['spike']!r} says that it spikes again only when it has been below"
        above = "a spike leaves the neuron above its threshold"
        if group._refractory is False:
            raise refuse(group, "reset", f"{above}, so that Brian2's spikes in every step; {once}")
        warnings.warn(
            f"{place(group)}: {above}. It is read as one that spikes again only when it has been below, where Brian2's "
            f"would at the end of its refractory period; {once} in Brian2, too",
            stacklevel=4,
        )


def _right_side(line: str) -> list[str]:
    """Names on the right side of an equation."""
    return list(free_names(line.partition("=")[2].rpartition(":")[0]))


WEIGHT = "_weight"
"""Stands for the weight in the statements of receptors; no variable of Brian2 begins so."""


_FREE = "not_refractory"
_ADDED = ("+=", "-=")


@dataclass(frozen=True)
class _Period:
    """A refractory period as it is written: whether there is one, how long, and whether being above is one, too."""

    there: bool = False
    duration: Any = None
    latched: bool = False


def _factor(text: str) -> tuple[str, str]:
    """What stands before a right side: ``int(not_refractory)*``, or ``int(t - lastspike >= T)*``, whose T it is."""
    match parse(text).body:
        case ast.BinOp(left=ast.Call(func=ast.Name(id="int"), args=[condition]), op=ast.Mult(), right=right):
            if ast.unparse(condition) == _FREE:
                return _FREE, ast.unparse(right)
            since = _since_spike(ast.UnaryOp(ast.Not(), without_grid(condition)))
            return since or "", ast.unparse(right)
    return "", text


def _since_spike(term: ast.expr) -> str | None:
    """The time T of ``t - lastspike < T``, as it may be written; None for another condition."""
    match term:
        case ast.UnaryOp(op=ast.Not(), operand=ast.Compare(left=left, ops=[ast.Gt() | ast.GtE()], comparators=[right])):
            pass
        case ast.Compare(left=left, ops=[ast.Lt() | ast.LtE()], comparators=[right]):
            pass
        case _:
            return None
    return ast.unparse(right) if ast.unparse(left) == "t - lastspike" else None
