"""The folder where compiled programs are kept.

An entry is a folder with what was made and its checksums. It appears at once and whole, is checked whenever it is
taken, and is made anew where it was damaged. What is being made lies in a folder ``building-*`` that its maker holds
locked; one whose maker was killed is removed by the next that makes anything.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..files import folder_for, named, synchronise
from ..templates.errors import warn_caller

__all__ = ["ELSEWHERE", "DamagedCache", "cache_folder", "kept"]

ELSEWHERE = "set SNNMODELS_CACHE to another folder"

_CHECKSUMS = "checksums.json"
_WHAT = "cache of compiled programs"
_UNLOCKED = "building-unlocked-"
_DAY = 86400.0  # seconds; nothing takes as long to make


class DamagedCache(UserWarning):
    """An entry of the cache was not what had been written, and was made anew."""


def cache_folder() -> Path:
    """Where compiled programs are kept: ``$SNNMODELS_CACHE``, else ``snnmodels`` in the user's cache folder.

    Raises
    ------
    OSError
        If the user has no home.
    """
    given = os.environ.get("SNNMODELS_CACHE")
    try:
        # absolute: programs are started in folders of their own
        if given:
            return Path(given).expanduser().absolute()
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "snnmodels"
    except RuntimeError as error:
        raise OSError(f"{_WHAT}: {error}; {ELSEWHERE}") from None


def kept(name: str, make: Callable[[Path], Path]) -> Path:
    """A file or folder of the cache, made when it is asked for the first time, or when it was damaged.

    Parameters
    ----------
    name : str
        With the `fingerprint` of everything that it is made from.
    make : callable
        Makes it in a folder of its own, and returns where; it then appears in the cache at once and whole.

    Raises
    ------
    OSError
        If the cache can't be used; says why, and what to do.
    """
    cache = cache_folder()
    entry = cache / name
    found, fault = _checked(entry)
    if found is None:
        with _told(), named(folder_for(cache, _WHAT, ELSEWHERE), _WHAT, ELSEWHERE), _workplace(cache) as folder:
            found = _put(_sealed(make(folder / "made"), folder / "entry", name), entry, folder)
        if fault:
            warn_caller(f"{entry} was damaged ({fault}) and has been made anew", DamagedCache)
    return found


_PATIENCE = 3.0  # seconds
_making = threading.Lock()


@contextmanager
def _told() -> Iterator[None]:
    """Say on a terminal or in a notebook what takes so long, where somebody waits; once, however many parts it has."""
    waits = sys.stderr is not None and (sys.stderr.isatty() or "ipykernel" in sys.modules)
    if not waits or not _making.acquire(blocking=False):
        yield
        return
    text = f"snnmodels compiles this network's models; their programs are kept in {cache_folder()}"
    timer = threading.Timer(_PATIENCE, print, (text,), {"file": sys.stderr, "flush": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        _making.release()


def _checked(entry: Path) -> tuple[Path | None, str]:
    """What an entry holds, or None and what is wrong with it: nothing, where there is none."""
    if not os.path.lexists(entry):
        return None, ""
    try:
        digest, _, text = (entry / _CHECKSUMS).read_text().partition("\n")
        if hashlib.sha256(text.encode()).hexdigest() != digest:
            return None, f"{_CHECKSUMS} is not as it was written"
        written = json.loads(text)
        if written["entry"] != entry.name:
            return None, f"it holds {written['entry']}"
        for name, checksum in written["files"].items():
            if _checksum(entry / name) != checksum:
                return None, f"{name} is not as it was written"
    except UnicodeDecodeError:
        return None, f"{_CHECKSUMS} is not as it was written"
    except OSError as error:
        return None, f"{Path(error.filename or entry).name}: {error.strerror}"
    return entry / written["made"], ""


def _checksum(file: Path) -> str:
    """Of the content of a file, and of whether it can be run."""
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
        return digest + " executable" * bool(os.fstat(opened.fileno()).st_mode & 0o100)


def _sealed(made: Path, entry: Path, name: str) -> Path:
    """A folder with what was made and its checksums, all of it on the disk."""
    entry.mkdir()
    made.rename(entry / made.name)
    files = sorted(p for p in entry.rglob("*") if p.is_file())
    written = {str(p.relative_to(entry)): _checksum(p) for p in files}
    text = json.dumps({"entry": name, "made": made.name, "files": written}, indent=1)
    checksums = entry / _CHECKSUMS
    checksums.write_text(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}")
    for path in (*files, checksums, *(p for p in entry.rglob("*") if p.is_dir()), entry):
        synchronise(path)
    return entry


def _put(new: Path, entry: Path, aside: Path) -> Path:
    """Move a new entry to its place, if nobody was faster, and what is damaged there aside."""
    for attempt in range(9):
        try:
            new.rename(entry)
            synchronise(entry.parent)
        except OSError:
            found, fault = _checked(entry)
            if found is not None:
                return found
            if not fault:
                raise
            with suppress(FileNotFoundError):  # somebody else mends it, too
                entry.rename(aside / f"damaged{attempt}")
        else:
            break
    found, fault = _checked(entry)
    if found is None:
        raise OSError(errno.EIO, f"what is written to {entry} can't be read again ({fault})")
    return found


@contextmanager
def _workplace(cache: Path) -> Iterator[Path]:
    """A folder to make something in, which is gone afterwards, and so are those of killed processes."""
    folder, lock = _claimed(cache)
    try:
        _sweep(cache, folder)
        (folder / "made").mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _claimed(cache: Path) -> tuple[Path, int]:
    """A new folder, and the descriptor that locks it until it is closed, at the latest by the end of the process."""
    prefix = f"building-{_kernel()}-"
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=cache))
        try:
            lock = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # it was swept away before it was locked
            continue
        if prefix != _UNLOCKED:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError:  # a file system without locks
                prefix = _UNLOCKED
                folder.rmdir()
        if folder.exists():
            return folder, lock
        os.close(lock)


@functools.cache
def _kernel() -> str:
    """What tells the running system from others that share the file system: their locks can't be relied on."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return platform.node()


def _sweep(cache: Path, own: Path) -> None:
    """Remove what killed processes have left: folders of this system without a lock, and any that are too old."""
    now = own.stat().st_mtime  # by the clock of the file system
    for folder in cache.glob("building-*"):
        with suppress(OSError):  # somebody else removes it
            lock = os.open(folder, os.O_RDONLY)
            try:
                if _dead(folder, lock, now):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _dead(folder: Path, lock: int, now: float) -> bool:
    """Whether nobody makes anything in a folder any more; where that can't be told, it takes a day."""
    old = now - os.fstat(lock).st_mtime > _DAY
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return old
    return old or folder.name.startswith(f"building-{_kernel()}-")
