"""Derivation reports: complete, well-formed in every format."""

from __future__ import annotations

import re

import pytest
from matplotlib.mathtext import MathTextParser

from snnmodels.reports import derivation, equations
from snnmodels.symbolic import Adjoint, HybridSystem, hybrid_system
from snnmodels.templates import load_model
from tests.oracle import models

MODELS = [
    models.lif(),
    models.lif_delta(),
    models.lif_alpha(),
    models.adaptive(),
    models.qif(),
    models.eif(),
    models.integrator(),
    models.refractory(models.lif()),
    models.refractory(models.lif_delta(), hold=()),
]
IDS = [m.name for m in MODELS]


@pytest.fixture(scope="module", params=MODELS, ids=IDS)
def system(request: pytest.FixtureRequest) -> HybridSystem:
    return hybrid_system(request.param)


def mathematics(markdown: str) -> list[str]:
    return re.findall(r"\$\$\n(.+?)\n\$\$", markdown, re.S) + re.findall(r"(?<!\$)\$([^$\n]+)\$(?!\$)", markdown)


def test_markdown_has_every_section_and_valid_mathematics(system: HybridSystem) -> None:
    text = derivation(system, "markdown")
    expected = ["Forward model", "The adjoint between events", "The jump at an arrival through syn", "Gradients"]
    if system.g is not None:
        expected += ["The time of a spike", "The jump at a spike"]
    for section in [*expected, "References"]:
        assert f"## {section}\n" in text
    for p in Adjoint.derive(system).parameters:
        assert rf"\frac{{d\mathcal{{L}}}}{{d{_latex(p.name)}}} =" in text
    assert text.count("$$") % 2 == 0
    found = mathematics(text)
    assert len(found) > 15
    parser = MathTextParser("path")
    for m in found:
        # mathtext knows no matrices and no \textstyle; everything else it parses as TeX does
        m = re.sub(r"\\left\[\\begin\{matrix\}.*?\\end\{matrix\}\\right\]", "M", m).replace(r"\textstyle", "")
        parser.parse(f"${m.replace(r'\!', '').replace(r'\Big|', '|')}$")


def _latex(name: str) -> str:
    from snnmodels.reports._rendering import name_math

    return name_math(name).latex


def test_latex_is_balanced_and_escapes_the_prose(system: HybridSystem) -> None:
    text = derivation(system, "latex")
    for environment in ("equation*", "tabular"):
        assert text.count(rf"\begin{{{environment}}}") == text.count(rf"\end{{{environment}}}") > 0
    assert text.count("{") == text.count("}")
    assert text.isascii()
    prose = re.sub(r"\\begin\{equation\*\}.*?\\end\{equation\*\}|\$[^$]*\$", "", text, flags=re.S)
    assert not re.search(r"(?<!\\)[_^#%]", prose)


def test_text_fits_a_terminal_and_names_the_parts(system: HybridSystem) -> None:
    text = derivation(system)
    assert "$" not in text
    assert "\\" not in text
    prose = [line for line in text.splitlines() if line and not line.startswith(" ")]
    assert max(map(len, prose)) <= 100
    for x in system.states:
        assert f"dλ_{x.name}/dτ = " in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_only_the_published_model_is_said_to_be_the_published_rule(system: HybridSystem) -> None:
    text = " ".join(derivation(system).split())
    assert ("This is the rule of Wunderlich and Pehle (2021)" in text) == (system.name == "lif_exp")


def test_arrivals_that_fire_are_explained(system: HybridSystem) -> None:
    assert ("g(e(x, w)) − g(x) =" in derivation(system)) == system.name.startswith("lif_delta")


def test_names_are_written_as_the_field_writes_them() -> None:
    text = derivation(hybrid_system(models.lif()), "latex")
    for symbol in (r"\tau_{m}", r"\tau_{\mathrm{syn}}", r"v_{\mathrm{th}}", r"\lambda_{i_{\mathrm{syn}}}"):
        assert symbol in text
    assert "τ_syn" in derivation(hybrid_system(models.lif()))


def test_system_and_adjoint_print_and_display(system: HybridSystem) -> None:
    adjoint = Adjoint.derive(system)
    for value, equation in ((system, "/dt ="), (adjoint, "/dτ =")):
        shown = equations(value)
        assert equation in str(shown)
        latex = shown._repr_latex_()
        assert latex.startswith(r"$\displaystyle \begin{aligned}")
        assert latex.endswith(r"\end{aligned}$")
        assert latex.count("{") == latex.count("}")
        assert shown._repr_markdown_().startswith("# ")


def test_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="'html' is not one of 'text', 'latex', 'markdown'"):
        derivation(hybrid_system(models.lif()), "html")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["integrate_and_fire_or_burst", "hill_tononi", "mihalas_niebur", "hodgkin_huxley"])
def test_conditions_and_spikes_without_reset_are_derived(name: str) -> None:
    system = hybrid_system(load_model(name))
    text = derivation(system)
    assert ("Where a condition turns" in text) == bool(system.switches)
    assert ("stays above threshold" in text) == (system.latch is not None)
    for b, surface in system.switches.items():
        assert b.name not in text
        assert f"H_{list(system.switches).index(b)}" in text and str(next(iter(surface.free_symbols))) in text
    assert "_above" not in text
    derivation(system, "latex")
