"""Brian2 scripts as networks: what the objects of a script are in continuous time, with gradients."""

from ._network import ReadNetwork, from_brian2

__all__ = ["ReadNetwork", "from_brian2"]
