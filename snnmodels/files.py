"""Files that are either complete or not there, and errors that say which file, what it is for, and what to do."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

__all__ = [
    "OtherRun",
    "as_json",
    "atomic_file",
    "atomic_folder",
    "check_replaceable",
    "check_writable",
    "damaged",
    "folder_for",
    "named",
    "read_archive",
    "read_array",
    "read_json",
    "synchronise",
    "write_between",
    "write_rounded",
]

_ADVICE = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EFBIG: "allow larger files (ulimit -f)",
    errno.EACCES: "allow this user to use it",
    errno.EPERM: "allow this user to use it",
    errno.EROFS: "make it writable",
}
_SHOWN = 300  # characters of a path


class OtherRun(ValueError):
    """A checkpoint is of another run than the one that is to go on.

    Parameters
    ----------
    path : str or Path
    what : str
        How they differ.
    """

    def __init__(self, path: str | Path, what: str) -> None:
        self._path, self._what = path, what
        super().__init__(f"{path}: {what}; remove it, name another file, or pass resume=False to overwrite it")

    @property
    def told_at_a_command(self) -> str:
        """The message where there are options in the place of arguments."""
        return f"{self._path}: {self._what}; remove it, or name another folder with --out"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._path, self._what)  # from another process


@contextmanager
def named(path: str | Path, what: str = "file", instead: str = "name another path") -> Iterator[None]:
    """Make an error of the operating system one line: what fails, with which path, and what to do about it.

    Parameters
    ----------
    path : str or Path
    what : str
        What it is for.
    instead : str
        What to do where the path can't be made usable.

    Raises
    ------
    OSError
        In place of one with a number, of the same class. One without a number says already what it has to.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        kind = type(error) if type(error).__module__ == "builtins" else OSError
        shown = str(path) if len(str(path)) <= _SHOWN else f"{str(path)[:_SHOWN]}..."
        raise kind(f"{what} {shown}: {_reason(error, Path(path))}, or {instead}") from None


def _reason(error: OSError, path: Path) -> str:
    """What is wrong with a path, and what would mend it."""
    for place in (*reversed(path.absolute().parents), path):
        if os.path.islink(place) and not os.path.exists(place):
            if os.path.islink(os.path.realpath(place)):
                return f"{place} is a link that leads back to itself; remove it"
            return f"{place} is a link to {os.readlink(place)}, which does not exist; make that"
        if place != path and os.path.exists(place) and not os.path.isdir(place):
            return f"{place} is a file, not a folder; remove it"
        if place != path and not os.path.lexists(place) and error.errno == errno.ENOENT:
            return f"there is no folder {place}; make it"
    if error.errno == errno.EISDIR:
        return "it is a folder, not a file; remove it"
    if error.errno in (errno.EEXIST, errno.ENOTDIR) and os.path.isfile(path):
        return "it is a file, not a folder; remove it"
    if error.errno == errno.ENOENT and not os.path.lexists(path):
        return "there is no such file; make it"
    elsewhere = error.filename is not None and not str(error.filename).startswith(str(path))
    where = f" at {error.filename}" if elsewhere else ""
    return f"{error.strerror}{where}; {_ADVICE.get(error.errno or 0, 'see what is there')}"


def folder_for(path: str | Path, what: str, instead: str = "name another folder") -> Path:
    """A folder, made with all that lead to it if need be.

    Parameters
    ----------
    path : str or Path
    what, instead : str
        See `named`.

    Raises
    ------
    OSError
        If it can't be made; see `named`.
    """
    path = Path(path)
    with named(path, what, instead):
        path.mkdir(parents=True, exist_ok=True)
    return path


