"""Files that are either complete or not there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["as_json", "atomic_file", "write_rounded"]


@contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """Open a temporary neighbour of `path` for writing, and move it there once it is complete.

    If anything goes wrong meanwhile (no space, Ctrl-C), the temporary file is removed and `path` is as it was.

    Yields
    ------
    binary file

    Raises
    ------
    OSError
        If the folder doesn't exist or can't be written to.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    handled = sys.exception()  # outside of this
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            # Otherwise a power cut could leave the new name with the old file's length of nothing.
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        # closing an archive that was interrupted within a member fails, and must not hide why
        cause: BaseException | None = error
        while cause not in (None, handled) and not isinstance(cause, KeyboardInterrupt):
            cause = cause.__context__
        if cause not in (None, handled, error):
            raise KeyboardInterrupt from error
        raise


def as_json(content: Mapping[str, Any]) -> dict[str, Any]:
    """Content as it comes back from a JSON file: tuples as lists."""
    return dict(json.loads(json.dumps(content)))


def write_rounded(path: Path, content: Mapping[str, Any]) -> None:
    """Write results as one line of JSON, complete or not at all, with numbers of six digits: they have fewer.

    Parameters
    ----------
    path : Path
        Its folder is made if need be.
    content : mapping of str to JSON values

    Raises
    ------
    ValueError
        If a number is NaN or infinite.
    """
    rounded = json.loads(json.dumps(content, allow_nan=False), parse_float=lambda number: float(f"{float(number):.6g}"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        file.write((json.dumps(rounded) + "\n").encode())
