"""Puts the sources of the site together in one folder: pages of the repository, and generated references.

    python docs/site/stage.py build/site/source

Pages keep their places and names, so that their links are the same as on a repository host. A file that has not
changed is not written again, and what is no longer there is removed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from reference import api_pages, command_line, documented, toml_pages

ROOT = Path(__file__).resolve().parents[2]
# what is shown, or linked to
SHOWN = (
    "README.md",
    "CHANGELOG.md",
    "CITATION.cff",
    "LICENSE",
    "docs/**/*.md",
    "docs/figures/**/*.png",
    "docs/results/*.json",
    "equations/**/*",
    "examples/*.py",
    "examples/README.md",
)
GALLERY = """Gallery of examples
===================

Short scripts to copy from; each is run by the tests. :doc:`What each shows <../examples/README>`.
"""
TUTORIALS = """Tutorials
=========

From the first network on. Each is a script that the tests run, and can be had as a notebook.
"""


SPELT = {"jax": "JAX", "torch": "PyTorch"}  # names of packages, at the beginning of a script's


def gallery_script(name: str, text: str) -> str:
    """A script of `examples/` with the title that the gallery needs, from its name."""
    first, _, rest = name.replace("_", " ").partition(" ")
    title = f"{SPELT.get(first, first.capitalize())} {rest}".strip()
    return text.replace('"""', f'"""{title}\n{"=" * len(title)}\n\n', 1)


def further(index: str) -> str:
    """What the index ends with: pages of `docs` that it does not list."""
    names = [f"docs/{path.stem}" for path in sorted((ROOT / "docs").glob("*.md"))]
    listed = set(index.split())
    rest = "\n".join(name for name in names if name not in listed)
    return f"\n```{{toctree}}\n:caption: Further pages\n:maxdepth: 1\n:hidden:\n\n{rest}\n```\n" if rest else ""


def files() -> Iterator[tuple[str, bytes]]:
    """Every file of the folder, by its path in it."""
    for pattern in SHOWN:
        for path in sorted(ROOT.glob(pattern)):
            name = str(path.relative_to(ROOT))
            if path.is_file() and not name.startswith("docs/site/"):
                yield name, path.read_bytes()
    pages = ROOT / "docs/site/pages"
    for path in sorted(pages.rglob("*.md")):
        text = path.read_text()
        yield str(path.relative_to(pages)), (text + further(text) if path.name == "index.md" else text).encode()
    yield "gallery_scripts/GALLERY_HEADER.rst", GALLERY.encode()
    yield "tutorial_scripts/GALLERY_HEADER.rst", TUTORIALS.encode()
    for path in sorted((ROOT / "docs/tutorials").glob("*.py")):
        yield f"tutorial_scripts/{path.name}", path.read_bytes()
    for path in sorted((ROOT / "examples").glob("*.py")):
        yield f"gallery_scripts/{path.name}", gallery_script(path.stem, path.read_text()).encode()
    for name, text in [*api_pages(), *toml_pages(), ("reference/command_line.md", command_line())]:
        yield name, text.encode()


def stage(folder: Path) -> None:
    """Make the folder hold just what it should.

    Parameters
    ----------
    folder : path
        Is made if it is not there. What Sphinx generates in it stays: `gallery`, `tutorials`, and the
        pages of names that there are.
    """
    wanted = dict(files())
    names = {f"api/generated/{name}.rst" for name in documented()}  # autosummary leaves pages of names that are gone
    for name, content in wanted.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and name not in wanted.keys() | names and not name.startswith(("gallery/", "tutorials/")):
            path.unlink()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    stage(parser.parse_args().folder)
