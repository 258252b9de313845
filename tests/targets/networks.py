"""What several tests of CUDA run."""

from __future__ import annotations

import numpy as np

from snnmodels.templates import Network, load_network
from tests.events.drawn import MS

ORDERS = ("forward", "reverse", "random:1", "random:2")  # in which the emulator may run threads


def yin_yang(trials: int, hidden: int = 150) -> tuple[Network, dict[str, np.ndarray], np.ndarray]:
    """A small network with a batch; 150 neurons are more than a block has threads."""
    rng = np.random.default_rng(0)
    network = load_network("yin_yang", hidden={"n": hidden})
    return network, {"input": rng.uniform(0, 30 * MS, (trials, 5))}, rng.integers(0, 3, trials)
