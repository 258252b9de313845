"""A Brian2 script as a network: what is read, by name, and how trained values go back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from brian2 import (
    EventMonitor,
    NetworkOperation,
    NeuronGroup,
    PoissonGroup,
    PoissonInput,
    PopulationRateMonitor,
    SpatialNeuron,
    SpikeGeneratorGroup,
    StateMonitor,
    Subgroup,
    Synapses,
    get_device,
)
from brian2 import Network as BrianNetwork
from brian2.core.base import BrianObject
from brian2.core.magic import magic_network
from brian2.core.namespace import get_local_namespace
from brian2.devices.device import all_devices
from brian2.groups.group import CodeRunner
from brian2.groups.neurongroup import Resetter, StateUpdater, SubexpressionUpdater, Thresholder
from brian2.synapses.synapses import SummedVariableUpdater, SynapticPathway

from ...templates import Drive, Network, Population, Projection, SpikeInput, with_values
from ...templates.arguments import check_mapping, check_seed
from ...templates.errors import brief, suggest
from ...templates.quantities import in_unit
from ._arrivals import Arrivals, assigned, read_arrivals, whole_group
from ._inputs import current_input, poisson_arrivals, samples, sources
from ._population import PopulationReader, read_statements
from ._scope import place, refuse
from ._slots import Array, Target, write_all

__all__ = ["ReadNetwork", "from_brian2"]

_SOURCES = (SpikeGeneratorGroup, PoissonGroup, PoissonInput)
_WATCHING = (EventMonitor, StateMonitor, PopulationRateMonitor)  # SpikeMonitor is one of the first
_OWN_STEPS = (Resetter, StateUpdater, SubexpressionUpdater, Thresholder, SummedVariableUpdater, SynapticPathway)


@dataclass(frozen=True, repr=False)
class ReadNetwork(Network):
    """A network that was read from a Brian2 script, with one trial of its inputs, and ways back to its objects.

    Attributes
    ----------
    trial : mapping of str to array
        What the script gives to its inputs: spike times and samples, as `Simulation.run` takes them.
    targets : mapping of str to sequence of Target
        By key of `trainable`, where the script keeps the values.
    """

    trial: Mapping[str, Array] = field(default_factory=dict, compare=False, repr=False)
    targets: Mapping[str, Sequence[Target]] = field(default_factory=dict, compare=False, repr=False)

    def to_brian2(self, values: Mapping[str, Array] | None = None) -> None:
        """Put values into the objects of the script.

        Parameters and initial values of groups, weights and delays are set there; a number that the script defines
        outside of its objects goes to the `namespace` of those that read it, which comes before the script's own.
        Brian2 rounds delays and refractory periods to its time step when it runs.

        Parameters
        ----------
        values : mapping of str to array, optional
            By key of `trainable`, such as `TrainingResult.values`; those of the network itself where it is left out.

        Raises
        ------
        ValueError
            As `with_values`; where the script has one number for what are now several, or none that can be set. Nothing
            has been set then.
        """
        network = self if values is None else with_values(self, values)
        new = network.trainable()
        write_all({key: new[key] for key in (new if values is None else values)}, self.targets)


def from_brian2(
    objects: BrianNetwork | BrianObject | Iterable[Any],
    output: str | NeuronGroup,
    duration: Any,
    *,
    learnable: Mapping[str, Sequence[str]] | None = None,
    seed: int = 0,
    namespace: Mapping[str, Any] | None = None,
    name: str = "script",
) -> ReadNetwork:
    """The objects of a Brian2 script as a network, which is their limit in continuous time.

    Every NeuronGroup becomes a population of its name, every SpikeGeneratorGroup, PoissonGroup and PoissonInput an
    input, a TimedArray a sampled current, and Synapses a projection of their name. Time steps, methods of integration
    and monitors are left aside. What has no gradient or no limit is refused by name.

    Parameters
    ----------
    objects : brian2.Network, or objects of one
        Before they are run. ``collect()`` of Brian2 gives all that are there.
    output : str or NeuronGroup
        The population that losses read unless they name another.
    duration : float or Quantity
        Of a trial, in seconds.
    learnable : mapping of str to sequence of str, optional
        By name of the group or the synapses, what the gradient is wanted of: parameters, and initial values such as
        ``"v_0"``, of a group (none by default); ``"w"`` and ``"delay"`` of synapses (the weights, by default).
        Numbers of the script are parameters of each group that reads them, or whose synapses do: the number of
        ``on_pre="ge += we"`` is one weight for each synapse, unless the group is to learn ``"we"``, which all share.
        What equations declare for each neuron, and initial values, are learned for each.
    seed : int
        Of the spikes that are drawn, once, for PoissonGroup and PoissonInput.
    namespace : mapping, optional
        What names in equations stand for where objects don't say; what is there where this is called, by default.
    name : str
        Of the network.

    Returns
    -------
    ReadNetwork

    Raises
    ------
    TemplateError
        For what isn't read, naming the object, and what to do.
    ValueError
        For arguments that don't fit the objects.

    Examples
    --------
    >>> from brian2 import NeuronGroup, ms
    >>> cells = NeuronGroup(2, "dv/dt = (2 - v)/(10*ms) : 1", threshold="v > 1", reset="v = 0", name="cells")
    >>> network = from_brian2([cells], output="cells", duration=10 * ms)
    >>> with Simulation(network, snnmodels.losses.SpikeTimes(), batch_size=1) as simulation:
    ...     print(1e3 * simulation.forward(network.trial, gradient=False).round(6))
    [[[6.931]
      [6.931]]]
    """
    if get_device() is not all_devices["runtime"]:
        raise ValueError("from_brian2: values of a standalone device can't be read; call set_device('runtime') first")
    check_seed(seed)
    check_mapping("namespace", {} if namespace is None else namespace, "values by name, as a script's locals()")
    run_namespace = get_local_namespace(1) if namespace is None else dict(namespace)
    found = _sorted_out(objects)
    groups = {n: o for n, o in found.items() if isinstance(o, NeuronGroup)}
    output_name = getattr(output, "name", output)
    if output_name not in groups:
        raise ValueError(f"output is {brief(output_name)}; expected a NeuronGroup; {suggest(str(output_name), groups)}")
    if (length_of := in_unit(duration, "second", "duration")).ndim:
        raise ValueError(f"duration is {brief(duration)}; expected one time in seconds")
    length = float(length_of)
    wanted = _wanted(learnable, found)
    incoming = _incoming(found, groups)

    readers, arrivals = {}, []
    for n, group in groups.items():
        readers[n] = reader = PopulationReader(group, run_namespace, _changed(group, incoming[n]), wanted.get(n, ()))
        for o in incoming[n]:
            if isinstance(o, PoissonInput):
                arrivals.append((o, poisson_arrivals(o, reader)))
            else:
                source = whole_group(o.source)[0].name
                arrivals += [(o, a) for a in read_arrivals(o, reader, wanted.get(source, ()))]
    arrivals.sort(key=lambda pair: (pair[0].order, pair[1].name))  # as Brian2 goes through them

    populations: list[Population] = []
    targets: dict[str, list[Target]] = {}
    for n, reader in readers.items():
        model = reader.model()
        values = {k: v for k, v in reader.values().items() if k in model.parameters}
        population = Population(n, len(groups[n]), model, values, wanted.get(n, ()))
        populations.append(population)
        for parameter in population.learnable:
            targets[f"{n}.{parameter}"] = [Target(slot) for slot in reader.constants[parameter].slots.values()]
    inputs = tuple(SpikeInput(n, _size(o)) for n, o in found.items() if isinstance(o, _SOURCES))
    projections: list[Projection] = []
    for o, a in arrivals:
        p = _projection(a, _size(found[a.source]), _size(found[a.target]), wanted.get(o.name))
        p = replace(p, name=_free(p.name, {*found, *(q.name for q in projections)} - {o.name}))
        projections.append(p)
        targets[f"{p.name}.w"] = [Target(a.weight_slot, a.chosen, (a.i, a.j))]
        targets[f"{p.name}.delay"] = [Target(a.delay_slot, a.chosen, (a.i, a.j))]
    currents, drives, sampled = _driven(readers, length, {*found, *(p.name for p in projections)})
    return ReadNetwork(
        name=name,
        inputs=inputs,
        populations=tuple(populations),
        projections=tuple(projections),
        output=output_name,
        duration=length,
        currents=tuple(currents),
        drives=tuple(drives),
        trial={**sources(found, length, seed, run_namespace), **sampled},
        targets=targets,
    )


def _size(o: Any) -> int:
    """Number of neurons or sources; a `PoissonInput` has one for each neuron that it drives."""
    return len(o._group) if isinstance(o, PoissonInput) else len(o)


def _sorted_out(objects: Any) -> dict[str, BrianObject]:
    """Groups, synapses and inputs by name; what isn't read is refused."""
    if isinstance(objects, BrianNetwork):
        if objects.t_ > 0:
            raise ValueError("from_brian2: the network has run; read it before, or restore its beginning")
        members = list(objects.objects)
    else:
        members = list(_flat(objects))
    found: dict[str, BrianObject] = {}
    for o in sorted(members, key=lambda o: (o.order, o.name)):
        if isinstance(o, (*_WATCHING, Subgroup)):
            continue
        if isinstance(o, NetworkOperation):
            raise refuse(o, "network_operation", "runs Python in every step, which has no gradient; leave it out")
        known = isinstance(o, (NeuronGroup, Synapses, *_SOURCES)) and not isinstance(o, SpatialNeuron)
        if not known:
            expected = "NeuronGroup, Synapses, SpikeGeneratorGroup, PoissonGroup, PoissonInput and monitors"
            raise refuse(o, "", f"isn't read; {expected} are")
        if not o.active:
            raise refuse(o, "active", "is False; leave it out of the objects")
        if not isinstance(objects, BrianNetwork) and _has_run(o):
            raise refuse(o, "", "has run; read it before, or restore its beginning")
        for part in o.contained_objects:
            if not part.active:
                raise refuse(o, f"active ({part.name})", "is False, which isn't read; leave it True")
            if isinstance(part, CodeRunner) and not isinstance(part, _OWN_STEPS):
                hint = "runs code at times of a clock, which has no gradient; write it as an equation, or a TimedArray"
                raise refuse(o, f"run_regularly ({part.name})", hint)
        if isinstance(o, NeuronGroup):
            for event in o.events:
                if event != "spike":
                    raise refuse(o, f"events.{event}", "isn't read; the event of a neuron is its spike")
        found[o.name] = o
    return found


