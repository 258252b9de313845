"""Data sets and the encoders that turn samples into input spike times. NumPy only."""

from .digits import load_digits
from .encoding import drop_spikes, image_latency, level_crossings, yin_yang_latency
from .mnist import MNIST_FILES, ImageSet, load_mnist, read_idx
from .spikes import padded_spikes, spike_pairs
from .targets import named_targets
from .trials import Trials
from .yin_yang import CLASS_NAMES, PUBLISHED_SETS, YinYangSet, classify_yin_yang, yin_yang, yin_yang_split

__all__ = [
    "CLASS_NAMES",
    "MNIST_FILES",
    "PUBLISHED_SETS",
    "ImageSet",
    "Trials",
    "YinYangSet",
    "classify_yin_yang",
    "drop_spikes",
    "image_latency",
    "level_crossings",
    "load_digits",
    "load_mnist",
    "named_targets",
    "padded_spikes",
    "read_idx",
    "spike_pairs",
    "yin_yang",
    "yin_yang_latency",
    "yin_yang_split",
]
