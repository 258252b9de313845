"""The derived adjoint against published rules and against what must be refused."""

from __future__ import annotations

import dataclasses

import brian2
import pytest
import sympy as sp

from snnmodels.symbolic import (
    Adjoint,
    HybridSystem,
    NotDifferentiable,
    hybrid_system,
    print_expression,
    published_lif_rule,
    symbol,
)
from snnmodels.symbolic.adjoint import DL_DT, DL_JUMP, Q_SPIKE, S_ARRIVALS
from snnmodels.templates import load_model
from tests.oracle import models

LIBRARY = [
    ("lif", "exp_synapse"),
    ("lif", "delta_synapse"),
    ("lif", "alpha_synapse"),
    ("leaky_integrator", "exp_synapse"),
    ("integrate_and_fire", "exp_synapse"),
    ("lif", "exp_synapse", "adaptive_threshold"),
    ("lif", "exp_synapse", "current_adaptation"),
    ("qif", "exp_synapse"),
    ("eif", "exp_synapse"),
]


def derive(model) -> Adjoint:
    return Adjoint.derive(hybrid_system(model))


def symbols(names: str) -> list[sp.Symbol]:
    return [symbol(n) for n in names.split()]


def test_lif_jump_is_the_published_rule() -> None:
    # written out here by hand, independently of snnmodels.symbolic.published
    a = derive(models.lif())
    v, i, lam_v, tau_m, v_th = symbols("v i_syn lambda_v tau_m v_th")
    lam_i_post, lam_v_post, tau_s, w = symbols("lambda_I lambda_V tau_syn w")
    jump = a.spike.explicit(a.spike.jump[lam_v]).subs({symbol("v_reset"): 0, symbol("v_rest"): 0, v: v_th})
    s_a = a.arrivals["syn"].sensitivity.subs({lam_v: lam_v_post, symbol("lambda_i_syn"): lam_i_post})
    jump = jump.subs(S_ARRIVALS, s_a)
    published = (i * lam_v - tau_m * (DL_DT + w * (lam_i_post / tau_s - lam_v_post / tau_m))) / (i - v_th)
    assert sp.simplify(jump - published) == 0
    assert a.spike.jump[symbol("lambda_i_syn")] == symbol("lambda_i_syn")


def test_lif_flow_and_gradients() -> None:
    a = derive(models.lif())
    lam_v, lam_i, tau_m, tau_s, i = symbols("lambda_v lambda_i_syn tau_m tau_syn i_syn")
    assert sp.simplify(a.flow[lam_v] + lam_v / tau_m) == 0
    assert sp.simplify(a.flow[lam_i] - lam_v / tau_m + lam_i / tau_s) == 0
    assert a.arrivals["syn"].gradient == lam_i
    assert sp.simplify(a.integrand[tau_s] - lam_i * i / tau_s**2) == 0
    assert a.spike.parameters == {symbol("v_th"): Q_SPIKE, symbol("v_reset"): lam_v}
    assert a.initial == {symbol("v_0"): lam_v}
    assert [p.name for p in a.parameters] == ["tau_m", "tau_syn", "v_th", "v_reset", "v_rest", "v_0"]


def test_adaptive_threshold_and_population_trace_equal_the_spike_coding_rule() -> None:
    # theta = theta_0 + nu + mu a + kappa B
    model = models.make(
        "joint",
        {"v": "(i - v)/tau_m", "i": "-i/tau_s", "a": "-a/tau_a", "b": "-b/tau_b"},
        {"tau_m": 0.02, "tau_s": 0.005, "tau_a": 0.03, "tau_b": 0.04, "theta_0": 1, "nu": 0, "mu": 0.1, "kappa": 0.1},
        "v > theta_0 + nu + mu*a + kappa*b",
        "v = 0; a += 1; b += 1",
        "i += w",
    )
    spike = derive(model).spike
    v, i, a, b, mu, kappa = symbols("v i a b mu kappa")
    tau_m, tau_s, tau_a, tau_b, w = symbols("tau_m tau_s tau_a tau_b w")
    p_v, p_i, p_a, p_b = symbols("lambda_v lambda_i lambda_a lambda_b")
    p_vo, p_io = symbols("p_Vo p_Io")
    v_dot_before, v_dot_after = (i - v) / tau_m, i / tau_m
    theta_dot = -mu * a / tau_a - kappa * b / tau_b
    num = p_v * v_dot_after + w * (p_vo / tau_m - p_io / tau_s) - p_a / tau_a - p_b / tau_b
    q = num / (v_dot_before - theta_dot)

    s_a = derive(model).arrivals["syn"].sensitivity.subs({p_v: p_vo, p_i: p_io})
    inside = {DL_DT: 0, S_ARRIVALS: s_a}

    def same(derived: sp.Expr, expected: sp.Expr) -> bool:
        return sp.simplify(spike.explicit(derived).subs(inside) - expected) == 0

    assert same(spike.jump[p_v], q)
    assert same(spike.jump[p_a], p_a - mu * q)
    assert same(spike.jump[p_b], p_b - kappa * q)
    assert same(spike.jump[p_i], p_i)
    assert same(spike.parameters[symbol("nu")], -q)
    assert same(spike.parameters[symbol("theta_0")], -q)
    assert same(spike.parameters[mu], -a * q)
    assert same(spike.parameters[kappa], -b * q)


