"""What every target's engine offers: set values, simulate forward, differentiate backward, read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from ..losses.observables import Maxima, Samples, SpikeTimes
from ..symbolic.flows import evaluate
from ..symbolic.parsing import symbol
from .accuracy import MAX_EVENTS
from .drives import Knots
from .plan import EnginePlan, GroupPlan, KeptMaxima

__all__ = [
    "FAILURES",
    "Engine",
    "SimulationError",
    "TrainingEngine",
    "explain",
    "failure",
    "initial_states",
    "not_finite",
    "refractory_periods",
    "trials_of",
]


FAILURES = (
    "start",
    "reset",
    "runaway",
    "cascade",
    "finite",
    "steps",
    "search",
    "slides",
    "turns",
    "spikes",
    "flat",
    "flat_turn",
    "amplitude",
)
"""What a batch may have no result for; `explain` says it in words."""


class SimulationError(RuntimeError):
    """A simulation that has no result; the message says where and when, and what to change.

    Parameters
    ----------
    message : str
    population : str
        Whose neuron it is about; empty where that is not known.
    neuron : int, optional
        Its index, where it is known.
    """

    def __init__(self, message: str, population: str = "", neuron: int | None = None) -> None:
        super().__init__(message)
        self.population, self.neuron = population, neuron


class Engine(ABC):
    """Simulates the networks of one plan, batch by batch, exactly in continuous time.

    Populations, projections and inputs are named by their place in the network. All times are in seconds, all values
    in SI units, all arrays float64. Nothing is random and nothing depends on the window but rounding.
    """

    plan: EnginePlan

    # --- values ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def set_weights(self, projection: int, weights: np.ndarray) -> None:
        """Set all weights of a projection; those that its mask excludes are ignored.

        Parameters
        ----------
        projection : int
        weights : array, shape (n_source, n_target)
        """

    @abstractmethod
    def set_delay(self, projection: int, delay: np.ndarray) -> None:
        """Set the delays of a projection.

        Parameters
        ----------
        projection : int
        delay : array, shape () or (n_source, n_target)
            In seconds, none negative; the shape is that of the plan's.
        """

    @abstractmethod
    def set_parameters(self, population: int, values: Mapping[str, np.ndarray]) -> None:
        """Set all parameters of a population; states at time 0 follow.

        Parameters
        ----------
        population : int
        values : mapping of str to array, shape () or (n,)
            By the model's names.

        Raises
        ------
        ValueError
            For a refractory period that is negative or not finite.
        """

    # --- simulation -------------------------------------------------------------------------------------------------

    @abstractmethod
    def forward(
        self,
        inputs: Sequence[np.ndarray],
        gradient: bool = True,
        drives: Sequence[Knots] = (),
        trials: int | None = None,
    ) -> None:
        """Simulate a batch.

        Parameters
        ----------
        inputs : sequence of array, shape (trials, n, k)
            Spike times of every input, ascending for each source, padded with inf.
        gradient : bool
            Whether `backward` will follow.
        drives : sequence of Knots
            What every driven input of the plan is set to.
        trials : int, optional
            Needed where neither inputs nor drives tell.

        Raises
        ------
        SimulationError
            For a neuron that is above its threshold at time 0 or just after its reset, a cascade of instantaneous
            spikes that does not end, more than `max_spikes` of the plan, or a state that is no longer finite.
        """

    @abstractmethod
    def backward(
        self,
        spikes: Mapping[int, np.ndarray],
        maxima: np.ndarray | None = None,
        samples: Mapping[int, np.ndarray] | None = None,
    ) -> None:
        """Differentiate the last batch.

        Parameters
        ----------
        spikes : mapping of int to array, shape (trials, n, k)
            Derivatives of the loss by spike times, for all populations of `EnginePlan.spikes`; spikes beyond the k
            first of a neuron have none.
        maxima : array, shape (trials, n), optional
            By `maxima`, where the plan watches those.
        samples : mapping of int to array, shape (trials, n, k)
            By samples, for all of `EnginePlan.samples`, by their place.
        """

    def observed(self) -> tuple[np.ndarray, ...]:
        """What the plan reads of the last batch, in the order of `EnginePlan.observed`."""
        return tuple(
            self.spike_times(self.plan.place(seen))
            if isinstance(seen, SpikeTimes)
            else (self._sampled(seen) if isinstance(seen, Samples) else self.maxima())
            for seen in self.plan.observed
        )

    def _sampled(self, seen: Samples) -> np.ndarray:
        samples = self.samples(self.plan.samples.index(seen))
        return samples[:, :, -1] if isinstance(seen, KeptMaxima) else samples

    def pull(self, derivatives: Sequence[np.ndarray]) -> None:
        """Differentiate the last batch for derivatives by each of `observed`, in the shapes of these."""
        spikes: dict[int, np.ndarray] = {}
        samples: dict[int, np.ndarray] = {}
        maxima = None
        for seen, derivative in zip(self.plan.observed, derivatives, strict=True):
            if isinstance(seen, Maxima):
                maxima = derivative if maxima is None else maxima + derivative
                continue
            if isinstance(seen, KeptMaxima):
                derivative = derivative[:, :, None]
            timed = isinstance(seen, SpikeTimes)
            to, k = (spikes, self.plan.place(seen)) if timed else (samples, self.plan.samples.index(seen))
            to[k] = to[k] + derivative if k in to else derivative
        self.backward(spikes, maxima, samples)

    # --- results of forward -----------------------------------------------------------------------------------------

    @abstractmethod
    def spike_times(self, population: int) -> np.ndarray:
        """Spike times of a spiking population, shape (trials, n, k) with k >= 1, ascending, padded with inf."""

    @abstractmethod
    def spike_count(self, population: int) -> int:
        """Number of spikes of a population in the whole batch."""

    @abstractmethod
    def maxima(self) -> np.ndarray:
        """Largest value over time of the observed state, shape (trials, n)."""

    @abstractmethod
    def samples(self, which: int) -> np.ndarray:
        """Samples of a state, shape (trials, n, k).

        Parameters
        ----------
        which : int
            Place in `EnginePlan.samples`.
        """

    @property
    @abstractmethod
    def smallest_gdot(self) -> float:
        """Smallest rate at which an event function crossed 0 in the last batch, inf without a crossing."""

    @property
    @abstractmethod
    def ties(self) -> int:
        """How often times were tied in the last batch.

        Instants at which several spikes arrive at a population, and instants at which several of its neurons spike, of
        all populations and trials. Each counts once, however many they are, whichever neurons and connections the
        arrivals come through; one spike that arrives several times at one instant is one. Times are compared bit by
        bit. Ends of refractory periods, knots of currents and conditions that turn don't count.
        """

    @property
    def ties_are_counted(self) -> bool:
        """Whether that has been done; where arrivals with delays of single synapses are scattered, it waits."""
        return True

    def approaches(self, population: int) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """How close the neurons of a population came to spikes that did not happen, and how fast they crossed.

        Parameters
        ----------
        population : int

        Returns
        -------
        approach : array, shape (trials, n)
            Largest value of the event function from which a neuron turned back without a spike, or at which it was
            rising at the end; -inf where it never rose.
        gdot : tuple of array, shape (crossings,)
            By trial: rates at which event functions crossed 0.

        Raises
        ------
        SimulationError
            On targets that keep too little of a trial to tell.
        """
        raise SimulationError(f"{type(self).__name__} does not keep the course of a trial; the numpy target does")

    # --- results of backward ----------------------------------------------------------------------------------------

    @abstractmethod
    def weight_gradient(self, projection: int) -> np.ndarray:
        """dL/dw, shape (n_source, n_target), 0 where there is no connection."""

    @abstractmethod
    def delay_gradient(self, projection: int) -> np.ndarray:
        """dL/d(delay), in the shape of the delay."""

    @abstractmethod
    def parameter_gradient(self, population: int, parameter: str) -> np.ndarray:
        """dL/dp of every neuron, what `source_gradient` tells not counted.

        Parameters
        ----------
        population : int
        parameter : str
            One that is learnable.

        Returns
        -------
        array, shape (n,)
        """

    @abstractmethod
    def source_gradient(self, source: int, parameter: str) -> np.ndarray:
        """dL/dp as far as p moves states that live with the sources of a projection; see `SourcePlan`.

        Parameters
        ----------
        source : int
            Place in `EnginePlan.sources`.
        parameter : str
            One of its rules' parameters that is learnable.

        Returns
        -------
        array, shape (n_source,)
        """

    @abstractmethod
    def input_gradient(self, source: int) -> np.ndarray:
        """dL/dt of every input spike, in the shape of the input; 0 at the padding."""

    @abstractmethod
    def drive_gradient(self, drive: int) -> Knots:
        """Derivatives by what a driven input was set to, of all trials; only where the plan wants them."""

    @property
    def usable(self) -> bool:
        """Whether it holds what it was given; not so after an interruption of a program, or its end."""
        return True

    def close(self) -> None:  # noqa: B027 (most engines have nothing to release)
        """Release processes and files."""


class TrainingEngine(Engine):
    """An engine that takes the steps of an optimiser itself, batch after batch."""

    @abstractmethod
    def train(
        self,
        inputs: Sequence[Sequence[np.ndarray]],
        labels: np.ndarray,
        sizes: Sequence[int],
        loss: tuple[int, Sequence[float]],
        adam: tuple[float, float, np.ndarray],
        moments: Mapping[int, tuple[np.ndarray, np.ndarray, float]],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Train on several batches, one after the other, without a word in between.

        Parameters
        ----------
        inputs : sequence of sequence of array, shape (trials, n, k)
            Of every source, one for every batch.
        labels : int array, shape (trials,)
            Of all batches.
        sizes : sequence of int
            Trials of every batch.
        loss : tuple
            0 for first spikes or 1 for maxima, and the constants of the loss; see runtime/losses.h.
        adam : tuple
            beta1, beta2, and epsilon and rate of every step, shape (batches, 2).
        moments : mapping of int to tuple
            By projection: mean and square, shape (n_source, n_target), which are brought up to date, and a factor on
            the rate. Projections that are not named keep their weights.

        Returns
        -------
        results : array, shape (batches, 3 + populations)
            Loss, trials without a spike that the loss needs, smallest slope at a crossing, spikes of every population.
        predictions : int array, shape (trials,)
        """

    @abstractmethod
    def weights(self, projection: int) -> np.ndarray:
        """The weights as they are now, shape (n_source, n_target), 0 where there is no connection.

        They may be a view, so that they have to be copied before anything else is asked of the engine.
        """


