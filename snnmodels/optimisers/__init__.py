"""Gradient descent on dictionaries of arrays, in place, with learning rates by epoch."""

from .adam import Adam
from .base import Bounds, Optimiser
from .schedules import ConstantRate, ExponentialDecay, Schedule
from .sgd import SGD

__all__ = ["SGD", "Adam", "Bounds", "ConstantRate", "ExponentialDecay", "Optimiser", "Schedule"]
