"""Losses of what a network does, each with its derivative."""

from .base import Loss, LossValue, Observed, SumOfLosses
from .classification import MaxVoltageCrossEntropy, TTFSCrossEntropy
from .counts import ActivityPrice, CountError
from .declared import load_network, loss_of
from .expressions import ExpressionLoss, FunctionLoss
from .integrals import Integral, with_integrals
from .observables import FinalValues, FirstSpikes, Maxima, Observable, Primitive, Samples, SpikeTimes
from .pseudospikes import Pseudospikes
from .spike_times import SpikeTimeError, SpikeTimeFunction
from .trains import IntervalError, VanRossumDistance
from .voltages import VoltageError

__all__ = [
    "ActivityPrice",
    "CountError",
    "ExpressionLoss",
    "FinalValues",
    "FirstSpikes",
    "FunctionLoss",
    "Integral",
    "IntervalError",
    "Loss",
    "LossValue",
    "MaxVoltageCrossEntropy",
    "Maxima",
    "Observable",
    "Observed",
    "Primitive",
    "Pseudospikes",
    "Samples",
    "SpikeTimeError",
    "SpikeTimeFunction",
    "SpikeTimes",
    "SumOfLosses",
    "TTFSCrossEntropy",
    "VanRossumDistance",
    "VoltageError",
    "load_network",
    "loss_of",
    "with_integrals",
]
