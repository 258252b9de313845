"""What the event engine runs on: printers of its rules, and the runtimes that they call.

A target is a folder whose ``engine`` module has a function ``open_engine(plan, *, trials, threads, timeout)``, which
returns an `Engine`; its name stands in `TARGETS` and in `Target`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ..events.engine import Engine
    from ..events.plan import EnginePlan

__all__ = ["TARGETS", "Target", "open_engine"]

Target = Literal["numpy", "cpp_standalone", "cuda_standalone"]
TARGETS: dict[str, str] = {"numpy": "numpy", "cpp_standalone": "cpp", "cuda_standalone": "cuda"}
"""Targets, and the folder of each."""


def open_engine(
    target: str, plan: EnginePlan, *, trials: int = 1, threads: int = 1, timeout: float | None = None
) -> Engine:
    """An engine that runs a plan, with the values of its network.

    Parameters
    ----------
    target : {"numpy", "cpp_standalone", "cuda_standalone"}
        In this process, or in a compiled program that stays alive, on the processor or on a GPU.
    plan : EnginePlan
    trials : int
        Of a batch, to make room for; a larger batch makes more.
    threads : int
        Among which trials are divided.
    timeout : float, optional
        Seconds that one call may take, for targets that run apart.

    Raises
    ------
    ValueError
        For another target, or more threads than the target has.
    BuildFailed, ProgramError
        If there is no compiler, or the program does not come up; for want of a GPU, too.
    """
    if target not in TARGETS:
        from ..templates.errors import brief  # loads what `snnmodels --help` has no use for

        raise ValueError(
            f"target = {brief(target)}; the event engine runs on {', '.join(TARGETS)}. GridSimulation runs on every "
            "target of Brian2, on a time grid"
        )
    engine = importlib.import_module(f"{__name__}.{TARGETS[target]}.engine")
    opened: Engine = engine.open_engine(plan, trials=trials, threads=threads, timeout=timeout)
    return opened
