"""docs/upstream.md: every script that shows a fault of Brian2 or Brian2CUDA does so, and not where it is repaired."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.needs import BRIAN2CUDA, COMPILER

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/upstream.md").read_text()
SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]


def fenced(section: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.DOTALL | re.MULTILINE)


def runs() -> list[Any]:
    """A script, a command that runs it, and the lines that it prints, of every section."""
    found = []
    for section in SECTIONS:
        (script,) = fenced(section, "python")
        for text in fenced(section, "text"):
            for part in text.split("$ ")[1:]:
                command, *lines = part.splitlines()
                marks = [BRIAN2CUDA] if "brian2cuda" in script else []
                name = f"{section.splitlines()[0]}:{command}"
                found.append(pytest.param(script, command, lines, id=name, marks=marks))
    return found


def test_every_fault_has_a_script_and_a_line_of_the_table() -> None:
    assert len(SECTIONS) > 10
    for section in SECTIONS:
        title = section.splitlines()[0]
        anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        assert f"](#{anchor}) |" in PAGE, title
        assert fenced(section, "text"), title
    assert PAGE.count("](#") == len(SECTIONS)


@pytest.mark.slow
@COMPILER
@pytest.mark.parametrize(("script", "command", "lines"), runs())
def test_the_script_prints_what_the_page_says(script: str, command: str, lines: list[str], tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(script)
    python, *words = shlex.split(command)
    assert python == "python"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
        check=False,
    )
    assert lines
    for line in lines:
        assert line in done.stdout
