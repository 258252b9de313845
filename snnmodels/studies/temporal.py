"""What learned delays, time constants and thresholds are worth on a task that times alone carry.

Every channel spikes once in every trial, and all trials have the same times but for their jitter: only the order of the
channels tells the class. A small hidden layer learns it by time to first spike, with everything else of it fixed or
learned, from the same initial values and on the same trials.

With rest and reset at 0 a threshold of a neuron's own is a scale of its input weights and nothing else, so that beside
learned input weights a learned threshold is no new freedom. Each arm is therefore trained twice: with the input weights
learned, and with them fixed at what they were drawn as, where only the output weights are learned beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..datasets.trials import Trials
from ..gradients.simulation import Simulation
from ..gradients.source import GradientSource
from ..losses import TTFSCrossEntropy
from ..optimisers import Adam, ExponentialDecay
from ..templates import load_model
from ..templates.arguments import check_numbers, check_whole
from ..templates.network import Network, Population, Projection, SpikeInput
from ..training import TrainingResult, evaluate, train

__all__ = [
    "ARMS",
    "BOUNDS",
    "CONTROL",
    "LOSS",
    "SCALES",
    "SETUPS",
    "TemporalSettings",
    "draw_orders",
    "ideal_accuracy",
    "order_trials",
    "run_seed",
    "temporal_network",
    "train_arm",
]

Array = np.ndarray

SETUPS: Mapping[str, tuple[str, ...]] = {
    "input weights learned": ("input_hidden.w", "hidden_output.w"),
    "input weights fixed": ("hidden_output.w",),
}
"""Weights that every arm learns, by the name of the set-up."""

_DELAYS, _CONSTANTS, _THRESHOLDS = ("input_hidden.delay",), ("hidden.tau_m", "hidden.tau_syn"), ("hidden.v_th",)
ARMS: Mapping[str, tuple[str, ...]] = {
    "nothing": (),
    "delays": _DELAYS,
    "time constants": _CONSTANTS,
    "thresholds": _THRESHOLDS,
}
"""What an arm learns beside the weights of its set-up, by keys of `Network.trainable`."""

CONTROL = "nothing, longer"
"""Name of the arm that learns the weights alone for `TemporalSettings.longer` times as many epochs."""

LOSS = TTFSCrossEntropy(tau0=2e-3, tau1=20e-3)
"""Time to first spike, on scales of the jitter and of the trial: on those of Yin-Yang it would mostly ask for haste."""

SCALES = {
    "input_hidden.w": 2.0,
    "hidden_output.w": 3.0,
    "hidden.tau_m": 5e-3,
    "hidden.tau_syn": 1e-3,
    "hidden.v_th": 0.5,
    "input_hidden.delay": 0.02,
}
"""Factors on Adam's rate, by key."""

BOUNDS = {
    "hidden.tau_m": (2e-3, 0.1),
    "hidden.tau_syn": (1e-3, 0.05),
    "hidden.v_th": (0.1, 10.0),
    "input_hidden.delay": (0.0, 0.05),
}
"""What values are clipped to after each step, in SI units, by key."""


