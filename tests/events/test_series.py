"""Taylor series of the flow: the program, its coefficients against mpmath, its adjoint against differences."""

from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import mpmath
import numpy as np
import pytest
import sympy as sp

from snnmodels.events.series import KINDS, SeriesProgram
from snnmodels.symbolic.declaration import hybrid_system
from snnmodels.symbolic.parsing import UnsupportedExpression, parse_expression, symbol
from snnmodels.symbolic.system import HybridSystem
from snnmodels.targets import cpp
from snnmodels.targets.compilation import library
from snnmodels.targets.cpp.series import flags, print_series
from snnmodels.targets.numpy.series import Series
from snnmodels.templates import load_model
from tests.needs import COMPILER

RUNTIME = Path(cpp.__file__).parent / "runtime"
FLAGS = (
    *("-std=c++17", "-O2", "-march=native", "-Wall", "-Werror", f"-I{RUNTIME}"),
    *("-Wno-psabi", "-Wno-uninitialized"),  # the latter in a header of GCC 12
)
ADEX = "eif+exp_synapse+current_adaptation+subthreshold_adaptation"


def system(
    name: str,
    f: Mapping[str, str],
    parameters: Mapping[str, float],
    g: str | None = None,
    h: Mapping[str, str] | None = None,
) -> HybridSystem:
    """A system from text, its states starting at 0."""
    states = tuple(symbol(x) for x in f)
    text = {symbol(x): parse_expression(e) for x, e in (h or {}).items()}
    return HybridSystem(
        name=name,
        states=states,
        parameters=tuple(symbol(p) for p in parameters),
        f={symbol(x): parse_expression(e) for x, e in f.items()},
        g=None if g is None else parse_expression(g),
        h={x: text.get(x, x) for x in states},
        arrivals={},
        initial=dict.fromkeys(states, sp.Integer(0)),
        defaults={symbol(p): v for p, v in parameters.items()},
        units={symbol(x): "1" for x in (*f, *parameters)},
    )


def hodgkin_huxley() -> HybridSystem:
    """The squid axon of 1952 as a user writes it: quotients with removable singularities; mV, ms; no reset."""
    return system(
        "hodgkin_huxley",
        {
            "v": "(g_Na*m**3*h*(E_Na - v) + g_K*n**4*(E_K - v) + g_L*(E_L - v) + I + I_e)/C",
            "m": "0.1*(v + 40)/(1 - exp(-(v + 40)/10))*(1 - m) - 4*exp(-(v + 65)/18)*m",
            "h": "0.07*exp(-(v + 65)/20)*(1 - h) - h/(1 + exp(-(v + 35)/10))",
            "n": "0.01*(v + 55)/(1 - exp(-(v + 55)/10))*(1 - n) - 0.125*exp(-(v + 65)/80)*n",
            "I": "-I/tau",
        },
        {
            "C": 1,
            "g_Na": 120,
            "g_K": 36,
            "g_L": 0.3,
            "E_Na": 50,
            "E_K": -77,
            "E_L": -54.4,
            "I_e": 8,
            "tau": 2,
            "v_th": 0,
        },
        "v - v_th",
    )


def conductance() -> HybridSystem:
    """A leaky integrate-and-fire neuron with conductances, one of them through NMDA receptors; mV, ms, nS."""
    return system(
        "conductance",
        {
            "v": "(g_L*(E_L - v) - g*v - s*v/(1 + Mg/3.57*exp(-v/V_Mg)) + I_e)/C",
            "g": "-g/tau",
            "s": "-s/tau_s",
        },
        {
            "C": 250,
            "g_L": 17,
            "E_L": -70,
            "tau": 2,
            "tau_s": 40,
            "Mg": 1,
            "V_Mg": 16.1,
            "I_e": 200,
            "v_th": -55,
            "v_r": -60,
        },
        "v - v_th",
        {"v": "v_r", "s": "s + 1"},
    )


