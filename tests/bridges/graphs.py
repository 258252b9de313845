"""What tests compare read graphs with: a simulation of NIR's nodes themselves, forward through the graph.

It shares no code with the package. Between events every neuron has a closed form, of which the
first crossing is searched for on a fine grid and refined. Graphs are drawn here, too.
"""

from __future__ import annotations

import heapq
import itertools
from typing import Any

import numpy as np
from scipy.optimize import brentq

Array = np.ndarray

Spikes = dict[str, list[tuple[int, float]]]
Currents = dict[str, tuple[float, Array]]

WAYS = (
    ("linear", "affine", "scaled", "gain", "delayed", "behind", "between", "flat", "two", "biased two", "none")
)
NEURONS = ("LIF", "LI", "IF", "I", "CubaLIF", "CubaLI")


class Reference:
    """A graph without subgraphs, whose Input nodes get spikes (pulses of an area) or currents that are held."""

    def __init__(self, graph: Any, area: float = 1.0) -> None:
        self.nodes, self.edges, self.area = graph.nodes, list(graph.edges), area
        self.kind = {name: type(node).__name__ for name, node in self.nodes.items()}
        self.neurons = [n for n, k in self.kind.items() if k in NEURONS]
        self.v = {n: np.array(getattr(self.nodes[n], "v_reset", self.nodes[n].r * 0.0)) for n in self.neurons}
        for n in self.neurons:
            if self.kind[n] in ("LI", "CubaLI"):
                self.v[n] = np.array(self.nodes[n].v_leak, dtype=float)
        self.i = {n: np.zeros_like(self.v[n]) for n in self.neurons}
        self.constant = {n: np.zeros_like(self.v[n]) for n in self.neurons}  # current from biases
        self.current = {n: np.zeros_like(self.v[n]) for n in self.neurons}  # from sampled inputs
        self.queue: list[Any] = []
        self.order = itertools.count()
        self.spikes: dict[str, list[tuple[int, float]]] = {n: [] for n in self.neurons}

    def run(self, spikes: Spikes, currents: Currents, end: float) -> None:
        """Simulate from 0 to `end`; `currents` are (interval, samples (n, k))."""
        for name, node in self.nodes.items():
            if self.kind[name] in ("Affine", "Conv1d", "Conv2d"):
                self._constant(name, self._bias(name, node))
        for name, events in spikes.items():
            shape = tuple(self.nodes[name].output_type["output"])
            for k, t in events:
                one = np.zeros(int(np.prod(shape)))
                one[k] = 1
                self._send(name, one.reshape(shape), t)
        steps = {0.0: None}
        for interval, samples in currents.values():
            steps |= {k * interval: None for k in range(samples.shape[1])}
        for t in steps:
            heapq.heappush(self.queue, (t, next(self.order), "sample", None))
        t = 0.0
        while True:
            until = min(self.queue[0][0] if self.queue else end, end)
            crossing = self._first_crossing(until - t)
            if crossing is not None:
                dt, name, k = crossing
                self._advance(dt)
                t += dt
                self._spike(name, k, t)
                continue
            self._advance(until - t)
            t = until
            if t >= end:
                return
            while self.queue and self.queue[0][0] <= t:
                _, _, target, jump = heapq.heappop(self.queue)
                if target == "sample":
                    self._sample(currents, t)
                else:
                    self._arrive(target, jump)
            again = True
            while again:  # jumps across the threshold
                again = False
                for name in self.neurons:
                    if self.kind[name] in ("LIF", "IF"):
                        for k in np.flatnonzero((self.v[name] > self.nodes[name].v_threshold).ravel()):
                            self._spike(name, int(k), t)
                            again = True
                        while self.queue and self.queue[0][0] <= t:
                            _, _, target, jump = heapq.heappop(self.queue)
                            self._arrive(target, jump)

    def _spike(self, name: str, k: int, t: float) -> None:
        self.spikes[name].append((k, t))
        self.v[name].flat[k] = self.nodes[name].v_reset.flat[k]
        one = np.zeros(self.v[name].size)
        one[k] = 1
        self._send(name, one.reshape(self.v[name].shape), t)

    def _sample(self, currents: Currents, t: float) -> None:
        for name in self.neurons:
            self.current[name] = np.zeros_like(self.v[name])
        for name, (interval, samples) in currents.items():
            k = min(int(t / interval + 1e-6), samples.shape[1] - 1)
            self._flow_of_current(name, samples[:, k].reshape(tuple(self.nodes[name].output_type["output"])))

    def _after(self, name: str) -> list[str]:
        return [b for a, b in self.edges if a == name]

    def _through(self, name: str, x: Array) -> Array:
        """A node without delay, without its bias."""
        node, kind = self.nodes[name], self.kind[name]
        if kind in ("Linear", "Affine"):
            return node.weight @ x.ravel()
        if kind == "Scale":
            return node.scale * x.reshape(node.scale.shape)
        if kind == "Flatten":
            return x.ravel()
        if kind in ("Conv1d", "Conv2d"):
            return convolved(x, node, kind)
        if kind in ("SumPool2d", "AvgPool2d"):
            return pooled(x, node, kind)
        raise AssertionError(kind)

    def _bias(self, name: str, node: Any) -> Array:
        if self.kind[name] == "Affine":
            return node.bias
        shape = tuple(node.output_type["output"])
        return node.bias.reshape(-1, *[1] * (len(shape) - 1)) * np.ones(shape)

    def _send(self, name: str, x: Array, t: float) -> None:
        for b in self._after(name):
            if self.kind[b] == "Output" or not x.any():
                continue
            if self.kind[b] in NEURONS:
                heapq.heappush(self.queue, (t, next(self.order), b, x.reshape(self.v[b].shape)))
            elif self.kind[b] == "Delay":
                delay = self.nodes[b].delay
                for k in np.flatnonzero(x):
                    one = np.zeros(x.size)
                    one[k] = x.flat[k]
                    self._send(b, one.reshape(x.shape), t + delay.flat[k])
            else:
                self._send(b, self._through(b, x), t)

    def _spread(self, name: str, x: Array, into: dict[str, Array]) -> None:
        for b in self._after(name):
            if self.kind[b] in NEURONS:
                into[b] = into[b] + x.reshape(self.v[b].shape)
            elif self.kind[b] == "Delay":
                self._spread(b, x, into)
            elif self.kind[b] != "Output":
                self._spread(b, self._through(b, x), into)

    def _constant(self, name: str, x: Array) -> None:
        self._spread(name, x, self.constant)

    def _flow_of_current(self, name: str, x: Array) -> None:
        self._spread(name, x, self.current)

    def _arrive(self, name: str, x: Array) -> None:
        node, kind = self.nodes[name], self.kind[name]
        if kind in ("LIF", "LI"):
            self.v[name] = self.v[name] + self.area * node.r * x / node.tau
        elif kind in ("IF", "I"):
            self.v[name] = self.v[name] + self.area * node.r * x
        else:
            self.i[name] = self.i[name] + self.area * node.w_in * x / node.tau_syn

    def _state(self, name: str, dt: Any) -> tuple[Array, Array]:
        """v and I after dt (a number, or an array in front of which one dimension is added)."""
        node, kind = self.nodes[name], self.kind[name]
        x = self.constant[name] + self.current[name]
        v, i = self.v[name], self.i[name]
        if kind in ("IF", "I"):
            return v + node.r * x * dt, i
        if kind in ("LIF", "LI"):
            rest = node.v_leak + node.r * x
            return rest + (v - rest) * np.exp(-dt / node.tau), i
        level = node.w_in * x
        decayed = (i - level) * np.exp(-dt / node.tau_syn)
        rest = node.v_leak + node.r * level
        factor = node.r * (i - level) * node.tau_syn / (node.tau_syn - node.tau_mem)
        fast, slow = np.exp(-dt / node.tau_syn), np.exp(-dt / node.tau_mem)
        return rest + (v - rest) * slow + factor * (fast - slow), level + decayed

    def _advance(self, dt: float) -> None:
        for name in self.neurons:
            self.v[name], self.i[name] = self._state(name, dt)

    def _first_crossing(self, dt: float) -> tuple[float, str, int] | None:
        best: tuple[float, str, int] | None = None
        if dt <= 0:
            return None
        grid = np.linspace(0, dt, 2 + int(dt / 5e-5))
        for name in self.neurons:
            if self.kind[name] not in ("LIF", "IF", "CubaLIF"):
                continue
            threshold = self.nodes[name].v_threshold
            above = np.array([self._state(name, t)[0] - threshold for t in grid]).reshape(grid.size, -1)
            for k in range(above.shape[1]):
                up = np.flatnonzero((above[:-1, k] <= 0) & (above[1:, k] > 0))
                if up.size:
                    t = brentq(
                        lambda s, n=name, j=k, th=threshold: self._state(n, s)[0].flat[j] - th.flat[j],
                        grid[up[0]],
                        grid[up[0] + 1],
                        xtol=1e-16,
                        rtol=1e-15,
                    )
                    if t > 0 and (best is None or t < best[0]):
                        best = (t, name, k)
        return best


