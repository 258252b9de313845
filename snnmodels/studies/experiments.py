"""The published experiments (Yin-Yang, MNIST), ready to be trained for several seeds at a time.

Settings: Wunderlich & Pehle (2021), Sci. Rep. 11:12829, https://doi.org/10.1038/s41598-021-91786-z.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..datasets import (
    CLASS_NAMES,
    ImageSet,
    Trials,
    image_latency,
    load_digits,
    load_mnist,
    yin_yang_latency,
    yin_yang_split,
)
from ..files import atomic_file, folder_for, read_archive, read_json
from ..losses import MaxVoltageCrossEntropy, TTFSCrossEntropy
from ..losses.base import Loss
from ..optimisers import Adam, ExponentialDecay
from ..templates import load_network
from ..training import Evaluation, TrainingInterrupted, evaluate, train
from ..training.checkpoint import load_checkpoint
from ..training.history import History
from ..training.progress import LineProgress, TrainingProgress, default_progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..targets import Target
    from ..templates import Network

__all__ = [
    "MNIST_SETUPS",
    "Experiment",
    "Setup",
    "describe_summary",
    "digits",
    "draw_images",
    "draw_yin_yang",
    "keep_examples",
    "mnist",
    "read_outputs",
    "read_results",
    "summarise",
    "train_seed",
    "train_seeds",
    "write_results",
    "yin_yang",
]

_HELD_OUT = 5000


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


# The published 100 epochs in batches of 5 take longer than they have to: larger batches, and a rate that falls faster.
# First spikes want a lower rate; see docs/training.md for what else was tried.
MNIST_SETUPS = {
    "max_voltage": Setup(epochs=30, batch_size=8, learning_rate=5e-3, decay=0.92),
    "ttfs": Setup(epochs=30, batch_size=8, learning_rate=3e-3, decay=0.92),
}


def yin_yang() -> Experiment:
    """Yin-Yang with a time-to-first-spike loss, on the published sets."""
    encode = partial(yin_yang_latency, longest=float(load_network("yin_yang").encoding["longest"]))
    sets = [yin_yang_split(split) for split in ("train", "validation", "test")]
    training, validation, test = (Trials({"input": s.samples}, s.labels, encode) for s in sets)
    return Experiment("yin_yang", "yin_yang", TTFSCrossEntropy(), training, validation, test, CLASS_NAMES)


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


def train_seed(
    experiment: Experiment, setup: Setup, seed: int, folder: Path, progress: TrainingProgress | bool = True
) -> tuple[History, Evaluation]:
    """Train one network: its seed draws the initial weights, the order of trials and the dropout.

    Parameters
    ----------
    experiment : Experiment
    setup : Setup
    seed : int
    folder : Path
        Gets the checkpoint ``<name>_seed<seed>.npz``; one that is there is resumed.
    progress : TrainingProgress or bool
        As for `train`.

    Returns
    -------
    history : History
    evaluation : Evaluation
        Of the trained network on the test set.

    Raises
    ------
    TrainingError, TrainingInterrupted, ValueError
        As from `train`.
    """
    # Brian2, only where it is needed: --help and plotting do without.
    from ..gradients.simulation import Simulation

    network = experiment.initial(seed)
    optimiser = Adam(ExponentialDecay(setup.learning_rate, setup.decay))
    folder_for(folder, "folder of results")
    with Simulation(
        network,
        experiment.loss,
        batch_size=setup.batch_size,
        target=setup.target,
        input_gradients=False,
    ) as simulation:
        result = train(
            simulation,
            experiment.train,
            optimiser,
            epochs=setup.epochs,
            batch_size=setup.batch_size,
            seed=seed,
            validation=experiment.validation,
            test=experiment.test,
            input_dropout=experiment.dropout,
            checkpoint=_checkpoint(experiment, seed, folder),
            progress=progress,
            about={"target": setup.target},
        )
        return result.history, evaluate(simulation, experiment.test, result.values, setup.batch_size)


def train_seeds(
    experiment: Experiment, setup: Setup, seeds: Sequence[int], folder: Path, processes: int = 1
) -> list[History]:
    """Train several seeds, some at a time, each in a process of its own if there are several.

    Parameters
    ----------
    experiment : Experiment
    setup : Setup
    seeds : sequence of int
    folder : Path
        Gets a checkpoint per seed, and the outputs on the test set as ``<name>_seed<seed>_test.npz``.
    processes : int
        How many to train at a time; one per core is sensible.

    Returns
    -------
    list of History
        In the order of the seeds.

    Raises
    ------
    ValueError
        If there is no seed, one twice, or no process.
    RuntimeError
        If a process failed; it has printed why. Without processes the `TrainingError` itself.
    KeyboardInterrupt
        On Ctrl-C, once all processes have ended.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds: expected at least one, each only once, got {list(seeds)}")
    if processes < 1:
        raise ValueError(f"processes: expected a positive number, got {processes}")
    if processes == 1 or len(seeds) == 1:
        for seed in seeds:
            _train_and_keep(experiment, setup, seed, folder, default_progress(f"{experiment.name}, seed {seed}"))
    else:
        _in_processes(experiment, setup, seeds, folder, processes)
    return [load_checkpoint(_checkpoint(experiment, seed, folder)).history for seed in seeds]


