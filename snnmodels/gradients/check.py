"""Check of a gradient: against differences of the simulated loss, and against the event-driven reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..datasets.targets import named_targets
from ..losses import load_network, loss_of
from ..losses.base import Loss
from ..losses.integrals import with_integrals
from ..symbolic.declaration import hybrid_system
from ..targets import Target
from ..templates import load_model
from ..templates.arguments import check_callable, check_kind, check_numbers, check_seed, check_whole
from ..templates.groups import MOST
from ..templates.library import kind_of
from ..templates.model import Model
from ..templates.network import Network
from ..templates.spike_times import with_room
from .batches import count_trials
from .gradient_report import FLOOR, GradientReport, GradientRow
from .probe import Probe, SmoothMaxima, SmoothSpikeTimes, probe, random_inputs
from .simulation import Simulation
from .source import Outcome

if TYPE_CHECKING:
    from .. import oracle as reference

__all__ = ["check_gradient"]

# Of the differences, relative to the size of what is changed. The first resolves most; a shorter one is needed where
# the loss is steep, a longer one where its rounding (or a flow's tolerance) is large.
STEPS = (1e-4, 1e-5, 1e-3)
RESOLVED = 0.1  # of the tolerance: differences that resolve this need no other step
ROUNDING = 1e-10  # no difference is asked to resolve less
DIGITS = 4 * float(np.finfo(float).eps)  # of a loss, that its differences can't tell
TIME_SIZE = 2e-3  # seconds; spike times and delays are changed relative to it


def check_gradient(
    model: str | Path | Model | Network | Probe,
    *,
    target: Target | None = None,
    seed: int = 0,
    trials: int | None = None,
    tolerance: float = 1e-6,
    oracle: bool = True,
    recurrent: bool = False,
    loss: Loss | None = None,
    inputs: Mapping[str, np.ndarray] | None = None,
    targets: np.ndarray | Mapping[str, np.ndarray] | None = None,
    elements: int | None = None,
    flow_tolerance: float = 1e-10,
    progress: Callable[[str], None] | None = None,
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
    target : {"numpy", "cpp_standalone", "cuda_standalone"}, optional
        Unless given, ``"numpy"`` for linear models; for others ``"cpp_standalone"``, which is faster by orders of
        magnitude and takes half a minute to compile once, where there is a C++ compiler.
    seed : int
        Of weights and inputs.
    trials : int, optional
        2, or 1 where a model is not linear, unless given.
    tolerance : float
        Largest deviation allowed, relative in norm for each group; of spike times, in milliseconds.
    oracle : bool
        Whether to run the reference, which takes seconds (and for a large network, minutes).
    recurrent : bool
        Whether hidden neurons project onto each other (only where a model is given).
    loss : Loss, optional
        For a network; by default a smooth function of all output neurons, or where targets are given the loss that the
        network declares.
    inputs : mapping of str to array, optional
        For a network; by default two random spikes per source in the first half of the trial. One with currents needs
        them.
    targets : array or mapping of str to array, optional
        For a loss that needs them.
    elements : int, optional
        How many elements of each group are changed for the differences, drawn at random if there are more: 6, or 1
        where a model is not linear and a simulation in NumPy takes long, unless given.
    flow_tolerance : float
        `tolerance` of the `Simulation`, for nonlinear flows.
    progress : callable, optional
        Told in words what comes next.
    **options
        Passed to `Simulation` (``window``, ``threads``, ...).

    Returns
    -------
    GradientReport

    Raises
    ------
    ProbeError
        If no weights make the model spike.
    ValueError
        For an argument of another kind. If the loss has a surrogate gradient, no neuron of a given network spikes with
        the inputs, or the network doesn't fit the options.
    """
    check_seed(seed)
    check_numbers(tolerance=tolerance)
    for name, n, least in (("trials", trials, 1), ("elements", elements, 0)):
        if n is not None:
            check_whole(name, n, least)
    for name, flag in (("oracle", oracle), ("recurrent", recurrent)):
        check_kind(name, flag, bool, "True or False")
    if progress is not None:
        check_callable("progress", progress, "a function of a text")
    check_kind("loss", loss, (Loss, type(None)), "a Loss, such as TTFSCrossEntropy()")
    if loss is not None and loss.surrogates:
        raise ValueError(
            f"the loss has the surrogate {loss.surrogates[0]!r} in the place of a derivative that is 0: what it "
            "gives is no derivative, which could be checked"
        )
    say = progress or (lambda _: None)
    if isinstance(model, str | Path):
        model = load_network(model) if kind_of(model) == "network" else load_model(model)
    check_kind("model", model, (Model, Network, Probe), "a Model or a Network, or the name of one, such as 'lif'")
    if target is None:
        target = _target_for(model)
        say(f"simulating on {target}")
    say("deriving the adjoint, and looking for weights with which the network spikes a few times")
    subject = _subject(model, seed, trials, recurrent, target, loss, inputs, targets)
    if elements is None:
        elements = 1 if target == "numpy" and not _linear(_simulated(subject)) else 6
    options = {**options, "target": target, "tolerance": flow_tolerance}
    return _Check(subject, tolerance, elements, seed, options, say).report(oracle)