def trials_of(inputs: Sequence[np.ndarray], drives: Sequence[Knots]) -> int:
    """Number of trials of a batch; 1 where nothing is given."""
    return max((len(x) for x in (*inputs, *(d.values for d in drives))), default=1)


def explain(plan: EnginePlan, what: str, population: int, neuron: int, time: float) -> str:
    """Why a simulation has no result, in words.

    Parameters
    ----------
    plan : EnginePlan
    what : str
        One of `FAILURES`, or ``"gradient"``, which only training in the program has.
    population : int
    neuron : int
        -1 where it is not known, as for `time`.
    time : float
        In seconds; for ``"gradient"`` the number of the batch.
    """
    one = f"neuron {neuron}" if neuron >= 0 else "a neuron"
    where = f"population {plan.populations[population].name!r}: {one}"
    match what:
        case "start":
            return f"{where} is above its threshold at time 0; lower its initial value or raise the threshold"
        case "reset":
            return (
                f"{where} is still at or above its threshold after the reset at {time:.9g} s, so its next spike has no "
                "time; lower the reset value or the weights"
            )
        case "runaway":
            return (
                f"population {plan.populations[population].name!r} spikes more than max_spikes = {plan.max_spikes} "
                f"times in a trial, at {time:.9g} s already; lower the weights, or allow more spikes"
            )
        case "cascade":
            return (
                f"{where} would spike twice at the same instant, {time:.9g} s: spikes of that instant reach it "
                "without delay, perhaps by way of its own, and carry it across its threshold again; add a delay, or "
                "lower the weights"
            )
        case "finite":
            when = f" at {time:.9g} s" if time >= 0 else ""
            return f"{where}: its state is no longer finite{when}; check the parameters and weights"
        case "gradient":
            return f"{where}: the gradient of its weights is not finite in batch {time:g} of those trained on together"
        case "slides":
            return (
                f"{where} reaches a condition of its equations at {time:.9g} s that drives it back from either side: "
                "there the equations have no solution, or no single one; make them continuous where the condition "
                "turns, as clip(x, 0, 1) is, or smooth"
            )
        case "turns":
            return (
                f"{where} turns a condition of its equations again and again at {time:.9g} s; make the equations "
                "smooth there"
            )
        case "flat" | "flat_turn":
            touched = "its threshold" if what == "flat" else "a switch of its equations"
            return f"{where} touches {touched} at {time:.9g} s without slope; there the loss has no gradient"
        case "spikes":
            return (
                f"{where} spikes more than {MAX_EVENTS} times within a time constant, at {time:.9g} s; its input is "
                "far too large: check the units of currents and weights"
            )
        case "amplitude":
            return (
                f"population {plan.populations[population].name!r}: the spike of {one} of a source at {time:.9g} s has "
                "an amplitude that is not finite; check the parameters of its receptor's [source]"
            )
        case "steps":
            return (
                f"{where} runs away at {time:.9g} s: its steps shrink without end; check the parameters and weights, "
                "or give the model a threshold that cuts it off"
            )
    return f"{where}: {what} failed at {time:.9g} s; please report this as a bug of the engine"