def _has_run(o: BrianObject) -> bool:
    """Whether the network that an object belongs to has run, or is no more."""
    if o._network is None:
        return False
    networks = [magic_network, *(known() for known in BrianNetwork.__instances__())]
    return all(n.t_ > 0 for n in networks if n is not None and n.id == o._network)


def _flat(objects: Any) -> Iterable[BrianObject]:
    if isinstance(objects, BrianObject):
        yield objects
    elif isinstance(objects, Mapping):
        yield from _flat(list(objects.values()))
    elif isinstance(objects, Iterable) and not isinstance(objects, str):
        for o in objects:
            yield from _flat(o)
    else:
        raise ValueError(f"from_brian2: {brief(objects)} is no object of Brian2; expected a Network or its objects")


def _wanted(learnable: Any, found: Mapping[str, BrianObject]) -> dict[str, tuple[str, ...]]:
    if learnable is None:
        return {}
    check_mapping("learnable", learnable, "names of groups and synapses with what they learn, as in {'cells': ['tau']}")
    for n, names in learnable.items():
        if n not in found:
            raise ValueError(f"learnable: there is no object {n!r}; {suggest(n, found)}")
        if isinstance(found[n], SpikeGeneratorGroup | PoissonGroup):
            hint = "leave it out; gradients by its spike times are there anyway"
            raise ValueError(f"learnable: {n!r} is a source of spikes, which has no parameters; {hint}")
        if isinstance(names, str):
            raise ValueError(f"learnable: {n!r} has the text {names!r}; expected a list of names")
    return {n: tuple(names) for n, names in learnable.items()}


