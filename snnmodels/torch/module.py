"""A network as a `torch.nn.Module`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..gradients import Simulation
from ..losses import Loss
from ..losses.observables import Observable, SpikeTimes
from ..templates.errors import brief
from ..templates.network import Network
from ..templates.values import with_values
from .function import missing_time, simulated

__all__ = ["Layer", "layer_of"]


def layer_of(
    source: Network | Simulation,
    reads: Observable | Sequence[Observable] | None,
    missing: float,
    options: Mapping[str, Any],
) -> Layer:
    """A layer; see `snnmodels.torch.layer`.

    Parameters
    ----------
    source : Network or Simulation
    reads : Observable or sequence of Observable, or None
    missing : float
        In seconds.
    options : mapping of str to object
        Of `Simulation`.
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
    """A simulated network with its learnable values as parameters; `snnmodels.torch.layer` makes it and tells of it.

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
        """Simulate a batch; see `snnmodels.torch.simulate`.

        Parameters
        ----------
        inputs : tensor or array, or mapping of str to tensor or array
        """
        return simulated(self.simulation, inputs, self.values, self.missing)

    def close(self) -> None:
        """End the simulation."""
        self.simulation.close()

    def extra_repr(self) -> str:
        """The simulation, in one line."""
        return repr(self.simulation)
