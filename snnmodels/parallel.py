"""Many runs at once: over any `concurrent.futures.Executor`, of this machine's processes or of a cluster's.

A run's result depends on what it is given and on nothing else, so that it is the same wherever it runs. Workers begin
with what is imported here: Brian2 and what needs it come with the runs.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, as_completed, wait
from multiprocessing import connection
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

__all__ = ["WorkerPool", "executor_from", "run_all", "sendable", "some_executor"]

_GRACE = 10.0  # seconds that a worker whose parent died has to leave things in order


def run_all[Item, Result](
    function: Callable[[Item], Result],
    items: Iterable[Item],
    executor: Executor | None = None,
    *,
    each: Callable[[Item, Result], object] | None = None,
) -> list[Result]:
    """Call a function on each of some items (seeds, settings of a sweep), by an executor or one after the other.

    Parameters
    ----------
    function : callable
        Of one item. Processes and other machines have to find it by its name: it stands at the top of a module, and
        a script that starts processes does so under ``if __name__ == "__main__":``.
    items : iterable
    executor : concurrent.futures.Executor, optional
        Such as `WorkerPool`; here and in order without.
    each : callable, optional
        Told an item and its result as soon as that is there, in whatever order they come.

    Returns
    -------
    list
        Results in the order of the items.

    Raises
    ------
    Exception
        The first that a call raises, with a note that names its item where there are several; calls that have not begun
        are then cancelled. So it is with ``KeyboardInterrupt``. Where a process dies (killed, out of memory), a
        ``BrokenExecutor`` with a note that names the items in whose calls that may have been: as many as there are
        processes.

    Examples
    --------
    >>> run_all(abs, [-1, 2])
    [1, 2]
    """
    if executor is not None and not isinstance(executor, Executor):
        raise ValueError(f"executor is {_brief(executor)}; expected one of concurrent.futures, such as WorkerPool(2)")
    every = list(items)
    several = len(every) > 1
    if executor is None:
        return [_told(item, _named(function, item, several), each) for item in every]
    futures: dict[Future[Result], int] = {}
    results: dict[int, Result] = {}
    try:
        for k, item in enumerate(every):
            futures[executor.submit(function, item)] = k
        for future in as_completed(futures):
            k = futures[future]
            if _is_broken(future):
                raise _dead(executor, futures, every)
            results[k] = _told(every[k], _named(lambda _, f=future: f.result(), every[k], several), each)  # type: ignore[misc]
    except BaseException:
        for future in futures:
            future.cancel()
        raise
    return [results[k] for k in range(len(every))]


def _named[Item, Result](function: Callable[[Item], Result], item: Item, several: bool) -> Result:
    try:
        return function(item)
    except Exception as error:
        if several:
            error.add_note(f"of the run {_brief(item)}")
        raise


def _is_broken(future: Future[Any]) -> bool:
    return future.done() and not future.cancelled() and isinstance(future.exception(), BrokenExecutor)


def _dead(executor: Executor, futures: Mapping[Future[Any], int], every: Sequence[object]) -> BaseException:
    """What a process that died has left in all calls without a result, with a note on those in which it may have been.

    Processes take calls in the order in which these were given: as many as there are processes were under way.
    """
    wait(futures, timeout=_GRACE)  # one process is told after the other
    broken = [f for f in futures if _is_broken(f)]
    error = broken[0].exception()
    assert error is not None
    at_once = getattr(executor, "workers", None) or getattr(executor, "_max_workers", len(broken))
    runs = [_brief(every[futures[f]]) for f in broken[:at_once]]
    which = f"the run {runs[0]}" if len(runs) == 1 else f"one of the runs {', '.join(runs[:-1])} and {runs[-1]}"
    why = "it was killed, as for want of memory, or can't start"
    error.add_note(f"a process died, in {which} or before it began: {why}")
    return error


def _brief(value: object) -> str:
    from .templates.errors import brief

    return brief(value)


def _told[Item, Result](item: Item, result: Result, each: Callable[[Item, Result], object] | None) -> Result:
    if each is not None:
        each(item, result)
    return result


class WorkerPool(ProcessPoolExecutor):
    """Processes of this machine that end in good order: what `run_all`, `fit` and the commands use for ``--workers``.

    As a context, Ctrl-C reaches every run that has begun, once, as ``KeyboardInterrupt``, whether it was typed in a
    terminal or sent to this process alone; training and fits then keep their checkpoints. No process outlives the
    context, nor this process, even one that is killed. Processes are spawned: none shares Brian2's state.

    Parameters
    ----------
    workers : int
        Number of processes; one for each core is sensible.

    Examples
    --------
    >>> with WorkerPool(2) as pool:  # doctest: +SKIP
    ...     accuracies = run_all(train_and_test, range(10), pool)

    Raises
    ------
    ValueError
        If that is no whole number from 1 up.
    """

    def __init__(self, workers: int) -> None:
        if not isinstance(workers, int) or workers < 1:
            raise ValueError(f"workers = {_brief(workers)}; it must be a positive whole number")
        self.workers = workers
        context = multiprocessing.get_context("spawn")
        # its other end is in every worker, and ends with this process however that ends
        self._theirs, self._ours = context.Pipe(duplex=False)
        super().__init__(workers, context, initializer=_begin, initargs=(self._theirs,))

    def submit[Result](self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        """As `concurrent.futures.Executor.submit`."""
        # a worker that is just being started must not die of Ctrl-C: it inherits that the signal has to wait
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(_guarded, fn, args, kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def interrupt(self) -> None:
        """Raise ``KeyboardInterrupt`` in every run that has begun, and let none begin any more."""
        self._ours.close()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, KeyboardInterrupt):
            self.interrupt()
        workers = list((self._processes or {}).values())
        try:
            self.shutdown(wait=True, cancel_futures=kind is not None)
        except KeyboardInterrupt:  # once more: at once, then
            for worker in workers:
                worker.kill()
            raise
        finally:
            self.interrupt()


class _Worker:
    """What a worker knows of itself."""

    def __init__(self) -> None:
        self.busy = threading.Lock()  # held by the run that is on
        self.armed = False  # whether Ctrl-C is for it
        self.stopped = False


_worker = _Worker()


def _begin(stop: connection.Connection) -> None:
    """Make this process a worker, which `stop` ends: it has nothing to say but that its other end is closed."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_watch, args=(stop,), daemon=True).start()


