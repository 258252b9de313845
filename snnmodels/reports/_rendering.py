"""Documents of prose, equations and tables, written as terminal text, Markdown or LaTeX."""

from __future__ import annotations

import textwrap
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import Literal

import sympy as sp
from sympy.printing.latex import LatexPrinter
from sympy.printing.pretty.pretty import PrettyPrinter
from sympy.printing.pretty.pretty_symbology import greek_unicode
from sympy.printing.pretty.stringpict import prettyForm, stringPict

from ..templates.errors import brief

WIDTH = 100


@dataclass(frozen=True)
class Math:
    """A short piece of mathematics in both scripts."""

    text: str
    latex: str


@dataclass(frozen=True)
class Heading:
    """A title of level 1 or a section of level 2."""

    level: int
    text: str


@dataclass(frozen=True)
class Prose:
    """A paragraph in which ``{name}`` stands for an entry of `math`."""

    template: str
    math: Mapping[str, Math] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A term of an equation: an expression with something before and after it."""

    expression: sp.Basic
    before: Math = Math("", "")
    after: Math = Math("", "")


@dataclass(frozen=True)
class Equation:
    """``left = part + part + ...``; `names` maps symbols to how they are written here."""

    left: Math
    parts: Sequence[Part]
    names: Mapping[sp.Symbol, Math]


@dataclass(frozen=True)
class Table:
    """Rows of plain text or mathematics."""

    head: Sequence[str]
    rows: Sequence[Sequence[str | Math]]


Block = Heading | Prose | Equation | Table


def name_math(name: str) -> Math:
    r"""A model's name in both scripts: ``tau_m`` is τ_m and ``\tau_{\mathrm{m}}``."""
    head, *subscripts = name.split("_")
    text = "_".join([_greek(head), *(_greek(s) for s in subscripts)])
    if not subscripts:
        return Math(text, _latex_word(head))
    inner = r",\,".join(_latex_word(s) for s in subscripts)
    return Math(text, f"{_latex_word(head)}_{{{inner}}}")


def _greek(word: str) -> str:
    return greek_unicode.get("lamda" if word == "lambda" else word, word)


def _latex_word(word: str) -> str:
    if _greek(word) != word:
        return sp.latex(sp.Symbol(word))
    return word if len(word) == 1 or word.isdigit() else rf"\mathrm{{{word}}}"


class _Pretty(PrettyPrinter):
    def __init__(self, names: Mapping[sp.Symbol, Math]) -> None:
        super().__init__({"use_unicode": True, "wrap_line": False})
        self.names = names

    def _print_Symbol(self, e: sp.Symbol, bold_name: bool = False) -> prettyForm:
        return prettyForm(self.names[e].text) if e in self.names else super()._print_Symbol(e)


class Renderer(ABC):
    """Writes blocks in one format."""

    def render(self, blocks: Sequence[Block]) -> str:
        """The document."""
        parts = []
        for block in blocks:
            match block:
                case Heading():
                    parts.append(self.heading(block))
                case Prose():
                    parts.append(self.prose(block))
                case Equation():
                    parts.append(self.equation(block))
                case Table():
                    parts.append(self.table(block))
        return "\n\n".join(parts) + "\n"

    @abstractmethod
    def heading(self, block: Heading) -> str:
        """A title."""

    @abstractmethod
    def prose(self, block: Prose) -> str:
        """A paragraph, wrapped."""

    @abstractmethod
    def equation(self, block: Equation) -> str:
        """A displayed equation."""

    @abstractmethod
    def table(self, block: Table) -> str:
        """A table with one head row."""


