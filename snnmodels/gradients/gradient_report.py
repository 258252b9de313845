"""What a check of a gradient found, as numbers and as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["FLOOR", "GradientReport", "GradientRow"]

_LEGEND = (
    "elements: how many of each group were changed for the differences; the reference compares all of them\n"
    "|dL/dp|·p/L: relative change of the loss by relative changes of the group; resolved to: what differences can tell"
)
FLOOR = 1e-3  # gradients whose relative effect on the loss is smaller than this are compared with this instead
_STAR = f"* below {FLOOR:g} of the loss: deviations are relative to that"
CLEAR = 10  # a deviation this many times what the differences resolve is one, however little they resolve


@dataclass(frozen=True)
class GradientRow:
    """One group of weights, delays, input times, or one parameter of a population.

    Attributes
    ----------
    key : str
        As in `Simulation.run`.
    elements : tuple of int
        How many were compared with differences, of how many.
    norm : float
        Relative change of the loss by relative changes of the group, in norm: |dL/dp|·size/|L|.
    differences : float
        Deviation from central differences, relative in norm; for a group with a `norm` below 0.001, relative to that.
    resolution : float
        What the differences resolve, in the same unit: less can't be seen.
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

    def resolved(self, tolerance: float) -> bool:
        """Whether differences can tell if the gradient is within a tolerance."""
        told = not self.resolution > tolerance or self.differences > CLEAR * self.resolution
        return self.elements[0] > 0 and told

    def judged(self, tolerance: float) -> bool:
        """Whether anything can tell if the gradient is within a tolerance; nothing has to, of an empty group."""
        return self.oracle is not None or self.resolved(tolerance) or not self.elements[1]


@dataclass(frozen=True)
class GradientReport:
    """What `check_gradient` found.

    Attributes
    ----------
    name, target : str
    tolerance : float
    rows : tuple of GradientRow
    loss : float
    spikes : mapping of str to float
        Spikes per trial of each population.
    smallest_gdot : float
        Smallest rate at which an event function crossed 0; the gradient has a pole at 0.
    ties : int
        Instants at which several spikes arrived at a population, or several of its neurons spiked.
    time_deviation : float or None
        Largest distance of a spike time from the reference's, in seconds; ``inf`` if there are more or fewer spikes.
    instead : str
        What was differentiated in the place of the loss that the network declares; empty if that was.
    """

    name: str
    target: str
    tolerance: float
    rows: tuple[GradientRow, ...]
    loss: float
    spikes: Mapping[str, float]
    smallest_gdot: float
    ties: int
    time_deviation: float | None
    instead: str = ""

    @cached_property
    def failures(self) -> tuple[str, ...]:
        """What is beyond tolerance, one line each."""
        lines = []
        late = 0.0 if self.time_deviation is None else self.time_deviation * 1e3
        if late == np.inf:
            lines.append("more or fewer spikes than in the reference")
        elif late > self.tolerance:
            lines.append(f"spike times: {late:.1e} ms from the reference's")
        for row in self.rows:
            if row.resolved(self.tolerance) and not row.differences <= self.tolerance:
                lines.append(f"{row.key}: {row.differences:.1e} from central differences")
            if row.oracle is not None and late != np.inf and not row.oracle <= self.tolerance:
                lines.append(f"{row.key}: {row.oracle:.1e} from the reference")
        return tuple(lines)

    @cached_property
    def unresolved(self) -> tuple[str, ...]:
        """Groups whose differences don't resolve the tolerance, so that they say nothing."""
        return tuple(r.key for r in self.rows if r.elements[0] and not r.resolved(self.tolerance))

    @cached_property
    def unjudged(self) -> tuple[str, ...]:
        """Groups of which nothing tells whether the gradient is within the tolerance."""
        return tuple(r.key for r in self.rows if not r.judged(self.tolerance))

    @property
    def verdict(self) -> Literal["agrees", "DISAGREES", "UNRESOLVED"]:
        """One of three.

        The gradient DISAGREES if anything that was compared is beyond tolerance, and agrees if all is within and every
        group was compared with something that can tell; else the question is UNRESOLVED.
        """
        if self.failures:
            return "DISAGREES"
        return "UNRESOLVED" if self.unjudged or not self.rows else "agrees"

    @property
    def ok(self) -> bool:
        """Whether the gradient agrees."""
        return self.verdict == "agrees"

    def remarks(self) -> list[str]:
        """Sentences for below the table."""
        slope = f"smallest |ġ| {self.smallest_gdot:.3g} per second; " if np.isfinite(self.smallest_gdot) else ""
        lines = [
            f"loss {self.loss:.6g}; spikes per trial: {', '.join(f'{k} {v:g}' for k, v in self.spikes.items())}; "
            f"{slope}ties: {self.ties}"
        ]
        if not slope and any(self.spikes.values()):
            lines.append("all spikes are caused at once: their times are those of arrivals or of releases")
        if self.ties:
            lines.append("where events meet at one instant the loss may have a kink, and the gradient be one-sided")
        if self.instead:
            lines.append(
                f"not of the network's own loss, which needs targets, but of {self.instead}; check_gradient(network, "
                "inputs=..., targets=...) checks that, and snnmodels check-gradient FILE --data TRIALS.npz"
            )
        if none := [r.key for r in self.rows if r.norm == 0 and r.elements[1]]:
            lines.append(f"no effect on this loss, so that nothing was tested: {', '.join(none)}")
        if self.time_deviation is not None and np.isfinite(self.time_deviation):
            lines.append(f"spike times: {self.time_deviation * 1e3:.1e} ms from the reference's")
        if self.unresolved:
            lines.append(f"differences don't resolve the tolerance for {', '.join(self.unresolved)}: not counted")
        if self.unjudged:
            lines.append(f"nothing tells whether the gradient is right for {', '.join(self.unjudged)}")
        return lines + [f"beyond tolerance: {f}" for f in self.failures]

    def table(self) -> Table:
        """The report as a table of rich, for printing."""
        from rich.table import Table

        result = Table(
            title=f"{self.name}, {self.target}: {self.verdict} (tolerance {self.tolerance:.0e})",
            caption="\n".join([*self.remarks(), _LEGEND, *([_STAR] if any(r.absolute for r in self.rows) else [])]),
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
