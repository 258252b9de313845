// One neuron on its way: its flow and the reverse of it, when it crosses its threshold, and where its observed state is largest.
// Linear models by closed forms and steps that can't pass either, as targets/numpy/crossing.py and ClosedForm of flow.py;
// nonlinear ones by Taylor steps (taylor.h).
#pragma once
#include "ladder.h"
#include "limits.cuh"
#include "network.cuh"

namespace snn {

template <class M, int... I> SNN_INLINE void load_parameters(const Population& p, int j, double* to, std::integer_sequence<int, I...>)
{
    ((to[I] = p.parameters[I][M::PER_NEURON[I] ? j : 0]), ...);
}
#ifdef SNN_REAL
// A rule in another arithmetic; times and states are kept in double
template <template <class> class R> struct Rule
{
    using Real = SNN_REAL;
    R<Real> rule;
    struct At
    {
        typename R<Real>::template At<Real> at;
        SNN_INLINE void run(const double* in, double* out) const
        {
            Real x[R<Real>::IN + 1], y[R<Real>::OUT + 1];
            for (int i = 0; i < R<Real>::IN; i++) x[i] = Real(in[i]);
            at.run(x, y);
            for (int i = 0; i < R<Real>::OUT; i++) out[i] = y[i];
        }
    };
    template <int N> SNN_INLINE void prepare(const double (&values)[N])
    {
        Real own[N];
        for (int i = 0; i < N - 1; i++) own[i] = Real(values[i]);
        rule.prepare(own);
    }
    SNN_INLINE At at(double s) const { return {rule.at(Real(s))}; }
};
#else
template <template <class> class R> using Rule = R<double>;
#endif

// A rule with the parameters of a neuron
template <class M, template <class> class R> SNN_INLINE Rule<R> rule_of(const Population& p, int j)
{
    double values[M::P + 1];
    load_parameters<M>(p, j, values, std::make_integer_sequence<int, M::P>());
    Rule<R> r;
    r.prepare(values);
    return r;
}
// A rule that knows no time, of one neuron
template <class M, template <class> class R> SNN_INLINE void run_rule(const Population& p, int j, const double* in, double* out)
{
    rule_of<M, R>(p, j).at(0.0).run(in, out);
}

// Bounds of a function within a length, from the slopes of the states: its rise, and its third derivative
template <class M> struct Reach
{
    const double* table;
    int stride;  // between the entries of one neuron: 1, or the neurons
    SNN_INLINE Reach(const double* all, int level, int width, int j)
        : table(all + std::int64_t(level) * 4 * M::S * (M::SHARED ? 1 : width) + (M::SHARED ? 0 : j)), stride(M::SHARED ? 1 : width) {}
    SNN_INLINE double sum(int row, const double* rates, bool most) const
    {
        double total = 0;
        for (int s = 0; s < M::S; s++)
        {
            const double a = table[std::int64_t(row * M::S + s) * stride] * rates[s], b = table[std::int64_t((row + 1) * M::S + s) * stride] * rates[s];
            total += most ? larger(a, b) : smaller(a, b);
        }
        return total;
    }
    SNN_INLINE double rise(const double* rates) const { return sum(0, rates, true); }
    SNN_INLINE double third_high(const double* rates) const { return sum(2, rates, true); }
    SNN_INLINE double third_low(const double* rates) const { return sum(2, rates, false); }
};

struct Found { double time; int failure; };

// First upward crossing of 0 from `start` to `rest` of `along(tau, v)`, a function with its first two derivatives
template <class F> SNN_INLINE Found first_crossing(F along, double high, double low, double start, double rest, bool leaving)
{
    if (!(std::isfinite(high) && std::isfinite(low))) return {INF, NOT_FINITE};
    if (!(rest > start)) return {INF, NONE};
    double tau = start, w = rest - start;
    const double upper = larger(high, 0.0), lower = larger(-low, 0.0);
    for (int turn = 0; turn < ROUNDS; turn++)
    {
        double v[3];
        along(tau, v);
        const double g = leaving && turn == 0 ? smaller(v[0], 0.0) : v[0], slope = v[1], bend = v[2], left = rest - tau;
        const bool flat = g == 0 && slope == 0 && bend <= 0 && upper > 0;
        if (flat) w = smaller(w, bend < 0 ? -3 * bend / upper : w / 1024);
        const double raised = flat ? bend : bend + upper * w / 3;
        const double root = ::sqrt(larger(slope * slope - 2 * raised * g, 0.0));
        const bool rising = slope > 0;
        const bool possible = (rising ? slope * slope >= 2 * raised * g : raised > 0) && !flat;
        double step = possible ? (rising ? -2 * g : root - slope) / (rising ? slope + root : raised) : INF;
        if (g > 0) step = 0;
        step = larger(step, 0.0);
        const bool free = !(step <= w);
        tau += free ? w : step;
        if (!free)
        {
            const double error = (upper * w + lower * step) * step * step / (6 * larger(slope + raised * step, 1e-300));
            if (error <= CLOSE * rest || g > 0) return {smaller(tau, rest), NONE};
        }
        w = free ? 4 * w : 4 * step;
        if (free && w >= 4 * left) return {INF, NONE};
        w = smaller(w, rest - tau);
        if (w <= 0)
        {
            along(tau, v);
            return {v[0] >= 0 ? rest : INF, NONE};
        }
    }
    return {INF, UNFINISHED};
}

// --- Taylor steps ------------------------------------------------------------------------------------------------------

// Of the rules R of a model M: its own, or those while it is refractory
template <class M, class R> constexpr int control_of = std::is_same_v<M, R> ? 0 : 1;
template <class R, bool = R::LINEAR> struct StepsOf { using Watched = void; };
template <class R> struct StepsOf<R, false>
{
    using Watched = typename R::template Series<double>;
    using Free = std::conditional_t<(Watched::EVENT >= 0), Unwatched<Watched>, Watched>;
    static constexpr int NC = Watched::NC > 0 ? Watched::NC : 1;
};
template <class S> SNN_INLINE const Control<S>& control(const Population& p, int which) { return *static_cast<const Control<S>*>(p.controls[which]); }
template <class M, class S> SNN_INLINE void constants_of(const Population& p, int j, double* c)
{
    double values[M::P + 1];
    load_parameters<M>(p, j, values, std::make_integer_sequence<int, M::P>());
    S::constants(values, c);
}
template <class S> SNN_INLINE Lanes<S> setting_out(const double* x, double duration)
{
    Lanes<S> lanes{};
    for (int i = 0; i < S::NX; i++) lanes.x[i] = x[i];
    lanes.duration = duration, lanes.outcome = duration > 0 ? RUNNING : RESTING;
    return lanes;
}
// Until the lane rests, or has made too many steps: then it is still RUNNING
template <class R, class S> SNN_APART void go(const double* c, const Control<S>& control, Lanes<S>& lanes)
{
    constexpr int MANY = 8;
    Step<S> steps[MANY];
    Tape<S> tape{steps, 0, MANY};
    for (long made = 0; !walk<S, R::ORDER>(c, control, lanes, tape) && made + tape.n <= R::MAX_STEPS; tape.n = 0) made += tape.n;
}
SNN_INLINE int stuck(std::int64_t outcome) { return outcome == FAILED ? NOT_FINITE : outcome == RUNNING ? STUCK : NONE; }

// The states a time s later; why there are none, or NONE
template <class M, class R> SNN_INLINE int flow(const Population& p, int j, double s, const double* from, double* to)
{
    if constexpr (R::LINEAR) rule_of<R, R::template Flow>(p, j).at(s).run(from, to);
    else
    {
        using S = typename StepsOf<R>::Free;
        double c[StepsOf<R>::NC];
        constants_of<R, S>(p, j, c);
        auto lanes = setting_out<S>(from, s);
        go<R, S>(c, control<S>(p, control_of<M, R>), lanes);
        for (int i = 0; i < M::S; i++) to[i] = lanes.x[i];
        return stuck(lanes.outcome);
    }
    return NONE;
}

// Costates a time s earlier, where the states were x, and the sums g of what learnable parameters do on the way
template <class R> constexpr bool reads_states() { if constexpr (R::LINEAR) return R::G > 0 && !R::template Gradient<double>::ZERO; else return true; }
template <class R, int... I> SNN_INLINE void learnable(const double* bar, double* g, std::integer_sequence<int, I...>) { ((g[I] = bar[std::integral_constant<int, R::LEARNABLE[I]>::value]), ...); }
template <class M, class R> SNN_APART void steps_back(const Population& p, int j, double s, const double* x, double* y, double* g)
{
    using S = typename StepsOf<R>::Free;
    constexpr int MANY = 32;
    double c[StepsOf<R>::NC], bars[StepsOf<R>::NC], time = 0, end = 0;
    constants_of<R, S>(p, j, c);
    for (double& b : bars) b = 0;
    const auto& how = control<S>(p, control_of<M, R>);
    Step<S> steps[MANY];
    // the last steps first; for those before, the way is gone again
    long rest = -1;
    while (rest != 0)
    {
        auto lanes = setting_out<S>(x, s);
        Tape<S> tape{steps, 0, MANY};
        long before = 0;  // steps that are on the tape no more
        const long wanted = rest < 0 ? R::MAX_STEPS + 1 : rest;
        while (true)
        {
            const bool full = !walk<S, R::ORDER>(c, how, lanes, tape);
            if (!full || before + tape.n >= wanted) break;
            before += tape.n, tape.n = 0;
        }
        rest = before;
        walk_back<S, R::ORDER>(c, how, steps, 0, tape.n, y, &time, &end, bars);
    }
    if constexpr (R::G > 0)
    {
        double values[M::P + 1], bar[M::P + 1];
        load_parameters<M>(p, j, values, std::make_integer_sequence<int, M::P>());
        for (double& b : bar) b = 0;
        S::parameters(values, bars, bar);
        learnable<R>(bar, g, std::make_integer_sequence<int, R::G>());
    }
}

// --- linear models -----------------------------------------------------------------------------------------------------

// The first crossing of the threshold within a length; `sift`: look first whether there can be one
template <class M> SNN_INLINE Found crossing(const Network& net, const Population& p, int j, const double* x, double length, bool sift)
{
    double rates[M::S];
    run_rule<M, M::template Rate>(p, j, x, rates);
    const Reach<M> reach(p.bounds, Ladder{net.window}.level(length), p.width, j);
    if (sift)
    {
        double g;
        run_rule<M, M::template Event>(p, j, x, &g);
        if (g + reach.rise(rates) <= 0 && !(g > 0)) return {INF, NONE};
    }
    const auto moves = rule_of<M, M::template Flow>(p, j);
    const auto search = rule_of<M, M::template Search>(p, j);
    const auto along = [&](double tau, double* v) {
        if (tau == 0) return search.at(0.0).run(x, v);
        double there[M::S];
        moves.at(tau).run(x, there);
        search.at(0.0).run(there, v);
    };
    return first_crossing(along, reach.third_high(rates), reach.third_low(rates), 0.0, length, false);
}

template <class M, class F> SNN_INLINE int linear_peaks(const Network& net, const Population& p, int j, const double* x, double length, double best, F offer)
{
    double rates[M::S];
    run_rule<M, M::template Rate>(p, j, x, rates);
    const Reach<M> reach(p.peak_bounds, Ladder{net.window}.level(length), p.width, j);
    if (x[net.observed] + reach.rise(rates) <= best) return NONE;
    const double high = reach.third_high(rates), low = reach.third_low(rates);
    const auto moves = rule_of<M, M::template Flow>(p, j);
    const auto peak = rule_of<M, M::template Peak>(p, j);
    double sign = rates[net.observed] > 0 ? 1 : -1, tau = 0;
    bool leaving = false;
    const auto along = [&](double t, double* v) {
        double there[M::S], all[4];
        if (t == 0) peak.at(0.0).run(x, all);
        else moves.at(t).run(x, there), peak.at(0.0).run(there, all);
        for (int k = 0; k < 3; k++) v[k] = sign * all[k + 1];
    };
    for (int k = 0; k < M::MAX_EVENTS; k++)
    {
        const bool up = sign > 0;
        const Found found = first_crossing(along, up ? high : -low, up ? low : -high, tau, length, leaving);
        if (found.failure) return found.failure;
        if (!(found.time < INF) || (leaving && !(found.time > tau))) return NONE;
        if (up)
        {
            double there[M::S];
            moves.at(found.time).run(x, there);
            offer(found.time, there[net.observed]);
        }
        tau = found.time, sign = -sign, leaving = true;
    }
    return UNFINISHED;
}

// Hands the smooth maxima of the observed state within a length to `offer(time, value)`, at least those above `best`
template <class M, class F> SNN_INLINE int smooth_peaks(const Network& net, const Population& p, int j, const double* x, double length, double best, F offer)
{
    if constexpr (M::LINEAR) return linear_peaks<M>(net, p, j, x, length, best, offer);
    else
    {
        using S = typename M::Slope::template Series<double>;
        double c[S::NC > 0 ? S::NC : 1], rates[M::S], y[M::S], passed = 0;
        constants_of<M, S>(p, j, c);
        run_rule<M, M::template Rate>(p, j, x, rates);
        for (int i = 0; i < M::S; i++) y[i] = x[i];
        std::int64_t above = rates[net.observed] <= 0;
        for (int k = 0; k < M::MAX_EVENTS; k++)
        {
            auto lanes = setting_out<S>(y, length - passed);
            lanes.above = above;
            go<M, S>(c, control<S>(p, 2), lanes);
            if (lanes.outcome != SPIKED) return NONE;
            for (int i = 0; i < M::S; i++) y[i] = lanes.x[i];
            passed += lanes.elapsed, above = 1;
            offer(passed, y[net.observed]);
        }
        return UNFINISHED;
    }
}

// The next event of a neuron's own within a length, and the states just before it
struct Event { double time; int kind, failure; };
template <class M> SNN_INLINE Event next_event(const Network& net, const Population& p, int j, const double* x, double length, bool sift, double* at)
{
    if constexpr (M::LINEAR)
    {
        const Found found = crossing<M>(net, p, j, x, length, sift);
        if (found.time < INF) flow<M, M>(p, j, found.time, x, at);
        return {found.time, SPIKE, found.failure};
    }
    else
    {
        using S = typename StepsOf<M>::Watched;
        if (!(length > 0)) return {INF, SPIKE, NONE};
        double c[StepsOf<M>::NC];
        constants_of<M, S>(p, j, c);
        auto lanes = setting_out<S>(x, length);
        go<M, S>(c, control<S>(p, 0), lanes);
        for (int i = 0; i < M::S; i++) at[i] = lanes.x[i];
        if (lanes.outcome != SPIKED) return {INF, SPIKE, NONE};  // one that is stuck is told of when it has to go there
        return {lanes.elapsed, int(lanes.event) - int(M::SPIKING), NONE};
    }
}

// Rules of a transition R
template <class M, class R> SNN_INLINE void run_turn(const Population& p, int j, const double* in, double* out) { run_rule<M, R::template Turn>(p, j, in, out); }
template <class M, class R> SNN_INLINE void run_turn_sigma(const Population& p, int j, const double* in, double* out) { run_rule<M, R::template Sigma>(p, j, in, out); }
template <class M, class R> SNN_INLINE void run_turn_back(const Population& p, int j, const double* in, double* out) { run_rule<M, R::template Back>(p, j, in, out); }

// Conditions of a neuron that read a driven input, which has jumped to x
template <class M> SNN_INLINE void decide(const Population& p, int j, int input, double* x)
{
    M::knot(input, [&](auto r) {
        double before[M::S];
        for (int i = 0; i < M::S; i++) before[i] = x[i];
        run_rule<M, decltype(r)::template Rule>(p, j, before, x);
    });
}

// An event that is no spike: the states after it; false where the neuron is driven back at once
template <class M> SNN_INLINE bool turn(const Population& p, int j, int kind, const double* before, double* after)
{
    double in[2 * M::S], out[2] = {0, 0};
    M::transition(kind, [&](auto r) {
        run_turn<M, decltype(r)>(p, j, before, after);
        for (int i = 0; i < M::S; i++) in[i] = after[i], in[M::S + i] = 0;
        run_turn_sigma<M, decltype(r)>(p, j, in, out);
    });
    return !(out[1] > 0);
}

}  // namespace snn
