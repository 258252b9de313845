"""The language of losses that are written as expressions: what it reads, and sums over what.

An expression is read by the package's own parser, stage by stage: what a sum is taken of is a stage of its own, and
stands in the next one under a name. Every stage is a SymPy expression, so that its derivatives are symbolic.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import sympy as sp

from ..symbolic.flows import evaluate
from ..symbolic.parsing import CORNERS, FUNCTIONS, UnsupportedExpression, parse_expression
from ..templates.errors import brief, suggest
from ..templates.expressions import is_name, parse

__all__ = ["NAMES", "READINGS", "Read", "Stage", "Written", "compiled"]

NAMES = ("t", "first_spike", "t_sample", "is_label")
"""What an expression may name beside constants and targets."""

READINGS = ("maximum", "final", "sample", "integral")
"""What an expression may read of states, as in ``maximum(v)``."""

_SUMS = {"sum_spikes": "spike", "sum_samples": "sample", "sum_neurons": "neuron"}


class Read(NamedTuple):
    """What an expression reads of the network.

    Attributes
    ----------
    kind : str
        ``"t"``, ``"first_spike"`` or one of `READINGS`.
    of : str
        A state, or the integrand; empty for spikes.
    """

    kind: str
    of: str = ""

    @property
    def each(self) -> str:
        """Of what there is one value: of every ``"spike"``, ``"sample"`` or ``"neuron"``."""
        return {"t": "spike", "sample": "sample"}.get(self.kind, "neuron")


@dataclass(frozen=True)
class Stage:
    """What is summed.

    Attributes
    ----------
    text : str
        In Brian2's syntax, over names and placeholders.
    expression : Expr
    each : str
        Of what it has one value: of every ``"spike"``, ``"sample"``, ``"neuron"`` or ``"trial"``.
    over : str
        What it is summed over; ``"all"`` for the last stage.
    """

    text: str
    expression: sp.Expr
    each: str
    over: str


@dataclass(frozen=True)
class Written:
    """An expression with everything that is known without the network.

    Attributes
    ----------
    reads : mapping of str to Read
        By placeholder.
    stages : mapping of str to Stage
        By placeholder, in the order in which they can be computed; the last is the loss of a trial.
    names : frozenset of str
        Names that it uses beside placeholders.
    """

    text: str
    reads: Mapping[str, Read]
    stages: dict[str, Stage]
    names: frozenset[str]

    def in_words(self, message: str) -> str:
        """A message with what was written in the places of placeholders."""
        return _in_words(message, self.reads, self.stages)

    def value(
        self,
        values: Mapping[str, np.ndarray],
        there: Mapping[str, np.ndarray],
        shape: tuple[int, int, Mapping[str, int]],
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The expression for every trial, and the derivative of their sum by every reading.

        Parameters
        ----------
        values : mapping of str to array
            Of readings by placeholder and of names; of shapes that broadcast to ``(trials, neurons, items)``.
        there : mapping of str to bool array
            Where values are: for those that have gaps, in their shapes.
        shape : tuple of int, int and mapping of str to int
            Trials, neurons, and how many places there are for each ``"spike"`` and ``"sample"`` of a neuron.

        Returns
        -------
        value : array, shape (trials,)
        derivatives : dict of str to array
            By placeholder, in the shape of the reading.

        Raises
        ------
        ValueError
            If a value or derivative is not finite.
        """
        run = _Run(self, values, there, shape)
        return run.forward(), run.backward()

    def scores(
        self,
        values: Mapping[str, np.ndarray],
        there: Mapping[str, np.ndarray],
        shape: tuple[int, int, Mapping[str, int]],
    ) -> np.ndarray:
        """The last stage for every neuron, -inf where it reads what is not there; shape (trials, n).

        Parameters
        ----------
        values, there, shape
            As for `value`.
        """
        run = _Run(self, values, there, shape)
        run.forward()
        stage, mask = run.results[-1]
        return np.where(mask, stage, -np.inf)[:, :, 0]


def _unknown(text: str, function: str) -> str:
    """What to say of a function that no expression has, or that integrals alone have."""
    if function in CORNERS:
        return (
            f"{brief(text)}: {function} has a corner or a jump, and is taken within integral(...) alone; here write a "
            "smooth function, as sqrt(x**2 + d**2) for abs(x), or a FunctionLoss with its derivative"
        )
    known = sorted((*FUNCTIONS, *_SUMS, *READINGS))
    close = suggest(function, known) if len(function) > 3 else ""  # nearly all short names are near one another
    hint = close if close.startswith("did") else f"there is {', '.join(known)}"
    more = f"within integral() {', '.join(CORNERS)} too"
    return f"{brief(text)} calls {brief(function)}, which is unknown; {hint}; {more}"