def zoo() -> HybridSystem:
    """Every function there is, and an event function that is not affine."""
    return system(
        "zoo",
        {
            "x": "0.1*q + a*sin(x*y) + cos(x*y)/(2 + x) + tanh(y - x) + log(1 + exp(3*x - b)) + sqrt(y)*x**3",
            "y": "tan(x/4) + arctan(a*y) + sinh(x)/cosh(y) + y**b + x**(-2) + 2**x/(1 + exp(x/b)) + y**0.3 + log(y*a)",
            "z": "(y - z)/(exp((y - z)/b) - 1) + y**x - 1/(3 + 2*exp(z)) + x*x/(x*y) + exp(a)",
            "w": "b",
            "q": "0",
        },
        {"a": 0.7, "b": 1.3, "level": 4.0},
        "x*y + exp(z/3) - level*(1 + w)",
        {"x": "0.5 + 0.1*x", "y": "y/2 + 0.2", "z": "z - a"},
    )


def library_system(name: str) -> HybridSystem:
    return hybrid_system(load_model(name))


def held() -> HybridSystem:
    """A leak towards a state that is held; no threshold."""
    return system("held", {"x": "y - x/tau", "y": "0"}, {"tau": 2.0})


SYSTEMS: dict[str, Callable[[], HybridSystem]] = {
    "qif": lambda: library_system("qif+exp_synapse"),
    "eif": lambda: library_system("eif+exp_synapse"),
    "adex": lambda: library_system(ADEX),
    "hodgkin_huxley": hodgkin_huxley,
    "conductance": conductance,
    "zoo": zoo,
}
STATES = {
    "qif": [[-0.05, 0.01, -0.07], [0.02, 0.1, 0.0]],
    "eif": [[-0.059, -0.045, -0.07], [0.01, 0.02, 0.0]],
    "adex": [[-0.059, -0.045, -0.07], [0.01, 0.02, 0.0], [0.001, 0.0, 0.01]],
    # at and beside the singularities of the rates
    "hodgkin_huxley": [[-40, -55.0001, -41], [0.05, 0.9, 0.2], [0.6, 0.1, 0.5], [0.3, 0.7, 0.4], [5, 0, 20]],
    "conductance": [[-60, -56, -65], [20, 0, 5], [1, 30, 4]],
    "zoo": [[0.5, 0.9, 1.1], [1.2, 0.8, 1.5], [0.3, 0.8001, -0.5], [0.1, 0.2, 0.3], [1, 2, 3]],
}


@functools.cache
def built(name: str) -> tuple[HybridSystem, SeriesProgram, Series]:
    given = held() if name == "held" else SYSTEMS[name]()
    program = SeriesProgram.of(given)
    return given, program, Series(program)


def parameters(given: HybridSystem, lanes: int) -> np.ndarray:
    """Defaults, a little different in every lane."""
    values = np.array([given.defaults[p] for p in given.parameters], dtype=float)[:, None]
    return values * (1 + 1e-3 * np.cos(np.arange(values.size)[:, None] + np.arange(lanes)))


def padded(name: str) -> np.ndarray:
    """Eight lanes of states."""
    return np.ascontiguousarray(np.array(STATES[name], dtype=float)[:, np.arange(8) % 3])


HARNESS = """
template <int K> static void coefficients_of(const double* p, const double* x, const double* bar, double* out,
                                             double* g, double* x_bar, double* p_bar)
{
    using namespace snn;
    using S = System<D8>;
    D8 P[S::NP], c[S::NC + 1], s[S::NS][K + 1], b[S::NS][K + 1], cb[S::NC + 1], pb[S::NP];
    for (int i = 0; i < S::NP; i++) { P[i] = load8(p + 8*i); pb[i] = D8{}; }
    for (int i = 0; i <= S::NC; i++) cb[i] = D8{};
    S::constants(P, c);
    for (int i = 0; i < S::NX; i++) s[i][0] = load8(x + 8*i);
    S::coefficients<K>(c, s);
    S::event<K>(c, s);
    clear<S, K>(b);
    for (int k = 0; k <= K; k++) {
        for (int i = 0; i < S::NX; i++) {
            store8(out + 8*(i*(K + 1) + k), s[i][k]);
            b[i][k] = load8(bar + 8*(i*(K + 1) + k));
        }
        if (S::EVENT >= 0) store8(g + 8*k, s[S::EVENT < 0 ? 0 : S::EVENT][k]);
    }
    S::back<K>(c, s, b, cb);
    S::parameters(P, cb, pb);
    for (int i = 0; i < S::NX; i++) store8(x_bar + 8*i, b[i][0]);
    for (int i = 0; i < S::NP; i++) store8(p_bar + 8*i, pb[i]);
}
extern "C" void series_6(const double* p, const double* x, const double* bar, double* o, double* g,
                         double* xb, double* pb)
{ coefficients_of<6>(p, x, bar, o, g, xb, pb); }
extern "C" void series_16(const double* p, const double* x, const double* bar, double* o, double* g,
                         double* xb, double* pb)
{ coefficients_of<16>(p, x, bar, o, g, xb, pb); }
"""