def _target_for(model: Model | Network | Probe) -> Target:
    """What is fastest from the beginning: nonlinear flows take NumPy far longer than a compiler its program."""
    network = model.network if isinstance(model, Probe) else model
    linear = _linear(network) if isinstance(network, Network) else hybrid_system(network).is_linear
    if linear:
        return "numpy"
    from ..targets.devices import CompilerMissing, require_compiler  # with Brian2

    try:
        require_compiler()
    except CompilerMissing:
        return "numpy"
    return "cpp_standalone"


def _subject(
    model: Model | Network | Probe,
    seed: int,
    trials: int | None,
    recurrent: bool,
    target: Target,
    loss: Loss | None,
    inputs: Mapping[str, np.ndarray] | None,
    targets: np.ndarray | Mapping[str, np.ndarray] | None,
) -> Probe:
    """What is checked: the network given, or one made for a model."""
    if isinstance(model, Model | Probe) and not (loss is None and inputs is None and targets is None):
        raise ValueError("loss, inputs and targets belong to a network; for a model they are made")
    if isinstance(model, Probe):
        return model
    if isinstance(model, Model):
        trials = trials or (2 if hybrid_system(model).is_linear else 1)
        return probe(model, seed=seed, trials=trials, recurrent=recurrent, target=target)
    if recurrent:
        raise ValueError("recurrent is for a model; a network has the projections that it declares")
    if inputs is None:
        inputs = random_inputs(model, trials or (2 if _linear(model) else 1), np.random.default_rng(seed))
    if loss is None and targets is not None and model.loss:
        loss = loss_of(model)
    if loss is None:
        output = model.population(model.output).model
        variable = "v" if "v" in output.state_names else output.state_names[0]
        loss = SmoothSpikeTimes() if output.spiking else SmoothMaxima(variable, 1.0)
    if targets is None:
        targets = np.zeros(count_trials(inputs, model, MOST), dtype=int)
    if isinstance(targets, Mapping):
        targets = named_targets(targets)
    return Probe(model, inputs, loss, targets)


def _simulated(subject: Probe) -> Network:
    """The network as it is simulated."""
    return with_integrals(subject.network, subject.loss.for_network(subject.network).observables)


def _linear(network: Network) -> bool:
    return all(hybrid_system(p.model).is_linear for p in network.populations)


_OWN_LOSSES = {
    SmoothSpikeTimes: "a polynomial of the first two spikes of every output neuron",
    SmoothMaxima: "a polynomial of the largest values of the output",
}


