"""Conditions in equations, branches in resets, spikes without reset: against the reference, and where events meet."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brian2 import Network as BrianNetwork
from brian2 import SpikeGeneratorGroup, SpikeMonitor, second

from snnmodels import oracle
from snnmodels.brian import neuron_group, synapses
from snnmodels.events.engine import SimulationError
from snnmodels.gradients import GridSimulation, Simulation, probe
from snnmodels.gradients.probe import SmoothSpikeTimes
from snnmodels.symbolic.declaration import hybrid_system
from snnmodels.symbolic.parsing import UnsupportedExpression, symbol
from snnmodels.templates import (
    Model,
    Network,
    Population,
    Projection,
    SpikeInput,
    TemplateError,
    equations_path,
    load_model,
)
from tests.exactness.networks import MS, NEAR, SLOW, Bounds, Case, assert_agrees, case_of, reference, simulated
from tests.needs import COMPILER, HAS_COMPILER

FRAME = """
kind = "neuron"
title = "A neuron"
description = "For a test."
default_synapse = "exp_synapse"
"""
INPUT = """
[inputs]
I_syn = { unit = "1", description = "input" }
"""


def parameters(**defaults: float | str) -> str:
    lines = [
        f'{n} = {{ default = {v!r}, unit = "{"second" if n.startswith("tau") else "1"}", description = "value" }}'
        for n, v in defaults.items()
    ]
    return "[parameters]\n" + "\n".join(lines)


# a current that a condition opens and closes, and a gate that goes either way
BURST = (
    FRAME
    + '''
equations = """
dv/dt = (g*int(v > v_open)*h*(E_T - v) - v + I_syn)/tau_m : 1
dh/dt = (1 - int(v > v_open))*(1 - h)/tau_up - int(v > v_open)*h/tau_down : 1
"""
threshold = "v > v_th"
reset = "v = v_reset"
'''
    + INPUT
    + '[states]\nv = {}\nh = { initial = "h_0" }\n'
    + parameters(tau_m="20*ms", tau_up="60*ms", tau_down="20*ms", g=0.4, E_T=8.0)
    + "\n"
    + "\n".join(parameters(v_open=0.3, v_th=1, v_reset=0.1, h_0=0.3).splitlines()[1:])
)
# a rectified input and a corner: f is continuous across both surfaces
RECTIFIED = (
    FRAME
    + 'equations = "dv/dt = (clip(I_syn, low, high) - v - k*abs(v - v_bend))/tau_m : 1"\n'
    + 'threshold = "v > v_th"\nreset = "v = v_reset"\n'
    + INPUT
    + "[states]\nv = {}\n"
    + parameters(tau_m="20*ms", low=0, high=2.0, k=0.1, v_bend=0.5, v_th=0.6, v_reset=0)
)
# Mihalas & Niebur's rule: the reset leaves the threshold at least at th_reset
BRANCH = (
    FRAME
    + '''
equations = """
dv/dt = (I_syn - v)/tau_m : 1
dth/dt = (th_inf + a*v - th)/tau_th : 1
"""
threshold = "v > th"
reset = ["v = v_reset", "th = int(th > th_reset)*(th + b) + int(th <= th_reset)*th_reset"]
'''
    + INPUT
    + '[states]\nv = {}\nth = { initial = "th_inf" }\n'
    + parameters(tau_m="20*ms", tau_th="30*ms", th_inf=1, a=0.3, b=0.1, th_reset=1.02, v_reset=0)
)
# FitzHugh & Nagumo: a spike resets nothing
UPWARD = (
    FRAME
    + '''
equations = """
dv/dt = (v - v**3/3 - u + I_syn)/tau : 1
du/dt = (v + a - b*u)/(c*tau) : 1
"""
threshold = "v > v_th"
reset = []
'''
    + INPUT
    + '[states]\nv = { initial = "v_0" }\nu = { initial = "u_0" }\n'
    + parameters(v_0=-1.2, u_0=-0.6, tau="1*ms", a=0.7, b=0.8, c=6.0, v_th=1)
)
# a linear membrane without reset, with a conductance that a spike raises
AFTERSPIKE = (
    FRAME
    + '''
equations = """
dv/dt = (-v + g*(E_K - v) + I_syn)/tau_m : 1
dg/dt = -g/tau_g : 1
"""
threshold = "v > v_th"
reset = "g += q"
'''
    + INPUT
    + "[states]\nv = {}\ng = {}\n"
    + parameters(tau_m="10*ms", tau_g="4*ms", E_K=-2.0, q=3.0, v_th=1)
)
# the condition that opens the current turns while v is held; the gate's own does not
TURNING = BURST.replace("int(v > v_open)", "int(h > v_open)", 1)
TURNING = TURNING.replace("h_0 = { default = 0.3", "h_0 = { default = 0.31")
# a corner at v_bend, and where that is far enough from it: a condition around another
NESTED = RECTIFIED.replace(
    "k*abs(v - v_bend)", "k*clip(abs(v - v_bend), 0, 0.3) + k*int(int(I_syn > high) + int(v > v_bend) > 1.5)"
)
FILES = {
    **{"burst": BURST, "rectified": RECTIFIED, "branch": BRANCH, "upward": UPWARD, "afterspike": AFTERSPIKE},
    **{"turning": TURNING, "nested": NESTED},
}
WITH = ("", "+delta_synapse", "+alpha_synapse")


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    folder = tmp_path_factory.mktemp("models")
    for name, text in FILES.items():
        (folder / f"{name}.toml").write_text(text)

    def load(name: str) -> Model:
        neuron, *others = name.split("+")
        return load_model(folder / f"{neuron}.toml", *others, name=name)

    return functools.cache(load)


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "model.toml"
    path.write_text(text)
    return path


def drawn(model: Model, seed: int, recurrent: bool) -> Case:
    quick = "cpp_standalone" if HAS_COMPILER else "numpy"
    return case_of(probe(model, seed=seed, trials=1, recurrent=recurrent, target=quick))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [
        *("burst", "burst+delta_synapse", "burst+refractory", "burst+alpha_synapse+adaptive_threshold"),
        *("rectified", "branch", "branch+delta_synapse", "branch+refractory"),
        *("upward", "upward+delta_synapse", "afterspike", "afterspike+delta_synapse"),
        *("turning+delta_synapse+refractory", "nested"),
        *(
            pytest.param(n, marks=SLOW)
            for n in (
                *("turning+refractory", "turning+dead_time", "turning+partial_refractory", "upward+refractory"),
                *("afterspike+dead_time", "nested+delta_synapse+partial_refractory"),
            )
        ),
    ],
)
@pytest.mark.parametrize("recurrent", [pytest.param(False, marks=SLOW), True])
def test_spikes_and_gradients_are_those_of_the_reference(
    composed: Callable[[str], Model], name: str, recurrent: bool
) -> None:
    case = drawn(composed(name), seed=len(name), recurrent=recurrent)
    expected = reference(case)
    found = simulated(case, "numpy")
    assert sum(np.isfinite(t).sum() for t in found.spikes.values()) > 3
    assert_agrees(found, expected, NEAR)
    if HAS_COMPILER:
        compiled = simulated(case, "cpp_standalone")
        # in a recurrent network the targets look ahead differently far, so that steps end at other times
        assert_agrees(compiled, found, Bounds(1e-12, 1e-9 if recurrent else 1e-11))
        assert_agrees(simulated(case, "cpp_standalone", window=0.3 * MS), expected, NEAR)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("burst", "rectified", "upward", "afterspike+delta_synapse", "branch+delta_synapse", "nested"),
        *("turning+delta_synapse+refractory", "turning+partial_refractory", "afterspike+delta_synapse+dead_time"),
    ],
)
def test_many_drawn_networks(composed: Callable[[str], Model], name: str) -> None:
    for seed in range(12):
        case = drawn(composed(name), seed=seed, recurrent=seed % 2 == 1)
        assert_agrees(simulated(case), reference(case), NEAR, f"seed {seed}")


# --- one neuron, where events meet


def driven(model: Model, weights: list[float], learnable: tuple[str, ...] = (), duration: float = 60 * MS) -> Network:
    """One neuron that a spike of each source reaches."""
    return Network(
        "one",
        (SpikeInput("input", len(weights)),),
        (Population("out", 1, model, learnable=learnable or tuple(model.parameters)),),
        (Projection("w", "input", "out", np.array(weights)[:, None]),),
        "out",
        duration,
    )


def both(network: Network, times: list[float], target: str, **options: Any) -> tuple[np.ndarray, dict[str, float]]:
    """Spike times of the engine, and by how much its gradients are off the reference's."""
    inputs = {"input": np.array(times)[None, :, None] * MS}
    exact = oracle.gradient(network, inputs, SmoothSpikeTimes(), np.zeros(1, dtype=int), method="runge-kutta")
    with Simulation(network, SmoothSpikeTimes(), batch_size=1, target=target, **options) as s:  # type: ignore[arg-type]
        found = s.run(inputs, np.zeros(1, dtype=int))
        spikes = s.spike_times("out")
    np.testing.assert_allclose(spikes, exact.spikes["out"], rtol=0, atol=1e-9)
    off = {}
    for key, value in exact.gradients.items():
        size = max(float(np.linalg.norm(value)), 1e-3 * abs(exact.loss))
        off[key] = float(np.linalg.norm(found.gradients[key] - value)) / size
    return spikes[0, 0], off


