"""All partial derivatives at once, against SymPy's one by one."""

from __future__ import annotations

import pytest
import sympy as sp

from snnmodels.symbolic.divided_differences import ExpDD, exprel
from snnmodels.symbolic.flows import evaluate
from snnmodels.symbolic.parsing import symbol
from snnmodels.symbolic.partials import partials
from snnmodels.symbolic.steps import Step
from snnmodels.symbolic.declaration import hybrid_system
from snnmodels.templates import load_model

X, Y, P, Q = map(symbol, "xypq")

EXPRESSIONS = [
    X * Y * P + Q,
    (X + Y) ** 3 * sp.exp(-X / P) / (1 + Y**2),
    3 * (X - Y) * (P - Q) / (P + Q) ** 2,
    P ** (X * Y) + 2**X,
    sp.sqrt(X**2 + Y) - Y ** Q,
    exprel(X * P) * ExpDD(X, Y * P, X, sp.Integer(0)),
    Step(X - Y) * X + sp.log(1 + sp.exp((X - P) / Q)),
    sp.tanh(X / P) * sp.cos(Y) + sp.atan(X * Y),
    sp.Integer(7),
    X,
]


@pytest.mark.parametrize("e", EXPRESSIONS, ids=str)
def test_they_are_those_of_sympy(e: sp.Expr) -> None:
    found = partials(e, {X, Y, P})
    assert list(found) == sorted(e.free_symbols & {X, Y, P}, key=str)
    at = {X: 0.3, Y: 1.7, P: 0.9, Q: 2.1}
    for s, d in found.items():
        wanted = sp.diff(e, s)
        assert evaluate(d, at) == pytest.approx(evaluate(wanted, at), rel=1e-14), s


@pytest.mark.parametrize("name", ["two_compartment_lif", "hill_tononi"])
def test_they_are_as_short_as_those_of_sympy(name: str) -> None:
    """Of all equations of a model, by all that they read; a sign more or less does not count."""
    system = hybrid_system(load_model(name))
    known = {*system.states, *system.parameters}
    # a point at which all are finite, though it is none of the model's
    at = {x: 0.1 + 0.01 * k for k, x in enumerate(sorted(known, key=str))}
    length = theirs = 0
    for e in system.f.values():
        for s, d in partials(e, known).items():
            wanted = sp.diff(e, s)
            length, theirs = length + sp.count_ops(d), theirs + sp.count_ops(wanted)
            assert evaluate(d, at) == pytest.approx(evaluate(wanted, at), rel=1e-12), (e, s)
    assert length <= 1.01 * theirs
