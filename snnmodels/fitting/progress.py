"""How a fit shows where it is."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

__all__ = ["FitProgress", "progress_of"]


@runtime_checkable
class FitProgress(Protocol):
    """Told by `fit` what happens."""

    def start(self, generations: int) -> None:
        """The search begins, of so many generations in all."""

    def generation(self, search: int, generation: int, loss: float) -> None:
        """A generation of a search is complete, and the best loss is so much."""

    def stop(self) -> None:
        """The fit has ended, for whatever reason."""


class _Silent:
    def start(self, generations: int) -> None:
        """Show nothing."""

    def generation(self, search: int, generation: int, loss: float) -> None:
        """Show nothing."""

    def stop(self) -> None:
        """Show nothing."""


class _Bar:
    """A bar over all generations, with the best loss of the present search."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("fit"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[state]}"))
        self._progress = Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=Console(stderr=True))

    def start(self, generations: int) -> None:
        """Show the bar."""
        self._task = self._progress.add_task("fit", total=generations, state="")
        self._progress.start()

    def generation(self, search: int, generation: int, loss: float) -> None:
        """Move the bar."""
        self._progress.update(self._task, advance=1, state=f"search {search + 1}, loss {loss:.4g}")

    def stop(self) -> None:
        """Leave the bar where it is."""
        self._progress.stop()


def progress_of(given: bool | FitProgress) -> FitProgress:
    """A bar, nothing, or what is given."""
    if isinstance(given, bool):
        return _Bar() if given else _Silent()
    if not isinstance(given, FitProgress):
        raise ValueError("progress: expected True, False or a FitProgress")
    return given