TARGETS = ["numpy", *(["cpp_standalone"] if HAS_COMPILER else [])]


@pytest.mark.parametrize("target", TARGETS)
def test_a_spike_without_reset_counts_once_however_long_it_is(composed: Callable[[str], Model], target: str) -> None:
    network = driven(composed("upward"), [3.0, 3.0, 3.0])
    for window in (None, 0.05 * MS):  # many windows begin while the neuron is above threshold
        spikes, off = both(network, [1.0, 20.0, 21.0], target, window=window)
        assert spikes.size == 2
        assert max(off.values()) < 1e-6


@pytest.mark.parametrize("target", TARGETS)
def test_a_neuron_that_starts_above_threshold_has_to_come_below_first(
    composed: Callable[[str], Model], target: str
) -> None:
    model = composed("upward")
    network = driven(model, [3.0])
    start = Population("out", 1, model, {"v_0": 1.5}, learnable=("v_0", "tau", "v_th"))
    network = Network("one", network.inputs, (start,), network.projections, "out", 60 * MS)
    spikes, off = both(network, [25.0], target)
    assert spikes.size == 1 and spikes[0] > 25 * MS
    assert max(off.values()) < 1e-6


@pytest.mark.parametrize("target", TARGETS)
def test_an_arrival_that_takes_a_neuron_below_its_threshold_lets_it_spike_again(
    composed: Callable[[str], Model], target: str
) -> None:
    """By jumps alone: up (a spike), further up (none), down, and up again (a spike), the last two at one time."""
    network = driven(composed("afterspike+delta_synapse"), [1.2, 0.5, -3.0, 4.0, -0.2])
    spikes, off = both(network, [1.0, 1.05, 1.5, 1.8, 1.8], target)
    np.testing.assert_array_equal(spikes, [1.0 * MS, 1.8 * MS])
    assert max(off.values()) < 1e-6


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("order", [[20.0, -10.0], [-10.0, 20.0]])
def test_arrivals_of_one_instant_add_up_before_a_condition_is_looked_at(
    composed: Callable[[str], Model], target: str, order: list[float]
) -> None:
    network = driven(composed("burst+delta_synapse"), [w / 40 for w in order] + [0.9])
    spikes, off = both(network, [2.0, 2.0, 9.0], target)
    assert spikes.size and max(off.values()) < 1e-6


