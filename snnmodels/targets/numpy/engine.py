"""The event engine in NumPy: needs no compiler; trial after trial, vectorised over the neurons of a population."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...events.drives import Knots
from ...events.engine import Engine, trials_of
from ...events.plan import EnginePlan
from .approach import approaches, slopes
from .backward import ComponentBackward, Pulls, Totals
from .forward import ComponentForward
from .incoming import Connections
from .knots import due
from .neurons import Neurons
from .sources import Sources, SourcesBack
from .state import Values
from .tape import ComponentTape, Spikes, spikes_of_input

__all__ = ["NumpyEngine", "open_engine"]


def open_engine(plan: EnginePlan, *, trials: int, threads: int, timeout: float | None) -> NumpyEngine:
    """An engine in this process; any number of trials, one thread.

    Parameters
    ----------
    plan : EnginePlan
    trials : int
        Not used.
    threads : int
    timeout : float or None

    Raises
    ------
    ValueError
        For more than one thread, or a timeout.
    """
    if timeout is not None:
        raise ValueError(f"timeout = {timeout!r} s; the numpy target runs in this process, which nothing can end")
    if threads > 1:
        raise ValueError(f"threads = {threads}; the numpy target has one")
    return NumpyEngine(plan)


class NumpyEngine(Engine):
    """Runs a plan in NumPy; starts with the values of the plan's network.

    Time is cut into pieces at arrivals, samples and the window, and where a spike feeds back into its component. Within
    a piece all neurons follow their flow: bounds tell who can't cross its threshold, a search that can't pass a
    crossing finds the others' spikes, and the pieces are the tape that is read backward.
    """

    def __init__(self, plan: EnginePlan) -> None:
        self.plan = plan
        self._values = Values(
            plan,
            [Neurons(p, p.rules, plan.window, plan.tolerance) for p in plan.populations],
            [
                Connections(q.projection.weights, np.asarray(q.projection.delay), q.projection.mask)
                for q in plan.projections
            ],
            [Neurons(s, s.rules, plan.window, plan.tolerance) for s in plan.sources],
        )
        self._totals = Totals.zero(self._values)
        self._inputs: list[np.ndarray] = []
        self._spikes: list[list[Spikes]] = []  # by trial, then source
        self._tapes: list[list[ComponentTape]] = []
        self._sources: list[list[Sources]] = []
        self._input_gradients: list[np.ndarray] = []
        self._drives: Sequence[Knots] = ()
        self._drive_gradients: list[Knots] = []
        self._smallest_gdot, self._ties = np.inf, 0

    # --- values ---------------------------------------------------------------------------------------------------

    def set_weights(self, projection: int, weights: np.ndarray) -> None:
        """Set weights; see `Engine.set_weights`."""
        self._values.connections[projection].set_weights(weights)

    def set_delay(self, projection: int, delay: np.ndarray) -> None:
        """Set delays; see `Engine.set_delay`."""
        self._values.connections[projection].set_delay(delay)

    def set_parameters(self, population: int, values: Mapping[str, np.ndarray]) -> None:
        """Set parameters; see `Engine.set_parameters`."""
        names = self.plan.populations[population].rules.parameters
        self._values.neurons[population].set([values[n] for n in names])
        for s in self.plan.sources_of(population):
            self._values.sources[s.index].set([values[n] for n in s.rules.parameters])

    # --- simulation -----------------------------------------------------------------------------------------------

    def forward(
        self,
        inputs: Sequence[np.ndarray],
        gradient: bool = True,
        drives: Sequence[Knots] = (),
        trials: int | None = None,
    ) -> None:
        """Simulate a batch; see `Engine.forward`."""
        self._inputs = [np.asarray(i, dtype=float) for i in inputs]
        self._drives = drives
        trials = trials_of(inputs, drives) if trials is None else trials
        self._spikes, self._tapes, self._sources = [], [], []
        self._smallest_gdot, self._ties = np.inf, 0
        with np.errstate(all="ignore"):  # states that are not finite are reported by name
            for trial in range(trials):
                self._trial(trial, gradient)

    def _trial(self, trial: int, gradient: bool) -> None:
        spikes = [spikes_of_input(i[trial]) for i in self._inputs] + [Spikes() for _ in self.plan.populations]
        tapes = []
        sources = [
            Sources(self.plan, s, neurons, spikes[self.plan.projections[s.projection].source])
            for s, neurons in zip(self.plan.sources, self._values.sources, strict=True)
        ]
        deciding = {p.index: p.rules.deciding for p in self.plan.populations}
        for component in self.plan.components:
            knots = due(self.plan.drives, self._drives, trial, component.populations, deciding)
            run = ComponentForward(self._values, component, spikes, gradient, knots, sources)
            tapes.append(run.run())
            self._smallest_gdot = min(self._smallest_gdot, run.smallest_gdot)
            self._ties += run.meetings
        self._ties += sum(s.meetings() for s in spikes[len(self._inputs) :])
        self._spikes.append(spikes)
        self._tapes.append(tapes)
        self._sources.append(sources)

    def backward(
        self,
        spikes: Mapping[int, np.ndarray],
        maxima: np.ndarray | None = None,
        samples: Mapping[int, np.ndarray] | None = None,
    ) -> None:
        """Differentiate the last batch; see `Engine.backward`."""
        self._totals = Totals.zero(self._values)
        self._input_gradients = [np.zeros(i.shape) for i in self._inputs]
        self._drive_gradients = [
            Knots(np.zeros(shape), np.zeros(shape) if d.linear else None)
            for d in self.plan.drives
            for shape in [(len(self._spikes) if d.wanted else 0, d.times.size, d.n)]
        ]
        with np.errstate(all="ignore"):
            for trial in range(len(self._spikes)):
                pulls = Pulls(
                    None if maxima is None else maxima[trial], {k: d[trial] for k, d in (samples or {}).items()}
                )
                self._trial_back(trial, {k: d[trial] for k, d in spikes.items()}, pulls)

    def _trial_back(self, trial: int, derivatives: Mapping[int, np.ndarray], pulls: Pulls) -> None:
        spikes = self._spikes[trial]
        sensitivities = [np.zeros(len(s.times)) for s in spikes]
        for k, derivative in derivatives.items():
            own = spikes[len(self._inputs) + k]
            neurons, places = np.array(own.neurons, dtype=int), np.array(own.places, dtype=int)
            read = places < derivative.shape[1]
            sensitivities[len(self._inputs) + k][read] += derivative[neurons[read], places[read]]
        sources = [
            SourcesBack(run, sensitivities[self.plan.projections[s.projection].source], total)
            for s, run, total in zip(self.plan.sources, self._sources[trial], self._totals.sources, strict=True)
        ]
        for component, tape in zip(reversed(self.plan.components), reversed(self._tapes[trial]), strict=True):
            back = ComponentBackward(self._values, component, tape, sensitivities, pulls, self._totals, sources)
            back.drives = [
                (k.values[trial], None if k.slopes is None else k.slopes[trial]) if d.wanted else None
                for d, k in zip(self.plan.drives, self._drive_gradients, strict=True)
            ]
            back.run()
        if self.plan.input_gradients:
            for total, own, values in zip(self._input_gradients, spikes, sensitivities, strict=False):
                total[trial] = own.padded(values, total.shape[1], total.shape[2], 0.0)

    # --- results of forward ---------------------------------------------------------------------------------------

    def spike_times(self, population: int) -> np.ndarray:
        """Spike times of a population, shape (trials, n, k) with k >= 1, ascending, padded with inf."""
        trains = [s[len(self._inputs) + population] for s in self._spikes]
        n = self.plan.populations[population].population.n
        k = max(1, *(max(t.places, default=0) + 1 for t in trains))
        return np.stack([t.padded(np.array(t.times), n, k, np.inf) for t in trains])

    def spike_count(self, population: int) -> int:
        """Number of spikes of a population in the whole batch."""
        return sum(len(s[len(self._inputs) + population].times) for s in self._spikes)

    def maxima(self) -> np.ndarray:
        """Largest value over time of the observed state, shape (trials, n)."""
        return np.stack([t.maxima.value for t in self._tapes_of(self.plan.readout.index) if t.maxima is not None])

    def samples(self, which: int) -> np.ndarray:
        """Samples of a state; see `Engine.samples`."""
        tapes = self._tapes_of(self.plan.place(self.plan.samples[which]))
        return np.stack([np.stack(t.samples[which], axis=-1) for t in tapes])

    def _tapes_of(self, population: int) -> list[ComponentTape]:
        place = next(k for k, c in enumerate(self.plan.components) if population in c.populations)
        return [tapes[place] for tapes in self._tapes]

    @property
    def smallest_gdot(self) -> float:
        """Smallest rate at which an event function crossed 0 in the last batch, inf without a crossing."""
        return float(self._smallest_gdot)

    @property
    def ties(self) -> int:
        """Instants of the last batch at which several arrivals met at a population, or several neurons spiked."""
        return self._ties

    def approaches(self, population: int) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """How close neurons came to their thresholds; see `Engine.approaches`."""
        tapes = self._tapes_of(population)
        with np.errstate(all="ignore"):
            closest = np.stack([approaches(self._values, tape, population) for tape in tapes])
        return closest, tuple(slopes(self._values, tape, population) for tape in tapes)

    # --- results of backward --------------------------------------------------------------------------------------

    def weight_gradient(self, projection: int) -> np.ndarray:
        """dL/dw, shape (n_source, n_target), 0 where there is no connection."""
        return self._totals.weights[projection].copy()

    def delay_gradient(self, projection: int) -> np.ndarray:
        """dL/d(delay), in the shape of the delay."""
        return self._totals.delays[projection].copy()

    def parameter_gradient(self, population: int, parameter: str) -> np.ndarray:
        """dL/dp; see `Engine.parameter_gradient`."""
        place = self.plan.populations[population].rules.gradient_of(parameter)
        return self._totals.parameters[population][place].copy()

    def source_gradient(self, source: int, parameter: str) -> np.ndarray:
        """dL/dp; see `Engine.source_gradient`."""
        return self._totals.sources[source][self.plan.sources[source].rules.gradient_of(parameter)].copy()

    def input_gradient(self, source: int) -> np.ndarray:
        """dL/dt of every input spike, in the shape of the input; 0 at the padding."""
        return self._input_gradients[source].copy()

    def drive_gradient(self, drive: int) -> Knots:
        """Derivatives by what a driven input was set to; see `Engine.drive_gradient`."""
        return self._drive_gradients[drive]
