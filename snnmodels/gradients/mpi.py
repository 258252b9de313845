"""A batch divided among the processes of an MPI job: the same bits, however many they are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from ..datasets.targets import named_targets
from ..events.engine import SimulationError
from ..losses.base import Loss, alike, shown
from ..losses.observables import Observable
from ..parallel import sendable
from ..templates.arguments import check_whole
from ..templates.identity import checksum
from ..templates.network import Network
from ..templates.spike_times import side_by_side
from .batches import check_targets, count_trials
from .simulation import Simulation
from .source import Outcome

__all__ = ["Communicator", "MPISimulation"]

Array = np.ndarray
Node = tuple[int, int]  # parts from the first up to, but not including, the second

# what the launchers of MPICH, Open MPI and SLURM tell every process of how many it is one
_LAUNCHED = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


class Communicator(Protocol):
    """What is used of mpi4py's ``Intracomm``."""

    @property
    def rank(self) -> int:
        """Number of this process."""

    @property
    def size(self) -> int:
        """Number of processes."""

    def allgather(self, sendobj: Any) -> list[Any]:
        """What every process gave, in the order of their ranks, in every process."""


@dataclass
class _Sum:
    """What adds up over parts, each with its share of the batch's trials."""

    loss: float
    gradients: dict[str, Array]
    spikes: dict[str, float]
    pseudospikes: dict[str, float]

    def __add__(self, other: _Sum) -> _Sum:
        return _Sum(
            self.loss + other.loss,
            {key: gradient + other.gradients[key] for key, gradient in self.gradients.items()},
            {name: mean + other.spikes[name] for name, mean in self.spikes.items()},
            {name: mean + other.pseudospikes[name] for name, mean in self.pseudospikes.items()},
        )


@dataclass
class _Part:
    """What is of a part's trials alone, or is no sum."""

    predictions: Array | None
    output: tuple[Array, ...]
    by_trial: dict[str, Array]
    smallest_gdot: float
    ties: int | None
    silent: int | None


@dataclass
class _Message:
    """What a process tells all others of a batch."""

    alike: dict[str, Any]
    error: BaseException | None
    sums: dict[Node, _Sum]
    parts: dict[int, _Part]


