"""A network, a loss and a target, ready to give losses and exact gradients batch by batch."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np

from ..events.engine import Engine, SimulationError
from ..events.inputs import checked_times
from ..events.plan import EnginePlan, Observation
from ..losses import MaxVoltageCrossEntropy, TTFSCrossEntropy
from ..losses.base import Loss
from ..losses.observed import labels_of
from ..optimisers import Adam, Optimiser
from ..targets import Target, open_engine
from ..targets.process import ProgramError
from ..templates.network import Network
from ..templates.values import all_finite, with_values
from .source import Outcome

__all__ = ["Simulation", "SimulationError"]


class Simulation:
    """Simulates a network event by event and differentiates a loss, forward and backward, for batches of trials.

    What is simulated is the hybrid system that the network declares, in continuous time: every spike at its own time,
    in its order, whatever causes it. There is no time step. Linear models are exact to rounding; nonlinear ones follow
    Taylor series with a step for each neuron, to `tolerance`. The gradient is that of the same system (Wunderlich &
    Pehle 2021, Sci. Rep. 11:12829), for every weight, delay, parameter and input spike time.

    Parameters
    ----------
    network : Network
    loss : Loss
    batch_size : int
        Trials of a batch; a smaller last batch is allowed.
    target : {"numpy", "cpp_standalone"}
        In this process, which needs no compiler; or a compiled program that stays alive between batches.
    tolerance : float
        Of nonlinear flows, relative to the states' scales. Linear models don't depend on it.
    window : float, optional
        Longest piece of time, in seconds, that the engine looks at at once. It changes the cost and no result; chosen
        from the time constants unless given, and more than four times that is taken for four times.
    threads : int
        Among which the trials of a batch are divided (compiled target). Each sums its own part of the gradients, so the
        last digits depend on it, and on nothing else.
    input_gradients : bool
        Whether to differentiate by the times of input spikes too.
    max_spikes : int
        Of one population in one trial. More are taken for a network that runs away.

    Examples
    --------
    >>> with Simulation(network, TTFSCrossEntropy(), batch_size=32) as simulation:  # doctest: +SKIP
    ...     outcome = simulation.run({"input": times}, labels)
    ...     outcome.gradients["input_hidden.w"]

    Raises
    ------
    ValueError
        If the network, the loss and the options don't fit together.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss,
        *,
        batch_size: int = 32,
        target: Target = "numpy",
        tolerance: float = 1e-10,
        window: float | None = None,
        threads: int = 1,
        input_gradients: bool = True,
        max_spikes: int = 1_000_000,
    ) -> None:
        if not isinstance(loss, Loss):
            raise ValueError(f"loss is {loss!r}; expected a Loss, such as TTFSCrossEntropy()")
        for name, n in (("batch_size", batch_size), ("threads", threads)):
            if isinstance(n, bool) or int(n) != n or n < 1:
                raise ValueError(f"{name} = {n!r}; it must be a positive whole number")
        self._network = network
        self._fresh: dict[str, np.ndarray] = {}  # weights that were written after the network was made
        self.loss = loss
        self.target = target
        self.batch_size = int(batch_size)
        self._threads = threads
        self._lowering: dict[str, Any] = {
            "window": window,
            "tolerance": tolerance,
            "input_gradients": input_gradients,
            "max_spikes": max_spikes,
        }
        self._has_run = False
        self._engine = self._open(network)

    def _open(self, network: Network) -> Engine:
        """Lower the network and start an engine with its values."""
        seen = Observation(self.loss.observable, self.loss.variable, self.loss.interval)
        self.plan = EnginePlan.of(network, seen, **self._lowering)
        return open_engine(self.target, self.plan, trials=self.batch_size, threads=self._threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the compiled program, if there is one, and delete its files."""
        self._engine.close()

    # --- values ---------------------------------------------------------------------------------------------------

    @property
    def network(self) -> Network:
        """The network with its current values."""
        if self._fresh:
            self._network, self._fresh = with_values(self._network, self._fresh), {}
        return self._network

    def _update(self, values: Mapping[str, np.ndarray]) -> None:
        """Take over new trainable values."""
        projections = {f"{q.name}.w": (k, q) for k, q in enumerate(self._network.projections) if "w" in q.learnable}
        if not values.keys() <= projections.keys():
            self._set(with_values(self.network, values))
            return
        # weights alone, as in every batch of a training: straight into the arrays, once all are known to be right
        checked = {key: np.asarray(value, dtype=float) for key, value in values.items()}
        for key, w in checked.items():
            if w.shape != projections[key][1].weights.shape or not all_finite(w):
                with_values(self._network, {key: w})  # says what is wrong
        for key, w in checked.items():
            self._engine.set_weights(projections[key][0], w)
            if key in self._fresh:
                self._fresh[key][...] = w
            else:
                self._fresh[key] = w.copy()

    def _set(self, network: Network) -> None:
        """Take over all values of a network that differs from the present one in values alone."""
        if not self.plan.holds_for(network):
            # time constants have come together, or become short: flows have to be written in another form
            self._has_run = False
            self._engine.close()
            self._engine = self._open(network)
        else:
            old = self._network
            for k, (q, was) in enumerate(zip(network.projections, old.projections, strict=True)):
                self._engine.set_weights(k, np.asarray(q.weights))
                if not np.array_equal(q.delay, was.delay):
                    self._engine.set_delay(k, np.asarray(q.delay, dtype=float))
            for k, (p, before) in enumerate(zip(network.populations, old.populations, strict=True)):
                if p is not before:
                    self._engine.set_parameters(k, {n: np.asarray(p.value(n)) for n in p.model.parameters})
        self._network, self._fresh = network, {}

    # --- running ------------------------------------------------------------------------------------------------

    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        targets: np.ndarray,
        values: Mapping[str, np.ndarray] | None = None,
        *,
        gradient: bool = True,
    ) -> Outcome:
        """Loss of a batch and, if asked for, its gradients.

        Parameters
        ----------
        inputs : mapping of str to array, shape (trials, n) or (trials, n, spikes)
            Spike times in seconds, ascending, padded with ``inf``.
        targets : array, shape (trials, ...)
            Labels or whatever the loss compares with.
        values : mapping of str to array, optional
            New trainable values, kept for later runs.
        gradient : bool
            Whether to run the adjoint.

        Returns
        -------
        Outcome
            Gradients by ``"<projection>.w"``, ``"<projection>.delay"``, ``"<population>.<parameter>"`` and
            ``"<input>.times"``.

        Raises
        ------
        ValueError
            For inputs or targets of the wrong form.
        SimulationError
            If the network has no trajectory: a neuron above its threshold at time 0 or after its reset, spikes without
            end, states or gradients that are not finite.
        """
        given = self._check(inputs, targets)
        if values is not None:
            self._update(values)
        engine, output = self._engine, self.plan.output.index
        self._has_run = False
        engine.forward(given, gradient)
        self._has_run = True
        observed = {
            "spike_times": lambda: engine.spike_times(output),
            "voltage_max": engine.maxima,
            "voltage_samples": engine.samples,
        }[self.loss.observable]()
        value = self.loss.evaluate(observed, targets)
        silent = self.loss.silent_trials(observed, targets)
        trials = len(targets)
        spikes = {
            p.name: engine.spike_count(p.index) / trials for p in self.plan.populations if p.rules.spiking
        }
        gradients = {}
        if gradient:
            engine.backward(np.asarray(value.gradient, dtype=float))
            gradients = self._gradients({name: np.ndim(t) for name, t in inputs.items()})
        for key, found in gradients.items():
            if not all_finite(found):
                raise SimulationError(
                    f"the gradient of {key!r} is not finite: a spike was tangent to the threshold (smallest |dg/dt| "
                    f"{engine.smallest_gdot:.3g}/s), or a state left the range of numbers"
                )
        return Outcome(
            value.value, value.predictions, gradients, spikes, engine.smallest_gdot, observed, engine.ties, silent
        )

    def fits(self, optimiser: Optimiser, values: Mapping[str, np.ndarray]) -> bool:
        """Whether `fit` can train these values so: compiled, weights alone, a built-in loss on labels, plain Adam."""
        weights = {f"{q.name}.w" for q in self._network.projections if "w" in q.learnable}
        return (
            self.target == "cpp_standalone"
            and values.keys() <= weights
            and type(self.loss) in (TTFSCrossEntropy, MaxVoltageCrossEntropy)
            and type(optimiser) is Adam
            and not optimiser.bounds
            and set(optimiser.scales) <= set(values)
        )

    def fit(
        self,
        batches: Sequence[tuple[Mapping[str, np.ndarray], np.ndarray]],
        values: Mapping[str, np.ndarray],
        optimiser: Adam,
    ) -> list[Outcome]:
        """Train on several batches in one call, as by `run` and ``optimiser.step`` on each, without Python in between.

        Parameters
        ----------
        batches : sequence of (inputs, labels)
            As for `run`.
        values : mapping of str to array
            Weights by key, all that are trained; updated in place.
        optimiser : Adam
            Its state follows.

        Returns
        -------
        list of Outcome
            Of every batch, without gradients and output; `Outcome.silent` counts the trials that teach nothing.

        Raises
        ------
        ValueError
            For inputs or labels of the wrong form, or if `fits` says no.
        SimulationError
            As for `run`.
        """
        if not self.fits(optimiser, values):
            raise ValueError("fit: needs a compiled simulation, weights alone, a built-in loss on labels, plain Adam")
        n_out = self.plan.output.population.n
        checked = [self._check(inputs, labels) for inputs, labels in batches]
        given = [_side_by_side([x[k] for x in checked]) for k in range(len(self._network.inputs))]
        every = np.concatenate([labels_of(labels, len(labels), n_out) for _, labels in batches])
        self._update(values)
        places = {f"{q.name}.w": k for k, q in enumerate(self._network.projections)}
        corrections, moments = optimiser.take_steps(values, len(batches))
        engine = self._engine
        assert isinstance(self.loss, TTFSCrossEntropy | MaxVoltageCrossEntropy)
        self._has_run = False
        try:
            results, predictions = engine.train(  # type: ignore[attr-defined]
                given,
                every,
                [len(labels) for _, labels in batches],
                (0, (self.loss.tau0, self.loss.tau1, self.loss.alpha))
                if isinstance(self.loss, TTFSCrossEntropy)
                else (1, (self.loss.scale,)),
                (optimiser.beta1, optimiser.beta2, corrections),
                {places[key]: (*m, optimiser.scales.get(key, 1.0)) for key, m in moments.items()},
            )
        except BaseException:
            # as if nothing had happened: the program has stepped some of its weights already
            optimiser.undo_steps(len(batches))
            with contextlib.suppress(ProgramError):
                for key, value in values.items():
                    engine.set_weights(places[key], value)
            raise
        self._has_run = True
        for key, value in values.items():
            value[...] = self._fresh[key] = engine.weights(places[key])  # type: ignore[attr-defined]
        outcomes, start = [], 0
        for row, (_, labels) in zip(results, batches, strict=True):
            trials = len(labels)
            spikes = {
                p.name: float(row[3 + p.index]) / trials for p in self.plan.populations if p.rules.spiking
            }
            predicted = predictions[start : start + trials]
            outcomes.append(Outcome(float(row[0]), predicted, {}, spikes, float(row[2]), silent=int(row[1])))
            start += trials
        return outcomes

    def spike_times(self, population: str) -> np.ndarray:
        """Spike times of the last run.

        Returns
        -------
        array, shape (trials, n, spikes)
            Seconds, ascending, padded with ``inf``.
        """
        for p in self.plan.populations:
            if p.name == population and p.rules.spiking:
                if not self._has_run:
                    raise ValueError("spike_times: nothing has been run yet, or the last run failed; call run first")
                return self._engine.spike_times(p.index)
        spiking = [p.name for p in self.plan.populations if p.rules.spiking]
        raise ValueError(f"no spiking population {population!r}; there are {', '.join(spiking)}")

    def _check(self, inputs: Mapping[str, np.ndarray], targets: np.ndarray) -> list[np.ndarray]:
        trials = len(targets)
        if not 1 <= trials <= self.batch_size:
            raise ValueError(
                f"{trials} trials; this simulation takes 1 to batch_size = {self.batch_size}: make it with a larger "
                "one, or give it (or train) smaller batches"
            )
        network = self._network
        names = [s.name for s in network.inputs]
        if set(inputs) != set(names):
            raise ValueError(f"inputs are {sorted(inputs)}; network {network.name!r} has {sorted(names)}")
        return [checked_times(inputs[s.name], s.name, s.n, trials, network.duration) for s in network.inputs]

    def _gradients(self, dimensions: Mapping[str, int]) -> dict[str, np.ndarray]:
        engine, gradients = self._engine, {}
        for k, q in enumerate(self._network.projections):
            if "w" in q.learnable:
                gradients[f"{q.name}.w"] = engine.weight_gradient(k)
            if "delay" in q.learnable:
                gradients[f"{q.name}.delay"] = engine.delay_gradient(k)
        for k, p in enumerate(self._network.populations):
            for name in p.learnable:
                found = engine.parameter_gradient(k, name)
                gradients[f"{p.name}.{name}"] = found if np.ndim(p.value(name)) else found.sum()
        if self.plan.input_gradients:
            for k, s in enumerate(self._network.inputs):
                found = engine.input_gradient(k)
                gradients[f"{s.name}.times"] = found if dimensions[s.name] == 3 else found[:, :, 0]
        return gradients


def _side_by_side(times: Sequence[np.ndarray]) -> np.ndarray:
    """Spike times of several batches in one array, padded to the largest number of spikes of a source."""
    most = max(t.shape[2] for t in times)
    if all(t.shape[2] == most for t in times):
        return np.concatenate(times)
    return np.concatenate([np.pad(t, ((0, 0), (0, 0), (0, most - t.shape[2])), constant_values=np.inf) for t in times])
