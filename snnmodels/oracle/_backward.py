"""One trial backward: costates from the end of a tape to its start, and every gradient on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..templates.network import Network
from ._currents import CurrentGradients
from ._flow import Integrator, Piece
from ._forward import ArrivalEvent, Event, ReleaseEvent, Segment, Source, SpikeEvent, Tape, TurnEvent
from ._maximum import Peak
from ._neurons import Array, Neurons
from ._sources import amplitudes


@dataclass(frozen=True)
class Pull:
    """The loss reads a state of a neuron at a peak or at a fixed time, with derivative `error`."""

    peak: Peak
    population: int
    state: int
    neuron: int
    error: float


class BackwardTrial:
    """Event by event what docs/eventprop.md, "The adjoint", says; the formulas themselves come from `Adjoint`.

    Parameters
    ----------
    dl_dt : mapping of int to array, shape (n, k)
        Derivatives of the loss by the spike times of populations.
    pulls : sequence of Pull
        For a loss on maxima or samples.
    samples : mapping of str to array, shape (n, samples)
        Of every current.
    """

    def __init__(
        self,
        network: Network,
        neurons: list[Neurons],
        integrator: Integrator,
        tape: Tape,
        dl_dt: Mapping[int, Array],
        pulls: Sequence[Pull],
        samples: Mapping[str, Array],
    ) -> None:
        self.network, self.neurons, self.integrator, self.tape = network, neurons, integrator, tape
        self.dl_dt, self.pulls = dl_dt, pulls
        self.lam = [np.zeros((len(q.states), q.n)) for q in neurons]
        self.integrals = [np.zeros((len(q.in_flow) + 2 * len(q.driven), q.n)) for q in neurons]
        self.weights = [np.zeros(np.shape(p.weights)) for p in network.projections]
        self.delays = [np.zeros(np.shape(p.weights)) for p in network.projections]
        self.parameters = [{name: np.zeros(q.n) for name in q.learnable} for q in neurons]
        self.sensitivity: dict[Source, float] = {}
        self.currents = CurrentGradients(network, samples)
        self.amplitudes = amplitudes(network)
        # by projection and source neuron: derivatives by the amplitudes of its spikes, and of these
        self.by_amplitude = {key: np.zeros(len(times)) for key, times in tape.sent.items()}
        self.derivatives = {
            (q, i): of.derivatives(times) for (q, i), times in tape.sent.items() if (of := self.amplitudes[q])
        }

    def run(self) -> None:
        """Walk the tape from its end.

        The results are `weights` and `delays` (by connection), `parameters`, `sensitivity` (by input spike) and
        `currents`.
        """
        self._pull("end")
        for n in range(len(self.tape.entries) - 1, -1, -1):
            entry = self.tape.entries[n]
            match entry:
                case Segment():
                    self._segment(n, entry)
                case ArrivalEvent():
                    self._kink(n, entry, after=True)
                    self._arrival(entry)
                    self._kink(n, entry, after=False)
                case ReleaseEvent():
                    self._release(entry)
                case TurnEvent():
                    self._turn(n, entry)
                case SpikeEvent():
                    self._kink(n, entry, after=True)
                    # the value just before moves with the spike too, so it counts in sigma, and only then in λ
                    pulled = self._kink(n, entry, after=False, keep=True)
                    self._spike(entry)
                    self._add(pulled)
        self._pull("start")
        self._start()
        self._sources()

    # -- loss on maxima and samples ------------------------------------------------------------------------------------

    def _pull(self, kind: str) -> None:
        self._add([p for p in self.pulls if p.peak.kind == kind])

    def _add(self, pulls: Sequence[Pull]) -> None:
        for p in pulls:
            self.lam[p.population][p.state, p.neuron] += p.error

    def _kink(self, n: int, event: ArrivalEvent | SpikeEvent, *, after: bool, keep: bool = False) -> list[Pull]:
        """Losses read at event n: the value moves with the event, at the slope of the side it is read on.

        Where several arrivals meet, it is that of arrivals one after another; see `_with_arrivals`.
        """
        found = [p for p in self.pulls if p.peak.entry == n and p.peak.kind != "smooth" and p.peak.after == after]
        for p in found:
            q = self.neurons[p.population]
            if len(p.peak.instant) > 1:
                self._with_arrivals(p)
                continue
            x, held = self._side(event, p.population, p.neuron, after)
            slope = q.dynamics.f(x, event.p[:, p.neuron : p.neuron + 1])[p.state, 0]
            if not (held and p.state in q.dynamics.hold):
                self._moves(event, p.neuron, p.error * float(slope))
        if not keep:
            self._add(found)
        return found

    def _with_arrivals(self, p: Pull) -> None:
        """A maximum at several arrivals, as if each came after the last, much sooner than that after the one before.

        The state goes on up to the first after which it falls. Each arrival before that, later by itself, lets it
        rise at the slope before it instead of that after it; what is read after all of them has that from the costates.
        """
        events = [self.tape.entries[n] for n in p.peak.instant]
        arrivals = [e for e in events if isinstance(e, ArrivalEvent)]
        q = self.neurons[p.population]

        def slope(e: ArrivalEvent, after: bool) -> float:
            x, held = self._side(e, p.population, p.neuron, after)
            own = slice(p.neuron, p.neuron + 1)
            return 0.0 if held and p.state in q.dynamics.hold else float(q.dynamics.f(x, e.p[:, own])[p.state, 0])

        slopes = [slope(arrivals[0], False), *(slope(e, True) for e in arrivals)]
        receptors = [self.network.projections[e.projection].receptor for e in arrivals]
        x = q.dynamics.system.states[p.state]
        moved = [n for n, r in enumerate(receptors) if q.dynamics.system.arrivals[r].jump[x] != x]
        begin = max(moved, default=0) if p.peak.after else 0
        falls = next((n for n in range(begin, len(arrivals)) if slopes[n + 1] <= 0), None)
        if falls is None and not arrivals[0].time >= self.network.duration:
            falls = len(arrivals) - 1
        for n, e in enumerate(arrivals):
            # up to where it falls the rise between arrivals counts, afterwards none
            moves = slopes[n] - slopes[n + 1] if falls is None or n < falls else slopes[n] if n == falls else 0.0
            if p.peak.after:
                moves = 0.0 if n < begin else moves - (slopes[n] - slopes[n + 1])
            self._moves(e, p.neuron, p.error * moves)

    def _side(
        self, event: ArrivalEvent | SpikeEvent, population: int, neuron: int, after: bool
    ) -> tuple[Array, bool]:
        """State of one neuron just before or after an event, and whether it is refractory there."""
        q, own = self.neurons[population], slice(neuron, neuron + 1)
        if isinstance(event, SpikeEvent):
            x = event.before
            return (q.dynamics.after_spike(x, event.p[:, own]), q.dynamics.refractory) if after else (x, False)
        column = int(np.flatnonzero(event.columns == neuron)[0])
        x = event.before[:, column : column + 1]
        if after:
            projection = self.network.projections[event.projection]
            w = np.asarray(projection.weights, dtype=float)[event.source.neuron, own][None] * event.amplitude
            x = q.dynamics.receptor(projection.receptor, event.held).after(x, event.p[:, own], w)
        return x, event.held

    # -- between events and at them ------------------------------------------------------------------------------------

    def _segment(self, n: int, segment: Segment) -> None:
        inside = sorted(
            (p for p in self.pulls if p.peak.entry == n and p.peak.kind == "smooth"), key=lambda p: p.peak.time
        )
        for piece in reversed(segment.pieces):
            t = min(piece.t1, segment.t1)
            while inside and inside[-1].peak.time >= piece.t0:
                pull = inside.pop()
                self._back(piece, t, pull.peak.time)
                t = min(t, pull.peak.time)
                self._add([pull])
            self._back(piece, t, piece.t0)
        for q, rows in zip(self.neurons, self.integrals, strict=True):
            a, b = len(q.in_flow), len(q.in_flow) + len(q.driven)
            self.currents.add(q, segment.interval, rows[a:b], rows[b:])
            rows[a:] = 0.0

    def _back(self, piece: Piece, t1: float, t0: float) -> None:
        z = self.integrator.lam.join([*self.lam, *self.integrals])
        blocks = self.integrator.lam.split(self.integrator.backward(piece, z, t1, t0))
        self.lam = [b.copy() for b in blocks[: len(self.neurons)]]
        self.integrals = [b.copy() for b in blocks[len(self.neurons) :]]

    def _collect(self, source: Source, value: float) -> None:
        self.sensitivity[source] = self.sensitivity.get(source, 0.0) + value

    def _moves(self, event: Event, neuron: int, value: float) -> None:
        """Hand the sensitivity to the time of an event, as it happens to one neuron, on to what sets that time."""
        if isinstance(event, ArrivalEvent):
            self.delays[event.projection][event.source.neuron, neuron] += value
            self._collect(event.source, value)
            return
        self._collect(event.spike, value)
        if isinstance(event, ReleaseEvent):
            k, q = event.population, self.neurons[event.population]
            rows = q.dynamics.release_back(q.p[:, neuron : neuron + 1], np.array([[value]]))
            for p, row in zip(q.dynamics.release_parameters, rows, strict=True):
                if p.name in q.learnable:
                    self.parameters[k][p.name][neuron] += row[0]

    def _release(self, event: ReleaseEvent) -> None:
        j, own = event.spike.neuron, slice(event.spike.neuron, event.spike.neuron + 1)
        q, lam = self.neurons[event.population], self.lam[event.population]
        self._moves(event, j, float(q.dynamics.release(event.before, event.p[:, own], lam[:, own])[0, 0]))

    def _arrival(self, event: ArrivalEvent) -> None:
        projection = self.network.projections[event.projection]
        q, i, columns = self.neurons[event.population], event.source.neuron, event.columns
        receptor = q.dynamics.receptor(projection.receptor, event.held)
        w = np.asarray(projection.weights, dtype=float)[i, columns][None]
        lam = self.lam[event.population][:, columns]
        rows = receptor.back(event.before, event.p[:, columns], lam, w * event.amplitude)
        n = len(q.states)
        self.weights[event.projection][i, columns] += rows[0] * event.amplitude
        if (event.projection, i) in self.by_amplitude:
            self.by_amplitude[event.projection, i][event.source.index] += float(rows[0] @ w[0])
        for j, sensitivity in zip(columns, rows[1], strict=True):
            self._moves(event, int(j), float(sensitivity))
        self.lam[event.population][:, columns] = rows[2 : 2 + n]
        for p, row in zip(receptor.parameters, rows[2 + n :], strict=True):
            if p.name in q.learnable:
                self.parameters[event.population][p.name][columns] += row

    def _spike(self, event: SpikeEvent) -> None:
        k, j, own = event.population, event.spike.neuron, slice(event.spike.neuron, event.spike.neuron + 1)
        q, d = self.neurons[k], self.neurons[k].dynamics
        lam = self.lam[k][:, own]
        direct = 0.0
        if k in self.dl_dt:
            direct = float(self.dl_dt[k][j, event.spike.index])
        outside = np.array([[direct], [self.sensitivity.get(event.spike, 0.0) + self._through_amplitudes(event.spike)]])
        sigma = d.sigma(event.before, event.p[:, own], lam, outside)[0, 0]
        if event.cause is None:
            kick = sigma / event.gdot
        else:
            # carried across threshold by an event: the spike moves with it, and the threshold itself does not matter
            kick = 0.0
            self._moves(event.cause, j, float(sigma))
        rows = d.spike_back(event.before, event.p[:, own], lam, np.array([[kick]]))
        n = len(q.states)
        self.lam[k][:, own] = rows[:n]
        for p, row in zip(d.spike_parameters, rows[n:], strict=True):
            if p.name in q.learnable:
                self.parameters[k][p.name][j] += row[0]

    def _through_amplitudes(self, spike: Source) -> float:
        """What the loss says of the time of a spike through the amplitudes of it and of its neuron's later spikes."""
        found = 0.0
        for q, projection in enumerate(self.network.projections):
            if projection.source == spike.name and (q, spike.neuron) in self.by_amplitude:
                by_time, _ = self.derivatives[q, spike.neuron]
                found += float(self.by_amplitude[q, spike.neuron] @ by_time[:, spike.index])
        return found

    def _sources(self) -> None:
        """What amplitudes say of parameters, and of the times of input spikes."""
        inputs = {i.name for i in self.network.inputs}
        place = {q.name: k for k, q in enumerate(self.neurons)}
        for (q, i), by_amplitude in self.by_amplitude.items():
            projection, of = self.network.projections[q], self.amplitudes[q]
            assert of is not None
            k = place[projection.target]
            for name, row in zip(of.parameters, self.derivatives[q, i][1].T, strict=True):
                if name in self.parameters[k]:
                    # one for all neurons of the target: it does not matter with which it is counted
                    self.parameters[k][name][0] += float(row @ by_amplitude)
            if projection.source in inputs:
                for n, value in enumerate(by_amplitude @ self.derivatives[q, i][0]):
                    self._collect(Source(projection.source, i, n), float(value))

    def _turn(self, n: int, event: TurnEvent) -> None:
        k, own = event.population, slice(event.neuron, event.neuron + 1)
        q, turn, lam = self.neurons[k], self.neurons[k].dynamics.turns[event.number], self.lam[k][:, own]
        sigma = turn.sigma(event.before, event.p[:, own], lam)
        # a maximum there, of a state that is the same just before and just after it, moves with it
        pulled = [p for p in self.pulls if p.peak.entry == n and p.peak.kind == "turn"]
        slopes = q.dynamics.f(event.before, event.p[:, own])[:, 0]
        sigma = sigma + sum(p.error * slopes[p.state] for p in pulled)
        kick = np.zeros_like(sigma) if sigma[0, 0] == 0 else sigma / event.gdot
        rows = turn.back(event.before, event.p[:, own], lam, kick)
        n = len(q.states)
        self.lam[k][:, own] = rows[:n]
        for p, row in zip(turn.parameters, rows[n:], strict=True):
            if p.name in q.learnable:
                self.parameters[k][p.name][event.neuron] += row[0]
            elif p.name in q.currents:
                # as if it were an integral over that instant, of the interval in which it is
                place = len(q.in_flow) + q.currents.index(p.name)
                self.integrals[k][place, event.neuron] += row[0]
                self.integrals[k][place + len(q.driven), event.neuron] += row[0] * (event.time - event.since)
        self._add(pulled)

    def _start(self) -> None:
        for k, q in enumerate(self.neurons):
            for name, row in zip(q.in_flow, self.integrals[k][: len(q.in_flow)], strict=True):
                self.parameters[k][name] += row
            rows = q.dynamics.start(self.lam[k], q.p)
            for p, row in zip(q.dynamics.start_parameters, rows, strict=True):
                if p.name in q.learnable:
                    self.parameters[k][p.name] += row
