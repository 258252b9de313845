"""What the networks of the transfer study learn, and how they are trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..datasets import Trials, yin_yang, yin_yang_latency, yin_yang_split
from ..losses import TTFSCrossEntropy
from ..losses.base import Loss
from ..templates import Network, load_network

__all__ = ["Task", "TransferSettings", "mnist_task", "settings_for", "yin_yang_task"]


@dataclass(frozen=True)
class TransferSettings:
    """How the networks are trained and where they are tested.

    Attributes
    ----------
    fractions : tuple of float
        Budgets, as fractions of the base network's hidden spikes on the validation trials; see `Task.budgets`.
    hidden : int
        Neurons of the base network.
    base_epochs, base_rate, base_decay : int, float, float
        Of the base network and of all that begin from scratch: Adam's rate in the first epoch and the factor per epoch.
    joint_epochs, joint_rate, joint_decay : int, float, float
        Of the network with the knob, which begins with the base network's values.
    more_epochs, more_decay : int, float
        Of a network retrained from the base, at `joint_rate`.
    full, least : float
        Shares of trials with all neurons and with the fewest, see `GatedBatches`.
    lowest_budget : float
        Of the fewest neurons, as a fraction; budgets grow geometrically to 1 with all neurons.
    highest_price : float
        See `SpikeBudget`.
    small : tuple of int
        Neurons of small networks.
    order_trials, at_once : int
        Of `benefit_order`: trials of the training set, and neurons taken away between measurements.
    batch_size : int
    adaptive : tuple of int
        Hidden neurons of adaptive networks; empty to leave them out.
    adaptive_epochs : int
    retrained_at : tuple of float
        Fractions that networks are retrained for.
    """

    fractions: tuple[float, ...] = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
    hidden: int = 200
    base_epochs: int = 100
    base_rate: float = 5e-3
    base_decay: float = 0.95
    joint_epochs: int = 200
    joint_rate: float = 4e-3
    joint_decay: float = 0.98
    more_epochs: int = 60
    more_decay: float = 0.94
    full: float = 0.3
    least: float = 0.2
    lowest_budget: float = 0.36
    highest_price: float = 0.1
    small: tuple[int, ...] = (20, 30, 50, 80)
    order_trials: int = 300
    at_once: int = 1
    batch_size: int = 32
    adaptive: tuple[int, ...] = (15, 30)
    adaptive_epochs: int = 80
    retrained_at: tuple[float, ...] = (0.8, 0.6, 0.5, 0.4)


@dataclass(frozen=True)
class Task:
    """What the networks learn.

    Attributes
    ----------
    name : str
    build : callable
        ``build(n, seed)`` returns a network with n hidden neurons and initial weights of a seed.
    loss : Loss
    train, validation, test : Trials
        Validation and test trials in multiples of 500.
    dropout : float
        Of input spikes in training.
    decides : bool
        Whether outputs spike, so that the first spike of an output is a decision.
    tested : int
        Settings of each knob that are tested, about.
    """

    name: str
    build: Callable[[int, int], Network]
    loss: Loss
    train: Trials
    validation: Trials
    test: Trials
    dropout: float = 0.0
    decides: bool = True
    tested: int = 40

    def budgets(self, settings: TransferSettings) -> dict[str, tuple[float, ...]]:
        """Fractions of the base network's spikes, by what is counted; about half of them come before its decision."""
        return {"spikes": settings.fractions} | ({"decided": (0.5, 0.4, 0.3, 0.2)} if self.decides else {})

    @property
    def sets(self) -> dict[str, Trials]:
        """Those that are tested on, by name."""
        return {"validation": self.validation, "test": self.test}


def yin_yang_task(validation: int = 2000, test: int = 5000) -> Task:
    """Yin-Yang 5-n-3 with the published training set; validation and test trials are drawn anew, for their number."""
    encode = partial(yin_yang_latency, longest=30e-3)
    drawn = (yin_yang_split("train"), yin_yang(validation, 1041), yin_yang(test, 1040))
    train, held, tested = (Trials({"input": s.samples}, s.labels, encode) for s in drawn)
    return Task("yin_yang", _build_yin_yang, TTFSCrossEntropy(), train, held, tested)


def mnist_task(directory: str | Path, training: int = 55000, validation: int = 5000, test: int = 10000) -> Task:
    """MNIST 784-n-10 from the user's files, by default all of them; validation trials are the training file's last.

    Parameters
    ----------
    directory : str or Path
        See `load_mnist`.
    training, validation, test : int
        Trials of each.
    """
    from .experiments import mnist

    e = mnist(directory)
    train = e.train.subset(slice(training))
    held, tested = e.validation.subset(slice(validation)), e.test.subset(slice(test))
    return Task("mnist", _build_mnist, e.loss, train, held, tested, e.dropout, decides=False, tested=12)


def settings_for(task: str, quick: bool = False) -> TransferSettings:
    """The settings of a task by name; `quick` ones show that everything runs, and no result."""
    if task == "mnist":
        settings = TransferSettings(
            hidden=350, base_epochs=12, base_decay=0.8, joint_epochs=16, joint_decay=0.85, more_epochs=6,
            more_decay=0.7, small=(20, 40, 80, 160), order_trials=500, at_once=10, adaptive=(),
        )  # fmt: skip
    elif task == "yin_yang":
        settings = TransferSettings()
    else:
        raise ValueError(f"task: expected 'yin_yang' or 'mnist', got {task!r}")
    if quick:
        few: dict[str, Any] = {"base_epochs": 6, "joint_epochs": 4, "more_epochs": 2, "base_decay": 0.9}
        settings = dataclasses.replace(
            settings, **few, small=(30,), retrained_at=(0.6,), adaptive=(), order_trials=100, at_once=10
        )
    return settings


def _build_yin_yang(n: int, seed: int) -> Network:
    larger = min(4.0, 200 / n) ** 0.7  # few neurons have to do what many do
    weights = {"distribution": "normal", "mean": 0.93 * larger, "std": 0.1 * larger}
    return load_network("yin_yang", seed=seed, hidden={"n": n}, hidden_output={"weights": weights})


def _build_mnist(n: int, seed: int) -> Network:
    return load_network("mnist", seed=seed, hidden={"n": n})