@pytest.mark.parametrize("target", TARGETS)
def test_a_condition_on_the_threshold_itself(tmp_path: Path, target: str) -> None:
    """The spike comes first; the reset then decides on which side the neuron goes on."""
    text = BURST.replace("v_open)", "v_th)").replace("v_open = { default = 0.3", "x = { default = 0.3")
    text = text.replace('x = { default = 0.3, unit = "1", description = "value" }\n', "")
    network = driven(load_model(file(tmp_path, text), name="same"), [6.0, 6.0, 6.0])
    spikes, off = both(network, [1.0, 3.0, 20.0], target)
    assert spikes.size > 1 and max(off.values()) < 1e-6


@pytest.mark.parametrize("target", TARGETS)
def test_a_piece_that_ends_at_the_spike_of_a_neuron_that_turned_in_it(
    composed: Callable[[str], Model], target: str
) -> None:
    """Feedback without delay ends the piece there; the state that goes on is that after the reset."""
    model = composed("rectified")
    for seed in range(2, 6):
        case = drawn(model, seed=seed, recurrent=True)
        assert_agrees(simulated(case, target), reference(case), NEAR, f"seed {seed}")


@pytest.mark.parametrize("target", TARGETS)
def test_a_neuron_that_rests_on_a_corner_and_leaves_it_without_slope(tmp_path: Path, target: str) -> None:
    """What an alpha synapse brings begins with slope 0, so that the surface is left as a parabola leaves its vertex."""
    text = RECTIFIED.replace("v_bend = { default = 0.5", "v_bend = { default = 0.0")
    model = load_model(file(tmp_path, text), "alpha_synapse", name="corner")
    network = driven(model, [4.0, 3.0], ("tau_m", "v_th", "k"))
    spikes, off = both(network, [1.0, 4.0], target)
    assert spikes.size and max(off.values()) < 1e-6


