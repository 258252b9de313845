"""Steps, crossings and their derivative: trials of single neurons on both targets, against SciPy and differences."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

from snnmodels.symbolic.programs import Program, cotangent
from snnmodels.targets.numpy import taylor
from snnmodels.targets.numpy.series import Series
from snnmodels.targets.numpy.taylor import (
    ARRIVED,
    FAILED,
    RESTING,
    RUNNING,
    SPIKED,
    Control,
    Lanes,
    first_crossing,
)
from tests.events.test_series import built, compiled, parameters, pointer, system
from tests.needs import COMPILER

MS = 1e-3
LANES = 8


@dataclass(frozen=True)
class Trial:
    """One neuron per lane: where it starts, which state an input spike raises, and what sizes the states have."""

    model: str
    start: tuple[float, ...]
    synapse: str
    weight: float
    scale: tuple[float, ...]
    end: float
    h_max: float
    spikes: int  # at least so many in all lanes
    resets: bool = True


TRIALS = {
    "qif": Trial("qif", (-0.06, 0.0), "I_syn", 0.05, (1e-3, 10e-3), 40 * MS, 5 * MS, 8),
    "eif": Trial("eif", (-0.065, 0.0), "I_syn", 0.03, (1e-3, 10e-3), 40 * MS, 5 * MS, 8),
    "adex": Trial("adex", (-0.065, 0.0, 0.0), "I_syn", 0.04, (1e-3, 10e-3, 10e-3), 40 * MS, 5 * MS, 8),
    "hodgkin_huxley": Trial("hodgkin_huxley", (-65, 0.05, 0.6, 0.32, 0), "I", 8.0, (1, 1, 1, 1, 1), 40, 5, 8, False),
    "conductance": Trial("conductance", (-70, 0, 0), "g", 20.0, (1, 10, 10), 40, 5, 8),
    "zoo": Trial("zoo", (0.7, 1.0, 0.2, 0.0, 0.1), "q", 0.3, (1, 1, 1, 1, 1), 2.0, 0.5, 8),
}


class NumpyTarget:
    """The steps in NumPy."""

    def __init__(self, name: str, control: Control) -> None:
        self.series, self.control = built(name)[2], control

    def start(self, p: np.ndarray) -> None:
        self.p, self.c = p, self.series.constants(p)
        self.c_bar = np.zeros_like(self.c)

    def walk(self, lanes: Lanes) -> Any:
        tape: list[Any] = []
        taylor.walk(self.series, self.c, self.control, lanes, tape)
        return tape

    def back(self, tape: Any, x_bar: np.ndarray, time_bar: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return taylor.walk_back(self.series, self.c, self.control, tape, x_bar, time_bar, self.c_bar)

    def parameters(self) -> np.ndarray:
        return self.series.parameters(self.p, self.c_bar)

    def steps(self, tape: Any) -> int:
        return len(tape)


HARNESS = """
#include <vector>
using namespace snn;
template <class T> struct Run {
    using S = System<T>;
    T p[S::NP], c[S::NC + 1], cb[S::NC + 1];
    std::vector<Step<S>> steps;
    std::vector<long> from;
};
template <class T> static T read(const double* x, int l) {
    if constexpr (Lane<T>::count == 8) return load8(x);
    else return x[l];
}
template <class T> static void write(double* x, int l, T value) {
    if constexpr (Lane<T>::count == 8) store8(x, value);
    else x[l] = value;
}
template <class T> static Run<T>& run(int l) { static Run<T> runs[8]; return runs[l]; }
template <class T> static void start(const double* p) {
    using S = System<T>;
    for (int l = 0; l < 8; l += Lane<T>::count) {
        Run<T>& r = run<T>(l);
        r.steps.clear();
        r.from.clear();
        for (int i = 0; i < S::NP; i++) r.p[i] = read<T>(p + 8*i, l);
        for (auto& v : r.cb) v = T{};
        S::constants(r.p, r.c);
    }
}
template <class T> static Mask<T> read_mask(const std::int64_t* m, int l) {
    Mask<T> x{};
    for (int i = 0; i < Lane<T>::count; i++) put(x, i, m[l + i]);
    return x;
}
template <class T> static long walk_all(int K, double tol, double h_max, int check, const double* scale, double* x,
                                        const double* duration, double* elapsed, double* rate, std::int64_t* above,
                                        std::int64_t* outcome) {
    using S = System<T>;
    long most = 0;
    for (int l = 0; l < 8; l += Lane<T>::count) {
        Run<T>& r = run<T>(l);
        Control<S> control(tol, h_max, scale, check);
        Lanes<S> lanes{};
        for (int i = 0; i < S::NX; i++) lanes.x[i] = read<T>(x + 8*i, l);
        lanes.duration = read<T>(duration, l);
        lanes.above = read_mask<T>(above, l);
        lanes.outcome = read_mask<T>(outcome, l);
        const long begin = r.steps.size();
        r.from.push_back(begin);
        Tape<S> tape{r.steps.data(), begin, begin};
        while (!walk(K, r.c, control, lanes, tape)) {  // room for three steps at a time, so that it has to go on
            r.steps.resize(tape.n + 3);
            tape.steps = r.steps.data();
            tape.capacity = tape.n + 3;
        }
        r.steps.resize(tape.n);
        most = tape.n - begin > most ? tape.n - begin : most;
        for (int i = 0; i < S::NX; i++) write<T>(x + 8*i, l, lanes.x[i]);
        write<T>(elapsed, l, lanes.elapsed);
        write<T>(rate, l, lanes.rate);
        for (int i = 0; i < Lane<T>::count; i++) {
            above[l + i] = lane(lanes.above, i) != 0;
            outcome[l + i] = lane(lanes.outcome, i);
        }
    }
    return most;
}
template <class T> static void back_all(int K, double tol, double h_max, int check, const double* scale, double* x_bar,
                                        double* time_bar, double* end_bar) {
    using S = System<T>;
    for (int l = 0; l < 8; l += Lane<T>::count) {
        Run<T>& r = run<T>(l);
        Control<S> control(tol, h_max, scale, check);
        T xb[S::NX], tb = read<T>(time_bar, l), eb{};
        for (int i = 0; i < S::NX; i++) xb[i] = read<T>(x_bar + 8*i, l);
        walk_back(K, r.c, control, r.steps.data(), r.from.back(), r.steps.size(), xb, &tb, &eb, r.cb);
        r.steps.resize(r.from.back());
        r.from.pop_back();
        for (int i = 0; i < S::NX; i++) write<T>(x_bar + 8*i, l, xb[i]);
        write<T>(time_bar, l, tb);
        write<T>(end_bar, l, eb);
    }
}
template <class T> static void finish(double* p_bar) {
    using S = System<T>;
    for (int l = 0; l < 8; l += Lane<T>::count) {
        Run<T>& r = run<T>(l);
        T pb[S::NP];
        for (auto& v : pb) v = T{};
        S::parameters(r.p, r.cb, pb);
        for (int i = 0; i < S::NP; i++) write<T>(p_bar + 8*i, l, pb[i]);
    }
}
#define EXPORT(SUFFIX, T) \\
    extern "C" void start_##SUFFIX(const double* p) { start<T>(p); } \\
    extern "C" long walk_##SUFFIX(int K, double tol, double h_max, int check, const double* scale, double* x, \\
        const double* duration, double* elapsed, double* rate, std::int64_t* above, std::int64_t* outcome) \\
    { return walk_all<T>(K, tol, h_max, check, scale, x, duration, elapsed, rate, above, outcome); } \\
    extern "C" void back_##SUFFIX(int K, double tol, double h_max, int check, const double* scale, double* x_bar, \\
        double* time_bar, double* end_bar) { back_all<T>(K, tol, h_max, check, scale, x_bar, time_bar, end_bar); } \\
    extern "C" void parameters_##SUFFIX(double* p_bar) { finish<T>(p_bar); }
