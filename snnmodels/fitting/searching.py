"""One search from one beginning: what is smooth first, then what is wanted, then what noise leaves of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoint import FitInterrupted, Saved
from .neurons import Neurons
from .noise import Noise, frozen_noise
from .objective import Objective
from .progress import FitProgress, progress_of
from .search import Evolution, Losses
from .space import DELAY
from .starting import likeliest
from .task import Stage, Task
from .trains import MeanTrainDistance

__all__ = ["nearest_noise", "search", "searches"]

Array = np.ndarray

_LEVELS = np.geomspace(0.01, 0.6, 11)  # of the noise, relative to the standard deviation of the current
_TRIED = 8  # of the best candidates, with which a level is chosen
_JUDGES = 16  # noise currents that no stage has seen, by which is chosen between what they found


def searches(
    task: Task, starts: int, checkpoint: str | Path | None, resume: bool, watch: FitProgress
) -> list[dict[str, Any]]:
    """All searches, one after the other.

    Returns
    -------
    list of dict
        Of each: ``"place"``, its ``"loss"``, ``"simulations"``, ``"noise"`` (standard deviation, or None), and
        ``"stages"``, a line of each.
    """
    saved = Saved(task, starts, checkpoint, resume)
    while len(saved.done) < starts:
        number = len(saved.done)
        saved.finish(_Search(task, number, saved, watch).run())
    return saved.done


def search(task: Task, files: Sequence[Path] | None, resume: bool, number: int) -> dict[str, Any]:
    """One search from one beginning, with a checkpoint of its own if there are files; see `searches`."""
    saved = Saved(task, 1, None if files is None else files[number], resume, number)
    if not saved.done:
        saved.finish(_Search(task, number, saved, progress_of(False)).run())
    return saved.done[0]


def nearest_noise(task: Task, places: Array) -> float:
    """The noise with which candidates are nearest to the neuron: its standard deviation.

    It is that at which the distance between repetitions of a candidate and those of the neuron
    (`MeanTrainDistance.between`), averaged over the candidates, is least, by a parabola through the three levels around
    the least one. Noise stands for all by which a model misses the neuron, so that it is more than what the neuron has
    where the model is no better.

    Parameters
    ----------
    task : Task
    places : array, shape (candidates, parameters)

    Returns
    -------
    float
        In the unit of the current, correlated over the time of `Noise`; 0 if the least level that is tried is the
        nearest.
    """
    values = task.space.values(places)
    names = tuple(name for name in task.space.names if name in task.model.parameters)
    rows = values[:, [task.space.index(name) for name in names]]
    free = DELAY in task.space.names
    delays = values[:, task.space.index(DELAY)] if free else np.full(len(values), task.fixed.get(DELAY, 0.0))
    fixed = {name: x for name, x in task.fixed.items() if name in task.model.parameters}
    found, sizes, shares = [], [], []
    for sweep in task.search_recording.sweeps:
        recorded = sum(map(len, sweep.spikes))
        if len(sweep.spikes) < 2 or not recorded:
            continue
        unit = frozen_noise(
            _JUDGES, len(sweep.current), sweep.dt, std=1.0, tau=task.frozen.tau, seed=task.seed, silent=False
        )
        levels = _LEVELS * sweep.current.std()
        currents = (sweep.current + levels[:, None, None] * unit).reshape(-1, len(sweep.current))
        with Neurons(
            task.model, names, fixed, currents, sweep.dt, input=task.input, n=len(rows), target=task.target
        ) as neurons:
            times, possible = neurons.spike_times(rows)
        times = (times + delays[:, None])[:, possible].reshape(len(levels), _JUDGES, int(possible.sum()), -1)
        distance = MeanTrainDistance(sweep.spikes, task.settings.tau, 0.0, sweep.duration)
        found.append([float(distance.between(trains)[0].mean()) for trains in times])
        sizes.append(levels)
        shares.append(float(recorded))
    if not found:
        return 0.0
    off = np.average(found, axis=0, weights=shares)
    logs = np.log(np.average(sizes, axis=0, weights=shares))
    k = int(np.argmin(off))
    if not k:
        return 0.0
    if k == len(off) - 1:
        return float(np.exp(logs[k]))
    before, at, after = off[k - 1 : k + 2]
    bend = before - 2 * at + after
    return float(np.exp(logs[k] + (logs[k + 1] - logs[k]) * (0.5 * (before - after) / bend if bend > 0 else 0.0)))


class _Search:
    """One search, which can be left after every generation and gone on with."""

    def __init__(self, task: Task, number: int, saved: Saved, watch: FitProgress) -> None:
        self.task, self.number, self.saved, self.watch = task, number, saved, watch
        state = saved.present
        self.simulations = int(state.get("simulations", 0))
        self.told: list[str] = list(state.get("told", []))
        self.finalists: list[tuple[str, list[float]]] = [(name, place) for name, place in state.get("finalists", [])]
        self.noise: float | None = state.get("noise")
        self.stage = int(state.get("stage", 0))
        self.evolution: Evolution | None = None
        if state:
            self.evolution = Evolution(_never, np.array(state["evolution"]["places"]), 0)
            self.evolution.restore(state["evolution"])

    def run(self) -> dict[str, Any]:
        """All stages that are left; what `searches` returns of one."""
        task, first = self.task, self.stage
        for k, stage in enumerate(task.stages):
            if k < first:
                continue
            went_on = self.evolution is not None and k == first
            if not went_on and not self._begun(stage):
                break
            self._evolve(k, stage, went_on)
        assert self.evolution is not None
        place, loss = self.evolution.best
        if self.noise:
            place, loss = self._judged()
        return {
            "place": np.asarray(place).tolist(), "loss": loss, "simulations": self.simulations, "noise": self.noise,
            "stages": self.told,
        }  # fmt: skip

    def _begun(self, stage: Stage) -> bool:
        """Make the population of a stage; False if there is none to be made, as noise brings the model no nearer."""
        if stage.noisy and not stage.alone:
            assert self.evolution is not None
            given, again = self.task.frozen.std, self.noise
            best = self.evolution.places[np.argsort(self.evolution.losses)[:_TRIED]]
            # a size that was found once stays where none is nearer the second time
            self.noise = (nearest_noise(self.task, best) if given is None else given) or again
            if not self.noise:
                self.told.append("no noise: the model is nearest without any")
                return False
            how = "with which the model is nearest to the neuron" if given is None else "as given"
            self.told.append(f"noise of {self.noise:.3g}, {how}")
            if not again:
                self.evolution = Evolution(_never, self._around(), [self.task.seed, self.number, 3])
        elif self.evolution is None:
            self.evolution = Evolution(_never, self._first(), [self.task.seed, self.number, 1])
        return True

    def _first(self) -> Array:
        """The first candidates: half of them near where the user says, or else where the likelihood has led."""
        task, rng = self.task, np.random.default_rng([self.task.seed, self.number])
        places = rng.random((task.candidates, len(task.space)))
        centre = task.start
        if centre is None and task.likelihood and "spikes" in task.weights:
            found = likeliest(task)
            if isinstance(found, str):
                self.told.append(found)
            else:
                self.told.append(found.told)
                self.simulations += found.simulations
                centre = found.place
        if centre is not None:
            half = task.candidates // 2
            places[:half] = np.clip(centre + 0.1 * rng.normal(size=(half, len(task.space))), 0, 1)
            places[0] = centre
        return places

    def _around(self) -> Array:
        """Candidates near the best quarter of those without noise."""
        assert self.evolution is not None
        n, rng = self.task.candidates, np.random.default_rng([self.task.seed, self.number, 2])
        best = self.evolution.places[np.argsort(self.evolution.losses)][: max(n // 4, 1)]
        near = best[rng.integers(0, len(best), n)] + 0.03 * rng.normal(size=(n, best.shape[1]))
        near[: len(best)] = best
        return np.clip(near, 0, 1)

    def _drawn(self, draws: int, stage: int, alone: float) -> Noise:
        """Noise of a stage: of the model's level, with a seed of its own."""
        assert self.noise
        base = self.task.frozen
        seed = int(np.random.SeedSequence([base.seed, self.task.seed, self.number, stage]).generate_state(1)[0])
        return Noise(self.noise, base.tau, max(draws, 2), seed, alone)

    def _evolve(self, k: int, stage: Stage, went_on: bool) -> None:
        """All generations of a stage that are left."""
        task, evolution = self.task, self.evolution
        assert evolution is not None
        noise = None
        if stage.noisy:
            noise = self._drawn(task.frozen.draws, k, stage.alone)
        before = sum(s.generations for s in task.stages[:k] if s.noisy == stage.noisy)
        with task.objective(task.search_recording, task.candidates, tau=stage.tau, noise=noise) as objective:
            evolution.objective, evolution.greed = _losses_of(objective), stage.greed
            if not went_on:
                evolution.begin()
                if not k:
                    _check_spiking(task, objective)
            try:
                while evolution.generation < before + stage.generations:
                    evolution.step()
                    self._save(k, objective.simulations)
                    self.watch.generation(self.number, self._generation(k), evolution.best[1])
            except KeyboardInterrupt:
                where = f"interrupted in search {self.number + 1}, after generation {self._generation(k)}"
                raise FitInterrupted(self.saved.kept(where)) from None
            self.simulations += objective.simulations
        what = f"distance at {stage.tau * 1e3:g} ms" if set(self.task.weights) == {"spikes"} else "loss"
        self.told.append(f"{stage.name}: {what} {evolution.best[1]:.4f}")
        # where the distance without noise counts, its best would be taken for what holds on this one current alone
        if stage.name not in ("wide", "noise") and (stage.noisy or not task.stages[-1].alone):
            self._keep(stage)

    def _generation(self, k: int) -> int:
        """Generations of this search that are complete."""
        assert self.evolution is not None
        stages = self.task.stages
        return self.evolution.generation + sum(s.generations for s in stages if stages[k].noisy > s.noisy)

    def _keep(self, stage: Stage) -> None:
        """What a stage found, for the choice at the end."""
        assert self.evolution is not None
        ordered = self.evolution.places[np.argsort(self.evolution.losses)]
        self.finalists.append((stage.name, ordered[0].tolist()))
        if stage.noisy:
            # the middle of what is left of the population: where the loss is flat, further from its edges
            self.finalists.append(("its middle", ordered[: (len(ordered) + 1) // 2].mean(axis=0).tolist()))

    def _judged(self) -> tuple[Array, float]:
        """Of what the stages found, that with the least distance averaged over noise that none of them has seen."""
        task, places = self.task, np.array([place for _, place in self.finalists])
        noise = self._drawn(_JUDGES, len(task.stages), task.frozen.alone)
        with task.objective(task.recording, len(places), noise=noise) as objective:
            losses, _ = objective(places)
            self.simulations += objective.simulations
        told = ", ".join(f"{name} {x:.4f}" for (name, _), x in zip(self.finalists, losses, strict=True))
        self.told.append(f"distance averaged over other noise: {told}")
        best = int(np.argmin(losses))
        return places[best], float(losses[best])

    def _save(self, k: int, simulations: int) -> None:
        assert self.evolution is not None
        state = self.evolution.state()
        losses = [loss if np.isfinite(loss) else 1e300 for loss in state["losses"].tolist()]
        self.saved.write({
            "stage": k, "evolution": {**state, "places": state["places"].tolist(), "losses": losses},
            "simulations": self.simulations + simulations, "told": self.told, "noise": self.noise,
            "finalists": [[name, place] for name, place in self.finalists],
        })  # fmt: skip


def _never(places: Array, limits: Array) -> Array:
    raise AssertionError("an evolution gets its objective with its stage")


def _losses_of(objective: Objective) -> Losses:
    """Losses as an evolution asks for them; none is cheaper for being above its limit."""
    return lambda places, limits: objective(places)[0]


def _check_spiking(task: Task, objective: Objective) -> None:
    """Refuse bounds within which nothing spikes where the recording does."""
    recorded = sum(len(t) for s in task.recording.sweeps for t in s.spikes)
    if recorded and not objective.spikes and {"spikes", "intervals"} & task.weights.keys():
        names = ", ".join(name for name in task.space.names if name != DELAY)
        raise ValueError(
            f"no spike of {task.candidates} candidates, where {recorded} were recorded: the bounds of {names} seem to "
            f"exclude spiking, or the current is of another size "
            f"({np.abs(task.recording.sweeps[0].current).max():.3g} at most) than {task.model.name} needs"
        )
