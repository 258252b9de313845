// When one neuron of a linear model crosses its threshold, and where its observed state is largest, by steps that can't pass
// either: targets/numpy/crossing.py and ClosedForm of flow.py for one neuron.
#pragma once
#include "network.cuh"

namespace snn {

constexpr int LEVELS = 49, PER_OCTAVE = 4;  // events/bounds.py
constexpr int ROUNDS = 2000, MAX_PEAKS = 10000;
constexpr double CLOSE = 1.0 / (1ull << 54);

template <class M, int... I> SNN_INLINE void load_parameters(const Population& p, int j, double* to, std::integer_sequence<int, I...>)
{
    ((to[I] = p.parameters[I][M::PER_NEURON[I] ? j : 0]), ...);
}
// A rule with the parameters of a neuron
template <class M, template <class> class R> SNN_INLINE R<double> rule_of(const Population& p, int j)
{
    double values[M::P + 1];
    load_parameters<M>(p, j, values, std::make_integer_sequence<int, M::P>());
    R<double> r;
    r.prepare(values);
    return r;
}
// A rule that knows no time, of one neuron
template <class M, template <class> class R> SNN_INLINE void run_rule(const Population& p, int j, const double* in, double* out)
{
    rule_of<M, R>(p, j).at(0.0).run(in, out);
}

// The shortest length of the ladder that covers s
SNN_INLINE int ladder_level(double s, double longest)
{
    const double x = s / longest;
    std::int64_t whole;
    memcpy(&whole, &x, 8);
    const int power = int(whole >> 52) - 1022;  // x = part 2^power, part in [1/2, 1)
    whole &= 0xfffffffffffff;
    const int quarters = (whole <= 0xae89f995ad3ae) + (whole <= 0x6a09e667f3bcd) + (whole <= 0x306fe0a31b715) + (whole <= 0);
    const int l = LEVELS - 1 + PER_OCTAVE * power - quarters;
    return !(s > 0) || l < 0 ? 0 : l > LEVELS - 1 ? LEVELS - 1 : l;
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

template <class M> SNN_INLINE void flow(const Population& p, int j, double s, const double* from, double* to)
{
    rule_of<M, M::template Flow>(p, j).at(s).run(from, to);
}

// The first crossing of the threshold within a length; `sift`: look first whether there can be one
template <class M> SNN_INLINE Found crossing(const Network& net, const Population& p, int j, const double* x, double length, bool sift)
{
    double rates[M::S];
    run_rule<M, M::template Rate>(p, j, x, rates);
    const Reach<M> reach(p.bounds, ladder_level(length, net.window), p.width, j);
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

// Hands the smooth maxima of the observed state within a length to `offer(time, value)`, at least those above `best`
template <class M, class F> SNN_INLINE int smooth_peaks(const Network& net, const Population& p, int j, const double* x, double length, double best, F offer)
{
    double rates[M::S];
    run_rule<M, M::template Rate>(p, j, x, rates);
    const Reach<M> reach(p.peak_bounds, ladder_level(length, net.window), p.width, j);
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
    for (int k = 0; k < MAX_PEAKS; k++)
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

}  // namespace snn