EXPORT(lanes, D8)
"""
SCALAR = "EXPORT(double, double)\n"


class CppTarget:
    """The steps in C++, eight lanes at once or one at a time."""

    def __init__(self, name: str, control: Control, suffix: str = "lanes") -> None:
        self.library = compiled(name, HARNESS + (SCALAR if suffix == "double" else ""))
        self.suffix = suffix
        self.scale = np.array(control.scale, dtype=float)
        self.settings = (
            ctypes.c_int(control.order),
            ctypes.c_double(control.tol),
            ctypes.c_double(control.h_max),
            ctypes.c_int(control.check),
            pointer(self.scale),
        )

    def _call(self, function: str, *arguments: Any) -> int:
        return getattr(self.library, f"{function}_{self.suffix}")(*arguments)

    def start(self, p: np.ndarray) -> None:
        self.p = np.ascontiguousarray(p)
        self._call("start", pointer(self.p))

    def walk(self, lanes: Lanes) -> Any:
        x, duration = np.array(lanes.x, order="C"), np.array(lanes.duration)
        above, outcome = lanes.above.astype(np.int64), lanes.outcome.astype(np.int64)
        elapsed, rate = np.zeros(LANES), np.zeros(LANES)
        steps = self._call("walk", *self.settings, *map(pointer, (x, duration, elapsed, rate, above, outcome)))
        lanes.x, lanes.elapsed, lanes.rate, lanes.above, lanes.outcome = x, elapsed, rate, above != 0, outcome
        return steps

    def back(self, tape: Any, x_bar: np.ndarray, time_bar: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        arrays = np.array(x_bar, order="C"), np.array(time_bar), np.zeros(LANES)
        self._call("back", *self.settings, *map(pointer, arrays))
        return arrays

    def parameters(self) -> np.ndarray:
        p_bar = np.empty_like(self.p)
        self._call("parameters", pointer(p_bar))
        return p_bar

    def steps(self, tape: Any) -> int:
        return tape


@functools.cache
def reset(name: str) -> tuple[Callable[..., dict[str, Any]], Callable[..., dict[str, Any]]]:
    """The reset map and its vector-Jacobian product."""
    given = built(name)[0]
    program = Program((), {x.name: given.h[x] for x in given.states})
    names = [s.name for s in (*given.states, *given.parameters)]
    vjp = program.vjp({s.name: s for s in (*given.states, *given.parameters)})
    return program.compile(names), vjp.compile([*names, *(cotangent(x.name).name for x in given.states)])


def arrivals(trial: Trial) -> np.ndarray:
    """Times of the input spikes, shape (n, lanes)."""
    rng = np.random.default_rng(3)
    return np.sort(rng.uniform(0, trial.end, (8, LANES)), axis=0)


@dataclass
class Outcome:
    """Loss of every lane, its gradient by initial state, parameters, and arrival times, and the spikes."""

    loss: np.ndarray
    x_bar: np.ndarray
    p_bar: np.ndarray
    t_bar: np.ndarray
    spikes: list[list[float]]
    steps: int


def simulate(
    target: Any, trial: Trial, x: np.ndarray, p: np.ndarray, times: np.ndarray, gradient: bool = True
) -> Outcome:
    """A trial of eight neurons: spikes weighted by a cosine of their number, and the final state."""
    given = built(trial.model)[0]
    synapse = [s.name for s in given.states].index(trial.synapse)
    jump, jump_back = reset(trial.model)
    scale = np.array(trial.scale)[:, None]
    target.start(p)
    ends = np.vstack([times, np.full(LANES, trial.end)])
    now, x, arrived = np.zeros(LANES), x.copy(), np.zeros(LANES, dtype=int)
    above = np.zeros(LANES, dtype=bool)
    spikes: list[list[float]] = [[] for _ in range(LANES)]
    loss = np.zeros(LANES)
    rounds, steps = [], 0
    while (arrived < len(ends)).any():
        going = arrived < len(ends)
        until = ends[np.minimum(arrived, len(ends) - 1), np.arange(LANES)]
        lanes = Lanes.of(x.copy(), np.where(going, until - now, 0.0))
        lanes.above, lanes.outcome = above, np.where(going, RUNNING, RESTING)
        tape = target.walk(lanes)
        steps += target.steps(tape)
        assert not (lanes.outcome == FAILED).any()
        spiked, ended = lanes.outcome == SPIKED, lanes.outcome == ARRIVED
        assert (spiked | ended == going).all()
        rounds.append((tape, lanes.x.copy(), spiked, ended, arrived.copy(), [len(s) for s in spikes]))
        now = np.where(spiked, now + lanes.elapsed, np.where(ended, until, now))
        after = np.array([np.broadcast_to(v, LANES) for v in jump(*lanes.x, *p).values()])
        x = np.where(spiked, after, lanes.x) if trial.resets else lanes.x.copy()
        above = np.where(spiked & trial.resets, False, lanes.above)
        for lane in np.flatnonzero(spiked):
            loss[lane] += np.cos(1.7 * len(spikes[lane]) + 0.3) * now[lane] / trial.end
            spikes[lane].append(now[lane])
        delivered = ended & (arrived < len(times))
        x[synapse] += np.where(delivered, trial.weight, 0.0)
        arrived = arrived + ended
    loss = loss + np.sum(0.1 * x / scale, axis=0)
    p_bar, t_bar = np.zeros_like(p), np.zeros_like(times)
    x_bar = np.broadcast_to(0.1 / scale, x.shape).copy()
    if not gradient:
        return Outcome(loss, x_bar, p_bar, t_bar, spikes, steps)
    time_bar = np.zeros(LANES)  # by the start of what has been done
    for tape, state, spiked, ended, arrived, count in reversed(rounds):
        weights = np.array([np.cos(1.7 * k + 0.3) / trial.end for k in count])
        if trial.resets and spiked.any():
            back = jump_back(*state, *p, *np.where(spiked, x_bar, 0.0))
            before = np.array([np.broadcast_to(back[s.name], LANES) for s in given.states])
            x_bar = np.where(spiked, before, x_bar)
            p_bar += np.array([np.broadcast_to(back[q.name], LANES) for q in given.parameters])
        # a crossing's time is where what follows starts; an arrival's is its own
        for lane in np.flatnonzero(ended & (arrived < len(times))):
            t_bar[arrived[lane], lane] += time_bar[lane]
        time_in = np.where(spiked, time_bar + weights, np.where(ended, 0.0, time_bar))
        x_bar, time_bar, end_bar = target.back(tape, x_bar, time_in)
        for lane in np.flatnonzero(ended & (arrived < len(times))):
            t_bar[arrived[lane], lane] += end_bar[lane]
    return Outcome(loss, x_bar, p_bar + target.parameters(), t_bar, spikes, steps)


def prepared(name: str) -> tuple[Trial, np.ndarray, np.ndarray, np.ndarray]:
    trial = TRIALS[name]
    given = built(trial.model)[0]
    x = np.array(trial.start)[:, None] + 0.3 * np.array(trial.scale)[:, None] * np.sin(np.arange(LANES))
    if name == "hodgkin_huxley":
        x[1:4] = np.array(trial.start)[1:4, None]
    return trial, x, parameters(given, LANES), arrivals(trial)


def control(trial: Trial, tol: float = 1e-10, order: int = 12, check: bool = True) -> Control:
    return Control(tol, trial.h_max, trial.scale, order, check)


@functools.cache
def reference(name: str, lane: int) -> list[float]:
    """Spike times of one neuron by SciPy's DOP853."""
    trial, *arrays = prepared(name)
    x, p, times = (a[:, lane] for a in arrays)
    given = built(trial.model)[0]
    values = dict(zip(given.parameters, p, strict=True))
    f = sp.lambdify([given.states], [given.f[s].xreplace(values) for s in given.states])
    g = sp.lambdify([given.states], given.g.xreplace(values))
    h = sp.lambdify([given.states], [given.h[s].xreplace(values) for s in given.states])
    synapse = [s.name for s in given.states].index(trial.synapse)

    def event(t: float, y: np.ndarray) -> float:
        return g(y)

    event.terminal, event.direction = True, 1  # type: ignore[attr-defined]
    now, x, spikes = 0.0, x.copy(), []
    for end in [*times, trial.end]:
        while now < end:
            found = solve_ivp(
                lambda t, y: f(y), (now, end), x, "DOP853", rtol=1e-13, atol=1e-13 * np.array(trial.scale),
                events=event, max_step=trial.end / 100,
            )  # fmt: skip
            now, x = found.t[-1], found.y[:, -1]
            if found.status == 1:
                spikes.append(now)
                if trial.resets:
                    x = np.array(h(x), dtype=float)
                else:  # pass the crossing, which the solver would find again
                    event.terminal = False  # type: ignore[attr-defined]
                    stop = min(end, now + trial.end * 1e-5)
                    x = solve_ivp(lambda t, y: f(y), (now, stop), x, "DOP853", rtol=1e-13, atol=1e-14).y[:, -1]
                    event.terminal, now = True, stop  # type: ignore[attr-defined]
        x[synapse] += trial.weight
    return spikes


