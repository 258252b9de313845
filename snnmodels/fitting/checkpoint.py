"""What is kept of a fit that is interrupted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..files import OtherRun, atomic_file, check_writable, read_json
from ..templates.identity import description
from .task import Task

__all__ = ["FitInterrupted", "Saved", "kept"]


class FitInterrupted(KeyboardInterrupt):
    """Ctrl-C, with a message on what is kept."""


def kept(where: str, path: str | Path | None, *, there: bool) -> str:
    """What an interruption leaves.

    Parameters
    ----------
    where : str
        In which it came.
    path : str or Path, optional
        Of the checkpoint.
    there : bool
        Whether it holds something of this fit: a file that it was to overwrite is of another.
    """
    if path is None:
        return f"{where}; nothing is kept without a checkpoint"
    if not there:
        return f"{where}; nothing is kept yet"
    return f"{where}; {path} holds it, and the same call goes on from there"


class Saved:
    """A checkpoint, or none: searches that are done, and where the present one is.

    Attributes
    ----------
    done : list of dict
        What each search found, as plain values.
    present : dict
        The state of the search that goes on, likewise; empty before its first generation.
    own : bool
        Whether the file, if there is one, is of this fit.
    """

    def __init__(
        self, task: Task, starts: int, path: str | Path | None, resume: bool, only: int | None = None
    ) -> None:
        self.path = None if path is None else Path(path)
        self.done: list[dict[str, Any]] = []
        self.present: dict[str, Any] = {}
        self.own = False
        self.settings = json.loads(json.dumps({
            # whole: its own values and its reset decide the losses as well as its equations
            "model": description(task.model), "input": task.input, "fixed": dict(task.fixed),
            "free": {name: [b.low, b.high, b.log] for name, b in task.space.bounds.items()},
            "losses": dict(task.weights), "settings": description(task.settings), "candidates": task.candidates,
            "stages": description(task.stages), "likelihood": task.likelihood, "noise": description(task.noise),
            "seed": int(task.seed), "target": task.target,
            "starts": int(starts) if only is None else f"search {only} alone",
            "recording": description([(s.current, s.dt, list(s.spikes), s.voltage) for s in task.recording.sweeps]),
            "start": None if task.start is None else task.start.tolist(),
        }))  # fmt: skip
        if self.path is None:
            return
        if resume and self.path.exists():
            self._read()
        else:
            check_writable(self.path, "checkpoint")

    def _read(self) -> None:
        assert self.path is not None
        state = read_json(self.path, "checkpoint of a fit", "settings", "done", "present")
        for name in {**state["settings"], **self.settings}:
            if state["settings"].get(name) != self.settings.get(name):
                raise OtherRun(self.path, f"is of a fit with another {name}")
        self.done, self.present, self.own = state["done"], state["present"], True

    def write(self, present: dict[str, Any]) -> None:
        """Keep a complete generation."""
        self.present = present
        if self.path is None:
            return
        content = {"settings": self.settings, "done": self.done, "present": present}
        with atomic_file(self.path, "checkpoint") as file:
            file.write(json.dumps(content).encode())
        self.own = True

    def finish(self, found: dict[str, Any]) -> None:
        """Keep what a search has found, and forget the search."""
        self.done.append(found)
        self.write({})

    def kept(self, where: str) -> str:
        """What an interruption leaves."""
        return kept(where, self.path, there=self.own and self.path is not None and self.path.exists())
