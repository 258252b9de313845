"""Brian2's preferences for code that is compiled: one place for flags, compilers and quietness.

Brian2's own defaults make binaries that may not start on the next machine (``-march=native``), reorder floating-point
sums (``-ffast-math``), which breaks the comparison between targets to rounding, and ask for C++11, which CUDA 13
refuses. The functions here return preferences as a mapping; `preferences` sets them for a ``with`` block.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import brian2
from brian2.core.base import BrianObject

__all__ = [
    "BRIAN_TARGETS",
    "BrianTarget",
    "CompilerMissing",
    "alone",
    "cpp_preferences",
    "cuda_preferences",
    "curand_folder",
    "no_log_files",
    "preferences",
    "quiet",
    "require_compiler",
]

BrianTarget = Literal["numpy", "cython", "cpp_standalone"]
BRIAN_TARGETS: tuple[str, ...] = get_args(BrianTarget)
"""Where Brian2 runs a simulation."""

CXX_STANDARD = "-std=c++17"


class CompilerMissing(RuntimeError):
    """No C++ compiler (or make, or nvcc) on this machine; the message says what to install."""


def require_compiler(*tools: str) -> None:
    """Check that the tools a compiled target needs can be found.

    Parameters
    ----------
    *tools : str
        Names on PATH; the C++ compiler (``$CXX`` or g++) and make if none is given.

    Raises
    ------
    CompilerMissing
        If one of them isn't there.
    """
    for tool in tools or ((os.environ.get("CXX") or "g++").split()[0], "make"):
        if shutil.which(tool) is None:
            hint = {
                "make": "apt-get install make",
                "nvcc": "install NVIDIA's CUDA toolkit and put its bin folder on PATH",
            }.get(tool, "apt-get install g++, or name another compiler in the environment variable CXX")
            raise CompilerMissing(f"{tool} is not installed: {hint}; target numpy needs no compiler")


def cpp_preferences(*, native: bool = False, jobs: int | None = None) -> dict[str, Any]:
    """Preferences for the C++ targets (cython at run time, cpp_standalone).

    Parameters
    ----------
    native : bool
        Compile for this machine's processor only. Faster by a few per cent, not portable, and fused multiply-adds make
        results differ from numpy's in the last bits.
    jobs : int or None
        Compilers to run at once; None for one per core.

    Returns
    -------
    dict of str to object
        For `preferences`. Uses ccache where it is installed.
    """
    jobs = jobs or len(os.sched_getaffinity(0))
    make = [f"-j{jobs}"]
    if shutil.which("ccache"):
        # one word for the shell that Brian2 starts make with
        make.append(f"CXX='ccache {os.environ.get('CXX') or 'g++'}'")
    return {
        "codegen.cpp.extra_compile_args_gcc": ["-w", "-O3", CXX_STANDARD, *(["-march=native"] if native else [])],
        "devices.cpp_standalone.extra_make_args_unix": make,
    }


def cuda_preferences(*, compute_capability: float = 7.5) -> dict[str, Any]:
    """Preferences for Brian2CUDA that generate code without a GPU and compile under CUDA 12 and 13.

    Parameters
    ----------
    compute_capability : float
        Of the oldest card the code shall run on (7.5 is the oldest that CUDA 13 knows).

    Returns
    -------
    dict of str to object
        For `preferences`. Without nvcc on this machine they still generate code, only not compile it.

    Raises
    ------
    CompilerMissing
        If Brian2CUDA isn't installed.
    """
    try:
        import brian2cuda  # noqa: F401  (registers the device and the preferences set below)
    except ModuleNotFoundError:
        raise CompilerMissing(
            "target cuda needs Brian2CUDA, which is not installed: pip install 'snnmodels[cuda]'"
        ) from None
    nvcc = shutil.which("nvcc")
    backend = "devices.cuda_standalone.cuda_backend."
    # the last -std on the command line wins over the C++11 in Brian2CUDA's makefile; -use_fast_math, which Brian2CUDA
    # sets by default, would make float32 functions approximate
    nvcc_flags = ["-w", CXX_STANDARD]
    values: dict[str, Any] = {
        "codegen.cpp.extra_compile_args_gcc": ["-w", "-O3", CXX_STANDARD],
        backend + "detect_gpus": False,
        backend + "gpu_id": 0,
        backend + "compute_capability": compute_capability,
        backend + "detect_cuda": False,
        backend + "cuda_path": str(Path(nvcc).parents[1]) if nvcc else "/usr/local/cuda",
        backend + "cuda_runtime_version": _cuda_version(nvcc),
        backend + "extra_compile_args_nvcc": nvcc_flags,
    }
    curand = curand_folder()
    if curand is not None:
        nvcc_flags.append(f"-I{curand}/include")
        values["codegen.cpp.library_dirs"] = [f"{curand}/lib"]
    return values


def _cuda_version(nvcc: str | None) -> float:
    """Version of the CUDA toolkit that nvcc belongs to, 13.0 without one."""
    if nvcc is None:
        return 13.0
    text = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    release = re.search(r"release (\d+\.\d+)", text)
    if release is None:
        raise RuntimeError(f"{nvcc} --version does not name a release: {text.strip()!r}")
    return float(release.group(1))


def curand_folder() -> Path | None:
    """Return the folder with cuRAND's ``include/`` and ``lib/`` from the package nvidia-curand, None if not there."""
    try:
        files = importlib.metadata.files("nvidia-curand") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == "curand.h":
            return Path(str(file.locate())).resolve().parents[1]
    return None


@contextmanager
def preferences(values: Mapping[str, Any]) -> Iterator[None]:
    """Set Brian2 preferences, and put the former ones back at the end of the block."""
    former = {name: brian2.prefs[name] for name in values}
    try:
        for name, value in values.items():
            brian2.prefs[name] = value
        yield
    finally:
        for name, value in former.items():
            brian2.prefs[name] = value


# held where Brian2's clock, device, preferences or names are used: they are those of the whole process
BRIAN = threading.RLock()


def no_log_files() -> None:
    """Delete the log file and the copy of the script that Brian2 keeps in the temporary folder, and make no others.

    For command-line programs and tests. A package imported by a user's script should leave that user's log alone.
    """
    from brian2.utils.logger import BrianLogger

    brian2.prefs["logging.file_log"] = False
    brian2.prefs["logging.save_script"] = False
    brian2.prefs["logging.std_redirection_to_file"] = False
    if BrianLogger.file_handler is not None:
        logging.getLogger("brian2").removeHandler(BrianLogger.file_handler)
        BrianLogger.file_handler.close()
        BrianLogger.file_handler = None
    for name in ("tmp_log", "tmp_script"):
        file = getattr(BrianLogger, name)
        if file is not None:
            Path(file).unlink(missing_ok=True)
            setattr(BrianLogger, name, None)


@contextmanager
def alone() -> Iterator[None]:
    """Have Brian2 for this thread alone, and no warning of objects that are left unused by an error in the block."""
    with BRIAN:
        before = {id(reference()) for reference in BrianObject.__instances__()}
        try:
            yield
        except BaseException:
            for reference in BrianObject.__instances__():
                made = reference()
                if made is not None and id(made) not in before:
                    made._network = "given up"  # it belongs to no network, and the error says why
            raise


@contextmanager
def quiet(level: int = logging.ERROR) -> Iterator[None]:
    """Let Brian2 (and Brian2CUDA) print only messages of at least this level inside the block."""
    from brian2.utils.logger import BrianLogger

    handler = BrianLogger.console_handler
    former = handler.level
    handler.setLevel(level)
    try:
        yield
    finally:
        handler.setLevel(former)
