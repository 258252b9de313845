"""The held system, and the adjoint at both ends of a refractory period."""

import pytest
import sympy as sp

from snnmodels.reports import derivation
from snnmodels.symbolic import Adjoint, HybridSystem, hybrid_system, published_lif_rule, symbol
from snnmodels.symbolic.adjoint import DL_DT, S_ARRIVALS, S_RELEASE
from snnmodels.templates import load_model
from tests.oracle import models

V, CURRENT = symbol("v"), symbol("i_syn")


def system(arrivals: str = "ignore", hold: tuple[str, ...] = ("v",)) -> HybridSystem:
    return hybrid_system(models.refractory(models.lif(), hold=hold, arrivals=arrivals))


def test_the_held_system_holds_and_does_not_spike() -> None:
    free = system()
    held = free.held()
    assert held.f == {V: 0, CURRENT: free.f[CURRENT]}
    assert held.g is None
    assert held.refractory is None
    assert held.arrivals["syn"].jump == free.arrivals["syn"].jump, "the current is not held"
    assert held.initial == free.initial
    with pytest.raises(ValueError, match="lif_exp_refractory has no refractory period"):
        held.held()


def test_arrivals_at_held_states_are_ignored_or_applied() -> None:
    w = symbol("w")
    for arrivals, after in (("ignore", V), ("apply", V + w)):
        model = models.refractory(models.lif_delta(), arrivals=arrivals)
        held = hybrid_system(model).held()
        assert held.arrivals["syn"].jump == {V: after}
        gradient = Adjoint.derive(held).arrivals["syn"].gradient
        assert gradient == (0 if arrivals == "ignore" else sp.Symbol("lambda_v", real=True))


def test_the_release_is_the_difference_of_the_flows() -> None:
    free = system()
    adjoint = Adjoint.derive(free)
    lam = adjoint.costates[V]
    assert adjoint.release is not None
    assert sp.simplify(adjoint.release.sensitivity + lam * free.f[V]) == 0
    assert adjoint.release.parameters == {symbol("t_ref"): S_RELEASE}
    assert symbol("t_ref") in adjoint.parameters
    assert Adjoint.derive(hybrid_system(models.lif())).release is None
    # nothing is held, so that there is no difference
    going_on = Adjoint.derive(system(hold=()))
    assert going_on.release is not None
    assert going_on.release.sensitivity == 0


def test_after_a_spike_the_neuron_follows_the_held_system() -> None:
    lam = sp.Symbol("lambda_v", real=True)
    held, free = (Adjoint.derive(s).spike for s in (system(), hybrid_system(models.lif())))
    assert held is not None
    assert free is not None
    assert held.sigma == DL_DT + S_ARRIVALS
    after = hybrid_system(models.lif()).f[V].xreplace({V: symbol("v_reset")})
    assert sp.simplify(free.sigma - (DL_DT + S_ARRIVALS - lam * after)) == 0


def test_a_refractory_neuron_is_not_the_published_one() -> None:
    assert published_lif_rule(Adjoint.derive(hybrid_system(load_model("lif")))) is not None
    assert published_lif_rule(Adjoint.derive(hybrid_system(load_model("lif", "refractory")))) is None


@pytest.mark.parametrize("format", ["text", "markdown", "latex"])
def test_a_derivation_has_the_end_of_the_period(format: str) -> None:
    text = derivation(hybrid_system(load_model("lif", "refractory")), format)
    assert "The end of the refractory period" in text
    assert "releases" in text
    assert "refractory" not in derivation(hybrid_system(load_model("lif")), format)