def source(name: str, harness: str) -> str:
    """The printed system of a model and what calls it."""
    return '#include "taylor.h"\nnamespace snn {\n' + print_series(built(name)[1], "System") + "}\n" + harness


@functools.cache
def compiled(name: str, harness: str) -> ctypes.CDLL:
    headers = b"".join(p.read_bytes() for p in sorted(RUNTIME.glob("*.h")))
    return library(f"series_{name}", source(name, harness), [*FLAGS, *flags([built(name)[1]])], headers)


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    assert array.flags.c_contiguous
    return array.ctypes.data_as(ctypes.c_void_p)


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("order", [3, 12, 16])
def test_coefficients_are_those_of_the_solution(name: str, order: int) -> None:
    given, program, series = built(name)
    x, p = np.array(STATES[name], dtype=float), parameters(given, 3)
    c = series.constants(p)
    s = series.coefficients(c, x, order)
    g = series.events(c, s)[0] if program.events else None
    for lane in range(3):
        with mpmath.workdps(60):
            polynomials = [[mpmath.mpf(v) for v in row[::-1]] for row in s[: series.n, :, lane]]
            values = dict(zip(given.parameters, map(mpmath.mpf, p[:, lane]), strict=True))
            pairs = [(given.f[y], s[i, 1:, lane] * np.arange(1, order + 1)) for i, y in enumerate(given.states)]
            for e, found in pairs + ([] if g is None else [(given.g, g[:-1, lane])]):
                function = sp.lambdify([given.states], e.xreplace(values), "mpmath")

                def along(t: mpmath.mpf, function: Callable = function, polynomials: list = polynomials) -> mpmath.mpf:
                    return function([mpmath.polyval(c, t) for c in polynomials])

                # the singularities that a rate can have are removable, but not for mpmath
                start = mpmath.mpf(10) ** -40
                expected = np.array([float(v) for v in mpmath.taylor(along, start, order - 1)])
                # coefficients fall off like rho^-k, which decides what is rounding
                weight = _radius(s[: series.n, :, lane]) ** np.arange(order)
                np.testing.assert_allclose(
                    found * weight, expected * weight, rtol=1e-9, atol=1e-11 * np.abs(expected * weight).max() + 1e-300
                )


def _radius(s: np.ndarray) -> float:
    size = np.abs(s[:, 1:]).max(axis=1, keepdims=True) + 1e-300
    last = np.max(np.abs(s[:, -1:]) / size)
    return 1.0 if last == 0 else float(np.max(np.abs(s[:, 1]) / size[:, 0] / last) ** (1 / (s.shape[1] - 2)))


