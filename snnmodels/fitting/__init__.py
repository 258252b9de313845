"""Models fitted to recordings: what was recorded, losses of it, searches, and the fitted model as a template again.

`fit` is for any recording: spikes are followed through a likelihood, distances and, where a current was repeated,
distances under noise.
"""

from .coincidence import Coincidence, coincidence_factor, compare_with_repetitions, intrinsic_reliability
from .fit import FitInterrupted, fit
from .free import free_parameters, parse_free, parse_value
from .likelihood import ForcedSpikeLikelihood, forced_model
from .noise import Noise, frozen_noise
from .reading import read_recording
from .recording import Recording, Sweep, as_recording, crossings
from .report import write_report
from .result import FitResult
from .space import Bounds
from .template import bare_model
from .terms import LossSettings
from .trains import MeanTrainDistance

__all__ = [
    "Bounds",
    "Coincidence",
    "FitInterrupted",
    "FitResult",
    "ForcedSpikeLikelihood",
    "LossSettings",
    "MeanTrainDistance",
    "Noise",
    "Recording",
    "Sweep",
    "as_recording",
    "bare_model",
    "coincidence_factor",
    "compare_with_repetitions",
    "crossings",
    "fit",
    "forced_model",
    "free_parameters",
    "frozen_noise",
    "intrinsic_reliability",
    "parse_free",
    "parse_value",
    "read_recording",
    "write_report",
]
