"""The training loop, its checkpoints, its history and its progress."""

from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .evaluation import Evaluation, evaluate
from .history import EpochRecord, History
from .loop import EarlyStopping, TrainingError, TrainingInterrupted, TrainingResult, train
from .progress import BarProgress, LineProgress, NoProgress

__all__ = [
    "BarProgress",
    "Checkpoint",
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
    "save_checkpoint",
    "train",
]
