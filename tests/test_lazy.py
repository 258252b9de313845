"""Names that are imported when they are first used: all there, and nothing else in the stub that lists them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from snnmodels import templates
from snnmodels.templates.errors import TemplateError


@pytest.mark.parametrize("name", templates.__all__)
def test_every_name_of_the_templates_is_there(name: str) -> None:
    found = getattr(templates, name)
    assert found.__module__.startswith("snnmodels.templates.")
    assert getattr(templates, name) is found


def test_a_name_is_the_one_of_its_module() -> None:
    assert templates.TemplateError is TemplateError


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'snnmodels.templates' has no attribute 'modell'"):
        templates.modell  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'modell'"):
        exec("from snnmodels.templates import modell")


@pytest.mark.parametrize("line", ["from .part import one", "from .part import one as two", "one = 1", "import part"])
def test_a_stub_of_other_lines_is_refused(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "lazily_offered"
    folder.mkdir()
    text = "from snnmodels.lazy import offered_by_stub\n__getattr__, __dir__, __all__ = offered_by_stub(__name__)\n"
    (folder / "__init__.py").write_text(text)
    (folder / "part.py").write_text("one = 1\n")
    (folder / "__init__.pyi").write_text(f"from .part import one as one\n{line}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "lazily_offered", raising=False)
    with pytest.raises(ValueError, match=r"is no line as from \.module import name as name"):
        importlib.import_module("lazily_offered")
    (folder / "__init__.pyi").write_text("from .part import one as one\n")
    importlib.invalidate_caches()
    assert importlib.import_module("lazily_offered").one == 1
    monkeypatch.delitem(sys.modules, "lazily_offered")
