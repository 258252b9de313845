"""The rules of a model over the neurons of a population, with the values of their parameters."""

from __future__ import annotations

import numpy as np

from ...events.rules import Rules
from .functions import function

__all__ = ["Parametrised"]


class Parametrised:
    """Neurons with values for the parameters of their rules.

    Attributes
    ----------
    p : list of float or array
        Parameter values by place.
    """

    def __init__(self, rules: Rules, n: int) -> None:
        self.rules, self.n = rules, n
        self.functions = {name: function(rule) for name, rule in rules.rules.items()}
        self.p: list[float | np.ndarray] = []

    def __call__(
        self,
        rule: str,
        *rows: np.ndarray | float,
        s: float | np.ndarray = 0.0,
        which: np.ndarray | None = None,
    ) -> np.ndarray:
        """A rule for all neurons, or for those of the places `which`; shape (n_outputs, m)."""
        f = self.functions[rule]
        if which is None:
            return f([self.p[k] for k in f.parameters], s, rows, self.n)
        p = [v[which] if isinstance(v := self.p[k], np.ndarray) else v for k in f.parameters]
        return f(p, s, rows, len(which))
