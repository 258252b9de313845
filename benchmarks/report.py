"""The results of `benchmarks.run` as Markdown, and their place in docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snnmodels.files import write_between

__all__ = ["BASES", "DOCS", "RESULTS", "markdown", "write_docs"]

RESULTS = Path("docs/results/benchmarks.json")
DOCS = Path("docs/benchmarks.md")
# What ratios are to, by the contender's key in `benchmarks.run`: a short name, and what it is
BASES = {
    "limit": ("limit", "the event engine by hand, exact in continuous time"),
    "grid": ("grid", "the grid method by hand, at the dt above"),
    "fine_grid": ("fine grid", "the grid method by hand, at 0.1 ms"),
}
_BEGIN, _END = "<!-- benchmarks: written by python -m benchmarks.run --write-docs -->", "<!-- benchmarks: end -->"


def write_docs(results: Mapping[str, Any], docs: Path | None) -> str:
    """Put the tables between the markers of a file, if one is given; return them.

    Raises
    ------
    ValueError
        If the file has no markers.
    """
    text = markdown(results)
    if docs is not None:
        write_between(docs, _BEGIN, text, _END)
    return text


def markdown(results: Mapping[str, Any]) -> str:
    """A table for each task, and what the times were taken on."""
    m, o = results["machine"], results["options"]
    load = f"load {m['load_before']:.1f} before and {m['load_after']:.1f} after"
    parts = [
        f"{m['date']}, {m['processor']}, {m['cores']} cores ({load}), {m['compiler']}, Python {m['python']}, NumPy "
        f"{m['numpy']}. {o['rounds']} rounds of up to {o['batches']} batches.\n"
    ]
    parts += [_task(task) for task in results["tasks"].values()]
    return "\n".join(parts)


def _task(task: Mapping[str, Any]) -> str:
    s = task["settings"]
    bases = _bases(task)
    ratios = [f"× {BASES[key][0]}: passes, batch" for key in bases]
    times = ["forward", "backward", "whole batch", *ratios, "wall", "start: first, new network, warm"]
    columns = ["", *times, "memory", "hidden spikes"]
    lines = [
        f"### {s['description']}; dt {s['dt'] * 1e3:g} ms, batch {s['batch_size']}\n",
        f"| {' | '.join(columns)} |",
        f"|---{'|--:' * (len(columns) - 1)}|",
    ]
    lines += [_row(c, s["batch_size"], bases) for c in task["contenders"].values()]
    if bases:
        lines += ["", "; ".join(f"× {BASES[key][0]}: {BASES[key][1]}" for key in bases) + "."]
    lines += ["", *(f"Not timed: {label}: {reason}." for label, reason in task["skipped"].items())]
    return "\n".join(lines).rstrip() + "\n"


def _bases(task: Mapping[str, Any]) -> list[str]:
    return [key for key in BASES if all(key in c["ratios"] for c in task["contenders"].values())]


def _row(c: Mapping[str, Any], batch_size: int, bases: Sequence[str]) -> str:
    label = f"{c['label']} {c['version']}"
    if "date" in c:
        label += f", {c['date']}"
    if c["batch_size"] != batch_size:
        label += f", batch {c['batch_size']}"
    start = ", ".join(_seconds(c.get(f"start_{kind}")) for kind in ("cold", "new", "warm"))
    cells = [
        label,
        *(_number(c["cpu"], section, " ms") for section in ("forward", "backward", "batch")),
        *(f"{_number(c['ratios'][key], 'passes')}, {_number(c['ratios'][key], 'batch')}" for key in bases),
        f"{c['wall']['batch']:.3g} ms",
        start,
        f"{c['memory_mb']:.0f} MB",
        "–" if c["hidden_spikes"] is None else f"{c['hidden_spikes']:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _number(of: Mapping[str, float], section: str, unit: str = "") -> str:
    return f"{of[section]:.3g}{unit}" if section in of else "–"


def _seconds(start: Mapping[str, float] | None) -> str:
    """CPU seconds, and those that a user waits."""
    return "–" if start is None else f"{start['cpu']:.2g} ({start['wall']:.2g}) s"
