"""Export of a network's forward simulation as a C++ or CUDA project that builds with make and runs without Python."""

from .drive import driven_population, encoded_sample, read_spikes, regular_spikes, with_values
from .project import Project, Target, export_project

__all__ = [
    "Project",
    "Target",
    "driven_population",
    "encoded_sample",
    "export_project",
    "read_spikes",
    "regular_spikes",
    "with_values",
]
