"""A user's own neuron and mechanism, outside of the repository: shown, derived, checked and trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import snnmodels as snn
from snnmodels.cli import app

# a switch: a resurgent current that is open in a band of the potential; a mode: a leak for some time after every spike
NEURON = '''
kind = "neuron"
title = "Resurgent neuron"
description = "For a test."
default_synapse = "exp_synapse"
equations = """
dv/dt = (I_syn + g_r*clip(v - v_open, 0, band) - v - g_k*int(c < t_on)*(v + 1))/tau_m : 1
dc/dt = 1 : second
"""
threshold = "v > v_th"
reset = ["v = v_reset", "c = 0*second"]
[inputs]
I_syn = { unit = "1", description = "input" }
[states]
v = {}
c = { initial = "1*second", description = "time since the last spike" }
[parameters]
tau_m = { default = "12*ms", unit = "second", description = "time constant" }
g_r = { default = 0.8, unit = "1", description = "resurgent conductance" }
v_open = { default = 0.4, unit = "1", description = "where it opens" }
band = { default = 0.3, unit = "1", description = "where it saturates" }
g_k = { default = 1.5, unit = "1", description = "leak after a spike" }
t_on = { default = "4*ms", unit = "second", description = "how long that lasts" }
v_th = { default = 1.0, unit = "1", description = "threshold" }
v_reset = { default = 0.1, unit = "1", description = "potential just after a spike" }
'''
# a trace of the spikes that raises the input while it is high enough
MECHANISM = """
kind = "mechanism"
title = "Afterdepolarisation above a floor"
description = "For a test."
equations = "da/dt = -a/tau_a : 1"
[add]
inputs.I_syn = "q_a*clip(a - a_0, 0, 5)"
reset = "a += 1"
[states]
a = { description = "trace of the spikes" }
[parameters]
tau_a = { default = "15*ms", unit = "second", description = "time constant of the trace" }
q_a = { default = "0.4*scale(I_syn)", unit = "unit(I_syn)", description = "strength" }
a_0 = { default = 0.3, unit = "1", description = "floor" }
"""


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    made = []
    for name, text in {"resurgent": NEURON, "after": MECHANISM}.items():
        (tmp_path / f"{name}.toml").write_text(text)
        made.append(str(tmp_path / f"{name}.toml"))
    return made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_commands_take_it(files: list[str]) -> None:
    shown = run("show", *files)
    assert shown.exit_code == 0, shown.output
    assert "Resurgent neuron" in shown.stdout and "v_open" in shown.stdout and "tau_a" in shown.stdout
    derived = run("derive", *files)
    assert derived.exit_code == 0, derived.output
    assert "t_on" in derived.stdout


@pytest.mark.slow
def test_its_gradient_is_checked(files: list[str]) -> None:
    checked = run("check-gradient", *files)
    assert checked.exit_code == 0, checked.output
    for name in ("tau_m", "v_open", "t_on", "q_a"):
        assert f"hidden.{name}" in checked.stdout


def test_it_learns_spike_times_by_its_own_parameters(files: list[str]) -> None:
    """Three wanted spikes, from weights and a mode that make others: the error falls to a hundredth."""
    model = snn.load_model(*files)
    learnable = ("t_on", "g_k", "tau_a")
    network = snn.Network(
        "own",
        (snn.SpikeInput("input", 6),),
        (snn.Population("out", 1, model, learnable=learnable),),
        (snn.Projection("w", "input", "out", np.full((6, 1), 2.2)),),
        "out",
        60e-3,
    )
    times = np.array([[1.0, 4.0, 15.0, 20.0, 30.0, 36.0]]) * 1e-3
    wanted = np.array([[[9e-3, 25e-3, 44e-3]]])
    optimiser = snn.Adam(0.02, transforms=dict.fromkeys(("out.t_on", "out.g_k", "out.tau_a"), "log"))
    with snn.Simulation(network, snn.SpikeTimeError(tau=5e-3), batch_size=1) as simulation:
        values = simulation.network.trainable()
        before = simulation.run({"input": times}, wanted).loss
        result = snn.train(
            simulation, snn.Trials({"input": times}, wanted), optimiser, epochs=60, batch_size=1, progress=False
        )
        losses = result.history.column("train_loss")
    assert losses[-1] < 0.01 * before
    assert all(np.any(result.values[f"out.{name}"] != values[f"out.{name}"]) for name in learnable)
