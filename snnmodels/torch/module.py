"""A network as a `torch.nn.Module`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..gradients import Simulation
from ..losses import Loss
from ..losses.observables import Observable, SpikeTimes
from ..templates.errors import brief
from ..templates.network import Network
from ..templates.values import with_values
from .function import missing_time, simulate

__all__ = ["Layer", "layer"]


def layer(
    source: Network | Simulation,
    reads: Observable | Sequence[Observable] | None = None,
    *,
    missing: float = np.inf,
    **options: Any,
) -> Layer:
    """Make a network, or a simulation of one, a layer of torch.

    Parameters
    ----------
    source : Network or Simulation
        What is learnable in the network becomes a parameter of the layer, and starts with the network's values. A
        simulation stays yours, to be used and closed.
    reads : Observable or sequence of Observable, optional
        What the layer returns: ``SpikeTimes()``, ``FirstSpikes()``, ``Maxima()``, ``Samples(interval=...)``,
        ``FinalValues()`` of any population. The spike times of the output unless given; of a simulation, what it reads.
    missing : float
        What stands where a spike time is missing, in seconds.
    **options
        Of `Simulation`: `batch_size` (32, the most trials of a batch), `target`, `threads`, `tolerance`, ...

    Raises
    ------
    ValueError
        If the network, what is read and the options don't fit together; for options beside a simulation.

    Examples
    --------
    >>> hidden = snn.torch.layer(network, FirstSpikes(), batch_size=100, target="cpp_standalone")  # doctest: +SKIP
    >>> model = torch.nn.Sequential(encoder, hidden, readout)  # doctest: +SKIP
    """
    if isinstance(source, Simulation):
        if reads is not None or options:
            said = ", ".join([*(["reads"] if reads is not None else []), *options])
            raise ValueError(f"{said}: given beside a simulation, which has its own; give the network instead")
        return Layer(source, missing=missing)
    if not isinstance(source, Network):
        raise ValueError(f"source is {brief(source)}; expected a Network, as load_network gives, or a Simulation")
    if isinstance(reads, Loss):
        raise ValueError(f"reads is {brief(reads)}; a layer returns observables, as SpikeTimes(); take losses in torch")
    if reads is None:
        output = source.population(source.output)
        if not output.model.spiking:
            raise ValueError(
                f"output {output.name!r} ({output.model.name}) has no threshold, so that it has no spike times to "
                "return; say what is read, as reads=Maxima() or reads=Samples(interval=1*ms)"
            )
        reads = SpikeTimes()
    if not isinstance(reads, Observable | tuple | list):
        raise ValueError(f"reads is {brief(reads)}; expected an observable, as SpikeTimes(), or a list of them")
    observables = reads if isinstance(reads, Observable) else tuple(reads)
    return Layer(Simulation(source, observables, **options), missing=missing)


class _Values(torch.nn.Module):
    """What is learnable of one part of a network."""

    def extra_repr(self) -> str:
        return ", ".join(f"{name} {tuple(p.shape)}" for name, p in self.named_parameters(recurse=False))


class Layer(torch.nn.Module):
    """A simulated network with its learnable values as parameters; made by `layer`.

    Parameters are named as everywhere in the package: ``"<projection>.w"``, ``"<projection>.delay"``, ``"<drive>.w"``,
    ``"<population>.<parameter>"``, in `named_parameters` and `state_dict` too. They are float64 and in SI base units,
    so that time constants and delays are of the order of 0.01 and want smaller steps than weights: give an optimiser
    groups of parameters with a rate each. Optimisers of torch know no bounds; a value that has become impossible is
    refused by the next forward pass.

    A copy or a pickle of it has a simulation of its own, with a program of its own where it is compiled.

    Attributes
    ----------
    simulation : Simulation
    missing : float
        What stands where a spike time is missing, in seconds.

    Raises
    ------
    ValueError
        For a population, projection or parameter that has the name of an attribute of modules.
    """

    def __init__(self, simulation: Simulation, *, missing: float = np.inf) -> None:
        super().__init__()
        self.simulation, self.missing = simulation, missing_time(missing)
        self._keys: list[str] = []
        for key, value in simulation.network.trainable().items():
            owner, name = key.split(".")
            try:
                if owner not in self._modules:
                    self.add_module(owner, _Values())
                start = torch.nn.Parameter(torch.from_numpy(np.array(value)))
                self.get_submodule(owner).register_parameter(name, start)
            except KeyError:
                taken = name if hasattr(self._modules.get(owner), name) else owner
                raise ValueError(
                    f"{key!r} can't be a parameter of a layer: torch.nn.Module has an attribute {taken!r}; rename it "
                    "in the network or the model, or pass values to snnmodels.torch.simulate"
                ) from None
            self._keys.append(key)

    @property
    def values(self) -> dict[str, torch.Tensor]:
        """The parameters by key of `Network.trainable`; a parametrised one as it is used."""
        return {key: getattr(self.get_submodule(key.split(".")[0]), key.split(".")[1]) for key in self._keys}

    @property
    def network(self) -> Network:
        """The network with the values that the layer has now, to be saved or simulated elsewhere."""
        return with_values(self.simulation.network, {key: x.numpy(force=True) for key, x in self.values.items()})

    def forward(self, inputs: Any) -> Any:
        """Simulate a batch; see `simulate`.

        Parameters
        ----------
        inputs : tensor or array, or mapping of str to tensor or array
        """
        return simulate(self.simulation, inputs, self.values, missing=self.missing)

    def close(self) -> None:
        """End the simulation."""
        self.simulation.close()

    def extra_repr(self) -> str:
        """The simulation, in one line."""
        return repr(self.simulation)
