"""Models drawn from a grammar: equations, conditions, thresholds, resets and synapses that nobody has thought of."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from snnmodels import oracle
from snnmodels.events.engine import SimulationError
from snnmodels.gradients import Simulation
from snnmodels.gradients.probe import SmoothSpikeTimes
from snnmodels.templates import Model, Network, Population, Projection, SpikeInput, load_model
from tests.exactness.networks import MS

# one term of a rate, in the states v and u and the input; {a}, {b} are parameters of its own
TERMS = (
    *("{a}*tanh(v - {b})", "{a}*u", "{a}*v*u", "{a}*sin(u + {b})", "{a}*v*exp(-v**2)", "{a}*u**2/(1 + u**2)"),
    *("{a}/(1 + exp(({b} - v)/0.3))", "{a}*exprel(-v*{b})", "{a}*arctan(u)", "{a}*sqrt(1 + v**2)", "{a}*log(2 + u**2)"),
    *("{a}*clip(v, -{b}, {b})", "{a}*int(v > {b})", "{a}*abs(u - {b})", "{a}*int(u > {b})*v"),
    "{a}*int(v > {b} and u < 1)",
)
# conditions around conditions, which half of the models have one of
NESTED = (
    *("{a}*clip(abs(v - {b}), 0, 0.5)", "{a}*int(int(v > {b}) + int(u > 0.1) > 1.5)", "{a}*abs(clip(u, -{b}, {b}))"),
    *("{a}*int(v*int(u > 0.1) > {b})", "{a}*clip(u*int(v > {b}), -1, 0.2)"),
)
PERIODS = ("", "refractory", "dead_time", "partial_refractory")
THRESHOLDS = ("v > v_th", "v > v_th + 0.3*u", "v + 0.2*tanh(u) > v_th")
RESETS = (
    ('"v = v_reset"', "u += q"),
    ('"v -= v_th + 0.1*q"', "u = 0.5*u + q"),
    ('"v = v_reset + 0.1*u"', "u += q*int(u < 1)"),
    ('"v = clip(v - 1, v_reset, 0.5)"', "u += q"),
)
SYNAPSES = ("exp_synapse", "delta_synapse", "alpha_synapse", "exp_synapse+delta_synapse:jump")


def drawn(seed: int, folder: Path) -> Model:
    """A model with two states, and often a refractory period, in which its conditions turn as at other times."""
    rng = np.random.default_rng(seed)
    values = {"tau_v": rng.uniform(8, 25), "tau_u": rng.uniform(10, 60), "v_th": 1.0, "v_reset": -0.2, "q": 0.4}
    rates = {}
    for state in "vu":
        chosen = rng.choice(len(TERMS), int(rng.integers(1, 4)), replace=False)
        terms = []
        for k in chosen:
            a, b = f"a_{state}{k}", f"b_{state}{k}"
            terms.append(TERMS[k].format(a=a, b=b))
            values[a] = rng.uniform(-0.6, 0.6)
            if "{b}" in TERMS[k]:
                values[b] = rng.uniform(0.1, 0.6)
        rates[state] = " + ".join(terms)
    apart = np.random.default_rng([seed, 2])
    if apart.uniform() < 0.5:
        rates["v"] += " + " + NESTED[apart.integers(len(NESTED))].format(a="a_n", b="b_n")
        values |= {"a_n": apart.uniform(-0.6, 0.6), "b_n": apart.uniform(0.15, 0.6)}
    period = PERIODS[apart.integers(len(PERIODS))]
    reset, more = RESETS[rng.integers(len(RESETS))]
    if rng.uniform() < 0.15:  # a spike that resets nothing
        reset = more = ""
    values = {name: value for name, value in values.items() if name not in ("v_reset", "q") or name in reset + more}
    lines = [
        f'{name} = {{ default = "{value:.6g}*ms", unit = "second", description = "drawn" }}'
        if name.startswith("tau")
        else f'{name} = {{ default = {value:.6g}, unit = "1", description = "drawn" }}'
        for name, value in values.items()
    ]
    statements = ", ".join(s for s in (reset, more and f'"{more}"') if s)
    text = f"""
