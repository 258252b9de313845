"""Neurons and mechanisms of the library at a constant input: closed forms, and other simulators' spike trains."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from scipy.optimize import brentq

from snnmodels import oracle
from snnmodels.gradients import Simulation
from snnmodels.losses import SpikeTimeError
from snnmodels.templates import Model, Network, Population, Projection, SpikeInput, load_model

MS, PA, MV = 1e-3, 1e-12, 1e-3
EXACT = 1e-9  # ms, of spike times in closed form
ROUNDED = 1e-7  # ms, where a nonlinear flow is followed to 1e-10 of the states' size


def network_of(model: Model, duration: float, weights: tuple[float, ...] = (0.0,), **parameters: float) -> Network:
    """One neuron with as many sources as weights."""
    receptor = next(iter(model.receptors))
    column = np.array(weights)[:, None]
    return Network(
        "one",
        (SpikeInput("in", len(weights)),),
        (Population("out", 1, model, parameters),),
        (Projection("in_out", "in", "out", column, receptor, learnable=()),),
        "out",
        duration * MS,
    )


def train(
    model: str | Model,
    duration: float,
    *,
    weights: tuple[float, ...] = (0.0,),
    times: tuple[float, ...] = (np.inf,),
    **parameters: float,
) -> np.ndarray:
    """Spike times of one neuron in milliseconds; parameters in SI units, input times and duration in milliseconds."""
    model = load_model(model) if isinstance(model, str) else model
    network = network_of(model, duration, weights, **parameters)
    with Simulation(network, SpikeTimeError(), batch_size=1) as simulation:
        inputs = {"in": np.array(times)[None, :, None] * MS}
        simulation.run(inputs, np.full((1, 1, 1), duration * MS), gradient=False)
        found = simulation.spike_times("out")[0, 0]
    return found[np.isfinite(found)] / MS


@functools.cache
def driven(neuron: str, current: float, duration: float) -> np.ndarray:
    """Spike times of a neuron of the library with a constant current from time 0 on."""
    return train(f"{neuron}+exp_synapse+bias_current", duration, I_e=current)


# --- spike trains of other simulators ---------------------------------------------------------------------------------


class Train(NamedTuple):
    """What a time-stepping simulator gave at a constant current: how many spikes, the first and the last, in ms."""

    neuron: str
    source: str
    current: float
    duration: float
    count: int
    first: tuple[float, ...]
    last: float


# Run with steps of 0.001 ms: NEST 3.10 with the parameters of its models, Brian2 2.10 with equations written anew
STEP = 1e-3
TRAINS = [
    Train("lif_current", "NEST iaf_psc_exp", 400 * PA, 300, 10, (27.726, 57.452, 87.178, 116.904), 295.26),
    Train("partial_refractory_lif", "NEST iaf_psc_exp_htum", 5000 * PA, 60, 20, (0.78, 3.781, 6.782, 9.783), 57.799),
    Train("lif_cuba", "Brian2", 0, 300, 5, (47.957, 100.914, 153.871, 206.828), 259.785),
    Train("lif_conductance", "NEST iaf_cond_exp", 300 * PA, 300, 17, (26.877, 43.59, 60.303, 77.016), 294.285),
    Train("lif_sfa", "NEST iaf_cond_exp_sfa_rr", 900 * PA, 500, 17, (5.416, 19.276, 34.932, 53.472, 77.76), 494.627),
    Train("mat2", "NEST mat2_psc_exp", 600 * PA, 500, 17, (5.017, 19.663, 37.758, 57.785, 79.853), 473.009),
    Train("amat2", "NEST amat2_psc_exp", 200 * PA, 500, 46, (4.437, 11.581, 20.578, 31.023, 41.914), 492.344),
    Train("glif1", "NEST glif_psc", 300 * PA, 300, 19, (11.986, 27.72, 43.454, 59.188), 295.198),
    Train("glif2", "NEST glif_psc", 300 * PA, 300, 26, (11.986, 19.521, 27.5, 35.925, 44.792), 294.464),
    Train("glif3", "NEST glif_psc", 400 * PA, 500, 22, (6.373, 22.455, 40.496, 59.188, 78.467), 487.172),
    Train("glif4", "NEST glif_psc", 400 * PA, 500, 22, (6.373, 18.801, 35.543, 53.004, 71.374), 494.533),
    Train("glif5", "NEST glif_psc", 400 * PA, 500, 20, (6.553, 20.192, 38.105, 56.931, 76.788), 475.245),
    Train("alif", "Brian2", 2, 1000, 29, (13.862, 31.202, 50.613, 72.352, 96.626), 974.591),
    Train("two_compartment_lif", "Brian2", 250 * PA, 300, 31, (16.093, 25.684, 35.188, 44.659, 54.117), 299.824),
    Train("gif", "NEST gif_psc_exp, Delta_V 1e-5 mV", 250 * PA, 500, 12, (16.42, 39.563, 71.532, 110.561), 472.307),
    Train("inactivating_threshold", "Brian2", 25 * MV, 300, 28, (8.791, 19.221, 29.951, 40.729), 299.616),
    Train("lif_kv", "Brian2", 800 * PA, 300, 29, (6.334, 15.011, 24.004, 33.283, 42.815), 296.737),
    Train("hill_tononi", "NEST ht_neuron", 30 * MV, 300, 22, (9.876, 14.773, 19.684, 24.61, 29.558, 34.541), 249.832),
    Train("integrate_and_fire_or_burst", "Brian2", 0.02, 400, 17, (9.429, 17.139, 26.394, 38.145, 53.931), 391.526),
    Train("pospischil", "Brian2", 0.01, 200, 3, (29.704, 75.772), 146.246),
    Train("connor_stevens", "Brian2", 0.1, 200, 6, (38.129, 67.501, 96.873, 126.245, 155.617), 184.989),
    Train("ca_ahp_lif", "Brian2", 700 * PA, 600, 21, (16.945, 27.898, 39.856, 53.022, 67.651), 595.796),
]


LONG = ("connor_stevens", "pospischil")  # they take most of the time


def assert_same_train(found: np.ndarray, expected: Train) -> None:
    """On a grid a spike and the end of a period fall on a step: one step for each interval so far at most.

    Three more: NEST's currents reach a neuron up to two steps late, Brian2 writes down the start of a spike's step.
    """
    assert len(found) == expected.count
    for k, time in (*enumerate(expected.first), (expected.count - 1, expected.last)):
        assert abs(found[k] - time) <= (k + 1 + 3) * STEP, f"spike {k}: {found[k]} and {time}"


@pytest.mark.parametrize(
    "expected",
    [pytest.param(t, marks=[pytest.mark.slow] if t.neuron in LONG else []) for t in TRAINS],
    ids=[t.neuron for t in TRAINS],
)
def test_spike_trains_of_other_simulators(expected: Train) -> None:
    assert_same_train(driven(expected.neuron, expected.current, expected.duration), expected)


def test_nest_holds_the_dendrite_too() -> None:
    model = load_model("two_compartment_lif+exp_synapse+bias_current")
    assert model.refractory is not None
    both = dataclasses.replace(model, refractory=dataclasses.replace(model.refractory, hold=("v", "v_d")))
    first = (16.094, 25.696, 35.196, 44.65, 54.082)
    nest = Train("both", "NEST iaf_cond_alpha_mc, g_pd 0", 250 * PA, 300, 31, first, 298.817)
    assert_same_train(train(both, 300, I_e=250 * PA), nest)


# --- closed forms -----------------------------------------------------------------------------------------------------

# a neuron that is reset to one potential: input, first spike, interval, in milliseconds
REGULAR = [
    ("lif_current", 400 * PA, 10 * np.log(16), 2 + 10 * np.log(16)),
    # the second period is over before the threshold is reached, and the other way round
    ("partial_refractory_lif", 400 * PA, 10 * np.log(16), 2 + 10 * np.log(16)),
    ("partial_refractory_lif", 5000 * PA, 10 * np.log(200 / 185), 3.0),
    ("lif_cuba", 0.0, 20 * np.log(11), 5 + 20 * np.log(11)),
    ("lif_coba", 20 * MV, 20 * np.log(2), 5 + 20 * np.log(2)),
    # the published conductance has six digits
    ("lif_conductance", 300 * PA, *(250 / 16.6667 * np.log(3e2 / (3e2 - 15 * 16.6667)) + np.array([0, 2.0]))),
    ("mihalas_niebur", 1.5, 20 * np.log(3), 20 * np.log(3)),
    ("glif1", 300 * PA, *(58.72 / 9.43 * np.log(300 / (300 - 9.43 * 27.17)) + np.array([0, 3.75]))),
]


@pytest.mark.parametrize(("neuron", "current", "first", "interval"), REGULAR, ids=[r[0] for r in REGULAR])
def test_regular_spikes(neuron: str, current: float, first: float, interval: float) -> None:
    found = driven(neuron, current, 300)
    if neuron == "lif_conductance":  # reset above rest
        interval = 2 + 250 / 16.6667 * np.log((300 - 10 * 16.6667) / (300 - 15 * 16.6667))
    expected = np.arange(first, 300, interval)
    assert len(expected) >= 5
    np.testing.assert_allclose(found, expected, rtol=0, atol=EXACT)


def test_a_constant_conductance(tmp_path: Path) -> None:
    """0.6 of the leak to 0 mV: settles at -37.5 mV with 12.5 ms."""
    (tmp_path / "opened.toml").write_text(
        """