@COMPILER
@pytest.mark.parametrize("name", TRIALS)
@pytest.mark.parametrize(("order", "tol", "accuracy"), [(12, 1e-10, 3e-8), (16, 1e-12, 1e-9)])
def test_spike_times_are_those_of_the_equations(name: str, order: int, tol: float, accuracy: float) -> None:
    trial, x, p, times = prepared(name)
    found = simulate(CppTarget(name, control(trial, tol, order)), trial, x, p, times, gradient=False)
    assert sum(map(len, found.spikes)) >= trial.spikes
    for lane in range(2):
        expected = reference(name, lane)
        assert len(found.spikes[lane]) == len(expected)
        # accuracy is in milliseconds, of a trial of 40
        np.testing.assert_allclose(found.spikes[lane], expected, rtol=0, atol=accuracy * trial.end / 40)


@COMPILER
@pytest.mark.parametrize("name", TRIALS)
def test_numpy_and_cpp_agree_to_rounding(name: str) -> None:
    trial, x, p, times = prepared(name)
    trial, times = replace(trial, end=trial.end / 2), times[:3] / 2
    first = simulate(NumpyTarget(name, control(trial)), trial, x, p, times)
    second = simulate(CppTarget(name, control(trial)), trial, x, p, times)
    for a, b in zip(first.spikes, second.spikes, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11 * trial.end)
    for wanted, got in [(first.x_bar, second.x_bar), (first.p_bar, second.p_bar), (first.t_bar, second.t_bar)]:
        size = np.abs(wanted).max(axis=1, keepdims=True)
        size[size == 0] = 1
        np.testing.assert_allclose(got / size, wanted / size, rtol=0, atol=1e-9)


