"""Flows against matrix exponentials, SciPy's integrator and their order."""

from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from snnmodels.events.rules import Rules
from snnmodels.symbolic.declaration import hybrid_system
from snnmodels.symbolic.divided_differences import expdd, separation
from snnmodels.symbolic.flows import Flow, _along_path
from snnmodels.symbolic.parsing import symbol
from snnmodels.symbolic.programs import Builder
from snnmodels.symbolic.system import HybridSystem
from snnmodels.templates import load_model

LINEAR = [
    "lif",
    "lif+alpha_synapse",
    "integrate_and_fire",
    "lif+exp_synapse+adaptive_threshold",
    "lif+exp_synapse+current_adaptation",
    "lif+exp_synapse+current_adaptation+subthreshold_adaptation",
]


def advance(name: str, x: np.ndarray, time: float, order: int = 4, **values: float) -> tuple[np.ndarray, HybridSystem]:
    """State after a time, by the flow's program."""
    system = hybrid_system(load_model(name))
    parameters = {s.name: v for s, v in system.defaults.items()} | values
    flow = Flow.of(system, 1e-3, values, order)
    b = Builder()
    after = flow.write(b, {s: s for s in system.states}, symbol("ahead"))
    program = b.program({s.name: after[s] for s in system.states})
    run = program.compile([*(s.name for s in system.states), *parameters, "ahead"])
    result = run(*x, *parameters.values(), time)
    return np.array([float(result[s.name]) for s in system.states]), system


def reference(system: HybridSystem, x: np.ndarray, time: float, **values: float) -> np.ndarray:
    """State after a time, by the exponential of the matrix with the constant part as one more state."""
    numbers = {s: values.get(s.name, v) for s, v in system.defaults.items()}
    n = len(system.states)
    matrix = np.zeros((n + 1, n + 1))
    matrix[:n, :n] = np.array(system.jacobian().subs(numbers), dtype=float)
    zero = dict.fromkeys(system.states, 0)
    matrix[:n, n] = [float(system.f[s].subs(zero).subs(numbers)) for s in system.states]
    return (expm(matrix * time) @ np.append(x, 1.0))[:n]


