"""How a training run shows where it is: a bar in a terminal, a line per epoch elsewhere, or nothing."""

from __future__ import annotations

import sys
from typing import Protocol, TextIO, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .history import EpochRecord

__all__ = ["BarProgress", "LineProgress", "NoProgress", "TrainingProgress", "default_progress", "describe_epoch"]


@runtime_checkable
class TrainingProgress(Protocol):
    """Told by `train` what happens."""

    def start(self, epochs: int, done: int, batches: int) -> None:
        """Training begins.

        Parameters
        ----------
        epochs : int
            All of them.
        done : int
            How many are complete already.
        batches : int
            Of one epoch.
        """

    def batch(self, epoch: int, batch: int, loss: float, error: float | None) -> None:
        """A batch is complete.

        Parameters
        ----------
        epoch, batch : int
            Counted from 1.
        loss : float
            Mean over the epoch so far.
        error : float or None
            The same of the fraction classified wrongly; None if the loss doesn't classify.
        """

    def epoch(self, record: EpochRecord) -> None:
        """An epoch is complete."""

    def stop(self) -> None:
        """Training has ended, for whatever reason."""


class NoProgress:
    """Shows nothing."""

    def start(self, epochs: int, done: int, batches: int) -> None:
        """Show nothing."""

    def batch(self, epoch: int, batch: int, loss: float, error: float | None) -> None:
        """Show nothing."""

    def epoch(self, record: EpochRecord) -> None:
        """Show nothing."""

    def stop(self) -> None:
        """Show nothing."""


class LineProgress(NoProgress):
    """One line per epoch, for log files and for several runs at a time.

    Parameters
    ----------
    label : str
        Starts every line.
    stream : text file, optional
        Standard error by default.
    """

    def __init__(self, label: str = "", stream: TextIO | None = None) -> None:
        self._prefix = f"{label}: " if label else ""
        self._stream = stream if stream is not None else sys.stderr
        self._epochs = 0

    def start(self, epochs: int, done: int, batches: int) -> None:
        """Note the number of epochs; see `TrainingProgress.start`."""
        self._epochs = epochs

    def epoch(self, record: EpochRecord) -> None:
        """Write the epoch's line."""
        print(
            f"{self._prefix}epoch {record.epoch}/{self._epochs}  {describe_epoch(record)}",
            file=self._stream,
            flush=True,
        )


class BarProgress:
    """A bar over all batches with the running loss and accuracy, and a line per epoch above it.

    Parameters
    ----------
    label : str
        Stands before the bar.
    console : rich.console.Console, optional
        Standard error by default.
    """

    def __init__(self, label: str = "training", console: Console | None = None) -> None:
        self._label = label
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console if console is not None else Console(stderr=True),
        )
        self._batches = 0
        self._epochs = 0

    def start(self, epochs: int, done: int, batches: int) -> None:
        """Draw the bar; see `TrainingProgress.start`."""
        self._epochs, self._batches = epochs, batches
        self._task = self._progress.add_task(self._label, total=epochs * batches, completed=done * batches, state="")
        self._progress.start()

    def batch(self, epoch: int, batch: int, loss: float, error: float | None) -> None:
        """Advance the bar; see `TrainingProgress.batch`."""
        state = f"epoch {epoch}/{self._epochs}  loss {loss:.4f}" + ("" if error is None else f"  acc {1 - error:.1%}")
        self._progress.update(self._task, completed=(epoch - 1) * self._batches + batch, state=state)

    def epoch(self, record: EpochRecord) -> None:
        """Write the epoch's line above the bar."""
        self._progress.console.print(
            f"epoch {record.epoch:>3}/{self._epochs}  {describe_epoch(record)}", highlight=False, soft_wrap=True
        )

    def stop(self) -> None:
        """Leave the bar as it is."""
        self._progress.stop()


def default_progress(label: str = "training") -> TrainingProgress:
    """Return a bar if standard error is a terminal, lines otherwise."""
    return BarProgress(label) if sys.stderr.isatty() else LineProgress(label)


def describe_epoch(record: EpochRecord) -> str:
    """Results of an epoch in one line."""
    parts = []
    for name in ("train", "validation", "test"):
        loss, error = getattr(record, f"{name}_loss"), getattr(record, f"{name}_error")
        if loss is not None:
            parts.append(f"{name} loss {loss:.4f}" + ("" if error is None else f", error {error:.2%}"))
    if record.silent_trials:
        parts.append(f"{record.silent_trials} silent")
    if any(record.pseudospikes.values()):
        parts.append(f"{sum(record.pseudospikes.values()):.3g} pseudospikes per trial")
    return "  ".join([*parts, f"{record.seconds:.1f} s"])
