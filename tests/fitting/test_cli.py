"""``snnmodels fit`` from a file to a template."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import snnmodels as snn
from snnmodels.cli import app


def test_a_fit_from_the_command_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    samples = 4e-10 + 1.5e-10 * rng.normal(size=150)
    np.savez(tmp_path / "cell.npz", current=samples, dt=1e-3, spikes=np.array([0.03, 0.07, 0.11]))
    free = ["--free", "C_m:80pF:400pF", "--free", "v_th:-60mV:-45mV"]
    options = ["--fixed", "t_ref=3ms", "--candidates", "8", "--generations", "3", "--target", "numpy"]
    options.append("--no-likelihood")
    command = ["fit", "lif_current", str(tmp_path / "cell.npz"), *free, *options, "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "out/fit.json").read_text())
    model = snn.load_model(tmp_path / "out/fitted.toml")
    assert model.parameters["C_m"].value == told["parameters"]["C_m"]["value"]
    assert model.parameters["t_ref"].value == 3e-3
    assert not (tmp_path / "out/checkpoint.json").exists()
    wrong = CliRunner().invoke(app, [*command[:3], "--free", "tau:1ms:2ms"])
    assert wrong.exit_code == 2
    assert "no parameter 'tau'" in wrong.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dt", "0.1mV"], "--dt 0.1mV: .* is in volt, expected second"),
        (["--dt", "0.1ms"], "its samples are 0.001 s apart, and dt is 0.0001 s"),
        (["--loss", "spikes=1", "--loss", "spikes=2"], "--loss names spikes twice"),
        (["--free", "C_m:80pF:90pF"], "--free names a parameter twice"),
        (["--free", "delay:0ms:200ms"], r"free\['delay'\]: a bound is 0.2 s, and the shortest sweep lasts 0.15 s"),
    ],
)
def test_what_is_wrong_with_a_command_is_told(options: list[str], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "cell.npz", current=np.full(150, 4e-10), dt=1e-3, spikes=np.array([0.03, 0.07]))
    free = ["--free", "C_m:80pF:400pF", "--target", "numpy", "--no-likelihood", "--out", str(tmp_path / "out")]
    told = CliRunner().invoke(app, ["fit", "lif_current", str(tmp_path / "cell.npz"), *free, *options])
    assert told.exit_code == 2
    assert re.search(message, told.stderr)
