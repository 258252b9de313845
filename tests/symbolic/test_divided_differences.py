"""Divided differences of the exponential against matrix exponentials and their own recursion."""

import numpy as np
import pytest
import sympy as sp
from scipy.linalg import expm

from snnmodels.symbolic.divided_differences import MAX_NODES, ExpDD, expdd

NODES = [
    (-0.3, -0.3),
    (-0.1, -0.1 - 1e-9),
    (-0.05, -0.2, 0.0),
    (-0.2, -0.2, -0.2),
    (-1.0, -1.0 - 1e-7, -0.4, -0.4),
    (-4.0, -0.1, 0.0),
    (-9.0, -3.0, -3.0, -0.5, 0.0),
]


@pytest.mark.parametrize("nodes", NODES)
def test_equals_the_exponential_of_a_bidiagonal_matrix(nodes: tuple[float, ...]) -> None:
    # exp of a matrix with the nodes on the diagonal and ones above it has the difference in its corner (Opitz 1964)
    matrix = np.diag(nodes) + np.diag(np.ones(len(nodes) - 1), 1)
    assert float(expdd(*nodes)) == pytest.approx(expm(matrix)[0, -1], rel=2e-13)


def test_elementwise_over_arrays() -> None:
    x, y = np.array([-0.5, -0.2, -0.2]), np.array([-0.1, -0.2, -6.0])
    expected = [(np.exp(-0.5) - np.exp(-0.1)) / -0.4, np.exp(-0.2), (np.exp(-0.2) - np.exp(-6.0)) / 5.8]
    np.testing.assert_allclose(expdd(x, y), expected, rtol=1e-14)


def test_derivative_repeats_the_node() -> None:
    a, b = sp.symbols("a b", real=True)
    assert sp.diff(ExpDD(a, b), a) == ExpDD(a, a, b)
    assert sp.diff(ExpDD(a, a, b), a) == 2 * ExpDD(a, a, a, b)
    step = 1e-6
    difference = (expdd(-0.3 + step, -0.7) - expdd(-0.3 - step, -0.7)) / (2 * step)
    assert float(expdd(-0.3, -0.3, -0.7)) == pytest.approx(float(difference), rel=1e-9)


def test_that_of_equal_nodes_is_an_exponential() -> None:
    a = sp.Symbol("a", real=True)
    assert ExpDD(a, a) == sp.exp(a)
    assert ExpDD(a, a, a) == sp.exp(a) / 2


def test_too_many_nodes_are_refused() -> None:
    with pytest.raises(ValueError, match=f"at most {MAX_NODES} are supported"):
        ExpDD(*sp.symbols(f"x:{MAX_NODES + 1}"))
