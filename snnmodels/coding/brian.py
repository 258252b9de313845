"""The derived network as ordinary Brian2 objects, for numpy, cython and C++ standalone.

At most one neuron spikes per time step, the one furthest above its threshold. Brian2 has no such rule, so a one-neuron
group, the hub, holds a contest every step: all neurons above threshold raise the custom event ``candidate``, the hub
keeps the best of them, and only that one passes the threshold condition ``margin > 0 and i == winner``. The hub also
holds what the population has in common: population traces and homeostat-controlled parameters.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import brian2
import numpy as np
from brian2 import NeuronGroup, SpikeMonitor, StateMonitor, Synapses, second
from brian2.devices.device import get_device, reset_device, set_device

from ..targets import compilation
from ..targets.devices import BrianTarget, cpp_preferences, preferences, quiet, require_compiler
from ..targets.one_unit import one_unit
from .alarms import sound_alarms
from .factors import Recurrence
from .faults import check_after, check_before
from .network import CodingNetwork, Form
from .rendering import render_population
from .response import Response
from .signals import Signal

__all__ = ["BrianNetwork", "brian_network", "recorded", "run_rendered", "simulate_brian", "simulate_brian_together"]

Array = np.ndarray


@dataclass(frozen=True)
class BrianNetwork:
    """Plain Brian2 objects; put ``objects`` into a `brian2.Network`.

    Attributes
    ----------
    neurons : NeuronGroup
        Variables ``v`` (in the low-rank form an expression in the hub's ``y0``, ``y1``, ...), the per-neuron traces
        that the rule reads, ``margin`` (v minus threshold).
    hub : NeuronGroup
        One neuron: ``winner``, population traces, homeostat-controlled parameters.
    recurrent : Synapses
        From all neurons to all, or to the hub in the low-rank form.
    spikes : SpikeMonitor
    objects : list
        Everything above and what belongs to it.
    """

    neurons: NeuronGroup
    hub: NeuronGroup
    recurrent: Synapses
    spikes: SpikeMonitor
    levels: StateMonitor | None
    objects: list[Any]

    def response(self, network: CodingNetwork, signal: Signal) -> Response:
        """The recorded spikes as a `Response`, after the run.

        Parameters
        ----------
        network : CodingNetwork
        signal : Signal
            Those that the objects were made of.
        """
        response = Response(network, signal, *recorded(self.spikes, self.levels, signal))
        check_after(response)
        sound_alarms(response)
        return response


def recorded(
    spikes: SpikeMonitor, levels: StateMonitor | None, signal: Signal
) -> tuple[Array, Array, dict[str, Array]]:
    """Steps and neurons of the spikes, and controlled parameters in every step."""
    # Brian2 gives the time of the start of the step; half a step guards the division against rounding
    steps = np.floor(np.asarray(spikes.t / second) / signal.dt + 0.5).astype(int)
    controlled = {} if levels is None else {p: np.asarray(getattr(levels, p)[0]) for p in levels.record_variables}
    return steps, np.asarray(spikes.i, int), controlled


def brian_network(
    network: CodingNetwork,
    signal: Signal,
    *,
    form: Form = "threshold",
    recurrence: Recurrence | None = None,
    name: str = "coding",
) -> BrianNetwork:
    """Render a coding network into Brian2.

    Parameters
    ----------
    network : CodingNetwork
    signal : Signal
        Its ``dt`` is the time step of the objects.
    form : "threshold" or "weight"
        Whether the costs sit in the threshold or in the weights.
    recurrence : "dense", "low_rank" or None
        Synapses from all to all, or 2 N of them through the hub; None for the second where M < N.
    name : str
        Prefix of the names of the objects; two networks in one `brian2.Network` need two names.

    Returns
    -------
    BrianNetwork

    Raises
    ------
    ValueError
        If signal and network don't fit, or the weight form doesn't exist.
    """
    if form not in ("threshold", "weight"):
        raise ValueError(f"form={form!r} is not 'threshold' or 'weight'")
    check_before(network, signal)
    chosen = network.chosen_recurrence(form, recurrence)
    rendered = render_population(network, signal, form=form, recurrence=chosen, name=name)
    assert rendered.recurrent is not None
    return BrianNetwork(
        rendered.neurons, rendered.hub, rendered.recurrent, rendered.spikes, rendered.levels, rendered.objects
    )


def simulate_brian(
    network: CodingNetwork,
    signal: Signal,
    *,
    form: Form = "threshold",
    recurrence: Recurrence | None = None,
    target: BrianTarget = "numpy",
    directory: str | Path | None = None,
    seed: int = 0,
) -> Response:
    """Simulate a coding network in Brian2.

    Parameters
    ----------
    network : CodingNetwork
    signal : Signal
    form : "threshold" or "weight"
    recurrence : "dense", "low_rank" or None
        As for `brian_network`.
    target : "numpy", "cython" or "cpp_standalone"
    directory : path or None
        Where the C++ project goes; None for a temporary folder that is deleted afterwards.
    seed : int
        Of the voltage noise; the numbers differ between targets.

    Returns
    -------
    Response
        The same spike trains as `simulate`, without voltage noise.

    Raises
    ------
    ValueError
        For an unknown target, a signal that doesn't fit the network, or a weight form that doesn't exist.
    CompilerMissing
        If the target needs a compiler that isn't there.
    """
    return simulate_brian_together(
        [(network, form)], signal, recurrence=recurrence, target=target, directory=directory, seed=seed
    )[0]


def simulate_brian_together(
    cases: Sequence[tuple[CodingNetwork, Form]],
    signal: Signal,
    *,
    recurrence: Recurrence | None = None,
    target: BrianTarget = "numpy",
    directory: str | Path | None = None,
    seed: int = 0,
) -> list[Response]:
    """Simulate several networks on the same signal in one Brian2 run, and so in one compiled program.

    Parameters
    ----------
    cases : sequence of (CodingNetwork, form)
    signal, recurrence, target, directory, seed
        As for `simulate_brian`.

    Returns
    -------
    list of Response

    Raises
    ------
    ValueError, CompilerMissing
        As for `simulate_brian`.
    """
    def build() -> list[BrianNetwork]:
        return [
            brian_network(network, signal, form=form, recurrence=recurrence, name=f"coding{k}")
            for k, (network, form) in enumerate(cases)
        ]

    def read(rendered: list[BrianNetwork]) -> list[Response]:
        return [r.response(network, signal) for r, (network, _) in zip(rendered, cases, strict=True)]

    def objects(rendered: list[BrianNetwork]) -> list[Any]:
        return [o for r in rendered for o in r.objects]

    return run_rendered(build, objects, read, signal, target, directory, seed)


def run_rendered[Built, Found](
    build: Callable[[], Built],
    objects: Callable[[Built], list[Any]],
    read: Callable[[Built], Found],
    signal: Signal,
    target: BrianTarget,
    directory: str | Path | None,
    seed: int,
) -> Found:
    """Make Brian2 objects on a target, run them for the length of the signal, and read what they recorded.

    Parameters
    ----------
    build : callable
        Makes what is to be run, with the target's device and preferences in force.
    objects : callable
        The Brian2 objects in it.
    read : callable
        What is wanted of it after the run.
    signal, target, directory, seed
        As for `simulate_brian`.

    Raises
    ------
    ValueError, CompilerMissing
        As for `simulate_brian`.
    """
    if target not in ("numpy", "cython", "cpp_standalone"):
        raise ValueError(f"target {target!r} is not 'numpy', 'cython' or 'cpp_standalone'")

    def run() -> Built:
        brian2.seed(seed)
        built = build()
        brian2.Network(objects(built)).run(signal.steps * signal.dt * second, namespace={})
        return built

    with quiet():
        if target == "cpp_standalone":
            with _standalone(directory) as folder:
                built = run()
                _run_compiled(Path(folder))
                return read(built)
        if target == "cython":
            require_compiler()
        with preferences({"codegen.target": target, **(cpp_preferences() if target == "cython" else {})}):
            return read(run())


def _run_compiled(folder: Path) -> None:
    """Write, compile and run what was set up on the C++ device."""
    # not the folder of set_device, which build() doesn't know, but "output" would be the default
    get_device().build(directory=str(folder), compile=False, run=False)
    unit = folder / "simulation.cpp"
    unit.write_text(one_unit(folder))
    flags = [*brian2.prefs["codegen.cpp.extra_compile_args_gcc"], f"-I{folder}", f"-I{folder / 'brianlib'}"]
    compilation.build([unit], folder / "main", flags)
    get_device().run(directory=str(folder))


@contextmanager
def _standalone(directory: str | Path | None) -> Iterator[str]:
    """C++ standalone as Brian2's device inside the block, the former device afterwards; gives the folder."""
    require_compiler()
    with tempfile.TemporaryDirectory() as temporary, preferences(cpp_preferences()):
        folder = str(directory or temporary)
        set_device("cpp_standalone", directory=folder, build_on_run=False)
        device = get_device()
        device.reinit()
        device.activate(directory=folder, build_on_run=False)
        try:
            yield folder
        finally:
            device.reinit()
            reset_device()
