"""The training loop, its checkpoints, its history and its progress."""

from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .evaluation import Evaluation, evaluate
from .history import EpochRecord, History
from .loop import CheckpointFailed, EarlyStopping, TrainingError, TrainingInterrupted, TrainingResult, train
from .progress import BarProgress, LineProgress, NoProgress
from .reading import read_trials
from .steps import relative_adam

__all__ = [
    "BarProgress",
    "Checkpoint",
    "CheckpointFailed",
    "EarlyStopping",
    "EpochRecord",
    "Evaluation",
    "History",
    "LineProgress",
    "NoProgress",
    "TrainingError",
    "TrainingInterrupted",
    "TrainingResult",
    "evaluate",
    "load_checkpoint",
    "read_trials",
    "relative_adam",
    "save_checkpoint",
    "train",
]