def failure(plan: EnginePlan, what: str, population: int, neuron: int, time: float) -> SimulationError:
    """The error of a simulation that has no result; parameters as for `explain`."""
    name = plan.populations[population].name
    return SimulationError(explain(plan, what, population, neuron, time), name, neuron if neuron >= 0 else None)


def not_finite(key: str, smallest_gdot: float, neuron: int | None = None) -> str:
    """What is said of a gradient that is not finite.

    Parameters
    ----------
    key : str
        Its name.
    smallest_gdot : float
        Smallest slope at a crossing, per second.
    neuron : int, optional
        Whose own value it is by, where neurons have values of their own.
    """
    of = "" if neuron is None else f" of neuron {neuron}"
    return (
        f"the gradient of {key!r}{of} is not finite: a spike was tangent to the threshold (smallest |dg/dt| "
        f"{smallest_gdot:.3g}/s), or a state left the range of numbers"
    )


def initial_states(p: GroupPlan, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """States at time 0.

    Parameters
    ----------
    p : GroupPlan
    values : mapping of str to array, shape () or (n,)
        Parameters by canonical name, ``"p0"``, ``"p1"``, ...

    Returns
    -------
    array, shape (n_states, n)
    """
    numbers = {symbol(k): v for k, v in values.items()}
    rows = [evaluate(e, {s: numbers[s] for s in e.free_symbols}) for e in p.rules.system.initial.values()]
    return np.stack([np.broadcast_to(row, p.n) for row in rows])


def refractory_periods(p: GroupPlan, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Refractory period of every neuron.

    Parameters
    ----------
    p : GroupPlan
        Of a model that has one, or, as a `Silence`, one or two: these are checked as well.
    values : mapping of str to array, shape () or (n,)
        Parameters by canonical name, ``"p0"``, ``"p1"``, ...

    Returns
    -------
    array, shape (n,)
        In seconds; of length 0 for a model without.

    Raises
    ------
    ValueError
        For one that is negative or not finite.
    """
    durations = p.rules.system.durations
    for duration in reversed(durations):
        numbers = {s: values[s.name] for s in duration.free_symbols}
        found = np.broadcast_to(evaluate(duration, numbers), p.n)
        if not ((found >= 0) & np.isfinite(found)).all():
            worst = found[~((found >= 0) & np.isfinite(found))][0]
            raise ValueError(f"population {p.name!r}: a refractory period of {worst:g} s; expected at least 0")
    return found if durations else np.empty(0)
