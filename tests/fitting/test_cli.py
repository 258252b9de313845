"""``snnmodels fit`` from a file to a template."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

import snnmodels as snn
from snnmodels.cli import app


def test_a_fit_from_the_command_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    samples = 4e-10 + 1.5e-10 * rng.normal(size=150)
    np.savez(tmp_path / "cell.npz", current=samples, dt=1e-3, spikes=np.array([0.03, 0.07, 0.11]))
    free = ["--free", "C_m:80pF:400pF", "--free", "v_th:-60mV:-45mV"]
    options = ["--fixed", "t_ref=3ms", "--candidates", "8", "--generations", "3", "--target", "numpy"]
    command = ["fit", "lif_current", str(tmp_path / "cell.npz"), *free, *options, "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "out/fit.json").read_text())
    model = snn.load_model(tmp_path / "out/fitted.toml")
    assert model.parameters["C_m"].value == told["parameters"]["C_m"]["value"]
    assert model.parameters["t_ref"].value == 3e-3
    wrong = CliRunner().invoke(app, [*command[:3], "--free", "tau:1ms:2ms"])
    assert wrong.exit_code == 2
    assert "no parameter 'tau'" in wrong.stderr
