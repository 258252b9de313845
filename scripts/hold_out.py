"""Compare ways to fit a recorded neuron, and models, by what they do on parts of the recording that were left out.

    python scripts/hold_out.py --data DIR                                   # DIR with first_half.npz; hours of CPU time
    python scripts/hold_out.py --data DIR --models current --seeds 0 1 2    # more of some; what is there stays
    python scripts/hold_out.py --data DIR --candidates 32 --generations 36  # cheaper: smaller populations, for shorter
    python scripts/hold_out.py --data DIR --quick                           # small populations, two parts
    python scripts/hold_out.py --data DIR --redraw                          # the table, from the results

The first 7 s are cut into equal parts, each of which is left out of a fit once. What comes after them is not looked
at. A run that was interrupted goes on: each fit is kept in a file of its own in output/hold_out.
"""

from __future__ import annotations

from snnmodels.studies import scripts  # first: it sets the number of NumPy's threads

# isort: split

from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from snnmodels.files import as_json, folder_for, read_json, write_between, write_rounded
from snnmodels.fitting.recording import Sweep
from snnmodels.studies import held_out
from snnmodels.studies.recorded_neuron import CANDIDATES, FITTED, PROCEDURES, WINDOWS, read_data

QUICK: dict[str, Any] = {"candidates": 16, "generations": 6, "likelihood": False, "polish_steps": 0}
DOCS = Path("docs")
PAGE = DOCS / "recording.md"
BEGIN, END = "<!-- hold-out: written by python scripts/hold_out.py -->", "<!-- hold-out: end -->"


