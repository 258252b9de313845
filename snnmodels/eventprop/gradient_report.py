"""What a check of a gradient found, as numbers and as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["FLOOR", "REFINEMENTS", "GradientReport", "GradientRow"]

FLOOR = 1e-3  # gradients whose relative effect on the loss is smaller than this are compared with this instead
SAME_TIME = 1e-11  # seconds; simulation and reference agree on a spike
REFINEMENTS = 3  # time steps, each half the one before, from which an order is read
ROUNDING = 1e-9  # deviations from the reference below this say nothing about an order


@dataclass(frozen=True)
class GradientRow:
    """One group of weights, input times, or one parameter of a population.

    Attributes
    ----------
    key : str
        As in `Simulation.run`.
    elements : tuple of int
        How many were compared, of how many.
    norm : float
        Relative change of the loss by relative changes of the group, in norm: |dL/dp|·size/|L|.
    differences : float
        Deviation from central differences, relative in norm; for a group with a `norm` below 0.001, relative to that.
    resolution : float
        How far two estimates of the differences with different steps are apart, in the same unit: less can't be seen.
    oracle : float or None
        Deviation from the reference in the same unit, over all elements.
    """

    key: str
    elements: tuple[int, int]
    norm: float
    differences: float
    resolution: float
    oracle: float | None

    @property
    def absolute(self) -> bool:
        """Whether the group hardly matters to the loss, so that its deviations are relative to a stated bound."""
        return self.norm < FLOOR


@dataclass(frozen=True)
class GradientReport:
    """What `check_gradient` found.

    Attributes
    ----------
    name, target : str
    dt : float
        Seconds.
    tolerance : float
    rows : tuple of GradientRow
    loss : float
    spikes : mapping of str to float
        Spikes per trial of each population.
    smallest_gdot : float
        Smallest rate at which an event function crossed 0; the gradient has a pole at 0.
    unresolved : int
        Spikes that could not be bracketed in a step.
    linear : bool
        Whether all models are linear between events: then the simulation's only error is that a spike which causes
        another within a step is noticed a step late. That error is all or nothing, and gone from some dt on.
    time_deviation : float or None
        Largest distance of a spike time from the reference's, in seconds; ``inf`` if there are more or fewer spikes.
    convergence : tuple of (float, float)
        Time steps and the deviation of the whole gradient from the reference, where it isn't exact: the one asked for,
        then ever smaller ones.
    """

    name: str
    target: str
    dt: float
    tolerance: float
    rows: tuple[GradientRow, ...]
    loss: float
    spikes: Mapping[str, float]
    smallest_gdot: float
    unresolved: int
    linear: bool
    time_deviation: float | None
    convergence: tuple[tuple[float, float], ...] = ()

    @property
    def exact(self) -> bool:
        """Whether the reference has to be met: linear models in which no spike causes another within a step."""
        return self.linear and self.time_deviation is not None and self.time_deviation < SAME_TIME

    @property
    def order(self) -> float | None:
        """Observed order in dt of the deviation from the reference; None where it is exact or below rounding."""
        seen = [(dt, e) for dt, e in self.convergence[-REFINEMENTS:] if np.isfinite(e) and e > ROUNDING]
        if len(seen) < 2:
            return None
        return float(np.log(seen[0][1] / seen[-1][1]) / np.log(seen[0][0] / seen[-1][0]))

    @cached_property
    def failures(self) -> tuple[str, ...]:
        """What is beyond tolerance, one line each."""
        lines = []
        for row in self.rows:
            if not row.differences <= self.tolerance:
                hint = "; the differences themselves are no better" if row.resolution > self.tolerance else ""
                lines.append(f"{row.key}: {row.differences:.1e} from central differences{hint}")
            if self.exact and row.oracle is not None and not row.oracle <= self.tolerance:
                lines.append(f"{row.key}: {row.oracle:.1e} from the reference")
        errors = [e for _, e in self.convergence[-REFINEMENTS:]]
        if errors and not self.linear and not errors[-1] <= max(errors[0], self.tolerance):
            lines.append("the gradient does not approach the reference as dt shrinks")
        return tuple(lines)

    @property
    def ok(self) -> bool:
        """Whether everything that has to agree does."""
        return not self.failures

    def remarks(self) -> list[str]:
        """Sentences for below the table."""
        lines = [
            f"loss {self.loss:.6g}; spikes per trial: {', '.join(f'{k} {v:g}' for k, v in self.spikes.items())}; "
            f"smallest |ġ| {self.smallest_gdot:.3g}/s; unresolved spikes: {self.unresolved}"
        ]
        if self.time_deviation == np.inf:
            lines.append("more or fewer spikes than in the reference")
        elif self.time_deviation is not None:
            lines.append(f"spike times: {self.time_deviation * 1e3:.1e} ms from the reference's")
        if self.convergence:
            tie = "a spike causes another within a step, or two arrive at one instant"
            why = tie if self.linear else "the model is nonlinear"
            steps = ", ".join(f"{e:.1e} at {dt * 1e3:g} ms" for dt, e in self.convergence)
            order = "below rounding" if self.order is None else f"observed order in dt {self.order:.1f}"
            lines.append(f"{why}; whole gradient from the reference's: {steps}; {order}")
        return lines + [f"beyond tolerance: {f}" for f in self.failures]

    def table(self) -> Table:
        """The report as a table of rich, for printing."""
        from rich.table import Table

        result = Table(
            title=f"{self.name}, {self.target}, dt = {self.dt * 1e3:g} ms: "
            + ("agrees" if self.ok else "DISAGREES")
            + f" (tolerance {self.tolerance:.0e})",
            caption="\n".join([*self.remarks(), f"* below {FLOOR:g} of the loss: deviations are relative to that"]),
            title_justify="left",
            caption_justify="left",
        )
        for name in ("gradient of", "elements", "|dL/dp|·p/L", "from differences", "(resolved to)", "from reference"):
            result.add_column(name, justify="left" if name == "gradient of" else "right", no_wrap=True)
        for r in self.rows:
            oracle = "" if r.oracle is None else f"{r.oracle:.1e}"
            star = "*" if r.absolute else ""
            result.add_row(
                *(r.key, f"{r.elements[0]}/{r.elements[1]}", f"{r.norm:.2e}{star}"),
                *(f"{r.differences:.1e}", f"{r.resolution:.0e}", oracle),
            )
        return result

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=120, no_color=True)
        with console.capture() as capture:
            console.print(self.table())
        return capture.get()
