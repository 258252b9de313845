"""Times of CUDA's kernels, and what part of a card they use, from NVIDIA's Nsight Compute."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Sequence
from typing import Any

__all__ = ["profile", "profiled"]

# What is asked for, of a kernel: its time, and parts of what the card could do at most
METRICS = {
    "gpu__time_duration.sum": "seconds",
    "dram__throughput.avg.pct_of_peak_sustained_elapsed": "bandwidth",
    "sm__inst_executed_pipe_fp64.avg.pct_of_peak_sustained_active": "fp64",
    "sm__warps_active.avg.pct_of_peak_sustained_active": "warps",
}
UNITS = {"%": 0.01, "nsecond": 1e-9, "ns": 1e-9, "usecond": 1e-6, "us": 1e-6, "msecond": 1e-3, "ms": 1e-3}
UNITS |= {"second": 1.0, "s": 1.0}


def profile(command: Sequence[str]) -> list[dict[str, Any]]:
    """The kernels of a command and of what it starts.

    Parameters
    ----------
    command : sequence of str

    Returns
    -------
    list of dict
        As `profiled` gives.

    Raises
    ------
    RuntimeError
        If ``ncu`` or the command fails.
    OSError
        If there is no ``ncu``.
    ValueError
        If it says what is not expected.
    """
    words = ["ncu", "--metrics", ",".join(METRICS), "--csv", "--print-units", "base", "--target-processes", "all"]
    done = subprocess.run([*words, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ncu ends with status {done.returncode}: {(done.stderr or done.stdout)[-500:]}")
    return profiled(done.stdout)


def profiled(said: str) -> list[dict[str, Any]]:
    """The kernels in what ``ncu --csv`` says, each as it was launched last.

    Parameters
    ----------
    said : str

    Returns
    -------
    list of dict
        ``kernel``; ``seconds``; ``bandwidth``, ``fp64`` and ``warps``: parts of what the card could move, compute and
        hold.

    Raises
    ------
    ValueError
        If it is not what is expected.
    """
    start = said.find('"ID"')
    found: dict[str, dict[str, Any]] = {}
    for row in csv.DictReader(said[start:].splitlines()) if start >= 0 else ():
        try:
            name, key, unit = row["Kernel Name"], METRICS[row["Metric Name"]], UNITS[row["Metric Unit"]]
            value = float(row["Metric Value"].replace(",", ""))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ValueError(f"ncu says {row}; expected a kernel's name and one of {', '.join(METRICS)}") from None
        found.setdefault(name.partition("(")[0].rpartition("::")[2], {})[key] = value * unit
    if not found:
        raise ValueError(f"ncu says {said[:200]!r}; expected a table of kernels and metrics")
    for name, record in found.items():
        if missing := METRICS.values() - record.keys():
            raise ValueError(f"ncu does not say of {name}: {', '.join(sorted(missing))}")
    return [{"kernel": name, **record} for name, record in found.items()]