def main(arguments: list[str] | None = None) -> int:
    """Fit what is missing, keep the rest, write the table; return the exit status."""
    parser = scripts.options(__doc__, quick="small populations, two parts", out="docs, or output/hold_out with --quick")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with first_half.npz")
    parser.add_argument("--models", nargs="+", choices=tuple(CANDIDATES), default=list(CANDIDATES))
    parser.add_argument("--procedures", nargs="+", choices=tuple(PROCEDURES), default=list(PROCEDURES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of the searches, default: 0")
    parser.add_argument("--folds", type=int, default=4, help="parts, default: %(default)s")
    parser.add_argument("--candidates", type=int, default=64, help="of snnmodels.fit, default: %(default)s")
    parser.add_argument("--generations", type=int, default=60, help="of snnmodels.fit, default: %(default)s")
    options = parser.parse_args(arguments)
    out = options.out or (Path("output/hold_out") if options.quick else DOCS)
    results = folder_for(out / "results", "folder of results") / "hold_out.json"
    if options.redraw is None:
        if options.data is None:
            parser.error("--data DIR is needed, unless --redraw")
        folds = 2 if options.quick else options.folds
        if folds < 2:
            parser.error(f"--folds {folds}: leave out one part of two or more")
        size = {"candidates": options.candidates, "generations": options.generations}
        more = QUICK if options.quick else size
        parts = Path("output/hold_out", f"{more['candidates']}x{more['generations']}")
        rows = _fitted(options, folds, more, read_data(options.data), folder_for(parts, "folder of fits"))
        before = read_json(results, "results file", "fits")["fits"] if results.is_file() else []
        there = [(_name(row), row["options"]) for row in rows]
        rows = [row for row in before if (_name(row), row["options"]) not in there] + rows
        write_rounded(results, {"fits": rows})
    table = _table(read_json(results, "results file", "fits")["fits"])
    print(table)
    if out == DOCS:
        write_between(PAGE, BEGIN, table, END)
    return 0


def _name(row: dict[str, Any]) -> str:
    return f"{row['model']}_{row['procedure']}_{row['fold']}of{row['folds']}_{row['seed']}"


def _fitted(options: Any, folds: int, more: dict[str, Any], data: Sweep, folder: Path) -> list[dict[str, Any]]:
    """All fits that are asked for, and those from whose values they begin."""
    models = [key for key in CANDIDATES if key in options.models]
    needed = {CANDIDATES[key].after for key in models} - {""}
    models = [key for key in CANDIDATES if key in {*models, *needed}]
    rows: dict[str, dict[str, Any]] = {}
    for seed, k, procedure, key in product(options.seeds, range(folds), options.procedures, models):
        row = {"model": key, "procedure": procedure, "fold": k, "folds": folds, "seed": seed}
        name, after = _name(row), CANDIDATES[key].after
        others = {after: rows[_name({**row, "model": after})]} if after else {}
        made = partial(
            held_out.fit_without, key, procedure, data, held_out.fold(k, folds), others,
            seed=seed, progress=False, **more,
        )  # fmt: skip
        row |= {"options": more}
        rows[name] = row | scripts.kept_part(folder / f"{name}.json", as_json(row), made)
    return list(rows.values())


def _table(fits: list[dict[str, Any]]) -> str:
    """Means over seeds of all whose folds are complete, in Markdown."""
    lines = [
        "| model | fitted | left out ± 4 ms | ± 2 ms | spikes | fitted part ± 4 ms | ± 2 ms | seeds |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    folds, size = fits[-1]["folds"], fits[-1]["options"]
    for key, (procedure, (words, options)) in product(CANDIDATES, PROCEDURES.items()):
        complete = _complete(fits, key, procedure)
        if not complete:
            continue
        cells = [CANDIDATES[key].title, words if options else f"{words} (the default)"]
        for where in ("left out", "fitted"):
            for window in WINDOWS:
                cells.append(_mean([held_out.pooled(rows, where, window)[0] for rows in complete]))
            if where == "left out":
                cells.append(f"{np.mean([held_out.pooled(rows, where, WINDOWS[0])[1] for rows in complete]):.2f}")
        lines.append(f"| {' | '.join([*cells, str(len(complete))])} |")
    told = (
        f"{folds} parts of {FITTED / folds:g} s, {size['candidates']} candidates, {size['generations']} generations; "
        "mean over seeds, with its standard error where there are several."
    )
    return "\n".join([*lines, "", told, *_parameters(fits)]) + "\n"


def _complete(fits: list[dict[str, Any]], key: str, procedure: str) -> list[list[dict[str, Any]]]:
    """Of each seed the fits of all parts, of the size that was run last."""
    wanted = (key, procedure, fits[-1]["folds"], fits[-1]["options"])
    of = [f for f in fits if (f["model"], f["procedure"], f["folds"], f["options"]) == wanted]
    seeds = sorted({f["seed"] for f in of})
    return [rows for s in seeds if len(rows := [f for f in of if f["seed"] == s]) == fits[-1]["folds"]]


def _parameters(fits: list[dict[str, Any]]) -> list[str]:
    """A table of parameters with standard errors, of the default procedure and the first seed."""
    lines = []
    for key in CANDIDATES:
        for rows in _complete(fits, key, "both")[:1]:
            cells = [f"{name} {_measured(name, *x)}" for name, x in held_out.jackknife(rows).items()]
            lines.append(f"* {CANDIDATES[key].title}: {', '.join(cells)}")
    head = "Parameters, fitted by default: mean of these fits and its jackknife standard error."
    return ["", head, "", *lines] if lines else []


_SHOWN = {"C_m": (1e12, "pF"), "b": (1e12, "pA"), "a": (1e9, "nS")}


def _measured(name: str, mean: float, error: float) -> str:
    """A value with its error in a unit that suits it: of all others, times are in ms and potentials in mV."""
    times = name.startswith(("t_", "tau")) or name == "delay"
    scale, unit = _SHOWN.get(name, (1e3, "ms" if times else "mV"))
    return f"{scale * mean:.3g} ± {scale * error:.2g} {unit}"


def _mean(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.2f}"
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.3f}"


if __name__ == "__main__":
    scripts.run(main, "interrupted; fits that were complete are kept, and the same command goes on")
