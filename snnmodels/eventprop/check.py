"""Check of a gradient: against differences of the simulated loss, and against the event-driven reference."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import oracle as reference
from ..symbolic.system import HybridSystem
from ..templates import load_model, load_network
from ..templates.model import Model
from ..templates.network import Network
from ..templates.values import with_values
from .gradient_report import FLOOR, REFINEMENTS, GradientReport, GradientRow
from .probe import Probe, SmoothMaxima, SmoothSpikeTimes, probe, random_inputs
from .protocol import Loss, Outcome
from .replicas import Nothing, copies_of, divided, side_by_side
from .grid import GridSimulation as Simulation, Target, UnresolvedSpikes

__all__ = ["check_gradient"]

STEPS = (2e-4, 4e-5, 8e-6, 1.6e-6)  # of the differences, relative to the size of what is changed
INPUT_SIZE = 2e-3  # seconds; spike times are changed relative to it
FINE = 400  # steps per trial from which on the convergence to the reference is observed
ENTRIES = 4e6  # largest weight matrix for which copies are simulated side by side


def check_gradient(
    model: str | Path | Model | Network | Probe,
    *,
    target: Target = "numpy",
    dt: float = 0.5e-3,
    seed: int = 0,
    trials: int = 2,
    tolerance: float = 1e-6,
    oracle: bool = True,
    recurrent: bool = False,
    loss: Loss | None = None,
    inputs: Mapping[str, np.ndarray] | None = None,
    targets: np.ndarray | None = None,
    elements: int = 24,
    **options: Any,
) -> GradientReport:
    """Compare a gradient with central differences of the simulated loss, and with the event-driven reference.

    Every parameter of the model is learnable in the small network that is made for a model: four sources, three hidden
    and two output neurons, weights of a size at which they spike a few times. The loss is a polynomial of the output's
    spike times (or of its largest potential, if it doesn't spike).

    Parameters
    ----------
    model : str, Path, Model, Network or Probe
        Names of the library joined by plus signs, the path of a template of your own, or a model or network made of
        them. A network is checked as it is, with what it declares learnable. The `probe` of a model may be made once
        and given again.
    target : {"numpy", "cython", "cpp_standalone"}
    dt : float
        Seconds.
    seed : int
        Of weights and inputs.
    trials : int
    tolerance : float
        Largest deviation allowed, relative in norm for each group.
    oracle : bool
        Whether to run the reference, which takes seconds (and for a large network, minutes).
    recurrent : bool
        Whether hidden neurons project onto each other (only where a model is given).
    loss : Loss, optional
        For a network; by default a smooth function of all output neurons.
    inputs : mapping of str to array, optional
        For a network; by default two random spikes per source in the first half of the trial.
    targets : array, optional
        For a loss that needs them.
    elements : int
        How many elements of each group are changed for the differences, drawn at random if there are more.
    **options
        Passed to `Simulation` (``order``, ``max_spikes``, ...).

    Returns
    -------
    GradientReport

    Raises
    ------
    ProbeError
        If no weights make the model spike.
    ValueError
        If the output of a given network doesn't spike with the inputs, or the network doesn't fit the options.
    """
    subject = _subject(model, seed, trials, recurrent, loss, inputs, targets)
    check = _Check(subject, target, dt, {"input_spikes": _most(subject.inputs), **options}, elements, seed)
    return check.report(tolerance, oracle)


def _most(inputs: Mapping[str, np.ndarray]) -> int:
    """The capacity that input spikes need."""
    return max((np.shape(t)[2] if np.ndim(t) == 3 else 1 for t in inputs.values()), default=1)


def _subject(
    model: str | Path | Model | Network | Probe,
    seed: int,
    trials: int,
    recurrent: bool,
    loss: Loss | None,
    inputs: Mapping[str, np.ndarray] | None,
    targets: np.ndarray | None,
) -> Probe:
    """What is checked: the network given, or one made for a model."""
    if isinstance(model, str | Path):
        model = _load(model)
    if isinstance(model, Model | Probe) and not (loss is None and inputs is None and targets is None):
        raise ValueError("loss, inputs and targets belong to a network; for a model they are made")
    if isinstance(model, Probe):
        return model
    if isinstance(model, Model):
        return probe(model, seed=seed, trials=trials, recurrent=recurrent)
    if recurrent:
        raise ValueError("recurrent is for a model; a network has the projections that it declares")
    if inputs is None:
        inputs = random_inputs(model, trials, np.random.default_rng(seed))
    if loss is None:
        output = next(p for p in model.populations if p.name == model.output).model
        variable = "v" if "v" in output.state_names else output.state_names[0]
        loss = SmoothSpikeTimes() if output.spiking else SmoothMaxima(variable, 1.0)
    if targets is None:
        targets = np.zeros(len(next(iter(inputs.values()))), dtype=int)
    return Probe(model, inputs, loss, targets)


def _load(name: str | Path) -> Model | Network:
    """A network's file or name, else a model."""
    import tomllib

    from ..templates import catalogue

    path = Path(name)
    if path.suffix == ".toml" and path.is_file():
        try:
            is_network = tomllib.loads(path.read_text(encoding="utf-8")).get("kind") == "network"
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            is_network = False  # loading it as a model says what is wrong
        return load_network(path) if is_network else load_model(path)
    if str(name) in {e.name for e in catalogue() if e.kind == "network"}:
        return load_network(name)
    return load_model(name)


@dataclass(frozen=True)
class _Change:
    """One element of one group, its index in the flattened array, and by how much."""

    key: str
    index: int
    amount: float


class _Check:
    """One network at one time step on one target."""

    def __init__(
        self, subject: Probe, target: Target, dt: float, options: Mapping[str, Any], elements: int, seed: int
    ) -> None:
        self.subject, self.target, self.dt, self.options = subject, target, dt, dict(options)
        self.elements, self.rng = elements, np.random.default_rng(seed)
        self.trainable = subject.network.trainable()
        self.groups = {**self.trainable, **{f"{k}.times": np.asarray(v) for k, v in subject.inputs.items()}}

    def _simulation(self, dt: float, target: Target) -> Simulation:
        trials = len(self.subject.targets)
        return Simulation(
            self.subject.network, self.subject.loss, batch_size=trials, dt=dt, target=target, **self.options
        )

    def report(self, tolerance: float, oracle: bool) -> GradientReport:
        s = self.subject
        with self._simulation(self.dt, self.target) as simulation:
            outcome = self._run(simulation)
            spikes = {p.name: simulation.spike_times(p.name).copy() for p in s.network.populations if p.model.spiking}
            if not any(v[: len(s.targets)].min(initial=np.inf) < np.inf for v in spikes.values()):
                raise ValueError(f"no neuron of network {s.network.name!r} spikes with these inputs; give others")
            chosen = {key: self._choose(key) for key in self.groups}
            estimates = self._differences(simulation, chosen)
        exact = reference.gradient(s.network, s.inputs, s.loss, s.targets) if oracle else None
        rows = tuple(self._row(key, outcome, chosen[key], *estimates[key], exact) for key in self.groups)
        systems = [HybridSystem.from_model(p.model) for p in s.network.populations]
        report = GradientReport(
            *(s.network.name, self.target, self.dt, tolerance, rows, outcome.loss, outcome.spikes),
            *(outcome.smallest_gdot, outcome.unresolved, all(x.is_linear for x in systems)),
            None if exact is None else _time_deviation(spikes, exact.spikes),
        )
        if exact is None or report.exact:
            return report
        return dataclasses.replace(report, convergence=self._convergence(outcome, exact))

    def _run(self, simulation: Simulation) -> Outcome:
        with _quietly():
            return simulation.run(self.subject.inputs, self.subject.targets)

    # --- differences ----------------------------------------------------------------------------------------------

    def _size(self, key: str) -> float:
        """What a relative change of a group refers to."""
        if key.endswith(".times") and key not in self.trainable:
            return INPUT_SIZE
        largest = float(np.abs(self.groups[key]).max(initial=0.0))
        if largest > 0:
            return largest
        # a parameter that is 0: its peers in the same unit know the scale
        population, _, name = key.partition(".")
        p = next((p for p in self.subject.network.populations if p.name == population), None)
        if p is None:
            return 1.0
        unit = p.model.parameters[name].unit
        alike = [np.abs(p.value(n)).max() for n, q in p.model.parameters.items() if q.unit == unit]
        return float(max(alike)) or 1.0

    def _choose(self, key: str) -> np.ndarray:
        """Indices of the elements that are changed: connections that exist, spikes that stay within the trial."""
        values = self.groups[key]
        eligible = np.ones(values.shape, dtype=bool)
        if key.endswith(".times") and key not in self.trainable:
            reach = 2 * STEPS[0] * INPUT_SIZE
            eligible = np.isfinite(values) & (values > reach) & (values < self.subject.network.duration - reach)
        for q in self.subject.network.projections:
            if key == f"{q.name}.w" and q.mask is not None:
                eligible = np.asarray(q.mask, dtype=bool)
        indices = np.flatnonzero(eligible)
        if len(indices) > self.elements:
            indices = np.sort(self.rng.choice(indices, self.elements, replace=False))
        return indices

    def _differences(
        self, simulation: Simulation, chosen: Mapping[str, np.ndarray]
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """For every group the derivatives by its chosen elements, and how well the differences resolve them.

        Central differences of fourth order with several steps; of each element's pairs of neighbouring estimates the
        closest one counts. A long step may carry a spike across a kink of the loss (of a nonlinear model, across a jump
        by the discretisation error, at every grid point); a short one drowns in rounding.
        """
        points = sorted({sign * m * h for h in STEPS for m in (1, 2) for sign in (-1, 1)})
        sizes = {key: self._size(key) for key in chosen}
        changes = [_Change(key, int(i), p * sizes[key]) for key, found in chosen.items() for i in found for p in points]
        losses = np.array(self._losses(simulation, changes)).reshape(-1, len(points))
        at = {p: losses[:, k] for k, p in enumerate(points)}
        result, start = {}, 0
        estimates = np.stack([(8 * (at[h] - at[-h]) - (at[2 * h] - at[-2 * h])) / (12 * h) for h in STEPS])
        apart = np.abs(np.diff(estimates, axis=0))
        best = apart.argmin(axis=0)
        rows = np.arange(estimates.shape[1])
        values, resolution = estimates[best + 1, rows], apart[best, rows]
        for key, indices in chosen.items():
            piece = slice(start, start + len(indices))
            result[key] = (values[piece] / sizes[key], resolution[piece] / sizes[key])
            start += len(indices)
        return result

    def _changed(self, change: _Change) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Trainable values and inputs with one element changed."""
        values = np.array(self.groups[change.key], dtype=float)
        values.flat[change.index] += change.amount
        if change.key in self.trainable:
            return {**self.trainable, change.key: values}, dict(self.subject.inputs)
        return dict(self.trainable), {**self.subject.inputs, change.key.removesuffix(".times"): values}

    def _losses(self, simulation: Simulation, changes: Sequence[_Change]) -> list[float]:
        changed = [self._changed(c) for c in changes]
        sizes = [np.size(q.weights) for q in self.subject.network.projections]
        together = int(np.sqrt(ENTRIES / max(sizes))) if self.target != "cpp_standalone" else 0
        if together < 8:
            return [self._loss(simulation, *c) for c in changed]
        s, losses = self.subject, []
        for k in range(0, len(changed), together):
            some = changed[k : k + together]
            network = copies_of([with_values(s.network, values) for values, _ in some])
            observe = Nothing(s.loss.observable, s.loss.variable, s.loss.interval)
            trials = len(s.targets)
            with (
                Simulation(
                    network, observe, batch_size=trials, dt=self.dt, target=self.target, **self.options
                ) as copies,
                _quietly(),
            ):
                inputs = side_by_side([i for _, i in some])
                observed = copies.run(inputs, s.targets, gradient=False).output
            losses += [s.loss.evaluate(o, s.targets).value for o in divided(observed, len(some))]
        return losses

    def _loss(self, simulation: Simulation, values: dict[str, np.ndarray], inputs: dict[str, np.ndarray]) -> float:
        with _quietly():
            return simulation.run(inputs, self.subject.targets, values, gradient=False).loss

    # --- comparisons ----------------------------------------------------------------------------------------------

    def _row(
        self,
        key: str,
        outcome: Outcome,
        chosen: np.ndarray,
        differences: np.ndarray,
        resolution: np.ndarray,
        exact: reference.OracleGradient | None,
    ) -> GradientRow:
        found = np.asarray(outcome.gradients[key])
        unit = self._size(key) / max(abs(outcome.loss), 1e-300)
        norm = float(np.linalg.norm(found) * unit)
        compared = max(float(np.linalg.norm(differences) * unit), FLOOR)
        deviation = np.linalg.norm(found.flat[chosen] - differences) * unit / compared
        oracle = None
        if exact is not None:
            other = np.asarray(exact.gradients[key])
            oracle = float(np.linalg.norm(found - other) * unit / max(np.linalg.norm(other) * unit, FLOOR))
        total = int(np.isfinite(self.groups[key]).sum())
        return GradientRow(
            *(key, (len(chosen), total), norm, float(deviation)),
            *(float(np.linalg.norm(resolution) * unit / compared), oracle),
        )

    def _convergence(self, outcome: Outcome, exact: reference.OracleGradient) -> tuple[tuple[float, float], ...]:
        """Deviation of the whole gradient from the reference at this time step and at smaller ones.

        A spike may rise in far less time than the step asked for; an order shows only where the rise is resolved.
        """
        fine = self.dt
        while fine * FINE > self.subject.network.duration * (1 + 1e-9):
            fine /= 2
        steps = [fine / 2**k for k in range(REFINEMENTS)]
        result = [(self.dt, self._whole(outcome, exact))]
        for dt in steps[1:] if fine == self.dt else steps:
            with self._simulation(dt, "numpy") as simulation:
                result.append((dt, self._whole(self._run(simulation), exact)))
        return tuple(result)

    def _whole(self, outcome: Outcome, exact: reference.OracleGradient) -> float:
        sizes = {key: self._size(key) for key in self.groups}
        off = sum((np.linalg.norm(outcome.gradients[k] - exact.gradients[k]) * u) ** 2 for k, u in sizes.items())
        return float(np.sqrt(off / sum((np.linalg.norm(exact.gradients[k]) * u) ** 2 for k, u in sizes.items())))


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the warning of unresolved spikes: the report counts them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnresolvedSpikes)
        yield


def _time_deviation(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> float:
    """Largest distance between spike times, inf where their numbers differ."""
    worst = 0.0
    for name, times in found.items():
        other = expected[name]
        k = max(times.shape[2], other.shape[2])
        a, b = (np.concatenate([t, np.full((*t.shape[:2], k - t.shape[2]), np.inf)], axis=2) for t in (times, other))
        if not np.array_equal(np.isfinite(a), np.isfinite(b)):
            return float("inf")
        there = np.isfinite(a)
        worst = max(worst, float(np.abs(a[there] - b[there]).max(initial=0.0)))
    return worst
