"""Spiking-neuron models as equations, simulated and trained exactly on Brian2."""

__version__ = "0.1.0"