@COMPILER
def test_one_lane_at_a_time_is_the_same() -> None:
    trial, x, p, times = prepared("adex")
    first = simulate(CppTarget("adex", control(trial)), trial, x, p, times)
    second = simulate(CppTarget("adex", control(trial), "double"), trial, x, p, times)
    np.testing.assert_allclose(second.loss, first.loss, rtol=1e-11)
    np.testing.assert_allclose(second.p_bar, first.p_bar, rtol=1e-8, atol=1e-10 * np.abs(first.p_bar).max())


@COMPILER
@pytest.mark.parametrize("name", TRIALS)
@pytest.mark.parametrize("order", [12, 6])
def test_the_gradient_is_that_of_the_simulation(name: str, order: int) -> None:
    trial, x, p, times = prepared(name)
    # order 6 at a coarse tolerance: the local error, and with it what forgetting dh would cost, is large
    target = CppTarget(name, control(trial, 1e-10 if order == 12 else 1e-7, order))
    found = simulate(target, trial, x, p, times)
    given = built(trial.model)[0]
    scale = np.array(trial.scale)[:, None]
    typical = [np.broadcast_to(scale, x.shape), np.where(p == 0, 1.0, np.abs(p)), np.full_like(times, trial.end)]
    gradients = [found.x_bar, found.p_bar, found.t_bar]
    everything = [x, p, times]
    size = np.sqrt(sum(np.sum((g * t) ** 2, axis=0) for g, t in zip(gradients, typical, strict=True)))
    assert (size > 0).all()
    for a, (gradient, magnitude) in enumerate(zip(gradients, typical, strict=True)):
        for i in range(len(gradient)):
            if a == 1 and given.parameters[i] not in used(trial.model):
                continue

            def loss(d: np.ndarray, a: int = a, i: int = i) -> np.ndarray:
                moved = [v.copy() for v in everything]
                moved[a][i] += d
                outcome = simulate(target, trial, *moved, gradient=False)
                assert [len(s) for s in outcome.spikes] == [len(s) for s in found.spikes]
                return outcome.loss

            best = np.full(LANES, np.inf)
            for relative in (1e-4, 1e-5):
                d = relative * magnitude[i] * (1e-1 if a else 1.0)
                expected = (8 * (loss(d) - loss(-d)) - (loss(2 * d) - loss(-2 * d))) / (12 * d)
                best = np.minimum(best, np.abs(gradient[i] - expected) * magnitude[i] / size)
            # a difference may straddle a point where another coefficient begins to set a step, in a lane
            assert np.sort(best)[-2] < 1e-8 and best.max() < 1e-7, (name, a, i, best)