@pytest.mark.parametrize("target", TARGETS)
def test_a_condition_without_gradient_where_its_surface_is_left_without_slope(tmp_path: Path, target: str) -> None:
    text = BURST.replace("v_open = { default = 0.3", "v_open = { default = 0.0")
    network = driven(load_model(file(tmp_path, text), "alpha_synapse", name="touch"), [15.0])
    with Simulation(network, SmoothSpikeTimes(), batch_size=1, target=target) as s:  # type: ignore[arg-type]
        inputs, labels = {"input": np.full((1, 1, 1), MS)}, np.zeros(1, dtype=int)
        s.run(inputs, labels, gradient=False)
        assert np.isfinite(s.spike_times("out")).any()
        with pytest.raises(SimulationError, match=r"without slope|not finite"):
            s.run(inputs, labels)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("condition", "holds"), [("v > v_th", 1), ("v >= v_th", 1), ("v < v_th", 0), ("2*v <= 2*v_th", 0)]
)
def test_at_a_spike_what_the_threshold_says_holds(tmp_path: Path, target: str, condition: str, holds: int) -> None:
    """Not what rounding makes of a potential that is at its threshold."""
    # the branch is decided before the reset moves v
    conditional = f'reset = ["h += 0.2*int({condition})", "v = v_reset"]'
    plain = f'reset = ["h += {0.2 * holds}", "v = v_reset"]'
    found = []
    for reset in (conditional, plain):
        model = load_model(file(tmp_path, BURST.replace('reset = "v = v_reset"', reset)), name="branching")
        found.append(both(driven(model, [6.0, 6.0, 6.0]), [1.0, 3.0, 20.0], target))
        assert max(found[-1][1].values()) < 1e-6
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=0, atol=1e-14)
    assert found[0][0].size > 1


@pytest.mark.parametrize("target", TARGETS)
def test_a_fast_mode_that_is_at_rest_has_the_gradient_of_one(tmp_path: Path, target: str) -> None:
    """Nothing that states do makes steps short, but costates see it, and a polynomial is no exponential for long."""
    text = AFTERSPIKE.replace("g = {}", 'g = { initial = "g_0" }').replace("'4*ms'", "'0.3*ms'")
    assert "0.3*ms" in text
    text = text.replace("[parameters]", '[parameters]\ng_0 = { default = 0, unit = "1", description = "value" }')
    network = driven(load_model(file(tmp_path, text), name="fast"), [9.0, 9.0])
    spikes, off = both(network, [20.0, 30.0], target)
    assert spikes.size and max(off.values()) < 1e-6


def test_differences_agree_with_the_adjoint(composed: Callable[[str], Model]) -> None:
    from snnmodels.gradients import check_gradient

    for name in ("burst", "afterspike"):
        report = check_gradient(composed(name), target="numpy", trials=1)
        assert report.ok, str(report)


# --- refractory periods in which something turns

# of many models, all of which would be compiled
SELDOM_COMPILED = ["numpy", pytest.param("cpp_standalone", marks=[COMPILER, SLOW])]

