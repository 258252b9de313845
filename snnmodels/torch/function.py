"""A simulation as a differentiable function of tensors."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..gradients import Simulation
from ..gradients.passes import ForwardPass
from ..symbolic.arrivals import jumping_populations, why_jumps_teach_nothing
from ..templates.arguments import check_kind, check_mapping, has_unit
from ..templates.errors import brief
from ..templates.network import check_inputs
from ..templates.quantities import in_unit

__all__ = ["missing_time", "simulated"]

_DTYPES = (torch.float32, torch.float64)
_NOT_THE_CALLER = (str(Path(__file__).parent), str(Path(torch.__file__).parent))


class _Call:
    """What one call of `simulated` keeps beside tensors."""

    def __init__(self, simulation: Simulation, keys: list[str], inputs: list[str], missing: float, gradient: bool):
        self.simulation, self.keys, self.inputs = simulation, keys, inputs
        self.missing, self.gradient = missing, gradient
        self.shapes: list[tuple[int, ...]] = []
        self.ran: ForwardPass

    def run(self, arrays: list[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Simulate, and return what is observed, with the value for missing spikes."""
        n = len(self.inputs)
        self.shapes = [x.shape for x in arrays]
        inputs, values = dict(zip(self.inputs, arrays, strict=False)), dict(zip(self.keys[n:], arrays[n:], strict=True))
        self.ran = self.simulation.forward_pass(inputs, values, gradient=self.gradient)
        return tuple(np.where(np.isinf(x), self.missing, x) for x in self.ran.arrays)

    @property
    def several(self) -> bool:
        """Whether what is observed is a tuple."""
        return isinstance(self.ran.observed, tuple)

    def back(self, cotangents: list[np.ndarray]) -> list[np.ndarray]:
        """Gradients in the order of the keys; 0 by inputs that the simulation has none for, as nobody asks for it."""
        # a spike that is missing has no time that could change: whatever stands in its place is a constant
        pulls = tuple(np.where(np.isinf(x), 0.0, d) for x, d in zip(self.ran.arrays, cotangents, strict=True))
        gradients = self.ran.backward(pulls if self.several else pulls[0])
        return [gradients.get(key, np.zeros(shape)) for key, shape in zip(self.keys, self.shapes, strict=True)]


