"""The compiler, and the cache of what it makes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from snnmodels.targets import compilation
from snnmodels.targets.cache import kept
from snnmodels.targets.compilation import BuildFailed, fingerprint, library
from tests.needs import COMPILER

FLAGS = ("-std=c++17", "-O2")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SNNMODELS_CACHE", str(tmp_path))
    return tmp_path


@COMPILER
def test_a_library_is_compiled_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = 'extern "C" int three() { return 3; }'
    assert library("three", source, FLAGS).three() == 3
    (file,) = cache.iterdir()
    made = file.stat().st_mtime_ns
    assert library("three", source, FLAGS).three() == 3
    assert [f.stat().st_mtime_ns for f in cache.iterdir()] == [made]
    assert library("three", source, (*FLAGS, "-DOTHER")).three() == 3
    assert len(list(cache.iterdir())) == 2


@COMPILER
def test_what_the_compiler_refuses_is_an_error_and_leaves_nothing(cache: Path) -> None:
    with pytest.raises(BuildFailed, match=r"refuses wrong.cpp: .*error"):
        library("wrong", "this is no C++", FLAGS)
    assert not list(cache.iterdir())


def test_what_is_kept_is_made_once_and_appears_whole(cache: Path) -> None:
    made = []

    def make(folder: Path) -> Path:
        made.append(folder)
        (folder / "program").mkdir()
        (folder / "program" / "main").write_text(str(len(made)))
        return folder / "program"

    for _ in range(2):
        assert (kept("network", make) / "main").read_text() == "1"
    assert len(made) == 1
    assert [f.name for f in cache.iterdir()] == ["network"]


def test_who_waits_at_a_terminal_is_told_once_what_for(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def slow(folder: Path) -> Path:
        time.sleep(0.1)
        file = folder / "file"
        file.write_text("made")
        return file

    def of_parts(folder: Path) -> Path:
        kept(f"part of {folder.parent.name}", slow)
        return slow(folder)

    monkeypatch.setattr("snnmodels.targets.cache._PATIENCE", 0.01)
    kept("unseen", of_parts)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    kept("whole", of_parts)
    kept("whole", of_parts)
    (line,) = capsys.readouterr().err.splitlines()
    assert "compiles" in line and str(cache) in line
    monkeypatch.setattr("snnmodels.targets.cache._PATIENCE", 60.0)
    kept("quick", slow)
    assert capsys.readouterr().err == ""


def test_the_faster_of_two_is_kept(cache: Path) -> None:
    def theirs(folder: Path) -> Path:
        (folder / "program").mkdir()
        (folder / "program" / "main").write_text("theirs")
        return folder / "program"

    def make(folder: Path) -> Path:
        kept("network", theirs)
        (folder / "program").mkdir()
        return folder / "program"

    assert (kept("network", make) / "main").read_text() == "theirs"


def test_a_make_that_fails_leaves_nothing(cache: Path) -> None:
    def make(folder: Path) -> Path:
        (folder / "half").write_text("")
        raise BuildFailed("no")

    with pytest.raises(BuildFailed):
        kept("network", make)
    assert not list(cache.iterdir())


@COMPILER
def test_a_fingerprint_tells_parts_apart() -> None:
    assert fingerprint("ab", 1) == fingerprint("ab", 1)
    assert len({fingerprint("ab", 1), fingerprint("a", "b1"), fingerprint("ab", b"1", 2), fingerprint()}) == 4


@pytest.mark.parametrize(("command", "message"), [("no-such-compiler", "does not run"), ("false", "--version fails")])
def test_a_compiler_that_is_none(cache: Path, monkeypatch: pytest.MonkeyPatch, command: str, message: str) -> None:
    monkeypatch.setenv("CXX", command)
    with pytest.raises(BuildFailed, match=f"{command} {message}"):
        library("three", "", FLAGS)


def test_a_processor_has_a_description() -> None:
    assert compilation._processor().strip()
