"""The grid programs: equal to the continuous jump where the flow is exact, and the derivative of the step always."""

from itertools import pairwise

import numpy as np
import pytest
import sympy as sp

from snnmodels.symbolic import Adjoint
from snnmodels.symbolic.adjoint import DL_DT, S_ARRIVALS
from snnmodels.symbolic.declaration import hybrid_system
from snnmodels.symbolic.grid import DT, FREE, TIME_SENSITIVITY, GridSystem, bar, event_time, offset
from snnmodels.symbolic.parsing import symbol
from snnmodels.symbolic.programs import Program
from snnmodels.templates import load_model

SPIKING = ["lif", "integrate_and_fire", "lif+alpha_synapse", "lif+exp_synapse+adaptive_threshold", "qif", "eif"]


def inlined(program: Program) -> dict[str, sp.Expr]:
    """Outputs as expressions in the inputs."""
    value: dict[sp.Symbol, sp.Expr] = {}
    for name, rhs in program.statements:
        value[name] = rhs.xreplace(value)
    return {k: e.xreplace(value) for k, e in program.outputs.items()}


def test_lif_event_backward_is_the_published_jump_carried_to_the_grid() -> None:
    system = hybrid_system(load_model("lif"))
    grid = GridSystem.of(system, 1e-3)
    numbers = {s: sp.Float(v, 40) for s, v in system.defaults.items()} | {symbol("v_rest"): sp.Float("0.1", 40)}
    r, dt, q = sp.Float("0.0003", 40), sp.Float("0.001", 40), sp.Float("17.3", 40)
    x = {symbol("v"): sp.Float("0.97", 40), symbol("I_syn"): sp.Float("2.3", 40)}
    later = {bar(s): sp.Float(v, 40) for s, v in zip(system.states, ("0.6", "-0.4"), strict=True)}
    got = {
        k: e.subs({**x, **later, **numbers, event_time: r, DT: dt, TIME_SENSITIVITY: q, FREE: 1}).evalf(30)
        for k, e in inlined(grid.event_backward).items()
    }
    # costates carried back to the event, the jump there, carried back to the start of the step
    matrix = system.jacobian().subs(numbers)
    carry = {t: (matrix * t).exp().evalf(30) for t in (r, dt - r)}
    force = sp.Matrix([system.f[s].subs(dict.fromkeys(system.states, 0)).subs(numbers) for s in system.states])
    start = sp.Matrix([x[s] for s in system.states])
    at_spike = carry[r] * start + matrix.inv() * (carry[r] - sp.eye(2)) * force
    after = carry[dt - r].T * sp.Matrix([later[bar(s)] for s in system.states])
    adjoint = Adjoint.derive(system)
    costates = [adjoint.costates[s] for s in system.states]
    values = dict(zip(costates, after, strict=True)) | dict(zip(system.states, at_spike, strict=True)) | numbers
    values |= {DL_DT: q, S_ARRIVALS: 0}
    before = [adjoint.spike.explicit(adjoint.spike.jump[c]).subs(values).evalf(30) for c in costates]
    expected = carry[r].T * sp.Matrix(before)
    for s, e in zip(system.states, expected, strict=True):
        assert abs(got[s.name] - e) < 1e-13 * abs(e)
    assert abs(got["slope"] - adjoint.spike.gdot.subs(values)) < 1e-10 * abs(got["slope"])


