// Populations to which nothing that they do comes back: all that arrives is known before, so that a trial is one sweep over
// the pieces between arrivals; and in reverse, costates change at a neuron's own events alone, so that they are kept as they
// are at one later time, and what an arrival asks for is computed from there. The same spikes and gradients as those of the
// general way, to rounding; for models with flows in closed form (a series holds forward alone), the same parameters for all
// neurons, no refractoriness, and no gradients of parameters.
#pragma once
#include <tuple>
#include "network.h"
#include "population.h"

namespace snn {

template <class M> class SweptPopulation : public Population<M>
{
    using Base = Population<M>;
    using K = typename Base::K;
    using Base::S_, Base::width, Base::index, Base::observed, Base::x, Base::l, Base::flow, Base::back_, Base::hot, Base::ladder, Base::clock;
    using Base::take, Base::put, Base::prepare, Base::costate;
    static constexpr bool SWEEPS = M::SWEEPS;
    static constexpr int ROWS = 4;  // of one instant that go through costates together

public:
    bool sweeps() const override { return SWEEPS; }
    bool sweeps(int r) const override
    {
        bool yes = false;
        M::receptor(r, [&](auto q) { using R = decltype(q); yes = R::SWEEPS; });
        return yes;
    }

    SNN_COLD void refresh() override
    {
        Base::refresh();
        if constexpr (SWEEPS)
        {
            span = 8 * ladder.longest;
            while (!keeps_digits(span)) span /= 2;
            std::apply([&](auto&... rule) { (this->prepare(rule, 0), ...); }, arrive_back_);
        }
    }

    void sweep(const Sweep& of) override
    {
        if constexpr (SWEEPS)
        {
            if constexpr (M::SPIKING)
            {
                if (width <= FEW && of.receptor >= 0)
                {
                    M::receptor(of.receptor, [&](auto q) { width == LANES ? few<decltype(q), 1>(of) : few<decltype(q), 2>(of); });
                    return;
                }
            }
            else if constexpr (M::OBSERVED)
                if (of.maxima && of.receptor >= 0) return follow_maxima(of);
            const int pieces = of.stretches();
            int a = 0;
            for (int first = 0; first < pieces; first += LANES)
            {
                const Eighth eighth(*this, of, first);
                for (int k = 0; k < eighth.m; k++) a = advance(of, first + k, a, one(flow[0], eighth.flows, k), int(eighth.level[k]));
            }
        }
    }

    void sweep_back(const Sweep& of) override
    {
        if constexpr (SWEEPS)
        {
            l.fill(0);
            now = of.net.duration, active = false;
            starts.first = -1, own.end = 0;
            if constexpr (PULLED) collect_pulls(of);
            for (int n = of.stretches() - 1; n >= 0;)
                if (const int m = single_arrivals(of, n); m > 1) n -= pieces_back(of, n, m);
                else piece_back(of, n--);
        }
    }

private:
    // the stages of a rule for one of eight times, read from memory: to take numbers out of vectors takes longer
    template <class R, class A> static SNN_INLINE auto one(const R& rule, const A& eight, int lane)
    {
        decltype(rule.at(0.0)) a;
        a.of = &rule;
        for (std::size_t k = 0; k < std::size(a.c); k++) std::memcpy(&a.c[k], reinterpret_cast<const char*>(&eight.c[k]) + lane * sizeof(double), sizeof(double));
        return a;
    }

    // --- forward -------------------------------------------------------------------------------------------------------

    // Up to eight pieces from `first` on, and the flow over each
    struct Eighth
    {
        Stretch* pieces;
        int m;
        double length[LANES] = {};
        std::int64_t level[LANES];
        decltype(std::declval<typename M::template Flow<K>>().at(D8())) flows;
        SNN_INLINE Eighth(const SweptPopulation& p, const Sweep& of, int first) : pieces(&of.tape.stretches[first]), m(std::min(LANES, of.stretches() - first))
        {
            for (int k = 0; k < m; k++) length[k] = pieces[k + 1].t - pieces[k].t;
            const D8 lengths = load8(length);
            const I8 levels = p.ladder.level(lengths);
            std::memcpy(level, &levels, sizeof level);
            flows = p.flow[0].at(lengths);
        }
    };

    // Piece n, to which arrivals from `a` on belong; returns the first of the next
    template <class F> int advance(const Sweep& of, int n, int a, const F& f, int level)
    {
        Stretch& piece = of.tape.stretches[n];
        const double until = of.tape.stretches[n + 1].t, s = until - piece.t;
        clock = piece.t;
        const double* const* rows = of.rows + a;
        const int end = piece.arrivals;
        int m = end - a, receptor = of.receptor;
        if (receptor < 0 && m)
        {
            // those of the last receptor go along with the flow
            receptor = of.of(a).receptor;
            for (int from = a; ++a < end;)
                if (const int other = of.of(a).receptor; other != receptor)
                {
                    arrive(receptor, rows, a - from);
                    rows += a - from, from = a, receptor = other;
                }
            m = int(of.rows + end - rows);
        }
        piece.owns = of.trial.trains[of.net.inputs + index].size();
        if (!(s > 0)) return arrive(receptor, rows, m), end;
        if (!m) pass(of, n, s, level, f, typename Base::Nothing());
        else
            M::receptor(receptor, [&](auto q) {
                typename decltype(q)::template Arrive<double> rule;
                prepare(rule, 0);
                const auto arrive = rule.at(0.0);
                pass(of, n, s, level, f, [&](int j, auto& states) {
                    constexpr int B = std::extent_v<std::remove_reference_t<decltype(states)>>;
                    for (int k = 0; k < m; k++)
                        SNN_IN_REGISTERS for (int b = 0; b < B; b++)
                        {
                            __builtin_prefetch(rows[m + k] + j + b * LANES);  // which rows come next, no processor can guess
                            D8 in[S_ + 1];
                            SNN_IN_REGISTERS for (int i = 0; i < S_; i++) in[i] = states[b][i];
                            in[S_] = load8(rows[k] + j + b * LANES);
                            arrive.run(in, states[b]);
                        }
                });
            });
        if constexpr (M::SPIKING)
            if (hot.n)
            {
                Train& train = of.trial.trains[of.net.inputs + index];
                Base::cross_listed(piece.t, s, until, train);
                piece.owns = train.size();
            }
        return end;
    }

    // A population of few vectors, of which the states stay in registers, and who may cross where it is
    static constexpr int FEW = 2 * LANES;
    template <class R, int V> __attribute__((noinline)) void few(const Sweep& of)
    {
        ComponentTape& tape = of.tape;
        Train& train = of.trial.trains[of.net.inputs + index];
        typename R::template Arrive<double> rule;
        prepare(rule, 0);
        const auto arrive = rule.at(0.0);
        const int pieces = of.stretches();
        D8 state[V][S_ + 1];
        SNN_IN_REGISTERS for (int b = 0; b < V; b++) take(x.begin(), b * LANES, state[b]);
        const double* const* row = of.rows;
        for (int first = 0; first < pieces; first += LANES)
        {
            const Eighth eighth(*this, of, first);
            for (int k = 0; k < eighth.m; k++)
            {
                Stretch& piece = eighth.pieces[k];
                const double until = eighth.pieces[k + 1].t, s = eighth.length[k];
                for (const double* const* last = of.rows + piece.arrivals; row < last; row++)
                    SNN_IN_REGISTERS for (int b = 0; b < V; b++)
                    {
                        D8 after[S_];
                        state[b][S_] = load8(*row + b * LANES);
                        arrive.run(state[b], after);
                        SNN_IN_REGISTERS for (int i = 0; i < S_; i++) state[b][i] = after[i];
                    }
                const int from = train.size();
                if (s > 0)
                {
                    const int level = int(eighth.level[k]);
                    const auto f = one(flow[0], eighth.flows, k);
                    const bool eased = Base::leaks.suits[level];
                    SNN_IN_REGISTERS for (int b = 0; b < V; b++)
                    {
                        D8 to[S_];
                        f.run(state[b], to);
                        const unsigned above = eased ? Base::above_limit(typename Base::template Ease<false>(Base::leaks, level), state[b]) : Base::above_limit(Base::slopes(0, level), state[b]);
                        if (const unsigned marked = above & ones_below(std::max(0, Base::n - b * LANES)))
                            Base::cross_all(b * LANES, marked, piece.t, s, until, level, state[b], to, train);
                        SNN_IN_REGISTERS for (int i = 0; i < S_; i++) state[b][i] = to[i];
                    }
                    if (train.size() > from + 1) Base::sort(train, from, S_);
                }
                piece.owns = train.size();
            }
        }
        SNN_IN_REGISTERS for (int b = 0; b < V; b++) put(x.begin(), b * LANES, state[b]);
    }

    // what came to another receptor at the same instant
    void arrive(int receptor, const double* const* rows, int m)
    {
        for (int k = 0; k < m; k++) Base::arrive(receptor, {rows[k], nullptr, width});
    }

    template <class F, class ADD> SNN_INLINE void pass(const Sweep& of, int n, double s, int level, const F& f, const ADD& add)
    {
        if constexpr (M::SPIKING)
        {
            hot.n = 0;
            Base::template pass<true, true>(f, level, add);
        }
        else if (!of.maxima) Base::template pass<false, true>(f, level, add);
        else if constexpr (M::OBSERVED)
        {
            for (int j = 0; j < width; j += LANES)
            {
                D8 from[1][S_], to[S_];
                take(x.begin(), j, from[0]);
                add(j, from);
                f.run(from[0], to);
                put(x.begin(), j, to);
                Base::block_peaks(j, level, from[0], to, Base::ceiling(j, level, from[0]), of.tape.stretches[n].t, s, n);
            }
            Base::finish_peaks();
        }
    }

    // The maxima of what does not spike. Only where a state may have its largest value of all is it looked at: where it ends
    // and what it stays below is found first, for eight pieces at once.
    void follow_maxima(const Sweep& of)
    {
        const int pieces = of.stretches(), eighths = (pieces + LANES - 1) / LANES;
        began.room(std::size_t(eighths) * S_ * width), tops.room(std::size_t(eighths) * width);
        highest.room(width);
        std::copy_n(Base::peak_value.begin(), width, highest.begin());
        M::receptor(of.receptor, [&](auto q) {
            typename decltype(q)::template Arrive<double> rule;
            prepare(rule, 0);
            const auto arrive = rule.at(0.0);
            for (int e = 0, a = 0; e < eighths; e++)
            {
                const Passage passage(*this, of, e, a);
                int j = 0;
                for (; j + 2 * LANES <= width; j += 2 * LANES) rise<2>(passage, arrive, e, j);
                if (j < width) rise<1>(passage, arrive, e, j);
                a = passage.end();
            }
            for (int e = 0, a = 0; e < eighths; e++)
            {
                const auto below = [&](int j) { return bits_above(load8(highest.begin() + j), load8(tops.begin() + std::size_t(e) * width + j)) == ones_below(LANES); };
                int j = 0;
                while (j < width && below(j)) j += LANES;
                if (j < width)
                {
                    const Passage passage(*this, of, e, a);
                    for (; j < width; j += LANES) if (!below(j)) look(passage, arrive, e, j);
                }
                a = of.tape.stretches[std::min(pieces, (e + 1) * LANES) - 1].arrivals;
            }
        });
        Base::finish_peaks();
    }
    // Eight pieces with their arrivals
    struct Passage : Eighth
    {
        const double* const* rows;
        int a, first;
        Passage(const SweptPopulation& p, const Sweep& of, int e, int a) : Eighth(p, of, e * LANES), rows(of.rows + a), a(a), first(e * LANES) {}
        int end() const { return this->pieces[this->m - 1].arrivals; }
    };
    // Neurons from j on go through them all: each(k, b, from, to) with the states of vector b at the two ends of piece k
    template <int B, class A, class E> SNN_INLINE void go(const Passage& c, const A& arrive, D8 (*state)[S_ + 1], int j, const E& each)
    {
        const double* const* row = c.rows;
        for (int k = 0; k < c.m; k++)
        {
            for (const double* const* last = c.rows + (c.pieces[k].arrivals - c.a); row < last; row++)
                SNN_IN_REGISTERS for (int b = 0; b < B; b++)
                {
                    D8 after[S_];
                    state[b][S_] = load8(*row + j + b * LANES);
                    arrive.run(state[b], after);
                    SNN_IN_REGISTERS for (int i = 0; i < S_; i++) state[b][i] = after[i];
                }
            if (!(c.length[k] > 0)) continue;
            const auto f = one(flow[0], c.flows, k);
            SNN_IN_REGISTERS for (int b = 0; b < B; b++)
            {
                D8 from[S_];
                SNN_IN_REGISTERS for (int i = 0; i < S_; i++) from[i] = state[b][i];
                f.run(from, state[b]);
                each(k, b, from, state[b]);
            }
        }
    }
    template <int B, class A> SNN_INLINE void rise(const Passage& c, const A& arrive, int e, int j)
    {
        D8 state[B][S_ + 1], high[B], top[B];
        SNN_IN_REGISTERS for (int b = 0; b < B; b++)
        {
            take(x.begin(), j + b * LANES, state[b]);
            put(began.begin() + std::size_t(e) * S_ * width, j + b * LANES, state[b]);
            high[b] = load8(highest.begin() + j + b * LANES), top[b] = all(-INF);
        }
        go<B>(c, arrive, state, j, [&](int k, int b, const D8* from, const D8* to) {
            const D8 end = to[Base::observed_()];
            top[b] = larger(larger(Base::ceiling(j + b * LANES, int(c.level[k]), from), end), top[b]);
            high[b] = larger(end, high[b]);
        });
        SNN_IN_REGISTERS for (int b = 0; b < B; b++)
        {
            put(x.begin(), j + b * LANES, state[b]);
            store8(highest.begin() + j + b * LANES, high[b]), store8(tops.begin() + std::size_t(e) * width + j + b * LANES, top[b]);
        }
    }
    template <class A> void look(const Passage& c, const A& arrive, int e, int j)
    {
        D8 state[1][S_ + 1];
        take(began.begin() + std::size_t(e) * S_ * width, j, state[0]);
        go<1>(c, arrive, state, j, [&](int k, int, const D8* from, const D8* to) {
            const D8 top = Base::ceiling(j, int(c.level[k]), from);
            if (bits_above(load8(highest.begin() + j), larger(top, to[Base::observed_()])) != ones_below(LANES))
                Base::block_peaks(j, int(c.level[k]), from, to, top, c.pieces[k].t, c.length[k], c.first + k);
        });
    }
    Aligned<double> began, tops, highest;  // states where eight pieces begin, what the observed one stays below in them, and where it was highest

    template <class R> using BackRule = typename R::template ArriveBack<K>;
    typename M::template EachReceptor<BackRule> arrive_back_;  // one for each receptor

    // --- backward ------------------------------------------------------------------------------------------------------

    // Costates are those at `now`; at t they are their flow from there. From where they would lose a digit by that, they age.
    double now = 0, span = 0;
    bool active = false;  // whether any of them may differ from zero

    void reach(double t)
    {
        if (!(now - t > span)) return;
        if (active) Base::back(now - t, nullptr);
        now = t;
    }

    // Whether the way back by up to s and forth again loses no more than a digit. Rounding grows as the products of absolute
    // values do; what it is compared with is how strongly a costate acts on another at all.
    SNN_COLD bool keeps_digits(double s) const
    {
        if (!(s > 1e-9 * ladder.longest)) return true;
        constexpr int PARTS = 8;
        double there[PARTS][S_][S_], back[PARTS][S_][S_], most[S_][S_] = {};  // of costate j at the later time on i at the other
        for (int part = 0; part < PARTS; part++)
            for (int j = 0; j < S_; j++)
            {
                double unit[S_] = {}, to[S_], from[S_];
                unit[j] = 1;
                const double x = s * (part + 1) / PARTS;
                back_[0].at(x).run(unit, to), back_[0].at(-x).run(unit, from);
                for (int i = 0; i < S_; i++)
                {
                    there[part][i][j] = to[i], back[part][i][j] = from[i];
                    most[i][j] = std::max(std::max(most[i][j], std::abs(to[i])), i == j ? 1.0 : 0.0);
                }
            }
        for (int part = 0; part < PARTS; part++)
            for (int i = 0; i < S_; i++)
                for (int j = 0; j < S_; j++)
                {
                    double sum = 0, absolute = 0;
                    for (int k = 0; k < S_; k++) sum += there[part][i][k] * back[part][k][j], absolute += std::abs(there[part][i][k] * back[part][k][j]);
                    if (!(absolute <= 8 * most[i][j]) || !(std::abs(sum - (i == j)) <= 1e-13 * most[i][j])) return false;
                }
        return true;
    }

    // The flow of costates from `now` to where pieces begin, for eight of them up to `first` + 7
    struct Starts
    {
        int first = -1;
        double now = 0;
        decltype(std::declval<typename M::template Back<double>>().at(D8())) there;
    };
    Starts starts;
    __attribute__((noinline)) int start_lane(const Sweep& of, int n)
    {
        if (starts.first < 0 || n < starts.first || n >= starts.first + LANES || starts.now != now)
        {
            starts.first = std::max(0, n - LANES + 1), starts.now = now;
            double s[LANES] = {};
            for (int i = 0; i < LANES && starts.first + i <= n; i++) s[i] = now - of.tape.stretches[starts.first + i].t;
            starts.there = back_[0].at(load8(s));
        }
        return n - starts.first;
    }

    struct Pull
    {
        int piece;
        double time;
        int neuron;
        bool operator<(const Pull& o) const { return piece != o.piece ? piece < o.piece : time != o.time ? time < o.time : neuron < o.neuron; }
    };
    std::vector<Pull> pulls;

    // Only what does not spike is swept where its maxima are wanted
    static constexpr bool PULLED = M::OBSERVED && !M::SPIKING;

    void collect_pulls(const Sweep& of)
    {
        pulls.clear();
        if (of.maxima)
            for (int j = 0; j < Base::n; j++)
                if (const Peak& p = of.trial.peaks[j]; p.kind != Peak::START && of.loss->maxima[j] != 0) pulls.push_back({p.piece, p.time, j});
        std::sort(pulls.begin(), pulls.end());
    }

    // The loss depends on the observed state of a neuron at t
    void pull(int j, double t, double error)
    {
        reach(t);
        active = true;
        double unit[S_] = {}, add[S_];
        unit[observed] = error;
        back_[0].at(t - now).run(unit, add);
        for (int i = 0; i < S_; i++) costate(i)[j] += add[i];
    }

    void piece_back(const Sweep& of, int n)
    {
        const Stretch& piece = of.tape.stretches[n];
        // nothing else happens to those that are swept: their spikes are the events that are their own
        const int arrivals = n ? of.tape.stretches[n - 1].arrivals : 0, owns = n ? of.tape.stretches[n - 1].owns : 0;
        if constexpr (PULLED)
            for (std::size_t k = pulls.size(); k-- > 0 && pulls[k].piece == n;)
                if (of.trial.peaks[pulls[k].neuron].kind == Peak::SMOOTH) pull(pulls[k].neuron, pulls[k].time, of.loss->maxima[pulls[k].neuron]);
        if constexpr (M::SPIKING)
            spikes_back(of.trial.trains[of.net.inputs + index], owns, piece.owns);
        if (active && piece.arrivals > arrivals)
        {
            reach(piece.t);
            for (int to = piece.arrivals; to > arrivals;)
            {
                int from = to - 1;
                while (from > arrivals && to - from < ROWS && of.projection(from - 1) == of.projection(from)) from--;
                arrivals_back(of, from, to, n);
                to = from;
            }
        }
        if constexpr (PULLED) pull_ends(of, n, arrivals);
    }

    // Maxima just before the arrivals at the start of piece n
    void pull_ends(const Sweep& of, int n, int arrivals)
    {
        const Stretch& piece = of.tape.stretches[n];
        for (; !pulls.empty() && pulls.back().piece >= n; pulls.pop_back())
        {
            const int j = pulls.back().neuron;
            const Peak& peak = of.trial.peaks[j];
            if (peak.kind != Peak::BEFORE) continue;
            pull(j, piece.t, of.loss->maxima[j]);
            // the maximum is where the arrivals of this instant are, and moves with those of the first round
            const int a0 = arrivals;
            int m = n;
            while (of.tape.stretches[m].arrivals == a0 && m + 1 < of.stretches() && of.tape.stretches[m + 1].t == piece.t) m++;
            int at = a0;
            const auto each = [&](auto f) {
                for (at = a0; at < of.tape.stretches[m].arrivals; at++)
                {
                    const Projection& p = of.of(at);
                    f(at - a0, Base::lowers(p.receptor, j, p.row(of.trial.trains[p.source].neuron[of.spike(at)]).weight[j], nullptr), false);
                }
            };
            kink(peak.rate, false, !(piece.t < of.net.duration), each, [&](int, double share) { of.collect(at, of.loss->maxima[j] * share); });
        }
    }

    // Spikes [from, to) of a piece
    SNN_INLINE void spikes_back(const Train& train, int from, int to)
    {
        for (int o = to; o-- > from;)
        {
            if (!active && train.sens[o] == 0) continue;
            active = true;
            reach(train.t[o]);
            if (o < own.first || o >= own.end || own.now != now) look_back(train, o);
            const int j = train.neuron[o];
            SNN_IN_REGISTERS for (int i = 0; i < S_; i++) costate(i)[j] = own.before[i][o - own.base];
        }
    }

    // Costates before spikes [first, end), from those at `now`; that of spike o in lane o - base
    struct Spikes
    {
        int first = 0, end = 0, base = 0;
        double now = 0;
        double before[S_][LANES];
    };
    Spikes own;

    // Costates of a neuron change at its own spikes alone: so up to eight spikes of different neurons, of which o is the last,
    // are gone through together
    __attribute__((noinline)) void look_back(const Train& train, int o)
    {
        // in lanes that are left over others are, which nobody asks for
        const int size = train.size(), base = std::max(0, std::min(o - LANES + 1, size - LANES)), last = o - base;
        const double *t = &train.t[base], *sens = &train.sens[base], *before = &train.before[std::size_t(base) * S_];
        const int* neuron = &train.neuron[base];
        double few_t[LANES] = {}, few_sens[LANES] = {}, few_before[LANES * S_] = {};
        int few_neuron[LANES] = {};
        if (size < LANES)
        {
            std::copy_n(t, size, few_t), std::copy_n(sens, size, few_sens), std::copy_n(before, size * S_, few_before), std::copy_n(neuron, size, few_neuron);
            t = few_t, sens = few_sens, before = few_before, neuron = few_neuron;
        }
        const I8 whose = {neuron[0], neuron[1], neuron[2], neuron[3], neuron[4], neuron[5], neuron[6], neuron[7]};
        int first = last;
        while (first > 0 && !(bits(whose == std::int64_t(neuron[first - 1])) & ones_below(last + 1) & ~ones_below(first))) first--;
        own.base = base, own.first = base + first, own.end = o + 1, own.now = now;
        const D8 s = now - load8(t);
        D8 at_now[S_], states[S_], then[S_];
        SNN_IN_REGISTERS for (int i = 0; i < S_; i++)
        {
            const double *from = costate(i), *b = before + i;
            at_now[i] = D8{from[neuron[0]], from[neuron[1]], from[neuron[2]], from[neuron[3]], from[neuron[4]], from[neuron[5]], from[neuron[6]], from[neuron[7]]};
            states[i] = D8{b[0], b[S_], b[2 * S_], b[3 * S_], b[4 * S_], b[5 * S_], b[6 * S_], b[7 * S_]};
        }
        back_[0].at(s).run(at_now, then);
        Base::spike_back(states, then, load8(sens));
        back_[0].at(-s).run(then, at_now);
        SNN_IN_REGISTERS for (int i = 0; i < S_; i++) store8(own.before[i], at_now[i]);
    }

    // How many pieces up to n, at most eight, have nothing but one arrival each, all of one projection, and follow from costates
    // as they are now
    int single_arrivals(const Sweep& of, int n) const
    {
        if (!active) return 0;
        const auto& pieces = of.tape.stretches;
        const int last = pieces[n].arrivals - 1;
        for (int m = 0; m < LANES; m++, n--)
            if (n < 1 || pieces[n].arrivals != pieces[n - 1].arrivals + 1 || pieces[n].owns != pieces[n - 1].owns || now - pieces[n].t > span ||
                (!pulls.empty() && pulls.back().piece >= n) || of.projection(last - m) != of.projection(last))
                return m;
        return LANES;
    }

    // Up to m of them; returns how many
    int pieces_back(const Sweep& of, int n, int m)
    {
        const int lane = start_lane(of, n), end = of.tape.stretches[n].arrivals;
        m = std::min(m, lane + 1);
        M::receptor(of.of(end - 1).receptor, [&](auto q) { arrivals_back<decltype(q)>(of, end - m, end, lane + 1 - m, 1); });
        return m;
    }

    // Arrivals [from, to) of one projection at the start of piece n
    void arrivals_back(const Sweep& of, int from, int to, int n)
    {
        const int lane = start_lane(of, n);
        const Projection& p = of.of(from);
        M::receptor(p.receptor, [&](auto q) {
            using R = decltype(q);
            if (p.timed) return arrivals_back<R>(of, from, to, lane, 0);
            const auto there = one(back_[0], starts.there, lane);
            switch (to - from)
            {
            case 1: return rows_back<R, 1>(of, from, there);
            case 2: return rows_back<R, 2>(of, from, there);
            case 3: return rows_back<R, 3>(of, from, there);
            case ROWS: return rows_back<R, ROWS>(of, from, there);
            }
        });
    }

    // N rows of one instant, of whose times nobody asks
    template <class R, int N, class B> __attribute__((noinline)) void rows_back(const Sweep& of, int from, const B& there)
    {
        const auto rule = std::get<BackRule<R>>(arrive_back_);
        const auto at = rule.at(0.0);
        const int q = of.projection(from);
        const Projection& p = of.net.projections[q];
        double* sums = (*of.weight_sums)[q].begin();
        const int* neuron = of.trial.trains[p.source].neuron.data();
        double* gradient[N];
        const double* weight[N];
        for (int k = 0; k < N; k++)
        {
            const std::size_t row = std::size_t(neuron[of.spike(from + k)]) * p.width;
            gradient[k] = sums + row, weight[k] = p.weight + row;
        }
        const double* costates = l.begin();
        const int stride = width;
        const auto then = there;
        for (int j = 0; j < stride; j += LANES)
        {
            D8 at_now[S_], in[2 * S_ + 1], out[2 + S_];
            take(costates, j, at_now, stride);
            then.run(at_now, in + S_);
            in[2 * S_] = all(0);
            SNN_IN_REGISTERS for (int k = 0; k < N; k++)
            {
                if (R::WEIGHTED) in[2 * S_] = load8(weight[k] + j);
                at.run(in, out);
                store8(gradient[k] + j, load8(gradient[k] + j) + out[0]);
            }
        }
    }

    // Arrivals [from, to) of one projection, eight at most, each (`step` 1) at a time of its own, from a lane of the starts on
    template <class R> __attribute__((noinline)) void arrivals_back(const Sweep& of, int from, int to, int lane, int step)
    {
        if (!of.of(from).timed) arrivals_back<R, false, 0>(of, from, to, lane, step);
        else if (width == LANES) arrivals_back<R, true, 1>(of, from, to, lane, step);
        else if (width == 2 * LANES) arrivals_back<R, true, 2>(of, from, to, lane, step);
        else arrivals_back<R, true, 0>(of, from, to, lane, step);
    }
    // V: vectors of neurons, 0 for any number
    template <class R, bool TIMED, int V> SNN_INLINE void arrivals_back(const Sweep& of, int from, int to, int lane, int step)
    {
        // copies: what is stored could be anything in memory, for all that the compiler knows
        const auto rule = std::get<BackRule<R>>(arrive_back_);
        const auto at = rule.at(0.0);
        const int q = of.projection(from), stride = V ? V * LANES : width;
        const Projection& p = of.net.projections[q];
        Train& train = of.trial.trains[p.source];
        const std::size_t length = p.width;
        const double *weights = p.weight, *costates = l.begin();
        double* sums = (*of.weight_sums)[q].begin();
        double sum = 0;
        for (int k = 0; k < to - from; k++, lane += step)
        {
            const std::size_t row = train.neuron[of.spike(from + k)] * length;
            const auto there = one(back_[0], starts.there, lane);
            D8 by_time = all(0);
            SNN_IN_REGISTERS for (int j = 0; j < stride; j += LANES)
            {
                D8 at_now[S_], in[2 * S_ + 1], out[2 + S_];
                take(costates, j, at_now, stride);
                there.run(at_now, in + S_);
                in[2 * S_] = TIMED || R::WEIGHTED ? load8(weights + row + j) : all(0);
                at.run(in, out);
                store8(sums + row + j, load8(sums + row + j) + out[0]);
                if (TIMED) by_time += out[1];
            }
            if (TIMED)
            {
                const double moved = total(by_time);
                train.sens[of.spike(from + k)] += moved, sum += moved;
            }
        }
        if (TIMED) (*of.delay_sums)[q][0] += sum;
    }
};

}  // namespace snn
