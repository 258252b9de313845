"""The pages of the library: made from the templates as they are, and what is simulated for them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from snnmodels.templates import catalogue, load_model
from tests.needs import COMPILER

ROOT = Path(__file__).parents[2]
NEURONS = [e.name for e in catalogue() if e.kind == "neuron"]


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("model_pages", ROOT / "scripts/model_pages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = _script()
RECORDS = script.load_responses(ROOT / "docs/results/responses.json")
GRADIENTS = script.load_gradients()


def _committed(name: str) -> str:
    return (ROOT / "docs/models" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NEURONS)
def test_a_page_is_that_of_its_template(name: str) -> None:
    text = script.page(name, RECORDS, GRADIENTS)
    assert _committed(f"{name}.md") == text, "run python scripts/model_pages.py --redraw"
    for parameter in load_model(name).parameters.values():
        assert f"| `{parameter.name}` | `{parameter.default}` |" in text
    picture = ROOT / f"docs/figures/models/{name}.png"
    assert picture.is_file() == (name in RECORDS)
    if name in RECORDS:
        assert picture.stat().st_size < 80_000


def test_the_other_pages_are_those_of_the_templates() -> None:
    assert _committed("README.md") == script.index(RECORDS)
    assert _committed("synapses.md") == script.parts_page("synapse", "Synapses")
    assert _committed("mechanisms.md") == script.parts_page("mechanism", "Mechanisms")
    names = {f"{n}.md" for n in NEURONS} | {"README.md", "synapses.md", "mechanisms.md"}
    assert {p.name for p in (ROOT / "docs/models").iterdir()} == names


@COMPILER
def test_the_response_of_lif_is_its_closed_form() -> None:
    record = script.respond("lif")
    tau = 20e-3
    rheobase = 1 / (1 - np.exp(-(script.DURATION - script.ONSET) / tau))
    assert rheobase <= record["rheobase"] < rheobase * (1 + 2**-script.HALVINGS)
    assert not record["integrates"]
    assert rheobase < record["repetitive"] < 1.1 * rheobase
    for row in record["rates"]:
        expected = 1 / (tau * np.log(row["current"] / (row["current"] - 1)))
        np.testing.assert_allclose([row["first"], row["last"]], expected, rtol=1e-9)
        assert row["steady"]
    assert script.draw(record).axes[1].get_ylabel() == "1/interval (Hz)"


def test_the_rate_is_0_where_firing_has_ended() -> None:
    times = [0.1, 0.11, 0.13]
    assert script._rates(times, False) == {"spikes": 3, "first": pytest.approx(100), "last": 0.0, "steady": False}
    assert script._rates(times, True)["last"] == pytest.approx(50)
    assert RECORDS["morris_lecar"]["rates"][-1]["last"] == 0
    assert "firing ends within the trial" in script.page("morris_lecar", RECORDS, GRADIENTS)


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [("alif", {"a": 2.0}, None), ("lif", {}, 1.0), ("hill_tononi", {"th": -0.04}, -0.04), ("theta", {}, np.pi)],
)
def test_the_threshold_is_drawn_as_the_template_has_it(name: str, values: dict[str, float], expected: float) -> None:
    model = load_model(name)
    threshold, read = script.moving_threshold(model, script.drawn_state(model))
    if expected is None:
        expected = model.parameters["v_th"].value + model.parameters["beta"].value * values["a"]
    assert read == list(values)
    assert float(threshold(*values.values())) == pytest.approx(expected)


def test_a_neuron_without_threshold_has_none_to_draw() -> None:
    assert script.moving_threshold(load_model("leaky_integrator"), "v") == (None, [])


def test_a_mechanism_is_shown_by_what_it_brings() -> None:
    text = script.parts_page("mechanism", "Mechanisms")
    section = text.partition("## soft_reset\n")[2].partition("\n## ")[0]
    assert "{v}^{+} = {v}^{-} + v_{\\mathrm{reset}} - v_{\\mathrm{th}}" in section
    assert section.count("$$\n") == 2  # nothing else
    assert "```toml" not in text


@COMPILER
def test_a_neuron_that_adds_up_its_input_has_no_rheobase() -> None:
    record = script.respond("integrate_and_fire")
    assert record["integrates"]
    text = script._response("integrate_and_fire", record)
    assert "set by that time alone" in text
    assert "least step" not in text


@pytest.mark.parametrize(
    ("unit", "size", "expected"),
    [("amp", 3e-10, (1e12, "pA")), ("volt", 0.05, (1e3, "mV")), ("amp", 1e-9, (1e9, "nA")), ("1", 3.0, (1.0, ""))],
)
def test_values_are_in_units_that_are_easy_to_read(unit: str, size: float, expected: tuple[float, str]) -> None:
    factor, called = script.in_words(unit, size)
    assert (pytest.approx(factor), called) == expected


def test_an_unknown_neuron_is_named() -> None:
    with pytest.raises(ValueError, match="--only lief: the library has no such neuron"):
        script.main(["--only", "lief"])
