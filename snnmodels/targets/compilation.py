"""Compilers of this machine: that of C++, and others by their command."""

from __future__ import annotations

import ctypes
import errno
import functools
import hashlib
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .cache import ELSEWHERE, kept

__all__ = ["BuildFailed", "Compiler", "build", "compiler", "fingerprint", "library", "native"]


class BuildFailed(RuntimeError):
    """There is no compiler, or it refused a program; the message holds its first errors."""


class Compiler(NamedTuple):
    """A compiler.

    Attributes
    ----------
    words : tuple of str
        Its command.
    what : str
        What it should be, in words.
    variable : str
        Of the environment, that names it.
    for_processor : bool
        Whether what it makes depends on the processor.
    """

    words: tuple[str, ...]
    what: str = "a C++ compiler"
    variable: str = "CXX"
    for_processor: bool = True


def compiler() -> list[str]:
    """Command of the C++ compiler: ``$CXX``, else g++."""
    return (os.environ.get("CXX") or "g++").split()


@functools.cache
def native(made_by: Compiler) -> str:
    """Version of a compiler, and what it takes this machine's processor for, where that matters.

    Raises
    ------
    BuildFailed
        If the compiler does not run.
    """
    said, command = [], made_by.words
    questions = [["--version"], ["-march=native", "-Q", "--help=target"]]
    for question in questions if made_by.for_processor else questions[:1]:
        try:
            result = subprocess.run([*command, *question], capture_output=True, text=True, check=False)
        except OSError as error:
            raise BuildFailed(f"{command[0]} does not run: {error}") from None
        said.append("" if result.returncode else result.stdout)
    if not said[0]:
        raise BuildFailed(f"{command[0]} --version fails; is it {made_by.what}? Name another in {made_by.variable}")
    if not made_by.for_processor:
        return said[0]
    if not said[1]:  # only GCC answers that
        said[1] = _processor()
    return "\n".join(said)


def _processor() -> str:
    """What tells this machine's processor from others."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    keys = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    return "\n".join([platform.machine(), *sorted({line for line in lines if line.startswith(keys)})])


def fingerprint(*parts: object, by: Compiler | None = None) -> str:
    """Hash of what a program is made from, of the compiler, and of the processor that it is made for.

    Parameters
    ----------
    *parts : object
        Bytes, or what has a text.
    by : Compiler, optional
        That of C++ if not given.

    Raises
    ------
    BuildFailed
        If the compiler does not run.
    """
    by = by or Compiler(tuple(compiler()))
    digest = hashlib.sha256("\0".join([native(by), *by.words[1:]]).encode())
    for part in parts:
        digest.update(b"\0" + (part if isinstance(part, bytes) else str(part).encode()))
    return digest.hexdigest()[:32]


def build(files: Sequence[Path], to: Path, flags: Sequence[str], *, by: Compiler | None = None) -> None:
    """Compile files, or link objects.

    Parameters
    ----------
    files : sequence of Path
        Sources or objects.
    to : Path
        What is made.
    flags : sequence of str
    by : Compiler, optional
        That of C++ if not given.

    Raises
    ------
    BuildFailed
        If the compiler refuses them, or there is none.
    """
    by = by or Compiler(tuple(compiler()))
    words = [*by.words, *flags, *map(str, files), "-o", str(to)]
    try:
        result = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError as error:
        hint = f"install {by.what}, or name it in {by.variable}"
        raise BuildFailed(f"{words[0]} can't be run ({error.strerror}); {hint}") from None
    if result.returncode:
        lines = result.stderr.splitlines()
        full = [line for line in lines if os.strerror(errno.ENOSPC) in line]
        if full:
            raise BuildFailed(f"{words[0]} has no room for {to}: {full[0]}; make room there, or {ELSEWHERE}")
        said = [line for line in lines if "error" in line][:5] or lines[:5]
        raise BuildFailed(f"{words[0]} refuses {files[0].name}: {' | '.join(said)}")


def library(name: str, source: str | Path, flags: Sequence[str], content: bytes = b"") -> ctypes.CDLL:
    """Compile a shared library, if its sources, the compiler or the machine are new, and load it.

    Parameters
    ----------
    name : str
        Begins the name of the file in the cache.
    source : str or Path
        C++ code, or the file that holds it.
    flags : sequence of str
    content : bytes
        What else it is made from, such as headers.

    Raises
    ------
    BuildFailed
        If the compiler is missing or refuses the sources.
    OSError
        If the cache can't be used, or programs in it can't be run; see `kept`.
    """
    text = source.read_text() if isinstance(source, Path) else source

    def make(folder: Path) -> Path:
        file = source if isinstance(source, Path) else folder / f"{name}.cpp"
        if not isinstance(source, Path):
            file.write_text(text)
        made = folder / f"{name}.so"
        build([file], made, [*flags, "-shared", "-fPIC"])
        return made

    path = kept(f"{name}-{fingerprint(text, *flags, content)}", make)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:  # it is whole, so it is the folder: mounted without the right to run anything
        raise OSError(f"compiled library {path}: {error}; allow running it there, or {ELSEWHERE}") from None
