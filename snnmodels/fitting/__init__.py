"""Fits of models to recorded spike trains: losses, candidates in one compiled pass, and a procedure that uses them."""

from .coincidence import Coincidence, coincidence_factor, compare_with_repetitions, intrinsic_reliability
from .likelihood import ForcedSpikeLikelihood, forced_model
from .noise import frozen_noise
from .procedure import Repetitions, Settings, SpikeTrainFit, fit_spike_trains
from .space import Bounds
from .template import as_template, bare_model
from .trains import MeanTrainDistance

__all__ = [
    "Bounds",
    "Coincidence",
    "ForcedSpikeLikelihood",
    "MeanTrainDistance",
    "Repetitions",
    "Settings",
    "SpikeTrainFit",
    "as_template",
    "bare_model",
    "coincidence_factor",
    "compare_with_repetitions",
    "fit_spike_trains",
    "forced_model",
    "frozen_noise",
    "intrinsic_reliability",
]
