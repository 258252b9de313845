"""A network, a loss and a target, ready to give losses and exact gradients batch by batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from threading import RLock
from types import TracebackType
from typing import Any, Self

import numpy as np

from ..datasets.targets import named_targets
from ..events.drives import Knots
from ..events.engine import Engine, SimulationError, TrainingEngine, not_finite
from ..events.plan import EnginePlan
from ..losses import loss_of
from ..losses.base import Loss, Observed, evaluated, observables_of, several
from ..losses.classification import compiled
from ..losses.integrals import with_integrals
from ..losses.observables import Observable
from ..optimisers import Adam, Optimiser
from ..targets import Target, open_engine
from ..templates.arguments import (
    check_kind,
    check_mapping,
    check_numbers,
    check_whole,
    has_unit,
    real_array,
    suggests_keywords,
)
from ..templates.network import Network, check_network
from ..templates.quantities import in_unit
from ..templates.samples import checked_samples
from ..templates.spike_times import checked_times, warn_of_early
from ..templates.values import all_finite, with_values
from .batches import CLOSED, check_spiking, check_targets, count_trials
from .passes import ForwardPass
from .source import Outcome
from .spike_report import SpikeReport, of_population

__all__ = ["Simulation", "SimulationError"]


_WITHOUT_EFFECT = ("trials", "timeout", "input_gradients", "max_spikes")  # options that change no number of a run


@suggests_keywords
class Simulation:
    """Simulates a network event by event and differentiates a loss, forward and backward, for batches of trials.

    What is simulated is the hybrid system that the network declares, in continuous time: every spike at its own time,
    in its order, whatever causes it. There is no time step. Linear models are exact to rounding; nonlinear ones follow
    Taylor series with a step for each neuron, to `tolerance`. The gradient is that of the same system (Wunderlich &
    Pehle 2021, Sci. Rep. 11:12829), for every weight, delay, parameter, input spike time and sample of a current.

    A program that was interrupted (Ctrl-C in a batch), did not answer in time or died is started again by the next run.

    Parameters
    ----------
    network : Network
    loss : Loss, Observable or sequence of Observable, optional
        What is differentiated; or only what is read, for `forward` and `backward` around a loss of one's own. The loss
        that the network declares unless given.
    batch_size : int
        Trials of a batch; a smaller last batch is allowed.
    target : {"numpy", "cpp_standalone", "cuda_standalone"}
        In this process, which needs no compiler, and is up to hundreds of times slower in training and with nonlinear
        models; or a compiled program that stays alive between batches, on the processor or on a GPU. See
        docs/targets.md.
    tolerance : float
        Of nonlinear flows, relative to the states' scales. Linear models don't depend on it.
    window : float, optional
        Longest piece of time, in seconds, that the engine looks at at once. It changes the cost and no result; chosen
        from the time constants unless given, and more than four times that is taken for four times.
    threads : int
        Among which the trials of a batch are divided (compiled target). Each sums its own part of the gradients, so the
        last digits depend on it, and on nothing else.
    input_gradients : bool
        Whether to differentiate by the times of input spikes and the samples of currents too.
    max_spikes : int
        Of one population in one trial. More are taken for a network that runs away.
    timeout : float, optional
        Seconds that a batch (or the batches of one `fit`) may take on a compiled target; without, any time.

    Raises
    ------
    ValueError
        If the network, the loss and the options don't fit together.

    Examples
    --------
    >>> import numpy as np
    >>> network = load_network("yin_yang", hidden={"n": 20})
    >>> times = np.linspace(1e-3, 30e-3, 10).reshape(2, 5)  # seconds; trials, sources
    >>> with Simulation(network, TTFSCrossEntropy(), batch_size=2) as simulation:
    ...     outcome = simulation.run({"input": times}, np.array([0, 1]))
    >>> outcome.gradients["input_hidden.w"].shape
    (5, 20)
    """

    def __init__(
        self,
        network: Network,
        loss: Loss | Observable | tuple[Observable, ...] | list[Observable] | None = None,
        *,
        batch_size: int = 32,
        target: Target = "numpy",
        tolerance: float = 1e-10,
        window: float | None = None,
        threads: int = 1,
        input_gradients: bool = True,
        max_spikes: int = 1_000_000,
        timeout: float | None = None,
    ) -> None:
        check_network(network)
        loss = loss_of(network) if loss is None else loss
        self._asked = loss
        loss = loss.for_network(network) if isinstance(loss, Loss) else loss
        self._observables = observables_of(loss)
        self._loss = loss if isinstance(loss, Loss) else None
        if self._loss is not None:
            self._loss.check(network)
        self._single = not several(loss.observes if isinstance(loss, Loss) else loss)
        for name, n in (("batch_size", batch_size), ("threads", threads)):
            check_whole(name, n)
        self._given = network
        network = with_integrals(network, self._observables)
        self._network = network
        self._held: Network | None = network  # whose values the engine has, but for weights; None: unknown
        self._lent: set[str] = set()  # weights that it has from elsewhere
        check_kind("target", target, str, "the name of one, such as 'numpy'")
        check_kind("input_gradients", input_gradients, bool, "True or False")
        self.target = target
        self.batch_size = int(batch_size)
        if timeout is not None:
            if has_unit(timeout):
                timeout = float(in_unit(timeout, "second", "timeout"))
            check_numbers(timeout=timeout)
            if not timeout > 0:
                raise ValueError(f"timeout = {timeout!r}; it must be a positive number of seconds")
        self._options: dict[str, Any] = {"trials": self.batch_size, "threads": threads, "timeout": timeout}
        self._closed = False
        self._lowering: dict[str, Any] = {
            "window": window,
            "tolerance": tolerance,
            "input_gradients": input_gradients,
            "max_spikes": max_spikes,
        }
        self.lock = RLock()  # who uses the simulation from several threads holds it
        self.runs = 0  # batches begun
        self._has_run: bool = False
        self._differentiable = False  # whether the last run can be run backward
        self._dimensions: dict[str, int] = {}  # of the inputs of the last run, as they were given
        self._samples: list[np.ndarray] = []  # of the currents of the last run, and the weights of the drives
        self._gains: list[np.ndarray] = []
        self._read: tuple[np.ndarray, ...] = ()  # values of the primitives in the last run
        self._shapes: tuple[tuple[int, ...], ...] = ()  # of the observables in the last run
        self._engine = self._open(network)
        self._plan = self._engine.plan  # that of the network's own values

    def __repr__(self) -> str:
        reads = "observables alone" if self._loss is None else f"{type(self._loss).__name__}"
        what = f"network {self._given.name!r}, {reads}, target {self.target}, batches of up to {self.batch_size}"
        return f"<Simulation: {what}{', closed' if self._closed else ''}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy or a pickle is another simulation with its own engine, which has run nothing."""
        if self._closed:
            raise SimulationError(CLOSED)
        options = {**self._lowering, **self._options, "batch_size": self.batch_size, "target": self.target}
        del options["trials"]
        return partial(type(self), **options), (self._given, self._asked)

    def _open(self, network: Network, plan: EnginePlan | None = None) -> Engine:
        """An engine with a plan and the values of its network; without one, with that of `network`."""
        plan = plan or EnginePlan.of(network, self._observables, **self._lowering)
        return open_engine(self.target, plan, **self._options)

    @property
    def plan(self) -> EnginePlan:
        """The network as the engine runs it."""
        return self._engine.plan

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the compiled program, if there is one, and delete its files; it can't be run any more."""
        self._closed = True
        self._engine.close()

    # --- values ---------------------------------------------------------------------------------------------------

    @property
    def network(self) -> Network:
        """The network that is simulated, as it was given."""
        return self._given

    @property
    def settings(self) -> dict[str, Any]:
        """What the values of a run depend on beside network and loss, if only in the last digits."""
        given = {"target": self.target, **self._lowering, **self._options}
        return {name: value for name, value in given.items() if name not in _WITHOUT_EFFECT}

    @property
    def loss(self) -> Loss:
        """The loss that is differentiated.

        Raises
        ------
        ValueError
            If there is none, but observables only.
        """
        if self._loss is None:
            raise ValueError("this simulation was made with observables alone; make it with a loss, or use forward")
        return self._loss

    def _use(self, values: Mapping[str, np.ndarray]) -> None:
        """Give the engine the network's values, with these in the place of its own.

        Whatever is true of the engine's values is said before they change, so that an interruption leaves nothing
        that the next call would not set right.
        """
        if self._closed:
            raise SimulationError(CLOSED)
        check_mapping("values", values, "a mapping of keys such as 'hidden.tau_m' to arrays")
        if not self._engine.usable:
            self._held = None
            self._engine.close()
            self._engine = self._open(self._network, self._plan)
            self._lent, self._held = set(), self._network
        gains = {f"{d.name}.w" for d in self._network.drives if d.learnable} & values.keys()
        driven = with_values(self._network, {key: values[key] for key in gains}) if gains else self._network
        self._gains = [np.asarray(d.weights) for d in driven.drives]
        values = {key: value for key, value in values.items() if key not in gains}
        weights = {f"{q.name}.w": (k, q) for k, q in enumerate(self._network.projections) if "w" in q.learnable}
        if self._held is not self._network or not values.keys() <= weights.keys():
            self._set(with_values(self._network, values) if values else self._network)
            self._lent = values.keys() & weights.keys()
            if values.keys() <= weights.keys():
                self._held = self._network
            return
        # weights alone, as in every batch of a training: straight into the arrays, once all are known to be right
        checked = {key: real_array(f"value of {key!r}", value) for key, value in values.items()}
        for key, w in checked.items():
            if w.shape != weights[key][1].weights.shape or has_unit(values[key]) or not all_finite(w):
                with_values(self._network, {key: values[key]})  # says what is wrong
        self._lent |= checked.keys()
        for key in self._lent - checked.keys():
            self._engine.set_weights(weights[key][0], np.asarray(weights[key][1].weights))
        for key, w in checked.items():
            self._engine.set_weights(weights[key][0], w)
        self._lent = set(checked)

    def _set(self, network: Network) -> None:
        """Give the engine all values of a network that differs from the given one in values alone."""
        before, self._held = self._held, None  # as long as not all of them are there
        own = self._plan.holds_for(network)
        if self.plan is not self._plan if own else self.plan is self._plan or not self.plan.holds_for(network):
            # time constants have come together, or become short: flows have to be written in another form, and in their
            # own again once they can be, so that results have the same digits whatever ran before
            self._engine.close()
            self._engine = self._open(network, self._plan if own else None)
            before = self._network if own else network
        if before is not network:
            self._write(network, before)
        self._held = network

    def _write(self, network: Network, before: Network | None) -> None:
        """Write all weights of a network, and what else differs from another; None: everything."""
        old = [None] * len(network.projections) if before is None else before.projections
        for k, (q, was) in enumerate(zip(network.projections, old, strict=True)):
            self._engine.set_weights(k, np.asarray(q.weights))
            if was is None or not np.array_equal(q.delay, was.delay):
                self._engine.set_delay(k, np.asarray(q.delay, dtype=float))
        had = [None] * len(network.populations) if before is None else before.populations
        for k, (p, same) in enumerate(zip(network.populations, had, strict=True)):
            if p is not same:
                self._engine.set_parameters(k, {n: np.asarray(p.value(n)) for n in p.model.parameters})

    # --- running ------------------------------------------------------------------------------------------------

    def forward(
        self,
        inputs: Mapping[str, np.ndarray],
        values: Mapping[str, np.ndarray] | None = None,
        *,
        gradient: bool = True,
    ) -> Observed:
        """Simulate a batch and read what is observed.

        Parameters
        ----------
        inputs, values
            As for `run`.
        gradient : bool
            Whether `backward` will follow.

        Returns
        -------
        array or tuple of array
            As the loss or the observables say; trials first.

        Raises
        ------
        ValueError, SimulationError
            As `run`.
        """
        return self._forward(inputs, values, gradient)

    def forward_pass(
        self,
        inputs: Mapping[str, np.ndarray],
        values: Mapping[str, np.ndarray] | None = None,
        *,
        gradient: bool = True,
    ) -> ForwardPass:
        """As `forward`, with a `backward` of its own, for graphs in which several batches are under way.

        Parameters
        ----------
        inputs, values, gradient
            As for `forward`.

        Raises
        ------
        ValueError, SimulationError
            As `run`.
        """
        return ForwardPass(self, inputs, values, gradient=gradient)

    def holds(self, run: int) -> bool:
        """Whether the batch that was begun as number `run` of `runs` is the last, and `backward` can follow."""
        return run == self.runs and self._differentiable and not self._closed and self._engine.usable

    def backward(self, derivative: Observed) -> dict[str, np.ndarray]:
        """Gradients of the batch that went through `forward` last, for a derivative by what it returned.

        Parameters
        ----------
        derivative : array or tuple of array
            In the shapes of what `forward` returned; by a spike time that is ``inf`` it must be 0.

        Returns
        -------
        dict of str to array
            As `Outcome.gradients`.

        Raises
        ------
        ValueError
            If there was no `forward` before, or shapes don't fit, or a derivative is not finite.
        SimulationError
            If a gradient is not finite.
        """
        given: Any = derivative
        if not self._single:
            check_kind("derivative", given, (tuple, list), "one array for each observable")
        return self._backward((given,) if self._single else tuple(given))

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
        inputs : mapping of str to array
            Of spike inputs the spike times in seconds, ascending, padded with ``inf``, shape ``(trials, n)`` or
            ``(trials, n, spikes)``. Of currents the samples, from `CurrentInput.start` to the end of the trial, shape
            ``(trials, n, samples)``, or ``(n, samples)`` for all trials, or ``(samples,)`` for all channels too.
        targets : array, shape (trials, ...), or mapping of str to array
            Labels or whatever the loss compares with; a mapping where that has several names.
        values : mapping of str to array, optional
            Trainable values that take the place of the network's own, in this run alone.
        gradient : bool
            Whether to run the adjoint.

        Returns
        -------
        Outcome
            Gradients by ``"<projection>.w"``, ``"<projection>.delay"``, ``"<drive>.w"``,
            ``"<population>.<parameter>"``, ``"<input>.times"`` and, in the shape of the samples, ``"<input>.samples"``.

        Raises
        ------
        ValueError
            For inputs or targets of the wrong form.
        SimulationError
            If the network has no trajectory: a neuron above its threshold at time 0 or after its reset, spikes without
            end, states or gradients that are not finite.
        """
        loss = self.loss
        check_kind("gradient", gradient, bool, "True or False")
        if gradient and loss.no_gradient:
            raise ValueError(loss.no_gradient)
        if isinstance(targets, Mapping):
            targets = named_targets(targets)
        if targets is None:
            raise ValueError("targets are None; a loss compares with something (forward needs none)")
        observed = self._forward(inputs, values, gradient, targets)
        engine, trials = self._engine, len(targets)
        value, derivatives = evaluated(loss, observed, targets)
        gradients = self._backward(derivatives) if gradient else {}
        spikes = {
            p.name: engine.spike_count(p.index) / trials for p in self.plan.populations if p.rules.spiking
        }
        return Outcome(
            value.value,
            value.predictions,
            gradients,
            spikes,
            engine.smallest_gdot,
            observed,
            engine.ties if engine.ties_are_counted else None,
            loss.silent_trials(observed, targets),
            pseudospikes=loss.pseudospikes(observed, targets),
        )

    def _checked(
        self, inputs: Mapping[str, np.ndarray], targets: np.ndarray | None = None
    ) -> tuple[list[np.ndarray], int]:
        """Spike times of every input, in three dimensions, and how many trials they and the targets are of."""
        trials, duration = count_trials(inputs, self._network, self.batch_size, targets), self._network.duration
        if targets is not None:
            check_targets(targets, trials, self.loss, self._network)
        sources = self._network.inputs
        times = [checked_times(inputs[s.name], f"input {s.name!r}", s.n, trials, duration) for s in sources]
        warn_of_early(times, "all input spikes", duration)
        return times, trials

    def _knots(self, inputs: Mapping[str, np.ndarray], trials: int) -> list[Knots]:
        """What the currents set driven inputs to."""
        currents, duration = self._network.currents, self._network.duration
        self._samples = [checked_samples(inputs[c.name], c, trials, duration) for c in currents]
        return [d.knots(self._samples, self._gains) for d in self.plan.drives]

    def _forward(
        self,
        inputs: Mapping[str, np.ndarray],
        values: Mapping[str, np.ndarray] | None,
        gradient: bool,
        targets: np.ndarray | None = None,
    ) -> Observed:
        check_kind("gradient", gradient, bool, "True or False")
        given, trials = self._checked(inputs, targets)
        self.runs += 1
        self._has_run = self._differentiable = False
        self._use({} if values is None else values)
        self._engine.forward(given, gradient, self._knots(inputs, trials), trials)
        self._read = self._engine.observed()
        observed = tuple(seen.read(x) for seen, x in zip(self._observables, self._read, strict=True))
        self._shapes = tuple(x.shape for x in observed)
        self._dimensions = {name: np.ndim(times) for name, times in inputs.items()}
        self._has_run, self._differentiable = True, gradient
        return observed[0] if self._single else observed

    def _backward(self, derivatives: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        if not self._differentiable:
            raise ValueError("backward: there is no batch to differentiate; call forward, with gradient=True, first")
        if len(derivatives) != len(self._observables):
            raise ValueError(f"backward: {len(derivatives)} derivatives for {len(self._observables)} observables")
        pulls = []
        seen = zip(self._observables, self._read, self._shapes, derivatives, strict=True)
        for observable, x, wanted, derivative in seen:
            d = real_array("derivative", derivative)
            if d.shape != wanted:
                raise ValueError(f"the derivative by {observable} has shape {d.shape}; it must be {wanted}")
            pulls.append(np.asarray(observable.pull(x, d)))
            if pulls[-1].shape != x.shape:
                what = f"{type(observable).__name__}.pull returned shape {pulls[-1].shape}"
                raise ValueError(f"{what}; it must be {x.shape}, as the values of its primitive")
            if not all_finite(pulls[-1]):
                raise ValueError(f"the derivative by {observable} is not finite")
            if pulls[-1][np.isinf(x)].any():
                raise ValueError(f"the derivative by {observable} must be 0 where a spike time is inf (padding)")
        engine = self._engine
        engine.pull(pulls)
        gradients = self._gradients()
        for key, found in gradients.items():
            if not all_finite(found):
                raise self._not_finite(key, found)
        return gradients

    def _not_finite(self, key: str, found: np.ndarray) -> SimulationError:
        """What a gradient that is not finite ends with: of a population's own values, the first neuron is named."""
        name = key.rpartition(".")[0]
        of = next((p for p in self._network.populations if p.name == name), None)
        if of is None or np.shape(found) != (of.n,):
            return SimulationError(not_finite(key, self._engine.smallest_gdot))
        neuron = int(np.isfinite(found).argmin())
        return SimulationError(not_finite(key, self._engine.smallest_gdot, neuron), name, neuron)

    def fits(self, optimiser: Optimiser, values: Mapping[str, np.ndarray]) -> bool:
        """Whether `fit` can train these values so: compiled, weights alone, a built-in loss on labels, plain Adam.

        See `BatchTrainer.fits`.
        """
        weights = {f"{q.name}.w" for q in self._network.projections if "w" in q.learnable}
        return (
            isinstance(self._engine, TrainingEngine)
            and values.keys() <= weights
            and self._loss is not None
            and compiled(self._loss) is not None
            and not self._network.currents
            and type(optimiser) is Adam
            and not optimiser.bounds
            and not optimiser.transforms
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
        checked = [self._checked(inputs, labels)[0] for inputs, labels in batches]
        given = [[x[k] for x in checked] for k in range(len(self._network.inputs))]
        every = np.concatenate([labels for _, labels in batches])
        self.runs += 1
        self._has_run = self._differentiable = False
        self._use(values)
        places = {f"{q.name}.w": k for k, q in enumerate(self._network.projections)}
        corrections, moments = optimiser.take_steps(values, len(batches))
        engine = self._engine
        assert isinstance(engine, TrainingEngine)
        loss = compiled(self.loss)
        assert loss is not None
        try:
            results, predictions = engine.train(
                given,
                every,
                [len(labels) for _, labels in batches],
                loss,
                (optimiser.beta1, optimiser.beta2, corrections),
                {places[k]: (m[0], m[1], optimiser.scales.get(k, 1.0)) for k, m in moments.items()},
            )
        except BaseException:
            # as if nothing had happened: the weights that the program has stepped are lent, so that none outlives this
            optimiser.undo_steps(len(batches))
            raise
        self._has_run = True
        for key, value in values.items():
            mask = self._network.projections[places[key]].mask
            found = engine.weights(places[key])
            np.copyto(value, found, where=True if mask is None else np.asarray(mask, dtype=bool))
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

    @property
    def ties(self) -> int:
        """How often times were tied in the last run, counted if they have not been; see `Outcome.ties`.

        Raises
        ------
        ValueError
            If nothing has been run, or the last run failed.
        """
        if not self._has_run:
            raise ValueError("ties: nothing has been run yet, or the last run failed; call run first")
        return self._engine.ties

    def spike_times(self, population: str) -> np.ndarray:
        """Spike times of the last run.

        Returns
        -------
        array, shape (trials, n, spikes)
            Seconds, ascending, padded with ``inf``.
        """
        spiking = {p.name: p.index for p in self.plan.populations if p.rules.spiking}
        check_spiking(population, list(spiking))
        if not self._has_run:
            raise ValueError("spike_times: nothing has been run yet, or the last run failed; call run first")
        return self._engine.spike_times(spiking[population])

    def spike_report(
        self,
        inputs: Mapping[str, np.ndarray],
        values: Mapping[str, np.ndarray] | None = None,
        *,
        distance: Any,
        slope: Any,
    ) -> dict[str, SpikeReport]:
        """Simulate a batch and report silent neurons, and what is close to spikes that appear or vanish.

        No gradient sees that a spike is born or dies: where many neurons nearly spike, or many spikes cross slowly, it
        tells little about larger steps. The batch is simulated in NumPy, whatever the target, and goes through twice.
        Of several maxima within an eighth of a stretch without events one is found.

        Parameters
        ----------
        inputs, values
            As for `run`.
        distance : float, or mapping of str to float
            From the threshold, in its unit, within which a neuron that turns back is counted; one for all populations,
            or one for each by name. Quantities with units are checked.
        slope : float, or mapping of str to float
            Per second, below which the crossing of a spike is counted, likewise.

        Returns
        -------
        dict of str to SpikeReport
            By population, of those that spike.

        Raises
        ------
        ValueError, SimulationError
            As `run`.
        """
        given, trials = self._checked(inputs)
        network = with_values(self._network, {} if values is None else values)
        spiking = [p for p in self.plan.populations if p.rules.spiking]
        limits = [
            (of_population(distance, p.population, "distance"), of_population(slope, p.population, "slope", "/second"))
            for p in spiking
        ]
        engine = open_engine("numpy", EnginePlan.of(network, self._observables, **self._lowering), trials=trials)
        engine.forward(given, gradient=False)
        reports = {}
        for p, (near, flat) in zip(spiking, limits, strict=True):
            closest, rates = engine.approaches(p.index)
            counts = np.isfinite(engine.spike_times(p.index)).sum(axis=2)
            reports[p.name] = SpikeReport(p.name, near, flat, counts, closest, rates)
        return reports

    def _gradients(self) -> dict[str, np.ndarray]:
        engine, gradients = self._engine, {}
        for k, q in enumerate(self._network.projections):
            if "w" in q.learnable:
                gradients[f"{q.name}.w"] = engine.weight_gradient(k)
            if "delay" in q.learnable:
                gradients[f"{q.name}.delay"] = engine.delay_gradient(k)
        for k, p in enumerate(self._network.populations):
            for name in p.learnable:
                found = engine.parameter_gradient(k, name)
                if not np.ndim(p.value(name)):
                    sources = self.plan.sources_of(k, name)
                    found = found.sum() + sum(engine.source_gradient(s.index, name).sum() for s in sources)
                gradients[f"{p.name}.{name}"] = found
        gradients |= self._drive_gradients()
        if self.plan.input_gradients:
            for k, s in enumerate(self._network.inputs):
                found = engine.input_gradient(k)
                gradients[f"{s.name}.times"] = found if self._dimensions[s.name] == 3 else found[:, :, 0]
        return gradients

    def _drive_gradients(self) -> dict[str, np.ndarray]:
        """By gains, and by samples in the dimensions in which they were given."""
        network, plan = self._network, self.plan
        of_gains: dict[int, np.ndarray] = {}
        of_samples = [np.zeros(x.shape) for x in self._samples]
        for d in plan.drives:
            if d.wanted:
                samples, gains = d.pull(self._engine.drive_gradient(d.index), self._samples, self._gains)
                of_gains |= gains
                for k, found in samples.items():
                    of_samples[k] += found
        gradients = {f"{d.name}.w": of_gains[k] for k, d in enumerate(network.drives) if d.learnable}
        if plan.input_gradients:
            for c, found in zip(network.currents, of_samples, strict=True):
                gradients[f"{c.name}.samples"] = found.reshape(found.shape[3 - self._dimensions[c.name] :])
        return gradients
