"""Export of a network's forward simulation as a C++ or CUDA project that builds with make and runs without Python."""

from .project import Project, Target, export_project

__all__ = ["Project", "Target", "export_project"]
