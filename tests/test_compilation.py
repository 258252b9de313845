"""The compiler and its cache, and the numerical C++ that all compiled templates share."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import numpy as np
import pytest

from snnmodels import compilation
from snnmodels.brian.compiled.headers import headers
from snnmodels.compilation import BuildFailed, library

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
FLAGS = ("-std=c++17", "-O2")
SOURCE = (
    headers(False)
    + """
extern "C" double exponential(double x) { return snn_exp(x); }
// a sum of exponentials minus a level, as a membrane is
extern "C" double crossing(double a, double b, double level, double low, double high, double guess, int* evaluations)
{
    *evaluations = 0;
    return snn_root([&](double t, double* slope) {
        ++*evaluations;
        *slope = -a*std::exp(-t) - 4*b*std::exp(-4*t);
        return a*std::exp(-t) + b*std::exp(-4*t) - level;
    }, low, high, guess);
}
"""
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SNNMODELS_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SNNMODELS_CACHE", str(tmp_path_factory.mktemp("cache")))
        loaded = library("shared", SOURCE, FLAGS)
    loaded.exponential.argtypes, loaded.exponential.restype = [ctypes.c_double], ctypes.c_double
    loaded.crossing.argtypes = [*[ctypes.c_double] * 6, ctypes.POINTER(ctypes.c_int)]
    loaded.crossing.restype = ctypes.c_double
    return loaded


@needs_compiler
def test_the_exponential_is_right_to_rounding(shared: ctypes.CDLL) -> None:
    x = np.concatenate([np.linspace(-0.26, 0.26, 20001), [0.25, -0.25, 0.0, 1e-300, -3.0, 20.0]])
    found = np.array([shared.exponential(v) for v in x])
    np.testing.assert_allclose(found, np.exp(x), rtol=4e-16, atol=0)


@needs_compiler
def test_roots_are_found_in_few_evaluations(shared: ctypes.CDLL) -> None:
    rng = np.random.default_rng(0)
    counts = []
    for _ in range(2000):
        # rises from below 0 at the start of a step to above 0 at its end
        a, b, high = rng.uniform(1, 3), -rng.uniform(3, 6), rng.uniform(0.01, 0.2)
        root = rng.uniform(0, high)
        level = a * np.exp(-root) + b * np.exp(-4 * root)
        evaluations = ctypes.c_int()
        guess = rng.uniform(0, high)
        found = shared.crossing(a, b, level, 0.0, high, guess, ctypes.byref(evaluations))
        assert found == pytest.approx(root, rel=0, abs=2e-15)
        counts.append(evaluations.value)
    assert np.mean(counts) < 4
    assert max(counts) < 10


@needs_compiler
def test_a_root_next_to_a_maximum_is_found(shared: ctypes.CDLL) -> None:
    a, b = 2.0, -3.0
    top = np.log(-4 * b / a) / 3  # where the slope vanishes
    for distance in (1e-2, 1e-3, 1e-4):
        root = top - distance
        level = a * np.exp(-root) + b * np.exp(-4 * root)
        found = shared.crossing(a, b, level, root - 0.3, top, root - 0.25, ctypes.byref(ctypes.c_int()))
        # the value is flat there: its rounding, over the slope
        assert found == pytest.approx(root, rel=0, abs=1e-15 / distance)


@needs_compiler
def test_a_library_is_compiled_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = 'extern "C" int three() { return 3; }'
    assert library("three", source, FLAGS).three() == 3
    (file,) = cache.iterdir()
    made = file.stat().st_mtime_ns
    assert library("three", source, FLAGS).three() == 3
    assert [f.stat().st_mtime_ns for f in cache.iterdir()] == [made]
    assert library("three", source, (*FLAGS, "-DOTHER")).three() == 3
    assert len(list(cache.iterdir())) == 2


@needs_compiler
def test_what_the_compiler_refuses_is_an_error_and_leaves_nothing(cache: Path) -> None:
    with pytest.raises(BuildFailed, match=r"refuses wrong: .*error"):
        library("wrong", "this is no C++", FLAGS)
    assert not list(cache.iterdir())


@pytest.mark.parametrize(("command", "message"), [("no-such-compiler", "does not run"), ("false", "--version fails")])
def test_a_compiler_that_is_none(cache: Path, monkeypatch: pytest.MonkeyPatch, command: str, message: str) -> None:
    monkeypatch.setenv("CXX", command)
    with pytest.raises(BuildFailed, match=f"{command} {message}"):
        library("three", "", FLAGS)


def test_a_processor_has_a_description() -> None:
    assert compilation._processor().strip()