@pytest.mark.parametrize("name", SYSTEMS)
def test_adjoint_is_the_derivative(name: str) -> None:
    given, _, series = built(name)
    order = 12
    x, p = np.array(STATES[name], dtype=float), parameters(given, 3)
    c = series.constants(p)
    s = series.coefficients(c, x, order)
    rho = np.array([_radius(s[: series.n, :, lane]) for lane in range(3)])
    size = np.abs(s[: series.n] * rho ** np.arange(order + 1)[:, None]).max(axis=1, keepdims=True)
    size = np.where(size == 0, 1.0, size)
    bar = np.random.default_rng(0).normal(size=(series.n, order + 1, 3)) * rho ** np.arange(order + 1)[:, None] / size
    c_bar = np.zeros_like(c)
    x_bar = series.back(c, s, bar, c_bar)
    p_bar = series.parameters(p, c_bar)

    def value(x: np.ndarray, p: np.ndarray) -> np.ndarray:
        return np.sum(bar * series.coefficients(series.constants(p), x, order)[: series.n], axis=(0, 1))

    for arrays, which, gradient in [((x, p), 0, x_bar), ((x, p), 1, p_bar)]:
        for i in range(len(gradient)):
            step = 1e-4 * np.maximum(np.abs(arrays[which][i]), 1e-3)

            def difference(d: np.ndarray, arrays: tuple = arrays, which: int = which, i: int = i) -> np.ndarray:
                up, down = [a.copy() for a in arrays], [a.copy() for a in arrays]
                up[which][i] += d
                down[which][i] -= d
                return (value(*up) - value(*down)) / (2 * d)

            expected = (64 * difference(step) - 20 * difference(2 * step) + difference(4 * step)) / 45
            rounding = 1e-15 * np.abs(bar * s[: series.n]).sum(axis=(0, 1)) / step
            assert (np.abs(gradient[i] - expected) <= 1e-8 * np.abs(expected) + 10 * rounding).all()


@COMPILER
@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("order", [6, 16])
def test_cpp_agrees_to_rounding(name: str, order: int) -> None:
    given, _, series = built(name)
    x, p = padded(name), parameters(given, 8)
    n = series.n
    c = series.constants(p)
    s = series.coefficients(c, x, order)
    rho = min(_radius(s[:n, :, lane]) for lane in range(8))
    powers = rho ** np.arange(order + 1)[:, None]
    bar = np.random.default_rng(1).normal(size=(n, order + 1, 8)) * powers
    out, g = np.empty((n, order + 1, 8)), np.empty((order + 1, 8))
    x_bar, p_bar = np.empty((n, 8)), np.empty((len(p), 8))
    getattr(compiled(name, HARNESS), f"series_{order}")(*map(pointer, (p, x, bar, out, g, x_bar, p_bar)))
    c_bar = np.zeros_like(c)
    expected = series.back(c, s, bar, c_bar)
    for found, wanted in [
        (out * powers, s[:n] * powers),
        (x_bar, expected),
        (p_bar, series.parameters(p, c_bar)),
        (g * powers, series.events(c, s)[0] * powers),
    ]:
        size = np.abs(wanted).max(axis=tuple(range(1, wanted.ndim)), keepdims=True)
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=float(1e-12 * size.max()))


def test_shared_and_hoisted() -> None:
    program = SeriesProgram.of(library_system(ADEX))
    assert [o.kind for o in program.operations].count("exp") == 1
    assert program.affine_event
    assert len(program.operations) == 5  # the exponent, the exponential and one sum per state
    assert str(program).splitlines()[-1].startswith("g = ")


def test_singular_quotients_are_recognised() -> None:
    kinds = [o.kind for o in SeriesProgram.of(hodgkin_huxley()).operations]
    assert kinds.count("bernoulli") == 2
    assert kinds.count("logistic") == 1
    assert "div" not in kinds
    assert set(kinds) <= set(KINDS)


def test_every_kind_is_tested() -> None:
    kinds = {o.kind for name in SYSTEMS for o in built(name)[1].operations}
    assert kinds == set(KINDS)


def test_what_has_no_series_is_refused() -> None:
    given = system("strange", {"x": "-x"}, {})
    unknown = HybridSystem(**{**given.__dict__, "f": {symbol("x"): sp.erf(symbol("x"))}})
    with pytest.raises(UnsupportedExpression, match=r"no Taylor series along the flow is defined for erf\(x\)"):
        SeriesProgram.of(unknown)


def test_held_states_and_no_threshold() -> None:
    _, program, _ = built("held")
    assert program.rates[1] is None and not program.events
    s = Series(program).coefficients(np.array([[-0.5]]), np.array([[1.0], [3.0]]), 4)
    assert s[1, 1:].max() == 0


@pytest.mark.parametrize("name", SYSTEMS)
def test_generation_is_fast(name: str) -> None:
    given = SYSTEMS[name]()
    start = time.process_time()
    print_series(SeriesProgram.of(given), "System")
    assert time.process_time() - start < 2
