// The neurons of one population in one trial at a time: flow, crossings, resets, arrivals, and their adjoints.
// What a model does is generated (see printer.py); how it is applied to all neurons, eight at a time, stands here.
#pragma once
#include <algorithm>
#include <cstddef>
#include <string>
#include <type_traits>
#include <vector>
#include "lanes.h"

namespace snn {

// Why a simulation has no result; Python words it.
struct Failure
{
    const char* what;
    int population, neuron;
    double time;
};

// Arrays aligned to whole vectors
template <class T> class Aligned
{
public:
    void resize(std::size_t n)
    {
        data.assign(n + 64 / sizeof(T), T());
        offset = (64 - reinterpret_cast<std::uintptr_t>(data.data()) % 64) % 64 / sizeof(T);
        length = n;
    }
    T* begin() { return data.data() + offset; }
    T& operator[](std::size_t k) { return data[offset + k]; }
    std::size_t size() const { return length; }
    void fill(T value) { std::fill_n(begin(), length, value); }

private:
    std::vector<T> data;
    std::size_t offset = 0, length = 0;
};

constexpr int FLOW = -1;  // cause of a spike: a crossing; else the index of an arrival among those of the component

// Spikes of a population or an input in one trial, in the order of time
struct Train
{
    std::vector<double> t, sens, before;  // before: the S states just before the reset, spike after spike
    std::vector<int> neuron, cause, slot;  // slot: place of an input spike in the array that it was given in
    int size() const { return int(t.size()); }
    void clear() { t.clear(), sens.clear(), before.clear(), neuron.clear(), cause.clear(), slot.clear(); }
};

// A row of weights: of all neurons, or of the neurons `target`
struct Row
{
    const double* weight;
    const int* target;  // null: all
    int n;
};

struct Ladder  // lengths for which bounds are tabulated, see events/bounds.py
{
    static constexpr int LEVELS = 49, PER_OCTAVE = 4;
    double longest = 1;
    int level(double s) const
    {
        const double l = LEVELS - 1 + std::ceil(PER_OCTAVE * std::log2(s / longest) - 1e-9);
        return l < 0 ? 0 : l > LEVELS - 1 ? LEVELS - 1 : int(l);
    }
};

// A maximum of the observed state of one neuron: its value, and where it is
struct Peak
{
    enum Kind { START, SMOOTH, BEFORE, AFTER };
    double value, time, rate;  // rate: slope of the observed state with the time of the arrivals that make a kink
    int piece, kind;           // in piece (SMOOTH), or at its start before or after its arrivals
};

class Neurons
{
public:
    virtual ~Neurons() {}
    virtual void refresh() = 0;  // after new parameter values
    virtual void begin() = 0;
    virtual bool spiking() const = 0;
    virtual bool fires(int receptor) const = 0;
    virtual bool reads(int receptor) const = 0;
    virtual void arrive(int receptor, const Row& row) = 0;
    virtual void arrive_one(int receptor, int neuron, double weight, double* state) const = 0;
    virtual double event(const double* state, int neuron) const = 0;
    virtual void above(std::vector<int>& found) = 0;
    virtual void reset(const double* before, int neuron, double* after) const = 0;
    // Flow over a piece of length s; `look`: collect the neurons that may cross, with their states at its start
    virtual void advance(double s, bool look, bool move) = 0;
    // First crossings of those collected, in the rest of a piece of length s
    virtual void search(double s) = 0;
    // The spikes up to `limit` after the start of the piece at `t`, appended to the train; states at `limit` follow
    virtual void settle(double t, double limit, double end, Train& train) = 0;
    // the earliest time after the start of the piece at which a crossing found may be felt, by others or by its neuron
    virtual double felt(double shortest) const = 0;
    virtual bool refractory() const = 0;
    virtual double duration(int neuron) const = 0;
    virtual double release_back(int neuron, const double* state, const double* costate) const = 0;
    virtual void duration_back(int neuron, double sens) = 0;
    // a refractory neuron follows other rules until it is released
    void hold(int j, bool yes)
    {
        if (bool(held[j]) == yes) return;
        held[j] = yes;
        if (yes) held_list.push_back(j);
        else held_list.erase(std::find(held_list.begin(), held_list.end(), j));
    }
    void release_all() { for (int j : held_list) held[j] = 0; held_list.clear(); }
    virtual void flow_one(double s, int neuron, const double* from, double* to) const = 0;
    double smallest_gdot = INF;
    // adjoint
    virtual void back_begin(double* const* gradients) = 0;
    virtual void back(double s, const double* start) = 0;
    virtual void back_one(double s, int neuron, double* costate, const double* start, bool held) = 0;
    virtual double spike_back(int neuron, const double* before, double* costate, double sens, bool crossing) = 0;
    virtual double arrive_back(int receptor, const Row& row, double* gradient, const double* state) = 0;
    virtual double arrive_back_one(int receptor, int neuron, double weight, double& gradient, const double* state) = 0;
    virtual void back_end() = 0;
    // maxima of the observed state
    virtual void peaks_begin() {}
    virtual void peaks_jump(const double* was, double t, int piece) { (void)was, (void)t, (void)piece; }
    virtual void peaks(const double* start, double t, double s, int piece) { (void)start, (void)t, (void)s, (void)piece; }

