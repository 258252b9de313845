"""The results of `benchmarks.run` as Markdown, and their place in docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["DOCS", "RESULTS", "markdown", "write_docs"]

RESULTS = Path("docs/results/benchmarks.json")
DOCS = Path("docs/benchmarks.md")
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
        before, begin, rest = docs.read_text().partition(_BEGIN)
        _, end, after = rest.partition(_END)
        if not begin or not end:
            raise ValueError(f"{docs}: the lines {_BEGIN!r} and {_END!r} must be there, around the table")
        docs.write_text(f"{before}{_BEGIN}\n\n{text}\n{_END}{after}")
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
    lines = [
        f"### {s['description']}; dt {s['dt'] * 1e3:g} ms, batch {s['batch_size']}\n",
        "| | forward | backward | whole batch | × limit, passes | × limit, batch | wall | start cold, warm | memory "
        "| hidden spikes |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [_row(c, s["batch_size"]) for c in task["contenders"].values()]
    lines += ["", *(f"Not timed: {label}: {reason}." for label, reason in task["skipped"].items())]
    return "\n".join(lines).rstrip() + "\n"


def _row(c: Mapping[str, Any], batch_size: int) -> str:
    label = f"{c['label']} {c['version']}"
    if c["batch_size"] != batch_size:
        label += f", batch {c['batch_size']}"
    ratio = c.get("ratio", {})
    cold, warm = c["start_cold"], c["start_warm"]
    start = f"{'–' if cold is None else _seconds(cold)}, {_seconds(warm)}"
    cells = [
        label,
        *(f"{c['cpu'][section]:.3g} ms" for section in ("forward", "backward", "batch")),
        *(f"{ratio[section]:.3g}" if ratio else "–" for section in ("passes", "batch")),
        f"{c['wall']['batch']:.3g} ms",
        start,
        f"{c['memory_mb']:.0f} MB",
        "–" if c["hidden_spikes"] is None else f"{c['hidden_spikes']:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _seconds(start: Mapping[str, float]) -> str:
    return f"{start['cpu']:.2g} s"