def summarise(histories: Sequence[History]) -> dict[str, float]:
    """Mean and standard deviation over seeds of the accuracy on the test set after the last epoch, and times.

    Accuracies in percent, the standard deviation with n - 1 (0 for one seed). Wall times in seconds, with validation
    and test; the total is the sum over seeds, which take less than that side by side.
    """
    accuracies = np.array([100 * (1 - history.column("test_error")[-1]) for history in histories])
    seconds = np.concatenate([history.column("seconds") for history in histories])
    return {
        "seeds": len(histories),
        "epochs": min(len(history.epochs) for history in histories),
        "test_accuracy_mean": float(accuracies.mean()),
        "test_accuracy_std": float(accuracies.std(ddof=1)) if len(accuracies) > 1 else 0.0,
        "test_accuracy_lowest": float(accuracies.min()),
        "seconds_per_epoch": float(seconds.mean()),
        "seconds_total": float(seconds.sum()),
    }


def describe_summary(summary: Mapping[str, float]) -> str:
    """Return a summary of `summarise` as one line."""
    seeds, epochs = int(summary["seeds"]), int(summary["epochs"])
    spread = f" ± {summary['test_accuracy_std']:.2f}" if seeds > 1 else ""
    whose = f"mean and standard deviation of {seeds} seeds" if seeds > 1 else "one seed"
    accuracy = f"{summary['test_accuracy_mean']:.2f}{spread} %"
    return f"test accuracy {accuracy} ({whose}, {epochs} epochs of {summary['seconds_per_epoch']:.1f} s)"


def write_results(
    path: Path, experiment: Experiment, seeds: Sequence[int], histories: Sequence[History], command: str
) -> None:
    """Write the histories of all seeds, a summary and where they come from as one JSON file.

    Parameters
    ----------
    path : Path
        Its folder is made if need be.
    experiment : Experiment
    seeds : sequence of int
    histories : sequence of History
        In the order of the seeds, tested after every epoch.
    command : str
        Makes the results again.

    Raises
    ------
    ValueError
        If there are not as many histories as seeds, or a number is NaN or infinite.
    """
    results = {
        "experiment": experiment.name,
        "command": command,
        "machine": platform.machine(),
        "summary": summarise(histories),
        "runs": {str(seed): history.to_dict() for seed, history in zip(seeds, histories, strict=True)},
    }
    folder_for(path.parent, "folder of results")
    with atomic_file(path, "results") as file:
        file.write(json.dumps(results, indent=1, allow_nan=False).encode())


def read_results(path: Path) -> tuple[str, dict[int, History]]:
    """Read the experiment's name, and the histories by seed, from a file of `write_results`.

    Raises
    ------
    ValueError
        If the file holds something else.
    """
    results = read_json(path, "results file of training", "experiment", "runs", instead="train first")
    try:
        runs = {int(seed): History.from_dict(history) for seed, history in results["runs"].items()}
        return str(results["experiment"]), runs
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not a results file of training ({error})") from None