    double* state(int k) { return x.begin() + std::size_t(k) * width; }
    double* costate(int k) { return l.begin() + std::size_t(k) * width; }
    void copy_state(int j, double* to) const { for (int k = 0; k < S; k++) to[k] = const_cast<Neurons*>(this)->state(k)[j]; }

    int n = 0, width = 0, S = 0, G = 0, P = 0, index = 0, observed = 0;
    bool needs_states = false;
    std::vector<const double*> parameters;  // one value, or one for each neuron (padded to whole vectors)
    const double* initial = nullptr;        // S rows
    const double *bounds = nullptr, *peak_bounds = nullptr;
    Ladder ladder;
    Aligned<double> x, l;
    std::vector<Peak> peak;
    std::vector<char> held;
    std::vector<int> held_list;

protected:
    std::vector<double> set_aside;
};

template <class M> class Population : public Neurons
{
    using K = std::conditional_t<M::SHARED, double, D8>;
    static constexpr int S_ = M::S, P_ = M::P, G_ = M::G;

public:
    Population()
    {
        S = S_, G = G_, P = P_;
        needs_states = M::NEEDS_STATES;
        parameters.resize(P_);
    }

    void refresh() override
    {
        x.resize(std::size_t(S) * width), l.resize(std::size_t(S) * width);
        const int blocks = M::SHARED ? 1 : width / LANES;
        flow.resize(blocks), rate.resize(blocks), back_.resize(blocks), gradient_.resize(blocks);
        for (int b = 0; b < blocks; b++)
        {
            K p[P_ + 1];
            values<K>(b * LANES, p);
            flow[b].prepare(p), rate[b].prepare(p), back_[b].prepare(p), gradient_[b].prepare(p);
            if constexpr (M::SPIKING) { if (b == 0) search_.resize(blocks), event_.resize(blocks), reset_.resize(blocks); search_[b].prepare(p), event_[b].prepare(p), reset_[b].prepare(p); }
        }
        for (auto* list : {&hot, &again}) list->room(width + LANES, S);
        if (M::OBSERVED) peak.resize(n);
        held.assign(width, 0), held_list.clear();
    }

    void begin() override { release_all(); std::copy_n(initial, std::size_t(S) * width, x.begin()); }
    bool spiking() const override { return M::SPIKING; }
    bool fires(int r) const override { bool yes = false; M::receptor(r, [&](auto q) { yes = decltype(q)::FIRES; }); return yes && M::SPIKING; }
    bool reads(int r) const override { bool yes = false; M::receptor(r, [&](auto q) { yes = decltype(q)::READS; }); return yes; }

    // --- arrivals ------------------------------------------------------------------------------------------------------

    void arrive(int r, const Row& row) override
    {
        M::receptor(r, [&](auto q) {
            using R = decltype(q);
            if (!row.target)
            {
                typename R::template Arrive<K> rule;
                if (M::SHARED) prepare(rule, 0);
                put_aside();
                for (int j = 0; j < width; j += LANES)
                {
                    if (!M::SHARED) prepare(rule, j);
                    D8 in[S_ + 1], out[S_];
                    take(x.begin(), j, in);
                    in[S_] = load8(row.weight + j);
                    rule.at(0.0).run(in, out);
                    put(x.begin(), j, out);
                }
                bring_back([&](int j, double* state) { arrive_held(r, j, row.weight[j], state); });
                return;
            }
            for (int k = 0; k < row.n; k++)
            {
                double state[S_];
                copy_state(row.target[k], state);
                if (M::REFRACTORY && held[row.target[k]]) arrive_held(r, row.target[k], row.weight[k], state);
                else arrive_one(r, row.target[k], row.weight[k], state);
                for (int i = 0; i < S; i++) this->state(i)[row.target[k]] = state[i];
            }
        });
    }

    void arrive_one(int r, int j, double w, double* state) const override
    {
        M::receptor(r, [&](auto q) {
            typename decltype(q)::template Arrive<double> rule;
            prepare_one(rule, j);
            double in[S_ + 1], out[S_];
            std::copy_n(state, S_, in);
            in[S_] = w;
            rule.at(0.0).run(in, out);
            std::copy_n(out, S_, state);
        });
    }

    void arrive_held(int r, int j, double w, double* state) const
    {
        if constexpr (M::REFRACTORY)
            M::Held::receptor(r, [&](auto q) {
                typename decltype(q)::template Arrive<double> rule;
                prepare_one(rule, j);
                double in[S_ + 1], out[S_];
                std::copy_n(state, S_, in);
                in[S_] = w;
                rule.at(0.0).run(in, out);
                std::copy_n(out, S_, state);
            });
    }

    // states of refractory neurons, before something is done to all neurons that they are no part of
    void put_aside()
    {
        if (!M::REFRACTORY || held_list.empty()) return;
        set_aside.resize(held_list.size() * S_);
        for (std::size_t k = 0; k < held_list.size(); k++) copy_state(held_list[k], &set_aside[k * S_]);
    }
    template <class F> void bring_back(F change)
    {
        if (!M::REFRACTORY) return;
        for (std::size_t k = 0; k < held_list.size(); k++)
        {
            const int j = held_list[k];
            change(j, &set_aside[k * S_]);
            for (int i = 0; i < S_; i++) state(i)[j] = set_aside[k * S_ + i];
        }
    }

    bool refractory() const override { return M::REFRACTORY; }
    double duration(int j) const override
    {
        double d = INF;
        if constexpr (M::REFRACTORY)
        {
            typename M::template Duration<double> rule;
            prepare_one(rule, j);
            rule.at(0.0).run((const double*)nullptr, &d);
        }
        return d;
    }
    double release_back(int j, const double* state, const double* costate) const override
    {
        double s = 0;
        if constexpr (M::REFRACTORY)
        {
            typename M::template Release<double> rule;
            prepare_one(rule, j);
            double in[2 * S_];
            std::copy_n(state, S_, in), std::copy_n(costate, S_, in + S_);
            rule.at(0.0).run(in, &s);
        }
        return s;
    }
    void duration_back(int j, double sens) override
    {
        if constexpr (M::REFRACTORY && G_ > 0)
        {
            typename M::template DurationBack<double> rule;
            prepare_one(rule, j);
            double out[G_];
            rule.at(0.0).run(&sens, out);
            for (int k = 0; k < G_; k++) grad[k][j] += out[k];
        }
    }

    double event(const double* state, int j) const override
    {
        double g = -1;
        if constexpr (M::SPIKING)
        {
            typename M::template Event<double> rule;
            prepare_one(rule, j);
            rule.at(0.0).run(state, &g);
        }
        return g;
    }

    void above(std::vector<int>& found) override
    {
        found.clear();
        if constexpr (M::SPIKING)
            for (int j = 0; j < width; j += LANES)
            {
                D8 in[S_], g;
                take(x.begin(), j, in);
                event_[block(j)].at(0.0).run(in, &g);
                for (unsigned m = bits(g > 0.0); m; m &= m - 1)
                    if (const int k = j + __builtin_ctz(m); k < n && !(M::REFRACTORY && held[k])) found.push_back(k);
            }
    }

    void reset(const double* before, int j, double* after) const override
    {
        if constexpr (M::SPIKING)
        {
            typename M::template Reset<double> rule;
            prepare_one(rule, j);
            rule.at(0.0).run(before, after);
        }
        else std::copy_n(before, S_, after);
    }

    // --- flow and crossings --------------------------------------------------------------------------------------------

    void advance(double s, bool look, bool move) override
    {
        if (look) hot.n = 0;
        look = look && M::SPIKING;
        if (move) put_aside();
        if (look && move) pass<true, true>(s);
        else if (look) pass<true, false>(s);
        else pass<false, true>(s);
        if (move) bring_back([&](int j, double* state) { double to[S_]; flow_one(s, j, state, to); std::copy_n(to, S_, state); });
    }

    void search(double s) override
    {
        if constexpr (M::SPIKING)
        {
            const int level = ladder.level(s);
            for (int k = 0; k < hot.n; k += LANES)
            {
                const int m = std::min(LANES, hot.n - k);
                D8 x0[S_], root;
                hot.take(k, x0);
                const D8 rest = s - load8(&hot.offset[k]);
                const I8 yes = crossing(lanes_below(m), &hot.neuron[k], level, x0, rest, root);
                root = pick(yes, root + load8(&hot.offset[k]), all(INF));
                store8(&hot.root[k], root);
            }
        }
    }

    double felt(double shortest) const override
    {
        double t = INF;
        for (int k = 0; k < hot.n; k++) t = std::min(t, hot.root[k] + (M::REFRACTORY ? std::min(shortest, duration(hot.neuron[k])) : shortest));
        return t;
    }

    void settle(double t, double limit, double end, Train& train) override
    {
        if constexpr (M::SPIKING)
        {
            const int start = train.size();
            while (hot.n)
            {
                again.n = 0;
                for (int k = 0; k < hot.n; k++)
                {
                    const double root = hot.root[k];
                    // compare as absolute times: these are what spikes and arrivals are ordered by
                    if (!(t + root <= t + limit)) continue;
                    spike(k, t, limit, end, train);
                }
                std::swap(hot, again);
                if (hot.n) search(limit);
            }
            sort(train, start);
        }
    }

    void flow_one(double s, int j, const double* from, double* to) const override
    {
        if constexpr (M::REFRACTORY)
            if (held[j])
            {
                typename M::Held::template Flow<double> f;
                prepare_one(f, j);
                f.at(s).run(from, to);
                return;
            }
        typename M::template Flow<double> f;
        prepare_one(f, j);
        f.at(s).run(from, to);
    }

    // --- adjoint -------------------------------------------------------------------------------------------------------

    void back_begin(double* const* gradients) override
    {
        l.fill(0);
        for (int k = 0; k < G_; k++) grad[k] = gradients[k];
    }

    void back(double s, const double* start) override
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

    void back_one(double s, int j, double* costate, const double* start, bool is_held) override
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
        prepare_one(rule, j);
        double out[S_];
        rule.at(s).run(costate, out);
        std::copy_n(out, S_, costate);
    }