kind = "mechanism"
title = "Open channel"
description = "A constant conductance over the leak."
[add]
inputs.I_syn = "g*(E_rev - v)"
[parameters]
g = { default = 0.6, unit = "1", description = "conductance over the leak" }
E_rev = { default = "0*mV", unit = "volt", description = "its reversal potential" }
"""
    )
    found = train(f"lif_coba+exp_synapse+{tmp_path / 'opened.toml'}", 100)
    rise = 12.5 * np.log(22.5 / 12.5)
    np.testing.assert_allclose(found, np.arange(rise, 100, 5 + rise), rtol=0, atol=EXACT)


# the input from which on a neuron fires, in SI units: what holds its potential at threshold
RHEOBASES = [
    ("lif_current", 25 * 15 * PA),
    ("partial_refractory_lif", 25 * 15 * PA),
    ("lif_cuba", -1 * MV),
    ("lif_coba", 10 * MV),
    ("lif_conductance", 16.6667 * 15 * PA),
    ("lif_sfa", 28.95 * 13 * PA),
    ("mat2", 100 / 5 * 19 * PA),
    ("glif1", 9.43 * 27.17 * PA),
    ("glif2", 9.43 * 27.17 * PA),
    ("glif3", 9.43 * 27.17 * PA),
    ("glif4", 9.43 * 27.17 * PA),
    ("alif", 1.0),
    ("two_compartment_lif", (10 + 5 * 2.5 / (5 + 2.5)) * 15 * PA),
    ("gif", 4 * 35 * PA),
    ("ca_ahp_lif", 25 * 16 * PA),
    ("mihalas_niebur", 50 * 20 * MV),
    # below V_h nothing but the leak holds the potential
    ("integrate_and_fire_or_burst", 0.35 * 5 * MV),
]


@pytest.mark.parametrize(("neuron", "rheobase"), RHEOBASES, ids=[r[0] for r in RHEOBASES])
def test_rheobase(neuron: str, rheobase: float) -> None:
    below, above = rheobase - 1e-3 * abs(rheobase), rheobase + 1e-3 * abs(rheobase)
    assert len(driven(neuron, below, 500)) == 0
    assert len(driven(neuron, above, 500)) > 0


def traces(times: np.ndarray, tau: float) -> np.ndarray:
    """Sum of what earlier spikes have left at each spike, just before it."""
    return np.array([np.exp((times[:k] - times[k]) / tau).sum() for k in range(len(times))])


def test_mat2_spikes_where_its_threshold_is() -> None:
    times = driven("mat2", 600 * PA, 500)
    v = 30 * (1 - np.exp(-times / 5))
    np.testing.assert_allclose(v, 19 + 37 * traces(times, 10) + 2 * traces(times, 200), rtol=0, atol=EXACT)


def test_mat2_spikes_at_the_end_of_its_period_while_above_threshold() -> None:
    """Rises to 195 mV, beyond the threshold until enough spikes 2 ms apart have raised it."""
    times = driven("mat2", 3900 * PA, 60)
    v = 195 * (1 - np.exp(-times / 5))
    beyond = v - (19 + 37 * traces(times, 10) + 2 * traces(times, 200))
    waited = np.append(False, np.abs(np.diff(times) - 2) < EXACT)
    assert 3 <= waited.sum() < len(times) - 5
    assert (beyond[waited] > EXACT).all()
    np.testing.assert_allclose(beyond[~waited], 0, rtol=0, atol=EXACT)


def test_amat2_spikes_where_its_threshold_is() -> None:
    times = driven("amat2", 200 * PA, 500)
    v = 10 * (1 - np.exp(-times / 10))
    # beta t exp(-t/5) with dv/dt = exp(-t/10)
    faster = 1 / 5 - 1 / 10
    filtered = (np.exp(-times / 10) - np.exp(-times / 5) * (1 + faster * times)) / faster**2
    np.testing.assert_allclose(v, 5 + 10 * traces(times, 10) - 0.3 * filtered, rtol=0, atol=EXACT)


def test_amat2_without_its_voltage_dependence_settles() -> None:
    times = train("amat2+exp_synapse+bias_current", 400, I_e=200 * PA, beta=0.0)
    np.testing.assert_allclose(np.diff(times)[20:], 10 * np.log(3), rtol=0, atol=EXACT)


def test_alif_spikes_where_its_threshold_is() -> None:
    times = driven("alif", 2, 1000)
    v = 2 * (1 - np.exp(-times / 20)) - traces(times, 20)
    np.testing.assert_allclose(v, 1 + 0.174 * traces(times, 200), rtol=0, atol=EXACT)


def test_alif_spikes_at_the_end_of_its_period_while_above_threshold() -> None:
    times = driven("alif", 12, 60)
    assert np.diff(times)[:3] == pytest.approx(5, abs=EXACT)


def test_glif2_spikes_where_its_threshold_is() -> None:
    times = driven("glif2", 300 * PA, 300)
    tau, rise = 58.72 / 9.43, 300 / 9.43
    before, at, v, th = 0.0, np.zeros(len(times)), 0.0, 0.0  # potential and threshold from those at rest, in mV
    for k, time in enumerate(times):
        v = rise + (v - rise) * np.exp(-(time - before) / tau)
        th *= np.exp(-9e-3 * (time - before))
        at[k] = v - 27.17 - th
        v, th, before = 0.2 * v + 18.51, th * np.exp(-9e-3 * 3.75) + 0.37, time + 3.75
    np.testing.assert_allclose(at, 0, rtol=0, atol=EXACT)


def test_the_first_spike_of_the_gif_neuron() -> None:
    assert driven("gif", 250 * PA, 500)[0] == pytest.approx(20 * np.log(62.5 / 27.5), abs=EXACT)


def test_the_threshold_of_glif5_settles_where_its_rates_say() -> None:
    network = network_of(load_model("glif5+exp_synapse+bias_current"), 300, I_e=200 * PA)
    samples = oracle.simulate(network, {"in": np.full((1, 1, 1), np.inf)}, method="matrix-exponential")
    steady = samples.samples("th_v", np.array([0.3])).value.item()
    assert steady == pytest.approx(5 / 90 * 200 * PA / 9.43e-9, rel=1e-9)


def test_resonate_and_fire_turns() -> None:
    """From rest to its threshold, and from there down and round, around the fixed point of a constant input."""
    rate, drive = complex(-0.1, 1.0), 1.0  # per ms
    still = -drive / rate

    def next_spike(z: complex, after: float) -> float:
        turn = brentq(lambda t: (rate * (z - still) * np.exp(rate * t)).imag, after, np.pi + after)  # the next peak
        return brentq(lambda t: (still + (z - still) * np.exp(rate * t)).imag - 1, after, turn)

    times = driven("resonate_and_fire", 1000, 60)
    first = next_spike(0j, 1e-9)
    # i falls at first, as far as the trough
    trough = brentq(lambda t: (rate * (1j - still) * np.exp(rate * t)).imag, 1e-9, np.pi)
    again = next_spike(1j, trough + 1e-9)
    np.testing.assert_allclose(times, first + again * np.arange(len(times)), rtol=0, atol=EXACT)
    assert len(times) == 18


def test_resonate_and_fire_wants_its_frequency() -> None:
    """Two pushes a turn apart make it spike, two pushes half a turn apart don't."""
    for apart, spikes in ((2 * np.pi, 1), (np.pi, 0)):
        found = train("resonate_and_fire", 20, weights=(8.5e3, 8.5e3), times=(1.0, 1.0 + apart), tau_syn=0.1 * MS)
        assert len(found) == spikes