def read_outputs(folder: Path, name: str, seed: int) -> dict[str, np.ndarray]:
    """Read what `train_seeds` kept of the test set.

    Parameters
    ----------
    folder : Path
    name : str
        Of the experiment.
    seed : int

    Returns
    -------
    dict of str to array
        ``output`` (trials, n), ``predictions`` and ``targets`` (trials,).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    return read_archive(folder / f"{name}_seed{seed}_test.npz", "file of outputs")


def draw_yin_yang(folder: Path, out: Path) -> Path:
    """Draw the figure of a Yin-Yang results folder, as PNG and PDF.

    The maps show the test set and the network of the first seed.

    Parameters
    ----------
    folder : Path
        With ``results.json`` and the outputs of the first seed.
    out : Path
        Folder of the figure; is made if need be.

    Returns
    -------
    Path
        Of the PNG.

    Raises
    ------
    FileNotFoundError
        If one of the files is missing.
    ValueError
        If the results are of another experiment, or are none.
    """
    from .plots import plot_yin_yang

    name, histories = read_results(folder / "results.json")
    if name != "yin_yang":
        raise ValueError(f"{folder / 'results.json'}: is of the experiment {name}, not of yin_yang")
    samples, labels = yin_yang_split("test")
    times = read_outputs(folder, name, next(iter(histories)))["output"]
    figure = plot_yin_yang(samples, labels, times, list(histories.values()), CLASS_NAMES)
    return _save(figure, out / "yin_yang")


def keep_examples(experiment: Experiment, seed: int, folder: Path, images: int = 4) -> None:
    """Simulate the first test images of different classes with a trained network, and keep what a figure shows.

    Written to ``<name>_examples.npz``: input spike ``times`` (images, pixels), ``labels``, ``trace_times``, ``traces``
    of the outputs (images, classes, steps), and as ``output`` what the loss read of them (images, classes).

    Parameters
    ----------
    experiment : Experiment
    seed : int
    folder : Path
        With what `train_seeds` wrote.
    images : int
        At most; there is one of a class.

    Raises
    ------
    FileNotFoundError
        If the seed has not been trained.
    """
    # Brian2, only where it is needed.
    from ..templates.values import with_values
    from .traces import output_traces

    network = with_values(experiment.initial(seed), load_checkpoint(_checkpoint(experiment, seed, folder)).values)
    _, first = np.unique(experiment.test.targets, return_index=True)
    chosen = np.sort(first)[:images]
    inputs, labels = experiment.test.take(chosen)
    output = read_outputs(folder, experiment.name, seed)["output"][chosen]
    trace_times, traces = output_traces(network, inputs)
    with atomic_file(folder / f"{experiment.name}_examples.npz", "examples") as file:
        np.savez_compressed(
            file, times=inputs["input"], labels=labels, trace_times=trace_times, traces=traces, output=output
        )


def draw_images(folder: Path, out: Path) -> list[Path]:
    """Draw the figures of an MNIST or digits results folder, as PNG and PDF.

    They are the curves of all seeds, and the confusion matrix and examples of the first seed.

    Parameters
    ----------
    folder : Path
        With ``results.json``, the outputs of the first seed and the examples.
    out : Path
        Folder of the figures; is made if need be.

    Returns
    -------
    list of Path
        Of the PNG files.

    Raises
    ------
    FileNotFoundError
        If one of the files is missing.
    ValueError
        If the results are none, or the examples are of another version.
    """
    from .plots import plot_confusion, plot_history, plot_latency_images

    name, histories = read_results(folder / "results.json")
    class_names = [str(k) for k in range(10)]
    kept = read_outputs(folder, name, next(iter(histories)))
    examples = read_archive(folder / f"{name}_examples.npz", "file of examples")
    if "output" not in examples:
        raise ValueError(f"{folder / f'{name}_examples.npz'}: of another version; run the training command again")
    side = math.isqrt(examples["times"].shape[1])
    figures = {
        "history": plot_history(list(histories.values())),
        "confusion": plot_confusion(kept["targets"], kept["predictions"], class_names),
        "examples": plot_latency_images(
            examples["times"].reshape(-1, side, side),
            examples["labels"],
            examples["trace_times"],
            examples["traces"],
            class_names,
            examples["output"] if name.endswith("_ttfs") else None,
        ),
    }
    return [_save(figure, out / f"{name}_{kind}") for kind, figure in figures.items()]


def _save(figure: Figure, stem: Path) -> Path:
    from .plots import save_figure

    save_figure(figure, stem.with_suffix(".pdf"))
    return save_figure(figure, stem.with_suffix(".png"), dpi=200)


def _checkpoint(experiment: Experiment, seed: int, folder: Path) -> Path:
    return folder / f"{experiment.name}_seed{seed}.npz"


def _train_and_keep(experiment: Experiment, setup: Setup, seed: int, folder: Path, progress: TrainingProgress) -> None:
    _, evaluation = train_seed(experiment, setup, seed, folder, progress)
    assert evaluation.predictions is not None
    with atomic_file(folder / f"{experiment.name}_seed{seed}_test.npz", "outputs") as file:
        np.savez_compressed(
            file, output=evaluation.output, predictions=evaluation.predictions, targets=experiment.test.targets
        )


def _child(experiment: Experiment, setup: Setup, seed: int, folder: Path) -> None:
    """Train one seed in a process of its own."""
    try:
        _train_and_keep(experiment, setup, seed, folder, LineProgress(f"seed {seed}"))
    except TrainingInterrupted as interruption:
        print(f"seed {seed}: {interruption}", file=sys.stderr)
        sys.exit(130)
    except KeyboardInterrupt:
        sys.exit(130)
    except (RuntimeError, ValueError, OSError) as error:  # what training raises, or a checkpoint, or its file
        print(f"seed {seed}: {error}", file=sys.stderr)
        sys.exit(1)


def _in_processes(experiment: Experiment, setup: Setup, seeds: Sequence[int], folder: Path, processes: int) -> None:
    # Spawned, not forked: Brian2's state and the simulation's worker must not be shared.
    context = multiprocessing.get_context("spawn")
    waiting, failed = list(seeds), list[int]()
    running: dict[int, SpawnProcess] = {}
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                seed = waiting.pop(0)
                running[seed] = context.Process(target=_child, args=(experiment, setup, seed, folder))
                running[seed].start()
            connection.wait([process.sentinel for process in running.values()])
            for seed, process in list(running.items()):
                if process.exitcode is not None:
                    del running[seed]
                    if process.exitcode:
                        failed.append(seed)
                        waiting.clear()
    finally:
        # After Ctrl-C, which the children got too: they write what they have to.
        for process in running.values():
            process.join()
    if failed:
        raise RuntimeError(f"training of seed {', '.join(map(str, failed))} failed; see its message above")
