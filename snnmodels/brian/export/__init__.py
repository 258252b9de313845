"""Export of a network's forward simulation as a C++ or CUDA project that builds with make and runs without Python."""

from .drive import driven_population, encoded_label, encoded_sample, read_spikes, regular_spikes
from .project import Project, ProjectTarget, export_project, write_makefile

__all__ = [
    "Project",
    "ProjectTarget",
    "driven_population",
    "encoded_label",
    "encoded_sample",
    "export_project",
    "read_spikes",
    "regular_spikes",
    "write_makefile",
]
