"""Models fitted to recordings: what was recorded, losses of it, searches, and the fitted model as a template again.

`fit` is for any recording; `fit_spike_trains` for the spikes of one current that was repeated, which it follows
through a likelihood, distances and averages over noise.
"""

from .coincidence import Coincidence, coincidence_factor, compare_with_repetitions, intrinsic_reliability
from .fit import FitInterrupted, fit
from .free import free_parameters, parse_free, parse_value
from .likelihood import ForcedSpikeLikelihood, forced_model
from .noise import frozen_noise
from .objective import LossSettings
from .procedure import Repetitions, Settings, SpikeTrainFit, fit_spike_trains
from .reading import read_recording
from .recording import Recording, Sweep, as_recording, crossings
from .report import write_report
from .result import FitResult
from .space import Bounds
from .template import bare_model
from .trains import MeanTrainDistance

__all__ = [
    "Bounds",
    "Coincidence",
    "FitInterrupted",
    "FitResult",
    "ForcedSpikeLikelihood",
    "LossSettings",
    "MeanTrainDistance",
    "Recording",
    "Repetitions",
    "Settings",
    "SpikeTrainFit",
    "Sweep",
    "as_recording",
    "bare_model",
    "coincidence_factor",
    "compare_with_repetitions",
    "crossings",
    "fit",
    "fit_spike_trains",
    "forced_model",
    "free_parameters",
    "frozen_noise",
    "intrinsic_reliability",
    "parse_free",
    "parse_value",
    "read_recording",
    "write_report",
]
