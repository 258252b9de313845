"""A compiled program that stays alive between batches and shares its arrays with Python through a mapped file.

The program opens the file that the environment variable `EXCHANGE` names and says ``ready``. Then it answers every line
that it reads with one of its own: ``done``, or ``failure`` and what has no result. The end of its input ends it. So a
batch costs no process start and no copying, and losses and optimisers stay in Python.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import tempfile
import time
import weakref
from pathlib import Path

import numpy as np

from .cache import ELSEWHERE

__all__ = ["EXCHANGE", "Process", "ProgramError", "memory_folder"]

EXCHANGE = "SNNMODELS_EXCHANGE"


class ProgramError(RuntimeError):
    """The compiled program died or didn't answer; the message holds what it printed."""


class Process:
    """A program that runs until it is closed, or until nobody holds it.

    Parameters
    ----------
    path : Path
        It is started in the folder in which it lies.
    size : int
        Bytes of the shared file at the start.
    timeout : float, optional
        Seconds that an answer may take; without, any time.

    Attributes
    ----------
    memory : array of uint8
        The shared file.
    popen : subprocess.Popen

    Raises
    ------
    ProgramError
        If there is no room for the file, or the program dies or does not answer.
    """

    memory: np.ndarray
    _broken = ""  # why it must not be asked any more

    def __init__(self, path: Path, size: int = 0, timeout: float | None = None) -> None:
        self._timeout = timeout
        held = contextlib.ExitStack()
        self._close = weakref.finalize(self, held.close)
        self._where = memory_folder() or "the temporary folder"
        try:
            try:
                # without a name, so that nothing can be left behind, however both sides end
                files = [tempfile.TemporaryFile(mode, dir=memory_folder()) for mode in ("w+b", "w+")]  # noqa: SIM115
            except OSError as error:
                raise self._no_room(size, error) from None
            self._file, self._errors = map(held.enter_context, files)
            self.resize(size)
            self.popen = self._start(path)
            held.callback(_end, self.popen)
            line = self._listen()
            if line != "ready":
                raise self.failure(line)
        except BaseException:
            # not only when nobody holds the error's traceback any more
            self.memory = np.zeros(0, np.uint8)
            self._close()
            raise

    def _start(self, path: Path) -> subprocess.Popen[bytes]:
        shared = self._file.fileno()
        try:
            return subprocess.Popen(
                [str(path)],
                env={**os.environ, EXCHANGE: f"/dev/fd/{shared}"},
                cwd=path.parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
                pass_fds=[shared],
                start_new_session=True,  # Ctrl-C is for Python, which then ends the program
            )
        except OSError as error:
            raise ProgramError(
                f"the compiled simulation {path} can't be started ({error.strerror}); allow running programs there, or "
                f"{ELSEWHERE}"
            ) from None

    def resize(self, size: int) -> None:
        """Make the shared file anew, `size` bytes of 0; views of the former `memory` must not be used any more."""
        try:
            self._file.truncate(0)
            if size:
                os.posix_fallocate(self._file.fileno(), 0, size)
        except OSError as error:
            raise self._no_room(size, error) from None
        self.memory = np.zeros(0, np.uint8)
        if size:  # an empty file can't be mapped
            self.memory = np.asarray(np.memmap(self._file, np.uint8, "r+", shape=(size,)))

    def _no_room(self, size: int, error: OSError) -> ProgramError:
        return ProgramError(
            f"the exchange file of {size / 1e6:.1f} MB can't be made in {self._where}: {error.strerror}; "
            "make room there, or make batches smaller"
        )

    def ask(self, words: str) -> str:
        """Send a line and wait for the answer.

        Returns
        -------
        str
            Nothing where the program has done it, else what it says of the failure.

        Raises
        ------
        ProgramError
            If the program is dead or answers anything else.
        """
        assert self.popen.stdin is not None
        if self._broken:
            raise ProgramError(f"the compiled simulation {self._broken}; make a new one")
        try:
            # until the answer is here: a late one would be taken for the next
            self._broken = "was interrupted while it ran"
            self.popen.stdin.write(words.encode() + b"\n")
            line = self._listen()
            self._broken = ""
        except (BrokenPipeError, ValueError):
            raise self.failure() from None
        except BaseException:
            _kill(self.popen)
            raise
        if line == "done":
            return ""
        if line.startswith("failure "):
            return line.removeprefix("failure ")
        raise self.failure(line)

    @property
    def usable(self) -> bool:
        """Whether it can be asked: it was not interrupted, and runs."""
        return not self._broken and self._close.alive and not _ended(self.popen)

    def _listen(self) -> str:
        """The next line that the program says, or what it has said before its end."""
        assert self.popen.stdout is not None
        said, file = b"", self.popen.stdout.fileno()
        until = None if self._timeout is None else time.monotonic() + self._timeout
        while not said.endswith(b"\n"):
            if until is not None and not select.select([file], [], [], max(0.0, until - time.monotonic()))[0]:
                self._broken = "did not answer in time"
                raise ProgramError(
                    f"the compiled simulation has not answered for {self._timeout:g} s and was ended; allow more by "
                    "`timeout`, or give it less at once"
                )
            part = os.read(file, 4096)
            if not part:
                break
            said += part
        return said.decode(errors="replace").strip()

    def failure(self, line: str = "") -> ProgramError:
        """What has become of the program, with its last words; `line` is the answer that was not expected."""
        _ended(self.popen, within=1)
        said, closed = "", self._errors.closed
        if not closed:
            self._errors.seek(0)
            said = " ".join([line, *self._errors.read().split()]).strip()
        code = self.popen.returncode
        how = "was closed" if closed else f"ended with status {code}" if code is not None else "answered wrongly"
        return ProgramError(f"the compiled simulation {how}; it said: {said or 'nothing'}")

    def close(self) -> None:
        """End the program; twice does no harm, and is needed where the first time was interrupted."""
        self._close()
        _end(self.popen)


def memory_folder() -> str | None:
    """A folder in memory where there is one, else the usual temporary folder."""
    folder = Path("/dev/shm")
    return str(folder) if folder.is_dir() and os.access(folder, os.W_OK) else None


def _ended(process: subprocess.Popen[bytes], within: float = 0.0) -> bool:
    """Whether a program has ended, or does so in some seconds; then its status is in `returncode`.

    `Popen.poll`, `wait` and `kill` take a lock that an interruption between two of their lines leaves taken, and then
    the next `wait` never returns. Here there is none.
    """
    until = time.monotonic() + within
    while process.returncode is None:
        try:
            pid, status = os.waitpid(process.pid, os.WNOHANG)
        except ChildProcessError:  # an interruption came before the status was noted: it is lost
            process.returncode = 0
        else:
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
            elif time.monotonic() >= until:
                return False
            else:
                time.sleep(1e-3)
    return True


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a program at once."""
    if not _ended(process):
        os.kill(process.pid, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let a program end by itself, or else end it."""
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(OSError, ValueError):
        process.stdin.close()
    try:
        _ended(process, within=2)
    finally:
        _kill(process)
        process.stdout.close()
    _ended(process, within=2)
