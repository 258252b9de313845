"""The package on Brian2 2.11, which changed its templates, spike queue and standard of C++, where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PYTHONS = ("python3.13", "python3.14")
ASKED = "import sys, brian2, scipy, pydantic, pytest, typer; print(brian2.__version__)"
# what meets Brian2 most: its groups by themselves, its code as it is read, an assembly on the grid
PARTS = ("tests/brian/test_plain.py", "tests/brian/test_plan.py", "tests/gradients/test_simulation.py")


def interpreter() -> str | None:
    """``$SNNMODELS_PYTHON_BRIAN211``, else one on the path with Brian2 2.11 and what the tests need; None without."""
    given = os.environ.get("SNNMODELS_PYTHON_BRIAN211")
    found = [given] if given else [p for p in (sys.executable, *map(shutil.which, PYTHONS)) if p]
    for python in found:
        asked = subprocess.run([python, "-c", ASKED], capture_output=True, text=True, check=False)
        if asked.returncode == 0 and asked.stdout.startswith("2.11."):
            return python
    if given:
        raise ValueError(f"SNNMODELS_PYTHON_BRIAN211={given} lacks Brian2 2.11 or what tests need: {asked.stderr}")
    return None


@pytest.mark.slow
def test_brian2_2_11(root: Path, tmp_path: Path) -> None:
    python = interpreter()
    if python is None:
        pytest.skip("no interpreter with Brian2 2.11 was found; name one in SNNMODELS_PYTHON_BRIAN211")
    # quiet it is by its settings; once more so, it would not sum up
    words = [python, "-m", "pytest", "-p", "no:cacheprovider", *PARTS]
    environment = os.environ | {"PYTHONPATH": str(root), "SNNMODELS_CACHE": str(tmp_path)}
    done = subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=1800)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout.splitlines()[-1]