class TextRenderer(Renderer):
    """For a terminal, with SymPy's two-dimensional equations."""

    def heading(self, block: Heading) -> str:
        return f"{block.text}\n{('=' if block.level == 1 else '-') * len(block.text)}"

    def prose(self, block: Prose) -> str:
        return _fill(block, lambda m: m.text)

    def equation(self, block: Equation) -> str:
        printer = _Pretty(block.names)
        whole = stringPict(f"    {block.left.text} = ")
        for n, part in enumerate(block.parts):
            form = printer._print(part.expression)
            if part.before.text and isinstance(part.expression, sp.Add):
                form = prettyForm(*form.parens())
            before = (" + " if n else "") + part.before.text
            picture = stringPict(before) if before else stringPict("")
            picture = stringPict(*picture.right(form)) if before else form
            if part.after.text:
                picture = stringPict(*picture.right(part.after.text))
            whole = stringPict(*whole.right(picture))
        return "\n".join(line.rstrip() for line in whole.render(wrap_line=False).splitlines())

    def table(self, block: Table) -> str:
        rows = [list(block.head)] + [[c.text if isinstance(c, Math) else c for c in row] for row in block.rows]
        widths = [max(len(row[k]) for row in rows) for k in range(len(block.head))]
        lines = ["    " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines.insert(1, "    " + "  ".join("-" * w for w in widths))
        return "\n".join(lines)


class _Latex(Renderer):
    """What Markdown and LaTeX have in common."""

    def equation(self, block: Equation) -> str:
        return self.display(latex_equation(block))

    @abstractmethod
    def display(self, latex: str) -> str:
        """Mathematics set off from the text."""


class MarkdownRenderer(_Latex):
    """Markdown with mathematics between dollar signs, as GitHub and Jupyter show it."""

    def heading(self, block: Heading) -> str:
        return f"{'#' * block.level} {block.text}"

    def prose(self, block: Prose) -> str:
        return _fill(block, lambda m: f"${m.latex}$")

    def display(self, latex: str) -> str:
        return f"$$\n{latex}\n$$"

    def table(self, block: Table) -> str:
        def cell(c: str | Math) -> str:
            return f"${c.latex}$" if isinstance(c, Math) else c.replace("|", r"\|")

        rows = [" | ".join(cell(c) for c in row) for row in block.rows]
        lines = [" | ".join(block.head), " | ".join("---" for _ in block.head), *rows]
        return "\n".join(f"| {line} |" for line in lines)


class LatexRenderer(_Latex):
    """The body of a LaTeX document that loads amsmath."""

    def heading(self, block: Heading) -> str:
        return rf"\{'section' if block.level == 1 else 'subsection'}*{{{_escape(block.text)}}}"

    def prose(self, block: Prose) -> str:
        return _fill(block, lambda m: f"${m.latex}$", _escape)

    def display(self, latex: str) -> str:
        return f"\\begin{{equation*}}\n{latex}\n\\end{{equation*}}"

    def table(self, block: Table) -> str:
        def cell(c: str | Math) -> str:
            return f"${c.latex}$" if isinstance(c, Math) else _escape(c)

        rows = [" & ".join(cell(c) for c in row) + r" \\" for row in [block.head, *block.rows]]
        rows.insert(1, r"\hline")
        return "\n".join([rf"\begin{{tabular}}{{{'l' * len(block.head)}}}", *rows, r"\end{tabular}"])


def latex_equation(block: Equation) -> str:
    """``left = ...`` in LaTeX, without delimiters."""
    printer = LatexPrinter({"symbol_names": {s: m.latex for s, m in block.names.items()}})
    terms = []
    for part in block.parts:
        term = printer.doprint(part.expression)
        if part.before.latex and isinstance(part.expression, sp.Add):
            term = rf"\left({term}\right)"
        terms.append(" ".join(filter(None, (part.before.latex, term, part.after.latex))))
    return f"{block.left.latex} = {' + '.join(terms)}"


_HOLD = "\N{NO-BREAK SPACE}"


def _fill(block: Prose, math: Callable[[Math], str], literal: Callable[[str], str] = str) -> str:
    """The paragraph wrapped, no line ending within a formula."""
    pieces = []
    for text, name, _, _ in Formatter().parse(block.template):
        pieces.append(literal(text))
        if name:
            pieces.append(math(block.math[name]).replace(" ", _HOLD))
    return textwrap.fill("".join(pieces), WIDTH, break_long_words=False, break_on_hyphens=False).replace(_HOLD, " ")


_SPECIAL = {
    **{c: "\\" + c for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "−": "-",
    "é": r"\'e",
    "á": r"\'a",
}


def _escape(text: str) -> str:
    return "".join(_SPECIAL.get(c, c) for c in text)


Format = Literal["text", "latex", "markdown"]
_RENDERERS: dict[str, type[Renderer]] = {"text": TextRenderer, "latex": LatexRenderer, "markdown": MarkdownRenderer}


def renderer(format: Format) -> Renderer:
    """What writes a document in a format.

    Raises
    ------
    ValueError
        For another format.
    """
    if not isinstance(format, str) or format not in _RENDERERS:
        raise ValueError(f"format {brief(format)} is not one of {', '.join(map(repr, _RENDERERS))}")
    return _RENDERERS[format]()