COUNTING = (
    FRAME
    + '''
equations = """
dv/dt = (I_syn + k*u - vEXTRA)/tau_m : 1
du/dt = -u/tau_u : 1
"""
threshold = "v > v_th"
reset = ["v = v_reset", "u += 1"]
'''
    + INPUT
    + "[states]\nv = {}\nu = {}\n"
    + parameters(tau_m="20*ms", tau_u="5*ms", v_th=1, v_reset=0.1, k=0.3)
)
APPLIED = (equations_path() / "mechanisms" / "refractory.toml").read_text().replace('"ignore"', '"apply"')
# turns in every period, and is worth nothing
NOTHING = " + k*int(u > 0.8) - k*int(u > 0.8)*int(u > 0.7)"


@pytest.mark.parametrize("target", SELDOM_COMPILED)
@pytest.mark.parametrize("period", ["refractory", "dead_time", "applied"])
@pytest.mark.parametrize("synapse", ["exp_synapse", "delta_synapse"])
def test_a_period_in_which_conditions_turn_is_that_in_which_nothing_does(
    tmp_path: Path, target: str, period: str, synapse: str
) -> None:
    """Two ways: held rules of the engine, released by a queue, and flags that are states; spikes at releases too."""
    applied = tmp_path / "applied.toml"
    applied.write_text(APPLIED)
    plain, flagged = (
        load_model(
            file(tmp_path, COUNTING.replace("EXTRA", extra)),
            *(synapse, str(applied) if period == "applied" else period),
            name="counting",
        )
        for extra in ("", NOTHING)
    )
    assert hybrid_system(plain).silence is None
    assert hybrid_system(flagged).silence is not None
    for seed in range(3):
        case = drawn(plain, seed=seed, recurrent=seed % 2 == 1)
        # without delays, periods of neurons that make each other spike end together, by rounding one after the other
        rng = np.random.default_rng(seed)
        projections = tuple(
            dataclasses.replace(p, delay=rng.uniform(0.2, 3, p.weights.shape) * MS) for p in case.network.projections
        )
        case = case._replace(network=dataclasses.replace(case.network, projections=projections))
        populations = tuple(dataclasses.replace(p, model=flagged) for p in case.network.populations)
        other = case._replace(network=dataclasses.replace(case.network, populations=populations))
        expected = simulated(case, target)
        assert sum(np.isfinite(t).sum() for t in expected.spikes.values()) > 3
        assert_agrees(simulated(other, target), expected, NEAR, f"seed {seed}")


@pytest.mark.parametrize("target", TARGETS)
def test_events_that_meet_at_the_end_of_a_period(tmp_path: Path, target: str) -> None:
    """A jump at the very time at which the hold ends counts; one before is lost, and its weight has the gradient 0."""
    model = load_model(file(tmp_path, COUNTING.replace("EXTRA", NOTHING)), "delta_synapse", "partial_refractory")
    spikes, off = both(driven(model, [1.2, 1.5, 0.4, 1.2]), [1.0, 2.5, 3.0, 9.0], target)
    np.testing.assert_array_equal(spikes, [1 * MS, 9 * MS])
    assert max(off.values()) < 1e-6
    spikes, off = both(driven(model, [1.2, 1.5, 1.4]), [1.0, 2.5, 3.0], target)
    np.testing.assert_allclose(spikes, [1 * MS, 4 * MS], rtol=0, atol=1e-17)
    assert max(off.values()) < 1e-6


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("hold", "block"), [(2, 2), (0, 2), (0, 0), (2, 7)])
def test_periods_that_end_together_or_at_once(tmp_path: Path, target: str, hold: int, block: int) -> None:
    """And one that ends when the neuron has been above its threshold for long: the spike moves with both its parts."""
    model = load_model(file(tmp_path, COUNTING.replace("EXTRA", NOTHING)), "partial_refractory")
    network = driven(model, [6.0, 6.0, 6.0, 6.0])
    population = Population("out", 1, model, {"t_abs": hold * MS, "t_tot": block * MS}, tuple(model.parameters))
    network = dataclasses.replace(network, populations=(population,))
    spikes, off = both(network, [1.0, 3.0, 9.5, 20.0], target)
    assert spikes.size > 2 and max(off.values()) < 1e-6
    assert np.diff(spikes).min() >= block * MS * (1 - 1e-12)
    if block == 7:
        assert np.isclose(np.diff(spikes), 7 * MS, rtol=1e-12).any()


