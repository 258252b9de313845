"""The derived rule equals the published one for the known costs, and brute force for any cost."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from snnmodels.coding import (
    CodingNetwork,
    Trace,
    derive,
    joint_loss,
    load_coding_network,
    random_decoder,
    simulate,
    smooth_signal,
)
from snnmodels.coding.spike_rule import D_I, LEAK, X_DOT, A, C, D, E, R, W, X
from snnmodels.symbolic.parsing import parse_expression, symbol


def same(one: sp.Expr, other: str) -> bool:
    return sp.simplify(one - parse_expression(other)) == 0


def test_threshold_of_the_three_costs(three_costs) -> None:
    rule = derive(three_costs())
    assert same(rule.threshold, "(d**2 + mu + nu + kappa)/2 + mu*a + kappa*(B - z)")
    assert same(rule.constant, "(d**2 + mu + nu + kappa)/2 - kappa*z")
    assert same(rule.increments["adaptation"], "mu*(2*a + 1)")
    assert set(rule.coefficients) == {"a", "B"}


def test_weight_form_of_the_three_costs(three_costs) -> None:
    rule = derive(three_costs(tau_a=0.1))
    assert {k: str(v) for k, v in rule.activity_weights.items()} == {"a": "mu", "B": "kappa"}
    tau_a, tau_r = rule.time_constant("a"), rule.time_constant("r")
    assert sp.simplify(rule.currents["a"] - symbol("mu") * (1 / tau_a - 1 / tau_r)) == 0


def test_a_cost_in_the_readout_trace_needs_no_current() -> None:
    rule = derive(joint_loss({"quadratic": "mu*r**2"}, parameters={"mu": 1.0}))
    assert rule.currents == {"r": 0}


def test_coding_term() -> None:
    coding = derive(joint_loss()).coding
    assert coding.increment == D_I.T * D_I - 2 * D_I.T * E
    assert coding.voltage == D_I.T * E
    assert coding.square == D_I.T * D_I
    assert coding.recurrent == D.T * D
    assert coding.feedforward == LEAK * D.T * X + D.T * X_DOT
    assert coding.slow is None


def test_weighted_coding_term() -> None:
    coding = derive(joint_loss(weight=np.diag([4.0, 1.0]))).coding
    assert coding.voltage == D_I.T * W * E
    assert coding.recurrent == D.T * W * D
    assert coding.voltages == D.T * W * (X - D * R)


def test_signal_with_dynamics_needs_slow_weights() -> None:
    coding = derive(joint_loss(dynamics=-np.eye(2))).coding
    assert coding.feedforward == D.T * C
    assert (coding.slow - (D.T * A * D + LEAK * D.T * D)).doit() == sp.ZeroMatrix(*coding.slow.shape)


def test_more_than_quadratic_costs_have_no_weight_form() -> None:
    network = load_coding_network("wiring_cost")
    assert network.rule.coefficients is None
    assert same(network.rule.increments["bursts"], "beta*((r + 1)**3 - r**3)")
    assert same(network.rule.increments["bill"], "gamma*((g + d - g_0)**2 - (g - g_0)**2)")
    with pytest.raises(ValueError, match="not quadratic"):
        network.recurrent_weights("weight")


CROSSED = joint_loss(
    {"crossed": "mu*a*r + rho*d*exp(a/5)", "two": "kappa*(B - G)**2"},
    {
        "a": Trace("neuron", 0.08, sp.Rational(1, 2)),
        "B": Trace("population", 0.01),
        "G": Trace("population", 0.2, symbol("q")),
    },
    {"mu": 4e-3, "rho": 0.01, "kappa": 1e-4, "q": 0.3},
    weight=np.array([[2.0, 0.5], [0.5, 1.0]]),
)


class LossAsWritten:
    """Evaluates the joint loss from its cost expressions; nothing derived enters."""

    def __init__(self, network: CodingNetwork) -> None:
        self.network, self.jumps = network, {name: network.jump(name) for name in network.loss.traces}
        self.functions = []
        for cost in network.loss.costs:
            names = sorted(s.name for s in cost.expression.free_symbols)
            copies = network.n if network.loss.scope_of(cost) == "neuron" else 1
            self.functions.append((names, sp.lambdify([symbol(n) for n in names], cost.expression), copies))

    def spike(self, state: dict[str, np.ndarray], who: int) -> None:
        for name, trace in self.network.loss.traces.items():
            state[name][who if trace.scope == "neuron" else 0] += self.jumps[name][who]

    def __call__(self, x: np.ndarray, state: dict[str, np.ndarray]) -> float:
        e = x - self.network.decoder @ state["r"]
        known = state | self.network.constants()
        costs = [
            np.broadcast_to(function(*[known[n] for n in names]), copies).sum()
            for names, function, copies in self.functions
        ]
        return float(e @ self.network.metric @ e + sum(costs))


@pytest.mark.parametrize("case", ["wiring", "crossed", "three"])
def test_rule_is_the_greedy_descent_of_the_loss_as_written(case, three_costs) -> None:
    if case == "wiring":
        source = load_coding_network("wiring_cost")
        loss, values = source.loss, {"beta": 0.003, "rho": 0.02, "gamma": 0.002, "g_0": 0.5}
    elif case == "crossed":
        loss, values = CROSSED, {}
    else:
        loss, values = three_costs(tau_a=0.1, tau_b=0.05), {"nu": 0.01, "mu": 0.004, "kappa": 0.001, "z": 2.0}
    network = CodingNetwork(random_decoder(2, 12, np.linspace(0.1, 0.4, 12), seed=3), loss, values)
    signal = smooth_signal(0.03, seed=2)
    written = LossAsWritten(network)
    keep = {k: np.exp(-signal.dt / t.tau) for k, t in loss.traces.items()}
    state = {k: np.zeros(network.n if t.scope == "neuron" else 1) for k, t in loss.traces.items()}
    expected = []
    for k in range(signal.steps):
        state = {name: value * keep[name] for name, value in state.items()}
        losses = []
        for who in range(network.n):
            after = {name: value.copy() for name, value in state.items()}
            written.spike(after, who)
            losses.append(written(signal.values[k + 1], after))
        best = int(np.argmin(losses))
        if losses[best] < written(signal.values[k + 1], state):
            expected.append((k, best))
            written.spike(state, best)
    response = simulate(network, signal)
    assert len(expected) > 10
    assert list(zip(response.spike_steps, response.spike_neurons, strict=True)) == expected