@pytest.mark.parametrize("names", [{"v": "u", "i_syn": "x"}, {"tau_m": "t_1", "v_th": "theta"}])
def test_the_published_rule_is_recognised_whatever_the_names(names: dict[str, str]) -> None:
    system = hybrid_system(models.lif())
    into = {symbol(a): symbol(b) for a, b in names.items()}

    def renamed(table):
        return {k.xreplace(into): v.xreplace(into) if isinstance(v, sp.Basic) else v for k, v in table.items()}

    arrival = system.arrivals["syn"]
    other = HybridSystem(
        name="other",
        states=tuple(s.xreplace(into) for s in system.states),
        parameters=tuple(s.xreplace(into) for s in system.parameters),
        f=renamed(system.f),
        g=system.g.xreplace(into),
        h=renamed(system.h),
        arrivals={"syn": dataclasses.replace(arrival, jump=renamed(arrival.jump))},
        initial=renamed(system.initial),
        defaults=renamed(system.defaults),
        units=renamed(system.units),
    )
    rule = published_lif_rule(Adjoint.derive(other))
    assert rule is not None
    assert rule.agrees
    assert list(rule.conditions.values()) == [0]


@pytest.mark.parametrize(
    "model", [models.lif_delta(), models.lif_alpha(), models.adaptive(), models.qif(), models.integrator()]
)
def test_other_models_are_not_taken_for_the_published_one(model) -> None:
    assert published_lif_rule(derive(model)) is None


def test_a_subtractive_reset_is_not_taken_for_the_published_one() -> None:
    model = dataclasses.replace(models.lif(), reset=models.statements("v -= v_th"))
    assert published_lif_rule(derive(model)) is None


def test_which_arrivals_can_carry_a_neuron_across_threshold() -> None:
    assert derive(models.lif_delta()).arrivals["syn"].can_fire
    assert derive(models.lif_delta()).arrivals["syn"].crossing == symbol("w")
    assert not derive(models.lif()).arrivals["syn"].can_fire
    assert not derive(models.integrator()).arrivals["syn"].can_fire
    # through the threshold rather than through the membrane potential
    model = models.adaptive()
    receptor = dataclasses.replace(model.receptors["syn"], on_pre=models.statements("a -= w"))
    crossing = derive(dataclasses.replace(model, receptors={"syn": receptor})).arrivals["syn"].crossing
    assert crossing == symbol("mu") * symbol("w")


def test_resets_that_read_the_state_and_arrivals_that_read_parameters() -> None:
    model = models.make(
        "odd",
        {"v": "-v/tau_m"},
        {"tau_m": 0.02, "v_th": 1.0, "k": 0.5, "v_rev": 2.0},
        "v > v_th",
        "v *= k",
        "v += w*(v_rev - v)",
    )
    a = derive(model)
    v, lam, k, w, v_rev = symbols("v lambda_v k w v_rev")
    assert a.spike.parameters[k] == v * lam
    # k f(v) = f(k v): the displacement of the own state vanishes
    assert sp.simplify(a.spike.sigma - DL_DT - S_ARRIVALS) == 0
    assert a.arrivals["syn"].parameters == {v_rev: w * lam}
    assert sp.simplify(a.arrivals["syn"].jump[lam] - (1 - w) * lam) == 0
    assert sp.simplify(a.arrivals["syn"].gradient - (v_rev - v) * lam) == 0


