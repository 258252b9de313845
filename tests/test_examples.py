"""Every example runs by itself in a folder of its own, says what it should, and leaves its picture."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import JAX, TORCH

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))



def numbers(pattern: str, said: str) -> list[float]:
    """All numbers that a pattern with one group finds, of which there must be some."""
    found = [float(number) for number in re.findall(pattern, said)]
    assert found, said
    return found


def digits(said: str) -> None:
    assert numbers(r"([\d.]+) % of 250", said)[0] > 80


def brian2_network(said: str) -> None:
    for wanted, now in zip(numbers(r"wanted at ([\d.]+)", said), numbers(r"now at ([\d.]+)", said), strict=True):
        assert abs(wanted - now) < 0.35  # Brian2 is late by up to a step of 0.1 ms at each spike on the way


def own_model(said: str) -> None:
    assert "agrees with differences" in said
    before, after = numbers(r"first spike ([\d.]+) ms", said)
    assert abs(after - 10) < 0.5 < abs(before - 10)


def delays(said: str) -> None:
    weights, both = numbers(r"([\d.]+) % of 1000", said)
    assert both > weights + 20


def coding_network(said: str) -> None:
    low, high = numbers(r"(\d+) spikes per second", said)
    assert high < low / 2


def own_loop(said: str) -> None:
    times = re.findall(r"[\d.]+(?=[,\s])", said.split("spikes at")[1])
    assert len(times) == 4
    assert all(abs(float(t) - wanted) < 0.3 for t, wanted in zip(times, (10, 12, 14, 16), strict=True))


def fit_neuron(said: str) -> None:
    assert max(numbers(r"off by ([\d.e+-]+)", said)) < 1e-9
    assert "<Model 'fitted'" in said


def resume(said: str) -> None:
    assert "the same bits: True" in said
    assert "the same error: True" in said
    assert numbers(r"([\d.]+) % of 1000", said)[0] > 60


def torch_layer(said: str) -> None:
    assert numbers(r"([\d.]+) % of 1000", said)[0] > 85


def jax_layer(said: str) -> None:
    for found, difference in re.findall(r": ([\d.-]+), by a difference: ([\d.-]+)", said):
        assert abs(float(found) - float(difference)) < 1e-6
    before, after = numbers(r"([\d.]+) ms²", said)
    assert after < 0.3 * before


BRIDGES = (torch_layer, jax_layer)
CHECKS = (digits, brian2_network, own_model, fit_neuron, delays, coding_network, own_loop, resume, *BRIDGES)
SAY = {check.__name__: check for check in CHECKS}


SLOW = ("digits", "own_model", "resume")  # half a minute and more each
NEEDS = {"torch_layer": [TORCH], "jax_layer": [JAX]}
RUN = [
    pytest.param(p, id=p.stem, marks=[*NEEDS.get(p.stem, []), *([pytest.mark.slow] if p.stem in SLOW else [])])
    for p in EXAMPLES
]


@pytest.mark.parametrize("path", RUN)
def test_an_example_runs_and_says_what_it_should(path: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, path], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    SAY[path.stem](ran.stdout)
    assert any(picture.stat().st_size > 10_000 for picture in tmp_path.rglob("*.png"))


def test_every_example_is_in_the_list() -> None:
    listed = re.findall(r"^\| \[(\w+)\.py\]\(\1\.py\)", (ROOT / "examples/README.md").read_text(), re.M)
    assert sorted(listed) == [path.stem for path in EXAMPLES]