def convolved(x: Array, node: Any, kind: str) -> Array:
    """A convolution by its definition, number by number, without the bias."""
    two = x if kind == "Conv2d" else x[:, None, :]
    weight = node.weight if kind == "Conv2d" else node.weight[:, :, None, :]
    (sy, sx), (dy, dx) = (_pair(v, kind, 1) for v in (node.stride, node.dilation))
    ky, kx = weight.shape[2:]
    if node.padding == "same":
        py, px = dy * (ky - 1), dx * (kx - 1)
        pads = ((py // 2, py - py // 2), (px // 2, px - px // 2))
    else:
        py, px = (0, 0) if node.padding == "valid" else _pair(node.padding, kind, 0)
        pads = ((py, py), (px, px))
    padded = np.pad(two, ((0, 0), *pads))
    rows = (padded.shape[1] - dy * (ky - 1) - 1) // sy + 1
    columns = (padded.shape[2] - dx * (kx - 1) - 1) // sx + 1
    out = np.zeros((weight.shape[0], rows, columns))
    per = two.shape[0] // node.groups
    for o, r, c in np.ndindex(*out.shape):
        first = o // (weight.shape[0] // node.groups) * per
        for i, a, b in np.ndindex(per, ky, kx):
            out[o, r, c] += weight[o, i, a, b] * padded[first + i, r * sy + a * dy, c * sx + b * dx]
    return out if kind == "Conv2d" else out[:, 0]


def pooled(x: Array, node: Any, kind: str) -> Array:
    """A pool by its definition."""
    (ky, kx), (sy, sx), (py, px) = (tuple(np.atleast_1d(v)) for v in (node.kernel_size, node.stride, node.padding))
    padded = np.pad(x, ((0, 0), (py, py), (px, px)))
    rows, columns = (padded.shape[1] - ky) // sy + 1, (padded.shape[2] - kx) // sx + 1
    out = np.zeros((x.shape[0], rows, columns))
    for c, r, q in np.ndindex(*out.shape):
        out[c, r, q] = padded[c, r * sy : r * sy + ky, q * sx : q * sx + kx].sum()
    return out / (ky * kx) if kind == "AvgPool2d" else out


def _pair(value: Any, kind: str, beside: int) -> tuple[int, int]:
    found = np.atleast_1d(value)
    if kind == "Conv1d":
        return beside, int(found[0])
    return int(found[0]), int(found[-1])


def drawn(seed: int, nir: Any) -> tuple[Any, Spikes, Currents]:
    """A small graph of whatever nodes, recurrent ones among them, with inputs that make it spike."""
    rng = np.random.default_rng(seed)
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []

    def add(name: str, node: Any, *before: str) -> str:
        nodes[name] = node
        edges.extend((b, name) for b in before)
        return name

    n = int(rng.integers(2, 5))
    source = add("in", nir.Input(np.array([n])))
    spikes = {"in": [(k, float(t)) for k in range(n) for t in np.sort(rng.uniform(0, 60e-3, 6))]}
    currents: Currents = {}
    if rng.random() < 0.4:
        add("stimulus", nir.Input(np.array([2])))
        currents["stimulus"] = (5e-3, rng.normal(0.6, 0.6, (2, 20)))
    size = n
    for layer in range(int(rng.integers(1, 4))):
        last = source
        way = str(rng.choice(WAYS))
        out = size if way == "none" else int(rng.integers(1, 4))
        kind = str(rng.choice(NEURONS if layer else ["LIF", "IF", "CubaLIF"]))
        cuba = kind.startswith("Cuba")
        neurons = neuron(kind, out, rng, nir)
        jump = per_weight(kind, neurons)
        weight = rng.normal(2.5 if cuba else 0.7, 0.5, (out, size)) / jump[:, None]
        if way in ("delayed", "between") and size > 1:
            last = add(f"d{layer}", nir.Delay(rng.uniform(0, 4e-3, size)), last)
        if way == "scaled":
            scale = rng.uniform(0.5, 2, size)
            last = add(f"s{layer}", nir.Scale(scale), last)
        if way == "flat":
            last = add(f"f{layer}", nir.Flatten({"input": np.array([size])}, 0, -1), last)
        if way == "two":
            last = add(f"a{layer}", nir.Linear(rng.normal(0, 1, (size, size)) + np.eye(size)), last)
        if way in ("affine", "biased two"):
            bias = rng.normal(0, 0.2, out) / per_current(kind, neurons)
            last = add(f"w{layer}", nir.Affine(weight, bias), last)
            if way == "biased two":
                last = add(f"m{layer}", nir.Linear(np.eye(out) + 0.1 * rng.normal(size=(out, out))), last)
        elif way == "none":
            neurons.r = np.full(out, 0.7 * neurons.r / jump)  # one spike of the one before moves it by 0.7
            if cuba:
                neurons.r = neurons.r * 3
        else:
            last = add(f"w{layer}", nir.Linear(weight), last)
        if way == "gain":
            last = add(f"g{layer}", nir.Scale(rng.uniform(0.8, 1.5, out)), last)
        if way in ("behind", "between"):
            last = add(f"b{layer}", nir.Delay(rng.uniform(1e-3, 4e-3, out)), last)
            if way == "between":
                last = add(f"m{layer}", nir.Linear(np.eye(out) + 0.1 * rng.normal(size=(out, out))), last)
        here = add(f"n{layer}", neurons, last)
        if currents and rng.random() < 0.7:
            gain = rng.normal(0.5, 0.3, (out, 2)) / per_current(kind, neurons)[:, None]
            add(f"c{layer}", nir.Linear(gain), "stimulus")
            edges.append((f"c{layer}", here))
        if kind not in ("LIF", "IF", "CubaLIF"):
            break
        if rng.random() < 0.5:
            back = rng.normal(-0.4 if cuba else -0.1, 0.1, (out, out)) / jump[:, None]
            late = add(f"late{layer}", nir.Delay(np.full(out, 1.3e-3)), here)
            add(f"rec{layer}", nir.Linear(back), late)
            edges.append((f"rec{layer}", here))
        source, size = here, out
    add("out", nir.Output(np.array([out])), here)
    used = {a for a, _ in edges}
    if "stimulus" in nodes and "stimulus" not in used:
        del nodes["stimulus"]
        currents = {}
    return nir.NIRGraph(nodes, edges, type_check=False), spikes, currents


def neuron(kind: str, n: int, rng: np.random.Generator, nir: Any) -> Any:
    """A neuron with parameters of their own."""
    tau, tau_syn = rng.uniform(8e-3, 25e-3, n), rng.uniform(3e-3, 6e-3, n)
    r, leak = rng.uniform(0.5, 2, n), rng.normal(0, 0.1, n)
    threshold, reset = rng.uniform(0.9, 1.2, n), rng.uniform(-0.3, 0.2, n)
    match kind:
        case "LIF":
            return nir.LIF(tau, r, leak, threshold, reset)
        case "LI":
            return nir.LI(tau, r, leak)
        case "IF":
            return nir.IF(50 * r, threshold, reset)
        case "I":
            return nir.I(50 * r)
        case "CubaLIF":
            return nir.CubaLIF(tau_syn, tau, r, leak, threshold, reset, rng.uniform(0.5, 2, n))
        case _:
            return nir.CubaLI(tau_syn, tau, r, leak, rng.uniform(0.5, 2, n))


def per_weight(kind: str, node: Any) -> Array:
    """How far a spike through a weight of 1 moves v, or R I."""
    if kind in ("IF", "I"):
        return node.r
    return node.r / node.tau if kind in ("LIF", "LI") else node.r * node.w_in / node.tau_syn


def per_current(kind: str, node: Any) -> Array:
    """How far a current of 1 moves v in the long run, or in 20 ms."""
    return node.r * 20e-3 if kind in ("IF", "I") else node.r * (node.w_in if kind.startswith("Cuba") else 1)
