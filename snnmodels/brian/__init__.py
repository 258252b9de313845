"""Models and networks as Brian2 objects: plain groups, the forward and backward simulation, compiled programs."""