class _Simulated(torch.autograd.Function):
    """Forward and backward halves of a simulation, between arrays of float64."""

    @staticmethod
    def forward(call: _Call, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(torch.from_numpy(x) for x in call.run([t.numpy(force=True) for t in tensors]))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.call = inputs[0]
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        # what the gradients depend on beside the cotangents, where they may be differentiated in their turn
        given = ctx.saved_tensors if torch.is_grad_enabled() else ()
        found = _Gradients.apply(ctx.call, len(cotangents), *cotangents, *given)
        gradients = [g if needed else None for g, needed in zip(found, ctx.needs_input_grad[1:], strict=True)]
        _warn_of_jumps(ctx.call, gradients, cotangents)
        return None, *gradients


class _Gradients(torch.autograd.Function):
    """Gradients of a call for derivatives by what it returned; they refuse to be differentiated."""

    @staticmethod
    def forward(call: _Call, n: int, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = call.back([d.numpy(force=True) for d in tensors[:n]])
        return tuple(torch.from_numpy(np.array(g)) for g in found)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> Any:
        raise RuntimeError(
            "snnmodels.torch: the gradient of a simulation can't be differentiated once more (create_graph=True, a "
            "penalty on gradients, a Hessian): EventProp gives first derivatives. Keep its gradients out of the loss, "
            "as by detach(), or take differences of them"
        )


@torch.compiler.disable
def simulated(
    simulation: Simulation, inputs: Any, values: Mapping[str, torch.Tensor] | None, missing: float
) -> Any:
    """What a simulation reads of a batch; see `snnmodels.torch.simulate`.

    Parameters
    ----------
    simulation : Simulation
    inputs : tensor or mapping
    values : mapping of str to tensor, or None
    missing : float
        In seconds.
    """
    check_kind("simulation", simulation, Simulation, "a Simulation; others have no forward and backward halves")
    missing = missing_time(missing)
    network = simulation.network
    names = [s.name for s in network.inputs] + [c.name for c in network.currents]
    if not isinstance(inputs, Mapping):
        if len(names) != 1:
            raise ValueError(f"inputs are {brief(inputs)}; expected a mapping of {names} to tensors")
        inputs = {names[0]: inputs}
    check_inputs(inputs, network)
    check_mapping("values", {} if values is None else values, "a mapping of keys such as 'hidden.tau_m' to tensors")
    units = dict.fromkeys((s.name for s in network.inputs), "second") | {c.name: c.unit for c in network.currents}
    given = {name: _tensor(f"input {name!r}", inputs[name], units[name]) for name in names}
    own = {key: _tensor(f"value of {key!r}", value, "") for key, value in (values or {}).items()}

    keys = [f"{s.name}.times" for s in network.inputs] + [f"{c.name}.samples" for c in network.currents]
    tensors = [*given.values(), *own.values()]
    gradient = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    if gradient and not simulation.plan.input_gradients:
        for name, x in given.items():
            if x.requires_grad:
                raise ValueError(
                    f"input {name!r} requires a gradient, but the simulation was made with input_gradients=False; make "
                    "it with True, or detach the input"
                )
    call = _Call(simulation, [*keys, *own], names, missing, gradient)
    found = _Simulated.apply(call, *(t.to("cpu", torch.float64) for t in tensors))
    if gradient:
        _warn_of_silence(call)
    like = [inputs[name] for name in names if isinstance(inputs[name], torch.Tensor)]
    dtype = torch.float64
    for k, x in enumerate(like):
        dtype = torch.promote_types(dtype, x.dtype) if k else x.dtype
    device = next((x.device for x in (*like, *own.values())), "cpu")
    moved = tuple(x.to(device, dtype) for x in found)
    return moved if call.several else moved[0]


def missing_time(missing: Any) -> float:
    """What stands where a spike is missing, checked: seconds, or ``inf``.

    Parameters
    ----------
    missing : float or Quantity

    Raises
    ------
    ValueError
    """
    found = in_unit(missing, "second", "missing")
    if found.ndim or np.isnan(found):
        raise ValueError(f"missing = {brief(missing)}; expected a number of seconds, or inf")
    return float(found)


def _tensor(what: str, value: Any, unit: str) -> torch.Tensor:
    """A tensor of float32 or float64, as it is; what is no tensor as one of float64."""
    if not isinstance(value, torch.Tensor):
        if has_unit(value) and not unit:
            raise ValueError(f"{what} has a unit; expected a tensor in SI base units")
        return torch.from_numpy(np.array(in_unit(value, unit, what)))
    if value.dtype not in _DTYPES:
        raise ValueError(
            f"{what} is a tensor of {value.dtype}; expected float64 or float32, as .double() makes it (half precision "
            "has three digits, too few for spike times and time constants)"
        )
    return value


_asked: weakref.WeakSet[Simulation] = weakref.WeakSet()  # whether jumps are why gradients by weights are 0


def _warn_of_jumps(call: _Call, found: Sequence[torch.Tensor | None], cotangents: Sequence[torch.Tensor]) -> None:
    """Say once of a simulation why gradients by weights are 0, though the graph asks about what there is."""
    if call.simulation in _asked:
        return
    gradients = dict(zip(call.keys, found, strict=True))
    idle = {key for key, g in gradients.items() if key.endswith(".w") and g is not None and not g.any()}
    pairs = zip(call.ran.arrays, cotangents, strict=True)
    if not idle or not any((np.isfinite(x) & (d.numpy(force=True) != 0)).any() for x, d in pairs):
        return
    _asked.add(call.simulation)
    network = call.simulation.network
    jumping = jumping_populations(network)
    stuck = [f"{q.name}.w" for q in network.projections if q.target in jumping and f"{q.name}.w" in idle]
    if stuck:
        warnings.warn(
            f"network {network.name!r}: the gradient by {', '.join(stuck)} is 0: {why_jumps_teach_nothing(jumping)}",
            RuntimeWarning,
            skip_file_prefixes=_NOT_THE_CALLER,
        )


def _warn_of_silence(call: _Call) -> None:
    """Say that nothing spikes that is read, once for each place in the caller's code."""
    if all(np.isinf(x).all() for x in call.ran.arrays):
        warnings.warn(
            f"network {call.simulation.network.name!r}: no neuron that is read spikes in this batch, so that no "
            "gradient comes back; make its weights or inputs larger (spike_report of the simulation says how far they "
            "are from their thresholds)",
            RuntimeWarning,
            skip_file_prefixes=_NOT_THE_CALLER,
        )