@pytest.mark.parametrize(
    "name",
    [
        "nested",
        *(pytest.param(n, marks=SLOW) for n in ("turning+delta_synapse+refractory", "afterspike+dead_time")),
        pytest.param("turning+partial_refractory", marks=SLOW),
    ],
)
def test_differences_agree_where_conditions_turn_in_a_period(composed: Callable[[str], Model], name: str) -> None:
    from snnmodels.gradients import check_gradient

    report = check_gradient(composed(name), target="numpy", trials=1)
    assert report.ok, str(report)


# --- conditions in conditions


@pytest.mark.parametrize("target", SELDOM_COMPILED)
@pytest.mark.parametrize(
    ("inner", "plain"),
    [
        ("int(int(v > v_open) + int(h > v_1) > 1.5)", "int(v > v_open)*int(h > v_1)"),
        ("int(int(v > v_open) + int(h > v_1) > 0.5)", "(1 - int(v <= v_open)*int(h <= v_1))"),
        # its surface jumps where the inner one turns
        ("int(v*int(h > v_1) > v_open)", "int(v > v_open)*int(h > v_1)"),
        ("int(int(int(h > v_1)*v > v_open)*2*v > v_open)", "int(v > v_open)*int(h > v_1)"),
        ("clip(abs(v - v_open), 0, v_1)", "(abs(v - v_open) - int(abs(v - v_open) > v_1)*(abs(v - v_open) - v_1))"),
        ("clip(abs(v - v_open), 0, v_1)", "clip(abs(v - v_open), -1, v_1)"),
    ],
)
def test_a_condition_that_contains_others(tmp_path: Path, target: str, inner: str, plain: str) -> None:
    found = []
    more = 'v_1 = { default = 0.25, unit = "1", description = "value" }\n'
    for k, condition in enumerate((inner, plain)):
        text = BURST.replace("int(v > v_open)*h*(E_T - v)", f"{condition}*h*(E_T - v)", 1) + "\n" + more
        network = driven(load_model(file(tmp_path, text), name=f"nested{k}"), [6.0, 6.0, 6.0])
        spikes, off = both(network, [1.0, 3.0, 20.0], target)
        assert spikes.size > 1 and max(off.values()) < 1e-6
        with Simulation(network, SmoothSpikeTimes(), batch_size=1, target=target) as s:  # type: ignore[arg-type]
            result = s.run({"input": np.array([1.0, 3.0, 20.0])[None, :, None] * MS}, np.zeros(1, dtype=int))
        found.append((spikes, result.gradients))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=0, atol=1e-9)
    for key, value in found[1][1].items():
        np.testing.assert_allclose(found[0][1][key], value, rtol=1e-6, atol=1e-6 * np.abs(value).max(), err_msg=key)


# --- Brian2 itself


@pytest.mark.parametrize(("name", "drive"), [("upward", 0.6), ("afterspike", 1.5), ("burst", 0.9), ("branch", 1.8)])
def test_brian2_spikes_as_often_and_within_its_grid(composed: Callable[[str], Model], name: str, drive: float) -> None:
    dt, duration = 1e-5, 120 * MS
    model = composed(name + "+delta_synapse")
    group = neuron_group(model, 1, dt=dt * second, I_syn=drive)
    monitor = SpikeMonitor(group)
    BrianNetwork(group, monitor).run(duration * second)
    brian = np.array(monitor.t / second)
    network = Network(
        "one",
        (SpikeInput("input", 1),),
        (Population("out", 1, model, {"I_syn": drive}),),
        (Projection("w", "input", "out", np.zeros((1, 1))),),
        "out",
        duration,
    )
    with Simulation(network, SmoothSpikeTimes(), batch_size=1) as s:
        s.run({"input": np.full((1, 1, 1), np.inf)}, np.zeros(1, dtype=int), gradient=False)
        exact = s.spike_times("out")[0, 0]
    assert exact.size == brian.size > 1
    # a spike is seen at the end of its step, a condition at its start
    assert np.abs(brian - exact).max() < 4 * dt * exact.size