class MPISimulation:
    """A `Simulation` in every process of an MPI job, among which the trials of a batch are divided.

    Every process runs the same program, and `train` in it: ``mpiexec -n 4 python -m mpi4py script.py``. A batch is cut
    into `parts` of neighbouring trials; each process simulates some, and gradients are added up in the order of a
    binary tree over the parts, which does not depend on how many processes there are. So the weights are the same, bit
    for bit, with any number of processes of the same kind of machine, one included; another number of `parts` changes
    their last digits, as `threads` does. Losses are means over trials; one that is something else of a batch is that
    of each part.

    Process 0 alone shows progress and writes the checkpoint, which all have to be able to read.

    Parameters
    ----------
    network, loss
        As for `Simulation`.
    parts : int, optional
        At least as many as there are processes, best a multiple: as many as processes unless given.
    batch_size : int
        Trials of a whole batch; a smaller last batch is allowed.
    comm : communicator, optional
        Of mpi4py; ``MPI.COMM_WORLD`` unless given.
    **options
        As for `Simulation`, of each process.

    Examples
    --------
    >>> with MPISimulation(network, loss, parts=8, batch_size=256) as simulation:  # doctest: +SKIP
    ...     result = train(simulation, data, Adam(1e-3), epochs=10, batch_size=256, checkpoint="run.npz")

    Raises
    ------
    ImportError
        If mpi4py is not installed.
    ValueError
        If there are fewer parts than processes, or as from `Simulation`.
    SimulationError
        If this process does not see the others that it was launched with.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss | Observable | tuple[Observable, ...] | list[Observable] | None = None,
        *,
        parts: int | None = None,
        batch_size: int = 32,
        comm: Communicator | None = None,
        **options: Any,
    ) -> None:
        self._comm = _world() if comm is None else comm
        self._parts = self._comm.size if parts is None else parts
        check_whole("parts", self._parts)
        check_whole("batch_size", batch_size)
        if self._parts < self._comm.size:
            raise ValueError(
                f"parts = {parts}, of {self._comm.size} processes; give at least as many, or start fewer processes"
            )
        self.batch_size = int(batch_size)
        of_part = -(-self.batch_size // self._parts)
        self._simulation = Simulation(network, loss, batch_size=of_part, **options)

    def __repr__(self) -> str:
        where = f"process {self._comm.rank} of {self._comm.size}, {self._parts} parts of up to {self.batch_size} trials"
        return f"<MPISimulation: {where}; {self._simulation!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close this process's simulation."""
        self._simulation.close()

    @property
    def network(self) -> Network:
        """The network that is simulated."""
        return self._simulation.network

    @property
    def loss(self) -> Loss:
        """The loss that is differentiated."""
        return self._simulation.loss

    @property
    def settings(self) -> dict[str, Any]:
        """What the values of a run depend on beside network and loss: not the number of processes."""
        return {**self._simulation.settings, "parts": self._parts}

    @property
    def leads(self) -> bool:
        """Whether this is the process that shows progress and writes files."""
        return self._comm.rank == 0

    def agree(self, **facts: Any) -> None:
        """Refuse to go on where processes differ in something; all of them have to ask.

        Parameters
        ----------
        **facts
            Values that can be compared, by what they are.

        Raises
        ------
        SimulationError
            In all processes, naming what differs.
        """
        _check_alike(dict(enumerate(self._comm.allgather(facts))))

    def run(
        self,
        inputs: Mapping[str, Array],
        targets: Array | Mapping[str, Array],
        values: Mapping[str, Array] | None = None,
        *,
        gradient: bool = True,
    ) -> Outcome:
        """Loss of a batch and, if asked for, its gradients; every process gives the same and gets all of it.

        Parameters
        ----------
        inputs, targets, values, gradient
            As for `Simulation.run`, of the whole batch.

        Returns
        -------
        Outcome
            Of the whole batch.

        Raises
        ------
        ValueError, SimulationError
            As `Simulation.run`, in all processes if in one; also if processes gave different things.
        """
        told: dict[str, Any] = {}
        sums: dict[Node, _Sum] = {}
        parts: dict[int, _Part] = {}
        error: Exception | None = None
        try:  # whatever fails here: the others wait for this process
            told = _told(inputs, targets, values, gradient)
            sums, parts = self._own(inputs, targets, values, gradient)
        except Exception as found:
            error = found
        every: list[_Message] = self._comm.allgather(_Message(told, error and sendable(error), sums, parts))
        _check_alike({rank: message.alike for rank, message in enumerate(every) if message.alike})
        for rank, message in enumerate(every):
            if message.error is not None:
                raise message.error if error is None or rank != self._comm.rank else error
        return self._together(every)

    def _own(
        self, inputs: Mapping[str, Array], targets: Any, values: Mapping[str, Array] | None, gradient: bool
    ) -> tuple[dict[Node, _Sum], dict[int, _Part]]:
        """What this process has to do of a batch."""
        if isinstance(targets, Mapping):
            targets = named_targets(targets)
        trials = count_trials(inputs, self.network, self.batch_size, targets)
        check_targets(targets, trials, self.loss, self.network)  # before parts number trials anew
        bounds = np.arange(self._parts + 1) * trials // self._parts
        first, last = (k * self._parts // self._comm.size for k in (self._comm.rank, self._comm.rank + 1))
        sums: dict[Node, _Sum] = {}
        parts: dict[int, _Part] = {}
        for k in range(first, last):
            some = slice(int(bounds[k]), int(bounds[k + 1]))
            if some.start == some.stop:
                continue
            # of fewer dimensions are only samples of a current that is the same in all trials
            shared = {c.name for c in self.network.currents if np.ndim(inputs[c.name]) < 3}
            given = {name: x if name in shared else x[some] for name, x in inputs.items()}
            outcome = self._simulation.run(given, targets[some], values, gradient=gradient)
            share = (some.stop - some.start) / trials
            own = {f"{s.name}.times" for s in self.network.inputs}
            own |= {f"{c.name}.samples" for c in self.network.currents if c.name not in shared}
            scaled = {key: share * g for key, g in outcome.gradients.items()}
            sums[k, k + 1] = _Sum(
                share * outcome.loss,
                {key: g for key, g in scaled.items() if key not in own},
                {name: share * mean for name, mean in outcome.spikes.items()},
                {name: share * mean for name, mean in outcome.pseudospikes.items()},
            )
            parts[k] = _Part(
                outcome.predictions,
                alike(self.loss, outcome.output),
                {key: g for key, g in scaled.items() if key in own},
                outcome.smallest_gdot,
                outcome.ties,
                outcome.silent,
            )
        return _reduced(sums, (0, self._parts), (first, last)), parts

    def _together(self, every: Sequence[_Message]) -> Outcome:
        sums = {node: total for message in every for node, total in message.sums.items()}
        parts = [p for _, p in sorted(pair for message in every for pair in message.parts.items())]
        total = _total(sums, (0, self._parts))
        assert total is not None
        predictions = [p.predictions for p in parts if p.predictions is not None]
        silent = [p.silent for p in parts if p.silent is not None]
        ties = [p.ties for p in parts if p.ties is not None]
        by_trial = {key: np.concatenate([p.by_trial[key] for p in parts]) for key in parts[0].by_trial}
        return Outcome(
            total.loss,
            np.concatenate(predictions) if predictions else None,
            {**total.gradients, **by_trial},
            total.spikes,
            min(p.smallest_gdot for p in parts),
            shown(self.loss, [_all_trials(x) for x in zip(*(p.output for p in parts), strict=True)]),
            sum(ties) if len(ties) == len(parts) else None,
            sum(silent) if silent else None,
            pseudospikes=total.pseudospikes,
        )


def _world() -> Communicator:
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise ImportError(f"MPISimulation needs mpi4py and an MPI ({error}): pip install 'snnmodels[mpi]'") from None
    world: Communicator = MPI.COMM_WORLD
    launched = max((int(os.environ[name]) for name in _LAUNCHED if os.environ.get(name, "").isdigit()), default=1)
    if world.size == 1 and launched > 1:
        raise SimulationError(
            f"{launched} processes were launched, but each sees itself alone: mpi4py found another MPI than that of "
            "the launcher; use the mpiexec that stands beside mpi4py's MPI, or build mpi4py for that of the cluster"
        )
    return world


def _told(
    inputs: Mapping[str, Array], targets: Any, values: Mapping[str, Array] | None, gradient: bool
) -> dict[str, Any]:
    """What all processes have to give alike, in short."""
    by_name = targets if isinstance(targets, Mapping) else {"": targets}
    given = {"inputs": inputs, "targets": by_name, "values": values or {}}
    return {
        # what is no mapping is refused by the simulation
        **{name: checksum(arrays) if isinstance(arrays, Mapping) else 0 for name, arrays in given.items()},
        "gradient": bool(gradient),
    }


def _check_alike(told: Mapping[int, Mapping[str, Any]]) -> None:
    """Refuse what processes, by rank, were given otherwise."""
    first = min(told, default=0)
    for name in told.get(first, ()):
        other = next((rank for rank, facts in told.items() if facts[name] != told[first][name]), None)
        if other is not None:
            raise SimulationError(
                f"processes {first} and {other} differ in {name}: all have to run the same program, with the same "
                "data, seeds and files"
            )


def _halves(node: Node) -> tuple[Node, Node]:
    first, last = node
    middle = (first + last) // 2
    return (first, middle), (middle, last)


def _total(sums: Mapping[Node, _Sum], node: Node) -> _Sum | None:
    """The sum over a node of the tree, of sums over nodes below it; None where no part has trials."""
    if node in sums:
        return sums[node]
    if node[1] - node[0] <= 1:
        return None
    first, second = (_total(sums, half) for half in _halves(node))
    if first is None or second is None:
        return first or second
    return first + second


def _reduced(sums: Mapping[Node, _Sum], node: Node, own: Node) -> dict[Node, _Sum]:
    """The largest nodes that lie within a process's own parts, so that it sends few."""
    if node[1] <= own[0] or own[1] <= node[0]:
        return {}
    if own[0] <= node[0] and node[1] <= own[1]:
        total = _total(sums, node)
        return {} if total is None else {node: total}
    return {k: v for half in _halves(node) for k, v in _reduced(sums, half, own).items()}


def _all_trials(arrays: Sequence[Array]) -> Array:
    """What was observed of all trials."""
    return side_by_side(arrays) if arrays[0].ndim == 3 else np.concatenate(arrays)
