"""The Python that README and docs print runs as it is printed, every block by itself."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import brian2
import numpy as np
import pytest

from benchmarks import library, machines
from snnmodels.coding import load_coding_network
from snnmodels.gradients import Simulation
from snnmodels.losses import Pseudospikes, SpikeTimeError, load_network
from snnmodels.templates import Network, Population, load_model
from snnmodels.templates.schema import NeuronFile, SynapseFile, against, validate
from tests.needs import TORCH

ROOT = Path(__file__).parents[1]
# the scripts of upstream.md show faults of others, and are run by tests/test_upstream.py
PAGES = [page for page in sorted((ROOT / "docs").glob("*.md")) if page.name != "upstream.md"]
FILES = [ROOT / "README.md", *PAGES, ROOT / "equations/README.md"]


def blocks(language: str) -> list[Any]:
    """What is printed in a language, every block with its place."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.DOTALL | re.MULTILINE)
    return [
        pytest.param(block, id=f"{file.relative_to(ROOT)}:{k}", marks=[TORCH] if "torch" in block else [])
        for file in FILES
        for k, block in enumerate(pattern.findall(file.read_text()))
    ]


BLOCKS = blocks("python")
DOCUMENTS = blocks("toml")
WHOLE = {tomllib.loads(p.values[0])["kind"]: p.values[0] for p in DOCUMENTS if "kind =" in p.values[0].split("\n")[0]}


@pytest.mark.parametrize("block", BLOCKS)
def test_printed_python_runs_and_says_something(
    block: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "_nir(" in block:
        pytest.importorskip("nir", reason="needs the package nir (pip install 'snnmodels[nir]')")
    monkeypatch.chdir(tmp_path)  # for what it writes
    brian2.start_scope()
    before = brian2.prefs.codegen.target
    brian2.prefs.codegen.target = "numpy"  # nothing is to be compiled for a few neurons
    try:
        exec(compile(block, "<documentation>", "exec"), {"__name__": "documentation"})
    finally:
        brian2.prefs.codegen.target = before
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("block", DOCUMENTS)
def test_printed_toml_is_what_files_may_hold(block: str, tmp_path: Path) -> None:
    """Whole files are loaded; a part of one is put into the whole file of its kind that is printed, too."""
    part, file = tomllib.loads(block), tmp_path / "printed.toml"
    if part.get("kind") == "coding_network":
        file.write_text(block)
        assert load_coding_network(file).n > 0
    elif block in WHOLE.values():
        file.write_text(block)
        network = part["kind"] == "network"
        assert load_network(file).projections if network else load_model(file).states
    elif part.keys() & {"inputs", "projections", "loss"}:
        whole = tomllib.loads(WHOLE["network"])
        whole["inputs"] |= part.pop("inputs", {})
        whole["projections"] = [*whole["projections"][:-1], *part.pop("projections", [])]
        validate(whole | part, "printed")
    elif "on_pre" in part:
        whole = {"kind": "synapse", "title": "one", "description": "one", "weight": {"unit": "1"}}
        against(SynapseFile, whole | part, "printed")
    else:
        against(NeuronFile, tomllib.loads(WHOLE["neuron"]) | part, "printed")


def test_the_printed_pseudospikes_are_those_of_the_printed_neuron(tmp_path: Path) -> None:
    (table,) = (p.values[0] for p in DOCUMENTS if "[pseudospike]" in p.values[0])
    file = tmp_path / "printed.toml"
    file.write_text(WHOLE["neuron"] + table)
    network = Network("one", (), (Population("cell", 1, load_model(file)),), (), "cell", 0.05)
    Pseudospikes(SpikeTimeError()).check(network)  # compares them with the equations


def test_the_printed_network_runs_with_its_own_loss(tmp_path: Path) -> None:
    file = tmp_path / "printed.toml"
    file.write_text(WHOLE["network"])
    rng = np.random.default_rng(1)
    inputs = {"input": rng.uniform(1e-3, 30e-3, (2, 20)), "stimulus": rng.uniform(0, 1, (2, 1, 50))}
    with Simulation(load_network(file), batch_size=2) as simulation:
        outcome = simulation.run(inputs, np.full((2, 2, 1), 25e-3))
    assert outcome.silent == 0
    learnt = {"hidden.tau_m", "hidden.v_th", "input_hidden.w", "input_hidden.delay", "hidden_output.w"}
    assert learnt < set(outcome.gradients)
    assert not any(key.startswith("inhibition") for key in outcome.gradients)
    assert all(np.abs(outcome.gradients[key]).max() > 0 for key in learnt)


def test_every_fault_has_its_test() -> None:
    rows = [line for line in (ROOT / "docs/faults.md").read_text().splitlines() if line.startswith("| ")]
    named = [re.search(r"`(test_\w+)` \|$", line) for line in rows if not line.startswith("| what happens")]
    assert len(named) > 20
    assert all(named)
    texts = [file.read_text() for file in (ROOT / "tests").rglob("test_*.py")]
    tests = {name for text in texts for name in re.findall(r"def (test_\w+)", text)}
    assert {match[1] for match in named if match} <= tests


def test_the_page_of_the_library_is_that_of_its_results() -> None:
    results = json.loads((ROOT / library.RESULTS).read_text())
    assert (ROOT / library.PAGE).read_text() == library.page(results)


def test_the_tables_of_machines_are_those_of_their_results() -> None:
    results = json.loads((ROOT / machines.RESULTS).read_text())
    assert "\n".join(machines.tables(results)) in (ROOT / "docs/machines.md").read_text()
