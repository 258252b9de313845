"""What learned delays, time constants and thresholds are worth on a task that times alone carry.

Every channel spikes once in every trial, and all trials have the same times but for their jitter and a shift that the
channels of a trial share: only the order of the channels tells the class. Its intervals are longer than the time
constants of the neurons, so that little is left of one spike when the next comes in. A small hidden layer learns it by
time to first spike, with everything else of it fixed or learned, from the same initial values and on the same trials.

With rest and reset at 0 a threshold of a neuron's own is a scale of its input weights and nothing else, so that beside
learned input weights a learned threshold is no new freedom. Thresholds are therefore learned with the input weights
fixed at what they were drawn as, and compared with the output weights alone.
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
from ..templates.groups import Population, Projection, SpikeInput
from ..templates.network import Network
from ..training import TrainingResult, evaluate, train

__all__ = [
    "ARMS",
    "BOUNDS",
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

ARMS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "input weights learned": {
        "nothing": (),
        "delays": ("input_hidden.delay",),
        "time constants": ("hidden.tau_m", "hidden.tau_syn"),
    },
    "input weights fixed": {"nothing": (), "thresholds": ("hidden.v_th",)},
}
"""What the arms of a set-up learn beside its weights, by keys of `Network.trainable`; the first is the fixed one."""

LOSS = TTFSCrossEntropy(tau0=1e-3, tau1=20e-3)
"""Time to first spike, on scales of the jitter and of the trial: on those of Yin-Yang it would mostly ask for haste."""

SCALES = {
    "hidden.tau_m": 0.08,
    "hidden.tau_syn": 0.04,
    "hidden.v_th": 0.85,
    "input_hidden.delay": 0.08,
}
"""Factors on Adam's rate, by key."""

BOUNDS = {
    "hidden.tau_m": (3e-3, 0.1),
    "hidden.tau_syn": (1e-3, 0.05),
    "hidden.v_th": (0.2, 5.0),
    "input_hidden.delay": (0.0, 0.025),
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
    shift : float
        The channels of a trial are shifted together by a time drawn uniformly from 0 to this; seconds.
    tau_m, tau_syn : float
        Time constants of all neurons, where and before they are learned; seconds.
    duration : float
        Of a trial in seconds.
    training_trials, test_trials : int
    epochs, batch_size : int
    rate, last_rate : float
        Of Adam in the first and in the last epoch, between which it decays exponentially.
    """

    channels: int = 4
    classes: int = 6
    hidden: int = 8
    interval: float = 6e-3
    jitter: float = 1e-3
    shift: float = 5e-3
    tau_m: float = 4e-3
    tau_syn: float = 2e-3
    duration: float = 60e-3
    training_trials: int = 4000
    test_trials: int = 2000
    epochs: int = 12
    batch_size: int = 64
    rate: float = 0.02
    last_rate: float = 0.001

    def __post_init__(self) -> None:
        for name in ("channels", "classes", "hidden", "training_trials", "test_trials", "epochs", "batch_size"):
            check_whole(name, getattr(self, name))
        times = ("interval", "jitter", "shift", "tau_m", "tau_syn", "duration", "rate", "last_rate")
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
        return 2 * self.first + (self.channels - 1) * self.interval + self.shift


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
    """Trials of orders drawn uniformly, with a common shift and every spike with its own normal jitter.

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
    shift = settings.shift * rng.uniform(size=(trials, 1))
    times = orders[labels] + shift + settings.jitter * rng.standard_normal((trials, orders.shape[1]))
    return Trials({"input": np.maximum(times, 0.0)}, labels)


def ideal_accuracy(orders: Array, data: Trials) -> float:
    """Fraction right of an observer who knows the orders and takes the nearest, whatever the shift.

    Of equal and independent normal jitters the nearest is the likeliest, where nothing is known of the shift.
    """
    inputs, labels = data.take(slice(None))
    centred = [x - x.mean(axis=1, keepdims=True) for x in (inputs["input"], orders)]
    distance = ((centred[0][:, None] - centred[1]) ** 2).sum(axis=2)
    return float(np.mean(distance.argmin(axis=1) == labels))


def temporal_network(settings: TemporalSettings, seed: int) -> Network:
    """The network before training, in which all that any arm learns is learnable.

    Input weights are drawn so that a hidden neuron spikes for some channels alone and not for others, output weights so
    that an output neuron spikes after those of some hidden ones. All delays are 0.
    """
    s, rng = settings, np.random.default_rng([seed, 1])
    lif = load_model("lif+exp_synapse")
    shape = (s.channels, s.hidden)
    own = {"tau_m": np.full(s.hidden, s.tau_m), "tau_syn": np.full(s.hidden, s.tau_syn), "v_th": np.ones(s.hidden)}
    onto_hidden = rng.normal(3.15, 1.9, shape)
    onto_output = rng.normal(1.9, 0.63, (s.hidden, s.classes))
    learnt = ("tau_m", "tau_syn", "v_th")
    return Network(
        "temporal",
        (SpikeInput("input", s.channels),),
        (
            Population("hidden", s.hidden, lif, own, learnable=learnt),
            Population("output", s.classes, lif, {"tau_m": s.tau_m, "tau_syn": s.tau_syn}),
        ),
        (
            Projection("input_hidden", "input", "hidden", onto_hidden, learnable=("w", "delay"), delay=np.zeros(shape)),
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
    """
    start = source.network.trainable()
    return train(
        source,
        data,
        Adam(
            ExponentialDecay.between(settings.rate, settings.last_rate, settings.epochs),
            scales={key: scale for key, scale in SCALES.items() if key in learned},
            bounds={key: pair for key, pair in BOUNDS.items() if key in learned},
        ),
        epochs=settings.epochs,
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
        ``ideal``: see `ideal_accuracy`, on the test trials; ``setups``: by name of the set-up and of the arm,
        ``accuracy`` on the test trials, ``training``: accuracy on the training trials in the last
        epoch, ``spikes``: of the hidden layer per trial, and ``change``: largest change of each value that was learned.
        Values are JSON's.
    """
    orders = draw_orders(settings, seed)
    data, test = (
        order_trials(settings, orders, trials, np.random.default_rng([seed, 2, k]))
        for k, trials in enumerate((settings.training_trials, settings.test_trials))
    )
    options: dict[str, Any] = {"batch_size": settings.batch_size, "target": "cpp_standalone", "input_gradients": False}
    found: dict[str, dict[str, Any]] = {name: {} for name in SETUPS}
    with Simulation(temporal_network(settings, seed), LOSS, **options) as simulation:
        start = simulation.network.trainable()
        for setup, weights in SETUPS.items():
            for arm, keys in ARMS[setup].items():
                trained = train_arm(settings, simulation, data, (*weights, *keys), seed=seed)
                tested = evaluate(simulation, test, trained.values, settings.batch_size)
                assert tested.error is not None  # the loss classifies
                found[setup][arm] = {
                    "accuracy": 1 - tested.error,
                    "training": 1 - float(trained.history.column("train_error")[-1]),
                    "spikes": tested.spikes["hidden"],
                    "change": {k: float(np.abs(v - start[k]).max()) for k, v in trained.values.items()},
                }
    return {"ideal": ideal_accuracy(orders, test), "setups": found}
