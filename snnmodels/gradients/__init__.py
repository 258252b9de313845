"""Networks simulated and differentiated: sources of losses and gradients, and the check of gradients."""

from .check import check_gradient
from .gradient_report import GradientReport, GradientRow
from .grid import GridSimulation, UnresolvedSpikes
from .mpi import MPISimulation
from .passes import ForwardPass
from .probe import Probe, ProbeError, probe
from .simulation import Simulation, SimulationError
from .source import GradientSource, GradientWrapper, Outcome
from .spike_report import SpikeReport

__all__ = [
    "ForwardPass",
    "GradientReport",
    "GradientRow",
    "GradientSource",
    "GradientWrapper",
    "GridSimulation",
    "MPISimulation",
    "Outcome",
    "Probe",
    "ProbeError",
    "Simulation",
    "SimulationError",
    "SpikeReport",
    "UnresolvedSpikes",
    "check_gradient",
    "probe",
]