# a, A_1, A_2 and the input of the paper's patterns, as published code has them
def pattern(a: float, A_1: float, A_2: float, drive: float, duration: float = 500) -> np.ndarray:
    model = "mihalas_niebur+exp_synapse+bias_current"
    return np.diff(train(model, duration, I_e=drive, a=a, A_1=A_1, A_2=A_2))


def test_mihalas_niebur_adapts() -> None:
    intervals = pattern(5, 0, 0, 2)
    assert (np.diff(intervals) > 0).all() and intervals[-1] > 1.2 * intervals[0]


def test_mihalas_niebur_spikes_phasically() -> None:
    """Above rest by 30 mV, below a threshold that settles at 35 mV."""
    assert len(train("mihalas_niebur+exp_synapse+bias_current", 3000, I_e=1.5, a=5.0)) < 10


def test_mihalas_niebur_spikes_when_hyperpolarised() -> None:
    """The threshold comes down to the potential, and a spike lifts it to th_reset."""
    times = train("mihalas_niebur+exp_synapse+bias_current", 400, I_e=-1.0, a=30.0)
    assert len(times) == 3
    # from th_reset 10 mV above rest, and v at rest as at the start, where th is 20 mV above it
    assert np.ptp(np.diff(times)) < EXACT and times[0] > np.diff(times)[0]


