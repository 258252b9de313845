"""How likely a recorded spike train is under a model whose threshold is soft: spikes are forced, so nothing jumps.

The recorded spikes do all that a spike of the model does (reset, adaptation, refractory period), at their own times. In
between the model would spike with the hazard lambda = exp(m/Delta_u)/ms, where m is what is left minus what is right of
``>`` in its threshold: the escape rate with which Jolivet, Rauch, Luescher & Gerstner (2006, J. Comput. Neurosci.
21:35) and Mensi et al. (2012, J. Neurophysiol. 107:1756) fit threshold models. The negative log-likelihood of a train
is int lambda dt - sum_s ln lambda(t_s-), with the integral over all times at which the neuron is not refractory. No
spike appears or vanishes with the parameters: it is smooth, and teaches about missing and extra spikes too.

Nothing of the engine is made for it. `forced_model` derives from a model one whose threshold is crossed by arrivals
from a `SpikeInput` and by nothing else; the integral and the sum are states of it, and `ForcedSpikeLikelihood`
reads their last values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..losses.base import Loss, LossValue
from ..losses.observables import FinalValues, Observable, SpikeTimes
from ..losses.observed import check_positive, checked_spike_times, wanted_spike_times
from ..templates.expressions import parse_threshold
from ..templates.model import Assignment, Model, Parameter, Receptor, State
from ..templates.network import Network
from ..templates.spike_times import with_room
from ..templates.units import expression_dimension, unit_dimension, unit_of_dimension

__all__ = ["FORCED", "SOFTNESS", "ForcedSpikeLikelihood", "forced_model", "spiked_late"]

FORCED = "forced_spikes"
"""Name of the receptor at which recorded spikes arrive, with weight 1."""

SOFTNESS = "Delta_u"
"""Name of the parameter over which the hazard grows by a factor of e, in the unit of the threshold."""

_PENDING, _LOG, _INTEGRAL = "forced_spike", "log_hazard", "cumulative_hazard"
_TIMES = 1e-9  # seconds by which a forced spike may be off: it is later where the period before it has not ended


def forced_model(model: Model, softness: float) -> Model:
    """A model that spikes when a spike arrives at its receptor `FORCED`, and never else.

    It has three more states: a trigger, which the arrival lifts above 1/2 and every spike puts back to 0; the sum of
    log hazards (times ms) just before the arrivals; and the integral of the hazard, which stands still while the neuron
    is refractory. Its parameter `SOFTNESS` is more. All else, the reset and the refractory period included, is as it
    was.

    Parameters
    ----------
    model : Model
        With a threshold.
    softness : float
        Default of `SOFTNESS`, in SI base units; more than 0.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If the model never spikes, holds states for another time than it is refractory, or has a variable of one of
        these names; or if the softness is not positive.
    """
    check_positive(softness=softness)
    if model.threshold is None:
        raise ValueError(f"{model.name} has no threshold, so that there is no hazard of a spike; take a spiking model")
    period = model.refractory
    if period is not None and period.hold_duration is not None:
        raise ValueError(
            f"{model.name} holds states for {period.hold_duration} and is refractory for {period.duration}: the "
            "integral of the hazard would be held for the wrong one of them; take one of the "
            "mechanisms refractory and dead_time"
        )
    taken = {*model.state_names, *model.parameters, *model.derived, *model.inputs, *model.receptors}
    for name in (FORCED, SOFTNESS, _PENDING, _LOG, _INTEGRAL):
        if name in taken:
            raise ValueError(f"{model.name} has a variable {name!r}, which forced spikes need; rename it")
    left, right = parse_threshold(model.threshold)
    known = {s.name: unit_dimension(s.unit) for s in model.states}
    known |= {p.name: unit_dimension(p.unit) for p in model.parameters.values()}
    unit = unit_of_dimension(expression_dimension(left, known))
    margin = f"(({left}) - ({right}))/{SOFTNESS}"
    new = {_PENDING: "0/second", _LOG: "0/second", _INTEGRAL: f"exp({margin})/ms"}
    described = {
        _PENDING: "trigger of the forced spike",
        _LOG: "sum of the logarithms of the hazard times 1 ms, just before forced spikes",
        _INTEGRAL: "integral of the hazard",
    }
    default = float(softness)
    written = f"{default!r}*{unit}" if unit != "1" else repr(default)
    soft = Parameter(SOFTNESS, default, unit, written, "over which the hazard grows by a factor of e", positive=True)
    lines = [f"d{name}/dt = {rhs} : 1" for name, rhs in new.items()]
    arrive = (Assignment(_LOG, "+=", margin), Assignment(_PENDING, "+=", "w"))
    if period is not None:
        period = replace(period, hold=(*period.hold, _INTEGRAL))
    return replace(
        model,
        name=f"{model.name} with forced spikes",
        states=(*model.states, *(State(name, "1", description=described[name]) for name in new)),
        derivatives={**model.derivatives, **new},
        parameters={**model.parameters, SOFTNESS: soft},
        threshold=f"{_PENDING} > 0.5",
        reset=(*model.reset, Assignment(_PENDING, "=", "0")),
        receptors={**model.receptors, FORCED: Receptor(FORCED, arrive, description="recorded spike, of weight 1")},
        equations="\n".join([model.equations.rstrip(), *lines, f"{SOFTNESS} : {unit} (constant, shared)"]),
        refractory=period,
        accuracy=None,
        pseudospike=None,
    )


def spiked_late(times: np.ndarray, forced: np.ndarray) -> np.ndarray:
    """Which forced spikes came later, as the neuron was refractory: the likelihood of such a train is 0.

    Parameters
    ----------
    times : array, shape (trials, n, spikes)
        Of the neurons, in seconds, padded with ``inf``.
    forced : array, shape (trials, n, k)
        When they were to spike, likewise.

    Returns
    -------
    bool array, shape (trials, n, k)
    """
    found = with_room(times, forced.shape[2])[:, :, : forced.shape[2]]
    with np.errstate(invalid="ignore"):  # inf - inf
        late: np.ndarray = ~((found == forced) | (np.abs(found - forced) <= _TIMES))
    return late


@dataclass(frozen=True)
class ForcedSpikeLikelihood(Loss):
    """Negative log-likelihood of recorded spikes for each of them: (int lambda dt - sum_s ln(lambda(t_s-) ms))/N.

    For a population of `forced_model` that gets the recorded spikes of its neuron n from source n of a `SpikeInput`,
    and the same as targets. N counts the spikes of all neurons of a trial; the loss is the mean over trials.

    Attributes
    ----------
    population : str
        The output if empty.
    """

    population: str = ""

    @property
    def observes(self) -> tuple[Observable, ...]:
        """Spike times, the sum of log hazards and the integral of the hazard."""
        name = self.population
        return SpikeTimes(name), FinalValues(name, _LOG), FinalValues(name, _INTEGRAL)

    def check(self, network: Network) -> None:
        """Refuse a population whose spikes are not forced; see `Loss.check`."""
        model = network.population(self.population or network.output).model
        if FORCED not in model.receptors:
            raise ValueError(f"the likelihood reads forced spikes, and {model.name} has none; take forced_model of it")

    def evaluate(self, observed: tuple[np.ndarray, np.ndarray, np.ndarray], targets: np.ndarray) -> LossValue:
        """Evaluate on what was simulated and recorded spikes ``(trials, n, k)`` in seconds; see `Loss.evaluate`.

        Raises
        ------
        ValueError
            If a trial has no spike, or a recorded spike falls into the refractory period of the one before it, where
            its likelihood is 0.
        """
        spikes, logs, integral = observed
        times = checked_spike_times(spikes)
        wanted = wanted_spike_times(targets, times)
        count = np.isfinite(wanted).sum(axis=(1, 2))
        if not count.all():
            raise ValueError(f"targets: trial {int(np.argmin(count))} has no spike; there is no mean over none")
        self._check_forced(times, wanted)
        share = 1 / count[:, None] / len(count)
        value = float(((integral - logs) * share).sum())
        ones = np.broadcast_to(share, integral.shape)
        return LossValue(value, (np.zeros(np.shape(spikes)), -ones, ones.copy()))

    @staticmethod
    def _check_forced(times: np.ndarray, wanted: np.ndarray) -> None:
        """Refuse spikes that came later than they were forced."""
        wrong = np.argwhere(spiked_late(times, wanted))
        if len(wrong):
            trial, n, k = wrong[0]
            raise ValueError(
                f"trial {trial}, neuron {n}: the recorded spike at {wanted[trial, n, k]:.6g} s falls into the "
                "refractory period of the one before, where its likelihood is 0; keep the period below "
                "the shortest interval"
            )
