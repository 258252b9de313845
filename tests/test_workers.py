"""The commands with several workers: the results of one process, and Ctrl-C that leaves checkpoints and no process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.needs import COMPILER
from tests.test_parallel import ROOT, session, wait_for

pytestmark = [pytest.mark.slow, COMPILER]


def begin(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "snnmodels", *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def complete(*arguments):
    process = begin(*arguments)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    assert not session(process.pid)
    return said


def interrupt(process, condition, to):
    """Ctrl-C, once a condition is met; what is said, when nothing is left of it."""
    try:
        wait_for(condition, 200)
        assert process.poll() is None
        if to == "terminal":
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=100)
        assert process.returncode == 130, said
        assert "Traceback" not in said, said
        wait_for(lambda: not session(process.pid))
        return said
    finally:
        for pid in session(process.pid):
            os.kill(pid, signal.SIGKILL)


def same(one, two):
    with np.load(one) as first, np.load(two) as second:
        names = [name for name in first.files if name.startswith(("values/", "optimiser/"))]
        assert len(names) > 2
        for name in names:
            np.testing.assert_array_equal(second[name], first[name])


@pytest.mark.parametrize("to", ["terminal", "parent"])
def test_ctrl_c_while_workers_train(tmp_path, to):
    command = ["train", "yin-yang", "--epochs", 5, "--seed", 1, "--seed", 2, "--out"]
    complete(*command, tmp_path / "one")
    out = tmp_path / "two"
    files = [out / f"yin_yang_seed{seed}.npz" for seed in (1, 2)]
    process = begin(*command, out, "--workers", 2)
    said = interrupt(process, lambda: any(file.exists() for file in files), to)
    assert f"interrupted; {out} holds a checkpoint of" in said
    assert "of 2 seeds, and the same call goes on from there" in said
    complete(*command, out, "--workers", 2)
    for file in files:
        same(tmp_path / "one" / file.name, file)
    assert not [p for p in out.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("to", ["terminal", "parent"])
def test_ctrl_c_while_workers_fit(tmp_path, to):
    n, dt = 3000, 1e-4
    rng = np.random.default_rng(0)
    current = 0.5e-9 + 0.2e-9 * np.repeat(rng.normal(size=n // 50), 50)
    recording = tmp_path / "cell.npz"
    np.savez(recording, current=current, dt=dt, spikes=np.array([0.05, 0.09, 0.13, 0.2, 0.24, 0.28]))
    command = ["fit", "lif_current", recording, "--free", "C_m:80pF:400pF", "--free", "v_th:-60mV:-45mV", "--starts", 2,
               "--generations", 150, "--out"]  # fmt: skip
    complete(*command, tmp_path / "one")
    out = tmp_path / "two"
    files = [out / f"checkpoint_{k}.json" for k in (0, 1)]
    process = begin(*command, out, "--workers", 2)
    said = interrupt(process, lambda: all(file.exists() for file in files), to)
    assert "interrupted in the searches; " in said
    assert "(a file for each search, 2 of 2 so far) holds it, and the same call goes on from there" in said
    complete(*command, out, "--workers", 2)
    one, two = (json.loads((folder / "fit.json").read_text()) for folder in (tmp_path / "one", out))
    for told in (one, two):
        told.pop("seconds", None)
    assert one == two
    assert (tmp_path / "one" / "fitted.toml").read_text() == Path(out / "fitted.toml").read_text()