def test_mihalas_niebur_bursts() -> None:
    intervals = pattern(5, 10, -0.6, 2)
    between = intervals > 4 * intervals.min()
    assert 2 <= between.sum() < len(intervals) / 3


def test_a_hyperpolarised_relay_cell_bursts() -> None:
    """Its T-current is available at -65 mV and not at -59 mV, from where the same step makes single spikes."""
    burst = np.diff(driven("integrate_and_fire_or_burst", 0.012, 400))
    model = "integrate_and_fire_or_burst+exp_synapse+bias_current"
    single = np.diff(train(model, 400, I_e=0.012 - 0.35 * 6 * MV, E_L=-59 * MV))
    assert burst[0] < 0.15 * burst[-1]
    assert single[0] == pytest.approx(single[-1], rel=0.05)


@pytest.mark.slow
def test_an_a_current_makes_low_rates_possible() -> None:
    intervals = [np.diff(driven("connor_stevens", current, 330))[-1] for current in (0.085, 0.09, 0.1)]
    assert intervals[0] > 1.5 * intervals[1] > 2 * intervals[2]


def test_deltas_of_the_theta_neuron_add_to_the_quadratic_potential() -> None:
    """V = tan(theta/2) is 1/(1/V - t/tau) without input, and goes to infinity where that does."""
    V = 0.5
    V = 1 / (1 / V - 4 / 10) + 0.7
    V = 1 / (1 / V - 1 / 10) - 0.4
    found = train("theta+theta_delta_synapse", 40, weights=(0.5, 0.7, -0.4), times=(1.0, 5.0, 6.0))
    np.testing.assert_allclose(found, [6 + 10 / V], rtol=0, atol=ROUNDED)


