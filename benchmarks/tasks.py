"""The tasks that are timed: Yin-Yang and MNIST with the published settings, or with other sizes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from snnmodels.datasets import image_latency, load_mnist, yin_yang_latency, yin_yang_split
from snnmodels.losses import MaxVoltageCrossEntropy, TTFSCrossEntropy
from snnmodels.losses.base import Loss
from snnmodels.templates import load_network
from snnmodels.templates.network import Network
from snnmodels.templates.values import with_values
from snnmodels.training.checkpoint import load_checkpoint

from .serving import Task

__all__ = ["loss_of", "mnist", "network_of", "yin_yang"]

# Share of pixels above 1 in the training images of MNIST
_INKED = 0.19


def yin_yang(
    trials: int,
    *,
    batch_size: int = 32,
    dt: float = 0.25e-3,
    hidden: int = 200,
    drive: float = 1.0,
    weights: Path | None = None,
) -> Task:
    """Yin-Yang, 5-200-3 with a loss on first spikes.

    Parameters
    ----------
    trials : int
        How many of the training set.
    batch_size : int
    dt : float
        Seconds.
    hidden : int
        Size of the hidden population; output weights shrink as it grows, so that the output stays as it is.
    drive : float
        Factor on the input weights, to change the number of spikes.
    weights : Path, optional
        Checkpoint of a training run; without it, initial weights.
    """
    sizes: dict[str, Any] = {"hidden": {"n": hidden}}
    net = load_network("yin_yang", **sizes)
    samples, labels = yin_yang_split("train")
    times = yin_yang_latency(samples[:trials], float(net.encoding["longest"]))
    state = "initial weights" if weights is None else "trained weights"
    first, second = _weights(net, weights)
    scaled = drive * first, second * 200 / hidden
    description = f"Yin-Yang 5-{hidden}-3, first spikes, {state}"
    return _task(net, sizes, times, labels[:trials], scaled, dt, batch_size, description)


def mnist(trials: int, *, batch_size: int = 32, dt: float = 0.5e-3, data: Path | None = None) -> Task:
    """MNIST, 784-350-10 with a loss on maxima of leaky integrators; initial weights.

    Parameters
    ----------
    trials, batch_size, dt
        See `yin_yang`.
    data : Path, optional
        Folder of the IDX files; without it, random images with as many grey pixels (and more even activity).
    """
    net = load_network("mnist")
    if data is None:
        rng = np.random.default_rng(0)
        grey = rng.integers(2, 256, (trials, 784)) * (rng.random((trials, 784)) < _INKED)
        images, labels = grey.astype(np.uint8), rng.integers(0, 10, trials)
    else:
        loaded = load_mnist(data, "train")
        images, labels = loaded.images[:trials], loaded.labels[:trials]
    times = image_latency(images, float(net.encoding["longest"]))
    what = "random images of MNIST's number of grey pixels" if data is None else "MNIST"
    description = f"{what} 784-350-10, maximal potentials, initial weights"
    return _task(net, {}, times, labels, _weights(net, None), dt, batch_size, description)


def network_of(task: Task) -> Network:
    """The task's network with the task's weights."""
    net = load_network(task.settings["network"], **task.settings["sizes"])
    return with_values(net, dict(zip((f"{q.name}.w" for q in net.projections), task.weights, strict=True)))


def loss_of(task: Task) -> Loss:
    """The task's loss."""
    return TTFSCrossEntropy() if task.settings["spiking"] else MaxVoltageCrossEntropy()


def _weights(net: Network, checkpoint: Path | None) -> tuple[np.ndarray, np.ndarray]:
    values: Mapping[str, np.ndarray] = net.trainable() if checkpoint is None else load_checkpoint(checkpoint).values
    first, second = (np.array(values[f"{q.name}.w"]) for q in net.projections)
    return first, second


def _task(
    net: Network,
    sizes: Mapping[str, Any],
    times: np.ndarray,
    labels: np.ndarray,
    weights: tuple[np.ndarray, np.ndarray],
    dt: float,
    batch_size: int,
    description: str,
) -> Task:
    loss, hidden = TTFSCrossEntropy(), net.populations[0]
    settings = {
        "network": net.name,
        "sizes": sizes,
        "spiking": net.populations[-1].model.spiking,
        "duration": net.duration,
        "dt": dt,
        "batch_size": batch_size,
        "description": description,
        "tau0": loss.tau0,
        "tau1": loss.tau1,
        "alpha": loss.alpha,
        "tau_m": float(hidden.value("tau_m")),
        "tau_syn": float(hidden.value("tau_syn")),
    }
    return Task(settings, times, labels, weights)