@dataclass(frozen=True)
class TemporalSettings:
    """Task, network and training.

    Attributes
    ----------
    channels, classes, hidden : int
        Input channels, orders to tell from each other, hidden neurons.
    interval, jitter : float
        Between the spikes of a trial, and its standard deviation for each of them; seconds.
    longest_delay : float
        Delays of the input are drawn uniformly from 0 to this, and are the same in all arms before training; seconds.
    tau_m, tau_syn : float
        Time constants of all neurons, where and before they are learned; seconds.
    duration : float
        Of a trial in seconds.
    training_trials, test_trials : int
    epochs, batch_size : int
    rate, decay : float
        Of Adam in the first epoch, and the factor on it in every epoch.
    longer : int
        How often as many epochs the weights alone get in a control, at a rate that ends where the others' does.
    """

    channels: int = 4
    classes: int = 6
    hidden: int = 8
    interval: float = 13e-3
    jitter: float = 3e-3
    longest_delay: float = 10e-3
    tau_m: float = 20e-3
    tau_syn: float = 5e-3
    duration: float = 0.1
    training_trials: int = 400
    test_trials: int = 1000
    epochs: int = 30
    batch_size: int = 40
    rate: float = 0.01
    decay: float = 0.95
    longer: int = 5

    def __post_init__(self) -> None:
        for name in (
            "channels",
            "classes",
            "hidden",
            "training_trials",
            "test_trials",
            "epochs",
            "batch_size",
            "longer",
        ):
            check_whole(name, getattr(self, name))
        times = ("interval", "jitter", "longest_delay", "tau_m", "tau_syn", "duration", "rate", "decay")
        check_numbers(**{name: getattr(self, name) for name in times})
        possible = np.prod(np.arange(1, self.channels + 1, dtype=float))
        if not 2 <= self.classes <= possible:
            raise ValueError(
                f"classes: expected from 2 to {possible:.0f}, the orders of {self.channels} channels, "
                f"got {self.classes}"
            )
        if self.latest >= self.duration:
            raise ValueError(
                f"duration: expected more than {self.latest:g} s, when the last spikes of a trial come in, got "
                f"{self.duration:g}"
            )

    @property
    def first(self) -> float:
        """Mean time of the first spike of a trial, so that its jitter does not begin before the trial."""
        return 5 * self.jitter

    @property
    def latest(self) -> float:
        """Time in seconds after which hardly a spike of the input comes in, before delays are learned."""
        return 2 * self.first + (self.channels - 1) * self.interval + self.longest_delay


def draw_orders(settings: TemporalSettings, seed: int) -> Array:
    """Mean spike time of every channel in every class: as many orders as there are classes, drawn without replacement.

    Returns
    -------
    array, shape (classes, channels)
        Seconds.
    """
    rng = np.random.default_rng([seed, 0])
    orders: dict[tuple[int, ...], None] = {}
    while len(orders) < settings.classes:
        orders.setdefault(tuple(rng.permutation(settings.channels).tolist()))
    return settings.first + settings.interval * np.array(list(orders), dtype=float)


def order_trials(settings: TemporalSettings, orders: Array, trials: int, rng: np.random.Generator) -> Trials:
    """Trials of orders drawn uniformly, every spike with its own normal jitter.

    Parameters
    ----------
    settings : TemporalSettings
    orders : array, shape (classes, channels)
        See `draw_orders`.
    trials : int
    rng : Generator

    Returns
    -------
    Trials
        Spike times of ``"input"`` (trials, channels), the class as the target.
    """
    labels = rng.integers(len(orders), size=trials)
    times = orders[labels] + settings.jitter * rng.standard_normal((trials, orders.shape[1]))
    return Trials({"input": np.maximum(times, 0.0)}, labels)


def ideal_accuracy(orders: Array, data: Trials) -> float:
    """Fraction right of an observer who knows the orders: of equal and independent normal jitters the nearest is it."""
    inputs, labels = data.take(slice(None))
    distance = ((inputs["input"][:, None] - orders) ** 2).sum(axis=2)
    return float(np.mean(distance.argmin(axis=1) == labels))


