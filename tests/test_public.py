"""What `import snnmodels` offers: names that exist, documented, and nothing imported before it is used."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import snnmodels

NAMES = [n for n in snnmodels.__all__ if not n.startswith("__")]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there_and_documented(name: str) -> None:
    found = getattr(snnmodels, name)
    assert inspect.getdoc(found)
    assert name in dir(snnmodels)


def test_a_name_is_the_one_of_its_module() -> None:
    from snnmodels.gradients import Simulation
    from snnmodels.templates import load_model
    from snnmodels.training import train

    assert (snnmodels.Simulation, snnmodels.train, snnmodels.load_model) == (Simulation, train, load_model)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'simulation'"):
        snnmodels.simulation  # noqa: B018


def test_the_import_itself_imports_nothing_heavy() -> None:
    code = "import sys, snnmodels; dir(snnmodels); print({'numpy', 'sympy', 'brian2'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "set()"
