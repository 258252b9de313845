"""What the site needs of Sphinx beyond its extensions: formulas as MathML, links to folders, bars in docstrings.

MathML is what browsers draw themselves, so that the site shows its formulas without a network.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import latex2mathml.converter
from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

__all__ = ["setup"]


def mathml(latex: str, display: str) -> str:
    """A formula as MathML.

    Parameters
    ----------
    latex : str
        Without its delimiters.
    display : {"inline", "block"}
        In a line of text, or on lines of its own.

    Raises
    ------
    ValueError
        If a command was not understood: it would be shown by its name.
    """
    converted = latex2mathml.converter.convert(latex, display=display)
    left = re.search(r"<m[a-z]+[^>]*>(\\[A-Za-z]+)</m", converted)
    if left is not None:
        raise ValueError(f"{left[1]} is no command that can be shown as MathML, in {latex!r}")
    return converted


def _inline(self: Any, node: nodes.math) -> None:
    self.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def _block(self: Any, node: nodes.math_block) -> None:
    self.body.append(f'<div class="math">{mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode


class FoldersAsText(SphinxTransform):
    """A link to a folder of the repository, which is no page: its text remains."""

    default_priority = 1  # before links are looked up

    def apply(self, **kwargs: Any) -> None:
        here = Path(self.env.doc2path(self.env.docname)).parent
        for node in list(self.document.findall(addnodes.pending_xref)):
            target = str(node.get("reftarget", ""))
            if node.get("reftype") == "myst" and target and "#" not in target and (here / target).is_dir():
                node.replace_self(node.children)


def _literal_bars(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """In a docstring bars around x are an absolute value; to reStructuredText they would be a substitution."""
    for k, line in enumerate(lines):
        parts = re.split(r"(``?[^`]+``?)", line)
        lines[k] = "".join(part if part.startswith("`") else part.replace("|", r"\|") for part in parts)


def _without_jekyll(app: Sphinx, exception: Exception | None) -> None:
    """Jekyll, which serves pages of repositories, would hide folders that begin with an underscore."""
    if exception is None and app.builder.format == "html":
        (Path(app.outdir) / ".nojekyll").touch()


def setup(app: Sphinx) -> dict[str, Any]:
    """Register all of this."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.add_transform(FoldersAsText)
    app.add_lexer("floors", TextLexer)  # the block of docs/architecture.md that a test reads
    app.connect("autodoc-process-docstring", _literal_bars, priority=900)  # after numpydoc
    app.connect("build-finished", _without_jekyll)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