@pytest.mark.parametrize("neuron", ["lif_sfa", "gif", "alif", "lif_kv", "ca_ahp_lif"])
def test_rates_fall(neuron: str) -> None:
    row = next(t for t in TRAINS if t.neuron == neuron)
    intervals = np.diff(driven(neuron, row.current, row.duration))
    assert (np.diff(intervals)[:8] > 0).all()
    assert intervals[-1] > 1.2 * intervals[0]


@pytest.mark.parametrize(("slope", "spikes"), [(0.6, True), (1.2, False)])
def test_a_threshold_of_slope_above_one_outruns_slow_inputs(slope: float, spikes: bool) -> None:
    """An alpha function with a peak of 29 mV after 100 ms, and a jump of 16 mV."""
    name, k_a = "inactivating_threshold", slope * 5 * MV
    slow = {"tau_rise": 0.1, "tau_syn": 0.1, "k_a": k_a}
    assert (len(train(f"{name}+alpha_synapse", 400, weights=(80 * MV,), times=(1.0,), **slow)) > 0) == spikes
    assert len(train(f"{name}+delta_synapse", 20, weights=(16 * MV,), times=(1.0,), k_a=k_a)) > 0


# --- the same model in two ways ---------------------------------------------------------------------------------------

SAME = [
    ("glif2", "glif1", {"f_v": 0.0, "delta_v": 0.0, "delta_th": 0.0}, {}, EXACT),
    ("glif4", "glif3", {"f_v": 0.0, "delta_v": 0.0, "delta_th": 0.0}, {}, EXACT),
    ("glif4", "glif2", {"delta_I_1": 0.0, "delta_I_2": 0.0}, {}, EXACT),
    ("glif5", "glif4", {"a_v": 0.0}, {}, EXACT),
    ("partial_refractory_lif", "lif_current", {"t_tot": 2 * MS}, {}, ROUNDED),
    ("lif_conductance", "lif_current", {}, {"g_L": 16.6667e-9, "v_reset": -60 * MV}, EXACT),
    (
        "gif",
        "lif_current+current_adaptation+adaptive_threshold",
        {},
        {
            **{"C_m": 80e-12, "g_L": 4e-9, "v_th": -35 * MV, "v_reset": -55 * MV, "t_ref": 4 * MS},
            **{"tau_z": 0.1, "b": 10 * PA, "tau_a": 0.1, "beta": 10 * MV},
        },
        EXACT,
    ),
    (
        "lif_sfa",
        "lif_conductance+spike_frequency_conductance+relative_refractory",
        {},
        {
            **{"C_m": 289.5e-12, "g_L": 28.95e-9, "v_th": -57 * MV, "v_reset": -70 * MV, "t_ref": 0.5 * MS},
            **{"q_sfa": 14.48e-9, "tau_sfa": 0.11, "q_rr": 3214e-9, "tau_rr": 1.97 * MS},
        },
        ROUNDED,
    ),
    (
        "ca_ahp_lif",
        "lif_current+spike_frequency_conductance",
        {},
        {
            **{"C_m": 500e-12, "v_th": -54 * MV, "v_reset": -60 * MV},
            **{"q_sfa": 0.2 * 7.5e-9, "tau_sfa": 0.3, "E_sfa": -10 * MV},
        },
        ROUNDED,
    ),
    (
        "lif_kv",
        "lif_current+m_current",
        {},
        {"g_M": 10e-9, "E_M": -20 * MV, "V_M": 20 * MV, "k_M": 5 * MV, "tau_M": 0.1, "delta_m": 0.1},
        ROUNDED,
    ),
]