    double spike_back(int j, const double* before, double* costate, double sens, bool crossing) override
    {
        double in[2 * S_ + 1], two[2] = {0, 1};
        if constexpr (M::SPIKING)
        {
            typename M::template Sigma<double> sigma;
            prepare_one(sigma, j);
            std::copy_n(before, S_, in);
            std::copy_n(costate, S_, in + S_);
            in[2 * S_] = sens;
            sigma.at(0.0).run(in, two);
            typename M::template SpikeBack<double> rule;
            prepare_one(rule, j);
            in[2 * S_] = crossing ? two[0] / two[1] : 0.0;
            double out[S_ + G_];
            rule.at(0.0).run(in, out);
            std::copy_n(out, S_, costate);
            for (int k = 0; k < G_; k++) grad[k][j] += out[S_ + k];
        }
        return two[0];
    }

    double arrive_back(int r, const Row& row, double* gradient, const double* state) override
    {
        double sum = 0;
        M::receptor(r, [&](auto q) {
            using R = decltype(q);
            if (row.target)
            {
                for (int k = 0; k < row.n; k++)
                {
                    double one[S_];
                    if (state) for (int i = 0; i < S; i++) one[i] = state[std::size_t(i) * width + row.target[k]];
                    sum += arrive_back_one(r, row.target[k], row.weight[k], gradient[k], one);
                }
                return;
            }
            typename R::template ArriveBack<K> rule;
            if (M::SHARED) prepare(rule, 0);
            D8 s = all(0);
            const bool some_held = M::REFRACTORY && !held_list.empty();
            for (int j = 0; j < width; j += LANES)
            {
                if (!M::SHARED) prepare(rule, j);
                D8 in[2 * S_ + 1], out[2 + S_ + G_];
                if constexpr (R::READS) take(state, j, in);
                take(l.begin(), j, in + S_);
                in[2 * S_] = load8(row.weight + j);
                rule.at(0.0).run(in, out);
                if (some_held)
                    for (int lane = 0; lane < LANES; lane++)
                        if (held[j + lane])
                        {
                            for (int k = 0; k < 2 + S_ + G_; k++) out[k][lane] = 0;
                            for (int i = 0; i < S_; i++) out[2 + i][lane] = in[S_ + i][lane];
                        }
                store8(gradient + j, load8(gradient + j) + out[0]);
                s += out[1];
                if constexpr (!R::KEEPS) put(l.begin(), j, out + 2);
                for (int k = 0; k < G_; k++) store8(grad[k] + j, load8(grad[k] + j) + out[2 + S_ + k]);
            }
            sum = total(s);
            if (some_held)
                for (int j : held_list)
                {
                    double one[S_];
                    if (state) for (int i = 0; i < S; i++) one[i] = state[std::size_t(i) * width + j];
                    sum += arrive_back_one(r, j, row.weight[j], gradient[j], one);
                }
        });
        return sum;
    }

