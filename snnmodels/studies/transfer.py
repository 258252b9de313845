"""Trained networks under a budget of spikes: one with a knob, frozen, retrained and small ones, early decisions.

Every arm of a seed is a list of operating points, each measured on validation and on test trials. At a budget, a
fraction of the base network's own hidden spikes, an arm stands for the point of the largest validation accuracy among
those whose spikes on the validation trials are within it (`budgets.chosen`): test trials decide nothing.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets import Trials
from ..files import as_json, atomic_file, folder_for, read_archive, read_json, write_rounded
from ..gradients.simulation import Simulation
from ..gradients.source import GradientSource
from ..optimisers import Adam, ExponentialDecay
from ..templates import Network, Projection, load_model
from ..training import train as fit
from ..training.data import batches
from .adaptive_network import train_adaptive
from .early_decision import decide, output_potentials
from .gating import GatedBatches, SpikeBudget, gated, with_knob
from .ordering import benefit_order
from .transfer_tasks import Task, TransferSettings

__all__ = ["HIDDEN", "run_seed"]

HIDDEN = "hidden"
INPUT_WEIGHTS, OUTPUT_WEIGHTS = "input_hidden.w", "hidden_output.w"
KNOB_MODEL = "lif+exp_synapse+population_trace+energy_threshold+feedback_inhibition"
ORDERS = ("worth", "norm", "random")
TESTED_AT_ONCE = 500  # trials
Arrays = dict[str, np.ndarray]
Point = dict[str, Any]
Points = list[Point]


def run_seed(task: Task, settings: TransferSettings, seed: int, folder: Path) -> dict[str, Any]:
    """Train and test everything for one seed; what an earlier call has finished is taken from `folder`.

    Parameters
    ----------
    task : Task
    settings : TransferSettings
    seed : int
        Of initial weights, the order of trials and the knobs that are drawn.
    folder : Path
        Gets a file for each arm.

    Returns
    -------
    dict
        ``base``, ``frozen_kappa``, ``frozen_nu``, ``frozen_gate`` (and ``_norm``, ``_random``), ``conditioned``,
        ``retrained_base``, ``retrained_scratch``, ``small``, ``early`` and ``adaptive``: lists of points with
        ``setting``, ``validation`` and ``test``, which have ``accuracy``, hidden ``spikes`` per trial and those before
        the decision, ``decided``; ``control``: batches under a changing budget; ``neurons``: how many ever spike.

    Raises
    ------
    ValueError
        If the folder holds results of other settings.
    """
    return _Seed(task, settings, seed, folder).run()


def _opened(task: Task, network: Network, batch_size: int) -> Simulation:
    return Simulation(network, task.loss, batch_size=batch_size, target="cpp_standalone", input_gradients=False)


class _Tester:
    """Accuracy and spikes of a network on validation and test trials."""

    def __init__(self, task: Task, network: Network) -> None:
        self._task = task
        self.simulation = _opened(task, network, TESTED_AT_ONCE)

    def __call__(self, values: Mapping[str, np.ndarray], on: int | None = None, n: int = 0, **more: Any) -> Point:
        return {**more, **{name: self._measure(data, values, on, n) for name, data in self._task.sets.items()}}

    def _measure(self, data: Trials, values: Mapping[str, np.ndarray], on: int | None, n: int) -> dict[str, float]:
        right, spikes, decided = 0.0, 0.0, 0.0
        for which in batches(np.arange(len(data)), TESTED_AT_ONCE):
            inputs, labels = data.take(which)
            if on is not None:
                inputs = with_knob(inputs, np.full(len(labels), on), n)
            outcome = self.simulation.run(inputs, labels, values, gradient=False)
            right += float(np.sum(outcome.predictions == labels))
            spikes += outcome.spikes[HIDDEN] * len(labels)
            if self._task.decides:
                first = self.simulation.spike_times("output")[:, :, 0].min(axis=1)
                decided += float((self.simulation.spike_times(HIDDEN) < first[:, None, None]).sum())
            else:
                decided += outcome.spikes[HIDDEN] * len(labels)
        return {"accuracy": right / len(data), "spikes": spikes / len(data), "decided": decided / len(data)}

    def close(self) -> None:
        self.simulation.close()


class _Seed:
    """All arms of a seed, each kept in a file as soon as it is finished."""

    def __init__(self, task: Task, settings: TransferSettings, seed: int, folder: Path) -> None:
        self.task, self.settings, self.seed = task, settings, seed
        self.folder = folder_for(folder, "folder of results")
        of = {"task": task.name, "seed": seed, "settings": as_json(dataclasses.asdict(settings))}
        file = self.folder / "settings.json"
        if file.exists():
            kept = read_json(file, "file of settings", *of)
            if {key: kept[key] for key in of} != of:
                raise ValueError(f"{self.folder}: of a run with other settings; remove it, or name another with --out")
        else:
            write_rounded(file, of)

    def run(self) -> dict[str, Any]:
        """Every arm in turn."""
        task, s = self.task, self.settings
        network = task.build(s.hidden, self.seed)
        base = self._values("base", lambda: self._train(network, s.base_epochs, s.base_rate, s.base_decay))
        result: dict[str, Any] = {"base": self._points("base", lambda: self._tested(network, [base]))}
        budget = result["base"][0]["validation"]["spikes"]
        orders = self._values("orders", lambda: self._orders(network, base))
        result["neurons"] = n = int(orders["active"])
        kept = {order: self._reordered(base, orders[order][:n]) for order in ORDERS}
        for order in ORDERS:
            name = "frozen_gate" if order == "worth" else f"frozen_gate_{order}"
            result[name] = self._points(name, partial(self._gate, kept[order], n, True))
        fewest = self._fewest(result["frozen_gate"], s.lowest_budget * budget)
        joint = self._values("conditioned", lambda: self._joint(kept["worth"], n, fewest, budget))
        result["conditioned"] = self._points("conditioned", partial(self._gate, joint, n, False, fewest))
        result["control"] = self._kept("control", lambda: self._control(joint, n, fewest, budget))
        for knob in ("kappa", "nu"):
            result[f"frozen_{knob}"] = self._points(f"frozen_{knob}", partial(self._frozen, base, knob, budget))
        result["early"] = self._points("early", lambda: self._early(network, base))
        result["retrained_base"], result["retrained_scratch"], result["small"] = [], [], []
        for f in s.retrained_at:
            name = f"retrained_base_{f:g}"
            result["retrained_base"] += self._points(
                name, partial(self._retrained, kept["worth"], result["frozen_gate"], f, budget)
            )
            name = f"retrained_scratch_{f:g}"
            result["retrained_scratch"] += self._points(name, partial(self._scratch, network, f, budget))
        for k in s.small:
            result["small"] += self._points(f"small_{k}", partial(self._small, k))
        if s.adaptive:
            result["adaptive"] = self._points("adaptive", self._adaptive)
        return result

    # --- what is kept -------------------------------------------------------------------------------------------

    def _values(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        file = self.folder / f"{name}.npz"
        if not file.exists():
            values = make()
            save: Any = np.savez_compressed  # its hints take values for options
            with atomic_file(file, "trained values") as to:
                save(to, **values)
        return read_archive(file, "trained values")

    def _kept(self, name: str, make: Callable[[], Any]) -> Any:
        file = self.folder / f"{name}.json"
        if not file.exists():
            print(f"{self.task.name}, seed {self.seed}: {name}", flush=True)
            write_rounded(file, {"points": make()})
        return read_json(file, "results file", "points")["points"]

    def _points(self, name: str, make: Callable[[], Points]) -> Points:
        found: Points = self._kept(name, make)
        return found

    # --- arms ---------------------------------------------------------------------------------------------------

    def _train(
        self,
        network: Network,
        epochs: int,
        rate: float,
        decay: float,
        values: Arrays | None = None,
        budget: float | None = None,
    ) -> Arrays:
        """A network without gate, with a price over a budget if there is one."""
        s = self.settings
        with self._simulation(network) as simulation:
            source: GradientSource = simulation
            if budget is not None:
                levels, budgets = np.ones(1), np.array([budget])
                source = SpikeBudget(
                    simulation, HIDDEN, ("input_hidden",), levels, budgets, gain=0.05, start=1e-2, highest=1.0
                )
            return _quietly(
                source, self.task.train, Adam(ExponentialDecay(rate, decay)), epochs=epochs, batch_size=s.batch_size,
                seed=self.seed, values=values or network.trainable(), input_dropout=self.task.dropout,
            )  # fmt: skip

    def _simulation(self, network: Network, batch_size: int | None = None) -> Simulation:
        return _opened(self.task, network, batch_size or self.settings.batch_size)

    def _tested(self, network: Network, several: Sequence[Arrays], **more: Any) -> Points:
        with closing(_Tester(self.task, network)) as tester:
            return [tester(values, **more) for values in several]

    def _orders(self, network: Network, base: Arrays) -> Arrays:
        s = self.settings
        data = self.task.train.subset(slice(s.order_trials))
        with self._simulation(network, len(data)) as simulation:
            simulation.run(*self.task.train.subset(slice(len(data))).take(slice(None)), base, gradient=False)
            counts = np.isfinite(simulation.spike_times(HIDDEN)).sum(axis=(0, 2))
        active = np.flatnonzero(counts > 0)
        # the others, which never spike, would only be waited for
        small = self.task.build(len(active), self.seed)
        values = self._reordered(base, active)
        with self._simulation(small, len(data)) as simulation:
            order, worth = benefit_order(simulation, values, data, HIDDEN, "hidden_output", s.at_once)
        norms = np.linalg.norm(values[OUTPUT_WEIGHTS], axis=1)
        rng = np.random.default_rng([self.seed, 13])
        return {
            "active": np.array(len(active)),
            "worth": active[order],
            "norm": active[np.argsort(-norms, kind="stable")],
            "random": rng.permutation(active),
            "dL_per_spike": worth,
            "norms": norms[order],
        }

    def _reordered(self, values: Arrays, order: np.ndarray) -> Arrays:
        return {INPUT_WEIGHTS: values[INPUT_WEIGHTS][:, order], OUTPUT_WEIGHTS: values[OUTPUT_WEIGHTS][order]}

    def _gated(self, n: int, std: float) -> Network:
        return gated(self.task.build(n, self.seed), HIDDEN, self.seed, std=std)

    def _gate(self, values: Arrays, n: int, frozen: bool, fewest: int = 1) -> Points:
        """A gated network with more and more neurons on."""
        network = self._gated(n, 0.0)
        values = {**network.trainable(), **values} if frozen else values
        with closing(_Tester(self.task, network)) as tester:
            settings = np.unique(np.rint(np.linspace(fewest, n, self.task.tested)).astype(int))
            return [tester(values, int(on), n, setting=int(on)) for on in settings]

    def _fewest(self, frozen: Points, budget: float) -> int:
        """The most neurons that stay within a budget and a sixth of it, frozen."""
        limit = budget * 7 / 6
        return max((int(p["setting"]) for p in frozen if p["validation"]["spikes"] <= limit), default=1)

    def _joint(self, base: Arrays, n: int, fewest: int, budget: float) -> Arrays:
        s = self.settings
        network = self._gated(n, 0.1)
        levels = np.geomspace(fewest / n, 1, 8)
        budgets = budget * np.geomspace(s.lowest_budget, 1, 8)
        data = GatedBatches(
            self.task.train, n, s.batch_size, self.seed,
            lowest=fewest / n, full=s.full, least=s.least, dropout=self.task.dropout,
        )  # fmt: skip
        with self._simulation(network) as simulation:
            source = SpikeBudget(
                simulation, HIDDEN, ("input_hidden", "knob_hidden"), levels, budgets, highest=s.highest_price
            )
            return _quietly(
                source, data, Adam(ExponentialDecay(s.joint_rate, s.joint_decay)), epochs=s.joint_epochs,
                batch_size=s.batch_size, seed=self.seed, values={**network.trainable(), **base},
            )  # fmt: skip

    def _control(self, values: Arrays, n: int, fewest: int, budget: float) -> list[dict[str, float]]:
        """The network under a budget that falls and rises again: ``d ln k = -eta (spikes/budget - 1)``, by batches.

        Its k n neurons on are dithered over the trials of a batch, so that k is as good as continuous.
        """
        budgets = np.repeat([0.9, 0.5, 0.7], 40) * budget
        rng = np.random.default_rng([self.seed, 17])
        log_k, size, records = 0.0, self.settings.batch_size, []
        with self._simulation(self._gated(n, 0.0)) as simulation:
            for batch, wanted in enumerate(budgets):
                which = np.arange(batch * size, (batch + 1) * size) % len(self.task.test)
                inputs, labels = self.task.test.take(which)
                k = float(np.exp(log_k))
                on = np.clip(np.floor(k * n + rng.uniform(size=size)).astype(int), 0, n)
                outcome = simulation.run(with_knob(inputs, on, n), labels, values, gradient=False)
                spikes = outcome.spikes[HIDDEN]
                right = float(np.mean(outcome.predictions == labels))
                records.append({"budget": float(wanted), "knob": k, "spikes": spikes, "accuracy": right})
                log_k = min(max(log_k - 0.3 * (spikes / wanted - 1), float(np.log(fewest / n))), 0.0)
        return records

    def _frozen(self, base: Arrays, knob: str, budget: float) -> Points:
        """The base network with its threshold raised by nu, or by kappa times a trace of all hidden spikes."""
        plain = self.task.build(self.settings.hidden, self.seed)
        populations = tuple(
            dataclasses.replace(p, model=load_model(KNOB_MODEL), parameters={"nu": 0, "kappa": 0}, learnable=(knob,))
            if p.name == HIDDEN
            else p
            for p in plain.populations
        )
        n = self.settings.hidden
        trace = Projection("hidden_hidden", HIDDEN, HIDDEN, np.ones((n, n)), "population_trace", learnable=())
        named = [dataclasses.replace(q, receptor="exp_synapse") if q.target == HIDDEN else q for q in plain.projections]
        projections = (*named, trace) if knob == "kappa" else tuple(named)
        network = dataclasses.replace(plain, populations=populations, projections=projections)
        highest = 1.0 if knob == "nu" else 10.0 / budget
        with closing(_Tester(self.task, network)) as tester:
            sweep = highest * np.linspace(0, 1, 5 * self.task.tested // 8) ** 2
            return [tester({**base, f"{HIDDEN}.{knob}": np.asarray(v)}, setting=float(v)) for v in sweep]

    def _retrained(self, base: Arrays, frozen: Points, fraction: float, budget: float) -> Points:
        """From the base: as many neurons as spend a sixth more than the budget, frozen, trained on with a price."""
        s = self.settings
        n = self._fewest(frozen, fraction * budget)
        values = {INPUT_WEIGHTS: base[INPUT_WEIGHTS][:, :n], OUTPUT_WEIGHTS: base[OUTPUT_WEIGHTS][:n]}
        network = self.task.build(n, self.seed)
        own = self._train(network, s.more_epochs, s.joint_rate, s.more_decay, values, fraction * budget)
        return self._tested(network, [own], setting=fraction)

    def _scratch(self, network: Network, fraction: float, budget: float) -> Points:
        s = self.settings
        own = self._train(network, s.base_epochs, s.base_rate, s.base_decay, None, fraction * budget)
        return self._tested(network, [own], setting=fraction)

    def _small(self, n: int) -> Points:
        s = self.settings
        network = self.task.build(n, self.seed)
        return self._tested(network, [self._train(network, s.base_epochs, s.base_rate, s.base_decay)], setting=n)

    def _early(self, network: Network, base: Arrays) -> Points:
        """Decisions of the base network at deadlines and at margins."""
        at = np.arange(1, int(network.duration / 0.5e-3) + 1) * 0.5e-3
        deadlines, margins = at[3::4], np.geomspace(0.05, 20, 30)
        every: dict[str, list[Mapping[str, Any]]] = {}
        with closing(_Tester(self.task, network)) as tester:
            for name, data in self.task.sets.items():
                parts, sizes = [], []
                for which in batches(np.arange(len(data)), TESTED_AT_ONCE):
                    inputs, labels = data.take(which)
                    tester.simulation.run(inputs, labels, base, gradient=False)
                    hidden = tester.simulation.spike_times(HIDDEN)
                    first = tester.simulation.spike_times("output")[:, :, 0] if self.task.decides else None
                    potentials = output_potentials(hidden, base[OUTPUT_WEIGHTS], at)
                    parts.append(decide(hidden, first, potentials, at, labels, deadlines, margins))
                    sizes.append(len(labels))
                every[name] = [
                    {**p[0], **{k: float(np.average([x[k] for x in p], weights=sizes)) for k in ("accuracy", "spikes")}}
                    for p in zip(*parts, strict=True)
                ]
        points: Points = []
        for v, t in zip(every["validation"], every["test"], strict=True):
            measured = {
                name: {"accuracy": p["accuracy"], "spikes": p["spikes"], "decided": p["spikes"]}
                for name, p in (("validation", v), ("test", t))
            }
            points.append({"setting": v["setting"], "policy": v["policy"], **measured})
        return points

    def _adaptive(self) -> Points:
        """Networks of Zambrano et al. (2019), with the samples as currents."""
        points: Points = []
        task, s = self.task, self.settings
        for n in s.adaptive:
            network = train_adaptive(
                _currents(task.train), task.train.targets, n, int(task.train.targets.max()) + 1,
                m_f=0.3, epochs=s.adaptive_epochs, rate=1e-2, batch_size=64, seed=self.seed,
            )  # fmt: skip
            for m_f in np.geomspace(0.03, 1, 12):
                ends = (5, 10, 15, 20, 30, 40, 60, 100)
                every = {
                    name: network.spiking(_currents(data), data.targets, float(m_f), ends)
                    for name, data in task.sets.items()
                }
                for v, t in zip(every["validation"], every["test"], strict=True):
                    measured = {
                        name: {"accuracy": p["accuracy"], "spikes": p["spikes"], "decided": p["spikes"]}
                        for name, p in (("validation", v), ("test", t))
                    }
                    points.append({"setting": float(m_f), "neurons": n, "end": v["end"], **measured})
        return points


def _currents(data: Trials) -> np.ndarray:
    """Samples before they are encoded, of the one input."""
    (samples,) = data.samples.values()
    assert isinstance(samples, np.ndarray)
    return samples


def _quietly(source: Any, data: Any, optimiser: Adam, **options: Any) -> Arrays:
    """Trained values, without a warning of silent trials: a low budget has them at first."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="epoch .* a spike that the loss needs was missing")
        return fit(source, data, optimiser, progress=False, **options).values
