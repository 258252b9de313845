"""Data sets and the encoders that turn samples into input spike times. NumPy only, and h5py where a file is HDF5."""

from .digits import load_digits
from .encoding import drop_spikes, image_latency, level_crossings, yin_yang_latency
from .events import EventSet, load_nmnist, read_events
from .heidelberg import SHD_CLASSES, SpeechSet, load_shd, load_ssc, read_spike_file
from .lists import SpikeLists
from .mnist import MNIST_FILES, ImageSet, load_mnist, read_idx
from .spikes import padded_spikes, spike_pairs
from .targets import named_targets
from .trials import Trials
from .yin_yang import CLASS_NAMES, PUBLISHED_SETS, YinYangSet, classify_yin_yang, yin_yang, yin_yang_split

__all__ = [
    "CLASS_NAMES",
    "MNIST_FILES",
    "PUBLISHED_SETS",
    "SHD_CLASSES",
    "EventSet",
    "ImageSet",
    "SpeechSet",
    "SpikeLists",
    "Trials",
    "YinYangSet",
    "classify_yin_yang",
    "drop_spikes",
    "image_latency",
    "level_crossings",
    "load_digits",
    "load_mnist",
    "load_nmnist",
    "load_shd",
    "load_ssc",
    "named_targets",
    "padded_spikes",
    "read_events",
    "read_idx",
    "read_spike_file",
    "spike_pairs",
    "yin_yang",
    "yin_yang_latency",
    "yin_yang_split",
]
