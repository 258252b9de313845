"""Losses of what a network does, each with its derivative."""

from .base import Loss, LossValue, Observed, SumOfLosses
from .classification import MaxVoltageCrossEntropy, TTFSCrossEntropy
from .expressions import ExpressionLoss, FunctionLoss
from .observables import FinalValues, FirstSpikes, Maxima, Observable, Primitive, Samples, SpikeTimes
from .spike_times import SpikeTimeError, SpikeTimeFunction
from .voltages import VoltageError

__all__ = [
    "ExpressionLoss",
    "FinalValues",
    "FirstSpikes",
    "FunctionLoss",
    "Loss",
    "LossValue",
    "MaxVoltageCrossEntropy",
    "Maxima",
    "Observable",
    "Observed",
    "Primitive",
    "Samples",
    "SpikeTimeError",
    "SpikeTimeFunction",
    "SpikeTimes",
    "SumOfLosses",
    "TTFSCrossEntropy",
    "VoltageError",
]