    double arrive_back_one(int r, int j, double w, double& gradient, const double* state) override
    {
        if constexpr (M::REFRACTORY)
            if (held[j]) return arrive_back_rules<typename M::Held>(r, j, w, gradient, state);
        return arrive_back_rules<M>(r, j, w, gradient, state);
    }

    template <class RULES> double arrive_back_rules(int r, int j, double w, double& gradient, const double* state)
    {
        double s = 0;
        RULES::receptor(r, [&](auto q) {
            typename decltype(q)::template ArriveBack<double> rule;
            prepare_one(rule, j);
            double in[2 * S_ + 1], out[2 + S_ + G_];
            if (decltype(q)::READS) std::copy_n(state, S_, in);
            for (int i = 0; i < S_; i++) in[S_ + i] = costate(i)[j];
            in[2 * S_] = w;
            rule.at(0.0).run(in, out);
            gradient += out[0];
            s = out[1];
            for (int i = 0; i < S_; i++) costate(i)[j] = out[2 + i];
            for (int k = 0; k < G_; k++) grad[k][j] += out[2 + S_ + k];
        });
        return s;
    }

    void back_end() override
    {
        if constexpr (G_ > 0)
            for (int j = 0; j < n; j++)
            {
                typename M::template InitialBack<double> rule;
                prepare_one(rule, j);
                double in[S_], out[G_];
                for (int i = 0; i < S_; i++) in[i] = costate(i)[j];
                rule.at(0.0).run(in, out);
                for (int k = 0; k < G_; k++) grad[k][j] += out[k];
            }
    }

