"""The Python that README and docs print runs as it is printed, every block by itself."""

from __future__ import annotations

import json
import re
from pathlib import Path

import brian2
import pytest

from benchmarks import library

ROOT = Path(__file__).parents[1]
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "equations/README.md"]
BLOCKS = [
    pytest.param(block, id=f"{file.relative_to(ROOT)}:{k}")
    for file in FILES
    for k, block in enumerate(re.findall(r"^```python\n(.*?)^```", file.read_text(), re.DOTALL | re.MULTILINE))
]


@pytest.mark.parametrize("block", BLOCKS)
def test_printed_python_runs_and_says_something(block: str, capsys: pytest.CaptureFixture[str]) -> None:
    brian2.start_scope()
    before = brian2.prefs.codegen.target
    brian2.prefs.codegen.target = "numpy"  # nothing is to be compiled for a few neurons
    try:
        exec(compile(block, "<documentation>", "exec"), {"__name__": "documentation"})
    finally:
        brian2.prefs.codegen.target = before
    assert capsys.readouterr().out.strip()


def test_every_fault_has_its_test() -> None:
    rows = [line for line in (ROOT / "docs/faults.md").read_text().splitlines() if line.startswith("| ")]
    named = [re.search(r"`(test_\w+)` \|$", line) for line in rows if not line.startswith("| what happens")]
    assert len(named) > 20
    assert all(named)
    texts = [file.read_text() for file in (ROOT / "tests").rglob("test_*.py")]
    tests = {name for text in texts for name in re.findall(r"def (test_\w+)", text)}
    assert {match[1] for match in named if match} <= tests


def test_the_page_of_the_library_is_that_of_its_results() -> None:
    results = json.loads((ROOT / library.RESULTS).read_text())
    assert (ROOT / library.PAGE).read_text() == library.page(results)
