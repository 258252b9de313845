"""Losses, exact gradients, optimisers and training."""

from .check import check_gradient
from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .gradient_report import GradientReport, GradientRow
from .grid import GridSimulation, UnresolvedSpikes
from .history import EpochRecord, History
from .losses import MaxVoltageCrossEntropy, SpikeTimeError, SpikeTimeFunction, TTFSCrossEntropy, VoltageError
from .optimisers import SGD, Adam, ConstantRate, ExponentialDecay, Optimiser
from .probe import Probe, ProbeError, probe
from .progress import BarProgress, LineProgress, NoProgress
from .protocol import GradientSource, Loss, LossValue, Outcome
from .simulation import Simulation, SimulationError
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
    "GradientReport",
    "GradientRow",
    "GradientSource",
    "GridSimulation",
    "History",
    "LineProgress",
    "Loss",
    "LossValue",
    "MaxVoltageCrossEntropy",
    "NoProgress",
    "Optimiser",
    "Outcome",
    "Probe",
    "ProbeError",
    "Simulation",
    "SimulationError",
    "SpikeTimeError",
    "SpikeTimeFunction",
    "TTFSCrossEntropy",
    "TrainingError",
    "TrainingInterrupted",
    "TrainingResult",
    "UnresolvedSpikes",
    "VoltageError",
    "check_gradient",
    "evaluate",
    "load_checkpoint",
    "probe",
    "save_checkpoint",
    "train",
]
