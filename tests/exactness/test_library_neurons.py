"""Every neuron and mechanism of the library in a network of two: spikes and gradients beside the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pytest

from snnmodels.gradients import GradientReport, check_gradient
from snnmodels.symbolic.declaration import hybrid_system
from snnmodels.targets import Target
from snnmodels.templates import Network, Population, Projection, SpikeInput, load_model
from tests.exactness.networks import EXACT, MS, NEAR, SLOW, assert_agrees, one, reference, simulated
from tests.needs import COMPILER, HAS_COMPILER
from tests.oracle.networks import Polynomial

NA, MV = 1e-9, 1e-3


def both(*names: str) -> tuple[str, ...]:
    """Parameters of both neurons."""
    return tuple(f"{p}.{name}" for p in ("first", "second") for name in names)


class Row(NamedTuple):
    """A model, and the size of the weights with which two neurons of it spike a few times.

    `still` are parameters that change nothing there, whose gradient is 0. `tolerance` is how closely flows are
    followed, closer than by default where a stiff one needs it for the bound on gradients. `parameters` differ from
    the defaults.
    """

    name: str
    weight: float
    still: tuple[str, ...] = ()
    tolerance: float = 1e-10
    parameters: Mapping[str, float] = {}


ROWS = [
    Row("lif_current", 1.2 * NA),
    Row("partial_refractory_lif", 1.2 * NA, both("t_tot")),  # no spike is due in a period
    Row("partial_refractory_lif", 4 * NA),  # spikes at the end of the block
    Row("lif_cuba", 20 * MV),
    Row("lif_coba", 40 * MV),
    Row("lif_conductance", 0.8 * NA),
    Row("lif_sfa", 2 * NA, tolerance=1e-11),
    # no spike is due within a period, and no potential is anywhere but from v_rest
    Row("mat2", 1.2 * NA, both("t_ref", "v_rest")),
    Row("mat2", 2.4 * NA, ("first.t_ref", *both("v_rest"))),
    # spikes raise no slow part
    Row("amat2", 0.25 * NA, both("t_ref", "tau_2")),
    Row("amat2", 0.4 * NA, ("first.t_ref", *both("tau_2"))),
    Row("glif1", 0.6 * NA),
    Row("glif2", 0.6 * NA),
    Row("glif3", 0.6 * NA),
    Row("glif4", 0.6 * NA),
    Row("glif5", 0.6 * NA),
    Row("alif", 3.0, both("t_ref")),
    Row("alif", 3.6),
    Row("two_compartment_lif", 0.35 * NA),
    Row("gif", 0.5 * NA),
    Row("inactivating_threshold", 40 * MV),
    Row("lif_kv", 1.2 * NA),
    Row("ca_ahp_lif", 1.6 * NA),
    # without currents after spikes nothing asks how they decay, and th stays at th_inf
    Row("mihalas_niebur", 4.0, both("th_reset", "b", "k_1", "k_2", "R_1", "R_2")),
    Row("mihalas_niebur", 4.0, both("th_reset"), parameters={"a": 5, "A_1": 5, "A_2": -0.3}),
    # the reset lifts the threshold
    Row("mihalas_niebur", 3.0, parameters={"a": 5, "A_1": 5, "A_2": -0.3, "th_inf": -62 * MV}),
    Row("resonate_and_fire", 800),
    # recovered from the start, and never below V_h again
    Row("integrate_and_fire_or_burst", 0.03, both("tau_plus")),
    # spikes take it below V_h
    Row("integrate_and_fire_or_burst", 0.06, parameters={"v_reset": -64 * MV}),
    Row("hill_tononi", 1, tolerance=1e-11),
    Row("theta+theta_delta_synapse", 2.0),
    Row("lif+bias_current", 3.0),
    Row("lif_current+bias_current", 1.2 * NA),
    Row("lif+alpha_synapse+soft_reset", 4.0),
    Row("lif+exp_synapse+reset_fraction", 3.0, both("v_reset")),  # which it replaces
    Row("lif+dead_time", 20.0),
    Row("lif+partial_refractory", 20.0),
    Row("lif+threshold_coupling", 3.0),
    Row("lif+spike_frequency_conductance", 3.0),
    Row("lif+relative_refractory", 3.0),
    Row("lif+afterhyperpolarisation", 3.0),
    Row("lif+m_current", 3.0),
]
# compiled in seconds, and each of another kind
QUICK = ("lif_current", "mat2", "glif2", "alif", "lif_kv", "resonate_and_fire", "lif_current+bias_current")
IDS = [f"{row.name}, {row.weight:g}, {len(row.parameters)}" for row in ROWS]


def network_of(row: Row) -> tuple[Network, dict[str, np.ndarray]]:
    """Three sources, a neuron, a delay, and another; everything learnable, inputs that nothing drives among it."""
    model = load_model(row.name)
    rng = np.random.default_rng(3)
    receptor = next(iter(model.receptors))
    learnable = tuple(model.parameters)
    network = Network(
        row.name,
        (SpikeInput("in", 3),),
        tuple(Population(name, 1, model, row.parameters, learnable=learnable) for name in ("first", "second")),
        (
            Projection("in_first", "in", "first", row.weight * rng.uniform(0.6, 1.0, (3, 1)), receptor),
            Projection("in_second", "in", "second", row.weight * rng.uniform(0.3, 0.6, (3, 1)), receptor),
            Projection(
                "first_second",
                "first",
                "second",
                np.array([[row.weight]]),
                receptor,
                learnable=("w", "delay"),
                delay=1.3 * MS,
            ),
        ),
        "second",
        60 * MS,
    )
    return network, {"in": np.sort(rng.uniform(0.5, 35, (1, 3, 3)), axis=2) * MS}


def report_of(row: Row, target: Target, elements: int) -> GradientReport:
    network, inputs = network_of(row)
    return check_gradient(
        network,
        inputs=inputs,
        loss=Polynomial(),
        target=target,
        elements=elements,
        flow_tolerance=row.tolerance,
    )


def assert_exact(row: Row, report: GradientReport) -> None:
    bounds = EXACT if hybrid_system(load_model(row.name)).is_linear else NEAR
    assert report.ok, str(report)
    assert all(n >= 2 for n in report.spikes.values()), report.spikes
    assert report.time_deviation is not None and report.time_deviation <= bounds.time
    assert {r.key: r.oracle for r in report.rows if r.oracle is None or not r.oracle <= bounds.gradient} == {}
    # a gradient that vanishes is no evidence
    assert {r.key for r in report.rows if r.norm < 1e-9} == set(row.still)


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_beside_the_reference(row: Row) -> None:
    assert_exact(row, report_of(row, "numpy", 0))


@COMPILER
@pytest.mark.parametrize(
    "row", [pytest.param(row, marks=[] if row.name in QUICK else SLOW) for row in ROWS], ids=IDS
)
def test_differences(row: Row) -> None:
    report = report_of(row, "cpp_standalone", 2)
    assert_exact(row, report)
    assert report.unresolved == ()


@SLOW
@pytest.mark.parametrize(("name", "weight"), [("pospischil", 0.2), ("connor_stevens", 0.3)])
def test_channels(name: str, weight: float) -> None:
    """One neuron and three arrivals, compiled where that is possible: these are stiff."""
    case = one(3 * [weight], [1.0, 4.0, 9.0], load_model(name), duration=20 * MS)
    found = simulated(case, "cpp_standalone" if HAS_COMPILER else "numpy", tolerance=1e-11)
    assert len(found.spikes["output"][0, 0]) >= 2
    assert_agrees(found, reference(case), NEAR)
    report = check_gradient(
        case.network,
        inputs=case.inputs,  # type: ignore[arg-type]
        target="cpp_standalone" if HAS_COMPILER else "numpy",
        oracle=False,
        elements=1,
    )
    assert report.ok, str(report)
