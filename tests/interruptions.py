"""Ctrl-C in a test: some seconds from now, or at a certain line."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Container, Iterator
from types import FrameType
from typing import Any


@contextlib.contextmanager
def ctrl_c(after: float) -> Iterator[None]:
    """What Ctrl-C does in Python, some seconds from now."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, after)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def ctrl_c_at(line: int, files: Container[str | None], counted: list[int]) -> Iterator[None]:
    """Ctrl-C at the n-th line that runs in these files; counts them where it comes too late."""
    count = 0

    def local(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        if event == "line":
            count += 1
            if count == line:
                raise KeyboardInterrupt
        return local

    before = sys.gettrace()
    sys.settrace(lambda frame, *_: local if frame.f_code.co_filename in files else None)  # type: ignore[arg-type]
    try:
        yield
    finally:
        sys.settrace(before)
        counted.append(count)
