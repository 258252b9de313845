"""The command lines of the benchmarks."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["command_line", "page_options"]


def command_line(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser that shows the module's docstring as it stands, and takes no abbreviations."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def page_options(parser: argparse.ArgumentParser, results: Path, page: Path) -> None:
    """Add where results and their table go, and that only the table is to be written."""
    parser.add_argument("--out", type=Path, default=results, help=f"results (default: {results})")
    parser.add_argument("--docs", type=Path, default=page, help=f"page with the table (default: {page})")
    parser.add_argument("--write-docs", action="store_true", help="only write the table of the results")
