"""The table of gradients: what it measures, when it fails, and that the page is made from the results."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from snnmodels.files import read_json
from snnmodels.gradients import probe
from snnmodels.templates import catalogue, load_model
from tests.needs import COMPILED, COMPILER

ROOT = Path(__file__).parents[2]


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gradient_table", ROOT / "scripts/gradient_table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


table = _script()
RESULTS = read_json(ROOT / "docs/results/gradients.json", "results file", "neurons", "targets")


def test_the_page_is_made_from_the_results() -> None:
    assert (ROOT / "docs/gradients.md").read_text(encoding="utf-8") == table.page(RESULTS)


def test_every_neuron_has_a_row_of_full_cells() -> None:
    assert [r["neuron"] for r in RESULTS["neurons"]] == [e.name for e in catalogue() if e.kind == "neuron"]
    assert [r["feature"] for r in RESULTS["targets"]] == list(table.FEATURES)
    rows = [line for line in table.page(RESULTS).splitlines() if line.startswith("| ")]
    assert all(cell.strip() for row in rows[1 : len(RESULTS["neurons"]) + 1] for cell in row.strip("|").split("|"))


@pytest.mark.parametrize("record", RESULTS["neurons"], ids=lambda r: r["neuron"])
def test_every_neuron_keeps_what_its_file_declares(record: dict[str, Any]) -> None:
    """At most 1e-6 of the gradient, and no more than a hundred times what was measured, or than rounding allows."""
    model = load_model(record["neuron"])
    declared, linear = model.accuracy, record["linear"]
    assert declared is not None, "the file has no [accuracy]"
    gradient = max(row["oracle"] for row in record["rows"])
    assert gradient <= declared.gradient <= max(1e-9, min(1e-6, 100 * gradient)) * 1.01
    assert record["late"] * 1e-3 <= declared.spike_times <= max(1e-12, 1e-3 * 100 * record["late"]) * 1.01
    assert not linear or (declared.gradient, declared.spike_times) == (1e-9, pytest.approx(1e-12))


def test_a_declaration_decides() -> None:
    record = next(r for r in RESULTS["neurons"] if r["neuron"] == "adex")
    assert table.failures({"neurons": [record], "targets": []}) == []
    (line,) = table.failures({"neurons": [record | {"late": 2e-8}], "targets": []})
    assert line.startswith("adex: spike times, 2e-08 ms")


@COMPILER
@pytest.mark.parametrize("name", ["lif", "qif"])
def test_a_neuron(name: str) -> None:
    record = table.measure(name)
    assert record["linear"] is (name == "lif")
    assert {row["kind"] for row in record["rows"]} == set(table.KINDS)
    keys = {row["key"] for row in record["rows"]}
    parameters = load_model(name).parameters
    assert {f"{p}.{x}" for p in ("hidden", "output") for x in (*parameters, "v_0", "I_syn_0")} <= keys
    assert {"input_hidden.delay", "hidden_output.w", "current_hidden.w", "current.samples", "input.times"} <= keys
    assert all(row["norm"] > 0 and row["differences"] is not None for row in record["rows"])
    assert table.failures({"neurons": [record], "targets": []}) == []


@COMPILER
def test_both_targets() -> None:
    record = table.compare("linear", "lif+exp_synapse")
    assert record["loss"] <= 1e-12 and record["gradients"] <= 1e-12
    assert table.failures({"neurons": [], "targets": [record]}) == []
    assert len(table.failures({"neurons": [], "targets": [record | {"gradients": 1e-9}]})) == 1


def _passing() -> dict[str, Any]:
    rows = [
        {"key": f"a.{k}", "kind": kind, "norm": 1.0, "oracle": 1e-12, "differences": 1e-9, "resolved": True}
        | {"failures": [], "remarks": []}
        for k, kind in enumerate(table.KINDS)
    ]
    return {"neuron": "some", "linear": True, "undefined": {}, "late": 1e-13, "ties": 0, "rows": rows}


def test_what_fails() -> None:
    def lines(record: dict[str, Any]) -> list[str]:
        return list(table.failures({"neurons": [record], "targets": []}))

    good = _passing()
    assert lines(good) == []
    assert lines({"neuron": "some", "error": "ProbeError: no"}) == ["some: ProbeError: no"]
    assert len(lines(good | {"late": 1e-8})) == len(lines(good | {"late": "other spikes"})) == 1
    assert lines(good | {"rows": good["rows"][1:]}) == ["some: nothing was measured of weights"]
    assert lines(good | {"rows": good["rows"][1:], "undefined": {"weights": "why"}}) == []
    wrong = copy.deepcopy(good)
    wrong["rows"][2]["failures"] = ["1e-3 from the oracle"]
    assert lines(wrong) == ["some: a.2: 1e-3 from the oracle"]
    assert "**1e-12 · 1e-09**" in table._line(wrong) and "**" not in table._line(good)


def test_zeros_are_explained() -> None:
    model = load_model("lif", "refractory")
    assert "the refractory period alone reads it" in table._why_zero(model, "t_ref")
    assert "the equations and initial values alone read it" in table._why_zero(model, "v_rest")
    assert table._why_zero(load_model("lif"), "unknown") == "nothing reads it"
    silent = _passing()
    silent["rows"][4] |= {"norm": 0.0, "remarks": ["0, and for the oracle too: nothing reads it"]}
    assert list(table._notes([silent])) == ["* some: `a.4`: 0, and for the oracle too: nothing reads it"]


# --- the network that is measured -------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["numpy", COMPILED])
def test_a_probe_with_delays_and_currents(target: Any) -> None:
    plain = probe(load_model("lif"))
    found = probe(load_model("lif"), delays=True, currents=True, target=target)
    assert not plain.network.drives and all(q.learnable == ("w",) and not q.delay for q in plain.network.projections)
    for q in found.network.projections:
        delay = np.asarray(q.delay)
        assert delay.shape == q.weights.shape
        assert len(np.unique(delay)) == delay.size
        assert 0.2e-3 < delay.min() < delay.max() < 1.5e-3
        assert q.learnable == ("w", "delay")
    (drive,), (current,) = found.network.drives, found.network.currents
    assert (drive.target, drive.input, current.interpolation) == ("hidden", "I_syn", "linear")
    samples = found.inputs["current"]
    assert samples.shape == (2, current.n, current.samples(found.network.duration))
    assert 0 < samples.min() < samples.max() < 1.0  # which alone is too little for a spike


def test_currents_drive_the_output_where_there_is_no_threshold() -> None:
    found = probe(load_model("leaky_integrator"), currents=True)
    assert [d.target for d in found.network.drives] == ["output"]


READS_ITS_INPUT = """
kind = "neuron"
title = "Threshold that reads its input"
description = "-"
default_synapse = "exp_synapse"
equations = "dv/dt = (I_syn - v)/tau_m : 1"
threshold = "v > v_th + I_syn/10"
reset = "v = 0"
[inputs]
I_syn = { unit = "1", description = "input" }
[states]
v = { description = "potential" }
[parameters]
tau_m = { default = "20*ms", unit = "second", description = "time constant" }
v_th = { default = 1, unit = "1", description = "threshold" }
"""


def test_no_input_for_a_current(tmp_path: Path) -> None:
    file = tmp_path / "reader.toml"
    file.write_text(READS_ITS_INPUT, encoding="utf-8")
    with pytest.raises(ValueError, match=r"no input that a current may drive \(its threshold reads 'I_syn'\)"):
        probe(load_model(file), currents=True)


@pytest.mark.slow
def test_a_neuron_without_reset_gets_no_more_than_it_needs() -> None:
    """A large input would block it, or carry it where no trajectory can be followed."""
    found = probe(load_model("fitzhugh_nagumo"), trials=1, delays=True)
    assert all(0.01 < np.abs(q.weights).max() < 10 for q in found.network.projections)