def temporal_network(settings: TemporalSettings, seed: int) -> Network:
    """The network before training, in which all that any arm learns is learnable.

    Input weights are drawn so that a hidden neuron mostly needs the spikes of two channels or more, output weights so
    that an output neuron spikes after those of some hidden ones.
    """
    s, rng = settings, np.random.default_rng([seed, 1])
    lif = load_model("lif+exp_synapse")
    shape = (s.channels, s.hidden)
    own = {"tau_m": np.full(s.hidden, s.tau_m), "tau_syn": np.full(s.hidden, s.tau_syn), "v_th": np.ones(s.hidden)}
    delay = rng.uniform(0, s.longest_delay, shape)
    onto_hidden = rng.normal(4.0, 2.0, shape)
    onto_output = rng.normal(1.5, 0.5, (s.hidden, s.classes))
    learnt = ("tau_m", "tau_syn", "v_th")
    return Network(
        "temporal",
        (SpikeInput("input", s.channels),),
        (
            Population("hidden", s.hidden, lif, own, learnable=learnt),
            Population("output", s.classes, lif, {"tau_m": s.tau_m, "tau_syn": s.tau_syn}),
        ),
        (
            Projection("input_hidden", "input", "hidden", onto_hidden, learnable=("w", "delay"), delay=delay),
            Projection("hidden_output", "hidden", "output", onto_output),
        ),
        "output",
        s.duration,
    )


def train_arm(
    settings: TemporalSettings,
    source: GradientSource,
    data: Trials,
    learned: tuple[str, ...],
    *,
    seed: int,
    longer: int = 1,
) -> TrainingResult:
    """Train some values of a network from those that it has, and leave the others as they are.

    Parameters
    ----------
    settings : TemporalSettings
    source : GradientSource
        Of a `temporal_network`.
    data : Trials
    learned : tuple of str
        Keys of `Network.trainable`.
    seed : int
        Of the order of the trials.
    longer : int
        How often as many epochs as the settings say.
    """
    start = source.network.trainable()
    return train(
        source,
        data,
        Adam(
            ExponentialDecay(settings.rate, settings.decay ** (1 / longer)),
            scales={key: scale for key, scale in SCALES.items() if key in learned},
            bounds={key: pair for key, pair in BOUNDS.items() if key in learned},
        ),
        epochs=longer * settings.epochs,
        batch_size=settings.batch_size,
        seed=seed,
        values={key: start[key] for key in learned},
        progress=False,
    )


def run_seed(settings: TemporalSettings, seed: int) -> dict[str, Any]:
    """Train and test all arms of one seed, on the same trials and from the same initial values.

    Parameters
    ----------
    settings : TemporalSettings
    seed : int
        Of orders, trials, initial values and the order of the trials.

    Returns
    -------
    dict
        ``ideal``: see `ideal_accuracy`, on the test trials; ``setups``: by name of the set-up and of the arm, with
        that of `CONTROL`, ``accuracy`` on the test trials, ``training``: accuracy on the training trials in the last
        epoch, ``spikes``: of the hidden layer per trial, and ``change``: largest change of each value that was learned.
        Values are JSON's.
    """
    orders = draw_orders(settings, seed)
    data, test = (
        order_trials(settings, orders, trials, np.random.default_rng([seed, 2, k]))
        for k, trials in enumerate((settings.training_trials, settings.test_trials))
    )
    arms = {name: (keys, 1) for name, keys in ARMS.items()} | {CONTROL: ((), settings.longer)}
    options: dict[str, Any] = {"batch_size": settings.batch_size, "target": "cpp_standalone", "input_gradients": False}
    found: dict[str, dict[str, Any]] = {name: {} for name in SETUPS}
    with Simulation(temporal_network(settings, seed), LOSS, **options) as simulation:
        start = simulation.network.trainable()
        for setup, weights in SETUPS.items():
            for arm, (keys, longer) in arms.items():
                trained = train_arm(settings, simulation, data, (*weights, *keys), seed=seed, longer=longer)
                tested = evaluate(simulation, test, trained.values, settings.batch_size)
                assert tested.error is not None  # the loss classifies
                found[setup][arm] = {
                    "accuracy": 1 - tested.error,
                    "training": 1 - float(trained.history.column("train_error")[-1]),
                    "spikes": tested.spikes["hidden"],
                    "change": {k: float(np.abs(v - start[k]).max()) for k, v in trained.values.items()},
                }
    return {"ideal": ideal_accuracy(orders, test), "setups": found}
