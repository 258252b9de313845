"""Spiking-neuron models as equations, simulated and trained exactly on Brian2."""
