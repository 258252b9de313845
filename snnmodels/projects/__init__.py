"""A network, its batch and its loss as a project that builds with make and runs without Python, in continuous time."""

from .export import ProjectTarget, SimulationProject, export_simulation
from .results import Results, load_results

__all__ = ["ProjectTarget", "Results", "SimulationProject", "export_simulation", "load_results"]
