"""Every model of the library: its spikes and gradients are the reference's, and differences of the simulated loss."""

from __future__ import annotations

import numpy as np
import pytest

from snnmodels.gradients import GradientReport, check_gradient
from tests.exactness.networks import (
    EXACT,
    LINEAR,
    NEAR,
    NONLINEAR,
    SLOW,
    Bounds,
    assert_agrees,
    case_of,
    library_probe,
    simulated,
)
from tests.needs import COMPILER, HAS_COMPILER

EVERY = [*((name, EXACT) for name in LINEAR), *((name, NEAR) for name in NONLINEAR)]
DIFFERENCES = 1e-8  # what differences resolve at least, unless they say otherwise
# seconds in NumPy, whose differences take minutes where a model is nonlinear
QUICK = ("lif+exp_synapse", "lif+delta_synapse+refractory")


def assert_right(report: GradientReport, bounds: Bounds) -> None:
    assert report.ok, str(report)
    assert report.unresolved == ()
    assert all(n > 0 for n in report.spikes.values())
    assert report.time_deviation is not None and report.time_deviation <= bounds.time
    assert {r.key: r.oracle for r in report.rows if r.oracle is None or not r.oracle <= bounds.gradient} == {}
    assert {r.key: r.differences for r in report.rows if r.differences > max(DIFFERENCES, r.resolution)} == {}
    # a group whose gradient vanishes (weights, where arrivals alone set the spike times) is no evidence
    assert sum(not r.absolute for r in report.rows if r.elements[0]) >= (1 if "delta" in report.name else 8)


@COMPILER
@pytest.mark.parametrize(("name", "bounds"), EVERY)
def test_cpp_standalone(name: str, bounds: Bounds) -> None:
    assert_right(check_gradient(library_probe(name), target="cpp_standalone"), bounds)


@pytest.mark.parametrize(("name", "bounds"), [pytest.param(n, b, marks=[] if n in QUICK else SLOW) for n, b in EVERY])
def test_numpy(name: str, bounds: Bounds) -> None:
    assert_right(check_gradient(library_probe(name), target="numpy"), bounds)


@pytest.mark.parametrize(("name", "bounds"), [(n, b) for n, b in EVERY if n not in QUICK])
def test_numpy_beside_the_reference(name: str, bounds: Bounds) -> None:
    report = check_gradient(library_probe(name), target="numpy", elements=0)
    assert report.ok, str(report)
    assert report.time_deviation is not None and report.time_deviation <= bounds.time
    assert {r.key: r.oracle for r in report.rows if r.oracle is None or not r.oracle <= bounds.gradient} == {}


@COMPILER
@pytest.mark.parametrize(("name", "bounds"), EVERY)
def test_both_targets_agree(name: str, bounds: Bounds) -> None:
    case = case_of(library_probe(name))
    same = Bounds(1e-14, 1e-12) if bounds is EXACT else Bounds(1e-13, 1e-10)
    assert_agrees(simulated(case, "cpp_standalone"), simulated(case), same)


@COMPILER
@pytest.mark.parametrize("name", [NONLINEAR[0], *(pytest.param(n, marks=SLOW) for n in NONLINEAR[1:])])
def test_nonlinear_models_meet_the_reference_at_a_tight_tolerance(name: str) -> None:
    report = check_gradient(library_probe(name), target="cpp_standalone", flow_tolerance=1e-13, tolerance=1e-8)
    assert report.ok, str(report)
    assert report.time_deviation is not None and report.time_deviation <= 1e-12
    assert {r.key: r.oracle for r in report.rows if r.oracle is None or not r.oracle <= 1e-9} == {}


@pytest.mark.parametrize("name", ["lif+exp_synapse", "lif+exp_synapse+refractory", "lif+delta_synapse"])
def test_recurrent_networks(name: str) -> None:
    target = "numpy" if not HAS_COMPILER else "cpp_standalone"
    report = check_gradient(library_probe(name, recurrent=True), target=target)
    assert_right(report, EXACT)
    recurrent = next(r for r in report.rows if r.key == "hidden_hidden.w")
    assert recurrent.norm > 0.01 or "delta" in name
    assert np.isfinite(report.smallest_gdot) or "delta" in name