kind = "neuron"
title = "Drawn"
description = "Drawn."
equations = \"\"\"
dv/dt = (-v + I_syn + {rates["v"]})/tau_v : 1
du/dt = (-u + {rates["u"]})/tau_u : 1
\"\"\"
threshold = "{THRESHOLDS[rng.integers(len(THRESHOLDS))]}"
reset = [{statements}]
[inputs]
I_syn = {{ unit = "1", description = "input" }}
[states]
v = {{}}
u = {{}}
[parameters]
""" + "\n".join(lines)
    path = folder / "drawn.toml"
    path.write_text(text)
    others = [*([period] if period else []), *SYNAPSES[rng.integers(len(SYNAPSES))].split("+")]
    return load_model(path, *others, name=f"drawn{seed}")


def network_of(model: Model, seed: int) -> tuple[Network, dict[str, np.ndarray]]:
    """Two neurons that excite and inhibit each other, behind three sources of two spikes."""
    rng = np.random.default_rng([seed, 1])
    projections = []
    for receptor in model.receptors:
        jump = "delta" in model.files[-1] or receptor in ("delta_synapse", "jump")
        size = 0.7 if jump else 5.0
        for source, n in (("input", 3), ("out", 2)):
            projections.append(
                Projection(
                    f"{source}_{receptor}",
                    source,
                    "out",
                    size * rng.uniform(-0.2, 1.0, (n, 2)) * (1.0 if n == 3 else 0.3),
                    receptor,
                    learnable=("w", "delay"),
                    delay=rng.uniform(0.3, 4, (n, 2)) * MS,
                )
            )
    learnable = tuple(p for p in model.parameters)
    population = Population("out", 2, model, learnable=learnable)
    inputs = {"input": np.sort(rng.uniform(1, 25, (1, 3, 2)), axis=2) * MS}
    return Network(model.name, (SpikeInput("input", 3),), (population,), tuple(projections), "out", 45 * MS), inputs


def compare(seed: int, folder: Path) -> int:
    """Spikes of a drawn network whose gradient is that of the reference; 0 where the equations have no solution."""
    model = drawn(seed, folder)
    network, inputs = network_of(model, seed)
    loss, labels = SmoothSpikeTimes(), np.zeros(1, dtype=int)
    with Simulation(network, loss, batch_size=1, max_spikes=60) as simulation, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a network may be silent
        try:
            found = simulation.run(inputs, labels)
        except SimulationError as error:
            known = ("drives it back", "after the reset", "max_spikes", "above its threshold")
            assert any(words in str(error) for words in known), str(error)
            return 0
        spikes = simulation.spike_times("out")
    exact = oracle.gradient(network, inputs, loss, labels, method="runge-kutta")
    assert spikes.shape == exact.spikes["out"].shape, seed
    np.testing.assert_allclose(spikes, exact.spikes["out"], rtol=0, atol=1e-9, err_msg=str(seed))
    for key, value in exact.gradients.items():
        size = max(float(np.linalg.norm(value)), 1e-3 * abs(exact.loss))
        off = float(np.linalg.norm(found.gradients[key] - value)) / size if size else 0.0
        # near a touch of the threshold everything is large, and so is what rounding makes of it
        assert off <= 1e-6 * max(1.0, 1e-2 / found.smallest_gdot), f"seed {seed}, {key}: {off}"
    return int(np.isfinite(spikes).sum())


def test_models_that_are_drawn(tmp_path: Path) -> None:
    counts = [compare(seed, tmp_path) for seed in (1, 3, 9)]
    assert min(counts) > 0


@pytest.mark.slow
def test_many_models_that_are_drawn(tmp_path: Path) -> None:
    counts = [compare(seed, tmp_path) for seed in range(150)]
    assert sum(n > 0 for n in counts) >= 100
