"""Models and networks as Brian2 objects: plain groups, the forward and backward simulation, compiled programs."""

from .plain import neuron_group, synapses
from .reading import ReadNetwork, from_brian2

__all__ = ["ReadNetwork", "from_brian2", "neuron_group", "synapses"]