    // --- maxima --------------------------------------------------------------------------------------------------------

    void peaks_begin() override
    {
        for (int j = 0; j < n; j++) peak[j] = {state(observed)[j], 0, 0, -1, Peak::START};
    }

    // arrivals at `t` have moved the observed state itself from `was`
    void peaks_jump(const double* was, double t, int piece) override
    {
        if constexpr (M::OBSERVED)
            for (int j = 0; j < n; j++)
            {
                const double now = state(observed)[j];
                if (now == was[j] || !(now > peak[j].value)) continue;
                double one[S_], out[4];
                copy_state(j, one);
                peak_at(j, one, 0, out);
                peak[j] = {now, t, -out[1], piece, Peak::AFTER};
            }
    }

    // after the piece of length s, that began with the states `start` at `t`; piece + 1 begins at its end
    void peaks(const double* start, double t, double s, int piece) override
    {
        if constexpr (M::OBSERVED)
        {
            const int level = ladder.level(s);
            for (int j = 0; j < width; j += LANES)
            {
                D8 x0[S_], x1[S_], d[S_], now[4], best;
                take(start, j, x0);
                take(x.begin(), j, x1);
                for (int i = 0; i < LANES; i++) best[i] = j + i < n ? peak[j + i].value : INF;
                rate[block(j)].at(0.0).run(x0, d);
                D8 top = x0[observed_()];
                for (int i = 0; i < S_; i++) top += larger(bound(peak_bounds, level, 0, i, j) * d[i], bound(peak_bounds, level, 1, i, j) * d[i]);
                unsigned m = bits((top > best) | (x1[observed_()] > best));
                if (!m) continue;
                typename M::template Peak<K> rule;
                prepare(rule, j);
                rule.at(0.0).run(x1, now);
                for (; m; m &= m - 1) summit(j, __builtin_ctz(m), level, start, x1, now, t, s, piece);
            }
        }
    }

private:
    // Neurons that may cross within a piece
    struct Hot
    {
        int n = 0, stride = 0;
        std::vector<double> state, offset, root;
        std::vector<int> neuron;
        void room(int most, int S) { stride = most, state.resize(std::size_t(S) * most), offset.resize(most), root.resize(most), neuron.resize(most); }
        SNN_INLINE void take(int k, D8* to) const { for (int i = 0; i < S_; i++) to[i] = load8(&state[std::size_t(i) * stride + k]); }
        SNN_INLINE void push(int j, double at) { neuron[n] = j, offset[n] = at, n++; }
    };

    int block(int j) const { return M::SHARED ? 0 : j / LANES; }
    int observed_() const { return observed; }
    SNN_INLINE void take(const double* from, int j, D8* to) const { for (int i = 0; i < S_; i++) to[i] = load8(from + std::size_t(i) * width + j); }
    SNN_INLINE void put(double* to, int j, const D8* from) const { for (int i = 0; i < S_; i++) store8(to + std::size_t(i) * width + j, from[i]); }
    template <class C> SNN_INLINE void values(int j, C* p) const
    {
        for (int k = 0; k < P_; k++) p[k] = M::PER_NEURON[k] ? load<C>(parameters[k] + j) : as<C>(*parameters[k]);
    }
    template <class R> SNN_INLINE void prepare(R& rule, int j) const { K p[P_ + 1]; values<K>(j, p); rule.prepare(p); }
    template <class R> SNN_INLINE void prepare_one(R& rule, int j) const { double p[P_ + 1]; values<double>(j, p); rule.prepare(p); }
    // an entry of a table of bounds: one value, or one for each neuron
    SNN_INLINE K bound(const double* table, int level, int which, int i, int j) const
    {
        const std::size_t at = (std::size_t(level) * 4 + which) * S_ + i;
        if constexpr (M::SHARED) return table[at];
        else return load8(table + at * width + j);
    }