def test_running_loss_enters_flow_and_sensitivities() -> None:
    a = Adjoint.derive(hybrid_system(models.lif()), running_loss=True)
    lam_v = symbol("lambda_v")
    assert sp.simplify(a.flow[lam_v] - symbol("dl_v") + lam_v / symbol("tau_m")) == 0
    assert sp.diff(a.spike.sigma, DL_JUMP) == 1
    assert sp.diff(a.arrivals["syn"].sensitivity, DL_JUMP) == 1


def test_linear_models_need_no_trajectory() -> None:
    assert derive(models.lif_alpha()).reads == frozenset()
    assert derive(models.qif()).reads == {symbol("v")}


@pytest.mark.parametrize("components", LIBRARY, ids="+".join)
def test_units_of_costates_are_reciprocal_and_the_flow_is_consistent(components: tuple[str, ...]) -> None:
    model = load_model(*components)
    adjoint = derive(model)
    for x, lam in adjoint.costates.items():
        product = f"({adjoint.system.units[x]})*({adjoint.units[lam]})"
        assert brian2.is_dimensionless(eval(product, {}, vars(brian2.units)))
    # Brian2 itself checks that both sides of the adjoint ODE have the same unit
    lines = [f"d{y}/dt = {print_expression(e)} : {adjoint.units[y]}" for y, e in adjoint.flow.items() if e != 0]
    lines += [f"{y} : {adjoint.units[y]}" for y, e in adjoint.flow.items() if e == 0]
    lines += [f"{x} : {adjoint.system.units[x]}" for x in adjoint.system.states]
    lines += [f"{p} : {adjoint.system.units[p]} (constant, shared)" for p in adjoint.system.parameters]
    group = brian2.NeuronGroup(1, "\n".join(lines), method="euler")
    group.equations.check_units(group, run_namespace={})
    brian2.Network(group)  # or Brian2 warns of a group that is never used


X, G = sp.Symbol("v", real=True), sp.Function("G")


@pytest.mark.parametrize(
    ("f", "part"),
    [
        (sp.Abs(X), "Abs"),
        (sp.Heaviside(X), "Heaviside"),
        (sp.Piecewise((X, X > 0), (0, True)), "Piecewise"),
        (sp.Max(X, 0), "Max"),
        (G(X), "G(v)"),
        (sp.DiracDelta(X), "DiracDelta"),
        (sp.sign(X), "sign"),
        (sp.Derivative(G(X), X), "G(v)"),
    ],
)
@pytest.mark.parametrize("where", ["f", "g", "h", "arrival"])
def test_maps_without_a_derivative_are_refused(f: sp.Expr, part: str, where: str) -> None:
    system = hybrid_system(models.lif_delta())
    v = symbol("v")
    match where:
        case "f":
            system = dataclasses.replace(system, f={v: f})
        case "g":
            system = dataclasses.replace(system, g=f - 1)
        case "h":
            system = dataclasses.replace(system, h={v: f})
        case _:
            arrival = dataclasses.replace(system.arrivals["syn"], jump={v: v + f})
            system = dataclasses.replace(system, arrivals={"syn": arrival})
    with pytest.raises(NotDifferentiable) as error:
        Adjoint.derive(system)
    assert part in str(error.value)
    assert "lif_delta" in str(error.value)


def test_unknown_names_are_refused() -> None:
    model = dataclasses.replace(models.lif_delta(), derivatives={"v": "(drive - v)/tau_m"})
    with pytest.raises(NotDifferentiable, match="the derivative of v reads 'drive'"):
        derive(model)


def test_costates_have_names_of_their_own() -> None:
    taken = models.make("m", {"v": "(lambda_v - v)/tau_m", "lambda_v": "0"}, {"tau_m": 0.02}, None, "", "v += w")
    adjoint = derive(taken)
    v, other = symbol("v"), symbol("lambda_v")
    assert [x.name for x in adjoint.costates.values()] == ["lambda_v_", "lambda_lambda_v"]
    assert adjoint.flow[adjoint.costates[other]] == adjoint.costates[v] / symbol("tau_m")
