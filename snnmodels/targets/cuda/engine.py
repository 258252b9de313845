"""The engine as a program on a GPU, which stays alive between batches."""

from __future__ import annotations

from ...events.plan import EnginePlan
from ..cpp.engine import CompiledEngine
from ..cpp.layout import Ways
from .program import program

__all__ = ["CudaEngine", "open_engine"]


def open_engine(plan: EnginePlan, *, trials: int, threads: int, timeout: float | None) -> CudaEngine:
    """An engine in a program of its own, on the first GPU.

    Parameters
    ----------
    plan : EnginePlan
    trials, threads : int
    timeout : float or None
        See `CudaEngine`.

    Raises
    ------
    ValueError
        For more than one thread.
    BuildFailed, ProgramError
        See `CudaEngine`.
    """
    if threads > 1:
        raise ValueError(f"threads = {threads}; target cuda_standalone has as many as the GPU, leave it out")
    return CudaEngine(plan, trials=trials, timeout=timeout)


class CudaEngine(CompiledEngine):
    """Runs a plan on a GPU.

    Parameters
    ----------
    plan : EnginePlan
    trials : int
        Trials of a batch to make room for; a larger batch makes more.
    timeout : float, optional
        Seconds that the program may take for one answer.

    Raises
    ------
    BuildFailed
        If there is no nvcc, or it refuses the program.
    ProgramError
        If there is no GPU, or the program dies or stops answering.
    """

    def __init__(self, plan: EnginePlan, *, trials: int = 1, timeout: float | None = None) -> None:
        path, models = program([p.rules for p in plan.groups], plan.tolerance)
        super().__init__(plan, path, models, Ways(), trials=trials, timeout=timeout)
