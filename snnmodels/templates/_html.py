"""Tables for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["page", "table"]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows under a head, with their texts escaped; nothing where there are none."""
    lines = ["".join(f"<td style='text-align:left'>{escape(str(cell))}</td>" for cell in row) for row in rows]
    if not lines:
        return ""
    top = "".join(f"<th style='text-align:left'>{escape(cell)}</th>" for cell in head)
    return f"<table><tr>{top}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def page(title: str, code: str, *tables: str) -> str:
    """A title, lines as they are, and tables."""
    lines = f"<pre>{escape(code)}</pre>" if code else ""
    return f"<b>{escape(title)}</b>{lines}{''.join(tables)}"