def _in_words(message: str, reads: Mapping[str, Read], stages: dict[str, Stage]) -> str:
    for name in reversed(stages):
        over = next((call for call, each in _SUMS.items() if each == stages[name].over), "sum")
        message = message.replace(name, f"{over}({stages[name].text})")
    for name, read in reads.items():
        message = message.replace(name, f"{read.kind}({read.of})" if read.of else read.kind)
    return message


class _Run:
    """One batch through the stages of an expression."""

    def __init__(
        self,
        written: Written,
        values: Mapping[str, np.ndarray],
        there: Mapping[str, np.ndarray],
        shape: tuple[int, int, Mapping[str, int]],
    ) -> None:
        self.written, self.values, self.there, self.shape = written, dict(values), there, shape
        self.results: list[tuple[np.ndarray, np.ndarray]] = []  # of every stage: values, and where they count

    def _shape(self, stage: Stage) -> tuple[int, int, int]:
        trials, n, items = self.shape
        return {"trial": (trials, 1, 1), "neuron": (trials, n, 1)}.get(stage.each) or (trials, n, items[stage.each])

    def _compute(self, expression: sp.Expr, mask: np.ndarray, what: str) -> np.ndarray:
        numbers = {s: self.values[s.name] for s in expression.free_symbols}
        with np.errstate(all="ignore"):
            found = np.where(mask, np.broadcast_to(evaluate(expression, numbers), mask.shape), 0.0)
        if not np.isfinite(found).all():
            trial, neuron, item = (int(i) for i in np.argwhere(~np.isfinite(found))[0])
            raise ValueError(
                f"{brief(self.written.text)}: {what} is not finite in trial {trial}, neuron {neuron}, number {item}"
            )
        return found

    def forward(self) -> np.ndarray:
        """Values of all stages; those of the last, summed for every trial."""
        for name, stage in self.written.stages.items():
            shape, used = self._shape(stage), [s.name for s in stage.expression.free_symbols]
            for s in used:
                if any(a not in (1, b) for a, b in zip(self.values[s].shape, shape, strict=True)):
                    raise ValueError(
                        f"{brief(self.written.text)}: {s!r} has a value for every spike or sample of every neuron, and "
                        f"stands where there is one of each {stage.each}"
                    )
            mask = np.ones(shape, dtype=bool)
            for s in used:
                if s in self.there:
                    mask &= self.there[s]
            found = self._compute(stage.expression, mask, "its value")
            self.results.append((found, mask))
            axes = {"neuron": (1,), "all": (1, 2)}.get(stage.over, (2,))
            self.values[name] = found.sum(axis=axes, keepdims=True)
        return self.values[name][:, 0, 0]

    def backward(self) -> dict[str, np.ndarray]:
        """Derivatives of the sum over trials by every reading."""
        known = {*self.written.reads, *self.written.stages}
        last = next(reversed(self.written.stages))
        gradients = {name: np.zeros(self.values[name].shape) for name in known}
        gradients[last] = np.ones(self.values[last].shape)
        for (name, stage), (_, mask) in zip(
            reversed(self.written.stages.items()), reversed(self.results), strict=True
        ):
            for s in stage.expression.free_symbols:
                if s.name not in known:
                    continue
                what = self.written.in_words(f"its derivative by {s.name}")
                slope = self._compute(sp.diff(stage.expression, s), mask, what)
                pulled = slope * gradients[name]
                to = gradients[s.name]
                axes = tuple(k for k in range(3) if to.shape[k] == 1 and pulled.shape[k] > 1)
                to += pulled.sum(axis=axes, keepdims=True) if axes else pulled
        return {name: gradients[name] for name in self.written.reads}


