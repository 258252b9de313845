"""Every model of the library: gradients equal differences of the simulated loss at any dt, and the reference's."""

from __future__ import annotations

import numpy as np
import pytest

from snnmodels.eventprop import GradientReport, check_gradient
from snnmodels.templates import load_model
from tests.exactness.networks import LINEAR, MS, NONLINEAR, RESONANT, library_probe

DIFFERENCES = 1e-8  # what central differences resolve at least, unless they say otherwise
ROUNDING = 1e-10


def assert_agrees(report: GradientReport) -> None:
    assert report.ok, str(report)
    assert report.unresolved == 0
    assert all(n > 0 for n in report.spikes.values())
    assert {r.key: r.differences for r in report.rows if r.differences > max(DIFFERENCES, 3 * r.resolution)} == {}


def assert_exact(report: GradientReport) -> None:
    assert report.exact, str(report)
    assert {r.key: r.oracle for r in report.rows if not r.oracle <= ROUNDING} == {}


@pytest.mark.parametrize("dt", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("name", LINEAR)
def test_linear_models(name: str, dt: float) -> None:
    report = check_gradient(library_probe(name, LINEAR[name]), dt=dt * MS)
    assert_agrees(report)
    assert_exact(report)
    # a group whose gradient vanishes (weights, where arrivals alone set the spike times) is no evidence
    assert sum(not r.absolute for r in report.rows) >= (1 if "delta" in name else 8)


SLOW = pytest.mark.slow


@pytest.mark.parametrize("dt", [pytest.param(1.0, marks=SLOW), 0.5, pytest.param(0.1, marks=SLOW)])
def test_resonant_membrane(dt: float) -> None:
    report = check_gradient(library_probe(RESONANT), dt=dt * MS)
    assert_agrees(report)
    if dt < 1:
        assert_exact(report)
    else:  # one spike causes another within a step; the effect is gone from half that step on
        assert [e < ROUNDING for _, e in report.convergence] == [False, True, True, True]


@pytest.mark.parametrize("dt", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("name", NONLINEAR)
def test_nonlinear_models_are_differentiated_exactly(name: str, dt: float) -> None:
    """The derivative of the simulation, whatever the simulation's own error at this dt."""
    assert_agrees(check_gradient(library_probe(name), dt=dt * MS, oracle=False))


@pytest.mark.parametrize("dt", [0.2, pytest.param(1.0, marks=SLOW)])
@pytest.mark.parametrize("name", NONLINEAR)
def test_nonlinear_models_approach_the_reference(name: str, dt: float) -> None:
    report = check_gradient(library_probe(name), dt=dt * MS, elements=1)
    assert report.ok
    assert not report.exact
    assert report.order is not None
    assert report.order > 1.7, str(report)
    assert report.convergence[-1][1] < 3e-3


@pytest.mark.parametrize("name", ["lif+exp_synapse", pytest.param("lif+alpha_synapse", marks=SLOW)])
def test_recurrent_network(name: str) -> None:
    report = check_gradient(load_model(name), recurrent=True, dt=0.1 * MS)
    assert_agrees(report)
    recurrent = next(r for r in report.rows if r.key == "hidden_hidden.w")
    assert recurrent.norm > 0.01
    if report.exact:
        assert_exact(report)
    assert np.isfinite(report.smallest_gdot)
