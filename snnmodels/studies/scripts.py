"""The frame of the scripts in ``scripts/``: options that they share, threads, exit statuses.

Importing it gives NumPy one thread in each process, for whoever has set no other number: trainings of several seeds
share the cores. So it comes before NumPy is imported.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["command", "executor", "kept_part", "options", "run", "saved", "several", "table_options"]

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")


def options(description: str | None, *, quick: str, out: str, dpi: int | None = None) -> argparse.ArgumentParser:
    """A parser with the options of every script.

    Parameters
    ----------
    description : str or None
        The script's docstring.
    quick : str
        What ``--quick`` makes of it.
    out : str
        The folder of ``--out``, in words.
    dpi : int, optional
        Resolution of the picture, where it can be chosen.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--quick", action="store_true", help=quick)
    kind.add_argument(
        "--redraw",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="PATH",
        help="simulate nothing, draw from what an earlier run left in PATH (default: in DIR)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"default: {out}")
    if dpi is not None:
        parser.add_argument("--dpi", type=int, default=dpi, help="resolution of the picture, default: %(default)s")
    return parser


def table_options(
    name: str,
    description: str | None,
    arguments: Sequence[str] | None,
    *,
    quick: str,
    docs: Path,
    row: str,
    missing: bool = False,
) -> argparse.Namespace:
    """Parse the command line of a script that measures the rows of a table, in several processes.

    Parameters
    ----------
    name : str
        Of the folder of ``--quick`` in ``output``.
    description : str or None
        The script's docstring.
    arguments : sequence of str or None
        None for those of the process.
    quick : str
        What ``--quick`` makes of it.
    docs : Path
        The folder that results go to by default.
    row : str
        What a row is of, for ``--only``.
    missing : bool
        Whether there is ``--missing``.
    """
    from ..files import folder_for  # which imports NumPy

    parser = options(description, quick=quick, out=f"docs, or output/{name} with --quick")
    parser.add_argument("--only", nargs="+", metavar=row, help="measure these again, and keep the others")
    if missing:
        parser.add_argument("--missing", action="store_true", help="measure those that the table does not have yet")
    several(parser, "rows measured at a time")
    given = parser.parse_args(arguments)
    given.out = given.out or (Path("output", name) if given.quick else docs)
    folder_for(given.out, "folder of results")
    return given


def several(parser: argparse.ArgumentParser, what: str, default: int = 1) -> None:
    """Add the options that say what runs at a time, and by whom.

    Parameters
    ----------
    parser : ArgumentParser
    what : str
        What there are several of, for ``--help``.
    default : int
        Processes.
    """
    help_text = f"{what}, each in a process of its own (default: {default})"
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--processes", "--workers", type=_positive, default=default, metavar="N", help=help_text)
    whose.add_argument(
        "--executor",
        metavar="MODULE:FACTORY",
        default="",
        help="what runs them instead: a function that makes an Executor of concurrent.futures (docs/machines.md)",
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}: give a whole number from 1 up")
    return number


def executor(given: argparse.Namespace) -> AbstractContextManager[Executor | None]:
    """What the options of `several` ask for, as a context; see `snnmodels.parallel.some_executor`.

    Parameters
    ----------
    given : Namespace

    Raises
    ------
    ValueError
        If there is no such executor.
    """
    from ..parallel import some_executor

    return some_executor(1 if given.executor else given.processes, given.executor)


def saved(given: argparse.Namespace, name: str) -> Path | None:
    """The file from which to draw, if ``--redraw`` asks for that.

    Parameters
    ----------
    given : Namespace
        Of `options`, with `out`.
    name : str
        Of the file, in ``--out`` or in a folder that is given.

    Raises
    ------
    OSError
        If it isn't there.
    """
    if given.redraw is None:
        return None
    path: Path = given.out / name if given.redraw == Path() else given.redraw
    path = path / name if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"--redraw: {path} does not exist; run once without --redraw")
    return path


def kept_part(
    file: Path, settings: Mapping[str, Any], make: Callable[[], Mapping[str, Any]], said: str = ""
) -> dict[str, Any]:
    """A part of a script's results: the one in its file, if it is of the same settings, else a new one.

    Parameters
    ----------
    file : Path
    settings : mapping of str to JSON values
        Everything that the part depends on, as `as_json` gives it, so that none is taken for one of other settings.
    make : callable
        Makes the part.
    said : str
        Printed before; the name of the file if not given.

    Returns
    -------
    dict
        As it comes back from the file, new or not.

    Raises
    ------
    ValueError
        If the file is of other settings, or is none.
    """
    from ..files import read_json, write_rounded  # which import NumPy

    if file.exists():
        kept = read_json(file, "results file", "settings", "result")
        if kept["settings"] != settings:
            raise ValueError(f"{file}: is of a run with other settings; remove it or name another folder with --out")
        return dict(kept["result"])
    print(said or file.stem, flush=True)
    write_rounded(file, {"settings": settings, "result": make()})
    return dict(read_json(file, "results file", "result")["result"])


def command(script: str, arguments: Sequence[str] | None) -> str:
    """The command line that makes the results again.

    Parameters
    ----------
    script : str
        Name of its file, without ``.py``.
    arguments : sequence of str or None
        None for those of the process.
    """
    return shlex.join(["python", f"scripts/{script}.py", *(sys.argv[1:] if arguments is None else arguments)])


def run(main: Callable[[], object], unfinished: str = "interrupted") -> NoReturn:
    """Run a script's main function and end the process: status 130 on Ctrl-C, 1 with the message of an error.

    Parameters
    ----------
    main : callable
        Returns an exit status, or anything else for 0.
    unfinished : str
        What to say on Ctrl-C where the interruption has no message of its own.
    """
    try:
        status = main()
    except KeyboardInterrupt as interruption:
        print(f"\n{str(interruption) or unfinished}", file=sys.stderr)
        sys.exit(130)
    except (ImportError, ValueError, RuntimeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)