@dataclass
class _Reader(ast.NodeTransformer):
    """Takes an expression apart: readings and sums become placeholders."""

    text: str
    known: frozenset[str]
    reads: dict[Read, str] = field(default_factory=dict)
    stages: dict[str, Stage] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def stage(self, node: ast.expr, over: str) -> Stage:
        """A part of the expression."""
        rewritten = ast.unparse(self.visit(node))
        try:
            expression = parse_expression(rewritten)
        except UnsupportedExpression as error:
            raise UnsupportedExpression(self._own_words(str(error))) from None
        used = {n.id for n in ast.walk(parse(rewritten)) if isinstance(n, ast.Name)} - set(FUNCTIONS)
        idle = sorted(used & self._placeholders() - {s.name for s in expression.free_symbols})
        if idle:
            raise ValueError(f"{brief(self.text)} does not depend on {self._own_words(idle[0])}, which it names")
        each = {self._each(name) for name in used}
        for level in ("spike", "sample", "neuron"):
            if level in each:
                break
        else:
            level = "trial"
        if {"spike", "sample"} <= each:
            raise ValueError(
                f"{brief(self.text)} combines single spikes with single samples; sum one of them, as in "
                "sum_spikes(...), or add two losses"
            )
        return Stage(rewritten, expression, level, over)

    def _placeholders(self) -> set[str]:
        return {*self.reads.values(), *self.stages}

    def _own_words(self, message: str) -> str:
        return _in_words(message, {name: read for read, name in self.reads.items()}, self.stages)

    def _each(self, name: str) -> str:
        if name in self.stages:
            return {"spike": "neuron", "sample": "neuron"}.get(self.stages[name].over, "trial")
        read = next((r for r, placeholder in self.reads.items() if placeholder == name), None)
        if read is not None:
            return read.each
        return {"t_sample": "sample", "is_label": "neuron"}.get(name, "trial")

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Spikes by their placeholder; other names stay, if they are known."""
        if node.id in ("t", "first_spike"):
            return self._read(Read(node.id))
        if node.id not in self.known:
            raise ValueError(
                f"{brief(self.text)}: unknown name {node.id!r}; {suggest(node.id, self.known)} (a state is read as in "
                f"{READINGS[0]}(v), {READINGS[1]}(v), {READINGS[2]}(v) or {READINGS[3]}(v**2))"
            )
        self.names.add(node.id)
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """Readings and sums by their placeholders; the arguments of functions are visited."""
        function = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
        if function not in (*FUNCTIONS, *_SUMS, *READINGS):
            raise ValueError(_unknown(self.text, function))
        if len(node.args) != 1 or node.keywords:
            raise ValueError(f"{brief(self.text)}: {function} takes one argument")
        argument = node.args[0]
        if function in READINGS:
            if function != "integral" and not isinstance(argument, ast.Name):
                raise ValueError(
                    f"{brief(self.text)}: {function} takes a state, as in {function}(v), not {ast.unparse(argument)!r}"
                )
            if function == "integral":
                parse_expression(ast.unparse(argument))  # what has no derivative is refused before there is a network
            return self._read(Read(function, ast.unparse(argument)))
        if function not in _SUMS:
            return ast.Call(node.func, [self.visit(argument)], [])
        stage, over = self.stage(argument, _SUMS[function]), _SUMS[function]
        if stage.each != over:
            more = "; sum over these first" if over == "neuron" and stage.each != "trial" else ""
            more = more or "; to count spikes, see CountError" if over == "spike" else more
            raise ValueError(
                f"{brief(self.text)}: {function} takes what has a value for each {over}, and "
                f"{brief(ast.unparse(argument))} has one for each {stage.each}{more}"
            )
        name = f"_s{len(self.stages)}"
        self.stages[name] = stage
        return ast.Name(name)

    def _read(self, read: Read) -> ast.Name:
        return ast.Name(self.reads.setdefault(read, f"_r{len(self.reads)}"))


@lru_cache(256)
def compiled(text: str, names: tuple[str, ...], score: bool = False) -> Written:
    """An expression, taken apart.

    Parameters
    ----------
    text : str
    names : tuple of str
        Of constants and targets.
    score : bool
        Whether it has to have a value for each neuron.

    Raises
    ------
    ValueError
        If it can't be read, calls or names something unknown, sums over what it hasn't, or reads nothing of a network.
    """
    for name in names:
        if not is_name(name) or name.startswith("_"):
            raise ValueError(f"{brief(name)} is no name for a constant or target; expected letters and digits")
        if name in (*NAMES, *READINGS, *_SUMS, *FUNCTIONS):
            raise ValueError(f"{name!r} means something in every loss already; choose another name")
    reader = _Reader(text, frozenset((*NAMES, *names)))
    last = reader.stage(parse(text).body, "all")
    if not reader.reads:
        raise ValueError(f"{brief(text)} reads nothing of the network; expected t, first_spike or a reading of a state")
    if score and last.each != "neuron":
        raise ValueError(f"score {brief(text)}: expected a value for each neuron, got one for each {last.each}")
    stages = {**reader.stages, f"_s{len(reader.stages)}": last}
    reads = {name: read for read, name in reader.reads.items()}
    return Written(text, reads, stages, frozenset(reader.names))