    template <bool LOOK, bool MOVE> void pass(double s)
    {
        const int level = LOOK ? ladder.level(s) : 0;
        double* states = x.begin();
        if constexpr (M::SHARED)
        {
            const auto f = flow[0].at(s);
            const auto r = rate[0].at(0.0);
            double up[S_], down[S_];
            if (LOOK) for (int i = 0; i < S_; i++) up[i] = bound(bounds, level, 0, i, 0), down[i] = bound(bounds, level, 1, i, 0);
            for (int j = 0; j < width; j += LANES) block_pass<LOOK, MOVE>(states, j, f, r, up, down);
        }
        else
            for (int j = 0; j < width; j += LANES)
            {
                const int b = j / LANES;
                const auto f = flow[b].at(all(s));
                const auto r = rate[b].at(all(0.0));
                D8 up[S_], down[S_];
                if (LOOK) for (int i = 0; i < S_; i++) up[i] = bound(bounds, level, 0, i, j), down[i] = bound(bounds, level, 1, i, j);
                block_pass<LOOK, MOVE>(states, j, f, r, up, down);
            }
    }

    template <bool LOOK, bool MOVE, class F, class R> SNN_INLINE void block_pass(double* states, int j, const F& f, const R& r, const K* up, const K* down)
    {
        D8 in[S_], out[S_];
        take(states, j, in);
        if (MOVE) { f.run(in, out); put(states, j, out); }
        if constexpr (LOOK && M::SPIKING)
        {
            D8 d[S_], g;
            r.run(in, d);
            event_[block(j)].at(0.0).run(in, &g);
            for (int i = 0; i < S_; i++) g += larger(up[i] * d[i], down[i] * d[i]);
            unsigned m = bits(g > 0.0);
            if (__builtin_expect(m != 0, 0))
                for (; m; m &= m - 1)
                {
                    const int lane = __builtin_ctz(m);
                    if (j + lane >= n) break;
                    if (M::REFRACTORY && held[j + lane]) continue;
                    for (int i = 0; i < S_; i++) hot.state[std::size_t(i) * hot.stride + hot.n] = in[i][lane];
                    hot.push(j + lane, 0);
                }
        }
    }

    // First upward crossing of up to eight neurons within `rest`. Steps to the root of a parabola that is nowhere below the
    // event function can't pass a crossing, and where it has none, there is none (see events/bounds.py).
    template <class SLOPES, class FLOW_, class RATE> SNN_INLINE I8 safe_steps(I8 lanes, const SLOPES& slopes, const FLOW_& fl, const RATE& rt, const D8* high, const D8* low, const D8* x0, D8 rest, D8& root) const
    {
        D8 d[S_], y[S_], third = all(0), fourth = all(0);
        rt.at(0.0).run(x0, d);
        for (int i = 0; i < S_; i++)
        {
            const D8 a = high[i] * d[i], b = low[i] * d[i];
            third += larger(a, b), fourth += smaller(a, b);
        }
        third = larger(third, all(0)), fourth = larger(third, absolute(fourth));
        const double enough = 1e-16 * ladder.longest;
        D8 tau = all(0), w = rest;
        I8 active = lanes, found = lanes & ~lanes;
        root = all(INF);
        for (int i = 0; i < S_; i++) y[i] = x0[i];
        for (int step = 0; step < 200; step++)
        {
            D8 v[3];
            slopes(y, v);
            const D8 m = v[2] + third * w * (1 / 3.), disc = v[1] * v[1] - 2.0 * m * v[0];
            const D8 sq = sqrt(larger(disc, all(0))), den = v[1] + sq;
            const I8 there = active & ((v[0] > 0.0) | ((v[0] == 0.0) & (v[1] > 0.0)));
            D8 u = -2.0 * v[0] / den;
            u = pick((disc >= 0.0) & (den > 0.0), u, all(INF));
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
            fl.at(tau).run(x0, y);
        }
        throw Failure{"search", index, -1, 0};
    }
    I8 crossing(I8 lanes, const int* neurons, int level, const D8* x0, D8 rest, D8& root) const
    {
        D8 high[S_], low[S_];
        const int m = __builtin_popcount(bits(lanes));
        if constexpr (M::SHARED)
        {
            for (int i = 0; i < S_; i++) high[i] = all(bound(bounds, level, 2, i, 0)), low[i] = all(bound(bounds, level, 3, i, 0));
            const auto s = search_[0].at(0.0);
            return safe_steps(lanes, [&](const D8* y, D8* v) { s.run(y, v); }, flow[0], rate[0], high, low, x0, rest, root);
        }
        else
        {
            for (int i = 0; i < S_; i++)
            {
                high[i] = low[i] = all(0);
                for (int l = 0; l < m; l++)
                {
                    high[i][l] = bounds[((std::size_t(level) * 4 + 2) * S_ + i) * width + neurons[l]];
                    low[i][l] = bounds[((std::size_t(level) * 4 + 3) * S_ + i) * width + neurons[l]];
                }
            }
            typename M::template Search<D8> s;
            typename M::template Flow<D8> f;
            typename M::template Rate<D8> r;
            D8 p[P_ + 1];
            for (int k = 0; k < P_; k++)
            {
                p[k] = all(*parameters[k]);
                if (M::PER_NEURON[k]) for (int l = 0; l < m; l++) p[k][l] = parameters[k][neurons[l]];
            }
            s.prepare(p), f.prepare(p), r.prepare(p);
            const auto at = s.at(all(0.0));
            return safe_steps(lanes, [&](const D8* y, D8* v) { at.run(y, v); }, f, r, high, low, x0, rest, root);
        }
    }