def synchronise(path: str | Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk, so that a power cut can't take them.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    OSError
        If a file's content can't be written.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not os.path.isdir(path):  # some file systems know no such thing for folders
            raise
    finally:
        os.close(descriptor)


@contextmanager
def atomic_file(path: str | Path, what: str = "file", instead: str = "name another path") -> Iterator[BinaryIO]:
    """Open a temporary neighbour of `path` for writing, and move it there once it is complete.

    If anything goes wrong meanwhile (no space, Ctrl-C), the temporary file is removed and `path` is as it was. One that
    a killed process has left is taken over by the next that writes the same file; a living one is waited for. Where
    `path` is a link, what it leads to is written.

    Parameters
    ----------
    path : str or Path
    what, instead : str
        For errors; see `named`.

    Yields
    ------
    binary file

    Raises
    ------
    OSError
        If it can't be written; see `named`.
    """
    handled = sys.exception()  # outside of this
    with named(path, what, instead):
        to = _target(Path(path))
        try:
            with _neighbour(to) as (temporary, file):
                yield file
                file.flush()
                # Otherwise a power cut could leave the new name with the old file's length of nothing.
                os.fsync(file.fileno())
                os.replace(temporary, to)
                synchronise(to.parent)
        except BaseException as error:
            # closing an archive that was interrupted within a member fails, and must not hide why
            cause: BaseException | None = error
            while cause not in (None, handled) and not isinstance(cause, KeyboardInterrupt):
                cause = cause.__context__
            if cause not in (None, handled, error):
                raise KeyboardInterrupt from error
            raise


def _target(path: Path) -> Path:
    """Where a file is to be, links followed; only an ordinary file is replaced."""
    to = Path(os.path.realpath(path))
    if to.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if to.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if to.exists() and not to.is_file():
        raise OSError(errno.ENOTSUP, "it is no ordinary file", str(path))
    return to


@contextmanager
def _neighbour(to: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A temporary file beside one that is to be written, with its path; removed if anything goes wrong."""
    temporary = to.with_name(f".{to.name}.tmp")
    file: BinaryIO | None = None
    try:
        file = _claimed(temporary)
        yield temporary, file
    except BaseException:
        if file is not None:
            temporary.unlink(missing_ok=True)
        raise
    finally:
        with contextlib.suppress(OSError):  # of what is not to be kept: the rest is on the disk
            if file is not None:
                file.close()


def _claimed(temporary: Path) -> BinaryIO:
    """A temporary file, empty, that no other process writes before this one closes it."""
    while True:
        file: BinaryIO | None = None
        try:
            # what another process is writing must not be cut off
            file = os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o666), "wb")
            with contextlib.suppress(OSError):  # not every file system has locks
                fcntl.flock(file, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), os.stat(temporary)):  # else it was moved meanwhile
                    file.truncate(0)
                    return file
        except BaseException:
            if file is not None:
                with contextlib.suppress(OSError):  # unless another process has it
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    temporary.unlink(missing_ok=True)
                file.close()
            raise
        file.close()


def check_writable(path: str | Path, what: str = "file", instead: str = "name another path") -> None:
    """Refuse a file that `atomic_file` could not write, before anything is spent on its content.

    Parameters
    ----------
    path : str or Path
    what, instead : str
        See `named`.

    Raises
    ------
    OSError
        See `named`.
    """
    with named(path, what, instead), _neighbour(_target(Path(path))) as (temporary, _):
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path, what: str, instead: str = "name another folder") -> Iterator[Path]:
    """Make a temporary neighbour of the folder `path`, and put it in its place once it is complete.

    If anything goes wrong meanwhile, it is removed and `path` is as it was.

    Parameters
    ----------
    path : str or Path
        The folders that lead to it are made if need be.
    what, instead : str
        See `named`.

    Yields
    ------
    Path

    Raises
    ------
    OSError
        See `named`.
    """
    with named(path, what, instead):
        to = Path(os.path.realpath(path))
        to.parent.mkdir(parents=True, exist_ok=True)
        new, old = to.with_name(f".{to.name}.tmp"), to.with_name(f".{to.name}.old")
        shutil.rmtree(new, ignore_errors=True)  # of a process that was killed
        new.mkdir()
        try:
            yield new
            if to.exists():
                shutil.rmtree(old, ignore_errors=True)
                to.rename(old)
            new.rename(to)
        finally:
            if old.exists() and not to.exists():
                old.rename(to)
            for folder in (new, old):
                shutil.rmtree(folder, ignore_errors=True)


def check_replaceable(directory: Path, manifest: str, overwrite: bool) -> None:
    """Refuse to write over anything but an earlier project that may be replaced.

    Parameters
    ----------
    directory : Path
    manifest : str
        Name of the file that every project has.
    overwrite : bool
        Whether an earlier one may be.

    Raises
    ------
    FileExistsError
    """
    if not directory.exists():
        return
    if not directory.is_dir():
        raise FileExistsError(f"{directory} is a file; name a folder for the project")
    if not any(directory.iterdir()):
        return
    if not (directory / manifest).exists():
        raise FileExistsError(f"{directory} holds files that are no exported project; name another folder")
    if not overwrite:
        hint = "replace it (overwrite=True, --force), or name another folder"
        raise FileExistsError(f"{directory} holds an earlier project; {hint}")


def read_archive(path: str | Path, what: str) -> dict[str, np.ndarray]:
    """Read all arrays of a NumPy archive without pickled objects.

    Parameters
    ----------
    path : str or Path
    what : str
        What it should be.

    Raises
    ------
    OSError
        If there is no such file, or it can't be opened; see `named`.
    ValueError
        If it is damaged or something else.
    """
    with named(path, what):
        content = Path(path).read_bytes()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        # a wrong length in its directory hides entries from zipfile, which does not count them
        if len(arrays) != int.from_bytes(content[-12:-10], "little"):
            raise ValueError("its directory is damaged")
        return arrays
    except Exception:  # damaged bytes can make any part of a reader fail, in words that help nobody
        raise damaged(path, what) from None


def read_array(path: str | Path, what: str) -> np.ndarray:
    """Read one array of NumPy's format, without pickled objects.

    Parameters
    ----------
    path : str or Path
    what : str
        What it should be.

    Raises
    ------
    OSError
        If there is no such file, or it can't be opened; see `named`.
    ValueError
        If it is damaged or something else.
    """
    with named(path, what), Path(path).open("rb") as file:
        try:
            array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
            rest = file.read(1)
        except Exception:  # as of an archive
            raise damaged(path, what) from None
    if rest:
        raise damaged(path, what)
    return array


def damaged(path: str | Path, what: str) -> ValueError:
    """The error for a file that is not what it should be.

    Parameters
    ----------
    path : str or Path
    what : str
    """
    return ValueError(f"{path}: not a {what} of snnmodels, or a damaged one; remove it, or name another file")


def read_json(path: str | Path, what: str, *keys: str, instead: str = "name another path") -> dict[str, Any]:
    """Read an object from a JSON file.

    Parameters
    ----------
    path : str or Path
    what, instead : str
        See `named`.
    *keys : str
        What it must have, one or more.

    Raises
    ------
    OSError
        If there is no such file, or it can't be read; see `named`.
    ValueError
        If it is damaged or something else.
    """
    with named(path, what, instead):
        text = Path(path).read_bytes()
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path}: not a {what}, or a damaged one ({error})") from None
    if not isinstance(content, dict) or not content.keys() >= set(keys):
        raise ValueError(f"{path}: not a {what}, or a damaged one (expected an object with {', '.join(keys)})")
    return content


def as_json(content: Mapping[str, Any]) -> dict[str, Any]:
    """Content as it comes back from a JSON file: tuples as lists."""
    return dict(json.loads(json.dumps(content)))


def write_between(page: Path, begin: str, text: str, end: str) -> None:
    """Replace what stands between two lines of a page, such as the table that a command writes.

    Parameters
    ----------
    page : Path
    begin, end : str
        The lines around it, which stay.
    text : str

    Raises
    ------
    ValueError
        If the page lacks one of these lines.
    OSError
        If it can't be read or written; it is then as it was.
    """
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{page}: the lines {begin!r} and {end!r} must be there, around the table")
    with atomic_file(page) as file:
        file.write(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}".encode())


def write_rounded(path: Path, content: Mapping[str, Any]) -> None:
    """Write results as one line of JSON, complete or not at all, with numbers of six digits: they have fewer.

    Parameters
    ----------
    path : Path
        Its folder is made if need be.
    content : mapping of str to JSON values

    Raises
    ------
    OSError
        If it can't be written; see `named`.
    ValueError
        If a number is NaN or infinite.
    """
    rounded = json.loads(json.dumps(content, allow_nan=False), parse_float=lambda number: float(f"{float(number):.6g}"))
    folder_for(path.parent, "folder of results")
    with atomic_file(path, "results") as file:
        file.write((json.dumps(rounded) + "\n").encode())
