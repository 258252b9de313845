"""What runs CUDA here: an emulator on the processor (tests/cudacpu), and a GPU where there is one."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snnmodels.targets.cuda import program
from tests.needs import COMPILER, has_gpu

EMULATOR = Path(__file__).parents[1] / "cudacpu" / "nvcc"


GPU = pytest.param("gpu", marks=pytest.mark.skipif(not has_gpu(), reason="needs a GPU and nvcc"))


@pytest.fixture(params=[pytest.param("emulated", marks=COMPILER), GPU])
def cuda(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What target cuda_standalone runs on."""
    if request.param == "emulated":
        monkeypatch.setenv("NVCC", f"{sys.executable} {EMULATOR}")
    return str(request.param)


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVCC", f"{sys.executable} {EMULATOR}")


@pytest.fixture
def races(emulated: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first data race ends the program."""
    monkeypatch.setenv("NVCC", f"{sys.executable} {EMULATOR} --check=race")
    monkeypatch.setenv("CUDACPU_RACE_ENDS", "1")


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Replaces a text of the runtime that stands there once."""
    folder = tmp_path / "runtime"
    shutil.copytree(program._RUNTIME, folder)
    monkeypatch.setattr(program, "_RUNTIME", folder)

    def plant(file: str, old: str, new: str) -> None:
        text = (folder / file).read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
        (folder / file).write_text(text.replace(old, new))

    yield plant
