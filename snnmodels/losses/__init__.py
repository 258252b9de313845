"""Losses of what a network's output does, each with its derivative."""

from .base import Loss, LossValue, Observable
from .classification import MaxVoltageCrossEntropy, TTFSCrossEntropy
from .spike_times import SpikeTimeError, SpikeTimeFunction
from .voltages import VoltageError

__all__ = [
    "Loss",
    "LossValue",
    "MaxVoltageCrossEntropy",
    "Observable",
    "SpikeTimeError",
    "SpikeTimeFunction",
    "TTFSCrossEntropy",
    "VoltageError",
]
