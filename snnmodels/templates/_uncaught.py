"""What Python says of an error that nobody caught, where Brian2 has no part in it.

Importing Brian2 replaces `sys.excepthook` by one that asks to report every error of the script as one of Brian2.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType

import brian2
from brian2.utils.logger import brian_excepthook

__all__ = ["take_over"]

_FOLDER = Path(brian2.__file__).parent


def take_over() -> None:
    """Leave errors to Brian2's hook only if they come out of Brian2; another hook than that stays."""
    if sys.excepthook is brian_excepthook:
        sys.excepthook = _excepthook


def _excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if _from_brian(trace) or kind is KeyboardInterrupt:
        brian_excepthook(kind, error, trace)
    else:
        sys.__excepthook__(kind, error, trace)


def _from_brian(trace: TracebackType | None) -> bool:
    """Whether Brian2 was running when the error was raised."""
    while trace is not None:
        if _FOLDER in Path(trace.tb_frame.f_code.co_filename).parents:
            return True
        trace = trace.tb_next
    return False