@pytest.mark.parametrize("name", SPIKING)
def test_event_backward_is_the_derivative_of_the_event(name: str) -> None:
    model = load_model(name)
    system = hybrid_system(model)
    learnable = tuple(model.parameters)
    grid = GridSystem.of(system, 2e-4, learnable=learnable)
    numbers = {s.name: v for s, v in system.defaults.items()}
    low, high = numbers["v_reset"], numbers.get("v_th", numbers.get("v_peak"))
    start = {s.name: 4 * (high - low) for s in system.states} | {"v": high - 0.02 * (high - low)}
    if "a" in start:  # a raised threshold, still within reach
        start |= {"a": 0.1, "v": high}
    if name in ("qif", "eif"):
        start["v"] = high - 0.1 * (high - low)
    scale = {**{k: abs(v) or high - low for k, v in start.items()}, **{k: abs(v) or 1.0 for k, v in numbers.items()}}
    names = [*start, *numbers]
    crossing = grid.crossing.compile([*names, "r_event"])
    event = grid.event.compile([*names, "dt", "r_event"])
    dt = 2e-3 if name == "integrate_and_fire" else 1e-3
    weights = {s.name: (k + 1) / scale[s.name] for k, s in enumerate(system.states)}
    q = 1.7 / dt

    def loss(at: dict[str, float]) -> tuple[float, float]:
        a, b = 0.0, dt
        for _ in range(200):
            r = 0.5 * (a + b)
            a, b = (a, r) if crossing(*at.values(), r)["value"] > 0 else (r, b)
        r = 0.5 * (a + b)
        for _ in range(3):
            found = crossing(*at.values(), r)
            r -= found["value"] / found["slope"]
        return sum(w * event(*at.values(), dt, r)[k] for k, w in weights.items()) + q * r, r

    at = start | numbers
    _, r = loss(at)
    assert 1e-6 < r < 0.98 * dt
    bars = {bar(s).name: weights[s.name] for s in system.states}
    backward = grid.event_backward.compile([*names, "dt", "r_event", "q_time", "free_event", *bars])
    got = backward(*at.values(), dt, r, q, 1.0, *bars.values())
    for key in names:
        step = 1e-4 * scale[key] * (0.01 if key == "v" else 1)
        d = [loss(at | {key: at[key] + k * step})[0] for k in (-2, -1, 1, 2)]
        expected = (d[0] - 8 * d[1] + 8 * d[2] - d[3]) / (12 * step)
        assert got[key] * scale[key] == pytest.approx(expected * scale[key], rel=2e-7, abs=2e-8), key


@pytest.mark.parametrize("name", ["lif", "lif+alpha_synapse", "lif+delta_synapse", "integrate_and_fire"])
def test_linear_arrivals_are_the_same_in_every_state(name: str) -> None:
    grid = GridSystem.of(hybrid_system(load_model(name)), 1e-3)
    (receptor,) = grid.system.arrivals
    assert grid.shift_free(receptor)
    assert grid.carries_threshold(receptor) == ("delta" in name)


def test_lif_arrival_is_the_postsynaptic_potential() -> None:
    grid = GridSystem.of(hybrid_system(load_model("lif")), 1e-3)
    program = grid.arrival("exp_synapse").compile(["tau_m", "tau_syn", "w", offset.name])
    s = np.linspace(0, 2e-3, 5)
    got = program(0.02, 0.005, 0.7, s)
    np.testing.assert_allclose(got["I_syn"], 0.7 * np.exp(-s / 0.005), rtol=1e-15)
    np.testing.assert_allclose(got["v"], 0.7 / 3 * (np.exp(-s / 0.02) - np.exp(-s / 0.005)), atol=1e-16)


def test_nonlinear_arrivals_do_nothing_without_weight() -> None:
    grid = GridSystem.of(hybrid_system(load_model("qif")), 1e-3)
    assert not grid.shift_free("exp_synapse")
    program = grid.arrival("exp_synapse")
    names = sorted(s.name for s in program.inputs)
    values = {s.name: v for s, v in grid.system.defaults.items()}
    values |= {"v": -0.05, "I_syn": 0.01, "w": 0.0, offset.name: 5e-4}
    got = program.compile(names)(*(values[n] for n in names))
    assert all(v == 0 for v in got.values())


def test_two_half_steps_make_a_whole_one() -> None:
    grid = GridSystem.of(hybrid_system(load_model("lif")), 1e-3)
    names = ["v", "I_syn", *(s.name for s in grid.system.parameters), "dt"]
    step = grid.step.compile(names)
    values = list(grid.system.defaults.values())
    states = [(0.3, 1.9)]
    for _ in range(2):
        half = step(*states[-1], *values, 5e-4)
        states.append((half["v"], half["I_syn"]))
    whole = step(*states[0], *values, 1e-3)
    assert states[-1] == pytest.approx((whole["v"], whole["I_syn"]), rel=1e-14)
    assert all(a != b for a, b in pairwise(states))
