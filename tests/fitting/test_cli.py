"""``snnmodels fit`` from a file to a template."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
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
        (["--free", "c:80pF:90pF"], "has no parameter 'c'; there is C_m, .*v_th"),
        (["--detect", "--level", "-20ms"], "--level -20ms: .* is in second, expected volt"),
        (["--free", "delay:0ms:200ms"], r"free\['delay'\]: a bound is 0.2 s, and the shortest sweep lasts 0.15 s"),
    ],
)
def test_what_is_wrong_with_a_command_is_told(options: list[str], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "cell.npz", current=np.full(150, 4e-10), dt=1e-3, spikes=np.array([0.03, 0.07]))
    free = ["--free", "C_m:80pF:400pF", "--target", "numpy", "--no-likelihood", "--out", str(tmp_path / "out")]
    told = CliRunner().invoke(app, ["fit", "lif_current", str(tmp_path / "cell.npz"), *free, *options])
    assert told.exit_code == 2
    assert re.search(message, told.stderr)


@pytest.mark.slow
def test_ctrl_c_in_a_fit_by_processes_keeps_what_they_have(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    samples = 4e-10 + 1.5e-10 * rng.normal(size=150)
    np.savez(tmp_path / "cell.npz", current=samples, dt=1e-3, spikes=np.array([0.03, 0.07, 0.11]))
    words = ["fit", "lif_current", str(tmp_path / "cell.npz"), "--free", "C_m:80pF:400pF", "--free", "v_th:-60mV:-45mV",
             "--candidates", "16", "--generations", "60", "--target", "numpy", "--no-likelihood",
             "--starts", "2"]  # fmt: skip

    def begun(out: str, *more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "snnmodels", *words, *more, "--out", str(tmp_path / out)]
        return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    going = begun("out", "--workers", "2")
    files = [tmp_path / f"out/checkpoint_{k}.json" for k in range(2)]
    until = time.monotonic() + 300
    while not all(f.exists() for f in files) and going.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    assert going.poll() is None, going.communicate()
    workers = subprocess.run(["ps", "--ppid", str(going.pid), "-o", "pid="], capture_output=True, text=True).stdout
    going.send_signal(signal.SIGINT)
    _, told = going.communicate(timeout=120)
    assert going.returncode == 130
    assert "interrupted in the searches" in told
    assert "(a file for each search, 2 of 2 so far) holds it, and the same call goes on" in " ".join(told.split())
    assert all(f.exists() for f in files)
    assert len(workers.split()) > 1
    until = time.monotonic() + 20  # Python's own helper ends a little after the process that it helped
    while left := [pid for pid in workers.split() if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < until, left
        time.sleep(0.1)
    stopped = [len(json.loads(f.read_text())["present"]) for f in files]
    assert all(stopped), "a search was complete before the interruption; let it last longer"
    again = begun("out", "--workers", "2")
    assert again.wait(600) == 0, again.communicate()
    alone = begun("alone")
    assert alone.wait(600) == 0, alone.communicate()
    found, expected = (json.loads((tmp_path / out / "fit.json").read_text()) for out in ("out", "alone"))
    assert found["parameters"] == expected["parameters"]
    assert found["stages"] == expected["stages"]
    assert not any(f.exists() for f in files)
