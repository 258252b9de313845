"""What learned time constants and thresholds are worth where a quantity spans several octaves.

A few hidden neurons that all get the same input report a quantity to a read-out, the octave that it is in. Their input
weights are the same and fixed, so that nothing but a parameter of their own tells them apart:

* *elapsed time*: a cue, and some time after it a current that says "now" until the end. What is left of the cue's
  synaptic current raises the rates from then on. A trace with the time constant tau tells times around tau: long
  before, it is still what it was, long after, nothing is left. Traces with time constants spread evenly over octaves
  tell all times equally well, a Laplace transform of the past (Shankar & Howard 2012, Neural Comput. 24:134). No weight
  does what another time constant does: it scales a trace, and slows none.
* *intensity*: a constant current. A neuron is silent below its threshold, and far above it its rate saturates at its
  refractory period: it tells intensities some octaves above its threshold. Thresholds spread evenly over octaves tell
  all. (With rest and reset at 0 an input weight of its own would do the same.)

So theory says that values of their own must help, and that they should spread. The question is whether gradients find
it, from one value that all neurons share (but for a tenth, without which neurons with equal output weights stay alike).
Both tasks are made so that spikes appear and vanish at the end of the trial alone, where the potential that is read is
still continuous: the drive of a neuron grows until the end, or stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..datasets.trials import Trials
from ..gradients.simulation import Simulation
from ..losses import ExpressionLoss
from ..optimisers import Adam, ExponentialDecay
from ..templates import load_model
from ..templates.arguments import check_numbers, check_whole
from ..templates.groups import CurrentInput, Drive, Population, Projection, SpikeInput
from ..templates.network import Network
from ..training import TrainingResult, evaluate, train

__all__ = [
    "LOSS",
    "TASKS",
    "Arm",
    "RangeSettings",
    "Task",
    "elapsed_network",
    "elapsed_trials",
    "intensity_network",
    "intensity_trials",
    "run_arm",
]

Array = np.ndarray

LOSS = ExpressionLoss("(final(v) - wanted)**2", targets={"wanted": "1"})
"""The potential of the read-out at the end of the trial is to be the octave, from -1 to 1."""

SPREAD = 0.1  # standard deviation of the logarithm of what all neurons share
SHORTEST, GO, END = 2e-3, 0.13, 0.18  # elapsed time: the shortest, when the current begins, end of the trial (seconds)
LONG = 50e-3  # of a trial of intensities (seconds)


@dataclass(frozen=True)
class RangeSettings:
    """Size of a task, of the network and of its training.

    Attributes
    ----------
    octaves : float
        That the quantity spans; it is drawn uniformly in its logarithm.
    hidden : int
    training_trials, test_trials, epochs, batch_size : int
    rate, last_rate : float
        Of Adam in the first and in the last epoch, between which it decays exponentially.
    """

    octaves: float = 6.0
    hidden: int = 8
    training_trials: int = 1000
    test_trials: int = 2000
    epochs: int = 20
    batch_size: int = 50
    rate: float = 0.03
    last_rate: float = 0.002

    def __post_init__(self) -> None:
        for name in ("hidden", "training_trials", "test_trials", "epochs", "batch_size"):
            check_whole(name, getattr(self, name))
        check_numbers(**{name: getattr(self, name) for name in ("octaves", "rate", "last_rate")})
        longest = np.log2(GO / SHORTEST)
        if not 0 < self.octaves <= longest:
            raise ValueError(f"octaves: expected more than 0, and at most {longest:.2f}, got {self.octaves:g}")


@dataclass(frozen=True)
class Arm:
    """What all hidden neurons start with, and what is learned beside the output weights.

    Attributes
    ----------
    start : float
        In SI units.
    learned : tuple of str
        Keys of `Network.trainable`.
    """

    start: float
    learned: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """One quantity to be told.

    Attributes
    ----------
    key : str
        Of the parameter that the neurons have for themselves.
    factor : float
        On the rate for its logarithm.
    grid : tuple of float
        Values shared by all neurons, of which the best fixed one and the best start were chosen (seeds 101 and 102).
    arms : mapping of str to Arm
        The last one learns the parameter, the others are what it is compared with.
    trials : callable
        ``trials(settings, n, rng)``.
    network : callable
        ``network(settings, start, seed)``.
    """

    key: str
    factor: float
    grid: tuple[float, ...]
    arms: Mapping[str, Arm]
    trials: Callable[[RangeSettings, int, np.random.Generator], Trials]
    network: Callable[[RangeSettings, float, int], Network]


def elapsed_trials(settings: RangeSettings, n: int, rng: np.random.Generator) -> Trials:
    """A cue at some time before the current begins; the target is the octave of that time, from -1 to 1."""
    octave = rng.uniform(0, settings.octaves, n)
    cue = GO - SHORTEST * 2**octave
    go = np.broadcast_to([0.0, 1.0], (n, 1, 2))
    return Trials({"cue": cue[:, None], "go": go}, (2 * octave / settings.octaves - 1)[:, None])


def intensity_trials(settings: RangeSettings, n: int, rng: np.random.Generator) -> Trials:
    """A constant current, drawn around 1; the target is its octave, from -1 to 1."""
    octave = rng.uniform(-settings.octaves / 2, settings.octaves / 2, n)
    current = (2**octave)[:, None, None]
    return Trials({"stimulus": current, "go": np.ones((n, 1, 1))}, (2 * octave / settings.octaves)[:, None])


def elapsed_network(settings: RangeSettings, start: float, seed: int) -> Network:
    """The network of the elapsed time: `start` is the synaptic time constant of the hidden neurons, in seconds."""
    rng = np.random.default_rng([seed, 1])
    own: dict[str, Any] = {"tau_m": 5e-3, "tau_syn": start * np.exp(SPREAD * rng.standard_normal(settings.hidden))}
    hidden = Population("hidden", settings.hidden, load_model("lif+exp_synapse"), own, learnable=("tau_syn",))
    onto = np.ones((1, settings.hidden))
    return Network(
        "elapsed",
        (SpikeInput("cue", 1),),
        (hidden, _output()),
        (Projection("", "cue", "hidden", 0.9 * onto), _reading(settings, rng)),
        "output",
        END,
        currents=(CurrentInput("go", 1, GO),),
        drives=(Drive("", "go", "hidden", 1.05 * onto, "I_syn", learnable=()), _offset()),
    )


def intensity_network(settings: RangeSettings, start: float, seed: int) -> Network:
    """The network of intensities: `start` is the threshold of the hidden neurons."""
    rng = np.random.default_rng([seed, 1])
    thresholds = start * np.exp(SPREAD * rng.standard_normal(settings.hidden))
    own: dict[str, Any] = {"tau_m": 10e-3, "t_ref": 3e-3, "v_th": thresholds}
    model = load_model("lif+exp_synapse+refractory")
    hidden = Population("hidden", settings.hidden, model, own, learnable=("v_th",))
    onto = np.ones((1, settings.hidden))
    return Network(
        "intensity",
        (),
        (hidden, _output()),
        (_reading(settings, rng),),
        "output",
        LONG,
        currents=(CurrentInput("stimulus", 1, LONG), CurrentInput("go", 1, LONG)),
        drives=(Drive("", "stimulus", "hidden", onto, "I_syn", learnable=()), _offset()),
    )


def _output() -> Population:
    return Population("output", 1, load_model("leaky_integrator+exp_synapse"), {"tau_m": 20e-3, "tau_syn": 5e-3})


def _reading(settings: RangeSettings, rng: np.random.Generator) -> Projection:
    return Projection("", "hidden", "output", 0.3 * rng.standard_normal((settings.hidden, 1)))


def _offset() -> Drive:
    """What the read-out gets whatever the quantity is."""
    return Drive("", "go", "output", np.array([[-0.5]]), "I_syn")


def run_arm(settings: RangeSettings, task: Task, arm: Arm, seed: int) -> dict[str, Any]:
    """Train and test one arm.

    Parameters
    ----------
    settings : RangeSettings
    task : Task
    arm : Arm
    seed : int
        Of trials, initial values (which differ between arms in `start` alone) and the order of the trials.

    Returns
    -------
    dict
        ``error``: root mean square error on the test trials in octaves; ``training``: that of the last epoch's
        training trials, while it learned; ``spikes`` of the hidden neurons per trial; ``values``: the parameter of
        every hidden neuron after training, ascending; ``octave`` and ``decoded``: of every 40th test trial in order of
        the octave, from the lowest one. Values are JSON's.
    """
    data, test = (
        task.trials(settings, n, np.random.default_rng([seed, 2, k]))
        for k, n in enumerate((settings.training_trials, settings.test_trials))
    )
    options: dict[str, Any] = {"batch_size": settings.batch_size, "target": "cpp_standalone", "input_gradients": False}
    with Simulation(task.network(settings, arm.start, seed), LOSS, **options) as simulation:
        trained = train_arm(settings, task, simulation, data, arm.learned, seed)
        tested = evaluate(simulation, test, trained.values, settings.batch_size)
        value = trained.values.get(task.key, simulation.network.trainable()[task.key])
    half = settings.octaves / 2
    decoded, wanted = (half * np.asarray(x).reshape(-1) for x in (tested.output, test.targets))
    order = np.argsort(wanted)[::40]
    return {
        "error": half * float(np.sqrt(tested.loss)),
        "training": half * float(np.sqrt(trained.history.column("train_loss")[-1])),
        "spikes": tested.spikes["hidden"],
        "values": np.sort(value).tolist(),
        "octave": (wanted[order] + half).tolist(),
        "decoded": (decoded[order] + half).tolist(),
    }


def train_arm(
    settings: RangeSettings, task: Task, source: Simulation, data: Trials, learned: tuple[str, ...], seed: int
) -> TrainingResult:
    """Train output weights, and what else is named, from the network's values."""
    start = source.network.trainable()
    own = task.key in learned
    return train(
        source,
        data,
        Adam(
            ExponentialDecay.between(settings.rate, settings.last_rate, settings.epochs),
            scales={task.key: task.factor} if own else {},
            transforms={task.key: "log"} if own else {},
        ),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=seed,
        values={key: start[key] for key in ("hidden_output.w", "go_output.w", *learned)},
        progress=False,
    )


TASKS: Mapping[str, Task] = {
    "elapsed time": Task(
        "hidden.tau_syn",
        2.0,
        (8e-3, 16e-3, 32e-3, 64e-3, 128e-3),
        {
            "best shared": Arm(32e-3),
            "best shared, cue weights learned": Arm(32e-3, ("cue_hidden.w",)),
            "learned": Arm(32e-3, ("hidden.tau_syn",)),
        },
        elapsed_trials,
        elapsed_network,
    ),
    "intensity": Task(
        "hidden.v_th",
        3.0,
        (0.125, 0.25, 0.5, 1.0, 2.0),
        {"shared, as learned begins": Arm(1.0), "best shared": Arm(0.25), "learned": Arm(1.0, ("hidden.v_th",))},
        intensity_trials,
        intensity_network,
    ),
}
"""The tasks by name; which shared values stand in their arms is decided by ``scripts/figure_ranges.py --choose``."""
