"""A population of LIF neurons trained by EventProp to code a signal, at a price on its activity.

    signal --level crossings--> LIF population --> leaky integrators: estimate of the signal, and activity

The input current of a neuron follows the signal through a synapse that holds it, and its derivative through a fast one,
on which the neurons may also act on each other. Decoder, encoder and recurrent weights are trained on the joint loss
``|x - D r|^2 + kappa B^2`` with B the sum of all r (coding_networks.md), where r is a neuron's spike train through a
synapse and a membrane, of the same area as an exponential trace of time constant `tau`. Both terms are squares of
read-out potentials, so one `VoltageError` has them both: an additional output neuron reads ``sqrt(kappa) B``, to be 0.
A number of spikes has no gradient; B has one by every spike time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..coding import ring_decoder, scalar_gain
from ..datasets.encoding import level_crossings
from ..datasets.trials import Trials
from ..gradients.simulation import Simulation
from ..gradients.source import GradientSource, GradientWrapper, Outcome
from ..losses import VoltageError
from ..optimisers import Adam, ExponentialDecay
from ..templates import load_model
from ..templates.groups import Population, Projection, SpikeInput
from ..templates.network import Network
from ..training import EarlyStopping, TrainingResult, train

__all__ = [
    "AutoencoderSettings",
    "Constrained",
    "Start",
    "autoencoder_loss",
    "autoencoder_network",
    "coding_error",
    "possible_starts",
    "signal_trials",
    "train_autoencoder",
]

Array = np.ndarray
HELD = 1e4  # seconds; far longer than any trial


@dataclass(frozen=True)
class AutoencoderSettings:
    """Network, coding and training.

    Attributes
    ----------
    neurons : int
    recurrent : bool
        Whether the neurons project onto each other, with weights that start at 0.
    tau, tau_syn : float
        Time constants of membranes (hidden and read-out) and of the fast synapses, in seconds.
    level : float
        Of the level crossings, in the unit of the signal.
    dt : float
        Interval between samples of the signal and of the estimate, in seconds.
    trial, lead : float
        Length of a training trial, and the part of it at the start that doesn't count, in seconds.
    batch_size, epochs : int
    rates : tuple of float
        Initial learning rates (Adam) of held and fast input weights relative to the gain, of decoder and recurrent
        weights relative to the size of a spike in the estimate.
    decay : float
        Learning rate of the last epoch relative to the first.
    gains : tuple of float
        Scales of the input weights that training may start from.
    starts, first_epochs : int
        How many of them, the best before training, are trained for how many epochs; the best of these is trained on.
    """

    neurons: int = 100
    recurrent: bool = True
    tau: float = 20e-3
    tau_syn: float = 5e-3
    level: float = 0.025
    dt: float = 1e-3
    trial: float = 0.6
    lead: float = 0.15
    batch_size: int = 16
    epochs: int = 16
    rates: tuple[float, float, float, float] = (1e-3, 3e-3, 0.05, 0.2)
    decay: float = 0.03
    gains: tuple[float, ...] = tuple(2.0 ** (0.25 * k) for k in range(-8, 13))
    starts: int = 5
    first_epochs: int = 2

    @property
    def step_weight(self) -> float:
        """Decoder weight of a spike that adds 1 to r: the area of both is `tau`."""
        return self.tau / self.tau_syn


def autoencoder_network(
    settings: AutoencoderSettings,
    *,
    dimensions: int = 2,
    gain: float = 1.0,
    size: float = 0.1,
    price: float = 0.0,
    seed: int = 0,
    duration: float | None = None,
) -> Network:
    """The network before training: encoders on the unit sphere, decoders along them, random biases.

    Parameters
    ----------
    settings : AutoencoderSettings
    dimensions : int
        M, of the signal.
    gain : float
        Scale of the input weights; the threshold is 1.
    size : float
        Length of the decoder weights, as the size of a spike in r.
    price : float
        kappa.
    seed : int
        Of the biases, uniform between -1 and 1.5 as in the standard population of coding_networks.md.
    duration : float, optional
        Seconds; the trial of the settings by default.

    Raises
    ------
    ValueError
        If `dimensions`, `gain` or `size` isn't positive, the price is negative, or there are fewer than 3 neurons for
        two signals.
    """
    if dimensions < 1 or not (gain > 0 and size > 0 and price >= 0):
        raise ValueError("dimensions, gain and size must be positive, the price not negative")
    s, rng = settings, np.random.default_rng(seed)
    if dimensions == 2:
        encoders = ring_decoder(s.neurons, 1.0)
    else:
        encoders = rng.standard_normal((dimensions, s.neurons))
        encoders /= np.linalg.norm(encoders, axis=0)
    bias = rng.uniform(-1, 1.5, s.neurons)
    # rows: on and off of each component, then the source of the bias
    pairs = s.level * np.stack([encoders, -encoders], axis=1).reshape(2 * dimensions, s.neurons)
    # a fast current is tau_syn times the derivative: ahead by the lag of the read-out
    lag = (s.tau + s.tau_syn) / s.tau_syn
    held, fast = np.vstack([pairs, bias]), np.vstack([lag * pairs, 0 * bias])
    decoder = np.vstack([size * encoders, np.full(s.neurons, np.sqrt(price))]).T
    lif = load_model("lif", "exp_synapse:held", "exp_synapse:fast")
    constants = {"tau_m": s.tau, "tau_syn_held": HELD, "tau_syn_fast": s.tau_syn}
    projections = [
        Projection("held", "input", "hidden", gain * held, "held"),
        Projection("fast", "input", "hidden", gain * fast, "fast"),
        Projection("decoder", "hidden", "output", s.step_weight * decoder),
    ]
    if s.recurrent:
        projections.append(Projection("recurrent", "hidden", "hidden", np.zeros((s.neurons, s.neurons)), "fast"))
    readout = load_model("leaky_integrator", "exp_synapse")
    return Network(
        "autoencoder",
        (SpikeInput("input", 2 * dimensions + 1),),
        (
            Population("hidden", s.neurons, lif, constants, learnable=("v_th",)),
            Population("output", dimensions + 1, readout, {"tau_m": s.tau, "tau_syn": s.tau_syn}),
        ),
        tuple(projections),
        "output",
        s.trial if duration is None else duration,
    )


def autoencoder_loss(settings: AutoencoderSettings, lead: float | None = None) -> VoltageError:
    """The joint loss, its first seconds left out.

    Parameters
    ----------
    settings : AutoencoderSettings
    lead : float, optional
        How many; the lead of the settings by default.

    Raises
    ------
    ValueError
        If `lead` is negative.
    """
    return VoltageError(interval=settings.dt, skip=round((settings.lead if lead is None else lead) / settings.dt))


def signal_trials(settings: AutoencoderSettings, signals: Array, dt: float) -> Trials:
    """Level crossings of signals, and what the output is to be.

    Parameters
    ----------
    settings : AutoencoderSettings
    signals : array, shape (trials, M, samples)
        Values at 0, dt, 2 dt, ...; dt a fraction of the settings' interval.
    dt : float
        Seconds.

    Returns
    -------
    Trials
        Spikes of the sources ``(trials, 2 M + 1, spikes)``, the last of which spikes once at the start and so holds the
        biases; targets ``(trials, M + 1, steps)``.

    Raises
    ------
    ValueError
        If `dt` is no whole fraction of the interval, or the signals are not what `level_crossings` takes.
    """
    every = round(settings.dt / dt)
    if every < 1 or abs(every * dt - settings.dt) > 1e-9 * settings.dt:
        raise ValueError(f"dt = {dt:g} s of the signals is not a whole fraction of the interval {settings.dt:g} s")
    crossings = level_crossings(signals, dt, settings.level, refractory=settings.dt)
    start = np.full((len(signals), 1, crossings.shape[2]), np.inf)
    start[:, :, 0] = 0.0
    wanted = np.asarray(signals)[:, :, every::every]
    activity = np.zeros((len(signals), 1, wanted.shape[2]))
    return Trials({"input": np.concatenate([crossings, start], axis=1)}, np.concatenate([wanted, activity], axis=1))


class Constrained(GradientWrapper):
    """Gradients of an autoencoder along what may change.

    The weights of an on source and its off source stay opposite, since the held current is to be the same whenever the
    signal is; the activity's read-out and the thresholds stay as they are.
    """

    def run(
        self,
        inputs: Mapping[str, Array],
        targets: Array,
        values: Mapping[str, Array] | None = None,
        *,
        gradient: bool = True,
    ) -> Outcome:
        """Simulate one batch; see `GradientSource.run`."""
        outcome = self._source.run(inputs, targets, values, gradient=gradient)
        if not gradient:
            return outcome
        gradients = dict(outcome.gradients)
        for key in ("held.w", "fast.w"):
            changed = np.array(gradients[key])
            half = (changed[0:-1:2] - changed[1:-1:2]) / 2
            changed[0:-1:2], changed[1:-1:2] = half, -half
            gradients[key] = changed
        gradients["decoder.w"] = np.array(gradients["decoder.w"])
        gradients["decoder.w"][:, -1] = 0.0
        gradients["hidden.v_th"] = np.zeros_like(gradients["hidden.v_th"])
        return dataclasses.replace(outcome, gradients=gradients)


@dataclass(frozen=True)
class Start:
    """An untrained network, the scale of its input weights, the size of a spike in its estimate, its joint loss."""

    network: Network
    gain: float
    size: float
    loss: float


def possible_starts(
    settings: AutoencoderSettings, source: GradientSource, data: Trials, price: float, seed: int
) -> list[Start]:
    """Untrained networks of every gain at which there are spikes, each with its best decoder length, best first.

    The joint loss is that of one batch.

    Parameters
    ----------
    settings : AutoencoderSettings
    source : GradientSource
        As for `train_autoencoder`.
    data : Trials
        See `signal_trials`; the first batch is simulated.
    price : float
        kappa.
    seed : int
        Of the biases.

    Raises
    ------
    ValueError
        If there are spikes at none.
    """
    inputs, targets = data.take(slice(0, settings.batch_size))
    dimensions, first = targets.shape[1] - 1, round(settings.lead / settings.dt)
    wanted = targets[:, :-1, first:]

    def network(gain: float, size: float) -> Network:
        return autoencoder_network(settings, dimensions=dimensions, gain=gain, size=size, price=price, seed=seed)

    found = []
    for gain in settings.gains:
        values = network(gain, 1.0).trainable()
        output = source.run(inputs, targets, values, gradient=False).output[:, :, first:]
        estimate = output[:, :-1]
        size = _gain(estimate, wanted)
        if size > 0:
            error = ((size * estimate - wanted) ** 2).sum(axis=1).mean() + (output[:, -1] ** 2).mean()
            found.append(Start(network(gain, size), gain, size, float(error)))
    if not found:
        raise ValueError(f"no neuron spikes at any of the gains {settings.gains}")
    return sorted(found, key=lambda s: s.loss)


def train_autoencoder(
    settings: AutoencoderSettings,
    source: GradientSource,
    data: Trials,
    validation: Trials,
    *,
    price: float,
    seed: int = 0,
) -> TrainingResult:
    """Train at a price; the result is of the epoch with the smallest joint loss on the validation set.

    Training moves spikes and seldom makes or removes them, so where it ends depends on the rate at which it starts:
    the best of several starts counts (see `AutoencoderSettings`).

    Parameters
    ----------
    settings : AutoencoderSettings
    source : GradientSource
        Simulates an `autoencoder_network` of any values with the settings' batch size; may be used again.
    data, validation : Trials
        See `signal_trials`.
    price : float
        kappa.
    seed : int
        Of the biases and of the order of the trials.

    Raises
    ------
    ValueError
        If no neuron spikes at any gain.
    TrainingError
        If a loss or a gradient is NaN or infinite.
    """
    held, fast, decoder, recurrent = settings.rates
    schedule = ExponentialDecay.between(1.0, settings.decay, settings.epochs)

    def trained(start: Start, epochs: int) -> TrainingResult:
        scales = {"held.w": held * start.gain, "fast.w": fast * start.gain, "decoder.w": decoder * start.size}
        if settings.recurrent:
            scales["recurrent.w"] = recurrent * start.size
        return train(
            Constrained(source),
            data,
            Adam(schedule, scales={**scales, "hidden.v_th": 0.0}),
            epochs=epochs,
            batch_size=settings.batch_size,
            seed=seed,
            values=start.network.trainable(),
            validation=validation,
            early_stopping=EarlyStopping(epochs, "validation_loss"),
            progress=False,
        )

    starts = possible_starts(settings, source, data, price, seed)[: settings.starts]
    if len(starts) > 1:
        reached = [trained(s, settings.first_epochs).history.column("validation_loss")[-1] for s in starts]
        starts = [starts[int(np.argmin(reached))]]
    return trained(starts[0], settings.epochs)


def coding_error(simulation: Simulation, data: Trials, values: Mapping[str, Array], discard: float) -> dict[str, float]:
    """Rate and coding loss on one long trial, on the axes of the trade-off figure.

    Parameters
    ----------
    simulation : Simulation
        Of an `autoencoder_network` as long as the trial, with a batch size of 1.
    data : Trials
        One trial.
    values : mapping of str to array
    discard : float
        Seconds at the start to leave out.

    Returns
    -------
    dict
        ``rate``: spikes per second of the population; ``loss``: time average of |x - x̂|²; ``loss_gain``: the same with
        the scalar gain on the estimate that makes it smallest.
    """
    assert isinstance(simulation.loss, VoltageError)
    inputs, targets = data.take(slice(0, 1))
    output = simulation.run(inputs, targets, values, gradient=False).output
    spikes = simulation.spike_times("hidden")
    first = round(discard / simulation.loss.interval)
    estimate, wanted = output[0, :-1, first:], targets[0, :-1, first:]
    gain = _gain(estimate, wanted)
    duration = simulation.network.duration - discard
    return {
        "rate": float(np.count_nonzero(np.isfinite(spikes) & (spikes >= discard)) / duration),
        "loss": float(((estimate - wanted) ** 2).sum(axis=0).mean()),
        "loss_gain": float(((gain * estimate - wanted) ** 2).sum(axis=0).mean()),
    }


def _gain(estimate: Array, wanted: Array) -> float:
    """The scalar gain with the smallest error, 0 for a silent network."""
    return scalar_gain(estimate, wanted) if estimate.any() else 0.0
