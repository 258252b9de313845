"""The event-driven reference: slow, independent of Brian2 and of any time grid, exact to rounding.

A network is integrated by SciPy from event to event, threshold crossings are located to rounding, and the adjoint of
`snnmodels.symbolic.Adjoint` is integrated backward over the same events. Meant for tens of neurons and a few trials: it
is what the Brian2 simulation and its gradient are checked against.
"""

from ._api import Maximum, Method, OracleGradient, Sampled, Trajectory, gradient, simulate
from ._maximum import Peak

__all__ = ["Maximum", "Method", "OracleGradient", "Peak", "Sampled", "Trajectory", "gradient", "simulate"]
