"""The one error that templates raise, how it suggests what was meant, and warnings that point at the caller."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["TemplateError", "brief", "located", "shorten", "suggest", "warn_caller"]

_SHOWN = 80  # characters of a value in a message
_PACKAGE = str(Path(__file__).parents[1])
_SAID = 240  # characters of what a template error says besides its file


class TemplateError(ValueError):
    """A template that can't be used: one line that names the file, the key, and what would be right.

    Parameters
    ----------
    file, key, message : str
        What the line is made of; an empty one is left out.
    """

    def __init__(self, file: str, key: str, message: str) -> None:
        self.file = file
        self.key = key
        self._message = message
        parts = (part for part in (file, shorten(key, _SHOWN), shorten(message, _SAID)) if part)
        super().__init__(": ".join(parts))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.file, self.key, self._message)  # from another process


def shorten(text: str, most: int) -> str:
    """Text on one line, without its middle where it is longer than a message should be.

    Parameters
    ----------
    text : str
    most : int
        Characters that are left of it.
    """
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    end = most // 3
    return f"{line[: most - end - 5]} ... {line[-end:]}"


def brief(value: object) -> str:
    """A value as a message shows it: in one line that isn't long, whatever it is."""
    try:
        return shorten(repr(value), _SHOWN)
    except Exception:  # a whole number of more digits than Python writes, or a user's own type
        return f"a value of type {type(value).__name__}"


def suggest(name: str, options: Iterable[str]) -> str:
    """What `name` may have been meant to be, as the end of an error message.

    Parameters
    ----------
    name : str
    options : iterable of str

    Returns
    -------
    str
        ``"did you mean 'v_th'?"`` for a near miss, else the options themselves.
    """
    known = sorted(set(options))
    lowered = {option.lower(): option for option in known}
    close = difflib.get_close_matches(name.lower(), lowered, n=2, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(repr(lowered[match]) for match in close)}?"
    return f"there is {', '.join(known)}" if known else "there is none"


@contextmanager
def located(file: str, key: str) -> Iterator[None]:
    """Give a `ValueError` of the body its place in a file, unless it is a `TemplateError` that has one.

    Parameters
    ----------
    file, key : str
        Either may be empty.

    Raises
    ------
    TemplateError
        In place of the `ValueError`.
    """
    try:
        yield
    except ValueError as error:
        if isinstance(error, TemplateError) and error.file:
            raise
        raise TemplateError(file, key, str(error)) from None


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of the line outside of the package that led here, however deep in it this is.

    Parameters
    ----------
    message : str
    category : type of Warning
    """
    warnings.warn(message, category, skip_file_prefixes=(_PACKAGE,))
