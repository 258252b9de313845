// Populations of linear models: flows are closed forms, and bounds tell which neurons may cross (see events/bounds.py).
#pragma once
#include "neurons.h"

namespace snn {

template <class M> class Population : public ModelNeurons<M>
{
    using Base = ModelNeurons<M>;
    using K = typename Base::K;
    using Base::S_, Base::P_, Base::G_;
    using Base::n, Base::width, Base::S, Base::index, Base::observed, Base::parameters, Base::bounds, Base::peak_bounds, Base::ladder;
    using Base::x, Base::l, Base::peak_value, Base::peak_time, Base::peak_rate, Base::peak_piece, Base::peak_kind, Base::held, Base::grad, Base::smallest_gdot, Base::event_;
    using Base::state, Base::hold, Base::reset_, Base::copy_state, Base::reset, Base::duration, Base::put_aside, Base::bring_back;
    using Base::block, Base::observed_, Base::take, Base::put, Base::values, Base::prepare, Base::prepare_one, Base::peak_rule;

public:
    SNN_COLD void refresh() override
    {
        Base::refresh();
        const int blocks = M::SHARED ? 1 : width / LANES;
        flow.resize(blocks), rate.resize(blocks), peak_.resize(blocks), back_.resize(blocks), gradient_.resize(blocks);
        for (int b = 0; b < blocks; b++)
        {
            K p[P_ + 1];
            this->template values<K>(b * LANES, p);
            flow[b].prepare(p), rate[b].prepare(p), peak_[b].prepare(p), back_[b].prepare(p), gradient_[b].prepare(p);
            if constexpr (M::SPIKING)
            {
                if (b == 0) search_.resize(blocks);
                search_[b].prepare(p);
            }
        }
        if constexpr (eased<false>())
        {
            double at[S_] = {}, parts[S_], constant, more, less;
            event_[0].at(0.0).run(at, &constant);
            for (int i = 0; i < S_; i++)
            {
                constexpr double LARGE = 0x1p200;  // beside which a constant is nothing
                at[i] = LARGE, event_[0].at(0.0).run(at, &more);
                at[i] = -LARGE, event_[0].at(0.0).run(at, &less);
                at[i] = 0, parts[i] = (more - less) / (2 * LARGE);
            }
            leaks.prepare(rate[0], bounds, parts, constant);
        }
        if constexpr (eased<true>())
            if (peak_bounds)
            {
                double parts[S_] = {};
                parts[observed_()] = 1;
                peak_leaks.prepare(rate[0], peak_bounds, parts, 0);
            }
        for (auto* list : {&hot, &again}) list->room(width + LANES, S);
    }

    // --- flow and crossings --------------------------------------------------------------------------------------------

    void advance(double s, bool look, bool move)
    {
        if (look) hot.n = 0;
        look = look && M::SPIKING;
        if (move) put_aside();
        if (look && move) pass<true, true>(s);
        else if (look) pass<true, false>(s);
        else pass<false, true>(s);
        if (move) bring_back([&](int j, double* state) { double to[S_]; flow_one(s, j, state, to); std::copy_n(to, S_, state); });
    }

    void search(double s)
    {
        if constexpr (M::SPIKING)
        {
            const int level = ladder.level(s);
            if (hot.n > LANES) sift(s, level);
            const int n = hot.n;
            hot.n = 0;  // those with a crossing stay
            for (int k = 0; k < n; k += LANES)
            {
                D8 x0[S_], x1[S_], root;
                take(hot.state.data(), k, x0, hot.stride), take(hot.end.data(), k, x1, hot.stride);
                const D8 offset = load8(&hot.offset[k]);
                const unsigned yes = bits(crossing(lanes_below(n - k), &hot.neuron[k], level, x0, x1, s - offset, root));
                squeeze(&hot.root[hot.n], yes, root + offset);
                hot.push(yes, x0, x1, offset, &hot.neuron[k]);
            }
        }
    }

    double felt(double shortest) const
    {
        double t = INF;
        for (int k = 0; k < hot.n; k++) t = std::min(t, hot.root[k] + (M::REFRACTORY ? std::min(shortest, duration(hot.neuron[k])) : shortest));
        return t;
    }

    void settle(double t, double limit, double end, Train& train)
    {
        if constexpr (M::SPIKING)
        {
            const int start = train.size();
            while (hot.n)
            {
                again.n = 0;
                // compare as absolute times: these are what spikes and arrivals are ordered by
                const int n = hot.n;
                hot.n = 0;
                for (int k = 0; k < n; k += LANES)
                {
                    D8 x0[S_], x1[S_];
                    const D8 root = load8(&hot.root[k]), offset = load8(&hot.offset[k]);
                    const unsigned now = bits(lanes_below(n - k) & (t + root <= t + limit));
                    if (now == ones_below(n - k) && hot.n == k) { hot.n = std::min(k + LANES, n); continue; }
                    take(hot.state.data(), k, x0, hot.stride), take(hot.end.data(), k, x1, hot.stride);
                    squeeze(&hot.root[hot.n], now, root);
                    hot.push(now, x0, x1, offset, &hot.neuron[k]);
                }
                const int first = train.size();
                train.grow(hot.n, S_);
                for (int k = 0; k < hot.n; k += LANES) spikes(k, std::min(LANES, hot.n - k), t, limit, end, train, first + k);
                this->refuse_runaway(train);
                std::swap(hot, again);
                if (hot.n) search(limit);
            }
            this->sort(train, start, this->S);
        }
    }

    void flow_one(double s, int j, const double* from, double* to) const
    {
        if constexpr (M::REFRACTORY)
            if (held[j])
            {
                typename M::Held::template Flow<double> f;
                prepare_one(f, j);
                f.at(s).run(from, to);
                return;
            }
        if constexpr (M::SHARED) flow[0].at(s).run(from, to);
        else
        {
            typename M::template Flow<double> f;
            prepare_one(f, j);
            f.at(s).run(from, to);
        }
    }

    // --- adjoint -------------------------------------------------------------------------------------------------------

    void back(double s, const double* start)
    {
        if constexpr (M::SHARED) back_blocks(back_[0].at(s), gradient_[0].at(s), start, 0, width);
        else for (int j = 0; j < width; j += LANES) back_blocks(back_[j / LANES].at(all(s)), gradient_[j / LANES].at(all(s)), start, j, j + LANES);
    }

    template <class B, class G> SNN_INLINE void back_blocks(const B& b, const G& gr, const double* start, int from, int to)
    {
        for (int j = from; j < to; j += LANES)
        {
            D8 in[S_], out[S_];
            take(l.begin(), j, in);
            if constexpr (G_ > 0 && !M::template Gradient<K>::ZERO)
            {
                D8 both[2 * S_], g[G_];
                take(start, j, both);
                std::copy_n(in, S_, both + S_);
                gr.run(both, g);
                for (int k = 0; k < G_; k++) store8(grad[k] + j, load8(grad[k] + j) + g[k]);
            }
            b.run(in, out);
            put(l.begin(), j, out);
        }
    }

    void back_one(double s, int j, double* costate, const double* start, bool is_held)
    {
        if (!(s > 0)) return;
        if constexpr (M::REFRACTORY)
            if (is_held) return back_rules<typename M::Held>(s, j, costate, start);
        back_rules<M>(s, j, costate, start);
    }

    template <class R> void back_rules(double s, int j, double* costate, const double* start)
    {
        if constexpr (G_ > 0 && !R::template Gradient<double>::ZERO)
        {
            typename R::template Gradient<double> rule;
            prepare_one(rule, j);
            double both[2 * S_], g[G_];
            std::copy_n(start, S_, both);
            std::copy_n(costate, S_, both + S_);
            rule.at(s).run(both, g);
            for (int k = 0; k < G_; k++) grad[k][j] += g[k];
        }
        typename R::template Back<double> rule;
        if constexpr (M::SHARED && std::is_same_v<R, M>) rule = back_[0];
        else prepare_one(rule, j);
        double out[S_];
        rule.at(s).run(costate, out);
        std::copy_n(out, S_, costate);
    }

    // --- maxima --------------------------------------------------------------------------------------------------------

    // after the piece of length s, that began with the states `start` at `t`; piece + 1 begins at its end
    void peaks(const double* start, double t, double s, int piece)
    {
        if constexpr (M::OBSERVED)
        {
            const int level = ladder.level(s);
            for (int j = 0; j < width; j += LANES)
            {
                D8 x0[S_], x1[S_];
                take(start, j, x0);
                take(x.begin(), j, x1);
                block_peaks(j, level, x0, x1, ceiling(j, level, x0), t, s, piece);
            }
            finish_peaks();
        }
    }

protected:
    // Of eight neurons: what the observed state stays below in a piece that begins with x0
    SNN_INLINE D8 ceiling(int j, int level, const D8* x0) const
    {
        if constexpr (eased<true>())
            if (peak_leaks.suits[level])
            {
                const Ease<true> ease(peak_leaks, level);
                return ease.value(x0) - ease.limit;
            }
        D8 d[S_], top = x0[observed_()];
        rate[block(j)].at(0.0).run(x0, d);
        SNN_IN_REGISTERS for (int i = 0; i < S_; i++) top += larger(bound(peak_bounds, level, 0, i, j) * d[i], bound(peak_bounds, level, 1, i, j) * d[i]);
        return top;
    }
    // whether it may be larger than ever before, from the states at the start and at the end of the piece; finish_peaks() ends a
    // series of calls
    SNN_INLINE void block_peaks(int j, int level, const D8* x0, const D8* x1, D8 top, double t, double s, int piece)
    {
        const D8 best = load8(peak_value.begin() + j);
        const D8 end = x1[observed_()];
        if (const unsigned some = bits_above(larger(top, end), best)) new_peaks(j, level, x0, x1, some, end > best, t, s, piece);
    }

    void finish_peaks() { if (summits.n) find_summits(); }

private:
    void new_peaks(int j, int level, const D8* x0, const D8* x1, unsigned some, I8 higher, double t, double s, int piece)
    {
        D8 d[S_];
        rate[block(j)].at(0.0).run(x0, d);
        const auto rule = peak_[block(j)].at(0.0);
        D8 now[4], turn[4], third = all(0);
        rule.run(x1, now);
        // where the slope can't turn inside the piece and is not negative, the end is what counts
        rule.run(x0, turn);
        for (int i = 0; i < S_; i++) third += larger(bound(peak_bounds, level, 2, i, j) * d[i], bound(peak_bounds, level, 3, i, j) * d[i]);
        const D8 rise = s * (turn[2] + 0.5 * s * larger(third, all(0)));
        const I8 rising = (turn[1] + larger(rise, all(0)) <= 0.0) & (now[1] <= 0.0), at_end = rising & higher;
        const auto set = [&](Aligned<double>& of, D8 x) { store8(of.begin() + j, pick(at_end, x, load8(of.begin() + j))); };
        set(peak_value, x1[observed_()]), set(peak_time, all(t + s)), set(peak_rate, -now[1]);
        set(peak_piece, all(piece + 1)), set(peak_kind, all(Peak::BEFORE));
        for (unsigned m = some & ~bits(rising); m; m &= m - 1) add_summit(j, __builtin_ctz(m), level, x0, x1, t, s, piece);
    }

    template <class> friend class ScatterOf;
    template <class> friend class SweptPopulation;

    // Neurons that may cross within a piece
    struct Hot
    {
        int n = 0, stride = 0;
        std::vector<double> state, end, offset, root;  // state: at the offset; end: at the end of the piece
        std::vector<int> neuron;
        void room(int most, int S)
        {
            stride = most, offset.resize(most), root.resize(most), neuron.resize(most);
            for (auto* x : {&state, &end}) x->resize(std::size_t(S) * most);
        }
        // those of eight that have a bit
        SNN_INLINE void push(unsigned lanes, const D8* x0, const D8* x1, D8 at, const int* neurons) { push(lanes, x0, x1, at, load_ints(neurons)); }
        SNN_INLINE void push(unsigned lanes, const D8* x0, const D8* x1, D8 at, N8 neurons)
        {
            for (int i = 0; i < S_; i++) squeeze(&state[std::size_t(i) * stride + n], lanes, x0[i]), squeeze(&end[std::size_t(i) * stride + n], lanes, x1[i]);
            squeeze(&offset[n], lanes, at), squeeze(&neuron[n], lanes, neurons);
            n += __builtin_popcount(lanes);
        }
    };

    // an entry of a table of bounds: one value, or one for each neuron
    SNN_INLINE K bound(const double* table, int level, int which, int i, int j) const
    {
        const std::size_t at = (std::size_t(level) * 4 + which) * S_ + i;
        if constexpr (M::SHARED) return table[at];
        else return load8(table + at * width + j);
    }

    struct Nothing { template <class T> SNN_INLINE void operator()(int, T&) const {} };

    // Who may cross by the bounds: those of whom value() is above `limit`
    struct Slopes
    {
        const typename M::template Rate<K>& rate;
        const typename M::template Event<K>& event;
        K up[S_], down[S_];
        D8 limit = all(0);
        SNN_INLINE D8 value(const D8* x) const
        {
            D8 d[S_], g;
            rate.at(0.0).run(x, d);
            event.at(0.0).run(x, &g);
            SNN_IN_REGISTERS for (int i = 0; i < S_; i++) g += larger(up[i] * d[i], down[i] * d[i]);
            return g;
        }
    };
    SNN_INLINE Slopes slopes(int b, int level) const
    {
        Slopes of{rate[b], event_[b], {}, {}};
        for (int i = 0; i < S_; i++) of.up[i] = bound(bounds, level, 0, i, b * LANES), of.down[i] = bound(bounds, level, 1, i, b * LANES);
        return of;
    }

    // The same by fewer operations, where every state is leaky and no bound of a piece has two sides: then the function of
    // which the bounds are (the event function, or for PEAK the observed state) is nowhere lower from a larger state, so that
    // a state which depends on itself alone counts as being no lower than where it rests, from where its slope is not positive.
    // With x_j' = a_j (x_j + sum r_ji x_i - rest_j), a_j < 0, up_j max(x_j', 0) = up_j |a_j| (rest_j - min(x_j + sum r_ji x_i, rest_j));
    // what is the same for all neurons is part of the limit.
    template <bool PEAK> static constexpr bool eased() { return M::SHARED && (PEAK ? M::OBSERVED : M::SPIKING); }
    template <bool PEAK> static constexpr bool part_of(int j)
    {
        if constexpr (PEAK) return j == M::SEEN;
        else return M::CROSSES[j];
    }
    template <bool PEAK> static constexpr bool alone(int j)
    {
        for (int i = 0; i < S_; i++) if (i != j && M::RATES[j][i]) return false;
        return !part_of<PEAK>(j);
    }
    template <bool PEAK> static constexpr int first_part()
    {
        for (int i = 0; i < S_; i++) if (part_of<PEAK>(i)) return i;
        return 0;
    }
    template <bool PEAK> struct Leaks
    {
        double rest[S_], ratio[S_][S_], part[S_];                  // part: of the states in the function, relative to the first
        double weight[Ladder::LEVELS][S_], limit[Ladder::LEVELS];  // relative to that, too
        bool suits[Ladder::LEVELS];
        SNN_COLD void prepare(const typename M::template Rate<double>& rate, const double* table, const double* parts, double constant)
        {
            constexpr double LARGE = 0x1p200;  // beside which what a rate has beside its states is nothing
            double at[S_] = {}, own[S_], up[S_][S_], down[S_][S_];
            rate.at(0.0).run(at, own);
            for (int i = 0; i < S_; i++)
            {
                at[i] = LARGE, rate.at(0.0).run(at, up[i]);
                at[i] = -LARGE, rate.at(0.0).run(at, down[i]);
                at[i] = 0;
            }
            const double first = parts[first_part<PEAK>()];
            bool leaky = first > 0;
            for (int j = 0; j < S_; j++)
            {
                const double a = (up[j][j] - down[j][j]) / (2 * LARGE);
                for (int i = 0; i < S_; i++) ratio[j][i] = (up[i][j] - down[i][j]) / (2 * LARGE) / a;
                rest[j] = -own[j] / a, part[j] = parts[j] / first;
                leaky = leaky && a < 0;
                for (int l = 0; l < Ladder::LEVELS; l++) weight[l][j] = alone<PEAK>(j) ? 0 : table[4 * S_ * l + j] * -a / first;
            }
            for (int l = 0; l < Ladder::LEVELS; l++)
            {
                limit[l] = -constant / first, suits[l] = leaky;
                for (int j = 0; j < S_; j++) limit[l] -= weight[l][j] * rest[j], suits[l] &= table[4 * S_ * l + S_ + j] == 0;
                suits[l] &= std::isfinite(limit[l]);
            }
        }
    };
    Leaks<false> leaks;
    Leaks<true> peak_leaks;
    template <bool PEAK> struct Ease
    {
        D8 rest[S_], ratio[S_][S_], part[S_], weight[S_], limit;
        SNN_INLINE Ease(const Leaks<PEAK>& of, int level) : limit(all(of.limit[level]))
        {
            for (int j = 0; j < S_; j++)
            {
                rest[j] = all(of.rest[j]), part[j] = all(of.part[j]), weight[j] = all(of.weight[level][j]);
                for (int i = 0; i < S_; i++) ratio[j][i] = all(of.ratio[j][i]);
            }
        }
        SNN_INLINE D8 value(const D8* x) const
        {
            D8 raised[S_], v = x[first_part<PEAK>()];
            SNN_IN_REGISTERS for (int j = 0; j < S_; j++) raised[j] = alone<PEAK>(j) ? larger(x[j], rest[j]) : x[j];
            SNN_IN_REGISTERS for (int j = 0; j < S_; j++) if (j != first_part<PEAK>() && part_of<PEAK>(j)) v += part[j] * x[j];
            SNN_IN_REGISTERS for (int j = 0; j < S_; j++)
                if (!alone<PEAK>(j))
                {
                    D8 e = x[j];
                    SNN_IN_REGISTERS for (int i = 0; i < S_; i++) if (i != j && M::RATES[j][i]) e += ratio[j][i] * raised[i];
                    v -= weight[j] * smaller(e, rest[j]);
                }
            return v;
        }
    };

    template <class TEST> static SNN_INLINE unsigned above_limit(const TEST& test, const D8* x) { return bits_above(test.value(x), test.limit); }

    template <bool LOOK, bool MOVE> void pass(double s)
    {
        const int level = LOOK ? ladder.level(s) : 0;
        if constexpr (M::SHARED) pass<LOOK, MOVE>(flow[0].at(s), level, Nothing());
        else
            for (int j = 0; j < width; j += LANES)
            {
                const auto f = flow[j / LANES].at(all(s));
                if constexpr (LOOK && M::SPIKING) block_pass<1, MOVE>(x.begin(), j, f, slopes(j / LANES, level), Nothing());
                else block_pass<1, MOVE>(x.begin(), j, f, Nothing(), Nothing());
            }
    }
    // Neurons that share their parameters; `add`: what happens to their states first
    template <bool LOOK, bool MOVE, class F, class ADD> SNN_INLINE void pass(const F& f, int level, const ADD& add)
    {
        if constexpr (!LOOK || !M::SPIKING) blocks_pass<MOVE>(f, Nothing(), add);
        else if (leaks.suits[level]) blocks_pass<MOVE>(f, Ease<false>(leaks, level), add);
        else blocks_pass<MOVE>(f, slopes(0, level), add);
    }
    template <bool MOVE, class F, class TEST, class ADD> SNN_INLINE void blocks_pass(const F& f, const TEST& test, const ADD& add)
    {
        double* states = x.begin();
        const int end = width;
        int j = 0;
        for (; j + 4 * LANES <= end; j += 4 * LANES) block_pass<4, MOVE>(states, j, f, test, add);
        for (; j < end; j += LANES) block_pass<1, MOVE>(states, j, f, test, add);
    }

    // B vectors of neurons at once: one branch for all of them
    template <int B, bool MOVE, class F, class TEST, class ADD>
    SNN_INLINE void block_pass(double* __restrict states, int j, const F& f, const TEST& test, const ADD& add)
    {
        constexpr bool LOOK = !std::is_same_v<TEST, Nothing>;
        D8 in[B][S_], out[S_], top = all(-INF);
        SNN_IN_REGISTERS for (int b = 0; b < B; b++)
            SNN_IN_REGISTERS for (int i = 0; i < S_; i++) in[b][i] = load8(states + std::size_t(i) * width + j + b * LANES);
        add(j, in);
        SNN_IN_REGISTERS for (int b = 0; b < B; b++)
        {
            if constexpr (LOOK) top = b ? larger(top, test.value(in[b])) : test.value(in[b]);
            if (MOVE)
            {
                f.run(in[b], out);
                SNN_IN_REGISTERS for (int i = 0; i < S_; i++) store8(states + std::size_t(i) * width + j + b * LANES, out[i]);
            }
        }
        if constexpr (LOOK)
            if (bits_above(top, test.limit))
                SNN_IN_REGISTERS for (int b = 0; b < B; b++)
                    if (const unsigned marked = above_limit(test, in[b])) collect<MOVE>(j + b * LANES, marked, in[b], f);
    }

    // Of eight neurons from j on those that bounds have marked
    template <bool MOVED, class F> SNN_INLINE void collect(int j, unsigned marked, const D8* from, const F& f)
    {
        marked &= ones_below(std::min(n - j, LANES));
        if (M::REFRACTORY) for (unsigned m = marked; m; m &= m - 1) if (held[j + __builtin_ctz(m)]) marked &= ~(m & -m);
        if (!marked) return;
        D8 to[S_];
        if (MOVED) take(x.begin(), j, to);
        else f.run(from, to);
        hot.push(marked, from, to, all(0), N8{0, 1, 2, 3, 4, 5, 6, 7} + j);
    }
    // Those stay on the list of which the ends of the piece don't tell that they can't cross
    void sift(double s, int level)
    {
        const int n = hot.n;
        hot.n = 0;
        for (int k = 0; k < n; k += LANES)
        {
            D8 x0[S_], x1[S_];
            take(hot.state.data(), k, x0, hot.stride), take(hot.end.data(), k, x1, hot.stride);
            const D8 offset = load8(&hot.offset[k]);
            const Pack pack(*this, &hot.neuron[k], std::min(n - k, LANES));
            hot.push(ones_below(n - k) & Ends(threshold(pack, level), x0, x1, s - offset).may_cross(), x0, x1, offset, &hot.neuron[k]);
        }
    }

    // What a search is for: a function of states that flow, with its first two derivatives, and bounds of its third by the
    // slopes of the states at the start, in the piece and in the shortest one
    template <class B, class FLOW_, class RATE, class SLOPES> struct Course
    {
        const FLOW_& flow;
        const RATE& rate;
        SLOPES slopes;
        B high[S_], low[S_], now[S_];
    };

    // First upward crossing of up to eight neurons within `rest`. Steps to the root of a parabola that is nowhere below the
    // event function can't pass a crossing, and where it has none, there is none (see events/bounds.py).
    template <class C> SNN_INLINE I8 safe_steps(I8 lanes, const C& course, const D8* x0, D8 rest, D8& root) const
    {
        D8 d[S_], y[S_], third = all(0), fourth = all(0);
        course.rate.at(0.0).run(x0, d);
        for (int i = 0; i < S_; i++)
        {
            const D8 a = course.high[i] * d[i], b = course.low[i] * d[i];
            third += larger(a, b), fourth += smaller(a, b);
        }
        third = larger(third, all(0)), fourth = larger(third, absolute(fourth));
        // of the root, in seconds: the last step is followed by none, so this is all that it may lack
        const double enough = 1e-16 * ladder.longest;
        D8 tau = all(0), w = rest;
        I8 active = lanes, found = lanes & ~lanes;
        root = all(INF);
        for (int i = 0; i < S_; i++) y[i] = x0[i];
        for (int step = 0; step < 200; step++)
        {
            D8 v[3];
            course.slopes(y, v);
            const D8 m = v[2] + third * w * (1 / 3.), disc = v[1] * v[1] - 2.0 * m * v[0];
            const D8 sq = sqrt(larger(disc, all(0))), den = v[1] + sq;
            const I8 there = active & ((v[0] > 0.0) | ((v[0] == 0.0) & (v[1] > 0.0)));
            // squares that no double holds: no step could be told from none
            if (bits(active & ~there & ~(disc - disc == 0.0))) throw Failure{"finite", index, -1, -1};
            // the same root, without cancellation: of what falls, even from 0, it is where the parabola comes back
            const I8 rises = v[1] > 0.0, rooted = (disc >= 0.0) & ((rises & (den > 0.0)) | (~rises & (m > 0.0)));
            const D8 u = pick(rooted, pick(rises, -2.0 * v[0] / den, (sq - v[1]) / m), all(INF));
            const I8 reached = u <= w, left = w < rest - tau;
            const I8 none = active & ~there & ~reached & ~left;
            const D8 error = (third * w + fourth * u) * u * u * (1 / 6.);
            const I8 done = there | (active & reached & (error <= enough * sq));
            const D8 go = pick(reached, u, w), to = pick(there, tau, smaller(tau + go, rest));
            root = pick(done, to, root);
            found |= done;
            active &= ~(done | none);
            if (!bits(active)) return found;
            tau = pick(active, to, tau);
            w = pick(reached, smaller(4.0 * u, rest - tau), rest - tau);
            course.flow.at(tau).run(x0, y);
        }
        throw Failure{"search", index, -1, 0};
    }
    // Rules of up to eight neurons from anywhere, and their entries of a table of bounds
    struct Pack
    {
        struct Rules
        {
            typename M::template Flow<K> flow;
            typename M::template Rate<K> rate;
            typename M::template Search<K> search;
            typename M::template Reset<K> reset;
        };
        std::conditional_t<M::SHARED, Nothing, Rules> own;
        const Population& of;
        const int* neurons;
        int m;
        SNN_INLINE Pack(const Population& of, const int* neurons, int m) : of(of), neurons(neurons), m(m)
        {
            if constexpr (!M::SHARED)
            {
                D8 p[P_ + 1];
                for (int k = 0; k < P_; k++)
                {
                    p[k] = all(*of.parameters[k]);
                    if (M::PER_NEURON[k]) for (int l = 0; l < m; l++) p[k][l] = of.parameters[k][neurons[l]];
                }
                own.flow.prepare(p), own.rate.prepare(p), own.search.prepare(p), own.reset.prepare(p);
            }
        }
        SNN_INLINE const auto& flow() const { if constexpr (M::SHARED) return of.flow[0]; else return own.flow; }
        SNN_INLINE const auto& rate() const { if constexpr (M::SHARED) return of.rate[0]; else return own.rate; }
        SNN_INLINE const auto& search() const { if constexpr (M::SHARED) return of.search_[0]; else return own.search; }
        SNN_INLINE const auto& reset() const { if constexpr (M::SHARED) return of.reset_[0]; else return own.reset; }
        SNN_INLINE K bound(int level, int which, int i) const
        {
            const std::size_t at = (std::size_t(level) * 4 + which) * S_ + i;
            if constexpr (M::SHARED) return of.bounds[at];
            else
            {
                D8 b = all(0);
                for (int l = 0; l < m; l++) b[l] = of.bounds[at * of.width + neurons[l]];
                return b;
            }
        }
    };

    // The event function at the two ends of a piece of length `rest`, with its first two derivatives, and bounds of those inside
    struct Ends
    {
        D8 first[3], last[3], bend, third;  // bend: the second derivative is nowhere above, and not negative; third: of its slope, absolute
        D8 rest;
        template <class C> SNN_INLINE Ends(const C& course, const D8* x0, const D8* x1, D8 rest) : rest(rest)
        {
            D8 d[S_], high = all(0), low = all(0);
            course.rate.at(0.0).run(x0, d);
            for (int i = 0; i < S_; i++)
            {
                const D8 a = course.high[i] * d[i], b = course.low[i] * d[i];
                high += larger(a, b), low += smaller(a, b);
            }
            high = larger(high, all(0)), low = smaller(low, all(0)), third = larger(high, -low);
            course.slopes(x0, first), course.slopes(x1, last);
            bend = larger(smaller(first[2] + high * rest, last[2] - low * rest), all(0));
        }
        // Where there may be a crossing. There is none where both ends are below 0, and so is what the lines through them
        // that nothing inside is above have in common
        SNN_INLINE unsigned may_cross() const
        {
            const D8 more = 0.5 * bend * rest, rises = first[1] + more, falls = more - last[1];
            const D8 both = first[0] * falls + last[0] * rises + rest * rises * falls;
            return ~(bits_above(all(0), larger(first[0], last[0])) & bits_above(all(0), smaller(smaller(rises, falls), both)));
        }
    };

    // Crossings of up to eight neurons that end above their threshold, so that there is one, by steps that may pass others: what
    // is found counts where it proves to be the first. With the slope g' at tau, g(tau - p) <= g(tau) - p (g' - bend p/2); as
    // long as g' > bend p it rises, and where it need not, this has to be negative up to the start.
    template <class C> SNN_INLINE I8 bracketed(I8 lanes, const C& course, const Ends& ends, const D8* x0, D8& root) const
    {
        const double enough = 1e-16 * ladder.longest;
        // time as a cubic of the event function, which rises all along by its slopes: in [0, 3] of the chord's
        const D8 rest = ends.rest, rise = ends.last[0] - ends.first[0], least = rise * (1 / 3.);
        const D8 s0 = rise / larger(ends.first[1] * rest, least), s1 = rise / larger(ends.last[1] * rest, least);
        const D8 x = -ends.first[0] / rise, z = 1.0 - x;
        D8 tau = rest * x * (x * (3.0 - 2.0 * x) + z * (z * s0 - x * s1));
        I8 active = lanes & (ends.first[0] < 0.0) & (ends.last[0] > 0.0), found = lanes & ~lanes;
        for (int step = 0; step < 8 && bits(active); step++)
        {
            D8 y[S_], v[3], d[S_], third = all(0);
            course.flow.at(tau).run(x0, y);
            course.slopes(y, v);
            // the third derivative, all but exactly: what bounds it over the shortest piece
            course.rate.at(0.0).run(y, d);
            for (int i = 0; i < S_; i++) third += course.now[i] * d[i];
            // Householder's third step
            const D8 square = v[1] * v[1], half = 0.5 * v[0] * v[2];
            const D8 u = -v[0] * (square - half) / (v[1] * (square - 2.0 * half) + (1 / 6.) * third * v[0] * v[0]), to = tau + u, a = absolute(u);
            const I8 small = a * a * a * (0.25 * v[2] * v[2] + (1 / 6.) * ends.third * v[1]) <= enough * square;
            const I8 rises = (v[1] > 0.0) & (tau * (v[1] - 0.5 * ends.bend * tau) > larger(v[0], all(0)));
            const I8 inside = (to > 0.0) & (to < rest), done = active & small & rises & inside;
            root = pick(done, to, root);
            found |= done;
            active &= inside & ~small;
            tau = pick(active, to, tau);
        }
        return found;
    }

    // First upward crossings; x1: states at the end of `rest`, null where they are not known
    template <class C> SNN_INLINE I8 first_crossing(I8 lanes, const C& course, const D8* x0, const D8* x1, D8 rest, D8& root) const
    {
        I8 found = lanes & ~lanes;
        root = all(INF);
        if (x1)
        {
            const Ends ends(course, x0, x1, rest);
            found = bracketed(lanes, course, ends, x0, root);
            lanes &= ~found;
            if (!(bits(lanes) & ends.may_cross())) return found;
        }
        D8 later;
        const I8 others = safe_steps(lanes, course, x0, rest, later);
        root = pick(others, later, root);
        return found | others;
    }
    I8 crossing(I8 lanes, const int* neurons, int level, const D8* x0, const D8* x1, D8 rest, D8& root) const
    {
        const Pack pack(*this, neurons, __builtin_popcount(bits(lanes)));
        return first_crossing(lanes, threshold(pack, level), x0, x1, rest, root);
    }
    SNN_INLINE auto threshold(const Pack& pack, int level) const
    {
        const auto rule = pack.search().at(0.0);
        const auto slopes = [rule](const D8* y, D8* v) { rule.run(y, v); };
        Course<K, std::decay_t<decltype(pack.flow())>, std::decay_t<decltype(pack.rate())>, decltype(slopes)> c{pack.flow(), pack.rate(), slopes, {}, {}, {}};
        for (int i = 0; i < S_; i++) c.high[i] = pack.bound(level, 2, i), c.low[i] = pack.bound(level, 3, i), c.now[i] = pack.bound(0, 2, i);
        return c;
    }

    // What follows from crossings of up to eight neurons at `root` after the start of a piece, of states that were x0 at `offset`
    struct Crossed
    {
        D8 before[S_], after[S_], to[S_];  // the spike, and at `limit`
        unsigned more;                     // who may spike again before that
    };
    SNN_INLINE void cross(const Pack& pack, const D8* x0, D8 root, D8 offset, I8 mine, double t, double limit, double end, Crossed& c)
    {
        D8 v[3], d[S_];
        const auto there = pack.flow().at(pick(mine, root - offset, all(0)));
        const D8 rest = pick(mine, larger(limit - root, all(0)), all(0));
        there.run(x0, c.before);
        const auto search = pack.search().at(0.0);
        search.run(c.before, v);
        const D8 slope = pick(mine, v[1], all(INF));
        if (bits_above(all(smallest_gdot), slope)) for (int l = 0; l < LANES; l++) smallest_gdot = std::min(smallest_gdot, slope[l]);
        pack.reset().at(0.0).run(c.before, c.after);
        search.run(c.after, v);
        c.more = 0;
        if (M::REFRACTORY) return;
        pack.flow().at(rest).run(c.after, c.to);
        if (const unsigned stays = bits(mine & ((v[0] > 0.0) | ((v[0] == 0.0) & (v[1] > 0.0)))))
            throw Failure{"reset", index, pack.neurons[__builtin_ctz(stays)], std::min(t + root[__builtin_ctz(stays)], end)};
        D8 g = v[0];
        pack.rate().at(0.0).run(c.after, d);
        const int level = ladder.level(limit);
        for (int i = 0; i < S_; i++) g += larger(pack.bound(level, 0, i) * d[i], pack.bound(level, 1, i) * d[i]);
        c.more = bits(mine) & bits_above(g, all(0)) & bits_above(rest, all(0));
    }

    // Spikes of the m neurons from place k of the list on; who may spike again before `limit` goes on the other list
    void spikes(int k, int m, double t, double limit, double end, Train& train, int n0)
    {
        const int* neurons = &hot.neuron[k];
        const Pack pack(*this, neurons, m);
        const D8 root = load8(&hot.root[k]), offset = load8(&hot.offset[k]);
        D8 x0[S_];
        Crossed c;
        take(hot.state.data(), k, x0, hot.stride);
        cross(pack, x0, root, offset, lanes_below(m), t, limit, end, c);
        for (int l = 0; l < m; l++)
        {
            const int j = neurons[l];
            train.t[n0 + l] = std::min(t + root[l], end), train.neuron[n0 + l] = j;
            for (int i = 0; i < S_; i++) train.before[std::size_t(n0 + l) * S_ + i] = c.before[i][l];
            if (M::REFRACTORY)
            {
                double from[S_], held_to[S_];
                for (int i = 0; i < S_; i++) from[i] = c.after[i][l];
                hold(j, true);
                flow_one(std::max(limit - root[l], 0.0), j, from, held_to);
                for (int i = 0; i < S_; i++) state(i)[j] = held_to[i];
            }
            else for (int i = 0; i < S_; i++) state(i)[j] = c.to[i][l];
        }
        if (c.more) again.push(c.more, c.after, c.to, root, neurons);
    }

    // All crossings in a piece of length s that begins at t, of the neurons on the list; states at its end follow
    void cross_listed(double t, double s, double end, Train& train)
    {
        const int level = ladder.level(s);
        if (hot.n > LANES) sift(s, level);
        int n = 0;
        while (hot.n)
        {
            again.n = 0;
            this->sort.room(n + hot.n, S_);
            for (int k = 0; k < hot.n; k += LANES)
            {
                const int* neurons = &hot.neuron[k];
                const Pack pack(*this, neurons, std::min(hot.n - k, LANES));
                D8 x0[S_], x1[S_], root;
                take(hot.state.data(), k, x0, hot.stride), take(hot.end.data(), k, x1, hot.stride);
                const D8 offset = load8(&hot.offset[k]);
                const I8 mine = first_crossing(lanes_below(hot.n - k), threshold(pack, level), x0, x1, s - offset, root);
                const unsigned yes = bits(mine);
                if (!yes) continue;
                Crossed c;
                root += offset;
                cross(pack, x0, root, offset, mine, t, s, end, c);
                squeeze(&this->sort.times[n], yes, smaller(t + root, all(end))), squeeze(&this->sort.neurons[n], yes, neurons);
                for (int i = 0; i < S_; i++) squeeze(&this->sort.before[i * this->sort.stride + n], yes, c.before[i]);
                n += __builtin_popcount(yes);
                for (int i = 0; i < S_; i++)
                {
                    double to[LANES], *states = state(i);
                    store8(to, c.to[i]);
                    for (unsigned m = yes; m; m &= m - 1) states[neurons[__builtin_ctz(m)]] = to[__builtin_ctz(m)];
                }
                if (c.more) again.push(c.more, c.after, c.to, root, neurons);
            }
            if (n) this->refuse_runaway(train.size() + n, this->sort.neurons[n - 1], this->sort.times[n - 1]);
            std::swap(hot, again);
        }
        if (n) this->sort.append(train, n, S_);
    }

    // All crossings in a piece of those of eight neurons that a bit marks, with the states at its start and `x1` at its end
    __attribute__((noinline)) void cross_all(int j, unsigned marked, double t, double s, double end, int level, const D8* start, D8* x1, Train& train)
    {
        int neurons[LANES];
        for (int l = 0; l < LANES; l++) neurons[l] = j + l;
        const Pack pack(*this, neurons, LANES);
        const auto course = threshold(pack, level);
        D8 x0[S_], root, offset = all(0);
        std::copy_n(start, S_, x0);
        while (marked)
        {
            const I8 mine = first_crossing(lanes_of(marked), course, x0, x1, s - offset, root);
            marked = bits(mine);
            if (!marked) return;
            Crossed c;
            root += offset;
            cross(pack, x0, root, offset, mine, t, s, end, c);
            for (unsigned m = marked; m; m &= m - 1)
            {
                const int l = __builtin_ctz(m);
                double before[S_];
                for (int i = 0; i < S_; i++) before[i] = c.before[i][l];
                train.add(std::min(t + root[l], end), j + l, before, S_);
            }
            this->refuse_runaway(train);
            for (int i = 0; i < S_; i++) x0[i] = pick(mine, c.after[i], x0[i]), x1[i] = pick(mine, c.to[i], x1[i]);
            offset = pick(mine, root, offset);
            marked = c.more;
        }
    }

    // Neurons, each in a piece, of which the observed state may pass its largest value inside
    struct Summits
    {
        int n = 0;
        double start[S_][LANES] = {}, end[S_][LANES] = {}, t[LANES] = {}, length[LANES] = {};
        int neuron[LANES], level[LANES], piece[LANES];
    } summits;
    void add_summit(int j, int lane, int level, const D8* start, const D8* end, double t, double s, int piece)
    {
        const int k = summits.n++;
        for (int i = 0; i < S_; i++) summits.start[i][k] = start[i][lane], summits.end[i][k] = end[i][lane];
        summits.t[k] = t, summits.length[k] = s, summits.neuron[k] = j + lane, summits.level[k] = level, summits.piece[k] = piece;
        if (summits.n == LANES) find_summits();
    }
    // Every maximum inside, and the end
    __attribute__((noinline)) void find_summits()
    {
        const int m = std::exchange(summits.n, 0);
        if constexpr (M::OBSERVED)
        {
            typename M::template Flow<K> f;
            typename M::template Rate<K> r;
            typename M::template Peak<K> rule;
            if constexpr (M::SHARED) f = flow[0], r = rate[0], rule = peak_[0];
            else
            {
                D8 p[P_ + 1];
                for (int k = 0; k < P_; k++)
                    for (int l = 0; l < LANES; l++) p[k][l] = parameters[k][M::PER_NEURON[k] ? summits.neuron[l < m ? l : 0] : 0];
                f.prepare(p), r.prepare(p), rule.prepare(p);
            }
            D8 x0[S_], x1[S_], y[S_], high[S_], low[S_], first[S_], out[4], last[4], root, best = all(-INF), when = all(0), from = all(0);
            for (int i = 0; i < S_; i++)
            {
                x0[i] = load8(summits.start[i]), x1[i] = load8(summits.end[i]), y[i] = x0[i];
                for (int l = 0; l < LANES; l++)
                {
                    const auto bound = [&](int level, int which) {
                        const std::size_t at = (std::size_t(level) * 4 + which) * S_ + i;
                        return peak_bounds[M::SHARED ? at : at * width + summits.neuron[l < m ? l : 0]];
                    };
                    const int level = summits.level[l < m ? l : 0];
                    high[i][l] = bound(level, 2), low[i][l] = bound(level, 3), first[i][l] = bound(0, 2);
                }
            }
            const D8 s = load8(summits.length);
            const auto at = rule.at(0.0);
            at.run(x1, last), at.run(x0, out);
            // turn by turn: up to a maximum, down to a minimum, ... A turn is a zero of the slope: the search for the next one
            // begins a little behind it
            const double skip = 1e-9 * ladder.longest;
            I8 up = out[1] < 0.0, active = lanes_below(m) & (from < s);
            // an upward crossing of minus the slope is a maximum, one of the slope a minimum
            const auto slopes = [&at, &up](const D8* x, D8* v) {
                D8 out[4];
                at.run(x, out);
                for (int i = 0; i < 3; i++) v[i] = pick(up, out[i + 1], -out[i + 1]);
            };
            Course<D8, decltype(f), decltype(r), decltype(slopes)> course{f, r, slopes, {}, {}, {}};
            for (int turns = 0; turns < 1000 && bits(active); turns++, up = ~up, from += skip, active &= from < s)
            {
                for (int i = 0; i < S_; i++)
                    course.high[i] = pick(up, high[i], -low[i]), course.low[i] = pick(up, low[i], -high[i]), course.now[i] = pick(up, first[i], -first[i]);
                if (turns) f.at(from).run(x0, y);
                active &= first_crossing(active, course, y, x1, s - from, root);
                from = pick(active, from + root, from);
                f.at(from).run(x0, y);
                at.run(y, out);
                const I8 better = active & up & (out[0] > best);
                best = pick(better, out[0], best), when = pick(better, from, when);
            }
            for (int l = 0; l < m; l++)
            {
                const int q = summits.neuron[l];
                const double t = summits.t[l], end = x1[observed_()][l], slope = -last[1][l];
                Peak now = Base::peak(q);
                // of two that are equal the earlier one
                const auto above = [&now](double value, double time) { return value > now.value || (value == now.value && time < now.time); };
                if (above(best[l], t + when[l])) now = {best[l], t + when[l], 0, summits.piece[l], Peak::SMOOTH};
                if (slope >= 0 && above(end, t + s[l])) now = {end, t + s[l], slope, summits.piece[l] + 1, Peak::BEFORE};
                Base::set_peak(q, now);
            }
        }
    }

    std::vector<typename M::template Flow<K>> flow;
    std::vector<typename M::template Rate<K>> rate;
    std::vector<typename M::template Back<K>> back_;
    std::vector<typename M::template Gradient<K>> gradient_;
    std::vector<typename M::template Search<K>> search_;
    std::vector<typename M::template Peak<K>> peak_;
    Hot hot, again;
};

}  // namespace snn
