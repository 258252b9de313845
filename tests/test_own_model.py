"""A user's own neuron and mechanism, outside of the repository: shown, derived, checked and trained by commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from snnmodels.cli import app
from snnmodels.training import History
from tests.needs import COMPILER
from tests.trials import write_order_of_two

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

NETWORK = """
kind = "network"
title = "Order of two spikes"
description = "For a test."
duration = "30*ms"
output = "output"

[inputs]
input = { n = 2 }

[populations.hidden]
model = "resurgent.toml+after.toml"
n = 4
learnable = ["tau_m", "g_r", "q_a", "t_on"]

[populations.output]
model = "lif+exp_synapse"
n = 2
parameters = { tau_m = "10*ms" }

[[projections]]
source = "input"
target = "hidden"
weights = { distribution = "uniform", low = 2.0, high = 6.0 }

[[projections]]
source = "hidden"
target = "output"
weights = { distribution = "normal", mean = 2.0, std = 0.7 }

[loss]
kind = "ttfs_cross_entropy"
tau0 = "2*ms"
tau1 = "20*ms"
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
def test_its_gradient_agrees(files: list[str]) -> None:
    checked = run("check-gradient", *files)
    assert checked.exit_code == 0, checked.output
    assert ": agrees" in checked.stdout
    assert all(f"hidden.{name}" in checked.stdout for name in ("g_r", "band", "t_on", "tau_a", "q_a", "a_0"))


@pytest.mark.slow
@COMPILER
def test_it_learns_which_of_two_spikes_comes_first(files: list[str], tmp_path: Path) -> None:
    (tmp_path / "order.toml").write_text(NETWORK)
    write_order_of_two(tmp_path, 64)
    data = ["--data", str(tmp_path / "trials.npz"), "--test", str(tmp_path / "others.npz")]
    out = tmp_path / "out"
    trained = run(
        "train", str(tmp_path / "order.toml"), *data, "--epochs", "10", "--batch-size", "16", "--out", str(out)
    )
    assert trained.exit_code == 0, trained.output
    errors = History.load(out / "history.json").column("test_error")
    assert errors[0] > 0.3 and errors[-1] < 0.05
    shown = run("show", str(out / "trained.toml"))
    assert shown.exit_code == 0 and "resurgent" in shown.stdout
