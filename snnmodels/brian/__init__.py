"""Models and networks as Brian2 objects: plain groups, the forward and backward simulation, compiled programs."""

from .plain import neuron_group, synapses

__all__ = ["neuron_group", "synapses"]
