"""Whatever is given: the package's own error in one line or a result, soon, and nothing left behind."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import snnmodels as snn
from snnmodels.coding import load_coding_network
from tests.malformed import changed_document, changed_text, complaint

LIBRARY = Path(__file__).parents[1] / "equations"
FILES = sorted(LIBRARY.glob("*/*.toml"))
drawn = settings(derandomize=True, database=None, deadline=None, max_examples=500)


@pytest.fixture(autouse=True)
def nothing_left(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test begins and ends with empty folders to work in, for temporary files and for what is compiled."""
    folders = [tmp_path_factory.mktemp(name) for name in ("here", "temporary", "cache")]
    monkeypatch.chdir(folders[0])
    monkeypatch.setenv("TMPDIR", str(folders[1]))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("SNNMODELS_CACHE", str(folders[2]))
    yield
    assert [file for folder in folders for file in folder.rglob("*")] == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files are that tests write."""
    return tmp_path_factory.mktemp("files")


# --- files ----------------------------------------------------------------------------------------------------------


def load(path: Path, kind: str) -> object:
    """What a file of the library is for, of a file in its place."""
    match kind:
        case "coding":
            return load_coding_network(path)
        case "networks":
            return snn.load_network(path)
        case "neurons":
            return snn.load_model(path)
        case "synapses":
            return snn.load_model("lif", path)
    trace = ["population_trace"] if "B" in path.read_text(errors="replace") else []
    return snn.load_model("lif", "exp_synapse", *trace, path)


def check_file(original: Path, content: bytes, folder: Path) -> None:
    path = folder / original.name
    path.write_bytes(content)
    found = complaint(lambda: load(path, original.parent.name), (".toml", original.stem))
    assert not found, f"{found}\n{content[:2000].decode(errors='replace')}"


@drawn
@given(st.sampled_from(FILES), st.integers(0, 2**64))
def test_drawn_documents(folder: Path, original: Path, seed: int) -> None:
    check_file(original, changed_document(original.read_text(), random.Random(seed)), folder)


@drawn
@given(st.sampled_from(FILES), st.integers(0, 2**64))
def test_drawn_text(folder: Path, original: Path, seed: int) -> None:
    check_file(original, changed_text(original.read_text(), random.Random(seed)), folder)


@pytest.mark.slow
@settings(drawn, max_examples=20_000)
@given(st.sampled_from(FILES), st.integers(0, 2**64))
def test_many_drawn_documents(folder: Path, original: Path, seed: int) -> None:
    check_file(original, changed_document(original.read_text(), random.Random(seed)), folder)


# each of a kind that once was another library's error, a hang, or a page
@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param("neurons/lif", '"neuron"', "[" * 5000 + "]" * 5000, id="nested arrays"),
        pytest.param("neurons/lif", '"neuron"', "{a = " * 2000 + "1" + "}" * 2000, id="nested tables"),
        pytest.param("neurons/lif", '"neuron"', "1" * 5000, id="more digits than Python reads"),
        pytest.param("neurons/lif", '"20*ms"', f'"{"x" * 9000}"', id="long value"),
        pytest.param("neurons/lif", '"20*ms"', "1" + "0" * 400, id="number beyond floats"),
        pytest.param("neurons/lif", "(v_rest - v", "(v_rest - v << 2", id="operator that Brian2 doesn't have"),
        pytest.param("neurons/lif", '"20*ms"', '"10**10**10*ms"', id="power in a value"),
        pytest.param("neurons/lif", '"second"', '"second**10**10**10"', id="power in a unit"),
        pytest.param("neurons/lif", "(v_rest - v", "(v_rest - v**10**10**10", id="power in an equation"),
        pytest.param("neurons/lif", "(v_rest - v", "(v_rest - v" + "**2" * 99, id="tower of powers"),
        pytest.param("neurons/lif", "(v_rest", "(" + "v_rest + " * 3000 + "v_rest", id="sum of thousands"),
        pytest.param("neurons/lif", '"v_rest"', '"' + "-" * 2000 + 'v_rest"', id="thousands of signs"),
        pytest.param("neurons/lif", '"v = v_reset"', '"v = ' + "-" * 9000 + 'v_reset"', id="signs in a statement"),
        pytest.param("neurons/lif", "[inputs]", "int = 1\n[inputs]", id="key that is the name of a type"),
        pytest.param("neurons/lif", '"exp_synapse"', f'"exp_synapse{"x" * 300}"', id="long name of a file"),
        pytest.param("networks/yin_yang", '"lif+exp_synapse"', f'"{"lif" * 100}"', id="long name of a model"),
        pytest.param("networks/yin_yang", "n = 200", "n = 900_000_000", id="more connections than memory"),
        pytest.param("networks/yin_yang", "input = { n", '"a b" = { n', id="name of an input"),
        pytest.param("coding/ring", "norms = 0.1", f"norms = {10**400}", id="norm beyond floats"),
        pytest.param("coding/joint", '"nu*r"', '"1e400*r"', id="infinite number in a cost"),
        pytest.param("coding/joint", '"nu*r"', '"nu*r**10**10**10"', id="power in a cost"),
        pytest.param("coding/joint", '"nu*r"', '"' + "nu*r + " * 3000 + 'r"', id="long cost"),
    ],
)
def test_kinds_of_malformed_files(folder: Path, file: str, old: str, new: str) -> None:
    original = LIBRARY / f"{file}.toml"
    text = original.read_text()
    assert old in text
    path = folder / original.name
    path.write_text(text.replace(old, new, 1))
    assert complaint(lambda: load(path, original.parent.name), (".toml",)) == ""
    with pytest.raises(snn.TemplateError):
        load(path, original.parent.name)


def test_a_unit_is_spelt_the_same_whatever_was_evaluated_before() -> None:
    from snnmodels.templates.units import resolve_unit, unit_dimension, unit_of_dimension

    before = unit_of_dimension(unit_dimension("volt") / unit_dimension("second"))
    for unit in ("volt/second", "volt*hertz", "(volt/second)**1"):
        unit_dimension(unit)  # Brian2 remembers every unit that it has made
        assert unit_of_dimension(unit_dimension("volt/second")) == before
    assert resolve_unit("unit(v)/second", {"v": "volt"}) == before