def _watch(stop: connection.Connection) -> None:
    main, parent = threading.main_thread().ident, multiprocessing.parent_process()
    assert main is not None
    assert parent is not None
    connection.wait([stop])
    _worker.stopped = True
    signal.pthread_kill(main, signal.SIGINT)
    parent.join()
    # whoever killed it did not tell us; without it this process would wait for work for ever
    _worker.busy.acquire(timeout=_GRACE)
    os._exit(1)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ctrl-C, once in a run, and not between runs: what comes twice would cut off its clearing up."""
    if _worker.armed:
        _worker.armed = False
        raise KeyboardInterrupt


def _guarded[Result](function: Callable[..., Result], args: Any, kwargs: Any) -> Result:
    """A run, in a worker."""
    try:
        _worker.busy.acquire()
        _worker.armed = True
        if _worker.stopped:
            raise KeyboardInterrupt
        return function(*args, **kwargs)
    except BaseException as error:
        if (told := sendable(error)) is not error:
            raise told from None
        raise
    finally:
        _worker.armed = False
        _worker.busy.release()


def sendable(error: BaseException) -> BaseException:
    """An error that can be sent to another process: itself, or what it says as a ``RuntimeError``.

    Parameters
    ----------
    error : BaseException
    """
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def executor_from(text: str) -> Executor:
    """The executor that ``module:factory`` makes.

    Parameters
    ----------
    text : str
        A module, or the path of a ``.py`` file, and the name of a function or class in it that gives an executor when
        it is called without arguments: ``mpi4py.futures:MPIPoolExecutor``, ``cluster.py:executor``.

    Raises
    ------
    ValueError
        If there is no such module or factory, or it gives something else.
    """
    where, sign, name = text.rpartition(":")
    if not sign or not where or not name.isidentifier():
        raise ValueError(f"--executor {text}: expected module:factory, as in cluster.py:executor")
    try:
        module = _of_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except (ImportError, OSError) as error:
        raise ValueError(f"--executor {text}: {where} can't be imported: {error}") from None
    factory = getattr(module, name, None)
    if not callable(factory):
        raise ValueError(f"--executor {text}: {where} has no function or class {name!r}")
    made = factory()
    if not isinstance(made, Executor):
        raise ValueError(f"--executor {text}: {name}() gave {_brief(made)}; expected an Executor of concurrent.futures")
    return made


def _of_file(path: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@contextlib.contextmanager
def some_executor(workers: int = 1, executor: str = "") -> Iterator[Executor | None]:
    """What a command's ``--workers`` and ``--executor`` ask for, closed at the end; None for one worker.

    Parameters
    ----------
    workers : int
        Processes of this machine.
    executor : str
        As `executor_from` takes it.

    Raises
    ------
    ValueError
        If both are given, or one can't be had.
    """
    if workers != 1 and executor:
        raise ValueError("--workers and --executor: give one of them; an executor knows itself how many it has")
    if not executor and workers == 1:
        yield None
        return
    with executor_from(executor) if executor else WorkerPool(workers) as made:
        yield made
