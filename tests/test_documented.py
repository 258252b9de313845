"""Public names say what they take and give, their examples run, and no page links to what is not there."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import snnmodels

ROOT = Path(__file__).parents[1]
NAMES = [n for n in snnmodels.__all__ if not n.startswith("__") and not inspect.ismodule(getattr(snnmodels, n))]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "equations/README.md", "examples/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
# pages of the site, and of what is generated for it: Sphinx looks after their links
PAGES = [page for page in PAGES if "docs/site" not in page.as_posix()]
# what examples use without importing it
OFFERED = {name: getattr(snnmodels, name) for name in NAMES} | {"snnmodels": snnmodels}
# of numpydoc: blank lines, order of sections, unknown arguments and their order, missing summaries and returns
FORM = {"GL01", "GL02", "GL03", "GL05", "GL06", "GL07", "GL08", "PR02", "PR03", "PR10", "RT01", "SS01", "SS02", "YD01"}
EXTRAS = {"h5py", "mpi4py", "nir", "torch"}  # packages that not everyone has
SECTION = re.compile(r"^(Parameters|Attributes|Returns|Yields|Raises|Examples|Notes|References)\n-+\n", re.M)


def sections(found: object) -> dict[str, str]:
    """The sections of a docstring in NumPy's style, by title; "" has what stands before the first."""
    parts = SECTION.split(inspect.getdoc(found) or "")
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def entries(text: str) -> dict[str, tuple[str, str]]:
    """Type and description of each name of a section; several names may share a line."""
    result = {}
    for block in re.split(r"\n(?=\S)", text.strip("\n")):
        head, _, body = block.partition("\n")
        names, _, kind = head.partition(" : ")
        for name in names.split(","):
            result[name.strip().lstrip("*")] = (kind.strip(), inspect.cleandoc(body).strip())
    return result


def documented(found: type) -> set[str]:
    """Names that a class and those that it derives from describe."""
    kinds = [sections(c) for c in inspect.getmro(found) if c.__module__.startswith("snnmodels")]
    return {name for s in kinds for title in ("Parameters", "Attributes") for name in entries(s.get(title, ""))}


def wanted(found: object) -> set[str]:
    """What a name is called with."""
    try:
        given = inspect.signature(found).parameters.values()  # type: ignore[arg-type]
    except ValueError:
        return set()
    return {p.name for p in given if p.name not in ("self", "args", "kwargs") and not p.name.startswith("_")}


@pytest.mark.parametrize("name", NAMES)
def test_all_that_a_name_takes_and_gives_is_documented(name: str) -> None:
    found = getattr(snnmodels, name)
    has = sections(found)
    assert has[""].split("\n")[0].endswith("."), "the first line is a sentence"
    told = documented(found) if inspect.isclass(found) else set(entries(has.get("Parameters", "")))
    assert wanted(found) <= told
    returns = inspect.isfunction(found) and found.__annotations__.get("return") not in ("None", None)
    assert not returns or "Returns" in has, "says what it returns"


@pytest.mark.parametrize("name", [n for n in NAMES if inspect.isfunction(getattr(snnmodels, n))])
def test_errors_are_documented(name: str) -> None:
    """Every function of the top level checks what it is given, and says with what error."""
    assert "Raises" in sections(getattr(snnmodels, name))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_docstrings_are_in_the_form_of_numpydoc(name: str) -> None:
    """What numpydoc says of sections, their order, and arguments; not of what it wants beyond ours."""
    validate = pytest.importorskip("numpydoc.validate", reason="needs numpydoc: pip install '.[docs]'").validate
    errors = {code: message for code, message in validate(f"snnmodels.{name}")["errors"] if code in FORM}
    assert errors == {}


def test_an_undocumented_argument_is_seen() -> None:
    def odd(a: int, b: int) -> int:
        """One sentence.

        Parameters
        ----------
        a : int
            The first.
        """
        return a + b

    assert wanted(odd) - set(entries(sections(odd)["Parameters"])) == {"b"}


def test_examples_of_docstrings_run() -> None:
    tried = 0
    for module in pkgutil.walk_packages(snnmodels.__path__, "snnmodels."):
        if ">>>" not in (source(module.name) or ""):
            continue
        try:
            found = importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if error.name not in EXTRAS:
                raise
            continue
        for test in doctest.DocTestFinder(exclude_empty=True).find(found):
            runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, verbose=False)
            said: list[str] = []
            test.globs |= OFFERED
            runner.run(test, out=said.append)
            assert not runner.failures, "".join(said)
            tried += runner.tries
    assert tried > 5


def source(module: str) -> str | None:
    spec = importlib.util.find_spec(module)
    return Path(spec.origin).read_text() if spec is not None and spec.origin is not None else None


def anchors(page: Path) -> set[str]:
    """What a repository host, and the site, make of a page's headings."""
    text = re.sub(r"^( *)```.*?^\1```", "", page.read_text(), flags=re.S | re.M)
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", text, re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
        same = sum(slug == a or re.fullmatch(rf"{re.escape(slug)}-\d+", a) is not None for a in found)
        found.add(f"{slug}-{same}" if same else slug)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^( *)```.*?^\1```", "", page.read_text(), flags=re.S | re.M)
    text = re.sub(r"`[^`\n]*`", "", text)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'<img src="([^"]+)"', text)
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        there = page.parent / file if file else page
        assert there.exists(), f"{link}: there is no such file"
        assert not anchor or anchor in anchors(there), f"{link}: there is no such heading"
