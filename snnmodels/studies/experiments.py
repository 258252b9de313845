"""The published experiments (Yin-Yang, MNIST), and spoken digits, ready to be trained for several seeds at a time.

Settings of the first two: Wunderlich & Pehle (2021), Sci. Rep. 11:12829, https://doi.org/10.1038/s41598-021-91786-z.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..datasets import (
    CLASS_NAMES,
    SHD_CLASSES,
    ImageSet,
    Trials,
    image_latency,
    load_digits,
    load_mnist,
    load_shd,
    yin_yang_latency,
    yin_yang_split,
)
from ..datasets import yin_yang as draw_yin_yang
from ..losses import MaxVoltageCrossEntropy, TTFSCrossEntropy, loss_of
from ..losses.base import Loss
from ..templates import load_network

if TYPE_CHECKING:
    from ..targets import Target
    from ..templates import Network

__all__ = [
    "MNIST_SETUPS",
    "SHD_SETUP",
    "YIN_YANG_SETUPS",
    "Experiment",
    "Setup",
    "digits",
    "mnist",
    "shd",
    "yin_yang",
]

_HELD_OUT = 5000
_FRESH = 777  # seed of Yin-Yang samples that are in none of the published sets


@dataclass(frozen=True)
class Experiment:
    """A network, its data and its loss.

    Attributes
    ----------
    name : str
        Begins the names of result files.
    network : str
        Name or path of the network's file.
    loss : Loss
    train, validation, test : Trials
    class_names : tuple of str
    dropout : float
        Probability of dropping an input spike in training.
    overrides : mapping
        Changes to the network's file, as `load_network` takes them.
    scales, bounds : mapping
        Of Adam, by key of `Network.trainable`, for what is no weight.
    """

    name: str
    network: str
    loss: Loss
    train: Trials
    validation: Trials
    test: Trials
    class_names: tuple[str, ...]
    dropout: float = 0.0
    overrides: Mapping[str, Any] = field(default_factory=dict)
    scales: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def initial(self, seed: int) -> Network:
        """Return the network with initial weights of a seed."""
        return load_network(self.network, seed=seed, **self.overrides)


@dataclass(frozen=True)
class Setup:
    """How to train.

    Attributes
    ----------
    epochs, batch_size : int
    target : str
        What the simulation runs on, see `Simulation`.
    learning_rate, decay : float
        Adam's rate in the first epoch, and the factor on it per epoch.
    """

    epochs: int
    batch_size: int = 32
    target: Target = "cpp_standalone"
    learning_rate: float = 5e-3
    decay: float = 0.95


# Time scale of the loss's softmax in seconds, and setup. A sharper softmax is content with less of a lead, and leaves
# more of the gradient to trials that are wrong; docs/training.md has the choice.
YIN_YANG_SETUPS = {
    "published": (0.5e-3, Setup(epochs=100)),
    "sharp": (0.0625e-3, Setup(epochs=200, decay=0.975)),
}

# The published 100 epochs in batches of 5 take longer than they have to: larger batches, and a rate that falls faster.
# First spikes want a lower rate; see docs/training.md for what else was tried.
MNIST_SETUPS = {
    "max_voltage": Setup(epochs=30, batch_size=8, learning_rate=5e-3, decay=0.92),
    "ttfs": Setup(epochs=30, batch_size=8, learning_rate=3e-3, decay=0.92),
}

# Batches and rate of published work on these data (32, 1e-3 without decay)
SHD_SETUP = Setup(epochs=100, batch_size=32, learning_rate=1e-3, decay=1.0)


def yin_yang(tau0: float = YIN_YANG_SETUPS["published"][0], fresh: int = 0) -> Experiment:
    """Yin-Yang with a time-to-first-spike loss, on the published sets.

    Parameters
    ----------
    tau0 : float
        Time scale of the loss's softmax, in seconds; see `TTFSCrossEntropy`.
    fresh : int
        That many samples of no published set in place of the published test set, by which settings can be chosen.
    """
    encode = partial(yin_yang_latency, longest=float(load_network("yin_yang").encoding["longest"]))
    sets = [yin_yang_split("train"), yin_yang_split("validation")]
    sets.append(draw_yin_yang(fresh, _FRESH) if fresh else yin_yang_split("test"))
    training, validation, test = (Trials({"input": s.samples}, s.labels, encode) for s in sets)
    return Experiment("yin_yang", "yin_yang", TTFSCrossEntropy(tau0=tau0), training, validation, test, CLASS_NAMES)


def mnist(directory: str | Path, loss: Literal["max_voltage", "ttfs"] = "max_voltage") -> Experiment:
    """MNIST from the user's files: 55000 training images, the last 5000 of the file for validation, 10000 for test.

    Parameters
    ----------
    directory : str or Path
        See `load_mnist`.
    loss : {"max_voltage", "ttfs"}
        Cross-entropy on the maxima of non-spiking readouts, or on first spikes of spiking ones.

    Raises
    ------
    FileNotFoundError
        If the directory or a file is missing.
    ValueError
        If a file is not the published one, or for an unknown loss.
    """
    training = load_mnist(directory, "train")
    parts = [ImageSet(*(a[part] for a in training)) for part in (slice(-_HELD_OUT), slice(-_HELD_OUT, None))]
    return _images("mnist", [*parts, load_mnist(directory, "test")], loss)


def digits(loss: Literal["max_voltage", "ttfs"] = "max_voltage") -> Experiment:
    """The 8 × 8 digits of scikit-learn, on a 64-100-10 version of the MNIST network: a demonstration of seconds.

    With about 32 input spikes instead of 100, input weights have to be larger and dropout milder. Small batches suit it
    (8).

    Raises
    ------
    ImportError
        If scikit-learn is not installed.
    ValueError
        For an unknown loss.
    """
    sets = [load_digits(split) for split in ("train", "validation", "test")]
    output = {"distribution": "normal", "mean": 0.0 if loss == "max_voltage" else 0.2, "std": 0.37}
    return _images(
        "digits",
        sets,
        loss,
        input={"n": 64},
        hidden={"n": 100},
        input_hidden={"weights": {"distribution": "normal", "mean": 0.3, "std": 0.6}},
        hidden_output={"weights": output},
        encoding={"code": "image_latency", "longest": "20*ms", "dropout": 0.05},
    )


def _images(name: str, sets: Sequence[ImageSet], loss: str, **overrides: Any) -> Experiment:
    if loss not in ("max_voltage", "ttfs"):
        raise ValueError(f"loss: expected 'max_voltage' or 'ttfs', got {loss!r}")
    if loss == "ttfs":
        overrides["output"] = {"model": "lif+exp_synapse"}
    encoding = load_network("mnist", **overrides).encoding
    encode = partial(image_latency, longest=float(encoding["longest"]))
    training, validation, test = (Trials({"input": s.images}, s.labels, encode) for s in sets)
    return Experiment(
        f"{name}_{loss}",
        "mnist",
        MaxVoltageCrossEntropy() if loss == "max_voltage" else TTFSCrossEntropy(),
        training,
        validation,
        test,
        class_names=tuple(str(k) for k in range(10)),
        dropout=float(encoding["dropout"]),
        overrides=overrides,
    )


def shd(directory: str | Path, hidden: int = 256, speaker: int = 0, **overrides: Any) -> Experiment:
    """Spoken digits on a recurrent network with learned delays (`equations/networks/shd.toml`).

    Parameters
    ----------
    directory : str or Path
        See `load_shd`.
    hidden : int
        Number of recurrent neurons.
    speaker : int
        Whose trials of the training set are kept for validation, instead of being trained on: the test set too has
        speakers of its own.
    **overrides
        As for `load_network`.

    Raises
    ------
    FileNotFoundError, ImportError
        As `load_shd`.
    ValueError
        As `load_shd`; if a spike comes after the network's trial, or the file names no such speaker or no other.
    """
    changes = {**overrides, "hidden": {"n": hidden, **overrides.get("hidden", {})}}
    network = load_network("shd", **changes)
    training, test = load_shd(directory, "train"), load_shd(directory, "test")
    for name, found in (("training", training), ("test", test)):
        if found.spikes.last >= network.duration:
            raise ValueError(
                f"{directory}: a spike of the {name} set is at {found.spikes.last:g} s, not before the end of the "
                f"network's trial at {network.duration:g} s; give shd(..., duration=...) a longer one, and as long a "
                "tau_q of its output"
            )
    if training.speakers is None:
        raise ValueError(f"{directory}: shd_train.h5 has no extra/speaker, of whom one is kept for validation")
    own = training.speakers == speaker
    if own.all() or not own.any():
        raise ValueError(
            f"speaker {speaker} has {own.sum()} of {len(own)} trials of the training set; its speakers are "
            f"{', '.join(map(str, np.unique(training.speakers)))}"
        )
    every = Trials({"input": training.spikes}, training.labels)
    delays = ("input_hidden.delay", "hidden_hidden.delay")
    return Experiment(
        "shd",
        "shd",
        loss_of(network),
        every.subset(np.flatnonzero(~own)),
        every.subset(np.flatnonzero(own)),
        Trials({"input": test.spikes}, test.labels),
        SHD_CLASSES,
        overrides=changes,
        scales=dict.fromkeys(delays, 0.1),
        bounds=dict.fromkeys(delays, (0.0, 0.06)),
    )