def used(name: str) -> set[sp.Symbol]:
    given = built(name)[0]
    return set().union(*(e.free_symbols for e in (*given.f.values(), given.g, *given.h.values())))


@pytest.mark.parametrize("order", [4, 12, 16])
def test_no_root_is_missed(order: int) -> None:
    # 1e5 in C++ below; these are the same in NumPy, with roots that are known because the polynomial is made of them
    rng = np.random.default_rng(order)
    for _ in range(2000):
        c, expected = _polynomial_with_roots(rng, order)
        time, above, grazing = first_crossing(c, 1.0, False)
        assert grazing == 0
        if expected is None:
            assert time is None
        else:
            assert above and time is not None
            assert abs(time - expected) < 1e-6


def _polynomial_with_roots(rng: np.random.Generator, order: int) -> tuple[np.ndarray, float | None]:
    """A polynomial that starts negative, and its first upward root in [0, 1], from roots that keep their distance."""
    number = int(rng.integers(0, 4))
    roots = np.sort(rng.uniform(0.02, 0.98, number)) if number else np.empty(0)
    while number > 1 and np.diff(roots).min() < 0.02:
        roots = np.sort(rng.uniform(0.02, 0.98, number))
    c = np.array([1.0])
    for r in roots:
        c = np.polynomial.polynomial.polymul(c, [r, -1.0])
    while len(c) < order:  # a pair of complex roots near the interval, or one outside of it
        pair = rng.uniform(-0.5, 1.5), rng.uniform(0.03, 1.0)
        c = np.polynomial.polynomial.polymul(c, [pair[0] ** 2 + pair[1] ** 2, -2 * pair[0], 1.0])
    while len(c) <= order:
        c = np.polynomial.polynomial.polymul(c, [2.0, 1.0])
    c = c[: order + 1] / np.abs(c).max()
    return -c, float(roots[0]) if number else None


