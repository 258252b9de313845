"""The portable form: a network and its adjoint on a time grid, as ordinary Brian2 objects on Brian2's own targets.

`Simulation` is exact in continuous time and what to use. This form is for reading, and for targets that the event
engine does not run on: its gradient is the exact derivative of a simulation that itself deviates from the model.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np

from ..brian.inputs import Scheduled, schedule
from ..brian.names import portable
from ..brian.plan import Plan, Timing
from ..brian.populations import NEVER
from ..brian.session import RuntimeSession, Session
from ..brian.spikes import SpikeTables
from ..brian.values import initial_sensitivity, initial_states, parameter_values
from ..datasets.targets import named_targets
from ..losses.base import Loss, evaluated, shown
from ..losses.observables import Samples, SpikeTimes
from ..targets.devices import BRIAN_TARGETS, BrianTarget
from ..templates.arguments import check_kind
from ..templates.groups import Projection
from ..templates.network import Network, check_network
from ..templates.values import all_finite, with_values
from .batches import CLOSED, check_spiking, check_targets, count_trials
from .simulation import SimulationError
from .source import Outcome

__all__ = ["GridSimulation", "UnresolvedSpikes"]



class UnresolvedSpikes(UserWarning):
    """Spikes whose time could not be bracketed inside a step, so that they were put at the step's edge."""


