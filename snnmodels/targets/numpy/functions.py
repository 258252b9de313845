"""Rules printed as NumPy functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...events.rule import Rule
from ...symbolic.divided_differences import NUMPY_FUNCTIONS
from ...symbolic.parsing import print_expression
from ...symbolic.programs import Program

__all__ = ["Function", "function"]

_NAMES = ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sqrt")
_ARRAYS: dict[str, Any] = {n: getattr(np, n) for n in _NAMES} | {"arctan": np.arctan}
_ARRAYS |= NUMPY_FUNCTIONS
_NUMBERS: dict[str, Any] = {n: getattr(math, n) for n in _NAMES} | {"arctan": math.atan, **NUMPY_FUNCTIONS}

Values = Sequence[float | np.ndarray]


class Function:
    """A rule as a function over lanes.

    What depends on parameters and time alone is computed once for all lanes, with Python's numbers where all neurons
    have the same parameters and all lanes the same time.

    Attributes
    ----------
    parameters : tuple of int
        Places of the parameters that the rule reads.
    """

    def __init__(self, rule: Rule) -> None:
        once, each = rule.parts
        self.n = len(rule.outputs)
        reads = {s.name for s in once.inputs}
        self.parameters = tuple(sorted(int(n[1:]) for n in reads if n != "s"))
        constants = list(once.outputs)
        arguments = [*(f"p{k}" for k in self.parameters), "s"]
        self._numbers = _printed(once, arguments, constants, _NUMBERS)
        self._arrays = _printed(once, arguments, constants, _ARRAYS)
        self._each = _printed(each, [*constants, *rule.inputs], rule.outputs, _ARRAYS)

    def __call__(self, p: Values, s: float | np.ndarray, rows: Sequence[np.ndarray | float], m: int) -> np.ndarray:
        """The outputs for `m` lanes.

        Parameters
        ----------
        p : sequence of float or array, shape (m,)
            Values of `parameters`.
        s : float or array, shape (m,)
            Time that passes, for rules that read it.
        rows : sequence of array, shape (m,), or float
            The rule's inputs.

        Returns
        -------
        array, shape (n_outputs, m)
        """
        try:
            once = (self._arrays if _has_array(p, s) else self._numbers)(*p, s)
        except (ArithmeticError, ValueError):  # Python's numbers raise where NumPy's become inf or nan
            once = self._arrays(*(np.float64(v) for v in p), np.float64(s))
        result = np.empty((self.n, m))
        for row, value in zip(result, self._each(*once, *rows), strict=True):
            row[:] = value
        return result


def _has_array(p: Values, s: float | np.ndarray) -> bool:
    return isinstance(s, np.ndarray) or any(isinstance(v, np.ndarray) for v in p)


def _printed(
    program: Program, arguments: Sequence[str], outputs: Sequence[str], scope: dict[str, Any]
) -> Callable[..., tuple]:
    body = [f"    {line}" for line in program.lines()]
    result = "".join(f"{print_expression(program.outputs[k])}, " for k in outputs)
    source = "\n".join([f"def rule({', '.join(arguments)}):", *body, f"    return ({result})"])
    names = dict(scope)
    exec(compile(source, "<rule>", "exec"), names)  # source is printed from SymPy, never from a user's text
    return names["rule"]


_KNOWN: dict[int, tuple[Rule, Function]] = {}


def function(rule: Rule) -> Function:
    """A rule printed; once for each rule."""
    if id(rule) not in _KNOWN:
        if len(_KNOWN) > 4096:
            _KNOWN.clear()
        _KNOWN[id(rule)] = (rule, Function(rule))  # the rule is kept, so that its id stays its own
    return _KNOWN[id(rule)][1]