CROSSINGS = """
// Thresholds drawn anywhere or within 1e-12 of the maximum, against a dense search in extended precision.
typedef long double Long;
static Long at(const double* c, int K, Long t)
{
    Long s = c[K];
    for (int k = K - 1; k >= 0; k--) s = s*t + c[k];
    return s;
}
extern "C" void crossings(int K, long n, const double* given, const double* thresholds, long* counts)
{
    for (int i = 0; i < 5; i++) counts[i] = 0;
    for (long m = 0; m < n; m++) {
        double c[32];
        for (int k = 0; k <= K; k++) c[k] = given[m*(K + 1) + k];
        const int G = 400;
        int top = 0;
        Long most = c[0];
        for (int j = 1; j <= G; j++) {
            const Long v = at(c, K, (Long)j/G);
            if (v > most) { most = v; top = j; }
        }
        Long left = (Long)(top > 0 ? top - 1 : 0)/G, right = (Long)(top < G ? top + 1 : G)/G;
        for (int j = 0; j < 200; j++) {  // the maximum itself
            const Long a = left + (right - left)/3, b = right - (right - left)/3;
            if (at(c, K, a) < at(c, K, b)) left = a; else right = b;
        }
        if (at(c, K, left) > most) most = at(c, K, left);
        const double kind = thresholds[2*m], u = thresholds[2*m + 1], amplitude = (double)most - c[0];
        if (!(amplitude > 1e-9)) continue;
        const double close = amplitude*std::pow(10., -1 - 11*u);
        const double level = kind < 0.3 ? c[0] + amplitude*u*1.2 : (double)(most + (kind < 0.65 ? -close : close));
        if (level <= c[0]) continue;
        c[0] -= level;
        Long first = -1;
        for (int j = 1; j <= G && first < 0; j++) if (at(c, K, (Long)j/G) > 0) first = (Long)j/G;
        if (first < 0 && at(c, K, left) > 0) first = left;
        if (first > 0) {
            Long low = (Long)((int)(first*G - 1e-9))/G;
            for (int j = 0; j < 80; j++) {
                const Long mid = (low + first)/2;
                if (at(c, K, mid) > 0) first = mid; else low = mid;
            }
        }
        bool above = false;
        double time = -1;
        long grazing = 0;
        const bool found = snn::first_crossing(c, K, 1.0, &above, &time, &grazing);
        counts[0]++;
        counts[1] += found;
        const double size = std::fabs(level) + std::fabs(given[m*(K + 1)]) + 1;
        // a maximum within rounding of the threshold is undecidable; one beyond it has to be found, and no other
        if (!found && first >= 0 && (double)most - level > 1e-14*size) counts[2]++;
        if (found && first < 0 && (double)(level - most) > 1e-14*size) counts[3]++;
        if (found && first >= 0 && std::fabs(time - (double)first) > 1e-6 &&
            std::fabs((double)at(c, K, time)) > 1e-14*size) counts[4]++;
    }
}
"""


