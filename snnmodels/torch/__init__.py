"""Networks as layers of PyTorch: exact gradients by weights, parameters and inputs within any graph of torch.

PyTorch is imported when one of the functions is first called; without it, that says how to install it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from ..gradients import Simulation
    from ..losses import Observable
    from ..templates import Network
    from .module import Layer

__all__ = ["layer", "simulate"]


def layer(
    source: Network | Simulation,
    reads: Observable | Sequence[Observable] | None = None,
    *,
    missing: float = inf,
    **options: Any,
) -> Layer:
    """Make a network, or a simulation of one, a `torch.nn.Module`.

    What is learnable in the network becomes parameters of the layer, which start with the network's values.

    Parameters
    ----------
    source : Network or Simulation
        A simulation stays yours, to be used and closed.
    reads : Observable or sequence of Observable, optional
        What the layer returns: ``SpikeTimes()``, ``FirstSpikes()``, ``Maxima()``, ``Samples(interval=...)``,
        ``FinalValues()`` of any population. The spike times of the output unless given; of a simulation, what it reads.
    missing : float
        What stands where a spike time is missing, in seconds.
    **options
        Of `Simulation`: `batch_size` (32, the most trials of a batch), `target`, `threads`, `tolerance`, ...

    Returns
    -------
    Layer
        It takes what `simulate` takes as `inputs`, and returns what that returns. Its `values` are its parameters by
        key of `Network.trainable`, its `network` is the one that it was made of with the values that it has now, and
        `close` ends its simulation.

    Raises
    ------
    ValueError
        If the network, what is read and the options don't fit together; for options beside a simulation; for a
        population, projection or parameter that has the name of an attribute of modules.
    ImportError
        Without PyTorch.

    Notes
    -----
    Parameters are named as everywhere in the package: ``"<projection>.w"``, ``"<projection>.delay"``, ``"<drive>.w"``,
    ``"<population>.<parameter>"``, in `named_parameters` and `state_dict` too. They are float64 and in SI base units,
    so that time constants and delays are of the order of 0.01 and want smaller steps than weights: give an optimiser
    groups of parameters with a rate each. Optimisers of torch know no bounds; a value that has become impossible is
    refused by the next forward pass.

    A copy or a pickle of a layer has a simulation of its own, with a program of its own where it is compiled.

    Examples
    --------
    >>> hidden = snn.torch.layer(network, FirstSpikes(), batch_size=100, target="cpp_standalone")  # doctest: +SKIP
    >>> model = torch.nn.Sequential(encoder, hidden, readout)  # doctest: +SKIP
    """
    found: Layer = _home("module", "layer").layer_of(source, reads, missing, options)
    return found


def simulate(
    simulation: Simulation,
    inputs: torch.Tensor | Mapping[str, torch.Tensor],
    values: Mapping[str, torch.Tensor] | None = None,
    *,
    missing: float = inf,
) -> Any:
    """Simulate a batch; a differentiable function of spike times, samples of currents, weights and parameters.

    It is computed in float64 on the processor, wherever the tensors are. What it returns has the dtype and the device
    of the inputs: use float64 where digits count, as a time of 20 ms in float32 is off by up to 1 ns.

    Parameters
    ----------
    simulation : Simulation
        Made with observables, which say what is returned; a loss that it has is not used.
    inputs : tensor or array, or mapping of str to tensor or array
        Spike times in seconds, shape ``(trials, n)`` or ``(trials, n, spikes)``, and samples of currents, as
        `Simulation.run` takes them, by input name; a tensor alone where the network has one input. What is no tensor is
        a constant.
    values : mapping of str to tensor, optional
        In the place of the network's own, by key of `Network.trainable`, in SI base units.
    missing : float
        What stands where a spike time is missing, in seconds.

    Returns
    -------
    tensor or tuple of tensor
        As the observables say, trials first: spike times ``(trials, n, spikes)``, ascending and padded with `missing`
        to the largest number of any neuron in the batch (at least 1).

    Raises
    ------
    ValueError
        For inputs or values of the wrong name, shape, dtype or size; if the gradient by an input is wanted that the
        simulation was made without; in backward if a derivative by a spike time is not finite.
    SimulationError
        As `Simulation.run`.
    RuntimeError
        If a gradient is differentiated again.
    ImportError
        Without PyTorch.

    Notes
    -----
    A spike that is missing has no derivative, whatever stands in its place: a neuron that stays silent passes no
    gradient on, and one that spikes fewer times than others none by its padding.
    """
    return _home("function", "simulate").simulated(simulation, inputs, values, missing)


def _home(module: str, wanted: str) -> Any:
    """A module of this package that imports torch."""
    try:
        importlib.import_module("torch")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ImportError(
            f"snnmodels.torch.{wanted} needs PyTorch, which is not installed: pip install 'snnmodels[torch]'"
        ) from None
    return importlib.import_module(f"{__name__}.{module}")