    // One spike of a neuron on the list; where it may spike again before `limit` it goes on the other list
    void spike(int k, double t, double limit, double end, Train& train)
    {
        const int j = hot.neuron[k];
        const double offset = hot.offset[k], root = hot.root[k];
        typename M::template Flow<double> f;
        prepare_one(f, j);
        double x0[S_], before[S_], after[S_], final_[S_];
        for (int i = 0; i < S_; i++) x0[i] = hot.state[std::size_t(i) * hot.stride + k];
        f.at(root - offset).run(x0, before);
        reset(before, j, after);
        const double at = std::min(t + root, end);
        typename M::template Search<double> s;
        prepare_one(s, j);
        double v[3];
        s.at(0.0).run(before, v);
        smallest_gdot = std::min(smallest_gdot, v[1]);
        s.at(0.0).run(after, v);
        if (!M::REFRACTORY && (v[0] > 0 || (v[0] == 0 && v[1] > 0))) throw Failure{"reset", index, j, at};
        train.t.push_back(at), train.neuron.push_back(j), train.cause.push_back(FLOW), train.sens.push_back(0);
        train.before.insert(train.before.end(), before, before + S_);
        const double rest = limit - root;
        if (M::REFRACTORY) hold(j, true);
        if (rest > 0) flow_one(rest, j, after, final_);
        else std::copy_n(after, S_, final_);
        for (int i = 0; i < S_; i++) state(i)[j] = final_[i];
        if (M::REFRACTORY || !(rest > 0)) return;
        typename M::template Rate<double> r;
        prepare_one(r, j);
        double d[S_], g = v[0];
        r.at(0.0).run(after, d);
        const int level = ladder.level(rest);
        for (int i = 0; i < S_; i++)
        {
            const std::size_t up = (std::size_t(level) * 4) * S_ + i, down = up + S_;
            g += M::SHARED ? std::max(bounds[up] * d[i], bounds[down] * d[i]) : std::max(bounds[up * width + j] * d[i], bounds[down * width + j] * d[i]);
        }
        if (!(g > 0)) return;
        for (int i = 0; i < S_; i++) again.state[std::size_t(i) * again.stride + again.n] = after[i];
        again.push(j, root);
    }

    // by time, then neuron
    void sort(Train& train, int start)
    {
        const int k = train.size() - start;
        if (k < 2) return;
        bool sorted = true;
        for (int i = start + 1; i < start + k && sorted; i++)
            sorted = train.t[i - 1] < train.t[i] || (train.t[i - 1] == train.t[i] && train.neuron[i - 1] < train.neuron[i]);
        if (sorted) return;
        order.resize(k);
        for (int i = 0; i < k; i++) order[i] = {train.t[start + i], train.neuron[start + i], i};
        std::stable_sort(order.begin(), order.end(), [](const Key& a, const Key& b) { return a.t < b.t || (a.t == b.t && a.neuron < b.neuron); });
        moved.assign(train.before.begin() + std::size_t(start) * S_, train.before.end());
        for (int i = 0; i < k; i++)
        {
            train.t[start + i] = order[i].t, train.neuron[start + i] = order[i].neuron;
            std::copy_n(&moved[std::size_t(order[i].at) * S_], S_, &train.before[std::size_t(start + i) * S_]);
        }
    }

