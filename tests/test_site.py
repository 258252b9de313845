"""The site builds without a warning, and its tutorials run; what the references are made of is whole."""

from __future__ import annotations

import html
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
from pydantic import BaseModel

import snnmodels
from tests.needs import COMPILER

ROOT = Path(__file__).parents[1]
SITE = ROOT / "docs/site"
TUTORIALS = sorted((ROOT / "docs/tutorials").glob("*.py"))
HAS_SPHINX = importlib.util.find_spec("sphinx") is not None and importlib.util.find_spec("myst_parser") is not None


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(str(SITE))
    monkeypatch.delitem(sys.modules, "reference", raising=False)
    import reference

    return reference


def test_every_public_name_has_a_page(reference: object) -> None:
    pages = reference.documented()  # type: ignore[attr-defined]
    assert {f"snnmodels.{n}" for n in snnmodels.__all__ if not n.startswith("_")} - set(pages) == {
        f"snnmodels.{n}" for n in snnmodels.__all__ if inspect.ismodule(getattr(snnmodels, n))
    }
    assert "snnmodels.losses.Samples" in pages
    assert len(pages) == len(set(pages))


def test_every_kind_of_file_has_a_page_with_its_keys(reference: object) -> None:
    from snnmodels.templates.schema import KINDS, NeuronFile

    pages = dict(reference.toml_pages())  # type: ignore[attr-defined]
    assert {name for name, *_ in reference.FILES.items()} >= set(KINDS)  # type: ignore[attr-defined]
    assert all(f"| `{key}` |" in pages["reference/toml_neuron.md"] for key in NeuronFile.model_fields)
    for text in pages.values():
        assert set(re.findall(r"\(#(\w+)\)", text)) <= {h.lower() for h in re.findall(r"^## (\w+)", text, re.M)}
    assert issubclass(NeuronFile, BaseModel)


def test_every_command_has_its_part(reference: object) -> None:
    text = reference.command_line()  # type: ignore[attr-defined]
    for command in ("list", "show", "derive", "check-gradient", "fit", "build", "load-results", "train"):
        assert f"## `snnmodels {command}`" in text


def test_a_folder_of_sources_holds_what_it_should_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(SITE))
    import stage

    monkeypatch.setattr(stage, "SHOWN", ("README.md", "docs/*.md"))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/gone.md").write_text("# Gone\n")
    stage.stage(tmp_path)
    assert not (tmp_path / "docs/gone.md").exists()
    assert (tmp_path / "docs/eventprop.md").read_bytes() == (ROOT / "docs/eventprop.md").read_bytes()
    kept = (tmp_path / "docs/eventprop.md").stat().st_mtime_ns
    stage.stage(tmp_path)
    assert (tmp_path / "docs/eventprop.md").stat().st_mtime_ns == kept  # so that Sphinx reads it but once
    listed = set((tmp_path / "index.md").read_text().split())
    assert {f"docs/{page.stem}" for page in (ROOT / "docs").glob("*.md")} <= listed


def dead_links(built: Path) -> list[str]:
    """Links, images and anchors of pages that lead to nothing of the site, with the page that each is on."""
    texts = {page: page.read_text() for page in built.rglob("*.html")}
    anchors = {page: set(re.findall(r'\b(?:id|name)="([^"]+)"', text)) for page, text in texts.items()}
    dead = []
    for page, text in texts.items():
        for link in map(html.unescape, re.findall(r'\b(?:href|src)="([^"]+)"', text)):
            if re.match(r"[a-z]+:", link):
                continue
            name, _, anchor = link.partition("#")
            there = (page.parent / unquote(name.partition("?")[0])).resolve() if name else page
            if not there.exists() or (anchor and there in anchors and html.escape(anchor) not in anchors[there]):
                dead.append(f"{page.relative_to(built)}: {link}")
    return dead


def test_dead_links_are_seen(tmp_path: Path) -> None:
    (tmp_path / "two.html").write_text('<p id="there">')
    links = ("two.html", "two.html#there", "two.html#gone", "three.html", "#here", "#gone", "https://example.org/x")
    lines = [f'<a href="{link}">' for link in links]
    (tmp_path / "one.html").write_text("\n".join(['<h1 id="here">', *lines, '<img src="gone.png">']))
    dead = ["one.html: two.html#gone", "one.html: three.html", "one.html: #gone", "one.html: gone.png"]
    assert dead_links(tmp_path) == dead


@pytest.mark.slow
@pytest.mark.skipif(not HAS_SPHINX, reason="the site needs Sphinx: pip install '.[docs]'")
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    source, built = tmp_path / "source", tmp_path / "html"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    subprocess.run([sys.executable, SITE / "stage.py", source], check=True, env=environment)
    command = [sys.executable, "-m", "sphinx", "-c", SITE, "-b", "html", "-q", "-W", "--keep-going", source, built]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1800)
    assert ran.returncode == 0, ran.stderr
    for page in ("index", "docs/eventprop", "docs/models/adex", "api/generated/snnmodels.Simulation", "gallery/digits"):
        text = (built / f"{page}.html").read_text()
        assert "problematic" not in text
    assert dead_links(built) == []
    assert "<math" in (built / "docs/models/adex.html").read_text()


@pytest.mark.slow
@COMPILER
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs(path: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, path], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    CHECKS[path.stem](ran.stdout)


def first_network(said: str) -> None:
    apart = re.search(r"differences (-?[\d.]+), gradient (-?[\d.]+)", said)
    assert apart is not None
    assert abs(float(apart[1]) - float(apart[2])) < 1e-6
    assert "agrees" in said
    now = re.search(r"first spikes at \[ *([\d.]+) +([\d.]+) *\]", said)
    assert now is not None
    assert [round(float(t), 2) for t in now.groups()] == [8, 12]


def brian2_script(said: str) -> None:
    for after, wanted in re.findall(r"-> ([\d.]+) ms, wanted ([\d.]+) ms", said):
        assert abs(float(after) - float(wanted)) < 0.5
    assert said.count(", wanted ") == 2


def yin_yang(said: str) -> None:
    right = re.search(r"([\d.]+) % of 1000", said)
    assert right is not None
    assert float(right[1]) > 80


def fit_a_neuron(said: str) -> None:
    assert "the same spikes: True" in said


def coding_network(said: str) -> None:
    found = re.search(r"(\d+) to (\d+) spikes per second, squared error ([\d.e-]+) to ([\d.e-]+)", said)
    assert found is not None
    many, few, small, large = map(float, found.groups())
    assert few < many / 2
    assert large > small


CHECKS = {
    "plot_1_first_network": first_network,
    "plot_2_brian2_script": brian2_script,
    "plot_3_yin_yang": yin_yang,
    "plot_4_fit_a_neuron": fit_a_neuron,
    "plot_5_coding_network": coding_network,
}


def test_every_tutorial_has_its_check() -> None:
    assert set(CHECKS) == {path.stem for path in TUTORIALS}
