"""A user's own neuron and mechanism, outside of the repository: shown and derived."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

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
