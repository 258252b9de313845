"""What a fit has found: values with their uncertainty, how good they are, and the model as a template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..gradients.simulation import Simulation
from ..losses.observables import Observable, Samples, SpikeTimes
from ..targets import Target
from ..templates.model import Model
from ..templates.saving import save_model
from .candidates import driven_network
from .coincidence import WINDOW
from .polishing import Bends
from .recording import Recording
from .space import Space

__all__ = ["FitResult", "simulate_sweeps"]

Array = np.ndarray

_FLAT = 1e-8  # of the largest curvature: below, a direction is not seen by the data
_EDGE = 0.01  # of the range of a parameter: nearer to a bound, it has ended there
_NEAR = 0.1  # standard errors: a Newton step that is shorter ends at the minimum
_HALF = 0.5  # of the coincidence that could be had: with less, spikes are hardly those of the neuron
_ROUNDING = 1e-9  # of the range of a parameter: what a step is without meaning


def simulate_sweeps(
    model: Model,
    recording: Recording,
    values: Mapping[str, float],
    input: str,
    *,
    variable: str = "",
    interval: float = 0.5e-3,
    target: Target = "numpy",
) -> list[tuple[Array, Array]]:
    """Spikes and sampled potential of one neuron in every sweep of a recording.

    Parameters
    ----------
    model : Model
    recording : Recording
    values : mapping of str to float
        Parameters that are not the model's own, in SI base units.
    input : str
        That the current drives.
    variable : str
        State that is sampled; none if empty.
    interval : float
        Seconds between samples, which begin after the first.
    target : str

    Returns
    -------
    list of (spikes, samples)
        Of every sweep: seconds, and the state in SI base units.
    """
    found = []
    for sweep in recording.sweeps:
        network = driven_network(model, (), values, 1, dt=sweep.dt, duration=sweep.duration, input=input)
        reads: list[Observable] = [SpikeTimes("cells")] if model.spiking else []
        reads += [Samples("cells", variable, interval)] if variable else []
        with Simulation(network, reads, batch_size=1, target=target) as simulation:
            seen = simulation.forward({"current": sweep.current[None, None]}, gradient=False)
        arrays = list(seen) if isinstance(seen, tuple) else [seen]
        times = arrays.pop(0)[0, 0] if model.spiking else np.empty(0)
        found.append((times[np.isfinite(times)], arrays[0][0, 0] if variable else np.empty(0)))
    return found


@dataclass(frozen=True)
class FitResult:
    """A fitted model.

    Attributes
    ----------
    values : dict of str to float
        Fitted parameters in SI base units, the delay among them where it was free.
    units : dict of str to str
        Their base units.
    loss : float
        Weighted sum of the terms of `weights`.
    spikes : tuple of array
        Of the fitted model in every sweep, in seconds, the delay included.
    coincidence : tuple of (float, float)
        Of every sweep, mean coincidence factor at `WINDOW` with the repetitions, and that of these with one another (1
        where there is one); NaN where no spikes were recorded, or so many that all coincide by chance.
    count : int
        Spikes and samples of the recording that were compared.
    bends : Bends
        A loss at the result, and its derivatives by places between the bounds: the mean square of the deviations of
        spikes that have recorded ones within `WINDOW` where spikes are fitted (its second derivatives after Gauss and
        Newton), else that of `weights`.
    simulations : int
        Sweeps simulated, one for each candidate, forced ones for each repetition.
    seconds : float
        Wall time.
    noise : float or None
        Standard deviation of the noise with which was searched, in the unit of the current; `loss` is then the distance
        averaged over such noise (`MeanTrainDistance.between`) and, `Noise.alone` times, that without; else the latter.
    stages : tuple of str
        What each stage of the search found, a line each.
    polish : str
        How many steps it took, and why it ended.
    model, recording, input, fixed, weights, space, place
        What was fitted.
    """

    model: Model = field(repr=False)
    recording: Recording = field(repr=False)
    input: str
    fixed: Mapping[str, float]
    values: dict[str, float]
    units: dict[str, str]
    weights: Mapping[str, float]
    loss: float
    bends: Bends = field(repr=False)
    space: Space = field(repr=False)
    place: Array = field(repr=False)
    count: int
    spikes: tuple[Array, ...] = field(repr=False)
    coincidence: tuple[tuple[float, float], ...]
    simulations: int
    seconds: float
    noise: float | None
    stages: tuple[str, ...] = field(repr=False)
    polish: str

    @property
    def at_bounds(self) -> tuple[str, ...]:
        """Parameters that ended at one of their bounds."""
        return tuple(n for n, x in zip(self.space.names, self.place, strict=True) if min(x, 1 - x) < _EDGE)

    @property
    def converged(self) -> bool:
        """Whether the result is at a minimum, so that there are standard errors."""
        return not self.not_converged

    @cached_property
    def not_converged(self) -> str:
        """Why there are no standard errors; empty where the result is at a minimum.

        They hold at the minimum of a loss that is smooth there. What was searched under noise is at none; spikes
        without counterpart are in no deviation; and elsewhere a Newton step from the result, along parameters that are
        at no bound, has to be less than a tenth of the standard error of each.
        """
        if self.noise:
            return "searched under noise, whose distance is no sum of squares and has steps everywhere"
        bends, k = self.bends, len(self.values)
        if bends.odd:
            return f"{bends.odd} spikes, recorded or the model's, have no counterpart within {1e3 * WINDOW:g} ms"
        if not self._alone and bends.count <= k:
            return f"{bends.count} data for {k} parameters"
        curvatures, vectors = np.linalg.eigh(bends.hessian)
        if curvatures.min() < -1e-6 * np.abs(curvatures).max():
            return "the loss is no minimum along every direction, but falls along one"
        inside = np.array([name not in self.at_bounds for name in self.space.names])
        step = np.zeros(k)
        if inside.any():
            curvatures, vectors = np.linalg.eigh(bends.hessian[np.ix_(inside, inside)])
            seen = curvatures > _FLAT * max(curvatures.max(), 1e-300)
            step[inside] = vectors[:, seen] @ (vectors[:, seen].T @ bends.slope[inside] / curvatures[seen])
        with np.errstate(divide="ignore", invalid="ignore"):
            off = np.where(np.abs(step) > _ROUNDING, np.abs(step) / self._spread, 0.0)
        worst = int(np.argmax(off))
        if off[worst] > _NEAR:
            name = self.space.names[worst]
            far = f"{name} is {off[worst]:.2g} standard errors from where the loss would be least"
            return f"{far}; polish: {self.polish}"
        return ""

    @property
    def errors(self) -> dict[str, float]:
        """Standard errors in SI base units: inf where the data do not tell, NaN if the fit has not converged.

        The covariance is 2 L/(n - parameters) times the inverse of the second derivatives, for a loss L that is a mean
        of n squares (Seber & Wild 2003, Nonlinear Regression, section 2.1), or the inverse of n times these for a
        likelihood alone. Both take the model for right: what a jump of the loss beside it hides is not in them.
        """
        spread = self._spread * self.space.slopes(self.place) if self.converged else np.full(len(self.place), np.nan)
        return dict(zip(self.space.names, spread.tolist(), strict=True))

    @property
    def misfit(self) -> str:
        """What says that the model is not right, for which standard errors take it; empty where nothing does.

        A voltage that is followed no better than by a constant, whose term of the loss is 1, or spikes of which less
        than half of what the neuron itself repeats coincide. That nothing says so is no proof.
        """
        if set(self.weights) == {"voltage"} and self.loss >= self.weights["voltage"]:
            return "the voltage is followed no better than by a constant"
        few = [k for k, (factor, reliability) in enumerate(self.coincidence) if factor < _HALF * reliability]
        if few:
            factor, reliability = self.coincidence[few[0]]
            return f"the coincidence in sweep {few[0]} is {factor:.2g}, where {reliability:.2g} is what could be had"
        return ""

    @property
    def undetermined(self) -> tuple[str, ...]:
        """Parameters that the data do not determine: their spread is more than a quarter of their range.

        By the second derivatives where the fit has ended, whether it has converged or not.
        """
        ranges = {name: b.high - b.low for name, b in self.space.bounds.items()}
        spread = self._spread * self.space.slopes(self.place)
        named = zip(self.space.names, spread.tolist(), strict=True)
        return tuple(name for name, error in named if not error <= ranges[name] / 4)

    @property
    def _alone(self) -> bool:
        """Whether the loss is a likelihood and nothing else."""
        return set(self.weights) == {"likelihood"}

    @cached_property
    def _spread(self) -> Array:
        """Standard errors of places between the bounds, as if they were at a minimum."""
        bends = self.bends
        curvatures, vectors = np.linalg.eigh(bends.hessian)
        seen = curvatures > _FLAT * max(curvatures.max(initial=0.0), 1e-300)
        size = 1 / self.count if self._alone else 2 * bends.loss / max(bends.count - len(self.values), 1)
        variance = ((vectors[:, seen] ** 2) / curvatures[seen]).sum(axis=1) * size
        hidden = (vectors[:, ~seen] ** 2).sum(axis=1) > 1e-3
        spread: Array = np.where(hidden, np.inf, np.sqrt(variance))
        return spread

    @property
    def fitted(self) -> dict[str, float]:
        """Values of the model's own parameters, fitted and fixed, in SI base units."""
        every = {**self.fixed, **self.values}
        return {name: value for name, value in every.items() if name in self.model.parameters}

    def save(self, path: str | Path, title: str = "") -> None:
        """Write the fitted model as a template that `load_model` reads.

        Parameters
        ----------
        path : str or Path
            Ends in ``.toml``.
        title : str
            Of the template.

        Raises
        ------
        ValueError, OSError
            As `save_model`.
        """
        told = ", ".join(f"{name} = {value:.6g} {self.units[name]}" for name, value in self.values.items())
        save_model(
            self.model, path, self.fitted, title=title or f"{self.model.title}, fitted",
            description=f"{self.model.description}\n\nFitted to a recording: {told}; loss {self.loss:.6g}.",
        )  # fmt: skip

    def summary(self) -> dict[str, Any]:
        """What a report keeps, as plain values; NaN and inf as None."""

        def plain(x: float) -> float | None:
            return float(x) if np.isfinite(x) else None

        errors = self.errors
        return {
            "model": self.model.name,
            "parameters": {
                name: {"value": value, "unit": self.units[name], "standard_error": plain(errors[name])}
                for name, value in self.values.items()
            },
            "fixed": dict(self.fixed),
            "converged": self.converged,
            "not_converged": self.not_converged,
            "misfit": self.misfit,
            "undetermined": list(self.undetermined),
            "at_bounds": list(self.at_bounds),
            "losses": dict(self.weights),
            "loss": self.loss,
            "coincidence": [{"factor": plain(f), "reliability": plain(r)} for f, r in self.coincidence],
            "spikes": [len(t) for t in self.spikes],
            "recorded": [
                float(np.mean([len(t) for t in s.spikes])) if s.spikes else None for s in self.recording.sweeps
            ],
            "simulations": self.simulations,
            "seconds": self.seconds,
            "noise": self.noise,
            "stages": list(self.stages),
            "polish": self.polish,
        }

    def __str__(self) -> str:
        errors, width = self.errors, max(map(len, self.values))
        lines = [f"{self.model.name}: loss {self.loss:.6g}, {self.simulations} simulations, {self.seconds:.1f} s"]
        for name, value in self.values.items():
            unit = "" if self.units[name] == "1" else f" {self.units[name]}"
            marks = []
            if self.converged:
                sure = np.isfinite(errors[name])
                marks.append(f"± {errors[name]:.2g}" if sure else "not determined by the data")
            elif name in self.undetermined:
                marks.append("not determined by the data")
            if name in self.at_bounds:
                marks.append("at a bound")
            lines.append(f"  {name.ljust(width)}  {value:.8g}{unit}" + (f"  ({', '.join(marks)})" if marks else ""))
        if not self.converged:
            lines.append(f"  not converged, so that there are no standard errors: {self.not_converged}")
        if self.misfit:
            lines.append(f"  take another model, other fixed values or wider bounds: {self.misfit}")
        for k, ((factor, reliability), train) in enumerate(zip(self.coincidence, self.spikes, strict=True)):
            if repetitions := self.recording.sweeps[k].spikes:
                recorded = float(np.mean([len(t) for t in repetitions]))
                told = f"  sweep {k}: {len(train)} spikes, of the neuron {recorded:.4g}"
                if not np.isfinite(factor):
                    lines.append(f"{told}; at this rate all coincide within {WINDOW * 1e3:g} ms by chance")
                    continue
                told += f", coincidence {factor:.3f} at {WINDOW * 1e3:g} ms"
                if reliability not in (0, 1):
                    told += f"; relative to that of the repetitions {factor / reliability:.3f}"
                lines.append(told)
        return "\n".join(lines)
