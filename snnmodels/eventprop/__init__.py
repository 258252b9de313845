"""Losses, exact gradients, optimisers and training."""

from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .history import EpochRecord, History
from .losses import MaxVoltageCrossEntropy, SpikeTimeError, SpikeTimeFunction, TTFSCrossEntropy
from .optimisers import SGD, Adam, ConstantRate, ExponentialDecay, Optimiser
from .progress import BarProgress, LineProgress, NoProgress
from .protocol import GradientSource, Loss, LossValue, Outcome
from .training import EarlyStopping, Evaluation, TrainingError, TrainingInterrupted, TrainingResult, evaluate, train

__all__ = [
    "SGD",
    "Adam",
    "BarProgress",
    "Checkpoint",
    "ConstantRate",
    "EarlyStopping",
    "EpochRecord",
    "Evaluation",
    "ExponentialDecay",
    "GradientSource",
    "History",
    "LineProgress",
    "Loss",
    "LossValue",
    "MaxVoltageCrossEntropy",
    "NoProgress",
    "Optimiser",
    "Outcome",
    "SpikeTimeError",
    "SpikeTimeFunction",
    "TTFSCrossEntropy",
    "TrainingError",
    "TrainingInterrupted",
    "TrainingResult",
    "evaluate",
    "load_checkpoint",
    "save_checkpoint",
    "train",
]