@pytest.mark.parametrize(
    ("name", "drive"),
    [
        ("turning+partial_refractory", 1.1),
        pytest.param("turning+refractory", 0.9, marks=SLOW),
        pytest.param("afterspike+dead_time", 1.5, marks=SLOW),
    ],
)
def test_brian2_has_the_same_periods(composed: Callable[[str], Model], name: str, drive: float) -> None:
    """A jump in each hold is lost, in Brian2 as here."""
    neuron, period = name.split("+")
    dt, duration, jumps = 1e-5, 100 * MS, np.arange(0.7, 99, 1.3)
    model = composed(f"{neuron}+delta_synapse+{period}")
    group = neuron_group(model, 1, dt=dt * second, I_syn=drive)
    source = SpikeGeneratorGroup(1, np.zeros(jumps.size, dtype=int), jumps * MS * second, dt=dt * second)
    joined = synapses(model, source, group)
    joined.connect()
    joined.w = 0.02
    monitor = SpikeMonitor(group)
    BrianNetwork(group, source, joined, monitor).run(duration * second)
    brian = np.array(monitor.t / second)
    network = Network(
        "one",
        (SpikeInput("input", 1),),
        (Population("out", 1, model, {"I_syn": drive}),),
        (Projection("w", "input", "out", np.full((1, 1), 0.02)),),
        "out",
        duration,
    )
    with Simulation(network, SmoothSpikeTimes(), batch_size=1) as s:
        s.run({"input": jumps[None, None] * MS}, np.zeros(1, dtype=int), gradient=False)
        exact = s.spike_times("out")[0, 0]
    assert exact.size == brian.size > 1
    assert np.abs(brian - exact).max() < 5 * dt * exact.size


# --- what is refused

SLIDING = (
    FRAME
    + 'equations = "dv/dt = (I_syn + 1 - 2*int(v > v_s))/tau_m : 1"\nthreshold = "v > v_th"\nreset = "v = v_reset"\n'
    + INPUT
    + "[states]\nv = {}\n"
    + parameters(tau_m="20*ms", v_s=0.5, v_th=1, v_reset=0)
)


@pytest.mark.parametrize("target", TARGETS)
def test_equations_that_drive_back_from_either_side_have_no_solution(tmp_path: Path, target: str) -> None:
    network = driven(load_model(file(tmp_path, SLIDING), name="sliding"), [0.1])
    inputs = {"input": np.full((1, 1, 1), MS)}
    message = r"neuron 0 reaches a condition .* drives it back from either side"
    with (
        Simulation(network, SmoothSpikeTimes(), batch_size=1, target=target) as s,  # type: ignore[arg-type]
        pytest.raises(SimulationError, match=message),
    ):
        s.run(inputs, np.zeros(1, dtype=int))
    with pytest.raises(ValueError, match="driven back across a condition"):
        oracle.gradient(network, inputs, SmoothSpikeTimes(), np.zeros(1, dtype=int), method="runge-kutta")


def test_conditions_of_which_no_event_can_be_made(tmp_path: Path) -> None:
    said = BURST.replace('threshold = "v > v_th"', 'threshold = "v > v_th*int(h > v_open)"')
    with pytest.raises(TemplateError, match=r"model.toml: threshold: .* calls int\(\)"):
        load_model(file(tmp_path, said))
    named = BURST.replace('threshold = "v > v_th"', 'threshold = "v > x"')
    named = named.replace("/tau_m : 1\n", "/tau_m : 1\nx = abs(h) + v_th : 1\n")
    with pytest.raises(UnsupportedExpression, match=r"the threshold .* contains a condition"):
        hybrid_system(load_model(file(tmp_path, named)))


def test_what_else_is_refused(composed: Callable[[str], Model]) -> None:
    with pytest.raises(ValueError, match="the grid simulation does not support"):
        GridSimulation(driven(composed("burst"), [1.0]), SmoothSpikeTimes(), batch_size=1, dt=0.1 * MS)


def test_equal_conditions_share_their_surface(composed: Callable[[str], Model]) -> None:
    system = hybrid_system(composed("burst"))
    assert list(system.switches.values()) == [symbol("v") - symbol("v_open")]
    assert system.latch is None and not system.is_linear
    assert hybrid_system(load_model("lif")).transitions == ()