class _Check:
    """One network on one target."""

    def __init__(
        self,
        subject: Probe,
        tolerance: float,
        elements: int,
        seed: int,
        options: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> None:
        self.subject, self.tolerance, self.options, self.say = subject, tolerance, options, say
        self.network = _simulated(subject)
        self.elements, self.rng = elements, np.random.default_rng(seed)
        self.trainable = subject.network.trainable()
        self.inputs = {f"{i.name}.times": i.name for i in subject.network.inputs}
        self.inputs |= {f"{i.name}.samples": i.name for i in subject.network.currents}
        self.groups = {**self.trainable, **{k: np.asarray(subject.inputs[name]) for k, name in self.inputs.items()}}
        self.changed = ""  # the trainable group that the simulation has other values of

    def report(self, oracle: bool) -> GradientReport:
        s = self.subject
        self.say("simulating the network and differentiating its loss")
        with Simulation(s.network, s.loss, batch_size=len(s.targets), **self.options) as self.simulation:
            outcome, ties = self.simulation.run(s.inputs, s.targets), self.simulation.ties
            spiking = [p.name for p in s.network.populations if p.model.spiking]
            spikes = {name: self.simulation.spike_times(name) for name in spiking}
            if spikes and not any(np.isfinite(times).any() for times in spikes.values()):
                raise ValueError(f"no neuron of network {s.network.name!r} spikes with these inputs; give others")
            found = {}
            for k, key in enumerate(self.groups):
                self.say(f"differences of the loss by {key}, group {k + 1} of {len(self.groups)}")
                found[key] = self._differences(key, outcome.loss)
        exact = self._reference() if oracle else None
        return GradientReport(
            name=s.network.name,
            target=self.simulation.target,
            tolerance=self.tolerance,
            rows=tuple(self._row(key, outcome, found[key], exact) for key in self.groups),
            loss=outcome.loss,
            spikes=outcome.spikes,
            smallest_gdot=outcome.smallest_gdot,
            ties=ties,
            time_deviation=None if exact is None else _time_deviation(spikes, exact.spikes),
            instead=_OWN_LOSSES.get(type(s.loss), "") if s.network.loss else "",
        )

    def _reference(self) -> reference.OracleGradient:
        self.say("simulating and differentiating the reference")
        s = self.subject
        constant = _linear(self.network) and not s.network.drives
        from .. import oracle as reference  # with SciPy's integrators, which nothing else here needs

        method: reference.Method = "matrix-exponential" if constant else "runge-kutta"
        return reference.gradient(s.network, s.inputs, s.loss, s.targets, method=method)

    # --- differences ----------------------------------------------------------------------------------------------

    def _is_time(self, key: str) -> bool:
        network = self.subject.network
        delays = {f"{q.name}.delay" for q in network.projections}
        return key in delays or key in {f"{i.name}.times" for i in network.inputs}

    def _size(self, key: str) -> float:
        """What a relative change of a group refers to."""
        if self._is_time(key):
            return TIME_SIZE
        largest = float(np.abs(self.groups[key]).max(initial=0.0))
        if largest > 0:
            return largest
        # a parameter that is 0: its template knows the scale, or its peers in the same unit
        population, _, name = key.partition(".")
        p = next((p for p in self.subject.network.populations if p.name == population), None)
        if p is None:
            return 1.0
        if scale := p.model.parameters[name].scale:
            return scale
        unit = p.model.parameters[name].unit
        alike = [np.abs(p.value(n)).max() for n, q in p.model.parameters.items() if q.unit == unit]
        return float(max(alike)) or 1.0

    def _choose(self, key: str) -> np.ndarray:
        """Indices of the elements that are changed: connections that exist, times that stay in order in the trial."""
        values = self.groups[key]
        eligible = np.ones(values.shape, dtype=bool)
        if self._is_time(key):
            reach = 2 * max(STEPS) * TIME_SIZE
            eligible = np.isfinite(values) & (values > reach) & (values < self.subject.network.duration - reach)
            if key not in self.trainable and values.ndim == 3:
                with np.errstate(invalid="ignore"):
                    close = np.diff(values, axis=2) <= reach
                eligible[..., 1:] &= ~close
                eligible[..., :-1] &= ~close
        for q in self.subject.network.projections:
            if q.mask is not None and key.startswith(f"{q.name}.") and values.ndim:
                eligible &= np.asarray(q.mask, dtype=bool)
        indices = np.flatnonzero(eligible)
        if len(indices) > self.elements:
            indices = np.sort(self.rng.choice(indices, self.elements, replace=False))
        return indices

    def _differences(self, key: str, loss: float) -> _Differences:
        """Derivatives by some elements of a group; elements that a step doesn't resolve are tried with others.

        A long step may carry an event past another, where the loss has a kink; a short one drowns in rounding (of a
        nonlinear flow, in its tolerance).
        """
        indices, size = self._choose(key), self._size(key)
        unit = size / max(abs(loss), 1e-300)
        values, resolution = np.zeros(len(indices)), np.full(len(indices), np.inf)
        todo = list(range(len(indices)))
        for h in STEPS:
            losses: list[dict[float, float]] = [{0: loss} for _ in indices]
            for wide in (False, True):
                for i in todo:
                    value, error = self._difference(key, int(indices[i]), h * size, losses[i], wide)
                    if error < resolution[i]:
                        values[i], resolution[i] = value, error
                wanted = max(RESOLVED * self.tolerance, ROUNDING) * max(float(np.linalg.norm(values) * unit), FLOOR)
                todo = [i for i in todo if resolution[i] * unit > wanted]
        return _Differences(indices, values, resolution)

    def _difference(self, key: str, index: int, h: float, at: dict[float, float], wide: bool) -> tuple[float, float]:
        """A derivative by central differences of fourth order, and how well it is resolved.

        That is how far it is from the differences of second order that it is made of (or, with two more losses further
        out, from those of fourth order with twice the step), or half of how far the derivatives to both sides are,
        whichever is more: at a kink central differences agree with each other, but on nothing. It is never less than
        what the losses' last digits leave open, which may agree by chance. `at` has the losses by step; those that are
        missing are added.
        """
        for m in (-1, -0.5, 0.5, 1, *((-2, 2) if wide else ())):
            if m not in at:
                at[m] = self._loss(key, index, m * h)
        short = (8 * (at[0.5] - at[-0.5]) - (at[1] - at[-1])) / (6 * h)
        other = (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * h) if wide else (at[0.5] - at[-0.5]) / h
        sides = (4 * (at[0.5] + at[-0.5] - 2 * at[0]) - (at[1] + at[-1] - 2 * at[0])) / h
        return short, max(abs(short - other), abs(sides) / 2, DIGITS * abs(at[0]) / h)

    def _loss(self, key: str, index: int, amount: float) -> float:
        """The loss with one element of a group changed by an amount."""
        values = np.array(self.groups[key], dtype=float)
        values.flat[index] += amount
        inputs = self.subject.inputs
        trainable = {self.changed: self.trainable[self.changed]} if self.changed else {}
        if key in self.trainable:
            trainable[key] = values
            self.changed = key
        else:
            inputs, self.changed = {**inputs, self.inputs[key]: values}, ""
        return self.simulation.run(inputs, self.subject.targets, trainable, gradient=False).loss

    # --- comparisons ----------------------------------------------------------------------------------------------

    def _row(
        self, key: str, outcome: Outcome, differences: _Differences, exact: reference.OracleGradient | None
    ) -> GradientRow:
        found = np.asarray(outcome.gradients[key])
        unit = self._size(key) / max(abs(outcome.loss), 1e-300)
        norm = float(np.linalg.norm(found) * unit)
        compared = max(float(np.linalg.norm(differences.values) * unit), FLOOR)
        deviation = np.linalg.norm(found.flat[differences.indices] - differences.values) * unit / compared
        oracle = None
        if exact is not None:
            other = np.asarray(exact.gradients[key])
            oracle = float(np.linalg.norm(found - other) * unit / max(np.linalg.norm(other) * unit, FLOOR))
        total = int(np.isfinite(self.groups[key]).sum())
        return GradientRow(
            *(key, (len(differences.indices), total), norm, float(deviation)),
            *(float(np.linalg.norm(differences.resolution) * unit / compared), oracle),
        )


@dataclass(frozen=True)
class _Differences:
    """Derivatives by elements of a group, at these indices of the flattened array, and how well they are known."""

    indices: np.ndarray
    values: np.ndarray
    resolution: np.ndarray


def _time_deviation(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> float:
    """Largest distance between spike times, inf where their numbers differ."""
    worst = 0.0
    for name, times in found.items():
        other = expected[name]
        k = max(times.shape[2], other.shape[2])
        a, b = with_room(times, k), with_room(other, k)
        if not np.array_equal(np.isfinite(a), np.isfinite(b)):
            return float("inf")
        there = np.isfinite(a)
        worst = max(worst, float(np.abs(a[there] - b[there]).max(initial=0.0)))
    return worst