@COMPILER
@pytest.mark.parametrize("order", [6, 12, 16])
def test_no_root_is_missed_of_100000_polynomials(order: int) -> None:
    rng = np.random.default_rng(order)
    n = 35000
    coefficients = rng.normal(size=(n, order + 1)) * rng.uniform(0.2, 2.0, (n, 1)) ** np.arange(order + 1)
    thresholds = rng.uniform(size=(n, 2))
    counts = np.zeros(5, dtype=np.int64)
    compiled("qif", CROSSINGS).crossings(
        ctypes.c_int(order), ctypes.c_long(n), *map(pointer, (coefficients, thresholds, counts))
    )
    tried, found, missed, invented, wrong = counts
    assert tried > n / 2 and found > n / 5
    assert (missed, invented, wrong) == (0, 0, 0)


def test_a_state_that_leaves_the_numbers_fails() -> None:
    given = system("runaway", {"x": "x**2*k"}, {"k": 1.0}, "x - k*1e300")
    from snnmodels.events.series import SeriesProgram

    series = Series(SeriesProgram.of(given))
    c = series.constants(np.ones((1, 2)))
    lanes = Lanes.of(np.array([[1.0, np.nan]]), np.full(2, 0.5))
    taylor.walk(series, c, Control(1e-10, 1.0, [1.0]), lanes, [])
    assert list(lanes.outcome) == [ARRIVED, FAILED]
    np.testing.assert_allclose(lanes.x[0, 0], 2.0, rtol=1e-9)


def test_a_step_is_halved_where_the_last_coefficients_are_small_by_accident() -> None:
    # an odd function of time: with order 12 the last but one coefficient counts; take an order at which none does
    given = system("accident", {"x": "1", "y": "x**9*k"}, {"k": 100.0})
    from snnmodels.events.series import SeriesProgram

    series = Series(SeriesProgram.of(given))
    c = series.constants(np.array([[100.0]]))
    tapes = {}
    for check in (False, True):
        lanes, tapes[check] = Lanes.of(np.zeros((2, 1)), np.array([2.0])), []
        taylor.walk(series, c, Control(1e-8, 2.0, [1.0, 1.0], 6, check), lanes, tapes[check])
        tapes[check] = (len(tapes[check]), abs(lanes.x[1, 0] - 100 * 2.0**10 / 10))
    assert tapes[True][0] > tapes[False][0]
    assert tapes[False][1] > 1000 > 1e-2 > tapes[True][1]


SILENT = """
using namespace snn;
extern "C" int silent(double* x)
{
    using S = System<D8>;
    static_assert(S::EVENT == -1);
    const double scale[] = {1, 1};
    const Control<S> control(1e-10, 1.0, scale);
    D8 p[S::NP] = {all(2.0)}, c[S::NC];
    S::constants(p, c);
    Step<S> steps[100];
    Tape<S> tape{steps, 0, 100};
    Lanes<S> lanes{};
    lanes.x[0] = all(1.0);
    lanes.x[1] = all(3.0);
    lanes.duration = D8{0, 1, 2, 3, 4, 5, 6, 7};
    walk(12, c, control, lanes, tape);
    store8(x, lanes.x[0]);
    int arrived = 0;
    for (int l = 0; l < 8; l++) arrived += lanes.outcome[l] == ARRIVED;
    return arrived;
}
"""


@COMPILER
def test_a_model_that_does_not_spike_and_holds_a_state() -> None:
    x = np.empty(8)
    assert compiled("held", SILENT).silent(pointer(x)) == 8
    np.testing.assert_allclose(x, 6 - 5 * np.exp(-np.arange(8) / 2), rtol=1e-9)
