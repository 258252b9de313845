"""One neuron of each nonlinear model of the library, driven by three spikes: its train and all gradients are exact."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from snnmodels.gradients import check_gradient
from snnmodels.templates import load_model
from tests.exactness.networks import NEAR, Bounds, Case, assert_agrees, one, reference, simulated
from tests.needs import COMPILED, HAS_COMPILER

FAST = "cpp_standalone" if HAS_COMPILER else "numpy"


class Driven(NamedTuple):
    """A model, the weight of three spikes, and the length of the trial in ms."""

    model: str
    weight: float
    duration: float = 25


MODELS = [
    Driven("theta", 1.5, 30),
    Driven("adex", 1.2e-9),
    Driven("izhikevich", 8),
    Driven("izhikevich_2007", 4e-10),
    Driven("lif_ahp", 3e-9),
    Driven("fitzhugh_nagumo", 0.5),
    Driven("hindmarsh_rose", 1.5),
    Driven("morris_lecar", 1.2, 40),
    Driven("hodgkin_huxley", 1e-9, 20),
    Driven("traub", 5e-10, 20),
    Driven("wang_buzsaki", 3e-10, 20),
    Driven("terman_rubin_gpe", 2e-11, 20),
    Driven("lif+exp_conductance", 1.0),
    Driven("qif+alpha_conductance", 0.5),
    Driven("adex+beta_conductance", 15e-9),
    Driven("adex+ampa", 100e-9),
    Driven("adex+nmda", 100e-9, 30),
    Driven("adex+nmda_sigmoid", 100e-9),
]


def case_of(driven: Driven, **parameters: float) -> Case:
    return one(
        3 * [driven.weight], [1.0, 4.0, 9.0], load_model(driven.model), duration=driven.duration * 1e-3, **parameters
    )


QUICK = {"adex", "izhikevich", "hodgkin_huxley", "lif+exp_conductance", "adex+nmda"}  # a kind of each; the rest is slow


def models(quick: set[str]) -> list[object]:
    return [pytest.param(d, marks=() if d.model in quick else pytest.mark.slow, id=d.model) for d in MODELS]


@pytest.mark.parametrize("driven", models(QUICK))
def test_the_reference_finds_the_same(driven: Driven) -> None:
    case = case_of(driven)
    found = simulated(case, FAST)
    assert len(found.spikes["output"][0, 0]) > 0
    assert_agrees(found, reference(case), NEAR)


@pytest.mark.parametrize("driven", models({"izhikevich"}))
def test_differences_find_the_same(driven: Driven) -> None:
    case = case_of(driven)
    report = check_gradient(case.network, inputs=case.inputs, target=FAST, oracle=False, elements=1)  # type: ignore[arg-type]
    assert report.ok, str(report)


@pytest.mark.parametrize("target", ["numpy", COMPILED])
def test_adex_cut_at_0_mV(target: str) -> None:
    """There the potential rises by 2e10 V/s, delta_T within the last digits of a spike time.

    A spike is put at a number, so its potential is off by as much as it rises within the spacing of numbers, and ġ by
    that over delta_T: 1.6e-5, which is what the gradient is good for. The reference has absolute times, too, and stops.
    """
    case = case_of(Driven("adex", 1.2e-9), v_peak=0.0)
    found = simulated(case, target)
    digits = np.spacing(found.spikes["output"][0, 0, 0]) * found.outcome.smallest_gdot / 2e-3
    assert 1e-6 < digits < 3e-5
    assert_agrees(found, simulated(case, FAST, tolerance=1e-14), Bounds(1e-9, digits))
