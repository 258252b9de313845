"""Experiments trained for several seeds, here or by an executor, and their results as files."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

import numpy as np

from ..files import atomic_file, folder_for, read_archive, read_json
from ..optimisers import Adam, ExponentialDecay
from ..parallel import run_all
from ..training import Evaluation, evaluate, train
from ..training.checkpoint import load_checkpoint
from ..training.history import History
from ..training.progress import LineProgress, TrainingProgress, default_progress
from .experiments import Experiment, Setup

__all__ = [
    "checkpoint_of",
    "describe_summary",
    "keep_examples",
    "read_outputs",
    "read_results",
    "summarise",
    "train_seed",
    "train_seeds",
    "write_results",
]


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
    rate = ExponentialDecay(setup.learning_rate, setup.decay)
    optimiser = Adam(rate, scales=experiment.scales, bounds=experiment.bounds)
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
            checkpoint=checkpoint_of(experiment, seed, folder),
            progress=progress,
            about={"target": setup.target},
        )
        return result.history, evaluate(simulation, experiment.test, result.values, setup.batch_size)


def train_seeds(
    experiment: Experiment, setup: Setup, seeds: Sequence[int], folder: Path, executor: Executor | None = None
) -> list[History]:
    """Train several seeds, by an executor or one after the other; the results are the same.

    Parameters
    ----------
    experiment : Experiment
    setup : Setup
    seeds : sequence of int
    folder : Path
        Gets a checkpoint per seed, and the outputs on the test set as ``<name>_seed<seed>_test.npz``. An executor's
        machines have to see it under the same name.
    executor : concurrent.futures.Executor, optional
        Such as `WorkerPool`.

    Returns
    -------
    list of History
        In the order of the seeds.

    Raises
    ------
    ValueError
        If there is no seed, or one twice, or an executor's checkpoints are not in `folder`; and as from `train`.
    TrainingError
        As from `train`, with a note that names the seed.
    KeyboardInterrupt
        On Ctrl-C; the same call goes on from the checkpoints.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds: expected at least one, each only once, got {list(seeds)}")
    work = partial(_train_and_keep, experiment, setup, folder.absolute(), executor is not None)
    try:
        run_all(work, seeds, executor)
    except KeyboardInterrupt:
        if executor is None:
            raise  # it has said what is kept
        there = sum(checkpoint_of(experiment, seed, folder).exists() for seed in seeds)
        kept = f"{folder} holds a checkpoint of {there} of {len(seeds)} seeds" if there else "nothing is kept yet"
        raise KeyboardInterrupt(f"interrupted; {kept}, and the same call goes on from there") from None
    for seed in seeds:
        if not checkpoint_of(experiment, seed, folder).exists():
            raise ValueError(
                f"seed {seed} was trained elsewhere, and its checkpoint is not in {folder}: name a folder that this "
                "machine and those of the executor share"
            )
    return [load_checkpoint(checkpoint_of(experiment, seed, folder)).history for seed in seeds]


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

    network = with_values(experiment.initial(seed), load_checkpoint(checkpoint_of(experiment, seed, folder)).values)
    _, first = np.unique(experiment.test.targets, return_index=True)
    chosen = np.sort(first)[:images]
    inputs, labels = experiment.test.take(chosen)
    output = read_outputs(folder, experiment.name, seed)["output"][chosen]
    trace_times, traces = output_traces(network, inputs)
    with atomic_file(folder / f"{experiment.name}_examples.npz", "examples") as file:
        np.savez_compressed(
            file, times=inputs["input"], labels=labels, trace_times=trace_times, traces=traces, output=output
        )


def checkpoint_of(experiment: Experiment, seed: int, folder: Path) -> Path:
    """Where the checkpoint of a seed is."""
    return folder / f"{experiment.name}_seed{seed}.npz"


def _train_and_keep(experiment: Experiment, setup: Setup, folder: Path, elsewhere: bool, seed: int) -> None:
    progress = LineProgress(f"seed {seed}") if elsewhere else default_progress(f"{experiment.name}, seed {seed}")
    _, evaluation = train_seed(experiment, setup, seed, folder, progress)
    assert evaluation.predictions is not None
    with atomic_file(folder / f"{experiment.name}_seed{seed}_test.npz", "outputs") as file:
        np.savez_compressed(
            file, output=evaluation.output, predictions=evaluation.predictions, targets=experiment.test.targets
        )