@pytest.mark.parametrize(("one", "other", "ours", "theirs", "bound"), SAME, ids=[f"{s[0]}={s[1]}" for s in SAME])
def test_the_same_model_in_two_ways(
    one: str, other: str, ours: dict[str, float], theirs: dict[str, float], bound: float
) -> None:
    current = 900 * PA
    first = train(f"{one}+exp_synapse+bias_current", 120, I_e=current, **ours)
    second = train(f"{other}+exp_synapse+bias_current", 120, I_e=current, **theirs)
    assert len(first) >= 5
    np.testing.assert_allclose(first, second, rtol=0, atol=bound)


def test_alif_of_mechanisms() -> None:
    values = {"tau_a": 0.2, "beta": 0.174, "t_ref": 5 * MS}
    for drive in (2.0, 12.0):
        found = train("lif+exp_synapse+adaptive_threshold+soft_reset+dead_time+bias_current", 200, I_e=drive, **values)
        np.testing.assert_allclose(found, driven("alif", drive, 200), rtol=0, atol=EXACT)


# --- mechanisms -------------------------------------------------------------------------------------------------------


def test_a_reset_by_subtraction_keeps_what_a_jump_brought_beyond_the_threshold() -> None:
    jumps = {"weights": (1.5, 0.6), "times": (5.0, 6.0)}
    assert train("lif+delta_synapse", 20, **jumps) == pytest.approx([5.0])
    # 0.5 is left, of which 0.476 a millisecond later
    assert train("lif+delta_synapse+soft_reset", 20, **jumps) == pytest.approx([5.0, 6.0])


def test_a_fraction_of_the_potential_is_left() -> None:
    found = train("lif+exp_synapse+bias_current+reset_fraction", 100, I_e=2.0, f_v=0.2, delta_v=0.1)
    np.testing.assert_allclose(np.diff(found), 20 * np.log((2 - 0.3) / (2 - 1)), rtol=0, atol=EXACT)


def test_rheobase_of_a_threshold_that_follows_the_potential() -> None:
    """The threshold settles at 1 + v/18."""
    rheobase = 1 / (1 - 5 / 90)
    name = "lif+exp_synapse+threshold_coupling+bias_current"
    assert len(train(name, 500, I_e=0.999 * rheobase)) == 0
    assert len(train(name, 500, I_e=1.001 * rheobase)) > 0


def test_an_afterhyperpolarisation_peaks_as_it_says() -> None:
    model = load_model("lif+delta_synapse+afterhyperpolarisation")
    network = network_of(model, 40, (1.5,), G_ahp=0.7, tau_ahp=5 * MS)
    run = oracle.simulate(network, {"in": np.full((1, 1, 1), 2 * MS)}, method="runge-kutta")
    at = run.samples("g_ahp", np.array([2.0, 4.0, 7.0, 17.0]) * MS).value.ravel()
    t = np.array([0.0, 2.0, 5.0, 15.0]) / 5
    np.testing.assert_allclose(at, 0.7 * t * np.exp(1 - t), rtol=0, atol=1e-9)
