"""Spiking-neuron models as equations, simulated and trained exactly on Brian2.

``import snnmodels as snn`` offers what most scripts need; a name is imported when it is first used.
"""

from __future__ import annotations

from .lazy import offered

__version__ = "0.1.0"

_NAMES = {
    "bridges": ("from_nir", "to_nir"),
    "brian": ("from_brian2", "neuron_group", "synapses"),
    "coding": ("CodingNetwork", "joint_loss", "load_coding_network"),
    "datasets": ("SpikeLists", "Trials", "padded_spikes", "spike_pairs"),
    "fitting": ("FitResult", "Recording", "fit", "read_recording"),
    "gradients": ("GridSimulation", "MPISimulation", "Simulation", "SimulationError", "check_gradient"),
    "losses": (
        "ActivityPrice",
        "CountError",
        "ExpressionLoss",
        "FunctionLoss",
        "IntervalError",
        "Loss",
        "LossValue",
        "MaxVoltageCrossEntropy",
        "Pseudospikes",
        "SpikeTimeError",
        "SpikeTimeFunction",
        "TTFSCrossEntropy",
        "VanRossumDistance",
        "VoltageError",
        "load_network",
        "loss_of",
    ),
    "optimisers": ("SGD", "Adam", "ExponentialDecay"),
    "parallel": ("WorkerPool", "run_all"),
    "projects": ("export_simulation", "load_results"),
    "reports": ("derivation",),
    "templates": (
        "CurrentInput",
        "Drive",
        "Model",
        "Network",
        "Population",
        "Projection",
        "SpikeInput",
        "TemplateError",
        "load_model",
        "save_model",
        "save_network",
        "with_values",
    ),
    "training": ("EarlyStopping", "TrainingInterrupted", "evaluate", "load_checkpoint", "train"),
}
_MODULES = (*_NAMES, "oracle", "plots", "symbolic", "torch")
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__getattr__, __dir__, __all__ = offered(__name__, _HOME | dict.fromkeys(_MODULES, ""))
__all__ += ["__version__"]