def _incoming(found: Mapping[str, BrianObject], groups: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Synapses and Poisson inputs by their target."""
    incoming: dict[str, list[Any]] = {n: [] for n in groups}
    for o in found.values():
        if isinstance(o, Synapses):
            if not o._pathways and not o.summed_updaters:
                continue  # nothing arrives through them
            for end, group in (("source", o.source), ("target", o.target)):
                name = whole_group(group)[0].name
                if name not in found:
                    raise refuse(o, end, f"{name!r} is not among the objects that are read; give it, too")
            target = whole_group(o.target)[0].name
            if target not in groups:
                raise refuse(o, "target", f"{target!r} is no NeuronGroup, which alone has states to change")
            incoming[target].append(o)
        elif isinstance(o, PoissonInput):
            target = whole_group(o._group)[0].name
            if target not in groups:
                raise refuse(o, "target", f"{target!r} is not among the objects that are read; give it, too")
            incoming[target].append(o)
    return incoming


def _changed(group: Any, incoming: Iterable[Any]) -> set[str]:
    """Variables that resets and arrivals assign to."""
    code = group.event_codes.get("spike") or ""
    changed = {s.variable for s in read_statements(code, place(group), "reset")}
    for o in incoming:
        changed |= {o.target_var} if isinstance(o, PoissonInput) else assigned(o)
    return changed


def _projection(a: Arrivals, n_source: int, n_target: int, wanted: Sequence[str] | None) -> Projection:
    shape = (n_source, n_target)
    learns = (("w",) if a.learnable else ()) if wanted is None else wanted
    mask = np.zeros(shape, dtype=bool)
    mask[a.i, a.j] = True
    if "w" in learns or (a.weights != a.weights[:1]).any():
        weights = np.zeros(shape)
        weights[a.i, a.j] = a.weights
    else:  # one number, in no more memory than that
        weights = np.broadcast_to(a.weights[:1].sum(), shape)
    delay: float | Array = 0.0
    if np.ndim(a.delay) == 0:
        delay = a.delay
    elif len(delays := np.asarray(a.delay)):
        delay = float(delays[0])
        if (delays != delays[0]).any() or "delay" in (wanted or ()):
            delay = np.full(shape, delays.min())
            delay[a.i, a.j] = delays
    return Projection(a.name, a.source, a.target, weights, a.receptor, None if mask.all() else mask, learns, delay)


def _free(name: str, taken: Collection[str]) -> str:
    """A name that nothing else of the network has, if possible this one."""
    k, wanted = 1, name
    while name in taken:
        k += 1
        name = f"{wanted}_{k}"
    return name


def _driven(
    readers: Mapping[str, PopulationReader], duration: float, taken: set[str]
) -> tuple[list[Any], list[Drive], dict[str, Array]]:
    """Sampled currents, what they drive, and their samples."""
    currents: dict[int, Any] = {}
    drives, sampled = [], {}
    for n, reader in readers.items():
        for c in reader.scope.currents:
            if id(c.array) not in currents:
                name = _free(c.name, taken)
                taken.add(name)
                currents[id(c.array)] = current = current_input(name, c.array)
                sampled[name] = samples(c.array, current, duration)
            current = currents[id(c.array)]
            gains = np.zeros((current.n, len(c.columns)))
            gains[c.columns, np.arange(len(c.columns))] = 1.0
            drives.append(Drive(f"{current.name}_{n}_{c.name}", current.name, n, gains, c.name, learnable=()))
    return list(currents.values()), drives, sampled