    void peak_at(int j, const double* x0, double s, double* out) const
    {
        if constexpr (M::OBSERVED)
        {
            double y[S_];
            typename M::template Flow<double> f;
            typename M::template Peak<double> rule;
            prepare_one(f, j), prepare_one(rule, j);
            if (s > 0) f.at(s).run(x0, y);
            else std::copy_n(x0, S_, y);
            rule.at(0.0).run(y, out);
        }
    }

    // One neuron whose observed state may pass its largest value in the piece: every maximum inside, and the end
    void summit(int j, int lane, int level, const double* start, const D8* x1, const D8* now, double t, double s, int piece)
    {
        const int q = j + lane;
        Peak& best = peak[q];
        double x0[S_], out[4];
        for (int i = 0; i < S_; i++) x0[i] = start[std::size_t(i) * width + q];
        double from = 0;
        for (int turns = 0; turns < 1000; turns++)
        {
            double y[S_];
            typename M::template Flow<double> f;
            prepare_one(f, q);
            f.at(from).run(x0, y);
            D8 lanes[S_], root;
            for (int i = 0; i < S_; i++) lanes[i] = all(y[i]);
            // the next upward crossing of minus the slope
            if (!(downhill(q, level, lanes, s - from, root))) break;
            from += root[0];
            peak_at(q, x0, from, out);
            if (out[0] > best.value) best = {out[0], t + from, 0, piece, Peak::SMOOTH};
            // go on behind it, where the slope is negative: a maximum is followed by a minimum
            double uphill;
            if (!valley(q, level, x0, from, s, uphill)) break;
            from = uphill;
        }
        const double v = x1[observed][lane], slope = -now[1][lane];
        if (v > best.value && slope >= 0) best = {v, t + s, slope, piece + 1, Peak::BEFORE};
    }
    bool downhill(int q, int level, const D8* x0, double rest, D8& root) const { return turn(q, level, x0, rest, root, 1.0); }
    // where the slope turns positive again after `from`
    bool valley(int q, int level, const double* x0, double from, double s, double& at) const
    {
        double y[S_];
        typename M::template Flow<double> f;
        prepare_one(f, q);
        f.at(from).run(x0, y);
        D8 lanes[S_], root;
        for (int i = 0; i < S_; i++) lanes[i] = all(y[i]);
        // the maximum itself is a zero of the slope: begin a little behind it
        const double skip = 1e-9 * ladder.longest;
        if (!(from + skip < s)) return false;
        f.at(from + skip).run(x0, y);
        for (int i = 0; i < S_; i++) lanes[i] = all(y[i]);
        if (!turn(q, level, lanes, s - from - skip, root, -1.0)) return false;
        at = from + skip + root[0];
        return true;
    }
    bool turn(int q, int level, const D8* x0, double rest, D8& root, double sign) const
    {
        if constexpr (M::OBSERVED)
        {
            D8 p[P_ + 1], high[S_], low[S_];
            for (int k = 0; k < P_; k++) p[k] = all(parameters[k][M::PER_NEURON[k] ? q : 0]);
            for (int i = 0; i < S_; i++)
            {
                const std::size_t up = (std::size_t(level) * 4 + 2) * S_ + i, down = up + S_;
                const double a = peak_bounds[M::SHARED ? up : up * width + q], b = peak_bounds[M::SHARED ? down : down * width + q];
                high[i] = all(sign > 0 ? a : -b), low[i] = all(sign > 0 ? b : -a);
            }
            typename M::template Flow<D8> f;
            typename M::template Rate<D8> r;
            typename M::template Peak<D8> rule;
            f.prepare(p), r.prepare(p), rule.prepare(p);
            const auto at = rule.at(all(0.0));
            const auto slopes = [&](const D8* y, D8* v) {
                D8 out[4];
                at.run(y, out);
                for (int i = 0; i < 3; i++) v[i] = sign * out[i + 1];
            };
            D8 v[3];
            slopes(x0, v);
            if (sign > 0 && v[0][0] >= 0) return false;  // already downhill: no maximum before the next valley
            return bits(safe_steps(lanes_below(1), slopes, f, r, high, low, x0, all(rest), root)) & 1;
        }
        return false;
    }

    struct Key { double t; int neuron, at; };
    std::vector<typename M::template Flow<K>> flow;
    std::vector<typename M::template Rate<K>> rate;
    std::vector<typename M::template Back<K>> back_;
    std::vector<typename M::template Gradient<K>> gradient_;
    std::vector<typename M::template Search<K>> search_;
    std::vector<typename M::template Event<K>> event_;
    std::vector<typename M::template Reset<K>> reset_;
    double* grad[G_ + 1] = {};
    Hot hot, again;
    std::vector<Key> order;
    std::vector<double> moved;
};

}  // namespace snn