class GridSimulation:
    """Simulates a network on a time grid and differentiates a loss, forward and backward, for batches of trials.

    Every population is a NeuronGroup forward and another backward, every projection Synapses forward and backward; each
    trial of a batch has neurons and synapses of its own. Spikes have times of their own inside a step, but act on other
    neurons at its end: one that causes another within the step is seen a step late. Models with refractory periods,
    projections with delays, and sampled currents are refused.

    Parameters
    ----------
    network : Network
    loss : Loss
    batch_size : int
        Trials that run side by side; a smaller last batch is allowed.
    dt : float
        Time step in seconds. Gradients are exact derivatives of the simulated loss at any dt.
    target : {"numpy", "cython", "cpp_standalone"}
        Brian2's runtime with numpy or Cython, or a compiled program that stays alive between batches.
    timing : {"precise", "grid"}
        Spikes at their own times within a step, or rounded to the end of their step. The loss of the latter is
        piecewise constant in the weights; its gradient is then the EventProp formula, not the derivative of the
        simulation.
    input_gradients : bool
        Whether to differentiate by the times of input spikes too. Training of weights and parameters is faster without.
    max_spikes : int
        Capacity for the spikes of one neuron in one trial.
    input_spikes : int
        Capacity for the spikes of one source in one trial.
    order : int
        Order in dt of the flow of nonlinear models.

    Raises
    ------
    ValueError
        If the network, the loss and the options don't fit together.

    Examples
    --------
    >>> with GridSimulation(network, TTFSCrossEntropy(), batch_size=32, dt=0.25e-3) as simulation:  # doctest: +SKIP
    ...     outcome = simulation.run({"input": times}, labels)
    ...     outcome.gradients["input_hidden.w"]
    """

    def __init__(
        self,
        network: Network,
        loss: Loss,
        *,
        batch_size: int = 32,
        dt: float = 0.25e-3,
        target: BrianTarget = "numpy",
        timing: Timing = "precise",
        input_gradients: bool = True,
        max_spikes: int = 64,
        input_spikes: int = 8,
        order: int = 4,
    ) -> None:
        if target not in BRIAN_TARGETS:
            raise ValueError(
                f"target = {target!r}; gradients on a time grid run on {', '.join(BRIAN_TARGETS)} "
                "(CUDA: forward only, with `snnmodels build`)"
            )
        check_network(network)
        check_kind("loss", loss, Loss, "a Loss, such as TTFSCrossEntropy()")
        loss = loss.for_network(network)
        loss.check(network)
        self._network = network
        self.loss = loss
        self._closed = False
        self.target = target
        if len(loss.observables) > 1:
            raise ValueError(
                f"the loss reads {len(loss.observables)} observables, and a time grid one; a Simulation reads the "
                "spike times of any populations and a state beside"
            )
        (self._observable,) = loss.observables
        self._options: dict[str, Any] = {
            "batch_size": batch_size,
            "dt": dt,
            "timing": timing,
            "observable": self._observable,
            "max_spikes": max_spikes,
            "input_spikes": input_spikes,
            "input_gradients": input_gradients,
            "order": order,
        }
        self.plan: Plan
        self._session: Session
        self._spikes: SpikeTables
        self._written: dict[str, np.ndarray]
        self._warned = False
        self._current: Network | None = None  # whose values are written
        self._here: Network  # the same, its variables called as they are in the groups
        self._opened = False  # whether there is a session for the plan
        self._own = Plan.of(network, **self._options)  # that of the network's own values
        self._open(self._own)
        self._set(network)

    @staticmethod
    def _holds_for(plan: Plan, network: Network) -> bool:
        """Whether a plan is right for a network that differs in its values alone."""
        return all(
            plan.populations[p.name].grid.flow.holds_for({k: p.value(k) for k in p.model.parameters})
            for p in network.populations
            if p.learnable
        )

    def _open(self, plan: Plan) -> None:
        """Start a session for a plan."""
        self.plan = plan
        self._written = {}
        if self.target == "cpp_standalone":
            from ..brian.worker import StandaloneSession

            self._session = StandaloneSession(self.plan)
        else:
            self._session = RuntimeSession(self.plan, self.target)
        self._spikes = SpikeTables(self.plan, self._session)
        self._opened = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the compiled program, if there is one, and delete its files; it can't be run any more."""
        self._closed = True
        self._session.close()

    # --- values ---------------------------------------------------------------------------------------------------

    @property
    def network(self) -> Network:
        """The network that is simulated, as it was given."""
        return self._network

    @property
    def settings(self) -> dict[str, Any]:
        """What the values of a run depend on beside network and loss, if only in the last digits."""
        without_effect = ("batch_size", "observable", "max_spikes", "input_spikes", "input_gradients")
        return {"target": self.target, **{k: v for k, v in self._options.items() if k not in without_effect}}

    def _set(self, network: Network) -> None:
        """Write weights, parameters and states at time 0; until all are there, nothing is said of what is."""
        self._current = None
        here, _ = portable(network)
        own = self._holds_for(self._own, here)
        if not self._opened or (self.plan is not self._own if own else not self._holds_for(self.plan, here)):
            # time constants have come together: the closed form has to be another, and its own again once it can be
            self._opened = False
            self._session.close()
            self._open(self._own if own else Plan.of(network, **self._options))
        for q in network.projections:
            self._write_weights(q, np.asarray(q.weights, dtype=float))
        for name, p in self.plan.populations.items():
            current = dataclasses.replace(p, population=here.population(name))
            for key, values in parameter_values(current, self.plan.batch_size).items():
                self._write(f"{name}.{key}", values)
            for key, values in initial_states(current, self.plan.batch_size).items():
                self._write(f"{name}.{key}_initial", values)
        self._current, self._here = network, here

    def _write_weights(self, q: Projection, w: np.ndarray) -> None:
        """Write the weights that a projection has, of a whole matrix."""
        self._session.write(f"{q.name}.w", w if q.mask is None else w[np.asarray(q.mask, dtype=bool)])

    def _write(self, key: str, values: np.ndarray) -> None:
        if key not in self._written or not np.array_equal(self._written[key], values):
            self._written.pop(key, None)
            self._session.write(key, values)
            self._written[key] = np.array(values)

    # --- running ------------------------------------------------------------------------------------------------

    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        targets: np.ndarray | Mapping[str, np.ndarray],
        values: Mapping[str, np.ndarray] | None = None,
        *,
        gradient: bool = True,
    ) -> Outcome:
        """Loss of a batch and, if asked for, its gradients.

        Parameters
        ----------
        inputs : mapping of str to array, shape (trials, n) or (trials, n, spikes)
            Spike times in seconds, ascending, padded with ``inf``.
        targets : array, shape (trials, ...), or mapping of str to array
            Labels or whatever the loss compares with; a mapping where that has several names.
        values : mapping of str to array, optional
            Trainable values that take the place of the network's own, in this run alone.
        gradient : bool
            Whether to run the adjoint.

        Returns
        -------
        Outcome
            Gradients by ``"<projection>.w"``, ``"<population>.<parameter>"`` and ``"<input>.times"``.

        Raises
        ------
        ValueError
            For inputs or targets of the wrong form.
        SimulationError
            If a neuron spiked more often than `max_spikes`, or a state or gradient is not finite.
        """
        check_kind("gradient", gradient, bool, "True or False")
        if gradient and self.loss.no_gradient:
            raise ValueError(self.loss.no_gradient)
        if isinstance(targets, Mapping):
            targets = named_targets(targets)
        trials = self._check(inputs, targets)
        if values or self._current is not self._network:
            self._set(with_values(self._network, values) if values else self._network)
        scheduled = self._write_inputs(inputs, trials)
        self._session.forward()
        self._check_states()
        unresolved = self._check_spikes()
        read = self._observe(trials)
        observed = shown(self.loss, [self._observable.read(read)])
        value, derivatives = evaluated(self.loss, observed, targets)
        spikes = self._spikes_per_trial(trials)
        if not gradient:
            return Outcome(value.value, value.predictions, {}, spikes, float("inf"), observed, unresolved=unresolved)
        self._write_loss(self._observable.pull(read, derivatives[0]), trials)
        self._session.backward()
        gradients = self._gradients(scheduled)
        for key, found in gradients.items():
            if not all_finite(found):
                raise SimulationError(
                    f"the gradient of {key!r} is not finite: a nonlinear model left the range of its Taylor series "
                    f"within one step of dt = {self.plan.dt * 1e3:g} ms, or a spike was tangent to the threshold; "
                    "make dt smaller"
                )
        slope = self._smallest_gdot()
        return Outcome(value.value, value.predictions, gradients, spikes, slope, observed, unresolved=unresolved)

    def spike_times(self, population: str) -> np.ndarray:
        """Spike times of the last run.

        Returns
        -------
        array, shape (batch_size, n, spikes)
            Seconds, ascending, padded with ``inf``.
        """
        check_spiking(population, [name for name, p in self.plan.populations.items() if p.spiking])
        return self._spikes.times(population)

    def _check(self, inputs: Mapping[str, np.ndarray], targets: np.ndarray) -> int:
        if self._closed:
            raise SimulationError(CLOSED)
        trials = count_trials(inputs, self._network, self.plan.batch_size)
        check_targets(targets, trials, self.loss, self._network)
        return trials

    def _write_inputs(self, inputs: Mapping[str, np.ndarray], trials: int) -> dict[str, tuple[Scheduled, int]]:
        """Write the spikes; returns them for each input, with the number of dimensions they were given in."""
        scheduled = {name: (schedule(times, name, self.plan, trials), np.ndim(times)) for name, times in inputs.items()}
        for name, (spikes, _) in scheduled.items():
            self._spikes.write_input(name, spikes)
        return scheduled

    def _check_states(self) -> None:
        """Refuse a batch in which a state is no number at the end; once it is none it stays so."""
        for name, p in self.plan.populations.items():
            for x in p.system.initial:
                state = self._session.read(f"{name}.{x.name}")
                if not all_finite(state):
                    neuron = int(np.isfinite(state).argmin()) % self.plan.size(name)
                    raise SimulationError(
                        f"population {name!r}: neuron {neuron}: its state {x.name!r} is no longer finite; check the "
                        "parameters and weights, or make dt smaller",
                        name,
                        neuron,
                    )

    def _check_spikes(self) -> int:
        """Refuse lost spikes; the number of unresolved ones, of which the first batch with any warns."""
        unresolved = 0
        for name, p in self.plan.populations.items():
            if not p.spiking:
                continue
            lost = int(self._session.read(f"{name}.lost_events").sum())
            if lost:
                raise SimulationError(
                    f"neurons of population {name!r} spiked more than max_spikes = {self.plan.max_spikes} times in a "
                    f"trial ({lost} spikes too many); make max_spikes larger"
                )
            unresolved += int(self._session.read(f"{name}.unresolved_events").sum())
        if unresolved and not self._warned:
            self._warned = True
            warnings.warn(
                f"{unresolved} spikes of this batch could not be resolved within a step and were put at its edge; if "
                "Outcome.unresolved stays large against the number of spikes, make dt smaller",
                UnresolvedSpikes,
                stacklevel=3,
            )
        return unresolved

    def _observe(self, trials: int) -> np.ndarray:
        output = self._network.output
        if isinstance(self.plan.observed, SpikeTimes):
            return self.spike_times(output)[:trials]
        shape = (self.plan.batch_size, self.plan.size(output))
        if isinstance(self.plan.observed, Samples):
            rows = self._session.read(f"{output}.sample_value").reshape(-1, *shape)
            samples = rows[: self.plan.steps // self.plan.sample_steps, :trials]
            return np.ascontiguousarray(samples.transpose(1, 2, 0), dtype=float)
        return self._session.read(f"{output}.max_value").reshape(shape)[:trials].copy()

    def _spikes_per_trial(self, trials: int) -> dict[str, float]:
        return {
            name: self._spikes.per_trial(name, trials) for name, p in self.plan.populations.items() if p.spiking
        }

    def _write_loss(self, gradient: np.ndarray, trials: int) -> None:
        output = self._network.output
        if isinstance(self.plan.observed, SpikeTimes):
            self._spikes.write_loss(output, gradient)
            return
        shape = (self.plan.batch_size, self.plan.size(output))
        if isinstance(self.plan.observed, Samples):
            errors = np.zeros((self.plan.sample_rows, *shape))
            errors[: gradient.shape[2], :trials] = gradient.transpose(2, 0, 1)
            self._session.write(f"{output}.sample_error", errors.ravel())
        else:
            error = np.zeros(shape)
            error[:trials] = gradient
            self._session.write(f"{output}.max_error", error.ravel())

    def _gradients(self, scheduled: Mapping[str, tuple[Scheduled, int]]) -> dict[str, np.ndarray]:
        gradients = {}
        for q in self._network.projections:
            if "w" in q.learnable:
                gradients[f"{q.name}.w"] = _matrix(self._session.read(f"{q.name}.gw"), q)
        for name, p in self.plan.populations.items():
            if not p.grid.learnable:
                continue
            costates = [self._session.read(f"{name}.lambda_{x.name}") for x in p.system.states]
            current = self._here.population(name)
            own = {here: name for name, here in self.plan.names[name].items()}
            start = initial_sensitivity(dataclasses.replace(p, population=current), costates, self.plan.batch_size)
            for s in p.grid.learnable:
                per_neuron = self._session.read(f"{name}.grad_{s.name}").reshape(self.plan.batch_size, -1)
                total = per_neuron.sum(axis=0) + start[s.name]
                gradients[f"{name}.{own.get(s.name, s.name)}"] = total if p.per_neuron(s.name) else total.sum()
        if self.plan.input_gradients:
            for name, (spikes, dimensions) in scheduled.items():
                grad = self._spikes.input_gradient(name, spikes)
                gradients[f"{name}.times"] = grad if dimensions == 3 else grad[:, :, 0]
        return gradients

    def _smallest_gdot(self) -> float:
        slopes = [
            float(self._session.read(f"{name}.smallest_slope").min())
            for name, p in self.plan.populations.items()
            if p.spiking
        ]
        smallest = min(slopes, default=np.inf)
        return smallest if smallest < 0.1 * NEVER else float("inf")


def _matrix(values: np.ndarray, q: Projection) -> np.ndarray:
    """Values of the weights of a projection, (sources, targets), 0 where it has no connection."""
    if q.mask is None:
        return values.reshape(q.weights.shape).copy()
    full = np.zeros(q.weights.shape)
    full[np.asarray(q.mask, dtype=bool)] = values
    return full
