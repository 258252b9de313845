"""Training by mini-batches: seeded, resumable, and stopped cleanly by Ctrl-C."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..datasets.encoding import drop_spikes
from ..datasets.trials import Trials
from ..events.engine import SimulationError
from ..files import OtherRun, check_writable, named
from ..gradients.source import BatchTrainer, GradientSource, OneOfSeveral, Outcome
from ..optimisers import Adam, Optimiser
from ..templates.arguments import (
    check_kind,
    check_mapping,
    check_numbers,
    check_seed,
    check_whole,
    real_array,
    suggests_keywords,
)
from ..templates.errors import brief, warn_caller
from ..templates.values import all_finite, keep_possible, with_values
from .checkpoint import Best, Checkpoint, load_checkpoint, save_checkpoint
from .data import Batch, TrainingData, as_training_data, as_trials, epoch_of, length_of
from .evaluation import Totals, check_source, evaluate
from .history import EpochRecord, History, package_versions
from .idle import warn_of_idle
from .progress import NoProgress, TrainingProgress, default_progress
from .settings import refuse_other, refuse_other_rates, settings_of, warn_of_versions

__all__ = [
    "CheckpointFailed",
    "EarlyStopping",
    "TrainingError",
    "TrainingInterrupted",
    "TrainingResult",
    "train",
]

Arrays = dict[str, np.ndarray]

_trained: weakref.WeakSet[Any] = weakref.WeakSet()  # sources that a training has gone through

# trials that are trained on in one call where the source can: enough for what goes to and fro, weights and moments, to
# cost little
TOGETHER = 1024
_ADVICE = "a smaller learning rate may help"


class TrainingError(RuntimeError):
    """Training can't go on: a loss or a gradient isn't finite."""


class CheckpointFailed(OSError):
    """An epoch is complete, but its checkpoint can't be written; the one of the epoch before is still there.

    Attributes
    ----------
    result : TrainingResult
        With the epoch.
    """

    def __init__(self, message: str, result: TrainingResult) -> None:
        super().__init__(message)
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.result)  # from another process


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C, with a message on what is kept.

    Attributes
    ----------
    message : str
        Of the exception.
    result : TrainingResult
        As of the last complete epoch.
    """

    def __init__(self, message: str, result: TrainingResult) -> None:
        super().__init__(message)
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.result)  # from another process


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when a validation measure hasn't improved for some epochs, and return the values of the best one.

    Attributes
    ----------
    patience : int
        Number of epochs without improvement after which to stop.
    measure : {"validation_error", "validation_loss"}
    min_improvement : float
        What counts as one.
    """

    patience: int = 10
    measure: Literal["validation_error", "validation_loss"] = "validation_error"
    min_improvement: float = 0.0

    def __post_init__(self) -> None:
        check_numbers(patience=self.patience, min_improvement=self.min_improvement)
        if self.patience < 1:
            raise ValueError(f"patience: expected at least one epoch, got {self.patience}")
        if not isinstance(self.measure, str) or self.measure not in ("validation_error", "validation_loss"):
            raise ValueError(f"measure: expected 'validation_error' or 'validation_loss', got {brief(self.measure)}")
        if not self.min_improvement >= 0:
            raise ValueError(f"min_improvement: expected a number of at least 0, got {self.min_improvement}")


@dataclass(frozen=True)
class TrainingResult:
    """Trained values by key of `Network.trainable`, the epoch they are of (counted from 1), and the history."""

    values: Arrays
    epoch: int
    history: History

    def __repr__(self) -> str:
        last = self.history.epochs[self.epoch - 1] if self.epoch else None
        names = ("train_loss", "train_error", "validation_loss", "validation_error", "test_loss", "test_error")
        measures = [] if last is None else [(n.replace("_", " "), getattr(last, n)) for n in names]
        told = [f"{name} {value:.4g}" for name, value in measures if value is not None]
        return f"<TrainingResult: {'; '.join((f'epoch {self.epoch}', *told, f'values of {", ".join(self.values)}'))}>"


@suggests_keywords
def train(
    source: GradientSource,
    data: Trials | tuple[Any, Any] | Iterable[Any],
    optimiser: Optimiser,
    *,
    epochs: int,
    batch_size: int = 32,
    seed: int = 0,
    values: Mapping[str, np.ndarray] | None = None,
    validation: Trials | tuple[Any, Any] | None = None,
    test: Trials | tuple[Any, Any] | None = None,
    input_dropout: float = 0.0,
    early_stopping: EarlyStopping | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = True,
    progress: TrainingProgress | bool = True,
    about: Mapping[str, Any] | None = None,
) -> TrainingResult:
    """Train a network.

    All random draws of an epoch come from a generator seeded by `seed` and the epoch's number, so that a run that was
    resumed gives the same values, bit for bit, as one that wasn't interrupted.

    Parameters
    ----------
    source : GradientSource
        Simulates the network; see `Simulation`.
    data : Trials, (inputs, targets), or iterable of batches
        Training set; it is shuffled in every epoch, and the last batch may be smaller. Inputs are a mapping of names to
        arrays, or one array where the network has one input. Batches of one's own are pairs of these; they are gone
        through once in every epoch, as they come, so that what `seed` and a checkpoint promise of their order, and
        that a checkpoint is of the same data, is theirs to keep.
    optimiser : Optimiser
        Fresh, unless `checkpoint` is resumed.
    epochs : int
        In total, those of a resumed checkpoint included; one that has as many already is returned as it is.
    batch_size : int
        At most what the source was made for.
    seed : int
        For shuffling and input dropout; initial weights are the network's.
    values : mapping of str to array, optional
        Initial values, by key of `source.network.trainable()`, where not the network's own; not changed. Those named
        are trained, and nothing else. To go on from an earlier result, ``values=result.values``: without, every call
        begins with the network's own.
    validation, test : Trials, or (inputs, targets), optional
        Evaluated after every epoch.
    input_dropout : float
        Probability with which each input spike of a training trial is dropped, in [0, 1).
    early_stopping : EarlyStopping, optional
        Needs `validation`.
    checkpoint : str or Path, optional
        File that is written after every epoch.
    resume : bool
        Whether to go on from `checkpoint` if it exists; otherwise it is overwritten.
    progress : bool or TrainingProgress
        True for a bar (or lines, outside a terminal), False for nothing.
    about : mapping of str to JSON values, optional
        Kept with the settings in the history (target, ...); must be the same on resumption.

    Returns
    -------
    TrainingResult
        With early stopping the values of the best epoch, otherwise of the last one.

    Raises
    ------
    TrainingError
        If a loss or a gradient is NaN or infinite; names epoch and batch.
    TrainingInterrupted
        On Ctrl-C, with a message on what is kept.
    OSError
        If the checkpoint can't be read or written, before anything is trained.
    CheckpointFailed
        If it can't be written any more.
    ValueError
        If an argument is out of range, or the checkpoint is damaged, of a run with other settings or beyond `epochs`.
    """
    _check_arguments(epochs, batch_size, seed, input_dropout, validation, early_stopping)
    check_source(source)
    data = as_training_data(data, source.network)
    validation = None if validation is None else as_trials("validation", validation, source.network)
    test = None if test is None else as_trials("test", test, source.network)
    check_kind("optimiser", optimiser, Optimiser, "one such as Adam(1e-3)")
    check_kind("early_stopping", early_stopping, (EarlyStopping, type(None)), "EarlyStopping()")
    check_kind("checkpoint", checkpoint, (str, Path, type(None)), "the path of a file")
    check_kind("progress", progress, (bool, TrainingProgress), "True, False or a TrainingProgress")
    for name, given in (("about", about), ("values", values)):
        if given is not None:
            check_mapping(name, given, "a mapping by names")
    if values:
        with_values(source.network, values)  # says what is wrong
    first = (values or source.network.trainable()).items()
    start = {key: np.array(real_array(f"value of {key!r}", value), order="C") for key, value in first}
    if not start:
        raise ValueError(f"network {source.network.name!r}: nothing is learnable")
    batch_size = int(batch_size)
    fixed = {
        "batch_size": batch_size,
        "seed": int(seed),
        "input_dropout": float(input_dropout),
        "early_stopping": early_stopping,
    }
    judged = {"data": data, "validation": validation, "test": test}
    settings = settings_of(source, judged, optimiser, start, **fixed, **(about or {}))
    _warn_of_large_steps(optimiser, start)
    state = Checkpoint(0, start, optimiser.state_dict(), History(settings, package_versions()))
    if checkpoint is not None and resume and _exists(checkpoint):
        state = load_checkpoint(checkpoint)
        refuse_other(Path(checkpoint), settings, state.history.settings)
        refuse_other_rates(Path(checkpoint), optimiser, state.history.epochs)
        if state.epoch > epochs:
            beyond = f"holds the state after epoch {state.epoch}, which is beyond epochs = {epochs}; ask for as many"
            raise OtherRun(checkpoint, beyond)
        warn_of_versions(Path(checkpoint), state.history.versions)
    leads = True
    if isinstance(source, OneOfSeveral):
        source.agree(**{"epochs that they go on after": state.epoch, "settings": settings})
        leads = source.leads
    written = checkpoint if leads else None
    if written is not None and state.epoch < epochs:
        check_writable(written, "checkpoint")  # an epoch may take hours
    if values is None and not state.epoch and source in _trained:
        warn_caller(
            "this source has been trained before; training begins again with the network's own values, not with those "
            "that it found: pass values=result.values to go on from them, or values=network.trainable() to begin again",
        )
    if early_stopping is not None and state.epoch < epochs and _exhausted(state, early_stopping):
        warn_caller(
            f"{checkpoint}: its patience of {early_stopping.patience} ended this run after epoch {state.epoch}, the "
            f"best being epoch {_result(state).epoch}: none of the epochs up to {epochs} is trained. To go on, begin "
            "another run, with another checkpoint (or resume=False) and values=result.values",
        )
    optimiser.load_state_dict(state.optimiser)
    shown = _progress_of(progress if leads else False)
    run = _Run(source, data, optimiser, batch_size, seed, input_dropout, validation, test, shown)
    run.progress.start(epochs, state.epoch, length_of(data, batch_size))
    _trained.add(source)
    try:
        _train_epochs(run, state, epochs, early_stopping, written)
    except KeyboardInterrupt:
        raise TrainingInterrupted(_what_is_kept(state, checkpoint), _result(state)) from None
    finally:
        run.progress.stop()
    return _result(state)


@dataclass(frozen=True)
class _Run:
    """What stays the same over a run."""

    source: GradientSource
    data: TrainingData
    optimiser: Optimiser
    batch_size: int
    seed: int
    input_dropout: float
    validation: Trials | None
    test: Trials | None
    progress: TrainingProgress


def _train_epochs(
    run: _Run, state: Checkpoint, epochs: int, stopping: EarlyStopping | None, checkpoint: str | Path | None
) -> None:
    """Bring `state` up to `epochs`; it changes only when an epoch is complete."""
    silence_told, begins = False, True
    while state.epoch < epochs and not _exhausted(state, stopping):
        values, record, trials = _train_epoch(run, state.epoch, state.values)
        if begins and record.learning_rate > 0 and record.silent_trials < trials:  # of silence there is a warning below
            warn_of_idle(run.source.network, run.optimiser, state.values, values)
        begins = False
        # Prepared first, so that Ctrl-C finds either the old state or the new one.
        best = _better(state.best, record, values, stopping)
        optimiser = run.optimiser.state_dict()
        history = History(state.history.settings, state.history.versions, [*state.history.epochs, record])
        new = Checkpoint(record.epoch, values, optimiser, history, best)
        history.status = "stopped early" if _exhausted(new, stopping) else "running"
        history.status = "finished" if new.epoch == epochs else history.status
        try:
            if checkpoint is not None:
                save_checkpoint(checkpoint, new)
            vars(state).update(vars(new))
        except OSError as error:
            held = f"the exception's `result` holds the state after epoch {new.epoch}"
            raise CheckpointFailed(f"{error}; {held}", _result(new)) from None
        except KeyboardInterrupt:
            if checkpoint is not None and _holds(checkpoint, new):
                vars(state).update(vars(new))
            raise
        run.progress.epoch(record)
        if 2 * record.silent_trials >= trials and not silence_told:
            silence_told = True
            warn_caller(
                f"epoch {record.epoch}: in {record.silent_trials} of {trials} trials a spike that the loss "
                "needs was missing, and they teach nothing or less, however small the loss is: begin with larger "
                "weights, or add a loss of sampled potentials, which sees silent neurons; "
                "Simulation.spike_report tells more",
            )


def _exists(checkpoint: str | Path) -> bool:
    with named(checkpoint, "checkpoint"):
        return Path(checkpoint).exists()


def _holds(path: str | Path, state: Checkpoint) -> bool:
    """Whether a file is the checkpoint of this state: an interruption may come just after it was written."""
    with contextlib.suppress(OSError, ValueError):
        return load_checkpoint(path).history.epochs == state.history.epochs  # with their times
    return False


def _train_epoch(run: _Run, epoch: int, before: Arrays) -> tuple[Arrays, EpochRecord, int]:
    """One pass over the training data, and how many trials that were; `epoch` counts from 0."""
    began = time.perf_counter()
    values = {key: value.copy() for key, value in before.items()}
    rng = np.random.default_rng([run.seed, epoch])
    run.optimiser.start_epoch(epoch)
    totals = Totals()
    trainer = run.source if isinstance(run.source, BatchTrainer) and run.source.fits(run.optimiser, values) else None
    together = max(1, TOGETHER // run.batch_size) if trainer is not None else 1
    network = run.source.network
    weights = {f"{q.name}.w" for q in network.projections} | {f"{d.name}.w" for d in network.drives}
    currents = {c.name for c in network.currents}
    restricted = [key for key in values if key not in weights]
    batch = 0
    for some in _groups(epoch_of(run.data, run.batch_size, rng), together):
        taken: list[Batch] = []
        for inputs, targets in some:
            if run.input_dropout:
                inputs = {
                    name: given if name in currents else drop_spikes(given, run.input_dropout, rng)
                    for name, given in inputs.items()
                }
            taken.append((inputs, targets))
        if trainer is not None:
            try:
                outcomes = trainer.fit(taken, values, run.optimiser)
            except SimulationError as error:
                last = batch + len(taken)
                raise TrainingError(f"epoch {epoch + 1}, batches {batch + 1} to {last}: {error}; {_ADVICE}") from None
        else:
            outcomes = [run.source.run(*taken[0], values)]
            _check_finite(outcomes[0], values, f"epoch {epoch + 1}, batch {batch + 1}")
            old = {key: values[key].copy() for key in restricted}
            run.optimiser.step(values, outcomes[0].gradients)
            if cut := keep_possible(run.source.network, old, values):
                warn_caller(
                    f"a step of {', '.join(cut)} went to impossible values and was shortened; `bounds` or smaller "
                    "`scales` of the optimiser keep away from them",
                )
        for outcome, (_, targets) in zip(outcomes, taken, strict=True):
            batch += 1
            _check_finite(outcome, values, f"epoch {epoch + 1}, batch {batch}")
            totals.add(run.source, outcome, targets)
            run.progress.batch(epoch + 1, batch, totals.loss, totals.error)
        for key, value in values.items():
            if not all_finite(value):
                raise TrainingError(f"epoch {epoch + 1}, batch {batch}: {key} is no longer finite; {_ADVICE}")
    if not batch:
        raise ValueError(f"data has no batch left in epoch {epoch + 1}; it must begin anew in each epoch")
    measures: dict[str, float | None] = {}
    for name, trials in (("validation", run.validation), ("test", run.test)):
        if trials is not None:
            result = evaluate(run.source, trials, values, run.batch_size)
            if not math.isfinite(result.loss):
                raise TrainingError(f"epoch {epoch + 1}: the loss on the {name} set is {result.loss}")
            measures |= {f"{name}_loss": result.loss, f"{name}_error": result.error}
    record = EpochRecord(
        epoch=epoch + 1,
        learning_rate=run.optimiser.learning_rate,
        train_loss=totals.loss,
        train_error=totals.error,
        spikes=totals.spikes,
        smallest_gdot=totals.smallest_gdot if math.isfinite(totals.smallest_gdot) else None,
        silent_trials=totals.silent,
        seconds=time.perf_counter() - began,
        pseudospikes=totals.pseudospikes,
        **measures,
    )
    return values, record, totals.trials


def _groups(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    while some := list(itertools.islice(batches, size)):
        yield some


def _better(best: Best | None, record: EpochRecord, values: Arrays, stopping: EarlyStopping | None) -> Best | None:
    """The better of the best epoch so far and a new one."""
    if stopping is None:
        return None
    measure = getattr(record, stopping.measure)
    if measure is None:
        raise ValueError(f"early stopping on {stopping.measure}: the loss doesn't classify; use 'validation_loss'")
    if best is not None and not measure < best.measure - stopping.min_improvement:
        return best
    return Best(record.epoch, measure, values)


def _exhausted(state: Checkpoint, stopping: EarlyStopping | None) -> bool:
    return stopping is not None and state.best is not None and state.epoch - state.best.epoch >= stopping.patience


def _result(state: Checkpoint) -> TrainingResult:
    if state.best is not None:
        return TrainingResult(state.best.values, state.best.epoch, state.history)
    return TrainingResult(state.values, state.epoch, state.history)


def _progress_of(progress: TrainingProgress | bool) -> TrainingProgress:
    if isinstance(progress, bool):
        return default_progress() if progress else NoProgress()
    return progress


def _what_is_kept(state: Checkpoint, checkpoint: str | Path | None) -> str:
    where = f"interrupted in epoch {state.epoch + 1}"
    if checkpoint is None:
        return (
            f"{where}; there is no checkpoint, but the exception's `result` holds the state after epoch {state.epoch}"
        )
    if state.epoch == 0:
        return f"{where}, before the first checkpoint"
    return f"{where}; {checkpoint} holds the state after epoch {state.epoch}, and the same call goes on from there"


def _check_arguments(
    epochs: int,
    batch_size: int,
    seed: int,
    dropout: float,
    validation: Any,
    stopping: EarlyStopping | None,
) -> None:
    for name, number in (("epochs", epochs), ("batch_size", batch_size)):
        check_whole(name, number)
    check_seed(seed)
    check_numbers(input_dropout=dropout)
    if not 0 <= dropout < 1:
        raise ValueError(f"input_dropout: expected a number from 0 up to, but not including, 1, got {dropout}")
    if stopping is not None and validation is None:
        raise ValueError("early_stopping: needs a validation set")



def _warn_of_large_steps(optimiser: Optimiser, values: Mapping[str, np.ndarray]) -> None:
    """Warn where a first step would be more than all that there is: weights in amperes are not of the size of 1."""
    if not isinstance(optimiser, Adam):
        return  # of others the step depends on the gradient
    assert callable(optimiser.schedule)
    rate = optimiser.schedule(0)
    for key, value in values.items():
        if not np.issubdtype(np.asarray(value).dtype, np.number):
            continue  # refused by the first run, which knows what it has to be
        if key in optimiser.transforms:
            continue  # a step is relative to the value, or to its distance to the bounds
        step, largest = rate * optimiser.scales.get(key, 1.0), float(np.abs(value).max(initial=0.0))
        if largest and step > largest:
            warn_caller(
                f"{key}: a step of the optimiser is about {step:.3g} and its largest value {largest:.3g}, in SI units; "
                f"give the optimiser scales={{{key!r}: {largest / rate / 100:.1g}}} or so",
            )


def _check_finite(outcome: Outcome, values: Arrays, where: str) -> None:
    if not math.isfinite(outcome.loss):
        raise TrainingError(f"{where}: the loss is {outcome.loss}; {_ADVICE}")
    for key in values:
        if key in outcome.gradients and not np.isfinite(outcome.gradients[key]).all():
            raise TrainingError(
                f"{where}: the gradient of {key} isn't finite (smallest |dg/dt| at a spike: "
                f"{outcome.smallest_gdot:.3g}); {_ADVICE}"
            )