@pytest.mark.parametrize("time", [1e-3, -1e-3, 2e-3])
@pytest.mark.parametrize("name", LINEAR)
def test_linear_flow_is_exact(name: str, time: float) -> None:
    states = len(load_model(name).states)
    x = np.linspace(0.3, 1.4, states)
    got, system = (
        advance(name, x, time, v_rest=0.2) if "v_rest" in load_model(name).parameters else advance(name, x, time)
    )
    values = {"v_rest": 0.2} if "v_rest" in load_model(name).parameters else {}
    np.testing.assert_allclose(got, reference(system, x, time, **values), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("shift", [0.0, 1e-12, 1e-6])
def test_equal_time_constants_need_no_special_case(shift: float) -> None:
    values = {"tau_m": 0.005 * (1 + shift), "tau_syn": 0.005}
    x = np.array([0.4, 1.7])
    got, system = advance("lif", x, 1e-3, **values)
    np.testing.assert_allclose(got, reference(system, x, 1e-3, **values), rtol=1e-14)


@pytest.mark.parametrize("tau_m", [1e3, 1e9, 1e300])
def test_time_constants_of_ages_need_no_special_case(tau_m: float) -> None:
    """They may be far from each other, and their rates all the same close over the time of a trial."""
    values = {"tau_m": tau_m, "tau_syn": 3 * tau_m}
    x = np.array([0.4, 1.7 * tau_m])
    got, system = advance("lif", x, 1e-3, **values)
    np.testing.assert_allclose(got, reference(system, x, 1e-3, **values), rtol=1e-14)


RATES = """
kind = "neuron"
title = "Potential with two rates, either of which may be 0"
description = "It integrates a current."
equations = '''
dw/dt = -r_w*w : 1
dv/dt = w/ms - r_v*v : 1
'''
threshold = "v > 1"
reset = "v = 0"
[states]
w = { initial = "1", description = "current" }
v = { initial = "0", description = "potential" }
[parameters]
r_w = { default = 0, unit = "Hz", description = "rate" }
r_v = { default = 0, unit = "Hz", description = "rate" }
"""


@pytest.mark.parametrize("r_w", [0.0, 1e-300, 1e-12, 1e-3])
def test_gradient_by_rates_that_vanish(tmp_path: Path, r_w: float) -> None:
    """v(s) = s - (r_w + r_v) s²/2 + ... in ms, so that dv/dr is -s²/2 at 0."""
    file = tmp_path / "rates.toml"
    file.write_text(RATES)
    system = hybrid_system(load_model(str(file)))
    values = {"r_w": r_w, "r_v": 0.0}
    rule = Rules.of(system, values, ("r_w", "r_v")).rules["gradient"]
    found = rule.program.compile([*rule.inputs, "s", "p0", "p1"])(1.0, 0.0, 0.0, 1.0, 1e-3, r_w, 0.0)
    np.testing.assert_allclose([found["g0"], found["g1"]], -0.5e-3, rtol=1e-6)


def test_a_sum_of_exponentials_must_keep_its_digits() -> None:
    assert separation(-50.0, -200.0, 0.0) == pytest.approx(0.75)
    assert separation(0.0, 0.0) == separation(3.0, 3.0) == 0.0
    assert separation(1e-9, 5e-9) < 1e-9  # far from each other, but not over the time of a trial
    assert separation(*(100.0 * 1.1**k for k in range(6))) < 0.001  # each a tenth from the next
    np.testing.assert_allclose(separation(np.array([50.0, 100.0, 200.0]), 100.0), [0.5, 0.0, 0.5])


def test_resonant_neuron_has_complex_eigenvalues_and_an_exact_flow() -> None:
    name = "lif+exp_synapse+current_adaptation+subthreshold_adaptation"
    values = {"a_z": 20.0, "tau_z": 0.02}
    x = np.array([0.4, 1.7, 0.3])
    got, system = advance(name, x, 1e-3, **values)
    matrix = np.array(system.jacobian().subs(system.defaults | {symbol(k): v for k, v in values.items()}), dtype=float)
    assert np.abs(np.linalg.eigvals(matrix).imag).max() > 100
    np.testing.assert_allclose(got, reference(system, x, 1e-3, **values), rtol=1e-13)


@pytest.mark.parametrize("name", ["qif", "eif"])
@pytest.mark.parametrize("order", [2, 4])
def test_nonlinear_flow_has_its_order(name: str, order: int) -> None:
    system = hybrid_system(load_model(name))
    x = np.array([-0.055, 0.01])

    def rate(_: float, y: np.ndarray) -> list[float]:
        point = dict(zip(system.states, y, strict=True)) | system.defaults
        return [float(system.f[s].subs(point)) for s in system.states]

    errors = []
    for time in (2e-4, 1e-4):
        exact = solve_ivp(rate, (0, time), x, method="DOP853", rtol=1e-13, atol=1e-18).y[:, -1]
        errors.append(abs(advance(name, x, time, order)[0][0] - exact[0]))
    assert order + 0.7 < np.log2(errors[0] / errors[1]) < order + 1.5


def test_a_step_too_large_for_a_coupled_system_is_refused() -> None:
    system = hybrid_system(load_model("lif+exp_synapse+current_adaptation+subthreshold_adaptation"))
    with pytest.raises(ValueError, match="choose a smaller dt"):
        Flow.of(system, 1.0)


def test_sums_of_many_parameters_are_left_as_they_are() -> None:
    """As polynomials in 60 parameters, SymPy would take hours over them."""
    many, c = sp.symbols("p:60", real=True), sp.Symbol("c", real=True)
    rate, weight = -sp.Add(*many) / c, sp.Add(*(p**2 for p in many)) / c
    written = _along_path(weight, (sp.Integer(0), rate), True)
    values = dict.fromkeys(many, 0.5) | {c: 10.0, Flow.TIME: 0.2}
    assert float(written.subs(values)) == pytest.approx(1.5 * 0.2 * float(expdd(0.0, -3.0 * 0.2)), rel=1e-14)
