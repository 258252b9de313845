"""What `snnmodels.torch` is where PyTorch is missing, or not asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import snnmodels as snn


def test_torch_is_imported_when_it_is_used_alone() -> None:
    code = "import sys, snnmodels as snn; dir(snn.torch); print({'torch', 'numpy'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "set()"


@pytest.mark.parametrize("name", ["layer", "simulate"])
def test_without_torch_it_says_how_to_install_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=rf"snnmodels\.torch\.{name} needs PyTorch.*'snnmodels\[torch\]'"):
        getattr(snn.torch, name)(None, None)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nn'"):
        snn.torch.nn  # noqa: B018
